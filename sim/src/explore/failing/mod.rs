//! What is made of a run that fails: a file as small as it can be, and when its failure became inevitable.

mod edits;
mod failure;
mod findings;
mod inevitable;
mod shrink;

pub use failure::Failure;
pub(super) use findings::Collector;
pub use findings::Findings;
pub use inevitable::{Inevitable, Needed, Prefix, inevitable};
