//! Every chart with its curves.

use super::{At, Better, Chart, Scale, Series, Whose};
use crate::case::Side;
use crate::lock::contended;
use crate::ours::{bytes, lock::Lock, objects, pipe, process, rwlock, semaphore::Semaphore};
use crate::pool::{Serial, speedup};
use crate::queue::{Kind, throughput};
use crate::rival::python::{self, Python};
use crate::rival::{iceoryx2, ipc_channel, memcpy, processes, pthread::RobustMutex};
use crate::{ours, start, waiters};
use std::hint::black_box;

pub(super) static ALL: &[Chart] = &[MESSAGE_SIZE, PROCESSES, SLEEPERS, OBJECTS, POOL, START];

const fn ours(name: &'static str, setup: At) -> Series {
    Series { name, whose: Whose::Ours, setup, from: 0, to: u64::MAX }
}

const fn rival(name: &'static str, against: &'static [&'static str], setup: At) -> Series {
    Series { name, whose: Whose::Rival(against), setup, from: 0, to: u64::MAX }
}

const fn bound(name: &'static str, setup: At) -> Series {
    Series { name, whose: Whose::Bound, setup, from: 0, to: u64::MAX }
}

const MIB: u64 = 1 << 20;

/// A kind of queue with messages of so many bytes; megabytes per second.
macro_rules! of_size {
    ($kind:path) => {
        |plan, bytes| {
            let kind: Kind = $kind.of_bytes(bytes as usize);
            Ok(megabytes(throughput(plan, &kind, 1, 1)?, bytes))
        }
    };
}

const COPIES: &[&str] = &["queue", "pipe", "slots"];

const MESSAGE_SIZE: Chart = Chart {
    name: "message-size",
    title: "Size of a message",
    text: "One process sends, another receives, one message at a time. `queue` is a queue of bytes as it is \
        made when nothing is said of its size, so that a message of more than 256 KiB goes through a file of \
        its own; `slots` writes into the ring of a queue with room for four messages, and reads in place; \
        `pipe` is `send_bytes` and `recv_bytes_into`. iceoryx2 lends memory and reads in place. `memcpy` is \
        one copy within one process: who copies in and out reaches half of it at the most.",
    x: "bytes of a message",
    scale: Scale::Bytes,
    y: "MB/s",
    is_y_logarithmic: true,
    better: Better::More,
    points: &[8, 64, 512, 4 << 10, 16 << 10, 64 << 10, 256 << 10, MIB, 4 * MIB, 16 * MIB, 64 * MIB],
    quick: &[8, 512, 16 << 10, 256 << 10, 4 * MIB, 64 * MIB],
    series: &[
        ours("queue", of_size!(bytes::COPIED)),
        ours("pipe", of_size!(pipe::BYTES)),
        ours("slots", of_size!(bytes::SLOTS)),
        rival("iceoryx2", COPIES, of_size!(iceoryx2::LOANS)),
        rival("ipc-channel", COPIES, of_size!(ipc_channel::BYTES)),
        rival("Python Queue", COPIES, |plan, bytes| {
            Ok(megabytes(python::put_get(plan, "queue", Some(bytes))?, bytes))
        }),
        rival("Python Pipe", COPIES, |plan, bytes| {
            Ok(megabytes(python::put_get(plan, "pipe", Some(bytes))?, bytes))
        }),
        bound("memcpy", |plan, bytes| Ok(megabytes(memcpy::copies(plan, bytes as usize)?, bytes))),
    ],
};

const PROCESSES: Chart = Chart {
    name: "processes",
    title: "Number of processes",
    text: "As many processes pass through one lock as fast as they can (`lock`, a semaphore of one permit, a \
        lock for writers, a lock for readers), or half of them put into one queue of numbers and half of them \
        get. The figure is the time from one pass, or message, of anybody to the next.",
    x: "processes",
    scale: Scale::Count,
    y: "ns",
    is_y_logarithmic: true,
    better: Better::Less,
    points: &[1, 2, 4, 8, 16, 32, 64],
    quick: &[1, 2, 8, 64],
    series: &[
        ours("lock", |plan, count| contended::<Lock>(plan, count as usize)),
        ours("semaphore", |plan, count| contended::<Semaphore>(plan, count as usize)),
        ours("rwlock, write", |plan, count| contended::<rwlock::Writing>(plan, count as usize)),
        ours("rwlock, read", |plan, count| contended::<rwlock::Reading>(plan, count as usize)),
        Series {
            name: "queue",
            whose: Whose::Ours,
            setup: |plan, count| {
                let line = throughput(plan, &ours::queue::OURS, count / 2, count / 2)?;
                Ok(each(line, |per_second| 1e9 / per_second))
            },
            from: 2,
            to: u64::MAX,
        },
        rival("pthread robust mutex", &["lock"], |plan, count| {
            contended::<RobustMutex>(plan, count as usize)
        }),
    ],
};

const SLEEPERS: Chart = Chart {
    name: "sleepers",
    title: "Number of sleepers",
    text: "So many threads, ten in a process, sleep on one lock whose holder lives and does not let go. The \
        figure is the CPU time that all of them use to look whether the holder still lives. Threads that \
        sleep on a mutex of pthread use none: the kernel tells one of them of a death.",
    x: "sleepers",
    scale: Scale::Count,
    y: "% of one CPU",
    is_y_logarithmic: false,
    better: Better::Less,
    points: &[1, 10, 100, 1_000],
    quick: &[1, 1_000],
    series: &[ours("lock", waiters::crowd)],
};

const OBJECTS: Chart = Chart {
    name: "objects",
    title: "Number of objects",
    text: "A namespace has so many locks. `open` opens one of them by its name, `ls` lists all, `gc` looks for \
        garbage among them and finds none.",
    x: "objects",
    scale: Scale::Count,
    y: "us",
    is_y_logarithmic: true,
    better: Better::Less,
    points: &[1, 10, 100, 1_000, 10_000, 100_000],
    quick: &[1, 100, 10_000],
    series: &[
        ours("open", |_, count| objects::open(count)),
        ours("ls", |_, count| objects::list(count)),
        ours("gc", |_, count| objects::collect(count)),
    ],
};

/// Our pool, with a number of items.
macro_rules! pool_of {
    ($items:literal) => {
        |plan, micros| speedup(ours::pool::start(plan.session)?, $items, micros * 1_000)
    };
}

const POOL: Chart = Chart {
    name: "pool",
    title: "When a pool is worth it",
    text: "One `map` over so many items, each of which takes so much CPU time. The figure is how many times as \
        fast that is as the same items one after the other: above 1 the pool is worth it, and as many times \
        as there are CPUs is the most. The pool has a worker for each CPU and is there already.",
    x: "time of an item",
    scale: Scale::Micros,
    y: "times as fast as without a pool",
    is_y_logarithmic: true,
    better: Better::More,
    points: &[1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000],
    quick: &[1, 10, 100, 1_000, 10_000],
    series: &[
        ours("2 items", pool_of!(2)),
        ours("10 items", pool_of!(10)),
        Series { to: 10_000, ..ours("100 items", pool_of!(100)) },
        Series { to: 1_000, ..ours("1,000 items", pool_of!(1_000)) },
        rival("Python Pool, 10 items", &["10 items"], |_, micros| {
            speedup(Python::pool()?, 10, micros * 1_000)
        }),
        Series {
            to: 1_000,
            ..rival("Python Pool, 1,000 items", &["1,000 items"], |_, micros| {
                speedup(Python::pool()?, 1_000, micros * 1_000)
            })
        },
        bound("no pool", |_, micros| speedup(Serial, 10, micros * 1_000)),
    ],
};

const START: Chart = Chart {
    name: "start",
    title: "Start methods",
    text: "A process that does nothing is started and joined, by a process that uses so much memory. `fork` \
        copies the page tables of its parent, so that it grows with them; the forkserver and a new program do \
        not. `fork + wait` is the bare system calls, `posix_spawn` starts `/bin/true`. This program is linked \
        statically, as the command is (`-C target-feature=+crt-static -C relocation-model=static`): linked \
        dynamically, it takes half as long again for spawn, and a fifth more for the others.",
    x: "memory of the parent, bytes",
    scale: Scale::Bytes,
    y: "us",
    is_y_logarithmic: true,
    better: Better::Less,
    points: &[MIB, 4 * MIB, 16 * MIB, 64 * MIB, 256 * MIB, 1024 * MIB],
    quick: &[MIB, 16 * MIB, 256 * MIB],
    series: &[
        ours("fork", |_, bytes| Ok(Box::new(move || process::fork_many(bytes as usize)))),
        ours("forkserver", |plan, bytes| Ok(beside(bytes, start::each(plan, process::forkserver)?))),
        ours("spawn", |plan, bytes| Ok(beside(bytes, start::each(plan, process::spawn)?))),
        rival("fork + wait", &["fork", "forkserver"], |plan, bytes| {
            Ok(beside(bytes, start::each(plan, processes::fork)?))
        }),
        rival("posix_spawn", &["spawn"], |plan, bytes| {
            Ok(beside(bytes, start::each(plan, processes::spawn_true)?))
        }),
        rival("Python's forkserver", &["forkserver"], |_, _| python::forkserver()),
    ],
};

/// The same side in another unit.
fn each<'a>(mut side: Side<'a>, convert: impl Fn(f64) -> f64 + 'a) -> Side<'a> {
    Box::new(move || Ok(side()?.into_iter().map(&convert).collect()))
}

/// Messages per second of so many bytes, in megabytes.
fn megabytes(side: Side<'_>, bytes: u64) -> Side<'_> {
    let each_has = crate::sample::as_figure(bytes) / 1e6;
    each(side, move |per_second| per_second * each_has)
}

/// The same side in a process that uses so many bytes more during its rounds.
fn beside(bytes: u64, mut side: Side<'_>) -> Side<'_> {
    Box::new(move || {
        let _ballast = black_box(vec![1_u8; bytes as usize]);
        side()
    })
}
