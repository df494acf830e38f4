//! A service that shares memory by the ports alone is peeked at only after something was changed that a peek has
//! looked at: over the corpus, peeking after each moment finds the same.
//!
//! A sample of the cases, in which each file is.

use std::path::PathBuf;
use std::rc::Rc;

use shakedown::run::{Options, run};
use shakedown::suite::{Runner, Source, collect};
use shakedown::under_test::{Boot, UnderTest};
use shakedown_cri::cri::RuntimeService;
use shakedown_cri::quirks::Profile;

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");

/// Of a file's cases the first, and each so manieth after it.
const STEP: usize = 24;

/// The service of this repository, of which nothing is known that spares a look at it.
struct Opaque;

fn containerd() -> &'static dyn UnderTest {
    Options::default().runtime
}

impl UnderTest for Opaque {
    fn name(&self) -> &'static str {
        "opaque"
    }

    fn what(&self) -> &'static str {
        "containerd's CRI plugin, peeked at after each moment"
    }

    fn writes_containerd_status(&self) -> bool {
        containerd().writes_containerd_status()
    }

    fn boot(&self, boot: Boot) -> Rc<dyn RuntimeService> {
        containerd().boot(boot)
    }
}

#[test]
fn peeks_that_are_left_out_would_have_told_nothing_new() {
    assert!(containerd().shares_through_ports() && !Opaque.shares_through_ports());
    let found = collect(&[PathBuf::from(SCENARIOS)]).unwrap_or_else(|error| panic!("{error}"));
    let runner = Runner::new();
    let mut compared = 0;
    for file in &found {
        let source = Source::read(file).unwrap_or_else(|error| panic!("{error}"));
        for profile in ["1.7.0-beta.3", "hardened"] {
            let profile = Profile::find(profile).expect("the profile is known");
            let cases = runner.cases(&source, profile).unwrap_or_else(|error| panic!("{error:?}"));
            for index in (0..cases.len()).step_by(STEP) {
                let ran = cases.run(index, false).unwrap_or_else(|error| panic!("{error:?}"));
                let opaque = Options { runtime: &Opaque, ..Options::of(profile) };
                let [ours, theirs] = [ran.outcome, run(&ran.plan, &opaque)]
                    .map(|outcome| format!("{:#?}", outcome.judgement));
                assert!(ours == theirs, "{}: {ours}\n{theirs}", cases.name(index));
                compared += 1;
            }
        }
    }
    assert!(compared > 450, "only {compared} cases were compared");
}
