//! What drives a run: polls the task that the turnstile admits, and follows its clock.
//!
//! The seam is [`crate::turnstile::Driver`]: an engine decides nothing, so every engine yields the
//! same digest for the same decisions, which `tests/engines.rs` holds them to over the corpus.

mod bare;
#[cfg(feature = "madsim")]
mod madsim;

use std::future::Future;

use crate::turnstile::Sim;

/// Which engine makes a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Keeps real time, threads and real I/O out: for what runs and replays scenarios.
    #[cfg(feature = "madsim")]
    #[default]
    Madsim,
    /// Polls by hand, with least overhead: for what runs them by the thousand.
    #[cfg_attr(not(feature = "madsim"), default)]
    Bare,
}

impl Engine {
    /// Runs the conductor of a run to its end, and everything that it starts.
    pub fn run<F: Future>(self, sim: &Sim, conductor: F) -> F::Output {
        match self {
            #[cfg(feature = "madsim")]
            Engine::Madsim => madsim::run(sim, conductor),
            Engine::Bare => bare::run(sim, conductor),
        }
    }
}
