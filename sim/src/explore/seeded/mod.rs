//! Seeded search: runs that decide at random, each by a strategy and a swarm of its own.

mod again;
mod cast;
mod coverage;
mod hunt;
mod maker;
mod search;
mod strategy;

pub use again::{Again, Sample};
pub use cast::Cast;
#[cfg(feature = "planted")]
pub(super) use coverage::Seen;
#[cfg(feature = "planted")]
pub(super) use hunt::ROUND;
pub use hunt::{News, Progress, Settings, hunt};
#[cfg(feature = "planted")]
pub(super) use maker::Maker;
pub use search::{Log, Search};
pub use strategy::Kind;
