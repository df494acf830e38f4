//! I17: nothing makes the service panic.

use super::judge::View;
use super::{Id, Invariant, Notes};
use crate::turnstile::Stop;

#[derive(Default)]
pub struct DaemonLives;

impl Invariant for DaemonLives {
    fn id(&self) -> Id {
        Id(17)
    }

    fn name(&self) -> &'static str {
        "the-daemon-lives"
    }

    fn stopped(&mut self, view: &View<'_>, stop: &Stop, notes: &mut Notes) {
        notes.evaluated();
        if let Stop::Panicked { actor, message } = stop {
            notes.violate(view, format!("{actor} panicked: {message}"));
        }
    }
}
