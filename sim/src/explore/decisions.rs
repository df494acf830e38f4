//! The decisions of a run that differ from option 0, by name, and as entries of a scenario file.

use crate::oracle::{
    Crash, CrashAt, CrashKind, DelayOf, Effect, Fault, Script, ScriptedCrash, ScriptedHold,
};
use crate::scenario::{self as file, Span, When};
use crate::turnstile::{Moment, Recording, RecordingEntry, Site, Symbol};
use crate::world::fs::Survival;

/// How much a run may deviate from the uneventful one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Faults; crashes are among them.
    pub faults: u32,
    /// Moments that are set aside.
    pub delays: u32,
}

/// Notes decisions as they are taken.
#[derive(Debug, Default)]
pub struct Decisions {
    faults: Vec<(Site, Fault)>,
    holds: Vec<Held>,
    crashes: Vec<ScriptedCrash>,
}

/// A moment that was set aside.
#[derive(Debug)]
struct Held {
    moment: Moment,
    /// What was admitted when it was asked about last; `None`: it was not.
    last: Option<Moment>,
}

impl Held {
    /// The moment after which it was let go. Where it was let go because nothing else could happen, or its
    /// call ended otherwise, that is one that comes too late; `tidy`: the last one before.
    fn until(&self, recording: &Recording, tidy: bool) -> Option<Moment> {
        let let_go = recording.entries.iter().find_map(|entry| match entry {
            RecordingEntry::LetGo { moment, why, .. } if *moment == self.moment => Some(*why),
            _ => None,
        });
        if let_go == Some(Recording::IN_TIME) || tidy && let_go.is_some() {
            return self.last;
        }
        let is_phase = |name| move |entry: &&RecordingEntry| matches!(entry, RecordingEntry::Phase { name: of, .. } if *of == name);
        let entries = recording.entries.iter().skip_while(|entry| !is_phase("disturb")(entry));
        let mut gone = false;
        let (mut early, mut late) = (None, None);
        for entry in entries.take_while(|entry| !is_phase("reap")(entry)) {
            match entry {
                RecordingEntry::LetGo { moment, .. } if *moment == self.moment => gone = true,
                RecordingEntry::Moment(h) if h.moment != self.moment => {
                    let place = if gone { &mut late } else { &mut early };
                    *place = place.or(Some(h.moment));
                    // Without having been let go, it went with what comes next.
                    gone |= let_go.is_none() && Some(h.moment) == self.last;
                }
                RecordingEntry::Held { moment, .. } if *moment == self.moment => {
                    gone |= let_go.is_none() && self.last.is_none();
                }
                _ => {}
            }
        }
        // A moment comes once: one that was there before does not come either.
        late.or(early)
    }
}

impl Decisions {
    pub fn fault(&mut self, site: Site, fault: Fault) {
        self.faults.push((site, fault));
    }

    pub fn hold(&mut self, moment: Moment) {
        self.holds.push(Held { moment, last: None });
    }

    /// It is asked whether a moment that is set aside stays so after `after`.
    pub fn keep(&mut self, moment: Moment, after: Moment) {
        // A moment is set aside once.
        if let Some(held) = self.holds.iter_mut().find(|held| held.moment == moment) {
            held.last = Some(after);
        }
    }

    pub fn crash(&mut self, after: Moment, crash: Crash) {
        let at = CrashAt::Moment(after);
        self.crashes.push(ScriptedCrash { at, crash, lost: Vec::new(), torn: Vec::new() });
    }

    pub fn survival(&mut self, pending: Symbol, survival: Survival) {
        let Some(crash) = self.crashes.last_mut() else { return };
        match survival {
            Survival::Whole => {}
            Survival::Lost => crash.lost.push(pending),
            Survival::Torn => crash.torn.push(pending),
        }
    }

    /// As a script of the run that `recording` is of. `tidy`: with holds that end by themselves, which may be
    /// another run in rare cases.
    pub fn script(&self, recording: &Recording, tidy: bool) -> Script {
        let holds = self.holds.iter().filter_map(|held| {
            let until = held.until(recording, tidy)?;
            Some(ScriptedHold { what: held.moment, until, across_time: false })
        });
        Script {
            holds: holds.collect(),
            faults: self.faults.clone(),
            crashes: self.crashes.clone(),
        }
    }
}

/// The entries of a scenario file, which any thread can have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entries {
    pub faults: Vec<file::Fault>,
    pub holds: Vec<file::Hold>,
    pub crashes: Vec<file::Crash>,
}

impl Entries {
    pub fn of(script: &Script) -> Self {
        Entries {
            faults: script.faults.iter().map(|(site, fault)| fault_entry(*site, fault)).collect(),
            holds: script.holds.iter().map(hold_entry).collect(),
            crashes: script.crashes.iter().map(crash_entry).collect(),
        }
    }

    /// An undecided scenario with these decisions.
    pub fn put_into(&self, scenario: &file::Scenario) -> file::Scenario {
        let crashes = scenario.crashes.iter().chain(&self.crashes);
        file::Scenario {
            faults: self.faults.clone(),
            holds: self.holds.clone(),
            crashes: crashes.cloned().collect(),
            ..scenario.clone()
        }
    }
}

/// The scenario without decisions, and without what is expected of them: what a search starts from. A crash
/// that comes at a time is no decision, but part of the story.
pub fn undecided(scenario: &file::Scenario) -> file::Scenario {
    let of_story = |crash: &&file::Crash| matches!(crash.when, When::At(_));
    file::Scenario {
        description: String::new(),
        tags: Vec::new(),
        faults: Vec::new(),
        holds: Vec::new(),
        crashes: scenario.crashes.iter().filter(of_story).cloned().collect(),
        expects: Vec::new(),
        violations: Vec::new(),
        ..scenario.clone()
    }
}

fn effect(effect: Effect) -> file::Effect {
    match effect {
        Effect::None => file::Effect::None,
        Effect::Done => file::Effect::Done,
        Effect::Late(by) => file::Effect::Late(by),
    }
}

fn fault_entry(site: Site, fault: &Fault) -> file::Fault {
    let kind = match fault {
        Fault::Error { cause, message, effect: e } => file::FaultKind::Error {
            code: cause.name().to_owned(),
            message: message.as_deref().map(str::to_owned),
            effect: effect(*e),
        },
        Fault::Delay { by, of } => file::FaultKind::Delay {
            by: *by,
            of: match of {
                DelayOf::Effect => file::DelayOf::Effect,
                DelayOf::Reply => file::DelayOf::Reply,
            },
        },
        Fault::Hang { effect: e } => file::FaultKind::Hang { effect: effect(*e) },
        Fault::HangForever { effect: e } => file::FaultKind::HangForever { effect: effect(*e) },
        Fault::Cancel { effect: e } => file::FaultKind::Cancel { effect: effect(*e) },
        Fault::Deadline { effect: e } => file::FaultKind::Deadline { effect: effect(*e) },
        Fault::ShortWrite => file::FaultKind::ShortWrite,
        Fault::ConnectionClosed { effect: e } => {
            file::FaultKind::ConnectionClosed { effect: effect(*e) }
        }
        Fault::Lost => file::FaultKind::Lost,
    };
    {
        let (span, at_span, code_span) = (Span::default(), Span::default(), Span::default());
        file::Fault { span, at: site.to_string(), at_span, code_span, kind }
    }
}

fn hold_entry(hold: &ScriptedHold) -> file::Hold {
    file::Hold {
        span: Span::default(),
        what: hold.what.to_string(),
        until: hold.until.to_string(),
        across_time: hold.across_time,
    }
}

fn crash_entry(scripted: &ScriptedCrash) -> file::Crash {
    let all = |names: &[Symbol]| names.iter().map(ToString::to_string).collect();
    file::Crash {
        span: Span::default(),
        when: match scripted.at {
            CrashAt::Moment(moment) => When::Moment(moment.to_string()),
            CrashAt::Time(at) => When::At(at),
        },
        kind: match scripted.crash.kind {
            CrashKind::Daemon => file::CrashKind::Daemon,
            CrashKind::Power => file::CrashKind::Power,
        },
        down: scripted.crash.down,
        lost: all(&scripted.lost),
        torn: all(&scripted.torn),
    }
}
