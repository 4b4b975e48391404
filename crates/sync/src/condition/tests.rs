use super::{CELLS, Condition};
use crate::{Lock, RLock, Value};
use procession_shm::Namespace;
use std::time::Duration;

fn condition() -> Condition {
    Condition::options().namespace(&Namespace::private()).anonymous().unwrap()
}

#[test]
fn more_waiters_than_cells_all_go_on() {
    let condition = condition();
    let value: Value<u32> = Value::options().namespace(&Namespace::private()).anonymous().unwrap();
    std::thread::scope(|scope| {
        let wait = || condition.wait_for(value.acquire().unwrap(), |go| *go == 1).map(drop).unwrap();
        let threads: Vec<_> = (0..CELLS + 6).map(|_| scope.spawn(wait)).collect();
        while condition.waiters() < CELLS {
            std::thread::yield_now();
        }
        value.set(1).unwrap();
        condition.notify_all();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert_eq!(condition.waiters(), 0);
}

#[test]
fn a_recursive_lock_comes_back_as_deep_as_it_was() {
    let condition = condition();
    let lock = RLock::options().namespace(&Namespace::private()).anonymous().unwrap();
    let outer = lock.acquire().unwrap();
    let inner = lock.acquire().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let guard = lock.acquire().unwrap();
            while condition.waiters() == 0 {
                std::thread::yield_now();
            }
            condition.notify(1);
            drop(guard);
        });
        let inner = condition.wait(inner).unwrap();
        assert_eq!((inner.depth(), outer.depth()), (2, 2));
        drop(inner);
    });
    assert_eq!(outer.depth(), 1);
}

#[test]
fn guards_that_keep_their_lock_can_wait_too() {
    let condition = condition();
    let private = Namespace::private();
    let lock = Lock::options().namespace(&private).anonymous().unwrap().acquire_owned().unwrap();
    let value = Value::<u32>::options().namespace(&private).anonymous().unwrap().acquire_owned().unwrap();
    let (lock, in_time) = condition.wait_timeout(lock, Duration::from_millis(5)).unwrap();
    assert!(in_time.timed_out() && lock.lock().holder().is_some());
    let (value, in_time) =
        condition.wait_for_timeout(value, Duration::from_millis(5), |value| *value == 1).unwrap();
    assert!(in_time.timed_out() && value.value().holder().is_some());
}

#[test]
fn a_wait_that_nobody_notifies_ends_at_its_timeout_with_the_lock_held() {
    let condition = condition();
    let lock = Lock::options().namespace(&Namespace::private()).anonymous().unwrap();
    condition.notify(3);
    let (guard, notified) =
        condition.wait_timeout(lock.acquire().unwrap(), Duration::from_millis(5)).unwrap();
    assert!(notified.timed_out() && condition.waiters() == 0 && lock.holder().is_some());
    let (guard, held) = condition.wait_for_timeout(guard, Duration::from_millis(5), |_| false).unwrap();
    assert!(held.timed_out());
    drop(guard);
}
