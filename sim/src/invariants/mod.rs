//! The judge: what must hold of a node, seen from outside. One invariant a file.

mod as_if_serial;
mod bounded;
mod daemon_lives;
mod dead_pod;
mod event_order;
mod every_exit_once;
mod failed_start;
mod honest_status;
mod judge;
mod no_collateral;
mod nothing_left;
mod nri_truthful;
mod one_owner;
mod others_answer;
mod recovery;
mod removable;
mod running_alive;
mod terminal_dead;

pub use judge::{Judge, Subject, View};

use std::hash::{Hash, Hasher};

use crate::run::Snapshot;
use crate::turnstile::Happened;

/// An invariant's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u8);

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "I{}", self.0)
    }
}

/// A set of invariants: those that are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids(u32);

impl Ids {
    pub const NONE: Ids = Ids(0);
    pub const ALL: Ids = Ids(u32::MAX);

    #[must_use]
    pub const fn without(self, id: Id) -> Ids {
        Ids(self.0 & !(1 << id.0))
    }

    pub const fn has(self, id: Id) -> bool {
        self.0 & (1 << id.0) != 0
    }
}

/// What broke, when and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Virtual nanoseconds.
    pub at: u64,
    /// The moment after which it was seen; `None`: at the end of a phase.
    pub moment: Option<String>,
    /// What was expected and what was there, in a sentence.
    pub what: String,
}

/// What one invariant brought.
#[derive(Clone, Debug)]
pub struct Finding {
    pub id: Id,
    pub name: &'static str,
    /// How often it was evaluated: something it speaks of was there to be judged.
    pub evaluated: u64,
    pub violations: Vec<Violation>,
}

/// The judge's word on a run.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// In the order of their numbers.
    pub findings: Vec<Finding>,
}

impl Judgement {
    pub fn violated(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| !finding.violations.is_empty())
    }
}

/// What an invariant writes its findings to.
#[derive(Default)]
pub struct Notes {
    evaluated: u64,
    violations: Vec<Violation>,
}

/// More of the same is not worth telling.
const VIOLATIONS_MAX: usize = 16;

impl Notes {
    /// It was evaluated once more.
    pub fn evaluated(&mut self) {
        self.evaluated += 1;
    }

    /// It was evaluated, and is violated unless `holds`.
    pub fn judge(&mut self, holds: bool, view: &View<'_>, what: impl FnOnce() -> String) {
        self.evaluated += 1;
        if !holds {
            self.violate(view, what());
        }
    }

    pub fn violate(&mut self, view: &View<'_>, what: String) {
        let known = self.violations.iter().any(|v| v.what == what);
        if !known && self.violations.len() < VIOLATIONS_MAX {
            let moment = view.moment.map(|moment| moment.to_string());
            self.violations.push(Violation { at: view.now, moment, what });
        }
    }
}

/// What a moment shows, and what an invariant looks at: a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct Watch(u8);

impl Watch {
    pub const NOTHING: Watch = Watch(0);
    /// What a client would be told of a container changed.
    pub const STATUS: Watch = Watch(1);
    /// Tasks, shims' containers, mounts, processes changed.
    pub const RUNTIME: Watch = Watch(1 << 1);
    /// An event was sent.
    pub const EVENTS: Watch = Watch(1 << 2);
    /// A plugin heard something, came or went.
    pub const PLUGINS: Watch = Watch(1 << 3);
    /// A call of a port brought an error.
    pub const ERRORS: Watch = Watch(1 << 4);
    /// A call of the scenario was answered.
    pub const ANSWERS: Watch = Watch(1 << 5);
    /// Every moment, whatever it brings.
    pub const MOMENTS: Watch = Watch(1 << 6);

    /// The daemon ended, was started, or serves.
    pub const DAEMON: Watch = Watch(1 << 7);

    pub const fn and(self, other: Watch) -> Watch {
        Watch(self.0 | other.0)
    }

    pub const fn and_if(self, other: Watch, holds: bool) -> Watch {
        Watch(self.0 | (other.0 * holds as u8))
    }

    pub const fn meets(self, other: Watch) -> bool {
        self.0 & other.0 != 0
    }
}

/// What something remembers.
pub trait Memory {
    fn hash_memory(&self, state: &mut dyn Hasher);
}

impl<T: Hash> Memory for T {
    fn hash_memory(&self, mut state: &mut dyn Hasher) {
        self.hash(&mut state);
    }
}

/// One invariant of the specification. What it remembers from moment to moment is part of the state of a run.
pub trait Invariant: Memory {
    fn id(&self) -> Id;
    fn name(&self) -> &'static str;

    /// After which moments it wants to be asked. It is read again after each time that it was.
    fn watches(&self) -> Watch {
        Watch::NOTHING
    }

    /// After a moment that shows something of what it watches.
    fn moment(&mut self, _view: &View<'_>, _happened: &Happened, _notes: &mut Notes) {}

    /// Once quiet, or cut at the bound.
    fn quiet(&mut self, _view: &View<'_>, _snapshot: &Snapshot, _notes: &mut Notes) {}

    /// Once reaped, if reaping ended.
    fn reaped(&mut self, _view: &View<'_>, _snapshot: &Snapshot, _notes: &mut Notes) {}

    /// The run ended for another reason than that all was done.
    fn stopped(&mut self, _view: &View<'_>, _stop: &crate::turnstile::Stop, _notes: &mut Notes) {}
}

/// Every invariant that these calls can touch, in the order of their numbers.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<failed_start::FailedStartLeavesNothing>::default(),
        Box::<terminal_dead::TerminalMeansDead>::default(),
        Box::<one_owner::OneOwner>::default(),
        Box::<honest_status::HonestStatus>::default(),
        Box::<bounded::Bounded>::default(),
        Box::<removable::AlwaysRemovable>::default(),
        Box::<every_exit_once::EveryExitOnce>::default(),
        Box::<running_alive::RunningMeansAlive>::default(),
        Box::<event_order::EventOrder>::default(),
        Box::<dead_pod::NoLifeInADeadPod>::default(),
        Box::<recovery::Recovery>::default(),
        Box::<nri_truthful::NriTruthful>::default(),
        Box::<others_answer::OthersAnswer>::default(),
        Box::<as_if_serial::AsIfSerial>::default(),
        Box::<no_collateral::NoCollateral>::default(),
        Box::<nothing_left::NothingLeft>::default(),
        Box::<daemon_lives::DaemonLives>::default(),
    ]
}
