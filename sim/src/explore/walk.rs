//! The tree of an exhaustive search: a run, and those that take one decision more.
//!
//! A run's decisions are had from that of all but the last one of them, so each set of decisions that can come
//! about is tried once. Where the last delay of the bound would only have moments that commute change
//! places, the run is left out. A fault that strikes while they are still out of order can tell the two
//! apart: for that, what was left out is looked at again in the runs with one fault more.

use std::cell::RefCell;
use std::rc::Rc;

use super::attempt::Attempts;
use super::commute::{Order, comes_within, set_aside};
use super::exhaustive::{Exhaustive, Pick, Trail, Turn, faults_at};
use super::strategy::Bound;
use super::symptom::Symptom;
use crate::oracle::Crash;
use crate::run::{Outcome, Plan};
use crate::turnstile::{Moment, Step, Steps};

/// A run to be made.
#[derive(Clone, Debug, Default)]
pub struct Node {
    picks: Vec<Pick>,
    /// What was left out of the run that this one has a decision more than.
    left_out: Rc<[LeftOut]>,
}

impl Node {
    /// No decision differs from the uneventful one.
    pub fn is_undisturbed(&self) -> bool {
        self.picks.is_empty()
    }
}

/// Setting a moment aside for up to so long would bring the same run.
#[derive(Clone, Copy, Debug)]
struct LeftOut {
    moment: Moment,
    /// The step at which it could come, where it is not set aside already.
    from: usize,
    /// For how many others it is set aside already; 0: it is not.
    base: u32,
    most: u32,
    /// From this step on nothing is out of order.
    end: usize,
}

/// A run that was made.
pub struct Made {
    pub outcome: Result<Outcome, Symptom>,
    pub trail: Trail,
    /// Runs that were left out.
    pub merged: u64,
}

impl Made {
    /// It is the first with its faults.
    pub fn is_plan(&self) -> bool {
        self.trail.picks.iter().all(|pick| pick.held().is_none())
    }
}

/// What the runs of a tree have in common.
pub struct Tree<'a> {
    pub plan: &'a Rc<Plan>,
    /// With steps, if any are to be merged.
    pub attempts: &'a Attempts,
    pub bound: Bound,
    /// Leave out what is known to bring the same as another run.
    pub merges: bool,
}

impl Tree<'_> {
    /// Makes the run of a node. `further`: told of the runs with one decision more, in order.
    pub fn make(&self, node: &Node, further: &mut Vec<Node>) -> Made {
        let trail = Rc::new(RefCell::new(Trail { picks: node.picks.clone(), ..Trail::default() }));
        let oracle = Exhaustive::new(trail.clone(), self.bound);
        let mut outcome = self.attempts.make(self.plan, oracle);
        let trail = trail.take();
        let steps = outcome.as_mut().ok().and_then(|outcome| outcome.steps.take());
        let mut made = Made { outcome, trail, merged: 0 };
        // What did not come to its turn is a run that is made elsewhere.
        if made.trail.applied == node.picks.len() {
            let steps = steps.filter(|_| self.merges).unwrap_or_default();
            let mut growth = Growth {
                tree: self,
                node,
                trail: &made.trail,
                steps: &steps,
                further: Vec::new(),
                left_out: Vec::new(),
                merged: 0,
            };
            growth.grow();
            made.merged = growth.merged;
            let left_out: Rc<[LeftOut]> = growth.left_out.into();
            let further_of = growth.further.into_iter().map(|mut node| {
                if node.left_out.is_empty() {
                    node.left_out = left_out.clone();
                }
                node
            });
            further.extend(further_of);
        }
        made
    }
}

/// Finds the runs with one decision more than one that was made.
struct Growth<'a> {
    tree: &'a Tree<'a>,
    node: &'a Node,
    trail: &'a Trail,
    steps: &'a Steps,
    further: Vec<Node>,
    left_out: Vec<LeftOut>,
    merged: u64,
}

impl Growth<'_> {
    fn grow(&mut self) {
        let picks = &self.node.picks;
        if self.trail.could_lose
            && let Some(Pick::Crash { after, number, .. }) = picks.last().copied()
        {
            let mut lost = picks.clone();
            lost.pop();
            lost.push(Pick::Crash { after, number, loses: true });
            self.further.push(Node { picks: lost, ..Node::default() });
        }
        if let Some(moment) = self.trail.could_keep {
            self.keep(moment);
        }
        self.look_again();
        let mut from = 0;
        for turn in &self.trail.turns {
            match *turn {
                Turn::Fault { site, caller } => {
                    for number in
                        faults_at(self.tree.attempts.menus(), site, caller, self.tree.merges)
                    {
                        self.with(Pick::Fault { site, number });
                    }
                }
                Turn::Crash { after } if self.is_as_before(after) => {
                    self.merged += Crash::STANDARD.len() as u64;
                }
                Turn::Crash { after } => {
                    for number in 0..Crash::STANDARD.len() {
                        self.with(Pick::Crash { after, number, loses: false });
                    }
                }
                Turn::Hold { moment } if self.is_last_delay(0) => {
                    let steps = &self.steps.steps[from.min(self.steps.steps.len())..];
                    // Each comes, or is tried, as soon as it was asked about.
                    if let Some(ahead) = steps.iter().position(|step| step.moment == moment) {
                        from += ahead;
                        self.hold(LeftOut { moment, from, base: 0, most: u32::MAX, end: 0 }, true);
                    } else {
                        self.with(Pick::Hold { moment, keeps: 1 });
                    }
                }
                Turn::Hold { moment } => self.with(Pick::Hold { moment, keeps: 1 }),
            }
        }
    }

    /// Whether a daemon that is killed after the moment leaves what it would have left before it: the moment
    /// came at the same time, and nothing was changed but what the daemon knows.
    fn is_as_before(&self, after: Moment) -> bool {
        let steps = &self.steps.steps;
        let is_it = |step: &Step| step.happened && step.moment == after;
        let Some(at) = steps.iter().rposition(is_it) else { return false };
        let before = steps[..at].last();
        steps[at].touched.is_of_memory() && before.is_some_and(|before| before.at == steps[at].at)
    }

    fn with(&mut self, pick: Pick) {
        let picks = self.node.picks.iter().copied().chain([pick]).collect();
        self.further.push(Node { picks, ..Node::default() });
    }

    /// With `moment` set aside until this many others came, as the last decision.
    fn with_held(&mut self, moment: Moment, keeps: u32) {
        let mut picks = self.node.picks.clone();
        picks.retain(|pick| pick.held() != Some(moment));
        picks.push(Pick::Hold { moment, keeps });
        self.further.push(Node { picks, ..Node::default() });
    }

    /// With `moment` set aside for so long before the last decision, and perhaps for longer.
    fn with_held_before(&mut self, of: LeftOut, more: u32) {
        let mut picks = self.node.picks.clone();
        let LeftOut { moment, base, most, .. } = of;
        picks.retain(|pick| pick.held() != Some(moment));
        let last = picks.len() - 1;
        picks.insert(last, Pick::Hold { moment, keeps: base + more });
        let longer = LeftOut { base: base + more, most: most - more, end: usize::MAX, ..of };
        self.further.push(Node { picks, left_out: [longer].into() });
    }

    /// Whether no delay of the bound is left after `more`.
    fn is_last_delay(&self, taken: usize) -> bool {
        let spent = self.node.picks.iter().filter(|pick| pick.held().is_some()).count();
        self.tree.merges && self.tree.bound.delays as usize == spent + 1 - taken
    }

    /// The number of steps when a moment was let go that was set aside.
    fn let_go(&self, moment: Moment) -> Option<usize> {
        let kept = self.steps.holds.iter().find(|kept| kept.moment == moment)?;
        (kept.to != usize::MAX).then_some(kept.to)
    }

    /// What was let go last is kept for longer.
    fn keep(&mut self, moment: Moment) {
        let is_it = |pick: &&Pick| pick.held() == Some(moment);
        let Some(Pick::Hold { keeps: base, .. }) = self.node.picks.iter().find(is_it) else {
            return;
        };
        match self.let_go(moment).filter(|_| self.is_last_delay(1)) {
            Some(from) => {
                self.hold(LeftOut { moment, from, base: *base, most: u32::MAX, end: 0 }, true);
            }
            None => self.with_held(moment, base + 1),
        }
    }

    /// Tries how long a moment can be set aside without any difference, and goes on with what makes one.
    fn hold(&mut self, of: LeftOut, is_new: bool) {
        let mut same = LeftOut { most: 0, ..of };
        for more in 1..=of.most {
            match set_aside(self.steps, of.from, of.moment, more) {
                Order::Same { end } => {
                    same.most = more;
                    same.end = same.end.max(end);
                    self.merged += u64::from(is_new);
                }
                Order::Other => {
                    if is_new {
                        self.with_held(of.moment, of.base + more);
                    } else {
                        self.with_held_before(of, more);
                    }
                    break;
                }
                Order::Over => {
                    // A fault can bring about more to wait for.
                    same.most = of.most;
                    break;
                }
            }
        }
        if same.most > 0 {
            self.left_out.push(same);
        }
    }

    /// What was left out of the run with one decision less may make a difference with the last one, if that
    /// strikes while moments are out of order.
    fn look_again(&mut self) {
        let is_fault = match self.node.picks.last() {
            Some(Pick::Fault { .. }) => true,
            Some(Pick::Crash { .. }) => false,
            _ => return,
        };
        let Some(struck) = self.steps.struck.checked_sub(1) else { return };
        for mut left_out in self.node.left_out.iter().copied() {
            if left_out.base > 0 {
                let Some(from) = self.let_go(left_out.moment) else { continue };
                left_out.from = from;
            }
            if left_out.from <= struck && struck < left_out.end {
                let LeftOut { from, moment, most, .. } = left_out;
                // Without the fault it was set aside for longer than that; but where the fault strikes
                // meanwhile, that run goes on from one which this fault comes too early for.
                if is_fault && comes_within(self.steps, from, moment, most, struck) {
                    left_out.most = u32::MAX;
                }
                self.hold(left_out, false);
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test reads the drivers from the disk")]
mod tests {
    use std::collections::BTreeSet;

    use shakedown_cri::quirks::Profile;

    use super::*;
    use crate::explore::{plan, undecided};
    use crate::scenario::parse;
    use crate::turnstile::Op;

    /// What came of each run within the bound, and how many there were. With a delay faults strike at `ops`
    /// alone, and nothing is killed: all of them would be too many for a test.
    fn all(
        (driver, profile): (&str, &str),
        bound: Bound,
        ops: &[Op],
        merges: bool,
    ) -> (BTreeSet<String>, usize) {
        let file = format!("{}/../scenarios/drivers/{driver}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&file).expect("the driver is there");
        let scenario = undecided(&parse(&file, &text).expect("it is right"));
        let plan = plan(&scenario).expect("it has no matrix");
        let attempts = Attempts::new(Profile::find(profile).expect("it is known"));
        let attempts = attempts.with_steps(merges);
        let tree = Tree { plan: &plan, attempts: &attempts, bound, merges };
        let (mut brought, mut runs) = (BTreeSet::new(), 0);
        let mut ahead = vec![Node::default()];
        let within = |pick: &Pick| match pick {
            Pick::Fault { site, .. } => ops.contains(&site.op),
            Pick::Crash { .. } => false,
            Pick::Hold { .. } => true,
        };
        while let Some(node) = ahead.pop() {
            let outcome = tree.make(&node, &mut ahead).outcome.expect("the harness holds");
            ahead.retain(|node| bound.delays == 0 || node.picks.iter().all(within));
            let broken: Vec<_> = Symptom::all(&outcome).iter().map(|s| s.broken).collect();
            let Outcome { answers, quiet, reaped, events, stop, .. } = outcome;
            // Of error classes that nobody tells apart one is tried: its name is in the texts.
            let answered =
                answers.iter().map(|a| (a.call, a.answered, a.result.as_ref().map(Result::is_ok)));
            let answered: Vec<_> = answered.collect();
            let peeks = quiet.statuses.iter().filter_map(|shot| shot.status.as_ref());
            let statuses: Vec<_> =
                peeks.map(|p| (p.state, p.exit_code, p.reason.clone())).collect();
            let left = (&quiet.left, reaped.as_ref().map(|reaped| &reaped.left));
            let mut facts =
                format!("{answered:?} {statuses:?} {left:?} {events:?} {stop:?} {broken:?}");
            if bound.faults == 0 {
                facts += &format!("{answers:?} {quiet:?} {reaped:?}");
            }
            brought.insert(facts);
            runs += 1;
        }
        (brought, runs)
    }

    /// What is left out brings nothing that the rest does not bring, down to the last file and event.
    #[test]
    fn what_is_left_out_brings_nothing_else() {
        let none: &[Op] = &[];
        for (driver, profile, faults, delays, ops) in [
            ("a-start-alone", "2.1.9", 0, 1, none),
            ("a-start-and-a-second-start", "hardened", 0, 1, none),
            ("a-start-and-a-removal", "1.7.24", 0, 1, none),
            ("a-start-and-a-removal", "1.7.24", 1, 1, &[Op::TaskWait]),
            ("a-start-and-a-removal", "1.7.0-beta.3", 1, 0, none),
            ("a-creation", "2.1.9", 1, 0, none),
        ] {
            let bound = Bound { faults, delays };
            let (merged, few) = all((driver, profile), bound, ops, true);
            let (whole, many) = all((driver, profile), bound, ops, false);
            let missing: Vec<_> = whole.difference(&merged).collect();
            assert!(
                missing.is_empty(),
                "{driver} {profile}: {} of {} missing, as {}",
                missing.len(),
                whole.len(),
                missing[0]
            );
            assert_eq!(merged, whole, "{driver} {profile}");
            assert!(few < many * 3 / 4, "{driver} {profile}: {few} of {many}");
        }
    }
}
