//! Making one run of a scenario without a matrix.

use std::rc::Rc;

use shakedown_cri::quirks::Profile;

use super::symptom::{Broken, Symptom};
use crate::engine::Engine;
use crate::invariants::Ids;
use crate::oracle::{Menus, Oracle};
use crate::run::{Options, Outcome, Plan, ReapedStates, run, run_under};
use crate::scenario::{Case, Scenario};
use crate::suite::guarded;
use crate::turnstile::Notes;

/// What all runs of one search share.
#[derive(Clone)]
pub struct Attempts {
    options: Options,
}

/// The plan of a scenario without a matrix; `None` when it cannot be one.
pub fn plan(scenario: &Scenario) -> Option<Rc<Plan>> {
    let scenario = scenario.clone();
    Plan::new(&Case { name: scenario.name.clone(), values: Vec::new(), scenario }).ok().map(Rc::new)
}

impl Attempts {
    pub fn new(profile: &'static Profile) -> Self {
        Attempts { options: Options { engine: Engine::Bare, ..Options::of(profile) } }
    }

    /// Asking these invariants only.
    #[must_use]
    pub fn asking(mut self, judge: Ids) -> Self {
        self.options.judge = judge;
        self
    }

    #[must_use]
    pub fn noting(mut self, notes: Notes) -> Self {
        self.options.notes = notes;
        self
    }

    /// Of runs of this plan: reaping each state once.
    #[must_use]
    pub fn merging(mut self, plan: &Rc<Plan>) -> Self {
        self.options.states = Some(ReapedStates::new(plan));
        self
    }

    pub fn menus(&self) -> &Menus {
        &self.options.menus
    }

    pub fn profile(&self) -> &'static Profile {
        self.options.profile
    }

    /// With the decisions of the scenario.
    ///
    /// # Errors
    /// When the harness broke.
    pub fn replay(&self, plan: &Rc<Plan>) -> Result<Outcome, Symptom> {
        guarded(&plan.case, || run(plan, &self.options)).map_err(broken)
    }

    /// With those of an oracle.
    ///
    /// # Errors
    /// When the harness broke.
    pub fn make(&self, plan: &Rc<Plan>, oracle: impl Oracle + 'static) -> Result<Outcome, Symptom> {
        guarded(&plan.case, || run_under(plan, &self.options, Box::new(oracle))).map_err(broken)
    }

    /// What is wrong with a run, and whether a fault struck that no real node produces.
    pub fn symptoms(&self, plan: &Rc<Plan>) -> (Vec<Symptom>, bool) {
        match self.replay(plan) {
            Ok(outcome) => (Symptom::all(&outcome), outcome.had_forced_fault()),
            Err(broken) => (vec![broken], false),
        }
    }
}

fn broken(what: String) -> Symptom {
    Symptom::new(Broken::Harness, &what)
}
