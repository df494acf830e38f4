//! Two runs held against one another: their moments aligned by their names, and what came of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::facts::{Detail, Report};
use super::page::{Changed, Column, Note, Story};
use super::summary::{BAD, BOLD, DIM, GOOD};
use super::{clock, plain};
use crate::suite::{Ran, Source};

/// One of the two runs.
pub struct Side {
    pub report: Report,
    pub story: Story,
}

/// A place in the alignment; numbers are those of columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    Same(usize, usize),
    /// Both have the moment, and it brought something else.
    Other(usize, usize),
    OnlyA(usize),
    OnlyB(usize),
}

/// Something that came out otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differs {
    pub what: String,
    pub a: String,
    pub b: String,
}

pub struct Comparison {
    pub a: Side,
    pub b: Side,
    pub rows: Vec<Row>,
    pub outcome: Vec<Differs>,
}

impl Side {
    fn new(source: &Source, ran: &Ran) -> Self {
        Side { report: Report::new(source, ran, Detail::Full), story: Story::of(source, ran) }
    }

    /// `lost (1.7.24)`
    pub fn name(&self) -> String {
        format!("{} ({})", plain(&self.report.case), self.report.profile)
    }

    pub fn verdict(&self) -> &'static str {
        if self.report.verdict.passed { "passed" } else { "FAILED" }
    }
}

/// A moment as the alignment sees it.
fn name(column: &Column) -> String {
    format!("{} {}", column.actor, column.what)
}

/// What a moment brought, without when.
fn brought(column: &Column) -> (Option<&str>, Vec<&Changed>, Vec<String>) {
    let notes = column.notes.iter().filter_map(noted).collect();
    (column.error.as_deref(), column.changes.iter().collect(), notes)
}

/// A note in words, whatever line of its file it comes from. What the service logs says nothing of its own.
fn noted(note: &Note) -> Option<String> {
    match note {
        Note::Fault { what, .. } => Some(format!("fault {what}")),
        Note::Held { what } => Some(format!("set aside {what}")),
        Note::LetGo { what } => Some(format!("let go {what}")),
        Note::Log { .. } => None,
    }
}

impl Comparison {
    /// Both runs were filmed.
    pub fn new(a: (&Source, &Ran), b: (&Source, &Ran)) -> Self {
        let (a, b) = (Side::new(a.0, a.1), Side::new(b.0, b.1));
        let names = |side: &Side| side.story.columns.iter().map(name).collect::<Vec<String>>();
        let mut rows = Vec::new();
        let mut lag = 0;
        for operation in capture_diff_slices(Algorithm::Patience, &names(&a), &names(&b)) {
            match operation {
                DiffOp::Equal { old_index, new_index, len } => {
                    for i in 0..len {
                        let (at, of) = (old_index + i, new_index + i);
                        let (one, other) = (&a.story.columns[at], &b.story.columns[of]);
                        let now = i128::from(other.at) - i128::from(one.at);
                        let same = brought(one) == brought(other) && now == lag;
                        lag = now;
                        rows.push(if same { Row::Same(at, of) } else { Row::Other(at, of) });
                    }
                }
                DiffOp::Delete { old_index, old_len, .. } => {
                    rows.extend((old_index..old_index + old_len).map(Row::OnlyA));
                }
                DiffOp::Insert { new_index, new_len, .. } => {
                    rows.extend((new_index..new_index + new_len).map(Row::OnlyB));
                }
                DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                    rows.extend((old_index..old_index + old_len).map(Row::OnlyA));
                    rows.extend((new_index..new_index + new_len).map(Row::OnlyB));
                }
            }
        }
        let outcome = outcome(&a.report, &b.report);
        Comparison { a, b, rows, outcome }
    }

    /// The first row that is not the same.
    pub fn first(&self) -> Option<usize> {
        self.rows.iter().position(|row| !matches!(row, Row::Same(..)))
    }

    pub fn is_same(&self) -> bool {
        self.first().is_none() && self.outcome.is_empty()
    }
}

/// Where a fact stands among the others, and what it is about.
type Key = ((u8, u32), String);

/// What of the facts is an invariant.
const INVARIANTS: u8 = 1;

/// What a run came to, by what it is about.
fn facts(report: &Report) -> BTreeMap<Key, String> {
    let mut facts = BTreeMap::new();
    let mut put_at = |place: (u8, u32), what: String, text: String| {
        facts.insert((place, what), text);
    };
    for (number, invariant) in (0..).zip(&report.invariants) {
        if let Some(first) = invariant.violations.first() {
            let what = format!("{} {}", invariant.id, invariant.name);
            put_at((INVARIANTS, number), what, first.what.clone());
        }
    }
    let mut put = |order: u8, what: String, text: String| put_at((order, 0), what, text);
    let verdict = if report.verdict.passed { "passed" } else { "FAILED" };
    put(0, "verdict".to_owned(), verdict.to_owned());
    for answer in &report.answers {
        let more = [&answer.message, &answer.reply];
        let more: Vec<&str> = more.into_iter().flatten().map(String::as_str).collect();
        let space = if more.is_empty() { "" } else { ": " };
        put(
            2,
            format!("answer to {}", answer.call),
            format!("{}{space}{}", answer.code, more.join(" ")),
        );
    }
    let nodes =
        [(3, "once quiet", Some(&report.quiet)), (5, "once reaped", report.reaped.as_ref())];
    for (order, when, node) in nodes {
        let Some(node) = node else { continue };
        for status in &node.statuses {
            let mut text = status.state.to_owned();
            if status.finished {
                text.push_str(&format!(", exit code {}", status.exit_code));
            }
            if !status.reason.is_empty() {
                text.push_str(&format!(", reason {}", status.reason));
            }
            if !status.message.is_empty() {
                text.push_str(&format!(": {}", status.message));
            }
            put(order, format!("status of {} {when}", status.container), text);
        }
        let left = if node.left.is_empty() { "nothing".to_owned() } else { node.left.join(", ") };
        put(order + 1, format!("left {when}"), left);
    }
    // What is empty is as good as not there.
    for (container, events) in report.events.iter().filter(|(_, events)| !events.is_empty()) {
        put(7, format!("events of {container}"), events.join(", "));
    }
    for (container, lines) in report.logs.iter().filter(|(_, lines)| !lines.is_empty()) {
        put(8, format!("log of {container}"), lines.join(" | "));
    }
    facts
}

fn outcome(a: &Report, b: &Report) -> Vec<Differs> {
    let (of_a, of_b) = (facts(a), facts(b));
    let all: BTreeSet<&Key> = of_a.keys().chain(of_b.keys()).collect();
    let differing = all.into_iter().filter(|key| of_a.get(*key) != of_b.get(*key));
    differing
        .map(|key| Differs {
            what: key.1.clone(),
            a: of_a.get(key).cloned().unwrap_or_else(|| nothing(a, key)),
            b: of_b.get(key).cloned().unwrap_or_else(|| nothing(b, key)),
        })
        .collect()
}

/// What a run has of a fact that it does not have.
fn nothing(report: &Report, ((order, number), _): &Key) -> String {
    let invariant = report.invariants.get(*number as usize).filter(|_| *order == INVARIANTS);
    match invariant {
        Some(invariant) if invariant.evaluated == 0 => "not evaluated",
        Some(_) => "holds",
        None => "none",
    }
    .to_owned()
}

/// Rows around a difference that are shown with it.
const CONTEXT: usize = 3;

/// Which rows are shown: those that differ, and some around them.
pub fn shown(rows: &[Row], context: usize) -> Vec<bool> {
    let mut shown = vec![false; rows.len()];
    for (at, _) in rows.iter().enumerate().filter(|(_, row)| !matches!(row, Row::Same(..))) {
        let to = (at + context + 1).min(rows.len());
        shown[at.saturating_sub(context)..to].fill(true);
    }
    shown
}

/// What one moment brought and the other did not, in words.
pub fn remarks(column: &Column, other: Option<&Column>) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(error) = &column.error
        && other.is_none_or(|other| other.error.as_ref() != Some(error))
    {
        remarks.push(format!("! {error}"));
    }
    let known = other.map_or_else(Vec::new, |other| other.notes.iter().filter_map(noted).collect());
    remarks.extend(column.notes.iter().filter_map(noted).filter(|note| !known.contains(note)));
    for change in &column.changes {
        let is_known = other.is_some_and(|other| other.changes.contains(change));
        if !is_known {
            let (sign, text) = match (&change.before, &change.now) {
                (_, None) => ("-", String::new()),
                (None, Some(now)) => ("+", format!(" {now}")),
                (Some(_), Some(now)) => ("~", format!(" {now}")),
            };
            let (part, name) = &change.key;
            let text = text.trim_end();
            remarks.push(format!("{sign} {} {name}{text}", part.heading()));
        }
    }
    remarks
}

/// The comparison for a terminal, in the manner of a unified diff.
pub fn text(comparison: &Comparison) -> String {
    let Comparison { a, b, rows, outcome } = comparison;
    let mut text = String::new();
    for (letter, side) in [("A", a), ("B", b)] {
        let style = if side.report.verdict.passed { GOOD } else { BAD };
        let _ = writeln!(
            text,
            "{BOLD}{letter}{BOLD:#}  {}  {style}{}{style:#}",
            side.name(),
            side.verdict()
        );
    }
    let Some(first) = comparison.first() else {
        let _ = writeln!(text, "\nevery moment is the same, all {}", rows.len());
        return text + &outcome_text(outcome);
    };
    let count = rows.iter().filter(|row| !matches!(row, Row::Same(..))).count();
    let of = rows.len();
    let _ = writeln!(
        text,
        "\n{count} of {of} moments differ; those before the first that does: {first}"
    );
    let shown = shown(rows, CONTEXT);
    let mut hidden = 0;
    for (at, row) in rows.iter().enumerate() {
        if !shown[at] {
            hidden += 1;
            continue;
        }
        if hidden > 0 {
            let _ = writeln!(text, "{DIM}@@ {hidden} the same @@{DIM:#}");
            hidden = 0;
        }
        if at == first {
            let _ = writeln!(text, "{BOLD}the first difference:{BOLD:#}");
        }
        text.push_str(&row_text(comparison, row));
    }
    if hidden > 0 {
        let _ = writeln!(text, "{DIM}@@ {hidden} the same @@{DIM:#}");
    }
    text + &outcome_text(outcome)
}

fn row_text(comparison: &Comparison, row: &Row) -> String {
    let (a, b) = match row {
        Row::Same(a, b) | Row::Other(a, b) => (Some(*a), Some(*b)),
        Row::OnlyA(a) => (Some(*a), None),
        Row::OnlyB(b) => (None, Some(*b)),
    };
    let a = a.map(|at| &comparison.a.story.columns[at]);
    let b = b.map(|at| &comparison.b.story.columns[at]);
    let (sign, style) = match row {
        Row::Same(..) => (' ', DIM),
        Row::Other(..) => ('~', BOLD),
        Row::OnlyA(_) => ('-', BAD),
        Row::OnlyB(_) => ('+', GOOD),
    };
    let label = |column: Option<&Column>| column.map_or_else(String::new, Column::label);
    let Some(column) = a.or(b) else { return String::new() };
    let what = plain(name(column).trim());
    let mut text = format!(
        "{style}{sign} {:>6} {:>6}  {:>9}  {what}{style:#}\n",
        label(a),
        label(b),
        clock(column.at)
    );
    if matches!(row, Row::Same(..)) {
        return text;
    }
    for (letter, one, other) in [("A", a, b), ("B", b, a)] {
        let Some(one) = one else { continue };
        let mut said = remarks(one, other);
        if let Some(other) = other.filter(|other| other.at != one.at) {
            let (sign, by) = match one.at.checked_sub(other.at) {
                Some(by) => ("later", by),
                None => ("earlier", other.at - one.at),
            };
            said.push(format!("at {}, {} {sign}", clock(one.at), clock(by)));
        }
        for remark in said {
            let _ = writeln!(text, "{:29}{letter} {}", "", plain(&remark));
        }
    }
    text
}

fn outcome_text(outcome: &[Differs]) -> String {
    let mut text = String::new();
    if outcome.is_empty() {
        text.push_str("\nwhat came of it is the same\n");
        return text;
    }
    let _ = writeln!(text, "\n{BOLD}what came of it{BOLD:#}");
    for Differs { what, a, b } in outcome {
        let _ = writeln!(text, "{}\n    A  {}\n    B  {}", plain(what), plain(a), plain(b));
    }
    text
}
