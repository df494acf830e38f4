//! What holds where a file says nothing, for the parser and the printer alike.

use std::time::Duration;

use super::model::*;

pub(super) const BOUND: Duration = Duration::from_secs(150);
/// How long a daemon that was killed is down.
pub(super) const CRASH_DOWN: Duration = Duration::from_secs(1);
pub(super) const LOG_LINE_BYTES: u32 = 16_384;
pub(super) const FILE_MODE: u32 = 0o644;
pub(super) const DIRECTORY_MODE: u32 = 0o755;

/// The index of the plugin at `position` in the file: 10, 20, … 90, then 99.
pub(super) fn plugin_index(position: usize) -> String {
    format!("{:02}", position.saturating_add(1).saturating_mul(10).min(99))
}

pub(super) fn images() -> Vec<Image> {
    vec![Image { name: "app".to_owned(), stop_signal: String::new() }]
}

pub(super) fn sandboxes() -> Vec<Sandbox> {
    vec![Sandbox {
        name: "pod".to_owned(),
        state: SandboxState::Ready,
        runtime_handler: String::new(),
        untrusted: false,
        host_namespaces: Vec::new(),
        log_directory: log_directory("pod"),
    }]
}

pub(super) fn log_directory(sandbox: &str) -> String {
    format!("/var/log/pods/{sandbox}")
}

pub(super) fn log_path(container: &str) -> String {
    format!("{container}.log")
}

/// `None` for what has no mode of its own.
pub(super) fn path_mode(kind: PathKind) -> Option<u32> {
    match kind {
        PathKind::File | PathKind::Fifo => Some(FILE_MODE),
        PathKind::Directory => Some(DIRECTORY_MODE),
        PathKind::Symlink | PathKind::Removed | PathKind::ReadOnly => None,
    }
}

impl Default for World {
    fn default() -> Self {
        World {
            bound: BOUND,
            max_log_line: LOG_LINE_BYTES,
            nri: None,
            disk: Disk::default(),
            plugins: Vec::new(),
            images: images(),
            sandboxes: sandboxes(),
            containers: Vec::new(),
            paths: Vec::new(),
            runtimes: Vec::new(),
            runtime_path: String::new(),
        }
    }
}

/// Runs silently until it is killed.
impl Default for Process {
    fn default() -> Self {
        Process {
            runs: None,
            exit_code: 0,
            ignores_sigterm: false,
            executable_missing: false,
            output: Vec::new(),
        }
    }
}

/// `containers` and `timeout` of a kubelet.
pub(super) const KUBELET_CONTAINERS: i64 = 3;
pub(super) const KUBELET_TIMEOUT: i64 = 30;
