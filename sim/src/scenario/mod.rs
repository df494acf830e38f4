//! The scenario format: TOML files that say how the world is, what clients call and what goes wrong.
//!
//! [`Scenario`] is what a file says, [`parse()`] reads it, [`print()`] writes it, [`matrix`] makes cases of
//! it. `docs/scenarios.md` describes the format to people.

mod decode;
mod defaults;
mod diagnostic;
pub mod duration;
mod format;
pub mod limits;
pub mod matrix;
mod model;
mod parse;
mod print;
mod schema;
mod site_name;
mod words;

pub use diagnostic::{Diagnostic, nearest};
pub use format::format;
pub use matrix::{Case, Expansion, ResolvedAxis, TooManyCases, baseline, expand};
pub use model::*;
pub use parse::{Vocabulary, name_of, parse, parse_bytes, parse_with};
pub use print::print;
pub use schema::schema;
pub use site_name::{
    Actor, ClientEvent, MomentName, SiteName, SiteNameError, SiteNameErrorKind, Stage, Step,
};
pub use words::{INVARIANTS, LEFT_WORDS};
