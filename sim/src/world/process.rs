//! The processes of the node's containers.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use shakedown_cri::ports::Exit;
use shakedown_cri::store::LinuxResources;

use super::fs::{FifoId, FifoWrite};
use super::{Occurrence, Placed, WaitKey, World};
use crate::turnstile::{Footprint, Op, Part, Symbol, role_of};

/// A piece of output of a process.
#[derive(Clone, Debug)]
pub struct ProcessOutput {
    /// After the process's start.
    pub at: Duration,
    pub stderr: bool,
    pub bytes: Vec<u8>,
}

/// What a container's process will do.
#[derive(Clone, Debug, Default)]
pub struct ProcessPlan {
    /// How long it runs by itself; `None`: until it is killed.
    pub runs: Option<Duration>,
    pub exit_code: i32,
    pub ignores_sigterm: bool,
    pub executable_missing: bool,
    pub output: Vec<ProcessOutput>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProcessState {
    /// The runtime's init, before it executes the user's program.
    Blocked,
    Running,
    Dead,
}

/// Why a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitCause {
    Itself,
    /// A signal that a call of the service sent.
    Signal,
    /// The kernel, for want of memory.
    Oom,
    /// The runtime, together with its container.
    Runtime,
    /// The node, with everything on it.
    PowerLoss,
}

#[derive(Clone, Debug)]
pub struct Process {
    pub pid: u32,
    /// Container id.
    pub container: String,
    /// Actor of what it does: `process(web)`.
    pub actor: Symbol,
    pub name: Symbol,
    pub state: ProcessState,
    /// How often the wall clock had been set back when the runtime made it.
    pub set_backs: u32,
    pub started_at: Option<u64>,
    pub exited_at: Option<u64>,
    /// Code of its exit.
    pub code: i32,
    /// Why it ended, once it did.
    pub cause: Option<ExitCause>,
    /// The container whose pid namespace it is in, if that is another.
    pub joined: Option<String>,
    /// The limits of its cgroup.
    pub limits: LinuxResources,
    /// The shim watches its cgroup for want of memory.
    pub watched: bool,
    /// An exit is on its way.
    dying: Option<Occurrence>,
    stdout: Option<FifoId>,
    stderr: Option<FifoId>,
    /// The read ends of its pipes that the shim holds open.
    copies: Vec<FifoId>,
    /// Both its streams are its terminal, which the shim copies to stdout.
    terminal: bool,
    /// Pieces of output that wait for room in their pipe, and how much of each is written.
    backlog: VecDeque<(usize, usize)>,
    /// Bytes written completely, per stream, for the check of logs.
    pub written: [Vec<u8>; 2],
}

/// Which numbers its descriptors have is nobody's business.
impl Hash for Process {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Process {
            pid,
            container,
            actor,
            name: _,
            state: is,
            set_backs,
            started_at,
            exited_at,
            code,
            cause,
            joined,
            limits,
            watched,
            dying,
            stdout,
            stderr,
            copies,
            terminal,
            backlog,
            written,
        } = self;
        (pid, container, actor, is, set_backs, started_at, exited_at, code, cause).hash(state);
        (joined, limits, watched, dying, stdout.is_some(), stderr.is_some()).hash(state);
        (copies.len(), terminal, backlog, written).hash(state);
    }
}

pub const SIGKILL: u32 = 9;
/// How often a shim tries again to publish an event (containerd's `RemoteEventsPublisher`).
const PUBLISH_RETRIES_MAX: u32 = 5;
/// A process that dies of signal n exits with this and n.
const SIGNAL_EXIT_BASE: i32 = 128;

impl World {
    /// The runtime makes a container's init, blocked before the user's program.
    pub(super) fn new_process(&mut self, container: &str, name: Symbol) -> u32 {
        self.touches(|| {
            Footprint::NEW_PID
                .and(Footprint::WALL_CLOCK)
                .and(Footprint::changes(Part::Process, container))
        });
        let pid = self.new_pid();
        self.processes.insert(
            pid,
            Process {
                pid,
                container: container.to_owned(),
                actor: role_of("process", name),
                name,
                state: ProcessState::Blocked,
                started_at: None,
                set_backs: self.wall_clock.set_backs,
                exited_at: None,
                code: 0,
                cause: None,
                joined: None,
                limits: LinuxResources::default(),
                watched: false,
                dying: None,
                stdout: None,
                stderr: None,
                copies: Vec::new(),
                terminal: false,
                backlog: VecDeque::new(),
                written: [Vec::new(), Vec::new()],
            },
        );
        self.changed.runtime = true;
        pid
    }

    /// `ends`: of stdout and stderr, the end to write to and the one to read from.
    pub(super) fn attach_output(
        &mut self,
        pid: u32,
        ends: [Option<[FifoId; 2]>; 2],
        terminal: bool,
    ) {
        let alive = |p: &&mut Process| p.state != ProcessState::Dead;
        let Some(process) = self.processes.get_mut(&pid).filter(alive) else {
            for fifo in ends.into_iter().flatten().flatten() {
                self.fs.fifo_close(fifo);
            }
            return;
        };
        [process.stdout, process.stderr] = ends.map(|ends| ends.map(|[writer, _]| writer));
        process.copies = ends.into_iter().flatten().map(|[_, reader]| reader).collect();
        process.terminal = terminal;
    }

    /// Nothing of the output is copied any more.
    pub(super) fn close_output(&mut self, pid: u32) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let pipes = [process.stdout.take(), process.stderr.take()];
        let copies = std::mem::take(&mut process.copies);
        for fifo in pipes.into_iter().flatten().chain(copies) {
            self.fs.fifo_close(fifo);
        }
        self.wake_fifos();
    }

    /// How the process ended, if it did.
    pub(super) fn exit_of(&self, pid: u32) -> Option<Exit> {
        let process = self.processes.get(&pid).filter(|p| p.state == ProcessState::Dead)?;
        Some(Exit { code: process.code, at: self.wall() })
    }

    /// The user's program begins.
    pub(super) fn start_process(&mut self, pid: u32) {
        let now = self.now;
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.state = ProcessState::Running;
        process.started_at = Some(now);
        let (actor, name) = (process.actor, process.name);
        self.changed.runtime = true;
        let Some(plan) = self.plans.get(&name).cloned() else { return };
        for (piece, output) in plan.output.iter().enumerate() {
            if plan.runs.is_none_or(|runs| output.at <= runs) {
                self.schedule(output.at, actor, Op::Print, Occurrence::Print { pid, piece });
            }
        }
        if let Some(runs) = plan.runs {
            let exit = Occurrence::Exit { pid, code: plan.exit_code, cause: ExitCause::Itself };
            self.schedule(runs, actor, Op::Exit, exit);
            if let Some(process) = self.processes.get_mut(&pid) {
                process.dying = Some(exit);
            }
        }
    }

    /// A signal arrives. False when no such process lives.
    pub(super) fn signal_process(&mut self, pid: u32, signal: u32) -> bool {
        let Some(process) = self.processes.get(&pid) else { return false };
        if process.state == ProcessState::Dead {
            return false;
        }
        let ignored = process.state == ProcessState::Running
            && signal != SIGKILL
            && self.plans.get(&process.name).is_some_and(|plan| plan.ignores_sigterm);
        if ignored {
            return true;
        }
        self.kill_process(pid, signal, ExitCause::Signal);
        true
    }

    /// The process dies of a signal. What would have ended it later does not any more.
    fn kill_process(&mut self, pid: u32, signal: u32, cause: ExitCause) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        if matches!(process.dying, Some(Occurrence::Exit { cause: ExitCause::Oom, .. })) {
            // Whom the kernel kills is not killed again.
            return;
        }
        let code = SIGNAL_EXIT_BASE + i32::try_from(signal).unwrap_or(0);
        let exit = Occurrence::Exit { pid, code, cause };
        let actor = process.actor;
        self.outbox.cancelled.extend(process.dying.replace(exit));
        self.schedule(Duration::ZERO, actor, Op::Exit, exit);
    }

    /// An occurrence of the scenario comes about; `lost`: the shim does not learn of it. Returns what
    /// enters the digest.
    ///
    /// # Errors
    /// Why it cannot.
    pub(super) fn befall(&mut self, placed: &Placed, lost: bool) -> Result<u64, String> {
        let pid = match placed {
            Placed::Exit { id, code } => {
                let pid = self.living_process(id)?;
                self.process_exits(pid, *code, ExitCause::Itself, !lost);
                pid
            }
            Placed::Oom { id } => {
                let pid = self.living_process(id)?;
                self.touches(|| Footprint::changes(Part::Process, &**id));
                self.kill_process(pid, SIGKILL, ExitCause::Oom);
                // Whoever is not watched for it yet is killed without a word.
                if self.processes.get(&pid).is_some_and(|process| process.watched) {
                    self.publish_oom(pid, 0);
                }
                pid
            }
            Placed::RotateLog { path } => {
                self.touches(|| Footprint::NODE);
                self.fs.rename(path, &format!("{path}.1")).map_err(|error| error.to_string())?;
                0
            }
            Placed::ShimExit { sandbox } => self.shim_exits(sandbox)?,
        };
        Ok(u64::from(pid))
    }

    fn living_process(&self, id: &str) -> Result<u32, String> {
        self.touches(|| Footprint::looks(Part::Process, id));
        let lives = |p: &&Process| p.container == id && p.state != ProcessState::Dead;
        let found = self.processes.values().rev().find(lives).map(|p| p.pid);
        found.ok_or_else(|| format!("no process of `{}` lived at that moment", Symbol::of(id)))
    }

    /// The shim is about to publish. Each attempt comes that many seconds after the one before.
    fn publish_oom(&mut self, pid: u32, attempt: u32) {
        let Some(process) = self.processes.get(&pid) else { return };
        let watcher = role_of("oom-watcher", process.name);
        let after = Duration::from_secs(u64::from(attempt));
        self.schedule(after, watcher, Op::Publish, Occurrence::OomReport { pid, attempt });
    }

    /// The shim's event reaches the daemon, and whoever subscribed. While the daemon is down the shim
    /// tries again.
    pub(super) fn report_oom(&mut self, pid: u32, attempt: u32) {
        if self.oom_events.is_none() && attempt < PUBLISH_RETRIES_MAX {
            return self.publish_oom(pid, attempt + 1);
        }
        let Some(process) = self.processes.get(&pid) else { return };
        if let Some(events) = &mut self.oom_events {
            events.push_back(process.container.clone());
            self.wake(WaitKey::OomEvents);
        }
    }

    /// The process changes, and its output goes on or ends.
    fn touches_process(&self, pid: u32) {
        let Some(process) = self.processes.get(&pid) else { return };
        let own = Footprint::changes(Part::Process, &*process.container);
        self.touches(|| own.and(Footprint::PIPES).and(Footprint::VIEW));
    }

    /// A process ends; its shim records it if it was `noticed`.
    pub(super) fn process_exits(&mut self, pid: u32, code: i32, cause: ExitCause, noticed: bool) {
        let now = self.now;
        self.touches_process(pid);
        let Some(process) = self.processes.get_mut(&pid) else { return };
        if process.state == ProcessState::Dead {
            return;
        }
        process.state = ProcessState::Dead;
        process.exited_at = Some(now);
        process.code = code;
        process.cause = Some(cause);
        process.backlog.clear();
        let (name, dying) = (process.name, process.dying.take());
        self.close_output(pid);
        // What it would have done later is not awaited any more.
        self.outbox.cancelled.extend(dying);
        let pieces = self.plans.get(&name).map_or(0, |plan| plan.output.len());
        let prints = (0..pieces).map(|piece| Occurrence::Print { pid, piece });
        self.outbox.cancelled.extend(prints);
        self.changed.runtime = true;
        if noticed {
            self.shim_reaps(pid, code);
        }
    }

    /// The process writes a piece of its output, behind what still waits for room in the pipe.
    pub(super) fn process_prints(&mut self, pid: u32, piece: usize) {
        self.touches_process(pid);
        let Some(process) = self.processes.get_mut(&pid) else { return };
        if process.state != ProcessState::Running {
            return;
        }
        if !process.backlog.iter().any(|(waiting, _)| *waiting == piece) {
            process.backlog.push_back((piece, 0));
        }
        let name = process.name;
        while let Some(process) = self.processes.get_mut(&pid)
            && let Some((piece, skip)) = process.backlog.front().copied()
            && let Some(output) = self.plans.get(&name).and_then(|plan| plan.output.get(piece))
        {
            let to_stderr = output.stderr && !process.terminal;
            let fifo = if to_stderr { process.stderr } else { process.stdout };
            let rest = output.bytes.get(skip..).unwrap_or_default();
            let taken = match fifo {
                // A stream that goes nowhere takes everything.
                None => rest.len(),
                Some(fifo) => match self.fs.fifo_write(fifo, rest) {
                    FifoWrite::Taken(taken) => taken,
                    FifoWrite::Blocked => 0,
                    // Nobody listens any more: the runtime's copy drops what comes.
                    FifoWrite::Broken(_) | FifoWrite::Closed => rest.len(),
                },
            };
            process.written[usize::from(to_stderr)].extend_from_slice(&rest[..taken]);
            if taken == rest.len() {
                process.backlog.pop_front();
            } else if taken == 0 {
                break;
            } else {
                // The rest is tried at once, so that it waits for room.
                process.backlog[0].1 += taken;
            }
        }
        self.wake_fifos();
    }

    /// A pipe has room again: whoever waited for it writes on.
    pub(super) fn resume_writer(&mut self, fifo: FifoId) {
        let waiting = self.processes.values().find_map(|p| {
            let on_it = p.stdout == Some(fifo) || p.stderr == Some(fifo);
            let (piece, _) = p.backlog.front()?;
            on_it.then_some((p.pid, p.actor, *piece))
        });
        if let Some((pid, actor, piece)) = waiting {
            self.schedule(Duration::ZERO, actor, Op::Print, Occurrence::Print { pid, piece });
        }
    }

    pub fn has_live_process(&self, container: &str) -> bool {
        self.processes
            .values()
            .any(|p| p.container == container && p.state == ProcessState::Running)
    }
}
