//! What the service logs, as entries of the recording.

use std::cell::RefCell;
use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use crate::turnstile::Sim;

thread_local! {
    static SIM: RefCell<Option<Sim>> = const { RefCell::new(None) };
}

/// Hands each event of the code under test to the run of this thread.
struct Capture;

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

impl Subscriber for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("shakedown_cri")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let level = event.metadata().level().as_str().to_lowercase();
        SIM.with_borrow(|sim| {
            if let Some(sim) = sim {
                sim.log(&format!("{level}: {}{}", line.message, line.fields));
            }
        });
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Makes the recording hold what the service logs while `run` goes on.
pub(super) fn with_logs<R>(sim: &Sim, run: impl FnOnce() -> R) -> R {
    SIM.set(Some(sim.clone()));
    let out = tracing::subscriber::with_default(Capture, run);
    SIM.set(None);
    // Or the service would go on to format lines that nobody takes.
    tracing::callsite::rebuild_interest_cache();
    out
}
