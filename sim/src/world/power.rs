//! What the disk keeps when the node loses its power, by name.

use std::collections::BTreeMap;

use super::World;
use super::fs::Survival;
use super::ports::short_path;
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
        let roots = self.roots.clone();
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        self.fs.power_loss(|pending, options| {
            let text = format!("{}({})", pending.kind.word(), short_path(&roots, &pending.path));
            let count = counts.entry(text.clone()).or_default();
            *count += 1;
            decide(Symbol::of(&format!("{text}#{count}")), options)
        });
    }
}
