//! CreateContainer, as far as a start relies on it (spec section 4.2).

use std::mem;
use std::rc::Rc;

use crate::client::Record;
use crate::config::{DISK_TIMEOUT, LATE_TIMEOUT};
use crate::cri::{ContainerConfig, ContainerState, EventKind, NamespaceMode};
use crate::io::ContainerIo;
use crate::metrics;
use crate::ports::{self, Clock, Containerd, Context, Error, Fs, Metrics, Ports, Runtime, Spec};
use crate::quirks::Quirk;
use crate::quote::quote;
use crate::recover::KIND_LABEL;
use crate::runtime_handler::sandbox_runtime;
use crate::service::Service;
use crate::store::{
    Container, LinuxResources, Metadata, Resources, Sandbox, Status, StatusStorage, container_name,
};
use tracing::{error, info, warn};

/// What a creation has brought into being so far. A failure undoes it from the last field to the
/// first.
struct Rollback<P: Ports> {
    /// Of the container; empty before it has one.
    id: String,
    name: Option<String>,
    root_dir: Option<String>,
    volatile_dir: Option<String>,
    io: Option<Rc<ContainerIo<P>>>,
    /// The container as NRI was told of it, with its sandbox.
    nri: Option<(Sandbox<P>, ports::Record)>,
    record: Option<Record<P>>,
    status: Option<StatusStorage<P>>,
}

impl<P: Ports> Rollback<P> {
    fn is_empty(&self) -> bool {
        self.root_dir.is_none()
            && self.volatile_dir.is_none()
            && self.record.is_none()
            && self.status.is_none()
    }
}

impl<P: Ports> Service<P> {
    /// Creates a container in a sandbox and returns its id.
    ///
    /// # Errors
    /// Of the step that failed; what the earlier ones made is undone.
    pub(crate) async fn create(
        &self,
        ctx: &Context,
        sandbox_id: &str,
        config: ContainerConfig,
    ) -> Result<String, Error> {
        let mut rollback = Rollback {
            id: String::new(),
            name: None,
            root_dir: None,
            volatile_dir: None,
            io: None,
            nri: None,
            record: None,
            status: None,
        };
        let began = self.ports.clock().now();
        let result = self.create_steps(ctx, sandbox_id, config, &mut rollback).await;
        if result.is_err() {
            let slow = self.ports.clock().now().since(began) >= DISK_TIMEOUT;
            // Boxed, so that it takes no room in the futures of the creations that succeed.
            Box::pin(self.undo_create(&mut rollback)).await;
            self.undo_create_later(rollback, slow);
        }
        result
    }

    async fn create_steps(
        &self,
        ctx: &Context,
        sandbox_id: &str,
        config: ContainerConfig,
        rollback: &mut Rollback<P>,
    ) -> Result<String, Error> {
        let sandbox = self
            .sandboxes
            .get(sandbox_id)
            .await
            .map_err(|e| e.wrap(format!("failed to find sandbox id {}", quote(sandbox_id))))?;
        let sandbox_id = sandbox.id();
        let sandbox_config = &sandbox.meta.config;
        // The state of the sandbox is not looked at, at most whether its task is there: a controller
        // says from memory what it is.
        if self.quirks.has(Quirk::NoSandboxController) {
            sandbox
                .record
                .task(ctx, None)
                .await
                .map_err(|e| e.wrap("failed to get sandbox container task"))?;
        }
        let id = self.ports.runtime().unique_id();
        rollback.id.clone_from(&id);
        let name = container_name(&config, sandbox_config);
        self.names
            .reserve(&name, &id)
            .await
            .map_err(|e| e.wrap(format!("failed to reserve container name {}", quote(&name))))?;
        rollback.name = Some(name.clone());

        let image = self
            .ports
            .containerd()
            .image_get(ctx, &config.image)
            .await
            .map_err(|e| e.wrap(format!("failed to resolve image {}", quote(&config.image))))?;
        let began = self.ports.clock().now();
        let sandbox_info = sandbox
            .record
            .info(ctx)
            .await
            .map_err(|e| e.wrap(format!("failed to get sandbox {} info", quote(sandbox_id))))?;

        let root_dir = self.config.container_root_dir(&id);
        let tidy = !self.quirks.has(Quirk::CleanUpNotRetried);
        if tidy {
            // A call that fails may have had its effect.
            rollback.root_dir = Some(root_dir.clone());
        }
        self.ports.fs().make_dir_all(&root_dir, 0o755).await.map_err(|e| {
            Error::from(e)
                .wrap(format!("failed to create container root directory {}", quote(&root_dir)))
        })?;
        rollback.root_dir = Some(root_dir.clone());
        let volatile_dir = self.config.volatile_container_root_dir(&id);
        if tidy {
            rollback.volatile_dir = Some(volatile_dir.clone());
        }
        self.ports.fs().make_dir_all(&volatile_dir, 0o755).await.map_err(|e| {
            Error::from(e).wrap(format!(
                "failed to create volatile container root directory {}",
                quote(&volatile_dir)
            ))
        })?;
        rollback.volatile_dir = Some(volatile_dir.clone());

        let runtime = sandbox_runtime(&self.config, sandbox_config, &sandbox.meta.runtime_handler)
            .map_err(|e| e.wrap("failed to get sandbox runtime"))?;
        let log_path = if sandbox_config.log_directory.is_empty() || config.log_path.is_empty() {
            info!(
                "Logging will be disabled due to empty log paths for sandbox ({}) or container ({})",
                quote(&sandbox_config.log_directory),
                quote(&config.log_path)
            );
            String::new()
        } else {
            join_path(&sandbox_config.log_directory, &config.log_path)
        };
        let (tty, stdin) = (config.tty, config.stdin);
        let spec = container_spec(&sandbox, &config);
        let meta = Metadata {
            id: id.clone(),
            name,
            sandbox_id: sandbox_id.to_owned(),
            config,
            image_ref: image.id.clone(),
            log_path,
            stop_signal: image.stop_signal.clone(),
            process_label: String::new(),
        };

        let io = ContainerIo::create(&self.ports, self.quirks, &id, &volatile_dir, tty, stdin)
            .await
            .map_err(|e| e.wrap("failed to create container io"))?;
        let io = Rc::new(io);
        rollback.io = Some(io.clone());

        let mut labels = meta.config.labels.clone();
        labels.retain(|(key, _)| key != KIND_LABEL);
        labels.push((KIND_LABEL.to_owned(), "container".to_owned()));
        labels.sort();
        let extension = String::from_utf8(meta.encode()).expect("JSON of texts is text");
        let record = ports::Record {
            id: id.clone(),
            labels,
            image: meta.config.image.clone(),
            runtime: sandbox_info.runtime.clone(),
            snapshotter: self.config.snapshotter.clone(),
            snapshot_key: id.clone(),
            spec,
            extensions: vec![(Metadata::EXTENSION.to_owned(), extension)],
            created_at: 0,
        };
        if self.nri_enabled() {
            rollback.nri = Some((sandbox.clone(), record.clone()));
        }
        if tidy {
            rollback.record = Some(Record::new(self.ports.clone(), self.quirks, record.clone()));
        }
        let _sync_block = self.nri_block_sync().await;
        let record = self
            .create_record(ctx, &image.id, record)
            .await
            .map_err(|e| e.wrap("failed to create containerd container"))?;
        rollback.record = Some(record.clone());

        let spec = &record.cached().spec;
        let resources = Resources { linux: Some(spec.resources.clone()), windows: None };
        let status = Status {
            created_at: self.ports.clock().wall(),
            resources: Some(resources),
            ..Status::default()
        };
        let (status, stored) =
            StatusStorage::store(&self.ports, self.quirks, &root_dir, &id, status).await;
        if tidy || stored.is_ok() {
            rollback.status = Some(status.clone());
        }
        stored.map_err(|e| {
            e.wrap(format!("failed to create internal container object for {}", quote(&id)))
        })?;
        let container =
            Container::new(&self.ports, meta, status, ContainerState::Created, record, Some(io));
        // Nobody starts it or removes it before clients were told of it.
        let told = match self.quirks.has(Quirk::StoppedEventUnordered) {
            true => None,
            false => Some(container.status.hold().await),
        };
        self.containers
            .add(container.clone())
            .await
            .map_err(|e| e.wrap(format!("failed to add container {} into store", quote(&id))))?;

        self.send_container_event(ctx, &id, sandbox_id, EventKind::Created).await;
        drop(told);
        if self.nri_enabled()
            && let Err(error) = self.nri_post_create_container(ctx, &sandbox, &container).await
        {
            error!(%error, "NRI post-create notification failed");
        }
        let elapsed = self.ports.clock().now().since(began);
        self.ports.metrics().observe(metrics::CONTAINER_CREATE, &runtime.kind, elapsed);
        Ok(id)
    }

    /// Prepares the snapshot, lets NRI adjust the spec, stores the record. A snapshot that no record
    /// came to use is removed, as containerd's garbage collection would once the lease has ended.
    async fn create_record(
        &self,
        ctx: &Context,
        image: &str,
        mut record: ports::Record,
    ) -> Result<Record<P>, Error> {
        let containerd = self.ports.containerd();
        let prepared = containerd.snapshot_prepare(ctx, &record.snapshot_key, image).await;
        if self.quirks.has(Quirk::CleanUpNotRetried)
            && let Err(error) = prepared
        {
            return Err(error);
        }
        let stored = async {
            prepared?;
            if self.nri_enabled() {
                self.nri_create_container(ctx, &mut record)
                    .await
                    .map_err(|e| e.wrap("failed to get NRI adjustment for container"))?;
            }
            let stored = containerd.record_create(ctx, record.clone()).await;
            stored.map_err(|e| e.across_rpc(self.quirks))
        };
        match stored.await {
            Ok(()) => Ok(Record::new(self.ports.clone(), self.quirks, record)),
            Err(error) if self.quirks.has(Quirk::CleanUpNotRetried) => {
                let key = &record.snapshot_key;
                let removed = containerd.snapshot_remove(&self.defer_context(), key).await;
                if let Err(error) = removed {
                    warn!(%error, "failed to remove unused snapshot {}", quote(key));
                }
                Err(error)
            }
            // With the record that there may be.
            Err(error) => Err(error),
        }
    }

    /// Each step has its own budget where it has one. Errors are only logged; what they leave stays in
    /// `left`.
    async fn undo_create(&self, left: &mut Rollback<P>) {
        if let Some(status) = left.status.take()
            && let Err(error) = status.delete().await
        {
            error!(%error, "Failed to cleanup container checkpoint");
            left.status = Some(status);
        }
        if let Some(record) = left.record.take() {
            let tidy = !self.quirks.has(Quirk::CleanUpNotRetried);
            let deleted = match record.delete_with_snapshot(&self.defer_context()).await {
                Err(error) if error.is_not_found() && tidy => {
                    let key = &record.cached().snapshot_key;
                    self.ports.containerd().snapshot_remove(&self.defer_context(), key).await
                }
                deleted => deleted,
            };
            match deleted {
                Err(error) if !error.is_not_found() || !tidy => {
                    let id = quote(record.id());
                    error!(%error, "Failed to delete containerd container {id}");
                    left.record = Some(record);
                }
                _ => {}
            }
        }
        if let Some((sandbox, record)) = left.nri.take() {
            self.nri_undo_create_container(&self.defer_context(), &sandbox, &record).await;
        }
        if let Some(io) = left.io.take() {
            io.close().await;
        }
        if let Some(dir) = left.volatile_dir.take()
            && let Err(error) = self.ports.fs().remove_tree(&dir).await
        {
            error!(%error, "Failed to remove volatile container root directory {}", quote(&dir));
            left.volatile_dir = Some(dir);
        }
        if let Some(dir) = left.root_dir.take()
            && let Err(error) = self.ports.fs().remove_tree(&dir).await
        {
            error!(%error, "Failed to remove container root directory {}", quote(&dir));
            left.root_dir = Some(dir);
        }
        if let Some(name) = left.name.take() {
            self.names.release_by_name(&name).await;
        }
    }

    /// Undoes in the background, without [`Quirk::CleanUpNotRetried`], what could not be undone at
    /// once. `slow`: the disk may not have answered in time, and make a directory yet.
    fn undo_create_later(&self, mut left: Rollback<P>, slow: bool) {
        let mut slow = slow && !left.id.is_empty() && !self.quirks.has(Quirk::DiskUnbounded);
        if self.quirks.has(Quirk::CleanUpNotRetried) || left.is_empty() && !slow {
            return;
        }
        let id = left.id.clone();
        self.until_done(&id, async move |service| {
            service.undo_create(&mut left).await;
            if left.is_empty() && mem::take(&mut slow) {
                service.ports.runtime().sleep(LATE_TIMEOUT).await;
                left.volatile_dir = Some(service.config.volatile_container_root_dir(&left.id));
                left.root_dir = Some(service.config.container_root_dir(&left.id));
                service.undo_create(&mut left).await;
            }
            left.is_empty()
        });
    }
}

/// Annotations of a container's spec, under the keys that others look for.
pub(crate) const CONTAINER_NAME_ANNOTATION: &str = "io.kubernetes.cri.container-name";
pub(crate) const SANDBOX_ID_ANNOTATION: &str = "io.kubernetes.cri.sandbox-id";

fn container_spec<P: Ports>(sandbox: &Sandbox<P>, config: &ContainerConfig) -> Spec {
    let pod = &sandbox.meta.config;
    // Sorted by key.
    let annotations = [
        (CONTAINER_NAME_ANNOTATION, config.name.as_str()),
        ("io.kubernetes.cri.container-type", "container"),
        ("io.kubernetes.cri.image-name", &config.image),
        (SANDBOX_ID_ANNOTATION, sandbox.id()),
        ("io.kubernetes.cri.sandbox-name", &pod.name),
        ("io.kubernetes.cri.sandbox-namespace", &pod.namespace),
        ("io.kubernetes.cri.sandbox-uid", &pod.uid),
    ];
    let linux = config.linux.clone().unwrap_or_default();
    let joins_target = linux.namespaces.pid == NamespaceMode::Target;
    Spec {
        args: config.args.clone(),
        env: config.env.clone(),
        annotations: annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
        mount_label: String::new(),
        pid_namespace_of: if joins_target { linux.target_id } else { String::new() },
        resources: LinuxResources {
            cpu_shares: linux.cpu_shares,
            memory_limit_in_bytes: linux.memory_limit_in_bytes,
            ..LinuxResources::default()
        },
    }
}

/// Joins and cleans: no empty, `.` or `..` component is left. Both are non-empty, `dir` is absolute.
fn join_path(dir: &str, path: &str) -> String {
    let mut components = Vec::new();
    for component in dir.split('/').chain(path.split('/')) {
        match component {
            "" | "." => {}
            ".." => drop(components.pop()),
            name => components.push(name),
        }
    }
    format!("/{}", components.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_paths_are_joined_and_cleaned() {
        for (dir, path, joined) in [
            ("/var/log/pods/p", "web/0.log", "/var/log/pods/p/web/0.log"),
            ("/var/log/", "/0.log", "/var/log/0.log"),
            ("/var//log/.", "../x/./0.log", "/var/x/0.log"),
            ("/", "../../0.log", "/0.log"),
        ] {
            assert_eq!(join_path(dir, path), joined);
        }
    }
}
