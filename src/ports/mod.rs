//! What the service needs from the world, as traits.
//!
//! A port call that can block in a real daemon is an `async fn`: in the simulator every such call
//! parks and is admitted moment by moment. Reading a clock, counting a metric and logging never
//! block and are plain functions. Nothing here is `Send`: a service lives on one thread, and the
//! simulator relies on it.

mod containerd;
mod context;
mod error;
mod events;
mod fs;
mod nri;
mod runtime;

pub use containerd::*;
pub use context::*;
pub use error::*;
pub use events::*;
pub use fs::*;
pub use nri::*;
pub use runtime::*;

/// The set of ports one service instance runs on.
///
/// Cloning is cheap and yields handles to the same world.
pub trait Ports: Clone + 'static {
    type Runtime: Runtime;
    type Clock: Clock;
    type Fs: Fs;
    type Containerd: Containerd;
    type Nri: Nri;
    type Events: EventSink;
    type Metrics: Metrics;

    fn runtime(&self) -> &Self::Runtime;
    fn clock(&self) -> &Self::Clock;
    fn fs(&self) -> &Self::Fs;

    /// The same files, for calls that may take as long as they take.
    fn patient_fs(&self) -> &Self::Fs {
        self.fs()
    }

    fn containerd(&self) -> &Self::Containerd;
    fn nri(&self) -> &Self::Nri;
    fn events(&self) -> &Self::Events;
    fn metrics(&self) -> &Self::Metrics;
}
