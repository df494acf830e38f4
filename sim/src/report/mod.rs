//! What a run brought, as text and as JSON; what a command came to, for people and for other programs.

mod certificate;
pub mod compare;
pub mod describe;
mod facts;
mod github;
pub mod json;
mod junit;
mod markdown;
mod moments;
mod page;
mod sarif;
pub mod summary;
mod survey;
mod text;
mod trace;
mod verdicts;

pub use certificate::{Certified, Violated};
pub use compare::Comparison;
pub use facts::{Detail, Report};
pub use github::github;
pub use json::json;
pub use junit::junit;
pub use markdown::markdown;
pub use page::{Pages, beside, index, page};
pub use sarif::sarif;
pub use survey::Survey;
pub use text::{clock, plain, text};
pub use trace::trace;
pub(crate) use verdicts::quoted;
pub use verdicts::{Counts, Entry, Place, Problem, Verdicts};
