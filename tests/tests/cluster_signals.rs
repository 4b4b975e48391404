//! Events, latches, counters and barriers of a cluster: the same on a PostgreSQL server and in shared memory, and what
//! becomes of those who wait when a process is killed.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::Process;
use procession::cluster::{Cluster, ClusterError, ClusterOptions};
use procession_tests::cluster::{Place, everywhere, server};
use procession_tests::until;
use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

procession::test_support!();

fn connect(url: &str, schema: &str) -> Cluster {
    ClusterOptions::new().schema(schema).connect(url).unwrap()
}

/// Runs a function of a cluster in a child.
fn elsewhere(place: &Place, work: fn(Cluster)) -> Process<()> {
    // A function pointer does not cross, and its number among these does.
    let nth = WORK.iter().position(|one| std::ptr::fn_addr_eq(*one, work)).unwrap();
    Process::spawn(
        |url: String, schema: String, nth: usize| WORK[nth](connect(&url, &schema)),
        (place.url.clone(), place.schema.clone(), nth),
    )
    .unwrap()
}

const WORK: [fn(Cluster); 7] =
    [wait_for_go, count_to_100, arrive_at_latch, meet_50_times, wait_at_barrier, wait_for_one, be_up];

fn wait_for_go(cluster: Cluster) {
    cluster.event("go").wait().unwrap();
}

fn count_to_100(cluster: Cluster) {
    let counter = cluster.counter("count");
    for _ in 0..100 {
        counter.add(1).unwrap();
    }
}

fn arrive_at_latch(cluster: Cluster) {
    cluster.latch("loaded", 3).arrive().unwrap();
}

fn meet_50_times(cluster: Cluster) {
    let (barrier, firsts) = (cluster.barrier("phase", 3), cluster.counter("firsts"));
    for _ in 0..50 {
        if barrier.wait().unwrap() == 0 {
            firsts.add(1).unwrap();
        }
    }
}

fn be_up(cluster: Cluster) {
    cluster.event("up").set_owned().unwrap();
    loop {
        thread::park();
    }
}

fn wait_at_barrier(cluster: Cluster) {
    drop(cluster.barrier("phase", 3).wait());
}

fn wait_for_one(cluster: Cluster) {
    drop(cluster.barrier("pair", 2).wait());
}

#[test]
fn an_event_lets_all_go_on_wherever_they_are() {
    everywhere(|place| {
        let event = place.connect().event("go");
        assert!(!event.is_set().unwrap());
        assert!(matches!(event.wait_timeout(Duration::from_millis(20)), Err(ClusterError::TimedOut { .. })));
        let children = [elsewhere(place, wait_for_go), elsewhere(place, wait_for_go)];
        event.set().unwrap();
        children.into_iter().for_each(|child| child.join().unwrap());
        event.wait().unwrap();
        assert!(matches!(
            event.wait_cleared_timeout(Duration::from_millis(20)),
            Err(ClusterError::TimedOut { .. })
        ));
        event.clear().unwrap();
        event.wait_cleared().unwrap();
        // A pulse is for those who wait now.
        let waiter = {
            let event = event.clone();
            thread::spawn(move || event.wait())
        };
        until("it is let go", || {
            event.pulse().unwrap();
            waiter.is_finished()
        });
        waiter.join().unwrap().unwrap();
        assert!(!event.is_set().unwrap());
    });
}

#[test]
fn an_event_that_a_process_has_set_for_itself_is_cleared_with_it() {
    everywhere(|place| {
        let cluster = place.connect();
        let event = cluster.event("up");
        let owner = elsewhere(place, be_up);
        event.wait().unwrap();
        assert_eq!(event.owner().unwrap().map(|owner| owner.pid), Some(owner.pid()));
        let refused = event.set_owned().unwrap_err();
        assert!(
            matches!(&refused, ClusterError::Owned { holder, .. } if holder.contains(&owner.pid().to_string())),
            "{refused}"
        );
        let listed = cluster.list().unwrap().into_iter().find(|object| object.name == "up").unwrap();
        assert_eq!((listed.state.as_str(), listed.number), ("set", Some(1)));
        assert_eq!(listed.holders.iter().map(|holder| holder.pid).collect::<Vec<_>>(), [owner.pid()]);
        let waiter = {
            let event = event.clone();
            thread::spawn(move || event.wait_cleared())
        };
        assert!(matches!(
            event.wait_cleared_timeout(Duration::from_millis(150)),
            Err(ClusterError::TimedOut { .. })
        ));
        owner.kill().unwrap();
        waiter.join().unwrap().unwrap();
        drop(owner.join());
        assert!(!event.is_set().unwrap());
        assert_eq!(event.owner().unwrap(), None);
        let state = |name: &str| {
            let found = cluster.list().unwrap().into_iter().find(|object| object.name == name).unwrap();
            (found.state, found.holders.len())
        };
        assert_eq!(state("up"), ("not set".to_owned(), 0));
        // It is free for others, and for a process by any of its connections, which it need not keep.
        place.connect().event("up").set_owned().unwrap();
        event.set_owned().unwrap();
        place.connect().event("down").set_owned().unwrap();
        assert_eq!(state("down"), ("set".to_owned(), 1));
        cluster.event("down").clear().unwrap();
        assert_eq!(state("down"), ("not set".to_owned(), 0));
        // Whoever sets it sets it for nobody.
        event.set().unwrap();
        assert_eq!(event.owner().unwrap(), None);
        let other = elsewhere(place, be_up);
        until("another one owns it", || event.owner().unwrap().is_some());
        // Its end counts whether or not anybody has looked before the next one comes.
        other.kill().unwrap();
        drop(other.join());
        until("it can be had", || event.set_owned().is_ok());
        assert_eq!(event.owner().unwrap().map(|owner| owner.pid), Some(std::process::id()));
        event.clear().unwrap();
    });
}

#[test]
fn a_counter_counts_each_change_once() {
    everywhere(|place| {
        let counter = place.connect().counter("count");
        let children = [elsewhere(place, count_to_100), elsewhere(place, count_to_100)];
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!(counter.get().unwrap(), 200);
        counter.set(i64::MAX).unwrap();
        assert!(matches!(counter.add(1), Err(ClusterError::OutOfRange { by: 1, .. })));
        assert_eq!(counter.add(-1).unwrap(), i64::MAX - 1);
    });
}

#[test]
fn a_latch_opens_when_all_have_arrived() {
    everywhere(|place| {
        let latch = place.connect().latch("loaded", 3);
        let waiter = {
            let latch = latch.clone();
            thread::spawn(move || latch.wait())
        };
        assert!(matches!(latch.wait_timeout(Duration::from_millis(20)), Err(ClusterError::TimedOut { .. })));
        let children = [elsewhere(place, arrive_at_latch), elsewhere(place, arrive_at_latch)];
        children.into_iter().for_each(|child| child.join().unwrap());
        assert!(!latch.is_open().unwrap() && !waiter.is_finished());
        assert_eq!(latch.arrive().unwrap(), 2);
        waiter.join().unwrap().unwrap();
        assert_eq!((latch.is_open().unwrap(), latch.arrived().unwrap()), (true, 3));
        let other = place.connect().latch("loaded", 4).arrive();
        assert!(matches!(other, Err(ClusterError::Mismatch { .. })), "{other:?}");
    });
}

#[test]
fn a_barrier_lets_all_pass_together_and_one_is_first() {
    everywhere(|place| {
        let children = [(); 3].map(|()| elsewhere(place, meet_50_times));
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!(place.connect().counter("firsts").get().unwrap(), 50);
        // Each place once.
        let barrier = place.connect().barrier("phase", 3);
        let threads = [(); 3].map(|()| {
            let barrier = barrier.clone();
            thread::spawn(move || barrier.wait().unwrap())
        });
        let places: BTreeSet<u32> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(places, BTreeSet::from([0, 1, 2]));
    });
}

#[test]
fn a_barrier_at_which_a_process_is_killed_is_broken_until_it_is_reset() {
    everywhere(|place| {
        let barrier = place.connect().barrier("phase", 3);
        let victim = elsewhere(place, wait_at_barrier);
        until("it waits", || barrier.n_waiting().unwrap() == 1);
        let waiter = {
            let barrier = barrier.clone();
            thread::spawn(move || barrier.wait())
        };
        until("both wait", || barrier.n_waiting().unwrap() == 2);
        victim.kill().unwrap();
        let told = waiter.join().unwrap();
        let pid = victim.pid().to_string();
        assert!(
            matches!(&told, Err(ClusterError::PeerDied { who, .. }) if who.contains(&pid)),
            "{told:?} is to name {pid}"
        );
        assert!(barrier.is_broken().unwrap());
        assert!(matches!(barrier.wait(), Err(ClusterError::PeerDied { .. })));
        drop(victim.join());
        barrier.reset().unwrap();
        let children = [elsewhere(place, wait_at_barrier), elsewhere(place, wait_at_barrier)];
        barrier.wait().unwrap();
        children.into_iter().for_each(|child| child.join().unwrap());
    });
}

#[test]
fn who_comes_last_to_a_barrier_is_told_of_one_that_died_when_nobody_else_was_there() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let cluster = place.connect();
    let barrier = cluster.barrier("pair", 2);
    let victim = elsewhere(&place, wait_for_one);
    until("it waits", || barrier.n_waiting().unwrap() == 1);
    victim.kill().unwrap();
    let (pid, _) = (victim.pid(), victim.join());
    until("its end is known", || {
        cluster.participants().unwrap().iter().all(|participant| participant.pid != pid)
    });
    let told = barrier.wait();
    assert!(
        matches!(&told, Err(ClusterError::PeerDied { who, .. }) if who.contains(&pid.to_string())),
        "{told:?} is to name {pid}"
    );
    assert_eq!((barrier.n_waiting().unwrap(), barrier.is_broken().unwrap()), (0, true));
}

#[test]
fn a_wait_at_a_barrier_that_is_not_wanted_any_more_is_told_to_the_others() {
    everywhere(|place| {
        let barrier = place.connect().barrier("phase", 3);
        let waiter = || {
            let barrier = barrier.clone();
            thread::spawn(move || barrier.wait())
        };
        let other = waiter();
        until("it waits", || barrier.n_waiting().unwrap() == 1);
        assert!(matches!(
            barrier.wait_timeout(Duration::from_millis(20)),
            Err(ClusterError::TimedOut { .. })
        ));
        assert!(matches!(other.join().unwrap(), Err(ClusterError::Broken { .. })));
        barrier.reset().unwrap();
        let other = waiter();
        until("it waits", || barrier.n_waiting().unwrap() == 1);
        barrier.reset().unwrap();
        assert!(matches!(other.join().unwrap(), Err(ClusterError::Broken { .. })));
        assert!(!barrier.is_broken().unwrap());
        let other = waiter();
        until("it waits", || barrier.n_waiting().unwrap() == 1);
        barrier.abort().unwrap();
        assert!(matches!(other.join().unwrap(), Err(ClusterError::Broken { .. })));
        assert!(matches!(barrier.wait(), Err(ClusterError::Broken { .. })));
    });
}

#[test]
fn who_is_interrupted_at_a_barrier_has_not_come() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    everywhere(|place| {
        let (barrier, stop) = (place.connect().barrier("phase", 2), Arc::new(AtomicBool::new(false)));
        let waiter = {
            let (barrier, stop) = (barrier.clone(), stop.clone());
            thread::spawn(move || {
                let _hook = procession::interrupt::on_signal(move || stop.load(Ordering::SeqCst));
                barrier.wait()
            })
        };
        until("it waits", || barrier.n_waiting().unwrap() == 1);
        stop.store(true, Ordering::SeqCst);
        assert!(matches!(waiter.join().unwrap(), Err(ClusterError::Interrupted { .. })));
        assert_eq!(barrier.n_waiting().unwrap(), 0);
        let other = {
            let barrier = barrier.clone();
            thread::spawn(move || barrier.wait())
        };
        barrier.wait().unwrap();
        other.join().unwrap().unwrap();
    });
}

#[test]
fn who_is_interrupted_while_the_barrier_is_made_whole_is_told_that_it_was_broken() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let (barrier, other) = (place.connect().barrier("phase", 2), place.connect().barrier("phase", 2));
    // That is asked after the last look at the barrier.
    let _hook = procession::interrupt::on_signal(move || other.reset().is_ok());
    let told = barrier.wait();
    assert!(matches!(told, Err(ClusterError::Broken { .. })), "{told:?}");
}

#[test]
fn who_is_interrupted_before_there_is_a_place_at_a_barrier_is_told_so() {
    let place = Place::shm();
    let barrier = place.connect().barrier("phase", 1);
    barrier.wait().unwrap();
    let options = procession::BarrierOptions::default().namespace(place.namespace()).parties(1);
    let local = options.open("cluster.barrier.phase").unwrap();
    let _only = local.join().unwrap();
    let _hook = procession::interrupt::on_signal(|| true);
    let told = barrier.wait();
    assert!(matches!(told, Err(ClusterError::Interrupted { .. })), "{told:?}");
}

#[test]
fn what_was_set_outlives_a_crash_of_the_server() {
    let Some(mut postgres) = procession_tests::postgres::Postgres::start(true) else { return };
    let place = Place::on(&postgres);
    let cluster = place.connect();
    cluster.event("go").set().unwrap();
    cluster.event("up").set_owned().unwrap();
    cluster.counter("count").add(7).unwrap();
    cluster.latch("loaded", 2).arrive().unwrap();
    let barrier = cluster.barrier("phase", 2);
    let waiter = {
        let barrier = barrier.clone();
        thread::spawn(move || barrier.wait())
    };
    until("it waits", || barrier.n_waiting().unwrap() == 1);
    postgres.crash();
    let told = waiter.join().unwrap();
    assert!(matches!(told, Err(ClusterError::Unavailable { .. } | ClusterError::Lost { .. })), "{told:?}");
    let cluster = place.connect();
    assert!(cluster.event("go").is_set().unwrap());
    // The session for which it was set is gone, although its process is not.
    assert!(!cluster.event("up").is_set().unwrap());
    assert_eq!(
        (cluster.counter("count").get().unwrap(), cluster.latch("loaded", 2).arrived().unwrap()),
        (7, 1)
    );
    assert!(!cluster.barrier("phase", 2).is_broken().unwrap());
}

#[test]
fn whoever_waits_is_told_and_need_not_look() {
    let Some(postgres) = server() else { return };
    let place = Place::on(postgres);
    let (here, there) = (place.connect(), place.connect());
    let mut waits = Vec::new();
    for _ in 0..20 {
        let event = here.event("go");
        let waiter = thread::spawn(move || {
            event.wait().unwrap();
            Instant::now()
        });
        until("it waits", || there.list().unwrap().iter().any(|object| object.waiters == 1));
        // Long enough for it to look as seldom as it ever does.
        thread::park_timeout(Duration::from_millis(150));
        let began = Instant::now();
        there.event("go").set().unwrap();
        waits.push(waiter.join().unwrap().saturating_duration_since(began));
        there.event("go").clear().unwrap();
    }
    waits.sort_unstable();
    procession_tests::note(&format!("told after {:?} (median of 20)", waits[10]));
    // Looks are 100 ms apart: all of them by chance would take 50.
    assert!(waits[10] < Duration::from_millis(30), "{waits:?}");
    until("nobody waits", || there.list().unwrap().iter().all(|object| object.waiters == 0));
}

#[test]
fn the_list_says_what_each_is() {
    everywhere(|place| {
        let cluster = place.connect();
        cluster.event("go").set().unwrap();
        cluster.latch("loaded", 2).arrive().unwrap();
        cluster.counter("count").add(5).unwrap();
        cluster.barrier("phase", 2).abort().unwrap();
        let jobs = cluster.joinable_queue::<u64>("jobs");
        jobs.put_many(&[1, 2]).unwrap();
        jobs.close().unwrap();
        let found = cluster.list().unwrap();
        let state = |kind: &str| found.iter().find(|object| object.kind == kind).unwrap().state.clone();
        let states = ["event", "latch", "counter", "queue"].map(state);
        assert_eq!(states, ["set", "1 of 2 arrived", "5", "2 items, closed"]);
        let number = |kind: &str| found.iter().find(|object| object.kind == kind).unwrap().number;
        assert_eq!(["event", "latch", "counter", "queue"].map(number), [1, 1, 5, 2].map(Some));
        assert!(state("barrier").starts_with("broken: "), "{}", state("barrier"));
    });
}
