//! Recovery of what the node holds when the daemon comes up (spec section 8).

use std::rc::Rc;

use crate::client::{Record, Task, WaitChannel};
use crate::config::{
    Config, LOAD_TIMEOUT, OOM_REASON, RECOVERY_PATIENCE, START_FAILURE_REASON, UNKNOWN_EXIT_CODE,
    UNKNOWN_EXIT_REASON, pauses,
};
use crate::cri::{ContainerState, EventKind, SandboxState};
use crate::io::{ContainerIo, create_loggers};
use crate::ports::{
    self, Clock, Containerd, Context, Errno, Error, Fs, IoPaths, Name, Ports, Receiver, Runtime,
    Sender, Signal, TaskInfo, TaskStatus,
};
use crate::quirks::Quirk;
use crate::quote::quote;
use crate::rollback::START_FAILURE;
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

/// What recovery makes of a container's status and task.
struct Found<P: Ports> {
    status: Status,
    io: Option<Rc<ContainerIo<P>>>,
    /// With [`Quirk::ExitMonitorBeforeStore`] it is under way already.
    watch: Option<Watch<P>>,
    /// A task that is to go.
    doomed: Option<(Task<P>, Doom)>,
}

/// Why a task that recovery finds is to go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doom {
    /// Its start was cut off. It goes once that is on record.
    Cut,
    /// Its start failed, which is on record, and the rollback was cut off. Its process may run.
    HalfUndone,
    /// Its process has ended. It goes once that is on record.
    Over,
}

/// What was left of loading a container.
#[derive(Clone, Copy)]
struct Unfinished {
    /// Its status is still to be written.
    unwritten: bool,
    /// Then its task is to be deleted.
    task: bool,
    /// It is UNKNOWN until then.
    marked: bool,
}

impl<P: Ports> Found<P> {
    fn of(status: Status, io: Option<Rc<ContainerIo<P>>>) -> Self {
        Found { status, io, watch: None, doomed: None }
    }
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
        // Of all of them: what keeps one from being read may keep the others, too.
        let patience = self.patience(&ctx);
        for (records, base, what) in [
            (&sandboxes, format!("{root_dir}/sandboxes"), "sandbox"),
            (&sandboxes, format!("{state_dir}/sandboxes"), "volatile sandbox"),
            (&containers, format!("{root_dir}/containers"), "container"),
            (&containers, format!("{state_dir}/containers"), "volatile container"),
        ] {
            let gives_up = self.quirks.has(Quirk::RecoveryGivesUp);
            let orphans = async |_: &Context| self.remove_orphans(records, &base).await;
            let removed = self.asked(&patience, gives_up, orphans).await;
            let removed = removed
                .map_err(|e| e.wrap(format!("failed to cleanup orphaned {what} directories")));
            match removed {
                // What stays is in nobody's way, and the next recovery looks again.
                Err(error) if !gives_up => warn!(%error, "going on"),
                removed => removed?,
            }
        }
        if !self.quirks.has(Quirk::SandboxExitKeepsContainers) {
            self.stop_containers_of_dead_pods().await;
        }
        Ok(())
    }

    async fn stop_containers_of_dead_pods(&self) {
        for container in self.containers.list().await {
            self.stop_if_pod_is_dead(&container).await;
        }
    }

    /// Stops in the background, until that succeeds, what runs in a pod that came to its end while nobody
    /// looked.
    async fn stop_if_pod_is_dead(&self, container: &Container<P>) {
        let Ok(sandbox) = self.sandboxes.get(&container.meta.sandbox_id).await else { return };
        let runs = container.status.get().await.state() == ContainerState::Running;
        if !runs || sandbox.status().await.state != SandboxState::NotReady {
            return;
        }
        let (service, container) = (self.clone(), container.clone());
        let id = container.id().to_owned();
        self.ports.runtime().spawn(Name::new("cleanup", &id), async move {
            for pause in pauses() {
                let ctx = service.defer_context();
                let Err(error) = service.stop_known(&ctx, &container, 0).await else { return };
                error!(%error, "failed to stop a container of a pod that is not ready");
                service.ports.runtime().sleep(pause).await;
            }
        });
    }

    async fn records(&self, ctx: &Context, kind: &str) -> Result<Vec<Rc<ports::Record>>, Error> {
        let gives_up = self.quirks.has(Quirk::RecoveryGivesUp);
        let list = async |limited: &Context| {
            self.ports.containerd().record_list(limited, (KIND_LABEL, kind)).await
        };
        let listed = self.asked(ctx, gives_up, list).await;
        listed.map_err(|error| error.across_rpc(self.quirks))
    }

    /// The answer of `ask`, which is asked once if it `gives_up`; else again, each time under
    /// [`LOAD_TIMEOUT`], until it succeeds or `ctx` ends.
    async fn asked<T>(
        &self,
        ctx: &Context,
        gives_up: bool,
        mut ask: impl AsyncFnMut(&Context) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if gives_up {
            return ask(ctx).await;
        }
        let mut pauses = pauses();
        loop {
            match ask(&self.load_context(ctx)).await {
                Err(error) if ctx.error(self.ports.clock().now()).is_none() => {
                    warn!(%error, "asking again");
                }
                answer => return answer,
            }
            let pause = pauses.next().expect("there is always another pause");
            self.ports.runtime().sleep(pause).await;
        }
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
        planted!(self, RecoveryNotAwaited => { return Ok(()); });
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
        let (sandbox, watch, known) = match self.load_sandbox(ctx, record).await {
            Ok(loaded) => loaded,
            Err(error) => {
                error!(%error, "Failed to load sandbox {}", quote(&id));
                return Ok(());
            }
        };
        self.sandboxes
            .add(sandbox.clone())
            .await
            .map_err(|e| e.wrap(format!("failed to add sandbox {} to store", quote(&id))))?;
        if let Some(Watch { pid, exit }) = watch {
            self.start_sandbox_exit_monitor(Context::background(), &id, pid, exit);
        }
        if !known && !self.quirks.has(Quirk::RecoveryGivesUpOnContainers) {
            self.learn_sandbox_later(sandbox);
        }
        Ok(())
    }

    /// Goes on asking what became of a sandbox, until that is known or somebody has stopped it.
    fn learn_sandbox_later(&self, sandbox: Sandbox<P>) {
        let id = sandbox.id().to_owned();
        self.until_done(&id, async move |service| {
            let mut status = sandbox.status().await;
            let removed = service.sandboxes.get(sandbox.id()).await.is_err();
            if removed || status.state != SandboxState::Unknown {
                return true;
            }
            let ctx = service.load_context(&Context::background());
            let mut watch = None;
            let record = &sandbox.record;
            if service.load_sandbox_status(&ctx, record, &mut status, &mut watch).await.is_err() {
                return false;
            }
            let learnt = sandbox.update(|known| match known.state {
                SandboxState::Unknown => Ok(status),
                _ => Err(Error::unknown("somebody else has learnt it meanwhile")),
            });
            if learnt.await.is_err() {
                return true;
            }
            match watch {
                Some(Watch { pid, exit }) => {
                    let ctx = Context::background();
                    service.start_sandbox_exit_monitor(ctx, sandbox.id(), pid, exit);
                }
                None => {
                    sandbox.stopped.set();
                    service.stop_containers_of_dead_pods().await;
                }
            }
            true
        });
    }

    /// The same for a container. `known`: its status as it was read.
    fn learn_container_later(&self, container: &Container<P>, known: Status) {
        let (id, container) = (container.id().to_owned(), container.clone());
        self.until_done(&id, async move |service| {
            let is_open = |now: &Status| now.unknown && now.finished_at == known.finished_at;
            let removed = service.containers.get(container.id()).await.is_err();
            if removed || !is_open(&container.status.get().await) {
                return true;
            }
            let ctx = service.load_context(&Context::background());
            let mut found = Found::of(known.clone(), container.io());
            let loaded =
                service.load_status(&ctx, &container.record, &container.meta, &mut found).await;
            container.set_io(found.io);
            match loaded {
                Ok(true) => {}
                Ok(false) => return true,
                Err(_) => return false,
            }
            let over = found.status.state() == ContainerState::Exited;
            let mut taken = false;
            let learnt = container.status.update_sync(|now| {
                taken = !is_open(&now);
                if taken {
                    return Err(Error::unknown("somebody else has learnt it meanwhile"));
                }
                let Status { reason, resources, told, starting, removing, .. } = now;
                let learnt = Status { resources, told, starting, removing, ..found.status };
                Ok(if reason == OOM_REASON { Status { reason, ..learnt } } else { learnt })
            });
            if let Err(error) = learnt.await {
                warn!(%error, "what became of container {} is not known yet", quote(container.id()));
                return taken;
            }
            if container.end_told.is_set() {
                // A stop has found the same meanwhile, and is at it.
                return true;
            }
            if over {
                container.end_told.set();
            }
            service.end_task(&ctx, &container, found.doomed).await;
            service.take_up(&ctx, &container, found.watch).await;
            if over {
                container.stopped.set();
            }
            if !service.quirks.has(Quirk::SandboxExitKeepsContainers) {
                service.stop_if_pod_is_dead(&container).await;
            }
            true
        });
    }

    /// Tells what clients of a container that was loaded may not have heard, and watches for its exit.
    async fn take_up(&self, ctx: &Context, container: &Container<P>, watch: Option<Watch<P>>) {
        let id = container.id();
        if !self.quirks.has(Quirk::EventsNotRepeated) {
            self.tell_again(ctx, id).await;
        }
        if let Some(Watch { pid, exit }) = watch
            && !planted!(self, RecoveryUnwatched)
        {
            self.start_container_exit_monitor(Context::background(), id, pid, exit);
        }
    }

    /// Deletes the task of a container whose end is on record. One that stays and is active has the container
    /// UNKNOWN, which a stop can end; one of a start that failed, or of a process that has ended, is deleted
    /// later.
    async fn end_task(
        &self,
        ctx: &Context,
        container: &Container<P>,
        doomed: Option<(Task<P>, Doom)>,
    ) {
        let Some((task, doom)) = doomed else { return };
        let id = container.id();
        match gone_is_fine(task.delete_with_kill(ctx).await) {
            Ok(()) if container.io().is_none() => {
                // The task did not tell of its pipes.
                self.remove_old_pipes(id).await;
            }
            Ok(()) => {}
            Err(error) => {
                warn!(%error, "the task of container {} stays for now", quote(id));
                let marked = doom != Doom::Over && !container.status.get().await.unknown;
                if marked {
                    self.mark(container, true).await;
                }
                if doom == Doom::HalfUndone
                    || doom == Doom::Over && !self.quirks.has(Quirk::RecoveryGivesUpOnContainers)
                {
                    let unfinished = Unfinished { unwritten: false, task: true, marked };
                    self.finish_loading_later(container, unfinished);
                }
            }
        }
    }

    /// Does in the background, until that succeeds, what was left of loading a container: writes its status
    /// where that is unwritten, then deletes the task of a process whose end that tells. Nobody else
    /// would before the removal: no exit of it is to come, and a stop has nothing to do.
    fn finish_loading_later(&self, container: &Container<P>, unfinished: Unfinished) {
        let Unfinished { mut unwritten, task, marked } = unfinished;
        let container = container.clone();
        let id = container.id().to_owned();
        self.until_done(&id, async move |service| {
            if service.is_removed(&container).await {
                return true;
            }
            unwritten = unwritten && container.status.update_sync(Ok).await.is_err();
            if unwritten || !task {
                return !unwritten;
            }
            let ctx = service.defer_context();
            if service.delete_container_task(&ctx, &container).await.is_err() {
                return false;
            }
            if container.io().is_none() {
                service.remove_old_pipes(container.id()).await;
            }
            if marked {
                service.mark(&container, false).await;
            }
            true
        });
    }

    /// As UNKNOWN, or no longer so.
    async fn mark(&self, container: &Container<P>, unknown: bool) {
        let marked = |status: Status| Ok(Status { unknown, ..status });
        if let Err(error) = container.status.update(marked).await {
            error!(%error, "failed to mark container {}", quote(container.id()));
        }
    }

    async fn recover_container(&self, ctx: &Context, record: Record<P>) -> Result<(), Error> {
        let id = record.id().to_owned();
        let (container, watch, unlearnt) = match self.load_container(ctx, record).await {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return Ok(()),
            Err(error) => {
                error!(%error, "Failed to load container {}", quote(&id));
                return Ok(());
            }
        };
        debug!("Loaded container {}", quote(&id));
        planted!(self, RecoveryEndedLate => {
            if container.status.get().await.state() == ContainerState::Exited {
                let (service, ctx) = (self.clone(), Context::background());
                self.ports.runtime().spawn(Name::new("late", &id), async move {
                    service.ports.runtime().sleep(std::time::Duration::from_secs(1)).await;
                    let _ = service.enter(&ctx, container, watch, unlearnt).await;
                });
                return Ok(());
            }
        });
        self.enter(ctx, container, watch, unlearnt).await
    }

    /// Lets clients have a container that was loaded.
    async fn enter(
        &self,
        ctx: &Context,
        container: Container<P>,
        watch: Option<Watch<P>>,
        unlearnt: Option<Status>,
    ) -> Result<(), Error> {
        let (id, name) = (container.id().to_owned(), container.meta.name.clone());
        self.containers
            .add(container.clone())
            .await
            .map_err(|e| e.wrap(format!("failed to add container {} to store", quote(&id))))?;
        self.take_up(ctx, &container, watch).await;
        if let Some(known) = unlearnt {
            self.learn_container_later(&container, known);
        }
        self.names
            .reserve(&name, &id)
            .await
            .map_err(|e| e.wrap(format!("failed to reserve container name {}", quote(&name))))
    }

    /// The status on the disk. A read that fails may succeed the next time.
    async fn stored_status(&self, ctx: &Context, root: &str) -> Result<Status, Error> {
        let gives_up = self.quirks.has(Quirk::RecoveryGivesUpOnContainers);
        let raw = self.asked(ctx, gives_up, async |_| {
            match StatusStorage::read(&self.ports, root).await {
                Err(error) if error.is_not_found() => Ok(Err(error)),
                raw => raw.map(Ok),
            }
        });
        StatusStorage::<P>::parse(&raw.await.flatten()?)
    }

    /// Whether a container is known to have no task. A question that fails may be answered the next time.
    async fn has_no_task(&self, whole: &Context, once: &Context, record: &Record<P>) -> bool {
        let gives_up = self.quirks.has(Quirk::RecoveryGivesUpOnContainers);
        let asked = if gives_up { once.clone() } else { self.patience(whole) };
        let none =
            self.asked(&asked, gives_up, async |limited| match record.task(limited, None).await {
                Err(error) if error.is_not_found() => Ok(true),
                found => found.map(|_| false),
            });
        none.await.unwrap_or(false)
    }

    /// Takes up where a crash cut the removal of a container off, or its creation. False when that fails
    /// for too long: the container is still there, then, and can be removed by its clients.
    async fn finish_removal(&self, ctx: &Context, record: &Record<P>, meta: &Metadata) -> bool {
        let id = record.id();
        for dir in [self.config.container_root_dir(id), self.config.volatile_container_root_dir(id)]
        {
            let patience = self.patience(ctx);
            let removed =
                self.asked(&patience, false, async |_| self.ensure_remove_all(&dir).await);
            if let Err(error) = removed.await {
                warn!(%error, "failed to remove the directory {}", quote(&dir));
                return false;
            }
        }
        self.send_container_event(ctx, id, &meta.sandbox_id, EventKind::Deleted).await;
        let patience = self.patience(ctx);
        let deleted =
            self.asked(&patience, false, async |limited| self.delete_record(limited, record).await);
        match deleted.await {
            Ok(()) => self.release_events(id),
            Err(error) => {
                error!(%error, "the record of a removed container stays for now");
                self.delete_record_later(record);
            }
        }
        true
    }

    /// Sends the events of a container that its clients may not have been told before the daemon died.
    async fn tell_again(&self, ctx: &Context, id: &str) {
        let Ok(container) = self.containers.get(id).await else { return };
        let status = container.status.get().await;
        if status.started_at == 0 {
            return;
        }
        let mut told = status.told;
        let stopped = status.state() == ContainerState::Exited;
        for (kind, is_due, told) in [
            (EventKind::Started, true, &mut told.started),
            (EventKind::Stopped, stopped, &mut told.stopped),
        ] {
            if is_due && !*told {
                self.send_container_event(ctx, id, &container.meta.sandbox_id, kind).await;
                *told = true;
            }
        }
        if told != status.told {
            self.note_told(&container, told).await;
        }
    }

    /// The content of the record's extension of this name, read from the store, and the context of
    /// what is loaded next.
    async fn extension(
        &self,
        ctx: &Context,
        record: &Record<P>,
        name: &str,
    ) -> Result<(String, Context), Error> {
        let gives_up = self.quirks.has(Quirk::RecoveryGivesUpOnContainers);
        let limited = self.load_context(ctx);
        let info = self.asked(if gives_up { &limited } else { ctx }, gives_up, async |ctx| {
            match record.info(ctx).await {
                Err(error) if error.is_not_found() => Ok(Err(error)),
                info => info.map(Ok),
            }
        });
        let info =
            info.await.flatten().map_err(|e| e.wrap("failed to get container extensions"))?;
        let next = self.next_budget(ctx, limited);
        let found = info.extensions.iter().find(|(known, _)| known == name);
        found
            .map(|(_, content)| (content.clone(), next))
            .ok_or_else(|| Error::unknown(format!("metadata extension {} not found", quote(name))))
    }

    /// One budget for all that is loaded of a container, unless the asking takes as long as it takes.
    fn next_budget(&self, whole: &Context, spent: Context) -> Context {
        match self.quirks.has(Quirk::RecoveryGivesUpOnContainers) {
            true => spent,
            false => self.load_context(whole),
        }
    }

    /// The whole budget of what is asked for again.
    fn patience(&self, ctx: &Context) -> Context {
        ctx.with_timeout(self.ports.clock().now(), RECOVERY_PATIENCE)
    }

    fn load_context(&self, ctx: &Context) -> Context {
        ctx.with_timeout(self.ports.clock().now(), LOAD_TIMEOUT)
    }

    /// Spec section 8.3, and whether the sandbox's state is known. With [`Quirk::ExitMonitorBeforeStore`] the exit is watched for already;
    /// else it is to be.
    async fn load_sandbox(
        &self,
        whole: &Context,
        record: Record<P>,
    ) -> Result<(Sandbox<P>, Option<Watch<P>>, bool), Error> {
        let (extension, ctx) = self.extension(whole, &record, SandboxMetadata::EXTENSION).await?;
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
        let gives_up = self.quirks.has(Quirk::RecoveryGivesUpOnContainers);
        let asked = if gives_up { ctx } else { self.patience(whole) };
        let load = async |limited: &Context| {
            self.load_sandbox_status(limited, &record, &mut status, &mut watch).await
        };
        if let Err(error) = self.asked(&asked, gives_up, load).await {
            error!(%error, "Failed to load sandbox status for {}", quote(record.id()));
        }
        if self.quirks.has(Quirk::ExitMonitorBeforeStore)
            && let Some(Watch { pid, exit }) = watch.take()
        {
            self.start_sandbox_exit_monitor(Context::background(), record.id(), pid, exit);
        }
        let known = status.state != SandboxState::Unknown;
        Ok((Sandbox::new(&self.ports, meta, status, record), watch, known))
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
        let found = known_task(ctx, record.task(ctx, None).await).await?;
        let gives_up = self.quirks.has(Quirk::RecoveryGivesUpOnContainers);
        status.state = match found {
            None if gives_up => SandboxState::NotReady,
            None => {
                self.delete_half_task(ctx, record.id()).await?;
                SandboxState::NotReady
            }
            Some((task, TaskInfo { status: TaskStatus::Running, .. })) => {
                status.pid = task.pid();
                *watch = Some(Watch { pid: task.pid(), exit: task.wait(&Context::background()) });
                SandboxState::Ready
            }
            Some((_, TaskInfo { status: TaskStatus::Unknown, .. })) if !gives_up => {
                return Err(Error::unknown("the task of the sandbox does not tell its state"));
            }
            Some((task, _)) => {
                gone_is_fine(task.delete_with_kill(ctx).await)?;
                SandboxState::NotReady
            }
        };
        Ok(())
    }

    /// The shim may have deleted its half of a task that is not found, and the task service still hold the
    /// other.
    async fn delete_half_task(&self, ctx: &Context, id: &str) -> Result<(), Error> {
        match self.ports.containerd().task_delete(ctx, id).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Spec section 8.2. The watch as in [`Service::load_sandbox`], and the status as it was read when what
    /// became of the container since could not be learnt. `None` when what is on record is the
    /// rest of a removal or a creation, without a status and a task, and is gone now.
    async fn load_container(
        &self,
        whole: &Context,
        record: Record<P>,
    ) -> Result<Option<(Container<P>, Option<Watch<P>>, Option<Status>)>, Error> {
        let id = record.id().to_owned();
        // 1
        let (extension, ctx) = self.extension(whole, &record, Metadata::EXTENSION).await?;
        let meta = Metadata::decode(extension.as_bytes()).map_err(|e| {
            e.wrap(format!("failed to unmarshal metadata extension {}", quote(Metadata::EXTENSION)))
        })?;
        // 2
        let root = self.config.container_root_dir(&id);
        let stored = self.stored_status(&self.patience(whole), &root).await;
        let missing = stored.as_ref().is_err_and(Error::is_not_found);
        let disowned = match missing && !self.quirks.has(Quirk::FailureStatusNotRetried) {
            true => StatusStorage::disowned(&self.ports, &root).await,
            false => None,
        };
        let set_aside = disowned.is_some();
        if !self.quirks.has(Quirk::RecordDeletedFirst)
            && missing
            && !set_aside
            && self.has_no_task(whole, &ctx, &record).await
            && self.finish_removal(whole, &record, &meta).await
        {
            return Ok(None);
        }
        let ctx = self.next_budget(whole, ctx);
        let removed = match missing && !self.quirks.has(Quirk::UnwrittenExitForgotten) {
            true => StatusStorage::removed(&self.ports, &root).await,
            false => None,
        };
        // What the disk did not take.
        let annotations = &record.cached().spec.annotations;
        let failed = annotations.iter().find(|(key, _)| key == START_FAILURE);
        let failed = failed.and_then(|(_, status)| Status::decode(status.as_bytes()).ok());
        let stored = match failed {
            Some(failed) if !stored.as_ref().is_ok_and(|known| known.finished_at != 0) => {
                Ok(failed)
            }
            _ => stored,
        };
        let nobody_knows = set_aside && stored.is_err();
        let status = stored.unwrap_or_else(|error| {
            warn!(%error, "Failed to load container status for {}", quote(&id));
            let killed = |known: Option<&Status>| known.is_some_and(|s| s.reason == OOM_REASON);
            let oom = killed(removed.as_ref()) || killed(disowned.as_ref());
            let reason = |other| if oom { OOM_REASON } else { other };
            let status = match disowned {
                // Why is on no record.
                Some(known) => {
                    let at = self.ports.clock().wall();
                    known.start_failed(reason(START_FAILURE_REASON), "", at)
                }
                None => Status {
                    exit_code: UNKNOWN_EXIT_CODE,
                    reason: reason(UNKNOWN_EXIT_REASON).into(),
                    ..Status::default()
                },
            };
            Status { unknown: true, ..status }
        });
        // 3 to 5
        let mut found = Found::of(status, None);
        let gives_up = self.quirks.has(Quirk::RecoveryGivesUpOnContainers);
        let asked = if gives_up { ctx.clone() } else { self.patience(whole) };
        let load =
            async |limited: &Context| self.load_status(limited, &record, &meta, &mut found).await;
        let loaded = self.asked(&asked, gives_up, load).await;
        let ctx = self.next_budget(whole, ctx);
        let Found { mut status, io, watch, doomed } = found;
        // 6
        let mut unlearnt = None;
        match loaded {
            Ok(true) => {}
            Ok(false) => status.unknown = true,
            Err(error) => {
                error!(%error, "Failed to load container status for {}", quote(&id));
                // Of a process that had run its end is on record; a failed start says nothing of its task.
                let ended = status.state() == ContainerState::Exited && status.started_at != 0;
                if !ended && !gives_up {
                    unlearnt = Some(status.clone());
                }
                status.unknown = !ended || gives_up;
            }
        }
        // 7
        let state = status.state();
        let (ports, quirks) = (&self.ports, self.quirks);
        let (storage, written) = match nobody_knows {
            // No file says that better than none.
            true => (StatusStorage::unwritten(ports, quirks, &root, &id, status), Ok(())),
            false => StatusStorage::store(ports, quirks, &root, &id, status).await,
        };
        if gives_up {
            written.clone()?;
        }
        let container = Container::new(&self.ports, meta, storage, state, record, io);
        match written {
            Ok(()) => self.end_task(&ctx, &container, doomed).await,
            Err(error) => {
                warn!(%error, "the status of container {} is not written back yet", quote(&id));
                // As long as the exit is not on record the task keeps it.
                let doom = doomed.as_ref().map(|(_, doom)| *doom);
                match doom {
                    Some(Doom::Cut) => self.mark(&container, true).await,
                    Some(Doom::HalfUndone) => self.end_task(&ctx, &container, doomed).await,
                    Some(Doom::Over) | None => {}
                }
                let task = doom == Some(Doom::Over);
                let unfinished = Unfinished { unwritten: true, task, marked: false };
                self.finish_loading_later(&container, unfinished);
            }
        }
        Ok(Some((container, watch, unlearnt)))
    }

    /// Brings the status that was read from the disk up to what became of the task since. False when the
    /// two do not fit.
    async fn load_status(
        &self,
        ctx: &Context,
        record: &Record<P>,
        meta: &Metadata,
        found: &mut Found<P>,
    ) -> Result<bool, Error> {
        let id = record.id();
        let Found { status, io, watch, doomed } = found;
        // 3
        let attach = async |paths: IoPaths| {
            if let Some(attached) = io.as_ref() {
                return Ok(attached.clone());
            }
            let attached = self.attach_io(meta, paths).await?;
            *io = Some(attached.clone());
            Ok(attached)
        };
        // Before the question: a process that it finds running may end at once.
        let asked_at = self.ports.clock().wall();
        let found = match planted!(self, RecoveryTaskIgnored) {
            true => None,
            false => known_task(ctx, record.task_attaching(ctx, attach).await).await?,
        };
        // 4
        let Some((task, info)) = found else {
            let state = status.state();
            match state {
                ContainerState::Created => {
                    if !self.quirks.has(Quirk::RecoveryGivesUpOnContainers) {
                        self.delete_half_task(ctx, id).await?;
                    }
                    self.renew_io(meta, io).await?;
                }
                ContainerState::Running => {
                    status.finished_at = self.ports.clock().wall();
                    status.exit_code = UNKNOWN_EXIT_CODE;
                    if status.reason.is_empty() || self.quirks.has(Quirk::ReasonOverwritten) {
                        status.reason = UNKNOWN_EXIT_REASON.into();
                    }
                }
                ContainerState::Exited | ContainerState::Unknown => {}
            }
            if state != ContainerState::Created {
                self.remove_old_pipes(id).await;
            }
            return Ok(true);
        };
        // 5
        let state = status.state();
        if matches!(info.status, TaskStatus::Created | TaskStatus::Running)
            && status.is_failed_start()
            && !self.quirks.has(Quirk::RollbackDeleteNotRetried)
        {
            *doomed = Some((task, Doom::HalfUndone));
            return Ok(true);
        }
        let unexpected = |word: &str| {
            let state = quote(state.name());
            error!("unexpected container state for {word} task: {state}");
            Ok(false)
        };
        match info.status {
            TaskStatus::Created => {
                let cut =
                    state == ContainerState::Created && !self.quirks.has(Quirk::CutStartForgotten);
                if cut {
                    // Its process may have run: nobody can tell a task that was not started from one
                    // whose start was not recorded any more.
                    let at = self.ports.clock().wall();
                    *status = Status {
                        reason: UNKNOWN_EXIT_REASON.into(),
                        ..status.clone().exited(ports::Exit { code: UNKNOWN_EXIT_CODE, at })
                    };
                }
                planted!(self, RecoveryTaskKept => {
                    if cut {
                        return Ok(true);
                    }
                });
                // EXITED: the rollback of its start was cut off.
                let ends = cut || state == ContainerState::Exited;
                if ends && !self.quirks.has(Quirk::ExitDeletedFirst) {
                    *doomed = Some((task, Doom::Cut));
                    return Ok(true);
                }
                gone_is_fine(task.delete_with_kill(ctx).await)?;
                if cut {
                    return Ok(true);
                }
                if state != ContainerState::Created {
                    return unexpected("created");
                }
                if !self.quirks.has(Quirk::AttachedPipesClosed) {
                    self.renew_io(meta, io).await?;
                }
            }
            TaskStatus::Running => {
                match state {
                    ContainerState::Exited => return unexpected("running"),
                    ContainerState::Running => {}
                    // The daemon died between the task's start and the checkpoint.
                    ContainerState::Created | ContainerState::Unknown => {
                        let late = self.quirks.has(Quirk::StartedAtReadLate);
                        status.started_at = if late { self.ports.clock().wall() } else { asked_at };
                        status.pid = task.pid();
                        planted!(self, RecoveryCutStartUnwatched => {
                            if state == ContainerState::Created {
                                return Ok(true);
                            }
                        });
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
                planted!(self, RecoveryEndedTakenForRunning => {
                    if state == ContainerState::Created {
                        status.started_at = info.exit.map_or(1, |exit| exit.at);
                        status.pid = task.pid();
                        return Ok(true);
                    }
                });
                if self.quirks.has(Quirk::ExitDeletedFirst) {
                    gone_is_fine(task.delete_with_kill(ctx).await)?;
                } else {
                    *doomed = Some((task, Doom::Over));
                }
                let exit = match planted!(self, RecoveryCodeGuessed) {
                    true => ports::Exit { code: UNKNOWN_EXIT_CODE, at: self.ports.clock().wall() },
                    false => info.exit.unwrap_or(ports::Exit { code: 0, at: 0 }),
                };
                // Nothing is on record: a removal was cut off that took the exit along.
                if status.created_at == 0 && !self.quirks.has(Quirk::ExitDeletedFirst) {
                    status.unknown = false;
                }
                // What is on record may be the failure of a start, which says more.
                let failed = state == ContainerState::Exited || status.is_failed_start();
                if !failed || self.quirks.has(Quirk::ExitDeletedFirst) {
                    status.finished_at = exit.at;
                    status.exit_code = exit.code;
                }
            }
            other => {
                let word = quote(other.word());
                return Err(Error::unknown(format!("unexpected task status {word}")));
            }
        }
        Ok(true)
    }

    /// New pipes for a container that can be started. Those of an attempt before are closed: nobody else
    /// knows of them any more.
    async fn renew_io(
        &self,
        meta: &Metadata,
        io: &mut Option<Rc<ContainerIo<P>>>,
    ) -> Result<(), Error> {
        if let Some(old) = io.take()
            && !old.is_closed()
            && !self.quirks.has(Quirk::RecoveryGivesUpOnContainers)
        {
            old.cancel();
            old.close().await;
        }
        self.remove_old_pipes(&meta.id).await;
        let dir = self.config.volatile_container_root_dir(&meta.id);
        let (tty, stdin) = (meta.config.tty, meta.config.stdin);
        let made = ContainerIo::create(&self.ports, self.quirks, &meta.id, &dir, tty, stdin).await;
        *io = Some(Rc::new(made.map_err(|e| e.wrap("failed to create container io"))?));
        Ok(())
    }

    /// Removes the pipes that an earlier daemon made for a container that has no task. Each by its own
    /// name: a removal that is slow must not meet those that are made next.
    async fn remove_old_pipes(&self, id: &str) {
        if self.quirks.has(Quirk::OldPipesKept) {
            return;
        }
        let base = ContainerIo::<P>::base(&self.config.volatile_container_root_dir(id));
        let remove = async |_: &Context| {
            let entries = match self.ports.fs().read_dir(&base).await {
                Err(error) if error.is(Errno::ENOENT) => return Ok(()),
                entries => entries?,
            };
            for entry in entries {
                self.ports.fs().remove_tree(&format!("{base}/{}", entry.name)).await?;
            }
            Ok(())
        };
        let patience = self.patience(&Context::background());
        if let Err(error) = self.asked(&patience, false, remove).await {
            warn!(%error, "failed to remove the old pipes in {}", quote(&base));
        }
    }

    /// The log and the pipes of a task that was there before the daemon.
    async fn attach_io(
        &self,
        meta: &Metadata,
        paths: IoPaths,
    ) -> Result<Rc<ContainerIo<P>>, Error> {
        let (id, tty) = (&meta.id, meta.config.tty);
        let (out, err) = create_loggers(&self.ports, &self.config, &meta.log_path, tty, id).await?;
        let io = Rc::new(ContainerIo::take_up(&self.ports, self.quirks, id, paths).await?);
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
            let path = format!("{base}/{}", entry.name);
            let aside = entry.name.strip_suffix(".del-status");
            if let Some(id) = aside
                && !self.quirks.has(Quirk::RecoveryGivesUp)
            {
                self.remove_aside(id, path).await;
                continue;
            }
            if !entry.is_dir {
                warn!("Invalid file {} found in base directory", quote(&entry.name));
                continue;
            }
            if records.iter().any(|record| record.id == entry.name) {
                continue;
            }
            match self.ensure_remove_all(&path).await {
                Ok(()) => debug!("Cleanup orphaned id directory {}", quote(&path)),
                Err(error) => {
                    warn!(%error, "Failed to remove id directory {}", quote(&path));
                    if !self.quirks.has(Quirk::RecoveryGivesUp) {
                        self.until_done(&entry.name, async move |service| {
                            service.ensure_remove_all(&path).await.is_ok()
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes the status that a removal of this container had set aside when it was cut off.
    async fn remove_aside(&self, id: &str, path: String) {
        let gone = async move |service: &Self| match service.ports.fs().remove_file(&path).await {
            Err(error) => error.is(Errno::ENOENT),
            Ok(()) => true,
        };
        if !gone(self).await {
            self.until_done(id, gone);
        }
    }
}

/// A task that was looked up, with what it says of itself. It may go between being found and being
/// asked.
async fn known_task<P: Ports>(
    ctx: &Context,
    task: Result<Task<P>, Error>,
) -> Result<Option<(Task<P>, TaskInfo)>, Error> {
    let task = match task {
        Ok(task) => task,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.wrap("failed to load task")),
    };
    match task.info(ctx).await {
        Ok(info) => Ok(Some((task, info))),
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
