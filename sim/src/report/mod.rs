//! What a run brought, as text and as JSON.

pub mod describe;
mod facts;
mod json;
mod text;

pub use facts::{Detail, Report};
pub use json::json;
pub use text::{clock, plain, text};
