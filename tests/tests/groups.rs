//! Many objects in one file: each survives deaths by itself, and crosses to other processes by itself.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::{
    Event, Group, Lock, LockError, Namespace, OpenError, Process, Queue, RLock, RawArray, blocked_in,
    deadlocks_in,
};
use procession_tests::{Dice, Scratch, Watchdog, isolate, raw, until};
use std::fs;
use std::thread;
use std::time::Duration;

procession::test_support!();

fn hold(lock: Lock, ready: Event) {
    let _guard = lock.acquire().unwrap();
    ready.set();
    loop {
        thread::park();
    }
}

/// A process that holds the lock.
fn holder(lock: &Lock) -> Process<()> {
    let ready = Event::new().unwrap();
    let process = Process::spawn(hold, (lock.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    process
}

fn kill(process: Process<()>) {
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn the_death_of_a_holder_is_that_of_one_lock() {
    let _watchdog = Watchdog::start();
    isolate();
    let group: Group<Lock> = Group::new(1000).unwrap();
    let locks: Vec<Lock> = group.iter().collect();
    let (one, other) = (holder(&locks[500]), holder(&locks[501]));
    thread::scope(|scope| {
        // Who waits for the one is told at once, and nobody else.
        let told = scope.spawn(|| locks[500].acquire().map(drop));
        until("the wait", || !blocked_in(&Namespace::current().unwrap()).unwrap().is_empty());
        let pid = one.pid();
        kill(one);
        let died = told.join().unwrap().unwrap_err();
        assert!(matches!(&died, LockError::OwnerDied { pid: dead, .. } if *dead == pid), "{died:?}");
        assert!(died.to_string().contains("lock group"), "{died}");
    });
    assert!(matches!(locks[501].try_acquire(), Err(LockError::WouldBlock(_))), "the other one lives");
    let deaths: Vec<u32> = locks.iter().map(Lock::n_owner_deaths).filter(|&deaths| deaths > 0).collect();
    assert_eq!(deaths, [1]);
    assert_eq!(locks.iter().filter(|lock| lock.is_inconsistent()).count(), 1);
    drop(group.get(500).unwrap().recover().unwrap());
    drop(locks[500].acquire().unwrap());
    kill(other);
    assert!(matches!(locks[501].acquire(), Err(LockError::OwnerDied { .. })));
}

#[test]
fn each_row_is_counted_under_its_own_lock() {
    const ROWS: u64 = 7;
    const ROUNDS: u64 = 3_000;
    fn count(group: Group<Lock>, rows: RawArray<u64>, seed: u64) {
        let mut dice = Dice::new(seed);
        for _ in 0..ROUNDS {
            let row = dice.below(ROWS) as usize;
            let lock = group.get(row).unwrap();
            let _guard = lock.acquire().unwrap();
            // Two steps, which the lock makes one.
            let before = rows.get(row).unwrap();
            rows.set(row, before + 1).unwrap();
        }
    }
    let _watchdog = Watchdog::start();
    isolate();
    let group: Group<Lock> = Group::new(ROWS as usize).unwrap();
    let rows: RawArray<u64> = RawArray::new(ROWS as usize).unwrap();
    let spawn = |seed| Process::spawn(count, (group.clone(), rows.clone(), seed)).unwrap();
    (1..=3).map(spawn).collect::<Vec<_>>().into_iter().for_each(|process| process.join().unwrap());
    let sum: u64 = (0..ROWS as usize).map(|row| rows.get(row).unwrap()).sum();
    assert_eq!(sum, 3 * ROUNDS);
}

#[test]
fn whoever_is_killed_when_no_lock_is_lost() {
    fn use_any(group: Group<Lock>, seed: u64) {
        let mut dice = Dice::new(seed);
        loop {
            let lock = group.get(dice.below(4) as usize).unwrap();
            // One whose holder was killed is put right by whoever finds it so.
            drop(lock.recover().unwrap());
        }
    }
    let _watchdog = Watchdog::for_seconds(60);
    isolate();
    let group: Group<Lock> = Group::new(4).unwrap();
    let mut dice = Dice::new(1);
    let mut spawn = |round| Process::spawn(use_any, (group.clone(), round)).unwrap();
    let mut processes: Vec<_> = (0..3).map(&mut spawn).collect();
    for round in 3..40 {
        let victim = processes.remove(dice.below(3) as usize);
        thread::sleep(Duration::from_micros(dice.below(3_000)));
        kill(victim);
        processes.push(spawn(round));
    }
    processes.into_iter().for_each(kill);
    for lock in group.iter() {
        drop(lock.recover().unwrap());
        drop(lock.acquire().unwrap());
    }
}

#[test]
fn one_of_a_group_crosses_by_itself_and_keeps_it() {
    let _watchdog = Watchdog::start();
    isolate();
    let group: Group<RLock> = Group::new(10).unwrap();
    let queue: Queue<RLock> = Queue::new().unwrap();
    for index in [0, 9] {
        queue.put(&group.get(index).unwrap()).unwrap();
    }
    let [first, last] = [(); 2].map(|()| queue.get().unwrap());
    drop(group);
    // What has come is the very one that was sent.
    let _guard = last.acquire().unwrap();
    queue.put(&last).unwrap();
    let again = queue.get().unwrap();
    assert_eq!([&first, &last, &again].map(|lock| lock.holder().is_some()), [false, true, true]);
    fn is_held(lock: RLock) -> bool {
        lock.try_acquire().is_err()
    }
    let asked = [&first, &last].map(|lock| Process::spawn(is_held, lock.clone()).unwrap().join().unwrap());
    assert_eq!(asked, [false, true]);
}

#[test]
fn ten_thousand_locks_take_less_than_a_megabyte() {
    let scratch = Scratch::new();
    let group = Group::<Lock>::options().namespace(&scratch).count(10_000).create("rows").unwrap();
    drop(group.get(9_999).unwrap().acquire().unwrap());
    let entry = scratch.entry("rows").unwrap();
    assert!(entry.bytes < 1_000_000, "{entry:?}");
    assert_eq!(entry.header.unwrap().kind.name(), "lock-group");
    let opened = Group::<Lock>::options().namespace(&scratch).open("rows").unwrap();
    assert_eq!(opened.len(), 10_000);
    opened.unlink().unwrap();
}

#[test]
fn a_deadlock_between_two_of_a_group_is_found() {
    fn cross(group: Group<Lock>, indexes: [usize; 2], both: Event, mine: Event) -> String {
        let [first, second] = indexes.map(|index| group.get(index).unwrap());
        let _guard = first.acquire().unwrap();
        mine.set();
        both.wait().unwrap();
        match second.acquire() {
            Ok(_) => "got it".to_owned(),
            Err(error) => error.to_string(),
        }
    }
    let _watchdog = Watchdog::start();
    isolate();
    let group = Group::<Lock>::options().count(2).detect_deadlock(true).anonymous().unwrap();
    let both = Event::new().unwrap();
    let spawn = |indexes: [usize; 2]| {
        let mine = Event::new().unwrap();
        let process = Process::spawn(cross, (group.clone(), indexes, both.clone(), mine.clone())).unwrap();
        mine.wait().unwrap();
        process
    };
    let processes = [spawn([0, 1]), spawn([1, 0])];
    both.set();
    let mut said = processes.map(|process| process.join().unwrap());
    said.sort();
    assert!(said[0] == "got it" && said[1].contains("would never end"), "{said:?}");
    assert!(deadlocks_in(&Namespace::current().unwrap()).unwrap().is_empty());
}

#[test]
fn what_the_dead_of_another_registry_held_is_forgotten_in_all_of_a_group() {
    fn make(namespace: String) {
        let namespace = Namespace::new(&namespace).unwrap();
        let locks = Group::<Lock>::options().namespace(&namespace).count(3).create("rows").unwrap();
        let events = Group::<Event>::options().namespace(&namespace).count(3).create("up").unwrap();
        for index in [0, 2] {
            std::mem::forget(locks.get(index).unwrap().acquire_owned().unwrap());
            events.get(index).unwrap().set_owned().unwrap();
        }
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    isolate();
    let scratch = Scratch::unswept();
    drop(Process::spawn(make, scratch.name().to_owned()).unwrap().join().unwrap_err());
    fs::remove_file(raw::registry(&scratch)).unwrap();
    let locks = Group::<Lock>::options().namespace(&scratch).open("rows").unwrap();
    let events = Group::<Event>::options().namespace(&scratch).open("up").unwrap();
    for (index, was_held) in [true, false, true].into_iter().enumerate() {
        let lock = locks.get(index).unwrap();
        assert!(lock.holder().is_none());
        assert_eq!(lock.is_inconsistent(), was_held);
        drop(lock.recover().unwrap());
        assert!(!events.get(index).unwrap().is_set(), "who set it is gone");
    }
    locks.unlink().unwrap();
    events.unlink().unwrap();
    assert!(matches!(
        Group::<Lock>::options().namespace(&scratch).open("rows"),
        Err(OpenError::NotFound { .. })
    ));
}
