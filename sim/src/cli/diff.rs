//! `shakedown diff`

use std::path::PathBuf;

use shakedown_cri::quirks::Profile;

use super::output::{Failure, Output};
use super::{pages, select};
use crate::report::{self, Comparison, compare};
use crate::suite::{Cases, ExitCode, Ran, Runner, Source};
use crate::under_test;

const EXAMPLES: &str = "\
Examples:
  shakedown diff FILE --profile 1.7.24,hardened    the same case in two versions
  shakedown diff A.toml B.toml                     two files
  shakedown diff FILE --case 'N[code=a]' --case 'N[code=b]'
                                                   two cases of a file
  shakedown diff A.toml B.toml --html diff.html    as a page

Moments are aligned by their names. The exit code is 0 if both runs are the same, and 1 if they differ,
whatever the verdict on either.";

/// Holds two runs against one another: the first moment that differs, all others, and what came of it.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A scenario file.
    a: PathBuf,
    /// Another one; else the same.
    b: Option<PathBuf>,
    /// The case, where a file has several; given twice: that of each.
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// The version to run as; two, separated by a comma: that of each.
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = under_test::default_profile().name,
          value_parser = select::profile_parser())]
    profile: Vec<String>,
    /// Write a page to this file instead.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    for (what, count) in [("--case", args.case.len()), ("--profile", args.profile.len())] {
        if count > 2 {
            let message = format!("{what} names {count}: two runs are compared");
            return Err(Failure::new(ExitCode::Usage, message));
        }
    }
    let profiles: Vec<&'static Profile> =
        args.profile.iter().filter_map(|name| under_test::find(name)).collect();
    let files = [Some(&args.a), args.b.as_ref()];
    let files: Vec<&PathBuf> = files.into_iter().flatten().collect();
    if files.len() + args.case.len() + profiles.len() < 3
        || files.len() < 2 && args.case.len() < 2 && profiles.len() < 2
    {
        let message =
            "nothing to compare with: name a second file, a second --case, or two profiles";
        return Err(Failure::new(ExitCode::Usage, message));
    }
    let runner = Runner::new();
    let mut sides = Vec::new();
    for side in 0..2 {
        let file = files[side.min(files.len() - 1)];
        let profile = profiles[side.min(profiles.len() - 1)];
        let case = args.case.get(side).or(args.case.last()).map(String::as_str);
        sides.push(filmed(&runner, file, profile, case)?);
    }
    let [(source_a, a), (source_b, b)] = &sides[..] else { unreachable!("two were pushed") };
    let comparison = Comparison::new((source_a, a), (source_b, b));
    match &args.html {
        None => output.write(format_args!("{}", compare::text(&comparison)))?,
        Some(path) => {
            pages::write(path, &report::beside(&comparison))?;
            let differ = if comparison.is_same() { "the same" } else { "different" };
            output.line(format_args!("{differ}; the page is {}", path.display()))?;
        }
    }
    Ok(if comparison.is_same() { ExitCode::Passed } else { ExitCode::Failed })
}

fn filmed(
    runner: &Runner,
    file: &PathBuf,
    profile: &'static Profile,
    case: Option<&str>,
) -> Result<(Source, Ran), Failure> {
    let sources = select::load_one(file)?;
    let ran = {
        let selected = select::select(runner, &sources, &[profile], case)?;
        let (cases, index): (&Cases<'_>, usize) = select::one(&selected, "--case")?;
        cases.film(index).map_err(|failure| Failure::of_run(&cases.name(index), &failure))?
    };
    let source = sources.into_iter().next().expect("a case has a file");
    Ok((source, ran))
}
