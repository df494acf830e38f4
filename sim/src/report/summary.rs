//! Verdicts as text, for a terminal.

use std::collections::BTreeSet;
use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::plain;
use super::verdicts::{Counts, Entry, Problem, alike};
use crate::scenario::Diagnostic;

pub const GOOD: Style = AnsiColor::Green.on_default().bold();
pub const BAD: Style = AnsiColor::Red.on_default().bold();
pub const DIM: Style = Style::new().dimmed();
pub const BOLD: Style = Style::new().bold();

/// What the entries of one file under one profile came to: each failure, and a line for those that passed.
pub fn of_file(entries: &[Entry]) -> String {
    let mut text: String = failures(entries).collect();
    let passed: Vec<&Entry> = entries.iter().filter(|entry| entry.passed()).collect();
    let Some(first) = passed.first() else { return text };
    let violated = violated(entries);
    let violated = if violated.is_empty() || passed.len() < entries.len() {
        String::new()
    } else {
        format!("  {DIM}{violated} violated, as expected{DIM:#}")
    };
    let cases = counted(passed.len(), "case");
    let _ = writeln!(text, "{GOOD}ok{GOOD:#}    {} ({cases}){violated}", plain(&first.label));
    text
}

/// The entries that failed, those that failed alike together.
pub fn failures(entries: &[Entry]) -> impl Iterator<Item = String> {
    alike(entries).into_iter().map(|group| failure(&group))
}

/// The invariants that broke in any of the entries, as expected or not.
pub fn violated(entries: &[Entry]) -> String {
    let ids: BTreeSet<_> = entries.iter().flat_map(|entry| &entry.violated).collect();
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(" ")
}

/// Cases that are named, and problems that are told, of those that failed alike: more fill a screen.
const CASES_MAX: usize = 3;
const PROBLEMS_MAX: usize = 4;

/// Which cases failed, why, where in their file, the moments that explain it, and how to see more.
fn failure(group: &[&Entry]) -> String {
    let first = group[0];
    let mut text = String::new();
    for entry in group.iter().take(CASES_MAX) {
        let (case, profile) = (plain(&entry.case), &entry.profile);
        let _ = write!(text, "{BAD}FAIL{BAD:#}  {BOLD}{case}{BOLD:#}");
        let _ = match &**profile {
            "" => writeln!(text),
            profile => writeln!(text, "  {DIM}{profile}{DIM:#}"),
        };
    }
    if group.len() > CASES_MAX {
        let more = group.len() - CASES_MAX;
        let _ = writeln!(text, "      {DIM}and {more} more, for the same reasons{DIM:#}");
    }
    let mut last = None;
    // What no replay tells is told here.
    let most = if first.arguments.is_some() { PROBLEMS_MAX } else { usize::MAX };
    for problem in first.problems.iter().take(most) {
        let place = problem.place.as_ref().map(|place| (&place.file, &place.span));
        // One look at a place is enough, but for a file that is to be mended place by place.
        let shown = if place.is_some() && place == last && first.arguments.is_some() {
            told(problem)
        } else {
            rendered(problem, &first.text)
        };
        let _ = writeln!(text, "{shown}");
        last = place;
    }
    if first.problems.len() > most {
        let more = first.problems.len() - most;
        let _ = writeln!(text, "{DIM}and {more} more reasons: the replay tells them{DIM:#}");
    }
    for moment in &first.moments {
        let _ = writeln!(text, "  {}", plain(moment));
    }
    if let Some(replay) = first.replay() {
        let replay = plain(&replay);
        let _ = writeln!(text, "replay: {replay}");
        let _ = writeln!(text, "page:   {replay} --html run.html");
    }
    if let Some(shrink) = first.shrink() {
        let _ = writeln!(text, "shrink: {}", plain(&shrink));
    }
    text
}

/// A problem without its line.
fn told(problem: &Problem) -> String {
    let mut text = format!("{BAD}error{BAD:#}: {}", plain(&problem.message));
    for line in problem.details() {
        let _ = write!(text, "\n   {DIM}={DIM:#} {}", plain(&line));
    }
    text
}

/// A problem with the line that it is about; `text` is what the file says.
pub fn rendered(problem: &Problem, text: &str) -> String {
    let Some(place) = &problem.place else {
        return format!("{BAD}error{BAD:#}: {}", plain(&problem.message));
    };
    let message = plain(&problem.message);
    let diagnostic = Diagnostic::new(&place.file, text, place.span.clone(), message);
    let diagnostic = diagnostic.label(place.label.as_str());
    let diagnostic = match &problem.help {
        Some(help) => diagnostic.help(plain(help)),
        None => diagnostic,
    };
    let remarks = problem.remarks();
    let diagnostic = remarks.iter().fold(diagnostic, |d, remark| d.note(plain(remark)));
    diagnostic.render(text, true)
}

/// The last line.
pub fn total(entries: &[Entry]) -> String {
    let counts = Counts::of(entries);
    let style = if counts.failed == 0 && counts.passed > 0 { GOOD } else { BAD };
    format!("{style}{counts}{style:#}")
}

/// `1 case`, `2,000 cases`
pub fn counted(number: impl TryInto<u64>, what: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    let plural = match number {
        1 => "",
        _ if what.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{} {what}{plural}", thousands(number))
}

/// `12,345`
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
