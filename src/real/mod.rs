//! The ports on tokio, the system's clock and a real directory: proof that they are ports.
//!
//! Everything runs on one thread, in a `tokio::task::LocalSet` of a current-thread runtime with time
//! and I/O enabled; only file operations that block go to tokio's pool of blocking threads.

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the bans keep the real world out of the simulated one; this is the real one"
)]

mod clock;
mod fs;
mod runtime;

use std::future::{Future, pending};
use std::pin::pin;

use futures_util::future::{Either, select};

pub use self::clock::SystemClock;
pub use self::fs::{DirectoryFs, Fifo, File};
pub use self::runtime::{
    LocalValue, TokioLock, TokioReadGuard, TokioReceiver, TokioRuntime, TokioSender, TokioSignal,
    TokioWriteGuard,
};
use crate::ports::{Clock, Code, Containerd, Context, Error, EventSink, Metrics, Nri, Ports};

/// A node with a real runtime, clock and filesystem; the rest is given.
#[derive(Clone, Debug)]
pub struct RealPorts<C, N, E, M> {
    pub runtime: TokioRuntime,
    pub clock: SystemClock,
    pub fs: DirectoryFs,
    pub containerd: C,
    pub nri: N,
    pub events: E,
    pub metrics: M,
}

impl<C: Containerd, N: Nri, E: EventSink, M: Metrics> Ports for RealPorts<C, N, E, M> {
    type Runtime = TokioRuntime;
    type Clock = SystemClock;
    type Fs = DirectoryFs;
    type Containerd = C;
    type Nri = N;
    type Events = E;
    type Metrics = M;

    fn runtime(&self) -> &TokioRuntime {
        &self.runtime
    }

    fn clock(&self) -> &SystemClock {
        &self.clock
    }

    fn fs(&self) -> &DirectoryFs {
        &self.fs
    }

    fn containerd(&self) -> &C {
        &self.containerd
    }

    fn nri(&self) -> &N {
        &self.nri
    }

    fn events(&self) -> &E {
        &self.events
    }

    fn metrics(&self) -> &M {
        &self.metrics
    }
}

/// Waits for `wanted` as long as the context lasts.
///
/// # Errors
/// The context's error.
async fn within<T>(
    clock: &SystemClock,
    ctx: &Context,
    wanted: impl Future<Output = T>,
) -> Result<T, Error> {
    match select(pin!(wanted), pin!(end_of(clock, ctx))).await {
        Either::Left((value, _)) => Ok(value),
        Either::Right((code, _)) => Err(Error::bare(code)),
    }
}

/// Resolves when the context ends, with how it ended.
async fn end_of(clock: &SystemClock, ctx: &Context) -> Code {
    let expiry = async {
        match ctx.deadline() {
            Some(at) => tokio::time::sleep(at.since(clock.now())).await,
            None => pending().await,
        }
    };
    let cancelled = async {
        match ctx.cancel_token() {
            Some(token) => token.cancelled().await,
            None => pending().await,
        }
    };
    select(pin!(expiry), pin!(cancelled)).await;
    ctx.end().map_or(Code::DeadlineExceeded, |(_, code)| code)
}
