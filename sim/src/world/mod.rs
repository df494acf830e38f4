//! The simulated node.

pub mod fs;
