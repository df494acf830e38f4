//! Files, directories and named pipes. Paths are absolute, separated by `/`.

use std::future::Future;

use super::{Context, FsError};

/// Which end of a named pipe is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FifoEnd {
    Read,
    Write,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
}

/// Each function is one call that can block; errors carry the system call's name and the path.
pub trait Fs: Clone + 'static {
    /// An open regular file. Dropping it without [`Fs::close`] leaks nothing but is not a moment.
    type File: 'static;
    /// A named pipe that opens in the background: usable at once, while its open blocks until the
    /// peer comes, the context ends or the pipe is closed.
    type Fifo: Clone + 'static;

    /// mkdir -p: parents too; an existing directory is fine.
    fn make_dir_all(&self, path: &str, mode: u32) -> impl Future<Output = Result<(), FsError>>;

    /// A fresh directory below `parent` (mode 0700), its name ending in digits of the port's
    /// choice. Returns its path.
    fn make_temp_dir(&self, parent: &str) -> impl Future<Output = Result<String, FsError>>;

    /// A fresh file `parent/prefix⟨digits⟩`, opened for writing, mode 0600. Returns it and its path.
    fn create_temp(
        &self,
        parent: &str,
        prefix: &str,
    ) -> impl Future<Output = Result<(Self::File, String), FsError>>;

    /// O_CREAT|O_APPEND|O_WRONLY.
    fn open_append(
        &self,
        path: &str,
        mode: u32,
    ) -> impl Future<Output = Result<Self::File, FsError>>;

    fn set_mode(&self, path: &str, mode: u32) -> impl Future<Output = Result<(), FsError>>;

    /// One write call. Returns the number of bytes taken, which may be fewer than given.
    fn write(&self, file: &Self::File, data: &[u8])
    -> impl Future<Output = Result<usize, FsError>>;

    /// fsync(2): the content of the file is durable, and that the file exists under the names that
    /// it has got so far. After an error nothing is known, and another call need not tell.
    fn sync(&self, file: &Self::File) -> impl Future<Output = Result<(), FsError>>;

    /// fsync(2) of a directory: what was made, renamed and removed in it is durable.
    fn sync_dir(&self, path: &str) -> impl Future<Output = Result<(), FsError>>;

    /// Closes; the descriptor is gone even when an error is returned.
    fn close(&self, file: Self::File) -> impl Future<Output = Result<(), FsError>>;

    fn read_file(&self, path: &str) -> impl Future<Output = Result<Vec<u8>, FsError>>;

    /// What is in a directory, ordered by name.
    fn read_dir(&self, path: &str) -> impl Future<Output = Result<Vec<DirEntry>, FsError>>;

    /// The error's path is `from to`.
    fn rename(&self, from: &str, to: &str) -> impl Future<Output = Result<(), FsError>>;

    fn remove_file(&self, path: &str) -> impl Future<Output = Result<(), FsError>>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &str) -> impl Future<Output = Result<(), FsError>>;

    /// Recursive unmount below `path`, best effort.
    fn unmount_all(&self, path: &str) -> impl Future<Output = Result<(), FsError>>;

    /// Lazily unmounts one path.
    fn unmount(&self, path: &str) -> impl Future<Output = Result<(), FsError>>;

    /// Removes the directory and what is below it. A path that does not exist is fine.
    fn remove_tree(&self, path: &str) -> impl Future<Output = Result<(), FsError>>;

    /// mkfifo (mode 0700, an existing pipe is fine) and a background open that `ctx` ends.
    fn open_fifo(
        &self,
        ctx: &Context,
        path: &str,
        end: FifoEnd,
    ) -> impl Future<Output = Result<Self::Fifo, FsError>>;

    /// The next bytes: blocks until the peer opened and wrote. Empty at the end of the stream.
    fn read_fifo(&self, fifo: &Self::Fifo) -> impl Future<Output = Result<Vec<u8>, FsError>>;

    /// Closes the pipe: a blocked open or read ends with `file already closed`, unread bytes are
    /// lost. Idempotent.
    fn close_fifo(&self, fifo: &Self::Fifo) -> impl Future<Output = Result<(), FsError>>;
}
