//! `shakedown`: see the library's [`shakedown::cli`].

use std::process::ExitCode;

/// Runs allocate much and briefly; this is the allocator that costs them least.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    shakedown::cli::main()
}
