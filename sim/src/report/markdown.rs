//! Verdicts as Markdown, for the summary of a CI job.

use std::fmt::Write;

use super::plain;
use super::verdicts::{Entry, Problem, Verdicts};

/// Groups of failures that are told one by one: a summary has a limit of a mebibyte, and readers have theirs.
const GROUPS_MAX: usize = 50;
/// Characters of a message in a table.
const CELL_MAX: usize = 400;

pub fn markdown(verdicts: &Verdicts) -> String {
    let mut page = String::new();
    let verdict = if verdicts.passed() { "passed" } else { "FAILED" };
    let _ = writeln!(page, "## Shakedown: {verdict}\n\n{}", verdicts.counts());
    let failures = verdicts.failures();
    if failures.is_empty() {
        return page;
    }
    page.push_str("\n| case | profile | what | where |\n|---|---|---|---|\n");
    for group in failures.iter().take(GROUPS_MAX) {
        for problem in &group[0].problems {
            row(&mut page, group, problem);
        }
    }
    if failures.len() > GROUPS_MAX {
        let _ = writeln!(
            page,
            "\n{} more kinds of failure are not shown.",
            failures.len() - GROUPS_MAX
        );
    }
    let replays: Vec<String> =
        (failures.iter().take(GROUPS_MAX)).filter_map(|group| group[0].replay()).collect();
    if !replays.is_empty() {
        page.push_str("\nTo replay the first case of each:\n\n");
        for replay in &replays {
            let _ = writeln!(page, "    {}", plain(replay));
        }
    }
    page
}

fn row(page: &mut String, group: &[&Entry], problem: &Problem) {
    let first = group[0];
    let more = match group.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    // An invariant's message begins with its number.
    let mut what = match problem.invariant {
        Some(_) => problem.message.clone(),
        None => format!("{}: {}", problem.kind, problem.message),
    };
    for line in problem.details() {
        let _ = write!(what, "; {line}");
    }
    let place = problem.place.as_ref().map_or_else(String::new, |place| {
        format!("{}:{}:{}", cell(&place.file), place.line, place.column)
    });
    let _ = writeln!(
        page,
        "| {}{more} | {} | {} | {place} |",
        cell(&first.case),
        cell(&first.profile),
        cell(&what)
    );
}

/// A text in a table, in which nothing of it is markup.
fn cell(text: &str) -> String {
    let text = plain(text);
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == CELL_MAX {
            out.push('…');
            break;
        }
        if "\\`*_{}[]<>()#+!|~$&@".contains(c) {
            let _ = write!(out, "&#{};", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}
