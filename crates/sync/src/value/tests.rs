use super::{Integer, Value};
use crate::LockError;
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
        assert_eq!((value.fetch_add(one), value.get().unwrap()), (most, least));
        assert_eq!((value.fetch_sub(one), value.get().unwrap()), (least, most));
        assert_eq!((value.fetch_min(least), value.fetch_max(one)), (most, least));
        assert_eq!((value.swap(least), value.compare_exchange(one, most)), (one, Err(least)));
        assert_eq!((value.compare_exchange(least, one), value.fetch_xor(one)), (Ok(least), one));
        let zero = value.get().unwrap();
        assert_eq!((value.fetch_or(one), value.fetch_and(one), value.get().unwrap()), (zero, one, one));
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
    assert_eq!((small.fetch_add(1), small.get().unwrap()), (i8::MAX, i8::MIN));
    assert_eq!((large.fetch_sub(1), large.get().unwrap()), (i64::MIN, i64::MAX));
    assert_eq!((small.fetch_max(-1), small.get().unwrap()), (i8::MIN, -1));
}

#[test]
fn a_guard_commits_at_its_end_and_not_in_a_panic() {
    let value = value([1_u64; 8]);
    let mut guard = value.acquire().unwrap();
    guard[0] = 2;
    assert_eq!(value.get().unwrap()[0], 1);
    assert!(matches!(value.acquire(), Err(LockError::Deadlock)));
    assert!(matches!(value.try_set([0; 8]), Err(LockError::WouldBlock)));
    std::thread::scope(|scope| {
        let other = scope.spawn(|| value.set_timeout([0; 8], Duration::from_millis(5)));
        assert!(matches!(other.join().unwrap(), Err(LockError::TimedOut)));
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

#[test]
fn what_comes_between_is_counted() {
    let value = value(10_i32);
    let mut guard = value.acquire().unwrap();
    *guard -= 4;
    value.fetch_add(100);
    assert_eq!(*guard, 6);
    drop(guard);
    assert_eq!(value.get().unwrap(), 106);
    let mut runs = 0;
    let doubled = value.update(|n| {
        if runs == 0 {
            value.fetch_add(1);
        }
        runs += 1;
        *n *= 2;
        *n
    });
    assert_eq!((doubled.unwrap(), runs, value.get().unwrap()), (214, 2, 214));
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
