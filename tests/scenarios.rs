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
use shakedown::suite::{Ran, Runner, Source, collect};
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

/// A case in a line: verdict, and which invariants broke.
fn short(name: &str, ran: &Ran) -> String {
    let verdict = if ran.verdict.passed() { "passed" } else { "FAILED" };
    let answers = ran.outcome.answers.iter().map(|answer| match &answer.result {
        None => format!("{} none", answer.call),
        Some(Ok(_)) => format!("{} ok", answer.call),
        Some(Err(error)) => format!("{} {}", answer.call, error.code.name()),
    });
    let answers = answers.collect::<Vec<_>>().join(", ");
    let broken: Vec<String> =
        ran.outcome.judgement.violated().map(|finding| finding.id.to_string()).collect();
    let broken = if broken.is_empty() { String::new() } else { format!("; {}", broken.join(" ")) };
    format!("{verdict} {name}: {answers}{broken}\n")
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
    for index in 0..cases.len() {
        let name = cases.name(index);
        let ran = cases.run(index, false).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        if !ran.verdict.passed() {
            let why: Vec<&str> = ran.verdict.reasons.iter().map(|reason| &*reason.what).collect();
            failed.push(format!("{name} in {}: {}", profile.name, why.join("; ")));
        }
        if cases.len() > WHOLE_REPORTS_MAX {
            page.push_str(&short(&name, &ran));
        } else {
            let report = text(&Report::new(source, &ran, Detail::Brief));
            if !page.is_empty() {
                page.push('\n');
            }
            // The digest of a run is in the report, so a change of any moment shows here.
            page.push_str(&report);
        }
    }
    page
}

fn snapshot_name(source: &Source) -> String {
    source.label.replace('/', "__")
}

#[test]
fn reports() {
    let runner = Runner::new();
    let mut wrong = Vec::new();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(SNAPSHOTS);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for source in sources() {
        let mut kept = String::new();
        let mut first: Option<String> = None;
        for profile in Profile::ALL {
            let page = page(&runner, &source, profile, &mut wrong);
            match &first {
                None => {
                    kept.push_str(&page);
                    first = Some(page);
                }
                Some(first) => {
                    let diff = TextDiff::from_lines(first, &page);
                    let differences = diff.unified_diff().context_radius(0).to_string();
                    let _ = write!(kept, "\n== {} ==\n{differences}", profile.name);
                }
            }
        }
        let compared = catch_unwind(AssertUnwindSafe(|| {
            settings.bind(|| insta::assert_snapshot!(snapshot_name(&source), kept));
        }));
        if compared.is_err() {
            wrong.push(format!("{}: the report is not as it was", source.label));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
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
