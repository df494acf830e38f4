//! The report as text: the same bytes for the same run, made to be compared line by line.

use std::fmt::Write;

use super::facts::{Detail, Line, Node, Report};
use super::summary::counted;

/// Control characters of a scenario's texts and logs, written out.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Virtual time in seconds, with as many digits as it needs, three at least.
pub fn clock(nanos: u64) -> String {
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let digits = format!("{rest:09}");
    let digits = digits.trim_end_matches('0');
    format!("{seconds}.{digits:0<3}s")
}

struct Page {
    text: String,
}

impl Page {
    fn heading(&mut self, heading: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(heading);
        self.text.push('\n');
    }

    fn line(&mut self, text: &str) {
        let text = plain(text);
        self.text.push_str("  ");
        self.text.push_str(text.trim_end());
        while self.text.ends_with(' ') {
            self.text.pop();
        }
        self.text.push('\n');
    }

    /// Rows whose columns but the last are as wide as their widest text.
    fn rows(&mut self, rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let texts = rows.iter().filter(|row| column + 1 < row.len()).map(|row| &row[column]);
            texts.map(|text| text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in rows {
            let mut line = String::new();
            for (text, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{text:width$}  ");
            }
            self.line(&line);
        }
    }
}

/// Writes a report.
pub fn text(report: &Report) -> String {
    let mut page = Page { text: String::new() };
    let head = |name: &str, what: &str| format!("{name:8}  {}\n", plain(what));
    page.text.push_str(&head("case", &report.case));
    page.text.push_str(&head("title", &report.title));
    page.text.push_str(&head("profile", report.profile));
    set_up(&mut page, report);
    timeline(&mut page, report);
    answers(&mut page, report);
    nodes(&mut page, report);
    invariants(&mut page, report);
    verdict(&mut page, report);
    page.text
}

fn set_up(page: &mut Page, report: &Report) {
    page.heading("world");
    let things = report.world.iter();
    let rows = things.map(|t| vec![t.kind.to_owned(), t.name.clone(), t.what.clone()]);
    page.rows(&rows.collect::<Vec<_>>());
    if !report.calls.is_empty() {
        page.heading("calls");
        let calls = report.calls.iter().map(|call| vec![call.name.clone(), call.what.clone()]);
        page.rows(&calls.collect::<Vec<_>>());
    }
    if !report.decisions.is_empty() {
        page.heading("decisions");
        let decisions = report.decisions.iter().map(|decision| {
            let what = match &decision.why_not {
                Some(why) => format!("{}; NOT APPLIED: {why}", decision.what),
                None => decision.what.clone(),
            };
            vec![decision.kind.to_owned(), decision.at.clone(), what]
        });
        page.rows(&decisions.collect::<Vec<_>>());
    }
}

/// An actor wider than this moves its line's rest to the right.
const ACTOR_WIDTH_MAX: usize = 24;

fn timeline(page: &mut Page, report: &Report) {
    let full = report.detail == Detail::Full;
    page.heading(if full { "timeline, every moment" } else { "timeline" });
    let lines = &report.timeline;
    let width = |text: &dyn Fn(&Line) -> usize, most: usize| {
        lines.iter().map(text).filter(|width| *width <= most).max().unwrap_or(0)
    };
    let time_width = width(&|line| clock(line.at).len(), usize::MAX);
    let actor_width = width(&|line| line.actor.chars().count(), ACTOR_WIDTH_MAX);
    for line in lines {
        let (at, actor) = (clock(line.at), &line.actor);
        let error = line.error.as_ref().map_or_else(String::new, |e| format!("  ! {e}"));
        let what = match line.kind {
            "phase" => {
                page.line(&format!("{at:>time_width$}  -- {} --", line.what));
                continue;
            }
            "log" => {
                page.line(&format!("{at:>time_width$}  | {}", line.what));
                continue;
            }
            "fault" => format!("FAULT {}", line.what),
            "held" => format!("HELD {}", line.what),
            "let-go" => format!("LET GO {}", line.what),
            _ => line.what.clone(),
        };
        page.line(&format!("{at:>time_width$}  {actor:actor_width$}  {what}{error}"));
    }
}

fn answers(page: &mut Page, report: &Report) {
    if report.answers.is_empty() {
        return;
    }
    page.heading("answers");
    let rows = report.answers.iter().map(|answer| {
        let when = match (answer.began, answer.answered) {
            (None, _) => "never began".to_owned(),
            (Some(_), None) => "never answered".to_owned(),
            (Some(_), Some(at)) => format!("at {}", clock(at)),
        };
        let mut what = [answer.message.as_deref(), answer.reply.as_deref()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ");
        if let Some(gave_up) = &answer.gave_up {
            let space = if what.is_empty() { "" } else { " " };
            let at = clock(gave_up.at);
            let _ = write!(what, "{space}(the client saw {} at {at})", gave_up.code);
        }
        vec![answer.call.clone(), when, answer.code.to_owned(), what]
    });
    page.rows(&rows.collect::<Vec<_>>());
}

fn nodes(page: &mut Page, report: &Report) {
    let at = clock(report.quiet.at);
    page.heading(&match (report.stop.kind, report.stop.quiet) {
        ("idle", true) => format!("quiet at {at}"),
        ("idle", false) => format!("not quiet, cut at {at}"),
        _ => format!("stopped at {at}"),
    });
    if let Some(what) = &report.stop.what {
        page.line(&format!("panic   {what}"));
    }
    for waiting in &report.stop.waiting {
        page.line(&format!("waits   {waiting}"));
    }
    node(page, &report.quiet);
    for (container, events) in &report.events {
        page.line(&format!("events  {container}: {}", list(events)));
    }
    for (container, lines) in &report.logs {
        if lines.is_empty() {
            page.line(&format!("log     {container}: nothing"));
        }
        for line in lines {
            page.line(&format!("log     {container}: {line}"));
        }
    }
    if report.stop.kind != "idle" && report.reaped.is_none() {
        return;
    }
    match &report.reaped {
        Some(reaped) => {
            page.heading(&format!("reaped at {}", clock(reaped.at)));
            for restarted in &report.restarted {
                page.line(&format!("start   {}: {}", restarted.name, restarted.what));
            }
            for failed in &report.unreaped {
                page.line(&format!("failed  {}: {}", failed.name, failed.what));
            }
            node(page, reaped);
        }
        None => {
            page.heading("not reaped");
            page.line("the run ended before");
        }
    }
}

fn list(entries: &[String]) -> String {
    if entries.is_empty() { "none".to_owned() } else { entries.join(", ") }
}

fn node(page: &mut Page, node: &Node) {
    for status in &node.statuses {
        let mut text = format!("status  {}: {}", status.container, status.state);
        if status.pid != 0 {
            let _ = write!(text, ", pid {}", status.pid);
        }
        if status.finished {
            let _ = write!(text, ", exit code {}", status.exit_code);
        }
        if !status.reason.is_empty() {
            let _ = write!(text, ", reason {}", status.reason);
        }
        if status.state != "gone" {
            text.push_str(if status.started { ", started" } else { ", not started" });
            text.push_str(if status.finished { ", finished" } else { ", not finished" });
        }
        if !status.message.is_empty() {
            let _ = write!(text, ": {}", status.message);
        }
        page.line(&text);
    }
    if node.left.is_empty() {
        page.line("left    nothing");
    }
    for left in &node.left {
        page.line(&format!("left    {left}"));
    }
}

fn invariants(page: &mut Page, report: &Report) {
    page.heading("invariants");
    let rows = report.invariants.iter().map(|invariant| {
        let what = match (invariant.violations.is_empty(), invariant.expected) {
            (true, _) if invariant.evaluated == 0 => "not evaluated".to_owned(),
            (true, _) => "holds".to_owned(),
            (false, true) => "VIOLATED, as expected".to_owned(),
            (false, false) => "VIOLATED".to_owned(),
        };
        let evaluated = format!("{:>5}", invariant.evaluated);
        vec![invariant.id.clone(), invariant.name.to_owned(), evaluated, what]
    });
    page.rows(&rows.collect::<Vec<_>>());
    for invariant in &report.invariants {
        for violation in &invariant.violations {
            let after = violation.moment.as_ref().map_or_else(String::new, |m| format!(" {m}"));
            let (id, at) = (&invariant.id, clock(violation.at));
            page.line(&format!("{id} at {at}{after}: {}", violation.what));
        }
    }
}

fn verdict(page: &mut Page, report: &Report) {
    if report.detail == Detail::Full {
        page.heading("run");
        page.line(&format!("{}, digest {}", counted(report.moments, "moment"), report.digest));
    }
    page.heading(if report.verdict.passed { "verdict: passed" } else { "verdict: FAILED" });
    for reason in &report.verdict.reasons {
        page.line(&format!("line {}: {}", reason.line, reason.what));
        if let (Some(expected), Some(found)) = (&reason.expected, &reason.found) {
            page.line(&format!("    expected  {expected}"));
            page.line(&format!("    found     {found}"));
        }
        if let Some(help) = &reason.help {
            page.line(&format!("    {help}"));
        }
    }
}
