//! The named differences between upstream versions, and the profiles.
//!
//! The service does what containerd did at the revision of the specification, defects included. A
//! version that does otherwise does so because it lost a quirk, or has one that came later: each is
//! named here, and read beside the step that it changes.

use std::fmt;

#[cfg(feature = "planted")]
use crate::planted::Planted;

/// Where a quirk lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The CRI service and the client library it links.
    Service,
    /// containerd's daemon and its shims, played by the simulated world.
    World,
}

impl Part {
    pub const fn name(self) -> &'static str {
        match self {
            Part::Service => "service",
            Part::World => "world",
        }
    }
}

/// A release of containerd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    major: u16,
    minor: u16,
    patch: u16,
    /// The number of a beta; [`Version::RELEASED`] behind all of them.
    beta: u16,
}

impl Version {
    const RELEASED: u16 = u16::MAX;

    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Version { major, minor, patch, beta: Self::RELEASED }
    }

    pub const fn beta(self, beta: u16) -> Self {
        Version { beta, ..self }
    }

    const fn is_before(self, other: Self) -> bool {
        if self.major != other.major {
            return self.major < other.major;
        }
        if self.minor != other.minor {
            return self.minor < other.minor;
        }
        if self.patch != other.patch {
            return self.patch < other.patch;
        }
        self.beta < other.beta
    }

    /// Whether this release has a change that was made in `change`. A change that first came with
    /// the first release of a line is in all later lines; one that came with a later release was
    /// carried back to this line alone.
    const fn has_change_of(self, change: Self) -> bool {
        let same_line = self.major == change.major && self.minor == change.minor;
        !self.is_before(change) && (same_line || change.patch == 0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if self.beta == Self::RELEASED { Ok(()) } else { write!(f, "-beta.{}", self.beta) }
    }
}

/// Shorthand of the table.
const fn v(major: u16, minor: u16, patch: u16) -> Version {
    Version::new(major, minor, patch)
}

macro_rules! quirks {
    ($($variant:ident {
        id: $id:literal, part: $part:ident,
        since: $since:expr, fixed: [$($fixed:expr),*],
        known: $known:literal, breaks: [$($inv:literal),*],
        shown: $shown:literal,
        what: $what:literal $(,)?
    },)*) => {
        /// One named behaviour of an upstream version.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Quirk { $($variant,)* }

        impl Quirk {
            pub const ALL: &[Quirk] = &[$(Quirk::$variant,)*];

            /// The name in scenario files and reports.
            pub const fn id(self) -> &'static str {
                match self { $(Quirk::$variant => $id,)* }
            }

            pub const fn part(self) -> Part {
                match self { $(Quirk::$variant => Part::$part,)* }
            }

            /// The first release that has it; `None` when it was there from the beginning.
            pub const fn since(self) -> Option<Version> {
                match self { $(Quirk::$variant => $since,)* }
            }

            /// The releases that lost it: of the main line, and of older lines that the fix was
            /// carried back to. Empty when every known release has it.
            pub const fn fixed(self) -> &'static [Version] {
                match self { $(Quirk::$variant => const { &[$($fixed),*] },)* }
            }

            /// The upstream commit or issue it is known by, or where it is described.
            pub const fn known_by(self) -> &'static str {
                match self { $(Quirk::$variant => $known,)* }
            }

            /// The invariants that it breaks, or helps to break.
            pub const fn breaks(self) -> &'static [&'static str] {
                match self { $(Quirk::$variant => &[$($inv),*],)* }
            }

            /// The scenario that shows it: `start/a-plain-start`.
            pub const fn scenario(self) -> &'static str {
                match self { $(Quirk::$variant => $shown,)* }
            }

            /// The behaviour, in a sentence.
            pub const fn what(self) -> &'static str {
                match self { $(Quirk::$variant => $what,)* }
            }
        }
    };
}

quirks! {
    NriAbsentCrash {
        id: "nri-absent-crash", part: Service, since: None, fixed: [v(1, 7, 0)],
        known: "8a1dca0f4", breaks: ["I17"],
        shown: "nri/nri-is-absent-and-task-start-fails",
        what: "the rollback calls NRI without looking whether it is there",
    },
    IoClosedBeforeDrain {
        id: "io-closed-before-drain", part: Service, since: None,
        fixed: [v(1, 7, 3), v(2, 0, 0)],
        known: "34a93a0c2", breaks: ["I16"],
        shown: "start/the-last-lines-of-a-process-that-ends-are-lost",
        what: "deleting a task closes its pipes before their output was read",
    },
    KillWithoutPid {
        id: "kill-without-pid", part: Service, since: None, fixed: [v(1, 7, 21), v(2, 0, 0)],
        known: "efd441506", breaks: ["I15"],
        shown: "exit/the-wait-and-the-state-query-fail-while-the-process-lives",
        what: "the process-kill option kills although the task has no pid",
    },
    RuntimePathDropped {
        id: "runtime-path-dropped", part: Service, since: None, fixed: [v(1, 7, 1), v(2, 0, 0)],
        known: "97064b077", breaks: [],
        shown: "start/the-configured-runtime-binary-is-missing",
        what: "a configured runtime path never reaches the create request",
    },
    NoSandboxController {
        id: "no-sandbox-controller", part: Service, since: None, fixed: [v(2, 0, 0)],
        known: "spec section 10, sandbox API", breaks: [],
        shown: "create/the-pause-process-is-gone",
        what: "pause tasks have no controller: a creation asks for the task itself, a removal does not, and errors of a stop or removal do not begin with the sandbox",
    },
    RecordReadTwice {
        id: "record-read-twice", part: Service, since: None, fixed: [v(2, 0, 0)],
        known: "8bd82e355", breaks: ["I1"],
        shown: "start/the-record-cannot-be-read-after-the-claim",
        what: "a start reads the record once more after the claim, for the option not to pivot",
    },
    ClassBehindErrorText {
        id: "class-behind-error-text", part: Service, since: None, fixed: [v(2, 0, 0)],
        known: "containerd/errdefs, errgrpc", breaks: [],
        shown: "start/the-runtime-refuses-to-create",
        what: "the client library writes an error's class behind every text, as in `: unknown`",
    },
    NriSyncNotBlocked {
        id: "nri-sync-not-blocked", part: Service, since: None, fixed: [v(2, 1, 0)],
        known: "6a01ad3e1", breaks: ["I12"],
        shown: "nri/a-plugin-connects-after-the-start-was-relayed",
        what: "a plugin is told what there is in the middle of a start, stop or removal",
    },
    StopUnknownIdFails {
        id: "stop-unknown-id-fails", part: Service, since: None,
        fixed: [v(1, 7, 21), v(2, 0, 0)],
        known: "a97b11898, containerd #10520", breaks: [],
        shown: "stop/an-unknown-container-is-stopped",
        what: "stopping a container or a pod that is not known is an error",
    },
    RemoveNeedsRecord {
        id: "remove-needs-record", part: Service, since: None, fixed: [v(1, 7, 1), v(2, 0, 0)],
        known: "d9f3e387c", breaks: ["I6"],
        shown: "checkpoint/the-file-system-is-read-only-during-remove",
        what: "a container whose record is gone cannot be removed",
    },
    EventNeedsSandbox {
        id: "event-needs-sandbox", part: Service, since: None, fixed: [v(1, 7, 0)],
        known: "51a8db233", breaks: ["I9"],
        shown: "start/the-sandbox-is-gone",
        what: "an event is skipped when the sandbox's status cannot be read",
    },
    HalfDeletedTaskKept {
        id: "half-deleted-task-kept", part: Service, since: None,
        fixed: [v(1, 7, 4), v(2, 0, 0)],
        known: "72bc63d83", breaks: ["I16"],
        shown: "exit/the-shim-deletes-its-half-of-the-task",
        what: "the exit handler leaves the entry of a task that it cannot find",
    },
    UnreachableTaskForgotten {
        id: "unreachable-task-forgotten", part: Service, since: Some(v(2, 0, 0)), fixed: [],
        known: "729c97cf3", breaks: ["I6", "I16"],
        shown: "exit/the-task-service-cannot-be-reached-at-the-exit",
        what: "the exit handler takes a task that cannot be reached for one that is gone",
    },
    NriDisabledByDefault {
        id: "nri-disabled-by-default", part: Service, since: None, fixed: [v(2, 0, 0)],
        known: "NRI is enabled by default from 2.0", breaks: [],
        shown: "start/a-plain-start",
        what: "NRI is off unless it is configured",
    },
    NriStopWithoutStart {
        id: "nri-stop-without-start", part: Service, since: None, fixed: [],
        known: "spec section 7.3", breaks: ["I12"],
        shown: "nri/a-container-that-never-ran-is-stopped-for-the-plugins",
        what: "plugins hear Stop for a container that they never heard Start for",
    },
    NriStopBeforeKill {
        id: "nri-stop-before-kill", part: Service, since: None, fixed: [],
        known: "spec section 1.3", breaks: ["I12"],
        shown: "nri/plugins-hear-stop-while-the-process-still-runs",
        what: "the rollback tells plugins Stop while the process still lives",
    },
    NriStopCutShort {
        id: "nri-stop-cut-short", part: Service, since: None, fixed: [],
        known: "spec section 7.4", breaks: ["I12"],
        shown: "nri/the-first-of-two-plugins-refuses-the-stop-of-the-rollback",
        what: "plugins miss a Stop that one before them refuses, or whose client gives up",
    },
    StopIgnoresStarting {
        id: "stop-ignores-starting", part: Service, since: None, fixed: [],
        known: "spec section 4.3", breaks: ["I10", "I12", "I14"],
        shown: "concurrent/stop-against-start-at-every-moment",
        what: "a stop during a start answers success and does nothing",
    },
    SandboxExitKeepsContainers {
        id: "sandbox-exit-keeps-containers", part: Service, since: None, fixed: [],
        known: "spec section 5.3", breaks: ["I10"],
        shown: "exit/the-pause-process-dies-while-containers-run",
        what: "containers run on when the pause process of their sandbox has ended",
    },
    PipesKeptOnEarlyFailure {
        id: "pipes-kept-on-early-failure", part: Service, since: None, fixed: [],
        known: "spec section 1.3", breaks: ["I1"],
        shown: "start/the-sandbox-is-not-ready",
        what: "a start that fails before the task's creation keeps the container's pipes",
    },
    IoClosedAtFailedStart {
        id: "io-closed-at-failed-start", part: Service, since: None, fixed: [],
        known: "spec section 2.5", breaks: ["I16"],
        shown: "start/a-start-fails-whose-process-has-printed",
        what: "when the task's start fails its pipes are closed, whatever the process has written",
    },
    FailureStatusNotRetried {
        id: "failure-status-not-retried", part: Service, since: None, fixed: [],
        known: "spec section 1.3", breaks: ["I4", "I7"],
        shown: "checkpoint/neither-status-can-be-written",
        what: "when the failure status cannot be written the container stays as it was",
    },
    UnwrittenExitForgotten {
        id: "unwritten-exit-forgotten", part: Service, since: None, fixed: [],
        known: "live.md, L10", breaks: ["I6", "I8"],
        shown: "live/l10-no-space-at-the-exit",
        what: "a container whose exit cannot be written RUNS for those who ask, and cannot be removed",
    },
    LaterEventsReplaced {
        id: "later-events-replaced", part: Service, since: None, fixed: [],
        known: "spec section 5.1", breaks: ["I6", "I7", "I8"],
        shown: "exit/the-exit-fails-while-another-event-is-tried-again",
        what: "an event that fails again takes the place of those that failed meanwhile",
    },
    CheckpointDirectoryNotSynced {
        id: "checkpoint-directory-not-synced", part: Service, since: None, fixed: [],
        known: "spec section 3.1, containerd #11295", breaks: ["I1", "I4", "I7"],
        shown: "crash/the-power-fails-after-a-start-and-the-rename-of-the-checkpoint-is-undone",
        what: "the directory of a status is not synced, so that a power loss can bring the one before it back",
    },
    RollbackDeleteNotRetried {
        id: "rollback-delete-not-retried", part: Service, since: None, fixed: [],
        known: "containerd #11037", breaks: ["I1", "I2", "I3", "I6"],
        shown: "start/the-rollback-cannot-delete-the-task",
        what: "a task that the rollback cannot delete, or has no handle of, stays for good",
    },
    IoWaitUnbounded {
        id: "io-wait-unbounded", part: Service, since: None, fixed: [],
        known: "containerd #2744", breaks: ["I5", "I6", "I7", "I8"],
        shown: "start/the-rollback-waits-for-a-log-that-hangs",
        what: "deleting a task waits without limit for its output to be logged",
    },
    RecordDeletedFirst {
        id: "record-deleted-first", part: Service, since: None, fixed: [],
        known: "spec section 4.4", breaks: ["I4", "I9", "I16"],
        shown: "checkpoint/the-file-system-is-read-only-during-remove",
        what: "a removal that fails after it deleted the record is not taken up again",
    },
    FailedWaitIsExit {
        id: "failed-wait-is-exit", part: Service, since: None, fixed: [],
        known: "spec section 5.2", breaks: ["I7", "I9", "I10", "I15"],
        shown: "exit/the-wait-and-the-state-query-fail-while-the-process-lives",
        what: "an exit monitor whose wait fails declares the container dead, with code 255",
    },
    StoppedEventUnordered {
        id: "stopped-event-unordered", part: Service, since: None, fixed: [],
        known: "spec section 5.3", breaks: ["I9"],
        shown: "concurrent/remove-against-the-exit-handler-at-every-moment",
        what: "STOPPED is sent after others can see the exit, and remove the container",
    },
    StartedAtReadLate {
        id: "started-at-read-late", part: Service, since: None, fixed: [],
        known: "spec section 1.1", breaks: ["I4"],
        shown: "exit/the-process-ends-before-its-start-is-on-record",
        what: "StartedAt is the time of the running status, which a process that ended at once finished before",
    },
    StartedEventUnordered {
        id: "started-event-unordered", part: Service, since: None, fixed: [],
        known: "spec section 1.1", breaks: ["I9"],
        shown: "exit/the-exit-overtakes-the-started-event",
        what: "STARTED is sent when the exit can be handled already, and so can come after STOPPED",
    },
    ExitReportTrusted {
        id: "exit-report-trusted", part: Service, since: None, fixed: [],
        known: "containerd #12678", breaks: ["I5", "I6", "I7", "I8", "I12"],
        shown: "exit/the-exit-is-lost-by-the-shim",
        what: "an exit that the shim does not report is never looked for",
    },
    UpdateIgnoresStarting {
        id: "update-ignores-starting", part: Service, since: None, fixed: [],
        known: "spec section 4.6", breaks: ["I14"],
        shown: "concurrent/a-resource-update-against-start-at-every-moment",
        what: "a resource update during a start changes the spec, from which the task was made already",
    },
    UpdateWaitUnbounded {
        id: "update-wait-unbounded", part: Service, since: None, fixed: [],
        known: "containerd #12680", breaks: ["I5", "I6"],
        shown: "concurrent/a-start-waits-for-a-resource-update-that-hangs",
        what: "a resource update that hangs keeps the status locked",
    },
    OneEventChannel {
        id: "one-event-channel", part: Service, since: None, fixed: [v(2, 0, 0)],
        known: "e7eb08eb5", breaks: [],
        shown: "events/two-subscribers-compete",
        what: "subscribers take events from one channel, so that each event reaches one of them",
    },
    SlowSubscriberBlocks {
        id: "slow-subscriber-blocks", part: Service, since: Some(v(2, 0, 0)), fixed: [],
        known: "e7eb08eb5", breaks: ["I5", "I6", "I9"],
        shown: "events/a-subscriber-that-does-not-read-stops-the-node",
        what: "sending an event waits for a subscriber whose queue is full, and everything waits with it",
    },
    EventStreamUnwatched {
        id: "event-stream-unwatched", part: Service, since: None, fixed: [],
        known: "containerd #7318", breaks: ["I5"],
        shown: "events/a-subscriber-that-left-is-kept-until-the-next-event",
        what: "that a subscriber has left shows only when an event cannot be sent to it, which is lost",
    },
    OomReasonOverwritten {
        id: "oom-reason-overwritten", part: Service, since: None, fixed: [],
        known: "containerd #12714", breaks: ["I15"],
        shown: "exit/out-of-memory-comes-before-a-start-that-then-fails",
        what: "a failed start puts StartError in the place of OOMKilled",
    },
    ExitMonitorBeforeStore {
        id: "exit-monitor-before-store", part: Service, since: None,
        fixed: [v(1, 7, 34), v(2, 1, 0)],
        known: "ead5c1ee6", breaks: ["I6", "I7", "I8"],
        shown: "crash/the-process-exits-while-a-slow-disk-holds-a-recovery-up",
        what: "recovery watches for an exit before the container can be found by it",
    },
    AttachedPipesClosed {
        id: "attached-pipes-closed", part: Service, since: None, fixed: [],
        known: "spec section 8.4", breaks: ["I4"],
        shown: "crash/the-daemon-is-killed-at-every-moment-of-a-start",
        what: "a container whose created task recovery deletes keeps the pipes that this closed",
    },
    OldPipesKept {
        id: "old-pipes-kept", part: Service, since: None, fixed: [],
        known: "spec section 8.2", breaks: ["I1"],
        shown: "crash/a-start-fails-whose-container-has-pipes-of-an-earlier-daemon",
        what: "recovery makes new pipes for a created container beside those of the daemon before it",
    },
    RecoveryGivesUpOnContainers {
        id: "recovery-gives-up-on-containers", part: Service, since: None, fixed: [],
        known: "spec section 8.2", breaks: ["I9", "I11", "I16"],
        shown: "crash/recovery-cannot-write-a-status-back",
        what: "a container that cannot be loaded is passed over, and is not visible although it may run",
    },
    UnknownExitHandledTwice {
        id: "unknown-exit-handled-twice", part: Service, since: None, fixed: [],
        known: "spec sections 4.3 and 8.2", breaks: ["I9"],
        shown: "crash/recovery-cannot-read-a-status",
        what: "the stop of an UNKNOWN container watches for an exit that recovery watches for already",
    },
    ReasonOverwritten {
        id: "reason-overwritten", part: Service, since: None, fixed: [],
        known: "spec section 8.2", breaks: ["I15"],
        shown: "crash/the-exit-of-a-process-that-ran-out-of-memory-is-lost",
        what: "recovery puts Unknown in the place of OOMKilled when it finds no task",
    },
    RecoveryGivesUp {
        id: "recovery-gives-up", part: Service, since: None, fixed: [],
        known: "spec section 8.1", breaks: ["I6", "I11", "I17"],
        shown: "crash/recovery-cannot-list-the-records",
        what: "the daemon exits when recovery fails as a whole, instead of trying again",
    },
    EventsNotRepeated {
        id: "events-not-repeated", part: Service, since: None, fixed: [],
        known: "spec section 8.4", breaks: ["I9"],
        shown: "crash/the-daemon-is-killed-at-every-moment-of-a-start",
        what: "what a crash kept from being told is never told afterwards",
    },
    CleanUpNotRetried {
        id: "clean-up-not-retried", part: Service, since: None, fixed: [],
        known: "spec sections 2.7 and 4.2", breaks: ["I1", "I6", "I9", "I16"],
        shown: "faults/each-operation-fails",
        what: "what a clean-up could not take away at once stays",
    },
    TemporaryFileKept {
        id: "temporary-file-kept", part: Service, since: None, fixed: [],
        known: "spec section 3.1 and live.md, L8", breaks: ["I6", "I7", "I8"],
        shown: "checkpoint/a-disk-that-was-full-has-room-again-for-an-exit",
        what: "each write of a status that fails leaves its temporary file, which keeps a full disk full",
    },
    StatusWaitsForCheckpoint {
        id: "status-waits-for-checkpoint", part: Service, since: None, fixed: [],
        known: "spec section 3.1", breaks: ["I13"],
        shown: "concurrent/status-and-list-while-a-start-hangs-at-every-moment",
        what: "reading a status waits for the disk while another call writes it",
    },
    StoreLockedForPipes {
        id: "store-locked-for-pipes", part: Service, since: None, fixed: [],
        known: "spec section 4.4", breaks: ["I13"],
        shown: "concurrent/status-and-list-while-the-pipes-of-a-removed-container-are-closed",
        what: "nobody finds any container while the pipes of one that is removed are closed",
    },
    DiskUnbounded {
        id: "disk-unbounded", part: Service, since: None, fixed: [],
        known: "spec section 3.1", breaks: ["I5", "I6", "I7", "I8", "I9", "I10", "I11", "I12", "I13", "I16"],
        shown: "checkpoint/the-disk-does-not-answer-the-running-status",
        what: "a call waits without limit for a disk that does not answer",
    },
    CallsUnbounded {
        id: "calls-unbounded", part: Service, since: None, fixed: [],
        known: "spec section 0.4", breaks: ["I5", "I6", "I7", "I8", "I9", "I12"],
        shown: "start/the-task-service-hangs-and-the-client-has-no-deadline",
        what: "a call whose client has no deadline has none",
    },
    OtherAttemptsIgnored {
        id: "other-attempts-ignored", part: Service, since: None, fixed: [],
        known: "kubernetes #139670", breaks: ["I3"],
        shown: "client/the-service-goes-on-and-the-kubelet-makes-another-container",
        what: "a container is started while another attempt at it, given up by its client, still runs",
    },
    LeaseOutlivesDaemon {
        id: "lease-outlives-daemon", part: World, since: None, fixed: [],
        known: "CRI's lease of 24 h", breaks: ["I16"],
        shown: "crash/the-daemon-is-killed-at-every-moment-of-a-create",
        what: "the snapshot of a creation that a crash cut off stays until the lease expires",
    },
    ExitDeletedFirst {
        id: "exit-deleted-first", part: Service, since: None, fixed: [],
        known: "spec section 5.3", breaks: ["I7"],
        shown: "crash/the-daemon-is-killed-at-every-moment-of-the-exit-handler",
        what: "a task is deleted, and with it what happened to it, before its end is on record",
    },
    CutStartForgotten {
        id: "cut-start-forgotten", part: Service, since: None, fixed: [],
        known: "live.md, L15", breaks: ["I4", "I7"],
        shown: "live/l15-the-daemon-is-killed-between-create-and-start",
        what: "recovery takes a container whose task was made for one that was never started",
    },
    ExitedShimReaped {
        id: "exited-shim-reaped", part: World, since: None, fixed: [],
        known: "spec section 8.1", breaks: ["I7"],
        shown: "crash/the-process-ends-while-the-daemon-is-down-after-the-checkpoint",
        what: "a daemon that comes up deletes the tasks whose process ended meanwhile, with their exit",
    },
    ShimLaunchedPerContainer {
        id: "shim-launched-per-container", part: World, since: None, fixed: [v(2, 0, 0)],
        known: "c3b306240", breaks: [],
        shown: "client/the-client-is-gone-before-the-shim-is-joined",
        what: "joining a pod's shim runs the shim's binary, under the client's context, and deleting a container asks the shim to end",
    },
    UnavailableStateUnknown {
        id: "unavailable-state-unknown", part: World, since: None, fixed: [v(2, 0, 0)],
        known: "spec section 10, task service", breaks: [],
        shown: "exit/the-shim-cannot-be-reached-at-the-exit",
        what: "a task whose shim is unavailable is reported as one in an unknown state",
    },
    LostShimKilled {
        id: "lost-shim-killed", part: World, since: None, fixed: [v(2, 0, 0)],
        known: "spec section 2.7", breaks: ["I1", "I2", "I7", "I15"],
        shown: "exit/the-connection-to-the-shim-breaks-while-the-process-runs",
        what: "a container whose shim cannot be reached any more is deleted together with its process",
    },
    DeadShimNotCleaned {
        id: "dead-shim-not-cleaned", part: World, since: Some(v(2, 0, 0)), fixed: [],
        known: "live.md, on 2.1.9", breaks: ["I1", "I2", "I3", "I4", "I6", "I7", "I8", "I10", "I15", "I16"],
        shown: "start/the-runtime-creates-but-reports-failure",
        what: "nothing is cleaned up when the connection of a container that joined its pod's shim is closed",
    },
    OwnShimKilled {
        id: "own-shim-killed", part: World, since: Some(v(2, 0, 0)), fixed: [],
        known: "ShimManager.Start and loadShims", breaks: ["I7", "I15"],
        shown: "crash/the-connection-to-a-shim-that-was-taken-up-breaks",
        what: "a container whose shim the daemon took up as it came up is deleted together with its process when that cannot be reached any more; so is a pause process",
    },
    FailedCleanupForgotten {
        id: "failed-cleanup-forgotten", part: World, since: None, fixed: [],
        known: "spec section 2.7", breaks: ["I1", "I16"],
        shown: "start/the-clean-up-of-a-failed-create-fails",
        what: "what the runtime cannot delete after a create that failed, or of what a daemon finds as it comes up, is forgotten",
    },
}

/// A set of quirks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Quirks {
    bits: u64,
    #[cfg(feature = "planted")]
    planted: Option<Planted>,
}

const _: () = assert!(Quirk::ALL.len() <= u64::BITS as usize);

impl Quirks {
    pub const NONE: Quirks = Quirks {
        bits: 0,
        #[cfg(feature = "planted")]
        planted: None,
    };

    /// Those of a release.
    pub const fn of(version: Version) -> Self {
        let mut set = Quirks::NONE;
        let mut i = 0;
        while i < Quirk::ALL.len() {
            let quirk = Quirk::ALL[i];
            let begun = match quirk.since() {
                Some(since) => version.has_change_of(since),
                None => true,
            };
            let mut fixed = false;
            let mut n = 0;
            while n < quirk.fixed().len() {
                fixed |= version.has_change_of(quirk.fixed()[n]);
                n += 1;
            }
            if begun && !fixed {
                set = set.with(quirk);
            }
            i += 1;
        }
        set
    }

    pub const fn has(self, quirk: Quirk) -> bool {
        self.bits & (1 << quirk as u32) != 0
    }

    #[must_use]
    pub const fn with(mut self, quirk: Quirk) -> Self {
        self.bits |= 1 << quirk as u32;
        self
    }

    #[must_use]
    pub const fn without(mut self, quirk: Quirk) -> Self {
        self.bits &= !(1 << quirk as u32);
        self
    }

    /// With a planted defect.
    #[cfg(feature = "planted")]
    #[must_use]
    pub const fn planted(mut self, planted: Planted) -> Self {
        self.planted = Some(planted);
        self
    }

    #[cfg(feature = "planted")]
    pub(crate) fn has_planted(self, planted: Planted) -> bool {
        self.planted == Some(planted)
    }

    /// Those that live in the world.
    #[must_use]
    pub const fn of_world(self) -> Self {
        let mut set = self;
        let mut i = 0;
        while i < Quirk::ALL.len() {
            if matches!(Quirk::ALL[i].part(), Part::Service) {
                set = set.without(Quirk::ALL[i]);
            }
            i += 1;
        }
        set
    }

    pub fn iter(self) -> impl Iterator<Item = Quirk> {
        Quirk::ALL.iter().copied().filter(move |q| self.has(*q))
    }
}

/// A named set of quirks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    pub name: &'static str,
    pub what: &'static str,
    pub quirks: Quirks,
}

const BETA_3: Quirks = Quirks::of(v(1, 7, 0).beta(3));
const V1_7_24: Quirks = Quirks::of(v(1, 7, 24));
const V2_1_9: Quirks = Quirks::of(v(2, 1, 9));

impl Profile {
    /// The upstream versions.
    pub const ALL: &[Profile] = &[
        Profile {
            name: "1.7.0-beta.3",
            what: "the revision of the specification: tag v1.7.0-beta.3, 2023-01-27",
            quirks: BETA_3,
        },
        Profile { name: "1.7.24", what: "release 1.7.24, 2024-11-21", quirks: V1_7_24 },
        Profile { name: "2.1.9", what: "release 2.1.9", quirks: V2_1_9 },
    ];

    /// The service without a quirk, in a world without one and in the world of each version.
    pub const HARDENED: &[Profile] = &[
        Profile {
            name: "hardened",
            what: "no quirk, neither of the service nor of the world",
            quirks: Quirks::NONE,
        },
        Profile {
            name: "hardened@1.7.0-beta.3",
            what: "no quirk of the service, in the world of 1.7.0-beta.3",
            quirks: BETA_3.of_world(),
        },
        Profile {
            name: "hardened@1.7.24",
            what: "no quirk of the service, in the world of 1.7.24",
            quirks: V1_7_24.of_world(),
        },
        Profile {
            name: "hardened@2.1.9",
            what: "no quirk of the service, in the world of 2.1.9",
            quirks: V2_1_9.of_world(),
        },
    ];

    /// Every profile, the upstream versions first.
    pub fn every() -> impl Iterator<Item = &'static Profile> {
        Self::ALL.iter().chain(Self::HARDENED)
    }

    /// Those with a planted defect. None without the feature `planted`.
    pub fn planted() -> impl Iterator<Item = &'static Profile> {
        #[cfg(feature = "planted")]
        return Planted::ALL.iter().map(|planted| planted.profile());
        #[cfg(not(feature = "planted"))]
        return std::iter::empty();
    }

    pub fn find(name: &str) -> Option<&'static Profile> {
        Self::every().chain(Self::planted()).find(|profile| profile.name == name)
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::ALL[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_reach_later_lines_and_those_they_were_carried_back_to() {
        let has = |version: Version, change: Version| version.has_change_of(change);
        assert!(!has(v(1, 7, 0).beta(3), v(1, 7, 0)));
        assert!(has(v(1, 7, 24), v(1, 7, 0)));
        assert!(has(v(1, 7, 24), v(1, 7, 21)));
        assert!(!has(v(1, 7, 24), v(1, 7, 34)));
        assert!(has(v(2, 1, 9), v(2, 0, 0)));
        assert!(!has(v(2, 1, 9), v(1, 7, 34)), "a fix of an older line alone");
        assert!(!has(v(2, 0, 9), v(2, 1, 0)));
    }

    #[test]
    fn profiles_are_what_the_table_says() {
        let of = |name: &str| Profile::find(name).expect("a profile").quirks;
        assert!(of("1.7.0-beta.3").has(Quirk::NriAbsentCrash));
        assert!(!of("1.7.24").has(Quirk::NriAbsentCrash));
        assert!(of("1.7.24").has(Quirk::RecordReadTwice));
        assert!(!of("2.1.9").has(Quirk::RecordReadTwice));
        assert!(of("2.1.9").has(Quirk::DeadShimNotCleaned));
        assert!(!of("1.7.24").has(Quirk::DeadShimNotCleaned));
    }

    #[test]
    fn hardened_has_the_quirks_of_its_world_only() {
        for profile in Profile::HARDENED {
            assert!(profile.quirks.iter().all(|quirk| quirk.part() == Part::World));
            let world = profile.name.split_once('@').map_or(Quirks::NONE, |(_, version)| {
                Profile::find(version).expect("a version").quirks.of_world()
            });
            assert_eq!(profile.quirks, world, "{}", profile.name);
        }
        let worlds = Profile::HARDENED.iter().filter_map(|profile| profile.name.split_once('@'));
        let names: Vec<&str> = worlds.map(|(_, version)| version).collect();
        let versions: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name).collect();
        assert_eq!(names, versions);
    }

    #[test]
    fn ids_are_unique() {
        let mut ids: Vec<&str> = Quirk::ALL.iter().map(|quirk| quirk.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Quirk::ALL.len());
    }
}
