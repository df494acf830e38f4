//! What is parked, and which of its moments comes next.

use std::cmp::Ordering;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use shakedown_cri::ports::{CancelToken, Code, Context, Instant};

use super::call::Pending;
use super::names::Symbol;
use super::site::{Layer, Op, Site, Stage};
use super::{NEVER, TaskId, bit};
use crate::oracle::Fault;
use crate::world::{Occurrence, WaitKey};

/// Identifies a parked call within a run. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub(super) u64);

impl EntryId {
    pub(super) const NONE: EntryId = EntryId(u64::MAX);
}

pub(super) enum What {
    /// A port call; its stage says what is next.
    Call {
        pending: Rc<dyn Pending>,
        abandons: bool,
    },
    /// A lock, an item, a signal, a time.
    Single {
        pending: Rc<dyn Pending>,
    },
    /// The first poll of a new task.
    Spawn {
        task: TaskId,
    },
    Occurrence(Occurrence),
    /// A call of the scenario begins.
    Begin {
        call: usize,
    },
    Cancel {
        call: usize,
    },
    /// The call was answered.
    Done {
        call: usize,
    },
    /// The time of the script's crash with this number came.
    Crash {
        crash: usize,
    },
    /// The daemon is started.
    Restart,
    /// The daemon serves.
    Up,
    Woken {
        task: TaskId,
    },
}

pub(super) struct Parked {
    /// Also the order of parking.
    pub id: EntryId,
    pub site: Site,
    pub stage: Stage,
    pub due: u64,
    /// Parked at; an abandon is never due earlier.
    pub since: u64,
    /// Work of a call that waited for a moment: it goes before other work that is due.
    pub urgent: bool,
    /// That of its actor: see [`Symbol::place`].
    pub place: u64,
    pub task: Option<TaskId>,
    pub ctx: Option<Context>,
    pub what: What,
    /// Few have one, and all are moved about.
    pub fault: Option<Box<Fault>>,
    /// How long the reply takes once it is there, nanoseconds.
    pub reply_delay: u64,
    pub wait: Option<WaitKey>,
    /// Nobody awaits it any more; its effect still happens. What it does goes by what who made it had been told, of
    /// which this is the hash where that is noted.
    pub orphan: Option<u64>,
    /// Set aside: the stage that is, and whether it survives jumps of time.
    pub held: Option<(Stage, bool)>,
    /// The stages that the oracle was asked whether to set them aside, a bit for each: once, although an
    /// effect that has to wait comes to its turn again.
    pub asked: u8,
    /// The context ended while nothing of the call itself was due: the caller goes on before anything
    /// else happens.
    pub prompt: bool,
    /// Never delivered: an unended hang.
    pub hangs: bool,
    /// The number of steps when it came to be due, as it is now.
    pub ready: usize,
    /// The tokens that can end its context, where steps are counted.
    pub tokens: u64,
    /// The number of steps when its context had ended.
    pub ended: usize,
}

/// When the context ends for a call, as far as is known now. A shim is told the deadline of a request,
/// but not that it was cancelled (spec section 1.4).
pub(crate) fn end_for(op: Op, ctx: &Context) -> Option<(Instant, Code)> {
    if op.layer() != Layer::Shim {
        return ctx.peek_end();
    }
    let struck = ctx.cancel_token().and_then(CancelToken::peek);
    let struck = struck.filter(|(_, code)| *code == Code::DeadlineExceeded);
    let known = ctx.deadline().map(|at| (at, Code::DeadlineExceeded));
    [struck, known].into_iter().flatten().min_by_key(|(at, _)| *at)
}

impl Parked {
    /// Whether the end of its context would end the await.
    fn abandons(&self) -> bool {
        let looks = match &self.what {
            What::Call { abandons, .. } => {
                *abandons || self.hangs && matches!(self.fault.as_deref(), Some(Fault::Hang { .. }))
            }
            What::Single { .. } => self.site.op.can_abandon(),
            _ => false,
        };
        looks
            && self.ctx.is_some()
            && self.orphan.is_none()
            && !matches!(self.fault.as_deref(), Some(Fault::HangForever { .. }))
    }

    /// When its abandon is due.
    pub fn abandon_due(&self) -> u64 {
        if !self.abandons() {
            return NEVER;
        }
        match self.ctx.as_ref().and_then(|ctx| end_for(self.site.op, ctx)) {
            Some((at, _)) => at.0.max(self.since),
            None => NEVER,
        }
    }

    /// When its effect, its reply or its one moment is due. Setting an abandon aside keeps no reply up.
    pub fn main_due(&self) -> u64 {
        match self.held {
            Some((stage, _)) if stage != Stage::Abandon => NEVER,
            _ => self.due,
        }
    }

    /// Its effect was just admitted, and its reply is due.
    pub fn replies(&self, now: u64) -> bool {
        self.stage == Stage::Reply && self.main_due() <= now
    }

    fn ends(&self) -> Ends {
        if self.retries() {
            return Ends::Asked;
        }
        let Some(ctx) = self.ctx.as_ref().filter(|_| self.abandons()) else { return Ends::Nothing };
        if ctx.cancel_token().is_some() || self.prompt || self.holds_abandon() {
            return Ends::Asked;
        }
        ctx.deadline().map_or(Ends::Nothing, |at| Ends::At(at.0.max(self.since)))
    }

    fn holds_abandon(&self) -> bool {
        matches!(self.held, Some((Stage::Abandon, _)))
    }

    pub fn earliest(&self) -> u64 {
        let abandon = if self.holds_abandon() { NEVER } else { self.abandon_due() };
        self.main_due().min(abandon).min(self.retry_due())
    }

    /// Whether the end of its context would have a read of a pipe tried once more: that closes a pipe
    /// which nobody has opened on the other side, and leaves others alone.
    fn retries(&self) -> bool {
        self.site.op == Op::PipeRead
            && self.wait.is_some()
            && self.held.is_none()
            && self.ctx.is_some()
    }

    /// When it is tried once more because its context ended.
    pub fn retry_due(&self) -> u64 {
        if !self.retries() {
            return NEVER;
        }
        let end = self.ctx.as_ref().and_then(Context::peek_end);
        end.map_or(NEVER, |(at, _)| at.0.max(self.since))
    }

    /// The request was made and will have its effect, whoever waits for it: it is only slow, or waits
    /// for the shim's lock.
    pub fn is_on_its_way(&self) -> bool {
        let waits = self.wait.is_some() && !self.site.op.waits();
        matches!(self.what, What::Call { .. })
            && self.stage == Stage::Effect
            && (self.due != NEVER || waits)
    }

    fn key(&self) -> Key {
        Key {
            id: self.id,
            due: self.main_due(),
            ends: self.ends(),
            urgent: self.urgent,
            wait: self.wait,
            place: self.place,
        }
    }
}

/// What the end of its context means to an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Nothing,
    /// Its abandon is due then, come what may.
    At(u64),
    /// To be asked each time: a token can end the context at any time, or more depends on it than an abandon.
    Asked,
}

/// What of an entry is looked at each time that one is sought.
#[derive(Clone, Copy)]
struct Key {
    id: EntryId,
    /// See [`Parked::main_due`].
    due: u64,
    ends: Ends,
    urgent: bool,
    wait: Option<WaitKey>,
    place: u64,
}

impl Key {
    /// Whether it can be next: it has a time, or can get one from its context.
    fn is_live(&self) -> bool {
        self.due != NEVER || self.ends != Ends::Nothing
    }
}

/// A set of places in the line, a bit for each.
#[derive(Default)]
struct Places(Vec<u64>);

impl Places {
    fn set(&mut self, at: usize, is_in: bool) {
        let (word, bit) = (at / 64, at % 64);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] = self.0[word] & !(1 << bit) | u64::from(is_in) << bit;
    }

    #[inline]
    fn iter(&self) -> impl Iterator<Item = usize> {
        let mut words = self.0.iter();
        let (mut first, mut left) = (0, words.next().copied().unwrap_or_default());
        std::iter::from_fn(move || {
            while left == 0 {
                left = *words.next()?;
                first += 64;
            }
            let at = first + left.trailing_zeros() as usize;
            left &= left - 1;
            Some(at)
        })
    }
}

/// What goes first at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    PromptAbandon,
    Main,
    Abandon,
}

/// A moment that could come next.
#[derive(Clone, Copy)]
struct Candidate {
    due: u64,
    rank: Rank,
    at: usize,
}

/// All that is parked. Most of it waits for something that may never happen, so what decides about
/// the next moment is kept beside the entries, densely.
pub(super) struct Line {
    parked: Vec<Parked>,
    /// Of each entry.
    keys: Vec<Key>,
    /// The entries of which a moment can be next.
    live: Places,
    /// How many steps there were so far, where they are counted.
    pub steps: usize,
    /// The tokens of entries that came to be due, or were parked, since this was looked at last: whether that was
    /// before or after their ends decides what comes of them.
    pub tokens: u64,
}

/// A change of an entry, which takes effect on the order when it is dropped.
pub(super) struct Change<'a> {
    /// It was more than looked at.
    is_one: bool,
    parked: &'a mut Parked,
    key: &'a mut Key,
    live: &'a mut Places,
    at: usize,
    steps: usize,
    tokens: &'a mut u64,
}

impl Deref for Change<'_> {
    type Target = Parked;

    fn deref(&self) -> &Parked {
        self.parked
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut Parked {
        self.is_one = true;
        self.parked
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if !self.is_one {
            return;
        }
        let key = self.parked.key();
        if key.due != self.key.due {
            self.parked.ready = self.steps;
            *self.tokens |= self.parked.tokens;
        }
        if key.is_live() != self.key.is_live() {
            self.live.set(self.at, key.is_live());
        }
        *self.key = key;
    }
}

impl Deref for Line {
    type Target = [Parked];

    fn deref(&self) -> &[Parked] {
        &self.parked
    }
}

impl Line {
    pub fn with_capacity(capacity: usize) -> Self {
        let (parked, keys) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        Line { parked, keys, live: Places::default(), steps: 0, tokens: 0 }
    }

    /// Its index is the last one.
    #[inline]
    pub fn push(&mut self, mut parked: Parked) {
        let key = parked.key();
        if key.due != NEVER {
            parked.ready = self.steps;
            self.tokens |= parked.tokens;
        }
        self.live.set(self.keys.len(), key.is_live());
        self.keys.push(key);
        self.parked.push(parked);
    }

    /// Takes an entry out; the last one comes in its place.
    pub fn take(&mut self, at: usize) -> Parked {
        self.remove_key(at);
        self.parked.swap_remove(at)
    }

    fn remove_key(&mut self, at: usize) {
        let last = self.keys.len() - 1;
        if at != last {
            self.live.set(at, self.keys[last].is_live());
        }
        self.live.set(last, false);
        self.keys.swap_remove(at);
    }

    /// As [`Line::take`], and drops it. Most often it is the last one, and then nothing is moved.
    pub fn remove(&mut self, at: usize) {
        self.remove_key(at);
        let last = self.parked.len() - 1;
        if at != last {
            self.parked.swap(at, last);
        }
        self.parked.truncate(last);
    }

    pub fn change(&mut self, at: usize) -> Change<'_> {
        let Line { parked, keys, live, steps, tokens } = self;
        let (parked, key) = (&mut parked[at], &mut keys[at]);
        Change { is_one: false, parked, key, live, at, steps: *steps, tokens }
    }

    /// The oracle was asked whether a stage is set aside. That has no part in the order.
    pub fn note_asked(&mut self, at: usize, stage: Stage) {
        self.parked[at].asked |= bit(stage);
    }

    /// Most often it is one of the last.
    pub fn find(&self, id: EntryId) -> Option<usize> {
        self.keys.iter().rposition(|key| key.id == id)
    }

    /// The entries of which a moment can be next, now or at some time.
    pub fn live(&self) -> impl Iterator<Item = usize> {
        self.live.iter()
    }

    /// Whoever waits for `key` may try again.
    pub fn wake(&mut self, key: WaitKey, now: u64) {
        for at in 0..self.keys.len() {
            if self.keys[at].wait == Some(key) {
                let mut parked = self.change(at);
                parked.wait = None;
                parked.due = now;
                drop(parked);
                // Also when it was due before.
                self.parked[at].ready = self.steps;
                self.tokens |= self.parked[at].tokens;
            }
        }
    }

    /// The next moment: index, stage and time. Ordered by due time, replies before abandons (except
    /// where there is none to wait for), then urgency, actor and order of parking.
    pub fn next(&self) -> Option<(usize, Stage, u64)> {
        let mut first = Candidate { due: NEVER, rank: Rank::Main, at: 0 };
        for at in self.live.iter() {
            let key = &self.keys[at];
            if key.due != NEVER {
                self.prefer(&mut first, Candidate { due: key.due, rank: Rank::Main, at });
            }
            match key.ends {
                Ends::Nothing => {}
                Ends::At(due) => {
                    self.prefer(&mut first, Candidate { due, rank: Rank::Abandon, at })
                }
                Ends::Asked => self.ends(at).for_each(|end| self.prefer(&mut first, end)),
            }
        }
        let Candidate { due, rank, at } = first;
        let stage = if rank == Rank::Main { self.parked.get(at)?.stage } else { Stage::Abandon };
        (due != NEVER).then_some((at, stage, due))
    }

    /// The moments that an entry has because its context ends.
    fn ends(&self, at: usize) -> impl Iterator<Item = Candidate> {
        let parked = &self.parked[at];
        let rank = if parked.prompt { Rank::PromptAbandon } else { Rank::Abandon };
        let abandon = if parked.holds_abandon() { NEVER } else { parked.abandon_due() };
        let retry = parked.retry_due();
        let ends = [(abandon, rank), (retry, Rank::Main)].into_iter();
        ends.filter(|(due, _)| *due != NEVER).map(move |(due, rank)| Candidate { due, rank, at })
    }

    /// Whether the one moment of a call that is not parked, which is due, would come before all others.
    pub fn goes_first(&self, call: &Parked, now: u64) -> bool {
        let goes_before = |other: Candidate| {
            let by_rank = || other.rank.cmp(&Rank::Main);
            let of_call = (call.urgent, call.place, call.site.actor, call.id);
            let by_name = || self.by_name(other.at, of_call);
            other.due.cmp(&call.due).then_with(by_rank).then_with(by_name).is_lt()
        };
        !self.live.iter().any(|at| {
            let key = &self.keys[at];
            key.due <= now && goes_before(Candidate { due: key.due, rank: Rank::Main, at })
                || match key.ends {
                    Ends::Nothing => false,
                    Ends::At(due) => {
                        due <= now && goes_before(Candidate { due, rank: Rank::Abandon, at })
                    }
                    Ends::Asked => self.ends(at).any(|end| end.due <= now && goes_before(end)),
                }
        })
    }

    /// Puts the new candidate, which comes some time, in the place of the first one if it comes before that.
    #[inline]
    fn prefer(&self, first: &mut Candidate, new: Candidate) {
        if new.due < first.due || new.due == first.due && self.goes_before(new, *first) {
            *first = new;
        }
    }

    /// The order of what is due at the same time.
    fn goes_before(&self, new: Candidate, old: Candidate) -> bool {
        let of_old = || {
            let Key { urgent, place, id, .. } = self.keys[old.at];
            (urgent, place, self.parked[old.at].site.actor, id)
        };
        new.rank.cmp(&old.rank).then_with(|| self.by_name(new.at, of_old())).is_lt()
    }

    /// The order of what is due at the same time and of the same rank: what is urgent first, then by the names of
    /// the actors.
    fn by_name(&self, at: usize, other: (bool, u64, Symbol, EntryId)) -> Ordering {
        let Key { urgent, place, id, .. } = self.keys[at];
        let by_place = || place.cmp(&other.1);
        let by_actor = || self.parked[at].site.actor.cmp_text(other.2);
        let by_id = || id.cmp(&other.3);
        other.0.cmp(&urgent).then_with(by_place).then_with(by_actor).then_with(by_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_in_order_however_many_there_are() {
        let mut places = Places::default();
        let all = [0, 3, 63, 64, 130, 200];
        all.iter().rev().for_each(|at| places.set(*at, true));
        assert_eq!(places.iter().collect::<Vec<_>>(), all);
        places.set(64, false);
        places.set(3, false);
        places.set(5, false);
        assert_eq!(places.iter().collect::<Vec<_>>(), [0, 63, 130, 200]);
        assert_eq!(Places::default().iter().next(), None);
    }
}
