//! What happens and what goes wrong: `[[occurrence]]`, `[[fault]]`, `[[hold]]` and `[[crash]]`.

use std::time::Duration;

use super::super::decode::{Names, Table, Value, suggest};
use super::super::model::*;
use super::super::site_name::SiteName;
use super::super::words::{EffectWord, FaultWord, HappeningWord, Word};
use super::super::{defaults, limits};
use super::Parser;
use super::text::Wants;

/// What stands in the advice to name a site, or a moment.
const SITE: &str = "\"start-1/task.create(web)#1\"";
const MOMENT: &str = "\"start-1/task.create(web)#1.reply\"";

impl<'t> Parser<'t, '_> {
    pub(super) fn occurrences(&self, tables: Vec<Table<'t, '_>>) -> Vec<Occurrence> {
        tables.into_iter().filter_map(|table| self.occurrence(table)).collect()
    }

    fn occurrence(&self, mut table: Table<'t, '_>) -> Option<Occurrence> {
        let word: HappeningWord = table.required_word("what")?;
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
                            self.exclude(value.span(), ["container", "sandbox"]);
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
        let at = self.required_text(&table, "at", Wants::Site, SITE);
        if table.get("kind").is_none() {
            table.missing_word::<FaultWord>("kind");
        }
        let kind = self.text_of(&table, "kind", Wants::FaultKind).unwrap_or_default();
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
            keys.code = self.fault_code(&table, &at);
            keys.message = self.text_of(&table, "message", Wants::Message);
        }
        if any(|kind| kind == FaultWord::Delay) {
            table.require("by", "\"5s\"");
            keys.by = self.some_time(&table, "by");
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

    /// A duration that is longer than nothing.
    fn some_time(&self, table: &Table<'t, '_>, key: &'static str) -> Option<Duration> {
        let duration = table.duration(key);
        if let Some(value) = table.get(key).filter(|_| duration.is_some_and(|by| by.is_zero())) {
            let message = format!("`{key}` must be longer than nothing");
            self.sink.error_with(value.span(), message, |d| {
                d.help("write `\"1ms\"`, or leave the fault out")
            });
        }
        duration
    }

    /// What the operation of the site fails with.
    fn fault_code(&self, table: &Table<'t, '_>, at: &str) -> Text {
        if let Some(code) = self.text_of(table, "code", Wants::FaultCode) {
            return code;
        }
        if table.get("code").is_none() {
            let site: Option<SiteName> = at.parse().ok();
            let step = site.as_ref().and_then(|site| site.steps.last());
            let codes = step.zip(self.vocabulary.codes);
            let codes = codes.map_or_else(Vec::new, |(step, codes)| codes(&step.operation));
            let example = codes.last().copied().unwrap_or("unavailable");
            let message = format!("{} needs `code`", table.what);
            self.sink.error_with(table.span.clone(), message, |diagnostic| {
                let help = format!("add a line such as `code = \"{example}\"`");
                suggest(diagnostic.help(help), "", &codes)
            });
        }
        Text::new()
    }

    fn effect(&self, table: &Table<'t, '_>, keys: &mut FaultKeys, can_be_late: bool) {
        if let Some(effect) = self.text_of(table, "effect", Wants::Effect) {
            let span = table.get("effect").map_or(table.span.clone(), |effect| effect.span());
            keys.effect = effect;
            let is_late = self.words_of(&keys.effect).contains(&EffectWord::Late);
            if is_late && !can_be_late {
                let message = format!("{} has no late effect", table.what);
                self.sink.error_with(span, message, |diagnostic| {
                    diagnostic.note("valid here: `none`, `done`")
                });
            } else if is_late && table.get("late").is_none() {
                let message = "an effect that is late needs `late`, by how much";
                self.sink.error_with(table.span.clone(), message, |diagnostic| {
                    diagnostic.help("add a line such as `late = \"6s\"`")
                });
            }
        }
        if self.words_of(&keys.effect).contains(&EffectWord::Late) {
            keys.late = self.some_time(table, "late");
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
            self.sink.error_with(
                table.span.clone(),
                "a crash needs `at` or `when`",
                |diagnostic| diagnostic.help(format!("add a line such as `when = {MOMENT}`")),
            );
        }
        let kind = table.word("kind").unwrap_or(CrashKind::Daemon);
        let down = table.duration("down");
        let restart = table.boolean("restart").unwrap_or(true);
        if let (false, Some(value)) = (restart, table.get("down")) {
            let message = "a daemon that is not started again has no `down`";
            self.sink.error(value.span(), message, "leave one of the two out");
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
                let what = self.required_text(&table, "what", Wants::Moment, MOMENT);
                let until = self.required_text(&table, "until", Wants::Moment, "\"stop-1.done\"");
                let across_time = table.boolean("across-time").unwrap_or(false);
                if !what.is_empty() {
                    names.add(&what, table.span.clone());
                    if what == until {
                        let message = "a moment cannot be held until itself";
                        let until = table.get("until").map_or(table.span.clone(), |u| u.span());
                        self.sink.error_with(until, message, |diagnostic| {
                            diagnostic
                                .help("name the moment after which it is let go, of another actor")
                        });
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
            self.sink.error_with(
                table.span.clone(),
                "a clock needs `at` or `when`",
                |diagnostic| diagnostic.help(format!("add a line such as `when = {MOMENT}`")),
            );
        }
        let jump = table.get("jump").filter(Value::is_string);
        let jump = jump.and_then(|_| self.text_of(&table, "jump", Wants::Jump));
        if let Some(value) = table.get("jump").filter(|value| !value.is_string()) {
            value.no_duration("-");
        }
        let drift = self.bounded(&table, "drift", -limits::DRIFT_PPM_MAX, limits::DRIFT_PPM_MAX);
        if table.get("jump").is_some() == table.get("drift").is_some() {
            let message = "a clock needs one of `jump` and `drift`";
            self.sink.error_with(table.span.clone(), message, |diagnostic| {
                diagnostic.help("write `jump = \"-1h\"`, or `drift = 20`, in parts per million")
            });
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
