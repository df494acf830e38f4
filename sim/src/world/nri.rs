//! NRI plugins: who is connected, and what each was told.

use shakedown_cri::ports::{
    Context, Error, NriError, NriEvent, NriMode, NriReply, NriRequest, Plugin,
};

use super::World;

/// One call that reached a plugin.
#[derive(Clone, Debug, Hash)]
pub struct Relayed {
    pub at: u64,
    pub event: NriEvent,
    /// Container id; empty for a synchronisation.
    pub container: String,
    /// Whether the container's process lived at that moment.
    pub process_lived: bool,
}

#[derive(Clone, Debug, Hash)]
pub struct PluginState {
    pub plugin: Plugin,
    /// The connection is open. What happens after it closed is not the plugin's to know.
    pub connected: bool,
    /// It lost its connection with the daemon, and opens another as soon as there is one again.
    pub reconnects: bool,
    pub heard: Vec<Relayed>,
    /// What it wants in its replies, by the event it replies to.
    pub replies: Vec<(NriEvent, NriReply)>,
    /// How much of `heard` came over earlier connections.
    pub heard_before: usize,
    /// Containers that the plugin was told of by a synchronisation, as running.
    pub synchronized_running: Vec<String>,
}

#[derive(Hash)]
pub struct NriWorld {
    pub mode: NriMode,
    pub plugins: Vec<PluginState>,
}

impl Default for NriWorld {
    fn default() -> Self {
        NriWorld { mode: NriMode::Disabled, plugins: Vec::new() }
    }
}

impl World {
    /// A plugin hears a request and answers.
    pub(super) fn plugin_hears(
        &mut self,
        ctx: &Context,
        name: &str,
        request: &NriRequest,
    ) -> Result<NriReply, NriError> {
        let ended = ctx.end().filter(|(at, _)| at.0 <= self.now);
        if let Some((_, code)) = ended {
            return Err(NriError::Status(Error::bare(code)));
        }
        let at = self.now;
        let container = match request.event {
            NriEvent::Synchronize => String::new(),
            _ => request.containers.first().map(|c| c.id.clone()).unwrap_or_default(),
        };
        let process_lived = self.has_live_process(&container);
        let Some(state) = self.nri.plugins.iter_mut().find(|p| p.plugin.name == name) else {
            return Err(NriError::ConnectionClosed);
        };
        if !state.connected {
            return Err(NriError::ConnectionClosed);
        }
        if request.event == NriEvent::Synchronize {
            let running = request.containers.iter().filter(|c| c.state == "running");
            state.synchronized_running = running.map(|c| c.id.clone()).collect();
        }
        state.heard.push(Relayed { at, event: request.event, container, process_lived });
        self.changed.plugins = true;
        let replies = state.replies.iter().filter(|(to, _)| *to == request.event);
        let mut reply = NriReply::default();
        for (_, wanted) in replies {
            reply.updates.extend(wanted.updates.clone());
            reply.evictions.extend(wanted.evictions.clone());
        }
        Ok(reply)
    }

    /// A plugin opens its connection. It knows nothing of what it heard over an earlier one.
    pub fn connect_plugin(&mut self, name: &str) {
        for state in self.nri.plugins.iter_mut().filter(|state| !state.connected) {
            if state.plugin.name == name {
                state.connected = true;
                state.heard_before = state.heard.len();
                state.synchronized_running.clear();
                self.changed.plugins = true;
            }
        }
    }

    /// Whether a plugin asked for the container's eviction.
    pub fn was_evicted(&self, container: &str) -> bool {
        self.nri.plugins.iter().any(|state| {
            state.replies.iter().any(|(to, reply)| {
                reply.evictions.iter().any(|id| id == container)
                    && state.heard.iter().any(|relayed| relayed.event == *to)
            })
        })
    }

    pub fn plugin_is_connected(&self, name: &str) -> bool {
        self.nri.plugins.iter().any(|state| state.plugin.name == name && state.connected)
    }

    pub fn close_plugin(&mut self, name: &str) {
        for state in &mut self.nri.plugins {
            if state.plugin.name == name {
                state.connected = false;
                self.changed.plugins = true;
            }
        }
    }
}
