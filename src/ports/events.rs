//! Where CRI container events and metrics go.

use std::future::Future;
use std::time::Duration;

use super::{Context, Error};
use crate::cri::ContainerEvent;

/// Where one subscriber's events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventSource {
    /// The channel that all subscribers share.
    Shared,
    /// The subscriber's own queue, by its number.
    Own(u32),
}

pub trait EventSink: Clone + 'static {
    /// Offers the event to the channel that all subscribers share (capacity 1000, spec section
    /// 9.1). False when it was full and the event was dropped.
    fn send(&self, event: ContainerEvent) -> impl Future<Output = bool>;

    /// Puts the event into the queue of each subscriber (capacity 100). Where one has no room, it waits, or
    /// leaves that subscriber out. Without a subscriber the event is kept for the next one, for 5 minutes
    /// (commit e7eb08eb5). `held`: no subscriber gets it from its queue before [`EventSink::release`].
    fn publish(&self, event: ContainerEvent, waits: bool, held: bool) -> impl Future<Output = ()>;

    /// Lets subscribers have what is held of this container. Does not park.
    fn release(&self, container_id: &str);

    /// Makes a queue for one more subscriber, with what was kept. Does not park.
    fn subscribe(&self) -> EventSource;

    /// Gives a subscriber's queue up, with what is in it. Does not park.
    fn unsubscribe(&self, source: EventSource);

    /// Takes the oldest event. Blocks until there is one; nobody else gets it from there.
    ///
    /// # Errors
    /// The context's error, when it ends first.
    fn receive(
        &self,
        ctx: &Context,
        source: EventSource,
    ) -> impl Future<Output = Result<ContainerEvent, Error>>;
}

/// Counting never parks.
pub trait Metrics: Clone + 'static {
    /// One observation of a histogram in seconds, labelled by runtime (empty: no label).
    fn observe(&self, name: &'static str, runtime: &str, duration: Duration);
    fn add(&self, name: &'static str, count: u64);
}
