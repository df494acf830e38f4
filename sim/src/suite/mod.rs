//! From paths to verdicts: which files, which cases, run under which profile, and what came of it.

mod bless;
mod cases;
mod check;
mod collect;
mod goals;
mod guard;
mod hits;
mod ledger;
mod names;
mod rewrite;
mod source;
mod sweep;
mod verdict;
pub(crate) mod watchdog;

pub use bless::{Blessed, bless};
pub use cases::{Cases, Ran, RunFailure, Runner};
pub(crate) use check::{answer_word, endless, events_of, left};
pub use collect::{CollectError, Found, collect};
pub use goals::{Goal, Goals, out_of_reach};
pub(crate) use guard::guarded;
pub use guard::{is_inside_run, note_panic, runs_under_way};
pub use hits::{Hits, Strike, never_made};
pub use ledger::Ledger;
pub use names::{Names, event_word, received_words, state_word};
pub use rewrite::rewrite;
pub use source::{LoadError, Source, read, take_same_names};
pub(crate) use sweep::root_of;
pub use verdict::{ExitCode, Kind, Reason, Verdict};
