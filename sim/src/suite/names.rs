//! Ids as names, and states and events as the words of the scenario format.

use std::borrow::Cow;

use shakedown_cri::cri::{ContainerState, EventKind};
use shakedown_cri::quirks::{Quirk, Quirks};

use crate::run::{Answer, Plan};

/// The ids of a plan's containers and sandboxes, and their names.
#[derive(Clone, Debug)]
pub struct Names(Vec<(String, String)>);

impl Names {
    pub fn new(plan: &Plan) -> Self {
        let containers = plan.containers.iter().map(|c| (c.id.clone(), c.name.to_string()));
        let sandboxes = plan.sandboxes.iter().map(|s| (s.id.clone(), s.name.clone()));
        Names(containers.chain(sandboxes).collect())
    }

    /// `text` with `⟨web⟩` for each id.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (id, name) in &self.0 {
            if text.contains(id.as_str()) {
                text = text.replace(id.as_str(), &format!("⟨{name}⟩"));
            }
        }
        text
    }

    /// The name behind an id; the id itself if it has none.
    pub fn of<'a>(&'a self, id: &'a str) -> &'a str {
        self.0.iter().find(|(known, _)| known == id).map_or(id, |(_, name)| name)
    }
}

/// `created`
pub const fn state_word(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "created",
        ContainerState::Running => "running",
        ContainerState::Exited => "exited",
        ContainerState::Unknown => "unknown",
    }
}

/// `started`
pub const fn event_word(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Created => "created",
        EventKind::Started => "started",
        EventKind::Stopped => "stopped",
        EventKind::Deleted => "deleted",
    }
}

/// What a stream of events brought, as `web started`.
pub fn received_words(answer: &Answer) -> Vec<String> {
    let events = answer.received.iter();
    events.map(|(container, kind)| format!("{container} {}", event_word(*kind))).collect()
}

/// An expected text as a version has it: what stands in `⟨: unknown⟩` is there in versions that put
/// the class behind every error's text.
pub(super) fn in_version(text: &str, quirks: Quirks) -> Cow<'_, str> {
    const OPEN: &str = "⟨: ";
    if !text.contains(OPEN) {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split(OPEN);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('⟩') {
            Some((class, rest)) => {
                if quirks.has(Quirk::ClassBehindErrorText) {
                    out.push_str(": ");
                    out.push_str(class);
                }
                out.push_str(rest);
            }
            None => {
                out.push_str(OPEN);
                out.push_str(part);
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_there_in_versions_that_write_it() {
        let with = Quirks::NONE.with(Quirk::ClassBehindErrorText);
        let text = "\"⟨web⟩\": no luck⟨: unknown⟩";
        assert_eq!(in_version(text, with), "\"⟨web⟩\": no luck: unknown");
        assert_eq!(in_version(text, Quirks::NONE), "\"⟨web⟩\": no luck");
        for text in ["no luck: unknown", "⟨web⟩: no luck", "no luck⟨: unknown"] {
            assert_eq!(in_version(text, with), text);
        }
    }
}
