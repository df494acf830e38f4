//! The node's filesystem: directories, regular files, named pipes, symbolic links, mounts,
//! descriptors.
//!
//! A plain data structure: every call happens at once, whole, and the same way each time. What can
//! block (a pipe's open, read and write) answers `Blocked`, and [`FileSystem::take_fifo_events`]
//! says later who can go on. When calls take effect, and which of them fail by injection, is
//! decided elsewhere. What of it the disk has, and what a power loss leaves, is the module
//! `durable`.
//!
//! Results are those of Linux for a process that owns every file but has no privileges: of the mode
//! only the owner's bits count, there is no umask, and relative paths start at the root. Errors are
//! worded like those of Go's `os` package. Paths are resolved one component after the other, so that
//! `dir/missing/..` fails as it must. There are no hard links.

mod durable;
mod fifo;
mod files;
mod state;
mod tree;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use shakedown_cri::ports::{Errno, FsCause, FsError};
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use durable::{Pending, PendingKind, SECTOR, Survival};
pub use fifo::{FIFO_CAPACITY, FifoEvent, FifoRead, FifoWrite, PIPE_BUF};

/// Bytes in a file name, at most.
pub const NAME_MAX: usize = 255;
/// Bytes in a path, at most (Linux's `PATH_MAX` counts a terminating zero too).
pub const PATH_MAX: usize = 4095;
/// Symbolic links followed in the resolution of one path, at most.
pub const LINKS_MAX: u32 = 40;

/// What the filesystem has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Content of all regular files together, in bytes. Metadata is not counted, nor are blocks
    /// rounded up.
    pub bytes_max: u64,
    /// Files, directories and pipes, the root included; one more is ENOSPC.
    pub inodes_max: u32,
    /// Descriptors of one owner, pipes included; one more is EMFILE. See
    /// [`FileSystem::set_unlimited`].
    pub open_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { bytes_max: 64 << 20, inodes_max: 1 << 16, open_max: 1024 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    Directory,
    Regular,
    Fifo,
    Symlink,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub kind: FileKind,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
    /// Content of a regular file, what a pipe holds, or the target of a link, in bytes; zero for a
    /// directory.
    pub size: u64,
}

/// One line of [`FileSystem::walk`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkEntry {
    pub path: String,
    pub kind: FileKind,
    pub mode: u32,
    pub size: u64,
    /// Where a symbolic link points.
    pub target: Option<Rc<str>>,
    /// Something is mounted here; kind, mode and what follows below are those of the mount.
    pub mounted: bool,
}

/// A slot of the handle table. The generation tells a later handle in the same slot apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct HandleId {
    index: u32,
    generation: u32,
}

/// A descriptor of a regular file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fd(HandleId);

/// A descriptor of a named pipe, which may still wait for its peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FifoId(HandleId);

impl fmt::Debug for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fd({}.{})", self.0.index, self.0.generation)
    }
}

impl fmt::Debug for FifoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FifoId({}.{})", self.0.index, self.0.generation)
    }
}

/// One descriptor, as the leak check sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFd<'a> {
    /// The path it was opened by.
    pub path: &'a str,
    pub kind: FileKind,
    /// The open itself still waits for the pipe's other end.
    pub opening: bool,
    /// The file has no name any more.
    pub removed: bool,
}

type Ino = u32;
const ROOT: Ino = 0;
/// The file system on the disk; all others live in memory.
const DISK: Device = 0;
type Device = u32;
/// The parent of an inode that has no name any more.
const NOWHERE: Ino = Ino::MAX;

#[derive(Clone, Debug)]
struct Inode {
    /// The directory that has the entry; for the root of a mount, that of the covered directory.
    parent: Ino,
    mode: u32,
    opens: u32,
    /// Pending operations that speak of it.
    pins: u32,
    /// It has neither name nor descriptor any more, and is kept for the pins only.
    limbo: bool,
    /// The file system that it belongs to.
    device: Device,
    /// Nothing at or below this directory may change.
    read_only: bool,
    node: Node,
}

#[derive(Clone, Debug)]
enum Node {
    Free,
    Directory(Directory),
    Regular(Content),
    Fifo(fifo::Pipe),
    Symlink(Rc<str>),
}

/// What is in a regular file, and how much of it is on the disk.
#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// So many bytes were synced.
    durable: usize,
    /// What a failed fsync dropped: clean to the kernel, and never written.
    dropped: Vec<std::ops::Range<usize>>,
}

#[derive(Clone, Debug, Default)]
struct Directory {
    entries: BTreeMap<Rc<str>, Ino>,
    /// The root of what is mounted on this directory.
    mount: Option<Ino>,
}

#[derive(Clone, Debug)]
struct Slot {
    generation: u32,
    handle: Option<Handle>,
}

#[derive(Clone, Debug)]
struct Handle {
    owner: u32,
    ino: Ino,
    path: Rc<str>,
    /// Absent for a regular file.
    end: Option<fifo::End>,
}

/// What changed; part of the digest.
#[derive(Clone, Copy)]
enum Change {
    Create = 1,
    Remove,
    Rename,
    Mode,
    Write,
    Truncate,
    Mount,
    Unmount,
    ReadOnly,
    Open,
    Close,
    FifoWrite,
    FifoRead,
    Sync,
    SyncFailed,
    PowerLoss,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct FileSystem {
    limits: Limits,
    inodes: Vec<Inode>,
    inodes_free: Vec<Ino>,
    handles: Vec<Slot>,
    handles_free: Vec<u32>,
    /// The owner that the limit of descriptors is not for.
    unlimited: Option<u32>,
    /// Open descriptors by owner; an owner without any has no entry.
    owners: BTreeMap<u32, u32>,
    bytes_used: u64,
    mounts: u32,
    devices: Device,
    read_only_marks: u32,
    /// What the disk does not have yet, in the order in which it was done.
    pending: Vec<durable::Operation>,
    /// Inodes in limbo: they take no room.
    limbo: u32,
    temp_names: u64,
    digest: u64,
    fifo_events: Vec<(FifoId, FifoEvent)>,
    /// Directories by path, the latest first: calls come in groups on the same few, and walking
    /// down to them would be most of what a call costs.
    resolved: RefCell<Vec<(Rc<str>, Ino)>>,
}

impl FileSystem {
    /// An empty root directory of mode 0755.
    pub fn new(limits: Limits) -> Self {
        let root = Inode {
            parent: ROOT,
            mode: 0o755,
            opens: 0,
            pins: 0,
            limbo: false,
            device: DISK,
            read_only: false,
            node: Node::Directory(Directory::default()),
        };
        FileSystem {
            limits,
            inodes: vec![root],
            inodes_free: Vec::new(),
            handles: Vec::new(),
            handles_free: Vec::new(),
            unlimited: None,
            owners: BTreeMap::new(),
            bytes_used: 0,
            mounts: 0,
            devices: DISK,
            read_only_marks: 0,
            pending: Vec::new(),
            limbo: 0,
            temp_names: 0,
            digest: 0,
            fifo_events: Vec::new(),
            resolved: RefCell::default(),
        }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Takes effect at once; what is beyond a smaller limit already stays.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// From now on `owner` can have any number of descriptors: it stands for several processes.
    pub fn set_unlimited(&mut self, owner: u32) {
        self.unlimited = Some(owner);
    }

    /// Content of all regular files, in bytes, those included that live only by a descriptor.
    pub fn bytes_used(&self) -> u64 {
        self.bytes_used
    }

    /// A rolling digest of every change since [`FileSystem::new`], descriptors opened and closed
    /// included. Equal histories have equal digests, in every process.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Open descriptors of `owner`.
    pub fn open_count(&self, owner: u32) -> u32 {
        self.owners.get(&owner).copied().unwrap_or(0)
    }

    /// The descriptors of `owner`, by number.
    pub fn open_fds(&self, owner: u32) -> impl Iterator<Item = OpenFd<'_>> {
        let handles = self.handles.iter().filter_map(|slot| slot.handle.as_ref());
        handles.filter(move |handle| handle.owner == owner).map(|handle| OpenFd {
            path: &handle.path,
            kind: self.kind(handle.ino),
            opening: handle.end.as_ref().is_some_and(|end| !end.open),
            removed: self.inode(handle.ino).parent == NOWHERE,
        })
    }

    /// Closes every descriptor of `owner`, by number, as the kernel does when a process dies. Peers
    /// of its pipes are listed by [`FileSystem::take_fifo_events`].
    pub fn close_all(&mut self, owner: u32) {
        for index in 0..self.handles.len() {
            if self.open_count(owner) == 0 {
                return;
            }
            let slot = &self.handles[index];
            if slot.handle.as_ref().is_some_and(|handle| handle.owner == owner) {
                self.release(HandleId { index: index as u32, generation: slot.generation });
            }
        }
    }

    fn inode(&self, ino: Ino) -> &Inode {
        &self.inodes[ino as usize]
    }

    fn inode_mut(&mut self, ino: Ino) -> &mut Inode {
        &mut self.inodes[ino as usize]
    }

    fn kind(&self, ino: Ino) -> FileKind {
        match self.inode(ino).node {
            Node::Directory(_) => FileKind::Directory,
            Node::Fifo(_) => FileKind::Fifo,
            Node::Symlink(_) => FileKind::Symlink,
            Node::Regular(_) | Node::Free => FileKind::Regular,
        }
    }

    fn record(&mut self, change: Change, number: u32, bytes: &[u8]) {
        let tag = ((change as u64) << 32) | u64::from(number);
        let seed = (self.digest.rotate_left(23) ^ tag).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.digest = xxh3_64_with_seed(bytes, seed);
    }

    fn check_open_max(&self, owner: u32) -> Result<(), Errno> {
        if self.unlimited != Some(owner) && self.open_count(owner) >= self.limits.open_max {
            return Err(Errno::EMFILE);
        }
        Ok(())
    }

    /// Takes a slot of the handle table, and a reference on the inode.
    fn acquire(&mut self, owner: u32, ino: Ino, path: &str, end: Option<fifo::End>) -> HandleId {
        *self.owners.entry(owner).or_insert(0) += 1;
        self.inode_mut(ino).opens += 1;
        let handle = Some(Handle { owner, ino, path: Rc::from(path), end });
        let id = match self.handles_free.pop() {
            Some(index) => {
                let slot = &mut self.handles[index as usize];
                slot.handle = handle;
                HandleId { index, generation: slot.generation }
            }
            None => {
                self.handles.push(Slot { generation: 0, handle });
                HandleId { index: self.handles.len() as u32 - 1, generation: 0 }
            }
        };
        self.record(Change::Open, id.index, &u64::from(ino).to_le_bytes());
        id
    }

    fn handle(&self, id: HandleId) -> Option<&Handle> {
        let slot = self.handles.get(id.index as usize)?;
        if slot.generation == id.generation { slot.handle.as_ref() } else { None }
    }

    fn handle_mut(&mut self, id: HandleId) -> Option<&mut Handle> {
        let slot = self.handles.get_mut(id.index as usize)?;
        if slot.generation == id.generation { slot.handle.as_mut() } else { None }
    }

    /// Closes a handle of either kind. Returns whether there was one.
    fn release(&mut self, id: HandleId) -> bool {
        if self.handle(id).is_none() {
            return false;
        }
        let slot = &mut self.handles[id.index as usize];
        let Some(handle) = slot.handle.take() else {
            return false;
        };
        slot.generation = slot.generation.wrapping_add(1);
        self.handles_free.push(id.index);
        if let Some(count) = self.owners.get_mut(&handle.owner) {
            *count -= 1;
            if *count == 0 {
                self.owners.remove(&handle.owner);
            }
        }
        self.record(Change::Close, id.index, &[]);
        if let Some(end) = &handle.end {
            self.leave_pipe(id, handle.ino, end);
        }
        let inode = self.inode_mut(handle.ino);
        inode.opens -= 1;
        if inode.opens == 0 && inode.parent == NOWHERE {
            self.free(handle.ino);
        }
        true
    }
}

/// What a handle that is gone answers with.
fn already_closed(op: &'static str, id: HandleId) -> FsError {
    FsError { op, path: format!("descriptor {}", id.index), cause: FsCause::Closed }
}
