//! The NRI service (spec section 7.3): one mutex, held for the whole of every call, and the state in
//! which plugins believe each container to be.

use std::collections::{BTreeMap, BTreeSet};

use super::{NriMode, Views};
use crate::cri::{ContainerState, SandboxState};
use crate::ports::{
    Code, Context, Error, Lock, Nri, NriContainer, NriEvent, NriReply, NriUpdate, Plugin, Ports,
    ReadGuard, Runtime, Spec, WriteGuard,
};
use crate::quirks::Quirk;
use crate::quote::quote;
use crate::service::Service;
use tracing::{error, info, warn};

/// How far plugins have heard of a container; absent: removed, or never heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Heard {
    Created,
    Running,
    Stopped,
}

/// What the mutex guards.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct NriState {
    containers: BTreeMap<String, Heard>,
    /// By container: the plugins that heard of its start and are to hear of its stop.
    started: BTreeMap<String, BTreeSet<String>>,
    /// The registered plugins, in the order of calls.
    pub(super) plugins: Vec<Plugin>,
}

impl NriState {
    /// A plugin hears, or heard, that a container runs.
    pub(super) fn starts(&mut self, container: &str, plugin: &str) {
        self.started.entry(container.to_owned()).or_default().insert(plugin.to_owned());
    }

    pub(super) fn heard_start(&self, container: &str, plugin: &str) -> bool {
        self.started.get(container).is_some_and(|plugins| plugins.contains(plugin))
    }

    fn register(&mut self, plugin: Plugin) {
        self.plugins.retain(|known| known.name != plugin.name);
        self.plugins.push(plugin);
        self.plugins.sort_by(|a, b| (&a.index, &a.name).cmp(&(&b.index, &b.name)));
    }
}

pub(super) type Guard<P> =
    <<<P as Ports>::Runtime as Runtime>::Lock<NriState> as Lock<NriState>>::Write;

impl<P: Ports> Service<P> {
    pub(super) async fn nri_relay_create(
        &self,
        ctx: &Context,
        views: Views,
        spec: &mut Spec,
    ) -> Result<(), Error> {
        if !self.nri_enabled() {
            return Ok(());
        }
        let guard = self.nri.write().await;
        let id = views.container.id.clone();
        let replies = self.relay(ctx, &guard, NriEvent::CreateContainer, &views).await;
        guard.with_mut(|state| state.containers.insert(id, Heard::Created));
        let replies = replies?;
        for evicted in replies.iter().flat_map(|reply| &reply.evictions) {
            if let Err(error) = self.evict(ctx, evicted).await {
                warn!(%error, "pre-create eviction failed");
            }
        }
        self.apply_replies(ctx, &replies).await;
        for reply in replies {
            adjust(spec, reply);
        }
        Ok(())
    }

    pub(super) async fn nri_relay_post_create(
        &self,
        ctx: &Context,
        views: Views,
    ) -> Result<(), Error> {
        if !self.nri_enabled() {
            return Ok(());
        }
        let guard = self.nri.write().await;
        self.relay(ctx, &guard, NriEvent::PostCreateContainer, &views).await.map(drop)
    }

    pub(super) async fn nri_relay_start(&self, ctx: &Context, views: Views) -> Result<(), Error> {
        if !self.nri_enabled() {
            return Ok(());
        }
        let guard = self.nri.write().await;
        let replies = self.relay(ctx, &guard, NriEvent::StartContainer, &views).await;
        // Whatever the plugins answered.
        guard.with_mut(|state| state.containers.insert(views.container.id, Heard::Running));
        replies.map(drop)
    }

    pub(super) async fn nri_relay_post_start(
        &self,
        ctx: &Context,
        views: Views,
    ) -> Result<(), Error> {
        if !self.nri_enabled() {
            return Ok(());
        }
        let guard = self.nri.write().await;
        self.relay(ctx, &guard, NriEvent::PostStartContainer, &views).await.map(drop)
    }

    pub(crate) async fn nri_relay_stop(&self, ctx: &Context, views: Views) -> Result<(), Error> {
        if !self.nri_enabled() {
            return Ok(());
        }
        let guard = self.nri.write().await;
        self.stop_heard(ctx, &guard, &views).await
    }

    pub(super) async fn nri_relay_remove(&self, ctx: &Context, views: Views) -> Result<(), Error> {
        if !self.nri_enabled() {
            return Ok(());
        }
        let guard = self.nri.write().await;
        let id = &views.container.id;
        if guard.with(|state| !state.containers.contains_key(id)) {
            return Ok(());
        }
        if let Err(error) = self.stop_heard(ctx, &guard, &views).await {
            warn!(%error, "NRI stop before removal failed for container {}", quote(id));
        }
        let replies = self.relay(ctx, &guard, NriEvent::RemoveContainer, &views).await;
        guard.with_mut(|state| state.containers.remove(id));
        replies.map(drop)
    }

    /// Notes that plugins were told Stop.
    #[cfg(feature = "planted")]
    pub(crate) async fn nri_forget_start(&self, id: &str) {
        let guard = self.nri.write().await;
        guard.with_mut(|state| state.containers.insert(id.to_owned(), Heard::Stopped));
    }

    /// Tells plugins Stop if they believe the container created or running.
    async fn stop_heard(
        &self,
        ctx: &Context,
        guard: &Guard<P>,
        views: &Views,
    ) -> Result<(), Error> {
        let id = &views.container.id;
        match guard.with(|state| state.containers.get(id).copied()) {
            Some(Heard::Running) => {}
            Some(Heard::Created) if self.quirks.has(Quirk::NriStopWithoutStart) => {}
            _ => return Ok(()),
        }
        planted!(self, NriStopForgotten => { return Ok(()); });
        let unbroken = Context::background();
        let told_to_all = !self.quirks.has(Quirk::NriStopCutShort);
        let relayed = if told_to_all { &unbroken } else { ctx };
        planted!(self, NriStopTwice => {
            let _ = self.relay(relayed, guard, NriEvent::StopContainer, views).await;
        });
        let replies = self.relay(relayed, guard, NriEvent::StopContainer, views).await;
        guard.with_mut(|state| {
            state.started.remove(id);
            state.containers.insert(id.clone(), Heard::Stopped)
        });
        let own = self.own_context();
        self.apply_replies(if told_to_all { &own } else { ctx }, &replies?).await;
        Ok(())
    }

    async fn relay(
        &self,
        ctx: &Context,
        guard: &Guard<P>,
        event: NriEvent,
        views: &Views,
    ) -> Result<Vec<NriReply>, Error> {
        let mut container = views.container.clone();
        container.state = match self.containers.get(&container.id).await {
            Ok(known) => state_word(known.status.get().await.state()),
            Err(_) => "unknown",
        };
        self.call_plugins(ctx, guard, event, views.pod.clone(), container).await
    }

    /// Registers the plugins that have connected while the service came up. They are told what there
    /// is; on an empty node that is nothing.
    pub(crate) async fn nri_register_connected(&self) {
        if !self.nri_enabled() {
            return;
        }
        let plugins = self.ports.nri().plugins();
        if plugins.is_empty() {
            return;
        }
        if self.sandboxes.list().await.is_empty() {
            let guard = self.nri.write().await;
            return guard.with_mut(|state| {
                plugins.into_iter().for_each(|plugin| state.register(plugin));
            });
        }
        for plugin in plugins {
            if let Err(error) = self.nri_connect_plugin(&plugin.name).await {
                error!(%error, "failed to register NRI plugin {}", quote(&plugin.name));
            }
        }
    }

    /// Registers a plugin that has connected, after it was told what there is. The mutex is held
    /// all the while, and taken only when no call blocks synchronisations.
    ///
    /// # Errors
    /// NRI is off; no such plugin is connected; the synchronisation failed, which closes the
    /// plugin's connection.
    pub(crate) async fn nri_connect_plugin(&self, name: &str) -> Result<(), Error> {
        if self.nri_mode() != NriMode::Enabled {
            return Err(Error::new(Code::Unavailable, "NRI is not enabled: unavailable"));
        }
        let connected = self.ports.nri().plugins();
        let plugin = connected.into_iter().find(|plugin| plugin.name == name).ok_or_else(|| {
            let text = format!("NRI plugin {} is not connected: not found", quote(name));
            Error::new(Code::NotFound, text)
        })?;
        let _alone = if self.quirks.has(Quirk::NriSyncNotBlocked) {
            None
        } else {
            Some(self.nri_sync.write().await)
        };
        let guard = self.nri.write().await;
        info!("Synchronizing NRI (plugin) with current runtime state");
        let mut pods = Vec::new();
        for sandbox in self.sandboxes.list().await {
            if sandbox.status().await.state != SandboxState::Unknown {
                pods.push(self.pod_view(&sandbox).await);
            }
        }
        let mut containers: Vec<NriContainer> = Vec::new();
        for container in self.containers.list().await {
            let state = container.status.get().await.state();
            let heard = match state {
                ContainerState::Created => Heard::Created,
                ContainerState::Running => Heard::Running,
                ContainerState::Exited | ContainerState::Unknown => continue,
            };
            let view = self.container_view(&container).await;
            guard.with_mut(|state| {
                if heard == Heard::Running {
                    state.starts(&view.id, name);
                }
                state.containers.insert(view.id.clone(), heard)
            });
            containers.push(NriContainer { state: state_word(state), ..view });
        }
        let reply = self
            .synchronize(&plugin.name, pods, containers)
            .await
            .map_err(|e| e.wrap(format!("failed to synchronize NRI plugin {}", quote(name))))?;
        self.apply_replies(&self.own_context(), &[reply]).await;
        guard.with_mut(|state| state.register(plugin));
        Ok(())
    }

    /// Stops a container on a plugin's wish, under the mutex. One that is gone is fine.
    async fn evict(&self, ctx: &Context, id: &str) -> Result<(), Error> {
        match self.containers.get(id).await {
            Ok(container) => self.stop_known(ctx, &container, 0).await,
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Updates that a plugin wants without having been asked. The mutex is held all the while.
    ///
    /// # Errors
    /// NRI is off; one of the updates failed, which does not keep the others from being made.
    pub(crate) async fn nri_update_containers(&self, updates: &[NriUpdate]) -> Result<(), Error> {
        if self.nri_mode() != NriMode::Enabled {
            return Err(Error::new(Code::Unavailable, "NRI is not enabled: unavailable"));
        }
        let _guard = self.nri.write().await;
        info!("Unsolicited container update from NRI");
        self.apply_updates(&self.own_context(), updates).await
    }

    /// What plugins wanted beside what they were asked for. Failures are only logged.
    async fn apply_replies(&self, ctx: &Context, replies: &[NriReply]) {
        for reply in replies {
            let _ = self.apply_updates(ctx, &reply.updates).await;
        }
    }

    /// A container that is gone is fine.
    async fn apply_updates(&self, ctx: &Context, updates: &[NriUpdate]) -> Result<(), Error> {
        let mut result = Ok(());
        for (id, limits) in updates {
            let Ok(container) = self.containers.get(id).await else { continue };
            if let Err(error) = self.update_known(ctx, &container, limits).await {
                error!(%error, "NRI update of container {} failed", quote(id));
                result = Err(Error::unknown("NRI update of some containers failed"));
            }
        }
        result
    }
}

const fn state_word(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "created",
        ContainerState::Running => "running",
        ContainerState::Exited => "stopped",
        ContainerState::Unknown => "unknown",
    }
}

/// Annotations and variables replace those of the same name.
fn adjust(spec: &mut Spec, reply: NriReply) {
    for (key, value) in reply.annotations {
        spec.annotations.retain(|(known, _)| *known != key);
        spec.annotations.push((key, value));
    }
    spec.annotations.sort();
    for entry in reply.env {
        let name = |entry: &str| entry.split('=').next().map(str::to_owned);
        let replaced = name(&entry);
        spec.env.retain(|known| name(known) != replaced);
        spec.env.push(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(index: &str, name: &str) -> Plugin {
        Plugin { name: name.into(), index: index.into(), events: Vec::new() }
    }

    #[test]
    fn plugins_are_called_by_index_and_name() {
        let mut state = NriState::default();
        for (index, name) in [("20", "a"), ("10", "c"), ("10", "b"), ("05", "a")] {
            state.register(plugin(index, name));
        }
        let expected = [plugin("05", "a"), plugin("10", "b"), plugin("10", "c")];
        assert_eq!(state.plugins, expected);
    }

    #[test]
    fn adjustments_replace_what_has_the_same_name() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut spec = Spec {
            annotations: vec![pair("b", "1"), pair("c", "1")],
            env: vec!["PATH=/bin".into(), "A=1".into()],
            ..Spec::default()
        };
        let reply = NriReply {
            annotations: vec![pair("b", "2"), pair("a", "2")],
            env: vec!["PATH=/sbin".into(), "B=x=y".into()],
            ..NriReply::default()
        };
        adjust(&mut spec, reply);
        assert_eq!(spec.annotations, [pair("a", "2"), pair("b", "2"), pair("c", "1")]);
        assert_eq!(spec.env, ["A=1", "PATH=/sbin", "B=x=y"]);
    }
}
