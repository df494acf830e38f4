//! What runs have done: which kinds of faults struck which sites, and which phase of whom came after which
//! phase of whom else. A point is a hash of names, so that it is the same in every thread and process.

use rustc_hash::FxHashSet;
use xxhash_rust::xxh3::xxh3_64;

use crate::oracle::{DelayOf, Effect, Fault};
use crate::turnstile::{Site, Symbol};

/// A set of points.
pub type Seen = FxHashSet<u64>;

/// The site, however often it was reached before.
fn place(site: Site) -> [u64; 3] {
    Symbol::with_hashes(|hashes| [hashes.of(site.actor), site.op as u64, hashes.of(site.subject)])
}

fn point<const N: usize>(words: [u64; N]) -> u64 {
    xxh3_64(words.map(u64::to_le_bytes).as_flattened())
}

/// A kind of fault struck a site. Which error it is does not matter.
pub fn strike(site: Site, fault: &Fault) -> u64 {
    let [actor, op, subject] = place(site);
    let effect = match fault {
        Fault::Delay { of: DelayOf::Effect, .. } => 3,
        Fault::Delay { of: DelayOf::Reply, .. } => 4,
        _ => match fault.effect() {
            Effect::None => 0,
            Effect::Done => 1,
            Effect::Late(_) => 2,
        },
    };
    point([actor, op, subject, xxh3_64(fault.kind().as_bytes()), effect])
}

/// Someone's phase came right after a phase of someone else.
pub fn turn(before: Site, then: Site) -> u64 {
    let ([a, b, c], [d, e, f]) = (place(before), place(then));
    point([a, b, c, d, e, f])
}

/// What one run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    pub strikes: Seen,
    pub turns: Seen,
}

impl Covered {
    pub fn merge(&mut self, other: Covered) {
        self.strikes.extend(other.strikes);
        self.turns.extend(other.turns);
    }
}
