//! Every case, with the target that it has to meet.

use crate::case::Unit::{MessagesPerSecond, Micros, Millis, Nanos, NanosEach, PercentOfACore};
use crate::case::{Case, Setup, Unit, constant};
use crate::lock::{ProcessLock, contended, uncontended};
use crate::meeting::{asleep, round_trip};
use crate::ours::barrier::Barrier;
use crate::ours::condition::Turns;
use crate::ours::crowded::{self, Part};
use crate::ours::event::Events;
use crate::ours::pipe::Pipes;
use crate::ours::recovery as scenes;
use crate::ours::rwlock::Reading;
use crate::ours::semaphore::Semaphore;
use crate::pool::{self, Order};
use crate::recovery::recovery;
use crate::rival::futex::RawFutex;
use crate::rival::posix_semaphore::PosixSemaphore;
use crate::rival::pthread::RobustMutex;
use crate::rival::std_mutex::StdMutex;
use crate::rival::std_rwlock::StdReading;
use crate::rival::{
    boost, cache_line, iceoryx2, ipc_channel, memcpy, processes, procspawn, python, python::Python, threads,
};
use crate::sample::Summary::{Max, Median, P99};
use crate::{cluster, commands, fairness, ours, queue, start, waiters};

const ROBUST: &str = "pthread robust mutex";
const FUTEX: &str = "raw futex";

/// Messages of so many bytes that are read where they lie.
macro_rules! in_place {
    ($name:literal, $bytes:expr) => {
        Case {
            name: $name,
            unit: MessagesPerSecond,
            summary: Median,
            ours: |plan| queue::throughput(plan, &ours::bytes::SLOTS.of_bytes($bytes), 1, 1),
            rival_name: "iceoryx2 loans",
            rival: |plan| queue::throughput(plan, &iceoryx2::LOANS.of_bytes($bytes), 1, 1),
            at_least: 1.0,
        }
    };
}

/// Vectors of so many bytes, which are larger than their queue.
macro_rules! spilled {
    ($name:literal, $bytes:expr) => {
        Case {
            name: $name,
            unit: MessagesPerSecond,
            summary: Median,
            ours: |plan| queue::throughput(plan, &ours::bytes::VECS.of_bytes($bytes), 1, 1),
            rival_name: "memcpy",
            rival: |plan| memcpy::copies(plan, $bytes),
            at_least: 0.03,
        }
    };
}

/// Bytes through a pipe as it is made when nothing is said of its size, and through one that stays in its small
/// ring.
macro_rules! beside_small_ring {
    ($name:literal, $bytes:expr, $at_least:literal) => {
        Case {
            name: $name,
            unit: MessagesPerSecond,
            summary: Median,
            ours: |plan| queue::throughput(plan, &ours::pipe::BYTES.of_bytes($bytes), 1, 1),
            rival_name: "small ring only",
            rival: |plan| queue::throughput(plan, &ours::pipe::SMALL.of_bytes($bytes), 1, 1),
            at_least: $at_least,
        }
    };
}

/// A mebibyte through the codec, element by element, against so many bytes a second.
macro_rules! one_by_one {
    ($name:literal, $ours:path, $bound:literal, $rate:literal) => {
        Case {
            name: $name,
            unit: MessagesPerSecond,
            summary: Median,
            ours: |plan| $ours(plan),
            rival_name: $bound,
            rival: |_| Ok(constant($rate / ours::pipe::MEBIBYTE as f64)),
            at_least: 1.0,
        }
    };
}

/// All rows, in the order of the table.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    LIBRARY.iter().chain(commands::ALL).chain(cluster::ALL)
}

static LIBRARY: &[Case] = &[
    Case {
        name: "lock/uncontended",
        unit: NanosEach,
        summary: Median,
        ours: |plan| uncontended(plan, ours::lock::Lock::create(plan.session, "uncontended")?),
        rival_name: "std::sync::Mutex",
        rival: |plan| uncontended(plan, StdMutex::default()),
        at_least: 1.1,
    },
    Case {
        name: "lock/uncontended-robust",
        unit: NanosEach,
        summary: Median,
        ours: |plan| uncontended(plan, ours::lock::Lock::create(plan.session, "uncontended-robust")?),
        rival_name: ROBUST,
        rival: |plan| uncontended(plan, RobustMutex::create(plan.session, "uncontended-robust")?),
        at_least: 1.4,
    },
    Case {
        name: "lock/contended-2",
        unit: NanosEach,
        summary: Median,
        ours: |plan| contended::<ours::lock::Lock>(plan, 2),
        rival_name: ROBUST,
        rival: |plan| contended::<RobustMutex>(plan, 2),
        at_least: 1.5,
    },
    Case {
        name: "lock/contended-4",
        unit: NanosEach,
        summary: Median,
        ours: |plan| contended::<ours::lock::Lock>(plan, 4),
        rival_name: ROBUST,
        rival: |plan| contended::<RobustMutex>(plan, 4),
        at_least: 1.2,
    },
    Case {
        name: "lock/contended-8",
        unit: NanosEach,
        summary: Median,
        ours: |plan| contended::<ours::lock::Lock>(plan, 8),
        rival_name: ROBUST,
        rival: |plan| contended::<RobustMutex>(plan, 8),
        at_least: 1.0,
    },
    Case {
        name: "lock/fairness-max-wait-ms",
        unit: Millis,
        summary: Max,
        ours: |plan| fairness::beside_a_hog::<ours::lock::Lock>(plan, "ours/hog"),
        rival_name: "bound of 100 ms",
        rival: |_| Ok(constant(100.0)),
        at_least: 1.0,
    },
    Case {
        name: "waiters/1000-on-one-word",
        unit: PercentOfACore,
        summary: Median,
        ours: |plan| {
            plan.remark(ours::sizes::sizes(plan.session)?);
            waiters::crowd(plan, 1_000)
        },
        rival_name: "bound of 1 %",
        rival: |_| Ok(constant(1.0)),
        at_least: 1.0,
    },
    Case {
        name: "rwlock/read-uncontended",
        unit: NanosEach,
        summary: Median,
        ours: |plan| uncontended(plan, Reading::create(plan.session, "read-uncontended")?),
        rival_name: "std::sync::RwLock",
        rival: |plan| uncontended(plan, StdReading::default()),
        at_least: 0.7,
    },
    Case {
        name: "rwlock/read-2",
        unit: NanosEach,
        summary: Median,
        ours: |plan| contended::<Reading>(plan, 2),
        rival_name: "one reading process",
        rival: |plan| contended::<Reading>(plan, 1),
        at_least: 1.6,
    },
    Case {
        name: "semaphore/uncontended",
        unit: NanosEach,
        summary: Median,
        ours: |plan| uncontended(plan, Semaphore::create(plan.session, "uncontended")?),
        rival_name: "POSIX semaphore",
        rival: |plan| uncontended(plan, PosixSemaphore::create()?),
        at_least: 0.7,
    },
    Case {
        name: "event/is_set",
        unit: NanosEach,
        summary: Median,
        ours: |plan| ours::event::is_set(plan),
        rival_name: "bound of 10 ns",
        rival: |_| Ok(constant(10.0)),
        at_least: 1.0,
    },
    Case {
        name: "event/round-trip",
        unit: Nanos,
        summary: Median,
        ours: |plan| round_trip::<Events>(plan),
        rival_name: "Python Event",
        rival: |plan| python::round_trip(plan, "event"),
        at_least: 10.0,
    },
    Case {
        name: "event/round-trip-asleep",
        unit: Nanos,
        summary: Median,
        ours: |plan| asleep::<Events>(plan),
        rival_name: FUTEX,
        rival: |plan| asleep::<RawFutex>(plan),
        at_least: 0.8,
    },
    Case {
        name: "condition/round-trip",
        unit: Nanos,
        summary: Median,
        ours: |plan| round_trip::<Turns>(plan),
        rival_name: "std Condvar, threads",
        rival: |plan| threads::condvar(plan),
        at_least: 0.5,
    },
    Case {
        name: "barrier/two",
        unit: Nanos,
        summary: Median,
        ours: |plan| round_trip::<Barrier>(plan),
        rival_name: "Python Barrier",
        rival: |plan| python::round_trip(plan, "barrier"),
        at_least: 10.0,
    },
    Case {
        name: "barrier/two-asleep",
        unit: Nanos,
        summary: Median,
        ours: |plan| asleep::<Barrier>(plan),
        rival_name: FUTEX,
        rival: |plan| asleep::<RawFutex>(plan),
        at_least: 0.8,
    },
    Case {
        name: "value/get-64B",
        unit: NanosEach,
        summary: Median,
        ours: |plan| ours::value::get(plan),
        rival_name: "bound of 10 ns",
        rival: |_| Ok(constant(10.0)),
        at_least: 1.0,
    },
    Case {
        name: "value/update-64B",
        unit: NanosEach,
        summary: Median,
        ours: |plan| ours::value::update(plan),
        rival_name: "our Lock",
        rival: |plan| uncontended(plan, ours::lock::Lock::create(plan.session, "update")?),
        at_least: 0.45,
    },
    Case {
        name: "map/get",
        unit: NanosEach,
        summary: Median,
        ours: |plan| ours::map::get(plan),
        rival_name: "Python Manager().dict()",
        rival: |plan| python::map(plan, "get"),
        at_least: 200.0,
    },
    Case {
        name: "map/insert",
        unit: NanosEach,
        summary: Median,
        ours: |plan| ours::map::insert(plan),
        rival_name: "Python Manager().dict()",
        rival: |plan| python::map(plan, "insert"),
        at_least: 100.0,
    },
    recovered("lock/recovery-p99-ms", |plan| recovery::<scenes::Locked>(plan)),
    recovered("rlock/recovery-p99-ms", |plan| recovery::<scenes::LockedTwice>(plan)),
    recovered("rwlock-write/recovery-p99-ms", |plan| recovery::<scenes::Written>(plan)),
    recovered("rwlock-read/recovery-p99-ms", |plan| recovery::<scenes::Read>(plan)),
    recovered("semaphore/recovery-p99-ms", |plan| recovery::<scenes::Permitted>(plan)),
    recovered("condition/recovery-p99-ms", |plan| recovery::<scenes::Signaled>(plan)),
    recovered("barrier/recovery-p99-ms", |plan| recovery::<scenes::Joined>(plan)),
    recovered("value/recovery-p99-ms", |plan| recovery::<scenes::Building>(plan)),
    recovered("array/recovery-p99-ms", |plan| recovery::<scenes::Logging>(plan)),
    recovered("once/recovery-p99-ms", |plan| recovery::<scenes::Running>(plan)),
    recovered("joinable/redelivery-p99-ms", |plan| recovery::<scenes::Leased>(plan)),
    recovered("pipe/peer-died-p99-ms", |plan| recovery::<scenes::Piped>(plan)),
    Case {
        name: "lock/recovery-p50",
        unit: Millis,
        summary: Median,
        ours: |plan| recovery::<scenes::Locked>(plan),
        rival_name: ROBUST,
        rival: |plan| recovery::<RobustMutex>(plan),
        at_least: 0.3,
    },
    one_to_one("Boost message_queue", |plan| queue::throughput(plan, &boost::BOOST, 1, 1), 2.0),
    one_to_one("ipc-channel", |plan| queue::throughput(plan, &ipc_channel::IPC_CHANNEL, 1, 1), 8.0),
    one_to_one("iceoryx2", |plan| queue::throughput(plan, &iceoryx2::ICEORYX2, 1, 1), 5.0),
    one_to_one("Python Queue", |plan| python::queue(plan), 30.0),
    Case {
        name: "queue/u64-1-1-batch64",
        unit: MessagesPerSecond,
        summary: Median,
        ours: |plan| queue::throughput(plan, &ours::queue::BATCHES, 1, 1),
        rival_name: "crossbeam threads",
        rival: |plan| threads::crossbeam(plan),
        at_least: 0.7,
    },
    crowded("queue/u64-4-4", |plan| queue::throughput(plan, &ours::queue::OURS, 4, 4)),
    crowded("queue/u64-16-16", |plan| queue::throughput(plan, &ours::queue::OURS, 16, 16)),
    Case {
        name: "queue/round-trip",
        unit: Nanos,
        summary: Median,
        ours: |plan| queue::round_trip(plan, &ours::queue::OURS),
        rival_name: "ipc-channel",
        rival: |plan| queue::round_trip(plan, &ipc_channel::IPC_CHANNEL),
        at_least: 3.0,
    },
    piped("crossbeam threads", |plan| threads::crossbeam(plan), 0.33),
    piped("rtrb threads", |plan| threads::rtrb(plan), 0.33),
    Case {
        name: "pipe/round-trip-awake",
        unit: Nanos,
        summary: Median,
        ours: |plan| queue::round_trip(plan, &ours::pipe::BOTH_WAYS),
        rival_name: "bare cache lines",
        rival: |plan| queue::round_trip(plan, &cache_line::CACHE_LINE),
        at_least: 0.4,
    },
    Case {
        name: "pipe/round-trip-asleep",
        unit: Nanos,
        summary: Median,
        ours: |plan| asleep::<Pipes>(plan),
        rival_name: FUTEX,
        rival: |plan| asleep::<RawFutex>(plan),
        at_least: 0.8,
    },
    Case {
        name: "pipe/bytes-1MiB",
        unit: MessagesPerSecond,
        summary: Median,
        ours: |plan| queue::throughput(plan, &ours::pipe::BYTES, 1, 1),
        rival_name: "ipc-channel bytes",
        rival: |plan| queue::throughput(plan, &ipc_channel::BYTES, 1, 1),
        at_least: 3.0,
    },
    Case {
        name: "pipe/bytes-1MiB",
        unit: MessagesPerSecond,
        summary: Median,
        ours: |plan| {
            let mut vecs = queue::throughput(plan, &ours::pipe::VECS, 1, 1)?;
            let vecs = Median.of(&mut vecs()?)?;
            plan.remark(format!("the same as a Vec<u8> through serde: {vecs:.0} msg/s"));
            queue::throughput(plan, &ours::pipe::BYTES, 1, 1)
        },
        rival_name: "memcpy",
        rival: |plan| memcpy::mebibytes(plan),
        at_least: 0.5,
    },
    beside_small_ring!("pipe/bytes-256B", 256, 0.9),
    beside_small_ring!("pipe/bytes-4KiB", 4 << 10, 1.5),
    beside_small_ring!("pipe/bytes-16KiB", 16 << 10, 1.5),
    beside_small_ring!("pipe/bytes-64KiB", 64 << 10, 1.2),
    Case {
        name: "queue/vec-1MiB",
        unit: MessagesPerSecond,
        summary: Median,
        ours: |plan| queue::throughput(plan, &ours::bytes::VECS.of_bytes(1 << 20), 1, 1),
        rival_name: "Python Queue, bytes",
        rival: |plan| python::put_get(plan, "queue", Some(1 << 20)),
        at_least: 3.0,
    },
    spilled!("queue/vec-4MiB", 4 << 20),
    spilled!("queue/vec-64MiB", 64 << 20),
    in_place!("queue/slot-1MiB", 1 << 20),
    in_place!("queue/slot-64MiB", 64 << 20),
    mebibytes("codec/encode-vec-u8", |plan| ours::codec::encode_vec(plan), 0.3),
    mebibytes("codec/decode-vec-u8", |plan| ours::codec::decode_vec(plan), 0.3),
    mebibytes("codec/encode-struct-with-vec", |plan| ours::codec::encode_struct(plan), 0.1),
    mebibytes("codec/decode-struct-with-vec", |plan| ours::codec::decode_struct(plan), 0.1),
    one_by_one!("codec/encode-one-by-one", ours::codec::encode_one_by_one, "3 GB/s", 3e9),
    one_by_one!("codec/decode-one-by-one", ours::codec::decode_one_by_one, "1.5 GB/s", 1.5e9),
    one_by_one!("codec/encode-pairs", ours::codec::encode_pairs, "0.5 GB/s", 0.5e9),
    one_by_one!("codec/decode-pairs", ours::codec::decode_pairs, "0.5 GB/s", 0.5e9),
    beside_files(
        "shm/register-200k-files",
        |plan| crowded::beside_files(plan, 200_000, Part::Register),
        |plan| crowded::beside_files(plan, 0, Part::Register),
    ),
    beside_files(
        "shm/leave-200k-files",
        |plan| crowded::beside_files(plan, 200_000, Part::Leave),
        |plan| crowded::beside_files(plan, 0, Part::Leave),
    ),
    Case {
        name: "demo/pipe-1e6",
        unit: Millis,
        summary: Median,
        ours: |plan| ours::pipe::demo(plan, 1_000_000),
        rival_name: "Python Pipe",
        rival: |_| python::pipe(1_000_000),
        at_least: 40.0,
    },
    Case {
        name: "process/start-join-forkserver",
        unit: Micros,
        summary: Median,
        ours: |plan| start::each(plan, ours::process::forkserver),
        rival_name: "Python's forkserver",
        rival: |_| python::forkserver(),
        at_least: 20.0,
    },
    Case {
        name: "process/start-join-forkserver-raw",
        unit: Micros,
        summary: Median,
        ours: |plan| start::each(plan, ours::process::forkserver),
        rival_name: "fork + wait",
        rival: |plan| start::each(plan, processes::fork),
        at_least: 0.33,
    },
    spawned("posix_spawn of /bin/true", |plan| start::each(plan, processes::spawn_true), 0.6),
    spawned("procspawn", |plan| start::each(plan, procspawn::spawn), 1.0),
    Case {
        name: "process/start-join-fork",
        unit: Micros,
        summary: Median,
        ours: |_| Ok(Box::new(|| ours::process::fork_many(0))),
        rival_name: "fork + wait",
        rival: |plan| start::each(plan, processes::fork),
        at_least: 0.2,
    },
    pooled(
        "pool/create-map-join",
        Millis,
        "Python Pool",
        4.0,
        |_| pool::millis(ours::pool::New, Order::Create, 100),
        |_| pool::millis(Python::new_pool()?, Order::Create, 100),
    ),
    pooled(
        "pool/map-1e6-trivial",
        Millis,
        "Python Pool.map",
        3.0,
        |plan| pool::millis(ours::pool::start(plan.session)?, Order::Map, 1_000_000),
        |_| pool::millis(Python::pool()?, Order::Map, 1_000_000),
    ),
    pooled(
        "pool/map-chunk-1",
        Millis,
        "Python Pool.map",
        8.0,
        |plan| pool::millis(ours::pool::start(plan.session)?, Order::MapChunk1, 20_000),
        |_| pool::millis(Python::pool()?, Order::MapChunk1, 20_000),
    ),
    pooled(
        "pool/imap-unordered-chunk-1",
        Millis,
        "Python Pool.imap_unordered",
        10.0,
        |plan| pool::millis(ours::pool::start(plan.session)?, Order::ImapChunk1, 20_000),
        |_| pool::millis(Python::pool()?, Order::ImapChunk1, 20_000),
    ),
    pooled(
        "pool/map-64x1MiB",
        Millis,
        "Python Pool.map of bytes",
        1.5,
        |plan| pool::millis(ours::pool::start(plan.session)?, Order::Bytes, 64),
        |_| pool::millis(Python::pool()?, Order::Bytes, 64),
    ),
    pooled(
        "pool/apply",
        Micros,
        "Python Pool.apply",
        50.0,
        |plan| pool::apply(plan, ours::pool::start(plan.session)?),
        |plan| pool::apply(plan, Python::pool()?),
    ),
    pooled(
        "pool/sum-square",
        Millis,
        "one item after the other",
        1.9,
        |plan| pool::millis(ours::pool::start(plan.session)?, Order::SumSquare, SQUARES),
        |_| pool::millis(pool::Serial, Order::SumSquare, SQUARES),
    ),
    pooled(
        "executor/submit-1e4",
        Millis,
        "Python ProcessPoolExecutor",
        20.0,
        |plan| pool::millis(ours::pool::executor(plan.session)?, Order::Submit, 10_000),
        |_| pool::millis(Python::executor()?, Order::Submit, 10_000),
    ),
];

/// As many sums of squares as take two seconds or more.
const SQUARES: u64 = 100;

const fn pooled(
    name: &'static str,
    unit: Unit,
    rival_name: &'static str,
    at_least: f64,
    ours: Setup,
    rival: Setup,
) -> Case {
    Case { name, unit, summary: Median, ours, rival_name, rival, at_least }
}

/// A process that executes this program anew, and does nothing.
const fn spawned(rival_name: &'static str, rival: Setup, at_least: f64) -> Case {
    let ours: Setup = |plan| start::each(plan, ours::process::spawn);
    Case {
        name: "process/start-join-spawn",
        unit: Micros,
        summary: Median,
        ours,
        rival_name,
        rival,
        at_least,
    }
}

/// A mebibyte through the codec.
const fn mebibytes(name: &'static str, ours: Setup, at_least: f64) -> Case {
    let rival: Setup = |plan| memcpy::mebibytes(plan);
    Case { name, unit: MessagesPerSecond, summary: Median, ours, rival_name: "memcpy", rival, at_least }
}

/// What a process does beside many files of others.
const fn beside_files(name: &'static str, ours: Setup, rival: Setup) -> Case {
    Case { name, unit: Micros, summary: Median, ours, rival_name: "no files of others", rival, at_least: 0.5 }
}

/// What the kernel takes to end a process and to wake two threads, and the machine is not idle.
const RECOVERY_BOUND_MS: f64 = 2.0;

const fn recovered(name: &'static str, ours: Setup) -> Case {
    Case {
        name,
        unit: Millis,
        summary: P99,
        ours,
        rival_name: "bound of 2 ms",
        rival: |_| Ok(constant(RECOVERY_BOUND_MS)),
        at_least: 1.0,
    }
}

/// One producer and one consumer of numbers, against somebody.
const fn one_to_one(rival_name: &'static str, rival: Setup, at_least: f64) -> Case {
    Case {
        name: "queue/u64-1-1",
        unit: MessagesPerSecond,
        summary: Median,
        ours: |plan| queue::throughput(plan, &ours::queue::OURS, 1, 1),
        rival_name,
        rival,
        at_least,
    }
}

/// Numbers through a pipe, against threads.
const fn piped(rival_name: &'static str, rival: Setup, at_least: f64) -> Case {
    let ours: Setup = |plan| queue::throughput(plan, &ours::pipe::NUMBERS, 1, 1);
    Case {
        name: "pipe/u64-one-way",
        unit: MessagesPerSecond,
        summary: Median,
        ours,
        rival_name,
        rival,
        at_least,
    }
}

/// More producers and consumers than processors, against one of each.
const fn crowded(name: &'static str, ours: Setup) -> Case {
    Case {
        name,
        unit: MessagesPerSecond,
        summary: Median,
        ours,
        rival_name: "ours, 1 to 1",
        rival: |plan| queue::throughput(plan, &ours::queue::OURS, 1, 1),
        at_least: 0.5,
    }
}
