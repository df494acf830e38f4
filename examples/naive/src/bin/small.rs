use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::rc::Rc;

use shakedown::config::Config;
use shakedown::cri::{ContainerConfig, ContainerState, LocalFuture, Peek, RuntimeService, Sandbox};
use shakedown::ports::{
    Clock, Code, Containerd, Context, CreateTask, Error, Exit, Fs, Name, Ports, Record, Runtime,
    Signal, Spec,
};
use shakedown::under_test::{Boot, UnderTest};
use shakedown::world::SimPorts;

struct Mine;

impl UnderTest for Mine {
    fn name(&self) -> &'static str {
        "mine"
    }

    fn what(&self) -> &'static str {
        "the runtime of this page"
    }

    fn boot(&self, Boot { ports, config, .. }: Boot) -> Rc<dyn RuntimeService> {
        let containers = RefCell::default();
        Rc::new(Service(Rc::new(Shared { ports, config, containers })))
    }
}

type SignalOf<P> = <<P as Ports>::Runtime as Runtime>::Signal;

/// A container, as its clients are told of it.
struct Container {
    pod: String,
    told: RefCell<Peek>,
    exited: SignalOf<SimPorts>,
}

struct Shared {
    ports: SimPorts,
    config: Config,
    containers: RefCell<BTreeMap<String, Rc<Container>>>,
}

#[derive(Clone)]
struct Service(Rc<Shared>);

impl Service {
    fn containerd(&self) -> &impl Containerd {
        self.0.ports.containerd()
    }

    fn wall(&self) -> i64 {
        self.0.ports.clock().wall()
    }

    fn container(&self, id: &str) -> Result<Rc<Container>, Error> {
        let found = self.0.containers.borrow().get(id).cloned();
        found.ok_or_else(|| Error::new(Code::NotFound, format!("no container {id}")))
    }

    async fn create(
        &self,
        ctx: &Context,
        pod: String,
        config: ContainerConfig,
    ) -> Result<String, Error> {
        let id = self.0.ports.runtime().unique_id();
        let image = self.containerd().image_get(ctx, &config.image).await?;
        self.containerd().snapshot_prepare(ctx, &id, &image.id).await?;
        // The shim of the pod is found by the annotation.
        let annotations = vec![("io.kubernetes.cri.sandbox-id".to_owned(), pod.clone())];
        let record = Record {
            id: id.clone(),
            image: config.image,
            runtime: self.0.config.runtimes[&self.0.config.default_runtime].kind.clone(),
            snapshotter: self.0.config.snapshotter.clone(),
            snapshot_key: id.clone(),
            spec: Spec { args: config.args, env: config.env, annotations, ..Spec::default() },
            ..Record::default()
        };
        self.containerd().record_create(ctx, record).await?;
        let told = RefCell::new(Peek {
            state: ContainerState::Created,
            pid: 0,
            exit_code: 0,
            reason: String::new(),
            message: String::new(),
            created_at: self.wall(),
            started_at: 0,
            finished_at: 0,
        });
        let exited = self.0.ports.runtime().signal(Name::new("exited", &id));
        let container = Rc::new(Container { pod, told, exited });
        self.0.containers.borrow_mut().insert(id.clone(), container);
        Ok(id)
    }

    async fn start(&self, ctx: &Context, id: &str) -> Result<(), Error> {
        let container = self.container(id)?;
        let rootfs = self.containerd().snapshot_mounts(ctx, id).await?;
        let request = CreateTask { id: id.to_owned(), rootfs, ..CreateTask::default() };
        self.containerd().task_create(ctx, request).await?;
        let pid = self.containerd().task_start(ctx, id).await?;
        {
            let mut told = container.told.borrow_mut();
            told.state = ContainerState::Running;
            told.pid = pid;
            told.started_at = self.wall();
        }
        let (service, of) = (self.clone(), id.to_owned());
        self.0.ports.runtime().spawn(Name::new("exit-monitor", id), async move {
            let ctx = Context::background();
            let Ok(exit) = service.containerd().task_wait(&ctx, &of).await else { return };
            if service.containerd().task_delete(&ctx, &of).await.is_ok() {
                container.has_exited(exit);
            }
        });
        Ok(())
    }

    async fn stop(&self, ctx: &Context, id: &str) -> Result<(), Error> {
        let container = self.container(id)?;
        if container.told.borrow().state == ContainerState::Running {
            self.containerd().task_kill(ctx, id, 9, true).await?;
            container.exited.wait(ctx).await?;
        }
        Ok(())
    }

    async fn remove(&self, ctx: &Context, id: &str) -> Result<(), Error> {
        self.stop(ctx, id).await?;
        self.containerd().snapshot_remove(ctx, id).await?;
        self.containerd().record_delete(ctx, id).await?;
        self.0.containers.borrow_mut().remove(id);
        Ok(())
    }

    async fn stop_pod(&self, ctx: &Context, pod: &str) -> Result<(), Error> {
        for id in self.containers_of(pod) {
            self.stop(ctx, &id).await?;
        }
        match self.containerd().task_kill(ctx, pod, 9, true).await {
            Err(error) if error.is_not_found() => return Ok(()),
            killed => killed?,
        }
        self.containerd().task_wait(ctx, pod).await?;
        self.containerd().task_delete(ctx, pod).await?;
        Ok(())
    }

    async fn remove_pod(&self, ctx: &Context, pod: &str) -> Result<(), Error> {
        self.stop_pod(ctx, pod).await?;
        for id in self.containers_of(pod) {
            self.remove(ctx, &id).await?;
        }
        for dir in [&self.0.config.root_dir, &self.0.config.state_dir] {
            self.0.ports.fs().remove_tree(&format!("{dir}/sandboxes/{pod}")).await?;
        }
        self.containerd().snapshot_remove(ctx, pod).await?;
        self.containerd().record_delete(ctx, pod).await
    }

    fn containers_of(&self, pod: &str) -> Vec<String> {
        let containers = self.0.containers.borrow();
        containers.iter().filter(|(_, c)| c.pod == pod).map(|(id, _)| id.clone()).collect()
    }
}

impl Container {
    fn has_exited(&self, exit: Exit) {
        let mut told = self.told.borrow_mut();
        told.state = ContainerState::Exited;
        told.pid = 0;
        told.exit_code = exit.code;
        told.finished_at = exit.at;
        self.exited.set();
    }
}

impl RuntimeService for Service {
    fn run(&self) -> LocalFuture<Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn adopt_sandbox(&self, _sandbox: Sandbox) -> LocalFuture<Result<(), Error>> {
        Box::pin(async { Ok(()) })
    }

    fn create_container(
        &self,
        ctx: Context,
        sandbox_id: String,
        config: ContainerConfig,
    ) -> LocalFuture<Result<String, Error>> {
        let service = self.clone();
        Box::pin(async move { service.create(&ctx, sandbox_id, config).await })
    }

    fn start_container(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        let service = self.clone();
        Box::pin(async move { service.start(&ctx, &id).await })
    }

    fn stop_container(
        &self,
        ctx: Context,
        id: String,
        _timeout: i64,
    ) -> LocalFuture<Result<(), Error>> {
        let service = self.clone();
        Box::pin(async move { service.stop(&ctx, &id).await })
    }

    fn remove_container(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        let service = self.clone();
        Box::pin(async move { service.remove(&ctx, &id).await })
    }

    fn stop_pod_sandbox(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        let service = self.clone();
        Box::pin(async move { service.stop_pod(&ctx, &id).await })
    }

    fn remove_pod_sandbox(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        let service = self.clone();
        Box::pin(async move { service.remove_pod(&ctx, &id).await })
    }

    fn peek(&self, id: &str) -> Option<Peek> {
        let containers = self.0.containers.borrow();
        containers.get(id).map(|container| container.told.borrow().clone())
    }
}

fn main() -> ExitCode {
    shakedown::cli::main_for(Mine)
}
