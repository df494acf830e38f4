//! What happens and what goes wrong: `[[occurrence]]`, `[[fault]]`, `[[hold]]` and `[[crash]]`.

use std::time::Duration;

use super::super::decode::{Names, Table};
use super::super::model::*;
use super::super::words::{EffectWord, FaultWord, HappeningWord, Word};
use super::super::{defaults, limits};
use super::Parser;
use super::text::Wants;

impl<'t> Parser<'t, '_> {
    pub(super) fn occurrences(&self, tables: Vec<Table<'t, '_>>) -> Vec<Occurrence> {
        tables.into_iter().filter_map(|table| self.occurrence(table)).collect()
    }

    fn occurrence(&self, mut table: Table<'t, '_>) -> Option<Occurrence> {
        table.require("what");
        let word: HappeningWord = table.word("what")?;
        table.what = match word {
            HappeningWord::Exit => "an occurrence `exit`",
            HappeningWord::Oom => "an occurrence `oom`",
            HappeningWord::RotateLog => "an occurrence `rotate-log`",
            HappeningWord::ShimExit => "an occurrence `shim-exit`",
        };
        let container = |key| self.required_reference(&table, key, &self.containers);
        let what = match word {
            HappeningWord::Exit => {
                let code = self.bounded(&table, "exit-code", 0, 255).unwrap_or(0);
                let of_sandbox = table.string("sandbox");
                let of = match of_sandbox {
                    Some(sandbox) => {
                        if let Some(value) = table.get("container") {
                            let message = "`container` and `sandbox` exclude one another";
                            self.sink.error(value.span(), message);
                        }
                        self.known(&sandbox, "sandbox", &self.sandboxes);
                        Victim::Sandbox(sandbox.text)
                    }
                    None if table.get("sandbox").is_some() => Victim::Sandbox(String::new()),
                    None => Victim::Container(container("container")),
                };
                Happening::Exit { of, code: i32::try_from(code).unwrap_or(0) }
            }
            HappeningWord::Oom => Happening::Oom { container: container("container") },
            HappeningWord::RotateLog => Happening::RotateLog { container: container("container") },
            HappeningWord::ShimExit => Happening::ShimExit {
                sandbox: self.required_reference(&table, "sandbox", &self.sandboxes),
            },
        };
        let when = self.when(&table, "at", "when").unwrap_or(When::At(Duration::ZERO));
        let span = Span(table.span.clone());
        table.finish();
        Some(Occurrence { span, what, when })
    }

    pub(super) fn faults(&self, tables: Vec<Table<'t, '_>>) -> Vec<Fault> {
        let mut names = Names::new(self.sink, "fault");
        tables.into_iter().filter_map(|table| self.fault(table, &mut names)).collect()
    }

    fn fault(&self, mut table: Table<'t, '_>, names: &mut Names<'t>) -> Option<Fault> {
        let at_span = table.get("at").map_or(table.span.clone(), |at| at.span());
        let at = self.required_text(&table, "at", Wants::Site);
        let kind = self.required_text(&table, "kind", Wants::FaultKind);
        let kinds: Vec<FaultWord> = self.words_of(&kind);
        let any = |of: fn(FaultWord) -> bool| kinds.iter().any(|kind| of(*kind));
        table.what = match *kinds.as_slice() {
            [] => return None,
            [FaultWord::Error] => "a fault of kind `error`",
            [FaultWord::Delay] => "a fault of kind `delay`",
            [FaultWord::Hang] => "a fault of kind `hang`",
            [FaultWord::HangForever] => "a fault of kind `hang!`",
            [FaultWord::Cancel] => "a fault of kind `cancel`",
            [FaultWord::Deadline] => "a fault of kind `deadline`",
            [FaultWord::ShortWrite] => "a fault of kind `short-write`",
            [FaultWord::ConnectionClosed] => "a fault of kind `connection-closed`",
            [FaultWord::Lost] => "a fault of kind `lost`",
            _ => "a fault of these kinds",
        };
        let mut keys = FaultKeys {
            kind,
            code: Text::new(),
            message: None,
            effect: EffectWord::None.word().to_owned(),
            late: None,
            by: None,
            of: DelayOf::Effect,
        };
        let mut code_span = table.span.clone();
        if any(|kind| kind == FaultWord::Error) {
            code_span = table.get("code").map_or(code_span, |code| code.span());
            keys.code = self.required_text(&table, "code", Wants::FaultCode);
            keys.message = self.text_of(&table, "message", Wants::Message);
        }
        if any(|kind| kind == FaultWord::Delay) {
            table.require("by");
            keys.by = table.duration("by");
            keys.of = table.word("of").unwrap_or(DelayOf::Effect);
        }
        if any(FaultWord::has_effect) {
            self.effect(&table, &mut keys, any(FaultWord::can_be_late));
        }
        let of = match keys.of {
            DelayOf::Reply => " of reply",
            DelayOf::Effect => "",
        };
        names.add(&format!("{}{of} at {at}", keys.kind), table.span.clone());
        let span = Span(table.span.clone());
        table.finish();
        let kind = keys.resolve().unwrap_or_else(|| FaultKind::Swept(Box::new(keys)));
        Some(Fault { span, at, at_span: Span(at_span), code_span: Span(code_span), kind })
    }

    fn effect(&self, table: &Table<'t, '_>, keys: &mut FaultKeys, can_be_late: bool) {
        if let Some(string) = table.string("effect") {
            let span = string.span.clone();
            keys.effect = self.text(string, Wants::Effect);
            let is_late = self.words_of(&keys.effect).contains(&EffectWord::Late);
            if is_late && !can_be_late {
                let message = format!("{} has no late effect", table.what);
                self.sink.error_with(span, message, |diagnostic| {
                    diagnostic.note("valid here: `none`, `done`")
                });
            } else if is_late && table.get("late").is_none() {
                let message = "an effect that is late needs `late`, by how much";
                self.sink.error(table.span.clone(), message);
            }
        }
        if self.words_of(&keys.effect).contains(&EffectWord::Late) {
            keys.late = table.duration("late");
        } else {
            self.only_with(table, "late", "effect = \"late\"");
        }
    }

    pub(super) fn crashes(&self, tables: Vec<Table<'t, '_>>) -> Vec<Crash> {
        tables.into_iter().filter_map(|table| self.crash(table)).collect()
    }

    fn crash(&self, table: Table<'t, '_>) -> Option<Crash> {
        let when = self.when(&table, "at", "when");
        if when.is_none() && table.get("at").is_none() && table.get("when").is_none() {
            self.sink.error(table.span.clone(), "a crash needs `at` or `when`");
        }
        let kind = table.word("kind").unwrap_or(CrashKind::Daemon);
        let down = table.duration("down");
        let restart = table.boolean("restart").unwrap_or(true);
        if let (false, Some(value)) = (restart, table.get("down")) {
            let message = "a daemon that is not started again has no `down`";
            self.sink.error(value.span(), message);
        }
        let [lost, torn] = ["lost", "torn"].map(|key| {
            if kind != CrashKind::Power {
                self.only_with(&table, key, "kind = \"power\"");
            }
            self.pending(&table, key)
        });
        let span = Span(table.span.clone());
        table.finish();
        let down = restart.then(|| down.unwrap_or(defaults::CRASH_DOWN));
        Some(Crash { span, when: when?, kind, down, lost, torn })
    }

    /// A list of different pending operations.
    fn pending(&self, table: &Table<'t, '_>, key: &'static str) -> Vec<Text> {
        let list = table
            .get(key)
            .and_then(|value| value.strings(limits::LIST_MAX, limits::SITE_BYTES_MAX));
        let mut names = Names::new(self.sink, "operation");
        let list = list.unwrap_or_default().into_iter();
        list.map(|string| {
            names.add(&string.text, string.span.clone());
            let wants = if key == "lost" { Wants::Lost } else { Wants::Torn };
            self.text(string, wants)
        })
        .collect()
    }

    pub(super) fn holds(&self, tables: Vec<Table<'t, '_>>) -> Vec<Hold> {
        let mut names = Names::new(self.sink, "hold of");
        tables
            .into_iter()
            .map(|table| {
                let what = self.required_text(&table, "what", Wants::Moment);
                let until = self.required_text(&table, "until", Wants::Moment);
                let across_time = table.boolean("across-time").unwrap_or(false);
                if !what.is_empty() {
                    names.add(&what, table.span.clone());
                    if what == until {
                        let message = "a moment cannot be held until itself";
                        self.sink.error(table.span.clone(), message);
                    }
                }
                let span = Span(table.span.clone());
                table.finish();
                Hold { span, what, until, across_time }
            })
            .collect()
    }

    pub(super) fn clocks(&self, tables: Vec<Table<'t, '_>>) -> Vec<Clock> {
        tables.into_iter().filter_map(|table| self.clock(table)).collect()
    }

    fn clock(&self, table: Table<'t, '_>) -> Option<Clock> {
        let when = self.when(&table, "at", "when");
        if table.get("at").is_none() && table.get("when").is_none() {
            self.sink.error(table.span.clone(), "a clock needs `at` or `when`");
        }
        let jump = self.text_of(&table, "jump", Wants::Jump);
        let drift = self.bounded(&table, "drift", -limits::DRIFT_PPM_MAX, limits::DRIFT_PPM_MAX);
        if table.get("jump").is_some() == table.get("drift").is_some() {
            self.sink.error(table.span.clone(), "a clock needs one of `jump` and `drift`");
        }
        let span = Span(table.span.clone());
        table.finish();
        let change = match (jump, drift) {
            (Some(by), _) => ClockChange::Jump(by),
            (None, drift) => ClockChange::Drift(drift?),
        };
        Some(Clock { span, when: when?, change })
    }
}
