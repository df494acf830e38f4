//! Exhaustive search: every plan of faults within a bound, under every schedule within another.

mod check;
mod commute;
mod kept;
mod oracle;
mod states;
mod walk;

pub use check::{Certificate, CheckError, Checking, check};
pub use kept::Kept;
pub use oracle::{can_strike, universe};
pub use states::States;
#[cfg(feature = "planted")]
pub(super) use walk::{Node, Tree};
