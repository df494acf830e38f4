//! `shakedown explain --failing`

use std::io::IsTerminal;

use indicatif::ProgressBar;
use shakedown_cri::quirks::Profile;

use super::output::{BAD, BOLD, DIM, Failure as Ended, Output};
use super::select::{self, Selection};
use crate::explore::{Attempts, Broken, Inevitable, Prefix, Symptom, inevitable, plan};
use crate::report::{describe, plain};
use crate::scenario::Scenario;
use crate::suite::{ExitCode, Names};

/// Tells when the failure of a case became inevitable.
///
/// # Errors
/// When nothing breaks, or not what was asked for.
pub fn explain(
    selected: &[Vec<Selection<'_>>],
    profile: &'static Profile,
    invariant: Option<Broken>,
    samples: u32,
    output: &mut Output,
) -> Result<(), Ended> {
    let (cases, index) = select::one(selected, "--case")?;
    let scenario = cases.case(index).scenario;
    let attempts = Attempts::new(profile);
    let usage = |message| Ended::new(ExitCode::Usage, message);
    let plan = plan(&scenario).ok_or_else(|| usage("the case cannot be run".to_owned()))?;
    let symptoms = attempts.symptoms(&plan).0;
    let is_wanted = |symptom: &&Symptom| invariant.is_none_or(|broken| broken == symptom.broken);
    let Some(symptom) = symptoms.iter().find(is_wanted) else {
        let broken: Vec<String> = symptoms.iter().map(|s| s.broken.to_string()).collect();
        let broken = if broken.is_empty() { "nothing".to_owned() } else { broken.join(" ") };
        return Err(usage(format!("{broken} breaks in {} as {}", cases.name(index), profile.name)));
    };
    let bar =
        if std::io::stderr().is_terminal() { ProgressBar::new(1) } else { ProgressBar::hidden() };
    let tell = |done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    };
    let found = inevitable(&attempts, &scenario, symptom, samples, tell)
        .map_err(|why| Ended::new(ExitCode::Software, why))?;
    bar.finish_and_clear();
    let what = Names::new(&plan).text(&symptom.what);
    output.line(format_args!("{BAD}{}{BAD:#} {}", symptom.broken, plain(&what)))?;
    output.line(format_args!(
        "\n{BOLD}How often it fails when a run goes on at random after the moment{BOLD:#}  {DIM}{samples} \
         runs each, no more faults, any order{DIM:#}"
    ))?;
    chart(&found, output)?;
    verdict(&found, output)?;
    decisions(&found, &scenario, output)
}

/// A line for each prefix at which something changes.
fn chart(found: &Inevitable, output: &mut Output) -> Result<(), Ended> {
    let steepest = found.steepest();
    let mut shown: Option<u32> = None;
    let mut left_out = 0;
    for (at, prefix) in found.prefixes.iter().enumerate() {
        let is_last = at + 1 == found.prefixes.len();
        // Less than a tenth is the dice's doing.
        let differs =
            shown.is_none_or(|shown| shown.abs_diff(prefix.failing) * 10 >= found.samples);
        if !differs && !is_last && steepest != Some(at) && prefix.taken.is_empty() {
            left_out += 1;
            continue;
        }
        if left_out > 0 {
            output.line(format_args!("  {DIM}{:>4}  … {left_out} more{DIM:#}", ""))?;
        }
        left_out = 0;
        shown = Some(prefix.failing);
        let mark = if steepest == Some(at) { "  <- steepest" } else { "" };
        output.line(format_args!(
            "  {at:>4}  {} {:>3} %  {}{BAD}{mark}{BAD:#}",
            bar(prefix.failing, found.samples),
            percent(prefix.failing, found.samples),
            name(prefix)
        ))?;
        for taken in &prefix.taken {
            output.line(format_args!(
                "  {:>4}  {:>17}{DIM}decided: {}{DIM:#}",
                "",
                "",
                plain(taken)
            ))?;
        }
    }
    Ok(())
}

fn verdict(found: &Inevitable, output: &mut Output) -> Result<(), Ended> {
    let Some(at) = found.steepest() else {
        return output.line(format_args!(
            "\nThe share does not rise: what breaks does so however the run goes on."
        ));
    };
    let of = |at: usize| percent(found.prefixes[at].failing, found.samples);
    output.line(format_args!(
        "\nIt was decided most with {}: {} % of the runs fail that go on before it, {} % after it.",
        name(&found.prefixes[at]),
        of(at - 1),
        of(at)
    ))
}

fn decisions(found: &Inevitable, scenario: &Scenario, output: &mut Output) -> Result<(), Ended> {
    if found.decisions.is_empty() {
        return Ok(());
    }
    output.line(format_args!("\n{BOLD}Whether it needs the decisions of the file{BOLD:#}"))?;
    for decision in &found.decisions {
        let index = decision.index;
        let what = match decision.table {
            "fault" => {
                let fault = &scenario.faults[index];
                format!("{}: {}", fault.at, describe::fault(fault))
            }
            "hold" => {
                let hold = &scenario.holds[index];
                format!("{} held {}", hold.what, describe::hold(hold))
            }
            _ => {
                let crash = &scenario.crashes[index];
                format!("{}: {}", describe::when(&crash.when), describe::crash(crash))
            }
        };
        let needed = if decision.is_needed { "needed    " } else { "not needed" };
        output.line(format_args!("  {needed}  {:<5}  {}", decision.table, plain(&what)))?;
    }
    Ok(())
}

fn name(prefix: &Prefix) -> String {
    prefix.moment.map_or_else(|| "the beginning".to_owned(), |moment| moment.to_string())
}

fn percent(failing: u32, samples: u32) -> u32 {
    failing * 100 / samples.max(1)
}

/// Ten characters.
fn bar(failing: u32, samples: u32) -> String {
    let full = (failing * 10 / samples.max(1)) as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(10 - full))
}
