//! The phases of a run: setup, disturb and settle, reap.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, Hash, Hasher};
use std::rc::Rc;
use std::time::Duration;

use rustc_hash::{FxBuildHasher, FxHashMap, FxHasher};
use shakedown_cri::cri::{ContainerEvent, ContainerState, Sandbox, SandboxConfig, SandboxState};
use shakedown_cri::ports::{CancelToken, Code, Context, Error, Instant};
use shakedown_cri::quirks::Profile;

use super::client::{self, Answers, Reaped, Reaper, Unreaped};
use super::compile::{CallPlan, ContainerPlan, Plan, RunError, SandboxPlan};
use super::daemon::Daemon;
use super::film::{After, Camera};
use super::kubelet::{self, Kubelet, Mailbox, TellWhenOver};
use super::outcome::{Answer, EventSeen, Leftovers, Outcome, Snapshot, StatusShot};
use super::reaped::{ReapedStates, Rest};
use crate::engine::Engine;
use crate::invariants::{Ids, Judge};
use crate::oracle::{CrashAt, Menus, Oracle, Scripted};
use crate::scenario::{Action, InitialState, SandboxState as PlannedSandbox};
use crate::turnstile::{ClientCall, Fate, Limits, Moment, Notes, Op, Sim, Stop, Symbol};
use crate::under_test::{self, UnderTest};
use crate::world::Occurrence;

/// How long the service may go on after reaping, and may take for what the node begins with.
const AFTERMATH: Duration = Duration::from_secs(150);

/// How a run is to be made.
#[derive(Clone)]
pub struct Options {
    pub profile: &'static Profile,
    pub engine: Engine,
    pub limits: Limits,
    /// Record what the service logs.
    pub logs: bool,
    /// Record each call, and what a client that gives up means to it.
    pub calls: bool,
    /// Record the node after each moment, and what calls and locks take.
    pub film: bool,
    pub notes: Notes,
    /// The invariants that are asked. Without any a run costs less.
    pub judge: Ids,
    /// The states that need not be reaped again: for who asks whether something is wrong, and nothing else. With
    /// notes only.
    pub states: Option<ReapedStates>,
    pub menus: Rc<Menus>,
    /// What is run, once for each boot of the daemon.
    pub runtime: &'static dyn UnderTest,
}

impl Default for Options {
    fn default() -> Self {
        Options::of(&Profile::ALL[0])
    }
}

impl Options {
    /// Of a run under a profile, with nothing recorded beyond what reports need.
    pub fn of(profile: &'static Profile) -> Self {
        Options {
            profile,
            engine: Engine::default(),
            limits: Limits::default(),
            logs: false,
            calls: false,
            film: false,
            notes: Notes::Nothing,
            judge: Ids::ALL,
            states: None,
            menus: Rc::new(Menus::new()),
            runtime: under_test::of(profile),
        }
    }
}

/// Runs a plan with the decisions of its scenario.
pub fn run(plan: &Rc<Plan>, options: &Options) -> Outcome {
    run_under(plan, options, Box::new(Scripted::new(&plan.script)))
}

/// Runs a plan with the decisions of an oracle.
pub fn run_under(plan: &Rc<Plan>, options: &Options, oracle: Box<dyn Oracle>) -> Outcome {
    let (mut world, wrong) = plan.world(options.profile.quirks);
    for container in &plan.containers {
        let actor = match container.state {
            InitialState::Absent => creator_of(plan, container.name),
            _ => Some(setup_actor(container.name)),
        };
        if let Some(actor) = actor {
            world.ids.insert(actor.to_string(), container.id.clone());
        }
    }
    let sim = Sim::new(world, plan.script.clone(), oracle, options.menus.clone(), options.limits);
    // What tasks share counts from the first that is made.
    sim.take_notes(options.notes);
    let daemon = Daemon::new(&sim, plan.clone(), options.runtime, options.profile.quirks);
    sim.set_daemon(daemon.hooks());
    let conductor = Conductor {
        sim: sim.clone(),
        plan: plan.clone(),
        daemon,
        profile: options.profile,
        judge: options.judge,
        states: options.states.clone(),
        filmed: options.film,
        wrong: RefCell::new(wrong),
        answers: Rc::new(RefCell::new(vec![None; plan.calls.len()])),
        mailboxes: plan.kubelets.iter().map(|kubelet| Mailbox::new(&sim, kubelet)).collect(),
    };
    sim.with_recording(|recording| {
        recording.calls = options.calls.then(Vec::new);
        recording.spans = options.film;
    });
    let engine = options.engine;
    if options.logs {
        crate::run::logs::with_logs(&sim, || engine.run(&sim, || conductor.conduct()))
    } else {
        engine.run(&sim, || conductor.conduct())
    }
}

/// A sandbox as the service takes it over.
fn sandbox_of(sandbox: &SandboxPlan) -> Sandbox {
    Sandbox {
        id: sandbox.id.clone(),
        config: sandbox.config.clone(),
        runtime_handler: sandbox.runtime_handler.clone(),
        state: SandboxState::Ready,
        created_at: crate::world::WALL_EPOCH,
    }
}

/// The call that makes a container which is not there at the start.
fn creator_of(plan: &Plan, container: Symbol) -> Option<Symbol> {
    plan.calls.iter().find(|call| call.creates(container)).map(|call| call.name)
}

/// Whether calls of the scenario make the container, and nobody else can have its name: a kubelet counts
/// those that it makes.
fn has_a_name_of_its_own(plan: &Plan, container: &ContainerPlan) -> bool {
    let of_its_name = |call: &&CallPlan| {
        let mut containers = plan.containers.iter().filter(|c| c.names_the_same(container));
        call.kubelet.is_none() && containers.any(|c| call.creates(c.name))
    };
    let is_made = plan.calls.iter().any(|call| call.creates(container.name));
    is_made && plan.calls.iter().filter(of_its_name).count() <= 1
}

fn setup_actor(container: Symbol) -> Symbol {
    Symbol::of(&format!("setup-{container}"))
}

/// What each stream of events brought, by its call.
type Streamed = FxHashMap<Symbol, Vec<ContainerEvent>>;

struct Conductor {
    sim: Sim,
    plan: Rc<Plan>,
    daemon: Daemon,
    profile: &'static Profile,
    judge: Ids,
    states: Option<ReapedStates>,
    filmed: bool,
    /// What of the file's world cannot be made.
    wrong: RefCell<Vec<RunError>>,
    answers: Answers,
    /// Of the kubelets.
    mailboxes: Vec<Mailbox>,
}

/// What the disturbed phase left.
struct Settled {
    stop: Stop,
    was_quiet: bool,
    waiting: Vec<crate::turnstile::Moment>,
}

impl Conductor {
    fn conduct(self) -> Outcome {
        let judge = Judge::new(
            self.sim.clone(),
            self.daemon.clone(),
            self.plan.clone(),
            self.answers.clone(),
            self.judge,
        );
        let is_judged = self.judge != Ids::NONE;
        self.sim.set_direct(true);
        self.set_up();
        self.sim.set_direct(false);
        let setup_events = self.sim.with_world(|world| world.events.len());
        self.sim.with_world(|world| {
            self.wrong.borrow_mut().extend(self.plan.limit_disk(world));
            world.seen();
        });
        if is_judged {
            judge.begin();
            self.sim.set_observer(judge.observer());
        }
        let camera = self.filmed.then(|| {
            let (sim, plan, daemon) = (self.sim.clone(), self.plan.clone(), self.daemon.clone());
            let camera = Camera::new(sim, plan, daemon, judge.clone());
            camera.mark(After::Setup);
            self.sim.set_observer(camera.lens(self.sim.take_observer()));
            camera
        });
        let mark = |after: After| camera.iter().for_each(|camera| camera.mark(after));
        let settled = self.disturb();
        let quiet = self.snapshot(false);
        let streamed = self.sim.with_world(|world| world.streamed.clone());
        let quiet_events = self.sim.with_world(|world| world.events.len());
        let mut state = None;
        let rest = if settled.stop == Stop::Idle {
            if is_judged {
                judge.quiet(&quiet);
            }
            mark(After::Quiet);
            state = self.state(&judge);
            self.rest(state, &judge, mark)
        } else {
            let stop = settled.stop.clone();
            Rest { stop, logs: self.logs(), ..Rest::default() }
        };
        if is_judged {
            judge.stopped(&rest.stop);
        }
        if rest.stop != Stop::Idle {
            mark(After::Stopped);
        }
        self.sim.take_observer();
        let judgement = judge.judgement();
        let [faults, holds, occurrences, crashes] = self.sim.fates();
        let steps = self.sim.take_steps();
        let mut recording = self.sim.with_recording(std::mem::take);
        recording.moments += rest.moments;
        let mut events = self.events(setup_events..quiet_events);
        events.truncate(quiet_events);
        events.extend(rest.events);
        Outcome {
            case: self.plan.case.clone(),
            profile: self.profile,
            answers: self.collect_answers(&streamed),
            was_quiet: settled.was_quiet,
            quiet,
            reaped: rest.reaped,
            reaping: rest.reaping,
            events,
            logs: rest.logs,
            judgement,
            faults,
            holds,
            clocks: self.sim.with_world(|world| {
                let changes = world.wall_clock.changes.iter();
                changes
                    .map(|(_, done)| if *done { Fate::Applied } else { Fate::NotReached })
                    .collect()
            }),
            occurrences,
            crashes,
            waiting: settled.waiting,
            stop: rest.stop,
            never_began: self.never_began(),
            wrong: self.wrong.take(),
            recording,
            film: camera.map(|camera| camera.film()),
            steps,
            state,
        }
    }

    /// Brings up the service, its sandboxes and containers, without faults.
    fn set_up(&self) {
        self.sim.with_recording(|r| r.phase(0, "setup"));
        let Some(service) = self.daemon.service() else { return };
        let (plan, sim, up) = (self.plan.clone(), self.sim.clone(), service.clone());
        self.prepare("setup", async move {
            up.run().await.map_err(|e| e.wrap("the service does not come up"))?;
            sim.with_world(|world| plan.add_pods(world));
            for sandbox in &plan.sandboxes {
                let given = Sandbox {
                    config: SandboxConfig { annotations: Vec::new(), ..sandbox.config.clone() },
                    runtime_handler: String::new(),
                    ..sandbox_of(sandbox)
                };
                let adopted = up.adopt_sandbox(given).await;
                adopted.map_err(|e| e.wrap("a sandbox is not taken over"))?;
            }
            Ok(())
        });
        self.daemon.serves();
        for (index, container) in self.plan.containers.iter().enumerate() {
            if container.state == InitialState::Absent {
                continue;
            }
            let (service, plan) = (service.clone(), self.plan.clone());
            let actor = setup_actor(container.name);
            self.prepare(&actor.text(), async move {
                let container = &plan.containers[index];
                let ctx = Context::background;
                let made = service
                    .create_container(ctx(), container.sandbox_id.clone(), container.config.clone())
                    .await;
                let id = made.map_err(|e| e.wrap("a container is not made"))?;
                if id != container.id {
                    let given = &container.id;
                    let message = format!(
                        "a container is made with the id `{id}`, not with the one that `unique_id` \
                         gave first: `{given}`"
                    );
                    return Err(Error::unknown(message));
                }
                if matches!(container.state, InitialState::Running | InitialState::Exited) {
                    let started = service.start_container(ctx(), id.clone()).await;
                    started.map_err(|e| e.wrap("a container does not start"))?;
                }
                if container.state == InitialState::Exited {
                    let stopped = service.stop_container(ctx(), id, 0).await;
                    stopped.map_err(|e| e.wrap("a container does not stop"))?;
                }
                Ok(())
            });
        }
        for sandbox in &self.plan.sandboxes {
            // A handler that is not configured is refused by the creation of a container already:
            // the pods get theirs when their containers are made.
            if !sandbox.runtime_handler.is_empty() || !sandbox.config.annotations.is_empty() {
                let (service, given) = (service.clone(), sandbox_of(sandbox));
                self.prepare("setup", async move {
                    let adopted = service.adopt_sandbox(given).await;
                    adopted.map_err(|e| e.wrap("a sandbox is not described anew"))
                });
            }
            let (service, id, state) = (service.clone(), sandbox.id.clone(), sandbox.state);
            if state == PlannedSandbox::Ready {
                continue;
            }
            self.prepare("setup", async move {
                let stopped = service.stop_pod_sandbox(Context::background(), id.clone()).await;
                stopped.map_err(|e| e.wrap("a sandbox does not stop"))?;
                if state == PlannedSandbox::Gone {
                    let gone = service.forget_sandbox(id).await;
                    gone.map_err(|e| e.wrap("a sandbox is not forgotten"))?;
                }
                Ok(())
            });
        }
    }

    /// Has the service do what the scenario's node begins with. The run ends if it cannot: nothing that the
    /// scenario says would be about that node. A service that waits for something is given time.
    fn prepare(&self, actor: &str, steps: impl Future<Output = Result<(), Error>> + 'static) {
        let answer = Rc::new(Cell::new(None));
        let out = answer.clone();
        let future = async move { out.set(Some(steps.await)) };
        self.sim.start_task(Symbol::of(actor), Box::pin(future));
        let began = self.sim.now();
        let mut until = began;
        loop {
            if self.sim.run_until(Some(until.0)) != Stop::Idle {
                return;
            }
            match answer.take() {
                Some(Ok(())) => return,
                Some(Err(error)) => return self.sim.end(Stop::NotSetUp(error)),
                None => {}
            }
            match self.sim.next_due().filter(|due| *due <= began.after(AFTERMATH)) {
                Some(due) => until = due,
                None => {
                    let waiting = self.sim.waiting();
                    let at = waiting.iter().find(|moment| *moment.site.actor.text() == *actor);
                    let at = at.map_or_else(String::new, |at| format!(": it waits for `{at}`"));
                    let why = format!("`{actor}` does not come back{at}");
                    return self.sim.end(Stop::NotSetUp(Error::unknown(why)));
                }
            }
        }
    }

    /// The scenario's calls and faults, until quiet.
    fn disturb(&self) -> Settled {
        let start = self.sim.now();
        self.sim.with_recording(|r| r.phase(start.0, "disturb"));
        self.sim.allow_faults(true);
        for (index, call) in self.plan.calls.iter().enumerate() {
            self.add_call(index, call, start);
        }
        for (number, occurrence) in self.plan.occurrences.iter().enumerate() {
            let due = occurrence.at.map(|at| start.after(at).0);
            let placed = (occurrence.actor, occurrence.op, Occurrence::Placed(number));
            self.sim.add_occurrence(placed, due, occurrence.when);
        }
        for (change, clock) in self.plan.clocks.iter().enumerate() {
            let adjust = (Symbol::of("clock"), Op::Adjust, Occurrence::Clock { change });
            let due = clock.at.map(|at| start.after(at).0);
            self.sim.add_occurrence(adjust, due, clock.when);
        }
        for index in 0..self.plan.kubelets.len() {
            self.add_kubelet(index, start);
        }
        self.sim.arm_crashes(start);
        let bound = self.plan.bound;
        let mut horizon = start;
        loop {
            let reached = self.settle_from(start).after(bound);
            if reached <= horizon {
                break;
            }
            horizon = reached;
            let stop = self.sim.run_until(Some(horizon.0));
            if stop != Stop::Idle {
                return Settled { stop, was_quiet: false, waiting: self.sim.waiting() };
            }
            if self.sim.next_due().is_none() {
                break;
            }
        }
        let was_quiet = self.sim.next_due().is_none();
        let now = self.sim.now().0;
        let in_progress = self.sim.with_calls(|calls| {
            calls.iter().zip(&self.plan.calls).any(|(call, plan)| {
                // A stream that its client listens to waits for events, not for its end.
                let listens = plan.action == Action::Events && call.gave_up(now).is_none();
                call.began.is_some() && call.answered.is_none() && !listens
            })
        });
        if in_progress {
            // What never ends is judged at the end of its bound.
            self.sim.skip_to(horizon);
        }
        let waiting = if was_quiet && !in_progress { Vec::new() } else { self.sim.waiting() };
        Settled { stop: Stop::Idle, was_quiet, waiting }
    }

    /// When the settling began, as far as it is known: the last call, the last time a client gave
    /// up, the last fault.
    fn settle_from(&self, start: Instant) -> Instant {
        let mut from = start.max(self.sim.last_fault_at());
        let occurrences = self.plan.occurrences.iter().filter_map(|occurrence| occurrence.at);
        let clocks = self.plan.clocks.iter().filter_map(|clock| clock.at);
        let kubelets = self.plan.kubelets.iter();
        let kubelets = kubelets.flat_map(|kubelet| [kubelet.at, kubelet.delete_at]).flatten();
        for at in occurrences.chain(clocks).chain(kubelets) {
            from = from.max(start.after(at));
        }
        for scripted in &self.plan.script.crashes {
            if let CrashAt::Time(after) = scripted.at {
                from = from.max(start.after(after));
            }
        }
        self.sim.with_calls(|calls| {
            for (call, plan) in calls.iter().zip(&self.plan.calls) {
                let begins = call.began.map(Instant).or(plan.at.map(|at| start.after(at)));
                let Some(begins) = begins else { continue };
                from = from.max(begins.after(plan.grace()));
                if call.answered.is_none() {
                    for limit in [call.deadline, call.cancel_after].into_iter().flatten() {
                        from = from.max(begins.after(limit));
                    }
                }
                if let Some((at, _)) = call.cancelled {
                    from = from.max(Instant(at));
                }
            }
        });
        from
    }

    fn add_kubelet(&self, index: usize, start: Instant) {
        let plan = &self.plan.kubelets[index];
        let mail = &self.mailboxes[index];
        let due = |at: Option<Duration>| at.map(|at| start.after(at).0);
        let kubelet = Kubelet {
            sim: self.sim.clone(),
            daemon: self.daemon.clone(),
            plan: self.plan.clone(),
            index,
            mail: mail.clone(),
            answers: self.answers.clone(),
            cache: RefCell::default(),
        };
        self.sim.start_task_when(plan.name, due(plan.at), plan.when, Box::pin(kubelet.run()));
        let told = mail.clone();
        let deletion = Box::pin(async move { told.delete() });
        self.sim.start_task_when(plan.deletion, due(plan.delete_at), plan.delete_when, deletion);
        for container in &plan.containers {
            let told = mail.clone();
            let relist = Box::pin(async move { told.exited() });
            let exit = Some(kubelet::exit_of(container));
            self.sim.start_task_when(container.relist, None, exit, relist);
        }
    }

    fn add_call(&self, index: usize, call: &CallPlan, start: Instant) {
        let (plan, daemon, answers) =
            (self.plan.clone(), self.daemon.clone(), self.answers.clone());
        let sim = self.sim.clone();
        let over = call.kubelet.map(|kubelet| TellWhenOver(self.mailboxes[kubelet].clone()));
        let make = move |ctx: Context| -> shakedown_cri::cri::LocalFuture<()> {
            let service = daemon.service().expect("a call that begins finds a daemon");
            let attempt = over.as_ref().map_or(0, |over| over.0.attempt());
            let action = &plan.calls[index].action;
            let future = client::call(&sim, &plan, &service, ctx, action, attempt);
            Box::pin(async move {
                let answer = future.await;
                sim.answer(FxBuildHasher.hash_one(&answer));
                answers.borrow_mut()[index] = Some(answer);
                drop(over);
            })
        };
        let client = ClientCall {
            name: call.name,
            make: Some(Box::new(make)),
            deadline: call.deadline,
            cancel_after: call.cancel_after,
            token: CancelToken::new(),
            waited: call.when.is_some(),
            began: None,
            answered: None,
            cancelled: None,
            cut: false,
            brought: 0,
        };
        let due = call.at.map(|at| start.after(at).0);
        let number = self.sim.add_call(client, due, call.when);
        if let Some(moment) = call.cancel_when {
            self.sim.cancel_when(number, moment);
        }
    }

    /// Reaps the node, unless it is known what comes of that.
    fn rest(&self, state: Option<u64>, judge: &Judge, mark: impl Fn(After)) -> Rest {
        let states = self.states.as_ref().filter(|states| states.are_of(&self.plan));
        // What is wrong already is told with all that comes after it.
        let state = states.zip(state).filter(|_| judge.is_satisfied());
        let known = state.and_then(|(states, state)| states.rest(state));
        let known = known.filter(|known| self.sim.has_room_for(known.moments));
        let compares = states.is_some_and(|states| states.compares);
        if let Some(known) = known.as_ref().filter(|_| !compares) {
            judge.count_evaluated(&known.evaluated);
            return known.clone();
        }
        let evaluated = judge.evaluated();
        let before = self.sim.with_recording(|recording| recording.moments);
        let events = self.sim.with_world(|world| world.events.len());
        let (reaping, stop) = self.reap();
        let mut reaped = None;
        if stop == Stop::Idle {
            let snapshot = self.snapshot(reaping.failed.is_empty());
            if self.judge != Ids::NONE {
                judge.reaped(&snapshot, &reaping);
            }
            mark(After::Reaped);
            reaped = Some(snapshot);
        }
        let moments = self.sim.with_recording(|recording| recording.moments) - before;
        let events = self.events(0..events).split_off(events);
        let each = judge.evaluated().into_iter().zip(evaluated);
        let evaluated = each.map(|(after, before)| after - before).collect();
        let logs = self.logs();
        let mut rest = Rest { reaping, reaped, stop, events, logs, moments, evaluated };
        let is_satisfied = judge.is_satisfied();
        if let Some(known) = known {
            let is_same = is_satisfied && known == rest;
            assert!(
                is_same,
                "equal states are reaped to different ends: what that depends on is in no state, or \
                 differs from run to run, as `check-determinism` tells: {known:?} and {rest:?}"
            );
        } else if let Some((states, state)) = state
            && is_satisfied
        {
            states.note(state, rest.clone());
        }
        // They are in the recording.
        rest.moments = 0;
        rest
    }

    /// A patient client stops and removes everything.
    fn reap(&self) -> (Reaped, Stop) {
        let now = self.sim.now();
        self.sim.with_recording(|r| r.phase(now.0, "reap"));
        self.sim.allow_faults(false);
        self.sim.with_world(|world| self.plan.end_read_only(world));
        self.mailboxes.iter().for_each(Mailbox::end);
        let found = Rc::new(RefCell::new(Reaped::default()));
        let done = Rc::new(Cell::new(false));
        let stop = self.bring_up();
        let service = match self.daemon.service() {
            Some(service) if stop == Stop::Idle => service,
            _ => {
                let step = "start the daemon".to_owned();
                let why = self.daemon.facts().refused;
                let error = why.unwrap_or_else(|| Error::unknown("it does not come up"));
                found.borrow_mut().failed.push(Unreaped { step, error });
                return (found.take(), stop);
            }
        };
        let reaper = Reaper::new(self.sim.clone(), service.clone());
        let (plan, out, over) = (self.plan.clone(), found.clone(), done.clone());
        let in_progress = self.in_progress();
        let made: Vec<bool> = plan.containers.iter().map(|c| self.can_be_there(c)).collect();
        let future = async move {
            let fail = |step: String, error| out.borrow_mut().failed.push(Unreaped { step, error });
            // Nothing of the node as the scenario has it stands in its way.
            let is_startable = |container: &ContainerPlan| {
                let pod_stopped = plan.calls.iter().any(|c| match &c.action {
                    Action::StopPod { sandbox } | Action::RemovePod { sandbox } => {
                        *sandbox == container.sandbox
                    }
                    _ => false,
                });
                let pod_died =
                    reaper.sim.with_world(|world| !world.has_live_process(&container.sandbox_id));
                plan.can_start(container) && !pod_stopped && !pod_died
            };
            for container in &plan.containers {
                let created =
                    service.peek(&container.id).is_some_and(|p| p.state == ContainerState::Created);
                let busy = in_progress.contains(&container.name);
                let replaced = plan.containers.iter().any(|other| {
                    other.name != container.name
                        && other.names_the_same(container)
                        && reaper.sim.with_world(|world| world.has_live_process(&other.id))
                });
                if created && is_startable(container) && !replaced && !busy {
                    let result = reaper.start(&container.id).await;
                    out.borrow_mut().restarted.push((container.name.to_string(), result));
                }
            }
            // A kubelet that has not seen one container gives the next the same number.
            let is_name_taken = |container: &ContainerPlan| {
                let mut others = plan.containers.iter().filter(|c| c.name != container.name);
                others.any(|o| o.names_the_same(container) && service.peek(&o.id).is_some())
            };
            for (container, _) in plan.containers.iter().zip(&made).filter(|(_, made)| **made) {
                let id = container.id.clone();
                let stop =
                    reaper.insist(&id, |service, ctx| service.stop_container(ctx, id.clone(), 0));
                if let Err(error) = stop.await {
                    fail(format!("stop {}", container.name), error);
                }
                let remove =
                    reaper.insist(&id, |service, ctx| service.remove_container(ctx, id.clone()));
                if let Err(error) = remove.await {
                    fail(format!("remove {}", container.name), error);
                } else if has_a_name_of_its_own(&plan, container)
                    && !is_name_taken(container)
                    && is_startable(container)
                {
                    let made = reaper.make_again(container).await;
                    out.borrow_mut().made_again.push((container.name.to_string(), made));
                }
            }
            for sandbox in &plan.sandboxes {
                let id = sandbox.id.clone();
                if sandbox.state == PlannedSandbox::Gone {
                    continue;
                }
                let stop =
                    reaper.insist(&id, |service, ctx| service.stop_pod_sandbox(ctx, id.clone()));
                if let Err(error) = stop.await {
                    fail(format!("stop pod {}", sandbox.name), error);
                }
                let remove =
                    reaper.insist(&id, |service, ctx| service.remove_pod_sandbox(ctx, id.clone()));
                if let Err(error) = remove.await {
                    fail(format!("remove pod {}", sandbox.name), error);
                }
            }
            over.set(true);
        };
        self.sim.start_task(Symbol::of("reaper"), Box::pin(future));
        loop {
            let horizon = self.sim.now().after(AFTERMATH);
            let stop = self.sim.run_until(Some(horizon.0));
            if stop != Stop::Idle {
                return (found.take(), stop);
            }
            if done.get() {
                let horizon = self.sim.now().after(AFTERMATH);
                let stop = self.sim.run_until(Some(horizon.0));
                return (found.take(), stop);
            }
            if self.sim.next_due().is_none() {
                let step = "the patient client".to_owned();
                let error = Error::unknown("waits for what never comes");
                found.borrow_mut().failed.push(Unreaped { step, error });
                return (found.take(), stop);
            }
        }
    }

    /// Hash of all that can matter for what comes of reaping. `None`: that is not known, or nothing was noted.
    fn state(&self, judge: &Judge) -> Option<u64> {
        // What a kubelet saw is its own.
        if !self.plan.kubelets.is_empty() {
            return None;
        }
        let mut state = FxHasher::default();
        self.sim.state()?.hash(&mut state);
        judge.hash_state(&mut state);
        self.sim.with_world(|world| world.hash_state(&mut state));
        let facts = self.daemon.facts();
        (facts.serves, facts.refused).hash(&mut state);
        Some(state.finish())
    }

    /// A node that is reaped has a daemon: one that is down, or comes up only now, is waited for.
    fn bring_up(&self) -> Stop {
        if self.daemon.facts().serves {
            return Stop::Idle;
        }
        if self.sim.is_down() {
            self.sim.restart();
        }
        let horizon = self.sim.now().after(AFTERMATH);
        self.sim.run_until(Some(horizon.0))
    }

    /// Containers of which a call of the scenario is in progress.
    fn in_progress(&self) -> Vec<Symbol> {
        self.sim.with_calls(|calls| {
            let pending = calls.iter().zip(&self.plan.calls);
            let pending = pending.filter(|(c, _)| c.began.is_some() && c.answered.is_none());
            pending.filter_map(|(_, plan)| self.plan.subject_of(&plan.action)).collect()
        })
    }

    /// `removed`: everything was.
    fn snapshot(&self, removed: bool) -> Snapshot {
        let statuses = self.plan.containers.iter().map(|container| StatusShot {
            container: container.name,
            status: self.daemon.peek(&container.id),
        });
        let statuses = statuses.collect();
        let left = self.sim.with_world(|world| world.left_of(&self.plan, removed));
        Snapshot { at: self.sim.now().0, statuses, left: Leftovers(left) }
    }

    /// False for a container that only a kubelet would have made, and did not.
    fn can_be_there(&self, container: &ContainerPlan) -> bool {
        let by_kubelet = |c: &CallPlan| c.kubelet.is_some() && c.creates(container.name);
        let planned = self.plan.calls.iter().position(by_kubelet);
        planned.is_none_or(|call| self.sim.with_calls(|calls| calls[call].began.is_some()))
    }

    fn collect_answers(&self, streamed: &Streamed) -> Vec<Answer> {
        let mut results = self.answers.borrow_mut();
        self.sim.with_calls(|calls| {
            let received = |call: Symbol| {
                let streamed = streamed.get(&call).into_iter().flatten();
                streamed.map(|event| (Symbol::of(&event.container_id), event.kind)).collect()
            };
            let made = |(_, (call, plan)): &(usize, (&ClientCall, &CallPlan))| {
                call.began.is_some() || plan.kubelet.is_none()
            };
            let each = calls.iter().zip(&self.plan.calls).enumerate().filter(made);
            let each = each.map(|(index, (call, _))| {
                let deadline = call.began.zip(call.deadline).map(|(began, deadline)| {
                    (Instant(began).after(deadline).0, Code::DeadlineExceeded)
                });
                let gave_up = [deadline, call.cancelled].into_iter().flatten().min_by_key(|g| g.0);
                let gave_up = gave_up.filter(|(at, _)| call.answered.is_none_or(|done| *at < done));
                let cut = call.answered.filter(|_| call.cut).map(|at| (at, Code::Unavailable));
                Answer {
                    call: call.name,
                    began: call.began,
                    answered: call.answered,
                    result: results[index].take(),
                    received: received(call.name),
                    gave_up: gave_up.or(cut),
                }
            });
            each.collect()
        })
    }

    fn never_began(&self) -> Vec<(Symbol, Rc<str>)> {
        self.sim.with_calls(|calls| {
            let silent = calls.iter().zip(&self.plan.calls);
            let silent =
                silent.filter(|(call, plan)| call.began.is_none() && plan.kubelet.is_none());
            let why = |when: Option<Moment>| match when {
                Some(moment) => Rc::from(format!("the moment `{moment}` never came")),
                None => Rc::from("the run ended before its time"),
            };
            let silent = silent.map(|(call, plan)| (call.name, why(plan.when)));
            let kubelets = self.plan.kubelets.iter().zip(&self.mailboxes);
            let untold = kubelets.filter_map(|(kubelet, mail)| match kubelet.delete_when {
                _ if !mail.has_begun() => Some((kubelet.name, why(kubelet.when))),
                Some(_) if !mail.is_deleted() => Some((kubelet.deletion, why(kubelet.delete_when))),
                _ => None,
            });
            silent.chain(untold).collect()
        })
    }

    fn events(&self, disturbed: std::ops::Range<usize>) -> Vec<EventSeen> {
        self.sim.with_world(|world| {
            let each = world.events.iter().enumerate().map(|(i, sent)| EventSeen {
                at: sent.at,
                container: Symbol::of(&sent.event.container_id),
                kind: sent.event.kind,
                in_setup: i < disturbed.start,
                in_reaping: i >= disturbed.end,
            });
            each.collect()
        })
    }

    fn logs(&self) -> Vec<(Symbol, Vec<String>)> {
        self.sim.with_world(|world| {
            let logged = self.plan.containers.iter().filter_map(|container| {
                let bytes = world.log(container.log_path.as_deref()?)?;
                let text = String::from_utf8_lossy(&bytes);
                // The time stamp is up to the first space.
                let lines = text.lines().map(|line| match line.split_once(' ') {
                    Some((_, rest)) => rest.to_owned(),
                    None => line.to_owned(),
                });
                Some((container.name, lines.collect()))
            });
            logged.collect()
        })
    }
}
