//! ReopenContainerLog (spec section 4.6).

use crate::cri::ContainerState;
use crate::io::create_loggers;
use crate::ports::{Error, Ports};
use crate::quote::quote;
use crate::service::Service;

impl<P: Ports> Service<P> {
    /// Opens a container's log anew, as after a rotation, and lets the output go there.
    ///
    /// # Errors
    /// The container is not known or does not run; its log cannot be opened.
    pub(crate) async fn reopen_log(&self, requested: &str) -> Result<(), Error> {
        let container = self.containers.get(requested).await.map_err(|e| {
            e.wrap(format!("an error occurred when try to find container {}", quote(requested)))
        })?;
        if container.status.get().await.state() != ContainerState::Running {
            return Err(Error::unknown("container is not running"));
        }
        let (meta, id) = (&container.meta, container.id());
        let (out, err) =
            create_loggers(&self.ports, &self.config, &meta.log_path, meta.config.tty, id).await?;
        if let Some(io) = container.io() {
            // The writers that they replace end with this.
            drop(io.add_output("log", Some(out), err).await);
        }
        Ok(())
    }
}
