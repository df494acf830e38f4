//! The ways in which a scenario can be made one step simpler, from what disturbs to what is only there.
//!
//! Every edit makes the scenario strictly simpler, so that making edits ends.

use std::time::Duration;

use crate::oracle::duration_text;
use crate::scenario::{
    Action, CrashKind, Effect, FaultKind, InitialState, PidMode, Process, Scenario, When, World,
};

/// In the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pass {
    FewerFaults,
    FewerHolds,
    SimplerKinds,
    EarlierTimes,
    FewerCalls,
    PlainerWorld,
}

impl Pass {
    pub const ALL: [Pass; 6] = [
        Pass::FewerFaults,
        Pass::FewerHolds,
        Pass::SimplerKinds,
        Pass::EarlierTimes,
        Pass::FewerCalls,
        Pass::PlainerWorld,
    ];
}

/// An entry of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The path of its table: `fault`, `world.container`.
    pub table: &'static str,
    pub index: usize,
}

/// A scenario that is one step simpler.
pub struct Edit {
    pub part: Part,
    /// The key whose line changes or goes; `None`: the whole entry goes.
    pub key: Option<&'static str>,
    /// What is done, as `without it` or ``with `code = "unknown"` ``.
    pub how: String,
    pub result: Scenario,
}

/// Collects edits of a scenario.
struct Edits<'a> {
    scenario: &'a Scenario,
    edits: Vec<Edit>,
}

const WITHOUT: &str = "without it";

impl Edits<'_> {
    fn edit(
        &mut self,
        table: &'static str,
        index: usize,
        key: Option<&'static str>,
        how: impl Into<String>,
        edit: impl FnOnce(&mut Scenario),
    ) {
        let mut result = self.scenario.clone();
        edit(&mut result);
        self.edits.push(Edit { part: Part { table, index }, key, how: how.into(), result });
    }

    /// One edit for each entry: without it.
    fn without<T>(&mut self, table: &'static str, entries: impl Fn(&mut Scenario) -> &mut Vec<T>) {
        let count = entries(&mut self.scenario.clone()).len();
        for index in 0..count {
            self.edit(table, index, None, WITHOUT, |scenario| {
                entries(scenario).remove(index);
            });
        }
    }
}

/// All edits of one pass.
pub fn edits(scenario: &Scenario, pass: Pass) -> Vec<Edit> {
    let mut edits = Edits { scenario, edits: Vec::new() };
    match pass {
        Pass::FewerFaults => {
            edits.without("fault", |s| &mut s.faults);
            edits.without("crash", |s| &mut s.crashes);
            edits.without("occurrence", |s| &mut s.occurrences);
            edits.without("clock", |s| &mut s.clocks);
        }
        Pass::FewerHolds => edits.without("hold", |s| &mut s.holds),
        Pass::SimplerKinds => simpler_kinds(&mut edits),
        Pass::EarlierTimes => earlier_times(&mut edits),
        Pass::FewerCalls => fewer_calls(&mut edits),
        Pass::PlainerWorld => plainer_world(&mut edits),
    }
    edits.edits
}

/// Kinds from simple to odd.
fn rank(kind: &FaultKind) -> usize {
    match kind {
        FaultKind::Error { .. } => 0,
        FaultKind::Cancel { .. } => 1,
        FaultKind::Deadline { .. } => 2,
        FaultKind::Hang { .. } => 3,
        FaultKind::ConnectionClosed { .. } => 4,
        FaultKind::ShortWrite => 5,
        FaultKind::HangForever { .. } => 6,
        FaultKind::Delay { .. } => 7,
        FaultKind::Lost => 8,
        FaultKind::Swept(_) => 9,
    }
}

fn effect_of(kind: &FaultKind) -> Effect {
    match kind {
        FaultKind::Error { effect, .. }
        | FaultKind::Hang { effect }
        | FaultKind::HangForever { effect }
        | FaultKind::Cancel { effect }
        | FaultKind::Deadline { effect }
        | FaultKind::ConnectionClosed { effect } => *effect,
        _ => Effect::Done,
    }
}

fn with_effect(kind: &FaultKind, to: Effect) -> FaultKind {
    let mut kind = kind.clone();
    if let FaultKind::Error { effect, .. }
    | FaultKind::Hang { effect }
    | FaultKind::HangForever { effect }
    | FaultKind::Cancel { effect }
    | FaultKind::Deadline { effect }
    | FaultKind::ConnectionClosed { effect } = &mut kind
    {
        *effect = to;
    }
    kind
}

/// The plainest class of error of each sort of operation.
const PLAIN_CODES: [&str; 2] = ["unknown", "EIO"];

fn simpler_kinds(edits: &mut Edits<'_>) {
    for (index, fault) in edits.scenario.faults.iter().enumerate() {
        let with = |edits: &mut Edits<'_>, key, how: String, kind: FaultKind| {
            edits.edit("fault", index, Some(key), how, |s| s.faults[index].kind = kind);
        };
        let effect = effect_of(&fault.kind);
        let error =
            |code: &str, effect| FaultKind::Error { code: code.to_owned(), message: None, effect };
        if let FaultKind::Error { code, message, effect } = &fault.kind {
            if !PLAIN_CODES.contains(&&**code) {
                for plain in PLAIN_CODES {
                    with(edits, "code", format!("with `{plain}`"), error(plain, *effect));
                }
            }
            if message.is_some() {
                with(edits, "message", "without its text".to_owned(), error(code, *effect));
            }
        } else {
            for code in PLAIN_CODES {
                for effect in [Effect::None, effect] {
                    with(edits, "kind", "with an error".to_owned(), error(code, effect));
                }
            }
            let others = [
                FaultKind::Cancel { effect },
                FaultKind::Deadline { effect },
                FaultKind::Hang { effect },
            ];
            for other in others {
                if rank(&other) < rank(&fault.kind) {
                    let how = format!("with a {}", word(&other));
                    with(edits, "kind", how, other);
                }
            }
        }
        if with_effect(&fault.kind, Effect::None) != fault.kind {
            if matches!(effect, Effect::Late(_)) {
                let how = "with the effect at once".to_owned();
                with(edits, "effect", how, with_effect(&fault.kind, Effect::Done));
            }
            let how = "without effect".to_owned();
            with(edits, "effect", how, with_effect(&fault.kind, Effect::None));
        }
    }
    for (index, hold) in edits.scenario.holds.iter().enumerate() {
        if hold.across_time {
            edits.edit("hold", index, Some("across-time"), WITHOUT, |s| {
                s.holds[index].across_time = false;
            });
        }
    }
    for (index, crash) in edits.scenario.crashes.iter().enumerate() {
        if crash.kind == CrashKind::Power {
            edits.edit("crash", index, Some("kind"), "with only the daemon killed", |s| {
                let crash = &mut s.crashes[index];
                crash.kind = CrashKind::Daemon;
                crash.lost.clear();
                crash.torn.clear();
            });
        }
        for number in 0..crash.lost.len() {
            let how = format!("unless `{}` is lost", crash.lost[number]);
            edits.edit("crash", index, Some("lost"), how, |s| {
                s.crashes[index].lost.remove(number);
            });
        }
        for number in 0..crash.torn.len() {
            let how = format!("unless `{}` is torn", crash.torn[number]);
            edits.edit("crash", index, Some("torn"), how, |s| {
                s.crashes[index].torn.remove(number);
            });
        }
    }
}

fn word(kind: &FaultKind) -> &'static str {
    match kind {
        FaultKind::Cancel { .. } => "cancel",
        FaultKind::Deadline { .. } => "deadline",
        _ => "hang",
    }
}

/// Durations that are tried in the place of a longer one.
const SHORTER: [Duration; 3] =
    [Duration::from_millis(1), Duration::from_secs(1), Duration::from_secs(3)];

fn shorter(than: Duration) -> impl Iterator<Item = Duration> {
    SHORTER.into_iter().filter(move |shorter| *shorter < than)
}

fn text(duration: Duration) -> String {
    format!("with {}", duration_text(duration))
}

fn at_text(at: Duration) -> String {
    format!("at {}", duration_text(at))
}

fn earlier_times(edits: &mut Edits<'_>) {
    for (index, fault) in edits.scenario.faults.iter().enumerate() {
        if let FaultKind::Delay { by, of } = &fault.kind {
            for by in shorter(*by) {
                edits.edit("fault", index, Some("by"), text(by), |s| {
                    s.faults[index].kind = FaultKind::Delay { by, of: *of };
                });
            }
        } else if let Effect::Late(by) = effect_of(&fault.kind) {
            for by in shorter(by) {
                edits.edit("fault", index, Some("late"), text(by), |s| {
                    let kind = &mut s.faults[index].kind;
                    *kind = with_effect(kind, Effect::Late(by));
                });
            }
        }
    }
    let times = |when: &When| match when {
        When::At(at) if !at.is_zero() => {
            let mut times = vec![Duration::ZERO];
            times.extend(shorter(*at));
            times
        }
        _ => Vec::new(),
    };
    for (index, occurrence) in edits.scenario.occurrences.iter().enumerate() {
        for at in times(&occurrence.when) {
            edits.edit("occurrence", index, Some("at"), at_text(at), |s| {
                s.occurrences[index].when = When::At(at);
            });
        }
    }
    for (index, crash) in edits.scenario.crashes.iter().enumerate() {
        for at in times(&crash.when) {
            edits.edit("crash", index, Some("at"), at_text(at), |s| {
                s.crashes[index].when = When::At(at);
            });
        }
        // A crash that may come at any time is no matter of a moment.
        if let When::Moment(_) = crash.when {
            for at in [Duration::ZERO, Duration::from_secs(1)] {
                edits.edit("crash", index, Some("when"), at_text(at), |s| {
                    s.crashes[index].when = When::At(at);
                });
            }
        }
        if let Some(down) = crash.down {
            for down in shorter(down).filter(|down| *down >= Duration::from_secs(1)) {
                edits.edit("crash", index, Some("down"), text(down), |s| {
                    s.crashes[index].down = Some(down);
                });
            }
        }
    }
    for (index, call) in edits.scenario.calls.iter().enumerate() {
        for at in times(&call.when) {
            edits.edit("call", index, Some("at"), at_text(at), |s| {
                s.calls[index].when = When::At(at);
            });
        }
    }
}

fn fewer_calls(edits: &mut Edits<'_>) {
    edits.without("call", |s| &mut s.calls);
    for (index, call) in edits.scenario.calls.iter().enumerate() {
        if call.deadline.is_some() {
            edits.edit("call", index, Some("deadline"), WITHOUT, |s| {
                s.calls[index].deadline = None;
            });
        }
        if let Some(cancel) = &call.cancel {
            let key = match cancel {
                When::At(_) => "cancel-at",
                When::Moment(_) => "cancel-when",
            };
            edits.edit("call", index, Some(key), WITHOUT, |s| s.calls[index].cancel = None);
        }
        if let Action::Kubelet(kubelet) = &call.action
            && kubelet.containers > 1
        {
            edits.edit("call", index, Some("containers"), "with one fewer", |s| {
                if let Action::Kubelet(kubelet) = &mut s.calls[index].action {
                    kubelet.containers -= 1;
                }
            });
        }
    }
}

fn plainer_world(edits: &mut Edits<'_>) {
    edits.without("world.plugin", |s| &mut s.world.plugins);
    edits.without("world.path", |s| &mut s.world.paths);
    edits.without("world.container", |s| &mut s.world.containers);
    edits.without("world.sandbox", |s| &mut s.world.sandboxes);
    edits.without("world.image", |s| &mut s.world.images);
    let plain = World::default();
    let world = &edits.scenario.world;
    let mut plainer = |differs: bool, key, edit: fn(&mut World, World)| {
        if differs {
            edits.edit("world", 0, Some(key), WITHOUT, |s| edit(&mut s.world, World::default()));
        }
    };
    plainer(world.disk != plain.disk, "disk", |w, plain| w.disk = plain.disk);
    plainer(world.nri != plain.nri, "nri", |w, plain| w.nri = plain.nri);
    plainer(world.bound != plain.bound, "bound", |w, plain| w.bound = plain.bound);
    plainer(world.max_log_line != plain.max_log_line, "max-log-line", |w, plain| {
        w.max_log_line = plain.max_log_line;
    });
    plainer(!world.runtimes.is_empty(), "runtimes", |w, plain| w.runtimes = plain.runtimes);
    plainer(!world.runtime_path.is_empty(), "runtime-path", |w, plain| {
        w.runtime_path = plain.runtime_path;
    });
    for (index, container) in edits.scenario.world.containers.iter().enumerate() {
        let table = "world.container";
        if container.process != Process::default() {
            edits.edit(table, index, Some("process"), WITHOUT, |s| {
                s.world.containers[index].process = Process::default();
            });
        }
        for number in 0..container.process.output.len() {
            edits.edit(table, index, Some("output"), WITHOUT, |s| {
                s.world.containers[index].process.output.remove(number);
            });
        }
        if container.tty {
            edits.edit(table, index, Some("tty"), WITHOUT, |s| {
                s.world.containers[index].tty = false
            });
        }
        if container.stdin {
            edits.edit(table, index, Some("stdin"), WITHOUT, |s| {
                s.world.containers[index].stdin = false;
            });
        }
        if container.pid_mode != PidMode::Container {
            edits.edit(table, index, Some("pid-mode"), WITHOUT, |s| {
                s.world.containers[index].pid_mode = PidMode::Container;
            });
        }
        if !container.id.is_empty() {
            edits.edit(table, index, Some("id"), WITHOUT, |s| s.world.containers[index].id.clear());
        }
        if container.state != InitialState::Created {
            edits.edit(table, index, Some("state"), "when it was only created", |s| {
                s.world.containers[index].state = InitialState::Created;
            });
        }
    }
}
