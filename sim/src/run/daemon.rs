//! The daemon of a run: the boot that lives now, and how the next one comes up.

use std::cell::RefCell;
use std::rc::Rc;

use shakedown_cri::cri::{Peek, RuntimeService};
use shakedown_cri::ports::Error;
use shakedown_cri::quirks::Quirks;

use super::compile::Plan;
use crate::turnstile::{self, Sim};
use crate::under_test::{Boot, UnderTest};
use crate::world::{FIRST_BOOT, SimPorts, reload};

/// What is known of the daemon's boots.
#[derive(Clone, Debug, Default)]
pub struct BootFacts {
    /// The latest boot serves.
    pub serves: bool,
    /// Why a boot refused to come up.
    pub refused: Option<Error>,
}

/// The daemon as clients and the judge reach it. Clones share.
#[derive(Clone)]
pub struct Daemon(Rc<Shared>);

struct Shared {
    sim: Sim,
    plan: Rc<Plan>,
    runtime: &'static dyn UnderTest,
    quirks: Quirks,
    service: RefCell<Option<Rc<dyn RuntimeService>>>,
    facts: RefCell<BootFacts>,
}

impl Daemon {
    /// A daemon in its first boot, which is still to be run.
    pub fn new(sim: &Sim, plan: Rc<Plan>, runtime: &'static dyn UnderTest, quirks: Quirks) -> Self {
        let daemon = Daemon(Rc::new(Shared {
            sim: sim.clone(),
            plan,
            runtime,
            quirks,
            service: RefCell::new(None),
            facts: RefCell::default(),
        }));
        daemon.make(FIRST_BOOT);
        daemon
    }

    /// Makes the service of a boot; `None` when it panicked.
    fn make(&self, boot: u32) -> Option<Rc<dyn RuntimeService>> {
        let Shared { sim, plan, runtime, quirks, .. } = &*self.0;
        let ports = SimPorts::new(sim, plan.roots.clone(), boot);
        let boot = Boot { ports, config: plan.config.clone(), quirks: *quirks };
        let service = sim.catch("daemon", || runtime.boot(boot));
        self.0.service.borrow_mut().clone_from(&service);
        sim.note_service_changed();
        service
    }

    pub fn runtime(&self) -> &'static dyn UnderTest {
        self.0.runtime
    }

    /// The service of the boot that lives.
    pub fn service(&self) -> Option<Rc<dyn RuntimeService>> {
        self.0.service.borrow().clone()
    }

    /// What a client would be told of a container: nothing while the daemon is down.
    pub fn peek(&self, id: &str) -> Option<Peek> {
        let service = self.0.service.borrow();
        let service = service.as_ref()?;
        let mut seen = None;
        self.0.sim.catch("peek", || seen = service.peek(id));
        seen
    }

    /// The flags by which the service keeps others off a container.
    pub fn claims(&self, id: &str) -> Vec<&'static str> {
        let service = self.0.service.borrow();
        let claims = service.as_ref().and_then(|s| self.0.sim.catch("claims", || s.claims(id)));
        claims.unwrap_or_default()
    }

    pub fn facts(&self) -> BootFacts {
        self.0.facts.borrow().clone()
    }

    /// The first boot has come up.
    pub fn serves(&self) {
        self.0.facts.borrow_mut().serves = true;
    }

    /// How the turnstile ends a boot and begins the next.
    pub fn hooks(&self) -> turnstile::Daemon {
        let (next, died) = (self.clone(), self.clone());
        turnstile::Daemon {
            boot: Rc::new(move |boot| {
                let daemon = next.clone();
                Box::pin(async move { daemon.come_up(boot).await })
            }),
            died: Rc::new(move || {
                died.0.facts.borrow_mut().serves = false;
                // Its destructors may look at the daemon again.
                let gone = died.0.service.borrow_mut().take();
                died.0.sim.note_service_changed();
                died.0.sim.catch("daemon", || drop(gone));
            }),
        }
    }

    /// containerd takes up the shims that it finds, then the CRI service recovers.
    async fn come_up(&self, boot: u32) {
        let Some(service) = self.make(boot) else { return };
        reload(&self.0.sim).await;
        match service.run().await {
            Ok(()) => self.0.facts.borrow_mut().serves = true,
            Err(error) => {
                self.0.facts.borrow_mut().refused = Some(error);
                self.0.sim.exit_daemon();
            }
        }
    }
}
