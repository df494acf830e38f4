//! Code under test that depends on more than its decisions, on purpose: a service whose starts leak first. Which
//! leak it is, the profile says: `leaky explore --profile real-time`.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "it leaks on purpose")]

use std::collections::HashMap;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use shakedown::cri::{
    ContainerConfig, ContainerFilter, ContainerStatus, ContainerSummary, EventStream, LocalFuture,
    Peek, RuntimeService, Sandbox,
};
use shakedown::ports::{Context, Error, Fs, NriUpdate, Ports, Runtime};
use shakedown::under_test::{Boot, UnderTest};
use shakedown::world::SimPorts;
use shakedown_cri::Service;
use shakedown_cri::store::LinuxResources;

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

impl Leak {
    const ALL: [Leak; 7] = [
        Leak::None,
        Leak::HashMapOrder,
        Leak::RealTime,
        Leak::Address,
        Leak::Thread,
        Leak::LongerSecondRun,
        Leak::OtherData,
    ];
}

/// The service, whose starts leak first.
struct Leaky {
    service: Rc<dyn RuntimeService>,
    ports: SimPorts,
    leak: Leak,
}

impl UnderTest for Leak {
    fn name(&self) -> &'static str {
        match self {
            Leak::None => "no-leak",
            Leak::HashMapOrder => "hash-map-order",
            Leak::RealTime => "real-time",
            Leak::Address => "address",
            Leak::Thread => "thread",
            Leak::LongerSecondRun => "longer-second-run",
            Leak::OtherData => "other-data",
        }
    }

    fn what(&self) -> &'static str {
        "the service, whose starts leak first"
    }

    fn boot(&self, Boot { ports, config, quirks, .. }: Boot) -> Rc<dyn RuntimeService> {
        let service = Rc::new(Service::new(ports.clone(), config, quirks));
        Rc::new(Leaky { service, ports, leak: *self })
    }
}

fn main() -> ExitCode {
    let named = |leak: &Leak| std::env::args().any(|argument| argument == leak.name());
    shakedown::cli::main_for(Leak::ALL.into_iter().find(named).unwrap_or(Leak::None))
}

async fn leak(ports: SimPorts, which: Leak) -> Result<(), Error> {
    let read = async |name: &str| {
        // There is no such file: only that it was looked for counts.
        let _ = ports.fs().read_file(&format!("/{name}")).await;
    };
    match which {
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
                thread::sleep(Duration::from_millis(1));
                set.store(true, Ordering::SeqCst);
            });
            while !ready.load(Ordering::SeqCst) {
                read("while-the-thread-sleeps").await;
            }
            thread.join().expect("the thread ends");
        }
        Leak::LongerSecondRun => {
            if std::env::var_os("TZ").is_some() {
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
        let (service, ports, which) = (self.service.clone(), self.ports.clone(), self.leak);
        Box::pin(async move {
            leak(ports, which).await?;
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
