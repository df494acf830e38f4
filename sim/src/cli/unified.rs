//! The difference of two texts, for people.

use similar::{ChangeTag, TextDiff};

use super::output::{BOLD, DIM};
use anstyle::{AnsiColor, Style};

const REMOVED: Style = AnsiColor::Red.on_default();
const ADDED: Style = AnsiColor::Green.on_default();

/// A unified diff with styles.
pub fn unified(file: &str, old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let mut text = format!("{BOLD}--- {file}{BOLD:#}\n{BOLD}+++ {file}{BOLD:#}\n");
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        text.push_str(&format!("{DIM}{}{DIM:#}\n", hunk.header()));
        for change in hunk.iter_changes() {
            let (sign, style) = match change.tag() {
                ChangeTag::Equal => (' ', Style::new()),
                ChangeTag::Delete => ('-', REMOVED),
                ChangeTag::Insert => ('+', ADDED),
            };
            let line = change.value().trim_end_matches('\n');
            text.push_str(&format!("{style}{sign}{line}{style:#}\n"));
        }
    }
    text
}
