//! Several permits of a cluster's semaphore at once: the same on a PostgreSQL server and in shared memory.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::Process;
use procession::cluster::{ClusterError, ClusterOptions, Semaphore};
use procession_tests::cluster::{Place, everywhere};
use procession_tests::until;
use std::time::Duration;

procession::test_support!();

fn gpus(place: &Place) -> Semaphore {
    place.connect().semaphore("gpus", 3)
}

/// How many of its permits are held.
fn held(place: &Place) -> usize {
    let objects = place.connect().list().unwrap();
    objects.into_iter().find(|object| object.name == "gpus").map_or(0, |object| object.holders.len())
}

#[test]
fn several_permits_are_had_at_once_or_none_is() {
    everywhere(|place| {
        assert!(place.connect().find_semaphore("gpus").unwrap().is_none());
        let (ours, theirs) = (gpus(place), gpus(place));
        let two = ours.acquire_many(2).unwrap();
        assert_eq!(place.connect().find_semaphore("gpus").unwrap().unwrap().permits(), 3);
        assert!(matches!(theirs.try_acquire_many(2), Err(ClusterError::WouldBlock { .. })));
        let short = Duration::from_millis(30);
        assert!(matches!(theirs.acquire_many_timeout(2, short), Err(ClusterError::TimedOut { .. })));
        // Who was refused, or gave up, has none of them.
        until("what was gathered to be free", || held(place) == 2);
        let one = ours.try_acquire_many(1).unwrap();
        assert!(theirs.try_acquire().is_err());
        two.release().unwrap();
        let again = theirs.acquire_many_timeout(2, Duration::from_secs(30)).unwrap();
        assert_eq!(held(place), 3);
        drop((one, again));
        let all = ours.acquire_many(3).unwrap();
        all.release().unwrap();
        assert_eq!(held(place), 0);
        for never in [0, 4] {
            let refused = ours.acquire_many(never).unwrap_err();
            assert!(matches!(refused, ClusterError::Mismatch { .. }), "{refused}");
        }
    });
}

fn wait_for_all(url: String, schema: String) {
    let cluster = ClusterOptions::new().schema(&schema).connect(&url).unwrap();
    let _all = cluster.semaphore("gpus", 3).acquire_many(3).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn who_waits_for_several_gathers_them_and_leaves_none_when_it_is_killed() {
    everywhere(|place| {
        let ours = gpus(place);
        let (first, second) = (ours.acquire().unwrap(), ours.acquire().unwrap());
        let victim = Process::spawn(wait_for_all, (place.url.clone(), place.schema.clone())).unwrap();
        first.release().unwrap();
        second.release().unwrap();
        until("it to have all", || held(place) == 3);
        victim.kill().unwrap();
        ours.acquire_many_timeout(3, Duration::from_secs(30)).unwrap().release().unwrap();
        drop(victim.join());
    });
}

fn take_some(url: String, schema: String, permits: u32, rounds: u32) {
    let gpus = ClusterOptions::new().schema(&schema).connect(&url).unwrap().semaphore("gpus", 3);
    let inside = ClusterOptions::new().schema(&schema).connect(&url).unwrap().counter("inside");
    for _ in 0..rounds {
        let held = gpus.acquire_many(permits).unwrap();
        assert!(inside.add(permits.into()).unwrap() <= 3);
        inside.add(-i64::from(permits)).unwrap();
        held.release().unwrap();
    }
}

#[test]
fn those_who_want_several_and_those_who_want_one_all_get_them() {
    everywhere(|place| {
        let start = |permits: u32| {
            let of = (place.url.clone(), place.schema.clone(), permits, 8);
            Process::spawn(take_some, of).unwrap()
        };
        let all = [start(1), start(2), start(2), start(3)];
        all.into_iter().for_each(|one| one.join().unwrap());
        assert_eq!((held(place), place.connect().counter("inside").get().unwrap()), (0, 0));
    });
}
