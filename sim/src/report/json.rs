//! Reports as JSON.

use std::fmt::Write;

use super::facts::{NotRun, Report};
use super::verdicts::{Counts, Entry};

/// One line, keys in a fixed order.
pub fn json(report: &Report) -> String {
    serde_json::to_string(report).expect("a report holds nothing that JSON cannot say")
}

/// How the document of several reports begins; a comma and a new line stand between them.
pub const HEAD: &str = "{\"shakedown-run\":1,\"cases\":[";

/// How it ends: what has no report, and the counts.
pub fn tail(entries: &[Entry], without_report: &[Entry]) -> String {
    let mut text = String::from("\n],\"not-run\":[");
    for (number, entry) in without_report.iter().enumerate() {
        let separator = if number == 0 { "\n" } else { ",\n" };
        let entry = serde_json::to_string(&NotRun::new(entry)).expect("it holds only texts");
        let _ = write!(text, "{separator}{entry}");
    }
    let Counts { passed, failed, .. } = Counts::of(entries);
    let _ = write!(text, "\n],\"passed\":{passed},\"failed\":{failed}}}");
    text
}
