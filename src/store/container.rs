//! The container object, and the store of all of them (spec sections 3.2 and 3.3).

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::rc::Rc;

use super::{LabelStore, Metadata, PrefixIndex, StatusStorage};
use crate::client::Record;
use crate::cri::ContainerState;
use crate::io::ContainerIo;
use crate::ports::{
    Code, Context, Error, Lock, Name, Ports, ReadGuard, Runtime, Signal, Value, WriteGuard,
};
use crate::quirks::{Quirk, Quirks};
use crate::quote::quote;

/// A container as the service knows it. Clones share everything.
pub struct Container<P: Ports>(Rc<Parts<P>>);

/// What a container consists of.
pub struct Parts<P: Ports> {
    pub meta: Metadata,
    pub status: StatusStorage<P>,
    pub record: Record<P>,
    /// See [`Container::io`].
    io: <P::Runtime as Runtime>::Value<Option<Rc<ContainerIo<P>>>>,
    /// Set once the end is on disk.
    pub stopped: <P::Runtime as Runtime>::Signal,
    /// Set when clients were told of the end, or are about to be.
    pub end_told: <P::Runtime as Runtime>::Signal,
    /// Set when the stop signal was sent, or is about to be.
    pub stop_signal_sent: <P::Runtime as Runtime>::Signal,
    /// Set when the one start that claimed the container is over, one way or the other.
    pub start_over: <P::Runtime as Runtime>::Signal,
    /// The number of the last stop that found nothing to stop; see
    /// `Shared::stops`.
    pub last_stop: <P::Runtime as Runtime>::Value<u64>,
}

/// By its id: what of it changes is guarded by itself.
impl<P: Ports> Hash for Container<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl<P: Ports> Clone for Container<P> {
    fn clone(&self) -> Self {
        Container(self.0.clone())
    }
}

impl<P: Ports> Deref for Container<P> {
    type Target = Parts<P>;

    fn deref(&self) -> &Parts<P> {
        &self.0
    }
}

impl<P: Ports> Container<P> {
    /// `state` is what the status says; a container that has exited counts as stopped from the
    /// beginning.
    pub fn new(
        ports: &P,
        meta: Metadata,
        status: StatusStorage<P>,
        state: ContainerState,
        record: Record<P>,
        io: Option<Rc<ContainerIo<P>>>,
    ) -> Self {
        let runtime = ports.runtime();
        let stopped = runtime.signal(Name::new("stopped", &meta.id));
        let stop_signal_sent = runtime.signal(Name::new("stop-signal-sent", &meta.id));
        if state == ContainerState::Exited {
            stopped.set();
        }
        let start_over = runtime.signal(Name::new("start-over", &meta.id));
        let end_told = runtime.signal(Name::new("end-told", &meta.id));
        Container(Rc::new(Parts {
            meta,
            status,
            record,
            io: runtime.value(io),
            stopped,
            end_told,
            stop_signal_sent,
            start_over,
            last_stop: runtime.value(0),
        }))
    }

    pub fn id(&self) -> &str {
        &self.meta.id
    }

    /// `None` only for a container that had ended, or was not understood, when the daemon came up.
    pub fn io(&self) -> Option<Rc<ContainerIo<P>>> {
        self.io.get()
    }

    /// What it turned out to have after the daemon had come up.
    pub fn set_io(&self, io: Option<Rc<ContainerIo<P>>>) {
        self.io.set(io);
    }

    /// Waits until its end is on disk.
    ///
    /// # Errors
    /// `wait container …`: the context ended first.
    pub async fn wait_stopped(&self, ctx: &Context) -> Result<(), Error> {
        let stopped = self.stopped.wait(ctx).await;
        stopped.map_err(|e| e.wrap(format!("wait container {}", quote(self.id()))))
    }
}

struct Containers<P: Ports> {
    by_id: BTreeMap<String, Container<P>>,
    index: PrefixIndex,
    labels: LabelStore,
}

impl<P: Ports> Hash for Containers<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Containers { by_id, index, labels } = self;
        (by_id, index, labels).hash(state);
    }
}

impl<P: Ports> Containers<P> {
    fn get(&self, prefix: &str) -> Result<&Container<P>, Error> {
        let id = self.index.get(prefix)?;
        self.by_id.get(id).ok_or_else(|| Error::bare(Code::NotFound))
    }
}

/// All containers, by id or unique prefix of one. Clones share.
pub struct ContainerStore<P: Ports>(<P::Runtime as Runtime>::Lock<Containers<P>>);

impl<P: Ports> Clone for ContainerStore<P> {
    fn clone(&self) -> Self {
        ContainerStore(self.0.clone())
    }
}

impl<P: Ports> ContainerStore<P> {
    pub fn new(ports: &P) -> Self {
        let empty = Containers {
            by_id: BTreeMap::new(),
            index: PrefixIndex::default(),
            labels: LabelStore::default(),
        };
        ContainerStore(ports.runtime().lock(Name::new("containers", ""), empty))
    }

    /// # Errors
    /// AlreadyExists when the id is there; those of the process label and of the index.
    pub async fn add(&self, container: Container<P>) -> Result<(), Error> {
        self.0.write().await.with_mut(|containers| {
            let id = container.id().to_owned();
            if containers.by_id.contains_key(&id) {
                return Err(Error::bare(Code::AlreadyExists));
            }
            // Labels are given with the containers, none is made here: no level needs to be kept
            // from a generator.
            containers.labels.reserve(&container.meta.process_label)?;
            containers.index.add(&id)?;
            containers.by_id.insert(id, container);
            Ok(())
        })
    }

    /// The container whose id begins with `prefix`.
    ///
    /// # Errors
    /// NotFound; of class unknown: an empty prefix, and one that several ids begin with.
    pub async fn get(&self, prefix: &str) -> Result<Container<P>, Error> {
        self.0.read().await.with(|containers| containers.get(prefix).cloned())
    }

    /// All containers, ordered by id.
    pub async fn list(&self) -> Vec<Container<P>> {
        self.0.read().await.with(|containers| containers.by_id.values().cloned().collect())
    }

    /// Forgets the container, and closes its IO. What the prefix does not resolve to is passed over.
    pub async fn delete(&self, prefix: &str, quirks: Quirks) {
        let guard = self.0.write().await;
        let Ok(container) = guard.with(|containers| containers.get(prefix).cloned()) else {
            return;
        };
        let close = async || {
            if let Some(io) = container.io() {
                io.close().await;
            }
        };
        let locked = quirks.has(Quirk::StoreLockedForPipes);
        if locked {
            close().await;
        }
        guard.with_mut(|containers| {
            containers.labels.release(&container.meta.process_label);
            containers.index.delete(container.id());
            containers.by_id.remove(container.id());
        });
        drop(guard);
        if !locked {
            close().await;
        }
    }

    /// For observers outside the service: `None` when there is no such container, or the store is
    /// being changed.
    pub fn peek<R>(&self, id: &str, look: impl FnOnce(&Container<P>) -> R) -> Option<R> {
        self.0.peek(|containers| containers.by_id.get(id).map(look)).flatten()
    }
}
