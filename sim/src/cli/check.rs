//! `shakedown check`

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use shakedown_cri::quirks::Profile;

use super::output::{Failure as Ended, Output};
use super::search;
use super::select::Drivers;
use super::{failures, reports, select, shard};
use crate::explore::{self, Bound, Certificate, CheckError, Checking, Failure, Kept, universe};
use crate::invariants::Id;
use crate::oracle::Menus;
use crate::report::summary::{counted, thousands};
use crate::report::{Certified, Entry, Problem};
use crate::scenario::Scenario;
use crate::suite::{ExitCode, Source};

const EXAMPLES: &str = "\
Examples:
  shakedown check                                       one fault, in every driver
  shakedown check --faults 1 --delays 1                 and one moment set aside
  shakedown check scenarios/drivers/a-start-alone.toml --faults 2
  shakedown check --faults 2 --resume two.jsonl         the same again goes on where this ended
  shakedown check --format json --shard 2/3             the second third, for machines

Tries all plans of at most so many faults, crashes and cancels among them, under all schedules of at
most so many delays. Each delay sets one moment aside until any later one at the same time. What can
strike where is what a real node produces: of error classes, one for each that a branch of the code
tells from others there (`--universe` counts them all). A power loss leaves all or nothing of what the disk
did not have yet.

What was covered is said for each scenario in a certificate; one that was cut short is none, and
fails. What is known to bring the same as another run is not run, but counted as `merged`: schedules
in which only moments that do not touch the same change places, a kill of the daemon before which
nothing changed but what it knew. Nor is a node reaped again that is as another run left it.
`--no-merge` runs all.";

/// Tries all faults and schedules within a bound, and certifies what was tried.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", super::EXIT_CODES))]
pub struct Args {
    #[command(flatten)]
    drivers: Drivers,
    /// At most how many faults, crashes and cancels among them.
    #[arg(long, value_name = "K", default_value_t = 1)]
    faults: u32,
    /// At most how many moments are set aside.
    #[arg(long, value_name = "D", default_value_t = 0)]
    delays: u32,
    /// Run also what is known to bring the same as another run, to see that it does.
    #[arg(long)]
    no_merge: bool,
    /// How many threads [default: as many as there are cores]. The result is the same for any number.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    #[command(flatten)]
    shard: shard::ShardArgs,
    /// Keep in FILE what is done, and go on from what it has: the same command again, after whatever ended it.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Take invariants out of the judge, as `I3`: to see what is found without them.
    #[arg(long, value_name = "I3,I9", value_delimiter = ',', hide_possible_values = true,
          value_parser = select::invariant_parser())]
    without: Vec<Id>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print what can strike at each operation, and check nothing.
    #[arg(long)]
    universe: bool,
    #[command(flatten)]
    reports: reports::Wanted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Ended> {
    if args.universe {
        return list(!args.no_merge, output);
    }
    let reports = args.reports.open()?;
    let mut entries = Vec::new();
    let result = certify_all(args, output, &mut entries);
    reports.write(entries, result, output, args.format == Format::Json)
}

/// Checks what was asked for. An entry for each certificate.
fn certify_all(args: &Args, output: &mut Output, entries: &mut Vec<Entry>) -> Result<(), Ended> {
    let sources = select::load(&args.drivers.paths)?;
    let stop = search::stop_on_signal()?;
    let bound = Bound { faults: args.faults, delays: args.delays };
    let jobs = search::jobs(args.jobs);
    let judge = select::all_but(&args.without);
    let build = search::build()?;
    let (shard, said_by) = args.shard.part()?;
    if let (Some(source), Format::Text) = (said_by, args.format) {
        output.line(format_args!("part {} of {}, as {source} says", shard.0 + 1, shard.1))?;
    }
    let cannot_keep = |error: io::Error| {
        let path = args.resume.as_deref().unwrap_or(Path::new("")).display();
        Ended::new(ExitCode::Io, format!("cannot keep what is done in {path}: {error}"))
    };
    let mut kept = args.resume.as_deref().map(Kept::open).transpose().map_err(cannot_keep)?;
    let mut documents = Vec::new();
    for profile in select::profiles(&args.drivers.profile) {
        for scenario in search::undecided_cases(&sources, profile)? {
            let merges = !args.no_merge;
            let checking = Checking { profile, judge, bound, merges, jobs, shard, build };
            let bar = progress(&scenario);
            let tell =
                |certificate: &Certificate, failure: Option<&Failure>| -> Result<(), Ended> {
                    let Some(failure) = failure else {
                        bar.set_length(certificate.branches as u64);
                        bar.inc(1);
                        bar.set_message(format!("{} runs", thousands(certificate.runs)));
                        return Ok(());
                    };
                    let path = failures::write(failure)?;
                    if args.format == Format::Json {
                        return Ok(());
                    }
                    bar.suspend(|| search::told(output, failure, &path))
                };
            let certificate = explore::check(&scenario, &checking, &stop, kept.as_mut(), tell);
            let certificate = certificate.map_err(|error| match error {
                CheckError::Kept(error) => cannot_keep(error),
                CheckError::Told(ended) => ended,
            })?;
            bar.finish_and_clear();
            entries.push(entry(&scenario, &sources, profile, &certificate));
            let certified = Certified::new(&scenario.name, &checking, &certificate);
            match args.format {
                Format::Text => {
                    output.line(format_args!("{certified}"))?;
                    output.flush()?;
                }
                Format::Json => documents.push(certified),
            }
            for broken in &certificate.findings.broken {
                Ended::new(ExitCode::Software, format!("the harness broke: {broken}")).report();
            }
        }
    }
    if args.format == Format::Json {
        let document = json!({ "shakedown-check": 1, "certificates": documents });
        output.line(format_args!("{document:#}"))?;
    }
    Ok(())
}

/// A certificate has passed if it is one, and nothing was found.
fn entry(
    scenario: &Scenario,
    sources: &[Source],
    profile: &Profile,
    certificate: &Certificate,
) -> Entry {
    let source = sources.iter().find(|source| source.scenario.name == scenario.name);
    let (label, file) =
        source.map_or((&*scenario.name, ""), |source| (&*source.label, &*source.file));
    let mut entry = Entry::new(label, &format!("check {}", scenario.name), profile.name);
    entry.file = file.to_owned();
    entry.took = certificate.took;
    let findings = &certificate.findings;
    let found = findings.failures.iter();
    entry.problems.extend(found.map(|(f, _)| Problem::found(f, file, &failures::path(f))));
    let broken = findings.broken.iter().map(|what| {
        Problem::new("harness", ExitCode::Software, format!("the harness broke: {what}"))
    });
    entry.problems.extend(broken);
    if certificate.cut > 0 {
        let message =
            format!("cut {} of {}", certificate.cut, counted(certificate.branches, "branch"));
        entry.problems.push(Problem::new("no-certificate", ExitCode::Failed, message));
    }
    entry
}

fn progress(scenario: &Scenario) -> ProgressBar {
    let template = "{prefix}  {bar:24} {percent:>3}%  {msg}  {eta} left";
    let style = ProgressStyle::with_template(template).expect("the template is right");
    ProgressBar::new(1).with_style(style).with_prefix(scenario.name.clone())
}

fn list(merges: bool, output: &mut Output) -> Result<ExitCode, Ended> {
    let universe = universe(&Menus::new(), merges);
    for (op, options) in &universe {
        output.line(format_args!("{:<18} {options:>3}", op.name()))?;
    }
    let options: usize = universe.iter().map(|(_, options)| options).sum();
    output.line(format_args!(
        "\n{} operations, {options} ways in which one of them can fail; after each moment: {} ways in \
         which the daemon can end",
        universe.len(),
        // With a power loss, all that is pending is lost, or nothing.
        3
    ))?;
    Ok(ExitCode::Passed)
}
