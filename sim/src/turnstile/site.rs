//! Sites and moments, and the catalogue of the operations that have them.

use std::fmt;

use shakedown_cri::ports::{Code, Errno};

use super::names::Symbol;

/// Who makes the calls of an operation, and so which faults it can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// A file call of the service.
    File,
    /// A named pipe of the service.
    Pipe,
    /// A call of the service into containerd's metadata, snapshot and image services.
    Metadata,
    /// A call of the service into containerd's task service.
    Task,
    /// A step inside the task service: a call to a shim, or its own bookkeeping.
    Daemon,
    /// A step inside a shim: the OCI runtime, the pipes.
    Shim,
    /// A call of the service to one NRI plugin.
    Nri,
    /// Sending a CRI event, and handing it on.
    Event,
    /// Locks, channels, signals, timers and spawning of the service.
    Runtime,
    /// The client's own moments.
    Client,
    /// What happens in the world by itself.
    World,
}

impl Layer {
    pub const fn name(self) -> &'static str {
        match self {
            Layer::File => "file",
            Layer::Pipe => "pipe",
            Layer::Metadata => "metadata",
            Layer::Task => "task service",
            Layer::Daemon => "inside the task service",
            Layer::Shim => "inside the shim",
            Layer::Nri => "NRI plugin",
            Layer::Event => "event",
            Layer::Runtime => "runtime",
            Layer::Client => "client",
            Layer::World => "world",
        }
    }
}

macro_rules! operations {
    ($($op:ident $name:literal $layer:ident $what:literal [$($errno:ident)*],)*) => {
        /// Every operation that has sites.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Op { $($op,)* }

        impl Op {
            pub const ALL: &[Op] = &[$(Op::$op,)*];

            /// The word in site names.
            pub const fn name(self) -> &'static str {
                match self { $(Op::$op => $name,)* }
            }

            #[inline]
            pub const fn layer(self) -> Layer {
                match self { $(Op::$op => Layer::$layer,)* }
            }

            /// The operation in a few words, for the table of sites.
            pub const fn what(self) -> &'static str {
                match self { $(Op::$op => $what,)* }
            }

            /// The error numbers that a real system can answer it with.
            pub const fn errnos(self) -> &'static [Errno] {
                match self { $(Op::$op => &[$(Errno::$errno,)*],)* }
            }
        }
    };
}

operations! {
    FsMkdir "fs.mkdir" File "make a directory and its parents" [ENOSPC EIO EACCES EROFS ENOTDIR EDQUOT],
    FsMkdtemp "fs.mkdtemp" File "make a fresh directory" [ENOSPC EIO EACCES EROFS ENOENT EDQUOT],
    FsCreateTemp "fs.create_temp" File "make and open a fresh file" [ENOSPC EIO EACCES EROFS ENOENT EMFILE ENFILE EDQUOT],
    FsOpen "fs.open" File "open a file for appending" [ENOSPC EIO EACCES EROFS ENOENT EISDIR EMFILE ENFILE EDQUOT],
    FsChmod "fs.chmod" File "change a mode" [EIO EPERM EROFS ENOENT],
    FsWrite "fs.write" File "write to an open file" [ENOSPC EIO EDQUOT EINTR],
    FsSync "fs.fsync" File "make a file durable" [ENOSPC EIO EDQUOT],
    FsSyncDir "fs.fsync_dir" File "make the changes in a directory durable" [EIO EACCES ENOENT EMFILE ENFILE],
    FsClose "fs.close" File "close a file" [EIO],
    FsRead "fs.read" File "read a whole file" [EIO EACCES ENOENT EMFILE],
    FsReadDir "fs.read_dir" File "list a directory" [EIO EACCES ENOENT ENOTDIR EMFILE ENFILE],
    FsRename "fs.rename" File "rename a file over another" [ENOSPC EIO EACCES EROFS ENOENT EDQUOT],
    FsUnlink "fs.unlink" File "remove a file" [EIO EACCES EROFS EBUSY],
    FsRemoveDir "fs.remove_dir" File "remove an empty directory" [EIO EACCES EROFS ENOENT ENOTEMPTY EBUSY],
    FsUnmount "fs.unmount" File "unmount what is mounted below a path" [EIO EBUSY EINVAL],
    FsRemoveTree "fs.remove_tree" File "remove a directory and what is below it" [EIO EACCES EROFS EBUSY],
    PipeOpen "pipe.open" Pipe "make a named pipe and open it in the background" [ENOSPC EIO EACCES EROFS ENOENT EMFILE ENFILE],
    PipeRead "pipe.read" Pipe "read from a named pipe" [EIO],
    PipeClose "pipe.close" Pipe "close a named pipe" [],
    RecordInfo "record.info" Metadata "read a container record" [],
    RecordList "record.list" Metadata "list the container records" [],
    RecordCreate "record.create" Metadata "make a container record" [],
    RecordUpdate "record.update" Metadata "put another spec into a container record" [],
    RecordDelete "record.delete" Metadata "delete a container record" [],
    SnapshotPrepare "snapshot.prepare" Metadata "make the snapshot of a container" [],
    SnapshotMounts "snapshot.mounts" Metadata "read the mounts of a snapshot" [],
    SnapshotRemove "snapshot.remove" Metadata "remove a snapshot" [],
    ImageGet "image.get" Metadata "read an image" [],
    TaskCreate "task.create" Task "create a task" [],
    TaskGet "task.get" Task "ask for a task's state" [],
    TaskStart "task.start" Task "start a task's process" [],
    TaskKill "task.kill" Task "send a signal to a task" [],
    TaskUpdate "task.update" Task "change a task's limits" [],
    TaskWait "task.wait" Task "wait for a task's exit" [],
    TaskDelete "task.delete" Task "delete a task" [],
    TaskOom "task.oom_event" Task "wait for the next event that a process ran out of memory" [],
    BundleCreate "bundle.create" Daemon "make the bundle directory" [],
    ShimLoad "shim.load" Daemon "take up a shim that was there before the daemon" [],
    ShimConnect "shim.connect" Daemon "launch or join the pod's shim" [],
    ShimCreate "shim.create" Daemon "have the shim create the container" [],
    ShimStart "shim.start" Daemon "have the shim start the process" [],
    ShimState "shim.state" Daemon "ask the shim for the state" [],
    ShimPid "shim.pid" Daemon "ask the shim for the pid" [],
    ShimKill "shim.kill" Daemon "have the shim send a signal" [],
    ShimUpdate "shim.update" Daemon "have the shim change the limits" [],
    ShimWait "shim.wait" Daemon "wait in the shim for the exit" [],
    ShimDelete "shim.delete" Daemon "have the shim delete the container" [],
    ShimShutdown "shim.shutdown" Daemon "let go of the shim" [],
    MetricsRegister "metrics.register" Daemon "register the cgroup with the metrics monitor" [],
    RuntimeCreate "runtime.create" Shim "runc create: namespaces, cgroup, a blocked init" [],
    RuntimeStart "runtime.start" Shim "runc start: the user's process runs" [],
    RuntimeKill "runtime.kill" Shim "runc kill" [],
    RuntimeUpdate "runtime.update" Shim "runc update: other limits of the cgroup" [],
    RuntimeDelete "runtime.delete" Shim "runc delete" [],
    IoCopy "io.copy" Shim "open both ends of the output pipes and copy" [],
    IoDrain "io.drain" Shim "wait for the shim's copy of the output" [],
    NriCreate "nri.create" Nri "CreateContainer of a plugin" [],
    NriPostCreate "nri.post_create" Nri "PostCreateContainer of a plugin" [],
    NriStart "nri.start" Nri "StartContainer of a plugin" [],
    NriPostStart "nri.post_start" Nri "PostStartContainer of a plugin" [],
    NriStop "nri.stop" Nri "StopContainer of a plugin" [],
    NriRemove "nri.remove" Nri "RemoveContainer of a plugin" [],
    NriSynchronize "nri.synchronize" Nri "Synchronize of a plugin" [],
    EventSend "event.send" Event "offer an event to the subscribers' channel" [],
    EventReceive "event.receive" Event "take an event from the subscribers' channel" [],
    EventStream "event.stream" Event "send an event to a subscriber" [],
    Spawn "spawn" Runtime "start a background task" [],
    Lock "lock" Runtime "take a lock" [],
    Receive "recv" Runtime "take a channel's item" [],
    Send "send" Runtime "put an item into a channel" [],
    Signal "signal" Runtime "wait for a signal" [],
    Sleep "sleep" Runtime "wait for a time" [],
    Wake "wake" Runtime "go on after a wake-up that did not come through a port" [],
    Begin "begin" Client "the call reaches the service" [],
    Cancel "cancel" Client "the client cancels" [],
    Done "done" Client "the service answers" [],
    Exit "exit" World "a process ends" [],
    Print "print" World "a process writes" [],
    Adjust "adjust" World "the wall clock is set, or goes at another pace" [],
    Rotate "rotate" World "a log is renamed, as before it is opened anew" [],
    Oom "oom" World "the kernel kills a process for want of memory" [],
    Publish "publish" World "a shim tells the daemon that the kernel killed a process" [],
    Crash "crash" World "the daemon ends" [],
    Restart "restart" World "the daemon is started" [],
    Up "up" World "the daemon serves" [],
}

impl Op {
    /// Whether the operation has the one moment that its site names, instead of effect and reply.
    pub const fn is_single(self) -> bool {
        matches!(self.layer(), Layer::Runtime | Layer::Client | Layer::World)
    }

    /// Whether it reports something that can get lost on its way, or makes something durable that a drive
    /// can drop.
    pub const fn can_get_lost(self) -> bool {
        matches!(self, Op::Exit | Op::Publish | Op::FsSync | Op::FsSyncDir)
    }

    /// Client's moments are written `start-1.done`, without a count.
    const fn is_of_client(self) -> bool {
        matches!(self.layer(), Layer::Client)
    }

    /// Whether a deadline or cancel of the caller can end the await (spec section 1.4): metadata
    /// reads, files and what the daemon does by itself do not look at the context.
    pub const fn can_abandon(self) -> bool {
        match self.layer() {
            Layer::Daemon => !matches!(self, Op::BundleCreate | Op::MetricsRegister),
            Layer::Shim | Layer::Nri => true,
            _ => matches!(self, Op::Receive | Op::Signal | Op::EventReceive),
        }
    }

    /// What keeps every client's cancel and deadline away from the operation's calls; `None` when nothing
    /// does.
    pub const fn out_of_clients_reach(self) -> Option<&'static str> {
        match self {
            Op::FsRead | Op::FsReadDir | Op::RecordList | Op::ShimLoad => {
                Some("it is part of the daemon's recovery")
            }
            Op::TaskWait | Op::ShimWait | Op::TaskOom | Op::PipeRead => {
                Some("a background task of the service makes it")
            }
            _ => None,
        }
    }

    /// Why nobody goes on early from the operation's calls when a client gives up, although the call itself
    /// could be ended.
    pub const fn not_left_early(self) -> Option<&'static str> {
        match self {
            Op::ShimDelete | Op::ShimShutdown | Op::IoDrain | Op::RuntimeDelete => {
                Some("a deletion has a budget of its own")
            }
            Op::NriSynchronize => Some("a synchronisation has a limit of its own"),
            Op::EventReceive => {
                Some("a subscriber waits for the next event, whatever its client does")
            }
            _ => None,
        }
    }

    /// Whether the call is a request to a shim that runs already.
    pub(crate) const fn asks_shim(self) -> bool {
        matches!(self.layer(), Layer::Daemon)
            && !matches!(self, Op::BundleCreate | Op::MetricsRegister | Op::ShimConnect)
    }

    /// Whether the call is about a record, a snapshot or a task that its caller knows to be there.
    pub(crate) const fn looks_up(self) -> bool {
        use Op::{
            RecordDelete, RecordInfo, RecordUpdate, RuntimeDelete, RuntimeKill, RuntimeStart,
            RuntimeUpdate, ShimDelete, ShimKill, ShimPid, ShimStart, ShimState, ShimUpdate,
            ShimWait, SnapshotMounts, SnapshotRemove, TaskDelete, TaskGet, TaskKill, TaskStart,
            TaskUpdate, TaskWait,
        };
        matches!(
            self,
            RecordInfo
                | RecordUpdate
                | RecordDelete
                | SnapshotMounts
                | SnapshotRemove
                | TaskGet
                | TaskStart
                | TaskKill
                | TaskUpdate
                | TaskWait
                | TaskDelete
                | ShimStart
                | ShimState
                | ShimPid
                | ShimKill
                | ShimUpdate
                | ShimWait
                | ShimDelete
                | RuntimeStart
                | RuntimeKill
                | RuntimeUpdate
                | RuntimeDelete
        )
    }

    /// Whether the call gives its caller something that is open.
    pub(crate) const fn opens(self) -> bool {
        matches!(self, Op::FsOpen | Op::FsCreateTemp | Op::PipeOpen)
    }

    /// Whether the call can wait for something that others bring about.
    pub(super) const fn waits(self) -> bool {
        matches!(self, Op::TaskWait | Op::TaskOom | Op::ShimWait | Op::PipeRead | Op::EventReceive)
    }

    pub fn find(name: &str) -> Option<Op> {
        Op::ALL.iter().copied().find(|op| op.name() == name)
    }

    /// Error classes that the operation can be failed with.
    pub const fn codes(self) -> &'static [Code] {
        match self.layer() {
            Layer::Metadata | Layer::Task | Layer::Daemon | Layer::Shim | Layer::Nri => &Code::ALL,
            _ => &[],
        }
    }
}

/// One call: who, what, on what, and the how-manieth of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    /// The actor; for a step inside another call, that call's site.
    pub actor: Symbol,
    pub op: Op,
    pub subject: Symbol,
    /// Counts from 1, per actor, operation and subject.
    pub count: u32,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.op.is_of_client() {
            return write!(f, "{}.{}", self.actor, self.op.name());
        }
        write!(f, "{}/{}", self.actor, self.op.name())?;
        if !self.subject.is_empty() {
            write!(f, "({})", self.subject)?;
        }
        write!(f, "#{}", self.count)
    }
}

/// Which of a site's moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Stage {
    Effect,
    Reply,
    Abandon,
    /// The one moment of a site that has no more.
    Only,
}

impl Stage {
    pub const fn suffix(self) -> &'static str {
        match self {
            Stage::Effect => ".effect",
            Stage::Reply => ".reply",
            Stage::Abandon => ".abandon",
            Stage::Only => "",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Moment {
    pub site: Site,
    pub stage: Stage,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.site, self.stage.suffix())
    }
}

/// Splits `text` at the last `/` that no parenthesis encloses.
fn split_actor(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_u32;
    for (i, c) in text.char_indices().rev() {
        match c {
            ')' => depth += 1,
            '(' => depth = depth.checked_sub(1)?,
            '/' if depth == 0 => return Some((&text[..i], &text[i + 1..])),
            _ => {}
        }
    }
    None
}

impl Site {
    /// The site that a name means; `None` when it is not the name of one.
    pub fn parse(text: &str) -> Option<Site> {
        if let Some((actor, word)) = text.rsplit_once('.')
            && let Some(op) = Op::find(word).filter(|op| op.is_of_client())
        {
            return Some(Site { actor: Symbol::of(actor), op, subject: Symbol::EMPTY, count: 1 });
        }
        let (actor, call) = split_actor(text)?;
        let (call, count) = call.rsplit_once('#')?;
        let count = count.parse().ok().filter(|n| *n > 0)?;
        let (op, subject) = match call.split_once('(') {
            Some((op, rest)) => (op, rest.strip_suffix(')')?),
            None => (call, ""),
        };
        let op = Op::find(op).filter(|op| !op.is_of_client())?;
        Some(Site { actor: Symbol::of(actor), op, subject: Symbol::of(subject), count })
    }
}

impl Moment {
    /// The moment that a name means; `None` when it is not the name of one.
    pub fn parse(text: &str) -> Option<Moment> {
        for stage in [Stage::Effect, Stage::Reply, Stage::Abandon] {
            if let Some(head) = text.strip_suffix(stage.suffix()) {
                return Some(Moment { site: Site::parse(head)?, stage });
            }
        }
        let site = Site::parse(text)?;
        site.op.is_single().then_some(Moment { site, stage: Stage::Only })
    }
}
