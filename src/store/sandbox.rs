//! Sandboxes and their store (spec section 3.4).

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::rc::Rc;

use super::{PrefixIndex, SandboxMetadata};
use crate::client::Record;
use crate::cri::SandboxState;
use crate::ports::{Code, Error, Lock, Name, Ports, ReadGuard, Runtime, Signal, WriteGuard};

/// A sandbox's status; in memory only. Times are wall-clock nanoseconds since the Unix epoch, 0 when
/// unset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SandboxStatus {
    pub pid: u32,
    pub created_at: i64,
    pub exited_at: i64,
    pub exit_status: i32,
    pub state: SandboxState,
}

/// A sandbox as the service knows it. Clones share everything.
pub struct Sandbox<P: Ports>(Rc<Parts<P>>);

/// What a sandbox consists of.
pub struct Parts<P: Ports> {
    pub meta: SandboxMetadata,
    pub record: Record<P>,
    /// Set once the pause container's end was handled.
    pub stopped: <P::Runtime as Runtime>::Signal,
    status: <P::Runtime as Runtime>::Lock<SandboxStatus>,
}

/// By its id: what of it changes is guarded by itself.
impl<P: Ports> Hash for Sandbox<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl<P: Ports> Clone for Sandbox<P> {
    fn clone(&self) -> Self {
        Sandbox(self.0.clone())
    }
}

impl<P: Ports> Deref for Sandbox<P> {
    type Target = Parts<P>;

    fn deref(&self) -> &Parts<P> {
        &self.0
    }
}

impl<P: Ports> Sandbox<P> {
    /// One that is not ready counts as stopped from the beginning.
    pub fn new(ports: &P, meta: SandboxMetadata, status: SandboxStatus, record: Record<P>) -> Self {
        let stopped = ports.runtime().signal(Name::new("sandbox-stopped", &meta.id));
        if status.state == SandboxState::NotReady {
            stopped.set();
        }
        let status = ports.runtime().lock(Name::new("sandbox-status", &meta.id), status);
        Sandbox(Rc::new(Parts { meta, record, stopped, status }))
    }

    /// The same sandbox, described otherwise.
    #[must_use]
    pub fn with_metadata(&self, meta: SandboxMetadata) -> Self {
        Sandbox(Rc::new(Parts {
            meta,
            record: self.record.clone(),
            stopped: self.stopped.clone(),
            status: self.status.clone(),
        }))
    }

    pub fn id(&self) -> &str {
        &self.meta.id
    }

    pub async fn status(&self) -> SandboxStatus {
        self.status.read().await.with(SandboxStatus::clone)
    }

    /// # Errors
    /// That of `change`, verbatim; nothing has changed then.
    pub async fn update(
        &self,
        change: impl FnOnce(SandboxStatus) -> Result<SandboxStatus, Error>,
    ) -> Result<(), Error> {
        let guard = self.status.write().await;
        let new = change(guard.with(SandboxStatus::clone))?;
        guard.with_mut(|status| *status = new);
        Ok(())
    }
}

struct Sandboxes<P: Ports> {
    by_id: BTreeMap<String, Sandbox<P>>,
    index: PrefixIndex,
}

impl<P: Ports> Hash for Sandboxes<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Sandboxes { by_id, index } = self;
        (by_id, index).hash(state);
    }
}

impl<P: Ports> Sandboxes<P> {
    fn get(&self, prefix: &str) -> Result<&Sandbox<P>, Error> {
        let id = self.index.get(prefix)?;
        self.by_id.get(id).ok_or_else(|| Error::bare(Code::NotFound))
    }
}

/// All sandboxes, by id or unique prefix of one. Clones share.
pub struct SandboxStore<P: Ports>(<P::Runtime as Runtime>::Lock<Sandboxes<P>>);

impl<P: Ports> Clone for SandboxStore<P> {
    fn clone(&self) -> Self {
        SandboxStore(self.0.clone())
    }
}

impl<P: Ports> SandboxStore<P> {
    pub fn new(ports: &P) -> Self {
        let empty = Sandboxes { by_id: BTreeMap::new(), index: PrefixIndex::default() };
        SandboxStore(ports.runtime().lock(Name::new("sandboxes", ""), empty))
    }

    /// # Errors
    /// AlreadyExists when the id is there; those of the index.
    pub async fn add(&self, sandbox: Sandbox<P>) -> Result<(), Error> {
        self.0.write().await.with_mut(|sandboxes| {
            let id = sandbox.id().to_owned();
            if sandboxes.by_id.contains_key(&id) {
                return Err(Error::bare(Code::AlreadyExists));
            }
            sandboxes.index.add(&id)?;
            sandboxes.by_id.insert(id, sandbox);
            Ok(())
        })
    }

    /// The sandbox whose id begins with `prefix`.
    ///
    /// # Errors
    /// NotFound; of class unknown: an empty prefix, and one that several ids begin with.
    pub async fn get(&self, prefix: &str) -> Result<Sandbox<P>, Error> {
        self.0.read().await.with(|sandboxes| sandboxes.get(prefix).cloned())
    }

    /// All sandboxes, ordered by id.
    pub async fn list(&self) -> Vec<Sandbox<P>> {
        self.0.read().await.with(|sandboxes| sandboxes.by_id.values().cloned().collect())
    }

    /// Forgets the sandbox. What the prefix does not resolve to is passed over.
    pub async fn delete(&self, prefix: &str) {
        self.0.write().await.with_mut(|sandboxes| {
            if let Ok(id) = sandboxes.index.get(prefix).map(str::to_owned) {
                sandboxes.index.delete(&id);
                sandboxes.by_id.remove(&id);
            }
        });
    }
}
