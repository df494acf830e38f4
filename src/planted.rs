//! Planted defects: wrong on purpose, one at a time, to see that a search finds it.
//!
//! They are planted into the hardened service, where nothing hides them, and exist only with the feature `planted`:
//! without it each `planted!` is the literal `false`. A defect is chosen at run time, as a profile:
//! `hardened+rollback-task-kept`. Each is read beside the step that it spoils, as a quirk is; one that is a
//! [`Quirk`] already is not planted again.

use crate::quirks::{Profile, Quirk, Quirks};

macro_rules! defects {
    ($($variant:ident {
        id: $id:literal, $(quirk: $quirk:ident,)?
        by: [$($by:literal),+], $(alone: $alone:literal,)?
        driver: $driver:literal, faults: $faults:literal, delays: $delays:literal,
        what: $what:literal $(,)?
    },)*) => {
        /// One planted defect.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Planted { $($variant,)* }

        impl Planted {
            pub const ALL: &[Planted] = &[$(Planted::$variant,)*];

            /// The name behind `hardened+`.
            pub const fn id(self) -> &'static str {
                match self { $(Planted::$variant => $id,)* }
            }

            /// The invariants that break where [`Planted::driver`] is checked within the bound. Of several the
            /// first says it best.
            pub const fn by(self) -> &'static [&'static str] {
                match self { $(Planted::$variant => &[$($by),+],)* }
            }

            /// Whether nothing is ever found of it without the one invariant that it is found by.
            pub const fn is_alone(self) -> bool {
                match self { $(Planted::$variant => false $(|| $alone)?,)* }
            }

            /// The driver that shows it with the fewest faults and delays.
            pub const fn driver(self) -> &'static str {
                match self { $(Planted::$variant => $driver,)* }
            }

            /// How many faults it takes to show.
            pub const fn faults(self) -> u32 {
                match self { $(Planted::$variant => $faults,)* }
            }

            /// And how many moments have to be set aside.
            pub const fn delays(self) -> u32 {
                match self { $(Planted::$variant => $delays,)* }
            }

            /// The defect, in a sentence.
            pub const fn what(self) -> &'static str {
                match self { $(Planted::$variant => $what,)* }
            }

            /// The hardened service with this defect.
            pub const fn profile(self) -> &'static Profile {
                match self {
                    $(Planted::$variant => const {
                        &Profile {
                            name: concat!("hardened+", $id),
                            what: $what,
                            quirks: Quirks::NONE
                                .planted(Planted::$variant)
                                $(.with(Quirk::$quirk))?,
                        }
                    },)*
                }
            }
        }
    };
}

defects! {
    PipesKept {
        id: "pipes-kept", quirk: PipesKeptOnEarlyFailure,
        by: ["I1"], alone: true,
        driver: "a-start-alone", faults: 1, delays: 0,
        what: "a start that fails before its task was asked for keeps the container's pipes",
    },
    RollbackTaskKept {
        id: "rollback-task-kept",
        by: ["I1", "I2", "I3"], driver: "a-start-alone", faults: 1, delays: 0,
        what: "the rollback does not delete the task",
    },
    RecoveryTaskKept {
        id: "recovery-task-kept",
        by: ["I2"], alone: true,
        driver: "a-start-alone", faults: 1, delays: 0,
        what: "a recovery says of a start that was cut off that it ended, and leaves its task",
    },
    RollbackFailureIgnored {
        id: "rollback-failure-ignored",
        by: ["I1"], driver: "a-start-alone", faults: 2, delays: 0,
        what: "a task that the rollback could not delete is taken for deleted",
    },
    RollbackOnRequestContext {
        id: "rollback-on-request-context",
        by: ["I3"], driver: "a-start-alone", faults: 1, delays: 0,
        what: "the rollback deletes the task under the context of a client that may have given up",
    },
    RollbackNotRepeated {
        id: "rollback-not-repeated",
        by: ["I3"], driver: "a-start-alone", faults: 2, delays: 0,
        what: "what the rollback could not undo at once is not tried again",
    },
    TaskNotKilled {
        id: "task-not-killed",
        by: ["I3"], alone: true,
        driver: "a-start-alone", faults: 1, delays: 0,
        what: "a task is deleted without being killed first",
    },
    RollbackStatusForgotten {
        id: "rollback-status-forgotten",
        by: ["I4"], driver: "a-start-alone", faults: 1, delays: 0,
        what: "the rollback does not say in the status that the start failed",
    },
    FailureUnexplained {
        id: "failure-unexplained",
        by: ["I4"], alone: true,
        driver: "a-start-alone", faults: 1, delays: 0,
        what: "the status does not say why a start failed",
    },
    StartingClearedEarly {
        id: "starting-cleared-early",
        by: ["I4", "I7", "I9", "I15"], driver: "a-start-and-a-second-start", faults: 0, delays: 1,
        what: "a start is no longer marked as under way once its task is made",
    },
    EventStreamUnwatched {
        id: "event-stream-unwatched", quirk: EventStreamUnwatched,
        by: ["I5"], alone: true,
        driver: "a-client-that-listens-and-leaves", faults: 0, delays: 0,
        what: "a stream of events does not end when its client has gone",
    },
    StartingKept {
        id: "starting-kept",
        by: ["I6", "I5"], driver: "a-start-alone", faults: 1, delays: 0,
        what: "a start that failed stays marked as under way",
    },
    RollbackEndUnsaid {
        id: "rollback-end-unsaid",
        by: ["I6"], alone: true,
        driver: "a-start-alone", faults: 1, delays: 0,
        what: "whoever waits for the end of a container whose start failed waits for ever",
    },
    MonitorOnRequestContext {
        id: "monitor-on-request-context",
        by: ["I7", "I8"], driver: "a-start-and-an-exit", faults: 1, delays: 0,
        what: "the exit is waited for under the context of the request that started the container",
    },
    ExitNotRetried {
        id: "exit-not-retried",
        by: ["I7", "I9", "I6"], driver: "a-start-and-an-exit", faults: 1, delays: 0,
        what: "an exit that could not be handled is not queued for another attempt",
    },
    ExitDeletedFirst {
        id: "exit-deleted-first", quirk: ExitDeletedFirst,
        by: ["I7"], driver: "a-start-and-an-exit", faults: 1, delays: 0,
        what: "the task of a process that ended is deleted before its exit is on record",
    },
    RecoveryCodeGuessed {
        id: "recovery-code-guessed",
        by: ["I7"], alone: true,
        driver: "a-start-and-an-exit", faults: 1, delays: 0,
        what: "a recovery does not ask an ended task for its exit",
    },
    RecoveryUnwatched {
        id: "recovery-unwatched",
        by: ["I7", "I8"], driver: "an-exit-while-the-daemon-comes-up", faults: 0, delays: 0,
        what: "a recovery does not wait for the exit of a container that runs",
    },
    RecoveryEndedTakenForRunning {
        id: "recovery-ended-taken-for-running",
        by: ["I8"], driver: "a-start-and-an-exit", faults: 1, delays: 0,
        what: "a recovery takes a start that was cut off for a container that runs, though its process ended",
    },
    RecoveryCutStartUnwatched {
        id: "recovery-cut-start-unwatched",
        by: ["I8"], alone: true,
        driver: "a-start-while-a-plugin-listens", faults: 1, delays: 0,
        what: "a recovery does not wait for the exit of a container whose start was cut off",
    },
    MonitorBeforeCheckpoint {
        id: "monitor-before-checkpoint",
        by: ["I9"], driver: "a-start-and-an-exit", faults: 0, delays: 1,
        what: "the exit is waited for, and may be recorded, before the start is on record",
    },
    StartedEventEarly {
        id: "started-event-early",
        by: ["I9"], driver: "a-start-alone", faults: 1, delays: 0,
        what: "STARTED is sent before the start is on record",
    },
    StartedEventTwice {
        id: "started-event-twice",
        by: ["I9"], alone: true,
        driver: "a-start-alone", faults: 0, delays: 0,
        what: "STARTED is sent twice",
    },
    StoppedEventForgotten {
        id: "stopped-event-forgotten",
        by: ["I9"], driver: "a-start-and-an-exit", faults: 0, delays: 0,
        what: "STOPPED is not sent",
    },
    DeletedEventEarly {
        id: "deleted-event-early",
        by: ["I9"], driver: "a-start-alone", faults: 0, delays: 0,
        what: "DELETED is sent while the container can still be seen",
    },
    ExitHandledTwice {
        id: "exit-handled-twice",
        by: ["I9"], driver: "a-start-and-an-exit", faults: 0, delays: 0,
        what: "an exit is handled twice",
    },
    MemoryBeforeDisk {
        id: "memory-before-disk",
        by: ["I9"], driver: "a-start-alone", faults: 1, delays: 0,
        what: "a status changes in memory before it is on the disk",
    },
    PodEndKeepsContainers {
        id: "pod-end-keeps-containers", quirk: SandboxExitKeepsContainers,
        by: ["I10"], alone: true,
        driver: "a-pod-that-dies", faults: 0, delays: 0,
        what: "the containers of a pod whose pause process ended run on",
    },
    RecoveryNotAwaited {
        id: "recovery-not-awaited",
        by: ["I11"], driver: "a-recovery", faults: 0, delays: 0,
        what: "the daemon serves before its recovery is through",
    },
    RecoveryEndedLate {
        id: "recovery-ended-late",
        by: ["I11"], alone: true,
        driver: "a-recovery", faults: 0, delays: 0,
        what: "a recovery takes up containers that have ended once the daemon serves",
    },
    RollbackNriForgotten {
        id: "rollback-nri-forgotten",
        by: ["I12"], driver: "a-start-while-a-plugin-listens", faults: 1, delays: 0,
        what: "the rollback notes that plugins were told to stop, and tells none",
    },
    RollbackNriFirst {
        id: "rollback-nri-first",
        by: ["I12"], alone: true,
        driver: "a-start-while-a-plugin-listens", faults: 1, delays: 0,
        what: "the rollback tells plugins to stop before it deletes the task",
    },
    NriStopForgotten {
        id: "nri-stop-forgotten",
        by: ["I12"], driver: "a-start-while-a-plugin-listens", faults: 0, delays: 0,
        what: "plugins never hear that a container has stopped",
    },
    NriStopTwice {
        id: "nri-stop-twice",
        by: ["I12"], driver: "a-start-while-a-plugin-listens", faults: 0, delays: 0,
        what: "plugins hear twice that a container has stopped",
    },
    ReadersWaitForDisk {
        id: "readers-wait-for-disk", quirk: StatusWaitsForCheckpoint,
        by: ["I13"], driver: "a-start-and-a-status", faults: 1, delays: 0,
        what: "who reads a status waits while it is written to the disk",
    },
    ClientWaitsForDisk {
        id: "client-waits-for-disk",
        by: ["I13"], alone: true,
        driver: "a-start-and-a-status", faults: 1, delays: 0,
        what: "a client that asks for a status waits for whoever writes it to the disk",
    },
    StopIgnoresStart {
        id: "stop-ignores-start", quirk: StopIgnoresStarting,
        by: ["I14"], driver: "a-start-and-a-stop", faults: 0, delays: 1,
        what: "a stop takes no notice of a start that is under way",
    },
    StopOfCreatedDoesNothing {
        id: "stop-of-created-does-nothing",
        by: ["I14"], alone: true,
        driver: "a-start-and-a-stop", faults: 0, delays: 1,
        what: "a stop takes a container whose start is under way for one that nobody started",
    },
    RemoveUnchecked {
        id: "remove-unchecked",
        by: ["I14", "I9", "I16"], driver: "a-start-and-a-removal", faults: 0, delays: 1,
        what: "a removal does not look whether the container is being started",
    },
    TurnReleasedEarly {
        id: "turn-released-early",
        by: ["I15", "I4"], driver: "a-start-and-want-of-memory", faults: 0, delays: 1,
        what: "a status is written after the lock that keeps other writers away was released",
    },
    OomReasonOverwritten {
        id: "oom-reason-overwritten", quirk: OomReasonOverwritten,
        by: ["I15"], driver: "a-start-and-want-of-memory", faults: 1, delays: 0,
        what: "the rollback takes the reason OOMKilled away",
    },
    ExitTakesReason {
        id: "exit-takes-reason",
        by: ["I15"], alone: true,
        driver: "a-start-and-want-of-memory", faults: 0, delays: 0,
        what: "an exit takes the reason OOMKilled away",
    },
    FailedWaitIsExit {
        id: "failed-wait-is-exit", quirk: FailedWaitIsExit,
        by: ["I15", "I7"], driver: "a-start-alone", faults: 1, delays: 0,
        what: "a wait that fails is taken for an exit",
    },
    RecoveryTaskIgnored {
        id: "recovery-task-ignored",
        by: ["I15", "I2", "I7", "I9"], driver: "a-recovery", faults: 0, delays: 0,
        what: "a recovery does not look for the task of a container",
    },
    NameKept {
        id: "name-kept",
        by: ["I16"], alone: true,
        driver: "a-creation", faults: 0, delays: 0,
        what: "the name of a removed container stays reserved",
    },
    StateDirectoryKept {
        id: "state-directory-kept",
        by: ["I16"], driver: "a-start-alone", faults: 0, delays: 0,
        what: "a removal leaves the directory of the container's pipes",
    },
    PipeLeftOpen {
        id: "pipe-left-open",
        by: ["I16"], driver: "a-start-alone", faults: 1, delays: 0,
        what: "the pipe of stderr is not closed with the others",
    },
    RollbackNeedsTask {
        id: "rollback-needs-task",
        by: ["I17"], alone: true,
        driver: "a-start-alone", faults: 1, delays: 0,
        what: "the rollback takes for granted that there is a task",
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_name_profiles() {
        let mut ids: Vec<&str> = Planted::ALL.iter().map(|planted| planted.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Planted::ALL.len());
        for planted in Planted::ALL {
            let profile = planted.profile();
            assert_eq!(profile.name.strip_prefix("hardened+"), Some(planted.id()));
            assert_eq!(Profile::find(profile.name), Some(profile));
        }
    }
}
