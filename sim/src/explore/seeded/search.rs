//! The oracle of a seeded search: asks a strategy within the bound, and notes what it decided.

use std::cell::RefCell;
use std::rc::Rc;

use super::coverage::{Covered, strike, turn};
use super::strategy::{Chance, Kind, Strategy};
use crate::explore::caller::Caller;
use crate::explore::decisions::{Bound, Decisions};
use crate::oracle::{Choice, Crash, Fault, Menu, Oracle};
use crate::turnstile::Site;

/// What a run under a search brought, beside its outcome.
#[derive(Debug, Default)]
pub struct Log {
    pub decisions: Decisions,
    pub covered: Covered,
}

pub struct Search {
    strategy: Box<dyn Strategy>,
    chance: Chance,
    left: Bound,
    log: Rc<RefCell<Log>>,
    /// Where the moment before was.
    last: Option<Site>,
}

impl Search {
    pub fn new(
        kind: Kind,
        bound: Bound,
        seed: u64,
        seen: &std::sync::Arc<super::coverage::Seen>,
    ) -> Self {
        let mut chance = Chance::new(seed);
        let strategy = kind.make(bound, &mut chance, seen);
        // What PCT sets aside is bounded by its changes of priority.
        let delays = if kind == Kind::Pct { u32::MAX } else { bound.delays };
        let left = Bound { delays, ..bound };
        Search { strategy, chance, left, log: Rc::default(), last: None }
    }

    /// Filled as the run goes on.
    pub fn log(&self) -> Rc<RefCell<Log>> {
        self.log.clone()
    }

    fn fault(&mut self, site: Site, menu: Menu<'_>, caller: Caller) -> usize {
        let swarm = &self.chance.swarm;
        if self.left.faults == 0
            || !swarm.has_operation(site.op)
            || !self.strategy.strikes(site, &mut self.chance)
        {
            return 0;
        }
        let swarm = &self.chance.swarm;
        let in_play = |fault: &Fault| swarm.has_kind(fault) && caller.can_meet(fault, site.op);
        let numbered = menu.standard.iter().enumerate().filter(|(_, fault)| in_play(fault));
        let (numbers, offered): (Vec<usize>, Vec<&Fault>) = numbered.unzip();
        if offered.is_empty() {
            return 0;
        }
        let Some(pick) = self.strategy.picks(site, &offered, &mut self.chance) else { return 0 };
        self.left.faults -= 1;
        let mut log = self.log.borrow_mut();
        log.decisions.fault(site, offered[pick].clone());
        log.covered.strikes.insert(strike(site, offered[pick]));
        1 + numbers[pick]
    }
}

impl Oracle for Search {
    fn considers_crashes(&self) -> bool {
        self.left.faults > 0 && self.chance.swarm.crashes.is_some()
    }

    fn choose(&mut self, choice: &Choice<'_>) -> usize {
        match *choice {
            Choice::Fault { site, menu, awaited, endless } => {
                self.fault(site, menu, Caller { awaited, endless })
            }
            Choice::Hold { moment, due } => {
                if let Some(last) = self.last.filter(|last| last.actor != moment.site.actor) {
                    self.log.borrow_mut().covered.turns.insert(turn(last, moment.site));
                }
                self.last = Some(moment.site);
                // What is set aside while nothing else is due goes on at once.
                let holds = self.left.delays > 0
                    && due.others().next().is_some()
                    && self.strategy.holds(moment, due, &mut self.chance);
                if holds {
                    self.left.delays -= 1;
                    self.log.borrow_mut().decisions.hold(moment);
                }
                usize::from(holds)
            }
            Choice::Keep { moment, after, due } => {
                let keeps = due.others().next().is_some()
                    && self.strategy.keeps(moment, due, &mut self.chance);
                self.log.borrow_mut().decisions.keep(moment, after);
                usize::from(keeps)
            }
            Choice::Crash { after, .. } => {
                if self.left.faults == 0 || !self.chance.happens(self.chance.swarm.crash) {
                    return 0;
                }
                let in_play = |crash: &Crash| Some(crash.kind) == self.chance.swarm.crashes;
                let Some(index) = Crash::STANDARD.iter().position(in_play) else { return 0 };
                self.left.faults -= 1;
                self.log.borrow_mut().decisions.crash(after, Crash::STANDARD[index]);
                1 + index
            }
            Choice::Survival { pending, options, .. } => {
                let option = self.chance.below(options.len());
                self.log.borrow_mut().decisions.survival(pending, options[option]);
                option
            }
        }
    }
}
