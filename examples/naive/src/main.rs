//! Every command of `shakedown`, for the naive runtime.

use std::process::ExitCode;

use shakedown_naive::Naive;

fn main() -> ExitCode {
    shakedown::cli::main_for(Naive)
}
