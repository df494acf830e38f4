//! What the service's events wait in until a subscriber takes them: the one channel, or a queue for each.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use shakedown_cri::cri::ContainerEvent;
use shakedown_cri::ports::EventSource;

use super::{SentEvent, WaitKey, World};

/// The capacity of the channel that all subscribers share (spec section 9.1).
const CHANNEL_CAPACITY: usize = 1000;
/// The capacity of one subscriber's queue, and how long an event without a subscriber is kept
/// (containerd, `internal/eventq`).
const QUEUE_CAPACITY: usize = 100;
const KEPT: Duration = Duration::from_secs(5 * 60);

/// Numbers of events that were sent and not taken; in the daemon's memory.
#[derive(Clone, Debug, Default, Hash)]
pub struct EventQueues {
    /// In the shared channel, or kept for the next subscriber.
    unclaimed: VecDeque<usize>,
    /// By the subscriber's number.
    of_subscribers: BTreeMap<u32, VecDeque<usize>>,
    last_subscriber: u32,
}

impl World {
    pub(super) fn has_room_for_event(&self) -> bool {
        self.event_queues.unclaimed.len() < CHANNEL_CAPACITY
    }

    pub(super) fn subscribers_have_room(&self) -> bool {
        self.event_queues.of_subscribers.values().all(|queue| queue.len() < QUEUE_CAPACITY)
    }

    /// An event enters the channel that subscribers share.
    pub(super) fn send_event(&mut self, event: ContainerEvent) {
        let number = self.note_event(event, false);
        self.event_queues.unclaimed.push_back(number);
    }

    /// An event enters the queue of every subscriber that has room, or is kept for the first. What is
    /// `held` stays there until it is released.
    pub(super) fn publish_event(&mut self, event: ContainerEvent, held: bool) {
        let number = self.note_event(event, held);
        let queues = &mut self.event_queues;
        if queues.of_subscribers.is_empty() {
            queues.unclaimed.push_back(number);
        }
        let with_room = queues.of_subscribers.values_mut().filter(|q| q.len() < QUEUE_CAPACITY);
        with_room.for_each(|queue| queue.push_back(number));
    }

    pub(super) fn release_events(&mut self, container_id: &str) {
        for sent in &mut self.events {
            sent.held &= sent.event.container_id != container_id;
        }
        self.changed.events = true;
        self.wake(WaitKey::Events);
    }

    /// The daemon dies, and with it what waits in its memory.
    pub(super) fn lose_events(&mut self) {
        let queues = std::mem::take(&mut self.event_queues);
        for number in queues.of_subscribers.into_values().chain([queues.unclaimed]).flatten() {
            self.events[number].lost = true;
        }
        // What nobody could take yet, also where its subscriber has left.
        self.events.iter_mut().for_each(|sent| sent.lost |= sent.held);
    }

    fn note_event(&mut self, event: ContainerEvent, held: bool) -> usize {
        self.events.push(SentEvent { at: self.now, event, held, lost: false });
        self.changed.events = true;
        self.wake(WaitKey::Events);
        self.events.len() - 1
    }

    /// A subscriber with a queue of its own, which begins with what is kept still.
    pub(super) fn add_subscriber(&mut self) -> EventSource {
        let kept = u64::try_from(KEPT.as_nanos()).unwrap_or(u64::MAX);
        let (now, events) = (self.now, &self.events);
        let queues = &mut self.event_queues;
        let mut queue = std::mem::take(&mut queues.unclaimed);
        queue.retain(|number| now <= events[*number].at.saturating_add(kept));
        queues.last_subscriber += 1;
        queues.of_subscribers.insert(queues.last_subscriber, queue);
        EventSource::Own(queues.last_subscriber)
    }

    pub(super) fn remove_subscriber(&mut self, source: EventSource) {
        if let EventSource::Own(number) = source {
            self.event_queues.of_subscribers.remove(&number);
            self.wake(WaitKey::Events);
        }
    }

    /// The oldest event of a source that is not held, taken out.
    pub(super) fn take_event(&mut self, source: EventSource) -> Option<ContainerEvent> {
        let queues = &mut self.event_queues;
        let queue = match source {
            EventSource::Shared => &mut queues.unclaimed,
            EventSource::Own(number) => queues.of_subscribers.get_mut(&number)?,
        };
        let oldest = queue.iter().position(|number| !self.events[*number].held)?;
        let number = queue.remove(oldest)?;
        // Who waits to send has room now.
        self.wake(WaitKey::Events);
        Some(self.events[number].event.clone())
    }
}
