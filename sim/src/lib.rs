//! The harness: a simulated node, the turnstile that orders it, and the judge.

pub mod engine;
pub mod oracle;
pub mod turnstile;
pub mod world;
