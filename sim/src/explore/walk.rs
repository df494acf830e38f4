//! The tree of an exhaustive search: a run, and those that take one decision more.
//!
//! A run's decisions are had from that of all but the last one of them, so each set of decisions that can come
//! about is tried once. Where the last delay of the bound would only have moments that commute change
//! places, with those of the run before or of another one that was made, the run is left out. A fault that
//! strikes while they are still out of order can tell the two apart: for that, what was left out is looked at
//! again in the runs with one fault more. What strikes before a delay makes a difference is decided on in the run
//! without that delay only, and every length of it is tried there. What strikes once the delay makes no difference any
//! more, as two runs have come to one state after as many moments, is decided on in the one that was made first.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::attempt::Attempts;
use super::commute::{Order, Orders, Split};
use super::exhaustive::{Exhaustive, Pick, Trail, Turn, faults_at};
use super::strategy::Bound;
use super::symptom::Symptom;
use crate::oracle::Crash;
use crate::run::{Outcome, Plan};
use crate::turnstile::{Kept, Moment, Notes, Op, Step, Steps};

/// A run to be made. `T`: what is read off its outcome.
#[derive(Default)]
pub struct Node<T> {
    picks: Vec<Pick>,
    /// What was left out of the run that this one has a decision more than.
    left_out: Rc<[LeftOut]>,
    /// What is known to bring the same as this run.
    same: Vec<LeftOut>,
    /// The run, where it had to be made to know what brings the same. What only keeps its moment set aside for
    /// longer was looked at then.
    run: Option<Box<Run<T>>>,
    is_settled: bool,
    /// Once so many moments have come, the run is the same as one with a delay less: whatever can be decided then
    /// is decided there.
    until: Option<u32>,
    /// Faults and crashes that the run that was asked offers too, before the two part. They are decided on there, and
    /// those runs look again at how long the moment can be set aside.
    skips: Vec<Turn>,
    /// After how many steps its last decision is taken, where that is a fault or a crash.
    struck: Option<usize>,
    /// Nothing will be asked of the order of its moments.
    is_unasked: bool,
    /// The states of the run that was asked, which has a delay less or the last one shorter.
    path: Path,
}

impl<T> Node<T> {
    /// No decision differs from the uneventful one.
    pub fn is_undisturbed(&self) -> bool {
        self.picks.is_empty()
    }

    /// To be made again.
    #[must_use]
    pub fn again(&self) -> Node<T> {
        Node {
            picks: self.picks.clone(),
            left_out: self.left_out.clone(),
            same: self.same.clone(),
            run: None,
            is_settled: self.is_settled,
            until: self.until,
            skips: self.skips.clone(),
            struck: self.struck,
            is_unasked: self.is_unasked,
            path: self.path.clone(),
        }
    }
}

/// Setting a moment aside, as the last decision, would bring the same run.
#[derive(Clone)]
struct LeftOut {
    moment: Moment,
    /// The step at which it could come, where it is not set aside already.
    from: usize,
    /// For how many others it is set aside already; 0: it is not.
    base: u32,
    /// For how many more, at least and at most.
    least: u32,
    most: u32,
    /// From this step on nothing is out of order, nor was tried while it was set aside.
    end: usize,
    /// What is set aside in the run, and would not be.
    instead: Option<Moment>,
    /// What comes before a longer hold makes a difference. What strikes with one of these is not decided on in the
    /// run with that hold.
    early: Rc<[Moment]>,
}

impl LeftOut {
    fn new(moment: Moment, from: usize, base: u32) -> Self {
        let early = Rc::default();
        LeftOut { moment, from, base, least: 1, most: u32::MAX, end: 0, instead: None, early }
    }
}

/// The states that a run came to once all its decisions were taken, one with each moment.
#[derive(Clone, Default)]
struct Path {
    /// So many moments came before.
    from: usize,
    states: Rc<[u64]>,
}

impl Path {
    fn of(steps: &Steps) -> Path {
        let Steps { holds, struck, states, .. } = steps;
        let taken = holds.iter().map(|kept| kept.to).max().unwrap_or(0).max(*struck);
        // What was never let go is decided on to the end.
        let from = if taken > steps.steps.len() { states.len() } else { steps.moments_in(taken) };
        Path { from, states: states[from.min(states.len())..].into() }
    }

    /// After how many moments it is in a state in which another run is after as many.
    fn meets<'p>(&self, others: impl Iterator<Item = &'p Path> + Clone) -> Option<usize> {
        let is_met =
            |(at, state): &(usize, u64)| others.clone().any(|other| other.has(*at, *state));
        let (at, _) = (self.from..).zip(self.states.iter().copied()).find(is_met)?;
        Some(at + 1)
    }

    fn has(&self, at: usize, state: u64) -> bool {
        at.checked_sub(self.from).and_then(|at| self.states.get(at)) == Some(&state)
    }
}

/// What a run went by, and what was read off its outcome.
struct Run<T> {
    read: T,
    trail: Trail,
    /// Its admissions, where any are to be merged.
    orders: Orders,
    path: Path,
}

impl<T> Run<T> {
    /// How many of the moments came in the first so many steps.
    fn moments(&self, steps: usize) -> u32 {
        u32::try_from(self.orders.steps.moments_in(steps)).expect("a run has fewer moments")
    }

    /// Where a moment is set aside until one more came: once how many of the moments have come that run is this
    /// one. `None`: as far as is known it never is.
    fn is_same_from(&self, of: LeftOut) -> Option<u32> {
        let asked = ask(&self.orders, LeftOut { most: of.least, ..of });
        (asked.merged > 0).then(|| self.moments(asked.same.end))
    }

    /// Of a question to the oracle: in which step it came up, and how many of the moments had come.
    fn question(&self, question: usize) -> Option<(&Step, u32)> {
        let Steps { steps, asked, .. } = &self.orders.steps;
        let (number, moments) = asked.get(question)?;
        Some((steps[..*number].last()?, *moments))
    }

    /// Whether a daemon that is killed then leaves what it would have left one moment earlier: the moment came at
    /// the same time, and nothing was changed but what the daemon knows. Nor did a client get its answer with it, which
    /// comes then although the daemon has ended.
    fn is_as_before(&self, question: usize, after: Moment) -> bool {
        let Steps { steps, asked, .. } = &self.orders.steps;
        let Some((came, rest)) = asked.get(question).map(|(at, _)| steps.split_at(*at)) else {
            return false;
        };
        let [.., before, at] = came else { return false };
        let answers = |step: &Step| step.moment.site.op == Op::Done && step.ready == came.len();
        let is_memory = at.moment == after && at.touched.is_of_memory() && before.at == at.at;
        is_memory && !rest.iter().any(answers)
    }

    /// What could have struck, and the moment with which it came up. `None`: nothing, or what leaves the same as one
    /// moment earlier.
    fn strike(&self, &(question, turn): &(usize, Turn)) -> Option<(Turn, Moment)> {
        let is_merged = match turn {
            Turn::Hold { .. } => return None,
            Turn::Fault { .. } => false,
            Turn::Crash { after } => self.is_as_before(question, after),
        };
        let (step, _) = self.question(question).filter(|_| !is_merged)?;
        Some((turn, step.moment))
    }

    fn strikes(&self) -> Vec<(Turn, Moment)> {
        self.trail.turns.iter().filter_map(|asked| self.strike(asked)).collect()
    }

    /// What was left out, to be looked at again as something strikes in this step. `None`: that makes no difference to
    /// it. The run that is struck and the one before it, which is the same up to there, answer alike.
    fn again(&self, of: &LeftOut, struck: usize, looks_longer: bool) -> Option<LeftOut> {
        let mut of = of.clone();
        if of.base > 0 {
            // For longer it cannot be set aside if it was until nothing else could come.
            of.from = self.kept(of.moment).filter(|kept| !kept.to_the_end)?.to;
        }
        let with = self.orders.steps.steps[struck].moment;
        let is_early = looks_longer && of.early.contains(&with);
        if struck < of.from || struck >= of.end && !is_early {
            return None;
        }
        if is_early {
            of.most = u32::MAX;
        }
        // Even the shortest brings another run, which is made elsewhere.
        (of.most >= of.least).then_some(of)
    }

    /// Whether nothing will be asked of the orders of a run that is struck after so many steps, with all decisions that
    /// the bound allows: nothing was set aside any more, and what was left out need not be looked at again.
    fn has_settled(&self, struck: usize, left_out: &[LeftOut]) -> bool {
        let of_step = |of| struck.checked_sub(1).and_then(|step| self.again(of, step, true));
        self.orders.steps.holds.iter().all(|kept| kept.to < struck)
            && left_out.iter().all(|of| of_step(of).is_none())
    }

    /// Once so many moments have come, it is the same as another one. `same`: what was left out of it, where what
    /// strikes in time makes a difference.
    fn until<'p>(
        &self,
        same: &[LeftOut],
        others: impl Iterator<Item = &'p Path> + Clone,
    ) -> Option<u32> {
        let steps = &self.orders.steps.steps;
        let in_time = |of: &LeftOut| {
            let early = steps.iter().rposition(|step| of.early.contains(&step.moment));
            of.end.max(early.map_or(0, |at| at + 1))
        };
        let in_time = same.iter().map(in_time).max().unwrap_or(0);
        let met = self.path.meets(others).filter(|_| in_time <= steps.len())?;
        // With the moment that brings it there they can come apart once more.
        let until = met.max(self.orders.steps.moments_in(in_time)) + 1;
        Some(u32::try_from(until).expect("a run has fewer moments"))
    }

    /// A moment that was set aside and came.
    fn kept(&self, moment: Moment) -> Option<&Kept> {
        let came = |kept: &&Kept| kept.moment == moment && kept.to != usize::MAX;
        self.orders.steps.holds.iter().find(came)
    }
}

/// A run that was made.
pub struct Made<T> {
    /// Off its outcome.
    pub read: T,
    pub trail: Trail,
    /// Runs that were left out.
    pub merged: u64,
}

impl<T> Made<T> {
    /// It is the first with its faults.
    pub fn is_plan(&self) -> bool {
        self.trail.picks.iter().all(|pick| pick.held().is_none())
    }
}

/// What the runs of a tree have in common.
pub struct Tree<'a, T> {
    pub plan: &'a Rc<Plan>,
    pub attempts: &'a Attempts,
    pub bound: Bound,
    /// Leave out what is known to bring the same as another run.
    pub merges: bool,
    /// What is wanted of an outcome. The rest is not kept: many runs wait for their turn.
    pub read: &'a dyn Fn(Result<Outcome, Symptom>) -> T,
}

impl<T: Default> Tree<'_, T> {
    /// Makes the run of a node. `further`: told of the runs with one decision more, in order.
    pub fn make(&self, mut node: Node<T>, further: &mut Vec<Node<T>>) -> Made<T> {
        let made = || Box::new(self.run(&node.picks, node.is_unasked));
        let run = node.run.take().unwrap_or_else(made);
        let met = run.until(&[], std::iter::once(&node.path));
        node.until = node.until.into_iter().chain(met).min();
        let mut merged = 0;
        // What did not come to its turn is a run that is made elsewhere.
        if run.trail.applied == node.picks.len() {
            let mut growth = Growth {
                tree: self,
                node: &node,
                run: &run,
                further: Vec::new(),
                waiting: VecDeque::new(),
                left_out: node.same.clone(),
                until: node.until,
                strikes: Vec::new(),
                merged: 0,
            };
            growth.grow();
            merged = growth.merged;
            let left_out: Rc<[LeftOut]> = growth.left_out.into();
            further.extend(growth.further.into_iter().map(|mut node| {
                if node.left_out.is_empty() {
                    node.left_out = left_out.clone();
                }
                node.is_unasked |= self.is_spent(&node.picks)
                    && node.struck.is_some_and(|struck| run.has_settled(struck, &node.left_out));
                node
            }));
        }
        let Run { read, trail, .. } = *run;
        Made { read, trail, merged }
    }

    /// No decision more is within the bound.
    fn is_spent(&self, picks: &[Pick]) -> bool {
        picks.len() == (self.bound.faults + self.bound.delays) as usize
    }

    /// What has to be known of a run.
    fn notes(&self, picks: &[Pick], is_unasked: bool) -> Notes {
        let Bound { faults, delays } = self.bound;
        let held = picks.iter().filter(|pick| pick.held().is_some()).count();
        let left = (faults + delays) as usize - picks.len();
        let is_held_last = picks.last().is_some_and(|pick| pick.held().is_some());
        let goes_on = left > 1 && held < delays as usize || left > 0 && is_held_last;
        // What a kubelet saw is its own.
        let can_meet = goes_on && self.plan.kubelets.is_empty();
        // With all its faults a run has no other order to be asked for where nothing is set aside.
        if !self.merges || is_unasked || delays == 0 && left == 0 {
            Notes::States
        } else if can_meet {
            Notes::Path
        } else {
            Notes::Steps
        }
    }

    fn run(&self, picks: &[Pick], is_unasked: bool) -> Run<T> {
        let trail = Trail { picks: picks.to_vec(), ..Trail::default() };
        let trail = Rc::new(RefCell::new(trail));
        let oracle = Exhaustive::new(trail.clone(), self.bound);
        let notes = self.notes(picks, is_unasked);
        let mut outcome = self.attempts.clone().noting(notes).make(self.plan, oracle);
        let steps = outcome.as_mut().ok().and_then(|outcome| outcome.steps.take());
        let orders = Orders::new(steps.unwrap_or_default());
        let path = Path::of(&orders.steps);
        Run { path, read: (self.read)(outcome), trail: trail.take(), orders }
    }
}

/// With as many runs in which the same two moments changed places another one is compared.
const ALIKE: usize = 6;

/// Answers how long a moment can be set aside with the same run as it was asked of.
struct Asked {
    same: LeftOut,
    /// Runs that are left out.
    merged: u32,
    /// The first length that makes a difference, as far as is known, and which.
    other: Option<(u32, Split)>,
}

fn ask(orders: &Orders, of: LeftOut) -> Asked {
    let (least, most) = (of.least, of.most);
    let held = orders.hold(of.from, of.moment, of.instead);
    let same = LeftOut { most: least - 1, early: Rc::default(), ..of };
    let mut asked = Asked { same, merged: 0, other: None };
    let Some(mut held) = held else {
        asked.other = Some((least, Split::default()));
        // What strikes with the next one is before it is let go.
        asked.same.end = asked.same.from + 2;
        return asked;
    };
    for more in least..=most {
        let order = if more == least { held.until(more) } else { held.longer() };
        match order {
            Order::Same { end } => {
                asked.merged += 1;
                asked.same.most = more;
                asked.same.end = asked.same.end.max(end);
            }
            Order::Other(split) => {
                asked.other = Some((more, split));
                break;
            }
            Order::Over => {
                // A fault can bring about more to wait for.
                asked.same.most = most;
                break;
            }
        }
    }
    asked.same.end = asked.same.end.max(held.reach);
    asked
}

/// Where the decision to set a moment aside stands among those of the node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Last,
    /// `instead`: of another one.
    BeforeLast {
        instead: Option<Moment>,
    },
}

/// A run in which a moment is set aside, and which is another one than that of which it was asked.
struct Candidate {
    held: Holding,
    /// For how many others it is set aside, from the beginning.
    keeps: u32,
    split: Split,
    /// Which run was asked: one of those that were made, or the node's own.
    of: Option<usize>,
    /// Which of what was left out there ends where this one begins.
    behind: usize,
}

/// A moment that is set aside.
#[derive(Clone, Copy)]
struct Holding {
    moment: Moment,
    /// The step at which it is.
    from: usize,
    place: Place,
    /// For longer than this it is looked at elsewhere.
    most: u32,
}

/// A run that was made to know what brings the same.
struct Settled<T> {
    node: Node<T>,
    held: Moment,
    place: Place,
    split: Split,
}

impl<T> Settled<T> {
    /// Whether a moment that is set aside for so long brings this run, in which another one is set aside, and
    /// for how much longer it does.
    fn asked_instead(&self, held: Holding, keeps: u32) -> Option<Asked> {
        let run = self.node.run.as_ref()?;
        let from = held.from.min(run.kept(self.held)?.from);
        let of = LeftOut::new(held.moment, from, 0);
        let of = LeftOut { least: keeps, most: held.most, instead: Some(self.held), ..of };
        Some(ask(&run.orders, of)).filter(|asked| asked.same.most >= keeps)
    }
}

/// Finds the runs with one decision more than one that was made.
struct Growth<'a, T> {
    tree: &'a Tree<'a, T>,
    node: &'a Node<T>,
    run: &'a Run<T>,
    further: Vec<Node<T>>,
    left_out: Vec<LeftOut>,
    /// Not compared with other runs yet.
    waiting: VecDeque<Candidate>,
    /// As the node's; but what was left out since is in order again, too.
    until: Option<u32>,
    /// What can strike in the node's run, each with the moment with which it came up.
    strikes: Vec<(Turn, Moment)>,
    merged: u64,
}

impl<T: Default> Growth<'_, T> {
    fn grow(&mut self) {
        let picks = &self.node.picks;
        let trail = &self.run.trail;
        if trail.could_lose
            && let Some(Pick::Crash { after, number, .. }) = picks.last().copied()
        {
            let mut lost = picks.clone();
            lost.pop();
            lost.push(Pick::Crash { after, number, loses: true });
            let is_unasked = self.node.is_unasked;
            self.further.push(Node { picks: lost, is_unasked, ..Node::default() });
        }
        if let Some(moment) = trail.could_keep.filter(|_| !self.node.is_settled) {
            debug_assert!(!self.node.is_unasked, "it was let go before the strike");
            self.keep(moment);
        }
        self.look_again();
        let steps = &self.run.orders.steps.steps;
        let mut from = 0;
        for asked in &trail.turns {
            let (question, turn) = *asked;
            let moments = self.run.question(question).map(|(_, moments)| moments);
            let is_over = |until: Option<u32>| until.is_some_and(|end| moments >= Some(end));
            let is_hold = matches!(turn, Turn::Hold { .. });
            if is_over(self.until) || is_hold && is_over(self.node.until) {
                continue;
            }
            self.strikes.extend(self.run.strike(asked));
            if self.node.skips.contains(&turn) {
                continue;
            }
            match turn {
                Turn::Fault { site, caller } => {
                    for number in
                        faults_at(self.tree.attempts.menus(), site, caller, self.tree.merges)
                    {
                        self.strikes_at(question, Pick::Fault { site, number });
                    }
                }
                Turn::Crash { after } if self.run.is_as_before(question, after) => {
                    self.merged += Crash::STANDARD.len() as u64;
                }
                Turn::Crash { after } => {
                    for number in 0..Crash::STANDARD.len() {
                        self.strikes_at(question, Pick::Crash { after, number, loses: false });
                    }
                }
                Turn::Hold { moment } => {
                    // Each comes, or is tried, as soon as it was asked about.
                    let ahead = steps.iter().skip(from).position(|step| step.moment == moment);
                    from += ahead.unwrap_or_default();
                    let of = ahead.map(|_| LeftOut::new(moment, from, 0));
                    if self.is_last_delay(0)
                        && let Some(of) = of
                    {
                        let asked = ask(&self.run.orders, of);
                        self.until =
                            self.until.map(|until| until.max(self.run.moments(asked.same.end)));
                        let most = u32::MAX;
                        let held = Holding { moment, from, place: Place::Last, most };
                        self.note(asked, held, None);
                    } else {
                        let until = of.and_then(|of| self.run.is_same_from(of));
                        let path = self.run.path.clone();
                        let node = self.with(Pick::Hold { moment, keeps: 1 });
                        (node.until, node.path) = (until, path);
                    }
                }
            }
        }
        self.settle();
    }

    fn with(&mut self, pick: Pick) -> &mut Node<T> {
        let picks = self.node.picks.iter().copied().chain([pick]).collect();
        self.further.push_mut(Node { picks, ..Node::default() })
    }

    fn strikes_at(&mut self, question: usize, pick: Pick) {
        let struck = self.run.orders.steps.asked.get(question).map(|(steps, _)| *steps);
        self.with(pick).struck = struck;
    }

    /// The decisions with a moment set aside until this many others came.
    fn picks_with_held(&self, Holding { moment, place, .. }: Holding, keeps: u32) -> Vec<Pick> {
        let mut picks = self.node.picks.clone();
        let instead = match place {
            Place::Last => None,
            Place::BeforeLast { instead } => instead,
        };
        let is_gone = |held: Moment| held == moment || Some(held) == instead;
        picks.retain(|pick| !pick.held().is_some_and(is_gone));
        let at = if place == Place::Last { picks.len() } else { picks.len() - 1 };
        picks.insert(at, Pick::Hold { moment, keeps });
        picks
    }

    /// Whether the delay that is asked about is the last of the bound. `taken`: so many of the node's are it.
    fn is_last_delay(&self, taken: usize) -> bool {
        let spent = self.node.picks.iter().filter(|pick| pick.held().is_some()).count();
        self.tree.merges && self.tree.bound.delays as usize == spent + 1 - taken
    }

    /// What was let go last is kept for longer.
    fn keep(&mut self, moment: Moment) {
        let is_it = |pick: &&Pick| pick.held() == Some(moment);
        let Some(Pick::Hold { keeps, .. }) = self.node.picks.iter().find(is_it).copied() else {
            return;
        };
        let held = Holding { moment, from: 0, place: Place::Last, most: u32::MAX };
        let kept = self.run.kept(moment);
        let of = kept.map(|kept| LeftOut::new(moment, kept.to, keeps));
        match (kept, of) {
            (Some(kept), Some(of)) if self.is_last_delay(1) => {
                let asked = ask(&self.run.orders, of);
                self.note(asked, Holding { from: kept.from, ..held }, None);
            }
            (_, of) => {
                let picks = self.picks_with_held(held, keeps + 1);
                let until = of.and_then(|of| self.run.is_same_from(of));
                let path = self.run.path.clone();
                self.further.push(Node { picks, until, path, ..Node::default() });
            }
        }
    }

    /// Notes an answer that the node's run gave, or one of those that were made.
    fn note(&mut self, asked: Asked, held: Holding, of: Option<(usize, &mut Vec<LeftOut>)>) {
        let Asked { mut same, merged, other } = asked;
        self.merged += u64::from(merged);
        let (of, left_out) = match of {
            Some((of, left_out)) => (Some(of), left_out),
            None => (None, &mut self.left_out),
        };
        let behind = left_out.len();
        if let Some((more, split)) = other {
            let keeps = same.base + more;
            same.early = split.in_time.iter().chain(&*split.meanwhile).copied().collect();
            self.waiting.push_back(Candidate { held, keeps, split, of, behind });
        }
        left_out.push(same);
    }

    /// Makes the runs in which another moment is set aside, each that no other one is known to be equal to.
    fn settle(&mut self) {
        let mut made: Vec<Settled<T>> = Vec::new();
        while let Some(Candidate { held, keeps, split, of, behind }) = self.waiting.pop_front() {
            let Holding { moment, place, most, .. } = held;
            let alike = |(_, other): &(usize, &Settled<T>)| {
                let clash = split.clash;
                clash.is_some() && other.split.clash == clash && other.place == place
            };
            let mut alike = made.iter().enumerate().rev().filter(alike).take(ALIKE);
            let equal =
                alike.find_map(|(number, other)| Some((number, other.asked_instead(held, keeps)?)));
            if let Some((number, asked)) = equal {
                // A fault before the two part strikes too early for the other run. So it does where that run has not
                // taken its own last decision yet.
                let mut early = made[number].split.in_time.to_vec();
                let its_own = self.strikes_of(Some(number), &made);
                let is_offered = |moment: &&Moment| its_own.iter().any(|(_, with)| with == *moment);
                let meanwhile = asked.other.iter().flat_map(|(_, split)| &*split.meanwhile);
                early.extend(meanwhile.filter(|moment| !is_offered(moment)));
                let left_out = match of {
                    Some(of) => &mut made[of].node.same,
                    None => &mut self.left_out,
                };
                let before = &mut left_out[behind];
                before.most = asked.same.most - before.base;
                // Nor does that run have what it skips.
                early.extend_from_slice(&before.early);
                before.early = early.as_slice().into();
                let strikes = self.strikes_of(of, &made);
                let is_early = |turn: &Turn| {
                    strikes.iter().any(|(strike, with)| strike == turn && early.contains(with))
                };
                made[number].node.skips.retain(is_early);
                let mut same = std::mem::take(&mut made[number].node.same);
                self.note(asked, held, Some((number, &mut same)));
                made[number].node.same = same;
                continue;
            }
            let picks = self.picks_with_held(held, keeps);
            let run = self.tree.run(&picks, false);
            let (mut same, mut left_out) = (Vec::new(), Vec::new());
            let kept = run.kept(moment).filter(|_| run.trail.could_keep == Some(moment));
            if let Some(kept) = kept {
                let asked = ask(&run.orders, LeftOut::new(moment, kept.to, keeps));
                self.note(asked, held, Some((made.len(), &mut same)));
            }
            if place != Place::Last {
                // Where it is let go before the last decision, it is looked at again how long that makes no
                // difference.
                let of = LeftOut::new(moment, 0, keeps);
                let most = most.saturating_sub(keeps);
                left_out.push(LeftOut { most, end: usize::MAX, ..of });
            }
            let strikes = self.strikes_of(of, &made);
            let skips = strikes.iter().filter(|(_, with)| split.in_time.contains(with));
            let skips = skips.map(|(strike, _)| *strike).collect();
            let (left_out, run) = (left_out.into(), Some(Box::new(run)));
            let is_settled = true;
            let node = Node { picks, left_out, same, run, is_settled, skips, ..Node::default() };
            made.push(Settled { node, held: moment, place, split });
        }
        for at in 0..made.len() {
            let Settled { node: Node { same, run: Some(run), .. }, place: Place::Last, .. } =
                &made[at]
            else {
                continue;
            };
            // Of two that meet, the one that was made first decides.
            let others = made[..at].iter().filter_map(|other| other.node.run.as_deref());
            let others = others.chain([self.run]);
            made[at].node.until = run.until(same, others.map(|run| &run.path));
        }
        for Settled { mut node, place, .. } in made {
            // Of what is left to be decided nothing is, and many runs wait for their turn.
            if place == Place::Last
                && self.tree.is_spent(&node.picks)
                && let Some(run) = &mut node.run
            {
                run.orders = Orders::default();
            }
            self.further.push(node);
        }
    }

    /// What can strike in a run that was asked: one of those that were made, or the node's own.
    fn strikes_of(&self, of: Option<usize>, made: &[Settled<T>]) -> Cow<'_, [(Turn, Moment)]> {
        match of.and_then(|of| made[of].node.run.as_ref()) {
            Some(run) => run.strikes().into(),
            None => (&self.strikes).into(),
        }
    }

    /// What was left out of the run with one decision less may make a difference with the last one, if that
    /// strikes while moments are out of order.
    fn look_again(&mut self) {
        let last = self.node.picks.last();
        if last.is_none_or(|last| last.held().is_some()) {
            return;
        }
        // A loss after a longer hold comes of the run in which nothing was lost after it.
        let looks_longer = !matches!(last, Some(Pick::Crash { loses: true, .. }));
        let orders = &self.run.orders;
        let Some(struck) = orders.steps.struck.checked_sub(1) else { return };
        for left_out in self.node.left_out.iter() {
            let Some(left_out) = self.run.again(left_out, struck, looks_longer) else { continue };
            let LeftOut { from, base, moment, instead, .. } = left_out;
            let most = left_out.most.saturating_add(base);
            let asked = ask(orders, left_out);
            let kept = self.run.kept(moment).filter(|_| base > 0);
            let from = kept.map_or(from, |kept| kept.from);
            let place = Place::BeforeLast { instead };
            self.note(Asked { merged: 0, ..asked }, Holding { moment, from, place, most }, None);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test reads the drivers from the disk")]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use shakedown_cri::quirks::Profile;

    use super::*;
    use crate::explore::exhaustive::can_strike;
    use crate::explore::{States, plan, undecided};
    use crate::oracle::Menus;
    use crate::scenario::parse;
    use crate::turnstile::{Awaited, Layer, Op, RecordingEntry};

    /// Small enough for every schedule of two delays.
    const TWO_UPDATES: &str = r#"
shakedown = 1
title = "Two resource updates at once"
[[world.container]]
name = "web"
state = "running"
[[call]]
do = "update"
container = "web"
cpu-shares = 512
[[call]]
do = "update"
container = "web"
cpu-shares = 1024
"#;

    /// Short enough for the whole of another request to come between two moments of one.
    const TWO_STATUSES: &str = r#"
shakedown = 1
title = "Two requests for a status at once"
[[world.container]]
name = "web"
state = "running"
[[call]]
do = "status"
container = "web"
[[call]]
do = "status"
container = "web"
"#;

    struct Row {
        driver: &'static str,
        profile: &'static str,
        bound: Bound,
        /// With a delay only faults of these kinds at this operation, or crashes after it.
        at: Option<(Op, &'static [&'static str])>,
        /// So many runs are to be enough.
        most: usize,
    }

    const fn row(
        driver: &'static str,
        profile: &'static str,
        (faults, delays): (u32, u32),
        at: Option<(Op, &'static [&'static str])>,
        most: usize,
    ) -> Row {
        Row { driver, profile, bound: Bound { faults, delays }, at, most }
    }

    /// What each task of the service, each request and the node had to do, in its order, and what it heard. Two
    /// tasks may have one name, and then it is chance which of their calls comes first and is counted so.
    fn histories(outcome: &Outcome) -> BTreeMap<String, Vec<String>> {
        let mut histories: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // So is the number in a name that is drawn for a directory.
        let uncounted = |text: String| -> String {
            let mut parts = text.split_inclusive(['#', '/']);
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |all, part| all + part.trim_start_matches(char::is_numeric))
        };
        for entry in &outcome.recording.entries {
            let RecordingEntry::Moment(happened) = entry else { continue };
            let site = happened.moment.site;
            // The first poll of a task is its own.
            let who = if site.op == Op::Spawn { site.subject } else { site.actor };
            // Which numbers descriptors have is nobody's business.
            let is_of_files = matches!(site.op.layer(), Layer::File | Layer::Pipe);
            let payload = if is_of_files { 0 } else { happened.payload };
            let moment = uncounted(happened.moment.to_string());
            let heard = format!("{moment} {payload} {:?}", happened.error);
            histories.entry(uncounted(who.to_string())).or_default().push(heard);
        }
        for (who, history) in &mut histories {
            if who.starts_with("task-wait(") {
                history.sort();
            }
        }
        histories
    }

    /// What came of a run in the end.
    fn facts(outcome: &Outcome) -> String {
        let broken: Vec<_> = Symptom::all(outcome).iter().map(|s| s.broken).collect();
        let Outcome { answers, quiet, reaped, events, stop, .. } = outcome;
        let answered =
            answers.iter().map(|a| (a.call, a.answered, a.result.as_ref().map(Result::is_ok)));
        let answered: Vec<_> = answered.collect();
        let peeks = quiet.statuses.iter().filter_map(|shot| shot.status.as_ref());
        let statuses: Vec<_> = peeks.map(|p| (p.state, p.exit_code, p.reason.clone())).collect();
        let left = (&quiet.left, reaped.as_ref().map(|reaped| &reaped.left));
        format!("{answered:?} {statuses:?} {left:?} {events:?} {stop:?} {broken:?}")
    }

    /// Of error classes that nobody tells apart one is tried.
    fn stands_for_itself(menus: &Menus, op: Op, number: usize) -> bool {
        let fault = &menus.of(op)[number];
        let awaited = [Awaited::ByNoClient, Awaited::Blindly, Awaited::UntilGivenUp];
        let mut callers = awaited.iter().flat_map(|a| [(*a, false), (*a, true)]);
        callers.any(|caller| can_strike(fault, op, caller, true))
    }

    fn plan_of(driver: &str) -> Rc<Plan> {
        let file = format!("{}/../scenarios/drivers/{driver}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = match driver {
            "two-updates" => TWO_UPDATES.to_owned(),
            "two-statuses" => TWO_STATUSES.to_owned(),
            _ => std::fs::read_to_string(&file).expect("the driver is there"),
        };
        let scenario = undecided(&parse(&file, &text).expect("it is right"));
        plan(&scenario).expect("it has no matrix")
    }

    /// What came of each run of a row, the states that they came to, and how many there were.
    fn all(row: &Row, merges: bool) -> (BTreeSet<String>, BTreeSet<Option<u64>>, usize) {
        let Row { driver, profile, bound, at, .. } = row;
        let plan = plan_of(driver);
        let attempts = Attempts::new(Profile::find(profile).expect("it is known"));
        let attempts = if merges { attempts.merging(&plan) } else { attempts };
        let read = |outcome: Result<Outcome, Symptom>| {
            let outcome = outcome.expect("the harness holds");
            (facts(&outcome), format!("{:?}", histories(&outcome)), outcome.state)
        };
        let tree = Tree { plan: &plan, attempts: &attempts, bound: *bound, merges, read: &read };
        let within = |pick: &Pick| match pick {
            Pick::Fault { site, number } => {
                let kind = attempts.menus().of(site.op)[*number].kind();
                let is_here = |(op, kinds): &(Op, &[&str])| *op == site.op && kinds.contains(&kind);
                at.as_ref().is_none_or(is_here)
                    && stands_for_itself(attempts.menus(), site.op, *number)
            }
            Pick::Crash { after, .. } => at
                .as_ref()
                .is_none_or(|(op, kinds)| *op == after.site.op && kinds.contains(&"crash")),
            Pick::Hold { .. } => true,
        };
        let (mut brought, mut states, mut runs) = (BTreeSet::new(), BTreeSet::new(), 0);
        let mut ahead = vec![Node::default()];
        while let Some(node) = ahead.pop() {
            let is_killed = node.picks.iter().any(|pick| matches!(pick, Pick::Crash { .. }));
            let (mut of_run, histories, state) = tree.make(node, &mut ahead).read;
            ahead.retain(|node| node.picks.iter().all(within));
            // Whom it is killed with has done as much more, or less, in its memory.
            if !is_killed {
                of_run += &histories;
            }
            states.insert(state);
            brought.insert(of_run);
            runs += 1;
        }
        (brought, states, runs)
    }

    /// Runs come to few states, each of which is reaped once. What comes of that is the same for all: a debug build
    /// makes sure.
    #[test]
    fn the_same_states_come_again_and_again() {
        let bound = Bound { faults: 0, delays: 1 };
        for (driver, count) in [
            ("a-start-and-a-second-start", 6),
            ("a-recovery", 6),
            ("a-start-and-a-clock-that-is-set-back", 2),
        ] {
            let plan = plan_of(driver);
            let profile = Profile::find("hardened").expect("it is known");
            let attempts = Attempts::new(profile).merging(&plan);
            let read = |outcome: Result<Outcome, Symptom>| outcome.ok().and_then(|o| o.state);
            let tree = Tree { plan: &plan, attempts: &attempts, bound, merges: true, read: &read };
            let (mut ahead, mut states, mut runs) = (vec![Node::default()], States::default(), 0);
            while let Some(node) = ahead.pop() {
                states.note(tree.make(node, &mut ahead).read);
                runs += 1;
            }
            assert_eq!(states.count(), count, "{driver}: of {runs} runs");
        }
    }

    /// What is left out brings nothing that the rest does not bring: to no task, to no request, to no file; and leaves
    /// the node in no other state.
    fn nothing_is_missing(rows: impl IntoIterator<Item = Row>) {
        for row in rows {
            let (merged, reached, few) = all(&row, true);
            let (whole, states, many) = all(&row, false);
            let Row { driver, profile, .. } = row;
            let missing = whole.difference(&merged).count();
            assert_eq!(missing, 0, "{driver} {profile}: of {} runs' outcomes", whole.len());
            let lost = states.difference(&reached).count();
            assert_eq!(lost, 0, "{driver} {profile}: of {} states", states.len());
            assert!(few < many && few <= row.most, "{driver} {profile}: {few} of {many} runs");
        }
    }

    const KINDS: &[&str] = &["error", "connection-closed", "hang", "cancel", "deadline"];

    #[test]
    fn what_is_left_out_beside_a_removal_brings_nothing_else() {
        nothing_is_missing([
            row("a-start-and-a-removal", "1.7.24", (1, 1), Some((Op::TaskWait, KINDS)), 175),
            row("a-start-and-a-removal", "hardened", (1, 1), Some((Op::TaskCreate, KINDS)), 500),
            row("a-start-and-a-removal", "1.7.24", (1, 1), Some((Op::FsRename, &["crash"])), 400),
            row("a-start-and-a-removal", "1.7.0-beta.3", (1, 0), None, 200),
        ]);
    }

    #[test]
    fn what_is_left_out_beside_another_call_brings_nothing_else() {
        const HANG: &[&str] = &["hang"];
        nothing_is_missing([
            row("a-start-and-a-second-start", "hardened", (0, 1), None, 60),
            row("a-start-and-a-stop", "hardened", (0, 1), None, 45),
            row("a-start-and-a-stop", "hardened", (1, 1), Some((Op::MetricsRegister, HANG)), 140),
            row("two-updates", "1.7.24", (0, 2), None, 700),
            row("two-statuses", "hardened", (1, 1), None, 221),
        ]);
    }

    /// Where a fault strikes just before a moment is let go, or while some are out of order, its run is asked for their
    /// order. As many runs are made if all of them note their steps.
    #[test]
    fn a_run_notes_its_steps_if_it_will_be_asked() {
        let at = Some((Op::RecordInfo, KINDS));
        let row = row("a-start-and-a-removal", "hardened", (1, 1), at, 0);
        assert_eq!(all(&row, true).2, 2773);
    }

    /// Where a run is left to another one from some moment on, as both are in the same state, a daemon that is killed
    /// later leaves the same.
    #[test]
    fn what_strikes_after_two_runs_have_met_leaves_the_same() {
        let bound = Bound { faults: 1, delays: 1 };
        let mut compared = 0;
        let drivers = [("a-start-and-a-removal", 2), ("a-start-and-a-stop", 5), ("a-recovery", 20)];
        for (driver, every) in drivers {
            let plan = plan_of(driver);
            let profile = Profile::find("hardened").expect("it is known");
            let attempts = Attempts::new(profile).merging(&plan);
            let read = |outcome: Result<Outcome, Symptom>| outcome.ok().and_then(|o| o.state);
            let tree = Tree { plan: &plan, attempts: &attempts, bound, merges: true, read: &read };
            let mut nodes = Vec::new();
            let root = tree.run(&[], false).path;
            tree.make(Node::default(), &mut nodes);
            let held: Vec<(&Node<_>, &Run<_>)> =
                nodes.iter().filter_map(|node| Some((node, node.run.as_deref()?))).collect();
            for (at, (node, run)) in held.iter().enumerate() {
                let Some(until) = node.until else { continue };
                let none = (&[][..], &root);
                let before = held[..at].iter().map(|(node, run)| (&*node.picks, &run.path));
                let before = before.chain([none]);
                let met = before.clone().find(|(_, path)| {
                    run.path.meets([*path].iter().copied()).is_some_and(|met| met < until as usize)
                });
                let (others, _) = met.expect("it is left to another one");
                let later = run.trail.turns.iter().filter_map(|(question, turn)| match turn {
                    Turn::Crash { after } if run.question(*question)?.1 >= until => Some(*after),
                    _ => None,
                });
                for after in later.step_by(every) {
                    let crash = Pick::Crash { after, number: 0, loses: false };
                    let left = [&*node.picks, others]
                        .map(|picks| tree.run(&[picks, &[crash]].concat(), true).read);
                    assert_eq!(
                        left[0], left[1],
                        "{driver}: {:?} and {others:?}, {after}",
                        node.picks
                    );
                    compared += 1;
                }
            }
        }
        assert!(compared > 300, "{compared}");
    }

    #[test]
    fn what_is_left_out_of_a_single_call_brings_nothing_else() {
        const LATE: &[&str] = &["deadline"];
        const ERROR: Option<(Op, &[&str])> = Some((Op::RuntimeStart, &["error"]));
        nothing_is_missing([
            row("a-start-alone", "2.1.9", (0, 1), None, 1),
            row("a-start-alone", "hardened", (1, 1), Some((Op::RuntimeStart, LATE)), 65),
            row("a-start-alone", "hardened", (1, 1), Some((Op::ShimState, LATE)), 330),
            row("a-start-and-want-of-memory", "1.7.24", (1, 1), ERROR, 130),
            row("a-pod-that-dies", "1.7.24", (1, 2), Some((Op::ShimState, LATE)), 160),
            row("a-creation", "2.1.9", (1, 0), None, 300),
            row("a-start-and-want-of-memory", "1.7.24", (1, 0), None, 1000),
        ]);
    }
}
