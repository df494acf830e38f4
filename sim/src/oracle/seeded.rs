//! Random decisions from a seed.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::{Choice, Oracle};

/// How often each kind of decision differs from option 0, in parts of a thousand.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    pub fault: u32,
    pub hold: u32,
    /// That a held moment stays aside at a later admission.
    pub keep: u32,
}

/// Draws every decision from one seeded generator, uniformly among the options that are not 0.
pub struct Seeded {
    random: ChaCha8Rng,
    weights: Weights,
}

impl Seeded {
    pub fn new(seed: u64, weights: Weights) -> Self {
        Seeded { random: ChaCha8Rng::seed_from_u64(seed), weights }
    }
}

impl Oracle for Seeded {
    fn choose(&mut self, choice: &Choice<'_>) -> usize {
        let (weight, options) = match choice {
            Choice::Fault { menu, .. } => (self.weights.fault, menu.options()),
            // Across jumps of time a hold would be a delay without end: left to scenarios.
            Choice::Hold { .. } => (self.weights.hold, 2),
            Choice::Keep { .. } => (self.weights.keep, 2),
            Choice::Crash { .. } => (0, choice.options()),
            Choice::Survival { .. } => (self.weights.fault, choice.options()),
        };
        if options < 2 || weight == 0 || self.random.random_range(0..1000) >= weight {
            return 0;
        }
        self.random.random_range(1..options)
    }
}
