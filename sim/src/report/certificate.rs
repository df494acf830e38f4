//! What a check of a scenario came to: for people, for machines, and several parts of it as one.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::summary::{BAD, DIM, GOOD, counted, thousands};
use crate::explore::{Broken, Certificate, Checking, Signature, States};
use crate::suite::ExitCode;

/// The account of a check, or of one part of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certified {
    pub scenario: String,
    pub profile: String,
    pub faults: u32,
    pub delays: u32,
    /// `2/3`: the second part of three.
    pub shard: String,
    pub plans: u64,
    pub runs: u64,
    pub moments: u64,
    /// How many different ones the runs came to rest in. A run of which that is not known has one of its own.
    pub states: u64,
    /// Of a part, which: another part comes to some of them, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<States>,
    /// Runs that were not made, as they bring what another one does.
    pub merged: u64,
    pub branches: usize,
    /// Branches that an earlier process had finished.
    pub resumed: usize,
    /// Branches that were not finished.
    pub cut: usize,
    pub complete: bool,
    pub violations: Vec<Violated>,
    /// Promises of the harness that did not hold.
    pub broken: Vec<String>,
    /// Real time; of several parts the sum.
    pub seconds: f64,
    /// Of shakedown.
    pub version: String,
}

/// A signature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Violated {
    pub signature: String,
    /// What else breaks in the same run.
    pub also: Vec<String>,
    /// Runs that showed it, or break the same for more.
    pub runs: u64,
    /// The violation in a sentence.
    pub what: String,
    /// Of the run that the kept file replays.
    pub digest: String,
}

impl Violated {
    /// Everything that breaks in its run, each as a signature; its own is the first.
    fn signatures(&self) -> Vec<Signature> {
        let Some(own) = Signature::parse(&self.signature) else { return Vec::new() };
        let also = self.also.iter().filter_map(|also| Broken::parse(also));
        let also: Vec<_> = also.map(|broken| Signature { broken, ..own.clone() }).collect();
        std::iter::once(own).chain(also).collect()
    }

    fn is_explained_by(&self, other: &Violated) -> bool {
        let own = self.signatures();
        let explains =
            |known: &Signature| own.first().is_some_and(|own| own.is_explained_by(known));
        self.signature != other.signature && other.signatures().iter().any(explains)
    }
}

/// Without those that another one explains, in whatever order they were found; most frequent first.
fn least(mut violations: Vec<Violated>) -> Vec<Violated> {
    violations.sort_by(|a, b| {
        a.signature.len().cmp(&b.signature.len()).then(a.signature.cmp(&b.signature))
    });
    let mut least: Vec<Violated> = Vec::new();
    for violated in violations {
        match least.iter_mut().find(|known| violated.is_explained_by(known)) {
            Some(known) => known.runs += violated.runs,
            None => least.push(violated),
        }
    }
    least.sort_by(|a, b| b.runs.cmp(&a.runs).then(a.signature.cmp(&b.signature)));
    least
}

impl Certified {
    pub fn new(scenario: &str, checking: &Checking, certificate: &Certificate) -> Self {
        let Checking { profile, bound, shard, .. } = checking;
        let findings = &certificate.findings;
        let violations = findings.failures.iter().map(|(failure, runs)| Violated {
            signature: failure.signature.to_string(),
            also: failure.also.iter().map(ToString::to_string).collect(),
            runs: *runs,
            what: failure.symptom.what.clone(),
            digest: format!("{:032x}", failure.digest),
        });
        Certified {
            scenario: scenario.to_owned(),
            profile: profile.name.to_owned(),
            faults: bound.faults,
            delays: bound.delays,
            shard: format!("{}/{}", shard.0 + 1, shard.1),
            plans: certificate.plans,
            runs: certificate.runs,
            moments: certificate.moments,
            states: certificate.states.count(),
            reached: (shard.1 > 1).then(|| certificate.states.clone()),
            merged: certificate.merged,
            branches: certificate.branches,
            resumed: certificate.resumed,
            cut: certificate.cut,
            complete: certificate.is_complete(),
            violations: least(violations.collect()),
            broken: findings.broken.clone(),
            seconds: certificate.took.as_secs_f64(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Whether two are parts of the same check.
    fn is_of(&self, other: &Certified) -> bool {
        let check = |c: &Certified| {
            (c.scenario.clone(), c.profile.clone(), c.faults, c.delays, c.version.clone())
        };
        check(self) == check(other)
    }

    /// What the process answers to its caller.
    pub fn exit_code(&self) -> ExitCode {
        let own = self.violations.iter().filter_map(|v| Signature::parse(&v.signature));
        let codes = own.map(|signature| signature.broken.exit_code());
        let incomplete = if self.complete { ExitCode::Passed } else { ExitCode::Failed };
        codes.chain([incomplete]).max().unwrap_or(incomplete)
    }

    /// The part and of how many, from 1.
    fn part(&self) -> Option<(usize, usize)> {
        let (index, of) = self.shard.split_once('/')?;
        let (index, of) = (index.parse().ok()?, of.parse().ok()?);
        (1 <= index && index <= of).then_some((index, of))
    }

    /// Several parts of checks as whole ones. A part that is missing leaves the whole incomplete.
    ///
    /// # Errors
    /// What is wrong with the parts: one is there twice, or they are of different cuts.
    pub fn merge(parts: Vec<Certified>) -> Result<Vec<Certified>, String> {
        let mut checks: Vec<Vec<Certified>> = Vec::new();
        for part in parts {
            match checks.iter_mut().find(|check| check[0].is_of(&part)) {
                Some(check) => check.push(part),
                None => checks.push(vec![part]),
            }
        }
        checks.into_iter().map(Certified::whole).collect()
    }

    fn whole(parts: Vec<Certified>) -> Result<Certified, String> {
        let name = format!("{} as {}", parts[0].scenario, parts[0].profile);
        let mut there = BTreeSet::new();
        let mut shards = None;
        for part in &parts {
            let shard = &part.shard;
            let (index, of) =
                part.part().ok_or_else(|| format!("`{shard}` of {name} is no part"))?;
            if *shards.get_or_insert(of) != of {
                return Err(format!("the parts of {name} are not of the same number: {shard}"));
            }
            if !there.insert(index) {
                return Err(format!("part {shard} of {name} is there twice"));
            }
        }
        let shards = shards.unwrap_or(1);
        let missing: Vec<String> = (1..=shards)
            .filter(|index| !there.contains(index))
            .map(|index| format!("{index}/{shards}"))
            .collect();
        let mut parts = parts.into_iter();
        let mut whole = parts.next().expect("a check has a part");
        let mut reached = whole.reached.take();
        for part in parts {
            whole.plans += part.plans;
            whole.runs += part.runs;
            whole.moments += part.moments;
            if let (Some(reached), Some(part)) = (&mut reached, part.reached) {
                reached.extend(part);
                whole.states = reached.count();
            }
            whole.merged += part.merged;
            whole.branches += part.branches;
            whole.resumed += part.resumed;
            whole.cut += part.cut;
            whole.complete &= part.complete;
            whole.seconds += part.seconds;
            for violated in part.violations {
                let known = whole.violations.iter_mut().find(|v| v.signature == violated.signature);
                match known {
                    Some(known) => known.runs += violated.runs,
                    None => whole.violations.push(violated),
                }
            }
            for broken in part.broken {
                if !whole.broken.contains(&broken) {
                    whole.broken.push(broken);
                }
            }
        }
        whole.violations = least(whole.violations);
        whole.complete &= missing.is_empty();
        whole.shard = if missing.is_empty() {
            "1/1".to_owned()
        } else {
            format!("without {}", missing.join(" "))
        };
        Ok(whole)
    }
}

/// As it is printed, with styles.
impl fmt::Display for Certified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (style, verdict) = match (self.complete, self.violations.len()) {
            (false, _) => (BAD, "no certificate".to_owned()),
            (true, 0) => (GOOD, "nothing breaks".to_owned()),
            (true, n) => (BAD, counted(n, "signature")),
        };
        let resumed = match self.resumed {
            0 => String::new(),
            resumed => format!(" ({resumed} were done before)"),
        };
        let shard = match &*self.shard {
            "1/1" => String::new(),
            shard => format!("part {shard}; "),
        };
        write!(
            f,
            "{style}{verdict}{style:#}  {} as {}, at most {} and {}\n      \
             {DIM}{shard}{}, {}, {}, {}; merged as equal {}; cut {} of {}{resumed}; \
             {:.1} s{DIM:#}",
            self.scenario,
            self.profile,
            counted(self.faults, "fault"),
            counted(self.delays, "delay"),
            counted(self.plans, "plan"),
            counted(self.runs, "run"),
            counted(self.moments, "moment"),
            counted(self.states, "state"),
            thousands(self.merged),
            self.cut,
            counted(self.branches, "branch"),
            self.seconds
        )?;
        for violated in &self.violations {
            write!(f, "\n{:>12}  {}", thousands(violated.runs), violated.signature)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(shard: &str, signature: &str) -> Certified {
        let violated = Violated {
            signature: signature.to_owned(),
            also: Vec::new(),
            runs: 2,
            what: String::new(),
            digest: String::new(),
        };
        let mut reached = States::default();
        // One that all parts come to, one of its own, and one that is not known.
        let own = u64::from(shard.as_bytes()[0]);
        [Some(7), Some(own), None].into_iter().for_each(|state| reached.note(state));
        Certified {
            scenario: "a-start-alone".to_owned(),
            profile: "1.7.24".to_owned(),
            faults: 1,
            delays: 0,
            shard: shard.to_owned(),
            plans: 10,
            runs: 20,
            moments: 300,
            states: reached.count(),
            reached: Some(reached),
            merged: 0,
            branches: 5,
            resumed: 0,
            cut: 0,
            complete: true,
            violations: vec![violated],
            broken: Vec::new(),
            seconds: 1.0,
            version: String::new(),
        }
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let parts = vec![part("2/3", "I1 a"), part("1/3", "I1 a"), part("3/3", "I2 b")];
        let [whole] = &Certified::merge(parts).expect("they fit")[..] else { panic!("one check") };
        assert_eq!((whole.plans, whole.runs, whole.moments, whole.branches), (30, 60, 900, 15));
        assert!(whole.complete);
        assert_eq!(whole.shard, "1/1");
        assert_eq!((whole.states, &whole.reached), (1 + 3 + 3, &None));
        let signatures = whole.violations.iter().map(|v| (&*v.signature, v.runs));
        assert_eq!(signatures.collect::<Vec<_>>(), [("I1 a", 4), ("I2 b", 2)]);
    }

    #[test]
    fn what_another_signature_explains_is_none_of_its_own() {
        let also = |signature: &str, also: &[&str]| Violated {
            also: also.iter().map(|also| (*also).to_owned()).collect(),
            ..part("1/1", signature).violations.remove(0)
        };
        let found = [
            also("I7 a + b", &[]),
            also("I15 a", &["I7"]),
            also("I7 b + c", &[]),
            also("I7 b", &[]),
        ];
        let least = least(found.to_vec());
        let told: Vec<_> = least.iter().map(|v| (&*v.signature, v.runs)).collect();
        assert_eq!(told, [("I7 b", 6), ("I15 a", 2)]);
    }

    #[test]
    fn a_part_that_is_missing_leaves_no_certificate() {
        let parts = vec![part("1/3", "I1 a"), part("3/3", "I1 a")];
        let whole = Certified::merge(parts).expect("they fit");
        assert!(!whole[0].complete);
        assert_eq!(whole[0].shard, "without 2/3");
        let other = Certified { faults: 2, ..part("2/3", "I1 a") };
        let both = Certified::merge(vec![part("1/1", "I1 a"), other]).expect("they fit");
        assert_eq!(both.len(), 2);
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let of = |shards: &[&str]| {
            Certified::merge(shards.iter().map(|shard| part(shard, "I1 a")).collect())
        };
        assert!(of(&["1/2", "1/2"]).is_err_and(|error| error.contains("twice")));
        assert!(of(&["1/2", "2/3"]).is_err_and(|error| error.contains("not of the same number")));
        assert!(of(&["without 1/2"]).is_err_and(|error| error.contains("is no part")));
    }
}
