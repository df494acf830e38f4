//! The format as a JSON Schema, for editors: it completes and explains keys and words, and marks what cannot be.
//!
//! Words and limits are those that the parser reads; a test holds the keys of each table against the parser's
//! own. What takes more than one place of a file to see (names that nothing has, axes that nothing uses) is
//! left to the parser.

use serde_json::{Map, Value, json};
use shakedown_cri::ports::{Code, Errno};
use shakedown_cri::quirks::Quirk;

use super::limits;
use super::model::*;
use super::words::*;

/// Draft 7, which all editors know.
const DIALECT: &str = "http://json-schema.org/draft-07/schema#";

/// `{axis}`, anywhere in a text.
const PLACEHOLDER: &str = r"\{[a-z0-9][a-z0-9-]*\}";
const NAME: &str = "^[a-z0-9][a-z0-9-]{0,62}$";
const DURATION: &str = "^([0-9]+(h|m|s|ms|us|ns))+$";
/// A path, as far as a pattern can tell.
const ABSOLUTE: &str = "^(/[^/]+)+$";

/// The schema, as it is kept in the repository.
pub fn schema() -> String {
    let mut root = table(
        "A Shakedown scenario: how a node looks, what clients call, what goes wrong, and what must come out.",
        &["shakedown", "title"],
        vec![
            (
                "shakedown",
                json!({ "const": FORMAT_VERSION, "description": "The version of the format." }),
            ),
            (
                "title",
                json!({
                    "type": "string", "minLength": 1, "maxLength": limits::TEXT_BYTES_MAX, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
                    "description": "One line that says what happens.",
                }),
            ),
            ("description", text("More words, on as many lines as you like.")),
            ("tags", names("What `run --tag` selects by.")),
            ("world", world()),
            ("matrix", matrix()),
            ("call", list_of("A call of a client.", limits::CALLS_MAX, call())),
            (
                "occurrence",
                list_of(
                    "What happens on the node without anybody's asking.",
                    limits::DECISIONS_MAX,
                    occurrence(),
                ),
            ),
            ("fault", list_of("What goes wrong.", limits::DECISIONS_MAX, fault())),
            (
                "hold",
                list_of(
                    "A moment that is set aside until another has been.",
                    limits::DECISIONS_MAX,
                    hold(),
                ),
            ),
            ("clock", list_of("The wall clock is set, or drifts.", limits::DECISIONS_MAX, clock())),
            (
                "crash",
                list_of("The end of the daemon, or of the node.", limits::DECISIONS_MAX, crash()),
            ),
            (
                "expect",
                list_of(
                    "What must come out. What is not named is not checked.",
                    limits::EXPECTATIONS_MAX,
                    expect(),
                ),
            ),
            (
                "violation",
                list_of(
                    "An invariant that is known to break, exactly there.",
                    limits::EXPECTATIONS_MAX,
                    violation(),
                ),
            ),
        ],
    );
    let head = root.as_object_mut().expect("a table is an object");
    head.insert("$schema".to_owned(), json!(DIALECT));
    head.insert("title".to_owned(), json!("Shakedown scenario"));
    format!("{root:#}\n")
}

type Keys = Vec<(&'static str, Value)>;

/// A table that has these keys and no others.
fn table(what: &str, required: &[&str], keys: Keys) -> Value {
    let keys: Map<String, Value> = keys.into_iter().map(|(key, of)| (key.to_owned(), of)).collect();
    json!({
        "type": "object",
        "description": what,
        "properties": keys,
        "required": required,
        "additionalProperties": false,
    })
}

/// `[[key]]`
fn list_of(what: &str, most: usize, table: Value) -> Value {
    json!({ "type": "array", "description": what, "maxItems": most, "items": table })
}

fn text(what: &str) -> Value {
    json!({ "type": "string", "description": what })
}

fn matching(what: &str, pattern: &str) -> Value {
    json!({ "type": "string", "description": what, "pattern": pattern })
}

fn name(what: &str) -> Value {
    matching(what, NAME)
}

fn texts(what: &str) -> Value {
    json!({ "type": "array", "description": what, "items": { "type": "string" } })
}

fn left(what: &str) -> Value {
    let pattern = format!("^({}) ", LEFT_WORDS.join("|"));
    json!({
        "type": "array", "description": what, "items": { "type": "string", "pattern": pattern },
    })
}

fn names(what: &str) -> Value {
    json!({
        "type": "array", "description": what, "uniqueItems": true, "maxItems": limits::LIST_MAX,
        "items": { "type": "string", "pattern": NAME },
    })
}

fn duration(what: &str, default: Option<&str>) -> Value {
    with_default(
        matching(&format!("{what} A duration: `\"1m30s\"`."), DURATION),
        default.map(Into::into),
    )
}

fn integer(what: &str, least: i64, most: i64, default: Option<i64>) -> Value {
    let integer =
        json!({ "type": "integer", "description": what, "minimum": least, "maximum": most });
    with_default(integer, default.map(Into::into))
}

fn boolean(what: &str, default: Option<bool>) -> Value {
    with_default(json!({ "type": "boolean", "description": what }), default.map(Into::into))
}

fn with_default(mut of: Value, default: Option<Value>) -> Value {
    if let Some(default) = default {
        of["default"] = default;
    }
    of
}

/// Words, each with what it means, where editors look for that.
fn described(what: &str, words: &[&str], meanings: &[&str]) -> Value {
    json!({
        "type": "string",
        "description": what,
        "enum": words,
        "enumDescriptions": meanings,
        "x-taplo": { "docs": { "main": what, "enumValues": meanings } },
    })
}

fn spelled<W: Word>() -> Vec<&'static str> {
    W::WORDS.iter().map(|(word, _)| *word).collect()
}

fn words<W: Word>(what: &str, default: Option<&str>) -> Value {
    with_default(described(what, &spelled::<W>(), W::MEANINGS), default.map(Into::into))
}

fn word_list<W: Word>(what: &str) -> Value {
    let item = described(W::WHAT, &spelled::<W>(), W::MEANINGS);
    json!({ "type": "array", "description": what, "uniqueItems": true, "items": item })
}

/// The same, or the value of an axis.
fn or_axis(mut of: Value) -> Value {
    let what = of["description"].take();
    of.as_object_mut().expect("a schema is an object").remove("description");
    json!({
        "description": what,
        "anyOf": [of, { "type": "string", "pattern": PLACEHOLDER, "description": "the value of an axis" }],
    })
}

fn site(what: &str) -> Value {
    let pattern = format!("(/.*#[1-9][0-9]*|{PLACEHOLDER})$");
    matching(&format!("{what} A site: `start-1/task.create(web)#1`."), &pattern)
}

fn moment(what: &str) -> Value {
    let stages = r"#[1-9][0-9]*(\.(effect|reply|abandon))?|\.(begin|done|cancel)";
    let pattern = format!("({stages}|{PLACEHOLDER}(\\.(effect|reply|abandon))?)$");
    matching(
        &format!("{what} A moment: `start-1/task.create(web)#1.reply`, `start-1.done`."),
        &pattern,
    )
}

/// Refuses `keys` together, or any two of them.
fn not_both(keys: [&str; 2]) -> Value {
    json!({ "not": { "required": keys } })
}

/// Demands one of `keys` and refuses both.
fn one_of(keys: [&str; 2]) -> Value {
    json!({ "oneOf": [{ "required": [keys[0]] }, { "required": [keys[1]] }] })
}

/// Adds rules to a table.
fn with_rules(mut table: Value, rules: Vec<Value>) -> Value {
    let all = table.as_object_mut().expect("a table is an object").entry("allOf");
    let all = all.or_insert_with(|| json!([])).as_array_mut().expect("it is a list");
    all.extend(rules);
    table
}

/// Which keys a table has whose `key` is `word`, and which it needs.
fn if_word(key: &str, word: &str, has: &[&str], needs: &[&str]) -> Value {
    json!({
        "if": { "properties": { key: { "const": word } }, "required": [key] },
        "then": { "propertyNames": { "enum": has }, "required": needs },
    })
}

fn world() -> Value {
    table(
        "The node before the first call.",
        &[],
        vec![
            (
                "bound",
                duration(
                    "Invariant I5: how long a call may go on after its client gave up, or after the last fault.",
                    Some("150s"),
                ),
            ),
            (
                "max-log-line",
                integer("The longest piece of a log line, in bytes.", 1, 1 << 20, Some(16_384)),
            ),
            (
                "nri",
                words::<NriConfig>(
                    "The NRI service. Not said: enabled if there are plugins, else as the version has it.",
                    None,
                ),
            ),
            ("runtimes", names("Runtime handlers beside the default `runc`.")),
            (
                "runtime-path",
                matching(
                    "Absolute path of the binary that the configuration names for `runc`.",
                    ABSOLUTE,
                ),
            ),
            (
                "disk",
                table(
                    "Limits of the disk.",
                    &[],
                    vec![
                        (
                            "size",
                            integer(
                                "Bytes that files may have in all; more fails with ENOSPC. Not said: unlimited.",
                                0,
                                1 << 40,
                                None,
                            ),
                        ),
                        (
                            "max-open-files",
                            integer(
                                "Descriptors that the daemon may have open; more fail with EMFILE. Not said: unlimited.",
                                0,
                                1 << 20,
                                None,
                            ),
                        ),
                    ],
                ),
            ),
            (
                "plugin",
                list_of("An NRI plugin, connected to the daemon.", limits::THINGS_MAX, plugin()),
            ),
            (
                "image",
                list_of(
                    "An image. A file without images has one, `app`.",
                    limits::THINGS_MAX,
                    table(
                        "An image.",
                        &["name"],
                        vec![
                            ("name", name("Its name.")),
                            (
                                "stop-signal",
                                text(
                                    "The image's stop signal, as its config has it: `SIGQUIT`. Empty: none.",
                                ),
                            ),
                        ],
                    ),
                ),
            ),
            (
                "sandbox",
                list_of(
                    "A pod. A file without sandboxes has one, `pod`.",
                    limits::THINGS_MAX,
                    sandbox(),
                ),
            ),
            ("container", list_of("A container.", limits::THINGS_MAX, container())),
            (
                "path",
                list_of(
                    "What is there before the run, is taken away before the first call, or cannot change from then on.",
                    limits::LIST_MAX,
                    path(),
                ),
            ),
        ],
    )
}

fn limit_keys() -> Keys {
    vec![
        ("cpu-shares", integer("CPU shares.", 2, 262_144, None)),
        ("memory-limit", integer("Memory, in bytes.", 1, 1 << 40, None)),
    ]
}

fn plugin() -> Value {
    let mut reply = vec![
        ("to", words::<RepliedEvent>("Which of its replies.", None)),
        ("update", name("The container that is to have other limits.")),
        ("evict", name("The container that is to be stopped; in a reply to `create` only.")),
    ];
    reply.extend(limit_keys());
    let reply = with_rules(
        table("What the plugin wants in its replies, each time that it replies.", &["to"], reply),
        vec![
            one_of(["update", "evict"]),
            json!({
                "if": { "required": ["update"] },
                "then": { "anyOf": [{ "required": ["cpu-shares"] }, { "required": ["memory-limit"] }] },
                "else": { "propertyNames": { "enum": ["to", "evict"] } },
            }),
            json!({ "if": { "required": ["evict"] }, "then": { "properties": { "to": { "const": "create" } } } }),
        ],
    );
    table(
        "An NRI plugin.",
        &["name"],
        vec![
            ("name", name("Its name.")),
            (
                "index",
                matching(
                    "Two digits; plugins are called in the order of their indexes. Not said: 10, 20, … in the order of the file.",
                    "^[0-9]{2}$",
                ),
            ),
            ("events", word_list::<PluginEvent>("What it hears. Not said: everything.")),
            (
                "connected",
                boolean("`false`: it connects when a call `connect-plugin` says so.", Some(true)),
            ),
            ("reply", list_of("What it wants in its replies.", limits::LIST_MAX, reply)),
        ],
    )
}

fn sandbox() -> Value {
    table(
        "A pod.",
        &["name"],
        vec![
            ("name", name("Its name.")),
            ("state", words::<SandboxState>("Before the first call.", Some("ready"))),
            (
                "runtime-handler",
                text("Name of the runtime handler; it need not exist. Empty: the default."),
            ),
            (
                "untrusted",
                boolean("The pod has the annotation for untrusted workloads.", Some(false)),
            ),
            ("host-namespaces", word_list::<HostNamespace>("Which namespaces are the node's.")),
            (
                "log-directory",
                matching(
                    "Absolute path; empty: no logging. Not said: `/var/log/pods/NAME`.",
                    "^(/[^/]+)*$",
                ),
            ),
        ],
    )
}

fn container() -> Value {
    let keys = vec![
        ("name", name("Its name.")),
        ("sandbox", name("Which of the world's. Not said: the first.")),
        ("image", name("Which of the world's. Not said: the first.")),
        (
            "id",
            matching(
                "Up to 64 hexadecimal digits that its id begins with. Empty: from a counter.",
                "^[0-9a-f]{0,64}$",
            ),
        ),
        ("state", words::<InitialState>("Before the first call.", Some("created"))),
        (
            "log-path",
            matching(
                "Relative to the sandbox's log directory; empty: no logging. Not said: `NAME.log`.",
                "^([^/].*)?$",
            ),
        ),
        ("tty", boolean("As in the CRI.", Some(false))),
        ("stdin", boolean("As in the CRI.", Some(false))),
        ("pid-mode", words::<PidModeWord>("Which pid namespace.", Some("container"))),
        ("target", text("With `pid-mode = \"target\"`: a container's name, or any id.")),
        ("process", process()),
    ];
    let targets = json!({
        "if": { "properties": { "pid-mode": { "const": "target" } }, "required": ["pid-mode"] },
        "then": { "required": ["target"] },
        "else": { "not": { "required": ["target"] } },
    });
    with_rules(
        table("A container, already created unless `state` says otherwise.", &["name"], keys),
        vec![targets],
    )
}

fn process() -> Value {
    let runs = matching(
        "How long it runs, or `\"forever\"`: until it is killed.",
        &format!("^forever$|{DURATION}"),
    );
    let output = table(
        "What the process writes in one go.",
        &["text"],
        vec![
            ("at", duration("Time since the process began.", Some("0s"))),
            ("stream", words::<Stream>("Where to.", Some("stdout"))),
            ("text", text("What is written.")),
            (
                "repeat",
                integer("How many times over, in the same write.", 1, i64::from(u32::MAX), Some(1)),
            ),
        ],
    );
    table(
        "What the user's process does once it runs.",
        &[],
        vec![
            ("runs", with_default(runs, Some("forever".into()))),
            ("exit-code", integer("When it ends by itself.", 0, 255, Some(0))),
            ("ignores-sigterm", boolean("Only SIGKILL ends it.", Some(false))),
            ("executable-missing", boolean("The runtime cannot create it.", Some(false))),
            ("output", list_of("What it writes, in order.", limits::LIST_MAX, output)),
        ],
    )
}

fn path() -> Value {
    let keys = vec![
        ("path", matching("Absolute, without `.`, `..`, `//` or a `/` at its end.", ABSOLUTE)),
        ("kind", words::<PathKind>("What it is, or what becomes of it.", None)),
        ("mode", integer("In octal, with `0o`: `0o600`.", 0, 0o7777, None)),
        ("target", text("Where a link points, absolute or relative to its directory.")),
    ];
    let of = |kind, more: &[&str], needs: &[&str]| {
        if_word("kind", kind, &[&["path", "kind"], more].concat(), needs)
    };
    with_rules(
        table("A path of the node.", &["path", "kind"], keys),
        vec![
            of("file", &["mode"], &[]),
            of("directory", &["mode"], &[]),
            of("fifo", &["mode"], &[]),
            of("symlink", &["target"], &["target"]),
            of("removed", &[], &[]),
            of("read-only", &[], &[]),
        ],
    )
}

fn call() -> Value {
    let mut keys = vec![
        ("do", words::<ActionWord>("The call.", None)),
        (
            "name",
            matching(
                "Name of the actor. Not said: the call and its number among its like, `start-1`.",
                "^[a-z][a-z0-9-]{0,62}$",
            ),
        ),
        ("container", name("Which container of the world; its id is sent.")),
        ("id", text("Instead of `container`: any text, sent as it is.")),
        ("sandbox", name("Which pod of the world.")),
        ("plugin", name("Which plugin of the world.")),
        (
            "timeout",
            integer("Seconds of grace. Not said: 0, of a kubelet 30.", -86_400, 86_400, None),
        ),
        ("verbose", boolean("With more in the answer.", Some(false))),
        (
            "attempt",
            integer(
                "The number of the container's restart, which its name in the CRI ends with.",
                0,
                limits::ATTEMPT_MAX,
                Some(0),
            ),
        ),
        (
            "containers",
            integer(
                "How many containers the kubelet makes at most.",
                1,
                limits::KUBELET_CONTAINERS_MAX,
                Some(3),
            ),
        ),
        (
            "restart",
            words::<Restart>(
                "Which ends have the kubelet make the next container.",
                Some("always"),
            ),
        ),
        ("delete-at", duration("When the kubelet is told that the pod is deleted.", None)),
        ("delete-when", moment("Instead of `delete-at`: the moment after which it is told.")),
        ("at", duration("Virtual time at which it begins.", Some("0s"))),
        ("when", moment("Instead of `at`: the moment after which it begins.")),
        ("deadline", duration("The client's deadline, counted from the beginning.", None)),
        ("cancel-at", duration("When the client cancels, counted from the beginning.", None)),
        ("cancel-when", moment("Instead of `cancel-at`: the moment after which it cancels.")),
    ];
    keys.extend(limit_keys());
    let mut rules = vec![
        not_both(["at", "when"]),
        not_both(["cancel-at", "cancel-when"]),
        not_both(["delete-at", "delete-when"]),
    ];
    let target = one_of(["container", "id"]);
    let limited =
        json!({ "anyOf": [{ "required": ["cpu-shares"] }, { "required": ["memory-limit"] }] });
    for (action, word) in ActionWord::WORDS.iter().map(|(word, action)| (*action, *word)) {
        let (more, needs): (&[&str], &[&str]) = match action {
            ActionWord::Create => (&["container", "attempt"], &["container"]),
            ActionWord::Start | ActionWord::Remove | ActionWord::ReopenLog => {
                (&["container", "id"], &[])
            }
            ActionWord::Stop => (&["container", "id", "timeout"], &[]),
            ActionWord::Update => (&["container", "id", "cpu-shares", "memory-limit"], &[]),
            ActionWord::Status => (&["container", "id", "verbose"], &[]),
            ActionWord::List | ActionWord::Events => (&[], &[]),
            ActionWord::StopPod | ActionWord::RemovePod => (&["sandbox"], &["sandbox"]),
            ActionWord::ConnectPlugin => (&["plugin"], &["plugin"]),
            ActionWord::PluginUpdate => {
                (&["plugin", "container", "cpu-shares", "memory-limit"], &["plugin", "container"])
            }
            ActionWord::Kubelet => (
                &["container", "containers", "restart", "timeout", "delete-at", "delete-when"],
                &["container"],
            ),
        };
        let cancel: &[&str] = match action {
            ActionWord::Kubelet => &[],
            _ => &["cancel-at", "cancel-when"],
        };
        let has = [&["do", "name", "at", "when", "deadline"], cancel, more].concat();
        let mut rule = if_word("do", word, &has, needs);
        let mut also = Vec::new();
        if more.contains(&"id") {
            also.push(target.clone());
        }
        if more.contains(&"cpu-shares") {
            also.push(limited.clone());
        }
        if action == ActionWord::Kubelet {
            also.push(json!({ "properties": { "timeout": { "minimum": 0 } } }));
        }
        if !also.is_empty() {
            rule["then"]["allOf"] = json!(also);
        }
        rules.push(rule);
    }
    with_rules(table("A call of a client. Each is an actor of its own.", &["do"], keys), rules)
}

fn occurrence() -> Value {
    let keys = vec![
        ("what", words::<HappeningWord>("What happens.", None)),
        ("container", name("Whose process or log.")),
        ("sandbox", name("Whose pause process, for `exit`; whose shim, for `shim-exit`.")),
        ("exit-code", integer("For `exit`.", 0, 255, Some(0))),
        ("at", duration("Virtual time at which it happens.", Some("0s"))),
        ("when", moment("Instead of `at`: the moment after which it happens.")),
    ];
    let of = |word, more: &[&str], needs: &[&str]| {
        if_word("what", word, &[&["what", "at", "when"], more].concat(), needs)
    };
    let mut exit = of("exit", &["container", "sandbox", "exit-code"], &[]);
    exit["then"]["allOf"] = json!([one_of(["container", "sandbox"])]);
    with_rules(
        table("What happens by itself.", &["what"], keys),
        vec![
            not_both(["at", "when"]),
            exit,
            of("oom", &["container"], &["container"]),
            of("rotate-log", &["container"], &["container"]),
            of("shim-exit", &["sandbox"], &["sandbox"]),
        ],
    )
}

fn fault() -> Value {
    let classes = Code::ALL.iter().map(|code| (code.name(), code.text()));
    let errnos = Errno::ALL.iter().map(|errno| (errno.name(), errno.text()));
    let (codes, meanings): (Vec<&str>, Vec<&str>) = classes.chain(errnos).unzip();
    let code = "An error class or, where the site is a file operation, an error number.";
    let keys = vec![
        ("at", site("Where it strikes.")),
        ("kind", or_axis(words::<FaultWord>("What happens.", None))),
        ("code", or_axis(described(code, &codes, &meanings))),
        ("message", text("Instead of the text that the simulated node gives.")),
        (
            "effect",
            or_axis(words::<EffectWord>("What becomes of the operation itself.", Some("none"))),
        ),
        ("late", duration("With `effect = \"late\"`: after how long it is done.", None)),
        ("by", duration("How much longer it takes.", None)),
        ("of", words::<DelayOf>("What is delayed.", Some("effect"))),
    ];
    let rules = FaultWord::WORDS.iter().map(|(word, kind)| {
        let (own, needs): (&[&str], &[&str]) = match kind {
            FaultWord::Error => (&["code", "message"], &["code"]),
            FaultWord::Delay => (&["by", "of"], &["by"]),
            _ => (&[], &[]),
        };
        let effect: &[&str] = if kind.has_effect() { &["effect", "late"] } else { &[] };
        let mut rule = if_word("kind", word, &[&["at", "kind"], own, effect].concat(), needs);
        if kind.has_effect() && !kind.can_be_late() {
            rule["then"]["properties"] = json!({ "effect": { "not": { "const": "late" } } });
        }
        rule
    });
    let late = json!({
        "if": { "properties": { "effect": { "const": "late" } }, "required": ["effect"] },
        "then": { "required": ["late"] },
    });
    let not_late = json!({
        "if": { "properties": { "effect": { "enum": ["none", "done"] } } },
        "then": { "not": { "required": ["late"] } },
    });
    let rules = rules.chain([late, not_late]).collect();
    with_rules(table("What goes wrong at a site.", &["at", "kind"], keys), rules)
}

fn hold() -> Value {
    table(
        "A moment that is set aside.",
        &["what", "until"],
        vec![
            ("what", moment("What waits.")),
            ("until", moment("After what it goes on.")),
            (
                "across-time",
                boolean(
                    "Keep it although time jumps; without this it is let go before the clock moves.",
                    Some(false),
                ),
            ),
        ],
    )
}

fn clock() -> Value {
    let keys = vec![
        ("at", duration("Virtual time at which it happens.", None)),
        ("when", moment("Instead of `at`: the moment right after which it happens.")),
        (
            "jump",
            matching(
                "How far it is set, with a `-` in front when it is set back: `\"-1h\"`.",
                &format!("^-?([0-9]+(h|m|s|ms|us|ns))+$|{PLACEHOLDER}"),
            ),
        ),
        (
            "drift",
            integer(
                "How many parts per million it gains from then on.",
                -limits::DRIFT_PPM_MAX,
                limits::DRIFT_PPM_MAX,
                None,
            ),
        ),
    ];
    with_rules(
        table("The wall clock goes on otherwise than it did.", &[], keys),
        vec![one_of(["at", "when"]), one_of(["jump", "drift"])],
    )
}

fn crash() -> Value {
    let keys = vec![
        ("at", duration("Instead of `when`: the virtual time at which it strikes.", None)),
        ("when", moment("After what it strikes, before anything else happens.")),
        ("kind", words::<CrashKind>("What ends.", Some("daemon"))),
        ("down", duration("How long the daemon is down.", Some("1s"))),
        ("restart", boolean("`false`: it stays down until the node is reaped.", Some(true))),
        (
            "lost",
            texts(
                "With `kind = \"power\"`: operations that the disk did not have yet and that are undone, as `rename(web/status)#1`; `all` for all of them.",
            ),
        ),
        (
            "torn",
            texts(
                "With `kind = \"power\"`: `data(…)#N` of which the first half of the new sectors survives.",
            ),
        ),
    ];
    with_rules(
        table("The daemon is killed, or the node loses power.", &[], keys),
        vec![
            one_of(["at", "when"]),
            json!({
                "if": { "properties": { "kind": { "const": "power" } }, "required": ["kind"] },
                "else": { "not": { "anyOf": [{ "required": ["lost"] }, { "required": ["torn"] }] } },
            }),
            json!({
                "if": { "properties": { "restart": { "const": false } }, "required": ["restart"] },
                "then": { "not": { "required": ["down"] } },
            }),
        ],
    )
}

fn matrix() -> Value {
    let actor = |what: &str| matching(&format!("{what} `\"*\"` stands for all actors."), ".");
    let sweep = json!({
        "type": "object",
        "description": "Values that come from a run of the file without what uses the sweep.",
        "properties": {
            "every-moment-of": actor("Each moment of the actor, in the order of the run."),
            "from": moment("With `every-moment-of`: from which moment on."),
            "every-site-of": actor("Each site of the actor, inner ones too."),
            "every-operation-of": actor("The first site of each operation of the actor."),
        },
        "additionalProperties": false,
        "oneOf": [
            { "required": ["every-moment-of"] },
            { "required": ["every-site-of"], "not": { "required": ["from"] } },
            { "required": ["every-operation-of"], "not": { "required": ["from"] } },
        ],
    });
    let list = json!({
        "type": "array", "minItems": 1, "maxItems": limits::AXIS_VALUES_MAX, "uniqueItems": true,
        "items": { "type": "string", "pattern": r"^[^{},]+$" },
    });
    json!({
        "type": "object",
        "description": "Expands the file into one case for each combination of values; `{axis}` in a text stands for the value.",
        "maxProperties": limits::AXES_MAX,
        "propertyNames": { "pattern": NAME },
        "additionalProperties": { "description": "An axis: a list of values, or a sweep.", "anyOf": [list, sweep] },
    })
}

/// `profiles` and `cases`
fn filter() -> Keys {
    let profiles: Vec<&str> = crate::under_test::profiles().map(|profile| profile.name).collect();
    let meanings: Vec<String> = (profiles.iter())
        .map(|name| match name.split_once('@') {
            Some((service, world)) => {
                format!("the {service} service in the world of containerd {world}")
            }
            None if name.starts_with(|c: char| c.is_ascii_digit()) => format!("containerd {name}"),
            None => format!("the {name} service, in a world without quirks"),
        })
        .collect();
    let meanings: Vec<&str> = meanings.iter().map(String::as_str).collect();
    vec![
        (
            "profiles",
            json!({
                "type": "array", "uniqueItems": true,
                "description": "Versions that the entry is about. Not said: all; of an expected violation, those that have its quirk.",
                "items": described("A version.", &profiles, &meanings),
            }),
        ),
        (
            "cases",
            json!({
                "type": "array",
                "description": "Cases that the entry is about: `AXIS=VALUE`, `AXIS=FROM..TO`, several axes joined by a comma and a space. Not said: all.",
                "items": { "type": "string", "pattern": "=" },
            }),
        ),
    ]
}

fn expect() -> Value {
    let mut keys = filter();
    let by_container = |what: &str, item: Value| {
        json!({
            "type": "object", "description": what, "propertyNames": { "pattern": NAME },
            "additionalProperties": { "type": "array", "items": item },
        })
    };
    let event = described("An event of the container.", EVENT_WORDS, EVENT_MEANINGS);
    let order = json!({ "type": "array", "minItems": 1, "items": moment("A moment.") });
    keys.extend([
        ("answer", list_of("The answer of a call.", limits::EXPECTATIONS_MAX, answer())),
        ("status", list_of("The status of a container once quiet.", limits::EXPECTATIONS_MAX, status())),
        ("events", by_container("Container = all its events until quiet, in order, without those before the first call.", event)),
        ("log", by_container("Container = its log lines without time stamps, once reaped: `stdout F hello`.", json!({ "type": "string" }))),
        ("left-when-quiet", left("Everything of the file's containers that is on the node once quiet: `task web created`.")),
        ("left-when-reaped", left("Likewise, once reaped.")),
        ("not-applied", texts("Sites and moments whose faults, holds or crashes cannot come about in these profiles and cases.")),
        ("order", json!({ "type": "array", "description": "Lists of moments that must come in this order, whatever is between them.", "items": order })),
        ("panic", text("The service panics, and its message contains this text.")),
    ]);
    let says: Vec<Value> = keys[2..].iter().map(|(key, _)| json!({ "required": [key] })).collect();
    with_rules(table("What must come out.", &[], keys), vec![json!({ "anyOf": says })])
}

fn answer() -> Value {
    let classes = Code::ALL.iter().map(|code| (code.name(), code.text()));
    let others = [(ANSWER_OK, "no error"), (ANSWER_NONE, "the service never answered")];
    let (words, meanings): (Vec<&str>, Vec<&str>) = others.into_iter().chain(classes).unzip();
    let answer = |what: &str| or_axis(described(what, &words, &meanings));
    table(
        "The answer of a call.",
        &["call", "code"],
        vec![
            ("call", name("Name of the call.")),
            ("code", answer("What the service answers.")),
            (
                "message",
                text(
                    "The whole text of the error. A container's id is written as its name: `⟨web⟩`.",
                ),
            ),
            ("client", answer("What the client saw, where it gave up before the answer.")),
            (
                "state",
                described(
                    "For a `status` call: the state in its answer.",
                    STATE_WORDS,
                    STATE_MEANINGS,
                ),
            ),
            (
                "received",
                json!({
                    "type": "array", "description": "For an `events` call: the events that it brought until quiet, as `web started`.",
                    "items": { "type": "string", "pattern": format!("^[a-z0-9-]+ ({})$", EVENT_WORDS.join("|")) },
                }),
            ),
        ],
    )
}

fn status() -> Value {
    let states: Vec<&str> = STATE_WORDS.iter().copied().chain([STATE_GONE]).collect();
    let meanings: Vec<&str> =
        STATE_MEANINGS.iter().copied().chain(["the service does not know it"]).collect();
    table(
        "The status of a container once quiet.",
        &["container"],
        vec![
            ("container", name("Name of the container.")),
            ("state", described("Its state.", &states, &meanings)),
            (
                "exit-code",
                integer("As the status has it.", i64::from(i32::MIN), i64::from(i32::MAX), None),
            ),
            ("reason", text("As the status has it: `StartError`.")),
            ("message", text("As the status has it.")),
            ("started", boolean("Whether StartedAt is set.", None)),
            ("finished", boolean("Whether FinishedAt is set.", None)),
        ],
    )
}

fn violation() -> Value {
    let mut keys = filter();
    let names: Vec<&str> =
        crate::invariants::all().iter().map(|invariant| invariant.name()).collect();
    let quirks: Vec<&str> = Quirk::ALL.iter().map(|quirk| quirk.id()).collect();
    let causes: Vec<&str> = Quirk::ALL.iter().map(|quirk| quirk.what()).collect();
    keys.extend([
        ("invariant", described("Which invariant breaks.", INVARIANTS, &names)),
        ("quirk", described("The quirk of the profile that causes it.", &quirks, &causes)),
        (
            "forced",
            json!({ "const": true, "description": "The fault is one that no real node produces." }),
        ),
        ("because", text("In words.")),
    ]);
    with_rules(
        table("An invariant that is known to break.", &["invariant"], keys),
        vec![one_of(["quirk", "forced"])],
    )
}
