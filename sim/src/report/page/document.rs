//! The page's text: what it says at first sight, the moments, the node, the scenario.

use std::rc::Rc;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::lanes::lanes;
use super::story::{Changed, Column, Note, Story};
use crate::invariants::Id;
use crate::report::facts::{Detail, InvariantLine, Node, ReasonLine, Report};
use crate::report::{clock, plain};
use crate::run::{After, Facts, Key, Part};
use crate::suite::{Ran, Source};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page of a run that was filmed.
///
/// # Panics
/// If it was not.
pub fn page(source: &Source, ran: &Ran) -> String {
    let story = Story::of(source, ran);
    let report = Report::new(source, ran, Detail::Full);
    let verdict = if report.verdict.passed { "passed" } else { "FAILED" };
    let title = format!("{verdict}: {} ({})", report.case, report.profile);
    let body = html! {
        (head(&report, &story))
        (toolbar(&report, &story))
        div.work {
            div.left {
                section.timeline aria-label="Lanes over the moments of the run" {
                    div #lanes.scroll tabindex="0" {
                        (lanes(&story, None, &html! { div #cursor aria-hidden="true" {} }))
                    }
                    (legend())
                }
                (moments(&story))
            }
            (state(&story))
        }
        div.rest {
            (rollbacks(&story))
            (invariants(&report, &story))
            (answers(&report))
            (set_up(&report))
            (nodes(&report))
            (file(source, &report))
        }
        (foot(&report, &story))
    };
    shell(&title, &body)
}

/// A whole document.
pub(super) fn shell(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Nothing is fetched, whatever a scenario says.
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
                title { (plain(title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (body)
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// Control characters written out, but for the ends of lines.
fn text(text: &str) -> String {
    plain(text)
}

fn go(column: usize, story: &Story) -> Markup {
    let label = story.columns[column].label();
    html! { a.go href=(format!("#m{column}")) { (label) } }
}

fn line_link(line: usize) -> Markup {
    html! { a.line href=(format!("#L{line}")) { "line " (line) } }
}

fn head(report: &Report, story: &Story) -> Markup {
    let passed = report.verdict.passed;
    html! {
        header {
            div.title {
                span.verdict.(if passed { "good" } else { "bad" }) {
                    (if passed { "passed" } else { "FAILED" })
                }
                h1 { (text(&report.case)) }
                span.profile { (report.profile) }
                button #scheme type="button" hidden { "light or dark" }
            }
            p.what { (text(&report.title)) }
            @for reason in &report.verdict.reasons {
                (reason_card(reason, story))
            }
            @for invariant in report.invariants.iter().filter(|i| i.expected) {
                (broken_card(invariant, story))
            }
            @if !story.key_moments.is_empty() {
                details.keys open[story.key_moments.len() <= KEYS_OPEN] {
                    summary { "What happened, in " (story.key_moments.len()) " steps" }
                    ol {
                        @for key in &story.key_moments {
                            li.(key.kind.replace(' ', "-")) {
                                (go(key.column, story))
                                span.kind { (key.kind) }
                                span.told { (text(&key.what)) }
                                @if let Some(line) = key.line { (line_link(line)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// More steps than that are folded at first.
const KEYS_OPEN: usize = 14;

/// The column at which an invariant broke first.
fn broke_at(id: &str, story: &Story) -> Option<usize> {
    let is = |(broken, _): &(Id, String)| broken.to_string() == id;
    story.columns.iter().position(|column| column.broke.iter().any(is))
}

fn reason_card(reason: &ReasonLine, story: &Story) -> Markup {
    let id = reason.what.split(' ').next().unwrap_or_default();
    let at = (reason.kind == "violation").then(|| broke_at(id, story)).flatten();
    // Its place in the run is said by the link.
    let help = reason.help.as_ref().filter(|_| at.is_none());
    html! {
        div.card.bad {
            p.told { (text(&reason.what)) }
            @if let (Some(expected), Some(found)) = (&reason.expected, &reason.found) {
                dl.differs {
                    dt { "expected" } dd { (text(expected)) }
                    dt { "found" } dd { (text(found)) }
                }
            }
            @if let Some(help) = help { p.dim { (text(help)) } }
            p.where {
                @if let Some(at) = at { (show(at, story)) }
                (line_link(reason.line))
            }
        }
    }
}

fn show(at: usize, story: &Story) -> Markup {
    let column = &story.columns[at];
    let what = match column.after {
        After::Moment(_) => format!("moment {}", column.number),
        After::Setup => "the setup".to_owned(),
        After::Quiet => "where all was quiet".to_owned(),
        After::Reaped => "where all was reaped".to_owned(),
        After::Stopped => "where the run stopped".to_owned(),
    };
    html! {
        a.show href=(format!("#m{at}")) {
            "Go to " (what) ", " (clock(column.at))
        }
    }
}

fn broken_card(invariant: &InvariantLine, story: &Story) -> Markup {
    html! {
        div.card.known {
            p.told {
                b { (invariant.id) " " (invariant.name) }
                " is violated, as expected: "
                @if let Some(violation) = invariant.violations.first() { (text(&violation.what)) }
            }
            p.where {
                @if let Some(at) = broke_at(&invariant.id, story) { (show(at, story)) }
            }
        }
    }
}

fn toolbar(report: &Report, story: &Story) -> Markup {
    let focus = &story.columns[story.focus];
    html! {
        nav #bar aria-label="Step through the moments" data-focus=(story.focus) data-moments=(report.moments) hidden {
            button type="button" data-step="first" title="Home" { "|◀" span.hide { "first" } }
            button type="button" data-step="-1" title="←" { "◀" span.hide { "back" } }
            output #where aria-live="polite" { (focus.label()) }
            button type="button" data-step="1" title="→" { "▶" span.hide { "next" } }
            button type="button" data-step="last" title="End" { "▶|" span.hide { "last" } }
            button type="button" data-step="change" title="c: the next moment that changes the node" { "next change" }
            @if story.columns.iter().any(|column| !column.broke.is_empty()) {
                button.bad type="button" data-step="broken" title="v: where an invariant broke" { "violation" }
            }
            span.keys { kbd { "←" } " " kbd { "→" } " step, " kbd { "c" } " change, " kbd { "v" } " violation" }
        }
    }
}

fn legend() -> Markup {
    html! {
        p.legend {
            span.k.k-wait { "asked for" }
            span.k.k-done { "in effect" }
            span.k.k-bad { "failed" }
            span.k.k-held { "set aside" }
            span { b.fault { "▲" } " fault" }
            span { b.broke { "◆" } " an invariant broke" }
            span { b.broke { "●" } " an error" }
            span { b { "✕" } " daemon ends, or caller goes on" }
            span { "a line: time moves on, idle stretches are folded" }
        }
    }
}

fn moments(story: &Story) -> Markup {
    html! {
        section.moments aria-labelledby="moments-h" {
            h2 #moments-h { "Moments" }
            ol #moments {
                @for (at, column) in story.columns.iter().enumerate() {
                    (moment(at, column, story))
                }
            }
        }
    }
}

fn moment(at: usize, column: &Column, story: &Story) -> Markup {
    let mut classes = String::from("m");
    for (is, class) in [
        (!column.broke.is_empty(), " broke"),
        (column.error.is_some(), " err"),
        (column.number == 0, " point"),
        (column.phase == "reap", " reap"),
    ] {
        if is {
            classes.push_str(class);
        }
    }
    let before = at.checked_sub(1).map(|before| &story.columns[before]);
    let moved = before.is_none_or(|before| before.at != column.at);
    html! {
        @if column.skipped > 0 {
            li.gap { (column.skipped) " moments are left out here" }
        }
        @if before.is_some_and(|before| before.phase != column.phase) {
            li.phase { "phase: " (column.phase) }
        }
        li.(classes) id=(format!("m{at}")) data-m=(at) {
            a.no href=(format!("#m{at}")) { (column.label()) }
            span.at.(if moved { "moved" } else { "same" }) { (clock(column.at)) }
            span.actor { (text(&column.actor)) }
            span.op { (text(&column.what)) }
            @if let Some(error) = &column.error { span.error { "! " (text(error)) } }
            @if !column.changes.is_empty() || !column.notes.is_empty() || !column.broke.is_empty() {
                ul {
                    @for note in &column.notes { (noted(note)) }
                    @for change in &column.changes { (changed(change)) }
                    @for (id, what) in &column.broke { li.n.n-broke { (id.to_string()) " broke: " (text(what)) } }
                }
            }
            @if !column.evaluated.is_empty() {
                @let ids: Vec<String> = column.evaluated.iter().map(|(id, _)| id.to_string()).collect();
                span.judged { "judged: " (ids.join(" ")) }
            }
        }
    }
}

fn noted(note: &Note) -> Markup {
    match note {
        Note::Fault { what, line } => html! {
            li.n.n-fault { "fault: " (text(what)) @if let Some(line) = line { " " (line_link(*line)) } }
        },
        Note::Held { what } => html! { li.n.n-held { "set aside: " (text(what)) } },
        Note::LetGo { what } => html! { li.n.n-held { "let go: " (text(what)) } },
        Note::Log { what } => html! { li.n.n-log { "log " (text(what)) } },
    }
}

/// The number of a fact's part, for the script.
fn part_number(part: Part) -> usize {
    Part::ALL.iter().position(|other| *other == part).unwrap_or_default()
}

fn changed(change: &Changed) -> Markup {
    let Changed { key: (part, name), before, now } = change;
    let sign = match (before, now) {
        (_, None) => "−",
        (None, _) => "+",
        _ => "~",
    };
    html! {
        li.c.(if now.is_none() { "minus" } else { "plus" }) data-p=(part_number(*part)) {
            (sign) " " span.part { (part.heading()) } " "
            b { (text(name)) }
            @if let Some(now) = now {
                " " i { (text(now)) }
            }
        }
    }
}

/// The node after the moment that is shown first.
fn state(story: &Story) -> Markup {
    let at = story.focus;
    let facts = story.facts_after(at);
    let column = &story.columns[at];
    html! {
        aside #state aria-labelledby="state-h" {
            h2 #state-h { "The node after " span #state-of { (column.label()) } }
            p #state-what.mono { (text(&column.actor)) " " (text(&column.what)) }
            ul #notes { @for note in &column.notes { (noted(note)) }
                @for (id, what) in &column.broke { li.n.n-broke { (id.to_string()) " broke: " (text(what)) } } }
            div #facts data-parts=(Part::ALL.map(Part::heading).join("|")) {
                (facts_table(&facts, &column.changes))
            }
        }
    }
}

fn facts_table(facts: &Facts, changes: &[Changed]) -> Markup {
    let change_of = |key: &Key| changes.iter().find(|change| change.key == *key);
    html! {
        @for part in Part::ALL {
            @let here: Vec<(&Key, &Rc<str>)> = facts.iter().filter(|((p, _), _)| *p == part).collect();
            @let gone: Vec<&Changed> = changes.iter().filter(|c| c.key.0 == part && c.now.is_none()).collect();
            @if !here.is_empty() || !gone.is_empty() {
                section.part {
                    h3 { (part.heading()) }
                    ul {
                        @for (key, now) in here {
                            @let change = change_of(key);
                            li.(match change { None => "same", Some(c) if c.before.is_none() => "new", Some(_) => "other" }) {
                                b { (text(&key.1)) }
                                @if !now.is_empty() { " " i { (text(now)) } }
                                @if let Some(before) = change.and_then(|c| c.before.as_ref()) {
                                    " " s { (text(before)) }
                                }
                            }
                        }
                        @for change in gone {
                            li.gone { s { (text(&change.key.1)) } }
                        }
                    }
                }
            }
        }
    }
}

fn rollbacks(story: &Story) -> Markup {
    html! {
        @for rollback in &story.rollbacks {
            section.rollback {
                h2 { "Rollback of " (text(&rollback.call)) }
                p {
                    "Failed at " (go(rollback.cause, story)) ", "
                    span.mono { (text(&story.columns[rollback.cause].what)) } ": "
                    span.error { (text(story.columns[rollback.cause].error.as_deref().unwrap_or_default())) }
                    ". Answered at " (go(rollback.done, story)) "."
                }
                @if rollback.made.is_empty() {
                    p { "It had made nothing that is still to be undone." }
                } @else {
                    ol.stack {
                        @for (depth, made) in rollback.made.iter().enumerate() {
                            li.(if made.until.is_none() { "stays" } else { "undone" })
                                style=(format!("--d:{}", depth.min(DEPTH_MAX))) {
                                b { (text(&made.what)) }
                                " made at " (go(made.from, story))
                                @match &made.until {
                                    Some((at, by)) => {
                                        ", undone at " (go(*at, story))
                                        @if *by != rollback.call && !by.is_empty() { " by " (text(by)) }
                                        @if *at > rollback.done { " " span.late { "after the answer" } }
                                    }
                                    None => { ", " b.never { "never undone" } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Steps that a stack is indented by, at most.
const DEPTH_MAX: usize = 16;

fn invariants(report: &Report, story: &Story) -> Markup {
    html! {
        section.invariants {
            h2 { "Invariants" }
            table {
                thead { tr { th { "invariant" } th { "verdict" } th.num { "evaluated" } th { "when, from the first moment to the last" } } }
                tbody {
                    @for invariant in &report.invariants {
                        @let broken = !invariant.violations.is_empty();
                        tr.(if broken && invariant.expected { "known" } else if broken { "bad" } else { "" }) {
                            td { b { (invariant.id) } " " (invariant.name) }
                            td {
                                @if broken {
                                    "violated" @if invariant.expected { ", as expected" }
                                    @if let Some(at) = broke_at(&invariant.id, story) { " at " (go(at, story)) }
                                } @else if invariant.evaluated == 0 {
                                    span.dim { "not evaluated" }
                                } @else { "holds" }
                            }
                            td.num { (invariant.evaluated) }
                            td { (ticks(invariant, story)) }
                        }
                        @for violation in &invariant.violations {
                            tr.told { td colspan="4" { (clock(violation.at)) " " (text(&violation.what)) } }
                        }
                    }
                }
            }
        }
    }
}

/// Width of the picture of when an invariant was evaluated, in pixels.
const TICKS: usize = 320;

fn ticks(invariant: &InvariantLine, story: &Story) -> Markup {
    let scale = |at: usize| at * (TICKS - 10) / story.columns.len().max(1) + 5;
    let of = |id: &Id| id.to_string() == invariant.id;
    let mut path = String::new();
    let mut last = usize::MAX;
    let mut broken = Vec::new();
    for (at, column) in story.columns.iter().enumerate() {
        let x = scale(at);
        if column.evaluated.iter().any(|(id, _)| of(id)) && x != last {
            path.push_str(&format!("M{x} 3v8"));
            last = x;
        }
        if column.broke.iter().any(|(id, _)| of(id)) {
            broken.push(x);
        }
    }
    html! {
        svg.ticks width=(TICKS) height="14" viewBox=(format!("0 0 {TICKS} 14")) role="img"
            aria-label=(format!("{} evaluations", invariant.evaluated)) {
            line.base x1="0" x2=(TICKS) y1="11" y2="11" {}
            path.tick d=(path) {}
            @for x in broken { path.broke d=(format!("M{x} 0l5 6l-5 6l-5 -6z")) {} }
        }
    }
}

fn answers(report: &Report) -> Markup {
    html! {
        @if !report.answers.is_empty() {
            section {
                h2 { "Answers" }
                table.facts {
                    tbody {
                        @for answer in &report.answers {
                            tr {
                                td { b { (answer.call) } }
                                td { @match answer.answered { Some(at) => (clock(at)), None => "never" } }
                                td { (answer.code) }
                                td {
                                    @for part in [&answer.message, &answer.reply].into_iter().flatten() { (text(part)) " " }
                                    @if let Some(gave_up) = &answer.gave_up {
                                        "(the client saw " (gave_up.code) " at " (clock(gave_up.at)) ")"
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn set_up(report: &Report) -> Markup {
    html! {
        section {
            h2 { "The world, the calls, what disturbs them" }
            table.facts {
                tbody {
                    @for thing in &report.world {
                        tr { td { (thing.kind) } td { b { (text(&thing.name)) } } td { (text(&thing.what)) } }
                    }
                    @for call in &report.calls {
                        tr { td { "call" } td { b { (text(&call.name)) } } td { (text(&call.what)) } }
                    }
                    @for decision in &report.decisions {
                        tr.(if decision.applied { "" } else { "bad" }) {
                            td { (decision.kind) }
                            td { b { (text(&decision.at)) } }
                            td {
                                (text(&decision.what))
                                @if let Some(why) = &decision.why_not { "; NOT APPLIED: " (text(why)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn nodes(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Left on the node" }
            div.two {
                div {
                    h3 { (if report.stop.kind == "idle" { "once quiet" } else { "when the run stopped" }) ", " (clock(report.quiet.at)) }
                    @if let Some(what) = &report.stop.what { p.error { (text(what)) } }
                    @for waiting in &report.stop.waiting { p.mono { "waits: " (text(waiting)) } }
                    (node(&report.quiet))
                }
                @if let Some(reaped) = &report.reaped {
                    div {
                        h3 { "once reaped, " (clock(reaped.at)) }
                        @for failed in &report.unreaped {
                            p.error { "failed: " (text(&failed.name)) ": " (text(&failed.what)) }
                        }
                        (node(reaped))
                    }
                }
            }
        }
    }
}

fn node(node: &Node) -> Markup {
    html! {
        ul.mono {
            @for status in &node.statuses { li { (text(&status.container)) ": " (status.state) } }
            @for left in &node.left { li { (text(left)) } }
            @if node.left.is_empty() { li.dim { "nothing is left" } }
        }
    }
}

/// The scenario, with what failed marked.
fn file(source: &Source, report: &Report) -> Markup {
    let blamed = |line: usize| report.verdict.reasons.iter().any(|reason| reason.line == line);
    html! {
        section.file {
            h2 { "The scenario: " (text(&source.file)) }
            pre {
                @for (number, line) in source.text.lines().enumerate() {
                    @let number = number + 1;
                    span.(if blamed(number) { "l blamed" } else { "l" }) id=(format!("L{number}")) {
                        span.ln { (format!("{number:>4} ")) } (text(line)) "\n"
                    }
                }
            }
        }
    }
}

fn foot(report: &Report, story: &Story) -> Markup {
    html! {
        footer {
            (report.moments) " moments, digest " span.mono { (report.digest) }
            @if story.columns.iter().any(|column| column.skipped > 0) {
                "; " (story.moments - story.columns.len()) " are left out"
            }
        }
    }
}
