//! The matrix, and the texts that its values are filled in.

use std::ops::Range;

use shakedown_cri::ports::{Code, Errno};

use super::super::decode::{MAKE_TWO, Names, Str, Table, Value, check_name, shown, suggest};
use super::super::matrix::{placeholders, substitute};
use super::super::model::*;
use super::super::site_name::{
    Actor, ClientEvent, MomentName, SiteName, SiteNameError, SiteNameErrorKind, Stage,
};
use super::super::words::{
    ANSWER_NONE, ANSWER_OK, ActionWord, EffectWord, FaultWord, PENDING_ALL, Word,
};
use super::super::{duration, limits};
use super::Parser;

/// What a text with placeholders must be once they are filled in.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Wants {
    Moment,
    Site,
    /// An error class or error number.
    FaultCode,
    /// A kind of fault.
    FaultKind,
    /// What becomes of the operation.
    Effect,
    /// `ok`, an error class, or `none`.
    Answer,
    Message,
    /// How far the wall clock jumps.
    Jump,
    /// An operation that a power loss undoes, or `all`.
    Lost,
    /// One that it tears.
    Torn,
}

impl Wants {
    /// The words that do, where there is a list of them.
    fn words(self) -> Vec<&'static str> {
        let classes = Code::ALL.iter().map(|code| code.name());
        match self {
            Wants::FaultCode => {
                classes.chain(Errno::ALL.iter().map(|errno| errno.name())).collect()
            }
            Wants::FaultKind => words::<FaultWord>(),
            Wants::Effect => words::<EffectWord>(),
            Wants::Answer => [ANSWER_OK, ANSWER_NONE].into_iter().chain(classes).collect(),
            _ => Vec::new(),
        }
    }
}

/// Why a text is not what was wanted.
pub(super) struct Problem {
    /// Bytes of the text; `None`: all of it.
    part: Option<Range<usize>>,
    pub(super) message: String,
    /// The wrong word, and what would be right.
    word: Option<Box<(String, Vec<String>)>>,
    help: Option<String>,
    note: Option<String>,
}

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Problem { part: None, message: message.into(), word: None, help: None, note: None }
    }
}

impl<'t> Parser<'t, '_> {
    pub(super) fn matrix(&self, table: &Table<'t, '_>) -> Vec<Axis> {
        let entries = table.entries();
        if entries.is_empty() {
            self.sink.error_with(table.span.clone(), "the matrix has no axis", |diagnostic| {
                diagnostic.help(
                    "add a line such as `code = [\"not-found\", \"unknown\"]`, or leave it out",
                )
            });
        }
        if let Some((key, _)) = entries.get(limits::AXES_MAX) {
            let message = format!("a matrix has at most {} axes", limits::AXES_MAX);
            self.sink.error(key.span.clone(), message, MAKE_TWO);
        }
        let axes: Vec<Axis> = entries
            .into_iter()
            .take(limits::AXES_MAX)
            .map(|(key, value)| {
                check_name(self.sink, &key);
                let values =
                    if value.is_table() { self.sweep(value) } else { self.axis_list(value) };
                // What is wrong with it is told; that texts use it is not wrong.
                let values = values.unwrap_or_else(|| AxisValues::List(Vec::new()));
                Axis { span: Span(key.span), name: key.text, values }
            })
            .collect();
        let cases = axes.iter().fold(1usize, |cases, axis| match &axis.values {
            AxisValues::List(values) => cases.saturating_mul(values.len()),
            _ => cases,
        });
        if cases > limits::CASES_MAX {
            let message =
                format!("the matrix has {cases} cases; at most {} are allowed", limits::CASES_MAX);
            self.sink.error(table.span.clone(), message, MAKE_TWO);
        }
        axes
    }

    fn axis_list(&self, value: Value<'t, '_>) -> Option<AxisValues> {
        let list = value.strings(limits::AXIS_VALUES_MAX, limits::SITE_BYTES_MAX)?;
        if list.is_empty() && value.list(limits::AXIS_VALUES_MAX).is_some_and(|l| l.is_empty()) {
            let message = "an axis needs at least one value";
            self.sink.error_with(value.span(), message, |diagnostic| {
                diagnostic.help(
                    "write the values, as `[\"not-found\", \"unknown\"]`, or leave the axis out",
                )
            });
        }
        let mut names = Names::new(self.sink, "value");
        for string in &list {
            names.add(&string.text, string.span.clone());
            let confusing = string.text.is_empty()
                || string.text.contains(['{', '}', ','])
                || string.text.contains("..")
                || string.text.contains(char::is_control);
            if confusing {
                let message = format!("`{}` cannot be a value of an axis", shown(&string.text));
                self.sink.error_with(string.span.clone(), message, |diagnostic| {
                    diagnostic.note("values are not empty, and have no braces, comma, `..` or control characters")
                });
            }
        }
        Some(AxisValues::List(list.into_iter().map(|string| string.text).collect()))
    }

    fn sweep(&self, value: Value<'t, '_>) -> Option<AxisValues> {
        let table = value.table("a sweep")?;
        let moments = table.string("every-moment-of");
        let sites = table.string("every-site-of");
        let operations = table.string("every-operation-of");
        let actor = moments.as_ref().or(sites.as_ref()).or(operations.as_ref());
        if let Some(actor) = actor.filter(|actor| actor.text != EVERYBODY) {
            self.actor_reference(actor);
        }
        let values = match (moments, sites, operations) {
            (Some(actor), None, None) => {
                let from = table.string("from");
                if let Some(from) = &from
                    && let Err(problem) = self.check(&from.text, Wants::Moment, false)
                {
                    self.report(from, problem);
                }
                let from = from.map(|from| from.text);
                Some(AxisValues::EveryMomentOf { actor: actor.text, from })
            }
            (None, Some(actor), None) => Some(AxisValues::EverySiteOf(actor.text)),
            (None, None, Some(actor)) => Some(AxisValues::EveryOperationOf(actor.text)),
            _ => {
                let message = "a sweep needs one of `every-moment-of`, `every-site-of` and `every-operation-of`";
                self.sink.error_with(table.span.clone(), message, |diagnostic| {
                    diagnostic.help("write `{ every-moment-of = \"start-1\" }`")
                });
                None
            }
        };
        table.finish();
        values
    }

    fn actor_reference(&self, string: &Str) {
        // An actor is what stands before a site.
        let problem = match format!("{}/x#1", string.text).parse::<SiteName>() {
            Ok(SiteName { actor, steps }) if steps.len() == 1 => {
                self.check_actor(&actor, false).err()
            }
            _ => {
                let actor = string.text.split('/').next().unwrap_or_default();
                Some(Problem {
                    help: Some(format!("write the actor alone: `{}`", shown(actor))),
                    ..Problem::new(format!("`{}` is no actor", shown(&string.text)))
                })
            }
        };
        if let Some(problem) = problem {
            self.report(string, problem);
        }
    }

    fn report(&self, string: &Str, problem: Problem) {
        let span = match problem.part {
            Some(part) => self.sink.inside(string, part),
            None => string.span.clone(),
        };
        self.sink.error_with(span, problem.message, |mut diagnostic| {
            if let Some((word, valid)) = problem.word.as_deref() {
                let valid: Vec<&str> = valid.iter().map(String::as_str).collect();
                diagnostic = suggest(diagnostic, word, &valid);
            }
            if let Some(help) = problem.help {
                diagnostic = diagnostic.help(help);
            }
            match problem.note {
                Some(note) => diagnostic.note(note),
                None => diagnostic,
            }
        });
    }

    /// Checks a text in every way in which its placeholders can be filled in.
    pub(super) fn text(&self, string: Str, wants: Wants) -> Text {
        let holes = placeholders(&string.text);
        let literal = holes.is_empty() || (wants == Wants::Message && self.axes.is_empty());
        if literal {
            if let Err(problem) = self.check(&string.text, wants, false) {
                self.report(&string, problem);
            }
            return string.text;
        }
        if holes.len() > limits::PLACEHOLDERS_MAX {
            let message = format!("a text has at most {} placeholders", limits::PLACEHOLDERS_MAX);
            self.sink.error(string.span.clone(), message, "write fewer");
            return string.text;
        }
        let mut axes: Vec<&Axis> = Vec::new();
        for (range, name) in holes {
            match self.axes.iter().find(|axis| axis.name == name) {
                Some(axis) => {
                    self.axes_used.borrow_mut().insert(axis.name.clone());
                    if !axes.iter().any(|known| known.name == axis.name) {
                        axes.push(axis);
                    }
                }
                None => {
                    let valid: Vec<&str> = self.axes.iter().map(|a| a.name.as_str()).collect();
                    self.sink.unknown(self.sink.inside(&string, range), "axis", name, &valid);
                    return string.text;
                }
            }
        }
        self.check_filled_in(&string, wants, &axes);
        string.text
    }

    /// The words that a text can become: itself, or one for each combination of the values of its
    /// axes. What is no such word was reported when the text was read.
    pub(super) fn words_of<W: Word>(&self, text: &str) -> Vec<W> {
        let mut texts = vec![text.to_owned()];
        for (_, name) in placeholders(text) {
            let axis = self.axes.iter().find(|axis| axis.name == name);
            let Some(AxisValues::List(values)) = axis.map(|axis| &axis.values) else { continue };
            texts = (texts.iter())
                .flat_map(|text| values.iter().map(|value| substitute(text, &[(name, value)])))
                .collect();
        }
        let mut words: Vec<W> = Vec::new();
        for word in texts.iter().filter_map(|text| W::find(text)) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words
    }

    fn check_filled_in(&self, string: &Str, wants: Wants, axes: &[&Axis]) {
        if wants == Wants::Message {
            return;
        }
        let swept = axes.iter().any(|axis| !matches!(axis.values, AxisValues::List(_)));
        if swept && !matches!(wants, Wants::Moment | Wants::Site) {
            let help =
                "a sweep is over sites or moments: write it where one stands, as `at` or `when`";
            self.sink.error(string.span.clone(), "the values of a sweep do not do here", help);
            return;
        }
        // Sweeps are known at run time; a moment or site stands for all of theirs.
        let moment = vec!["sweep/any#1.reply".to_owned()];
        let site = vec!["sweep/any#1".to_owned()];
        let values: Vec<&Vec<String>> = axes
            .iter()
            .map(|axis| match &axis.values {
                AxisValues::List(values) => values,
                AxisValues::EveryMomentOf { .. } => &moment,
                AxisValues::EverySiteOf(_) | AxisValues::EveryOperationOf(_) => &site,
            })
            .collect();
        if values.iter().any(|values| values.is_empty()) {
            return;
        }
        let mut choice = vec![0; axes.len()];
        loop {
            if self.checks_left.get() == 0 {
                return;
            }
            self.checks_left.set(self.checks_left.get() - 1);
            let filled: Vec<(&str, &str)> = axes
                .iter()
                .zip(&values)
                .zip(&choice)
                .map(|((axis, values), index)| (axis.name.as_str(), values[*index].as_str()))
                .collect();
            let text = substitute(&string.text, &filled);
            if let Err(mut problem) = self.check(&text, wants, swept) {
                problem.part = None;
                let is_moment =
                    |axis: &&Axis| matches!(axis.values, AxisValues::EveryMomentOf { .. });
                if wants == Wants::Site && axes.iter().any(is_moment) {
                    problem.help = Some("sweep over `every-site-of` instead".to_owned());
                }
                if !swept {
                    let note = format!("the text is `{}` in one of the cases", shown(&text));
                    problem.note =
                        Some(problem.note.map_or(note.clone(), |first| format!("{first}; {note}")));
                }
                self.report(string, problem);
                return;
            }
            // The next combination, the last axis running fastest.
            let Some(position) =
                (0..choice.len()).rev().find(|i| choice[*i] + 1 < values[*i].len())
            else {
                return;
            };
            choice[position] += 1;
            choice[position + 1..].fill(0);
        }
    }

    fn check(&self, text: &str, wants: Wants, swept: bool) -> Result<(), Problem> {
        match wants {
            Wants::Message => Ok(()),
            Wants::FaultCode => check_word(text, "error code", &wants.words()),
            Wants::FaultKind => check_word(text, FaultWord::WHAT, &wants.words()),
            Wants::Jump => match duration::parse_signed(text) {
                Ok(0) => Err(Problem {
                    help: Some("write how far: `\"24h\"`, or `\"-1h\"` for back".to_owned()),
                    ..Problem::new("a jump of the clock leads somewhere")
                }),
                Ok(by) if u128::from(by.unsigned_abs()) <= limits::DURATION_MAX.as_nanos() => {
                    Ok(())
                }
                Ok(_) => {
                    let most = duration::print(limits::DURATION_MAX);
                    Err(Problem {
                        help: Some(format!("write at most `\"{most}\"`")),
                        ..Problem::new(format!("the clock jumps by at most {most}"))
                    })
                }
                Err(error) => {
                    let message =
                        format!("`{}` is no duration: {}", shown(text), shown(&error.to_string()));
                    let note =
                        "a jump is a duration, with a `-` in front when it goes back: `24h`, `-1h`";
                    let sign = if text.trim().starts_with('-') { "-" } else { "" };
                    let meant = duration::meant(text.trim().trim_start_matches(['-', '+']));
                    let help = meant.map(|meant| format!("write `\"{sign}{meant}\"`"));
                    Err(Problem { help, note: Some(note.to_owned()), ..Problem::new(message) })
                }
            },
            Wants::Lost if text == PENDING_ALL => Ok(()),
            Wants::Lost => check_pending(text, self.vocabulary.pending),
            Wants::Torn => check_pending(text, &["data"]),
            Wants::Effect => check_word(text, EffectWord::WHAT, &wants.words()),
            Wants::Answer => check_word(text, "answer", &wants.words()),
            Wants::Moment => {
                too_long(text)?;
                let moment: MomentName =
                    text.parse().map_err(|error| of_call(text).unwrap_or(site_problem(error)))?;
                if swept {
                    return Ok(());
                }
                match &moment {
                    MomentName::At { site, .. } => self.check_site(text, site),
                    MomentName::Client { actor, .. } => self.check_actor(actor, true),
                }
            }
            Wants::Site => {
                too_long(text)?;
                let site: SiteName = text.parse().map_err(site_problem)?;
                if swept { Ok(()) } else { self.check_site(text, &site) }
            }
        }
    }

    fn check_site(&self, text: &str, site: &SiteName) -> Result<(), Problem> {
        self.check_actor(&site.actor, false)?;
        let operations = self.vocabulary.operations;
        let unknown = site.steps.iter().find(|step| !operations.contains(&step.operation.as_str()));
        match unknown {
            Some(step) if !operations.is_empty() => {
                let operation = &step.operation;
                let start = text.find(&format!("/{operation}")).map(|slash| slash + 1);
                Err(Problem {
                    part: start.map(|start| start..start + operation.len()),
                    message: format!("unknown operation `{}`", shown(operation)),
                    help: None,
                    word: Some(Box::new((
                        operation.clone(),
                        operations.iter().map(|word| (*word).to_owned()).collect(),
                    ))),
                    note: Some("`shakedown sites --list` lists all operations".to_owned()),
                })
            }
            _ => Ok(()),
        }
    }

    /// `call`: only a call will do.
    fn check_actor(&self, actor: &Actor, call: bool) -> Result<(), Problem> {
        let name = actor.to_string();
        if self.has_unnamed_call || self.calls.contains_key(&name) {
            return Ok(());
        }
        let roles = self.vocabulary.roles;
        let role = actor.role.as_str();
        // `kubelet-1` is of the role `kubelet`.
        let stem = role.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
        let is_role = roles.is_empty() || roles.contains(&role) || roles.contains(&stem);
        let is_numbered = actor.subject.is_none() && actor.boot.is_none() && stem != role;
        let is_close = |call: &String| strsim::damerau_levenshtein(call, &name) <= 2;
        let is_like_call =
            is_numbered && (ActionWord::find(stem).is_some() || self.calls.keys().any(is_close));
        let call = call || is_like_call && self.vocabulary.only_calls_are_numbered;
        if !call && is_role {
            return Ok(());
        }
        let mut valid: Vec<String> = self.calls.keys().cloned().collect();
        if !call {
            valid.extend(roles.iter().map(|role| (*role).to_owned()));
        }
        let what = if call { "call" } else { "actor" };
        let prefix = actor.boot.map_or(0, |boot| format!("boot{boot}:").len());
        Err(Problem {
            part: Some(prefix..prefix + role.len()),
            message: format!("unknown {what} `{}`", shown(&name)),
            word: Some(Box::new((role.to_owned(), valid))),
            help: None,
            note: None,
        })
    }

    /// `None` if the key is missing.
    pub(super) fn text_of(
        &self,
        table: &Table<'t, '_>,
        key: &'static str,
        wants: Wants,
    ) -> Option<Text> {
        let valid = wants.words();
        let value = table.get(key)?;
        let string = match valid.is_empty() || value.is_string() {
            true => value.string(limits::TEXT_BYTES_MAX)?,
            // Which string is what matters more than that it is to be one.
            false => value.one_of("", &valid)?,
        };
        Some(self.text(string, wants))
    }

    pub(super) fn required_text(
        &self,
        table: &Table<'t, '_>,
        key: &'static str,
        wants: Wants,
        example: &str,
    ) -> Text {
        table.require(key, example);
        self.text_of(table, key, wants).unwrap_or_default()
    }
}

/// The name of a pending operation: `rename(web/status)#1`.
fn check_pending(text: &str, kinds: &[&str]) -> Result<(), Problem> {
    let parts = text.split_once('(').and_then(|(kind, rest)| {
        let (path, count) = rest.rsplit_once(")#")?;
        let is_count = count.parse::<u32>().is_ok_and(|count| count > 0);
        (is_count && !path.is_empty()).then_some(kind)
    });
    match parts {
        Some(kind) if !kinds.is_empty() => check_word(kind, "pending operation", kinds),
        Some(_) => Ok(()),
        None => Err(Problem {
            note: Some("a name is written like `rename(web/status)#1`".to_owned()),
            ..Problem::new(format!("`{}` is no name of a pending operation", shown(text)))
        }),
    }
}

fn words<W: Word>() -> Vec<&'static str> {
    W::WORDS.iter().map(|(word, _)| *word).collect()
}

fn check_word(word: &str, what: &str, valid: &[&str]) -> Result<(), Problem> {
    if valid.contains(&word) {
        return Ok(());
    }
    let mut problem = Problem::new(format!("unknown {what} `{}`", shown(word)));
    let valid = valid.iter().map(|word| (*word).to_owned()).collect();
    problem.word = Some(Box::new((word.to_owned(), valid)));
    Err(problem)
}

fn too_long(text: &str) -> Result<(), Problem> {
    if text.len() <= limits::SITE_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the name of a site has at most {} bytes", limits::SITE_BYTES_MAX);
    Err(Problem::new(message))
}

/// What is wrong with a text that was to be a moment of a call: `start-1.don`.
fn of_call(text: &str) -> Option<Problem> {
    let (call, event) = text.split_once('.').filter(|_| !text.contains(['/', '#', '(']))?;
    let events = ClientEvent::ALL.iter().map(|event| event.name().to_owned()).collect();
    let mut problem = Problem::new(format!("unknown moment `.{}` of a call", shown(event)));
    problem.part = Some(call.len() + 1..text.len());
    problem.word = Some(Box::new((event.to_owned(), events)));
    Some(problem)
}

pub(super) fn site_problem(error: SiteNameError) -> Problem {
    let mut problem = Problem::new(error.to_string());
    problem.part = Some(error.range);
    match error.kind {
        SiteNameErrorKind::UnknownStage(stage) => {
            let valid = Stage::ALL.iter().map(|stage| stage.name().to_owned()).collect();
            problem.word = Some(Box::new((stage, valid)));
        }
        SiteNameErrorKind::NotASite => {
            problem.help = Some("write the name up to its number".to_owned())
        }
        _ => {
            problem.help =
                Some("write a site as `start-1/task.create(web)#1`, a moment of it as `start-1/task.create(web)#1.reply`".to_owned());
        }
    }
    problem
}
