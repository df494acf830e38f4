//! Both engines bring the same, over the corpus: what the bare loop finds is replayed on madsim.
//!
//! A sample of the cases: `.ci/run` compares the reports of all of them.

use std::path::PathBuf;

use shakedown::engine::Engine;
use shakedown::suite::{Runner, Source, collect};
use shakedown_cri::quirks::Profile;

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");

/// Of a file's cases the first, and each so manieth after it.
const STEP: usize = 12;

#[test]
fn the_engines_bring_the_same_digest() {
    let found = collect(&[PathBuf::from(SCENARIOS)]).unwrap_or_else(|error| panic!("{error}"));
    let runners = [Runner::new(), Runner::on(Engine::Bare)];
    let profiles = [Profile::find("1.7.0-beta.3"), Profile::find("hardened")];
    let mut compared = 0;
    for file in &found {
        let source = Source::read(file).unwrap_or_else(|error| panic!("{error}"));
        for profile in profiles {
            let profile = profile.expect("the profile is known");
            let [madsim, bare] = runners.each_ref().map(|runner| {
                runner.cases(&source, profile).unwrap_or_else(|error| panic!("{error:?}"))
            });
            assert_eq!(madsim.len(), bare.len(), "{}", source.file);
            for index in (0..madsim.len()).step_by(STEP) {
                let [ours, theirs] = [&madsim, &bare].map(|cases| {
                    let ran = cases.run(index, false).unwrap_or_else(|error| panic!("{error:?}"));
                    (ran.outcome.digest(), ran.outcome.recording.moments, ran.verdict)
                });
                assert!(
                    ours == theirs,
                    "{} in {}: {ours:?}, {theirs:?}",
                    madsim.name(index),
                    profile.name
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 900, "only {compared} cases were compared");
}
