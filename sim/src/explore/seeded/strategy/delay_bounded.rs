//! A few delays of an otherwise deterministic order: "Delay-Bounded Scheduling" (Emmi, Qadeer, Rakamarić;
//! POPL 2011).
//!
//! The scheduler is the natural order; a delay has it pass over what is next. Most bugs need few. Where the paper
//! enumerates, this draws the steps at which the delays are spent; `shakedown check` enumerates.
//!
//! It differs from the paper in that a delay can last: for a number of moments that is drawn as well.

use super::{Chance, Strategy};
use crate::explore::decisions::Bound;
use crate::turnstile::{Due, Moment};

/// Steps of a run that delays are drawn from.
const STEPS: usize = 200;
/// How many moments a delay lasts is below 2 to the power of a number up to this.
const LENGTH_BITS: usize = 7;

pub struct DelayBounded {
    /// The steps at which what is next is passed over.
    delays: Vec<usize>,
    step: usize,
    /// How many more moments go before what is set aside.
    lasting: usize,
}

impl DelayBounded {
    pub fn new(bound: Bound, chance: &mut Chance) -> Self {
        let delays = (0..bound.delays).map(|_| chance.below(STEPS)).collect();
        DelayBounded { delays, step: 0, lasting: 0 }
    }
}

impl Strategy for DelayBounded {
    fn holds(&mut self, _: Moment, _: Due<'_>, chance: &mut Chance) -> bool {
        self.step += 1;
        if !self.delays.contains(&self.step) {
            return false;
        }
        let bits = chance.below(LENGTH_BITS);
        self.lasting = chance.below(1 << (bits + 1));
        true
    }

    fn keeps(&mut self, _: Moment, _: Due<'_>, _: &mut Chance) -> bool {
        let stays = self.lasting > 0;
        self.lasting = self.lasting.saturating_sub(1);
        stays
    }
}
