//! The command line, as people and scripts meet it.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the tests start the program and give it real files"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const PLAIN: &str = r#"shakedown = 1
title = "A plain start"
tags = ["smoke"]

[[world.container]]
name = "web"

[[call]]
do = "start"
container = "web"

[[expect]]
left-when-reaped = []

[[expect.answer]]
call = "start-1"
code = "ok"

[expect.events]
web = ["started"]
"#;

const CREATE_FAILS: &str = r#"shakedown = 1
title = "Creating the task fails"
description = "Some of the codes that containerd can answer with."

[matrix]
code = ["not-found", "unavailable", "unknown"]

[[world.container]]
name = "web"

[[call]]
do = "start"
container = "web"
deadline = "30s"

# What goes wrong.
[[fault]]
at = "start-1/task.create(web)#1"
kind = "error"
code = "{code}"

# What comes out.
[[expect]]
left-when-quiet = []

[[expect.answer]]
call = "start-1"
code = "{code}"

[[expect]]
cases = ["code=not-found..unavailable"]

[[expect.status]]
container = "web"
state = "exited"
reason = "OOMKilled"
"#;

const NOT_APPLIED: &str = r#"shakedown = 1
title = "Decisions that do not apply"

[[world.container]]
name = "web"

[[call]]
do = "start"
container = "web"

[[call]]
do = "remove"
container = "web"
when = "start-1/task.create(web)#2.reply"

[[fault]]
at = "start-1/task.delete(web)#1"
kind = "error"
code = "unknown"

[[hold]]
what = "start-1/task.create(web)#1.reply"
until = "start-1.done"

[[hold]]
what = "start-1/task.start(db)#1.reply"
until = "start-1.done"

[[violation]]
invariant = "I1"
quirk = "rollback-delete-not-retried"

[[clock]]
when = "start-1/task.start(web)#2.reply"
jump = "-1h"

[[clock]]
at = "0s"
drift = 20
"#;

const NRI_ABSENT: &str = r#"shakedown = 1
title = "Starting the task fails while there is no NRI"

[world]
nri = "absent"

[[world.container]]
name = "web"

[[call]]
do = "start"
container = "web"

[[fault]]
at = "start-1/task.start(web)#1"
kind = "error"
code = "unknown"
"#;

const FORCED: &str = r#"shakedown = 1
title = "The wait for the exit does not come back"

[matrix]
kind = ["hang", "connection-closed"]

[[world.container]]
name = "web"

[world.container.process]
runs = "30s"

[[call]]
do = "start"
container = "web"

[[fault]]
at = "task-wait(web)/task.wait(web)#1/shim.wait#1"
kind = "{kind}"

[[violation]]
invariant = "I7"
forced = true

[[violation]]
invariant = "I8"
forced = true
cases = ["kind=hang"]

[[violation]]
invariant = "I15"
forced = true
cases = ["kind=connection-closed"]

[[violation]]
invariant = "I16"
forced = true
cases = ["kind=hang"]
"#;

const SWEEP: &str = r#"shakedown = 1
title = "A status at every moment"

[matrix]
moment = { every-moment-of = "start-1" }

[[world.container]]
name = "web"

[[call]]
do = "start"
container = "web"

[[call]]
do = "status"
container = "web"
when = "{moment}"

[[expect]]

[[expect.answer]]
call = "status-1"
code = "ok"
"#;

/// A directory with scenario files, which is the working directory of the commands.
struct Here(TempDir);

impl Here {
    fn with(files: &[(&str, &str)]) -> Self {
        let here = Here(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = here.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        here
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shakedown"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        for variable in [
            "RUST_LOG",
            "NO_COLOR",
            "CLICOLOR_FORCE",
            "COLUMNS",
            "RUST_BACKTRACE",
            "CI_NODE_INDEX",
            "CI_NODE_TOTAL",
            "JOB_COMPLETION_INDEX",
        ] {
            command.env_remove(variable);
        }
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Exit code, standard output and standard error in one text.
    fn run(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let code = output.status.code().expect("an exit code");
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        let part = |name: &str, text: &str| match text {
            "" => String::new(),
            text => format!("--- {name}\n{}\n", text.trim_end()),
        };
        format!("exit code {code}\n{}{}", part("stdout", &out), part("stderr", &err))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn help_teaches() {
    let here = Here::with(&[]);
    insta::assert_snapshot!("help", here.run(&["--help"]));
    insta::assert_snapshot!("help_run", here.run(&["run", "--help"]));
    insta::assert_snapshot!("help_replay", here.run(&["replay", "--help"]));
    insta::assert_snapshot!("help_survey", here.run(&["survey", "--help"]));
    insta::assert_snapshot!("help_bless", here.run(&["bless", "--help"]));
    insta::assert_snapshot!("help_check_determinism", here.run(&["check-determinism", "--help"]));
    insta::assert_snapshot!("help_explore", here.run(&["explore", "--help"]));
    insta::assert_snapshot!("help_check", here.run(&["check", "--help"]));
    insta::assert_snapshot!("help_shrink", here.run(&["shrink", "--help"]));
    insta::assert_snapshot!("help_merge", here.run(&["merge", "--help"]));
}

#[test]
fn a_wrong_command_line_is_refused() {
    let here = Here::with(&[("plain.toml", PLAIN)]);
    let mut all = String::new();
    for args in [
        &["rum"][..],
        &["run", "--profile", "1.7.0-beta3"],
        &["run", "--format", "xml"],
        &["bless"],
        &["bless", "."],
        &["explain", "plain.toml", "--cases"],
    ] {
        all.push_str(&format!("$ shakedown {}\n{}\n", args.join(" "), here.run(args)));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_run_of_nothing_has_not_passed() {
    let here = Here::with(&[("scenarios/start/plain.toml", PLAIN), ("empty/readme.md", "")]);
    let mut all = String::new();
    for args in [
        &["run", "empty"][..],
        &["run", "--tag", "smok"],
        &["run", "--case", "plaim"],
        &["run", "--case", "*[code=x]"],
    ] {
        all.push_str(&format!("$ shakedown {}\n{}\n", args.join(" "), here.run(args)));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn what_cannot_be_read_is_named() {
    let here = Here::with(&[]);
    let mut all = String::new();
    for args in [&["run"][..], &["run", "no-such-file.toml"], &["explain", "/dev/null"]] {
        all.push_str(&format!("$ shakedown {}\n{}\n", args.join(" "), here.run(args)));
    }
    insta::assert_snapshot!(all);
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_and_a_path_that_a_terminal_would_obey_are_refused() {
    let link = Here::with(&[("plain.toml", PLAIN)]);
    std::os::unix::fs::symlink("gone.toml", link.path().join("link.toml")).unwrap();
    let escape = Here::with(&[("a\u{1b}[31m.toml", PLAIN)]);
    insta::assert_snapshot!(format!("{}{}", link.run(&["run", "."]), escape.run(&["run", "."])));
}

#[test]
fn a_wrong_file_is_pointed_into() {
    let typos = PLAIN.replace("do = \"start\"", "do = \"strat\"").replace("tags", "tag");
    let here =
        Here::with(&[("typos.toml", &typos), ("binary.toml", "\u{0}\u{1}"), ("plain.toml", PLAIN)]);
    insta::assert_snapshot!(here.run(&["run", "."]));
}

/// A file that is wrong is one failure among the verdicts, in every form that they are told in.
#[test]
fn a_wrong_file_keeps_no_other_from_being_run() {
    let typo = PLAIN.replace("do = \"start\"", "do = \"strat\"");
    let stray = CREATE_FAILS.replace("task.create(web)", "fs.rename(web/status)");
    let here = Here::with(&[
        ("typo.toml", &typo),
        ("stray.toml", &stray),
        ("plain.toml", PLAIN),
        ("sub/plain.toml", PLAIN),
    ]);
    let read = |name: &str| fs::read_to_string(here.path().join(name)).unwrap();
    let reports = ["--junit", "j.xml", "--sarif", "s.json", "--markdown", "m.md", "--github"];
    let output = here.output(&[&["run", "."][..], &reports].concat());
    assert_eq!(output.status.code(), Some(65), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    assert!(out.contains("\nok    plain (1 case)\n\n1 passed, 3 failed\n"), "{out}");
    assert!(out.contains("FAIL  typo\nerror: unknown call `strat`\n --> typo.toml:9:6\n"), "{out}");
    assert!(out.contains("\n::error file=typo.toml,line=9,"), "{out}");
    let junit = read("j.xml");
    assert_eq!(junit.matches("<testcase ").count(), 4, "{junit}");
    assert_eq!(junit.matches("<error ").count(), 3, "{junit}");
    assert!(junit.contains("typo.toml:9:6: unknown call `strat`"), "{junit}");
    let sarif: serde_json::Value = serde_json::from_str(&read("s.json")).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let files: BTreeSet<&str> =
        results.iter().map(|result| result["properties"]["file"].as_str().unwrap()).collect();
    assert_eq!(Vec::from_iter(files), ["stray.toml", "sub/plain.toml", "typo.toml"]);
    let markdown = read("m.md");
    assert!(markdown.contains("unknown call &#96;strat&#96;"), "{markdown}");
    let json = here.output(&["run", ".", "--format", "json"]);
    assert_eq!(json.status.code(), Some(65));
    assert!(text(&json.stderr).contains("unknown call `strat`"));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["passed"], &json["failed"]), (&1.into(), &3.into()));
    assert_eq!(json["not-run"].as_array().unwrap().len(), 3);
    // What is picked besides does not hide it, and a name that nobody has is told as well.
    assert_eq!(here.output(&["run", ".", "--case", "plain"]).status.code(), Some(65));
    let none = here.output(&["run", ".", "--case", "plane"]);
    assert_eq!(none.status.code(), Some(65));
    assert!(text(&none.stderr).contains("no case matches `plane`"), "{}", text(&none.stderr));
    // It is listed what can be.
    let list = here.output(&["list", "."]);
    assert_eq!(list.status.code(), Some(65));
    assert!(text(&list.stdout).contains("\n1 scenario, 1 case\n"), "{}", text(&list.stdout));
    assert!(text(&list.stderr).contains("3 scenario files are wrong"), "{}", text(&list.stderr));
}

#[test]
fn a_fault_that_cannot_be_is_explained() {
    let wrong = CREATE_FAILS.replace("task.create(web)", "fs.rename(web/status)");
    let here = Here::with(&[("wrong.toml", &wrong)]);
    insta::assert_snapshot!(here.run(&["run", "wrong.toml"]));
}

#[test]
fn only_a_fault_that_no_real_node_has_is_forced() {
    let here = Here::with(&[("forced.toml", FORCED)]);
    // The wait is awaited under no deadline, so that its hang has no end; a connection can break.
    insta::assert_snapshot!(here.run(&["run", "forced.toml", "--profile", "hardened@1.7.24"]));
}

#[test]
fn a_path_that_cannot_be_is_pointed_at() {
    let paths = [("/run", "file"), ("/var/nothing", "removed"), ("/var/nothing/else", "read-only")];
    let paths = paths
        .map(|(path, kind)| format!("\n[[world.path]]\npath = \"{path}\"\nkind = \"{kind}\"\n"));
    let here =
        Here::with(&[("paths.toml", &format!("{PLAIN}{}", paths.concat())), ("plain.toml", PLAIN)]);
    insta::assert_snapshot!(here.run(&["run", "."]));
}

#[test]
fn a_sweep_over_nothing_fails_its_file_alone() {
    let nobody = "every-moment-of = \"exit-monitor(db)\"";
    let nothing = SWEEP.replace("every-moment-of = \"start-1\"", nobody);
    let here = Here::with(&[("nothing.toml", &nothing), ("plain.toml", PLAIN)]);
    insta::assert_snapshot!(format!("{}{}", here.run(&["run", "."]), here.run(&["list", "."])));
}

#[test]
fn two_files_of_one_name_are_refused() {
    let here = Here::with(&[("a/plain.toml", PLAIN), ("b/plain.toml", PLAIN)]);
    insta::assert_snapshot!(here.run(&["run", "a", "b"]));
    // The same file twice is one file.
    assert!(here.run(&["run", "a", "a/plain.toml"]).contains("\n1 passed, 0 failed\n"));
}

#[test]
fn every_operation_is_listed() {
    let here = Here::with(&[]);
    insta::assert_snapshot!(here.run(&["sites", "--list"]));
    let json = here.output(&["sites", "--list", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let listed = json["operations"].as_array().unwrap();
    assert_eq!(listed.len(), shakedown::turnstile::Op::ALL.len());
}

#[test]
fn what_the_scenarios_hit_is_counted() {
    let here = Here::with(&[("create-fails.toml", CREATE_FAILS)]);
    let json = here.output(&["sites", "create-fails.toml", "--format", "json", "--require-hit"]);
    assert_eq!(json.status.code(), Some(1), "much was never hit");
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let operations = json["operations"].as_array().unwrap();
    let create = operations.iter().find(|of| of["operation"] == "task.create").unwrap();
    let error = &create["faults"][0];
    assert_eq!(error["kind"], "error");
    let hits: Vec<_> = error["effects"].as_array().unwrap().iter().map(|of| &of["hits"]).collect();
    assert!(hits[0].as_u64().unwrap() > 0, "{error}");
    assert_eq!(hits[1..], [0, 0], "{error}");
    assert!(here.run(&["sites", "create-fails.toml"]).contains("never hit: fs.mkdir error none"));
}

#[test]
fn a_file_is_explained_in_words() {
    let here =
        Here::with(&[("create-fails.toml", CREATE_FAILS), ("not-applied.toml", NOT_APPLIED)]);
    insta::assert_snapshot!("explain_matrix", here.run(&["explain", "create-fails.toml"]));
    insta::assert_snapshot!("explain_decisions", here.run(&["explain", "not-applied.toml"]));
}

#[test]
fn verdicts_of_a_corpus() {
    let here = Here::with(&[
        ("scenarios/start/create-fails.toml", CREATE_FAILS),
        ("scenarios/start/plain.toml", PLAIN),
    ]);
    insta::assert_snapshot!("run", here.run(&["run"]));
    insta::assert_snapshot!(
        "run_side_by_side",
        here.run(&["run", "--profile", "1.7.0-beta.3,1.7.24"])
    );
}

#[test]
fn decisions_that_do_not_apply_fail_with_the_reason() {
    let here = Here::with(&[("not-applied.toml", NOT_APPLIED), ("plain.toml", PLAIN)]);
    insta::assert_snapshot!(here.run(&["run", "."]));
}

#[test]
fn a_sweep_goes_over_the_moments_of_its_actor() {
    let here = Here::with(&[("sweep.toml", SWEEP)]);
    let json = here.output(&["run", "sweep.toml", "--format", "json"]);
    assert_eq!(json.status.code(), Some(0), "{}", text(&json.stderr));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let cases = json["cases"].as_array().unwrap();
    let names: Vec<&str> = cases.iter().map(|case| case["case"].as_str().unwrap()).collect();
    assert_eq!(names.first(), Some(&"sweep[moment=start-1.begin]"));
    assert_eq!(names.last(), Some(&"sweep[moment=start-1.done]"));
    let inner = "sweep[moment=start-1/task.create(web)#1/shim.connect#1.effect]";
    assert!(names.contains(&inner), "{names:?}");
    assert_eq!(json["passed"], cases.len());
}

/// The code under test does something else than when the file was written: that must show as a
/// failure of this file, with what broke in the others, and not keep them from being run.
#[test]
fn a_sweep_that_lost_a_moment_fails_its_file_alone() {
    let stale = format!(
        "{SWEEP}\n[[violation]]\ninvariant = \"I14\"\nquirk = \"stop-ignores-starting\"\n\
         cases = [\"moment=start-1/task.create(web)#9.reply\"]\n"
    );
    let here = Here::with(&[("plain.toml", PLAIN), ("sweep.toml", &stale)]);
    let output = here.output(&["run", "."]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    assert!(out.contains("ok    plain (1 case)"), "{out}");
    assert!(out.contains("FAIL  sweep  "), "{out}");
    let lost = "error: the axis `moment` has no value `start-1/task.create(web)#9.reply`";
    assert!(out.contains(lost), "{out}");
    let json = here.output(&["run", ".", "--format", "json"]);
    assert_eq!(json.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let reason = &json["not-run"][0]["verdict"]["reasons"][0];
    assert!(reason["what"].as_str().unwrap().contains("has no value"), "{reason}");
}

#[test]
fn the_replay_command_is_no_option() {
    let here = Here::with(&[("-x.toml", NOT_APPLIED)]);
    let out = here.run(&["run", "--", "-x.toml"]);
    assert!(out.contains("replay: shakedown replay ./-x.toml --case=-x --profile"), "{out}");
}

#[test]
fn the_replay_command_replays() {
    let here = Here::with(&[("create-fails.toml", CREATE_FAILS)]);
    let all = here.run(&["run", "create-fails.toml"]);
    let replay = all.lines().find_map(|line| line.strip_prefix("replay: shakedown ")).unwrap();
    let args: Vec<String> = replay.split(' ').map(|word| word.replace('\'', "")).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = here.output(&args);
    assert_eq!(output.status.code(), Some(1));
    let out = text(&output.stdout);
    assert!(out.contains("timeline, every moment"), "{out}");
    assert!(out.contains("verdict: FAILED\n  line "), "{out}");
}

#[test]
fn a_file_whose_decisions_do_not_apply_says_nothing_of_this_code() {
    let broken = format!(
        "{PLAIN}\n[[fault]]\nat = \"start-1/task.create(web)#1\"\nkind = \"error\"\ncode = \"unknown\"\n\
         effect = \"done\"\n[[fault]]\nat = \"start-1/task.create(web)#2\"\nkind = \"error\"\n\
         code = \"unknown\"\n"
    );
    let here = Here::with(&[("old.toml", NOT_APPLIED), ("broken.toml", &broken)]);
    let old = here.output(&["replay", "old.toml"]);
    assert_eq!(old.status.code(), Some(125), "{}", text(&old.stdout));
    assert!(text(&old.stderr).contains("did not apply, and nothing else is wrong"));
    // Who runs it otherwise is told that it failed.
    assert_eq!(here.output(&["run", "old.toml"]).status.code(), Some(1));
    // A violation is one, whatever did not apply.
    let broken = here.output(&["replay", "broken.toml"]);
    assert_eq!(broken.status.code(), Some(1), "{}", text(&broken.stdout));
}

#[test]
fn one_case_is_replayed() {
    let here = Here::with(&[("create-fails.toml", CREATE_FAILS)]);
    let output = here.output(&["replay", "create-fails.toml"]);
    assert_eq!(output.status.code(), Some(64));
    let told = text(&output.stderr);
    let wanted =
        "there are 3 cases; pick one with --case, such as\n  create-fails[code=not-found]\n";
    assert!(told.contains(wanted), "{told}");
    let near = here.run(&["replay", "create-fails.toml", "--case", "create-fails[code=unknwon]"]);
    assert!(near.contains("near to it are\n  create-fails[code=unknown]\n"), "{near}");
    let directory = here.run(&["replay", "."]);
    assert!(directory.starts_with("exit code 64"), "{directory}");
    let wanted = ". is a directory, and this command takes one file, such as\n  create-fails.toml";
    assert!(directory.contains(wanted), "{directory}");
    for args in
        [&["shrink", "create-fails.toml"][..], &["explain", "create-fails.toml", "--failing"]]
    {
        let none = here.run(&[args, &["--invariant", "I99"]].concat());
        assert!(none.starts_with("exit code 64"), "{none}");
        assert!(none.contains("invalid value 'I99'"), "{none}");
    }
}

#[test]
fn reports_are_the_same_in_both_forms() {
    let here = Here::with(&[("create-fails.toml", CREATE_FAILS)]);
    let case = "create-fails[code=unknown]";
    let out = here.run(&["run", "create-fails.toml", "--case", case]);
    let json = here.output(&["run", ".", "--case", case, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["shakedown-run"], 1);
    let report = &json["cases"][0];
    assert_eq!(report["shakedown-report"], 1);
    assert_eq!(report["case"], case);
    let message = report["answers"][0]["message"].as_str().unwrap();
    assert!(out.contains(message), "{message} in\n{out}");
    for invariant in report["invariants"].as_array().unwrap() {
        assert!(out.contains(invariant["name"].as_str().unwrap()), "{invariant}");
    }
}

#[test]
fn a_panic_of_the_service_has_its_own_exit_code() {
    let here = Here::with(&[("nri-absent.toml", NRI_ABSENT), ("create-fails.toml", CREATE_FAILS)]);
    let output = here.output(&["run", "."]);
    // More severe than the other file's failure.
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stderr), "", "the panic itself does not reach the terminal");
    let out = text(&output.stdout);
    assert!(out.contains("the service panicked in `start-1`"), "{out}");
}

#[test]
fn a_panic_can_be_expected() {
    let expected = format!(
        "{NRI_ABSENT}\n[[expect]]\nprofiles = [\"1.7.0-beta.3\"]\npanic = \"nil pointer\"\n\n\
         [[violation]]\ninvariant = \"I17\"\nquirk = \"nri-absent-crash\"\n\
         profiles = [\"1.7.0-beta.3\"]\n"
    );
    let here = Here::with(&[("nri-absent.toml", &expected)]);
    let both = ["run", "nri-absent.toml", "--profile", "1.7.0-beta.3,1.7.24"];
    assert_eq!(here.output(&both).status.code(), Some(0), "{}", here.run(&both));
    // Not there in a version that was mended.
    let unfiltered = expected.replace("profiles = [\"1.7.0-beta.3\"]\n", "");
    fs::write(here.path().join("nri-absent.toml"), unfiltered).unwrap();
    insta::assert_snapshot!(here.run(&["run", ".", "--profile", "1.7.0-beta.3,1.7.24"]));
}

#[test]
fn a_world_that_cannot_be_set_up_is_no_panic_of_the_service() {
    let path = "/var/lib/containerd/io.containerd.grpc.v1.cri/containers";
    let blocked = format!("{PLAIN}\n[[world.path]]\npath = \"{path}\"\nkind = \"file\"\n");
    let here = Here::with(&[("blocked.toml", &blocked), ("plain.toml", PLAIN)]);
    let output = here.output(&["run", "."]);
    assert_eq!(output.status.code(), Some(65));
    let out = text(&output.stdout);
    assert!(out.contains("the world of the file cannot be set up"), "{out}");
    assert!(!out.contains("I17"), "{out}");
}

#[test]
fn blessing_shows_the_difference_first() {
    let here = Here::with(&[("create-fails.toml", CREATE_FAILS)]);
    insta::assert_snapshot!(here.run(&["bless", "create-fails.toml"]));
    let after = fs::read_to_string(here.path().join("create-fails.toml")).unwrap();
    assert_eq!(after, CREATE_FAILS);
}

#[test]
fn what_is_blessed_passes() {
    let here = Here::with(&[("create-fails.toml", CREATE_FAILS), ("nri-absent.toml", NRI_ABSENT)]);
    for file in ["create-fails.toml", "nri-absent.toml"] {
        let output = here.output(&["bless", file, "--yes"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).ends_with(&format!("{file} is written\n")));
    }
    let run = here.run(&["run", ".", "--profile", "1.7.0-beta.3,1.7.24"]);
    assert!(run.starts_with("exit code 0\n"), "{run}");
    let again = here.run(&["bless", "create-fails.toml"]);
    assert!(again.contains("create-fails.toml expects what happens already"), "{again}");
    let file = |name: &str| fs::read_to_string(here.path().join(name)).unwrap();
    assert!(file("create-fails.toml").contains("# What goes wrong."));
    insta::assert_snapshot!("blessed_panic", file("nri-absent.toml"));
}

#[cfg(unix)]
#[test]
fn blessing_puts_the_file_in_its_place_as_a_whole() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let said = format!(
        "{PLAIN}\n[[crash]]\nwhen = \"start-1/task.start(web)#2.reply\"\n\n[[expect]]\nnot-applied = [\"start-1/task.start(web)#2.reply\"]\n"
    );
    let here = Here::with(&[("file.toml", &said)]);
    let (file, link) = (here.path().join("file.toml"), here.path().join("link.toml"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("file.toml", &link).unwrap();
    let output = here.output(&["bless", "link.toml", "--yes"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 2, "nothing is left beside it");
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .contains("not-applied = [\"start-1/task.start(web)#2.reply\"]")
    );
}

#[test]
fn blessing_one_profile_leaves_the_others() {
    let here = Here::with(&[("create-fails.toml", CREATE_FAILS)]);
    let output = here.output(&["bless", "create-fails.toml", "--profile", "1.7.24", "--yes"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let one = |profile: &str| {
        here.output(&["run", "create-fails.toml", "--profile", profile]).status.code()
    };
    assert_eq!(one("1.7.24"), Some(0));
    assert_eq!(one("1.7.0-beta.3"), Some(1));
}

#[test]
fn what_is_blessed_beside_the_versions_is_held_to_it() {
    let here = Here::with(&[("plain.toml", PLAIN)]);
    let profiles = "1.7.0-beta.3,1.7.24,2.1.9,hardened";
    let output = here.output(&["bless", "plain.toml", "--profile", profiles, "--yes"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let hardened = || here.output(&["run", "plain.toml", "--profile", "hardened"]).status.code();
    assert_eq!(hardened(), Some(0));
    let file = here.path().join("plain.toml");
    let blessed = fs::read_to_string(&file).unwrap();
    fs::write(&file, blessed.replace("code = \"ok\"", "code = \"not-found\"")).unwrap();
    assert_eq!(hardened(), Some(1));
}

#[test]
fn two_processes_are_compared() {
    let here =
        Here::with(&[("plain.toml", PLAIN), ("bad/wrong.toml", "shakedown = 1\ntitel = 1\n")]);
    let same = here.run(&["check-determinism", "plain.toml", "--profile", "1.7.24,hardened"]);
    assert!(same.starts_with("exit code 0"), "{same}");
    assert!(same.contains("the same in two processes: 2 runs"), "{same}");
    let wrong = here.run(&["check-determinism", "bad"]);
    assert!(wrong.starts_with("exit code 65"), "{wrong}");
    assert!(wrong.contains("did you mean `title`?"), "{wrong}");
    let missing = here.run(&["check-determinism", "nowhere"]);
    assert!(missing.starts_with("exit code 74"), "{missing}");
    assert!(missing.contains("nowhere"), "{missing}");
    let none = here.run(&["check-determinism", "plain.toml", "--case", "plane"]);
    assert!(none.starts_with("exit code 64"), "{none}");
}

#[test]
fn a_reader_that_goes_away_is_no_reason_to_panic() {
    let here = Here::with(&[]);
    let mut child = here
        .command(&["sites", "--list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn colours_only_where_they_are_wanted() {
    let here = Here::with(&[("plain.toml", PLAIN)]);
    let args = ["run", "plain.toml"];
    let plain = here.output(&args).stdout;
    assert!(!plain.contains(&0x1b));
    let forced = here.command(&args).env("CLICOLOR_FORCE", "1").output().unwrap().stdout;
    assert!(forced.contains(&0x1b));
    let logged = here.command(&args).env("RUST_LOG", "debug").output().unwrap();
    assert_eq!(text(&logged.stdout), text(&plain), "logging does not touch the report");
    assert!(!logged.stderr.is_empty());
}

/// What a search finds is a file that `run` replays, to the same violation.
#[test]
fn what_a_search_finds_can_be_run() {
    let here = Here::with(&[("plain.toml", PLAIN)]);
    let args = ["explore", "plain.toml", "--profile", "1.7.24", "--runs", "1024", "--seed", "3"];
    let found = here.output(&args);
    // A call that never answers is among what it finds.
    assert_eq!(found.status.code(), Some(2), "{}", text(&found.stderr));
    let found = text(&found.stdout);
    let file = found.lines().find_map(|line| line.trim().strip_prefix("failures/i1-"));
    let file = format!("failures/i1-{}", file.unwrap_or_else(|| panic!("{found}")));
    let replay = here.run(&["run", &file, "--profile", "1.7.24", "--timeline"]);
    let digest = fs::read_to_string(here.path().join(&file)).unwrap();
    let digest = digest.lines().find_map(|line| line.strip_prefix("# digest ")).unwrap();
    let digest = digest.split(';').next().unwrap();
    assert!(replay.starts_with("exit code 1\n"), "{replay}");
    assert!(replay.contains("I1 failed-start-leaves-nothing is violated"), "{replay}");
    assert!(replay.contains(digest), "{replay}");
}

/// A search that is told to end tells what it did.
#[test]
fn a_search_that_is_interrupted_loses_nothing() {
    let here = Here::with(&[("plain.toml", PLAIN)]);
    let mut command = here.command(&[
        "explore",
        "plain.toml",
        "--time",
        "10m",
        "--profile",
        "1.7.24",
        "--seed",
        "5",
    ]);
    let mut search = command.stdout(Stdio::piped()).spawn().unwrap();
    while !here.path().join("failures").exists() {
        assert!(search.try_wait().unwrap().is_none(), "it was over before it could be interrupted");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&search);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = search.wait_with_output().unwrap();
    assert!(matches!(output.status.code(), Some(1 | 2)), "{output:?}");
    assert!(text(&output.stdout).contains(" runs, interrupted, "), "{}", text(&output.stdout));
}

/// A certificate says what was tried, and that it was all.
#[test]
fn a_check_ends_in_a_certificate() {
    let here = Here::with(&[("plain.toml", PLAIN)]);
    let output =
        here.output(&["check", "plain.toml", "--faults", "0", "--delays", "1", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let certificate = &document["certificates"][0];
    assert_eq!(certificate["complete"], true);
    assert_eq!(certificate["cut"], 0);
    assert!(certificate["merged"].as_u64() > Some(1_000), "{certificate}");
    assert_eq!(certificate["plans"], 1);
    // Nothing in a start alone comes otherwise for having come in another order.
    assert_eq!(certificate["runs"], 1, "{certificate}");
    assert!(certificate["violations"].as_array().unwrap().is_empty());
    let wrong = here.run(&["check", "plain.toml", "--shard", "4/3"]);
    assert!(wrong.contains("which part and of how many"), "{wrong}");
}

/// What several machines did is put together, and what is missing is missed.
#[test]
fn parts_of_a_check_are_merged() {
    let here = Here::with(&[("plain.toml", PLAIN), ("notes.json", "{}"), ("notes.txt", "")]);
    let check = ["check", "plain.toml", "--delays", "0", "--profile", "1.7.24"];
    let json = |shard: &str| {
        let more = ["--format", "json", "--shard", shard];
        here.output(&[&check[..], &more].concat()).stdout
    };
    let whole: serde_json::Value = serde_json::from_slice(&json("1/1")).unwrap();
    let whole = &whole["certificates"][0];
    fs::create_dir(here.path().join("parts")).unwrap();
    for (name, shard) in [("1", "1/3"), ("2", "2/3"), ("3", "3/3")] {
        fs::write(here.path().join(format!("parts/{name}.json")), json(shard)).unwrap();
    }
    let merged = here.output(&["merge", "parts", "--format", "json"]);
    // Some call never ends.
    assert_eq!(merged.status.code(), Some(2), "{}", text(&merged.stderr));
    let merged: serde_json::Value = serde_json::from_slice(&merged.stdout).unwrap();
    let merged = &merged["certificates"][0];
    for key in
        ["scenario", "profile", "plans", "runs", "moments", "states", "complete", "shard", "cut"]
    {
        assert_eq!(merged[key], whole[key], "{key}");
    }
    assert!(
        whole["states"].as_u64() > Some(1) && whole["states"].as_u64() < whole["runs"].as_u64()
    );
    // One root for each part that walks a branch, and the undisturbed run is that of the first.
    assert_eq!(merged["branches"], whole["branches"]);
    let missing = here.run(&["merge", "parts/1.json", "parts/3.json"]);
    assert!(
        missing.contains("no certificate") && missing.contains("part without 2/3"),
        "{missing}"
    );
    let twice = here.run(&["merge", "parts", "parts/2.json"]);
    assert!(twice.contains("exit code 65") && twice.contains("part 2/3 of plain"), "{twice}");
    let nothing = here.run(&["merge", "notes.json"]);
    assert!(nothing.contains("notes.json cannot be merged: expected a certificate"), "{nothing}");
    assert!(here.run(&["merge", "notes.txt"]).contains("neither .json nor .toml"));
    // All that breaks, and where it is struck.
    let broken = |of: &serde_json::Value| -> BTreeSet<String> {
        let all = of["violations"].as_array().unwrap().iter();
        let signatures = all.flat_map(|violated| {
            let signature = violated["signature"].as_str().unwrap();
            let (_, struck) = signature.split_once(' ').unwrap();
            let also = violated["also"].as_array().unwrap().iter();
            let also = also.map(move |also| format!("{} {struck}", also.as_str().unwrap()));
            also.chain([signature.to_owned()])
        });
        signatures.collect()
    };
    assert_eq!(broken(merged), broken(whole));
    // The failures that they kept are grouped, whatever stands above their signature.
    let kept = here.path().join("failures/i1-start-task-create-1-7-24.toml");
    let file = fs::read_to_string(&kept).unwrap();
    fs::write(&kept, format!("#:schema ../scenario.schema.json\n{file}")).unwrap();
    let failures = here.run(&["merge", "failures"]);
    assert!(failures.contains("I1 start/task.create, and I2 I6"), "{failures}");
}

/// What was covered adds up, whoever covered it.
#[test]
fn ledgers_add_up() {
    let here = Here::with(&[("plain.toml", PLAIN)]);
    let explore =
        ["explore", "plain.toml", "--runs", "64", "--seed", "5", "--ledger", "ledger.json"];
    let first = here.run(&explore);
    assert!(first.contains(" goals were reached"), "{first}");
    let read = || -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(here.path().join("ledger.json")).unwrap()).unwrap()
    };
    let once = read();
    assert_eq!(once["runs"], 64);
    assert!(once["evaluated"]["I1"].as_u64() > Some(0), "{once}");
    here.run(&explore);
    let twice = read();
    for key in ["strikes", "evaluated", "goals"] {
        for (name, count) in once[key].as_object().unwrap() {
            assert_eq!(twice[key][name].as_u64(), count.as_u64().map(|n| 2 * n), "{key} {name}");
        }
    }
    let merged = here.run(&["merge", "ledger.json", "ledger.json"]);
    assert!(merged.contains("256 runs in ledgers"), "{merged}");
    here.run(&["run", "plain.toml", "--ledger", "ledger.json"]);
    assert_eq!(read()["runs"], 129);
    assert!(read()["evaluated"]["I3"].as_u64() > twice["evaluated"]["I3"].as_u64());
    fs::write(here.path().join("ledger.json"), "[]").unwrap();
    let refused = here.run(&explore);
    assert!(refused.contains("ledger.json is no ledger"), "{refused}");
}

/// A CI system says which part a job makes.
#[test]
fn a_part_comes_from_the_environment() {
    let here = Here::with(&[("plain.toml", PLAIN)]);
    let mut command = here.command(&["check", "plain.toml", "--faults", "0", "--delays", "0"]);
    command.env("CI_NODE_INDEX", "2").env("CI_NODE_TOTAL", "3");
    let output = text(&command.output().unwrap().stdout);
    assert!(output.starts_with("part 2 of 3, as CI_NODE_INDEX says\n"), "{output}");
    let asked = here.run(&["check", "plain.toml", "--shard", "auto/3"]);
    assert!(asked.contains("needs CI_NODE_INDEX or JOB_COMPLETION_INDEX"), "{asked}");
}

/// A check that is killed goes on where it was.
#[test]
fn a_check_goes_on() {
    let here = Here::with(&[("plain.toml", PLAIN)]);
    let check = ["check", "plain.toml", "--resume", "kept.jsonl"];
    let mut first = here.command(&check).stdout(Stdio::null()).spawn().unwrap();
    let lines = || fs::read(here.path().join("kept.jsonl")).map_or(0, |text| text.len());
    while lines() < 2_000 {
        assert!(first.try_wait().unwrap().is_none(), "it was over before it could be killed");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let json = |args: &[&str]| -> serde_json::Value {
        let output = here.output(&[args, &["--format", "json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        document["certificates"][0].clone()
    };
    let (resumed, whole) = (json(&check), json(&check[..2]));
    let other = here.run(&["check", "plain.toml", "--resume", "plain.toml"]);
    assert!(
        other.contains("cannot keep what is done in plain.toml: it has something else"),
        "{other}"
    );
    assert_eq!(fs::read_to_string(here.path().join("plain.toml")).unwrap(), PLAIN);
    assert!(resumed["resumed"].as_u64() > Some(0), "{resumed}");
    for key in ["plans", "runs", "moments", "branches", "cut", "complete", "violations"] {
        assert_eq!(resumed[key], whole[key], "{key}");
    }
}

/// When a failure became inevitable, and what it needs.
#[test]
fn a_failure_is_explained() {
    let plain = PLAIN.split("[[expect]]").next().unwrap();
    let more = r#"
[[fault]]
at = "start-1/record.info(web)#1"
kind = "delay"
by = "2s"

[[fault]]
at = "start-1/task.create(web)#1"
kind = "error"
code = "unavailable"
effect = "done"
"#;
    let here = Here::with(&[("lost.toml", &format!("{plain}{more}")), ("plain.toml", PLAIN)]);
    let args = ["explain", "--failing", "lost.toml", "--profile", "1.7.24", "--samples", "20"];
    insta::assert_snapshot!("explain_failing", here.run(&args));
    let nothing = here.run(&["explain", "--failing", "plain.toml"]);
    assert!(nothing.contains("exit code 64"), "{nothing}");
    assert!(nothing.contains("nothing breaks in plain as 1.7.0-beta.3"), "{nothing}");
    let other = here.run(&[&args[..], &["--invariant", "I9"]].concat());
    assert!(other.contains("I1 I2 I6 breaks in lost as 1.7.24"), "{other}");
}

/// The commit that brought a failure is found, whatever commits cannot be built on the way.
#[test]
fn a_failure_is_carried_over_commits() {
    let here = Here::with(&[("lost.toml", PLAIN)]);
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        for (name, value) in [("NAME", "Somebody"), ("EMAIL", "somebody@example.org")] {
            git.env(format!("GIT_AUTHOR_{name}"), value);
            git.env(format!("GIT_COMMITTER_{name}"), value);
        }
        let output = git.args(args).current_dir(here.path().join("code")).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    };
    fs::create_dir(here.path().join("code")).unwrap();
    git(&["init", "--quiet"]);
    // What the program answers, and what its build does.
    let commits = [
        ("works", "exit 0", "true"),
        ("works still", "exit 0", "true"),
        ("does not build", "exit 0", "false"),
        ("knows no such decision", "exit 125", "true"),
        ("cannot read the file", "exit 65", "true"),
        ("works once more", "exit 0", "true"),
        ("breaks it", "test \"$1\" = replay && grep -q 'A plain start' \"$2\" && exit 1", "true"),
        ("is broken", "exit 2", "true"),
        ("is broken still", "exit 1", "true"),
    ];
    for (title, program, build) in commits {
        let path = here.path().join("code/program.sh");
        fs::write(&path, format!("#!/bin/sh\n{program}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(here.path().join("code/build.sh"), format!("{build}\n# {title}\n")).unwrap();
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", title]);
    }
    let before = git(&["rev-parse", "--abbrev-ref", "HEAD"]);
    let bisect = |more: &[&str]| {
        let fixed = ["bisect", "../lost.toml", "--build", "sh build.sh"];
        let rest = ["--program", "./program.sh"];
        let mut command = here.command(&[&fixed[..], &rest, more].concat());
        let output = command.current_dir(here.path().join("code")).output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = bisect(&["--good", "HEAD~8"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("the first commit that fails") && out.contains("breaks it"), "{out}");
    assert_eq!(git(&["rev-parse", "--abbrev-ref", "HEAD"]), before);
    // Nothing but commits that cannot be told of is left.
    let (code, out, err) = bisect(&["--good", "HEAD~7", "--bad", "HEAD~4"]);
    assert_eq!(code, Some(125), "{out}{err}");
    let (code, _, err) = bisect(&["--good", "no-such-commit"]);
    assert_eq!(code, Some(64), "{err}");
    assert!(err.contains("no-such-commit"), "{err}");
}

/// What somebody wrote is made as small as what a search found.
#[test]
fn a_hand_written_file_is_made_small() {
    let plain = PLAIN.split("[[expect]]").next().unwrap();
    let more = r#"[[call]]
do = "status"
container = "web"
at = "10s"

[[fault]]
at = "start-1/record.info(web)#1"
kind = "delay"
by = "2s"

[[fault]]
at = "start-1/task.create(web)#1"
kind = "error"
code = "unavailable"
effect = "done"
"#;
    let here = Here::with(&[("lost.toml", &format!("{plain}{more}"))]);
    insta::assert_snapshot!(
        "shrink",
        here.run(&["shrink", "lost.toml", "--profile", "1.7.24", "--invariant", "I6"])
    );
    let file = "failures/i6-start-task-create-1-7-24.toml";
    insta::assert_snapshot!("shrunk", fs::read_to_string(here.path().join(file)).unwrap());
    let replay = here.run(&["run", file, "--profile", "1.7.24"]);
    assert!(replay.contains("I6 always-removable is violated"), "{replay}");
    insta::assert_snapshot!(
        "shrink_nothing",
        here.run(&["shrink", "lost.toml", "--profile", "hardened"])
    );
}

#[test]
fn a_new_scenario_runs_as_it_is() {
    let here = Here::with(&[("scenario.schema.json", "{}")]);
    let written = here.run(&["new", "scenarios/start/first"]);
    assert!(written.starts_with("exit code 0\n"), "{written}");
    let file = "scenarios/start/first.toml";
    let text = fs::read_to_string(here.path().join(file)).unwrap();
    assert!(text.starts_with("#:schema ../../scenario.schema.json\nshakedown = 1\n"), "{text}");
    let every: Vec<&str> = shakedown_cri::quirks::Profile::every().map(|of| of.name).collect();
    let run = here.run(&["run", file, "--profile", &every.join(",")]);
    assert!(run.starts_with("exit code 0\n"), "{run}");
    assert!(here.run(&["fmt", "--check"]).starts_with("exit code 0\n"));
    // What its comments say can be said.
    let uncommented: String = text
        .lines()
        .filter(|line| {
            !line.starts_with("# [[violation]]")
                && !line.starts_with("# invariant")
                && !line.starts_with("# quirk")
        })
        .map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest.starts_with('[')
                    || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) =>
            {
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    fs::write(here.path().join("more.toml"), uncommented).unwrap();
    let explained = here.run(&["explain", "more.toml"]);
    assert!(explained.starts_with("exit code 0\n"), "{explained}");
    insta::assert_snapshot!(format!("{}{}", here.run(&["new", file]), here.run(&["new", "a[b"])));
}

#[test]
fn scenarios_are_listed() {
    let here =
        Here::with(&[("scenarios/forced.toml", FORCED), ("scenarios/start/plain.toml", PLAIN)]);
    insta::assert_snapshot!("list", here.run(&["list", "--profile", "1.7.24,hardened"]));
    let json = here.output(&["list", "--tag", "smoke", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["scenarios"][0]["scenario"], "start/plain");
    assert_eq!(json["scenarios"][0]["profiles"][0]["cases"][0], "plain");
    assert_eq!(json["scenarios"].as_array().unwrap().len(), 1);
}

#[test]
fn scenarios_are_formatted() {
    let messy = PLAIN.replace("name = ", "name=").replace("[[call]]", "\n\n[[call]] # the start");
    let here = Here::with(&[("scenarios/messy.toml", &messy), ("scenarios/plain.toml", PLAIN)]);
    insta::assert_snapshot!("fmt_check", here.run(&["fmt", "--check"]));
    assert_eq!(fs::read_to_string(here.path().join("scenarios/messy.toml")).unwrap(), messy);
    assert!(here.run(&["fmt"]).contains("formatted scenarios/messy.toml\n"));
    let unseen = Here::with(&[("a.toml", &format!("\u{feff}{}", PLAIN.replace('\n', "\r\n")))]);
    let has = "a byte order mark and CRLF at the ends of lines";
    let checked = unseen.run(&["fmt", "--check", "a.toml"]);
    assert!(checked.contains(&format!("a.toml has {has}\n")), "{checked}");
    let formatted = unseen.run(&["fmt", "a.toml"]);
    assert!(formatted.contains(&format!("formatted a.toml, which had {has}\n")), "{formatted}");
    assert!(unseen.run(&["fmt", "a.toml"]).contains("1 file, all formatted"));
    // A file that was moved finds its schema again.
    let moved = format!("#:schema ../scenario.schema.json\n{PLAIN}");
    let files = [("scenario.schema.json", "{}"), ("x/y/a.toml", &moved), ("b.toml", PLAIN)];
    let with_schema = Here::with(&files);
    let formatted = with_schema.run(&["fmt", "x", "b.toml"]);
    assert!(formatted.contains("formatted x/y/a.toml\nformatted b.toml\n"), "{formatted}");
    let first = |file: &str| {
        let text = fs::read_to_string(with_schema.path().join(file)).unwrap();
        text.lines().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(first("x/y/a.toml"), ["#:schema ../../scenario.schema.json", "shakedown = 1"]);
    assert_eq!(first("b.toml"), ["#:schema scenario.schema.json", "shakedown = 1"]);
    let after = fs::read_to_string(here.path().join("scenarios/messy.toml")).unwrap();
    assert_eq!(after, PLAIN.replace("[[call]]", "[[call]] # the start"));
    assert!(here.run(&["fmt", "--check"]).starts_with("exit code 0\n"));
    let wrong = Here::with(&[("wrong.toml", "shakedown = \n")]);
    assert!(wrong.run(&["fmt", "wrong.toml"]).starts_with("exit code 65\n"));
    // Bytes that are no text are not written back as others.
    let latin = [PLAIN.as_bytes(), b"# caf\xe9\n"].concat();
    fs::write(wrong.path().join("latin.toml"), &latin).unwrap();
    let refused = wrong.run(&["fmt", "latin.toml"]);
    assert!(refused.contains("the file is not UTF-8"), "{refused}");
    assert_eq!(fs::read(wrong.path().join("latin.toml")).unwrap(), latin);
}

#[test]
fn shells_and_manuals_are_served() {
    let here = Here::with(&[]);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = here.run(&["completions", shell]);
        assert!(
            script.starts_with("exit code 0\n") && script.contains("check-determinism"),
            "{script}"
        );
    }
    assert!(here.run(&["completions", "basch"]).starts_with("exit code 64\n"));
    assert!(here.run(&["man"]).contains(".TH shakedown 1"));
    assert!(here.run(&["man", "run"]).contains("\\-\\-junit"));
    let unknown = here.run(&["man", "rum"]);
    assert!(unknown.contains("did you mean `run`?"), "{unknown}");
}

/// What a command prints up to the next line that begins so.
fn until(lines: &mut impl Iterator<Item = std::io::Result<String>>, what: &str) -> String {
    let mut seen = String::new();
    for line in lines {
        let line = line.unwrap();
        seen.push_str(&format!("{line}\n"));
        if line.starts_with(what) {
            return seen;
        }
    }
    panic!("it ended: {seen}");
}

/// Many editors save to another file, and rename that one.
#[test]
fn a_file_that_is_replaced_is_watched_on() {
    use std::io::{BufRead, BufReader};
    let here = Here::with(&[("plain.toml", PLAIN), ("neighbour.toml", PLAIN)]);
    let mut child = here.command(&["watch", "plain.toml"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = until(&mut lines, "watching");
    assert!(first.contains("1 passed, 0 failed"), "{first}");
    let broken = PLAIN.replace("code = \"ok\"", "code = \"unknown\"");
    for (text, what) in [(&*broken, "0 passed, 1 failed"), (PLAIN, "1 passed, 0 failed")] {
        // A neighbour is none of what was asked for.
        fs::write(here.path().join("neighbour.toml"), &broken).unwrap();
        fs::write(here.path().join("plain.toml~"), text).unwrap();
        fs::rename(here.path().join("plain.toml~"), here.path().join("plain.toml")).unwrap();
        let next = until(&mut lines, "watching");
        assert!(next.contains(what) && !next.contains("neighbour"), "{next}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_is_edited_runs_again() {
    use std::io::{BufRead, BufReader};
    let here = Here::with(&[("scenarios/plain.toml", PLAIN), ("scenarios/other.toml", PLAIN)]);
    let mut child = here.command(&["watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = |what: &str| until(&mut lines, what);
    let first = until("watching");
    assert!(first.contains("2 passed, 0 failed"), "{first}");
    let broken = PLAIN.replace("code = \"ok\"", "code = \"unknown\"");
    fs::write(here.path().join("scenarios/plain.toml"), &broken).unwrap();
    let second = until("watching");
    assert!(second.contains("FAIL  plain") && second.contains("\n0 passed, 1 failed"), "{second}");
    // What failed comes first, then what was changed.
    fs::write(here.path().join("scenarios/other.toml"), &broken).unwrap();
    let third = until("watching");
    let at = |name: &str| third.find(&format!("FAIL  {name}")).unwrap_or_else(|| panic!("{third}"));
    assert!(at("plain") < at("other"), "{third}");
    fs::write(here.path().join("scenarios/plain.toml"), PLAIN).unwrap();
    let fourth = until("watching");
    assert!(fourth.contains("\n1 passed, 1 failed"), "{fourth}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What is not judged is neither found nor missed; a name that no invariant has is refused.
#[test]
fn an_invariant_can_be_taken_out() {
    let lost = "[[fault]]\nat = \"start-1/task.create(web)#1\"\nkind = \"error\"\n\
                code = \"unavailable\"\neffect = \"done\"\n";
    let plain = PLAIN.split("[[expect]]").next().unwrap();
    let here = Here::with(&[("lost.toml", &format!("{plain}\n{lost}"))]);
    let all = here.run(&["run", "lost.toml"]);
    assert!(all.contains("I1 failed-start-leaves-nothing is violated"), "{all}");
    let some = here.run(&["run", "lost.toml", "--without", "I1,I2"]);
    assert!(some.contains("I6 always-removable is violated"), "{some}");
    assert!(!some.contains("failed-start-leaves-nothing"), "{some}");
    let none = here.output(&["run", "lost.toml", "--without", "I1,I2,I6"]);
    assert_eq!(none.status.code(), Some(0), "{}", text(&none.stdout));
    let wrong = here.run(&["check", "lost.toml", "--without", "I33"]);
    assert!(wrong.contains("invalid value 'I33' for '--without <I3,I9>'"), "{wrong}");
    assert!(wrong.contains("similar value exists"), "{wrong}");
}

/// A build without planted defects says how to make one with them.
#[test]
#[cfg(not(feature = "planted"))]
fn defects_are_there_only_in_a_build_that_asks_for_them() {
    let here = Here::with(&[("plain.toml", PLAIN)]);
    let refused = here.run(&["mutants", "plain.toml"]);
    assert!(refused.contains("cargo run --release --features planted -- mutants"), "{refused}");
    let refused = here.run(&["run", "plain.toml", "--profile", "hardened+name-kept"]);
    assert!(refused.contains("invalid value 'hardened+name-kept'"), "{refused}");
}

/// A defect that does not exist is refused; one that does is found.
#[test]
#[cfg(feature = "planted")]
fn a_planted_defect_is_looked_for() {
    let here = Here::with(&[("plain.toml", PLAIN)]);
    let one = ["mutants", "plain.toml", "--seeds", "1", "--runs", "50", "--only"];
    let found = here.output(&[&one[..], &["started-event-twice", "--format", "json"]].concat());
    assert_eq!(found.status.code(), Some(0), "{}", text(&found.stderr));
    let document: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    let defect = &document["defects"][0];
    assert_eq!(defect["check"]["by"], serde_json::json!(["I9"]));
    assert_eq!(defect["searches"]["explore"]["median-runs"], 1);
    let missed = here.output(&[&one[..], &["started-event-twice", "--without", "I9"]].concat());
    assert_eq!(missed.status.code(), Some(1), "{}", text(&missed.stdout));
    let wrong = here.run(&[&one[..], &["started-event-twise"]].concat());
    assert!(wrong.contains("did you mean `started-event-twice`?"), "{wrong}");
}
