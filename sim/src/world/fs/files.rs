//! Regular files and their descriptors.

use shakedown_cri::ports::{Errno, FsError};

use super::tree::{Last, Lookup, READ, WRITE};
use super::{Change, Content, DISK, Fd, FileSystem, HandleId, Ino, Node, already_closed};

impl FileSystem {
    /// A fresh file `parent/prefix⟨number⟩` of mode 0600, opened for writing. Returns it and its
    /// path.
    pub fn create_temp(
        &mut self,
        owner: u32,
        parent: &str,
        prefix: &str,
    ) -> Result<(Fd, String), FsError> {
        loop {
            let path = self.temp_name(parent, prefix);
            match self.open_exclusive(owner, &path) {
                Ok(id) => return Ok((Fd(id), path)),
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(FsError::new("open", path, errno)),
            }
        }
    }

    fn open_exclusive(&mut self, owner: u32, path: &str) -> Result<HandleId, Errno> {
        self.check_open_max(owner)?;
        let lookup = self.lookup(path)?;
        let (None, Last::Name(name)) = (lookup.entry, lookup.last) else {
            return Err(Errno::EEXIST);
        };
        let ino = self.insert(lookup.parent, name, 0o600, Node::Regular(Content::default()))?;
        Ok(self.acquire(owner, ino, path, None))
    }

    /// O_CREAT|O_APPEND|O_WRONLY|O_NONBLOCK. A pipe is refused with ENXIO, as nobody reads it.
    pub fn open_append(&mut self, owner: u32, path: &str, mode: u32) -> Result<Fd, FsError> {
        let opened = self.check_open_max(owner).and_then(|()| self.open_or_create(path, mode));
        match opened {
            Ok(ino) => Ok(Fd(self.acquire(owner, ino, path, None))),
            Err(errno) => Err(FsError::new("open", path, errno)),
        }
    }

    fn open_or_create(&mut self, path: &str, mode: u32) -> Result<Ino, Errno> {
        let lookup = self.locate(path)?;
        self.open_or_create_at(lookup, mode)
    }

    fn open_or_create_at(&mut self, lookup: Lookup<'_>, mode: u32) -> Result<Ino, Errno> {
        // With O_CREAT a trailing slash is refused whether or not there is something.
        if lookup.slash {
            return Err(Errno::EISDIR);
        }
        match (self.entry(&lookup)?, lookup.last) {
            (None, Last::Name(name)) => {
                self.insert(lookup.parent, name, mode, Node::Regular(Content::default()))
            }
            (Some(ino), Last::Name(_)) => match &self.inode(ino).node {
                Node::Regular(_) => {
                    self.check_writable(ino)?;
                    if self.may(ino, WRITE) { Ok(ino) } else { Err(Errno::EACCES) }
                }
                Node::Fifo(_) if self.may(ino, WRITE) => Err(Errno::ENXIO),
                Node::Fifo(_) => Err(Errno::EACCES),
                // What a dangling link points to is made.
                Node::Symlink(target) => {
                    let target = target.clone();
                    let lookup = self.locate_from(lookup.parent, &target, lookup.links + 1)?;
                    self.open_or_create_at(lookup, mode)
                }
                Node::Directory(_) | Node::Free => Err(Errno::EISDIR),
            },
            _ => Err(Errno::EISDIR),
        }
    }

    /// Gives a path exactly this content, as Go's `os.WriteFile` does: made with `mode` if it does
    /// not exist, emptied first if it does. Content that does not fit is cut off, with ENOSPC. That a
    /// file was emptied is durable at once.
    pub fn write_file(&mut self, path: &str, data: &[u8], mode: u32) -> Result<(), FsError> {
        let ino = match self.open_or_create(path, mode) {
            Ok(ino) => ino,
            Err(errno) => return Err(FsError::new("open", path, errno)),
        };
        if let Node::Regular(content) = &mut self.inode_mut(ino).node {
            let emptied = std::mem::take(content);
            self.bytes_used -= emptied.bytes.len() as u64;
            self.record(Change::Truncate, ino, &[]);
            if emptied.durable < emptied.bytes.len() {
                self.end_data(ino);
            }
        }
        match self.append(ino, data) {
            Ok(taken) if taken == data.len() => Ok(()),
            Ok(_) => Err(FsError::new("write", path, Errno::ENOSPC)),
            Err(errno) => Err(FsError::new("write", path, errno)),
        }
    }

    /// One write(2) at the end of the file: takes what there is room for. No room is ENOSPC.
    pub fn write(&mut self, fd: Fd, data: &[u8]) -> Result<usize, FsError> {
        let ino = self.file_ino("write", fd)?;
        self.append(ino, data).map_err(|errno| self.handle_error("write", fd, errno))
    }

    fn append(&mut self, ino: Ino, data: &[u8]) -> Result<usize, Errno> {
        if data.is_empty() {
            return Ok(0);
        }
        self.check_writable(ino)?;
        let room = self.limits.bytes_max.saturating_sub(self.bytes_used);
        if room == 0 {
            return Err(Errno::ENOSPC);
        }
        let taken = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        let Node::Regular(content) = &mut self.inode_mut(ino).node else {
            return Err(Errno::EBADF);
        };
        let was_clean = content.durable == content.bytes.len();
        content.bytes.extend_from_slice(&data[..taken]);
        self.bytes_used += taken as u64;
        if was_clean && self.inode(ino).device == DISK {
            self.begin_data(ino);
        }
        self.record(Change::Write, ino, &data[..taken]);
        Ok(taken)
    }

    /// fsync(2) of a file. See the module `durable` for what it makes durable.
    pub fn sync(&mut self, fd: Fd) -> Result<(), FsError> {
        let ino = self.file_ino("sync", fd)?;
        self.make_durable(ino);
        Ok(())
    }

    /// What an fsync leaves that could not write: the kernel drops what it was to write and takes it
    /// for clean, so that the next fsync of the file succeeds (Rebello et al., "Can Applications
    /// Recover from fsync Failures?", USENIX ATC 2020).
    pub fn sync_failed(&mut self, fd: Fd) -> Result<(), FsError> {
        let ino = self.file_ino("sync", fd)?;
        self.drop_dirty(ino);
        Ok(())
    }

    pub fn close(&mut self, fd: Fd) -> Result<(), FsError> {
        self.file_ino("close", fd)?;
        self.release(fd.0);
        Ok(())
    }

    /// As [`FileSystem::close`], of a file that may be closed already.
    pub fn close_if_open(&mut self, fd: Fd) {
        self.release(fd.0);
    }

    /// The whole content. Takes a descriptor of `owner` for the time of the call. A pipe is refused
    /// with ENXIO.
    pub fn read_file(&self, owner: u32, path: &str) -> Result<Vec<u8>, FsError> {
        let found = self.check_open_max(owner).and_then(|()| self.find(path));
        let ino = match found {
            Ok(ino) if self.may(ino, READ) => ino,
            Ok(_) => return Err(FsError::new("open", path, Errno::EACCES)),
            Err(errno) => return Err(FsError::new("open", path, errno)),
        };
        match &self.inode(ino).node {
            Node::Regular(content) => Ok(content.bytes.clone()),
            Node::Fifo(_) => Err(FsError::new("open", path, Errno::ENXIO)),
            _ => Err(FsError::new("read", path, Errno::EISDIR)),
        }
    }

    /// The content of a regular file, for whoever looks at the node from outside: neither
    /// permissions nor descriptors matter. Nothing if there is no such file.
    pub fn content(&self, path: &str) -> Option<&[u8]> {
        match &self.inode(self.seek_file(path)?).node {
            Node::Regular(content) => Some(&content.bytes),
            _ => None,
        }
    }

    fn file_ino(&self, op: &'static str, fd: Fd) -> Result<Ino, FsError> {
        match self.handle(fd.0) {
            Some(handle) => Ok(handle.ino),
            None => Err(already_closed(op, fd.0)),
        }
    }

    fn handle_error(&self, op: &'static str, fd: Fd, errno: Errno) -> FsError {
        match self.handle(fd.0) {
            Some(handle) => FsError::new(op, &*handle.path, errno),
            None => already_closed(op, fd.0),
        }
    }
}
