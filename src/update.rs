//! UpdateContainerResources (spec section 4.6).

use crate::client::Record;
use crate::config::UPDATE_TIMEOUT;
use crate::cri::ContainerState;
use crate::ports::{Clock, Containerd, Context, Error, Ports, Spec};
use crate::quirks::Quirk;
use crate::quote::quote;
use crate::service::Service;
use crate::store::{Container, LinuxResources, Resources, Status};
use tracing::error;

impl<P: Ports> Service<P> {
    /// Changes limits of a container: in its spec, and of its task if it runs. What is zero or empty in
    /// `wanted` stays as it is.
    ///
    /// # Errors
    /// The container is not known or being removed; of the record, of the task service, of the
    /// checkpoint. The spec is then as before, if it can be put back.
    pub(crate) async fn update_resources(
        &self,
        ctx: &Context,
        requested: &str,
        wanted: &LinuxResources,
    ) -> Result<(), Error> {
        let container =
            self.containers.get(requested).await.map_err(|e| e.wrap("failed to find container"))?;
        let updated = self.update_known(ctx, &container, wanted).await;
        updated.map_err(|e| e.wrap("failed to update resources"))
    }

    /// In one transaction with the status, so that neither a start nor another update comes between.
    ///
    /// # Errors
    /// As [`Service::update_resources`].
    pub(crate) async fn update_known(
        &self,
        ctx: &Context,
        container: &Container<P>,
        wanted: &LinuxResources,
    ) -> Result<(), Error> {
        let change = async |status| self.change_resources(ctx, container, wanted, status).await;
        container.status.transact(change).await
    }

    async fn change_resources(
        &self,
        ctx: &Context,
        container: &Container<P>,
        wanted: &LinuxResources,
        status: Status,
    ) -> Result<Status, Error> {
        let id = container.id();
        if status.removing {
            return Err(Error::unknown(format!("container {} is in removing state", quote(id))));
        }
        if status.starting && !self.quirks.has(Quirk::UpdateIgnoresStarting) {
            // The task may have been made from the spec as it is now.
            return Err(Error::unknown(format!("container {} is in starting state", quote(id))));
        }
        let ctx = &match self.quirks.has(Quirk::UpdateWaitUnbounded) {
            true => ctx.clone(),
            false => ctx.with_timeout(self.ports.clock().now(), UPDATE_TIMEOUT),
        };
        let record = &container.record;
        let old = record.spec(ctx).await.map_err(|e| e.wrap("failed to get container spec"))?;
        let new = Spec { resources: old.resources.merged(wanted), ..old.clone() };
        self.write_spec(ctx, record, new.clone()).await?;
        if status.state() == ContainerState::Running
            && let Err(error) = self.update_task(ctx, record, &new.resources).await
        {
            if let Err(error) = self.write_spec(&self.defer_context(), record, old).await {
                error!(%error, "Failed to update spec for container {}", quote(id));
            }
            return Err(error);
        }
        // A container that does not run gets its limits when it starts.
        let resources = Resources { linux: Some(new.resources), windows: None };
        Ok(Status { resources: Some(resources), ..status })
    }

    async fn write_spec(&self, ctx: &Context, record: &Record<P>, spec: Spec) -> Result<(), Error> {
        let written = record.set_spec(ctx, spec).await;
        written.map_err(|e| e.wrap("failed to update container spec"))
    }

    /// A task that has exited already is fine.
    async fn update_task(
        &self,
        ctx: &Context,
        record: &Record<P>,
        resources: &LinuxResources,
    ) -> Result<(), Error> {
        match record.task(ctx, None).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.wrap("failed to get task")),
        }
        match self.ports.containerd().task_update(ctx, record.id(), resources).await {
            Err(error) if !error.is_not_found() => {
                Err(error.across_rpc(self.quirks).wrap("failed to update resources"))
            }
            _ => Ok(()),
        }
    }
}
