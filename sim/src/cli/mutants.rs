//! `shakedown mutants`

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::ValueEnum;

use super::select;
use crate::invariants::Id;

const EXAMPLES: &str = "\
Examples:
  shakedown mutants --seeds 3 --runs 2000    a quick look
  shakedown mutants                          the whole matrix
  shakedown mutants --only name-kept         one defect; of several, separated by commas
  shakedown mutants --without I12            what is found without an invariant

The defects are planted into the hardened service, one at a time, and only in a build that asks for
them: `cargo run --release --features planted -- mutants`. Each is a profile too, such as
`--profile hardened+name-kept`, for every other command.

For each defect: the invariants that broke first; the smallest bound within which `check` finds it,
as faults+delays, and in which of the runs within that bound; and after how many runs `explore` finds
it, as it is and with each strategy alone: the median over the seeds, with its time. `-` is a median
beyond --runs. Fails when `check`, or `explore` as it is, does not find one.";

/// How soon planted defects are found, by defect and strategy.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", super::EXIT_CODES))]
pub struct Args {
    /// Scenario files, and directories of them.
    #[arg(default_value = "scenarios/drivers")]
    paths: Vec<PathBuf>,
    /// Only these defects.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    only: Vec<String>,
    /// How many searches each median is of.
    #[arg(long, value_name = "N", default_value = "20")]
    seeds: NonZeroU64,
    /// After how many runs a search gives up.
    #[arg(long, value_name = "N", default_value = "100000")]
    runs: NonZeroU64,
    /// How many threads [default: as many as there are cores]. The result is the same for any number.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// How many faults a run of a search may have, crashes among them.
    #[arg(long, value_name = "N", default_value_t = 2)]
    faults: u32,
    /// How many moments it may set aside; for PCT, how often priorities change.
    #[arg(long, value_name = "N", default_value_t = 2)]
    delays: u32,
    /// Take invariants out of the judge, as `I3`: to see what is found without them.
    #[arg(long, value_name = "I3,I9", value_delimiter = ',', hide_possible_values = true,
          value_parser = select::invariant_parser())]
    without: Vec<Id>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[cfg(not(feature = "planted"))]
pub use absent::run;
#[cfg(feature = "planted")]
pub use planted::run;

#[cfg(not(feature = "planted"))]
mod absent {
    use super::super::output::{Failure as Ended, Output};
    use super::Args;
    use crate::suite::ExitCode;

    pub fn run(_: &Args, _: &mut Output) -> Result<ExitCode, Ended> {
        let message = "this build has no planted defects\n\
                       build one that has: cargo run --release --features planted -- mutants";
        Err(Ended::new(ExitCode::Usage, message))
    }
}

#[cfg(feature = "planted")]
mod planted {
    use std::time::Duration;

    use serde_json::json;
    use shakedown_cri::planted::Planted;

    use super::super::output::{BAD, BOLD, Failure as Ended, GOOD, Output};
    use super::super::search;
    use super::super::select;
    use super::{Args, Format};
    use crate::explore::{Bound, Checked, Looking, Row, SEARCHES, look};
    use crate::report::summary::thousands;
    use crate::scenario::nearest;
    use crate::suite::ExitCode;

    const NAMES: [&str; SEARCHES.len()] = ["explore", "uniform", "pct", "delay-bounded", "guided"];

    pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Ended> {
        let defects = chosen(&args.only)?;
        let sources = select::load(&args.paths)?;
        let scenarios = search::undecided_cases(&sources, defects[0].profile())?;
        let stop = search::stop_on_signal()?;
        let looking = Looking {
            judge: select::all_but(&args.without),
            bound: Bound { faults: args.faults, delays: args.delays },
            seeds: args.seeds.get(),
            runs: args.runs.get(),
            jobs: search::jobs(args.jobs),
        };
        if args.format == Format::Text {
            head(args, output)?;
        }
        let mut rows = Vec::new();
        look(&defects, &scenarios, &looking, &stop, |row| {
            if args.format == Format::Text {
                line(&row, output)?;
            }
            rows.push(row);
            Ok::<(), Ended>(())
        })?;
        let found = rows.iter().filter(|row| is_found(row)).count();
        match args.format {
            Format::Json => output.line(format_args!("{:#}", document(args, &rows)))?,
            Format::Text => {
                let style = if found == defects.len() { GOOD } else { BAD };
                let (of, cut) = (defects.len(), defects.len() - rows.len());
                let cut = if cut > 0 { format!(", {cut} not looked for") } else { String::new() };
                output.line(format_args!("\n{style}{found} of {of} found{style:#}{cut}"))?;
            }
        }
        Ok(if found == defects.len() { ExitCode::Passed } else { ExitCode::Failed })
    }

    fn chosen(only: &[String]) -> Result<Vec<Planted>, Ended> {
        if only.is_empty() {
            return Ok(Planted::ALL.to_vec());
        }
        let one = |name: &String| {
            let known = Planted::ALL.iter().find(|planted| planted.id() == name);
            known.copied().ok_or_else(|| {
                let near = nearest(name, Planted::ALL.iter().map(|planted| planted.id()));
                let near = near.map_or_else(String::new, |id| format!("; did you mean `{id}`?"));
                Ended::new(ExitCode::Usage, format!("no planted defect is called `{name}`{near}"))
            })
        };
        only.iter().map(one).collect()
    }

    /// By `check`, and by `explore` as it is.
    fn is_found(row: &Row) -> bool {
        row.checked.is_some() && row.median(0).is_some()
    }

    fn by(checked: &Checked) -> String {
        let names: Vec<String> = checked.kill.by.iter().map(ToString::to_string).collect();
        names.join(" ")
    }

    fn head(args: &Args, output: &mut Output) -> Result<(), Ended> {
        output.line(format_args!(
            "check with the smallest bound that finds it; else at most {} faults and {} delays a run, \
             {} runs, median of {} seeds\n",
            args.faults,
            args.delays,
            thousands(args.runs.get()),
            args.seeds
        ))?;
        output.write(format_args!("{BOLD}{:<34}{:<14}{:>13}", "defect", "by", "check"))?;
        for name in NAMES {
            output.write(format_args!("{name:>18}"))?;
        }
        output.line(format_args!("{BOLD:#}"))
    }

    fn line(row: &Row, output: &mut Output) -> Result<(), Ended> {
        let style = if is_found(row) { GOOD } else { BAD };
        let (by, check) = match &row.checked {
            Some(checked) => {
                let Bound { faults, delays } = checked.bound;
                let runs = thousands(checked.kill.runs);
                (by(checked), format!("{faults}+{delays} {runs:>8}"))
            }
            None => ("-".to_owned(), "-".to_owned()),
        };
        output
            .write(format_args!("{style}{:<34}{style:#}{by:<14}{check:>13}", row.planted.id()))?;
        for search in 0..SEARCHES.len() {
            let text = match row.median(search) {
                Some((runs, took)) => format!("{} {:>7}", thousands(runs), seconds(took)),
                None => "-".to_owned(),
            };
            output.write(format_args!("{text:>18}"))?;
        }
        output.line(format_args!(""))?;
        output.flush()
    }

    fn seconds(took: Duration) -> String {
        format!("{:.2} s", took.as_secs_f64())
    }

    fn document(args: &Args, rows: &[Row]) -> serde_json::Value {
        let defects = rows.iter().map(|row| {
            let checked = row.checked.as_ref().map(|checked| {
                json!({
                    "faults": checked.bound.faults,
                    "delays": checked.bound.delays,
                    "driver": checked.driver,
                    "runs": checked.kill.runs,
                    "seconds": checked.kill.took.as_secs_f64(),
                    "by": checked.kill.by.iter().map(ToString::to_string).collect::<Vec<_>>(),
                })
            });
            let searched = NAMES.iter().enumerate().map(|(search, name)| {
                let median = row.median(search);
                let searched = json!({
                    "median-runs": median.map(|(runs, _)| runs),
                    "median-seconds": median.map(|(_, took)| took.as_secs_f64()),
                    "found": row.searched[search].iter().flatten().count(),
                });
                ((*name).to_owned(), searched)
            });
            json!({
                "defect": row.planted.id(),
                "what": row.planted.what(),
                "check": checked,
                "searches": searched.collect::<serde_json::Map<_, _>>(),
            })
        });
        json!({
            "shakedown-mutants": 1,
            "seeds": args.seeds,
            "runs": args.runs,
            "faults": args.faults,
            "delays": args.delays,
            "without": args.without.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "defects": defects.collect::<Vec<_>>(),
            "version": env!("CARGO_PKG_VERSION"),
        })
    }
}
