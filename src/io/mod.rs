//! Output of a container on its way into the log: named pipes, pump tasks, writer groups, loggers
//! (spec sections 3.6, 6.4 to 6.6).
//!
//! The way of a byte: the shim writes into a named pipe; the stream's pump task reads it and hands it to
//! the stream's group of writers; a log writer is the near end of a pipe in memory, whose far end
//! a logger task reads, splits into lines and writes into the log file. Each step waits for the next,
//! so a log file that blocks blocks the container's output.

mod logger;
mod pipe;
mod splitter;
mod timestamp;
mod writers;

use std::hash::{Hash, Hasher};
use std::rc::Rc;

use tracing::{debug, error};

use self::writers::WriterGroup;
use crate::config::pauses;
use crate::ports::{
    CancelToken, Clock, Context, Errno, Error, FifoEnd, Fs, FsError, IoPaths, Name, Ports, Runtime,
    Signal, Value,
};
use crate::quirks::{Quirk, Quirks};
use crate::quote::quote;

pub use self::logger::create_loggers;
pub use self::splitter::{Chunk, LineSplitter, LogRecord, Tag};
pub use self::timestamp::rfc3339_nano;
pub use self::writers::LogWriter;

/// One of the container's named pipes.
struct Pipe<P: Ports> {
    ports: P,
    fifo: <P::Fs as Fs>::Fifo,
    closed: <P::Runtime as Runtime>::Value<bool>,
}

impl<P: Ports> Pipe<P> {
    async fn open(ports: &P, ctx: &Context, path: &str, end: FifoEnd) -> Result<Self, Error> {
        let fifo = ports.fs().open_fifo(ctx, path, end).await?;
        let closed = ports.runtime().value(false);
        Ok(Pipe { ports: ports.clone(), fifo, closed })
    }

    /// The descriptor is gone whatever the first close answers; later ones do nothing.
    async fn close(&self) {
        if self.closed.get() {
            return;
        }
        if let Err(error) = self.ports.fs().close_fifo(&self.fifo).await {
            debug!(%error, "failed to close a container's pipe");
        }
        self.closed.set(true);
    }
}

/// An output stream: its pipe, who gets what comes out of it, and whether it has ended.
struct Stream<P: Ports> {
    name: &'static str,
    pipe: Pipe<P>,
    writers: WriterGroup<P>,
    piping: <P::Runtime as Runtime>::Value<bool>,
    piped: <P::Runtime as Runtime>::Signal,
}

impl<P: Ports> Stream<P> {
    /// Copies until the end of the stream or an error, then closes both ends of the copy.
    async fn pump(&self, id: &str) {
        if let Err(error) = self.copy().await {
            error!(container = id, %error, "Failed to pipe {} of container {}", self.name, quote(id));
        }
        self.pipe.close().await;
        self.writers.close().await;
        self.piped.set();
        debug!(container = id, "Finish piping {} of container {}", self.name, quote(id));
    }

    async fn copy(&self) -> Result<(), Error> {
        loop {
            let bytes = self.pipe.ports.fs().read_fifo(&self.pipe.fifo).await?;
            if bytes.is_empty() {
                return Ok(());
            }
            self.writers.write(&bytes).await?;
        }
    }

    async fn wait(&self) {
        if self.piping.get() {
            // Nothing ends the wait but the pump: an endless context has no error.
            let _ = self.piped.wait(&Context::background()).await;
        }
    }
}

/// Where the pipes of a container are.
#[derive(Clone, Hash)]
struct PipeFiles {
    paths: IoPaths,
    /// The directory that holds the pipes and nothing else.
    dir: String,
    /// The pipes were there before this daemon.
    attached: bool,
}

impl PipeFiles {
    async fn remove(&self, fs: &impl Fs) -> Result<(), FsError> {
        if !self.attached {
            return fs.remove_tree(&self.dir).await;
        }
        let mut removed = Ok(());
        for path in [&self.paths.stdin, &self.paths.stdout, &self.paths.stderr] {
            if !path.is_empty()
                && let Err(error) = fs.remove_file(path).await
                && !error.is(Errno::ENOENT)
            {
                removed = Err(error);
            }
        }
        // Somebody else's pipes may share the directory.
        let _ = fs.remove_dir(&self.dir).await;
        removed
    }
}

/// The IO of one container: its pipes and what is attached to them.
pub struct ContainerIo<P: Ports> {
    id: String,
    ports: P,
    quirks: Quirks,
    files: PipeFiles,
    cancel: CancelToken,
    /// The pipes were closed and removed, or will be.
    closed: <P::Runtime as Runtime>::Value<bool>,
    stdin: Option<Pipe<P>>,
    stdout: Rc<Stream<P>>,
    stderr: Rc<Stream<P>>,
}

/// By where it is, and whether its pipes are given up: what else of it changes is guarded by itself.
impl<P: Ports> Hash for ContainerIo<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.id, &self.files, self.cancel.peek()).hash(state);
    }
}

impl<P: Ports> ContainerIo<P> {
    /// The directory that the pipes' directories are in.
    pub fn base(volatile_root: &str) -> String {
        format!("{volatile_root}/io")
    }

    /// Makes the pipes in a fresh directory below `volatile_root`/io. They open in the background.
    ///
    /// # Errors
    /// Those of the directories and of the pipes. Pipes that were opened are closed then; what was
    /// made on disk stays.
    pub async fn create(
        ports: &P,
        quirks: Quirks,
        id: &str,
        volatile_root: &str,
        tty: bool,
        stdin: bool,
    ) -> Result<Self, Error> {
        let root = Self::base(volatile_root);
        ports.fs().make_dir_all(&root, 0o700).await?;
        let dir = ports.fs().make_temp_dir(&root).await?;
        let path = |stream| [&*dir, "/", id, stream].concat();
        let paths = IoPaths {
            terminal: tty,
            stdin: if stdin { path("-stdin") } else { String::new() },
            stdout: path("-stdout"),
            stderr: path("-stderr"),
        };
        Self::open(ports, quirks, id, PipeFiles { paths, dir, attached: false }).await
    }

    /// Takes up the pipes of a task that was there before this daemon. One that is missing is made
    /// anew.
    ///
    /// # Errors
    /// As [`ContainerIo::create`].
    pub async fn take_up(
        ports: &P,
        quirks: Quirks,
        id: &str,
        paths: IoPaths,
    ) -> Result<Self, Error> {
        let dir = paths.stdout.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned();
        Self::open(ports, quirks, id, PipeFiles { paths, dir, attached: true }).await
    }

    async fn open(ports: &P, quirks: Quirks, id: &str, files: PipeFiles) -> Result<Self, Error> {
        let (ctx, cancel) = Context::background().with_cancel();
        let mut opened = Vec::with_capacity(3);
        match Self::open_pipes(ports, &ctx, &files.paths, &mut opened).await {
            Ok(()) => {}
            Err(error) => {
                for pipe in &opened {
                    pipe.close().await;
                }
                cancel.cancel(ports.clock().now());
                return Err(error);
            }
        }
        let mut next = || opened.pop().expect("stdout and stderr are always opened");
        let stderr = Self::stream(ports, id, "stderr", ["writers-stderr", "piped-stderr"], next());
        let stdout = Self::stream(ports, id, "stdout", ["writers-stdout", "piped-stdout"], next());
        Ok(ContainerIo {
            id: id.to_owned(),
            ports: ports.clone(),
            quirks,
            files,
            cancel,
            closed: ports.runtime().value(false),
            stdin: opened.pop(),
            stdout,
            stderr,
        })
    }

    /// Opens stdin, where there is one, stdout and stderr, in this order.
    async fn open_pipes(
        ports: &P,
        ctx: &Context,
        paths: &IoPaths,
        opened: &mut Vec<Pipe<P>>,
    ) -> Result<(), Error> {
        if !paths.stdin.is_empty() {
            opened.push(Pipe::open(ports, ctx, &paths.stdin, FifoEnd::Write).await?);
        }
        opened.push(Pipe::open(ports, ctx, &paths.stdout, FifoEnd::Read).await?);
        opened.push(Pipe::open(ports, ctx, &paths.stderr, FifoEnd::Read).await?);
        Ok(())
    }

    fn stream(
        ports: &P,
        id: &str,
        name: &'static str,
        [writers, piped]: [&'static str; 2],
        pipe: Pipe<P>,
    ) -> Rc<Stream<P>> {
        Rc::new(Stream {
            name,
            pipe,
            writers: WriterGroup::new(ports, Name::new(writers, id)),
            piping: ports.runtime().value(false),
            piped: ports.runtime().signal(Name::new(piped, id)),
        })
    }

    /// What the task service is told.
    pub fn paths(&self) -> IoPaths {
        self.files.paths.clone()
    }

    /// Attaches writers under a name. Returns those that had the name before; they are not closed, but
    /// dropping them ends them. A stream that has ended closes its writer at once.
    pub async fn add_output(
        &self,
        name: &str,
        stdout: Option<LogWriter<P>>,
        stderr: Option<LogWriter<P>>,
    ) -> (Option<LogWriter<P>>, Option<LogWriter<P>>) {
        (
            self.attach(&self.stdout, name, stdout).await,
            self.attach(&self.stderr, name, stderr).await,
        )
    }

    async fn attach(
        &self,
        stream: &Stream<P>,
        name: &str,
        writer: Option<LogWriter<P>>,
    ) -> Option<LogWriter<P>> {
        let key = format!("{}-{name}-{}", self.id, stream.name);
        stream.writers.put(key, writer?).await
    }

    /// Starts the pumps. With a terminal there is only one stream.
    pub fn pipe(&self) {
        self.spawn_pump("pump-stdout", &self.stdout);
        if !self.files.paths.terminal {
            self.spawn_pump("pump-stderr", &self.stderr);
        }
    }

    fn spawn_pump(&self, role: &'static str, stream: &Rc<Stream<P>>) {
        stream.piping.set(true);
        let (stream, id) = (stream.clone(), self.id.clone());
        self.ports
            .runtime()
            .spawn(Name::new(role, &self.id), async move { stream.pump(&id).await });
    }

    /// Gives up on the pipes that nobody has opened yet. Others go on.
    pub fn cancel(&self) {
        self.cancel.cancel(self.ports.clock().now());
    }

    /// Waits until both streams have ended and everything in them was handed on. Nothing bounds it.
    pub async fn wait(&self) {
        self.stdout.wait().await;
        self.stderr.wait().await;
    }

    /// Closes the pipes, whose unread output is lost, and removes them and their directory. Can be
    /// repeated.
    pub async fn close(&self) {
        if let Some(stdin) = &self.stdin {
            stdin.close().await;
        }
        self.stdout.pipe.close().await;
        if !planted!(self, PipeLeftOpen) {
            self.stderr.pipe.close().await;
        }
        self.closed.set(true);
        let removed = self.files.remove(self.ports.fs()).await;
        if let Err(error) = removed {
            debug!(container = self.id, %error, "failed to remove a container's pipes");
            if !self.quirks.has(Quirk::CleanUpNotRetried) {
                self.remove_later();
            }
        }
    }

    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Removes the pipes in the background, however long it takes.
    fn remove_later(&self) {
        let (ports, files) = (self.ports.clone(), self.files.clone());
        self.ports.runtime().spawn(Name::new("cleanup", &self.id), async move {
            for pause in pauses() {
                ports.runtime().sleep(pause).await;
                if files.remove(ports.fs()).await.is_ok() {
                    return;
                }
            }
        });
    }
}
