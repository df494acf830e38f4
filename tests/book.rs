//! What the pages show is what the program does: each command of README.md and docs/ is run, and what the page
//! shows of its output is held against what it printed.
//!
//! A page is run from its top in a directory of its own, with a copy of the corpus. A block ```` ```toml ```` behind a
//! line that ends in a file's name and a colon is that file. In a block ```` ```console ```` a line `$ …` is a command for
//! a shell, and what follows is its output, in which `…` stands for any text, and alone on a line for any lines.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the tests start the program and give it real files"
)]

mod shown;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use shown::fits;
use tempfile::TempDir;

/// Commands that no test can run, by how they begin, and why.
const NOT_RUN: [(&str, &str); 12] = [
    ("cargo test", "the tests themselves"),
    ("INSTA_UPDATE=always cargo test", "the tests themselves"),
    ("cargo bench", "the benchmarks"),
    (".ci/budget", "counts what the program takes that is released; .ci/run does"),
    ("cargo mutants", "hours, and a tool of its own"),
    ("PROPTEST_CASES=100000", "the tests themselves"),
    (
        "cargo run --release --features planted",
        "needs a build of its own; tests/planted.rs has one",
    ),
    ("shakedown run --profile hardened,hardened@", "the corpus four times, as .ci/run does"),
    ("shakedown explore --time 10m", "ten minutes"),
    ("shakedown explore --runs 20000", "a minute"),
    ("shakedown check --faults 2 --resume", "hours"),
    ("shakedown bisect", "needs commits to choose from; tests/cli.rs makes some"),
];

/// Something that a page has its reader do.
#[derive(Debug)]
enum Step {
    /// To write a file.
    File { name: String, text: String },
    /// To run a command. `shown` is what the page shows of its output, if anything.
    Command { line: usize, command: String, shown: Vec<String> },
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The steps of a page, from its top.
fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = page.lines().enumerate().map(|(number, line)| (number + 1, line));
    let mut before = "";
    while let Some((number, line)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            if !line.trim().is_empty() {
                before = line;
            }
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let block: Vec<(usize, &str)> = lines
            .by_ref()
            .take_while(|(_, line)| !line.trim_start().starts_with("```"))
            .map(|(number, line)| (number, line.get(indent..).unwrap_or_default()))
            .collect();
        match language {
            "toml" => {
                let name = before.trim_end().strip_suffix("`:").and_then(|b| b.rsplit('`').next());
                if let Some(name) = name.filter(|name| name.ends_with(".toml")) {
                    let text = block.iter().map(|(_, line)| format!("{line}\n")).collect();
                    steps.push(Step::File { name: name.to_owned(), text });
                }
            }
            "console" => {
                let first = block.first().map_or("", |(_, line)| line);
                assert!(first.starts_with("$ "), "line {number}: a block begins with no command");
                for (line, text) in block {
                    match (text.strip_prefix("$ "), steps.last_mut()) {
                        (Some(command), _) => {
                            let command = command.to_owned();
                            steps.push(Step::Command { line, command, shown: Vec::new() });
                        }
                        (None, Some(Step::Command { command, .. })) if command.ends_with('\\') => {
                            command.push_str(&format!("\n{text}"));
                        }
                        (None, Some(Step::Command { shown, .. })) => shown.push(text.to_owned()),
                        (None, _) => unreachable!("a block begins with a command"),
                    }
                }
            }
            _ => {}
        }
        before = "";
    }
    steps
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A directory with the corpus, and the program below `bin/`.
fn scratch() -> TempDir {
    let here = tempfile::tempdir().unwrap();
    copy_tree(&root().join("scenarios"), &here.path().join("scenarios"));
    fs::copy(root().join("scenario.schema.json"), here.path().join("scenario.schema.json"))
        .unwrap();
    fs::create_dir(here.path().join("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_shakedown"), here.path().join("bin/shakedown")).unwrap();
    here
}

/// Runs a command, and returns its exit code and what it printed.
fn run(here: &Path, command: &str) -> (i32, String) {
    let command = command.replace("cargo run --release -- ", "shakedown ");
    let path = format!("{}/bin:{}", here.display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("exec 2>&1; {command}"))
        .current_dir(here)
        .env("PATH", path)
        .env_remove("RUST_LOG")
        .env_remove("CLICOLOR_FORCE")
        .env_remove("GITHUB_ACTIONS")
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// Follows a page.
fn follow(page: &str) {
    let here = scratch();
    let read = |page: &str| fs::read_to_string(root().join(page)).unwrap();
    let text = read(page);
    let mut wrong = Vec::new();
    // The other pages go on with the example of the first.
    for step in steps(&read("README.md")) {
        if let Step::File { name, text } = step
            && page != "README.md"
            && !name.contains('/')
        {
            fs::write(here.path().join(name), text).unwrap();
        }
    }
    for step in steps(&text) {
        let (line, command, shown) = match step {
            Step::File { name, text } => {
                fs::write(here.path().join(name), text).unwrap();
                continue;
            }
            Step::Command { line, command, shown } => (line, command, shown),
        };
        if NOT_RUN.iter().any(|(begins, _)| command.starts_with(begins)) {
            continue;
        }
        let (code, output) = run(here.path(), &command);
        let lines: Vec<&str> = output.lines().collect();
        // What a command is to print says enough of how it is to end.
        let is_as_shown =
            if shown.is_empty() { code == 0 } else { code < 64 && fits(&shown, &lines) };
        if !is_as_shown {
            let last = lines.len().saturating_sub(60);
            let (shown, output) = (shown.join("\n"), lines[last..].join("\n"));
            wrong.push(format!(
                "{page}:{line}: $ {command}\n--- shown\n{shown}\n--- is, with exit code {code}\n{output}\n"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

macro_rules! pages {
    ($($name:ident $page:literal)*) => {
        const PAGES: &[&str] = &[$($page),*];

        $(#[test]
        fn $name() {
            follow($page);
        })*
    };
}

pages! {
    readme "README.md"
    architecture "ARCHITECTURE.md"
    determinism "docs/determinism.md"
    faults "docs/faults.md"
    invariants "docs/invariants.md"
    benchmarks "docs/benchmarks.md"
    ci "docs/ci.md"
    filesystem "docs/filesystem.md"
    hardened "docs/hardened.md"
    page "docs/page.md"
    planted "docs/planted.md"
    profiles "docs/profiles.md"
    reports "docs/reports.md"
    scenarios "docs/scenarios.md"
    search "docs/search.md"
}

/// Followed by examples/naive/tests/naive.rs, with the runtimes that it is about.
const FOLLOWED_THERE: &str = "docs/runtimes.md";

#[test]
fn every_page_is_followed() {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let docs = docs.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}"));
    let mut all: BTreeSet<String> = docs.collect();
    all.extend(["README.md".to_owned(), "ARCHITECTURE.md".to_owned()]);
    let followed = PAGES.iter().chain([&FOLLOWED_THERE]);
    let followed: BTreeSet<String> = followed.map(|page| (*page).to_owned()).collect();
    assert_eq!(all, followed);
}

/// A list of exceptions that names what is not there hides the next one.
#[test]
fn what_is_not_run_is_shown_somewhere() {
    let pages = PAGES.iter().map(|page| fs::read_to_string(root().join(page)).unwrap());
    let steps: Vec<Step> = pages.flat_map(|page| steps(&page)).collect();
    for (begins, _) in NOT_RUN {
        let is_shown = steps.iter().any(
            |step| matches!(step, Step::Command { command, .. } if command.starts_with(begins)),
        );
        assert!(is_shown, "`{begins}` is nowhere");
    }
}

/// Commands in running text and tables: the words behind `shakedown` that are options, or the command.
#[test]
fn commands_that_are_mentioned_exist() {
    let here = scratch();
    let mut helps: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
    let mut checked = 0;
    for page in PAGES {
        let text = fs::read_to_string(root().join(page)).unwrap();
        for span in text.split('`').skip(1).step_by(2) {
            let Some(line) = span.strip_prefix("shakedown ").filter(|s| !s.contains('\n')) else {
                continue;
            };
            let mut words = line.split_whitespace();
            let command = words.next().unwrap();
            let help = helps.entry(command.to_owned()).or_insert_with(|| {
                let (code, help) = run(here.path(), &format!("shakedown {command} --help"));
                assert_eq!(code, 0, "{page}: `shakedown {command}`\n{help}");
                help
            });
            for option in words.filter(|word| word.starts_with("--")) {
                let name = option.split('=').next().unwrap();
                assert!(help.contains(name), "{page}: `shakedown {line}` has no {name}");
                checked += 1;
            }
        }
    }
    assert!(helps.len() > 15, "{helps:?}");
    assert!(checked > 10, "{checked}");
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut checked = 0;
    for page in PAGES.iter().chain([&FOLLOWED_THERE]) {
        let text = fs::read_to_string(root().join(page)).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.contains(char::is_whitespace) {
                continue;
            }
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let here = root().join(page);
            let target = if path.is_empty() { here } else { here.with_file_name(path) };
            assert!(target.exists(), "{page} leads to {link}, which is not there");
            checked += 1;
            if fragment.is_empty() {
                continue;
            }
            let there = fs::read_to_string(&target).unwrap();
            let mut headings = there.lines().filter(|line| line.starts_with('#'));
            let is_there = headings.any(|h| anchor(h.trim_start_matches('#').trim()) == fragment);
            assert!(is_there, "{page} leads to {link}, and there is no such heading");
        }
    }
    assert!(checked > 100, "{checked}");
}

#[test]
fn what_is_shown_has_to_fit() {
    let fit = |shown: &str, output: &str| {
        let shown: Vec<String> = shown.lines().map(str::to_owned).collect();
        fits(&shown, &output.lines().collect::<Vec<_>>())
    };
    assert!(fit("a\nb", "a\nb\n"));
    assert!(fit("…\nb\n…", "a\nb\nc\nd"));
    assert!(fit("…\nb\n…", "b"));
    assert!(fit("…\nb\n…\nb", "b\nx\nb\ny\nb"));
    assert!(fit("a … runs; … s", "a 12 runs; 0.7 s"));
    assert!(fit("   \na", "\na"));
    for (shown, output) in [
        ("a\nb", "a"),
        ("a", "a\nb"),
        ("…\nb", "a\nb\nc"),
        ("a … runs", "a 12 run"),
        ("a", "ab"),
        ("…b", "ab c"),
        ("a…a", "a"),
    ] {
        assert!(!fit(shown, output), "{shown:?} fits {output:?}");
    }
}
