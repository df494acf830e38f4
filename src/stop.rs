//! StopContainer (spec section 4.3).

use std::time::Duration;

use crate::client::Task;
use crate::config::UNKNOWN_EXIT_CODE;
use crate::cri::ContainerState;
use crate::event_loop::Event;
use crate::exit_monitor::TaskExit;
use crate::metrics;
use crate::ports::{
    Clock, Containerd, Context, Error, Exit, Metrics, Ports, Signal, TaskInfo, TaskStatus, Value,
};
use crate::quirks::Quirk;
use crate::quote::quote;
use crate::service::Service;
use crate::stop_signal::parse_signal;
use crate::store::Container;
use tracing::{debug, error, info, warn};

const DEFAULT_STOP_SIGNAL: &str = "SIGTERM";
pub(crate) const SIGKILL: u32 = 9;

impl<P: Ports> Service<P> {
    /// Stops a container: its stop signal, then after `timeout` seconds SIGKILL.
    ///
    /// # Errors
    /// It is not known, or [`Service::stop_known`] or its record fails.
    pub(crate) async fn stop(
        &self,
        ctx: &Context,
        requested: &str,
        timeout: i64,
    ) -> Result<(), Error> {
        let began = self.ports.clock().now();
        let container = match self.containers.get(requested).await {
            Ok(container) => container,
            Err(error) if error.is_not_found() && !self.quirks.has(Quirk::StopUnknownIdFails) => {
                return Ok(());
            }
            Err(error) => {
                return Err(error.wrap(format!(
                    "an error occurred when try to find container {}",
                    quote(requested)
                )));
            }
        };
        planted!(self, StopOfCreatedDoesNothing => {
            if container.status.get().await.state() == ContainerState::Created {
                return Ok(());
            }
        });
        let _sync_block = self.nri_block_sync().await;
        self.stop_known(ctx, &container, timeout).await?;
        if self.nri_enabled() {
            let sandbox = self.sandboxes.get(&container.meta.sandbox_id).await.ok();
            let stopped = self.nri_stop_container(ctx, sandbox.as_ref(), &container).await;
            if let Err(error) = stopped {
                error!(%error, "NRI failed to stop container");
            }
        }
        let info = container.record.info(ctx).await.map_err(|e| e.wrap("get container info"))?;
        let elapsed = self.ports.clock().now().since(began);
        self.ports.metrics().observe(metrics::CONTAINER_STOP, &info.runtime, elapsed);
        Ok(())
    }

    /// Ends the container's process and waits until the exit is on record. The task is left to the
    /// exit monitor. A timeout that is not positive means SIGKILL at once.
    ///
    /// # Errors
    /// Of the task service, of the stop signal, of the context.
    pub(crate) async fn stop_known(
        &self,
        ctx: &Context,
        container: &Container<P>,
        timeout: i64,
    ) -> Result<(), Error> {
        let id = container.id();
        let mut status = container.status.get().await;
        if !self.quirks.has(Quirk::StopIgnoresStarting) {
            self.stops.with_mut(|stops| *stops += 1);
            container.last_stop.set(self.stops.get());
            if status.starting {
                container.start_over.wait(ctx).await?;
                status = container.status.get().await;
            }
        }
        let state = status.state();
        let unknown = state == ContainerState::Unknown;
        if state != ContainerState::Running && !unknown {
            info!(
                "Container to stop {} must be in running or unknown state, current state {}",
                quote(id),
                quote(state.name())
            );
            return Ok(());
        }
        let task = match container.record.task(ctx, None).await {
            Ok(task) => task,
            Err(error) if !error.is_not_found() => {
                let outer = format!("failed to get task for container {}", quote(id));
                return Err(error.wrap(outer));
            }
            Err(_) if unknown => {
                return self.clean_up_unknown_container(ctx, container, None).await;
            }
            Err(_) => return Ok(()),
        };
        if !unknown {
            return self.stop_task(ctx, container, &task, timeout).await;
        }
        // Nobody waits for an unknown container's exit yet. The monitor ends before the wait is
        // cancelled, so that the cancelled wait is not taken for an exit.
        let (wait_ctx, wait_cancel) = Context::background().with_cancel();
        let exit = task.wait(&wait_ctx);
        let (exit_ctx, exit_cancel) = Context::background().with_cancel();
        let done = self.start_container_exit_monitor(exit_ctx, id, task.pid(), exit);
        let result = self.stop_task(ctx, container, &task, timeout).await;
        exit_cancel.cancel(self.ports.clock().now());
        // A background context cannot end the wait.
        let _ = done.wait(&Context::background()).await;
        wait_cancel.cancel(self.ports.clock().now());
        result
    }

    /// Steps 4 to 6.
    async fn stop_task(
        &self,
        ctx: &Context,
        container: &Container<P>,
        task: &Task<P>,
        timeout: i64,
    ) -> Result<(), Error> {
        let id = container.id();
        if timeout > 0 {
            let name = self.stop_signal(ctx, container).await?;
            let signal = parse_signal(&name)
                .map_err(|e| e.wrap(format!("failed to parse stop signal {}", quote(&name))))?;
            if container.stop_signal_sent.is_set() {
                info!(
                    "Skipping the sending of signal {name} to container {}: \
                     an earlier stop with a timeout has sent it",
                    quote(id)
                );
            } else {
                container.stop_signal_sent.set();
                info!("Stop container {} with signal {name}", quote(id));
                match task.kill(ctx, signal, false).await {
                    Err(error) if !error.is_not_found() => {
                        let outer = format!("failed to stop container {}", quote(id));
                        return Err(error.wrap(outer));
                    }
                    _ => {}
                }
            }
            let grace = Duration::from_secs(timeout.unsigned_abs());
            let grace_ctx = ctx.with_timeout(self.ports.clock().now(), grace);
            if container.wait_stopped(&grace_ctx).await.is_ok() {
                return Ok(());
            }
            if let Some(error) = ctx.error(self.ports.clock().now()) {
                return Err(error);
            }
            debug!("Stop container {} with signal {name} timed out", quote(id));
        }
        info!("Kill container {}", quote(id));
        let is_gone = match task.kill(ctx, SIGKILL, false).await {
            Err(error) if !error.is_not_found() => {
                return Err(error.wrap(format!("failed to kill container {}", quote(id))));
            }
            killed => killed.is_err(),
        };
        // Whoever hears of the exit of a process that is gone has the time of handling one.
        if is_gone
            && !self.quirks.has(Quirk::ExitReportTrusted)
            && container.stopped.wait(&self.event_context()).await.is_err()
        {
            // The shim may have what nobody was told.
            let exit = match task.info(ctx).await {
                Ok(TaskInfo { status: TaskStatus::Unknown, .. }) => {
                    let why = "failed to get task status: the shim does not tell it";
                    return Err(Error::unknown(why));
                }
                Ok(info) => info.exit,
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(error.wrap("failed to get task status")),
            };
            return self.clean_up_unknown_container(ctx, container, exit).await;
        }
        container.wait_stopped(ctx).await.map_err(|e| {
            e.wrap(format!(
                "an error occurs during waiting for container {} to be killed",
                quote(id)
            ))
        })
    }

    /// The name of the signal that asks the container to stop (spec section 4.3 step 4a).
    async fn stop_signal(&self, ctx: &Context, container: &Container<P>) -> Result<String, Error> {
        let meta = &container.meta;
        if !meta.stop_signal.is_empty() {
            return Ok(meta.stop_signal.clone());
        }
        match self.ports.containerd().image_get(ctx, &meta.image_ref).await {
            Ok(image) if !image.stop_signal.is_empty() => return Ok(image.stop_signal.clone()),
            Ok(_) => {}
            Err(error) if error.is_not_found() => warn!(
                "Image {} not found, stop container with signal {}",
                quote(&meta.image_ref),
                quote(DEFAULT_STOP_SIGNAL)
            ),
            Err(error) => {
                let outer = format!("failed to get image {}", quote(&meta.image_ref));
                return Err(error.wrap(outer));
            }
        }
        Ok(DEFAULT_STOP_SIGNAL.to_owned())
    }

    /// Declares a container dead whose process is gone, with a code that nobody knows unless there is an
    /// `exit`.
    async fn clean_up_unknown_container(
        &self,
        ctx: &Context,
        container: &Container<P>,
        exit: Option<Exit>,
    ) -> Result<(), Error> {
        let exit_is_lost = exit.is_none();
        let unknown = Exit { code: UNKNOWN_EXIT_CODE, at: self.ports.clock().wall() };
        let Exit { code, at } = exit.unwrap_or(unknown);
        let exit = TaskExit::of(container.id(), 0, code, at);
        if self.quirks.has(Quirk::UnwrittenExitForgotten) {
            return self.handle_container_exit(ctx, &exit, container, false).await;
        }
        if exit_is_lost {
            self.delete_container_task(ctx, container).await?;
        }
        // That it ended is certain, if not on record: the rest need not keep the client waiting.
        if let Err(error) = self.handle_container_exit(ctx, &exit, container, false).await {
            error!(%error, "failed to handle container TaskExit event {exit:?}");
            self.back_off(container.id(), Event::TaskExit(exit)).await;
        }
        Ok(())
    }
}
