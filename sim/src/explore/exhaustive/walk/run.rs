//! A run that was made: the questions that its orders answer, and the states that it came to.

use std::rc::Rc;

use crate::explore::exhaustive::commute::{Order, Orders, Split};
use crate::explore::exhaustive::oracle::{Trail, Turn};
use crate::turnstile::{Kept, Moment, Op, Step, Steps};

/// Setting a moment aside, as the last decision, would bring the same run.
#[derive(Clone)]
pub(super) struct LeftOut {
    pub(super) moment: Moment,
    /// The step at which it could come, where it is not set aside already.
    pub(super) from: usize,
    /// For how many others it is set aside already; 0: it is not.
    pub(super) base: u32,
    /// For how many more, at least and at most.
    pub(super) least: u32,
    pub(super) most: u32,
    /// From this step on nothing is out of order, nor was tried while it was set aside.
    pub(super) end: usize,
    /// What is set aside in the run, and would not be.
    pub(super) instead: Option<Moment>,
    /// What comes before a longer hold makes a difference. What strikes with one of these is not decided on in the
    /// run with that hold.
    pub(super) early: Rc<[Moment]>,
}

impl LeftOut {
    pub(super) fn new(moment: Moment, from: usize, base: u32) -> Self {
        let early = Rc::default();
        LeftOut { moment, from, base, least: 1, most: u32::MAX, end: 0, instead: None, early }
    }
}

/// The states that a run came to once all its decisions were taken, one with each moment.
#[derive(Clone, Default)]
pub(super) struct Path {
    /// So many moments came before.
    from: usize,
    states: Rc<[u64]>,
}

impl Path {
    pub(super) fn of(steps: &Steps) -> Path {
        let Steps { holds, struck, states, .. } = steps;
        let taken = holds.iter().map(|kept| kept.to).max().unwrap_or(0).max(*struck);
        // What was never let go is decided on to the end.
        let from = if taken > steps.steps.len() { states.len() } else { steps.moments_in(taken) };
        Path { from, states: states[from.min(states.len())..].into() }
    }

    /// After how many moments it is in a state in which another run is after as many.
    pub(super) fn meets<'p>(
        &self,
        others: impl Iterator<Item = &'p Path> + Clone,
    ) -> Option<usize> {
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
pub(super) struct Run<T> {
    pub(super) read: T,
    pub(super) trail: Trail,
    /// Its admissions, where any are to be merged.
    pub(super) orders: Orders,
    pub(super) path: Path,
}

impl<T> Run<T> {
    /// Once how many of the moments have come nothing tells two runs apart that are the same after so many steps: with
    /// the moment that brings them there they can come apart once more.
    pub(super) fn moments_past(&self, steps: usize) -> u32 {
        u32::try_from(self.orders.steps.moments_in(steps) + 1).expect("a run has fewer moments")
    }

    /// Where a moment is set aside until one more came: once how many of the moments have come that run is this
    /// one. `None`: as far as is known it never is.
    pub(super) fn is_same_from(&self, of: LeftOut) -> Option<u32> {
        let asked = ask(&self.orders, LeftOut { most: of.least, ..of });
        (asked.merged > 0).then(|| self.moments_past(asked.same.end))
    }

    /// Of a question to the oracle: in which step it came up, and how many of the moments had come.
    pub(super) fn question(&self, question: usize) -> Option<(&Step, u32)> {
        let Steps { steps, asked, .. } = &self.orders.steps;
        let (number, moments) = asked.get(question)?;
        Some((steps[..*number].last()?, *moments))
    }

    /// Whether a daemon that is killed then leaves what it would have left one moment earlier: the moment came at
    /// the same time, and nothing was changed but what the daemon knows. Nor did a client get its answer with it, which
    /// comes then although the daemon has ended.
    pub(super) fn is_as_before(&self, question: usize, after: Moment) -> bool {
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
    pub(super) fn strike(&self, &(question, turn): &(usize, Turn)) -> Option<(Turn, Moment)> {
        let is_merged = match turn {
            Turn::Hold { .. } => return None,
            Turn::Fault { .. } => false,
            Turn::Crash { after } => self.is_as_before(question, after),
        };
        let (step, _) = self.question(question).filter(|_| !is_merged)?;
        Some((turn, step.moment))
    }

    pub(super) fn strikes(&self) -> Vec<(Turn, Moment)> {
        self.trail.turns.iter().filter_map(|asked| self.strike(asked)).collect()
    }

    /// What was left out, to be looked at again as something strikes in this step. `None`: that makes no difference to
    /// it. The run that is struck and the one before it, which is the same up to there, answer alike.
    pub(super) fn again(&self, of: &LeftOut, struck: usize, looks_longer: bool) -> Option<LeftOut> {
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
    pub(super) fn has_settled(&self, struck: usize, left_out: &[LeftOut]) -> bool {
        let of_step = |of| struck.checked_sub(1).and_then(|step| self.again(of, step, true));
        self.orders.steps.holds.iter().all(|kept| kept.to < struck)
            && left_out.iter().all(|of| of_step(of).is_none())
    }

    /// Once so many moments have come, it is the same as another one. `same`: what was left out of it, where what
    /// strikes in time makes a difference.
    pub(super) fn until<'p>(
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
        let met = u32::try_from(met + 1).expect("a run has fewer moments");
        Some(met.max(self.moments_past(in_time)))
    }

    /// A moment that was set aside and came.
    pub(super) fn kept(&self, moment: Moment) -> Option<&Kept> {
        let came = |kept: &&Kept| kept.moment == moment && kept.to != usize::MAX;
        self.orders.steps.holds.iter().find(came)
    }
}

/// Answers how long a moment can be set aside with the same run as it was asked of.
pub(super) struct Asked {
    pub(super) same: LeftOut,
    /// Runs that are left out.
    pub(super) merged: u32,
    /// The first length that makes a difference, as far as is known, and which.
    pub(super) other: Option<(u32, Split)>,
}

pub(super) fn ask(orders: &Orders, of: LeftOut) -> Asked {
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
