//! A bare loop that polls what the turnstile admits: the engine of search, and of a build without madsim.
//!
//! It keeps nothing of the real world out of code under test: what it finds is replayed on madsim.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::turnstile::{Driver, Sim, TaskId};

#[derive(Default)]
struct Loop {
    resumed: RefCell<VecDeque<TaskId>>,
}

impl Driver for Loop {
    fn spawn(&self, _: TaskId) {}

    fn resume(&self, task: TaskId) {
        self.resumed.borrow_mut().push_back(task);
    }

    fn follow(&self, _: u64) {}
}

/// Runs the conductor of a run to its end, and everything that it starts.
pub fn run<F: Future>(sim: &Sim, conductor: F) -> F::Output {
    let driver = Rc::new(Loop::default());
    sim.set_driver(driver.clone());
    let mut conductor = pin!(conductor);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = conductor.as_mut().poll(&mut cx) {
            sim.close();
            return output;
        }
        loop {
            let next = driver.resumed.borrow_mut().pop_front();
            let Some(task) = next else { break };
            sim.turn(task);
        }
    }
}
