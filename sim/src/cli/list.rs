//! `shakedown list`

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shakedown_cri::quirks::Profile;

use super::output::{BAD, DIM, Failure, Output};
use super::run::Format;
use super::select::{self, Corpus, Loaded, Picked, Selection};
use crate::report::plain;
use crate::report::summary::counted;
use crate::scenario::{Cause, ExpectedViolation};
use crate::suite::{ExitCode, Runner};

const EXAMPLES: &str = "\
Examples:
  shakedown list                                every scenario below scenarios/
  shakedown list --tag smoke --profile 1.7.24   some of them, with what is known to break in that version
  shakedown list --format json                  for machines

The cases of a sweep depend on the version, as what it does is what is swept over.";

/// Lists scenarios with their cases, tags and known violations.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    corpus: Corpus,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let Loaded { sources, mut wrong } = args.corpus.read()?;
    let runner = Runner::new();
    let (profiles, pattern) = (args.corpus.profiles(), args.corpus.case.as_deref());
    let Picked { selected, wrong: more, unmatched } =
        select::pick(&runner, &sources, &profiles, pattern);
    wrong.extend(more);
    if let Some(failure) = unmatched {
        return Err(failure);
    }
    match args.format {
        Format::Json => {
            let scenarios: Vec<Value> = selected.iter().map(|of| document(of)).collect();
            let document = json!({ "shakedown-list": 1, "scenarios": scenarios });
            output.line(format_args!("{document:#}"))?;
        }
        Format::Text => {
            for of_source in &selected {
                for selection in of_source {
                    row(selection, of_source.len() > 1, output)?;
                }
            }
            let cases: usize = selected.iter().flatten().map(|of| of.indices.len()).sum();
            let (scenarios, cases) = (counted(selected.len(), "scenario"), counted(cases, "case"));
            output.line(format_args!("\n{scenarios}, {cases}"))?;
        }
    }
    output.flush()?;
    select::refuse_wrong(wrong, "; it is not listed")?;
    Ok(ExitCode::Passed)
}

/// The entries about what is known to break in a profile.
fn known<'s>(selection: &'s Selection<'_>) -> impl Iterator<Item = &'s ExpectedViolation> {
    let Selection { cases, .. } = selection;
    let (violations, profile): (_, &Profile) = (&cases.source.scenario.violations, cases.profile);
    violations.iter().filter(move |entry| entry.is_about(profile))
}

fn row(selection: &Selection<'_>, name_profile: bool, output: &mut Output) -> Result<(), Failure> {
    let source = selection.cases.source;
    let count = selection.indices.len();
    let cases = counted(count, "case");
    let profile =
        if name_profile { format!(" as {}", selection.cases.profile.name) } else { String::new() };
    let invariants: BTreeSet<u32> =
        known(selection).filter_map(|entry| entry.invariant[1..].parse().ok()).collect();
    let mut more = String::new();
    if !invariants.is_empty() {
        let ids: Vec<String> = invariants.iter().map(|id| format!("I{id}")).collect();
        more.push_str(&format!("  violates {}", ids.join(" ")));
    }
    if !source.scenario.tags.is_empty() {
        more.push_str(&format!("  [{}]", source.scenario.tags.join(", ")));
    }
    output.line(format_args!(
        "{} ({cases}{profile}){more}\n    {DIM}{}{DIM:#}",
        source.label,
        plain(&source.scenario.title)
    ))?;
    for reason in selection.cases.stale.iter().filter(|_| selection.whole) {
        output.line(format_args!("    {BAD}wrong{BAD:#}: {}", plain(&reason.what)))?;
        if let Some(help) = &reason.help {
            output.line(format_args!("    {DIM}{}{DIM:#}", plain(help)))?;
        }
    }
    Ok(())
}

fn document(of_source: &[Selection<'_>]) -> Value {
    let source = of_source[0].cases.source;
    let profiles = of_source.iter().map(|selection| {
        let violations = known(selection).map(|entry| {
            let cause = match &entry.cause {
                Cause::Quirk(quirk) => quirk,
                Cause::Forced => "forced",
            };
            json!({ "invariant": entry.invariant, "cause": cause, "because": entry.because })
        });
        json!({
            "profile": selection.cases.profile.name,
            "cases": selection.indices.iter().map(|i| selection.cases.name(*i)).collect::<Vec<_>>(),
            "violations": violations.collect::<Vec<_>>(),
        })
    });
    json!({
        "scenario": source.label,
        "file": source.file,
        "title": source.scenario.title,
        "tags": source.scenario.tags,
        "profiles": profiles.collect::<Vec<_>>(),
    })
}
