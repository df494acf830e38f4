//! Whether setting a moment aside brings another run, or one that was made already with moments in another order
//! that commute (Mazurkiewicz, 1977; Godefroid, 1996): told from the steps of that run.

use std::cell::OnceCell;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::turnstile::{Kept, Moment, Stage, Step, Steps, Symbol};

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

/// What of the steps is asked about again and again, whatever is set aside. Each has its number.
struct Prepared {
    moments: Vec<Moment>,
    /// It came about.
    happened: Places,
    /// It tried in vain.
    vain: Places,
    /// It would have been given up, had it not been due.
    late: Places,
    /// What comes first of those of the same time in the natural order has a smaller one.
    ranks: Vec<u32>,
    by_rank: Vec<u32>,
    /// The number from which on it could come; the steps in that order, and for each number where those begin
    /// that could from then on.
    ready: Vec<u32>,
    by_ready: Vec<u32>,
    ready_from: Vec<u32>,
    /// All that it reads, and changes, on top of one another: what has nothing in common here has nothing in common.
    folded: Vec<(u64, u64)>,
    /// The steps before it, of the same time, that do not commute with it. Found when it is asked about.
    conflicts: Vec<OnceCell<Places>>,
    /// The steps of the same call before and after it.
    before: Vec<Option<u32>>,
    next: Vec<Option<u32>>,
}

impl Prepared {
    fn new(all: &[Step]) -> Self {
        let numbers = 0..count(all.len());
        let set = |is: fn(&Step) -> bool| Places::of(all.iter().map(is));
        let by_rank = naturally(all);
        let mut ranks = vec![0; all.len()];
        for (rank, at) in by_rank.iter().enumerate() {
            ranks[*at as usize] = count(rank);
        }
        let ready: Vec<u32> = all.iter().map(|step| count(step.ready)).collect();
        let mut by_ready: Vec<u32> = numbers.clone().collect();
        by_ready.sort_by_key(|at| ready[*at as usize]);
        let mut ready_from = Vec::with_capacity(all.len() + 2);
        for (at, step) in by_ready.iter().enumerate() {
            ready_from.resize(all[*step as usize].ready + 1, count(at));
        }
        ready_from.resize(all.len() + 2, count(all.len()));
        let [mut before, mut next] = [(); 2].map(|()| vec![None; all.len()]);
        let mut last_of = FxHashMap::default();
        for at in numbers {
            let of_call = last_of.insert(all[at as usize].call(), at);
            if let Some(last) = of_call {
                next[last as usize] = Some(at);
            }
            before[at as usize] = of_call;
        }
        Prepared {
            moments: all.iter().map(|step| step.moment).collect(),
            happened: set(|step| step.happened),
            vain: set(Step::is_vain),
            late: set(|step| step.is_late),
            ranks,
            by_rank,
            ready,
            by_ready,
            ready_from,
            folded: all.iter().map(|step| step.touched.folded()).collect(),
            conflicts: vec![OnceCell::new(); all.len()],
            before,
            next,
        }
    }

    fn conflicts(&self, all: &[Step], at: usize) -> &Places {
        self.conflicts[at].get_or_init(|| {
            let Step { at: time, touched, .. } = &all[at];
            let from = all[..at].partition_point(|step| step.at < *time);
            let mut conflicts = Places::new(at);
            let (reads, writes) = self.folded[at];
            for (before, (others_reads, others_writes)) in (from..).zip(&self.folded[from..at]) {
                let can = writes & (others_reads | others_writes) | reads & others_writes != 0;
                if can && touched.conflicts(&all[before].touched) {
                    conflicts.put(before);
                }
            }
            // Moments of one call never change places.
            let earlier = |at: &usize| self.before[*at].map(|before| before as usize);
            let of_call = std::iter::successors(earlier(&at), earlier);
            of_call.take_while(|before| *before >= from).for_each(|before| conflicts.put(before));
            conflicts
        })
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
        // Two that are set aside at once are beyond this.
        let is_other =
            |kept: &Kept| kept.to > from && kept.moment != moment && Some(kept.moment) != without;
        // Nor is it known what would have come of a call that is given up later, or earlier.
        if moment.stage == Stage::Abandon || holds.iter().any(is_other) {
            return None;
        }
        let prepared = self.prepared();
        let at = steps.get(from).map(|step| step.at);
        let end = from + steps[from..].partition_point(|step| Some(step.at) == at);
        let all_of = |moment: Moment| (from..end).filter(move |at| prepared.moments[*at] == moment);
        let undone = match without {
            // Where it never came it is not known what it would have done.
            Some(without) => {
                let kept = holds.iter().find(|kept| kept.moment == without)?;
                Some((all_of(without).find(|at| steps[*at].ready == kept.to)?, kept.ready))
            }
            None => None,
        };
        let mut held = Held {
            steps,
            prepared,
            from,
            end,
            moment,
            comes: all_of(moment).next().is_some(),
            undone,
            order: Progress::new(from, steps.len()),
            before: Progress::default(),
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

/// The numbers of steps as they come if all come at the same time.
fn naturally(all: &[Step]) -> Vec<u32> {
    let actor = |step: &Step| step.moment.site.actor;
    let actors: FxHashMap<u32, Symbol> =
        all.iter().map(|step| (actor(step).number(), actor(step))).collect();
    let mut actors: Vec<Symbol> = actors.into_values().collect();
    actors.sort_unstable_by(|a, b| a.cmp_text(*b));
    let places: FxHashMap<u32, usize> =
        actors.iter().enumerate().map(|(place, actor)| (actor.number(), place)).collect();
    let key = |step: &Step| step.natural(places[&actor(step).number()]);
    let mut keys: Vec<_> = all.iter().zip(0..).map(|(step, at)| (key(step), at)).collect();
    keys.sort_unstable();
    keys.into_iter().map(|(_, at)| at).collect()
}

fn count(of: usize) -> u32 {
    u32::try_from(of).expect("a run has fewer moments")
}

/// A set of numbers.
#[derive(Clone, Default)]
struct Places(Vec<u64>);

const BITS: usize = u64::BITS as usize;

impl Places {
    /// With room for all below `end`.
    fn new(end: usize) -> Self {
        Places(vec![0; end.div_ceil(BITS)])
    }

    fn of(are: impl ExactSizeIterator<Item = bool>) -> Self {
        let mut places = Places::new(are.len());
        are.enumerate().filter(|(_, is)| *is).for_each(|(at, _)| places.put(at));
        places
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / BITS] >> (at % BITS) & 1 == 1
    }

    fn put(&mut self, at: usize) {
        self.0[at / BITS] |= 1 << (at % BITS);
    }

    fn put_all(&mut self, others: &Places, without: &Places) {
        for ((word, bits), without) in self.0.iter_mut().zip(&others.0).zip(&without.0) {
            *word |= bits & !without;
        }
    }

    /// Takes the first one out.
    fn pop(&mut self) -> Option<usize> {
        let (at, word) = self.0.iter_mut().enumerate().find(|(_, word)| **word != 0)?;
        let bit = word.trailing_zeros() as usize;
        *word &= *word - 1;
        Some(at * BITS + bit)
    }

    /// Those that `others` has not, in order.
    fn without(&self, others: impl Fn(usize) -> u64) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(move |(at, word)| {
            let mut left = word & !others(at);
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(at * BITS + bit)
            })
        })
    }
}

/// How far an order of steps got.
#[derive(Default)]
struct Progress {
    came: Places,
    /// What came when nothing that is later in the run had come.
    in_time: Places,
    /// What had come when one moment fewer than now had.
    meanwhile: Places,
    /// What it was tried for in vain has changed since.
    stale: Places,
    /// What could come: its ranks.
    ahead: Places,
    /// The moment is set aside, or will be when it comes to its turn.
    holds: bool,
    aside: Vec<usize>,
    /// Tried in vain before what they wait for.
    waiting: Vec<usize>,
    /// All before it came.
    low: usize,
    /// None from it on did.
    high: usize,
}

impl Progress {
    fn new(from: usize, steps: usize) -> Self {
        let none = || Places::new(steps);
        let came = Places::of((0..steps).map(|at| at < from));
        Progress {
            came,
            in_time: none(),
            meanwhile: none(),
            stale: none(),
            ahead: none(),
            holds: true,
            low: from,
            high: from,
            ..Progress::default()
        }
    }

    /// Becomes a copy, in the memory that it has.
    fn copy(&mut self, other: &Progress) {
        let Progress { came, in_time, meanwhile, stale, ahead, .. } = other;
        self.came.0.clone_from(&came.0);
        self.in_time.0.clone_from(&in_time.0);
        self.meanwhile.0.clone_from(&meanwhile.0);
        self.stale.0.clone_from(&stale.0);
        self.ahead.0.clone_from(&ahead.0);
        self.aside.clone_from(&other.aside);
        self.waiting.clone_from(&other.waiting);
        (self.holds, self.low, self.high) = (other.holds, other.low, other.high);
    }
}

/// The order in which the steps of a window come while one of the moments is set aside.
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
    order: Progress,
    /// As it was before the moment was let go.
    before: Progress,
    /// None from it on was tried while the moment was set aside.
    pub reach: usize,
}

impl<'a> Held<'a> {
    /// The run in which it is set aside until one more moment came than in that which was asked about last, at
    /// first one.
    pub fn longer(&mut self) -> Order {
        match self.one_more() {
            Err(order) => order,
            Ok(()) if !self.comes => Order::Same { end: self.end },
            Ok(()) => {
                self.before.copy(&self.order);
                let order = self.ends();
                std::mem::swap(&mut self.before, &mut self.order);
                order
            }
        }
    }

    /// The run in which it is set aside until so many moments came, from the beginning.
    pub fn until(&mut self, moments: u32) -> Order {
        let before = (1..moments).try_for_each(|_| self.one_more());
        before.map_or_else(|order| order, |()| self.longer())
    }

    /// Goes on until one more moment came since it was set aside.
    fn one_more(&mut self) -> Result<(), Order> {
        self.order.meanwhile.0.clone_from(&self.order.came.0);
        loop {
            let next = self.next();
            if self.gives_up_before(next) {
                return Err(Order::Other(self.split(None)));
            }
            let next = next.ok_or(Order::Over)?;
            self.reach = self.reach.max(next + 1);
            let counts = !self.order.aside.is_empty() || !self.comes;
            let came = self.admit(next).map_err(|clash| Order::Other(self.split(Some(clash))))?;
            if counts && came.is_some_and(|came| self.prepared.happened.has(came)) {
                return Ok(());
            }
        }
    }

    /// It is let go, and all goes on until nothing is out of order.
    fn ends(&mut self) -> Order {
        self.order.holds = false;
        let mut is_due = !self.order.aside.is_empty();
        while let Some(at) = self.order.aside.pop() {
            self.comes_up(at);
        }
        while self.order.low < self.order.high || is_due {
            let next = self.next();
            let Some(next) = next.filter(|_| !self.gives_up_before(next)) else {
                return Order::Other(self.split(None));
            };
            is_due &= self.moment(next) != self.moment;
            if let Err(clash) = self.admit(next) {
                return Order::Other(self.split(Some(clash)));
            }
        }
        Order::Same { end: self.order.low }
    }

    fn split(&self, clash: Option<Clash>) -> Split {
        let moments = |of: &Places| {
            let of = (self.from..self.end).filter(|at| of.has(*at));
            of.map(|at| self.moment(at)).collect()
        };
        let Progress { in_time, meanwhile, .. } = &self.order;
        Split { in_time: moments(in_time), meanwhile: moments(meanwhile), clash }
    }

    fn moment(&self, at: usize) -> Moment {
        self.prepared.moments[at]
    }

    fn ready(&self, at: usize) -> usize {
        match self.undone {
            Some((undone, ready)) if undone == at => ready,
            _ => self.prepared.ready[at] as usize,
        }
    }

    fn is_ready(&self, at: usize) -> bool {
        self.ready(at).checked_sub(1).is_none_or(|last| self.has_come(last))
    }

    /// Whatever of its call came before has come.
    fn call_is_there(&self, at: usize) -> bool {
        self.prepared.before[at].is_none_or(|before| self.has_come(before as usize))
    }

    fn has_come(&self, at: usize) -> bool {
        self.order.came.has(at)
    }

    fn comes_up(&mut self, at: usize) {
        self.order.ahead.put(self.prepared.ranks[at] as usize);
    }

    /// The natural next one.
    fn next(&mut self) -> Option<usize> {
        while let Some(rank) = self.order.ahead.pop() {
            let at = self.prepared.by_rank[rank] as usize;
            if self.has_come(at) {
                continue;
            }
            if self.order.holds && self.moment(at) == self.moment {
                self.order.aside.push(at);
                continue;
            }
            return Some(at);
        }
        None
    }

    /// Whether a call that came just in time still waits when all else of the time has come: it would be given up.
    fn gives_up_before(&self, next: Option<usize>) -> bool {
        let came = &self.order.came;
        next.is_none_or(|next| self.moment(next).stage == Stage::Abandon)
            && self.prepared.late.without(|word| came.0[word]).any(|waits| waits < self.end)
    }

    /// Lets a step come before those that came before it, and returns as which one it does; `None`: it waits.
    fn admit(&mut self, at: usize) -> Result<Option<usize>, Clash> {
        let came = match self.comes_as(at) {
            Ok(came) => came,
            Err(_) if self.waits_for_all(at) => {
                self.order.waiting.push(at);
                return Ok(None);
            }
            Err(clash) => return Err(clash),
        };
        let conflicts = self.prepared.conflicts(self.steps, came);
        self.order.stale.put_all(conflicts, &self.order.came);
        // Tries in between were in vain, too, and changed nothing.
        let mut tried = at;
        while tried < came {
            self.put(tried);
            tried = self.prepared.next[tried].map_or(came, |next| next as usize);
        }
        self.put(came);
        Ok(Some(came))
    }

    /// What came before `at`, is still to come, and does not commute with it. Who tried in vain changed nothing,
    /// and tries again.
    fn passed(&self, at: usize) -> impl Iterator<Item = usize> + use<'_, 'a> {
        let (came, vain) = (&self.order.came, &self.prepared.vain);
        self.prepared.conflicts(self.steps, at).without(|word| came.0[word] | vain.0[word])
    }

    /// Whether what stands in its way is what it waits for: then it is tried in vain, and comes later.
    fn waits_for_all(&self, at: usize) -> bool {
        let step = &self.steps[at];
        let awaits = |before: usize| {
            let other = &self.steps[before];
            !other.is_of_call_of(step) && step.touched.only_awaits(&other.touched)
        };
        step.happened && self.passed(at).all(awaits)
    }

    fn put(&mut self, at: usize) {
        let order = &mut self.order;
        if at >= order.high {
            order.in_time.put(at);
        }
        order.came.put(at);
        order.high = order.high.max(at + 1);
        while order.low < self.end && order.came.has(order.low) {
            order.low += 1;
        }
        let mut waiting = std::mem::take(&mut self.order.waiting);
        waiting.retain(|waits| {
            let is_woken = self.conflict(at, *waits);
            if is_woken {
                self.comes_up(*waits);
            }
            !is_woken
        });
        self.order.waiting = waiting;
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
        let moment = self.moment(at);
        let clash = |at: usize| {
            let itself = self.order.stale.has(at).then_some(at);
            itself.or_else(|| self.passed(at).next())
        };
        let Some(passed) = clash(at) else { return Ok(at) };
        let passed = Clash { passed: self.moment(passed), by: moment };
        if !self.prepared.vain.has(at) {
            return Err(passed);
        }
        let next = |at: &usize| self.prepared.next[*at].map(|next| next as usize);
        let mut later = std::iter::successors(next(&at), next).take_while(|at| *at < self.end);
        later.find(|at| self.moment(*at) == moment && clash(*at).is_none()).ok_or(passed)
    }

    fn conflict(&self, a: usize, b: usize) -> bool {
        a == b || self.prepared.conflicts(self.steps, a.max(b)).has(a.min(b))
    }
}
