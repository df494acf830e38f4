//! Search: which decisions a run is given, and what is made of a run that fails.
//!
//! A search takes scenarios without decisions of their own, lets an oracle decide, and keeps by name what
//! it decided. That is a scenario file again: it is made as small as it can be, and replays bit for bit.

mod again;
mod attempt;
mod cast;
mod check;
mod commute;
mod coverage;
mod decisions;
mod delay_bounded;
mod edits;
mod exhaustive;
mod failure;
mod findings;
mod guided;
mod hunt;
mod inevitable;
mod kept;
mod maker;
#[cfg(feature = "planted")]
mod mutants;
mod pct;
mod search;
mod shrink;
mod states;
mod strategy;
mod swarm;
mod symptom;
mod uniform;
mod walk;

pub use again::{Again, Sample};
pub use attempt::{Attempts, plan};
pub use cast::Cast;
pub use check::{Certificate, CheckError, Checking, check};
pub use decisions::{Decisions, Entries, undecided};
pub use exhaustive::{can_strike, universe};
pub use failure::Failure;
pub use findings::Findings;
pub use hunt::{News, Progress, Settings, hunt};
pub use inevitable::{Inevitable, Needed, Prefix, inevitable};
pub use kept::Kept;
#[cfg(feature = "planted")]
pub use mutants::{Checked, Kill, Looking, Row, SEARCHES, look};
pub use search::{Log, Search};
pub use states::States;
pub use strategy::{Bound, Kind};
pub use symptom::{Broken, Signature, Symptom};
