//! What the files have come to, as far as it can be told apart without a loss of power.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use super::durable::Operation;
use super::{Directory, FileSystem, Handle, Ino, Inode, Node, ROOT};
use crate::turnstile::unordered;

impl FileSystem {
    pub(crate) fn hash_state(&self, state: &mut impl Hasher) {
        // Where each comes below the root. Which numbers inodes and handles have is nobody's business.
        let mut places = vec![None; self.inodes.len()];
        self.hash_below(ROOT, state, |ino, place| places[ino as usize] = Some(place));
        let handles = self.handles.iter().filter_map(|slot| slot.handle.as_ref());
        let handles = handles.map(|Handle { owner, ino, path, end }| {
            let mut of_handle = FxHasher::default();
            let place: Option<usize> = places[*ino as usize];
            (owner, path, end, place).hash(&mut of_handle);
            if place.is_none() {
                self.hash_below(*ino, &mut of_handle, |_, _| ());
            }
            of_handle.finish()
        });
        unordered(handles).hash(state);
        (self.bytes_used, self.read_only_marks).hash(state);
    }

    /// What of it a loss of power would leave, and which temporary name comes next.
    pub(crate) fn hash_disk(&self, state: &mut impl Hasher) {
        let durable = |ino: Ino| match &self.inodes[ino as usize].node {
            Node::Regular(content) => Some((content.durable, &content.dropped)),
            _ => None,
        };
        let mut places = vec![None; self.inodes.len()];
        let mut reached = Vec::new();
        self.hash_below(ROOT, &mut FxHasher::default(), |ino, place| {
            places[ino as usize] = Some(place);
            reached.push(durable(ino));
        });
        reached.hash(state);
        for operation in &self.pending {
            operation.hash_names(state);
            let of_data = match operation {
                Operation::Data { ino } => Some(*ino),
                _ => None,
            };
            for ino in operation.inodes().chain(of_data) {
                places[ino as usize].hash(state);
                if places[ino as usize].is_none() {
                    durable(ino).hash(state);
                    self.hash_below(ino, state, |_, _| ());
                }
            }
        }
        self.temp_names.hash(state);
    }

    fn hash_below(&self, ino: Ino, state: &mut impl Hasher, mut comes: impl FnMut(Ino, usize)) {
        let mut ahead = vec![ino];
        let mut place = 0;
        while let Some(ino) = ahead.pop() {
            comes(ino, place);
            place += 1;
            let Inode { parent: _, mode, opens, pins: _, limbo: _, device, read_only, node } =
                &self.inodes[ino as usize];
            (mode, opens, device, read_only, std::mem::discriminant(node)).hash(state);
            match node {
                Node::Free => {}
                Node::Directory(Directory { entries, mount }) => {
                    (entries.len(), mount.is_some()).hash(state);
                    entries.keys().for_each(|name| name.hash(state));
                    ahead.extend(entries.values().chain(mount));
                }
                Node::Regular(content) => content.bytes.hash(state),
                Node::Fifo(pipe) => pipe.hash_state(state),
                Node::Symlink(to) => to.hash(state),
            }
        }
    }
}
