//! Panics inside a run: they are the run's own and must not reach the terminal.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Whether this thread is inside a run, so that a panic is caught and reported with it.
pub fn is_inside_run() -> bool {
    INSIDE.get()
}

/// Keeps the place and text of a panic for the report. For a panic hook.
pub fn note_panic(text: String) {
    LAST.set(Some(text));
}

/// Runs `run`. A panic that the turnstile did not catch broke an assumption of the harness: its
/// text comes back.
pub(super) fn guarded<R>(run: impl FnOnce() -> R) -> Result<R, String> {
    LAST.set(None);
    INSIDE.set(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    INSIDE.set(false);
    result.map_err(|payload| {
        let noted = LAST.take();
        noted
            .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a text".to_owned())
    })
}
