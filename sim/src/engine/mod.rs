//! What drives a run: polls the task that the turnstile admits, and follows its clock.
//!
//! The seam is [`crate::turnstile::Driver`]: an engine decides nothing, so every engine yields the
//! same digest for the same decisions. madsim is the engine of every scenario; a build without the
//! feature `madsim` has the bare loop in its place.

#[cfg(not(feature = "madsim"))]
mod bare;
#[cfg(feature = "madsim")]
mod madsim;

#[cfg(not(feature = "madsim"))]
pub use self::bare::run;
#[cfg(feature = "madsim")]
pub use self::madsim::run;
