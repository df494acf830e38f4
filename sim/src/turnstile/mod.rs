//! Admits one moment at a time. Owns order and time: nothing of a run is polled, and no clock
//! moves, unless it is admitted here.

mod call;
mod line;
mod names;
mod pass;
mod recording;
mod site;
mod state;
mod steps;
mod sync;

use std::any::Any;
use std::cell::{Cell, RefCell, RefMut};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll, Wake, Waker};

use rustc_hash::{FxBuildHasher, FxHashMap, FxHasher};
use shakedown_cri::cri::LocalFuture;
use shakedown_cri::ports::{CancelToken, Code, Context, ContextUses, Error, Instant};

pub use call::{Call, Failure, Flow, Payload, PortError};
pub use names::Symbol;
pub use recording::{Awaited, Entry as RecordingEntry, Happened, Recording, only};
pub use site::{Layer, Moment, Op, Site, Stage};
pub(crate) use state::unordered;
pub(crate) use steps::Part;
pub use steps::{Footprint, Kept, Step, Steps};
pub use sync::{SimRuntime, SimSignal};

use crate::oracle::{
    Choice, Crash, CrashAt, CrashKind, DelayOf, Effect, Fault, Menu, Menus, Oracle, Script,
    ScriptedCrash,
};
use crate::world::{FIRST_BOOT, Occurrence, World};
use call::{Pending, Ran};
pub use line::EntryId;
pub(crate) use line::end_for;
use line::{Change, Line, Parked, What};

/// No time: what waits for something that may never happen.
const NEVER: u64 = u64::MAX;

/// Identifies a task within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskId(usize);

impl TaskId {
    /// Counts from 0 in the order of the tasks' making.
    pub fn index(self) -> usize {
        self.0
    }
}

/// Looks on after every moment.
pub trait Observer {
    fn moment(&mut self, happened: &Happened, world: &World);

    /// What it goes by from here on, and what there is besides tasks and what they share.
    fn hash_state(&self, world: &World, state: &mut FxHasher);
}

/// The end of a run's work, as far as the turnstile sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// Nothing is due before the horizon.
    #[default]
    Idle,
    /// The code under test panicked: site-less text of the panic and the actor whose task it was.
    Panicked { actor: String, message: String },
    /// More moments than the budget allows.
    OverBudget,
    /// More tasks than there may be moments.
    TooManyTasks,
    /// What the scenario's world is to have cannot be made on the undisturbed node: why.
    NotSetUp(Error),
}

/// What else could happen now, beside the moment that an oracle is asked about.
#[derive(Clone, Copy)]
pub struct Due<'a> {
    parked: &'a Line,
    at: usize,
    now: u64,
}

impl Due<'_> {
    /// The moments of other calls that are due and not set aside.
    pub fn others(&self) -> impl Iterator<Item = Moment> {
        let others = self.parked.live().filter(|at| *at != self.at);
        others.filter_map(|at| {
            let parked = &self.parked[at];
            let stage = match parked.held {
                Some(_) => return None,
                None if parked.due <= self.now => parked.stage,
                None if parked.earliest() <= self.now => Stage::Abandon,
                None => return None,
            };
            Some(Moment { site: parked.site, stage })
        })
    }
}

struct Task {
    actor: Symbol,
    /// That of its actor.
    place: u64,
    /// Index of the scenario's call that the task serves.
    client: Option<usize>,
    future: Option<LocalFuture<()>>,
    waker: Waker,
    /// The boot of the daemon that it belongs to; 0: it is the harness's.
    boot: u32,
    /// Hash of what it began with, and what it saw without a moment, where steps are recorded.
    seen: u64,
}

/// A call of the scenario, as the turnstile starts it.
pub struct ClientCall {
    pub name: Symbol,
    /// Makes the call's future from its context.
    pub make: Option<Box<dyn FnOnce(Context) -> LocalFuture<()>>>,
    pub deadline: Option<std::time::Duration>,
    pub cancel_after: Option<std::time::Duration>,
    pub token: CancelToken,
    /// It begins when a moment was admitted, and then goes before other work that is due.
    pub waited: bool,
    pub began: Option<u64>,
    pub answered: Option<u64>,
    /// When the client gave up: its deadline or its cancel, if that came before the answer.
    pub cancelled: Option<(u64, Code)>,
    /// The call is over without an answer of the service: the daemon died under it, or was not there.
    pub cut: bool,
    /// Hash of the answer.
    pub brought: u64,
}

impl ClientCall {
    /// When the client gave up by `now`, if that was before the answer: its deadline or its cancel.
    pub fn gave_up(&self, now: u64) -> Option<u64> {
        let deadline = (self.began.zip(self.deadline)).map(|(at, d)| Instant(at).after(d).0);
        let gave_up = deadline.into_iter().chain(self.cancelled.map(|(at, _)| at)).min()?;
        (gave_up <= self.answered.unwrap_or(now)).then_some(gave_up)
    }
}

#[derive(Clone, Copy, Debug)]
enum Trigger {
    Begin(usize),
    Cancel(usize),
    Occur(Symbol, Op, Occurrence),
    Start(TaskId),
}

/// Makes the main task of a boot of the daemon, which ends once the daemon serves.
pub type Boot = Rc<dyn Fn(u32) -> LocalFuture<()>>;

/// The daemon that the harness starts the boots of.
pub struct Daemon {
    pub boot: Boot,
    /// Drops what the harness holds of the boot that died.
    pub died: Rc<dyn Fn()>,
}

/// What became of one decision of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    NotReached,
    Applied,
    /// It came to its turn, but could not do what it says.
    Refused(String),
}

struct Core {
    parked: Line,
    next_entry: u64,
    next_key: u64,
    tasks: Vec<Task>,
    counts: FxHashMap<(u32, Op, u32), u32>,
    menus: Rc<Menus>,
    script: Script,
    fates: Vec<Fate>,
    hold_fates: Vec<Fate>,
    occurrence_fates: Vec<Fate>,
    crash_fates: Vec<Fate>,
    /// The oracle is asked after each moment whether the daemon ends there.
    may_crash: bool,
    /// What is to happen before anything else does.
    crash_due: Option<CrashDue>,
    /// Number of the daemon's latest boot.
    boot: u32,
    /// No boot lives.
    down: bool,
    daemon: Option<Daemon>,
    /// A moment was set aside at some time in this run.
    any_held: bool,
    /// Something changed that the order of moments depends on, beyond the moment just admitted.
    stirred: bool,
    oracle: Box<dyn Oracle>,
    /// Whether the oracle is asked about faults.
    faults_allowed: bool,
    last_fault_at: u64,
    calls: Vec<ClientCall>,
    triggers: Vec<(Moment, Trigger)>,
    recording: Recording,
    /// What was asked for. What comes next is empty otherwise.
    notes: Notes,
    steps: Option<Box<Steps>>,
    shares: state::Shares,
    /// Hash of all that each actor was told, by the actor's number.
    heard: FxHashMap<u32, u64>,
    /// Hash of who ended contexts, and how many.
    ended: u64,
    current: Option<TaskId>,
    /// Whose call is on its way to its reply without being parked.
    passing: Option<Symbol>,
    /// The entry in the recording of the moment whose poll is under way or just ended, to be judged when it did.
    unfinished: Option<usize>,
    horizon: u64,
    budget: u64,
    stop: Option<Stop>,
    /// The daemon is gone: nothing of it may run or park any more.
    closed: bool,
    foreign: Arc<Foreign>,
}

struct Foreign {
    any: AtomicBool,
    woken: Mutex<Vec<usize>>,
}

/// Wakes a task for a reason that is not a port's.
struct ForeignWaker {
    task: usize,
    foreign: Arc<Foreign>,
}

impl Wake for ForeignWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Ok(mut woken) = self.foreign.woken.lock() {
            woken.push(self.task);
        }
        self.foreign.any.store(true, Ordering::Release);
    }
}

/// Told by how many nanoseconds virtual time moved on.
type Follower = Box<dyn Fn(u64)>;

/// What is noted of a run besides what happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notes {
    #[default]
    Nothing,
    /// What tasks are told and see: to know the state that they come to.
    States,
    /// The admissions as well, with what each touches.
    Steps,
    /// And the state after each moment.
    Path,
}

impl Notes {
    const fn has_steps(self) -> bool {
        matches!(self, Notes::Steps | Notes::Path)
    }
}

struct Shared {
    now: Cell<u64>,
    /// Calls are done at once, without moments: while the node is set up.
    direct: Cell<bool>,
    /// What is noted now.
    notes: Cell<Notes>,
    /// See [`Sim::take_service_changed`].
    service_changed: Cell<bool>,
    core: RefCell<Core>,
    world: RefCell<World>,
    follower: RefCell<Option<Follower>>,
    observer: RefCell<Option<Box<dyn Observer>>>,
    foreign: Arc<Foreign>,
}

/// A handle to one run.
#[derive(Clone)]
pub struct Sim(Rc<Shared>);

/// How much of a run may happen.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub moments: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { moments: 200_000 }
    }
}

impl Sim {
    pub fn new(
        world: World,
        script: Script,
        oracle: Box<dyn Oracle>,
        menus: Rc<Menus>,
        limits: Limits,
    ) -> Sim {
        let foreign =
            Arc::new(Foreign { any: AtomicBool::new(false), woken: Mutex::new(Vec::new()) });
        let core = Core {
            parked: Line::with_capacity(64),
            next_entry: 0,
            next_key: 0,
            tasks: Vec::with_capacity(64),
            counts: FxHashMap::with_capacity_and_hasher(256, FxBuildHasher),
            menus,
            fates: vec![Fate::NotReached; script.faults.len()],
            hold_fates: vec![Fate::NotReached; script.holds.len()],
            occurrence_fates: vec![Fate::NotReached; world.placed.len()],
            crash_fates: vec![Fate::NotReached; script.crashes.len()],
            may_crash: oracle.considers_crashes()
                || script.crashes.iter().any(|c| matches!(c.at, CrashAt::Moment(_))),
            crash_due: None,
            boot: FIRST_BOOT,
            down: false,
            daemon: None,
            any_held: false,
            stirred: false,
            script,
            oracle,
            faults_allowed: false,
            last_fault_at: 0,
            calls: Vec::new(),
            triggers: Vec::new(),
            recording: Recording::with_capacity(512),
            notes: Notes::Nothing,
            steps: None,
            shares: state::Shares::default(),
            heard: FxHashMap::default(),
            ended: 0,
            current: None,
            passing: None,
            unfinished: None,
            horizon: NEVER,
            budget: limits.moments,
            stop: None,
            closed: false,
            foreign: foreign.clone(),
        };
        Sim(Rc::new(Shared {
            now: Cell::new(0),
            direct: Cell::new(false),
            notes: Cell::default(),
            service_changed: Cell::new(true),
            core: RefCell::new(core),
            world: RefCell::new(world),
            follower: RefCell::new(None),
            observer: RefCell::new(None),
            foreign,
        }))
    }

    /// Another clock goes along: it is told by how many nanoseconds virtual time moved on.
    pub fn set_follower(&self, follower: impl Fn(u64) + 'static) {
        *self.0.follower.borrow_mut() = Some(Box::new(follower));
    }

    pub fn set_observer(&self, observer: Box<dyn Observer>) {
        *self.0.observer.borrow_mut() = Some(observer);
    }

    pub fn take_observer(&self) -> Option<Box<dyn Observer>> {
        self.0.observer.borrow_mut().take()
    }

    pub fn now(&self) -> Instant {
        Instant(self.0.now.get())
    }

    /// Reads or changes the world at once: for clocks, counters and building it. What can block
    /// goes through [`Sim::call`].
    pub fn with_world<R>(&self, use_it: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.world();
        world.touches_nothing_yet();
        let out = use_it(&mut world);
        self.touch(|| world.touched().map_or(Footprint::NODE, |touched| *touched));
        let mut core = self.0.core.borrow_mut();
        core.take_from(&mut world, self.0.now.get());
        out
    }

    fn world(&self) -> RefMut<'_, World> {
        let Ok(world) = self.0.world.try_borrow_mut() else {
            panic!("a port is used between two moments, where the service is only looked at");
        };
        world
    }

    /// Reads clocks, or counts what no order changes.
    pub(crate) fn aside<R>(&self, use_it: impl FnOnce(&mut World) -> R) -> R {
        use_it(&mut self.world())
    }

    /// Reads what the task service, the metadata or the plugins' list have.
    pub(crate) fn look<R: Hash>(&self, look: impl FnOnce(&World) -> R) -> R {
        let world = self.world();
        world.touches_nothing_yet();
        let out = look(&world);
        self.sees(|state| out.hash(state));
        self.touch(|| world.touched().map_or(Footprint::LOOK, |touched| *touched));
        out
    }

    /// What is to be noted of the phase in which faults can strike.
    pub fn take_notes(&self, notes: Notes) {
        let mut core = self.0.core.borrow_mut();
        core.notes = notes;
        if notes.has_steps() {
            core.steps = Some(Box::new(Steps::new()));
            self.world().notes = true;
        }
    }

    pub fn take_steps(&self) -> Option<Steps> {
        self.0.notes.set(Notes::Nothing);
        self.0.core.borrow_mut().steps.take().map(|steps| *steps)
    }

    /// The poll that is under way touches something.
    #[inline]
    pub(crate) fn touch(&self, footprint: impl FnOnce() -> Footprint) {
        if self.0.notes.get().has_steps() {
            self.note_touched(footprint());
        }
    }

    /// Something that can be looked at from outside is another one in the service, or the service itself is.
    pub(crate) fn note_service_changed(&self) {
        self.0.service_changed.set(true);
    }

    /// Whether looks at the service from outside can show something else than when this was asked last, as far as
    /// its tasks share memory by the ports alone.
    pub(crate) fn take_service_changed(&self) -> bool {
        self.0.service_changed.replace(false)
    }

    #[cold]
    fn note_touched(&self, footprint: Footprint) {
        if let Ok(mut core) = self.0.core.try_borrow_mut()
            && core.current.is_some()
            && let Some(steps) = &mut core.steps
        {
            steps.touch(&footprint);
        }
    }

    pub fn with_recording<R>(&self, look: impl FnOnce(&mut Recording) -> R) -> R {
        look(&mut self.0.core.borrow_mut().recording)
    }

    /// Logs on behalf of the code under test; for timelines only.
    pub fn log(&self, text: &str) {
        if let Ok(mut core) = self.0.core.try_borrow_mut() {
            core.recording.log(self.0.now.get(), Rc::from(text));
        }
    }

    /// The actor of the task that is polled, and the harness outside of any.
    pub fn current_actor(&self) -> Symbol {
        let core = self.0.core.borrow();
        core.current.map_or_else(|| Symbol::of("harness"), |task| core.tasks[task.0].actor)
    }

    /// From here on calls that need not wait are done at once, without moments; or no longer. For
    /// setting a node up, which is no subject of the run.
    pub fn set_direct(&self, direct: bool) {
        self.0.direct.set(direct);
    }

    fn is_direct(&self) -> bool {
        self.0.direct.get()
    }

    /// From here on the oracle is asked about faults and holds, or no longer: then nothing stays set
    /// aside.
    pub fn allow_faults(&self, allowed: bool) {
        let mut core = self.0.core.borrow_mut();
        core.faults_allowed = allowed;
        if !allowed {
            core.release_held(self.0.now.get(), true, "the faults were over");
        }
        self.0.notes.set(if allowed { core.notes } else { Notes::Nothing });
    }

    /// When the last fault struck; one that takes a time, as a delay does, strikes until that is over.
    pub fn last_fault_at(&self) -> Instant {
        Instant(self.0.core.borrow().last_fault_at)
    }

    /// What became of the faults, the holds, the occurrences and the crashes of the scenario.
    pub fn fates(&self) -> [Vec<Fate>; 4] {
        let core = self.0.core.borrow();
        [&core.fates, &core.hold_fates, &core.occurrence_fates, &core.crash_fates].map(Clone::clone)
    }

    /// How the daemon is started again after it ended.
    pub fn set_daemon(&self, daemon: Daemon) {
        self.0.core.borrow_mut().daemon = Some(daemon);
    }

    /// The crashes of the script that strike at a time do so, counted from `start`.
    pub fn arm_crashes(&self, start: Instant) {
        let mut core = self.0.core.borrow_mut();
        for crash in 0..core.script.crashes.len() {
            if let CrashAt::Time(after) = core.script.crashes[crash].at {
                // Others may come before it: it has its number when it is asked about, or strikes.
                let site = Site { count: 0, ..daemon_site(Op::Crash) };
                core.park(site, Stage::Only, start.after(after).0, start.0, What::Crash { crash });
            }
        }
    }

    /// Whether no boot of the daemon lives.
    pub fn is_down(&self) -> bool {
        self.0.core.borrow().down
    }

    /// Starts the daemon, which is down, unless that is to happen anyway.
    pub fn restart(&self) {
        let now = self.0.now.get();
        let mut core = self.0.core.borrow_mut();
        match core.parked.iter().position(|p| matches!(p.what, What::Restart)) {
            Some(at) => core.parked.change(at).due = now,
            None => core.park_restart(now, now),
        }
    }

    /// The daemon ends by itself, as the next thing to happen.
    pub fn exit_daemon(&self) {
        let crash = Crash { kind: CrashKind::Daemon, down: None };
        self.0.core.borrow_mut().crash_due = Some(CrashDue { crash, own: None, site: None });
    }

    /// The call that the current task serves has its answer, of which this is the hash.
    pub fn answer(&self, hash: u64) {
        let mut core = self.0.core.borrow_mut();
        if let Some(call) = core.current.and_then(|task| core.tasks[task.0].client) {
            core.calls[call].brought = hash;
        }
    }

    pub fn with_calls<R>(&self, look: impl FnOnce(&[ClientCall]) -> R) -> R {
        look(&self.0.core.borrow().calls)
    }

    /// Registers a call of the scenario. It begins at `due`, or when `moment` was admitted.
    pub fn add_call(&self, call: ClientCall, due: Option<u64>, moment: Option<Moment>) -> usize {
        let mut core = self.0.core.borrow_mut();
        let index = core.calls.len();
        if let Some(due) = due {
            let site = Site { actor: call.name, op: Op::Begin, subject: Symbol::EMPTY, count: 1 };
            core.park(site, Stage::Only, due, self.0.now.get(), What::Begin { call: index });
        }
        if let Some(moment) = moment {
            core.triggers.push((moment, Trigger::Begin(index)));
        }
        core.calls.push(call);
        index
    }

    /// Begins a call for which there was neither a time nor a moment.
    pub fn begin_call(&self, call: usize) {
        let mut core = self.0.core.borrow_mut();
        let now = self.0.now.get();
        let actor = core.calls[call].name;
        let site = Site { actor, op: Op::Begin, subject: Symbol::EMPTY, count: 1 };
        core.park(site, Stage::Only, now, now, What::Begin { call });
    }

    /// The call is cancelled when `moment` was admitted.
    pub fn cancel_when(&self, call: usize, moment: Moment) {
        self.0.core.borrow_mut().triggers.push((moment, Trigger::Cancel(call)));
    }

    /// Has something happen in the world at `due`, or when `moment` was admitted.
    pub fn add_occurrence(
        &self,
        (actor, op, occurrence): (Symbol, Op, Occurrence),
        due: Option<u64>,
        moment: Option<Moment>,
    ) {
        let mut core = self.0.core.borrow_mut();
        if let Some(due) = due {
            core.park_occurrence(actor, op, occurrence, due, self.0.now.get());
        }
        if let Some(moment) = moment {
            core.triggers.push((moment, Trigger::Occur(actor, op, occurrence)));
        }
    }

    /// Starts a task of the harness or the world at once, as a moment of its own.
    pub fn start_task(&self, actor: Symbol, future: LocalFuture<()>) {
        let mut core = self.0.core.borrow_mut();
        let now = self.0.now.get();
        let task = core.new_task(actor, None, 0, future);
        let site = core.count(actor, Op::Begin, Symbol::EMPTY);
        core.park(site, Stage::Only, now, now, What::Spawn { task });
    }

    /// Starts a task of the harness at `due`, or when `moment` was admitted.
    pub fn start_task_when(
        &self,
        actor: Symbol,
        due: Option<u64>,
        moment: Option<Moment>,
        future: LocalFuture<()>,
    ) {
        let mut core = self.0.core.borrow_mut();
        let now = self.0.now.get();
        let task = core.new_task(actor, None, 0, future);
        if let Some(due) = due {
            let site = core.count(actor, Op::Begin, Symbol::EMPTY);
            core.park(site, Stage::Only, due, now, What::Spawn { task });
        }
        if let Some(moment) = moment {
            core.triggers.push((moment, Trigger::Start(task)));
        }
    }

    /// Starts a background task of the service; its first poll is a moment of the spawner.
    pub(crate) fn spawn(&self, boot: u32, actor: Symbol, future: LocalFuture<()>) {
        let mut core = self.0.core.borrow_mut();
        if core.closed {
            return;
        }
        // More tasks than there may be moments have no end, and are not waited for until they have no room.
        if core.tasks.len() as u64 > core.budget {
            core.end(Stop::TooManyTasks);
            drop(core);
            // Nothing else gets out of a loop that spawns.
            panic!("too many tasks");
        }
        let now = self.0.now.get();
        let spawner = core.current_actor();
        let lineage = (self.0.notes.get() != Notes::Nothing).then(|| core.lineage(now));
        let task = core.new_task(actor, None, boot, future);
        if let Some(lineage) = lineage {
            core.tasks[task.0].seen = lineage;
        }
        let site = core.count(spawner, Op::Spawn, actor);
        core.park(site, Stage::Only, now, now, What::Spawn { task });
    }

    /// The current task polls a call that is parked already: it is the one to wake, should another have
    /// handed the call on to it.
    fn awaited_here(&self, id: EntryId) {
        let mut core = self.0.core.borrow_mut();
        let current = core.current;
        if let Some(at) = core.parked.find(id)
            && core.parked[at].task != current
        {
            core.parked.change(at).task = current;
        }
    }

    /// The future of a call was dropped. A request that was made stays made.
    fn forget(&self, id: EntryId) {
        let Ok(mut core) = self.0.core.try_borrow_mut() else { return };
        if core.closed {
            return;
        }
        if let Some(at) = core.parked.find(id) {
            core.step_answers(at);
            if core.parked[at].is_on_its_way() {
                core.parked.change(at).orphan = true;
            } else {
                core.drop_parked(at);
            }
        }
    }

    /// A handler finished; its call's reply is due. False when nobody awaits it any more or the
    /// reply was decided by a fault.
    fn served(&self, id: EntryId) -> bool {
        let now = self.0.now.get();
        let mut core = self.0.core.borrow_mut();
        let Some(at) = core.parked.find(id) else { return false };
        core.step_answers(at);
        if core.parked[at].orphan {
            core.drop_parked(at);
            return false;
        }
        let mut parked = core.parked.change(at);
        if parked.stage != Stage::Reply {
            return false;
        }
        parked.due = now.saturating_add(parked.reply_delay);
        match parked.fault.as_deref().cloned() {
            Some(Fault::Hang { .. } | Fault::HangForever { .. }) => {
                parked.due = NEVER;
                parked.hangs = true;
                true
            }
            Some(fault) => {
                if let (What::Call { pending, .. }, Some(failure)) =
                    (&parked.what, failure_of(&fault))
                {
                    pending.fail(&failure, parked.site);
                    return false;
                }
                drop(parked);
                core.end_after_effect(at, &fault, now);
                true
            }
            None => true,
        }
    }

    /// Runs until nothing is due up to and including `horizon`, or the run is over.
    pub fn run_until(&self, horizon: Option<u64>) -> Stop {
        {
            let mut core = self.0.core.borrow_mut();
            core.horizon = horizon.unwrap_or(NEVER);
            if core.stop == Some(Stop::Idle) {
                core.stop = None;
            }
        }
        loop {
            match self.step() {
                Ok(task) => self.poll(task),
                Err(stop) => return stop,
            }
        }
    }

    /// Whether anything has a time at which it will happen.
    pub fn next_due(&self) -> Option<Instant> {
        let core = self.0.core.borrow();
        let earliest = core.parked.live().map(|at| core.parked[at].earliest()).min();
        earliest.filter(|due| *due != NEVER).map(Instant)
    }

    /// Moves time to `at` although nothing is due before it.
    pub fn skip_to(&self, at: Instant) {
        if at.0 > self.0.now.get() {
            self.jump(at.0);
        }
    }

    fn jump(&self, to: u64) {
        let by = to - self.0.now.get();
        self.0.now.set(to);
        self.0.world.borrow_mut().now = to;
        if let Some(follow) = &*self.0.follower.borrow() {
            follow(by);
        }
    }

    /// Whether anything is under way for which `of` says yes to the actor: something that will
    /// happen, or that hangs. Waiting for what may never happen is not.
    pub fn is_busy(&self, mut of: impl FnMut(Symbol) -> bool) -> bool {
        let core = self.0.core.borrow();
        core.passing.is_some_and(&mut of)
            || core.parked.iter().any(|p| (p.hangs || p.earliest() != NEVER) && of(p.site.actor))
    }

    /// What is parked where, in the order in which it was made, for reports of a run that got stuck.
    pub fn waiting(&self) -> Vec<Moment> {
        let core = self.0.core.borrow();
        let mut parked: Vec<&Parked> = core.parked.iter().collect();
        parked.sort_unstable_by_key(|p| p.id);
        parked.into_iter().map(|p| Moment { site: p.site, stage: p.stage }).collect()
    }

    /// Names of the service's tasks that have not ended.
    pub fn service_tasks(&self) -> Vec<Symbol> {
        let core = self.0.core.borrow();
        let alive = core.tasks.iter().filter(|t| t.boot > 0 && t.future.is_some());
        alive.map(|t| t.actor).collect()
    }

    /// Ends the run: drops what is left of it, tasks in the order of their starts.
    pub fn close(&self) {
        let futures: Vec<_> = {
            let mut core = self.0.core.borrow_mut();
            core.closed = true;
            core.tasks.iter_mut().filter_map(|task| task.future.take()).collect()
        };
        for future in futures {
            self.catch("daemon", || drop(future));
        }
        let line = Line::with_capacity(0);
        let parked = std::mem::replace(&mut self.0.core.borrow_mut().parked, line);
        self.catch("daemon", || drop(parked));
        let calls: Vec<_> = {
            let mut core = self.0.core.borrow_mut();
            core.daemon = None;
            // Those that never began hold what they would have called, and with it the run.
            core.calls.iter_mut().map(|call| call.make.take()).collect()
        };
        drop(calls);
        self.0.observer.borrow_mut().take();
        self.0.follower.borrow_mut().take();
    }

    /// The daemon ends: nothing of its boot runs or waits any more, its descriptors and connections
    /// are closed, the calls that it served are over without an answer.
    fn crash(&self, CrashDue { crash, own, site }: CrashDue) {
        let now = self.0.now.get();
        let (futures, parked, died) = {
            let mut core = self.0.core.borrow_mut();
            core.down = true;
            let parked = core.unpark_boot(crash.kind);
            let futures = core.take_boot(now);
            let died = core.daemon.as_ref().map(|daemon| daemon.died.clone());
            (futures, parked, died)
        };
        // First the kernel closes what the daemon had open: no destructor finds anything left to close.
        {
            let mut world = self.0.world.borrow_mut();
            let mut core = self.0.core.borrow_mut();
            match crash.kind {
                CrashKind::Daemon => world.daemon_dies(),
                CrashKind::Power => core.power_loss(&mut world, own),
            }
            core.take_from(&mut world, now);
            let site = site.unwrap_or_else(|| core.count_of(daemon_site(Op::Crash)));
            let moment = Moment { site, stage: Stage::Only };
            if let Some(steps) = &mut core.steps {
                steps.crash(moment, now);
                core.parked.steps = steps.steps.len();
            }
            core.happened(moment, 0, None, now, world.digest());
            if let Some(down) = crash.down {
                core.park_restart(now.saturating_add(nanos(down)), now);
            }
        }
        // In the order of their starts.
        for future in futures {
            self.catch("daemon", || drop(future));
        }
        self.catch("daemon", || drop(parked));
        if let Some(died) = died {
            died();
        }
    }

    /// Has code under test do something outside of its tasks. A panic ends the run.
    pub fn catch<R>(&self, actor: &str, of_runtime: impl FnOnce() -> R) -> Option<R> {
        let caught = catch_unwind(AssertUnwindSafe(of_runtime));
        caught.map_err(|payload| self.panicked(actor, &*payload)).ok()
    }

    #[cold]
    fn panicked(&self, actor: &str, payload: &(dyn Any + Send)) {
        let message = panic_text(payload);
        self.end(Stop::Panicked { actor: actor.to_owned(), message });
    }

    /// Ends the run, unless something else has.
    pub fn end(&self, stop: Stop) {
        self.0.core.borrow_mut().end(stop);
    }

    /// Polls a task, whose turn it is, once.
    fn poll(&self, task: TaskId) {
        let (outer, step, future, waker) = {
            let mut core = self.0.core.borrow_mut();
            let outer = core.current.replace(task);
            let step = core.poll_begins(task);
            let task = &mut core.tasks[task.0];
            // Lent rather than cloned, which would count with atomics.
            let waker = std::mem::replace(&mut task.waker, Waker::noop().clone());
            (outer, step, task.future.take(), waker)
        };
        let Some(mut future) = future else {
            let mut core = self.0.core.borrow_mut();
            core.current = outer;
            core.poll_ends(step);
            return;
        };
        let mut cx = TaskContext::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx)));
        let mut core = self.0.core.borrow_mut();
        core.poll_ends(step);
        core.current = outer;
        core.tasks[task.0].waker = waker;
        match polled {
            Ok(Poll::Pending) => core.tasks[task.0].future = Some(future),
            Ok(Poll::Ready(())) => {
                core.finish_task(task, self.0.now.get());
                drop(core);
                self.catch("daemon", || drop(future));
            }
            Err(payload) => {
                let actor = core.tasks[task.0].actor.to_string();
                core.end(Stop::Panicked { actor, message: panic_text(&*payload) });
                drop(core);
                // Its destructors belong to the daemon that just died.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
            }
        }
    }

    /// Whether something other than the next moment of the current task's call comes first.
    fn is_interrupted(&self, core: &Core) -> bool {
        core.stop.is_some()
            || core.recording.moments >= core.budget
            || core.crash_due.is_some()
            || core.closed
            || self.0.foreign.any.load(Ordering::Acquire)
    }

    /// Lets the current task go on without leaving its poll, as long as the next moments are
    /// those of the call that it just made, and of the steps inside it. True when the call's reply
    /// was admitted. The order of moments is the same as without.
    fn goes_on(&self, entry: EntryId) -> bool {
        // The reply of a call whose effect was first is first, unless something came between.
        let mut replies = None;
        loop {
            self.finish_moment(None);
            let mut core = self.0.core.borrow_mut();
            if self.is_interrupted(&core) {
                return false;
            }
            let now = self.0.now.get();
            let first = match replies.take().filter(|_| !core.stirred) {
                Some(at) => Some((at, Stage::Reply, now)),
                None => core.parked.next(),
            };
            let Some((at, stage, due)) = first else { return false };
            if core.parked[at].id != entry || due > now {
                return false;
            }
            if core.set_aside(at, stage, now) {
                continue;
            }
            let me = core.current;
            core.stirred = false;
            match self.admit(&mut core, at, stage, now) {
                None => {
                    let at = (stage == Stage::Effect).then_some(at);
                    replies = at.filter(|at| core.parked.get(*at).is_some_and(|p| p.replies(now)));
                }
                Some(task) if Some(task) == me => {
                    core.poll_begins(task);
                    return true;
                }
                Some(handler) => {
                    drop(core);
                    self.poll(handler);
                }
            }
        }
    }

    /// Admits moments until one needs a task to be polled.
    fn step(&self) -> Result<TaskId, Stop> {
        loop {
            self.finish_moment(None);
            let mut core = self.0.core.borrow_mut();
            if let Some(stop) = &core.stop {
                return Err(stop.clone());
            }
            if let Some(due) = core.crash_due.take() {
                drop(core);
                self.crash(due);
                continue;
            }
            if core.recording.moments >= core.budget {
                return Err(core.end(Stop::OverBudget));
            }
            if self.0.foreign.any.swap(false, Ordering::AcqRel) {
                self.take_foreign(&mut core);
            }
            let now = self.0.now.get();
            let Some((at, stage, due)) = core.parked.next() else {
                if core.release_held(now, true, "nothing else was left to happen") {
                    continue;
                }
                return Err(core.end(Stop::Idle));
            };
            if due > now {
                if core.release_held(now, false, "time jumped") {
                    continue;
                }
                if due > core.horizon {
                    return Err(core.end(Stop::Idle));
                }
                drop(core);
                self.jump(due);
                continue;
            }
            if core.set_aside(at, stage, now) {
                continue;
            }
            if let Some(task) = self.admit(&mut core, at, stage, now) {
                return Ok(task);
            }
        }
    }

    /// Lets one moment happen. Returns the task that has to be polled for it.
    fn admit(&self, core: &mut Core, at: usize, stage: Stage, now: u64) -> Option<TaskId> {
        let id = core.parked[at].id;
        let site = core.parked[at].site;
        let moment = Moment { site, stage };
        if core.faults_allowed && core.steps.is_some() {
            core.step_begins(at, stage, now);
        }
        match stage {
            Stage::Effect => {
                let What::Call { pending, .. } = &core.parked[at].what else {
                    unreachable!("only calls have effects")
                };
                let pending = pending.clone();
                let mut world = self.0.world.borrow_mut();
                let fault = core.parked[at].fault.as_deref();
                world.short_write = fault == Some(&Fault::ShortWrite);
                world.sync_lost = fault == Some(&Fault::Lost);
                world.touches_nothing_yet();
                let ran = pending.run(&mut world, id, site);
                core.step_told(&world);
                match ran {
                    Ran::Wait(key) => {
                        core.step_waits();
                        let mut parked = core.parked.change(at);
                        if parked.retry_due() <= now {
                            parked.ctx = None;
                        }
                        parked.due = NEVER;
                        parked.wait = Some(key);
                        drop(parked);
                        core.take_from(&mut world, now);
                        None
                    }
                    Ran::Done => {
                        core.after_effect(at, now);
                        core.take_from(&mut world, now);
                        let (payload, error) = pending.brought();
                        core.happened(moment, payload, error, now, world.digest());
                        None
                    }
                    Ran::Serve(handler) => {
                        let digest = world.digest();
                        drop(world);
                        let mut parked = core.parked.change(at);
                        parked.stage = Stage::Reply;
                        parked.due = NEVER;
                        drop(parked);
                        let client = core.client_of(at);
                        Some(core.handler(moment, client, handler, now, digest))
                    }
                }
            }
            Stage::Reply => {
                let Parked { what: What::Call { pending, .. }, task, .. } = &core.parked[at] else {
                    unreachable!("only calls have replies")
                };
                let (pending, task) = (pending.clone(), *task);
                core.drop_parked(at);
                pending.deliver();
                let (payload, error) = pending.brought();
                let digest = self.0.world.borrow().digest();
                core.happened(moment, payload, error, now, digest);
                task
            }
            Stage::Abandon => self.admit_abandon(core, at, moment, now),
            Stage::Only => self.admit_single(core, at, moment, now),
        }
    }

    #[cold]
    fn admit_abandon(
        &self,
        core: &mut Core,
        at: usize,
        moment: Moment,
        now: u64,
    ) -> Option<TaskId> {
        let site = moment.site;
        let ctx = core.parked[at].ctx.as_ref();
        let code = ctx.and_then(|ctx| end_for(site.op, ctx)).map_or(Code::Cancelled, |e| e.1);
        let failure = Failure::Context(code);
        let task = core.parked[at].task;
        let pending = match &core.parked[at].what {
            What::Call { pending, .. } | What::Single { pending } => pending.clone(),
            _ => unreachable!("only calls are abandoned"),
        };
        pending.fail(&failure, site);
        pending.deliver();
        let (payload, error) = pending.brought();
        let mut parked = core.parked.change(at);
        // The runtime's process is killed when the time of its request is up.
        let lands = parked.is_on_its_way()
            && !(code == Code::DeadlineExceeded && site.op.layer() == Layer::Shim);
        let served = parked.stage == Stage::Reply && parked.due == NEVER && !parked.hangs;
        if lands || served {
            parked.orphan = true;
            parked.task = None;
            if served {
                // The handler goes on; its answer goes nowhere.
                parked.ctx = None;
            }
            drop(parked);
        } else {
            drop(parked);
            core.drop_parked(at);
        }
        let digest = self.0.world.borrow().digest();
        core.happened(moment, payload, error, now, digest);
        task
    }

    #[inline(never)]
    fn admit_single(&self, core: &mut Core, at: usize, moment: Moment, now: u64) -> Option<TaskId> {
        if let What::Single { pending } = &core.parked[at].what {
            let pending = pending.clone();
            let mut world = self.0.world.borrow_mut();
            let id = core.parked[at].id;
            match pending.run(&mut world, id, moment.site) {
                Ran::Wait(key) => {
                    core.step_waits();
                    let mut parked = core.parked.change(at);
                    parked.due = NEVER;
                    parked.wait = Some(key);
                    drop(parked);
                    core.take_from(&mut world, now);
                    return None;
                }
                Ran::Done => {
                    core.take_from(&mut world, now);
                    let task = core.parked[at].task;
                    core.drop_parked(at);
                    pending.deliver();
                    core.happened(moment, 0, None, now, world.digest());
                    return task;
                }
                Ran::Serve(_) => unreachable!("a single moment has no handler"),
            }
        }
        let parked = core.unpark(at);
        let mut world = self.0.world.borrow_mut();
        match parked.what {
            What::Spawn { task } | What::Woken { task } => {
                core.happened(moment, 0, None, now, world.digest());
                core.tasks[task.0].future.is_some().then_some(task)
            }
            What::Occurrence(occurrence) => {
                world.touches_nothing_yet();
                let occurred =
                    world.occur(occurrence, parked.fault.as_deref() == Some(&Fault::Lost));
                core.step_told(&world);
                core.take_from(&mut world, now);
                if let Occurrence::Placed(number) = occurrence {
                    core.fault_until(now);
                    core.occurrence_fates[number] = match &occurred {
                        Ok(_) => Fate::Applied,
                        Err(why) => Fate::Refused(why.clone()),
                    };
                }
                let error = occurred.as_ref().err().map(|why| Rc::from(&**why));
                let payload = occurred.as_ref().copied().unwrap_or_default();
                core.happened(moment, payload, error, now, world.digest());
                None
            }
            What::Begin { call } => {
                core.happened(moment, 0, None, now, world.digest());
                core.begin(call, now)
            }
            What::Cancel { call } => {
                core.cancel(call, Code::Cancelled, now);
                core.happened(moment, 0, None, now, world.digest());
                None
            }
            What::Done { call } => {
                core.happened(moment, core.calls[call].brought, None, now, world.digest());
                None
            }
            What::Up => {
                core.happened(moment, 0, None, now, world.digest());
                None
            }
            What::Crash { crash } => {
                let fate = core.set_up_crash(crash, moment.site, now);
                core.crash_fates[crash] = fate;
                None
            }
            What::Restart => {
                core.boot += 1;
                core.down = false;
                core.fault_until(now);
                world.daemon_starts(core.boot);
                core.happened(moment, 0, None, now, world.digest());
                let boot = core.daemon.as_ref().map(|daemon| daemon.boot.clone());
                let main = boot.expect("who crashes a daemon knows how to start it")(core.boot);
                let actor = boot_actor(core.boot, Symbol::of("daemon"));
                Some(core.new_task(actor, None, core.boot, main))
            }
            What::Call { .. } | What::Single { .. } => unreachable!("handled above"),
        }
    }

    /// Judges the moment that just ended, and does what it triggers. `passing`: the call that its poll has made, where
    /// that is not in the line.
    fn finish_moment(&self, passing: Option<&Parked>) {
        let happened = {
            let mut core = self.0.core.borrow_mut();
            let Some(entry) = core.unfinished.take() else { return };
            let RecordingEntry::Moment(happened) = &core.recording.entries[entry] else {
                unreachable!("only moments are judged")
            };
            happened.clone()
        };
        if let Some(observer) = self.0.observer.borrow_mut().as_mut() {
            let mut world = self.0.world.borrow_mut();
            // What the judge looks at is not what the poll does in which a moment came.
            let notes = self.0.notes.replace(Notes::Nothing);
            observer.moment(&happened, &world);
            if notes == Notes::Path {
                self.note_state(passing, &**observer, &world);
            }
            self.0.notes.set(notes);
            world.seen();
        }
        let mut core = self.0.core.borrow_mut();
        let may_crash = core.may_crash && core.faults_allowed;
        if !core.triggers.is_empty() || core.any_held || may_crash {
            core.follow_up(happened.moment, self.0.now.get());
        }
    }

    fn take_foreign(&self, core: &mut Core) {
        let woken = self.0.foreign.woken.lock().map(|mut w| std::mem::take(&mut *w));
        let now = self.0.now.get();
        for task in woken.unwrap_or_default().into_iter().map(TaskId) {
            let waiting =
                core.parked.iter().any(|p| matches!(p.what, What::Woken { task: t } if t == task));
            if core.tasks[task.0].future.is_some() && !waiting {
                let site = core.count(core.tasks[task.0].actor, Op::Wake, Symbol::EMPTY);
                core.park(site, Stage::Only, now, now, What::Woken { task });
            }
        }
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

const fn bit(stage: Stage) -> u8 {
    1 << stage as u8
}

/// The failure that a fault delivers instead of the call's own reply.
fn failure_of(fault: &Fault) -> Option<Failure> {
    match fault {
        Fault::Error { cause, message, .. } => {
            Some(Failure::Injected { cause: *cause, message: message.clone() })
        }
        Fault::ConnectionClosed { .. } => Some(Failure::ConnectionClosed),
        _ => None,
    }
}

/// As what the client's context ends by a fault.
fn code_of(fault: &Fault) -> Code {
    match fault {
        Fault::Deadline { .. } => Code::DeadlineExceeded,
        _ => Code::Cancelled,
    }
}

impl Core {
    /// An admission begins, for whoever records them.
    #[cold]
    fn step_begins(&mut self, at: usize, stage: Stage, now: u64) {
        self.note_contexts();
        let Core { steps: Some(steps), parked, .. } = self else { return };
        let takes = match &parked[at].what {
            What::Single { pending } => pending.takes(),
            _ => None,
        };
        steps.begin(&parked[at], stage, now, takes);
        parked.steps = steps.steps.len();
    }

    fn step_told(&mut self, world: &World) {
        if self.faults_allowed
            && let Some(steps) = &mut self.steps
        {
            steps.told(world.touched().as_deref());
        }
    }

    /// A call is served, or its future is dropped.
    fn step_answers(&mut self, at: usize) {
        if self.faults_allowed
            && let Core { steps: Some(steps), parked, .. } = self
        {
            steps.touch(&Footprint::of_answer(&parked[at]));
        }
    }

    fn step_waits(&mut self) {
        if self.faults_allowed
            && let Some(steps) = &mut self.steps
        {
            steps.waits();
        }
    }

    /// A poll begins with the last step, or goes on with it. Returns the step of the poll around it.
    #[inline]
    fn poll_begins(&mut self, task: TaskId) -> Option<usize> {
        if self.steps.is_some() { self.step_polls(task) } else { None }
    }

    #[cold]
    fn step_polls(&mut self, task: TaskId) -> Option<usize> {
        let boot = self.tasks[task.0].boot;
        if self.faults_allowed {
            self.note_contexts();
        }
        let steps = self.steps.as_mut().filter(|_| self.faults_allowed)?;
        let outer = steps.poll_begins(task);
        // The harness's own tasks share what nobody looks after.
        if boot == 0 {
            steps.touch(&Footprint::EVERYTHING);
        }
        Some(outer)
    }

    /// The end of a poll that began inside of the one with the step `outer`.
    #[inline]
    fn poll_ends(&mut self, outer: Option<usize>) {
        if let Some(outer) = outer {
            self.step_polled(outer);
        }
    }

    #[cold]
    fn step_polled(&mut self, outer: usize) {
        self.note_contexts();
        if let Some(steps) = &mut self.steps {
            steps.poll_ends(outer);
        }
    }

    /// Ends the run, unless something else has.
    fn end(&mut self, stop: Stop) -> Stop {
        match &self.stop {
            Some(earlier) if *earlier != Stop::Idle => earlier.clone(),
            _ => self.stop.insert(stop).clone(),
        }
    }

    fn current_actor(&self) -> Symbol {
        self.current.map_or_else(|| Symbol::of("harness"), |task| self.tasks[task.0].actor)
    }

    fn count(&mut self, actor: Symbol, op: Op, subject: Symbol) -> Site {
        let count = self.counts.entry((actor.number(), op, subject.number())).or_insert(0);
        *count += 1;
        Site { actor, op, subject, count: *count }
    }

    /// The site with its next number.
    fn count_of(&mut self, site: Site) -> Site {
        self.count(site.actor, site.op, site.subject)
    }

    fn new_task(
        &mut self,
        actor: Symbol,
        client: Option<usize>,
        boot: u32,
        future: LocalFuture<()>,
    ) -> TaskId {
        let number = self.tasks.len();
        let foreign = ForeignWaker { task: number, foreign: self.foreign.clone() };
        self.tasks.push(Task {
            actor,
            place: actor.place(),
            client,
            future: Some(future),
            waker: Waker::from(Arc::new(foreign)),
            boot,
            seen: 1,
        });
        TaskId(number)
    }

    /// Whether the current task serves a call that waited for a moment.
    fn is_urgent(&self) -> bool {
        let client = self.current.and_then(|task| self.tasks[task.0].client);
        client.is_some_and(|call| self.calls[call].waited)
    }

    /// What a client that gives up means to a call that the current task makes.
    fn awaited(&self, op: Op, ctx: Option<&Context>) -> Awaited {
        let Some(call) = self.current.and_then(|task| self.tasks[task.0].client) else {
            return Awaited::ByNoClient;
        };
        let token = ctx.and_then(Context::cancel_token);
        let is_clients = token.is_some_and(|token| token.descends_from(&self.calls[call].token));
        if is_clients && op.can_abandon() { Awaited::UntilGivenUp } else { Awaited::Blindly }
    }

    /// The scenario's call whose task made a parked call.
    fn client_of(&self, at: usize) -> Option<usize> {
        self.parked[at].task.and_then(|task| self.tasks[task.0].client)
    }

    /// A call is taken up, and its handler begins.
    fn handler(
        &mut self,
        moment: Moment,
        client: Option<usize>,
        handler: LocalFuture<()>,
        now: u64,
        world: u64,
    ) -> TaskId {
        let task = self.new_task(handler_actor(moment.site), client, self.boot, handler);
        self.happened(moment, 0, None, now, world);
        task
    }

    fn park(&mut self, site: Site, stage: Stage, due: u64, now: u64, what: What) -> Change<'_> {
        let parked = self.entry(site, stage, due, now, what);
        self.park_entry(parked);
        self.parked.change(self.parked.len() - 1)
    }

    fn park_entry(&mut self, parked: Parked) -> EntryId {
        self.stirred = true;
        let id = parked.id;
        self.parked.push(parked);
        id
    }

    fn entry(&mut self, site: Site, stage: Stage, due: u64, now: u64, what: What) -> Parked {
        let id = EntryId(self.next_entry);
        self.next_entry += 1;
        let own = self.current.map(|task| &self.tasks[task.0]);
        let own = own.filter(|task| task.actor == site.actor);
        Parked {
            id,
            place: own.map_or_else(|| site.actor.place(), |task| task.place),
            site,
            stage,
            due,
            since: now,
            urgent: self.is_urgent(),
            task: self.current,
            ctx: None,
            what,
            fault: None,
            reply_delay: 0,
            wait: None,
            orphan: false,
            held: None,
            asked: 0,
            prompt: false,
            hangs: false,
            ready: self.parked.steps,
            tokens: 0,
            ended: 0,
        }
    }

    /// The tokens that can end a context, where steps are recorded.
    fn tokens(&self, ctx: Option<&Context>) -> u64 {
        let ctx = ctx.filter(|_| self.steps.is_some());
        ctx.and_then(Context::cancel_token).map_or(0, CancelToken::marks)
    }

    /// Notes what the poll that is under way, or the admission before it, had to do with contexts.
    fn note_contexts(&mut self) {
        let Core { steps: Some(steps), parked, .. } = self else { return };
        let ContextUses { looked, ended } = ContextUses::take();
        let looked = looked | std::mem::take(&mut parked.tokens);
        if looked | ended == 0 {
            return;
        }
        steps.touch(&Footprint::of_tokens(looked, ended));
        if ended != 0 {
            self.note_ended(ended);
        }
        let Core { steps: Some(_), parked, .. } = self else { return };
        // From now on calls can be given up whose contexts have ended.
        let steps = parked.steps;
        for at in 0..parked.len() {
            let call = &parked[at];
            if call.tokens & ended != 0 && call.ended == 0 {
                parked.change(at).ended = steps;
            }
        }
    }

    /// Lets a call that was just made meet its faults: delays, and one of another kind.
    fn strike(&mut self, id: EntryId, faults: Vec<Fault>, now: u64) {
        if faults.is_empty() {
            return;
        }
        let Some(at) = self.parked.find(id) else { return };
        let mut parked = self.parked.change(at);
        let site = parked.site;
        let mut main = None;
        let mut refused = Vec::new();
        let mut delays = Vec::new();
        for fault in faults {
            match fault {
                Fault::Delay { .. } => delays.push(fault),
                fault if main.is_none() => main = Some(fault),
                fault => refused.push(fault),
            }
        }
        for delay in &delays {
            if let Fault::Delay { by, of } = delay {
                match of {
                    DelayOf::Effect => parked.due = parked.due.saturating_add(nanos(*by)),
                    DelayOf::Reply => {
                        parked.reply_delay = parked.reply_delay.saturating_add(nanos(*by));
                    }
                }
            }
        }
        let (due, reply_delay) = (parked.due, parked.reply_delay);
        drop(parked);
        let Some(main) = main else { return };
        let (kind, hangs) =
            (main.kind(), matches!(main, Fault::Hang { .. } | Fault::HangForever { .. }));
        for fault in refused {
            self.refuse_fault(
                site,
                &fault,
                format!("the site has a fault of kind `{kind}` already"),
            );
        }
        for delay in delays.into_iter().filter(|_| hangs) {
            let of_reply = matches!(delay, Fault::Delay { of: DelayOf::Reply, .. });
            if of_reply || main.effect() == Effect::None {
                self.refuse_fault(
                    site,
                    &delay,
                    format!("the site has a `{kind}`, which has no end"),
                );
            }
        }
        self.strike_main(id, &main, due, reply_delay, now);
    }

    fn strike_main(&mut self, id: EntryId, fault: &Fault, due: u64, reply_delay: u64, now: u64) {
        let Some(at) = self.parked.find(id) else { return };
        let mut parked = self.parked.change(at);
        let site = parked.site;
        let What::Call { pending, abandons } = &parked.what else { return };
        let (pending, abandons) = (pending.clone(), *abandons);
        parked.fault = Some(Box::new(fault.clone()));
        // What a plugin answers, or leaves unanswered, it has heard.
        let heard = site.op.layer() == Layer::Nri;
        match fault {
            Fault::Hang { effect: Effect::None } | Fault::HangForever { effect: Effect::None }
                if !heard =>
            {
                parked.stage = Stage::Reply;
                parked.due = NEVER;
                parked.hangs = true;
            }
            Fault::Error { effect: Effect::None, .. } if heard => {}
            Fault::Error { effect: Effect::None, .. }
            | Fault::ConnectionClosed { effect: Effect::None } => {
                parked.stage = Stage::Reply;
                parked.due = due.saturating_add(reply_delay);
                if let Some(failure) = failure_of(fault) {
                    pending.fail(&failure, site);
                }
            }
            Fault::Error { effect: Effect::Late(by), .. }
            | Fault::ConnectionClosed { effect: Effect::Late(by) } => {
                drop(parked);
                let at = due.saturating_add(nanos(*by));
                self.late_effect(id, at, failure_of(fault), now.saturating_add(reply_delay));
            }
            Fault::Cancel { effect } | Fault::Deadline { effect } => {
                drop(parked);
                let code = code_of(fault);
                let Some(call) = self.current.and_then(|task| self.tasks[task.0].client) else {
                    let why = format!(
                        "`{}` does not serve a client's call: there is no request that could be \
                         cancelled",
                        site.actor
                    );
                    return self.refuse_fault(site, fault, why);
                };
                // A cancel does not reach the runtime, and a deadline finds it with its work done.
                let blind = !abandons || site.op.layer() == Layer::Shim;
                // See `end_after_effect`.
                let after = match effect {
                    Effect::None => heard,
                    Effect::Done => heard || blind,
                    Effect::Late(_) => false,
                };
                if !after {
                    self.cancel(call, code, now);
                    self.end_here(id, *effect, code, fault, now);
                }
            }
            _ => {}
        }
    }

    /// The client's context ended while the call `id` is awaited, which ends the await if the call
    /// looks at that context.
    fn end_here(&mut self, id: EntryId, effect: Effect, code: Code, fault: &Fault, now: u64) {
        let Some(at) = self.parked.find(id) else { return };
        if self.parked[at].abandon_due() > now {
            if matches!(effect, Effect::Late(_)) {
                let site = self.parked[at].site;
                let why = format!(
                    "`{}` does not look at the client's context here, so it ends as always",
                    site.op.name()
                );
                self.refuse_fault(site, fault, why);
            }
            return;
        }
        let mut parked = self.parked.change(at);
        match effect {
            Effect::None => {
                parked.fault = Some(Box::new(Fault::Hang { effect }));
                parked.stage = Stage::Reply;
                parked.due = NEVER;
                parked.hangs = true;
                parked.prompt = true;
            }
            // The effect goes first; the reply never comes, so the abandon ends the await.
            Effect::Done => {
                parked.fault = Some(Box::new(Fault::Hang { effect }));
            }
            Effect::Late(by) => {
                drop(parked);
                let at = now.saturating_add(nanos(by));
                self.late_effect(id, at, Some(Failure::Context(code)), now);
            }
        }
    }

    /// The client's context ends once a call was done: one that does not look at it, and so is answered
    /// as always, or one to a plugin, whose answer is not waited for.
    fn end_after_effect(&mut self, at: usize, fault: &Fault, now: u64) {
        if matches!(fault, Fault::Cancel { .. } | Fault::Deadline { .. })
            && let Some(call) = self.client_of(at)
        {
            self.cancel(call, code_of(fault), now);
            let mut parked = self.parked.change(at);
            if parked.abandon_due() <= now {
                parked.due = NEVER;
                parked.hangs = true;
            }
        }
    }

    /// Splits a call: the caller gets the failure at `reply_at`, the effect happens at `at`.
    fn late_effect(&mut self, id: EntryId, at: u64, failure: Option<Failure>, reply_at: u64) {
        let Some(index) = self.parked.find(id) else { return };
        let (site, task) = (self.parked[index].site, self.parked[index].task);
        let What::Call { pending, abandons } = &self.parked[index].what else { return };
        let (pending, abandons) = (pending.clone(), *abandons);
        if let Some(failure) = &failure {
            pending.fail(failure, site);
        }
        // The effect keeps the entry, so that a handler's answer finds it; the reply is a new one.
        let mut effect = self.parked.change(index);
        effect.due = at;
        effect.orphan = true;
        effect.task = None;
        effect.what = What::Call { pending: Rc::new(EffectOnly(pending.clone())), abandons };
        drop(effect);
        let what = What::Call { pending, abandons: false };
        self.park(site, Stage::Reply, reply_at, reply_at, what).task = task;
    }

    /// Asks the oracle which faults a call meets. A scenario may have several for one site: the rest
    /// of them is offered until the oracle wants no more.
    fn decide(&mut self, site: Site, ctx: Option<&Context>, now: u64) -> Vec<Fault> {
        let mut struck = Vec::new();
        let mut over = now;
        if !self.faults_allowed {
            return struck;
        }
        let of_site = |(i, (s, _)): (usize, &(Site, Fault))| (*s == site).then_some(i);
        let mut rest: Vec<usize> =
            self.script.faults.iter().enumerate().filter_map(of_site).collect();
        let menus = self.menus.clone();
        let mut standard = menus.of(site.op);
        let awaited = self.awaited(site.op, ctx);
        let endless = !ctx.is_some_and(Context::can_end);
        loop {
            let own: Vec<Fault> = rest.iter().map(|i| self.script.faults[*i].1.clone()).collect();
            let menu = Menu { standard, own: &own };
            self.steps.iter_mut().for_each(|steps| steps.asks());
            let option = self.oracle.choose(&Choice::Fault { site, menu, awaited, endless });
            let Some(fault) = menu.get(option) else { break };
            over = over.saturating_add(nanos(fault.lasts()));
            self.fault_until(over);
            self.recording.fault(now, site, fault.clone().awaited(endless));
            self.steps.iter_mut().for_each(|steps| steps.strikes());
            struck.push(fault.clone());
            let Some(own) = option.checked_sub(1 + standard.len()) else { break };
            self.fates[rest.remove(own)] = Fate::Applied;
            if rest.is_empty() {
                break;
            }
            standard = &[];
        }
        struck
    }

    /// Faults strike at least until then.
    fn fault_until(&mut self, at: u64) {
        self.last_fault_at = self.last_fault_at.max(at);
    }

    fn refuse_fault(&mut self, site: Site, fault: &Fault, reason: String) {
        let of_it = |(s, f): &(Site, Fault)| *s == site && f == fault;
        if let Some(at) = self.script.faults.iter().position(of_it) {
            self.fates[at] = Fate::Refused(reason);
        }
    }

    /// What an effect leaves to be done.
    fn after_effect(&mut self, at: usize, now: u64) {
        if self.parked[at].orphan {
            self.drop_parked(at);
            return;
        }
        let steps = self.parked.steps;
        let mut parked = self.parked.change(at);
        parked.stage = Stage::Reply;
        parked.wait = None;
        parked.due = now.saturating_add(parked.reply_delay);
        parked.ready = steps;
        match parked.fault.as_deref().cloned() {
            Some(Fault::Hang { .. } | Fault::HangForever { .. }) => {
                parked.due = NEVER;
                parked.hangs = true;
            }
            Some(fault) => {
                if let (Some(failure), What::Call { pending, .. }) =
                    (failure_of(&fault), &parked.what)
                {
                    pending.fail(&failure, parked.site);
                }
                drop(parked);
                self.end_after_effect(at, &fault, now);
            }
            None => {}
        }
    }

    /// Asks whether the moment is set aside, and does it.
    fn set_aside(&mut self, at: usize, stage: Stage, now: u64) -> bool {
        let parked = &self.parked[at];
        // Of one call, one moment at a time.
        if !self.faults_allowed || parked.asked & bit(stage) != 0 || parked.held.is_some() {
            return false;
        }
        let mut site = parked.site;
        if site.count == 0 {
            site = self.count_of(site);
            self.parked.change(at).site = site;
        }
        let moment = Moment { site, stage };
        let due = Due { parked: &self.parked, at, now };
        self.steps.iter_mut().for_each(|steps| steps.asks());
        let option = self.oracle.choose(&Choice::Hold { moment, due });
        self.parked.note_asked(at, stage);
        if option == 0 {
            return false;
        }
        let ready = self.parked[at].ready;
        self.parked.change(at).held = Some((stage, option == 2));
        self.note_held(moment, ready, now);
        true
    }

    fn note_held(&mut self, moment: Moment, ready: usize, now: u64) {
        self.any_held = true;
        self.recording.held(now, moment);
        self.steps.iter_mut().for_each(|steps| steps.set_aside(moment, ready));
    }

    /// Lets held moments go because nothing else can happen, or time would pass.
    fn release_held(&mut self, now: u64, across_time: bool, why: &'static str) -> bool {
        let mut released = false;
        for i in 0..self.parked.len() {
            if let Some((stage, across)) = self.parked[i].held
                && (across_time || !across)
            {
                let moment = Moment { site: self.parked[i].site, stage };
                self.parked.change(i).held = None;
                self.stirred = true;
                self.recording.let_go(now, moment, why);
                self.steps.iter_mut().for_each(|steps| steps.let_go(moment, true));
                self.set_hold_fate(moment, Fate::Refused(format!("it was let go early: {why}")));
                released = true;
            }
        }
        released
    }

    fn set_hold_fate(&mut self, moment: Moment, fate: Fate) {
        for (i, hold) in self.script.holds.iter().enumerate() {
            if hold.what == moment && self.hold_fates[i] == Fate::NotReached {
                self.hold_fates[i] = fate.clone();
            }
        }
    }

    /// Takes an entry out.
    fn unpark(&mut self, at: usize) -> Parked {
        self.overtake(at);
        self.parked.take(at)
    }

    /// Takes an entry out of which nothing is needed any more.
    fn drop_parked(&mut self, at: usize) {
        self.overtake(at);
        self.parked.remove(at);
    }

    /// A moment of the entry that was set aside will not happen any more.
    fn overtake(&mut self, at: usize) {
        let Parked { site, held: Some((stage, _)), .. } = self.parked[at] else { return };
        let why = "it was overtaken: its call ended otherwise while it was set aside";
        self.set_hold_fate(Moment { site, stage }, Fate::Refused(why.to_owned()));
    }

    /// Takes out all entries for which `of` says yes.
    fn unpark_all(&mut self, of: impl Fn(&Parked) -> bool) {
        let mut at = 0;
        while at < self.parked.len() {
            if of(&self.parked[at]) {
                self.drop_parked(at);
            } else {
                at += 1;
            }
        }
    }

    /// What comes of a moment beside its effect.
    #[cold]
    fn follow_up(&mut self, moment: Moment, now: u64) {
        self.triggered(moment, now);
        if self.any_held {
            self.reconsider_held(moment, now);
        }
        if self.may_crash {
            self.consider_crash(moment, now);
        }
    }

    /// After each admission, the oracle may let held moments go.
    fn reconsider_held(&mut self, after: Moment, now: u64) {
        for i in 0..self.parked.len() {
            let Some((stage, _)) = self.parked[i].held else { continue };
            let moment = Moment { site: self.parked[i].site, stage };
            let due = Due { parked: &self.parked, at: i, now };
            let is_last = due.others().next().is_none();
            self.steps.iter_mut().for_each(|steps| steps.asks());
            if self.oracle.choose(&Choice::Keep { moment, after, due }) == 0 {
                self.parked.change(i).held = None;
                self.stirred = true;
                self.recording.let_go(now, moment, Recording::IN_TIME);
                self.steps.iter_mut().for_each(|steps| steps.let_go(moment, is_last));
                self.set_hold_fate(moment, Fate::Applied);
            }
        }
    }

    /// Takes over what the world brought about: wake-ups and things to come.
    fn take_from(&mut self, world: &mut World, now: u64) {
        let outbox = &mut world.outbox;
        if outbox.is_empty() {
            return;
        }
        self.stirred = true;
        for key in outbox.woken.drain(..) {
            self.parked.wake(key, now);
        }
        for occurrence in outbox.cancelled.drain(..) {
            self.unpark_all(|p| matches!(&p.what, What::Occurrence(o) if *o == occurrence));
        }
        let scheduled = std::mem::take(&mut outbox.scheduled);
        for (due, actor, op, occurrence) in scheduled {
            self.park_occurrence(actor, op, occurrence, due, now);
        }
    }

    /// Something will happen in the world at `due`; reports can meet faults on their way.
    fn park_occurrence(
        &mut self,
        actor: Symbol,
        op: Op,
        occurrence: Occurrence,
        due: u64,
        now: u64,
    ) -> Change<'_> {
        let site = self.count(actor, op, Symbol::EMPTY);
        let faults = if op.can_get_lost() { self.decide(site, None, now) } else { Vec::new() };
        // Nobody's work.
        let current = self.current.take();
        self.park(site, Stage::Only, due, now, What::Occurrence(occurrence));
        self.current = current;
        let mut parked = self.parked.change(self.parked.len() - 1);
        for fault in faults {
            match fault {
                Fault::Delay { by, .. } => parked.due = parked.due.saturating_add(nanos(by)),
                fault => parked.fault = Some(Box::new(fault)),
            }
        }
        parked
    }

    fn happened(
        &mut self,
        moment: Moment,
        payload: u64,
        error: Option<Rc<str>>,
        at: u64,
        files: u64,
    ) {
        if self.faults_allowed
            && let Some(steps) = &mut self.steps
        {
            steps.happened();
        }
        self.unfinished = Some(self.recording.entries.len());
        let happened = Happened { at, moment, payload, files, error };
        if self.notes != Notes::Nothing {
            self.note_heard(&happened);
        }
        self.recording.moment(happened);
    }

    /// Begins a call of the scenario. Without a daemon it is over at once.
    fn begin(&mut self, index: usize, now: u64) -> Option<TaskId> {
        let call = &mut self.calls[index];
        call.began = Some(now);
        if self.down {
            self.cut(index, now);
            return None;
        }
        let ctx = Context::background().with_token(call.token.clone());
        let ctx = match call.deadline {
            Some(deadline) => ctx.with_timeout(Instant(now), deadline),
            None => ctx,
        };
        let make = call.make.take().expect("a call begins once");
        let name = call.name;
        let cancel = call.cancel_after;
        let future = make(ctx);
        if let Some(after) = cancel {
            self.park_cancel(index, now.saturating_add(nanos(after)), now);
        }
        Some(self.new_task(name, Some(index), self.boot, future))
    }

    /// A call is over, as the daemon is: the client hears that it is unavailable.
    fn cut(&mut self, index: usize, now: u64) {
        self.calls[index].cut = true;
        self.end_call(index, now);
    }

    /// The call `index` is over. The end follows at once upon what brought it.
    fn end_call(&mut self, index: usize, now: u64) {
        self.calls[index].answered = Some(now);
        self.unpark_all(|p| matches!(p.what, What::Cancel { call } if call == index));
        let actor = self.calls[index].name;
        let site = Site { actor, op: Op::Done, subject: Symbol::EMPTY, count: 1 };
        let mut parked = self.park(site, Stage::Only, now, now, What::Done { call: index });
        parked.urgent = true;
        parked.task = None;
    }

    /// Asks the oracle whether the daemon ends after the moment.
    fn consider_crash(&mut self, after: Moment, now: u64) {
        if !self.faults_allowed {
            return;
        }
        let script = &self.script.crashes;
        let here = |i: &usize| script[*i].at == CrashAt::Moment(after);
        let rest: Vec<usize> = (0..script.len()).filter(here).collect();
        let own: Vec<Crash> = rest.iter().map(|i| script[*i].crash).collect();
        if self.down || self.crash_due.is_some() {
            for crash in rest {
                self.crash_fates[crash] = daemon_is_down();
            }
            return;
        }
        self.steps.iter_mut().for_each(|steps| steps.asks());
        let option = self.oracle.choose(&Choice::Crash { after, own: &own });
        let Some(option) = option.checked_sub(1) else { return };
        self.steps.iter_mut().for_each(|steps| steps.strikes());
        let chosen = option.checked_sub(Crash::STANDARD.len());
        let crash = chosen.map_or_else(|| Crash::STANDARD[option], |own_index| own[own_index]);
        let own = chosen.map(|own_index| rest[own_index]);
        self.let_crash(CrashDue { crash, own, site: None }, now);
        for (i, index) in rest.into_iter().enumerate() {
            self.crash_fates[index] =
                if Some(i) == chosen { Fate::Applied } else { daemon_is_down() };
        }
    }

    /// The time of a crash of the script came.
    fn set_up_crash(&mut self, index: usize, site: Site, now: u64) -> Fate {
        if self.down || self.crash_due.is_some() {
            return daemon_is_down();
        }
        let crash = self.script.crashes[index].crash;
        let site = Some(site).filter(|site| site.count > 0);
        self.let_crash(CrashDue { crash, own: Some(index), site }, now);
        Fate::Applied
    }

    fn let_crash(&mut self, due: CrashDue, now: u64) {
        self.fault_until(now);
        self.crash_due = Some(due);
    }

    /// The node loses power: the oracle says what is left of what the disk did not have yet.
    fn power_loss(&mut self, world: &mut World, own: Option<usize>) {
        let Core { script, oracle, crash_fates, .. } = self;
        let scripted = own.map(|own| &script.crashes[own]);
        let mut pending = Vec::new();
        let mut refused = None;
        world.power_loss(|name, options| {
            pending.push(name);
            let wanted = scripted.and_then(|scripted| scripted.survival(name));
            let own = wanted.and_then(|wanted| options.iter().position(|option| *option == wanted));
            if wanted.is_some() && own.is_none() {
                refused = Some(format!("`{name}` cannot be torn"));
            }
            if let [only] = options {
                return *only;
            }
            options[oracle.choose(&Choice::Survival { pending: name, options, own })]
        });
        let (Some(own), Some(scripted)) = (own, scripted) else { return };
        let mut named = scripted.lost.iter().chain(&scripted.torn);
        let all = Symbol::of(ScriptedCrash::ALL);
        if let Some(absent) = named.find(|name| **name != all && !pending.contains(name)) {
            let names: Vec<String> = pending.iter().map(|name| format!("`{name}`")).collect();
            let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            refused = Some(format!("`{absent}` was not pending; what was: {names}"));
        }
        if let Some(why) = refused {
            crash_fates[own] = Fate::Refused(why);
        }
    }

    fn park_restart(&mut self, due: u64, now: u64) {
        let site = self.count_of(daemon_site(Op::Restart));
        let current = self.current.take();
        self.park(site, Stage::Only, due, now, What::Restart);
        self.current = current;
        self.fault_until(due);
    }

    /// Takes out everything that waits on behalf of the boot that ends.
    fn unpark_boot(&mut self, kind: CrashKind) -> Vec<Parked> {
        let boot = self.boot;
        let mut gone = Vec::new();
        let mut at = 0;
        while at < self.parked.len() {
            let parked = &self.parked[at];
            let of_boot = |task: Option<TaskId>| task.is_none_or(|t| self.tasks[t.0].boot == boot);
            let goes = match &parked.what {
                // Whom nobody waits for, the daemon works for.
                What::Call { .. } | What::Single { .. } => of_boot(parked.task),
                What::Spawn { task } | What::Woken { task } => of_boot(Some(*task)),
                What::Occurrence(occurrence) => occurrence.ends_with(kind),
                What::Up => true,
                What::Begin { .. }
                | What::Cancel { .. }
                | What::Done { .. }
                | What::Crash { .. }
                | What::Restart => false,
            };
            if goes {
                gone.push(self.unpark(at));
            } else {
                at += 1;
            }
        }
        gone
    }

    /// Takes the futures of the boot that ends, in the order of their starts. The calls among them are
    /// over.
    fn take_boot(&mut self, now: u64) -> Vec<LocalFuture<()>> {
        let mut futures = Vec::new();
        for at in 0..self.tasks.len() {
            let task = &mut self.tasks[at];
            if task.boot != self.boot {
                continue;
            }
            let Some(future) = task.future.take() else { continue };
            futures.push(future);
            if let Some(index) = task.client
                && self.calls[index].answered.is_none()
                && self.calls[index].name == task.actor
            {
                self.cut(index, now);
            }
        }
        futures
    }

    fn park_cancel(&mut self, index: usize, due: u64, now: u64) -> Change<'_> {
        let site = Site {
            actor: self.calls[index].name,
            op: Op::Cancel,
            subject: Symbol::EMPTY,
            count: 1,
        };
        let mut parked = self.park(site, Stage::Only, due, now, What::Cancel { call: index });
        parked.task = None;
        parked
    }

    fn cancel(&mut self, index: usize, code: Code, now: u64) {
        self.stirred = true;
        if self.faults_allowed {
            self.note_contexts();
        }
        let call = &mut self.calls[index];
        if call.answered.is_none() && call.cancelled.is_none() {
            call.cancelled = Some((now, code));
        }
        call.token.end(Instant(now), code);
        if self.faults_allowed
            && let Some(steps) = &mut self.steps
        {
            steps.touch(&Footprint::GIVES_UP);
            self.note_contexts();
        }
        for at in 0..self.parked.len() {
            let mut parked = self.parked.change(at);
            if parked.main_due() > now && parked.abandon_due() <= now {
                parked.prompt = true;
            }
        }
    }

    fn triggered(&mut self, moment: Moment, now: u64) {
        let due: Vec<Trigger> =
            self.triggers.iter().filter(|(m, _)| *m == moment).map(|(_, t)| *t).collect();
        self.triggers.retain(|(m, _)| *m != moment);
        if let Some(steps) = self.steps.as_mut().filter(|_| !due.is_empty()) {
            steps.touch(&Footprint::TRIGGER);
        }
        for trigger in due {
            match trigger {
                Trigger::Begin(index) => {
                    let site = Site {
                        actor: self.calls[index].name,
                        op: Op::Begin,
                        subject: Symbol::EMPTY,
                        count: 1,
                    };
                    let begin = What::Begin { call: index };
                    self.park(site, Stage::Only, now, now, begin).urgent = true;
                }
                Trigger::Start(task) => {
                    let actor = self.tasks[task.0].actor;
                    let site = self.count(actor, Op::Begin, Symbol::EMPTY);
                    self.park(site, Stage::Only, now, now, What::Spawn { task }).urgent = true;
                }
                Trigger::Occur(..) if !self.faults_allowed => {}
                Trigger::Occur(actor, op, occurrence) => {
                    self.park_occurrence(actor, op, occurrence, now, now).urgent = true;
                }
                Trigger::Cancel(index) => {
                    self.park_cancel(index, now, now).urgent = true;
                }
            }
        }
    }

    /// A task ended; a client's call has its answer.
    fn finish_task(&mut self, task: TaskId, now: u64) {
        let actor = self.tasks[task.0].actor;
        if let Some(index) = self.tasks[task.0].client
            && self.calls[index].name == actor
        {
            self.end_call(index, now);
        } else if self.tasks[task.0].boot > FIRST_BOOT
            && actor == boot_actor(self.boot, Symbol::of("daemon"))
            && self.crash_due.is_none()
        {
            let site = self.count_of(daemon_site(Op::Up));
            self.park(site, Stage::Only, now, now, What::Up).urgent = true;
        }
    }
}

/// A call whose caller was answered already: what it brings is dropped.
struct EffectOnly(Rc<dyn Pending>);

impl Pending for EffectOnly {
    fn run(&self, world: &mut World, entry: EntryId, site: Site) -> Ran {
        self.0.run(world, entry, site)
    }

    fn fail(&self, _: &Failure, _: Site) {}

    fn brought(&self) -> (u64, Option<Rc<str>>) {
        (0, None)
    }

    fn deliver(&self) {}
}

/// The daemon is about to end.
struct CrashDue {
    crash: Crash,
    /// The number of the scenario's crash that it is.
    own: Option<usize>,
    /// As which it was asked about.
    site: Option<Site>,
}

/// A site of the daemon as a whole; its count is to be set.
fn daemon_site(op: Op) -> Site {
    Site { actor: Symbol::of("daemon"), op, subject: Symbol::EMPTY, count: 1 }
}

fn daemon_is_down() -> Fate {
    Fate::Refused("the daemon was down already".to_owned())
}

/// An actor of a boot: from the second on, the boot's number stands in front.
fn boot_actor(boot: u32, actor: Symbol) -> Symbol {
    if boot == FIRST_BOOT { actor } else { Symbol::of(&format!("boot{boot}:{actor}")) }
}

/// The actor of the steps inside a call: the call's site.
fn handler_actor(site: Site) -> Symbol {
    thread_local! {
        static KNOWN: RefCell<FxHashMap<Site, Symbol>> = RefCell::new(FxHashMap::default());
    }
    KNOWN.with_borrow_mut(|known| {
        *known.entry(site).or_insert_with(|| Symbol::of(&site.to_string()))
    })
}

/// Tasks of a boot by role and subject: `exit-monitor(web)`, `boot2:exit-monitor(web)`.
fn task_of(boot: u32, role: &'static str, subject: Symbol) -> Symbol {
    boot_actor(boot, role_of(role, subject))
}

/// Roles of tasks and their subjects as one text: `exit-monitor(web)`.
pub(crate) fn role_of(role: &'static str, subject: Symbol) -> Symbol {
    if subject.is_empty() {
        return Symbol::of(role);
    }
    thread_local! {
        static ROLES: RefCell<FxHashMap<(&'static str, u32), Symbol>> =
            RefCell::new(FxHashMap::default());
    }
    ROLES.with_borrow_mut(|roles| {
        let role_of = || Symbol::of(&format!("{role}({subject})"));
        *roles.entry((role, subject.number())).or_insert_with(role_of)
    })
}
