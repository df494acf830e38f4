//! Reports for other programs: valid by their schemas, and at one with each other.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the tests start the program, and the validator of XML"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;
use shakedown::report::{self, Entry, Pages, Place, Problem, Verdicts, json, summary};
use shakedown::suite::ExitCode;

const BEGAN: &str = "2026-11-26T00:30:00";
const SCHEMAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/schemas");

/// What a report says, as far as all of them say it.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    passed: usize,
    failed: usize,
    /// It points at something that failed, beside the numbers.
    shows_failure: bool,
}

fn numbers(line: &str) -> (usize, usize) {
    let (passed, failed) = line.split_once(" passed, ").expect("`N passed, N failed`");
    let failed = failed.strip_suffix(" failed").expect("`N failed`");
    (passed.parse().unwrap(), failed.parse().unwrap())
}

fn said_by_junit(text: &str) -> Said {
    let mut reader = Reader::from_str(text);
    let (mut cases, mut marks) = (0, 0);
    let (mut tests, mut wrong) = (0, 0);
    loop {
        let event = reader.read_event().unwrap();
        let element = match &event {
            Event::Eof => break,
            Event::Start(element) | Event::Empty(element) => element,
            _ => continue,
        };
        let number = |name: &str| -> usize {
            let value = element.try_get_attribute(name).unwrap().unwrap().value;
            std::str::from_utf8(&value).unwrap().parse().unwrap()
        };
        match element.name().as_ref() {
            b"testcase" => cases += 1,
            b"failure" | b"error" => marks += 1,
            b"testsuite" => {
                tests += number("tests");
                wrong += number("failures") + number("errors");
            }
            _ => {}
        }
    }
    assert_eq!((tests, wrong), (cases, marks), "the suites count what they hold:\n{text}");
    Said { passed: cases - marks, failed: marks, shows_failure: marks > 0 }
}

fn said_by_sarif(text: &str) -> Said {
    let document: Value = serde_json::from_str(text).unwrap();
    let run = &document["runs"][0];
    let results = run["results"].as_array().unwrap();
    assert!(results.iter().all(|result| result["level"] == "error"), "{text}");
    let count = |key: &str| run["properties"][key].as_u64().unwrap() as usize;
    let failed_by_exit_code = run["invocations"][0]["exitCode"] != 0;
    assert_eq!(failed_by_exit_code, !results.is_empty(), "{text}");
    Said { passed: count("passed"), failed: count("failed"), shows_failure: !results.is_empty() }
}

fn said_by_markdown(text: &str) -> Said {
    let mut lines = text.lines();
    let heading = lines.next().unwrap();
    let (passed, failed) = numbers(lines.nth(1).unwrap());
    assert_eq!(heading == "## Shakedown: passed", failed == 0, "{text}");
    let rows = lines.filter(|line| line.starts_with("| ") && !line.starts_with("| case |")).count();
    Said { passed, failed, shows_failure: rows > 0 }
}

fn said_by_json(text: &str) -> Said {
    let document: Value = serde_json::from_str(text).unwrap();
    let count = |key: &str| document[key].as_u64().unwrap() as usize;
    let all = ["cases", "not-run"].map(|key| document[key].as_array().unwrap());
    let passed =
        all.iter().flat_map(|list| list.iter()).filter(|of| of["verdict"]["passed"] == true);
    let total: usize = all.iter().map(|list| list.len()).sum();
    assert_eq!(passed.count(), count("passed"), "{text}");
    let failed = count("failed");
    assert_eq!(total - count("passed"), failed, "{text}");
    Said { passed: count("passed"), failed, shows_failure: failed > 0 }
}

fn said_by_text(text: &str) -> Said {
    let text = anstream::adapter::strip_str(text).to_string();
    let (passed, failed) = numbers(text.lines().last().unwrap());
    let more =
        text.lines().filter_map(|line| line.strip_prefix("      and ")?.split_once(" more, for"));
    let more: usize = more.map(|(more, _)| more.parse::<usize>().unwrap()).sum();
    let shown = text.lines().filter(|line| line.starts_with("FAIL  ")).count() + more;
    assert_eq!(shown, failed, "{text}");
    Said { passed, failed, shows_failure: shown > 0 }
}

fn said_by_github(text: &str) -> bool {
    text.lines().for_each(|line| assert!(line.starts_with("::error "), "{text}"));
    !text.is_empty()
}

fn said_by_index(text: &str) -> Said {
    let between = |from: &str, to: &str| text.split_once(from).unwrap().1.split_once(to).unwrap().0;
    let (passed, failed) = numbers(between("<h1>", "</h1>"));
    assert_eq!(between("<span class=\"verdict ", "<").ends_with(">passed"), failed == 0, "{text}");
    let rows = text.matches("<tr class=\"entry failed\">").count();
    assert_eq!(rows, failed, "{text}");
    Said { passed, failed, shows_failure: rows > 0 }
}

/// What each report says of the entries. `None` for annotations, which hold no numbers.
fn all_said(entries: &[Entry]) -> (Vec<Said>, bool) {
    let verdicts = Verdicts::from(entries.to_vec());
    let entries = verdicts.entries();
    let total = summary::total(entries);
    let said = vec![
        said_by_junit(&report::junit(&verdicts, BEGAN)),
        said_by_sarif(&report::sarif(&verdicts)),
        said_by_markdown(&report::markdown(&verdicts)),
        said_by_index(&report::index(&verdicts, &Pages::new())),
        said_by_json(&format!("{}{}", json::HEAD, json::tail(entries, entries))),
        said_by_text(&format!("{}{total}", summary::of_file(entries))),
    ];
    (said, said_by_github(&report::github(&verdicts)))
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z/-]{0,12}",
        any::<String>(),
        // What is markup or a command to one of the readers.
        r#"[<>&"'|`\\:,%\n\r\t\u{0}\u{1b}\u{fffe}\u{ffff}⟨⟩\]]{0,12}"#,
        Just("::error::passed\n## Shakedown: passed\n5 passed, 0 failed".to_owned()),
        Just("]]></failure></testcase>".to_owned()),
    ]
}

prop_compose! {
    fn any_problem()(
        code in prop_oneof![
            Just(ExitCode::Failed), Just(ExitCode::Liveness), Just(ExitCode::Panicked),
            Just(ExitCode::Usage), Just(ExitCode::Data), Just(ExitCode::Software), Just(ExitCode::Io),
        ],
        kind in prop_oneof![Just("violation"), Just("expectation"), Just("malformed")],
        invariant in prop::option::of(1_u8..=17),
        message in any_text(),
        help in prop::option::of(any_text()),
        notes in prop::collection::vec(any_text(), 0..2),
        differs in prop::option::of((any_text(), any_text())),
        place in prop::option::of((any_text(), 1_usize..50, 1_usize..50, 0_usize..80)),
    ) -> Problem {
        Problem {
            invariant: invariant.map(shakedown::invariants::Id),
            help,
            notes,
            differs,
            place: place.map(|(file, line, column, at)| Place { file, line, column, span: at..at + 3, label: String::new() }),
            ..Problem::new(kind, code, message)
        }
    }
}

prop_compose! {
    fn any_entry()(
        label in any_text(),
        case in any_text(),
        profile in prop_oneof![Just("1.7.24"), Just("hardened"), Just("")],
        file in any_text(),
        text in any_text(),
        took in 0_u64..5_000,
        problems in prop_oneof![
            3 => Just(Vec::new()),
            1 => prop::collection::vec(any_problem(), 1..3),
        ],
        arguments in prop::option::of(any_text()),
        moments in prop::collection::vec(any_text(), 0..3),
    ) -> Entry {
        Entry {
            file,
            text: Rc::from(text),
            took: Duration::from_millis(took),
            problems,
            arguments,
            moments,
            ..Entry::new(&label, &case, profile)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_report_contradicts_another(entries in prop::collection::vec(any_entry(), 0..8)) {
        let failed = entries.iter().filter(|entry| !entry.problems.is_empty()).count();
        // What judged nothing has not passed.
        let nothing = usize::from(entries.is_empty());
        let expected = || Said {
            passed: entries.len() - failed,
            failed: failed + nothing,
            shows_failure: failed + nothing > 0,
        };
        let (said, annotated) = all_said(&entries);
        for said in said {
            prop_assert_eq!(said, expected());
        }
        prop_assert_eq!(annotated, failed + nothing > 0);
        let verdicts = Verdicts::from(entries.clone());
        prop_assert_eq!(verdicts.exit_code() == ExitCode::Passed, failed + nothing == 0);
    }
}

/// Entries in which everything is there that a report can hold.
fn samples() -> Vec<Entry> {
    let problem = Problem {
        invariant: Some(shakedown::invariants::Id(6)),
        help: Some("seen after `start-1.done`".to_owned()),
        differs: Some(("\u{1b}[31mred".to_owned(), "a\tb\u{fffe}".to_owned())),
        ..Problem::new(
            "violation",
            ExitCode::Failed,
            "I6 <always-removable> is violated & \"so\" on",
        )
    };
    let problem = problem.of_file("scenarios/a b.toml");
    let broken = Problem::new("harness", ExitCode::Software, "the harness broke");
    let entry = |case: &str, problems: &[Problem]| Entry {
        file: "scenarios/a b.toml".to_owned(),
        took: Duration::from_millis(1234),
        problems: problems.to_vec(),
        arguments: Some("'a b.toml'".to_owned()),
        ..Entry::new("start/a b", case, "1.7.24")
    };
    vec![
        entry("a b[code=x]", &[]),
        entry("a b[code=y]", &[problem.clone(), broken.clone()]),
        entry("a b[code=z]", std::slice::from_ref(&problem)),
        entry("a b[code=w]", std::slice::from_ref(&problem)),
        Entry { problems: vec![broken], ..Entry::new("shakedown", "the command", "") },
    ]
}

#[test]
fn sarif_is_valid() {
    let schema = fs::read_to_string(Path::new(SCHEMAS).join("sarif-2.1.0.json")).unwrap();
    // A pattern for languages has a bracket that only JavaScript takes for a letter.
    let schema = schema.replace("]?$", r"\\]?$");
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for entries in [samples(), samples()[..1].to_vec(), Vec::new()] {
        let document = report::sarif(&Verdicts::from(entries));
        let document: Value = serde_json::from_str(&document).unwrap();
        let errors: Vec<String> = validator.iter_errors(&document).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}\n{document:#}");
    }
    let wrong = serde_json::json!({ "version": "2.1.0" });
    assert!(!validator.is_valid(&wrong), "the schema refuses what is none");
}

/// By the schema of Jenkins, which most importers follow. Where there is no `xmllint` this test says so, except
/// in CI, where it fails.
#[test]
fn junit_is_valid() {
    if Command::new("xmllint").arg("--version").stderr(Stdio::null()).status().is_err() {
        assert!(std::env::var_os("CI").is_none(), "xmllint is missing (Debian: libxml2-utils)");
        eprintln!("not tested: xmllint is missing (Debian: libxml2-utils)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let valid = |text: &str| {
        let file = dir.path().join("junit.xml");
        fs::write(&file, text).unwrap();
        let schema = Path::new(SCHEMAS).join("jenkins-junit.xsd");
        let mut command = Command::new("xmllint");
        command.args(["--noout", "--schema"]).arg(schema).arg(&file);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for entries in [samples(), samples()[..1].to_vec(), Vec::new()] {
        let text = report::junit(&Verdicts::from(entries), BEGAN);
        let (is_valid, errors) = valid(&text);
        assert!(is_valid, "{errors}\n{text}");
    }
    assert!(!valid("<testsuites><testcase/></testsuites>").0, "the schema refuses what is none");
}

#[test]
fn reports_of_samples() {
    let verdicts = Verdicts::from(samples());
    let version = env!("CARGO_PKG_VERSION");
    insta::assert_snapshot!("junit", report::junit(&verdicts, BEGAN));
    insta::assert_snapshot!("sarif", report::sarif(&verdicts).replace(version, "VERSION"));
    insta::assert_snapshot!("markdown", report::markdown(&verdicts));
    insta::assert_snapshot!("github", report::github(&verdicts));
}

const GOOD: &str = "shakedown = 1\ntitle = \"A start\"\n\n[[world.container]]\nname = \"web\"\n\n\
                    [[call]]\ndo = \"start\"\ncontainer = \"web\"\n";

/// The program's reports, once it was run with all of them.
struct Files {
    dir: tempfile::TempDir,
    stdout: String,
    code: i32,
}

impl Files {
    fn of(files: &[(&str, &str)], args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_shakedown"));
        command.args(args).current_dir(dir.path()).stdin(Stdio::null());
        command.args(["--junit", "j.xml", "--sarif", "s.json", "--markdown", "m.md", "--github"]);
        command.env_remove("RUST_LOG").env_remove("GITHUB_ACTIONS");
        let output = command.output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        Files { dir, stdout, code: output.status.code().unwrap() }
    }

    fn said(&self) -> Vec<Said> {
        let read = |name: &str| fs::read_to_string(self.dir.path().join(name)).unwrap();
        vec![
            said_by_junit(&read("j.xml")),
            said_by_sarif(&read("s.json")),
            said_by_markdown(&read("m.md")),
        ]
    }

    fn annotations(&self) -> Vec<&str> {
        self.stdout.lines().filter(|line| line.starts_with("::error ")).collect()
    }
}

#[track_caller]
fn all_say(files: &Files, passed: usize, failed: usize) {
    for said in files.said() {
        assert_eq!(said, Said { passed, failed, shows_failure: failed > 0 });
    }
    assert_eq!(files.annotations().is_empty(), failed == 0, "{}", files.stdout);
    assert_eq!(files.code == 0, failed == 0);
}

#[test]
fn every_report_is_written() {
    let lost = format!(
        "{GOOD}\n[[fault]]\nat = \"start-1/task.create(web)#1\"\nkind = \"error\"\ncode = \"unknown\"\n\
         effect = \"done\"\n"
    );
    let files = Files::of(&[("good.toml", GOOD), ("lost.toml", &lost)], &["run", "."]);
    all_say(&files, 1, 1);
    assert!(
        files.annotations()[0]
            .starts_with("::error file=lost.toml,line=11,col=1,title=I1 in lost as"),
        "{}",
        files.stdout
    );
    all_say(&Files::of(&[("good.toml", GOOD)], &["run", "."]), 1, 0);
}

#[test]
fn a_file_that_is_wrong_is_an_error_in_every_report() {
    let typo = GOOD.replace("do =", "du =");
    let files = [("good.toml", GOOD), ("typo.toml", &typo), ("bad.toml", "\u{0}")];
    let files = Files::of(&files, &["run", "."]);
    all_say(&files, 1, 2);
    assert_eq!(files.code, 65);
    let place = "::error file=typo.toml,line=7,col=1,";
    assert!(files.annotations().iter().any(|line| line.starts_with(place)), "{}", files.stdout);
}

#[test]
fn what_cannot_go_on_passes_in_no_report() {
    for args in [&["run", "nowhere"][..], &["run", ".", "--case", "x"], &["check", "nowhere"]] {
        all_say(&Files::of(&[("good.toml", GOOD)], args), 0, 1);
    }
}

#[test]
fn a_search_writes_reports() {
    let check = ["check", "good.toml", "--faults", "1", "--delays", "0", "--profile"];
    let of = |profile: &str| Files::of(&[("good.toml", GOOD)], &[&check[..], &[profile]].concat());
    all_say(&of("hardened"), 1, 0);
    all_say(&of("1.7.24"), 0, 1);
    let explore = ["explore", "good.toml", "--runs", "512", "--seed", "3", "--profile", "1.7.24"];
    all_say(&Files::of(&[("good.toml", GOOD)], &explore), 0, 1);
}

#[test]
fn the_schema_of_reports_is_current_and_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let kept = fs::read_to_string(root.join("report.schema.json")).unwrap();
    assert!(kept == json::schema(), "run `shakedown schema report > report.schema.json`");
    let schema: Value = serde_json::from_str(&kept).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let document = |files: &[(&str, &str)], args: &[&str]| -> Value {
        let files = Files::of(files, &[&["run", ".", "--format", "json"], args].concat());
        serde_json::from_str(&files.stdout).unwrap()
    };
    let typo = GOOD.replace("do =", "du =");
    let all = [
        document(&[("good.toml", GOOD)], &["--timeline"]),
        document(&[("good.toml", GOOD)], &["--profile", "1.7.24,hardened"]),
        document(&[("good.toml", GOOD), ("typo.toml", &typo)], &[]),
        document(&[("good.toml", GOOD)], &["--case", "x"]),
    ];
    for document in all {
        let errors: Vec<String> = validator
            .iter_errors(&document)
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}\n{document:#}");
    }
    assert!(
        !validator.is_valid(&serde_json::json!({ "shakedown-run": 1 })),
        "it refuses what is none"
    );
}

/// A trace is what viewers read: every event has its place and time, and those of a row do not overlap.
#[test]
fn a_run_can_be_traced() {
    let dir = tempfile::tempdir().unwrap();
    let lost = format!(
        "{GOOD}\n[[fault]]\nat = \"start-1/task.create(web)#1\"\nkind = \"error\"\ncode = \"unknown\"\n\
         effect = \"done\"\n"
    );
    fs::write(dir.path().join("lost.toml"), lost).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_shakedown"));
    command.args(["replay", "lost.toml", "--trace", "trace.json"]).current_dir(dir.path());
    let output = command.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert_eq!(stdout, "FAILED: lost; its trace is trace.json\n");
    let text = fs::read_to_string(dir.path().join("trace.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["otherData"]["passed"], false);
    assert_eq!(document["displayTimeUnit"], "ns");
    let events = document["traceEvents"].as_array().unwrap();
    let mut rows = std::collections::BTreeMap::new();
    let (mut processes, mut threads) =
        (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for event in events {
        // What the description of the Trace Event Format demands of each phase.
        let number = |key: &str| event[key].as_u64().filter(|n| *n > 0 && *n < 1 << 31);
        let pid = number("pid").unwrap_or_else(|| panic!("{event}"));
        let row = number("tid").map(|tid| (pid, tid));
        let ts = event["ts"].as_f64().filter(|ts| *ts >= 0.0 && ts.is_finite());
        assert!(!event["name"].as_str().unwrap().is_empty(), "{event}");
        match event["ph"].as_str().unwrap() {
            "X" => {
                let (ts, dur) = (ts.unwrap(), event["dur"].as_f64().unwrap());
                assert!(dur > 0.0 && event["cat"].is_string(), "{event}");
                rows.entry(row.unwrap()).or_insert_with(Vec::new).push((ts, ts + dur));
            }
            "i" => {
                let scope = event["s"].as_str().unwrap();
                assert!(["g", "p", "t"].contains(&scope) && event["cat"].is_string(), "{event}");
                assert!(ts.is_some() && row.is_some(), "{event}");
            }
            "M" => match event["name"].as_str().unwrap() {
                "process_name" => {
                    assert!(event["args"]["name"].is_string() && processes.insert(pid), "{event}");
                }
                "thread_name" => {
                    assert!(event["args"]["name"].is_string(), "{event}");
                    assert!(threads.insert(row.unwrap()), "{event}");
                }
                "process_sort_index" | "thread_sort_index" => {
                    assert!(event["args"]["sort_index"].is_u64(), "{event}");
                }
                other => panic!("{other}"),
            },
            other => panic!("{other}"),
        }
    }
    for (row, spans) in &rows {
        assert!(processes.contains(&row.0) && threads.contains(row), "{row:?} has no name");
        assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{spans:?}");
    }
    let has =
        |name: &str| events.iter().any(|event| event["name"].as_str().unwrap().starts_with(name));
    assert!(has("client calls") || events.iter().any(|e| e["args"]["name"] == "client calls"));
    assert!(has("fault: "), "{text}");
    assert!(has("I1 broke"), "{text}");
    assert!(has("effect"), "{text}");
}

/// The lines of the jobs in the documentation run as they stand there.
#[test]
fn the_jobs_of_the_documentation_run() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ci.md");
    let page = fs::read_to_string(page).unwrap();
    let lines = page.lines().filter_map(|line| line.split_once("target/release/shakedown "));
    let lines: Vec<&str> = lines.map(|(_, args)| args).collect();
    assert!(lines.len() > 3, "{lines:?}");
    for args in lines {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["scenarios", "scenarios/drivers"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join(format!("good-{}.toml", folder.len())), GOOD)
                .unwrap();
        }
        let args = args.replace("--time 30m", "--time 1s");
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("\"$SHAKEDOWN\" {args}")).current_dir(dir.path());
        command.env("SHAKEDOWN", env!("CARGO_BIN_EXE_shakedown")).env_remove("GITHUB_ACTIONS");
        let output = command.env("GITHUB_STEP_SUMMARY", "summary.md").output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{args}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        for file in ["junit.xml", "search.xml", "shakedown.sarif"] {
            assert_eq!(dir.path().join(file).exists(), args.contains(file), "{args}");
        }
        assert_eq!(dir.path().join("summary.md").exists(), args.contains("--markdown"), "{args}");
    }
}
