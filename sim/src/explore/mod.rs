//! Search: which decisions a run is given, and what is made of a run that fails.
//!
//! A search takes scenarios without decisions of their own, lets an oracle decide, and keeps by name what
//! it decided. That is a scenario file again: it is made as small as it can be, and replays bit for bit.

mod attempt;
mod caller;
mod decisions;
mod exhaustive;
mod failing;
#[cfg(feature = "planted")]
mod mutants;
mod seeded;
mod symptom;

pub use attempt::{Attempts, plan};
pub use decisions::{Bound, Decisions, Entries, undecided};
pub use exhaustive::{
    Certificate, CheckError, Checking, Kept, States, can_strike, check, universe,
};
pub use failing::{Failure, Findings, Inevitable, Needed, Prefix, inevitable};
#[cfg(feature = "planted")]
pub use mutants::{Checked, Kill, Looking, Row, SEARCHES, look};
pub use seeded::{Again, Cast, Kind, Log, News, Progress, Sample, Search, Settings, hunt};
pub use symptom::{Broken, Signature, Symptom};
