//! Whether setting a moment aside brings another run, or one that was made already with moments in another order
//! that commute (Mazurkiewicz, 1977; Godefroid, 1996): told from the steps of that run.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

use crate::turnstile::{Kept, Moment, Stage, Step, Steps};

/// What a run would be in which a moment is set aside for longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// From step `end` on nothing differs, and nothing that changed places before touches what
    /// another changes.
    Same { end: usize },
    /// As far as is known it is another one.
    Other(Split),
    /// It cannot be set aside for so long.
    Over,
}

/// Where a run becomes another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// What comes before the clash, and in time: nothing came before it that comes later in the run that was asked.
    pub in_time: Rc<[Moment]>,
    /// What comes before the last of the moments for which it is set aside.
    pub meanwhile: Rc<[Moment]>,
    pub clash: Option<Clash>,
}

/// Two moments that would change places, and do not commute: the first would come after the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clash {
    pub passed: Moment,
    pub by: Moment,
}

/// The steps of a run, to be put into other orders.
#[derive(Default)]
pub struct Orders {
    pub steps: Steps,
    prepared: OnceCell<Prepared>,
}

struct Prepared {
    /// Of each step: what comes first of those of the same time in the natural order has a smaller one.
    ranks: Vec<u32>,
    /// The steps in the order of when they could come, and for each number where those begin that could from
    /// then on.
    by_ready: Vec<u32>,
    ready_from: Vec<u32>,
    /// All that a step reads, and changes, on top of one another: what has nothing in common here has nothing
    /// in common.
    folded: Vec<(u64, u64)>,
    /// The steps of the same call before and after a step.
    before: Vec<Option<u32>>,
    next: Vec<Option<u32>>,
}

impl Prepared {
    fn new(all: &[Step]) -> Self {
        let mut by_natural: Vec<u32> = (0..count(all.len())).collect();
        by_natural.sort_by(|a, b| all[*a as usize].natural(&all[*b as usize]).then(a.cmp(b)));
        let mut ranks = vec![0; all.len()];
        for (rank, at) in by_natural.iter().enumerate() {
            ranks[*at as usize] = count(rank);
        }
        let mut by_ready: Vec<u32> = (0..count(all.len())).collect();
        by_ready.sort_by_key(|at| all[*at as usize].ready);
        let mut ready_from = Vec::with_capacity(all.len() + 2);
        for (at, step) in by_ready.iter().enumerate() {
            ready_from.resize(all[*step as usize].ready + 1, count(at));
        }
        ready_from.resize(all.len() + 2, count(all.len()));
        let folded = all.iter().map(|step| step.touched.folded()).collect();
        let [mut before, mut next] = [(); 2].map(|()| vec![None; all.len()]);
        let mut by_call: Vec<u32> = (0..count(all.len())).collect();
        by_call.sort_by_key(|at| all[*at as usize].call());
        for pair in by_call.windows(2) {
            let [a, b] = [pair[0] as usize, pair[1] as usize];
            if all[a].call() == all[b].call() {
                next[a] = Some(pair[1]);
                before[b] = Some(pair[0]);
            }
        }
        Prepared { ranks, by_ready, ready_from, folded, before, next }
    }
}

impl Orders {
    pub fn new(steps: Steps) -> Orders {
        Orders { steps, prepared: OnceCell::new() }
    }

    fn prepared(&self) -> &Prepared {
        self.prepared.get_or_init(|| Prepared::new(&self.steps.steps))
    }

    /// With `moment` set aside when it comes to its turn from step `from` on. `without`: what was set aside in
    /// the run, and is not to be. `None`: nothing can be said.
    pub fn hold(&self, from: usize, moment: Moment, without: Option<Moment>) -> Option<Held<'_>> {
        let Steps { steps, holds, .. } = &self.steps;
        let at = steps.get(from).map(|step| step.at);
        let end = from + steps[from..].partition_point(|step| Some(step.at) == at);
        // Two that are set aside at once are beyond this.
        let is_other =
            |kept: &Kept| kept.to > from && kept.moment != moment && Some(kept.moment) != without;
        // Nor is it known what would have come of a call that is given up later, or earlier.
        let is_given_up = moment.stage == Stage::Abandon
            || steps[from..end].iter().any(|step| step.moment == moment && step.is_late);
        if is_given_up || holds.iter().any(is_other) {
            return None;
        }
        let undone = match without {
            // Where it never came it is not known what it would have done.
            Some(without) => {
                let kept = holds.iter().find(|kept| kept.moment == without)?;
                let is_it =
                    |at: &usize| steps[*at].moment == without && steps[*at].ready == kept.to;
                Some(((from..end).find(is_it)?, kept.ready))
            }
            None => None,
        };
        let mut held = Held {
            steps,
            prepared: self.prepared(),
            from,
            end,
            moment,
            comes: steps[from..end].iter().any(|step| step.moment == moment),
            undone,
            came: Places::new(end - from),
            in_time: Places::new(end - from),
            meanwhile: Places::new(end - from),
            stale: Places::new(end - from),
            ahead: BinaryHeap::new(),
            holds: true,
            aside: Vec::new(),
            waiting: Vec::new(),
            low: from,
            high: from,
            reach: from,
        };
        for at in from..end {
            if held.ready(at) <= from && held.call_is_there(at) {
                held.comes_up(at);
            }
        }
        Some(held)
    }
}

fn count(of: usize) -> u32 {
    u32::try_from(of).expect("a run has fewer moments")
}

/// A set of steps of a window.
#[derive(Clone)]
struct Places(Vec<u64>);

impl Places {
    fn new(steps: usize) -> Self {
        Places(vec![0; steps.div_ceil(64)])
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    fn put(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }
}

/// The order in which the steps of a window come while one of the moments is set aside.
#[derive(Clone)]
pub struct Held<'a> {
    steps: &'a [Step],
    prepared: &'a Prepared,
    from: usize,
    end: usize,
    moment: Moment,
    /// It does come. If not its call ended otherwise, or the daemon did.
    comes: bool,
    /// A step that was set aside in the run, and since when it could have come.
    undone: Option<(usize, usize)>,
    came: Places,
    /// What came when nothing that is later in the run had come.
    in_time: Places,
    /// What had come when one moment fewer than now had.
    meanwhile: Places,
    /// What it was tried for in vain has changed since.
    stale: Places,
    /// What could come, in the natural order.
    ahead: BinaryHeap<Reverse<(u32, u32)>>,
    /// The moment is set aside, or will be when it comes to its turn.
    holds: bool,
    aside: Vec<usize>,
    /// Tried in vain before what they wait for.
    waiting: Vec<usize>,
    /// All before it came.
    low: usize,
    /// None from it on did.
    high: usize,
    /// None from it on was tried while the moment was set aside.
    pub reach: usize,
}

impl Held<'_> {
    /// The run in which it is set aside until one more moment came than in that which was asked about last, at
    /// first one.
    pub fn longer(&mut self) -> Order {
        match self.one_more() {
            Err(order) => order,
            Ok(()) if !self.comes => Order::Same { end: self.end },
            Ok(()) => self.clone().ends(),
        }
    }

    /// The run in which it is set aside until so many moments came, from the beginning.
    pub fn until(&mut self, moments: u32) -> Order {
        let before = (1..moments).try_for_each(|_| self.one_more());
        before.map_or_else(|order| order, |()| self.longer())
    }

    /// Goes on until one more moment came since it was set aside.
    fn one_more(&mut self) -> Result<(), Order> {
        self.meanwhile.clone_from(&self.came);
        loop {
            let next = self.next();
            if self.gives_up_before(next) {
                return Err(Order::Other(self.split(None)));
            }
            let next = next.ok_or(Order::Over)?;
            self.reach = self.reach.max(next + 1);
            let counts = !self.aside.is_empty() || !self.comes;
            let came = self.admit(next).map_err(|clash| Order::Other(self.split(Some(clash))))?;
            if counts && came.is_some_and(|came| self.step(came).happened) {
                return Ok(());
            }
        }
    }

    /// It is let go, and all goes on until nothing is out of order.
    fn ends(mut self) -> Order {
        self.holds = false;
        let mut is_due = !self.aside.is_empty();
        for at in std::mem::take(&mut self.aside) {
            self.comes_up(at);
        }
        while self.low < self.high || is_due {
            let next = self.next();
            let Some(next) = next.filter(|_| !self.gives_up_before(next)) else {
                return Order::Other(self.split(None));
            };
            is_due &= self.step(next).moment != self.moment;
            if let Err(clash) = self.admit(next) {
                return Order::Other(self.split(Some(clash)));
            }
        }
        Order::Same { end: self.low }
    }

    fn split(&self, clash: Option<Clash>) -> Split {
        let moments = |of: &Places| {
            let of = (self.from..self.end).filter(|at| of.has(at - self.from));
            of.map(|at| self.step(at).moment).collect()
        };
        Split { in_time: moments(&self.in_time), meanwhile: moments(&self.meanwhile), clash }
    }

    fn step(&self, at: usize) -> &Step {
        &self.steps[at]
    }

    fn ready(&self, at: usize) -> usize {
        match self.undone {
            Some((undone, ready)) if undone == at => ready,
            _ => self.step(at).ready,
        }
    }

    fn is_ready(&self, at: usize) -> bool {
        let ready = self.ready(at);
        ready <= self.from || self.has_come(ready - 1)
    }

    /// Whatever of its call came before has come.
    fn call_is_there(&self, at: usize) -> bool {
        let before = self.prepared.before[at].map(|before| before as usize);
        before.is_none_or(|before| before < self.from || self.has_come(before))
    }

    fn has_come(&self, at: usize) -> bool {
        self.came.has(at - self.from)
    }

    fn comes_up(&mut self, at: usize) {
        self.ahead.push(Reverse((self.prepared.ranks[at], count(at))));
    }

    /// The natural next one.
    fn next(&mut self) -> Option<usize> {
        while let Some(Reverse((_, at))) = self.ahead.pop() {
            let at = at as usize;
            if self.has_come(at) {
                continue;
            }
            if self.holds && self.step(at).moment == self.moment {
                self.aside.push(at);
                continue;
            }
            return Some(at);
        }
        None
    }

    /// Whether a call that came just in time still waits when all else of the time has come: it would be given up.
    fn gives_up_before(&self, next: Option<usize>) -> bool {
        let still_waits = |at: usize| self.step(at).is_late && !self.has_come(at);
        next.is_none_or(|next| self.step(next).moment.stage == Stage::Abandon)
            && (self.low..self.end).any(still_waits)
    }

    /// Lets a step come before those that came before it, and returns as which one it does; `None`: it waits.
    fn admit(&mut self, at: usize) -> Result<Option<usize>, Clash> {
        let came = match self.comes_as(at) {
            Ok(came) => came,
            Err(_) if self.waits_for_all(at) => {
                self.waiting.push(at);
                return Ok(None);
            }
            Err(clash) => return Err(clash),
        };
        for before in self.low..came {
            if self.has_come(before) {
                continue;
            }
            // Tries in between were in vain, too, and changed nothing.
            if self.step(before).moment == self.step(at).moment {
                self.put(before);
            } else if self.conflict(before, came) {
                self.stale.put(before - self.from);
            }
        }
        self.put(came);
        Ok(Some(came))
    }

    /// Whether what stands in its way is what it waits for: then it is tried in vain, and comes later.
    fn waits_for_all(&self, at: usize) -> bool {
        let step = self.step(at);
        let mut passed = (self.low..at).filter(|before| !self.has_come(*before));
        step.happened
            && passed.all(|before| {
                let other = self.step(before);
                other.is_vain()
                    || !other.is_of_call_of(step) && step.touched.only_awaits(&other.touched)
            })
    }

    fn put(&mut self, at: usize) {
        if at >= self.high {
            self.in_time.put(at - self.from);
        }
        self.came.put(at - self.from);
        self.high = self.high.max(at + 1);
        while self.low < self.end && self.has_come(self.low) {
            self.low += 1;
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|waits| {
            let is_woken = self.conflict(at, *waits);
            if is_woken {
                self.comes_up(*waits);
            }
            !is_woken
        });
        self.waiting = waiting;
        let Prepared { by_ready, ready_from, .. } = self.prepared;
        let [from, to] = [at + 1, at + 2].map(|ready| ready_from[ready] as usize);
        for next in &by_ready[from..to] {
            let next = *next as usize;
            if next < self.end && self.ready(next) == at + 1 && self.call_is_there(next) {
                self.comes_up(next);
            }
        }
        if let Some(next) = self.prepared.next[at].map(|next| next as usize)
            && next < self.end
            && self.ready(next) != at + 1
            && self.is_ready(next)
        {
            self.comes_up(next);
        }
        if let Some((undone, ready)) = self.undone
            && ready == at + 1
            && self.call_is_there(undone)
        {
            self.comes_up(undone);
        }
    }

    /// The step as which a moment comes, or is tried, now: another one if it was tried in vain before what now
    /// came before it.
    fn comes_as(&self, at: usize) -> Result<usize, Clash> {
        let step = self.step(at);
        let itself = Clash { passed: step.moment, by: step.moment };
        let mut clash = self.stale.has(at - self.from).then_some(itself);
        clash = clash.or_else(|| self.clash(at));
        let Some(clash) = clash else { return Ok(at) };
        if !step.is_vain() {
            return Err(clash);
        }
        let can_be = |later: &usize| {
            self.step(*later).moment == step.moment
                && !self.stale.has(*later - self.from)
                && self.clash(*later).is_none()
        };
        (at + 1..self.end).find(can_be).ok_or(clash)
    }

    /// What came before `at`, is still to come, and does not commute with it. Who tried in vain changed nothing,
    /// and tries again.
    fn clash(&self, at: usize) -> Option<Clash> {
        let is_passed = |before: &usize| {
            !self.has_come(*before) && self.conflict(*before, at) && !self.step(*before).is_vain()
        };
        let passed = (self.low..at).find(is_passed)?;
        Some(Clash { passed: self.step(passed).moment, by: self.step(at).moment })
    }

    fn conflict(&self, a: usize, b: usize) -> bool {
        let [(a_reads, a_writes), (b_reads, b_writes)] = [a, b].map(|at| self.prepared.folded[at]);
        let can = (a_writes & (b_reads | b_writes)) | (a_reads & b_writes) != 0;
        (can || self.step(a).is_of_call_of(self.step(b))) && self.step(a).conflicts(self.step(b))
    }
}
