//! I13: Status and List answer within a second while other calls hang. One that is disturbed itself is none
//! of those that are meant.

use super::judge::{Kind, View};
use super::{Id, Invariant, Notes};
use crate::run::Snapshot;
use crate::turnstile::Site;

/// One second of virtual time.
const LIMIT_NANOS: u64 = 1_000_000_000;

#[derive(Default, Hash)]
pub struct OthersAnswer;

impl Invariant for OthersAnswer {
    fn id(&self) -> Id {
        Id(13)
    }

    fn name(&self) -> &'static str {
        "others-answer"
    }

    fn quiet(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        for call in view.calls.iter().filter(|c| matches!(c.kind, Kind::Status | Kind::List)) {
            let Some((began, _)) = call.began else { continue };
            let inside = format!("{}/", call.name);
            let own =
                |site: Site| site.actor == call.name || site.actor.text().starts_with(&inside);
            if view.faults_struck(own) {
                continue;
            }
            let answered = call.answered.map(|(at, _)| at);
            let in_time = answered.is_some_and(|at| at - began <= LIMIT_NANOS);
            notes.judge(in_time, view, || match answered {
                Some(_) => format!("{} took more than 1 s to answer", call.name),
                None => format!("{} has not answered", call.name),
            });
        }
    }
}
