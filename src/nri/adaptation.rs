//! The sequence of plugins (spec sections 7.1 and 7.4). Its callers hold the service's mutex, which
//! makes a mutex of its own superfluous.

use super::local::{Guard, NriState};
use crate::config::NRI_REQUEST_TIMEOUT;
use crate::ports::{
    Clock, Code, Context, Error, Nri, NriContainer, NriError, NriEvent, NriPod, NriReply,
    NriRequest, Plugin, Ports, ReadGuard, WriteGuard,
};
use crate::quirks::Quirk;
use crate::quote::quote;
use crate::service::Service;
use tracing::warn;

impl<P: Ports> Service<P> {
    /// Asks every subscribed plugin in turn. One whose connection is broken or that does not answer
    /// in time is dropped and counts as content.
    ///
    /// # Errors
    /// The first error that a plugin answers; later plugins are not asked then.
    pub(super) async fn call_plugins(
        &self,
        ctx: &Context,
        guard: &Guard<P>,
        event: NriEvent,
        pod: NriPod,
        container: NriContainer,
    ) -> Result<Vec<NriReply>, Error> {
        let only_those_that_started =
            event == NriEvent::StopContainer && !self.quirks.has(Quirk::NriStopWithoutStart);
        let is_told = |state: &NriState, plugin: &Plugin| {
            !only_those_that_started || state.heard_start(&container.id, &plugin.name)
        };
        let plugins: Vec<Plugin> = guard.with(|state| {
            state.plugins.iter().filter(|plugin| is_told(state, plugin)).cloned().collect()
        });
        let id = container.id.clone();
        let request = NriRequest { event, pods: vec![pod], containers: vec![container] };
        let mut replies = Vec::with_capacity(plugins.len());
        let mut closed: Vec<String> = Vec::new();
        let mut result = Ok(());
        for Plugin { name, events, .. } in plugins {
            // Under a context that has ended nothing is written to a plugin any more.
            let hears = ctx.error(self.ports.clock().now()).is_none();
            if event == NriEvent::StartContainer && hears {
                guard.with_mut(|state| state.starts(&id, &name));
            }
            if !events.contains(&event) {
                continue;
            }
            match self.call_plugin(ctx, &name, request.clone()).await {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => closed.push(name),
                Err(error) => {
                    result = result.and(Err(error));
                    let goes_on = event == NriEvent::StopContainer
                        && !self.quirks.has(Quirk::NriStopCutShort);
                    if !goes_on {
                        break;
                    }
                }
            }
        }
        if !closed.is_empty() {
            guard.with_mut(|state| {
                state.plugins.retain(|plugin| !closed.contains(&plugin.name));
            });
        }
        result.map(|()| replies)
    }

    /// Tells a plugin what there is. A plugin that fails is closed.
    pub(super) async fn synchronize(
        &self,
        plugin: &str,
        pods: Vec<NriPod>,
        containers: Vec<NriContainer>,
    ) -> Result<NriReply, Error> {
        let request = NriRequest { event: NriEvent::Synchronize, pods, containers };
        match self.call_plugin(&Context::background(), plugin, request).await {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err(Error::new(Code::Unavailable, "connection closed: unavailable")),
            Err(error) => {
                self.ports.nri().close(plugin);
                Err(error)
            }
        }
    }

    /// One call to one plugin; `None` when it had to be closed.
    async fn call_plugin(
        &self,
        ctx: &Context,
        plugin: &str,
        request: NriRequest,
    ) -> Result<Option<NriReply>, Error> {
        let ctx = ctx.with_timeout(self.ports.clock().now(), NRI_REQUEST_TIMEOUT);
        match self.ports.nri().call(&ctx, plugin, request).await {
            Ok(reply) => Ok(Some(reply)),
            Err(NriError::Status(error)) if error.code != Code::DeadlineExceeded => Err(error),
            Err(error) => {
                warn!(?error, "closing NRI plugin {}", quote(plugin));
                self.ports.nri().close(plugin);
                Ok(None)
            }
        }
    }
}
