//! The service on a real runtime, clock and directory: its ports are ports. Only containerd and NRI
//! are played.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests are no part of a run"
)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use shakedown_cri::bounded::Bounded;
use shakedown_cri::cri::{
    ContainerConfig, ContainerEvent, ContainerState, EventKind, RuntimeService, Sandbox,
    SandboxConfig, SandboxState,
};
use shakedown_cri::ports::{
    Clock, Code, Containerd, Context, CreateTask, Error, EventSink, EventSource, Exit, Image,
    IoPaths, Metrics, Mount, Name, Nri, NriError, NriEvent, NriMode, NriReply, NriRequest, Plugin,
    Record, Runtime, Signal, Spec, TaskInfo, TaskStatus,
};
use shakedown_cri::quirks::Profile;
use shakedown_cri::real::{DirectoryFs, RealPorts, SystemClock, TokioRuntime, TokioSignal};
use shakedown_cri::store::{LinuxResources, Status};
use shakedown_cri::{Config, Service};

const SANDBOX: &str = "pod";
const PID: u32 = 4711;

/// A task whose process writes a line to each stream and then waits for a signal.
struct Task {
    io: IoPaths,
    status: TaskStatus,
    exit: Option<Exit>,
    ended: TokioSignal,
    /// The process's ends of the pipes.
    output: Vec<fs::File>,
    limits: LinuxResources,
}

#[derive(Clone)]
struct FakeContainerd {
    runtime: TokioRuntime,
    clock: SystemClock,
    fs: DirectoryFs,
    records: Rc<RefCell<BTreeMap<String, Record>>>,
    snapshots: Rc<RefCell<BTreeSet<String>>>,
    tasks: Rc<RefCell<BTreeMap<String, Task>>>,
    oom_events: Rc<RefCell<Vec<String>>>,
}

impl FakeContainerd {
    fn new(runtime: TokioRuntime, clock: SystemClock, fs: DirectoryFs) -> Self {
        let pause = Task {
            io: IoPaths::default(),
            status: TaskStatus::Running,
            exit: None,
            ended: runtime.signal(Name::new("ended", SANDBOX)),
            output: Vec::new(),
            limits: LinuxResources::default(),
        };
        let sandbox = Record {
            id: SANDBOX.into(),
            runtime: "io.containerd.runc.v2".into(),
            ..Record::default()
        };
        FakeContainerd {
            runtime,
            clock,
            fs,
            records: Rc::new(RefCell::new(BTreeMap::from([(SANDBOX.into(), sandbox)]))),
            snapshots: Rc::default(),
            tasks: Rc::new(RefCell::new(BTreeMap::from([(SANDBOX.into(), pause)]))),
            oom_events: Rc::default(),
        }
    }

    fn with_task<T>(&self, id: &str, act: impl FnOnce(&mut Task) -> T) -> Result<T, Error> {
        let not_found = || Error::new(Code::NotFound, format!("task {id} not found"));
        self.tasks.borrow_mut().get_mut(id).map(act).ok_or_else(not_found)
    }
}

impl Containerd for FakeContainerd {
    async fn record_get(&self, _: &Context, id: &str) -> Result<Rc<Record>, Error> {
        let record = self.records.borrow().get(id).cloned().map(Rc::new);
        record.ok_or_else(|| Error::new(Code::NotFound, format!("container {id:?}")))
    }

    async fn record_list(
        &self,
        _: &Context,
        (key, value): (&str, &str),
    ) -> Result<Vec<Rc<Record>>, Error> {
        let records = self.records.borrow();
        let labelled = |r: &&Record| r.labels.iter().any(|(k, v)| k == key && v == value);
        Ok(records.values().filter(labelled).cloned().map(Rc::new).collect())
    }

    async fn record_create(&self, _: &Context, record: Record) -> Result<(), Error> {
        let created_at = self.clock.wall();
        self.records.borrow_mut().insert(record.id.clone(), Record { created_at, ..record });
        Ok(())
    }

    async fn record_update(&self, _: &Context, id: &str, spec: Spec) -> Result<(), Error> {
        if let Some(record) = self.records.borrow_mut().get_mut(id) {
            record.spec = spec;
        }
        Ok(())
    }

    async fn record_delete(&self, _: &Context, id: &str) -> Result<(), Error> {
        self.records.borrow_mut().remove(id);
        Ok(())
    }

    async fn snapshot_prepare(&self, _: &Context, key: &str, _: &str) -> Result<(), Error> {
        self.snapshots.borrow_mut().insert(key.to_owned());
        Ok(())
    }

    async fn snapshot_mounts(&self, _: &Context, _: &str) -> Result<Vec<Mount>, Error> {
        Ok(Vec::new())
    }

    async fn snapshot_remove(&self, _: &Context, key: &str) -> Result<(), Error> {
        self.snapshots.borrow_mut().remove(key);
        Ok(())
    }

    async fn image_get(&self, _: &Context, reference: &str) -> Result<Rc<Image>, Error> {
        let (id, tags) = ("sha256:1".into(), vec![reference.into()]);
        Ok(Rc::new(Image { id, tags, ..Image::default() }))
    }

    /// Opens the pipes, as a shim does.
    async fn task_create(&self, _: &Context, request: CreateTask) -> Result<u32, Error> {
        let open = |path: &String| {
            let opened = fs::OpenOptions::new().write(true).open(self.fs.locate(path));
            opened.map_err(|error| Error::unknown(error.to_string()))
        };
        let output = [&request.io.stdout, &request.io.stderr];
        let task = Task {
            output: output.into_iter().map(open).collect::<Result<_, _>>()?,
            io: request.io,
            status: TaskStatus::Created,
            exit: None,
            ended: self.runtime.signal(Name::new("ended", &request.id)),
            limits: LinuxResources::default(),
        };
        self.tasks.borrow_mut().insert(request.id, task);
        Ok(PID)
    }

    async fn task_get(&self, _: &Context, id: &str) -> Result<TaskInfo, Error> {
        self.with_task(id, |task| TaskInfo {
            status: task.status,
            pid: PID,
            io: task.io.clone(),
            exit: task.exit,
        })
    }

    async fn task_start(&self, _: &Context, id: &str) -> Result<u32, Error> {
        self.with_task(id, |task| {
            task.status = TaskStatus::Running;
            for (mut pipe, line) in task.output.iter().zip(["ready\n", "no config\r\n"]) {
                pipe.write_all(line.as_bytes()).expect("the service reads");
            }
            PID
        })
    }

    async fn task_kill(&self, _: &Context, id: &str, signal: u32, _: bool) -> Result<(), Error> {
        let at = self.clock.wall();
        self.with_task(id, |task| {
            if task.exit.is_none() {
                let code = 128 + i32::try_from(signal).expect("a signal's number is small");
                task.exit = Some(Exit { code, at });
                task.status = TaskStatus::Stopped;
                task.output.clear();
                task.ended.set();
            }
        })
    }

    async fn task_update(
        &self,
        _: &Context,
        id: &str,
        resources: &LinuxResources,
    ) -> Result<(), Error> {
        self.with_task(id, |task| task.limits = resources.clone())
    }

    async fn task_wait(&self, ctx: &Context, id: &str) -> Result<Exit, Error> {
        let ended = self.with_task(id, |task| task.ended.clone())?;
        ended.wait(ctx).await?;
        self.with_task(id, |task| task.exit)?.ok_or_else(|| Error::unknown("no exit"))
    }

    async fn task_delete(&self, _: &Context, id: &str) -> Result<Exit, Error> {
        let exit = self.with_task(id, |task| task.exit)?;
        self.tasks.borrow_mut().remove(id);
        Ok(exit.unwrap_or(Exit { code: 0, at: 0 }))
    }

    fn oom_subscribe(&self) {
        self.oom_events.borrow_mut().clear();
    }

    async fn oom_event(&self) -> Result<Option<String>, Error> {
        loop {
            if let Some(id) = self.oom_events.borrow_mut().pop() {
                return Ok(Some(id));
            }
            self.runtime.sleep(Duration::from_millis(1)).await;
        }
    }
}

/// One plugin that hears everything and wants nothing.
#[derive(Clone, Default)]
struct FakeNri(Rc<RefCell<Vec<NriEvent>>>);

impl Nri for FakeNri {
    fn mode(&self) -> NriMode {
        NriMode::Enabled
    }

    fn plugins(&self) -> Vec<Plugin> {
        let events = vec![
            NriEvent::CreateContainer,
            NriEvent::StartContainer,
            NriEvent::PostStartContainer,
            NriEvent::StopContainer,
            NriEvent::RemoveContainer,
        ];
        vec![Plugin { name: "listener".into(), index: "00".into(), events }]
    }

    async fn call(&self, _: &Context, _: &str, request: NriRequest) -> Result<NriReply, NriError> {
        self.0.borrow_mut().push(request.event);
        Ok(NriReply::default())
    }

    fn close(&self, _: &str) {}
}

#[derive(Clone, Default)]
struct Events(Rc<RefCell<Vec<EventKind>>>);

impl EventSink for Events {
    async fn send(&self, event: ContainerEvent) -> bool {
        self.0.borrow_mut().push(event.kind);
        true
    }

    async fn publish(&self, event: ContainerEvent, _: bool, _: bool) {
        self.0.borrow_mut().push(event.kind);
    }

    fn release(&self, _: &str) {}

    fn subscribe(&self) -> EventSource {
        EventSource::Shared
    }

    fn unsubscribe(&self, _: EventSource) {}

    async fn receive(&self, _: &Context, _: EventSource) -> Result<ContainerEvent, Error> {
        std::future::pending().await
    }
}

#[derive(Clone, Default)]
struct Counters(Rc<RefCell<BTreeMap<&'static str, u64>>>);

impl Metrics for Counters {
    fn observe(&self, name: &'static str, _: &str, _: Duration) {
        self.add(name, 1);
    }

    fn add(&self, name: &'static str, count: u64) {
        *self.0.borrow_mut().entry(name).or_default() += count;
    }
}

type Node = RealPorts<FakeContainerd, FakeNri, Events, Counters>;

/// Runs a test on a node in an empty directory, with a service that has one sandbox.
fn on_a_node(profile: &Profile, test: impl AsyncFnOnce(Node, Service<Bounded<Node>>)) {
    let dir = tempfile::tempdir().unwrap();
    let clock = SystemClock::new();
    let runtime = TokioRuntime::new(clock);
    let fs = DirectoryFs::new(dir.path(), clock);
    let node = Node {
        containerd: FakeContainerd::new(runtime, clock, fs.clone()),
        runtime,
        clock,
        fs,
        nri: FakeNri::default(),
        events: Events::default(),
        metrics: Counters::default(),
    };
    let config = Config {
        root_dir: "/var/lib/cri".into(),
        state_dir: "/run/cri".into(),
        ..Config::default()
    };
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&tokio, async {
        let service = Service::new(node.clone(), config, profile.quirks);
        service.run().await.unwrap();
        let sandbox = Sandbox {
            id: SANDBOX.into(),
            config: SandboxConfig {
                name: "pod".into(),
                namespace: "default".into(),
                uid: "u".into(),
                log_directory: "/var/log/pods/pod".into(),
                ..SandboxConfig::default()
            },
            runtime_handler: String::new(),
            state: SandboxState::Ready,
            created_at: clock.wall(),
        };
        service.adopt_sandbox(sandbox).await.unwrap();
        test(node, service).await;
    });
}

fn web() -> ContainerConfig {
    ContainerConfig {
        name: "web".into(),
        image: "busybox".into(),
        log_path: "web/0.log".into(),
        stdin: true,
        ..ContainerConfig::default()
    }
}

/// Waits for what another task or the kernel is about to do.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(tokio::time::Instant::now() < limit, "{what}: not within 20 s");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Every path below a directory that is no directory itself, and every empty directory.
fn leaves(dir: &Path) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) {
        let entries: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()).collect();
        for entry in &entries {
            if entry.file_type().unwrap().is_dir() {
                walk(root, &entry.path(), found);
            } else {
                found.push(entry.path().strip_prefix(root).unwrap().display().to_string());
            }
        }
        if entries.is_empty() {
            found.push(format!("{}/", dir.strip_prefix(root).unwrap().display()));
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found.sort();
    found
}

/// Open descriptors of this process that lie below a directory.
fn descriptors(dir: &Path) -> usize {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(dir)).count()
}

#[test]
fn a_container_lives_on_real_ports() {
    for profile in Profile::ALL {
        on_a_node(profile, async |node, service| {
            let ctx = Context::background();
            let root = node.fs.locate("/");
            let id = service.create_container(ctx.clone(), SANDBOX.into(), web()).await.unwrap();
            let status = service.container_status(ctx.clone(), id.clone(), false).await.unwrap();
            assert_eq!(status.state, ContainerState::Created);
            assert_eq!(descriptors(&root), 3);

            service.start_container(ctx.clone(), id[..8].into()).await.unwrap();
            let status = service.container_status(ctx.clone(), id.clone(), false).await.unwrap();
            assert_eq!(status.state, ContainerState::Running);
            assert!(status.created_at > 0 && status.started_at >= status.created_at);
            let checkpoint = node.fs.locate(&format!("/var/lib/cri/containers/{id}/status"));
            let stored = Status::decode(&fs::read(checkpoint).unwrap()).unwrap();
            assert_eq!((stored.pid, stored.started_at), (PID, status.started_at));

            let log = node.fs.locate("/var/log/pods/pod/web/0.log");
            let lines = || fs::read_to_string(&log).unwrap_or_default().lines().count();
            eventually("both lines are logged", || lines() == 2).await;

            let limits = LinuxResources { cpu_shares: 512, ..LinuxResources::default() };
            let updated =
                service.update_container_resources(ctx.clone(), id.clone(), limits.clone()).await;
            assert_eq!(updated, Ok(()));
            assert_eq!(node.containerd.tasks.borrow()[&id].limits, limits);

            node.containerd.oom_events.borrow_mut().push(id.clone());
            let reason = || service.peek(&id).map(|peek| peek.reason).unwrap_or_default();
            eventually("the reason is put on record", || reason() == "OOMKilled").await;

            service.stop_container(ctx.clone(), id.clone(), 10).await.unwrap();
            let status = service.container_status(ctx.clone(), id.clone(), false).await.unwrap();
            assert_eq!((status.state, status.exit_code), (ContainerState::Exited, 143));
            assert!(status.finished_at >= status.started_at);
            eventually("the log is closed", || descriptors(&root) == 0).await;

            service.remove_container(ctx.clone(), id.clone()).await.unwrap();
            let error = service.container_status(ctx, id.clone(), false).await.unwrap_err();
            assert_eq!(error.code, Code::NotFound);

            assert!(service.peek(&id).is_none());
            assert_eq!(node.containerd.records.borrow().keys().collect::<Vec<_>>(), [SANDBOX]);
            assert_eq!(node.containerd.tasks.borrow().keys().collect::<Vec<_>>(), [SANDBOX]);
            assert!(node.containerd.snapshots.borrow().is_empty());
            let left =
                ["run/cri/containers/", "var/lib/cri/containers/", "var/log/pods/pod/web/0.log"];
            assert_eq!(leaves(&root), left);
            assert_eq!(
                *node.events.0.borrow(),
                [EventKind::Created, EventKind::Started, EventKind::Stopped, EventKind::Deleted]
            );
            assert_eq!(
                node.nri.0.borrow()[..3],
                [NriEvent::CreateContainer, NriEvent::StartContainer, NriEvent::PostStartContainer,]
            );
            assert_eq!(node.nri.0.borrow().last(), Some(&NriEvent::RemoveContainer));
            assert_eq!(node.metrics.0.borrow()["containerd_cri_output_entries_total"], 2);

            let mut logged: Vec<_> = fs::read_to_string(&log).unwrap().lines().map(parse).collect();
            logged.sort();
            let line = |stream: &str, text: &str| (stream.into(), "F".into(), text.into());
            assert_eq!(logged, [line("stderr", "no config"), line("stdout", "ready")]);
        });
    }
}

/// Stream, tag and content of a line in the CRI's log format.
fn parse(line: &str) -> (String, String, String) {
    let mut parts = line.splitn(4, ' ').map(str::to_owned);
    let time = parts.next().unwrap();
    assert!(time.len() >= 20 && time.starts_with("20") && time.ends_with('Z'), "{time}");
    (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
}

#[test]
fn a_start_that_cannot_log_fails_and_leaves_nothing() {
    for profile in Profile::ALL {
        on_a_node(profile, async |node, service| {
            let ctx = Context::background();
            let root = node.fs.locate("/");
            let id = service.create_container(ctx.clone(), SANDBOX.into(), web()).await.unwrap();
            fs::create_dir_all(node.fs.locate("/var/log")).unwrap();
            fs::write(node.fs.locate("/var/log/pods"), "").unwrap();
            let error = service.start_container(ctx.clone(), id.clone()).await.unwrap_err();
            assert_eq!(
                error.message,
                "failed to create containerd task: failed to create container loggers: \
                 failed to create and open log file: mkdir /var/log/pods: not a directory"
            );
            let status = service.container_status(ctx.clone(), id.clone(), false).await.unwrap();
            assert_eq!((status.state, status.exit_code), (ContainerState::Exited, 128));
            assert_eq!((status.reason, status.message), ("StartError".into(), error.message));

            service.remove_container(ctx, id).await.unwrap();
            let left = ["run/cri/containers/", "var/lib/cri/containers/", "var/log/pods"];
            assert_eq!(leaves(&root), left);
            eventually("the pipes are closed", || descriptors(&root) == 0).await;
        });
    }
}
