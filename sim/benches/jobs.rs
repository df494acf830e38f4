//! How much of two processes one process with `--jobs 2` is: the same search, by one process with two threads, and
//! by two processes with one thread and half of it each. Rounds of both take turns. See `docs/benchmarks.md`.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "processes are started and their real time is measured"
)]

use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

const ROUNDS: usize = 5;
/// What one process has to reach of two.
const REQUIRED: f64 = 0.95;

/// Starts the program, which tells nobody anything.
fn start(args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shakedown"));
    // The scenarios are the workspace's.
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).args(args);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts")
}

/// Seconds until all are done, which find nothing.
fn took(processes: &[&[&str]]) -> f64 {
    let began = Instant::now();
    let children: Vec<Child> = processes.iter().map(|args| start(args)).collect();
    for mut child in children {
        let status = child.wait().expect("the program ends");
        assert!(status.success(), "{processes:?}: {status}");
    }
    began.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Compares both ways for a search. True when one process reaches what it has to.
fn compare(search: &[&str]) -> bool {
    let with = |more: &[&'static str]| [search, more].concat();
    let whole = with(&["--jobs", "2"]);
    let halves =
        [with(&["--jobs", "1", "--shard", "1/2"]), with(&["--jobs", "1", "--shard", "2/2"])];
    let halves: Vec<&[&str]> = halves.iter().map(Vec::as_slice).collect();
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        one.push(took(&[&whole]));
        two.push(took(&halves));
    }
    let share = median(one.iter().zip(&two).map(|(one, two)| two / one).collect());
    println!("shakedown {}", search.join(" "));
    println!("  one process with --jobs 2          {:>7.3} s", median(one));
    println!("  two processes, half of it each     {:>7.3} s", median(two));
    println!("  one reaches of two                 {:>7.1} %, at least 95", share * 100.0);
    share >= REQUIRED
}

fn main() -> ExitCode {
    let explore = compare(&["explore", "--runs", "10000", "--seed", "1"]);
    let check = compare(&["check", "--faults", "1", "--delays", "0"]);
    if explore && check { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
