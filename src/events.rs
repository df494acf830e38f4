//! CRI container events (spec sections 9.1 and 9.2).

use crate::cri::{
    ContainerEvent, ContainerFilter, ContainerStatus, EventKind, EventStream, SandboxState,
};
use crate::ports::{Clock, Context, Error, EventSink, EventSource, Ports};
use crate::quirks::Quirk;
use crate::quote::quote;
use crate::service::Service;
use crate::store::Sandbox;
use tracing::{debug, error, warn};

impl<P: Ports> Service<P> {
    /// Sends an event with a snapshot of the sandbox and its containers, taken now. Never fails: an
    /// event that cannot be made or has no room is dropped. For a sandbox's own events both ids
    /// are the sandbox's. Without [`Quirk::EventsNotRepeated`] those of a container, but for its creation,
    /// wait for [`Service::release_events`].
    pub(crate) async fn send_container_event(
        &self,
        ctx: &Context,
        container_id: &str,
        sandbox_id: &str,
        kind: EventKind,
    ) {
        let limited = self.own_context_below(ctx);
        let ctx = &limited;
        let sandbox_state = match self.sandbox_state(ctx, sandbox_id).await {
            Ok(state) => Some(state),
            Err(error) if self.quirks.has(Quirk::EventNeedsSandbox) => {
                error!(
                    "Failed to get podSandbox status for container event for sandboxID {}: \
                     {error}. Skipping sending the event.",
                    quote(sandbox_id)
                );
                return;
            }
            Err(error) => {
                warn!(
                    "Failed to get podSandbox status for container event for sandboxID {}: \
                     {error}. Sending the event with nil podSandboxStatus.",
                    quote(sandbox_id)
                );
                None
            }
        };
        let statuses = self.container_statuses(ctx, sandbox_id).await.unwrap_or_else(|error| {
            error!(
                "Failed to get container statuses for container event for sandboxID {}: {error}",
                quote(sandbox_id)
            );
            Vec::new()
        });
        let event = ContainerEvent {
            container_id: container_id.to_owned(),
            sandbox_id: sandbox_id.to_owned(),
            kind,
            created_at: self.ports.clock().wall(),
            sandbox_state,
            statuses,
        };
        if !self.quirks.has(Quirk::OneEventChannel) {
            let waits = self.quirks.has(Quirk::SlowSubscriberBlocks);
            // Nobody is told before it is on record that they were: a daemon that comes up tells nothing
            // twice. Of a creation no daemon that comes up tells, and of a sandbox nothing.
            let held = kind != EventKind::Created
                && container_id != sandbox_id
                && !self.quirks.has(Quirk::EventsNotRepeated);
            self.ports.events().publish(event, waits, held).await;
        } else if !self.ports.events().send(event).await {
            debug!("the channel of container events is full, an event is discarded");
        }
    }

    /// Lets subscribers have the events of a container that no daemon which comes up will tell again.
    pub(crate) fn release_events(&self, container_id: &str) {
        self.ports.events().release(container_id);
    }

    /// Hands events to one subscriber, until that fails. With [`Quirk::OneEventChannel`] all subscribers
    /// take from the same channel, so that each event reaches one of them. That a client is gone shows when
    /// an event cannot be handed to it, and that event is lost (spec section 9.2).
    ///
    /// # Errors
    /// That of the stream.
    pub(crate) async fn stream_events(
        &self,
        ctx: &Context,
        stream: &dyn EventStream,
    ) -> Result<(), Error> {
        let unwatched = self.quirks.has(Quirk::EventStreamUnwatched);
        let ctx = if unwatched { &Context::background() } else { ctx };
        let events = self.ports.events();
        let source = if self.quirks.has(Quirk::OneEventChannel) {
            EventSource::Shared
        } else {
            events.subscribe()
        };
        let ended = loop {
            let sent = match events.receive(ctx, source).await {
                Ok(event) => stream.send(event).await,
                Err(error) => Err(error),
            };
            if sent.is_err() {
                break sent;
            }
        };
        events.unsubscribe(source);
        ended
    }

    /// The state of the sandbox as its CRI status would show it.
    async fn sandbox_state(&self, ctx: &Context, id: &str) -> Result<SandboxState, Error> {
        let sandbox: Sandbox<P> = self
            .sandboxes
            .get(id)
            .await
            .map_err(|e| e.wrap("an error occurred when try to find sandbox"))?;
        let status = sandbox.status().await;
        let state = match status.state {
            SandboxState::Ready => SandboxState::Ready,
            SandboxState::NotReady | SandboxState::Unknown => SandboxState::NotReady,
        };
        if status.created_at == 0 {
            // A status has a creation time, if need be that of the record.
            sandbox.record.info(ctx).await.map_err(|e| {
                e.wrap(format!(
                    "failed to get CreatedAt for sandbox container in {} state",
                    quote(state.name())
                ))
            })?;
        }
        Ok(state)
    }

    async fn container_statuses(
        &self,
        ctx: &Context,
        sandbox_id: &str,
    ) -> Result<Vec<ContainerStatus>, Error> {
        let filter =
            ContainerFilter { sandbox_id: sandbox_id.to_owned(), ..ContainerFilter::default() };
        let mut statuses = Vec::new();
        for container in self.list(filter).await {
            match self.status(ctx, &container.id, false).await {
                Ok(status) => statuses.push(status),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.wrap("failed to get container status")),
            }
        }
        Ok(statuses)
    }
}
