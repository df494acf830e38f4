//! The calls, one after the other. Where a step is left out that others take, a comment says so.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use shakedown_cri::client::{Record, TaskOptions};
use shakedown_cri::config::{Config, START_FAILURE_REASON};
use shakedown_cri::cri::{
    ContainerConfig, ContainerEvent, ContainerFilter, ContainerState, ContainerStatus,
    ContainerSummary, EventKind, LocalFuture, Peek, RuntimeService, Sandbox, SandboxConfig,
    SandboxState,
};
use shakedown_cri::io::{ContainerIo, create_loggers};
use shakedown_cri::ports::{
    self, Clock, Code, Containerd, Context, Error, EventSink, Exit, Fs, Name, Ports, Receiver,
    Runtime, Signal, Spec,
};
use shakedown_cri::quirks::Quirks;
use shakedown_cri::store::{Metadata, SandboxMetadata, Status, container_name};

const SIGTERM: u32 = 15;
const SIGKILL: u32 = 9;

/// The label that tells the records of containers and of pods apart.
const KIND: &str = "io.cri-containerd.kind";

type SignalOf<P> = <<P as Ports>::Runtime as Runtime>::Signal;

/// A container, as long as the daemon lives.
struct Container<P: Ports> {
    meta: Metadata,
    record: Record<P>,
    io: Option<Rc<ContainerIo<P>>>,
    // A cell and no lock: two calls can read the same status and go on from it.
    status: RefCell<Status>,
    exited: SignalOf<P>,
}

struct Shared<P: Ports> {
    ports: P,
    config: Config,
    quirks: Quirks,
    containers: RefCell<BTreeMap<String, Rc<Container<P>>>>,
    /// Whether they are ready is nobody's concern.
    pods: RefCell<BTreeMap<String, SandboxConfig>>,
}

/// The runtime service of one boot. Clones share.
pub struct Service<P: Ports>(Rc<Shared<P>>);

impl<P: Ports> Clone for Service<P> {
    fn clone(&self) -> Self {
        Service(self.0.clone())
    }
}

impl<P: Ports> Service<P> {
    pub fn new(ports: P, config: Config, quirks: Quirks) -> Self {
        let (containers, pods) = Default::default();
        Service(Rc::new(Shared { ports, config, quirks, containers, pods }))
    }

    fn containerd(&self) -> &P::Containerd {
        self.0.ports.containerd()
    }

    fn now(&self) -> i64 {
        self.0.ports.clock().wall()
    }

    fn container(&self, id: &str) -> Result<Rc<Container<P>>, Error> {
        let found = self.0.containers.borrow().get(id).cloned();
        found.ok_or_else(|| Error::new(Code::NotFound, format!("no container {id}")))
    }

    fn directories(&self, id: &str) -> [String; 2] {
        let Config { root_dir, state_dir, .. } = &self.0.config;
        [root_dir, state_dir].map(|dir| format!("{dir}/containers/{id}"))
    }

    /// Writes the status where a daemon that comes up finds it: over the one before, without fsync, so that
    /// a full disk leaves half of it and a power loss nothing.
    async fn write_status(&self, id: &str, status: &Status) -> Result<(), Error> {
        let [root, _] = self.directories(id);
        let (fs, path) = (self.0.ports.fs(), format!("{root}/status"));
        fs.remove_file(&path).await.ok();
        let file = fs.open_append(&path, 0o600).await?;
        let written = fs.write(&file, &status.encode()).await;
        fs.close(file).await?;
        written?;
        Ok(())
    }

    async fn tell(&self, container: &Container<P>, kind: EventKind) {
        let event = ContainerEvent {
            container_id: container.meta.id.clone(),
            sandbox_id: container.meta.sandbox_id.clone(),
            kind,
            created_at: self.now(),
            sandbox_state: Some(SandboxState::Ready),
            statuses: Vec::new(),
        };
        self.0.ports.events().send(event).await;
    }

    // Nothing that was made is taken away when a later step fails.
    async fn create(
        &self,
        ctx: &Context,
        sandbox_id: String,
        config: ContainerConfig,
    ) -> Result<String, Error> {
        let Shared { ports, config: node, quirks, .. } = &*self.0;
        let pod = self.0.pods.borrow().get(&sandbox_id).cloned();
        let pod = pod.ok_or_else(|| Error::new(Code::NotFound, format!("no pod {sandbox_id}")))?;
        let id = ports.runtime().unique_id();
        let [root, state] = self.directories(&id);
        ports.fs().make_dir_all(&root, 0o755).await?;
        ports.fs().make_dir_all(&state, 0o755).await?;
        let image = self.containerd().image_get(ctx, &config.image).await?;
        let (tty, stdin) = (config.tty, config.stdin);
        let io = ContainerIo::create(ports, *quirks, &id, &state, tty, stdin).await?;
        self.containerd().snapshot_prepare(ctx, &id, &image.id).await?;
        let log_path = match pod.log_directory.is_empty() || config.log_path.is_empty() {
            true => String::new(),
            false => format!("{}/{}", pod.log_directory, config.log_path),
        };
        // The shim that the task joins is found by it.
        let annotations = vec![("io.kubernetes.cri.sandbox-id".to_owned(), sandbox_id.clone())];
        let meta = Metadata {
            id: id.clone(),
            name: container_name(&config, &pod),
            sandbox_id,
            image_ref: image.id.clone(),
            log_path,
            stop_signal: image.stop_signal.clone(),
            process_label: String::new(),
            config,
        };
        let extension = String::from_utf8_lossy(&meta.encode()).into_owned();
        let record = ports::Record {
            id: id.clone(),
            labels: vec![(KIND.to_owned(), "container".to_owned())],
            image: meta.config.image.clone(),
            runtime: node.runtimes[&node.default_runtime].kind.clone(),
            snapshotter: node.snapshotter.clone(),
            snapshot_key: id.clone(),
            spec: Spec {
                args: meta.config.args.clone(),
                env: meta.config.env.clone(),
                annotations,
                ..Spec::default()
            },
            extensions: vec![(Metadata::EXTENSION.to_owned(), extension)],
            created_at: 0,
        };
        self.containerd().record_create(ctx, record.clone()).await?;
        let status = Status { created_at: self.now(), ..Status::default() };
        self.write_status(&id, &status).await?;
        let container = self.remember(meta, record, Some(Rc::new(io)), status);
        self.tell(&container, EventKind::Created).await;
        Ok(id)
    }

    fn remember(
        &self,
        meta: Metadata,
        record: ports::Record,
        io: Option<Rc<ContainerIo<P>>>,
        status: Status,
    ) -> Rc<Container<P>> {
        let Shared { ports, quirks, containers, .. } = &*self.0;
        let id = meta.id.clone();
        let container = Rc::new(Container {
            record: Record::new(ports.clone(), *quirks, record),
            exited: ports.runtime().signal(Name::new("exited", &id)),
            status: RefCell::new(status),
            meta,
            io,
        });
        containers.borrow_mut().insert(id, container.clone());
        container
    }

    // Neither the pod nor another attempt at the container is looked at, and nothing keeps a second start, a stop or
    // a removal away while this one is under way.
    async fn start(&self, ctx: &Context, id: &str) -> Result<(), Error> {
        let container = self.container(id)?;
        let state = container.status.borrow().state();
        if state != ContainerState::Created {
            return Err(Error::unknown(format!("the container is {state}")));
        }
        let Err(error) = self.start_task(ctx, &container).await else { return Ok(()) };
        // Under the client's context, which may be why it failed; and once.
        if let Ok(task) = container.record.task(ctx, container.io.clone()).await {
            task.delete_with_kill(ctx).await.ok();
        }
        let failed = container.status.borrow().clone();
        let failed = failed.start_failed(START_FAILURE_REASON, &error.message, self.now());
        container.status.replace(failed.clone());
        self.write_status(id, &failed).await.ok();
        Err(error)
    }

    async fn start_task(&self, ctx: &Context, container: &Rc<Container<P>>) -> Result<(), Error> {
        let Shared { ports, config, .. } = &*self.0;
        let meta = &container.meta;
        let make_io = async || {
            let (out, err) =
                create_loggers(ports, config, &meta.log_path, meta.config.tty, &meta.id).await?;
            let io = container.io.clone().ok_or_else(|| Error::unknown("the pipes are lost"))?;
            io.add_output("log", Some(out), err).await;
            io.pipe();
            Ok(io)
        };
        let mut task = container.record.new_task(ctx, make_io, TaskOptions::default()).await?;
        // RUNNING before it runs, and before anybody waits for its end.
        let running = container.status.borrow().clone().started(task.pid(), self.now());
        container.status.replace(running.clone());
        task.start(ctx).await?;
        self.write_status(&meta.id, &running).await?;
        let exit = task.wait(&Context::background());
        self.watch(container, exit);
        self.tell(container, EventKind::Started).await;
        Ok(())
    }

    /// Waits for the exit in the background.
    fn watch(&self, container: &Rc<Container<P>>, mut exit: shakedown_cri::client::WaitChannel<P>) {
        let (service, container) = (self.clone(), container.clone());
        let id = container.meta.id.clone();
        let runtime = self.0.ports.runtime();
        runtime.spawn(Name::new("exit-monitor", &id), async move {
            // A wait that fails is taken for no exit at all.
            if let Ok(Some(Ok(exit))) = exit.recv(&Context::background()).await {
                service.has_exited(&container, exit).await;
            }
        });
    }

    // What cannot be deleted or written stays as it is.
    async fn has_exited(&self, container: &Rc<Container<P>>, exit: Exit) {
        let ctx = Context::background();
        if let Ok(task) = container.record.task(&ctx, container.io.clone()).await {
            task.delete_with_kill(&ctx).await.ok();
        }
        let exited = container.status.borrow().clone().exited(exit);
        container.status.replace(exited.clone());
        self.write_status(&container.meta.id, &exited).await.ok();
        container.exited.set();
        self.tell(container, EventKind::Stopped).await;
    }

    async fn stop(&self, ctx: &Context, id: &str, timeout: i64) -> Result<(), Error> {
        let Ok(container) = self.container(id) else { return Ok(()) };
        if container.status.borrow().state() != ContainerState::Running {
            return Ok(());
        }
        if timeout > 0 {
            self.containerd().task_kill(ctx, id, SIGTERM, false).await?;
            let grace = Duration::from_secs(timeout.unsigned_abs());
            let grace = ctx.with_timeout(self.0.ports.clock().now(), grace);
            if container.exited.wait(&grace).await.is_ok() {
                return Ok(());
            }
        }
        self.containerd().task_kill(ctx, id, SIGKILL, true).await?;
        container.exited.wait(ctx).await
    }

    async fn remove(&self, ctx: &Context, id: &str) -> Result<(), Error> {
        let Ok(container) = self.container(id) else { return Ok(()) };
        self.stop(ctx, id, 0).await?;
        container.record.delete_with_snapshot(ctx).await?;
        for dir in self.directories(id) {
            self.0.ports.fs().remove_tree(&dir).await?;
        }
        self.0.containers.borrow_mut().remove(id);
        self.tell(&container, EventKind::Deleted).await;
        Ok(())
    }

    fn containers_of(&self, pod: &str) -> Vec<Rc<Container<P>>> {
        let containers = self.0.containers.borrow();
        containers.values().filter(|c| c.meta.sandbox_id == pod).cloned().collect()
    }

    async fn stop_pod(&self, ctx: &Context, id: &str) -> Result<(), Error> {
        for container in self.containers_of(id) {
            self.stop(ctx, &container.meta.id, 0).await?;
        }
        match self.containerd().task_kill(ctx, id, SIGKILL, true).await {
            Err(error) if error.is_not_found() => {}
            killed => {
                killed?;
                self.containerd().task_wait(ctx, id).await?;
                self.containerd().task_delete(ctx, id).await?;
            }
        }
        Ok(())
    }

    async fn remove_pod(&self, ctx: &Context, id: &str) -> Result<(), Error> {
        if !self.0.pods.borrow().contains_key(id) {
            return Ok(());
        }
        self.stop_pod(ctx, id).await?;
        for container in self.containers_of(id) {
            self.remove(ctx, &container.meta.id).await?;
        }
        let Config { root_dir, state_dir, .. } = &self.0.config;
        for dir in [root_dir, state_dir] {
            self.0.ports.fs().remove_tree(&format!("{dir}/sandboxes/{id}")).await?;
        }
        let cached = ports::Record { id: id.to_owned(), ..ports::Record::default() };
        let record = Record::new(self.0.ports.clone(), self.0.quirks, cached);
        record.delete_with_snapshot(ctx).await?;
        self.0.pods.borrow_mut().remove(id);
        Ok(())
    }

    // Pipes are not opened again, and what cannot be read is passed over.
    async fn recover(&self) -> Result<(), Error> {
        let ctx = Context::background();
        for record in self.containerd().record_list(&ctx, (KIND, "sandbox")).await? {
            let extension = record.extensions.iter().find(|e| e.0 == SandboxMetadata::EXTENSION);
            let Some((_, text)) = extension else { continue };
            let config = SandboxMetadata::decode(text.as_bytes())?.config;
            self.0.pods.borrow_mut().insert(record.id.clone(), config);
        }
        for record in self.containerd().record_list(&ctx, (KIND, "container")).await? {
            let Some((_, text)) = record.extensions.first() else { continue };
            let meta = Metadata::decode(text.as_bytes())?;
            let [root, _] = self.directories(&record.id);
            let Ok(raw) = self.0.ports.fs().read_file(&format!("{root}/status")).await else {
                continue;
            };
            let Ok(status) = Status::decode(&raw) else { continue };
            let runs = status.state() == ContainerState::Running;
            let container = self.remember(meta, (*record).clone(), None, status);
            if !runs {
                continue;
            }
            match container.record.task(&ctx, None).await {
                Ok(task) => self.watch(&container, task.wait(&ctx)),
                Err(_) => {
                    let lost = Exit { code: 255, at: self.now() };
                    self.has_exited(&container, lost).await;
                }
            }
        }
        Ok(())
    }

    fn told(&self, container: &Container<P>) -> Peek {
        let status = container.status.borrow();
        let state = status.state();
        let reason = match (state, &*status.reason, status.exit_code) {
            (ContainerState::Exited, "", 0) => "Completed",
            (ContainerState::Exited, "", _) => "Error",
            (_, reason, _) => reason,
        };
        Peek {
            state,
            pid: status.pid,
            exit_code: status.exit_code,
            reason: reason.to_owned(),
            message: status.message.clone(),
            created_at: status.created_at,
            started_at: status.started_at,
            finished_at: status.finished_at,
        }
    }

    fn status(&self, id: &str) -> Result<ContainerStatus, Error> {
        let container = self.container(id)?;
        let (told, meta) = (self.told(&container), &container.meta);
        Ok(ContainerStatus {
            id: meta.id.clone(),
            name: meta.config.name.clone(),
            attempt: meta.config.attempt,
            state: told.state,
            created_at: told.created_at,
            started_at: told.started_at,
            finished_at: told.finished_at,
            exit_code: told.exit_code,
            image: meta.config.image.clone(),
            image_ref: meta.image_ref.clone(),
            reason: told.reason,
            message: told.message,
            labels: meta.config.labels.clone(),
            annotations: meta.config.annotations.clone(),
            log_path: meta.log_path.clone(),
            resources: None,
            info: None,
        })
    }

    fn list(&self) -> Vec<ContainerSummary> {
        let containers = self.0.containers.borrow();
        let summary = |container: &Rc<Container<P>>| {
            let (told, meta) = (self.told(container), &container.meta);
            ContainerSummary {
                id: meta.id.clone(),
                sandbox_id: meta.sandbox_id.clone(),
                name: meta.config.name.clone(),
                attempt: meta.config.attempt,
                image: meta.config.image.clone(),
                image_ref: meta.image_ref.clone(),
                state: told.state,
                created_at: told.created_at,
                labels: meta.config.labels.clone(),
                annotations: meta.config.annotations.clone(),
            }
        };
        containers.values().map(summary).collect()
    }

    /// A call, with the service that it is of.
    fn serve<T: 'static>(
        &self,
        call: impl AsyncFnOnce(Self) -> Result<T, Error> + 'static,
    ) -> LocalFuture<Result<T, Error>> {
        let service = self.clone();
        Box::pin(async move { call(service).await })
    }
}

// Updates of resources, log rotation, event streams and NRI are not there: the default of each says so.
impl<P: Ports> RuntimeService for Service<P> {
    fn run(&self) -> LocalFuture<Result<(), Error>> {
        self.serve(async |service| service.recover().await)
    }

    fn adopt_sandbox(&self, sandbox: Sandbox) -> LocalFuture<Result<(), Error>> {
        self.0.pods.borrow_mut().insert(sandbox.id, sandbox.config);
        Box::pin(std::future::ready(Ok(())))
    }

    fn forget_sandbox(&self, id: String) -> LocalFuture<Result<(), Error>> {
        self.0.pods.borrow_mut().remove(&id);
        Box::pin(std::future::ready(Ok(())))
    }

    fn create_container(
        &self,
        ctx: Context,
        sandbox_id: String,
        config: ContainerConfig,
    ) -> LocalFuture<Result<String, Error>> {
        self.serve(async move |service| service.create(&ctx, sandbox_id, config).await)
    }

    fn start_container(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        self.serve(async move |service| service.start(&ctx, &id).await)
    }

    fn stop_container(
        &self,
        ctx: Context,
        id: String,
        timeout: i64,
    ) -> LocalFuture<Result<(), Error>> {
        self.serve(async move |service| service.stop(&ctx, &id, timeout).await)
    }

    fn remove_container(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        self.serve(async move |service| service.remove(&ctx, &id).await)
    }

    fn container_status(
        &self,
        _ctx: Context,
        id: String,
        _verbose: bool,
    ) -> LocalFuture<Result<ContainerStatus, Error>> {
        self.serve(async move |service| service.status(&id))
    }

    fn list_containers(
        &self,
        _ctx: Context,
        _filter: ContainerFilter,
    ) -> LocalFuture<Result<Vec<ContainerSummary>, Error>> {
        self.serve(async |service| Ok(service.list()))
    }

    fn stop_pod_sandbox(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        self.serve(async move |service| service.stop_pod(&ctx, &id).await)
    }

    fn remove_pod_sandbox(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        self.serve(async move |service| service.remove_pod(&ctx, &id).await)
    }

    fn peek(&self, id: &str) -> Option<Peek> {
        self.0.containers.borrow().get(id).map(|container| self.told(container))
    }
}
