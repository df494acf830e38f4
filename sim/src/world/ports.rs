//! The ports of the simulated node: each call turned into moments.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use shakedown_cri::cri::ContainerEvent;
use shakedown_cri::ports::{
    CancelToken, Containerd, Context, CreateTask, DirEntry, Errno, Error, EventSink, EventSource,
    Exit, FifoEnd, Fs, FsCause, FsError, Image, Metrics, Mount, Nri, NriError, NriEvent, NriMode,
    NriReply, NriRequest, Plugin, Ports, Record, Spec, TaskInfo,
};
use shakedown_cri::store::LinuxResources;

use super::clock::SimClock;
use super::fs::{Fd, FifoId, FifoRead};
use super::{WaitKey, World, task_service};
use crate::turnstile::{Call, Flow, Footprint, Op, Sim, SimRuntime, Symbol};

/// The number of the daemon's first start.
pub const FIRST_BOOT: u32 = 1;

/// Where the service keeps its directories, for the short names of paths.
#[derive(Clone, Debug)]
pub struct Roots {
    pub root: String,
    pub state: String,
    pub logs: String,
}

impl Default for Roots {
    /// containerd's.
    fn default() -> Self {
        Roots {
            root: "/var/lib/containerd/io.containerd.grpc.v1.cri".to_owned(),
            state: "/run/containerd/io.containerd.grpc.v1.cri".to_owned(),
            logs: "/var/log/pods".to_owned(),
        }
    }
}

/// All ports of one boot of the daemon.
#[derive(Clone)]
pub struct SimPorts(Rc<Handles>);

struct Handles {
    runtime: SimRuntime,
    clock: SimClock,
    fs: SimFs,
    containerd: SimContainerd,
    nri: SimNri,
    events: SimEvents,
    metrics: SimMetrics,
}

impl SimPorts {
    /// `boot`: the number of the daemon's start, owner of the descriptors it opens.
    pub fn new(sim: &Sim, roots: Rc<Roots>, boot: u32) -> Self {
        let sim = sim.clone();
        SimPorts(Rc::new(Handles {
            runtime: SimRuntime::new(sim.clone(), boot),
            clock: SimClock { sim: sim.clone() },
            fs: SimFs { sim: sim.clone(), roots, boot },
            containerd: SimContainerd { sim: sim.clone() },
            nri: SimNri { sim: sim.clone() },
            events: SimEvents { sim: sim.clone() },
            metrics: SimMetrics { sim },
        }))
    }
}

impl Ports for SimPorts {
    type Runtime = SimRuntime;
    type Clock = SimClock;
    type Fs = SimFs;
    type Containerd = SimContainerd;
    type Nri = SimNri;
    type Events = SimEvents;
    type Metrics = SimMetrics;

    fn runtime(&self) -> &SimRuntime {
        &self.0.runtime
    }

    fn clock(&self) -> &SimClock {
        &self.0.clock
    }

    fn fs(&self) -> &SimFs {
        &self.0.fs
    }

    fn containerd(&self) -> &SimContainerd {
        &self.0.containerd
    }

    fn nri(&self) -> &SimNri {
        &self.0.nri
    }

    fn events(&self) -> &SimEvents {
        &self.0.events
    }

    fn metrics(&self) -> &SimMetrics {
        &self.0.metrics
    }
}

/// The file port.
#[derive(Clone)]
pub struct SimFs {
    sim: Sim,
    roots: Rc<Roots>,
    boot: u32,
}

/// An open file; dropping it without a close closes it, too.
pub struct SimFile {
    sim: Sim,
    fd: Fd,
    path: Rc<str>,
    subject: Symbol,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let fd = self.fd;
        self.sim.with_world(|world| {
            world.touches(|| Footprint::of_file(self.subject));
            world.fs.close_if_open(fd);
        });
    }
}

/// A descriptor on its way to a caller who may not wait for it: what comes too late is closed.
struct Opening {
    sim: Sim,
    state: Rc<Cell<Opened>>,
}

#[derive(Clone, Copy)]
enum Opened {
    NotYet,
    As(Descriptor),
    NobodyWaits,
}

#[derive(Clone, Copy)]
enum Descriptor {
    File(Fd),
    Fifo(FifoId),
}

impl Descriptor {
    fn close(self, world: &mut World) {
        match self {
            Descriptor::File(fd) => drop(world.fs.close(fd)),
            Descriptor::Fifo(id) => world.fs.fifo_close(id),
        }
    }
}

impl Opening {
    fn new(sim: &Sim) -> Self {
        Opening { sim: sim.clone(), state: Rc::new(Cell::new(Opened::NotYet)) }
    }

    /// What the effect does with the descriptor that it opened.
    fn keep(state: &Cell<Opened>, world: &mut World, descriptor: Descriptor) {
        if let Opened::NobodyWaits = state.get() {
            descriptor.close(world);
        } else {
            state.set(Opened::As(descriptor));
        }
    }

    fn taken(self) {
        self.state.set(Opened::NobodyWaits);
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Opened::As(descriptor) = self.state.replace(Opened::NobodyWaits) {
            self.sim.with_world(|world| descriptor.close(world));
        }
    }
}

/// One end of a named pipe.
#[derive(Clone)]
pub struct SimFifo {
    id: FifoId,
    path: Rc<str>,
    subject: Symbol,
    ctx: Context,
}

/// A path as site names show it: relative to the service's directories, ids by their names, the
/// digits of temporary names left out.
pub(crate) fn short_path(roots: &Roots, path: &str) -> String {
    let (head, rest) = if let Some(rest) = path.strip_prefix(&*roots.root) {
        ("", rest)
    } else if let Some(rest) = path.strip_prefix(&*roots.state) {
        ("run:", rest)
    } else if let Some(rest) = path.strip_prefix(&*roots.logs) {
        ("log:", rest)
    } else {
        return path.to_owned();
    };
    let rest = rest.trim_start_matches('/');
    let rest = rest.strip_prefix("containers/").unwrap_or(rest);
    let words = rest.split('/').map(|word| {
        if let Some(temp) = word.strip_prefix(".tmp-") {
            return format!(".tmp-{}", temp.trim_end_matches(|c: char| c.is_ascii_digit()));
        }
        with_names(word)
    });
    format!("{head}{}", words.collect::<Vec<_>>().join("/"))
}

pub(crate) fn short_symbol(roots: &Roots, path: &str) -> Symbol {
    Symbol::of_or(path, |path| short_path(roots, path))
}

/// A text with every container id in it replaced by its name.
fn with_names(word: &str) -> String {
    let is_id = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    match word.get(..64) {
        Some(id) if is_id(id) => format!("{}{}", Symbol::of(id), &word[64..]),
        _ => word.to_owned(),
    }
}

impl SimFs {
    /// A path's name in sites, and the path to be kept.
    fn named(&self, path: &str) -> (Symbol, Rc<str>) {
        Symbol::with_text_or(path, |path| short_path(&self.roots, path))
    }

    fn file<T: std::hash::Hash + 'static>(
        &self,
        op: Op,
        path: &str,
        mut effect: impl FnMut(&mut World, &str) -> Result<T, FsError> + 'static,
    ) -> FileCall<T> {
        let (subject, path) = self.named(path);
        let own = path.clone();
        let call = self.sim.call(op, subject, None, move |world| {
            let result = effect(world, &own);
            world.wake_fifos();
            Flow::Done(result)
        });
        FileCall { call, subject, path }
    }
}

/// A file call. An injected error names the real path.
struct FileCall<T: std::hash::Hash + 'static> {
    call: Call<Result<T, FsError>>,
    subject: Symbol,
    path: Rc<str>,
}

impl<T: std::hash::Hash + 'static> Future for FileCall<T> {
    type Output = Result<T, FsError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let called = Pin::new(&mut self.call).poll(cx);
        called.map(|result| name_path(result, self.subject, &self.path))
    }
}

/// Puts the real path where an injected error has the short one.
fn name_path<T>(result: Result<T, FsError>, subject: Symbol, path: &str) -> Result<T, FsError> {
    result.map_err(|mut error| {
        if *error.path == *subject.text() {
            error.path = path.to_owned();
        }
        error
    })
}

impl Fs for SimFs {
    type File = SimFile;
    type Fifo = SimFifo;

    fn make_dir_all(&self, path: &str, mode: u32) -> impl Future<Output = Result<(), FsError>> {
        self.file(Op::FsMkdir, path, move |world, path| world.fs.make_dir_all(path, mode))
    }

    fn make_temp_dir(&self, parent: &str) -> impl Future<Output = Result<String, FsError>> {
        self.file(Op::FsMkdtemp, parent, |world, parent| world.fs.make_temp_dir(parent))
    }

    async fn create_temp(&self, parent: &str, prefix: &str) -> Result<(SimFile, String), FsError> {
        let (boot, start, dir) = (self.boot, prefix.to_owned(), parent.to_owned());
        let wanted = [parent, "/", prefix].concat();
        let opening = Opening::new(&self.sim);
        let state = opening.state.clone();
        let made = self.file(Op::FsCreateTemp, &wanted, move |world, _| {
            let made = world.fs.create_temp(boot, &dir, &start)?;
            Opening::keep(&state, world, Descriptor::File(made.0));
            Ok(made)
        });
        let made = made.await.map_err(|mut error| {
            // The name is drawn before anything can fail.
            if error.path == wanted {
                error.path = self.sim.aside(|world| world.fs.temp_name(parent, prefix));
            }
            error
        });
        let (fd, path): (Fd, String) = made?;
        opening.taken();
        let (subject, own) = self.named(&path);
        Ok((SimFile { sim: self.sim.clone(), fd, path: own, subject }, path))
    }

    async fn open_append(&self, path: &str, mode: u32) -> Result<SimFile, FsError> {
        let boot = self.boot;
        let opening = Opening::new(&self.sim);
        let state = opening.state.clone();
        let (subject, path) = self.named(path);
        let own = path.clone();
        let opened = self.sim.call(Op::FsOpen, subject, None, move |world| {
            let opened = world.fs.open_append(boot, &own, mode);
            match &opened {
                // Without O_NONBLOCK the end that writes waits for one that reads.
                Err(error) if error.is(Errno::ENXIO) => return Flow::Wait(WaitKey::Reader),
                Err(_) => {}
                Ok(fd) => Opening::keep(&state, world, Descriptor::File(*fd)),
            }
            Flow::Done(opened)
        });
        let fd: Fd = name_path(opened.await, subject, &path)?;
        opening.taken();
        Ok(SimFile { sim: self.sim.clone(), fd, path, subject })
    }

    fn set_mode(&self, path: &str, mode: u32) -> impl Future<Output = Result<(), FsError>> {
        self.file(Op::FsChmod, path, move |world, path| world.fs.set_mode(path, mode))
    }

    fn write(&self, file: &SimFile, data: &[u8]) -> impl Future<Output = Result<usize, FsError>> {
        let (fd, bytes, path) = (file.fd, data.to_vec(), file.path.clone());
        let call = self.sim.call(Op::FsWrite, file.subject, None, move |world| {
            let taken = if world.short_write { bytes.len() / 2 } else { bytes.len() };
            let result = world.fs.write(fd, &bytes[..taken]);
            Flow::Done(match result {
                // Go's File.Write goes on until all is written, and so learns why it cannot.
                Ok(written) if written < taken => {
                    Err(FsError::new("write", path.to_string(), Errno::ENOSPC))
                }
                other => other,
            })
        });
        FileCall { call, subject: file.subject, path: file.path.clone() }
    }

    async fn sync(&self, file: &SimFile) -> Result<(), FsError> {
        let fd = file.fd;
        let reached = Rc::new(Cell::new(false));
        let done = reached.clone();
        let call = self.sim.call(Op::FsSync, file.subject, None, move |world| {
            done.set(true);
            Flow::Done(if world.sync_lost { Ok(()) } else { world.fs.sync(fd) })
        });
        let result = call.await;
        if result.is_err() && !reached.get() {
            self.sim.with_world(|world| drop(world.fs.sync_failed(fd)));
        }
        name_path(result, file.subject, &file.path)
    }

    fn sync_dir(&self, path: &str) -> impl Future<Output = Result<(), FsError>> {
        let boot = self.boot;
        self.file(Op::FsSyncDir, path, move |world, path| {
            if world.sync_lost { Ok(()) } else { world.fs.sync_dir(boot, path) }
        })
    }

    async fn close(&self, file: SimFile) -> Result<(), FsError> {
        let fd = file.fd;
        let call = self
            .sim
            .call(Op::FsClose, file.subject, None, move |world| Flow::Done(world.fs.close(fd)));
        name_path(call.await, file.subject, &file.path)
    }

    fn read_file(&self, path: &str) -> impl Future<Output = Result<Vec<u8>, FsError>> {
        let boot = self.boot;
        self.file(Op::FsRead, path, move |world, path| world.fs.read_file(boot, path))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        let (subject, source) = self.named(from);
        let renamed = self.file(Op::FsRename, to, move |world, target| {
            // The site has the name of the target alone.
            world.touches(|| Footprint::of_file(subject));
            world.fs.rename(&source, target)
        });
        renamed.await.map_err(|mut error| {
            if error.path == to {
                error.path = format!("{from} {to}");
            }
            error
        })
    }

    fn remove_file(&self, path: &str) -> impl Future<Output = Result<(), FsError>> {
        self.file(Op::FsUnlink, path, |world, path| world.fs.remove_file(path))
    }

    fn read_dir(&self, path: &str) -> impl Future<Output = Result<Vec<DirEntry>, FsError>> {
        let boot = self.boot;
        self.file(Op::FsReadDir, path, move |world, path| world.fs.read_dir(boot, path))
    }

    fn remove_dir(&self, path: &str) -> impl Future<Output = Result<(), FsError>> {
        self.file(Op::FsRemoveDir, path, |world, path| world.fs.remove_dir(path))
    }

    fn unmount_all(&self, path: &str) -> impl Future<Output = Result<(), FsError>> {
        self.file(Op::FsUnmount, path, |world, path| world.fs.unmount_all(path))
    }

    fn unmount(&self, path: &str) -> impl Future<Output = Result<(), FsError>> {
        self.file(Op::FsUnmount, path, |world, path| world.fs.unmount(path))
    }

    fn remove_tree(&self, path: &str) -> impl Future<Output = Result<(), FsError>> {
        self.file(Op::FsRemoveTree, path, |world, path| world.fs.remove_tree(path))
    }

    async fn open_fifo(&self, ctx: &Context, path: &str, end: FifoEnd) -> Result<SimFifo, FsError> {
        let boot = self.boot;
        let opening = Opening::new(&self.sim);
        let state = opening.state.clone();
        let opened = self.file(Op::PipeOpen, path, move |world, path| {
            let id = world.fs.open_fifo(boot, path, end)?;
            Opening::keep(&state, world, Descriptor::Fifo(id));
            Ok(id)
        });
        let id: FifoId = opened.await?;
        opening.taken();
        let (subject, path) = self.named(path);
        Ok(SimFifo { id, path, subject, ctx: ctx.clone() })
    }

    fn read_fifo(&self, fifo: &SimFifo) -> impl Future<Output = Result<Vec<u8>, FsError>> {
        let (id, path, ctx) = (fifo.id, fifo.path.clone(), fifo.ctx.clone());
        let read = self.sim.call(Op::PipeRead, fifo.subject, Some(&fifo.ctx), move |world| {
            let fail = |cause| FsError { op: "read", path: path.to_string(), cause };
            let result = match world.fs.fifo_read(id) {
                // The context ends an open that still waits for its peer.
                FifoRead::Blocked if !world.fs.fifo_is_open(id) && ended(&ctx, world.now) => {
                    let tokens = ctx.cancel_token().map_or(0, CancelToken::marks);
                    world.touches(|| Footprint::awaits_end(tokens));
                    world.fs.fifo_close(id);
                    Err(fail(FsCause::Closed))
                }
                FifoRead::Blocked => return Flow::Wait(WaitKey::Fifo(id)),
                FifoRead::Data(data) => Ok(data),
                FifoRead::Eof => Ok(Vec::new()),
                FifoRead::Closed => Err(fail(FsCause::Closed)),
            };
            world.wake_fifos();
            Flow::Done(result)
        });
        FileCall { call: read, subject: fifo.subject, path: fifo.path.clone() }
    }

    fn close_fifo(&self, fifo: &SimFifo) -> impl Future<Output = Result<(), FsError>> {
        let id = fifo.id;
        let closed = self.sim.call(Op::PipeClose, fifo.subject, None, move |world| {
            world.fs.fifo_close(id);
            world.wake_fifos();
            Flow::Done(Ok(()))
        });
        FileCall { call: closed, subject: fifo.subject, path: fifo.path.clone() }
    }
}

fn ended(ctx: &Context, now: u64) -> bool {
    ctx.end().is_some_and(|(at, _)| at.0 <= now)
}

/// containerd's services.
#[derive(Clone)]
pub struct SimContainerd {
    sim: Sim,
}

impl SimContainerd {
    fn metadata<T: std::hash::Hash + 'static>(
        &self,
        op: Op,
        ctx: &Context,
        subject: &str,
        mut effect: impl FnMut(&mut World, &str) -> Result<T, Error> + 'static,
    ) -> Call<Result<T, Error>> {
        let (subject, own) = Symbol::with_text(subject);
        // The context ends only what hangs: metadata is read without looking at it (spec section 1.4).
        self.sim.call(op, subject, Some(ctx), move |world| Flow::Done(effect(world, &own)))
    }

    fn task<T: std::hash::Hash + 'static, Fut: Future<Output = Result<T, Error>> + 'static>(
        &self,
        op: Op,
        ctx: &Context,
        id: &str,
        handler: impl FnOnce(Rc<str>) -> Fut + 'static,
    ) -> Call<Result<T, Error>> {
        let (subject, own) = Symbol::with_text(id);
        let gate = |world: &mut World| {
            world.touches(Footprint::default);
            None
        };
        self.sim.serve(op, subject, Some(ctx), gate, move || handler(own))
    }
}

impl Containerd for SimContainerd {
    fn record_get(
        &self,
        ctx: &Context,
        id: &str,
    ) -> impl Future<Output = Result<Rc<Record>, Error>> {
        self.metadata(Op::RecordInfo, ctx, id, |world, id| world.metadata.get(id))
    }

    fn record_list(
        &self,
        ctx: &Context,
        label: (&str, &str),
    ) -> impl Future<Output = Result<Vec<Rc<Record>>, Error>> {
        let key = label.0.to_owned();
        self.metadata(Op::RecordList, ctx, label.1, move |world, value| {
            Ok(world.metadata.list(&key, value))
        })
    }

    fn record_create(
        &self,
        ctx: &Context,
        record: Record,
    ) -> impl Future<Output = Result<(), Error>> {
        let id = record.id.clone();
        let mut record = Some(record);
        self.metadata(Op::RecordCreate, ctx, &id, move |world, _| {
            let mut record = record.take().expect("an effect happens once");
            record.created_at = world.wall();
            world.metadata.create(record)
        })
    }

    fn record_update(
        &self,
        ctx: &Context,
        id: &str,
        spec: Spec,
    ) -> impl Future<Output = Result<(), Error>> {
        self.metadata(Op::RecordUpdate, ctx, id, move |world, id| {
            world.changed.runtime = true;
            world.metadata.update(id, spec.clone())
        })
    }

    fn record_delete(&self, ctx: &Context, id: &str) -> impl Future<Output = Result<(), Error>> {
        self.metadata(Op::RecordDelete, ctx, id, |world, id| world.metadata.delete(id))
    }

    fn snapshot_prepare(
        &self,
        ctx: &Context,
        key: &str,
        image: &str,
    ) -> impl Future<Output = Result<(), Error>> {
        let image = image.to_owned();
        self.metadata(Op::SnapshotPrepare, ctx, key, move |world, key| {
            world.metadata.prepare(key, &image)
        })
    }

    fn snapshot_mounts(
        &self,
        ctx: &Context,
        key: &str,
    ) -> impl Future<Output = Result<Vec<Mount>, Error>> {
        self.metadata(Op::SnapshotMounts, ctx, key, |world, key| world.metadata.mounts(key))
    }

    fn snapshot_remove(&self, ctx: &Context, key: &str) -> impl Future<Output = Result<(), Error>> {
        self.metadata(Op::SnapshotRemove, ctx, key, |world, key| {
            world.metadata.remove_snapshot(key)
        })
    }

    fn image_get(
        &self,
        ctx: &Context,
        reference: &str,
    ) -> impl Future<Output = Result<Rc<Image>, Error>> {
        self.metadata(Op::ImageGet, ctx, reference, |world, wanted| world.metadata.image(wanted))
    }

    fn task_create(
        &self,
        ctx: &Context,
        request: CreateTask,
    ) -> impl Future<Output = Result<u32, Error>> {
        let (sim, up, id) = (self.sim.clone(), ctx.clone(), request.id.clone());
        self.task(Op::TaskCreate, ctx, &id, move |id| task_service::create(sim, up, id, request))
    }

    fn task_get(&self, ctx: &Context, id: &str) -> impl Future<Output = Result<TaskInfo, Error>> {
        let (sim, up) = (self.sim.clone(), ctx.clone());
        self.task(Op::TaskGet, ctx, id, move |id| task_service::get(sim, up, id))
    }

    fn task_start(&self, ctx: &Context, id: &str) -> impl Future<Output = Result<u32, Error>> {
        let (sim, up) = (self.sim.clone(), ctx.clone());
        self.task(Op::TaskStart, ctx, id, move |id| task_service::start(sim, up, id))
    }

    fn task_kill(
        &self,
        ctx: &Context,
        id: &str,
        signal: u32,
        all: bool,
    ) -> impl Future<Output = Result<(), Error>> {
        let (sim, up) = (self.sim.clone(), ctx.clone());
        let kill = move |id| task_service::kill(sim, up, id, signal, all);
        self.task(Op::TaskKill, ctx, id, kill)
    }

    fn task_update(
        &self,
        ctx: &Context,
        id: &str,
        resources: &LinuxResources,
    ) -> impl Future<Output = Result<(), Error>> {
        let (sim, up) = (self.sim.clone(), ctx.clone());
        let resources = resources.clone();
        let update = move |id| task_service::update(sim, up, id, resources);
        self.task(Op::TaskUpdate, ctx, id, update)
    }

    fn task_wait(&self, ctx: &Context, id: &str) -> impl Future<Output = Result<Exit, Error>> {
        let (sim, up) = (self.sim.clone(), ctx.clone());
        self.task(Op::TaskWait, ctx, id, move |id| task_service::wait(sim, up, id))
    }

    fn task_delete(&self, ctx: &Context, id: &str) -> impl Future<Output = Result<Exit, Error>> {
        let (sim, up) = (self.sim.clone(), ctx.clone());
        self.task(Op::TaskDelete, ctx, id, move |id| task_service::delete(sim, up, id))
    }

    fn oom_subscribe(&self) {
        self.sim.with_world(|world| world.oom_events = Some(VecDeque::new()));
    }

    async fn oom_event(&self) -> Result<Option<String>, Error> {
        let call = self.sim.call(Op::TaskOom, Symbol::EMPTY, None, |world| {
            world.touches(|| Footprint::OOM_EVENTS);
            match &mut world.oom_events {
                None => Flow::Done(Ok(None)),
                Some(events) => match events.pop_front() {
                    Some(id) => Flow::Done(Ok(Some(id))),
                    None => Flow::Wait(WaitKey::OomEvents),
                },
            }
        });
        call.await
    }
}

/// Connections to the plugins.
#[derive(Clone)]
pub struct SimNri {
    sim: Sim,
}

impl Nri for SimNri {
    fn mode(&self) -> NriMode {
        self.sim.aside(|world| world.nri.mode)
    }

    fn plugins(&self) -> Vec<Plugin> {
        self.sim.look(|world| {
            world.touches(|| Footprint::PLUGINS);
            let connected = world.nri.plugins.iter().filter(|p| p.connected);
            connected.map(|p| p.plugin.clone()).collect()
        })
    }

    async fn call(
        &self,
        ctx: &Context,
        plugin: &str,
        request: NriRequest,
    ) -> Result<NriReply, NriError> {
        let op = match request.event {
            NriEvent::CreateContainer => Op::NriCreate,
            NriEvent::PostCreateContainer => Op::NriPostCreate,
            NriEvent::StartContainer => Op::NriStart,
            NriEvent::PostStartContainer => Op::NriPostStart,
            NriEvent::StopContainer => Op::NriStop,
            NriEvent::RemoveContainer => Op::NriRemove,
            NriEvent::Synchronize => Op::NriSynchronize,
        };
        let (up, name) = (ctx.clone(), plugin.to_owned());
        let call = self.sim.call(op, Symbol::of(plugin), Some(ctx), move |world| {
            Flow::Done(world.plugin_hears(&up, &name, &request))
        });
        call.await
    }

    fn close(&self, plugin: &str) {
        self.sim.with_world(|world| world.close_plugin(plugin));
    }
}

/// The events' channel.
#[derive(Clone)]
pub struct SimEvents {
    sim: Sim,
}

impl EventSink for SimEvents {
    fn send(&self, event: ContainerEvent) -> impl Future<Output = bool> {
        let subject = Symbol::of(&event.container_id);
        let mut event = Some(event);
        self.sim.call(Op::EventSend, subject, None, move |world| {
            let fits = world.has_room_for_event();
            if fits {
                world.send_event(event.take().expect("an effect happens once"));
            }
            Flow::Done(fits)
        })
    }

    async fn publish(&self, event: ContainerEvent, waits: bool, held: bool) {
        let subject = Symbol::of(&event.container_id);
        let mut event = Some(event);
        let call = self.sim.call(Op::EventSend, subject, None, move |world| {
            if waits && !world.subscribers_have_room() {
                return Flow::Wait(WaitKey::Events);
            }
            world.publish_event(event.take().expect("an effect happens once"), held);
            Flow::Done(true)
        });
        // There is no other answer.
        let _: bool = call.await;
    }

    fn release(&self, container_id: &str) {
        self.sim.with_world(|world| {
            world.touches(|| Footprint::OUTBOX);
            world.release_events(container_id);
        });
    }

    fn subscribe(&self) -> EventSource {
        self.sim.with_world(World::add_subscriber)
    }

    fn unsubscribe(&self, source: EventSource) {
        self.sim.with_world(|world| world.remove_subscriber(source));
    }

    async fn receive(&self, ctx: &Context, source: EventSource) -> Result<ContainerEvent, Error> {
        let taken = self.sim.call(Op::EventReceive, Symbol::EMPTY, Some(ctx), move |world| {
            match world.take_event(source) {
                Some(event) => Flow::Done(Ok(event)),
                None => Flow::Wait(WaitKey::Events),
            }
        });
        taken.await
    }
}

#[derive(Clone)]
pub struct SimMetrics {
    sim: Sim,
}

impl Metrics for SimMetrics {
    fn observe(&self, name: &'static str, _: &str, _: Duration) {
        self.add(name, 1);
    }

    fn add(&self, name: &'static str, count: u64) {
        self.sim.aside(|world| *world.metrics.entry(name).or_insert(0) += count);
    }
}
