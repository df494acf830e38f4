//! How actors are called.

use std::cell::RefCell;

use rustc_hash::FxHashMap;

use super::names::Symbol;
use super::site::Site;
use crate::world::FIRST_BOOT;

/// An actor of a boot: from the second on, the boot's number stands in front.
pub(super) fn boot_actor(boot: u32, actor: Symbol) -> Symbol {
    if boot == FIRST_BOOT { actor } else { Symbol::of(&format!("boot{boot}:{actor}")) }
}

/// The actor of the steps inside a call: the call's site.
pub(super) fn handler_actor(site: Site) -> Symbol {
    thread_local! {
        static KNOWN: RefCell<FxHashMap<Site, Symbol>> = RefCell::new(FxHashMap::default());
    }
    KNOWN.with_borrow_mut(|known| {
        *known.entry(site).or_insert_with(|| Symbol::of(&site.to_string()))
    })
}

/// Tasks of a boot by role and subject: `exit-monitor(web)`, `boot2:exit-monitor(web)`.
pub(super) fn task_of(boot: u32, role: &'static str, subject: Symbol) -> Symbol {
    boot_actor(boot, role_of(role, subject))
}

/// Roles of tasks and their subjects as one text: `exit-monitor(web)`.
pub(crate) fn role_of(role: &'static str, subject: Symbol) -> Symbol {
    if subject.is_empty() {
        return Symbol::of(role);
    }
    thread_local! {
        static ROLES: RefCell<FxHashMap<(&'static str, u32), Symbol>> =
            RefCell::new(FxHashMap::default());
    }
    ROLES.with_borrow_mut(|roles| {
        let role_of = || Symbol::of(&format!("{role}({subject})"));
        *roles.entry((role, subject.number())).or_insert_with(role_of)
    })
}
