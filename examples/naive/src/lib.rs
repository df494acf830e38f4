//! A runtime as somebody writes it in an afternoon, tried by the scenarios that were written for containerd.
//!
//! [`Naive`] is all that the harness is told. [`service`] is the runtime: it works as long as nothing goes wrong, and
//! each shortcut in it is one that has been taken before. What that comes to:
//!
//! ```console
//! $ cargo run --release -p shakedown-naive -- survey
//! ```
//!
//! The programs `empty` and `small` are those of `docs/runtimes.md`, which goes from an empty crate to a report;
//! `leaky` depends on more than its decisions, so that a test sees it caught.

pub mod service;

use std::rc::Rc;

use shakedown::under_test::{Boot, UnderTest};
use shakedown_cri::cri::RuntimeService;

use service::Service;

/// The naive runtime.
pub struct Naive;

impl UnderTest for Naive {
    fn name(&self) -> &'static str {
        "naive"
    }

    fn what(&self) -> &'static str {
        "a StartContainer as it is written in an afternoon"
    }

    fn program(&self) -> &'static str {
        "cargo run --release -p shakedown-naive --"
    }

    fn writes_containerd_status(&self) -> bool {
        true
    }

    fn boot(&self, Boot { ports, config, quirks, .. }: Boot) -> Rc<dyn RuntimeService> {
        Rc::new(Service::new(ports, config, quirks))
    }
}
