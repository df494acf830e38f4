//! The end of the daemon, by itself or with its node, and its next boot.

use std::rc::Rc;

use shakedown_cri::cri::LocalFuture;
use shakedown_cri::ports::Instant;

use super::line::{Parked, What};
use super::site::{Moment, Op, Site, Stage};
use super::{Core, Fate, Sim, Symbol, TaskId, nanos};
use crate::oracle::{Choice, Crash, CrashAt, CrashKind, ScriptedCrash};
use crate::world::World;

/// Makes the main task of a boot of the daemon, which ends once the daemon serves.
pub type Boot = Rc<dyn Fn(u32) -> LocalFuture<()>>;

/// The daemon that the harness starts the boots of.
pub struct Daemon {
    pub boot: Boot,
    /// Drops what the harness holds of the boot that died.
    pub died: Rc<dyn Fn()>,
}

/// The daemon is about to end.
pub(super) struct CrashDue {
    pub(super) crash: Crash,
    /// The number of the scenario's crash that it is.
    pub(super) own: Option<usize>,
    /// As which it was asked about.
    pub(super) site: Option<Site>,
}

impl Sim {
    /// How the daemon is started again after it ended.
    pub fn set_daemon(&self, daemon: Daemon) {
        self.0.core.borrow_mut().daemon = Some(daemon);
    }

    /// The crashes of the script that strike at a time do so, counted from `start`.
    pub fn arm_crashes(&self, start: Instant) {
        let mut core = self.0.core.borrow_mut();
        for crash in 0..core.script.crashes.len() {
            if let CrashAt::Time(after) = core.script.crashes[crash].at {
                // Others may come before it: it has its number when it is asked about, or strikes.
                let site = Site { count: 0, ..daemon_site(Op::Crash) };
                core.park(site, Stage::Only, start.after(after).0, start.0, What::Crash { crash });
            }
        }
    }

    /// Whether no boot of the daemon lives.
    pub fn is_down(&self) -> bool {
        self.0.core.borrow().down
    }

    /// Starts the daemon, which is down, unless that is to happen anyway.
    pub fn restart(&self) {
        let now = self.0.now.get();
        let mut core = self.0.core.borrow_mut();
        match core.parked.iter().position(|p| matches!(p.what, What::Restart)) {
            Some(at) => core.parked.change(at).due = now,
            None => core.park_restart(now, now),
        }
    }

    /// The daemon ends by itself, as the next thing to happen.
    pub fn exit_daemon(&self) {
        let crash = Crash { kind: CrashKind::Daemon, down: None };
        self.0.core.borrow_mut().crash_due = Some(CrashDue { crash, own: None, site: None });
    }

    /// The daemon ends: nothing of its boot runs or waits any more, its descriptors and connections
    /// are closed, the calls that it served are over without an answer.
    pub(super) fn crash(&self, CrashDue { crash, own, site }: CrashDue) {
        let now = self.0.now.get();
        let (futures, parked, died) = {
            let mut core = self.0.core.borrow_mut();
            core.down = true;
            let parked = core.unpark_boot(crash.kind);
            let futures = core.take_boot(now);
            let died = core.daemon.as_ref().map(|daemon| daemon.died.clone());
            (futures, parked, died)
        };
        // First the kernel closes what the daemon had open: no destructor finds anything left to close.
        {
            let mut world = self.0.world.borrow_mut();
            let mut core = self.0.core.borrow_mut();
            match crash.kind {
                CrashKind::Daemon => world.daemon_dies(),
                CrashKind::Power => core.power_loss(&mut world, own),
            }
            core.take_from(&mut world, now);
            let site = site.unwrap_or_else(|| core.count_of(daemon_site(Op::Crash)));
            let moment = Moment { site, stage: Stage::Only };
            if let Some(steps) = &mut core.steps {
                steps.crash(moment, now);
                core.parked.steps = steps.steps.len();
            }
            core.happened(moment, 0, None, now, world.digest());
            if let Some(down) = crash.down {
                core.park_restart(now.saturating_add(nanos(down)), now);
            }
        }
        // In the order of their starts.
        for future in futures {
            self.catch("daemon", || drop(future));
        }
        self.catch("daemon", || drop(parked));
        if let Some(died) = died {
            died();
        }
    }
}

impl Core {
    /// Asks the oracle whether the daemon ends after the moment.
    pub(super) fn consider_crash(&mut self, after: Moment, now: u64) {
        if !self.faults_allowed {
            return;
        }
        let script = &self.script.crashes;
        let here = |i: &usize| script[*i].at == CrashAt::Moment(after);
        let rest: Vec<usize> = (0..script.len()).filter(here).collect();
        let own: Vec<Crash> = rest.iter().map(|i| script[*i].crash).collect();
        if self.down || self.crash_due.is_some() {
            for crash in rest {
                self.crash_fates[crash] = daemon_is_down();
            }
            return;
        }
        self.steps.iter_mut().for_each(|steps| steps.asks());
        let option = self.oracle.choose(&Choice::Crash { after, own: &own });
        let Some(option) = option.checked_sub(1) else { return };
        self.steps.iter_mut().for_each(|steps| steps.strikes());
        let chosen = option.checked_sub(Crash::STANDARD.len());
        let crash = chosen.map_or_else(|| Crash::STANDARD[option], |own_index| own[own_index]);
        let own = chosen.map(|own_index| rest[own_index]);
        self.let_crash(CrashDue { crash, own, site: None }, now);
        for (i, index) in rest.into_iter().enumerate() {
            self.crash_fates[index] =
                if Some(i) == chosen { Fate::Applied } else { daemon_is_down() };
        }
    }

    /// The time of a crash of the script came.
    pub(super) fn set_up_crash(&mut self, index: usize, site: Site, now: u64) -> Fate {
        if self.down || self.crash_due.is_some() {
            return daemon_is_down();
        }
        let crash = self.script.crashes[index].crash;
        let site = Some(site).filter(|site| site.count > 0);
        self.let_crash(CrashDue { crash, own: Some(index), site }, now);
        Fate::Applied
    }

    fn let_crash(&mut self, due: CrashDue, now: u64) {
        self.fault_until(now);
        self.crash_due = Some(due);
    }

    /// The node loses power: the oracle says what is left of what the disk did not have yet.
    fn power_loss(&mut self, world: &mut World, own: Option<usize>) {
        let Core { script, oracle, crash_fates, .. } = self;
        let scripted = own.map(|own| &script.crashes[own]);
        let mut pending = Vec::new();
        let mut refused = None;
        world.power_loss(|name, options| {
            pending.push(name);
            let wanted = scripted.and_then(|scripted| scripted.survival(name));
            let own = wanted.and_then(|wanted| options.iter().position(|option| *option == wanted));
            if wanted.is_some() && own.is_none() {
                refused = Some(format!("`{name}` cannot be torn"));
            }
            if let [only] = options {
                return *only;
            }
            options[oracle.choose(&Choice::Survival { pending: name, options, own })]
        });
        let (Some(own), Some(scripted)) = (own, scripted) else { return };
        let mut named = scripted.lost.iter().chain(&scripted.torn);
        let all = Symbol::of(ScriptedCrash::ALL);
        if let Some(absent) = named.find(|name| **name != all && !pending.contains(name)) {
            let names: Vec<String> = pending.iter().map(|name| format!("`{name}`")).collect();
            let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            refused = Some(format!("`{absent}` was not pending; what was: {names}"));
        }
        if let Some(why) = refused {
            crash_fates[own] = Fate::Refused(why);
        }
    }

    /// Takes out everything that waits on behalf of the boot that ends.
    fn unpark_boot(&mut self, kind: CrashKind) -> Vec<Parked> {
        let boot = self.boot;
        let mut gone = Vec::new();
        let mut at = 0;
        while at < self.parked.len() {
            let parked = &self.parked[at];
            let of_boot = |task: Option<TaskId>| task.is_none_or(|t| self.tasks[t.0].boot == boot);
            let goes = match &parked.what {
                // Whom nobody waits for, the daemon works for.
                What::Call { .. } | What::Single { .. } => of_boot(parked.task),
                What::Spawn { task } | What::Woken { task } => of_boot(Some(*task)),
                What::Occurrence(occurrence) => occurrence.ends_with(kind),
                What::Up => true,
                What::Begin { .. }
                | What::Cancel { .. }
                | What::Done { .. }
                | What::Crash { .. }
                | What::Restart => false,
            };
            if goes {
                gone.push(self.unpark(at));
            } else {
                at += 1;
            }
        }
        gone
    }

    /// Takes the futures of the boot that ends, in the order of their starts. The calls among them are
    /// over.
    fn take_boot(&mut self, now: u64) -> Vec<LocalFuture<()>> {
        let mut futures = Vec::new();
        for at in 0..self.tasks.len() {
            let task = &mut self.tasks[at];
            if task.boot != self.boot {
                continue;
            }
            let Some(future) = task.future.take() else { continue };
            futures.push(future);
            if let Some(index) = task.client
                && self.calls[index].answered.is_none()
                && self.calls[index].name == task.actor
            {
                self.cut(index, now);
            }
        }
        futures
    }

    fn park_restart(&mut self, due: u64, now: u64) {
        let site = self.count_of(daemon_site(Op::Restart));
        let current = self.current.take();
        self.park(site, Stage::Only, due, now, What::Restart);
        self.current = current;
        self.fault_until(due);
    }
}

/// A site of the daemon as a whole; its count is to be set.
pub(super) fn daemon_site(op: Op) -> Site {
    Site { actor: Symbol::of("daemon"), op, subject: Symbol::EMPTY, count: 1 }
}

fn daemon_is_down() -> Fate {
    Fate::Refused("the daemon was down already".to_owned())
}
