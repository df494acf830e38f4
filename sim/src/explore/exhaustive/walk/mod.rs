//! The tree of an exhaustive search: a run, and those that take one decision more.
//!
//! A run's decisions are had from that of all but the last one of them, so each set of decisions that can come
//! about is tried once. Where the last delay of the bound would only have moments that commute change
//! places, with those of the run before or of another one that was made, the run is left out. A fault that
//! strikes while they are still out of order can tell the two apart: for that, what was left out is looked at
//! again in the runs with one fault more. What strikes before a delay makes a difference is decided on in the run
//! without that delay only, and every length of it is tried there. What strikes once the delay makes no difference any
//! more, as two runs have come to one state after as many moments, is decided on in the one that was made first.

mod growth;
mod run;
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test reads the drivers from the disk")]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;

use super::commute::Orders;
use super::oracle::{Exhaustive, Pick, Trail, Turn};
use crate::explore::attempt::Attempts;
use crate::explore::decisions::Bound;
use crate::explore::symptom::Symptom;
use crate::run::{Outcome, Plan};
use crate::turnstile::Notes;
use growth::Growth;
use run::{LeftOut, Path, Run};

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
            let mut growth = Growth::new(self, &node, &run);
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
