//! What surrounds a run: its panics are its own and must not reach the terminal, and a watchdog can
//! see how long it takes.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

/// How many runs the process began, and the case of the one under way.
static UNDER_WAY: Mutex<(u64, Option<String>)> = Mutex::new((0, None));

/// The number and the case of the run that is under way.
pub fn run_under_way() -> Option<(u64, String)> {
    let state = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
    state.1.as_ref().map(|case| (state.0, case.clone()))
}

fn set_under_way(case: Option<&str>) {
    let mut state = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
    state.0 += u64::from(case.is_some());
    state.1 = case.map(str::to_owned);
}

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

/// Runs `run` for a case. A panic that the turnstile did not catch broke an assumption of the harness: its
/// text comes back.
pub(super) fn guarded<R>(case: &str, run: impl FnOnce() -> R) -> Result<R, String> {
    set_under_way(Some(case));
    LAST.set(None);
    INSIDE.set(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    INSIDE.set(false);
    set_under_way(None);
    result.map_err(|payload| {
        let noted = LAST.take();
        noted
            .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a text".to_owned())
    })
}
