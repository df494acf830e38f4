//! Tasks, time, and every kind of sharing: locks, channels, signals, values.

use std::future::Future;
use std::hash::Hash;
use std::time::Duration;

use super::{Context, Error, Instant};

/// Names a task, lock, channel or signal: a role and the id of what it serves. An empty subject is
/// allowed. Reports print `role(subject)`.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    pub role: &'static str,
    pub subject: &'a str,
}

impl<'a> Name<'a> {
    pub const fn new(role: &'static str, subject: &'a str) -> Self {
        Name { role, subject }
    }
}

/// Spawning, sleeping and sharing. All state that tasks share goes through it, and can be hashed: whoever explores
/// all orders of the tasks can then tell that two of them came to the same. A handle to something else that is shared
/// is hashed by what it names.
pub trait Runtime: Clone + 'static {
    type Lock<T: Hash + 'static>: Lock<T>;
    type Sender<T: Hash + 'static>: Sender<T>;
    type Receiver<T: Hash + 'static>: Receiver<T>;
    type Signal: Signal;
    type Value<T: Hash + 'static>: Value<T>;

    /// Starts a background task named as the actor of its calls. It cannot be joined: whoever needs
    /// to know its end gives it a signal.
    fn spawn(&self, name: Name<'_>, task: impl Future<Output = ()> + 'static);

    /// Waits on the monotonic clock.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;

    fn lock<T: Hash + 'static>(&self, name: Name<'_>, value: T) -> Self::Lock<T>;

    /// A bounded channel; `capacity` is at least 1.
    fn channel<T: Hash + 'static>(
        &self,
        name: Name<'_>,
        capacity: usize,
    ) -> (Self::Sender<T>, Self::Receiver<T>);

    /// A one-shot broadcast.
    fn signal(&self, name: Name<'_>) -> Self::Signal;

    /// What tasks look at and change without waiting.
    fn value<T: Hash + 'static>(&self, value: T) -> Self::Value<T>;

    /// 32 bytes in lower-case hexadecimal, never the same twice on one node.
    fn unique_id(&self) -> String;
}

/// A reader-writer lock around a value. Waiting writers go before readers that come later, as in
/// Go's `RWMutex`.
pub trait Lock<T>: Clone + 'static {
    type Read: ReadGuard<T>;
    type Write: WriteGuard<T>;

    fn read(&self) -> impl Future<Output = Self::Read>;
    fn write(&self) -> impl Future<Output = Self::Write>;

    /// Reads without waiting and without being seen; for observers outside the service only.
    fn peek<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R>;
}

/// Shared access; dropping it releases the lock. The value is lent to a closure so that no borrow
/// can live across an await.
pub trait ReadGuard<T> {
    fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R;
}

/// Exclusive access.
pub trait WriteGuard<T>: ReadGuard<T> {
    fn with_mut<R>(&self, change: impl FnOnce(&mut T) -> R) -> R;
}

pub trait Sender<T>: Clone + 'static {
    /// Waits for room. Gives the value back when the receiver is gone.
    fn send(&self, value: T) -> impl Future<Output = Result<(), T>>;

    /// Gives the value back when the channel is full or the receiver is gone. Does not park.
    fn try_send(&self, value: T) -> Result<(), T>;
}

pub trait Receiver<T>: 'static {
    /// The next value; `None` when every sender is gone and nothing is queued.
    ///
    /// # Errors
    /// The context's error, when it ends first.
    fn recv(&mut self, ctx: &Context) -> impl Future<Output = Result<Option<T>, Error>>;
}

pub trait Signal: Clone + 'static {
    /// Sets the signal for good and wakes every waiter. Does not park.
    fn set(&self);
    fn is_set(&self) -> bool;

    /// # Errors
    /// The context's error, when it ends before the signal is set.
    fn wait(&self, ctx: &Context) -> impl Future<Output = Result<(), Error>>;
}

/// A value that tasks share, where none has to keep others off. Clones are one and the same. It is lent to a
/// closure so that no borrow can live across an await.
pub trait Value<T>: Clone + 'static {
    fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R;
    fn with_mut<R>(&self, change: impl FnOnce(&mut T) -> R) -> R;

    fn get(&self) -> T
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    fn set(&self, value: T) {
        self.with_mut(|own| *own = value);
    }
}

/// Both clocks. Reading never parks.
pub trait Clock: Clone + 'static {
    /// The monotonic clock.
    fn now(&self) -> Instant;
    /// Wall clock: nanoseconds since the Unix epoch. May jump.
    fn wall(&self) -> i64;
}
