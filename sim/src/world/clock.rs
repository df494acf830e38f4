//! Both clocks of the node.

use shakedown_cri::ports::{Clock, Instant};

use crate::turnstile::Sim;

#[derive(Clone)]
pub struct SimClock {
    pub(super) sim: Sim,
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        self.sim.now()
    }

    fn wall(&self) -> i64 {
        self.sim.with_world(|world| world.wall())
    }
}
