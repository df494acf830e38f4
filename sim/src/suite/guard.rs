//! What surrounds a run: its panics are its own and must not reach the terminal, and a watchdog can
//! see how long it takes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The runs that are under way, by their number in the process, with the case of each.
static UNDER_WAY: Mutex<BTreeMap<u64, String>> = Mutex::new(BTreeMap::new());
static BEGUN: AtomicU64 = AtomicU64::new(0);

fn under_way() -> MutexGuard<'static, BTreeMap<u64, String>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The numbers and the cases of the runs that are under way.
pub fn runs_under_way() -> Vec<(u64, String)> {
    under_way().iter().map(|(number, case)| (*number, case.clone())).collect()
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
pub(crate) fn guarded<R>(case: &str, run: impl FnOnce() -> R) -> Result<R, String> {
    let number = BEGUN.fetch_add(1, Ordering::Relaxed);
    under_way().insert(number, case.to_owned());
    LAST.set(None);
    INSIDE.set(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    INSIDE.set(false);
    under_way().remove(&number);
    result.map_err(|payload| {
        let noted = LAST.take();
        noted
            .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a text".to_owned())
    })
}
