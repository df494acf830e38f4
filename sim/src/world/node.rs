//! The daemon's boots and the node's: what dies with each, and what lives on.

use shakedown_cri::quirks::Quirk;

use super::fs::Survival;
use super::process::{ExitCause, ProcessState};
use super::{FIRST_BOOT, Occurrence, World};
use crate::oracle::CrashKind;
use crate::turnstile::Symbol;

/// The exit code that nobody learns: the node went away under the process.
const LOST_EXIT_CODE: i32 = 255;

impl Occurrence {
    /// Whether it does not happen any more once the daemon died, or the node.
    pub fn ends_with(self, crash: CrashKind) -> bool {
        match self {
            Occurrence::ShimLost { .. } | Occurrence::OomReport { .. } => true,
            Occurrence::Exit { .. } | Occurrence::Print { .. } => crash == CrashKind::Power,
            Occurrence::Placed(_) | Occurrence::Clock { .. } => false,
        }
    }
}

impl World {
    /// The daemon is killed. The kernel closes its descriptors and its connections; what it only had in
    /// memory is gone. Shims and their processes live on; a runtime call that a shim was serving ends with
    /// the request (spec section 8.4), so that the shim's lock is free.
    pub fn daemon_dies(&mut self) {
        self.boot_ends(CrashKind::Daemon);
    }

    fn boot_ends(&mut self, kind: CrashKind) {
        self.crashes.push((self.now, kind));
        self.fs.close_all(self.boot);
        self.wake_fifos();
        self.tasks = super::TaskTable::default();
        self.lose_events();
        self.oom_events = None;
        for shim in &mut self.shims {
            shim.daemon_gone();
        }
        for plugin in &mut self.nri.plugins {
            plugin.reconnects |= plugin.connected;
            plugin.connected = false;
        }
        self.changed.runtime = true;
        self.changed.plugins = true;
    }

    /// The daemon is started: garbage is collected, and plugins that had a connection open a new one.
    pub fn daemon_starts(&mut self, boot: u32) {
        debug_assert!(boot > FIRST_BOOT, "the first boot finds the node as it was made");
        self.boot = boot;
        if !self.quirks.has(Quirk::LeaseOutlivesDaemon) {
            let records = &self.metadata.records;
            let used = |key: &String| records.values().any(|record| record.snapshot_key == *key);
            self.metadata.snapshots.retain(|key, _| used(key));
        }
        let plugins = self.nri.plugins.iter_mut();
        let again = plugins.filter_map(|state| {
            std::mem::take(&mut state.reconnects).then(|| state.plugin.name.clone())
        });
        for name in again.collect::<Vec<String>>() {
            self.connect_plugin(&name);
        }
    }

    /// The node loses power: daemon, shims, processes, mounts and what was kept in memory are gone, and
    /// of the files what was not durable: `decide` says what becomes of each operation that the disk did
    /// not have yet.
    pub fn power_loss(&mut self, decide: impl FnMut(Symbol, &[Survival]) -> Survival) {
        self.boot_ends(CrashKind::Power);
        for process in self.processes.values_mut() {
            if process.state != ProcessState::Dead {
                process.state = ProcessState::Dead;
                process.exited_at = Some(self.now);
                process.code = LOST_EXIT_CODE;
                process.cause = Some(ExitCause::PowerLoss);
            }
        }
        for shim in &mut self.shims {
            shim.containers.clear();
        }
        self.runtime.clear();
        self.mounts.clear();
        self.bundles.clear();
        self.disk_loses_power(decide);
    }
}
