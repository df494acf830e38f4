//! The event loop: the daemon's events that the service subscribes to, and second attempts at what
//! could not be handled (spec sections 5.1 and 5.4).
//!
//! Upstream one goroutine waits for both. Here two tasks do, `event-loop` and `backoff`, and take turns:
//! whoever handles something holds [`Shared::event_turn`](crate::service::Shared), so that the
//! other's work waits behind it as it does there.

use crate::backoff::{Backoff, CHECK_INTERVAL};
use crate::exit_monitor::TaskExit;
use crate::ports::{Clock, Containerd, Error, Lock, Name, Ports, ReadGuard, Runtime, WriteGuard};
use crate::quirks::Quirk;
use crate::service::Service;
use tracing::{debug, error, info};

/// An event that the service handles, and tries again when it could not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    TaskExit(TaskExit),
    /// The kernel killed a process of the container for want of memory.
    TaskOom {
        container_id: String,
    },
}

impl<P: Ports> Service<P> {
    /// Subscribes, which comes before recovery: no event of that time may be missed.
    pub(crate) fn subscribe_events(&self) {
        self.ports.containerd().oom_subscribe();
    }

    /// Handles events in the background until the subscription ends.
    pub(crate) fn start_event_loop(&self) {
        let service = self.clone();
        let name = Name::new("event-loop", "");
        self.ports.runtime().spawn(name, async move {
            loop {
                match service.ports.containerd().oom_event().await {
                    Ok(Some(container_id)) => {
                        service.handle_or_back_off(Event::TaskOom { container_id }).await;
                    }
                    Ok(None) => return,
                    Err(error) => {
                        error!(%error, "Failed to handle event stream");
                        return;
                    }
                }
            }
        });
    }

    /// An event whose key waits for another attempt waits behind what is there.
    async fn handle_or_back_off(&self, event: Event) {
        let _turn = self.event_turn.write().await;
        let key = event.key().to_owned();
        let now = self.ports.clock().now();
        let queues = self.backoff.write().await;
        let waits = queues.with_mut(|queues| {
            let waits = queues.contains(&key);
            if waits {
                queues.enqueue(&key, event.clone(), now);
            }
            waits
        });
        drop(queues);
        if waits {
            info!("Events for {key} is in backoff, enqueue event {event:?}");
        } else if let Err(error) = self.handle_event(&event).await {
            error!(%error, "Failed to handle event {event:?} for {key}");
            self.back_off(&key, event).await;
        }
    }

    /// Queues an event for another attempt and sees to it that the queue is looked at.
    pub(crate) async fn back_off(&self, key: &str, event: Event) {
        let queues = self.backoff.write().await;
        let now = self.ports.clock().now();
        let arm = queues.with_mut(|queues: &mut Backoff<Event>| {
            queues.enqueue(key, event, now);
            !std::mem::replace(&mut queues.armed, true)
        });
        drop(queues);
        if arm {
            let service = self.clone();
            let name = Name::new("backoff", "");
            self.ports.runtime().spawn(name, async move { service.empty_queues().await });
        }
    }

    /// The tick of the event loop, for as long as events wait.
    async fn empty_queues(&self) {
        loop {
            self.ports.runtime().sleep(CHECK_INTERVAL).await;
            let turn = self.event_turn.write().await;
            let now = self.ports.clock().now();
            let expired = self.backoff.read().await.with(|queues| queues.expired(now));
            for key in &expired {
                self.handle_queue(key).await;
            }
            drop(turn);
            let queues = self.backoff.write().await;
            let idle = queues.with_mut(|queues| {
                queues.armed = !queues.is_empty();
                !queues.armed
            });
            if idle {
                return;
            }
        }
    }

    /// Handles the events of one key in order. From the first that fails on they wait again.
    async fn handle_queue(&self, key: &str) {
        let taken = self.backoff.write().await.with_mut(|queues| queues.take(key));
        let Some(mut queue) = taken else { return };
        let mut handled = 0;
        for event in &queue.events {
            if let Err(error) = self.handle_event(event).await {
                error!(%error, "Failed to handle backOff event {event:?} for {key}");
                break;
            }
            handled += 1;
        }
        queue.events.drain(..handled);
        if !queue.events.is_empty() {
            let queues = self.backoff.write().await;
            let now = self.ports.clock().now();
            let replaces = self.quirks.has(Quirk::LaterEventsReplaced);
            queues.with_mut(|queues| {
                let later = queues.take(key).filter(|_| !replaces);
                queue.events.extend(later.into_iter().flat_map(|later| later.events));
                queues.requeue(key, queue, now);
            });
        }
    }

    /// One attempt at an event, with a budget of its own.
    async fn handle_event(&self, event: &Event) -> Result<(), Error> {
        match event {
            // Boxed, so that it takes no room in the futures of the tasks that wait for an event.
            Event::TaskExit(exit) => Box::pin(self.handle_exit_again(exit)).await,
            Event::TaskOom { container_id } => self.handle_oom(container_id).await,
        }
    }

    async fn handle_exit_again(&self, exit: &TaskExit) -> Result<(), Error> {
        let ctx = self.event_context();
        match self.containers.get(&exit.process_id).await {
            Ok(container) => {
                let handled = self.handle_container_exit(&ctx, exit, &container, false).await;
                return handled.map_err(|e| e.wrap("failed to handle container TaskExit event"));
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.wrap("can't find container for TaskExit event")),
        }
        match self.sandboxes.get(&exit.process_id).await {
            Ok(sandbox) => {
                let handled = self.handle_sandbox_exit(&ctx, &sandbox).await;
                handled.map_err(|e| e.wrap("failed to handle sandbox TaskExit event"))
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.wrap("can't find sandbox for TaskExit event")),
        }
    }

    /// Puts the reason on record, whatever the container's state; nothing else changes. A container that
    /// is gone is fine, and so is a sandbox.
    async fn handle_oom(&self, container_id: &str) -> Result<(), Error> {
        info!("TaskOOM event for container {container_id}");
        let container = match self.containers.get(container_id).await {
            Ok(container) => container,
            Err(error) if error.is_not_found() => {
                debug!("TaskOOM event for {container_id}, which is no container");
                return Ok(());
            }
            Err(error) => return Err(error.wrap("can't find container for TaskOOM event")),
        };
        container
            .status
            .update_sync(|status| Ok(status.oom_killed()))
            .await
            .map_err(|e| e.wrap("failed to update container status for TaskOOM event"))
    }
}

impl Event {
    /// Under which key the event waits for another attempt.
    fn key(&self) -> &str {
        match self {
            Event::TaskExit(exit) => &exit.container_id,
            Event::TaskOom { container_id } => container_id,
        }
    }
}
