//! Queues of a cluster: the same on a PostgreSQL server and in shared memory, and what becomes of their items when a
//! process or the server is killed.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::cluster::{Cluster, ClusterError, ClusterOptions, JoinableQueue};
use procession::{Codec, Process};
use procession_tests::cluster::{Place, everywhere, server};
use procession_tests::postgres::Postgres;
use procession_tests::{Dice, until};
use std::collections::BTreeSet;
use std::time::Duration;

procession::test_support!();

fn queue(place: &Place, name: &str) -> JoinableQueue<u64> {
    place.connect().joinable_queue(name)
}

fn connect(url: &str, schema: &str) -> Cluster {
    ClusterOptions::new().schema(schema).connect(url).unwrap()
}

#[test]
fn items_come_in_order_and_each_until_it_is_done() {
    everywhere(|place| {
        let jobs = queue(place, "jobs");
        assert!(matches!(jobs.try_get(), Err(ClusterError::WouldBlock { .. })));
        jobs.put(&1).unwrap();
        jobs.put_many(&[2, 3]).unwrap();
        assert_eq!((jobs.len().unwrap(), jobs.unfinished().unwrap()), (3, 3));
        let first = jobs.get().unwrap();
        assert_eq!((*first, first.attempt()), (1, 1));
        assert_eq!((jobs.len().unwrap(), jobs.unfinished().unwrap()), (2, 3));
        first.put_back().unwrap();
        let first = jobs.get().unwrap();
        assert_eq!((*first, first.attempt()), (1, 1));
        // A lease that is dropped gives its item back, and counts.
        drop(first);
        let first = jobs.get().unwrap();
        assert_eq!((*first, first.attempt()), (1, 2));
        first.task_done().unwrap();
        assert!(matches!(jobs.join_timeout(Duration::from_millis(30)), Err(ClusterError::NotDone { .. })));
        jobs.close().unwrap();
        assert!(jobs.is_closed().unwrap());
        assert!(matches!(jobs.put(&4), Err(ClusterError::Closed { .. })));
        let rest = jobs.get_many(10).unwrap();
        assert_eq!(rest.iter().map(|lease| **lease).collect::<Vec<_>>(), [2, 3]);
        assert!(matches!(jobs.get_timeout(Duration::from_millis(30)), Err(ClusterError::TimedOut { .. })));
        assert_eq!(jobs.tasks_done(rest).unwrap(), 2);
        jobs.join().unwrap();
        assert!(matches!(jobs.get(), Err(ClusterError::Closed { .. })));
        jobs.reopen().unwrap();
        jobs.put(&5).unwrap();
        jobs.get().unwrap().task_done().unwrap();
    });
}

#[test]
fn what_nobody_can_finish_is_a_dead_letter() {
    everywhere(|place| {
        let jobs = queue(place, "jobs").max_attempts(2);
        jobs.put_many(&[7, 8]).unwrap();
        drop(jobs.get().unwrap());
        drop(jobs.get().unwrap());
        jobs.get().unwrap().give_up().unwrap();
        jobs.join().unwrap();
        assert_eq!((jobs.n_dead().unwrap(), jobs.is_closed().unwrap()), (2, false));
        let letters = jobs.dead_letters().unwrap();
        assert_eq!(
            letters.iter().map(|letter| (letter.item, letter.attempts)).collect::<Vec<_>>(),
            [(7, 2), (8, 1)]
        );
        assert!(jobs.retry(&letters[0]).unwrap() && jobs.discard(&letters[1]).unwrap());
        assert!(!jobs.discard(&letters[1]).unwrap());
        let again = jobs.get().unwrap();
        assert_eq!((*again, again.attempt()), (7, 1));
        again.task_done().unwrap();
        assert!(jobs.dead_letters().unwrap().is_empty());
    });
}

#[test]
fn another_codec_or_number_of_attempts_is_refused() {
    everywhere(|place| {
        let jobs = queue(place, "jobs");
        jobs.put(&1).unwrap();
        for other in [queue(place, "jobs").codec(Codec::MsgPack), queue(place, "jobs").max_attempts(9)] {
            let refused = other.put(&2).unwrap_err();
            assert!(matches!(refused, ClusterError::Mismatch { .. }), "{refused}");
        }
        // Bytes that are no such item: others may be able to read it.
        let words: JoinableQueue<String> = place.connect().joinable_queue("jobs");
        assert!(matches!(words.get(), Err(ClusterError::Decode { .. })));
        assert_eq!(*jobs.get().unwrap(), 1);
    });
}

fn take_and_wait(url: String, schema: String) {
    let jobs: JoinableQueue<u64> = connect(&url, &schema).joinable_queue("jobs");
    let _lease = jobs.get().unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn the_item_of_a_killed_process_comes_again() {
    everywhere(|place| {
        let jobs = queue(place, "jobs");
        jobs.put(&100).unwrap();
        let victim = Process::spawn(take_and_wait, (place.url.clone(), place.schema.clone())).unwrap();
        until("it to have the item", || jobs.is_empty().unwrap());
        victim.kill().unwrap();
        let again = jobs.get().unwrap();
        assert_eq!((*again, again.attempt()), (100, 2));
        again.task_done().unwrap();
        jobs.join().unwrap();
        drop(victim.join());
    });
}

fn work(url: String, schema: String) {
    let cluster = connect(&url, &schema);
    let jobs = cluster.joinable_queue::<u64>("jobs").max_attempts(4095);
    let done = cluster.joinable_queue::<u64>("done");
    while let Ok(job) = jobs.get() {
        done.put(&*job).unwrap();
        job.task_done().unwrap();
    }
}

#[test]
fn no_item_is_lost_however_often_workers_are_killed() {
    everywhere(|place| {
        const ITEMS: u64 = 200;
        let jobs = queue(place, "jobs").max_attempts(4095);
        jobs.put_many(&(0..ITEMS).collect::<Vec<_>>()).unwrap();
        jobs.close().unwrap();
        let start = || Process::spawn(work, (place.url.clone(), place.schema.clone())).unwrap();
        let (mut workers, mut dice) =
            ([start(), start(), start()], Dice::new(procession_sys::random::nonzero_u64()));
        for killed in 1..=8 {
            // Each time when some more are done.
            until("items to be done", || jobs.unfinished().unwrap() <= ITEMS - 15 * killed);
            let worker = &mut workers[usize::try_from(dice.below(3)).unwrap()];
            worker.kill().unwrap();
            *worker = start();
        }
        jobs.join().unwrap();
        assert!(jobs.dead_letters().unwrap().is_empty());
        workers.into_iter().for_each(|worker| drop(worker.join()));
        let done = queue(place, "done");
        done.close().unwrap();
        let mut seen = BTreeSet::new();
        while let Ok(leases) = done.get_many(100) {
            seen.extend(leases.iter().map(|lease| **lease));
            done.tasks_done(leases).unwrap();
        }
        assert_eq!(seen, (0..ITEMS).collect());
    });
}

#[test]
fn what_was_put_outlives_a_crash_of_the_server_and_a_lease_does_not() {
    let Some(mut postgres) = Postgres::start(true) else { return };
    let place = Place::on(&postgres);
    let jobs = queue(&place, "jobs");
    for item in 0..20 {
        jobs.put(&item).unwrap();
    }
    let (done, lease) = (jobs.get().unwrap(), jobs.get().unwrap());
    done.task_done().unwrap();
    // An acknowledgement need not wait for the disk; this one has, because what is put after it does.
    jobs.put(&20).unwrap();
    postgres.crash();
    assert!(lease.is_lost());
    assert!(matches!(lease.task_done(), Err(ClusterError::Lost { .. })));
    let rest = jobs.get_many(100).unwrap();
    assert_eq!(rest.iter().map(|lease| **lease).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    assert_eq!((rest[0].attempt(), jobs.tasks_done(rest).unwrap()), (2, 20));
}

#[test]
fn an_item_is_done_if_the_callers_own_transaction_is() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let jobs = queue(&place, "jobs");
    jobs.put(&1).unwrap();
    let ack = |receipt: &procession::cluster::Receipt| {
        let (queue, item, session, attempt) =
            (&receipt.queue, receipt.item, receipt.session, receipt.attempt);
        format!("SELECT {}.ack('{queue}', {item}, {session}, {attempt})", place.schema)
    };
    let lease = jobs.get().unwrap();
    let receipt = lease.receipt();
    drop(postgres.sql(&format!("BEGIN; {}; ROLLBACK", ack(&receipt))));
    assert_eq!(jobs.unfinished().unwrap(), 1);
    drop(postgres.sql(&format!("BEGIN; {}; COMMIT", ack(&receipt))));
    // What is done is not given back.
    drop(lease);
    assert_eq!(jobs.unfinished().unwrap(), 0);
}
