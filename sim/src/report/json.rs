//! Reports as JSON.

use std::fmt::Write;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

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

/// What `shakedown run --format json` prints.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "the document is written piece by piece, as its cases are run")]
struct Document {
    /// The version of this form. A change that a reader must know of makes it another; new keys do not.
    #[schemars(rename = "shakedown-run")]
    version: u32,
    /// A report of each case that was run.
    cases: Vec<Report>,
    /// Files and cases that were judged without a run, or could not be.
    not_run: Vec<NotRun>,
    /// How many entries of the two lists passed.
    passed: usize,
    /// How many did not.
    failed: usize,
}

/// The JSON Schema of the document, as it is kept in the repository.
pub fn schema() -> String {
    let schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Document>();
    format!("{:#}\n", schema.as_value())
}
