//! How often runs hit each operation with each kind of fault.

use std::collections::BTreeMap;

use shakedown_cri::quirks::{Profile, Quirk};

use super::cases::Ran;
use crate::oracle::{DelayOf, Effect, Fault, Menus};
use crate::turnstile::{Fate, Op};

/// A kind of fault with what becomes of the operation: `error`, `late`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Strike {
    pub kind: &'static str,
    /// `none`, `done`, `late`; of a delay the part that it delays; of a short or lost write nothing.
    pub effect: &'static str,
}

impl Strike {
    pub const fn of(fault: &Fault) -> Strike {
        let effect = match fault {
            Fault::Delay { of: DelayOf::Effect, .. } => "effect",
            Fault::Delay { of: DelayOf::Reply, .. } => "reply",
            Fault::ShortWrite | Fault::Lost => "",
            _ => match fault.effect() {
                Effect::None => "none",
                Effect::Done => "done",
                Effect::Late(_) => "late",
            },
        };
        Strike { kind: fault.kind(), effect }
    }

    /// All that can strike at an operation, in the order of its menu.
    pub fn all(op: Op, menus: &Menus) -> Vec<Strike> {
        let mut strikes = Vec::new();
        for strike in menus.of(op).iter().map(Strike::of) {
            if !strikes.contains(&strike) {
                strikes.push(strike);
            }
        }
        strikes
    }
}

/// Why none of the profiles makes the call, so that nothing can strike there.
pub fn never_made(op: Op, profiles: &[&Profile]) -> Option<&'static str> {
    let unsynced = |profile: &&Profile| profile.quirks.has(Quirk::CheckpointDirectoryNotSynced);
    (op == Op::FsSyncDir && profiles.iter().all(unsynced))
        .then_some("no upstream version makes a directory durable")
}

/// Counts of faults that applied.
#[derive(Clone, Debug, Default)]
pub struct Hits(BTreeMap<(Op, Strike), u64>);

impl Hits {
    /// Counts the faults of a run.
    pub fn add(&mut self, ran: &Ran) {
        let faults = ran.plan.script.faults.iter().zip(&ran.outcome.faults);
        for ((site, fault), _) in faults.filter(|(_, fate)| **fate == Fate::Applied) {
            *self.0.entry((site.op, Strike::of(fault))).or_default() += 1;
        }
    }

    pub fn of(&self, op: Op, strike: Strike) -> u64 {
        self.0.get(&(op, strike)).copied().unwrap_or(0)
    }
}
