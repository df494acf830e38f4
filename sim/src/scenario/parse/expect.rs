//! What must come out: `[[expect]]` and `[[violation]]`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use shakedown_cri::quirks::Quirk;

use super::super::decode::{Names, Str, Table, Value, shown, suggest};
use super::super::limits;
use super::super::model::*;
use super::super::site_name::{MomentName, SiteName};
use super::super::words::{
    ActionWord, EVENT_WORDS, INVARIANTS, LEFT_WORDS, STATE_GONE, STATE_WORDS,
};
use super::Parser;
use super::text::{Wants, site_problem};

const NO_MATRIX: &str = "a file without a `[matrix]` has one case: leave `cases` out";

impl<'t> Parser<'t, '_> {
    fn filter(&self, table: &Table<'t, '_>) -> Filter {
        let profiles = table
            .get("profiles")
            .and_then(|value| value.strings(limits::LIST_MAX, limits::TEXT_BYTES_MAX))
            .unwrap_or_default();
        let valid: Vec<&str> = crate::under_test::profiles().map(|profile| profile.name).collect();
        let mut names = Names::new(self.sink, "profile");
        for profile in &profiles {
            self.one_of(profile, "profile", &valid);
            names.add(&profile.text, profile.span.clone());
        }
        let cases = table
            .get("cases")
            .and_then(|value| value.strings(limits::AXIS_VALUES_MAX, limits::TEXT_BYTES_MAX))
            .unwrap_or_default();
        Filter {
            profiles: profiles.into_iter().map(|profile| profile.text).collect(),
            cases: cases.iter().map(|case| self.case_pattern(case)).collect(),
        }
    }

    fn case_pattern(&self, string: &Str) -> CasePattern {
        let mut parts = Vec::new();
        let mut seen = BTreeSet::new();
        let mut start = 0;
        for part in string.text.split(", ") {
            let range = start..start + part.len();
            start = range.end + ", ".len();
            let span = self.sink.inside(string, range.clone());
            let Some((name, values)) = part.split_once('=') else {
                let message = format!("`{}` is no `AXIS=VALUE` or `AXIS=FROM..TO`", shown(part));
                self.sink.error_with(span, message, |diagnostic| match self.axes.first() {
                    Some(axis) => diagnostic.help(format!("write `{}={}`", axis.name, shown(part))),
                    None => diagnostic.help(NO_MATRIX),
                });
                continue;
            };
            let Some(axis) = self.axes.iter().find(|axis| axis.name == name) else {
                let valid: Vec<&str> = self.axes.iter().map(|axis| axis.name.as_str()).collect();
                let span = self.sink.inside(string, range.start..range.start + name.len());
                let message = format!("unknown axis `{}`", shown(name));
                self.sink.error_with(span, message, |diagnostic| match valid.is_empty() {
                    true => diagnostic.help(NO_MATRIX),
                    false => suggest(diagnostic, name, &valid),
                });
                continue;
            };
            if !seen.insert(name) {
                let message = format!("the axis `{name}` is there twice");
                self.sink.error(span.clone(), message, "keep one of the two");
            }
            let range = match values.split_once("..") {
                Some((from, to)) => {
                    let from_index = self.axis_value(axis, from, &span);
                    let to_index = self.axis_value(axis, to, &span);
                    if let (Some(from_index), Some(to_index)) = (from_index, to_index)
                        && from_index > to_index
                    {
                        let message = format!("`{}` comes after `{}`", shown(from), shown(to));
                        let meant = format!("{name}={}..{}", shown(to), shown(from));
                        self.sink.error_with(span, message, |diagnostic| {
                            diagnostic.help(format!("write `{meant}`"))
                        });
                    }
                    ValueRange::Range(from.to_owned(), to.to_owned())
                }
                None => {
                    self.axis_value(axis, values, &span);
                    ValueRange::One(values.to_owned())
                }
            };
            parts.push((name.to_owned(), range));
        }
        CasePattern(parts)
    }

    /// The position of a value in its axis, where that is known before a run.
    fn axis_value(&self, axis: &Axis, value: &str, span: &Range<usize>) -> Option<usize> {
        let problem = match &axis.values {
            AxisValues::List(values) => {
                let index = values.iter().position(|known| known == value);
                if index.is_none() {
                    let valid: Vec<&str> = values.iter().map(String::as_str).collect();
                    let what = format!("value of the axis `{}`:", axis.name);
                    self.sink.unknown(span.clone(), &what, value, &valid);
                }
                return index;
            }
            AxisValues::EveryMomentOf { .. } => value.parse::<MomentName>().err(),
            AxisValues::EverySiteOf(_) | AxisValues::EveryOperationOf(_) => {
                value.parse::<SiteName>().err()
            }
        };
        if let Some(error) = problem {
            let problem = site_problem(error);
            let message = format!("`{}`: {}", shown(value), problem.message);
            self.sink.error(
                span.clone(),
                message,
                "write it as a report names it, as `start-1/task.create(web)#1`",
            );
        }
        None
    }

    pub(super) fn expect(&self, table: Table<'t, '_>) -> Expect {
        let filter = self.filter(&table);
        let says_nothing =
            table.keys().iter().all(|key| matches!(key.text.as_str(), "profiles" | "cases"));
        if says_nothing {
            let message = "this expectation checks nothing";
            self.sink.error_with(table.span.clone(), message, |diagnostic| {
                diagnostic.help(
                    "add what must come out, as `left-when-quiet = []`, or an `[[expect.answer]]`",
                )
            });
        }
        let mut names = Names::new(self.sink, "the answer of");
        let answers = table
            .tables("answer", limits::EXPECTATIONS_MAX, "an expected answer")
            .into_iter()
            .map(|table| self.expect_answer(table, &mut names))
            .collect();
        let mut names = Names::new(self.sink, "the status of");
        let statuses = table
            .tables("status", limits::EXPECTATIONS_MAX, "an expected status")
            .into_iter()
            .map(|table| self.expect_status(table, &mut names))
            .collect();
        let events = self.by_container(&table, "events", limits::TEXT_BYTES_MAX);
        for word in events.values().flatten() {
            self.one_of(word, "event", EVENT_WORDS);
        }
        let logs = self.by_container(&table, "log", limits::LONG_TEXT_BYTES_MAX);
        let texts = |map: BTreeMap<String, Vec<Str>>| {
            map.into_iter()
                .map(|(name, list)| (name, list.into_iter().map(|string| string.text).collect()))
                .collect()
        };
        let order = table
            .get("order")
            .and_then(|value| value.list(limits::LIST_MAX))
            .unwrap_or_default()
            .into_iter()
            .map(|value| self.order(value))
            .collect();
        let expect = Expect {
            span: Span(table.span.clone()),
            filter,
            answers,
            statuses,
            events: texts(events),
            left_when_quiet: self.left(&table, "left-when-quiet"),
            left_when_reaped: self.left(&table, "left-when-reaped"),
            order,
            logs: texts(logs),
            panic: table.string("panic").map(|string| string.text),
            not_applied: table
                .get("not-applied")
                .and_then(|value| value.strings(limits::LIST_MAX, limits::TEXT_BYTES_MAX))
                .unwrap_or_default()
                .into_iter()
                .map(|string| {
                    let wants = self.wants_of_name(&string.text);
                    self.text(string, wants)
                })
                .collect(),
        };
        table.finish();
        expect
    }

    fn order(&self, value: Value<'t, '_>) -> Vec<Text> {
        let list = match value.is_string() {
            true => None,
            false => value.strings(limits::LIST_MAX, limits::TEXT_BYTES_MAX),
        };
        let list = list.unwrap_or_default();
        if list.is_empty() {
            let message = "an order is a list of lists of moments, none of them empty";
            self.sink.error_with(value.span(), message, |diagnostic| {
                diagnostic.help("write `order = [[\"MOMENT\", \"MOMENT\"]]`")
            });
        }
        list.into_iter().map(|string| self.text(string, Wants::Moment)).collect()
    }

    /// Whether a name can only be that of a moment: by how it ends or, where that is filled in, by what
    /// is.
    fn wants_of_name(&self, name: &str) -> Wants {
        let word = name.rsplit_once('.').map_or("", |(_, word)| word);
        let ends_as_moment =
            matches!(word, "effect" | "reply" | "abandon" | "begin" | "done" | "cancel");
        let swept = self.axes.iter().any(|axis| {
            matches!(axis.values, AxisValues::EveryMomentOf { .. })
                && name.ends_with(&format!("{{{}}}", axis.name))
        });
        if ends_as_moment || swept { Wants::Moment } else { Wants::Site }
    }

    /// What is left on the node: sorted, so that the order in the file does not matter.
    fn left(&self, table: &Table<'t, '_>, key: &'static str) -> Option<Vec<String>> {
        let list = table.get(key)?.strings(limits::EXPECTATIONS_MAX, limits::TEXT_BYTES_MAX)?;
        for string in &list {
            let what = LEFT_WORDS.iter().find(|word| {
                string.text.strip_prefix(**word).is_some_and(|rest| rest.starts_with(' '))
            });
            if what.is_none() {
                let message = format!("`{}` is nothing that can be left", shown(&string.text));
                let word = string.text.split(' ').next().unwrap_or_default();
                self.sink.error_with(string.span.clone(), message, |diagnostic| {
                    match LEFT_WORDS.contains(&word) {
                        true => diagnostic.help(format!("add of what it is: `{word} web`")),
                        false => suggest(diagnostic, word, LEFT_WORDS),
                    }
                    .note("an entry is written as reports have it: `task web created`")
                });
            }
        }
        let mut list: Vec<String> = list.into_iter().map(|string| string.text).collect();
        list.sort_unstable();
        Some(list)
    }

    /// A table from names of containers to lists of texts.
    fn by_container(
        &self,
        table: &Table<'t, '_>,
        key: &'static str,
        bytes_max: usize,
    ) -> BTreeMap<String, Vec<Str>> {
        let what = if key == "log" { "the expected logs" } else { "the expected events" };
        let Some(table) = table.get(key).and_then(|value| value.table(what)) else {
            return BTreeMap::new();
        };
        table
            .entries()
            .into_iter()
            .filter_map(|(name, value)| {
                self.known(&name, "container", &self.containers);
                Some((name.text, value.strings(limits::EXPECTATIONS_MAX, bytes_max)?))
            })
            .collect()
    }

    fn expect_answer(&self, table: Table<'t, '_>, names: &mut Names<'t>) -> ExpectAnswer {
        let unnamed = self.has_unnamed_call.then(String::new);
        let calls: Vec<String> = self.calls.keys().cloned().chain(unnamed).collect();
        let call = self.required_reference(&table, "call", &calls);
        if !call.is_empty() {
            names.add(&call, table.span.clone());
        }
        let state = table.string("state");
        if let Some(state) = &state {
            self.one_of(state, "state", STATE_WORDS);
            let action = self.calls.get(&call).copied().flatten();
            if action.is_some_and(|action| action != ActionWord::Status) {
                let message = "only the answer of a `status` call has a state";
                self.sink.error_with(state.span.clone(), message, |diagnostic| {
                    diagnostic.help("a status is expected by `[[expect.status]]`")
                });
            }
        }
        let received = table
            .get("received")
            .and_then(|value| value.strings(limits::EXPECTATIONS_MAX, limits::TEXT_BYTES_MAX));
        for event in received.iter().flatten() {
            let (container, kind) = event.text.split_once(' ').unwrap_or((&event.text, ""));
            let names = [&self.containers, &self.sandboxes];
            let known = names.iter().any(|names| names.iter().any(|name| name == container));
            if !known || !EVENT_WORDS.contains(&kind) {
                let message = format!("`{}` is no event of a container", shown(&event.text));
                self.sink.error_with(event.span.clone(), message, |diagnostic| {
                    diagnostic.help("write the name of the container and the event: `web started`")
                });
            }
        }
        let action = self.calls.get(&call).copied().flatten();
        if let Some(value) = table.get("received")
            && action.is_some_and(|action| action != ActionWord::Events)
        {
            let message = "only an `events` call receives something";
            self.sink.error_with(value.span(), message, |diagnostic| {
                diagnostic.help("events of containers are expected by `[expect.events]`")
            });
        }
        let answer = ExpectAnswer {
            span: Span(table.span.clone()),
            call,
            code: self.required_text(&table, "code", Wants::Answer, "\"ok\""),
            message: self.text_of(&table, "message", Wants::Message),
            client: self.text_of(&table, "client", Wants::Answer),
            state: state.map(|state| state.text),
            received: received.map(|list| list.into_iter().map(|event| event.text).collect()),
        };
        table.finish();
        answer
    }

    fn expect_status(&self, table: Table<'t, '_>, names: &mut Names<'t>) -> ExpectStatus {
        let container = self.required_reference(&table, "container", &self.containers);
        if !container.is_empty() {
            names.add(&container, table.span.clone());
        }
        let state = table.string("state");
        if let Some(state) = &state {
            let valid: Vec<&str> = STATE_WORDS.iter().copied().chain([STATE_GONE]).collect();
            self.one_of(state, "state", &valid);
        }
        let exit_code = self.bounded(&table, "exit-code", i64::from(i32::MIN), i64::from(i32::MAX));
        let status = ExpectStatus {
            span: Span(table.span.clone()),
            container,
            state: state.map(|state| state.text),
            exit_code: exit_code.and_then(|code| i32::try_from(code).ok()),
            reason: table.string("reason").map(|reason| reason.text),
            message: self.text_of(&table, "message", Wants::Message),
            started: table.boolean("started"),
            finished: table.boolean("finished"),
        };
        table.finish();
        status
    }

    pub(super) fn violations(&self, tables: Vec<Table<'t, '_>>) -> Vec<ExpectedViolation> {
        tables.into_iter().filter_map(|table| self.violation(table)).collect()
    }

    fn violation(&self, table: Table<'t, '_>) -> Option<ExpectedViolation> {
        let filter = self.filter(&table);
        let invariant =
            table.require("invariant", "\"I1\"").and_then(|value| match value.is_string() {
                true => value.string(limits::TEXT_BYTES_MAX),
                false => value.one_of("invariant", INVARIANTS),
            });
        if let Some(invariant) = &invariant {
            let all = crate::invariants::all();
            match all.iter().find(|known| known.name() == invariant.text) {
                // Its name is as good as its number, but for those who look for it in a file.
                Some(known) => {
                    let message = "an invariant is named by its number";
                    self.sink.error_with(invariant.span.clone(), message, |diagnostic| {
                        diagnostic.help(format!("write `{}`", known.id()))
                    });
                }
                None => self.one_of(invariant, "invariant", INVARIANTS),
            }
        }
        let quirk = table.string("quirk");
        if let Some(quirk) = &quirk {
            let valid: Vec<&str> = Quirk::ALL.iter().map(|quirk| quirk.id()).collect();
            self.one_of(quirk, "quirk", &valid);
        }
        let forced = table.boolean("forced");
        let cause = match (quirk, forced) {
            (Some(quirk), None) => Some(Cause::Quirk(quirk.text)),
            (None, Some(true)) => Some(Cause::Forced),
            _ => {
                let message = "a violation needs one of `quirk = \"…\"` and `forced = true`";
                self.sink.error_with(table.span.clone(), message, |diagnostic| {
                    diagnostic.help("`shakedown quirks` lists the quirks and what each breaks; `shakedown bless` writes the entry")
                });
                None
            }
        };
        let because = table.string("because").map_or_else(String::new, |string| string.text);
        let span = Span(table.span.clone());
        table.finish();
        Some(ExpectedViolation { span, filter, invariant: invariant?.text, cause: cause?, because })
    }
}
