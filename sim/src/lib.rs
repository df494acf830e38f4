//! Deterministic simulation of a container start.

pub mod world;
