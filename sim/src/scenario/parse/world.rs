//! The world: `[world]` and everything below it.

use super::super::decode::{Names, Str, Table, Value, shown};
use super::super::model::*;
use super::super::words::{PidModeWord, Word};
use super::super::{defaults, limits};
use super::Parser;

/// How long a process runs that does not end by itself.
const FOREVER: &str = "forever";

impl<'t> Parser<'t, '_> {
    /// Everything of the world but its containers, which refer to the rest of it.
    pub(super) fn world(&self, table: Table<'t, '_>) -> World {
        let bound = table.get("bound").and_then(|value| {
            let bound = value.duration()?;
            if bound.is_zero() {
                let message = "`bound` must be longer than nothing";
                self.sink.error_with(value.span(), message, |d| d.help("write `\"150s\"`"));
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

        let nri = table.word("nri");
        let runtimes = self.names(&table, "runtimes", "runtime");
        let runtime_path = table.string("runtime-path");
        if let Some(path) = &runtime_path {
            self.absolute(path);
        }
        let runtime_path = runtime_path.map_or_else(String::new, |path| path.text);
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
            runtime_path,
        }
    }

    fn plugin(&self, table: Table<'t, '_>, position: usize, names: &mut Names<'t>) -> Plugin {
        let name = self.new_name(&table, names);
        // As everywhere else in NRI, and not a number: `05` is none in TOML.
        let index = table.get("index").and_then(|value| match value.is_string() {
            true => value.string(limits::TEXT_BYTES_MAX),
            false => {
                let message = "`index` must be a string of two digits";
                self.sink.error_with(value.span(), message, |d| d.help("write `index = \"05\"`"));
                None
            }
        });
        if let Some(index) = &index
            && !(index.text.len() == 2 && index.text.bytes().all(|b| b.is_ascii_digit()))
        {
            let message = "`index` must be two digits";
            self.sink.error(index.span.clone(), message, "write `index = \"05\"`");
        }
        let events = self.word_set(&table, "events", "event");
        let connected = table.boolean("connected").unwrap_or(true);
        let replies = table
            .tables("reply", limits::LIST_MAX, "a reply")
            .into_iter()
            .map(|table| self.plugin_reply(table))
            .collect();
        table.finish();
        Plugin {
            name,
            index: index.map_or_else(|| defaults::plugin_index(position), |index| index.text),
            events: events
                .unwrap_or_else(|| PluginEvent::WORDS.iter().map(|(_, event)| *event).collect()),
            connected,
            replies,
        }
    }

    fn plugin_reply(&self, table: Table<'t, '_>) -> PluginReply {
        let to = table.required_word("to").unwrap_or(RepliedEvent::Create);
        let (update, evict) = (table.string("update"), table.string("evict"));
        let wish = match (update, evict) {
            (Some(update), None) => {
                self.wished.borrow_mut().push(update.clone());
                Wish::Update { container: update.text, limits: self.limits(&table) }
            }
            (None, Some(evict)) => {
                if to != RepliedEvent::Create {
                    let message = "only a reply to `create` can evict";
                    self.sink.error_with(evict.span.clone(), message, |diagnostic| {
                        diagnostic.help("write `to = \"create\"`, or `update` instead")
                    });
                }
                self.wished.borrow_mut().push(evict.clone());
                Wish::Evict { container: evict.text }
            }
            _ => {
                let message = "a reply needs one of `update` and `evict`";
                self.sink.error_with(table.span.clone(), message, |diagnostic| {
                    diagnostic
                        .help("add a line such as `update = \"web\"`, with `cpu-shares = 512`")
                });
                Wish::Evict { container: String::new() }
            }
        };
        table.finish();
        PluginReply { to, wish }
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
        let path = table
            .require("path", "\"/var/log/pods/pod/web.log\"")
            .and_then(|value| value.string(limits::TEXT_BYTES_MAX));
        if let Some(path) = &path {
            self.absolute(path);
            names.add(&path.text, path.span.clone());
        }
        let kind = table.required_word("kind").unwrap_or(PathKind::File);
        let mode = match defaults::path_mode(kind) {
            Some(default) => table.get("mode").and_then(|value| value.mode()).unwrap_or(default),
            None => 0,
        };
        let target = if kind == PathKind::Symlink {
            table.require("target", "\"/dev/null\"");
            table.string("target").map_or_else(String::new, |target| target.text)
        } else {
            String::new()
        };
        let span = Span(table.span.clone());
        table.finish();
        let path = path.map_or_else(String::new, |path| path.text);
        PathEntry { path, kind, mode, target, span }
    }

    /// An absolute path without `.`, `..`, `//`, or a `/` at its end.
    fn absolute(&self, path: &Str) {
        let normalised = path.text.strip_prefix('/').is_some_and(|rest| {
            !rest.contains('\0')
                && rest.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        });
        if !normalised {
            let message = format!("`{}` is no absolute, normalised path", shown(&path.text));
            let mut parts: Vec<&str> = Vec::new();
            for part in path.text.split('/').filter(|part| !part.is_empty() && *part != ".") {
                match part {
                    ".." => drop(parts.pop()),
                    part => parts.push(part),
                }
            }
            let meant = format!("/{}", parts.join("/").replace('\0', ""));
            self.sink.error_with(path.span.clone(), message, |diagnostic| {
                diagnostic.help(format!("write `\"{}\"`", shown(&meant)))
            });
        }
    }

    pub(super) fn containers(&mut self, mut world: World, root: &Table<'t, '_>) -> World {
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
        for wished in self.wished.take() {
            self.known(&wished, "container", &self.containers);
        }
        let there = world.containers.iter().filter(|c| c.state != InitialState::Absent);
        self.made_beforehand = there.map(|c| c.name.clone()).collect();
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
            let digits = id.text.chars().filter(char::is_ascii_hexdigit).take(64);
            let meant = digits.collect::<String>().to_lowercase();
            self.sink.error_with(id.span.clone(), message, |diagnostic| match &*meant {
                "" => diagnostic.help("write `\"abc123\"`: the rest is filled up"),
                meant => diagnostic.help(format!("write `\"{meant}\"`")),
            });
        }
        let log_path = table.string("log-path");
        if let Some(path) = &log_path
            && (path.text.starts_with('/') || path.text.contains('\0'))
        {
            let message = "`log-path` must be relative to the sandbox's log directory";
            self.sink.error_with(path.span.clone(), message, |diagnostic| {
                let last = path.text.rsplit('/').next().unwrap_or_default().replace('\0', "");
                diagnostic.help(format!("write `\"{}\"`", shown(&last)))
            });
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
                table.require("target", "\"web\"");
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
        let runs =
            table.get("runs").filter(|value| !value.is_text(FOREVER)).and_then(|value| match value
                .duration()
            {
                None if value.is_string() => {
                    self.sink.add_to_last(|diagnostic| {
                        diagnostic.note("a process that only a signal ends runs `\"forever\"`")
                    });
                    None
                }
                duration => duration,
            });
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
        let text = table
            .require("text", "\"hello\\n\"")
            .and_then(|value| value.string(limits::FILE_BYTES_MAX));
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
                self.sink.error(text.span.clone(), message, "write less, or a smaller `repeat`");
            } else if total > limits::OUTPUT_BYTES_TOTAL_MAX {
                let message = format!(
                    "the processes of this file write more than {} bytes",
                    limits::OUTPUT_BYTES_TOTAL_MAX
                );
                self.sink.error(text.span.clone(), message, "write less, or a smaller `repeat`");
            }
        }
        table.finish();
        Output { at, stream, text: text.map_or_else(String::new, |text| text.text), repeat }
    }
}
