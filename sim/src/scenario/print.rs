//! A scenario as the text of a file, as people write it: what is a default is left out.

use std::time::Duration;

use toml_writer::{ToTomlKey, ToTomlValue, TomlKeyBuilder, TomlStringBuilder};

use super::defaults::{KUBELET_CONTAINERS, KUBELET_TIMEOUT};
use super::model::*;
use super::words::{ActionWord, EffectWord, PidModeWord, Word};
use super::{defaults, duration};

/// Lists that fit into this many characters are written on one line.
const LINE_WIDTH: usize = 96;

/// Writes a scenario so that [`super::parse`] reads it back. The name is that of the file and is not
/// in it.
pub fn print(scenario: &Scenario) -> String {
    let mut out = Writer::default();
    out.raw("shakedown", &FORMAT_VERSION.to_string());
    out.string("title", &scenario.title);
    if !scenario.description.is_empty() {
        let text = TomlStringBuilder::new(&scenario.description).as_default().to_toml_value();
        out.raw("description", &text);
    }
    out.list_unless_empty("tags", &scenario.tags);
    world(&mut out, &scenario.world);
    matrix(&mut out, &scenario.matrix);
    for entry in &scenario.calls {
        call(&mut out, entry);
    }
    for entry in &scenario.occurrences {
        occurrence(&mut out, entry);
    }
    for entry in &scenario.faults {
        fault(&mut out, entry);
    }
    for hold in &scenario.holds {
        out.header("[[hold]]");
        out.string("what", &hold.what);
        out.string("until", &hold.until);
        out.flag("across-time", hold.across_time);
    }
    for clock in &scenario.clocks {
        out.header("[[clock]]");
        when(&mut out, &clock.when, "at", "when");
        match &clock.change {
            ClockChange::Jump(by) => out.string("jump", by),
            ClockChange::Drift(ppm) => out.raw("drift", &ppm.to_string()),
        }
    }
    for entry in &scenario.crashes {
        crash(&mut out, entry);
    }
    for entry in &scenario.expects {
        expect(&mut out, entry);
    }
    for violation in &scenario.violations {
        out.header("[[violation]]");
        out.string("invariant", &violation.invariant);
        match &violation.cause {
            Cause::Quirk(id) => out.string("quirk", id),
            Cause::Forced => out.flag("forced", true),
        }
        out.string_unless("because", &violation.because, "");
        filter(&mut out, &violation.filter);
    }
    out.text
}

#[derive(Default)]
struct Writer {
    text: String,
}

impl Writer {
    fn header(&mut self, header: &str) {
        self.text.push('\n');
        self.text.push_str(header);
        self.text.push('\n');
    }

    fn raw(&mut self, key: &str, value: &str) {
        self.text.push_str(key);
        self.text.push_str(" = ");
        self.text.push_str(value);
        self.text.push('\n');
    }

    fn string(&mut self, key: &str, value: &str) {
        self.raw(key, &quoted(value));
    }

    fn string_unless(&mut self, key: &str, value: &str, default: &str) {
        if value != default {
            self.string(key, value);
        }
    }

    fn string_if(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.string(key, value);
        }
    }

    fn word<W: Word>(&mut self, key: &str, value: W) {
        self.string(key, value.word());
    }

    fn word_unless<W: Word>(&mut self, key: &str, value: W, default: W) {
        if value != default {
            self.word(key, value);
        }
    }

    /// Written if it is true.
    fn flag(&mut self, key: &str, value: bool) {
        if value {
            self.raw(key, "true");
        }
    }

    fn integer_unless(&mut self, key: &str, value: i64, default: i64) {
        if value != default {
            self.raw(key, &value.to_string());
        }
    }

    fn limits(&mut self, limits: Limits) {
        self.integer_unless("cpu-shares", limits.cpu_shares, 0);
        self.integer_unless("memory-limit", limits.memory, 0);
    }

    fn duration(&mut self, key: &str, value: Duration) {
        self.string(key, &duration::print(value));
    }

    fn duration_unless(&mut self, key: &str, value: Duration, default: Duration) {
        if value != default {
            self.duration(key, value);
        }
    }

    fn list(&mut self, key: &str, values: &[String]) {
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        self.values(key, &values);
    }

    fn list_unless_empty(&mut self, key: &str, values: &[String]) {
        if !values.is_empty() {
            self.list(key, values);
        }
    }

    /// A list of values that are written out already.
    fn values(&mut self, key: &str, values: &[String]) {
        let line = format!("[{}]", values.join(", "));
        if values.is_empty() || key.len() + line.chars().count() + 3 <= LINE_WIDTH {
            self.raw(key, &line);
            return;
        }
        let mut lines = "[\n".to_owned();
        for value in values {
            lines.push_str("    ");
            lines.push_str(value);
            lines.push_str(",\n");
        }
        lines.push(']');
        self.raw(key, &lines);
    }
}

/// On one line, in the kind of quotes that needs fewest escapes.
fn quoted(text: &str) -> String {
    let builder = TomlStringBuilder::new(text);
    builder
        .as_basic_pretty()
        .or_else(|| builder.as_literal())
        .unwrap_or_else(|| builder.as_basic())
        .to_toml_value()
}

fn words<W: Word>(values: &[W]) -> Vec<String> {
    values.iter().map(|value| value.word().to_owned()).collect()
}

fn world(out: &mut Writer, world: &World) {
    let mut head = Writer::default();
    head.duration_unless("bound", world.bound, defaults::BOUND);
    head.integer_unless(
        "max-log-line",
        i64::from(world.max_log_line),
        i64::from(defaults::LOG_LINE_BYTES),
    );
    if let Some(nri) = world.nri {
        head.word("nri", nri);
    }
    head.list_unless_empty("runtimes", &world.runtimes);
    head.string_unless("runtime-path", &world.runtime_path, "");
    if !head.text.is_empty() {
        out.header("[world]");
        out.text.push_str(&head.text);
    }
    if world.disk != Disk::default() {
        out.header("[world.disk]");
        if let Some(size) = world.disk.size {
            out.raw("size", &size.to_string());
        }
        if let Some(max) = world.disk.max_open_files {
            out.raw("max-open-files", &max.to_string());
        }
    }
    for (position, plugin) in world.plugins.iter().enumerate() {
        out.header("[[world.plugin]]");
        out.string("name", &plugin.name);
        out.string_unless("index", &plugin.index, &defaults::plugin_index(position));
        if plugin.events.len() != PluginEvent::WORDS.len() {
            out.list("events", &words(&plugin.events));
        }
        if !plugin.connected {
            out.raw("connected", "false");
        }
        for reply in &plugin.replies {
            out.header("[[world.plugin.reply]]");
            out.word("to", reply.to);
            match &reply.wish {
                Wish::Update { container, limits } => {
                    out.string("update", container);
                    out.limits(*limits);
                }
                Wish::Evict { container } => out.string("evict", container),
            }
        }
    }
    if world.images != defaults::images() {
        for image in &world.images {
            out.header("[[world.image]]");
            out.string("name", &image.name);
            out.string_unless("stop-signal", &image.stop_signal, "");
        }
    }
    if world.sandboxes != defaults::sandboxes() {
        for entry in &world.sandboxes {
            sandbox(out, entry);
        }
    }
    for path in &world.paths {
        out.header("[[world.path]]");
        out.string("path", &path.path);
        out.word("kind", path.kind);
        if defaults::path_mode(path.kind).is_some_and(|default| default != path.mode) {
            out.raw("mode", &format!("0o{:o}", path.mode));
        }
        if path.kind == PathKind::Symlink {
            out.string("target", &path.target);
        }
    }
    for entry in &world.containers {
        container(out, entry, world);
    }
}

fn sandbox(out: &mut Writer, sandbox: &Sandbox) {
    out.header("[[world.sandbox]]");
    out.string("name", &sandbox.name);
    out.word_unless("state", sandbox.state, SandboxState::Ready);
    out.string_unless("runtime-handler", &sandbox.runtime_handler, "");
    out.flag("untrusted", sandbox.untrusted);
    out.list_unless_empty("host-namespaces", &words(&sandbox.host_namespaces));
    let log_directory = defaults::log_directory(&sandbox.name);
    out.string_unless("log-directory", &sandbox.log_directory, &log_directory);
}

fn container(out: &mut Writer, container: &Container, world: &World) {
    out.header("[[world.container]]");
    out.string("name", &container.name);
    let first = world.sandboxes.first().map_or("", |sandbox| sandbox.name.as_str());
    out.string_unless("sandbox", &container.sandbox, first);
    let first = world.images.first().map_or("", |image| image.name.as_str());
    out.string_unless("image", &container.image, first);
    out.string_unless("id", &container.id, "");
    out.word_unless("state", container.state, InitialState::Created);
    out.string_unless("log-path", &container.log_path, &defaults::log_path(&container.name));
    out.flag("tty", container.tty);
    out.flag("stdin", container.stdin);
    let pid_mode = match &container.pid_mode {
        PidMode::Container => PidModeWord::Container,
        PidMode::Pod => PidModeWord::Pod,
        PidMode::Node => PidModeWord::Node,
        PidMode::Target(_) => PidModeWord::Target,
    };
    out.word_unless("pid-mode", pid_mode, PidModeWord::Container);
    if let PidMode::Target(target) = &container.pid_mode {
        out.string("target", target);
    }

    let process = &container.process;
    let mut head = Writer::default();
    if let Some(runs) = process.runs {
        head.duration("runs", runs);
    }
    head.integer_unless("exit-code", i64::from(process.exit_code), 0);
    head.flag("ignores-sigterm", process.ignores_sigterm);
    head.flag("executable-missing", process.executable_missing);
    if !head.text.is_empty() {
        out.header("[world.container.process]");
        out.text.push_str(&head.text);
    }
    for output in &process.output {
        out.header("[[world.container.process.output]]");
        out.duration_unless("at", output.at, Duration::ZERO);
        out.word_unless("stream", output.stream, Stream::Stdout);
        out.string("text", &output.text);
        out.integer_unless("repeat", i64::from(output.repeat), 1);
    }
}

fn matrix(out: &mut Writer, axes: &[Axis]) {
    if axes.is_empty() {
        return;
    }
    out.header("[matrix]");
    for axis in axes {
        let name = key(&axis.name);
        match &axis.values {
            AxisValues::List(values) => out.list(&name, values),
            AxisValues::EveryMomentOf { actor, from } => {
                let from = from.iter().map(|from| format!(", from = {}", quoted(from)));
                let from: String = from.collect();
                out.raw(&name, &format!("{{ every-moment-of = {}{from} }}", quoted(actor)));
            }
            AxisValues::EveryOperationOf(actor) => {
                out.raw(&name, &format!("{{ every-operation-of = {} }}", quoted(actor)));
            }
            AxisValues::EverySiteOf(actor) => {
                out.raw(&name, &format!("{{ every-site-of = {} }}", quoted(actor)));
            }
        }
    }
}

fn key(name: &str) -> String {
    TomlKeyBuilder::new(name).as_default().to_toml_key()
}

fn call(out: &mut Writer, call: &Call) {
    out.header("[[call]]");
    let kind: ActionWord = call.action.kind();
    out.word("do", kind);
    out.string("name", &call.name);
    match &call.action {
        Action::Create { container, attempt } => {
            out.string("container", container);
            out.integer_unless("attempt", i64::from(*attempt), 0);
        }
        Action::Start { target: on }
        | Action::Remove { target: on }
        | Action::ReopenLog { target: on } => target(out, on),
        Action::Update { target: on, limits } => {
            target(out, on);
            out.limits(*limits);
        }
        Action::Stop { target: on, timeout } => {
            target(out, on);
            out.integer_unless("timeout", *timeout, 0);
        }
        Action::Status { target: on, verbose } => {
            target(out, on);
            out.flag("verbose", *verbose);
        }
        Action::List | Action::Events => {}
        Action::StopPod { sandbox } | Action::RemovePod { sandbox } => {
            out.string("sandbox", sandbox);
        }
        Action::ConnectPlugin { plugin } => out.string("plugin", plugin),
        Action::PluginUpdate { plugin, container, limits } => {
            out.string("plugin", plugin);
            out.string("container", container);
            out.limits(*limits);
        }
        Action::Kubelet(kubelet) => {
            out.string("container", &kubelet.container);
            out.integer_unless("containers", i64::from(kubelet.containers), KUBELET_CONTAINERS);
            out.word_unless("restart", kubelet.restart, Restart::Always);
            out.integer_unless("timeout", kubelet.timeout, KUBELET_TIMEOUT);
            if let Some(delete) = &kubelet.delete {
                when(out, delete, "delete-at", "delete-when");
            }
        }
    }
    if call.when != When::At(Duration::ZERO) {
        when(out, &call.when, "at", "when");
    }
    if let Some(deadline) = call.deadline {
        out.duration("deadline", deadline);
    }
    if let Some(cancel) = &call.cancel {
        when(out, cancel, "cancel-at", "cancel-when");
    }
}

fn occurrence(out: &mut Writer, occurrence: &Occurrence) {
    out.header("[[occurrence]]");
    out.word("what", occurrence.what.kind());
    match &occurrence.what {
        Happening::Exit { of, code } => {
            match of {
                Victim::Container(name) => out.string("container", name),
                Victim::Sandbox(name) => out.string("sandbox", name),
            }
            out.integer_unless("exit-code", i64::from(*code), 0);
        }
        Happening::Oom { container } | Happening::RotateLog { container } => {
            out.string("container", container);
        }
        Happening::ShimExit { sandbox } => out.string("sandbox", sandbox),
    }
    if occurrence.when != When::At(Duration::ZERO) {
        when(out, &occurrence.when, "at", "when");
    }
}

fn target(out: &mut Writer, target: &Target) {
    match target {
        Target::Container(name) => out.string("container", name),
        Target::Literal(id) => out.string("id", id),
    }
}

fn when(out: &mut Writer, when: &When, at: &str, moment: &str) {
    match when {
        When::At(time) => out.duration(at, *time),
        When::Moment(name) => out.string(moment, name),
    }
}

fn fault(out: &mut Writer, fault: &Fault) {
    out.header("[[fault]]");
    out.string("at", &fault.at);
    if let Some(kind) = fault.kind.kind() {
        out.word("kind", kind);
    }
    match &fault.kind {
        FaultKind::Error { code, message, effect: when } => {
            out.string("code", code);
            out.string_if("message", message.as_deref());
            effect(out, *when);
        }
        FaultKind::Delay { by, of } => {
            out.duration("by", *by);
            out.word_unless("of", *of, DelayOf::Effect);
        }
        FaultKind::Hang { effect: when }
        | FaultKind::HangForever { effect: when }
        | FaultKind::Cancel { effect: when }
        | FaultKind::Deadline { effect: when }
        | FaultKind::ConnectionClosed { effect: when } => effect(out, *when),
        FaultKind::ShortWrite | FaultKind::Lost => {}
        FaultKind::Swept(keys) => {
            out.string("kind", &keys.kind);
            out.string_unless("code", &keys.code, "");
            out.string_if("message", keys.message.as_deref());
            out.string_unless("effect", &keys.effect, EffectWord::None.word());
            if let Some(late) = keys.late {
                out.duration("late", late);
            }
            if let Some(by) = keys.by {
                out.duration("by", by);
            }
            out.word_unless("of", keys.of, DelayOf::Effect);
        }
    }
}

fn crash(out: &mut Writer, crash: &Crash) {
    out.header("[[crash]]");
    when(out, &crash.when, "at", "when");
    out.word_unless("kind", crash.kind, CrashKind::Daemon);
    match crash.down {
        None => out.raw("restart", "false"),
        Some(defaults::CRASH_DOWN) => {}
        Some(down) => out.duration("down", down),
    }
    out.list_unless_empty("lost", &crash.lost);
    out.list_unless_empty("torn", &crash.torn);
}

fn effect(out: &mut Writer, effect: Effect) {
    match effect {
        Effect::None => {}
        Effect::Done => out.word("effect", EffectWord::Done),
        Effect::Late(by) => {
            out.word("effect", EffectWord::Late);
            out.duration("late", by);
        }
    }
}

fn filter(out: &mut Writer, filter: &Filter) {
    out.list_unless_empty("profiles", &filter.profiles);
    let cases: Vec<String> = filter
        .cases
        .iter()
        .map(|pattern| {
            let parts: Vec<String> = pattern
                .0
                .iter()
                .map(|(axis, range)| match range {
                    ValueRange::One(value) => format!("{axis}={value}"),
                    ValueRange::Range(from, to) => format!("{axis}={from}..{to}"),
                })
                .collect();
            parts.join(", ")
        })
        .collect();
    out.list_unless_empty("cases", &cases);
}

fn expect(out: &mut Writer, expect: &Expect) {
    out.header("[[expect]]");
    filter(out, &expect.filter);
    out.string_if("panic", expect.panic.as_deref());
    if !expect.order.is_empty() {
        let lists: Vec<String> = expect
            .order
            .iter()
            .map(|list| {
                let moments: Vec<String> = list.iter().map(|moment| quoted(moment)).collect();
                format!("[{}]", moments.join(", "))
            })
            .collect();
        out.values("order", &lists);
    }
    out.list_unless_empty("not-applied", &expect.not_applied);
    if let Some(left) = &expect.left_when_quiet {
        out.list("left-when-quiet", left);
    }
    if let Some(left) = &expect.left_when_reaped {
        out.list("left-when-reaped", left);
    }
    for answer in &expect.answers {
        out.header("[[expect.answer]]");
        out.string("call", &answer.call);
        out.string("code", &answer.code);
        out.string_if("message", answer.message.as_deref());
        out.string_if("client", answer.client.as_deref());
        out.string_if("state", answer.state.as_deref());
        if let Some(received) = &answer.received {
            out.list("received", received);
        }
    }
    for status in &expect.statuses {
        out.header("[[expect.status]]");
        out.string("container", &status.container);
        out.string_if("state", status.state.as_deref());
        if let Some(code) = status.exit_code {
            out.raw("exit-code", &code.to_string());
        }
        out.string_if("reason", status.reason.as_deref());
        out.string_if("message", status.message.as_deref());
        if let Some(started) = status.started {
            out.raw("started", if started { "true" } else { "false" });
        }
        if let Some(finished) = status.finished {
            out.raw("finished", if finished { "true" } else { "false" });
        }
    }
    for (header, lists) in [("[expect.events]", &expect.events), ("[expect.log]", &expect.logs)] {
        if !lists.is_empty() {
            out.header(header);
            for (container, list) in lists {
                out.list(&key(container), list);
            }
        }
    }
}
