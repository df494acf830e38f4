//! I6: reaping succeeds within its tries.

use super::judge::View;
use super::{Id, Invariant, Notes};
use crate::run::Snapshot;

#[derive(Default, Hash)]
pub struct AlwaysRemovable;

impl Invariant for AlwaysRemovable {
    fn id(&self) -> Id {
        Id(6)
    }

    fn name(&self) -> &'static str {
        "always-removable"
    }

    fn reaped(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        notes.evaluated();
        for unreaped in view.reaped.iter().flat_map(|reaped| &reaped.failed) {
            notes.violate(view, format!("{} never succeeded: {}", unreaped.step, unreaped.error));
        }
    }
}
