//! Names: resolving paths, making, renaming and removing entries, mounts, listings.

use std::rc::Rc;

use shakedown_cri::ports::{DirEntry, Errno, FsError};

use super::{
    Change, Device, Directory, FileKind, FileSystem, Ino, Inode, LINKS_MAX, Metadata, NAME_MAX,
    NOWHERE, Node, PATH_MAX, ROOT, WalkEntry, fifo,
};

pub(super) const READ: u32 = 0o400;
pub(super) const WRITE: u32 = 0o200;
const SEARCH: u32 = 0o100;
/// Directories whose paths are remembered.
const RESOLVED_MAX: usize = 16;

/// The last component of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last<'p> {
    Name(&'p str),
    Dot,
    DotDot,
    Root,
}

/// A path whose leading components are resolved.
pub(super) struct Lookup<'p> {
    pub parent: Ino,
    pub last: Last<'p>,
    /// The last component as `parent` has it, not what is mounted on it.
    pub entry: Option<Ino>,
    /// The path ends in a slash, so only a directory will do.
    pub slash: bool,
    /// Symbolic links that were followed so far.
    pub links: u32,
}

impl<'p> Lookup<'p> {
    pub fn name(&self) -> Option<&'p str> {
        match self.last {
            Last::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// `parent/name` as Go joins them for temporary names.
pub(super) fn join(parent: &str, name: &str) -> String {
    let mut path = String::with_capacity(parent.len() + 1 + name.len() + 20);
    path.push_str(parent);
    if !parent.ends_with('/') {
        path.push('/');
    }
    path.push_str(name);
    path
}

fn push_decimal(text: &mut String, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend(digits[at..].iter().map(|&digit| char::from(digit)));
}

/// The entries of a directory, by name.
type Names = Vec<(Rc<str>, Ino)>;

/// A directory that [`FileSystem::remove_tree`] is in.
struct Frame {
    parent: Ino,
    name: Rc<str>,
    entry: Ino,
    /// What is still to be removed from it.
    names: <Names as IntoIterator>::IntoIter,
}

/// The state of one [`FileSystem::remove_tree`]. A stack of its own, because renames can nest
/// directories deeper than any path is long.
struct Removal<'p> {
    parent_path: &'p str,
    stack: Vec<Frame>,
    /// The first one.
    failure: Option<FsError>,
}

impl Removal<'_> {
    fn fail(&mut self, op: &'static str, name: &str, errno: Errno) {
        if self.failure.is_some() {
            return;
        }
        let mut path = self.parent_path.to_owned();
        for part in self.stack.iter().map(|frame| &*frame.name).chain([name]) {
            path.push('/');
            path.push_str(part);
        }
        self.failure = Some(FsError::new(op, path, errno));
    }
}

impl FileSystem {
    /// mkdir -p of a path as Go's `filepath.Join` cleans it. An error names the component that could
    /// not be made.
    pub fn make_dir_all(&mut self, path: &str, mode: u32) -> Result<(), FsError> {
        // Most often only the last component is missing.
        if let Ok(Lookup { parent, last: Last::Name(name), entry: None, slash: false, .. }) =
            self.lookup(path)
        {
            let made = self.insert(parent, name, mode, Node::Directory(Directory::default()));
            return made.map(drop).map_err(|errno| FsError::new("mkdir", path, errno));
        }
        if let Ok(ino) = self.find(path) {
            return match self.kind(ino) {
                FileKind::Directory => Ok(()),
                _ => Err(FsError::new("mkdir", path, Errno::ENOTDIR)),
            };
        }
        check_path(path).map_err(|errno| FsError::new("mkdir", path, errno))?;
        let (mut at, mut end, mut links) = (ROOT, 0, 0);
        for name in names(path) {
            let start = end;
            end = start + name.len() + 1;
            if name.is_empty() {
                continue;
            }
            at = self
                .make_component(at, name, mode, &mut links)
                .map_err(|errno| FsError::new("mkdir", &path[..end - 1], errno))?;
        }
        Ok(())
    }

    fn make_component(
        &mut self,
        at: Ino,
        name: &str,
        mode: u32,
        links: &mut u32,
    ) -> Result<Ino, Errno> {
        let Some(entry) = self.child(at, name)? else {
            return self.insert(at, name, mode, Node::Directory(Directory::default()));
        };
        match self.follow(at, self.top(entry), links) {
            Ok(ino) if self.kind(ino) == FileKind::Directory => Ok(ino),
            Ok(_) => Err(Errno::ENOTDIR),
            // Go, which cannot see what is there, tries to make it.
            Err(_) => Err(Errno::EEXIST),
        }
    }

    pub fn make_dir(&mut self, path: &str, mode: u32) -> Result<(), FsError> {
        self.mkdir(path, mode).map_err(|errno| FsError::new("mkdir", path, errno))
    }

    fn mkdir(&mut self, path: &str, mode: u32) -> Result<(), Errno> {
        let lookup = self.lookup(path)?;
        match (lookup.entry, lookup.name()) {
            (None, Some(name)) => {
                let node = Node::Directory(Directory::default());
                self.insert(lookup.parent, name, mode, node)?;
                Ok(())
            }
            _ => Err(Errno::EEXIST),
        }
    }

    /// A directory `parent/⟨number⟩` of mode 0700. Returns its path.
    pub fn make_temp_dir(&mut self, parent: &str) -> Result<String, FsError> {
        loop {
            let path = self.temp_name(parent, "");
            match self.mkdir(&path, 0o700) {
                Ok(()) => return Ok(path),
                Err(Errno::EEXIST) => {}
                Err(Errno::ENOENT) => return Err(FsError::new("stat", parent, Errno::ENOENT)),
                Err(errno) => return Err(FsError::new("mkdir", path, errno)),
            }
        }
    }

    /// The next name that ends in a number; the caller tries again when it is taken.
    pub(in crate::world) fn temp_name(&mut self, parent: &str, prefix: &str) -> String {
        self.temp_names += 1;
        let mut path = join(parent, prefix);
        push_decimal(&mut path, self.temp_names);
        path
    }

    /// mkfifo; an existing path is EEXIST.
    pub fn make_fifo(&mut self, path: &str, mode: u32) -> Result<(), FsError> {
        self.mkfifo(path, mode).map_err(|errno| FsError::new("mkfifo", path, errno))
    }

    pub(super) fn mkfifo(&mut self, path: &str, mode: u32) -> Result<(), Errno> {
        let lookup = self.lookup(path)?;
        match (lookup.entry, lookup.name()) {
            (None, Some(_)) if lookup.slash => Err(Errno::ENOENT),
            (None, Some(name)) => {
                self.insert(lookup.parent, name, mode, Node::Fifo(fifo::Pipe::default()))?;
                Ok(())
            }
            _ => Err(Errno::EEXIST),
        }
    }

    /// symlink(2). The error's path is `target path`.
    pub fn make_symlink(&mut self, target: &str, path: &str) -> Result<(), FsError> {
        self.symlink(target, path)
            .map_err(|errno| FsError::new("symlink", format!("{target} {path}"), errno))
    }

    fn symlink(&mut self, target: &str, path: &str) -> Result<(), Errno> {
        check_path(target)?;
        let lookup = self.lookup(path)?;
        match (lookup.entry, lookup.name()) {
            (None, Some(_)) if lookup.slash => Err(Errno::ENOENT),
            (None, Some(name)) => {
                self.insert(lookup.parent, name, 0o777, Node::Symlink(Rc::from(target)))?;
                Ok(())
            }
            _ => Err(Errno::EEXIST),
        }
    }

    /// readlink(2).
    pub fn read_link(&self, path: &str) -> Result<&str, FsError> {
        let fail = |errno| FsError::new("readlink", path, errno);
        let lookup = self.lookup(path).map_err(fail)?;
        let ino = if lookup.slash {
            self.find(path).map_err(fail)?
        } else {
            lookup.entry.ok_or_else(|| fail(Errno::ENOENT))?
        };
        match &self.inode(ino).node {
            Node::Symlink(target) => Ok(target),
            _ => Err(fail(Errno::EINVAL)),
        }
    }

    pub fn set_mode(&mut self, path: &str, mode: u32) -> Result<(), FsError> {
        self.chmod(path, mode).map_err(|errno| FsError::new("chmod", path, errno))
    }

    fn chmod(&mut self, path: &str, mode: u32) -> Result<(), Errno> {
        let ino = self.find(path)?;
        self.check_writable(ino)?;
        let mode = mode & 0o7777;
        if self.kind(ino) == FileKind::Directory {
            self.forget_resolved();
        }
        let before = std::mem::replace(&mut self.inode_mut(ino).mode, mode);
        self.begin_mode(ino, before);
        self.record(Change::Mode, ino, &mode.to_le_bytes());
        Ok(())
    }

    /// open(2) and fsync(2) of a directory: the changes of its entries are durable afterwards. Takes
    /// a descriptor of `owner` for the time of the call.
    pub fn sync_dir(&mut self, owner: u32, path: &str) -> Result<(), FsError> {
        let found = self.check_open_max(owner).and_then(|()| self.find(path));
        let opened = found.and_then(|ino| match self.kind(ino) {
            FileKind::Directory if self.may(ino, READ) => Ok(ino),
            FileKind::Directory => Err(Errno::EACCES),
            _ => Err(Errno::ENOTDIR),
        });
        match opened {
            Ok(ino) => {
                self.make_durable(ino);
                Ok(())
            }
            Err(errno) => Err(FsError::new("open", path, errno)),
        }
    }

    /// rename(2). The error's path is `from to`.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), FsError> {
        self.move_entry(from, to).map_err(|errno| {
            let mut both = String::with_capacity(from.len() + 1 + to.len());
            both.push_str(from);
            both.push(' ');
            both.push_str(to);
            FsError::new("rename", both, errno)
        })
    }

    fn move_entry(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        let mut old = self.locate(from)?;
        let mut new = self.locate(to)?;
        let (Some(old_name), Some(new_name)) = (old.name(), new.name()) else {
            return Err(Errno::EBUSY);
        };
        self.check_writable(old.parent)?;
        self.check_writable(new.parent)?;
        old.entry = self.entry(&old)?;
        let source = old.entry.ok_or(Errno::ENOENT)?;
        new.entry = self.entry(&new)?;
        let is_dir = self.kind(source) == FileKind::Directory;
        if !is_dir && (old.slash || new.slash) {
            return Err(Errno::ENOTDIR);
        }
        if self.is_at_or_below(new.parent, source) {
            return Err(Errno::EINVAL);
        }
        if new.entry.is_some_and(|target| self.is_at_or_below(old.parent, target)) {
            return Err(Errno::ENOTEMPTY);
        }
        if new.entry == Some(source) {
            return Ok(());
        }
        if self.inode(old.parent).device != self.inode(new.parent).device {
            return Err(Errno::EXDEV);
        }
        self.check_entry_change(old.parent, source)?;
        match new.entry {
            Some(target) => {
                self.check_entry_change(new.parent, target)?;
                match (is_dir, self.kind(target) == FileKind::Directory) {
                    (true, false) => return Err(Errno::ENOTDIR),
                    (false, true) => return Err(Errno::EISDIR),
                    _ => {}
                }
            }
            None if !self.may(new.parent, WRITE) => return Err(Errno::EACCES),
            None => {}
        }
        // A directory that moves gets another `..`, which is a change of its own.
        if is_dir && old.parent != new.parent && !self.may(source, WRITE) {
            return Err(Errno::EACCES);
        }
        if self.is_mount_point(source) || new.entry.is_some_and(|ino| self.is_mount_point(ino)) {
            return Err(Errno::EBUSY);
        }
        if new.entry.is_some_and(|target| !self.is_empty(target)) {
            return Err(Errno::ENOTEMPTY);
        }

        if is_dir {
            self.forget_resolved();
        }
        self.record(Change::Rename, old.parent, old_name.as_bytes());
        self.record(Change::Rename, new.parent, new_name.as_bytes());
        self.begin_rename(&old, &new, source);
        if let Some(target) = new.entry {
            self.detach(new.parent, new_name);
            self.orphan(target);
        }
        self.detach(old.parent, old_name);
        self.attach(new.parent, Rc::from(new_name), source);
        Ok(())
    }

    /// unlink(2): anything but a directory.
    pub fn remove_file(&mut self, path: &str) -> Result<(), FsError> {
        self.unlink(path).map_err(|errno| FsError::new("remove", path, errno))
    }

    fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        let lookup = self.lookup(path)?;
        let Some(name) = lookup.name() else {
            return Err(Errno::EISDIR);
        };
        self.check_writable(lookup.parent)?;
        let entry = lookup.entry.ok_or(Errno::ENOENT)?;
        let is_dir = self.kind(entry) == FileKind::Directory;
        if lookup.slash {
            return Err(if is_dir { Errno::EISDIR } else { Errno::ENOTDIR });
        }
        self.check_entry_change(lookup.parent, entry)?;
        if is_dir {
            return Err(Errno::EISDIR);
        }
        self.remove_entry(lookup.parent, name, entry);
        Ok(())
    }

    /// rmdir(2): an empty directory.
    pub fn remove_dir(&mut self, path: &str) -> Result<(), FsError> {
        self.rmdir(path).map_err(|errno| FsError::new("remove", path, errno))
    }

    fn rmdir(&mut self, path: &str) -> Result<(), Errno> {
        let lookup = self.lookup(path)?;
        let name = match lookup.last {
            Last::Name(name) => name,
            Last::Dot => return Err(Errno::EINVAL),
            Last::DotDot => return Err(Errno::ENOTEMPTY),
            Last::Root => return Err(Errno::EBUSY),
        };
        self.check_writable(lookup.parent)?;
        let entry = lookup.entry.ok_or(Errno::ENOENT)?;
        self.rmdir_entry(lookup.parent, name, entry)
    }

    fn rmdir_entry(&mut self, parent: Ino, name: &str, entry: Ino) -> Result<(), Errno> {
        self.check_entry_change(parent, entry)?;
        if self.kind(entry) != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        if self.is_mount_point(entry) {
            return Err(Errno::EBUSY);
        }
        if !self.is_empty(entry) {
            return Err(Errno::ENOTEMPTY);
        }
        self.remove_entry(parent, name, entry);
        Ok(())
    }

    /// What is in a directory, ordered by name. Takes a descriptor of `owner` for the time of the call.
    pub fn read_dir(&self, owner: u32, path: &str) -> Result<Vec<DirEntry>, FsError> {
        let listed = self.check_open_max(owner).and_then(|()| self.list(path));
        listed.map_err(|errno| FsError::new("open", path, errno))
    }

    fn list(&self, path: &str) -> Result<Vec<DirEntry>, Errno> {
        let ino = self.find(path)?;
        let dir = self.dir(ino).ok_or(Errno::ENOTDIR)?;
        if !self.may(ino, READ) {
            return Err(Errno::EACCES);
        }
        let entries = dir.entries.iter().map(|(name, entry)| DirEntry {
            name: name.to_string(),
            is_dir: self.kind(*entry) == FileKind::Directory,
        });
        Ok(entries.collect())
    }

    /// Removes what it can of a path and everything below it, and answers with the first failure,
    /// which names the entry that stays. A path that does not exist is fine. What is mounted below
    /// is emptied, and its mount point refused with EBUSY. A path that ends in `.` or `..` is refused
    /// with EINVAL.
    pub fn remove_tree(&mut self, path: &str) -> Result<(), FsError> {
        let trimmed = match path.trim_end_matches('/') {
            "" if !path.is_empty() => "/",
            trimmed => trimmed,
        };
        if matches!(trimmed.rsplit('/').next(), Some("." | "..")) {
            return Err(FsError::new("RemoveAll", path, Errno::EINVAL));
        }
        let lookup = match self.lookup(trimmed) {
            Ok(lookup) => lookup,
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => {
                // Go opens the parent first: a failure there is one of `open`.
                let parent = trimmed.rfind('/').map_or("/", |slash| &trimmed[..slash.max(1)]);
                return match self.find(parent) {
                    Ok(ino) if self.may(ino, READ) => Err(FsError::new("unlinkat", trimmed, errno)),
                    Ok(_) => Err(FsError::new("open", parent, Errno::EACCES)),
                    Err(errno) => Err(FsError::new("open", parent, errno)),
                };
            }
        };
        let name = match lookup.last {
            Last::Name(name) => name,
            Last::Dot | Last::DotDot | Last::Root => {
                return Err(FsError::new("unlinkat", "/", Errno::EBUSY));
            }
        };
        let Some(entry) = lookup.entry else {
            return Ok(());
        };
        let parent_path = &trimmed[..trimmed.len() - name.len()];
        let parent_path = parent_path.trim_end_matches('/');
        let removed = match self.kind(entry) {
            FileKind::Directory => self.rmdir_entry(lookup.parent, name, entry),
            _ => (self.check_entry_change(lookup.parent, entry))
                .map(|()| self.remove_entry(lookup.parent, name, entry)),
        };
        if removed.is_ok() {
            return Ok(());
        }
        if !self.may(lookup.parent, READ) {
            let parent = if parent_path.is_empty() { "/" } else { parent_path };
            return Err(FsError::new("open", parent, Errno::EACCES));
        }
        self.remove_below(parent_path, lookup.parent, Rc::from(name), entry)
    }

    fn remove_below(
        &mut self,
        parent_path: &str,
        parent: Ino,
        name: Rc<str>,
        entry: Ino,
    ) -> Result<(), FsError> {
        let mut removal = Removal { parent_path, stack: Vec::new(), failure: None };
        self.remove_or_enter(&mut removal, parent, name, entry);
        while let Some(frame) = removal.stack.last_mut() {
            let dir = frame.entry;
            if let Some((name, entry)) = frame.names.next() {
                self.remove_or_enter(&mut removal, self.top(dir), name, entry);
            } else if let Some(frame) = removal.stack.pop()
                && let Err(errno) = self.rmdir_entry(frame.parent, &frame.name, frame.entry)
            {
                removal.fail("unlinkat", &frame.name, errno);
            }
        }
        removal.failure.map_or(Ok(()), Err)
    }

    fn remove_or_enter(
        &mut self,
        removal: &mut Removal<'_>,
        parent: Ino,
        name: Rc<str>,
        entry: Ino,
    ) {
        match self.unlink_or_list(parent, &name, entry) {
            Ok(names) if names.is_empty() => {}
            Ok(names) => {
                let names = names.into_iter();
                removal.stack.push(Frame { name, parent, entry, names });
            }
            Err((op, errno)) => removal.fail(op, &name, errno),
        }
    }

    /// Removes an entry, or lists a directory that has to be emptied first. The list is empty if
    /// the entry is gone.
    fn unlink_or_list(
        &mut self,
        parent: Ino,
        name: &str,
        entry: Ino,
    ) -> Result<Names, (&'static str, Errno)> {
        if !self.may(parent, SEARCH) {
            return Err(("fstatat", Errno::EACCES));
        }
        self.check_writable(parent).map_err(|errno| ("unlinkat", errno))?;
        if self.kind(entry) != FileKind::Directory {
            self.check_entry_change(parent, entry).map_err(|errno| ("unlinkat", errno))?;
            self.remove_entry(parent, name, entry);
            return Ok(Vec::new());
        }
        let Err(errno) = self.rmdir_entry(parent, name, entry) else {
            return Ok(Vec::new());
        };
        let top = self.top(entry);
        match self.dir(top) {
            Some(dir) if !dir.entries.is_empty() => {
                if !self.may(top, READ) {
                    return Err(("openfdat", Errno::EACCES));
                }
                Ok(dir.entries.iter().map(|(name, &ino)| (name.clone(), ino)).collect())
            }
            _ => Err(("unlinkat", errno)),
        }
    }

    /// Mounts a fresh, empty filesystem on a directory. It shares the limits of this one.
    pub fn mount(&mut self, path: &str, mode: u32) -> Result<(), FsError> {
        self.cover(path, mode).map_err(|errno| FsError::new("mount", path, errno))
    }

    fn cover(&mut self, path: &str, mode: u32) -> Result<(), Errno> {
        let ino = self.find(path)?;
        if self.kind(ino) != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        if ino == ROOT {
            return Err(Errno::EBUSY);
        }
        let parent = self.inode(ino).parent;
        let node = Node::Directory(Directory::default());
        let mounted = self.allocate(parent, mode, node)?;
        self.inode_mut(mounted).device = self.new_device();
        if let Node::Directory(dir) = &mut self.inode_mut(ino).node {
            dir.mount = Some(mounted);
        }
        self.mounts += 1;
        self.forget_resolved();
        self.record(Change::Mount, ino, &mode.to_le_bytes());
        Ok(())
    }

    /// Makes an empty directory the root of a file system in memory (tmpfs). It shares the limits of
    /// this one; nothing in it outlives a power loss.
    pub fn set_volatile(&mut self, path: &str) -> Result<(), FsError> {
        let ino = self.find(path).map_err(|errno| FsError::new("mount", path, errno))?;
        if self.kind(ino) != FileKind::Directory {
            return Err(FsError::new("mount", path, Errno::ENOTDIR));
        }
        if ino == ROOT || !self.is_empty(ino) {
            return Err(FsError::new("mount", path, Errno::EBUSY));
        }
        self.inode_mut(ino).device = self.new_device();
        self.record(Change::Mount, ino, &[]);
        Ok(())
    }

    fn new_device(&mut self) -> Device {
        self.devices += 1;
        self.devices
    }

    /// Lazily unmounts the uppermost mount on a path; descriptors into it live on. A path that is
    /// no mount point is fine, as containerd's helper ignores that EINVAL.
    pub fn unmount(&mut self, path: &str) -> Result<(), FsError> {
        let entry = self.lookup(path).and_then(|lookup| lookup.entry.ok_or(Errno::ENOENT));
        match entry {
            Ok(entry) => {
                self.uncover(entry);
                Ok(())
            }
            Err(errno) => Err(FsError::new("unmount", path, errno)),
        }
    }

    /// Unmounts everything at and below a path. Without effect where there is nothing.
    pub fn unmount_all(&mut self, path: &str) -> Result<(), FsError> {
        if self.mounts == 0 {
            return Ok(());
        }
        let Some(entry) = self.lookup(path).ok().and_then(|lookup| lookup.entry) else {
            return Ok(());
        };
        let mut pending = vec![entry];
        while let Some(ino) = pending.pop() {
            while self.uncover(ino) {}
            if let Some(dir) = self.dir(ino) {
                pending.extend(dir.entries.values().rev());
            }
        }
        Ok(())
    }

    /// Takes the uppermost mount off an entry. Returns whether there was one.
    pub(super) fn uncover(&mut self, entry: Ino) -> bool {
        let mut covered = entry;
        let mut mounted = None;
        while let Some(next) = self.dir(mounted.unwrap_or(entry)).and_then(|dir| dir.mount) {
            covered = mounted.unwrap_or(entry);
            mounted = Some(next);
        }
        let Some(mounted) = mounted else { return false };
        if let Node::Directory(dir) = &mut self.inode_mut(covered).node {
            dir.mount = None;
        }
        self.mounts -= 1;
        self.forget_resolved();
        self.record(Change::Unmount, covered, &[]);
        self.discard_below(mounted);
        self.orphan(mounted);
        true
    }

    /// Lets go of everything below a directory of a file system that is gone.
    pub(super) fn discard_below(&mut self, root: Ino) {
        let mut pending = vec![root];
        while let Some(ino) = pending.pop() {
            if let Node::Directory(dir) = &mut self.inode_mut(ino).node {
                let dir = std::mem::take(dir);
                pending.extend(dir.entries.values());
                if let Some(inner) = dir.mount {
                    self.mounts -= 1;
                    pending.push(inner);
                }
            }
            if ino != root {
                self.orphan(ino);
            }
        }
    }

    /// Makes a directory and everything below it unchangeable (EROFS), or changeable again. `/` is
    /// the whole filesystem.
    pub fn set_read_only(&mut self, path: &str, read_only: bool) -> Result<(), FsError> {
        let ino = self.find(path).map_err(|errno| FsError::new("mount", path, errno))?;
        let inode = self.inode_mut(ino);
        if inode.read_only != read_only {
            inode.read_only = read_only;
            if read_only {
                self.read_only_marks += 1;
            } else {
                self.read_only_marks -= 1;
            }
            self.record(Change::ReadOnly, ino, &[u8::from(read_only)]);
        }
        Ok(())
    }

    pub fn exists(&self, path: &str) -> bool {
        self.find(path).is_ok()
    }

    pub fn metadata(&self, path: &str) -> Result<Metadata, FsError> {
        let ino = self.find(path).map_err(|errno| FsError::new("stat", path, errno))?;
        Ok(self.describe(ino))
    }

    fn describe(&self, ino: Ino) -> Metadata {
        let inode = self.inode(ino);
        let size = match &inode.node {
            Node::Regular(content) => content.bytes.len(),
            Node::Fifo(pipe) => pipe.len(),
            Node::Symlink(target) => target.len(),
            Node::Directory(_) | Node::Free => 0,
        };
        Metadata { kind: self.kind(ino), mode: inode.mode, size: size as u64 }
    }

    /// `prefix` and everything below it, each directory before its entries, entries by name.
    /// Permissions do not matter here, and links are not followed. Empty if there is no such path.
    pub fn walk(&self, prefix: &str) -> impl Iterator<Item = WalkEntry> {
        let mut pending = Vec::new();
        if let Some(entry) = self.seek(ROOT, prefix, &mut 0) {
            let trimmed = prefix.trim_end_matches('/');
            let path = if trimmed.is_empty() { "/" } else { trimmed };
            pending.push((path.to_owned(), entry));
        }
        std::iter::from_fn(move || {
            let (path, entry) = pending.pop()?;
            let ino = self.top(entry);
            if let Some(dir) = self.dir(ino) {
                let below = dir.entries.iter().rev().map(|(name, &ino)| (join(&path, name), ino));
                pending.extend(below);
            }
            let Metadata { kind, mode, size } = self.describe(ino);
            let target = match &self.inode(ino).node {
                Node::Symlink(target) => Some(target.clone()),
                _ => None,
            };
            Some(WalkEntry { path, kind, mode, size, target, mounted: ino != entry })
        })
    }

    /// The number of mounts on the whole filesystem.
    pub fn mount_count(&self) -> u32 {
        self.mounts
    }

    /// Resolution for reports, which no permission stops: the last component's entry.
    fn seek(&self, from: Ino, path: &str, links: &mut u32) -> Option<Ino> {
        let mut entry = if path.starts_with('/') { ROOT } else { from };
        for name in names(path).filter(|name| !name.is_empty() && *name != ".") {
            let at = self.seek_target(entry, links)?;
            entry = match name {
                ".." => self.inode(at).parent,
                _ => *self.dir(at)?.entries.get(name)?,
            };
        }
        Some(entry)
    }

    /// What an entry is, links followed.
    fn seek_target(&self, entry: Ino, links: &mut u32) -> Option<Ino> {
        let ino = self.top(entry);
        let Node::Symlink(target) = &self.inode(ino).node else {
            return Some(ino);
        };
        *links += 1;
        check_links(*links).ok()?;
        let entry = self.seek(self.inode(ino).parent, target, links)?;
        self.seek_target(entry, links)
    }

    /// What a path names, for reports.
    pub(super) fn seek_file(&self, path: &str) -> Option<Ino> {
        let mut links = 0;
        let entry = self.seek(ROOT, path, &mut links)?;
        self.seek_target(entry, &mut links)
    }

    /// Resolves all of a path, but leaves open whether the last component exists.
    pub(super) fn lookup<'p>(&self, path: &'p str) -> Result<Lookup<'p>, Errno> {
        let mut lookup = self.locate(path)?;
        lookup.entry = self.entry(&lookup)?;
        Ok(lookup)
    }

    /// What the last component names, if it exists.
    pub(super) fn entry(&self, lookup: &Lookup<'_>) -> Result<Option<Ino>, Errno> {
        match lookup.last {
            Last::Name(name) => self.child(lookup.parent, name),
            Last::Dot => self.child(lookup.parent, "."),
            Last::DotDot => self.child(lookup.parent, ".."),
            Last::Root => Ok(Some(ROOT)),
        }
    }

    /// Resolves all components but the last, which is not looked at.
    pub(super) fn locate<'p>(&self, path: &'p str) -> Result<Lookup<'p>, Errno> {
        check_path(path)?;
        self.locate_from(ROOT, path, 0)
    }

    /// As [`FileSystem::locate`], from a directory on, where so many links were followed already.
    pub(super) fn locate_from<'p>(
        &self,
        from: Ino,
        path: &'p str,
        mut links: u32,
    ) -> Result<Lookup<'p>, Errno> {
        check_links(links)?;
        let bytes = path.as_bytes();
        let end = bytes.iter().rposition(|&byte| byte != b'/').map_or(0, |at| at + 1);
        let start = bytes[..end].iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
        let last = match &path[start..end] {
            "" => Last::Root,
            "." => Last::Dot,
            ".." => Last::DotDot,
            name => Last::Name(name),
        };
        let parent = self.directory(from, &path[..start], &mut links)?;
        // Asked before the last component is looked at, and before another path is.
        if last != Last::Root && !self.may(parent, SEARCH) {
            return Err(Errno::EACCES);
        }
        Ok(Lookup { parent, last, entry: None, slash: end < bytes.len(), links })
    }

    /// The directory that a path's leading components name.
    fn directory(&self, from: Ino, path: &str, links: &mut u32) -> Result<Ino, Errno> {
        if path.is_empty() {
            return Ok(from);
        }
        if path.len() == 1 {
            return Ok(ROOT);
        }
        let is_known = from == ROOT || path.starts_with('/');
        if is_known && let Some(ino) = self.resolved_before(path) {
            return Ok(ino);
        }
        let before = *links;
        // Often the directory above is known.
        let above = path[..path.len() - 1].rfind('/').map_or(0, |at| at + 1);
        let (above, name) = path.split_at(above);
        let above = if is_known && name != "/" { self.resolved_before(above) } else { None };
        let at = match above {
            Some(above) => self.resolve(above, name, links)?,
            None => self.resolve(from, path, links)?,
        };
        if self.kind(at) != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        // A path with `..` or links leads through directories that are not above its end.
        if is_known && *links == before && !names(path).any(|name| name == "..") {
            let mut resolved = self.resolved.borrow_mut();
            resolved.truncate(RESOLVED_MAX - 1);
            resolved.insert(0, (Rc::from(path), at));
        }
        Ok(at)
    }

    fn resolved_before(&self, path: &str) -> Option<Ino> {
        let resolved = self.resolved.borrow();
        resolved.iter().find(|(known, _)| **known == *path).map(|(_, ino)| *ino)
    }

    /// What a path names, from a directory on, links and mounts followed.
    fn resolve(&self, from: Ino, path: &str, links: &mut u32) -> Result<Ino, Errno> {
        let mut at = if path.starts_with('/') { ROOT } else { from };
        for name in names(path).filter(|name| !name.is_empty()) {
            let entry = self.child(at, name)?.ok_or(Errno::ENOENT)?;
            at = self.follow(at, self.top(entry), links)?;
        }
        if path.ends_with('/') && self.kind(at) != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        Ok(at)
    }

    /// Where an entry of the directory `parent` leads if it is a link; else the entry.
    fn follow(&self, parent: Ino, ino: Ino, links: &mut u32) -> Result<Ino, Errno> {
        let Node::Symlink(target) = &self.inode(ino).node else {
            return Ok(ino);
        };
        *links += 1;
        check_links(*links)?;
        self.resolve(parent, target, links)
    }

    /// To be called when what paths lead through may have changed below a directory.
    pub(super) fn forget_resolved(&mut self) {
        self.resolved.get_mut().clear();
    }

    /// What a path names, links and mounts followed.
    pub(super) fn find(&self, path: &str) -> Result<Ino, Errno> {
        let mut lookup = self.lookup(path)?;
        let entry = self.top(lookup.entry.ok_or(Errno::ENOENT)?);
        let ino = self.follow(lookup.parent, entry, &mut lookup.links)?;
        if lookup.slash && self.kind(ino) != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        Ok(ino)
    }

    /// Looks one component up in `at`.
    fn child(&self, at: Ino, name: &str) -> Result<Option<Ino>, Errno> {
        let dir = self.dir(at).ok_or(Errno::ENOTDIR)?;
        if !self.may(at, SEARCH) {
            return Err(Errno::EACCES);
        }
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        Ok(match name {
            "." => Some(at),
            ".." => Some(self.inode(at).parent),
            _ => dir.entries.get(name).copied(),
        })
    }

    pub(super) fn dir(&self, ino: Ino) -> Option<&Directory> {
        match &self.inode(ino).node {
            Node::Directory(dir) => Some(dir),
            _ => None,
        }
    }

    /// The uppermost of what is mounted on an inode, or the inode.
    fn top(&self, mut ino: Ino) -> Ino {
        while let Some(mounted) = self.dir(ino).and_then(|dir| dir.mount) {
            ino = mounted;
        }
        ino
    }

    pub(super) fn is_mount_point(&self, ino: Ino) -> bool {
        let inode = self.inode(ino);
        inode.device != self.inode(inode.parent).device
            || self.dir(ino).is_some_and(|dir| dir.mount.is_some())
    }

    fn is_empty(&self, ino: Ino) -> bool {
        self.dir(ino).is_none_or(|dir| dir.entries.is_empty())
    }

    fn is_at_or_below(&self, mut ino: Ino, ancestor: Ino) -> bool {
        loop {
            if ino == ancestor {
                return true;
            }
            if ino == ROOT || ino == NOWHERE {
                return false;
            }
            ino = self.inode(ino).parent;
        }
    }

    pub(super) fn may(&self, ino: Ino, bit: u32) -> bool {
        self.inode(ino).mode & bit != 0
    }

    /// EROFS if a read-only mark is at or above the inode.
    pub(super) fn check_writable(&self, mut ino: Ino) -> Result<(), Errno> {
        if self.read_only_marks == 0 {
            return Ok(());
        }
        loop {
            let inode = self.inode(ino);
            if inode.read_only {
                return Err(Errno::EROFS);
            }
            if ino == ROOT {
                return Ok(());
            }
            // A file without a name still lies on the filesystem.
            ino = if inode.parent == NOWHERE { ROOT } else { inode.parent };
        }
    }

    /// Whether an existing entry may be taken out of, or replaced in, its directory.
    fn check_entry_change(&self, parent: Ino, entry: Ino) -> Result<(), Errno> {
        self.check_writable(entry)?;
        if self.may(parent, WRITE) { Ok(()) } else { Err(Errno::EACCES) }
    }

    /// Makes an entry that does not exist yet.
    pub(super) fn insert(
        &mut self,
        parent: Ino,
        name: &str,
        mode: u32,
        node: Node,
    ) -> Result<Ino, Errno> {
        self.check_writable(parent)?;
        if !self.may(parent, WRITE) {
            return Err(Errno::EACCES);
        }
        let ino = self.allocate(parent, mode, node)?;
        let kind = self.kind(ino) as u32;
        self.record(Change::Create, parent, name.as_bytes());
        self.record(Change::Mode, ino, &(mode | kind << 16).to_le_bytes());
        let name = Rc::from(name);
        self.begin_insert(parent, &name, ino);
        self.attach(parent, name, ino);
        Ok(ino)
    }

    /// Inodes that take room.
    fn inode_count(&self) -> usize {
        self.inodes.len() - self.inodes_free.len() - self.limbo as usize
    }

    fn allocate(&mut self, parent: Ino, mode: u32, node: Node) -> Result<Ino, Errno> {
        if self.inode_count() >= self.limits.inodes_max as usize {
            return Err(Errno::ENOSPC);
        }
        let inode = Inode {
            parent,
            mode: mode & 0o7777,
            opens: 0,
            pins: 0,
            limbo: false,
            device: self.inode(parent).device,
            read_only: false,
            node,
        };
        Ok(match self.inodes_free.pop() {
            Some(ino) => {
                *self.inode_mut(ino) = inode;
                ino
            }
            None => {
                self.inodes.push(inode);
                self.inodes.len() as Ino - 1
            }
        })
    }

    pub(super) fn attach(&mut self, parent: Ino, name: Rc<str>, ino: Ino) {
        self.inode_mut(ino).parent = parent;
        if let Node::Directory(dir) = &mut self.inode_mut(parent).node {
            dir.entries.insert(name, ino);
        }
    }

    pub(super) fn detach(&mut self, parent: Ino, name: &str) {
        if let Node::Directory(dir) = &mut self.inode_mut(parent).node {
            dir.entries.remove(name);
        }
    }

    fn remove_entry(&mut self, parent: Ino, name: &str, entry: Ino) {
        if self.kind(entry) == FileKind::Directory {
            // It is empty, so that nothing was resolved through it.
            self.resolved.get_mut().retain(|&(_, known)| known != entry);
        }
        self.record(Change::Remove, parent, name.as_bytes());
        self.begin_remove(parent, name, entry);
        self.detach(parent, name);
        self.orphan(entry);
    }

    /// The inode lost its name: it goes, or lives on until its last descriptor is closed.
    pub(super) fn orphan(&mut self, ino: Ino) {
        let inode = self.inode_mut(ino);
        inode.parent = NOWHERE;
        if inode.opens == 0 {
            self.free(ino);
        }
    }

    /// Gives the room of an inode back. What a pending operation speaks of is kept aside, as a power
    /// loss may bring it back.
    pub(super) fn free(&mut self, ino: Ino) {
        let inode = self.inode_mut(ino);
        let read_only = std::mem::replace(&mut inode.read_only, false);
        if let Node::Regular(content) = &inode.node {
            self.bytes_used -= content.bytes.len() as u64;
        }
        self.read_only_marks -= u32::from(read_only);
        let inode = self.inode_mut(ino);
        if inode.pins > 0 {
            inode.limbo = true;
            self.limbo += 1;
        } else {
            self.reclaim(ino);
        }
    }
}

/// The components of a path, empty ones included. They are short: looking at each byte is faster than
/// the search that `split` makes for a character.
fn names(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let path = rest?;
        let slash = path.bytes().position(|byte| byte == b'/');
        rest = slash.map(|at| &path[at + 1..]);
        Some(&path[..slash.unwrap_or(path.len())])
    })
}

fn check_links(links: u32) -> Result<(), Errno> {
    if links > LINKS_MAX { Err(Errno::ELOOP) } else { Ok(()) }
}

/// What is refused before any component is looked at.
fn check_path(path: &str) -> Result<(), Errno> {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    if path.len() > PATH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    if path.as_bytes().contains(&0) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}
