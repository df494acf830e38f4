//! What a search found so far, each bug once.

use super::failure::Failure;
use crate::explore::attempt::{Attempts, plan};
use crate::explore::symptom::{Broken, Signature, Symptom};
use crate::scenario::Scenario;

/// Failures by signature, and promises of the harness that did not hold.
pub struct Collector {
    attempts: Attempts,
    /// What breaks in each scenario by itself: no finding of a search that disturbs it.
    undisturbed: Vec<Vec<Broken>>,
    pub findings: Findings,
}

#[derive(Debug, Default)]
pub struct Findings {
    /// Each with the number of runs that showed it.
    pub failures: Vec<(Failure, u64)>,
    /// Each once.
    pub broken: Vec<String>,
}

impl Collector {
    pub fn new(attempts: Attempts) -> Self {
        Collector { attempts, undisturbed: Vec::new(), findings: Findings::default() }
    }

    /// Runs the next scenario without decisions. `Some`: it breaks something by itself.
    pub fn undisturbed(&mut self, scenario: &Scenario) -> Option<&Failure> {
        let symptoms = plan(scenario).map(|p| self.attempts.symptoms(&p).0).unwrap_or_default();
        self.undisturbed.push(symptoms.iter().map(|symptom| symptom.broken).collect());
        let first = symptoms.first()?;
        self.make_small(std::slice::from_ref(scenario), first, 1)
    }

    /// Takes what `runs` runs of the scenario with this number showed; `scenarios`: the same decisions, in
    /// several ways. `Some`: it is new.
    pub fn take(
        &mut self,
        number: usize,
        symptom: &Symptom,
        scenarios: &[Scenario],
        runs: u64,
    ) -> Option<&Failure> {
        let decided = scenarios.first()?;
        let by_itself = self.undisturbed[number].contains(&symptom.broken);
        if by_itself || self.count(&Signature::new(symptom.broken, decided), runs) {
            return None;
        }
        self.make_small(scenarios, symptom, runs)
    }

    /// Counts runs towards the failure that explains them, if one does.
    fn count(&mut self, signature: &Signature, more: u64) -> bool {
        let known = self.findings.failures.iter_mut().find(|(failure, _)| {
            failure.signatures().any(|known| signature.is_explained_by(&known))
        });
        known.map(|(_, runs)| *runs += more).is_some()
    }

    fn make_small(
        &mut self,
        scenarios: &[Scenario],
        symptom: &Symptom,
        runs: u64,
    ) -> Option<&Failure> {
        match Failure::new(&self.attempts, scenarios, symptom) {
            Ok(failure) => {
                if self.count(&failure.signature, runs) {
                    return None;
                }
                self.findings.failures.push((failure, runs));
                self.findings.failures.last().map(|(failure, _)| failure)
            }
            Err(broken) => {
                if !self.findings.broken.contains(&broken) {
                    self.findings.broken.push(broken);
                }
                None
            }
        }
    }
}
