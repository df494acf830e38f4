//! The runs with one decision more than one that was made.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::run::{Asked, LeftOut, Run, ask};
use super::{Node, Tree};
use crate::explore::exhaustive::commute::{Orders, Split};
use crate::explore::exhaustive::oracle::{Pick, Turn, faults_at};
use crate::oracle::Crash;
use crate::turnstile::Moment;

/// With as many runs in which the same two moments changed places another one is compared.
const ALIKE: usize = 6;

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
pub(super) struct Growth<'a, T> {
    tree: &'a Tree<'a, T>,
    node: &'a Node<T>,
    run: &'a Run<T>,
    pub(super) further: Vec<Node<T>>,
    pub(super) left_out: Vec<LeftOut>,
    /// Not compared with other runs yet.
    waiting: VecDeque<Candidate>,
    /// As the node's; but what was left out since is in order again, too.
    until: Option<u32>,
    /// What can strike in the node's run, each with the moment with which it came up.
    strikes: Vec<(Turn, Moment)>,
    pub(super) merged: u64,
}

impl<'a, T: Default> Growth<'a, T> {
    pub(super) fn new(tree: &'a Tree<'a, T>, node: &'a Node<T>, run: &'a Run<T>) -> Self {
        Growth {
            tree,
            node,
            run,
            further: Vec::new(),
            left_out: node.same.clone(),
            waiting: VecDeque::new(),
            until: node.until,
            strikes: Vec::new(),
            merged: 0,
        }
    }

    pub(super) fn grow(&mut self) {
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
                        let past = self.run.moments_past(asked.same.end);
                        self.until = self.until.map(|until| until.max(past));
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
