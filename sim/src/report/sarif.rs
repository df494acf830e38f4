//! Verdicts as SARIF 2.1.0, for those who show them beside the lines of a file.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::plain;
use super::verdicts::{Counts, Entry, Place, Problem, Verdicts};
use crate::invariants;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Names of cases that a result lists.
const CASES_MAX: usize = 10;

/// One result for each thing that is wrong; the same in several cases is one.
pub fn sarif(verdicts: &Verdicts) -> String {
    let failures = verdicts.failures();
    let results: Vec<Value> = failures
        .iter()
        .flat_map(|group| group[0].problems.iter().map(|p| result(group, p)))
        .collect();
    let mut rules = BTreeMap::new();
    for problem in failures.iter().flat_map(|group| &group[0].problems) {
        rules.entry(problem.rule()).or_insert_with(|| rule(problem));
    }
    let Counts { passed, failed, errors } = verdicts.counts();
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "shakedown",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.into_values().collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": errors == 0,
                "exitCode": verdicts.exit_code() as u8,
            }],
            "results": results,
            "properties": { "passed": passed, "failed": failed },
        }],
    });
    format!("{document:#}\n")
}

fn rule(problem: &Problem) -> Value {
    let id = problem.rule();
    let known = invariants::all().into_iter().find(|known| Some(known.id()) == problem.invariant);
    let what = match (known, problem.kind) {
        (Some(invariant), _) => format!("Invariant {id}: {}", invariant.name().replace('-', " ")),
        (None, "malformed") => "A scenario file is wrong".to_owned(),
        (None, "harness") => "The harness broke an assumption of its own".to_owned(),
        (None, other) => format!("A case failed: {}", other.replace('-', " ")),
    };
    json!({ "id": id, "shortDescription": { "text": what } })
}

fn result(group: &[&Entry], problem: &Problem) -> Value {
    let mut text = plain(&problem.message);
    for line in problem.details() {
        let _ = write!(text, "\n{}", plain(&line));
    }
    let first = group[0];
    let names: Vec<&str> = group.iter().take(CASES_MAX).map(|entry| &*entry.case).collect();
    let more = match group.len() - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let profile = match &*first.profile {
        "" => String::new(),
        profile => format!(" as {profile}"),
    };
    let _ = write!(text, "\nin {}{more}{profile}", plain(&names.join(", ")));
    let rule = problem.rule();
    let known_by = [&*first.label, &*first.profile, &*rule, &*problem.message].join("\0");
    let mut result = json!({
        "ruleId": rule,
        "level": "error",
        "message": { "text": text },
        "occurrenceCount": group.len(),
        "properties": { "cases": group.len(), "profile": first.profile, "file": first.file },
        "partialFingerprints": {
            "shakedown/v1": format!("{:016x}", xxh3_64(known_by.as_bytes())),
        },
    });
    if let Some(place) = &problem.place {
        result["locations"] = json!([{ "physicalLocation": location(place) }]);
    }
    result
}

fn location(place: &Place) -> Value {
    json!({
        "artifactLocation": { "uri": uri(&place.file) },
        "region": { "startLine": place.line, "startColumn": place.column },
    })
}

/// A path as a reference: relative ones as they are.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            _ => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}
