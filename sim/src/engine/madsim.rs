//! The madsim engine: a run is a task of a madsim runtime, so that real time, randomness, threads and
//! real I/O are kept out and third-party code sees virtual time.
//!
//! It is one task and not many, as madsim would pick among them at random and move its clock with each
//! poll. The turnstile polls the tasks of the run, and madsim's clock follows the turnstile's, which
//! fires the timers of third-party code.

#![expect(clippy::disallowed_methods, reason = "the engine is where madsim's own calls belong")]

#[cfg(not(madsim))]
compile_error!(
    "the madsim engine needs `--cfg madsim`, or it would run on real time. `.cargo/config.toml` of \
     this repository sets it: build from inside the repository, and unset RUSTFLAGS in the \
     environment (even an empty one replaces the file's flags) or set RUSTFLAGS=\"--cfg madsim\". \
     For the library without this engine use `--no-default-features`."
);

use std::time::Duration;

use ::madsim::Config;
use ::madsim::runtime::Runtime;

use crate::turnstile::Sim;

pub fn run<R>(sim: &Sim, whole: impl FnOnce() -> R) -> R {
    assert!(
        tokio::runtime::Handle::try_current().is_err(),
        "a simulation runs on a thread without a tokio runtime"
    );
    Runtime::with_seed_and_config(0, Config::default()).block_on(async {
        sim.set_follower(|nanos| ::madsim::time::advance(Duration::from_nanos(nanos)));
        whole()
    })
}
