//! Whatever a runtime does, the harness comes to a verdict on it.

use std::future::pending;
use std::panic;
use std::rc::Rc;
use std::time::Duration;

use shakedown::Trial;
use shakedown::cri::{ContainerConfig, LocalFuture, Peek, RuntimeService, Sandbox};
use shakedown::ports::{Clock, Context, Error, Fs, Name, Ports, Runtime};
use shakedown::under_test::{Boot, UnderTest};
use shakedown::world::SimPorts;
use shakedown_naive::service::Service;

const PLAIN: &str = include_str!("../../../scenarios/drivers/a-start-alone.toml");

/// The same, and the daemon is killed while the container starts.
const KILLED: &str = r#"
shakedown = 1
title = "the daemon is killed while a container starts"

[[world.container]]
name = "web"

[[call]]
do = "start"
container = "web"

[[crash]]
kind = "daemon"
at = "1s"
down = "1s"
"#;

/// What goes wrong, beside what goes wrong in the naive runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hostile {
    PanicsAsItIsMade,
    PanicsAsItComesUp,
    PanicsAsItIsLookedAt,
    PanicsInAStart,
    PanicsInATask,
    PanicsInADestructor,
    RefusesToComeUp,
    NeverAnswersACreation,
    NeverAnswersAStart,
    FailsEveryCreation,
    GivesAnotherId,
    LooksAtTheDiskForEver,
    SleepsForEver,
    SpawnsForEver,
    LeavesTasksBehind,
    PeeksThroughAPort,
    WakesItselfForEver,
}

use Hostile::*;

impl UnderTest for Hostile {
    fn name(&self) -> &'static str {
        match self {
            PanicsAsItIsMade => "panics-as-it-is-made",
            PanicsAsItComesUp => "panics-as-it-comes-up",
            PanicsAsItIsLookedAt => "panics-as-it-is-looked-at",
            PanicsInAStart => "panics-in-a-start",
            PanicsInATask => "panics-in-a-task",
            PanicsInADestructor => "panics-in-a-destructor",
            RefusesToComeUp => "refuses-to-come-up",
            NeverAnswersACreation => "never-answers-a-creation",
            NeverAnswersAStart => "never-answers-a-start",
            FailsEveryCreation => "fails-every-creation",
            GivesAnotherId => "gives-another-id",
            LooksAtTheDiskForEver => "looks-at-the-disk-for-ever",
            SleepsForEver => "sleeps-for-ever",
            SpawnsForEver => "spawns-for-ever",
            LeavesTasksBehind => "leaves-tasks-behind",
            PeeksThroughAPort => "peeks-through-a-port",
            WakesItselfForEver => "wakes-itself-for-ever",
        }
    }

    fn what(&self) -> &'static str {
        "a runtime that does what none should"
    }

    fn boot(&self, Boot { ports, config, quirks, .. }: Boot) -> Rc<dyn RuntimeService> {
        assert!(*self != PanicsAsItIsMade, "no luck");
        let service = Rc::new(Service::new(ports.clone(), config, quirks));
        Rc::new(Behaviour { how: *self, service, ports })
    }
}

struct Behaviour {
    how: Hostile,
    service: Rc<dyn RuntimeService>,
    ports: SimPorts,
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("no luck");
    }
}

/// What a start does first.
async fn misbehave(how: Hostile, ports: SimPorts) {
    let runtime = ports.runtime().clone();
    match how {
        PanicsInAStart => panic!("no luck"),
        PanicsInATask => runtime.spawn(Name::new("unlucky", ""), async { panic!("no luck") }),
        PanicsInADestructor => {
            let _kept = PanicsWhenDropped;
            pending().await
        }
        NeverAnswersAStart => pending().await,
        LooksAtTheDiskForEver => loop {
            // There is none: only that it is looked for counts.
            ports.fs().read_file("/nothing").await.ok();
        },
        SleepsForEver => loop {
            runtime.sleep(Duration::from_millis(1)).await;
        },
        SpawnsForEver => loop {
            runtime.spawn(Name::new("one-more", ""), pending());
        },
        LeavesTasksBehind => runtime.spawn(Name::new("left-behind", ""), pending()),
        WakesItselfForEver => {
            std::future::poll_fn(|cx| {
                cx.waker().wake_by_ref();
                std::task::Poll::<()>::Pending
            })
            .await;
        }
        _ => {}
    }
}

impl RuntimeService for Behaviour {
    fn run(&self) -> LocalFuture<Result<(), Error>> {
        let (how, run) = (self.how, self.service.run());
        Box::pin(async move {
            match how {
                PanicsAsItComesUp => panic!("no luck"),
                RefusesToComeUp => Err(Error::unknown("not today")),
                _ => run.await,
            }
        })
    }

    fn adopt_sandbox(&self, sandbox: Sandbox) -> LocalFuture<Result<(), Error>> {
        self.service.adopt_sandbox(sandbox)
    }

    fn create_container(
        &self,
        ctx: Context,
        sandbox_id: String,
        config: ContainerConfig,
    ) -> LocalFuture<Result<String, Error>> {
        let (how, create) = (self.how, self.service.create_container(ctx, sandbox_id, config));
        Box::pin(async move {
            match how {
                NeverAnswersACreation => pending().await,
                FailsEveryCreation => Err(Error::unknown("not today")),
                GivesAnotherId => create.await.map(|_| "web".to_owned()),
                _ => create.await,
            }
        })
    }

    fn start_container(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        let (how, ports) = (self.how, self.ports.clone());
        let start = self.service.start_container(ctx, id);
        Box::pin(async move {
            misbehave(how, ports).await;
            start.await
        })
    }

    fn stop_container(
        &self,
        ctx: Context,
        id: String,
        timeout: i64,
    ) -> LocalFuture<Result<(), Error>> {
        self.service.stop_container(ctx, id, timeout)
    }

    fn remove_container(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        self.service.remove_container(ctx, id)
    }

    fn stop_pod_sandbox(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        self.service.stop_pod_sandbox(ctx, id)
    }

    fn remove_pod_sandbox(&self, ctx: Context, id: String) -> LocalFuture<Result<(), Error>> {
        self.service.remove_pod_sandbox(ctx, id)
    }

    fn peek(&self, id: &str) -> Option<Peek> {
        match self.how {
            PanicsAsItIsLookedAt => panic!("no luck"),
            PeeksThroughAPort => assert!(self.ports.clock().wall() > 0),
            _ => {}
        }
        self.service.peek(id)
    }
}

#[test]
fn every_misbehaviour_has_a_verdict() {
    // What is caught needs no trace.
    panic::set_hook(Box::new(|_| {}));
    let all = [
        PanicsAsItIsMade,
        PanicsAsItComesUp,
        PanicsAsItIsLookedAt,
        PanicsInAStart,
        PanicsInATask,
        PanicsInADestructor,
        RefusesToComeUp,
        NeverAnswersACreation,
        NeverAnswersAStart,
        FailsEveryCreation,
        GivesAnotherId,
        LooksAtTheDiskForEver,
        SleepsForEver,
        SpawnsForEver,
        LeavesTasksBehind,
        PeeksThroughAPort,
        WakesItselfForEver,
    ];
    let verdicts = all.map(|hostile| {
        let scenario = if hostile == PanicsInADestructor { KILLED } else { PLAIN };
        let reports = Trial::text("plain.toml", scenario).on(hostile).run();
        let reports = reports.unwrap_or_else(|error| panic!("{hostile:?}: {error}"));
        assert!(!reports.passed(), "{hostile:?}: {reports}");
        let reasons = reports.iter().flat_map(|report| &report.verdict.reasons);
        let reasons = reasons.map(|reason| format!("\n  {}: {}", reason.kind, reason.what));
        format!("{}{}", hostile.name(), reasons.collect::<String>())
    });
    let _ = panic::take_hook();
    insta::assert_snapshot!(verdicts.join("\n"));
}
