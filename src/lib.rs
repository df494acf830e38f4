//! The container half of a CRI runtime service, generic over [`ports`].

pub mod cri;
pub mod ports;
pub mod quirks;
