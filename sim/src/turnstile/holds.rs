//! Moments that are set aside: what the oracle sees when it is asked, and when they are let go.

use super::line::{Line, Parked};
use super::recording::Recording;
use super::site::{Moment, Stage};
use super::{Core, Fate, bit};
use crate::oracle::Choice;

/// What else could happen now, beside the moment that an oracle is asked about.
#[derive(Clone, Copy)]
pub struct Due<'a> {
    pub(super) parked: &'a Line,
    pub(super) at: usize,
    pub(super) now: u64,
}

impl Due<'_> {
    /// The moments of other calls that are due and not set aside.
    pub fn others(&self) -> impl Iterator<Item = Moment> {
        let others = self.parked.live().filter(|at| *at != self.at);
        others.filter_map(|at| {
            let parked = &self.parked[at];
            let stage = match parked.held {
                Some(_) => return None,
                None if parked.due <= self.now => parked.stage,
                None if parked.earliest() <= self.now => Stage::Abandon,
                None => return None,
            };
            Some(Moment { site: parked.site, stage })
        })
    }
}

impl Core {
    /// Asks whether the moment is set aside, and does it.
    pub(super) fn set_aside(&mut self, at: usize, stage: Stage, now: u64) -> bool {
        let parked = &self.parked[at];
        // Of one call, one moment at a time.
        if !self.faults_allowed || parked.asked & bit(stage) != 0 || parked.held.is_some() {
            return false;
        }
        let mut site = parked.site;
        if site.count == 0 {
            site = self.count_of(site);
            self.parked.change(at).site = site;
        }
        let moment = Moment { site, stage };
        let due = Due { parked: &self.parked, at, now };
        self.steps.iter_mut().for_each(|steps| steps.asks());
        let option = self.oracle.choose(&Choice::Hold { moment, due });
        self.parked.note_asked(at, stage);
        if option == 0 {
            return false;
        }
        let ready = self.parked[at].ready;
        self.parked.change(at).held = Some((stage, option == 2));
        self.note_held(moment, ready, now);
        true
    }

    pub(super) fn note_held(&mut self, moment: Moment, ready: usize, now: u64) {
        self.any_held = true;
        self.recording.held(now, moment);
        self.steps.iter_mut().for_each(|steps| steps.set_aside(moment, ready));
    }

    /// After each admission, the oracle may let held moments go.
    pub(super) fn reconsider_held(&mut self, after: Moment, now: u64) {
        for i in 0..self.parked.len() {
            let Some((stage, _)) = self.parked[i].held else { continue };
            let moment = Moment { site: self.parked[i].site, stage };
            let due = Due { parked: &self.parked, at: i, now };
            let is_last = due.others().next().is_none();
            self.steps.iter_mut().for_each(|steps| steps.asks());
            if self.oracle.choose(&Choice::Keep { moment, after, due }) == 0 {
                self.parked.change(i).held = None;
                self.stirred = true;
                self.recording.let_go(now, moment, Recording::IN_TIME);
                self.steps.iter_mut().for_each(|steps| steps.let_go(moment, is_last));
                self.set_hold_fate(moment, Fate::Applied);
            }
        }
    }

    /// Lets held moments go because nothing else can happen, or time would pass.
    pub(super) fn release_held(&mut self, now: u64, across_time: bool, why: &'static str) -> bool {
        let mut released = false;
        for i in 0..self.parked.len() {
            if let Some((stage, across)) = self.parked[i].held
                && (across_time || !across)
            {
                let moment = Moment { site: self.parked[i].site, stage };
                self.parked.change(i).held = None;
                self.stirred = true;
                self.recording.let_go(now, moment, why);
                self.steps.iter_mut().for_each(|steps| steps.let_go(moment, true));
                self.set_hold_fate(moment, Fate::Refused(format!("it was let go early: {why}")));
                released = true;
            }
        }
        released
    }

    /// A moment of the entry that was set aside will not happen any more.
    pub(super) fn overtake(&mut self, at: usize) {
        let Parked { site, held: Some((stage, _)), .. } = self.parked[at] else { return };
        let why = "it was overtaken: its call ended otherwise while it was set aside";
        self.set_hold_fate(Moment { site, stage }, Fate::Refused(why.to_owned()));
    }

    fn set_hold_fate(&mut self, moment: Moment, fate: Fate) {
        for (i, hold) in self.script.holds.iter().enumerate() {
            if hold.what == moment && self.hold_fates[i] == Fate::NotReached {
                self.hold_fates[i] = fate.clone();
            }
        }
    }
}
