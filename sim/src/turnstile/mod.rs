//! Admits one moment at a time. Owns order and time: nothing of a run is polled, and no clock
//! moves, unless it is admitted here.

mod actors;
mod admit;
mod call;
mod clients;
mod crash;
mod faults;
mod holds;
mod line;
mod names;
mod notes;
mod pass;
mod recording;
mod site;
mod state;
mod steps;
mod sync;
mod tasks;
mod triggers;

use std::cell::{Cell, RefCell, RefMut};
use std::hash::Hash;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use rustc_hash::{FxBuildHasher, FxHashMap, FxHasher};
use shakedown_cri::ports::{Error, Instant};

pub(crate) use actors::role_of;
pub use call::{Call, Failure, Flow, Payload, PortError};
pub use clients::ClientCall;
pub use crash::{Boot, Daemon};
pub use holds::Due;
pub use line::EntryId;
pub(crate) use line::end_for;
pub use names::Symbol;
pub use notes::Notes;
pub use recording::{Awaited, Entry as RecordingEntry, Happened, Recording, only};
pub use site::{Layer, Moment, Op, Site, Stage};
pub(crate) use state::unordered;
pub(crate) use steps::Part;
pub use steps::{Footprint, Kept, Step, Steps};
pub use sync::{SimRuntime, SimSignal};

use crate::oracle::{CrashAt, Menus, Oracle, Script};
use crate::world::{FIRST_BOOT, World};
use crash::CrashDue;
use line::{Change, Line, Parked, What};
use tasks::{Foreign, Task};
use triggers::Trigger;

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

/// Told by how many nanoseconds virtual time moved on.
type Follower = Box<dyn Fn(u64)>;

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

    pub fn with_recording<R>(&self, look: impl FnOnce(&mut Recording) -> R) -> R {
        look(&mut self.0.core.borrow_mut().recording)
    }

    /// Logs on behalf of the code under test; for timelines only.
    pub fn log(&self, text: &str) {
        if let Ok(mut core) = self.0.core.try_borrow_mut() {
            core.recording.log(self.0.now.get(), Rc::from(text));
        }
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

    /// What became of the faults, the holds, the occurrences and the crashes of the scenario.
    pub fn fates(&self) -> [Vec<Fate>; 4] {
        let core = self.0.core.borrow();
        [&core.fates, &core.hold_fates, &core.occurrence_fates, &core.crash_fates].map(Clone::clone)
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

    /// Ends the run, unless something else has.
    pub fn end(&self, stop: Stop) {
        self.0.core.borrow_mut().end(stop);
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

const fn bit(stage: Stage) -> u8 {
    1 << stage as u8
}

impl Core {
    /// Ends the run, unless something else has.
    fn end(&mut self, stop: Stop) -> Stop {
        match &self.stop {
            Some(earlier) if *earlier != Stop::Idle => earlier.clone(),
            _ => self.stop.insert(stop).clone(),
        }
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
            orphan: None,
            held: None,
            asked: 0,
            prompt: false,
            hangs: false,
            ready: self.parked.steps,
            tokens: 0,
            ended: 0,
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
}
