//! I16: once reaped, nothing is left, and logs that no fault struck are complete.

use super::judge::{View, without_boot};
use super::{Id, Invariant, Notes, Watch};
use crate::run::Snapshot;
use crate::turnstile::{Happened, Layer};

#[derive(Default, Hash)]
pub struct NothingLeft {
    /// An error of a file or pipe that a log goes through; by subject.
    struck: Vec<bool>,
    /// A fault struck a pipe or a log, whosesoever it is.
    any_struck: bool,
}

/// The bytes that a CRI log holds of one stream.
fn logged(lines: &[u8], stream: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let mut words = line.splitn(4, |b| *b == b' ');
        let (Some(_), Some(of), Some(tag)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if of != stream.as_bytes() {
            continue;
        }
        bytes.extend_from_slice(words.next().unwrap_or_default());
        if tag == b"F" {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// What the log of a stream must hold of what was written to it: all lines, their CRLF as LF.
fn to_be_logged(written: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(written.len());
    for (i, b) in written.iter().enumerate() {
        if !(*b == b'\r' && written.get(i + 1) == Some(&b'\n')) {
            bytes.push(*b);
        }
    }
    bytes
}

impl Invariant for NothingLeft {
    fn id(&self) -> Id {
        Id(16)
    }

    fn name(&self) -> &'static str {
        "nothing-left"
    }

    fn watches(&self) -> Watch {
        Watch::ERRORS
    }

    fn moment(&mut self, view: &View<'_>, happened: &Happened, _: &mut Notes) {
        let site = happened.moment.site;
        if happened.error.is_none() || !matches!(site.op.layer(), Layer::File | Layer::Pipe) {
            return;
        }
        self.struck.resize(view.subjects.len(), false);
        let actor = site.actor.text();
        for (index, subject) in view.subjects.iter().enumerate() {
            // Reads end with an error when the service itself closes its pipes: that is no fault.
            let of_log = without_boot(&actor).starts_with("log-")
                && actor.ends_with(&format!("({})", subject.name));
            self.struck[index] |= of_log;
        }
    }

    fn quiet(&mut self, view: &View<'_>, _: &Snapshot, _: &mut Notes) {
        self.any_struck = view.faults_struck(|site| {
            matches!(site.op.layer(), Layer::Pipe) || site.subject.text().starts_with("log:")
        });
    }

    fn reaped(&mut self, view: &View<'_>, snapshot: &Snapshot, notes: &mut Notes) {
        let reaped = view.reaped.is_some_and(|reaped| reaped.failed.is_empty());
        if !reaped {
            return;
        }
        for (name, made) in view.reaped.iter().flat_map(|reaped| &reaped.made_again) {
            let error = made.as_ref().err();
            notes.judge(error.is_none(), view, || {
                let why = error.map(|e| e.message.clone()).unwrap_or_default();
                format!("{name} was removed, but cannot be made again: {why}")
            });
        }
        notes.judge(snapshot.left.0.is_empty(), view, || {
            format!("left behind: {}", snapshot.left.0.join(", "))
        });
        let open: Vec<&str> = view.world.open_descriptors().collect();
        notes
            .judge(open.is_empty(), view, || format!("descriptors left open: {}", open.join(", ")));
        let tasks = view.background_tasks();
        notes.judge(tasks.is_empty(), view, || {
            let names: Vec<_> = tasks.iter().map(ToString::to_string).collect();
            format!("background tasks left: {}", names.join(", "))
        });
        for (index, subject) in view.subjects.iter().enumerate() {
            let Some(plan) = view.plan.containers.get(index) else { continue };
            let Some(path) = &plan.log_path else { continue };
            let faulted = self.any_struck || self.struck.get(index).copied().unwrap_or(false);
            let Some(process) = view.processes(index).last() else { continue };
            // What the daemon has taken from a pipe and not yet written goes with it.
            let crashed = view.world.crashes.iter().any(|(at, _)| process.started_at <= Some(*at));
            if faulted || crashed {
                continue;
            }
            let lines = view.world.log(path).unwrap_or_default();
            for (slot, stream) in ["stdout", "stderr"].into_iter().enumerate() {
                if slot == 1 && plan.tty {
                    continue;
                }
                let wanted = to_be_logged(&process.written[slot]);
                let there = logged(&lines, stream);
                if wanted.is_empty() && there.is_empty() {
                    continue;
                }
                notes.judge(there == wanted, view, || {
                    format!(
                        "the log of {} holds {} bytes of {stream}, of {} that were written",
                        subject.name,
                        there.len(),
                        wanted.len()
                    )
                });
            }
        }
    }
}
