//! Who gets a stream's output.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::mem;

use super::pipe::PipeWriter;
use crate::ports::{Error, Lock, Name, Ports, Runtime, WriteGuard};

/// Takes a stream's output. Dropping it is its end.
pub enum LogWriter<P: Ports> {
    /// Logging is off.
    Discard,
    /// A logger reads at the other end.
    Logger(PipeWriter<P>),
}

impl<P: Ports> LogWriter<P> {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self {
            LogWriter::Discard => Ok(()),
            LogWriter::Logger(pipe) => pipe.write(bytes).await,
        }
    }
}

struct Group<P: Ports> {
    /// `None` once the stream has ended.
    writers: Option<BTreeMap<String, LogWriter<P>>>,
}

/// By who is in it: what goes through a logger's pipe is in its channels.
impl<P: Ports> Hash for Group<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let writers = self.writers.iter().flatten();
        let writers = writers.map(|(key, writer)| (key, mem::discriminant(writer)));
        (self.writers.is_some(), writers.collect::<Vec<_>>()).hash(state);
    }
}

/// Gives everything to each of its writers in turn, under one lock.
pub(super) struct WriterGroup<P: Ports>(<P::Runtime as Runtime>::Lock<Group<P>>);

impl<P: Ports> WriterGroup<P> {
    pub(super) fn new(ports: &P, name: Name<'_>) -> Self {
        WriterGroup(ports.runtime().lock(name, Group { writers: Some(BTreeMap::new()) }))
    }

    /// Stores a writer, or drops it when the group is closed. Returns the one it replaces.
    pub(super) async fn put(&self, key: String, writer: LogWriter<P>) -> Option<LogWriter<P>> {
        let guard = self.0.write().await;
        guard.with_mut(|group| group.writers.as_mut()?.insert(key, writer))
    }

    /// Waits for every writer. One that fails is dropped.
    ///
    /// # Errors
    /// When no writer is left.
    pub(super) async fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        let guard = self.0.write().await;
        // Taken out, as no borrow of a guarded value can outlive a wait; the lock is held meanwhile.
        let mut writers = guard.with_mut(|group| group.writers.as_mut().map(mem::take));
        for (key, mut writer) in writers.take().unwrap_or_default() {
            if writer.write(bytes).await.is_ok() {
                writers.get_or_insert_default().insert(key, writer);
            }
        }
        match writers {
            None => Err(Error::unknown("writer group is empty")),
            Some(left) => {
                guard.with_mut(|group| group.writers = Some(left));
                Ok(())
            }
        }
    }

    /// Ends every writer, and those to come.
    pub(super) async fn close(&self) {
        let guard = self.0.write().await;
        guard.with_mut(|group| group.writers = None);
    }
}
