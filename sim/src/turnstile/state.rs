//! What the tasks of a run, and what they share, have come to: a hash of all that can matter for what they do
//! next, so that a search need not go on twice from the same.
//!
//! What a task goes on with is what it was told: its moments, with what they brought, and what it saw of
//! what tasks share; before that, all that whoever spawned it had been told.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::rc::{Rc, Weak};

use rustc_hash::{FxHashMap, FxHasher};

use super::line::{Parked, What};
use super::names::Symbol;
use super::recording::Happened;
use super::{Core, NEVER, Notes, Op, Sim, Stage, Task, Trigger};

/// What tasks share.
pub(super) trait Guarded {
    fn hash_content(&self, state: &mut FxHasher);
}

/// Whether a signal is set.
impl Guarded for Cell<bool> {
    fn hash_content(&self, state: &mut FxHasher) {
        self.get().hash(state);
    }
}

/// All that tasks share, each with a number that it has in every order of the tasks.
#[derive(Default)]
pub(super) struct Shares {
    all: Vec<(u64, Weak<dyn Guarded>)>,
    /// How many each actor has made.
    made: FxHashMap<Symbol, u32>,
}

fn hash_of(of: impl Hash) -> u64 {
    let mut state = FxHasher::default();
    of.hash(&mut state);
    state.finish()
}

/// Hash of what has no order, from that of each. Every bit of them is spread over all (the finalizer of MurmurHash3,
/// Appleby), without which what two have swapped would show nowhere in the sum.
pub(crate) fn unordered(hashes: impl Iterator<Item = u64>) -> u64 {
    let spread = |hash: u64| {
        let hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ hash >> 33
    };
    hashes.map(spread).fold(0, u64::wrapping_add)
}

impl Sim {
    /// Tasks are about to share this.
    pub(super) fn note_shared(&self, guarded: &Rc<impl Guarded + 'static>) {
        let mut core = self.0.core.borrow_mut();
        if core.notes == Notes::Nothing {
            return;
        }
        let actor = core.current_actor();
        let nth = core.shares.made.entry(actor).or_insert(0);
        *nth += 1;
        let number = hash_of((actor, *nth));
        let guarded: Rc<dyn Guarded> = guarded.clone();
        core.shares.all.push((number, Rc::downgrade(&guarded)));
    }

    /// The current task sees something that it was not told by a moment.
    #[inline]
    pub(crate) fn sees(&self, what: impl FnOnce(&mut FxHasher)) {
        if self.0.notes.get() != Notes::Nothing {
            self.note_seen(what);
        }
    }

    #[cold]
    fn note_seen(&self, what: impl FnOnce(&mut FxHasher)) {
        let Ok(mut core) = self.0.core.try_borrow_mut() else { return };
        let Some(task) = core.current else { return };
        let mut state = FxHasher::default();
        core.tasks[task.0].seen.hash(&mut state);
        what(&mut state);
        core.tasks[task.0].seen = state.finish();
    }

    /// Whether so many moments more are within the run's budget.
    pub(crate) fn has_room_for(&self, moments: u64) -> bool {
        let core = self.0.core.borrow();
        core.recording.moments + moments < core.budget
    }

    /// Hash of what the tasks that live, and what they share, have come to. `None`: it is not known, or nothing of it
    /// was noted.
    pub(crate) fn state(&self) -> Option<u64> {
        let core = self.0.core.borrow();
        if core.notes == Notes::Nothing || !core.is_told_apart() {
            return None;
        }
        let living = core.tasks.iter().filter(|task| task.future.is_some());
        let living: Vec<&Task> = living.collect();
        let mut state = FxHasher::default();
        core.hash_living(&living, &mut state);
        core.hash_line(&mut state);
        let shared = core.shares.all.iter().filter_map(|(number, guarded)| {
            let mut content = FxHasher::default();
            number.hash(&mut content);
            guarded.upgrade()?.hash_content(&mut content);
            Some(content.finish())
        });
        unordered(shared).hash(&mut state);
        self.0.now.get().hash(&mut state);
        Some(state.finish())
    }
}

impl Core {
    /// What there is can be told apart by a hash. A call of a client that is not over, a call that nobody
    /// waits for any more or that is only late, and what begins with a moment still to come are left to runs of
    /// their own, and so are locks for which more than one wait: who does is not in their queues.
    fn is_told_apart(&self) -> bool {
        let is_late =
            |parked: &Parked| parked.due != NEVER && matches!(parked.what, What::Call { .. });
        let waits = self.parked.iter().filter(|parked| parked.site.op == Op::Lock);
        !self.tasks.iter().any(|task| task.client.is_some() && task.future.is_some())
            && !self.parked.iter().any(|parked| parked.orphan || is_late(parked))
            && self.triggers.iter().all(|(_, what)| matches!(what, Trigger::Occur(..)))
            && waits.count() <= 1
    }

    /// What a task of the current one begins with.
    pub(super) fn lineage(&self, now: u64) -> u64 {
        hash_of((self.current.map(|task| self.memory_of(&self.tasks[task.0])), now))
    }

    /// A task was told something.
    pub(super) fn note_heard(&mut self, happened: &Happened) {
        let Happened { at, moment, payload, error, .. } = happened;
        let site = moment.site;
        if moment.stage == Stage::Effect {
            return;
        }
        // The first poll of a task is its own.
        let who = if site.op == Op::Spawn { site.subject } else { site.actor };
        // Which number a handle has is nobody's business.
        let payload = if site.op.opens() { 0 } else { *payload };
        let heard = self.heard.entry(who.number()).or_insert(1);
        // Whose it is goes without saying, but for who spawned it.
        let by = (site.op == Op::Spawn).then_some(site.actor);
        let moment = (site.op, site.subject, site.count, moment.stage);
        *heard = hash_of((*heard, by, moment, at, payload, error));
    }

    /// All that a task can remember.
    fn memory_of(&self, task: &Task) -> u64 {
        let heard = self.heard.get(&task.actor.number());
        hash_of((task.actor, task.boot, task.seen, heard))
    }

    fn hash_living(&self, living: &[&Task], state: &mut FxHasher) {
        unordered(living.iter().map(|task| self.memory_of(task))).hash(state);
    }

    /// What waits, in the order in which each actor's came to wait.
    fn hash_line(&self, state: &mut FxHasher) {
        let mut parked: Vec<&Parked> = self.parked.iter().collect();
        let actor = |parked: &Parked| parked.site.actor;
        parked.sort_unstable_by(|a, b| actor(a).cmp_text(actor(b)).then(a.id.cmp(&b.id)));
        for parked in parked {
            let Parked { site, stage, due, urgent, reply_delay, orphan, prompt, hangs, .. } =
                parked;
            (site, stage, due, urgent, reply_delay, orphan, prompt, hangs).hash(state);
            (parked.abandon_due(), parked.retry_due(), parked.held).hash(state);
            (parked.wait.is_some(), parked.fault.as_deref().map(ToString::to_string)).hash(state);
            parked.task.map(|task| self.tasks[task.0].seen).hash(state);
            match &parked.what {
                What::Occurrence(occurrence) => occurrence.hash(state),
                what => std::mem::discriminant(what).hash(state),
            }
        }
        (self.boot, self.down, self.last_fault_at, self.triggers.len()).hash(state);
        self.triggers.iter().for_each(|(moment, _)| moment.hash(state));
        for call in &self.calls {
            (call.began, call.answered, call.cancelled, call.cut).hash(state);
        }
    }
}
