//! The words of the format, for the parser and the printer alike.

use super::model::*;

/// A closed set of words, each standing for a value.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// What the words are, as it stands in "unknown …".
    const WHAT: &'static str;
    /// In the order in which they are listed to people.
    const WORDS: &'static [(&'static str, Self)];

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }

    fn find(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, value)| *value)
    }
}

macro_rules! words {
    ($type:ty, $what:literal: $($word:literal => $value:expr),* $(,)?) => {
        impl Word for $type {
            const WHAT: &'static str = $what;
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $value)),*];
        }
    };
}

words! { NriConfig, "NRI mode":
    "enabled" => NriConfig::Enabled, "disabled" => NriConfig::Disabled, "absent" => NriConfig::Absent,
}
words! { PluginEvent, "plugin event":
    "create" => PluginEvent::Create, "post-create" => PluginEvent::PostCreate,
    "start" => PluginEvent::Start, "post-start" => PluginEvent::PostStart,
    "stop" => PluginEvent::Stop, "remove" => PluginEvent::Remove,
}
words! { RepliedEvent, "event with wishes":
    "create" => RepliedEvent::Create, "stop" => RepliedEvent::Stop,
    "synchronize" => RepliedEvent::Synchronize,
}
words! { SandboxState, "sandbox state":
    "ready" => SandboxState::Ready, "not-ready" => SandboxState::NotReady, "gone" => SandboxState::Gone,
}
words! { HostNamespace, "namespace":
    "network" => HostNamespace::Network, "pid" => HostNamespace::Pid, "ipc" => HostNamespace::Ipc,
}
words! { InitialState, "container state":
    "absent" => InitialState::Absent, "created" => InitialState::Created,
    "running" => InitialState::Running, "exited" => InitialState::Exited,
}
words! { Stream, "stream": "stdout" => Stream::Stdout, "stderr" => Stream::Stderr }
words! { PathKind, "kind of path":
    "file" => PathKind::File, "directory" => PathKind::Directory, "fifo" => PathKind::Fifo,
    "symlink" => PathKind::Symlink, "removed" => PathKind::Removed,
    "read-only" => PathKind::ReadOnly,
}
words! { CrashKind, "kind of crash": "daemon" => CrashKind::Daemon, "power" => CrashKind::Power }
words! { DelayOf, "moment": "effect" => DelayOf::Effect, "reply" => DelayOf::Reply }

words! { Restart, "restart policy":
    "always" => Restart::Always, "on-failure" => Restart::OnFailure, "never" => Restart::Never,
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
    "container" => PidModeWord::Container, "pod" => PidModeWord::Pod,
    "node" => PidModeWord::Node, "target" => PidModeWord::Target,
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
    "create" => ActionWord::Create, "start" => ActionWord::Start, "stop" => ActionWord::Stop,
    "remove" => ActionWord::Remove, "update" => ActionWord::Update,
    "reopen-log" => ActionWord::ReopenLog, "status" => ActionWord::Status,
    "list" => ActionWord::List, "stop-pod" => ActionWord::StopPod,
    "remove-pod" => ActionWord::RemovePod, "connect-plugin" => ActionWord::ConnectPlugin,
    "plugin-update" => ActionWord::PluginUpdate, "events" => ActionWord::Events,
    "kubelet" => ActionWord::Kubelet,
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
    "exit" => HappeningWord::Exit, "oom" => HappeningWord::Oom,
    "rotate-log" => HappeningWord::RotateLog, "shim-exit" => HappeningWord::ShimExit,
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
    "error" => FaultWord::Error, "delay" => FaultWord::Delay, "hang" => FaultWord::Hang,
    "hang!" => FaultWord::HangForever, "cancel" => FaultWord::Cancel,
    "deadline" => FaultWord::Deadline, "short-write" => FaultWord::ShortWrite,
    "connection-closed" => FaultWord::ConnectionClosed, "lost" => FaultWord::Lost,
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
    "none" => EffectWord::None, "done" => EffectWord::Done, "late" => EffectWord::Late,
}

/// Events of a container, in the order of its life.
pub(super) const EVENT_WORDS: &[&str] = &["created", "started", "stopped", "deleted"];
/// States that a status can have.
pub(super) const STATE_WORDS: &[&str] = &["created", "running", "exited", "unknown"];
/// The status of a container that the service does not know.
pub(super) const STATE_GONE: &str = "gone";
/// Answers that are no error class.
pub(super) const ANSWER_OK: &str = "ok";
/// All operations that a power loss finds pending.
pub(super) const PENDING_ALL: &str = "all";
pub(super) const ANSWER_NONE: &str = "none";
/// The invariants by number.
pub(super) const INVARIANTS: &[&str] = &[
    "I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11", "I12", "I13", "I14", "I15",
    "I16", "I17",
];
