//! A second process of this program, which must do the same.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "two processes are compared; a run takes part in neither"
)]

use std::env;
use std::io;
use std::process::{Command, Stdio};

/// Where a process that is compared with another one runs.
#[derive(Clone, Copy)]
pub enum Where {
    /// As this one.
    Here,
    /// With another environment, directory, time zone, language and log level, and other addresses.
    There,
}

/// This program, to be given its arguments. Its output is a pipe.
///
/// # Errors
/// When the system does not say which program this is.
pub fn program(place: Where) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    if let Where::There = place {
        command
            .env_clear()
            .current_dir("/")
            .env("TZ", "Pacific/Chatham")
            .env("LC_ALL", "tr_TR.UTF-8")
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "1")
            .env("MADSIM_TEST_SEED", "7")
            // Moves what comes after it in memory.
            .env("PADDING", "x".repeat(5_000))
            .stderr(Stdio::null());
    }
    Ok(command)
}
