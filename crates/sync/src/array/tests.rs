use super::{Array, ArrayError, PENDING};
use crate::LockError;
use bytemuck::Pod;
use procession_shm::{Namespace, OpenError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

fn array(len: usize) -> Array<u32> {
    Array::options().namespace(&Namespace::private()).len(len).anonymous().unwrap()
}

#[test]
fn elements_and_ranges_come_back_as_they_went_in() {
    let array = array(10);
    array.write(2, &[1, 2, 3]).unwrap();
    array.set(9, u32::MAX).unwrap();
    assert_eq!((array.fetch_add(9, 2).unwrap(), array.get(9).unwrap()), (u32::MAX, 1));
    assert_eq!(array.read(0..10).unwrap(), [0, 0, 1, 2, 3, 0, 0, 0, 0, 1]);
    assert_eq!(array.update(3..5, |part| part.iter().sum::<u32>()).unwrap(), 5);
    assert_eq!(array.read(4..4).unwrap(), []);
    let nested = array.update(0..1, |_| {
        matches!(array.try_update(1..2, |_| ()), Err(ArrayError::Lock(LockError::WouldBlock(_))))
    });
    assert!(nested.unwrap());
}

#[test]
fn nonsense_is_refused() {
    let array = array(3);
    let backwards = std::ops::Range { start: 2, end: 1 };
    for range in [0..4, 4..4, backwards, 0..usize::MAX] {
        assert!(matches!(array.read(range), Err(ArrayError::OutOfRange { len: 3, .. })));
    }
    assert!(matches!(array.get(3), Err(ArrayError::OutOfRange { start: 3, end: 4, len: 3, .. })));
    assert!(matches!(array.set(usize::MAX, 1), Err(ArrayError::OutOfRange { .. })));
    let options = || Array::<u64>::options().namespace(&Namespace::private());
    for impossible in [options(), options().len(0), options().len(1 << 46), options().len(usize::MAX)] {
        assert!(matches!(impossible.anonymous(), Err(OpenError::Impossible { .. })), "{impossible:?}");
    }
    // More than this machine has is the kernel's to say.
    assert!(matches!(options().len(1 << 42).anonymous(), Err(OpenError::NoSpace { .. })));
}

#[test]
fn a_panic_changes_nothing() {
    let array = array(4);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        array.update(0..4, |part| {
            part.fill(7);
            panic!("changing it");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(array.read(0..4).unwrap(), [0; 4]);
}

#[test]
fn a_pending_log_of_any_range_is_read_and_applied_within_bounds() {
    for (start, len) in [(1, 2), (3, u64::MAX), (u64::MAX, 5), (4, 1)] {
        let array = array(4);
        (0..4).for_each(|at| array.logged().store(at, 9, Ordering::Relaxed));
        array.body.log_start.store(start, Ordering::Relaxed);
        array.body.log_len.store(len, Ordering::Relaxed);
        array.body.log.store(6 | PENDING, Ordering::Relaxed);
        let seen: Vec<u32> = (0..4).map(|index| array.get(index).unwrap()).collect();
        assert_eq!(array.read(0..4).unwrap(), seen);
        assert_eq!(array.body.log.load(Ordering::Relaxed), 6);
    }
}

#[test]
fn what_is_added_beside_an_update_waits_for_it() {
    let array = array(4);
    std::thread::scope(|scope| {
        array
            .update(0..4, |part| {
                assert!(matches!(array.fetch_add(1, 5), Err(ArrayError::Lock(LockError::Deadlock { .. }))));
                scope.spawn(|| array.fetch_add(1, 5).unwrap());
                std::thread::yield_now();
                part[1] = 70;
            })
            .unwrap();
    });
    assert_eq!(array.get(1).unwrap(), 75);
}

#[test]
fn elements_of_every_size_lie_close_and_keep_to_themselves() {
    fn check<const N: usize>(takes: u64)
    where
        [u8; N]: Pod,
    {
        let array: Array<[u8; N]> =
            Array::options().namespace(&Namespace::private()).len(640).anonymous().unwrap();
        let element = |index: usize| -> [u8; N] { std::array::from_fn(|byte| (index * 7 + byte) as u8 | 1) };
        let all: Vec<[u8; N]> = (0..640).map(element).collect();
        array.set(3, element(3)).unwrap();
        assert_eq!((array.get(2).unwrap(), array.get(4).unwrap()), ([0; N], [0; N]));
        array.write(0, &all).unwrap();
        assert_eq!(array.read(0..640).unwrap(), all);
        assert!((0..640).all(|index| array.get(index).unwrap() == element(index)));
        let mut last = [[0; N]; 2];
        array.read_into(638, &mut last).unwrap();
        assert_eq!(last, [element(638), element(639)]);
        assert!(matches!(array.read_into(639, &mut last), Err(ArrayError::OutOfRange { end: 641, .. })));
        assert_eq!(array.body.segment().header().size, 4096 + 64 + 2 * 640 * takes);
        let same = Array::options().namespace(&Namespace::private()).initial(&all).anonymous().unwrap();
        assert_eq!((same.len(), same.read(0..640).unwrap()), (640, all));
        assert_eq!(same.as_ptr().addr() % 4096, array.as_ptr().addr() % 4096);
    }
    check::<0>(1);
    check::<1>(1);
    check::<2>(2);
    check::<3>(4);
    check::<4>(4);
    check::<5>(8);
    check::<8>(8);
}

#[test]
fn any_bytes_are_an_array_or_an_error() {
    let mut seed = 7_u64;
    for _ in 0..40 {
        let array = array(16);
        for field in array.body.slice::<AtomicU64>(0, 20).unwrap() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            field.store(seed ^ (seed >> 29), Ordering::Relaxed);
        }
        drop(array.get(15));
        drop(array.fetch_add(0, 1));
        drop(array.update(0..16, |part| part.fill(1)));
        drop(array.read(0..16));
    }
}

#[test]
fn the_first_elements_are_the_makers() {
    let namespace = Namespace::private();
    let options = || Array::options().namespace(&namespace);
    let made = options().initial(&[1_u16, 2, 3]).create("a").unwrap();
    made.set(0, 7).unwrap();
    let opened = options().initial(&[4_u16, 5, 6]).open_or_create("a").unwrap();
    assert_eq!(opened.read(0..3).unwrap(), [7, 2, 3]);
    assert!(matches!(options().initial(&[1_u16]).open_or_create("a"), Err(OpenError::Parameter { .. })));
    let none: &[u16] = &[];
    assert!(matches!(options().initial(none).create("b"), Err(OpenError::Impossible { .. })));
    made.unlink().unwrap();
}
