//! I17: nothing makes the service panic or refuse to come up.

use super::judge::View;
use super::{Id, Invariant, Notes};
use crate::turnstile::Stop;

#[derive(Default, Hash)]
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
        if let Some(error) = view.daemon.facts().refused {
            notes.violate(view, format!("the daemon refused to come up: {error}"));
        }
        if let Stop::Panicked { actor, message } = stop {
            notes.violate(view, format!("{actor} panicked: {message}"));
        }
    }
}
