//! What a page shows of an output, in which `…` stands for any text, and alone on a line for any lines.

use std::collections::BTreeSet;

/// Whether a line is as it is shown: `…` stands for any text.
fn line_fits(shown: &str, line: &str) -> bool {
    let mut parts = shown.trim_end().split('…');
    let line = line.trim_end();
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    let mut is_open = false;
    while let Some(part) = parts.next() {
        is_open = true;
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    is_open || rest.is_empty()
}

/// Whether the output is as it is shown: `…` alone on a line stands for any lines.
pub fn fits(shown: &[String], output: &[&str]) -> bool {
    // Which first parts of the output fit what is shown so far.
    let mut ends: BTreeSet<usize> = BTreeSet::from([0]);
    for pattern in shown {
        ends = if pattern.trim() == "…" {
            ends.first().map_or_else(BTreeSet::new, |first| (*first..=output.len()).collect())
        } else {
            let fit = |end: &&usize| output.get(**end).is_some_and(|line| line_fits(pattern, line));
            ends.iter().filter(fit).map(|end| end + 1).collect()
        };
    }
    ends.contains(&output.len())
}
