//! The steps that a failed start undoes itself by (spec section 1.3), and their repetition until
//! nothing is left.

use crate::client::Task;
use crate::config::{OOM_REASON, START_FAILURE_REASON, pauses};
#[cfg(feature = "planted")]
use crate::ports::Context;
use crate::ports::{Clock, Name, NriMode, Ports, Runtime, Signal};
use crate::quirks::Quirk;
use crate::quote::quote;
use crate::service::Service;
use crate::store::{Container, Sandbox, Status};
use tracing::error;

/// The annotation under which a container's spec has the status of a start that failed, when it could not
/// be written.
pub(crate) const START_FAILURE: &str = "io.cri-containerd.container.start-failure";

/// What of a failed start is still to be undone.
pub(crate) struct Leftovers<P: Ports> {
    /// R2: there is, or may be, a task.
    pub task: bool,
    /// R3: NRI has to hear of the stop, with the sandbox as it heard of the start.
    pub nri: Option<Sandbox<P>>,
    /// R1a: the failure is not on record, or not all that it means is so yet.
    pub failure: Option<Failure>,
    #[cfg(feature = "planted")]
    pub request: Context,
}

/// Why a start failed, as the status is to tell it.
pub(crate) struct Failure {
    /// Wall-clock nanoseconds; 0 before the first attempt to write it.
    at: i64,
    message: String,
    /// It is on the disk.
    recorded: bool,
    /// What is on the disk instead was set aside, or the record says better.
    disowned: bool,
    /// The record says so.
    on_record: bool,
}

impl Failure {
    pub fn new(message: String) -> Self {
        Failure { at: 0, message, recorded: false, disowned: false, on_record: false }
    }
}

impl<P: Ports> Leftovers<P> {
    fn is_empty(&self) -> bool {
        !self.task && self.nri.is_none() && self.failure.is_none()
    }
}

impl<P: Ports> Service<P> {
    /// R3. True when it calls a service that is not there.
    pub(crate) async fn roll_back_nri(
        &self,
        container: &Container<P>,
        left: &mut Leftovers<P>,
    ) -> bool {
        let Some(sandbox) = left.nri.take() else { return false };
        planted!(self, RollbackNriForgotten => {
            self.nri_forget_start(container.id()).await;
            return false;
        });
        if !self.nri_enabled() && !self.quirks.has(Quirk::NriAbsentCrash) {
            return false;
        }
        let ctx = self.defer_context();
        let views = self.nri_stop_views(Some(&sandbox), container).await;
        if self.nri_mode() == NriMode::Absent {
            return true;
        }
        if let Err(error) = self.nri_relay_stop(&ctx, views).await {
            error!(%error, "NRI stop failed for failed container {}", quote(container.id()));
        }
        false
    }

    /// R2, R3 and R1a, as far as they can be done now; `task`: the handle that the start had, if it had
    /// one. True as in [`Service::roll_back_nri`].
    pub(crate) async fn undo(
        &self,
        container: &Container<P>,
        task: Option<Task<P>>,
        left: &mut Leftovers<P>,
    ) -> bool {
        if left.task {
            if !self.quirks.has(Quirk::ExitDeletedFirst) {
                // Should the daemon die, only the task tells of the start otherwise.
                self.roll_back_status(container, left).await;
            }
            self.roll_back_task(container, task, left).await;
        }
        // Plugins hear of it when nothing runs any more.
        let crashed = !left.task && self.roll_back_nri(container, left).await;
        self.roll_back_status(container, left).await;
        crashed
    }

    /// R2.
    async fn roll_back_task(
        &self,
        container: &Container<P>,
        task: Option<Task<P>>,
        left: &mut Leftovers<P>,
    ) {
        let ctx = self.defer_context();
        #[cfg(feature = "planted")]
        let ctx = match planted!(self, RollbackOnRequestContext) {
            true => left.request.clone(),
            false => ctx,
        };
        let deleted = match task {
            Some(task) => match task.delete_with_kill(&ctx).await {
                Err(error) if !error.is_not_found() => Err(error),
                _ => Ok(()),
            },
            None => self.delete_container_task(&ctx, container).await,
        };
        match deleted {
            Ok(()) => {
                left.task = false;
                // Who found it gone has left them alone.
                if let Some(io) = container.io()
                    && !io.is_closed()
                    && !self.quirks.has(Quirk::RollbackDeleteNotRetried)
                {
                    io.cancel();
                    io.close().await;
                }
            }
            Err(error) => {
                error!(%error, "Failed to delete containerd task {}", quote(container.id()));
                planted!(self, RollbackFailureIgnored => { left.task = false; });
            }
        }
    }

    /// R1a. What may still run is not declared dead, but unknown.
    async fn roll_back_status(&self, container: &Container<P>, left: &mut Leftovers<P>) {
        let Some(mut failure) = left.failure.take() else { return };
        if failure.at == 0 {
            failure.at = self.ports.clock().wall();
        }
        let unknown = left.task && !self.quirks.has(Quirk::RollbackDeleteNotRetried);
        let keeps_oom = !self.quirks.has(Quirk::OomReasonOverwritten);
        let failed = |status: Status| {
            let killed = keeps_oom && status.reason == OOM_REASON;
            let reason = if killed { OOM_REASON } else { START_FAILURE_REASON };
            let message = if planted!(self, FailureUnexplained) { "" } else { &*failure.message };
            Status { unknown, ..status.start_failed(reason, message, failure.at) }
        };
        let storage = &container.status;
        let retried = !self.quirks.has(Quirk::FailureStatusNotRetried);
        let written = if failure.recorded {
            storage.update(|status| Ok(failed(status))).await
        } else if retried {
            storage.update_sync_or_unknown(failed).await
        } else {
            storage.update_sync(|status| Ok(failed(status))).await
        };
        failure.recorded |= written.is_ok();
        if let Err(error) = &written {
            error!(%error, "failed to set start failure state for container {}", quote(container.id()));
            failure.disowned |= retried && storage.disown().await.is_ok();
            if retried && !failure.disowned && !failure.on_record {
                failure.on_record = self.put_on_record(container, failed).await;
            }
        } else if failure.disowned {
            failure.disowned = storage.forget_disowned().await.is_err();
        }
        left.failure = (written.is_err() || unknown).then_some(failure);
    }

    /// Has the container's record say what became of its start, where the disk takes neither the status nor
    /// a rename: the store of records is another one. It is to be there before the task goes, which is the
    /// only other thing that tells of the start.
    async fn put_on_record(
        &self,
        container: &Container<P>,
        failed: impl FnOnce(Status) -> Status,
    ) -> bool {
        let status = failed(container.status.get().await).encode();
        let status = String::from_utf8_lossy(&status).into_owned();
        let marked = container.record.annotate(&self.defer_context(), START_FAILURE, status).await;
        if let Err(error) = &marked {
            error!(%error, "the failed start of container {} is on no record", quote(container.id()));
        }
        marked.is_ok()
    }

    /// Undoes in the background what could not be undone at once, however long it takes, unless the
    /// container is removed meanwhile.
    pub(crate) fn clean_up_later(&self, container: &Container<P>, mut left: Leftovers<P>) {
        left.task &= !self.quirks.has(Quirk::RollbackDeleteNotRetried);
        left.failure.take_if(|_| self.quirks.has(Quirk::FailureStatusNotRetried));
        left.nri.take_if(|_| !left.task);
        if left.is_empty() || planted!(self, RollbackNotRepeated) {
            self.end_of_failed_start(container);
            return;
        }
        let container = container.clone();
        let id = container.id().to_owned();
        self.until_done(&id, async move |service| {
            if service.is_removed(&container).await {
                return true;
            }
            service.undo(&container, None, &mut left).await;
            if left.is_empty() {
                service.end_of_failed_start(&container);
            }
            left.is_empty()
        });
    }

    /// Repeats in the background, with growing pauses, what has to succeed in the end.
    pub(crate) fn until_done(
        &self,
        id: &str,
        mut attempt: impl AsyncFnMut(&Self) -> bool + 'static,
    ) {
        let service = self.clone();
        self.ports.runtime().spawn(Name::new("cleanup", id), async move {
            for pause in pauses() {
                service.ports.runtime().sleep(pause).await;
                if attempt(&service).await {
                    return;
                }
            }
        });
    }

    pub(crate) async fn is_removed(&self, container: &Container<P>) -> bool {
        self.containers.get(container.id()).await.is_err_and(|error| error.is_not_found())
    }

    /// Nothing more comes of the container: whoever waits for its end may go on.
    fn end_of_failed_start(&self, container: &Container<P>) {
        if !self.quirks.has(Quirk::StoppedEventUnordered) && !planted!(self, RollbackEndUnsaid) {
            container.stopped.set();
        }
    }
}
