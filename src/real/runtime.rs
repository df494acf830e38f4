//! Tasks, timers and sharing on tokio, within one thread.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::hash::Hash;
use std::io::Read;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, mpsc};

use super::{SystemClock, within};
use crate::ports::{
    Context, Error, Lock, Name, ReadGuard, Receiver, Runtime, Sender, Signal, Value, WriteGuard,
};

/// Spawns on the `LocalSet` that it is used in. Names are not needed and not kept.
#[derive(Clone, Copy, Debug)]
pub struct TokioRuntime {
    clock: SystemClock,
}

impl TokioRuntime {
    /// `clock`: the one that deadlines are measured with.
    pub fn new(clock: SystemClock) -> Self {
        TokioRuntime { clock }
    }
}

impl Runtime for TokioRuntime {
    type Lock<T: Hash + 'static> = TokioLock<T>;
    type Sender<T: Hash + 'static> = TokioSender<T>;
    type Receiver<T: Hash + 'static> = TokioReceiver<T>;
    type Signal = TokioSignal;
    type Value<T: Hash + 'static> = LocalValue<T>;

    fn spawn(&self, _: Name<'_>, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(duration)
    }

    #[allow(clippy::arc_with_non_send_sync, reason = "tokio's owned guards want an Arc")]
    fn lock<T: Hash + 'static>(&self, _: Name<'_>, value: T) -> TokioLock<T> {
        TokioLock(Arc::new(RwLock::new(value)))
    }

    fn channel<T: Hash + 'static>(
        &self,
        _: Name<'_>,
        capacity: usize,
    ) -> (TokioSender<T>, TokioReceiver<T>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (TokioSender(sender), TokioReceiver { clock: self.clock, receiver })
    }

    fn signal(&self, _: Name<'_>) -> TokioSignal {
        TokioSignal { clock: self.clock, state: Rc::default() }
    }

    fn value<T: Hash + 'static>(&self, value: T) -> LocalValue<T> {
        LocalValue(Rc::new(RefCell::new(value)))
    }

    /// # Panics
    /// When the system has no source of randomness.
    fn unique_id(&self) -> String {
        random_bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Bytes of the system's random number generator.
pub(super) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .expect("the system has a random number generator");
    bytes
}

/// Fair: who waits longest goes first.
pub struct TokioLock<T>(Arc<RwLock<T>>);

impl<T> Clone for TokioLock<T> {
    fn clone(&self) -> Self {
        TokioLock(self.0.clone())
    }
}

pub struct TokioReadGuard<T>(OwnedRwLockReadGuard<T>);

pub struct TokioWriteGuard<T>(RefCell<OwnedRwLockWriteGuard<T>>);

impl<T: 'static> Lock<T> for TokioLock<T> {
    type Read = TokioReadGuard<T>;
    type Write = TokioWriteGuard<T>;

    async fn read(&self) -> TokioReadGuard<T> {
        TokioReadGuard(self.0.clone().read_owned().await)
    }

    async fn write(&self) -> TokioWriteGuard<T> {
        TokioWriteGuard(RefCell::new(self.0.clone().write_owned().await))
    }

    fn peek<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        self.0.try_read().ok().map(|value| look(&value))
    }
}

impl<T> ReadGuard<T> for TokioReadGuard<T> {
    fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.0)
    }
}

impl<T> ReadGuard<T> for TokioWriteGuard<T> {
    fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.0.borrow())
    }
}

impl<T> WriteGuard<T> for TokioWriteGuard<T> {
    fn with_mut<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.0.borrow_mut())
    }
}

/// Shared by the tasks of one thread.
pub struct LocalValue<T>(Rc<RefCell<T>>);

impl<T> Clone for LocalValue<T> {
    fn clone(&self) -> Self {
        LocalValue(self.0.clone())
    }
}

impl<T: 'static> Value<T> for LocalValue<T> {
    fn with<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.0.borrow())
    }

    fn with_mut<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.0.borrow_mut())
    }
}

pub struct TokioSender<T>(mpsc::Sender<T>);

impl<T> Clone for TokioSender<T> {
    fn clone(&self) -> Self {
        TokioSender(self.0.clone())
    }
}

impl<T: 'static> Sender<T> for TokioSender<T> {
    async fn send(&self, value: T) -> Result<(), T> {
        self.0.send(value).await.map_err(|refused| refused.0)
    }

    fn try_send(&self, value: T) -> Result<(), T> {
        self.0.try_send(value).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(value) | mpsc::error::TrySendError::Closed(value) => {
                value
            }
        })
    }
}

pub struct TokioReceiver<T> {
    clock: SystemClock,
    receiver: mpsc::Receiver<T>,
}

impl<T: 'static> Receiver<T> for TokioReceiver<T> {
    async fn recv(&mut self, ctx: &Context) -> Result<Option<T>, Error> {
        within(&self.clock, ctx, self.receiver.recv()).await
    }
}

#[derive(Default)]
struct SignalState {
    set: Cell<bool>,
    waiters: Notify,
}

#[derive(Clone)]
pub struct TokioSignal {
    clock: SystemClock,
    state: Rc<SignalState>,
}

impl Signal for TokioSignal {
    fn set(&self) {
        self.state.set.set(true);
        self.state.waiters.notify_waiters();
    }

    fn is_set(&self) -> bool {
        self.state.set.get()
    }

    async fn wait(&self, ctx: &Context) -> Result<(), Error> {
        // Woken by every `set` from here on, polled or not.
        let notified = self.state.waiters.notified();
        if self.is_set() {
            return Ok(());
        }
        within(&self.clock, ctx, notified).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{Clock, Code};

    fn run(test: impl AsyncFnOnce(TokioRuntime, SystemClock)) {
        let clock = SystemClock::new();
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&tokio, test(TokioRuntime::new(clock), clock));
    }

    const NAME: Name<'static> = Name::new("test", "");

    #[test]
    fn waiting_ends_with_the_context() {
        run(async |runtime, clock| {
            let signal = runtime.signal(NAME);
            let (sender, mut receiver) = runtime.channel::<u8>(NAME, 1);
            let soon = Context::background().with_timeout(clock.now(), Duration::from_millis(5));
            assert_eq!(signal.wait(&soon).await, Err(Error::bare(Code::DeadlineExceeded)));
            assert_eq!(receiver.recv(&soon).await, Err(Error::bare(Code::DeadlineExceeded)));

            let (ctx, cancel) = Context::background().with_cancel();
            runtime.spawn(NAME, async move { cancel.cancel(clock.now()) });
            assert_eq!(receiver.recv(&ctx).await, Err(Error::bare(Code::Cancelled)));

            let background = Context::background();
            assert_eq!(sender.try_send(1), Ok(()));
            assert_eq!(sender.try_send(2), Err(2));
            assert_eq!(receiver.recv(&background).await, Ok(Some(1)));
            drop(sender);
            assert_eq!(receiver.recv(&background).await, Ok(None));

            let later = signal.clone();
            runtime.spawn(NAME, async move { later.set() });
            assert_eq!(signal.wait(&background).await, Ok(()));
            assert_eq!(signal.wait(&soon).await, Ok(()));
        });
    }

    #[test]
    fn a_waiting_writer_goes_before_later_readers() {
        run(async |runtime, _| {
            let lock = runtime.lock(NAME, Vec::new());
            let first = lock.read().await;
            assert_eq!(lock.peek(Vec::len), Some(0));
            let writer = lock.clone();
            runtime.spawn(NAME, async move { writer.write().await.with_mut(|list| list.push(1)) });
            tokio::task::yield_now().await;
            assert_eq!(lock.peek(Vec::len), None);
            let reader = lock.clone();
            runtime.spawn(NAME, async move { drop(first) });
            assert_eq!(reader.read().await.with(Vec::clone), [1]);
        });
    }

    #[test]
    fn ids_are_long_and_differ() {
        run(async |runtime, _| {
            let id = runtime.unique_id();
            assert_eq!(id.len(), 64);
            assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()));
            assert_ne!(id, runtime.unique_id());
        });
    }
}
