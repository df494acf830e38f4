//! I11: a daemon that is started again recovers within its bound; every container of the node is visible
//! again, each name once.

use std::collections::BTreeMap;

use shakedown_cri::ports::{Instant, Record};

use super::judge::View;
use super::{Id, Invariant, Notes, Watch};
use crate::oracle::duration_text;
use crate::run::Snapshot;
use crate::turnstile::{Happened, Op, Symbol};

#[derive(Default, Hash)]
pub struct Recovery {
    /// When the daemon was started that does not serve yet.
    since: Option<u64>,
}

/// The name that the container has on its node, by the metadata in its record: a kubelet gives the
/// number of the attempt only when it creates it. `None`: the record has no metadata.
fn node_name(record: &Record) -> Option<String> {
    let (_, content) = record
        .extensions
        .iter()
        .find(|(name, _)| name == "io.cri-containerd.container.metadata")?;
    let meta: serde_json::Value = serde_json::from_str(content).ok()?;
    Some(meta.get("Metadata")?.get("Name")?.as_str()?.to_owned())
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
        for subject in view.subjects {
            let Some(record) = view.world.metadata.records.get(&subject.id) else { continue };
            notes.judge(subject.peek.is_some(), view, || {
                format!("{} is on record, but not visible after the recovery", subject.name)
            });
            if subject.peek.is_some()
                && let Some(name) = node_name(record)
                && let Some(other) = names.insert(name, subject.name)
            {
                let what = format!("{other} and {} have the same name", subject.name);
                notes.violate(view, what);
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
