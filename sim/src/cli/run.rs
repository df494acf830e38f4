//! `shakedown run`

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::ValueEnum;
use shakedown_cri::quirks::Profile;

use super::output::{BAD, BOLD, DIM, Failure, GOOD, Output};
use super::select::{self, Selection};
use crate::invariants::Id;
use crate::report::{self, Detail, Report};
use crate::suite::{ExitCode, Reason, RunFailure, Runner, Source};

const EXAMPLES: &str = "\
Examples:
  shakedown run                                     every scenario below scenarios/
  shakedown run scenarios/start --profile 1.7.0-beta.3,1.7.24
                                                    two versions side by side
  shakedown run FILE --case 'NAME[code=*]'          some cases of a file
  shakedown run FILE --case NAME --timeline         one case, every moment of it
  shakedown run --tag smoke --format json           for machines

A case that fails is shown with the reason, the place in its file, and the command that replays it
alone. Cases that fail for the same reason are shown together. A single case is shown with its report.";

/// Runs scenarios and judges them.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", super::EXIT_CODES))]
pub struct Args {
    /// Scenario files, and directories of them.
    #[arg(default_value = "scenarios", hide_default_value = true)]
    paths: Vec<PathBuf>,
    /// Which versions to run as, separated by commas.
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = Profile::ALL[0].name,
          value_parser = select::profile_parser())]
    profile: Vec<String>,
    /// Only the case of this name, all cases of the scenario of this name, or those that fit a
    /// pattern: `*` stands for any text, `?` for one character.
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Only scenarios with this tag; of several, any.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print the report of each case, with every moment and what the service logged.
    #[arg(long)]
    timeline: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// How many cases came out how.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    code: Option<ExitCode>,
}

impl Tally {
    fn add(&mut self, code: ExitCode) {
        match code {
            ExitCode::Passed => self.passed += 1,
            _ => self.failed += 1,
        }
        self.code = self.code.max(Some(code));
    }

    /// That of the worst case. A run of no case at all has not passed.
    fn exit_code(&self) -> ExitCode {
        self.code.unwrap_or(ExitCode::Usage)
    }
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let sources = select::with_tags(select::load(&args.paths)?, &args.tag)?;
    let profiles = select::profiles(&args.profile);
    let runner = Runner::new();
    let selected = select::select(&runner, &sources, &profiles, args.case.as_deref())?;
    let mut tally = Tally::default();
    match args.format {
        Format::Json => json(args, &selected, output, &mut tally)?,
        Format::Text if profiles.len() == 1 => text(args, &selected, output, &mut tally)?,
        Format::Text => side_by_side(args, &selected, &profiles, output, &mut tally)?,
    }
    Ok(tally.exit_code())
}

fn detail(args: &Args) -> Detail {
    if args.timeline { Detail::Full } else { Detail::Brief }
}

/// One JSON document; a case a line.
fn json(
    args: &Args,
    selected: &[Vec<Selection<'_>>],
    output: &mut Output,
    tally: &mut Tally,
) -> Result<(), Failure> {
    output.write(format_args!("{{\"shakedown-run\":1,\"cases\":["))?;
    let mut separator = "\n";
    for selection in selected.iter().flatten() {
        let Selection { cases, indices, .. } = selection;
        if !stale(selection).is_empty() {
            let texts: Vec<&str> = cases.stale.iter().map(|reason| &*reason.what).collect();
            let message = format!("{}: {}", cases.source.file, report::plain(&texts.join("; ")));
            tally.add(Failure::new(ExitCode::Failed, message).report());
        }
        for index in indices {
            match cases.run(*index, args.timeline) {
                Ok(ran) => {
                    tally.add(ran.verdict.exit_code());
                    let report = Report::new(cases.source, &ran, detail(args));
                    output.write(format_args!("{separator}{}", report::json(&report)))?;
                    separator = ",\n";
                }
                Err(failure) => tally.add(broken(&cases.name(*index), &failure)),
            }
        }
    }
    let (passed, failed) = (tally.passed, tally.failed);
    output.line(format_args!("\n],\"passed\":{passed},\"failed\":{failed}}}"))
}

/// Why a file failed as a whole, if all of it was asked for.
fn stale<'s>(selection: &'s Selection<'_>) -> &'s [Reason] {
    if selection.whole { &selection.cases.stale } else { &[] }
}

/// A case that has no outcome: tells so on stderr.
pub fn broken(case: &str, failure: &RunFailure) -> ExitCode {
    let (code, what) = match failure {
        RunFailure::Broken(what) => (ExitCode::Software, what.clone()),
        RunFailure::Wrong(diagnostics) => {
            let texts: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            (ExitCode::Data, texts.join("\n"))
        }
    };
    Failure::new(code, format!("the harness broke in {case}: {what}")).report()
}

/// What the cases of one file under one profile came to.
#[derive(Default)]
struct Row {
    passed: usize,
    failed: usize,
    /// Invariants that broke, as expected or not.
    violated: BTreeSet<Id>,
    failures: Vec<Failed>,
}

/// Cases that failed for the same reasons.
struct Failed {
    profile: &'static str,
    /// At least one.
    cases: Vec<String>,
    /// None: the harness broke, and said so.
    reasons: Vec<Reason>,
}

impl Row {
    fn fail(&mut self, case: String, profile: &'static str, reasons: Vec<Reason>) {
        self.failed += 1;
        let alike = |failed: &&mut Failed| {
            let pairs = failed.reasons.iter().zip(&reasons);
            failed.reasons.len() == reasons.len() && pairs.into_iter().all(|(a, b)| a.is_like(b))
        };
        match self.failures.iter_mut().find(alike) {
            Some(failed) => failed.cases.push(case),
            None => self.failures.push(Failed { profile, cases: vec![case], reasons }),
        }
    }
}

fn run_selection(
    args: &Args,
    selection: &Selection<'_>,
    single: bool,
    output: &mut Output,
    tally: &mut Tally,
) -> Result<Row, Failure> {
    let Selection { cases, indices, .. } = selection;
    let mut row = Row::default();
    if let reasons @ [_, ..] = stale(selection) {
        tally.add(ExitCode::Failed);
        row.fail(cases.source.scenario.name.clone(), cases.profile.name, reasons.to_vec());
    }
    for index in indices {
        let ran = match cases.run(*index, args.timeline) {
            Ok(ran) => ran,
            Err(failure) => {
                let name = cases.name(*index);
                tally.add(broken(&name, &failure));
                row.fail(name, cases.profile.name, Vec::new());
                continue;
            }
        };
        if args.timeline || single {
            let report = Report::new(cases.source, &ran, detail(args));
            output.line(format_args!("{}", report::text(&report)))?;
        }
        tally.add(ran.verdict.exit_code());
        row.violated.extend(ran.outcome.judgement.violated().map(|finding| finding.id));
        if ran.verdict.passed() {
            row.passed += 1;
        } else {
            row.fail(ran.case.name, cases.profile.name, ran.verdict.reasons);
        }
    }
    Ok(row)
}

fn text(
    args: &Args,
    selected: &[Vec<Selection<'_>>],
    output: &mut Output,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let count: usize = selected.iter().flatten().map(|s| s.indices.len()).sum();
    for selection in selected.iter().flatten() {
        let row = run_selection(args, selection, count == 1, output, tally)?;
        let label = &selection.cases.source.label;
        if row.failed == 0 {
            let cases = counted(row.passed);
            let violated = ids(&row.violated);
            let violated = if violated.is_empty() {
                String::new()
            } else {
                format!("  {DIM}{violated} violated, as expected{DIM:#}")
            };
            output.line(format_args!("{GOOD}ok{GOOD:#}    {label} ({cases}){violated}"))?;
        } else {
            for failure in &row.failures {
                output.write(format_args!("{}", shown(selection.cases.source, failure)))?;
            }
            if row.passed > 0 {
                let cases = counted(row.passed);
                output.line(format_args!("{GOOD}ok{GOOD:#}    {label} ({cases})"))?;
            }
        }
    }
    summary(output, tally)
}

fn counted(cases: usize) -> String {
    if cases == 1 { "1 case".to_owned() } else { format!("{cases} cases") }
}

fn ids(violated: &BTreeSet<Id>) -> String {
    let ids: Vec<String> = violated.iter().map(ToString::to_string).collect();
    ids.join(" ")
}

fn summary(output: &mut Output, tally: &Tally) -> Result<(), Failure> {
    let style = if tally.failed == 0 { GOOD } else { BAD };
    let (passed, failed) = (tally.passed, tally.failed);
    output.line(format_args!("\n{style}{passed} passed, {failed} failed{style:#}"))
}

/// A table of scenarios and profiles, and the failures below it.
fn side_by_side(
    args: &Args,
    selected: &[Vec<Selection<'_>>],
    profiles: &[&'static Profile],
    output: &mut Output,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let mut table: Vec<Vec<String>> = Vec::new();
    let mut head = vec!["scenario".to_owned()];
    head.extend(profiles.iter().map(|profile| profile.name.to_owned()));
    table.push(head);
    let mut failures = Vec::new();
    for of_source in selected {
        let mut line = vec![of_source[0].cases.source.label.clone()];
        for selection in of_source {
            let row = run_selection(args, selection, false, output, tally)?;
            let total = row.passed + row.failed;
            let verdict = match (row.failed, total) {
                (0, 0) => "-".to_owned(),
                (0, 1) => "ok".to_owned(),
                (0, _) => format!("ok {total}"),
                (failed, _) => format!("FAIL {failed} of {total}"),
            };
            let violated = ids(&row.violated);
            let space = if violated.is_empty() { "" } else { "  " };
            line.push(format!("{verdict}{space}{violated}"));
            let source = selection.cases.source;
            failures.extend(row.failures.iter().map(|failure| shown(source, failure)));
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
    for failure in &failures {
        output.line(format_args!("\n{}", failure.trim_end()))?;
    }
    summary(output, tally)
}

/// Which cases failed, why, where in their file, and how to see more.
fn shown(source: &Source, failed: &Failed) -> String {
    let profile = failed.profile;
    let mut text = String::new();
    for case in &failed.cases {
        let case = report::plain(case);
        text.push_str(&format!("{BAD}FAIL{BAD:#}  {BOLD}{case}{BOLD:#}  {DIM}{profile}{DIM:#}\n"));
    }
    for reason in &failed.reasons {
        text.push_str(&rendered(source, reason));
        text.push('\n');
    }
    let file = match source.file.starts_with('-') {
        true => quoted(&format!("./{}", source.file)),
        false => quoted(&source.file),
    };
    let case = match failed.cases[0].starts_with('-') {
        true => format!("--case={}", quoted(&failed.cases[0])),
        false => format!("--case {}", quoted(&failed.cases[0])),
    };
    text.push_str(&format!("replay: shakedown run {file} {case} --profile {profile} --timeline\n"));
    text
}

/// A reason with the line of the file that it is about.
pub fn rendered(source: &Source, reason: &Reason) -> String {
    let mut diagnostic = source.diagnostic(&reason.span, report::plain(&reason.what));
    if let Some(help) = &reason.help {
        diagnostic = diagnostic.help(report::plain(help));
    }
    if let Some((expected, found)) = &reason.differs {
        diagnostic = diagnostic
            .note(format!("expected {}", report::plain(expected)))
            .note(format!("found    {}", report::plain(found)));
    }
    diagnostic.render(&source.text, true)
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
