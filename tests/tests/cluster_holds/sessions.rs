//! Sessions: which one has a hold, and when a session has ended.

use super::{ClusterError, ClusterOptions, Duration, Place, Postgres, server, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procession::cluster::{Cluster, LockGuard};
use std::cell::RefCell;

/// Sends a signal to the server's process that answers whoever holds something.
fn send_to_backend(postgres: &Postgres, place: &Place, signal: Signal) {
    let session = format!(
        "SELECT DISTINCT s.backend FROM {0}.sessions s JOIN pg_locks l ON l.pid = s.backend WHERE l.objsubid = 1",
        place.schema
    );
    kill(Pid::from_raw(postgres.sql(&session).parse().unwrap()), signal).unwrap();
}

/// A server that was stuck answers again: what the holder has counted as lost since then is for others.
#[test]
fn what_a_holder_counts_as_lost_is_free() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let (cluster, other) = (place.connect(), place.connect());
    let guard = cluster.lock("deploy").acquire().unwrap();
    send_to_backend(postgres, &place, Signal::SIGSTOP);
    until("the holder knows", || guard.is_lost());
    send_to_backend(postgres, &place, Signal::SIGCONT);
    // The guard is there still.
    other.lock("deploy").acquire_timeout(Duration::from_secs(10)).unwrap().release().unwrap();
    assert!(matches!(guard.release(), Err(ClusterError::Lost { .. })));
}

/// A hold is lost sooner than the answer to a statement is late.
#[test]
fn what_is_under_way_when_a_session_is_lost_has_its_time() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let cluster = place.connect();
    let counter = cluster.counter("count");
    assert_eq!(counter.add(1).unwrap(), 1);
    let guard = cluster.lock("deploy").acquire().unwrap();
    send_to_backend(postgres, &place, Signal::SIGSTOP);
    let change = std::thread::spawn(move || counter.add(1));
    until("the hold is lost", || guard.is_lost());
    send_to_backend(postgres, &place, Signal::SIGCONT);
    assert_eq!(change.join().unwrap().unwrap(), 2);
    place.connect().lock("deploy").acquire_timeout(Duration::from_secs(10)).unwrap().release().unwrap();
}

/// A statement that waits at the server, for somebody who has a table, holds up the heartbeat that is sent after it.
#[test]
fn a_statement_that_takes_the_server_long_costs_no_hold() {
    let Some(postgres) = server() else { return };
    for lease in [None, Some(Duration::from_millis(1500))] {
        let place = Place::on(postgres);
        let options = lease.map_or(place.options(), |lease| place.options().lease(lease));
        let cluster = options.connect(&place.url).unwrap();
        let jobs = cluster.joinable_queue::<u64>("jobs");
        jobs.put(&1).unwrap();
        let guard = cluster.lock("deploy").acquire().unwrap();
        let item = jobs.get().unwrap();
        let occupy = format!("BEGIN; LOCK TABLE {}.items; SELECT pg_sleep(5); COMMIT", place.schema);
        std::thread::scope(|scope| {
            scope.spawn(|| postgres.sql(&occupy));
            let occupied = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            until("the table is taken", || postgres.sql(occupied) == "1");
            let put = scope.spawn(|| jobs.put(&2));
            until("what was put is there", || {
                assert!(!guard.is_lost(), "a hold with the lease {lease:?} is lost");
                put.is_finished()
            });
            put.join().unwrap().unwrap();
        });
        assert!(matches!(place.connect().lock("deploy").try_acquire(), Err(ClusterError::WouldBlock { .. })));
        // Longer than what was known of the session lasts.
        std::thread::park_timeout(Duration::from_secs(2));
        item.task_done().unwrap();
        guard.release().unwrap();
    }
}

#[test]
fn who_was_stopped_in_a_wait_waits_on() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let (mut holder, mut waiter) = (place.actor(), place.actor_with(&["deadline 500"]));
    holder.does("lock deploy");
    waiter.tell("lock deploy");
    until("it waits", || place.connect().list().unwrap().iter().any(|object| object.waiters == 1));
    waiter.stop();
    // Longer than a second's slice of the wait and the deadline together.
    std::thread::park_timeout(Duration::from_secs(3));
    waiter.go_on();
    until("it waits again", || place.connect().list().unwrap().iter().any(|object| object.waiters == 1));
    holder.does("release");
    waiter.did();
}

/// Two databases in which all numbers are the same.
#[test]
fn a_hold_in_one_cluster_is_none_in_another() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    postgres.sql("CREATE DATABASE one");
    let in_database = |name: &str| place.url.replace("dbname=postgres", &format!("dbname={name}"));
    drop(place.options().connect(&in_database("one")).unwrap());
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'one'";
    until("its connections have ended", || postgres.sql(others) == "0");
    postgres.sql("CREATE DATABASE two TEMPLATE one");
    let connect = |name: &str| place.options().connect(&in_database(name)).unwrap();
    let (one, two) = (connect("one"), connect("two"));
    let held = one.lock("a").acquire().unwrap();
    let other = two.lock("b").acquire().unwrap();
    other.release().unwrap();
    // One database by two connections is one cluster.
    let again = connect("one").lock("a").acquire().map(drop);
    assert!(matches!(again, Err(ClusterError::Deadlock { is_own: true, .. })), "{again:?}");
    held.release().unwrap();
}

fn hold_and_wait(cluster: &Cluster) {
    let guard = cluster.lock("deploy").acquire().unwrap();
    let waiter = {
        let cluster = cluster.clone();
        std::thread::spawn(move || cluster.lock("deploy").acquire().map(drop))
    };
    until("somebody waits", || cluster.list().unwrap().iter().any(|object| object.waiters == 1));
    guard.release().unwrap();
    waiter.join().unwrap().unwrap();
}

#[test]
fn no_time_is_too_long() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    hold_and_wait(&place.options().deadline(Duration::MAX).connect(&place.url).unwrap());
    hold_and_wait(&place.options().lease(Duration::MAX).connect(&place.url).unwrap());
}

#[test]
fn every_name_of_a_schema_that_is_taken_can_be_used() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let longest = "s".repeat(52);
    for schema in ["user", "select", &longest] {
        let cluster = ClusterOptions::new().schema(schema).connect(&place.url).unwrap();
        let event = cluster.event("go");
        let waiter = {
            let event = event.clone();
            std::thread::spawn(move || event.wait())
        };
        let waits = || cluster.list().unwrap().iter().any(|object| object.waiters == 1);
        until("it waits", waits);
        // Another connection, which has to tell it.
        let other = ClusterOptions::new().schema(schema).connect(&place.url).unwrap();
        other.event("go").set().unwrap();
        waiter.join().unwrap().unwrap();
    }
    let refused = ClusterOptions::new().schema(&"s".repeat(53)).connect(&place.url).map(drop);
    assert!(matches!(refused, Err(ClusterError::InvalidName { .. })), "{refused:?}");
}

#[test]
fn encryption_is_for_networks_alone() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    for mode in ["require", "verify-full"] {
        drop(place.options().connect(&format!("{} sslmode={mode}", place.url)).unwrap());
    }
}

/// Every call of a pool has a queue, which goes with it: their numbers come to an end.
#[test]
fn numbers_of_objects_come_again() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let cluster = place.connect();
    let first = cluster.lock("first").acquire().unwrap();
    postgres.sql(&format!("SELECT setval('{}.ids', 2147483646)", place.schema));
    let last = cluster.lock("last").acquire().unwrap();
    // It has no room at the end, and begins behind the first lock.
    let permits = cluster.semaphore("permits", 3);
    let all = permits.acquire_many(3).unwrap();
    let counter = cluster.counter("count");
    assert_eq!(counter.add(1).unwrap(), 1);
    let ids = format!("SELECT string_agg(name || ' ' || id, ', ' ORDER BY id) FROM {}.objects", place.schema);
    assert_eq!(postgres.sql(&ids), "first 16, permits 17, count 21, last 2147483647");
    assert_eq!(cluster.list().unwrap().iter().map(|object| object.holders.len()).sum::<usize>(), 5);
    for guard in [first, last] {
        guard.release().unwrap();
    }
    all.release().unwrap();
}

thread_local! {
    static KEPT: RefCell<Option<LockGuard>> = const { RefCell::new(None) };
}

#[test]
fn a_guard_may_be_kept_until_its_thread_ends() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let cluster = place.connect();
    let thread = {
        let cluster = cluster.clone();
        // It is there before anything else that the thread has, and so ends after that.
        std::thread::spawn(move || {
            KEPT.with_borrow_mut(|kept| *kept = Some(cluster.lock("a").acquire().unwrap()))
        })
    };
    thread.join().unwrap();
    cluster.lock("a").acquire_timeout(Duration::from_secs(10)).unwrap().release().unwrap();
}
