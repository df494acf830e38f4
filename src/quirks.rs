//! The named differences between upstream versions, and the profiles.
//!
//! The service does what containerd did at the revision of the specification, defects included. A
//! later version that does otherwise does so because it lost a quirk: each is named here, and read
//! beside the step that it changes.

/// Where a quirk lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The CRI service and the client library it links.
    Service,
    /// containerd's daemon and its shims, played by the simulated world.
    World,
}

macro_rules! quirks {
    ($($variant:ident { id: $id:literal, part: $part:ident, known: $known:literal, breaks: [$($inv:literal),*], what: $what:literal, fixed_1_7_24: $fixed:literal },)*) => {
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

            /// The upstream commit or issue it is known by.
            pub const fn known_by(self) -> &'static str {
                match self { $(Quirk::$variant => $known,)* }
            }

            /// The invariants that it breaks, or helps to break.
            pub const fn breaks(self) -> &'static [&'static str] {
                match self { $(Quirk::$variant => &[$($inv),*],)* }
            }

            /// The behaviour, in a sentence.
            pub const fn what(self) -> &'static str {
                match self { $(Quirk::$variant => $what,)* }
            }

            const fn fixed_in_1_7_24(self) -> bool {
                match self { $(Quirk::$variant => $fixed,)* }
            }
        }
    };
}

quirks! {
    NriAbsentCrash { id: "nri-absent-crash", part: Service, known: "8a1dca0f4", breaks: ["I17"],
        what: "the rollback calls NRI without looking whether it is there", fixed_1_7_24: true },
    IoClosedBeforeDrain { id: "io-closed-before-drain", part: Service, known: "34a93a0c2", breaks: ["I16"],
        what: "deleting a task closes its pipes before their output was read", fixed_1_7_24: true },
    KillWithoutPid { id: "kill-without-pid", part: Service, known: "efd441506", breaks: [],
        what: "the process-kill option kills although the task has no pid", fixed_1_7_24: true },
    RuntimePathDropped { id: "runtime-path-dropped", part: Service, known: "97064b077", breaks: [],
        what: "a configured runtime path never reaches the create request", fixed_1_7_24: true },
    StopUnknownIdFails { id: "stop-unknown-id-fails", part: Service, known: "a97b11898", breaks: [],
        what: "stopping a container that is not known is an error", fixed_1_7_24: true },
    RemoveNeedsRecord { id: "remove-needs-record", part: Service, known: "d9f3e387c", breaks: ["I6"],
        what: "a container whose record is gone cannot be removed", fixed_1_7_24: true },
    EventNeedsSandbox { id: "event-needs-sandbox", part: Service, known: "51a8db233", breaks: ["I9"],
        what: "an event is skipped when the sandbox's status cannot be read", fixed_1_7_24: true },
    HalfDeletedTaskKept { id: "half-deleted-task-kept", part: Service, known: "72bc63d83", breaks: ["I16"],
        what: "the exit handler leaves the entry of a task that it cannot find", fixed_1_7_24: true },
    NriDisabledByDefault { id: "nri-disabled-by-default", part: Service, known: "NRI enabled by default in 2.0", breaks: [],
        what: "NRI is off unless it is configured", fixed_1_7_24: false },
    NriStopWithoutStart { id: "nri-stop-without-start", part: Service, known: "spec section 7.3", breaks: ["I12"],
        what: "plugins hear Stop for a container that they never heard Start for", fixed_1_7_24: false },
    NriStopBeforeKill { id: "nri-stop-before-kill", part: Service, known: "spec section 1.3", breaks: ["I12"],
        what: "the rollback tells plugins Stop while the process still lives", fixed_1_7_24: false },
    StopIgnoresStarting { id: "stop-ignores-starting", part: Service, known: "spec section 4.3", breaks: ["I12", "I14"],
        what: "a stop during a start answers success and does nothing", fixed_1_7_24: false },
    PipesKeptOnEarlyFailure { id: "pipes-kept-on-early-failure", part: Service, known: "spec section 1.3", breaks: ["I1"],
        what: "a start that fails before the task's creation keeps the container's pipes", fixed_1_7_24: false },
    FailureStatusNotRetried { id: "failure-status-not-retried", part: Service, known: "spec section 1.3", breaks: ["I4"],
        what: "when the failure status cannot be written the container stays as it was", fixed_1_7_24: false },
    RollbackDeleteNotRetried { id: "rollback-delete-not-retried", part: Service, known: "containerd #11037", breaks: ["I1", "I2", "I3", "I6"],
        what: "a task that the rollback cannot delete, or has no handle of, stays for good", fixed_1_7_24: false },
    IoWaitUnbounded { id: "io-wait-unbounded", part: Service, known: "containerd #2744", breaks: ["I5", "I6", "I7", "I8"],
        what: "deleting a task waits without limit for its output to be logged", fixed_1_7_24: false },
    RecordDeletedFirst { id: "record-deleted-first", part: Service, known: "spec section 4.4", breaks: ["I9", "I16"],
        what: "a removal that fails after it deleted the record is not taken up again", fixed_1_7_24: false },
    StoppedEventUnordered { id: "stopped-event-unordered", part: Service, known: "spec section 5.3", breaks: ["I9"],
        what: "STOPPED is sent after others can see the exit, and remove the container", fixed_1_7_24: false },
    StartedAtReadLate { id: "started-at-read-late", part: Service, known: "spec section 1.1", breaks: ["I4"],
        what: "StartedAt is the time of the running status, which a process that ended at once finished before", fixed_1_7_24: false },
    StartedEventUnordered { id: "started-event-unordered", part: Service, known: "spec section 1.1", breaks: ["I9"],
        what: "STARTED is sent when the exit can be handled already, and so can come after STOPPED", fixed_1_7_24: false },
    ExitReportTrusted { id: "exit-report-trusted", part: Service, known: "containerd #12678", breaks: ["I6", "I7", "I8"],
        what: "an exit that the shim does not report is never looked for", fixed_1_7_24: false },
    OomReasonOverwritten { id: "oom-reason-overwritten", part: Service, known: "containerd #12714", breaks: ["I15"],
        what: "a failed start puts StartError in the place of OOMKilled", fixed_1_7_24: false },
    ExitedShimReaped { id: "exited-shim-reaped", part: World, known: "spec section 8.1", breaks: ["I7"],
        what: "a daemon that comes up deletes the tasks whose process ended meanwhile, with their exit", fixed_1_7_24: false },
    ExitMonitorBeforeStore { id: "exit-monitor-before-store", part: Service, known: "ead5c1ee6", breaks: ["I6", "I7", "I8"],
        what: "recovery watches for an exit before the container can be found by it", fixed_1_7_24: false },
    AttachedPipesClosed { id: "attached-pipes-closed", part: Service, known: "spec section 8.4", breaks: ["I4"],
        what: "a container whose created task recovery deletes keeps the pipes that this closed", fixed_1_7_24: false },
    EventsNotRepeated { id: "events-not-repeated", part: Service, known: "spec section 8.4", breaks: ["I9"],
        what: "what a crash kept from being told is never told afterwards", fixed_1_7_24: false },
    StatusWaitsForCheckpoint { id: "status-waits-for-checkpoint", part: Service, known: "spec section 3.1", breaks: ["I13"],
        what: "reading a status waits for the disk while another call writes it", fixed_1_7_24: false },
}

/// A set of quirks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Quirks(u64);

impl Quirks {
    pub const fn has(self, quirk: Quirk) -> bool {
        self.0 & (1 << quirk as u32) != 0
    }

    #[must_use]
    pub const fn with(self, quirk: Quirk) -> Self {
        Quirks(self.0 | 1 << quirk as u32)
    }

    pub fn iter(self) -> impl Iterator<Item = Quirk> {
        Quirk::ALL.iter().copied().filter(move |q| self.has(*q))
    }
}

/// A named set of quirks: one per upstream version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    pub name: &'static str,
    pub what: &'static str,
    pub quirks: Quirks,
}

const fn quirks_of(all: bool) -> Quirks {
    let mut set = Quirks(0);
    let mut i = 0;
    while i < Quirk::ALL.len() {
        if all || !Quirk::ALL[i].fixed_in_1_7_24() {
            set = set.with(Quirk::ALL[i]);
        }
        i += 1;
    }
    set
}

impl Profile {
    pub const ALL: &[Profile] = &[
        Profile {
            name: "1.7.0-beta.3",
            what: "the revision of the specification: tag v1.7.0-beta.3, 2023-01-27",
            quirks: quirks_of(true),
        },
        Profile {
            name: "1.7.24",
            what: "release 1.7.24 as far as its start, stop, remove and exit handling differ",
            quirks: quirks_of(false),
        },
    ];

    pub fn find(name: &str) -> Option<&'static Profile> {
        Self::ALL.iter().find(|profile| profile.name == name)
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::ALL[0]
    }
}
