//! Error classes and the two error types that cross the ports.

use std::fmt;

use crate::quirks::{Quirk, Quirks};

/// The class of an error (spec section 0.2). Every wrap keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    InvalidArgument,
    NotFound,
    AlreadyExists,
    FailedPrecondition,
    Unavailable,
    Unimplemented,
    Cancelled,
    DeadlineExceeded,
    Unknown,
}

impl Code {
    /// All classes, in the order in which the gRPC conversion looks for them (spec section 0.5).
    pub const ALL: [Code; 9] = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::AlreadyExists,
        Code::FailedPrecondition,
        Code::Unavailable,
        Code::Unimplemented,
        Code::Cancelled,
        Code::DeadlineExceeded,
        Code::Unknown,
    ];

    /// The text that containerd puts behind a description (spec section 0.2).
    pub const fn text(self) -> &'static str {
        match self {
            Code::InvalidArgument => "invalid argument",
            Code::NotFound => "not found",
            Code::AlreadyExists => "already exists",
            Code::FailedPrecondition => "failed precondition",
            Code::Unavailable => "unavailable",
            Code::Unimplemented => "not implemented",
            Code::Cancelled => "context canceled",
            Code::DeadlineExceeded => "context deadline exceeded",
            Code::Unknown => "unknown",
        }
    }

    /// The name used in scenario files and reports: `not-found`, `deadline-exceeded`.
    pub const fn name(self) -> &'static str {
        match self {
            Code::InvalidArgument => "invalid-argument",
            Code::NotFound => "not-found",
            Code::AlreadyExists => "already-exists",
            Code::FailedPrecondition => "failed-precondition",
            Code::Unavailable => "unavailable",
            Code::Unimplemented => "unimplemented",
            Code::Cancelled => "cancelled",
            Code::DeadlineExceeded => "deadline-exceeded",
            Code::Unknown => "unknown",
        }
    }
}

/// An operating error of the service or of containerd: a class and the full text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Error {
    pub code: Code,
    pub message: String,
}

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error { code, message: message.into() }
    }

    /// An error whose class no gRPC code is mapped to.
    pub fn unknown(message: impl Into<String>) -> Self {
        Error::new(Code::Unknown, message)
    }

    /// The bare class text as message: what a store or a context returns.
    pub fn bare(code: Code) -> Self {
        Error::new(code, code.text())
    }

    /// What a server answers that lacks a method, in gRPC's words.
    pub fn not_implemented(method: &str) -> Self {
        Error::new(Code::Unimplemented, format!("method {method} not implemented"))
    }

    /// The method that the server lacks, if that is the error, whatever wraps it.
    pub fn lacks_method(&self) -> Option<&str> {
        let inner = self.message.rsplit(": ").next()?;
        let method = inner.strip_prefix("method ")?.strip_suffix(" not implemented")?;
        (self.code == Code::Unimplemented).then_some(method)
    }

    /// `outer: inner`, class kept.
    #[must_use]
    pub fn wrap(self, outer: impl fmt::Display) -> Self {
        Error { code: self.code, message: [&*outer.to_string(), ": ", &*self.message].concat() }
    }

    /// What the error looks like after it crossed the gRPC-shaped client boundary: the description,
    /// and behind it the class text, never doubled (spec section 0.2). Without
    /// [`Quirk::ClassBehindErrorText`] only a context's errors, which cannot carry another text, have
    /// their class behind it (errgrpc's `ToNative`).
    #[must_use]
    pub fn across_rpc(self, quirks: Quirks) -> Self {
        let text = self.code.text();
        let is_of_context = matches!(self.code, Code::Cancelled | Code::DeadlineExceeded);
        if !(is_of_context || quirks.has(Quirk::ClassBehindErrorText))
            || self.message == text
            || self.message.strip_suffix(text).is_some_and(|head| head.ends_with(": "))
        {
            return self;
        }
        Error { code: self.code, message: [&*self.message, ": ", text].concat() }
    }

    pub fn is_not_found(&self) -> bool {
        self.code == Code::NotFound
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<FsError> for Error {
    fn from(error: FsError) -> Self {
        Error::unknown(error.to_string())
    }
}

macro_rules! errnos {
    ($($name:ident $text:literal,)*) => {
        /// Error numbers that the file port can answer with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(clippy::upper_case_acronyms)]
        pub enum Errno { $($name,)* }

        impl Errno {
            pub const ALL: &[Errno] = &[$(Errno::$name,)*];

            /// The field's name, as in errno(3).
            pub const fn name(self) -> &'static str {
                match self { $(Errno::$name => stringify!($name),)* }
            }

            /// The text that the C library and Go print for it.
            pub const fn text(self) -> &'static str {
                match self { $(Errno::$name => $text,)* }
            }
        }
    };
}

errnos! {
    EPERM "operation not permitted",
    ENOENT "no such file or directory",
    EINTR "interrupted system call",
    EIO "input/output error",
    ENXIO "no such device or address",
    EBADF "bad file descriptor",
    EACCES "permission denied",
    EBUSY "device or resource busy",
    EEXIST "file exists",
    EXDEV "invalid cross-device link",
    ENOTDIR "not a directory",
    EISDIR "is a directory",
    EINVAL "invalid argument",
    ENFILE "too many open files in system",
    EMFILE "too many open files",
    ENOSPC "no space left on device",
    EROFS "read-only file system",
    EPIPE "broken pipe",
    ENAMETOOLONG "file name too long",
    ENOTEMPTY "directory not empty",
    ELOOP "too many levels of symbolic links",
    EDQUOT "disk quota exceeded",
}

/// What went wrong in a file operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FsCause {
    Errno(Errno),
    /// The handle was closed by its owner while the operation waited.
    Closed,
    /// The context that the wait was bound to ended.
    Context(Code),
}

/// A failed file operation; displays like Go's path errors: `mkdir /a/b: not a directory`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FsError {
    /// The system call's name: `open`, `mkdir`, `write`, `chmod`, `sync`, `rename`, …
    pub op: &'static str,
    /// The path, or `from to` for a rename.
    pub path: String,
    pub cause: FsCause,
}

impl FsError {
    pub fn new(op: &'static str, path: impl Into<String>, errno: Errno) -> Self {
        FsError { op, path: path.into(), cause: FsCause::Errno(errno) }
    }

    pub fn errno(&self) -> Option<Errno> {
        match self.cause {
            FsCause::Errno(errno) => Some(errno),
            _ => None,
        }
    }

    pub fn is(&self, errno: Errno) -> bool {
        self.errno() == Some(errno)
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = match self.cause {
            FsCause::Errno(errno) => errno.text(),
            FsCause::Closed => "file already closed",
            FsCause::Context(code) => code.text(),
        };
        write!(f, "{} {}: {cause}", self.op, self.path)
    }
}

impl std::error::Error for FsError {}
