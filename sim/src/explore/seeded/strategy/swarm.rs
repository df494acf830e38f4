//! What is in play in one run.
//!
//! A run in which everything can go wrong seldom lets one thing go wrong far enough. So each run plays with a
//! random half of the features: "Swarm Testing" (Groce, Zhang, Eide, Chen, Regehr; ISSTA 2012).

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use crate::oracle::{CrashKind, Fault};
use crate::turnstile::Op;

/// Chances are in parts of ten thousand.
pub const WHOLE: u32 = 10_000;

/// Which operations, kinds of faults and crashes are in play, and how likely.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// A bit for each operation.
    ops: u128,
    /// A bit for each kind of fault.
    kinds: u16,
    /// How the daemon can end.
    pub crashes: Option<CrashKind>,
    /// That a call which can meet a fault meets one.
    pub fault: u32,
    /// That the daemon ends after a moment.
    pub crash: u32,
    /// That a moment is set aside.
    pub hold: u32,
    /// That a moment which is set aside stays so over one more moment.
    pub keep: u32,
}

/// From a few faults in a hundred runs to several in each; a run has some hundred sites.
const FAULT: [u32; 3] = [20, 80, 300];
const CRASH: [u32; 3] = [5, 20, 80];
const HOLD: [u32; 4] = [0, 50, 200, 1_000];
const KEEP: [u32; 3] = [5_000, 8_500, 9_700];

impl Swarm {
    pub fn new(random: &mut ChaCha8Rng) -> Self {
        let mut one_of = |weights: &[u32]| weights[random.random_range(0..weights.len())];
        let [fault, crash, hold, keep] = [&FAULT[..], &CRASH, &HOLD, &KEEP].map(&mut one_of);
        Swarm {
            ops: random.random(),
            kinds: random.random(),
            // A crash overshadows what else happens: most runs do without.
            crashes: match random.random_range(0..8) {
                0 => Some(CrashKind::Power),
                1 | 2 => Some(CrashKind::Daemon),
                _ => None,
            },
            fault,
            crash,
            hold,
            keep,
        }
    }

    pub fn has_operation(&self, op: Op) -> bool {
        self.ops >> (op as u32) & 1 == 1
    }

    pub fn has_kind(&self, fault: &Fault) -> bool {
        let kind = match fault {
            Fault::Error { .. } => 0,
            Fault::Delay { .. } => 1,
            Fault::Hang { .. } => 2,
            Fault::HangForever { .. } => 3,
            Fault::Cancel { .. } => 4,
            Fault::Deadline { .. } => 5,
            Fault::ShortWrite => 6,
            Fault::ConnectionClosed { .. } => 7,
            Fault::Lost => 8,
        };
        self.kinds >> kind & 1 == 1
    }
}
