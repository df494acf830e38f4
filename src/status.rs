//! ContainerStatus and ListContainers (spec section 4.5).

use crate::cri::{
    ContainerFilter, ContainerState, ContainerStatus, ContainerSummary, Peek, VerboseInfo,
};
use crate::metrics;
use crate::ports::{Clock, Containerd, Context, Error, Image, Metrics, Ports};
use crate::quote::quote;
use crate::service::Service;
use crate::store::{Container, Status};

impl<P: Ports> Service<P> {
    /// A container's status as a client sees it.
    ///
    /// # Errors
    /// It is not known; of the image store; of the record, for a container without a creation time
    /// or a verbose request.
    pub(crate) async fn status(
        &self,
        ctx: &Context,
        requested: &str,
        verbose: bool,
    ) -> Result<ContainerStatus, Error> {
        let container = self.containers.get(requested).await.map_err(|e| {
            e.wrap(format!("an error occurred when try to find container {}", quote(requested)))
        })?;
        let meta = &container.meta;
        let known = match self.ports.containerd().image_get(ctx, &meta.image_ref).await {
            Ok(known) => Some(known),
            Err(error) if error.is_not_found() => None,
            Err(error) => {
                let outer = format!("failed to get image {}", quote(&meta.image_ref));
                return Err(error.wrap(outer));
            }
        };
        let (image, image_ref) = image_names(&meta.config.image, &meta.image_ref, known.as_deref());
        let stored = container.status.get().await;
        let seen = Seen::of(&stored);
        let mut status = ContainerStatus {
            id: meta.id.clone(),
            name: meta.config.name.clone(),
            attempt: meta.config.attempt,
            state: seen.state,
            created_at: stored.created_at,
            started_at: seen.started_at,
            finished_at: seen.finished_at,
            exit_code: stored.exit_code,
            image,
            image_ref,
            reason: seen.reason.to_owned(),
            message: stored.message.clone(),
            labels: meta.config.labels.clone(),
            annotations: meta.config.annotations.clone(),
            log_path: meta.log_path.clone(),
            resources: stored.resources,
            info: None,
        };
        if status.created_at == 0 {
            let info = container.record.info(ctx).await.map_err(|e| {
                e.wrap(format!("failed to get CreatedAt in {} state", quote(status.state.name())))
            })?;
            status.created_at = info.created_at;
        }
        if verbose {
            let info = self.verbose_info(ctx, &container).await;
            status.info = Some(info.map_err(|e| e.wrap("failed to get verbose container info"))?);
        }
        Ok(status)
    }

    async fn verbose_info(
        &self,
        ctx: &Context,
        container: &Container<P>,
    ) -> Result<VerboseInfo, Error> {
        let status = container.status.get().await;
        let spec = container
            .record
            .spec(ctx)
            .await
            .map_err(|e| e.wrap("failed to get container runtime spec"))?;
        let record =
            container.record.info(ctx).await.map_err(|e| e.wrap("failed to get container info"))?;
        Ok(VerboseInfo {
            sandbox_id: container.meta.sandbox_id.clone(),
            pid: status.pid,
            removing: status.removing,
            snapshot_key: record.snapshot_key.clone(),
            snapshotter: record.snapshotter.clone(),
            runtime: record.runtime.clone(),
            config: container.meta.config.clone(),
            spec,
        })
    }

    #[cfg(feature = "planted")]
    pub(crate) async fn wait_for_writers(&self) {
        for container in self.containers.list().await {
            container.status.wait_for_turn().await;
        }
    }

    /// The containers that meet all criteria of the filter, ordered by id.
    pub(crate) async fn list(&self, filter: ContainerFilter) -> Vec<ContainerSummary> {
        let began = self.ports.clock().now();
        let containers = self.containers.list().await;
        let mut summaries = Vec::with_capacity(containers.len());
        for container in containers {
            let status = container.status.get().await;
            summaries.push(summary(&container, &status));
        }
        let filter = self.resolve_filter(filter).await;
        summaries.retain(|summary| filter.matches(summary));
        let elapsed = self.ports.clock().now().since(began);
        self.ports.metrics().observe(metrics::CONTAINER_LIST, "", elapsed);
        summaries
    }

    /// Completes the prefixes of ids that are unique; others stay and match nothing.
    async fn resolve_filter(&self, mut filter: ContainerFilter) -> ContainerFilter {
        if !filter.id.is_empty()
            && let Ok(container) = self.containers.get(&filter.id).await
        {
            filter.id.clone_from(&container.meta.id);
        }
        if !filter.sandbox_id.is_empty()
            && let Ok(sandbox) = self.sandboxes.get(&filter.sandbox_id).await
        {
            filter.sandbox_id.clone_from(&sandbox.meta.id);
        }
        filter
    }

    /// See [`crate::cri::RuntimeService::peek`].
    pub(crate) fn peek_status(&self, id: &str) -> Option<Peek> {
        let mut told = None;
        let look = |status: &Status| {
            let seen = Seen::of(status);
            told = Some(Peek {
                state: seen.state,
                pid: status.pid,
                exit_code: status.exit_code,
                reason: seen.reason.to_owned(),
                message: status.message.clone(),
                created_at: status.created_at,
                started_at: seen.started_at,
                finished_at: seen.finished_at,
            });
        };
        self.containers.peek(id, |container| container.status.peek(look));
        told
    }

    pub(crate) fn peek_claims(&self, id: &str) -> Vec<&'static str> {
        let look = |status: &Status| {
            let flags = [("starting", status.starting), ("removing", status.removing)];
            flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect()
        };
        let found = self.containers.peek(id, |container| container.status.peek(look)).flatten();
        found.unwrap_or_default()
    }
}

/// The parts of a status that a client is not told as they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    pub state: ContainerState,
    pub reason: &'a str,
    /// Wall-clock nanoseconds since the Unix epoch, 0 when not shown.
    pub started_at: i64,
    pub finished_at: i64,
}

impl<'a> Seen<'a> {
    pub fn of(status: &'a Status) -> Self {
        let state = status.state();
        let reason = match (state, status.reason.as_str(), status.exit_code) {
            (ContainerState::Exited, "", 0) => "Completed",
            (ContainerState::Exited, "", _) => "Error",
            (_, reason, _) => reason,
        };
        let (started_at, finished_at) = match state {
            ContainerState::Created => (0, 0),
            ContainerState::Running => (status.started_at, 0),
            ContainerState::Exited | ContainerState::Unknown => {
                (status.started_at, status.finished_at)
            }
        };
        Seen { state, reason, started_at, finished_at }
    }
}

/// The image and its reference as a status shows them: the first tag and digest of the image, if it is
/// still `known` and has them, else what the container's config and metadata say.
pub fn image_names(image: &str, image_ref: &str, known: Option<&Image>) -> (String, String) {
    let tag = known.and_then(|known| known.tags.first()).map_or(image, String::as_str);
    let digest = known.and_then(|known| known.digests.first()).map_or(image_ref, String::as_str);
    (tag.to_owned(), digest.to_owned())
}

fn summary<P: Ports>(container: &Container<P>, status: &Status) -> ContainerSummary {
    let meta = &container.meta;
    ContainerSummary {
        id: meta.id.clone(),
        sandbox_id: meta.sandbox_id.clone(),
        name: meta.config.name.clone(),
        attempt: meta.config.attempt,
        image: meta.config.image.clone(),
        image_ref: meta.image_ref.clone(),
        state: status.state(),
        created_at: status.created_at,
        labels: meta.config.labels.clone(),
        annotations: meta.config.annotations.clone(),
    }
}

impl ContainerFilter {
    /// Whether the container meets all criteria that are given. Ids have to be whole.
    pub fn matches(&self, summary: &ContainerSummary) -> bool {
        (self.id.is_empty() || self.id == summary.id)
            && (self.sandbox_id.is_empty() || self.sandbox_id == summary.sandbox_id)
            && self.state.is_none_or(|state| state == summary.state)
            && self.labels.iter().all(|label| summary.labels.contains(label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: &Status) -> (ContainerState, &str, i64, i64) {
        let seen = Seen::of(status);
        (seen.state, seen.reason, seen.started_at, seen.finished_at)
    }

    #[test]
    fn what_a_client_sees_depends_on_the_state() {
        let created = Status { created_at: 1, ..Status::default() };
        let running = Status { started_at: 2, ..created.clone() };
        let exited = Status { finished_at: 3, ..running.clone() };
        let failed = Status { exit_code: 7, ..exited.clone() };
        let named = Status { reason: "OOMKilled".into(), ..failed.clone() };
        let unknown = Status { unknown: true, ..failed.clone() };
        assert_eq!(seen(&created), (ContainerState::Created, "", 0, 0));
        assert_eq!(seen(&running), (ContainerState::Running, "", 2, 0));
        assert_eq!(seen(&exited), (ContainerState::Exited, "Completed", 2, 3));
        assert_eq!(seen(&failed), (ContainerState::Exited, "Error", 2, 3));
        assert_eq!(seen(&named), (ContainerState::Exited, "OOMKilled", 2, 3));
        assert_eq!(seen(&unknown), (ContainerState::Unknown, "", 2, 3));
    }
}
