//! Where CRI container events and metrics go.

use std::future::Future;
use std::time::Duration;

use super::{Context, Error};
use crate::cri::ContainerEvent;

pub trait EventSink: Clone + 'static {
    /// Offers the event to the channel that all subscribers share (capacity 1000, spec section
    /// 9.1). False when it was full and the event was dropped.
    fn send(&self, event: ContainerEvent) -> impl Future<Output = bool>;

    /// Takes the oldest event out of the channel. Blocks until there is one; whoever else waits does not
    /// get it.
    ///
    /// # Errors
    /// The context's error, when it ends first.
    fn receive(&self, ctx: &Context) -> impl Future<Output = Result<ContainerEvent, Error>>;
}

/// Counting never parks.
pub trait Metrics: Clone + 'static {
    /// One observation of a histogram in seconds, labelled by runtime (empty: no label).
    fn observe(&self, name: &'static str, runtime: &str, duration: Duration);
    fn add(&self, name: &'static str, count: u64);
}
