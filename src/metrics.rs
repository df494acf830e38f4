//! The names of the histograms (spec section 9.4). All are in seconds.

pub(crate) const CONTAINER_START: &str = "containerd_cri_container_start_seconds";
pub(crate) const CONTAINER_STOP: &str = "containerd_cri_container_stop_seconds";
pub(crate) const CONTAINER_REMOVE: &str = "containerd_cri_container_remove_seconds";
pub(crate) const CONTAINER_CREATE: &str = "containerd_cri_container_create_seconds";
/// Without a label.
pub(crate) const CONTAINER_LIST: &str = "containerd_cri_container_list_seconds";
