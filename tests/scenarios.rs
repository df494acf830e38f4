//! Every scenario passes in every profile, and its report is what the snapshot of its name says.
//!
//! A file with few cases is kept with whole reports, a file with many with one line for each case.
//! What another profile than the first does differently is kept as a difference of lines.
#![expect(clippy::disallowed_methods, reason = "tests are no part of a run")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use shakedown::report::{Detail, Report, text};
use shakedown::suite::{Ran, Runner, Source, collect, state_word};
use shakedown_cri::cri::ContainerState;
use shakedown_cri::quirks::Profile;
use similar::TextDiff;

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
const SNAPSHOTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/snapshots/scenarios");

/// Files with more cases are kept in short.
const WHOLE_REPORTS_MAX: usize = 3;

fn sources() -> Vec<Source> {
    let found = collect(&[PathBuf::from(SCENARIOS)]).unwrap_or_else(|error| panic!("{error}"));
    found.iter().map(|one| Source::read(one).unwrap_or_else(|error| panic!("{error}"))).collect()
}

/// A case in a line: verdict, answers, statuses once quiet, and which invariants broke.
fn short(values: &str, ran: &Ran) -> String {
    let verdict = if ran.verdict.passed() { "passed" } else { "FAILED" };
    let mut parts = Vec::new();
    for answer in &ran.outcome.answers {
        let word = match &answer.result {
            None => "none",
            Some(Ok(_)) => "ok",
            Some(Err(error)) => error.code.name(),
        };
        parts.push(format!("{} {word}", answer.call));
    }
    for shot in &ran.outcome.quiet.statuses {
        let status = match &shot.status {
            None => "gone".to_owned(),
            Some(peek) if peek.state == ContainerState::Exited => {
                format!("exited {} {}", peek.exit_code, peek.reason)
            }
            Some(peek) => state_word(peek.state).to_owned(),
        };
        parts.push(format!("{} {}", shot.container, status.trim_end()));
    }
    parts.extend(ran.outcome.judgement.violated().map(|finding| finding.id.to_string()));
    format!("{verdict} {values}: {}\n", parts.join(", "))
}

/// The report of a file under one profile. Adds the cases that failed.
fn page(
    runner: &Runner,
    source: &Source,
    profile: &'static Profile,
    failed: &mut Vec<String>,
) -> String {
    let cases = runner.cases(source, profile).unwrap_or_else(|error| panic!("{error:?}"));
    let mut page = String::new();
    for reason in &cases.stale {
        failed.push(format!("{} in {}: {}", source.label, profile.name, reason.what));
    }
    for index in 0..cases.len() {
        let name = cases.name(index);
        let ran = cases.run(index, false).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        if !ran.verdict.passed() {
            let why: Vec<&str> = ran.verdict.reasons.iter().map(|reason| &*reason.what).collect();
            failed.push(format!("{name} in {}: {}", profile.name, why.join("; ")));
        }
        if cases.len() > WHOLE_REPORTS_MAX {
            let values = name.strip_prefix(&source.scenario.name).unwrap_or(&name);
            page.push_str(&short(values, &ran));
        } else {
            if !page.is_empty() {
                page.push('\n');
            }
            page.push_str(&text(&Report::new(source, &ran, Detail::Brief)));
        }
    }
    page
}

/// The one line that always differs.
fn without_profile(page: &str) -> String {
    page.lines()
        .filter(|line| !line.starts_with("profile "))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn hardened() -> &'static Profile {
    Profile::find("hardened").expect("it is known")
}

fn snapshot_name(source: &Source) -> String {
    source.label.replace('/', "__")
}

/// What of a file is not as it should be, under any profile.
fn wrong_with(runner: &Runner, source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut kept = String::new();
    let mut first = String::new();
    for profile in Profile::ALL {
        let page = page(runner, source, profile, &mut wrong);
        if kept.is_empty() {
            first = without_profile(&page);
            kept = page;
        } else {
            let page = without_profile(&page);
            let diff = TextDiff::from_lines(&first, &page);
            let differences = diff.unified_diff().context_radius(0).to_string();
            let differences = if first == page { "no difference\n" } else { &differences };
            let _ = write!(kept, "\n== {} ==\n{differences}", profile.name);
        }
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(SNAPSHOTS);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let compared = catch_unwind(AssertUnwindSafe(|| {
        settings.bind(|| insta::assert_snapshot!(snapshot_name(source), kept));
    }));
    if compared.is_err() {
        wrong.push(format!("{}: the report is not as it was", source.label));
    }
    wrong
}

#[test]
fn reports() {
    let runner = Runner::new();
    let wrong: Vec<String> =
        sources().iter().flat_map(|source| wrong_with(&runner, source)).collect();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// For [cargo-mutants](https://mutants.rs), which only asks whether anything is wrong: the files with the fewest
/// cases first, in the hardened service too, and none after the first that is.
#[test]
#[ignore = "`reports` tells all that is wrong, and `shakedown run` has all profiles"]
fn anything_wrong() {
    let runner = Runner::new();
    let mut sources = sources();
    sources.sort_by_cached_key(|source| {
        runner.cases(source, &Profile::ALL[0]).map_or(0, |all| all.len())
    });
    for source in &sources {
        let mut wrong = wrong_with(&runner, source);
        let _ = page(&runner, source, hardened(), &mut wrong);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn each_snapshot_has_its_scenario() {
    let known: BTreeSet<String> = sources().iter().map(snapshot_name).collect();
    let kept = std::fs::read_dir(Path::new(SNAPSHOTS)).expect("the snapshots are there");
    for entry in kept {
        let name = entry.expect("the directory can be read").file_name();
        let name = name.to_string_lossy();
        if let Some(label) = name.strip_suffix(".snap") {
            assert!(known.contains(label), "{name} belongs to no scenario");
        }
    }
}

/// What a search found in the hardened service, each file as small as it could be made. Most need more
/// than the one fault that CI has `check` try.
#[test]
fn what_a_search_found_stays_mended() {
    let found = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/found"));
    let found = collect(&[found]).unwrap_or_else(|error| panic!("{error}"));
    assert!(!found.is_empty());
    for file in &found {
        let source = Source::read(file).unwrap_or_else(|error| panic!("{error}"));
        let runner = Runner::new();
        let cases = runner.cases(&source, hardened()).unwrap_or_else(|error| panic!("{error:?}"));
        let ran = cases.run(0, false).unwrap_or_else(|error| panic!("{error:?}"));
        let why: Vec<&str> = ran.verdict.reasons.iter().map(|reason| &*reason.what).collect();
        assert!(ran.verdict.passed(), "{}: {}", source.file, why.join("; "));
    }
}
