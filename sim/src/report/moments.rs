//! The moments of a failed run that explain it: what struck, what should have mended it, where it broke.

use super::text::clock;
use crate::invariants::{Finding, Violation};
use crate::suite::{Kind, Names, Ran};
use crate::turnstile::{Happened, Op, RecordingEntry as Entry, Stage};

/// A line for each, of the first invariant that is violated; none if none is.
pub fn moments(ran: &Ran) -> Vec<String> {
    let id = ran.verdict.reasons.iter().find_map(|reason| match reason.kind {
        Kind::Violation(id) => Some(id),
        _ => None,
    });
    let of_id = |finding: &&Finding| Some(finding.id) == id;
    let finding = ran.outcome.judgement.findings.iter().find(of_id);
    finding.map(|finding| moments_of(ran, finding)).unwrap_or_default()
}

/// Those that explain why an invariant was violated first.
pub fn moments_of(ran: &Ran, finding: &Finding) -> Vec<String> {
    let Ran { plan, outcome, .. } = ran;
    let Some(violation) = finding.violations.first() else { return Vec::new() };
    let names = Names::new(plan);
    // What ends its phase is seen before anything of the next one.
    let is_quiet = violation.moment.is_none() && violation.at <= outcome.quiet.at;
    let reaping = |entry: &Entry| matches!(entry, Entry::Phase { name: "reap", .. });
    let entries = &outcome.recording.entries;
    let end = entries.iter().position(reaping).filter(|_| is_quiet).unwrap_or(entries.len());
    let until = before(violation, &entries[..end]);
    let struck =
        until.iter().enumerate().rev().find_map(|(index, entry)| Some((index, strike(entry)?)));
    let mut lines = Vec::new();
    let line = |what: &str, at: u64, text: &str| format!("{what:8} {}  {text}", clock(at));
    let since = match &struck {
        Some((index, what)) => {
            lines.push(line("struck", until[*index].at(), what));
            *index
        }
        None => 0,
    };
    let mending = until[since..].iter().rev().find_map(|entry| match entry {
        Entry::Moment(happened) if mends(happened) => Some(happened),
        _ => None,
    });
    lines.push(match mending {
        Some(happened) => {
            let came_of_it = match &happened.error {
                Some(error) => format!("failed: {}", names.text(error)),
                None => "succeeded, and was not enough".to_owned(),
            };
            line("mending", happened.at, &format!("{} {came_of_it}", happened.moment))
        }
        None => format!("{:8} nothing was undone after that", "mending"),
    });
    let when = match &violation.moment {
        Some(moment) => format!("after {moment}"),
        None if is_quiet => "once quiet".to_owned(),
        None => "once reaped".to_owned(),
    };
    lines.push(line("broke", violation.at, &when));
    lines
}

/// What had happened when the violation was seen, from the first call on.
fn before<'r>(violation: &Violation, entries: &'r [Entry]) -> &'r [Entry] {
    let disturbed =
        |entry: &Entry| matches!(entry, Entry::Phase { name, .. } if *name == "disturb");
    let from = entries.iter().position(disturbed).unwrap_or_default();
    let entries = &entries[from..];
    let is_seen = |entry: &Entry| match (&violation.moment, entry) {
        (Some(moment), Entry::Moment(happened)) => {
            happened.at == violation.at && happened.moment.to_string() == *moment
        }
        _ => false,
    };
    let seen = entries.iter().position(is_seen).map(|index| index + 1);
    let later = || entries.iter().position(|entry| entry.at() > violation.at);
    &entries[..seen.or_else(later).unwrap_or(entries.len())]
}

/// What an entry disturbs, in words.
fn strike(entry: &Entry) -> Option<String> {
    match entry {
        Entry::Fault { site, fault, .. } => Some(format!("{site}: {fault}")),
        Entry::Held { moment, .. } => Some(format!("{moment} was held")),
        Entry::Moment(happened) => {
            let by_itself =
                matches!(happened.moment.site.op, Op::Crash | Op::Oom | Op::Exit | Op::Adjust);
            let gave_up =
                happened.moment.stage == Stage::Abandon || happened.moment.site.op == Op::Cancel;
            (by_itself || gave_up).then(|| happened.moment.to_string())
        }
        _ => None,
    }
}

/// Whether a moment is the end of something that undoes.
fn mends(happened: &Happened) -> bool {
    let undoes = matches!(
        happened.moment.site.op,
        Op::TaskKill
            | Op::TaskDelete
            | Op::ShimDelete
            | Op::RuntimeDelete
            | Op::PipeClose
            | Op::FsUnlink
            | Op::FsUnmount
            | Op::FsRemoveDir
            | Op::FsRemoveTree
            | Op::SnapshotRemove
            | Op::RecordDelete
            | Op::NriStop
    );
    undoes && happened.moment.stage != Stage::Effect
}
