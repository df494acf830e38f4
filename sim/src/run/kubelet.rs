//! A client like the kubelet: it makes a container, starts it, and makes the next one when that fails or
//! the container ends.
//!
//! What it does and when follows kubernetes: `pkg/kubelet/kuberuntime/kuberuntime_manager.go`
//! (`computePodActions`, `doBackOff`) and `kuberuntime_container.go` (`startContainer`: create, then
//! start, with a restart count that counts the containers seen; `killContainer`),
//! `pkg/kubelet/container/helpers.go` (`ShouldContainerBeRestarted`), `pkg/kubelet/pod_workers.go`
//! (`completeWork`: a synchronisation that failed is repeated after 10 s; its jitter is left out), and
//! `client-go/util/flowcontrol/backoff.go`. Exits are noticed by relisting once a second, as `pkg/kubelet/pleg`
//! does; that is left out while nothing can have changed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use shakedown_cri::cri::ContainerState;
use shakedown_cri::ports::{Context, Instant, Name, Runtime, Signal};

use super::client::Answers;
use super::compile::{KubeletContainer, KubeletPlan, Plan};
use super::daemon::Daemon;
use crate::scenario::Restart;
use crate::turnstile::{Moment, Op, Sim, SimRuntime, SimSignal, Site, Symbol, only};

/// Between two synchronisations when one failed: `backOffPeriod`.
const SYNC_PERIOD: Duration = Duration::from_secs(10);
/// Between a first end of a container and its restart, doubling: `backOffPeriod`, `MaxContainerBackOff`.
const BACK_OFF: Duration = Duration::from_secs(10);
const BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// Between two looks at the containers: `plegRelistPeriod`.
const RELIST_PERIOD: Duration = Duration::from_secs(1);
/// How often it looks at a container that runs although its process has ended.
const RELISTS_MAX: u32 = 60;

/// What a kubelet is told. Clones share.
#[derive(Clone)]
pub(super) struct Mailbox(Rc<Mail>);

struct Mail {
    runtime: SimRuntime,
    name: Symbol,
    begun: Cell<bool>,
    /// The pod is deleted.
    deleted: Cell<bool>,
    /// The run reaps: it does nothing more.
    over: Cell<bool>,
    /// How many of its containers' processes have ended.
    exits: Cell<u32>,
    /// The restart count that the next creation names.
    attempt: Cell<u32>,
    news: RefCell<SimSignal>,
}

impl Mailbox {
    pub fn new(sim: &Sim, kubelet: &KubeletPlan) -> Mailbox {
        let runtime = SimRuntime::new(sim.clone(), 0);
        let news = runtime.signal(Name::new("news", &kubelet.name.text()));
        Mailbox(Rc::new(Mail {
            runtime,
            name: kubelet.name,
            begun: Cell::new(false),
            deleted: Cell::new(false),
            over: Cell::new(false),
            exits: Cell::new(0),
            attempt: Cell::new(0),
            news: RefCell::new(news),
        }))
    }

    pub fn attempt(&self) -> u32 {
        self.0.attempt.get()
    }

    pub fn has_begun(&self) -> bool {
        self.0.begun.get()
    }

    pub fn is_deleted(&self) -> bool {
        self.0.deleted.get()
    }

    /// The pod is deleted.
    pub fn delete(&self) {
        self.0.deleted.set(true);
        self.tell();
    }

    /// A process of a container has ended.
    pub fn exited(&self) {
        self.0.exits.set(self.0.exits.get() + 1);
        self.tell();
    }

    pub fn end(&self) {
        self.0.over.set(true);
    }

    /// Lets the kubelet look at what is new: a call was answered, or one of the above.
    pub fn tell(&self) {
        let news = self.0.news.borrow().clone();
        news.set();
    }

    /// Waits for news, at most until `until`. False when that time has come.
    async fn hear(&self, until: Option<Instant>) -> bool {
        let ctx = match until {
            Some(at) => Context::background().with_timeout(at, Duration::ZERO),
            None => Context::background(),
        };
        let news = self.0.news.borrow().clone();
        let heard = news.wait(&ctx).await.is_ok();
        if heard {
            let next = self.0.runtime.signal(Name::new("news", &self.0.name.text()));
            *self.0.news.borrow_mut() = next;
        }
        heard
    }
}

/// Tells the kubelet when it is dropped: its call was answered, or cut off.
pub(super) struct TellWhenOver(pub Mailbox);

impl Drop for TellWhenOver {
    fn drop(&mut self) {
        self.0.tell();
    }
}

/// The delay between restarts.
#[derive(Default)]
struct CrashLoop {
    /// The delay, and when it was set; none before the first restart.
    last: Option<(Duration, Instant)>,
}

impl CrashLoop {
    /// When a container that ended at `end` may be restarted, asked at `now`.
    fn restart_at(&mut self, end: Instant, now: Instant) -> Instant {
        let kept = self.last.filter(|(_, set)| end.since(*set) <= BACK_OFF_MAX * 2);
        let (at, next) = match kept {
            None => (now, BACK_OFF),
            Some((delay, _)) => (end.after(delay).max(now), (delay * 2).min(BACK_OFF_MAX)),
        };
        self.last = Some((next, at));
        at
    }
}

pub(super) struct Kubelet {
    pub sim: Sim,
    pub daemon: Daemon,
    pub plan: Rc<Plan>,
    pub index: usize,
    pub mail: Mailbox,
    pub answers: Answers,
    /// Its cache: what it saw last of each container, by id.
    pub cache: RefCell<BTreeMap<String, (ContainerState, i32)>>,
}

/// The moment at which a container's process ends.
pub(super) fn exit_of(container: &KubeletContainer) -> Moment {
    let actor = crate::turnstile::role_of("process", container.name);
    only(Site { actor, op: Op::Exit, subject: Symbol::EMPTY, count: 1 })
}

impl Kubelet {
    fn kubelet(&self) -> &KubeletPlan {
        &self.plan.kubelets[self.index]
    }

    fn is_over(&self) -> bool {
        self.mail.0.over.get()
    }

    /// Whether there is reason to stop what it is about.
    fn is_told(&self) -> bool {
        self.is_over() || self.mail.is_deleted()
    }

    /// The state and exit code of the container, if it was ever seen; as they were when the service cannot
    /// tell.
    fn look(&self, container: &KubeletContainer) -> Option<(ContainerState, i32)> {
        let mut cache = self.cache.borrow_mut();
        if let Some(peek) = self.daemon.peek(&container.id) {
            cache.insert(container.id.clone(), (peek.state, peek.exit_code));
        }
        cache.get(&container.id).copied()
    }

    /// Makes a call and waits for its answer, up to its limit. Whether it succeeded.
    async fn call(&self, number: usize) -> bool {
        self.sim.begin_call(number);
        let limit = self.plan.calls[number].deadline.unwrap_or_default();
        let until = self.sim.now().after(limit);
        loop {
            if let Some(answer) = &self.answers.borrow()[number] {
                return answer.is_ok();
            }
            let is_cut = self.sim.with_calls(|calls| calls[number].cut);
            if is_cut || self.is_over() || !self.mail.hear(Some(until)).await {
                return false;
            }
        }
    }

    /// Waits until `at`, or until it is told to stop.
    async fn pause_until(&self, at: Instant) {
        while !self.is_told() && self.sim.now() < at && self.mail.hear(Some(at)).await {}
    }

    async fn pause(&self, by: Duration) {
        self.pause_until(self.sim.now().after(by)).await;
    }

    pub async fn run(self) {
        self.mail.0.begun.set(true);
        let containers = &self.kubelet().containers;
        let mut crash_loop = CrashLoop::default();
        for (number, container) in containers.iter().enumerate() {
            if self.is_told() {
                break;
            }
            let seen = containers[..number].iter().filter(|c| self.look(c).is_some()).count();
            self.mail.0.attempt.set(u32::try_from(seen).unwrap_or(u32::MAX));
            let exits = self.mail.0.exits.get();
            let runs = self.call(container.create).await && self.call(container.start).await;
            if !runs {
                self.pause(SYNC_PERIOD).await;
            }
            // A start may have come to more than the kubelet was told.
            if runs || matches!(self.look(container), Some((ContainerState::Running, _))) {
                self.until_it_ends(container, exits).await;
            }
            let ended = self.sim.now();
            if self.is_told() || !self.comes_again(container).await {
                break;
            }
            if matches!(self.look(container), Some((ContainerState::Exited, _))) {
                let at = crash_loop.restart_at(ended, self.sim.now());
                self.pause_until(at).await;
            }
        }
        while !self.is_told() {
            self.mail.hear(None).await;
        }
        self.terminate().await;
    }

    /// Waits until the container that runs is seen to have ended. `exits`: how many had before it.
    async fn until_it_ends(&self, container: &KubeletContainer, exits: u32) {
        while !self.is_told() && self.mail.0.exits.get() == exits {
            self.mail.hear(None).await;
        }
        for _ in 0..RELISTS_MAX {
            if self.is_told() {
                return;
            }
            self.pause(RELIST_PERIOD).await;
            if !matches!(self.look(container), Some((ContainerState::Running, _))) {
                return;
            }
        }
    }

    /// Whether the next container is made after this one. One in an unknown state is stopped first.
    async fn comes_again(&self, container: &KubeletContainer) -> bool {
        match self.look(container) {
            None | Some((ContainerState::Created, _)) => true,
            Some((ContainerState::Running, _)) => false,
            Some((ContainerState::Unknown, _)) => self.insist(&container.stops).await,
            Some((ContainerState::Exited, code)) => match self.kubelet().restart {
                Restart::Always => true,
                Restart::OnFailure => code != 0,
                Restart::Never => false,
            },
        }
    }

    /// Makes a call again and again until it succeeds. Whether it did.
    async fn insist(&self, calls: &[usize]) -> bool {
        for (tried, number) in calls.iter().enumerate() {
            if tried > 0 {
                let at = self.sim.now().after(SYNC_PERIOD);
                while self.sim.now() < at && self.mail.hear(Some(at)).await {}
            }
            if self.is_over() {
                return false;
            }
            if self.sim.with_calls(|calls| calls[*number].began.is_some()) {
                continue;
            }
            if self.call(*number).await {
                return true;
            }
        }
        false
    }

    /// The pod is deleted: what may run is stopped, then all is removed.
    async fn terminate(&self) {
        let containers = &self.kubelet().containers;
        for container in containers {
            let may_run = matches!(
                self.look(container),
                Some((ContainerState::Running | ContainerState::Unknown, _))
            );
            if may_run && !self.is_over() {
                self.insist(&container.stops).await;
            }
        }
        for container in containers {
            if self.look(container).is_some() && !self.is_over() {
                self.insist(&container.removes).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::default().after(Duration::from_secs(seconds))
    }

    #[test]
    fn the_first_restart_is_at_once_and_the_delays_double() {
        let mut crash_loop = CrashLoop::default();
        let mut now = 100;
        let mut delays = Vec::new();
        for _ in 0..8 {
            let restart = crash_loop.restart_at(at(now), at(now));
            delays.push(restart.since(at(now)).as_secs());
            now += delays.last().unwrap() + 1;
        }
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_container_that_ran_long_begins_anew() {
        let mut crash_loop = CrashLoop::default();
        assert_eq!(crash_loop.restart_at(at(0), at(0)), at(0));
        assert_eq!(crash_loop.restart_at(at(1), at(1)), at(11));
        assert_eq!(crash_loop.restart_at(at(700), at(700)), at(700));
        assert_eq!(crash_loop.restart_at(at(701), at(701)), at(711));
        // Time that has passed since the end counts.
        assert_eq!(crash_loop.restart_at(at(720), at(735)), at(740));
    }
}
