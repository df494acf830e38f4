//! The harness: a simulated node, the turnstile that orders it, and the judge.

pub mod engine;
pub mod invariants;
pub mod oracle;
pub mod run;
pub mod scenario;
pub mod turnstile;
pub mod world;
