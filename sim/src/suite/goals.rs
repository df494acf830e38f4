//! What a test of the start of a container ought to have seen *sometimes*: situations in which defects hide. A search or
//! a corpus that never came into one of them says little, however much it ran (the idea is that of the "sometimes
//! assertions" of Antithesis).

use rustc_hash::{FxHashMap, FxHashSet};
use shakedown_cri::quirks::{Profile, Quirk};

use crate::oracle::{Effect, Fault};
use crate::run::{Outcome, Plan};
use crate::scenario::Action;
use crate::turnstile::{Happened, Layer, Moment, Op, RecordingEntry, Site, Stage, Symbol};

use super::root_of;

macro_rules! goals {
    ($($goal:ident $name:literal $what:literal,)*) => {
        /// A situation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Goal { $($goal,)* }

        impl Goal {
            pub const ALL: &[Goal] = &[$(Goal::$goal,)*];

            /// How ledgers call it.
            pub const fn name(self) -> &'static str {
                match self { $(Goal::$goal => $name,)* }
            }

            /// In a sentence.
            pub const fn what(self) -> &'static str {
                match self { $(Goal::$goal => $what,)* }
            }
        }
    };
}

goals! {
    StartsMeet "starts-meet" "a container is started twice at once",
    StopMeetsStart "stop-meets-start" "a stop came while its container was being started",
    RemoveMeetsStart "remove-meets-start" "a removal came while its container was being started",
    PodEndMeetsStart "pod-end-meets-start" "a pod was stopped while a container of it was being started",
    RemoveMeetsRollback "remove-meets-rollback" "a start was rolled back while a removal waited",
    StopMeetsRollback "stop-meets-rollback" "a start was rolled back while a stop waited",
    ExitDuringStart "exit-during-start" "the process ended between the effect of its start and the reply",
    ExitBeforeAnswer "exit-before-answer" "the process ended after the reply of its start and before the client had its answer",
    ExitMeetsRemove "exit-meets-remove" "an exit was handled while the container was being removed",
    ExitQueued "exit-queued" "an exit that could not be handled was tried again from the back-off queue",
    OutOfMemoryDuringStart "out-of-memory-during-start" "memory ran out while a container was being started",
    FaultInRollback "fault-in-rollback" "a fault struck the rollback of a start",
    SeveralFaults "several-faults" "more than one fault struck",
    ReplyLost "reply-lost" "a step of a start had its effect, and its caller was told that it failed",
    EffectAfterAbandon "effect-after-abandon" "a call had its effect after its caller had given it up",
    ClientGaveUp "client-gave-up" "a client gave up while a call was awaited on its behalf",
    PluginRefused "plugin-refused" "an NRI plugin refused a start",
    PluginDied "plugin-died" "an NRI plugin died while it was asked",
    ClockSetDuringStart "clock-set-during-start" "the wall clock was set while a container was being started",
    HeldAcrossCall "held-across-call" "a moment was set aside until another client's whole call was over",
    DaemonEndsInStart "daemon-ends-in-start" "the daemon ended while a container was being started",
    DaemonEndsInRollback "daemon-ends-in-rollback" "the daemon ended while a start was rolled back",
    DaemonEndsInStop "daemon-ends-in-stop" "the daemon ended while a container was being stopped",
    DaemonEndsInRemove "daemon-ends-in-remove" "the daemon ended while a container was being removed",
    DaemonEndsInRecovery "daemon-ends-in-recovery" "the daemon ended again before it served",
}

/// Why no run comes there as any of the profiles; `None`: one can, or none is named.
pub fn out_of_reach(goal: Goal, profiles: &[&Profile]) -> Option<&'static str> {
    let never_waits = |profile: &&Profile| profile.quirks.has(Quirk::StopIgnoresStarting);
    let none_waits = !profiles.is_empty() && profiles.iter().all(never_waits);
    (goal == Goal::StopMeetsRollback && none_waits)
        .then_some("no stop waits for a start in upstream")
}

/// A set of goals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Goals(u32);

impl Goals {
    fn add(&mut self, goal: Goal) {
        self.0 |= 1 << goal as u32;
    }

    pub fn iter(self) -> impl Iterator<Item = Goal> {
        Goal::ALL.iter().copied().filter(move |goal| self.0 & 1 << *goal as u32 != 0)
    }

    /// Those that a run reached while it was disturbed.
    pub fn of(plan: &Plan, outcome: &Outcome) -> Goals {
        let mut story = Story::new(plan);
        for entry in &outcome.recording.entries {
            match entry {
                RecordingEntry::Phase { name: "reap", .. } => break,
                RecordingEntry::Moment(happened) => story.moment(happened),
                RecordingEntry::Fault { site, fault, .. } => story.fault(*site, fault),
                RecordingEntry::Held { moment, .. } => {
                    story.held.insert(*moment, story.calls_begun);
                }
                RecordingEntry::LetGo { moment, .. } => story.let_go(*moment),
                _ => {}
            }
        }
        story.goals
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Start,
    Stop,
    Remove,
    StopPod,
    Other,
}

/// A call of the scenario, as far as it went.
struct Call<'p> {
    name: Symbol,
    kind: Kind,
    container: Option<Symbol>,
    pod: Option<&'p str>,
    in_progress: bool,
    /// A start that undoes what it did.
    rolls_back: bool,
    /// How far the start of the process is.
    started: Option<Stage>,
    /// How many calls had begun when it did.
    order: usize,
}

struct Story<'p> {
    calls: Vec<Call<'p>>,
    by_name: FxHashMap<Symbol, usize>,
    calls_begun: usize,
    faults: usize,
    /// Moments that are set aside, and how many calls had begun by then.
    held: FxHashMap<Moment, usize>,
    /// A call that began and ended since so many had begun.
    whole: Option<usize>,
    given_up: FxHashSet<Site>,
    /// The daemon was started, and does not serve yet.
    recovers: bool,
    goals: Goals,
}

impl<'p> Story<'p> {
    fn new(plan: &'p Plan) -> Self {
        let pod_of = |name: Symbol| plan.container(&name.text()).map(|c| &*c.sandbox);
        let calls: Vec<Call<'p>> = (plan.calls.iter())
            .map(|call| {
                let container = plan.subject_of(&call.action);
                let (kind, pod) = match &call.action {
                    Action::Start { .. } => (Kind::Start, container.and_then(pod_of)),
                    Action::Stop { .. } => (Kind::Stop, None),
                    Action::Remove { .. } => (Kind::Remove, None),
                    Action::StopPod { sandbox } => (Kind::StopPod, Some(&**sandbox)),
                    _ => (Kind::Other, None),
                };
                let name = call.name;
                let (in_progress, rolls_back, started, order) = (false, false, None, 0);
                Call { name, kind, container, pod, in_progress, rolls_back, started, order }
            })
            .collect();
        let by_name = calls.iter().enumerate().map(|(index, call)| (call.name, index)).collect();
        Story {
            calls,
            by_name,
            calls_begun: 0,
            faults: 0,
            held: FxHashMap::default(),
            whole: None,
            given_up: FxHashSet::default(),
            recovers: false,
            goals: Goals::default(),
        }
    }

    /// Whether a call of the kind is in progress for the container.
    fn is_under_way(&self, kind: Kind, container: Option<Symbol>) -> bool {
        let of_it = |call: &&Call<'_>| call.kind == kind && call.in_progress;
        self.calls.iter().filter(of_it).any(|call| call.container == container)
    }

    fn any(&self, of: impl Fn(&Call<'_>) -> bool) -> bool {
        self.calls.iter().any(|call| call.in_progress && of(call))
    }

    /// The call whose work an actor does, itself or in a step below.
    fn call_of(&self, actor: Symbol) -> Option<usize> {
        self.by_name.get(&actor).copied().or_else(|| {
            let text = actor.text();
            let root = root_of(&text);
            self.calls.iter().position(|call| *call.name.text() == *root)
        })
    }

    fn moment(&mut self, happened: &Happened) {
        let Moment { site, stage } = happened.moment;
        match site.op {
            Op::Begin => return self.begin(site.actor),
            Op::Done => return self.done(site.actor),
            Op::Crash => return self.crash(),
            Op::Restart => self.recovers = true,
            Op::Up => self.recovers = false,
            Op::Exit => self.exit(site.actor),
            Op::Oom if self.any(|call| call.kind == Kind::Start) => {
                self.goals.add(Goal::OutOfMemoryDuringStart);
            }
            Op::Adjust if self.any(|call| call.kind == Kind::Start) => {
                self.goals.add(Goal::ClockSetDuringStart);
            }
            _ => {}
        }
        match stage {
            Stage::Abandon => {
                self.given_up.insert(site);
                if self.call_of(site.actor).is_some() {
                    self.goals.add(Goal::ClientGaveUp);
                }
            }
            Stage::Effect if !self.given_up.is_empty() && self.given_up.contains(&site) => {
                self.goals.add(Goal::EffectAfterAbandon);
            }
            _ => {}
        }
        match self.by_name.get(&site.actor) {
            Some(index) => self.of_call(*index, happened),
            None if site.op.layer() != Layer::Runtime => self.of_background(site),
            None => {}
        }
    }

    fn of_call(&mut self, index: usize, happened: &Happened) {
        let Moment { site, stage } = happened.moment;
        let container = self.calls[index].container;
        if self.calls[index].kind != Kind::Start {
            return;
        }
        match site.op {
            Op::TaskStart => self.calls[index].started = Some(stage),
            Op::NriStart if stage == Stage::Reply && happened.error.is_some() => {
                self.goals.add(Goal::PluginRefused);
            }
            // A start asks for these only to undo what it did.
            Op::TaskDelete | Op::TaskKill | Op::NriStop => self.calls[index].rolls_back = true,
            _ => {}
        }
        if self.calls[index].rolls_back {
            for (kind, goal) in
                [(Kind::Remove, Goal::RemoveMeetsRollback), (Kind::Stop, Goal::StopMeetsRollback)]
            {
                if self.is_under_way(kind, container) {
                    self.goals.add(goal);
                }
            }
        }
    }

    fn of_background(&mut self, site: Site) {
        let actor = site.actor.text();
        let head = root_of(&actor);
        let role = head.split_once(':').map_or(head, |(_, role)| role);
        if role == "backoff" {
            self.goals.add(Goal::ExitQueued);
        }
        if site.op == Op::TaskDelete && role.starts_with("exit-monitor(") {
            let removes = |call: &Call<'_>| {
                let container = call.container.map(|container| container.text());
                let handled = role["exit-monitor(".len()..].trim_end_matches(')');
                call.kind == Kind::Remove && container.as_deref() == Some(handled)
            };
            if self.any(removes) {
                self.goals.add(Goal::ExitMeetsRemove);
            }
        }
    }

    fn begin(&mut self, actor: Symbol) {
        let Some(index) = self.by_name.get(&actor).copied() else { return };
        self.calls_begun += 1;
        self.calls[index].order = self.calls_begun;
        let (kind, container, pod) = {
            let call = &self.calls[index];
            (call.kind, call.container, call.pod)
        };
        let meets = match kind {
            Kind::Start => Some(Goal::StartsMeet),
            Kind::Stop => Some(Goal::StopMeetsStart),
            Kind::Remove => Some(Goal::RemoveMeetsStart),
            Kind::StopPod | Kind::Other => None,
        };
        if let Some(goal) = meets.filter(|_| self.is_under_way(Kind::Start, container)) {
            self.goals.add(goal);
        }
        if kind == Kind::StopPod && self.any(|call| call.kind == Kind::Start && call.pod == pod) {
            self.goals.add(Goal::PodEndMeetsStart);
        }
        self.calls[index].in_progress = true;
    }

    fn done(&mut self, actor: Symbol) {
        let Some(index) = self.by_name.get(&actor).copied() else { return };
        let call = &mut self.calls[index];
        call.in_progress = false;
        call.rolls_back = false;
        self.whole = self.whole.max(Some(call.order));
    }

    fn crash(&mut self) {
        for (kind, goal) in [
            (Kind::Start, Goal::DaemonEndsInStart),
            (Kind::Stop, Goal::DaemonEndsInStop),
            (Kind::Remove, Goal::DaemonEndsInRemove),
        ] {
            if self.any(|call| call.kind == kind) {
                self.goals.add(goal);
            }
        }
        if self.any(|call| call.rolls_back) {
            self.goals.add(Goal::DaemonEndsInRollback);
        }
        if self.recovers {
            self.goals.add(Goal::DaemonEndsInRecovery);
        }
        self.recovers = false;
    }

    fn exit(&mut self, actor: Symbol) {
        let text = actor.text();
        let of_process = |call: &&Call<'_>| {
            let container = call.container.map(|container| container.text());
            let name = text.strip_prefix("process(").map(|name| name.trim_end_matches(')'));
            call.kind == Kind::Start && call.in_progress && container.as_deref() == name
        };
        let started = self.calls.iter().find(of_process).and_then(|call| call.started);
        match started {
            Some(Stage::Effect) => self.goals.add(Goal::ExitDuringStart),
            Some(Stage::Reply) => self.goals.add(Goal::ExitBeforeAnswer),
            _ => {}
        }
    }

    fn fault(&mut self, site: Site, fault: &Fault) {
        self.faults += 1;
        if self.faults > 1 {
            self.goals.add(Goal::SeveralFaults);
        }
        let of_nri = site.op.layer() == Layer::Nri;
        if of_nri && matches!(fault, Fault::ConnectionClosed { .. }) {
            self.goals.add(Goal::PluginDied);
        }
        let Some(call) = self.call_of(site.actor).map(|index| &self.calls[index]) else { return };
        if call.kind != Kind::Start {
            return;
        }
        if call.rolls_back {
            self.goals.add(Goal::FaultInRollback);
        } else if matches!(fault, Fault::Error { effect: Effect::Done, .. }) {
            self.goals.add(Goal::ReplyLost);
        }
    }

    fn let_go(&mut self, moment: Moment) {
        let begun = self.held.remove(&moment);
        // A call that began after it was set aside is over.
        if begun.is_some_and(|begun| self.whole.is_some_and(|order| order > begun)) {
            self.goals.add(Goal::HeldAcrossCall);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_fit_into_their_set() {
        assert!(Goal::ALL.len() <= 32);
        let mut all = Goals::default();
        Goal::ALL.iter().for_each(|goal| all.add(*goal));
        assert_eq!(all.iter().collect::<Vec<_>>(), Goal::ALL);
    }
}
