//! The handle of a task (spec sections 2.4 to 2.6).

use std::rc::Rc;

use crate::bounded::within;
use crate::config::DRAIN_TIMEOUT;
use crate::io::ContainerIo;
use crate::ports::{
    Clock, Code, Containerd, Context, Error, Exit, Name, Ports, Receiver, Runtime, Sender,
    TaskInfo, TaskStatus,
};
use crate::quirks::{Quirk, Quirks};
use tracing::warn;

const SIGKILL: u32 = 9;

/// The one item of a wait: the exit, or why it cannot be learnt.
pub type ExitItem = Result<Exit, Error>;

/// Where the item of a wait arrives.
pub type WaitChannel<P> = <<P as Ports>::Runtime as Runtime>::Receiver<ExitItem>;

/// A task as one caller knows it.
pub struct Task<P: Ports> {
    ports: P,
    quirks: Quirks,
    id: String,
    pid: u32,
    io: Option<Rc<ContainerIo<P>>>,
}

impl<P: Ports> Task<P> {
    pub(super) fn new(
        ports: P,
        quirks: Quirks,
        id: String,
        pid: u32,
        io: Option<Rc<ContainerIo<P>>>,
    ) -> Self {
        Task { ports, quirks, id, pid, io }
    }

    /// The pid that the handle knows: of the task's creation, its start or its look-up.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Starts the process and learns its pid. On failure the IO is cancelled and closed at once
    /// (spec section 2.5); without [`Quirk::IoClosedAtFailedStart`] the deletion does that, as the
    /// process may have run and said something.
    ///
    /// # Errors
    /// What the task service answers.
    pub async fn start(&mut self, ctx: &Context) -> Result<(), Error> {
        match self.ports.containerd().task_start(ctx, &self.id).await {
            Ok(pid) => {
                self.pid = pid;
                Ok(())
            }
            Err(error) => {
                if let Some(io) = &self.io
                    && self.quirks.has(Quirk::IoClosedAtFailedStart)
                {
                    io.cancel();
                    io.close().await;
                }
                Err(error.across_rpc(self.quirks))
            }
        }
    }

    /// What the task service says of the task now.
    ///
    /// # Errors
    /// What the task service answers.
    pub async fn info(&self, ctx: &Context) -> Result<TaskInfo, Error> {
        let got = self.ports.containerd().task_get(ctx, &self.id).await;
        got.map_err(|error| error.across_rpc(self.quirks))
    }

    /// Asks for the exit in the background (spec section 2.4). The channel yields exactly one item;
    /// an error of the call, NotFound too, is an item.
    pub fn wait(&self, ctx: &Context) -> WaitChannel<P> {
        let runtime = self.ports.runtime();
        let name = Name::new("task-wait", &self.id);
        let (sender, receiver) = runtime.channel::<ExitItem>(name, 1);
        let (ports, ctx, id) = (self.ports.clone(), ctx.clone(), self.id.clone());
        let quirks = self.quirks;
        runtime.spawn(name, async move {
            let item = ports.containerd().task_wait(&ctx, &id).await;
            let item = item.map_err(|error| error.across_rpc(quirks));
            // Refused only when nobody listens any more.
            let _ = sender.try_send(item);
        });
        receiver
    }

    /// Sends a signal; `all`: to every process of the container.
    ///
    /// # Errors
    /// What the task service answers.
    pub async fn kill(&self, ctx: &Context, signal: u32, all: bool) -> Result<(), Error> {
        let killed = self.ports.containerd().task_kill(ctx, &self.id, signal, all).await;
        killed.map_err(|e| e.across_rpc(self.quirks))
    }

    /// Kills all processes, waits for the end, deletes the task (spec section 2.6 with the
    /// process-kill option).
    ///
    /// # Errors
    /// NotFound when the task is gone, FailedPrecondition when it is not stopped, after which the IO
    /// is as it was; those of the kill and of the deletion.
    pub async fn delete_with_kill(&self, ctx: &Context) -> Result<Exit, Error> {
        if !planted!(self, TaskNotKilled) {
            self.kill_and_wait(ctx).await?;
        }
        self.delete(ctx).await
    }

    async fn kill_and_wait(&self, ctx: &Context) -> Result<(), Error> {
        if self.pid == 0 && !self.quirks.has(Quirk::KillWithoutPid) {
            return Ok(());
        }
        let (ctx, cancel) = ctx.with_cancel();
        let exit = self.wait(&ctx);
        let result = self.kill_until_exit(&ctx, exit).await;
        cancel.cancel(self.ports.clock().now());
        result
    }

    async fn kill_until_exit(&self, ctx: &Context, mut exit: WaitChannel<P>) -> Result<(), Error> {
        match self.kill(ctx, SIGKILL, true).await {
            // The wait's call ends with the context and then yields an error; the item is not looked at.
            Ok(()) => exit.recv(&Context::background()).await.map(drop),
            // The kill may have worked all the same.
            Err(error) if error.is_not_found() => exit.recv(ctx).await.map(drop),
            Err(error) if error.code == Code::FailedPrecondition => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, ctx: &Context) -> Result<Exit, Error> {
        let containerd = self.ports.containerd();
        let status = match containerd.task_get(ctx, &self.id).await {
            Ok(info) => info.status,
            Err(error) if error.is_not_found() => return Err(error.across_rpc(self.quirks)),
            Err(_) => TaskStatus::Unknown,
        };
        let deletable = match status {
            TaskStatus::Stopped | TaskStatus::Unknown => true,
            TaskStatus::Created => self.pid == 0,
            TaskStatus::Running | TaskStatus::Paused | TaskStatus::Pausing => false,
        };
        if !deletable {
            return Err(Error::new(
                Code::FailedPrecondition,
                format!(
                    "task must be stopped before deletion: {}: failed precondition",
                    status.word()
                ),
            ));
        }
        if let Some(io) = &self.io {
            if self.quirks.has(Quirk::IoClosedBeforeDrain) {
                io.close().await;
            }
            io.cancel();
            if self.quirks.has(Quirk::IoWaitUnbounded) {
                io.wait().await;
            } else if within(self.ports.runtime(), DRAIN_TIMEOUT, io.wait()).await.is_none() {
                warn!("the output of {} is not logged in time, its rest is lost", self.id);
            }
        }
        let deleted = containerd.task_delete(ctx, &self.id).await;
        let exit = deleted.map_err(|error| error.across_rpc(self.quirks))?;
        if let Some(io) = &self.io {
            io.close().await;
        }
        Ok(exit)
    }
}
