//! When a failure became inevitable: each prefix of a failing run is gone on from at random, and how often it fails then
//! says how much of the failure was decided by that moment.
//!
//! The prefix has the decisions of the file. What comes after it has none of them: no more faults, and any order
//! of what is due. So the share of runs that fail rises with the moments that the failure needs, from what chance brings
//! to all of them (as the "time travel" of a deterministic platform is used to bisect a timeline).

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::explore::attempt::{Attempts, plan};
use crate::explore::decisions::Bound;
use crate::explore::seeded::{Kind, Search};
use crate::explore::symptom::Symptom;
use crate::oracle::{Choice, Oracle, Scripted};
use crate::run::Plan;
use crate::scenario::Scenario;
use crate::turnstile::Moment;

/// A prefix of the failing run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Its last moment; `None`: nothing happened yet.
    pub moment: Option<Moment>,
    /// Decisions of the file that were taken in it since the prefix before.
    pub taken: Vec<String>,
    /// Of so many runs as were made, those that failed.
    pub failing: u32,
}

/// A decision of the file, and whether the failure needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// Its place in the file: which table, and which of its entries.
    pub table: &'static str,
    pub index: usize,
    pub is_needed: bool,
}

/// What the prefixes of a failing run lead to.
#[derive(Clone, Debug)]
pub struct Inevitable {
    pub prefixes: Vec<Prefix>,
    /// Runs that were made from each prefix.
    pub samples: u32,
    pub decisions: Vec<Needed>,
}

impl Inevitable {
    /// The prefix at which the share of failing runs rises most; `None`: it rises nowhere.
    pub fn steepest(&self) -> Option<usize> {
        let rise =
            |at: usize| self.prefixes[at].failing.saturating_sub(self.prefixes[at - 1].failing);
        let steepest = (1..self.prefixes.len()).rev().max_by_key(|at| rise(*at))?;
        (rise(steepest) > 0).then_some(steepest)
    }
}

/// Follows the script up to a moment, and chance from there on.
struct Until {
    scripted: Scripted,
    random: Search,
    /// Moments that are left of the prefix; `None`: there is no end to it.
    left: Option<usize>,
    /// The prefix is over, and what its last moment decided.
    is_free: bool,
    told: Rc<RefCell<Vec<Prefix>>>,
}

impl Oracle for Until {
    fn choose(&mut self, choice: &Choice<'_>) -> usize {
        if let Choice::Hold { moment, .. } = choice {
            let mut told = self.told.borrow_mut();
            match &mut self.left {
                Some(0) => self.is_free = true,
                Some(left) => *left -= 1,
                None => told.push(Prefix { moment: Some(*moment), taken: Vec::new(), failing: 0 }),
            }
        }
        if self.is_free {
            return match choice {
                Choice::Fault { .. } | Choice::Crash { .. } => 0,
                choice => self.random.choose(choice),
            };
        }
        let option = self.scripted.choose(choice);
        let taken = match choice {
            Choice::Fault { site, menu, .. } if option > 0 => {
                menu.get(option).map(|fault| format!("{site}: {fault}"))
            }
            Choice::Hold { moment, .. } if option > 0 => Some(format!("{moment} set aside")),
            Choice::Keep { moment, .. } if option == 0 => Some(format!("{moment} let go")),
            Choice::Crash { .. } if option > 0 => Some("the daemon ends".to_owned()),
            _ => None,
        };
        if let Some(last) = self.told.borrow_mut().last_mut() {
            last.taken.extend(taken);
        }
        option
    }
}

/// Goes on from each prefix of the failing run of a scenario, `samples` times. `tell` is told how many prefixes are done, and of how many.
///
/// # Errors
/// When the scenario cannot be run, or does not show the symptom.
pub fn inevitable(
    attempts: &Attempts,
    scenario: &Scenario,
    symptom: &Symptom,
    samples: u32,
    mut tell: impl FnMut(usize, usize),
) -> Result<Inevitable, String> {
    let plan = plan(scenario).ok_or("the scenario cannot be run")?;
    let told = Rc::new(RefCell::new(vec![Prefix { moment: None, taken: Vec::new(), failing: 0 }]));
    if !fails(attempts, &plan, symptom, None, 0, &told) {
        return Err(format!("`{}` does not show", symptom.what));
    }
    let mut prefixes = told.take();
    let all = prefixes.len();
    for (length, prefix) in prefixes.iter_mut().enumerate() {
        let failing = (0..samples).filter(|sample| {
            let seed = xxh3_64(
                &[(length as u64).to_le_bytes(), u64::from(*sample).to_le_bytes()].concat(),
            );
            fails(attempts, &plan, symptom, Some(length), seed, &Rc::default())
        });
        prefix.failing = u32::try_from(failing.count()).unwrap_or(samples);
        tell(length + 1, all);
    }
    let decisions = without_each(scenario).map(|(table, index, scenario)| {
        let symptoms =
            crate::explore::attempt::plan(&scenario).map(|plan| attempts.symptoms(&plan).0);
        let shows = symptoms.is_some_and(|all| all.iter().any(|other| other.is_like(symptom)));
        Needed { table, index, is_needed: !shows }
    });
    Ok(Inevitable { prefixes, samples, decisions: decisions.collect() })
}

fn fails(
    attempts: &Attempts,
    plan: &Rc<Plan>,
    symptom: &Symptom,
    length: Option<usize>,
    seed: u64,
    told: &Rc<RefCell<Vec<Prefix>>>,
) -> bool {
    // Nothing bounds how much is set aside.
    let bound = Bound { faults: 0, delays: u32::MAX };
    let random = Search::new(Kind::Uniform, bound, seed, &Arc::default());
    let scripted = Scripted::new(&plan.script);
    let oracle = Until { scripted, random, left: length, is_free: false, told: told.clone() };
    let symptoms = match attempts.make(plan, oracle) {
        Ok(outcome) => Symptom::all(&outcome),
        Err(broken) => vec![broken],
    };
    symptoms.iter().any(|other| other.is_like(symptom))
}

/// The scenario without one of its decisions, for each.
fn without_each(scenario: &Scenario) -> impl Iterator<Item = (&'static str, usize, Scenario)> {
    let faults = (0..scenario.faults.len()).map(|index| {
        let mut without = scenario.clone();
        without.faults.remove(index);
        ("fault", index, without)
    });
    let holds = (0..scenario.holds.len()).map(|index| {
        let mut without = scenario.clone();
        without.holds.remove(index);
        ("hold", index, without)
    });
    let crashes = (0..scenario.crashes.len()).map(|index| {
        let mut without = scenario.clone();
        without.crashes.remove(index);
        ("crash", index, without)
    });
    faults.chain(holds).chain(crashes)
}
