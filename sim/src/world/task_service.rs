//! containerd's task service (spec section 2.7): each call of the service, step by step.

use std::collections::BTreeMap;
use std::time::Duration;

use shakedown_cri::ports::{Code, Context, CreateTask, Error, Exit, IoPaths, TaskInfo, TaskStatus};
use shakedown_cri::quirks::Quirk;
use shakedown_cri::store::LinuxResources;

use super::{WaitKey, World, shim};
use crate::turnstile::{Flow, Op, Sim, Symbol};

/// `io.containerd.timeout.task.state`
const STATE_TIMEOUT: Duration = Duration::from_secs(2);
/// `io.containerd.timeout.shim.load`
const LOAD_TIMEOUT: Duration = Duration::from_secs(5);
/// `io.containerd.timeout.shim.cleanup`
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(5);
const RUNTIME_PATH_UNRESOLVED: &str = "failed to resolve runtime path";
/// The annotation that groups a pod's containers in one shim.
const SANDBOX_ID: &str = "io.kubernetes.cri.sandbox-id";

/// The tasks that the daemon knows: container id to the pod's number.
#[derive(Clone, Debug, Default)]
pub struct TaskTable(BTreeMap<String, u32>);

impl TaskTable {
    pub fn pod(&self, id: &str) -> Option<u32> {
        self.0.get(id).copied()
    }

    pub fn insert(&mut self, id: &str, pod: u32) {
        self.0.insert(id.to_owned(), pod);
    }

    pub fn remove(&mut self, id: &str) {
        self.0.remove(id);
    }

    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

fn no_task(id: &str) -> Error {
    Error::new(Code::NotFound, format!("task {id} not found"))
}

fn is_closed(error: &Error) -> bool {
    error.message == "ttrpc: closed"
}

impl World {
    /// The pod whose shim serves a container, from its record.
    fn pod_of(&self, id: &str) -> Result<u32, Error> {
        let record = self.metadata.get(id)?;
        let annotation = record.spec.annotations.iter().find(|(key, _)| key == SANDBOX_ID);
        let sandbox = annotation.map_or(id, |(_, value)| value.as_str());
        let pod = self.pods.get(sandbox).copied();
        pod.ok_or_else(|| Error::new(Code::NotFound, format!("sandbox {sandbox}: not found")))
    }
}

impl World {
    /// A container joins its pod's shim: by running the shim's binary once more, which finds the one
    /// that is there, or by connecting to it.
    fn join_shim(&self, ctx: &Context, binary: &str) -> Result<(), Error> {
        if !self.quirks.has(Quirk::ShimLaunchedPerContainer) {
            return Ok(());
        }
        if !binary.is_empty() && !self.fs.exists(binary) {
            return Err(Error::unknown(format!(
                "{RUNTIME_PATH_UNRESOLVED}: invalid custom binary path: \
                 stat {binary}: no such file or directory"
            )));
        }
        match ended(ctx, self.now) {
            // The command printed nothing.
            Some(error) => Err(error.wrap("")),
            None => Ok(()),
        }
    }

    /// How the shim manager words that a container could not join its pod's shim.
    fn joining_failed(&self, pod: u32, error: Error) -> Error {
        let error = if error.message.starts_with(RUNTIME_PATH_UNRESOLVED) {
            error
        } else if self.quirks.has(Quirk::ShimLaunchedPerContainer) {
            error.wrap("start failed")
        } else {
            let sandbox = self.shims.get(pod as usize).map_or("", |shim| &*shim.sandbox);
            error.wrap(format!("failed to load sandbox task {sandbox:?}"))
        };
        error.wrap("failed to start shim")
    }
}

/// Which container, in whose shim.
#[derive(Clone)]
struct Peer {
    sim: Sim,
    pod: u32,
    id: String,
}

impl Peer {
    fn of(sim: &Sim, id: &str) -> Result<Peer, Error> {
        let pod = sim.with_world(|world| world.tasks.pod(id)).ok_or_else(|| no_task(id))?;
        Ok(Peer { sim: sim.clone(), pod, id: id.to_owned() })
    }

    /// What a request about the init process has to wait for.
    fn gate(&self) -> impl FnMut(&mut World) -> Option<WaitKey> + 'static {
        let (pod, id) = (self.pod, self.id.clone());
        move |world| world.init_busy(pod, &id)
    }

    /// Notes that a call found the connection closed.
    fn checked<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result
            && is_closed(error)
        {
            self.sim.with_world(|world| world.shim_connection_lost(self.pod, &self.id));
        }
        result
    }

    /// A closed connection counts as NotFound here.
    async fn state(&self, ctx: &Context) -> Result<TaskInfo, Error> {
        let (pod, id) = (self.pod, self.id.clone());
        let ctx = ctx.with_timeout(self.sim.now(), STATE_TIMEOUT);
        let call =
            self.sim.call(Op::ShimState, Symbol::EMPTY, Some(&ctx), move |world| {
                match world.init_busy(pod, &id) {
                    Some(key) => Flow::Wait(key),
                    None => Flow::Done(world.shim_state(pod, &id)),
                }
            });
        self.checked(call.await).map_err(|error| match is_closed(&error) {
            true if self.sim.with_world(|world| world.gives_up_shims()) => {
                Error::bare(Code::NotFound)
            }
            true => Error::new(Code::Unavailable, "ttrpc: closed: unavailable"),
            false => error,
        })
    }

    async fn pid(&self, ctx: &Context) -> Result<u32, Error> {
        let (pod, id, up) = (self.pod, self.id.clone(), ctx.clone());
        let call = self.sim.call(Op::ShimPid, Symbol::EMPTY, Some(ctx), move |world| {
            if let Some(error) = ended(&up, world.now) {
                return Flow::Done(Err(error));
            }
            match world.shim_busy(pod) {
                Some(key) => Flow::Wait(key),
                None => Flow::Done(world.shim_container(pod, &id).map(|c| c.pid)),
            }
        });
        self.checked(call.await)
    }

    async fn exit(&self, ctx: &Context) -> Result<Exit, Error> {
        let (pod, id) = (self.pod, self.id.clone());
        let call = self.sim.call(Op::ShimWait, Symbol::EMPTY, Some(ctx), move |world| match world
            .shim_container(pod, &id)
        {
            Err(error) => Flow::Done(Err(error)),
            Ok(container) => match container.exit {
                Some(exit) => Flow::Done(Ok(exit)),
                None => Flow::Wait(WaitKey::Shim(pod)),
            },
        });
        self.checked(call.await)
    }

    async fn delete(&self, ctx: &Context) -> Result<Exit, Error> {
        let (sim, up, pod, id) = (self.sim.clone(), ctx.clone(), self.pod, self.id.clone());
        let gate = self.gate();
        let call = self.sim.serve(Op::ShimDelete, Symbol::EMPTY, Some(ctx), gate, move || {
            shim::delete(sim, up, pod, id)
        });
        self.checked(call.await)
    }

    /// The daemon has closed the connection: the dead-shim handler has what the runtime holds deleted by
    /// force, without the shim (spec section 2.7). The mount goes whatever comes of it. An error says that
    /// something is left, to be deleted by whoever asks again.
    async fn connection_closed(&self) -> Result<(), Error> {
        let (sim, pod, id) = (&self.sim, self.pod, self.id.clone());
        if sim.with_world(|world| world.quirks.has(Quirk::DeadShimNotCleaned)) {
            return Ok(());
        }
        let ctx = Context::background().with_timeout(sim.now(), CLEANUP_TIMEOUT);
        let container = id.clone();
        let deleted = sim.call(Op::RuntimeDelete, Symbol::EMPTY, Some(&ctx), move |world| {
            world.runtime_delete(&container);
            Flow::Done(Ok::<(), Error>(()))
        });
        let deleted = deleted.await;
        sim.with_world(|world| {
            world.mounts.remove(&id);
            world.changed.runtime = true;
            if deleted.is_ok() {
                world.forget_container(pod, &id);
            }
            if world.quirks.has(Quirk::FailedCleanupForgotten) { Ok(()) } else { deleted }
        })
    }

    /// Lets go of the shim.
    async fn shut_down(&self, ctx: &Context) {
        let call = self
            .sim
            .call(Op::ShimShutdown, Symbol::EMPTY, Some(ctx), |_| Flow::Done(Ok::<(), Error>(())));
        // What fails here is only logged by the real daemon.
        let _ = call.await;
    }

    /// The last step: a daemon that comes up finds by the bundle what is left of a container.
    fn remove_bundle(&self) {
        self.sim.with_world(|world| world.remove_bundle(&self.id));
    }
}

/// An ended context, as an error.
fn ended(ctx: &Context, now: u64) -> Option<Error> {
    ctx.end().filter(|(at, _)| at.0 <= now).map(|(_, code)| Error::bare(code))
}

pub(super) async fn create(sim: Sim, ctx: Context, request: CreateTask) -> Result<u32, Error> {
    let id = request.id.clone();
    let pod = sim.with_world(|world| world.pod_of(&id))?;
    let record = sim.with_world(|world| world.metadata.get(&id))?;
    if sim.with_world(|world| world.tasks.pod(&id)).is_some() {
        return Err(Error::new(Code::AlreadyExists, format!("task {id}: already exists")));
    }
    let (bundle, up) = (id.clone(), ctx.clone());
    let had_bundle = sim.with_world(|world| world.bundles.contains(&id));
    let made = sim.call(Op::BundleCreate, Symbol::EMPTY, Some(&ctx), move |world| {
        if !world.bundles.insert(bundle.clone()) {
            let root = "/run/containerd/io.containerd.runtime.v2.task/k8s.io";
            return Flow::Done(Err(Error::unknown(format!("mkdir {root}/{bundle}: file exists"))));
        }
        Flow::Done(Ok(()))
    });
    if let Err(error) = made.await {
        if !had_bundle {
            sim.with_world(|world| world.remove_bundle(&id));
        }
        return Err(error);
    }
    let binary = request.runtime_path.clone();
    let joined = sim.call(Op::ShimConnect, Symbol::EMPTY, Some(&ctx), move |world| {
        Flow::Done(world.join_shim(&up, &binary))
    });
    if let Err(error) = joined.await {
        return Err(sim.with_world(|world| {
            world.remove_bundle(&id);
            world.joining_failed(pod, error)
        }));
    }
    sim.with_world(|world| {
        world.tasks.insert(&id, pod);
        world.changed.runtime = true;
    });
    let peer = Peer { sim: sim.clone(), pod, id: id.clone() };
    let created = {
        let (sim, up, request) = (sim.clone(), ctx.clone(), request.clone());
        let gate = move |world: &mut World| world.shim_busy(pod);
        let name = Symbol::of(&id);
        peer.sim.serve(Op::ShimCreate, Symbol::EMPTY, Some(&ctx), gate, move || {
            shim::create(sim, up, pod, request, name, record)
        })
    };
    if let Err(error) = created.await {
        clean_up_failed_create(&peer).await;
        return Err(error.wrap("failed to create shim task"));
    }
    let registered = sim
        .call(Op::MetricsRegister, Symbol::EMPTY, Some(&ctx), |_| Flow::Done(Ok::<(), Error>(())));
    registered.await.map_err(|error| error.wrap("monitor task"))?;
    peer.pid(&ctx).await.map_err(|error| error.wrap("failed to get task pid"))
}

/// After a failed create: out of the table, then the shim's own delete, with a fresh budget.
async fn clean_up_failed_create(peer: &Peer) {
    let (sim, id) = (&peer.sim, &peer.id);
    sim.with_world(|world| {
        world.tasks.remove(id);
        world.changed.runtime = true;
    });
    let mut ctx = Context::background().with_timeout(sim.now(), CLEANUP_TIMEOUT);
    let deleted = peer.delete(&ctx).await;
    // There is time again for a last shutdown.
    if deleted.as_ref().is_err_and(|error| error.code == Code::DeadlineExceeded) {
        ctx = Context::background().with_timeout(sim.now(), CLEANUP_TIMEOUT);
    }
    peer.shut_down(&ctx).await;
    if deleted.is_err() && peer.connection_closed().await.is_err() {
        sim.with_world(|world| {
            world.tasks.insert(id, peer.pod);
            world.changed.runtime = true;
        });
        return;
    }
    peer.remove_bundle();
}

/// The daemon comes up and takes up the shims that it finds by their bundles, one after the other. One
/// that does not answer, or that has no process for its bundle, is cleaned up as leaked (spec section
/// 8.1).
pub(crate) async fn reload(sim: &Sim) {
    let bundles: Vec<String> = sim.with_world(|world| world.bundles.iter().cloned().collect());
    for id in bundles {
        let name = Symbol::of(&id);
        let load = async || -> Result<Option<u32>, Error> {
            let ctx = Context::background().with_timeout(sim.now(), LOAD_TIMEOUT);
            let own = id.clone();
            let call = sim.call(Op::ShimLoad, name, Some(&ctx), move |world| {
                Flow::Done(Ok(world.shim_with_process(&own)))
            });
            call.await
        };
        let mut loaded = load().await;
        if loaded.is_err() && !sim.with_world(|world| world.gives_up_shims()) {
            loaded = load().await;
        }
        if let Ok(Some(pod)) = loaded {
            sim.with_world(|world| {
                world.tasks.insert(&id, pod);
                world.changed.runtime = true;
            });
            continue;
        }
        let ctx = Context::background().with_timeout(sim.now(), CLEANUP_TIMEOUT);
        let deleted = sim.call(Op::ShimDelete, name, Some(&ctx), move |world| {
            world.clean_up_leaked(&id);
            Flow::Done(Ok::<(), Error>(()))
        });
        // What fails here is only logged by the real daemon.
        let _ = deleted.await;
    }
}

pub(super) async fn get(sim: Sim, ctx: Context, id: String) -> Result<TaskInfo, Error> {
    let peer = Peer::of(&sim, &id)?;
    match peer.state(&ctx).await {
        Ok(info) => Ok(info),
        Err(error) if error.code == Code::NotFound => Err(error),
        Err(error)
            if error.code == Code::Unavailable
                && !sim.with_world(|w| w.quirks.has(Quirk::UnavailableStateUnknown)) =>
        {
            Err(error)
        }
        // Every other error is only logged, and the task is in an unknown state.
        Err(_) => {
            Ok(TaskInfo { status: TaskStatus::Unknown, pid: 0, io: IoPaths::default(), exit: None })
        }
    }
}

pub(super) async fn start(sim: Sim, ctx: Context, id: String) -> Result<u32, Error> {
    let peer = Peer::of(&sim, &id)?;
    let (up, pod, container) = (ctx.clone(), peer.pod, id.clone());
    let gate = peer.gate();
    let of_shim = sim.clone();
    let call = sim.serve(Op::ShimStart, Symbol::EMPTY, Some(&ctx), gate, move || {
        shim::start(of_shim, up, pod, container)
    });
    peer.checked(call.await)?;
    peer.state(&ctx).await.map(|info| info.pid)
}

pub(super) async fn kill(
    sim: Sim,
    ctx: Context,
    id: String,
    signal: u32,
    all: bool,
) -> Result<(), Error> {
    let peer = Peer::of(&sim, &id)?;
    let (up, pod) = (ctx.clone(), peer.pod);
    let gate = peer.gate();
    let of_shim = sim.clone();
    let call = sim.serve(Op::ShimKill, Symbol::EMPTY, Some(&ctx), gate, move || {
        shim::kill(of_shim, up, pod, id, signal, all)
    });
    peer.checked(call.await)
}

pub(super) async fn update(
    sim: Sim,
    ctx: Context,
    id: String,
    resources: LinuxResources,
) -> Result<(), Error> {
    let peer = Peer::of(&sim, &id)?;
    let (up, pod) = (ctx.clone(), peer.pod);
    let gate = peer.gate();
    let of_shim = sim.clone();
    let call = sim.serve(Op::ShimUpdate, Symbol::EMPTY, Some(&ctx), gate, move || {
        shim::update(of_shim, up, pod, id, resources)
    });
    peer.checked(call.await)
}

pub(super) async fn wait(sim: Sim, ctx: Context, id: String) -> Result<Exit, Error> {
    let peer = Peer::of(&sim, &id)?;
    peer.pid(&ctx).await?;
    peer.exit(&ctx).await
}

pub(super) async fn delete(sim: Sim, ctx: Context, id: String) -> Result<Exit, Error> {
    sim.with_world(|world| world.metadata.get(&id).map(|_| ()))?;
    let peer = Peer::of(&sim, &id)?;
    let deleted = peer.delete(&ctx).await;
    let goes_on = match &deleted {
        Ok(_) => true,
        Err(error) => error.code == Code::NotFound || is_closed(error),
    };
    if !goes_on {
        return deleted.map_err(|error| error.wrap("failed to delete task"));
    }
    if deleted.is_err() {
        peer.connection_closed().await.map_err(|error| error.wrap("failed to delete task"))?;
    }
    sim.with_world(|world| {
        world.tasks.remove(&id);
        world.changed.runtime = true;
    });
    let ctx = Context::background().with_timeout(sim.now(), Duration::from_secs(3));
    peer.shut_down(&ctx).await;
    peer.remove_bundle();
    deleted.map_err(|error| error.wrap("failed to delete task"))
}
