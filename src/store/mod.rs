//! What the service knows of containers and sandboxes, and the status on disk.

mod container;
mod index;
mod json;
mod labels;
mod metadata;
mod names;
mod sandbox;
mod sandbox_metadata;
mod status;

pub use container::{Container, ContainerStore};
pub use index::PrefixIndex;
pub use labels::LabelStore;
pub use metadata::Metadata;
pub use names::{NameIndex, container_name};
pub use sandbox::{Sandbox, SandboxStatus, SandboxStore};
pub use sandbox_metadata::SandboxMetadata;
pub use status::{
    HugepageLimit, LinuxResources, Resources, Status, StatusStorage, Told, WindowsResources,
};
