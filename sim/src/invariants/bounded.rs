//! I5: every call answers within its bound, and afterwards nothing is refused on its account.

use std::time::Duration;

use super::judge::{Kind, View};
use super::{Id, Invariant, Notes};
use crate::oracle::duration_text;
use crate::run::Snapshot;
use shakedown_cri::ports::Instant;

#[derive(Default, Hash)]
pub struct Bounded;

impl Invariant for Bounded {
    fn id(&self) -> Id {
        Id(5)
    }

    fn name(&self) -> &'static str {
        "bounded"
    }

    fn quiet(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        for (call, plan) in view.calls.iter().zip(&view.plan.calls) {
            let Some((began, _)) = call.began else { continue };
            if call.kind == Kind::Events && call.gave_up.is_none() {
                // A stream goes on for as long as its client listens.
                continue;
            }
            // A client that has not given up yet may be patient for as long as it said.
            let patience = [plan.deadline, plan.cancel_after].into_iter().flatten().min();
            let patient = Instant(began).after(patience.unwrap_or_default().max(plan.grace()));
            let gave_up = call.gave_up.unwrap_or(patient.0);
            let from = Instant(gave_up.max(view.last_fault_at));
            let limit = from.after(view.plan.bound);
            let late = match call.answered {
                Some((at, _)) => at > limit.0,
                None => view.now >= limit.0,
            };
            notes.judge(!late, view, || {
                let bound = duration_text(view.plan.bound);
                match call.answered {
                    Some((at, _)) => {
                        let took = duration_text(Duration::from_nanos(at - began));
                        format!("{} answered after {took}, beyond its bound of {bound}", call.name)
                    }
                    None => format!("{} has not answered within its bound of {bound}", call.name),
                }
            });
        }
    }

    fn reaped(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        let failed = view.reaped.iter().flat_map(|reaped| &reaped.failed);
        for unreaped in failed {
            let text = &unreaped.error.message;
            let refused = text.contains("in starting state") || text.contains("in removing state");
            notes
                .judge(!refused, view, || format!("{} is refused for good: {text}", unreaped.step));
        }
    }
}
