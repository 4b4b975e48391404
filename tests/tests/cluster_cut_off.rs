//! Hosts that are cut off from the server: no packet goes through, and nobody is told. Whoever has held something there
//! learns that it is lost before another one has it; who has waited there is in nobody's way; what was taken there comes
//! again, and is done once.
//!
//! The hosts are network namespaces. Where nobody may make those, a process between both sides swallows what they say.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::cluster::Token;
use procession::{Bytes, Codec};
use procession_tests::cluster::{Place, again, server};
use procession_tests::network::{Network, Way};
use procession_tests::postgres::Postgres;
use procession_tests::{Actor, note, until};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

procession::test_support!();

/// The server of the tests of this program to which hosts have cables; `None` where namespaces or servers cannot be had.
fn joined() -> Option<&'static (Arc<Network>, Postgres)> {
    static JOINED: OnceLock<Option<(Arc<Network>, Postgres)>> = OnceLock::new();
    let start = || {
        let network = Arc::new(Network::new()?);
        let server = Postgres::start_in(network.clone(), false)?;
        server.ends_with_this_process();
        Some((network, server))
    };
    JOINED.get_or_init(start).as_ref()
}

/// Runs a test with a cable, and with a process in between, where a hold needs a lease; all at once, for most of the time
/// nothing happens.
fn by_each_way(test: impl Fn(&Place, &Way, &[&str]) + Sync) {
    at_each_server(|_, place, way, options| test(place, way, options));
}

/// Does that, with the server.
fn at_each_server(test: impl Fn(&Postgres, &Place, &Way, &[&str]) + Sync) {
    let mut ways = Vec::new();
    if let Some(postgres) = server() {
        for lease in ["lease 1500", "lease 3000"] {
            ways.push((postgres, Way::by_proxy(postgres.socket()), vec![lease, "deadline 1000"]));
        }
    }
    if let Some((network, postgres)) = joined() {
        // A lease that is longer than the server bears a silent host must not have its holder believe longer.
        for options in
            [vec!["deadline 1000"], vec!["lease 1500", "deadline 1000"], vec!["lease 20000", "deadline 1000"]]
        {
            ways.push((postgres, Way::Cable(network.host()), options));
        }
    }
    let name = std::thread::current().name().unwrap().to_owned();
    std::thread::scope(|scope| {
        for (postgres, way, options) in &ways {
            let one = || test(postgres, &Place::on(postgres), way, options);
            std::thread::Builder::new().name(name.clone()).spawn_scoped(scope, one).unwrap();
        }
    });
}

fn token(text: &str) -> Token {
    text.parse().unwrap()
}

/// Returns when so many processes wait for the lock.
fn so_many_wait(place: &Place, waiters: u32) {
    let cluster = place.connect();
    until("they wait", || cluster.list().unwrap().iter().any(|object| object.waiters == waiters));
}

/// Returns when the holder says that its hold is lost, which it says to whoever asks once the next one has it. Nothing can be
/// told from the time between the two: this process may be kept from running meanwhile.
fn until_it_knows(holder: &mut Actor, next: &mut Actor) {
    until("the holder knows", || {
        let is_the_next_ones = next.has_answered();
        let knows = holder.does("lost") == "true";
        assert!(knows || !is_the_next_ones, "the next one had it before the holder knew");
        knows
    });
}

#[test]
fn a_holder_that_is_cut_off_learns_it_before_the_next_one_has_it() {
    by_each_way(|place, way, options| {
        let far = place.beyond(way);
        let (mut holder, mut next) = (way.at_its_end(|| far.actor_with(options)), place.actor());
        let first = token(&holder.does("lock deploy"));
        next.tell("lock deploy");
        so_many_wait(place, 1);
        way.cut();
        let began = Instant::now();
        until_it_knows(&mut holder, &mut next);
        let learnt = began.elapsed();
        assert!(token(&next.did()) > first);
        note(&format!(
            "cut off ({options:?}): the holder knew after {learnt:?}, the next one had it after {:?}",
            began.elapsed()
        ));
        // It stays lost when the way is whole again, and another hold is another one.
        way.mend();
        assert_eq!(holder.does("lost"), "true");
        holder.fails("release", "Lost");
        again(&mut holder, "try-lock deploy", Err("WouldBlock"));
        next.does("release");
        holder.does("lock deploy");
    });
}

/// The heartbeat is not answered meanwhile, and that it is whole it hears on another connection.
#[test]
fn a_holder_that_is_cut_off_in_a_long_statement_learns_it_before_the_next_one_has_it() {
    at_each_server(|postgres, place, way, options| {
        let far = place.beyond(way);
        let options = [options, &["deadline 20000"]].concat();
        let (mut holder, mut next) = (way.at_its_end(|| far.actor_with(&options)), place.actor());
        holder.does("put 7");
        let first = token(&holder.does("lock deploy"));
        std::thread::scope(|scope| {
            let occupy = format!("BEGIN; LOCK TABLE {}.items; SELECT pg_sleep(7); COMMIT", place.schema);
            scope.spawn(move || postgres.sql(&occupy));
            let occupied = format!(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query ~ '{}.items'",
                place.schema
            );
            until("the table is taken", || postgres.sql(&occupied) == "1");
            holder.does("put-aside 8");
            // Longer than it would believe without an answer.
            std::thread::park_timeout(Duration::from_secs(3));
            assert_eq!(holder.does("lost"), "false");
            next.tell("lock deploy");
            so_many_wait(place, 1);
            way.cut();
            until_it_knows(&mut holder, &mut next);
            assert!(token(&next.did()) > first);
        });
    });
}

/// No heartbeat is answered while the server reads it.
#[test]
fn what_is_held_outlasts_the_upload_of_a_long_item() {
    let Some(postgres) = Postgres::start(false) else { return };
    let (place, way) = (Place::on(&postgres), Way::by_proxy(postgres.socket()));
    let far = place.beyond(&way);
    let cluster = far.options().deadline(Duration::from_secs(30)).connect(&far.url).unwrap();
    let (lock, items) =
        (cluster.lock("deploy"), cluster.joinable_queue::<Bytes>("items").codec(Codec::Bytes));
    let guard = lock.acquire().unwrap();
    assert!(items.is_empty().unwrap());
    way.slow_down();
    let begun = Instant::now();
    items.put(&vec![7; 8 << 20].into()).unwrap();
    assert!(begun.elapsed() > Duration::from_secs(3), "it was not long: {:?}", begun.elapsed());
    assert!(!guard.is_lost());
    guard.release().unwrap();
    assert_eq!(items.get().unwrap().len(), 8 << 20);
}

#[test]
fn a_waiter_that_is_cut_off_is_in_nobodys_way() {
    by_each_way(|place, way, options| {
        if matches!(way, Way::Proxy(_)) {
            // The server hears from the process in between that all is well, and a session that waits is not idle.
            return;
        }
        let far = place.beyond(way);
        let (mut waiter, mut holder, mut next) =
            (way.at_its_end(|| far.actor_with(options)), place.actor(), place.actor());
        let first = token(&holder.does("lock deploy"));
        waiter.tell("lock deploy");
        so_many_wait(place, 1);
        next.tell("lock deploy");
        so_many_wait(place, 2);
        way.cut();
        // It is the turn of who is cut off, and who cannot be told.
        holder.does("release");
        assert!(token(&next.did()) > first);
        waiter.failed("Unavailable");
        way.mend();
        again(&mut waiter, "try-lock deploy", Err("WouldBlock"));
        next.does("release");
        waiter.does("lock deploy");
    });
}

#[test]
fn an_item_that_was_taken_by_a_host_that_is_cut_off_comes_again_and_is_done_once() {
    by_each_way(|place, way, options| {
        let far = place.beyond(way);
        let (mut worker, mut next) = (way.at_its_end(|| far.actor_with(options)), place.actor());
        for says_so in [false, true] {
            next.does("put 7");
            assert_eq!(worker.does("get"), "7 1");
            way.cut();
            if says_so {
                // What it says is on its way for ever.
                worker.tell("done");
            }
            assert_eq!(next.does("get"), "7 2");
            if says_so {
                let answer = worker.answer();
                assert!(
                    answer.starts_with("error Unavailable") || answer.starts_with("error Lost"),
                    "{answer}"
                );
            } else {
                assert_eq!(worker.does("lost-item"), "true");
                worker.fails("done", "Lost");
            }
            next.does("done");
            way.mend();
            let jobs = place.connect().joinable_queue::<u64>("jobs");
            assert_eq!((jobs.unfinished().unwrap(), jobs.n_dead().unwrap()), (0, 0));
            // The server is reached again: the next round begins with a new session.
            again(&mut worker, "put 8", Ok(()));
            assert_eq!(worker.does("get"), "8 1");
            worker.does("done");
        }
    });
}
