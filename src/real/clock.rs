//! The system's clocks.

use std::time::{Instant as StdInstant, SystemTime, UNIX_EPOCH};

use crate::ports::{Clock, Instant};

/// Counts monotonic time from its own making.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock(StdInstant);

impl SystemClock {
    pub fn new() -> Self {
        SystemClock(StdInstant::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::default().after(self.0.elapsed())
    }

    fn wall(&self) -> i64 {
        let nanos =
            |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => nanos(since),
            Err(before) => -nanos(before.duration()),
        }
    }
}
