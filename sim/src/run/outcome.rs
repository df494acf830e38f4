//! What a run brought, for the judge's verdict, the expectations and the reports.

use std::rc::Rc;

use shakedown_cri::cri::{ContainerStatus, ContainerSummary, EventKind, Peek};
use shakedown_cri::ports::{Code, Error};
use shakedown_cri::quirks::Profile;

use super::client::Reaped;
use super::compile::RunError;
use super::film::Film;
use crate::invariants::Judgement;
use crate::turnstile::{Fate, Moment, Recording, RecordingEntry, Steps, Stop, Symbol};

/// What a call answers besides success.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    Nothing,
    Id(String),
    Status(Box<ContainerStatus>),
    List(Vec<ContainerSummary>),
}

/// A call of the scenario and its answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub call: Symbol,
    /// Virtual nanoseconds; `None`: it never began.
    pub began: Option<u64>,
    pub answered: Option<u64>,
    /// The service's answer; `None`: there was none.
    pub result: Option<Result<Reply, Error>>,
    /// What a stream of events brought until quiet.
    pub received: Vec<(Symbol, EventKind)>,
    /// When and as what the client gave up, if that was before the answer; as `Unavailable`, if the daemon
    /// died under the call or was not there.
    pub gave_up: Option<(u64, Code)>,
}

/// What is on the node for a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers(pub Vec<String>);

impl Leftovers {
    /// What the runtime and the pipes hold of a container: all but files and directories.
    pub fn of_runtime(&self, container: &str) -> Vec<&str> {
        let of_it = |line: &&String| {
            let mut words = line.split(' ');
            let kind = words.next().unwrap_or_default();
            let name = words.find(|word| *word != "container").unwrap_or_default();
            let of_runtime =
                matches!(kind, "task" | "process" | "init" | "runtime" | "mount" | "bundle");
            let of_pipe = kind == "pipe"
                && name.strip_prefix(container).is_some_and(|rest| rest.starts_with("-std"));
            of_runtime && name == container || of_pipe
        };
        self.0.iter().filter(of_it).map(String::as_str).collect()
    }
}

/// A container's status as the harness peeked at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusShot {
    pub container: Symbol,
    /// `None`: the service does not know the container (or cannot tell without waiting), or is down.
    pub status: Option<Peek>,
}

/// The node at the end of a phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub at: u64,
    pub statuses: Vec<StatusShot>,
    /// Sorted: `task web created`, `process web`, `pipe web-stdout`, `file web/.tmp-status1`.
    pub left: Leftovers,
}

/// An event that the service sent: time, container, kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSeen {
    pub at: u64,
    pub container: Symbol,
    pub kind: EventKind,
    /// Sent before the first call of the scenario.
    pub in_setup: bool,
    /// Sent while the node was reaped.
    pub in_reaping: bool,
}

/// Everything that a run brought.
pub struct Outcome {
    pub case: String,
    pub profile: &'static Profile,
    pub recording: Recording,
    pub answers: Vec<Answer>,
    /// Nothing was left to happen when the settling ended; false: it was cut at its bound.
    pub was_quiet: bool,
    pub quiet: Snapshot,
    pub reaped: Option<Snapshot>,
    pub reaping: Reaped,
    pub events: Vec<EventSeen>,
    /// Container and its log's lines, without time stamps.
    pub logs: Vec<(Symbol, Vec<String>)>,
    pub judgement: Judgement,
    /// What became of each fault, hold, occurrence and crash of the scenario, in the file's order.
    pub faults: Vec<Fate>,
    pub holds: Vec<Fate>,
    pub clocks: Vec<Fate>,
    pub occurrences: Vec<Fate>,
    pub crashes: Vec<Fate>,
    /// Who waits where, when the run ended over budget or never became quiet.
    pub waiting: Vec<Moment>,
    /// How the run stopped: idle, a panic, over budget.
    pub stop: Stop,
    /// Calls that could not begin, as the moment they wait for never came.
    pub never_began: Vec<(Symbol, Rc<str>)>,
    /// What of the file's world could not be made: the run is one of another world.
    pub wrong: Vec<RunError>,
    /// The node after each moment; only when asked for.
    pub film: Option<Film>,
    /// The admissions that could have come in another order; only when they were noted.
    pub steps: Option<Steps>,
    /// Hash of all that could matter for what came after quiet, the same in every process; only when states were
    /// noted, and where that is known.
    pub state: Option<u64>,
}

impl Outcome {
    /// The digest of what happened: see [`Recording::digest`].
    pub fn digest(&self) -> u128 {
        self.recording.digest()
    }

    /// Whether a fault struck that no real node produces.
    pub fn had_forced_fault(&self) -> bool {
        self.recording.entries.iter().any(|entry| match entry {
            RecordingEntry::Fault { site, fault, .. } => fault.is_forced(site.op),
            _ => false,
        })
    }
}
