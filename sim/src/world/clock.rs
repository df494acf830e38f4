//! Both clocks of the node. The wall clock can be set and can run at another pace; monotonic time goes
//! on whatever becomes of it.

use std::fmt;
use std::time::Duration;

use shakedown_cri::ports::{Clock, Instant};

use super::{WALL_EPOCH, World};
use crate::oracle::duration_text;
use crate::turnstile::Sim;

/// How the wall clock goes on otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClockChange {
    /// It is set forward, or back if this is negative, by that many nanoseconds.
    Jump(i64),
    /// From now on it gains that many parts in a million against monotonic time, or loses them.
    Drift(i64),
}

impl fmt::Display for ClockChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClockChange::Jump(by) => {
                let sign = if *by < 0 { "-" } else { "" };
                write!(
                    f,
                    "jump by {sign}{}",
                    duration_text(Duration::from_nanos(by.unsigned_abs()))
                )
            }
            ClockChange::Drift(ppm) => write!(f, "drift of {ppm} parts per million"),
        }
    }
}

/// What the wall clock showed at a time, and how it has gone on since.
#[derive(Clone, Debug, Hash)]
pub struct WallClock {
    since: u64,
    then: i64,
    drift_ppm: i64,
    /// How often it was set back.
    pub set_backs: u32,
    /// What will be done to it, and whether that happened.
    pub changes: Vec<(ClockChange, bool)>,
}

impl Default for WallClock {
    fn default() -> Self {
        WallClock { since: 0, then: WALL_EPOCH, drift_ppm: 0, set_backs: 0, changes: Vec::new() }
    }
}

impl WallClock {
    /// Nanoseconds since the Unix epoch, at `now` of monotonic time.
    pub fn at(&self, now: u64) -> i64 {
        let passed = i64::try_from(now.saturating_sub(self.since)).unwrap_or(i64::MAX);
        let drift = i128::from(passed) * i128::from(self.drift_ppm) / 1_000_000;
        let drift = i64::try_from(drift).unwrap_or(i64::MAX);
        self.then.saturating_add(passed).saturating_add(drift)
    }

    /// Does what [`WallClock::changes`] says at `index`.
    pub(super) fn change(&mut self, now: u64, index: usize) {
        let (change, done) = &mut self.changes[index];
        let change = *change;
        *done = true;
        self.then = self.at(now);
        self.since = now;
        match change {
            ClockChange::Jump(by) => {
                self.then = self.then.saturating_add(by);
                self.set_backs += u32::from(by < 0);
            }
            ClockChange::Drift(ppm) => self.drift_ppm = ppm,
        }
    }
}

#[derive(Clone)]
pub struct SimClock {
    pub(super) sim: Sim,
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        self.sim.now()
    }

    fn wall(&self) -> i64 {
        self.sim.look(World::wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn shown(clock: &WallClock, seconds: u64) -> i64 {
        clock.at(seconds * SECOND) - WALL_EPOCH
    }

    #[test]
    fn jumps_and_drift_add_up() {
        let changes = [
            ClockChange::Drift(500),
            ClockChange::Jump(-3_600_000_000_000),
            ClockChange::Drift(-500),
            ClockChange::Drift(0),
        ]
        .map(|change| (change, false));
        let mut clock = WallClock { changes: changes.to_vec(), ..WallClock::default() };
        assert_eq!(shown(&clock, 10), 10_000_000_000);
        clock.change(10 * SECOND, 0);
        assert_eq!(shown(&clock, 10), 10_000_000_000);
        assert_eq!(shown(&clock, 20), 20_005_000_000);
        clock.change(20 * SECOND, 1);
        assert_eq!(shown(&clock, 20), -3_579_995_000_000);
        // The pace stays when the clock is set.
        assert_eq!(shown(&clock, 30), -3_569_990_000_000);
        clock.change(30 * SECOND, 2);
        assert_eq!(shown(&clock, 40), -3_559_995_000_000);
        clock.change(40 * SECOND, 3);
        assert_eq!(shown(&clock, 50), -3_549_995_000_000);
        assert_eq!(clock.set_backs, 1);
        assert!(clock.changes.iter().all(|(_, done)| *done));
    }
}
