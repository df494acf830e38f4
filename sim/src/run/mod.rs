//! One run: a case of a scenario, under one profile, from the world's making to the verdict's facts.

mod client;
mod compile;
mod conduct;
mod daemon;
mod film;
mod kubelet;
mod logs;
mod outcome;
mod reaped;

pub(crate) use client::Answers;
pub use client::{Reaped, Unreaped};
pub(crate) use compile::fits;
pub use compile::{
    CallPlan, ContainerPlan, OccurrencePlan, Plan, RunError, SandboxPlan, container_id,
};
pub use conduct::{Options, run, run_under};
pub use daemon::BootFacts;
pub(crate) use daemon::Daemon;
pub use film::{After, Change, Facts, Film, Frame, Key, Part};
pub use outcome::{Answer, EventSeen, Leftovers, Outcome, Reply, Snapshot, StatusShot};
pub use reaped::{ReapedStates, STATES_MAX};
