use super::{READERS, RwLock};
use crate::LockError;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn lock() -> RwLock {
    RwLock::options().namespace(&procession_shm::Namespace::private()).anonymous().unwrap()
}

/// What another thread meets.
fn outside<R: Send>(attempt: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| scope.spawn(attempt).join()).unwrap()
}

#[test]
fn readers_share_and_a_writer_does_not() {
    let lock = lock();
    let one = lock.read().unwrap();
    let two = lock.try_read().unwrap();
    outside(|| drop(lock.try_read().unwrap()));
    assert_eq!(lock.readers().len(), 2);
    assert!(matches!(lock.write(), Err(LockError::Deadlock { .. })));
    assert!(matches!(outside(|| lock.try_write().map(drop)), Err(LockError::WouldBlock(_))));
    let timed = outside(|| lock.write_timeout(Duration::from_millis(5)).map(drop));
    assert!(matches!(timed, Err(LockError::TimedOut(_))));
    drop((one, two));
    let writing = lock.write().unwrap();
    assert!(matches!(lock.read(), Err(LockError::Deadlock { .. })));
    assert!(matches!(outside(|| lock.try_read().map(drop)), Err(LockError::WouldBlock(_))));
    assert_eq!(lock.writer().unwrap().pid, std::process::id());
    assert!(!lock.is_inconsistent());
    let reading = writing.downgrade().unwrap();
    outside(|| drop(lock.try_read().unwrap()));
    assert!(matches!(outside(|| lock.try_write().map(drop)), Err(LockError::WouldBlock(_))));
    drop(reading);
    outside(|| lock.try_write().map(drop)).unwrap();
}

#[test]
fn who_reads_already_goes_deeper_while_a_writer_waits() {
    let lock = lock();
    let outer = lock.read().unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| lock.write().map(drop));
        while lock.writer().is_none() {
            std::thread::yield_now();
        }
        let inner = lock.read().unwrap();
        assert!(matches!(outside(|| lock.try_read().map(drop)), Err(LockError::WouldBlock(_))));
        drop(outer);
        assert!(!writer.is_finished());
        drop(inner);
        writer.join().unwrap().unwrap();
    });
    assert!(lock.readers().is_empty());
}

#[test]
fn one_reader_too_many_waits_for_a_place() {
    let lock = lock();
    let mut guards: Vec<_> = (0..READERS).map(|_| lock.read().unwrap()).collect();
    assert!(matches!(outside(|| lock.try_read().map(drop)), Err(LockError::WouldBlock(_))));
    // A writer sees each of them.
    while let Some(guard) = guards.pop() {
        assert!(matches!(outside(|| lock.try_write().map(drop)), Err(LockError::WouldBlock(_))));
        drop(guard);
    }
    drop(lock.try_write().unwrap());
    guards.extend((0..READERS).map(|_| lock.read().unwrap()));
    // Whoever reads needs no further place.
    guards.push(lock.read().unwrap());
    std::thread::scope(|scope| {
        let late = scope.spawn(|| lock.read().map(drop));
        while !lock.body.space.has_waiters() {
            std::thread::yield_now();
        }
        guards.clear();
        late.join().unwrap().unwrap();
    });
    drop(lock.try_write().unwrap());
}

#[test]
fn readers_and_writers_exclude_each_other() {
    let lock = lock();
    let (inside, writing) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (lock, inside, writing) = (&lock, &inside, &writing);
            scope.spawn(move || {
                for round in 0..3000 {
                    if (round + thread) % 4 == 0 {
                        let guard = lock.write().unwrap();
                        assert_eq!(writing.fetch_add(1, Ordering::SeqCst), 0);
                        assert_eq!(inside.load(Ordering::SeqCst), 0);
                        writing.fetch_sub(1, Ordering::SeqCst);
                        drop(guard);
                    } else {
                        let guard = lock.read().unwrap();
                        inside.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(writing.load(Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(guard);
                    }
                }
            });
        }
    });
    assert!(lock.readers().is_empty() && lock.writer().is_none());
}

#[test]
fn the_dead_in_cells_that_a_damaged_file_says_are_unused_keep_nobody_out() {
    let lock = lock();
    let nobody = procession_shm::OwnerId::new(7, 1).to_bits();
    lock.body.cells.iter().for_each(|cell| cell.word.store(nobody, Ordering::Relaxed));
    lock.body.used.iter().for_each(|cells| cells.store(0, Ordering::Relaxed));
    let writing = lock.write().unwrap();
    drop(writing.downgrade().unwrap());
    assert!(lock.readers().is_empty());
    assert!(lock.try_read().is_ok());
}

#[test]
fn a_guard_whose_lock_was_released_without_it_changes_nothing_of_the_next_writers() {
    let lock = lock();
    let [late, later] = [(), ()].map(|()| {
        let guard = lock.write().unwrap();
        lock.release().unwrap();
        guard
    });
    outside(|| std::mem::forget(lock.write().unwrap()));
    assert!(matches!(late.downgrade(), Err(LockError::NotHeld { .. })));
    assert!(lock.readers().is_empty());
    drop(later);
    assert!(matches!(lock.read(), Err(LockError::OwnerDied { .. })), "the next writer has died");
    drop(lock.recover().unwrap());
    assert!(lock.read().is_ok());
}
