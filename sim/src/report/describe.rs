//! What a scenario says, in words.

use std::time::Duration;

use crate::scenario::{
    Action, Call, Clock, ClockChange, Container, Crash, CrashKind, DelayOf, Disk, Effect, Fault,
    FaultKind, Happening, Hold, HostNamespace, InitialState, Limits, NriConfig, Occurrence,
    PathKind, PidMode, Plugin, PluginEvent, Process, RepliedEvent, Restart, Sandbox, SandboxState,
    Stream, Target, Victim, When, Wish, World, duration,
};

/// A thing of the world: `(container, web, created, in pod)`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Thing {
    pub kind: &'static str,
    /// May be empty.
    pub name: String,
    pub what: String,
}

fn thing(kind: &'static str, name: impl Into<String>, what: impl Into<String>) -> Thing {
    Thing { kind, name: name.into(), what: what.into() }
}

/// The world, as far as it is not the standard one.
pub fn world(world: &World) -> Vec<Thing> {
    let standard = World::default();
    let mut things = Vec::new();
    things.extend(world.sandboxes.iter().map(|s| thing("sandbox", &s.name, sandbox(s))));
    things.extend(world.containers.iter().map(|c| thing("container", &c.name, container(c))));
    match world.nri {
        Some(NriConfig::Absent) => things.push(thing("nri", "", "absent")),
        Some(NriConfig::Disabled) => things.push(thing("nri", "", "disabled")),
        Some(NriConfig::Enabled) if world.plugins.is_empty() => {
            things.push(thing("nri", "", "enabled, without plugins"));
        }
        Some(NriConfig::Enabled) | None => {}
    }
    things.extend(world.plugins.iter().map(|p| thing("plugin", &p.name, plugin(p))));
    if world.images != standard.images {
        for image in &world.images {
            let what = match &*image.stop_signal {
                "" => "no stop signal of its own".to_owned(),
                signal => format!("stop signal {signal}"),
            };
            things.push(thing("image", &image.name, what));
        }
    }
    things.extend(world.runtimes.iter().map(|name| thing("runtime", name, "beside runc")));
    if !world.runtime_path.is_empty() {
        things.push(thing("runtime", "runc", format!("binary {}", world.runtime_path)));
    }
    if world.disk != standard.disk {
        things.push(thing("disk", "", disk(&world.disk)));
    }
    for path in &world.paths {
        let what = match path.kind {
            PathKind::File => format!("a file, mode {:o}", path.mode),
            PathKind::Directory => format!("a directory, mode {:o}", path.mode),
            PathKind::Fifo => format!("a named pipe, mode {:o}", path.mode),
            PathKind::Symlink => format!("a symbolic link to {}", path.target),
            PathKind::ReadOnly => "read-only until the node is reaped".to_owned(),
            PathKind::Removed => "removed before the first call".to_owned(),
        };
        things.push(thing("path", &path.path, what));
    }
    if world.max_log_line != standard.max_log_line {
        things.push(thing("log", "", format!("lines of at most {} bytes", world.max_log_line)));
    }
    if world.bound != standard.bound {
        let bound = duration::print(world.bound);
        things.push(thing("bound", "", format!("every call answers within {bound}")));
    }
    things
}

fn disk(disk: &Disk) -> String {
    let mut parts = Vec::new();
    if let Some(size) = disk.size {
        parts.push(format!("{size} bytes"));
    }
    if let Some(files) = disk.max_open_files {
        parts.push(format!("at most {files} open files"));
    }
    parts.join(", ")
}

fn sandbox(sandbox: &Sandbox) -> String {
    let mut parts = vec![match sandbox.state {
        SandboxState::Ready => "ready".to_owned(),
        SandboxState::NotReady => "not ready".to_owned(),
        SandboxState::Gone => "gone from the service's store".to_owned(),
    }];
    if !sandbox.runtime_handler.is_empty() {
        parts.push(format!("runtime handler {}", sandbox.runtime_handler));
    }
    if sandbox.untrusted {
        parts.push("untrusted workload".to_owned());
    }
    for namespace in &sandbox.host_namespaces {
        let name = match namespace {
            HostNamespace::Network => "network",
            HostNamespace::Pid => "pid",
            HostNamespace::Ipc => "ipc",
        };
        parts.push(format!("the node's {name} namespace"));
    }
    if sandbox.log_directory.is_empty() {
        parts.push("no logging".to_owned());
    } else if sandbox.log_directory != format!("/var/log/pods/{}", sandbox.name) {
        parts.push(format!("logs in {}", sandbox.log_directory));
    }
    parts.join(", ")
}

fn container(container: &Container) -> String {
    let state = match container.state {
        InitialState::Absent => "not made yet",
        InitialState::Created => "created",
        InitialState::Running => "running",
        InitialState::Exited => "exited",
    };
    let mut parts = vec![format!("{state}, in {}", container.sandbox)];
    if container.image != "app" {
        parts.push(format!("image {}", container.image));
    }
    if !container.id.is_empty() {
        parts.push(format!("id {}…", container.id));
    }
    if container.log_path.is_empty() {
        parts.push("no logging".to_owned());
    } else if container.log_path != format!("{}.log", container.name) {
        parts.push(format!("log {}", container.log_path));
    }
    if container.tty {
        parts.push("tty".to_owned());
    }
    if container.stdin {
        parts.push("stdin".to_owned());
    }
    match &container.pid_mode {
        PidMode::Container => {}
        PidMode::Pod => parts.push("the pod's pid namespace".to_owned()),
        PidMode::Node => parts.push("the node's pid namespace".to_owned()),
        PidMode::Target(target) => parts.push(format!("the pid namespace of {target}")),
    }
    format!("{}; {}", parts.join(", "), process(&container.process))
}

fn process(process: &Process) -> String {
    if process.executable_missing {
        return "its executable does not exist".to_owned();
    }
    let mut text = match process.runs {
        None => "its process runs until it is killed".to_owned(),
        Some(time) if time.is_zero() => format!("its process exits {} at once", process.exit_code),
        Some(time) => {
            format!("its process exits {} after {}", process.exit_code, duration::print(time))
        }
    };
    if process.ignores_sigterm {
        text.push_str(", ignores SIGTERM");
    }
    for output in &process.output {
        let stream = match output.stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let bytes = output.text.len() as u64 * u64::from(output.repeat);
        let at = duration::print(output.at);
        text.push_str(&format!(", writes {bytes} bytes to {stream} at {at}"));
    }
    text
}

fn plugin(plugin: &Plugin) -> String {
    let events: Vec<&str> = plugin
        .events
        .iter()
        .map(|event| match event {
            PluginEvent::Create => "create",
            PluginEvent::PostCreate => "post-create",
            PluginEvent::Start => "start",
            PluginEvent::PostStart => "post-start",
            PluginEvent::Stop => "stop",
            PluginEvent::Remove => "remove",
        })
        .collect();
    let hears = match events.len() {
        6 => "hears everything".to_owned(),
        0 => "hears nothing".to_owned(),
        _ => format!("hears {}", events.join(", ")),
    };
    let later = if plugin.connected { "" } else { ", not connected yet" };
    let wishes = plugin.replies.iter().map(|reply| {
        let to = match reply.to {
            RepliedEvent::Create => "create",
            RepliedEvent::Stop => "stop",
            RepliedEvent::Synchronize => "synchronize",
        };
        match &reply.wish {
            Wish::Update { container, limits } => {
                format!(", replies to {to}: limit {container} to {}", limits_text(*limits))
            }
            Wish::Evict { container } => format!(", replies to {to}: evict {container}"),
        }
    });
    format!("index {}, {hears}{later}{}", plugin.index, wishes.collect::<String>())
}

fn limits_text(limits: Limits) -> String {
    let shares = (limits.cpu_shares != 0).then(|| format!("{} cpu shares", limits.cpu_shares));
    let memory = (limits.memory != 0).then(|| format!("{} bytes of memory", limits.memory));
    let limits: Vec<String> = shares.into_iter().chain(memory).collect();
    limits.join(" and ")
}

fn target(target: &Target) -> String {
    match target {
        Target::Container(name) => name.clone(),
        Target::Literal(id) => format!("the id {id:?}"),
    }
}

/// `stop web with 10 s of grace`
pub fn action(action: &Action) -> String {
    match action {
        Action::Create { container, attempt: 0 } => format!("create {container}"),
        Action::Create { container, attempt } => format!("create {container}, attempt {attempt}"),
        Action::Start { target: on } => format!("start {}", target(on)),
        Action::Stop { target: on, timeout: 0 } => format!("stop {}", target(on)),
        Action::Stop { target: on, timeout } => {
            format!("stop {} with {timeout} s of grace", target(on))
        }
        Action::Remove { target: on } => format!("remove {}", target(on)),
        Action::Status { target: on, verbose } => {
            format!("{}status of {}", if *verbose { "verbose " } else { "" }, target(on))
        }
        Action::Update { target: on, limits } => {
            format!("limit {} to {}", target(on), limits_text(*limits))
        }
        Action::ReopenLog { target: on } => format!("open the log of {} anew", target(on)),
        Action::List => "list containers".to_owned(),
        Action::StopPod { sandbox } => format!("stop the pod {sandbox}"),
        Action::RemovePod { sandbox } => format!("remove the pod {sandbox}"),
        Action::ConnectPlugin { plugin } => format!("the plugin {plugin} connects"),
        Action::PluginUpdate { plugin, container, limits } => {
            format!("the plugin {plugin} limits {container} to {}", limits_text(*limits))
        }
        Action::Events => "subscribe to events".to_owned(),
        Action::Kubelet(of) => {
            let restart = match of.restart {
                Restart::Always => "always",
                Restart::OnFailure => "on failure",
                Restart::Never => "never",
            };
            let delete = of.delete.as_ref().map_or_else(String::new, |when_deleted| {
                format!(", until the pod is deleted {}", when(when_deleted))
            });
            format!(
                "a kubelet makes and starts up to {} containers like {}, restarts {restart}{delete}",
                of.containers, of.container
            )
        }
    }
}

/// What a call does, when, and how patient its client is.
pub fn call(call: &Call) -> String {
    let mut text = action(&call.action);
    if call.when != When::At(Duration::ZERO) {
        text.push_str(&format!(", {}", when(&call.when)));
    }
    if let Some(deadline) = call.deadline {
        text.push_str(&format!(", deadline {}", duration::print(deadline)));
    }
    match &call.cancel {
        None => {}
        Some(When::At(time)) => {
            text.push_str(&format!(", cancelled after {}", duration::print(*time)));
        }
        Some(When::Moment(moment)) => text.push_str(&format!(", cancelled when {moment}")),
    }
    text
}

/// `the process of web exits 3`
pub fn occurrence(occurrence: &Occurrence) -> String {
    match &occurrence.what {
        Happening::Exit { of, code } => {
            let whose = match of {
                Victim::Container(name) => format!("the process of {name}"),
                Victim::Sandbox(name) => format!("the pause process of {name}"),
            };
            format!("{whose} exits {code}")
        }
        Happening::Oom { container } => format!("the process of {container} runs out of memory"),
        Happening::RotateLog { container } => format!("the log of {container} is rotated"),
        Happening::ShimExit { sandbox } => format!("the shim of {sandbox} is killed"),
    }
}

fn effect(effect: Effect) -> String {
    match effect {
        Effect::None => "without effect".to_owned(),
        Effect::Done => "after the effect".to_owned(),
        Effect::Late(by) => format!("with the effect {} later", duration::print(by)),
    }
}

/// `error not-found, without effect`
pub fn fault(fault: &Fault) -> String {
    match &fault.kind {
        FaultKind::Error { code, message, effect: e } => {
            let message = message.as_ref().map_or_else(String::new, |m| format!(" {m:?}"));
            format!("error {code}{message}, {}", effect(*e))
        }
        FaultKind::Delay { by, of } => delay(*by, *of),
        FaultKind::Hang { effect: e } => format!("hang, {}", effect(*e)),
        FaultKind::HangForever { effect: e } => format!("hang!, {}", effect(*e)),
        FaultKind::Cancel { effect: e } => format!("cancel, {}", effect(*e)),
        FaultKind::Deadline { effect: e } => format!("deadline, {}", effect(*e)),
        FaultKind::ShortWrite => "short-write".to_owned(),
        FaultKind::Lost => "lost".to_owned(),
        FaultKind::ConnectionClosed { effect: e } => format!("connection-closed, {}", effect(*e)),
        FaultKind::Swept(keys) => format!("{}, effect {}", keys.kind, keys.effect),
    }
}

fn delay(by: Duration, of: DelayOf) -> String {
    let of = match of {
        DelayOf::Effect => "effect",
        DelayOf::Reply => "reply",
    };
    format!("delay of the {of} by {}", duration::print(by))
}

/// `jump by -1h`
pub fn clock(clock: &Clock) -> String {
    match &clock.change {
        ClockChange::Jump(by) => format!("jump by {by}"),
        ClockChange::Drift(ppm) => format!("drift of {ppm} parts per million"),
    }
}

/// `at 5s`, `when start-1.done`
pub fn when(when: &When) -> String {
    match when {
        When::At(at) => format!("at {}", duration::print(*at)),
        When::Moment(moment) => format!("when {moment}"),
    }
}

/// `the daemon is killed, and started again after 1s`
pub fn crash(crash: &Crash) -> String {
    let what = match crash.kind {
        CrashKind::Daemon => "the daemon is killed",
        CrashKind::Power => "the node loses power",
    };
    let mut what = what.to_owned();
    for (names, word) in [(&crash.lost, "lost"), (&crash.torn, "torn")] {
        if !names.is_empty() {
            what.push_str(&format!(", {word}: {}", names.join(", ")));
        }
    }
    match crash.down {
        Some(down) => format!("{what}, and started again after {}", duration::print(down)),
        None => format!("{what}, and not started again before the node is reaped"),
    }
}

/// `until start-1.done, across time`
pub fn hold(hold: &Hold) -> String {
    format!("until {}{}", hold.until, if hold.across_time { ", across time" } else { "" })
}
