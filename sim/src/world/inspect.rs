//! What an operator would find on the node.

use std::rc::Rc;

use shakedown_cri::ports::Record;

use super::World;
use super::fs::{FileKind, WalkEntry};
use super::ports::{short_path, short_symbol};
use super::process::ProcessState;
use super::shim::{InitState, SHIM_OWNER, Shim, ShimContainer};
use super::task_service::Origin;
use crate::run::Plan;
use crate::scenario::SandboxState;
use crate::turnstile::Symbol;

impl InitState {
    pub const fn word(self) -> &'static str {
        match self {
            InitState::Created => "created",
            InitState::Running => "running",
            InitState::Stopped => "stopped",
        }
    }
}

impl World {
    /// A pod as RunPodSandbox leaves it: record, snapshot, a shim, and a pause process that runs.
    pub fn add_pod(&mut self, shim: Shim, record: Rc<Record>) {
        let (number, id) = (shim.number, shim.sandbox.clone());
        self.shims.push(shim);
        self.pods.insert(id.clone(), number);
        self.metadata.snapshots.insert(id.clone(), record.image.clone());
        self.metadata.records.insert(id.clone(), record);
        let pid = self.new_process(&id, Symbol::of(&id));
        self.start_process(pid);
        self.runtime.insert(id.clone(), pid);
        self.mounts.insert(id.clone());
        self.bundles.insert(id.clone());
        self.tasks.insert(&id, number, Origin::Own);
        let pause = ShimContainer::running(pid);
        self.shims[number as usize].containers.insert(id, pause);
    }

    /// The state of a task that the task service or a shim knows of.
    pub fn task_state(&self, id: &str) -> Option<InitState> {
        self.shims.iter().find_map(|shim| shim.containers.get(id)).map(|c| c.state)
    }

    /// A path as sites show it: `web/status`.
    pub fn short_path(&self, path: &str) -> String {
        short_path(&self.roots, path)
    }

    /// Paths of the descriptors that the daemon and the shims have open.
    pub fn open_descriptors(&self) -> impl Iterator<Item = &str> {
        let daemon = self.fs.open_fds(self.boot);
        daemon.chain(self.fs.open_fds(SHIM_OWNER)).map(|fd| fd.path)
    }

    /// Everything of the plan's containers and sandboxes that is on the node, sorted. What belongs
    /// to one that is there (its record, snapshot, directories and `status` file) is left out as long as
    /// its record exists; `removed`: nothing is there any more, but the sandboxes that nobody removes.
    pub fn left_of(&self, plan: &Plan, removed: bool) -> Vec<String> {
        let mut left = Vec::new();
        let stays =
            |id: &str| plan.sandboxes.iter().any(|s| s.id == id && s.state == SandboxState::Gone);
        let is_there = |id: &str| self.metadata.records.contains_key(id) && (!removed || stays(id));
        let containers = plan.containers.iter().map(|c| (&*c.id, c.name, false));
        let pods = plan.sandboxes.iter().map(|s| (&*s.id, Symbol::of(&s.name), true));
        for (id, name, is_pod) in containers.chain(pods) {
            let exists = is_there(id);
            if is_pod && exists {
                continue;
            }
            self.left_in_runtime(id, name, &mut left);
            if !exists && self.metadata.records.contains_key(id) {
                left.push(format!("record {name}"));
            }
            if !exists && self.metadata.snapshots.contains_key(id) {
                left.push(format!("snapshot {name}"));
            }
        }
        for (root, head) in [(&plan.roots.root, ""), (&plan.roots.state, "run:")] {
            for WalkEntry { path, kind, .. } in self.fs.walk(root) {
                left_in_files(plan, root, head, &path, kind, is_there, &mut left);
            }
        }
        left.sort();
        left
    }

    fn left_in_runtime(&self, id: &str, name: Symbol, left: &mut Vec<String>) {
        let in_shim = self.shims.iter().find_map(|shim| shim.containers.get(id));
        match in_shim {
            Some(container) => left.push(format!("task {name} {}", container.state.word())),
            None if self.tasks.pod(id).is_some() => left.push(format!("task {name} unknown")),
            None => {}
        }
        for process in self.processes.values().filter(|p| p.container == id) {
            match process.state {
                ProcessState::Blocked => left.push(format!("init {name}")),
                ProcessState::Running => left.push(format!("process {name}")),
                ProcessState::Dead => {}
            }
        }
        if self.runtime.contains_key(id) && in_shim.is_none() {
            left.push(format!("runtime container {name}"));
        }
        if self.mounts.contains(id) {
            left.push(format!("mount {name}"));
        }
        if self.bundles.contains(id) {
            left.push(format!("bundle {name}"));
        }
    }
}

/// Adds what a path below one of the service's roots holds of something that is not there.
fn left_in_files(
    plan: &Plan,
    root: &str,
    head: &str,
    path: &str,
    kind: FileKind,
    is_there: impl Fn(&str) -> bool,
    left: &mut Vec<String>,
) {
    let Some(below) = path.strip_prefix(root).and_then(|rest| rest.strip_prefix('/')) else {
        return;
    };
    // The directories that hold one directory for each container or sandbox.
    let Some((_, own)) = below.split_once('/') else { return };
    let (id, rest) = own.split_once('/').unwrap_or((own, ""));
    let expected = match kind {
        FileKind::Directory => is_there(id),
        FileKind::Regular => is_there(id) && rest == "status" && head.is_empty(),
        FileKind::Fifo | FileKind::Symlink => false,
    };
    if expected {
        return;
    }
    let short = short_symbol(&plan.roots, path).text();
    left.push(match kind {
        FileKind::Fifo => format!("pipe {}", short.rsplit('/').next().unwrap_or(&short)),
        FileKind::Directory => format!("directory {short}"),
        FileKind::Regular => format!("file {short}"),
        FileKind::Symlink => format!("symlink {short}"),
    });
}
