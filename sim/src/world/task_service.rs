//! containerd's task service (spec section 2.7): each call of the service, step by step.

use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use shakedown_cri::ports::{
    Code, Context, CreateTask, Error, Exit, IoPaths, Record, TaskInfo, TaskStatus,
};
use shakedown_cri::quirks::Quirk;
use shakedown_cri::store::LinuxResources;

use super::shim::{self, CreateCall};
use super::{WaitKey, World};
use crate::turnstile::{Call, Flow, Footprint, Op, Part, Sim, Symbol};

/// `io.containerd.timeout.task.state`
const STATE_TIMEOUT: Duration = Duration::from_secs(2);
/// `io.containerd.timeout.shim.load`
const LOAD_TIMEOUT: Duration = Duration::from_secs(5);
/// `io.containerd.timeout.shim.cleanup`
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(5);
/// `io.containerd.timeout.shim.shutdown`
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
const RUNTIME_PATH_UNRESOLVED: &str = "failed to resolve runtime path";
const SANDBOX_UNKNOWN: &str = "can't find sandbox";
/// The annotation that groups a pod's containers in one shim.
const SANDBOX_ID: &str = "io.kubernetes.cri.sandbox-id";

/// How the daemon came by its connection to the shim of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// It launched the shim, or took it up as it came up.
    Own,
    /// The container joined the shim of its pod.
    Joined,
}

/// A task that the daemon knows.
#[derive(Clone, Copy, Debug, Hash)]
struct Entry {
    pod: u32,
    origin: Origin,
}

/// The tasks that the daemon knows, by container id.
#[derive(Clone, Debug, Default, Hash)]
pub struct TaskTable(BTreeMap<String, Entry>);

impl TaskTable {
    fn get(&self, id: &str) -> Option<Entry> {
        self.0.get(id).copied()
    }

    /// The number of the pod.
    pub fn pod(&self, id: &str) -> Option<u32> {
        self.get(id).map(|entry| entry.pod)
    }

    pub(super) fn origin(&self, id: &str) -> Option<Origin> {
        self.get(id).map(|entry| entry.origin)
    }

    pub fn insert(&mut self, id: &str, pod: u32, origin: Origin) {
        self.0.insert(id.to_owned(), Entry { pod, origin });
    }

    pub fn remove(&mut self, id: &str) {
        self.0.remove(id);
    }

    pub fn ids(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

fn no_task(id: &str) -> Error {
    Error::new(Code::NotFound, ["task ", id, " not found"].concat())
}

/// Nobody listens at the shim's address: a socket whose name is a digest of the pod's id, for which the id
/// stands here.
fn unreachable(sandbox: &str) -> Error {
    let dialed = format!("dial unix /run/containerd/s/{sandbox}: connect: connection refused");
    Error::unknown(dialed)
}

fn is_closed(error: &Error) -> bool {
    error.message == "ttrpc: closed"
}

impl World {
    /// The pod whose shim serves a container, from its record.
    fn pod_of(&self, id: &str) -> Result<u32, Error> {
        self.touches(|| Footprint::RECORDS);
        let record = self.metadata.get(id)?;
        let annotation = record.spec.annotations.iter().find(|(key, _)| key == SANDBOX_ID);
        let sandbox = annotation.map_or(id, |(_, value)| value.as_str());
        let pod = self.pods.get(sandbox).copied();
        pod.ok_or_else(|| Error::new(Code::NotFound, format!("sandbox {sandbox}: not found")))
    }
}

impl World {
    /// The daemon's entry of a task.
    fn task(&self, id: &str) -> Option<Entry> {
        self.touches(|| Footprint::looks(Part::Task, id));
        self.tasks.get(id)
    }

    fn add_task(&mut self, id: &str, pod: u32, origin: Origin) {
        self.touches(|| Footprint::changes(Part::Task, id));
        self.tasks.insert(id, pod, origin);
        self.changed.runtime = true;
    }

    fn remove_task(&mut self, id: &str) {
        self.touches(|| Footprint::changes(Part::Task, id));
        self.tasks.remove(id);
        self.changed.runtime = true;
    }

    fn has_bundle(&self, id: &str) -> bool {
        self.touches(|| Footprint::looks(Part::Task, id));
        self.bundles.contains(id)
    }

    fn record(&self, id: &str) -> Result<Rc<Record>, Error> {
        self.touches(|| Footprint::RECORDS);
        self.metadata.get(id)
    }

    /// A container joins its pod's shim: by running the shim's binary once more, which finds the one
    /// that is there, or by connecting to that of the pause task.
    fn join_shim(&mut self, ctx: &Context, pod: u32, binary: &str) -> Result<(), Error> {
        if !self.quirks.has(Quirk::ShimLaunchedPerContainer) {
            let sandbox = self.shims.get(pod as usize).map_or("", |shim| &*shim.sandbox);
            return match self.task(sandbox) {
                Some(_) if self.shim_is_dead(pod) => Err(unreachable(sandbox)
                    .wrap("unable to make connection: failed to create TTRPC connection")),
                Some(_) => Ok(()),
                None => Err(Error::unknown(format!("{SANDBOX_UNKNOWN} {sandbox}"))),
            };
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
            None => {
                self.launch_shim(pod);
                Ok(())
            }
        }
    }

    /// Whether the daemon does not try again to delete what the runtime could not.
    fn forgets_failed_cleanups(&self) -> bool {
        self.quirks.has(Quirk::FailedCleanupForgotten)
    }

    /// How the shim manager words that a container could not join its pod's shim.
    fn joining_failed(&self, pod: u32, error: Error) -> Error {
        let texts = [RUNTIME_PATH_UNRESOLVED, SANDBOX_UNKNOWN];
        let error = if texts.iter().any(|text| error.message.starts_with(text)) {
            error
        } else if self.quirks.has(Quirk::ShimLaunchedPerContainer) {
            error.wrap("start failed")
        } else {
            let sandbox = self.shims.get(pod as usize).map_or("", |shim| &*shim.sandbox);
            // The only thing on the way that looks at the client's context.
            let error = match error.code {
                Code::Cancelled | Code::DeadlineExceeded => {
                    error.wrap("open shim log pipe when reload")
                }
                _ => error,
            };
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
    id: Rc<str>,
    origin: Origin,
}

impl Peer {
    fn of(sim: &Sim, id: &Rc<str>) -> Result<Peer, Error> {
        let entry = sim.look(|world| world.task(id)).ok_or_else(|| no_task(id))?;
        let Entry { pod, origin } = entry;
        Ok(Peer { sim: sim.clone(), pod, id: id.clone(), origin })
    }

    /// A request about the init process, which holds its lock while the shim serves it.
    fn locked<T, Fut>(
        &self,
        op: Op,
        ctx: &Context,
        handler: impl FnOnce() -> Fut + 'static,
    ) -> Call<Result<T, Error>>
    where
        T: std::hash::Hash + 'static,
        Fut: Future<Output = Result<T, Error>> + 'static,
    {
        let (sim, pod, id) = (self.sim.clone(), self.pod, self.id.clone());
        let waiting = self.id.clone();
        let gate = move |world: &mut World| world.init_busy(pod, &waiting);
        self.sim.serve(op, Symbol::EMPTY, Some(ctx), gate, move || {
            shim::locked(sim, pod, id, handler())
        })
    }

    /// Notes that a call found the connection closed.
    fn checked<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result
            && is_closed(error)
        {
            self.sim.with_world(|world| {
                world.shim_connection_lost(self.pod, &self.id, self.origin);
            });
        }
        result
    }

    /// A closed connection counts as NotFound here.
    async fn state(&self, ctx: &Context) -> Result<TaskInfo, Error> {
        let (pod, id) = (self.pod, self.id.clone());
        let call = self.sim.call(Op::ShimState, Symbol::EMPTY, Some(ctx), move |world| match world
            .init_busy(pod, &id)
        {
            Some(key) => Flow::Wait(key),
            None => Flow::Done(world.shim_state(pod, &id)),
        });
        self.checked(call.await).map_err(|error| match is_closed(&error) {
            true if self.sim.aside(|world| world.gives_up_shims()) => Error::bare(Code::NotFound),
            true => Error::new(Code::Unavailable, "ttrpc: closed: unavailable"),
            false => error,
        })
    }

    async fn pid(&self, ctx: &Context) -> Result<u32, Error> {
        let (pod, id, up) = (self.pod, self.id.clone(), ctx.clone());
        let call = self.sim.call(Op::ShimPid, Symbol::EMPTY, Some(ctx), move |world| {
            world.touches(Footprint::default);
            if let Some(error) = ended(&up, world.now) {
                return Flow::Done(Err(error));
            }
            match world.shim_busy(pod) {
                Some(key) => Flow::Wait(key),
                None => Flow::Done(world.shim_pid(pod, &id)),
            }
        });
        self.checked(call.await)
    }

    async fn exit(&self, ctx: &Context) -> Result<Exit, Error> {
        let (pod, id) = (self.pod, self.id.clone());
        let call = self.sim.call(Op::ShimWait, Symbol::EMPTY, Some(ctx), move |world| match world
            .init_exit(pod, &id)
        {
            Err(error) => Flow::Done(Err(error)),
            Ok(Some(exit)) => {
                world.touches(|| Footprint::awaits(Part::Exit, &*id));
                Flow::Done(Ok(exit))
            }
            Ok(None) => Flow::Wait(WaitKey::Shim(pod)),
        });
        self.checked(call.await)
    }

    async fn delete(&self, ctx: &Context) -> Result<Exit, Error> {
        let (sim, up, pod, id) = (self.sim.clone(), ctx.clone(), self.pod, self.id.clone());
        let call = self.locked(Op::ShimDelete, ctx, move || shim::delete(sim, up, pod, id));
        self.checked(call.await)
    }

    /// The daemon has closed the connection: the dead-shim handler has what the runtime holds deleted by
    /// force, without the shim (spec section 2.7). The mount goes whatever comes of it. An error says that
    /// something is left, to be deleted by whoever asks again.
    async fn connection_closed(&self) -> Result<(), Error> {
        let (sim, pod, id) = (&self.sim, self.pod, self.id.clone());
        if !sim.aside(|world| world.cleans_up_after(self.origin)) {
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
            world.unmount(&id);
            if deleted.is_ok() {
                world.forget_container(pod, &id);
            }
            if world.forgets_failed_cleanups() { Ok(()) } else { deleted }
        })
    }

    /// Whether the pod's controller decides when the shim is told to end, and the deletion of this container
    /// does not.
    fn is_sandboxed(&self) -> bool {
        self.sim.aside(|world| {
            let pause = world.shims.get(self.pod as usize).map(|shim| &*shim.sandbox);
            !world.quirks.has(Quirk::ShimLaunchedPerContainer) && pause != Some(&*self.id)
        })
    }

    /// Asks the shim to end if it serves nobody any more.
    async fn shut_down(&self, ctx: &Context) {
        let pod = self.pod;
        let call = self.sim.call(Op::ShimShutdown, Symbol::EMPTY, Some(ctx), move |world| {
            match world.shim_busy(pod) {
                Some(key) => Flow::Wait(key),
                None => Flow::Done(Ok::<(), Error>(())),
            }
        });
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

pub(super) async fn create(
    sim: Sim,
    ctx: Context,
    id: Rc<str>,
    request: CreateTask,
) -> Result<u32, Error> {
    let pod = sim.look(|world| world.pod_of(&id))?;
    let record = sim.look(|world| world.record(&id))?;
    if sim.look(|world| world.task(&id)).is_some() {
        return Err(Error::new(Code::AlreadyExists, format!("task {id}: already exists")));
    }
    let (bundle, up) = (id.clone(), ctx.clone());
    let had_bundle = sim.look(|world| world.has_bundle(&id));
    let made = sim.call(Op::BundleCreate, Symbol::EMPTY, Some(&ctx), move |world| {
        world.touches(|| Footprint::changes(Part::Task, &*bundle));
        if !world.bundles.insert(bundle.to_string()) {
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
        world.touches(Footprint::default);
        Flow::Done(world.join_shim(&up, pod, &binary))
    });
    if let Err(error) = joined.await {
        return Err(sim.with_world(|world| {
            world.remove_bundle(&id);
            world.joining_failed(pod, error)
        }));
    }
    sim.with_world(|world| world.add_task(&id, pod, Origin::Joined));
    let peer = Peer { sim: sim.clone(), pod, id: id.clone(), origin: Origin::Joined };
    let call = CreateCall::sent();
    let created = {
        let (sim, up, taken, call) = (sim.clone(), ctx.clone(), call.clone(), call.clone());
        let gate = move |world: &mut World| {
            if taken.taken() {
                world.touches(|| Footprint::changes(Part::Shim, pod));
            }
            world.shim_busy(pod)
        };
        peer.sim.serve(Op::ShimCreate, Symbol::EMPTY, Some(&ctx), gate, move || {
            shim::create(sim, up, call, pod, request, record)
        })
    };
    if let Err(error) = created.await {
        let gave_up = ended(&ctx, sim.aside(|world| world.now)).is_some();
        clean_up_failed_create(&peer, &call, gave_up).await;
        return Err(error.wrap("failed to create shim task"));
    }
    // No class is mapped to what fails now.
    let registered = sim
        .call(Op::MetricsRegister, Symbol::EMPTY, Some(&ctx), |_| Flow::Done(Ok::<(), Error>(())));
    registered.await.map_err(|error| Error::unknown(error.wrap("monitor task").message))?;
    // Only the shim's answer is, within.
    let quirks = sim.aside(|world| world.quirks);
    peer.pid(&ctx).await.map_err(|error| {
        Error::unknown(error.across_rpc(quirks).wrap("failed to get task pid").message)
    })
}

/// After a failed create: out of the table, then the shim's own delete, with a fresh budget. When that
/// fails the connection is closed, which ends a creation that is still under way. `gave_up`: nobody waited
/// for its answer any more.
async fn clean_up_failed_create(peer: &Peer, call: &CreateCall, gave_up: bool) {
    let (sim, id) = (&peer.sim, &peer.id);
    sim.with_world(|world| world.remove_task(id));
    let mut ctx = Context::background().with_timeout(sim.now(), CLEANUP_TIMEOUT);
    let deleted = peer.delete(&ctx).await;
    // There is time again for a last shutdown.
    if deleted.as_ref().is_err_and(|error| error.code == Code::DeadlineExceeded) {
        ctx = Context::background().with_timeout(sim.now(), CLEANUP_TIMEOUT);
    }
    if deleted.is_err() || !peer.is_sandboxed() {
        peer.shut_down(&ctx).await;
    }
    if deleted.is_err() {
        sim.with_world(|world| world.creation_cut_off(peer.pod, id, call, gave_up));
        if peer.connection_closed().await.is_err() {
            sim.with_world(|world| world.add_task(id, peer.pod, peer.origin));
            return;
        }
    }
    peer.remove_bundle();
}

/// How often a daemon that does not give a shim up at once asks for it.
const LOAD_TRIES: u32 = 5;

/// The daemon comes up and takes up the shims that it finds by their bundles, one after the other. One
/// that does not answer, or that has no process for its bundle, is cleaned up as leaked (spec section
/// 8.1).
pub(crate) async fn reload(sim: &Sim) {
    let bundles: Vec<String> = sim.look(|world| world.bundles.iter().cloned().collect());
    for id in bundles {
        let (name, id) = Symbol::with_text(&id);
        let load = async || -> Result<Option<u32>, Error> {
            let ctx = Context::background().with_timeout(sim.now(), LOAD_TIMEOUT);
            let own = id.clone();
            let call = sim.call(Op::ShimLoad, name, Some(&ctx), move |world| {
                world.touches(Footprint::default);
                let dead = world.pod_of(&own).is_ok_and(|pod| world.shim_is_dead(pod));
                Flow::Done(if dead {
                    Err(unreachable(&own))
                } else {
                    Ok(world.shim_with_process(&own))
                })
            });
            call.await
        };
        let tries = if sim.aside(|world| world.gives_up_shims()) { 1 } else { LOAD_TRIES };
        let mut loaded = load().await;
        for _ in 1..tries {
            if loaded.is_err() {
                loaded = load().await;
            }
        }
        if let Ok(Some(pod)) = loaded {
            sim.with_world(|world| world.add_task(&id, pod, Origin::Own));
            continue;
        }
        let answers = loaded.is_ok();
        let clean_up = async || {
            let ctx = Context::background().with_timeout(sim.now(), CLEANUP_TIMEOUT);
            let (of_handler, up, id) = (sim.clone(), ctx.clone(), id.clone());
            let call = sim.serve(
                Op::ShimDelete,
                name,
                Some(&ctx),
                |_| None,
                move || delete_leaked(of_handler, up, id, answers),
            );
            call.await
        };
        // What fails here is only logged by the real daemon. One that forgets nothing tries once more, and
        // keeps what is left as a task, to be deleted by whoever asks.
        let remembers = !sim.aside(|world| world.forgets_failed_cleanups());
        if clean_up().await.is_err() && remembers && clean_up().await.is_err() {
            sim.with_world(|world| {
                if let Ok(pod) = world.pod_of(&id) {
                    world.add_task(&id, pod, Origin::Own);
                }
            });
        }
    }
}

/// What is left of a container without a process is deleted: by its shim, or, if that does not answer or
/// does not know it, by the runtime, by force. When this fails in the shim, or in the runtime of a shim
/// that does not answer, the bundle stays.
async fn delete_leaked(sim: Sim, ctx: Context, id: Rc<str>, answers: bool) -> Result<(), Error> {
    let (pod, forgets) = sim.look(|world| {
        (world.shim_that_knows(&id).filter(|_| answers), world.forgets_failed_cleanups())
    });
    if let Some(pod) = pod {
        let delete = shim::delete(sim.clone(), ctx, pod, id.clone());
        shim::locked(sim.clone(), pod, id.clone(), delete).await?;
    } else {
        let container = id.clone();
        let deleted = sim.call(Op::RuntimeDelete, Symbol::EMPTY, Some(&ctx), move |world| {
            world.clean_up_leaked(&container);
            Flow::Done(Ok::<(), Error>(()))
        });
        let deleted = deleted.await;
        if !(answers && forgets) {
            deleted?;
        }
    }
    sim.with_world(|world| world.remove_bundle(&id));
    Ok(())
}

pub(super) async fn get(sim: Sim, ctx: Context, id: Rc<str>) -> Result<TaskInfo, Error> {
    let peer = Peer::of(&sim, &id)?;
    let ctx = ctx.with_timeout(sim.now(), STATE_TIMEOUT);
    match peer.state(&ctx).await {
        Ok(info) => Ok(info),
        Err(error) if error.code == Code::NotFound => Err(error),
        Err(error)
            if error.code == Code::Unavailable
                && !sim.aside(|w| w.quirks.has(Quirk::UnavailableStateUnknown)) =>
        {
            Err(error)
        }
        // Every other error is only logged, and the task is in an unknown state.
        Err(_) => {
            Ok(TaskInfo { status: TaskStatus::Unknown, pid: 0, io: IoPaths::default(), exit: None })
        }
    }
}

pub(super) async fn start(sim: Sim, ctx: Context, id: Rc<str>) -> Result<u32, Error> {
    let peer = Peer::of(&sim, &id)?;
    let (up, pod) = (ctx.clone(), peer.pod);
    let call = peer.locked(Op::ShimStart, &ctx, move || shim::start(sim, up, pod, id));
    peer.checked(call.await)?;
    peer.state(&ctx).await.map(|info| info.pid)
}

pub(super) async fn kill(
    sim: Sim,
    ctx: Context,
    id: Rc<str>,
    signal: u32,
    all: bool,
) -> Result<(), Error> {
    let peer = Peer::of(&sim, &id)?;
    let (up, pod) = (ctx.clone(), peer.pod);
    let call = peer.locked(Op::ShimKill, &ctx, move || shim::kill(sim, up, pod, id, signal, all));
    peer.checked(call.await)
}

pub(super) async fn update(
    sim: Sim,
    ctx: Context,
    id: Rc<str>,
    resources: LinuxResources,
) -> Result<(), Error> {
    let peer = Peer::of(&sim, &id)?;
    let (up, pod) = (ctx.clone(), peer.pod);
    let call = peer.locked(Op::ShimUpdate, &ctx, move || shim::update(sim, up, pod, id, resources));
    peer.checked(call.await)
}

pub(super) async fn wait(sim: Sim, ctx: Context, id: Rc<str>) -> Result<Exit, Error> {
    let peer = Peer::of(&sim, &id)?;
    peer.pid(&ctx).await?;
    peer.exit(&ctx).await
}

pub(super) async fn delete(sim: Sim, ctx: Context, id: Rc<str>) -> Result<Exit, Error> {
    sim.look(|world| world.record(&id).map(|_| ()))?;
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
    sim.with_world(|world| world.remove_task(&id));
    if !peer.is_sandboxed() {
        let ctx = Context::background().with_timeout(sim.now(), SHUTDOWN_TIMEOUT);
        peer.shut_down(&ctx).await;
    }
    peer.remove_bundle();
    deleted.map_err(|error| error.wrap("failed to delete task"))
}
