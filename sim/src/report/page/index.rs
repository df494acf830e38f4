//! All that a command judged, with links to the pages of runs.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::document::shell;
use crate::report::plain;
use crate::report::verdicts::{Entry, Verdicts};

/// Failures that are listed one by one.
const FAILED_MAX: usize = 1000;

/// Where the pages are, relative to the index, by case and profile.
pub type Pages = BTreeMap<(String, String), String>;

/// Cases of a scenario under a profile that passed.
struct Row<'a> {
    first: &'a Entry,
    entries: Vec<&'a Entry>,
    page: Option<&'a String>,
}

/// The index: failures first, then a line for each scenario and profile.
pub fn index(verdicts: &Verdicts, pages: &Pages) -> String {
    let passed = verdicts.passed();
    let counts = verdicts.counts();
    let failed: Vec<&Entry> = verdicts.entries().iter().filter(|entry| !entry.passed()).collect();
    let title = format!("{}: {counts}", if passed { "passed" } else { "FAILED" });
    let body = html! {
        header {
            div.title {
                span.verdict.(if passed { "good" } else { "bad" }) { (if passed { "passed" } else { "FAILED" }) }
                h1 { (counts) }
                button #scheme type="button" hidden { "light or dark" }
            }
            p #find hidden {
                label { "Only what has " input type="search" placeholder="part of a name"; }
                " " span role="status" {}
            }
        }
        @if !failed.is_empty() { (failures(&failed, pages)) }
        (scenarios(verdicts, pages))
    };
    shell(&title, &body)
}

fn page_of<'p>(entry: &Entry, pages: &'p Pages) -> Option<&'p String> {
    pages.get(&(entry.case.clone(), entry.profile.clone()))
}

/// A relative address of a file.
fn address(path: &str) -> String {
    path.replace('%', "%25")
}

fn name(entry: &Entry, pages: &Pages) -> Markup {
    html! {
        @match page_of(entry, pages) {
            Some(page) => a href=(address(page)) { (plain(&entry.case)) },
            None => (plain(&entry.case)),
        }
    }
}

fn failures(failed: &[&Entry], pages: &Pages) -> Markup {
    html! {
        section {
            h2 { "Failed" }
            table.index {
                thead { tr { th { "case" } th { "profile" } th { "why" } } }
                tbody {
                    @for entry in failed.iter().take(FAILED_MAX) {
                        tr.entry.failed {
                            td { b { (name(entry, pages)) } }
                            td { (entry.profile) }
                            td.why {
                                @for problem in &entry.problems {
                                    p.error { (plain(&problem.message)) }
                                    @for detail in problem.details() { p.dim { (plain(&detail)) } }
                                }
                                @if page_of(entry, pages).is_none()
                                    && let Some(replay) = entry.replay() {
                                    p.mono { (plain(&replay)) " --html run.html" }
                                }
                            }
                        }
                    }
                }
            }
            @if failed.len() > FAILED_MAX {
                p { (failed.len() - FAILED_MAX) " more are not listed." }
            }
        }
    }
}

fn scenarios(verdicts: &Verdicts, pages: &Pages) -> Markup {
    let mut rows: BTreeMap<(&str, &str), Row<'_>> = BTreeMap::new();
    for entry in verdicts.entries().iter().filter(|entry| entry.passed()) {
        let row = rows.entry((&entry.label, &entry.profile)).or_insert_with(|| Row {
            first: entry,
            entries: Vec::new(),
            page: None,
        });
        row.entries.push(entry);
        row.page = row.page.or_else(|| page_of(entry, pages));
    }
    html! {
        @if !rows.is_empty() {
            section {
                h2 { "Passed" }
                p.dim { "The page of a scenario with several cases is that of its first one." }
                table.index {
                    thead { tr { th { "scenario" } th { "profile" } th.num { "cases" } th { "violated, as expected" } } }
                    tbody {
                        @for row in rows.values() {
                            tr.entry {
                                td {
                                    @match row.page {
                                        Some(page) => a href=(address(page)) { (plain(&row.first.label)) },
                                        None => (plain(&row.first.label)),
                                    }
                                }
                                td { (row.first.profile) }
                                td.num data-of="cases:" { (row.entries.len()) }
                                td data-of="violated, as expected:" { (violated(&row.entries)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn violated(entries: &[&Entry]) -> String {
    let ids: std::collections::BTreeSet<_> = entries.iter().flat_map(|e| &e.violated).collect();
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    ids.join(" ")
}
