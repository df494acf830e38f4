//! Files below a directory that takes the place of the file system's root.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::{Either, select};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::UnmountFlags;
use tokio::net::unix::pipe;
use tokio::sync::Notify;

use super::runtime::random_bytes;
use super::{SystemClock, end_of};
use crate::ports::{Code, Context, DirEntry, Errno, FifoEnd, Fs, FsCause, FsError};

/// Size of one read of a pipe in bytes.
const READ_SIZE: usize = 32 * 1024;

const O_DIRECTORY: i32 = OFlags::DIRECTORY.bits().cast_signed();

/// The file system below a directory. Paths in arguments, results and errors are those without it.
#[derive(Clone, Debug)]
pub struct DirectoryFs {
    root: Rc<Path>,
    clock: SystemClock,
}

/// An open file.
pub struct File {
    file: Arc<std::fs::File>,
    path: String,
}

/// A named pipe.
#[derive(Clone)]
pub struct Fifo(Rc<FifoState>);

struct FifoState {
    clock: SystemClock,
    path: String,
    ctx: Context,
    /// `None` once it is closed.
    end: RefCell<Option<Rc<End>>>,
    /// A peer was seen, so that the context bounds the pipe no longer.
    opened: Cell<bool>,
    closed: Notify,
}

enum End {
    Read(pipe::Receiver),
    /// Holds the pipe open for a reader; nothing is written.
    Write(#[allow(dead_code, reason = "it is there to be dropped")] pipe::Sender),
}

impl DirectoryFs {
    /// `root`: an existing directory.
    pub fn new(root: impl Into<PathBuf>, clock: SystemClock) -> Self {
        DirectoryFs { root: root.into().into(), clock }
    }

    /// Where a path of the port lies in the system's file tree.
    pub fn locate(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Runs a blocking operation on `path`.
    async fn run<T: Send + 'static>(
        &self,
        op: &'static str,
        path: &str,
        action: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, FsError> {
        let real = self.locate(path);
        blocking(move || action(&real)).await.map_err(|error| fs_error(op, path, &error))
    }

    /// The first part of a path that is something else than a directory, or the path itself.
    fn not_a_directory<'a>(&self, path: &'a str) -> &'a str {
        let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        let mut parts = ends.map(|end| &path[..end]);
        let other = |part: &&str| self.locate(part).metadata().is_ok_and(|found| !found.is_dir());
        parts.find(other).unwrap_or(path)
    }

    /// Makes something under a fresh name, the prefix followed by digits.
    async fn fresh<T: Send + 'static>(
        &self,
        op: &'static str,
        parent: &str,
        prefix: &str,
        make: impl Fn(&Path) -> io::Result<T> + Clone + Send + 'static,
    ) -> Result<(T, String), FsError> {
        loop {
            let number = u32::from_le_bytes(random_bytes());
            let path = format!("{parent}/{prefix}{number}");
            match self.run(op, &path, make.clone()).await {
                Err(error) if error.is(Errno::EEXIST) => {}
                made => return Ok((made?, path)),
            }
        }
    }
}

impl Fs for DirectoryFs {
    type File = File;
    type Fifo = Fifo;

    async fn make_dir_all(&self, path: &str, mode: u32) -> Result<(), FsError> {
        let made = self.run("mkdir", path, move |path| {
            std::fs::DirBuilder::new().recursive(true).mode(mode).create(path)
        });
        match made.await {
            Err(error) if error.is(Errno::EEXIST) || error.is(Errno::ENOTDIR) => {
                Err(FsError::new("mkdir", self.not_a_directory(path), Errno::ENOTDIR))
            }
            made => made,
        }
    }

    async fn make_temp_dir(&self, parent: &str) -> Result<String, FsError> {
        let make = |path: &Path| std::fs::DirBuilder::new().mode(0o700).create(path);
        match self.fresh("mkdir", parent, "", make).await {
            // As Go tells it.
            Err(error) if error.is(Errno::ENOENT) => {
                Err(FsError::new("stat", parent, Errno::ENOENT))
            }
            made => Ok(made?.1),
        }
    }

    async fn create_temp(&self, parent: &str, prefix: &str) -> Result<(File, String), FsError> {
        let make = |path: &Path| {
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
        };
        let (file, path) = self.fresh("open", parent, prefix, make).await?;
        Ok((File { file: Arc::new(file), path: path.clone() }, path))
    }

    async fn open_append(&self, path: &str, mode: u32) -> Result<File, FsError> {
        let open = move |path: &Path| {
            std::fs::OpenOptions::new().append(true).create(true).mode(mode).open(path)
        };
        let file = self.run("open", path, open).await?;
        Ok(File { file: Arc::new(file), path: path.to_owned() })
    }

    async fn set_mode(&self, path: &str, mode: u32) -> Result<(), FsError> {
        let set = move |path: &Path| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        };
        self.run("chmod", path, set).await
    }

    async fn write(&self, file: &File, data: &[u8]) -> Result<usize, FsError> {
        let (handle, data) = (file.file.clone(), data.to_vec());
        let written = blocking(move || (&*handle).write(&data)).await;
        written.map_err(|error| fs_error("write", &file.path, &error))
    }

    async fn sync(&self, file: &File) -> Result<(), FsError> {
        let handle = file.file.clone();
        let synced = blocking(move || handle.sync_all()).await;
        synced.map_err(|error| fs_error("sync", &file.path, &error))
    }

    async fn sync_dir(&self, path: &str) -> Result<(), FsError> {
        let open = |path: &Path| {
            std::fs::OpenOptions::new().read(true).custom_flags(O_DIRECTORY).open(path)
        };
        let dir = self.run("open", path, open).await?;
        blocking(move || dir.sync_all()).await.map_err(|error| fs_error("sync", path, &error))
    }

    /// What the system's close answers cannot be seen without unsafe code; a file that must be safe
    /// is synced before.
    async fn close(&self, file: File) -> Result<(), FsError> {
        let closed = blocking(move || {
            drop(file.file);
            Ok(())
        });
        closed.await.map_err(|error| fs_error("close", &file.path, &error))
    }

    async fn read_file(&self, path: &str) -> Result<Vec<u8>, FsError> {
        self.run("open", path, |path| std::fs::read(path)).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), FsError> {
        let target = self.locate(to);
        let renamed = self.run("rename", from, move |path| std::fs::rename(path, target));
        renamed.await.map_err(|error| FsError { path: format!("{from} {to}"), ..error })
    }

    async fn remove_file(&self, path: &str) -> Result<(), FsError> {
        self.run("remove", path, |path| std::fs::remove_file(path)).await
    }

    async fn read_dir(&self, path: &str) -> Result<Vec<DirEntry>, FsError> {
        let list = |path: &Path| {
            let mut entries = Vec::new();
            for entry in std::fs::read_dir(path)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
            }
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        };
        self.run("open", path, list).await
    }

    async fn remove_dir(&self, path: &str) -> Result<(), FsError> {
        self.run("remove", path, |path| std::fs::remove_dir(path)).await
    }

    async fn unmount_all(&self, path: &str) -> Result<(), FsError> {
        let unmount = |path: &Path| {
            let mut mounts = mounts_below(path);
            // Inner ones first.
            mounts.sort_by_key(|mount| std::cmp::Reverse(mount.components().count()));
            for mount in mounts {
                let _ = rustix::mount::unmount(&mount, UnmountFlags::NOFOLLOW);
            }
            Ok(())
        };
        self.run("unmount", path, unmount).await
    }

    async fn unmount(&self, path: &str) -> Result<(), FsError> {
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        let unmount = move |path: &Path| Ok(rustix::mount::unmount(path, flags)?);
        self.run("unmount", path, unmount).await
    }

    async fn remove_tree(&self, path: &str) -> Result<(), FsError> {
        let remove = |path: &Path| match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                std::fs::remove_file(path)
            }
            removed => removed,
        };
        self.run("unlinkat", path, remove).await
    }

    async fn open_fifo(&self, ctx: &Context, path: &str, end: FifoEnd) -> Result<Fifo, FsError> {
        self.run("mkfifo", path, make_fifo).await?;
        let mut options = pipe::OpenOptions::new();
        // Neither open waits for a peer; the one for reading is noticed when the peer comes, the
        // other holds the reading end too, as there is no waiting for a reader without blocking a thread.
        let opened = match end {
            FifoEnd::Read => options.open_receiver(self.locate(path)).map(End::Read),
            FifoEnd::Write => {
                options.read_write(true).open_sender(self.locate(path)).map(End::Write)
            }
        };
        let end = opened.map_err(|error| fs_error("open", path, &error))?;
        Ok(Fifo(Rc::new(FifoState {
            clock: self.clock,
            path: path.to_owned(),
            ctx: ctx.clone(),
            end: RefCell::new(Some(Rc::new(end))),
            opened: Cell::new(false),
            closed: Notify::new(),
        })))
    }

    async fn read_fifo(&self, fifo: &Fifo) -> Result<Vec<u8>, FsError> {
        fifo.0.read().await
    }

    async fn close_fifo(&self, fifo: &Fifo) -> Result<(), FsError> {
        fifo.0.close();
        Ok(())
    }
}

impl FifoState {
    fn close(&self) {
        drop(self.end.take());
        self.closed.notify_waiters();
    }

    fn error(&self, cause: FsCause) -> FsError {
        FsError { op: "read", path: self.path.clone(), cause }
    }

    async fn read(&self) -> Result<Vec<u8>, FsError> {
        let mut buffer = vec![0; READ_SIZE];
        loop {
            let closed = pin!(self.closed.notified());
            let end = self.end.borrow().clone();
            let Some(end) = end else { return Err(self.error(FsCause::Closed)) };
            let End::Read(receiver) = &*end else {
                return Err(self.error(FsCause::Errno(Errno::EBADF)));
            };
            // Becomes readable when the peer has written, or has come and gone.
            let readable = pin!(receiver.readable());
            let given_up = pin!(self.given_up());
            let read = match select(select(readable, given_up), closed).await {
                Either::Right(_) => return Err(self.error(FsCause::Closed)),
                Either::Left((Either::Left(_), _)) => receiver.try_read(&mut buffer),
                Either::Left((Either::Right((code, _)), _)) => {
                    match rustix::io::read(receiver, &mut buffer) {
                        // Nobody has the other end.
                        Ok(0) => {
                            self.close();
                            return Err(self.error(FsCause::Context(code)));
                        }
                        read => read.map_err(io::Error::from),
                    }
                }
            };
            match read {
                Ok(len) => {
                    self.opened.set(true);
                    buffer.truncate(len);
                    return Ok(buffer);
                }
                // There is a peer, and it has written nothing.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.opened.set(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(fs_error("read", &self.path, &error)),
            }
        }
    }

    /// Resolves when the context ends before a peer was seen.
    async fn given_up(&self) -> Code {
        if self.opened.get() {
            return std::future::pending().await;
        }
        end_of(&self.clock, &self.ctx).await
    }
}

fn blocking<T: Send + 'static>(
    action: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> impl Future<Output = io::Result<T>> {
    let task = tokio::task::spawn_blocking(action);
    async move { task.await.unwrap_or_else(|error| Err(io::Error::other(error))) }
}

fn make_fifo(path: &Path) -> io::Result<()> {
    match rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0) {
        Err(rustix::io::Errno::EXIST) if std::fs::metadata(path)?.file_type().is_fifo() => Ok(()),
        made => Ok(made?),
    }
}

/// Mount points at or below a path.
fn mounts_below(path: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let unescape = |point: &str| {
        point
            .replace("\\040", " ")
            .replace("\\011", "\t")
            .replace("\\012", "\n")
            .replace("\\134", "\\")
    };
    points
        .map(|point| PathBuf::from(unescape(point)))
        .filter(|mount| mount.starts_with(path))
        .collect()
}

fn fs_error(op: &'static str, path: &str, error: &io::Error) -> FsError {
    use rustix::io::Errno as E;

    let errno = match E::from_io_error(error) {
        Some(E::PERM) => Errno::EPERM,
        Some(E::NOENT) => Errno::ENOENT,
        Some(E::INTR) => Errno::EINTR,
        Some(E::NXIO) => Errno::ENXIO,
        Some(E::BADF) => Errno::EBADF,
        Some(E::ACCESS) => Errno::EACCES,
        Some(E::BUSY) => Errno::EBUSY,
        Some(E::EXIST) => Errno::EEXIST,
        Some(E::XDEV) => Errno::EXDEV,
        Some(E::NOTDIR) => Errno::ENOTDIR,
        Some(E::ISDIR) => Errno::EISDIR,
        Some(E::INVAL) => Errno::EINVAL,
        Some(E::NFILE) => Errno::ENFILE,
        Some(E::MFILE) => Errno::EMFILE,
        Some(E::NOSPC) => Errno::ENOSPC,
        Some(E::ROFS) => Errno::EROFS,
        Some(E::PIPE) => Errno::EPIPE,
        Some(E::NAMETOOLONG) => Errno::ENAMETOOLONG,
        Some(E::NOTEMPTY) => Errno::ENOTEMPTY,
        Some(E::LOOP) => Errno::ELOOP,
        Some(E::DQUOT) => Errno::EDQUOT,
        _ => Errno::EIO,
    };
    FsError::new(op, path, errno)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ports::Clock;

    fn run(test: impl AsyncFnOnce(DirectoryFs, SystemClock)) {
        let dir = tempfile::tempdir().unwrap();
        let clock = SystemClock::new();
        let fs = DirectoryFs::new(dir.path(), clock);
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&tokio, test(fs, clock));
    }

    #[test]
    fn files_and_directories() {
        run(async |fs, _| {
            fs.make_dir_all("/a/b", 0o755).await.unwrap();
            fs.make_dir_all("/a/b", 0o755).await.unwrap();
            let (file, temp) = fs.create_temp("/a/b", ".tmp-status").await.unwrap();
            let digits = temp.strip_prefix("/a/b/.tmp-status").unwrap();
            assert!(!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
            fs.set_mode(&temp, 0o640).await.unwrap();
            assert_eq!(fs.write(&file, b"abc").await, Ok(3));
            fs.sync(&file).await.unwrap();
            fs.close(file).await.unwrap();
            fs.rename(&temp, "/a/status").await.unwrap();
            let mode = std::fs::metadata(fs.locate("/a/status")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o640);
            let log = fs.open_append("/a/status", 0o600).await.unwrap();
            fs.write(&log, b"d").await.unwrap();
            fs.close(log).await.unwrap();
            assert_eq!(fs.read_file("/a/status").await.unwrap(), b"abcd");

            for (result, text) in [
                (fs.read_file("/x").await.map(drop), "open /x: no such file or directory"),
                (fs.rename("/x", "/y").await, "rename /x /y: no such file or directory"),
                (fs.make_dir_all("/a/status", 0o755).await, "mkdir /a/status: not a directory"),
                (fs.make_dir_all("/a/status/b/c", 0o755).await, "mkdir /a/status: not a directory"),
                (fs.make_temp_dir("/x").await.map(drop), "stat /x: no such file or directory"),
                (fs.remove_file("/a").await, "remove /a: is a directory"),
            ] {
                assert_eq!(result.unwrap_err().to_string(), text);
            }
            fs.unmount_all("/a").await.unwrap();
            for path in ["/a/status", "/a", "/a"] {
                fs.remove_tree(path).await.unwrap();
            }
            assert!(!fs.locate("/a").exists());
        });
    }

    #[test]
    fn a_pipe_waits_for_its_writer_and_ends_with_it() {
        run(async |fs, clock| {
            let (ctx, cancel) = Context::background().with_cancel();
            let fifo = fs.open_fifo(&ctx, "/out", FifoEnd::Read).await.unwrap();
            let path = fs.locate("/out");
            let writer = blocking(move || {
                let mut writer = std::fs::OpenOptions::new().write(true).open(path)?;
                std::thread::sleep(Duration::from_millis(20));
                writer.write_all(b"line\n")
            });
            // The writer is there, so the end of the context does not matter.
            tokio::time::sleep(Duration::from_millis(10)).await;
            cancel.cancel(clock.now());
            assert_eq!(fs.read_fifo(&fifo).await.unwrap(), b"line\n");
            assert_eq!(fs.read_fifo(&fifo).await.unwrap(), b"");
            writer.await.unwrap();
        });
    }

    #[test]
    fn a_pipe_without_a_writer_ends_with_its_context() {
        run(async |fs, clock| {
            let (ctx, cancel) = Context::background().with_cancel();
            let fifo = fs.open_fifo(&ctx, "/out", FifoEnd::Read).await.unwrap();
            tokio::task::spawn_local(async move { cancel.cancel(clock.now()) });
            let error = fs.read_fifo(&fifo).await.unwrap_err();
            assert_eq!(error.cause, FsCause::Context(Code::Cancelled));
            assert_eq!(fs.read_fifo(&fifo).await.unwrap_err().cause, FsCause::Closed);
        });
    }

    #[test]
    fn closing_a_pipe_wakes_its_reader() {
        run(async |fs, _| {
            let ctx = Context::background();
            let fifo = fs.open_fifo(&ctx, "/out", FifoEnd::Read).await.unwrap();
            let stdin = fs.open_fifo(&ctx, "/in", FifoEnd::Write).await.unwrap();
            let (closer, closing) = (fs.clone(), fifo.clone());
            tokio::task::spawn_local(async move { closer.close_fifo(&closing).await });
            let error = fs.read_fifo(&fifo).await.unwrap_err();
            assert_eq!(error.to_string(), "read /out: file already closed");
            assert!(fs.read_fifo(&stdin).await.unwrap_err().is(Errno::EBADF));
            for fifo in [&fifo, &stdin] {
                fs.close_fifo(fifo).await.unwrap();
            }
            // One that is there is opened again; another kind of file is refused.
            fs.open_fifo(&ctx, "/out", FifoEnd::Read).await.unwrap();
            fs.make_dir_all("/dir", 0o755).await.unwrap();
            let refused = fs.open_fifo(&ctx, "/dir", FifoEnd::Read).await.err().unwrap();
            assert_eq!(refused.to_string(), "mkfifo /dir: file exists");
        });
    }
}
