//! NRI (spec section 7), in three layers: the adapter here, which shows plugins the service's
//! containers and pods; the NRI service in [`local`], one call at a time, with a state for each
//! container; the sequence of plugins in [`adaptation`].
//!
//! What the adapter awaits of the NRI service is boxed, so that it takes no room in the futures of
//! calls that no plugin hears of.

mod adaptation;
mod local;

pub(crate) use local::NriState;

use crate::create::{CONTAINER_NAME_ANNOTATION, SANDBOX_ID_ANNOTATION};
use crate::ports::{
    self, Context, Error, Lock, Name, Nri, NriContainer, NriMode, NriPod, Ports, Runtime, Spec,
};
use crate::quirks::Quirk;
use crate::service::Service;
use crate::store::{Container, Sandbox};
use tracing::error;

/// No plugin is synchronised as long as one of these is there.
pub(crate) type SyncBlock<P> = <<<P as Ports>::Runtime as Runtime>::Lock<()> as Lock<()>>::Read;

/// What an event shows of a container and its pod. The container's state is looked up when the
/// event is relayed, not before.
pub(crate) struct Views {
    pod: NriPod,
    container: NriContainer,
}

impl<P: Ports> Service<P> {
    pub(crate) fn nri_mode(&self) -> NriMode {
        self.ports.nri().mode()
    }

    pub(crate) fn nri_enabled(&self) -> bool {
        self.nri_mode() == NriMode::Enabled
    }

    /// Keeps plugins that connect waiting, so that none is told of a half-done change. Waits behind a
    /// synchronisation that is under way or waits itself.
    pub(crate) async fn nri_block_sync(&self) -> Option<SyncBlock<P>> {
        if !self.nri_enabled() || self.quirks.has(Quirk::NriSyncNotBlocked) {
            return None;
        }
        Some(self.nri_sync.read().await)
    }

    pub(crate) async fn nri_start_container(
        &self,
        ctx: &Context,
        sandbox: &Sandbox<P>,
        container: &Container<P>,
    ) -> Result<(), Error> {
        let views = self.nri_views(Some(sandbox), container).await;
        Box::pin(self.nri_relay_start(ctx, views)).await
    }

    pub(crate) async fn nri_post_start_container(
        &self,
        ctx: &Context,
        sandbox: &Sandbox<P>,
        container: &Container<P>,
    ) -> Result<(), Error> {
        let views = self.nri_views(Some(sandbox), container).await;
        Box::pin(self.nri_relay_post_start(ctx, views)).await
    }

    /// `sandbox` may be gone.
    pub(crate) async fn nri_stop_container(
        &self,
        ctx: &Context,
        sandbox: Option<&Sandbox<P>>,
        container: &Container<P>,
    ) -> Result<(), Error> {
        let views = self.nri_stop_views(sandbox, container).await;
        Box::pin(self.nri_relay_stop(ctx, views)).await
    }

    /// `sandbox` may be gone.
    pub(crate) async fn nri_remove_container(
        &self,
        ctx: &Context,
        sandbox: Option<&Sandbox<P>>,
        container: &Container<P>,
    ) -> Result<(), Error> {
        let views = self.nri_views(sandbox, container).await;
        Box::pin(self.nri_relay_remove(ctx, views)).await
    }

    /// The hook of the exit handler: tells plugins Stop in the background, so that the handler
    /// never waits for the mutex of a call that itself waits for this exit.
    pub(crate) async fn nri_container_exited(&self, container: &Container<P>) {
        if !self.nri_enabled() {
            return;
        }
        let view = self.container_view(container).await;
        let sandbox = self.sandboxes.get(&view.pod_id).await.ok();
        let views = self.with_pod(sandbox.as_ref(), view).await;
        let service = self.clone();
        let name = Name::new("nri-exit", container.id());
        self.ports.runtime().spawn(name, async move {
            // As with the hook, nobody hears of a failure.
            let _ = service.nri_relay_stop(&Context::background(), views).await;
        });
    }

    /// Asks plugins about a container that is about to be created, and applies what they answer to
    /// its spec.
    pub(crate) async fn nri_create_container(
        &self,
        ctx: &Context,
        record: &mut ports::Record,
    ) -> Result<(), Error> {
        let view = view_of(record, &record.spec, 0);
        let sandbox = self.sandboxes.get(&view.pod_id).await?;
        let views = self.with_pod(Some(&sandbox), view).await;
        Box::pin(self.nri_relay_create(ctx, views, &mut record.spec)).await
    }

    pub(crate) async fn nri_post_create_container(
        &self,
        ctx: &Context,
        sandbox: &Sandbox<P>,
        container: &Container<P>,
    ) -> Result<(), Error> {
        let views = self.nri_views(Some(sandbox), container).await;
        Box::pin(self.nri_relay_post_create(ctx, views)).await
    }

    /// Stop and Remove for a container whose creation failed. Errors are only logged.
    pub(crate) async fn nri_undo_create_container(
        &self,
        ctx: &Context,
        sandbox: &Sandbox<P>,
        record: &ports::Record,
    ) {
        let pod = self.pod_view(sandbox).await;
        let container = view_of(record, &record.spec, 0);
        let views = || Views { pod: pod.clone(), container: container.clone() };
        if let Err(error) = self.nri_relay_stop(ctx, views()).await {
            error!(%error, "container creation undo (stop) failed");
        }
        if let Err(error) = self.nri_relay_remove(ctx, views()).await {
            error!(%error, "container creation undo (remove) failed");
        }
    }

    /// The turn of a pod's stop or removal. No plugin hears of it: plugins here subscribe to events
    /// of containers only; but it waits for the calls before it.
    pub(crate) async fn nri_pod_hook(&self, sandbox: &Sandbox<P>) {
        self.pod_view(sandbox).await;
        drop(self.nri.write().await);
    }

    /// The pod's view first, then the container's.
    pub(crate) async fn nri_views(
        &self,
        sandbox: Option<&Sandbox<P>>,
        container: &Container<P>,
    ) -> Views {
        let pod = match sandbox {
            Some(sandbox) => Some(self.pod_view(sandbox).await),
            None => None,
        };
        let container = self.container_view(container).await;
        Views { pod: pod.unwrap_or_else(|| nameless_pod(&container)), container }
    }

    /// The container's view first: a pod that is gone is known only by the id in its annotations.
    pub(crate) async fn nri_stop_views(
        &self,
        sandbox: Option<&Sandbox<P>>,
        container: &Container<P>,
    ) -> Views {
        let view = self.container_view(container).await;
        self.with_pod(sandbox, view).await
    }

    async fn with_pod(&self, sandbox: Option<&Sandbox<P>>, container: NriContainer) -> Views {
        let pod = match sandbox {
            Some(sandbox) => self.pod_view(sandbox).await,
            None => nameless_pod(&container),
        };
        Views { pod, container }
    }

    /// Looks under a context of its own: the task, then if it is there the spec.
    async fn pod_view(&self, sandbox: &Sandbox<P>) -> NriPod {
        let ctx = self.own_context();
        let id = sandbox.id();
        let config = &sandbox.meta.config;
        let mut pod = NriPod {
            id: id.to_owned(),
            name: config.name.clone(),
            namespace: config.namespace.clone(),
            uid: config.uid.clone(),
            pid: 0,
        };
        match sandbox.record.task(&ctx, None).await {
            Ok(task) => {
                pod.pid = task.pid();
                // The view holds nothing of a pod's spec; the look-up is made all the same.
                if let Err(error) = sandbox.record.spec(&ctx).await {
                    error!(%error, "failed to get spec for sandbox container {id}");
                }
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => error!(%error, "failed to get task for sandbox container {id}"),
        }
        pod
    }

    /// Looks under a context of its own: the spec, then the task.
    async fn container_view(&self, container: &Container<P>) -> NriContainer {
        let ctx = self.own_context();
        let id = container.id();
        let record = &container.record;
        let spec = record.spec(&ctx).await.unwrap_or_else(|error| {
            error!(%error, "failed to get OCI Spec for container {id}");
            Spec::default()
        });
        let pid = match record.task(&ctx, None).await {
            Ok(task) => task.pid(),
            Err(error) => {
                if !error.is_not_found() {
                    error!(%error, "failed to get task for container {id}");
                }
                0
            }
        };
        view_of(record.cached(), &spec, pid)
    }
}

fn view_of(record: &ports::Record, spec: &Spec, pid: u32) -> NriContainer {
    let annotation = |name: &str| {
        let found = spec.annotations.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    NriContainer {
        id: record.id.clone(),
        name: annotation(CONTAINER_NAME_ANNOTATION),
        pod_id: annotation(SANDBOX_ID_ANNOTATION),
        state: "unknown",
        pid,
        labels: record.labels.clone(),
        annotations: spec.annotations.clone(),
        args: spec.args.clone(),
        env: spec.env.clone(),
    }
}

/// Stands for a pod that is gone.
fn nameless_pod(container: &NriContainer) -> NriPod {
    NriPod { id: container.pod_id.clone(), ..NriPod::default() }
}
