//! The CRI as far as containers go: the trait that code under test implements, and its types.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use crate::ports::{Context, Error, NriUpdate, Spec};
use crate::store::{LinuxResources, Resources};

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
#[derive(Clone, Debug)]
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

/// Whether two texts that are mostly empty are the same. Peeks are compared after every moment, and most
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

/// The code under test: a CRI runtime service, as far as the harness calls it.
///
/// Every future is one call; dropping it means that the daemon died. The harness calls nothing
/// before [`RuntimeService::run`] resolved.
pub trait RuntimeService {
    /// Brings the service up: recovery, background tasks. Resolves once calls are served.
    fn run(&self) -> LocalFuture<Result<(), Error>>;

    /// Takes over a sandbox that the world made: record, snapshot, pause task and directories are
    /// there. Of one that it has already it takes the configuration and the runtime handler only, as
    /// when the node was configured otherwise since.
    fn adopt_sandbox(&self, sandbox: Sandbox) -> LocalFuture<Result<(), Error>>;

    /// Drops a sandbox from the service's store while its containers stay, as when a restart could
    /// not load its record.
    fn forget_sandbox(&self, id: String) -> LocalFuture<()>;

    /// Returns the new container's id.
    fn create_container(
        &self,
        ctx: Context,
        sandbox_id: String,
        config: ContainerConfig,
    ) -> LocalFuture<Result<String, Error>>;
    fn start_container(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>>;
    /// `timeout`: grace period in seconds.
    fn stop_container(
        &self,
        ctx: Context,
        id: String,
        timeout: i64,
    ) -> LocalFuture<Result<(), Error>>;
    fn remove_container(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>>;
    /// What is zero or empty in `resources` stays as it is.
    fn update_container_resources(
        &self,
        ctx: Context,
        id: String,
        resources: LinuxResources,
    ) -> LocalFuture<Result<(), Error>>;
    fn container_status(
        &self,
        ctx: Context,
        id: String,
        verbose: bool,
    ) -> LocalFuture<Result<ContainerStatus, Error>>;
    fn reopen_container_log(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>>;
    /// Resolves only when the stream fails.
    fn get_container_events(
        &self,
        ctx: Context,
        stream: Rc<dyn EventStream>,
    ) -> LocalFuture<Result<(), Error>>;
    fn list_containers(
        &self,
        ctx: Context,
        filter: ContainerFilter,
    ) -> LocalFuture<Result<Vec<ContainerSummary>, Error>>;
    fn stop_pod_sandbox(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>>;
    fn remove_pod_sandbox(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>>;

    /// An NRI plugin connected: registration and synchronisation (spec section 7.3).
    fn connect_plugin(&self, name: String) -> LocalFuture<Result<(), Error>>;

    /// A connected NRI plugin wants other limits for containers, without having been asked.
    fn update_from_plugin(&self, updates: Vec<NriUpdate>) -> LocalFuture<Result<(), Error>>;

    /// A window for the judge: what a client would be told, read without waiting. `None` when the
    /// container is unknown or its status cannot be read without waiting.
    fn peek(&self, id: &str) -> Option<Peek>;

    /// The flags by which the service keeps others off a container now, such as `starting`. They are
    /// shown beside a run's moments, and no invariant sees them.
    fn claims(&self, _id: &str) -> Vec<&'static str> {
        Vec::new()
    }
}
