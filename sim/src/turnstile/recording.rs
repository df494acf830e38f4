//! What happened in a run, in order, and its running digest.

use std::rc::Rc;

use xxhash_rust::xxh3::Xxh3;

use super::names::Symbol;
use super::site::{Moment, Site, Stage};
use crate::oracle::Fault;

/// A moment that was admitted.
#[derive(Clone, Debug)]
pub struct Happened {
    /// Virtual time, nanoseconds.
    pub at: u64,
    pub moment: Moment,
    /// Hash of what the call brought: equal runs have equal payloads.
    pub payload: u64,
    /// The text of the error that the call brought, if it did.
    pub error: Option<Rc<str>>,
}

/// What a client that gives up means to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The call serves no client's request.
    ByNoClient,
    /// It serves one, and does not look at whether the client is still there.
    Blindly,
    /// The await ends when the client gives up.
    UntilGivenUp,
}

/// One entry of a recording.
#[derive(Clone, Debug)]
pub enum Entry {
    Moment(Happened),
    /// A fault was decided on.
    Fault {
        at: u64,
        site: Site,
        /// Rare, and larger than all the rest.
        fault: Box<Fault>,
    },
    /// A moment was set aside.
    Held {
        at: u64,
        moment: Moment,
    },
    /// A moment that was set aside may go again.
    LetGo {
        at: u64,
        moment: Moment,
        why: &'static str,
    },
    /// A phase of the run began.
    Phase {
        at: u64,
        name: &'static str,
    },
    /// The code under test logged something (only when asked for; never part of the digest).
    Log {
        at: u64,
        text: Rc<str>,
    },
    /// A call was made, which has its moments later (likewise).
    Made {
        at: u64,
        site: Site,
    },
    /// A lock was given back, by who took it at the site (likewise).
    Released {
        at: u64,
        site: Site,
    },
}

impl Entry {
    /// Whether it is part of the digest.
    pub fn is_digested(&self) -> bool {
        !matches!(self, Entry::Log { .. } | Entry::Made { .. } | Entry::Released { .. })
    }

    pub fn at(&self) -> u64 {
        match self {
            Entry::Moment(happened) => happened.at,
            Entry::Fault { at, .. }
            | Entry::Held { at, .. }
            | Entry::LetGo { at, .. }
            | Entry::Phase { at, .. }
            | Entry::Log { at, .. }
            | Entry::Made { at, .. }
            | Entry::Released { at, .. } => *at,
        }
    }
}

/// All that happened, and a digest over it.
pub struct Recording {
    pub entries: Vec<Entry>,
    pub moments: u64,
    /// The calls that were made while the scenario's faults could strike; only when asked for, and no
    /// part of the digest.
    pub calls: Option<Vec<(Site, Awaited)>>,
    /// The digest after each entry that is part of it; only when asked for.
    pub marks: Option<Vec<u128>>,
    /// Calls are recorded when they are made, and locks when they are given back.
    pub spans: bool,
    /// What happens enters the digest. Whoever does not need it saves that.
    pub digested: bool,
    digest: Xxh3,
    /// What is still to enter the digest: many small pieces cost less together than each alone.
    pending: Vec<u8>,
}

/// As many bytes enter the digest together.
const PENDING_MAX: usize = 4096;

impl Default for Recording {
    fn default() -> Self {
        Recording {
            entries: Vec::with_capacity(512),
            moments: 0,
            calls: None,
            marks: None,
            spans: false,
            digested: true,
            digest: Xxh3::new(),
            pending: Vec::with_capacity(PENDING_MAX),
        }
    }
}

fn site_words(site: &Site) -> [u64; 3] {
    let [actor, subject] = Symbol::text_hashes([site.actor, site.subject]);
    [actor, subject, u64::from(site.op as u8) << 32 | u64::from(site.count)]
}

impl Recording {
    /// Why a moment that was set aside goes again when it was meant to.
    pub const IN_TIME: &str = "its time came";

    fn mix_bytes(&mut self, bytes: &[u8]) {
        if !self.digested {
            return;
        }
        if self.pending.len() + bytes.len() > PENDING_MAX {
            self.digest.update(&self.pending);
            self.pending.clear();
        }
        self.pending.extend_from_slice(bytes);
    }

    fn mix<const N: usize>(&mut self, words: [u64; N]) {
        self.mix_bytes(words.map(u64::to_le_bytes).as_flattened());
    }

    /// An entry that is in the digest already.
    fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
        if self.marks.is_some() {
            let digest = self.digest();
            self.marks.iter_mut().for_each(|marks| marks.push(digest));
        }
    }

    /// `world`: the digest of the file system after the moment.
    pub fn moment(&mut self, happened: &Happened, world: u64) {
        // Most of what is recorded: without a digest it costs nothing of one.
        if self.digested {
            let Happened { at, moment, payload, error } = happened;
            let [actor, subject, op] = site_words(&moment.site);
            let (stage, failed) = (moment.stage as u64, u64::from(error.is_some()));
            self.mix([*at, actor, subject, op, stage << 8 | failed, *payload, world]);
        }
        self.moments += 1;
        self.push(Entry::Moment(happened.clone()));
    }

    pub fn fault(&mut self, at: u64, site: Site, fault: Fault) {
        let [actor, subject, op] = site_words(&site);
        self.mix([at, actor, subject, op, 1 << 16]);
        self.mix_bytes(fault.to_string().as_bytes());
        self.push(Entry::Fault { at, site, fault: Box::new(fault) });
    }

    pub fn held(&mut self, at: u64, moment: Moment) {
        let [actor, subject, op] = site_words(&moment.site);
        self.mix([at, actor, subject, op, 2 << 16 | moment.stage as u64]);
        self.push(Entry::Held { at, moment });
    }

    pub fn let_go(&mut self, at: u64, moment: Moment, why: &'static str) {
        let [actor, subject, op] = site_words(&moment.site);
        self.mix([at, actor, subject, op, 3 << 16 | moment.stage as u64]);
        self.push(Entry::LetGo { at, moment, why });
    }

    pub fn phase(&mut self, at: u64, name: &'static str) {
        self.mix_bytes(name.as_bytes());
        self.push(Entry::Phase { at, name });
    }

    pub fn log(&mut self, at: u64, text: Rc<str>) {
        self.entries.push(Entry::Log { at, text });
    }

    pub fn made(&mut self, at: u64, site: Site) {
        if self.spans {
            self.entries.push(Entry::Made { at, site });
        }
    }

    pub fn released(&mut self, at: u64, site: Site) {
        if self.spans {
            self.entries.push(Entry::Released { at, site });
        }
    }

    /// The digest so far, with `rest` (such as the final report) behind it.
    pub fn digest_with(&self, rest: &[u8]) -> u128 {
        let mut digest = self.digest.clone();
        digest.update(&self.pending);
        digest.update(rest);
        digest.digest128()
    }

    pub fn digest(&self) -> u128 {
        self.digest_with(&[])
    }

    /// The moments in order.
    pub fn happened(&self) -> impl Iterator<Item = &Happened> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Moment(happened) => Some(happened),
            _ => None,
        })
    }

    /// Whether a site was reached: one of its moments happened.
    pub fn reached(&self, site: Site) -> bool {
        self.happened().any(|h| h.moment.site == site)
    }
}

/// A single moment's stage, for sites that have no more.
pub const fn only(site: Site) -> Moment {
    Moment { site, stage: Stage::Only }
}
