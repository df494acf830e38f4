//! From a case's text to the decisions, names and world that a run starts from.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use shakedown_cri::config::{Config, RuntimeConfig};
use shakedown_cri::cri::{
    ContainerConfig, LinuxConfig, NamespaceMode, NamespaceOptions, SandboxConfig,
};
use shakedown_cri::ports::{
    Code, Errno, FsCause, FsError, Image, NriEvent, NriMode, NriReply, Plugin, Record, Spec,
};
use shakedown_cri::quirks::{Quirk, Quirks};
use shakedown_cri::store::LinuxResources;
use shakedown_cri::store::SandboxMetadata;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::oracle::{
    Cause, Crash, CrashAt, CrashKind, DelayOf, Effect, Fault, Menus, Script, ScriptedCrash,
    ScriptedHold,
};
use crate::scenario::{
    self as file, Case, FaultKind, Happening, HostNamespace, PidMode, Span, Victim, When,
};
use crate::turnstile::{Moment, Op, Site, Symbol, role_of};
use crate::world::fs::{FileSystem, Limits};
use crate::world::{
    ClockChange, Placed, PluginState, ProcessOutput, ProcessPlan, Roots, Shim, World,
};

/// An entry of the scenario that can be parsed but not run: a harness error of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunError {
    pub span: std::ops::Range<usize>,
    /// The text of the entry that is to blame, where it is one.
    pub text: Option<String>,
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl RunError {
    fn new(span: &std::ops::Range<usize>, message: impl Into<String>) -> Self {
        RunError { span: span.clone(), text: None, message: message.into(), help: None }
    }
}

/// A sandbox of the plan.
#[derive(Clone, Debug)]
pub struct SandboxPlan {
    pub name: String,
    pub id: String,
    pub state: file::SandboxState,
    pub runtime_handler: String,
    pub config: SandboxConfig,
    /// containerd's record of the pause container.
    record: Rc<Record>,
}

/// A container of the plan.
#[derive(Clone, Debug)]
pub struct ContainerPlan {
    pub name: Symbol,
    /// The container of the file that it is like: itself, unless a kubelet makes it.
    pub like: String,
    pub id: String,
    pub sandbox: String,
    pub sandbox_id: String,
    pub state: file::InitialState,
    pub config: ContainerConfig,
    pub log_path: Option<String>,
    pub tty: bool,
}

impl ContainerPlan {
    /// Whether both have the same name in one pod, but for the number of their restart.
    pub fn names_the_same(&self, other: &ContainerPlan) -> bool {
        self.sandbox == other.sandbox && self.config.name == other.config.name
    }
}

/// A call of the plan.
#[derive(Clone, Debug)]
pub struct CallPlan {
    pub name: Symbol,
    pub action: file::Action,
    pub at: Option<Duration>,
    pub when: Option<Moment>,
    pub deadline: Option<Duration>,
    pub cancel_after: Option<Duration>,
    pub cancel_when: Option<Moment>,
    /// The kubelet that makes the call, and decides whether and when.
    pub kubelet: Option<usize>,
    /// Span of the entry.
    pub span: std::ops::Range<usize>,
}

/// A change of the wall clock of the plan.
#[derive(Clone, Debug)]
pub struct ClockPlan {
    pub at: Option<Duration>,
    pub when: Option<Moment>,
    pub change: ClockChange,
    /// Span of the entry.
    pub span: std::ops::Range<usize>,
}

impl CallPlan {
    /// Whether the call makes the container.
    pub fn creates(&self, name: Symbol) -> bool {
        matches!(&self.action, file::Action::Create { container, .. } if **container == *name.text())
    }

    /// How long the call may take by what it asks for: a stop waits for its process.
    pub fn grace(&self) -> Duration {
        match self.action {
            file::Action::Stop { timeout, .. } => {
                Duration::from_secs(u64::try_from(timeout).unwrap_or(0))
            }
            _ => Duration::ZERO,
        }
    }
}

/// A kubelet of the plan.
#[derive(Clone, Debug)]
pub struct KubeletPlan {
    pub name: Symbol,
    pub at: Option<Duration>,
    pub when: Option<Moment>,
    /// Who deletes its pod.
    pub deletion: Symbol,
    pub delete_at: Option<Duration>,
    pub delete_when: Option<Moment>,
    pub restart: file::Restart,
    /// In the order of their making.
    pub containers: Vec<KubeletContainer>,
    /// Span of the entry.
    pub span: std::ops::Range<usize>,
}

/// A container that a kubelet makes, and its calls by their number in the plan.
#[derive(Clone, Debug)]
pub struct KubeletContainer {
    pub name: Symbol,
    pub id: String,
    pub create: usize,
    pub start: usize,
    /// One after the other, until one succeeds.
    pub stops: Vec<usize>,
    pub removes: Vec<usize>,
    /// Who sees that it has ended. Each container has one of its own: a moment has its name once.
    pub relist: Symbol,
}

/// An occurrence of the plan.
#[derive(Clone, Debug)]
pub struct OccurrencePlan {
    pub actor: Symbol,
    pub op: Op,
    pub placed: Placed,
    pub at: Option<Duration>,
    pub when: Option<Moment>,
    /// Span of the entry.
    pub span: std::ops::Range<usize>,
}

/// Everything that a run needs of its case.
#[derive(Clone, Debug)]
pub struct Plan {
    pub case: String,
    pub bound: Duration,
    pub script: Script,
    /// Spans of the script's faults, holds and crashes.
    pub fault_spans: Vec<std::ops::Range<usize>>,
    pub hold_spans: Vec<std::ops::Range<usize>>,
    pub crash_spans: Vec<std::ops::Range<usize>>,
    pub sandboxes: Vec<SandboxPlan>,
    pub containers: Vec<ContainerPlan>,
    pub calls: Vec<CallPlan>,
    pub kubelets: Vec<KubeletPlan>,
    pub clocks: Vec<ClockPlan>,
    pub occurrences: Vec<OccurrencePlan>,
    pub runtimes: Vec<String>,
    pub roots: Rc<Roots>,
    /// How the daemon is configured.
    pub config: Config,
    images: Vec<Rc<Image>>,
    world: file::World,
    /// What is on the disk before the daemon comes up, of which each run gets a copy, and what of the file's paths
    /// cannot be made.
    disk: (FileSystem, Vec<RunError>),
}

/// The id that a container or sandbox of this name gets: 64 hexadecimal digits, beginning with
/// `head`.
pub fn container_id(head: &str, name: &str) -> String {
    let low = xxh3_128_with_seed(name.as_bytes(), 0);
    let high = xxh3_128_with_seed(name.as_bytes(), 1);
    let digits = format!("{low:032x}{high:032x}");
    let head: String = head.chars().take(64).collect();
    format!("{head}{}", &digits[head.len()..])
}

fn moment(text: &str, span: &Span) -> Result<Moment, RunError> {
    Moment::parse(text).ok_or_else(|| {
        let message = format!(
            "`{text}` is not the name of a moment: a call has `.effect`, `.reply` and, where its caller can \
             give up, `.abandon` behind its number"
        );
        let help = format!("write `{text}.reply`, or one of the others");
        let help = Site::parse(text).map(|_| help);
        RunError { text: Some(text.to_owned()), help, ..RunError::new(&span.0, message) }
    })
}

fn site(text: &str, span: &Span) -> Result<Site, RunError> {
    Site::parse(text).ok_or_else(|| RunError {
        text: Some(text.to_owned()),
        ..RunError::new(&span.0, format!("`{text}` is not the name of a call's site"))
    })
}

fn effect(effect: file::Effect) -> Effect {
    match effect {
        file::Effect::None => Effect::None,
        file::Effect::Done => Effect::Done,
        file::Effect::Late(by) => Effect::Late(by),
    }
}

/// What a code's text means.
fn cause(text: &str) -> Option<Cause> {
    let class = Code::ALL.iter().find(|code| code.name() == text).map(|c| Cause::Class(*c));
    class.or_else(|| Errno::ALL.iter().find(|e| e.name() == text).map(|e| Cause::Errno(*e)))
}

fn fault(entry: &file::Fault) -> Result<(Site, Fault), RunError> {
    let wrong = |message: String| RunError::new(&entry.at_span.0, message);
    let site = site(&entry.at, &entry.at_span)?;
    let fault = match &entry.kind {
        FaultKind::Error { code, message, effect: e } => Fault::Error {
            cause: cause(code).ok_or_else(|| wrong(format!("`{code}` is not an error code")))?,
            message: message.as_deref().map(std::rc::Rc::from),
            effect: effect(*e),
        },
        FaultKind::Delay { by, of } => Fault::Delay {
            by: *by,
            of: match of {
                file::DelayOf::Effect => DelayOf::Effect,
                file::DelayOf::Reply => DelayOf::Reply,
            },
        },
        FaultKind::Hang { effect: e } => Fault::Hang { effect: effect(*e) },
        FaultKind::HangForever { effect: e } => Fault::HangForever { effect: effect(*e) },
        FaultKind::Cancel { effect: e } => Fault::Cancel { effect: effect(*e) },
        FaultKind::Deadline { effect: e } => Fault::Deadline { effect: effect(*e) },
        FaultKind::ShortWrite => Fault::ShortWrite,
        FaultKind::ConnectionClosed { effect: e } => Fault::ConnectionClosed { effect: effect(*e) },
        FaultKind::Lost => Fault::Lost,
        FaultKind::Swept(keys) => {
            let message =
                format!("a fault of kind `{}` has no effect `{}`", keys.kind, keys.effect);
            return Err(wrong(message));
        }
    };
    match fault.misfit(site.op) {
        // Where another code would do, it is the code that is wrong.
        Some(why) => Err(match another_code(&fault, site.op) {
            Some(code) => {
                let help = Some(format!("write `code = \"{code}\"`, or another of them"));
                RunError { span: entry.code_span.0.clone(), help, ..wrong(why) }
            }
            None => RunError { help: Some(what_strikes(site.op)), ..wrong(why) },
        }),
        None => Ok((site, fault)),
    }
}

/// The kinds of faults that an operation can meet.
fn what_strikes(op: Op) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for fault in Menus::new().of(op) {
        if !kinds.contains(&fault.kind()) {
            kinds.push(fault.kind());
        }
    }
    let name = op.name();
    if kinds.is_empty() {
        return format!("`{name}` can be held: `[[hold]]`, `what = \"…/{name}…\"`");
    }
    format!("what can strike `{name}`: `{}`", kinds.join("`, `"))
}

/// The name of a code that the fault could have there.
fn another_code(fault: &Fault, op: Op) -> Option<&'static str> {
    let Fault::Error { message, effect, .. } = fault else { return None };
    let classes = op.codes().iter().map(|code| Cause::Class(*code));
    let mut causes = classes.chain(op.errnos().iter().map(|errno| Cause::Errno(*errno)));
    let fits = causes.find(|cause| {
        let other = Fault::Error { cause: *cause, message: message.clone(), effect: *effect };
        other.misfit(op).is_none()
    });
    fits.map(Cause::name)
}

fn crash(entry: &file::Crash) -> Result<ScriptedCrash, RunError> {
    let at = match &entry.when {
        When::At(at) => CrashAt::Time(*at),
        When::Moment(text) => CrashAt::Moment(moment(text, &entry.span)?),
    };
    let kind = match entry.kind {
        file::CrashKind::Daemon => CrashKind::Daemon,
        file::CrashKind::Power => CrashKind::Power,
    };
    let all = |texts: &[String]| texts.iter().map(|text| Symbol::of(text)).collect();
    let (lost, torn) = (all(&entry.lost), all(&entry.torn));
    Ok(ScriptedCrash { at, crash: Crash { kind, down: entry.down }, lost, torn })
}

/// Whether the fault can strike at its site, as far as that is known before a run.
pub(crate) fn fits(entry: &file::Fault) -> bool {
    fault(entry).is_ok()
}

fn namespaces(sandbox: &file::Sandbox) -> NamespaceOptions {
    let mode = |of: HostNamespace| {
        if sandbox.host_namespaces.contains(&of) { NamespaceMode::Node } else { NamespaceMode::Pod }
    };
    NamespaceOptions {
        network: mode(HostNamespace::Network),
        pid: mode(HostNamespace::Pid),
        ipc: mode(HostNamespace::Ipc),
    }
}

impl Plan {
    /// # Errors
    /// When an entry names a moment or a fault that cannot be.
    pub fn new(case: &Case) -> Result<Plan, Vec<RunError>> {
        let scenario = &case.scenario;
        let world = &scenario.world;
        let mut errors = Vec::new();
        let sandboxes: Vec<SandboxPlan> = world.sandboxes.iter().map(sandbox_plan).collect();
        let ids: BTreeMap<&str, String> =
            (world.containers.iter()).map(|c| (&*c.name, container_id(&c.id, &c.name))).collect();
        for sandbox in &sandboxes {
            Symbol::alias(&sandbox.id, Symbol::of(&sandbox.name));
        }
        let images: Vec<Rc<Image>> = world.images.iter().map(|of| Rc::new(image(of))).collect();
        for image in &images {
            Symbol::alias(&image.id, Symbol::of(&image.tags[0]));
        }
        for container in &world.containers {
            Symbol::alias(&ids[&*container.name], Symbol::of(&container.name));
        }
        let mut containers: Vec<ContainerPlan> =
            (world.containers.iter()).map(|c| container_plan(c, world, &sandboxes, &ids)).collect();
        let mut script = Script::default();
        let (mut fault_spans, mut hold_spans) = (Vec::new(), Vec::new());
        for entry in &scenario.faults {
            match fault(entry) {
                Ok(fault) => {
                    script.faults.push(fault);
                    fault_spans.push(entry.span.0.clone());
                }
                Err(error) => errors.push(error),
            }
        }
        for entry in &scenario.holds {
            match (moment(&entry.what, &entry.span), moment(&entry.until, &entry.span)) {
                (Ok(what), Ok(until)) => {
                    let across_time = entry.across_time;
                    script.holds.push(ScriptedHold { what, until, across_time });
                    hold_spans.push(entry.span.0.clone());
                }
                (what, until) => errors.extend(what.err().into_iter().chain(until.err())),
            }
        }
        let mut crash_spans = Vec::new();
        for entry in &scenario.crashes {
            match crash(entry) {
                Ok(crash) => {
                    script.crashes.push(crash);
                    crash_spans.push(entry.span.0.clone());
                }
                Err(error) => errors.push(error),
            }
        }
        let (mut calls, mut kubelets) = (Vec::new(), Vec::new());
        let there = world.containers.iter().filter(|c| c.state != file::InitialState::Absent);
        let mut made: BTreeMap<&str, u32> = there.map(|c| (&*c.name, 1)).collect();
        for call in &scenario.calls {
            if let file::Action::Kubelet(kubelet) = &call.action {
                let index = kubelets.len();
                made.insert(&kubelet.container, kubelet.containers);
                match kubelet_plan(call, kubelet, index, &mut containers, &mut calls) {
                    Ok(kubelet) => kubelets.push(kubelet),
                    Err(error) => errors.push(error),
                }
                continue;
            }
            let mut call = match call_plan(call) {
                Ok(call) => call,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            if let file::Action::Create { container, .. } = &mut call.action
                && let Some(of) = world.containers.iter().find(|c| c.name == *container)
            {
                let count = made.entry(&of.name).or_default();
                *count += 1;
                if *count > 1 {
                    let like = containers.iter().find(|c| *c.name.text() == of.name).cloned();
                    *container = file::nth_container(&of.name, *count);
                    containers.extend(like.map(|like| another(&like, *count)));
                }
            }
            calls.push(call);
        }
        for call in &calls {
            let of = call.action.container();
            if let Some(name) = of.filter(|of| !containers.iter().any(|c| *c.name.text() == **of)) {
                let message = format!("there is no container `{name}`");
                errors.push(RunError::new(&call.span, message));
            }
        }
        let mut clocks = Vec::new();
        for clock in &scenario.clocks {
            match clock_plan(clock) {
                Ok(clock) => clocks.push(clock),
                Err(error) => errors.push(error),
            }
        }
        let mut occurrences = Vec::new();
        for entry in &scenario.occurrences {
            match occurrence_plan(entry, &sandboxes, &containers) {
                Ok(occurrence) => occurrences.push(occurrence),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let roots = Rc::<Roots>::default();
        Ok(Plan {
            case: case.name.clone(),
            bound: world.bound,
            script,
            fault_spans,
            hold_spans,
            crash_spans,
            sandboxes,
            containers,
            calls,
            kubelets,
            clocks,
            occurrences,
            runtimes: world.runtimes.clone(),
            config: config(world, &roots),
            disk: disk(world, &roots),
            roots,
            images,
            world: world.clone(),
        })
    }

    pub fn container(&self, name: &str) -> Option<&ContainerPlan> {
        self.containers.iter().find(|c| *c.name.text() == *name)
    }

    /// The container that a call speaks of.
    pub fn subject_of(&self, action: &file::Action) -> Option<Symbol> {
        match action.target() {
            Some(file::Target::Literal(id)) => {
                self.containers.iter().find(|c| c.id.starts_with(&**id)).map(|c| c.name)
            }
            _ => action.container().map(Symbol::of),
        }
    }

    /// Whether a start of the container can succeed on the node as the scenario has it, without any
    /// fault: nothing of its world stands in the way.
    pub fn can_start(&self, container: &ContainerPlan) -> bool {
        let Some(sandbox) = self.sandbox(&container.sandbox) else { return false };
        let of_file = self.world.containers.iter().find(|c| c.name == container.like);
        let plain = of_file.is_some_and(|c| {
            !c.process.executable_missing && !matches!(c.pid_mode, PidMode::Target(_))
        });
        let handler = &sandbox.runtime_handler;
        let untrusted = !sandbox.config.annotations.is_empty();
        let runtime = handler.is_empty() || handler == "runc" || self.runtimes.contains(handler);
        let disk = &self.world.disk;
        sandbox.state == file::SandboxState::Ready
            && plain
            && runtime
            && !untrusted
            && disk.size.is_none()
            && disk.max_open_files.is_none()
            && !self.world.paths.iter().any(|path| {
                let log = container.log_path.as_deref().unwrap_or_default();
                let passes =
                    matches!(path.kind, file::PathKind::Removed | file::PathKind::ReadOnly);
                !passes && log.starts_with(&path.path)
            })
    }

    pub fn sandbox(&self, name: &str) -> Option<&SandboxPlan> {
        self.sandboxes.iter().find(|s| s.name == name)
    }

    /// The node before the daemon comes up, in a version that has these quirks, and what of the file's paths
    /// cannot be made.
    pub fn world(&self, quirks: Quirks) -> (World, Vec<RunError>) {
        let (fs, wrong) = self.disk.clone();
        let mut world = World::on(fs, self.roots.clone(), quirks);
        world.wall_clock.changes = self.clocks.iter().map(|clock| (clock.change, false)).collect();
        world.metadata.images.clone_from(&self.images);
        world.nri.mode = match self.world.nri {
            Some(file::NriConfig::Enabled) => NriMode::Enabled,
            Some(file::NriConfig::Disabled) => NriMode::Disabled,
            Some(file::NriConfig::Absent) => NriMode::Absent,
            None if self.world.plugins.is_empty() && quirks.has(Quirk::NriDisabledByDefault) => {
                NriMode::Disabled
            }
            None => NriMode::Enabled,
        };
        for plugin in &self.world.plugins {
            let events = plugin.events.iter().map(|event| match event {
                file::PluginEvent::Create => NriEvent::CreateContainer,
                file::PluginEvent::PostCreate => NriEvent::PostCreateContainer,
                file::PluginEvent::Start => NriEvent::StartContainer,
                file::PluginEvent::PostStart => NriEvent::PostStartContainer,
                file::PluginEvent::Stop => NriEvent::StopContainer,
                file::PluginEvent::Remove => NriEvent::RemoveContainer,
            });
            world.nri.plugins.push(PluginState {
                plugin: Plugin {
                    name: plugin.name.clone(),
                    index: plugin.index.clone(),
                    events: events.collect(),
                },
                connected: plugin.connected,
                reconnects: false,
                heard: Vec::new(),
                replies: plugin.replies.iter().map(|reply| self.reply(reply)).collect(),
                heard_before: 0,
                synchronized_running: Vec::new(),
            });
        }
        world.placed = self.occurrences.iter().map(|o| o.placed.clone()).collect();
        for container in &self.world.containers {
            let process = &container.process;
            let output = process.output.iter().map(|output| ProcessOutput {
                at: output.at,
                stderr: output.stream == file::Stream::Stderr,
                bytes: output.text.repeat(output.repeat as usize).into_bytes(),
            });
            let plan = ProcessPlan {
                runs: process.runs,
                exit_code: process.exit_code,
                ignores_sigterm: process.ignores_sigterm,
                executable_missing: process.executable_missing,
                output: output.collect(),
            };
            for of_it in self.containers.iter().filter(|c| c.like == container.name) {
                world.plans.insert(of_it.name, plan.clone());
            }
        }
        (world, wrong)
    }

    /// The pods, as RunPodSandbox of a daemon that is up leaves them.
    pub fn add_pods(&self, world: &mut World) {
        for (number, sandbox) in self.sandboxes.iter().enumerate() {
            let number = u32::try_from(number).expect("few sandboxes");
            world.add_pod(Shim::new(number, &sandbox.id), sandbox.record.clone());
            for parent in [&self.roots.root, &self.roots.state] {
                let dir = [&**parent, "/sandboxes/", &sandbox.id].concat();
                world.fs.make_dir_all(&dir, 0o755).expect("an empty node has room for a pod");
            }
            if !sandbox.config.log_directory.is_empty() {
                // A scenario may have put a file in its place.
                let _ = world.fs.make_dir_all(&sandbox.config.log_directory, 0o755);
            }
        }
    }

    fn reply(&self, reply: &file::PluginReply) -> (NriEvent, NriReply) {
        let id = |name: &str| self.container(name).map(|c| c.id.clone()).unwrap_or_default();
        let event = match reply.to {
            file::RepliedEvent::Create => NriEvent::CreateContainer,
            file::RepliedEvent::Stop => NriEvent::StopContainer,
            file::RepliedEvent::Synchronize => NriEvent::Synchronize,
        };
        let mut wanted = NriReply::default();
        match &reply.wish {
            file::Wish::Update { container, limits } => {
                wanted.updates.push((id(container), resources(*limits)));
            }
            file::Wish::Evict { container } => wanted.evictions.push(id(container)),
        }
        (event, wanted)
    }

    /// Limits of the disk, which hold once the setup is done. What the setup wrote is on the disk.
    /// Returns what of the file's paths cannot be taken away or kept from changing.
    pub fn limit_disk(&self, world: &mut World) -> Vec<RunError> {
        world.fs.sync_all();
        let mut limits = world.fs.limits();
        limits.bytes_max = self.world.disk.size.unwrap_or(limits.bytes_max);
        limits.open_max = self.world.disk.max_open_files.unwrap_or(limits.open_max);
        world.fs.set_limits(limits);
        let mut wrong = Vec::new();
        for path in self.paths(file::PathKind::Removed) {
            // The file system's own answer for what is not there is success.
            let there = world.fs.metadata(&path.path);
            let removed = there.and_then(|_| world.fs.remove_tree(&path.path));
            wrong.extend(removed.err().map(|error| path_error(path, &error)));
        }
        for path in self.paths(file::PathKind::ReadOnly) {
            let set = world.fs.set_read_only(&path.path, true);
            wrong.extend(set.err().map(|error| path_error(path, &error)));
        }
        wrong
    }

    /// Whether operations on files of different first directories have nothing to do with each other: the
    /// disk has no end, and nothing lies on it that the scenario put there.
    pub fn has_plain_files(&self) -> bool {
        let disk = &self.world.disk;
        disk.size.is_none() && disk.max_open_files.is_none() && self.world.paths.is_empty()
    }

    /// What could not change can again.
    pub fn end_read_only(&self, world: &mut World) {
        for path in self.paths(file::PathKind::ReadOnly) {
            // A power loss may have undone its making.
            let _ = world.fs.set_read_only(&path.path, false);
        }
    }

    fn paths(&self, kind: file::PathKind) -> impl Iterator<Item = &file::PathEntry> {
        self.world.paths.iter().filter(move |path| path.kind == kind)
    }
}

/// The disk before the daemon comes up, and what of the file's paths cannot be made.
fn disk(world: &file::World, roots: &Roots) -> (FileSystem, Vec<RunError>) {
    let mut fs = FileSystem::new(Limits::default());
    let mut wrong = Vec::new();
    let made = |result: Result<(), FsError>| {
        result.expect("the directories of an empty node can be made");
    };
    made(fs.make_dir("/run", 0o755));
    made(fs.set_volatile("/run"));
    for dir in [&roots.root, &roots.state, &roots.logs] {
        made(fs.make_dir_all(dir, 0o755));
    }
    for path in &world.paths {
        if let Err(error) = make_path(&mut fs, path) {
            wrong.push(path_error(path, &error));
        }
    }
    (fs, wrong)
}

/// Makes what is there before the run.
fn make_path(fs: &mut FileSystem, path: &file::PathEntry) -> Result<(), FsError> {
    if matches!(path.kind, file::PathKind::Removed | file::PathKind::ReadOnly) {
        return Ok(());
    }
    let parent = path.path.rsplit_once('/').map_or("", |(parent, _)| parent);
    fs.make_dir_all(if parent.is_empty() { "/" } else { parent }, 0o755)?;
    match path.kind {
        file::PathKind::File => fs.write_file(&path.path, b"", path.mode),
        file::PathKind::Fifo => fs.make_fifo(&path.path, path.mode),
        file::PathKind::Symlink => fs.make_symlink(&path.target, &path.path),
        _ => fs.make_dir(&path.path, path.mode),
    }
}

fn path_error(path: &file::PathEntry, error: &FsError) -> RunError {
    let kind = match path.kind {
        file::PathKind::Removed => "cannot be removed before the first call",
        file::PathKind::ReadOnly => "cannot become read-only before the first call",
        _ => "cannot be made",
    };
    let message = format!("the path `{}` {kind}: {error}", path.path);
    let help = match error.cause {
        FsCause::Errno(Errno::EEXIST) => Some(
            "it is there already: leave the entry out, or take it away with `kind = \"removed\"`",
        ),
        FsCause::Errno(Errno::ENOENT) => {
            Some("only what is there can be taken away or kept as it is")
        }
        _ => None,
    };
    RunError { help: help.map(str::to_owned), ..RunError::new(&path.span.0, message) }
}

fn image(image: &file::Image) -> Image {
    let id = format!("sha256:{}", container_id("", &image.name));
    Image {
        digests: vec![format!("{}@{id}", image.name)],
        id,
        tags: vec![image.name.clone()],
        stop_signal: image.stop_signal.clone(),
    }
}

fn config(world: &file::World, roots: &Roots) -> Config {
    let mut config = Config {
        root_dir: roots.root.clone(),
        state_dir: roots.state.clone(),
        max_container_log_line_size: i64::from(world.max_log_line),
        ..Config::default()
    };
    if let Some(runtime) = config.runtimes.get_mut(&config.default_runtime) {
        runtime.path.clone_from(&world.runtime_path);
    }
    for handler in &world.runtimes {
        let kind = format!("io.containerd.{handler}.v2");
        config.runtimes.insert(handler.clone(), RuntimeConfig { kind, path: String::new() });
    }
    config
}

fn sandbox_plan(sandbox: &file::Sandbox) -> SandboxPlan {
    let mut annotations = Vec::new();
    if sandbox.untrusted {
        let key = "io.kubernetes.cri.untrusted-workload";
        annotations.push((key.to_owned(), "true".to_owned()));
    }
    let meta = SandboxMetadata {
        id: container_id("", &format!("sandbox {}", sandbox.name)),
        config: SandboxConfig {
            name: sandbox.name.clone(),
            namespace: "default".to_owned(),
            uid: format!("uid-{}", sandbox.name),
            attempt: 0,
            log_directory: sandbox.log_directory.clone(),
            annotations,
            namespaces: namespaces(sandbox),
            privileged: false,
        },
        runtime_handler: sandbox.runtime_handler.clone(),
    };
    let record = Rc::new(pause_record(sandbox.state, &meta));
    let SandboxMetadata { id, config, runtime_handler } = meta;
    let (name, state) = (sandbox.name.clone(), sandbox.state);
    SandboxPlan { name, id, state, runtime_handler, config, record }
}

/// The record of a sandbox's pause container.
fn pause_record(state: file::SandboxState, meta: &SandboxMetadata) -> Record {
    let extensions = match state {
        // What a daemon that comes up cannot load is gone for it.
        file::SandboxState::Gone => Vec::new(),
        file::SandboxState::Ready | file::SandboxState::NotReady => {
            let content = String::from_utf8_lossy(&meta.encode()).into_owned();
            vec![(SandboxMetadata::EXTENSION.to_owned(), content)]
        }
    };
    Record {
        id: meta.id.clone(),
        labels: vec![("io.cri-containerd.kind".to_owned(), "sandbox".to_owned())],
        image: "pause".to_owned(),
        runtime: "io.containerd.runc.v2".to_owned(),
        snapshotter: "overlayfs".to_owned(),
        snapshot_key: meta.id.clone(),
        spec: Spec {
            annotations: vec![("io.kubernetes.cri.sandbox-id".to_owned(), meta.id.clone())],
            ..Spec::default()
        },
        extensions,
        created_at: crate::world::WALL_EPOCH,
    }
}

fn container_plan(
    container: &file::Container,
    world: &file::World,
    sandboxes: &[SandboxPlan],
    ids: &BTreeMap<&str, String>,
) -> ContainerPlan {
    let sandbox = sandboxes
        .iter()
        .find(|s| s.name == container.sandbox)
        .or(sandboxes.first())
        .expect("a scenario has a sandbox");
    let of_sandbox = world.sandboxes.iter().find(|s| s.name == sandbox.name);
    let mut options = of_sandbox.map(namespaces).unwrap_or_default();
    let mut target_id = String::new();
    options.pid = match &container.pid_mode {
        PidMode::Container => NamespaceMode::Container,
        PidMode::Pod => NamespaceMode::Pod,
        PidMode::Node => NamespaceMode::Node,
        PidMode::Target(target) => {
            target_id = ids.get(&**target).cloned().unwrap_or_else(|| target.clone());
            NamespaceMode::Target
        }
    };
    let directory = &sandbox.config.log_directory;
    let has_log = !directory.is_empty() && !container.log_path.is_empty();
    ContainerPlan {
        name: Symbol::of(&container.name),
        like: container.name.clone(),
        id: ids[&*container.name].clone(),
        sandbox: sandbox.name.clone(),
        sandbox_id: sandbox.id.clone(),
        state: container.state,
        config: ContainerConfig {
            name: container.name.clone(),
            attempt: 0,
            image: container.image.clone(),
            log_path: container.log_path.clone(),
            tty: container.tty,
            stdin: container.stdin,
            labels: Vec::new(),
            annotations: Vec::new(),
            args: vec!["app".to_owned()],
            env: Vec::new(),
            linux: Some(LinuxConfig {
                namespaces: options,
                target_id,
                cpu_shares: 0,
                memory_limit_in_bytes: 0,
            }),
        },
        log_path: has_log.then(|| format!("{directory}/{}", container.log_path)),
        tty: container.tty,
    }
}

/// The n-th container of those like `first`, which a call makes. It has a log of its own.
fn another(first: &ContainerPlan, n: u32) -> ContainerPlan {
    let name = file::nth_container(&first.like, n);
    let id = container_id("", &name);
    let name = Symbol::of(&name);
    Symbol::alias(&id, name);
    let log_of = |path: &str| match path.rsplit_once('.') {
        Some((stem, extension)) if !extension.contains('/') => format!("{stem}-{n}.{extension}"),
        _ if path.is_empty() => String::new(),
        _ => format!("{path}-{n}"),
    };
    let log_path = first.log_path.as_deref().map(log_of);
    let config =
        ContainerConfig { log_path: log_of(&first.config.log_path), ..first.config.clone() };
    let state = file::InitialState::Absent;
    ContainerPlan { name, id, state, config, log_path, ..first.clone() }
}

/// A time, or the moment that a text names.
fn when_of(when: &When, span: &Span) -> Result<(Option<Duration>, Option<Moment>), RunError> {
    Ok(match when {
        When::At(at) => (Some(*at), None),
        When::Moment(text) => (None, Some(moment(text, span)?)),
    })
}

fn clock_plan(clock: &file::Clock) -> Result<ClockPlan, RunError> {
    let (at, when) = when_of(&clock.when, &clock.span)?;
    let change = match &clock.change {
        file::ClockChange::Jump(by) => {
            let by = file::duration::parse_signed(by).map_err(|error| RunError {
                text: Some(by.clone()),
                ..RunError::new(&clock.span.0, format!("`{by}` is no duration: {error}"))
            })?;
            ClockChange::Jump(by)
        }
        file::ClockChange::Drift(ppm) => ClockChange::Drift(*ppm),
    };
    Ok(ClockPlan { at, when, change, span: clock.span.0.clone() })
}

fn occurrence_plan(
    occurrence: &file::Occurrence,
    sandboxes: &[SandboxPlan],
    containers: &[ContainerPlan],
) -> Result<OccurrencePlan, RunError> {
    let plan_of = |name: &str| containers.iter().find(|c| *c.name.text() == *name);
    let id_of = |name: &str| plan_of(name).map(|plan| plan.id.clone()).unwrap_or_default();
    let sandbox_id = |name: &str| {
        let sandbox = sandboxes.iter().find(|sandbox| sandbox.name == *name);
        sandbox.map(|sandbox| sandbox.id.clone()).unwrap_or_default()
    };
    let (role, op, name, placed) = match &occurrence.what {
        Happening::Exit { of, code } => {
            let (name, id) = match of {
                Victim::Container(name) => (name, id_of(name)),
                Victim::Sandbox(name) => (name, sandbox_id(name)),
            };
            ("process", Op::Exit, name, Placed::Exit { id, code: *code })
        }
        Happening::Oom { container } => {
            ("process", Op::Oom, container, Placed::Oom { id: id_of(container) })
        }
        Happening::RotateLog { container } => {
            let path =
                plan_of(container).and_then(|plan| plan.log_path.clone()).unwrap_or_default();
            ("rotation", Op::Rotate, container, Placed::RotateLog { path })
        }
        Happening::ShimExit { sandbox } => {
            ("shim", Op::Exit, sandbox, Placed::ShimExit { sandbox: sandbox_id(sandbox) })
        }
    };
    let (at, when) = when_of(&occurrence.when, &occurrence.span)?;
    Ok(OccurrencePlan {
        actor: role_of(role, Symbol::of(name)),
        op,
        placed,
        at,
        when,
        span: occurrence.span.0.clone(),
    })
}

/// The limit of a kubelet's requests, `runtimeRequestTimeout`.
const KUBELET_LIMIT: Duration = Duration::from_secs(120);

/// A kubelet, with the containers and calls that it may come to make.
fn kubelet_plan(
    call: &file::Call,
    kubelet: &file::Kubelet,
    index: usize,
    containers: &mut Vec<ContainerPlan>,
    calls: &mut Vec<CallPlan>,
) -> Result<KubeletPlan, RunError> {
    let (at, when) = when_of(&call.when, &call.span)?;
    let (delete_at, delete_when) = match &kubelet.delete {
        None => (None, None),
        Some(delete) => when_of(delete, &call.span)?,
    };
    let limit = call.deadline.unwrap_or(KUBELET_LIMIT);
    let grace = Duration::from_secs(u64::try_from(kubelet.timeout).unwrap_or(0));
    let first = containers.iter().find(|c| *c.name.text() == *kubelet.container).cloned();
    let first = first.expect("a kubelet's container is one of the world");
    let mut made = Vec::new();
    for n in 1..=kubelet.containers {
        let name = kubelet.container(n);
        if n > 1 {
            containers.push(another(&first, n));
        }
        let mut add = |what: &str, again: u32, action: file::Action, deadline: Duration| {
            calls.push(CallPlan {
                name: Symbol::of(&file::Kubelet::call(&call.name, what, n, again)),
                action,
                at: None,
                when: None,
                deadline: Some(deadline),
                cancel_after: None,
                cancel_when: None,
                kubelet: Some(index),
                span: call.span.0.clone(),
            });
            calls.len() - 1
        };
        let target = || file::Target::Container(name.clone());
        let create =
            add("create", 0, file::Action::Create { container: name.clone(), attempt: 0 }, limit);
        let start = add("start", 0, file::Action::Start { target: target() }, limit);
        let mut retried = |what: &str, action: file::Action, deadline| -> Vec<usize> {
            (0..=file::Kubelet::RETRIES)
                .map(|again| add(what, again, action.clone(), deadline))
                .collect()
        };
        let stop = file::Action::Stop { target: target(), timeout: kubelet.timeout };
        let stops = retried("stop", stop, limit + grace);
        let removes = retried("remove", file::Action::Remove { target: target() }, limit);
        let id = containers.iter().find(|c| *c.name.text() == name).map(|c| c.id.clone());
        made.push(KubeletContainer {
            name: Symbol::of(&name),
            id: id.unwrap_or_default(),
            create,
            start,
            stops,
            removes,
            relist: Symbol::of(&file::Kubelet::call(&call.name, "relist", n, 0)),
        });
    }
    Ok(KubeletPlan {
        name: Symbol::of(&call.name),
        at,
        when,
        deletion: Symbol::of(&file::Kubelet::deletion(&call.name)),
        delete_at,
        delete_when,
        restart: kubelet.restart,
        containers: made,
        span: call.span.0.clone(),
    })
}

/// Limits as the CRI says them.
pub(super) fn resources(limits: file::Limits) -> LinuxResources {
    LinuxResources {
        cpu_shares: limits.cpu_shares,
        memory_limit_in_bytes: limits.memory,
        ..LinuxResources::default()
    }
}

fn call_plan(call: &file::Call) -> Result<CallPlan, RunError> {
    let (at, when) = when_of(&call.when, &call.span)?;
    let (cancel_after, cancel_when) = match &call.cancel {
        None => (None, None),
        Some(cancel) => when_of(cancel, &call.span)?,
    };
    Ok(CallPlan {
        kubelet: None,
        name: Symbol::of(&call.name),
        action: call.action.clone(),
        at,
        when,
        deadline: call.deadline,
        cancel_after,
        cancel_when,
        span: call.span.0.clone(),
    })
}
