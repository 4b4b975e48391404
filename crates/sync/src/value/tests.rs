use super::{ASIDE, Value};
use crate::{Integer, LockError};
use bytemuck::Pod;
use procession_shm::{Namespace, OpenError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn value<T: Pod>(initial: T) -> Value<T> {
    Value::options().namespace(&Namespace::private()).initial(initial).anonymous().unwrap()
}

#[test]
fn every_size_comes_back_as_it_went_in() {
    fn check<const N: usize>() {
        let one: [u8; N] = std::array::from_fn(|index| index as u8 ^ 0xa5);
        let two: [u8; N] = std::array::from_fn(|index| (index as u8).wrapping_mul(31));
        let value = value(one);
        assert_eq!(value.get().unwrap(), one);
        value.set(two).unwrap();
        assert_eq!(value.get().unwrap(), two);
        value.update(|bytes| *bytes = one).unwrap();
        assert_eq!(*value.acquire().unwrap(), one);
    }
    check::<0>();
    check::<1>();
    check::<3>();
    check::<7>();
    check::<8>();
    check::<9>();
    check::<64>();
    check::<100>();
    check::<4096>();
}

#[test]
fn integers_wrap_at_their_own_width() {
    fn check<T: Integer + std::fmt::Debug>(least: T, most: T, one: T) {
        let value = value(most);
        let now = || value.get().unwrap();
        assert_eq!((value.fetch_add(one).unwrap(), now()), (most, least));
        assert_eq!((value.fetch_sub(one).unwrap(), now()), (least, most));
        assert_eq!((value.fetch_min(least).unwrap(), value.fetch_max(one).unwrap()), (most, least));
        assert_eq!(
            (value.swap(least).unwrap(), value.compare_exchange(one, most).unwrap()),
            (one, Err(least))
        );
        assert_eq!(
            (value.compare_exchange(least, one).unwrap(), value.fetch_xor(one).unwrap()),
            (Ok(least), one)
        );
        let zero = now();
        assert_eq!((value.fetch_or(one).unwrap(), value.fetch_and(one).unwrap(), now()), (zero, one, one));
    }
    check(u8::MIN, u8::MAX, 1);
    check(u16::MIN, u16::MAX, 1);
    check(u32::MIN, u32::MAX, 1);
    check(u64::MIN, u64::MAX, 1);
    check(usize::MIN, usize::MAX, 1);
}

#[test]
fn signed_integers_wrap_too() {
    let (small, large) = (value(i8::MAX), value(i64::MIN));
    assert_eq!((small.fetch_add(1).unwrap(), small.get().unwrap()), (i8::MAX, i8::MIN));
    assert_eq!((large.fetch_sub(1).unwrap(), large.get().unwrap()), (i64::MIN, i64::MAX));
    assert_eq!((small.fetch_max(-1).unwrap(), small.get().unwrap()), (i8::MIN, -1));
}

#[test]
fn a_guard_commits_at_its_end_and_not_in_a_panic() {
    let value = value([1_u64; 8]);
    let mut guard = value.acquire().unwrap();
    guard[0] = 2;
    assert_eq!(value.get().unwrap()[0], 1);
    assert!(matches!(value.acquire(), Err(LockError::Deadlock { .. })));
    assert!(matches!(value.try_set([0; 8]), Err(LockError::WouldBlock(_))));
    std::thread::scope(|scope| {
        let other = scope.spawn(|| value.set_timeout([0; 8], Duration::from_millis(5)));
        assert!(matches!(other.join().unwrap(), Err(LockError::TimedOut(_))));
    });
    drop(guard);
    assert_eq!(value.get().unwrap()[0], 2);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        value.acquire().unwrap()[0] = 3;
        let mut guard = value.acquire().unwrap();
        guard[0] = 4;
        panic!("holding it");
    }));
    assert!(panicked.is_err() && value.get().unwrap()[0] == 3 && value.holder().is_none());
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        value.update(|all| {
            all[0] = 5;
            panic!("changing it");
        })
    }));
    assert!(panicked.is_err() && value.get().unwrap()[0] == 3 && value.holder().is_none());
    let mut guard = value.acquire().unwrap();
    guard[0] = 6;
    guard.discard();
    assert_eq!(value.get().unwrap()[0], 3);
}

/// What `change` does while this thread has the value happens after what this thread does.
fn beside_a_guard(change: impl Fn(&Value<u32>) -> Result<u32, LockError> + Sync) -> u32 {
    let value = value(1_u32);
    std::thread::scope(|scope| {
        let mut guard = value.acquire().unwrap();
        assert!(matches!(change(&value), Err(LockError::Deadlock { .. })));
        let other = scope.spawn(|| change(&value).unwrap());
        std::thread::yield_now();
        assert_eq!((value.get().unwrap(), other.is_finished()), (1, false));
        *guard = 0b110;
        drop(guard);
        assert_eq!(other.join().unwrap(), 0b110);
    });
    value.get().unwrap()
}

#[test]
fn integer_operations_beside_a_guard_wait_for_it() {
    assert_eq!(beside_a_guard(|value| value.fetch_add(100)), 106);
    assert_eq!(beside_a_guard(|value| value.fetch_sub(1)), 5);
    assert_eq!(beside_a_guard(|value| value.fetch_or(2)), 6);
    assert_eq!(beside_a_guard(|value| value.fetch_and(2)), 2);
    assert_eq!(beside_a_guard(|value| value.fetch_xor(2)), 4);
    assert_eq!(beside_a_guard(|value| value.fetch_max(10)), 10);
    assert_eq!(beside_a_guard(|value| value.fetch_min(2)), 2);
    assert_eq!(beside_a_guard(|value| value.swap(9)), 9);
    let exchange = |from| {
        move |value: &Value<u32>| value.compare_exchange(from, 8).map(|was| was.unwrap_or_else(|was| was))
    };
    assert_eq!((beside_a_guard(exchange(6)), beside_a_guard(exchange(1))), (8, 6));
}

#[test]
fn a_guard_that_changes_nothing_puts_the_value_back() {
    let value = value(7_u64);
    drop(value.acquire().unwrap());
    value.acquire().unwrap().discard();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        value.update(|n| {
            *n = 8;
            panic!("changing it");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(value.body.word.load(Ordering::Relaxed), 7);
    assert_eq!((value.fetch_add(1).unwrap(), value.get().unwrap()), (7, 8));
}

#[test]
fn the_number_that_means_aside_is_a_number_like_any_other() {
    let value = value(ASIDE);
    assert_eq!(value.get().unwrap(), ASIDE);
    assert_eq!((value.fetch_add(1).unwrap(), value.fetch_sub(1).unwrap()), (ASIDE, ASIDE + 1));
    assert_eq!((value.get().unwrap(), *value.acquire().unwrap()), (ASIDE, ASIDE));
    value.update(|n| *n -= 1).unwrap();
    assert_eq!(value.compare_exchange(ASIDE - 1, ASIDE).unwrap(), Ok(ASIDE - 1));
    value.set(ASIDE).unwrap();
    assert_eq!(value.swap(5).unwrap(), ASIDE);
    value.update(|n| *n = ASIDE).unwrap();
    assert_eq!(value.get().unwrap(), ASIDE);
    let small = self::value([0xff_u8; 7]);
    small.update(|bytes| bytes.reverse()).unwrap();
    assert_eq!(small.get().unwrap(), [0xff; 7]);
}

#[test]
fn nothing_is_lost_between_guards_updates_and_integer_operations() {
    // Around the number that means aside, so that every way of writing takes its turn.
    let value = value(ASIDE - 4000);
    let add = || {
        value.fetch_add(1).unwrap();
    };
    let exchange = || {
        let mut seen = value.get().unwrap();
        while let Err(now) = value.compare_exchange(seen, seen + 1).unwrap() {
            seen = now;
        }
    };
    std::thread::scope(|scope| {
        let writers = [
            scope.spawn(|| (0..2000).for_each(|_| *value.acquire().unwrap() += 1)),
            scope.spawn(|| (0..2000).for_each(|_| value.update(|n| *n += 1).unwrap())),
            scope.spawn(|| (0..2000).for_each(|_| add())),
            scope.spawn(|| (0..2000).for_each(|_| exchange())),
        ];
        let mut last = 0;
        while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let now = value.get().unwrap();
            assert!(now >= last && (ASIDE - 4000..=ASIDE + 4000).contains(&now), "{now:x} after {last:x}");
            last = now;
        }
    });
    assert_eq!(value.get().unwrap(), ASIDE + 4000);
}

#[test]
fn no_reader_sees_half_a_value() {
    let value = value([0_u64; 16]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let all = value.get().unwrap();
                    assert!(all.iter().all(|&word| word == all[0]), "{all:?}");
                }
            });
        }
        let writer = || (0..20_000).for_each(|_| value.update(|all| *all = [all[0] + 1; 16]).unwrap());
        let (one, two) = (scope.spawn(writer), scope.spawn(writer));
        one.join().unwrap();
        two.join().unwrap();
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(value.get().unwrap(), [40_000; 16]);
}

#[test]
fn it_is_opened_as_what_it_was_created() {
    let namespace = Namespace::private();
    let made: Value<[u32; 4]> =
        Value::options().namespace(&namespace).initial([1, 2, 3, 4]).create("v").unwrap();
    let same: Value<[u32; 4]> = Value::options().namespace(&namespace).initial([9; 4]).open("v").unwrap();
    assert_eq!(same.get().unwrap(), [1, 2, 3, 4]);
    let other = Value::<[i32; 4]>::options().namespace(&namespace).open("v");
    assert!(matches!(other, Err(OpenError::ElementType { .. })));
    let tagged = Value::<[u32; 5]>::options().namespace(&namespace).type_tag("[u32; 4]").open("v");
    assert!(matches!(tagged, Err(OpenError::Parameter { parameter: "size", .. })));
    made.unlink().unwrap();
}

#[test]
fn any_bytes_are_a_value_or_an_error() {
    fn check<T: Integer>(value: &Value<T>, one: T) {
        drop(value.get());
        drop(value.fetch_add(one));
        drop(value.set(one));
        drop(value.update(|now| *now = one));
    }
    let mut seed = 7_u64;
    for round in 0..40 {
        let (small, word, wide) = (value(1_u16), value(1_u64), value([1_u64; 4]));
        for body in [&small.body, &word.body, &wide.body] {
            for field in body.slice::<std::sync::atomic::AtomicU64>(0, 10).unwrap() {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                field.store(seed ^ (seed >> 29), Ordering::Relaxed);
            }
            if round % 2 == 0 {
                body.word.store(ASIDE, Ordering::Relaxed);
            }
        }
        check(&small, 1);
        check(&word, 1);
        drop(wide.get());
        drop(wide.update(|all| all[0] = 1));
    }
}
