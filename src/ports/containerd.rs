//! The daemon's services as the CRI plugin calls them in-process: container records, snapshots,
//! images and tasks. The client library on top of them (spec sections 2.1 to 2.6) is the service's.

use std::future::Future;
use std::rc::Rc;

use super::{Context, Error};
use crate::store::LinuxResources;

/// A container record of the metadata store (spec sections 2.1 and 4.2 step 5).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Record {
    pub id: String,
    /// `io.cri-containerd.kind` and others, sorted by key.
    pub labels: Vec<(String, String)>,
    pub image: String,
    pub runtime: String,
    /// Empty when none is set.
    pub snapshotter: String,
    pub snapshot_key: String,
    pub spec: Spec,
    /// Name and content of each extension.
    pub extensions: Vec<(String, String)>,
    /// Wall-clock nanoseconds, set by the store.
    pub created_at: i64,
}

/// The parts of an OCI runtime spec that a start can depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Spec {
    pub args: Vec<String>,
    pub env: Vec<String>,
    /// Sorted by key. `io.kubernetes.cri.sandbox-id` names the pod whose shim the task joins; without it
    /// there is none that could create the task.
    pub annotations: Vec<(String, String)>,
    /// SELinux label of the root file system's mounts; empty when none.
    pub mount_label: String,
    /// The container whose pid namespace is joined; empty for an own one or the pod's.
    pub pid_namespace_of: String,
    pub resources: LinuxResources,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mount {
    pub kind: String,
    pub source: String,
    pub options: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Image {
    pub id: String,
    pub tags: Vec<String>,
    pub digests: Vec<String>,
    /// Stop signal of the image's config; empty when none.
    pub stop_signal: String,
}

/// Paths of the container's pipes; empty for a stream that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct IoPaths {
    pub terminal: bool,
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct CreateTask {
    pub id: String,
    pub io: IoPaths,
    pub rootfs: Vec<Mount>,
    pub no_pivot_root: bool,
    /// Path of the runtime's binary; empty for the default.
    pub runtime_path: String,
}

/// The task service's word for a task's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskStatus {
    Unknown,
    Created,
    Running,
    Stopped,
    Paused,
    Pausing,
}

impl TaskStatus {
    pub const fn word(self) -> &'static str {
        match self {
            TaskStatus::Unknown => "unknown",
            TaskStatus::Created => "created",
            TaskStatus::Running => "running",
            TaskStatus::Stopped => "stopped",
            TaskStatus::Paused => "paused",
            TaskStatus::Pausing => "pausing",
        }
    }
}

/// Reply of the task service's Get.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskInfo {
    pub status: TaskStatus,
    pub pid: u32,
    pub io: IoPaths,
    pub exit: Option<Exit>,
}

/// An exit: code, and wall-clock nanoseconds of the reaping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exit {
    pub code: i32,
    pub at: i64,
}

/// Every error is as the daemon's service returns it, before the rewrite at the client boundary
/// ([`Error::across_rpc`]).
pub trait Containerd: Clone + 'static {
    /// A record never changes: an update puts another in its place, so that readers can share it.
    fn record_get(
        &self,
        ctx: &Context,
        id: &str,
    ) -> impl Future<Output = Result<Rc<Record>, Error>>;
    /// The records with this label, ordered by id.
    fn record_list(
        &self,
        ctx: &Context,
        label: (&str, &str),
    ) -> impl Future<Output = Result<Vec<Rc<Record>>, Error>>;
    /// Sets `created_at`.
    fn record_create(
        &self,
        ctx: &Context,
        record: Record,
    ) -> impl Future<Output = Result<(), Error>>;
    /// Puts another spec into a record.
    fn record_update(
        &self,
        ctx: &Context,
        id: &str,
        spec: Spec,
    ) -> impl Future<Output = Result<(), Error>>;
    fn record_delete(&self, ctx: &Context, id: &str) -> impl Future<Output = Result<(), Error>>;

    fn snapshot_prepare(
        &self,
        ctx: &Context,
        key: &str,
        image: &str,
    ) -> impl Future<Output = Result<(), Error>>;
    fn snapshot_mounts(
        &self,
        ctx: &Context,
        key: &str,
    ) -> impl Future<Output = Result<Vec<Mount>, Error>>;
    fn snapshot_remove(&self, ctx: &Context, key: &str) -> impl Future<Output = Result<(), Error>>;

    /// By id, tag or digest. An image never changes, so that readers can share it.
    fn image_get(
        &self,
        ctx: &Context,
        reference: &str,
    ) -> impl Future<Output = Result<Rc<Image>, Error>>;

    /// Returns the pid of the blocked init.
    fn task_create(
        &self,
        ctx: &Context,
        request: CreateTask,
    ) -> impl Future<Output = Result<u32, Error>>;
    fn task_get(&self, ctx: &Context, id: &str) -> impl Future<Output = Result<TaskInfo, Error>>;
    /// Returns the pid.
    fn task_start(&self, ctx: &Context, id: &str) -> impl Future<Output = Result<u32, Error>>;
    fn task_kill(
        &self,
        ctx: &Context,
        id: &str,
        signal: u32,
        all: bool,
    ) -> impl Future<Output = Result<(), Error>>;
    /// Changes the limits of the task's cgroup.
    fn task_update(
        &self,
        ctx: &Context,
        id: &str,
        resources: &LinuxResources,
    ) -> impl Future<Output = Result<(), Error>>;
    /// Blocks until the exit is recorded.
    fn task_wait(&self, ctx: &Context, id: &str) -> impl Future<Output = Result<Exit, Error>>;
    fn task_delete(&self, ctx: &Context, id: &str) -> impl Future<Output = Result<Exit, Error>>;

    /// Subscribes to `/tasks/oom`, in place of an earlier subscription. Does not park.
    fn oom_subscribe(&self);
    /// The next event of the subscription: the id of the container. Blocks until there is one; `None`
    /// when the subscription has ended.
    fn oom_event(&self) -> impl Future<Output = Result<Option<String>, Error>>;
}
