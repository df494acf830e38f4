//! What one plain start costs: a node is set up, a container is made and started, everything is
//! reaped, all invariants are asked, all moments go into the digest. See `docs/benchmarks.md`.
#![expect(clippy::disallowed_methods, reason = "the floor is madsim by itself")]

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use divan::{Bencher, counter::ItemsCount};
use madsim::Config;
use madsim::runtime::Runtime;
use shakedown::engine::Engine;
use shakedown::invariants::Ids;
use shakedown::run::{Options, Outcome, Plan, run};
use shakedown::turnstile::Stop;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SCENARIO: &str = r#"
shakedown = 1
title = "a plain start"

[[world.container]]
name = "web"

[[call]]
name = "start-1"
do = "start"
container = "web"
"#;

/// Tasks of a plain start.
const TASKS: usize = 28;

fn plan() -> Rc<Plan> {
    let scenario = shakedown::scenario::parse("plain.toml", SCENARIO).expect("it parses");
    let cases = shakedown::scenario::expand(&scenario, &|_| Vec::new(), &|_| true)
        .expect("it has one case");
    Rc::new(Plan::new(&cases.case(0)).expect("its names are right"))
}

fn checked(outcome: &Outcome) -> u64 {
    assert_eq!(outcome.stop, Stop::Idle);
    assert!(outcome.judgement.findings.iter().all(|f| f.violations.is_empty()));
    outcome.recording.moments
}

fn start(bencher: Bencher<'_, '_>, options: &Options) {
    let plan = plan();
    let moments = checked(&run(&plan, options));
    bencher.counter(ItemsCount::new(moments)).bench_local(|| {
        let outcome = run(&plan, options);
        (outcome.digest(), outcome)
    });
}

/// Counted items are moments.
#[divan::bench]
fn complete(bencher: Bencher<'_, '_>) {
    start(bencher, &Options::default());
}

#[divan::bench]
fn without_judge(bencher: Bencher<'_, '_>) {
    start(bencher, &Options { judge: Ids::NONE, ..Options::default() });
}

/// On the engine of search.
#[divan::bench]
fn complete_bare(bencher: Bencher<'_, '_>) {
    start(bencher, &Options { engine: Engine::Bare, ..Options::default() });
}

/// As many moments on madsim with nothing of ours: tasks in a ring, each poll wakes the next task,
/// one is ready at a time.
#[divan::bench]
fn floor(bencher: Bencher<'_, '_>) {
    let moments = checked(&run(&plan(), &Options::default()));
    bencher.counter(ItemsCount::new(moments)).bench_local(|| ring(moments));
}

fn ring(moments: u64) {
    let runtime = Runtime::with_seed_and_config(0, Config::default());
    runtime.block_on(async {
        let left = Rc::new(Cell::new(moments));
        let turn = Rc::new(Cell::new(0));
        let wakers: Rc<RefCell<Vec<Option<Waker>>>> = Rc::new(RefCell::new(vec![None; TASKS]));
        let tasks: Vec<_> = (0..TASKS)
            .map(|me| {
                let (left, turn, wakers) = (left.clone(), turn.clone(), wakers.clone());
                madsim::task::spawn_local(poll_fn(move |cx| {
                    wakers.borrow_mut()[me].get_or_insert_with(|| cx.waker().clone());
                    if left.get() == 0 {
                        return Poll::Ready(());
                    }
                    if turn.get() == me {
                        left.set(left.get() - 1);
                        turn.set((me + 1) % TASKS);
                        if left.get() == 0 {
                            // All have been polled once: each hears that it is over.
                            wakers.borrow().iter().flatten().for_each(Waker::wake_by_ref);
                            return Poll::Ready(());
                        }
                        // Before its first poll a task is ready anyway.
                        if let Some(next) = &wakers.borrow()[turn.get()] {
                            next.wake_by_ref();
                        }
                    }
                    Poll::Pending
                }))
            })
            .collect();
        for task in tasks {
            task.await.expect("a task of the ring ends");
        }
    });
}

fn main() {
    divan::main();
}
