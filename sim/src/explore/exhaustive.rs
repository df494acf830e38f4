//! The oracle of an exhaustive search: takes one path through the tree of decisions, and knows the next.
//!
//! The tree is walked by making runs: a path is the options that were taken where there was a choice,
//! and the next one differs in the last choice that has options left ("Exhaustive testing" by replaying choices,
//! as TigerBeetle's `exhaustigen` has it).

use std::cell::RefCell;
use std::rc::Rc;

use super::decisions::Decisions;
use super::search::Caller;
use super::strategy::Bound;
use crate::oracle::{Cause, Choice, Crash, CrashKind, Fault, Menus, Oracle};
use crate::turnstile::{Awaited, Op, Site};
use crate::world::fs::Survival;

use shakedown_cri::ports::{Code, Errno};

/// A question with more than one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub taken: usize,
    pub options: usize,
}

/// What one run went by, and what it came to.
#[derive(Debug, Default)]
pub struct Path {
    pub turns: Vec<Turn>,
    /// How many were asked so far in the run.
    asked: usize,
    pub decisions: Decisions,
    /// Moments that were set aside in the run.
    pub delays: u32,
}

impl Path {
    pub fn new(turns: Vec<Turn>) -> Self {
        Path { turns, ..Path::default() }
    }

    /// Goes on to the next path that begins with the same `fixed` turns; false: there is none.
    pub fn advance(&mut self, fixed: usize) -> bool {
        while self.turns.len() > fixed {
            let last = self.turns.last_mut().expect("there is more than what is fixed");
            last.taken += 1;
            if last.taken < last.options {
                return true;
            }
            self.turns.pop();
        }
        false
    }
}

/// One representative for each class of errors that a branch of the code under test or of the world tells from
/// others.
const CLASSES: [Code; 5] = [
    Code::NotFound,
    Code::FailedPrecondition,
    Code::Unavailable,
    Code::DeadlineExceeded,
    Code::Unknown,
];
const ERRNOS: [Errno; 3] = [Errno::ENOENT, Errno::EBUSY, Errno::EIO];

/// Whether an exhaustive search tries a fault: a call can meet it, and it stands for others of its kind.
pub fn can_strike(fault: &Fault, op: Op, awaited: Awaited, endless: bool) -> bool {
    represents(fault, op) && Caller { awaited, endless }.can_meet(fault, op)
}

fn represents(fault: &Fault, op: Op) -> bool {
    match fault {
        Fault::Error { cause: Cause::Class(code), .. } => CLASSES.contains(code),
        Fault::Error { cause: Cause::Errno(errno), .. } => {
            ERRNOS.contains(errno) || !op.errnos().contains(&Errno::EIO) && op.errnos()[0] == *errno
        }
        // Longer than any limit of the service that an answer could still come within.
        Fault::Delay { by, .. } => *by >= DELAY,
        _ => true,
    }
}

const DELAY: std::time::Duration = std::time::Duration::from_secs(40);

pub struct Exhaustive {
    path: Rc<RefCell<Path>>,
    left: Bound,
    /// Whether what is pending is lost in the power loss that is under way.
    loses: Option<bool>,
}

impl Exhaustive {
    pub fn new(path: Rc<RefCell<Path>>, bound: Bound) -> Self {
        {
            let mut path = path.borrow_mut();
            path.asked = 0;
            path.delays = 0;
            path.decisions = Decisions::default();
        }
        Exhaustive { path, left: bound, loses: None }
    }

    /// The answer on this path.
    fn turn(&mut self, options: usize) -> usize {
        if options < 2 {
            return 0;
        }
        let mut path = self.path.borrow_mut();
        let at = path.asked;
        path.asked += 1;
        if at == path.turns.len() {
            path.turns.push(Turn { taken: 0, options });
        }
        assert_eq!(path.turns[at].options, options, "the same decisions bring the same questions");
        path.turns[at].taken
    }

    fn fault(&mut self, site: Site, standard: &[Fault], offered: impl Fn(&Fault) -> bool) -> usize {
        if self.left.faults == 0 {
            return 0;
        }
        let numbers: Vec<usize> =
            (0..standard.len()).filter(|number| offered(&standard[*number])).collect();
        let Some(pick) = self.turn(1 + numbers.len()).checked_sub(1) else { return 0 };
        self.left.faults -= 1;
        let number = numbers[pick];
        self.path.borrow_mut().decisions.fault(site, standard[number].clone());
        1 + number
    }
}

impl Oracle for Exhaustive {
    fn considers_crashes(&self) -> bool {
        self.left.faults > 0
    }

    fn choose(&mut self, choice: &Choice<'_>) -> usize {
        match *choice {
            Choice::Fault { site, menu, awaited, endless } => {
                self.fault(site, menu.standard, |fault| {
                    can_strike(fault, site.op, awaited, endless)
                })
            }
            Choice::Hold { moment, due } => {
                if self.left.delays == 0 || due.others().next().is_none() || self.turn(2) == 0 {
                    return 0;
                }
                self.left.delays -= 1;
                let mut path = self.path.borrow_mut();
                path.delays += 1;
                path.decisions.hold(moment);
                1
            }
            Choice::Keep { moment, after, due } => {
                self.path.borrow_mut().decisions.keep(moment, after);
                // When nothing else is due, it goes on anyway.
                if due.others().next().is_none() { 0 } else { self.turn(2) }
            }
            Choice::Crash { after, .. } => {
                if self.left.faults == 0 {
                    return 0;
                }
                let option = self.turn(1 + Crash::STANDARD.len());
                let Some(crash) = option.checked_sub(1).map(|o| Crash::STANDARD[o]) else {
                    return 0;
                };
                self.left.faults -= 1;
                self.loses = None;
                if crash.kind == CrashKind::Daemon {
                    self.loses = Some(false);
                }
                self.path.borrow_mut().decisions.crash(after, crash);
                option
            }
            Choice::Survival { pending, options, .. } => {
                // Either all of what is pending, or nothing of it.
                let loses = match self.loses {
                    Some(loses) => loses,
                    None => self.turn(2) == 1,
                };
                self.loses = Some(loses);
                let lost = options.iter().position(|option| *option == Survival::Lost);
                let option = lost.filter(|_| loses).unwrap_or(0);
                self.path.borrow_mut().decisions.survival(pending, options[option]);
                option
            }
        }
    }
}

/// The options of each operation that the search can choose among, for a call whose client can give up.
pub fn universe(menus: &Menus) -> Vec<(Op, usize)> {
    let caller = Caller { awaited: Awaited::UntilGivenUp, endless: false };
    let of = |op: &Op| {
        let offered =
            menus.of(*op).iter().filter(|f| represents(f, *op) && caller.can_meet(f, *op));
        (*op, offered.count())
    };
    Op::ALL.iter().map(of).filter(|(_, options)| *options > 0).collect()
}
