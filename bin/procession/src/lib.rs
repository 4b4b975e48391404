//! The command `procession`, as a library so that tests can build it as a program of their own.
//!
//! `args` says what can be typed, `exit` what the exit codes mean, `output` prints; the rest is one file per
//! subcommand, and one per demo below `demo`.
#![forbid(unsafe_code)]

mod args;
mod broom;
mod collect;
mod deadlocks;
mod demo;
mod exit;
mod interrupt;
mod list;
mod others;
mod output;
mod remove;
mod run;

use args::{Cli, Command};
use clap::Parser;
use exit::Failure;
use std::process::ExitCode;

/// Runs the command and returns its exit code.
///
/// In a process that a demo started this does not return: see [`procession::init`].
#[must_use]
pub fn main() -> ExitCode {
    procession::init();
    let outcome = match Cli::try_parse() {
        Ok(cli) => perform(cli),
        Err(message) => Err(Failure::CommandLine(message)),
    };
    // Once a signal has arrived, how the work ended says nothing: the signal decides how this process ends.
    interrupt::yield_to_signal();
    exit::report(outcome)
}

fn perform(cli: Cli) -> Result<(), Failure> {
    if let Some(namespace) = &cli.namespace {
        if matches!(cli.command, Command::Demo { .. }) {
            return Err(Failure::Usage(
                "demos run in a private namespace; --namespace has no use".to_owned(),
            ));
        }
        // The first to ask, so this is the namespace of the process.
        let _: bool = namespace.enter();
    }
    match cli.command {
        Command::Demo { demo: None } => demo::list(),
        Command::Demo { demo: Some(demo) } => demo::run(&demo),
        Command::Run(args) => run::run(&args, cli.namespace.as_ref()),
        Command::Ls(args) => list::run(&args),
        Command::Rm(args) => remove::run(&args),
        Command::Gc(args) => collect::run(&args),
        Command::Deadlocks(args) => deadlocks::run(&args),
        Command::Worker(args) => run::become_worker(&args),
        Command::Broom(args) => broom::run(&args),
    }
}
