//! Sandboxes as far as containers go: taking one over, StopPodSandbox and RemovePodSandbox (spec
//! section 4.5b). The network and the sandbox's name are not kept here.

use crate::client::Record;
use crate::cri::{self, EventKind, SandboxState};
use crate::ports::{self, Clock, Context, Error, Ports, Signal};
use crate::quirks::Quirk;
use crate::quote::quote;
use crate::service::Service;
use crate::stop::SIGKILL;
use crate::store::{Sandbox, SandboxMetadata, SandboxStatus};
use tracing::{info, trace};

impl<P: Ports> Service<P> {
    /// Takes over a sandbox that is there already, and watches its pause process when it is ready. One
    /// that is known is described anew.
    ///
    /// # Errors
    /// An id that the store refuses.
    pub(crate) async fn adopt(&self, sandbox: cri::Sandbox) -> Result<(), Error> {
        let cri::Sandbox { id, config, runtime_handler, state, created_at } = sandbox;
        let cached = ports::Record { id: id.clone(), ..ports::Record::default() };
        let record = Record::new(self.ports.clone(), self.quirks, cached);
        let status = SandboxStatus { pid: 0, created_at, exited_at: 0, exit_status: 0, state };
        let meta = SandboxMetadata { id, config, runtime_handler };
        if let Ok(known) = self.sandboxes.get(&meta.id).await {
            self.sandboxes.delete(&meta.id).await;
            return self.sandboxes.add(known.with_metadata(meta)).await;
        }
        let sandbox = Sandbox::new(&self.ports, meta, status, record);
        self.sandboxes.add(sandbox.clone()).await?;
        if state == SandboxState::Ready {
            // The pid of the pause process is nobody's concern here.
            let exit = sandbox.record.handle(0, None).wait(&Context::background());
            self.start_sandbox_exit_monitor(Context::background(), sandbox.id(), 0, exit);
        }
        Ok(())
    }

    /// Stops a sandbox: its containers, then its pause process.
    ///
    /// # Errors
    /// It is not known; of the step that failed.
    pub(crate) async fn stop_pod(&self, ctx: &Context, requested: &str) -> Result<(), Error> {
        let sandbox = match self.find_sandbox(requested).await {
            Err(error) if error.is_not_found() && !self.quirks.has(Quirk::StopUnknownIdFails) => {
                return Ok(());
            }
            found => found?,
        };
        let _sync_block = self.nri_block_sync().await;
        self.stop_known_pod(ctx, &sandbox).await
    }

    /// Stops and removes a sandbox with its containers. One that is not known is removed already.
    ///
    /// # Errors
    /// Of the step that failed; the sandbox can then be removed again.
    pub(crate) async fn remove_pod(&self, ctx: &Context, requested: &str) -> Result<(), Error> {
        let sandbox = match self.find_sandbox(requested).await {
            Err(error) if error.is_not_found() => {
                trace!("RemovePodSandbox called for sandbox {requested:?} that does not exist");
                return Ok(());
            }
            found => found?,
        };
        let id = sandbox.id();
        info!("Forcibly stopping sandbox {}", quote(id));
        self.stop_known_pod(ctx, &sandbox)
            .await
            .map_err(|e| e.wrap(format!("failed to forcibly stop sandbox {}", quote(id))))?;
        for container in self.containers.list().await {
            if container.meta.sandbox_id == id {
                self.remove(ctx, container.id()).await.map_err(|e| {
                    e.wrap(format!("failed to remove container {}", quote(container.id())))
                })?;
            }
        }
        self.shut_pod_down(ctx, &sandbox).await.map_err(|error| {
            match self.quirks.has(Quirk::NoSandboxController) {
                true => error,
                // That was the controller's.
                false => error.wrap(format!("failed to delete sandbox {}", quote(id))),
            }
        })?;
        if self.nri_enabled() {
            self.nri_pod_hook(&sandbox).await;
        }
        self.sandboxes.delete(id).await;
        self.send_container_event(ctx, id, id, EventKind::Deleted).await;
        Ok(())
    }

    /// Removes what is on the node of a sandbox that was stopped.
    async fn shut_pod_down(&self, ctx: &Context, sandbox: &Sandbox<P>) -> Result<(), Error> {
        let id = sandbox.id();
        let dir = self.config.sandbox_root_dir(id);
        self.ensure_remove_all(&dir).await.map_err(|e| {
            e.wrap(format!("failed to remove sandbox root directory {}", quote(&dir)))
        })?;
        let dir = self.config.volatile_sandbox_root_dir(id);
        self.ensure_remove_all(&dir).await.map_err(|e| {
            e.wrap(format!("failed to remove volatile sandbox root directory {}", quote(&dir)))
        })?;
        if !self.quirks.has(Quirk::NoSandboxController) {
            self.delete_sandbox_task(ctx, sandbox)
                .await
                .map_err(|e| e.wrap(format!("failed to delete sandbox task {}", quote(id))))?;
        }
        match sandbox.record.delete_with_snapshot(ctx).await {
            Err(error) if !error.is_not_found() => {
                let outer = format!("failed to delete sandbox container {}", quote(id));
                Err(error.wrap(outer))
            }
            _ => Ok(()),
        }
    }

    async fn find_sandbox(&self, requested: &str) -> Result<Sandbox<P>, Error> {
        self.sandboxes.get(requested).await.map_err(|e| {
            e.wrap(format!("an error occurred when try to find sandbox {}", quote(requested)))
        })
    }

    async fn stop_known_pod(&self, ctx: &Context, sandbox: &Sandbox<P>) -> Result<(), Error> {
        let id = sandbox.id();
        // Not StopContainer: a container that is removed meanwhile would be an error there.
        for container in self.containers.list().await {
            if container.meta.sandbox_id == id {
                self.stop_known(ctx, &container, 0).await.map_err(|e| {
                    e.wrap(format!("failed to stop container {}", quote(container.id())))
                })?;
            }
        }
        let state = sandbox.status().await.state;
        if matches!(state, SandboxState::Ready | SandboxState::Unknown) {
            self.stop_pause(ctx, sandbox, state == SandboxState::Unknown).await.map_err(|e| {
                let error = e.wrap(format!(
                    "failed to stop sandbox container {} in {} state",
                    quote(id),
                    quote(state.name())
                ));
                match self.quirks.has(Quirk::NoSandboxController) {
                    true => error,
                    // That was the controller's.
                    false => error.wrap(format!("failed to stop sandbox {}", quote(id))),
                }
            })?;
        }
        if self.nri_enabled() {
            self.nri_pod_hook(sandbox).await;
        }
        Ok(())
    }

    /// Kills the pause process and waits until its exit was handled.
    async fn stop_pause(
        &self,
        ctx: &Context,
        sandbox: &Sandbox<P>,
        unknown: bool,
    ) -> Result<(), Error> {
        let id = sandbox.id();
        let controlled = !self.quirks.has(Quirk::NoSandboxController);
        let pause = if controlled { "pod sandbox container" } else { "sandbox container" };
        let task = match sandbox.record.task(ctx, None).await {
            Ok(task) => task,
            Err(error) if !error.is_not_found() => {
                return Err(error.wrap(format!("failed to get {pause}")));
            }
            Err(_) if unknown => return self.handle_sandbox_exit(ctx, sandbox).await,
            Err(_) => return Ok(()),
        };
        let kill = async || {
            let is_gone = match task.kill(ctx, SIGKILL, false).await {
                Err(error) if !error.is_not_found() => {
                    return Err(error.wrap(format!("failed to kill {pause}")));
                }
                killed => killed.is_err(),
            };
            // As in stopping a container whose process is gone.
            if is_gone
                && !self.quirks.has(Quirk::ExitReportTrusted)
                && sandbox.stopped.wait(&self.event_context()).await.is_err()
            {
                return self.handle_sandbox_exit(ctx, sandbox).await;
            }
            let stopped = sandbox.stopped.wait(ctx).await;
            match controlled {
                true => stopped,
                false => stopped.map_err(|e| e.wrap(format!("wait {pause} {}", quote(id)))),
            }
        };
        if !unknown {
            return kill().await;
        }
        // As in stopping a container whose state is unknown: the monitor ends before the wait does.
        let (wait_ctx, wait_cancel) = Context::background().with_cancel();
        let exit = task.wait(&wait_ctx);
        let (exit_ctx, exit_cancel) = Context::background().with_cancel();
        let done = self.start_sandbox_exit_monitor(exit_ctx, id, task.pid(), exit);
        let result = kill().await;
        exit_cancel.cancel(self.ports.clock().now());
        // A background context cannot end the wait.
        let _ = done.wait(&Context::background()).await;
        wait_cancel.cancel(self.ports.clock().now());
        result
    }
}
