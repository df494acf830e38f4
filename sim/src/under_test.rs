//! The code under test: the one seam between the harness and what it tries, and the profiles that name it.
//!
//! The harness knows a runtime by [`UnderTest`] and [`RuntimeService`] alone. Its own, which does what containerd did,
//! goes through the same seam as any other.

use std::any::TypeId;
use std::fmt;
use std::rc::Rc;
use std::sync::{OnceLock, PoisonError, RwLock};

use shakedown_cri::Service;
use shakedown_cri::config::Config;
use shakedown_cri::cri::RuntimeService;
use shakedown_cri::quirks::{Profile, Quirks};

use crate::world::SimPorts;

/// A runtime that scenarios are run on.
///
/// A value of this type makes a [`RuntimeService`] for each boot of the daemon, which does everything by the
/// [ports](shakedown_cri::ports) that it is given. What the service owes the harness is told there; what the harness
/// owes the service:
///
/// * **A run is one thread.** Nothing has to be `Send`. Runs follow one another and, in a search, go on beside each
///   other on several threads, so nothing may be kept in the value from one run to another.
/// * **What parks.** An `async` function of a port is a call that can block on a real node. In a run it is up to
///   three moments: what it does in the world, the reply, and the end of the wait where a context can end it.
///   Each can be delayed, made to fail, or be the last before a crash. What is no `async` function is done at
///   once and cannot fail.
/// * **What a crash does.** After a moment, never inside a poll, the boot is over: all its futures and tasks are dropped,
///   in the order in which they began, and then the service. Its descriptors and connections were closed by then, so
///   destructors find nothing to undo. The next boot is a new service on new ports in the same world: it knows
///   what it finds there. After a power loss that is what had been synced.
/// * **What is judged** are the answers to clients, their events, what
///   [`peek`](RuntimeService::peek) tells, and the node: tasks, processes, mounts, pipes, files, descriptors. Nothing
///   else of the service is looked at. The paths below
///   [`root_dir`](Config::root_dir) and [`state_dir`](Config::state_dir) are its own; once all is removed nothing
///   may be left there.
/// * **What is not judged** is what a service keeps in its memory, and how it comes to what it answers. Messages are
///   compared where a scenario says so, in the profiles that it names.
///
/// Code that depends on more than its decisions (the time, chance, addresses, the order of a hash map) makes runs
/// that cannot be repeated. `check-determinism` finds where.
pub trait UnderTest: Send + Sync + 'static {
    /// The name of its profile: letters, digits, `-`, `_` and `.`.
    fn name(&self) -> &'static str;

    /// What it is, in a line.
    fn what(&self) -> &'static str;

    /// How the program is run whose `main` is [`cli::main_for`](crate::cli::main_for): the head of the commands
    /// that reports tell.
    fn program(&self) -> &'static str {
        "cargo run --release --"
    }

    /// Whether it keeps the status of a container as containerd does: in `containers/ID/status` below
    /// [`root_dir`](Config::root_dir), a JSON object with `CreatedAt`, `StartedAt`, `FinishedAt`, `Pid`,
    /// `ExitCode`, `Reason` and `Message`. Then it is held against what
    /// [`peek`](RuntimeService::peek) tells; one that is kept elsewhere is not.
    fn writes_containerd_status(&self) -> bool {
        false
    }

    /// Whether its tasks share memory by the locks, channels, signals and values of the
    /// [runtime port](shakedown_cri::ports::Runtime) alone, and it tells errors apart where containerd's does. Then
    /// `check` leaves out what is known to bring the same; otherwise it tries everything. And the judge
    /// [peeks](RuntimeService::peek) only after something of that changed which a peek has looked at.
    fn shares_through_ports(&self) -> bool {
        false
    }

    /// Makes the service of one boot. Nothing can be awaited here: what has to be brought up,
    /// [`run`](RuntimeService::run) does.
    fn boot(&self, boot: Boot) -> Rc<dyn RuntimeService>;
}

/// What one boot of the daemon is given.
#[non_exhaustive]
pub struct Boot {
    /// The node. Handles that are made from it carry the number of the boot.
    pub ports: SimPorts,
    /// Directories, runtime handlers and limits, as the scenario's world has them.
    pub config: Config,
    /// Those of the profile. A runtime that is not containerd's has none of the service: they say what the world
    /// is like, which the client library (`shakedown_cri::client`) wants to know.
    pub quirks: Quirks,
}

/// The service of this repository.
struct Containerd;

impl UnderTest for Containerd {
    fn name(&self) -> &'static str {
        "containerd"
    }

    fn what(&self) -> &'static str {
        "containerd's CRI plugin"
    }

    fn program(&self) -> &'static str {
        "shakedown"
    }

    fn writes_containerd_status(&self) -> bool {
        true
    }

    fn shares_through_ports(&self) -> bool {
        true
    }

    fn boot(&self, Boot { ports, config, quirks }: Boot) -> Rc<dyn RuntimeService> {
        Rc::new(Service::new(ports, config, quirks))
    }
}

/// Why a runtime cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Not a word that can stand on a command line and in a scenario file.
    NoWord(&'static str),
    /// Something else has it.
    Taken(&'static str),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::NoWord(name) => write!(
                f,
                "`{}` is no name of a runtime: letters, digits, `-`, `_` and `.` make one",
                name.escape_default()
            ),
            NameError::Taken(name) => write!(f, "the name `{name}` is taken: choose another"),
        }
    }
}

impl std::error::Error for NameError {}

/// A runtime that was added, and its profiles.
struct Added {
    runtime: &'static dyn UnderTest,
    kind: TypeId,
    /// The first is the one without quirks.
    profiles: &'static [Profile],
}

/// What this process runs beside containerd's service. Only ever added to, so that a name goes on to mean
/// what it meant.
static ADDED: RwLock<Vec<Added>> = RwLock::new(Vec::new());

/// The runtime whose program this process is; none: this repository's.
static OWN: OnceLock<(&'static dyn UnderTest, &'static Profile)> = OnceLock::new();

fn with_added<R>(look: impl FnOnce(&[Added]) -> R) -> R {
    look(&ADDED.read().unwrap_or_else(PoisonError::into_inner))
}

/// Adds the profiles of a runtime: by its name in a world without quirks, and as `NAME@VERSION` in the world
/// of each version of containerd. One that is there already, by its type and name, stays. Returns the first.
///
/// # Errors
/// When the name is no word, or something else has it.
pub(crate) fn add<R: UnderTest>(runtime: R) -> Result<&'static Profile, NameError> {
    let (name, kind) = (runtime.name(), TypeId::of::<R>());
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('-') || !name.chars().all(is_word) {
        return Err(NameError::NoWord(name));
    }
    if Profile::find(name).is_some() {
        return Err(NameError::Taken(name));
    }
    let mut added = ADDED.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = added.iter().find(|known| known.runtime.name() == name) {
        return if known.kind == kind {
            Ok(&known.profiles[0])
        } else {
            Err(NameError::Taken(name))
        };
    }
    let runtime: &'static R = Box::leak(Box::new(runtime));
    let plain = Profile { name, what: runtime.what(), quirks: Quirks::NONE };
    let in_world_of = |version: &Profile| Profile {
        name: Box::leak(format!("{name}@{}", version.name).into_boxed_str()),
        what: Box::leak(
            format!("{}, in the world of {}", runtime.what(), version.name).into_boxed_str(),
        ),
        quirks: version.quirks.of_world(),
    };
    let profiles = std::iter::once(plain).chain(Profile::ALL.iter().map(in_world_of));
    let profiles: &'static [Profile] = Vec::leak(profiles.collect());
    added.push(Added { runtime, kind, profiles });
    Ok(&profiles[0])
}

/// As [`add`], and from here on the process is the runtime's own program: its profile is the default, and
/// reports tell its commands.
///
/// # Errors
/// As [`add`].
pub(crate) fn add_own<R: UnderTest>(runtime: R) -> Result<(), NameError> {
    let profile = add(runtime)?;
    // A process is one program; the first stays.
    let _ = OWN.set((of(profile), profile));
    Ok(())
}

/// Every profile that can be named in this process: those of runtimes that were added first.
pub(crate) fn profiles() -> impl Iterator<Item = &'static Profile> {
    let added: Vec<&'static Profile> =
        with_added(|added| added.iter().flat_map(|of| of.profiles).collect());
    added.into_iter().chain(Profile::every())
}

/// As [`profiles`], with those that are not shown.
pub(crate) fn find(name: &str) -> Option<&'static Profile> {
    profiles().chain(Profile::planted()).find(|profile| profile.name == name)
}

/// The profile of a command that names none, and of a search that names none.
pub(crate) fn default_profile() -> &'static Profile {
    OWN.get().map_or(&Profile::ALL[0], |(_, profile)| profile)
}

/// What a search is made as that names no profile.
pub(crate) fn default_searched() -> &'static Profile {
    OWN.get().map_or(&Profile::HARDENED[0], |(_, profile)| profile)
}

/// The head of the commands that reports tell.
pub(crate) fn program() -> &'static str {
    OWN.get().map_or_else(|| Containerd.program(), |(runtime, _)| runtime.program())
}

/// The same for commands about a profile, which a program that does not know the runtime does not have.
pub(crate) fn program_of(profile: &Profile) -> &'static str {
    OWN.get().map_or_else(|| of(profile).program(), |(runtime, _)| runtime.program())
}

/// As [`program_of`], of a profile by its name.
pub(crate) fn program_named(profile: &str) -> &'static str {
    find(profile).map_or_else(program, program_of)
}

/// What is run under a profile.
pub(crate) fn of(profile: &Profile) -> &'static dyn UnderTest {
    added_of(profile).unwrap_or(&Containerd)
}

/// Whether what is run under a profile is not this repository's service: what a scenario expects of containerd's
/// versions is not expected of it.
pub(crate) fn is_foreign(profile: &Profile) -> bool {
    added_of(profile).is_some()
}

fn added_of(profile: &Profile) -> Option<&'static dyn UnderTest> {
    with_added(|added| {
        let of = added.iter().find(|of| of.profiles.contains(profile));
        of.map(|of| of.runtime)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(&'static str);
    struct OfAnotherType;

    impl UnderTest for Named {
        fn name(&self) -> &'static str {
            self.0
        }

        fn what(&self) -> &'static str {
            "a name"
        }

        fn boot(&self, boot: Boot) -> Rc<dyn RuntimeService> {
            Containerd.boot(boot)
        }
    }

    impl UnderTest for OfAnotherType {
        fn name(&self) -> &'static str {
            "known"
        }

        fn what(&self) -> &'static str {
            "the same name"
        }

        fn boot(&self, boot: Boot) -> Rc<dyn RuntimeService> {
            Containerd.boot(boot)
        }
    }

    #[test]
    fn a_name_is_a_word_and_stands_for_one_runtime() {
        for name in ["", "--all", "a b", "a,b", "a@2.1.9", "ä"] {
            assert_eq!(add(Named(name)), Err(NameError::NoWord(name)));
        }
        for name in ["hardened", "1.7.24"] {
            assert_eq!(add(Named(name)), Err(NameError::Taken(name)));
        }
        let known = add(Named("known")).expect("nobody has it");
        assert_eq!(add(Named("known")), Ok(known));
        assert_eq!(add(OfAnotherType), Err(NameError::Taken("known")));
        assert!(is_foreign(known) && !is_foreign(default_profile()));
    }

    #[test]
    fn a_runtime_has_a_profile_in_each_world() {
        add(Named("worldly")).expect("nobody has it");
        for version in Profile::ALL {
            let profile = find(&format!("worldly@{}", version.name)).expect("it was added");
            assert_eq!(profile.quirks, version.quirks.of_world());
            assert_eq!(of(profile).name(), "worldly");
        }
        assert_eq!(find("worldly").expect("it was added").quirks, Quirks::NONE);
        assert_eq!(of(&Profile::ALL[0]).name(), "containerd");
    }
}
