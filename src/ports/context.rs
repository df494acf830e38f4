//! A request's context as a value: a deadline and a cancel token, with no timer of its own.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::{Code, Error};

/// A reading of the monotonic clock: nanoseconds since the world began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(pub u64);

impl Instant {
    #[must_use]
    pub fn after(self, duration: Duration) -> Instant {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanos))
    }

    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

thread_local! {
    static USES: Cell<ContextUses> = const { Cell::new(ContextUses { looked: 0, ended: 0 }) };
    static TOKENS: Cell<u32> = const { Cell::new(0) };
}

/// Which tokens were asked on this thread whether they had ended, and which ended: an engine that records what a
/// poll depends on sees it by that. Sets of tokens, see [`CancelToken::marks`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContextUses {
    pub looked: u64,
    pub ended: u64,
}

impl ContextUses {
    /// Those since this was asked last.
    pub fn take() -> ContextUses {
        USES.take()
    }

    /// A run begins, in which the first token gets the first number.
    pub fn restart() {
        USES.take();
        TOKENS.set(0);
    }
}

struct TokenState {
    ended: Cell<Option<(Instant, Code)>>,
    wakers: RefCell<Vec<Waker>>,
    parent: Option<CancelToken>,
    marks: u64,
}

/// Cancels everything that is awaited under the contexts that carry it, and their children.
#[derive(Clone)]
pub struct CancelToken(Rc<TokenState>);

impl Default for CancelToken {
    fn default() -> Self {
        CancelToken::child_of(None)
    }
}

impl CancelToken {
    pub fn new() -> Self {
        Self::default()
    }

    fn child_of(parent: Option<CancelToken>) -> Self {
        let number = TOKENS.get();
        TOKENS.set(number.wrapping_add(1));
        let own = if number < u64::BITS { 1 << number } else { u64::MAX };
        let marks = own | parent.as_ref().map_or(0, CancelToken::marks);
        let (ended, wakers) = (Cell::new(None), RefCell::default());
        CancelToken(Rc::new(TokenState { ended, wakers, parent, marks }))
    }

    /// Cancels. The first call counts; `now` is the time the abandon moments are due at.
    pub fn cancel(&self, now: Instant) {
        self.end(now, Code::Cancelled);
    }

    /// Ends the contexts with an error class of the caller's choice: `Cancelled`, or
    /// `DeadlineExceeded` for a deadline that is not known beforehand.
    pub fn end(&self, now: Instant, code: Code) {
        let mut uses = USES.get();
        if self.0.ended.get().is_none() {
            self.0.ended.set(Some((now, code)));
            let inherited = self.0.parent.as_ref().map_or(0, CancelToken::marks);
            // Beyond those that have marks of their own it could be any.
            uses.ended |=
                if self.0.marks == u64::MAX { u64::MAX } else { self.0.marks & !inherited };
        } else {
            uses.looked |= self.0.marks;
        }
        USES.set(uses);
        for waker in self.0.wakers.take() {
            waker.wake();
        }
    }

    /// When it, or a parent, was cancelled first, and as what.
    pub fn ended(&self) -> Option<(Instant, Code)> {
        let uses = USES.get();
        USES.set(ContextUses { looked: uses.looked | self.0.marks, ..uses });
        self.peek()
    }

    /// As [`CancelToken::ended`], for an engine: it is no use of the context.
    pub fn peek(&self) -> Option<(Instant, Code)> {
        let own = self.0.ended.get();
        let inherited = self.0.parent.as_ref().and_then(CancelToken::peek);
        match (own, inherited) {
            (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
            (a, b) => a.or(b),
        }
    }

    /// The token and its parents, as a set: the n-th token of a run has bit n, from 0; those after the 64th have
    /// all bits.
    pub fn marks(&self) -> u64 {
        self.0.marks
    }

    /// Whether `other` is this token or one that ends it, too.
    pub fn descends_from(&self, other: &CancelToken) -> bool {
        let parent = || self.0.parent.as_ref().is_some_and(|parent| parent.descends_from(other));
        Rc::ptr_eq(&self.0, &other.0) || parent()
    }

    /// Resolves once cancelled. Only engines with wakers of their own need it; the simulator reads
    /// [`CancelToken::peek`].
    pub async fn cancelled(&self) {
        poll_fn(|cx| {
            if self.ended().is_some() {
                return Poll::Ready(());
            }
            let mut token = Some(self);
            while let Some(current) = token {
                current.0.wakers.borrow_mut().push(cx.waker().clone());
                token = current.0.parent.as_ref();
            }
            Poll::Pending
        })
        .await;
    }
}

/// The context of a request (spec section 0.4). The default is the namespaced background context:
/// never cancelled, no deadline.
#[derive(Clone, Default)]
pub struct Context {
    deadline: Option<Instant>,
    cancel: Option<CancelToken>,
}

impl Context {
    pub fn background() -> Self {
        Self::default()
    }

    /// A context that ends `timeout` from `now`, or with its parent if that is earlier.
    #[must_use]
    pub fn with_timeout(&self, now: Instant, timeout: Duration) -> Self {
        let own = now.after(timeout);
        let deadline = Some(self.deadline.map_or(own, |d| d.min(own)));
        Context { deadline, cancel: self.cancel.clone() }
    }

    /// A context that the returned token cancels, or that ends with its parent.
    #[must_use]
    pub fn with_cancel(&self) -> (Self, CancelToken) {
        let token = CancelToken::child_of(self.cancel.clone());
        (Context { deadline: self.deadline, cancel: Some(token.clone()) }, token)
    }

    /// A context that `token` ends, too.
    #[must_use]
    pub fn with_token(&self, token: CancelToken) -> Self {
        Context { deadline: self.deadline, cancel: Some(token) }
    }

    /// False for a background context, which nothing can end.
    pub fn can_end(&self) -> bool {
        self.deadline.is_some() || self.cancel.is_some()
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub fn cancel_token(&self) -> Option<&CancelToken> {
        self.cancel.as_ref()
    }

    /// When the context ends or ended, as far as is known now, and as what.
    pub fn end(&self) -> Option<(Instant, Code)> {
        self.end_of(CancelToken::ended)
    }

    /// As [`Context::end`], for an engine: it is no use of the context.
    pub fn peek_end(&self) -> Option<(Instant, Code)> {
        self.end_of(CancelToken::peek)
    }

    fn end_of(
        &self,
        ended: impl Fn(&CancelToken) -> Option<(Instant, Code)>,
    ) -> Option<(Instant, Code)> {
        let ended = self.cancel.as_ref().and_then(ended);
        let expires = self.deadline.map(|at| (at, Code::DeadlineExceeded));
        match (ended, expires) {
            (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
            (a, b) => a.or(b),
        }
    }

    /// The context's error at `now`: `context canceled` or `context deadline exceeded`.
    pub fn error(&self, now: Instant) -> Option<Error> {
        self.end().filter(|(at, _)| *at <= now).map(|(_, code)| Error::bare(code))
    }
}
