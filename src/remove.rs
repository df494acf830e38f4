//! RemoveContainer (spec section 4.4), and the removal of directories that it shares.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use crate::client::Record;
use crate::cri::{ContainerState, EventKind};
use crate::metrics;
use crate::ports::{Clock, Context, Errno, Error, Fs, Metrics, Ports, Runtime};
use crate::quirks::Quirk;
use crate::quote::quote;
use crate::service::Service;
use crate::store::{Container, Status};
use tracing::{debug, error, info, trace, warn};

/// How often a busy path is unmounted and tried again, and after which pause.
const MAX_BUSY_RETRIES: u32 = 50;
const BUSY_RETRY_PAUSE: Duration = Duration::from_millis(100);

impl<P: Ports> Service<P> {
    /// Removes a container, killing it first if it runs. One that is not known is removed already.
    ///
    /// # Errors
    /// Of the step that failed; the container can then be removed again.
    pub(crate) async fn remove(&self, ctx: &Context, requested: &str) -> Result<(), Error> {
        let began = self.ports.clock().now();
        let container = match self.containers.get(requested).await {
            Ok(container) => container,
            Err(error) if error.is_not_found() => {
                trace!("RemoveContainer called for container {requested:?} that does not exist");
                return Ok(());
            }
            Err(error) => {
                return Err(error.wrap(format!(
                    "an error occurred when try to find container {}",
                    quote(requested)
                )));
            }
        };
        let id = container.id();
        let _sync_block = self.nri_block_sync().await;
        let info = match container.record.info(ctx).await {
            Ok(info) => info,
            // An earlier removal came this far, or nearly.
            Err(error) if error.is_not_found() && !self.quirks.has(Quirk::RecordDeletedFirst) => {
                Rc::new(container.record.cached().clone())
            }
            Err(error) if error.is_not_found() && !self.quirks.has(Quirk::RemoveNeedsRecord) => {
                warn!(%error, "get container info failed");
                self.containers.delete(id, self.quirks).await;
                self.names.release_by_id(id).await;
                return Ok(());
            }
            Err(error) => return Err(error.wrap("get container info")),
        };
        let state = container.status.get().await.state();
        if matches!(state, ContainerState::Running | ContainerState::Unknown) {
            info!("Forcibly stopping container {}", quote(id));
            self.stop_known(ctx, &container, 0)
                .await
                .map_err(|e| e.wrap(format!("failed to forcibly stop container {}", quote(id))))?;
        }
        let claimed = match planted!(self, RemoveUnchecked) {
            true => Ok(container.status.get().await.state()),
            false => container.status.set_removing().await,
        };
        let claimed = claimed.map_err(|e| {
            e.wrap(format!("failed to set removing state for container {}", quote(id)))
        })?;
        if let Err(error) = self.remove_claimed(ctx, &container, claimed).await {
            if !self.quirks.has(Quirk::RecordDeletedFirst) {
                self.forbid_start(&container).await;
            }
            if let Err(error) = container.status.reset_removing().await {
                error!(%error, "failed to reset removing state for container {}", quote(id));
            }
            return Err(error);
        }
        let elapsed = self.ports.clock().now().since(began);
        self.ports.metrics().observe(metrics::CONTAINER_REMOVE, &info.runtime, elapsed);
        Ok(())
    }

    /// What a removal left unfinished can be removed, and nothing else.
    async fn forbid_start(&self, container: &Container<P>) {
        let at = self.ports.clock().wall();
        let unstartable = |status: Status| match status.state() {
            ContainerState::Created => Ok(Status { unknown: true, finished_at: at, ..status }),
            _ => Ok(status),
        };
        if let Err(error) = container.status.update(unstartable).await {
            error!(%error, "failed to mark container {} as removed in part", quote(container.id()));
        }
    }

    /// Steps 5 to 9, with the container marked as being removed; `state`: in which it was then.
    async fn remove_claimed(
        &self,
        ctx: &Context,
        container: &Container<P>,
        state: ContainerState,
    ) -> Result<(), Error> {
        let id = container.id();
        let sandbox_id = &container.meta.sandbox_id;
        // It may have ended since it was looked at.
        if state != ContainerState::Created && !self.quirks.has(Quirk::StoppedEventUnordered) {
            container.wait_stopped(ctx).await?;
        }
        if self.nri_enabled() {
            let sandbox = self.sandboxes.get(sandbox_id).await.ok();
            let removed = self.nri_remove_container(ctx, sandbox.as_ref(), container).await;
            if let Err(error) = removed {
                error!(%error, "NRI failed to remove container");
            }
        }
        // As long as the exit is not on record the task keeps it.
        let unwritten = state == ContainerState::Unknown;
        if self.quirks.has(Quirk::RecordDeletedFirst) {
            self.delete_record(ctx, &container.record).await?;
        } else if !unwritten {
            // A removal that is cut off is taken up by who finds the record: it goes last.
            self.delete_container_task(ctx, container).await?;
        }
        let outer = format!("failed to delete container checkpoint for {}", quote(id));
        if unwritten {
            container.status.set_aside().await.map_err(|e| e.wrap(&outer))?;
            container.status.tell_unwritten_end().await?;
            self.delete_container_task(ctx, container).await?;
        }
        container.status.delete().await.map_err(|e| e.wrap(&outer))?;
        let dir = self.config.container_root_dir(id);
        self.ensure_remove_all(&dir).await.map_err(|e| {
            e.wrap(format!("failed to remove container root directory {}", quote(&dir)))
        })?;
        let dir = self.config.volatile_container_root_dir(id);
        if !planted!(self, StateDirectoryKept) {
            self.ensure_remove_all(&dir).await.map_err(|e| {
                let outer = "failed to remove volatile container root directory";
                e.wrap(format!("{outer} {}", quote(&dir)))
            })?;
        }
        planted!(self, DeletedEventEarly => {
            self.send_container_event(ctx, id, sandbox_id, EventKind::Deleted).await;
        });
        self.containers.delete(id, self.quirks).await;
        if !planted!(self, NameKept) {
            self.names.release_by_id(id).await;
        }
        if !planted!(self, DeletedEventEarly) {
            self.send_container_event(ctx, id, sandbox_id, EventKind::Deleted).await;
        }
        let deleted = match self.quirks.has(Quirk::RecordDeletedFirst) {
            true => Ok(()),
            false => self.delete_record(ctx, &container.record).await,
        };
        match deleted {
            Ok(()) => self.release_events(id),
            Err(error) => {
                error!(%error, "the record of a removed container stays for now");
                self.delete_record_later(&container.record);
            }
        }
        Ok(())
    }

    pub(crate) async fn delete_record(
        &self,
        ctx: &Context,
        record: &Record<P>,
    ) -> Result<(), Error> {
        match record.delete_with_snapshot(ctx).await {
            Err(error) if !error.is_not_found() => {
                let id = quote(record.id());
                Err(error.wrap(format!("failed to delete containerd container {id}")))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn delete_record_later(&self, record: &Record<P>) {
        let record = record.clone();
        let id = record.id().to_owned();
        self.until_done(&id, async move |service| {
            let deleted = service.delete_record(&service.defer_context(), &record).await;
            if deleted.is_ok() {
                service.release_events(record.id());
            }
            deleted.is_ok()
        });
    }

    /// Removes a directory and what is below it, unmounting what is in the way. One that does not
    /// exist is fine.
    ///
    /// # Errors
    /// Of the file system; EBUSY after 50 tries at the same path.
    pub(crate) async fn ensure_remove_all(&self, dir: &str) -> Result<(), Error> {
        let fs = self.ports.fs();
        if let Err(error) = fs.unmount_all(dir).await {
            debug!(%error, "failed to do initial unmount of {dir}");
        }
        let mut vanished: BTreeSet<String> = BTreeSet::new();
        let mut tries: BTreeMap<String, u32> = BTreeMap::new();
        loop {
            let Err(error) = fs.remove_tree(dir).await else { return Ok(()) };
            if error.is(Errno::ENOENT) {
                if error.path == dir {
                    return Ok(());
                }
                // Something below went away while it was being removed: once more, not for ever.
                if !vanished.insert(error.path.clone()) {
                    return Err(error.into());
                }
                continue;
            }
            if !error.is(Errno::EBUSY) {
                return Err(error.into());
            }
            if let Err(error) = fs.unmount(&error.path).await {
                return Err(Error::from(error).wrap(format!("error while removing {dir}")));
            }
            let count = tries.entry(error.path.clone()).or_default();
            if *count == MAX_BUSY_RETRIES {
                return Err(error.into());
            }
            *count += 1;
            self.ports.runtime().sleep(BUSY_RETRY_PAUSE).await;
        }
    }
}
