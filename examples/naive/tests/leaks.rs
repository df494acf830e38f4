//! Code under test that depends on more than its decisions is caught by comparing two processes, with the event in
//! which it shows first.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the tests start programs, and no run is under way in them then"
)]

use std::fs;
use std::process::Command;

const PLAIN: &str = include_str!("../../../scenarios/drivers/a-start-alone.toml");

/// Two processes did not do the same.
const NONDETERMINISM: Option<i32> = Some(4);

/// What the leaky program prints, and its exit code.
fn leaky(leak: &str, arguments: &[&str]) -> (String, Option<i32>) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("plain.toml"), PLAIN).expect("it can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_leaky"));
    command.current_dir(directory.path()).env_remove("TZ").args(arguments);
    let output = command.args(["--profile", leak, "plain.toml"]).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).expect("it is text"), output.status.code())
}

/// A search, which makes some of its runs again in another process.
fn explored(leak: &str) -> (String, Option<i32>) {
    leaky(leak, &["explore", "--seed", "1", "--runs", "128"])
}

fn checked(leak: &str) -> (String, Option<i32>) {
    leaky(leak, &["check-determinism"])
}

#[test]
fn no_leak_is_no_difference() {
    let (text, code) = explored("no-leak");
    assert!(
        code != NONDETERMINISM && text.contains(" runs made again in another process, the same"),
        "{text}"
    );
    let (text, code) = checked("no-leak");
    assert!(code == Some(0) && text.contains("the same in two processes: 1 run"), "{text}");
}

/// The first event that differs is the one in which the leak shows.
#[track_caller]
fn caught(by: fn(&str) -> (String, Option<i32>), leak: &str, site: &str) {
    let (text, code) = by(leak);
    assert_eq!(code, NONDETERMINISM, "{text}");
    let shown = text.lines().skip_while(|line| !line.ends_with(" is not the same"));
    let mut shown = shown.skip(1).take(2);
    assert!(shown.any(|line| line.contains(site)), "{text}");
}

#[test]
fn the_order_of_a_hash_map() {
    caught(explored, "hash-map-order", "start-1/fs.read(/file-");
}

#[test]
fn real_time() {
    caught(explored, "real-time", "start-1/sleep#1");
}

#[test]
fn an_address_in_a_message() {
    caught(explored, "address", "start-1.done");
    caught(checked, "address", "start-1.done");
}

#[test]
fn a_thread() {
    caught(explored, "thread", "start-1/fs.read(/while-the-thread-sleeps)");
}

#[test]
fn a_second_run_that_does_more() {
    caught(explored, "longer-second-run", "start-1/fs.read(/one-more)#1.effect");
    caught(checked, "longer-second-run", "start-1/fs.read(/one-more)#1.effect");
}

#[test]
fn other_data_on_the_same_schedule() {
    caught(explored, "other-data", "start-1/fs.write(");
    caught(checked, "other-data", "start-1/fs.write(");
}
