//! What drives a run: polls the task that the turnstile admits, and follows its clock.
//!
//! The seam is [`crate::turnstile::Driver`]: an engine decides nothing, so every engine yields the
//! same digest for the same decisions.

#[cfg(feature = "madsim")]
mod madsim;

#[cfg(feature = "madsim")]
pub use self::madsim::run;
