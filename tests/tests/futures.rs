//! Results that are asked for later: callbacks, tasks of async programs, several at a time; and the executor.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]

use procession::futures::{WaitFor, as_completed, wait, wait_timeout};
use procession::{AsyncResult, Event, Executor, Pool, PoolError, Progress, TaskError};
use procession_tests::{Watchdog, isolate, until};
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

procession::test_support!();

const SOON: Duration = Duration::from_millis(30);

/// A namespace for the test program, and half a minute for the test.
fn watched() -> Watchdog {
    isolate();
    Watchdog::start()
}

fn pool(workers: usize) -> (Pool, Watchdog) {
    let dog = watched();
    (Pool::new(workers).unwrap(), dog)
}

fn executor(workers: usize) -> (Executor, Watchdog) {
    let dog = watched();
    (Executor::new(workers).unwrap(), dog)
}

fn square(n: u64) -> u64 {
    n * n
}

fn pid(_: u32) -> u32 {
    std::process::id()
}

/// Waits for the gate.
fn pass(gate: Event, n: u64) -> u64 {
    gate.wait().unwrap();
    n
}

fn must_be_even(n: u64) -> u64 {
    assert_eq!(n % 2, 0, "{n} is odd");
    n
}

/// Wakes the thread that polls.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future in this thread, as the smallest runtime there is does.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn results_can_be_awaited() {
    let (pool, _dog) = pool(2);
    let sum = async {
        let (mut first, second) = (pool.apply_async(square, 3), pool.map_async(square, 0..4));
        let sum = (&mut first).await? + second.await?.into_iter().sum::<u64>();
        assert_eq!(sum, 23);
        let again = first.await?;
        let failed = pool.apply_async(must_be_even, 3).await;
        assert!(matches!(failed, Err(TaskError::Panicked { .. })));
        Ok::<_, TaskError>(again)
    };
    assert_eq!(block_on(sum).unwrap(), 9);
    // Asleep on all sides.
    let nap = |n: u64| {
        std::thread::sleep(SOON);
        n
    };
    for n in 0..5 {
        assert_eq!(block_on(pool.apply_async(nap, n)).unwrap(), n);
    }
    for n in 0..500 {
        assert_eq!(block_on(pool.apply_async(square, n)).unwrap(), n * n);
    }
}

#[test]
fn only_the_last_task_that_asked_is_woken_and_one_that_is_dropped_does_no_harm() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (pool, _dog) = pool(1);
    let gate = Event::new().unwrap();
    let mut result = pin!(pool.apply_async(pass, (gate.clone(), 1)));
    let (first, second) = (Arc::new(Count(AtomicUsize::new(0))), Arc::new(Count(AtomicUsize::new(0))));
    for count in [&first, &second] {
        let waker = Waker::from(Arc::clone(count));
        assert!(result.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let dropped = pool.apply_async(pass, (gate.clone(), 2));
    let mut dropped = Box::pin(dropped);
    assert!(dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(dropped);
    gate.set();
    until("the second is woken", || second.0.load(Ordering::Relaxed) == 1);
    assert_eq!(first.0.load(Ordering::Relaxed), 0);
    assert!(matches!(result.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(1))));
    assert_eq!(pool.apply(square, 2).unwrap(), 4);
}

#[test]
fn a_task_is_woken_when_its_pool_ends() {
    let (pool, _dog) = pool(1);
    let gate = Event::new().unwrap();
    let result = pool.apply_async(pass, (gate, 1));
    let waiter = std::thread::spawn(move || block_on(result));
    std::thread::sleep(SOON);
    drop(pool);
    assert!(matches!(waiter.join().unwrap(), Err(TaskError::Cancelled)));
}

#[test]
fn a_callback_is_called_once_with_what_get_says() {
    let (mut pool, _dog) = pool(2);
    let (told, hears) = channel();
    for n in 0..20_u64 {
        let mut result = pool.apply_async(must_be_even, n);
        let (values, errors, both) = (told.clone(), told.clone(), told.clone());
        result.on_success(move |value| values.send((n, Ok(value))).unwrap());
        result.on_error(move |error| errors.send((n, Err(error.to_string()))).unwrap());
        result.add_done_callback(move |outcome| {
            both.send((n, outcome.map_err(|error| error.to_string()))).unwrap()
        });
        if n % 3 == 0 {
            let got = result.get().map_err(|error| error.to_string());
            // Of what was got already, too.
            let late = told.clone();
            result.add_done_callback(move |outcome| {
                assert_eq!(outcome.map_err(|error| error.to_string()), got);
                late.send((n, got)).unwrap();
            });
        }
    }
    let all = pool.map_async(must_be_even, [0, 2, 4]);
    let (told_all, hears_all) = channel();
    all.on_success(move |values| told_all.send(values).unwrap());
    pool.close();
    pool.join().unwrap();
    drop(told);
    assert_eq!(hears_all.iter().collect::<Vec<_>>(), [[0, 2, 4]]);
    let mut counts = [0; 20];
    for (n, outcome) in hears {
        counts[n as usize] += 1;
        match outcome {
            Ok(value) => assert!(value == n && n % 2 == 0),
            Err(text) => assert!(n % 2 == 1 && text.contains("is odd"), "{text}"),
        }
    }
    assert!((0..20).all(|n| counts[n] == if n % 3 == 0 { 3 } else { 2 }), "{counts:?}");
}

#[test]
fn a_callback_may_panic_wait_use_the_pool_and_drop_it() {
    let (pool, _dog) = pool(2);
    let (told, hears) = channel();
    let shared = Arc::new(Mutex::new(Some(pool)));
    let with = |work: &dyn Fn(&Pool)| work(shared.lock().unwrap().as_ref().unwrap());
    with(&|pool| pool.apply_async(square, 1).on_success(|_| panic!("in a callback")));
    let (again, inner) = (Arc::clone(&shared), told.clone());
    with(&move |pool| {
        let (again, inner) = (Arc::clone(&again), inner.clone());
        pool.apply_async(square, 3).on_success(move |nine| {
            let calls = again.lock().unwrap().as_ref().unwrap().retries(0);
            inner.send(calls.apply(square, nine).unwrap()).unwrap();
        });
    });
    assert_eq!(hears.recv().unwrap(), 81);
    let last = Arc::clone(&shared);
    with(&move |pool| {
        let (last, told) = (Arc::clone(&last), told.clone());
        pool.apply_async(square, 5).on_success(move |value| {
            last.lock().unwrap().take();
            told.send(value).unwrap();
        });
    });
    assert_eq!(hears.recv().unwrap(), 25);
    assert!(shared.lock().unwrap().is_none());
}

#[test]
fn a_callback_that_waits_keeps_neither_a_task_nor_the_pool_waiting() {
    let (pool, _dog) = pool(1);
    let (open, gate) = sync_channel::<()>(0);
    pool.apply_async(square, 1).on_success(move |_| assert!(gate.recv().is_err()));
    assert_eq!(block_on(pool.apply_async(square, 2)).unwrap(), 4);
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    // Nor whoever drops the pool.
    drop(pool);
    drop(open);
}

#[test]
fn what_is_detached_is_done_and_what_is_dropped_is_not() {
    let (mut pool, _dog) = pool(1);
    let gate = Event::new().unwrap();
    let mut first = pool.apply_async(pass, (gate.clone(), 0));
    let (detached, dropped) = (Event::new().unwrap(), Event::new().unwrap());
    let set = |event: Event| event.set();
    pool.apply_async(set, detached.clone()).detach();
    drop(pool.apply_async(set, dropped.clone()));
    gate.set();
    first.wait().unwrap();
    pool.close();
    pool.join().unwrap();
    assert!(detached.is_set() && !dropped.is_set());
}

#[test]
fn an_observer_sees_the_pool_come_to_its_end() {
    let _dog = watched();
    let seen = Arc::new(Mutex::new(Vec::<Progress>::new()));
    let notes = Arc::clone(&seen);
    let mut pool =
        Pool::options().processes(2).observer(move |now| notes.lock().unwrap().push(now)).start().unwrap();
    let outcomes = pool.try_map(
        |n: u64| {
            std::thread::sleep(Duration::from_millis(1));
            must_be_even(n)
        },
        0..200,
    );
    assert_eq!(outcomes.unwrap().len(), 200);
    until("it was told of the end", || seen.lock().unwrap().last().is_some_and(|last| last.done == 100));
    pool.close();
    pool.join().unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.is_sorted_by_key(|progress| progress.done + progress.failed));
    assert!(seen.iter().any(|progress| progress.busy == 2), "{seen:?}");
    let last = seen.last().unwrap();
    assert_eq!((last.done, last.failed, last.total, last.workers), (100, 100, 200, 0));
}

fn held(executor: &Executor, gates: &[Event]) -> Vec<AsyncResult<u64>> {
    gates.iter().zip(0..).map(|(gate, n)| executor.submit(pass, (gate.clone(), n))).collect()
}

fn gates(count: usize) -> Vec<Event> {
    (0..count).map(|_| Event::new().unwrap()).collect()
}

#[test]
fn results_come_as_they_are_completed() {
    let (executor, _dog) = executor(3);
    let gates = gates(3);
    let mut completed = as_completed(held(&executor, &gates));
    assert!(matches!(completed.next_timeout(SOON), Err(TaskError::TimedOut { .. })));
    for n in [1, 2, 0] {
        gates[n as usize].set();
        assert_eq!(completed.next().unwrap().unwrap().get().unwrap(), n);
    }
    assert!(completed.next().is_none() && completed.next_timeout(SOON).unwrap().is_none());
    // Of those that are there, of several executors, of a pool that ends, and of one that refuses.
    let mut there = executor.submit(square, 2);
    there.wait().unwrap();
    let other = Executor::new(1).unwrap();
    let closed = Executor::new(1).unwrap();
    closed.close();
    let results = [there, other.submit(square, 3), closed.submit(square, 4)];
    let outcomes: Vec<_> = as_completed(results).map(|result| result.unwrap().get()).collect();
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Ok(4))));
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Ok(9))));
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Err(TaskError::Closed))));
    let many = (0..2000).map(|n| executor.submit(square, n));
    let sum: u64 = as_completed(many.collect::<Vec<_>>()).map(|result| result.unwrap().get().unwrap()).sum();
    assert_eq!(sum, (0..2000).map(square).sum::<u64>());
    assert_eq!(as_completed(Vec::<AsyncResult<u8>>::new()).count(), 0);
}

#[test]
fn a_wait_ends_when_it_was_told_to() {
    let (executor, _dog) = executor(4);
    let gates = gates(3);
    let results = held(&executor, &gates);
    let waited = wait_timeout(&results, WaitFor::FirstCompleted, SOON).unwrap();
    assert_eq!((waited.done.len(), waited.not_done.len()), (0, 3));
    gates[1].set();
    assert_eq!(wait(&results, WaitFor::FirstCompleted).unwrap().done, [1]);
    assert_eq!(wait_timeout(&results, WaitFor::FirstError, SOON).unwrap().done, [1]);
    assert_eq!(wait_timeout(&results, WaitFor::All, Duration::ZERO).unwrap().not_done, [0, 2]);
    gates.iter().for_each(Event::set);
    assert_eq!(wait(&results, WaitFor::FirstError).unwrap().done, [0, 1, 2]);
    let mixed: Vec<_> = [(0, false), (3, true), (0, false)]
        .into_iter()
        .map(|(n, fails)| if fails { executor.submit(must_be_even, n) } else { executor.submit(square, 4) })
        .collect();
    let waited = wait(&mixed, WaitFor::FirstError).unwrap();
    assert!(waited.done.contains(&1));
    assert!(wait(&mixed, WaitFor::All).unwrap().not_done.is_empty());
    // One that has failed before.
    assert!(wait(&mixed, WaitFor::FirstError).unwrap().done.contains(&1));
    assert!(wait::<u8>(&[], WaitFor::FirstCompleted).unwrap().done.is_empty());
}

#[test]
fn a_result_says_how_far_it_has_come() {
    let (executor, _dog) = executor(1);
    let gates = gates(2);
    let mut results = held(&executor, &gates);
    until("the first has begun", || results[0].is_running());
    assert!(!results[0].is_ready() && !results[0].cancel() && !results[0].is_cancelled());
    assert!(!results[1].is_running() && results[1].cancel() && results[1].is_cancelled());
    assert!(results[1].is_ready() && matches!(results[1].get(), Err(TaskError::Cancelled)));
    gates[0].set();
    assert_eq!(results[0].get().unwrap(), 0);
    assert!(results[0].is_ready() && !results[0].is_running() && results[0].is_successful() == Some(true));
    assert!(!results[0].cancel() && !results[0].is_cancelled());
}

/// CPython's `test_idle_process_reuse_one` and `_multiple`.
#[test]
fn workers_are_started_when_they_are_needed_and_used_again() {
    let (executor, _dog) = executor(4);
    assert!(executor.pool().workers().is_empty());
    let pids: BTreeSet<u32> = (0..3).map(|n| executor.submit(pid, n).get().unwrap()).collect();
    assert_eq!((pids.len(), executor.pool().workers().len()), (1, 1));
    let gates = gates(6);
    let mut results = held(&executor, &gates);
    until("as many as there may be", || executor.pool().workers().len() == 4);
    gates.iter().for_each(Event::set);
    assert!(results.iter_mut().all(|result| result.get().is_ok()));
    executor.pool().resize(2).unwrap();
    until("as many as there may be now", || executor.pool().workers().len() == 2);
    assert_eq!(executor.map(square, 0..100).count(), 100);
    assert_eq!(executor.pool().workers().len(), 2);
}

#[test]
fn an_executor_that_is_shut_down_does_what_it_was_given() {
    let (mut executor, _dog) = executor(2);
    let mut results: Vec<_> = (0..50).map(|n| executor.submit(square, n)).collect();
    executor.shutdown(false).unwrap();
    executor.shutdown(false).unwrap();
    assert!(results.iter_mut().zip(0..).all(|(result, n)| result.get().unwrap() == n * n));
    assert!(matches!(executor.submit(square, 1).get(), Err(TaskError::Closed)));
    assert!(executor.pool().workers().is_empty());
}

#[test]
fn what_is_not_begun_is_cancelled_at_a_shutdown_that_says_so() {
    let (mut executor, _dog) = executor(2);
    let gate = Event::new().unwrap();
    let mut results: Vec<_> = (0..50).map(|n| executor.submit(pass, (gate.clone(), n))).collect();
    until("two have begun", || results.iter().filter(|result| result.is_running()).count() == 2);
    let opener = std::thread::spawn(move || {
        std::thread::sleep(SOON);
        gate.set();
    });
    executor.shutdown(true).unwrap();
    opener.join().unwrap();
    let (mut done, mut cancelled) = (0, 0);
    for (n, result) in results.iter_mut().enumerate() {
        match result.get() {
            Ok(value) => done += usize::from(value == n as u64),
            Err(TaskError::Cancelled) => cancelled += 1,
            Err(error) => panic!("{n}: {error}"),
        }
    }
    assert_eq!((done, cancelled), (2, 48));
}

#[test]
fn a_shutdown_that_cancels_does_not_wait_for_whoever_has_an_iterator() {
    let (mut executor, _dog) = executor(2);
    let mut squares = executor.map(square, 1..);
    assert_eq!(squares.next().unwrap().unwrap(), 1);
    executor.shutdown(true).unwrap();
    // What was done is there, and then come those that are not done any more.
    let cancelled = squares.find_map(Result::err);
    assert!(matches!(cancelled, Some(TaskError::Cancelled)), "{cancelled:?}");
}

#[test]
fn a_broken_pool_ends_whoever_has_an_iterator() {
    let _dog = watched();
    let gate = Event::new().unwrap();
    let mut pool = Pool::options().processes(2).respawn_budget(0, Duration::MAX).start().unwrap();
    let mut waits = pool.apply_async(pass, (gate.clone(), 1));
    until("a worker has begun", || waits.is_running());
    let mut ends = pool.imap(|n: u64| if n == 0 { std::process::abort() } else { n }, 0..);
    assert!(matches!(ends.next(), Some(Err(TaskError::WorkerDied { .. } | TaskError::Broken { .. }))));
    assert!(matches!(waits.get(), Err(TaskError::Broken { .. })));
    gate.set();
    pool.close();
    assert!(matches!(pool.join(), Err(PoolError::Broken { .. })));
}

#[test]
fn a_dead_worker_costs_its_item_and_never_the_executor() {
    let (executor, _dog) = executor(2);
    for round in 0..5 {
        let mut dead = executor.submit(|| std::process::abort(), ());
        let mut alive: Vec<_> = (0..10).map(|n| executor.submit(square, n)).collect();
        assert!(
            matches!(dead.get().map(|(): ()| ()), Err(TaskError::WorkerDied { signal: 6, .. })),
            "{round}"
        );
        assert!(alive.iter_mut().zip(0..).all(|(result, n)| result.get().unwrap() == n * n));
    }
    executor.terminate();
    assert!(matches!(executor.submit(square, 1).get(), Err(TaskError::Closed)));
}
