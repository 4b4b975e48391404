//! `_TestValue`, and what `_TestSharedCTypes` says of values.
//!
//! On purpose different from Python: a value belongs to its own lock, and none can be given to it. What is
//! there `value.value += 1`, and loses counts, is `fetch_add` or `update`. An update is all or nothing.

use crate::ground::{Ground, Sent, child, conforms, elsewhere, for_ever, kill};
use procession::bytemuck::{Pod, Zeroable};
use procession::{Event, LockError, RawValue, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

conforms!(
    what_a_child_writes_is_seen_in_every_type,
    without_a_lock_it_is_seen_too,
    while_one_has_the_lock_others_read_and_do_not_write,
    adding_from_several_processes_loses_nothing,
    a_child_doubles_a_number_and_a_struct,
    a_copy_is_independent,
    a_writer_that_is_killed_leaves_the_value_as_it_was,
);

#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable, serde::Serialize, serde::Deserialize)]
#[bytemuck(crate = "procession::bytemuck")]
#[repr(C)]
struct Pair {
    x: i64,
    y: f64,
}

fn crosses<T>(ground: &Ground, first: T, second: T)
where
    T: Pod + Debug + PartialEq + Serialize + DeserializeOwned,
{
    let value = ground.make(Value::options().initial(first));
    let replace = |(value, new): (Sent<Value<T>>, T)| {
        let was = value.get().unwrap();
        value.set(new).unwrap();
        was
    };
    assert_eq!(elsewhere(replace, (value.send(), second)), first);
    assert_eq!(value.get().unwrap(), second);
}

fn crosses_raw<T>(ground: &Ground, first: T, second: T)
where
    T: Pod + Debug + PartialEq + Serialize + DeserializeOwned,
{
    let value = ground.make(RawValue::options().initial(first));
    let replace = |(value, new): (Sent<RawValue<T>>, T)| {
        let was = value.get();
        value.set(new);
        was
    };
    assert_eq!(elsewhere(replace, (value.send(), second)), first);
    assert_eq!(value.get(), second);
}

// test_value, with its type codes i, d, h, q and c
fn what_a_child_writes_is_seen_in_every_type(ground: &Ground) {
    crosses(ground, 4343_i32, 24234);
    crosses(ground, 3.625_f64, -4.25);
    crosses(ground, -232_i16, 234);
    crosses(ground, 1_i64 << 33, 1 << 34);
    crosses(ground, b'x', b'y');
    crosses(ground, Pair { x: 3, y: 1.5 }, Pair { x: -1, y: 2.25 });
    assert_eq!(ground.make(Value::<u64>::options()).get().unwrap(), 0);
}

// test_rawvalue: in Python `lock=False` gives something that has no lock; here it is another type.
fn without_a_lock_it_is_seen_too(ground: &Ground) {
    crosses_raw(ground, 4343_i32, 24234);
    crosses_raw(ground, 3.625_f64, -4.25);
    crosses_raw(ground, -232_i16, 234);
    crosses_raw(ground, 1_i64 << 33, 1 << 34);
    crosses_raw(ground, b'x', b'y');
    crosses_raw(ground, Pair { x: 3, y: 1.5 }, Pair { x: -1, y: 2.25 });
}

// test_getobj_getlock: `get_lock()` is `acquire()`. Readers do not wait for its holder, other than in Python.
fn while_one_has_the_lock_others_read_and_do_not_write(ground: &Ground) {
    let value = ground.make(Value::<i32>::options().initial(5));
    let mut guard = value.acquire().unwrap();
    *guard = 6;
    let look = |value: Sent<Value<i32>>| {
        let is_refused = matches!(value.try_set(9), Err(LockError::WouldBlock { .. }));
        (value.get().unwrap(), is_refused, value.holder().map(|holder| holder.pid))
    };
    assert_eq!(elsewhere(look, value.send()), (5, true, Some(std::process::id())));
    *guard += 1;
    drop(guard);
    assert_eq!(elsewhere(|value: Sent<Value<i32>>| value.get().unwrap(), value.send()), 7);
}

// None: in Python `+=` loses counts.
fn adding_from_several_processes_loses_nothing(ground: &Ground) {
    const TIMES: u64 = 500;
    let (count, pair) = (ground.make(Value::<u64>::options()), ground.make(Value::<[u64; 2]>::options()));
    let add = |(count, pair): (Sent<Value<u64>>, Sent<Value<[u64; 2]>>)| {
        for _ in 0..TIMES {
            count.fetch_add(1).unwrap();
            count.update(|count| *count += 1).unwrap();
            pair.update(|pair| *pair = [pair[0] + 1, pair[1] + 2]).unwrap();
        }
    };
    let children: Vec<_> = (0..4).map(|_| child(add, (count.send(), pair.send()))).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(count.get().unwrap(), 4 * 2 * TIMES);
    assert_eq!(pair.get().unwrap(), [4 * TIMES, 8 * TIMES]);
}

// test_sharedctypes, test_synchronize
fn a_child_doubles_a_number_and_a_struct(ground: &Ground) {
    let x = ground.make(Value::<i32>::options().initial(7));
    let y = ground.make(Value::<f64>::options().initial(1.0 / 4.0));
    let pair = ground.make(Value::options().initial(Pair { x: 3, y: 2.0 }));
    type Doubled = (Sent<Value<i32>>, Sent<Value<f64>>, Sent<Value<Pair>>);
    let double = |(x, y, pair): Doubled| {
        x.update(|x| *x *= 2).unwrap();
        y.update(|y| *y *= 2.0).unwrap();
        pair.update(|pair| *pair = Pair { x: pair.x * 2, y: pair.y * 2.0 }).unwrap();
    };
    elsewhere(double, (x.send(), y.send(), pair.send()));
    assert_eq!((x.get().unwrap(), y.get().unwrap()), (14, 0.5));
    assert_eq!(pair.get().unwrap(), Pair { x: 6, y: 4.0 });
}

// test_copy
fn a_copy_is_independent(ground: &Ground) {
    let pair = ground.make(Value::options().initial(Pair { x: 2, y: 5.0 }));
    let copy = pair.get().unwrap();
    elsewhere(|pair: Sent<Value<Pair>>| pair.set(Pair { x: 0, y: 0.0 }).unwrap(), pair.send());
    assert_eq!((copy, pair.get().unwrap()), (Pair { x: 2, y: 5.0 }, Pair { x: 0, y: 0.0 }));
}

// None: in Python the lock stays held, and half of the struct may be new.
fn a_writer_that_is_killed_leaves_the_value_as_it_was(ground: &Ground) {
    let (pair, half) =
        (ground.make(Value::options().initial(Pair { x: 1, y: 1.0 })), ground.make(Event::options()));
    let die = |(pair, half): (Sent<Value<Pair>>, Sent<Event>)| {
        drop(pair.update(|pair| {
            pair.x = 2;
            half.set();
            for_ever();
        }));
    };
    let victim = child(die, (pair.send(), half.send()));
    half.wait().unwrap();
    assert_eq!(pair.get().unwrap(), Pair { x: 1, y: 1.0 });
    kill(&victim);
    // Nobody has to recover anything.
    pair.update(|pair| pair.y = 3.0).unwrap();
    assert_eq!(pair.get().unwrap(), Pair { x: 1, y: 3.0 });
}
