//! `shakedown run`

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "reports for CI systems say how long a case took; no run sees it"
)]

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use clap::ValueEnum;
use shakedown_cri::quirks::Profile;

use super::ledger::LedgerArgs;
use super::output::{BAD, BOLD, Failure, Output, show_problems};
use super::pages::Gallery;
use super::reports;
use super::select::{self, Corpus, Loaded, Picked, Selection};
use crate::invariants::Id;
use crate::report::{self, Counts, Detail, Entry, Problem, Report, Verdicts, json, summary};
use crate::suite::{ExitCode, Ledger, Reason, RunFailure, Runner};

const EXAMPLES: &str = "\
Examples:
  shakedown run                                     every scenario below scenarios/
  shakedown run scenarios/start --profile 1.7.0-beta.3,1.7.24
                                                    two versions side by side
  shakedown run FILE --case 'NAME[code=*]'          some cases of a file
  shakedown run --tag smoke --format json           for machines
  shakedown run --junit junit.xml --markdown \"$GITHUB_STEP_SUMMARY\"
                                                    for a CI system

A case that fails is shown with the reason, the place in its file, and the command that replays it
alone. Cases that fail for the same reason are shown together. A single case is shown with its report.";

/// Runs scenarios and judges them.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", super::EXIT_CODES))]
pub struct Args {
    #[command(flatten)]
    corpus: Corpus,
    /// Take invariants out of the judge, as `I3`: to see what is found without them.
    #[arg(long, value_name = "I3,I9", value_delimiter = ',', hide_possible_values = true,
          value_parser = select::invariant_parser())]
    without: Vec<Id>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print the report of each case, with every moment and what the service logged.
    #[arg(long)]
    timeline: bool,
    /// Write pages for a browser into this directory: an index, a page of each case that failed, and one
    /// of a case of each scenario that passed.
    #[arg(long, value_name = "DIR", help_heading = "Reports")]
    html: Option<PathBuf>,
    #[command(flatten)]
    ledger: LedgerArgs,
    #[command(flatten)]
    reports: reports::Wanted,
}

/// What came of the cases that were run.
#[derive(Default)]
struct Done {
    /// One for each case, and for each file that failed as a whole.
    entries: Vec<Entry>,
    covered: Ledger,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let reports = args.reports.open()?;
    let mut done = Done::default();
    let is_document = args.format == Format::Json;
    let mut gallery = args.html.as_deref().map(Gallery::new);
    let mut result = judge(args, output, &mut done, gallery.as_mut());
    let Done { entries, covered } = done;
    result = result.and(args.ledger.add(&covered));
    if let Some(gallery) = &gallery {
        let refused = result.as_ref().err().map(Failure::entries);
        let all: Vec<Entry> =
            entries.iter().cloned().chain(refused.into_iter().flatten()).collect();
        let written = gallery.finish(&Verdicts::from(all));
        result = result.and(written);
    }
    reports.write(entries, result, output, is_document)
}

/// Runs what was asked for.
fn judge(
    args: &Args,
    output: &mut Output,
    done: &mut Done,
    gallery: Option<&mut Gallery>,
) -> Result<(), Failure> {
    let is_document = args.format == Format::Json;
    let refuse = |failure: Failure, entries: &[Entry], output: &mut Output| {
        if is_document {
            let all = [entries, &failure.entries()].concat();
            // Where nobody reads it there are still reports to be written.
            let _ = output.line(format_args!("{}{}", json::HEAD, json::tail(&all, &all)));
        }
        Err(failure)
    };
    let Loaded { sources, wrong } = match args.corpus.read() {
        Ok(loaded) => loaded,
        Err(failure) => return refuse(failure, &done.entries, output),
    };
    done.entries.extend(wrong);
    let runner = Runner::new().without(&args.without);
    let profiles = args.corpus.profiles();
    let picked = select::pick(&runner, &sources, &profiles, args.corpus.case.as_deref());
    let Picked { selected, wrong, unmatched } = picked;
    done.entries.extend(wrong);
    // A file that is wrong keeps no other from being run.
    for entry in &done.entries {
        if is_document {
            show_problems(entry);
        } else {
            output.write(format_args!("{}", summary::of_file(std::slice::from_ref(entry))))?;
        }
    }
    if let Some(failure) = unmatched {
        return refuse(failure, &done.entries, output);
    }
    match args.format {
        Format::Json => document(args, &selected, output, done)?,
        Format::Text if profiles.len() == 1 => text(args, &selected, output, done)?,
        Format::Text => side_by_side(args, &selected, &profiles, output, done)?,
    }
    gallery.map_or(Ok(()), |gallery| gallery.fill(&selected, &done.entries))
}

/// Runs the cases of one file under one profile. `show` is given the report of each.
fn run_selection(
    args: &Args,
    selection: &Selection<'_>,
    mut show: impl FnMut(Report) -> Result<(), Failure>,
    wants_report: bool,
    covered: &mut Ledger,
) -> Result<Vec<Entry>, Failure> {
    let Selection { cases, indices, .. } = selection;
    let (source, profile) = (cases.source, cases.profile.name);
    let text: Rc<str> = Rc::from(&*source.text);
    let mut entries = Vec::new();
    if let reasons @ [_, ..] = stale(selection) {
        let mut entry = Entry::of_case(source, &text, &source.scenario.name, profile);
        // There is no case to be replayed.
        entry.arguments = None;
        entries.push(entry.failing(source, reasons));
    }
    for index in indices {
        let began = Instant::now();
        let ran = cases.run(*index, args.timeline);
        let mut entry = Entry::of_case(source, &text, &cases.name(*index), profile);
        entry.took = began.elapsed();
        match ran {
            Ok(ran) => {
                covered.add(&ran.plan, &ran.outcome);
                if wants_report {
                    let detail = if args.timeline { Detail::Full } else { Detail::Brief };
                    show(Report::new(source, &ran, detail))?;
                }
                entries.push(entry.ran(source, &ran));
            }
            Err(failure) => {
                entry.problems.extend(problems(&failure).map(|p| p.of_file(&source.file)));
                entries.push(entry);
            }
        }
    }
    Ok(entries)
}

/// Why a file failed as a whole, if all of it was asked for.
fn stale<'s>(selection: &'s Selection<'_>) -> &'s [Reason] {
    if selection.whole { &selection.cases.stale } else { &[] }
}

/// Why a case has no outcome.
fn problems(failure: &RunFailure) -> impl Iterator<Item = Problem> {
    let (broken, wrong) = match failure {
        RunFailure::Broken(what) => (Some(what), None),
        RunFailure::Wrong(diagnostics) => (None, Some(diagnostics)),
    };
    let broken = broken.map(|what| {
        Problem::new("harness", ExitCode::Software, format!("the harness broke: {what}"))
    });
    broken.into_iter().chain(wrong.into_iter().flatten().map(Problem::malformed))
}

/// One JSON document; a case a line.
fn document(
    args: &Args,
    selected: &[Vec<Selection<'_>>],
    output: &mut Output,
    done: &mut Done,
) -> Result<(), Failure> {
    output.write(format_args!("{}", json::HEAD))?;
    let mut without_report = done.entries.clone();
    let mut separator = "\n";
    for selection in selected.iter().flatten() {
        let mut reported = std::collections::BTreeSet::new();
        let show = |report: Report| {
            reported.insert(report.case.clone());
            output.write(format_args!("{separator}{}", report::json(&report)))?;
            separator = ",\n";
            Ok(())
        };
        let of_file = run_selection(args, selection, show, true, &mut done.covered)?;
        let is_stale = !stale(selection).is_empty();
        let others = of_file.iter().enumerate();
        let others = others.filter(|(i, e)| is_stale && *i == 0 || !reported.contains(&e.case));
        without_report.extend(others.map(|(_, entry)| entry.clone()));
        done.entries.extend(of_file);
    }
    output.line(format_args!("{}", json::tail(&done.entries, &without_report)))
}

fn text(
    args: &Args,
    selected: &[Vec<Selection<'_>>],
    output: &mut Output,
    done: &mut Done,
) -> Result<(), Failure> {
    let count: usize = selected.iter().flatten().map(|s| s.indices.len()).sum();
    let wants_report = args.timeline || count == 1 && done.entries.is_empty();
    for selection in selected.iter().flatten() {
        let show = |report| output.line(format_args!("{}", report::text(&report)));
        let of_file = run_selection(args, selection, show, wants_report, &mut done.covered)?;
        output.write(format_args!("{}", summary::of_file(&of_file)))?;
        done.entries.extend(of_file);
    }
    output.line(format_args!("\n{}", summary::total(&done.entries)))
}

/// A table of scenarios and profiles, and the failures below it.
fn side_by_side(
    args: &Args,
    selected: &[Vec<Selection<'_>>],
    profiles: &[&'static Profile],
    output: &mut Output,
    done: &mut Done,
) -> Result<(), Failure> {
    if selected.is_empty() {
        return output.line(format_args!("\n{}", summary::total(&done.entries)));
    }
    let mut table: Vec<Vec<String>> = Vec::new();
    let mut head = vec!["scenario".to_owned()];
    head.extend(profiles.iter().map(|profile| profile.name.to_owned()));
    table.push(head);
    let mut failures = String::new();
    for of_source in selected {
        let mut line = vec![of_source[0].cases.source.label.clone()];
        for selection in of_source {
            let show = |report| output.line(format_args!("{}", report::text(&report)));
            let of_file = run_selection(args, selection, show, args.timeline, &mut done.covered)?;
            let counts = Counts::of(&of_file);
            let verdict = match (counts.failed, of_file.len()) {
                (0, 0) => "-".to_owned(),
                (0, 1) => "ok".to_owned(),
                (0, total) => format!("ok {total}"),
                (failed, total) => format!("FAIL {failed} of {total}"),
            };
            let violated = summary::violated(&of_file);
            let space = if violated.is_empty() { "" } else { "  " };
            line.push(format!("{verdict}{space}{violated}"));
            for failure in summary::failures(&of_file) {
                failures.push_str(&format!("\n{failure}"));
            }
            done.entries.extend(of_file);
        }
        table.push(line);
    }
    let width = |column: usize| {
        table.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..=profiles.len()).map(width).collect();
    for (number, row) in table.iter().enumerate() {
        let mut line = String::new();
        for (text, width) in row.iter().zip(&widths) {
            let style = match number {
                0 => BOLD,
                _ if text.starts_with("FAIL ") => BAD,
                _ => anstyle::Style::new(),
            };
            let padding = " ".repeat(width - text.chars().count() + 2);
            line.push_str(&format!("{style}{text}{style:#}{padding}"));
        }
        output.line(format_args!("{}", line.trim_end()))?;
    }
    output.write(format_args!("{failures}"))?;
    output.line(format_args!("\n{}", summary::total(&done.entries)))
}
