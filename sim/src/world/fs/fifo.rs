//! Named pipes: ends that wait for each other, one buffer, and who can go on when.
//!
//! An end counts as reader or writer from the moment it begins to open, as on Linux: that is what
//! lets the other side's open complete, and a writer that came and went leaves an end of the
//! stream behind.

use std::hash::{Hash, Hasher};

use shakedown_cri::ports::{Errno, FifoEnd, FsError};

use super::tree::{READ, WRITE};
use super::{Change, FifoId, FileSystem, HandleId, Ino, Node};

/// Bytes a pipe holds.
pub const FIFO_CAPACITY: usize = 64 << 10;
/// A write of at most this many bytes is taken whole or not at all.
pub const PIPE_BUF: usize = 4096;

/// The answer to [`FileSystem::fifo_read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FifoRead {
    /// Not open yet, or open with a writer but no data.
    Blocked,
    /// Everything that was in the pipe; never empty.
    Data(Vec<u8>),
    /// No data, and no writer any more.
    Eof,
    /// The handle was closed, or is not for reading.
    Closed,
}

/// The answer to [`FileSystem::fifo_write`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FifoWrite {
    /// Not open yet, or no room.
    Blocked,
    /// This many bytes were taken, which may be fewer than given.
    Taken(usize),
    /// EPIPE: no reader any more.
    Broken(FsError),
    /// The handle was closed, or is not for writing.
    Closed,
}

/// Why a handle is listed by [`FileSystem::take_fifo_events`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FifoEvent {
    /// Its open, which had blocked, completed.
    Opened,
    /// A read that answered [`FifoRead::Blocked`] would now answer otherwise.
    Readable,
    /// A write that answered [`FifoWrite::Blocked`] would now answer otherwise.
    Writable,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Pipe {
    buffer: Vec<u8>,
    readers: u32,
    writers: u32,
    /// Its handles, in the order in which they began to open.
    ends: Vec<HandleId>,
}

impl Pipe {
    /// Which numbers its descriptors have is nobody's business.
    pub(super) fn hash_state(&self, state: &mut impl Hasher) {
        (&self.buffer, self.readers, self.writers, self.ends.len()).hash(state);
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }
}

/// The pipe's part of a handle.
#[derive(Clone, Debug, Hash)]
pub(super) struct End {
    reads: bool,
    writes: bool,
    pub(super) open: bool,
    read_waits: bool,
    /// The room that a blocked write waits for, in bytes.
    write_waits: Option<usize>,
}

impl FileSystem {
    /// Makes the pipe (mode 0700) unless there is one, and begins to open it. Never blocks: the
    /// handle is there at once, while the open itself may still wait for the other end.
    ///
    /// A path that is something else is refused with EINVAL.
    pub fn open_fifo(&mut self, owner: u32, path: &str, end: FifoEnd) -> Result<FifoId, FsError> {
        match self.find(path) {
            Ok(_) => {}
            Err(Errno::ENOENT) => match self.mkfifo(path, 0o700) {
                // A link to nowhere, which the open stumbles upon.
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(FsError::new("error creating fifo", path, errno)),
            },
            Err(errno) => return Err(FsError::new("stat", path, errno)),
        }
        self.join_fifo(owner, path, end)
    }

    /// Begins to open one end of a pipe that exists.
    pub fn join_fifo(&mut self, owner: u32, path: &str, end: FifoEnd) -> Result<FifoId, FsError> {
        let (reads, writes) = (end == FifoEnd::Read, end == FifoEnd::Write);
        self.enter_pipe(owner, path, reads, writes)
            .map_err(|errno| FsError::new("open", path, errno))
    }

    /// Opens a pipe that exists for reading and writing (O_RDWR), which never waits.
    pub fn open_fifo_both(&mut self, owner: u32, path: &str) -> Result<FifoId, FsError> {
        self.enter_pipe(owner, path, true, true).map_err(|errno| FsError::new("open", path, errno))
    }

    fn enter_pipe(
        &mut self,
        owner: u32,
        path: &str,
        reads: bool,
        writes: bool,
    ) -> Result<FifoId, Errno> {
        self.check_open_max(owner)?;
        let ino = self.find(path)?;
        if !matches!(self.inode(ino).node, Node::Fifo(_)) {
            return Err(Errno::EINVAL);
        }
        if (reads && !self.may(ino, READ)) || (writes && !self.may(ino, WRITE)) {
            return Err(Errno::EACCES);
        }
        let end = End { reads, writes, open: false, read_waits: false, write_waits: None };
        let id = self.acquire(owner, ino, path, Some(end));
        if let Node::Fifo(pipe) = &mut self.inode_mut(ino).node {
            pipe.readers += u32::from(reads);
            pipe.writers += u32::from(writes);
            let met = pipe.readers > 0 && pipe.writers > 0;
            pipe.ends.push(id);
            if met {
                if let Some(end) = self.end_mut(id) {
                    end.open = true;
                }
                self.settle(ino);
            }
        }
        Ok(FifoId(id))
    }

    /// Whether the open has completed; false for a handle that was closed.
    pub fn fifo_is_open(&self, id: FifoId) -> bool {
        self.end(id.0).is_some_and(|(_, end)| end.open)
    }

    pub fn fifo_read(&mut self, id: FifoId) -> FifoRead {
        let Some((ino, end)) = self.end(id.0) else {
            return FifoRead::Closed;
        };
        if !end.reads {
            return FifoRead::Closed;
        }
        let open = end.open;
        let Node::Fifo(pipe) = &mut self.inode_mut(ino).node else {
            return FifoRead::Closed;
        };
        if !open || (pipe.buffer.is_empty() && pipe.writers > 0) {
            if let Some(end) = self.end_mut(id.0) {
                end.read_waits = true;
            }
            return FifoRead::Blocked;
        }
        if pipe.buffer.is_empty() {
            return FifoRead::Eof;
        }
        let data = std::mem::take(&mut pipe.buffer);
        self.record(Change::FifoRead, ino, &(data.len() as u64).to_le_bytes());
        self.settle(ino);
        FifoRead::Data(data)
    }

    /// One write(2): at most [`PIPE_BUF`] bytes go in whole, of more as many as there is room for.
    pub fn fifo_write(&mut self, id: FifoId, data: &[u8]) -> FifoWrite {
        let Some((ino, end)) = self.end(id.0) else {
            return FifoWrite::Closed;
        };
        if !end.writes {
            return FifoWrite::Closed;
        }
        let open = end.open;
        let Node::Fifo(pipe) = &mut self.inode_mut(ino).node else {
            return FifoWrite::Closed;
        };
        // The kernel looks at nothing else when there is nothing to write.
        if open && data.is_empty() {
            return FifoWrite::Taken(0);
        }
        if open && pipe.readers == 0 {
            let path = self.handle(id.0).map_or("", |handle| &*handle.path);
            return FifoWrite::Broken(FsError::new("write", path, Errno::EPIPE));
        }
        let room = FIFO_CAPACITY - pipe.buffer.len();
        let needed = if data.len() > PIPE_BUF { 1 } else { data.len() };
        if !open || room < needed {
            if let Some(end) = self.end_mut(id.0) {
                end.write_waits = Some(needed);
            }
            return FifoWrite::Blocked;
        }
        let taken = data.len().min(room);
        pipe.buffer.extend_from_slice(&data[..taken]);
        self.record(Change::FifoWrite, ino, &data[..taken]);
        self.settle(ino);
        FifoWrite::Taken(taken)
    }

    /// Closes a handle, open or still opening. What waited on it is listed once more and then finds
    /// it closed. Idempotent. When a pipe's last end goes, so do the bytes in it.
    pub fn fifo_close(&mut self, id: FifoId) {
        if self.end(id.0).is_some() {
            self.release(id.0);
        }
    }

    /// Who can go on since the last call: each handle that was `Blocked`, once, in the order of
    /// the changes, and within one change by when the handles began to open.
    pub fn take_fifo_events(&mut self) -> Vec<(FifoId, FifoEvent)> {
        std::mem::take(&mut self.fifo_events)
    }

    fn end(&self, id: HandleId) -> Option<(Ino, &End)> {
        let handle = self.handle(id)?;
        handle.end.as_ref().map(|end| (handle.ino, end))
    }

    fn end_mut(&mut self, id: HandleId) -> Option<&mut End> {
        self.handle_mut(id)?.end.as_mut()
    }

    /// Takes a closed handle out of its pipe.
    pub(super) fn leave_pipe(&mut self, id: HandleId, ino: Ino, end: &End) {
        if end.read_waits {
            self.fifo_events.push((FifoId(id), FifoEvent::Readable));
        }
        if end.write_waits.is_some() {
            self.fifo_events.push((FifoId(id), FifoEvent::Writable));
        }
        let Node::Fifo(pipe) = &mut self.inode_mut(ino).node else {
            return;
        };
        pipe.ends.retain(|&other| other != id);
        pipe.readers -= u32::from(end.reads);
        pipe.writers -= u32::from(end.writes);
        if pipe.ends.is_empty() {
            pipe.buffer = Vec::new();
        } else {
            self.settle(ino);
        }
    }

    /// Completes opens and lists those whose wait is over.
    fn settle(&mut self, ino: Ino) {
        let FileSystem { inodes, handles, fifo_events, .. } = self;
        let Node::Fifo(pipe) = &inodes[ino as usize].node else {
            return;
        };
        let room = FIFO_CAPACITY - pipe.buffer.len();
        for &id in &pipe.ends {
            let handle = handles[id.index as usize].handle.as_mut();
            let Some(end) = handle.and_then(|handle| handle.end.as_mut()) else {
                continue;
            };
            if !end.open && pipe.readers > 0 && pipe.writers > 0 {
                end.open = true;
                fifo_events.push((FifoId(id), FifoEvent::Opened));
            }
            if !end.open {
                continue;
            }
            if end.read_waits && (!pipe.buffer.is_empty() || pipe.writers == 0) {
                end.read_waits = false;
                fifo_events.push((FifoId(id), FifoEvent::Readable));
            }
            if end.write_waits.is_some_and(|needed| needed <= room || pipe.readers == 0) {
                end.write_waits = None;
                fifo_events.push((FifoId(id), FifoEvent::Writable));
            }
        }
    }
}
