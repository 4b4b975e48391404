//! `_TestArray`, and what `_TestSharedCTypes` says of arrays.
//!
//! On purpose different from Python: elements have at most 8 bytes, and an array is made by its length, not
//! from a sequence: it is all zero, and then written. An index beyond the end is an error of `get` and `set`,
//! and none counts from the end.

use crate::ground::{Ground, Sent, child, conforms, elsewhere, for_ever, kill};
use procession::{Array, ArrayError, Event, LockError, RawArray};

conforms!(
    it_has_a_length_elements_and_slices,
    a_child_sums_the_elements_up,
    without_a_lock_a_child_sums_them_up_too,
    it_is_all_zero_also_where_memory_is_used_again,
    while_one_has_the_lock_others_read_elements_and_do_not_write,
    a_child_doubles_numbers_and_characters,
    adding_from_several_processes_loses_nothing,
    a_writer_that_is_killed_leaves_the_array_as_it_was,
);

const SEQUENCE: [i32; 10] = [680, 626, 934, 821, 150, 233, 548, 982, 714, 831];

fn sums() -> Vec<i32> {
    let mut sum = 0;
    SEQUENCE
        .iter()
        .map(|n| {
            sum += n;
            sum
        })
        .collect()
}

// test_array
fn it_has_a_length_elements_and_slices(ground: &Ground) {
    let array = ground.make(Array::<i32>::options().len(SEQUENCE.len()));
    array.write(0, &SEQUENCE).unwrap();
    let look = |array: Sent<Array<i32>>| {
        (array.len(), array.get(3).unwrap(), array.read(2..7).unwrap(), array.read(10..10).unwrap())
    };
    let seen = (10, SEQUENCE[3], SEQUENCE[2..7].to_vec(), vec![]);
    assert_eq!(look(array.send()), seen);
    assert_eq!(elsewhere(look, array.send()), seen);
    let write = |array: Sent<Array<i32>>| {
        array.write(4, &[1, 2, 3, 4]).unwrap();
        array.set(9, 77).unwrap();
    };
    elsewhere(write, array.send());
    assert_eq!(array.read(0..10).unwrap(), [680, 626, 934, 821, 1, 2, 3, 4, 714, 77]);
    assert!(matches!(array.get(10), Err(ArrayError::OutOfRange { start: 10, end: 11, len: 10, .. })));
    assert!(matches!(
        array.write(8, &[0; 3]),
        Err(ArrayError::OutOfRange { start: 8, end: 11, len: 10, .. })
    ));
}

// test_array
fn a_child_sums_the_elements_up(ground: &Ground) {
    let array = ground.make(Array::<i32>::options().len(SEQUENCE.len()));
    array.write(0, &SEQUENCE).unwrap();
    let sum_up = |array: Sent<Array<i32>>| {
        for index in 1..array.len() {
            array.set(index, array.get(index).unwrap() + array.get(index - 1).unwrap()).unwrap();
        }
    };
    elsewhere(sum_up, array.send());
    assert_eq!(array.read(0..10).unwrap(), sums());
}

// test_rawarray
fn without_a_lock_a_child_sums_them_up_too(ground: &Ground) {
    let array = ground.make(RawArray::<i32>::options().len(SEQUENCE.len()));
    array.write(0, &SEQUENCE).unwrap();
    let sum_up = |array: Sent<RawArray<i32>>| {
        for index in 1..array.len() {
            array.set(index, array.get(index).unwrap() + array.get(index - 1).unwrap()).unwrap();
        }
    };
    elsewhere(sum_up, array.send());
    assert_eq!(array.read(0..10).unwrap(), sums());
    assert!(matches!(array.get(10), Err(ArrayError::OutOfRange { .. })));
}

// test_array_from_size
fn it_is_all_zero_also_where_memory_is_used_again(ground: &Ground) {
    for _ in 0..3 {
        let array = ground.make(Array::<i32>::options().len(10));
        let all = |array: Sent<Array<i32>>| array.read(0..array.len()).unwrap();
        assert_eq!(elsewhere(all, array.send()), [0; 10]);
        array.write(0, &SEQUENCE).unwrap();
        assert_eq!(elsewhere(all, array.send()), SEQUENCE);
    }
}

// test_getobj_getlock_obj: the lock is had during an `update`. Who reads an element does not wait for it.
fn while_one_has_the_lock_others_read_elements_and_do_not_write(ground: &Ground) {
    let array = ground.make(Array::<i32>::options().len(4));
    array.write(0, &[1, 2, 3, 4]).unwrap();
    let look = |array: Sent<Array<i32>>| {
        let tried = array.try_update(3..4, |_| ());
        let is_refused = matches!(tried, Err(ArrayError::Lock(LockError::WouldBlock { .. })));
        (array.get(0).unwrap(), is_refused, array.holder().map(|holder| holder.pid))
    };
    let change = |part: &mut [i32]| {
        part.fill(9);
        elsewhere(look, array.send())
    };
    assert_eq!(array.update(0..2, change).unwrap(), (1, true, Some(std::process::id())));
    assert_eq!(elsewhere(|array: Sent<Array<i32>>| array.read(0..4).unwrap(), array.send()), [9, 9, 3, 4]);
}

// test_sharedctypes
fn a_child_doubles_numbers_and_characters(ground: &Ground) {
    let numbers = ground.make(Array::<f64>::options().len(10));
    let text = ground.make(Array::<u8>::options().len(20));
    numbers.update(0..10, |part| (0_u8..10).zip(part).for_each(|(n, at)| *at = n.into())).unwrap();
    text.write(0, b"hello").unwrap();
    let double = |(numbers, text): (Sent<Array<f64>>, Sent<Array<u8>>)| {
        numbers.update(0..numbers.len(), |part| part.iter_mut().for_each(|n| *n *= 2.0)).unwrap();
        text.update(0..10, |part| part.copy_within(0..5, 5)).unwrap();
    };
    elsewhere(double, (numbers.send(), text.send()));
    let doubled: Vec<f64> = (0_u8..10).map(|n| 2.0 * f64::from(n)).collect();
    assert_eq!(numbers.read(0..10).unwrap(), doubled);
    assert_eq!(text.read(0..11).unwrap(), b"hellohello\0");
}

// None: in Python `array[0] += 1` loses counts.
fn adding_from_several_processes_loses_nothing(ground: &Ground) {
    let array = ground.make(Array::<u16>::options().len(3));
    let add = |array: Sent<Array<u16>>| {
        for _ in 0..500 {
            array.fetch_add(1, 1).unwrap();
            array.update(0..3, |part| part[2] += 1).unwrap();
        }
    };
    let children: Vec<_> = (0..4).map(|_| child(add, array.send())).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(array.read(0..3).unwrap(), [0, 2000, 2000]);
}

// None: in Python the lock stays held, and half of the slice may be new.
fn a_writer_that_is_killed_leaves_the_array_as_it_was(ground: &Ground) {
    let (array, half) = (ground.make(Array::<u32>::options().len(4)), ground.make(Event::options()));
    array.write(0, &[1, 2, 3, 4]).unwrap();
    let die = |(array, half): (Sent<Array<u32>>, Sent<Event>)| {
        drop(array.update(0..4, |part| {
            part[0] = 9;
            half.set();
            for_ever();
        }));
    };
    let victim = child(die, (array.send(), half.send()));
    half.wait().unwrap();
    assert_eq!(array.get(0).unwrap(), 1);
    kill(&victim);
    assert_eq!(array.read(0..4).unwrap(), [1, 2, 3, 4]);
    array.write(0, &[5]).unwrap();
    assert_eq!(array.get(0).unwrap(), 5);
}
