//! What CPython's tests say of `Pool` and `ProcessPoolExecutor`, by each start method. What is not here is in
//! `pool_options.rs`, `pool_losses.rs`, `futures.rs` and `deadlock_table.rs`.

use crate::ground::by_each_method;
use procession::{Executor, Pool, PoolError, StartMethod, TaskError, start_method};
use procession_tests::until;
use std::collections::BTreeSet;
use std::time::Duration;

by_each_method! {
    calls_give_what_a_loop_gives
    nothing_is_done_with_nothing
    a_result_is_waited_for_as_long_as_was_said
    much_that_waits_does_not_hold_up_a_terminate
    large_errors_do_not_hold_up_a_join
    results_that_cannot_be_written_cost_no_workers
    many_jobs_do_not_make_many_workers
    two_hundred_workers_are_possible
}

fn square(n: i64) -> i64 {
    n * n
}

fn multiply(a: i64, b: i64) -> i64 {
    a * b
}

fn pid(_: u32) -> u32 {
    std::process::id()
}

/// `test_apply`, `test_map`, `test_starmap`, `test_map_async`, `test_starmap_async`, `test_async`, `test_imap`,
/// `test_imap_unordered`.
fn calls_give_what_a_loop_gives() {
    let mut pool = Pool::new(4).unwrap();
    let squares: Vec<i64> = (0..1000).map(square).collect();
    let pairs = || (0..100).map(|n| (n, 99 - n));
    let products: Vec<i64> = pairs().map(|(a, b)| multiply(a, b)).collect();
    assert_eq!(pool.apply(square, 5).unwrap(), 25);
    assert_eq!(pool.apply_async(square, 7).get().unwrap(), 49);
    for chunked in [(*pool).clone(), pool.chunk_size(20)] {
        assert_eq!(chunked.map(square, 0..1000).unwrap(), squares);
        assert_eq!(chunked.map_async(square, 0..1000).get().unwrap(), squares);
        assert_eq!(chunked.starmap(multiply, pairs()).unwrap(), products);
        assert_eq!(chunked.starmap_async(multiply, pairs()).get().unwrap(), products);
        assert!(chunked.imap(square, 0..1000).map(Result::unwrap).eq(squares.iter().copied()));
        let mut unordered: Vec<i64> =
            chunked.imap_unordered(square, 0..1000).map(|(_, result)| result.unwrap()).collect();
        unordered.sort_unstable();
        assert_eq!(unordered, squares);
    }
    pool.close();
    assert!(matches!(pool.map(square, 0..3), Err(TaskError::Closed)));
    pool.join().unwrap();
}

/// `test_empty_iterable`, and `test_map_chunksize` of an empty one.
fn nothing_is_done_with_nothing() {
    let pool = Pool::new(1).unwrap();
    assert!(pool.chunk_size(1).map(square, []).unwrap().is_empty());
    assert!(pool.map_async(square, []).get().unwrap().is_empty());
    assert_eq!((pool.imap(square, []).count(), pool.imap_unordered(square, []).count()), (0, 0));
    assert!(matches!(Pool::new(0), Err(PoolError::NoWorkers)));
    assert!(matches!(Executor::new(0), Err(PoolError::NoWorkers)));
}

/// `test_async_timeout`.
fn a_result_is_waited_for_as_long_as_was_said() {
    let pool = Pool::new(1).unwrap();
    let mut result = pool.apply_async(|| std::thread::sleep(Duration::from_secs(3600)), ());
    assert!(matches!(result.get_timeout(Duration::from_millis(50)), Err(TaskError::TimedOut { .. })));
    assert!(matches!(result.get_timeout(Duration::ZERO), Err(TaskError::TimedOut { .. })));
    pool.terminate();
    assert!(matches!(result.get(), Err(TaskError::Cancelled)));
}

/// `test_terminate`: 10,000 naps.
fn much_that_waits_does_not_hold_up_a_terminate() {
    let mut pool = Pool::new(2).unwrap();
    let nap = |_: u32| std::thread::sleep(Duration::from_millis(100));
    let mut naps = pool.chunk_size(1).map_async(nap, 0..10_000);
    pool.terminate();
    pool.join().unwrap();
    assert!(matches!(naps.get(), Err(TaskError::Cancelled)));
}

/// `test_resource_warning`'s and gh-79492's kind: errors of a mebibyte, and a map that waits for all of its
/// items although some have failed (`test_map_handle_iterable_exception`, bpo-23992).
fn large_errors_do_not_hold_up_a_join() {
    let mut pool = Pool::new(2).unwrap();
    let fail = |n: usize| {
        std::thread::sleep(Duration::from_millis(20 * n as u64));
        panic!("{}", "x".repeat(1 << 20));
    };
    let error = pool.chunk_size(1).map(fail, 0..3).map(|results: Vec<()>| results).unwrap_err();
    assert!(
        matches!(&error, TaskError::Panicked { item, message, .. } if item.index == 0 && message.len() == 1 << 20)
    );
    assert_eq!(pool.progress().failed, 3);
    pool.close();
    pool.join().unwrap();
}

/// It can be read, and not written.
#[derive(serde::Deserialize)]
struct Unwritable;

impl serde::Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("not to be written"))
    }
}

/// `test_unpickleable_result`: twenty times, and `error_callback` is told what `get` says.
fn results_that_cannot_be_written_cost_no_workers() {
    let pool = Pool::new(2).unwrap();
    let pids: BTreeSet<u32> = pool.workers().into_iter().collect();
    for _ in 0..20 {
        let (told, hears) = std::sync::mpsc::channel();
        let mut result = pool.apply_async(|_: u32| Unwritable, 1);
        result.on_error(move |error| told.send(error.to_string()).unwrap());
        let error = result.get().map(|_| ()).unwrap_err();
        assert!(matches!(error, TaskError::Unencodable { .. }));
        assert_eq!(hears.recv().unwrap(), error.to_string());
    }
    assert_eq!(pool.workers().into_iter().collect::<BTreeSet<_>>(), pids);
}

/// `test_saturation`: 15 jobs for each worker there may be.
fn many_jobs_do_not_make_many_workers() {
    let pool = Pool::options().processes(3).start_on_demand().start();
    if start_method() == StartMethod::Fork {
        // By the time of the first job there is a thread, the pool's own.
        let text = format!("{:?}", pool.unwrap_err());
        assert!(text.contains("started on demand"), "{text}");
        return;
    }
    let mut executor = Executor::from(pool.unwrap());
    let mut jobs: Vec<_> = (0..45).map(|n| executor.submit(pid, n)).collect();
    let pids: BTreeSet<u32> = jobs.iter_mut().map(|job| job.get().unwrap()).collect();
    assert!((1..=3).contains(&pids.len()), "{pids:?}");
    executor.shutdown(false).unwrap();
}

/// `MiscTestCase.test_large_pool`.
fn two_hundred_workers_are_possible() {
    let mut pool = Pool::new(200).unwrap();
    assert!(pool.map(square, 0..1000).unwrap().into_iter().eq((0..1000).map(square)));
    until("all are there", || pool.workers().len() == 200);
    pool.close();
    pool.join().unwrap();
}
