//! The madsim engine: each task of a run is a task of a madsim runtime, so that real time, threads and
//! real I/O are kept out and third-party code sees virtual time.
//!
//! madsim picks among ready tasks at random and moves its clock by itself with each poll. Neither
//! matters here: the turnstile makes one task ready at a time, and its own clock is the one that
//! counts.

#![expect(clippy::disallowed_methods, reason = "the engine is where madsim's own calls belong")]

#[cfg(not(madsim))]
compile_error!(
    "the madsim engine needs `--cfg madsim`, or it would run on real time. `.cargo/config.toml` of \
     this repository sets it: build from inside the repository, and unset RUSTFLAGS in the \
     environment (even an empty one replaces the file's flags) or set RUSTFLAGS=\"--cfg madsim\". \
     For the library without this engine use `--no-default-features`."
);

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::madsim::Config;
use ::madsim::runtime::Runtime;

use crate::turnstile::{Driver, Sim, TaskId};

struct MadsimDriver {
    sim: Sim,
    /// The task that may be polled.
    admitted: Cell<Option<TaskId>>,
    /// By task number; `None` before its first poll.
    wakers: RefCell<Vec<Option<Waker>>>,
    me: RefCell<std::rc::Weak<MadsimDriver>>,
}

/// A task of the turnstile as madsim sees it.
struct Gate {
    driver: Rc<MadsimDriver>,
    task: TaskId,
}

impl Future for Gate {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let index = self.task.index();
        if let Some(waker @ None) = self.driver.wakers.borrow_mut().get_mut(index) {
            *waker = Some(cx.waker().clone());
        }
        if self.driver.admitted.get() == Some(self.task) {
            self.driver.admitted.set(None);
            self.driver.sim.turn(self.task);
        }
        if self.driver.sim.is_finished(self.task) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Driver for MadsimDriver {
    fn spawn(&self, task: TaskId) {
        let mut wakers = self.wakers.borrow_mut();
        if wakers.len() <= task.index() {
            wakers.resize(task.index() + 1, None);
        }
        let driver = self.me.borrow().upgrade().expect("the driver outlives its run");
        // Detached: the gate ends by itself when its task has ended.
        drop(::madsim::task::spawn_local(Gate { driver, task }));
    }

    fn resume(&self, task: TaskId) {
        self.admitted.set(Some(task));
        // Before its first poll a task is ready anyway.
        if let Some(waker) = &self.wakers.borrow()[task.index()] {
            waker.wake_by_ref();
        }
    }

    fn follow(&self, nanos: u64) {
        ::madsim::time::advance(Duration::from_nanos(nanos));
    }
}

/// Runs the conductor of a run to its end, and everything that it starts.
///
/// # Panics
/// When called on a thread that has a tokio runtime: there madsim would silently use real time.
pub fn run<F: Future>(sim: &Sim, conductor: F) -> F::Output {
    assert!(
        tokio::runtime::Handle::try_current().is_err(),
        "a simulation runs on a thread without a tokio runtime"
    );
    let runtime = Runtime::with_seed_and_config(0, Config::default());
    let output = runtime.block_on(async {
        let driver = Rc::new(MadsimDriver {
            sim: sim.clone(),
            admitted: Cell::new(None),
            wakers: RefCell::new(Vec::new()),
            me: RefCell::default(),
        });
        *driver.me.borrow_mut() = Rc::downgrade(&driver);
        sim.set_driver(driver.clone());
        let output = conductor.await;
        sim.close();
        // The tasks are gone: each gate, polled once more, ends, so that madsim keeps nothing.
        for waker in driver.wakers.take().into_iter().flatten() {
            waker.wake();
        }
        output
    });
    drop(runtime);
    output
}
