//! How a run decides: one strategy a file, behind one trait.

mod delay_bounded;
mod guided;
mod pct;
mod swarm;
mod uniform;

use std::sync::Arc;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::coverage::Seen;
use crate::explore::decisions::Bound;
use crate::oracle::Fault;
use crate::turnstile::{Due, Moment, Site};
use delay_bounded::DelayBounded;
use guided::Guided;
use pct::Pct;
use swarm::{Swarm, WHOLE};
use uniform::Uniform;

/// The chance in a run: everything comes from its seed.
pub struct Chance {
    random: ChaCha8Rng,
    pub swarm: Swarm,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let swarm = Swarm::new(&mut random);
        Chance { random, swarm }
    }

    /// `weight`: in parts of ten thousand.
    pub fn happens(&mut self, weight: u32) -> bool {
        weight > 0 && self.random.random_range(0..WHOLE) < weight
    }

    /// 0 to `n` - 1.
    pub fn below(&mut self, n: usize) -> usize {
        self.random.random_range(0..n)
    }

    pub fn number(&mut self) -> u64 {
        self.random.random()
    }
}

/// Decides what is in play. Only asked for what can be: where a fault can strike, and whether a moment is set
/// aside while another one is due.
pub trait Strategy {
    /// Whether a call meets a fault.
    fn strikes(&mut self, _site: Site, chance: &mut Chance) -> bool {
        chance.happens(chance.swarm.fault)
    }

    /// Which of the faults it is, at least one; `None`: none of them after all.
    fn picks(&mut self, _site: Site, offered: &[&Fault], chance: &mut Chance) -> Option<usize> {
        Some(chance.below(offered.len()))
    }

    /// Whether the moment that is next is set aside.
    fn holds(&mut self, moment: Moment, due: Due<'_>, chance: &mut Chance) -> bool;

    /// Whether a moment that is set aside stays so, now that `after` was.
    fn keeps(&mut self, moment: Moment, due: Due<'_>, chance: &mut Chance) -> bool;
}

/// The strategies there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Uniform,
    Pct,
    DelayBounded,
    Guided,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Uniform, Kind::Pct, Kind::DelayBounded, Kind::Guided];

    /// `seen`: what earlier runs covered.
    pub fn make(self, bound: Bound, chance: &mut Chance, seen: &Arc<Seen>) -> Box<dyn Strategy> {
        match self {
            Kind::Uniform => Box::new(Uniform),
            Kind::Pct => Box::new(Pct::new(bound, chance)),
            Kind::DelayBounded => Box::new(DelayBounded::new(bound, chance)),
            Kind::Guided => Box::new(Guided::new(seen.clone())),
        }
    }
}
