//! What came of reaping a node, by the state that it was in: a search comes to the same states again and again, and
//! reaps each once.

use std::cell::RefCell;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::client::Reaped;
use super::compile::Plan;
use super::outcome::{EventSeen, Snapshot};
use crate::turnstile::{Stop, Symbol};

/// So many states are remembered, for the memory that they take.
pub const STATES_MAX: usize = 50_000;

/// What comes after quiet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rest {
    pub reaping: Reaped,
    pub reaped: Option<Snapshot>,
    pub stop: Stop,
    pub events: Vec<EventSeen>,
    pub logs: Vec<(Symbol, Vec<String>)>,
    /// Of which there is no recording.
    pub moments: u64,
    /// How often each invariant was evaluated, in the order of the judge.
    pub evaluated: Vec<u64>,
}

/// The states that were reaped in runs of one plan, under one profile. Clones share.
#[derive(Clone)]
pub struct ReapedStates {
    plan: Rc<Plan>,
    states: Rc<RefCell<FxHashMap<u64, Rest>>>,
    /// What is known is reaped all the same, and compared. A debug build always does.
    pub(super) compares: bool,
}

impl ReapedStates {
    pub fn new(plan: &Rc<Plan>) -> Self {
        ReapedStates { plan: plan.clone(), states: Rc::default(), compares: cfg!(debug_assertions) }
    }

    /// The same states, each of which is reaped again and compared.
    #[must_use]
    pub fn comparing(mut self) -> Self {
        self.compares = true;
        self
    }

    /// The same states, none of which is reaped again, as in a build without debug assertions.
    #[cfg(test)]
    pub fn trusting(mut self) -> Self {
        self.compares = false;
        self
    }

    /// How many are remembered.
    pub fn count(&self) -> usize {
        self.states.borrow().len()
    }

    pub(super) fn are_of(&self, plan: &Rc<Plan>) -> bool {
        Rc::ptr_eq(&self.plan, plan)
    }

    pub(super) fn rest(&self, state: u64) -> Option<Rest> {
        self.states.borrow().get(&state).cloned()
    }

    pub(super) fn note(&self, state: u64, rest: Rest) {
        let mut states = self.states.borrow_mut();
        if states.len() == STATES_MAX {
            states.clear();
        }
        states.insert(state, rest);
    }
}
