//! Limits for what has none of its own.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use crate::config::DISK_TIMEOUT;
use crate::ports::{Code, Error, Runtime};
use crate::quirks::{Quirk, Quirks};

/// What `work` brings, or `None` when it takes longer than `limit`. It is dropped then: a system call
/// that is under way may still have its effect.
pub(crate) async fn within<T>(
    runtime: &impl Runtime,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    match select(pin!(work), pin!(runtime.sleep(limit))).await {
        Either::Left((out, _)) => Some(out),
        Either::Right(_) => None,
    }
}

/// A step that waits for the disk, and without [`Quirk::DiskUnbounded`] not for ever.
///
/// # Errors
/// Those of `work`; DeadlineExceeded.
pub(crate) async fn on_disk<T, E: Into<Error>>(
    runtime: &impl Runtime,
    quirks: Quirks,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Error> {
    if quirks.has(Quirk::DiskUnbounded) {
        return work.await.map_err(Into::into);
    }
    match within(runtime, DISK_TIMEOUT, work).await {
        Some(done) => done.map_err(Into::into),
        None => Err(Error::new(Code::DeadlineExceeded, "the disk does not answer")),
    }
}
