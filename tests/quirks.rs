//! Each quirk is shown by a scenario: without the quirk, the scenario's report is another.
#![expect(clippy::disallowed_methods, reason = "tests are no part of a run")]

use std::path::PathBuf;

use shakedown::report::{Detail, Report, text};
use shakedown::suite::{Runner, Source, collect};
use shakedown_cri::quirks::{Profile, Quirk};

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
const INVARIANTS_PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/invariants.md");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/profiles.md");

/// The sources of the corpus, read once.
fn sources() -> Vec<Source> {
    let found = collect(&[PathBuf::from(SCENARIOS)]).unwrap_or_else(|error| panic!("{error}"));
    found.iter().map(|one| Source::read(one).unwrap_or_else(|error| panic!("{error}"))).collect()
}

/// The reports of all cases of a file.
fn reports(source: &Source, profile: &'static Profile) -> String {
    let cases = Runner::new().cases(source, profile).unwrap_or_else(|error| panic!("{error:?}"));
    let reports = (0..cases.len()).map(|index| {
        let ran = cases.run(index, false).unwrap_or_else(|error| panic!("{error:?}"));
        text(&Report::new(source, &ran, Detail::Brief))
    });
    reports.collect()
}

#[test]
fn each_quirk_has_a_scenario() {
    let sources = sources();
    for quirk in Quirk::ALL {
        let label = quirk.scenario();
        assert!(
            sources.iter().any(|source| source.label == label),
            "{} is said to be shown by {label}, and there is no such scenario",
            quirk.id()
        );
    }
}

#[test]
fn switching_a_quirk_off_changes_the_report_of_its_scenario() {
    let sources = sources();
    let mut idle = Vec::new();
    for quirk in Quirk::ALL.iter().copied() {
        let id = quirk.id();
        let source = sources.iter().find(|source| source.label == quirk.scenario());
        let source = source.unwrap_or_else(|| panic!("{id} has no scenario"));
        let profile = Profile::ALL.iter().find(|profile| profile.quirks.has(quirk));
        let profile = profile.unwrap_or_else(|| panic!("no version has {id}"));
        let without: &'static Profile =
            Box::leak(Box::new(Profile { quirks: profile.quirks.without(quirk), ..*profile }));
        if reports(source, profile) == reports(source, without) {
            idle.push(format!("{id} makes no difference to {} in {}", source.label, profile.name));
        }
    }
    assert!(idle.is_empty(), "{}", idle.join("\n"));
}

#[test]
fn a_violation_names_a_quirk_that_breaks_its_invariant() {
    for source in sources() {
        for entry in &source.scenario.violations {
            let shakedown::scenario::Cause::Quirk(id) = &entry.cause else { continue };
            let quirk = Quirk::ALL.iter().find(|quirk| quirk.id() == id);
            let quirk = quirk.unwrap_or_else(|| panic!("{}: no quirk `{id}`", source.file));
            let invariant = &*entry.invariant;
            assert!(
                quirk.breaks().contains(&invariant),
                "{}: {id} is said to break {invariant}, which its entry in the table does not say",
                source.file
            );
        }
    }
}

/// The section of each invariant has a row for each quirk that breaks it, and for no other.
#[test]
fn the_page_of_the_invariants_names_what_breaks_each() {
    let page = std::fs::read_to_string(INVARIANTS_PAGE).expect("the page is there");
    let sections: Vec<&str> = page.split("\n## ").skip(1).collect();
    let invariants = shakedown::invariants::all();
    assert_eq!(sections.len(), invariants.len());
    for (section, invariant) in sections.iter().zip(&invariants) {
        let id = invariant.id().to_string();
        let heading = section.lines().next().unwrap_or_default();
        assert_eq!(heading, format!("{id} {}", invariant.name()));
        let shown = section.lines().any(|line| line.starts_with(&format!("  {id} at ")));
        assert!(shown, "{id} is shown by no run");
        let of_it = Quirk::ALL.iter().filter(|quirk| quirk.breaks().contains(&&*id));
        for quirk in of_it.clone() {
            let (known, scenario) = (linked(quirk.known_by()), quirk.scenario());
            let name = scenario.rsplit('/').next().unwrap_or_default();
            let row = format!(
                "| `{}` | {} | {known} | [{name}](../scenarios/{scenario}.toml) |",
                quirk.id(),
                quirk.what()
            );
            assert!(section.contains(&row), "docs/invariants.md, {id}, lacks the line\n{row}");
        }
        let rows = section.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, of_it.count(), "docs/invariants.md, {id}, has a line too many");
    }
}

/// With links to upstream's issues and commits.
fn linked(known_by: &str) -> String {
    let is_commit = known_by.len() == 9 && known_by.bytes().all(|b| b.is_ascii_hexdigit());
    if is_commit {
        let commit = "https://github.com/containerd/containerd/commit";
        return format!("[{known_by}]({commit}/{known_by})");
    }
    let mut words: Vec<String> = known_by.split(' ').map(str::to_owned).collect();
    for at in 1..words.len() {
        let (project, number) = (words[at - 1].clone(), words[at].clone());
        let Some(number) = number.strip_prefix('#').filter(|_| !project.contains('[')) else {
            continue;
        };
        let address = format!("https://github.com/{project}/{project}/issues/{number}");
        words[at - 1] = format!("[{project}");
        words[at] = format!("#{number}]({address})");
    }
    words.join(" ")
}

#[test]
fn the_page_names_every_profile_and_quirk() {
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    for profile in Profile::every() {
        let entry = format!("| `{}` | {} |", profile.name, profile.what);
        assert!(page.contains(&entry), "docs/profiles.md lacks the line\n{entry}");
    }
    for quirk in Quirk::ALL {
        let versions: Vec<&str> = (Profile::ALL.iter())
            .map(|profile| if profile.quirks.has(*quirk) { "yes" } else { "–" })
            .collect();
        let breaks = quirk.breaks().join(" ");
        let line = format!(
            "| `{}` | {} | {} | {} | {breaks} | [{}](../scenarios/{}.toml) |",
            quirk.id(),
            quirk.what(),
            versions.join(" | "),
            quirk.known_by(),
            quirk.scenario().rsplit('/').next().unwrap_or_default(),
            quirk.scenario(),
        );
        assert!(page.contains(&line), "docs/profiles.md lacks the line\n{line}");
    }
}
