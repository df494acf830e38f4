//! The words of the format, for the parser and the printer alike.

use super::model::*;

/// A closed set of words, each standing for a value.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// What the words are, as it stands in "unknown …".
    const WHAT: &'static str;
    /// In the order in which they are listed to people.
    const WORDS: &'static [(&'static str, Self)];
    /// What each word stands for, as editors show it.
    const MEANINGS: &'static [&'static str];

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }

    fn find(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, value)| *value)
    }
}

macro_rules! words {
    ($type:ty, $what:literal: $($word:literal => $value:expr, $meaning:literal;)*) => {
        impl Word for $type {
            const WHAT: &'static str = $what;
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $value)),*];
            const MEANINGS: &'static [&'static str] = &[$($meaning),*];
        }
    };
}

words! { NriConfig, "NRI mode":
    "enabled" => NriConfig::Enabled, "NRI is there and serves plugins";
    "disabled" => NriConfig::Disabled, "the NRI service is there but does nothing";
    "absent" => NriConfig::Absent, "there is no NRI service";
}
words! { PluginEvent, "plugin event":
    "create" => PluginEvent::Create, "before a container is made";
    "post-create" => PluginEvent::PostCreate, "after it was made";
    "start" => PluginEvent::Start, "before it is started";
    "post-start" => PluginEvent::PostStart, "after it was started";
    "stop" => PluginEvent::Stop, "when it stopped";
    "remove" => PluginEvent::Remove, "when it is removed";
}
words! { RepliedEvent, "event with wishes":
    "create" => RepliedEvent::Create, "the reply when a container is made";
    "stop" => RepliedEvent::Stop, "the reply when one stopped";
    "synchronize" => RepliedEvent::Synchronize, "the reply when the plugin connects";
}
words! { SandboxState, "sandbox state":
    "ready" => SandboxState::Ready, "its pause process runs";
    "not-ready" => SandboxState::NotReady, "its pause process is gone";
    "gone" => SandboxState::Gone, "removed from the service's store after its containers were made";
}
words! { HostNamespace, "namespace":
    "network" => HostNamespace::Network, "the node's network namespace";
    "pid" => HostNamespace::Pid, "the node's pid namespace";
    "ipc" => HostNamespace::Ipc, "the node's ipc namespace";
}
words! { InitialState, "container state":
    "absent" => InitialState::Absent, "not there: a call `create` or a kubelet makes it";
    "created" => InitialState::Created, "created, never started";
    "running" => InitialState::Running, "its process runs";
    "exited" => InitialState::Exited, "its process has ended";
}
words! { Stream, "stream":
    "stdout" => Stream::Stdout, "standard output";
    "stderr" => Stream::Stderr, "standard error";
}
words! { PathKind, "kind of path":
    "file" => PathKind::File, "an empty file";
    "directory" => PathKind::Directory, "a directory";
    "fifo" => PathKind::Fifo, "a named pipe";
    "symlink" => PathKind::Symlink, "a symbolic link to `target`";
    "removed" => PathKind::Removed, "taken away before the first call";
    "read-only" => PathKind::ReadOnly, "nothing at or below it can change (EROFS) until the node is reaped";
}
words! { CrashKind, "kind of crash":
    "daemon" => CrashKind::Daemon, "the daemon is killed; shims and processes live on";
    "power" => CrashKind::Power, "the node loses power: nothing lives on, and of the files only what was durable";
}
words! { DelayOf, "moment":
    "effect" => DelayOf::Effect, "it happens later";
    "reply" => DelayOf::Reply, "it happens in time, and the answer comes later";
}

words! { Restart, "restart policy":
    "always" => Restart::Always, "after every end";
    "on-failure" => Restart::OnFailure, "after an end with another code than 0";
    "never" => Restart::Never, "after none";
}

/// `pid-mode`, without the target.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum PidModeWord {
    Container,
    Pod,
    Node,
    Target,
}
words! { PidModeWord, "pid mode":
    "container" => PidModeWord::Container, "a pid namespace of its own";
    "pod" => PidModeWord::Pod, "the pod's pid namespace";
    "node" => PidModeWord::Node, "the node's pid namespace";
    "target" => PidModeWord::Target, "that of the container `target`";
}

/// `do`
#[derive(Clone, Copy, PartialEq)]
pub(super) enum ActionWord {
    Create,
    Start,
    Stop,
    Remove,
    Update,
    ReopenLog,
    Status,
    List,
    StopPod,
    RemovePod,
    ConnectPlugin,
    PluginUpdate,
    Events,
    Kubelet,
}
words! { ActionWord, "call":
    "create" => ActionWord::Create, "CreateContainer";
    "start" => ActionWord::Start, "StartContainer";
    "stop" => ActionWord::Stop, "StopContainer, with `timeout` seconds of grace";
    "remove" => ActionWord::Remove, "RemoveContainer";
    "update" => ActionWord::Update, "UpdateContainerResources";
    "reopen-log" => ActionWord::ReopenLog, "ReopenContainerLog";
    "status" => ActionWord::Status, "ContainerStatus";
    "list" => ActionWord::List, "ListContainers";
    "stop-pod" => ActionWord::StopPod, "StopPodSandbox";
    "remove-pod" => ActionWord::RemovePod, "RemovePodSandbox";
    "connect-plugin" => ActionWord::ConnectPlugin, "an NRI plugin connects";
    "plugin-update" => ActionWord::PluginUpdate, "an NRI plugin wants other limits of a container, without having been asked";
    "events" => ActionWord::Events, "GetContainerEvents: subscribes until its client has given up";
    "kubelet" => ActionWord::Kubelet, "a kubelet looks after the container: makes it, starts it, and makes the next one when it ends";
}

impl Action {
    pub(super) fn kind(&self) -> ActionWord {
        match self {
            Action::Create { .. } => ActionWord::Create,
            Action::Start { .. } => ActionWord::Start,
            Action::Stop { .. } => ActionWord::Stop,
            Action::Remove { .. } => ActionWord::Remove,
            Action::Update { .. } => ActionWord::Update,
            Action::ReopenLog { .. } => ActionWord::ReopenLog,
            Action::Status { .. } => ActionWord::Status,
            Action::List => ActionWord::List,
            Action::StopPod { .. } => ActionWord::StopPod,
            Action::RemovePod { .. } => ActionWord::RemovePod,
            Action::ConnectPlugin { .. } => ActionWord::ConnectPlugin,
            Action::PluginUpdate { .. } => ActionWord::PluginUpdate,
            Action::Events => ActionWord::Events,
            Action::Kubelet(_) => ActionWord::Kubelet,
        }
    }
}

/// `what` of an occurrence
#[derive(Clone, Copy, PartialEq)]
pub(super) enum HappeningWord {
    Exit,
    Oom,
    RotateLog,
    ShimExit,
}
words! { HappeningWord, "occurrence":
    "exit" => HappeningWord::Exit, "a process ends by itself";
    "oom" => HappeningWord::Oom, "the kernel kills a process for want of memory";
    "rotate-log" => HappeningWord::RotateLog, "a log is renamed to one with `.1` behind its name";
    "shim-exit" => HappeningWord::ShimExit, "the shim of a pod is killed";
}

impl Happening {
    pub(super) fn kind(&self) -> HappeningWord {
        match self {
            Happening::Exit { .. } => HappeningWord::Exit,
            Happening::Oom { .. } => HappeningWord::Oom,
            Happening::RotateLog { .. } => HappeningWord::RotateLog,
            Happening::ShimExit { .. } => HappeningWord::ShimExit,
        }
    }
}

/// `kind` of a fault
#[derive(Clone, Copy, PartialEq)]
pub(super) enum FaultWord {
    Error,
    Delay,
    Hang,
    HangForever,
    Cancel,
    Deadline,
    ShortWrite,
    ConnectionClosed,
    Lost,
}
words! { FaultWord, "kind of fault":
    "error" => FaultWord::Error, "the caller gets an error";
    "delay" => FaultWord::Delay, "it takes longer";
    "hang" => FaultWord::Hang, "no answer comes; the caller's deadline or cancel ends the wait";
    "hang!" => FaultWord::HangForever, "no answer comes, and nothing ends the wait";
    "cancel" => FaultWord::Cancel, "the client cancels while the call waits here";
    "deadline" => FaultWord::Deadline, "the client's deadline passes while the call waits here";
    "short-write" => FaultWord::ShortWrite, "half of the bytes are written";
    "connection-closed" => FaultWord::ConnectionClosed, "the connection to the plugin or shim breaks";
    "lost" => FaultWord::Lost, "nobody is told of it";
}

impl FaultKind {
    /// `None` while the kind is a value of an axis.
    pub(super) fn kind(&self) -> Option<FaultWord> {
        Some(match self {
            FaultKind::Error { .. } => FaultWord::Error,
            FaultKind::Delay { .. } => FaultWord::Delay,
            FaultKind::Hang { .. } => FaultWord::Hang,
            FaultKind::HangForever { .. } => FaultWord::HangForever,
            FaultKind::Cancel { .. } => FaultWord::Cancel,
            FaultKind::Deadline { .. } => FaultWord::Deadline,
            FaultKind::ShortWrite => FaultWord::ShortWrite,
            FaultKind::ConnectionClosed { .. } => FaultWord::ConnectionClosed,
            FaultKind::Lost => FaultWord::Lost,
            FaultKind::Swept(_) => return None,
        })
    }
}

impl FaultWord {
    /// Whether a fault of the kind has the key `effect`.
    pub(super) fn has_effect(self) -> bool {
        !matches!(self, FaultWord::Delay | FaultWord::ShortWrite | FaultWord::Lost)
    }

    /// Whether its effect can come late: a hang has nobody who would go on meanwhile.
    pub(super) fn can_be_late(self) -> bool {
        self.has_effect() && !matches!(self, FaultWord::Hang | FaultWord::HangForever)
    }
}

impl FaultKeys {
    /// The kind that the words stand for; `None` while they hold placeholders, and for what is no
    /// fault: a hang with a late effect, and any but the default effect of a kind that has none.
    pub(super) fn resolve(&self) -> Option<FaultKind> {
        let kind = FaultWord::find(&self.kind)?;
        let effect = match EffectWord::find(&self.effect)? {
            EffectWord::None => Effect::None,
            EffectWord::Done if kind.has_effect() => Effect::Done,
            EffectWord::Late if kind.can_be_late() => Effect::Late(self.late.unwrap_or_default()),
            _ => return None,
        };
        Some(match kind {
            FaultWord::Error => {
                FaultKind::Error { code: self.code.clone(), message: self.message.clone(), effect }
            }
            FaultWord::Delay => FaultKind::Delay { by: self.by.unwrap_or_default(), of: self.of },
            FaultWord::Hang => FaultKind::Hang { effect },
            FaultWord::HangForever => FaultKind::HangForever { effect },
            FaultWord::Cancel => FaultKind::Cancel { effect },
            FaultWord::Deadline => FaultKind::Deadline { effect },
            FaultWord::ShortWrite => FaultKind::ShortWrite,
            FaultWord::ConnectionClosed => FaultKind::ConnectionClosed { effect },
            FaultWord::Lost => FaultKind::Lost,
        })
    }
}

/// `effect` of a fault, without the delay of a late one.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum EffectWord {
    None,
    Done,
    Late,
}
words! { EffectWord, "effect":
    "none" => EffectWord::None, "the operation is not done";
    "done" => EffectWord::Done, "it is done; only the answer is wrong or missing";
    "late" => EffectWord::Late, "it is done after `late`";
}

/// What an entry of what is left on the node begins with; what it is of follows.
pub const LEFT_WORDS: &[&str] = &[
    "task",
    "process",
    "init",
    "runtime container",
    "mount",
    "bundle",
    "record",
    "snapshot",
    "pipe",
    "directory",
    "file",
    "symlink",
];

/// Events of a container, in the order of its life.
pub(super) const EVENT_WORDS: &[&str] = &["created", "started", "stopped", "deleted"];
pub(super) const EVENT_MEANINGS: &[&str] =
    &["it was made", "it was started", "its process ended", "it was removed"];
/// States that a status can have.
pub(super) const STATE_WORDS: &[&str] = &["created", "running", "exited", "unknown"];
pub(super) const STATE_MEANINGS: &[&str] = &[
    "CONTAINER_CREATED: it was never started",
    "CONTAINER_RUNNING: its process runs",
    "CONTAINER_EXITED: its process ended, or its start failed",
    "CONTAINER_UNKNOWN: the service cannot tell; a client may stop it",
];
/// The status of a container that the service does not know.
pub(super) const STATE_GONE: &str = "gone";
/// Answers that are no error class.
pub(super) const ANSWER_OK: &str = "ok";
/// All operations that a power loss finds pending.
pub(super) const PENDING_ALL: &str = "all";
pub(super) const ANSWER_NONE: &str = "none";
/// The invariants by number.
pub const INVARIANTS: &[&str] = &[
    "I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11", "I12", "I13", "I14", "I15",
    "I16", "I17",
];
