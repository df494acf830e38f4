//! What each admission touched, for a search that leaves out orders which differ in nothing
//! ("partial-order reduction", Godefroid 1996).
//!
//! Two admissions that follow upon one another commute when neither touches what the other changes. What an
//! admission touches is noted where it happens: an effect by its operation and subject, the poll of a task by
//! the locks, channels, signals and values that it uses. Where nothing finer is known it is everything.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;
use shakedown_cri::ports::ContextUses;

use super::TaskId;
use super::line::{EntryId, Parked, Rank};
use super::names::Symbol;
use super::site::{Layer, Moment, Op, Site, Stage};
use crate::world::WaitKey;

/// Things that can be read and changed, one bit each. What different things share a bit only has fewer
/// orders found to be the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Things([u64; WORDS]);

const WORDS: usize = 11;
/// As many locks, channels, signals and values have a bit of their own.
const KEYS: u64 = 256;

/// What the judge looks at after every moment: tasks, processes, answers, events, statuses.
const SEEN: Things = Things::NOTHING.and(0, 1);
/// The task service, shims and the runtime: each [`Part`] by container or pod.
const CONTAINERD: Things = Things::NOTHING.and(4, u64::MAX).and(5, u64::MAX);
/// Container records, snapshots, images.
const METADATA: Things = Things::NOTHING.and(0, 1 << 2);
const NRI: Things = Things::NOTHING.and(0, 1 << 3);
const EVENTS: Things = Things::NOTHING.and(0, 1 << 4);
const OOM_EVENTS: Things = Things::NOTHING.and(0, 1 << 5);
const WALL_CLOCK: Things = Things::NOTHING.and(0, 1 << 6);
const PIDS: Things = Things::NOTHING.and(0, 1 << 7);
/// What of the scenario is still to come with a moment.
const TRIGGERS: Things = Things::NOTHING.and(0, 1 << 8);
/// All named pipes, each by its path.
const PIPES: Things = Things::NOTHING.and(1, u64::MAX);
/// All files, by the first part of their paths.
const FILES: Things = Things::NOTHING.and(2, u64::MAX);
/// All that is outside the daemon's memory.
const WORLD: Things = Things::NOTHING.and(0, u64::MAX).with(PIPES).with(FILES).with(CONTAINERD);
const EVERYTHING: Things = Things([u64::MAX; WORDS]);

/// What the task service, the shims and the runtime know of a container or a pod, apart as far as different
/// requests use it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// The daemon's entry, the bundle, and the mount of the root file system.
    Task,
    /// Of a pod: its shim lives, and which creation it serves.
    Shim,
    /// The shim knows the container, by its process, and the daemon has a connection for it.
    Known,
    State,
    /// How the container ended; of a pod: the exits that its shim has reaped and not recorded.
    Exit,
    /// A request holds the lock of the init.
    Busy,
    /// The runtime's container, and its process.
    Process,
}

impl Part {
    /// Of this container or pod.
    fn of(self, whose: impl Hash) -> Things {
        self.slots(1 << (short(whose) >> 2))
    }

    fn of_all(self) -> Things {
        self.slots(0xffff)
    }

    fn slots(self, slots: u64) -> Things {
        let part = self as usize;
        Things::NOTHING.and(4 + part / 4, slots << (part % 4 * 16))
    }
}

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

    fn add(&mut self, other: &Things) {
        for word in 0..WORDS {
            self.0[word] |= other.0[word];
        }
    }

    fn without(mut self, other: Things) -> Things {
        for (word, bits) in self.0.iter_mut().zip(other.0) {
            *word &= !bits;
        }
        self
    }

    /// Words are turned before they are put on top of one another: low bits are used most.
    fn folded(&self) -> u64 {
        let turned = |(word, bits): (u32, &u64)| bits.rotate_left(word * 8);
        (0..).zip(&self.0).map(turned).fold(0, |all, bits| all | bits)
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
        let (word, bit) = (number / 64, number % 64);
        if number < KEYS { Things::NOTHING.and(6 + word as usize, 1 << bit) } else { EVERYTHING }
    }

    /// Whether these tokens have ended.
    const fn tokens(tokens: u64) -> Things {
        Things::NOTHING.and(10, tokens)
    }

    fn task(task: TaskId) -> Things {
        Things::NOTHING.and(3, 1 << (task.index() % 64))
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
    /// Of what was read, that which had to be so for it to come, comes to be so once, and stays so.
    awaits: Things,
}

impl Footprint {
    /// Nothing commutes with it.
    pub(super) const EVERYTHING: Footprint = Footprint::writing(EVERYTHING);
    /// Of a daemon that is killed, what it did matters, and not what it knew.
    pub(super) const CRASH: Footprint = Footprint::writing(WORLD);
    /// The node is changed, somehow.
    pub(crate) const NODE: Footprint = Footprint::writing(WORLD);
    /// So are tasks, shims, bundles or mounts, and nothing else.
    pub(crate) const CONTAINERD: Footprint = Footprint::writing(CONTAINERD.with(SEEN));
    /// What the process of a container writes to, or closes.
    pub(crate) const PIPES: Footprint = Footprint::writing(PIPES);
    /// Records, snapshots or images are looked at.
    pub(crate) const RECORDS: Footprint = Footprint::reading(METADATA);
    pub(crate) const OOM_EVENTS: Footprint = Footprint::writing(OOM_EVENTS);
    /// Events are given to subscribers.
    pub(crate) const OUTBOX: Footprint = Footprint::writing(EVENTS.with(SEEN));
    pub(crate) const WALL_CLOCK: Footprint = Footprint::reading(WALL_CLOCK);
    pub(crate) const SETS_WALL_CLOCK: Footprint = Footprint::writing(WALL_CLOCK.with(SEEN));
    /// A process gets the next number.
    pub(crate) const NEW_PID: Footprint = Footprint::writing(PIDS);
    /// The list of plugins is looked at.
    pub(crate) const PLUGINS: Footprint = Footprint::reading(NRI);
    /// What the judge looks at is changed: that a process of a user or a task is active, a status, an event.
    pub(crate) const VIEW: Footprint = Footprint::writing(SEEN);
    /// Something of the scenario comes with the moment.
    pub(super) const TRIGGER: Footprint = Footprint::writing(TRIGGERS);
    /// What the task service knows is looked at.
    pub(super) const LOOK: Footprint = Footprint::reading(CONTAINERD.with(METADATA).with(NRI));

    const NOTHING: Footprint =
        Footprint { reads: Things::NOTHING, writes: Things::NOTHING, awaits: Things::NOTHING };

    const fn writing(writes: Things) -> Self {
        Footprint { writes, ..Footprint::NOTHING }
    }

    const fn reading(reads: Things) -> Self {
        Footprint { reads, ..Footprint::NOTHING }
    }

    /// All words of what is read, and of what is changed, on top of one another.
    pub fn folded(&self) -> (u64, u64) {
        (self.reads.folded(), self.writes.folded())
    }

    pub(crate) fn looks(part: Part, whose: impl Hash) -> Self {
        Footprint::reading(part.of(whose))
    }

    pub(crate) fn awaits(part: Part, whose: impl Hash) -> Self {
        let reads = part.of(whose);
        Footprint { reads, awaits: reads, ..Footprint::NOTHING }
    }

    pub(crate) fn looks_at_all(part: Part) -> Self {
        Footprint::reading(part.of_all())
    }

    pub(crate) fn changes(part: Part, whose: impl Hash) -> Self {
        Footprint::writing(part.of(whose))
    }

    pub(crate) const fn and(self, other: Footprint) -> Self {
        Footprint {
            reads: self.reads.with(other.reads),
            writes: self.writes.with(other.writes),
            awaits: self.awaits.with(other.awaits),
        }
    }

    /// What this one waits for is all that it has in common with what the other one does.
    pub fn only_awaits(&self, other: &Footprint) -> bool {
        let reads = self.reads.without(self.awaits);
        !other.conflicts(&Footprint { reads, ..*self })
    }

    pub fn conflicts(&self, other: &Footprint) -> bool {
        // All of them at once is quicker than up to the first.
        let (reads, writes) = (&self.reads.0, &self.writes.0);
        let (others_reads, others_writes) = (&other.reads.0, &other.writes.0);
        let mut common = 0;
        for word in 0..WORDS {
            common |= writes[word] & (others_reads[word] | others_writes[word]);
            common |= reads[word] & others_writes[word];
        }
        common != 0
    }

    /// Nothing was changed but what the daemon knows, and that not so that the judge sees it.
    pub fn is_of_memory(&self) -> bool {
        !self.writes.meets(&WORLD)
    }

    pub(crate) fn add(&mut self, other: &Footprint) {
        self.reads.add(&other.reads);
        self.writes.add(&other.writes);
        self.awaits.add(&other.awaits);
    }

    /// A lock, a channel or a signal that is taken, given or changed.
    pub(super) fn of_key(key: WaitKey) -> Footprint {
        match key {
            WaitKey::Shared(0) => Footprint::default(),
            WaitKey::Shared(number) => Footprint::writing(Things::key(number)),
            _ => Footprint::NODE,
        }
    }

    /// A client gives up.
    pub(super) const GIVES_UP: Footprint = Footprint::writing(SEEN);

    pub(super) const fn of_tokens(looked: u64, ended: u64) -> Footprint {
        Footprint {
            reads: Things::tokens(looked),
            writes: Things::tokens(ended),
            awaits: Things::NOTHING,
        }
    }

    /// It came as these tokens had ended.
    pub(crate) fn awaits_end(tokens: u64) -> Footprint {
        let awaits = if tokens == u64::MAX { Things::NOTHING } else { Things::tokens(tokens) };
        Footprint { awaits, ..Footprint::of_tokens(tokens, 0) }
    }

    /// The call is served, or forgotten: before or after its task gives up.
    pub(super) fn of_answer(parked: &Parked) -> Footprint {
        let task = parked.task.map_or(Things::NOTHING, Things::task);
        Footprint::writing(task).and(Footprint::of_tokens(parked.tokens, 0))
    }

    /// It is taken as others can take it too, or looked at.
    pub(super) fn of_look(key: WaitKey) -> Footprint {
        Footprint::reading(Footprint::of_key(key).writes)
    }

    pub(crate) fn of_file(subject: Symbol) -> Footprint {
        Footprint::writing(Things::file(subject))
    }

    /// A named pipe is opened by its path, or changed.
    pub(crate) fn of_pipe(subject: Symbol) -> Footprint {
        let reads = Things::file(subject);
        Footprint { reads, ..Footprint::writing(Things::pipe(subject)) }
    }

    /// What an admission touches by itself, whatever its task does next. `None`: the world says that.
    fn of(moment: Moment, takes: Option<(WaitKey, bool)>) -> Option<Footprint> {
        let Site { op, subject, .. } = moment.site;
        let touched = match moment.stage {
            // Who goes on does what it does in its poll.
            Stage::Reply => Footprint::default(),
            // So does who gives up.
            Stage::Abandon => Footprint::default(),
            Stage::Effect => return Footprint::of_effect(op, subject),
            Stage::Only => match op.layer() {
                // It is set once.
                Layer::Runtime if op == Op::Signal => {
                    let set = takes.map(|(key, _)| Footprint::of_look(key)).unwrap_or_default();
                    let is_its_own = set.reads != EVERYTHING;
                    let awaits = if is_its_own { set.reads } else { Things::NOTHING };
                    Footprint { awaits, ..set }
                }
                Layer::Runtime => match takes {
                    Some((key, false)) => Footprint::of_key(key),
                    Some((key, true)) => Footprint::of_look(key),
                    None => Footprint::default(),
                },
                Layer::Client if op == Op::Cancel => Footprint::EVERYTHING,
                Layer::Client => Footprint::VIEW,
                _ => match op {
                    Op::Up => Footprint::VIEW,
                    Op::Exit | Op::Print | Op::Oom | Op::Publish | Op::Rotate => return None,
                    _ => Footprint::EVERYTHING,
                },
            },
        };
        Some(touched)
    }

    fn of_effect(op: Op, subject: Symbol) -> Option<Footprint> {
        use Footprint as F;
        let file = || Things::file(subject);
        Some(match op {
            Op::FsRead | Op::FsReadDir => F::reading(file()),
            Op::PipeRead | Op::PipeClose => F::writing(Things::pipe(subject)),
            Op::PipeOpen => F::writing(Things::pipe(subject).with(file())),
            Op::RecordInfo | Op::RecordList | Op::SnapshotMounts | Op::ImageGet => F::RECORDS,
            Op::MetricsRegister | Op::IoDrain => F::default(),
            _ => match op.layer() {
                Layer::File => F::writing(file()),
                Layer::Metadata => F::writing(METADATA),
                Layer::Nri => F::writing(NRI.with(SEEN)),
                Layer::Event => F::OUTBOX,
                _ => return None,
            },
        })
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
    /// The world is to say what it touched.
    is_open: bool,
    /// Had it not been due, it would have been given up.
    pub is_late: bool,
    order: Order,
}

impl Step {
    /// It found that it has to wait, and has only looked.
    pub fn is_vain(&self) -> bool {
        !self.happened && self.touched.writes == Things::NOTHING
    }

    pub fn is_of_call_of(&self, other: &Step) -> bool {
        self.order.entry == other.order.entry
    }

    /// The call, or the task, of which it is a moment.
    pub fn call(&self) -> EntryId {
        self.order.entry
    }

    /// Of two that are due at the same time, that with the smaller one comes first, in the natural order. `place`: of
    /// its actor, among the texts of all.
    pub fn natural(&self, place: usize) -> impl Ord + use<> {
        let Order { rank, urgent, entry } = self.order;
        (rank, !urgent, place, entry)
    }
}

#[derive(Clone, Copy, Debug)]
struct Order {
    rank: Rank,
    urgent: bool,
    entry: EntryId,
}

/// A moment that was set aside.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    pub moment: Moment,
    /// The number of steps before it was set aside, and before it was let go.
    pub from: usize,
    pub to: usize,
    /// From which number of steps on it could have come.
    pub ready: usize,
    /// It was let go for want of anything else that could come then.
    pub to_the_end: bool,
}

/// All admissions of the phase in which decisions are taken.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    pub steps: Vec<Step>,
    pub holds: Vec<Kept>,
    /// How many steps there were when the last fault or crash was decided on.
    pub struck: usize,
    /// Of each question to the oracle: how many steps there were, and how many of the moments had come.
    pub asked: Vec<(usize, u32)>,
    /// The state after each moment, where that was asked for.
    pub states: Vec<u64>,
    /// How many have come.
    moments: u32,
    /// The step that the current poll began with.
    poll: usize,
}

impl Steps {
    pub(super) fn new() -> Steps {
        ContextUses::restart();
        Steps { steps: Vec::with_capacity(256), ..Steps::default() }
    }

    /// How many of the moments came in the first so many steps.
    pub fn moments_in(&self, steps: usize) -> usize {
        let steps = &self.steps[..steps.min(self.steps.len())];
        steps.iter().filter(|step| step.happened).count()
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
        let Parked { urgent, id: entry, ready, .. } = *parked;
        let order = Order { rank, urgent, entry };
        let is_late = stage != Stage::Abandon && parked.abandon_due() <= at;
        let touched = Footprint::of(moment, takes);
        let is_open = touched.is_none();
        let mut touched = touched.unwrap_or_default();
        // Whether a context ended before or after each of its call's moments matters, and whether the task
        // that called still waits.
        touched.reads.add(&Things::tokens(parked.tokens));
        if let Some(task) = parked.task.filter(|_| stage != Stage::Only) {
            touched.reads.add(&Things::task(task));
        }
        let for_its_end = stage == Stage::Abandon || parked.retry_due() <= at;
        let ready = if for_its_end { ready.max(parked.ended) } else { ready };
        let happened = false;
        self.steps.push(Step { moment, at, happened, ready, touched, is_open, is_late, order });
    }

    /// The daemon ends after the last step.
    pub(super) fn crash(&mut self, moment: Moment, at: u64) {
        let order = Order { rank: Rank::PromptAbandon, urgent: true, entry: EntryId::NONE };
        let (ready, touched) = (self.steps.len(), Footprint::CRASH);
        let (is_open, is_late) = (false, false);
        let happened = false;
        self.steps.push(Step { moment, at, happened, ready, touched, is_open, is_late, order });
    }

    /// The world says what the last step touched, if it does.
    pub(super) fn told(&mut self, by_world: Option<&Footprint>) {
        let Some(step) = self.steps.last_mut() else { return };
        match by_world {
            Some(told) => step.touched.add(told),
            None if step.is_open => step.touched.add(&Footprint::EVERYTHING),
            None => {}
        }
    }

    pub(super) fn touch(&mut self, footprint: &Footprint) {
        let Some(last) = self.steps.len().checked_sub(1) else { return };
        self.steps[last].touched.add(footprint);
        // What a poll does after it let others go first is both its own and of what came last.
        if self.poll != last
            && let Some(step) = self.steps.get_mut(self.poll)
        {
            step.touched.add(footprint);
        }
    }

    /// A poll begins, or goes on, with the last step. Returns that of the poll around it.
    pub(super) fn poll_begins(&mut self, task: TaskId) -> usize {
        let outer = std::mem::replace(&mut self.poll, self.steps.len().wrapping_sub(1));
        // Polls of one task come one after the other.
        self.touch(&Footprint::writing(Things::task(task)));
        outer
    }

    pub(super) fn poll_ends(&mut self, outer: usize) {
        self.poll = outer;
    }

    /// The last step found that it has to wait.
    pub(super) fn waits(&mut self) {
        let Some(step) = self.steps.last_mut() else { return };
        let Footprint { reads, writes, .. } = step.touched;
        match step.moment.site.op {
            // It stands in the queue.
            Op::Lock => step.touched = Footprint::writing(reads.with(writes)),
            _ if step.is_open => {}
            _ => step.touched = Footprint::reading(reads.with(writes)),
        }
    }

    pub(super) fn happened(&mut self) {
        if let Some(step) = self.steps.last_mut() {
            step.happened = true;
            self.moments += 1;
        }
    }

    /// The last moment has brought this state.
    pub(super) fn came_to(&mut self, state: u64) {
        debug_assert_eq!(self.states.len() + 1, self.moments as usize, "each has its place");
        self.states.push(state);
    }

    /// The oracle is asked.
    pub(super) fn asks(&mut self) {
        self.asked.push((self.steps.len(), self.moments));
    }

    /// A fault or a crash is decided on.
    pub(super) fn strikes(&mut self) {
        self.struck = self.steps.len();
    }

    pub(super) fn set_aside(&mut self, moment: Moment, ready: usize) {
        let from = self.steps.len();
        self.holds.push(Kept { moment, from, to: usize::MAX, ready, to_the_end: false });
    }

    pub(super) fn let_go(&mut self, moment: Moment, to_the_end: bool) {
        let to = self.steps.len();
        let of_it = |kept: &&mut Kept| kept.moment == moment && kept.to == usize::MAX;
        if let Some(kept) = self.holds.iter_mut().find(of_it) {
            kept.to = to;
            kept.to_the_end = to_the_end;
        }
    }
}
