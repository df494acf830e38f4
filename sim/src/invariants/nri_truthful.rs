//! I12: what plugins are told of a container is what happens to it, as long as they are connected.

use shakedown_cri::ports::NriEvent;

use super::judge::View;
use super::{Id, Invariant, Notes, Watch};
use crate::run::Snapshot;
use crate::turnstile::Happened;
use crate::world::PluginState;

#[derive(Default, Hash)]
pub struct NriTruthful {
    /// How much of each plugin's history was judged.
    judged: Vec<usize>,
}

fn count(state: &PluginState, container: &str, event: NriEvent, upto: usize) -> usize {
    let heard = state.heard.get(state.heard_before..upto).unwrap_or_default();
    heard.iter().filter(|h| h.container == container && h.event == event).count()
}

/// Starts that the plugin knows of: relayed to it, or told by a synchronisation.
fn starts(state: &PluginState, container: &str, upto: usize) -> usize {
    let told = state.synchronized_running.iter().filter(|id| **id == container).count();
    told + count(state, container, NriEvent::StartContainer, upto)
}

impl Invariant for NriTruthful {
    fn id(&self) -> Id {
        Id(12)
    }

    fn name(&self) -> &'static str {
        "nri-truthful"
    }

    fn watches(&self) -> Watch {
        Watch::PLUGINS
    }

    fn moment(&mut self, view: &View<'_>, _: &Happened, notes: &mut Notes) {
        self.judged.resize(view.world.nri.plugins.len(), 0);
        for (number, state) in view.world.nri.plugins.iter().enumerate() {
            let plugin = &state.plugin.name;
            let subscribed = |event| state.plugin.events.contains(&event);
            for at in self.judged[number]..state.heard.len() {
                let heard = &state.heard[at];
                let Some(subject) = view.subjects.iter().find(|s| s.id == heard.container) else {
                    continue;
                };
                let (name, id) = (subject.name, &heard.container);
                match heard.event {
                    NriEvent::StopContainer => {
                        if subscribed(NriEvent::StartContainer) {
                            let started = starts(state, id, at);
                            let stopped = count(state, id, NriEvent::StopContainer, at);
                            notes.judge(started > stopped, view, || {
                                format!("{plugin} was told to stop {name}, of which it had heard {started} starts and {stopped} stops")
                            });
                        }
                        notes.judge(!heard.process_lived, view, || {
                            format!("{plugin} was told that {name} stops while its process lives")
                        });
                    }
                    NriEvent::RemoveContainer
                        if subscribed(NriEvent::StartContainer)
                            && subscribed(NriEvent::StopContainer) =>
                    {
                        let started = starts(state, id, at);
                        let stopped = count(state, id, NriEvent::StopContainer, at);
                        notes.judge(stopped >= started, view, || {
                            format!(
                                "{plugin} was told that {name} is removed before it was stopped"
                            )
                        });
                    }
                    _ => {}
                }
            }
            self.judged[number] = state.heard.len();
        }
    }

    fn reaped(&mut self, view: &View<'_>, _: &Snapshot, notes: &mut Notes) {
        for state in view.world.nri.plugins.iter().filter(|state| state.connected) {
            let both = [NriEvent::StartContainer, NriEvent::StopContainer];
            if !both.iter().all(|event| state.plugin.events.contains(event)) {
                continue;
            }
            for (index, subject) in view.subjects.iter().enumerate() {
                let all = state.heard.len();
                let started = starts(state, &subject.id, all);
                let stopped = count(state, &subject.id, NriEvent::StopContainer, all);
                let lives = view.process_lives(index);
                if started > 0 && !lives {
                    notes.judge(stopped == started, view, || {
                        format!(
                            "{} heard {started} starts and {stopped} stops of {}",
                            state.plugin.name, subject.name
                        )
                    });
                }
            }
        }
    }
}
