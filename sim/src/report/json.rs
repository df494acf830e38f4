//! The report as JSON.

use super::facts::Report;

/// One line, keys in a fixed order.
pub fn json(report: &Report) -> String {
    serde_json::to_string(report).expect("a report holds nothing that JSON cannot say")
}
