//! A run as a page: one file of HTML that needs no other.

mod beside;
mod document;
mod index;
mod lanes;
pub(super) mod story;

pub use beside::beside;
pub use document::page;
pub use index::{Pages, index};
pub(super) use story::{Changed, Column, Note, Story};
