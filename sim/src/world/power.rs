//! What the disk keeps when the node loses its power, by name.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::World;
use super::fs::{Pending, Survival};
use super::ports::{Roots, short_path};
use crate::turnstile::Symbol;

impl World {
    /// Lets the file system lose its power. Each pending operation has a name like
    /// `rename(web/status)#1`: what was done, the path as sites show it, and the how-manieth of those
    /// that are pending. See [`super::fs::FileSystem::power_loss`] for the order and the options.
    ///
    /// Tasks, processes, shims and mounts are not touched.
    pub(super) fn disk_loses_power(
        &mut self,
        mut decide: impl FnMut(Symbol, &[Survival]) -> Survival,
    ) {
        let mut names = Naming::new(self);
        self.fs.power_loss(|pending, options| decide(names.next(pending), options));
    }

    /// Names of the operations that the disk does not have yet, in the order in which a power loss asks
    /// about them.
    pub fn pending_on_disk(&self) -> Vec<String> {
        let (mut names, mut found) = (Naming::new(self), Vec::new());
        self.fs.clone().power_loss(|pending, _| {
            found.push(names.next(pending).to_string());
            Survival::Whole
        });
        found
    }
}

/// Counts the pending operations of a kind on a path.
struct Naming {
    roots: Rc<Roots>,
    counts: BTreeMap<String, u32>,
}

impl Naming {
    fn new(world: &World) -> Self {
        Naming { roots: world.roots.clone(), counts: BTreeMap::new() }
    }

    fn next(&mut self, pending: &Pending) -> Symbol {
        let text = format!("{}({})", pending.kind.word(), short_path(&self.roots, &pending.path));
        let count = self.counts.entry(text.clone()).or_default();
        *count += 1;
        Symbol::of(&format!("{text}#{count}"))
    }
}
