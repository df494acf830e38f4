//! What a scenario file says, as data.
//!
//! A scenario is a recording: the world at its start, the calls that clients make, and the
//! decisions (faults, holds and crashes) that differ from the uneventful run, each by name.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use shakedown_cri::quirks::Profile;

use crate::under_test;

/// The version of the format that this build reads and writes.
pub const FORMAT_VERSION: i64 = 1;

/// One file.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The file's stem; the name of the scenario and the head of each case's name.
    pub name: String,
    /// One sentence.
    pub title: String,
    /// Any number of lines; may be empty.
    pub description: String,
    pub tags: Vec<String>,
    pub world: World,
    pub calls: Vec<Call>,
    pub occurrences: Vec<Occurrence>,
    pub faults: Vec<Fault>,
    pub holds: Vec<Hold>,
    pub clocks: Vec<Clock>,
    pub crashes: Vec<Crash>,
    /// Axes in the order of the file; empty for a scenario of a single case.
    pub matrix: Vec<Axis>,
    pub expects: Vec<Expect>,
    pub violations: Vec<ExpectedViolation>,
}

/// A byte range of the file that an entry came from; empty for what was not read from a file.
#[derive(Clone, Debug, Default)]
pub struct Span(pub Range<usize>);

/// Where something stands in its file does not make two scenarios differ.
impl PartialEq for Span {
    fn eq(&self, _: &Span) -> bool {
        true
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct World {
    /// I5's bound. `bound`, default 150 s.
    pub bound: Duration,
    /// `max-log-line`, default 16384.
    pub max_log_line: u32,
    /// `nri`; not said: enabled if there are plugins, else as the version has it.
    pub nri: Option<NriConfig>,
    /// `[world.disk]`
    pub disk: Disk,
    /// `[[world.plugin]]`, in the file's order.
    pub plugins: Vec<Plugin>,
    /// `[[world.image]]`; default one image `app`.
    pub images: Vec<Image>,
    /// `[[world.sandbox]]`; default one ready sandbox `pod`.
    pub sandboxes: Vec<Sandbox>,
    /// `[[world.container]]`
    pub containers: Vec<Container>,
    /// `[[world.path]]`: files that are there before the run.
    pub paths: Vec<PathEntry>,
    /// `runtimes = ["kata"]`, beside the default `runc`.
    pub runtimes: Vec<String>,
    /// `runtime-path`: the binary that the configuration names for the default runtime; empty: none.
    pub runtime_path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NriConfig {
    Enabled,
    Disabled,
    Absent,
}

#[derive(Clone, Debug, PartialEq, Default)]
pub struct Disk {
    /// Bytes; `None`: unlimited.
    pub size: Option<u64>,
    /// `max-open-files`: limit of descriptors that the daemon may have open; `None`: unlimited.
    pub max_open_files: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Plugin {
    pub name: String,
    /// `index`, default "10", "20", … in the file's order; two digits.
    pub index: String,
    /// `events`: which of create, post-create, start, post-start, stop, remove; default all.
    pub events: Vec<PluginEvent>,
    /// False (`connected = false`): it connects by a `connect-plugin` call.
    pub connected: bool,
    /// `[[world.plugin.reply]]`
    pub replies: Vec<PluginReply>,
}

/// What a plugin wants each time that it replies to an event.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginReply {
    /// `to`
    pub to: RepliedEvent,
    pub wish: Wish,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// `update = "web"`, `cpu-shares = 512`, `memory-limit = 1048576`: other limits of a container.
    Update { container: String, limits: Limits },
    /// `evict = "web"`: that a container be stopped.
    Evict { container: String },
}

/// Events whose replies can hold wishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepliedEvent {
    Create,
    Stop,
    Synchronize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PluginEvent {
    Create,
    PostCreate,
    Start,
    PostStart,
    Stop,
    Remove,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    pub name: String,
    /// Empty: none.
    pub stop_signal: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sandbox {
    pub name: String,
    pub state: SandboxState,
    /// Name of the runtime handler; empty: the default.
    pub runtime_handler: String,
    /// The annotation `io.kubernetes.cri.untrusted-workload` is "true".
    pub untrusted: bool,
    /// Which of network, pid, ipc are the node's: `host-namespaces`.
    pub host_namespaces: Vec<HostNamespace>,
    /// Default `/var/log/pods/⟨name⟩`; empty: no logging.
    pub log_directory: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SandboxState {
    Ready,
    NotReady,
    /// The sandbox is removed from the service's store after its containers were made.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostNamespace {
    Network,
    Pid,
    Ipc,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    pub name: String,
    /// Default: the first sandbox.
    pub sandbox: String,
    /// Default: the first image.
    pub image: String,
    /// `id`: hexadecimal head of the id the container gets (at most 64 digits, the rest is filled
    /// up); empty: from a counter.
    pub id: String,
    /// Default `⟨name⟩.log`; empty: no logging.
    pub log_path: String,
    pub tty: bool,
    pub stdin: bool,
    pub pid_mode: PidMode,
    /// State before the first call: `created` (default), `running`, `exited`, or `absent`: it is not
    /// made beforehand (a `create` call makes it).
    pub state: InitialState,
    pub process: Process,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PidMode {
    Container,
    Pod,
    Node,
    /// `pid-mode = "target"`, `target = "db"`: a container's name, or a literal id.
    Target(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitialState {
    Absent,
    Created,
    Running,
    Exited,
}

/// What the user's process does. `[world.container.process]`
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// `runs`: a duration after its start, or `None` for "forever" (the default).
    pub runs: Option<Duration>,
    /// 0 to 255.
    pub exit_code: i32,
    /// `ignores-sigterm`
    pub ignores_sigterm: bool,
    /// `executable-missing`: the runtime's create fails.
    pub executable_missing: bool,
    /// `output`: written in order.
    pub output: Vec<Output>,
}

/// `[[world.container.process.output]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// After the process's start; default 0 s.
    pub at: Duration,
    pub stream: Stream,
    /// Bytes to write, as text, written `repeat` times (default 1) in one write.
    pub text: String,
    pub repeat: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// `[[world.path]]`
#[derive(Clone, Debug, PartialEq)]
pub struct PathEntry {
    /// Absolute, normalised.
    pub path: String,
    pub kind: PathKind,
    /// Default 0644 for a file and a pipe, 0755 for a directory; 0 for the rest.
    pub mode: u32,
    /// Where a link points; empty for the rest.
    pub target: String,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    File,
    Directory,
    Fifo,
    Symlink,
    /// The path is removed before the first call (`kind = "removed"`).
    Removed,
    /// Nothing at or below it can change from the first call on until the node is reaped
    /// (`kind = "read-only"`).
    ReadOnly,
}

/// `[[call]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub span: Span,
    /// Name of the actor; default `⟨do⟩-⟨n⟩`, n counting the calls with the same `do` from 1.
    pub name: String,
    pub action: Action,
    pub when: When,
    /// `deadline`, counted from the call's begin.
    pub deadline: Option<Duration>,
    /// `cancel-at` (counted from the call's begin) or `cancel-when` (a moment).
    pub cancel: Option<When>,
}

/// `do = …`
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `attempt`: how often a container of that name was made before, as its client counts; default 0.
    Create {
        container: String,
        attempt: u32,
    },
    Start {
        target: Target,
    },
    /// `timeout`: seconds of grace, default 0.
    Stop {
        target: Target,
        timeout: i64,
    },
    Remove {
        target: Target,
    },
    /// UpdateContainerResources; what is zero stays as it is.
    Update {
        target: Target,
        limits: Limits,
    },
    ReopenLog {
        target: Target,
    },
    Status {
        target: Target,
        verbose: bool,
    },
    List,
    StopPod {
        sandbox: String,
    },
    RemovePod {
        sandbox: String,
    },
    ConnectPlugin {
        plugin: String,
    },
    /// A plugin wants other limits of a container without having been asked.
    PluginUpdate {
        plugin: String,
        container: String,
        limits: Limits,
    },
    /// GetContainerEvents: it goes on until its stream fails.
    Events,
    Kubelet(Kubelet),
}

impl Action {
    /// The container that the call speaks of, by its name or an id.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Action::Start { target }
            | Action::Stop { target, .. }
            | Action::Remove { target }
            | Action::Update { target, .. }
            | Action::ReopenLog { target }
            | Action::Status { target, .. } => Some(target),
            _ => None,
        }
    }

    /// The container that the call names or makes.
    pub fn container(&self) -> Option<&str> {
        match (self, self.target()) {
            (Action::Create { container, .. }, _) => Some(container),
            (_, Some(Target::Container(name))) => Some(name),
            _ => None,
        }
    }
}

/// The name of the n-th container that is made of one of the world, from 1: `web`, `web-2`, `web-3`.
pub fn nth_container(name: &str, n: u32) -> String {
    if n == 1 { name.to_owned() } else { format!("{name}-{n}") }
}

/// `do = "kubelet"`: the life of one container of a pod in the hands of a kubelet. Its deadline is the
/// limit of each of its calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Kubelet {
    /// The first container that it makes; the world has it as absent.
    pub container: String,
    /// `containers`, default 3: how many it makes at most.
    pub containers: u32,
    pub restart: Restart,
    /// `timeout`: seconds of grace when it stops a container, default 30.
    pub timeout: i64,
    /// `delete-at` or `delete-when`: when it is told that the pod is deleted.
    pub delete: Option<When>,
}

impl Kubelet {
    /// The n-th container that it makes, from 1: `web`, `web-2`, `web-3`.
    pub fn container(&self, n: u32) -> String {
        nth_container(&self.container, n)
    }

    /// The name of what the kubelet `name` does with its n-th container: `kubelet-1-start-2`. A stop or
    /// removal that failed is tried again: `kubelet-1-stop-2-again-1`.
    pub fn call(name: &str, what: &str, n: u32, again: u32) -> String {
        match again {
            0 => format!("{name}-{what}-{n}"),
            again => format!("{name}-{what}-{n}-again-{again}"),
        }
    }

    /// How often a stop or removal that failed is tried again.
    pub const RETRIES: u32 = 4;

    /// The names of all that the kubelet `name` may do: its calls, the deletion of its pod, and a look at the
    /// containers for each that ended.
    pub fn actors(&self, name: &str) -> Vec<String> {
        let of_container = |n| {
            let once = ["create", "start", "relist"].map(|what| Self::call(name, what, n, 0));
            let retried = ["stop", "remove"].into_iter().flat_map(move |what| {
                (0..=Self::RETRIES).map(move |again| Self::call(name, what, n, again))
            });
            once.into_iter().chain(retried)
        };
        (1..=self.containers).flat_map(of_container).chain([Self::deletion(name)]).collect()
    }

    /// The name of the deletion of the pod of the kubelet `name`.
    pub fn deletion(name: &str) -> String {
        format!("{name}-delete")
    }
}

/// `restart`: which ends of a container have it made anew. One that was created and did not run always
/// is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    Always,
    OnFailure,
    Never,
}

/// Limits of a container; 0: not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Limits {
    /// `cpu-shares`, 2 to 262144.
    pub cpu_shares: i64,
    /// `memory-limit`, bytes.
    pub memory: i64,
}

/// `[[occurrence]]`: what happens on the node by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    pub span: Span,
    pub what: Happening,
    pub when: When,
}

/// `what = …`
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// A process ends by itself. `exit-code`: 0 to 255, default 0.
    Exit { of: Victim, code: i32 },
    /// The kernel kills a container's process for want of memory.
    Oom { container: String },
    /// The container's log is renamed to one with `.1` behind its name, as before it is opened anew.
    RotateLog { container: String },
    /// A pod's shim is killed.
    ShimExit { sandbox: String },
}

/// `container = "web"`: its process; `sandbox = "pod"`: its pause process.
#[derive(Clone, Debug, PartialEq)]
pub enum Victim {
    Container(String),
    Sandbox(String),
}

/// Which container a call names: `container = "web"`, or `id = "…"` sent as it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Container(String),
    Literal(String),
}

/// `at = "5s"` (virtual time since the first call could run) or `when = "moment"`.
#[derive(Clone, Debug, PartialEq)]
pub enum When {
    At(Duration),
    Moment(Text),
}

/// Text that may hold `{axis}` placeholders of the matrix: the name of a site or moment, a code or a
/// message.
pub type Text = String;

/// `[[fault]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub span: Span,
    /// The site: `start-1/task.create(web)#1`.
    pub at: Text,
    /// Where `at` is.
    pub at_span: Span,
    /// Where `code` is, in a fault that has one.
    pub code_span: Span,
    pub kind: FaultKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// `kind = "error"`: `code` is an error class (`not-found`) or an error number (`ENOSPC`), as the
    /// site allows; `message` replaces the description that the simulator gives.
    Error { code: Text, message: Option<Text>, effect: Effect },
    /// `kind = "delay"`, `by = "2s"`, `of = "effect"` (default) or `"reply"`.
    Delay { by: Duration, of: DelayOf },
    /// `kind = "hang"`: ends with the caller's context. `effect = "none"` (default) or "done".
    Hang { effect: Effect },
    /// `kind = "hang!"`: ends never.
    HangForever { effect: Effect },
    /// `kind = "cancel"`: the client cancels at this await.
    Cancel { effect: Effect },
    /// `kind = "deadline"`: the client's deadline passes at this await.
    Deadline { effect: Effect },
    /// `kind = "short-write"`: half of the bytes are taken.
    ShortWrite,
    /// `kind = "connection-closed"`: the plugin's or shim's connection breaks.
    ConnectionClosed { effect: Effect },
    /// `kind = "lost"`: nobody is told of it.
    Lost,
    /// `kind = "{axis}"` or `effect = "{axis}"`: another kind once the axes have their values.
    Swept(Box<FaultKeys>),
}

/// The keys of a fault whose kind or effect is a value of an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultKeys {
    pub kind: Text,
    pub code: Text,
    pub message: Option<Text>,
    pub effect: Text,
    /// With a late effect only.
    pub late: Option<Duration>,
    pub by: Option<Duration>,
    pub of: DelayOf,
}

/// `effect = "none" | "done" | "late"`; `late = "6s"` says by how much, and goes with "late" only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    None,
    Done,
    Late(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelayOf {
    Effect,
    Reply,
}

/// `[[hold]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    pub span: Span,
    /// The moment that is set aside.
    pub what: Text,
    /// The moment after which it is let go.
    pub until: Text,
    /// `across-time`: kept although time jumps.
    pub across_time: bool,
}

/// `[[clock]]`: the wall clock goes on otherwise than it did. The monotonic clock never does.
#[derive(Clone, Debug, PartialEq)]
pub struct Clock {
    pub span: Span,
    /// `at` or `when`.
    pub when: When,
    pub change: ClockChange,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ClockChange {
    /// `jump = "-1h"`: a duration, forwards or backwards.
    Jump(Text),
    /// `drift = 500`: from then on it gains that many parts per million of monotonic time; negative:
    /// it loses them.
    Drift(i64),
}

/// `[[crash]]`: the end of the daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct Crash {
    pub span: Span,
    /// `at`, or the moment after which it strikes.
    pub when: When,
    pub kind: CrashKind,
    /// `down`: how long until the daemon is started again, default 1 s; `None` (`restart = false`): only
    /// once the node is reaped.
    pub down: Option<Duration>,
    /// With `kind = "power"`: pending operations that are lost, or `all`.
    pub lost: Vec<Text>,
    /// With `kind = "power"`: pending operations that are torn.
    pub torn: Vec<Text>,
}

/// `kind = "daemon"` (default) or `"power"`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashKind {
    /// The daemon is killed.
    Daemon,
    /// The node loses power.
    Power,
}

/// One axis of `[matrix]`: `{name}` in texts is replaced by each value in turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub span: Span,
    pub name: String,
    pub values: AxisValues,
}

/// In a sweep, in the place of an actor: all of them.
pub const EVERYBODY: &str = "*";

#[derive(Clone, Debug, PartialEq)]
pub enum AxisValues {
    /// `code = ["not-found", "unknown"]`
    List(Vec<String>),
    /// `moment = { every-moment-of = "start-1" }`: each moment of the actor in a run without the
    /// entries that use this axis; `from`: the first of them.
    EveryMomentOf { actor: String, from: Option<String> },
    /// `site = { every-site-of = "start-1" }`: each site of the actor, inner calls included.
    EverySiteOf(String),
    /// `site = { every-operation-of = "start-1" }`: of each operation the actor's first site.
    EveryOperationOf(String),
}

/// Restricts an entry to profiles and cases; empty lists mean all.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Filter {
    pub profiles: Vec<String>,
    /// `cases = ["code=not-found", "moment=start-1/a#1.effect..start-1/b#1.reply"]`: an entry applies
    /// if any of them matches. `a..b` is an inclusive range in the order of the axis' values. Several
    /// axes are joined by `, `.
    pub cases: Vec<CasePattern>,
}

/// Axis names and the range of their values; all must match.
#[derive(Clone, Debug, PartialEq)]
pub struct CasePattern(pub Vec<(String, ValueRange)>);

#[derive(Clone, Debug, PartialEq)]
pub enum ValueRange {
    One(String),
    /// Both ends included.
    Range(String, String),
}

/// `[[expect]]`: what is not named is not checked. All entries whose filter matches apply.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Expect {
    pub span: Span,
    pub filter: Filter,
    /// `[[expect.answer]]`
    pub answers: Vec<ExpectAnswer>,
    /// `[[expect.status]]`: once quiet, before anything is reaped.
    pub statuses: Vec<ExpectStatus>,
    /// `[expect.events]`: container name = list of `created`, `started`, `stopped`, `deleted`: all
    /// events of the container until quiet, in order, without those before the first call.
    pub events: BTreeMap<String, Vec<String>>,
    /// `left-when-quiet`: everything of the scenario's containers that is on the node once quiet,
    /// sorted: "task web created", "process web", "pipe web stdout". `None`: not checked.
    pub left_when_quiet: Option<Vec<String>>,
    /// `left-when-reaped`
    pub left_when_reaped: Option<Vec<String>>,
    /// `order`: lists of moments, each list to be found in this order among the moments of the run.
    pub order: Vec<Vec<Text>>,
    /// `[expect.log]`: container name = its log lines without time stamps (`stdout F hello`), once
    /// reaped.
    pub logs: BTreeMap<String, Vec<String>>,
    /// `panic`: a text that the panic of the service contains.
    pub panic: Option<String>,
    /// `not-applied`: sites and moments of decisions that cannot come about there.
    pub not_applied: Vec<Text>,
}

impl Expect {
    /// Whether the entry is about a profile at all: one that it names or, where it names none, one of
    /// an upstream version.
    pub fn is_about(&self, profile: &Profile) -> bool {
        match &self.filter.profiles[..] {
            [] => Profile::ALL.contains(profile),
            named => named.iter().any(|name| name == profile.name),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Default)]
pub struct ExpectAnswer {
    pub span: Span,
    /// The call's name.
    pub call: String,
    /// `code`: "ok", an error class, or "none" (no answer of the service at all).
    pub code: Text,
    /// `message`: the whole text; `None`: not checked. Container names stand as `⟨web⟩` for their ids.
    pub message: Option<Text>,
    /// `client = "deadline-exceeded"`: what the client saw, where it gave up before the answer. Same
    /// words as `code`.
    pub client: Option<Text>,
    /// For a `status` call: the state in the answer (`created` …).
    pub state: Option<String>,
    /// For an `events` call: what its stream brought until quiet, as `web started`.
    pub received: Option<Vec<String>>,
}

/// Every field that is given must hold. `[[expect.status]]`
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ExpectStatus {
    pub span: Span,
    pub container: String,
    /// `created`, `running`, `exited`, `unknown`, or `gone`: the container is not known.
    pub state: Option<String>,
    pub exit_code: Option<i32>,
    pub reason: Option<String>,
    pub message: Option<Text>,
    /// `started = true`: StartedAt is set.
    pub started: Option<bool>,
    pub finished: Option<bool>,
}

/// `[[violation]]`: an invariant that is expected to break, exactly there.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedViolation {
    pub span: Span,
    pub filter: Filter,
    /// `I1` … `I17`
    pub invariant: String,
    pub cause: Cause,
    /// `because`: in words; may be empty.
    pub because: String,
}

impl ExpectedViolation {
    /// Whether the entry is about a profile at all: one that it names or, where it names none, one
    /// that has its quirk and is not of another runtime than containerd.
    pub fn is_about(&self, profile: &Profile) -> bool {
        if !self.filter.profiles.is_empty() {
            return self.filter.profiles.iter().any(|name| name == profile.name);
        }
        if under_test::is_foreign(profile) {
            return false;
        }
        match &self.cause {
            Cause::Quirk(id) => profile.quirks.iter().any(|quirk| quirk.id() == id),
            Cause::Forced => true,
        }
    }
}

/// One of `quirk = "id"` and `forced = true`.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    Quirk(String),
    /// The fault is one that no real node produces.
    Forced,
}
