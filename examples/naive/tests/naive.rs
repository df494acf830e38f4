//! What the naive runtime breaks, as its program and its tests tell it.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the tests start programs, and no run is under way in them then"
)]

#[path = "../../../tests/shown.rs"]
mod shown;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use shakedown::Trial;
use shakedown::invariants::Id;
use shakedown_naive::Naive;
use shown::fits;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn naive(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shakedown-naive"));
    command.current_dir(ROOT).args(arguments).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it is text")
}

#[test]
fn a_part_of_the_corpus() {
    // Files and no directories, so that a new scenario changes nothing here.
    let files = [
        "start/the-reply-of-task-create-is-lost",
        "start/task-create-fails-with-each-error-code",
        "start/the-rollback-hangs-while-it-kills",
        "client/the-client-cancels-at-every-await",
        "concurrent/start-against-remove-at-every-moment",
        "concurrent/stop-against-start-at-every-moment",
        "concurrent/a-resource-update-against-start-at-every-moment",
        "checkpoint/neither-status-can-be-written",
        "crash/the-daemon-is-killed-at-every-moment-of-a-start",
        "nri/a-plugin-connects-after-the-start-was-relayed",
    ];
    let files = files.map(|file| format!("scenarios/{file}.toml"));
    let arguments: Vec<&str> =
        std::iter::once("survey").chain(files.iter().map(String::as_str)).collect();
    let output = naive(&arguments);
    assert_eq!(output.status.code(), Some(2), "calls get stuck");
    insta::assert_snapshot!(text(&output.stdout));
}

/// What the survey tells is what one sees who follows its commands.
#[test]
fn each_command_that_is_told_shows_what_is_said() {
    let output = naive(&["survey", "scenarios/start"]);
    let text = text(&output.stdout);
    let mut tried = 0;
    for section in text.split("\n\n").filter(|section| section.contains("-- replay")) {
        let id = section.split(' ').next().expect("a section begins with the invariant");
        let (_, command) =
            section.split_once("-- ").expect("the command has the program before it");
        let command = command.replace(" \\\n", " ");
        let words: Vec<&str> =
            command.split_whitespace().map(|word| word.trim_matches('\'')).collect();
        let told = naive(&words);
        let told = std::str::from_utf8(&told.stdout).expect("it is text");
        assert!(
            told.contains(&format!("{id} ")) && told.contains("is violated"),
            "{command}\n{told}"
        );
        tried += 1;
    }
    assert!(tried > 5, "{text}");
}

/// Every command knows the runtime, and runs as it where no profile is named.
#[test]
fn the_commands_are_the_runtimes_own() {
    let file = "scenarios/start/the-reply-of-task-create-is-lost.toml";
    let run = naive(&["run", file]);
    assert_eq!(run.status.code(), Some(0), "{}", text(&run.stdout));
    let side_by_side =
        naive(&["run", "scenarios/start", "--profile", "naive,naive@2.1.9,hardened"]);
    let table = text(&side_by_side.stdout);
    let head = table.lines().next().unwrap_or_default();
    assert_eq!(
        head.split_whitespace().collect::<Vec<_>>(),
        ["scenario", "naive", "naive@2.1.9", "hardened"]
    );
    assert!(table.contains("replay: cargo run --release -p shakedown-naive -- replay "), "{table}");
}

/// As in the README, which has it compiled but not run.
#[test]
fn the_reply_of_task_create_is_lost() -> Result<(), shakedown::Error> {
    let report = shakedown::run("scenarios/start/the-reply-of-task-create-is-lost.toml")?;
    insta::assert_snapshot!(report);
    Ok(())
}

#[test]
fn the_naive_runtime_looks_for_a_task_whose_reply_was_lost() -> Result<(), shakedown::Error> {
    let file = "scenarios/start/the-reply-of-task-create-is-lost.toml";
    let reports = Trial::new(file).on(Naive).run()?;
    assert!(reports.passed(), "{reports}");
    let file = "scenarios/start/the-rollback-hangs-while-it-kills.toml";
    let reports = Trial::new(file).on(Naive).run()?;
    assert!(!reports.passed() && reports.violated().contains(&Id(8)), "{reports}");
    Ok(())
}

#[test]
fn a_mistake_in_a_trial_is_told() {
    let file = "scenarios/concurrent/start-against-start-at-every-moment.toml";
    let errors = [
        Trial::new("scenarios/start/nothing.toml").run(),
        Trial::new(file).profile("hardend").run(),
        Trial::new(file).case("start-against-start-at-every-moment[moment=start-1.begim]").run(),
        Trial::text("plain.toml", "shakedown = 1\ntitel = \"a plain start\"\n").run(),
    ];
    let errors = errors.map(|result| format!("{:?}", result.expect_err("it is a mistake")));
    insta::assert_snapshot!(errors.join("\n---\n"));
}

const PAGE: &str = include_str!("../../../docs/runtimes.md");

/// The blocks of the page in a language, each with the title of its section.
fn blocks(language: &str) -> Vec<(&'static str, &'static str)> {
    let mut blocks = Vec::new();
    for section in PAGE.split("\n## ") {
        let title = section.lines().next().unwrap_or_default();
        let fence = format!("\n```{language}\n");
        for block in section.split(&*fence).skip(1) {
            let (block, _) = block.split_once("\n```").expect("a block ends");
            blocks.push((title, block));
        }
    }
    blocks
}

/// The code of the page is that of two programs and of the test below, which are compiled.
#[test]
fn the_code_of_the_page_is_compiled() {
    let [empty, small, test] = &blocks("rust")[..] else { panic!("another block of code") };
    assert_eq!(empty.1.trim_end(), include_str!("../src/bin/empty.rs").trim_end());
    assert_eq!(small.1.trim_end(), include_str!("../src/bin/small.rs").trim_end());
    assert!(include_str!("naive.rs").contains(&test.1.replace("Mine", "Naive")), "{}", test.1);
}

#[test]
fn what_is_broken() -> Result<(), shakedown::Error> {
    insta::assert_snapshot!(shakedown::Trial::new("scenarios/clock").on(Naive).survey()?);
    Ok(())
}

/// The commands of the page do what it shows, in a directory beside a clone of the repository.
#[test]
fn the_commands_of_the_page_do_what_it_shows() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mine = place.path().join("mine");
    fs::create_dir(&mine).expect("it can be made");
    symlink(ROOT, place.path().join("shakedown")).expect("it can be linked");
    let mut ran = 0;
    for (title, block) in blocks("console") {
        let (command, shown) = block.split_once('\n').unwrap_or((block, ""));
        let command = command.strip_prefix("$ ").expect("a block begins with its command");
        let (program, here) = match title {
            "An empty crate" => (env!("CARGO_BIN_EXE_empty"), &*mine),
            "A first start" => (env!("CARGO_BIN_EXE_small"), &*mine),
            _ => (env!("CARGO_BIN_EXE_shakedown-naive"), Path::new(ROOT)),
        };
        // What cargo does by itself was done already.
        let Some((_, arguments)) = command.split_once("-- ") else { continue };
        let output = Command::new(program).current_dir(here).args(arguments.split(' ')).output();
        let output = output.expect("it runs");
        let found: Vec<&str> = text(&output.stdout).lines().collect();
        let shown: Vec<String> = shown.lines().map(str::to_owned).collect();
        assert!(fits(&shown, &found), "{command}\n{}", found.join("\n"));
        ran += 1;
    }
    assert_eq!(ran, 5);
}
