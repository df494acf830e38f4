//! Reading of a TOML tree by hand, so that every error has its place and reading goes on after it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, nearest};
use super::words::Word;
use super::{duration, limits};

/// Lists of valid words longer than this are not spelled out.
const VALID_WORDS_MAX: usize = 32;

/// Where errors of one file are collected.
pub(super) struct Sink<'t> {
    file: &'t str,
    text: &'t str,
    found: RefCell<Vec<Diagnostic>>,
    dropped: Cell<usize>,
}

impl<'t> Sink<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Sink { file, text, found: RefCell::default(), dropped: Cell::new(0) }
    }

    /// `help` says what to write instead.
    pub(super) fn error(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.error_with(span, message, |diagnostic| diagnostic.help(help));
    }

    pub(super) fn error_with(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
        add: impl FnOnce(Diagnostic) -> Diagnostic,
    ) {
        let mut found = self.found.borrow_mut();
        if found.len() < limits::DIAGNOSTICS_MAX {
            found.push(add(Diagnostic::new(self.file, self.text, span, message)));
        } else {
            self.dropped.set(self.dropped.get() + 1);
        }
    }

    /// Adds to what was reported last.
    pub(super) fn add_to_last(&self, add: impl FnOnce(Diagnostic) -> Diagnostic) {
        let mut found = self.found.borrow_mut();
        if let Some(last) = found.pop() {
            found.push(add(last));
        }
    }

    /// A word that is none of the valid ones.
    pub(super) fn unknown(&self, span: Range<usize>, what: &str, word: &str, valid: &[&str]) {
        self.error_with(
            span,
            format!("unknown {what} `{}`", shown(word)),
            |diagnostic| match what {
                "container" | "image" | "plugin" | "sandbox" if valid.is_empty() => {
                    let name = shown(word);
                    diagnostic.help(format!("add `[[world.{what}]]` with `name = \"{name}\"`"))
                }
                _ => suggest(diagnostic, word, valid),
            },
        );
    }

    /// The bytes `part` of a string's content, or the whole string where escapes blur the place.
    pub(super) fn inside(&self, string: &Str, part: Range<usize>) -> Range<usize> {
        let raw = self.text.get(string.span.clone()).unwrap_or_default();
        let quoted = raw.get(1..raw.len().saturating_sub(1));
        if quoted == Some(string.text.as_str()) {
            string.span.start + 1 + part.start..string.span.start + 1 + part.end
        } else {
            string.span.clone()
        }
    }

    /// All errors in the order of the file; empty if there are none.
    pub(super) fn into_diagnostics(self) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
        let dropped = self.dropped.get();
        if dropped > 0
            && let Some(last) = found.last_mut()
        {
            last.notes.push(format!("{dropped} more errors are not shown"));
        }
        found
    }
}

/// Adds the nearest valid word, and the list of all if it is short.
pub(super) fn suggest(diagnostic: Diagnostic, word: &str, valid: &[&str]) -> Diagnostic {
    let near = nearest(word, valid.iter().copied()).filter(|_| !word.is_empty());
    let diagnostic = match near {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None if valid.is_empty() && !word.is_empty() => diagnostic.help("the file has none"),
        None => diagnostic,
    };
    if valid.is_empty() || valid.len() > VALID_WORDS_MAX {
        return diagnostic;
    }
    let list: Vec<String> = valid.iter().map(|word| format!("`{word}`")).collect();
    diagnostic.note(format!("valid here: {}", list.join(", ")))
}

/// What to do about a file that says more than a file may say.
pub(super) const MAKE_TWO: &str = "write fewer, or make several files of this one";

/// A text of the file, cut to what fits in a message.
pub(super) fn shown(text: &str) -> String {
    const MAX: usize = 80;
    if text.len() <= MAX {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(MAX)])
}

/// A string of the file and its place, quotes included.
#[derive(Clone, Debug)]
pub(super) struct Str {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

/// The header of a table that is written where it does not belong.
fn place_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "container" => "[[world.container]]",
        "sandbox" | "pod" => "[[world.sandbox]]",
        "image" => "[[world.image]]",
        "plugin" => "[[world.plugin]]",
        "path" => "[[world.path]]",
        "disk" => "[world.disk]",
        "process" => "[world.container.process]",
        "output" => "[[world.container.process.output]]",
        "reply" => "[[world.plugin.reply]]",
        "answer" => "[[expect.answer]]",
        "status" => "[[expect.status]]",
        "events" => "[expect.events]",
        "log" => "[expect.log]",
        _ => return None,
    })
}

/// The number that a text with a unit or a separator begins with: `10s`, `64k`, `1_000`.
fn whole_number(text: &str) -> Option<i64> {
    let text = text.trim().replace(['_', ','], "");
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '-')).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let scale = match unit.trim().to_lowercase().trim_end_matches('b').trim_end_matches('i') {
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        // Of what, is not known here.
        "%" => return None,
        _ => 1,
    };
    digits.parse::<i64>().ok()?.checked_mul(scale)
}

/// Adds the duration that was meant, if that can be told, and how durations are written.
fn duration_help(diagnostic: Diagnostic, sign: &str, text: &str) -> Diagnostic {
    let diagnostic = match duration::meant(text.trim_start_matches('-')) {
        Some(meant) => diagnostic.help(format!("write `\"{sign}{meant}\"`")),
        None => diagnostic,
    };
    diagnostic.note(
        "durations are whole numbers with a unit: `150s`, `200ms`, `1m30s`; units: h, m, s, ms, us, ns",
    )
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// One value under a key.
#[derive(Clone, Copy)]
pub(super) struct Value<'t, 'i> {
    sink: &'t Sink<'t>,
    key: &'t str,
    value: &'t Spanned<DeValue<'i>>,
}

impl<'t, 'i> Value<'t, 'i> {
    pub(super) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    fn wrong_type(&self, wanted: &str) {
        let found = with_article(self.value.get_ref().type_str());
        let message = format!("`{}` must be {wanted}, not {found}", shown(self.key));
        self.sink.error_with(self.span(), message, |diagnostic| match self.instead(wanted) {
            Some(instead) => diagnostic.help(format!("write `{instead}`")),
            None if wanted == "a table" => {
                let key = shown(self.key);
                diagnostic.help(format!("write it as a table: `{key} = {{ KEY = VALUE }}`"))
            }
            None => diagnostic.help(match wanted {
                "a string" => "write one text, in quotes",
                "a list" => "write its entries in brackets, with commas between them",
                "an integer" => "write a whole number, without quotes",
                _ => "write `true` or `false`",
            }),
        });
    }

    /// A word of those that are valid.
    pub(super) fn one_of(&self, what: &str, valid: &[&str]) -> Option<Str> {
        let Some(text) = self.value.get_ref().as_str() else {
            let found = with_article(self.value.get_ref().type_str());
            let message = format!("`{}` must be a string, not {found}", shown(self.key));
            let raw = self.sink.text.get(self.span()).unwrap_or_default();
            self.sink
                .error_with(self.span(), message, |diagnostic| suggest(diagnostic, raw, valid));
            return None;
        };
        if !valid.contains(&text) {
            self.sink.unknown(self.span(), what, text, valid);
            return None;
        }
        Some(Str { text: text.to_owned(), span: self.span() })
    }

    /// What somebody meant who wrote a value of another type.
    fn instead(&self, wanted: &str) -> Option<String> {
        let raw =
            self.sink.text.get(self.span()).filter(|raw| raw.len() <= 60 && !raw.contains('\n'))?;
        let value = self.value.get_ref();
        let is_single = value.as_array().is_none() && value.as_table().is_none();
        match (wanted, value.as_str()) {
            ("a string", None) if is_single => Some(format!("\"{raw}\"")),
            ("a string", None) => match value.as_array()?.iter().as_slice() {
                [one] if one.get_ref().is_str() => {
                    self.sink.text.get(one.span()).map(str::to_owned)
                }
                _ => None,
            },
            ("a list", _) if is_single => Some(format!("[{raw}]")),
            ("an integer", Some(text)) => whole_number(text).map(|number| number.to_string()),
            ("an integer", None) => {
                let number: f64 = value.as_float()?.as_str().parse().ok()?;
                (number.abs() < 1e15).then(|| format!("{:.0}", number.round()))
            }
            ("true or false", Some(text)) => match &*text.to_lowercase() {
                "true" | "yes" | "on" | "1" => Some("true".to_owned()),
                "false" | "no" | "off" | "0" => Some("false".to_owned()),
                _ => None,
            },
            ("true or false", None) => {
                value.as_integer().map(|number| (number.as_str() != "0").to_string())
            }
            _ => None,
        }
    }

    /// A string of at most `bytes_max` bytes.
    pub(super) fn string(&self, bytes_max: usize) -> Option<Str> {
        let Some(text) = self.value.get_ref().as_str() else {
            self.wrong_type("a string");
            return None;
        };
        if text.len() > bytes_max {
            let message = format!("`{}` is longer than {bytes_max} bytes", shown(self.key));
            self.sink.error(self.span(), message, "write a shorter one");
            return None;
        }
        Some(Str { text: text.to_owned(), span: self.span() })
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        let value = self.value.get_ref().as_bool();
        if value.is_none() {
            self.wrong_type("true or false");
        }
        value
    }

    pub(super) fn integer(&self, range: RangeInclusive<i64>) -> Option<i64> {
        let Some(integer) = self.value.get_ref().as_integer() else {
            self.wrong_type("an integer");
            return None;
        };
        let written = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = written.filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = range.into_inner();
            let message = format!("`{}` must be from {least} to {most}", shown(self.key));
            // One that is too long for a number is on the side that its sign says.
            let too_small = match written {
                Some(number) => number < least,
                None => integer.as_str().starts_with('-'),
            };
            let help = match too_small {
                true => format!("write `{least}`, or more"),
                false => format!("write `{most}`, or less"),
            };
            self.sink.error(self.span(), message, help);
        }
        number
    }

    /// A file mode, in octal as everybody writes it.
    pub(super) fn mode(&self) -> Option<u32> {
        let value = self.value.get_ref();
        let integer = value.as_integer();
        let (digits, radix) = match (integer, value.as_str()) {
            (Some(integer), _) => (integer.as_str(), integer.radix()),
            (None, Some(text)) => (text.trim_start_matches("0o"), 8),
            (None, None) => ("", 8),
        };
        let mode = u32::from_str_radix(digits, radix).ok().filter(|mode| *mode <= 0o7777);
        if let (Some(mode), Some(_)) = (mode, integer)
            && (radix != 10 || mode == 0)
        {
            return Some(mode);
        }
        // Whatever was written, its digits are meant in octal.
        let meant = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777);
        let message = match (integer, mode) {
            (Some(_), Some(_)) => "a mode is written in octal",
            (Some(_), None) => "a mode is at most `0o7777`",
            (None, _) => "a mode is a number, in octal",
        };
        self.sink.error_with(self.span(), message, |diagnostic| {
            diagnostic.help(format!("write `0o{:o}`", meant.unwrap_or(0o644)))
        });
        None
    }

    pub(super) fn duration(&self) -> Option<Duration> {
        let Some(text) = self.value.get_ref().as_str() else {
            self.no_duration("");
            return None;
        };
        match duration::parse(text) {
            Ok(duration) if duration <= limits::DURATION_MAX => Some(duration),
            Ok(_) | Err(duration::DurationError::TooLong) => {
                let most = duration::print(limits::DURATION_MAX);
                let message = format!("`{}` is longer than {most}", shown(self.key));
                self.sink.error_with(self.span(), message, |diagnostic| {
                    diagnostic.help(format!("write at most `\"{most}\"`"))
                });
                None
            }
            Err(error) => {
                let message =
                    format!("`{}` is no duration: {}", shown(text), shown(&error.to_string()));
                self.sink.error_with(self.span(), message, |d| duration_help(d, "", text));
                None
            }
        }
    }

    /// Reports what is no text and so no duration; `sign` is one that durations may have here.
    pub(super) fn no_duration(&self, sign: &str) {
        let message = format!("`{}` must be a duration with a unit", shown(self.key));
        let raw = self.sink.text.get(self.span()).unwrap_or_default();
        let sign = if raw.starts_with('-') { sign } else { "" };
        self.sink.error_with(self.span(), message, |d| duration_help(d, sign, raw));
    }

    pub(super) fn list(&self, length_max: usize) -> Option<Vec<Value<'t, 'i>>> {
        let Some(array) = self.value.get_ref().as_array() else {
            self.wrong_type("a list");
            return None;
        };
        if array.len() > length_max {
            let message = format!(
                "`{}` has {} entries; at most {length_max} are allowed",
                shown(self.key),
                array.len()
            );
            self.sink.error(self.span(), message, MAKE_TWO);
            return None;
        }
        Some(array.iter().map(|value| Value { value, ..*self }).collect())
    }

    pub(super) fn strings(&self, length_max: usize, bytes_max: usize) -> Option<Vec<Str>> {
        let list = self.list(length_max)?;
        Some(list.iter().filter_map(|value| value.string(bytes_max)).collect())
    }

    pub(super) fn is_text(&self, text: &str) -> bool {
        self.value.get_ref().as_str() == Some(text)
    }

    pub(super) fn is_string(&self) -> bool {
        self.value.get_ref().is_str()
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// A table; `what` names it in errors: "a fault".
    pub(super) fn table(&self, what: &'static str) -> Option<Table<'t, 'i>> {
        match self.value.get_ref() {
            DeValue::Table(entries) => Some(Table {
                sink: self.sink,
                entries,
                span: self.span(),
                what,
                known: RefCell::default(),
            }),
            DeValue::Array(array) if array.iter().all(|value| value.get_ref().is_table()) => {
                let message = format!("there is only one `{}`", shown(self.key));
                self.sink.error(self.span(), message, format!("write `[{}]`", shown(self.key)));
                None
            }
            _ => {
                self.wrong_type("a table");
                None
            }
        }
    }

    fn tables(&self, length_max: usize, what: &'static str) -> Option<Vec<Table<'t, 'i>>> {
        if self.is_table() {
            // The span of a table is its header, or the whole of an inline one, or its name where the
            // header or key of another table names it.
            let raw = self.sink.text.get(self.span()).unwrap_or_default();
            let message = format!("`{}` is a list of tables, not one table", shown(self.key));
            let help = match raw.as_bytes().first() {
                Some(b'[') => format!("write `[{}]`", shown(raw)),
                Some(b'{') => format!("put brackets around it: `{} = [{{ … }}]`", shown(self.key)),
                _ => format!("write `[[{}]]` on a line of its own before this", shown(raw)),
            };
            self.sink.error(self.span(), message, help);
            return None;
        }
        let list = self.list(length_max)?;
        let tables = list.iter().filter_map(|entry| match entry.value.get_ref() {
            DeValue::Array(_) => {
                let message =
                    format!("an entry of `{}` must be a table, not an array", shown(self.key));
                self.sink.error(entry.span(), message, "take one pair of brackets away");
                None
            }
            _ => entry.table(what),
        });
        Some(tables.collect())
    }
}

/// What the file as a whole is called in errors.
const ROOT: &str = "a scenario";

/// A table whose keys are asked for one by one; what nobody asked for is unknown.
pub(super) struct Table<'t, 'i> {
    pub(super) sink: &'t Sink<'t>,
    entries: &'t DeTable<'i>,
    /// The header, or the whole of an inline table.
    pub(super) span: Range<usize>,
    /// Names the table in errors.
    pub(super) what: &'static str,
    known: RefCell<Vec<&'static str>>,
}

impl<'t, 'i> Table<'t, 'i> {
    pub(super) fn root(sink: &'t Sink<'t>, entries: &'t DeTable<'i>) -> Self {
        Table { sink, entries, span: 0..0, what: ROOT, known: RefCell::default() }
    }

    pub(super) fn get(&self, key: &'static str) -> Option<Value<'t, 'i>> {
        self.known.borrow_mut().push(key);
        let value = self.entries.get(key)?;
        Some(Value { sink: self.sink, key, value })
    }

    /// Reports that `key` is missing; `example` is a value that it could have.
    pub(super) fn require(&self, key: &'static str, example: &str) -> Option<Value<'t, 'i>> {
        let value = self.get(key);
        if value.is_none() {
            let message = format!("{} needs `{key}`", self.what);
            self.sink.error_with(self.span.clone(), message, |diagnostic| {
                diagnostic.help(format!("add a line such as `{key} = {example}`"))
            });
        }
        value
    }

    /// One word of a closed set, which must be there.
    pub(super) fn required_word<W: Word>(&self, key: &'static str) -> Option<W> {
        if self.get(key).is_none() {
            self.missing_word::<W>(key);
        }
        self.word(key)
    }

    /// Reports that a word of a closed set is missing.
    pub(super) fn missing_word<W: Word>(&self, key: &'static str) {
        let valid: Vec<&str> = W::WORDS.iter().map(|(word, _)| *word).collect();
        let message = format!("{} needs `{key}`", self.what);
        self.sink.error_with(self.span.clone(), message, |diagnostic| {
            let diagnostic =
                diagnostic.help(format!("add a line such as `{key} = \"{}\"`", valid[0]));
            suggest(diagnostic, "", &valid)
        });
    }

    pub(super) fn string(&self, key: &'static str) -> Option<Str> {
        self.get(key)?.string(limits::TEXT_BYTES_MAX)
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        self.get(key)?.boolean()
    }

    pub(super) fn duration(&self, key: &'static str) -> Option<Duration> {
        self.get(key)?.duration()
    }

    /// One word of a closed set.
    pub(super) fn word<W: Word>(&self, key: &'static str) -> Option<W> {
        let valid: Vec<&str> = W::WORDS.iter().map(|(word, _)| *word).collect();
        self.get(key)?.one_of(W::WHAT, &valid).and_then(|string| W::find(&string.text))
    }

    pub(super) fn tables(
        &self,
        key: &'static str,
        length_max: usize,
        what: &'static str,
    ) -> Vec<Table<'t, 'i>> {
        self.get(key).and_then(|value| value.tables(length_max, what)).unwrap_or_default()
    }

    /// The keys, in the order of the file.
    pub(super) fn keys(&self) -> Vec<Str> {
        let mut keys: Vec<Str> = self
            .entries
            .keys()
            .map(|key| Str { text: key.get_ref().to_string(), span: key.span() })
            .collect();
        keys.sort_by_key(|key| key.span.start);
        keys
    }

    /// Entries of a table with free keys, in the order of the file.
    pub(super) fn entries(&self) -> Vec<(Str, Value<'t, 'i>)> {
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .map(|(key, value)| {
                let name = Str { text: key.get_ref().to_string(), span: key.span() };
                (name, Value { sink: self.sink, key: key.get_ref().as_ref(), value })
            })
            .collect();
        entries.sort_by_key(|(key, _)| key.span.start);
        entries
    }

    /// Refuses the keys that nobody asked for.
    pub(super) fn finish(self) {
        // TOML gives a key below a table to that table.
        let belongs_to_the_head = |name: &str| {
            self.what != ROOT && ["shakedown", "title", "description", "tags"].contains(&name)
        };
        let mut known = self.known.into_inner();
        known.sort_unstable();
        known.dedup();
        for (key, value) in self.entries {
            let name = key.get_ref().as_ref();
            if known.binary_search(&name).is_err() {
                let message = format!("{} has no key `{}`", self.what, shown(name));
                let is_header = value.get_ref().is_table() || value.get_ref().is_array();
                let place = place_of(name).filter(|_| is_header);
                self.sink.error_with(key.span(), message, |diagnostic| match place {
                    Some(place) => diagnostic.help(format!("write `{place}`")),
                    None if belongs_to_the_head(name) => {
                        diagnostic.help(format!("write `{}` above the first table", shown(name)))
                    }
                    None => suggest(diagnostic, name, &known),
                });
            }
        }
    }
}

pub(super) fn find_word<W: Word>(sink: &Sink<'_>, string: &Str) -> Option<W> {
    let found = W::find(&string.text);
    if found.is_none() {
        let valid: Vec<&str> = W::WORDS.iter().map(|(word, _)| *word).collect();
        sink.unknown(string.span.clone(), W::WHAT, &string.text, &valid);
    }
    found
}

/// Lower-case letters, digits and `-`, beginning with a letter or digit, of a label's length.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= limits::NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Reports a text that is no name.
pub(super) fn check_name(sink: &Sink<'_>, string: &Str) {
    if !is_name(&string.text) {
        let message = format!("`{}` is no name", shown(&string.text));
        let meant = string.text.to_lowercase().replace(['_', ' ', '.'], "-");
        sink.error_with(string.span.clone(), message, |mut diagnostic| {
            if is_name(&meant) {
                diagnostic = diagnostic.help(format!("write `{meant}`"));
            }
            if string.text.len() > limits::NAME_BYTES_MAX {
                diagnostic = diagnostic.help("write a shorter one");
            }
            diagnostic.note(format!(
                "a name has 1 to {} lower-case letters, digits and `-`, and does not begin with `-`",
                limits::NAME_BYTES_MAX
            ))
        });
    }
}

/// Names of one kind, each of which may be given once.
pub(super) struct Names<'t> {
    sink: &'t Sink<'t>,
    what: &'static str,
    /// Where each name was first given.
    seen: BTreeMap<String, usize>,
}

impl<'t> Names<'t> {
    pub(super) fn new(sink: &'t Sink<'t>, what: &'static str) -> Self {
        Names { sink, what, seen: BTreeMap::new() }
    }

    /// Reports a second entry of the same name, with the line of the first.
    pub(super) fn add(&mut self, name: &str, span: Range<usize>) {
        let Some(first) = self.seen.get(name) else {
            self.seen.insert(name.to_owned(), span.start);
            return;
        };
        let message = format!("{} `{}` is there twice", self.what, shown(name));
        self.sink.error_with(span, message, |diagnostic| {
            let line = self.sink.text[..*first].matches('\n').count() + 1;
            let note = format!("the first is on line {line}");
            diagnostic.help("keep one of the two, or make them differ").note(note)
        });
    }
}
