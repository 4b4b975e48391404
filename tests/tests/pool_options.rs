//! What can be said of a pool and of its calls: how items are given out, how long they may take, how often
//! they are tried, what workers do first, when they are replaced, and how many there are.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]

use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;
use procession::{
    Array, Event, Pool, PoolError, PoolOptions, Process, Queue, RemoteError, SpawnError, StartMethod,
    TaskError, Value,
};
use procession_tests::{Watchdog, isolate, runs, until};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

procession::test_support!();

const TIMEOUT: Duration = Duration::from_millis(100);
/// Longer than a test lasts.
const LONG: Duration = Duration::from_secs(3600);

fn options(workers: usize) -> (PoolOptions, Watchdog) {
    isolate();
    (Pool::options().processes(workers), Watchdog::start())
}

fn square(n: u64) -> u64 {
    n * n
}

fn pid(_: u32) -> u32 {
    std::process::id()
}

fn broken<T: std::fmt::Debug>(outcome: Result<T, TaskError>) -> String {
    match outcome {
        Err(TaskError::Broken { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chunk_is_one_workers() {
    let (options, _dog) = options(3);
    let pool = options.chunk_size(7).start().unwrap();
    let pids = pool.map(pid, 0..700).unwrap();
    assert!(pids.chunks(7).all(|chunk| chunk.iter().all(|pid| *pid == chunk[0])));
    let results = pool.chunk_size(10).imap(|n: u32| n, 0..1000);
    assert!(results.map(Result::unwrap).eq(0..1000));
    let mut seen: Vec<u32> =
        pool.chunk_size(0).imap_unordered(|n: u32| n, 0..50).map(|(_, result)| result.unwrap()).collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..50));
}

#[test]
fn a_stream_takes_chunks_ahead_and_no_more() {
    let (options, _dog) = options(2);
    let pool = options.start().unwrap();
    let taken = std::cell::Cell::new(0);
    let items = (0..).inspect(|_| taken.set(taken.get() + 1));
    let results = pool.chunk_size(5).imap(|n: u32| n, items);
    for (n, result) in results.take(300).enumerate() {
        assert_eq!(result.unwrap() as usize, n);
        // Sixteen chunks for each worker, and what is left of the one that was taken last.
        assert!(taken.get() <= n + 2 * 16 * 5 + 5, "{} were taken for {n}", taken.get());
    }
}

#[test]
fn an_iterator_that_does_not_know_its_length_is_given_out_in_chunks() {
    let (options, _dog) = options(2);
    let pool = options.start().unwrap();
    let mut left = 20_000_u32;
    let items = std::iter::from_fn(|| {
        left = left.checked_sub(1)?;
        Some(left)
    });
    assert!(pool.map(|n: u32| n, items).unwrap().into_iter().eq((0..20_000).rev()));
}

static STATE: AtomicU32 = AtomicU32::new(0);

fn set_up(runs: Value<u32>, add: u32) {
    runs.update(|runs| *runs += 1).unwrap();
    STATE.fetch_add(add, Ordering::Relaxed);
}

#[test]
fn the_initializer_runs_once_in_each_worker() {
    let (options, _dog) = options(2);
    let runs = Value::new(0).unwrap();
    let pool = options.initializer(set_up, (runs.clone(), 7)).start().unwrap();
    assert!(
        pool.map(|_: u32| STATE.load(Ordering::Relaxed), 0..1000).unwrap().iter().all(|&state| state == 7)
    );
    until("both workers are up", || runs.get().unwrap() == 2);
    let victim = pool.workers()[0];
    kill(Pid::from_raw(victim.cast_signed()), Signal::SIGKILL).unwrap();
    until("it is replaced", || runs.get().unwrap() == 3 && pool.workers().len() == 2);
    assert_eq!(pool.map(|_: u32| STATE.load(Ordering::Relaxed), 0..100).unwrap(), [7; 100]);
}

/// Fails in the way that is asked for, and counts how often it was tried.
fn fail(tries: Value<u32>, how: String) -> Result<(), String> {
    tries.update(|tries| *tries += 1).unwrap();
    match how.as_str() {
        "error" => Err("no database".to_owned()),
        "panic" => panic!("no luck"),
        "exit" => std::process::exit(3),
        "abort" => std::process::abort(),
        _ => Ok(()),
    }
}

#[test]
fn a_failing_initializer_breaks_the_pool_in_words_and_is_not_tried_for_ever() {
    for (how, text) in [
        ("error", "failed: no database"),
        ("panic", "panicked at tests/tests/pool_options.rs"),
        ("exit", "exited with code 3"),
        ("abort", "killed by SIGABRT"),
    ] {
        let (options, _dog) = options(2);
        let tries = Value::new(0).unwrap();
        let mut pool = options.initializer(fail, (tries.clone(), how.to_owned())).start().unwrap();
        let reason = broken(pool.map(pid, 0..10));
        assert!(
            reason.contains(text)
                && reason.contains("initializer")
                && reason.contains("PoolWorker-")
                && reason.contains("pool_options::fail"),
            "{how}: {reason}"
        );
        assert!(tries.get().unwrap() <= 2, "{how}: {} tries", tries.get().unwrap());
        broken(pool.apply(pid, 1));
        assert!(pool.imap(pid, 0..2).all(|one| matches!(one, Err(TaskError::Broken { .. }))));
        assert!(matches!(pool.resize(3), Err(PoolError::Broken { .. })));
        pool.close();
        let told = pool.join().unwrap_err();
        assert!(matches!(&told, PoolError::Broken { reason } if reason.contains(text)), "{told}");
    }
}

#[test]
fn an_initializer_that_is_killed_from_outside_runs_again() {
    let (options, _dog) = options(1);
    let tries = Value::new(0_u32).unwrap();
    let die_twice = |tries: Value<u32>| {
        if tries.fetch_add(1).unwrap() < 2 {
            raise(Signal::SIGKILL).unwrap();
        }
    };
    let pool = options.initializer(die_twice, tries.clone()).start().unwrap();
    assert_eq!(pool.apply(|| 5, ()).unwrap(), 5);
    assert_eq!(tries.get().unwrap(), 3);
}

/// Nobody but the user knows how long is too long. Whoever waits can stop waiting, and the pool can be ended.
#[test]
fn an_initializer_that_hangs_holds_up_nobody_who_does_not_want_to_wait() {
    let hang = |is_stubborn: bool| {
        if is_stubborn {
            nix::sys::signal::SigSet::all().thread_block().unwrap();
        }
        std::thread::sleep(LONG);
    };
    for is_stubborn in [false, true] {
        let (options, _dog) = options(2);
        let options = options.initializer(hang, is_stubborn);
        let mut pool = options.clone().timeout(TIMEOUT).start().unwrap();
        let mut one = pool.apply_async(square, 3);
        // The time that an item may take begins with the item.
        assert!(matches!(one.get_timeout(TIMEOUT * 2), Err(TaskError::TimedOut { .. })));
        assert!(!one.is_running() && one.cancel() && matches!(one.get(), Err(TaskError::Cancelled)));
        let mut all = pool.map_async(square, 0..10);
        let mut one = pool.apply_async(square, 3);
        pool.resize(1).unwrap();
        pool.terminate();
        pool.join().unwrap();
        assert!(
            matches!(all.get(), Err(TaskError::Cancelled)) && matches!(one.get(), Err(TaskError::Cancelled))
        );
        let pool = options.start().unwrap();
        let mut all = pool.map_async(square, 0..10);
        let workers = pool.workers();
        drop(pool);
        assert!(matches!(all.get(), Err(TaskError::Cancelled)));
        assert!(!workers.into_iter().any(runs));
    }
}

#[test]
fn the_next_result_is_waited_for_as_long_as_is_said() {
    let (options, _dog) = options(2);
    let gate = Event::new().unwrap();
    let pool = options.start().unwrap();
    let wait = |gate: &Event, n: u64| {
        // The first item is the last that is done.
        if n == 0 {
            gate.wait().unwrap();
        }
        n
    };
    let mut results = pool.imap_with(&gate, wait, 0..3);
    for _ in 0..2 {
        let Some(Err(TaskError::TimedOut { item })) = results.next_timeout(TIMEOUT) else { panic!() };
        assert_eq!(item.index, 0, "it is its turn, though others have come");
    }
    gate.set();
    let rest: Vec<u64> = std::iter::from_fn(|| results.next_timeout(LONG)).map(Result::unwrap).collect();
    assert_eq!(rest, [0, 1, 2]);
    gate.clear();
    let mut results = pool.imap_unordered_with(&gate, wait, 0..3);
    let mut early: Vec<_> = (0..2).map(|_| results.next_timeout(LONG).unwrap().1.unwrap()).collect();
    early.sort_unstable();
    assert_eq!(early, [1, 2]);
    assert!(matches!(results.next_timeout(TIMEOUT), Some((0, Err(TaskError::TimedOut { .. })))));
    gate.set();
    assert!(matches!(results.next(), Some((0, Ok(0)))));
    assert!(results.next_timeout(Duration::ZERO).is_none());
}

/// Whoever reads it does not come back.
#[derive(serde::Serialize)]
struct Endless;

impl<'de> serde::Deserialize<'de> for Endless {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        std::thread::sleep(LONG);
        Ok(Self)
    }
}

/// As with the initializer: no timeout of items counts it, and who waits can stop waiting.
#[test]
fn a_state_that_hangs_while_it_is_decoded_holds_up_nobody_who_does_not_want_to_wait() {
    let (options, _dog) = options(2);
    let mut pool = options.timeout(TIMEOUT).start().unwrap();
    let mut results = pool.imap_with(&Endless, |_, n: u64| n, 0..10_u64);
    let Some(Err(TaskError::TimedOut { item })) = results.next_timeout(TIMEOUT * 2) else { panic!() };
    assert_eq!(item.index, 0);
    let workers = pool.workers();
    pool.terminate();
    assert!(matches!(results.next(), Some(Err(TaskError::Cancelled))));
    pool.join().unwrap();
    assert!(!workers.into_iter().any(runs));
}

/// It is written, and cannot be read.
struct OneWay;

impl serde::Serialize for OneWay {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> serde::Deserialize<'de> for OneWay {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("one way only"))
    }
}

/// It cannot be written.
struct Unwritable;

impl serde::Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not to be written"))
    }
}

impl<'de> serde::Deserialize<'de> for Unwritable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

#[test]
fn arguments_of_an_initializer_that_do_not_cross_are_an_error() {
    let (options, _dog) = options(1);
    let error = options.clone().initializer(|_: Unwritable| (), Unwritable).start().unwrap_err();
    assert!(
        matches!(&error, PoolError::Initializer { reason, .. } if reason.contains("not to be written")),
        "{error}"
    );
    let pool = options.initializer(|_: OneWay| (), OneWay).start().unwrap();
    let reason = broken(pool.apply(pid, 1));
    assert!(reason.contains("one way only"), "{reason}");
}

#[test]
fn the_error_of_an_initializer_keeps_its_causes() {
    let (options, _dog) = options(1);
    let fail = || Err::<(), _>(RemoteError::from(vec!["outer".to_owned(), "inner".to_owned()]));
    let pool = options.initializer(fail, ()).start().unwrap();
    let reason = broken(pool.apply(pid, 1));
    assert!(reason.contains("outer: inner"), "{reason}");
}

#[test]
fn workers_are_replaced_after_their_share() {
    let (options, _dog) = options(2);
    let pool = options.max_tasks_per_child(10).start().unwrap();
    let pids = pool.map(pid, 0..1000).unwrap();
    let mut counts = BTreeMap::<u32, usize>::new();
    pids.into_iter().for_each(|pid| *counts.entry(pid).or_default() += 1);
    // None is given more; only the last two may have been given less.
    assert!(counts.values().all(|&count| count <= 10), "{counts:?}");
    assert!(counts.values().filter(|&&count| count < 10).count() <= 2, "{counts:?}");
    for _ in 0..25 {
        assert_eq!(pool.apply(|| 3, ()).unwrap(), 3);
    }
}

/// gh-115634 and its like: executors that lost work while they replaced their workers.
#[test]
fn a_pool_closed_at_once_does_all_although_each_worker_does_one() {
    for (workers, tasks, count) in [(1, 1, 6), (2, 1, 6), (1, 2, 6), (2, 2, 8), (3, 1, 2)] {
        let (options, _dog) = options(workers);
        let mut pool = options.max_tasks_per_child(tasks).start().unwrap();
        let mut each: Vec<_> = (0..count).map(|n| pool.apply_async(|n: u64| n * 2, n)).collect();
        let mut all = pool.chunk_size(3).map_async(pid, 0..7);
        pool.close();
        pool.join().unwrap();
        for (n, result) in (0..).zip(&mut each) {
            assert_eq!(result.get().unwrap(), n * 2);
        }
        assert_eq!(all.get().unwrap().len(), 7);
    }
}

#[test]
fn workers_given_nothing_are_refused() {
    let (options, _dog) = options(1);
    assert!(matches!(options.clone().max_tasks_per_child(0).start(), Err(PoolError::NoTasks)));
    assert!(matches!(options.chunk_size(0).start(), Err(PoolError::NoTasks)));
}

/// Notes that it was run, and sleeps for ever in one item.
fn note_and_hang(runs: &Array<u32>, n: usize) -> usize {
    runs.fetch_add(n, 1).unwrap();
    if n == 77 {
        std::thread::sleep(LONG);
    }
    n
}

#[test]
fn an_item_that_takes_too_long_costs_itself_alone() {
    let (options, _dog) = options(2);
    let pool = options.timeout(TIMEOUT).start().unwrap();
    let runs = Array::<u32>::new(200).unwrap();
    let before: BTreeSet<u32> = pool.workers().into_iter().collect();
    let mut failed = 0;
    let results = pool.chunk_size(50).imap_unordered_with(&runs, note_and_hang, 0..200);
    for (index, result) in results {
        match result {
            Ok(n) => assert!(n == index && n != 77),
            Err(TaskError::TooSlow { item, worker, timeout: TIMEOUT }) => {
                assert!(item.index == 77 && before.contains(&worker.pid()));
                failed += 1;
            }
            Err(error) => panic!("{index}: {error}"),
        }
    }
    assert_eq!(failed, 1);
    assert!((0..200).all(|n| runs.get(n).unwrap() == 1), "an item was run twice or never");
    until("the worker is replaced", || pool.workers().len() == 2);
    assert_eq!(before.intersection(&pool.workers().into_iter().collect()).count(), 1);
}

/// Items that end when their time does: each has its result or its error, and none beside it is harmed.
#[test]
fn an_item_is_done_or_too_slow_and_never_both() {
    let (options, _dog) = options(3);
    let pool = options.timeout(Duration::from_millis(10)).start().unwrap();
    let runs = Array::<u32>::new(60).unwrap();
    let work = |runs: &Array<u32>, n: usize| {
        runs.fetch_add(n, 1).unwrap();
        std::thread::sleep(Duration::from_micros(9_500 + 30 * n as u64));
        n
    };
    let results = pool.chunk_size(6).imap_unordered_with(&runs, work, 0..60);
    let mut slow = 0;
    for (index, result) in results {
        match result {
            Ok(n) => assert_eq!(n, index),
            Err(TaskError::TooSlow { item, .. }) => {
                assert_eq!(item.index, index);
                slow += 1;
            }
            Err(error) => panic!("{index}: {error}"),
        }
    }
    assert!(slow > 0);
    assert!((0..60).all(|n| runs.get(n).unwrap() == 1), "an item was run twice or never");
}

#[test]
fn a_timeout_may_be_one_calls_and_a_stopped_worker_has_one_too() {
    let (options, _dog) = options(1);
    let pool = options.start().unwrap();
    let sleep = |ms: u64| std::thread::sleep(Duration::from_millis(ms));
    let outcome = pool.timeout(Duration::from_millis(20)).apply(sleep, 3_600_000);
    assert!(matches!(outcome, Err(TaskError::TooSlow { .. })), "{outcome:?}");
    pool.apply(sleep, 50).unwrap();
    let stop = || raise(Signal::SIGSTOP).unwrap();
    let outcome = pool.timeout(Duration::from_millis(20)).apply(stop, ());
    assert!(matches!(outcome, Err(TaskError::TooSlow { .. })), "{outcome:?}");
    assert_eq!(pool.timeout(Duration::MAX).apply(|| 1, ()).unwrap(), 1);
}

#[test]
fn slow_and_lost_items_are_tried_again_after_a_while() {
    let (options, _dog) = options(2);
    let pause = Duration::from_millis(20);
    let pool = options.timeout(TIMEOUT).retries(3).back_off(pause).start().unwrap();
    let tries = Value::new(0_u32).unwrap();
    let started = Instant::now();
    let work = |tries: &Value<u32>, n: u32| {
        match (n, tries.get().unwrap()) {
            (5, 0) => {
                tries.set(1).unwrap();
                std::thread::sleep(LONG);
            }
            (5, 1) => {
                tries.set(2).unwrap();
                std::process::abort();
            }
            (5, 2) => {
                tries.set(3).unwrap();
                std::process::exit(1);
            }
            _ => {}
        }
        n
    };
    let results = pool.map_with(&tries, work, 0..10).unwrap();
    assert!(results.into_iter().eq(0..10));
    assert_eq!(tries.get().unwrap(), 3);
    assert!(started.elapsed() >= TIMEOUT + 7 * pause);
    // None is left when they have run out.
    let error = pool.retries(1).apply(|| std::process::exit(4), ()).map(|(): ()| ()).unwrap_err();
    assert!(matches!(error, TaskError::WorkerExited { code: 4, .. }), "{error}");
}

#[test]
fn what_waits_for_its_next_try_can_be_cancelled_and_terminated() {
    let (options, _dog) = options(1);
    let mut pool = options.retries(u32::MAX).back_off(LONG).start().unwrap();
    let tries = Value::new(0_u32).unwrap();
    let die = |tries: Value<u32>| {
        tries.fetch_add(1).unwrap();
        std::process::abort()
    };
    let mut first = pool.apply_async(die, tries.clone());
    until("it was tried", || tries.get().unwrap() == 1);
    until("its worker is replaced", || pool.workers().len() == 1 && pool.apply(|| 1, ()).is_ok());
    assert!(first.cancel());
    assert!(matches!(first.get(), Err::<(), _>(TaskError::Cancelled)));
    let mut second = pool.apply_async(die, tries.clone());
    until("it was tried", || tries.get().unwrap() == 2);
    pool.terminate();
    assert!(matches!(second.get(), Err::<(), _>(TaskError::Cancelled)));
    pool.join().unwrap();
}

#[test]
fn a_pool_with_a_budget_says_when_it_is_spent() {
    let (options, _dog) = options(2);
    let pool = options.respawn_budget(5, LONG).start().unwrap();
    let outcomes = pool.try_map(|_: u32| std::process::abort(), 0..100).unwrap();
    let died = |outcome: &&Result<(), _>| matches!(outcome, Err(TaskError::WorkerDied { .. }));
    let died = outcomes.iter().filter(died).count();
    let told = outcomes.into_iter().filter_map(|outcome| match outcome {
        Err(TaskError::Broken { reason }) => Some(reason),
        _ => None,
    });
    let told: Vec<String> = told.collect();
    assert!((5..=7).contains(&died) && died + told.len() == 100, "{died} {told:?}");
    assert!(told[0].contains("6 workers have ended") && told[0].contains("SIGABRT"), "{}", told[0]);
}

#[test]
fn a_pool_grows_and_shrinks_while_it_works() {
    let (options, _dog) = options(1);
    let mut pool = options.start().unwrap();
    let work = |n: u64| (0..n % 500).fold(n, |sum, i| sum.wrapping_add(std::hint::black_box(i)));
    let mut all = pool.map_async(work, 0..50_000);
    for count in [4, 2, 5, 1, 3] {
        pool.resize(count).unwrap();
        until("there are as many", || pool.workers().len() == count && pool.progress().workers == count);
        assert_eq!(pool.apply(|| 1, ()).unwrap(), 1);
    }
    assert!(all.get().unwrap().into_iter().eq((0..50_000).map(work)));
    assert!(matches!(pool.resize(0), Err(PoolError::NoWorkers)));
    assert!(matches!(pool.resize(usize::MAX), Err(PoolError::Kernel(_))));
    assert!(matches!(Pool::new(usize::MAX), Err(PoolError::Kernel(_))));
    pool.close();
    assert!(matches!(pool.resize(2), Err(PoolError::Closed)));
    pool.join().unwrap();
}

#[test]
fn a_worker_too_many_does_what_it_is_at() {
    let (options, _dog) = options(2);
    let pool = options.start().unwrap();
    let (begun, gate) = (Queue::new().unwrap(), Event::new().unwrap());
    let wait = |begun: Queue<u32>, gate: Event, n: u32| {
        begun.put(&n).unwrap();
        gate.wait().unwrap();
        n
    };
    let mut results = pool.starmap_async(wait, (0..4).map(|n| (begun.clone(), gate.clone(), n)));
    let at: BTreeSet<u32> = (0..2).map(|_| begun.get().unwrap()).collect();
    pool.resize(1).unwrap();
    assert_eq!(pool.progress().busy, 2);
    gate.set();
    assert_eq!(results.get().unwrap(), [0, 1, 2, 3]);
    until("one is left", || pool.workers().len() == 1);
    assert_eq!((at.len(), pool.progress().done, pool.progress().total), (2, 4, 4));
}

#[test]
fn progress_counts_what_is_done_and_what_failed() {
    let (options, _dog) = options(2);
    let pool = options.start().unwrap();
    drop(pool.try_map(|n: u32| assert_ne!(n % 10, 3), 0..100).unwrap());
    let progress = pool.progress();
    assert_eq!((progress.done, progress.failed, progress.total, progress.busy), (90, 10, 100, 0));
    let mut results = pool.imap_unordered(|n: u32| n, 0..);
    assert!(results.by_ref().take(10).all(|(_, result)| result.is_ok()));
    drop(results);
    let progress = pool.progress();
    assert!(progress.done >= 100 && progress.done + progress.failed <= progress.total);
}

#[test]
fn workers_withstand_the_interrupt_key_and_what_they_execute_does_not() {
    let (options, _dog) = options(2);
    let pool = options.start().unwrap();
    let interrupt_me = |n: u32| {
        raise(Signal::SIGINT).unwrap();
        n
    };
    assert_eq!(pool.map(interrupt_me, [1, 2, 3]).unwrap(), [1, 2, 3]);
    let shell = || {
        std::process::Command::new("sh").args(["-c", "kill -INT $$; echo survived"]).output().unwrap().stdout
    };
    assert_eq!(pool.apply(shell, ()).unwrap(), b"");
}

#[test]
fn workers_come_to_be_in_either_way() {
    for method in [StartMethod::Spawn, StartMethod::Forkserver] {
        let (options, _dog) = options(2);
        let runs = Value::new(0).unwrap();
        let initializer = (runs.clone(), 7);
        let pool = options.start_method(method).initializer(set_up, initializer).retries(1).start().unwrap();
        assert!(pool.map(square, 0..1000).unwrap().into_iter().eq((0..1000).map(square)));
        let pids = pool.workers();
        pids.iter().for_each(|pid| kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap());
        assert!(pool.map(square, 0..1000).unwrap().into_iter().eq((0..1000).map(square)));
        until("they are replaced", || pool.workers().len() == 2 && runs.get().unwrap() == 4);
        let died = pool.apply(|| std::process::abort(), ()).map(|(): ()| ());
        assert!(matches!(died, Err(TaskError::WorkerDied { signal: 6, .. })), "{died:?}");
    }
    // This test is a thread, whose harness waits in another one; a child has one alone.
    let by_fork = || {
        STATE.store(5, Ordering::Relaxed);
        let mut pool = Pool::options().processes(2).start_method(StartMethod::Fork).start().unwrap();
        // They have what this process had in its memory.
        assert_eq!(pool.map(|_: u32| STATE.load(Ordering::Relaxed), 0..100).unwrap(), [5; 100]);
        let died = pool.apply(|| std::process::abort(), ()).map(|(): ()| ());
        assert!(matches!(died, Err(TaskError::WorkerDied { signal: 6, .. })), "{died:?}");
        // The other one goes on.
        assert_eq!(pool.map(square, 0..10).unwrap().len(), 10);
        pool.close();
        pool.join().unwrap();
    };
    Process::spawn(by_fork, ()).unwrap().join().unwrap();
    let (options, _dog) = options(1);
    let refused = options.start_method(StartMethod::Fork).start().unwrap_err();
    assert!(matches!(refused, PoolError::Spawn(SpawnError::ForkWithThreads { .. })), "{refused}");
}
