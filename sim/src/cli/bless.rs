//! `shakedown bless`

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;

use shakedown_cri::quirks::Profile;

use super::files;
use super::output::{DIM, Failure, Output};
use super::select;
use super::unified::unified;
use crate::report::{Problem, summary};
use crate::suite::{Cases, ExitCode, LoadError, Ran, Runner, Source, bless, rewrite};
use crate::under_test;

const EXPLANATION: &str = "\
Example:
  shakedown bless scenarios/start/task-create-fails.toml --yes

All cases are run. Answers, statuses, events, logs and what is left become [[expect]] entries,
shared by the cases that came out alike; invariants that broke become [[violation]] entries, with
the cause that the file gave them, or with a quirk of the profile and a `because` that begins with
`to be checked`. Orders and `not-applied` stay, and so does the rest of the file. Look at the difference: what is
blessed is not thereby right.";

/// Writes the expectations of a file from what happened, after showing the difference.
#[derive(clap::Args)]
#[command(after_help = EXPLANATION)]
pub struct Args {
    /// A scenario file.
    file: PathBuf,
    /// Which versions to run as; entries for others stay. [default: every version of containerd]
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = select::profile_parser())]
    profile: Vec<String>,
    /// Write without asking.
    #[arg(long)]
    yes: bool,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let sources = select::load_one(&args.file)?;
    let profiles = match &args.profile[..] {
        [] => match under_test::default_profile() {
            own if under_test::is_foreign(own) => vec![own],
            _ => Profile::ALL.iter().collect(),
        },
        names => select::profiles(names),
    };
    let runner = Runner::new();
    let source = &sources[0];
    // What the file expects is about to change: it must not keep the cases from being made.
    let mut bare = source.clone();
    bare.scenario.expects.clear();
    bare.scenario.violations.clear();
    let selected = select::select(&runner, std::slice::from_ref(&bare), &profiles, None)?;
    let cases: Vec<Cases<'_>> = selected.into_iter().flatten().map(|s| s.cases).collect();
    if let Some(reason) = cases.iter().find_map(|cases| cases.stale.first()) {
        let message = format!("{}: {}", source.file, reason.what);
        return Err(Failure::new(ExitCode::Failed, message));
    }
    let blessed =
        bless(source, &cases).map_err(|failure| Failure::of_run(&source.file, &failure))?;
    for note in &blessed.notes {
        output.line(format_args!("note: {note}"))?;
    }
    let text = rewrite(&source.text, &blessed.scenario).map_err(|error| {
        Failure::new(ExitCode::Software, format!("cannot rewrite {}: {error}", source.file))
    })?;
    let new = match Source::parse(&source.file, &source.label, text.as_bytes()) {
        Ok(new) => new,
        Err(LoadError::Wrong { text, diagnostics }) => {
            super::output::show_diagnostics(&diagnostics, &text);
            let message = "what happened cannot be expected: the file would be wrong";
            return Err(Failure::new(ExitCode::Data, message));
        }
        Err(error) => return Err(Failure::new(ExitCode::Io, error.to_string())),
    };
    if text == source.text {
        output.line(format_args!("{} expects what happens already", source.file))?;
    } else {
        output.write(format_args!("{}", unified(&source.file, &source.text, &text)))?;
        output.flush()?;
        if !args.yes && !confirmed(output, &source.file)? {
            output.line(format_args!("{DIM}not written{DIM:#}"))?;
            return Ok(ExitCode::Failed);
        }
        files::replace(&args.file, &text).map_err(|error| {
            Failure::new(ExitCode::Io, format!("cannot write {}: {error}", source.file))
        })?;
        output.line(format_args!("{} is written", source.file))?;
    }
    remaining(&expand(&runner, &new, &profiles)?, output)
}

fn expand<'s>(
    runner: &Runner,
    source: &'s Source,
    profiles: &[&'static Profile],
) -> Result<Vec<Cases<'s>>, Failure> {
    let each = profiles.iter().map(|profile| runner.cases(source, profile));
    each.collect::<Result<Vec<_>, _>>().map_err(|failure| Failure::of_run(&source.file, &failure))
}

/// Asks, if somebody is there to answer.
fn confirmed(output: &mut Output, file: &str) -> Result<bool, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() || !io::stdout().is_terminal() {
        output.line(format_args!("nobody is there to confirm: pass --yes to write"))?;
        return Ok(false);
    }
    output.write(format_args!("Write {file}? [y/N] "))?;
    output.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What cannot be blessed still fails: decisions that did not apply, runs over budget, violations
/// that nothing explains.
fn remaining(of_profiles: &[Cases<'_>], output: &mut Output) -> Result<ExitCode, Failure> {
    let mut code = ExitCode::Passed;
    for cases in of_profiles {
        for index in 0..cases.len() {
            let Ran { case, verdict, .. } =
                cases.run(index, false).map_err(|f| Failure::of_run(&cases.name(index), &f))?;
            code = code.max(verdict.exit_code());
            if verdict.passed() {
                continue;
            }
            output.line(format_args!("{} still fails ({}):", case.name, cases.profile.name))?;
            for reason in &verdict.reasons {
                let problem = Problem::failed(cases.source, reason);
                let shown = summary::rendered(&problem, &cases.source.text);
                output.line(format_args!("{shown}"))?;
            }
        }
    }
    Ok(code)
}
