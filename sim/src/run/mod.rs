//! One run: a case of a scenario, under one profile, from the world's making to the verdict's facts.

mod client;
mod compile;
mod conduct;
mod outcome;

pub use compile::{Plan, RunError, container_id};
pub use conduct::{Options, run};
pub use outcome::{Answer, Leftovers, Outcome, Reply, Snapshot, StatusShot};
