//! A run as a page: one file of HTML that needs no other.

mod document;
mod lanes;
mod story;

pub use document::page;
