//! From the text of a scenario file to a [`Scenario`], or to everything that is wrong with it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use shakedown_cri::ports::{Code, Errno};
use shakedown_cri::quirks::{Profile, Quirk};
use toml::de::DeTable;
use toml_parser::Source;
use toml_parser::lexer::TokenKind;

use super::decode::{
    Names, Sink, Str, Table, Value, check_name, find_word, is_name, shown, suggest,
};
use super::diagnostic::Diagnostic;
use super::matrix::{placeholders, substitute};
use super::model::*;
use super::site_name::{Actor, MomentName, SiteName, SiteNameError, SiteNameErrorKind, Stage};
use super::words::{
    ANSWER_NONE, ANSWER_OK, ActionWord, EVENT_WORDS, EffectWord, FaultWord, INVARIANTS,
    PidModeWord, STATE_GONE, STATE_WORDS, Word,
};
use super::{defaults, limits};

/// Words that only the code knows. An empty list means that such words are not checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vocabulary<'a> {
    /// Operations that sites can have: `task.create`, `lock`.
    pub operations: &'a [&'a str],
    /// Roles of actors other than the scenario's calls: `exit-monitor`, `process`. An actor
    /// `kubelet-1` has the role `kubelet`.
    pub roles: &'a [&'a str],
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
            Err(vec![Diagnostic::new(file, &text, at..at + 1, "the file is not UTF-8")])
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
        sink.error(0..0, message);
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
        sink.error(span, message);
        return None;
    }
    let (tree, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            sink.error(error.span().unwrap_or(0..0), error.message());
        }
        return None;
    }
    let root = Table::root(sink, tree.get_ref());
    if !version_is_known(&root) {
        return None;
    }
    Some(Parser::new(sink, vocabulary).scenario(name, root))
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
                diagnostic.note(format!("it reads version {FORMAT_VERSION}"))
            });
            false
        }
        None => false,
    }
}

/// What a text with placeholders must be once they are filled in.
#[derive(Clone, Copy, PartialEq)]
enum Wants {
    Moment,
    Site,
    /// An error class or error number.
    FaultCode,
    /// `ok`, an error class, or `none`.
    Answer,
    Message,
}

/// Why a text is not what was wanted.
struct Problem {
    /// Bytes of the text; `None`: all of it.
    part: Option<Range<usize>>,
    message: String,
    /// The wrong word, and what would be right.
    word: Option<(String, Vec<String>)>,
    note: Option<String>,
}

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Problem { part: None, message: message.into(), word: None, note: None }
    }
}

struct Parser<'t, 'v> {
    sink: &'t Sink<'t>,
    vocabulary: Vocabulary<'v>,
    axes: Vec<Axis>,
    axes_used: RefCell<BTreeSet<String>>,
    calls: BTreeMap<String, Option<ActionWord>>,
    containers: Vec<String>,
    sandboxes: Vec<String>,
    images: Vec<String>,
    plugins: Vec<String>,
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
            containers: Vec::new(),
            sandboxes: Vec::new(),
            images: Vec::new(),
            plugins: Vec::new(),
            checks_left: Cell::new(limits::FILLED_IN_CHECKS_MAX),
            output_bytes: Cell::new(0),
        }
    }

    fn scenario(mut self, name: &str, root: Table<'t, '_>) -> Scenario {
        let title = root.require("title").and_then(|value| value.string(limits::TEXT_BYTES_MAX));
        if let Some(title) = &title
            && (title.text.trim().is_empty() || title.text.contains(['\n', '\r']))
        {
            self.sink.error(title.span.clone(), "the title must be one line that says something");
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
        let calls = call_heads.into_iter().filter_map(|head| self.call(head)).collect();
        let faults = self.faults(root.tables("fault", limits::DECISIONS_MAX, "a fault"));
        let holds = self.holds(root.tables("hold", limits::DECISIONS_MAX, "a hold"));
        let expects = root
            .tables("expect", limits::EXPECTATIONS_MAX, "an expectation")
            .into_iter()
            .map(|table| self.expect(table))
            .collect();
        let violations =
            self.violations(root.tables("violation", limits::EXPECTATIONS_MAX, "a violation"));
        root.finish();

        let used = self.axes_used.borrow();
        for axis in self.axes.iter().filter(|axis| !used.contains(&axis.name)) {
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
            faults,
            holds,
            matrix: self.axes,
            expects,
            violations,
        }
    }

    // --- parts that many entries have -----------------------------------------------------------

    /// A required name that no other entry of its kind has.
    fn new_name(&self, table: &Table<'t, '_>, names: &mut Names<'t>) -> String {
        match table.require("name").and_then(|value| value.string(limits::TEXT_BYTES_MAX)) {
            Some(string) => {
                check_name(self.sink, &string);
                names.add(&string.text, string.span);
                string.text
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
        if !valid.contains(&string.text) {
            let valid: Vec<&str> = valid.iter().map(String::as_str).collect();
            self.sink.unknown(string.span.clone(), what, &string.text, &valid);
        }
    }

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
        match table.require(key).and_then(|value| value.string(limits::TEXT_BYTES_MAX)) {
            Some(string) => {
                self.known(&string, key, valid);
                string.text
            }
            None => String::new(),
        }
    }

    /// Reports a key that makes no sense without what `with` says.
    fn only_with(&self, table: &Table<'t, '_>, key: &'static str, with: &str) {
        if let Some(value) = table.get(key) {
            self.sink.error(value.span(), format!("`{key}` goes with `{with}` only"));
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

    // --- the world ------------------------------------------------------------------------------

    /// Everything of the world but its containers, which refer to the rest of it.
    fn world(&self, table: Table<'t, '_>) -> World {
        let bound = table.get("bound").and_then(|value| {
            let bound = value.duration()?;
            if bound.is_zero() {
                self.sink.error(value.span(), "`bound` must be longer than nothing");
            }
            Some(bound)
        });
        let max_log_line = self.bounded(&table, "max-log-line", 1, 1 << 20);
        let disk = table.get("disk").and_then(|value| value.table("the disk")).map(|disk| {
            let size = self.bounded(&disk, "size", 0, 1 << 40);
            let max_open_files = self.bounded(&disk, "max-open-files", 0, 1 << 20);
            disk.finish();
            Disk {
                size: size.and_then(|size| u64::try_from(size).ok()),
                max_open_files: max_open_files.and_then(|max| u32::try_from(max).ok()),
            }
        });

        let mut names = Names::new(self.sink, "plugin");
        let plugins: Vec<Plugin> = table
            .tables("plugin", limits::THINGS_MAX, "a plugin")
            .into_iter()
            .enumerate()
            .map(|(position, table)| self.plugin(table, position, &mut names))
            .collect();

        let mut names = Names::new(self.sink, "image");
        let images: Vec<Image> = table
            .tables("image", limits::THINGS_MAX, "an image")
            .into_iter()
            .map(|table| {
                let name = self.new_name(&table, &mut names);
                let stop_signal = table.string("stop-signal").map_or_else(String::new, |s| s.text);
                table.finish();
                Image { name, stop_signal }
            })
            .collect();

        let mut names = Names::new(self.sink, "sandbox");
        let sandboxes: Vec<Sandbox> = table
            .tables("sandbox", limits::THINGS_MAX, "a sandbox")
            .into_iter()
            .map(|table| self.sandbox(table, &mut names))
            .collect();

        let mut names = Names::new(self.sink, "path");
        let paths = table
            .tables("path", limits::LIST_MAX, "a path")
            .into_iter()
            .map(|table| self.path(table, &mut names))
            .collect();

        let nri = table.word("nri").unwrap_or_else(|| defaults::nri(&plugins));
        let runtimes = self.names(&table, "runtimes", "runtime");
        // Read later; asked for here so that it is a known key.
        table.get("container");
        table.finish();
        World {
            bound: bound.unwrap_or(defaults::BOUND),
            max_log_line: max_log_line
                .and_then(|bytes| u32::try_from(bytes).ok())
                .unwrap_or(defaults::LOG_LINE_BYTES),
            nri,
            disk: disk.unwrap_or_default(),
            plugins,
            images: if images.is_empty() { defaults::images() } else { images },
            sandboxes: if sandboxes.is_empty() { defaults::sandboxes() } else { sandboxes },
            containers: Vec::new(),
            paths,
            runtimes,
        }
    }

    fn plugin(&self, table: Table<'t, '_>, position: usize, names: &mut Names<'t>) -> Plugin {
        let name = self.new_name(&table, names);
        let index = table.string("index");
        if let Some(index) = &index
            && !(index.text.len() == 2 && index.text.bytes().all(|b| b.is_ascii_digit()))
        {
            self.sink.error(index.span.clone(), "`index` must be two digits, as in \"05\"");
        }
        let events = self.word_set(&table, "events", "event");
        let connected = table.boolean("connected").unwrap_or(true);
        table.finish();
        Plugin {
            name,
            index: index.map_or_else(|| defaults::plugin_index(position), |index| index.text),
            events: events
                .unwrap_or_else(|| PluginEvent::WORDS.iter().map(|(_, event)| *event).collect()),
            connected,
        }
    }

    fn sandbox(&self, table: Table<'t, '_>, names: &mut Names<'t>) -> Sandbox {
        let name = self.new_name(&table, names);
        let state = table.word("state").unwrap_or(SandboxState::Ready);
        let runtime_handler = table.string("runtime-handler").map_or_else(String::new, |s| s.text);
        let untrusted = table.boolean("untrusted").unwrap_or(false);
        let host_namespaces = self.word_set(&table, "host-namespaces", "namespace");
        let log_directory = table.string("log-directory");
        if let Some(directory) = &log_directory
            && !directory.text.is_empty()
        {
            self.absolute(directory);
        }
        table.finish();
        Sandbox {
            state,
            runtime_handler,
            untrusted,
            host_namespaces: host_namespaces.unwrap_or_default(),
            log_directory: log_directory
                .map_or_else(|| defaults::log_directory(&name), |directory| directory.text),
            name,
        }
    }

    fn path(&self, table: Table<'t, '_>, names: &mut Names<'t>) -> PathEntry {
        let path = table.require("path").and_then(|value| value.string(limits::TEXT_BYTES_MAX));
        if let Some(path) = &path {
            self.absolute(path);
            names.add(&path.text, path.span.clone());
        }
        table.require("kind");
        let kind = table.word("kind").unwrap_or(PathKind::File);
        let mode = match defaults::path_mode(kind) {
            Some(default) => table.get("mode").and_then(|value| value.mode()).unwrap_or(default),
            None => 0,
        };
        table.finish();
        PathEntry { path: path.map_or_else(String::new, |path| path.text), kind, mode }
    }

    /// An absolute path without `.`, `..`, `//`, or a `/` at its end.
    fn absolute(&self, path: &Str) {
        let normalised = path.text.strip_prefix('/').is_some_and(|rest| {
            !rest.contains('\0')
                && rest.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        });
        if !normalised {
            let message = format!("`{}` is no absolute, normalised path", shown(&path.text));
            self.sink.error(path.span.clone(), message);
        }
    }

    fn containers(&mut self, mut world: World, root: &Table<'t, '_>) -> World {
        let Some(table) = root.get("world").filter(Value::is_table) else {
            return world;
        };
        let Some(table) = table.table("the world") else {
            return world;
        };
        let mut names = Names::new(self.sink, "container");
        world.containers = table
            .tables("container", limits::THINGS_MAX, "a container")
            .into_iter()
            .map(|table| self.container(table, &mut names, &world))
            .collect();
        self.containers = world.containers.iter().map(|c| c.name.clone()).collect();
        world
    }

    fn container(
        &self,
        mut table: Table<'t, '_>,
        names: &mut Names<'t>,
        world: &World,
    ) -> Container {
        let name = self.new_name(&table, names);
        let sandbox = table.string("sandbox");
        if let Some(sandbox) = &sandbox {
            self.known(sandbox, "sandbox", &self.sandboxes);
        }
        let image = table.string("image");
        if let Some(image) = &image {
            self.known(image, "image", &self.images);
        }
        let id = table.string("id");
        if let Some(id) = &id
            && !(id.text.len() <= 64
                && id.text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
        {
            let message = "`id` must be at most 64 lower-case hexadecimal digits";
            self.sink.error(id.span.clone(), message);
        }
        let log_path = table.string("log-path");
        if let Some(path) = &log_path
            && (path.text.starts_with('/') || path.text.contains('\0'))
        {
            let message = "`log-path` must be relative to the sandbox's log directory";
            self.sink.error(path.span.clone(), message);
        }
        let pid_mode = table.word("pid-mode").unwrap_or(PidModeWord::Container);
        if pid_mode != PidModeWord::Target {
            self.only_with(&table, "target", "pid-mode = \"target\"");
        }
        let pid_mode = match pid_mode {
            PidModeWord::Container => PidMode::Container,
            PidModeWord::Pod => PidMode::Pod,
            PidModeWord::Node => PidMode::Node,
            PidModeWord::Target => {
                table.what = "a container with `pid-mode = \"target\"`";
                table.require("target");
                PidMode::Target(table.string("target").map_or_else(String::new, |s| s.text))
            }
        };
        let process = table
            .get("process")
            .and_then(|value| value.table("a process"))
            .map_or_else(Process::default, |process| self.process(process));
        let tty = table.boolean("tty").unwrap_or(false);
        let stdin = table.boolean("stdin").unwrap_or(false);
        let state = table.word("state").unwrap_or(InitialState::Created);
        table.finish();
        Container {
            sandbox: sandbox.map_or_else(|| world.sandboxes[0].name.clone(), |s| s.text),
            image: image.map_or_else(|| world.images[0].name.clone(), |image| image.text),
            id: id.map_or_else(String::new, |id| id.text),
            log_path: log_path.map_or_else(|| defaults::log_path(&name), |path| path.text),
            tty,
            stdin,
            pid_mode,
            state,
            process,
            name,
        }
    }

    fn process(&self, table: Table<'t, '_>) -> Process {
        let runs = table
            .get("runs")
            .filter(|value| !value.is_text("forever"))
            .and_then(|value| value.duration());
        let exit_code = self.bounded(&table, "exit-code", 0, 255).unwrap_or(0);
        let ignores_sigterm = table.boolean("ignores-sigterm").unwrap_or(false);
        let executable_missing = table.boolean("executable-missing").unwrap_or(false);
        let output = table
            .tables("output", limits::LIST_MAX, "an output")
            .into_iter()
            .map(|table| self.output(table))
            .collect();
        table.finish();
        Process {
            runs,
            exit_code: i32::try_from(exit_code).unwrap_or(0),
            ignores_sigterm,
            executable_missing,
            output,
        }
    }

    fn output(&self, table: Table<'t, '_>) -> Output {
        let at = table.duration("at").unwrap_or_default();
        let stream = table.word("stream").unwrap_or(Stream::Stdout);
        let text = table.require("text").and_then(|value| value.string(limits::FILE_BYTES_MAX));
        let repeat = self.bounded(&table, "repeat", 1, i64::from(u32::MAX)).unwrap_or(1);
        let repeat = u32::try_from(repeat).unwrap_or(1);
        if let Some(text) = &text {
            let bytes = text.text.len() as u64 * u64::from(repeat);
            let total = self.output_bytes.get().saturating_add(bytes);
            self.output_bytes.set(total);
            if bytes > limits::OUTPUT_BYTES_MAX {
                let message = format!(
                    "this writes {bytes} bytes in one go; at most {} are allowed",
                    limits::OUTPUT_BYTES_MAX
                );
                self.sink.error(text.span.clone(), message);
            } else if total > limits::OUTPUT_BYTES_TOTAL_MAX {
                let message = format!(
                    "the processes of this file write more than {} bytes",
                    limits::OUTPUT_BYTES_TOTAL_MAX
                );
                self.sink.error(text.span.clone(), message);
            }
        }
        table.finish();
        Output { at, stream, text: text.map_or_else(String::new, |text| text.text), repeat }
    }

    // --- the matrix and texts with placeholders -------------------------------------------------

    fn matrix(&self, table: &Table<'t, '_>) -> Vec<Axis> {
        let entries = table.entries();
        if entries.is_empty() {
            self.sink.error(table.span.clone(), "the matrix has no axis");
        }
        if let Some((key, _)) = entries.get(limits::AXES_MAX) {
            let message = format!("a matrix has at most {} axes", limits::AXES_MAX);
            self.sink.error(key.span.clone(), message);
        }
        let axes: Vec<Axis> = entries
            .into_iter()
            .take(limits::AXES_MAX)
            .filter_map(|(key, value)| {
                check_name(self.sink, &key);
                let values =
                    if value.is_table() { self.sweep(value)? } else { self.axis_list(value)? };
                Some(Axis { span: Span(key.span), name: key.text, values })
            })
            .collect();
        let cases = axes.iter().fold(1usize, |cases, axis| match &axis.values {
            AxisValues::List(values) => cases.saturating_mul(values.len()),
            AxisValues::EveryMomentOf(_) | AxisValues::EverySiteOf(_) => cases,
        });
        if cases > limits::CASES_MAX {
            let message =
                format!("the matrix has {cases} cases; at most {} are allowed", limits::CASES_MAX);
            self.sink.error(table.span.clone(), message);
        }
        axes
    }

    fn axis_list(&self, value: Value<'t, '_>) -> Option<AxisValues> {
        let list = value.strings(limits::AXIS_VALUES_MAX, limits::SITE_BYTES_MAX)?;
        if list.is_empty() {
            self.sink.error(value.span(), "an axis needs at least one value");
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
        if let Some(actor) = moments.as_ref().or(sites.as_ref()) {
            self.actor_reference(actor);
        }
        let values = match (moments, sites) {
            (Some(actor), None) => Some(AxisValues::EveryMomentOf(actor.text)),
            (None, Some(actor)) => Some(AxisValues::EverySiteOf(actor.text)),
            _ => {
                let message = "a sweep needs one of `every-moment-of` and `every-site-of`";
                self.sink.error(table.span.clone(), message);
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
            _ => Some(Problem::new(format!("`{}` is no actor", shown(&string.text)))),
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
            if let Some((word, valid)) = &problem.word {
                let valid: Vec<&str> = valid.iter().map(String::as_str).collect();
                diagnostic = suggest(diagnostic, word, &valid);
            }
            match problem.note {
                Some(note) => diagnostic.note(note),
                None => diagnostic,
            }
        });
    }

    /// Checks a text in every way in which its placeholders can be filled in.
    fn text(&self, string: Str, wants: Wants) -> Text {
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
            self.sink.error(string.span.clone(), message);
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

    fn check_filled_in(&self, string: &Str, wants: Wants, axes: &[&Axis]) {
        if wants == Wants::Message {
            return;
        }
        let swept = axes.iter().any(|axis| !matches!(axis.values, AxisValues::List(_)));
        if swept && matches!(wants, Wants::FaultCode | Wants::Answer) {
            self.sink.error(string.span.clone(), "the values of a sweep do not do here");
            return;
        }
        // Sweeps are known at run time; a moment or site stands for all of theirs.
        let moment = vec!["sweep/any#1.reply".to_owned()];
        let site = vec!["sweep/any#1".to_owned()];
        let values: Vec<&Vec<String>> = axes
            .iter()
            .map(|axis| match &axis.values {
                AxisValues::List(values) => values,
                AxisValues::EveryMomentOf(_) => &moment,
                AxisValues::EverySiteOf(_) => &site,
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
            Wants::FaultCode => {
                let classes = Code::ALL.iter().map(|code| code.name());
                let valid: Vec<&str> =
                    classes.chain(Errno::ALL.iter().map(|errno| errno.name())).collect();
                check_word(text, "error code", &valid)
            }
            Wants::Answer => {
                let mut valid = vec![ANSWER_OK, ANSWER_NONE];
                valid.extend(Code::ALL.iter().map(|code| code.name()));
                check_word(text, "answer", &valid)
            }
            Wants::Moment => {
                too_long(text)?;
                let moment: MomentName = text.parse().map_err(site_problem)?;
                if swept {
                    return Ok(());
                }
                match &moment {
                    MomentName::At { site, .. } => self.check_site(text, site),
                    MomentName::Done { actor } => self.check_actor(actor, true),
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
                    word: Some((
                        operation.clone(),
                        operations.iter().map(|word| (*word).to_owned()).collect(),
                    )),
                    note: Some("`shakedown sites` lists all operations".to_owned()),
                })
            }
            _ => Ok(()),
        }
    }

    /// `call`: only a call will do.
    fn check_actor(&self, actor: &Actor, call: bool) -> Result<(), Problem> {
        let name = actor.to_string();
        if self.calls.contains_key(&name) {
            return Ok(());
        }
        let roles = self.vocabulary.roles;
        let role = actor.role.as_str();
        // `kubelet-1` is of the role `kubelet`.
        let stem = role.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
        let is_role = roles.is_empty() || roles.contains(&role) || roles.contains(&stem);
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
            word: Some((role.to_owned(), valid)),
            note: None,
        })
    }

    /// `None` if the key is missing.
    fn text_of(&self, table: &Table<'t, '_>, key: &'static str, wants: Wants) -> Option<Text> {
        table.string(key).map(|string| self.text(string, wants))
    }

    fn required_text(&self, table: &Table<'t, '_>, key: &'static str, wants: Wants) -> Text {
        table.require(key);
        self.text_of(table, key, wants).unwrap_or_default()
    }

    // --- calls ----------------------------------------------------------------------------------

    /// Names of all calls first: sites may name a call that comes later in the file.
    fn call_heads<'i>(&mut self, tables: Vec<Table<'t, 'i>>) -> Vec<CallHead<'t, 'i>> {
        let mut names = Names::new(self.sink, "call");
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        tables
            .into_iter()
            .map(|table| {
                table.require("do");
                let action: Option<ActionWord> = table.word("do");
                let number = action.map(|action| {
                    let count = counts.entry(action.word()).or_default();
                    *count += 1;
                    *count
                });
                let name = match (table.string("name"), action, number) {
                    (Some(name), ..) => {
                        check_name(self.sink, &name);
                        if !name.text.starts_with(|c: char| c.is_ascii_lowercase()) {
                            let message = "the name of a call begins with a letter";
                            self.sink.error(name.span.clone(), message);
                        }
                        if self.vocabulary.roles.contains(&name.text.as_str()) {
                            let message =
                                format!("`{}` is the name of another actor", shown(&name.text));
                            self.sink.error(name.span.clone(), message);
                        }
                        names.add(&name.text, name.span);
                        name.text
                    }
                    (None, Some(action), Some(number)) => {
                        let name = format!("{}-{number}", action.word());
                        names.add(&name, table.span.clone());
                        name
                    }
                    _ => String::new(),
                };
                if is_name(&name) {
                    self.calls.insert(name.clone(), action);
                }
                CallHead { table, action, name }
            })
            .collect()
    }

    fn call(&self, head: CallHead<'t, '_>) -> Option<Call> {
        let CallHead { mut table, action, name } = head;
        let action = action?;
        table.what = match action {
            ActionWord::Create => "a call `create`",
            ActionWord::Start => "a call `start`",
            ActionWord::Stop => "a call `stop`",
            ActionWord::Remove => "a call `remove`",
            ActionWord::Status => "a call `status`",
            ActionWord::List => "a call `list`",
            ActionWord::StopPod => "a call `stop-pod`",
            ActionWord::RemovePod => "a call `remove-pod`",
            ActionWord::ConnectPlugin => "a call `connect-plugin`",
        };
        let container = |key| self.required_reference(&table, key, &self.containers);
        let sandbox = |key| self.required_reference(&table, key, &self.sandboxes);
        let action = match action {
            ActionWord::Create => Action::Create { container: container("container") },
            ActionWord::Start => Action::Start { target: self.target(&table) },
            ActionWord::Stop => Action::Stop {
                target: self.target(&table),
                timeout: self.bounded(&table, "timeout", -86_400, 86_400).unwrap_or(0),
            },
            ActionWord::Remove => Action::Remove { target: self.target(&table) },
            ActionWord::Status => Action::Status {
                target: self.target(&table),
                verbose: table.boolean("verbose").unwrap_or(false),
            },
            ActionWord::List => Action::List,
            ActionWord::StopPod => Action::StopPod { sandbox: sandbox("sandbox") },
            ActionWord::RemovePod => Action::RemovePod { sandbox: sandbox("sandbox") },
            ActionWord::ConnectPlugin => Action::ConnectPlugin {
                plugin: self.required_reference(&table, "plugin", &self.plugins),
            },
        };
        let when = self.when(&table, "at", "when").unwrap_or(When::At(Duration::ZERO));
        let cancel = self.when(&table, "cancel-at", "cancel-when");
        let deadline = table.duration("deadline");
        let span = Span(table.span.clone());
        table.finish();
        Some(Call { span, name, action, when, deadline, cancel })
    }

    fn target(&self, table: &Table<'t, '_>) -> Target {
        let container = table.string("container");
        let id = table.string("id");
        match (container, id) {
            (Some(container), None) => {
                self.known(&container, "container", &self.containers);
                Target::Container(container.text)
            }
            (None, Some(id)) => Target::Literal(id.text),
            (Some(_), Some(id)) => {
                self.sink.error(id.span, "`container` and `id` exclude one another");
                Target::Literal(id.text)
            }
            (None, None) => {
                let given = table.get("container").is_some() || table.get("id").is_some();
                if !given {
                    let message = format!("{} needs `container` or `id`", table.what);
                    self.sink.error(table.span.clone(), message);
                }
                Target::Literal(String::new())
            }
        }
    }

    fn when(&self, table: &Table<'t, '_>, at: &'static str, moment: &'static str) -> Option<When> {
        let time = table.duration(at);
        let named = table.string(moment);
        if let (Some(_), Some(named)) = (table.get(at), &named) {
            let message = format!("`{at}` and `{moment}` exclude one another");
            self.sink.error(named.span.clone(), message);
        }
        match named {
            Some(named) => Some(When::Moment(self.text(named, Wants::Moment))),
            None => time.map(When::At),
        }
    }

    // --- faults and holds -----------------------------------------------------------------------

    fn faults(&self, tables: Vec<Table<'t, '_>>) -> Vec<Fault> {
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

    fn holds(&self, tables: Vec<Table<'t, '_>>) -> Vec<Hold> {
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

    // --- expectations ---------------------------------------------------------------------------

    fn filter(&self, table: &Table<'t, '_>) -> Filter {
        let profiles = table
            .get("profiles")
            .and_then(|value| value.strings(limits::LIST_MAX, limits::TEXT_BYTES_MAX))
            .unwrap_or_default();
        let valid: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name).collect();
        let mut names = Names::new(self.sink, "profile");
        for profile in &profiles {
            self.one_of(profile, "profile", &valid);
            names.add(&profile.text, profile.span.clone());
        }
        let cases = table
            .get("cases")
            .and_then(|value| value.strings(limits::AXIS_VALUES_MAX, limits::TEXT_BYTES_MAX))
            .unwrap_or_default();
        Filter {
            profiles: profiles.into_iter().map(|profile| profile.text).collect(),
            cases: cases.iter().map(|case| self.case_pattern(case)).collect(),
        }
    }

    fn case_pattern(&self, string: &Str) -> CasePattern {
        let mut parts = Vec::new();
        let mut seen = BTreeSet::new();
        let mut start = 0;
        for part in string.text.split(", ") {
            let range = start..start + part.len();
            start = range.end + ", ".len();
            let span = self.sink.inside(string, range.clone());
            let Some((name, values)) = part.split_once('=') else {
                let message = format!("`{}` is no `AXIS=VALUE` or `AXIS=FROM..TO`", shown(part));
                self.sink.error(span, message);
                continue;
            };
            let Some(axis) = self.axes.iter().find(|axis| axis.name == name) else {
                let valid: Vec<&str> = self.axes.iter().map(|axis| axis.name.as_str()).collect();
                let span = self.sink.inside(string, range.start..range.start + name.len());
                self.sink.unknown(span, "axis", name, &valid);
                continue;
            };
            if !seen.insert(name) {
                self.sink.error(span.clone(), format!("the axis `{name}` is there twice"));
            }
            let range = match values.split_once("..") {
                Some((from, to)) => {
                    let from_index = self.axis_value(axis, from, &span);
                    let to_index = self.axis_value(axis, to, &span);
                    if let (Some(from_index), Some(to_index)) = (from_index, to_index)
                        && from_index > to_index
                    {
                        let message = format!("`{}` comes after `{}`", shown(from), shown(to));
                        self.sink.error(span, message);
                    }
                    ValueRange::Range(from.to_owned(), to.to_owned())
                }
                None => {
                    self.axis_value(axis, values, &span);
                    ValueRange::One(values.to_owned())
                }
            };
            parts.push((name.to_owned(), range));
        }
        CasePattern(parts)
    }

    /// The position of a value in its axis, where that is known before a run.
    fn axis_value(&self, axis: &Axis, value: &str, span: &Range<usize>) -> Option<usize> {
        let problem = match &axis.values {
            AxisValues::List(values) => {
                let index = values.iter().position(|known| known == value);
                if index.is_none() {
                    let valid: Vec<&str> = values.iter().map(String::as_str).collect();
                    let what = format!("value of the axis `{}`:", axis.name);
                    self.sink.unknown(span.clone(), &what, value, &valid);
                }
                return index;
            }
            AxisValues::EveryMomentOf(_) => value.parse::<MomentName>().err(),
            AxisValues::EverySiteOf(_) => value.parse::<SiteName>().err(),
        };
        if let Some(error) = problem {
            let problem = site_problem(error);
            let message = format!("`{}`: {}", shown(value), problem.message);
            self.sink.error(span.clone(), message);
        }
        None
    }

    fn expect(&self, table: Table<'t, '_>) -> Expect {
        let filter = self.filter(&table);
        let says_nothing =
            table.keys().iter().all(|key| matches!(key.text.as_str(), "profiles" | "cases"));
        if says_nothing {
            self.sink.error(table.span.clone(), "this expectation checks nothing");
        }
        let mut names = Names::new(self.sink, "the answer of");
        let answers = table
            .tables("answer", limits::EXPECTATIONS_MAX, "an expected answer")
            .into_iter()
            .map(|table| self.expect_answer(table, &mut names))
            .collect();
        let mut names = Names::new(self.sink, "the status of");
        let statuses = table
            .tables("status", limits::EXPECTATIONS_MAX, "an expected status")
            .into_iter()
            .map(|table| self.expect_status(table, &mut names))
            .collect();
        let events = self.by_container(&table, "events", limits::TEXT_BYTES_MAX);
        for word in events.values().flatten() {
            self.one_of(word, "event", EVENT_WORDS);
        }
        let logs = self.by_container(&table, "log", limits::LONG_TEXT_BYTES_MAX);
        let texts = |map: BTreeMap<String, Vec<Str>>| {
            map.into_iter()
                .map(|(name, list)| (name, list.into_iter().map(|string| string.text).collect()))
                .collect()
        };
        let order = table
            .get("order")
            .and_then(|value| value.list(limits::LIST_MAX))
            .unwrap_or_default()
            .into_iter()
            .map(|value| self.order(value))
            .collect();
        let expect = Expect {
            span: Span(table.span.clone()),
            filter,
            answers,
            statuses,
            events: texts(events),
            left_when_quiet: self.left(&table, "left-when-quiet"),
            left_when_reaped: self.left(&table, "left-when-reaped"),
            order,
            logs: texts(logs),
            panic: table.string("panic").map(|string| string.text),
        };
        table.finish();
        expect
    }

    fn order(&self, value: Value<'t, '_>) -> Vec<Text> {
        let list = value.strings(limits::LIST_MAX, limits::TEXT_BYTES_MAX).unwrap_or_default();
        if list.is_empty() {
            let message = "an order is a list of lists of moments, none of them empty";
            self.sink.error_with(value.span(), message, |diagnostic| {
                diagnostic.help("write `order = [[\"MOMENT\", \"MOMENT\"]]`")
            });
        }
        list.into_iter().map(|string| self.text(string, Wants::Moment)).collect()
    }

    /// What is left on the node: sorted, so that the order in the file does not matter.
    fn left(&self, table: &Table<'t, '_>, key: &'static str) -> Option<Vec<String>> {
        let list = table.get(key)?.strings(limits::EXPECTATIONS_MAX, limits::TEXT_BYTES_MAX)?;
        let mut list: Vec<String> = list.into_iter().map(|string| string.text).collect();
        list.sort_unstable();
        Some(list)
    }

    /// A table from names of containers to lists of texts.
    fn by_container(
        &self,
        table: &Table<'t, '_>,
        key: &'static str,
        bytes_max: usize,
    ) -> BTreeMap<String, Vec<Str>> {
        let what = if key == "log" { "the expected logs" } else { "the expected events" };
        let Some(table) = table.get(key).and_then(|value| value.table(what)) else {
            return BTreeMap::new();
        };
        table
            .entries()
            .into_iter()
            .filter_map(|(name, value)| {
                self.known(&name, "container", &self.containers);
                Some((name.text, value.strings(limits::EXPECTATIONS_MAX, bytes_max)?))
            })
            .collect()
    }

    fn expect_answer(&self, table: Table<'t, '_>, names: &mut Names<'t>) -> ExpectAnswer {
        let calls: Vec<String> = self.calls.keys().cloned().collect();
        let call = self.required_reference(&table, "call", &calls);
        if !call.is_empty() {
            names.add(&call, table.span.clone());
        }
        let state = table.string("state");
        if let Some(state) = &state {
            self.one_of(state, "state", STATE_WORDS);
            let action = self.calls.get(&call).copied().flatten();
            if action.is_some_and(|action| action != ActionWord::Status) {
                let message = "only the answer of a `status` call has a state";
                self.sink.error(state.span.clone(), message);
            }
        }
        let answer = ExpectAnswer {
            span: Span(table.span.clone()),
            call,
            code: self.required_text(&table, "code", Wants::Answer),
            message: self.text_of(&table, "message", Wants::Message),
            client: self.text_of(&table, "client", Wants::Answer),
            state: state.map(|state| state.text),
        };
        table.finish();
        answer
    }

    fn expect_status(&self, table: Table<'t, '_>, names: &mut Names<'t>) -> ExpectStatus {
        let container = self.required_reference(&table, "container", &self.containers);
        if !container.is_empty() {
            names.add(&container, table.span.clone());
        }
        let state = table.string("state");
        if let Some(state) = &state {
            let valid: Vec<&str> = STATE_WORDS.iter().copied().chain([STATE_GONE]).collect();
            self.one_of(state, "state", &valid);
        }
        let exit_code = self.bounded(&table, "exit-code", i64::from(i32::MIN), i64::from(i32::MAX));
        let status = ExpectStatus {
            span: Span(table.span.clone()),
            container,
            state: state.map(|state| state.text),
            exit_code: exit_code.and_then(|code| i32::try_from(code).ok()),
            reason: table.string("reason").map(|reason| reason.text),
            message: self.text_of(&table, "message", Wants::Message),
            started: table.boolean("started"),
            finished: table.boolean("finished"),
        };
        table.finish();
        status
    }

    fn violations(&self, tables: Vec<Table<'t, '_>>) -> Vec<ExpectedViolation> {
        tables.into_iter().filter_map(|table| self.violation(table)).collect()
    }

    fn violation(&self, table: Table<'t, '_>) -> Option<ExpectedViolation> {
        let filter = self.filter(&table);
        let invariant =
            table.require("invariant").and_then(|value| value.string(limits::TEXT_BYTES_MAX));
        if let Some(invariant) = &invariant {
            self.one_of(invariant, "invariant", INVARIANTS);
        }
        let quirk = table.string("quirk");
        if let Some(quirk) = &quirk {
            let valid: Vec<&str> = Quirk::ALL.iter().map(|quirk| quirk.id()).collect();
            self.one_of(quirk, "quirk", &valid);
        }
        let forced = table.boolean("forced");
        let cause = match (quirk, forced) {
            (Some(quirk), None) => Some(Cause::Quirk(quirk.text)),
            (None, Some(true)) => Some(Cause::Forced),
            _ => {
                let message = "a violation needs one of `quirk = \"…\"` and `forced = true`";
                self.sink.error(table.span.clone(), message);
                None
            }
        };
        let because = table.string("because").map_or_else(String::new, |string| string.text);
        let span = Span(table.span.clone());
        table.finish();
        Some(ExpectedViolation { span, filter, invariant: invariant?.text, cause: cause?, because })
    }
}

/// A call whose name is known and whose other keys are not read yet.
struct CallHead<'t, 'i> {
    table: Table<'t, 'i>,
    action: Option<ActionWord>,
    name: String,
}

fn check_word(word: &str, what: &str, valid: &[&str]) -> Result<(), Problem> {
    if valid.contains(&word) {
        return Ok(());
    }
    let mut problem = Problem::new(format!("unknown {what} `{}`", shown(word)));
    let valid = valid.iter().map(|word| (*word).to_owned()).collect();
    problem.word = Some((word.to_owned(), valid));
    Err(problem)
}

fn too_long(text: &str) -> Result<(), Problem> {
    if text.len() <= limits::SITE_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the name of a site has at most {} bytes", limits::SITE_BYTES_MAX);
    Err(Problem::new(message))
}

fn site_problem(error: SiteNameError) -> Problem {
    let mut problem = Problem::new(error.to_string());
    problem.part = Some(error.range);
    match error.kind {
        SiteNameErrorKind::UnknownStage(stage) => {
            let valid = Stage::ALL.iter().map(|stage| stage.name().to_owned()).collect();
            problem.word = Some((stage, valid));
        }
        SiteNameErrorKind::NotASite => {}
        _ => {
            problem.note =
                Some("a site is named like `start-1/task.create(web)#1`, a moment of it like `start-1/task.create(web)#1.reply`".to_owned());
        }
    }
    problem
}
