//! Favours what no run has done yet: faults at sites of a kind that never struck there, and orders of two
//! phases that were never seen. The idea is that of coverage-guided fuzzing, with names of this house in the
//! place of branches of code; see "Coverage-based Greybox Fuzzing as Markov Chain" (Böhme, Pham,
//! Roychoudhury; CCS 2016) for why what is rare deserves more of the effort.

use std::sync::Arc;

use super::swarm::WHOLE;
use super::{Chance, Strategy};
use crate::explore::seeded::coverage::{Seen, strike, turn};
use crate::oracle::Fault;
use crate::turnstile::{Due, Moment, Site};

/// How much likelier it tries than the swarm says; what is no news is then dropped as often.
const EAGERNESS: u32 = 4;

pub struct Guided {
    seen: Arc<Seen>,
}

impl Guided {
    pub fn new(seen: Arc<Seen>) -> Self {
        Guided { seen }
    }
}

/// What is no news happens as often as the swarm says.
fn all_the_same(chance: &mut Chance) -> bool {
    chance.happens(WHOLE / EAGERNESS)
}

impl Strategy for Guided {
    fn strikes(&mut self, _: Site, chance: &mut Chance) -> bool {
        chance.happens(chance.swarm.fault * EAGERNESS)
    }

    fn picks(&mut self, site: Site, offered: &[&Fault], chance: &mut Chance) -> Option<usize> {
        let is_new = |i: &usize| !self.seen.contains(&strike(site, offered[*i]));
        let new: Vec<usize> = (0..offered.len()).filter(is_new).collect();
        if !new.is_empty() {
            return Some(new[chance.below(new.len())]);
        }
        all_the_same(chance).then(|| chance.below(offered.len()))
    }

    fn holds(&mut self, moment: Moment, due: Due<'_>, chance: &mut Chance) -> bool {
        chance.happens(chance.swarm.hold * EAGERNESS)
            && (due.others().any(|other| !self.seen.contains(&turn(other.site, moment.site)))
                || all_the_same(chance))
    }

    fn keeps(&mut self, _: Moment, _: Due<'_>, chance: &mut Chance) -> bool {
        chance.happens(chance.swarm.keep)
    }
}
