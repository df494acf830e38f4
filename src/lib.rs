//! The container half of a CRI runtime service, generic over [`ports`]: the code under test.
//!
//! [`Service`] behaves as containerd's CRI plugin did at the revision of the specification, defects
//! included; where versions differ, the difference is a [`quirks::Quirk`] beside the step that it
//! changes. It does nothing but through its ports: on [`real`] ones it runs on a machine, on
//! simulated ones every step that can block is a moment that a scenario may disturb.
//!
//! Where to look:
//!
//! * [`cri`]: the calls, as the trait that code under test implements, and their types.
//! * `service`: what the calls share, and the wrapper around each.
//! * `start`, `stop`, `remove`, `create`, `update`, `reopen_log`, `status`, `sandbox`: one call or a pair of them each. `start`
//!   reads from top to bottom like the table of the specification, followed by its rollback.
//! * `recover`: what a daemon that comes up makes of what it finds.
//! * `exit_monitor`, `event_loop`, `backoff`: what happens when a process ends or runs out of memory, and
//!   when that could not be handled.
//! * [`client`]: containerd's client library: handles of records and tasks.
//! * [`store`], [`io`]: statuses and their checkpoints, the stores of containers and sandboxes; pipes
//!   and logs.
//! * `nri`, `events`, `metrics`: who is told.

/// Whether a planted defect is in: `planted!(self, NameKept)`; or what happens if it is:
/// `planted!(self, NameKept => …)`. Without the feature `false`, and nothing.
#[cfg(feature = "planted")]
macro_rules! planted {
    ($of:expr, $defect:ident) => {
        $of.quirks.has_planted(crate::planted::Planted::$defect)
    };
    ($of:expr, $defect:ident => $then:block) => {
        if planted!($of, $defect) $then
    };
}

#[cfg(not(feature = "planted"))]
macro_rules! planted {
    ($of:expr, $defect:ident) => {
        false
    };
    ($of:expr, $defect:ident => $then:block) => {};
}

pub mod backoff;
pub mod bounded;
pub mod client;
pub mod config;
mod create;
pub mod cri;
mod event_loop;
mod events;
mod exit_monitor;
pub mod io;
mod metrics;
mod nri;
#[cfg(feature = "planted")]
pub mod planted;
pub mod ports;
pub mod quirks;
pub mod quote;
pub mod real;
mod recover;
mod remove;
mod reopen_log;
mod rollback;
pub mod runtime_handler;
mod sandbox;
mod service;
mod start;
pub mod status;
mod stop;
pub mod stop_signal;
pub mod store;
mod update;

pub use config::{Config, RuntimeConfig};
pub use service::Service;
