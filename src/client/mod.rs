//! containerd's client library, as far as the service links it: handles of records and tasks over
//! the daemon's services (spec sections 2.1 to 2.6).

mod record;
mod task;

pub use record::{Record, TaskOptions};
pub use task::{ExitItem, Task, WaitChannel};
