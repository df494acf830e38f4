//! Connections to NRI plugins. The adapter, the service with its mutex and state map, and the
//! sequence of plugins (spec section 7) are the service's; the port is one plugin's connection.

use std::fmt;
use std::future::Future;

use super::{Context, Error};
use crate::store::LinuxResources;

/// How NRI is configured on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NriMode {
    Enabled,
    /// The service object is there, but every call returns at once.
    Disabled,
    /// There is no service object at all.
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NriEvent {
    CreateContainer,
    PostCreateContainer,
    StartContainer,
    PostStartContainer,
    StopContainer,
    RemoveContainer,
    Synchronize,
}

/// One connected plugin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plugin {
    pub name: String,
    /// Sorts before the name; decides the order of calls.
    pub index: String,
    pub events: Vec<NriEvent>,
}

/// A container as a plugin sees it (spec section 7.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct NriContainer {
    pub id: String,
    pub name: String,
    pub pod_id: String,
    /// `created`, `running`, `stopped`, `unknown`.
    pub state: &'static str,
    pub pid: u32,
    pub labels: Vec<(String, String)>,
    pub annotations: Vec<(String, String)>,
    pub args: Vec<String>,
    pub env: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct NriPod {
    pub id: String,
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub pid: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NriRequest {
    pub event: NriEvent,
    /// One pod and container, or all of them for a synchronisation.
    pub pods: Vec<NriPod>,
    pub containers: Vec<NriContainer>,
}

/// A container's id, and limits that a plugin wants for it.
pub type NriUpdate = (String, LinuxResources);

/// What a plugin asks for in its reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct NriReply {
    /// Adjustment of the container to be created: annotations and environment to add.
    pub annotations: Vec<(String, String)>,
    pub env: Vec<String>,
    /// Resource updates: container id, and the limits that change.
    pub updates: Vec<NriUpdate>,
    /// Containers to evict.
    pub evictions: Vec<String>,
}

/// Why a plugin's call failed (spec section 7.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NriError {
    ConnectionClosed,
    ServerClosed,
    Protocol,
    /// An answer of the plugin, or the context's end. The text is the transport's:
    /// `rpc error: code = Unknown desc = …`, `context canceled`.
    Status(Error),
}

impl fmt::Display for NriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NriError::ConnectionClosed => f.write_str("ttrpc: closed"),
            NriError::ServerClosed => f.write_str("ttrpc: server closed"),
            NriError::Protocol => f.write_str("ttrpc: protocol error"),
            NriError::Status(error) => error.fmt(f),
        }
    }
}

pub trait Nri: Clone + 'static {
    /// Reading the configuration does not park.
    fn mode(&self) -> NriMode;

    /// The connected plugins, in no particular order. Does not park.
    fn plugins(&self) -> Vec<Plugin>;

    /// One call to one plugin.
    fn call(
        &self,
        ctx: &Context,
        plugin: &str,
        request: NriRequest,
    ) -> impl Future<Output = Result<NriReply, NriError>>;

    /// Closes the connection to a plugin. Does not park.
    fn close(&self, plugin: &str);
}
