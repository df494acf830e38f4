//! `shakedown sites`

use serde::Serialize;
use shakedown_cri::quirks::Profile;

use super::ledger;
use super::output::{BOLD, DIM, Failure, Output, show_diagnostics};
use super::run::Format;
use super::select::{Corpus, Selection};
use crate::oracle::{Fault, Menus};
use crate::suite::{ExitCode, Goal, Hits, Ledger, RunFailure, Runner, Strike, never_made};
use crate::turnstile::{Op, Stage};

const EXPLANATION: &str = "\
A site is ACTOR/OPERATION(SUBJECT)#N: the N-th such call of the actor on the subject, from 1. Its
moments are the site with `.effect`, `.reply` or `.abandon`, or the site alone. The sites of a run
are in `shakedown replay FILE --case NAME`.";

/// Lists every operation that can be disturbed, and how often the scenarios did that.
///
/// The scenarios are run, and each fault that applied is counted. A combination of operation, kind and
/// effect that is not listed is impossible: a scenario that has it is refused, with the reason. So is how
/// many of the goals were reached: situations in which defects hide.
#[derive(clap::Args)]
#[command(after_help = EXPLANATION)]
pub struct Args {
    #[command(flatten)]
    corpus: Corpus,
    /// Only list, and run nothing.
    #[arg(long, conflicts_with_all = ["paths", "profile", "case", "tag", "require_hit", "ledger"])]
    list: bool,
    /// Fail, with exit code 1, if anything that is possible was never hit, or a goal never reached.
    #[arg(long)]
    require_hit: bool,
    #[command(flatten)]
    ledger: ledger::LedgerArgs,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// An operation as it is listed.
#[derive(Serialize)]
struct Row {
    operation: &'static str,
    layer: &'static str,
    what: &'static str,
    /// What its sites' names end in; an empty text: the site alone.
    moments: Vec<&'static str>,
    faults: Vec<Kind>,
}

/// A kind of fault at one operation.
#[derive(Serialize, PartialEq)]
struct Kind {
    kind: &'static str,
    /// For errors.
    codes: Vec<&'static str>,
    effects: Vec<EffectRow>,
}

#[derive(Serialize, PartialEq)]
struct EffectRow {
    effect: &'static str,
    /// No real node does this here.
    forced: bool,
    /// How often a run hit it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hits: Option<u64>,
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let menus = Menus::new();
    let profiles = args.corpus.profiles();
    let (hits, ledger) =
        if args.list { (None, None) } else { count(args).map(|(h, l)| (Some(h), Some(l)))? };
    let hits_of = |op: Op| hits.as_ref().filter(|_| never_made(op, &profiles).is_none());
    let rows: Vec<Row> = Op::ALL.iter().map(|op| row(*op, &menus, hits_of(*op))).collect();
    match args.format {
        Format::Json => {
            output.line(format_args!("{{\"shakedown-sites\":1,\"operations\":["))?;
            for (i, row) in rows.iter().enumerate() {
                let row = serde_json::to_string(row).expect("a row holds only texts and lists");
                let comma = if i + 1 < rows.len() { "," } else { "" };
                output.line(format_args!("{row}{comma}"))?;
            }
            let goals = ledger.as_ref().map_or_else(String::new, |ledger| {
                let goals = serde_json::to_string(&ledger.goals);
                format!(",\"goals\":{}", goals.expect("names and numbers"))
            });
            output.line(format_args!("]{goals}}}"))?;
        }
        Format::Text => {
            text(&rows, output)?;
            if let Some(ledger) = &ledger {
                summary(&rows, &profiles, output)?;
                ledger::show_goals(ledger, &profiles, output)?;
            } else {
                output.line(format_args!("\n{BOLD}goals{BOLD:#}"))?;
                for goal in Goal::ALL {
                    output.line(format_args!("  {:27}{}", goal.name(), goal.what()))?;
                }
            }
        }
    }
    if let Some(ledger) = &ledger {
        args.ledger.add(ledger)?;
    }
    let never_reached = ledger.is_some_and(|ledger| !ledger.missed(&profiles).is_empty());
    let missed = args.require_hit && (never_reached || never_hit(&rows).next().is_some());
    Ok(if missed { ExitCode::Failed } else { ExitCode::Passed })
}

/// Runs the scenarios and counts what they cover.
fn count(args: &Args) -> Result<(Hits, Ledger), Failure> {
    let sources = args.corpus.sources()?;
    let runner = Runner::new();
    let selected = args.corpus.select(&runner, &sources)?;
    let (mut hits, mut ledger) = (Hits::default(), Ledger::default());
    for Selection { cases, indices, .. } in selected.iter().flatten() {
        for index in indices {
            match cases.run(*index, false) {
                Ok(ran) => {
                    hits.add(&ran);
                    ledger.add(&ran.plan, &ran.outcome);
                }
                Err(RunFailure::Wrong(diagnostics)) => {
                    show_diagnostics(&diagnostics, &cases.source.text);
                    return Err(Failure::new(ExitCode::Data, "a scenario file is wrong"));
                }
                Err(RunFailure::Broken(message)) => {
                    return Err(Failure::new(ExitCode::Software, message));
                }
            }
        }
    }
    Ok((hits, ledger))
}

fn row(op: Op, menus: &Menus, hits: Option<&Hits>) -> Row {
    let moments = match (op.is_single(), op.can_abandon()) {
        (true, false) => vec![Stage::Only],
        (true, true) => vec![Stage::Only, Stage::Abandon],
        (false, false) => vec![Stage::Effect, Stage::Reply],
        (false, true) => vec![Stage::Effect, Stage::Reply, Stage::Abandon],
    };
    Row {
        operation: op.name(),
        layer: op.layer().name(),
        what: op.what(),
        moments: moments.into_iter().map(Stage::suffix).collect(),
        faults: kinds(op, menus, hits),
    }
}

/// The operation's menu, by kind.
fn kinds(op: Op, menus: &Menus, hits: Option<&Hits>) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    for fault in menus.of(op) {
        let index = kinds.iter().position(|k| k.kind == fault.kind()).unwrap_or_else(|| {
            kinds.push(Kind { kind: fault.kind(), codes: Vec::new(), effects: Vec::new() });
            kinds.len() - 1
        });
        let kind = &mut kinds[index];
        if let Fault::Error { cause, .. } = fault
            && !kind.codes.contains(&cause.name())
        {
            kind.codes.push(cause.name());
        }
        let strike = Strike::of(fault);
        if !kind.effects.iter().any(|known| known.effect == strike.effect) {
            kind.effects.push(EffectRow {
                effect: strike.effect,
                forced: fault.is_forced(op),
                hits: hits.map(|hits| hits.of(op, strike)),
            });
        }
    }
    kinds
}

/// What of the rows is possible and was never hit: operation, kind and effect.
fn never_hit(rows: &[Row]) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    rows.iter().flat_map(|row| {
        row.faults.iter().flat_map(|kind| {
            let missed = kind.effects.iter().filter(|effect| effect.hits == Some(0));
            missed.map(|effect| (row.operation, kind.kind, effect.effect))
        })
    })
}

fn summary(rows: &[Row], profiles: &[&Profile], output: &mut Output) -> Result<(), Failure> {
    let kinds = rows.iter().flat_map(|row| &row.faults);
    let possible = kinds.flat_map(|kind| &kind.effects).filter(|of| of.hits.is_some()).count();
    let missed: Vec<_> = never_hit(rows).collect();
    let hit = possible - missed.len();
    output.line(format_args!("\n{hit} of {possible} combinations were hit"))?;
    for op in Op::ALL {
        if let Some(why) = never_made(*op, profiles) {
            output.line(format_args!("  left out: {}, as {why}", op.name()))?;
        }
    }
    for (operation, kind, effect) in missed {
        output.line(format_args!("  never hit: {operation} {kind} {effect}"))?;
    }
    Ok(())
}

fn text(rows: &[Row], output: &mut Output) -> Result<(), Failure> {
    let classes: Vec<&str> = shakedown_cri::ports::Code::ALL.iter().map(|c| c.name()).collect();
    let faults = |row: &Row| {
        let kinds: Vec<String> = row.faults.iter().map(|kind| kind_text(kind, &classes)).collect();
        kinds.join(", ")
    };
    for (number, layer) in rows.chunk_by(|a, b| a.layer == b.layer).enumerate() {
        let space = if number == 0 { "" } else { "\n" };
        output.line(format_args!("{space}{BOLD}{}{BOLD:#}", layer[0].layer))?;
        let shared = faults(&layer[0]);
        let is_shared = layer.len() > 1 && layer.iter().all(|row| faults(row) == shared);
        if is_shared && !shared.is_empty() {
            output.line(format_args!("  each: {shared}"))?;
        }
        for row in layer {
            let moments = row.moments.iter().map(|m| if m.is_empty() { "the site" } else { m });
            let moments = moments.collect::<Vec<_>>().join(" ");
            let (operation, what) = (row.operation, row.what);
            output.line(format_args!("  {operation:18}{what}  {DIM}{moments}{DIM:#}"))?;
            let own = faults(row);
            if !is_shared && !own.is_empty() {
                output.line(format_args!("  {:18}  {own}", ""))?;
            }
        }
    }
    output.line(format_args!("\n{BOLD}faults{BOLD:#}"))?;
    for line in [
        format!("CLASS              {}", classes.join(", ")),
        "delay              of the effect, of the reply".to_owned(),
        "(none done late)   whether the call did its work: no; yes; that much later".to_owned(),
        "hang               ends with the caller's context; where that has no end it is `hang!`"
            .to_owned(),
        "hang!              ends never".to_owned(),
        "cancel, deadline   the client gives up while it is awaited".to_owned(),
        "*                  forced: no real node does this here".to_owned(),
    ] {
        output.line(format_args!("  {line}"))?;
    }
    Ok(())
}

fn kind_text(kind: &Kind, classes: &[&str]) -> String {
    let mut text = kind.kind.to_owned();
    if kind.codes == classes {
        text.push_str(" CLASS");
    } else if !kind.codes.is_empty() {
        text = format!("{text} {}", kind.codes.join("|"));
    }
    let effects = kind.effects.iter();
    let effects: Vec<String> = effects.map(effect_text).filter(|text| !text.is_empty()).collect();
    if !effects.is_empty() {
        text = format!("{text} ({})", effects.join(" "));
    }
    text
}

/// `late*`, `late* 3`
fn effect_text(of: &EffectRow) -> String {
    let forced = if of.forced { "*" } else { "" };
    let hits = of.hits.map_or_else(String::new, |hits| hits.to_string());
    format!("{}{forced} {hits}", of.effect).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turnstile::Layer;

    #[test]
    fn operations_of_a_layer_stand_together() {
        let mut layers: Vec<Layer> = Op::ALL.iter().map(|op| op.layer()).collect();
        layers.dedup();
        let count = layers.len();
        layers.sort_unstable();
        layers.dedup();
        assert_eq!(layers.len(), count);
    }
}
