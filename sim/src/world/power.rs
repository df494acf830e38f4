//! What the disk keeps when the node loses its power, by name.

use std::collections::BTreeMap;

use super::World;
use super::fs::Survival;
use super::ports::{Roots, short_path};
use crate::turnstile::Symbol;

impl World {
    /// Lets the file system lose its power. Each pending operation is asked about by a name like
    /// `rename(web/status)#1`: what was done, the path as sites show it, and the how-manieth of those
    /// that are pending. See [`super::FileSystem::power_loss`] for the order and the options.
    ///
    /// Tasks, processes, shims and mounts are not touched.
    pub fn lose_disk_power(
        &mut self,
        roots: &Roots,
        mut decide: impl FnMut(Symbol, &[Survival]) -> Survival,
    ) {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        self.fs.power_loss(|pending, options| {
            let text = format!("{}({})", pending.kind.word(), short_path(roots, &pending.path));
            let count = counts.entry(text.clone()).or_default();
            *count += 1;
            decide(Symbol::of(&format!("{text}#{count}")), options)
        });
    }
}
