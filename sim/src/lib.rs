//! The harness: a simulated node, the turnstile that orders it, and the judge.

pub mod cli;
pub mod determinism;
pub mod engine;
pub mod explore;
pub mod invariants;
pub mod oracle;
pub mod report;
pub mod run;
pub mod scenario;
pub mod suite;
pub mod turnstile;
pub mod world;
