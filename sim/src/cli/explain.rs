//! `shakedown explain`

use std::path::PathBuf;

use shakedown_cri::quirks::{Profile, Quirk};

use super::output::{BOLD, Failure, Output};
use super::{failing, select};
use crate::explore::Broken;
use crate::report::{describe, plain};
use crate::scenario::{
    AxisValues, Cause, Expect, ExpectStatus, ExpectedViolation, Filter, ValueRange,
};
use crate::suite::{ExitCode, Runner};
use crate::under_test;

const EXAMPLES: &str = "\
Examples:
  shakedown explain scenarios/start/task-create-fails.toml
  shakedown explain --failing failures/i1-start-task-create-1-7-24.toml --profile 1.7.24

With --failing the run is made up to each of its moments, and from there goes on at random: without more
faults, and with what is due in any order. How often it still fails says how much of the failure was
decided by then.";

/// Tells in words what a scenario file says: the world, the calls, what is disturbed, what is
/// expected, and how many cases it has.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A scenario file.
    file: PathBuf,
    /// Tell of a case that breaks an invariant when that became inevitable, and which of its decisions it
    /// needs.
    #[arg(long)]
    failing: bool,
    /// Of several cases, which one.
    #[arg(long, value_name = "NAME", requires = "failing")]
    case: Option<String>,
    /// What breaks, as `I6`, `panic` or `budget` [default: the first that does].
    #[arg(long, value_name = "NAME", requires = "failing", hide_possible_values = true,
          value_parser = select::broken_parser())]
    invariant: Option<Broken>,
    /// Runs that go on at random from each moment.
    #[arg(long, value_name = "N", default_value_t = 40, requires = "failing",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    samples: u32,
    /// The version whose cases are counted, where a sweep depends on it; that it fails in.
    #[arg(long, value_name = "NAME", default_value = under_test::default_profile().name,
          value_parser = select::profile_parser())]
    profile: String,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let sources = select::load(std::slice::from_ref(&args.file))?;
    let profiles = select::profiles(std::slice::from_ref(&args.profile));
    let runner = Runner::new();
    let selected = select::select(&runner, &sources, &profiles, args.case.as_deref())?;
    if args.failing {
        failing::explain(&selected, profiles[0], args.invariant, args.samples, output)?;
        return Ok(ExitCode::Passed);
    }
    for (number, of_source) in selected.iter().enumerate() {
        for selection in of_source {
            if number > 0 {
                output.line(format_args!(""))?;
            }
            explain(&selection.cases, output)?;
        }
    }
    Ok(ExitCode::Passed)
}

fn explain(cases: &crate::suite::Cases<'_>, output: &mut Output) -> Result<(), Failure> {
    let source = cases.source;
    let scenario = &source.scenario;
    output.line(format_args!("{BOLD}{}{BOLD:#}: {}", source.label, plain(&scenario.title)))?;
    for line in scenario.description.trim().lines() {
        output.line(format_args!("  {}", plain(line)))?;
    }
    if !scenario.tags.is_empty() {
        output.line(format_args!("tags: {}", scenario.tags.join(", ")))?;
    }
    let things = describe::world(&scenario.world);
    let things = things.iter().map(|t| match &*t.name {
        "" => format!("{}: {}", t.kind, t.what),
        name => format!("{} {name}: {}", t.kind, t.what),
    });
    section(output, "The world", things)?;
    let calls = scenario.calls.iter().map(|c| format!("{}: {}", c.name, describe::call(c)));
    section(output, "Clients call", calls)?;
    let occurrences = scenario.occurrences.iter();
    let occurrences =
        occurrences.map(|o| format!("{}, {}", describe::occurrence(o), describe::when(&o.when)));
    section(output, "What happens by itself", occurrences)?;
    let faults = scenario.faults.iter().map(|f| format!("{}: {}", f.at, describe::fault(f)));
    let holds = scenario.holds.iter().map(|h| format!("{} is held {}", h.what, describe::hold(h)));
    let clocks = (scenario.clocks.iter())
        .map(|c| format!("the wall clock, {}: {}", describe::when(&c.when), describe::clock(c)));
    let crashes = (scenario.crashes.iter())
        .map(|c| format!("{}: {}", describe::when(&c.when), describe::crash(c)));
    section(output, "What is disturbed", faults.chain(holds).chain(clocks).chain(crashes))?;
    let axes = scenario.matrix.iter().zip(cases.axes()).map(|(axis, resolved)| {
        let count = resolved.values.len();
        match &axis.values {
            AxisValues::List(values) => format!("{}: {}", axis.name, values.join(", ")),
            AxisValues::EveryMomentOf { actor, from } => {
                let from: String = from.iter().map(|from| format!(" from {from} on")).collect();
                let Profile { name, .. } = cases.profile;
                format!("{}: every moment of {actor}{from}, {count} in {name}", axis.name)
            }
            AxisValues::EveryOperationOf(actor) => format!(
                "{}: the first site of each operation of {actor}, {count} in {}",
                axis.name, cases.profile.name
            ),
            AxisValues::EverySiteOf(actor) => format!(
                "{}: every site of {actor} that can meet the faults, {count} in {}",
                axis.name, cases.profile.name
            ),
        }
    });
    section(output, "The matrix", axes)?;
    let expects = scenario.expects.iter().flat_map(expected);
    section(output, "What is expected", expects)?;
    let violations = scenario.violations.iter().map(violation);
    section(output, "Invariants that are expected to break", violations)?;
    let cases = cases.len();
    let word = if cases == 1 { "case" } else { "cases" };
    output.line(format_args!("\n{cases} {word}"))
}

fn section(
    output: &mut Output,
    heading: &str,
    lines: impl Iterator<Item = String>,
) -> Result<(), Failure> {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return Ok(());
    }
    output.line(format_args!("\n{BOLD}{heading}{BOLD:#}"))?;
    for line in lines {
        output.line(format_args!("  {}", plain(&line)))?;
    }
    Ok(())
}

/// To which cases an entry applies; empty when to all.
fn whereabouts(filter: &Filter) -> String {
    let mut parts = Vec::new();
    if !filter.profiles.is_empty() {
        parts.push(format!("in {}", filter.profiles.join(", ")));
    }
    if !filter.cases.is_empty() {
        let patterns = filter.cases.iter().map(|pattern| {
            let axes = pattern.0.iter().map(|(axis, range)| match range {
                ValueRange::One(value) => format!("{axis} {value}"),
                ValueRange::Range(from, to) => format!("{axis} from {from} to {to}"),
            });
            axes.collect::<Vec<_>>().join(" and ")
        });
        parts.push(format!("where {}", patterns.collect::<Vec<_>>().join(", or ")));
    }
    parts.join(", ")
}

fn list(entries: &[String]) -> String {
    if entries.is_empty() { "nothing".to_owned() } else { entries.join(", ") }
}

fn expected(expect: &Expect) -> Vec<String> {
    let mut lines = Vec::new();
    for answer in &expect.answers {
        let mut line = match &*answer.code {
            "none" => format!("{} is never answered", answer.call),
            code => format!("{} is answered {code}", answer.call),
        };
        if let Some(state) = &answer.state {
            line.push_str(&format!(", state {state}"));
        }
        if let Some(received) = &answer.received {
            line.push_str(&format!(", received: {}", list(received)));
        }
        if let Some(client) = &answer.client {
            line.push_str(&format!("; its client sees {client}"));
        }
        if let Some(message) = &answer.message {
            line.push_str(&format!(": {message}"));
        }
        lines.push(line);
    }
    lines.extend(expect.statuses.iter().map(expected_status));
    for (container, events) in &expect.events {
        lines.push(format!("events of {container}: {}", list(events)));
    }
    for (container, log) in &expect.logs {
        let count = log.len();
        let word = if count == 1 { "line" } else { "lines" };
        lines.push(format!("the log of {container} has {count} {word}"));
    }
    if let Some(left) = &expect.left_when_quiet {
        lines.push(format!("left once quiet: {}", list(left)));
    }
    if let Some(left) = &expect.left_when_reaped {
        lines.push(format!("left once reaped: {}", list(left)));
    }
    lines.extend(expect.order.iter().map(|order| format!("in this order: {}", order.join(", "))));
    if let Some(panic) = &expect.panic {
        lines.push(format!("the service panics: {panic}"));
    }
    lines.extend(expect.not_applied.iter().map(|name| format!("does not come about: {name}")));
    let whereabouts = whereabouts(&expect.filter);
    if !whereabouts.is_empty() {
        for line in &mut lines {
            *line = format!("{whereabouts}: {line}");
        }
    }
    lines
}

fn expected_status(status: &ExpectStatus) -> String {
    let mut parts = Vec::new();
    if let Some(state) = &status.state {
        parts.push(state.clone());
    }
    if let Some(code) = status.exit_code {
        parts.push(format!("exit code {code}"));
    }
    if let Some(reason) = &status.reason {
        parts.push(if reason.is_empty() {
            "no reason".to_owned()
        } else {
            format!("reason {reason}")
        });
    }
    let times = [("started", status.started), ("finished", status.finished)];
    for (what, is_set) in times {
        match is_set {
            Some(true) => parts.push(what.to_owned()),
            Some(false) => parts.push(format!("not {what}")),
            None => {}
        }
    }
    let message = status.message.as_ref().map_or_else(String::new, |m| format!(": {m}"));
    format!("{} is {} once quiet{message}", status.container, parts.join(", "))
}

fn violation(entry: &ExpectedViolation) -> String {
    let cause = match &entry.cause {
        Cause::Forced => "by a fault that no real node produces".to_owned(),
        Cause::Quirk(id) => {
            let quirk = Quirk::ALL.iter().find(|quirk| quirk.id() == id);
            let what = quirk.map_or_else(String::new, |q| format!(" ({})", q.what()));
            format!("by the quirk {id}{what}")
        }
    };
    let mut line = format!("{}, {cause}", entry.invariant);
    let whereabouts = whereabouts(&entry.filter);
    if !whereabouts.is_empty() {
        line.push_str(&format!("; {whereabouts}"));
    }
    if !entry.because.is_empty() {
        line.push_str(&format!(": {}", entry.because));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Source;

    #[test]
    fn filters_are_told_in_words() {
        let text = "shakedown = 1\ntitle = \"t\"\n[matrix]\ncode = [\"not-found\", \"unknown\"]\n\
                    [[world.container]]\nname = \"web\"\n[[call]]\ndo = \"start\"\ncontainer = \"web\"\n\
                    [[fault]]\nat = \"start-1/task.create(web)#1\"\nkind = \"error\"\ncode = \"{code}\"\n\
                    [[expect]]\ncases = [\"code=not-found..unknown\"]\nleft-when-quiet = []\n";
        let source = Source::parse("a.toml", "a", text.as_bytes()).unwrap();
        let lines = expected(&source.scenario.expects[0]);
        assert_eq!(lines, ["where code from not-found to unknown: left once quiet: nothing"]);
    }
}
