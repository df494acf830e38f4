//! Every decision that is not computed is one call: [`Oracle::choose`].

mod scripted;
mod seeded;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use shakedown_cri::ports::{Code, Errno};

pub use scripted::{CrashAt, Script, Scripted, ScriptedCrash, ScriptedHold};
pub use seeded::{Seeded, Weights};

use crate::turnstile::{Awaited, Due, Layer, Moment, Op, Site, Symbol};
use crate::world::fs::Survival;

/// What an injected error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    Class(Code),
    Errno(Errno),
}

impl Cause {
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Class(code) => code.name(),
            Cause::Errno(errno) => errno.name(),
        }
    }
}

/// Whether the call did its work all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    None,
    Done,
    /// Nobody waits for it any more when it happens: that much later.
    Late(Duration),
}

/// Where a delay lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DelayOf {
    Effect,
    Reply,
}

/// What can be done to one call, other than nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    Error {
        cause: Cause,
        message: Option<Rc<str>>,
        effect: Effect,
    },
    Delay {
        by: Duration,
        of: DelayOf,
    },
    /// No reply until the caller's context ends.
    Hang {
        effect: Effect,
    },
    /// No reply at all, whatever the caller's context.
    HangForever {
        effect: Effect,
    },
    /// The client of the call cancels while it is awaited.
    Cancel {
        effect: Effect,
    },
    /// The client's deadline passes while it is awaited.
    Deadline {
        effect: Effect,
    },
    /// A write takes half of its bytes.
    ShortWrite,
    /// The peer's connection breaks.
    ConnectionClosed {
        effect: Effect,
    },
    /// What happened is not reported to anyone.
    Lost,
}

impl Fault {
    /// The kind's word in scenario files.
    pub const fn kind(&self) -> &'static str {
        match self {
            Fault::Error { .. } => "error",
            Fault::Delay { .. } => "delay",
            Fault::Hang { .. } => "hang",
            Fault::HangForever { .. } => "hang!",
            Fault::Cancel { .. } => "cancel",
            Fault::Deadline { .. } => "deadline",
            Fault::ShortWrite => "short-write",
            Fault::ConnectionClosed { .. } => "connection-closed",
            Fault::Lost => "lost",
        }
    }

    pub const fn effect(&self) -> Effect {
        match self {
            Fault::Error { effect, .. }
            | Fault::Hang { effect }
            | Fault::HangForever { effect }
            | Fault::Cancel { effect }
            | Fault::Deadline { effect }
            | Fault::ConnectionClosed { effect } => *effect,
            Fault::Delay { .. } | Fault::ShortWrite | Fault::Lost => Effect::Done,
        }
    }

    /// Why the operation cannot meet this fault; `None` when it can.
    pub fn misfit(&self, op: Op) -> Option<String> {
        let name = op.name();
        let layer = op.layer();
        if op.is_single() {
            return match self {
                Fault::HangForever { effect: Effect::None } if op == Op::Lock => None,
                Fault::Lost if op.can_get_lost() => None,
                Fault::Delay { of: DelayOf::Effect, .. } if op == Op::Publish => None,
                _ if op.can_get_lost() => {
                    let delayed = if op == Op::Publish { " or delayed" } else { "" };
                    Some(format!("`{name}` can only be held, `lost`{delayed}"))
                }
                _ if matches!(layer, Layer::Client | Layer::World) => {
                    Some(format!("`{name}` is not a call, nothing can fail in it"))
                }
                _ => Some(format!(
                    "`{name}` has a single moment: it can be held, but not fail{}",
                    if op == Op::Lock { " (only `hang!`)" } else { "" }
                )),
            };
        }
        let gives_up = matches!(self, Fault::Cancel { .. } | Fault::Deadline { .. });
        let late = matches!(self.effect(), Effect::Late(_));
        if let Some(why) = op.out_of_clients_reach().filter(|_| gives_up) {
            return Some(format!("no client gives up on `{name}`: {why}"));
        }
        if let Some(why) = op.not_left_early().filter(|_| gives_up && late) {
            return Some(format!("nobody gives up early on `{name}`: {why}"));
        }
        match self {
            Fault::Error { cause: Cause::Class(code), .. } => {
                (!op.codes().contains(code)).then(|| {
                    let errnos: Vec<_> = op.errnos().iter().map(|e| e.name()).collect();
                    if errnos.is_empty() {
                        format!("`{name}` cannot fail")
                    } else {
                        format!(
                            "`{name}` answers error numbers, not classes: {}",
                            errnos.join(", ")
                        )
                    }
                })
            }
            Fault::Error { cause: Cause::Errno(errno), .. } => {
                (!op.errnos().contains(errno)).then(|| {
                    if op.errnos().is_empty() && op.codes().is_empty() {
                        format!("`{name}` cannot fail")
                    } else if op.errnos().is_empty() {
                        let classes: Vec<_> = op.codes().iter().map(|code| code.name()).collect();
                        format!(
                            "`{name}` answers error classes, not error numbers: {}",
                            classes.join(", ")
                        )
                    } else {
                        let errnos: Vec<_> = op.errnos().iter().map(|e| e.name()).collect();
                        format!(
                            "`{name}` does not answer {}; it can answer {}",
                            errno.name(),
                            errnos.join(", ")
                        )
                    }
                })
            }
            Fault::Hang { .. } if matches!(layer, Layer::File | Layer::Pipe | Layer::Event) => {
                Some(format!("`{name}` looks at no context: use `hang!`"))
            }
            Fault::Hang { effect: Effect::Late(_) }
            | Fault::HangForever { effect: Effect::Late(_) } => {
                Some("a hang has no late effect: delay the effect instead".to_owned())
            }
            Fault::Cancel { effect: Effect::Late(_) }
            | Fault::Deadline { effect: Effect::Late(_) }
                if !op.can_abandon() =>
            {
                Some(format!("`{name}` looks at no context, so nobody gives up on it early"))
            }
            Fault::Cancel { effect: Effect::Late(_) } if layer == Layer::Shim => {
                Some(format!("`{name}` is not told of a cancel, so nobody gives up on it early"))
            }
            Fault::Lost => (!op.can_get_lost())
                .then(|| format!("`{name}` is neither a report nor a sync that could get lost")),
            Fault::ShortWrite => {
                (op != Op::FsWrite).then(|| format!("`{name}` is not a write to a file"))
            }
            Fault::ConnectionClosed { .. } => (!(layer == Layer::Nri
                || layer == Layer::Daemon && op.name().starts_with("shim.")))
            .then(|| format!("`{name}` goes over no connection that could break")),
            _ => None,
        }
    }

    /// What it is to a caller whose context has an end, or has none: then a hang is one for ever.
    #[must_use]
    pub fn awaited(self, endless: bool) -> Fault {
        match self {
            Fault::Hang { effect } if endless => Fault::HangForever { effect },
            fault => fault,
        }
    }

    /// How long it takes until nothing more comes of it; zero for a hang, which has no end of its own.
    pub fn lasts(&self) -> Duration {
        match self {
            Fault::Delay { by, .. } => *by,
            _ => match self.effect() {
                Effect::Late(by) => by,
                Effect::None | Effect::Done => Duration::ZERO,
            },
        }
    }

    /// Whether no real node produces this fault at this operation.
    pub fn is_forced(&self, op: Op) -> bool {
        match self {
            // A disk can hang. A plugin, a shim and the daemon's own work end with their connection or their
            // process; a pipe's close waits for nothing, and ends its reads; who holds a lock gives it back:
            // what keeps the holder is the fault.
            Fault::HangForever { effect } => {
                let hangs = op.layer() == Layer::File || op == Op::PipeOpen;
                !hangs || *effect == Effect::Done && op.opens()
            }
            // A drive that keeps nothing of what it was told to keep, a shim that does not learn of the end
            // of its own process: no software can make up for that. Reports do get lost.
            Fault::Lost => op != Op::Publish,
            // What is there is found.
            Fault::Error { cause: Cause::Class(Code::NotFound), .. } if op.looks_up() => true,
            Fault::Error { cause: Cause::Errno(Errno::ENOENT), .. }
                if matches!(op, Op::FsRead | Op::FsReadDir) =>
            {
                true
            }
            // What was reported as failed, or was killed, is not done after all; only a request to a shim is
            // on its way beyond the answer. A shim takes no creation up after it answered the deletion, and a
            // plugin nothing after what was sent behind it.
            _ if matches!(self.effect(), Effect::Late(_)) => {
                !op.asks_shim() || op == Op::ShimCreate
            }
            // A system call that fails opens nothing.
            Fault::Error { effect: Effect::Done, .. } => op.opens(),
            _ => false,
        }
    }
}

/// A duration as scenario files and reports print it: `2s`, `1m30s`, `200ms`.
pub fn duration_text(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, nanos) in [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ] {
        if rest >= nanos {
            text.push_str(&format!("{}{unit}", rest / nanos));
            rest %= nanos;
        }
    }
    text
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Fault::Error { cause, .. } => write!(f, " {}", cause.name())?,
            Fault::Delay { by, of } => {
                let of = match of {
                    DelayOf::Effect => "effect",
                    DelayOf::Reply => "reply",
                };
                return write!(f, " of the {of} by {}", duration_text(*by));
            }
            Fault::ShortWrite | Fault::Lost => return Ok(()),
            _ => {}
        }
        match self.effect() {
            Effect::None => f.write_str(", without effect"),
            Effect::Done => f.write_str(", after the effect"),
            Effect::Late(by) => write!(f, ", with the effect {} later", duration_text(by)),
        }
    }
}

/// The faults that a call can meet. Option 0 is none; then the standard ones of its operation, then
/// those that the scenario brings for this very site.
#[derive(Clone, Copy)]
pub struct Menu<'a> {
    pub standard: &'a [Fault],
    pub own: &'a [Fault],
}

impl<'a> Menu<'a> {
    pub fn options(&self) -> usize {
        1 + self.standard.len() + self.own.len()
    }

    /// The fault behind an option; `None` for option 0 and for what is not on the menu.
    pub fn get(&self, option: usize) -> Option<&'a Fault> {
        let index = option.checked_sub(1)?;
        self.standard.get(index).or_else(|| self.own.get(index - self.standard.len()))
    }
}

/// The end of a boot of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Crash {
    pub kind: CrashKind,
    /// How long until it is started again; `None`: nobody does.
    pub down: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CrashKind {
    /// The daemon is killed; shims and processes live on.
    Daemon,
    /// The node loses power: nothing lives on, and of the files only what is durable.
    Power,
}

impl Crash {
    /// How long a killed daemon is down where nothing else is said.
    pub const DOWN: Duration = Duration::from_secs(1);

    /// What can strike after every moment, beside what a scenario brings for that moment.
    pub const STANDARD: &[Crash] = &[
        Crash { kind: CrashKind::Daemon, down: Some(Crash::DOWN) },
        Crash { kind: CrashKind::Power, down: Some(Crash::DOWN) },
    ];
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            CrashKind::Daemon => "the daemon is killed",
            CrashKind::Power => "the node loses power",
        })?;
        match self.down {
            Some(down) => write!(f, ", and started again after {}", duration_text(down)),
            None => Ok(()),
        }
    }
}

/// A question to the oracle. Option 0 is always the uneventful one.
pub enum Choice<'a> {
    /// Which fault a call meets; asked once, when the call is made. `endless`: the caller's context has no end.
    Fault { site: Site, menu: Menu<'a>, awaited: Awaited, endless: bool },
    /// A moment is about to be admitted: 0 = admit it, 1 = set it aside, 2 = also across jumps of
    /// time.
    Hold { moment: Moment, due: Due<'a> },
    /// A moment is set aside and `after` was just admitted: 0 = let it go, 1 = keep it aside.
    Keep { moment: Moment, after: Moment, due: Due<'a> },
    /// `after` just happened: whether the daemon ends there. 0 = no; then the standard ways, then
    /// those that the scenario brings for this very moment. Asked only where one of them can be.
    Crash { after: Moment, own: &'a [Crash] },
    /// The node lost power while this operation was pending: which of the options becomes of it. `own`
    /// is the scenario's choice.
    Survival { pending: Symbol, options: &'a [Survival], own: Option<usize> },
}

impl Choice<'_> {
    /// How many options there are.
    pub fn options(&self) -> usize {
        match self {
            Choice::Fault { menu, .. } => menu.options(),
            Choice::Hold { .. } => 3,
            Choice::Keep { .. } => 2,
            Choice::Crash { own, .. } => 1 + Crash::STANDARD.len() + own.len(),
            Choice::Survival { options, .. } => options.len(),
        }
    }
}

/// Takes every decision of a run.
pub trait Oracle {
    /// An option of the choice, below [`Choice::options`].
    fn choose(&mut self, choice: &Choice<'_>) -> usize;

    /// Whether it is asked after every moment if the daemon ends there, and not only after those for
    /// which the scenario has a crash.
    fn considers_crashes(&self) -> bool {
        false
    }
}

/// The standard faults of each operation.
pub struct Menus(Vec<Vec<Fault>>);

impl Menus {
    /// Representative parameters: what a person writes in a scenario can be anything.
    pub fn new() -> Self {
        Menus(Op::ALL.iter().map(|op| Self::of_op(*op)).collect())
    }

    fn of_op(op: Op) -> Vec<Fault> {
        let effects = [Effect::None, Effect::Done, Effect::Late(Duration::from_secs(6))];
        let mut menu = Vec::new();
        for effect in effects {
            let causes = (op.codes().iter().map(|c| Cause::Class(*c)))
                .chain(op.errnos().iter().map(|e| Cause::Errno(*e)));
            menu.extend(causes.map(|cause| Fault::Error { cause, message: None, effect }));
            menu.push(Fault::Hang { effect });
            menu.push(Fault::HangForever { effect });
            menu.push(Fault::Cancel { effect });
            menu.push(Fault::Deadline { effect });
            menu.push(Fault::ConnectionClosed { effect });
        }
        for of in [DelayOf::Effect, DelayOf::Reply] {
            for by in [Duration::from_millis(1), Duration::from_secs(3), Duration::from_secs(40)] {
                menu.push(Fault::Delay { by, of });
            }
        }
        menu.push(Fault::ShortWrite);
        menu.push(Fault::Lost);
        menu.retain(|fault| fault.misfit(op).is_none());
        menu
    }

    pub fn of(&self, op: Op) -> &[Fault] {
        &self.0[op as usize]
    }
}

impl Default for Menus {
    fn default() -> Self {
        Self::new()
    }
}
