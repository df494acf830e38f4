//! What happened in a run, in order, and its running digest.

use std::rc::Rc;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::names::{Hashes, Symbol};
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
    /// Hash of the file system's history, with the moment.
    pub files: u64,
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

    /// No entry but a fault has more words in the digest.
    const WORDS_MAX: usize = 7;

    /// Adds to `bytes` what of it is part of the digest.
    fn digested_into(&self, bytes: &mut Vec<u8>, hashes: Hashes<'_>) {
        let site_words = |site: &Site| {
            let op = u64::from(site.op as u8) << 32 | u64::from(site.count);
            [hashes.of(site.actor), hashes.of(site.subject), op]
        };
        match self {
            Entry::Moment(Happened { at, moment, payload, files, error }) => {
                let [actor, subject, op] = site_words(&moment.site);
                let outcome = (moment.stage as u64) << 8 | u64::from(error.is_some());
                add_words(bytes, [*at, actor, subject, op, outcome, *payload, *files]);
            }
            Entry::Fault { at, site, fault } => {
                let [actor, subject, op] = site_words(site);
                add_words(bytes, [*at, actor, subject, op, 1 << 16]);
                bytes.extend_from_slice(fault.to_string().as_bytes());
            }
            Entry::Held { at, moment } => {
                let [actor, subject, op] = site_words(&moment.site);
                add_words(bytes, [*at, actor, subject, op, 2 << 16 | moment.stage as u64]);
            }
            Entry::LetGo { at, moment, .. } => {
                let [actor, subject, op] = site_words(&moment.site);
                add_words(bytes, [*at, actor, subject, op, 3 << 16 | moment.stage as u64]);
            }
            Entry::Phase { name, .. } => bytes.extend_from_slice(name.as_bytes()),
            Entry::Log { .. } | Entry::Made { .. } | Entry::Released { .. } => {}
        }
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

/// All that happened.
#[derive(Default)]
pub struct Recording {
    pub entries: Vec<Entry>,
    pub moments: u64,
    /// The calls that were made while the scenario's faults could strike; only when asked for, and no
    /// part of the digest.
    pub calls: Option<Vec<(Site, Awaited)>>,
    /// Calls are recorded when they are made, and locks when they are given back.
    pub spans: bool,
}

fn add_words<const N: usize>(bytes: &mut Vec<u8>, words: [u64; N]) {
    bytes.extend_from_slice(words.map(u64::to_le_bytes).as_flattened());
}

impl Recording {
    /// Why a moment that was set aside goes again when it was meant to.
    pub const IN_TIME: &str = "its time came";

    pub fn with_capacity(entries: usize) -> Self {
        Recording { entries: Vec::with_capacity(entries), ..Recording::default() }
    }

    pub fn moment(&mut self, happened: Happened) {
        self.moments += 1;
        self.entries.push(Entry::Moment(happened));
    }

    pub fn fault(&mut self, at: u64, site: Site, fault: Fault) {
        self.entries.push(Entry::Fault { at, site, fault: Box::new(fault) });
    }

    pub fn held(&mut self, at: u64, moment: Moment) {
        self.entries.push(Entry::Held { at, moment });
    }

    pub fn let_go(&mut self, at: u64, moment: Moment, why: &'static str) {
        self.entries.push(Entry::LetGo { at, moment, why });
    }

    pub fn phase(&mut self, at: u64, name: &'static str) {
        self.entries.push(Entry::Phase { at, name });
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

    /// The digest of all, with `rest` (such as the final report) behind it.
    pub fn digest_with(&self, rest: &[u8]) -> u128 {
        let mut bytes = Vec::with_capacity(self.entries.len() * Entry::WORDS_MAX * 8 + rest.len());
        Symbol::with_hashes(|hashes| {
            self.entries.iter().for_each(|entry| entry.digested_into(&mut bytes, hashes));
        });
        bytes.extend_from_slice(rest);
        xxh3_128(&bytes)
    }

    pub fn digest(&self) -> u128 {
        self.digest_with(&[])
    }

    /// What is part of the digest, in order; each entry with the digest of all up to and with it.
    pub fn digests(&self) -> impl Iterator<Item = (&Entry, u128)> {
        let (mut so_far, mut bytes) = (Xxh3::new(), Vec::new());
        self.entries.iter().filter(|entry| entry.is_digested()).map(move |entry| {
            bytes.clear();
            Symbol::with_hashes(|hashes| entry.digested_into(&mut bytes, hashes));
            so_far.update(&bytes);
            (entry, so_far.digest128())
        })
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
