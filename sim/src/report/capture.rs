//! Takes what the service logs into the run's recording.

use std::cell::RefCell;
use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::turnstile::Sim;

thread_local! {
    /// The run whose service logs on this thread.
    static RUN: RefCell<Option<Sim>> = const { RefCell::new(None) };
}

/// Runs `run`; meanwhile every event of the code under test is logged to `sim`, as
/// `level message field=value`.
pub fn with_logs<R>(sim: &Sim, run: impl FnOnce() -> R) -> R {
    /// Lets go of the run, also when it panics.
    struct Release;
    impl Drop for Release {
        fn drop(&mut self) {
            RUN.set(None);
        }
    }
    RUN.set(Some(sim.clone()));
    let _release = Release;
    tracing::subscriber::with_default(Capture, run)
}

struct Capture;

impl Subscriber for Capture {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        about.target().starts_with("shakedown_cri")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line { text: event.metadata().level().to_string().to_lowercase() };
        event.record(&mut line);
        RUN.with_borrow(|sim| {
            if let Some(sim) = sim {
                sim.log(&line.text);
            }
        });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line {
    text: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.text, " {value:?}"),
            name => write!(self.text, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = match field.name() {
            "message" => write!(self.text, " {value}"),
            name => write!(self.text, " {name}={value:?}"),
        };
    }
}
