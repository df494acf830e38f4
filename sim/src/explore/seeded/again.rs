//! Some runs of a search made again, elsewhere: its self-check.
//!
//! A run depends on its number, the settings, and what was seen before its round. Who is told the same makes the
//! same run, unless the code under test depends on something else.

use std::io::{self, Write};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::coverage::Seen;
use super::hunt::Settings;
use super::maker::Maker;
use crate::determinism;
use crate::scenario::Scenario;

/// One of so many runs is made again.
const ONE_IN: u64 = 20;

/// Keeps what is made again apart from what a run does with its seed.
const SALT: u64 = 0xa6a1;

/// What a round has to be compared by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Numbers of runs, with their digests.
    pub made: Vec<(u64, u128)>,
    /// What nobody had seen before the round.
    pub seen: Vec<u64>,
}

/// Whether a run is made again.
pub(super) fn is_sampled(run: u64, settings: &Settings) -> bool {
    xxh3_64_with_seed(&run.to_le_bytes(), settings.seed ^ SALT).is_multiple_of(ONE_IN)
}

/// Makes runs of a search that another process makes.
pub struct Again<'a> {
    maker: Maker<'a>,
    seen: Arc<Seen>,
}

impl<'a> Again<'a> {
    pub fn new(scenarios: &'a [Scenario], settings: &'a Settings) -> Self {
        Again { maker: Maker::new(scenarios, settings), seen: Arc::default() }
    }

    /// From the next round on this was seen, too.
    pub fn learn(&mut self, seen: impl IntoIterator<Item = u64>) {
        Arc::make_mut(&mut self.seen).extend(seen);
    }

    /// The digest of a run; `None`: it cannot be made.
    pub fn digest(&mut self, run: u64) -> Option<u128> {
        let (_, outcome) = self.maker.outcome(run, &self.seen)?;
        Some(outcome.digest())
    }

    /// [Tells](determinism::tell) the events of a run.
    ///
    /// # Errors
    /// When `out` cannot be written to.
    pub fn tell(&mut self, run: u64, out: &mut impl Write) -> io::Result<()> {
        let Some((scenario, outcome)) = self.maker.outcome(run, &self.seen) else { return Ok(()) };
        let answers = format!("{:?}", outcome.answers);
        determinism::tell(
            out,
            &format!("run {run} of {}", scenario.name),
            &outcome,
            answers.as_bytes(),
        )
    }
}
