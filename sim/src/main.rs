//! `shakedown`: see the library's [`shakedown::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    shakedown::cli::main()
}
