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
use super::{Core, NEVER, Notes, Observer, Op, Sim, Stage, Task, Trigger};
use crate::world::World;

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

/// Which number a handle has is nobody's business.
fn told(op: Op, payload: u64) -> u64 {
    if op.opens() { 0 } else { payload }
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
        let mut state = FxHasher::default();
        core.hash_state(None, &mut state);
        self.0.now.get().hash(&mut state);
        Some(state.finish())
    }

    /// Notes the state after a moment. `passing`: a call that is made and is not in the line.
    #[cold]
    pub(super) fn note_state(
        &self,
        passing: Option<&Parked>,
        observer: &dyn Observer,
        world: &World,
    ) {
        let mut core = self.0.core.borrow_mut();
        if !core.faults_allowed {
            return;
        }
        core.note_contexts();
        let mut state = FxHasher::default();
        core.hash_state(passing, &mut state);
        core.hash_past(&mut state);
        observer.hash_state(world, &mut state);
        if let Some(steps) = &mut core.steps {
            steps.came_to(state.finish());
        }
    }
}

impl Core {
    /// What there is can be told apart by a hash. A call of a client that is not over, a call that nobody
    /// waits for any more or that is only late, and what begins with a moment still to come are left to runs of
    /// their own.
    fn is_told_apart(&self) -> bool {
        let is_late =
            |parked: &Parked| parked.due != NEVER && matches!(parked.what, What::Call { .. });
        !self.tasks.iter().any(|task| task.client.is_some() && task.future.is_some())
            && !self.parked.iter().any(|parked| parked.orphan.is_some() || is_late(parked))
            && self.triggers.iter().all(|(_, what)| matches!(what, Trigger::Occur(..)))
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
        let payload = told(site.op, *payload);
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

    /// What the task that made a call remembers.
    pub(super) fn memory_behind(&self, at: usize) -> u64 {
        let task = self.parked[at].task.filter(|_| self.notes != Notes::Nothing);
        task.map_or(0, |task| self.memory_of(&self.tasks[task.0]))
    }

    /// The tasks that live, what waits, and what tasks share.
    fn hash_state(&self, passing: Option<&Parked>, state: &mut FxHasher) {
        // A poll that is under way has its task's future.
        let living = self.tasks.iter().filter(|task| task.future.is_some() || task.is_polled);
        unordered(living.map(|task| self.memory_of(task))).hash(state);
        self.hash_line(passing, state);
        let shared = self.shares.all.iter().filter_map(|(number, guarded)| {
            let mut content = FxHasher::default();
            number.hash(&mut content);
            guarded.upgrade()?.hash_content(&mut content);
            Some(content.finish())
        });
        unordered(shared).hash(state);
    }

    /// What tasks did that may have ended, as far as it shows later: by what calls are counted, by contexts that
    /// ended, and by answers that clients have not got yet.
    fn hash_past(&self, state: &mut FxHasher) {
        unordered(self.counts.iter().map(hash_of)).hash(state);
        self.ended.hash(state);
        self.calls.iter().for_each(|call| call.brought.hash(state));
    }

    /// The task that is polled has ended contexts.
    pub(super) fn note_ended(&mut self, tokens: u64) {
        let by = self.current.map(|task| self.memory_of(&self.tasks[task.0]));
        let ended = unordered(std::iter::once(hash_of((by, tokens.count_ones()))));
        self.ended = self.ended.wrapping_add(ended);
    }

    /// What waits, in the order in which each actor's came to wait.
    fn hash_line(&self, passing: Option<&Parked>, state: &mut FxHasher) {
        let mut parked: Vec<&Parked> = self.parked.iter().chain(passing).collect();
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
                // Its task has not heard of it yet.
                What::Call { pending, .. } | What::Single { pending } => {
                    let (payload, error) = pending.brought();
                    (told(site.op, payload), error).hash(state);
                }
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
