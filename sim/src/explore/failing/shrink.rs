//! Makes a failing scenario as small as it can be without losing what broke.

use crate::scenario::{Scenario, parse, print};

use super::edits::{Edit, Pass, edits};
use crate::explore::attempt::{Attempts, plan};
use crate::explore::symptom::Symptom;

/// More runs than this are not worth a smaller file.
pub const RUNS_MAX: u32 = 1_000;

/// What became of a scenario.
#[derive(Clone, Debug)]
pub struct Shrunk {
    pub scenario: Scenario,
    pub runs: u32,
    /// No single step makes it simpler without losing what broke. False: the runs were used up.
    pub is_minimal: bool,
    /// For each step that would make it simpler: what a run is like then.
    pub without: Vec<Without>,
}

/// What a run is like after one more step.
#[derive(Clone, Debug)]
pub struct Without {
    pub table: &'static str,
    pub index: usize,
    pub key: Option<&'static str>,
    /// `without it: nothing breaks`
    pub text: String,
}

/// Looks for a smaller scenario that shows the same symptom, which the given one does.
pub fn shrink(attempts: &Attempts, scenario: &Scenario, symptom: &Symptom) -> Shrunk {
    let mut shrinking = Shrinking {
        attempts,
        symptom,
        scenario: bare(scenario),
        forced: plan(scenario).is_some_and(|plan| attempts.symptoms(&plan).1),
        runs: 0,
        without: Vec::new(),
    };
    let mut is_minimal = false;
    while !is_minimal && shrinking.runs < RUNS_MAX {
        shrinking.without.clear();
        let simpler = Pass::ALL.map(|pass| shrinking.pass(pass)).contains(&true);
        is_minimal = !simpler && shrinking.runs < RUNS_MAX;
    }
    let Shrinking { scenario, runs, without, .. } = shrinking;
    Shrunk { scenario, runs, is_minimal, without }
}

/// Without what no run depends on.
fn bare(scenario: &Scenario) -> Scenario {
    Scenario {
        description: String::new(),
        tags: Vec::new(),
        expects: Vec::new(),
        violations: Vec::new(),
        ..scenario.clone()
    }
}

struct Shrinking<'a> {
    attempts: &'a Attempts,
    symptom: &'a Symptom,
    scenario: Scenario,
    /// It had a fault that no real node produces from the start: no other gets one.
    forced: bool,
    runs: u32,
    /// Of the steps that were tried since something became simpler last.
    without: Vec<Without>,
}

impl Shrinking<'_> {
    /// Takes every step of the pass that keeps the symptom. Whether there was one.
    fn pass(&mut self, pass: Pass) -> bool {
        let mut any = false;
        let mut at = 0;
        loop {
            // After a step the ones that were refused before it are passed over: the next round tries them.
            let Some(edit) = edits(&self.scenario, pass).into_iter().nth(at) else { return any };
            if self.runs >= RUNS_MAX {
                return any;
            }
            match self.keeping(&edit) {
                Some(simpler) => {
                    self.scenario = simpler;
                    any = true;
                }
                None => at += 1,
            }
        }
    }

    /// What the step leaves, if it keeps the symptom.
    fn keeping(&mut self, edit: &Edit) -> Option<Scenario> {
        // A step can leave something that no file can say, such as a call of a container that is gone,
        // or the same once more, as a default.
        let file = format!("{}.toml", edit.result.name);
        let simpler = parse(&file, &print(&edit.result)).ok()?;
        if simpler == self.scenario {
            return None;
        }
        let plan = plan(&simpler)?;
        let (symptoms, forced) = self.attempts.symptoms(&plan);
        self.runs += 1;
        if forced && !self.forced {
            return None;
        }
        if symptoms.iter().any(|symptom| symptom.is_like(self.symptom)) {
            return Some(simpler);
        }
        let broken: Vec<String> = symptoms.iter().map(|s| s.broken.to_string()).collect();
        let then = match &broken[..] {
            [] => "nothing breaks".to_owned(),
            broken => format!("{} instead", broken.join(" ")),
        };
        let text = format!("{}: {then}", edit.how);
        let (table, index, key) = (edit.part.table, edit.part.index, edit.key);
        self.without.push(Without { table, index, key, text });
        None
    }
}
