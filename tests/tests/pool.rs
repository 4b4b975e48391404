//! Pools: results, errors, and workers that are killed.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]

use procession::shm::Kind;
use procession::{Namespace, Pool, PoolError, Queue, TaskError, TaskItem};
use procession_tests::{Watchdog, isolate, raw, until};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

procession::test_support!();

fn square(n: u64) -> u64 {
    n * n
}

fn pool(workers: usize) -> Pool {
    isolate();
    Pool::new(workers).unwrap()
}

/// Kills a worker, unless the pool has already seen another kill of it and reaped it.
fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    match nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(error) => panic!("kill {pid}: {error}"),
    }
}

fn is_gone(pid: u32) -> bool {
    // A zombie has no command line.
    std::fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |line| line.is_empty())
}

#[test]
fn map_returns_results_in_order() {
    let pool = pool(2);
    let results = pool.map(square, 0..10_000).unwrap();
    assert!(results.into_iter().eq((0..10_000).map(square)));
    assert!(pool.map(square, []).unwrap().is_empty());
    assert_eq!(pool.map(|word: String| word.len(), ["a".to_owned(), "bcd".to_owned()]).unwrap(), [1, 3]);
}

#[test]
fn map_with_gives_every_worker_the_state() {
    let state: Vec<u64> = (0..1000).collect();
    let results = pool(2).map_with(&state, |state, index: usize| state[index] + 1, 0..1000_usize).unwrap();
    assert!(results.into_iter().eq(1..=1000));
}

#[test]
fn items_and_results_far_larger_than_the_lanes_get_through() {
    let pool = pool(2);
    let items: Vec<Vec<u8>> = (1..=6_u8).map(|n| vec![n; 3_000_000 + usize::from(n)]).collect();
    let results = pool
        .map(
            |mut bytes: Vec<u8>| {
                bytes.push(0);
                bytes
            },
            items.clone(),
        )
        .unwrap();
    for (item, result) in items.iter().zip(&results) {
        assert!(result.len() == item.len() + 1 && result[..item.len()] == item[..]);
    }
}

#[test]
fn apply_async_results_can_be_asked_for_in_any_order() {
    let pool = pool(2);
    let mut results: Vec<_> = (0..50).map(|n| (n, pool.apply_async(square, n))).collect();
    while let Some((n, mut result)) = results.pop() {
        assert_eq!(result.get().unwrap(), n * n);
    }
}

#[test]
fn a_result_that_is_not_there_yet_times_out_and_comes_later() {
    let pool = pool(1);
    let gate = Queue::<u8>::new().unwrap();
    let mut slow = pool.apply_async(|gate: Queue<u8>| gate.get().unwrap(), gate.clone());
    assert!(!slow.is_ready());
    assert!(matches!(slow.try_get(), Err(TaskError::WouldBlock { .. })));
    assert!(matches!(slow.get_timeout(Duration::from_millis(20)), Err(TaskError::TimedOut { .. })));
    gate.put(&7).unwrap();
    assert_eq!(slow.get_timeout(Duration::from_secs(30)).unwrap(), 7);
}

#[test]
fn imap_unordered_yields_every_index_once_and_takes_no_more_than_its_share() {
    use std::cell::Cell;
    let (pool, taken, returned) = (pool(2), Cell::new(0_usize), Cell::new(0_usize));
    let items = (0..500_u64).inspect(|_| {
        taken.set(taken.get() + 1);
        // One more: the one that is about to be handed out.
        assert!(taken.get() - returned.get() <= 2 * 16 + 1);
    });
    let mut seen = BTreeSet::new();
    for (index, result) in pool.imap_unordered(square, items) {
        returned.set(returned.get() + 1);
        assert_eq!(result.unwrap(), square(index as u64));
        assert!(seen.insert(index));
    }
    assert_eq!(seen.len(), 500);
}

#[test]
fn a_panic_fails_its_item_with_message_and_place_and_the_lowest_index_is_reported() {
    let pool = pool(2);
    let pids: BTreeSet<u32> = pool.workers().into_iter().collect();
    let error = pool.map(|n: u32| if n % 7 == 6 { panic!("no {n}") } else { n }, 0..100_u32).unwrap_err();
    let TaskError::Panicked { item: TaskItem { index: 6, .. }, message, location: Some(location), .. } =
        error
    else {
        panic!("{error:?}")
    };
    assert!(message == "no 6" && location.contains("pool.rs"), "{message} {location}");
    // Panics cost no worker.
    assert_eq!(pool.workers().into_iter().collect::<BTreeSet<_>>(), pids);
    assert_eq!(pool.map(square, [3]).unwrap(), [9]);
}

#[test]
fn a_killed_worker_costs_only_the_item_it_was_running() {
    let pool = pool(2);
    let results: Vec<(usize, Result<u32, TaskError>)> = pool
        .imap_unordered(
            |n: u32| {
                if n == 5 {
                    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
                }
                n
            },
            0..40_u32,
        )
        .collect();
    assert_eq!(results.len(), 40);
    for (index, result) in results {
        match result {
            Ok(n) => assert!(n as usize == index && index != 5),
            Err(TaskError::WorkerDied { signal: 9, item: TaskItem { index: 5, .. }, worker }) => {
                assert!(is_gone(worker.pid()));
            }
            Err(error) => panic!("item {index}: {error:?}"),
        }
    }
    until("the worker is replaced", || pool.workers().len() == 2);
}

#[test]
fn the_rest_of_a_dead_workers_chunk_runs_elsewhere_and_nothing_runs_twice() {
    let (pool, ran) = (pool(2), Queue::<u32>::options().bytes(1 << 20).anonymous().unwrap());
    let run = |ran: &Queue<u32>, n: u32| {
        ran.put(&n).unwrap();
        if n == 3777 {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    };
    let error = pool.map_with(&ran, run, 0..10_000_u32).unwrap_err();
    assert!(
        matches!(error, TaskError::WorkerDied { signal: 9, item: TaskItem { index: 3777, .. }, .. }),
        "{error:?}"
    );
    let mut all: Vec<u32> = std::iter::from_fn(|| ran.try_get().ok()).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..10_000));
}

#[test]
fn retries_are_per_item_and_end() {
    isolate();
    let pool = Pool::options().processes(2).retries(2).start().unwrap();
    let tries = Queue::<u32>::new().unwrap();
    let run = |tries: &Queue<u32>, n: u32| {
        if n == 3 || (n == 8 && tries.is_empty()) {
            tries.put(&n).unwrap();
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        n
    };
    let error = pool.map_with(&tries, run, 0..20_u32).unwrap_err();
    assert!(matches!(error, TaskError::WorkerDied { item: TaskItem { index: 3, .. }, .. }), "{error:?}");
    let tries: Vec<u32> = std::iter::from_fn(|| tries.try_get().ok()).collect();
    assert_eq!(tries.iter().filter(|&&n| n == 3).count(), 3);
    assert_eq!(pool.map(square, 0..10).unwrap().len(), 10);
}

#[test]
fn a_worker_that_exits_is_reported_with_its_code() {
    let error = pool(1).apply(|code: i32| std::process::exit(code), 7).map(|_: ()| ()).unwrap_err();
    assert!(
        matches!(error, TaskError::WorkerExited { code: 7, item: TaskItem { index: 0, .. }, .. }),
        "{error:?}"
    );
}

#[test]
fn idle_workers_may_be_killed_at_any_time() {
    let pool = pool(2);
    for _ in 0..5 {
        let pids = pool.workers();
        pids.iter().copied().for_each(kill);
        until("workers are replaced", || {
            let now = pool.workers();
            now.len() == 2 && now.iter().all(|pid| !pids.contains(pid))
        });
        assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
    }
}

/// Says at its end that something is over.
struct Over<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn workers_killed_at_random_cost_at_most_one_item_each_time() {
    isolate();
    let pool = Pool::options().processes(3).retries(1000).start().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (pool, done) = (&pool, &done);
        // Also when this test fails.
        let over = Over(done);
        let killer = scope.spawn(move || {
            let (mut killed, mut known) = (0, Vec::new());
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let workers = pool.workers();
                // One that was there before: a pool whose workers all die before they are ready is broken,
                // rightly.
                if let Some(&pid) = workers.iter().find(|pid| known.contains(*pid)) {
                    kill(pid);
                    killed += 1;
                }
                known = workers;
                std::thread::sleep(Duration::from_millis(40));
            }
            killed
        });
        let work = |n: u64| (0..n % 2000 * 20).fold(n, |sum, i| sum.wrapping_add(std::hint::black_box(i)));
        let results = pool.map(work, 0..20_000_u64).unwrap();
        drop(over);
        assert!(killer.join().unwrap() > 3);
        assert!(results.into_iter().eq((0..20_000_u64).map(work)));
    });
}

#[test]
fn a_closed_pool_finishes_what_it_has_and_takes_no_more() {
    let mut pool = pool(2);
    assert!(matches!(pool.join(), Err(PoolError::StillOpen)));
    let pids = pool.workers();
    let open: Vec<_> = (0..100).map(|n| pool.apply_async(square, n)).collect();
    pool.close();
    assert!(matches!(pool.apply(square, 1), Err(TaskError::Closed)));
    assert!(matches!(pool.apply_async(square, 1).get(), Err(TaskError::Closed)));
    let refused: Vec<_> = pool.imap_unordered(square, 0..3).collect();
    assert!(refused.iter().map(|(index, _)| *index).eq(0..3));
    assert!(refused.iter().all(|(_, result)| matches!(result, Err(TaskError::Closed))));
    pool.join().unwrap();
    assert!(pids.into_iter().all(is_gone));
    assert!(open.into_iter().map(|mut result| result.get().unwrap()).eq((0..100).map(square)));
}

#[test]
fn terminate_cancels_what_is_open_and_reaps_the_workers() {
    let mut pool = pool(2);
    let (pids, gate) = (pool.workers(), Queue::<u8>::new().unwrap());
    let wait = |gate: Queue<u8>| gate.get().is_ok();
    let open: Vec<_> = (0..10).map(|_| pool.apply_async(wait, gate.clone())).collect();
    pool.terminate();
    for mut result in open {
        assert!(matches!(result.get(), Err(TaskError::Cancelled)));
    }
    pool.join().unwrap();
    assert!(pids.into_iter().all(is_gone));
}

#[test]
fn a_dropped_pool_leaves_no_worker_and_open_results_are_cancelled() {
    let pool = pool(2);
    let (pids, gate) = (pool.workers(), Queue::<u8>::new().unwrap());
    let mut open = pool.apply_async(|gate: Queue<u8>| gate.get().is_ok(), gate.clone());
    drop(pool);
    assert!(pids.into_iter().all(is_gone));
    assert!(matches!(open.get(), Err(TaskError::Cancelled)));
}

#[test]
fn many_threads_may_share_a_pool() {
    let pool = pool(2);
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let pool = &pool;
            scope.spawn(move || {
                for n in 0..50 {
                    assert_eq!(pool.apply(square, thread * 100 + n).unwrap(), square(thread * 100 + n));
                }
                let items = thread * 1000..thread * 1000 + 500;
                assert!(pool.map(square, items.clone()).unwrap().into_iter().eq(items.map(square)));
            });
        }
    });
}

#[test]
fn an_iterator_dropped_half_way_leaves_the_pool_usable() {
    let pool = pool(2);
    let mut results = pool.imap_unordered(square, 0..1_000_000);
    assert!(results.by_ref().take(10).all(|(_, result)| result.is_ok()));
    drop(results);
    assert_eq!(pool.map(square, 0..10).unwrap().len(), 10);
}

#[test]
fn a_panic_in_an_iterator_an_encoder_or_a_decoder_leaves_the_pool_usable() {
    #[derive(serde::Deserialize)]
    struct Hostile(u8);
    impl serde::Serialize for Hostile {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            assert!(self.0 != 1, "while encoding");
            serializer.serialize_u8(self.0)
        }
    }
    struct Unreadable;
    impl serde::Serialize for Unreadable {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_unit()
        }
    }
    impl<'de> serde::Deserialize<'de> for Unreadable {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("while decoding")
        }
    }
    let pool = pool(2);
    let items = (0..10_u64).map(|n| if n == 5 { panic!("while iterating") } else { n });
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.map(square, items)));
    assert!(caught.is_err());
    let items = || [Hostile(0), Hostile(1)];
    let map = || pool.map(|item: Hostile| item.0, items());
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(map)).is_err());
    let error = pool.apply(|_: Unreadable| 1, Unreadable).unwrap_err();
    assert!(
        matches!(&error, TaskError::Panicked { message, .. } if message == "while decoding"),
        "{error:?}"
    );
    assert_eq!(pool.map(square, 0..10).unwrap().len(), 10);
}

#[test]
fn a_pool_of_no_workers_is_refused() {
    assert!(matches!(Pool::new(0), Err(PoolError::NoWorkers)));
}

#[test]
fn asking_whether_a_result_is_ready_takes_nobody_elses_wake() {
    let (pool, done) = (pool(2), std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (pool, done) = (&pool, &done);
        let gate = Queue::<u8>::new().unwrap();
        let mut waiting = pool.apply_async(|gate: Queue<u8>| gate.get().is_ok(), gate.clone());
        scope.spawn(move || {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                assert!(!waiting.is_ready());
            }
            gate.put(&1).unwrap();
            assert!(waiting.get().unwrap());
        });
        // Long enough for the caller to sleep, short enough for many rounds.
        let nap = |us: u64| std::thread::sleep(Duration::from_micros(us));
        (0..300).for_each(|round| pool.apply(nap, 60 + round).unwrap());
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_pool_closed_under_an_iterator_still_takes_the_iterators_items() {
    let mut pool = pool(2);
    let results = {
        let mut results = pool.imap_unordered(square, 0..100);
        let first = results.next().unwrap();
        // The oldest job is served first: when this is done, what the iterator gave is.
        assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
        pool.close();
        std::iter::once(first).chain(results).map(|(_, result)| result.unwrap()).collect::<BTreeSet<_>>()
    };
    assert_eq!(results, (0..100).map(square).collect());
    pool.join().unwrap();
}

#[test]
fn a_pool_closed_under_a_slow_map_finishes_the_map() {
    let pool = pool(2);
    let slow = (0..200_u64).inspect(|&n| {
        if n == 100 {
            pool.close();
            // Whoever would leave too early has time to.
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert!(pool.map(square, slow).unwrap().into_iter().eq((0..200).map(square)));
    assert!(matches!(pool.apply(square, 1), Err(TaskError::Closed)));
}

#[test]
fn a_worker_that_closes_every_descriptor_still_answers() {
    let pool = pool(1);
    let close_all = |n: u32| {
        for fd in 3..256 {
            // What is not open answers so; what is open is the worker's own to close.
            let _: nix::Result<()> = nix::unistd::close(fd);
        }
        n
    };
    assert_eq!(pool.map(close_all, 0..20).unwrap(), (0..20).collect::<Vec<_>>());
    // Asleep on both sides.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(pool.apply(close_all, 7).unwrap(), 7);
}

/// Returns much, and sees to it that its worker finds nonsense where the pool says how much of that it has
/// read.
fn spoil_the_outbox(n: u32) -> Vec<u8> {
    if n == 3 {
        let namespace = Namespace::current().unwrap();
        let is_link = |entry: &procession::shm::Entry| {
            entry.header.as_ref().is_ok_and(|header| header.kind == Kind::POOL_WORKER)
        };
        let links = namespace.list().unwrap().into_iter().filter(is_link).collect::<Vec<_>>();
        std::thread::spawn(move || {
            loop {
                for link in &links {
                    // Behind the inbox's four lines and the outbox's first; the name goes with the pool.
                    let path = raw::path(&link.namespace, &link.name);
                    let Ok(file) = std::fs::OpenOptions::new().write(true).open(path) else { return };
                    let head = raw::BODY + 5 * 64;
                    std::os::unix::fs::FileExt::write_all_at(&file, &[0x55; 8], head).unwrap();
                }
            }
        });
    }
    vec![n as u8; 60_000]
}

#[test]
fn a_worker_that_never_finds_room_again_gives_up_and_is_replaced() {
    let _watchdog = Watchdog::start();
    let pool = pool(1);
    // Some of it may come through: the pool writes there, too.
    match pool.map(spoil_the_outbox, 0..200) {
        Ok(answers) => assert!(answers.iter().all(|answer| answer.len() == 60_000)),
        Err(error) => assert!(
            matches!(error, TaskError::WorkerDied { .. } | TaskError::WorkerExited { .. }),
            "{error:?}"
        ),
    }
    assert_eq!(pool.map(|n: u32| n + 1, 0..10).unwrap(), (1..=10).collect::<Vec<_>>());
}

/// Decoding it ends the process that does: 0 by SIGKILL, n by `exit(n)`.
struct Fatal(u8);

impl serde::Serialize for Fatal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Fatal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap(),
            code => std::process::exit(code.into()),
        }
        unreachable!()
    }
}

#[test]
fn a_state_that_ends_whoever_decodes_it_is_an_error_of_its_call_alone() {
    let _watchdog = Watchdog::start();
    let pool = pool(3);
    for (how, text) in [(0, "killed by SIGKILL"), (9, "exit code 9")] {
        let error = pool.map_with(&Fatal(how), |_, n: u64| n, 0..10_000_u64).unwrap_err();
        let TaskError::NeverBegun { reason, .. } = &error else { panic!("{error:?}") };
        assert!(reason.contains(text) && reason.contains("decoded the state"), "{reason}");
        // Others that were given meanwhile, and later, are done.
        assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
    }
}

#[test]
fn calls_beside_one_whose_state_is_fatal_are_done() {
    let _watchdog = Watchdog::start();
    let pool = pool(2);
    std::thread::scope(|scope| {
        let fatal = scope.spawn(|| pool.map_with(&Fatal(7), |_, n: u64| n, 0..1_000_u64));
        for round in 0..20 {
            assert!(pool.map(square, 0..round).unwrap().into_iter().eq((0..round).map(square)));
        }
        assert!(matches!(fatal.join().unwrap(), Err(TaskError::NeverBegun { .. })));
    });
}

#[test]
fn an_item_or_a_result_that_ends_its_worker_costs_that_item_alone() {
    let _watchdog = Watchdog::start();
    let pool = pool(2);
    let items = (0..20_u8).map(|n| if n % 5 == 0 { Some(Fatal(n)) } else { None });
    let results: Vec<_> = pool.imap_unordered(|item: Option<Fatal>| item.is_none(), items).collect();
    assert_eq!(results.len(), 20);
    for (index, result) in results {
        match result {
            Ok(fine) => assert!(fine && index % 5 != 0),
            Err(TaskError::WorkerDied { signal: 9, item: TaskItem { index: 0, .. }, .. }) => {}
            Err(TaskError::WorkerExited { code, item: TaskItem { index: at, .. }, .. }) => {
                assert_eq!((at, code as usize), (index, index));
            }
            Err(error) => panic!("{index}: {error:?}"),
        }
    }
    struct Unsayable;
    impl serde::Serialize for Unsayable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            std::process::exit(3)
        }
    }
    impl<'de> serde::Deserialize<'de> for Unsayable {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Self)
        }
    }
    let error = pool.apply(|()| Unsayable, ()).map(drop).unwrap_err();
    assert!(matches!(error, TaskError::WorkerExited { code: 3, .. }), "{error:?}");
    assert_eq!(pool.map(square, 0..100).unwrap().len(), 100);
}

#[test]
fn workers_that_only_die_are_replaced_at_a_bounded_rate() {
    let _watchdog = Watchdog::start();
    let pool = pool(1);
    let mut started = BTreeSet::new();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(2) {
        let workers = pool.workers();
        started.extend(workers.iter().copied());
        // One that is ready and does nothing: as a library's thread that ends the process would.
        workers.into_iter().for_each(kill);
        std::thread::sleep(Duration::from_micros(200));
    }
    // Without a pause there are hundreds. With it the pool gave up, or there are a dozen.
    assert!(started.len() < 30, "{} workers in two seconds", started.len());
}
