//! The oracle of a scenario file: option 0 everywhere, except where the file says otherwise.

use std::time::Duration;

use super::{Choice, Crash, Fault, Oracle};
use crate::turnstile::{Moment, Site, Symbol};
use crate::world::fs::Survival;

#[derive(Clone, Copy, Debug)]
pub struct ScriptedHold {
    pub what: Moment,
    pub until: Moment,
    pub across_time: bool,
}

/// When a crash strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashAt {
    /// After this moment.
    Moment(Moment),
    /// That long after the first call could run.
    Time(Duration),
}

#[derive(Clone, Debug)]
pub struct ScriptedCrash {
    pub at: CrashAt,
    pub crash: Crash,
    /// Pending operations of which a power loss leaves nothing; [`ScriptedCrash::ALL`] are all.
    pub lost: Vec<Symbol>,
    /// Those of which it leaves half.
    pub torn: Vec<Symbol>,
}

impl ScriptedCrash {
    pub const ALL: &str = "all";

    /// What the scenario wants to become of a pending operation; nothing where it does not speak of it.
    pub fn survival(&self, pending: Symbol) -> Option<Survival> {
        if self.torn.contains(&pending) {
            Some(Survival::Torn)
        } else if self.lost.contains(&pending) || self.lost.contains(&Symbol::of(Self::ALL)) {
            Some(Survival::Lost)
        } else {
            None
        }
    }
}

/// The decisions of a scenario, by name.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub faults: Vec<(Site, Fault)>,
    pub holds: Vec<ScriptedHold>,
    pub crashes: Vec<ScriptedCrash>,
}

/// Follows a script. The script's faults and crashes reach it as the own entries on the menu.
pub struct Scripted {
    holds: Vec<(ScriptedHold, Progress)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Waiting,
    Holding,
    /// A moment has its name once, so a hold happens once.
    Over,
}

impl Scripted {
    pub fn new(script: &Script) -> Self {
        Scripted { holds: script.holds.iter().map(|h| (*h, Progress::Waiting)).collect() }
    }
}

impl Oracle for Scripted {
    fn choose(&mut self, choice: &Choice<'_>) -> usize {
        match choice {
            Choice::Fault { menu, .. } => {
                if menu.own.is_empty() {
                    0
                } else {
                    1 + menu.standard.len()
                }
            }
            Choice::Hold { moment, .. } => {
                for (hold, progress) in &mut self.holds {
                    if hold.what == *moment && *progress == Progress::Waiting {
                        *progress = Progress::Holding;
                        return if hold.across_time { 2 } else { 1 };
                    }
                }
                0
            }
            Choice::Crash { own, .. } => {
                if own.is_empty() {
                    0
                } else {
                    1 + Crash::STANDARD.len()
                }
            }
            Choice::Survival { own, .. } => own.unwrap_or(0),
            Choice::Keep { moment, after, .. } => {
                for (hold, progress) in &mut self.holds {
                    if hold.what == *moment && *progress == Progress::Holding {
                        if hold.until == *after {
                            *progress = Progress::Over;
                            return 0;
                        }
                        return 1;
                    }
                }
                0
            }
        }
    }
}
