//! Exits of containers and sandboxes: who waits for them, and what they change (spec sections 5.2 and
//! 5.3).

use crate::client::{Record, WaitChannel};
use crate::config::{HANDLE_EVENT_TIMEOUT, UNKNOWN_EXIT_CODE, pauses};
use crate::cri::{EventKind, SandboxState};
use crate::event_loop::Event;
use crate::io::ContainerIo;
use crate::ports::{
    Clock, Code, Containerd, Context, Error, Exit, Name, Ports, Receiver, Runtime, Signal,
};
use crate::quirks::Quirk;
use crate::quote::quote;
use crate::service::Service;
use crate::store::{Container, Sandbox, SandboxStatus, Status, Told};
use std::rc::Rc;
use tracing::{error, info, warn};

/// The exit of a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TaskExit {
    pub container_id: String,
    /// The container's id too, if the process is its init.
    pub process_id: String,
    pub pid: u32,
    pub exit: Exit,
}

impl TaskExit {
    /// The exit of the init process of a container or sandbox. `at`: wall-clock nanoseconds.
    pub fn of(id: &str, pid: u32, code: i32, at: i64) -> Self {
        TaskExit {
            container_id: id.to_owned(),
            process_id: id.to_owned(),
            pid,
            exit: Exit { code, at },
        }
    }
}

/// Whose exit a monitor handles.
#[derive(Clone, Copy)]
enum Kind {
    Container,
    Sandbox,
}

impl Kind {
    const fn noun(self) -> &'static str {
        match self {
            Kind::Container => "container",
            Kind::Sandbox => "sandbox",
        }
    }
}

impl<P: Ports> Service<P> {
    /// Waits in the background for the item of `exit` and handles it; gives up when `ctx` ends. The
    /// signal is set when it is through (spec section 5.2).
    pub(crate) fn start_container_exit_monitor(
        &self,
        ctx: Context,
        id: &str,
        pid: u32,
        exit: WaitChannel<P>,
    ) -> <P::Runtime as Runtime>::Signal {
        self.start_exit_monitor(Kind::Container, ctx, id, pid, exit)
    }

    /// The same for a sandbox's pause process.
    pub(crate) fn start_sandbox_exit_monitor(
        &self,
        ctx: Context,
        id: &str,
        pid: u32,
        exit: WaitChannel<P>,
    ) -> <P::Runtime as Runtime>::Signal {
        self.start_exit_monitor(Kind::Sandbox, ctx, id, pid, exit)
    }

    fn start_exit_monitor(
        &self,
        kind: Kind,
        ctx: Context,
        id: &str,
        pid: u32,
        mut exit: WaitChannel<P>,
    ) -> <P::Runtime as Runtime>::Signal {
        let name = Name::new("exit-monitor", id);
        let done = self.ports.runtime().signal(name);
        let through = done.clone();
        let service = self.clone();
        let id = id.to_owned();
        self.ports.runtime().spawn(name, async move {
            if let Ok(Some(item)) = exit.recv(&ctx).await {
                let exit = match item {
                    Ok(exit) => Some(exit),
                    Err(error) => {
                        error!(%error, "failed to get task exit status for {}", quote(&id));
                        service.exit_after_failed_wait(&ctx, &id).await
                    }
                };
                if let Some(Exit { code, at }) = exit {
                    let exit = TaskExit::of(&id, pid, code, at);
                    // Boxed, so that a monitor takes little room as long as nothing ends.
                    Box::pin(service.handle_exit_or_back_off(kind, exit)).await;
                }
            }
            through.set();
        });
        done
    }

    /// The exit that a failed wait stands for: an unknown one, and without [`Quirk::FailedWaitIsExit`]
    /// only when there is no task any more. `None` when the context ends first.
    async fn exit_after_failed_wait(&self, ctx: &Context, id: &str) -> Option<Exit> {
        let trusted = self.quirks.has(Quirk::FailedWaitIsExit);
        for pause in pauses().take_while(|_| !trusted) {
            self.ports.runtime().sleep(pause).await;
            if ctx.error(self.ports.clock().now()).is_some() {
                return None;
            }
            match self.ports.containerd().task_wait(ctx, id).await {
                Ok(exit) => return Some(exit),
                Err(error) if error.is_not_found() => break,
                Err(error) => info!(%error, "still no exit status for {}", quote(id)),
            }
        }
        Some(Exit { code: UNKNOWN_EXIT_CODE, at: self.ports.clock().wall() })
    }

    async fn handle_exit_or_back_off(&self, kind: Kind, exit: TaskExit) {
        let ctx = self.event_context();
        let id = &exit.process_id;
        let handled = match kind {
            Kind::Container => match self.containers.get(id).await {
                Ok(container) => self.handle_container_exit(&ctx, &exit, &container, true).await,
                Err(error) if error.is_not_found() => Ok(()),
                Err(error) => Err(error.wrap(format!("failed to get container {id}"))),
            },
            Kind::Sandbox => match self.sandboxes.get(id).await {
                Ok(sandbox) => self.handle_sandbox_exit(&ctx, &sandbox).await,
                Err(error) if error.is_not_found() => Ok(()),
                Err(error) => Err(error.wrap(format!("failed to get sandbox {id}"))),
            },
        };
        planted!(self, ExitHandledTwice => {
            if let Ok(container) = self.containers.get(id).await {
                let _ = self.handle_container_exit(&ctx, &exit, &container, true).await;
            }
        });
        if let Err(error) = handled
            && !planted!(self, ExitNotRetried)
        {
            error!(%error, "failed to handle {} TaskExit event {exit:?}", kind.noun());
            let key = id.clone();
            self.back_off(&key, Event::TaskExit(exit)).await;
        }
    }

    /// Deletes the task of a container whose process has ended, puts the exit on record and tells
    /// who waits for it (spec section 5.3). Safe to repeat.
    ///
    /// `patient`: an exit that cannot be written is told to nobody yet, as it will be tried again soon;
    /// whoever removes the container would take the exit along.
    ///
    /// # Errors
    /// `failed to load task for container`, `failed to stop container`, `failed to update container
    /// state`; nobody is told then.
    pub(crate) async fn handle_container_exit(
        &self,
        ctx: &Context,
        exit: &TaskExit,
        container: &Container<P>,
        patient: bool,
    ) -> Result<(), Error> {
        if self.quirks.has(Quirk::ExitDeletedFirst) {
            self.end_exited_task(ctx, container).await?;
        }
        let written = self.record_exit(exit, container).await;
        if written.is_err() && (patient || self.quirks.has(Quirk::UnwrittenExitForgotten)) {
            return written;
        }
        // As long as the exit is not on record the task keeps it.
        if written.is_ok() && !self.quirks.has(Quirk::ExitDeletedFirst) {
            self.end_exited_task(ctx, container).await?;
        }
        let once =
            !self.quirks.has(Quirk::UnknownExitHandledTwice) && !planted!(self, ExitHandledTwice);
        let told = once && (container.stopped.is_set() || container.end_told.is_set());
        if told {
            // Somebody else is at it.
            container.wait_stopped(ctx).await?;
            return written;
        }
        container.end_told.set();
        let unordered = self.quirks.has(Quirk::StoppedEventUnordered);
        if unordered {
            container.stopped.set();
        }
        if !planted!(self, StoppedEventForgotten)
            && (unordered || container.status.get().await.started_at != 0)
        {
            self.send_stopped(ctx, container).await;
        }
        container.stopped.set();
        written
    }

    async fn send_stopped(&self, ctx: &Context, container: &Container<P>) {
        let (id, sandbox_id) = (container.id(), &container.meta.sandbox_id);
        self.send_container_event(ctx, id, sandbox_id, EventKind::Stopped).await;
        self.note_told(container, Told { started: true, stopped: true }).await;
    }

    /// Puts on record what clients are told, so that a daemon that comes up does not tell them again, and lets
    /// them have it. What cannot be noted waits until it can, or the container is removed.
    pub(crate) async fn note_told(&self, container: &Container<P>, told: Told) {
        if self.quirks.has(Quirk::EventsNotRepeated) || self.tell(container, told).await {
            return;
        }
        let container = container.clone();
        let id = container.id().to_owned();
        self.until_done(&id, async move |service| {
            service.is_removed(&container).await || service.tell(&container, told).await
        });
    }

    async fn tell(&self, container: &Container<P>, told: Told) -> bool {
        let note = |status: Status| {
            let Told { started, stopped } = status.told;
            let told = Told { started: started | told.started, stopped: stopped | told.stopped };
            Ok(Status { told, ..status })
        };
        match container.status.update_sync(note).await {
            Ok(()) => self.release_events(container.id()),
            Err(error) => {
                warn!(%error, "an event of container {} is not told yet", quote(container.id()));
                return false;
            }
        }
        true
    }

    /// Deletes the task and tells the plugins.
    async fn end_exited_task(&self, ctx: &Context, container: &Container<P>) -> Result<(), Error> {
        let announced_first = self.quirks.has(Quirk::NriStopBeforeKill);
        let announce = async || {
            if announced_first {
                self.nri_container_exited(container).await;
            }
        };
        let io = container.io();
        self.delete_exited_task(ctx, Kind::Container, &container.record, io, announce).await?;
        if !announced_first {
            self.nri_container_exited(container).await;
        }
        Ok(())
    }

    async fn record_exit(&self, exit: &TaskExit, container: &Container<P>) -> Result<(), Error> {
        let exited = |status: Status| {
            planted!(self, ExitTakesReason => {
                if status.finished_at == 0 {
                    return Status { reason: String::new(), ..status }.exited(exit.exit);
                }
            });
            status.exited(exit.exit)
        };
        let written = if self.quirks.has(Quirk::UnwrittenExitForgotten) {
            container.status.update_sync(|status| Ok(exited(status))).await
        } else {
            container.status.update_sync_or_unknown(exited).await
        };
        written.map_err(|e| e.wrap("failed to update container state"))
    }

    /// Ends whatever task the container has. One that is gone is fine.
    ///
    /// # Errors
    /// As [`Service::handle_container_exit`].
    pub(crate) async fn delete_container_task(
        &self,
        ctx: &Context,
        container: &Container<P>,
    ) -> Result<(), Error> {
        let io = container.io();
        self.delete_exited_task(ctx, Kind::Container, &container.record, io, async || {}).await
    }

    /// The same for a sandbox.
    ///
    /// # Errors
    /// `failed to load task for sandbox`, `failed to stop sandbox`, `failed to cleanup sandbox`
    pub(crate) async fn delete_sandbox_task(
        &self,
        ctx: &Context,
        sandbox: &Sandbox<P>,
    ) -> Result<(), Error> {
        self.delete_exited_task(ctx, Kind::Sandbox, &sandbox.record, None, async || {}).await
    }

    /// As [`Service::handle_container_exit`] for a sandbox, whose state is in memory only.
    ///
    /// # Errors
    /// `failed to load task for sandbox`, `failed to stop sandbox`, `failed to update sandbox state`.
    pub(crate) async fn handle_sandbox_exit(
        &self,
        ctx: &Context,
        sandbox: &Sandbox<P>,
    ) -> Result<(), Error> {
        self.delete_sandbox_task(ctx, sandbox).await?;
        sandbox
            .update(|status| Ok(SandboxStatus { state: SandboxState::NotReady, pid: 0, ..status }))
            .await
            .map_err(|e| e.wrap("failed to update sandbox state"))?;
        if !self.quirks.has(Quirk::SandboxExitKeepsContainers) {
            for container in self.containers.list().await {
                if container.meta.sandbox_id == sandbox.id() {
                    self.stop_known(ctx, &container, 0).await?;
                }
            }
        }
        sandbox.stopped.set();
        let id = sandbox.id();
        self.send_container_event(ctx, id, id, EventKind::Stopped).await;
        Ok(())
    }

    /// Deletes a task whose process has ended; one that is gone is somebody else's work done.
    /// `announce` runs before the deletion.
    async fn delete_exited_task(
        &self,
        ctx: &Context,
        kind: Kind,
        record: &Record<P>,
        io: Option<Rc<ContainerIo<P>>>,
        announce: impl AsyncFnOnce(),
    ) -> Result<(), Error> {
        let noun = kind.noun();
        let gone = match record.task(ctx, io).await {
            Ok(task) => {
                announce().await;
                match task.delete_with_kill(ctx).await {
                    Ok(_) => false,
                    Err(error) if error.is_not_found() => true,
                    Err(error) => return Err(error.wrap(format!("failed to stop {noun}"))),
                }
            }
            Err(error) if error.is_not_found() => true,
            Err(error)
                if error.code == Code::Unavailable
                    && matches!(kind, Kind::Container)
                    && self.quirks.has(Quirk::UnreachableTaskForgotten) =>
            {
                false
            }
            Err(error) => return Err(error.wrap(format!("failed to load task for {noun}"))),
        };
        if gone && !self.quirks.has(Quirk::HalfDeletedTaskKept) {
            // The shim may have deleted its half while the task service still holds the other.
            match self.ports.containerd().task_delete(ctx, record.id()).await {
                Err(error) if !error.is_not_found() => {
                    let outer = format!("failed to cleanup {noun} {} in task-service", record.id());
                    return Err(error.across_rpc(self.quirks).wrap(outer));
                }
                _ => info!("task-service holds nothing of {noun} {} any more", record.id()),
            }
        }
        Ok(())
    }

    /// The budget of handling one event.
    pub(crate) fn event_context(&self) -> Context {
        Context::background().with_timeout(self.ports.clock().now(), HANDLE_EVENT_TIMEOUT)
    }
}
