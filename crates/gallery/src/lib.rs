//! The gallery: programs that tutorials teach coordination with, each as separate processes on Procession's
//! objects.
//!
//! One file below `demo` per demo, and one list of them in `demo.rs`. The command shows them as
//! `procession demo`. A program that shows the gallery calls [`procession::init`] first, because its
//! processes are copies of that program, and has a hidden subcommand [`BROOM`] with the arguments [`Broom`],
//! because that is what an interrupted demo turns the program into.
//!
//! **Invariant: the demos use nothing that a user's program could not.** Theirs is the facade `procession`;
//! what they print with and how they fail is `procession-terminal`, what they show in one manner is in the other
//! files here.
#![forbid(unsafe_code)]

mod broom;
mod demo;
mod interrupt;
mod progress;
mod random;
mod shown;

pub use broom::{BROOM, Broom};

use clap::Subcommand;
use demo::Demo;
use procession::Namespace;
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// How long the workers of a demo that failed may take to end.
const GRACE: Duration = Duration::from_secs(2);

/// List the demos, or run one: separate processes on shared memory, with a checked result.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    demo: Option<Demo>,
}

const EXAMPLES: &str = "\
Examples:
  procession demo unkillable
  procession demo word-count --json . | jq .words

Kill a worker while a demo runs (`kill -9`): those with a * in the list of
`procession demo` go on, with the same result; the others say who was killed.

Exit codes: 0 the result is as it must be; 1 it is wrong; 2 wrong usage; 130
after Ctrl-C.";

/// Does what the arguments ask for: runs one demo to its end, or prints what demos there are.
///
/// After a signal that ends a demo (see [`Broom`]) this does not return.
///
/// # Errors
/// What the demo found wrong, or that nothing could be written to stdout.
pub fn run(args: &Args) -> Result<(), Failure> {
    match &args.demo {
        None => list(),
        Some(demo) => show(demo),
    }
}

/// Prints the demos, one line each.
fn list() -> Result<(), Failure> {
    let demos = Demo::augment_subcommands(clap::Command::new("demo"));
    for demo in demos.get_subcommands() {
        let about = demo.get_about().map(ToString::to_string).unwrap_or_default();
        let mark = if Demo::survives_kills(demo.get_name()) { '*' } else { ' ' };
        output::line(format_args!("{:<18} {mark} {about}", demo.get_name()))?;
    }
    output::line(
        "\n* goes on when you kill a worker (kill -9); the others say who that was, and end.\n\
         Run one: procession demo NAME; its options: procession demo NAME --help",
    )
}

/// Runs one demo in a namespace of its own, which goes when its last process has gone, however that was.
fn show(demo: &Demo) -> Result<(), Failure> {
    let namespace = Namespace::private();
    if !namespace.enter() {
        return Err(Failure::Wrong("this process already uses another namespace".to_owned()));
    }
    interrupt::watch(namespace)?;
    let outcome = demo.run();
    if outcome.is_err() {
        // Those that still run may be waiting for what will not happen any more.
        procession::end_children(GRACE);
    }
    // Once a signal has arrived, how the demo ended says nothing: the signal decides how this process ends.
    interrupt::yield_to_signal();
    outcome
}
