//! Whether setting a moment aside brings another run, or the same one with moments in another order that
//! commute (Mazurkiewicz, 1977; Godefroid, 1996): told from the steps of a run that was made.

use crate::turnstile::{Moment, Step, Steps};

/// What a run would be in which a moment is set aside for longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From step `end` on nothing differs, and nothing that changed places before touches what
    /// another changes.
    Same { end: usize },
    /// As far as is known it is another one.
    Other,
    /// It cannot be set aside for so long.
    Over,
}

/// Beyond as many steps at one time no order is worked out.
const WINDOW: usize = 600;

/// What the run would be if `moment`, which could come at step `from`, were set aside until `keeps` other
/// moments came.
pub fn set_aside(all: &Steps, from: usize, moment: Moment, keeps: u32) -> Order {
    let Some(first) = all.steps.get(from) else { return Order::Over };
    let here = all.steps[from..].iter().take_while(|step| step.at == first.at).count();
    let window = &all.steps[from..from + here];
    // Two that are set aside at once are beyond this.
    if here > WINDOW || all.holds.iter().any(|kept| kept.moment != moment && kept.to > from) {
        return Order::Other;
    }
    let Some(held) = window.iter().position(|step| step.moment == moment) else {
        // It did not come at all: its call ended otherwise, or the daemon did.
        let others = window.iter().filter(|step| step.happened).count();
        return if others < keeps as usize {
            Order::Over
        } else {
            Order::Same { end: from + here }
        };
    };
    Reordering { window, from, held, admitted: vec![false; here], low: 0, high: 0 }.run(keeps)
}

/// Whether step `which` comes within as many moments as `count` while `moment` is set aside.
pub fn comes_within(all: &Steps, from: usize, moment: Moment, count: u32, which: usize) -> bool {
    let Some(first) = all.steps.get(from) else { return false };
    let here = all.steps[from..].iter().take_while(|step| step.at == first.at).count();
    let window = &all.steps[from..from + here];
    // What does not come at all is in nobody's way.
    let held = window.iter().position(|step| step.moment == moment).unwrap_or(here);
    let mut order = Reordering { window, from, held, admitted: vec![false; here], low: 0, high: 0 };
    let mut kept = 0;
    while kept < count {
        let Some(next) = order.next(true) else { return false };
        if from + next == which {
            return true;
        }
        order.put(next);
        kept += u32::from(window[next].happened);
    }
    false
}

struct Reordering<'a> {
    window: &'a [Step],
    from: usize,
    held: usize,
    admitted: Vec<bool>,
    /// All before it are admitted.
    low: usize,
    /// None from it on is.
    high: usize,
}

impl Reordering<'_> {
    fn run(mut self, keeps: u32) -> Order {
        let mut kept = 0;
        while kept < keeps {
            let Some(next) = self.next(true) else { return Order::Over };
            if !self.admit(next) {
                return Order::Other;
            }
            kept += u32::from(self.window[next].happened);
        }
        while self.low < self.high || !self.admitted[self.held] {
            let Some(next) = self.next(false) else { return Order::Other };
            if !self.admit(next) {
                return Order::Other;
            }
        }
        Order::Same { end: self.from + self.low }
    }

    /// The natural next one.
    fn next(&self, holds: bool) -> Option<usize> {
        let can_come = |at: &usize| {
            let is_out = self.admitted[*at] || holds && *at == self.held;
            !is_out
                && match self.window[*at].ready.checked_sub(self.from + 1) {
                    Some(by) => self.admitted[by],
                    None => true,
                }
        };
        let mut all = (self.low..self.window.len()).filter(can_come);
        let mut first = all.next()?;
        for other in all {
            if self.window[other].natural(&self.window[first]).is_lt() {
                first = other;
            }
        }
        Some(first)
    }

    /// Lets a step come before those that came before it. False: they do not commute.
    fn admit(&mut self, at: usize) -> bool {
        let passed = (self.low..at).filter(|before| !self.admitted[*before]);
        let touched = &self.window[at].touched;
        if passed.into_iter().any(|before| self.window[before].touched.conflicts(touched)) {
            return false;
        }
        self.put(at);
        true
    }

    fn put(&mut self, at: usize) {
        self.admitted[at] = true;
        self.high = self.high.max(at + 1);
        while self.admitted.get(self.low) == Some(&true) {
            self.low += 1;
        }
    }
}
