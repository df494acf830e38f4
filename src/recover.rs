//! Recovery of what the node holds when the daemon comes up (spec section 8).

use std::rc::Rc;

use crate::client::{Record, WaitChannel};
use crate::config::{Config, LOAD_TIMEOUT, UNKNOWN_EXIT_CODE, UNKNOWN_EXIT_REASON};
use crate::cri::{ContainerState, SandboxState};
use crate::io::{ContainerIo, create_loggers};
use crate::ports::{
    self, Clock, Containerd, Context, Errno, Error, Fs, IoPaths, Name, Ports, Receiver, Runtime,
    Sender, TaskInfo, TaskStatus,
};
use crate::quirks::Quirk;
use crate::quote::quote;
use crate::service::Service;
use crate::store::{
    Container, Metadata, Sandbox, SandboxMetadata, SandboxStatus, Status, StatusStorage,
};
use tracing::{debug, error, warn};

/// The label by which the records of containers and of sandboxes are told apart.
pub(crate) const KIND_LABEL: &str = "io.cri-containerd.kind";

#[derive(Clone, Copy)]
enum Kind {
    Sandbox,
    Container,
}

/// An exit that is waited for, and the pid of the process that it will be of.
struct Watch<P: Ports> {
    pid: u32,
    exit: WaitChannel<P>,
}

impl<P: Ports> Service<P> {
    /// Takes up the sandboxes and containers of the node, and removes the directories of those that are
    /// not on record any more.
    ///
    /// # Errors
    /// The records cannot be listed; a container cannot be added to the store, or its name is taken;
    /// a directory of directories cannot be read. The daemon does not come up then.
    pub(crate) async fn recover(&self) -> Result<(), Error> {
        let ctx = Context::background();
        let sandboxes = self
            .records(&ctx, "sandbox")
            .await
            .map_err(|e| e.wrap("failed to list sandbox containers"))?;
        self.load_all(&ctx, Kind::Sandbox, &sandboxes).await?;
        let containers = self
            .records(&ctx, "container")
            .await
            .map_err(|e| e.wrap("failed to list containers"))?;
        self.load_all(&ctx, Kind::Container, &containers).await?;
        let Config { root_dir, state_dir, .. } = &self.config;
        for (records, base, what) in [
            (&sandboxes, format!("{root_dir}/sandboxes"), "sandbox"),
            (&sandboxes, format!("{state_dir}/sandboxes"), "volatile sandbox"),
            (&containers, format!("{root_dir}/containers"), "container"),
            (&containers, format!("{state_dir}/containers"), "volatile container"),
        ] {
            self.remove_orphans(records, &base)
                .await
                .map_err(|e| e.wrap(format!("failed to cleanup orphaned {what} directories")))?;
        }
        Ok(())
    }

    async fn records(&self, ctx: &Context, kind: &str) -> Result<Vec<Rc<ports::Record>>, Error> {
        let listed = self.ports.containerd().record_list(ctx, (KIND_LABEL, kind)).await;
        listed.map_err(|error| error.across_rpc(self.quirks))
    }

    /// Loads all of them at once, and waits for the last. The first error ends the others' context.
    async fn load_all(
        &self,
        ctx: &Context,
        kind: Kind,
        records: &[Rc<ports::Record>],
    ) -> Result<(), Error> {
        let (ctx, cancel) = ctx.with_cancel();
        let runtime = self.ports.runtime();
        let room = records.len().max(1);
        let (sender, mut loaded) = runtime.channel(Name::new("recovered", ""), room);
        for stored in records {
            let record = Record::new(self.ports.clone(), self.quirks, (**stored).clone());
            let (service, ctx, sender) = (self.clone(), ctx.clone(), sender.clone());
            runtime.spawn(Name::new("recover", &stored.id), async move {
                let result = match kind {
                    Kind::Sandbox => service.recover_sandbox(&ctx, record).await,
                    Kind::Container => service.recover_container(&ctx, record).await,
                };
                // There is room for the result of each.
                let _ = sender.try_send(result);
            });
        }
        let mut first = Ok(());
        for _ in records {
            let result = loaded.recv(&Context::background()).await.ok().flatten();
            if let Some(Err(error)) = result
                && first.is_ok()
            {
                first = Err(error);
                cancel.cancel(self.ports.clock().now());
            }
        }
        first
    }

    async fn recover_sandbox(&self, ctx: &Context, record: Record<P>) -> Result<(), Error> {
        let id = record.id().to_owned();
        let (sandbox, watch) = match self.load_sandbox(ctx, record).await {
            Ok(loaded) => loaded,
            Err(error) => {
                error!(%error, "Failed to load sandbox {}", quote(&id));
                return Ok(());
            }
        };
        self.sandboxes
            .add(sandbox)
            .await
            .map_err(|e| e.wrap(format!("failed to add sandbox {} to store", quote(&id))))?;
        if let Some(Watch { pid, exit }) = watch {
            self.start_sandbox_exit_monitor(Context::background(), &id, pid, exit);
        }
        Ok(())
    }

    async fn recover_container(&self, ctx: &Context, record: Record<P>) -> Result<(), Error> {
        let id = record.id().to_owned();
        let (container, watch) = match self.load_container(ctx, record).await {
            Ok(loaded) => loaded,
            Err(error) => {
                error!(%error, "Failed to load container {}", quote(&id));
                return Ok(());
            }
        };
        debug!("Loaded container {}", quote(&id));
        let name = container.meta.name.clone();
        self.containers
            .add(container)
            .await
            .map_err(|e| e.wrap(format!("failed to add container {} to store", quote(&id))))?;
        if let Some(Watch { pid, exit }) = watch {
            self.start_container_exit_monitor(Context::background(), &id, pid, exit);
        }
        self.names
            .reserve(&name, &id)
            .await
            .map_err(|e| e.wrap(format!("failed to reserve container name {}", quote(&name))))
    }

    /// The content of the record's extension of this name, read from the store.
    async fn extension(
        &self,
        ctx: &Context,
        record: &Record<P>,
        name: &str,
    ) -> Result<String, Error> {
        let info =
            record.info(ctx).await.map_err(|e| e.wrap("failed to get container extensions"))?;
        let found = info.extensions.iter().find(|(known, _)| known == name);
        let content = found.map(|(_, content)| content.clone());
        content
            .ok_or_else(|| Error::unknown(format!("metadata extension {} not found", quote(name))))
    }

    fn load_context(&self, ctx: &Context) -> Context {
        ctx.with_timeout(self.ports.clock().now(), LOAD_TIMEOUT)
    }

    /// Spec section 8.3. With [`Quirk::ExitMonitorBeforeStore`] the exit is watched for already;
    /// else it is to be.
    async fn load_sandbox(
        &self,
        ctx: &Context,
        record: Record<P>,
    ) -> Result<(Sandbox<P>, Option<Watch<P>>), Error> {
        let ctx = self.load_context(ctx);
        let extension = self.extension(&ctx, &record, SandboxMetadata::EXTENSION).await?;
        let meta = SandboxMetadata::decode(extension.as_bytes()).map_err(|e| {
            e.wrap(format!(
                "failed to unmarshal metadata extension {}",
                quote(SandboxMetadata::EXTENSION)
            ))
        })?;
        let mut status = SandboxStatus {
            pid: 0,
            created_at: 0,
            exited_at: 0,
            exit_status: 0,
            state: SandboxState::Unknown,
        };
        let mut watch = None;
        if let Err(error) = self.load_sandbox_status(&ctx, &record, &mut status, &mut watch).await {
            error!(%error, "Failed to load sandbox status for {}", quote(record.id()));
        }
        if self.quirks.has(Quirk::ExitMonitorBeforeStore)
            && let Some(Watch { pid, exit }) = watch.take()
        {
            self.start_sandbox_exit_monitor(Context::background(), record.id(), pid, exit);
        }
        Ok((Sandbox::new(&self.ports, meta, status, record), watch))
    }

    async fn load_sandbox_status(
        &self,
        ctx: &Context,
        record: &Record<P>,
        status: &mut SandboxStatus,
        watch: &mut Option<Watch<P>>,
    ) -> Result<(), Error> {
        let info =
            record.info(ctx).await.map_err(|e| e.wrap("failed to get sandbox container info"))?;
        status.created_at = info.created_at;
        let task = match record.task(ctx, None).await {
            Ok(task) => Some(task),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.wrap("failed to load task")),
        };
        let found = match task {
            None => None,
            Some(task) => known_status(task.info(ctx).await)?.map(|info| (task, info)),
        };
        status.state = match found {
            None => SandboxState::NotReady,
            Some((task, TaskInfo { status: TaskStatus::Running, .. })) => {
                status.pid = task.pid();
                *watch = Some(Watch { pid: task.pid(), exit: task.wait(&Context::background()) });
                SandboxState::Ready
            }
            Some((task, _)) => {
                gone_is_fine(task.delete_with_kill(ctx).await)?;
                SandboxState::NotReady
            }
        };
        Ok(())
    }

    /// Spec section 8.2. The watch as in [`Service::load_sandbox`].
    async fn load_container(
        &self,
        ctx: &Context,
        record: Record<P>,
    ) -> Result<(Container<P>, Option<Watch<P>>), Error> {
        let id = record.id().to_owned();
        let ctx = self.load_context(ctx);
        // 1
        let extension = self.extension(&ctx, &record, Metadata::EXTENSION).await?;
        let meta = Metadata::decode(extension.as_bytes()).map_err(|e| {
            e.wrap(format!("failed to unmarshal metadata extension {}", quote(Metadata::EXTENSION)))
        })?;
        // 2
        let root = self.config.container_root_dir(&id);
        let mut status = match StatusStorage::load(&self.ports, &root).await {
            Ok(status) => status,
            Err(error) => {
                warn!(%error, "Failed to load container status for {}", quote(&id));
                Status {
                    exit_code: UNKNOWN_EXIT_CODE,
                    reason: UNKNOWN_EXIT_REASON.into(),
                    unknown: true,
                    ..Status::default()
                }
            }
        };
        // 3 to 5
        let mut io = None;
        let mut watch = None;
        let loaded = self.load_status(&ctx, &record, &meta, &mut status, &mut io, &mut watch).await;
        // 6
        if let Err(error) = loaded {
            error!(%error, "Failed to load container status for {}", quote(&id));
            status.unknown = true;
        }
        // 7
        let state = status.state();
        let storage = StatusStorage::store(&self.ports, self.quirks, &root, &id, status).await?;
        Ok((Container::new(&self.ports, meta, storage, state, record, io), watch))
    }

    /// Brings the status that was read from the disk up to what became of the task since.
    async fn load_status(
        &self,
        ctx: &Context,
        record: &Record<P>,
        meta: &Metadata,
        status: &mut Status,
        io: &mut Option<Rc<ContainerIo<P>>>,
        watch: &mut Option<Watch<P>>,
    ) -> Result<(), Error> {
        let id = record.id();
        // 3
        let attach = async |paths: IoPaths| {
            let attached = self.attach_io(meta, paths).await?;
            *io = Some(attached.clone());
            Ok(attached)
        };
        let task = match record.task_attaching(ctx, attach).await {
            Ok(task) => Some(task),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.wrap("failed to load task")),
        };
        let found = match task {
            None => None,
            Some(task) => known_status(task.info(ctx).await)?.map(|info| (task, info)),
        };
        // 4
        let Some((task, info)) = found else {
            match status.state() {
                ContainerState::Created => *io = Some(self.new_io(meta).await?),
                ContainerState::Running => {
                    status.finished_at = self.ports.clock().wall();
                    status.exit_code = UNKNOWN_EXIT_CODE;
                    if status.reason.is_empty() || self.quirks.has(Quirk::ReasonOverwritten) {
                        status.reason = UNKNOWN_EXIT_REASON.into();
                    }
                }
                ContainerState::Exited | ContainerState::Unknown => {}
            }
            return Ok(());
        };
        // 5
        let state = status.state();
        let unexpected = |word: &str| {
            let state = quote(state.name());
            Error::unknown(format!("unexpected container state for {word} task: {state}"))
        };
        match info.status {
            TaskStatus::Created => {
                gone_is_fine(task.delete_with_kill(ctx).await)?;
                if state != ContainerState::Created {
                    return Err(unexpected("created"));
                }
                if !self.quirks.has(Quirk::AttachedPipesClosed) {
                    *io = Some(self.new_io(meta).await?);
                }
            }
            TaskStatus::Running => {
                match state {
                    ContainerState::Exited => return Err(unexpected("running")),
                    ContainerState::Running => {}
                    // The daemon died between the task's start and the checkpoint.
                    ContainerState::Created | ContainerState::Unknown => {
                        status.started_at = self.ports.clock().wall();
                        status.pid = task.pid();
                    }
                }
                let exit = task.wait(&Context::background());
                if self.quirks.has(Quirk::ExitMonitorBeforeStore) {
                    self.start_container_exit_monitor(Context::background(), id, status.pid, exit);
                } else {
                    *watch = Some(Watch { pid: status.pid, exit });
                }
            }
            TaskStatus::Stopped => {
                gone_is_fine(task.delete_with_kill(ctx).await)?;
                let exit = info.exit.unwrap_or(ports::Exit { code: 0, at: 0 });
                status.finished_at = exit.at;
                status.exit_code = exit.code;
            }
            other => {
                let word = quote(other.word());
                return Err(Error::unknown(format!("unexpected task status {word}")));
            }
        }
        Ok(())
    }

    /// New pipes for a container that can be started.
    async fn new_io(&self, meta: &Metadata) -> Result<Rc<ContainerIo<P>>, Error> {
        let dir = self.config.volatile_container_root_dir(&meta.id);
        let (tty, stdin) = (meta.config.tty, meta.config.stdin);
        let made = ContainerIo::create(&self.ports, &meta.id, &dir, tty, stdin).await;
        made.map(Rc::new).map_err(|e| e.wrap("failed to create container io"))
    }

    /// The log and the pipes of a task that was there before the daemon.
    async fn attach_io(
        &self,
        meta: &Metadata,
        paths: IoPaths,
    ) -> Result<Rc<ContainerIo<P>>, Error> {
        let (id, tty) = (&meta.id, meta.config.tty);
        let (out, err) =
            create_loggers(&self.ports, &self.config, self.quirks, &meta.log_path, tty, id).await?;
        let io = Rc::new(ContainerIo::take_up(&self.ports, id, paths).await?);
        io.add_output("log", Some(out), err).await;
        io.pipe();
        Ok(io)
    }

    /// Removes the directories below `base` that belong to none of the records.
    async fn remove_orphans(&self, records: &[Rc<ports::Record>], base: &str) -> Result<(), Error> {
        let entries = match self.ports.fs().read_dir(base).await {
            Ok(entries) => entries,
            Err(error) if error.is(Errno::ENOENT) => return Ok(()),
            Err(error) => return Err(Error::from(error).wrap("failed to read base directory")),
        };
        for entry in entries {
            if !entry.is_dir {
                warn!("Invalid file {} found in base directory", quote(&entry.name));
                continue;
            }
            if records.iter().any(|record| record.id == entry.name) {
                continue;
            }
            let dir = format!("{base}/{}", entry.name);
            match self.ensure_remove_all(&dir).await {
                Ok(()) => debug!("Cleanup orphaned id directory {}", quote(&dir)),
                Err(error) => warn!(%error, "Failed to remove id directory {}", quote(&dir)),
            }
        }
        Ok(())
    }
}

/// A task may go between being found and being asked.
fn known_status(info: Result<TaskInfo, Error>) -> Result<Option<TaskInfo>, Error> {
    match info {
        Ok(info) => Ok(Some(info)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.wrap("failed to get task status")),
    }
}

fn gone_is_fine(deleted: Result<ports::Exit, Error>) -> Result<(), Error> {
    match deleted {
        Err(error) if !error.is_not_found() => Err(error.wrap("failed to delete task")),
        _ => Ok(()),
    }
}
