//! The oracle of an exhaustive search: takes decisions by their names, and notes where it could have taken
//! others after the last of them.

use std::cell::RefCell;
use std::rc::Rc;

use crate::explore::caller::Caller;
use crate::explore::decisions::{Bound, Decisions};
use crate::oracle::{Cause, Choice, Crash, Effect, Fault, Menus, Oracle};
use crate::turnstile::{Awaited, Layer, Moment, Op, Site};
use crate::world::fs::Survival;

use shakedown_cri::ports::{Code, Errno};

/// A decision that differs from the uneventful one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The number of a fault on the menu of the site's operation.
    Fault { site: Site, number: usize },
    /// The number of a standard crash. `loses`: with all that the disk did not have.
    Crash { after: Moment, number: usize, loses: bool },
    /// A moment is set aside until this many others came.
    Hold { moment: Moment, keeps: u32 },
}

impl Pick {
    /// The moment that is set aside.
    pub fn held(self) -> Option<Moment> {
        match self {
            Pick::Hold { moment, .. } => Some(moment),
            _ => None,
        }
    }
}

/// Another decision that could have been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Fault { site: Site, caller: Caller },
    Hold { moment: Moment },
    Crash { after: Moment },
}

/// What one run went by, and what it came to.
#[derive(Debug, Default)]
pub struct Trail {
    pub picks: Vec<Pick>,
    /// How many of them came to their turn.
    pub applied: usize,
    /// After the last of them, each with the number of the question it was, of those that are asked between
    /// moments.
    pub turns: Vec<(usize, Turn)>,
    /// The last of them was a power loss that could have lost what was pending.
    pub could_lose: bool,
    /// The moment that was let go after the last of them, although it could have been kept.
    pub could_keep: Option<Moment>,
    pub decisions: Decisions,
}

impl Trail {
    fn decided(&mut self) {
        self.turns.clear();
        self.could_lose = false;
        self.could_keep = None;
    }
}

/// Whether a branch of the service or of the node tells this class of errors from others in what comes of the
/// operation. `Unknown` stands for all that it does not.
fn tells(op: Op, code: Code) -> bool {
    match code {
        Code::Unknown | Code::NotFound => true,
        // A process that cannot be signalled is as good as dead.
        Code::FailedPrecondition => matches!(op, Op::TaskKill | Op::ShimKill | Op::RuntimeKill),
        // A shim that cannot be reached may have a task for all that.
        Code::Unavailable => {
            matches!(op, Op::TaskGet | Op::ShimState | Op::RecordInfo | Op::TaskDelete)
        }
        Code::DeadlineExceeded => op.layer() == Layer::Nri || op == Op::ShimDelete,
        _ => false,
    }
}

/// As [`tells`], of error numbers: `EIO` stands for the rest.
fn tells_number(op: Op, errno: Errno) -> bool {
    match errno {
        Errno::EIO | Errno::ENOENT => true,
        Errno::EBUSY => matches!(op, Op::FsRemoveTree | Op::FsRemoveDir | Op::FsUnlink),
        _ => false,
    }
}

/// What the operation does is to look, so that it is all one whether it did.
const fn only_looks(op: Op) -> bool {
    matches!(
        op,
        Op::FsRead
            | Op::FsReadDir
            | Op::RecordInfo
            | Op::RecordList
            | Op::SnapshotMounts
            | Op::ImageGet
            | Op::TaskGet
            | Op::ShimState
            | Op::ShimPid
            | Op::MetricsRegister
            | Op::IoDrain
    )
}

/// Whether an exhaustive search tries a fault: a call can meet it, and it stands for others of its kind.
/// `merges`: also for those that are of another kind, but bring the same at this operation.
pub fn can_strike(
    fault: &Fault,
    op: Op,
    (awaited, endless): (Awaited, bool),
    merges: bool,
) -> bool {
    let stands_for_itself = !merges || represents_here(fault, op);
    represents(fault, op) && stands_for_itself && Caller { awaited, endless }.can_meet(fault, op)
}

/// One representative for each class of errors that a branch of the service or of the node tells from others.
const CLASSES: [Code; 5] = [
    Code::NotFound,
    Code::FailedPrecondition,
    Code::Unavailable,
    Code::DeadlineExceeded,
    Code::Unknown,
];
const ERRNOS: [Errno; 3] = [Errno::ENOENT, Errno::EBUSY, Errno::EIO];

fn represents(fault: &Fault, op: Op) -> bool {
    match fault {
        Fault::Error { cause: Cause::Class(code), .. } => CLASSES.contains(code),
        Fault::Error { cause: Cause::Errno(errno), .. } => {
            ERRNOS.contains(errno) || stands_alone(op, *errno)
        }
        // Longer than any limit of the service that an answer could still come within.
        Fault::Delay { by, .. } => *by >= DELAY,
        _ => true,
    }
}

/// For an operation that cannot answer `EIO`, its first number stands for the rest.
fn stands_alone(op: Op, errno: Errno) -> bool {
    !op.errnos().contains(&Errno::EIO) && op.errnos()[0] == errno
}

fn represents_here(fault: &Fault, op: Op) -> bool {
    if only_looks(op) && fault.kind() != "delay" && fault.effect() == Effect::Done {
        return false;
    }
    match fault {
        Fault::Error { cause: Cause::Class(code), .. } => tells(op, *code),
        Fault::Error { cause: Cause::Errno(errno), .. } => {
            tells_number(op, *errno) || stands_alone(op, *errno)
        }
        _ => true,
    }
}

const DELAY: std::time::Duration = std::time::Duration::from_secs(40);

pub struct Exhaustive {
    trail: Rc<RefCell<Trail>>,
    /// What the picks leave of the bound.
    left: Bound,
    /// Of each pick whether it came to its turn.
    taken: Vec<bool>,
    /// How often what is set aside was kept so.
    kept: Vec<u32>,
    /// Whether what is pending is lost in the crash that was picked last.
    loses: Option<bool>,
    /// So many questions were asked between moments.
    asked: usize,
}

impl Exhaustive {
    /// `trail` has the picks, and is told of the rest.
    pub fn new(trail: Rc<RefCell<Trail>>, bound: Bound) -> Self {
        let picks = trail.borrow().picks.clone();
        let holds = picks.iter().filter(|pick| pick.held().is_some()).count();
        let left = Bound {
            faults: bound.faults.saturating_sub((picks.len() - holds) as u32),
            delays: bound.delays.saturating_sub(holds as u32),
        };
        *trail.borrow_mut() = Trail { picks, ..Trail::default() };
        let picks = trail.borrow().picks.len();
        let (taken, kept) = (vec![false; picks], vec![0; picks]);
        Exhaustive { trail, left, taken, kept, loses: None, asked: 0 }
    }

    /// The pick that `of` says yes to, if it was not taken yet.
    fn pick(&self, of: impl Fn(&Pick) -> bool) -> Option<(usize, Pick)> {
        let trail = self.trail.borrow();
        let at = trail.picks.iter().position(of)?;
        (!self.taken[at]).then(|| (at, trail.picks[at]))
    }

    /// The pick is taken: what could have been decided before is none of this run's business.
    fn take(&mut self, at: usize, note: impl FnOnce(&mut Decisions)) {
        self.taken[at] = true;
        let mut trail = self.trail.borrow_mut();
        trail.decided();
        trail.applied += 1;
        note(&mut trail.decisions);
    }

    fn turn(&self, turn: Turn) {
        self.trail.borrow_mut().turns.push((self.asked - 1, turn));
    }
}

impl Oracle for Exhaustive {
    fn considers_crashes(&self) -> bool {
        let is_crash = |pick: &Pick| matches!(pick, Pick::Crash { .. });
        self.left.faults > 0 || self.trail.borrow().picks.iter().any(is_crash)
    }

    fn choose(&mut self, choice: &Choice<'_>) -> usize {
        self.asked += usize::from(!matches!(choice, Choice::Survival { .. }));
        match *choice {
            Choice::Fault { site, menu, awaited, endless } => {
                let here = |pick: &Pick| matches!(pick, Pick::Fault { site: s, .. } if *s == site);
                if let Some((at, Pick::Fault { number, .. })) = self.pick(here) {
                    self.take(at, |to| to.fault(site, menu.standard[number].clone()));
                    return 1 + number;
                }
                if self.left.faults > 0 && !menu.standard.is_empty() {
                    self.turn(Turn::Fault { site, caller: Caller { awaited, endless } });
                }
                0
            }
            Choice::Hold { moment, due } => {
                let pick = self.pick(|pick| pick.held() == Some(moment));
                if pick.is_none() && self.left.delays == 0 || due.others().next().is_none() {
                    return 0;
                }
                let Some((at, _)) = pick else {
                    self.turn(Turn::Hold { moment });
                    return 0;
                };
                self.take(at, |to| to.hold(moment));
                1
            }
            Choice::Keep { moment, after, due } => {
                let here = |pick: &Pick| pick.held() == Some(moment);
                let mut trail = self.trail.borrow_mut();
                trail.decisions.keep(moment, after);
                let at = trail.picks.iter().position(here);
                let Some(Pick::Hold { keeps, .. }) = at.map(|at| trail.picks[at]) else { return 0 };
                // When nothing else is due, it goes on anyway.
                if due.others().next().is_none() {
                    return 0;
                }
                let kept = &mut self.kept[at.expect("it is there")];
                *kept += 1;
                if *kept < keeps {
                    trail.decided();
                    return 1;
                }
                trail.could_keep = Some(moment);
                0
            }
            Choice::Crash { after, .. } => {
                let here =
                    |pick: &Pick| matches!(pick, Pick::Crash { after: a, .. } if *a == after);
                if let Some((at, Pick::Crash { number, loses, .. })) = self.pick(here) {
                    self.loses = Some(loses);
                    self.take(at, |to| to.crash(after, Crash::STANDARD[number]));
                    return 1 + number;
                }
                if self.left.faults > 0 {
                    self.turn(Turn::Crash { after });
                }
                0
            }
            Choice::Survival { pending, options, .. } => {
                // Either all of what is pending, or nothing of it.
                let mut trail = self.trail.borrow_mut();
                trail.could_lose = self.loses == Some(false);
                let lost = options.iter().position(|option| *option == Survival::Lost);
                let option = lost.filter(|_| self.loses == Some(true)).unwrap_or(0);
                trail.decisions.survival(pending, options[option]);
                option
            }
        }
    }
}

/// The numbers of the faults that an exhaustive search tries at a call.
pub fn faults_at(
    menus: &Menus,
    site: Site,
    Caller { awaited, endless }: Caller,
    merges: bool,
) -> impl Iterator<Item = usize> {
    let offered = move |(number, fault): (usize, &Fault)| {
        let can = can_strike(fault, site.op, (awaited, endless), merges);
        can.then_some(number)
    };
    menus.of(site.op).iter().enumerate().filter_map(offered)
}

/// The options of each operation that the search can choose among, for a call whose client can give up.
pub fn universe(menus: &Menus, merges: bool) -> Vec<(Op, usize)> {
    let caller = (Awaited::UntilGivenUp, false);
    let of = |op: &Op| {
        let offered = menus.of(*op).iter().filter(|fault| can_strike(fault, *op, caller, merges));
        (*op, offered.count())
    };
    Op::ALL.iter().map(of).filter(|(_, options)| *options > 0).collect()
}
