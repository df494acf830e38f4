//! StartContainer (spec section 1).

use crate::client::{Task, TaskOptions};
use crate::cri::{ContainerState, EventKind, NamespaceMode, SandboxState};
use crate::io::create_loggers;
use crate::metrics;
use crate::nri::SyncBlock;
use crate::ports::{Clock, Context, Error, Metrics, Ports, Signal, Value};
use crate::quirks::Quirk;
use crate::quote::quote;
use crate::rollback::{Failure, Leftovers};
use crate::runtime_handler::sandbox_runtime;
use crate::service::Service;
use crate::store::{Container, Sandbox, Told};
use tracing::{debug, error};

/// The only runtime that knows the option not to pivot into the root file system.
const NO_PIVOT_RUNTIME: &str = "io.containerd.runtime.v1.linux";

/// What a start has brought into being so far: the clean-up steps that a failure has to run, in
/// the reverse order of the fields.
struct Rollback<P: Ports> {
    /// The task service was, or may have been, asked for a task.
    task_asked: bool,
    /// R2: delete the task.
    task: Option<Task<P>>,
    /// Let plugins be synchronised again.
    sync_block: Option<SyncBlock<P>>,
    /// R3: tell NRI to stop, with the sandbox as it was told to start.
    nri: Option<Sandbox<P>>,
    #[cfg(feature = "planted")]
    request: Context,
}

impl<P: Ports> Service<P> {
    /// Starts a created container. `requested` may be a unique prefix of its id.
    ///
    /// # Errors
    /// Of the step that failed. From the moment the container is claimed, a failure leaves it
    /// EXITED with code 128 and reason StartError, or as it was when even that cannot be written.
    ///
    /// # Panics
    /// With [`Quirk::NriAbsentCrash`], when a start fails while there is no NRI service.
    pub(crate) async fn start(&self, ctx: &Context, requested: &str) -> Result<(), Error> {
        // 1
        let began = self.ports.clock().now();
        let stops = self.stops.get();
        // 2
        let container = self.containers.get(requested).await.map_err(|e| {
            e.wrap(format!("an error occurred when try to find container {}", quote(requested)))
        })?;
        let id = container.id();
        // 3
        let info = container.record.info(ctx).await.map_err(|e| e.wrap("get container info"))?;
        // 4
        container.status.set_starting().await.map_err(|e| {
            e.wrap(format!("failed to set starting state for container {}", quote(id)))
        })?;

        let mut rollback = Rollback {
            task_asked: false,
            task: None,
            sync_block: None,
            nri: None,
            #[cfg(feature = "planted")]
            request: ctx.clone(),
        };
        let result = self.start_claimed(ctx, &container, stops, &mut rollback).await;
        let crashed = match &result {
            Ok(()) => {
                // 19
                drop(rollback);
                let elapsed = self.ports.clock().now().since(began);
                self.ports.metrics().observe(metrics::CONTAINER_START, &info.runtime, elapsed);
                false
            }
            // Boxed, so that it takes no room in the futures of the starts that succeed.
            Err(error) => Box::pin(self.roll_back(&container, rollback, error)).await,
        };
        // R1b
        if (result.is_ok() || !planted!(self, StartingKept))
            && let Err(error) = container.status.reset_starting().await
        {
            error!(%error, "failed to reset starting state for container {}", quote(id));
        }
        container.start_over.set();
        if crashed {
            panic!(
                "invalid memory address or nil pointer dereference: \
                 the rollback of a start calls an NRI service that is absent"
            );
        }
        // 20
        result
    }

    /// Steps 5 to 18, with the container marked as starting.
    async fn start_claimed(
        &self,
        ctx: &Context,
        container: &Container<P>,
        stops: u64,
        rollback: &mut Rollback<P>,
    ) -> Result<(), Error> {
        let id = container.id();
        let meta = &container.meta;
        if container.last_stop.get() > stops {
            return Err(Error::unknown("container was stopped while it was about to start"));
        }
        // 5
        let sandbox_id = &meta.sandbox_id;
        let sandbox = self
            .sandboxes
            .get(sandbox_id)
            .await
            .map_err(|e| e.wrap(format!("sandbox {} not found", quote(sandbox_id))))?;
        // 6
        if sandbox.status().await.state != SandboxState::Ready {
            return Err(Error::unknown(format!(
                "sandbox container {} is not running",
                quote(sandbox_id)
            )));
        }
        // 7
        if let Some(linux) = &meta.config.linux
            && linux.namespaces.pid == NamespaceMode::Target
        {
            self.validate_target(sandbox_id, &linux.target_id)
                .await
                .map_err(|e| e.wrap("invalid target container"))?;
        }
        if !self.quirks.has(Quirk::OtherAttemptsIgnored) {
            self.refuse_beside_other_attempt(container).await?;
        }
        // 8
        let mut no_pivot_root = false;
        if self.quirks.has(Quirk::RecordReadTwice) {
            let info = container.record.info(ctx).await;
            let info = info.map_err(|e| e.wrap("failed to get container info"))?;
            no_pivot_root = self.config.no_pivot && info.runtime == NO_PIVOT_RUNTIME;
        }
        // 9
        let runtime =
            sandbox_runtime(&self.config, &sandbox.meta.config, &sandbox.meta.runtime_handler)
                .map_err(|e| e.wrap("failed to get sandbox runtime"))?;
        // 10
        let options = TaskOptions { no_pivot_root, runtime_path: runtime.path.clone() };
        // 11
        let make_io = async || {
            let (out, err) =
                create_loggers(&self.ports, &self.config, &meta.log_path, meta.config.tty, id)
                    .await
                    .map_err(|e| e.wrap("failed to create container loggers"))?;
            let io = container.io().expect("a created container has its pipes");
            io.add_output("log", Some(out), err).await;
            io.pipe();
            rollback.task_asked = true;
            Ok(io)
        };
        let task = container
            .record
            .new_task(ctx, make_io, options)
            .await
            .map_err(|e| e.wrap("failed to create containerd task"))?;
        let task = rollback.task.insert(task);
        planted!(self, StartingClearedEarly => {
            let _ = container.status.reset_starting().await;
        });
        // 12: asked for before the process runs, so that no exit can be missed.
        let exit = task.wait(&Context::background());
        rollback.sync_block = self.nri_block_sync().await;
        // 13: whether NRI is enabled or not, from here on the rollback tells it to stop.
        rollback.nri = Some(sandbox.clone());
        if self.nri_enabled() {
            self.nri_start_container(ctx, &sandbox, container).await.map_err(|e| {
                error!(error = %e, "NRI container start failed");
                e.wrap("NRI container start failed")
            })?;
        }
        // 14
        let asked_at = self.ports.clock().wall();
        task.start(ctx)
            .await
            .map_err(|e| e.wrap(format!("failed to start containerd task {}", quote(id))))?;
        // 15
        let pid = task.pid();
        planted!(self, MonitorBeforeCheckpoint => {
            let early = task.wait(&Context::background());
            self.start_container_exit_monitor(Context::background(), id, pid, early);
        });
        planted!(self, StartedEventEarly => {
            self.send_container_event(ctx, id, sandbox_id, EventKind::Started).await;
            self.release_events(id);
        });
        container
            .status
            .update_sync(|status| {
                let late = self.quirks.has(Quirk::StartedAtReadLate);
                let started_at = if late { self.ports.clock().wall() } else { asked_at };
                Ok(status.started(pid, started_at))
            })
            .await
            .map_err(|e| e.wrap(format!("failed to update container {} state", quote(id))))?;
        // 16: after the checkpoint, so that the exit is written over RUNNING and never before it.
        let watch = || {
            let until = match planted!(self, MonitorOnRequestContext) {
                true => ctx.clone(),
                false => Context::background(),
            };
            self.start_container_exit_monitor(until, id, pid, exit)
        };
        // 17
        let announce = self.send_container_event(ctx, id, sandbox_id, EventKind::Started);
        if self.quirks.has(Quirk::StartedEventUnordered) {
            watch();
            announce.await;
            self.release_events(id);
        } else {
            if !planted!(self, StartedEventEarly) {
                announce.await;
            }
            planted!(self, StartedEventTwice => {
                self.send_container_event(ctx, id, sandbox_id, EventKind::Started).await;
            });
            self.note_told(container, Told { started: true, stopped: false }).await;
            watch();
        }
        // 18
        if self.nri_enabled()
            && let Err(error) = self.nri_post_start_container(ctx, &sandbox, container).await
        {
            error!(%error, "NRI post-start notification failed");
        }
        Ok(())
    }

    /// R3, R2 and R1a. Errors are only logged: the caller hears why the start failed. True when the
    /// daemon crashes once the rollback is through.
    async fn roll_back(
        &self,
        container: &Container<P>,
        rollback: Rollback<P>,
        cause: &Error,
    ) -> bool {
        let id = container.id();
        debug!(error = %cause, "rolling back the start of container {}", quote(id));
        // Its creation may have failed after it was made.
        let asked = rollback.task_asked && !self.quirks.has(Quirk::RollbackDeleteNotRetried);
        let mut left = Leftovers {
            task: rollback.task.is_some() || asked,
            nri: rollback.nri,
            failure: Some(Failure::new(cause.message.clone())),
            #[cfg(feature = "planted")]
            request: rollback.request,
        };
        planted!(self, RollbackNeedsTask => {
            assert!(rollback.task.is_some(), "a start that failed has a task");
        });
        planted!(self, RollbackTaskKept => { left.task = false; });
        planted!(self, RollbackStatusForgotten => { left.failure = None; });
        // R3. No plugin is told what there is until all have heard of the stop.
        let mut crashed = false;
        let mut sync_block = rollback.sync_block;
        if self.quirks.has(Quirk::NriStopBeforeKill) || planted!(self, RollbackNriFirst) {
            crashed = self.roll_back_nri(container, &mut left).await;
            sync_block = None;
        }
        if !left.task
            && !self.quirks.has(Quirk::PipesKeptOnEarlyFailure)
            && let Some(io) = container.io()
        {
            io.cancel();
            io.close().await;
        }
        // R2, R3 and R1a
        crashed |= self.undo(container, rollback.task, &mut left).await;
        drop(sync_block);
        self.clean_up_later(container, left);
        crashed
    }

    /// A client that gave up on one attempt at a container may ask for the next while the first is
    /// still on its way.
    ///
    /// # Errors
    /// Another attempt runs, is being started, or may run.
    async fn refuse_beside_other_attempt(&self, container: &Container<P>) -> Result<(), Error> {
        let meta = &container.meta;
        for other in self.containers.list().await {
            let same = other.meta.sandbox_id == meta.sandbox_id
                && other.meta.config.name == meta.config.name
                && other.id() != container.id();
            if !same {
                continue;
            }
            let status = other.status.get().await;
            let may_run =
                matches!(status.state(), ContainerState::Running | ContainerState::Unknown);
            if status.starting || may_run {
                return Err(Error::unknown(format!(
                    "container {} is another attempt at {} and in {} state",
                    quote(other.id()),
                    quote(&meta.config.name),
                    status.state()
                )));
            }
        }
        Ok(())
    }

    /// Whether the container that a pid namespace names can be joined (spec section 6.1).
    ///
    /// # Errors
    /// It does not exist, belongs to another sandbox or does not run.
    async fn validate_target(
        &self,
        sandbox_id: &str,
        target_id: &str,
    ) -> Result<Container<P>, Error> {
        let target = self
            .containers
            .get(target_id)
            .await
            .map_err(|e| e.wrap(format!("container {} does not exist", quote(target_id))))?;
        if target.meta.sandbox_id != sandbox_id {
            return Err(Error::unknown(format!(
                "container {} (sandbox {}) does not belong to sandbox {sandbox_id}",
                quote(target_id),
                target.meta.sandbox_id,
            )));
        }
        let state = target.status.get().await.state();
        if state != ContainerState::Running {
            return Err(Error::unknown(format!(
                "container {} is not running - in state {state}",
                quote(target_id)
            )));
        }
        Ok(target)
    }
}
