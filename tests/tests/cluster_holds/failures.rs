//! Failures: of processes, of the server, and of the way between them.

use super::{ClusterError, Duration, Place, Postgres, server, token, until};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A way to the server that can be cut: it then swallows what both sides say, and neither side is told.
struct Way {
    port: u16,
    cut: Arc<AtomicBool>,
}

impl Way {
    fn to(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, cut) = (listener.local_addr().unwrap().port(), Arc::new(AtomicBool::new(false)));
        let is_cut = cut.clone();
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), UnixStream::connect(&socket).unwrap());
                let (near2, far2) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (one, other) = (is_cut.clone(), is_cut.clone());
                std::thread::spawn(move || forward(near, far, &one));
                std::thread::spawn(move || forward(far2, near2, &other));
            }
        });
        Self { port, cut }
    }
}

fn forward(mut from: impl Read, mut to: impl Write, cut: &AtomicBool) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !cut.load(Ordering::SeqCst) && to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
    // While the way is cut, ends do not go through either.
    while cut.load(Ordering::SeqCst) {
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn who_is_cut_off_learns_it_before_the_next_one_has_it() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let way = Way::to(postgres.socket());
    let mut far = Place::on(postgres);
    far.schema.clone_from(&place.schema);
    far.url = format!("host=127.0.0.1 port={} user=postgres dbname=postgres sslmode=disable", way.port);
    let mut next = place.actor();
    let mut holder = far.actor_with(&["lease 3000", "deadline 1000"]);
    let first = token(&holder.does("lock deploy"));
    next.tell("lock deploy");
    way.cut.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let mut learnt = None;
    until("the next one has it", || {
        if learnt.is_none() && holder.does("lost") == "true" {
            learnt = Some(began.elapsed());
        }
        next.has_answered()
    });
    let handed = began.elapsed();
    assert!(token(&next.did()) > first);
    let learnt = learnt.expect("the next one had it before the holder knew");
    procession_tests::note(&format!(
        "cut off: the holder knew after {learnt:?}, the next one had it after {handed:?}"
    ));
    // It stays lost when the way is open again, and another hold is another one.
    way.cut.store(false, Ordering::SeqCst);
    assert_eq!(holder.does("lost"), "true");
    holder.fails("release", "Lost");
    holder.fails("try-lock deploy", "WouldBlock");
    next.does("release");
    holder.does("lock deploy");
}

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
