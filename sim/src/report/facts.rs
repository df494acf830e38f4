//! The facts of a report: what both forms of it say.

use std::collections::BTreeMap;
use std::rc::Rc;

use schemars::JsonSchema;
use serde::Serialize;
use shakedown_cri::cri::Peek;

use super::describe::{self, Thing};
use super::verdicts::Entry;
use crate::run::{Answer, Outcome, Reply, Snapshot};
use crate::suite::{
    Names, Ran, Source, answer_word, events_of, left, received_words, root_of, state_word,
};
use crate::turnstile::{Fate, Happened, Layer, Op, RecordingEntry, Stage, Stop};

/// The version of the report's form.
const VERSION: u32 = 1;

/// How much of the timeline a report has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What changed the node, what failed, and the decisions.
    Brief,
    /// Every moment from the setup on, and what the service logged.
    Full,
}

/// A run as it is reported. Times are virtual nanoseconds; ids are names.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    #[serde(rename = "shakedown-report")]
    pub version: u32,
    pub case: String,
    pub title: String,
    pub profile: &'static str,
    pub world: Vec<Thing>,
    pub calls: Vec<Named>,
    pub decisions: Vec<Decision>,
    pub timeline: Vec<Line>,
    pub answers: Vec<AnswerLine>,
    pub stop: StopLine,
    pub quiet: Node,
    /// Events of each container until quiet, without those of the setup.
    pub events: BTreeMap<String, Vec<String>>,
    /// Lines without time stamps, at the run's end.
    pub logs: BTreeMap<String, Vec<String>>,
    /// `null`: the run ended before.
    pub reaped: Option<Node>,
    /// Steps of reaping that never succeeded.
    pub unreaped: Vec<Named>,
    /// What one more start of containers that were still CREATED brought.
    pub restarted: Vec<Named>,
    pub invariants: Vec<InvariantLine>,
    pub verdict: VerdictLine,
    pub moments: u64,
    pub digest: String,
    #[serde(skip)]
    pub detail: Detail,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Named {
    pub name: String,
    pub what: String,
}

/// A fault or hold of the scenario.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Decision {
    pub kind: &'static str,
    /// Site or moment.
    pub at: String,
    pub what: String,
    pub applied: bool,
    pub why_not: Option<String>,
}

/// A line of the timeline.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Line {
    pub at: u64,
    pub kind: &'static str,
    pub actor: String,
    /// Behind the actor: the call and its moment, or what happened.
    pub what: String,
    pub error: Option<String>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AnswerLine {
    pub call: String,
    pub began: Option<u64>,
    pub answered: Option<u64>,
    /// `ok`, an error class, or `none`.
    pub code: &'static str,
    pub message: Option<String>,
    /// What a good answer holds.
    pub reply: Option<String>,
    pub gave_up: Option<GaveUp>,
}

/// The client gave up before the answer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct GaveUp {
    pub at: u64,
    pub code: &'static str,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StopLine {
    /// `idle`, `panicked`, `over-budget`, `not-set-up`
    pub kind: &'static str,
    pub what: Option<String>,
    /// Nothing was left to happen when the settling ended; else it was cut at its bound.
    pub quiet: bool,
    /// Who waits where, when it was not quiet.
    pub waiting: Vec<String>,
}

/// The node at the end of a phase.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Node {
    pub at: u64,
    pub statuses: Vec<StatusLine>,
    pub left: Vec<String>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StatusLine {
    pub container: String,
    /// `gone` when the service does not know it.
    pub state: &'static str,
    pub pid: u32,
    pub exit_code: i32,
    pub reason: String,
    pub message: String,
    pub started: bool,
    pub finished: bool,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct InvariantLine {
    pub id: String,
    pub name: &'static str,
    pub evaluated: u64,
    pub violations: Vec<ViolationLine>,
    /// Whether the file expects it to break.
    pub expected: bool,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ViolationLine {
    pub at: u64,
    pub moment: Option<String>,
    pub what: String,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct VerdictLine {
    pub passed: bool,
    pub reasons: Vec<ReasonLine>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ReasonLine {
    pub kind: &'static str,
    pub invariant: Option<String>,
    /// Empty: it is about none.
    pub file: String,
    /// In the file, from 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub what: String,
    pub expected: Option<String>,
    pub found: Option<String>,
    pub help: Option<String>,
}

impl VerdictLine {
    pub fn new(entry: &Entry) -> Self {
        let reasons = entry.problems.iter().map(|problem| {
            let (expected, found) = problem.differs.clone().unzip();
            let (file, line, column) = match &problem.place {
                Some(place) => (place.file.clone(), place.line, place.column),
                None => (String::new(), 1, 1),
            };
            ReasonLine {
                kind: problem.kind,
                invariant: problem.invariant.map(|id| id.to_string()),
                file,
                line,
                column,
                what: problem.message.clone(),
                expected,
                found,
                help: problem.help.clone(),
            }
        });
        VerdictLine { passed: entry.passed(), reasons: reasons.collect() }
    }
}

/// What was judged without a run, or could not be: a file, a case or the command.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NotRun {
    pub case: String,
    /// Empty: it is about none.
    pub profile: String,
    pub file: String,
    pub verdict: VerdictLine,
}

impl NotRun {
    pub fn new(entry: &Entry) -> Self {
        NotRun {
            case: entry.case.clone(),
            profile: entry.profile.clone(),
            file: entry.file.clone(),
            verdict: VerdictLine::new(entry),
        }
    }
}

impl Report {
    pub fn new(source: &Source, ran: &Ran, detail: Detail) -> Report {
        let Ran { case, plan, outcome, verdict } = ran;
        let names = Names::new(plan);
        let scenario = &case.scenario;
        let calls = scenario.calls.iter();
        let calls = calls.map(|call| Named { name: call.name.clone(), what: describe::call(call) });
        let containers: Vec<String> = plan.containers.iter().map(|c| c.name.to_string()).collect();
        let logs = outcome.logs.iter().map(|(name, lines)| (name.to_string(), lines.clone()));
        let invariants = outcome.judgement.findings.iter().map(|finding| InvariantLine {
            id: finding.id.to_string(),
            name: finding.name,
            evaluated: finding.evaluated,
            violations: (finding.violations.iter())
                .map(|violation| ViolationLine {
                    at: violation.at,
                    moment: violation.moment.clone(),
                    what: names.text(&violation.what),
                })
                .collect(),
            expected: verdict.expected_violations.contains(&finding.id),
        });
        let entry = Entry::of_case(source, &Rc::from(""), &case.name, outcome.profile.name);
        let entry = entry.ran(source, ran);
        Report {
            version: VERSION,
            case: case.name.clone(),
            title: scenario.title.clone(),
            profile: outcome.profile.name,
            world: describe::world(&scenario.world),
            calls: calls.collect(),
            decisions: decisions(ran),
            timeline: timeline(outcome, &names, detail),
            answers: outcome.answers.iter().map(|answer| answer_line(answer, &names)).collect(),
            stop: stop_line(outcome, &names),
            quiet: node(&outcome.quiet, &names),
            events: (containers.iter()).map(|c| (c.clone(), events_of(outcome, c))).collect(),
            logs: logs.collect(),
            reaped: outcome.reaped.as_ref().map(|snapshot| node(snapshot, &names)),
            unreaped: (outcome.reaping.failed.iter())
                .map(|failed| Named {
                    name: failed.step.clone(),
                    what: names.text(&failed.error.message),
                })
                .collect(),
            restarted: (outcome.reaping.restarted.iter())
                .map(|(container, result)| Named {
                    name: container.clone(),
                    what: match result {
                        Ok(()) => "ok".to_owned(),
                        Err(error) => {
                            format!("{}: {}", error.code.name(), names.text(&error.message))
                        }
                    },
                })
                .collect(),
            invariants: invariants.collect(),
            verdict: VerdictLine::new(&entry),
            moments: outcome.recording.moments,
            digest: format!("{:032x}", outcome.digest()),
            detail,
        }
    }
}

fn fate(fate: Option<&Fate>) -> (bool, Option<String>) {
    match fate {
        Some(Fate::Applied) => (true, None),
        Some(Fate::Refused(why)) => (false, Some(why.clone())),
        Some(Fate::NotReached) | None => (false, Some("not reached".to_owned())),
    }
}

fn decisions(ran: &Ran) -> Vec<Decision> {
    let (scenario, outcome) = (&ran.case.scenario, &ran.outcome);
    let occurrences = scenario.occurrences.iter().enumerate().map(|(i, occurrence)| {
        let (applied, why_not) = fate(outcome.occurrences.get(i));
        let (at, what) = (describe::when(&occurrence.when), describe::occurrence(occurrence));
        Decision { kind: "occurrence", at, what, applied, why_not }
    });
    let faults = scenario.faults.iter().enumerate().map(|(i, fault)| {
        let (applied, why_not) = fate(outcome.faults.get(i));
        let (at, what) = (fault.at.clone(), describe::fault(fault));
        Decision { kind: "fault", at, what, applied, why_not }
    });
    let holds = scenario.holds.iter().enumerate().map(|(i, hold)| {
        let (applied, why_not) = fate(outcome.holds.get(i));
        let (at, what) = (hold.what.clone(), describe::hold(hold));
        Decision { kind: "hold", at, what, applied, why_not }
    });
    let clocks = scenario.clocks.iter().enumerate().map(|(i, clock)| {
        let (applied, why_not) = fate(outcome.clocks.get(i));
        let (at, what) = (describe::when(&clock.when), describe::clock(clock));
        Decision { kind: "clock", at, what, applied, why_not }
    });
    let crashes = scenario.crashes.iter().enumerate().map(|(i, crash)| {
        let (applied, why_not) = fate(outcome.crashes.get(i));
        let (at, what) = (describe::when(&crash.when), describe::crash(crash));
        Decision { kind: "crash", at, what, applied, why_not }
    });
    occurrences.chain(faults).chain(holds).chain(clocks).chain(crashes).collect()
}

/// Whether a moment belongs into the short timeline.
fn is_interesting(happened: &Happened, reaping: bool) -> bool {
    let moment = &happened.moment;
    let op = moment.site.op;
    let failed = happened.error.is_some() && moment.stage != Stage::Effect;
    let by_itself = matches!(
        op,
        Op::Exit | Op::Oom | Op::Publish | Op::Adjust | Op::Crash | Op::Restart | Op::Up
    );
    if moment.stage == Stage::Abandon || failed || by_itself {
        return true;
    }
    if reaping {
        return false;
    }
    if op.layer() == Layer::Client {
        return true;
    }
    // What failed shows when its caller hears of it.
    if moment.stage != Stage::Effect || happened.error.is_some() {
        return false;
    }
    match op {
        // What only looks.
        Op::TaskGet
        | Op::TaskWait
        | Op::TaskOom
        | Op::RecordInfo
        | Op::SnapshotMounts
        | Op::ImageGet => false,
        Op::RuntimeCreate | Op::RuntimeStart | Op::RuntimeKill | Op::RuntimeDelete => true,
        Op::FsRename => moment.site.subject.text().ends_with("status"),
        _ => matches!(op.layer(), Layer::Task | Layer::Metadata | Layer::Nri | Layer::Event),
    }
}

/// The actor at the head of a name, and the rest.
pub(super) fn split(name: &str) -> (String, String) {
    let root = root_of(name);
    if root.len() < name.len() {
        return (root.to_owned(), name[root.len() + 1..].to_owned());
    }
    let (actor, what) = name.rsplit_once('.').unwrap_or(("", name));
    (actor.to_owned(), what.to_owned())
}

fn timeline(outcome: &Outcome, names: &Names, detail: Detail) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut phase = "";
    for entry in &outcome.recording.entries {
        let at = entry.at();
        let line = |kind: &'static str, name: &str, suffix: &str, error: Option<String>| {
            let (actor, what) = split(name);
            Line { at, kind, actor, what: what + suffix, error }
        };
        let full = detail == Detail::Full;
        match entry {
            RecordingEntry::Phase { name, .. } => {
                phase = name;
                if full || phase != "setup" {
                    let what = (*name).to_owned();
                    lines.push(Line { at, kind: "phase", actor: String::new(), what, error: None });
                }
            }
            _ if !full && phase == "setup" => {}
            RecordingEntry::Moment(happened) => {
                if full || is_interesting(happened, phase == "reap") {
                    let error = happened.error.as_ref().map(|error| names.text(error));
                    lines.push(line("moment", &happened.moment.to_string(), "", error));
                }
            }
            RecordingEntry::Fault { site, fault, .. } => {
                lines.push(line("fault", &site.to_string(), &format!(": {fault}"), None));
            }
            RecordingEntry::Held { moment, .. } => {
                lines.push(line("held", &moment.to_string(), "", None));
            }
            RecordingEntry::LetGo { moment, why, .. } => {
                lines.push(line("let-go", &moment.to_string(), &format!(": {why}"), None));
            }
            RecordingEntry::Made { .. } | RecordingEntry::Released { .. } => {}
            RecordingEntry::Log { text, .. } => {
                if full {
                    let what = names.text(text);
                    lines.push(Line { at, kind: "log", actor: String::new(), what, error: None });
                }
            }
        }
    }
    lines
}

fn answer_line(answer: &Answer, names: &Names) -> AnswerLine {
    let (message, reply) = match &answer.result {
        None | Some(Ok(Reply::Nothing)) => (None, None),
        Some(Err(error)) => (Some(names.text(&error.message)), None),
        Some(Ok(Reply::Id(id))) => (None, Some(names.text(id))),
        Some(Ok(Reply::Status(status))) => (None, Some(state_word(status.state).to_owned())),
        Some(Ok(Reply::List(list))) => {
            let rows = list.iter();
            let rows = rows.map(|row| format!("{} {}", names.of(&row.id), state_word(row.state)));
            let mut rows: Vec<String> = rows.collect();
            rows.sort_unstable();
            (None, Some(rows.join(", ")))
        }
    };
    let received = received_words(answer);
    let reply = if received.is_empty() { reply } else { Some(received.join(", ")) };
    AnswerLine {
        call: answer.call.to_string(),
        began: answer.began,
        answered: answer.answered,
        code: answer_word(answer),
        message,
        reply,
        gave_up: answer.gave_up.map(|(at, code)| GaveUp { at, code: code.name() }),
    }
}

fn stop_line(outcome: &Outcome, names: &Names) -> StopLine {
    let (kind, what) = match &outcome.stop {
        Stop::Idle => ("idle", None),
        Stop::Panicked { actor, message } => {
            ("panicked", Some(format!("{actor}: {}", names.text(message))))
        }
        Stop::OverBudget => ("over-budget", None),
        Stop::TooManyTasks => ("over-budget", Some("tasks are spawned without end".to_owned())),
        Stop::NotSetUp(why) => ("not-set-up", Some(names.text(&why.message))),
    };
    let waiting = outcome.waiting.iter().map(ToString::to_string).collect();
    StopLine { kind, what, quiet: outcome.was_quiet, waiting }
}

fn node(snapshot: &Snapshot, names: &Names) -> Node {
    let statuses = snapshot.statuses.iter().map(|shot| {
        let container = shot.container.to_string();
        match &shot.status {
            Some(status) => status_line(container, status, names),
            None => StatusLine {
                container,
                state: "gone",
                pid: 0,
                exit_code: 0,
                reason: String::new(),
                message: String::new(),
                started: false,
                finished: false,
            },
        }
    });
    Node { at: snapshot.at, statuses: statuses.collect(), left: left(snapshot, names) }
}

fn status_line(container: String, status: &Peek, names: &Names) -> StatusLine {
    StatusLine {
        container,
        state: state_word(status.state),
        pid: status.pid,
        exit_code: status.exit_code,
        reason: status.reason.clone(),
        message: names.text(&status.message),
        started: status.started_at != 0,
        finished: status.finished_at != 0,
    }
}
