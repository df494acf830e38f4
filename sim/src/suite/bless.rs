//! What a file would have to expect for its runs to pass.

use std::collections::BTreeSet;
use std::fmt;

use rustc_hash::FxHashMap;
use shakedown_cri::ports::Code;
use shakedown_cri::quirks::{Profile, Quirk, Quirks};

use super::cases::{Cases, Ran, RunFailure};
use super::check::{answer_word, client_word, events_of, left};
use super::names::{Names, in_version, received_words, state_word};
use super::source::Source;
use crate::invariants::Id;
use crate::run::Reply;
use crate::scenario::matrix::placeholders;
use crate::scenario::{
    CasePattern, Cause, Expect, ExpectAnswer, ExpectStatus, ExpectedViolation, Filter,
    ResolvedAxis, Scenario, Span, ValueRange, limits,
};
use crate::turnstile::Stop;
use crate::under_test;

/// New expectations, and what of the runs they do not hold.
#[derive(Debug)]
pub struct Blessed {
    /// The scenario with new expectations and expected violations.
    pub scenario: Scenario,
    /// What people have to know: each a sentence.
    pub notes: Vec<String>,
}

/// Why an invariant broke, as the file says or is to say.
#[derive(Debug)]
struct Explained {
    invariant: Id,
    cause: Cause,
    because: Because,
}

#[derive(Debug)]
enum Because {
    Known(String),
    /// Nobody looked at it yet.
    New,
}

/// Things that are so in some cases of each profile.
struct Group<T> {
    what: T,
    /// By profile: indices of cases.
    cases: Vec<BTreeSet<usize>>,
}

/// Groups in the order of their first case.
struct Groups<T> {
    list: Vec<Group<T>>,
    /// Their numbers, by what they are as a text.
    known: FxHashMap<String, usize>,
    profiles: usize,
}

impl<T: fmt::Debug> Groups<T> {
    fn new(profiles: usize) -> Self {
        Groups { list: Vec::new(), known: FxHashMap::default(), profiles }
    }

    fn add(&mut self, what: T, profile: usize, case: usize) {
        let index = *self.known.entry(format!("{what:?}")).or_insert_with(|| {
            self.list.push(Group { what, cases: vec![BTreeSet::new(); self.profiles] });
            self.list.len() - 1
        });
        self.list[index].cases[profile].insert(case);
    }
}

/// Makes one of what came out in versions that put the class behind an error's text and what came out
/// in others, where nothing else differs.
fn merge_classes(facts: Vec<Group<Expect>>, of_profiles: &[Cases<'_>]) -> Vec<Group<Expect>> {
    let of = |group: &Group<Expect>, has: bool| {
        group.cases.iter().zip(of_profiles).all(|(cases, of_profile)| {
            let quirks = of_profile.profile.quirks;
            cases.is_empty() || quirks.has(Quirk::ClassBehindErrorText) == has
        })
    };
    let merged_of = |a: &Group<Expect>, b: &Group<Expect>| {
        let fit = of(a, true) && of(b, false);
        fit.then(|| with_classes(&a.what, &b.what)).flatten()
    };
    let mut merged: Vec<Group<Expect>> = Vec::new();
    let mut alike: FxHashMap<String, Vec<usize>> = FxHashMap::default();
    for group in facts {
        let candidates = alike.entry(without_classes(&group.what)).or_default();
        let found = candidates.iter().find_map(|index| {
            let other = &merged[*index];
            Some((*index, merged_of(other, &group).or_else(|| merged_of(&group, other))?))
        });
        match found {
            Some((index, what)) => {
                merged[index].what = what;
                for (cases, more) in merged[index].cases.iter_mut().zip(group.cases) {
                    cases.extend(more);
                }
            }
            None => {
                candidates.push(merged.len());
                merged.push(group);
            }
        }
    }
    merged
}

/// An expectation as a text, without the classes at the end of its messages.
fn without_classes(expect: &Expect) -> String {
    let mut bare = expect.clone();
    for message in messages(&mut bare) {
        *message = in_version(message, Quirks::NONE).into_owned();
        let class = |text: &str| Code::ALL.iter().find(|code| text.ends_with(code.text())).copied();
        while let Some(code) = class(message)
            && let Some(rest) = message.strip_suffix(code.text()).and_then(|m| m.strip_suffix(": "))
        {
            *message = rest.to_owned();
        }
    }
    format!("{bare:?}")
}

/// `with`, its messages marked where `without` lacks the class; `None` when more than that differs.
fn with_classes(with: &Expect, without: &Expect) -> Option<Expect> {
    let (mut merged, mut other) = (with.clone(), without.clone());
    for (long, short) in messages(&mut merged).zip(messages(&mut other)) {
        if let Some(class) = long.strip_prefix(short.as_str())
            && Code::ALL.iter().any(|code| class.strip_prefix(": ") == Some(code.text()))
        {
            *long = format!("{short}⟨{class}⟩");
        }
    }
    let mut unmarked = merged.clone();
    for message in messages(&mut unmarked) {
        *message = in_version(message, Quirks::NONE).into_owned();
    }
    (unmarked == *without).then_some(merged)
}

fn messages(expect: &mut Expect) -> impl Iterator<Item = &mut String> {
    let answers = expect.answers.iter_mut().filter_map(|answer| answer.message.as_mut());
    answers.chain(expect.statuses.iter_mut().filter_map(|status| status.message.as_mut()))
}

/// The word in front of a reason that was not given by a person.
const TO_BE_CHECKED: &str = "to be checked: ";

/// Runs all cases, each profile's in turn, and makes the expectations that hold. Entries for other
/// profiles stay, as do the orders; a violation keeps the cause that the file gives it.
///
/// `source` is the file; `of_profiles` are its cases, which may come from a copy of it without
/// expectations.
///
/// # Errors
/// When a case cannot be run.
pub fn bless(source: &Source, of_profiles: &[Cases<'_>]) -> Result<Blessed, RunFailure> {
    let mut notes = Vec::new();
    let mut facts = Groups::new(of_profiles.len());
    let mut broken = Groups::new(of_profiles.len());
    let mut first_words: Vec<(Id, String)> = Vec::new();
    for (profile, cases) in of_profiles.iter().enumerate() {
        for index in 0..cases.len() {
            let ran = cases.run(index, false)?;
            facts.add(expectation(&ran, &mut notes), profile, index);
            let names = Names::new(&ran.plan);
            for finding in ran.outcome.judgement.violated() {
                let words = finding.violations.first().map(|v| names.text(&v.what));
                let words = words.unwrap_or_default();
                match explain(&ran, source, cases, finding.id) {
                    Some(explained) => {
                        if !first_words.iter().any(|(id, _)| *id == finding.id) {
                            first_words.push((finding.id, words));
                        }
                        broken.add(explained, profile, index);
                    }
                    None => notes.push(format!(
                        "{} {} is violated in {} ({}), and no quirk of the profile is known to \
                         break it: a finding, not written as expected: {words}",
                        finding.id, finding.name, ran.case.name, cases.profile.name
                    )),
                }
            }
        }
    }
    let facts = merge_classes(facts.list, of_profiles);
    let mut broken = broken.list;
    let numbers: Vec<Vec<usize>> = of_profiles.iter().map(combinations_of).collect();
    let mut scenario = source.scenario.clone();
    let profiles: Vec<&'static Profile> = of_profiles.iter().map(|cases| cases.profile).collect();
    scenario.expects = kept_expects(&scenario, &profiles);
    for group in &facts {
        let is_version = |profile: &Profile| Profile::ALL.contains(profile);
        for filter in filters(&group.cases, of_profiles, &numbers, is_version) {
            scenario.expects.push(Expect { filter, ..group.what.clone() });
        }
    }
    scenario.violations = kept_violations(&scenario, &profiles);
    broken.sort_by_key(|group| group.what.invariant);
    for group in &broken {
        let id = group.what.invariant;
        let words = first_words.iter().find(|(known, _)| *known == id);
        let because = match &group.what.because {
            Because::Known(because) => because.clone(),
            Because::New => {
                let words = words.map_or("", |(_, words)| words);
                cut(&format!("{TO_BE_CHECKED}{words}"), limits::TEXT_BYTES_MAX)
            }
        };
        let entry = ExpectedViolation {
            span: Span::default(),
            filter: Filter::default(),
            invariant: id.to_string(),
            cause: group.what.cause.clone(),
            because,
        };
        for filter in
            filters(&group.cases, of_profiles, &numbers, |profile| entry.is_about(profile))
        {
            scenario.violations.push(ExpectedViolation { filter, ..entry.clone() });
        }
    }
    notes.sort();
    notes.dedup();
    Ok(Blessed { scenario, notes })
}

fn cut(text: &str, bytes: usize) -> String {
    text[..text.floor_char_boundary(bytes)].to_owned()
}

/// The profiles that an entry stays with: those it applies to and that are not blessed.
fn other_profiles(blessed: &[&'static Profile], applies: impl Fn(&Profile) -> bool) -> Vec<String> {
    let others = under_test::profiles().filter(|profile| !blessed.contains(profile));
    others.filter(|profile| applies(profile)).map(|profile| profile.name.to_owned()).collect()
}

fn kept_expects(scenario: &Scenario, blessed: &[&'static Profile]) -> Vec<Expect> {
    let mut kept = Vec::new();
    for entry in &scenario.expects {
        let named = &entry.filter.profiles;
        let applies = |profile: &Profile| match &named[..] {
            // What is said of every profile is said of the versions; of others only by name.
            [] => Profile::ALL.contains(profile),
            named => named.iter().any(|name| name == profile.name),
        };
        // Nothing was learnt about it.
        if !blessed.iter().any(|profile| applies(profile)) {
            kept.push(entry.clone());
            continue;
        }
        let others = other_profiles(blessed, applies);
        let here =
            under_test::profiles().filter(|profile| blessed.contains(profile) && applies(profile));
        let here: Vec<String> = here.map(|profile| profile.name.to_owned()).collect();
        // What a run brought has many orders, and what did not apply may be a mistake: which matters is for
        // people to say.
        let is_said = !entry.order.is_empty() || !entry.not_applied.is_empty();
        if !here.is_empty() && is_said {
            let profiles = if others.is_empty() { entry.filter.profiles.clone() } else { here };
            let filter = Filter { profiles, cases: entry.filter.cases.clone() };
            let (order, not_applied) = (entry.order.clone(), entry.not_applied.clone());
            kept.push(Expect { filter, order, not_applied, ..Expect::default() });
        }
        if !others.is_empty() {
            let filter = Filter { profiles: others, cases: entry.filter.cases.clone() };
            kept.push(Expect { filter, ..entry.clone() });
        }
    }
    kept
}

fn kept_violations(scenario: &Scenario, blessed: &[&'static Profile]) -> Vec<ExpectedViolation> {
    let entries = scenario.violations.iter().filter_map(|entry| {
        let named = !entry.filter.profiles.is_empty();
        if !blessed.iter().any(|profile| entry.is_about(profile)) {
            return Some(entry.clone());
        }
        let profiles = other_profiles(blessed, |profile| {
            entry.is_about(profile) && (named || Profile::ALL.contains(profile))
        });
        (!profiles.is_empty()).then(|| {
            let filter = Filter { profiles, cases: entry.filter.cases.clone() };
            ExpectedViolation { filter, ..entry.clone() }
        })
    });
    entries.collect()
}

/// What a case brought, as an expectation of every case.
fn expectation(ran: &Ran, notes: &mut Vec<String>) -> Expect {
    let Ran { plan, outcome, case, .. } = ran;
    let names = Names::new(plan);
    // With a matrix, braces in a message would be placeholders.
    let has_matrix = !case.values.is_empty();
    // What the file says of all versions at once stays so.
    let expects = || case.scenario.expects.iter();
    let answers = expects().flat_map(|expect| &expect.answers).map(|answer| &answer.message);
    let statuses = expects().flat_map(|expect| &expect.statuses).map(|status| &status.message);
    let known: Vec<&String> = answers.chain(statuses).flatten().collect();
    let message = |text: &str| {
        let text = names.text(text);
        let of_versions =
            known.iter().find(|known| in_version(known, outcome.profile.quirks) == text);
        let text = of_versions.map_or(text, |known| (*known).clone());
        let usable =
            text.len() <= limits::TEXT_BYTES_MAX && (!has_matrix || placeholders(&text).is_empty());
        usable.then_some(text)
    };
    let answers = outcome.answers.iter().map(|answer| {
        let (text, state) = match &answer.result {
            Some(Err(error)) => (message(&error.message), None),
            Some(Ok(Reply::Status(status))) => (None, Some(state_word(status.state).to_owned())),
            _ => (None, None),
        };
        ExpectAnswer {
            span: Span::default(),
            call: answer.call.to_string(),
            code: answer_word(answer).to_owned(),
            message: text,
            client: answer.gave_up.map(|_| client_word(answer).to_owned()),
            state,
            received: (!answer.received.is_empty()).then(|| received_words(answer)),
        }
    });
    let answers = answers.collect();
    if let Stop::Panicked { message, .. } = &outcome.stop {
        let text = names.text(message);
        let line = text.lines().next().unwrap_or_default();
        let panic = Some(cut(line, limits::TEXT_BYTES_MAX));
        return Expect { answers, panic, ..Expect::default() };
    }
    let statuses = outcome.quiet.statuses.iter().map(|shot| {
        let container = shot.container.to_string();
        let Some(status) = &shot.status else {
            let state = Some("gone".to_owned());
            return ExpectStatus { container, state, ..ExpectStatus::default() };
        };
        let finished = status.finished_at != 0;
        ExpectStatus {
            span: Span::default(),
            container,
            state: Some(state_word(status.state).to_owned()),
            exit_code: finished.then_some(status.exit_code),
            reason: (finished || !status.reason.is_empty()).then(|| status.reason.clone()),
            message: if status.message.is_empty() { None } else { message(&status.message) },
            started: Some(status.started_at != 0),
            finished: Some(finished),
        }
    });
    let containers = plan.containers.iter().map(|container| container.name.to_string());
    let mut logs = std::collections::BTreeMap::new();
    for (container, lines) in &outcome.logs {
        let fits = lines.len() <= limits::EXPECTATIONS_MAX
            && lines.iter().map(String::len).sum::<usize>() <= limits::LONG_TEXT_BYTES_MAX;
        if !fits {
            notes.push(format!("the log of {container} is too long to be expected"));
        } else if !lines.is_empty() {
            logs.insert(container.to_string(), lines.clone());
        }
    }
    Expect {
        answers,
        statuses: statuses.collect(),
        events: containers.map(|c| (c.clone(), events_of(outcome, &c))).collect(),
        left_when_quiet: Some(left(&outcome.quiet, &names)),
        left_when_reaped: outcome.reaped.as_ref().map(|reaped| left(reaped, &names)),
        logs,
        ..Expect::default()
    }
}

/// The cause of a violation: what the file says, else a forced fault, else a quirk of the profile.
fn explain(ran: &Ran, source: &Source, cases: &Cases<'_>, invariant: Id) -> Option<Explained> {
    let id = invariant.to_string();
    let quirks = cases.profile.quirks;
    let forced = ran.outcome.had_forced_fault();
    let entries = source.scenario.violations.iter().filter(|entry| entry.invariant == id);
    let can_be = |entry: &&ExpectedViolation| match &entry.cause {
        Cause::Forced => forced,
        Cause::Quirk(id) => Quirk::ALL.iter().any(|q| q.id() == id && quirks.has(*q)),
    };
    let known: Vec<&ExpectedViolation> = entries.filter(can_be).collect();
    let applies = |entry: &&&ExpectedViolation| {
        entry.filter.matches(cases.profile.name, &ran.case.values, cases.axes())
    };
    if let Some(entry) = known.iter().find(applies).or(known.first()) {
        let because = Because::Known(entry.because.clone());
        return Some(Explained { invariant, cause: entry.cause.clone(), because });
    }
    let cause = if forced {
        Cause::Forced
    } else {
        let quirk = quirks.iter().find(|quirk| quirk.breaks().contains(&&*id))?;
        Cause::Quirk(quirk.id().to_owned())
    };
    Some(Explained { invariant, cause, because: Because::New })
}

/// The combination of values that each case is, as a number among all, the last axis running fastest.
fn combinations_of(cases: &Cases<'_>) -> Vec<usize> {
    let positions: Vec<FxHashMap<&str, usize>> = (cases.axes().iter())
        .map(|axis| axis.values.iter().enumerate().map(|(at, value)| (&**value, at)).collect())
        .collect();
    let number = |case| {
        positions.iter().zip(cases.values(case)).fold(0, |number, (positions, (_, value))| {
            number * positions.len() + positions[&**value]
        })
    };
    (0..cases.len()).map(number).collect()
}

/// Filters that fit exactly these cases of these profiles. Profiles with equal cases share one; it
/// names none when it has all versions that an entry without names is `about`, and nothing else.
fn filters(
    cases: &[BTreeSet<usize>],
    of_profiles: &[Cases<'_>],
    numbers: &[Vec<usize>],
    about: impl Fn(&Profile) -> bool,
) -> Vec<Filter> {
    let mut filters: Vec<Filter> = Vec::new();
    for ((set, of_profile), numbers) in cases.iter().zip(of_profiles).zip(numbers) {
        if set.is_empty() {
            continue;
        }
        let patterns = if set.len() == of_profile.len() {
            Vec::new()
        } else {
            let axes = of_profile.axes();
            let mut combinations = vec![None; axes.iter().map(|axis| axis.values.len()).product()];
            numbers.iter().for_each(|number| combinations[*number] = Some(false));
            set.iter().for_each(|case| combinations[numbers[*case]] = Some(true));
            patterns(axes, &combinations)
        };
        let name = of_profile.profile.name.to_owned();
        match filters.iter_mut().find(|filter| filter.cases == patterns) {
            Some(filter) => filter.profiles.push(name),
            None => filters.push(Filter { profiles: vec![name], cases: patterns }),
        }
    }
    for filter in &mut filters {
        let has = |profile: &Profile| filter.profiles.iter().any(|name| name == profile.name);
        let all = Profile::ALL.iter().filter(|profile| about(profile)).all(has);
        let mut here = of_profiles.iter().map(|cases| cases.profile).filter(|p| has(p));
        if all && here.all(&about) {
            filter.profiles.clear();
        }
    }
    filters
}

/// Patterns for a set of cases. `combinations` says of all combinations of values, the last axis
/// running fastest, whether they are in the set; of those that are no case it says nothing.
/// Consecutive values of an axis that are alike become a range.
fn patterns(axes: &[ResolvedAxis], combinations: &[Option<bool>]) -> Vec<CasePattern> {
    let Some((axis, rest)) = axes.split_first() else {
        let is_in = combinations.first() == Some(&Some(true));
        return if is_in { vec![CasePattern(Vec::new())] } else { Vec::new() };
    };
    let count = axis.values.len();
    let of_value: Vec<&[Option<bool>]> = combinations.chunks(combinations.len() / count).collect();
    let mut found = Vec::new();
    let mut first = 0;
    while first < count {
        let mut alike = of_value[first].to_vec();
        let mut end = first + 1;
        let joins = |alike: &[Option<bool>], next: &[Option<bool>]| {
            alike.iter().zip(next).all(|(a, b)| a.is_none() || b.is_none() || a == b)
        };
        while end < count && joins(&alike, of_value[end]) {
            for (known, next) in alike.iter_mut().zip(of_value[end]) {
                *known = known.or(*next);
            }
            end += 1;
        }
        let is_case = |i: &usize| of_value[*i].iter().any(Option::is_some);
        let ends = ((first..end).find(is_case), (first..end).rev().find(is_case));
        let range = match ends {
            _ if end - first == count => None,
            (Some(from), Some(to)) if from < to => {
                Some(ValueRange::Range(axis.values[from].clone(), axis.values[to].clone()))
            }
            (from, _) => Some(ValueRange::One(axis.values[from.unwrap_or(first)].clone())),
        };
        for pattern in patterns(rest, &alike) {
            let head = range.clone().map(|range| (axis.name.clone(), range));
            found.push(CasePattern(head.into_iter().chain(pattern.0).collect()));
        }
        first = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(name: &str, values: &[&str]) -> ResolvedAxis {
        ResolvedAxis {
            name: name.to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        }
    }

    fn text(axes: &[ResolvedAxis], cases: &[usize]) -> Vec<String> {
        text_without(axes, cases, &[])
    }

    /// `absent`: combinations that are no case.
    fn text_without(axes: &[ResolvedAxis], cases: &[usize], absent: &[usize]) -> Vec<String> {
        let all: usize = axes.iter().map(|axis| axis.values.len()).product();
        let combinations: Vec<Option<bool>> = (0..all)
            .map(|number| (!absent.contains(&number)).then(|| cases.contains(&number)))
            .collect();
        let each = patterns(axes, &combinations).into_iter().map(|pattern| {
            let parts = pattern.0.into_iter().map(|(axis, range)| match range {
                ValueRange::One(value) => format!("{axis}={value}"),
                ValueRange::Range(from, to) => format!("{axis}={from}..{to}"),
            });
            parts.collect::<Vec<_>>().join(", ")
        });
        each.collect()
    }

    #[test]
    fn consecutive_values_become_ranges() {
        let one = [axis("m", &["a", "b", "c", "d"])];
        assert_eq!(text(&one, &[1, 2]), ["m=b..c"]);
        assert_eq!(text(&one, &[0, 2, 3]), ["m=a", "m=c..d"]);
        let two = [axis("m", &["a", "b", "c"]), axis("n", &["x", "y"])];
        assert_eq!(text(&two, &[0, 1, 2, 3]), ["m=a..b"]);
        assert_eq!(text(&two, &[0, 2, 4]), ["n=x"]);
        assert_eq!(text(&two, &[0, 3]), ["m=a, n=x", "m=b, n=y"]);
        // What is no case keeps no range apart, and begins none.
        assert_eq!(text_without(&one, &[0, 2], &[1]), ["m=a..c"]);
        assert_eq!(text_without(&one, &[2], &[1]), ["m=c"]);
        assert_eq!(text_without(&two, &[1, 3], &[0, 2]), ["m=a..b"]);
    }
}
