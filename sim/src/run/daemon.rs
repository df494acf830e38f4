//! The daemon of a run: the boot that lives now, and how the next one comes up.

use std::cell::RefCell;
use std::rc::Rc;

use shakedown_cri::cri::{Peek, RuntimeService};
use shakedown_cri::ports::Error;

use super::compile::Plan;
use crate::turnstile::{self, Sim};
use crate::world::{FIRST_BOOT, SimPorts, reload};

/// What is known of the daemon's boots.
#[derive(Clone, Debug, Default)]
pub struct BootFacts {
    /// The latest boot serves.
    pub serves: bool,
    /// Why a boot refused to come up.
    pub refused: Option<Error>,
}

/// Makes the service of a boot.
type Make = Box<dyn Fn(SimPorts) -> Rc<dyn RuntimeService>>;

/// The daemon as clients and the judge reach it. Clones share.
#[derive(Clone)]
pub struct Daemon(Rc<Shared>);

struct Shared {
    sim: Sim,
    plan: Rc<Plan>,
    make: Make,
    service: RefCell<Option<Rc<dyn RuntimeService>>>,
    facts: RefCell<BootFacts>,
}

impl Daemon {
    /// A daemon in its first boot, which is still to be run.
    pub fn new(sim: &Sim, plan: Rc<Plan>, make: Make) -> Self {
        let daemon = Daemon(Rc::new(Shared {
            sim: sim.clone(),
            plan,
            make,
            service: RefCell::new(None),
            facts: RefCell::default(),
        }));
        daemon.make(FIRST_BOOT);
        daemon
    }

    fn make(&self, boot: u32) -> Rc<dyn RuntimeService> {
        let Shared { sim, plan, make, .. } = &*self.0;
        let ports = SimPorts::new(sim, plan.roots.clone(), boot);
        let service = make(ports);
        *self.0.service.borrow_mut() = Some(service.clone());
        service
    }

    /// The service of the boot that lives.
    pub fn service(&self) -> Option<Rc<dyn RuntimeService>> {
        self.0.service.borrow().clone()
    }

    /// What a client would be told of a container: nothing while the daemon is down.
    pub fn peek(&self, id: &str) -> Option<Peek> {
        self.0.service.borrow().as_ref().and_then(|service| service.peek(id))
    }

    /// The flags by which the service keeps others off a container.
    pub fn claims(&self, id: &str) -> Vec<&'static str> {
        let service = self.0.service.borrow();
        service.as_ref().map_or_else(Vec::new, |service| service.claims(id))
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
                drop(gone);
            }),
        }
    }

    /// containerd takes up the shims that it finds, then the CRI service recovers.
    async fn come_up(&self, boot: u32) {
        let service = self.make(boot);
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
