//! What goes wrong: `[[fault]]` and `[[hold]]`.

use super::super::decode::{Names, Table, find_word};
use super::super::model::*;
use super::super::words::{EffectWord, FaultWord, Word};
use super::Parser;
use super::text::Wants;

impl<'t> Parser<'t, '_> {
    pub(super) fn faults(&self, tables: Vec<Table<'t, '_>>) -> Vec<Fault> {
        let mut names = Names::new(self.sink, "fault");
        tables.into_iter().filter_map(|table| self.fault(table, &mut names)).collect()
    }

    fn fault(&self, mut table: Table<'t, '_>, names: &mut Names<'t>) -> Option<Fault> {
        let at = self.required_text(&table, "at", Wants::Site);
        table.require("kind");
        let word: FaultWord = table.word("kind")?;
        table.what = match word {
            FaultWord::Error => "a fault of kind `error`",
            FaultWord::Delay => "a fault of kind `delay`",
            FaultWord::Hang => "a fault of kind `hang`",
            FaultWord::HangForever => "a fault of kind `hang!`",
            FaultWord::Cancel => "a fault of kind `cancel`",
            FaultWord::Deadline => "a fault of kind `deadline`",
            FaultWord::ShortWrite => "a fault of kind `short-write`",
            FaultWord::ConnectionClosed => "a fault of kind `connection-closed`",
        };
        let kind = match word {
            FaultWord::Error => FaultKind::Error {
                code: self.required_text(&table, "code", Wants::FaultCode),
                message: self.text_of(&table, "message", Wants::Message),
                effect: self.effect(&table, true),
            },
            FaultWord::Delay => {
                table.require("by");
                FaultKind::Delay {
                    by: table.duration("by").unwrap_or_default(),
                    of: table.word("of").unwrap_or(DelayOf::Effect),
                }
            }
            FaultWord::Hang => FaultKind::Hang { effect: self.effect(&table, false) },
            FaultWord::HangForever => FaultKind::HangForever { effect: self.effect(&table, false) },
            FaultWord::Cancel => FaultKind::Cancel { effect: self.effect(&table, true) },
            FaultWord::Deadline => FaultKind::Deadline { effect: self.effect(&table, true) },
            FaultWord::ShortWrite => FaultKind::ShortWrite,
            FaultWord::ConnectionClosed => {
                FaultKind::ConnectionClosed { effect: self.effect(&table, true) }
            }
        };
        let of = match &kind {
            FaultKind::Delay { of, .. } => format!(" of {}", of.word()),
            _ => String::new(),
        };
        names.add(&format!("{}{of} at {at}", word.word()), table.span.clone());
        let span = Span(table.span.clone());
        table.finish();
        Some(Fault { span, at, kind })
    }

    fn effect(&self, table: &Table<'t, '_>, can_be_late: bool) -> Effect {
        let word = table.string("effect").and_then(|string| {
            let word: EffectWord = find_word(self.sink, &string)?;
            if word == EffectWord::Late && !can_be_late {
                let message = format!("{} has no late effect", table.what);
                self.sink.error_with(string.span, message, |diagnostic| {
                    diagnostic.note("valid here: `none`, `done`")
                });
            }
            Some(word)
        });
        match word {
            None | Some(EffectWord::None) => {
                self.only_with(table, "late", "effect = \"late\"");
                Effect::None
            }
            Some(EffectWord::Done) => {
                self.only_with(table, "late", "effect = \"late\"");
                Effect::Done
            }
            Some(EffectWord::Late) => {
                if can_be_late && table.get("late").is_none() {
                    let message = "an effect that is late needs `late`, by how much";
                    self.sink.error(table.span.clone(), message);
                }
                Effect::Late(table.duration("late").unwrap_or_default())
            }
        }
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
}
