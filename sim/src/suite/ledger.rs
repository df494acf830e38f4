//! What runs covered, as numbers that add up over runs, processes and machines.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use shakedown_cri::quirks::Profile;

use super::goals::{Goal, Goals, out_of_reach};
use super::hits::Strike;
use crate::run::{Outcome, Plan};
use crate::turnstile::RecordingEntry;

/// A ledger; a file holds one as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ledger {
    /// The version of the file's format: [`VERSION`].
    shakedown_ledger: u32,
    pub runs: u64,
    /// Faults that struck, by operation, kind and what became of the operation: `task.create error done`.
    pub strikes: BTreeMap<String, u64>,
    /// How often each invariant was evaluated.
    pub evaluated: BTreeMap<String, u64>,
    /// Runs that reached each goal; those that none reached are there, too.
    pub goals: BTreeMap<String, u64>,
}

/// Of the file's format.
pub const VERSION: u32 = 1;

impl Default for Ledger {
    fn default() -> Self {
        let goals = Goal::ALL.iter().map(|goal| (goal.name().to_owned(), 0));
        Ledger {
            shakedown_ledger: VERSION,
            runs: 0,
            strikes: BTreeMap::new(),
            evaluated: BTreeMap::new(),
            goals: goals.collect(),
        }
    }
}

/// Most names are there already.
fn count(counts: &mut BTreeMap<String, u64>, name: &str, by: u64) {
    match counts.get_mut(name) {
        Some(count) => *count += by,
        None => drop(counts.insert(name.to_owned(), by)),
    }
}

impl Ledger {
    /// Counts a run.
    pub fn add(&mut self, plan: &Plan, outcome: &Outcome) {
        self.runs += 1;
        for entry in &outcome.recording.entries {
            let RecordingEntry::Fault { site, fault, .. } = entry else { continue };
            let Strike { kind, effect } = Strike::of(fault);
            let strike = format!("{} {kind} {effect}", site.op.name());
            count(&mut self.strikes, strike.trim_end(), 1);
        }
        for finding in &outcome.judgement.findings {
            count(&mut self.evaluated, &finding.id.to_string(), finding.evaluated);
        }
        for goal in Goals::of(plan, outcome).iter() {
            count(&mut self.goals, goal.name(), 1);
        }
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Ledger) {
        self.runs += other.runs;
        for (mine, theirs) in [
            (&mut self.strikes, &other.strikes),
            (&mut self.evaluated, &other.evaluated),
            (&mut self.goals, &other.goals),
        ] {
            for (name, by) in theirs {
                count(mine, name, *by);
            }
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Ledger, String> {
        let ledger: Ledger = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match ledger.shakedown_ledger {
            VERSION => Ok(ledger),
            other => Err(format!("it is of version {other}; this build reads version {VERSION}")),
        }
    }

    /// A file.
    pub fn text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("it holds only texts and numbers");
        text.push('\n');
        text
    }

    /// Goals that no run reached, of those that one of the profiles can reach.
    pub fn missed(&self, profiles: &[&Profile]) -> Vec<Goal> {
        let reached: BTreeSet<&str> =
            self.goals.iter().filter(|(_, runs)| **runs > 0).map(|(name, _)| &**name).collect();
        let missed = Goal::ALL.iter().copied().filter(|goal| !reached.contains(goal.name()));
        missed.filter(|goal| out_of_reach(*goal, profiles).is_none()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(runs: u64) -> Ledger {
        let mut ledger = Ledger { runs, ..Ledger::default() };
        ledger.strikes.insert("task.create error done".to_owned(), runs * 2);
        ledger.goals.insert(Goal::StartsMeet.name().to_owned(), runs);
        ledger
    }

    #[test]
    fn ledgers_add_up() {
        let mut sum = ledger(2);
        sum.merge(&ledger(3));
        assert_eq!(sum, ledger(5));
        assert_eq!(Ledger::parse(&sum.text()), Ok(sum));
    }

    #[test]
    fn a_goal_that_was_never_reached_is_missed() {
        assert_eq!(Ledger::default().missed(&[]), Goal::ALL);
        assert!(!ledger(1).missed(&[]).contains(&Goal::StartsMeet));
    }

    #[test]
    fn a_file_of_another_kind_is_none() {
        assert!(Ledger::parse("{}").is_err());
        let other =
            Ledger::default().text().replace("\"shakedown-ledger\": 1", "\"shakedown-ledger\": 2");
        assert!(Ledger::parse(&other).is_err_and(|error| error.contains("version 2")));
    }
}
