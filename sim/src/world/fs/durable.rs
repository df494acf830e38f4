//! What the disk has, and what a power loss leaves.
//!
//! Everything that a call does is seen at once by all (the page cache). The disk gets it later, and
//! until it has, the operation is *pending*. The model is strictly ordered metadata consistency, the
//! least that ext4, XFS and btrfs all keep (Mohan, Chinner et al., "Documenting the crash-recovery
//! guarantees of Linux file systems", linux-fsdevel, March 2019):
//!
//! - A change of names (create, mkdir, mkfifo, symlink, rename, unlink, rmdir) or of a mode is atomic: a power
//!   loss leaves it whole, or undoes it.
//! - Changes that have an inode in common reach the disk in the order in which they were made. A
//!   directory is an inode, so those in one directory never change places. All others may: one is
//!   undone, and a later one in another directory is not.
//! - fsync of a directory makes the changes in it durable. fsync of a file makes its content durable
//!   and the file itself: that it was made, its mode, and its names *so far*. Both include whatever
//!   came before in the order above. A rename after the fsync is pending again.
//! - Content and names have no order between them. A file that grew may be there under its new name
//!   with its old size: neither ext4's flush at a rename that replaces (auto_da_alloc) nor the
//!   ordered mode, in which a size is not committed before its blocks, is counted on for that; XFS
//!   does not have the first.
//! - What was not synced of a file survives from its start up to some sector: whole, torn, or not
//!   at all. What is read there was written there; bytes that nobody wrote appear only where an
//!   fsync failed, as zeros.
//!
//! Commits by time (5 s for ext4) are left out: nothing becomes durable because time passes.
//!
//! The bookkeeping is one list of what can be undone, in order. Nothing is copied: an inode that an
//! operation speaks of is kept, even when its last name and descriptor are gone.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use super::tree::{Lookup, join};
use super::{Change, DISK, FileKind, FileSystem, HandleId, Ino, NOWHERE, Node, ROOT};

/// What a drive writes whole, in bytes. A file is torn at a multiple of it.
pub const SECTOR: usize = 512;

/// What kind of change waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PendingKind {
    Create,
    Mkdir,
    Mkfifo,
    Symlink,
    Rename,
    Unlink,
    Rmdir,
    Chmod,
    /// Content written to a regular file.
    Data,
}

impl PendingKind {
    pub const ALL: [PendingKind; 9] = [
        PendingKind::Create,
        PendingKind::Mkdir,
        PendingKind::Mkfifo,
        PendingKind::Symlink,
        PendingKind::Rename,
        PendingKind::Unlink,
        PendingKind::Rmdir,
        PendingKind::Chmod,
        PendingKind::Data,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            PendingKind::Create => "create",
            PendingKind::Mkdir => "mkdir",
            PendingKind::Mkfifo => "mkfifo",
            PendingKind::Symlink => "symlink",
            PendingKind::Rename => "rename",
            PendingKind::Unlink => "unlink",
            PendingKind::Rmdir => "rmdir",
            PendingKind::Chmod => "chmod",
            PendingKind::Data => "data",
        }
    }
}

/// An operation that the disk does not have yet. Displays as `rename(/dir/to)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pending {
    pub kind: PendingKind,
    /// The path when it was done (a rename's: the new one); for data, what survived of it.
    pub path: String,
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.kind.word(), self.path)
    }
}

/// What a power loss leaves of a pending operation.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Survival {
    /// As if it had been synced.
    Whole,
    /// As if it had not been.
    Lost,
    /// The first half of the new sectors. Only data that lie on more than one.
    Torn,
}

/// A name in a directory.
type Entry = (Ino, Rc<str>);

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Insert {
        at: Entry,
        ino: Ino,
    },
    Remove {
        at: Entry,
        ino: Ino,
    },
    Rename {
        from: Entry,
        to: Entry,
        ino: Ino,
        replaced: Option<Ino>,
    },
    /// `other`: the mode before it; while it is undone, the one after.
    Mode {
        ino: Ino,
        other: u32,
    },
    Data {
        ino: Ino,
    },
}

impl Operation {
    /// What it does, but for the inodes that it changes.
    pub(super) fn hash_names(&self, state: &mut impl Hasher) {
        std::mem::discriminant(self).hash(state);
        match self {
            Operation::Insert { at: (_, name), .. } | Operation::Remove { at: (_, name), .. } => {
                name.hash(state);
            }
            Operation::Rename { from: (_, from), to: (_, to), .. } => (from, to).hash(state),
            Operation::Mode { other, .. } => other.hash(state),
            Operation::Data { .. } => {}
        }
    }

    /// The inodes that it changes, and by which it is ordered.
    pub(super) fn inodes(&self) -> impl Iterator<Item = Ino> {
        let inodes = match self {
            Operation::Insert { at, ino } | Operation::Remove { at, ino } => {
                [Some(at.0), Some(*ino), None, None]
            }
            Operation::Rename { from, to, ino, replaced } => {
                [Some(from.0), Some(*ino), (to.0 != from.0).then_some(to.0), *replaced]
            }
            Operation::Mode { ino, .. } => [Some(*ino), None, None, None],
            Operation::Data { .. } => [None; 4],
        };
        inodes.into_iter().flatten()
    }
}

impl FileSystem {
    pub(super) fn begin_insert(&mut self, parent: Ino, name: &Rc<str>, ino: Ino) {
        if self.inode(parent).device == DISK {
            self.begin(Operation::Insert { at: (parent, name.clone()), ino });
        }
    }

    pub(super) fn begin_remove(&mut self, parent: Ino, name: &str, ino: Ino) {
        if self.inode(parent).device == DISK {
            self.begin(Operation::Remove { at: (parent, Rc::from(name)), ino });
        }
    }

    pub(super) fn begin_rename(&mut self, old: &Lookup<'_>, new: &Lookup<'_>, ino: Ino) {
        if self.inode(old.parent).device == DISK
            && let (Some(from), Some(to)) = (old.name(), new.name())
        {
            let from = (old.parent, Rc::from(from));
            let to = (new.parent, Rc::from(to));
            self.begin(Operation::Rename { from, to, ino, replaced: new.entry });
        }
    }

    pub(super) fn begin_mode(&mut self, ino: Ino, before: u32) {
        if self.inode(ino).device == DISK {
            self.begin(Operation::Mode { ino, other: before });
        }
    }

    /// A file that was clean has content that the disk does not have.
    pub(super) fn begin_data(&mut self, ino: Ino) {
        self.begin(Operation::Data { ino });
    }

    fn begin(&mut self, operation: Operation) {
        for ino in operation.inodes() {
            self.inode_mut(ino).pins += 1;
        }
        self.pending.push(operation);
    }

    /// The file's content is no matter of the disk any more: it is synced, or gone.
    pub(super) fn end_data(&mut self, file: Ino) {
        self.pending.retain(|op| !matches!(op, Operation::Data { ino } if *ino == file));
    }

    /// What fsync does to a file or directory.
    pub(super) fn make_durable(&mut self, target: Ino) {
        if self.inode(target).device != DISK {
            return;
        }
        self.record(Change::Sync, target, &[]);
        if let Node::Regular(content) = &mut self.inode_mut(target).node
            && content.durable < content.bytes.len()
        {
            content.durable = content.bytes.len();
            self.end_data(target);
        }
        // Backwards, because an operation needs those before it that share an inode with it.
        let mut needed = vec![target];
        let (mut done, mut kept) = (Vec::new(), Vec::with_capacity(self.pending.len()));
        for operation in self.pending.drain(..).rev() {
            if operation.inodes().any(|ino| needed.contains(&ino)) {
                needed.extend(operation.inodes());
                done.push(operation);
            } else {
                kept.push(operation);
            }
        }
        kept.reverse();
        self.pending = kept;
        for operation in &done {
            self.retire(operation);
        }
    }

    /// Makes everything durable, as sync(2) does.
    pub fn sync_all(&mut self) {
        self.record(Change::Sync, NOWHERE, &[]);
        for operation in std::mem::take(&mut self.pending) {
            if let Operation::Data { ino } = operation
                && let Node::Regular(content) = &mut self.inode_mut(ino).node
            {
                content.durable = content.bytes.len();
            }
            self.retire(&operation);
        }
    }

    /// An operation is not pending any more: what was kept for its sake only, goes.
    fn retire(&mut self, operation: &Operation) {
        for ino in operation.inodes() {
            let inode = self.inode_mut(ino);
            inode.pins -= 1;
            if inode.pins == 0 && inode.limbo {
                inode.limbo = false;
                self.limbo -= 1;
                self.reclaim(ino);
            }
        }
    }

    /// Nothing speaks of the inode any more: its number can be used again.
    pub(super) fn reclaim(&mut self, ino: Ino) {
        let node = std::mem::replace(&mut self.inode_mut(ino).node, Node::Free);
        if let Node::Regular(content) = node
            && content.durable < content.bytes.len()
        {
            self.end_data(ino);
        }
        self.inodes_free.push(ino);
    }

    /// What a failed fsync does to the content of a file: see [`FileSystem::sync_failed`].
    pub(super) fn drop_dirty(&mut self, ino: Ino) {
        if self.inode(ino).device != DISK {
            return;
        }
        self.record(Change::SyncFailed, ino, &[]);
        if let Node::Regular(content) = &mut self.inode_mut(ino).node {
            let known = content.dropped.last().map_or(0, |range| range.end);
            let dirty = content.durable.max(known)..content.bytes.len();
            if !dirty.is_empty() {
                content.dropped.push(dirty);
            }
        }
    }

    /// The node loses its power and comes up again: descriptors, mounts, what is in memory and in
    /// pipes is gone, and of each pending operation stays what `decide` says. It is asked about
    /// names and modes in the order in which they were changed, then about the content of the files
    /// that are left, in the order in which they were first written; the options are those that the
    /// model allows with what was decided before. Where there is more than one, the first is
    /// [`Survival::Whole`].
    pub fn power_loss(&mut self, mut decide: impl FnMut(&Pending, &[Survival]) -> Survival) {
        self.forget_memory();
        let mut operations = std::mem::take(&mut self.pending);
        let mut paths = Vec::with_capacity(operations.len());
        for operation in operations.iter_mut().rev() {
            paths.push(self.undo(operation));
        }
        let mut lost: Vec<Ino> = Vec::new();
        for (operation, path) in operations.iter_mut().zip(paths.into_iter().rev()) {
            let Some(pending) = path else { continue };
            let forced = operation.inodes().any(|ino| lost.contains(&ino));
            let options = &[Survival::Whole, Survival::Lost][usize::from(forced)..];
            if decide(&pending, options) == Survival::Whole && !forced {
                self.redo(operation);
            } else {
                self.record(Change::PowerLoss, lost.len() as u32, pending.path.as_bytes());
                lost.extend(operation.inodes());
            }
        }
        for operation in &operations {
            if let &Operation::Data { ino } = operation {
                self.lose_data(ino, &mut decide);
            }
        }
        for operation in &operations {
            self.retire(operation);
        }
        for ino in 0..self.inodes.len() {
            if let Node::Regular(content) = &mut self.inodes[ino].node {
                for range in std::mem::take(&mut content.dropped) {
                    content.bytes[range].fill(0);
                }
            }
        }
        self.forget_resolved();
        self.record(Change::PowerLoss, NOWHERE, &[]);
    }

    /// Decides what is left of a file's content.
    fn lose_data(&mut self, ino: Ino, decide: &mut impl FnMut(&Pending, &[Survival]) -> Survival) {
        let named = !self.inode(ino).limbo && self.inode(ino).parent != NOWHERE;
        let Node::Regular(content) = &self.inode(ino).node else { return };
        let (durable, length) = (content.durable, content.bytes.len());
        let dropped = content.dropped.last().is_some_and(|range| range.end > durable);
        // The sector in the middle of those that are new.
        let first = durable / SECTOR + 1;
        let sectors = length.div_ceil(SECTOR) - durable / SECTOR;
        let torn = (first + (sectors - 1) / 2) * SECTOR;
        let kept = if named {
            let pending = Pending { kind: PendingKind::Data, path: self.path_of(ino) };
            let all = [Survival::Whole, Survival::Lost, Survival::Torn];
            let options = match (dropped, torn < length) {
                (true, _) => &all[1..2],
                (false, true) => &all[..],
                (false, false) => &all[..2],
            };
            decide(&pending, options)
        } else {
            Survival::Lost
        };
        let left = match kept {
            Survival::Whole => length,
            Survival::Torn => torn.min(length),
            Survival::Lost => durable,
        };
        self.record(Change::PowerLoss, ino, &(left as u64).to_le_bytes());
        if named {
            self.bytes_used -= (length - left) as u64;
        }
        if let Node::Regular(content) = &mut self.inode_mut(ino).node {
            content.bytes.truncate(left);
            content.durable = left;
            content.dropped.retain(|range| range.end <= left);
        }
    }

    /// Takes everything away that is not on the disk.
    fn forget_memory(&mut self) {
        for index in 0..self.handles.len() as u32 {
            let generation = self.handles[index as usize].generation;
            self.release(HandleId { index, generation });
        }
        self.fifo_events.clear();
        for ino in 0..self.inodes.len() as Ino {
            while self.uncover(ino) {}
        }
        for ino in 0..self.inodes.len() as Ino {
            let inode = self.inode(ino);
            let is_dir = matches!(inode.node, Node::Directory(_));
            if is_dir && inode.parent != NOWHERE && self.is_mount_point(ino) {
                self.discard_below(ino);
            }
        }
    }

    /// Undoes an operation; afterwards all is as before it. Returns what it is called; nothing for
    /// data, which stay as they are.
    fn undo(&mut self, operation: &mut Operation) -> Option<Pending> {
        Some(match operation {
            Operation::Insert { at, ino } => {
                let kind = match self.kind(*ino) {
                    FileKind::Directory => PendingKind::Mkdir,
                    FileKind::Regular => PendingKind::Create,
                    FileKind::Fifo => PendingKind::Mkfifo,
                    FileKind::Symlink => PendingKind::Symlink,
                };
                self.detach(at.0, &at.1);
                self.orphan(*ino);
                Pending { kind, path: self.path_in(at) }
            }
            Operation::Remove { at, ino } => {
                let kind = match self.kind(*ino) {
                    FileKind::Directory => PendingKind::Rmdir,
                    _ => PendingKind::Unlink,
                };
                self.restore(at, *ino);
                Pending { kind, path: self.path_in(at) }
            }
            Operation::Rename { from, to, ino, replaced } => {
                let path = self.path_in(to);
                self.detach(to.0, &to.1);
                self.attach(from.0, from.1.clone(), *ino);
                if let Some(replaced) = replaced {
                    self.restore(to, *replaced);
                }
                Pending { kind: PendingKind::Rename, path }
            }
            Operation::Mode { ino, other } => {
                std::mem::swap(&mut self.inode_mut(*ino).mode, other);
                Pending { kind: PendingKind::Chmod, path: self.path_of(*ino) }
            }
            Operation::Data { .. } => return None,
        })
    }

    /// Does an operation again that was undone.
    fn redo(&mut self, operation: &mut Operation) {
        match operation {
            Operation::Insert { at, ino } => self.restore(at, *ino),
            Operation::Remove { at, ino } => {
                self.detach(at.0, &at.1);
                self.orphan(*ino);
            }
            Operation::Rename { from, to, ino, replaced } => {
                self.detach(from.0, &from.1);
                if let Some(replaced) = replaced {
                    self.orphan(*replaced);
                }
                self.attach(to.0, to.1.clone(), *ino);
            }
            Operation::Mode { ino, other } => {
                std::mem::swap(&mut self.inode_mut(*ino).mode, other);
            }
            Operation::Data { .. } => {}
        }
    }

    /// Gives an inode in limbo a name again.
    fn restore(&mut self, at: &Entry, ino: Ino) {
        self.inode_mut(ino).limbo = false;
        self.limbo -= 1;
        if let Node::Regular(content) = &self.inode(ino).node {
            self.bytes_used += content.bytes.len() as u64;
        }
        self.attach(at.0, at.1.clone(), ino);
    }

    fn path_in(&self, (parent, name): &Entry) -> String {
        join(&self.path_of(*parent), name)
    }

    fn path_of(&self, ino: Ino) -> String {
        if ino == ROOT {
            return "/".to_owned();
        }
        let parent = self.inode(ino).parent;
        if parent == NOWHERE {
            return "(removed)".to_owned();
        }
        let entries = self.dir(parent).map(|dir| &dir.entries);
        let name = entries.and_then(|all| all.iter().find(|entry| *entry.1 == ino));
        join(&self.path_of(parent), name.map_or("?", |entry| &**entry.0))
    }
}
