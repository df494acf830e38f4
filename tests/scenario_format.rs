//! The scenario format: reading back what was printed, bytes of any kind, and what people are told
//! about files that are wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use shakedown::scenario::*;
use shakedown::suite::Source;
use shakedown_cri::quirks::{Profile, Quirk};

const OPERATIONS: &[&str] = &[
    "task.create",
    "task.start",
    "task.delete",
    "task.kill",
    "task.get",
    "task.wait",
    "nri.start",
    "nri.post-start",
    "nri.stop",
    "record.info",
    "shim.connect",
    "fs.write",
    "fs.rename",
    "lock",
];
const PENDING: &[&str] = &["create", "mkdir", "rename", "data"];
const ROLES: &[&str] = &["exit-monitor", "log-stdout", "backoff", "process", "plugin", "kubelet"];

fn vocabulary() -> Vocabulary<'static> {
    let codes = |operation: &str| match operation.starts_with("fs.") {
        true => vec!["ENOSPC", "EIO"],
        false => vec!["not-found", "unavailable"],
    };
    Vocabulary {
        operations: OPERATIONS,
        roles: ROLES,
        only_calls_are_numbered: false,
        codes: Some(codes),
        pending: PENDING,
    }
}

fn read(text: &str) -> Result<Scenario, Vec<Diagnostic>> {
    parse_with("scenarios/start/a-start.toml", text, vocabulary())
}

fn read_ok(text: &str) -> Scenario {
    read(text).unwrap_or_else(|errors| {
        let rendered: Vec<String> = errors.iter().map(|e| e.render(text, false)).collect();
        panic!("{}", rendered.join("\n"))
    })
}

// --- arbitrary scenarios --------------------------------------------------------------------------

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-zA-Z0-9 .,:/]{1,20}",
        "[\\PC\n\t\r\"'\\\\{}\u{0}\u{7f}]{0,12}",
        Just("\"\"\" and ''' \\".to_owned()),
        Just("{code} {none} {".to_owned()),
    ]
}

/// Text without what would be a placeholder.
fn plain_text() -> impl Strategy<Value = String> {
    any_text().prop_map(|text| text.replace('{', "("))
}

fn names(prefix: &'static str, most: usize) -> impl Strategy<Value = Vec<String>> {
    (0..=most).prop_map(move |n| (1..=n).map(|i| format!("{prefix}-{i}")).collect())
}

fn a_duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        (0u64..86_400).prop_map(Duration::from_secs),
        (0u64..86_400_000).prop_map(Duration::from_millis),
        (0u64..86_400_000_000_000).prop_map(Duration::from_nanos),
    ]
}

fn some_time() -> impl Strategy<Value = Duration> {
    a_duration().prop_map(|by| by + Duration::from_nanos(1))
}

fn an_effect() -> impl Strategy<Value = Effect> {
    prop_oneof![Just(Effect::None), Just(Effect::Done), some_time().prop_map(Effect::Late)]
}

fn a_short_effect() -> impl Strategy<Value = Effect> {
    prop_oneof![Just(Effect::None), Just(Effect::Done)]
}

fn a_path() -> impl Strategy<Value = String> {
    vec("[a-z.][a-z-]{0,5}[a-z]", 1..4).prop_map(|parts| format!("/{}", parts.join("/")))
}

#[derive(Clone, Debug)]
struct Known {
    calls: Vec<String>,
    containers: Vec<String>,
    axes: Vec<Axis>,
}

fn axes_of(calls: &[String]) -> impl Strategy<Value = Vec<Axis>> + use<> {
    let list = |words: &'static [&'static str]| {
        subsequence(words, 1..=words.len())
            .prop_shuffle()
            .prop_map(|words| AxisValues::List(words.into_iter().map(str::to_owned).collect()))
    };
    let axis = |name: &str, values| Axis { span: Span::default(), name: name.to_owned(), values };
    let actor = calls.first().cloned().unwrap_or_else(|| "backoff".to_owned());
    let code = list(&["not-found", "unknown", "unavailable", "ENOSPC"]);
    let op = list(&["task.create", "task.start", "lock"]);
    let sweeps = (any::<bool>(), any::<bool>());
    (proptest::option::of(code), proptest::option::of(op), sweeps, any::<bool>()).prop_map(
        move |(code, op, (moment, site), backwards)| {
            let mut axes = Vec::new();
            axes.extend(code.map(|values| axis("code", values)));
            axes.extend(op.map(|values| axis("1-op", values)));
            if moment {
                axes.push(axis(
                    "moment",
                    AxisValues::EveryMomentOf { actor: actor.clone(), from: None },
                ));
            }
            if site {
                let actor = "exit-monitor(web)".to_owned();
                axes.push(axis("site", AxisValues::EverySiteOf(actor)));
            }
            if backwards {
                axes.reverse();
            }
            axes
        },
    )
}

fn has_axis(known: &Known, name: &str) -> bool {
    known.axes.iter().any(|axis| axis.name == name)
}

fn a_site(known: &Known) -> BoxedStrategy<String> {
    let mut actors: Vec<String> = known.calls.clone();
    actors.extend(["exit-monitor(web)", "boot2:backoff", "kubelet-1"].map(str::to_owned));
    let mut operations: Vec<String> = OPERATIONS.iter().map(|word| (*word).to_owned()).collect();
    if has_axis(known, "1-op") {
        operations.push("{1-op}".to_owned());
    }
    let subject = prop_oneof![
        Just(String::new()),
        Just("(web)".to_owned()),
        Just("(status(web))".to_owned()),
        Just("(/var/log/x y.log)".to_owned()),
    ];
    let step = (select(operations), subject, 1u32..5).prop_map(|(o, s, n)| format!("/{o}{s}#{n}"));
    let site = (select(actors), vec(step, 1..3)).prop_map(|(actor, steps)| actor + &steps.concat());
    if has_axis(known, "site") {
        prop_oneof![3 => site, 1 => Just("{site}".to_owned())].boxed()
    } else {
        site.boxed()
    }
}

fn a_moment(known: &Known) -> BoxedStrategy<String> {
    let stage = select(vec!["", ".effect", ".reply", ".abandon"]);
    let mut choices = vec![(a_site(known), stage).prop_map(|(site, s)| site + s).boxed()];
    if let Some(call) = known.calls.first() {
        choices.push(Just(format!("{call}.done")).boxed());
    }
    if has_axis(known, "moment") {
        choices.push(Just("{moment}".to_owned()).boxed());
    }
    proptest::strategy::Union::new(choices).boxed()
}

fn a_message(known: &Known) -> BoxedStrategy<String> {
    if known.axes.is_empty() {
        return any_text().boxed();
    }
    let axes: Vec<String> = known.axes.iter().map(|axis| axis.name.clone()).collect();
    (plain_text(), select(axes)).prop_map(|(text, axis)| format!("{text}{{{axis}}} x")).boxed()
}

fn a_code(known: &Known) -> BoxedStrategy<String> {
    let code = select(vec!["not-found", "unknown", "deadline-exceeded", "ENOSPC", "EIO"]);
    let code = code.prop_map(str::to_owned);
    if has_axis(known, "code") {
        prop_oneof![code, Just("{code}".to_owned())].boxed()
    } else {
        code.boxed()
    }
}

fn an_answer_code() -> impl Strategy<Value = String> {
    select(vec!["ok", "none", "not-found", "failed-precondition"]).prop_map(str::to_owned)
}

fn a_world() -> impl Strategy<Value = World> {
    let nri = select(vec![NriConfig::Enabled, NriConfig::Disabled, NriConfig::Absent]);
    let disk = (proptest::option::of(0u64..1 << 40), proptest::option::of(0u32..1 << 20))
        .prop_map(|(size, max_open_files)| Disk { size, max_open_files });
    let events = vec![
        PluginEvent::Create,
        PluginEvent::PostCreate,
        PluginEvent::Start,
        PluginEvent::PostStart,
        PluginEvent::Stop,
        PluginEvent::Remove,
    ];
    let plugins = names("plugin", 3).prop_flat_map(move |names| {
        names
            .into_iter()
            .map(|name| {
                (0u32..100, subsequence(events.clone(), 0..=6), any::<bool>()).prop_map(
                    move |(index, events, connected)| Plugin {
                        name: name.clone(),
                        index: format!("{index:02}"),
                        events,
                        connected,
                        replies: Vec::new(),
                    },
                )
            })
            .collect::<Vec<_>>()
    });
    let images = names("image", 2).prop_flat_map(|mut names| {
        if names.is_empty() {
            names.push("app".to_owned());
        }
        names
            .into_iter()
            .map(|name| {
                plain_text().prop_map(move |stop_signal| Image { name: name.clone(), stop_signal })
            })
            .collect::<Vec<_>>()
    });
    let sandboxes = (names("pod", 2), any::<bool>()).prop_flat_map(|(mut names, _)| {
        if names.is_empty() {
            names.push("pod".to_owned());
        }
        names.into_iter().map(a_sandbox).collect::<Vec<_>>()
    });
    let paths = btree_map(a_path(), (0u32..=0o7777, 0..6, a_path()), 0..3).prop_map(|paths| {
        paths
            .into_iter()
            .map(|(path, (mode, kind, target))| {
                let (kind, mode, target) = match kind {
                    0 => (PathKind::File, mode, String::new()),
                    1 => (PathKind::Directory, mode, String::new()),
                    2 => (PathKind::Fifo, mode, String::new()),
                    3 => (PathKind::Symlink, 0, target),
                    4 => (PathKind::ReadOnly, 0, String::new()),
                    _ => (PathKind::Removed, 0, String::new()),
                };
                PathEntry { path, kind, mode, target, span: Span::default() }
            })
            .collect()
    });
    let bound =
        prop_oneof![Just(Duration::from_secs(150)), (1u64..86_400).prop_map(Duration::from_secs)];
    let runtime_path = prop_oneof![Just(String::new()), a_path()];
    let runtimes = (names("runtime", 2), runtime_path);
    (
        bound,
        1u32..=1 << 20,
        proptest::option::of(nri),
        disk,
        plugins,
        images,
        sandboxes,
        paths,
        runtimes,
    )
        .prop_flat_map(
            |(bound, max_log_line, nri, disk, plugins, images, sandboxes, paths, runtimes)| {
                let (runtimes, runtime_path) = runtimes;
                let world = World {
                    bound,
                    max_log_line,
                    nri,
                    disk,
                    plugins,
                    images,
                    sandboxes,
                    containers: Vec::new(),
                    paths,
                    runtimes,
                    runtime_path,
                };
                names("web", 3).prop_flat_map(move |names| {
                    let world = world.clone();
                    names
                        .into_iter()
                        .map(|name| a_container(name, &world))
                        .collect::<Vec<_>>()
                        .prop_map(move |containers| World { containers, ..world.clone() })
                })
            },
        )
}

fn a_sandbox(name: String) -> impl Strategy<Value = Sandbox> {
    let state = select(vec![SandboxState::Ready, SandboxState::NotReady, SandboxState::Gone]);
    let host =
        subsequence(vec![HostNamespace::Network, HostNamespace::Pid, HostNamespace::Ipc], 0..=3);
    let log_directory =
        prop_oneof![Just(format!("/var/log/pods/{name}")), Just(String::new()), a_path(),];
    (state, plain_text(), any::<bool>(), host, log_directory).prop_map(
        move |(state, runtime_handler, untrusted, host_namespaces, log_directory)| Sandbox {
            name: name.clone(),
            state,
            runtime_handler,
            untrusted,
            host_namespaces,
            log_directory,
        },
    )
}

fn a_container(name: String, world: &World) -> impl Strategy<Value = Container> + use<> {
    let sandboxes: Vec<String> = world.sandboxes.iter().map(|s| s.name.clone()).collect();
    let images: Vec<String> = world.images.iter().map(|i| i.name.clone()).collect();
    let state = select(vec![
        InitialState::Absent,
        InitialState::Created,
        InitialState::Running,
        InitialState::Exited,
    ]);
    let pid_mode = prop_oneof![
        Just(PidMode::Container),
        Just(PidMode::Pod),
        Just(PidMode::Node),
        any_text().prop_map(PidMode::Target),
    ];
    let output = (a_duration(), any::<bool>(), any_text(), 1u32..100).prop_map(
        |(at, stdout, text, repeat)| Output {
            at,
            stream: if stdout { Stream::Stdout } else { Stream::Stderr },
            text,
            repeat,
        },
    );
    let process =
        (
            proptest::option::of(a_duration()),
            0i32..256,
            any::<bool>(),
            any::<bool>(),
            vec(output, 0..3),
        )
            .prop_map(|(runs, exit_code, ignores_sigterm, executable_missing, output)| {
                Process { runs, exit_code, ignores_sigterm, executable_missing, output }
            });
    let log_path = prop_oneof![Just(format!("{name}.log")), Just(String::new()), "[a-z/]{0,3}x"]
        .prop_map(|path| path.trim_start_matches('/').to_owned());
    let flags = (any::<bool>(), any::<bool>());
    (select(sandboxes), select(images), "[0-9a-f]{0,64}", log_path, flags, pid_mode, state, process)
        .prop_map(move |(sandbox, image, id, log_path, (tty, stdin), pid_mode, state, process)| {
            Container {
                name: name.clone(),
                sandbox,
                image,
                id,
                log_path,
                tty,
                stdin,
                pid_mode,
                state,
                process,
            }
        })
}

fn an_action(world: &World) -> BoxedStrategy<Action> {
    let containers: Vec<String> = world.containers.iter().map(|c| c.name.clone()).collect();
    let sandboxes: Vec<String> = world.sandboxes.iter().map(|s| s.name.clone()).collect();
    let plugins: Vec<String> = world.plugins.iter().map(|p| p.name.clone()).collect();
    let mut targets = vec![any_text().prop_map(Target::Literal).boxed()];
    if !containers.is_empty() {
        targets.push(select(containers.clone()).prop_map(Target::Container).boxed());
    }
    let target = || proptest::strategy::Union::new(targets.clone());
    let mut actions = vec![
        target().prop_map(|target| Action::Start { target }).boxed(),
        (target(), -1i64..100)
            .prop_map(|(target, timeout)| Action::Stop { target, timeout })
            .boxed(),
        target().prop_map(|target| Action::Remove { target }).boxed(),
        (target(), any::<bool>())
            .prop_map(|(target, verbose)| Action::Status { target, verbose })
            .boxed(),
        Just(Action::List).boxed(),
        Just(Action::Events).boxed(),
        target().prop_map(|target| Action::ReopenLog { target }).boxed(),
        (target(), 2i64..1000, 0i64..1000)
            .prop_map(|(target, cpu_shares, memory)| Action::Update {
                target,
                limits: Limits { cpu_shares, memory },
            })
            .boxed(),
        select(sandboxes.clone()).prop_map(|sandbox| Action::StopPod { sandbox }).boxed(),
        select(sandboxes).prop_map(|sandbox| Action::RemovePod { sandbox }).boxed(),
    ];
    if !containers.is_empty() {
        let create = (select(containers.clone()), 0..3u32)
            .prop_map(|(container, attempt)| Action::Create { container, attempt });
        actions.push(create.boxed());
    }
    if !plugins.is_empty() {
        if !containers.is_empty() {
            let update = (select(plugins.clone()), select(containers), 2i64..1000);
            let update = update.prop_map(|(plugin, container, cpu_shares)| Action::PluginUpdate {
                plugin,
                container,
                limits: Limits { cpu_shares, memory: 0 },
            });
            actions.push(update.boxed());
        }
        actions.push(select(plugins).prop_map(|plugin| Action::ConnectPlugin { plugin }).boxed());
    }
    proptest::strategy::Union::new(actions).boxed()
}

fn a_when(known: &Known) -> BoxedStrategy<When> {
    prop_oneof![a_duration().prop_map(When::At), a_moment(known).prop_map(When::Moment)].boxed()
}

fn a_clock(known: &Known) -> impl Strategy<Value = Clock> + use<> {
    let by = some_time().prop_map(duration::print);
    let change = prop_oneof![
        ("-?", by).prop_map(|(sign, by)| ClockChange::Jump(sign + &by)),
        (-100_000i64..=100_000).prop_map(ClockChange::Drift),
    ];
    (a_when(known), change).prop_map(|(when, change)| Clock { span: Span::default(), when, change })
}

fn a_call(name: String, world: &World, known: &Known) -> impl Strategy<Value = Call> + use<> {
    let cancel = proptest::option::of(a_when(known));
    (an_action(world), a_when(known), proptest::option::of(a_duration()), cancel).prop_map(
        move |(action, when, deadline, cancel)| Call {
            span: Span::default(),
            name: name.clone(),
            action,
            when,
            deadline,
            cancel,
        },
    )
}

fn an_occurrence(world: &World, known: &Known) -> impl Strategy<Value = Vec<Occurrence>> + use<> {
    let sandboxes = world.sandboxes.iter().map(|s| Victim::Sandbox(s.name.clone()));
    let containers = known.containers.iter().cloned().map(Victim::Container);
    let victims: Vec<Victim> = sandboxes.chain(containers).collect();
    let happening =
        (select(victims), 0..=255, any::<bool>()).prop_map(|(of, code, oom)| match of {
            Victim::Container(container) if oom && code % 2 == 0 => Happening::Oom { container },
            Victim::Container(container) if oom => Happening::RotateLog { container },
            of => Happening::Exit { of, code },
        });
    let occurrence = (happening, a_when(known)).prop_map(|(what, when)| Occurrence {
        span: Span::default(),
        what,
        when,
    });
    vec(occurrence, 0..3)
}

fn a_crash(known: &Known) -> impl Strategy<Value = Crash> + use<> {
    let kind = select(vec![CrashKind::Daemon, CrashKind::Power]);
    let lost = select(vec!["all", "rename(web/status)#1", "mkdir(/x)#2"]).prop_map(str::to_owned);
    let lost = proptest::option::of(lost);
    let torn = proptest::option::of(Just("data(log:pod/web.log)#1".to_owned()));
    (a_when(known), kind, proptest::option::of(a_duration()), lost, torn).prop_map(
        |(when, kind, down, lost, torn)| {
            let power = kind == CrashKind::Power;
            let lost = lost.filter(|_| power).into_iter().collect();
            let torn = torn.filter(|_| power).into_iter().collect();
            Crash { span: Span::default(), when, kind, down, lost, torn }
        },
    )
}

fn a_fault(known: &Known) -> impl Strategy<Value = Fault> + use<> {
    let message = proptest::option::of(a_message(known));
    let of = select(vec![DelayOf::Effect, DelayOf::Reply]);
    let kind = prop_oneof![
        (a_code(known), message, an_effect())
            .prop_map(|(code, message, effect)| FaultKind::Error { code, message, effect }),
        (some_time(), of).prop_map(|(by, of)| FaultKind::Delay { by, of }),
        a_short_effect().prop_map(|effect| FaultKind::Hang { effect }),
        a_short_effect().prop_map(|effect| FaultKind::HangForever { effect }),
        an_effect().prop_map(|effect| FaultKind::Cancel { effect }),
        an_effect().prop_map(|effect| FaultKind::Deadline { effect }),
        Just(FaultKind::ShortWrite),
        Just(FaultKind::Lost),
        an_effect().prop_map(|effect| FaultKind::ConnectionClosed { effect }),
    ];
    (a_site(known), kind).prop_map(|(at, kind)| Fault {
        span: Span::default(),
        at,
        at_span: Span::default(),
        code_span: Span::default(),
        kind,
    })
}

fn a_filter(known: &Known) -> BoxedStrategy<Filter> {
    let profiles: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name).collect();
    let all = profiles.len();
    let profiles = subsequence(profiles, 0..=all)
        .prop_map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>());
    if known.axes.is_empty() {
        return profiles.prop_map(|profiles| Filter { profiles, cases: Vec::new() }).boxed();
    }
    let axes = known.axes.clone();
    let pattern = (
        btree_set(any::<Index>().prop_map(move |i| i.index(axes.len())), 1..3),
        any::<(Index, Index, bool)>(),
    );
    let axes = known.axes.clone();
    let patterns = vec(pattern, 0..3).prop_map(move |patterns| {
        let ranges = |values: &AxisValues, (a, b, range): (Index, Index, bool)| {
            let moments = ["start-1/lock#1.reply", "start-1/task.create(web)#2"];
            let sites = ["backoff/lock#1", "backoff/task.get(web)#2"];
            let values: Vec<String> = match values {
                AxisValues::List(values) => values.clone(),
                AxisValues::EveryMomentOf { .. } => moments.map(str::to_owned).to_vec(),
                AxisValues::EverySiteOf(_) | AxisValues::EveryOperationOf(_) => {
                    sites.map(str::to_owned).to_vec()
                }
            };
            let (a, b) = (a.index(values.len()), b.index(values.len()));
            if range {
                ValueRange::Range(values[a.min(b)].clone(), values[a.max(b)].clone())
            } else {
                ValueRange::One(values[a].clone())
            }
        };
        patterns
            .into_iter()
            .map(|(chosen, ends)| {
                let parts = chosen
                    .into_iter()
                    .map(|i| (axes[i].name.clone(), ranges(&axes[i].values, ends)))
                    .collect();
                CasePattern(parts)
            })
            .collect::<Vec<_>>()
    });
    (profiles, patterns).prop_map(|(profiles, cases)| Filter { profiles, cases }).boxed()
}

fn an_expect(known: &Known, calls: &[Call]) -> BoxedStrategy<Expect> {
    let lists = |word: BoxedStrategy<String>| -> BoxedStrategy<BTreeMap<String, Vec<String>>> {
        if known.containers.is_empty() {
            return Just(BTreeMap::new()).boxed();
        }
        btree_map(select(known.containers.clone()), vec(word, 0..8), 0..3).boxed()
    };
    let event = select(vec!["created", "started", "stopped", "deleted"]).prop_map(str::to_owned);
    let answers: BoxedStrategy<Vec<ExpectAnswer>> = if calls.is_empty() {
        Just(Vec::new()).boxed()
    } else {
        let known = known.clone();
        subsequence(calls.to_vec(), 0..=calls.len().min(3))
            .prop_flat_map(move |calls| {
                calls.into_iter().map(|call| an_answer(&known, call)).collect::<Vec<_>>()
            })
            .boxed()
    };
    let statuses: BoxedStrategy<Vec<ExpectStatus>> = {
        let known = known.clone();
        subsequence(known.containers.clone(), 0..=known.containers.len())
            .prop_flat_map(move |names| {
                names.into_iter().map(|name| a_status(&known, name)).collect::<Vec<_>>()
            })
            .boxed()
    };
    let left = || {
        let entry = (select(LEFT_WORDS), any_text()).prop_map(|(word, of)| format!("{word} {of}"));
        proptest::option::of(vec(entry, 0..4).prop_map(|mut left| {
            left.sort();
            left
        }))
    };
    let order = vec(vec(a_moment(known), 1..4), 0..3);
    let not_applied = vec(prop_oneof![a_site(known), a_moment(known)], 0..3);
    (
        a_filter(known),
        answers,
        statuses,
        lists(event.boxed()),
        (left(), left()),
        (order, not_applied),
        lists(any_text().boxed()),
        proptest::option::of(any_text()),
    )
        .prop_map(|(filter, answers, statuses, events, (quiet, reaped), moments, logs, panic)| {
            let (order, not_applied) = moments;
            Expect {
                span: Span::default(),
                filter,
                answers,
                statuses,
                events,
                left_when_quiet: quiet,
                left_when_reaped: reaped,
                order,
                logs,
                panic: Some(panic.unwrap_or_default()),
                not_applied,
            }
        })
        .boxed()
}

fn an_answer(known: &Known, call: Call) -> impl Strategy<Value = ExpectAnswer> + use<> {
    let is_status = matches!(call.action, Action::Status { .. });
    let state = proptest::option::of(select(vec!["created", "running", "exited", "unknown"]));
    let is_stream = matches!(call.action, Action::Events);
    let events = known.containers.iter().map(|name| format!("{name} started"));
    let events: Vec<String> = events.collect();
    let received = proptest::option::of(subsequence(events.clone(), 0..=events.len()));
    let message = proptest::option::of(a_message(known));
    (an_answer_code(), message, proptest::option::of(an_answer_code()), state, received).prop_map(
        move |(code, message, client, state, received)| ExpectAnswer {
            span: Span::default(),
            call: call.name.clone(),
            code,
            message,
            client,
            state: state.filter(|_| is_status).map(str::to_owned),
            received: received.clone().filter(|_| is_stream),
        },
    )
}

fn a_status(known: &Known, container: String) -> impl Strategy<Value = ExpectStatus> + use<> {
    let state = select(vec!["created", "running", "exited", "unknown", "gone"]);
    (
        proptest::option::of(state),
        proptest::option::of(any::<i32>()),
        proptest::option::of(any_text()),
        proptest::option::of(a_message(known)),
        proptest::option::of(any::<bool>()),
        proptest::option::of(any::<bool>()),
    )
        .prop_map(move |(state, exit_code, reason, message, started, finished)| ExpectStatus {
            span: Span::default(),
            container: container.clone(),
            state: state.map(str::to_owned),
            exit_code,
            reason,
            message,
            started,
            finished,
        })
}

fn a_violation(known: &Known) -> impl Strategy<Value = ExpectedViolation> + use<> {
    let quirks: Vec<String> = Quirk::ALL.iter().map(|quirk| quirk.id().to_owned()).collect();
    let cause = prop_oneof![select(quirks).prop_map(Cause::Quirk), Just(Cause::Forced)];
    (a_filter(known), 1u32..=17, cause, any_text()).prop_map(
        |(filter, invariant, cause, because)| ExpectedViolation {
            span: Span::default(),
            filter,
            invariant: format!("I{invariant}"),
            cause,
            because,
        },
    )
}

/// Any scenario that a file can say.
fn a_scenario() -> impl Strategy<Value = Scenario> {
    let heads = (a_world(), names("call", 4)).prop_flat_map(|(world, calls)| {
        axes_of(&calls).prop_map(move |axes| {
            let containers = world.containers.iter().map(|c| c.name.clone()).collect();
            (world.clone(), Known { calls: calls.clone(), containers, axes })
        })
    });
    let with_calls = heads.prop_flat_map(|(world, known)| {
        let names = known.calls.clone();
        let calls: Vec<_> = names.into_iter().map(|name| a_call(name, &world, &known)).collect();
        calls.prop_map(move |calls| (world.clone(), known.clone(), calls))
    });
    with_calls.prop_flat_map(|(world, known, calls)| {
        let occurrences = an_occurrence(&world, &known);
        let faults = vec(a_fault(&known), 0..4);
        let holds = vec((a_moment(&known), a_moment(&known), any::<bool>()), 0..3);
        let crashes = vec(a_crash(&known), 0..3);
        let expects = vec(an_expect(&known, &calls), 0..3);
        let violations = vec(a_violation(&known), 0..3);
        let texts = ("[^\\pC\\pZ][^\\pC\n\r]{0,20}", any_text(), names("tag", 2));
        let clocks = vec(a_clock(&known), 0..3);
        (texts, (occurrences, faults, (holds, crashes), clocks), expects, violations).prop_map(
            move |(
                (title, description, tags),
                (occurrences, faults, (holds, crashes), clocks),
                expects,
                violations,
            )| {
                assemble(
                    Scenario {
                        name: "a-start".to_owned(),
                        title,
                        description,
                        tags,
                        world: world.clone(),
                        calls: calls.clone(),
                        occurrences,
                        faults,
                        holds: Vec::new(),
                        clocks,
                        crashes,
                        matrix: known.axes.clone(),
                        expects,
                        violations,
                    },
                    holds,
                )
            },
        )
    })
}

/// Leaves out what may be there only once or cannot be, and uses every axis.
fn assemble(mut scenario: Scenario, holds: Vec<(String, String, bool)>) -> Scenario {
    let names: Vec<String> = scenario.calls.iter().map(|call| call.name.clone()).collect();
    for (index, call) in scenario.calls.iter_mut().enumerate() {
        let is_of = |moment: &str, name: &String| {
            moment.strip_prefix(&**name).is_some_and(|rest| rest.starts_with(['.', '/']))
        };
        // A call begins after moments of those before it only: neither of its own, nor in a circle.
        if let When::Moment(moment) = &call.when
            && names[index..].iter().any(|name| is_of(moment, name))
        {
            call.when = When::At(Duration::ZERO);
        }
        call.cancel = call.cancel.take().filter(|cancel| {
            !matches!(cancel, When::Moment(moment) if *moment == format!("{}.done", call.name))
        });
    }
    let mut seen = std::collections::BTreeSet::new();
    scenario.faults.retain(|fault| {
        let kind = match &fault.kind {
            FaultKind::Delay { of, .. } => format!("delay {of:?}"),
            kind => format!("{:?}", std::mem::discriminant(kind)),
        };
        seen.insert(format!("{kind} {}", fault.at))
    });
    for (what, until, across_time) in holds {
        if what != until && seen.insert(format!("hold {what}")) {
            scenario.holds.push(Hold { span: Span::default(), what, until, across_time });
        }
    }
    if !scenario.matrix.is_empty() {
        let axes: Vec<String> =
            scenario.matrix.iter().map(|axis| format!("{{{}}}", axis.name)).collect();
        scenario.faults.push(Fault {
            span: Span::default(),
            at: "backoff/lock(all)#1".to_owned(),
            at_span: Span::default(),
            code_span: Span::default(),
            kind: FaultKind::Error {
                code: "unknown".to_owned(),
                message: Some(axes.concat()),
                effect: Effect::None,
            },
        });
    }
    scenario
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_printed_reads_back(scenario in a_scenario()) {
        let text = print(&scenario);
        match read(&text) {
            Ok(back) => {
                prop_assert_eq!(&back, &scenario, "{}", text);
                prop_assert_eq!(print(&back), text);
            }
            Err(errors) => {
                let errors: Vec<String> = errors.iter().map(|e| e.render(&text, false)).collect();
                prop_assert!(false, "{}\n{}", errors.join("\n"), text);
            }
        }
    }

    #[test]
    fn any_bytes_are_a_scenario_or_errors(bytes in vec(any::<u8>(), 0..400)) {
        check_errors(&bytes);
    }

    #[test]
    fn any_text_is_a_scenario_or_errors(
        text in "(shakedown = 1\n)?(\\[{1,3}|\\]{1,2}|=|\"{1,3}|'|\\{|\\}|\\.|,|\n|#|call|world|do|at|1|0x|\\PC){0,80}"
    ) {
        check_errors(text.as_bytes());
    }

    #[test]
    fn a_damaged_file_is_a_scenario_or_errors(
        scenario in a_scenario(),
        cuts in vec((any::<Index>(), 0usize..12, vec(any::<u8>(), 0..4)), 1..4),
    ) {
        let mut bytes = print(&scenario).into_bytes();
        for (at, length, insert) in cuts {
            let at = at.index(bytes.len());
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, insert);
            if bytes.is_empty() {
                bytes.push(b'\n');
            }
        }
        check_errors(&bytes);
    }

    #[test]
    fn every_case_is_a_scenario_of_its_own(scenario in a_scenario()) {
        let expansion = expand(&scenario, &|axis| match axis.values {
            AxisValues::EverySiteOf(_) => vec!["backoff/lock#1".to_owned(), "backoff/lock#2".to_owned()],
            _ => vec!["kubelet-1/lock#1.reply".to_owned()],
        }, &|_| true).unwrap();
        prop_assert_eq!(expansion.len(), expansion.iter().count());
        for case in expansion.iter().take(4) {
            let mut scenario = case.scenario;
            // Filters name axes, which a case has none of.
            for expect in &mut scenario.expects {
                expect.filter.cases.clear();
            }
            for violation in &mut scenario.violations {
                violation.filter.cases.clear();
            }
            // Several faults may have become the same.
            scenario.faults.clear();
            scenario.holds.clear();
            scenario.crashes.clear();
            let text = print(&scenario);
            prop_assert!(read(&text).is_ok(), "{text}");
        }
        let base = print(&baseline(&scenario));
        prop_assert!(!base.contains("{moment}") && !base.contains("{site}"), "{base}");
    }
}

/// Reading ends, and its errors can be shown.
fn check_errors(bytes: &[u8]) {
    if let Err(errors) = parse_bytes("x.toml", bytes, vocabulary()) {
        assert!(!errors.is_empty());
        assert!(errors.len() <= limits::DIAGNOSTICS_MAX);
        let text = String::from_utf8_lossy(bytes);
        for error in errors {
            assert!(!error.render(&text, false).is_empty());
            assert!(!error.render(&text, true).is_empty());
            assert!(error.to_string().starts_with("x.toml:"));
        }
    }
}

// --- what people are told ------------------------------------------------------------------------

/// Snapshots of the errors of `tests/malformed/NAME.toml`, named after what is wrong.
macro_rules! refused {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let file = concat!("tests/malformed/", stringify!($name), ".toml");
            let text = include_str!(concat!("malformed/", stringify!($name), ".toml"));
            let errors = parse_with(file, text, vocabulary()).expect_err("it is malformed");
            let blocks: Vec<String> =
                errors.iter().map(|e| format!("{e}\n\n{}\n", e.render(text, false))).collect();
            insta::assert_snapshot!(stringify!($name), blocks.join("\n"));
        }
    )*};
}

refused! {
    not_toml
    version_missing
    version_unknown
    title_missing
    key_unknown
    key_unknown_at_the_top
    key_of_another_kind
    call_unknown
    container_unknown
    container_twice
    crash_at_no_time
    crash_without_restart_is_down
    crash_of_the_daemon_loses_nothing
    crash_pending_unknown
    crash_words_unknown
    call_twice
    name_is_none
    table_instead_of_list
    wrong_type
    type_that_was_meant
    key_twice
    invariant_by_name
    duration_is_none
    at_and_when
    cancel_at_and_cancel_when
    fault_kind_unknown
    fault_kind_of_an_axis
    fault_effect_of_a_sweep
    fault_code_unknown
    fault_errno_unknown
    fault_operation_unknown
    fault_actor_unknown
    fault_at_a_moment
    fault_without_number
    fault_twice
    late_effect_without_delay
    hang_with_late_effect
    kubelet_of_a_container_that_is_there
    clock_without_time_or_change
    clock_jumps_wrongly
    hold_of_unknown_moment
    path_symlink_without_target
    placeholder_unknown
    placeholder_with_wrong_value
    axis_unused
    case_of_unknown_value
    violation_words_unknown
    violation_without_cause
    expectation_words_unknown
    expectation_checks_nothing
    state_of_a_start
    sweep_of_unknown_actor
    occurrence_words_unknown
    update_and_events_wrong
    plugin_wishes_wrong
    output_too_long
    mode_in_decimal
    world_words_unknown
    nested_too_deeply
    key_without_its_partner
    call_after_itself
    calls_in_a_circle
    duration_that_was_meant
    header_in_another_place
    keys_missing
    left_is_nothing
    mode_that_was_meant
    name_that_was_meant
    number_that_was_meant
    path_that_was_meant
    title_says_nothing
    toml_with_a_leading_zero
    toml_with_half_a_header
    toml_with_yaml_keys
    toml_with_ends_of_lines
    table_in_another_place
    toml_without_quotes
    word_that_is_no_text
    two_of_which_one
    matrix_misused
}

#[test]
fn what_exceeds_a_bound_is_refused() {
    let too_large = format!("shakedown = 1\n# {}", "x".repeat(limits::FILE_BYTES_MAX));
    assert_eq!(read(&too_large).unwrap_err()[0].line, 1);

    let head = "shakedown = 1\ntitle = \"x\"\n";
    let calls = format!("{head}{}", "[[call]]\ndo = \"list\"\n".repeat(limits::CALLS_MAX + 1));
    let error = &read(&calls).unwrap_err()[0];
    assert_eq!(error.message, "`call` has 257 entries; at most 256 are allowed");

    let values: Vec<String> = (0..200).map(|i| format!("\"v{i}\"")).collect();
    let values = values.join(", ");
    let matrix = format!("{head}[matrix]\na = [{values}]\nb = [{values}]\n");
    let errors = read(&matrix).unwrap_err();
    let message = "the matrix has 40000 cases; at most 10000 are allowed";
    assert!(errors.iter().any(|error| error.message == message), "{errors:?}");

    let dots = format!("{head}a{} = 1\n", ".a".repeat(100_000));
    assert_eq!(read(&dots).unwrap_err()[0].message, "more than 16 levels inside one another");

    let unknown: String = (0..1000).map(|i| format!("k{i} = 1\n")).collect();
    let errors = read(&format!("{head}{unknown}")).unwrap_err();
    assert_eq!(errors.len(), limits::DIAGNOSTICS_MAX);
    assert_eq!(errors.last().unwrap().notes.last().unwrap(), "950 more errors are not shown");
}

#[test]
fn large_nonsense_is_refused_soon() {
    let head = "shakedown = 1\ntitle = \"x\"\n";
    let pieces = [
        "[",
        "]",
        "{",
        "\"",
        "'",
        "\"\"\"",
        "a.b",
        "= ",
        "\n",
        "#",
        "[[a]]\n",
        "[a]\n",
        "a = 1\n",
        "[[fault]]\n",
        "a={b={c=",
        "[[\n",
        ", ",
        "\u{fffd}",
        "\\u0000",
        "x = [\n",
        "🦀\n",
    ];
    for piece in pieces {
        let mut text = head.to_owned();
        text.push_str(&piece.repeat(200_000 / piece.len()));
        check_errors(text.as_bytes());
        text.push_str("= {");
        check_errors(text.as_bytes());
    }
    // An inner table for each of many levels of dots.
    let dotted = "a.a.a.a.a.a.a.a.a = { ".repeat(1000);
    check_errors(format!("{head}{dotted}").as_bytes());
    // Many texts, each of which is checked in each of many cases.
    let values: Vec<String> = (0..10_000).map(|i| format!("\"v{i}\"")).collect();
    let mut text = format!("{head}[matrix]\na = [{}]\n", values.join(", "));
    for i in 1..=500 {
        text.push_str(&format!(
            "[[hold]]\nwhat = \"backoff/lock({{a}})#{i}\"\nuntil = \"backoff/lock#{i}\"\n"
        ));
    }
    assert!(read(&text).is_ok());
}

#[test]
fn bytes_that_are_no_text_are_pointed_at() {
    let errors = parse_bytes("x.toml", b"shakedown = 1\ntitle = \"\xff\"\n", vocabulary());
    let error = &errors.unwrap_err()[0];
    assert_eq!(error.to_string(), "x.toml:2:10: the file is not UTF-8");
}

#[test]
fn defaults_are_filled_in_and_left_out_again() {
    let text = concat!(
        "shakedown = 1\n",
        "title = \"A start\"\n",
        "\n[[world.container]]\n",
        "name = \"web\"\n",
        "\n[[call]]\n",
        "do = \"start\"\n",
        "name = \"start-1\"\n",
        "container = \"web\"\n",
    );
    let scenario = read_ok(text);
    assert_eq!(scenario.name, "a-start");
    assert_eq!(scenario.world.bound, Duration::from_secs(150));
    assert_eq!(scenario.world.containers[0].sandbox, "pod");
    assert_eq!(scenario.world.containers[0].image, "app");
    assert_eq!(scenario.world.containers[0].log_path, "web.log");
    assert_eq!(print(&scenario), text);
    assert_eq!(read_ok(&text.replace("name = \"start-1\"\n", "")), scenario);
}

/// The examples of the description are valid; what an excerpt refers to is put before it.
#[test]
fn the_documented_examples_are_valid() {
    let page = include_str!("../docs/scenarios.md");
    let examples: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect();
    assert!(examples.len() > 15);
    for example in examples {
        let mut text = String::new();
        if !example.contains("shakedown = 1") {
            text.push_str("shakedown = 1\ntitle = \"An example\"\n");
        }
        if !example.contains("[[world.container]]") && !example.contains("title") {
            text.push_str("[[world.container]]\nname = \"web\"\n");
        }
        if !example.contains("[[call]]") && text.contains("web") {
            text.push_str("[[call]]\ndo = \"start\"\ncontainer = \"web\"\n");
        }
        text.push_str(example);
        let read = |text: &str| {
            // As the program reads it, which knows all operations.
            Source::parse("an-example.toml", "", text.as_bytes()).map(|source| source.scenario)
        };
        let scenario = read(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(read(&print(&scenario)).unwrap(), scenario);
    }
}

// --- cases ----------------------------------------------------------------------------------------

const SWEEP: &str = r#"shakedown = 1
title = "Remove against start"

[matrix]
code = ["not-found", "unknown", "unavailable"]
moment = { every-moment-of = "start-1" }

[[world.container]]
name = "web"

[[call]]
do = "start"
container = "web"

[[call]]
do = "remove"
container = "web"
when = "{moment}"

[[fault]]
at = "start-1/task.create(web)#1"
kind = "error"
code = "{code}"
message = "no luck: {code}"

[[hold]]
what = "start-1/task.create(web)#1.reply"
until = "remove-1.done"

[[expect]]
profiles = ["1.7.24"]
cases = [
    "moment=start-1/a#1.effect..start-1/b#1.reply, code=unknown",
    "code=not-found",
]

[[expect.answer]]
call = "start-1"
code = "{code}"
"#;

fn sweep(axis: &Axis) -> Vec<String> {
    let actor = "start-1".to_owned();
    assert_eq!(axis.values, AxisValues::EveryMomentOf { actor, from: None });
    let moments = ["a#1.effect", "a#1.reply", "b#1.effect", "b#1.reply", "c#1.effect"];
    moments.map(|moment| format!("start-1/{moment}")).to_vec()
}

#[test]
fn a_matrix_becomes_cases() {
    let scenario = parse("scenarios/remove-against-start.toml", SWEEP).unwrap();
    let expansion = expand(&scenario, &sweep, &|_| true).unwrap();
    assert_eq!(expansion.len(), 15);
    let case = expansion.case(5);
    assert_eq!(case.name, "remove-against-start[code=unknown,moment=start-1/a#1.effect]");
    assert_eq!(case.scenario.calls[1].when, When::Moment("start-1/a#1.effect".to_owned()));
    let FaultKind::Error { code, message, .. } = &case.scenario.faults[0].kind else {
        panic!("{:?}", case.scenario.faults);
    };
    assert_eq!((code.as_str(), message.as_deref()), ("unknown", Some("no luck: unknown")));
    assert_eq!(case.scenario.expects[0].answers[0].code, "unknown");

    let filter = &scenario.expects[0].filter;
    assert!(filter.misfits(expansion.axes()).is_empty());
    let applies: Vec<usize> = (0..expansion.len())
        .filter(|i| filter.matches("1.7.24", expansion.values(*i), expansion.axes()))
        .collect();
    assert_eq!(applies, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(!filter.matches("1.7.0-beta.3", expansion.values(0), expansion.axes()));

    let short = expand(&scenario, &|_| vec!["start-1/a#1.effect".to_owned()], &|_| true).unwrap();
    assert_eq!(
        filter.misfits(short.axes()),
        ["the axis `moment` has no value `start-1/b#1.reply`"]
    );
    let many = expand(&scenario, &|_| vec![String::new(); 10_000], &|_| true).unwrap_err();
    assert_eq!(many.cases, 30_000);
}

#[test]
fn the_baseline_of_a_sweep_lacks_what_the_sweep_places() {
    let base = baseline(&parse("remove-against-start.toml", SWEEP).unwrap());
    let names: Vec<&str> = base.calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(names, ["start-1"]);
    assert!(base.holds.is_empty(), "it waits for a call that is gone");
    let FaultKind::Error { code, .. } = &base.faults[0].kind else {
        panic!("{:?}", base.faults);
    };
    assert_eq!(code, "not-found");
}

const KINDS: &str = r#"shakedown = 1
title = "Every kind at every site"

[matrix]
site = { every-site-of = "start-1" }
kind = ["cancel", "hang", "delay"]
effect = ["none", "done", "late"]

[[world.container]]
name = "web"

[[call]]
do = "start"
name = "start-1"
container = "web"

[[fault]]
at = "{site}"
kind = "{kind}"
effect = "{effect}"
late = "6s"
by = "2s"
"#;

#[test]
fn combinations_that_are_no_fault_are_no_cases() {
    let scenario = parse("kinds.toml", KINDS).unwrap();
    assert_eq!(parse("kinds.toml", &print(&scenario)).unwrap(), scenario);
    let sites = |_: &Axis| ["a", "b"].map(|site| format!("start-1/{site}#1")).to_vec();
    let resolved = |fault: &Fault| !matches!(fault.kind, FaultKind::Swept(_));
    let fits = |fault: &Fault| resolved(fault) && !fault.at.contains("/b");
    let expansion = expand(&scenario, &sites, &fits).unwrap();
    let kinds: Vec<FaultKind> =
        expansion.iter().map(|case| case.scenario.faults[0].kind.clone()).collect();
    let late = Duration::from_secs(6);
    assert_eq!(
        kinds,
        [
            FaultKind::Cancel { effect: Effect::None },
            FaultKind::Cancel { effect: Effect::Done },
            FaultKind::Cancel { effect: Effect::Late(late) },
            FaultKind::Hang { effect: Effect::None },
            FaultKind::Hang { effect: Effect::Done },
            FaultKind::Delay { by: Duration::from_secs(2), of: DelayOf::Effect },
        ]
    );
    assert_eq!(expansion.axes()[0].values, ["start-1/a#1"]);
}

const KUBELET: &str = r#"shakedown = 1
title = "A kubelet"

[[world.container]]
name = "web"
state = "absent"

[[call]]
do = "kubelet"
name = "kubelet-1"
container = "web"
containers = 2
restart = "never"
timeout = 10
delete-when = "kubelet-1-start-2.done"

[[expect]]

[[expect.answer]]
call = "kubelet-1-create-2"
code = "ok"

[[expect.status]]
container = "web-2"
state = "gone"
"#;

#[test]
fn a_kubelet_brings_the_names_of_its_calls_and_containers() {
    let scenario = parse_with("kubelet.toml", KUBELET, vocabulary()).unwrap();
    assert_eq!(print(&scenario), KUBELET);
    let Action::Kubelet(kubelet) = &scenario.calls[0].action else {
        panic!("{:?}", scenario.calls);
    };
    let actors = kubelet.actors("kubelet-1");
    assert_eq!(actors.len(), 27);
    for name in ["kubelet-1-remove-2-again-4", "kubelet-1-relist-2", "kubelet-1-delete"] {
        assert!(actors.iter().any(|actor| actor == name), "{actors:?}");
    }
}
