//! Ends the process when a run does not come back: code under test that loops without an await
//! cannot be interrupted from inside its thread.

#![expect(
    clippy::disallowed_methods,
    reason = "a watchdog needs a thread and real time; no run sees either"
)]

use std::collections::BTreeMap;
use std::process;
use std::sync::Once;
use std::thread;
use std::time::Duration;

use super::{ExitCode, runs_under_way};

/// Real time that one run may take. The longest runs of the corpus take milliseconds, and the budget
/// of moments ends a run that awaits anything within seconds.
const LIMIT_SECONDS: u32 = 120;

/// Watches from a thread of its own, as long as the process lives. There is one in a process.
pub fn start() {
    static WATCHES: Once = Once::new();
    WATCHES.call_once(|| {
        thread::spawn(watch);
    });
}

fn watch() {
    let mut seconds: BTreeMap<u64, u32> = BTreeMap::new();
    loop {
        thread::sleep(Duration::from_secs(1));
        let runs = runs_under_way();
        seconds.retain(|number, _| runs.iter().any(|(run, _)| run == number));
        for (number, case) in runs {
            let lasted = seconds.entry(number).or_default();
            *lasted += 1;
            if *lasted > LIMIT_SECONDS {
                eprintln!(
                    "error: {case} has not come back for {LIMIT_SECONDS} s of real time: the code under \
                     test loops without awaiting anything"
                );
                process::exit(ExitCode::Liveness as i32);
            }
        }
    }
}
