//! Verdicts as workflow commands of GitHub Actions, which shows them beside the lines of a pull request.

use std::fmt::Write;

use super::plain;
use super::verdicts::{Entry, Problem, Verdicts};

/// A line for each thing that is wrong; the same in several cases is one, as GitHub shows ten of a step.
pub fn github(verdicts: &Verdicts) -> String {
    let mut lines = String::new();
    for group in verdicts.failures() {
        for problem in &group[0].problems {
            lines.push_str(&annotation(&group, problem));
        }
    }
    lines
}

fn annotation(group: &[&Entry], problem: &Problem) -> String {
    let first = group[0];
    let more = match group.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let profile = match &*first.profile {
        "" => String::new(),
        profile => format!(" as {profile}"),
    };
    let title = format!("{} in {}{more}{profile}", problem.rule(), first.case);
    let place = problem.place.as_ref().map_or_else(String::new, |place| {
        format!("file={},line={},col={},", property(&place.file), place.line, place.column)
    });
    let mut message = plain(&problem.message);
    for line in problem.details() {
        let _ = write!(message, "\n{}", plain(&line));
    }
    if let Some(replay) = first.replay() {
        let _ = write!(message, "\nreplay: {}", plain(&replay));
    }
    format!("::error {place}title={}::{}\n", property(&plain(&title)), data(&message))
}

/// What stands behind a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// What stands inside one.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
