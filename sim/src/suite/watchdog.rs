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
    let mut watch = Watch::default();
    loop {
        thread::sleep(Duration::from_secs(1));
        if let Some(case) = watch.second(runs_under_way()) {
            eprintln!(
                "error: {case} has not come back for {LIMIT_SECONDS} s of real time: the code under \
                 test loops without awaiting anything"
            );
            process::exit(ExitCode::Liveness as i32);
        }
    }
}

/// For how many seconds each run has been seen, by its number.
#[derive(Default)]
struct Watch(BTreeMap<u64, u32>);

impl Watch {
    /// Notes the runs that are under way after one more second. Returns the case of one that takes too long.
    fn second(&mut self, runs: Vec<(u64, String)>) -> Option<String> {
        self.0.retain(|number, _| runs.iter().any(|(run, _)| run == number));
        runs.into_iter().find_map(|(number, case)| {
            let lasted = self.0.entry(number).or_default();
            *lasted += 1;
            (*lasted > LIMIT_SECONDS).then_some(case)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_does_not_come_back_is_told_and_many_that_do_are_not() {
        let mut watch = Watch::default();
        let endless = || (1, "endless".to_owned());
        for second in 0..u64::from(LIMIT_SECONDS) {
            assert_eq!(watch.second(vec![endless(), (2 + second, "brief".to_owned())]), None);
        }
        assert_eq!(watch.second(vec![endless()]), Some("endless".to_owned()));
        assert_eq!(watch.second(vec![]), None);
        assert_eq!(watch.second(vec![endless()]), None, "it begins anew");
    }
}
