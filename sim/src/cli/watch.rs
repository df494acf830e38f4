//! `shakedown watch`

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real files are watched, and each run is a process of its own"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use notify::{Event, EventKind, RecursiveMode, Watcher};
use serde_json::Value;

use super::output::{BAD, BOLD, DIM, Failure, Output};
use super::select::{self, Corpus};
use crate::report::plain;
use crate::suite::ExitCode;

const EXPLANATION: &str = "\
Examples:
  shakedown watch                                   all scenarios, and the code
  shakedown watch scenarios/start --profile 2.1.9

After each edit the files that failed the last time are run first, then those that were changed. After
an edit of the code below src/ or sim/ the program is built anew, with cargo, and all files are run:
those that failed first. Ctrl-C ends it.";

/// What cargo builds the program from, below the directory that the command runs in.
const CODE: [&str; 4] = ["src", "sim", "Cargo.toml", "Cargo.lock"];
/// Editors write a file in several steps.
const PAUSE: Duration = Duration::from_millis(150);

/// Runs scenarios again after each edit, of theirs or of the code.
#[derive(clap::Args)]
#[command(after_help = EXPLANATION)]
pub struct Args {
    #[command(flatten)]
    corpus: Corpus,
}

/// What was edited.
#[derive(Debug, Default, PartialEq)]
struct Edits {
    scenarios: BTreeSet<PathBuf>,
    code: bool,
}

impl Edits {
    fn is_empty(&self) -> bool {
        self.scenarios.is_empty() && !self.code
    }
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let program = env::current_exe()?;
    // A file that is wrong is no reason to end; paths that are not there are.
    let mut files = files_of(args)?;
    let code = code_of(&program);
    let (sender, events) = channel();
    let wrong = |error: notify::Error| Failure::new(ExitCode::Io, format!("cannot watch: {error}"));
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        // Nobody listens any more once the program ends.
        let _ = sender.send(event);
    })
    .map_err(wrong)?;
    for (path, mode) in watched(args.corpus.paths.iter().chain(&code)) {
        watcher.watch(&path, mode).map_err(wrong)?;
    }
    let mut failed = BTreeSet::new();
    let mut edits =
        Edits { scenarios: files.iter().map(|file| whole(file)).collect(), code: false };
    loop {
        if edits.code && !build(&program, output)? {
            edits = next(&events, args, &code, output)?;
            continue;
        }
        let is_edited = |file: &&PathBuf| edits.code || edits.scenarios.contains(&whole(file));
        let wanted = files.iter().filter(is_edited).cloned().collect();
        let order = order(&failed, &wanted, &files);
        judge(&program, args, &order, &mut failed)?;
        edits = next(&events, args, &code, output)?;
        files = files_of(args)?;
    }
}

/// The directories in which the paths change. An editor puts another file in the place of the one that it saves,
/// which whoever watches the file itself does not see.
fn watched<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> BTreeMap<PathBuf, RecursiveMode> {
    let mut watched = BTreeMap::new();
    for path in paths {
        if path.is_dir() {
            watched.insert(path.clone(), RecursiveMode::Recursive);
        } else {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new(".")).to_owned();
            watched.entry(parent).or_insert(RecursiveMode::NonRecursive);
        }
    }
    watched
}

fn files_of(args: &Args) -> Result<BTreeSet<PathBuf>, Failure> {
    Ok(select::found(&args.corpus.paths)?.into_iter().map(|found| found.path).collect())
}

/// What the program is built from, where it was built here.
fn code_of(program: &Path) -> Vec<PathBuf> {
    let here = env::current_dir().and_then(|here| here.canonicalize());
    let is_ours = here.is_ok_and(|here| program.starts_with(here.join("target")));
    let paths = CODE.iter().map(PathBuf::from).filter(|path| is_ours && path.exists());
    paths.collect()
}

/// The path as the system knows it, to be compared.
fn whole(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// What failed first, then the rest; what is not there any more is left out.
fn order(
    failed: &BTreeSet<PathBuf>,
    wanted: &BTreeSet<PathBuf>,
    files: &BTreeSet<PathBuf>,
) -> Vec<PathBuf> {
    let rest = wanted.difference(failed);
    failed.iter().chain(rest).filter(|file| files.contains(*file)).cloned().collect()
}

/// Runs the files in a process of its own, which shows what comes of it, and notes which failed.
fn judge(
    program: &Path,
    args: &Args,
    files: &[PathBuf],
    failed: &mut BTreeSet<PathBuf>,
) -> Result<(), Failure> {
    if files.is_empty() {
        return Ok(());
    }
    let verdicts = env::temp_dir().join(format!("shakedown-watch-{}.sarif", std::process::id()));
    let mut command = Command::new(program);
    command.arg("run").arg("--sarif").arg(&verdicts);
    command.arg("--profile").arg(args.corpus.profile.join(","));
    if let Some(case) = &args.corpus.case {
        command.arg("--case").arg(case);
    }
    for tag in &args.corpus.tag {
        command.arg("--tag").arg(tag);
    }
    command.arg("--").args(files).status()?;
    let document = std::fs::read(&verdicts)?;
    let _ = std::fs::remove_file(&verdicts);
    let document: Value = serde_json::from_slice(&document).unwrap_or_default();
    let results = document["runs"][0]["results"].as_array().map_or(&[][..], Vec::as_slice);
    let wrong: BTreeSet<&str> =
        results.iter().filter_map(|result| result["properties"]["file"].as_str()).collect();
    for file in files {
        if wrong.contains(&*file.to_string_lossy()) {
            failed.insert(file.clone());
        } else {
            failed.remove(file);
        }
    }
    Ok(())
}

/// Builds the program as it was built, and tells whether that worked.
fn build(program: &Path, output: &mut Output) -> Result<bool, Failure> {
    let is_release = program.components().any(|part| part.as_os_str() == "release");
    output.line(format_args!("\n{BOLD}the code was changed: building{BOLD:#}"))?;
    output.flush()?;
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet"]).args(is_release.then_some("--release"));
    let built = command.status().is_ok_and(|status| status.success());
    if !built {
        output.line(format_args!("{BAD}it does not build{BAD:#}"))?;
    }
    Ok(built)
}

/// Waits for an edit, and for the end of it.
fn next(
    events: &Receiver<notify::Result<Event>>,
    args: &Args,
    code: &[PathBuf],
    output: &mut Output,
) -> Result<Edits, Failure> {
    let paths = args.corpus.paths.iter().chain(code);
    let paths: Vec<String> = paths.map(|path| plain(&path.to_string_lossy())).collect();
    output.line(format_args!("\n{DIM}watching {}; Ctrl-C ends{DIM:#}", paths.join(", ")))?;
    output.flush()?;
    let mut edits = Edits::default();
    let here = env::current_dir().unwrap_or_default();
    let roots: Vec<PathBuf> = args.corpus.paths.iter().map(|path| whole(path)).collect();
    loop {
        let event = if edits.is_empty() {
            events.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            events.recv_timeout(PAUSE)
        };
        match event {
            Ok(Ok(event)) => note(&event, &here, code, &roots, &mut edits),
            Ok(Err(error)) => {
                return Err(Failure::new(ExitCode::Io, format!("cannot watch: {error}")));
            }
            Err(RecvTimeoutError::Timeout) => return Ok(edits),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new(ExitCode::Software, "the watcher ended"));
            }
        }
    }
}

/// Notes what an event says was edited. Reading a file is no edit.
fn note(event: &Event, here: &Path, code: &[PathBuf], roots: &[PathBuf], edits: &mut Edits) {
    if !matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_)) {
        return;
    }
    for path in &event.paths {
        let path = path.strip_prefix(here).unwrap_or(path);
        let path = path.strip_prefix("./").unwrap_or(path);
        if code.iter().any(|root| path.starts_with(root)) {
            let is_code = path
                .extension()
                .is_some_and(|of| ["rs", "toml", "lock"].map(OsStr::new).contains(&of));
            edits.code |= is_code;
        } else if path.extension().is_some_and(|extension| extension == "toml")
            && !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
        {
            // A file that is asked for has neighbours.
            let path = whole(path);
            if roots.iter().any(|root| here.join(&path).starts_with(root)) {
                edits.scenarios.insert(path);
            }
        }
    }
}
