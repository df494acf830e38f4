//! `shakedown bisect`

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "git and the build are real processes, and no run is under way"
)]

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::output::{BOLD, Failure, Output};
use super::select;
use crate::suite::ExitCode;
use crate::under_test;

const EXAMPLES: &str = "\
Examples:
  shakedown bisect failures/i6-start-fs-write-hardened.toml --good v1.2 --profile hardened
  shakedown bisect FILE --good HEAD~20 --bad HEAD~3 --case 'NAME[code=unknown]'

Has `git bisect run` build each commit and replay the file with what was built. A commit that cannot be
built, or to which decisions of the file do not apply, is skipped. The file is copied first, so it need
not be part of the repository. When it is over, the commit that was checked out before is so again.";

/// Finds the commit that brought a failure, by replaying a file on one after the other.
#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", super::EXIT_CODES))]
pub struct Args {
    /// A scenario file that fails.
    file: PathBuf,
    /// A commit on which it does not.
    #[arg(long, value_name = "REV")]
    good: String,
    /// One on which it does.
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    bad: String,
    /// Which of its cases, where it has several.
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// The version to run as.
    #[arg(long, value_name = "NAME", default_value = under_test::default_profile().name,
          value_parser = select::profile_parser())]
    profile: String,
    /// What builds a commit, for the shell.
    #[arg(long, value_name = "COMMAND", default_value = "cargo build --quiet --release")]
    build: String,
    /// What the build brings, from the root of the repository.
    #[arg(long, value_name = "PATH", default_value = "target/release/shakedown")]
    program: PathBuf,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    // A wrong file is told of before anything is built.
    select::load_one(&args.file)?;
    let root = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?);
    let copies = Copies::new(&args.file)?;
    let step = step(args, &copies.file);
    git(&["-C", path(&root)?, "bisect", "start", &args.bad, &args.good, "--"])?;
    output.flush()?;
    let steps = Command::new("git")
        .current_dir(&root)
        .args(["bisect", "run", "sh", "-c", &step])
        .stdin(Stdio::null())
        .output();
    let steps = steps.map_err(|error| io("start git", &error));
    let log = git(&["-C", path(&root)?, "bisect", "log"]);
    // Whatever came of it, the repository is as it was.
    git(&["-C", path(&root)?, "bisect", "reset"])?;
    let steps = steps?;
    let first = log?
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("# first bad commit: ").map(str::to_owned));
    match first {
        Some(first) => {
            output.line(format_args!("{BOLD}the first commit that fails{BOLD:#}: {first}"))?;
            Ok(ExitCode::Passed)
        }
        None => {
            // Which commits are left when some had to be skipped, or why git gave up.
            let told = [steps.stdout, steps.stderr].concat();
            let told = String::from_utf8_lossy(&told);
            let lines: Vec<&str> = told.lines().collect();
            let last = lines[lines.len().saturating_sub(20)..].join("\n");
            let message = format!("no single commit was found\n{last}");
            Err(Failure::new(ExitCode::CannotTell, message.trim_end()))
        }
    }
}

/// What is done on each commit, for the shell: 0 is good, 125 cannot be told, all else is bad. Of a program
/// that could not judge (64 and more) nothing can be told.
fn step(args: &Args, file: &Path) -> String {
    let program = args.program.display().to_string();
    let replay = [Some("replay".to_owned()), Some(file.display().to_string())]
        .into_iter()
        .chain([Some("--profile".to_owned()), Some(args.profile.clone())])
        .chain(args.case.iter().flat_map(|case| [Some("--case".to_owned()), Some(case.clone())]));
    let words: Vec<String> =
        std::iter::once(program).chain(replay.flatten()).map(|word| quoted(&word)).collect();
    format!(
        "({}) || exit 125; {} >/dev/null; code=$?; test $code -lt 64 || exit 125; exit $code",
        args.build,
        words.join(" ")
    )
}

/// As one word of the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The scenario file where no commit replaces it, as long as the value lives.
struct Copies {
    directory: PathBuf,
    file: PathBuf,
}

impl Copies {
    fn new(file: &Path) -> Result<Self, Failure> {
        let name = file.file_name().unwrap_or_default();
        let directory = env::temp_dir().join(format!("shakedown-bisect-{}", std::process::id()));
        let copy = directory.join(name);
        fs::create_dir_all(&directory)
            .and_then(|()| fs::copy(file, &copy).map(drop))
            .map_err(|error| io(&format!("copy {}", file.display()), &error))?;
        Ok(Copies { directory, file: copy })
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            let _ =
                writeln!(std::io::stderr(), "cannot remove {}: {error}", self.directory.display());
        }
    }
}

/// What git prints, or what it says when it fails.
fn git(args: &[&str]) -> Result<String, Failure> {
    let output = Command::new("git").args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|error| io("start git", &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(ExitCode::Usage, format!("git {}: {}", args.join(" "), why.trim())))
}

fn path(path: &Path) -> Result<&str, Failure> {
    let wrong = || Failure::new(ExitCode::Usage, format!("{} is no text", path.display()));
    path.to_str().ok_or_else(wrong)
}

fn io(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(ExitCode::Io, format!("cannot {what}: {error}"))
}
