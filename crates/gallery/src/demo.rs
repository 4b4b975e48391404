//! The list of the demos: one file each, written against what any program can use.

use clap::Subcommand;
use procession_terminal::exit::Failure;

/// Says once what is in the gallery, in the order in which it is shown: the file of each demo, its type, and the
/// name of its subcommand. What a demo shows is the doc of its `Args`. Where a fourth thing is said, the demo goes
/// on when a worker is killed, and that is how.
///
/// `cargo fmt` does not find files that a macro names: `make lint` and `make fmt` name them themselves.
macro_rules! gallery {
    ($($file:ident: $Demo:ident, $name:tt $(, $survives:literal)?;)*) => {
        $(mod $file;)*

        /// One demo and its arguments.
        #[derive(Debug, Subcommand)]
        pub(crate) enum Demo {
            $(#[command(name = $name, after_help = help!($name $(, $survives)?))] $Demo($file::Args),)*
        }

        impl Demo {
            pub(crate) fn run(&self) -> Result<(), Failure> {
                match self { $(Self::$Demo(args) => $file::run(args),)* }
            }

            /// Whether the demo of this name goes on when a worker is killed.
            pub(crate) fn survives_kills(name: &str) -> bool {
                match name {
                    $($name => survival!($($survives)?).is_some(),)*
                    _ => false,
                }
            }
        }
    };
}

/// What is said of killed workers.
macro_rules! survival {
    () => {
        None::<&str>
    };
    ($survives:literal) => {
        Some($survives)
    };
}

/// What stands at the end of a demo's help.
macro_rules! help {
    ("word-count", $survives:literal) => {
        concat!(
            "Examples:\n  procession demo word-count --top 5 src\n  procession demo word-count --json . | jq .words\n\n",
            "Kill a worker (kill -9): ", $survives, ".\n\n",
            "Exit codes: 0 counted; 1 a file could not be read, or was left out; 2 wrong\n\
             usage; 130 after Ctrl-C."
        )
    };
    ("producer-consumer") => {
        help!(@ "producer-consumer", "another takes the place of a consumer, and its\n\
            item; of a producer the demo says who that was, and ends")
    };
    ($name:tt, $survives:literal) => { help!(@ $name, $survives) };
    ($name:tt) => { help!(@ $name, "the demo says who that was, and ends") };
    (@ $name:tt, $killed:literal) => {
        concat!(
            "Examples:\n  procession demo ", $name, "\n  procession demo ", $name, " --quick\n\n",
            "Kill a worker (kill -9): ", $killed, ".\n\n",
            "Exit codes: 0 the result is as it must be; 1 it is wrong; 2 wrong usage; 130\nafter Ctrl-C."
        )
    };
}

gallery! {
    unkillable: Unkillable, "unkillable", "another takes its place, and all goes on";
    pipeline: Pipeline, "pipeline", "another takes its place, and no item is lost";
    process: Process, "process", "it is started again";
    pipe: Pipe, "pipe";
    relay_pipes: RelayPipes, "relay-pipes";
    queue: Queue, "queue";
    pool_map: PoolMap, "pool-map", "its number is tried again, by another";
    word_count: WordCount, "word-count", "its file is tried again, by another";
    semaphore_value: SemaphoreValue, "semaphore-value";
    event_states: EventStates, "event-states";
    rlock: Rlock, "rlock";
    value_lock: ValueLock, "value-lock";
    downloads: Downloads, "downloads";
    bounded_semaphore: BoundedSemaphore, "bounded-semaphore";
    mutex_vs_semaphore: MutexVsSemaphore, "mutex-vs-semaphore";
    chained_semaphores: ChainedSemaphores, "chained-semaphores";
    lock_order: LockOrder, "lock-order";
    race_start: RaceStart, "race-start";
    relay: Relay, "relay";
    ask_user: AskUser, "ask-user";
    orchestrator: Orchestrator, "orchestrator";
    race_counter: RaceCounter, "race-counter";
    deposits: Deposits, "deposits";
    clinic: Clinic, "clinic";
    bounded_buffer: BoundedBuffer, "bounded-buffer", "another goes on where it stopped";
    blocking_queue: BlockingQueue, "blocking-queue";
    topics: Topics, "topics";
    producer_consumer: ProducerConsumer, "producer-consumer";
    work_and_shutdown: WorkAndShutdown, "work-and-shutdown";
    barrier: Barrier, "barrier";
    group_photo: GroupPhoto, "group-photo";
    barrier_timeout: BarrierTimeout, "barrier-timeout";
    barrier_states: BarrierStates, "barrier-states";
    mismatched_parties: MismatchedParties, "mismatched-parties";
    barrier_by_hand: BarrierByHand, "barrier-by-hand";
    batch: Batch, "batch";
    phases: Phases, "phases";
    game: Game, "game";
    restaurant: Restaurant, "restaurant";
}
