//! What a run costs beside other simulators: two tasks, each with 30 virtual sleeps of 1 to 50 ms.
//!
//! Ours have the turnstile, whose oracle is asked about every moment, and no digest. The others are run as
//! their users run them. Rounds of all take turns, so that a busy machine disturbs each alike. See
//! `docs/benchmarks.md`.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real time is measured, and the others have their own tasks and timers"
)]

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use shakedown::engine::Engine;
use shakedown::oracle::{Menus, Script, Scripted};
use shakedown::ports::Runtime;
use shakedown::turnstile::{Limits, Sim, SimRuntime, Stop, Symbol};
use shakedown::world::World;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TASKS: [&str; 2] = ["first", "second"];
const SLEEPS: usize = 30;
/// Each takes a round of all engines.
const ROUNDS: usize = 20;
/// How long one engine runs in a round, at least.
const ROUND: Duration = Duration::from_millis(50);

/// How long a task sleeps, for the n-th time: the same for all engines, in no order.
fn pause(task: usize, sleep: usize) -> Duration {
    let mixed = ((task * SLEEPS + sleep) as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Duration::from_millis(1 + (mixed >> 32) % 50)
}

/// Virtual time of a run: that of the task that sleeps longer.
fn whole() -> Duration {
    let of_task = |task| (0..SLEEPS).map(|sleep| pause(task, sleep)).sum();
    (0..TASKS.len()).map(of_task).max().unwrap_or_default()
}

/// What is measured: as many runs as asked for.
type Runs = Box<dyn Fn(u64)>;

fn ours(engine: Engine) -> Runs {
    let menus = Rc::new(Menus::new());
    Box::new(move |count| {
        for _ in 0..count {
            let script = Script::default();
            let oracle = Box::new(Scripted::new(&script));
            let world = World::new(Default::default());
            let sim = Sim::new(world, script, oracle, menus.clone(), Limits::default());
            sim.allow_faults(true);
            let slept = Rc::new(Cell::new(0));
            let stop = engine.run(&sim, || {
                for (task, name) in TASKS.into_iter().enumerate() {
                    let (runtime, slept) = (SimRuntime::new(sim.clone(), 1), slept.clone());
                    let sleeper = async move {
                        for sleep in 0..SLEEPS {
                            runtime.sleep(pause(task, sleep)).await;
                            slept.set(slept.get() + 1);
                        }
                    };
                    sim.start_task(Symbol::of(name), Box::pin(sleeper));
                }
                sim.run_until(None)
            });
            assert_eq!((stop, slept.get()), (Stop::Idle, TASKS.len() * SLEEPS));
            assert_eq!(u128::from(sim.now().0), whole().as_nanos());
        }
    })
}

/// madsim's test runner, as `#[madsim::test]` calls it: each run has a thread and a seed of its own.
fn of_madsim(count: u64) {
    let builder = madsim::runtime::Builder {
        seed: 1,
        count,
        jobs: 1,
        config: madsim::Config::default(),
        time_limit: None,
        check: false,
        allow_system_thread: false,
    };
    builder.run(|| async {
        let began = madsim::time::Instant::now();
        let tasks = [0, 1].map(|task| {
            madsim::task::spawn(async move {
                for sleep in 0..SLEEPS {
                    madsim::time::sleep(pause(task, sleep)).await;
                }
            })
        });
        for task in tasks {
            task.await.expect("a task ends");
        }
        assert!(began.elapsed() >= whole());
    });
}

/// turmoil with its defaults. Both tasks are on one host, as each host would be a runtime more.
#[cfg(feature = "turmoil")]
fn of_turmoil(count: u64) {
    for _ in 0..count {
        let mut sim = turmoil::Builder::new().build();
        sim.client("sleepers", async {
            let tasks = [0, 1].map(|task| {
                tokio::spawn(async move {
                    for sleep in 0..SLEEPS {
                        tokio::time::sleep(pause(task, sleep)).await;
                    }
                })
            });
            for task in tasks {
                task.await?;
            }
            Ok(())
        });
        sim.run().expect("it ends");
        assert!(sim.elapsed() >= whole());
    }
}

struct Engines {
    name: &'static str,
    runs: Runs,
    /// How many times as fast the bare engine has to be.
    required: Option<f64>,
    /// How many runs are a round.
    count: u64,
    /// Seconds a run, of each round.
    took: Vec<f64>,
}

impl Engines {
    fn new(name: &'static str, required: Option<f64>, runs: Runs) -> Self {
        let mut count = 1;
        // Runs are warm when this ends.
        while timed(&runs, count) < ROUND {
            count *= 2;
        }
        Engines { name, runs, required, count, took: Vec::new() }
    }

    fn round(&mut self) {
        self.took.push(timed(&self.runs, self.count).as_secs_f64() / self.count as f64);
    }
}

fn timed(runs: &Runs, count: u64) -> Duration {
    let began = Instant::now();
    runs(count);
    began.elapsed()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> ExitCode {
    let mut engines = vec![
        Engines::new("shakedown, bare", None, ours(Engine::Bare)),
        Engines::new("shakedown, on madsim", None, ours(Engine::Madsim)),
        Engines::new("madsim's test runner", Some(2.0), Box::new(of_madsim)),
        #[cfg(feature = "turmoil")]
        Engines::new("turmoil", Some(20.0), Box::new(of_turmoil)),
    ];
    for _ in 0..ROUNDS {
        engines.iter_mut().for_each(Engines::round);
    }
    println!("{} tasks x {SLEEPS} virtual sleeps of 1 to 50 ms, one core", TASKS.len());
    println!("{:22} {:>9} {:>14} {:>12}", "", "µs a run", "runs a second", "bare is");
    let bare = engines[0].took.clone();
    let mut enough = true;
    for Engines { name, took, required, .. } in &engines {
        let took_median = median(took.iter().copied());
        let ratio = median(took.iter().zip(&bare).map(|(other, bare)| other / bare));
        let verdict = match required {
            Some(required) if ratio < *required => {
                enough = false;
                format!("x, fewer than {required}")
            }
            Some(required) => format!("x, at least {required}"),
            None => "x".to_owned(),
        };
        let (micros, a_second) = (took_median * 1e6, 1.0 / took_median);
        println!("{name:22} {micros:>9.1} {a_second:>14.0} {ratio:>12.1}{verdict}");
    }
    if cfg!(not(feature = "turmoil")) {
        println!("turmoil takes part with `--features turmoil`");
    }
    if enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
