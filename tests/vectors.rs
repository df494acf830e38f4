//! Runs the tables of `tests/vectors/` against the rules of the code under test. The format is
//! described in `tests/vectors/README.md`.
#![expect(clippy::disallowed_methods, reason = "tests read files, and are no part of a run")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use serde::de::{self, DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use shakedown::engine::Engine;
use shakedown::oracle::{Menus, Script, Scripted};
use shakedown::scenario::duration;
use shakedown::turnstile::{Limits, Sim, Symbol};
use shakedown::world::{FIRST_BOOT, Roots, SimPorts, World};
use shakedown_cri::backoff::{Backoff, Queue};
use shakedown_cri::client::Record;
use shakedown_cri::config::{Config, RuntimeConfig, START_FAILURE_REASON};
use shakedown_cri::cri::{
    ContainerConfig, ContainerFilter, ContainerState, ContainerSummary, EventKind, NamespaceMode,
    NamespaceOptions, SandboxConfig, SandboxState,
};
use shakedown_cri::io::LineSplitter;
use shakedown_cri::ports::{
    self, CancelToken, Clock, Code, Context, Error, Exit, Image, Instant, Ports, Runtime,
};
use shakedown_cri::quirks::Profile;
use shakedown_cri::quote::quote;
use shakedown_cri::runtime_handler::sandbox_runtime;
use shakedown_cri::status::{Seen, image_names};
use shakedown_cri::stop_signal::parse_signal;
use shakedown_cri::store::{
    Container, ContainerStore, HugepageLimit, LabelStore, LinuxResources, Metadata, NameIndex,
    PrefixIndex, Resources, Sandbox, SandboxMetadata, SandboxStatus, SandboxStore, Status,
    StatusStorage, WindowsResources, container_name,
};

/// A file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    /// Version of the format.
    vectors: u32,
    kind: String,
    /// Where the table comes from.
    source: String,
    cases: Vec<Value>,
}

/// What became of a case: why it is wrong, or nothing.
type Outcome = Result<(), String>;

trait Case: DeserializeOwned {
    fn check(self) -> Outcome;
}

macro_rules! kinds {
    ($($name:literal => $case:ty,)*) => {
        const KINDS: &[&str] = &[$($name),*];

        fn check(kind: &str, case: Value) -> Option<Outcome> {
            match kind {
                $($name => Some(
                    serde_json::from_value::<$case>(case)
                        .map_err(|error| error.to_string())
                        .and_then(Case::check),
                ),)*
                _ => None,
            }
        }
    };
}

kinds! {
    "status-state" => StatusState,
    "status-encoding" => StatusEncoding,
    "status-change" => StatusChange,
    "status-storage" => StatusStorageScript,
    "client-view" => ClientView,
    "image-names" => ImageNames,
    "names-of-states" => StateName,
    "container-metadata" => ContainerMetadata,
    "container-name" => ContainerName,
    "prefix-index" => PrefixScript,
    "container-store" => ContainerScript,
    "sandbox-store" => SandboxScript,
    "name-index" => NameScript,
    "label-store" => LabelScript,
    "list-filter" => ListFilter,
    "log-splitting" => LogSplitting,
    "back-off" => BackOffScript,
    "runtime-handler" => RuntimeHandler,
    "stop-signal" => StopSignal,
    "wait-stopped" => WaitStopped,
    "quoting" => Quoting,
    "rpc-error" => RpcError,
}

/// Everything that is wrong with a file and its cases, a line each.
fn check_file(path: &str, text: &str) -> Vec<String> {
    let file: File = match serde_json::from_str(text) {
        Ok(file) => file,
        Err(error) => return vec![format!("{path}: {error}")],
    };
    if file.vectors != 1 {
        return vec![format!("{path}: format {} is not known; this is format 1", file.vectors)];
    }
    if file.source.trim().is_empty() || file.cases.is_empty() {
        return vec![format!("{path}: a table has a source, and cases")];
    }
    let mut wrong = Vec::new();
    let mut names = BTreeSet::new();
    for (number, mut case) in file.cases.into_iter().enumerate() {
        let name = case.as_object_mut().and_then(|case| case.remove("name"));
        let name = name.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        let at = format!("{path}: case {} `{name}`", number + 1);
        if name.is_empty() || !names.insert(name) {
            wrong.push(format!("{at}: a case has a name of its own"));
        }
        match check(&file.kind, case) {
            Some(Ok(())) => {}
            Some(Err(why)) => wrong.push(format!("{at}: {why}")),
            None => {
                let near = shakedown::scenario::nearest(&file.kind, KINDS.iter().copied());
                let help =
                    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return vec![format!("{path}: unknown kind `{}`{help}", file.kind)];
            }
        }
    }
    wrong
}

#[test]
fn the_rules_are_those_of_the_tables() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .expect("the tables are there")
        .map(|entry| entry.expect("an entry of the directory").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    let mut wrong = Vec::new();
    let mut kinds = BTreeSet::new();
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("a table can be read");
        let name = path.file_name().expect("a file has a name").to_string_lossy();
        wrong.extend(check_file(&format!("tests/vectors/{name}"), &text));
        if let Ok(file) = serde_json::from_str::<File>(&text) {
            kinds.insert(file.kind);
        }
    }
    let missing: Vec<_> = KINDS.iter().filter(|kind| !kinds.contains(**kind)).collect();
    assert!(wrong.is_empty(), "{} mistakes:\n{}", wrong.len(), wrong.join("\n"));
    assert!(missing.is_empty(), "no table of the kinds {missing:?}");
}

#[test]
fn a_mistake_is_reported_with_its_file_and_case() {
    let head = r#""vectors": 1, "source": "here", "kind""#;
    for (text, wrong) in [
        ("{".to_owned(), "a.json: EOF while parsing an object at line 1 column 1"),
        (format!(r#"{{{head}: "quoting"}}"#), "a.json: missing field `cases` at line 1 column 51"),
        (
            format!(r#"{{{head}: "quotign", "cases": [{{"name": "a"}}]}}"#),
            "a.json: unknown kind `quotign`; did you mean `quoting`?",
        ),
        (
            format!(r#"{{{head}: "quoting", "cases": [{{"text": "a", "quoted": "\"a\""}}]}}"#),
            "a.json: case 1 ``: a case has a name of its own",
        ),
        (
            format!(r#"{{{head}: "quoting", "cases": [{{"name": "a", "txet": "a"}}]}}"#),
            "a.json: case 1 `a`: unknown field `txet`, expected `text` or `quoted`",
        ),
        (
            format!(
                r#"{{{head}: "quoting", "cases": [{{"name": "a", "text": "a", "quoted": "a"}}]}}"#
            ),
            r#"a.json: case 1 `a`: the quoted text is "\"a\"", not "a""#,
        ),
    ] {
        assert_eq!(check_file("a.json", &text), [wrong], "{text}");
    }
}

fn same<T: PartialEq + fmt::Debug>(what: &str, is: T, wanted: T) -> Outcome {
    if is == wanted { Ok(()) } else { Err(format!("{what} is {is:?}, not {wanted:?}")) }
}

/// An outcome that may be an error: `error` its whole text, `fails` that there is one.
fn same_error<T>(
    result: &Result<T, Error>,
    error: Option<&String>,
    code: Option<CodeName>,
    fails: bool,
) -> Outcome {
    match (result, error) {
        (Ok(_), None) if !fails && code.is_none() => Ok(()),
        (Ok(_), _) => Err("it succeeds".to_owned()),
        (Err(is), None) if !fails && code.is_none() => Err(format!("it fails: {is}")),
        (Err(is), error) => {
            error.map_or(Ok(()), |error| same("the error", &is.message, error))?;
            code.map_or(Ok(()), |code| same("the class", is.code, code.0))
        }
    }
}

/// Where a list's items failed, its number in front.
fn at_step(number: usize, outcome: Outcome) -> Outcome {
    outcome.map_err(|why| format!("step {}: {why}", number + 1))
}

/// Bytes: a text, or a list of texts, `{"text": …, "times": …}` and `{"bytes": […]}`.
#[derive(Clone, Debug, Default, PartialEq)]
struct Bytes(Vec<u8>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    #[serde(default)]
    text: String,
    #[serde(default)]
    bytes: Vec<u8>,
    #[serde(default = "one")]
    times: usize,
}

fn one() -> usize {
    1
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or a list of texts and of objects with `text` or `bytes`, and `times`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
        Ok(Bytes(text.as_bytes().to_vec()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bytes, A::Error> {
        let mut all = Vec::new();
        while let Some(value) = list.next_element::<Value>()? {
            if let Value::String(text) = value {
                all.extend(text.into_bytes());
                continue;
            }
            let piece: Piece = serde_json::from_value(value).map_err(de::Error::custom)?;
            let content = [piece.text.as_bytes(), &piece.bytes].concat();
            all.extend(content.repeat(piece.times));
        }
        Ok(Bytes(all))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

/// A name out of a fixed set.
macro_rules! word {
    ($type:ident($value:ty): $($name:literal => $of:expr,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq)]
        struct $type($value);

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let word = String::deserialize(deserializer)?;
                match word.as_str() {
                    $($name => Ok($type($of)),)*
                    _ => Err(de::Error::unknown_variant(&word, &[$($name),*])),
                }
            }
        }
    };
}

word! { CodeName(Code):
    "invalid-argument" => Code::InvalidArgument,
    "not-found" => Code::NotFound,
    "already-exists" => Code::AlreadyExists,
    "failed-precondition" => Code::FailedPrecondition,
    "unavailable" => Code::Unavailable,
    "unimplemented" => Code::Unimplemented,
    "cancelled" => Code::Cancelled,
    "deadline-exceeded" => Code::DeadlineExceeded,
    "unknown" => Code::Unknown,
}
word! { State(ContainerState):
    "created" => ContainerState::Created,
    "running" => ContainerState::Running,
    "exited" => ContainerState::Exited,
    "unknown" => ContainerState::Unknown,
}
word! { PodState(SandboxState):
    "ready" => SandboxState::Ready,
    "not-ready" => SandboxState::NotReady,
    "unknown" => SandboxState::Unknown,
}
word! { Kind(EventKind):
    "created" => EventKind::Created,
    "started" => EventKind::Started,
    "stopped" => EventKind::Stopped,
    "deleted" => EventKind::Deleted,
}
word! { Mode(NamespaceMode):
    "pod" => NamespaceMode::Pod,
    "container" => NamespaceMode::Container,
    "node" => NamespaceMode::Node,
    "target" => NamespaceMode::Target,
}

/// A duration as scenario files write it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Time(Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration::parse(&text).map(Time).map_err(de::Error::custom)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct StatusFields {
    pid: u32,
    created_at: i64,
    started_at: i64,
    finished_at: i64,
    exit_code: i32,
    reason: String,
    message: String,
    resources: Option<ResourceFields>,
    starting: bool,
    removing: bool,
    unknown: bool,
}

/// Resources under the names of the CRI, as they are on disk.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ResourceFields {
    linux: Option<LinuxFields>,
    windows: Option<WindowsFields>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LinuxFields {
    cpu_period: i64,
    cpu_quota: i64,
    cpu_shares: i64,
    memory_limit_in_bytes: i64,
    oom_score_adj: i64,
    cpuset_cpus: String,
    cpuset_mems: String,
    hugepage_limits: Vec<PageFields>,
    unified: BTreeMap<String, String>,
    memory_swap_limit_in_bytes: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PageFields {
    page_size: String,
    limit: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WindowsFields {
    cpu_shares: i64,
    cpu_count: i64,
    cpu_maximum: i64,
    memory_limit_in_bytes: i64,
    rootfs_size_in_bytes: i64,
}

impl StatusFields {
    fn status(&self) -> Status {
        Status {
            pid: self.pid,
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            exit_code: self.exit_code,
            reason: self.reason.clone(),
            message: self.message.clone(),
            resources: self.resources.as_ref().map(ResourceFields::resources),
            starting: self.starting,
            removing: self.removing,
            told: Default::default(),
            unknown: self.unknown,
        }
    }
}

impl ResourceFields {
    fn resources(&self) -> Resources {
        let linux = self.linux.as_ref().map(|of| LinuxResources {
            cpu_period: of.cpu_period,
            cpu_quota: of.cpu_quota,
            cpu_shares: of.cpu_shares,
            memory_limit_in_bytes: of.memory_limit_in_bytes,
            oom_score_adj: of.oom_score_adj,
            cpuset_cpus: of.cpuset_cpus.clone(),
            cpuset_mems: of.cpuset_mems.clone(),
            hugepage_limits: (of.hugepage_limits.iter())
                .map(|of| HugepageLimit { page_size: of.page_size.clone(), limit: of.limit })
                .collect(),
            unified: of.unified.clone(),
            memory_swap_limit_in_bytes: of.memory_swap_limit_in_bytes,
        });
        let windows = self.windows.as_ref().map(|of| WindowsResources {
            cpu_shares: of.cpu_shares,
            cpu_count: of.cpu_count,
            cpu_maximum: of.cpu_maximum,
            memory_limit_in_bytes: of.memory_limit_in_bytes,
            rootfs_size_in_bytes: of.rootfs_size_in_bytes,
        });
        Resources { linux, windows }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StatusState {
    status: StatusFields,
    state: State,
}

impl Case for StatusState {
    fn check(self) -> Outcome {
        same("the state", self.status.status().state(), self.state.0)
    }
}

/// From a status to a file and back, or from a file alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StatusEncoding {
    status: Option<StatusFields>,
    encoded: Option<Bytes>,
    decoded: Option<StatusFields>,
    error: Option<String>,
    #[serde(default)]
    fails: bool,
}

impl Case for StatusEncoding {
    fn check(self) -> Outcome {
        let raw = match (&self.status, &self.encoded) {
            (Some(status), wanted) => {
                let raw = status.status().encode();
                if let Some(wanted) = wanted {
                    same("the encoding", quote(&raw), quote(&wanted.0))?;
                }
                raw
            }
            (None, Some(encoded)) => encoded.0.clone(),
            (None, None) => return Err("there is neither `status` nor `encoded`".to_owned()),
        };
        let decodes = self.decoded.is_some() || self.error.is_some() || self.fails;
        if !decodes {
            return if self.status.is_some() && self.encoded.is_some() {
                Ok(())
            } else {
                Err("nothing is expected".to_owned())
            };
        }
        let decoded = Status::decode(&raw);
        let result = &decoded;
        same_error(result, self.error.as_ref(), None, self.fails)?;
        match (decoded, self.decoded) {
            (Ok(is), Some(wanted)) => same("the decoded status", is, wanted.status()),
            _ => Ok(()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum Change {
    Started { pid: u32, at: i64 },
    StartFailed { reason: Option<String>, message: String, at: i64 },
    Exited { code: i32, at: i64 },
    OomKilled,
    SetStarting,
    SetRemoving,
}

/// A rule by which a status changes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StatusChange {
    status: StatusFields,
    change: Change,
    after: Option<StatusFields>,
    error: Option<String>,
    #[serde(default)]
    fails: bool,
}

impl Case for StatusChange {
    fn check(self) -> Outcome {
        let status = self.status.status();
        let changed = match self.change {
            Change::Started { pid, at } => Ok(status.started(pid, at)),
            Change::StartFailed { reason, message, at } => {
                let reason = reason.as_deref().unwrap_or(START_FAILURE_REASON);
                Ok(status.start_failed(reason, &message, at))
            }
            Change::OomKilled => Ok(status.oom_killed()),
            Change::Exited { code, at } => Ok(status.exited(Exit { code, at })),
            Change::SetStarting => status.set_starting(),
            Change::SetRemoving => status.set_removing(),
        };
        same_error(&changed, self.error.as_ref(), None, self.fails)?;
        match (changed, self.after) {
            (Ok(is), Some(wanted)) => same("the status", is, wanted.status()),
            (Ok(_), None) => Err("`after` is missing".to_owned()),
            (Err(_), _) => Ok(()),
        }
    }
}

/// Ports of a simulated node without any disturbance.
fn on_a_node<F: Future<Output = Outcome> + 'static>(
    script: impl FnOnce(Sim, SimPorts) -> F,
) -> Outcome {
    let sim = Sim::new(
        World::new(Profile::default().quirks),
        Script::default(),
        Box::new(Scripted::new(&Script::default())),
        Rc::new(Menus::new()),
        Limits::default(),
    );
    let roots = Roots { root: "/root".into(), state: "/state".into(), logs: "/logs".into() };
    let ports = SimPorts::new(&sim, Rc::new(roots), FIRST_BOOT);
    let script = script(sim.clone(), ports);
    let outcome = Rc::new(Cell::new(Err("the script never ended".to_owned())));
    let out = outcome.clone();
    Engine::default().run(&sim, || {
        let script = Box::pin(async move { out.set(script.await) });
        sim.start_task(Symbol::of("script"), script);
        sim.run_until(None)
    });
    outcome.replace(Ok(()))
}

const CONTAINER_ROOT: &str = "/root/containers/web";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StatusStorageScript {
    initial: StatusFields,
    steps: Vec<StorageStep>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StorageCall {
    Get,
    Load,
    Update,
    UpdateSync,
    SetStarting,
    ResetStarting,
    SetRemoving,
    ResetRemoving,
    Delete,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StorageStep {
    r#do: StorageCall,
    /// For an update: the new status, or the error of the change.
    to: Option<StatusFields>,
    fail: Option<String>,
    /// The call's own outcome.
    error: Option<String>,
    #[serde(default)]
    fails: bool,
    /// What a get or load brings.
    returns: Option<StatusFields>,
    /// What is so afterwards.
    memory: Option<StatusFields>,
    disk: Option<StatusFields>,
    #[serde(default)]
    no_file: bool,
}

async fn stored_status<P: Ports>(ports: &P) -> Result<Status, Error> {
    StatusStorage::<P>::parse(&StatusStorage::read(ports, CONTAINER_ROOT).await?)
}

impl StorageStep {
    async fn check<P: Ports>(&self, ports: &P, storage: &StatusStorage<P>) -> Outcome {
        let change = |_: Status| match (&self.to, &self.fail) {
            (_, Some(text)) => Err(Error::unknown(text.clone())),
            (Some(to), None) => Ok(to.status()),
            (None, None) => Err(Error::unknown("an update needs `to` or `fail`")),
        };
        let mut got = None;
        let result = match self.r#do {
            StorageCall::Get => {
                got = Some(storage.get().await);
                Ok(())
            }
            StorageCall::Load => stored_status(ports).await.map(|loaded| got = Some(loaded)),
            StorageCall::Update => storage.update(change).await,
            StorageCall::UpdateSync => storage.update_sync(change).await,
            StorageCall::SetStarting => storage.set_starting().await,
            StorageCall::ResetStarting => storage.reset_starting().await,
            StorageCall::SetRemoving => storage.set_removing().await.map(drop),
            StorageCall::ResetRemoving => storage.reset_removing().await,
            StorageCall::Delete => storage.delete().await,
        };
        same_error(&result, self.error.as_ref(), None, self.fails)?;
        if let Some(wanted) = &self.returns {
            same("what is returned", got, Some(wanted.status()))?;
        }
        if let Some(wanted) = &self.memory {
            same("the status in memory", storage.get().await, wanted.status())?;
        }
        let loaded = stored_status(ports).await;
        if let Some(wanted) = &self.disk {
            same("the status on disk", loaded.as_ref().ok(), Some(&wanted.status()))?;
        }
        match loaded {
            Ok(_) if self.no_file => Err("the file is there".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Case for StatusStorageScript {
    fn check(self) -> Outcome {
        on_a_node(|sim, ports| async move {
            let made = sim.with_world(|world| world.fs.make_dir_all(CONTAINER_ROOT, 0o755));
            made.map_err(|error| error.to_string())?;
            let initial = self.initial.status();
            let (storage, written) = StatusStorage::store(
                &ports,
                Profile::default().quirks,
                CONTAINER_ROOT,
                "web",
                initial,
            )
            .await;
            written.map_err(|error| error.message)?;
            for (number, step) in self.steps.iter().enumerate() {
                at_step(number, step.check(&ports, &storage).await)?;
            }
            Ok(())
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ClientView {
    status: StatusFields,
    state: State,
    reason: String,
    started_at: i64,
    finished_at: i64,
}

impl Case for ClientView {
    fn check(self) -> Outcome {
        let status = self.status.status();
        let wanted = Seen {
            state: self.state.0,
            reason: &self.reason,
            started_at: self.started_at,
            finished_at: self.finished_at,
        };
        same("what a client sees", Seen::of(&status), wanted)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct KnownImage {
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    digests: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ImageNames {
    /// Of the container's config and metadata.
    image: String,
    image_ref: String,
    /// The image, if the image store still has it.
    known: Option<KnownImage>,
    shown_image: String,
    shown_ref: String,
}

impl Case for ImageNames {
    fn check(self) -> Outcome {
        let known = self.known.map(|known| Image {
            id: self.image_ref.clone(),
            tags: known.tags,
            digests: known.digests,
            stop_signal: String::new(),
        });
        let shown = image_names(&self.image, &self.image_ref, known.as_ref());
        same("what is shown", shown, (self.shown_image, self.shown_ref))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StateName {
    container: Option<State>,
    sandbox: Option<PodState>,
    event: Option<Kind>,
    text: String,
    /// The CRI's number, of an event.
    number: Option<i32>,
}

impl Case for StateName {
    fn check(self) -> Outcome {
        let (text, number) = match (self.container, self.sandbox, self.event) {
            (Some(State(state)), None, None) => (state.name(), None),
            (None, Some(PodState(state)), None) => (state.name(), None),
            (None, None, Some(Kind(kind))) => (kind.name(), Some(kind.number())),
            _ => return Err("one of `container`, `sandbox` and `event` is needed".to_owned()),
        };
        same("the name", text, self.text.as_str())?;
        self.number.map_or(Ok(()), |wanted| same("the number", number, Some(wanted)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct MetadataFields {
    id: String,
    name: String,
    sandbox_id: String,
    #[serde(default)]
    image_ref: String,
    #[serde(default)]
    log_path: String,
    #[serde(default)]
    stop_signal: String,
    #[serde(default)]
    process_label: String,
    #[serde(default)]
    config: ConfigFields,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct ConfigFields {
    name: String,
    attempt: u32,
    image: String,
    log_path: String,
    tty: bool,
    stdin: bool,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    args: Vec<String>,
    env: Vec<String>,
}

/// The container's metadata in its record: from the fields to the extension and back, or from that
/// alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ContainerMetadata {
    metadata: Option<MetadataFields>,
    encoded: Option<Bytes>,
    error: Option<String>,
    #[serde(default)]
    fails: bool,
}

impl Case for ContainerMetadata {
    fn check(self) -> Outcome {
        let wanted = self.metadata.map(|of| Metadata {
            id: of.id,
            name: of.name,
            sandbox_id: of.sandbox_id,
            config: ContainerConfig {
                name: of.config.name,
                attempt: of.config.attempt,
                image: of.config.image,
                log_path: of.config.log_path,
                tty: of.config.tty,
                stdin: of.config.stdin,
                labels: of.config.labels.into_iter().collect(),
                annotations: of.config.annotations.into_iter().collect(),
                args: of.config.args,
                env: of.config.env,
                linux: None,
            },
            image_ref: of.image_ref,
            log_path: of.log_path,
            stop_signal: of.stop_signal,
            process_label: of.process_label,
        });
        let raw = match (&wanted, self.encoded) {
            (_, Some(encoded)) => encoded.0,
            (Some(metadata), None) => metadata.encode(),
            (None, None) => return Err("there is neither `metadata` nor `encoded`".to_owned()),
        };
        let decoded = Metadata::decode(&raw);
        let result = &decoded;
        same_error(result, self.error.as_ref(), None, self.fails)?;
        match (decoded, wanted) {
            (Ok(is), Some(wanted)) => same("the metadata", is, wanted),
            _ => Ok(()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ContainerName {
    container: String,
    attempt: u32,
    pod: String,
    namespace: String,
    uid: String,
    full: String,
}

impl Case for ContainerName {
    fn check(self) -> Outcome {
        let config = ContainerConfig {
            name: self.container,
            attempt: self.attempt,
            ..ContainerConfig::default()
        };
        let sandbox = SandboxConfig {
            name: self.pod,
            namespace: self.namespace,
            uid: self.uid,
            ..SandboxConfig::default()
        };
        same("the name", container_name(&config, &sandbox), self.full)
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum IndexCall {
    Add,
    Get,
    List,
    Delete,
}

/// A step of an index or a store. `id` may be a prefix, except for `add`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct IndexStep {
    r#do: IndexCall,
    #[serde(default)]
    id: String,
    /// Of a container that is added.
    #[serde(default)]
    status: StatusFields,
    #[serde(default)]
    process_label: String,
    /// Of a sandbox that is added.
    state: Option<PodState>,
    /// What a get brings: the whole id, and whether the stop channel is closed.
    found: Option<String>,
    stopped: Option<bool>,
    /// What a list brings, in any order.
    ids: Option<BTreeSet<String>>,
    error: Option<String>,
    code: Option<CodeName>,
    #[serde(default)]
    fails: bool,
}

impl IndexStep {
    /// `found`: what a get brought, with whether it is stopped.
    fn compare(&self, result: Result<Option<(String, bool)>, Error>) -> Outcome {
        same_error(&result, self.error.as_ref(), self.code, self.fails)?;
        let (found, stopped) = result.ok().flatten().unzip();
        if let Some(wanted) = &self.found {
            same("what is found", found.as_ref(), Some(wanted))?;
        }
        self.stopped.map_or(Ok(()), |wanted| same("whether it is stopped", stopped, Some(wanted)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrefixScript {
    steps: Vec<IndexStep>,
}

impl Case for PrefixScript {
    fn check(self) -> Outcome {
        let mut index = PrefixIndex::default();
        for (number, step) in self.steps.iter().enumerate() {
            let result = match step.r#do {
                IndexCall::Add => index.add(&step.id).map(|()| None),
                IndexCall::Get => index.get(&step.id).map(|id| Some((id.to_owned(), false))),
                IndexCall::List => return Err("an index has no list".to_owned()),
                IndexCall::Delete => {
                    index.delete(&step.id);
                    Ok(None)
                }
            };
            at_step(number, step.compare(result))?;
        }
        Ok(())
    }
}

fn record_of<P: Ports>(ports: &P, id: &str) -> Record<P> {
    let record = ports::Record { id: id.to_owned(), ..ports::Record::default() };
    Record::new(ports.clone(), Profile::default().quirks, record)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContainerScript {
    steps: Vec<IndexStep>,
}

async fn container_of<P: Ports>(
    sim: &Sim,
    ports: &P,
    id: &str,
    status: &StatusFields,
    process_label: &str,
) -> Result<Container<P>, Error> {
    let root = format!("/root/containers/{id}");
    sim.with_world(|world| world.fs.make_dir_all(&root, 0o755))?;
    let status = status.status();
    let state = status.state();
    let quirks = Profile::default().quirks;
    let (storage, written) = StatusStorage::store(ports, quirks, &root, id, status).await;
    written?;
    let meta = Metadata {
        id: id.to_owned(),
        process_label: process_label.to_owned(),
        ..Metadata::default()
    };
    Ok(Container::new(ports, meta, storage, state, record_of(ports, id), None))
}

impl Case for ContainerScript {
    fn check(self) -> Outcome {
        use shakedown_cri::ports::Signal;

        on_a_node(|sim, ports| async move {
            let store = ContainerStore::new(&ports);
            for (number, step) in self.steps.iter().enumerate() {
                let id = &step.id;
                let result = match step.r#do {
                    IndexCall::Add => {
                        let label = &step.process_label;
                        match container_of(&sim, &ports, id, &step.status, label).await {
                            Ok(container) => store.add(container).await.map(|()| None),
                            Err(error) => Err(error),
                        }
                    }
                    IndexCall::Get => store.get(id).await.map(|container| {
                        Some((container.id().to_owned(), container.stopped.is_set()))
                    }),
                    IndexCall::List => {
                        let all = store.list().await;
                        let ids = all.iter().map(|container| container.id().to_owned()).collect();
                        at_step(number, same("the list", Some(ids), step.ids.clone()))?;
                        Ok(None)
                    }
                    IndexCall::Delete => {
                        store.delete(id, Profile::default().quirks).await;
                        Ok(None)
                    }
                };
                at_step(number, step.compare(result))?;
            }
            Ok(())
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SandboxScript {
    steps: Vec<IndexStep>,
}

impl Case for SandboxScript {
    fn check(self) -> Outcome {
        use shakedown_cri::ports::Signal;

        on_a_node(|_, ports| async move {
            let store = SandboxStore::new(&ports);
            for (number, step) in self.steps.iter().enumerate() {
                let id = &step.id;
                let result = match step.r#do {
                    IndexCall::Add => {
                        let meta = SandboxMetadata { id: id.clone(), ..SandboxMetadata::default() };
                        let status = SandboxStatus {
                            pid: 0,
                            created_at: 0,
                            exited_at: 0,
                            exit_status: 0,
                            state: step.state.map_or(SandboxState::Unknown, |state| state.0),
                        };
                        let sandbox = Sandbox::new(&ports, meta, status, record_of(&ports, id));
                        store.add(sandbox).await.map(|()| None)
                    }
                    IndexCall::Get => store
                        .get(id)
                        .await
                        .map(|sandbox| Some((sandbox.id().to_owned(), sandbox.stopped.is_set()))),
                    IndexCall::List => {
                        let all = store.list().await;
                        let ids = all.iter().map(|sandbox| sandbox.id().to_owned()).collect();
                        at_step(number, same("the list", Some(ids), step.ids.clone()))?;
                        Ok(None)
                    }
                    IndexCall::Delete => {
                        store.delete(id).await;
                        Ok(None)
                    }
                };
                at_step(number, step.compare(result))?;
            }
            Ok(())
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "do")]
enum NameStep {
    Reserve {
        name: String,
        key: String,
        error: Option<String>,
        #[serde(default)]
        fails: bool,
    },
    ReleaseByName {
        name: String,
    },
    ReleaseByKey {
        key: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NameScript {
    steps: Vec<NameStep>,
}

impl Case for NameScript {
    fn check(self) -> Outcome {
        on_a_node(|_, ports| async move {
            let names = NameIndex::new(&ports);
            for (number, step) in self.steps.iter().enumerate() {
                match step {
                    NameStep::Reserve { name, key, error, fails } => {
                        let reserved = names.reserve(name, key).await;
                        let result = &reserved;
                        at_step(number, same_error(result, error.as_ref(), None, *fails))?;
                    }
                    NameStep::ReleaseByName { name } => names.release_by_name(name).await,
                    NameStep::ReleaseByKey { key } => names.release_by_id(key).await,
                }
            }
            Ok(())
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "do")]
enum LabelStep {
    Reserve {
        label: String,
        /// The level was not in use: SELinux is told to keep it.
        first: Option<bool>,
        error: Option<String>,
        #[serde(default)]
        fails: bool,
        levels: Option<BTreeMap<String, u32>>,
    },
    Release {
        label: String,
        /// Nobody uses the level any more: SELinux is told that it is free.
        last: Option<bool>,
        levels: Option<BTreeMap<String, u32>>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelScript {
    steps: Vec<LabelStep>,
}

impl Case for LabelScript {
    fn check(self) -> Outcome {
        let mut labels = LabelStore::default();
        for (number, step) in self.steps.into_iter().enumerate() {
            let (outcome, levels) = match step {
                LabelStep::Reserve { label, first, error, fails, levels } => {
                    let reserved = labels.reserve(&label);
                    let result = &reserved;
                    let outcome = same_error(result, error.as_ref(), None, fails);
                    let is_first = first.map_or(Ok(()), |first| {
                        same("whether it is the first", reserved.ok(), Some(first))
                    });
                    (outcome.and(is_first), levels)
                }
                LabelStep::Release { label, last, levels } => {
                    let is_last = labels.release(&label);
                    let outcome =
                        last.map_or(Ok(()), |last| same("whether it is the last", is_last, last));
                    (outcome, levels)
                }
            };
            at_step(number, outcome)?;
            if let Some(levels) = levels {
                at_step(number, same("the levels", labels.users(), &levels))?;
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ListedContainer {
    id: String,
    #[serde(default)]
    sandbox_id: String,
    state: State,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct FilterFields {
    id: String,
    sandbox_id: String,
    state: Option<State>,
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ListFilter {
    containers: Vec<ListedContainer>,
    filter: FilterFields,
    ids: Vec<String>,
}

impl Case for ListFilter {
    fn check(self) -> Outcome {
        let whole = |ids: BTreeSet<&String>, prefix: String| {
            let mut index = PrefixIndex::default();
            ids.into_iter().try_for_each(|id| index.add(id)).map_err(|error| error.message)?;
            Ok::<_, String>(index.get(&prefix).map_or(prefix.clone(), str::to_owned))
        };
        let ids = self.containers.iter().map(|of| &of.id).collect();
        let pods = self.containers.iter().map(|of| &of.sandbox_id).filter(|id| !id.is_empty());
        let filter = ContainerFilter {
            id: whole(ids, self.filter.id)?,
            sandbox_id: whole(pods.collect(), self.filter.sandbox_id)?,
            state: self.filter.state.map(|state| state.0),
            labels: self.filter.labels.into_iter().collect(),
        };
        let containers = self.containers.into_iter().map(|of| ContainerSummary {
            id: of.id,
            sandbox_id: of.sandbox_id,
            name: String::new(),
            attempt: 0,
            image: String::new(),
            image_ref: String::new(),
            state: of.state.0,
            created_at: 0,
            labels: of.labels.into_iter().collect(),
            annotations: Vec::new(),
        });
        let passed = containers.filter(|container| filter.matches(container));
        same("what passes", passed.map(|container| container.id).collect(), self.ids)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RecordFields {
    /// `F` or `P`.
    tag: String,
    content: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LogSplitting {
    /// Of a record's content, in bytes; not positive: unlimited.
    max_len: i64,
    /// What is written, one write after the other; then the stream ends.
    input: Vec<Bytes>,
    records: Vec<RecordFields>,
    /// How many chunks were read, and how many records cut off because of their length.
    chunks: Option<usize>,
    splits: Option<u64>,
}

impl Case for LogSplitting {
    fn check(self) -> Outcome {
        let mut splitter = LineSplitter::new(self.max_len);
        let (mut records, mut chunks, mut splits) = (Vec::new(), 0, 0);
        let mut take = |splitter: &mut LineSplitter| {
            while let Some(chunk) = splitter.next_chunk() {
                chunks += 1;
                splits += chunk.splits;
                let each = chunk.records.into_iter();
                records.extend(each.map(|r| (r.tag.letter().to_owned(), quote(&r.content))));
            }
        };
        for write in &self.input {
            let mut rest = &*write.0;
            while !rest.is_empty() {
                rest = &rest[splitter.push(rest)..];
                take(&mut splitter);
            }
        }
        splitter.end();
        take(&mut splitter);
        let wanted: Vec<(String, String)> =
            self.records.into_iter().map(|r| (r.tag, quote(&r.content.0))).collect();
        same("the number of records", records.len(), wanted.len())?;
        for (number, (is, wanted)) in records.into_iter().zip(wanted).enumerate() {
            same(&format!("record {}", number + 1), is, wanted)?;
        }
        self.chunks.map_or(Ok(()), |wanted| same("the number of chunks", chunks, wanted))?;
        self.splits.map_or(Ok(()), |wanted| same("the number of splits", splits, wanted))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "do")]
enum BackOffStep {
    /// Events that could not be handled.
    Enqueue { at: Time, key: String, events: Vec<String> },
    /// The keys that are due.
    Expired { at: Time, keys: BTreeSet<String> },
    /// The queue is taken out, to be handled.
    Take { at: Time, key: String, events: Option<Vec<String>> },
    /// What of a queue that was taken is put back, because it failed again; all if not given.
    Requeue { at: Time, key: String, events: Option<Vec<String>> },
    /// What waits under a key; no `events`: nothing does.
    Check {
        at: Time,
        key: String,
        events: Option<Vec<String>>,
        delay: Option<Time>,
        expiry: Option<Time>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackOffScript {
    steps: Vec<BackOffStep>,
}

impl BackOffStep {
    fn check(
        &self,
        backoff: &mut Backoff<String>,
        taken: &mut BTreeMap<String, Queue<String>>,
    ) -> Outcome {
        let instant = |time: &Time| Instant::default().after(time.0);
        match self {
            BackOffStep::Enqueue { at, key, events } => {
                for event in events {
                    backoff.enqueue(key, event.clone(), instant(at));
                }
                Ok(())
            }
            BackOffStep::Expired { at, keys } => same(
                "what is due",
                backoff.expired(instant(at)).into_iter().collect(),
                keys.clone(),
            ),
            BackOffStep::Take { key, events, .. } => {
                let queue = backoff.take(key);
                let outcome = events.as_ref().map_or(Ok(()), |wanted| {
                    let events = queue.as_ref().map(|queue| queue.events.clone());
                    same("what is taken", events.unwrap_or_default(), wanted.clone())
                });
                taken.extend(queue.map(|queue| (key.clone(), queue)));
                outcome
            }
            BackOffStep::Requeue { at, key, events } => {
                let mut queue = taken.remove(key).ok_or("nothing was taken under the key")?;
                if let Some(events) = events {
                    queue.events.clone_from(events);
                }
                backoff.requeue(key, queue, instant(at));
                Ok(())
            }
            BackOffStep::Check { key, events, delay, expiry, .. } => {
                let queue = backoff.get(key);
                same("what waits", queue.map(|q| &q.events), events.as_ref())?;
                if let Some(delay) = delay {
                    same("the delay", queue.map(Queue::delay), Some(delay.0))?;
                }
                let wanted = expiry.as_ref().map(instant);
                wanted.map_or(Ok(()), |at| same("the expiry", queue.map(Queue::expiry), Some(at)))
            }
        }
    }

    fn at(&self) -> Duration {
        match self {
            BackOffStep::Enqueue { at, .. }
            | BackOffStep::Expired { at, .. }
            | BackOffStep::Take { at, .. }
            | BackOffStep::Requeue { at, .. }
            | BackOffStep::Check { at, .. } => at.0,
        }
    }
}

impl Case for BackOffScript {
    fn check(self) -> Outcome {
        let mut backoff = Backoff::default();
        let mut taken = BTreeMap::new();
        let mut now = Duration::ZERO;
        for (number, step) in self.steps.iter().enumerate() {
            let outcome = if step.at() < now {
                Err("it is before the step ahead of it".to_owned())
            } else {
                step.check(&mut backoff, &mut taken)
            };
            at_step(number, outcome)?;
            now = step.at();
        }
        Ok(())
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Namespaces {
    network: Option<Mode>,
    pid: Option<Mode>,
    ipc: Option<Mode>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RuntimeFields {
    r#type: String,
    #[serde(default)]
    path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RuntimeHandler {
    default_runtime: String,
    /// By handler.
    runtimes: BTreeMap<String, RuntimeFields>,
    /// Of the sandbox.
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    namespaces: Namespaces,
    #[serde(default)]
    privileged: bool,
    handler: String,
    /// Type of the runtime that serves it.
    runtime: Option<String>,
    error: Option<String>,
    #[serde(default)]
    fails: bool,
}

impl Case for RuntimeHandler {
    fn check(self) -> Outcome {
        let runtimes = self
            .runtimes
            .into_iter()
            .map(|(handler, of)| (handler, RuntimeConfig { kind: of.r#type, path: of.path }));
        let config = Config {
            default_runtime: self.default_runtime,
            runtimes: runtimes.collect(),
            ..Config::default()
        };
        let mode = |mode: Option<Mode>| mode.map_or(NamespaceMode::Pod, |mode| mode.0);
        let sandbox = SandboxConfig {
            annotations: self.annotations.into_iter().collect(),
            namespaces: NamespaceOptions {
                network: mode(self.namespaces.network),
                pid: mode(self.namespaces.pid),
                ipc: mode(self.namespaces.ipc),
            },
            privileged: self.privileged,
            ..SandboxConfig::default()
        };
        let result = sandbox_runtime(&config, &sandbox, &self.handler);
        same_error(&result, self.error.as_ref(), None, self.fails)?;
        match (result, self.runtime) {
            (Ok(is), Some(wanted)) => same("the runtime", &is.kind, &wanted),
            (Ok(_), None) => Err("`runtime` is missing".to_owned()),
            (Err(_), _) => Ok(()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StopSignal {
    text: String,
    number: Option<u32>,
    error: Option<String>,
    #[serde(default)]
    fails: bool,
}

impl Case for StopSignal {
    fn check(self) -> Outcome {
        let parsed = parse_signal(&self.text);
        same_error(&parsed, self.error.as_ref(), None, self.fails)?;
        self.number.map_or(Ok(()), |number| same("the number", parsed.ok(), Some(number)))
    }
}

/// Waiting for a container's end.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WaitStopped {
    id: String,
    status: StatusFields,
    /// From the beginning of the wait; `0s`: before it.
    timeout: Option<Time>,
    cancel_after: Option<Time>,
    stopped_after: Option<Time>,
    /// When the wait is over.
    at: Option<Time>,
    error: Option<String>,
    code: Option<CodeName>,
    #[serde(default)]
    fails: bool,
}

impl Case for WaitStopped {
    fn check(self) -> Outcome {
        use shakedown_cri::ports::Signal;

        on_a_node(|sim, ports| async move {
            let container = container_of(&sim, &ports, &self.id, &self.status, "").await;
            let container = container.map_err(|error| error.message)?;
            let began = ports.clock().now();
            let token = CancelToken::new();
            let mut ctx = Context::background().with_token(token.clone());
            if let Some(timeout) = self.timeout {
                ctx = ctx.with_timeout(began, timeout.0);
            }
            let later = |after: Time, act: Box<dyn FnOnce()>| {
                let runtime = ports.runtime().clone();
                let name = ports::Name::new("later", "");
                ports.runtime().spawn(name, async move {
                    runtime.sleep(after.0).await;
                    act();
                });
            };
            match self.cancel_after {
                Some(Time(after)) if after.is_zero() => token.cancel(began),
                Some(after) => {
                    let at = began.after(after.0);
                    later(after, Box::new(move || token.cancel(at)));
                }
                None => {}
            }
            if let Some(after) = self.stopped_after {
                let stopped = container.stopped.clone();
                later(after, Box::new(move || stopped.set()));
            }
            let waited = container.wait_stopped(&ctx).await;
            let result = &waited;
            same_error(result, self.error.as_ref(), self.code, self.fails)?;
            let took = ports.clock().now().since(began);
            self.at.map_or(Ok(()), |at| same("the time that it took", took, at.0))
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Quoting {
    text: Bytes,
    quoted: String,
}

impl Case for Quoting {
    fn check(self) -> Outcome {
        same("the quoted text", quote(&self.text.0), self.quoted)
    }
}

/// An error before and after it crossed the boundary of a client.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RpcError {
    code: CodeName,
    message: String,
    across: String,
    /// Versions differ.
    profile: Option<String>,
}

impl Case for RpcError {
    fn check(self) -> Outcome {
        let profile = match &self.profile {
            Some(name) => Profile::find(name).ok_or(format!("unknown profile `{name}`"))?,
            None => &Profile::default(),
        };
        let across = Error::new(self.code.0, self.message).across_rpc(profile.quirks);
        same("the class", across.code, self.code.0)?;
        same("the text", across.message, self.across)
    }
}
