//! I9: CREATED before STARTED before STOPPED before DELETED, each at most once, for all that
//! happened and nothing else.
//!
//! An event is sent when it enters the subscribers' queues, in the daemon's memory (spec section 9). What
//! is still there when the daemon dies nobody has seen: it may be sent again, and need not be.

use std::collections::BTreeSet;

use shakedown_cri::cri::{ContainerState, EventKind};

use super::judge::{Kind, View};
use super::{Id, Invariant, Notes, Watch};
use crate::run::Snapshot;
use crate::turnstile::Happened;
use crate::world::ProcessState;

#[derive(Default, Hash)]
pub struct EventOrder {
    seen: usize,
    /// The subjects that a client could see running.
    ran: BTreeSet<usize>,
}

impl EventOrder {
    /// Whether subscribers can have it, or will: what is held in the queues has to be on its way out of
    /// them.
    fn sent(view: &View<'_>, index: usize, kind: EventKind) -> bool {
        let id = &view.subjects[index].id;
        let held_for_now = view.reaped.is_none() && view.is_busy(index);
        view.world.events.iter().any(|sent| {
            let of_it = sent.event.container_id == *id && sent.event.kind == kind;
            of_it && (!sent.held || sent.lost || held_for_now)
        })
    }

    fn complete(&self, view: &View<'_>, notes: &mut Notes) {
        for (index, subject) in view.subjects.iter().enumerate() {
            // A start whose answer a crash kept back may have come that far.
            let starting = view.calls.iter().any(|call| {
                let open = call.in_progress() || call.was_cut();
                call.kind == Kind::Start && call.subject == Some(index) && open
            });
            if Self::sent(view, index, EventKind::Started) && !starting && !view.reaping {
                notes.judge(view.was_started(index), view, || {
                    format!("STARTED was sent, but no start of {} succeeded", subject.name)
                });
            }
            if view.was_started(index) || self.ran.contains(&index) {
                notes.judge(Self::sent(view, index, EventKind::Started), view, || {
                    format!("{} was started, but no STARTED event was sent", subject.name)
                });
                let ended = view.processes(index).any(|p| p.state == ProcessState::Dead);
                let told = subject.state().is_none_or(|state| state == ContainerState::Exited);
                if ended && told {
                    notes.judge(Self::sent(view, index, EventKind::Stopped), view, || {
                        format!("{} ended, but no STOPPED event was sent", subject.name)
                    });
                }
            }
            // A removal that came before the container has removed nothing.
            let removed = subject.peek.is_none()
                && view.calls.iter().any(|call| {
                    call.kind == Kind::Remove && call.subject == Some(index) && call.succeeded()
                });
            let created = Self::sent(view, index, EventKind::Created);
            let reaped = view.reaped.is_some_and(|reaped| {
                !reaped.failed.iter().any(|f| f.step == format!("remove {}", subject.name))
            });
            if created && (removed || reaped) {
                notes.judge(Self::sent(view, index, EventKind::Deleted), view, || {
                    format!("{} was removed, but no DELETED event was sent", subject.name)
                });
            }
        }
    }
}

impl Invariant for EventOrder {
    fn id(&self) -> Id {
        Id(9)
    }

    fn name(&self) -> &'static str {
        "event-order"
    }

    fn watches(&self) -> Watch {
        Watch::EVENTS.and(Watch::STATUS)
    }

    fn moment(&mut self, view: &View<'_>, _: &Happened, notes: &mut Notes) {
        for (index, subject) in view.subjects.iter().enumerate() {
            if subject.state() == Some(ContainerState::Running) {
                self.ran.insert(index);
            }
        }
        let events = &view.world.events;
        for at in self.seen..events.len() {
            let event = &events[at].event;
            let Some(index) = view.subjects.iter().position(|s| s.id == event.container_id) else {
                continue;
            };
            let name = view.subjects[index].name;
            // What died with the daemon nobody has seen: it may be told again.
            let earlier = events[..at]
                .iter()
                .filter(|e| e.event.container_id == event.container_id && !e.lost);
            let last = earlier.map(|e| e.event.kind).max();
            notes.judge(last.is_none_or(|last| last < event.kind), view, || {
                let last = last.map_or("", EventKind::name);
                format!("{} of {name} came after {last}", event.kind.name())
            });
            match event.kind {
                EventKind::Started => {
                    notes.judge(view.processes(index).next().is_some(), view, || {
                        format!("STARTED was sent, but no process of {name} ever ran")
                    });
                }
                EventKind::Stopped => {
                    notes.judge(!view.process_lives(index), view, || {
                        format!("STOPPED was sent while the process of {name} lives")
                    });
                }
                EventKind::Deleted => {
                    notes.judge(view.subjects[index].peek.is_none(), view, || {
                        format!("DELETED was sent, but {name} is still there")
                    });
                }
                EventKind::Created => {}
            }
        }
        self.seen = events.len();
    }

    fn quiet(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        // A client of a daemon that is down sees nothing, and has not heard the last.
        if view.daemon.facts().serves {
            self.complete(view, notes);
        }
    }

    fn reaped(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        self.complete(view, notes);
    }
}
