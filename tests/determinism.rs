//! Two processes that differ in everything but their decisions print the same bytes. A sample:
//! `.ci/run` compares the events of the whole corpus.
#![expect(clippy::disallowed_types, reason = "tests are no part of a run")]

use std::path::Path;
use std::process::{Command, Stdio};

use shakedown_cri::quirks::Profile;

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");

/// Runs `shakedown run` with the arguments, here or elsewhere; its stdout and exit code.
fn output(args: &[&str], elsewhere: Option<&Path>) -> (Vec<u8>, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shakedown"));
    command.arg("run").args(args).stdin(Stdio::null()).stderr(Stdio::null()).env_clear();
    match elsewhere {
        None => {
            command.current_dir(env!("CARGO_MANIFEST_DIR")).env("TZ", "UTC");
        }
        Some(directory) => {
            command
                .current_dir(directory)
                .env("TZ", "Pacific/Chatham")
                .env("RUST_LOG", "trace")
                .env("LC_ALL", "tr_TR.UTF-8")
                .env("HOME", directory)
                .env("USER", "somebody")
                .env("COLUMNS", "33")
                .env("TERM", "dumb")
                .env("MADSIM_TEST_SEED", "7")
                .env("MADSIM_TEST_NUM", "3")
                .env("RUST_BACKTRACE", "1")
                // Moves what comes after it in memory.
                .env("PADDING", "x".repeat(5_000));
        }
    }
    let output = command.output().expect("the binary runs");
    (output.stdout, output.status.code())
}

fn line(bytes: Option<&[u8]>) -> String {
    bytes.map_or_else(|| "(nothing)".to_owned(), |line| String::from_utf8_lossy(line).into_owned())
}

/// The first line in which the two differ; `None` when they are the same.
fn first_difference(here: &[u8], there: &[u8]) -> Option<String> {
    if here == there {
        return None;
    }
    let (mut a, mut b) = (here.split(|c| *c == b'\n'), there.split(|c| *c == b'\n'));
    for number in 1.. {
        let (here, there) = (a.next(), b.next());
        if here != there {
            return Some(format!("line {number}\n here: {}\nthere: {}", line(here), line(there)));
        }
        if here.is_none() {
            break;
        }
    }
    None
}

#[track_caller]
fn same_bytes(args: &[&str]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (here, code_here) = output(args, None);
    let (there, code_there) = output(args, Some(directory.path()));
    assert!(!here.is_empty(), "nothing was printed");
    if let Some(difference) = first_difference(&here, &there) {
        let (here, there) = (here.len(), there.len());
        panic!("{here} bytes here, {there} there; {difference}");
    }
    assert_eq!(here.len(), there.len());
    assert_eq!(code_here, code_there);
}

fn all_profiles() -> String {
    Profile::ALL.iter().map(|profile| profile.name).collect::<Vec<_>>().join(",")
}

#[test]
fn a_folder_as_text() {
    same_bytes(&[&format!("{SCENARIOS}/start"), "--profile", &all_profiles()]);
}

#[test]
fn timelines_with_every_moment() {
    let plain = format!("{SCENARIOS}/start");
    same_bytes(&[&plain, "--tag", "smoke", "--timeline"]);
    same_bytes(&[&plain, "--tag", "smoke", "--timeline", "--format", "json"]);
}

#[test]
fn differences_are_found_and_shown() {
    assert_eq!(first_difference(b"a\nb\n", b"a\nb\n"), None);
    let shown = first_difference(b"a\nb\nc", b"a\nx\nc").expect("they differ");
    assert_eq!(shown, "line 2\n here: b\nthere: x");
    let shown = first_difference(b"a", b"a\nb").expect("one goes on");
    assert_eq!(shown, "line 2\n here: (nothing)\nthere: b");
}
