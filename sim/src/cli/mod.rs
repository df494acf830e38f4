//! The command line: one command a file.

mod again;
mod bisect;
mod bless;
mod check;
mod check_determinism;
mod completions;
mod diff;
mod elsewhere;
mod explain;
mod explore;
mod failing;
mod failures;
mod files;
mod fmt;
mod ledger;
mod list;
mod merge;
mod mutants;
mod new;
mod output;
mod pages;
mod quirks;
mod replay;
mod reports;
mod run;
mod schema;
mod search;
mod select;
mod shard;
mod shrink;
mod sites;
mod survey;
mod unified;
mod watch;

use std::panic;
use std::process;

use clap::{Parser, Subcommand};
use output::{Failure, Output};
use tracing_subscriber::EnvFilter;

use crate::suite::{ExitCode, is_inside_run, note_panic, watchdog};
use crate::under_test::{self, UnderTest};

const EXIT_CODES: &str = "\
Exit codes:
  0   every case passed
  1   an invariant or expectation was violated, or a fault or hold did not apply
  2   a call was stuck (I5), or a run went on beyond its budget
  3   the code under test panicked
  4   two processes did not do the same (`check-determinism`, `explore`)
  64  the command line is wrong, or no scenario matched
  65  a scenario file is wrong
  70  the harness broke an assumption of its own
  74  a file cannot be read or written
  125 decisions of the file did not apply and nothing else is wrong (`replay`)
Of several, the greatest is returned.";

/// Tries the start of a container on a simulated node, with faults, under deterministic simulation.
///
/// A scenario file says how a node looks, what clients call, what goes wrong and what must come out.
/// Every run of it brings the same, byte for byte.
#[derive(Parser)]
#[command(name = "shakedown", version, max_term_width = 100, after_help = EXIT_CODES)]
#[command(subcommand_required = true, arg_required_else_help = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Replay(replay::Args),
    Survey(survey::Args),
    Diff(diff::Args),
    Explore(explore::Args),
    Check(check::Args),
    Shrink(shrink::Args),
    Merge(merge::Args),
    Mutants(mutants::Args),
    Bisect(bisect::Args),
    Sites(sites::Args),
    Quirks(quirks::Args),
    Explain(explain::Args),
    Bless(bless::Args),
    CheckDeterminism(check_determinism::Args),
    Schema(schema::Args),
    New(new::Args),
    List(list::Args),
    Fmt(fmt::Args),
    Watch(watch::Args),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
}

/// Runs the command line of this process.
pub fn main() -> process::ExitCode {
    command_line()
}

/// Runs the command line of this process, which is the program of another runtime: every command knows its
/// profiles, by its name and as `NAME@VERSION` in the world of each version of containerd, and runs as the first
/// of them where none is named.
pub fn main_for(runtime: impl UnderTest) -> process::ExitCode {
    match under_test::add_own(runtime) {
        Ok(()) => command_line(),
        Err(error) => {
            let failure = Failure::new(ExitCode::Usage, error.to_string());
            process::ExitCode::from(failure.report() as u8)
        }
    }
}

fn command_line() -> process::ExitCode {
    quiet_panics();
    log_to_stderr();
    watchdog::start();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to be told that this could not be written.
            let _ = error.print();
            let code = if error.use_stderr() { ExitCode::Usage } else { ExitCode::Passed };
            return process::ExitCode::from(code as u8);
        }
    };
    let mut output = Output::new();
    let result = match cli.command {
        Command::Run(args) => run::run(&args, &mut output),
        Command::Replay(args) => replay::run(&args, &mut output),
        Command::Survey(args) => survey::run(&args, &mut output),
        Command::Diff(args) => diff::run(&args, &mut output),
        Command::Explore(args) => explore::run(&args, &mut output),
        Command::Check(args) => check::run(&args, &mut output),
        Command::Shrink(args) => shrink::run(&args, &mut output),
        Command::Merge(args) => merge::run(&args, &mut output),
        Command::Mutants(args) => mutants::run(&args, &mut output),
        Command::Bisect(args) => bisect::run(&args, &mut output),
        Command::Sites(args) => sites::run(&args, &mut output),
        Command::Quirks(args) => quirks::run(&args, &mut output),
        Command::Explain(args) => explain::run(&args, &mut output),
        Command::Bless(args) => bless::run(&args, &mut output),
        Command::CheckDeterminism(args) => check_determinism::run(&args, &mut output),
        Command::Schema(args) => schema::run(&args, &mut output),
        Command::New(args) => new::run(&args, &mut output),
        Command::List(args) => list::run(&args, &mut output),
        Command::Fmt(args) => fmt::run(&args, &mut output),
        Command::Watch(args) => watch::run(&args, &mut output),
        Command::Completions(args) => completions::completions(&args, &mut output),
        Command::Man(args) => completions::man(&args, &mut output),
    };
    let result = result.and_then(|code| output.flush().map(|()| code));
    process::ExitCode::from(result.unwrap_or_else(Failure::report) as u8)
}

/// A panic inside a run is caught and reported with it; any other is a defect of the harness and
/// reaches the terminal.
fn quiet_panics() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if is_inside_run() {
            note_panic(info.to_string());
        } else {
            usual(info);
        }
    }));
}

/// What the service logs, to stderr as it happens, if `RUST_LOG` asks for it.
fn log_to_stderr() {
    let Ok(filter) = EnvFilter::try_from_default_env() else { return };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .with_ansi(false)
        .init();
}
