//! The CRI as far as containers go: the trait that code under test implements, and its types.

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::rc::Rc;

use crate::ports::{Context, Error, NriUpdate, Spec};
pub use crate::store::{LinuxResources, Resources};

/// A future of one thread.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerState {
    Created,
    Running,
    Exited,
    Unknown,
}

impl ContainerState {
    /// The CRI's name, as it stands in messages: `CONTAINER_CREATED`.
    pub const fn name(self) -> &'static str {
        match self {
            ContainerState::Created => "CONTAINER_CREATED",
            ContainerState::Running => "CONTAINER_RUNNING",
            ContainerState::Exited => "CONTAINER_EXITED",
            ContainerState::Unknown => "CONTAINER_UNKNOWN",
        }
    }
}

impl fmt::Display for ContainerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SandboxState {
    Ready,
    NotReady,
    Unknown,
}

impl SandboxState {
    pub const fn name(self) -> &'static str {
        match self {
            SandboxState::Ready => "SANDBOX_READY",
            SandboxState::NotReady => "SANDBOX_NOTREADY",
            SandboxState::Unknown => "SANDBOX_UNKNOWN",
        }
    }
}

/// Where a namespace comes from (CRI NamespaceMode).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum NamespaceMode {
    #[default]
    Pod,
    Container,
    Node,
    Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct NamespaceOptions {
    pub network: NamespaceMode,
    pub pid: NamespaceMode,
    pub ipc: NamespaceMode,
}

/// PodSandboxConfig, as far as containers depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct SandboxConfig {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub attempt: u32,
    /// Empty: logging is off.
    pub log_directory: String,
    pub annotations: Vec<(String, String)>,
    pub namespaces: NamespaceOptions,
    pub privileged: bool,
}

/// A sandbox as it is given to the service ready-made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sandbox {
    pub id: String,
    pub config: SandboxConfig,
    pub runtime_handler: String,
    pub state: SandboxState,
    pub created_at: i64,
}

/// ContainerConfig, as far as it is used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct ContainerConfig {
    pub name: String,
    pub attempt: u32,
    /// Image reference as the client gave it.
    pub image: String,
    /// Relative to the sandbox's log directory; empty: logging is off.
    pub log_path: String,
    pub tty: bool,
    pub stdin: bool,
    pub labels: Vec<(String, String)>,
    pub annotations: Vec<(String, String)>,
    pub args: Vec<String>,
    pub env: Vec<String>,
    /// `None`: the config has no Linux section.
    pub linux: Option<LinuxConfig>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct LinuxConfig {
    pub namespaces: NamespaceOptions,
    /// Container id that pid mode TARGET names.
    pub target_id: String,
    pub cpu_shares: i64,
    pub memory_limit_in_bytes: i64,
}

/// ContainerStatus of the CRI (spec section 4.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerStatus {
    pub id: String,
    pub name: String,
    pub attempt: u32,
    pub state: ContainerState,
    pub created_at: i64,
    pub started_at: i64,
    pub finished_at: i64,
    pub exit_code: i32,
    pub image: String,
    pub image_ref: String,
    pub reason: String,
    pub message: String,
    pub labels: Vec<(String, String)>,
    pub annotations: Vec<(String, String)>,
    pub log_path: String,
    pub resources: Option<Resources>,
    /// Present when the request was verbose.
    pub info: Option<VerboseInfo>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VerboseInfo {
    pub sandbox_id: String,
    pub pid: u32,
    pub removing: bool,
    pub snapshot_key: String,
    pub snapshotter: String,
    pub runtime: String,
    pub config: ContainerConfig,
    pub spec: Spec,
}

/// One row of ListContainers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerSummary {
    pub id: String,
    pub sandbox_id: String,
    pub name: String,
    pub attempt: u32,
    pub image: String,
    pub image_ref: String,
    pub state: ContainerState,
    pub created_at: i64,
    pub labels: Vec<(String, String)>,
    pub annotations: Vec<(String, String)>,
}

/// All criteria that are given must hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct ContainerFilter {
    pub id: String,
    pub sandbox_id: String,
    pub state: Option<ContainerState>,
    pub labels: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    Created,
    Started,
    Stopped,
    Deleted,
}

impl EventKind {
    pub const fn name(self) -> &'static str {
        match self {
            EventKind::Created => "CONTAINER_CREATED_EVENT",
            EventKind::Started => "CONTAINER_STARTED_EVENT",
            EventKind::Stopped => "CONTAINER_STOPPED_EVENT",
            EventKind::Deleted => "CONTAINER_DELETED_EVENT",
        }
    }

    /// The CRI's number.
    pub const fn number(self) -> i32 {
        self as i32
    }
}

/// ContainerEventResponse (spec section 9.1). For a sandbox's own events the container id is the
/// sandbox's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContainerEvent {
    pub container_id: String,
    pub sandbox_id: String,
    pub kind: EventKind,
    pub created_at: i64,
    /// State of the sandbox at send time; `None` where a version sends events without it.
    pub sandbox_state: Option<SandboxState>,
    pub statuses: Vec<ContainerStatus>,
}

/// What a client would be told of a container, read without waiting and without a trace.
#[derive(Clone, Debug, Hash)]
#[expect(clippy::derived_hash_with_manual_eq, reason = "what is equal is so by every field")]
pub struct Peek {
    pub state: ContainerState,
    pub pid: u32,
    pub exit_code: i32,
    pub reason: String,
    pub message: String,
    pub created_at: i64,
    pub started_at: i64,
    pub finished_at: i64,
}

impl PartialEq for Peek {
    fn eq(&self, other: &Self) -> bool {
        let numbers =
            |p: &Peek| (p.state, p.pid, p.exit_code, p.created_at, p.started_at, p.finished_at);
        numbers(self) == numbers(other)
            && same_text(&self.reason, &other.reason)
            && same_text(&self.message, &other.message)
    }
}

impl Eq for Peek {}

/// Whether two texts that are mostly empty are the same. Peeks are compared after many moments, and most
/// have no texts. A comparison of nothing with nothing reads through two dangling pointers under an empty
/// mask in some C libraries, for which some processors take a hundred times as long as for one that reads.
pub fn same_text(a: &str, b: &str) -> bool {
    a.len() == b.len() && (a.is_empty() || a == b)
}

/// The stream of one GetContainerEvents request.
pub trait EventStream {
    /// # Errors
    /// The client is gone: the event is lost.
    fn send(&self, event: ContainerEvent) -> LocalFuture<Result<(), Error>>;
}

/// The code under test: the container half of a CRI runtime service, one instance for each boot of the
/// daemon.
///
/// # Futures
/// Each future is one call. It is polled by one thread, one task at a time, whenever a port that it awaits has
/// its answer. What it awaits are ports, locks and channels of
/// [`Ports`](crate::ports::Ports); a future that waits for anything else is polled when it is woken. Code
/// that neither awaits nor returns is never interrupted.
///
/// A client that gives up ends its [`Context`], and nothing else: the future is not dropped, and is polled until it
/// returns. What is awaited under that context then fails with the context's error. That is how gRPC servers
/// have it, in Go and elsewhere. A future is dropped before it has returned in one case only: the daemon
/// died. No destructor of that boot finds anything to undo any more.
///
/// # Tasks
/// What has to go on once a call was answered, such as waiting for an exit, is a task of
/// [`Runtime::spawn`](crate::ports::Runtime::spawn), and belongs to the boot. Whoever spawns names it: it is the
/// actor of its calls in reports.
///
/// # What may be left out
/// Each call but [`run`](Self::run) and [`peek`](Self::peek) has a default that answers `Unimplemented`. A scenario
/// that needs such a call says so, and counts as not tried. Every scenario needs
/// [`adopt_sandbox`](Self::adopt_sandbox); nearly all need to create, start, stop and remove containers, and to
/// stop and remove pods.
///
/// # Panics
/// A panic in any of these, and in tasks and destructors, ends the run and is told as a finding.
pub trait RuntimeService {
    /// Brings the service up: recovery, background tasks. Resolves once calls are served, and no call is made
    /// before. The sandboxes and containers of a node that has some are found by what is on it: records,
    /// files, tasks.
    ///
    /// # Errors
    /// The daemon does not come up: it exits. Clients are told that it is unavailable until it is started again,
    /// at the latest when the node is reaped.
    fn run(&self) -> LocalFuture<Result<(), Error>>;

    /// Takes over a sandbox that the world made: record, snapshot, pause task and directories are
    /// there. Of one that it has already it takes the configuration and the runtime handler only, as
    /// when the node was configured otherwise since.
    fn adopt_sandbox(&self, _sandbox: Sandbox) -> LocalFuture<Result<(), Error>> {
        not_implemented("AdoptSandbox")
    }

    /// Drops a sandbox from the service's store while its containers stay, as when a restart could
    /// not load its record.
    fn forget_sandbox(&self, _id: String) -> LocalFuture<Result<(), Error>> {
        not_implemented("ForgetSandbox")
    }

    /// Returns the new container's id: the first that
    /// [`Runtime::unique_id`](crate::ports::Runtime::unique_id) gave this call, as the harness
    /// knows the containers of a scenario by it.
    fn create_container(
        &self,
        _ctx: Context,
        _sandbox_id: String,
        _config: ContainerConfig,
    ) -> LocalFuture<Result<String, Error>> {
        not_implemented("CreateContainer")
    }

    fn start_container(&self, _ctx: Context, _id: String) -> LocalFuture<Result<(), Error>> {
        not_implemented("StartContainer")
    }

    /// `timeout`: grace period in seconds.
    fn stop_container(
        &self,
        _ctx: Context,
        _id: String,
        _timeout: i64,
    ) -> LocalFuture<Result<(), Error>> {
        not_implemented("StopContainer")
    }

    fn remove_container(&self, _ctx: Context, _id: String) -> LocalFuture<Result<(), Error>> {
        not_implemented("RemoveContainer")
    }

    /// What is zero or empty in `resources` stays as it is.
    fn update_container_resources(
        &self,
        _ctx: Context,
        _id: String,
        _resources: LinuxResources,
    ) -> LocalFuture<Result<(), Error>> {
        not_implemented("UpdateContainerResources")
    }

    fn container_status(
        &self,
        _ctx: Context,
        _id: String,
        _verbose: bool,
    ) -> LocalFuture<Result<ContainerStatus, Error>> {
        not_implemented("ContainerStatus")
    }

    fn reopen_container_log(&self, _ctx: Context, _id: String) -> LocalFuture<Result<(), Error>> {
        not_implemented("ReopenContainerLog")
    }

    /// Resolves only when the stream fails.
    fn get_container_events(
        &self,
        _ctx: Context,
        _stream: Rc<dyn EventStream>,
    ) -> LocalFuture<Result<(), Error>> {
        not_implemented("GetContainerEvents")
    }

    fn list_containers(
        &self,
        _ctx: Context,
        _filter: ContainerFilter,
    ) -> LocalFuture<Result<Vec<ContainerSummary>, Error>> {
        not_implemented("ListContainers")
    }

    fn stop_pod_sandbox(&self, _ctx: Context, _id: String) -> LocalFuture<Result<(), Error>> {
        not_implemented("StopPodSandbox")
    }

    fn remove_pod_sandbox(&self, _ctx: Context, _id: String) -> LocalFuture<Result<(), Error>> {
        not_implemented("RemovePodSandbox")
    }

    /// An NRI plugin connected: registration and synchronisation (spec section 7.3).
    fn connect_plugin(&self, _name: String) -> LocalFuture<Result<(), Error>> {
        not_implemented("ConnectPlugin")
    }

    /// A connected NRI plugin wants other limits for containers, without having been asked.
    fn update_from_plugin(&self, _updates: Vec<NriUpdate>) -> LocalFuture<Result<(), Error>> {
        not_implemented("UpdateFromPlugin")
    }

    /// A window for the judge: what ContainerStatus would say of this container now, read without
    /// waiting and without a trace. `None` when the container is unknown or its status cannot be read
    /// without waiting; what is not told is not judged.
    ///
    /// It is asked after moments, between two polls, and may use no port but
    /// [`Lock::peek`](crate::ports::Lock::peek) and [`Value::with`](crate::ports::Value::with).
    fn peek(&self, id: &str) -> Option<Peek>;

    /// The flags by which the service keeps others off a container now, such as `starting`. They are
    /// shown beside a run's moments, and no invariant sees them. What holds for [`peek`](Self::peek) holds here.
    fn claims(&self, _id: &str) -> Vec<&'static str> {
        Vec::new()
    }
}

/// The answer of a call that a service does not have.
fn not_implemented<T: 'static>(method: &'static str) -> LocalFuture<Result<T, Error>> {
    Box::pin(ready(Err(Error::not_implemented(method))))
}
