//! docs/hardened.md keeps step with the code: each difference has an entry, and its costs are counted.
#![expect(clippy::disallowed_methods, reason = "tests are no part of a run")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use shakedown::scenario::Cause;
use shakedown::suite::{Ran, Runner, Source, collect};
use shakedown::turnstile::{Layer, RecordingEntry, Stage};
use shakedown_cri::quirks::{Part, Profile, Quirk, Quirks};

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/hardened.md");

/// Of which moments of a run the costs are counted.
#[derive(Clone, Copy)]
enum Span {
    /// From the call's begin to its end: what its client waits for.
    Call(&'static str),
    /// From the first call until quiet.
    UntilQuiet,
    /// Stop, remove, and the removal of the pod.
    Reaping,
    /// Those of the daemon's second start.
    SecondBoot,
}

/// Where a difference costs something although nothing strikes it, or only what is common.
const COMMON: &[(&str, &str, Span)] = &[
    ("start", "start/a-plain-start", Span::Call("start-1")),
    ("stop, remove", "start/a-plain-start", Span::Reaping),
    ("failing start", "start/task-start-fails-with-each-error-code", Span::Call("start-1")),
    ("exit", "exit/the-process-exits-at-once", Span::UntilQuiet),
    ("recovery", "crash/the-log-goes-on-after-the-daemon-was-killed", Span::SecondBoot),
];

/// The calls of writing a status.
const CHECKPOINT: [&str; 6] =
    ["fs.create_temp", "fs.chmod", "fs.write", "fs.fsync", "fs.close", "fs.rename"];

fn sources() -> Vec<Source> {
    let found = collect(&[PathBuf::from(SCENARIOS)]).unwrap_or_else(|error| panic!("{error}"));
    found.iter().map(|one| Source::read(one).unwrap_or_else(|error| panic!("{error}"))).collect()
}

fn source_of<'a>(sources: &'a [Source], label: &str) -> &'a Source {
    let source = sources.iter().find(|source| source.label == label);
    source.unwrap_or_else(|| panic!("there is no scenario {label}"))
}

fn differences() -> impl Iterator<Item = Quirk> {
    Quirk::ALL.iter().copied().filter(|quirk| quirk.part() == Part::Service)
}

/// Moments and, by operation, the calls that leave the service.
#[derive(Clone, Default, PartialEq)]
struct Cost {
    moments: i64,
    calls: BTreeMap<&'static str, i64>,
}

impl Cost {
    fn of(ran: &Ran, span: Span) -> Cost {
        let mut cost = Cost::default();
        let (mut phase, mut under_way) = ("", false);
        for entry in &ran.outcome.recording.entries {
            let happened = match entry {
                RecordingEntry::Phase { name, .. } => {
                    phase = name;
                    continue;
                }
                RecordingEntry::Moment(happened) => happened,
                _ => continue,
            };
            let site = happened.moment.site;
            let text = happened.moment.to_string();
            let counts = match span {
                Span::Call(call) => {
                    under_way |= text == format!("{call}.begin");
                    under_way
                }
                Span::UntilQuiet => phase != "setup" && phase != "reap",
                Span::Reaping => phase == "reap",
                Span::SecondBoot => text.starts_with("boot2:"),
            };
            if counts {
                cost.moments += 1;
                let leaves = matches!(
                    site.op.layer(),
                    Layer::File
                        | Layer::Pipe
                        | Layer::Metadata
                        | Layer::Task
                        | Layer::Nri
                        | Layer::Event
                );
                if leaves && matches!(happened.moment.stage, Stage::Effect | Stage::Only) {
                    *cost.calls.entry(site.op.name()).or_default() += 1;
                }
            }
            if let Span::Call(call) = span {
                under_way &= text != format!("{call}.done");
            }
        }
        cost
    }

    /// What `self` costs more than `base`.
    fn beyond(&self, base: &Cost) -> Cost {
        let mut calls = self.calls.clone();
        for (op, count) in &base.calls {
            *calls.entry(op).or_default() -= count;
        }
        calls.retain(|_, count| *count != 0);
        Cost { moments: self.moments - base.moments, calls }
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.moments == 0 && self.calls.is_empty() {
            return write!(f, "–");
        }
        write!(f, "{:+}", self.moments)?;
        let mut calls = self.calls.clone();
        let of_checkpoint = |op: &str| calls.get(op).copied().unwrap_or(0);
        let checkpoints = CHECKPOINT.iter().map(|op| of_checkpoint(op)).min().unwrap_or(0).max(0);
        for op in CHECKPOINT {
            calls.entry(op).and_modify(|count| *count -= checkpoints);
        }
        calls.insert("checkpoint", checkpoints);
        let shown = calls.iter().filter(|(_, count)| **count != 0);
        let shown: Vec<String> = shown.map(|(op, count)| format!("{count:+} {op}")).collect();
        if shown.is_empty() { Ok(()) } else { write!(f, ": {}", shown.join(", ")) }
    }
}

fn profile(quirks: Quirks) -> &'static Profile {
    let named = Profile::find("hardened").expect("a profile");
    Box::leak(Box::new(Profile { quirks, ..*named }))
}

fn run(source: &Source, profile: &'static Profile, case: usize) -> Ran {
    let cases = Runner::new().cases(source, profile).unwrap_or_else(|error| panic!("{error:?}"));
    cases.run(case, false).unwrap_or_else(|error| panic!("{error:?}"))
}

/// What the spans cost more in one profile than in another.
fn costs(sources: &[Source], [from, to]: [&'static Profile; 2]) -> Vec<Cost> {
    let costs = COMMON.iter().map(|(_, label, span)| {
        let source = source_of(sources, label);
        let [base, hardened] = [from, to].map(|profile| Cost::of(&run(source, profile, 0), *span));
        hardened.beyond(&base)
    });
    costs.collect()
}

/// The first case of a scenario in which the two differ, from its first call until quiet.
fn cost_where_it_strikes(source: &Source, profiles: [&'static Profile; 2]) -> Cost {
    let [base, hardened] = profiles.map(|profile| {
        Runner::new().cases(source, profile).unwrap_or_else(|error| panic!("{error:?}"))
    });
    let costs = (0..base.len().min(hardened.len())).map(|case| {
        let [base, hardened] = [&base, &hardened].map(|cases| {
            let ran = cases.run(case, false).unwrap_or_else(|error| panic!("{error:?}"));
            Cost::of(&ran, Span::UntilQuiet)
        });
        hardened.beyond(&base)
    });
    costs.into_iter().find(|cost| *cost != Cost::default()).unwrap_or_default()
}

fn table() -> String {
    let sources = sources();
    let names: Vec<&str> =
        COMMON.iter().map(|(name, ..)| *name).chain(["where it strikes"]).collect();
    let mut table = format!("| | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    let mut add = |name: &str, costs: &[Cost]| {
        let cells: Vec<String> = costs.iter().map(Cost::to_string).collect();
        writeln!(table, "| {name} | {} |", cells.join(" | ")).expect("a string takes all");
    };
    for quirk in differences().filter(|quirk| quirk.fixed().is_empty()) {
        let pair = [Quirks::NONE.with(quirk), Quirks::NONE].map(profile);
        let mut costs = costs(&sources, pair);
        let struck = cost_where_it_strikes(source_of(&sources, quirk.scenario()), pair);
        costs.push(Cost { calls: BTreeMap::new(), ..struck });
        add(&format!("`{}`", quirk.id()), &costs);
    }
    for version in ["1.7.24", "2.1.9"] {
        let from = Profile::find(version).expect("a version");
        let to = Profile::find(&format!("hardened@{version}")).expect("a profile");
        let mut costs = costs(&sources, [from, to]);
        costs.push(Cost::default());
        add(&format!("all, against {version}"), &costs);
    }
    table
}

#[test]
fn the_page_has_the_costs() {
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    let table = table();
    assert!(page.contains(&table), "docs/hardened.md lacks the table\n\n{table}");
}

/// Which invariants the corpus expects to break in the world of a version, and by which of its quirks.
fn impossible() -> String {
    let sources = sources();
    let mut table = String::from("| world | quirk | breaks |\n|---|---|---|\n");
    for profile in Profile::HARDENED {
        for quirk in profile.quirks.iter() {
            let mut broken: Vec<&str> = Vec::new();
            for entry in sources.iter().flat_map(|source| &source.scenario.violations) {
                let by_it = matches!(&entry.cause, Cause::Quirk(id) if id == quirk.id());
                let profiles = &entry.filter.profiles;
                let applies =
                    profiles.is_empty() || profiles.iter().any(|name| name == profile.name);
                if by_it && applies && !broken.contains(&&*entry.invariant) {
                    broken.push(&entry.invariant);
                }
            }
            broken.sort_by_key(|id| id[1..].parse::<u32>().expect("a number"));
            if !broken.is_empty() {
                let (name, id) = (profile.name, quirk.id());
                writeln!(table, "| `{name}` | `{id}` | {} |", broken.join(" "))
                    .expect("a string takes all");
            }
        }
    }
    table
}

#[test]
fn the_page_names_what_each_world_makes_impossible() {
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    let table = impossible();
    assert!(page.contains(&table), "docs/hardened.md lacks the table\n\n{table}");
}

#[test]
fn the_page_has_an_entry_for_each_difference() {
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    for quirk in differences() {
        let (id, scenario) = (quirk.id(), quirk.scenario());
        let breaks = quirk.breaks().join(" ");
        let name = scenario.rsplit('/').next().unwrap_or_default();
        let link = format!("[{name}](../scenarios/{scenario}.toml)");
        let entry = if quirk.fixed().is_empty() {
            format!("### `{id}`\n\nRestores {breaks}. Shown by {link}.\n")
        } else {
            format!("| `{id}` | {breaks} | {link} |")
        };
        assert!(page.contains(&entry), "docs/hardened.md lacks\n\n{entry}");
    }
}

#[test]
fn the_page_names_only_functions_that_are_there() {
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    // `function` in [`file.rs`](../src/file.rs)
    let mut places = 0;
    for (before, behind) in page.match_indices(" in [`").map(|(at, _)| page.split_at(at)) {
        let Some(function) = before.strip_suffix('`').and_then(|text| text.rsplit('`').next())
        else {
            continue;
        };
        let path = behind.split("](../").nth(1).and_then(|text| text.split(')').next());
        let path = path.unwrap_or_else(|| panic!("`{function}` is in no linked file"));
        let file = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
        let code = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(code.contains(&format!("fn {function}")), "{path} has no function `{function}`");
        places += 1;
    }
    assert!(
        places > differences().filter(|quirk| quirk.fixed().is_empty()).count() / 2,
        "{places}"
    );
}
