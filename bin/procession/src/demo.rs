//! The demos: one file each, written against what any program can use.

mod event_states;
mod pool_map;
mod process;
mod queue;
mod rlock;
mod semaphore_value;
mod value_lock;
mod word_count;

use crate::args::Cli;
use crate::exit::Failure;
use crate::{interrupt, output};
use clap::{CommandFactory, Subcommand};
use procession::Namespace;

#[derive(Debug, Subcommand)]
pub(crate) enum Demo {
    Process(process::Args),
    Queue(queue::Args),
    PoolMap(pool_map::Args),
    WordCount(word_count::Args),
    SemaphoreValue(semaphore_value::Args),
    EventStates(event_states::Args),
    #[command(name = "rlock")]
    RLock(rlock::Args),
    ValueLock(value_lock::Args),
}

/// Prints the demos, one line each.
pub(crate) fn list() -> Result<(), Failure> {
    let cli = Cli::command();
    let demos = cli.find_subcommand("demo").into_iter().flat_map(clap::Command::get_subcommands);
    for demo in demos.filter(|demo| demo.get_name() != "help") {
        let about = demo.get_about().map(ToString::to_string).unwrap_or_default();
        output::line(format_args!("{:<18} {about}", demo.get_name()))?;
    }
    output::line("\nRun one: procession demo NAME; its options: procession demo NAME --help")
}

/// Runs one demo in a namespace of its own, which goes when its last process has gone, however that was.
pub(crate) fn run(demo: &Demo) -> Result<(), Failure> {
    let namespace = Namespace::private();
    if !namespace.enter() {
        return Err(Failure::Wrong("this process already uses another namespace".to_owned()));
    }
    interrupt::watch(namespace)?;
    match demo {
        Demo::Process(args) => process::run(args),
        Demo::Queue(args) => queue::run(args),
        Demo::PoolMap(args) => pool_map::run(args),
        Demo::WordCount(args) => word_count::run(args),
        Demo::SemaphoreValue(args) => semaphore_value::run(args),
        Demo::EventStates(args) => event_states::run(args),
        Demo::RLock(args) => rlock::run(args),
        Demo::ValueLock(args) => value_lock::run(args),
    }
}

/// The check at the end of a demo.
fn must_hold(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Wrong(format!("this must not happen: {otherwise}"))) }
}
