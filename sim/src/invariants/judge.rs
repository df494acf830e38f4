//! Looks on after every moment and asks the invariants.

use std::cell::RefCell;
use std::hash::Hash;
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHasher};
use shakedown_cri::cri::{ContainerState, Peek};
use shakedown_cri::ports::{Error, Instant};

use super::{Finding, Id, Ids, Invariant, Judgement, Notes, Watch, all};
use crate::oracle::CrashKind;
use crate::run::{ContainerPlan, Daemon, Plan, Reaped, Reply, Snapshot};
use crate::scenario::{Action, Target};
use crate::turnstile::{
    Happened, Layer, Moment, Observer, Op, RecordingEntry, Sim, Site, Stage, Stop, Symbol,
};
use crate::world::World;

/// A container that is judged.
#[derive(Clone, Debug)]
pub struct Subject {
    pub name: Symbol,
    pub id: String,
    pub sandbox_id: String,
    /// What a client would be told now; `None`: unknown, or not readable without waiting.
    pub peek: Option<Peek>,
    /// What it was before the moment, as far as it was known last.
    pub before: Option<Peek>,
    /// The last moment that was looked at changed it: until the next one, the two above differ.
    has_changed: bool,
    /// The process was started during the setup, with success.
    pub started_in_setup: bool,
    /// And it had ended, which the status said.
    pub exited_in_setup: bool,
}

impl Subject {
    pub fn new(plan: &ContainerPlan) -> Self {
        Subject {
            name: plan.name,
            id: plan.id.clone(),
            sandbox_id: plan.sandbox_id.clone(),
            peek: None,
            before: None,
            has_changed: false,
            started_in_setup: false,
            exited_in_setup: false,
        }
    }

    pub fn state(&self) -> Option<ContainerState> {
        self.peek.as_ref().map(|peek| peek.state)
    }

    #[cold]
    fn changes(&mut self, peek: Option<Peek>) {
        let old = std::mem::replace(&mut self.peek, peek);
        // What cannot be read while it is being written is still what it was.
        if old.is_some() {
            self.before = old;
        }
        self.has_changed = true;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Create,
    Start,
    Stop,
    Remove,
    Update,
    ReopenLog,
    Events,
    Status,
    List,
    StopPod,
    RemovePod,
    Plugin,
}

/// A call of the scenario, as far as it went.
#[derive(Clone, Debug)]
pub struct CallFact {
    pub name: Symbol,
    pub kind: Kind,
    /// Index of the subject it names.
    pub subject: Option<usize>,
    pub sandbox_id: Option<String>,
    /// Time, and number of the moment.
    pub began: Option<(u64, u64)>,
    pub answered: Option<(u64, u64)>,
    pub result: Option<Result<(), Error>>,
    /// When the client gave up, if that was before the answer.
    pub gave_up: Option<u64>,
    /// A start that went beyond looking: files, pipes, tasks or plugins of its own.
    pub claimed: bool,
}

impl CallFact {
    pub fn succeeded(&self) -> bool {
        matches!(self.result, Some(Ok(())))
    }

    /// A start that claimed its container and was answered with an error.
    pub fn failed_start(&self) -> Option<&Error> {
        match &self.result {
            Some(Err(error)) if self.kind == Kind::Start && self.claimed => Some(error),
            _ => None,
        }
    }

    pub fn in_progress(&self) -> bool {
        self.began.is_some() && self.answered.is_none()
    }

    /// It is over without an answer of the service: the daemon died under it, or was not there.
    pub fn was_cut(&self) -> bool {
        self.answered.is_some() && self.result.is_none()
    }

    /// Whether the call speaks of the container, or of its pod.
    pub fn touches(&self, index: usize, subject: &Subject) -> bool {
        self.subject == Some(index) || self.sandbox_id.as_ref() == Some(&subject.sandbox_id)
    }
}

/// What an invariant sees.
pub struct View<'a> {
    pub now: u64,
    pub moment: Option<Moment>,
    pub world: &'a World,
    pub subjects: &'a [Subject],
    pub calls: &'a [CallFact],
    pub plan: &'a Plan,
    pub reaping: bool,
    pub reaped: Option<&'a Reaped>,
    pub last_fault_at: u64,
    /// Something of a subject's status changed with this moment.
    pub status_changed: bool,
    /// The background tasks that belong to no container or sandbox, of when the setup was done.
    pub residents: &'a [Symbol],
    pub daemon: &'a Daemon,
    /// Numbers of the moments at which the node lost power.
    pub power_losses: &'a [u64],
    sim: &'a Sim,
    owners: &'a RefCell<FxHashMap<u32, Owner>>,
}

/// Whose work an actor does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Subject(usize),
    Nobody,
}

impl View<'_> {
    /// Whether a call or background work of the service is in progress for the container.
    pub fn is_busy(&self, index: usize) -> bool {
        let subject = &self.subjects[index];
        self.reaping
            || self.calls.iter().any(|call| call.in_progress() && call.touches(index, subject))
            || self.sim.is_busy(|actor| self.owner(actor) == Owner::Subject(index))
    }

    fn owner(&self, actor: Symbol) -> Owner {
        *self.owners.borrow_mut().entry(actor.number()).or_insert_with(|| {
            let text = actor.text();
            // The head is the task's role and subject; below it come the calls it makes.
            let head = text.split("/").next().unwrap_or_default();
            let subject = head.split_once('(').and_then(|(role, s)| {
                // What the processes do is not the service's work.
                (role != "process").then(|| s.trim_end_matches(')'))
            });
            let index = subject
                .and_then(|s| self.subjects.iter().position(|known| *known.name.text() == *s));
            index.map_or(Owner::Nobody, Owner::Subject)
        })
    }

    /// The last start that claimed the container and is over.
    pub fn last_start(&self, index: usize) -> Option<&CallFact> {
        let of_it = |call: &&CallFact| {
            call.kind == Kind::Start && call.subject == Some(index) && call.claimed
        };
        let over = self.calls.iter().filter(of_it).filter(|call| call.answered.is_some());
        over.max_by_key(|call| call.answered.map(|(_, order)| order))
    }

    /// The process was started, and whoever asked for it was told so.
    pub fn was_started(&self, index: usize) -> bool {
        self.subjects[index].started_in_setup
            || self.calls.iter().any(|call| {
                call.kind == Kind::Start && call.subject == Some(index) && call.succeeded()
            })
    }

    /// Whether the container's user process lives.
    pub fn process_lives(&self, index: usize) -> bool {
        self.world.has_live_process(&self.subjects[index].id)
    }

    /// The processes of the container that ran the user's program, in the order of their pids.
    pub fn processes(&self, index: usize) -> impl Iterator<Item = &crate::world::Process> {
        let id = &self.subjects[index].id;
        let of_it = move |p: &&crate::world::Process| p.container == *id && p.started_at.is_some();
        self.world.processes.values().filter(of_it)
    }

    /// Background tasks of the service that have not ended and were not there before the containers,
    /// without what serves the clients' calls.
    pub fn background_tasks(&self) -> Vec<Symbol> {
        let of_client = |task: &Symbol| self.calls.iter().any(|call| call.name == *task);
        // Every boot has the same ones.
        let resident =
            |task: &Symbol| self.residents.iter().any(|r| *r.text() == *without_boot(&task.text()));
        let mut tasks = self.sim.service_tasks();
        tasks.retain(|task| !resident(task) && !of_client(task) && !task.is_inside());
        tasks
    }

    /// Whether a fault was decided on at a site for which `of` says yes. Until quiet: an invariant that goes by it later
    /// remembers it, as no state has it.
    pub fn faults_struck(&self, of: impl Fn(Site) -> bool) -> bool {
        debug_assert!(!self.reaping, "two states are the same wherever faults struck before them");
        self.has_struck(of)
    }

    /// Whether a fault was decided on at the site of a moment that just came. A state has what strikes a call that is
    /// not over.
    pub fn is_struck(&self, site: Site) -> bool {
        self.has_struck(|struck| struck == site)
    }

    fn has_struck(&self, of: impl Fn(Site) -> bool) -> bool {
        self.sim.with_recording(|recording| {
            recording.entries.iter().any(|entry| match entry {
                RecordingEntry::Fault { site, .. } => of(*site),
                _ => false,
            })
        })
    }
}

/// A task's name in the daemon's first boot: `exit-monitor(web)` of `boot2:exit-monitor(web)`.
pub fn without_boot(actor: &str) -> &str {
    match actor.split_once(':') {
        Some((boot, rest)) if boot.starts_with("boot") && !boot.contains('(') => rest,
        _ => actor,
    }
}

struct State {
    subjects: Vec<Subject>,
    calls: Vec<CallFact>,
    invariants: Vec<Asked>,
    /// What any of the invariants watches.
    watched: Watch,
    residents: Vec<Symbol>,
    reaping: bool,
    reaped: Option<Reaped>,
    moments: u64,
    /// Numbers of the moments at which the node lost power.
    power_losses: Vec<u64>,
}

/// An invariant, and what came of asking it.
struct Asked {
    invariant: Box<dyn Invariant>,
    watches: Watch,
    notes: Notes,
}

impl Asked {
    fn new(invariant: Box<dyn Invariant>) -> Self {
        Asked { watches: invariant.watches(), invariant, notes: Notes::default() }
    }
}

fn union(invariants: &[Asked]) -> Watch {
    invariants.iter().fold(Watch::NOTHING, |all, asked| all.and(asked.watches))
}

struct Inner {
    sim: Sim,
    daemon: Daemon,
    plan: Rc<Plan>,
    answers: crate::run::Answers,
    /// See [`UnderTest::shares_through_ports`](crate::under_test::UnderTest::shares_through_ports).
    shares_through_ports: bool,
    owners: RefCell<FxHashMap<u32, Owner>>,
    state: RefCell<State>,
}

/// The judge of one run.
#[derive(Clone)]
pub struct Judge(Rc<Inner>);

struct Eye(Judge);

impl Observer for Eye {
    fn moment(&mut self, happened: &Happened, world: &World) {
        self.0.moment(happened, world);
    }

    fn hash_state(&self, world: &World, state: &mut FxHasher) {
        self.0.hash_state(state);
        self.0.hash_orders(state);
        world.hash_state(state);
        world.hash_disk(state);
        let facts = self.0.0.daemon.facts();
        (facts.serves, &facts.refused).hash(state);
    }
}

fn call_fact(call: &crate::run::CallPlan, plan: &Plan) -> CallFact {
    let index_of = |target: &Target| match target {
        Target::Container(name) => plan.containers.iter().position(|c| *c.name.text() == **name),
        // A literal id names the container whose id it begins, if it is the only one.
        Target::Literal(id) => {
            let mut matching =
                plan.containers.iter().enumerate().filter(|(_, c)| c.id.starts_with(&**id));
            matching.next().filter(|_| matching.next().is_none()).map(|(index, _)| index)
        }
    };
    let pod = |name: &str| plan.sandbox(name).map(|sandbox| sandbox.id.clone());
    let (kind, subject, sandbox_id) = match &call.action {
        Action::Create { container, .. } => {
            (Kind::Create, index_of(&Target::Container(container.clone())), None)
        }
        Action::Start { target } => (Kind::Start, index_of(target), None),
        Action::Stop { target, .. } => (Kind::Stop, index_of(target), None),
        Action::Remove { target } => (Kind::Remove, index_of(target), None),
        Action::Update { target, .. } => (Kind::Update, index_of(target), None),
        Action::ReopenLog { target } => (Kind::ReopenLog, index_of(target), None),
        Action::Events => (Kind::Events, None, None),
        Action::Status { target, .. } => (Kind::Status, index_of(target), None),
        Action::List => (Kind::List, None, None),
        Action::StopPod { sandbox } => (Kind::StopPod, None, pod(sandbox)),
        Action::RemovePod { sandbox } => (Kind::RemovePod, None, pod(sandbox)),
        Action::ConnectPlugin { .. } => (Kind::Plugin, None, None),
        Action::PluginUpdate { container, .. } => {
            (Kind::Plugin, index_of(&Target::Container(container.clone())), None)
        }
        Action::Kubelet(_) => unreachable!("a plan has the calls of a kubelet in its place"),
    };
    CallFact {
        name: call.name,
        kind,
        subject,
        sandbox_id,
        began: None,
        answered: None,
        result: None,
        gave_up: None,
        claimed: false,
    }
}

impl Judge {
    pub(crate) fn new(
        sim: Sim,
        daemon: Daemon,
        plan: Rc<Plan>,
        answers: crate::run::Answers,
        ids: Ids,
    ) -> Judge {
        let chosen = all().into_iter().filter(|invariant| ids.has(invariant.id()));
        let invariants: Vec<Asked> = chosen.map(Asked::new).collect();
        let state = State {
            subjects: plan.containers.iter().map(Subject::new).collect(),
            calls: plan.calls.iter().map(|call| call_fact(call, &plan)).collect(),
            watched: union(&invariants),
            invariants,
            residents: Vec::new(),
            reaping: false,
            reaped: None,
            moments: 0,
            power_losses: Vec::new(),
        };
        Judge(Rc::new(Inner {
            sim,
            shares_through_ports: daemon.runtime().shares_through_ports(),
            daemon,
            plan,
            answers,
            owners: RefCell::default(),
            state: RefCell::new(state),
        }))
    }

    /// The setup is done: what it made is the ground that is judged from.
    pub fn begin(&self) {
        let mut state = self.0.state.borrow_mut();
        let tasks = self.0.sim.service_tasks().into_iter();
        state.residents = tasks.filter(|task| !task.text().contains('(')).collect();
        for subject in &mut state.subjects {
            subject.peek = self.0.daemon.peek(&subject.id);
            subject.before.clone_from(&subject.peek);
            subject.started_in_setup =
                subject.peek.as_ref().is_some_and(|peek| peek.started_at != 0);
            subject.exited_in_setup = subject.state() == Some(ContainerState::Exited);
        }
    }

    pub fn observer(&self) -> Box<dyn Observer> {
        Box::new(Eye(self.clone()))
    }

    fn moment(&self, happened: &Happened, world: &World) {
        let mut state = self.0.state.borrow_mut();
        let state = &mut *state;
        state.moments += 1;
        let Moment { site, stage } = happened.moment;
        note_call(state, &self.0.answers, happened);
        let mut changed = false;
        // Only what polls a task of the service can change what it would say.
        if stage != Stage::Effect && !site.actor.is_inside() {
            let says_what_it_said =
                !self.0.sim.take_service_changed() && self.0.shares_through_ports;
            for subject in &mut state.subjects {
                let peek =
                    if says_what_it_said { None } else { Some(self.0.daemon.peek(&subject.id)) };
                if let Some(peek) = peek.filter(|peek| *peek != subject.peek) {
                    subject.changes(peek);
                    changed = true;
                } else if subject.has_changed && subject.peek.is_some() {
                    subject.before.clone_from(&subject.peek);
                    subject.has_changed = false;
                }
            }
        }
        // Most moments show nothing that anybody watches.
        let shows = changed
            || happened.error.is_some()
            || world.changed.any()
            || state.watched.meets(Watch::MOMENTS)
            || matches!(site.op, Op::Done | Op::Crash | Op::Restart | Op::Up);
        if shows {
            self.ask(state, happened, world, changed);
        }
    }

    /// Asks the invariants that watch something of what a moment shows. `changed`: the status of a subject did.
    #[inline(never)]
    fn ask(&self, state: &mut State, happened: &Happened, world: &World, changed: bool) {
        if is_power_loss(happened, world) {
            state.power_losses.push(state.moments);
        }
        let op = happened.moment.site.op;
        let seen = Watch::MOMENTS
            .and_if(Watch::STATUS, changed)
            .and_if(Watch::RUNTIME, world.changed.runtime)
            .and_if(Watch::EVENTS, world.changed.events)
            .and_if(Watch::PLUGINS, world.changed.plugins)
            .and_if(Watch::ERRORS, happened.error.is_some())
            .and_if(Watch::ANSWERS, op == Op::Done)
            .and_if(Watch::DAEMON, matches!(op, Op::Crash | Op::Restart | Op::Up));
        if !state.watched.meets(seen) {
            return;
        }
        let view = View {
            now: happened.at,
            moment: Some(happened.moment),
            world,
            subjects: &state.subjects,
            calls: &state.calls,
            plan: &self.0.plan,
            reaping: state.reaping,
            reaped: None,
            last_fault_at: 0,
            status_changed: changed,
            residents: &state.residents,
            daemon: &self.0.daemon,
            power_losses: &state.power_losses,
            sim: &self.0.sim,
            owners: &self.0.owners,
        };
        let mut others = false;
        for asked in state.invariants.iter_mut().filter(|asked| asked.watches.meets(seen)) {
            asked.invariant.moment(&view, happened, &mut asked.notes);
            let watches = asked.invariant.watches();
            others |= watches != asked.watches;
            asked.watches = watches;
        }
        if others {
            state.watched = union(&state.invariants);
        }
    }

    fn at_end_of_phase(&self, ask: impl Fn(&mut dyn Invariant, &View<'_>, &mut Notes)) {
        let Instant(now) = self.0.sim.now();
        let last_fault_at = self.0.sim.last_fault_at().0;
        self.0.sim.with_world(|world| {
            let mut state = self.0.state.borrow_mut();
            let state = &mut *state;
            for subject in &mut state.subjects {
                subject.peek = self.0.daemon.peek(&subject.id);
            }
            self.0.sim.with_calls(|clients| {
                for (call, client) in state.calls.iter_mut().zip(clients) {
                    call.gave_up = client.gave_up(now);
                }
            });
            let view = View {
                now,
                moment: None,
                world,
                subjects: &state.subjects,
                calls: &state.calls,
                plan: &self.0.plan,
                reaping: state.reaping,
                reaped: state.reaped.as_ref(),
                last_fault_at,
                status_changed: false,
                residents: &state.residents,
                daemon: &self.0.daemon,
                power_losses: &state.power_losses,
                sim: &self.0.sim,
                owners: &self.0.owners,
            };
            for asked in &mut state.invariants {
                ask(&mut *asked.invariant, &view, &mut asked.notes);
            }
        });
    }

    /// The disturbed phase settled.
    pub fn quiet(&self, snapshot: &Snapshot) {
        self.at_end_of_phase(|invariant, view, notes| invariant.quiet(view, snapshot, notes));
        self.0.state.borrow_mut().reaping = true;
    }

    pub(crate) fn reaped(&self, snapshot: &Snapshot, reaped: &Reaped) {
        self.0.state.borrow_mut().reaped = Some(reaped.clone());
        self.at_end_of_phase(|invariant, view, notes| invariant.reaped(view, snapshot, notes));
    }

    /// How the run ended.
    pub fn stopped(&self, stop: &Stop) {
        self.at_end_of_phase(|invariant, view, notes| invariant.stopped(view, stop, notes));
    }

    /// Nothing is wrong so far.
    pub(crate) fn is_satisfied(&self) -> bool {
        let state = self.0.state.borrow();
        state.invariants.iter().all(|asked| asked.notes.violations.is_empty())
    }

    /// What the judge goes by from here on.
    pub(crate) fn hash_state(&self, state: &mut FxHasher) {
        let judge = self.0.state.borrow();
        for Asked { invariant, watches, notes, .. } in &judge.invariants {
            invariant.hash_memory(state);
            watches.hash(state);
            notes.violations.iter().for_each(|violation| violation.what.hash(state));
        }
        for Subject { peek, before, has_changed, .. } in &judge.subjects {
            (peek, before, has_changed).hash(state);
        }
        // Which calls were answered before which, and not after how many moments: which of them were under way at
        // once, or parted by a loss of power, is judged by now.
        let answered = |call: &CallFact| call.answered.map(|(_, order)| order);
        let mut orders: Vec<u64> = judge.calls.iter().filter_map(answered).collect();
        orders.sort_unstable();
        let place = |order: u64| orders.partition_point(|other| *other < order);
        for call in &judge.calls {
            let began = call.began.map(|(at, _)| at);
            let answered = call.answered.map(|(at, order)| (at, place(order)));
            // How far a start came is asked of one that failed.
            let claimed = call.claimed && call.kind == Kind::Start;
            (began, answered, &call.result, call.gave_up, claimed).hash(state);
        }
    }

    /// In which order calls began and were answered, and power was lost: what is not quiet yet is judged by that.
    fn hash_orders(&self, state: &mut FxHasher) {
        let judge = self.0.state.borrow();
        let order = |at: Option<(u64, u64)>| at.map(|(_, order)| order);
        let of_calls = judge.calls.iter().flat_map(|call| [call.began, call.answered].map(order));
        let all: Vec<Option<u64>> =
            of_calls.chain(judge.power_losses.iter().copied().map(Some)).collect();
        let place = |of: u64| all.iter().flatten().filter(|other| **other < of).count();
        all.iter().for_each(|order| order.map(place).hash(state));
        judge.calls.iter().for_each(|call| call.claimed.hash(state));
    }

    /// Of each invariant: how often it was evaluated so far, and how often it broke.
    pub fn tallies(&self) -> Vec<(Id, u64, usize)> {
        let state = self.0.state.borrow();
        let each = state.invariants.iter();
        each.map(|a| (a.invariant.id(), a.notes.evaluated, a.notes.violations.len())).collect()
    }

    /// How often each was evaluated so far.
    pub(crate) fn evaluated(&self) -> Vec<u64> {
        let state = self.0.state.borrow();
        state.invariants.iter().map(|asked| asked.notes.evaluated).collect()
    }

    /// They were evaluated so often in another run that went on from here.
    pub(crate) fn count_evaluated(&self, times: &[u64]) {
        let mut state = self.0.state.borrow_mut();
        for (asked, times) in state.invariants.iter_mut().zip(times) {
            asked.notes.evaluated += times;
        }
    }

    pub fn judgement(&self) -> Judgement {
        let mut state = self.0.state.borrow_mut();
        let findings = state.invariants.drain(..).map(|Asked { invariant, notes, .. }| Finding {
            id: invariant.id(),
            name: invariant.name(),
            evaluated: notes.evaluated,
            violations: notes.violations,
        });
        Judgement { findings: findings.collect() }
    }
}

/// Whether the node lost power with this moment.
pub fn is_power_loss(happened: &Happened, world: &World) -> bool {
    happened.moment.site.op == Op::Crash
        && matches!(world.crashes.last(), Some((_, CrashKind::Power)))
}

/// Keeps the calls' facts up with the moments.
fn note_call(state: &mut State, answers: &crate::run::Answers, happened: &Happened) {
    let (site, order) = (happened.moment.site, state.moments);
    match site.op {
        Op::Begin => {
            if let Some(call) = state.calls.iter_mut().find(|call| call.name == site.actor) {
                call.began = Some((happened.at, order));
            }
        }
        Op::Done => {
            if let Some(index) = state.calls.iter().position(|call| call.name == site.actor) {
                let answers = answers.borrow();
                let call = &mut state.calls[index];
                call.answered = Some((happened.at, order));
                call.result = answers[index].as_ref().map(|answer| match answer {
                    Ok(Reply::Nothing | Reply::Id(_) | Reply::Status(_) | Reply::List(_)) => Ok(()),
                    Err(error) => Err(error.clone()),
                });
            }
        }
        op if matches!(op.layer(), Layer::File | Layer::Pipe | Layer::Task | Layer::Nri) => {
            if let Some(call) = state.calls.iter_mut().find(|call| call.name == site.actor) {
                call.claimed = true;
            }
        }
        _ => {}
    }
}
