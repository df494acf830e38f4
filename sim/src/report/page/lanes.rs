//! The picture of a run: lanes over its moments, as SVG in strips that stand side by side on a screen and
//! wrap on paper.

use maud::{Markup, html};

use super::story::{Bar, Column, End, Kind, Lane, Note, Story};
use crate::report::clock;
use crate::run::After;

/// Width of a column, in pixels.
pub const COLUMN: usize = 14;
/// Columns of a strip: two strips fit on a sheet of paper, one on a telephone.
const STRIP: usize = 24;
const ROW: usize = 17;
const BAR: usize = 14;
/// Rows above the lanes: times, numbers, marks.
const HEAD: usize = 50;
const HEADING: usize = 17;
/// Pixels of a letter, about.
const LETTER: usize = 7;
const LABEL_MAX: usize = 44;

struct Placed<'a> {
    bar: &'a Bar,
    y: usize,
    /// Where the bar and its label begin and end, in pixels.
    left: usize,
    right: usize,
    label: String,
}

fn centre(column: usize) -> usize {
    column * COLUMN + COLUMN / 2
}

fn width(text: &str) -> usize {
    text.chars().count() * LETTER
}

fn cut(label: &str) -> String {
    if label.chars().count() <= LABEL_MAX {
        return label.to_owned();
    }
    label.chars().take(LABEL_MAX - 1).chain(['…']).collect()
}

/// Puts bars into the first row of their lane that has room for them and their labels.
fn place(story: &Story) -> (Vec<(Lane, usize)>, Vec<Placed<'_>>, usize) {
    let (mut headings, mut placed) = (Vec::new(), Vec::new());
    let mut top = HEAD;
    for lane in Lane::ALL {
        let mut bars: Vec<&Bar> = story.bars.iter().filter(|bar| bar.lane == lane).collect();
        if bars.is_empty() {
            continue;
        }
        bars.sort_by_key(|bar| (rank(bar.kind), bar.from, bar.depth));
        headings.push((lane, top));
        top += HEADING;
        let mut rows: Vec<Vec<(usize, usize)>> = Vec::new();
        for bar in bars {
            let label = if bar.kind == Kind::Dot { String::new() } else { cut(&bar.label) };
            let left = centre(bar.from).saturating_sub(4);
            let right = (centre(bar.to) + 4).max(left + 6 + width(&label));
            let is_free =
                |row: &Vec<(usize, usize)>| row.iter().all(|(l, r)| right < *l || *r < left);
            let row = rows.iter().position(is_free).unwrap_or_else(|| {
                rows.push(Vec::new());
                rows.len() - 1
            });
            rows[row].push((left, right));
            placed.push(Placed { bar, y: top + row * ROW, left, right, label });
        }
        top += rows.len() * ROW + 4;
    }
    (headings, placed, top)
}

/// What goes into the first rows of a lane.
const fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::Client => 0,
        Kind::Rollback => 1,
        Kind::Down => 2,
        Kind::Memory => 3,
        Kind::Disk => 4,
        Kind::Claim => 5,
        Kind::Task => 6,
        Kind::Held => 8,
        Kind::Call | Kind::Lock | Kind::Thing | Kind::Dot => 7,
        Kind::File => 9,
    }
}

/// The strips side by side. `marked` is a column through all lanes; `over` lies upon them.
pub fn lanes(story: &Story, marked: Option<usize>, over: &Markup) -> Markup {
    let (headings, placed, height) = place(story);
    let count = story.columns.len();
    html! {
        div.strips {
            @for first in (0..count).step_by(STRIP) {
                @let columns = STRIP.min(count - first);
                @let marked = marked.filter(|at| (first..first + columns).contains(at));
                (strip(story, &headings, &placed, first, columns, height, marked))
            }
            (over)
        }
    }
}

fn strip(
    story: &Story,
    headings: &[(Lane, usize)],
    placed: &[Placed<'_>],
    first: usize,
    columns: usize,
    height: usize,
    marked: Option<usize>,
) -> Markup {
    let (x, width) = (first * COLUMN, columns * COLUMN);
    let (from, to) = (&story.columns[first], &story.columns[first + columns - 1]);
    let label = format!("Lanes from {} to {}", from.label(), to.label());
    let bars = placed.iter().filter(|p| p.left < x + width && p.right >= x);
    html! {
        svg role="img" aria-label=(label) width=(width) height=(height)
            viewBox=(format!("{x} 0 {width} {height}")) {
            @for (_, top) in headings {
                rect.lane x=(x) y=(top) width=(width) height=(HEADING - 3) {}
            }
            @if let Some(at) = marked {
                rect.first x=(at * COLUMN) y="0" width=(COLUMN) height=(height) {
                    title { "the first difference" }
                }
            }
            (marks(story, first, columns, height))
            @for (lane, top) in headings {
                text.lane x=(x + 4) y=(top + 11) { (lane.name()) }
            }
            @for placed in bars {
                (drawn(placed, x, x + width))
            }
        }
    }
}

/// Times, numbers, and lines that go through all lanes.
fn marks(story: &Story, first: usize, columns: usize, height: usize) -> Markup {
    let all = &story.columns;
    // Where there is room for it.
    let mut free = 0;
    let times: Vec<Option<String>> = (first..first + columns)
        .map(|at| {
            let before = at.checked_sub(1).map(|before| &all[before]);
            let x = at * COLUMN;
            let text = time_label(before, &all[at]).filter(|_| x >= free)?;
            free = x + width(&text) + 8;
            Some(text)
        })
        .collect();
    html! {
        @for at in first..first + columns {
            @let column = &all[at];
            @let x = at * COLUMN;
            @let before = at.checked_sub(1).map(|before| &all[before]);
            @if !column.broke.is_empty() {
                rect.broke x=(x) y="0" width=(COLUMN) height=(height) {}
            }
            @if column.is_crash() {
                rect.crash x=(centre(at) - 1) y="0" width="3" height=(height) {}
            }
            @if column.skipped > 0 {
                line.gap x1=(x) x2=(x) y1="0" y2=(height) {}
            }
            @let moved = before.is_none_or(|before| before.at != column.at);
            @if moved {
                line.time x1=(x) x2=(x) y1="0" y2=(height) {}
            }
            @if let Some(text) = &times[at - first] {
                text.time x=(x + 2) y="12" { (text) }
            }
            @let is_point = |column: &Column| !matches!(column.after, After::Moment(_) | After::Setup);
            @if at % 4 == 0 && !before.is_some_and(is_point) || is_point(column) {
                text.number x=(x + 1) y="27" { (column.label()) }
            }
            (glyphs(column, centre(at)))
        }
    }
}

/// The time where it moved on, and phases.
fn time_label(before: Option<&Column>, column: &Column) -> Option<String> {
    let Some(before) = before else { return Some(clock(column.at)) };
    let mut parts = Vec::new();
    if column.skipped > 0 {
        parts.push(format!("{} left out", column.skipped));
    }
    if before.at != column.at {
        parts.push(format!("{} (+{})", clock(column.at), clock(column.at - before.at)));
    }
    if before.phase != column.phase {
        parts.push(column.phase.to_owned());
    }
    (!parts.is_empty()).then(|| parts.join(" · "))
}

/// What struck here.
fn glyphs(column: &Column, x: usize) -> Markup {
    let is = |what: fn(&Note) -> bool| column.notes.iter().any(what);
    html! {
        @if !column.broke.is_empty() {
            path.broke d=(format!("M{x} 31l6 7l-6 7l-6 -7z")) {
                title { "an invariant broke" }
            }
        } @else if is(|note| matches!(note, Note::Fault { .. })) {
            path.fault d=(format!("M{x} 32l6 11h-12z")) { title { "a fault strikes" } }
        } @else if column.is_crash() {
            path.crash d=(format!("M{} 33l10 10m0 -10l-10 10", x - 5)) {
                title { "the daemon ends" }
            }
        } @else if is(|note| matches!(note, Note::Held { .. })) {
            path.held d=(format!("M{} 33v10m6 0v-10", x - 3)) { title { "a moment is set aside" } }
        } @else if column.error.is_some() {
            circle.error cx=(x) cy="38" r="3" { title { "an error" } }
        }
    }
}

fn drawn(placed: &Placed<'_>, strip_left: usize, strip_right: usize) -> Markup {
    let Placed { bar, y, label, .. } = placed;
    let (y, kind) = (*y, class(bar.kind));
    let (left, right) = (centre(bar.from), centre(bar.to));
    let mut classes = format!("b {kind}");
    for (is, class) in [
        (bar.failed, " bad"),
        (bar.struck, " struck"),
        (bar.end == End::Open, " open"),
        (bar.end == End::Abandon, " gone"),
    ] {
        if is {
            classes.push_str(class);
        }
    }
    let begins_here = placed.left >= strip_left;
    let rest = right.min(strip_right).saturating_sub(strip_left);
    let text_at = if begins_here || placed.left + 6 + width(label) > strip_left {
        Some(left)
    } else {
        (rest > width(label) + 8).then_some(strip_left + 2)
    };
    html! {
        a.(classes) href=(format!("#m{}", bar.main)) tabindex="-1" {
            title { (bar.title) }
            @if bar.kind == Kind::Dot {
                circle cx=(left) cy=(y + BAR / 2) r="3.5" {}
            } @else {
                rect.whole x=(left - 3) y=(y) width=(right - left + 6) height=(BAR) {}
                @if let Some(effect) = bar.effect {
                    @let at = centre(effect);
                    rect.done x=(at - 3) y=(y) width=(right.max(at) - at + 6) height=(BAR) {}
                }
                @if bar.struck {
                    path.fault d=(format!("M{} {}l5 -9h-10z", left, y + 3)) {}
                }
                @if bar.end == End::Abandon {
                    path.gone d=(format!("M{} {}l6 6m0 -6l-6 6", right - 1, y + 4)) {}
                }
                @if let Some(at) = text_at {
                    text x=(at + 2) y=(y + 11) { (label) }
                }
            }
        }
    }
}

const fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Call => "call",
        Kind::Dot => "dot",
        Kind::Client => "client",
        Kind::Rollback => "rollback",
        Kind::Lock => "lock",
        Kind::Claim => "claim",
        Kind::Memory => "memory",
        Kind::Disk => "disk",
        Kind::Task => "task",
        Kind::Thing => "thing",
        Kind::File => "file",
        Kind::Held => "held",
        Kind::Down => "down",
    }
}
