//! `shakedown sites`

use serde::Serialize;

use super::output::{BOLD, DIM, Failure, Output};
use super::run::Format;
use crate::oracle::{Effect, Fault, Menus};
use crate::suite::ExitCode;
use crate::turnstile::{Op, Stage};

const EXPLANATION: &str = "\
A site is ACTOR/OPERATION(SUBJECT)#N: the N-th such call of the actor on the subject, from 1. Its
moments are the site with `.effect`, `.reply` or `.abandon`, or the site alone. The sites of a run
are in `shakedown run FILE --case NAME --timeline`.";

/// Lists every operation that can be disturbed: its moments and its kinds of fault.
#[derive(clap::Args)]
#[command(after_help = EXPLANATION)]
pub struct Args {
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
}

pub fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let menus = Menus::new();
    let rows: Vec<Row> = Op::ALL.iter().map(|op| row(*op, &menus)).collect();
    match args.format {
        Format::Json => {
            output.line(format_args!("{{\"shakedown-sites\":1,\"operations\":["))?;
            for (i, row) in rows.iter().enumerate() {
                let row = serde_json::to_string(row).expect("a row holds only texts and lists");
                let comma = if i + 1 < rows.len() { "," } else { "" };
                output.line(format_args!("{row}{comma}"))?;
            }
            output.line(format_args!("]}}"))?;
        }
        Format::Text => text(&rows, output)?,
    }
    Ok(ExitCode::Passed)
}

fn row(op: Op, menus: &Menus) -> Row {
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
        faults: kinds(op, menus),
    }
}

/// The operation's menu, by kind.
fn kinds(op: Op, menus: &Menus) -> Vec<Kind> {
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
        let effect = match fault.effect() {
            Effect::None => "none",
            Effect::Done => "done",
            Effect::Late(_) => "late",
        };
        let effect = EffectRow { effect, forced: fault.is_forced(op) };
        // What only delays or cuts short always has its effect.
        let has_effects = !matches!(fault, Fault::Delay { .. } | Fault::ShortWrite | Fault::Lost);
        if has_effects && !kind.effects.contains(&effect) {
            kind.effects.push(effect);
        }
    }
    kinds
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
        "(none done late)   whether the call did its work: no; yes; that much later".to_owned(),
        "hang               ends with the caller's context".to_owned(),
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
    let effects: Vec<String> =
        effects.map(|e| format!("{}{}", e.effect, if e.forced { "*" } else { "" })).collect();
    if !effects.is_empty() {
        text = format!("{text} ({})", effects.join(" "));
    }
    text
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
