//! How the service is configured, and its fixed time limits.

use std::collections::BTreeMap;
use std::iter;
use std::time::Duration;

/// Budget of one clean-up step (spec section 0.4, `DeferContext`).
pub const DEFER_TIMEOUT: Duration = Duration::from_secs(60);
/// Budget of handling one event (spec section 0.4, `handleEventTimeout`).
pub const HANDLE_EVENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Budget of taking up one container or sandbox (spec section 0.4, `loadContainerTimeout`).
pub const LOAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How much longer a change that the disk did not make in time may come, and still be put right.
pub const LATE_TIMEOUT: Duration = Duration::from_secs(60);
/// Limit of a call whose client set none, without [`Quirk::CallsUnbounded`](crate::quirks::Quirk).
pub const CALL_TIMEOUT: Duration = Duration::from_secs(100);
/// Pauses between two attempts at what has to succeed in the end: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The pauses before each further attempt at what has to succeed in the end.
pub fn pauses() -> impl Iterator<Item = Duration> {
    iter::successors(Some(FIRST_PAUSE), |pause| Some((*pause * 2).min(LONGEST_PAUSE)))
}
/// How long a recovery asks again for what it cannot learn of one container or sandbox, without
/// [`Quirk::RecoveryGivesUpOnContainers`](crate::quirks::Quirk).
pub const RECOVERY_PATIENCE: Duration = Duration::from_secs(45);
/// How long one step may wait for the disk, without [`Quirk::DiskUnbounded`](crate::quirks::Quirk).
pub const DISK_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the deletion of a task waits for its output to be logged, without
/// [`Quirk::IoWaitUnbounded`](crate::quirks::Quirk): less than the budget of an event.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Budget of changing a container's resources, without [`Quirk::UpdateWaitUnbounded`].
///
/// [`Quirk::UpdateWaitUnbounded`]: crate::quirks::Quirk::UpdateWaitUnbounded
pub const UPDATE_TIMEOUT: Duration = Duration::from_secs(10);
/// Limit of one call to an NRI plugin (spec section 7.4).
pub const NRI_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Exit code of a process whose true code could not be learnt (spec section 5.2).
pub const UNKNOWN_EXIT_CODE: i32 = 255;
/// Reason that goes with it where recovery finds that a process is gone (spec section 8.2).
pub const UNKNOWN_EXIT_REASON: &str = "Unknown";
/// Exit code and reason of a container that failed to start (spec section 1.3).
pub const START_FAILURE_EXIT_CODE: i32 = 128;
pub const START_FAILURE_REASON: &str = "StartError";
/// Reason of a container of which the kernel killed a process for want of memory (spec section 5.4).
pub const OOM_REASON: &str = "OOMKilled";

/// A runtime that a handler names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct RuntimeConfig {
    /// Such as `io.containerd.runc.v2`.
    pub kind: String,
    /// Path of the runtime's binary; empty for the default.
    pub path: String,
}

/// Configuration of the service; the default is containerd's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Holds what outlives a reboot: `containers/⟨id⟩`, `sandboxes/⟨id⟩`.
    pub root_dir: String,
    /// Holds what a reboot clears, laid out likewise.
    pub state_dir: String,
    pub snapshotter: String,
    /// By runtime handler.
    pub runtimes: BTreeMap<String, RuntimeConfig>,
    /// Handler of a sandbox that names none.
    pub default_runtime: String,
    /// In bytes; not positive: unlimited.
    pub max_container_log_line_size: i64,
    pub no_pivot: bool,
}

impl Default for Config {
    fn default() -> Self {
        let runc = RuntimeConfig { kind: "io.containerd.runc.v2".into(), path: String::new() };
        Config {
            root_dir: "/var/lib/containerd/io.containerd.grpc.v1.cri".into(),
            state_dir: "/run/containerd/io.containerd.grpc.v1.cri".into(),
            snapshotter: "overlayfs".into(),
            runtimes: BTreeMap::from([("runc".into(), runc)]),
            default_runtime: "runc".into(),
            max_container_log_line_size: 16 * 1024,
            no_pivot: false,
        }
    }
}

impl Config {
    pub(crate) fn container_root_dir(&self, id: &str) -> String {
        [&*self.root_dir, "/containers/", id].concat()
    }

    pub(crate) fn volatile_container_root_dir(&self, id: &str) -> String {
        [&*self.state_dir, "/containers/", id].concat()
    }

    pub(crate) fn sandbox_root_dir(&self, id: &str) -> String {
        [&*self.root_dir, "/sandboxes/", id].concat()
    }

    pub(crate) fn volatile_sandbox_root_dir(&self, id: &str) -> String {
        [&*self.state_dir, "/sandboxes/", id].concat()
    }
}
