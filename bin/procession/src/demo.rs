//! The demos: one file each, written against what any program can use.

mod ask_user;
mod barrier;
mod barrier_by_hand;
mod barrier_states;
mod barrier_timeout;
mod batch;
mod blocking_queue;
mod bounded_buffer;
mod bounded_semaphore;
mod chained_semaphores;
mod clinic;
mod deposits;
mod downloads;
mod event_states;
mod game;
mod group_photo;
mod lock_order;
mod mismatched_parties;
mod mutex_vs_semaphore;
mod orchestrator;
mod phases;
mod pipe;
mod pool_map;
mod process;
mod producer_consumer;
mod queue;
mod race_counter;
mod race_start;
mod random;
mod relay;
mod restaurant;
mod rlock;
mod semaphore_value;
mod topics;
mod unkillable;
mod value_lock;
mod word_count;
mod work_and_shutdown;
mod workers;

use crate::args::Cli;
use crate::exit::Failure;
use crate::{interrupt, output};
use clap::{CommandFactory, Subcommand};
use procession::Namespace;
use std::time::Duration;

/// How long the workers of a demo that failed may take to end.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Debug, Subcommand)]
pub(crate) enum Demo {
    Process(process::Args),
    Pipe(pipe::Args),
    Queue(queue::Args),
    PoolMap(pool_map::Args),
    WordCount(word_count::Args),
    SemaphoreValue(semaphore_value::Args),
    EventStates(event_states::Args),
    #[command(name = "rlock")]
    RLock(rlock::Args),
    ValueLock(value_lock::Args),
    Downloads(downloads::Args),
    BoundedSemaphore(bounded_semaphore::Args),
    MutexVsSemaphore(mutex_vs_semaphore::Args),
    ChainedSemaphores(chained_semaphores::Args),
    LockOrder(lock_order::Args),
    RaceStart(race_start::Args),
    Relay(relay::Args),
    AskUser(ask_user::Args),
    Orchestrator(orchestrator::Args),
    RaceCounter(race_counter::Args),
    Deposits(deposits::Args),
    Clinic(clinic::Args),
    BoundedBuffer(bounded_buffer::Args),
    BlockingQueue(blocking_queue::Args),
    Topics(topics::Args),
    ProducerConsumer(producer_consumer::Args),
    WorkAndShutdown(work_and_shutdown::Args),
    Barrier(barrier::Args),
    GroupPhoto(group_photo::Args),
    BarrierTimeout(barrier_timeout::Args),
    BarrierStates(barrier_states::Args),
    MismatchedParties(mismatched_parties::Args),
    BarrierByHand(barrier_by_hand::Args),
    Batch(batch::Args),
    Phases(phases::Args),
    Game(game::Args),
    Restaurant(restaurant::Args),
    Unkillable(unkillable::Args),
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
    let outcome = match demo {
        Demo::Process(args) => process::run(args),
        Demo::Pipe(args) => pipe::run(args),
        Demo::Queue(args) => queue::run(args),
        Demo::PoolMap(args) => pool_map::run(args),
        Demo::WordCount(args) => word_count::run(args),
        Demo::SemaphoreValue(args) => semaphore_value::run(args),
        Demo::EventStates(args) => event_states::run(args),
        Demo::RLock(args) => rlock::run(args),
        Demo::ValueLock(args) => value_lock::run(args),
        Demo::Downloads(args) => downloads::run(args),
        Demo::BoundedSemaphore(args) => bounded_semaphore::run(args),
        Demo::MutexVsSemaphore(args) => mutex_vs_semaphore::run(args),
        Demo::ChainedSemaphores(args) => chained_semaphores::run(args),
        Demo::LockOrder(args) => lock_order::run(args),
        Demo::RaceStart(args) => race_start::run(args),
        Demo::Relay(args) => relay::run(args),
        Demo::AskUser(args) => ask_user::run(args),
        Demo::Orchestrator(args) => orchestrator::run(args),
        Demo::RaceCounter(args) => race_counter::run(args),
        Demo::Deposits(args) => deposits::run(args),
        Demo::Clinic(args) => clinic::run(args),
        Demo::BoundedBuffer(args) => bounded_buffer::run(args),
        Demo::BlockingQueue(args) => blocking_queue::run(args),
        Demo::Topics(args) => topics::run(args),
        Demo::ProducerConsumer(args) => producer_consumer::run(args),
        Demo::WorkAndShutdown(args) => work_and_shutdown::run(args),
        Demo::Barrier(args) => barrier::run(args),
        Demo::GroupPhoto(args) => group_photo::run(args),
        Demo::BarrierTimeout(args) => barrier_timeout::run(args),
        Demo::BarrierStates(args) => barrier_states::run(args),
        Demo::MismatchedParties(args) => mismatched_parties::run(args),
        Demo::BarrierByHand(args) => barrier_by_hand::run(args),
        Demo::Batch(args) => batch::run(args),
        Demo::Phases(args) => phases::run(args),
        Demo::Game(args) => game::run(args),
        Demo::Restaurant(args) => restaurant::run(args),
        Demo::Unkillable(args) => unkillable::run(args),
    };
    if outcome.is_err() {
        // Those that still run may be waiting for what will not happen any more.
        procession::end_children(GRACE);
    }
    outcome
}

/// The check at the end of a demo.
fn must_hold(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Wrong(format!("this must not happen: {otherwise}"))) }
}
