//! What each admission touched, for a search that leaves out orders which differ in nothing
//! ("partial-order reduction", Godefroid 1996).
//!
//! Two admissions that follow upon one another commute when neither touches what the other changes. What an
//! admission touches is noted where it happens: an effect by its operation and subject, the poll of a task by
//! the locks, channels and signals that it uses. Where nothing finer is known it is everything.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use super::TaskId;
use super::line::{EntryId, Parked, Rank};
use super::names::Symbol;
use super::site::{Layer, Moment, Op, Site, Stage};
use crate::world::WaitKey;

/// Things that can be read and changed, one bit each. What different things share a bit only has fewer
/// orders found to be the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Things([u64; WORDS]);

const WORDS: usize = 6;

/// What the judge looks at after every moment: tasks, processes, answers, events, statuses.
const SEEN: Things = Things::NOTHING.and(0, 1);
/// The task service, shims and the runtime.
const CONTAINERD: Things = Things::NOTHING.and(0, 1 << 1);
/// Which requests a shim is serving.
const BUSY: Things = Things::NOTHING.and(0, 1 << 5);
/// Container records, snapshots, images.
const METADATA: Things = Things::NOTHING.and(0, 1 << 2);
const NRI: Things = Things::NOTHING.and(0, 1 << 3);
const EVENTS: Things = Things::NOTHING.and(0, 1 << 4);
/// All named pipes, each by its path.
const PIPES: Things = Things::NOTHING.and(1, u64::MAX);
/// All files, by the first part of their paths.
const FILES: Things = Things::NOTHING.and(2, u64::MAX);
/// All that is outside the daemon's memory.
const WORLD: Things = Things::NOTHING.and(0, u64::MAX).with(PIPES).with(FILES);
const EVERYTHING: Things = Things([u64::MAX; WORDS]);

impl Things {
    const NOTHING: Things = Things([0; WORDS]);

    const fn and(mut self, word: usize, bits: u64) -> Things {
        self.0[word] |= bits;
        self
    }

    const fn with(mut self, other: Things) -> Things {
        let mut word = 0;
        while word < WORDS {
            self.0[word] |= other.0[word];
            word += 1;
        }
        self
    }

    fn meets(&self, other: &Things) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// Files below different first directories are different files: no scenario that is reduced has links.
    fn file(subject: Symbol) -> Things {
        let text = subject.text();
        let root = text.split('/').next().unwrap_or_default();
        if root.is_empty() || root.ends_with(':') {
            FILES
        } else {
            Things::NOTHING.and(2, 1 << short(root))
        }
    }

    fn pipe(subject: Symbol) -> Things {
        Things::NOTHING.and(1, 1 << short(&*subject.text()))
    }

    /// A lock, channel or signal of the daemon; they are numbered.
    fn key(number: u64) -> Things {
        Things::NOTHING.and(3 + (number / 64) as usize % 2, 1 << (number % 64))
    }

    fn task(task: TaskId) -> Things {
        Things::NOTHING.and(5, 1 << (task.index() % 64))
    }
}

/// Six bits of a hash.
fn short(of: impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    of.hash(&mut hasher);
    hasher.finish() >> 58
}

/// What was read and what was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    reads: Things,
    writes: Things,
}

impl Footprint {
    /// Nothing commutes with it.
    pub(super) const EVERYTHING: Footprint = Footprint::writing(EVERYTHING);
    /// Of a daemon that is killed, what it did matters, and not what it knew.
    pub(super) const CRASH: Footprint = Footprint::writing(WORLD);
    /// The node is changed, somehow.
    pub(super) const NODE: Footprint = Footprint::writing(WORLD);
    /// So are tasks, shims, bundles or mounts, and nothing else.
    pub(crate) const RUNTIME: Footprint = Footprint::writing(CONTAINERD.with(SEEN));
    /// A shim begins to serve a request, or ends: then exits that came meanwhile are taken in.
    pub(crate) const BUSY: Footprint = Footprint { reads: CONTAINERD, writes: BUSY };
    /// Events are given to subscribers.
    pub(crate) const OUTBOX: Footprint = Footprint::writing(EVENTS.with(SEEN));
    /// What the judge looks at is changed in the daemon's memory.
    pub(super) const VIEW: Footprint = Footprint::writing(SEEN);
    /// What the task service knows is looked at.
    pub(super) const LOOK: Footprint = Footprint::reading(CONTAINERD.with(METADATA).with(NRI));

    const fn writing(writes: Things) -> Self {
        Footprint { reads: Things::NOTHING, writes }
    }

    const fn reading(reads: Things) -> Self {
        Footprint { reads, writes: Things::NOTHING }
    }

    pub fn conflicts(&self, other: &Footprint) -> bool {
        self.writes.meets(&other.writes)
            || self.writes.meets(&other.reads)
            || self.reads.meets(&other.writes)
    }

    /// Nothing was changed but what the daemon knows, and that not so that the judge sees it.
    pub fn is_of_memory(&self) -> bool {
        !self.writes.meets(&WORLD)
    }

    fn add(&mut self, other: Footprint) {
        self.reads = self.reads.with(other.reads);
        self.writes = self.writes.with(other.writes);
    }

    /// A lock, a channel or a signal that is taken, given or changed.
    pub(super) fn of_key(key: WaitKey) -> Footprint {
        match key {
            WaitKey::Shared(0) => Footprint::default(),
            WaitKey::Shared(number) => Footprint::writing(Things::key(number)),
            _ => Footprint::NODE,
        }
    }

    /// It is taken as others can take it too, or looked at.
    pub(super) fn of_look(key: WaitKey) -> Footprint {
        Footprint::reading(Footprint::of_key(key).writes)
    }

    pub(crate) fn of_file(subject: Symbol) -> Footprint {
        Footprint::writing(Things::file(subject))
    }

    /// What an admission touches by itself, whatever its task does next.
    fn of(moment: Moment, takes: Option<(WaitKey, bool)>) -> Footprint {
        let Site { op, subject, .. } = moment.site;
        match moment.stage {
            // Who goes on does what it does in its poll.
            Stage::Reply => Footprint::default(),
            Stage::Abandon => Footprint::EVERYTHING,
            Stage::Effect => Footprint::of_effect(op, subject),
            Stage::Only => match op.layer() {
                Layer::Runtime => match takes {
                    Some((key, false)) => Footprint::of_key(key),
                    Some((key, true)) => Footprint::of_look(key),
                    None => Footprint::default(),
                },
                Layer::Client if op == Op::Cancel => Footprint::EVERYTHING,
                Layer::Client => Footprint::VIEW,
                _ => match op {
                    Op::Up => Footprint::VIEW,
                    Op::Exit | Op::Print | Op::Oom | Op::Publish | Op::Rotate => Footprint::NODE,
                    _ => Footprint::EVERYTHING,
                },
            },
        }
    }

    fn of_effect(op: Op, subject: Symbol) -> Footprint {
        use Footprint as F;
        let file = || Things::file(subject);
        match op {
            Op::FsRead | Op::FsReadDir => F::reading(file()),
            Op::FsUnmount => F::writing(file().with(CONTAINERD)),
            Op::PipeRead => F::writing(Things::pipe(subject)),
            Op::PipeOpen | Op::PipeClose => F::writing(Things::pipe(subject).with(file())),
            Op::RecordInfo | Op::RecordList | Op::SnapshotMounts | Op::ImageGet => {
                F::reading(METADATA)
            }
            // A handler is begun, if nothing keeps it.
            Op::TaskCreate
            | Op::TaskGet
            | Op::TaskStart
            | Op::TaskKill
            | Op::TaskUpdate
            | Op::TaskWait
            | Op::TaskDelete
            | Op::ShimCreate
            | Op::ShimStart
            | Op::ShimKill
            | Op::ShimUpdate
            | Op::ShimDelete
            | Op::ShimState => F::reading(CONTAINERD.with(BUSY)),
            Op::ShimLoad | Op::ShimPid | Op::ShimWait | Op::ShimShutdown => F::reading(CONTAINERD),
            Op::MetricsRegister | Op::IoDrain => F::default(),
            Op::TaskOom => F::writing(CONTAINERD),
            Op::BundleCreate | Op::ShimConnect | Op::RuntimeCreate | Op::RuntimeUpdate => {
                F::RUNTIME
            }
            _ => match op.layer() {
                Layer::File => F::writing(file()),
                Layer::Metadata => F::writing(METADATA),
                Layer::Task | Layer::Daemon | Layer::Shim => {
                    F::writing(CONTAINERD.with(SEEN).with(PIPES))
                }
                Layer::Nri => F::writing(NRI.with(SEEN)),
                Layer::Event => F::OUTBOX,
                _ => F::EVERYTHING,
            },
        }
    }
}

/// One admission: a moment, or an attempt at it that found that it has to wait.
#[derive(Clone, Debug)]
pub struct Step {
    pub moment: Moment,
    /// Virtual time, nanoseconds.
    pub at: u64,
    /// It came about: the moment, and not an attempt.
    pub happened: bool,
    /// It could come from this number of steps on.
    pub ready: usize,
    pub touched: Footprint,
    order: Order,
}

impl Step {
    /// What comes first of two that are due at the same time, in the natural order.
    pub fn natural(&self, other: &Step) -> Ordering {
        let (a, b) = (&self.order, &other.order);
        let by_name = || a.actor.cmp_text(b.actor).then(a.entry.cmp(&b.entry));
        a.rank.cmp(&b.rank).then(b.urgent.cmp(&a.urgent)).then_with(by_name)
    }
}

#[derive(Clone, Copy, Debug)]
struct Order {
    rank: Rank,
    urgent: bool,
    actor: Symbol,
    entry: EntryId,
}

/// A moment that was set aside.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    pub moment: Moment,
    /// The number of steps before it was set aside, and before it was let go.
    pub from: usize,
    pub to: usize,
}

/// All admissions of the phase in which decisions are taken.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    pub steps: Vec<Step>,
    pub holds: Vec<Kept>,
    /// How many steps there were when the last fault was decided on or the daemon ended last.
    pub struck: usize,
    /// The step that the current poll began with.
    poll: usize,
}

impl Steps {
    pub(super) fn new() -> Steps {
        Steps { steps: Vec::with_capacity(256), ..Steps::default() }
    }

    pub(super) fn begin(
        &mut self,
        parked: &Parked,
        stage: Stage,
        at: u64,
        takes: Option<(WaitKey, bool)>,
    ) {
        let moment = Moment { site: parked.site, stage };
        let rank = match stage {
            Stage::Abandon if parked.prompt => Rank::PromptAbandon,
            Stage::Abandon => Rank::Abandon,
            _ => Rank::Main,
        };
        let Parked { urgent, id: entry, ready, site: Site { actor, .. }, .. } = *parked;
        let order = Order { rank, urgent, actor, entry };
        let touched = match stage {
            // Its context ended.
            Stage::Effect if parked.retry_due() <= at => Footprint::EVERYTHING,
            _ => Footprint::of(moment, takes),
        };
        self.steps.push(Step { moment, at, happened: false, ready, touched, order });
    }

    /// The daemon ends after the last step.
    pub(super) fn crash(&mut self, moment: Moment, at: u64) {
        let order = Order {
            rank: Rank::PromptAbandon,
            urgent: true,
            actor: moment.site.actor,
            entry: EntryId::NONE,
        };
        let (ready, touched) = (self.steps.len(), Footprint::CRASH);
        self.struck = ready;
        self.steps.push(Step { moment, at, happened: true, ready, touched, order });
    }

    pub(super) fn touch(&mut self, footprint: Footprint) {
        // What a poll does after it let others go first is both its own and of what came last.
        let last = self.steps.len().wrapping_sub(1);
        for at in [self.poll, last] {
            if let Some(step) = self.steps.get_mut(at) {
                step.touched.add(footprint);
            }
        }
    }

    /// A poll begins, or goes on, with the last step. Returns that of the poll around it.
    pub(super) fn poll_begins(&mut self, task: TaskId) -> usize {
        let outer = std::mem::replace(&mut self.poll, self.steps.len().wrapping_sub(1));
        // Polls of one task come one after the other.
        self.touch(Footprint::writing(Things::task(task)));
        outer
    }

    pub(super) fn poll_ends(&mut self, outer: usize) {
        self.poll = outer;
    }

    /// The last step found that it has to wait: an effect has looked, and a lock has a queue.
    pub(super) fn waits(&mut self) {
        let Some(step) = self.steps.last_mut() else { return };
        let Footprint { reads, writes } = step.touched;
        step.touched = match step.moment.stage {
            Stage::Effect => Footprint::reading(reads.with(writes)),
            _ => Footprint::writing(reads.with(writes)),
        };
    }

    pub(super) fn happened(&mut self) {
        if let Some(step) = self.steps.last_mut() {
            step.happened = true;
        }
    }

    pub(super) fn set_aside(&mut self, moment: Moment) {
        let from = self.steps.len();
        self.holds.push(Kept { moment, from, to: usize::MAX });
    }

    pub(super) fn let_go(&mut self, moment: Moment) {
        let to = self.steps.len();
        let of_it = |kept: &&mut Kept| kept.moment == moment && kept.to == usize::MAX;
        if let Some(kept) = self.holds.iter_mut().find(of_it) {
            kept.to = to;
        }
    }
}
