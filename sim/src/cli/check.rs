//! `shakedown check`

use std::num::NonZeroUsize;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use shakedown_cri::quirks::Profile;

use super::output::{BAD, DIM, Failure as Ended, GOOD, Output};
use super::search::{self, thousands};
use super::select::Drivers;
use super::{failures, reports, select};
use crate::explore::{self, Bound, Certificate, Checking, Failure, universe};
use crate::oracle::Menus;
use crate::report::{Entry, Problem};
use crate::scenario::Scenario;
use crate::suite::{ExitCode, Source};

const EXAMPLES: &str = "\
Examples:
  shakedown check                                       one fault, in every driver
  shakedown check --faults 1 --delays 1                 and one moment set aside
  shakedown check scenarios/drivers/a-start-alone.toml --faults 2
  shakedown check --format json --shard 2/3             the second third, for machines

Tries all plans of at most so many faults, crashes and cancels among them, under all schedules of at
most so many delays. Each delay sets one moment aside until any later one at the same time. What can
strike where is what a real node produces: of error classes, one for each that a branch of the code
tells from others (`--universe` lists them all). A power loss leaves all or nothing of what the disk
did not have yet.

What was covered is said for each scenario in a certificate; one that was cut short is none, and
fails. Equal states are not recognised as such: each run is made from its beginning, and `merged`
is 0.";

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
    /// How many threads [default: as many as there are cores]. The result is the same for any number.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Only the i-th of n parts. The parts are disjoint, and all of them are the whole.
    #[arg(long, value_name = "I/N", value_parser = shard, default_value = "1/1",
          hide_default_value = true)]
    shard: (usize, usize),
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

/// `2/3`: the second of three, which is 1.
fn shard(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('/');
    let parts = parts.and_then(|(i, n)| Some((i.parse::<usize>().ok()?, n.parse().ok()?)));
    match parts {
        Some((i, n)) if 1 <= i && i <= n => Ok((i - 1, n)),
        _ => Err("expected as 2/3: which part, and of how many".to_owned()),
    }
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Ended> {
    if args.universe {
        return list(output);
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
    let mut documents = Vec::new();
    for profile in select::profiles(&args.drivers.profile) {
        for scenario in search::undecided_cases(&sources, profile)? {
            let checking = Checking { profile, bound, jobs, shard: args.shard };
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
            let certificate = explore::check(&scenario, &checking, &stop, tell)?;
            bar.finish_and_clear();
            entries.push(entry(&scenario, &sources, profile, &certificate));
            match args.format {
                Format::Text => certify(output, &scenario, profile, bound, &certificate)?,
                Format::Json => documents.push(document(args, &scenario, profile, &certificate)),
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
        let message = format!("cut {} of {} branches", certificate.cut, certificate.branches);
        entry.problems.push(Problem::new("no-certificate", ExitCode::Failed, message));
    }
    entry
}

fn progress(scenario: &Scenario) -> ProgressBar {
    let template = "{prefix}  {bar:24} {percent:>3}%  {msg}  {eta} left";
    let style = ProgressStyle::with_template(template).expect("the template is right");
    ProgressBar::new(1).with_style(style).with_prefix(scenario.name.clone())
}

fn list(output: &mut Output) -> Result<ExitCode, Ended> {
    let universe = universe(&Menus::new());
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

fn certify(
    output: &mut Output,
    scenario: &Scenario,
    profile: &Profile,
    bound: Bound,
    certificate: &Certificate,
) -> Result<(), Ended> {
    let Certificate { plans, runs, moments, branches, cut, took, findings } = certificate;
    let (style, verdict) = match (certificate.is_complete(), findings.failures.len()) {
        (false, _) => (BAD, "no certificate".to_owned()),
        (true, 0) => (GOOD, "nothing breaks".to_owned()),
        (true, 1) => (BAD, "1 signature".to_owned()),
        (true, n) => (BAD, format!("{n} signatures")),
    };
    output.line(format_args!(
        "{style}{verdict}{style:#}  {} as {}, at most {} faults and {} delays\n      \
         {DIM}{} plans, {} runs, {} moments; merged as equal 0; cut {cut} of {branches} branches; {:.1} s{DIM:#}",
        scenario.name,
        profile.name,
        bound.faults,
        bound.delays,
        thousands(*plans),
        thousands(*runs),
        thousands(*moments),
        took.as_secs_f64()
    ))?;
    for (failure, runs) in &findings.failures {
        output.line(format_args!("{:>12}  {}", thousands(*runs), failure.signature))?;
    }
    output.flush()
}

fn document(
    args: &Args,
    scenario: &Scenario,
    profile: &Profile,
    certificate: &Certificate,
) -> serde_json::Value {
    let findings = &certificate.findings;
    let violations = findings.failures.iter().map(|(failure, runs)| {
        json!({
            "signature": failure.signature.to_string(),
            "runs": runs,
            "what": failure.symptom.what,
            "digest": format!("{:032x}", failure.digest),
        })
    });
    json!({
        "scenario": scenario.name,
        "profile": profile.name,
        "faults": args.faults,
        "delays": args.delays,
        "shard": format!("{}/{}", args.shard.0 + 1, args.shard.1),
        "plans": certificate.plans,
        "runs": certificate.runs,
        "moments": certificate.moments,
        "merged": 0,
        "branches": certificate.branches,
        "cut": certificate.cut,
        "complete": certificate.is_complete(),
        "violations": violations.collect::<Vec<_>>(),
        "broken": findings.broken,
        "seconds": certificate.took.as_secs_f64(),
        "version": env!("CARGO_PKG_VERSION"),
    })
}
