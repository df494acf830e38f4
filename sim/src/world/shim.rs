//! Shims and the OCI runtime below them (spec section 2.8): one shim a pod, and the state of each
//! of its containers.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use shakedown_cri::ports::{
    Code, Context, CreateTask, Error, Exit, FifoEnd, IoPaths, Record, TaskInfo, TaskStatus,
};
use shakedown_cri::quirks::Quirk;
use shakedown_cri::store::LinuxResources;

use super::ports::short_symbol;
use super::process::{ExitCause, ProcessState, SIGKILL};
use super::task_service::Origin;
use super::{Occurrence, WaitKey, World};
use crate::turnstile::{Flow, Footprint, Op, Part, Sim, Symbol, end_for, role_of};

/// How long the copy of the output may wait for its pipes (spec section 2.8).
const COPY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a deletion waits for the copy of the output to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What the dead-shim handler takes until the daemon has forgotten the container: it runs the shim's binary,
/// which runs the runtime. Who waits for the container hears of the closed connection at once.
const HANDLER_TIME: Duration = Duration::from_millis(100);

/// The owner of the descriptors that shims hold.
pub const SHIM_OWNER: u32 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InitState {
    Created,
    Running,
    Stopped,
}

/// A container as its shim knows it.
#[derive(Clone, Debug, Hash)]
pub struct ShimContainer {
    pub state: InitState,
    pub pid: u32,
    pub io: IoPaths,
    pub exit: Option<Exit>,
    /// A request holds the lock of the init process (`process.Init` of containerd-shim-runc-v2).
    pub busy: bool,
    /// The daemon's connection for this container broke.
    pub lost: bool,
}

impl ShimContainer {
    /// A container whose process runs, without output.
    pub fn running(pid: u32) -> Self {
        ShimContainer {
            state: InitState::Running,
            pid,
            io: IoPaths::default(),
            exit: None,
            busy: false,
            lost: false,
        }
    }
}

/// The shim of a pod.
#[derive(Clone, Debug, Hash)]
pub struct Shim {
    pub number: u32,
    pub sandbox: String,
    pub containers: BTreeMap<String, ShimContainer>,
    /// It was killed, and no other one was launched.
    dead: bool,
    /// The container whose creation is under way; it holds the shim's lock.
    creating: Option<String>,
    /// The exits that the shim has reaped and not recorded yet, one after the other.
    exits: VecDeque<(u32, Exit)>,
}

impl Shim {
    pub fn new(number: u32, sandbox: &str) -> Self {
        Shim {
            number,
            sandbox: sandbox.to_owned(),
            containers: BTreeMap::new(),
            dead: false,
            creating: None,
            exits: VecDeque::new(),
        }
    }

    /// The daemon's connections closed, with whatever the shim was serving over them.
    pub(super) fn daemon_gone(&mut self) {
        self.creating = None;
        for container in self.containers.values_mut() {
            container.busy = false;
            container.lost = false;
        }
        self.record_exits();
    }

    /// Records what was reaped, up to the first exit whose init is busy: that needs the lock of the
    /// init. Returns whether anything was recorded.
    fn record_exits(&mut self) -> bool {
        let mut recorded = false;
        while let Some((pid, exit)) = self.exits.front().copied() {
            let of_pid = |c: &&mut ShimContainer| c.pid == pid && c.exit.is_none();
            if let Some(container) = self.containers.values_mut().find(of_pid) {
                if container.busy {
                    break;
                }
                container.state = InitState::Stopped;
                container.exit = Some(exit);
                recorded = true;
            }
            self.exits.pop_front();
        }
        recorded
    }
}

fn not_created() -> Error {
    Error::new(Code::NotFound, "container not created: not found")
}

fn connection_closed() -> Error {
    Error::unknown("ttrpc: closed")
}

impl World {
    fn shim(&self, pod: u32) -> Option<&Shim> {
        self.shims.get(pod as usize)
    }

    fn shim_mut(&mut self, pod: u32) -> Option<&mut Shim> {
        self.shims.get_mut(pod as usize)
    }

    pub(super) fn shim_is_dead(&self, pod: u32) -> bool {
        self.touches(|| Footprint::looks(Part::Shim, pod));
        self.shim(pod).is_some_and(|shim| shim.dead)
    }

    /// Another shim is launched for a pod whose own was killed.
    pub(super) fn launch_shim(&mut self, pod: u32) {
        self.touches(|| Footprint::changes(Part::Shim, pod));
        if let Some(shim) = self.shim_mut(pod) {
            shim.dead = false;
        }
    }

    /// Why the shim of a pod does not run the runtime's `op`: it was killed, or the request's time is up.
    fn unserved(&self, pod: u32, op: Op, ctx: &Context) -> Option<Error> {
        if self.shim_is_dead(pod) {
            return Some(connection_closed());
        }
        let ended = end_for(op, ctx).filter(|(at, _)| at.0 <= self.now);
        ended.map(|(_, code)| Error::bare(code))
    }

    /// What a request to the shim has to wait for: its lock.
    pub(super) fn shim_busy(&self, pod: u32) -> Option<WaitKey> {
        self.touches(|| Footprint::looks(Part::Shim, pod));
        self.shim(pod).filter(|shim| shim.creating.is_some()).map(|_| WaitKey::Shim(pod))
    }

    /// What a request about a container's init has to wait for: the shim's lock, and that of the init.
    pub(super) fn init_busy(&self, pod: u32, id: &str) -> Option<WaitKey> {
        self.touches(|| Footprint::looks(Part::Known, id).and(Footprint::looks(Part::Busy, id)));
        let busy = || self.shim(pod)?.containers.get(id).filter(|c| c.busy).map(|_| ());
        self.shim_busy(pod).or_else(|| busy().map(|()| WaitKey::Shim(pod)))
    }

    /// An exit that came meanwhile is known when the init is free again.
    fn set_busy(&mut self, pod: u32, id: &str, busy: bool) {
        self.touches(|| Footprint::looks(Part::Known, id).and(Footprint::changes(Part::Busy, id)));
        if let Ok(container) = self.shim_container_mut(pod, id) {
            container.busy = busy;
        }
        if !busy {
            self.record_exits(pod);
            self.wake(WaitKey::Shim(pod));
        }
    }

    fn record_exits(&mut self, pod: u32) {
        self.touches(|| Footprint::looks(Part::Exit, pod));
        let Some(shim) = self.shims.get(pod as usize).filter(|shim| !shim.exits.is_empty()) else {
            return;
        };
        // Those whose init is busy are not recorded, nor is what came after them.
        let all = [Part::Known, Part::Busy].map(Footprint::looks_at_all);
        self.touches(|| all[0].and(all[1]).and(Footprint::changes(Part::Exit, pod)));
        let is_of = |c: &ShimContainer| shim.exits.iter().any(|(pid, _)| *pid == c.pid);
        for (id, _) in shim.containers.iter().filter(|(_, c)| is_of(c)) {
            let id = id.as_str();
            let known = Footprint::changes(Part::State, id).and(Footprint::changes(Part::Exit, id));
            self.touches(|| known.and(Footprint::VIEW));
        }
        let recorded = self.shims[pod as usize].record_exits();
        self.changed.runtime |= recorded;
    }

    /// The daemon closed the connection over which it asked for a creation, which ends with it.
    pub(super) fn creation_cut_off(
        &mut self,
        pod: u32,
        id: &str,
        call: &CreateCall,
        gave_up: bool,
    ) {
        self.touches(|| Footprint::looks(Part::Shim, pod));
        if call.cut_off(gave_up) {
            // The steps of the creation ask whether it was.
            self.touches(|| Footprint::NODE);
        }
        if self.shim(pod).is_some_and(|shim| shim.creating.as_deref() == Some(id)) {
            self.creation_ends(pod, id, false);
        }
    }

    fn creation_ends(&mut self, pod: u32, id: &str, created: bool) {
        self.touches(|| Footprint::changes(Part::Shim, pod));
        if let Some(shim) = self.shim_mut(pod) {
            shim.creating = None;
        }
        if !created {
            // Whatever became of the runtime's container.
            self.unmount(id);
        }
        self.wake(WaitKey::Shim(pod));
    }

    /// The mount of a container's root file system goes, if there is one.
    pub(super) fn unmount(&mut self, id: &str) {
        self.touches(|| Footprint::changes(Part::Task, id));
        self.mounts.remove(id);
        self.changed.runtime = true;
    }

    /// What state it is in and how it ended is for the caller to say that it looks at.
    fn shim_container(&self, pod: u32, id: &str) -> Result<&ShimContainer, Error> {
        self.touches(|| Footprint::looks(Part::Known, id));
        let container = self.shim(pod).and_then(|shim| shim.containers.get(id));
        match container {
            Some(container) if container.lost => Err(connection_closed()),
            Some(container) => Ok(container),
            None if self.shim_is_dead(pod) => Err(connection_closed()),
            None => Err(not_created()),
        }
    }

    fn shim_container_mut(&mut self, pod: u32, id: &str) -> Result<&mut ShimContainer, Error> {
        let shim = self.shim_mut(pod).ok_or_else(not_created)?;
        shim.containers.get_mut(id).ok_or_else(not_created)
    }

    pub(super) fn shim_knows(&self, pod: u32, id: &str) -> Result<(), Error> {
        self.shim_container(pod, id).map(|_| ())
    }

    pub(super) fn shim_pid(&self, pod: u32, id: &str) -> Result<u32, Error> {
        self.shim_container(pod, id).map(|container| container.pid)
    }

    fn init_state(&self, pod: u32, id: &str) -> Result<InitState, Error> {
        self.touches(|| Footprint::looks(Part::State, id));
        self.shim_container(pod, id).map(|container| container.state)
    }

    pub(super) fn init_exit(&self, pod: u32, id: &str) -> Result<Option<Exit>, Error> {
        self.touches(|| Footprint::looks(Part::Exit, id));
        self.shim_container(pod, id).map(|container| container.exit)
    }

    /// The exit of a process reaches its shim, and everyone who waits there.
    pub(super) fn shim_reaps(&mut self, pid: u32, code: i32) {
        // Also of other inits, whose exits are recorded before.
        self.touches(|| {
            Footprint::looks_at_all(Part::Known).and(Footprint::looks_at_all(Part::Busy))
        });
        let exit = Exit { code, at: self.wall() };
        let knows = |shim: &&mut Shim| shim.containers.values().any(|c| c.pid == pid);
        let Some(shim) = self.shims.iter_mut().find(knows) else { return };
        let pod = shim.number;
        shim.exits.push_back((pid, exit));
        let own = if shim.exits.len() == 1 {
            let id = shim.containers.iter().find(|(_, c)| c.pid == pid).map(|(id, _)| &**id);
            let id = id.unwrap_or_default();
            Footprint::changes(Part::State, id).and(Footprint::changes(Part::Exit, id))
        } else {
            Footprint::CONTAINERD
        };
        shim.record_exits();
        self.touches(|| own.and(Footprint::changes(Part::Exit, pod)).and(Footprint::VIEW));
        self.wake(WaitKey::Shim(pod));
    }

    /// runc delete --force, or without force of what does not run: whatever there is goes.
    pub(super) fn runtime_delete(&mut self, id: &str) {
        self.touches(|| Footprint::changes(Part::Process, id));
        if let Some(pid) = self.runtime.remove(id) {
            let alive = self.processes.get(&pid).is_some_and(|p| p.state != ProcessState::Dead);
            if alive {
                self.process_exits(pid, 128 + 9, ExitCause::Runtime, true);
            }
            self.changed.runtime = true;
        }
    }

    /// The shim forgets a container: root file system unmounted. Its pipes were closed when the
    /// process ended.
    pub(super) fn forget_container(&mut self, pod: u32, id: &str) {
        for part in [Part::Known, Part::State, Part::Exit, Part::Busy] {
            self.touches(|| Footprint::changes(part, id).and(Footprint::VIEW));
        }
        if let Some(shim) = self.shim_mut(pod) {
            shim.containers.remove(id);
        }
        self.record_exits(pod);
        self.unmount(id);
        self.wake(WaitKey::Shim(pod));
    }

    /// Looks up the namespaces that a container joins, in the order of the runtime (libcontainer's
    /// `NamespaceTypes`): ipc, uts and net are those of its pod's pause process, also where that has the
    /// node's; pid is that of `target`, if it has one. Returns whose pid namespace it joins.
    fn joined_namespaces(&self, pod: u32, target: &str) -> Result<Option<String>, Error> {
        let sandbox = self.shim(pod).map_or("", |shim| &*shim.sandbox);
        self.namespace_of(sandbox, "ipc")?;
        if target.is_empty() { Ok(None) } else { self.namespace_of(target, "pid").map(Some) }
    }

    /// The container that a namespace of its process belongs to: it does as long as that lives.
    fn namespace_of(&self, id: &str, kind: &str) -> Result<String, Error> {
        self.touches(|| Footprint::looks(Part::Process, id));
        let owner = self.processes.values().rev().find(|p| p.container == id);
        match owner {
            Some(owner) if owner.state != ProcessState::Dead => Ok(owner.container.clone()),
            owner => {
                let pid = owner.map_or(0, |owner| owner.pid);
                Err(Error::unknown(format!(
                    "runc create failed: unable to create new parent process: \
                     namespace path: lstat /proc/{pid}/ns/{kind}: no such file or directory"
                )))
            }
        }
    }

    /// The daemon's connection for a container broke: its dead-shim handler will run.
    pub(super) fn shim_connection_lost(&mut self, pod: u32, id: &str, origin: Origin) {
        self.touches(|| Footprint::changes(Part::Known, id));
        if !self.gives_up_shims() {
            // The shim is there still: the next call connects anew.
            return;
        }
        let Ok(container) = self.shim_container_mut(pod, id) else { return };
        container.lost = true;
        let pid = container.pid;
        self.wake(WaitKey::Shim(pod));
        if !self.cleans_up_after(origin) {
            return;
        }
        self.schedule_clean_up(id, pid);
    }

    fn schedule_clean_up(&mut self, id: &str, pid: u32) {
        let handler = role_of("dead-shim", Symbol::of(id));
        self.schedule(HANDLER_TIME, handler, Op::Exit, Occurrence::ShimLost { pid });
    }

    /// The shim of a pod is killed: its connections close, its calls of the runtime die with it, and nobody
    /// copies output or reaps any more. Returns what enters the digest.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn shim_exits(&mut self, sandbox: &str) -> Result<u32, String> {
        self.touches(|| Footprint::CONTAINERD.and(Footprint::PIPES));
        let living =
            |shim: &&mut Shim| shim.sandbox == sandbox && !shim.dead && !shim.containers.is_empty();
        let Some(shim) = self.shims.iter_mut().find(living) else {
            return Err(format!("no shim of `{}` lived at that moment", Symbol::of(sandbox)));
        };
        let pod = shim.number;
        if !self.gives_up_shims() {
            // Another one takes up what it finds.
            return Ok(pod);
        }
        let shim = &mut self.shims[pod as usize];
        shim.dead = true;
        shim.creating = None;
        shim.exits.clear();
        for (id, container) in std::mem::take(&mut shim.containers) {
            self.close_output(container.pid);
            if self.tasks.origin(&id).is_some_and(|origin| self.cleans_up_after(origin)) {
                self.schedule_clean_up(&id, container.pid);
            }
        }
        self.changed.runtime = true;
        self.wake(WaitKey::Shim(pod));
        Ok(pod)
    }

    /// Whether the daemon cleans up after a container whose connection to its shim was closed.
    pub(super) fn cleans_up_after(&self, origin: Origin) -> bool {
        !self.quirks.has(Quirk::DeadShimNotCleaned)
            || (origin == Origin::Own && self.quirks.has(Quirk::OwnShimKilled))
    }

    /// Whether a shim that cannot be reached once counts as dead.
    pub(super) fn gives_up_shims(&self) -> bool {
        self.quirks.has(Quirk::LostShimKilled) || self.quirks.has(Quirk::DeadShimNotCleaned)
    }

    /// The dead-shim handler after a connection that broke.
    pub(super) fn clean_up_lost_shim(&mut self, pid: u32) {
        let Some(process) = self.processes.get(&pid) else { return };
        let id = process.container.clone();
        self.touches(|| {
            Footprint::looks(Part::Task, &*id).and(Footprint::looks(Part::Known, &*id))
        });
        let lost = |pod| match self.shims[pod as usize].containers.get(&id) {
            Some(container) => container.pid == pid && container.lost,
            None => self.shim_is_dead(pod),
        };
        if let Some(pod) = self.tasks.pod(&id).filter(|pod| lost(*pod)) {
            self.runtime_delete(&id);
            self.forget_container(pod, &id);
            self.tasks.remove(&id);
            self.remove_bundle(&id);
        }
    }

    /// Removes the bundle, and with it the mount of the root file system in it.
    pub(super) fn remove_bundle(&mut self, id: &str) {
        self.touches(|| Footprint::changes(Part::Task, id));
        self.bundles.remove(id);
        self.changed.runtime |= self.mounts.remove(id);
    }

    /// The pod whose shim knows the container.
    pub(super) fn shim_that_knows(&self, id: &str) -> Option<u32> {
        self.touches(|| Footprint::looks(Part::Known, id).and(Footprint::looks(Part::State, id)));
        self.shims.iter().find(|shim| shim.containers.contains_key(id)).map(|shim| shim.number)
    }

    /// The pod whose shim has a process for the container, or an exit that it keeps.
    pub(super) fn shim_with_process(&self, id: &str) -> Option<u32> {
        let keeps = |state: InitState| {
            state != InitState::Stopped || !self.quirks.has(Quirk::ExitedShimReaped)
        };
        self.shim_that_knows(id).filter(|_| self.task_state(id).is_some_and(keeps))
    }

    /// The runtime deletes by force what is left of a container whose shim does not answer, or does not
    /// know it.
    pub(super) fn clean_up_leaked(&mut self, id: &str) {
        self.touches(|| Footprint::CONTAINERD);
        self.runtime_delete(id);
        for shim in &mut self.shims {
            shim.containers.remove(id);
        }
        self.changed.runtime = true;
    }

    pub(super) fn shim_state(&self, pod: u32, id: &str) -> Result<TaskInfo, Error> {
        self.touches(|| Footprint::looks(Part::State, id).and(Footprint::looks(Part::Exit, id)));
        let container = self.shim_container(pod, id)?;
        let status = match container.state {
            InitState::Created => TaskStatus::Created,
            InitState::Running => TaskStatus::Running,
            InitState::Stopped => TaskStatus::Stopped,
        };
        Ok(TaskInfo { status, pid: container.pid, io: container.io.clone(), exit: container.exit })
    }

    /// Opens both ends of each output pipe for the process: it writes, the shim keeps the other end
    /// open.
    fn open_copies(&mut self, io: &IoPaths, pid: u32) -> Result<(), Error> {
        let of = self.processes.get(&pid).map_or("", |process| &*process.container);
        self.touches(|| Footprint::changes(Part::Process, of));
        let mut opened = [None, None];
        let mut failed = None;
        for (slot, path) in [&io.stdout, &io.stderr].into_iter().enumerate() {
            if path.is_empty() || (slot == 1 && io.terminal) {
                continue;
            }
            self.touches(|| Footprint::of_pipe(short_symbol(&self.roots, path)));
            let ends = self.fs.join_fifo(SHIM_OWNER, path, FifoEnd::Write).and_then(|writer| {
                let reader = self.fs.join_fifo(SHIM_OWNER, path, FifoEnd::Read);
                reader.inspect_err(|_| self.fs.fifo_close(writer)).map(|reader| [writer, reader])
            });
            match ends {
                Ok(ends) => opened[slot] = Some(ends),
                Err(error) => {
                    failed = Some(copy_failed("file", path, &error.to_string()));
                    break;
                }
            }
        }
        let result = match failed {
            Some(error) => {
                for fifo in opened.into_iter().flatten().flatten() {
                    self.fs.fifo_close(fifo);
                }
                Err(error)
            }
            None => {
                self.attach_output(pid, opened, io.terminal);
                Ok(())
            }
        };
        self.wake_fifos();
        result
    }
}

/// What is no named pipe, or is not there at all, is opened as a file.
fn copy_failed(kind: &str, path: &str, cause: &str) -> Error {
    Error::unknown(format!(
        "failed to start io pipe copy: unable to copy pipes: \
         containerd-shim: opening {kind} {path:?} failed: {cause}"
    ))
}

/// Serves a request about a container's init, whose lock it holds. A shim that was killed meanwhile answers
/// nothing more.
pub(super) async fn locked<T>(
    sim: Sim,
    pod: u32,
    id: Rc<str>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    sim.with_world(|world| world.set_busy(pod, &id, true));
    let result = work.await;
    sim.with_world(|world| world.set_busy(pod, &id, false));
    match sim.look(|world| world.shim_is_dead(pod)) {
        true => Err(connection_closed()),
        false => result,
    }
}

/// How far a request for a creation came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Sent,
    /// The shim has it, or waits for its own lock to serve it.
    Taken,
    Answered,
    CutOff,
}

/// A request for a creation, as the daemon and the shim know it.
#[derive(Clone)]
pub(super) struct CreateCall(Rc<Cell<Progress>>);

impl CreateCall {
    pub fn sent() -> Self {
        CreateCall(Rc::new(Cell::new(Progress::Sent)))
    }

    /// False: it was before, or was cut off.
    pub fn taken(&self) -> bool {
        let is_new = self.0.get() == Progress::Sent;
        if is_new {
            self.0.set(Progress::Taken);
        }
        is_new
    }

    /// The daemon closed the connection over which the request came; `on_its_way`: also when the shim has
    /// not got it yet. False: it was answered, or is still to be sent.
    fn cut_off(&self, on_its_way: bool) -> bool {
        let is_cut = match self.0.get() {
            Progress::Taken => true,
            Progress::Sent => on_its_way,
            Progress::Answered | Progress::CutOff => false,
        };
        if is_cut {
            self.0.set(Progress::CutOff);
        }
        is_cut
    }

    /// # Errors
    /// It was cut off.
    fn check(&self) -> Result<(), Error> {
        match self.0.get() {
            Progress::CutOff => Err(Error::bare(Code::Cancelled)),
            Progress::Sent | Progress::Taken | Progress::Answered => Ok(()),
        }
    }
}

/// Create in the shim: `runc create`, then the copy of the output. Holds the shim's lock. `record`:
/// that of the container when its bundle was made.
pub(super) async fn create(
    sim: Sim,
    ctx: Context,
    call: CreateCall,
    pod: u32,
    request: CreateTask,
    record: Rc<Record>,
) -> Result<u32, Error> {
    call.check()?;
    sim.with_world(|world| {
        let mounted = Footprint::changes(Part::Task, &*request.id);
        world.touches(|| Footprint::changes(Part::Shim, pod).and(mounted));
        if let Some(shim) = world.shim_mut(pod) {
            shim.creating = Some(request.id.clone());
        }
        world.mounts.insert(request.id.clone());
        world.changed.runtime = true;
    });
    let result = create_locked(&sim, &ctx, &call, pod, &request, record).await;
    // What was cut off has ended already.
    if call.check().is_ok() {
        call.0.set(Progress::Answered);
        sim.with_world(|world| world.creation_ends(pod, &request.id, result.is_ok()));
    }
    result
}

async fn create_locked(
    sim: &Sim,
    ctx: &Context,
    call: &CreateCall,
    pod: u32,
    request: &CreateTask,
    record: Rc<Record>,
) -> Result<u32, Error> {
    let (id, up, own) = (request.id.clone(), ctx.clone(), call.clone());
    let name = Symbol::of(&id);
    let made = sim.call(Op::RuntimeCreate, Symbol::EMPTY, Some(ctx), move |world| {
        world.touches(|| Footprint::changes(Part::Process, &*id));
        if let Err(error) = own.check() {
            return Flow::Done(Err(error));
        }
        if let Some(error) = world.unserved(pod, Op::RuntimeCreate, &up) {
            return Flow::Done(Err(error));
        }
        if world.runtime.contains_key(&id) {
            return Flow::Done(Err(Error::unknown(
                "runc create failed: container with given ID already exists",
            )));
        }
        let joined = match world.joined_namespaces(pod, &record.spec.pid_namespace_of) {
            Ok(joined) => joined,
            Err(error) => return Flow::Done(Err(error)),
        };
        if world.plans.get(&name).is_some_and(|plan| plan.executable_missing) {
            let text = "exec: \"app\": executable file not found in $PATH";
            return Flow::Done(Err(Error::unknown(format!(
                "runc create failed: unable to start container process: {text}"
            ))));
        }
        let pid = world.new_process(&id, name);
        if let Some(process) = world.processes.get_mut(&pid) {
            process.joined = joined;
            process.limits = record.spec.resources.clone();
        }
        world.runtime.insert(id.clone(), pid);
        world.changed.runtime = true;
        Flow::Done(Ok(pid))
    });
    let pid: u32 = made.await.map_err(|error: Error| {
        Error::unknown(format!("OCI runtime create failed: {}", error.message))
    })?;
    let copy_ctx = ctx.with_timeout(sim.now(), COPY_TIMEOUT);
    let io = request.io.clone();
    let own = call.clone();
    let copied = sim.call(Op::IoCopy, Symbol::EMPTY, Some(&copy_ctx), move |world| {
        world.touches(Footprint::default);
        Flow::Done(own.check().and_then(|()| world.open_copies(&io, pid)))
    });
    copied.await.map_err(|error: Error| match error.code {
        Code::Unknown if error.message.starts_with("failed to start io pipe copy") => error,
        // The class of a context that ended, too, comes through.
        code => Error { code, ..copy_failed("w/o fifo", &request.io.stdout, &error.message) },
    })?;
    call.check()?;
    if sim.look(|world| world.shim_is_dead(pod)) {
        return Err(connection_closed());
    }
    sim.with_world(|world| {
        let id = &*request.id;
        for part in [Part::Known, Part::State, Part::Exit, Part::Busy] {
            world.touches(|| Footprint::changes(part, id));
        }
        world.touches(|| Footprint::looks(Part::Process, id).and(Footprint::VIEW));
        // The daemon's cleanup may have been there first.
        let exit = world.exit_of(pid);
        let container = ShimContainer {
            state: if exit.is_some() { InitState::Stopped } else { InitState::Created },
            pid,
            io: request.io.clone(),
            exit,
            busy: false,
            lost: false,
        };
        if let Some(shim) = world.shim_mut(pod) {
            shim.containers.insert(request.id.clone(), container);
        }
        world.changed.runtime = true;
    });
    Ok(pid)
}

/// Start in the shim: `runc start`.
pub(super) async fn start(sim: Sim, ctx: Context, pod: u32, id: Rc<str>) -> Result<(), Error> {
    let state = sim.look(|world| world.init_state(pod, &id))?;
    let word = match state {
        InitState::Created => None,
        InitState::Running => Some("running"),
        InitState::Stopped => Some("stopped"),
    };
    if let Some(word) = word {
        return Err(Error::unknown(format!("cannot start a {word} process")));
    }
    let (up, container) = (ctx.clone(), id.clone());
    let started = sim.call(Op::RuntimeStart, Symbol::EMPTY, Some(&ctx), move |world| {
        world.touches(|| Footprint::changes(Part::Process, &*container).and(Footprint::VIEW));
        if let Some(error) = world.unserved(pod, Op::RuntimeStart, &up) {
            return Flow::Done(Err(error));
        }
        let Some(pid) = world.runtime.get(&*container).copied() else {
            return Flow::Done(Err(Error::unknown("container does not exist")));
        };
        match world.processes.get(&pid).map(|p| p.state) {
            Some(ProcessState::Blocked) => world.start_process(pid),
            Some(ProcessState::Running) => {
                let text = "cannot start an already running container";
                return Flow::Done(Err(Error::unknown(text)));
            }
            _ => {
                let text = "cannot start a container that has stopped";
                return Flow::Done(Err(Error::unknown(text)));
            }
        }
        Flow::Done(Ok(()))
    });
    let started: Result<(), Error> = started.await;
    started
        .map_err(|error| Error::unknown(format!("OCI runtime start failed: {}", error.message)))?;
    sim.with_world(|world| {
        let watched = Footprint::changes(Part::Process, &*id);
        let state = Footprint::changes(Part::State, &*id).and(Footprint::looks(Part::Exit, &*id));
        world.touches(|| Footprint::looks(Part::Known, &*id).and(state).and(watched));
        let mut pid = None;
        if let Ok(container) = world.shim_container_mut(pod, &id)
            && container.exit.is_none()
        {
            container.state = InitState::Running;
            pid = Some(container.pid);
        }
        // The cgroup is watched from now on, not from the container's creation.
        if let Some(process) = pid.and_then(|pid| world.processes.get_mut(&pid)) {
            process.watched = true;
        }
        world.changed.runtime = true;
    });
    Ok(())
}

/// Kill in the shim: `runc kill`, its errors mapped (spec section 2.8).
pub(super) async fn kill(
    sim: Sim,
    ctx: Context,
    pod: u32,
    id: Rc<str>,
    signal: u32,
    all: bool,
) -> Result<(), Error> {
    sim.look(|world| world.shim_knows(pod, &id))?;
    let up = ctx.clone();
    let killed = sim.call(Op::RuntimeKill, Symbol::EMPTY, Some(&ctx), move |world| {
        world.touches(|| Footprint::changes(Part::Process, &*id));
        if let Some(error) = world.unserved(pod, Op::RuntimeKill, &up) {
            return Flow::Done(Err(error));
        }
        let Some(pid) = world.runtime.get(&*id).copied() else {
            return Flow::Done(Err(Error::new(Code::NotFound, "no such container: not found")));
        };
        if world.signal_process(pid, signal) || all {
            return Flow::Done(Ok(()));
        }
        Flow::Done(Err(Error::new(Code::NotFound, "process already finished: not found")))
    });
    killed.await.map_err(|error: Error| match error.code {
        Code::NotFound => error,
        _ => Error::unknown(format!("unknown error after kill: {}", error.message)),
    })
}

/// Update in the shim: `runc update`.
pub(super) async fn update(
    sim: Sim,
    ctx: Context,
    pod: u32,
    id: Rc<str>,
    resources: LinuxResources,
) -> Result<(), Error> {
    let state = sim.look(|world| world.init_state(pod, &id))?;
    if state == InitState::Stopped {
        return Err(Error::unknown("cannot update a stopped container"));
    }
    let up = ctx.clone();
    let updated = sim.call(Op::RuntimeUpdate, Symbol::EMPTY, Some(&ctx), move |world| {
        world.touches(|| Footprint::changes(Part::Process, &*id));
        if let Some(error) = world.unserved(pod, Op::RuntimeUpdate, &up) {
            return Flow::Done(Err(error));
        }
        let pid = world.runtime.get(&*id).copied();
        let Some(process) = pid.and_then(|pid| world.processes.get_mut(&pid)) else {
            return Flow::Done(Err(Error::unknown("container does not exist")));
        };
        process.limits = process.limits.merged(&resources);
        world.changed.runtime = true;
        Flow::Done(Ok(()))
    });
    updated.await
}

/// Delete in the shim: waits for the copy of the output, `runc delete`, unmounts.
pub(super) async fn delete(sim: Sim, ctx: Context, pod: u32, id: Rc<str>) -> Result<Exit, Error> {
    let known = sim.look(|world| world.init_state(pod, &id));
    match known {
        Ok(InitState::Running) => return Err(Error::unknown("cannot delete a running process")),
        Ok(InitState::Created | InitState::Stopped) => {}
        Err(error) => return Err(error),
    }
    let drain_ctx = ctx.with_timeout(sim.now(), DRAIN_TIMEOUT);
    let drained = sim.call(Op::IoDrain, Symbol::EMPTY, Some(&drain_ctx), |_| Flow::Done(Ok(())));
    // What is not copied by then is lost, and the deletion goes on.
    let _: Result<(), Error> = drained.await;
    let (container, up) = (id.clone(), ctx.clone());
    let deleted = sim.call(Op::RuntimeDelete, Symbol::EMPTY, Some(&ctx), move |world| {
        world.touches(|| Footprint::looks(Part::Process, &*container));
        if let Some(error) = world.unserved(pod, Op::RuntimeDelete, &up) {
            return Flow::Done(Err(error));
        }
        if world.has_live_process(&container) {
            let text = format!("cannot delete container {container} that is not stopped: running");
            return Flow::Done(Err(Error::unknown(text)));
        }
        world.runtime_delete(&container);
        Flow::Done(Ok(()))
    });
    let deleted: Result<(), Error> = deleted.await;
    // Whatever came of the runtime's container.
    sim.with_world(|world| world.unmount(&id));
    deleted.map_err(|error| Error::unknown(format!("failed to delete task: {}", error.message)))?;
    sim.with_world(|world| {
        let exit = world.init_exit(pod, &id).ok().flatten();
        world.forget_container(pod, &id);
        Ok(exit.unwrap_or(Exit { code: 128 + SIGKILL as i32, at: world.wall() }))
    })
}
