//! The command `procession`, as a library so that tests can build it as a program of their own.
//!
//! `args` says what can be typed; the rest is one file per subcommand. The demos are the package
//! `procession-gallery`, which the feature `demo` brings; output and exit codes are `procession-terminal`.
#![forbid(unsafe_code)]

mod args;
mod collect;
mod deadlocks;
mod duration;
mod inspect;
mod list;
mod others;
mod passed_on;
mod program;
mod remove;
mod run;
mod state;

use args::{Cli, Command};
use clap::Parser;
use procession_terminal::exit::{self, Failure};
use std::process::ExitCode;

/// Runs the command and returns its exit code.
///
/// In a process that a demo started, which is another copy of this program, it does not return: see
/// [`procession::init`].
#[must_use]
pub fn main() -> ExitCode {
    procession::init();
    let outcome = match Cli::try_parse() {
        Ok(cli) => perform(cli),
        Err(message) => Err(Failure::CommandLine(message)),
    };
    exit::report(outcome)
}

fn perform(cli: Cli) -> Result<(), Failure> {
    if let Some(namespace) = &cli.namespace {
        #[cfg(feature = "demo")]
        if matches!(cli.command, Command::Demo(_)) {
            return Err(Failure::Usage(
                "demos run in a private namespace; --namespace has no use".to_owned(),
            ));
        }
        // The first to ask, so this is the namespace of the process.
        let _: bool = namespace.enter();
    }
    match cli.command {
        #[cfg(feature = "demo")]
        Command::Demo(args) => procession_gallery::run(&args),
        Command::Run(args) => run::run(&args, cli.namespace.as_ref()),
        Command::Ls(args) => list::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Rm(args) => remove::run(&args),
        Command::Gc(args) => collect::run(&args),
        Command::Deadlocks(args) => deadlocks::run(&args),
        Command::Worker(args) => run::become_worker(&args),
        #[cfg(feature = "demo")]
        Command::Broom(broom) => broom.sweep(),
    }
}
