//! The node after each moment of a run, by what changed: for pages that show a run step by step.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use rustc_hash::FxHasher;
use shakedown_cri::cri::Peek;

use super::compile::Plan;
use super::daemon::Daemon;
use crate::invariants::{Id, Judge};
use crate::oracle::CrashKind;
use crate::report::clock;
use crate::suite::{Names, event_word, state_word};
use crate::turnstile::{Happened, Moment, Observer, Sim, Symbol};
use crate::world::fs::{FileKind, WalkEntry};
use crate::world::{ExitCause, ProcessState, WALL_EPOCH, World};

/// What of the node a fact is about. In the order in which a reader wants to see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The daemon: up, down, which boot.
    Daemon,
    /// What a client would be told of a container.
    Memory,
    /// The container's status file.
    Disk,
    /// A flag by which the service keeps others off a container.
    Claim,
    /// A task, as the shim and the daemon know it.
    Task,
    Process,
    /// Mounts, bundles, and what the OCI runtime keeps.
    Runtime,
    /// Records and snapshots of containerd.
    Record,
    Plugin,
    /// Events that the service sent.
    Event,
    File,
    /// What of the files a power loss could undo.
    Pending,
    Descriptor,
    /// A background task of the service.
    Background,
    Clock,
}

impl Part {
    pub const ALL: [Part; 15] = [
        Part::Daemon,
        Part::Memory,
        Part::Disk,
        Part::Claim,
        Part::Task,
        Part::Process,
        Part::Runtime,
        Part::Record,
        Part::Plugin,
        Part::Event,
        Part::File,
        Part::Pending,
        Part::Descriptor,
        Part::Background,
        Part::Clock,
    ];

    pub const fn heading(self) -> &'static str {
        match self {
            Part::Daemon => "daemon",
            Part::Memory => "status in memory",
            Part::Disk => "status on disk",
            Part::Claim => "flags",
            Part::Task => "tasks",
            Part::Process => "processes",
            Part::Runtime => "runtime, mounts, bundles",
            Part::Record => "records and snapshots",
            Part::Plugin => "NRI plugins",
            Part::Event => "events sent",
            Part::File => "files",
            Part::Pending => "not on the disk yet",
            Part::Descriptor => "open descriptors",
            Part::Background => "service's background tasks",
            Part::Clock => "wall clock",
        }
    }
}

/// A fact's name: `(Task, web)`.
pub type Key = (Part, Rc<str>);

/// Facts by name; a fact that says no more than that it is there has an empty text.
pub type Facts = BTreeMap<Key, Rc<str>>;

/// After what a picture was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Setup,
    Moment(Moment),
    /// The disturbed phase was settled, and judged.
    Quiet,
    /// All was stopped and removed, and judged.
    Reaped,
    /// The run ended otherwise, and that was judged.
    Stopped,
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            After::Setup => f.write_str("setup"),
            After::Moment(moment) => moment.fmt(f),
            After::Quiet => f.write_str("quiet"),
            After::Reaped => f.write_str("reaped"),
            After::Stopped => f.write_str("stopped"),
        }
    }
}

/// A fact that changed; `None`: it is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub key: Key,
    pub now: Option<Rc<str>>,
}

/// The node after a moment, against the picture before.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Virtual nanoseconds.
    pub at: u64,
    pub after: After,
    pub changes: Vec<Change>,
    /// The invariants that were evaluated, and how often.
    pub evaluated: Vec<(Id, u64)>,
    /// Those that broke, each with the number of its violation.
    pub broke: Vec<(Id, usize)>,
}

/// The pictures of a run, in order. The first is of the node as it was set up.
#[derive(Clone, Debug, Default)]
pub struct Film {
    pub frames: Vec<Frame>,
}

#[derive(Default)]
struct Roll {
    film: Film,
    known: Facts,
    /// Of each invariant: how often it was evaluated, and how often it broke.
    tallies: Vec<(Id, u64, usize)>,
    /// The file system's digest when its facts were taken last, and these.
    files: Option<(u64, Facts)>,
}

/// Takes the pictures. Clones share.
#[derive(Clone)]
pub(super) struct Camera(Rc<Inner>);

struct Inner {
    sim: Sim,
    plan: Rc<Plan>,
    daemon: Daemon,
    judge: Judge,
    names: Names,
    roll: RefCell<Roll>,
}

/// Looks on after the judge did.
struct Lens {
    camera: Camera,
    judge: Option<Box<dyn Observer>>,
}

impl Observer for Lens {
    fn moment(&mut self, happened: &Happened, world: &World) {
        if let Some(judge) = &mut self.judge {
            judge.moment(happened, world);
        }
        self.camera.shoot(happened.at, After::Moment(happened.moment), world);
    }

    fn hash_state(&self, world: &World, state: &mut FxHasher) {
        if let Some(judge) = &self.judge {
            judge.hash_state(world, state);
        }
    }
}

impl Camera {
    pub fn new(sim: Sim, plan: Rc<Plan>, daemon: Daemon, judge: Judge) -> Camera {
        let names = Names::new(&plan);
        Camera(Rc::new(Inner { sim, plan, daemon, judge, names, roll: RefCell::default() }))
    }

    /// An observer that has `judge` look first.
    pub fn lens(&self, judge: Option<Box<dyn Observer>>) -> Box<dyn Observer> {
        Box::new(Lens { camera: self.clone(), judge })
    }

    /// A picture between two moments.
    pub fn mark(&self, after: After) {
        let at = self.0.sim.now().0;
        self.0.sim.with_world(|world| self.shoot(at, after, world));
    }

    pub fn film(&self) -> Film {
        std::mem::take(&mut self.0.roll.borrow_mut().film)
    }

    fn shoot(&self, at: u64, after: After, world: &World) {
        let mut roll = self.0.roll.borrow_mut();
        let roll = &mut *roll;
        let digest = world.fs.digest();
        if roll.files.as_ref().is_none_or(|(known, _)| *known != digest) {
            roll.files = Some((digest, self.of_files(world)));
        }
        let mut facts = self.of_node(world);
        facts.extend(roll.files.iter().flat_map(|(_, facts)| facts.clone()));
        let mut changes = Vec::new();
        for (key, now) in &facts {
            if roll.known.get(key) != Some(now) {
                changes.push(Change { key: key.clone(), now: Some(now.clone()) });
            }
        }
        for key in roll.known.keys().filter(|key| !facts.contains_key(*key)) {
            changes.push(Change { key: key.clone(), now: None });
        }
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        roll.known = facts;
        let tallies = self.0.judge.tallies();
        let (mut evaluated, mut broke) = (Vec::new(), Vec::new());
        for (index, (id, times, broken)) in tallies.iter().enumerate() {
            let known = roll.tallies.get(index);
            let (before, broken_before) =
                known.map_or((0, 0), |(_, times, broken)| (*times, *broken));
            if *times > before {
                evaluated.push((*id, times - before));
            }
            broke.extend((broken_before..*broken).map(|violation| (*id, violation)));
        }
        roll.tallies = tallies;
        roll.film.frames.push(Frame { at, after, changes, evaluated, broke });
    }

    /// All but the files.
    fn of_node(&self, world: &World) -> Facts {
        let Inner { sim, plan, daemon, names, .. } = &*self.0;
        let mut facts = Facts::new();
        let mut put = |part: Part, name: &str, text: String| {
            facts.insert((part, Rc::from(name)), Rc::from(text));
        };
        let state = match (daemon.facts().serves, sim.is_down()) {
            (true, _) => format!("serves, boot {}", world.boot),
            (false, true) => match world.crashes.last() {
                Some((_, CrashKind::Power)) => "down, without power".to_owned(),
                _ => "down".to_owned(),
            },
            (false, false) => format!("comes up, boot {}", world.boot),
        };
        put(Part::Daemon, "containerd", state);
        let ids = plan.containers.iter().map(|c| (&*c.id, c.name.text()));
        let pods = plan.sandboxes.iter().map(|s| (&*s.id, Rc::from(&*s.name)));
        let ids: Vec<(&str, Rc<str>)> = ids.chain(pods).collect();
        for container in &plan.containers {
            let name = container.name.text();
            if let Some(peek) = daemon.peek(&container.id) {
                put(Part::Memory, &name, told(&peek, names));
            }
            for flag in daemon.claims(&container.id) {
                put(Part::Claim, &format!("{name} {flag}"), String::new());
            }
        }
        for (id, name) in &ids {
            let in_shim = world.shims.iter().find_map(|shim| shim.containers.get(*id));
            let known = world.tasks.pod(id).is_some();
            let text = match (in_shim, known) {
                (Some(container), known) => {
                    let unknown = if known { "" } else { ", which the daemon does not know" };
                    Some(format!("{}, pid {}{unknown}", container.state.word(), container.pid))
                }
                (None, true) => Some("known to the daemon, to no shim".to_owned()),
                (None, false) => None,
            };
            if let Some(text) = text {
                put(Part::Task, name, text);
            }
            let things = [
                ("mount", world.mounts.contains(*id)),
                ("bundle", world.bundles.contains(*id)),
                ("runtime container", world.runtime.contains_key(*id)),
            ];
            for (what, _) in things.into_iter().filter(|(_, is_there)| *is_there) {
                put(Part::Runtime, &format!("{what} {name}"), String::new());
            }
            let kept = [
                ("record", world.metadata.records.contains_key(*id)),
                ("snapshot", world.metadata.snapshots.contains_key(*id)),
            ];
            for (what, _) in kept.into_iter().filter(|(_, is_there)| *is_there) {
                put(Part::Record, &format!("{what} {name}"), String::new());
            }
        }
        for process in world.processes.values() {
            let cause = match process.cause {
                Some(ExitCause::Itself) => ", by itself",
                Some(ExitCause::Signal) => ", by a signal",
                Some(ExitCause::Oom) => ", out of memory",
                Some(ExitCause::Runtime) => ", by the runtime",
                Some(ExitCause::PowerLoss) => ", with the node",
                None => "",
            };
            let text = match process.state {
                ProcessState::Blocked => "an init that waits to run the program".to_owned(),
                ProcessState::Running => "running".to_owned(),
                ProcessState::Dead => format!("ended {}{cause}", process.code),
            };
            put(Part::Process, &format!("{} pid {}", process.name, process.pid), text);
        }
        for state in &world.nri.plugins {
            let connected = if state.connected { "connected" } else { "not connected" };
            let heard = state.heard.iter().map(|relayed| {
                let event = format!("{:?}", relayed.event);
                let event = event.strip_suffix("Container").unwrap_or(&event).to_owned();
                match &*relayed.container {
                    "" => event,
                    id => format!("{event} {}", names.of(id)),
                }
            });
            let heard: Vec<String> = heard.collect();
            let heard = match &*heard {
                [] => String::new(),
                heard => format!("; heard {}", heard.join(", ")),
            };
            put(Part::Plugin, &state.plugin.name, format!("{connected}{heard}"));
        }
        let mut events: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for sent in &world.events {
            let of = names.of(&sent.event.container_id);
            events.entry(of).or_default().push(event_word(sent.event.kind));
        }
        for (of, words) in events {
            put(Part::Event, of, words.join(", "));
        }
        let mut tasks: BTreeMap<String, u32> = BTreeMap::new();
        // What serves a client's call has its name, and what a call of another is inside of, that one's.
        let is_own = |task: &Symbol| {
            !task.text().contains('/') && !plan.calls.iter().any(|call| call.name == *task)
        };
        for task in sim.service_tasks().into_iter().filter(is_own) {
            *tasks.entry(task.to_string()).or_default() += 1;
        }
        for (task, count) in tasks {
            let text = if count == 1 { String::new() } else { format!("{count} times") };
            put(Part::Background, &task, text);
        }
        let off = i128::from(world.wall()) - i128::from(WALL_EPOCH) - i128::from(world.now);
        if off != 0 {
            let sign = if off < 0 { "-" } else { "+" };
            let by = clock(u64::try_from(off.unsigned_abs()).unwrap_or(u64::MAX));
            put(Part::Clock, "against monotonic time", format!("{sign}{by}"));
        }
        facts
    }

    fn of_files(&self, world: &World) -> Facts {
        let Inner { plan, names, .. } = &*self.0;
        let mut facts = Facts::new();
        let mut put = |part: Part, name: String, text: String| {
            facts.insert((part, Rc::from(name)), Rc::from(text));
        };
        for root in [&plan.roots.root, &plan.roots.state, &plan.roots.logs] {
            for WalkEntry { path, kind, size, target, .. } in world.fs.walk(root) {
                if path == *root {
                    continue;
                }
                let short = world.short_path(&path);
                let is_status = kind == FileKind::Regular && path.ends_with("/status");
                if let Some(text) = is_status.then(|| world.fs.content(&path)).flatten() {
                    put(Part::Disk, short.clone(), on_disk(text, names));
                }
                let text = match (kind, target) {
                    (FileKind::Directory, _) => "directory".to_owned(),
                    (FileKind::Regular, _) => format!("{size} bytes"),
                    (FileKind::Fifo, _) if size > 0 => format!("pipe, {size} bytes in it"),
                    (FileKind::Fifo, _) => "pipe".to_owned(),
                    (FileKind::Symlink, target) => {
                        format!("link to {}", target.as_deref().unwrap_or_default())
                    }
                };
                put(Part::File, short, text);
            }
        }
        for (owner, of) in [("daemon", world.boot), ("shim", crate::world::SHIM_OWNER)] {
            let mut open: BTreeMap<String, (u32, u32)> = BTreeMap::new();
            for fd in world.fs.open_fds(of) {
                let removed = if fd.removed { ", without a name" } else { "" };
                let name = format!("{owner}: {}{removed}", world.short_path(fd.path));
                let (all, opening) = open.entry(name).or_default();
                *all += 1;
                *opening += u32::from(fd.opening);
            }
            for (name, (all, opening)) in open {
                let text = match (all, opening) {
                    (1, 0) => String::new(),
                    (1, _) => "waits for the other end".to_owned(),
                    (_, 0) => format!("{all} times"),
                    _ => format!("{all} times, {opening} of them wait for the other end"),
                };
                put(Part::Descriptor, name, text);
            }
        }
        // Asked for where it can matter: it takes a copy of all files.
        if plan.script.crashes.iter().any(|crash| crash.crash.kind == CrashKind::Power) {
            for name in world.pending_on_disk() {
                put(Part::Pending, name, String::new());
            }
        }
        facts
    }
}

/// A status as a client would be told it.
fn told(peek: &Peek, names: &Names) -> String {
    let mut text = state_word(peek.state).to_owned();
    if peek.pid != 0 {
        text.push_str(&format!(", pid {}", peek.pid));
    }
    if peek.finished_at != 0 {
        text.push_str(&format!(", exit code {}", peek.exit_code));
    }
    for (word, at) in [("started", peek.started_at), ("finished", peek.finished_at)] {
        if at != 0 {
            text.push_str(&format!(", {word} at {}", since_start(at)));
        }
    }
    if !peek.reason.is_empty() {
        text.push_str(&format!(", reason {}", peek.reason));
    }
    if !peek.message.is_empty() {
        text.push_str(&format!(": {}", names.text(&peek.message)));
    }
    text
}

/// A time of the wall clock, against its beginning.
fn since_start(wall: i64) -> String {
    let off = i128::from(wall) - i128::from(WALL_EPOCH);
    let sign = if off < 0 { "-" } else { "" };
    format!("{sign}{}", clock(u64::try_from(off.unsigned_abs()).unwrap_or(u64::MAX)))
}

/// How much of a file that is no JSON is shown, in bytes.
const RAW_MAX: usize = 80;

/// The fields of a status file that are set, whoever wrote it.
fn on_disk(content: &[u8], names: &Names) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(content) else {
        let shown = String::from_utf8_lossy(&content[..content.len().min(RAW_MAX)]);
        return format!("{} bytes that are no JSON: {shown:?}", content.len());
    };
    let fields = fields.iter().filter_map(|(name, value)| {
        let text = match value {
            serde_json::Value::Null => return None,
            serde_json::Value::String(text) if text.is_empty() => return None,
            serde_json::Value::String(text) => names.text(text),
            serde_json::Value::Number(number) if number.as_i64() == Some(0) => return None,
            serde_json::Value::Number(number) if name.ends_with("At") => {
                number.as_i64().map_or_else(|| number.to_string(), since_start)
            }
            other => names.text(&other.to_string()),
        };
        Some(format!("{name} {text}"))
    });
    fields.collect::<Vec<_>>().join(", ")
}
