//! Failures of processes and of the server.

use super::{ClusterError, Duration, Place, Postgres, server, until};
use std::time::Instant;

#[test]
fn who_connects_first_makes_the_schema_and_the_others_find_it() {
    let Some(postgres) = server() else { return };
    for _ in 0..10 {
        let place = Place::on(postgres);
        let (options, url) = (place.options(), place.url.clone());
        let threads = [(); 4].map(|()| {
            let (options, url) = (options.clone(), url.clone());
            std::thread::spawn(move || options.connect(&url).map(drop))
        });
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
    }
}

#[test]
fn a_stopped_holder_keeps_what_it_holds_unless_it_has_a_lease() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let (mut stays, mut goes) = (place.actor(), place.actor_with(&["lease 1000"]));
    let mut next = place.actor();
    stays.does("lock a");
    goes.does("lock b");
    stays.stop();
    goes.stop();
    next.does("lock b");
    next.fails("lock a 3500", "TimedOut");
    stays.go_on();
    goes.go_on();
    assert_eq!((stays.does("lost"), goes.does("lost")), ("false".to_owned(), "true".to_owned()));
    goes.fails("release", "Lost");
    stays.does("release");
}

#[test]
fn a_session_that_the_server_ends_is_lost_and_a_new_one_is_begun() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let cluster = place.connect();
    let guard = cluster.lock("deploy").acquire().unwrap();
    postgres.sql(&format!("SELECT pg_terminate_backend(backend) FROM {}.sessions", place.schema));
    until("the holder knows", || guard.is_lost());
    let again = cluster.lock("deploy").acquire().unwrap();
    assert!(again.token() > guard.token());
    assert!(!again.is_lost() && guard.is_lost());
    assert!(matches!(guard.release(), Err(ClusterError::Lost { .. })));
    assert!(!again.is_lost());
    again.release().unwrap();
}

#[test]
fn a_wait_pins_no_old_rows() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let (mut holder, mut waiter) = (place.actor(), place.actor());
    holder.does("lock deploy");
    waiter.tell("lock deploy");
    let oldest = "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) FROM pg_stat_activity \
                  WHERE backend_xmin IS NOT NULL";
    let (began, mut most) = (Instant::now(), 0.0_f64);
    while began.elapsed() < Duration::from_secs(7) {
        most = most.max(postgres.sql(oldest).parse().unwrap());
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert!((1.0..6.0).contains(&most), "a transaction was {most} s old");
    holder.does("release");
    waiter.did();
}

#[test]
fn no_token_comes_again_when_the_server_is_killed() {
    let Some(mut postgres) = Postgres::start(true) else { return };
    let place = Place::on(&postgres);
    let mut highest = None;
    for _ in 0..3 {
        let cluster = place.connect();
        for name in ["a", "b"].repeat(60) {
            let guard = cluster.lock(name).acquire().unwrap();
            assert!(Some(guard.token()) > highest, "{} after {highest:?}", guard.token());
            highest = Some(guard.token());
        }
        let guard = cluster.lock("a").acquire().unwrap();
        highest = Some(guard.token());
        postgres.crash();
        until("the holder knows", || guard.is_lost());
        assert!(matches!(guard.release(), Err(ClusterError::Lost { .. })));
        // The connection of before is made anew by itself.
        let guard = cluster.lock("a").acquire().unwrap();
        assert!(Some(guard.token()) > highest);
        highest = Some(guard.token());
    }
}
