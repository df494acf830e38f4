//! Random priorities: "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs" (Burckhardt,
//! Kothari, Musuvathi, Nagarakatte; ASPLOS 2010).
//!
//! Each actor gets a random priority, and of those whose moment is due the highest goes. At d - 1 random steps
//! the one that would go gets the lowest priority of all. A bug that needs d orderings is found with a chance
//! of at least 1 / (n k^(d - 1)) by n actors in k steps.
//!
//! It differs from the paper in that a moment is set aside only once: when an actor of a higher priority
//! appears after that, it does not overtake a second time.

use rustc_hash::FxHashMap;

use super::{Chance, Strategy};
use crate::explore::decisions::Bound;
use crate::turnstile::{Due, Moment, Symbol};

/// Steps of a run that change points are drawn from: those of a start that meets another call.
const STEPS: usize = 400;

pub struct Pct {
    priorities: FxHashMap<Symbol, u64>,
    /// The steps at which a priority changes.
    changes: Vec<usize>,
    step: usize,
    /// What the next actor whose priority changes gets: below all others.
    lowest: u64,
}

/// The first priorities are above this.
const FLOOR: u64 = 1 << 32;

impl Pct {
    /// The bound on delays is the number of changes.
    pub fn new(bound: Bound, chance: &mut Chance) -> Self {
        Pct {
            priorities: FxHashMap::default(),
            changes: (0..bound.delays).map(|_| chance.below(STEPS)).collect(),
            step: 0,
            lowest: FLOOR,
        }
    }

    fn of(&mut self, actor: Symbol, chance: &mut Chance) -> u64 {
        *self.priorities.entry(actor).or_insert_with(|| chance.number() | FLOOR)
    }

    fn is_overtaken(&mut self, moment: Moment, due: Due<'_>, chance: &mut Chance) -> bool {
        let own = self.of(moment.site.actor, chance);
        due.others().any(|other| self.of(other.site.actor, chance) > own)
    }
}

impl Strategy for Pct {
    fn holds(&mut self, moment: Moment, due: Due<'_>, chance: &mut Chance) -> bool {
        self.step += 1;
        if self.changes.contains(&self.step) {
            self.lowest -= 1;
            self.priorities.insert(moment.site.actor, self.lowest);
        }
        self.is_overtaken(moment, due, chance)
    }

    fn keeps(&mut self, moment: Moment, due: Due<'_>, chance: &mut Chance) -> bool {
        self.is_overtaken(moment, due, chance)
    }
}
