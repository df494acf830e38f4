//! The handle of a container's record (spec sections 2.1 to 2.3).

use std::rc::Rc;

use super::Task;
use crate::io::ContainerIo;
use crate::ports::{
    self, Code, Containerd, Context, CreateTask, Error, IoPaths, Ports, Spec, TaskInfo,
};
use crate::quirks::{Quirk, Quirks};
use crate::quote::quote;

/// What the caller wants of a new task (spec section 1.1 step 10).
#[derive(Clone, Debug, Default)]
pub struct TaskOptions {
    pub no_pivot_root: bool,
    /// Empty for the runtime's default.
    pub runtime_path: String,
}

/// A container's record in the metadata store, as the client library hands it out. Clones share.
pub struct Record<P: Ports> {
    ports: P,
    quirks: Quirks,
    cached: Rc<ports::Record>,
}

impl<P: Ports> Clone for Record<P> {
    fn clone(&self) -> Self {
        Record { ports: self.ports.clone(), quirks: self.quirks, cached: self.cached.clone() }
    }
}

impl<P: Ports> Record<P> {
    /// A handle to the stored record with the id of `cached`. Of a record only limits and annotations of its
    /// spec change after its creation, so the rest of what is cached stays true as long as the record exists.
    pub fn new(ports: P, quirks: Quirks, cached: ports::Record) -> Self {
        Record { ports, quirks, cached: Rc::new(cached) }
    }

    pub fn id(&self) -> &str {
        &self.cached.id
    }

    /// The record as the handle knows it, without asking the store.
    pub fn cached(&self) -> &ports::Record {
        &self.cached
    }

    /// Reads the record from the store.
    ///
    /// # Errors
    /// NotFound when it is gone; what the store answers.
    pub async fn info(&self, ctx: &Context) -> Result<Rc<ports::Record>, Error> {
        let record = self.ports.containerd().record_get(ctx, self.id()).await;
        record.map_err(|e| e.across_rpc(self.quirks))
    }

    /// The OCI spec, read from the store.
    ///
    /// # Errors
    /// As [`Record::info`].
    pub async fn spec(&self, ctx: &Context) -> Result<Spec, Error> {
        Ok(self.info(ctx).await?.spec.clone())
    }

    /// Puts another spec into the store.
    ///
    /// # Errors
    /// As [`Record::info`].
    pub async fn set_spec(&self, ctx: &Context, spec: Spec) -> Result<(), Error> {
        self.info(ctx).await?;
        let updated = self.ports.containerd().record_update(ctx, self.id(), spec).await;
        updated.map_err(|e| e.across_rpc(self.quirks))
    }

    /// Puts an annotation into the spec in the store. `key` must be new.
    ///
    /// # Errors
    /// As [`Record::info`].
    pub async fn annotate(&self, ctx: &Context, key: &str, value: String) -> Result<(), Error> {
        let mut spec = self.spec(ctx).await?;
        spec.annotations.push((key.to_owned(), value));
        spec.annotations.sort();
        self.set_spec(ctx, spec).await
    }

    /// Deletes the record after its snapshot (spec section 2.1).
    ///
    /// # Errors
    /// FailedPrecondition while the task service knows a task, whatever its state; errors of the
    /// record and of the snapshot, whose NotFound is passed over.
    pub async fn delete_with_snapshot(&self, ctx: &Context) -> Result<(), Error> {
        if self.task(ctx, None).await.is_ok() {
            return Err(Error::new(
                Code::FailedPrecondition,
                format!("cannot delete running task {}: failed precondition", self.id()),
            ));
        }
        let record = self.info(ctx).await?;
        if !record.snapshot_key.is_empty() {
            if record.snapshotter.is_empty() {
                return Err(Error::new(
                    Code::InvalidArgument,
                    "container.Snapshotter must be set to cleanup rootfs snapshot: invalid argument",
                ));
            }
            match self.ports.containerd().snapshot_remove(ctx, &record.snapshot_key).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        let deleted = self.ports.containerd().record_delete(ctx, self.id()).await;
        deleted.map_err(|e| e.across_rpc(self.quirks))
    }

    /// Creates the task (spec section 2.2). `make_io` runs before anything else. When a later step
    /// fails, the IO that it returned is cancelled and closed.
    ///
    /// # Errors
    /// That of `make_io` verbatim; of the record, the snapshot and the task service.
    pub async fn new_task(
        &self,
        ctx: &Context,
        make_io: impl AsyncFnOnce() -> Result<Rc<ContainerIo<P>>, Error>,
        options: TaskOptions,
    ) -> Result<Task<P>, Error> {
        let io = make_io().await?;
        match self.create_task(ctx, &io, options).await {
            Ok(pid) => Ok(self.handle(pid, Some(io))),
            Err(error) => {
                io.cancel();
                io.close().await;
                Err(error)
            }
        }
    }

    async fn create_task(
        &self,
        ctx: &Context,
        io: &ContainerIo<P>,
        options: TaskOptions,
    ) -> Result<u32, Error> {
        let mut request =
            CreateTask { id: self.id().to_owned(), io: io.paths(), ..CreateTask::default() };
        let record = self.info(ctx).await?;
        if !record.snapshot_key.is_empty() {
            if record.snapshotter.is_empty() {
                return Err(Error::new(
                    Code::InvalidArgument,
                    "unable to resolve rootfs mounts without snapshotter on container: \
                     invalid argument",
                ));
            }
            let containerd = self.ports.containerd();
            request.rootfs = containerd.snapshot_mounts(ctx, &record.snapshot_key).await?;
            let spec = &self.info(ctx).await?.spec;
            if !spec.mount_label.is_empty() {
                let option = format!("context={}", quote(&spec.mount_label));
                for mount in &mut request.rootfs {
                    mount.options.push(option.clone());
                }
            }
        }
        request.no_pivot_root = options.no_pivot_root;
        if !self.quirks.has(Quirk::RuntimePathDropped) {
            request.runtime_path = options.runtime_path;
        }
        let created = self.ports.containerd().task_create(ctx, request).await;
        created.map_err(|e| e.across_rpc(self.quirks))
    }

    /// Looks the task up (spec section 2.3). `io` is attached to the handle unless the task service
    /// reports the task's status as unknown.
    ///
    /// # Errors
    /// NotFound as `no running task found: …`; others verbatim.
    pub async fn task(
        &self,
        ctx: &Context,
        io: Option<Rc<ContainerIo<P>>>,
    ) -> Result<Task<P>, Error> {
        let info = self.find_task(ctx).await?;
        let io = io.filter(|_| info.status != ports::TaskStatus::Unknown);
        Ok(self.handle(info.pid, io))
    }

    /// As [`Record::task`], with the IO that `attach` makes of the task's pipes.
    ///
    /// # Errors
    /// Those of `attach` too, verbatim.
    pub async fn task_attaching(
        &self,
        ctx: &Context,
        attach: impl AsyncFnOnce(IoPaths) -> Result<Rc<ContainerIo<P>>, Error>,
    ) -> Result<Task<P>, Error> {
        let info = self.find_task(ctx).await?;
        let io = match info.status {
            ports::TaskStatus::Unknown => None,
            _ => Some(attach(info.io).await?),
        };
        Ok(self.handle(info.pid, io))
    }

    async fn find_task(&self, ctx: &Context) -> Result<TaskInfo, Error> {
        let got = self.ports.containerd().task_get(ctx, self.id()).await;
        got.map_err(|error| {
            let error = error.across_rpc(self.quirks);
            if error.is_not_found() { error.wrap("no running task found") } else { error }
        })
    }

    /// A handle to the task of this record that is known to exist, without asking for it.
    pub(crate) fn handle(&self, pid: u32, io: Option<Rc<ContainerIo<P>>>) -> Task<P> {
        Task::new(self.ports.clone(), self.quirks, self.id().to_owned(), pid, io)
    }
}
