//! I11: a daemon that is started again recovers within its bound; every container of the node is visible
//! again, each name once.

use std::collections::BTreeMap;

use shakedown_cri::ports::Instant;
use shakedown_cri::store::Metadata;

use super::judge::View;
use super::{Id, Invariant, Notes, Watch};
use crate::oracle::duration_text;
use crate::run::Snapshot;
use crate::turnstile::{Happened, Op, Symbol};

#[derive(Default)]
pub struct Recovery {
    /// When the daemon was started that does not serve yet.
    since: Option<u64>,
}

impl Recovery {
    fn in_time(&self, view: &View<'_>, notes: &mut Notes) {
        let Some(since) = self.since else { return };
        let late = view.now > Instant(since).after(view.plan.bound).0;
        notes.judge(!late, view, || {
            let bound = duration_text(view.plan.bound);
            format!("the daemon has not recovered within its bound of {bound}")
        });
    }

    fn all_visible(view: &View<'_>, notes: &mut Notes) {
        let mut names: BTreeMap<_, Symbol> = BTreeMap::new();
        for (subject, plan) in view.subjects.iter().zip(&view.plan.containers) {
            let Some(record) = view.world.metadata.records.get(&subject.id) else { continue };
            notes.judge(subject.peek.is_some(), view, || {
                format!("{} is on record, but not visible after the recovery", subject.name)
            });
            if subject.peek.is_some() {
                // Only the record knows which attempt a kubelet made it.
                let meta = record.extensions.iter().find(|(name, _)| name == Metadata::EXTENSION);
                let meta = meta.and_then(|(_, meta)| Metadata::decode(meta.as_bytes()).ok());
                let attempt = meta.map_or(plan.config.attempt, |meta| meta.config.attempt);
                let name = (&plan.sandbox_id, &plan.config.name, attempt);
                if let Some(other) = names.insert(name, subject.name) {
                    let what = format!("{other} and {} have the same name", subject.name);
                    notes.violate(view, what);
                }
            }
        }
    }
}

impl Invariant for Recovery {
    fn id(&self) -> Id {
        Id(11)
    }

    fn name(&self) -> &'static str {
        "recovery"
    }

    fn watches(&self) -> Watch {
        Watch::DAEMON
    }

    fn moment(&mut self, view: &View<'_>, happened: &Happened, notes: &mut Notes) {
        match happened.moment.site.op {
            Op::Restart => self.since = Some(happened.at),
            Op::Up => {
                self.in_time(view, notes);
                self.since = None;
                Self::all_visible(view, notes);
            }
            _ => self.since = None,
        }
    }

    fn quiet(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        self.in_time(view, notes);
        if let Some(error) = view.daemon.facts().refused {
            notes.violate(view, format!("the daemon did not recover: {error}"));
        }
    }

    fn reaped(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        self.in_time(view, notes);
    }
}
