//! The back-off queue of events that could not be handled (spec section 5.1).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ports::Instant;

/// How often the event loop looks for events that are due.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(1);
const INITIAL_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(5 * 60);

/// Events of one key, oldest first, that wait for their next attempt together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Queue<E> {
    pub events: Vec<E>,
    delay: Duration,
    expiry: Instant,
}

/// All queues, by key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backoff<E> {
    queues: BTreeMap<String, Queue<E>>,
    /// Whether the loop that empties the queues runs: its tick is armed only while it has work.
    pub armed: bool,
}

impl<E> Queue<E> {
    /// How long it waits between its last attempt and the next.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// When it is due.
    pub fn expiry(&self) -> Instant {
        self.expiry
    }
}

impl<E> Default for Backoff<E> {
    fn default() -> Self {
        Backoff { queues: BTreeMap::new(), armed: false }
    }
}

impl<E> Backoff<E> {
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Whether events of the key wait.
    pub fn contains(&self, key: &str) -> bool {
        self.queues.contains_key(key)
    }

    /// Appends to the key's queue, whose expiry stays; a new queue waits for the initial delay.
    pub fn enqueue(&mut self, key: &str, event: E, now: Instant) {
        if let Some(queue) = self.queues.get_mut(key) {
            queue.events.push(event);
        } else {
            self.put(key, vec![event], INITIAL_DELAY, now);
        }
    }

    /// The keys whose queues are due at `now`.
    pub fn expired(&self, now: Instant) -> Vec<String> {
        let due = self.queues.iter().filter(|(_, queue)| now >= queue.expiry);
        due.map(|(key, _)| key.clone()).collect()
    }

    pub fn get(&self, key: &str) -> Option<&Queue<E>> {
        self.queues.get(key)
    }

    pub fn take(&mut self, key: &str) -> Option<Queue<E>> {
        self.queues.remove(key)
    }

    /// Puts back what could not be handled, with twice the delay of the queue it came from. A queue
    /// that has appeared under the key meanwhile is replaced.
    pub fn requeue(&mut self, key: &str, queue: Queue<E>, now: Instant) {
        self.put(key, queue.events, (queue.delay * 2).min(MAX_DELAY), now);
    }

    fn put(&mut self, key: &str, events: Vec<E>, delay: Duration, now: Instant) {
        let queue = Queue { events, delay, expiry: now.after(delay) };
        self.queues.insert(key.to_owned(), queue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    #[test]
    fn the_first_attempt_is_due_after_one_second() {
        let mut backoff = Backoff::default();
        backoff.enqueue("web", 1, at(10));
        assert_eq!(backoff.expired(Instant(at(11).0 - 1)), Vec::<String>::new());
        assert_eq!(backoff.expired(at(11)), ["web"]);
        assert_eq!(backoff.take("web").map(|queue| queue.events), Some(vec![1]));
        assert!(backoff.is_empty());
    }

    #[test]
    fn a_later_event_joins_the_queue_and_its_expiry() {
        let mut backoff = Backoff::default();
        backoff.enqueue("web", 1, at(10));
        backoff.enqueue("web", 2, Instant(at(11).0 - 1));
        backoff.enqueue("db", 3, at(11));
        assert_eq!(backoff.expired(at(11)), ["web"]);
        assert_eq!(backoff.take("web").map(|queue| queue.events), Some(vec![1, 2]));
        assert_eq!(backoff.expired(at(12)), ["db"]);
    }

    #[test]
    fn each_failure_doubles_the_delay_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        backoff.enqueue("web", (), at(0));
        let mut now = at(1);
        let mut delays = Vec::new();
        for _ in 0..11 {
            let queue = backoff.take("web").unwrap();
            backoff.requeue("web", queue, now);
            let due = (1..)
                .map(|s| now.after(Duration::from_secs(s)))
                .find(|t| !backoff.expired(*t).is_empty())
                .unwrap();
            delays.push(due.since(now).as_secs());
            now = due;
        }
        assert_eq!(delays, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    }

    #[test]
    fn putting_back_replaces_what_came_meanwhile() {
        let mut backoff = Backoff::default();
        backoff.enqueue("web", 1, at(0));
        let queue = backoff.take("web").unwrap();
        backoff.enqueue("web", 2, at(1));
        backoff.requeue("web", queue, at(1));
        assert_eq!(backoff.expired(at(2)), Vec::<String>::new());
        assert_eq!(backoff.take("web").map(|queue| queue.events), Some(vec![1]));
    }
}
