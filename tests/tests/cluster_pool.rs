//! Pools of a cluster: the same on a PostgreSQL server and in shared memory, and what becomes of calls when a worker, the
//! caller or the server is killed.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::Process;
use procession::cluster::{Cluster, ClusterError, ClusterObject, ClusterOptions, Pool};
use procession_tests::cluster::{Place, everywhere, server};
use procession_tests::postgres::Postgres;
use procession_tests::until;
use std::thread;
use std::time::Duration;

procession::test_support!();

fn connect(url: &str, schema: &str) -> Cluster {
    ClusterOptions::new().schema(schema).connect(url).unwrap()
}

fn work(url: String, schema: String) {
    connect(&url, &schema).pool("pool").work().unwrap();
}

fn worker(place: &Place) -> Process<()> {
    Process::spawn(work, (place.url.clone(), place.schema.clone())).unwrap()
}

fn pool(place: &Place) -> Pool {
    place.connect().pool("pool")
}

/// Has the workers end, and looks that nothing is left of what was done.
fn close(place: &Place, workers: impl IntoIterator<Item = Process<()>>) {
    let pool = pool(place);
    pool.close().unwrap();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    assert_eq!(pool.unfinished().unwrap(), 0);
    let left = place.connect().list().unwrap();
    assert!(left.iter().all(|object| !object.name.starts_with("pool.call-")), "{left:?}");
}

fn square(n: u64) -> u64 {
    assert!(n != 13, "unlucky");
    n * n
}

#[test]
fn results_come_in_the_order_of_the_items_and_failures_in_their_place() {
    everywhere(|place| {
        let workers = [worker(place), worker(place)];
        let pool = pool(place);
        assert_eq!(pool.map(square, 100..400).unwrap(), (100..400).map(|n| n * n).collect::<Vec<u64>>());
        assert_eq!(pool.map(|a: u64, b: u64| a + b, [(1, 2), (3, 4)]).unwrap(), [3, 7]);
        assert!(pool.map(square, []).unwrap().is_empty());
        let failed = pool.map(square, 10..20).unwrap_err();
        let ClusterError::TaskFailed { item: 3, reason, function, .. } = &failed else { panic!("{failed}") };
        assert!(reason.contains("unlucky") && reason.contains("cluster_pool.rs"), "{reason}");
        assert!(function.ends_with("square"));
        let each = pool.try_map(square, 12..15).unwrap();
        assert!(
            matches!(each[..], [Ok(144), Err(ClusterError::TaskFailed { item: 1, .. }), Ok(196)]),
            "{each:?}"
        );
        assert_eq!(pool.submit(square, 7).unwrap().result().unwrap(), 49);
        let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(pool.submit(words, "a b".to_owned()).unwrap().result().unwrap(), ["a", "b"]);
        close(place, workers);
    });
}

/// The item itself: the first one only once the others are done.
fn wait_for_others(url: String, schema: String, item: u64) -> u64 {
    let latch = connect(&url, &schema).latch("others", 3);
    if item == 0 {
        latch.wait().unwrap();
    } else {
        latch.arrive().unwrap();
    }
    item
}

#[test]
fn results_can_be_used_while_others_are_not_there() {
    everywhere(|place| {
        let workers = [worker(place), worker(place)];
        let pool = pool(place);
        let items = |count| (0..count).map(|item| (place.url.clone(), place.schema.clone(), item));
        let mut as_they_come = pool.imap_unordered(wait_for_others, items(4)).unwrap();
        // The third opens the latch, before its own result is there.
        let first: Vec<usize> = as_they_come.by_ref().take(2).map(|(item, _)| item).collect();
        assert_eq!(first, [1, 2]);
        let mut last: Vec<(usize, u64)> =
            as_they_come.map(|(item, result)| (item, result.unwrap())).collect();
        last.sort_unstable();
        assert_eq!(last, [(0, 0), (3, 3)]);
        let in_order: Vec<_> = pool.imap(square, 12..15).unwrap().collect();
        assert!(
            matches!(in_order[..], [Ok(144), Err(ClusterError::TaskFailed { item: 1, .. }), Ok(196)]),
            "{in_order:?}"
        );
        assert_eq!(pool.imap(square, []).unwrap().count(), 0);
        // Of the others nobody wants to know.
        assert_eq!(pool.imap(square, 1..100).unwrap().next().unwrap().unwrap(), 1);
        close(place, workers);
    });
}

#[test]
fn a_result_that_is_late_can_be_asked_for_again() {
    everywhere(|place| {
        let pool = pool(place);
        let mut future = pool.submit(square, 5).unwrap();
        let late = future.result_timeout(Duration::from_millis(20));
        assert!(matches!(late, Err(ClusterError::TimedOut { .. })), "{late:?}");
        let worker = worker(place);
        assert_eq!(future.result_timeout(Duration::MAX).unwrap(), 25);
        assert_eq!(future.result().unwrap(), 25);
        close(place, [worker]);
    });
}

#[test]
fn what_lies_in_this_hosts_memory_does_not_cross() {
    everywhere(|place| {
        let queue: procession::Queue<u64> = procession::Queue::new().unwrap();
        let refused = pool(place).submit(|_: procession::Queue<u64>| (), queue).map(drop);
        assert!(matches!(refused, Err(ClusterError::Encode { .. })), "{refused:?}");
    });
}

#[test]
fn pools_whose_names_begin_alike_have_their_own_results() {
    everywhere(|place| {
        let cluster = place.connect();
        let (one, other) = (cluster.pool("a"), cluster.pool("a.b"));
        let workers = [one.clone(), other.clone()].map(|pool| thread::spawn(move || pool.work()));
        assert_eq!(one.map_named("b.c", square, [2, 3]).unwrap(), [4, 9]);
        assert_eq!(other.map_named("c", square, [4, 5]).unwrap(), [16, 25]);
        for (pool, name) in [(one, "b.c"), (other, "c")] {
            pool.forget(name).unwrap();
            pool.close().unwrap();
        }
        workers.into_iter().for_each(|worker| worker.join().unwrap().unwrap());
    });
}

/// Says that it has begun, and takes as long as it is wanted to.
fn begin_and_wait(url: String, schema: String, wants: i64) -> u32 {
    let cluster = connect(&url, &schema);
    if cluster.counter("begun").add(1).unwrap() < wants {
        cluster.event("never").wait().unwrap();
    }
    std::process::id()
}

#[test]
fn what_a_killed_worker_was_about_is_done_by_another_one() {
    everywhere(|place| {
        let (cluster, pool) = (place.connect(), pool(place));
        let first = worker(place);
        let future = pool.submit(begin_and_wait, (place.url.clone(), place.schema.clone(), 2)).unwrap();
        until("it has begun", || cluster.counter("begun").get().unwrap() == 1);
        let second = worker(place);
        first.kill().unwrap();
        assert_eq!(future.result().unwrap(), second.pid());
        drop(first.join());
        close(place, [second]);
    });
}

#[test]
fn an_item_that_kills_its_workers_has_an_outcome() {
    everywhere(|place| {
        let pool = pool(place);
        let mut workers = Vec::from([(); 4].map(|()| worker(place)));
        let each = pool.try_map(|n: u32| if n == 1 { std::process::abort() } else { n }, 0..4).unwrap();
        assert!(
            matches!(&each[..], [Ok(0), Err(ClusterError::TaskFailed { item: 1, reason, .. }), Ok(2), Ok(3)]
                if reason.contains("3 workers")),
            "{each:?}"
        );
        let is_alive = |worker: &Process<()>| worker.try_wait().unwrap().is_none();
        until("three of them are gone", || workers.iter().filter(|worker| is_alive(worker)).count() == 1);
        let alive = workers.iter().position(is_alive).unwrap();
        let alive = workers.swap_remove(alive);
        workers.into_iter().for_each(|worker| drop(worker.join()));
        close(place, [alive]);
    });
}

#[test]
fn what_nobody_waits_for_is_not_done() {
    everywhere(|place| {
        let (cluster, pool) = (place.connect(), pool(place));
        let arguments = || (place.url.clone(), place.schema.clone(), 0);
        pool.submit(begin_and_wait, arguments()).unwrap().cancel().unwrap();
        drop(pool.submit(begin_and_wait, arguments()).unwrap());
        let mut wanted = pool.submit(begin_and_wait, arguments()).unwrap();
        assert!(!wanted.is_done().unwrap());
        let worker = worker(place);
        until("it is done", || wanted.is_done().unwrap());
        assert_eq!(wanted.result().unwrap(), worker.pid());
        assert_eq!(cluster.counter("begun").get().unwrap(), 1);
        close(place, [worker]);
    });
}

/// Counts its calls; but for the first few items, they wait until they may.
fn count(url: String, schema: String, n: u64) -> u64 {
    let cluster = connect(&url, &schema);
    cluster.counter("calls").add(1).unwrap();
    if n >= 10 {
        cluster.event("go-on").wait().unwrap();
    }
    n
}

fn items(url: &str, schema: &str) -> Vec<(String, String, u64)> {
    (0..40).map(|n| (url.to_owned(), schema.to_owned(), n)).collect()
}

fn call_by_name(url: String, schema: String) -> Vec<u64> {
    let items = items(&url, &schema);
    connect(&url, &schema).pool("pool").map_named("nightly", count, items).unwrap()
}

#[test]
fn results_with_a_name_outlive_the_caller() {
    everywhere(|place| {
        let (cluster, pool) = (place.connect(), pool(place));
        let calls = cluster.counter("calls");
        let caller = Process::spawn(call_by_name, (place.url.clone(), place.schema.clone())).unwrap();
        // Who dies before it has said that all tasks are put leaves some to be called once more.
        until("it is said that everything is put", || {
            let results = |object: &ClusterObject| object.name == "pool.nightly" && object.number == Some(1);
            cluster.list().unwrap().iter().any(results)
        });
        assert_eq!(pool.unfinished().unwrap(), 40);
        let workers = [worker(place), worker(place)];
        until("some are done", || calls.get().unwrap() >= 5);
        let busy = pool.map_named("nightly", count, items(&place.url, &place.schema));
        assert!(matches!(busy, Err(ClusterError::WouldBlock { .. })), "{busy:?}");
        caller.kill().unwrap();
        drop(caller.join());
        cluster.event("go-on").set().unwrap();
        for _ in 0..2 {
            let results = loop {
                match pool.map_named("nightly", count, items(&place.url, &place.schema)) {
                    // A server learns of the caller's end in a moment.
                    Err(ClusterError::WouldBlock { .. }) => thread::yield_now(),
                    outcome => break outcome.unwrap(),
                }
            };
            assert_eq!(results, (0..40).collect::<Vec<_>>());
            assert_eq!(calls.get().unwrap(), 40, "each was called once");
        }
        pool.forget("nightly").unwrap();
        pool.forget("nightly").unwrap();
        assert_eq!(pool.map_named("nightly", count, items(&place.url, &place.schema)).unwrap().len(), 40);
        assert_eq!(calls.get().unwrap(), 80);
        pool.forget("nightly").unwrap();
        close(place, workers);
    });
}

fn call(url: String, schema: String) {
    let arguments = (url.clone(), schema.clone(), i64::MAX);
    drop(connect(&url, &schema).pool("pool").map(begin_and_wait, [arguments]));
}

#[test]
fn what_a_killed_caller_wanted_is_forgotten() {
    everywhere(|place| {
        let (cluster, pool) = (place.connect(), pool(place));
        let is_there = || cluster.list().unwrap().iter().any(|object| object.name.starts_with("pool.call-"));
        let sql = |text: &str| server().unwrap().sql(&format!("SET search_path TO {}; {text}", place.schema));
        let caller = Process::spawn(call, (place.url.clone(), place.schema.clone())).unwrap();
        until("the task is put", || pool.unfinished().unwrap() == 1);
        let is_on_a_server = !place.url.starts_with("shm:");
        if is_on_a_server {
            // As if it had been cut off for long.
            sql("UPDATE queues SET gone = now() - interval '2 days' WHERE process IS NOT NULL");
        }
        drop(place.connect());
        assert!(is_there());
        caller.kill().unwrap();
        drop(caller.join());
        if is_on_a_server {
            until("it is seen that it has ended", || {
                drop(place.connect());
                sql("SELECT count(*) FROM queues WHERE gone IS NOT NULL") == "1"
            });
            assert!(is_there());
            sql("UPDATE queues SET gone = gone - interval '1 day'");
            // A result that came after all goes first.
            sql("INSERT INTO items (queue, item) SELECT id, '' FROM queues WHERE gone IS NOT NULL");
            drop(place.connect());
            assert!(is_there());
            drop(place.connect());
            assert!(!is_there());
        }
        close(place, [worker(place)]);
        assert_eq!(cluster.counter("begun").get().unwrap(), 0, "nobody wanted it");
    });
}

#[test]
fn a_call_may_have_any_name() {
    everywhere(|place| {
        let pool = pool(place);
        let worker = worker(place);
        let list = || place.connect().list().unwrap().into_iter().map(|object| object.name);
        until("the worker has its queue", || list().any(|name| name.starts_with("pool.")));
        // Of the queue of tasks, as whoever looks at the cluster sees it.
        let tasks = list().find_map(|name| Some(name.strip_prefix("pool.")?.to_owned())).unwrap();
        for name in [&tasks, "call-1", "named-1", "nightly"] {
            assert_eq!(pool.map_named(name, square, [2, 3]).unwrap(), [4, 9], "{name}");
            pool.forget(name).unwrap();
        }
        close(place, [worker]);
    });
}

#[test]
fn a_call_goes_on_when_the_server_is_started_again() {
    let Some(mut postgres) = Postgres::start(true) else { return };
    let place = Place::on(&postgres);
    let workers = [worker(&place), worker(&place)];
    let slow = |n: u64| {
        thread::sleep(Duration::from_millis(20));
        n
    };
    let callers = [None, Some("nightly")].map(|name| {
        let pool = pool(&place);
        thread::spawn(move || match name {
            None => pool.map(slow, 0..100),
            Some(name) => pool.map_named(name, slow, 0..100),
        })
    });
    let pool = pool(&place);
    until("all are put", || pool.unfinished().unwrap() > 100);
    until("some are done", || (1..160).contains(&pool.unfinished().unwrap()));
    postgres.crash();
    for caller in callers {
        assert_eq!(caller.join().unwrap().unwrap(), (0..100).collect::<Vec<_>>());
    }
    pool.forget("nightly").unwrap();
    close(&place, workers);
}
