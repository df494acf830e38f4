//! A container's status: its encoding, and its storage in memory and on disk (spec sections 3.1
//! and 4.1).

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;

use super::json::{self, Object, is_empty};
use crate::bounded::{within, within_or_later};
use crate::config::{DISK_TIMEOUT, LATE_TIMEOUT, OOM_REASON, START_FAILURE_EXIT_CODE, pauses};
use crate::cri::{ContainerState, LocalFuture};
use crate::ports::{
    Code, Errno, Error, Exit, Fs, FsError, Lock, Name, Ports, ReadGuard, Runtime, Value, WriteGuard,
};
use crate::quirks::{Quirk, Quirks};
use crate::quote::quote;
use tracing::warn;

const VERSION: &str = "v1";

/// How often it is tried to put a late change right. The directory may be gone with its container.
const CORRECTIONS_MAX: usize = 6;

/// Resource limits of a container, as the CRI names them. On disk every field that is zero is left
/// out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Serialize)]
pub struct Resources {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<LinuxResources>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<WindowsResources>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Serialize)]
pub struct LinuxResources {
    /// Microseconds.
    #[serde(skip_serializing_if = "is_empty")]
    pub cpu_period: i64,
    /// Microseconds.
    #[serde(skip_serializing_if = "is_empty")]
    pub cpu_quota: i64,
    #[serde(skip_serializing_if = "is_empty")]
    pub cpu_shares: i64,
    #[serde(skip_serializing_if = "is_empty")]
    pub memory_limit_in_bytes: i64,
    #[serde(skip_serializing_if = "is_empty")]
    pub oom_score_adj: i64,
    #[serde(skip_serializing_if = "is_empty")]
    pub cpuset_cpus: String,
    #[serde(skip_serializing_if = "is_empty")]
    pub cpuset_mems: String,
    #[serde(skip_serializing_if = "is_empty")]
    pub hugepage_limits: Vec<HugepageLimit>,
    /// Settings of cgroup v2, by file name.
    #[serde(skip_serializing_if = "is_empty")]
    pub unified: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_empty")]
    pub memory_swap_limit_in_bytes: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Serialize)]
pub struct HugepageLimit {
    #[serde(skip_serializing_if = "is_empty")]
    pub page_size: String,
    /// Bytes.
    #[serde(skip_serializing_if = "is_empty")]
    pub limit: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Serialize)]
pub struct WindowsResources {
    #[serde(skip_serializing_if = "is_empty")]
    pub cpu_shares: i64,
    #[serde(skip_serializing_if = "is_empty")]
    pub cpu_count: i64,
    #[serde(skip_serializing_if = "is_empty")]
    pub cpu_maximum: i64,
    #[serde(skip_serializing_if = "is_empty")]
    pub memory_limit_in_bytes: i64,
    #[serde(skip_serializing_if = "is_empty")]
    pub rootfs_size_in_bytes: i64,
}

impl Resources {
    fn decode(mut object: Object) -> Result<Resources, Error> {
        Ok(Resources {
            linux: object.object("linux")?.map(LinuxResources::decode).transpose()?,
            windows: object.object("windows")?.map(WindowsResources::decode).transpose()?,
        })
    }
}

impl LinuxResources {
    /// These limits with those of `wanted` that are not zero or empty in their place.
    #[must_use]
    pub fn merged(&self, wanted: &LinuxResources) -> LinuxResources {
        fn pick<T: Default + PartialEq + Clone>(old: &T, new: &T) -> T {
            if is_empty(new) { old.clone() } else { new.clone() }
        }
        let mut unified = self.unified.clone();
        unified.extend(wanted.unified.clone());
        LinuxResources {
            cpu_period: pick(&self.cpu_period, &wanted.cpu_period),
            cpu_quota: pick(&self.cpu_quota, &wanted.cpu_quota),
            cpu_shares: pick(&self.cpu_shares, &wanted.cpu_shares),
            memory_limit_in_bytes: pick(&self.memory_limit_in_bytes, &wanted.memory_limit_in_bytes),
            oom_score_adj: pick(&self.oom_score_adj, &wanted.oom_score_adj),
            cpuset_cpus: pick(&self.cpuset_cpus, &wanted.cpuset_cpus),
            cpuset_mems: pick(&self.cpuset_mems, &wanted.cpuset_mems),
            hugepage_limits: pick(&self.hugepage_limits, &wanted.hugepage_limits),
            unified,
            memory_swap_limit_in_bytes: pick(
                &self.memory_swap_limit_in_bytes,
                &wanted.memory_swap_limit_in_bytes,
            ),
        }
    }

    fn decode(mut object: Object) -> Result<LinuxResources, Error> {
        let pages = object.objects("hugepage_limits")?;
        let limit = |mut page: Object| {
            Ok(HugepageLimit { page_size: page.field("page_size")?, limit: page.field("limit")? })
        };
        Ok(LinuxResources {
            cpu_period: object.field("cpu_period")?,
            cpu_quota: object.field("cpu_quota")?,
            cpu_shares: object.field("cpu_shares")?,
            memory_limit_in_bytes: object.field("memory_limit_in_bytes")?,
            oom_score_adj: object.field("oom_score_adj")?,
            cpuset_cpus: object.field("cpuset_cpus")?,
            cpuset_mems: object.field("cpuset_mems")?,
            hugepage_limits: pages.into_iter().map(limit).collect::<Result<_, Error>>()?,
            unified: object.field("unified")?,
            memory_swap_limit_in_bytes: object.field("memory_swap_limit_in_bytes")?,
        })
    }
}

impl WindowsResources {
    fn decode(mut object: Object) -> Result<WindowsResources, Error> {
        Ok(WindowsResources {
            cpu_shares: object.field("cpu_shares")?,
            cpu_count: object.field("cpu_count")?,
            cpu_maximum: object.field("cpu_maximum")?,
            memory_limit_in_bytes: object.field("memory_limit_in_bytes")?,
            rootfs_size_in_bytes: object.field("rootfs_size_in_bytes")?,
        })
    }
}

/// A container's status. Times are wall-clock nanoseconds since the Unix epoch, 0 when unset.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Status {
    pub pid: u32,
    pub created_at: i64,
    pub started_at: i64,
    pub finished_at: i64,
    pub exit_code: i32,
    pub reason: String,
    pub message: String,
    pub resources: Option<Resources>,
    /// Noted only without [`Quirk::EventsNotRepeated`].
    pub told: Told,
    /// A start is in progress. Never on disk, like the two that follow.
    pub starting: bool,
    pub removing: bool,
    /// The task's state could not be learnt when the daemon came up.
    pub unknown: bool,
}

/// The events of a container that clients were told for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Told {
    pub started: bool,
    pub stopped: bool,
}

/// The file's content; the order of the fields is the order of the keys.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Checkpoint<'a> {
    version: &'a str,
    pid: u32,
    created_at: i64,
    started_at: i64,
    finished_at: i64,
    exit_code: i32,
    reason: &'a str,
    message: &'a str,
    resources: Option<&'a Resources>,
    /// Keys of our own, which upstream's reader passes over.
    #[serde(skip_serializing_if = "is_false")]
    started_told: bool,
    #[serde(skip_serializing_if = "is_false")]
    stopped_told: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl Status {
    pub fn state(&self) -> ContainerState {
        if self.unknown {
            ContainerState::Unknown
        } else if self.finished_at != 0 {
            ContainerState::Exited
        } else if self.started_at != 0 {
            ContainerState::Running
        } else if self.created_at != 0 {
            ContainerState::Created
        } else {
            ContainerState::Unknown
        }
    }

    /// The content of the status file: one flat JSON object, version `v1`.
    pub fn encode(&self) -> Vec<u8> {
        json::encode(&Checkpoint {
            version: VERSION,
            pid: self.pid,
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            exit_code: self.exit_code,
            reason: &self.reason,
            message: &self.message,
            resources: self.resources.as_ref(),
            started_told: self.told.started,
            stopped_told: self.told.stopped,
        })
    }

    /// Reads a status file's content.
    ///
    /// # Errors
    /// What is wrong with the JSON; `unsupported version`, also when there is none.
    pub fn decode(raw: &[u8]) -> Result<Status, Error> {
        let mut object = Object::parse(raw)?;
        let status = Status {
            pid: object.field("Pid")?,
            created_at: object.field("CreatedAt")?,
            started_at: object.field("StartedAt")?,
            finished_at: object.field("FinishedAt")?,
            exit_code: object.field("ExitCode")?,
            reason: object.field("Reason")?,
            message: object.field("Message")?,
            resources: object.object("Resources")?.map(Resources::decode).transpose()?,
            told: Told {
                started: object.field("StartedTold")?,
                stopped: object.field("StoppedTold")?,
            },
            ..Status::default()
        };
        if object.field::<String>("Version")? != VERSION {
            return Err(Error::unknown("unsupported version"));
        }
        Ok(status)
    }

    /// After its process was started.
    #[must_use]
    pub fn started(self, pid: u32, at: i64) -> Status {
        Status { pid, started_at: at, ..self }
    }

    /// After a start that failed with `message`.
    #[must_use]
    pub fn start_failed(self, reason: &str, message: &str, at: i64) -> Status {
        Status {
            pid: 0,
            finished_at: at,
            exit_code: START_FAILURE_EXIT_CODE,
            reason: reason.into(),
            message: message.into(),
            ..self
        }
    }

    /// Whether this is the end of a container that never ran: its start failed.
    pub fn is_failed_start(&self) -> bool {
        self.finished_at != 0 && self.started_at == 0
    }

    /// After a report of its process's exit. The first report counts; an unknown container can only
    /// become an exited one.
    #[must_use]
    pub fn exited(self, exit: Exit) -> Status {
        let known = Status { unknown: false, ..self };
        if known.finished_at != 0 {
            return known;
        }
        Status { pid: 0, finished_at: exit.at, exit_code: exit.code, ..known }
    }

    /// After the kernel killed a process of it for want of memory; whatever its state.
    #[must_use]
    pub fn oom_killed(self) -> Status {
        Status { reason: OOM_REASON.into(), ..self }
    }

    /// With a start in progress.
    ///
    /// # Errors
    /// When the container is not in the created state, is removed or started.
    pub fn set_starting(self) -> Result<Status, Error> {
        if self.state() != ContainerState::Created {
            return Err(Error::unknown(format!("container is in {} state", self.state())));
        }
        if self.removing {
            return Err(Error::unknown("container is in removing state, can't be started"));
        }
        if self.starting {
            return Err(Error::unknown("container is already in starting state"));
        }
        Ok(Status { starting: true, ..self })
    }

    /// With a removal in progress.
    ///
    /// # Errors
    /// When the container runs or may run, is started or removed.
    pub fn set_removing(self) -> Result<Status, Error> {
        match self.state() {
            ContainerState::Running => {
                return Err(Error::unknown("container is still running, to stop first"));
            }
            ContainerState::Unknown => {
                return Err(Error::unknown("container state is unknown, to stop first"));
            }
            ContainerState::Created | ContainerState::Exited => {}
        }
        if self.starting {
            return Err(Error::unknown("container is in starting state, can't be removed"));
        }
        if self.removing {
            return Err(Error::unknown("container is already in removing state"));
        }
        Ok(Status { removing: true, ..self })
    }

    /// What a reader of the storage gets. Of resources with both blocks only the Windows one
    /// survives.
    fn copy_out(&self) -> Status {
        let mut copy = self.clone();
        if let Some(Resources { linux, windows: Some(_) }) = &mut copy.resources {
            *linux = None;
        }
        copy
    }
}

/// The status of one container: in memory, and in one file that is replaced atomically. Clones
/// share.
pub struct StatusStorage<P: Ports> {
    ports: P,
    quirks: Quirks,
    /// The container's root directory.
    root: Rc<str>,
    lock: StatusLock<P>,
    /// Whose turn it is to write: taken without [`Quirk::StatusWaitsForCheckpoint`], so that nobody
    /// who reads has to wait for the disk.
    turn: <P::Runtime as Runtime>::Lock<()>,
    /// Temporary files that the disk was asked to put in the place of the file, and did not answer in
    /// time: as long as one is there, that may still come.
    outstanding: <P::Runtime as Runtime>::Value<Vec<String>>,
}

/// A change of the file that may take too long.
#[derive(Clone, Default, Hash)]
struct Change {
    /// Nobody waits for it any more: it is not to have its effect.
    given_up: bool,
    /// It was asked for, and may have its effect at any time.
    asked: bool,
    /// The temporary file without which it cannot have it.
    temp: Option<String>,
}

type ChangeOf<P> = <<P as Ports>::Runtime as Runtime>::Value<Change>;

type StatusLock<P> = <<P as Ports>::Runtime as Runtime>::Lock<Status>;

impl<P: Ports> Clone for StatusStorage<P> {
    fn clone(&self) -> Self {
        StatusStorage {
            ports: self.ports.clone(),
            quirks: self.quirks,
            root: self.root.clone(),
            lock: self.lock.clone(),
            turn: self.turn.clone(),
            outstanding: self.outstanding.clone(),
        }
    }
}

impl<P: Ports> StatusStorage<P> {
    /// Writes the first status of a container below its root directory, or the one that a daemon which comes
    /// up has read. Where that fails the file may still come, until [`StatusStorage::delete`].
    ///
    /// # Errors
    /// Beside the storage: `failed to checkpoint status to …`
    pub async fn store(
        ports: &P,
        quirks: Quirks,
        root: &str,
        id: &str,
        status: Status,
    ) -> (Self, Result<(), Error>) {
        let storage = Self::unwritten(ports, quirks, root, id, status.clone());
        let written = storage.write(&status).await;
        (storage, written)
    }

    /// With a status that no file can tell.
    pub fn unwritten(ports: &P, quirks: Quirks, root: &str, id: &str, status: Status) -> Self {
        StatusStorage {
            ports: ports.clone(),
            quirks,
            root: root.into(),
            lock: ports.runtime().lock(Name::new("status", id), status),
            turn: ports.runtime().lock(Name::new("checkpoint", id), ()),
            outstanding: ports.runtime().value(Vec::new()),
        }
    }

    /// Replaces the file.
    async fn write(&self, status: &Status) -> Result<(), Error> {
        let what = || format!("failed to checkpoint status to {}", quote(&status_path(&self.root)));
        self.revoke_outstanding().await.map_err(|error| error.wrap(what()))?;
        let (ports, quirks, root) = (self.ports.clone(), self.quirks, self.root.clone());
        let content = status.encode();
        let write = async move |change: &ChangeOf<P>| {
            checkpoint(&ports, quirks, &root, &content, change).await
        };
        self.done_or_corrected(write, what).await
    }

    /// Sees to it that no earlier change comes behind what is written next: the source of its rename goes.
    ///
    /// # Errors
    /// That of the removal: nothing that is written now is sure to stay.
    async fn revoke_outstanding(&self) -> Result<(), Error> {
        loop {
            let Some(temp) = self.outstanding.with(|all| all.last().cloned()) else {
                return Ok(());
            };
            match self.ports.fs().remove_file(&temp).await {
                Err(error) if !error.is(Errno::ENOENT) => {
                    return Err(Error::from(error).wrap("an earlier status may still come"));
                }
                _ => self.settled(&temp),
            }
        }
    }

    /// The change cannot come any more, or it has.
    fn settled(&self, temp: &str) {
        self.outstanding.with_mut(|all| all.retain(|outstanding| outstanding != temp));
    }

    /// Changes the file, within [`DISK_TIMEOUT`] if anything limits that. A change that takes longer is
    /// told so, and may still come: what holds by then is written behind it, unless it was revoked.
    async fn done_or_corrected(
        &self,
        make: impl AsyncFnOnce(&ChangeOf<P>) -> Result<(), Error> + 'static,
        what: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        let change = self.ports.runtime().value(Change::default());
        if self.quirks.has(Quirk::DiskUnbounded) {
            return make(&change).await;
        }
        let shared = change.clone();
        let made = async move { make(&shared).await };
        let runtime = self.ports.runtime();
        let late = match within_or_later(runtime, DISK_TIMEOUT, Box::pin(made)).await {
            Ok(changed) => return changed,
            Err(late) => late,
        };
        let temp = change.with_mut(|change| {
            change.given_up = true;
            change.temp.clone()
        });
        self.outstanding.with_mut(|all| all.extend(temp));
        let storage = self.clone();
        let correct: LocalFuture<()> = Box::pin(async move {
            // Whether it ends or not, it may have had its effect.
            let ended = within(storage.ports.runtime(), LATE_TIMEOUT, late).await.is_some();
            let Change { asked, temp, .. } = change.get();
            if !asked {
                return;
            }
            if let Some(temp) = temp {
                if !storage.outstanding.with(|all| all.contains(&temp)) {
                    return;
                }
                if ended {
                    storage.settled(&temp);
                }
            }
            for pause in pauses().take(CORRECTIONS_MAX) {
                let turn = storage.turn.write().await;
                let status = storage.lock.read().await.with(Status::clone);
                match storage.write(&status).await {
                    Ok(()) => return,
                    Err(error) => warn!(%error, "a late change may have outlived a later one"),
                }
                drop(turn);
                storage.ports.runtime().sleep(pause).await;
            }
        });
        let id = self.root.rsplit('/').next().unwrap_or_default();
        runtime.spawn(Name::new("late-change", id), correct);
        Err(Error::unknown(format!("{}: context deadline exceeded", what())))
    }

    /// Reads the file, which [`StatusStorage::parse`] understands.
    ///
    /// # Errors
    /// `failed to read status from …`; NotFound when there is none.
    pub async fn read(ports: &P, root: &str) -> Result<Vec<u8>, Error> {
        let path = status_path(root);
        ports.fs().read_file(&path).await.map_err(|error| {
            let code = if error.is(Errno::ENOENT) { Code::NotFound } else { Code::Unknown };
            Error::new(code, format!("failed to read status from {}: {error}", quote(&path)))
        })
    }

    /// # Errors
    /// `failed to decode status …`
    pub fn parse(raw: &[u8]) -> Result<Status, Error> {
        Status::decode(raw)
            .map_err(|error| error.wrap(format_args!("failed to decode status {}", quote(raw))))
    }

    /// Waits until nobody writes.
    #[cfg(feature = "planted")]
    pub async fn wait_for_turn(&self) {
        drop(self.turn.write().await);
    }

    pub async fn get(&self) -> Status {
        self.lock.read().await.with(Status::copy_out)
    }

    /// Changes the status in memory only.
    ///
    /// # Errors
    /// That of `change`, verbatim; nothing has changed then.
    pub async fn update(
        &self,
        change: impl FnOnce(Status) -> Result<Status, Error>,
    ) -> Result<(), Error> {
        let guard = self.lock.write().await;
        let new = change(guard.with(Status::clone))?;
        guard.with_mut(|status| *status = new);
        Ok(())
    }

    /// Changes the status on disk, then in memory. With [`Quirk::StatusWaitsForCheckpoint`] the lock is
    /// held meanwhile; else only other writers wait.
    ///
    /// # Errors
    /// That of `change`, verbatim; `failed to checkpoint status to …`. Memory and file are as before
    /// then.
    pub async fn update_sync(
        &self,
        change: impl FnOnce(Status) -> Result<Status, Error>,
    ) -> Result<(), Error> {
        self.transact(async |status| change(status)).await
    }

    /// As [`StatusStorage::update_sync`], for a change that makes calls of its own meanwhile.
    ///
    /// # Errors
    /// As there.
    pub async fn transact(
        &self,
        change: impl AsyncFnOnce(Status) -> Result<Status, Error>,
    ) -> Result<(), Error> {
        if self.quirks.has(Quirk::StatusWaitsForCheckpoint) {
            let guard = self.lock.write().await;
            let new = change(guard.with(Status::clone)).await?;
            self.write(&new).await?;
            guard.with_mut(|status| *status = new);
            return Ok(());
        }
        let _turn = self.turn.write().await;
        let old = self.lock.read().await.with(Status::clone);
        let new = change(old).await?;
        planted!(self, TurnReleasedEarly => { drop(_turn); });
        planted!(self, MemoryBeforeDisk => { self.take_over(new.clone()).await; });
        self.write(&new).await?;
        self.take_over(new).await;
        Ok(())
    }

    /// As [`StatusStorage::update_sync`]; what cannot be written holds in memory all the same, as a
    /// status that is unknown.
    ///
    /// # Errors
    /// `failed to checkpoint status to …`
    pub async fn update_sync_or_unknown(
        &self,
        change: impl FnOnce(Status) -> Status,
    ) -> Result<(), Error> {
        let _turn = self.turn.write().await;
        let old = self.lock.read().await.with(Status::clone);
        let new = change(old.clone());
        if new == old && !old.unknown {
            // It is on the disk: a write that fails must not make it unknown.
            return Ok(());
        }
        let written = self.write(&new).await;
        self.take_over(Status { unknown: new.unknown || written.is_err(), ..new }).await;
        written
    }

    /// What was written is what is; who is about to start or to remove the container may have
    /// changed meanwhile.
    async fn take_over(&self, new: Status) {
        self.lock.write().await.with_mut(|status| {
            *status = Status { starting: status.starting, removing: status.removing, ..new };
        });
    }

    /// Removes the file, by way of a rename out of the container's directory. A file that is gone is
    /// fine. The lock is not taken.
    ///
    /// # Errors
    /// Those of the rename and of the removal.
    pub async fn delete(&self) -> Result<(), Error> {
        self.revoke_outstanding().await?;
        let (ports, root) = (self.ports.clone(), self.root.clone());
        let delete = async move |change: &ChangeOf<P>| {
            change.with_mut(|change| change.asked = true);
            let (path, aside) = (status_path(&root), removed_path(&root));
            gone_is_fine(ports.patient_fs().rename(&path, &aside).await)?;
            gone_is_fine(ports.patient_fs().remove_file(&aside).await)
        };
        self.done_or_corrected(delete, || "failed to delete the status".to_owned()).await
    }

    /// The first half of [`StatusStorage::delete`], which does the rest: a daemon that comes up finds no status
    /// and, as long as that was not done, what it said.
    ///
    /// # Errors
    /// That of the rename.
    pub async fn set_aside(&self) -> Result<(), Error> {
        self.revoke_outstanding().await?;
        let (ports, root) = (self.ports.clone(), self.root.clone());
        let set_aside = async move |change: &ChangeOf<P>| {
            change.with_mut(|change| change.asked = true);
            let (path, aside) = (status_path(&root), removed_path(&root));
            gone_is_fine(ports.patient_fs().rename(&path, &aside).await)
        };
        self.done_or_corrected(set_aside, || "failed to delete the status".to_owned()).await
    }

    /// What a removal that was cut off had set aside, if it had.
    pub async fn removed(ports: &P, root: &str) -> Option<Status> {
        Self::parse(&ports.fs().read_file(&removed_path(root)).await.ok()?).ok()
    }

    /// Sets the file aside that says what is not so any more, while the truth cannot be written. A daemon
    /// that comes up knows nothing then, instead of something wrong. Needs no space.
    ///
    /// # Errors
    /// Those of the rename and of the sync of the directory.
    pub async fn disown(&self) -> Result<(), Error> {
        let (ports, root) = (self.ports.clone(), self.root.clone());
        let set_aside = async move |change: &ChangeOf<P>| {
            change.with_mut(|change| change.asked = true);
            ports.patient_fs().rename(&status_path(&root), &stale_path(&root)).await?;
            Ok(ports.patient_fs().sync_dir(&root).await?)
        };
        self.done_or_corrected(set_aside, || "failed to set the status aside".to_owned()).await
    }

    /// Removes what [`StatusStorage::disown`] set aside.
    ///
    /// # Errors
    /// That of the removal.
    pub async fn forget_disowned(&self) -> Result<(), FsError> {
        self.ports.fs().remove_file(&stale_path(&self.root)).await
    }

    /// What [`StatusStorage::disown`] set aside below `root`, if it did.
    pub async fn disowned(ports: &P, root: &str) -> Option<Status> {
        let raw = ports.fs().read_file(&stale_path(root)).await.ok()?;
        Some(Self::parse(&raw).unwrap_or_default())
    }

    /// For observers outside the service: `None` while somebody changes the status.
    pub fn peek<R>(&self, look: impl FnOnce(&Status) -> R) -> Option<R> {
        self.lock.peek(look)
    }

    /// Keeps everyone from starting or removing the container, and from writing its status, until the
    /// guard is dropped. Only without [`Quirk::StatusWaitsForCheckpoint`].
    pub async fn hold(&self) -> impl Sized + use<P> {
        self.turn.write().await
    }

    /// # Errors
    /// When the container is not in the created state, is removed or started; nothing has changed
    /// then.
    pub async fn set_starting(&self) -> Result<(), Error> {
        // Who changes what a start begins from comes before it or after it, and not in between.
        let _turn = match self.quirks.has(Quirk::StatusWaitsForCheckpoint) {
            true => None,
            false => Some(self.turn.write().await),
        };
        self.update(Status::set_starting).await
    }

    pub async fn reset_starting(&self) -> Result<(), Error> {
        self.update(|status| Ok(Status { starting: false, ..status })).await
    }

    /// The state in which the container was claimed, UNKNOWN where it has ended and that is not on record
    /// only: who removes it is to tell the end by [`StatusStorage::tell_unwritten_end`].
    ///
    /// # Errors
    /// When the container runs or may run, is started or removed; nothing has changed then.
    pub async fn set_removing(&self) -> Result<ContainerState, Error> {
        let _turn = match self.quirks.has(Quirk::StatusWaitsForCheckpoint) {
            true => None,
            false => Some(self.turn.write().await),
        };
        let mut state = ContainerState::Unknown;
        self.update(|status| {
            // That it ended is certain where that is only not on record.
            let ended = status.finished_at != 0 && !self.quirks.has(Quirk::UnwrittenExitForgotten);
            state = status.state();
            let unknown = status.unknown;
            let claimed = Status { unknown: unknown && !ended, ..status }.set_removing()?;
            Ok(Status { unknown, ..claimed })
        })
        .await?;
        Ok(state)
    }

    /// With the file gone nothing contradicts the end any more that was held in memory as unknown.
    pub async fn tell_unwritten_end(&self) -> Result<(), Error> {
        self.update(|status| Ok(Status { unknown: false, ..status })).await
    }

    pub async fn reset_removing(&self) -> Result<(), Error> {
        self.update(|status| Ok(Status { removing: false, ..status })).await
    }
}

fn gone_is_fine(result: Result<(), FsError>) -> Result<(), Error> {
    match result {
        Err(error) if !error.is(Errno::ENOENT) => Err(error.into()),
        _ => Ok(()),
    }
}

fn removed_path(root: &str) -> String {
    [root, ".del-status"].concat()
}

fn stale_path(root: &str) -> String {
    format!("{root}/status.stale")
}

fn status_path(root: &str) -> String {
    [root, "/status"].concat()
}

async fn checkpoint<P: Ports>(
    ports: &P,
    quirks: Quirks,
    root: &str,
    content: &[u8],
    change: &impl Value<Change>,
) -> Result<(), Error> {
    let fs = ports.patient_fs();
    let write = async {
        replace_file(fs, quirks, root, "status", content, change).await?;
        if !quirks.has(Quirk::CheckpointDirectoryNotSynced) {
            fs.sync_dir(root).await?;
        }
        Ok::<(), Error>(())
    };
    let written: Result<(), Error> = write.await;
    written.map_err(|error| {
        let path = quote(&status_path(root));
        error.wrap(format_args!("failed to checkpoint status to {path}"))
    })
}

/// Replaces `parent/name` atomically by a file of mode 0600. With [`Quirk::TemporaryFileKept`] the temporary
/// file stays behind on every error. The directory is not synced: until it is, a power failure may bring the
/// old content back.
///
/// The file stays as it is when it has become late for that meanwhile.
async fn replace_file<F: Fs>(
    fs: &F,
    quirks: Quirks,
    parent: &str,
    name: &str,
    data: &[u8],
    change: &impl Value<Change>,
) -> Result<(), Error> {
    let (file, temp) = fs.create_temp(parent, &[".tmp-", name].concat()).await?;
    let replaced = async {
        if let Err(error) = fill(fs, &file, &temp, data).await {
            // The first error is the one to tell.
            let _ = fs.close(file).await;
            return Err(error);
        }
        fs.close(file).await?;
        if change.with(|change| change.given_up) {
            return Err(Error::unknown("it is too late for that"));
        }
        change.with_mut(|change| {
            change.asked = true;
            change.temp = Some(temp.clone());
        });
        Ok(fs.rename(&temp, &[parent, "/", name].concat()).await?)
    };
    let replaced = replaced.await;
    if replaced.is_err() && !quirks.has(Quirk::TemporaryFileKept) {
        // Best effort, so that a full disk is not fuller with each attempt.
        let _ = fs.remove_file(&temp).await;
    }
    replaced
}

async fn fill<F: Fs>(fs: &F, file: &F::File, path: &str, data: &[u8]) -> Result<(), Error> {
    fs.set_mode(path, 0o600).await?;
    if fs.write(file, data).await? < data.len() {
        return Err(Error::unknown("short write"));
    }
    fs.sync(file).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            pid: 42,
            created_at: 1,
            started_at: 2,
            finished_at: -3,
            exit_code: -128,
            reason: "StartError".into(),
            message: "a<b>&\"c\"\\ \u{2028}\u{2029}\n\r\t\u{8}\u{c}\u{1}\u{7f}\u{e9}".into(),
            ..Status::default()
        }
    }

    #[test]
    fn encodes_like_go() {
        let expected = concat!(
            r#"{"Version":"v1","Pid":42,"CreatedAt":1,"StartedAt":2,"FinishedAt":-3,"#,
            r#""ExitCode":-128,"Reason":"StartError","#,
            r#""Message":"a\u003cb\u003e\u0026\"c\"\\ \u2028\u2029\n\r\t\u0008\u000c\u0001"#,
            "\u{7f}\u{e9}",
            r#"","Resources":null}"#
        );
        assert_eq!(String::from_utf8(status().encode()).unwrap(), expected);

        let linux = LinuxResources {
            cpu_shares: 10,
            cpuset_mems: "0".into(),
            hugepage_limits: vec![HugepageLimit { page_size: "2MB".into(), limit: 0 }],
            unified: [("memory.high", "1"), ("cpu.max", "2")]
                .map(|(k, v)| (k.into(), v.into()))
                .into(),
            ..LinuxResources::default()
        };
        let status = Status {
            resources: Some(Resources { linux: Some(linux), windows: None }),
            ..Status::default()
        };
        let expected = concat!(
            r#"{"Version":"v1","Pid":0,"CreatedAt":0,"StartedAt":0,"FinishedAt":0,"ExitCode":0,"#,
            r#""Reason":"","Message":"","Resources":{"linux":{"cpu_shares":10,"cpuset_mems":"0","#,
            r#""hugepage_limits":[{"page_size":"2MB"}],"#,
            r#""unified":{"cpu.max":"2","memory.high":"1"}}}}"#
        );
        assert_eq!(String::from_utf8(status.encode()).unwrap(), expected);
        let empty = Status { resources: Some(Resources::default()), ..Status::default() };
        assert!(String::from_utf8(empty.encode()).unwrap().ends_with(r#","Resources":{}}"#));
    }

    #[test]
    fn decodes_what_it_encoded_without_the_flags() {
        let resources = Resources {
            linux: Some(LinuxResources {
                cpu_period: 1,
                cpu_quota: -1,
                hugepage_limits: vec![HugepageLimit { page_size: "1GB".into(), limit: u64::MAX }],
                unified: BTreeMap::from([("A".to_owned(), "<".to_owned())]),
                ..LinuxResources::default()
            }),
            windows: Some(WindowsResources { cpu_count: 4, ..WindowsResources::default() }),
        };
        let full = Status { resources: Some(resources), ..status() };
        let flagged = Status { starting: true, removing: true, unknown: true, ..full.clone() };
        assert_eq!(Status::decode(&flagged.encode()), Ok(full));
    }

    #[test]
    fn decodes_like_go() {
        let minimal = Status::decode(br#" {"VERSION":"v1","pID":7,"Other":[1],"Reason":null} "#);
        assert_eq!(minimal, Ok(Status { pid: 7, ..Status::default() }));
        let invalid = Status::decode(b"{\"Version\":\"v1\",\"Message\":\"a\xff\"}").unwrap();
        assert_eq!(invalid.message, "a\u{fffd}");

        for (raw, message) in [
            (&b"{}"[..], "unsupported version"),
            (b"null", "unsupported version"),
            (br#"{"Version":"v2"}"#, "unsupported version"),
            (b"", "unexpected end of JSON input"),
            (br#"{"Version":"v1","Pid":4"#, "unexpected end of JSON input"),
            (b"[]", "json: cannot unmarshal a value that is no object"),
        ] {
            assert_eq!(Status::decode(raw), Err(Error::unknown(message)), "{}", quote(raw));
        }
        for raw in [
            &br#"{"Version":"v1","Pid":-1}"#[..],
            br#"{"Version":"v1","Pid":4294967296}"#,
            br#"{"Version":"v1","CreatedAt":1.5}"#,
            br#"{"Version":"v1","Reason":1}"#,
            br#"{"Version":"v1"} x"#,
        ] {
            assert!(Status::decode(raw).is_err(), "{}", quote(raw));
        }
    }

    #[test]
    fn state_is_the_first_that_matches() {
        let mut status = Status::default();
        assert_eq!(status.state(), ContainerState::Unknown);
        status.created_at = 1;
        assert_eq!(status.state(), ContainerState::Created);
        status.started_at = 1;
        assert_eq!(status.state(), ContainerState::Running);
        status.finished_at = 1;
        assert_eq!(status.state(), ContainerState::Exited);
        status.unknown = true;
        assert_eq!(status.state(), ContainerState::Unknown);
    }

    #[test]
    fn a_copy_keeps_one_block_of_resources() {
        let both = Resources {
            linux: Some(LinuxResources::default()),
            windows: Some(WindowsResources::default()),
        };
        let copy_of = |resources| {
            Status { resources: Some(resources), ..Status::default() }.copy_out().resources.unwrap()
        };
        assert_eq!(copy_of(both.clone()), Resources { linux: None, ..both.clone() });
        assert_eq!(copy_of(Resources::default()), Resources::default());
        let linux = Resources { windows: None, ..both };
        assert_eq!(copy_of(linux.clone()), linux);
    }
}
