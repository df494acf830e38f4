//! Code under test that depends on more than its decisions is caught by comparing two processes, with
//! the event in which it shows first.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the fixtures leak on purpose, and tests are no part of a run"
)]

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::BufWriter;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use shakedown::determinism::{Comparison, compare, tell};
use shakedown::engine::Engine;
use shakedown::run::{Options, Plan, run};
use shakedown::under_test::{Boot, UnderTest};
use shakedown::world::SimPorts;
use shakedown_cri::Service;
use shakedown_cri::cri::{
    ContainerConfig, ContainerFilter, ContainerStatus, ContainerSummary, EventStream, LocalFuture,
    Peek, RuntimeService, Sandbox,
};
use shakedown_cri::ports::{Context, Error, Fs, NriUpdate, Ports, Runtime};
use shakedown_cri::store::LinuxResources;

const SCENARIO: &str = r#"
shakedown = 1
title = "a plain start"

[[world.container]]
name = "web"

[[call]]
do = "start"
container = "web"
"#;

/// Tells a process that it is one of the two that a test compares: where its events go, and that it is
/// the second one.
const EVENTS: &str = "SHAKEDOWN_TEST_EVENTS";
const SECOND: &str = "SHAKEDOWN_TEST_SECOND";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leak {
    None,
    HashMapOrder,
    RealTime,
    Address,
    Thread,
    LongerSecondRun,
    OtherData,
}

/// The service, whose starts leak first.
struct Leaky {
    service: Rc<dyn RuntimeService>,
    ports: SimPorts,
    leak: Leak,
}

impl UnderTest for Leak {
    fn name(&self) -> &'static str {
        "leaky"
    }

    fn what(&self) -> &'static str {
        "the service, whose starts leak first"
    }

    fn boot(&self, Boot { ports, config, quirks, .. }: Boot) -> Rc<dyn RuntimeService> {
        let service = Rc::new(Service::new(ports.clone(), config, quirks));
        Rc::new(Leaky { service, ports, leak: *self })
    }
}

async fn leak(ports: SimPorts, leak: Leak) -> Result<(), Error> {
    let read = async |name: &str| {
        // There is no such file: only that it was looked for counts.
        let _ = ports.fs().read_file(&format!("/{name}")).await;
    };
    match leak {
        Leak::None => {}
        Leak::HashMapOrder => {
            let names: HashMap<u32, u32> = (0..64).map(|n| (n, n)).collect();
            for name in names.keys() {
                read(&format!("file-{name}")).await;
            }
        }
        Leak::RealTime => {
            let now = SystemTime::UNIX_EPOCH.elapsed().expect("it is later than 1970");
            ports.runtime().sleep(Duration::from_nanos(u64::from(now.subsec_nanos()) + 1)).await;
        }
        Leak::Address => {
            let value = Box::new(7);
            return Err(Error::unknown(format!("the value is at {:p}", &raw const *value)));
        }
        Leak::Thread => {
            let ready = Arc::new(AtomicBool::new(false));
            let set = ready.clone();
            let thread = thread::spawn(move || {
                // Long enough that no two runs read as often by chance.
                thread::sleep(Duration::from_millis(5));
                set.store(true, Ordering::SeqCst);
            });
            while !ready.load(Ordering::SeqCst) {
                read("while-the-thread-sleeps").await;
            }
            thread.join().expect("the thread ends");
        }
        Leak::LongerSecondRun => {
            if std::env::var_os(SECOND).is_some() {
                read("one-more").await;
            }
        }
        Leak::OtherData => {
            let fs = ports.fs();
            let (file, path) = fs.create_temp("/", "data-").await?;
            fs.write(&file, &std::process::id().to_le_bytes()).await?;
            fs.close(file).await?;
            fs.remove_file(&path).await?;
        }
    }
    Ok(())
}

macro_rules! passed_on {
    ($($name:ident($($arg:ident: $of:ty),*) -> $answer:ty;)*) => {
        $(fn $name(&self, $($arg: $of),*) -> $answer {
            self.service.$name($($arg),*)
        })*
    };
}

impl RuntimeService for Leaky {
    fn start_container(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        let (service, ports, what) = (self.service.clone(), self.ports.clone(), self.leak);
        Box::pin(async move {
            leak(ports, what).await?;
            service.start_container(ctx, id).await
        })
    }

    passed_on! {
        run() -> LocalFuture<Result<(), Error>>;
        adopt_sandbox(sandbox: Sandbox) -> LocalFuture<Result<(), Error>>;
        forget_sandbox(id: String) -> LocalFuture<Result<(), Error>>;
        create_container(ctx: Context, sandbox_id: String, config: ContainerConfig)
            -> LocalFuture<Result<String, Error>>;
        stop_container(ctx: Context, id: String, timeout: i64) -> LocalFuture<Result<(), Error>>;
        remove_container(ctx: Context, id: String) -> LocalFuture<Result<(), Error>>;
        update_container_resources(ctx: Context, id: String, resources: LinuxResources)
            -> LocalFuture<Result<(), Error>>;
        container_status(ctx: Context, id: String, verbose: bool)
            -> LocalFuture<Result<ContainerStatus, Error>>;
        reopen_container_log(ctx: Context, id: String) -> LocalFuture<Result<(), Error>>;
        get_container_events(ctx: Context, stream: Rc<dyn EventStream>)
            -> LocalFuture<Result<(), Error>>;
        list_containers(ctx: Context, filter: ContainerFilter)
            -> LocalFuture<Result<Vec<ContainerSummary>, Error>>;
        stop_pod_sandbox(ctx: Context, id: String) -> LocalFuture<Result<(), Error>>;
        remove_pod_sandbox(ctx: Context, id: String) -> LocalFuture<Result<(), Error>>;
        connect_plugin(name: String) -> LocalFuture<Result<(), Error>>;
        update_from_plugin(updates: Vec<NriUpdate>) -> LocalFuture<Result<(), Error>>;
    }

    fn peek(&self, id: &str) -> Option<Peek> {
        self.service.peek(id)
    }
}

/// Runs the plain start, and tells its events to a file.
fn tell_events(leak: Leak, events: OsString) {
    let scenario = shakedown::scenario::parse("plain.toml", SCENARIO).expect("it parses");
    let cases = shakedown::scenario::expand(&scenario, &|_| Vec::new(), &|_| true)
        .expect("it has one case");
    let plan = Rc::new(Plan::new(&cases.case(0)).expect("its names are right"));
    let options = Options {
        // madsim keeps most leaks from showing, the bare loop none.
        engine: Engine::Bare,
        marks: true,
        runtime: Box::leak(Box::new(leak)),
        ..Options::default()
    };
    let outcome = run(&plan, &options);
    let mut out = BufWriter::new(fs::File::create(events).expect("it can be made"));
    let answers = format!("{:?}", outcome.answers);
    tell(&mut out, "plain", &outcome, answers.as_bytes()).expect("it can be written");
}

/// What two processes of the test that asks make of the leak; `None` in these themselves.
fn compared(leak: Leak) -> Option<Comparison> {
    if let Some(events) = std::env::var_os(EVENTS) {
        tell_events(leak, events);
        return None;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let me = thread::current();
    let test = me.name().expect("a test has its name");
    let told = |name: &str| {
        let events = directory.path().join(name);
        let mut command = Command::new(std::env::current_exe().expect("the test is a file"));
        command.args([test, "--exact"]).env(EVENTS, &events).stdout(Stdio::null());
        if name == "there" {
            command.env(SECOND, "yes");
        }
        assert!(command.status().expect("it runs").success(), "{leak:?}");
        read(&events)
    };
    let (here, there) = (told("here"), told("there"));
    Some(compare(&*here, &*there).expect("memory can be read"))
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("the events were told")
}

#[test]
fn no_leak_is_no_difference() {
    let Some(comparison) = compared(Leak::None) else { return };
    assert_eq!(comparison.difference, None);
    assert_eq!(comparison.runs, 1);
    assert!(comparison.events > 100, "{comparison:?}");
}

/// The first event that differs is the one in which the leak shows.
#[track_caller]
fn caught(leak: Leak, site: &str) {
    let Some(comparison) = compared(leak) else { return };
    let difference = comparison.difference.unwrap_or_else(|| panic!("{leak:?} is not caught"));
    let shown = [&difference.here, &difference.there];
    assert!(shown.into_iter().flatten().any(|event| event.contains(site)), "{difference}");
}

#[test]
fn the_order_of_a_hash_map() {
    caught(Leak::HashMapOrder, "start-1/fs.read(/file-");
}

#[test]
fn real_time() {
    caught(Leak::RealTime, "start-1/sleep#1");
}

#[test]
fn an_address_in_a_message() {
    caught(Leak::Address, "start-1.done");
}

#[test]
fn a_thread() {
    caught(Leak::Thread, "start-1/fs.read(/while-the-thread-sleeps)");
}

#[test]
fn a_second_run_that_does_more() {
    caught(Leak::LongerSecondRun, "start-1/fs.read(/one-more)#1.effect");
}

#[test]
fn other_data_on_the_same_schedule() {
    caught(Leak::OtherData, "start-1/fs.write(");
}
