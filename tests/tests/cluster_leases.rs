//! Leases of a cluster that others decide about by their tokens, and those that last for a time: the same on a PostgreSQL
//! server and in shared memory.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::Process;
use procession::cluster::{ClusterError, ClusterOptions, JoinableQueue, LeaseToken};
use procession_tests::cluster::{Place, everywhere, server};
use procession_tests::postgres::Postgres;
use procession_tests::until;
use std::time::Duration;

procession::test_support!();

const LONG: Duration = Duration::from_secs(3600);

fn queue(place: &Place) -> JoinableQueue<u64> {
    place.connect().joinable_queue("jobs")
}

fn is_lost<T>(outcome: Result<T, ClusterError>) -> bool {
    matches!(outcome, Err(ClusterError::Lost { .. }))
}

#[test]
fn who_has_the_token_decides_about_the_item() {
    everywhere(|place| {
        // Two sessions: what one holds, the other decides about.
        let (ours, theirs) = (queue(place).max_attempts(5), queue(place).max_attempts(5));
        ours.put_many(&[1, 2, 3]).unwrap();
        let (done, back, dead) = (ours.get().unwrap(), ours.get().unwrap(), ours.get().unwrap());
        assert_eq!(theirs.redeem(done.token()).time_left().unwrap(), None);
        theirs.redeem(done.token()).task_done().unwrap();
        theirs.redeem(back.token()).give_back().unwrap();
        theirs.redeem(dead.token()).give_up().unwrap();
        assert_eq!(
            (theirs.len().unwrap(), theirs.unfinished().unwrap(), theirs.n_dead().unwrap()),
            (1, 1, 1)
        );
        // Each is heard once, and their holder is told.
        for lease in [&done, &back, &dead] {
            assert!(is_lost(theirs.redeem(lease.token()).task_done()));
            assert!(is_lost(theirs.redeem(lease.token()).extend(LONG)));
            assert!(is_lost(lease.time_left()) && is_lost(lease.extend(LONG)));
        }
        let stale = back.token();
        assert!(is_lost(back.task_done()));
        // The token of one lease is that of no other, of the same item neither.
        let again = ours.get().unwrap();
        assert_eq!((*again, again.attempt(), again.id()), (2, 2, stale.id()));
        assert!(is_lost(theirs.redeem(stale).task_done()));
        let wrong = LeaseToken::new(again.id(), again.token().key() ^ 1);
        assert!(is_lost(theirs.redeem(wrong).give_up()));
        theirs.redeem(again.token()).task_done().unwrap();
        theirs.join().unwrap();
        // Dropped, they give nothing back that others have decided about.
        drop((done, dead, again));
        assert_eq!(theirs.len().unwrap(), 0);
    });
}

#[test]
fn a_lease_ends_with_its_time_and_can_be_extended() {
    everywhere(|place| {
        let (ours, theirs) = (queue(place), queue(place));
        ours.put(&7).unwrap();
        let first = ours.get().unwrap();
        first.extend(Duration::from_millis(20)).unwrap();
        // Nobody asks for it, and it is there all the same.
        let second = theirs.get().unwrap();
        assert_eq!((*second, second.attempt()), (7, 2));
        assert!(is_lost(ours.redeem(first.token()).task_done()) && is_lost(first.task_done()));
        second.extend(LONG).unwrap();
        let left = ours.redeem(second.token()).time_left().unwrap().unwrap();
        assert!(left > LONG / 2 && left <= LONG, "{left:?}");
        // Others make it longer or shorter.
        ours.redeem(second.token()).extend(Duration::MAX).unwrap();
        assert_eq!(second.time_left().unwrap(), None);
        ours.redeem(second.token()).extend(Duration::from_millis(20)).unwrap();
        until("its time to be over", || is_lost(second.time_left()));
        assert!(is_lost(ours.redeem(second.token()).extend(LONG)), "what is over is not extended");
        assert!(is_lost(second.task_done()));
        let third = ours.get().unwrap();
        assert_eq!((*third, third.attempt()), (7, 3));
        // A time is that of one lease: the next one has none.
        assert_eq!(third.time_left().unwrap(), None);
        third.task_done().unwrap();
    });
}

#[test]
fn an_item_whose_time_is_over_too_often_is_a_dead_letter() {
    everywhere(|place| {
        let jobs = queue(place).max_attempts(1);
        jobs.put(&7).unwrap();
        let lease = jobs.get().unwrap();
        lease.extend(Duration::from_millis(20)).unwrap();
        jobs.join().unwrap();
        assert_eq!((jobs.n_dead().unwrap(), jobs.unfinished().unwrap()), (1, 0));
        assert!(is_lost(lease.put_back()));
    });
}

fn take_and_tell(url: String, schema: String) {
    let cluster = ClusterOptions::new().schema(&schema).connect(&url).unwrap();
    let lease = cluster.joinable_queue::<u64>("jobs").get().unwrap();
    lease.extend(LONG).unwrap();
    cluster.joinable_queue::<LeaseToken>("tokens").put(&lease.token()).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_lease_ends_with_its_holder_however_much_of_its_time_is_left() {
    everywhere(|place| {
        let jobs = queue(place);
        jobs.put(&7).unwrap();
        let victim = Process::spawn(take_and_tell, (place.url.clone(), place.schema.clone())).unwrap();
        let told = place.connect().joinable_queue::<LeaseToken>("tokens").get().unwrap();
        let token = *told;
        told.task_done().unwrap();
        assert!(jobs.redeem(token).time_left().unwrap() > Some(LONG / 2));
        victim.kill().unwrap();
        drop(victim.join());
        until("the holder to be known to be dead", || is_lost(jobs.redeem(token).time_left()));
        assert!(is_lost(jobs.redeem(token).task_done()));
        let again = jobs.get().unwrap();
        assert_eq!((*again, again.attempt()), (7, 2));
        again.task_done().unwrap();
    });
}

#[test]
fn a_queue_is_looked_for_without_being_made() {
    everywhere(|place| {
        assert!(queue(place).if_there().unwrap().is_none());
        assert!(place.connect().list().unwrap().iter().all(|object| object.name != "jobs"));
        queue(place).put(&1).unwrap();
        assert_eq!(queue(place).if_there().unwrap().unwrap().len().unwrap(), 1);
        assert!(matches!(queue(place).max_attempts(9).if_there(), Err(ClusterError::Mismatch { .. })));
    });
}

#[test]
fn what_is_over_cannot_be_acknowledged_in_a_transaction_either() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let jobs = queue(&place);
    jobs.put(&1).unwrap();
    let lease = jobs.get().unwrap();
    lease.extend(Duration::from_millis(10)).unwrap();
    until("its time to be over", || is_lost(lease.time_left()));
    let receipt = lease.receipt();
    let (item, session, attempt) = (receipt.item, receipt.session, receipt.attempt);
    let ack = format!("SELECT {}.ack('jobs', {item}, {session}, {attempt})", place.schema);
    let said = std::panic::catch_unwind(|| postgres.sql(&ack));
    assert!(said.is_err() || jobs.unfinished().unwrap() == 1, "{said:?}");
    assert_eq!(jobs.unfinished().unwrap(), 1);
}

#[test]
fn a_token_is_good_for_nothing_after_a_crash_of_the_server() {
    let Some(mut postgres) = Postgres::start(true) else { return };
    let place = Place::on(&postgres);
    let jobs = queue(&place);
    jobs.put(&1).unwrap();
    let lease = jobs.get().unwrap();
    lease.extend(LONG).unwrap();
    // So that the lease is on the disk.
    jobs.put(&2).unwrap();
    postgres.crash();
    assert!(is_lost(jobs.redeem(lease.token()).task_done()));
    assert_eq!(jobs.get_many(9).unwrap().iter().map(|lease| **lease).collect::<Vec<_>>(), [1, 2]);
}
