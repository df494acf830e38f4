//! The sequence of plugins (spec sections 7.1 and 7.4). Its callers hold the service's mutex, which
//! makes a mutex of its own superfluous.

use super::local::Guard;
use crate::config::NRI_REQUEST_TIMEOUT;
use crate::ports::{
    Clock, Code, Context, Error, Nri, NriContainer, NriError, NriEvent, NriPod, NriReply,
    NriRequest, Plugin, Ports, ReadGuard, WriteGuard,
};
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
        let subscribed = |plugin: &&Plugin| plugin.events.contains(&event);
        let names: Vec<String> = guard.with(|state| {
            state.plugins.iter().filter(subscribed).map(|plugin| plugin.name.clone()).collect()
        });
        let request = NriRequest { event, pods: vec![pod], containers: vec![container] };
        let mut replies = Vec::with_capacity(names.len());
        let mut closed: Vec<String> = Vec::new();
        let mut result = Ok(());
        for name in names {
            match self.call_plugin(ctx, &name, request.clone()).await {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => closed.push(name),
                Err(error) => {
                    result = Err(error);
                    break;
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
