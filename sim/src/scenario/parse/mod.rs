//! From the text of a scenario file to a [`Scenario`], or to everything that is wrong with it.

mod calls;
mod decisions;
mod expect;
mod text;
mod world;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::de::DeTable;
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use super::decode::{Names, Sink, Str, Table, check_name, find_word, is_name, shown};
use super::diagnostic::Diagnostic;
use super::limits;
use super::model::*;
use super::words::{ActionWord, Word};

/// Words that only the code knows. An empty list means that such words are not checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vocabulary<'a> {
    /// Operations that sites can have: `task.create`, `lock`.
    pub operations: &'a [&'a str],
    /// Roles of actors other than the scenario's calls: `exit-monitor`, `process`. An actor
    /// `kubelet-1` has the role `kubelet`.
    pub roles: &'a [&'a str],
    /// Whether an actor that is named like a call, or much like one of the file's, has to be one: `start-2`.
    pub only_calls_are_numbered: bool,
    /// What an operation can fail with, as scenarios write it.
    pub codes: Option<fn(&str) -> Vec<&'static str>>,
    /// Operations that a power loss can find pending: `rename`, `data`.
    pub pending: &'a [&'a str],
}

/// Reads a scenario. `file` is the path as it is shown to people; its stem is the scenario's name.
///
/// # Errors
/// What is wrong, in the order of the file: at least one entry, at most
/// [`limits::DIAGNOSTICS_MAX`].
pub fn parse(file: &str, text: &str) -> Result<Scenario, Vec<Diagnostic>> {
    parse_with(file, text, Vocabulary::default())
}

/// As [`parse`], for bytes that may not even be text.
///
/// # Errors
/// As [`parse`]. The places refer to the text with U+FFFD for what is not UTF-8.
pub fn parse_bytes(
    file: &str,
    bytes: &[u8],
    vocabulary: Vocabulary<'_>,
) -> Result<Scenario, Vec<Diagnostic>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse_with(file, text, vocabulary),
        Err(error) => {
            let text = String::from_utf8_lossy(bytes);
            let at = error.valid_up_to();
            let wrong = Diagnostic::new(file, &text, at..at + 1, "the file is not UTF-8");
            Err(vec![wrong.help("save it in the encoding UTF-8")])
        }
    }
}

/// As [`parse`], and checks the operations and roles in names of sites.
///
/// # Errors
/// As [`parse`].
pub fn parse_with(
    file: &str,
    text: &str,
    vocabulary: Vocabulary<'_>,
) -> Result<Scenario, Vec<Diagnostic>> {
    let sink = Sink::new(file, text);
    let scenario = read(&sink, file, text, vocabulary);
    let diagnostics = sink.into_diagnostics();
    match scenario {
        Some(scenario) if diagnostics.is_empty() => Ok(scenario),
        _ => Err(diagnostics),
    }
}

/// The name of the scenario that `file` holds: its last component without `.toml`.
pub fn name_of(file: &str) -> &str {
    let last = file.rsplit(['/', '\\']).next().unwrap_or_default();
    last.strip_suffix(".toml").unwrap_or(last)
}

/// `None` if something was reported that leaves nothing to return.
fn read(sink: &Sink<'_>, file: &str, text: &str, vocabulary: Vocabulary<'_>) -> Option<Scenario> {
    if text.len() > limits::FILE_BYTES_MAX {
        let message = format!(
            "the file has {} bytes; at most {} are allowed",
            text.len(),
            limits::FILE_BYTES_MAX
        );
        sink.error(0..0, message, "make several files of this one");
        return None;
    }
    let name = name_of(file);
    if name.is_empty()
        || name.len() > limits::FILE_NAME_BYTES_MAX
        || name.contains(['[', ']', '\n'])
    {
        let message = format!("`{}` does not do as the name of a scenario", shown(name));
        sink.error_with(0..0, message, |diagnostic| {
            diagnostic.note(format!(
                "the file's name without `.toml` has 1 to {} bytes and no brackets",
                limits::FILE_NAME_BYTES_MAX
            ))
        });
        return None;
    }
    if let Some(span) = too_deep(text) {
        let message = format!("more than {} levels inside one another", limits::NESTING_MAX);
        sink.error(
            span,
            message,
            "a scenario needs no more than `[[expect.status]]` and lists of texts",
        );
        return None;
    }
    let (tree, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            match text.get(span.clone()) {
                Some(key) if error.message() == "duplicate key" => {
                    let message = format!("`{}` is there twice", shown(key.trim()));
                    sink.error_with(span, message, |d| d.help("keep one of the two"));
                }
                _ => sink.error_with(span.clone(), error.message(), |diagnostic| {
                    const TOML: &str = "TOML: `key = \"text\"`, `key = 1`, `key = [\"text\"]`, `[world]`, `[[call]]`";
                    match meant_by(text, span) {
                        Some(meant) => diagnostic
                            .help(format!("write `{}`", shown(&meant)))
                            .note(format!("a scenario is written in {TOML}")),
                        None if error.message().contains("expected newline") => {
                            diagnostic.help("write one `key = value` a line")
                        }
                        None if error.message().contains("escaped value") => diagnostic
                            .help("write `\\\\` for a backslash, or the text in single quotes"),
                        None => diagnostic.help(format!("write {TOML}")),
                    }
                }),
            }
        }
        return None;
    }
    let root = Table::root(sink, tree.get_ref());
    if !version_is_known(&root) {
        return None;
    }
    Some(Parser::new(sink, vocabulary).scenario(name, root))
}

/// The line that was meant where one is not TOML: a text without quotes, or with those of a typesetter; a header
/// that is not closed; a number with a leading zero; a YAML key.
fn meant_by(text: &str, span: Range<usize>) -> Option<String> {
    let start = text.get(..span.start)?.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[start..].lines().next()?.trim();
    if let Some(name) = line.strip_prefix('[') {
        let is_list = name.starts_with('[');
        let name = name.trim_matches(['[', ']', ' ']);
        let is_name =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b"-.".contains(&b));
        return is_name.then(|| if is_list { format!("[[{name}]]") } else { format!("[{name}]") });
    }
    let is_key = |key: &str| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if is_key(line) {
        return Some(format!("{line} = VALUE"));
    }
    let (key, value) = line.split_once(['=', ':'])?;
    let (key, value) = (key.trim(), value.trim().replace(['“', '”', '„', '‟'], "\""));
    // What other languages end a line with.
    let (value, had_end) = match value.strip_suffix([',', ';']) {
        Some(value) => (value.trim_end().to_owned(), true),
        None => (value, false),
    };
    if !is_key(key) || value.is_empty() {
        return None;
    }
    if value.starts_with(['[', '{']) {
        let had_others = line.contains(['“', '”', '„', '‟']);
        let is_whole = value.ends_with([']', '}']);
        return (had_others || had_end && is_whole).then(|| format!("{key} = {value}"));
    }
    let is_number = value.bytes().all(|b| b.is_ascii_digit());
    if value.starts_with("0x") || value.starts_with("0o") || value.starts_with("0b") {
        return None;
    }
    if is_number && value.starts_with('0') && key == "mode" {
        return Some(format!("{key} = 0o{}", value.trim_start_matches('0')));
    }
    if is_number || ["true", "false"].contains(&&*value) {
        let digits = value.trim_start_matches('0');
        return Some(format!("{key} = {}", if digits.is_empty() { "0" } else { digits }));
    }
    if ["True", "False", "TRUE", "FALSE"].contains(&&*value) {
        return Some(format!("{key} = {}", value.to_lowercase()));
    }
    let bare = value.trim_matches(['"', '\'', '‘', '’']);
    let is_plain = !bare.contains(['"', '\\']) && !bare.contains(char::is_control);
    is_plain.then(|| format!("{key} = \"{bare}\""))
}

/// Where tables, arrays and dotted keys nest deeper than is allowed. The parser of TOML below and
/// the destructors of its tree recurse, so this is known before they run.
fn too_deep(text: &str) -> Option<Range<usize>> {
    // Dots of the key being read at each open bracket; the file itself is the first level.
    let mut dots = vec![0usize];
    let mut depth = 0;
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => {
                dots.push(0);
                depth += 1;
            }
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket if dots.len() > 1 => {
                depth -= 1 + dots.pop().unwrap_or_default();
            }
            TokenKind::Dot => {
                if let Some(level) = dots.last_mut() {
                    *level += 1;
                    depth += 1;
                }
            }
            TokenKind::Comma | TokenKind::Newline => {
                if let Some(level) = dots.last_mut() {
                    depth -= std::mem::take(level);
                }
            }
            _ => {}
        }
        if depth > limits::NESTING_MAX {
            return Some(token.span().start()..token.span().end());
        }
    }
    None
}

fn version_is_known(root: &Table<'_, '_>) -> bool {
    let write = format!("write `shakedown = {FORMAT_VERSION}` as the first line");
    let Some(version) = root.get("shakedown") else {
        root.sink.error_with(0..0, "the version of the format is missing", |d| d.help(write));
        return false;
    };
    match version.integer(i64::MIN..=i64::MAX) {
        Some(FORMAT_VERSION) => true,
        Some(other) => {
            let message = format!("version {other} of the format is not known to this program");
            root.sink.error_with(version.span(), message, |diagnostic| {
                diagnostic.help(format!("it reads version {FORMAT_VERSION}: {write}"))
            });
            false
        }
        None => false,
    }
}

struct Parser<'t, 'v> {
    sink: &'t Sink<'t>,
    vocabulary: Vocabulary<'v>,
    axes: Vec<Axis>,
    axes_used: RefCell<BTreeSet<String>>,
    calls: BTreeMap<String, Option<ActionWord>>,
    /// Not all calls could be named: one that is not known may be there.
    has_unnamed_call: bool,
    containers: Vec<String>,
    /// Containers that the world has before the first call.
    made_beforehand: Vec<String>,
    sandboxes: Vec<String>,
    images: Vec<String>,
    plugins: Vec<String>,
    /// Containers that replies of plugins name, before containers are known.
    wished: RefCell<Vec<Str>>,
    /// Checks of filled-in texts that may still be made: enough for every sensible file.
    checks_left: Cell<u32>,
    output_bytes: Cell<u64>,
}

impl<'t, 'v> Parser<'t, 'v> {
    fn new(sink: &'t Sink<'t>, vocabulary: Vocabulary<'v>) -> Self {
        Parser {
            sink,
            vocabulary,
            axes: Vec::new(),
            axes_used: RefCell::default(),
            calls: BTreeMap::new(),
            has_unnamed_call: false,
            containers: Vec::new(),
            made_beforehand: Vec::new(),
            sandboxes: Vec::new(),
            images: Vec::new(),
            plugins: Vec::new(),
            wished: RefCell::default(),
            checks_left: Cell::new(limits::FILLED_IN_CHECKS_MAX),
            output_bytes: Cell::new(0),
        }
    }

    fn scenario(mut self, name: &str, root: Table<'t, '_>) -> Scenario {
        let title = root
            .require("title", "\"Creating the task fails\"")
            .and_then(|value| value.string(limits::TEXT_BYTES_MAX));
        if let Some(title) = &title
            && (title.text.trim().is_empty() || title.text.contains(char::is_control))
        {
            let message = "the title must be one line that says something";
            self.sink.error_with(title.span.clone(), message, |diagnostic| {
                diagnostic.help("write what happens, as `title = \"Creating the task fails\"`; more goes into `description`")
            });
        }
        let description = root
            .get("description")
            .and_then(|value| value.string(limits::LONG_TEXT_BYTES_MAX))
            .map_or_else(String::new, |string| string.text);
        let tags = self.names(&root, "tags", "tag");

        let world = match root.get("world").and_then(|value| value.table("the world")) {
            Some(table) => self.world(table),
            None => World::default(),
        };
        self.sandboxes = world.sandboxes.iter().map(|sandbox| sandbox.name.clone()).collect();
        self.images = world.images.iter().map(|image| image.name.clone()).collect();
        self.plugins = world.plugins.iter().map(|plugin| plugin.name.clone()).collect();
        let world = self.containers(world, &root);

        let call_tables = root.tables("call", limits::CALLS_MAX, "a call");
        let call_heads = self.call_heads(call_tables);
        let matrix_table = root.get("matrix").and_then(|value| value.table("the matrix"));
        if let Some(table) = &matrix_table {
            self.axes = self.matrix(table);
        }
        let calls: Vec<Call> = call_heads.into_iter().filter_map(|head| self.call(head)).collect();
        self.circles(&calls);
        let occurrences =
            self.occurrences(root.tables("occurrence", limits::DECISIONS_MAX, "an occurrence"));
        let faults = self.faults(root.tables("fault", limits::DECISIONS_MAX, "a fault"));
        let holds = self.holds(root.tables("hold", limits::DECISIONS_MAX, "a hold"));
        let clocks = self.clocks(root.tables("clock", limits::DECISIONS_MAX, "a clock"));
        let crashes = self.crashes(root.tables("crash", limits::DECISIONS_MAX, "a crash"));
        let expects = root
            .tables("expect", limits::EXPECTATIONS_MAX, "an expectation")
            .into_iter()
            .map(|table| self.expect(table))
            .collect();
        let violations =
            self.violations(root.tables("violation", limits::EXPECTATIONS_MAX, "a violation"));
        root.finish();

        let used = self.axes_used.borrow();
        // What is wrong with values is told; that no text uses them is not wrong then.
        let is_known =
            |axis: &&Axis| !matches!(&axis.values, AxisValues::List(of) if of.is_empty());
        for axis in self.axes.iter().filter(is_known).filter(|axis| !used.contains(&axis.name)) {
            let message = format!("no text of the file uses the axis `{}`", axis.name);
            self.sink.error_with(axis.span.0.clone(), message, |diagnostic| {
                diagnostic.help(format!("write `{{{}}}` where its values belong", axis.name))
            });
        }
        drop(used);
        Scenario {
            name: name.to_owned(),
            title: title.map_or_else(String::new, |title| title.text),
            description,
            tags,
            world,
            calls,
            occurrences,
            faults,
            holds,
            clocks,
            crashes,
            matrix: self.axes,
            expects,
            violations,
        }
    }

    /// A required name that no other entry of its kind has.
    fn new_name(&self, table: &Table<'t, '_>, names: &mut Names<'t>) -> String {
        match table
            .require("name", "\"web\"")
            .and_then(|value| value.string(limits::TEXT_BYTES_MAX))
        {
            Some(string) => {
                check_name(self.sink, &string);
                names.add(&string.text, string.span.clone());
                // What the rest of the file calls it is told by what it should be.
                if is_name(&string.text) { string.text } else { String::new() }
            }
            None => String::new(),
        }
    }

    /// A list of different names.
    fn names(&self, table: &Table<'t, '_>, key: &'static str, what: &'static str) -> Vec<String> {
        let Some(list) = table
            .get(key)
            .and_then(|value| value.strings(limits::LIST_MAX, limits::TEXT_BYTES_MAX))
        else {
            return Vec::new();
        };
        let mut names = Names::new(self.sink, what);
        for string in &list {
            check_name(self.sink, string);
            names.add(&string.text, string.span.clone());
        }
        list.into_iter().map(|string| string.text).collect()
    }

    /// A list of different words of a closed set, in the set's order; `None` if there is no list.
    fn word_set<W: Word + Ord>(
        &self,
        table: &Table<'t, '_>,
        key: &'static str,
        what: &'static str,
    ) -> Option<Vec<W>> {
        let list = table.get(key)?.strings(limits::LIST_MAX, limits::TEXT_BYTES_MAX)?;
        let mut names = Names::new(self.sink, what);
        let mut words: Vec<W> = list
            .iter()
            .filter_map(|string| {
                names.add(&string.text, string.span.clone());
                find_word(self.sink, string)
            })
            .collect();
        words.sort_unstable();
        Some(words)
    }

    fn known(&self, string: &Str, what: &str, valid: &[String]) {
        // Where one has no name that does, it may be the one that is meant.
        let is_open = valid.iter().any(String::is_empty);
        if !is_open && !valid.contains(&string.text) {
            let valid: Vec<&str> = valid.iter().map(String::as_str).collect();
            self.sink.unknown(string.span.clone(), what, &string.text, &valid);
        }
    }

    /// Reports a string that is none of the words.
    fn one_of(&self, string: &Str, what: &str, valid: &[&str]) {
        if !valid.contains(&string.text.as_str()) {
            self.sink.unknown(string.span.clone(), what, &string.text, valid);
        }
    }

    fn required_reference(
        &self,
        table: &Table<'t, '_>,
        key: &'static str,
        valid: &[String],
    ) -> String {
        let known = valid.iter().find(|name| !name.is_empty());
        let example = format!("\"{}\"", known.map_or("web", String::as_str));
        match table.require(key, &example).and_then(|value| value.string(limits::TEXT_BYTES_MAX)) {
            Some(string) => {
                self.known(&string, key, valid);
                string.text
            }
            None => String::new(),
        }
    }

    /// Reports two keys of which there may be one.
    fn exclude(&self, span: Range<usize>, keys: [&str; 2]) {
        let message = format!("`{}` and `{}` exclude one another", keys[0], keys[1]);
        self.sink.error_with(span, message, |diagnostic| diagnostic.help("leave one of them out"));
    }

    /// Reports a key that makes no sense without what `with` says.
    fn only_with(&self, table: &Table<'t, '_>, key: &'static str, with: &str) {
        if let Some(value) = table.get(key) {
            let message = format!("`{key}` goes with `{with}` only");
            self.sink.error_with(value.span(), message, |diagnostic| {
                diagnostic.help(format!("leave it out, or write `{with}`"))
            });
        }
    }

    fn bounded(
        &self,
        table: &Table<'t, '_>,
        key: &'static str,
        least: i64,
        most: i64,
    ) -> Option<i64> {
        table.get(key)?.integer(least..=most)
    }
}
