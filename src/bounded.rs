//! Limits for what has none of its own.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};

use crate::config::DISK_TIMEOUT;
use crate::ports::{Code, Context, DirEntry, FifoEnd, Fs, FsCause, FsError, Ports, Runtime};
use crate::quirks::{Quirk, Quirks};

/// What `work` brings, or `None` when it takes longer than `limit`. It is dropped then: a system call
/// that is under way may still have its effect.
pub(crate) async fn within<T>(
    runtime: &impl Runtime,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    within_or_later(runtime, limit, pin!(work)).await.ok()
}

/// As [`within`], but work that takes longer comes back, and can go on.
///
/// # Errors
/// The work that is still under way.
pub(crate) async fn within_or_later<F: Future + Unpin>(
    runtime: &impl Runtime,
    limit: Duration,
    work: F,
) -> Result<F::Output, F> {
    match select(work, pin!(runtime.sleep(limit))).await {
        Either::Left((out, _)) => Ok(out),
        Either::Right((_, work)) => Err(work),
    }
}

/// Ports whose calls to the disk end, without [`Quirk::DiskUnbounded`], when it does not answer. Clones share.
#[derive(Clone)]
pub struct Bounded<P: Ports>(Rc<Parts<P>>);

struct Parts<P: Ports> {
    ports: P,
    fs: BoundedFs<P>,
    patient_fs: BoundedFs<P>,
}

impl<P: Ports> Bounded<P> {
    pub fn new(ports: P, quirks: Quirks) -> Self {
        let limit = (!quirks.has(Quirk::DiskUnbounded)).then_some(DISK_TIMEOUT);
        let fs = |limit| BoundedFs { ports: ports.clone(), limit };
        Bounded(Rc::new(Parts { fs: fs(limit), patient_fs: fs(None), ports }))
    }
}

impl<P: Ports> Ports for Bounded<P> {
    type Runtime = P::Runtime;
    type Clock = P::Clock;
    type Fs = BoundedFs<P>;
    type Containerd = P::Containerd;
    type Nri = P::Nri;
    type Events = P::Events;
    type Metrics = P::Metrics;

    fn runtime(&self) -> &P::Runtime {
        self.0.ports.runtime()
    }

    fn clock(&self) -> &P::Clock {
        self.0.ports.clock()
    }

    fn fs(&self) -> &BoundedFs<P> {
        &self.0.fs
    }

    fn patient_fs(&self) -> &BoundedFs<P> {
        &self.0.patient_fs
    }

    fn containerd(&self) -> &P::Containerd {
        self.0.ports.containerd()
    }

    fn nri(&self) -> &P::Nri {
        self.0.ports.nri()
    }

    fn events(&self) -> &P::Events {
        self.0.ports.events()
    }

    fn metrics(&self) -> &P::Metrics {
        self.0.ports.metrics()
    }
}

/// The file port of [`Bounded`]. A call that takes too long fails with the cause
/// [`Code::DeadlineExceeded`]; what waits for a peer, and not for the disk, waits on.
#[derive(Clone)]
pub struct BoundedFs<P: Ports> {
    ports: P,
    limit: Option<Duration>,
}

impl<P: Ports> BoundedFs<P> {
    fn inner(&self) -> &P::Fs {
        self.ports.fs()
    }

    async fn bound<T>(
        &self,
        op: &'static str,
        path: &str,
        call: impl Future<Output = Result<T, FsError>>,
    ) -> Result<T, FsError> {
        let Some(limit) = self.limit else { return call.await };
        within(self.ports.runtime(), limit, call).await.unwrap_or_else(|| {
            let cause = FsCause::Context(Code::DeadlineExceeded);
            Err(FsError { op, path: path.to_owned(), cause })
        })
    }
}

impl<P: Ports> Fs for BoundedFs<P> {
    type File = <P::Fs as Fs>::File;
    type Fifo = <P::Fs as Fs>::Fifo;

    fn make_dir_all(&self, path: &str, mode: u32) -> impl Future<Output = Result<(), FsError>> {
        self.bound("mkdir", path, self.inner().make_dir_all(path, mode))
    }

    fn make_temp_dir(&self, parent: &str) -> impl Future<Output = Result<String, FsError>> {
        self.bound("mkdir", parent, self.inner().make_temp_dir(parent))
    }

    fn create_temp(
        &self,
        parent: &str,
        prefix: &str,
    ) -> impl Future<Output = Result<(Self::File, String), FsError>> {
        self.bound("open", parent, self.inner().create_temp(parent, prefix))
    }

    fn open_append(
        &self,
        path: &str,
        mode: u32,
    ) -> impl Future<Output = Result<Self::File, FsError>> {
        self.bound("open", path, self.inner().open_append(path, mode))
    }

    fn set_mode(&self, path: &str, mode: u32) -> impl Future<Output = Result<(), FsError>> {
        self.bound("chmod", path, self.inner().set_mode(path, mode))
    }

    fn write(
        &self,
        file: &Self::File,
        data: &[u8],
    ) -> impl Future<Output = Result<usize, FsError>> {
        self.bound("write", "", self.inner().write(file, data))
    }

    fn sync(&self, file: &Self::File) -> impl Future<Output = Result<(), FsError>> {
        self.bound("sync", "", self.inner().sync(file))
    }

    fn sync_dir(&self, path: &str) -> impl Future<Output = Result<(), FsError>> {
        self.bound("sync", path, self.inner().sync_dir(path))
    }

    fn close(&self, file: Self::File) -> impl Future<Output = Result<(), FsError>> {
        self.bound("close", "", self.inner().close(file))
    }

    fn read_file(&self, path: &str) -> impl Future<Output = Result<Vec<u8>, FsError>> {
        self.bound("open", path, self.inner().read_file(path))
    }

    fn read_dir(&self, path: &str) -> impl Future<Output = Result<Vec<DirEntry>, FsError>> {
        self.bound("open", path, self.inner().read_dir(path))
    }

    fn rename(&self, from: &str, to: &str) -> impl Future<Output = Result<(), FsError>> {
        self.bound("rename", to, self.inner().rename(from, to))
    }

    fn remove_file(&self, path: &str) -> impl Future<Output = Result<(), FsError>> {
        self.bound("remove", path, self.inner().remove_file(path))
    }

    fn remove_dir(&self, path: &str) -> impl Future<Output = Result<(), FsError>> {
        self.bound("remove", path, self.inner().remove_dir(path))
    }

    fn unmount_all(&self, path: &str) -> impl Future<Output = Result<(), FsError>> {
        self.bound("unmount", path, self.inner().unmount_all(path))
    }

    fn unmount(&self, path: &str) -> impl Future<Output = Result<(), FsError>> {
        self.bound("unmount", path, self.inner().unmount(path))
    }

    fn remove_tree(&self, path: &str) -> impl Future<Output = Result<(), FsError>> {
        self.bound("unlinkat", path, self.inner().remove_tree(path))
    }

    fn open_fifo(
        &self,
        ctx: &Context,
        path: &str,
        end: FifoEnd,
    ) -> impl Future<Output = Result<Self::Fifo, FsError>> {
        self.bound("open", path, self.inner().open_fifo(ctx, path, end))
    }

    fn read_fifo(&self, fifo: &Self::Fifo) -> impl Future<Output = Result<Vec<u8>, FsError>> {
        self.inner().read_fifo(fifo)
    }

    fn close_fifo(&self, fifo: &Self::Fifo) -> impl Future<Output = Result<(), FsError>> {
        self.bound("close", "", self.inner().close_fifo(fifo))
    }
}
