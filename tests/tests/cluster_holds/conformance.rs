//! What both engines do alike, and the table of what they do not.

use super::{ClusterError, Duration, Place, everywhere, server, token, until};

#[test]
fn both_engines_hold_alike() {
    everywhere(|place| {
        a_lock_is_held_by_one(place);
        readers_share_and_writers_do_not(place);
        a_semaphore_has_so_many_permits(place);
        a_wait_that_never_would_end_is_told(place);
        bad_names_are_refused(place);
        what_a_killed_process_held_is_free(place);
    });
}

fn a_lock_is_held_by_one(place: &Place) {
    let (mut one, mut other) = (place.actor(), place.actor());
    let first = token(&one.does("lock deploy"));
    assert!(
        other.fails("try-lock deploy", "WouldBlock").contains("cluster_actor (pid "),
        "the holder is named"
    );
    other.fails("lock deploy 50", "TimedOut");
    other.tell("lock deploy");
    until("it waits or is refused", || {
        let found = place.connect().list().unwrap();
        let deploy = found.iter().find(|object| object.name == "deploy").unwrap();
        // In shared memory, waiters are not counted.
        deploy.state == "held" && (deploy.waiters == 1 || place.url.starts_with("shm:"))
    });
    assert!(!other.has_answered());
    assert_eq!(one.does("lost"), "false");
    one.does("release");
    assert!(token(&other.did()) > first);
    other.does("release");
    // Threads of one process are in one another's way, too.
    let cluster = place.connect();
    let guard = cluster.lock("deploy").acquire().unwrap();
    let lock = cluster.lock("deploy");
    let tried = std::thread::spawn(move || lock.try_acquire().map(drop)).join().unwrap();
    assert!(matches!(tried, Err(ClusterError::WouldBlock { .. })), "{tried:?}");
    guard.release().unwrap();
}

/// A hold lasts as long as its guard, and not as the value by which one has connected.
#[test]
fn a_guard_keeps_its_connection() {
    everywhere(|place| {
        let guard = place.connect().lock("deploy").acquire().unwrap();
        let permit = place.connect().semaphore("licences", 1).acquire().unwrap();
        let mut other = place.actor();
        other.fails("try-lock deploy", "WouldBlock");
        other.fails("try-permit licences 1", "WouldBlock");
        assert!(!guard.is_lost() && !permit.is_lost());
        guard.release().unwrap();
        permit.release().unwrap();
        other.does("try-lock deploy");
    });
}

fn readers_share_and_writers_do_not(place: &Place) {
    let (mut one, mut other) = (place.actor(), place.actor());
    one.does("read index");
    other.does("read index");
    one.fails("try-write index", "WouldBlock");
    other.does("release");
    other.fails("try-write index", "WouldBlock");
    one.does("release");
    let write = token(&other.does("write index"));
    one.fails("try-read index", "WouldBlock");
    one.tell("read index");
    other.does("release");
    assert!(token(&one.did()) > write);
}

fn a_semaphore_has_so_many_permits(place: &Place) {
    let (mut one, mut other) = (place.actor(), place.actor());
    one.does("permit licences 3");
    one.does("permit licences 3");
    other.does("permit licences 3");
    other.fails("try-permit licences 3", "WouldBlock");
    one.fails("try-permit licences 4", "Mismatch");
    other.tell("permit licences 3");
    one.does("release");
    other.did();
    one.fails("try-permit licences 3", "WouldBlock");
    other.does("release");
    one.does("try-permit licences 3");
}

fn a_wait_that_never_would_end_is_told(place: &Place) {
    let (mut one, mut other) = (place.actor(), place.actor());
    one.does("lock left");
    one.fails("lock left", "Deadlock");
    other.does("lock right");
    one.tell("lock right");
    other.tell("lock left");
    until("one of the two is told", || one.has_answered() || other.has_answered());
    let (mut told, mut waits) = if one.has_answered() { (one, other) } else { (other, one) };
    told.failed("Deadlock");
    assert!(!waits.has_answered());
    told.does("release");
    waits.did();
}

fn bad_names_are_refused(place: &Place) {
    let cluster = place.connect();
    for name in ["", "a b", "a/b", "ü", &"x".repeat(81)] {
        let refused = cluster.lock(name).try_acquire().map(drop);
        assert!(matches!(refused, Err(ClusterError::InvalidName { .. })), "{name:?}: {refused:?}");
    }
}

fn what_a_killed_process_held_is_free(place: &Place) {
    let (mut victim, mut next) = (place.actor(), place.actor());
    victim.does("lock deploy");
    victim.does("write index");
    victim.does("permit licences 3");
    next.tell("lock deploy");
    victim.kill();
    next.did();
    next.does("write index");
    for _ in 0..3 {
        next.does("permit licences 3");
    }
    // A waiter that is killed is in nobody's way: what it waited for goes to the next one.
    let mut waiter = place.actor();
    waiter.tell("lock deploy");
    let cluster = place.connect();
    until("it waits", || {
        place.url.starts_with("shm:") || cluster.list().unwrap().iter().any(|object| object.waiters > 0)
    });
    waiter.kill();
    drop(next);
    let guard = cluster.lock("deploy").acquire_timeout(Duration::from_secs(30)).unwrap();
    guard.release().unwrap();
}

/// The exact differences.
#[test]
fn the_engines_differ_in_this_alone() {
    let shm = Place::shm();
    let guard = shm.connect().lock("l").acquire().unwrap();
    assert_eq!(guard.token().timeline(), 0, "memory has no timeline");
    let here = &shm.connect().list().unwrap()[0];
    assert_eq!(
        (here.waiters, here.holders[0].host.as_str()),
        (0, ""),
        "waiters are not counted, and there is one host"
    );
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let guard = place.connect().lock("l").acquire().unwrap();
    assert_eq!(guard.token().timeline(), 1, "a server begins with its first timeline");
    let there = &place.connect().list().unwrap()[0];
    assert_eq!(there.holders[0].pid, std::process::id());
    assert!(!there.holders[0].host.is_empty(), "a server knows the host");
}
