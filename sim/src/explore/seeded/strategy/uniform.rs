//! Every moment is set aside with the same chance, and for as long as the dice say. Shallow bugs need no more.

use super::{Chance, Strategy};
use crate::turnstile::{Due, Moment};

pub struct Uniform;

impl Strategy for Uniform {
    fn holds(&mut self, _: Moment, _: Due<'_>, chance: &mut Chance) -> bool {
        chance.happens(chance.swarm.hold)
    }

    fn keeps(&mut self, _: Moment, _: Due<'_>, chance: &mut Chance) -> bool {
        chance.happens(chance.swarm.keep)
    }
}
