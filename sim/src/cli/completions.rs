//! `shakedown completions` and `shakedown man`: what a shell and a reader of manuals need.

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;
use super::output::{Failure, Output};
use crate::scenario::nearest;
use crate::suite::ExitCode;

const EXAMPLES: &str = "\
Examples:
  shakedown completions bash > ~/.local/share/bash-completion/completions/shakedown
  shakedown completions zsh > ~/.zfunc/_shakedown
  shakedown completions fish > ~/.config/fish/completions/shakedown.fish";

/// Prints what a shell needs to complete this program's arguments.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// Which shell.
    shell: Shell,
}

pub fn completions(args: &CompletionsArgs, output: &mut Output) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "shakedown", &mut script);
    output.write(format_args!("{}", String::from_utf8_lossy(&script)))?;
    Ok(ExitCode::Passed)
}

/// Prints the manual page, of the program or of one of its commands.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  shakedown man | man -l -\n  shakedown man run | man -l -")]
pub struct ManArgs {
    /// One of the commands.
    command: Option<String>,
}

pub fn man(args: &ManArgs, output: &mut Output) -> Result<ExitCode, Failure> {
    let mut program = Cli::command();
    program.build();
    let command = match &args.command {
        None => program,
        Some(name) => {
            let Some(command) = program.find_subcommand(name) else {
                let names = program.get_subcommands().map(clap::Command::get_name);
                let near = nearest(name, names);
                let near =
                    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(Failure::new(ExitCode::Usage, format!("no command `{name}`{near}")));
            };
            command.clone()
        }
    };
    let title =
        args.command.as_ref().map_or("shakedown".to_owned(), |of| format!("shakedown-{of}"));
    let mut page = Vec::new();
    Man::new(command).title(title).render(&mut page)?;
    output.write(format_args!("{}", String::from_utf8_lossy(&page)))?;
    Ok(ExitCode::Passed)
}
