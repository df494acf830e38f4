//! The simulated filesystem against a real one: random sequences of calls on both must give the same
//! results, error numbers included, and leave the same tree behind.
//!
//! 10,000 sequences, or as many as `PROPTEST_CASES` says. The kernel is asked as a process without
//! privileges, as which the simulated one answers: started by root, the test's thread becomes
//! another user.
#![expect(clippy::disallowed_methods, reason = "tests are no part of a run")]
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno as Real;
use rustix::process::Uid;
use shakedown::world::fs::{
    Fd, FifoId, FifoRead, FifoWrite, FileKind, FileSystem, Limits, Survival,
};
use shakedown_cri::ports::{Errno, FifoEnd, FsCause, FsError};

const OWNER: u32 = 1;
const SEQUENCES: u32 = 10_000;
/// Whom root becomes: nobody.
const USER: u32 = 65534;
const SLOTS: usize = 3;

/// Directories that nobody may write, above that of the test. None of the names that paths use is in
/// them: a path that left the test's directory, by the `..` of at most one link, goes on by its own.
const FENCE: usize = COMPONENTS_MAX + 1;
const COMPONENTS_MAX: usize = 4;

/// The directory of a sequence, below the fence.
const BELOW: &str = "/s/r/r";

#[derive(Clone, Copy, Debug)]
enum Way {
    Read,
    Write,
    Both,
}

#[derive(Clone, Debug)]
enum Call {
    MakeDir(String, u32),
    MakeDirAll(String),
    Append(String, Vec<u8>),
    WriteFile(String, Vec<u8>),
    ReadFile(String),
    Rename(String, String),
    RemoveFile(String),
    RemoveDir(String),
    RemoveTree(String),
    /// Target, path.
    Symlink(String, String),
    ReadLink(String),
    Chmod(String, u32),
    Stat(String),
    Mkfifo(String, u32),
    SyncDir(String),
    Open(usize, String),
    OpenFifo(usize, String, Way),
    Write(usize, Vec<u8>),
    Read(usize),
    Sync(usize),
    Close(usize),
}

/// Paths over few names, so that calls meet each other's files; with the odd forms that resolution
/// has rules for.
fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        16 => prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec![".", "..", ""]).prop_map(str::to_owned),
    ];
    let long = Just(vec!["a".to_owned(), "n".repeat(256)]);
    let names = prop::collection::vec(name, 1..=COMPONENTS_MAX);
    let names = prop_oneof![60 => names, 1 => long];
    (names, prop::bool::weighted(0.05)).prop_map(|(names, slash)| {
        let path = format!("{}{}", names.join("/"), if slash { "/" } else { "" });
        match path.trim_start_matches('/') {
            "" => ".".to_owned(),
            relative => relative.to_owned(),
        }
    })
}

/// As Go's `filepath.Join` leaves them.
fn clean_path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let names = prop::collection::vec(name, 1..=COMPONENTS_MAX);
    names.prop_map(|names| names.join("/"))
}

/// What links point to; `~` is the directory of the sequence.
fn target() -> impl Strategy<Value = String> {
    let targets =
        ["a", "b", "c", "a/b", "b/c", "a/", ".", "..", "../a", "~", "~/b", "~/a/c", "/no/no"];
    prop::sample::select(targets.to_vec()).prop_map(str::to_owned)
}

fn mode() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![0o755, 0o755, 0o700, 0o644, 0o500, 0o300, 0o600, 0o077, 0o1777])
}

fn call() -> impl Strategy<Value = Call> {
    let data = || prop::collection::vec(any::<u8>(), 0..4);
    let slot = || 0..SLOTS;
    let way = prop::sample::select(vec![Way::Read, Way::Write, Way::Both]);
    prop_oneof![
        6 => (path(), mode()).prop_map(|(path, mode)| Call::MakeDir(path, mode)),
        3 => clean_path().prop_map(Call::MakeDirAll),
        3 => (path(), data()).prop_map(|(path, data)| Call::Append(path, data)),
        2 => (path(), data()).prop_map(|(path, data)| Call::WriteFile(path, data)),
        2 => path().prop_map(Call::ReadFile),
        6 => (path(), path()).prop_map(|(from, to)| Call::Rename(from, to)),
        2 => path().prop_map(Call::RemoveFile),
        2 => path().prop_map(Call::RemoveDir),
        1 => path().prop_map(Call::RemoveTree),
        4 => (target(), path()).prop_map(|(target, path)| Call::Symlink(target, path)),
        1 => path().prop_map(Call::ReadLink),
        1 => (path(), mode()).prop_map(|(path, mode)| Call::Chmod(path, mode)),
        2 => path().prop_map(Call::Stat),
        2 => (path(), mode()).prop_map(|(path, mode)| Call::Mkfifo(path, mode)),
        1 => path().prop_map(Call::SyncDir),
        2 => (slot(), path()).prop_map(|(slot, path)| Call::Open(slot, path)),
        3 => (slot(), path(), way).prop_map(|(slot, path, way)| Call::OpenFifo(slot, path, way)),
        2 => (slot(), data()).prop_map(|(slot, data)| Call::Write(slot, data)),
        2 => slot().prop_map(Call::Read),
        1 => slot().prop_map(Call::Sync),
        1 => slot().prop_map(Call::Close),
    ]
}

type Outcome = Result<Vec<u8>, Errno>;

fn nothing<T>(_: T) -> Vec<u8> {
    Vec::new()
}

fn described(kind: FileKind, mode: u32, size: u64) -> Vec<u8> {
    let size = if kind == FileKind::Regular { size } else { 0 };
    format!("{kind:?} {mode:o} {size}").into_bytes()
}

/// The simulated side.
#[derive(Clone)]
struct Simulated {
    fs: FileSystem,
    base: String,
    slots: [Option<SimulatedFile>; SLOTS],
}

#[derive(Clone, Copy)]
enum SimulatedFile {
    File(Fd),
    Fifo(FifoId),
}

impl Simulated {
    fn new() -> Self {
        // What was there before the sequence is on the disk.
        let mut fs = FileSystem::new(Limits::default());
        let mut path = "/r".repeat(FENCE);
        let base = format!("{path}{BELOW}");
        fs.make_dir_all(&base, 0o755).unwrap();
        while let Some((above, _)) = path.rsplit_once('/') {
            fs.set_mode(&path, 0o555).unwrap();
            path.truncate(above.len());
        }
        fs.sync_all();
        Simulated { fs, base, slots: [const { None }; SLOTS] }
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    fn call(&mut self, call: &Call) -> Outcome {
        self.run(call).map_err(|error| match error.cause {
            FsCause::Errno(errno) => errno,
            other => panic!("{other:?} is not expected here"),
        })
    }

    fn run(&mut self, call: &Call) -> Result<Vec<u8>, FsError> {
        let again = |fifo: &str| FsError::new("fifo", fifo, Errno::EBUSY);
        match call {
            Call::MakeDir(path, mode) => self.fs.make_dir(&self.at(path), *mode).map(nothing),
            Call::MakeDirAll(path) => self.fs.make_dir_all(&self.at(path), 0o755).map(nothing),
            Call::Append(path, data) => {
                let fd = self.fs.open_append(OWNER, &self.at(path), 0o644)?;
                self.fs.write(fd, data)?;
                self.fs.close(fd).map(nothing)
            }
            Call::WriteFile(path, data) => {
                self.fs.write_file(&self.at(path), data, 0o644).map(nothing)
            }
            Call::ReadFile(path) => self.fs.read_file(OWNER, &self.at(path)),
            Call::Rename(from, to) => self.fs.rename(&self.at(from), &self.at(to)).map(nothing),
            Call::RemoveFile(path) => self.fs.remove_file(&self.at(path)).map(nothing),
            Call::RemoveDir(path) => self.fs.remove_dir(&self.at(path)).map(nothing),
            Call::RemoveTree(path) => self.fs.remove_tree(&self.at(path)).map(nothing),
            Call::Symlink(target, path) => {
                let target = target.replace('~', &self.base);
                self.fs.make_symlink(&target, &self.at(path)).map(nothing)
            }
            Call::ReadLink(path) => {
                let target = self.fs.read_link(&self.at(path))?;
                Ok(target.replace(&self.base, "~").into_bytes())
            }
            Call::Chmod(path, mode) => self.fs.set_mode(&self.at(path), *mode).map(nothing),
            Call::Stat(path) => {
                let found = self.fs.metadata(&self.at(path))?;
                Ok(described(found.kind, found.mode, found.size))
            }
            Call::Mkfifo(path, mode) => self.fs.make_fifo(&self.at(path), *mode).map(nothing),
            Call::SyncDir(path) => self.fs.sync_dir(OWNER, &self.at(path)).map(nothing),
            Call::Open(slot, path) => {
                self.close(*slot);
                let fd = self.fs.open_append(OWNER, &self.at(path), 0o644)?;
                self.slots[*slot] = Some(SimulatedFile::File(fd));
                Ok(Vec::new())
            }
            Call::OpenFifo(slot, path, way) => {
                self.close(*slot);
                let path = self.at(path);
                let fifo = match way {
                    Way::Read => self.fs.join_fifo(OWNER, &path, FifoEnd::Read)?,
                    Way::Write => self.fs.join_fifo(OWNER, &path, FifoEnd::Write)?,
                    Way::Both => self.fs.open_fifo_both(OWNER, &path)?,
                };
                if matches!(way, Way::Write) && !self.fs.fifo_is_open(fifo) {
                    // Where O_NONBLOCK refuses, the simulated open goes on in the background.
                    self.fs.fifo_close(fifo);
                    return Err(FsError::new("open", path, Errno::ENXIO));
                }
                self.slots[*slot] = Some(SimulatedFile::Fifo(fifo));
                Ok(Vec::new())
            }
            Call::Write(slot, data) => match self.slots[*slot] {
                Some(SimulatedFile::File(fd)) => {
                    self.fs.write(fd, data).map(|taken| vec![taken as u8])
                }
                Some(SimulatedFile::Fifo(fifo)) => match self.fs.fifo_write(fifo, data) {
                    FifoWrite::Taken(taken) => Ok(vec![taken as u8]),
                    FifoWrite::Broken(error) => Err(error),
                    FifoWrite::Blocked => Err(again("blocked")),
                    FifoWrite::Closed => Err(FsError::new("write", "", Errno::EBADF)),
                },
                None => Ok(Vec::new()),
            },
            Call::Read(slot) => match self.slots[*slot] {
                Some(SimulatedFile::Fifo(fifo)) => match self.fs.fifo_read(fifo) {
                    FifoRead::Data(data) => Ok(data),
                    FifoRead::Eof => Ok(Vec::new()),
                    // Without O_NONBLOCK the open itself would still wait; with it, a pipe that
                    // nobody writes is at its end.
                    FifoRead::Blocked if !self.fs.fifo_is_open(fifo) => Ok(Vec::new()),
                    FifoRead::Blocked => Err(again("blocked")),
                    FifoRead::Closed => Err(FsError::new("read", "", Errno::EBADF)),
                },
                _ => Ok(Vec::new()),
            },
            Call::Sync(slot) => match self.slots[*slot] {
                Some(SimulatedFile::File(fd)) => self.fs.sync(fd).map(nothing),
                _ => Ok(Vec::new()),
            },
            Call::Close(slot) => {
                self.close(*slot);
                Ok(Vec::new())
            }
        }
    }

    fn close(&mut self, slot: usize) {
        match self.slots[slot].take() {
            Some(SimulatedFile::File(fd)) => self.fs.close(fd).unwrap(),
            Some(SimulatedFile::Fifo(fifo)) => self.fs.fifo_close(fifo),
            None => {}
        }
    }

    fn tree(&self) -> Tree {
        let top = &self.base[..self.base.len() - "/r/r".len()];
        let entries = self.fs.walk(top).map(|entry| {
            let content = match entry.kind {
                FileKind::Regular => self.fs.content(&entry.path).unwrap().to_vec(),
                FileKind::Symlink => entry.target.unwrap().replace(&self.base, "~").into_bytes(),
                FileKind::Directory | FileKind::Fifo => Vec::new(),
            };
            (entry.path[top.len()..].to_owned(), (entry.kind, entry.mode, content))
        });
        entries.collect()
    }
}

/// The real side.
struct Kernel<'a> {
    base: &'a str,
    slots: [Option<(OwnedFd, bool)>; SLOTS],
}

impl Kernel<'_> {
    fn call(&mut self, call: &Call) -> Outcome {
        self.run(call).map_err(known)
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Real> {
        let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::open(self.at(path), flags, Mode::from(0o644))
    }

    fn is_fifo(&self, fd: &OwnedFd) -> Result<bool, Real> {
        Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Fifo)
    }

    /// The simulated port answers ENXIO where this would wait for the other end of a pipe.
    fn open_file(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Real> {
        let fd = self.open(path, flags)?;
        if self.is_fifo(&fd)? { Err(Real::NXIO) } else { Ok(fd) }
    }

    fn run(&mut self, call: &Call) -> Result<Vec<u8>, Real> {
        let append = OFlags::CREATE | OFlags::APPEND | OFlags::WRONLY;
        match call {
            Call::MakeDir(path, mode) => {
                rustix::fs::mkdir(self.at(path), Mode::from(*mode)).map(nothing)
            }
            Call::MakeDirAll(path) => Self::make_dir_all(&self.at(path)).map(nothing),
            Call::Append(path, data) => {
                let fd = self.open_file(path, append)?;
                rustix::io::write(fd, data).map(nothing)
            }
            Call::WriteFile(path, data) => {
                let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY;
                let fd = self.open_file(path, flags)?;
                rustix::io::write(fd, data).map(nothing)
            }
            Call::ReadFile(path) => {
                let fd = self.open_file(path, OFlags::RDONLY)?;
                read(&fd)
            }
            Call::Rename(from, to) => rustix::fs::rename(self.at(from), self.at(to)).map(nothing),
            Call::RemoveFile(path) => rustix::fs::unlink(self.at(path)).map(nothing),
            Call::RemoveDir(path) => rustix::fs::rmdir(self.at(path)).map(nothing),
            Call::RemoveTree(path) => self.remove_tree(path).map(nothing),
            Call::Symlink(target, path) => {
                rustix::fs::symlink(target.replace('~', self.base), self.at(path)).map(nothing)
            }
            Call::ReadLink(path) => {
                let target = rustix::fs::readlink(self.at(path), Vec::new())?;
                Ok(target.to_string_lossy().replace(self.base, "~").into_bytes())
            }
            Call::Chmod(path, mode) => {
                rustix::fs::chmod(self.at(path), Mode::from(*mode)).map(nothing)
            }
            Call::Stat(path) => {
                let found = rustix::fs::stat(self.at(path))?;
                let size = u64::try_from(found.st_size).unwrap();
                Ok(described(kind(found.st_mode), found.st_mode & 0o7777, size))
            }
            Call::Mkfifo(path, mode) => {
                rustix::fs::mknodat(CWD, self.at(path), FileType::Fifo, Mode::from(*mode), 0)
                    .map(nothing)
            }
            // What it makes durable does not show, and would take most of the test's time.
            Call::SyncDir(path) => self.open(path, OFlags::DIRECTORY).map(nothing),
            Call::Sync(_) => Ok(Vec::new()),
            Call::Open(slot, path) => {
                self.slots[*slot] = None;
                self.slots[*slot] = Some((self.open_file(path, append)?, false));
                Ok(Vec::new())
            }
            Call::OpenFifo(slot, path, way) => {
                self.slots[*slot] = None;
                let found = rustix::fs::stat(self.at(path))?;
                if kind(found.st_mode) != FileKind::Fifo {
                    return Err(Real::INVAL);
                }
                let fd = self.open(
                    path,
                    match way {
                        Way::Read => OFlags::RDONLY,
                        Way::Write => OFlags::WRONLY,
                        Way::Both => OFlags::RDWR,
                    },
                )?;
                self.slots[*slot] = Some((fd, true));
                Ok(Vec::new())
            }
            Call::Write(slot, data) => match &self.slots[*slot] {
                Some((fd, _)) => rustix::io::write(fd, data).map(|taken| vec![taken as u8]),
                None => Ok(Vec::new()),
            },
            Call::Read(slot) => match &self.slots[*slot] {
                Some((fd, true)) => read(fd),
                _ => Ok(Vec::new()),
            },
            Call::Close(slot) => {
                self.slots[*slot] = None;
                Ok(Vec::new())
            }
        }
    }

    /// As Go's `os.MkdirAll` goes about it.
    fn make_dir_all(path: &str) -> Result<(), Real> {
        if let Ok(found) = rustix::fs::stat(path) {
            return match kind(found.st_mode) {
                FileKind::Directory => Ok(()),
                _ => Err(Real::NOTDIR),
            };
        }
        let parent = path.trim_end_matches('/').rsplit_once('/').map(|(parent, _)| parent);
        if let Some(parent) = parent.filter(|parent| !parent.is_empty()) {
            Self::make_dir_all(parent)?;
        }
        rustix::fs::mkdir(path, Mode::from(0o755)).or_else(|error| {
            let found = rustix::fs::lstat(path);
            match found.map(|found| kind(found.st_mode)) {
                Ok(FileKind::Directory) => Ok(()),
                _ => Err(error),
            }
        })
    }

    /// As Go's `os.RemoveAll`, which removes what it can and tells the first failure.
    fn remove_tree(&self, path: &str) -> Result<(), Real> {
        let path = path.trim_end_matches('/');
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        if matches!(name, "." | "..") {
            return Err(Real::INVAL);
        }
        let removed =
            rustix::fs::unlink(self.at(path)).or_else(|_| rustix::fs::rmdir(self.at(path)));
        if matches!(removed, Ok(()) | Err(Real::NOENT)) {
            return Ok(());
        }
        match self.open(parent, OFlags::RDONLY) {
            Err(Real::NOENT) => Ok(()),
            Err(error) => Err(error),
            Ok(parent) => remove_below(&parent, name),
        }
    }
}

fn remove_below(parent: &OwnedFd, name: &str) -> Result<(), Real> {
    let error = match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Real::NOENT) => return Ok(()),
        Err(error @ (Real::ISDIR | Real::PERM | Real::ACCESS)) => error,
        Err(error) => return Err(error),
    };
    let found = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if kind(found.st_mode) != FileKind::Directory {
        return Err(error);
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut failure = None;
    match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Ok(dir) => {
            for name in names(&dir) {
                failure = failure.or(remove_below(&dir, &name).err());
            }
        }
        Err(error) => failure = Some(error),
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Real::NOENT) => Ok(()),
        Err(error) => Err(failure.unwrap_or(error)),
    }
}

fn names(dir: &OwnedFd) -> Vec<String> {
    let entries = rustix::fs::Dir::new(dir.try_clone().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned());
    let mut names: Vec<_> = names.filter(|name| name != "." && name != "..").collect();
    names.sort();
    names
}

fn read(fd: &OwnedFd) -> Result<Vec<u8>, Real> {
    let mut buffer = vec![0; 4096];
    let length = rustix::io::read(fd, &mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn kind(mode: u32) -> FileKind {
    match FileType::from_raw_mode(mode) {
        FileType::Directory => FileKind::Directory,
        FileType::RegularFile => FileKind::Regular,
        FileType::Fifo => FileKind::Fifo,
        FileType::Symlink => FileKind::Symlink,
        other => panic!("{other:?} was not made here"),
    }
}

fn known(error: Real) -> Errno {
    match error {
        Real::NOENT => Errno::ENOENT,
        Real::PERM => Errno::EPERM,
        Real::ACCESS => Errno::EACCES,
        Real::NXIO => Errno::ENXIO,
        Real::BADF => Errno::EBADF,
        // A pipe that would block, and a directory in use: no call here can meet both.
        Real::BUSY | Real::AGAIN => Errno::EBUSY,
        Real::EXIST => Errno::EEXIST,
        Real::NOTDIR => Errno::ENOTDIR,
        Real::ISDIR => Errno::EISDIR,
        Real::INVAL => Errno::EINVAL,
        Real::NAMETOOLONG => Errno::ENAMETOOLONG,
        Real::NOTEMPTY => Errno::ENOTEMPTY,
        Real::LOOP => Errno::ELOOP,
        Real::PIPE => Errno::EPIPE,
        other => panic!("{other} is not expected here"),
    }
}

/// Kind, mode and content by path; the content of a link is its target.
type Tree = BTreeMap<String, (FileKind, u32, Vec<u8>)>;

/// Takes the tree apart while it is listed: modes are lifted to see what is behind them.
fn take_tree(parent: &OwnedFd, name: &str, base: &str, path: String, tree: &mut Tree) {
    let found = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    let kind = kind(found.st_mode);
    let lift = |mode| rustix::fs::chmodat(parent, name, Mode::from(mode), AtFlags::empty());
    let open = |flags| rustix::fs::openat(parent, name, flags, Mode::empty());
    let mut content = Vec::new();
    let mut flags = AtFlags::empty();
    match kind {
        FileKind::Directory => {
            lift(0o700).unwrap();
            let dir = open(OFlags::DIRECTORY | OFlags::CLOEXEC).unwrap();
            for name in names(&dir) {
                take_tree(&dir, &name, base, format!("{path}/{name}"), tree);
            }
            flags = AtFlags::REMOVEDIR;
        }
        FileKind::Regular => {
            lift(0o600).unwrap();
            content = read(&open(OFlags::CLOEXEC).unwrap()).unwrap();
        }
        FileKind::Symlink => {
            let target = rustix::fs::readlinkat(parent, name, Vec::new()).unwrap();
            content = target.to_string_lossy().replace(base, "~").into_bytes();
        }
        FileKind::Fifo => {}
    }
    rustix::fs::unlinkat(parent, name, flags).unwrap();
    tree.insert(path, (kind, found.st_mode & 0o7777, content));
}

fn agrees(calls: &[Call], fence: &Fence, start: &Simulated) -> Result<(), TestCaseError> {
    fence.open();
    // What a sequence that ended in a panic left.
    if rustix::fs::statat(fence.innermost(), "s", AtFlags::empty()).is_ok() {
        take_tree(fence.innermost(), "s", "", String::new(), &mut Tree::new());
    }
    for name in ["s", "s/r", "s/r/r"] {
        rustix::fs::mkdirat(fence.innermost(), name, Mode::from(0o755)).unwrap();
    }
    fence.close();
    let base = format!("{}{BELOW}", fence.path);
    let mut kernel = Kernel { base: &base, slots: [const { None }; SLOTS] };
    let mut simulated = start.clone();
    let mut differs = None;
    for call in calls {
        let expected = kernel.call(call);
        let got = simulated.call(call);
        if got != expected {
            differs = Some((call, got, expected));
            break;
        }
    }
    drop(kernel);
    (0..SLOTS).for_each(|slot| simulated.close(slot));
    let mut tree = Tree::new();
    fence.open();
    take_tree(fence.innermost(), "s", &base, String::new(), &mut tree);
    if let Some((call, got, expected)) = differs {
        let message = format!("{call:?}: simulated {got:?}, real {expected:?}");
        return Err(TestCaseError::fail(message));
    }
    prop_assert_eq!(simulated.tree(), tree.clone());
    let files = tree.values().filter(|(kind, ..)| *kind == FileKind::Regular);
    let bytes: usize = files.map(|(.., content)| content.len()).sum();
    prop_assert_eq!(simulated.fs.bytes_used(), bytes as u64);
    prop_assert_eq!(simulated.fs.open_count(OWNER), 0);
    is_sound_after_power_loss(simulated.clone(), calls.len())?;
    // A power loss that nothing falls to.
    simulated.fs.power_loss(|_, _| Survival::Whole);
    prop_assert_eq!(simulated.tree(), tree);
    prop_assert_eq!(simulated.fs.bytes_used(), bytes as u64);
    Ok(())
}

/// Whatever a power loss leaves, the file system is sound: what it counts is what is there, what is
/// there is on the disk, and all of it can be removed.
fn is_sound_after_power_loss(mut left: Simulated, seed: usize) -> Result<(), TestCaseError> {
    let mut asked = 0;
    left.fs.power_loss(|_, options| {
        asked += 1;
        options[(seed * 7 + asked * asked) % options.len()]
    });
    let files = left.fs.walk("/").filter(|entry| entry.kind == FileKind::Regular);
    prop_assert_eq!(left.fs.bytes_used(), files.map(|entry| entry.size).sum::<u64>());
    let tree: Vec<_> = left.fs.walk("/").collect();
    let mut again = 0;
    left.fs.power_loss(|_, options| {
        again += 1;
        options[0]
    });
    prop_assert_eq!((again, left.fs.walk("/").collect::<Vec<_>>()), (0, tree));
    let dirs = left.fs.walk("/").filter(|entry| entry.kind == FileKind::Directory);
    let dirs: Vec<String> = dirs.map(|entry| entry.path).collect();
    for dir in &dirs {
        left.fs.set_mode(dir, 0o755).unwrap();
    }
    left.fs.remove_tree("/r").unwrap();
    prop_assert_eq!((left.fs.walk("/").count(), left.fs.bytes_used()), (1, 0));
    Ok(())
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// The directories of [`FENCE`].
struct Fence {
    dirs: Vec<OwnedFd>,
    path: String,
}

impl Fence {
    fn new(root: &Path, owner: Option<Uid>) -> Self {
        let mut path = root.display().to_string();
        let mut dirs = Vec::new();
        for _ in 0..FENCE {
            path.push_str("/r");
            std::fs::create_dir(&path).unwrap();
            dirs.push(rustix::fs::open(&*path, DIRECTORY, Mode::empty()).unwrap());
            rustix::fs::chown(&*path, owner, None).unwrap();
        }
        Fence { dirs, path }
    }

    fn innermost(&self) -> &OwnedFd {
        self.dirs.last().unwrap()
    }

    fn open(&self) {
        rustix::fs::fchmod(self.innermost(), Mode::from(0o755)).unwrap();
    }

    fn close(&self) {
        for dir in &self.dirs {
            rustix::fs::fchmod(dir, Mode::from(0o555)).unwrap();
        }
    }
}

#[test]
fn agrees_with_the_kernel() {
    let cases = match std::env::var("PROPTEST_CASES") {
        Ok(_) => ProptestConfig::default().cases,
        Err(_) => SEQUENCES,
    };
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    rustix::process::umask(Mode::empty());
    let user = rustix::process::geteuid().is_root().then(|| Uid::from_raw(USER));
    // A file system in memory takes a tenth of the time; `TMPDIR` chooses another.
    let memory = Path::new("/dev/shm");
    let root = match std::env::var_os("TMPDIR") {
        None if memory.is_dir() => tempfile::tempdir_in(memory).unwrap(),
        _ => tempfile::tempdir().unwrap(),
    };
    rustix::fs::chmod(root.path(), Mode::from(0o755)).unwrap();
    let fence = Fence::new(root.path(), user);
    let result = std::thread::scope(|scope| {
        let sequences = scope.spawn(|| {
            if let Some(user) = user {
                rustix::thread::set_thread_res_uid(user, user, user)
                    .expect("root can become another user");
            }
            let calls = prop::collection::vec(call(), 1..50);
            let start = Simulated::new();
            TestRunner::new(config).run(&calls, |calls| agrees(&calls, &fence, &start))
        });
        sequences.join().unwrap()
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
