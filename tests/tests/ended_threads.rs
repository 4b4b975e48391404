//! Threads that end while they hold something: nobody is let in beside what they hold, nobody takes it for a
//! hold of its own, and whoever waits is told, in every process.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::{
    Barrier, BarrierError, Bytes, Lock, LockError, LockGuard, Namespace, Process, Queue, RLock, RLockGuard,
    RwLock, Value,
};
use procession_tests::{Scratch, case_of};
use std::cell::RefCell;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

procession::test_support!();

/// Far longer than it takes, and below the watchdog.
const LONG: Duration = Duration::from_secs(30);
const BRIEFLY: Duration = Duration::from_millis(20);

/// Runs `work` in a thread, and waits until that has ended.
fn in_a_thread<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(work).join().unwrap())
}

fn lock(namespace: &Namespace) -> Lock {
    Lock::options().namespace(namespace).anonymous().unwrap()
}

fn rlock(namespace: &Namespace) -> RLock {
    RLock::options().namespace(namespace).anonymous().unwrap()
}

/// In another process: what a wait for each lock comes to.
fn wait_elsewhere((lock, rlock, rwlock): (Lock, RLock, RwLock)) -> [String; 3] {
    let said = |error: Option<LockError>| error.map_or_else(String::new, |error| case_of(&error));
    [
        said(lock.acquire_timeout(LONG).err()),
        said(rlock.acquire_timeout(LONG).err()),
        said(rwlock.write_timeout(LONG).err()),
    ]
}

#[test]
fn a_forgotten_guard_of_an_ended_thread_is_a_dead_holder_s() {
    let scratch = Scratch::new();
    let (lock, rlock) = (lock(&scratch), rlock(&scratch));
    let rwlock = RwLock::options().namespace(&scratch).anonymous().unwrap();
    in_a_thread(|| {
        std::mem::forget((lock.acquire().unwrap(), rlock.acquire().unwrap(), rlock.acquire().unwrap()));
        std::mem::forget(rwlock.write().unwrap());
    });
    let holder = lock.holder().unwrap();
    assert!(holder.pid == std::process::id() && holder.is_dead, "{holder:?}");
    let child = Process::spawn(wait_elsewhere, (lock.clone(), rlock.clone(), rwlock.clone())).unwrap();
    let died = format!("OwnerDied {{ pid: {} }}", std::process::id());
    assert_eq!(child.join().unwrap(), [died.clone(), died.clone(), died]);
    // Nor is a thread of this process let in, or told that it would wait for itself.
    for _ in 0..3 {
        in_a_thread(|| {
            assert!(matches!(lock.try_acquire(), Err(LockError::OwnerDied { .. })));
            assert!(matches!(rlock.try_acquire(), Err(LockError::OwnerDied { .. })));
            assert!(matches!(rwlock.try_read(), Err(LockError::OwnerDied { .. })));
        });
    }
    // And it can be put right, as after every death.
    assert!(lock.recover().unwrap().recovers());
    assert_eq!(rlock.recover().unwrap().depth(), 1);
    assert!(rwlock.recover().unwrap().recovers());
    drop((lock.acquire().unwrap(), rlock.acquire().unwrap(), rwlock.write().unwrap()));
}

#[test]
fn while_the_thread_lives_its_forgotten_guard_holds() {
    let scratch = Scratch::new();
    let lock = lock(&scratch);
    let (go, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let (said, hear) = mpsc::channel();
        let lock = &lock;
        scope.spawn(move || {
            std::mem::forget(lock.acquire().unwrap());
            assert!(matches!(lock.acquire(), Err(LockError::Deadlock { .. })));
            said.send(()).unwrap();
            let _: Result<(), mpsc::RecvError> = ended.recv();
        });
        hear.recv().unwrap();
        assert!(matches!(lock.acquire_timeout(BRIEFLY), Err(LockError::TimedOut { .. })));
        assert!(!lock.holder().unwrap().is_dead);
        drop(go);
        assert!(matches!(lock.acquire_timeout(LONG), Err(LockError::OwnerDied { .. })));
    });
}

#[test]
fn readers_values_and_slots_of_ended_threads_are_nobody_s() {
    let scratch = Scratch::new();
    let rwlock = RwLock::options().namespace(&scratch).anonymous().unwrap();
    let value = Value::<u64>::options().namespace(&scratch).initial(7).anonymous().unwrap();
    let queue = Queue::<Bytes>::options().namespace(&scratch).anonymous().unwrap();
    queue.put(&[1][..]).unwrap();
    in_a_thread(|| {
        std::mem::forget(rwlock.read().unwrap());
        let mut guard = value.acquire().unwrap();
        *guard = 8;
        std::mem::forget(guard);
        std::mem::forget(queue.slots().reserve(8).unwrap());
        std::mem::forget(queue.slots().read().unwrap());
    });
    drop(rwlock.write_timeout(LONG).unwrap());
    assert_eq!(value.get().unwrap(), 7);
    *value.acquire_timeout(LONG).unwrap() += 1;
    assert_eq!(value.get().unwrap(), 8);
    queue.put_timeout(&[2][..], LONG).unwrap();
    assert_eq!([(); 2].map(|()| queue.get_timeout(LONG).unwrap()[0]), [1, 2]);
}

/// What is in a thread-local, and what its destructor does with it.
struct Kept(RefCell<Option<Box<dyn FnOnce()>>>);

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(last) = self.0.take() {
            last();
        }
    }
}

thread_local! {
    static FIRST: Kept = const { Kept(RefCell::new(None)) };
    static SECOND: Kept = const { Kept(RefCell::new(None)) };
}

#[test]
fn guards_in_thread_locals_hold_until_they_are_dropped() {
    let scratch = Scratch::new();
    let (lock, rlock): (&'static Lock, &'static RLock) =
        (Box::leak(Box::new(lock(&scratch))), Box::leak(Box::new(rlock(&scratch))));
    for round in 0..20 {
        thread::spawn(move || {
            // Thread-locals are destroyed in some order: one before the first acquire of the thread, one
            // after it.
            FIRST.with(|first| first.0.replace(None));
            let guards: (LockGuard<'_>, RLockGuard<'_>) = (lock.acquire().unwrap(), rlock.acquire().unwrap());
            let keep = if round % 2 == 0 { &FIRST } else { &SECOND };
            let last = move || {
                drop(guards);
                // In a destructor, too, a lock is a lock.
                let (again, twice) = (lock.acquire().unwrap(), rlock.acquire().unwrap());
                assert!(matches!(lock.acquire(), Err(LockError::Deadlock { .. })));
                assert_eq!(twice.depth(), 1);
                in_a_thread(|| {
                    assert!(matches!(lock.try_acquire(), Err(LockError::WouldBlock { .. })));
                    assert!(matches!(rlock.try_acquire(), Err(LockError::WouldBlock { .. })));
                });
                drop((again, twice));
            };
            keep.with(|kept| kept.0.replace(Some(Box::new(last))));
        })
        .join()
        .unwrap();
        // Nothing is left of it, not even a death.
        drop((lock.try_acquire().unwrap(), rlock.try_acquire().unwrap()));
    }
    // The handles are never dropped, so their files would stay as long as this process.
    lock.unlink().unwrap();
    rlock.unlink().unwrap();
}

/// More threads than there are numbers for, all of them alive.
#[test]
fn threads_beyond_all_numbers_exclude_each_other_too() {
    const THREADS: usize = 2_100;
    let scratch = Scratch::for_seconds(120);
    let locks: Vec<RLock> = (0..8).map(|_| rlock(&scratch)).collect();
    let all_there = std::sync::Barrier::new(THREADS);
    let barrier = Barrier::options().namespace(&scratch).parties(1).anonymous().unwrap();
    let inner = barrier.clone();
    // A thread that runs the action knows it, whatever its number.
    let barrier = barrier.with_action(move || match inner.wait() {
        Err(BarrierError::InAction { .. }) => Ok(()),
        other => Err(format!("{other:?}").into()),
    });
    thread::scope(|scope| {
        for index in 0..THREADS {
            let (locks, all_there, barrier) = (&locks, &all_there, &barrier);
            let work = move || {
                let lock = &locks[index % locks.len()];
                drop(lock.acquire().unwrap());
                all_there.wait();
                let outer = lock.acquire().unwrap();
                assert_eq!((outer.depth(), lock.acquire().unwrap().depth()), (1, 2));
                drop(outer);
                barrier.wait().unwrap();
            };
            thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, work).unwrap();
        }
    });
    for lock in &locks {
        in_a_thread(|| assert_eq!(lock.try_acquire().unwrap().depth(), 1));
    }
}
