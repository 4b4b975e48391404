//! Value and Array: all of an update, or nothing of it. Progress: 1 when it is there.

use crate::run::Scene;
use crate::stage::{Stage, begin, finished, stepped};
use procession_sync::{Array, Value};

pub(super) const SCENES: &[Scene] = &[
    Scene { name: "value/update", whole: 1, play: update },
    Scene { name: "value/update/sleeper", whole: 1, play: update_contended },
    Scene { name: "value/commit/sleeper", whole: 1, play: commit },
    Scene { name: "value/set", whole: 1, play: set },
    Scene { name: "value/fetch_add", whole: 1, play: fetch_add },
    Scene { name: "value/fetch_add/sleeper", whole: 1, play: fetch_add_contended },
    Scene { name: "array/update", whole: 1, play: array_update },
    Scene { name: "array/update/sleeper", whole: 1, play: array_update_contended },
    Scene { name: "array/commit/sleeper", whole: 1, play: array_commit },
    Scene { name: "array/fetch_add", whole: 1, play: array_fetch_add },
];

type Wide = [u64; 8];

fn wide() -> Value<Wide> {
    Value::new([0; 8]).unwrap()
}

/// Adds to all words; what a sleeper does.
#[inline]
fn add(value: &Value<Wide>, n: u64) -> u8 {
    value.update(|all| *all = all.map(|word| word + n)).unwrap();
    0
}

/// How much the victim has added, if others have added `others`; more can be added.
fn added(value: &Value<Wide>, others: u64) -> u32 {
    let all = value.get().unwrap();
    assert_eq!(all, [all[0]; 8], "torn");
    add(value, 100);
    assert_eq!(value.get().unwrap(), [all[0] + 100; 8]);
    (all[0] - others) as u32
}

fn update(stage: &mut Stage<'_>) -> u32 {
    let value = wide();
    stage.victim(|| stepped(|| add(&value, 1)));
    stage.kill(|_| ());
    added(&value, 0)
}

fn update_contended(stage: &mut Stage<'_>) -> u32 {
    let value = wide();
    let mut held = Some(value.acquire().unwrap());
    stage.sleeper(|| add(&value, 10));
    stage.victim(|| stepped(|| add(&value, 1)));
    stage.kill(|_| drop(held.take()));
    drop(held);
    assert_eq!(stage.ends(), 0);
    added(&value, 10)
}

fn commit(stage: &mut Stage<'_>) -> u32 {
    let value = wide();
    stage.victim(|| {
        let mut guard = value.acquire().unwrap();
        *guard = [1; 8];
        stepped(|| drop(guard));
    });
    stage.sleeper(|| add(&value, 10));
    stage.kill(|_| ());
    assert_eq!(stage.ends(), 0);
    added(&value, 10)
}

fn set(stage: &mut Stage<'_>) -> u32 {
    let value = wide();
    stage.victim(|| stepped(|| value.set([1; 8]).unwrap()));
    stage.kill(|_| ());
    added(&value, 0)
}

fn fetch_add(stage: &mut Stage<'_>) -> u32 {
    let value: Value<u64> = Value::new(0).unwrap();
    stage.victim(|| stepped(|| value.fetch_add(1).unwrap()));
    stage.kill(|_| ());
    value.update(|n| *n += 10).unwrap();
    value.get().unwrap() as u32 - 10
}

/// This process holds the value, a sleeper waits for it, and so does the victim.
fn fetch_add_contended(stage: &mut Stage<'_>) -> u32 {
    let value: Value<u64> = Value::new(0).unwrap();
    let mut guard = value.acquire().unwrap();
    *guard += 100;
    let mut held = Some(guard);
    stage.sleeper(|| {
        value.update(|n| *n += 10).unwrap();
        0
    });
    stage.victim(|| stepped(|| value.fetch_add(1).unwrap()));
    stage.kill(|_| drop(held.take()));
    drop(held);
    assert_eq!(stage.ends(), 0);
    value.get().unwrap() as u32 - 110
}

fn array() -> Array<u64> {
    Array::options().len(16).anonymous().unwrap()
}

/// Adds to eight elements; what a sleeper does.
#[inline]
fn add_to_eight(array: &Array<u64>, n: u64) -> u8 {
    array.update(4..12, |part| part.iter_mut().for_each(|element| *element += n)).unwrap();
    0
}

/// How much the victim has added to the eight, if others have added `others`; more can be added.
fn added_to_eight(array: &Array<u64>, others: u64) -> u32 {
    add_to_eight(array, 100);
    let all = array.read(0..16).unwrap();
    let n = all[4];
    assert!((0..16).all(|index| all[index] == if (4..12).contains(&index) { n } else { 0 }), "torn: {all:?}");
    (n - 100 - others) as u32
}

fn array_update(stage: &mut Stage<'_>) -> u32 {
    let array = array();
    stage.victim(|| stepped(|| add_to_eight(&array, 1)));
    stage.kill(|_| ());
    // Single elements wait for nobody, and are not promised to be as new as each other.
    assert!((0..16).all(|index| array.get(index).unwrap() <= 1));
    added_to_eight(&array, 0)
}

/// The victim is inside, and has changed what it was shown.
fn array_commit(stage: &mut Stage<'_>) -> u32 {
    let array = array();
    stage.victim(|| {
        let change = |part: &mut [u64]| {
            part.fill(1);
            begin();
        };
        array.update(4..12, change).unwrap();
        finished();
    });
    stage.sleeper(|| add_to_eight(&array, 10));
    stage.kill(|_| ());
    assert_eq!(stage.ends(), 0);
    added_to_eight(&array, 10)
}

/// A sleeper and the victim wait for another that is inside.
fn array_update_contended(stage: &mut Stage<'_>) -> u32 {
    let array = array();
    let go = procession_sync::Event::new().unwrap();
    stage.sleeper(|| {
        array.update(4..12, |_| go.wait().unwrap()).unwrap();
        0
    });
    stage.sleeper(|| add_to_eight(&array, 10));
    stage.victim(|| stepped(|| add_to_eight(&array, 1)));
    stage.kill(|_| go.set());
    go.set();
    assert_eq!([stage.ends(), stage.ends()], [0, 0]);
    added_to_eight(&array, 10)
}

fn array_fetch_add(stage: &mut Stage<'_>) -> u32 {
    let array = array();
    stage.victim(|| stepped(|| array.fetch_add(3, 1).unwrap()));
    stage.kill(|_| ());
    array.fetch_add(3, 10).unwrap() as u32
}
