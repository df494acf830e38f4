//! A run as a page: one file of HTML that needs no other.

mod document;
mod lanes;
pub(super) mod story;

pub use document::page;
