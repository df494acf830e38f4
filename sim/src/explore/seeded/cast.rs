//! Who takes part in a run: what of its swarm has to be settled before it begins.
//!
//! In half of the runs all calls, plugins and changes of the clock that a scenario has are in play, as what two
//! calls do to one another needs both. In the others each is in play with an even chance, but one call at
//! least. In some the wall clock is set, after one of the moments of the undisturbed run.

use rand::rngs::ChaCha8Rng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};

use crate::explore::decisions::Bound;
use crate::scenario::{Action, Clock, ClockChange, Scenario, Span, When};
use crate::suite::root_of;

/// What the clock is set by.
const JUMPS: [&str; 2] = ["-1h", "24h"];

/// In one of so many runs.
const JUMPS_IN: u32 = 16;

/// Chance of a cast is apart from that of the run, which has the same seed.
const STREAM: u64 = 1;

/// What is in play, of a scenario without decisions.
#[derive(Clone, Debug, PartialEq)]
pub struct Cast {
    parts: Parts,
    /// A change of the clock that the scenario does not have. It counts as a fault.
    pub jump: Option<Clock>,
}

/// For each call, plugin and change of the clock: whether it is in play.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parts {
    calls: Vec<bool>,
    plugins: Vec<bool>,
    clocks: Vec<bool>,
}

impl Cast {
    /// Draws one. `moments`: of the undisturbed run.
    pub fn draw(scenario: &Scenario, moments: &[String], bound: Bound, seed: u64) -> Cast {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(STREAM);
        let has_all = random.random_bool(0.5);
        let mut some = |of: usize| (0..of).map(|_| has_all || random.random_bool(0.5)).collect();
        let mut parts = Parts {
            calls: some(scenario.calls.len()),
            plugins: some(scenario.world.plugins.len()),
            clocks: some(scenario.clocks.len()),
        };
        for (call, in_play) in scenario.calls.iter().zip(&mut parts.calls) {
            // What other calls are about is made by these.
            *in_play |= matches!(call.action, Action::Create { .. } | Action::Kubelet(_));
        }
        for (plugin, in_play) in scenario.world.plugins.iter().zip(&mut parts.plugins) {
            *in_play |= scenario.calls.iter().any(|call| match &call.action {
                Action::ConnectPlugin { plugin: of } | Action::PluginUpdate { plugin: of, .. } => {
                    *of == plugin.name
                }
                _ => false,
            });
        }
        parts.leave_out_what_waits(scenario);
        if !parts.calls.contains(&true) {
            parts.calls.fill(true);
        }
        let jumps = bound.faults > 0 && random.random_ratio(1, JUMPS_IN);
        let moments = moments.iter().filter(|moment| jumps && !parts.is_out(moment, scenario));
        let jump = moments.choose(&mut random).map(|moment| Clock {
            span: Span::default(),
            when: When::Moment(moment.clone()),
            change: ClockChange::Jump(JUMPS[random.random_range(0..JUMPS.len())].to_owned()),
        });
        Cast { parts, jump }
    }

    /// What runs with this cast and no change of the clock of its own have in common.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The scenario without what is not in play.
    pub fn of(&self, scenario: &Scenario) -> Scenario {
        let mut part = scenario.clone();
        keep(&mut part.calls, &self.parts.calls);
        keep(&mut part.world.plugins, &self.parts.plugins);
        keep(&mut part.clocks, &self.parts.clocks);
        // What would come with a call that is not in play does not come either.
        part.clocks.retain(|clock| !self.parts.waits(&clock.when, scenario));
        part.occurrences.retain(|occurrence| !self.parts.waits(&occurrence.when, scenario));
        part.clocks.extend(self.jump.clone());
        part
    }
}

impl Parts {
    /// A call that comes after one that is not in play would never come.
    fn leave_out_what_waits(&mut self, scenario: &Scenario) {
        while let Some(waiting) = scenario.calls.iter().enumerate().position(|(index, call)| {
            let waits = [Some(&call.when), call.cancel.as_ref()];
            self.calls[index] && waits.into_iter().flatten().any(|when| self.waits(when, scenario))
        }) {
            self.calls[waiting] = false;
        }
    }

    /// Whether something comes only with a call that is not in play.
    fn waits(&self, when: &When, scenario: &Scenario) -> bool {
        matches!(when, When::Moment(moment) if self.is_out(moment, scenario))
    }

    /// Whether a moment is one of a call that is not in play.
    fn is_out(&self, moment: &str, scenario: &Scenario) -> bool {
        let actor = root_of(moment).split('.').next().unwrap_or_default();
        let mut calls = scenario.calls.iter().zip(&self.calls);
        calls.any(|(call, in_play)| {
            // The calls of a kubelet begin with its name.
            let rest = actor.strip_prefix(&*call.name);
            !in_play && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    }
}

fn keep<T>(all: &mut Vec<T>, in_play: &[bool]) {
    let mut in_play = in_play.iter();
    all.retain(|_| in_play.next() == Some(&true));
}
