//! The simulated node: containerd with its shims, processes, files, clocks and NRI plugins.
//!
//! Everything here is plain state that effects change; what of it takes several steps is an async
//! handler in `task_service` and `shim`. The world knows the ports and no service.

mod clock;
mod events;
pub mod fs;
mod inspect;
mod metadata;
mod node;
mod nri;
mod ports;
mod power;
mod process;
mod shim;
mod state;
mod task_service;

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use shakedown_cri::cri::ContainerEvent;
use shakedown_cri::quirks::Quirks;

pub use clock::{ClockChange, SimClock, WallClock};
pub use events::EventQueues;
pub use metadata::Metadata;
pub use nri::{NriWorld, PluginState, Relayed};
pub use ports::{FIRST_BOOT, Roots, SimContainerd, SimEvents, SimFs, SimMetrics, SimNri, SimPorts};
pub use process::{ExitCause, Process, ProcessOutput, ProcessPlan, ProcessState};
pub use shim::{InitState, SHIM_OWNER, Shim, ShimContainer};
pub use task_service::TaskTable;
pub(crate) use task_service::reload;

use crate::oracle::CrashKind;
use crate::turnstile::{Footprint, Op, Symbol};
use fs::FileSystem;

/// What a blocked effect waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitKey {
    /// A lock, channel or signal of the service.
    Shared(u64),
    /// A named pipe's end.
    Fifo(fs::FifoId),
    /// A change of a shim, by the pod's number.
    Shim(u32),
    /// There is an event for a subscriber to the service's events.
    Events,
    /// There is one for the subscriber to `/tasks/oom`.
    OomEvents,
    /// A reader of a named pipe that was opened as a file: there is none on the node.
    Reader,
}

/// What happens in the world by itself, at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Occurrence {
    /// The process with this pid ends, with this code.
    Exit { pid: u32, code: i32, cause: ExitCause },
    /// The kernel's word that it killed this process for want of memory reaches the daemon.
    OomReport { pid: u32, attempt: u32 },
    /// An occurrence that the scenario placed, by its number.
    Placed(usize),
    /// The process writes the n-th piece of its output.
    Print { pid: u32, piece: usize },
    /// The daemon cleans up after a shim's connection to a container broke.
    ShimLost { pid: u32 },
    /// The n-th change of the wall clock.
    Clock { change: usize },
}

/// An occurrence of the scenario: what befalls the node without a call of the service.
#[derive(Clone, Debug)]
pub enum Placed {
    /// The process of this container or sandbox ends by itself.
    Exit { id: String, code: i32 },
    /// The kernel kills the process of this container for want of memory.
    Oom { id: String },
    /// A log is renamed to one with `.1` behind its name.
    RotateLog { path: String },
    /// The shim of this sandbox's pod is killed.
    ShimExit { sandbox: String },
}

/// What effects bring about beyond the state: collected by the turnstile after each of them.
#[derive(Default)]
pub struct Outbox {
    pub woken: Vec<WaitKey>,
    pub scheduled: Vec<(u64, Symbol, Op, Occurrence)>,
    pub cancelled: Vec<Occurrence>,
}

impl Outbox {
    pub fn is_empty(&self) -> bool {
        self.woken.is_empty() && self.scheduled.is_empty() && self.cancelled.is_empty()
    }
}

/// What changed since the judge last looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Tasks, shims' containers, mounts, processes.
    pub runtime: bool,
    pub events: bool,
    pub plugins: bool,
}

impl Changed {
    pub fn any(self) -> bool {
        self.runtime || self.events || self.plugins
    }
}

/// An event that the service sent, and when.
#[derive(Clone, Debug, Hash)]
pub struct SentEvent {
    pub at: u64,
    pub event: ContainerEvent,
    /// No subscriber can take it yet.
    pub held: bool,
    /// The daemon died before any subscriber had taken it.
    pub lost: bool,
}

/// Wall clock at the start of a run: 2026-01-01T00:00:00Z, in nanoseconds since the epoch.
pub const WALL_EPOCH: i64 = 1_767_225_600_000_000_000;

/// A node.
pub struct World {
    /// Where the service keeps its directories.
    pub roots: Rc<Roots>,
    /// Number of the daemon's latest boot, the owner of the descriptors that it has open.
    pub boot: u32,
    /// When boots of the daemon ended, and what else did.
    pub crashes: Vec<(u64, CrashKind)>,
    /// The quirks of the profile; the world heeds those of its own part.
    pub quirks: Quirks,
    /// Virtual monotonic time, nanoseconds. Only the turnstile moves it.
    pub now: u64,
    pub wall_clock: WallClock,
    pub outbox: Outbox,
    pub changed: Changed,
    /// Somebody wants to know what is read and changed.
    pub(crate) notes: bool,
    /// That, as far as it was said.
    touched: RefCell<Footprint>,
    is_touched: Cell<bool>,
    /// The write that is under way takes half of its bytes.
    pub short_write: bool,
    /// The drive drops what the sync that is under way should make durable, and says nothing.
    pub sync_lost: bool,
    pub fs: FileSystem,
    pub metadata: Metadata,
    /// The task service's table.
    pub tasks: TaskTable,
    /// One per pod, by the pod's number.
    pub shims: Vec<Shim>,
    /// Sandbox id to the pod's number.
    pub pods: BTreeMap<String, u32>,
    /// What the OCI runtime keeps, by container id: the pid of its init.
    pub runtime: BTreeMap<String, u32>,
    /// Containers whose root file system is mounted.
    pub mounts: BTreeSet<String>,
    /// Containers that have a bundle directory.
    pub bundles: BTreeSet<String>,
    pub processes: BTreeMap<u32, Process>,
    pub nri: NriWorld,
    pub events: Vec<SentEvent>,
    /// What of them no subscriber has taken yet.
    pub event_queues: EventQueues,
    /// What each stream of events brought to its client, by the call's name.
    pub streamed: FxHashMap<Symbol, Vec<ContainerEvent>>,
    /// What the daemon's exchange holds for the subscriber to `/tasks/oom`; `None`: nobody subscribed.
    pub oom_events: Option<VecDeque<String>>,
    /// What the scenario placed.
    pub placed: Vec<Placed>,
    /// Metrics by name: how many observations.
    pub metrics: BTreeMap<&'static str, u64>,
    /// What a container's process will do, by container name.
    pub plans: FxHashMap<Symbol, ProcessPlan>,
    /// The container that a `create` call will make, by the call's actor: the id it is to get.
    pub ids: BTreeMap<String, String>,
    next_pid: u32,
    next_id: u64,
}

impl World {
    /// A node with an empty disk.
    pub fn new(quirks: Quirks) -> Self {
        World::on(FileSystem::new(fs::Limits::default()), Rc::default(), quirks)
    }

    /// A node with this disk, on which the service has these directories.
    pub fn on(mut fs: FileSystem, roots: Rc<Roots>, quirks: Quirks) -> Self {
        fs.set_unlimited(shim::SHIM_OWNER);
        World {
            roots,
            boot: FIRST_BOOT,
            crashes: Vec::new(),
            quirks,
            now: 0,
            wall_clock: WallClock::default(),
            outbox: Outbox::default(),
            changed: Changed::default(),
            notes: false,
            touched: RefCell::default(),
            is_touched: Cell::new(false),
            short_write: false,
            sync_lost: false,
            fs,
            metadata: Metadata::default(),
            tasks: TaskTable::default(),
            shims: Vec::new(),
            pods: BTreeMap::new(),
            runtime: BTreeMap::new(),
            mounts: BTreeSet::new(),
            bundles: BTreeSet::new(),
            processes: BTreeMap::new(),
            nri: NriWorld::default(),
            events: Vec::new(),
            event_queues: EventQueues::default(),
            streamed: FxHashMap::default(),
            oom_events: None,
            placed: Vec::new(),
            metrics: BTreeMap::new(),
            plans: FxHashMap::default(),
            ids: BTreeMap::new(),
            next_pid: 100,
            next_id: 0,
        }
    }

    /// Nanoseconds since the Unix epoch. Whoever asks says what else it touches.
    pub fn wall(&self) -> i64 {
        self.touches(|| Footprint::WALL_CLOCK);
        self.wall_clock.at(self.now)
    }

    /// A hash of the file system's history.
    pub fn digest(&self) -> u64 {
        self.fs.digest()
    }

    /// What a log holds: first what was rotated away.
    pub fn log(&self, path: &str) -> Option<Vec<u8>> {
        let parts = [self.fs.content(&[path, ".1"].concat()), self.fs.content(path)];
        parts
            .iter()
            .any(Option::is_some)
            .then(|| parts.into_iter().flatten().flatten().copied().collect())
    }

    /// Says what an effect reads and changes. Whoever says anything says all of it; of an effect that says
    /// nothing the worst is assumed.
    pub(crate) fn touches(&self, footprint: impl FnOnce() -> Footprint) {
        if self.notes {
            let mut touched = self.touched.borrow_mut();
            if self.is_touched.replace(true) {
                touched.add(&footprint());
            } else {
                *touched = footprint();
            }
        }
    }

    /// An effect begins, which has not said anything yet.
    pub(crate) fn touches_nothing_yet(&self) {
        self.is_touched.set(false);
    }

    /// What the effect said.
    pub(crate) fn touched(&self) -> Option<Ref<'_, Footprint>> {
        self.is_touched.get().then(|| self.touched.borrow())
    }

    /// The judge has looked.
    pub fn seen(&mut self) {
        self.changed = Changed::default();
    }

    pub fn new_pid(&mut self) -> u32 {
        self.next_pid += 1;
        self.next_pid
    }

    /// The id of the container that the actor is about to make.
    pub fn new_container_id(&mut self, actor: Symbol) -> String {
        if let Some(id) = self.ids.remove(&*actor.text()) {
            return id;
        }
        self.next_id += 1;
        format!("{:064x}", self.next_id)
    }

    fn wake(&mut self, key: WaitKey) {
        self.outbox.woken.push(key);
    }

    fn schedule(&mut self, after: Duration, actor: Symbol, op: Op, occurrence: Occurrence) {
        let after = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        self.outbox.scheduled.push((self.now.saturating_add(after), actor, op, occurrence));
    }

    /// Pipes that changed wake whoever waits for them.
    fn wake_fifos(&mut self) {
        for (id, _) in self.fs.take_fifo_events() {
            self.outbox.woken.push(WaitKey::Fifo(id));
            self.resume_writer(id);
        }
    }

    /// Lets an occurrence happen; `lost`: nobody is told. Returns what enters the digest.
    ///
    /// # Errors
    /// Why one that the scenario placed could not happen.
    pub fn occur(&mut self, occurrence: Occurrence, lost: bool) -> Result<u64, String> {
        match occurrence {
            Occurrence::Exit { pid, code, cause } => {
                self.touches(Footprint::default);
                self.process_exits(pid, code, cause, !lost);
                Ok(u64::from(code.unsigned_abs()))
            }
            Occurrence::Print { pid, piece } => {
                self.touches(Footprint::default);
                self.process_prints(pid, piece);
                Ok(piece as u64)
            }
            Occurrence::Clock { change } => {
                self.touches(|| Footprint::SETS_WALL_CLOCK);
                self.wall_clock.change(self.now, change);
                Ok(u64::from_ne_bytes(self.wall().to_ne_bytes()))
            }
            Occurrence::ShimLost { pid } => {
                self.touches(Footprint::default);
                if !lost {
                    self.clean_up_lost_shim(pid);
                }
                Ok(u64::from(pid))
            }
            Occurrence::OomReport { pid, attempt } => {
                self.touches(|| Footprint::OOM_EVENTS);
                if !lost {
                    self.report_oom(pid, attempt);
                }
                Ok(u64::from(pid))
            }
            Occurrence::Placed(number) => {
                let placed = self.placed[number].clone();
                self.befall(&placed, lost)
            }
        }
    }
}
