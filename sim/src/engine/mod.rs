//! Around a run: what keeps the real world out of it.
//!
//! The turnstile polls the tasks of a run and owns its order and time. An engine decides nothing, so
//! every engine yields the same digest for the same decisions, which `tests/engines.rs` holds them to
//! over the corpus.

#[cfg(feature = "madsim")]
mod madsim;

use crate::turnstile::Sim;

/// Which engine makes a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Keeps real time, randomness, threads and real I/O out: for what runs and replays scenarios.
    #[cfg(feature = "madsim")]
    #[default]
    Madsim,
    /// Nothing around it, with least overhead: for what runs them by the thousand, and replays on
    /// madsim what it finds.
    #[cfg_attr(not(feature = "madsim"), default)]
    Bare,
}

impl Engine {
    /// Makes a run, which `whole` conducts, and ends it.
    ///
    /// # Panics
    /// On madsim, when called on a thread that has a tokio runtime: there madsim would silently use
    /// real time.
    pub fn run<R>(self, sim: &Sim, whole: impl FnOnce() -> R) -> R {
        let whole = || {
            let output = whole();
            sim.close();
            output
        };
        match self {
            #[cfg(feature = "madsim")]
            Engine::Madsim => madsim::run(sim, whole),
            Engine::Bare => whole(),
        }
    }
}
