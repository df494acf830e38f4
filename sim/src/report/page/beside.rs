//! Two runs beside one another, as a page.

use maud::{Markup, html};

use super::document::shell;
use super::lanes::lanes;
use super::story::Column;
use crate::report::compare::{Comparison, Differs, Row, Side, remarks, shown};
use crate::report::{clock, plain};

/// Rows around a difference that are not folded.
const CONTEXT: usize = 4;

/// The page of a comparison.
pub fn beside(comparison: &Comparison) -> String {
    let title = format!("{} against {}", comparison.a.name(), comparison.b.name());
    let body = html! {
        (head(comparison))
        (outcome(&comparison.outcome))
        @if let Some(first) = comparison.first() { (pictures(comparison, first)) }
        (rows(comparison))
    };
    shell(&title, &body)
}

fn head(comparison: &Comparison) -> Markup {
    let count = comparison.rows.iter().filter(|row| !matches!(row, Row::Same(..))).count();
    html! {
        header {
            div.title {
                h1 { "Two runs" }
                button #scheme type="button" hidden { "light or dark" }
            }
            div.two {
                (side("A", &comparison.a))
                (side("B", &comparison.b))
            }
            p.where {
                @if comparison.first().is_some() {
                    a.show href="#first" { "Go to the first difference" }
                    span { (count) " of " (comparison.rows.len()) " moments differ" }
                    span.keys #steps hidden { kbd { "n" } " the next difference, " kbd { "p" } " the one before" }
                } @else {
                    span { "Every moment is the same, all " (comparison.rows.len()) "." }
                }
            }
        }
    }
}

fn side(letter: &str, side: &Side) -> Markup {
    let passed = side.report.verdict.passed;
    html! {
        div.card.(if passed { "" } else { "bad" }) {
            p.told {
                b { (letter) } " " (plain(&side.report.case)) " " span.profile { (side.report.profile) }
            }
            p.where { span.verdict.(if passed { "good" } else { "bad" }) { (side.verdict()) } }
            div {
                p { (plain(&side.report.title)) }
                @for reason in &side.report.verdict.reasons { p.error { (plain(&reason.what)) } }
            }
        }
    }
}

fn outcome(outcome: &[Differs]) -> Markup {
    html! {
        section {
            h2 { "What came of it" }
            @if outcome.is_empty() {
                p { "The same: answers, statuses, what was left, invariants." }
            } @else {
                table.outcome {
                    thead { tr { th { "what" } th { "A" } th { "B" } } }
                    tbody {
                        @for Differs { what, a, b } in outcome {
                            tr {
                                td { b { (plain(what)) } }
                                td data-of="A" { (plain(a)) }
                                td data-of="B" { (plain(b)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Rows that are drawn as lanes, at most, and those of them that come before the first difference.
const DRAWN_MAX: usize = 900;
const BEFORE: usize = 200;

/// Which rows are drawn: all, or those around the first difference.
fn drawn(first: usize, rows: usize) -> std::ops::Range<usize> {
    let start = if rows > DRAWN_MAX { first.saturating_sub(BEFORE) } else { 0 };
    start..rows.min(start + DRAWN_MAX)
}

/// The lanes of both runs, one below the other: what is the same in both stands at the same place.
fn pictures(comparison: &Comparison, first: usize) -> Markup {
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    for (slot, row) in comparison.rows.iter().enumerate() {
        let (a, b) = match row {
            Row::Same(..) | Row::Other(..) => (true, true),
            Row::OnlyA(_) => (true, false),
            Row::OnlyB(_) => (false, true),
        };
        of_a.extend(a.then_some(slot));
        of_b.extend(b.then_some(slot));
    }
    let slots = comparison.rows.len();
    let drawn = drawn(first, slots);
    html! {
        section {
            h2 { "Lanes" }
            p.dim {
                "A moment stands at the same place in both; where one has none, there is a gap. The column through both is the first difference."
                @if drawn.len() < slots { " Of " (slots) " moments " (drawn.len()) " around it are drawn." }
            }
            div.scroll.both tabindex="0" role="group" aria-label="Lanes of both runs" {
                @for (letter, side, places) in [("A", &comparison.a, &of_a), ("B", &comparison.b, &of_b)] {
                    p.tag { b { (letter) } " " (plain(&side.name())) }
                    @let story = side.story.spread(places, slots).cropped(&drawn);
                    (lanes(&story, Some(first - drawn.start), &html! {}))
                }
            }
        }
    }
}

/// Rows that stand together: shown, or folded.
fn stretches(shown: &[bool]) -> Vec<(bool, std::ops::Range<usize>)> {
    let mut stretches: Vec<(bool, std::ops::Range<usize>)> = Vec::new();
    for (at, is_shown) in shown.iter().enumerate() {
        match stretches.last_mut().filter(|(last, _)| last == is_shown) {
            Some((_, range)) => range.end = at + 1,
            None => stretches.push((*is_shown, at..at + 1)),
        }
    }
    stretches
}

fn rows(comparison: &Comparison) -> Markup {
    let first = comparison.first();
    html! {
        section.beside {
            h2 { "Moments, side by side" }
            @for (is_shown, range) in stretches(&shown(&comparison.rows, CONTEXT)) {
                @if is_shown {
                    (stretch(comparison, range, first))
                } @else {
                    details {
                        summary { (range.len()) " the same" }
                        (stretch(comparison, range, first))
                    }
                }
            }
        }
    }
}

fn stretch(comparison: &Comparison, range: std::ops::Range<usize>, first: Option<usize>) -> Markup {
    html! {
        div.rows {
            @for at in range {
                @let (class, a, b) = match &comparison.rows[at] {
                    Row::Same(a, b) => ("same", Some(*a), Some(*b)),
                    Row::Other(a, b) => ("other", Some(*a), Some(*b)),
                    Row::OnlyA(a) => ("only", Some(*a), None),
                    Row::OnlyB(b) => ("only", None, Some(*b)),
                };
                @let a = a.map(|a| &comparison.a.story.columns[a]);
                @let b = b.map(|b| &comparison.b.story.columns[b]);
                @let place = first.map(|first| at as isize - drawn(first, comparison.rows.len()).start as isize);
                div.pair.(class) id=[(Some(at) == first).then_some("first")] data-at=[place] {
                    @if Some(at) == first { p.first { "the first difference" } }
                    span #{ "m" (at) } {}
                    (cell("A", a, b, class))
                    (cell("B", b, a, class))
                }
            }
        }
    }
}

fn cell(letter: &str, column: Option<&Column>, other: Option<&Column>, class: &str) -> Markup {
    html! {
        div.cell.mono.(if column.is_none() { "none" } else { "" }) {
            @match column {
                Some(column) => {
                    span.no { (letter) " " (column.label()) }
                    span.at { (clock(column.at)) }
                    span.op { (plain(&column.actor)) " " (plain(&column.what)) }
                    @if class != "same" {
                        ul { @for remark in remarks(column, other) { li { (plain(&remark)) } } }
                    }
                }
                None => { span.dim { (letter) " has no such moment" } }
            }
        }
    }
}
