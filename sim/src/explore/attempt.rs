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

    /// Whether it is known of the runtime and the scenario what brings the same.
    pub fn can_merge(&self, plan: &Plan) -> bool {
        plan.has_plain_files() && self.options.runtime.shares_through_ports()
    }

    /// Of runs of this plan: reaping each state once, where it is known what brings the same.
    #[must_use]
    pub fn merging(mut self, plan: &Rc<Plan>) -> Self {
        self.options.states = self.can_merge(plan).then(|| ReapedStates::new(plan));
        self
    }

    /// As these, but what is known of states is held against what comes of reaping them again.
    #[must_use]
    pub fn comparing(mut self) -> Self {
        self.options.states = self.options.states.map(ReapedStates::comparing);
        self
    }

    /// As these, but what is known of states is not held against anything.
    #[cfg(test)]
    pub fn trusting(mut self) -> Self {
        self.options.states = self.options.states.map(ReapedStates::trusting);
        self
    }

    /// How many states are remembered, each with what came of reaping it.
    pub fn states(&self) -> usize {
        self.options.states.as_ref().map_or(0, ReapedStates::count)
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
