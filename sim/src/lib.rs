//! The harness: a simulated node, the turnstile that orders it, and the judge.
//!
//! A test runs a scenario with one call, [`run()`], or says more with [`Trial`]:
//!
//! ```
//! let report = shakedown::run("scenarios/start/the-reply-of-task-create-is-lost.toml")?;
//! assert!(report.passed(), "{report}");
//! # Ok::<(), shakedown::Error>(())
//! ```
//!
//! A runtime of one's own implements [`under_test::UnderTest`] and [`cri::RuntimeService`] on [`ports`]. With
//! [`cli::main_for`] it has every command of the program, and with [`Trial::on`] its tests run scenarios on it.
//! `docs/runtimes.md` goes through that step by step.
//!
//! The rest is how the program is made, for those who change it. It moves with the program:
//!
//! * [`scenario`]: the file format. [`suite`]: from paths to verdicts. [`report`]: what people and programs are told.
//! * [`run`](mod@run): one run. [`world`]: the node. [`turnstile`]: its order and time. [`oracle`]: its decisions.
//!   [`engine`]: what is around it. [`invariants`]: the judge.
//! * [`explore`]: search. [`determinism`]: two processes compared. [`cli`]: the commands.

pub mod cli;
pub mod determinism;
pub mod engine;
pub mod explore;
pub mod invariants;
pub mod oracle;
pub mod report;
pub mod run;
pub mod scenario;
pub mod suite;
mod trial;
pub mod turnstile;
pub mod under_test;
pub mod world;

pub use shakedown_cri::{config, cri, ports};
pub use trial::{Error, Reports, Trial, run};

/// The code of the README is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
