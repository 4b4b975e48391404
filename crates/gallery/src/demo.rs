//! The list of the demos: one file each, written against what any program can use.

use clap::Subcommand;
use procession_terminal::exit::Failure;

/// Says once what is in the gallery, in the order in which it is shown: the file of each demo, and the name
/// that its subcommand is made of. What a demo shows is the doc of its `Args`.
///
/// `cargo fmt` does not find files that a macro names: `make lint` and `make fmt` name them themselves.
macro_rules! gallery {
    ($($file:ident: $Demo:ident,)*) => {
        $(mod $file;)*

        /// One demo and its arguments.
        #[derive(Debug, Subcommand)]
        pub(crate) enum Demo { $($Demo($file::Args),)* }

        impl Demo {
            pub(crate) fn run(&self) -> Result<(), Failure> {
                match self { $(Self::$Demo(args) => $file::run(args),)* }
            }
        }
    };
}

gallery! {
    process: Process,
    pipe: Pipe,
    queue: Queue,
    pool_map: PoolMap,
    word_count: WordCount,
    semaphore_value: SemaphoreValue,
    event_states: EventStates,
    rlock: Rlock,
    value_lock: ValueLock,
    downloads: Downloads,
    bounded_semaphore: BoundedSemaphore,
    mutex_vs_semaphore: MutexVsSemaphore,
    chained_semaphores: ChainedSemaphores,
    lock_order: LockOrder,
    race_start: RaceStart,
    relay: Relay,
    ask_user: AskUser,
    orchestrator: Orchestrator,
    race_counter: RaceCounter,
    deposits: Deposits,
    clinic: Clinic,
    bounded_buffer: BoundedBuffer,
    blocking_queue: BlockingQueue,
    topics: Topics,
    producer_consumer: ProducerConsumer,
    work_and_shutdown: WorkAndShutdown,
    barrier: Barrier,
    group_photo: GroupPhoto,
    barrier_timeout: BarrierTimeout,
    barrier_states: BarrierStates,
    mismatched_parties: MismatchedParties,
    barrier_by_hand: BarrierByHand,
    batch: Batch,
    phases: Phases,
    game: Game,
    restaurant: Restaurant,
    unkillable: Unkillable,
}
