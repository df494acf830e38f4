//! A run in the Trace Event Format, which Perfetto and Chrome (`chrome://tracing`) open.
//!
//! Most moments take no virtual time. So that they do not lie upon one another, each takes a microsecond:
//! a time stamp is the virtual time and as many microseconds as there were moments before.

use serde_json::{Value, json};

use super::page::story::{Bar, End, Kind, Lane, Note, Story};
use super::plain;
use crate::suite::{Ran, Source};

/// # Panics
/// If the run was not filmed.
pub fn trace(source: &Source, ran: &Ran) -> String {
    let story = Story::of(source, ran);
    let mut events = Vec::new();
    for (lane, process) in Lane::ALL.into_iter().zip(1_u32..) {
        events.push(json!({
            "ph": "M", "name": "process_name", "pid": process, "args": { "name": lane.name() },
        }));
        events.push(json!({
            "ph": "M", "name": "process_sort_index", "pid": process, "args": { "sort_index": process },
        }));
        let mut bars: Vec<&Bar> = story.bars.iter().filter(|bar| bar.lane == lane).collect();
        bars.sort_by_key(|bar| (bar.from, std::cmp::Reverse(bar.to)));
        // Each bar in the first row that is free: those of one row must not overlap.
        let mut rows: Vec<usize> = Vec::new();
        for bar in bars {
            let free = rows.iter().position(|end| *end <= bar.from);
            let row = free.unwrap_or_else(|| {
                rows.push(0);
                rows.len() - 1
            });
            rows[row] = bar.to.max(bar.from + 1);
            spans(&story, bar, process, row, &mut events);
        }
        for thread in 1..=rows.len().max(1) {
            for (name, args) in [
                ("thread_name", json!({ "name": lane.name() })),
                ("thread_sort_index", json!({ "sort_index": thread })),
            ] {
                events.push(json!({
                    "ph": "M", "name": name, "pid": process, "tid": thread, "args": args,
                }));
            }
        }
    }
    for (index, column) in story.columns.iter().enumerate() {
        let at = time(&story, index);
        let mark = |name: String, category: &str| json!({ "ph": "i", "s": "g", "name": name, "cat": category, "pid": 1, "tid": 1, "ts": at });
        for note in &column.notes {
            events.push(match note {
                Note::Fault { what, .. } => mark(format!("fault: {}", plain(what)), "fault"),
                Note::Held { what } => mark(format!("set aside: {}", plain(what)), "hold"),
                Note::LetGo { what } => mark(format!("let go: {}", plain(what)), "hold"),
                Note::Log { what } => mark(format!("log: {}", plain(what)), "log"),
            });
        }
        if column.is_crash() {
            events.push(mark(plain(&column.what), "crash"));
        }
        for (id, what) in &column.broke {
            events.push(mark(format!("{id} broke: {}", plain(what)), "invariant"));
        }
    }
    let document = json!({
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {
            "shakedown-trace": 1,
            "case": ran.case.name,
            "profile": ran.outcome.profile.name,
            "passed": ran.verdict.passed(),
            "digest": format!("{:032x}", ran.outcome.digest()),
        },
    });
    format!("{document}\n")
}

/// In microseconds.
fn time(story: &Story, column: usize) -> f64 {
    let last = story.columns.len().saturating_sub(1);
    let at = story.columns.get(column.min(last)).map_or(0, |column| column.at);
    at as f64 / 1e3 + column as f64
}

/// A bar as an event with a length, and its effect as one inside of it.
fn spans(story: &Story, bar: &Bar, process: u32, row: usize, events: &mut Vec<Value>) {
    let (from, to) = (time(story, bar.from), time(story, bar.to.max(bar.from + 1)));
    let end = match bar.end {
        End::Reply => "reply",
        End::Abandon => "abandoned",
        End::Open => "never",
    };
    let virtual_seconds = |column: usize| story.columns.get(column).map(|c| c.at as f64 / 1e9);
    let mut event = json!({
        "ph": "X", "name": plain(&bar.label), "cat": category(bar.kind), "pid": process, "tid": row + 1,
        "ts": from, "dur": to - from,
        "args": {
            "what": plain(&bar.title),
            "from": virtual_seconds(bar.from),
            "to": virtual_seconds(bar.to),
            "end": end,
            "failed": bar.failed,
            "struck": bar.struck,
        },
    });
    if bar.failed || bar.struck {
        event["cname"] = json!("terrible");
    }
    events.push(event);
    if let Some(effect) = bar.effect {
        events.push(json!({
            "ph": "i", "s": "t", "name": "effect", "cat": "effect", "pid": process, "tid": row + 1,
            "ts": time(story, effect),
        }));
    }
}

const fn category(kind: Kind) -> &'static str {
    match kind {
        Kind::Call | Kind::Dot => "call",
        Kind::Client => "client",
        Kind::Rollback => "rollback",
        Kind::Lock | Kind::Claim => "lock",
        Kind::Memory | Kind::Disk => "status",
        Kind::Task => "task",
        Kind::Thing | Kind::File => "node",
        Kind::Held => "held",
        Kind::Down => "down",
    }
}
