//! `shakedown explore`

#![expect(
    clippy::disallowed_types,
    reason = "a seed that nobody chose is the one thing of a search that comes from the system"
)]

use std::hash::{BuildHasher, Hasher, RandomState};
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use shakedown_cri::quirks::Profile;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::again::{self, Other};
use super::output::{BAD, Failure as Ended, GOOD, Output};
use super::search;
use super::select::Drivers;
use super::{failures, ledger, reports, select, shard};
use crate::explore::{self, Bound, Findings, News, Progress, Settings};
use crate::invariants::Id;
use crate::report::summary::{counted, thousands};
use crate::report::{Entry, Problem};
use crate::suite::{ExitCode, Goal};

const EXAMPLES: &str = "\
Examples:
  shakedown explore                          the drivers, as the hardened service
  shakedown explore --time 10m               as long as there is time
  shakedown explore --seed 42 --runs 50000   the same runs again, whatever --jobs says
  shakedown explore scenarios --profile 1.7.24,2.1.9
                                             every scenario's world and calls, as two versions
  shakedown explore --seed 42 --shard 2/3    the second third of the runs of that seed

What a scenario says of its own faults, holds and crashes is left out: those are what is searched
for. Each run draws which operations, kinds of faults, calls and plugins are in play, and decides by
one of four strategies: uniform, PCT, delay-bounded, guided by coverage.

A run that breaks an invariant is made as small as it can be and written to failures/, as a
scenario file with what happens without each of its lines. `shakedown run` replays it. Runs that
break the same invariant, struck in the same phases, count as one: a signature.

One run of twenty is made by a second process as well, which differs in environment, directory,
time zone and log level. A digest that is not the same ends the search with exit code 4.";

/// Runs when neither their number nor a time is given.
const RUNS: u64 = 20_000;

/// Signatures in the summary of a version.
const SHOWN: usize = 20;

/// Searches for faults and schedules that break an invariant.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", super::EXIT_CODES))]
pub struct Args {
    #[command(flatten)]
    drivers: Drivers,
    /// How many runs for each version [default: 20000, or as many as there is --time for].
    #[arg(long, value_name = "N")]
    runs: Option<NonZeroU64>,
    /// How long to search each version, as `30s` or `10m`.
    #[arg(long, value_parser = search::time)]
    time: Option<Duration>,
    /// What all chance comes from [default: drawn from this build and the system, and printed].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many threads [default: as many as there are cores]. The result is the same for any number.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// How many faults a run may have, crashes and a clock that is set among them.
    #[arg(long, value_name = "N", default_value_t = 2)]
    faults: u32,
    /// How many moments a run may set aside; for PCT, how often priorities change.
    #[arg(long, value_name = "N", default_value_t = 2)]
    delays: u32,
    /// Take invariants out of the judge, as `I3`: to see what is found without them.
    #[arg(long, value_name = "I3,I9", value_delimiter = ',', hide_possible_values = true,
          value_parser = select::invariant_parser())]
    without: Vec<Id>,
    /// Be the process that makes runs again.
    #[arg(long, hide = true)]
    again: bool,
    #[command(flatten)]
    shard: shard::ShardArgs,
    #[command(flatten)]
    ledger: ledger::LedgerArgs,
    #[command(flatten)]
    reports: reports::Wanted,
}

/// What was found in one profile.
struct Found {
    profile: &'static Profile,
    progress: Progress,
    findings: Findings,
    /// How many of the runs another process made as well.
    compared: u64,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Ended> {
    if args.again {
        let profile = select::profiles(&args.drivers.profile)[0];
        return again::serve(&settings(args, profile, args.seed.unwrap_or_default(), (0, 1)));
    }
    let reports = args.reports.open()?;
    let mut entries = Vec::new();
    let result = search_all(args, output, &mut entries);
    reports.write(entries, result, output, false)
}

/// Searches what was asked for. An entry for each version.
fn search_all(args: &Args, output: &mut Output, entries: &mut Vec<Entry>) -> Result<(), Ended> {
    let sources = select::load(&args.drivers.paths)?;
    let stop = search::stop_on_signal()?;
    let (shard, said_by) = args.shard.part()?;
    let seed = match args.seed {
        Some(seed) => seed,
        None => fresh_seed()?,
    };
    output.line(format_args!(
        "seed {seed}, at most {} and {} a run, {}",
        counted(args.faults, "fault"),
        counted(args.delays, "delay"),
        counted(search::jobs(args.jobs), "job")
    ))?;
    if shard.1 > 1 {
        let source = said_by.map_or_else(String::new, |source| format!(", as {source} says"));
        output.line(format_args!("part {} of {}{source}", shard.0 + 1, shard.1))?;
    }
    let mut searches = Vec::new();
    for profile in select::profiles(&args.drivers.profile) {
        let scenarios = search::undecided_cases(&sources, profile)?;
        let settings = settings(args, profile, seed, shard);
        // All of them now: while a search goes on this program may become another one.
        let other = Other::start(&scenarios, &settings, &args.without)?;
        searches.push((scenarios, settings, other));
    }
    let mut all = Vec::new();
    for (scenarios, settings, mut other) in searches {
        let Settings { profile, runs, .. } = settings;
        let bar = progress(runs, args.time);
        let tell = |news: News<'_>| -> Result<(), Ended> {
            match news {
                News::Found(failure) => {
                    let path = failures::write(failure)?;
                    bar.suspend(|| search::told(output, failure, &path))
                }
                News::Round { progress, signatures, sample } => {
                    show(&bar, progress, signatures, runs);
                    other.round(sample)
                }
            }
        };
        let (progress, findings) = explore::hunt(&scenarios, &settings, &stop, tell)?;
        let compared = other.end()?;
        bar.finish_and_clear();
        let interrupted = progress.interrupted;
        all.push(Found { profile, progress, findings, compared });
        if interrupted {
            break;
        }
    }
    summary(output, &all)?;
    for found in &all {
        args.ledger.add(&found.progress.ledger)?;
    }
    for broken in all.iter().flat_map(|found| &found.findings.broken) {
        Ended::new(ExitCode::Software, format!("the harness broke: {broken}")).report();
    }
    entries.extend(all.iter().map(entry));
    Ok(())
}

/// How one version is searched.
fn settings(args: &Args, profile: &'static Profile, seed: u64, shard: (usize, usize)) -> Settings {
    Settings {
        profile,
        judge: select::all_but(&args.without),
        seed,
        bound: Bound { faults: args.faults, delays: args.delays },
        runs: args.runs.map(NonZeroU64::get).or(args.time.is_none().then_some(RUNS)),
        time: args.time,
        jobs: search::jobs(args.jobs),
        shard,
    }
}

/// A search has passed if it found nothing.
fn entry(found: &Found) -> Entry {
    let Found { profile, progress, findings, .. } = found;
    let mut entry = Entry::new("explore", "explore", profile.name);
    entry.took = progress.took;
    let failures = findings.failures.iter();
    entry.problems.extend(failures.map(|(f, _)| {
        let kept = failures::path(f);
        Problem::found(f, &kept, &kept)
    }));
    entry.problems.extend(findings.broken.iter().map(|what| {
        Problem::new("harness", ExitCode::Software, format!("the harness broke: {what}"))
    }));
    entry
}

/// From this build and a number that no process had before.
fn fresh_seed() -> Result<u64, Ended> {
    let fresh = RandomState::new().build_hasher().finish();
    // Short enough to be typed.
    Ok(xxh3_64_with_seed(&search::build()?.to_le_bytes(), fresh) >> 24)
}

/// On the terminal, if there is one.
fn progress(runs: Option<u64>, time: Option<Duration>) -> ProgressBar {
    let length = runs.unwrap_or_else(|| time.unwrap_or_default().as_secs());
    let template = "{bar:24} {percent:>3}%  {msg}  {eta} left";
    let style = ProgressStyle::with_template(template).expect("the template is right");
    ProgressBar::new(length).with_style(style)
}

fn show(bar: &ProgressBar, progress: &Progress, signatures: usize, runs: Option<u64>) {
    bar.set_position(runs.map_or_else(|| progress.took.as_secs(), |_| progress.runs));
    bar.set_message(format!(
        "{} runs, {} a second, {signatures} signatures, {} sites × kinds, {} of {} goals",
        thousands(progress.runs),
        thousands(rate(progress)),
        thousands(progress.covered.strikes.len() as u64),
        Goal::ALL.len() - progress.ledger.missed(&[]).len(),
        Goal::ALL.len()
    ));
}

fn rate(progress: &Progress) -> u64 {
    (progress.runs as f64 / progress.took.as_secs_f64().max(0.001)) as u64
}

fn summary(output: &mut Output, all: &[Found]) -> Result<(), Ended> {
    for Found { profile, progress, findings, compared } in all {
        let style = if findings.failures.is_empty() { GOOD } else { BAD };
        let cut = if progress.interrupted { ", interrupted" } else { "" };
        output.line(format_args!(
            "\n{}: {}{cut}, {} a second, {}; {} sites × kinds struck, {} taken; {style}{}{style:#}",
            profile.name,
            counted(progress.runs, "run"),
            thousands(rate(progress)),
            counted(progress.moments, "moment"),
            thousands(progress.covered.strikes.len() as u64),
            counted(progress.covered.turns.len(), "turn"),
            counted(findings.failures.len(), "signature")
        ))?;
        let made = counted(*compared, "run");
        output.line(format_args!("{made} made again in another process, the same"))?;
        ledger::show_goals(&progress.ledger, &[profile], output)?;
        let mut failures: Vec<_> = findings.failures.iter().collect();
        failures.sort_by_key(|(_, runs)| std::cmp::Reverse(*runs));
        for (failure, runs) in failures.iter().take(SHOWN) {
            output.line(format_args!("{:>8}  {}", thousands(*runs), failure.signature))?;
        }
        if let Some(more) = failures.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            output.line(format_args!("          and {more} more that fewer runs showed"))?;
        }
    }
    Ok(())
}
