//! The self-check of a search: another process makes some of its runs again.
//!
//! It is this program, as `explore --again`, and is told on its standard input: the scenarios, as one line of JSON; then a
//! line `run N` for each run, which it answers with the digest, and after each round `seen P…` with what the
//! round covered. `tell N` is answered with the events of a run.

use std::fmt;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::mem;
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio};

use super::elsewhere::{Where, program};
use super::output::Failure;
use super::search;
use crate::determinism::{Comparison, compare};
use crate::explore::{Again, Sample, Settings};
use crate::invariants::Id;
use crate::scenario::{Scenario, parse, print};
use crate::suite::ExitCode;

/// What begins the lines that the other process is told.
const RUN: &str = "run ";
const SEEN: &str = "seen";
const TELL: &str = "tell ";

/// The other process of a search.
pub struct Other {
    process: Process,
    /// To make one like it.
    arguments: Vec<String>,
    scenarios: String,
    /// What was covered before the round that is being compared.
    seen: Vec<u64>,
    /// What the other process was asked last and has not been heard of.
    asked: Sample,
    /// Runs that both made.
    pub compared: u64,
}

struct Process {
    child: Child,
    to: BufWriter<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Process {
    fn start(place: Where, arguments: &[String], scenarios: &str) -> io::Result<Process> {
        let mut child = program(place)?.args(arguments).stdin(Stdio::piped()).spawn()?;
        let mut to = BufWriter::new(child.stdin.take().expect("its input is a pipe"));
        let from = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        writeln!(to, "{scenarios}")?;
        Ok(Process { child, to, from })
    }

    /// Nothing more is to come.
    fn end(self) -> io::Result<ExitStatus> {
        let Process { mut child, to, from } = self;
        drop((to, from));
        child.wait()
    }
}

impl Other {
    /// Starts it for a search.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(
        scenarios: &[Scenario],
        settings: &Settings,
        without: &[Id],
    ) -> Result<Other, Failure> {
        let Settings { profile, seed, bound, .. } = settings;
        let mut arguments: Vec<String> =
            ["explore", "--again", "--profile", profile.name].map(str::to_owned).into();
        arguments.extend([
            format!("--seed={seed}"),
            format!("--faults={}", bound.faults),
            format!("--delays={}", bound.delays),
        ]);
        if !without.is_empty() {
            arguments.push(format!(
                "--without={}",
                without.iter().map(Id::to_string).collect::<Vec<_>>().join(",")
            ));
        }
        let files: Vec<[String; 2]> =
            scenarios.iter().map(|s| [s.name.clone(), print(s)]).collect();
        let scenarios = serde_json::to_string(&files).expect("texts can be written");
        let process =
            Process::start(Where::There, &arguments, &scenarios).map_err(|error| lost(&error))?;
        Ok(Other {
            process,
            arguments,
            scenarios,
            seen: Vec::new(),
            asked: Sample::default(),
            compared: 0,
        })
    }

    /// Compares what the other process made of the round before, and asks for this one.
    ///
    /// # Errors
    /// When the two differ, or the other process has ended.
    pub fn round(&mut self, sample: &Sample) -> Result<(), Failure> {
        self.compare()?;
        self.ask(sample).map_err(|error| lost(&error))?;
        self.asked = sample.clone();
        Ok(())
    }

    fn ask(&mut self, sample: &Sample) -> io::Result<()> {
        let to = &mut self.process.to;
        for (run, _) in &sample.made {
            writeln!(to, "{RUN}{run}")?;
        }
        told_seen(to, &sample.seen)?;
        to.flush()
    }

    fn compare(&mut self) -> Result<(), Failure> {
        let Sample { made, seen } = mem::take(&mut self.asked);
        for (run, digest) in made {
            let mut line = String::new();
            self.process.from.read_line(&mut line).map_err(|error| lost(&error))?;
            let here = answer(Some(digest));
            if line.trim_end() != here {
                return Err(self.different(run, &here, line.trim_end()));
            }
            self.compared += 1;
        }
        self.seen.extend(seen);
        Ok(())
    }

    /// Why a search ends: a run is not the same there.
    fn different(&self, run: u64, here: &str, there: &str) -> Failure {
        if there.is_empty() {
            return lost(&"it ended too early");
        }
        let shown = match self.first_difference(run) {
            Ok(Comparison { difference: Some(difference), .. }) => difference.to_string(),
            Ok(_) => format!(
                "run {run} came to {here} here and to {there} there; made once more, it was the same"
            ),
            Err(error) => return lost(&error),
        };
        Failure::new(ExitCode::Nondeterminism, format!("two processes do not do the same\n{shown}"))
    }

    /// The first event that is not the same when two processes make the run.
    fn first_difference(&self, run: u64) -> io::Result<Comparison> {
        let told = |place| {
            let mut process = Process::start(place, &self.arguments, &self.scenarios)?;
            told_seen(&mut process.to, &self.seen)?;
            writeln!(process.to, "{TELL}{run}")?;
            process.to.flush()?;
            let Process { child, to, from } = process;
            drop(to);
            Ok::<_, io::Error>((child, from))
        };
        let ((mut one, here), (mut other, there)) = (told(Where::Here)?, told(Where::There)?);
        let comparison = compare(here, there)?;
        one.wait()?;
        other.wait()?;
        Ok(comparison)
    }

    /// Compares what is left, and lets the other process go.
    ///
    /// # Errors
    /// As [`Other::round`].
    pub fn end(mut self) -> Result<u64, Failure> {
        self.compare()?;
        self.process.end().map_err(|error| lost(&error))?;
        Ok(self.compared)
    }
}

fn lost(why: &dyn fmt::Display) -> Failure {
    let message = format!("the process that makes runs again was lost: {why}");
    Failure::new(ExitCode::Software, message)
}

fn told_seen(to: &mut impl Write, seen: &[u64]) -> io::Result<()> {
    write!(to, "{SEEN}")?;
    for point in seen {
        write!(to, " {point:x}")?;
    }
    writeln!(to)
}

/// How a run is answered.
fn answer(digest: Option<u128>) -> String {
    digest.map_or_else(|| "cannot be made".to_owned(), |digest| format!("{digest:032x}"))
}

/// Is the other process, until nothing more is asked.
///
/// # Errors
/// When its input is not what it should be, or nobody listens any more.
pub fn serve(settings: &Settings) -> Result<ExitCode, Failure> {
    // Who started it ends it; what the terminal says is for both.
    search::stop_on_signal()?;
    let wrong = || Failure::new(ExitCode::Usage, "`--again` is for a search's own use");
    let mut lines = io::stdin().lock().lines();
    let head = lines.next().transpose()?.ok_or_else(wrong)?;
    let files: Vec<[String; 2]> = serde_json::from_str(&head).map_err(|_| wrong())?;
    let read = |[name, text]: [String; 2]| {
        parse("again.toml", &text)
            .map(|scenario| Scenario { name, ..scenario })
            .map_err(|_| wrong())
    };
    let scenarios = files.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut again = Again::new(&scenarios, settings);
    let mut out = BufWriter::new(io::stdout().lock());
    for line in lines {
        let line = line?;
        if let Some(seen) = line.strip_prefix(SEEN) {
            let points = seen.split_whitespace().map(|point| u64::from_str_radix(point, 16));
            again.learn(points.collect::<Result<Vec<_>, _>>().map_err(|_| wrong())?);
            out.flush()?;
        } else if let Some(run) = line.strip_prefix(RUN) {
            writeln!(out, "{}", answer(again.digest(run.parse().map_err(|_| wrong())?)))?;
        } else if let Some(run) = line.strip_prefix(TELL) {
            again.tell(run.parse().map_err(|_| wrong())?, &mut out)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::Passed)
}
