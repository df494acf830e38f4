//! Holds what a run brought against what its file expects.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;

use shakedown_cri::cri::EventKind;
use shakedown_cri::quirks::Quirk;

use super::names::{Names, event_word, in_version, received_words, state_word};
use super::sweep::{is_call, reached};
use super::verdict::{Kind, Reason, Verdict};
use crate::invariants::Id;
use crate::oracle::{CrashAt, duration_text};
use crate::report::describe;
use crate::run::{Answer, Outcome, Plan, Reply, Snapshot};
use crate::scenario::{Case, Cause, Expect, ExpectAnswer, ExpectStatus, Filter, ResolvedAxis};
use crate::turnstile::{Fate, Moment, Stage, Stop};

/// A run and the case it was made of.
pub(super) struct Subject<'a> {
    pub case: &'a Case,
    /// For filters that name ranges of values.
    pub axes: &'a [ResolvedAxis],
    pub plan: &'a Plan,
    pub outcome: &'a Outcome,
}

impl Subject<'_> {
    fn applies(&self, filter: &Filter) -> bool {
        filter.matches(self.outcome.profile.name, &self.case.values, self.axes)
    }
}

/// Judges a run.
pub(super) fn check(subject: &Subject<'_>) -> Verdict {
    let mut verdict = Verdict::default();
    let reasons = &mut verdict.reasons;
    let wrong = subject.outcome.wrong.iter();
    reasons.extend(wrong.map(|wrong| {
        let reason = Reason::new(Kind::NotSetUp, &wrong.span, &*wrong.message);
        Reason { help: wrong.help.clone(), ..reason }
    }));
    reasons.extend(not_set_up(subject));
    if !reasons.is_empty() {
        // Nothing else that is missing says anything.
        return verdict;
    }
    stop(subject, reasons);
    lacks(subject, reasons);
    let excused = Excused::of(subject);
    decisions(subject, &excused, reasons);
    clocks(subject, &excused, reasons);
    crashes(subject, &excused, reasons);
    excused.unused(reasons);
    // Of a run that was cut short that is no news.
    let was_cut = subject.outcome.stop != Stop::Idle;
    for (call, why) in subject.outcome.never_began.iter().filter(|_| !was_cut) {
        let plan = subject.plan.calls.iter().find(|plan| plan.name == *call);
        let text = call.text();
        let mut kubelets = subject.plan.kubelets.iter();
        let kubelet = kubelets.find(|kubelet| text.starts_with(&*kubelet.name.text()));
        let span = plan.map(|plan| &plan.span).or(kubelet.map(|kubelet| &kubelet.span));
        let span = span.cloned().unwrap_or(0..0);
        let mut reason =
            Reason::new(Kind::NeverBegan, &span, format!("the call `{call}` never began: {why}"));
        if let Some(moment) = plan.and_then(|plan| plan.when) {
            reason = suggest(reason, moment, subject.outcome, true);
        }
        reasons.push(reason);
    }
    violations(subject, &mut verdict);
    let names = Names::new(subject.plan);
    for expect in &subject.case.scenario.expects {
        if expect.is_about(subject.outcome.profile) && subject.applies(&expect.filter) {
            expectation(subject, &names, expect, &mut verdict.reasons);
        }
    }
    verdict
}

/// The decisions that the file says cannot come about in this case and profile.
struct Excused<'a>(Vec<(&'a str, Range<usize>, Cell<bool>)>);

impl<'a> Excused<'a> {
    fn of(subject: &Subject<'a>) -> Self {
        let expects = &subject.case.scenario.expects;
        let about = expects.iter().filter(|expect| {
            expect.is_about(subject.outcome.profile) && subject.applies(&expect.filter)
        });
        let names = about.flat_map(|expect| {
            let span = expect.span.0.clone();
            expect.not_applied.iter().map(move |name| (&**name, span.clone(), Cell::new(false)))
        });
        Excused(names.collect())
    }

    /// Whether a decision that did not apply was expected not to.
    fn covers(&self, name: impl ToString) -> bool {
        let name = name.to_string();
        let found = self.0.iter().find(|(known, ..)| *known == name);
        found.inspect(|(.., used)| used.set(true)).is_some()
    }

    fn unused(self, reasons: &mut Vec<Reason>) {
        for (name, span, used) in self.0 {
            if !used.get() {
                let what = format!("`{name}` came about, although it was expected not to");
                reasons.push(Reason::new(Kind::Expectation, &span, what));
            }
        }
    }
}

/// Where a violation is pointed at: what disturbs the case first, else its first call.
fn disturbance(subject: &Subject<'_>) -> Range<usize> {
    let plan = subject.plan;
    let occurrences = plan.occurrences.iter().map(|occurrence| &occurrence.span);
    let spans = plan.fault_spans.iter().chain(&plan.hold_spans).chain(&plan.crash_spans);
    let disturbed = spans.chain(occurrences).next();
    let call = || plan.calls.last().map(|call| call.span.clone());
    disturbed.cloned().or_else(call).unwrap_or(0..0)
}

/// The run ended while the world was made ready.
fn not_set_up(subject: &Subject<'_>) -> Option<Reason> {
    let Stop::NotSetUp(why) = &subject.outcome.stop else { return None };
    if let Some(method) = why.lacks_method() {
        let what = format!("the world of the file cannot be set up without {method}");
        return Some(not_implemented(subject, &(0..0), what));
    }
    let message = Names::new(subject.plan).text(&why.message);
    let what = format!("the world of the file cannot be set up: {message}");
    Some(Reason::new(Kind::NotSetUp, &(0..0), what))
}

/// The runtime lacks a method that the case needs.
fn not_implemented(subject: &Subject<'_>, span: &Range<usize>, what: String) -> Reason {
    let name = subject.outcome.profile.name;
    Reason::new(Kind::NotImplemented, span, format!("{what}, which {name} does not implement"))
}

/// The calls that the runtime does not have, but for those that the file expects not to be there.
fn lacks(subject: &Subject<'_>, reasons: &mut Vec<Reason>) {
    let (scenario, outcome) = (&subject.case.scenario, subject.outcome);
    for answer in &outcome.answers {
        let Some(Err(error)) = &answer.result else { continue };
        let Some(method) = error.lacks_method() else { continue };
        let call = answer.call.text();
        let expected = scenario.expects.iter().any(|expect| {
            expect.is_about(outcome.profile)
                && subject.applies(&expect.filter)
                && expect.answers.iter().any(|expected| *expected.call == *call)
        });
        if !expected {
            let what = format!("`{call}` needs {method}");
            let plan = subject.plan.calls.iter().find(|plan| plan.name == answer.call);
            let span = plan.map_or(0..0, |plan| plan.span.clone());
            reasons.push(not_implemented(subject, &span, what));
        }
    }
}

fn stop(subject: &Subject<'_>, reasons: &mut Vec<Reason>) {
    let expects = subject.case.scenario.expects.iter();
    let mut expected = expects
        .filter(|e| {
            e.panic.is_some() && e.is_about(subject.outcome.profile) && subject.applies(&e.filter)
        })
        .peekable();
    match &subject.outcome.stop {
        Stop::Panicked { actor, message } => {
            let names = Names::new(subject.plan);
            let message = names.text(message);
            if expected.peek().is_none() {
                let what = format!("the service panicked in `{actor}`: {message}");
                reasons.push(Reason::new(Kind::Panicked, &disturbance(subject), what));
            }
            for entry in expected {
                let wanted = entry.panic.as_deref().unwrap_or_default();
                if !message.contains(wanted) {
                    let what = format!("the service panicked in `{actor}` with another text");
                    let reason = Reason::new(Kind::Panicked, &entry.span.0, what);
                    reasons.push(reason.differs(wanted, message.clone()));
                }
            }
            return;
        }
        stop @ (Stop::OverBudget | Stop::TooManyTasks) => {
            let outcome = subject.outcome;
            let what = endless(stop, outcome.recording.moments);
            let mut reason = Reason::new(Kind::OverBudget, &disturbance(subject), what);
            if !outcome.waiting.is_empty() {
                let waiting: Vec<String> =
                    outcome.waiting.iter().take(8).map(ToString::to_string).collect();
                reason = reason.help(format!("in progress: {}", waiting.join(", ")));
            }
            reasons.push(reason);
        }
        Stop::Idle | Stop::NotSetUp(_) => {}
    }
    for entry in expected {
        let what = "the service was expected to panic, and did not";
        reasons.push(Reason::new(Kind::Expectation, &entry.span.0, what));
    }
}

/// Why a run that had no end was stopped.
pub(crate) fn endless(stop: &Stop, moments: u64) -> String {
    let why = if *stop == Stop::TooManyTasks { ": tasks are spawned without end" } else { "" };
    format!("the run was stopped after {moments} moments{why}")
}

fn decisions(subject: &Subject<'_>, excused: &Excused<'_>, reasons: &mut Vec<Reason>) {
    let (plan, outcome) = (subject.plan, subject.outcome);
    let entries = &subject.case.scenario.occurrences;
    let occurrences = plan.occurrences.iter().zip(entries).zip(&outcome.occurrences);
    for ((occurrence, entry), fate) in occurrences {
        let what = |why: &str| {
            let happening = describe::occurrence(entry);
            format!("the occurrence `{happening}` did not come about: {why}")
        };
        let not_applied = |why: &str| Reason::new(Kind::NotApplied, &occurrence.span, what(why));
        match (fate, occurrence.when) {
            (Fate::Applied, _) => {}
            (_, Some(moment)) if excused.covers(moment) => {}
            (Fate::NotReached, Some(moment)) => {
                let reason = not_applied(&format!("the moment `{moment}` never came"));
                reasons.push(or_expect(suggest(reason, moment, outcome, true), moment));
            }
            (Fate::NotReached, None) => reasons.push(not_applied("the run ended before its time")),
            (Fate::Refused(why), Some(moment)) => reasons.push(or_expect(not_applied(why), moment)),
            (Fate::Refused(why), None) => reasons.push(not_applied(why)),
        }
    }
    let spans = subject.case.scenario.faults.iter().map(|entry| &entry.at_span.0);
    let faults = plan.script.faults.iter().zip(spans).zip(&outcome.faults);
    for (((site, fault), span), fate) in faults {
        let name = site.to_string();
        let what = |why: &str| format!("the fault `{fault}` at `{name}` did not apply: {why}");
        match fate {
            Fate::Applied => {}
            _ if excused.covers(site) => {}
            Fate::NotReached => {
                let reason =
                    Reason::new(Kind::NotApplied, span, what("the run did not come to this site"));
                let moment = Moment { site: *site, stage: Stage::Only };
                reasons.push(or_expect(suggest(reason, moment, outcome, false), site));
            }
            Fate::Refused(why) => {
                reasons.push(or_expect(Reason::new(Kind::NotApplied, span, what(why)), site));
            }
        }
    }
    let holds = plan.script.holds.iter().zip(&plan.hold_spans).zip(&outcome.holds);
    for ((hold, span), fate) in holds {
        let (held, until) = (hold.what, hold.until);
        let what = |why: &str| format!("the hold of `{held}` until `{until}` did not apply: {why}");
        match fate {
            Fate::Applied => {}
            _ if excused.covers(held) => {}
            Fate::NotReached => {
                let was_held = outcome.recording.entries.iter().any(|entry| {
                    matches!(entry, crate::turnstile::RecordingEntry::Held { moment, .. }
                        if *moment == held)
                });
                let reason = if was_held {
                    let why = format!("`{until}` did not come");
                    let reason = Reason::new(Kind::NotApplied, span, what(&why));
                    suggest(reason, until, outcome, true)
                } else {
                    let why = "the run did not come to the moment";
                    let reason = Reason::new(Kind::NotApplied, span, what(why));
                    suggest(reason, held, outcome, true)
                };
                reasons.push(or_expect(reason, held));
            }
            Fate::Refused(why) => {
                reasons.push(or_expect(Reason::new(Kind::NotApplied, span, what(why)), held));
            }
        }
    }
}

fn clocks(subject: &Subject<'_>, excused: &Excused<'_>, reasons: &mut Vec<Reason>) {
    let (plan, outcome) = (subject.plan, subject.outcome);
    let failed =
        plan.clocks.iter().zip(&outcome.clocks).filter(|(_, fate)| **fate != Fate::Applied);
    for (clock, _) in failed {
        if clock.when.is_some_and(|moment| excused.covers(moment)) {
            continue;
        }
        let what = |why| format!("the clock's {} did not apply: {why}", clock.change);
        reasons.push(match clock.when {
            Some(moment) => {
                let reason = what("the run did not come to the moment");
                let reason = Reason::new(Kind::NotApplied, &clock.span, reason);
                or_expect(suggest(reason, moment, outcome, true), moment)
            }
            None => {
                let reason = what("the run ended before its time");
                Reason::new(Kind::NotApplied, &clock.span, reason)
            }
        });
    }
}

fn crashes(subject: &Subject<'_>, excused: &Excused<'_>, reasons: &mut Vec<Reason>) {
    let (plan, outcome) = (subject.plan, subject.outcome);
    let crashes = plan.script.crashes.iter().zip(&plan.crash_spans).zip(&outcome.crashes);
    for ((scripted, span), fate) in crashes {
        let at = match scripted.at {
            CrashAt::Moment(moment) => format!("after `{moment}`"),
            CrashAt::Time(time) => format!("at {}", duration_text(time)),
        };
        let what = |why: &str| format!("the crash {at} did not apply: {why}");
        match (fate, scripted.at) {
            (Fate::Applied, _) => {}
            (_, CrashAt::Moment(moment)) if excused.covers(moment) => {}
            (Fate::NotReached, CrashAt::Moment(moment)) => {
                let why = "the run did not come to the moment";
                let reason = Reason::new(Kind::NotApplied, span, what(why));
                reasons.push(or_expect(suggest(reason, moment, outcome, true), moment));
            }
            (Fate::NotReached, CrashAt::Time(_)) => {
                let why = "the run ended before its time";
                reasons.push(Reason::new(Kind::NotApplied, span, what(why)));
            }
            (Fate::Refused(why), CrashAt::Moment(moment)) => {
                reasons.push(or_expect(Reason::new(Kind::NotApplied, span, what(why)), moment));
            }
            (Fate::Refused(why), CrashAt::Time(_)) => {
                reasons.push(Reason::new(Kind::NotApplied, span, what(why)));
            }
        }
    }
}

/// Adds how a file says that a decision cannot come about; `name` is that of the decision.
fn or_expect(mut reason: Reason, name: impl Display) -> Reason {
    let expected =
        format!("where it cannot apply, write `not-applied = [\"{name}\"]` below `[[expect]]`");
    reason.help = Some(match reason.help {
        Some(help) => format!("{help}; {expected}"),
        None => expected,
    });
    reason
}

/// Adds the name nearest to that of `wanted` among those that the run reached: with the operation of the
/// actor first, then with the operation of another actor or another one of the actor, and last what is
/// spelt alike.
fn suggest(reason: Reason, wanted: Moment, outcome: &Outcome, moments: bool) -> Reason {
    let name = |moment: &Moment| {
        if moments { moment.to_string() } else { moment.site.to_string() }
    };
    let text = name(&wanted);
    let known = reached(&outcome.recording).filter(|happened| moments || is_call(happened));
    let mut known: Vec<Moment> = known.map(|happened| happened.moment).collect();
    known.sort_by_cached_key(name);
    known.dedup_by_key(|moment| name(moment));
    let nearest = known.iter().filter(|moment| name(moment) != text).min_by_key(|moment| {
        let is_actor = moment.site.actor == wanted.site.actor;
        let kinship = match (moment.site.op == wanted.site.op, is_actor) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        };
        let spelling = strsim::damerau_levenshtein(&text, &name(moment));
        let count = moment.site.count.abs_diff(wanted.site.count);
        (kinship, moment.site.subject != wanted.site.subject, spelling, count)
    });
    match nearest {
        Some(nearest) => {
            let what = if moments { "moment" } else { "site" };
            reason.help(format!("the nearest {what} that was reached is `{}`", name(nearest)))
        }
        None => reason,
    }
}

fn violations(subject: &Subject<'_>, verdict: &mut Verdict) {
    let outcome = subject.outcome;
    let entries: Vec<_> = (subject.case.scenario.violations.iter())
        .filter(|entry| entry.is_about(outcome.profile) && subject.applies(&entry.filter))
        .collect();
    for finding in outcome.judgement.violated() {
        let id = finding.id.to_string();
        if entries.iter().any(|entry| entry.invariant == id) {
            verdict.expected_violations.push(finding.id);
            continue;
        }
        let names = Names::new(subject.plan);
        let first = finding.violations.first();
        let what = first.map_or_else(String::new, |v| format!(": {}", names.text(&v.what)));
        let mut reason = Reason::new(
            Kind::Violation(finding.id),
            &disturbance(subject),
            format!("{id} {} is violated{what}", finding.name),
        );
        if let Some(moment) = first.and_then(|v| v.moment.as_ref()) {
            reason = reason.help(format!("seen after `{moment}`"));
        }
        verdict.reasons.push(reason);
    }
    let broken: BTreeSet<String> = verdict_ids(outcome).map(|id| id.to_string()).collect();
    for entry in entries {
        let invariant = &entry.invariant;
        if !broken.contains(invariant) {
            let finding =
                outcome.judgement.findings.iter().find(|f| f.id.to_string() == *invariant);
            // What is not asked is not missed.
            let Some(finding) = finding else { continue };
            let what = format!(
                "{invariant} was expected to be violated: it held (evaluations: {})",
                finding.evaluated
            );
            verdict.reasons.push(Reason::new(Kind::MissingViolation, &entry.span.0, what));
        } else if let Cause::Quirk(id) = &entry.cause
            && !Quirk::ALL.iter().any(|q| q.id() == id && outcome.profile.quirks.has(*q))
        {
            let profile = outcome.profile.name;
            let what = format!(
                "{invariant} is said to come from the quirk `{id}`, which the profile {profile} \
                 does not have"
            );
            verdict.reasons.push(Reason::new(Kind::Expectation, &entry.span.0, what));
        } else if entry.cause == Cause::Forced && !outcome.had_forced_fault() {
            let what = format!(
                "{invariant} is said to come from a fault that no real node has, and none struck"
            );
            let help = "`shakedown sites --list` marks such faults with `*`; a `hang` whose caller \
                        has neither deadline nor cancel is a `hang!`";
            verdict.reasons.push(Reason::new(Kind::Expectation, &entry.span.0, what).help(help));
        }
    }
}

fn verdict_ids(outcome: &Outcome) -> impl Iterator<Item = Id> + '_ {
    outcome.judgement.violated().map(|finding| finding.id)
}

fn expectation(subject: &Subject<'_>, names: &Names, expect: &Expect, reasons: &mut Vec<Reason>) {
    let outcome = subject.outcome;
    for answer in &expect.answers {
        check_answer(outcome, names, answer, reasons);
    }
    for status in &expect.statuses {
        check_status(outcome, names, status, reasons);
    }
    let span = &expect.span.0;
    let mut list = |what: String, expected: &[String], found: &[String]| {
        if expected != found {
            let reason = Reason::new(Kind::Expectation, span, what);
            reasons.push(reason.differs(list_text(expected), list_text(found)));
        }
    };
    for (container, expected) in &expect.events {
        let found = events_of(outcome, container);
        list(format!("the events of `{container}` are not as expected"), expected, &found);
    }
    for (container, expected) in &expect.logs {
        let logs = outcome.logs.iter().find(|(name, _)| *name.text() == **container);
        let found = logs.map(|(_, lines)| lines.as_slice()).unwrap_or_default();
        list(format!("the log of `{container}` is not as expected"), expected, found);
    }
    if let Some(expected) = &expect.left_when_quiet {
        let found = left(&outcome.quiet, names);
        list("what is left once quiet is not as expected".to_owned(), expected, &found);
    }
    if let Some(expected) = &expect.left_when_reaped {
        match &outcome.reaped {
            Some(reaped) => {
                let found = left(reaped, names);
                list("what is left once reaped is not as expected".to_owned(), expected, &found);
            }
            None => {
                let what = "the run ended before the node was reaped";
                reasons.push(Reason::new(Kind::Expectation, span, what));
            }
        }
    }
    for order in &expect.order {
        check_order(outcome, order, span, reasons);
    }
}

fn list_text(list: &[String]) -> String {
    if list.is_empty() {
        return "nothing".to_owned();
    }
    let quoted: Vec<String> = list.iter().map(|entry| format!("{entry:?}")).collect();
    quoted.join(", ")
}

/// What is left, sorted, with names for ids.
pub(crate) fn left(snapshot: &Snapshot, names: &Names) -> Vec<String> {
    let mut left: Vec<String> = snapshot.left.0.iter().map(|what| names.text(what)).collect();
    left.sort_unstable();
    left
}

/// The events of a container until quiet, without those of the setup.
pub(crate) fn events_of(outcome: &Outcome, container: &str) -> Vec<String> {
    let of_container = |event: &&crate::run::EventSeen| {
        !event.in_setup && !event.in_reaping && *event.container.text() == *container
    };
    let kinds = outcome.events.iter().filter(of_container).map(|event| event.kind);
    kinds.map(|kind: EventKind| event_word(kind).to_owned()).collect()
}

/// The word for the service's answer: `ok`, an error class, or `none`.
pub(crate) fn answer_word(answer: &Answer) -> &'static str {
    match &answer.result {
        None => "none",
        Some(Ok(_)) => "ok",
        Some(Err(error)) => error.code.name(),
    }
}

/// The word for what the client saw.
pub(crate) fn client_word(answer: &Answer) -> &'static str {
    answer.gave_up.map_or_else(|| answer_word(answer), |(_, code)| code.name())
}

fn check_answer(
    outcome: &Outcome,
    names: &Names,
    expected: &ExpectAnswer,
    reasons: &mut Vec<Reason>,
) {
    let Some(answer) = outcome.answers.iter().find(|a| *a.call.text() == *expected.call) else {
        return;
    };
    let mut differ = |what: &str, expected_text: &str, found: String| {
        let call = &expected.call;
        let what = format!("{what} of `{call}` is not as expected");
        let reason = Reason::new(Kind::Expectation, &expected.span.0, what);
        reasons.push(reason.differs(expected_text, found));
    };
    let message = match &answer.result {
        Some(Err(error)) => names.text(&error.message),
        _ => String::new(),
    };
    let word = answer_word(answer);
    if word != expected.code {
        let found = if message.is_empty() { word.to_owned() } else { format!("{word}: {message}") };
        differ("the answer", &expected.code, found);
    } else if let Some(wanted) = &expected.message {
        let wanted = in_version(wanted, outcome.profile.quirks);
        if wanted != message {
            differ("the message", &wanted, message);
        }
    }
    if let Some(wanted) = &expected.client
        && *wanted != client_word(answer)
    {
        differ("the client's view", wanted, client_word(answer).to_owned());
    }
    if let Some(wanted) = &expected.received {
        let found = received_words(answer);
        if *wanted != found {
            differ("what was received", &list_text(wanted), list_text(&found));
        }
    }
    if let Some(wanted) = &expected.state {
        let found = match &answer.result {
            Some(Ok(Reply::Status(status))) => state_word(status.state),
            _ => "no status",
        };
        if wanted != found {
            differ("the state in the answer", wanted, found.to_owned());
        }
    }
}

fn check_status(
    outcome: &Outcome,
    names: &Names,
    expected: &ExpectStatus,
    reasons: &mut Vec<Reason>,
) {
    let shot = outcome.quiet.statuses.iter().find(|s| *s.container.text() == *expected.container);
    let status = shot.and_then(|shot| shot.status.as_ref());
    let mut differ = |what: &str, expected_text: String, found: String| {
        let what = format!("{what} of `{}` once quiet is not as expected", expected.container);
        let reason = Reason::new(Kind::Expectation, &expected.span.0, what);
        reasons.push(reason.differs(expected_text, found));
    };
    let state = status.map_or("gone", |status| state_word(status.state));
    if let Some(wanted) = &expected.state
        && wanted != state
    {
        let found = match status {
            Some(status) if !status.message.is_empty() => {
                format!("{state}: {}", names.text(&status.message))
            }
            _ => state.to_owned(),
        };
        differ("the state", wanted.clone(), found);
        return;
    }
    let Some(status) = status else {
        let fields = [
            expected.exit_code.is_some(),
            expected.reason.is_some(),
            expected.message.is_some(),
            expected.started.is_some(),
            expected.finished.is_some(),
        ];
        if fields.contains(&true) {
            differ("the status", "a status".to_owned(), "gone".to_owned());
        }
        return;
    };
    if let Some(wanted) = expected.exit_code
        && wanted != status.exit_code
    {
        differ("the exit code", wanted.to_string(), status.exit_code.to_string());
    }
    if let Some(wanted) = &expected.reason
        && *wanted != status.reason
    {
        differ("the reason", wanted.clone(), status.reason.clone());
    }
    let message = names.text(&status.message);
    if let Some(wanted) = &expected.message {
        let wanted = in_version(wanted, outcome.profile.quirks);
        if wanted != message {
            differ("the message", wanted.into_owned(), message);
        }
    }
    let is_set = |time: i64| if time == 0 { "not set" } else { "set" };
    let times = [
        ("StartedAt", expected.started, status.started_at),
        ("FinishedAt", expected.finished, status.finished_at),
    ];
    for (what, wanted, time) in times {
        if let Some(wanted) = wanted
            && wanted != (time != 0)
        {
            differ(what, is_set(i64::from(wanted)).to_owned(), is_set(time).to_owned());
        }
    }
}

fn check_order(
    outcome: &Outcome,
    order: &[String],
    span: &Range<usize>,
    reasons: &mut Vec<Reason>,
) {
    let mut happened = outcome.recording.happened();
    let mut last: Option<&str> = None;
    for name in order {
        let moment = Moment::parse(name);
        if happened.any(|h| Some(h.moment) == moment) {
            last = Some(name);
            continue;
        }
        let came = outcome.recording.happened().any(|h| Some(h.moment) == moment);
        let what = match last {
            Some(last) if came => format!("`{name}` came, but not after `{last}`"),
            _ => format!("`{name}` never came"),
        };
        let reason = Reason::new(Kind::Expectation, span, what);
        reasons.push(match moment {
            Some(moment) if !came => suggest(reason, moment, outcome, true),
            _ => reason,
        });
        return;
    }
}
