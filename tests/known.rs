//! In the versions of containerd a search finds what is known of them by itself: from the drivers, without the files
//! of the corpus that show it.

use std::collections::BTreeMap;
use std::panic;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use shakedown::explore::{Attempts, Bound, Failure, News, Settings, hunt, plan, undecided};
use shakedown::invariants::Ids;
use shakedown::report::summary::thousands;
use shakedown::suite::{Source, collect};
use shakedown_cri::quirks::{Profile, Quirk};

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");

/// Where a search starts from. The second takes an exhaustive search too long to be a driver.
const STARTS: [&str; 2] = ["drivers", "concurrent/a-start-and-an-update.toml"];
const PAGE: &str = include_str!("../docs/search.md");

const VERSIONS: [&str; 3] = ["1.7.0-beta.3", "1.7.24", "2.1.9"];

/// Of each version as many runs are made.
const RUNS: u64 = 50_000;

/// What the page says is found within so many runs, every test looks for, in as many again: another order of what the
/// service does is another search.
const SOON: u64 = 2_048;
const SOON_ENOUGH: u64 = 3 * SOON;

/// Runs between two looks at what they brought.
const ROUND: u64 = 512;

/// Quirks that an issue or a commit of upstream is known for, and that break an invariant.
fn known() -> Vec<Quirk> {
    let by_upstream = |quirk: &Quirk| {
        let commit = quirk
            .known_by()
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| word.len() == 9 && word.bytes().all(|b| b.is_ascii_hexdigit()));
        !quirk.breaks().is_empty() && (commit || quirk.known_by().contains('#'))
    };
    Quirk::ALL.iter().copied().filter(by_upstream).collect()
}

/// Searches a version for these quirks: after how many runs something was found that needs them, and its signature.
fn search(
    profile: &'static Profile,
    quirks: &[Quirk],
    runs: u64,
) -> BTreeMap<Quirk, (u64, String)> {
    let found = collect(&STARTS.map(|start| PathBuf::from(SCENARIOS).join(start)))
        .unwrap_or_else(|error| panic!("{error}"));
    let read = |file| Source::read(file).unwrap_or_else(|error| panic!("{error}"));
    let drivers: Vec<_> = found.iter().map(|file| undecided(&read(file).scenario)).collect();
    let settings = Settings {
        profile,
        judge: Ids::ALL,
        seed: 1,
        bound: Bound { faults: 2, delays: 2 },
        runs: Some(runs),
        time: None,
        jobs: 2,
        shard: (0, 1),
    };
    let stop = AtomicBool::new(false);
    let (mut done, mut of) = (0, BTreeMap::new());
    // The service of some versions panics: that is found, and told with its file.
    let usual = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = hunt(&drivers, &settings, &stop, |news| {
        match news {
            News::Round { progress, .. } => done = progress.runs,
            News::Found(failure) => {
                for quirk in quirks {
                    if !of.contains_key(quirk) && needs(failure, *quirk) {
                        of.insert(*quirk, (done + ROUND, failure.signature.to_string()));
                    }
                }
            }
        }
        stop.store(of.len() == quirks.len(), Ordering::Relaxed);
        Ok::<(), ()>(())
    });
    panic::set_hook(usual);
    assert!(result.is_ok());
    of
}

/// Whether a failure needs the quirk: without it the same file shows something else, or nothing.
fn needs(failure: &Failure, quirk: Quirk) -> bool {
    let profile = failure.profile;
    let quirks = profile.quirks.without(quirk);
    let without: &'static Profile = Box::leak(Box::new(Profile { quirks, ..*profile }));
    let plan = plan(&failure.shrunk.scenario).expect("its file can be run");
    let (symptoms, _) = Attempts::new(without).symptoms(&plan);
    !symptoms.iter().any(|symptom| symptom.is_like(&failure.symptom))
}

fn version(name: &str) -> &'static Profile {
    Profile::find(name).expect("it is known")
}

/// The table of the page, as a search of this many runs makes it.
fn table(runs: u64) -> String {
    let found = VERSIONS.map(|name| search(version(name), &known(), runs));
    let mut table = String::new();
    for quirk in known() {
        let cell = |(name, of): (&str, &BTreeMap<Quirk, (u64, String)>)| match of.get(&quirk) {
            _ if !version(name).quirks.has(quirk) => String::new(),
            Some((runs, _)) => thousands(*runs),
            None => "-".to_owned(),
        };
        let cells: Vec<String> = VERSIONS.into_iter().zip(&found).map(cell).collect();
        let shown = found.iter().find_map(|of| of.get(&quirk)).map_or("", |(_, shown)| &**shown);
        let (id, by) = (quirk.id(), quirk.known_by());
        table.push_str(&format!("| `{id}` | {by} | {} | {shown} |\n", cells.join(" | ")));
    }
    table
}

/// Each version's quirks that the page says are found soon are.
#[test]
fn what_is_known_is_found() {
    let mut looked_for = 0;
    for (column, name) in VERSIONS.into_iter().enumerate() {
        let is_soon = |quirk: &Quirk| {
            let row = PAGE.lines().find(|line| line.starts_with(&format!("| `{}` |", quirk.id())));
            let row = row.unwrap_or_else(|| panic!("the page does not have {}", quirk.id()));
            let cell = row.split('|').nth(3 + column).expect("a cell for each version");
            cell.trim().replace(',', "").parse().is_ok_and(|runs: u64| runs <= SOON)
        };
        let soon: Vec<Quirk> = known().into_iter().filter(is_soon).collect();
        let found = search(version(name), &soon, SOON_ENOUGH);
        let missed: Vec<&str> = soon
            .iter()
            .filter(|quirk| !found.contains_key(quirk))
            .map(|quirk| quirk.id())
            .collect();
        assert!(missed.is_empty(), "not found in {name}: {missed:?}");
        looked_for += soon.len();
    }
    assert!(looked_for > 10, "the page says of hardly anything that it is found");
}

#[test]
#[ignore = "150,000 runs: the command with which docs/search.md has its table renewed"]
fn the_table_of_the_page() {
    let table = table(RUNS);
    assert!(PAGE.contains(&table), "the page is to have\n{table}");
}
