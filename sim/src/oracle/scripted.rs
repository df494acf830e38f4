//! The oracle of a scenario file: option 0 everywhere, except where the file says otherwise.

use super::{Choice, Fault, Oracle};
use crate::turnstile::{Moment, Site};

#[derive(Clone, Copy, Debug)]
pub struct ScriptedHold {
    pub what: Moment,
    pub until: Moment,
    pub across_time: bool,
}

/// The decisions of a scenario, by name.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub faults: Vec<(Site, Fault)>,
    pub holds: Vec<ScriptedHold>,
}

/// Follows a script. The script's faults reach it as the site's own entries on the menu.
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
            Choice::Hold { moment } => {
                for (hold, progress) in &mut self.holds {
                    if hold.what == *moment && *progress == Progress::Waiting {
                        *progress = Progress::Holding;
                        return if hold.across_time { 2 } else { 1 };
                    }
                }
                0
            }
            Choice::Keep { moment, after } => {
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
