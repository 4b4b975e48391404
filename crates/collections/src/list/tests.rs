use super::List;
use crate::CollectionError;
use procession_channel::Bytes;
use procession_shm::Namespace;
use procession_sync::LockError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

fn list<T: Serialize + DeserializeOwned>() -> List<T> {
    List::options().namespace(&Namespace::private()).anonymous().unwrap()
}

fn all<T: Serialize + DeserializeOwned>(list: &List<T>) -> Vec<T> {
    list.iter().unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn it_does_what_a_vec_does() {
    for seed in 1..8_u64 {
        let (list, mut plain) = (list::<String>(), Vec::<String>::new());
        let mut state = seed;
        let mut roll = |sides: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % sides
        };
        for step in 0..3000 {
            let value = format!("{step}").repeat(roll(10));
            let index = roll(plain.len() + 1);
            match roll(10) {
                0..3 => {
                    list.push(&value).unwrap();
                    plain.push(value);
                }
                3 => assert_eq!(list.pop().unwrap(), plain.pop()),
                4 => {
                    list.insert(index, &value).unwrap();
                    plain.insert(index, value);
                }
                5 if index < plain.len() => assert_eq!(list.remove(index).unwrap(), plain.remove(index)),
                6 if index < plain.len() => {
                    list.set(index, &value).unwrap();
                    plain[index] = value;
                }
                7 => {
                    let more: Vec<String> = (0..roll(5)).map(|n| n.to_string()).collect();
                    list.extend(&more).unwrap();
                    plain.extend(more);
                }
                8 if step % 50 == 0 => {
                    list.truncate(index).unwrap();
                    plain.truncate(index);
                }
                9 if step % 400 == 0 => {
                    list.clear().unwrap();
                    plain.clear();
                }
                _ => assert_eq!(list.get(index).unwrap().as_ref(), plain.get(index)),
            }
            assert_eq!((list.len().unwrap(), list.is_empty().unwrap()), (plain.len(), plain.is_empty()));
        }
        assert_eq!(all(&list), plain);
        assert!(list.memory() < 1 << 20, "{}", list.memory());
    }
}

#[test]
fn what_is_not_there_is_an_error_or_nothing() {
    let list = list::<u8>();
    assert_eq!((list.get(0).unwrap(), list.pop().unwrap()), (None, None));
    list.extend(&[1, 2]).unwrap();
    assert!(matches!(list.set(2, &0), Err(CollectionError::OutOfRange { index: 2, len: 2, .. })));
    assert!(matches!(list.remove(2), Err(CollectionError::OutOfRange { .. })));
    assert!(matches!(list.insert(3, &0), Err(CollectionError::OutOfRange { .. })));
    assert!(matches!(list.update(usize::MAX, |_| ()), Err(CollectionError::OutOfRange { .. })));
    assert_eq!(all(&list), [1, 2]);
}

#[test]
fn without_room_it_is_as_it_was_and_what_needs_none_works() {
    let options = List::<Bytes>::options().namespace(&Namespace::private()).bytes(64 << 10);
    let list = options.anonymous().unwrap();
    let value = Bytes::from(vec![7; 500]);
    let mut stored = 0;
    let refused = loop {
        match list.push(&value) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, CollectionError::Full { .. }), "{refused}");
    assert!(stored > 30, "{stored}");
    assert!(list.extend(&vec![value.clone(); 50]).is_err());
    assert!(list.set(0, &[1; 40_000][..]).is_err());
    assert_eq!(all(&list), vec![value.clone(); stored]);
    assert_eq!(list.pop().unwrap(), Some(value.clone()));
    list.truncate(3).unwrap();
    assert_eq!(all(&list), vec![value.clone(); 3]);
    list.clear().unwrap();
    for _ in 0..10_000 {
        list.push(&value).unwrap();
        assert_eq!(list.pop().unwrap().as_ref(), Some(&value));
    }
}

#[test]
fn a_panic_changes_nothing() {
    let list = list::<String>();
    list.push("one").unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        list.update(0, |text| {
            text.clear();
            panic!("changing it");
        })
    }));
    assert!(panicked.is_err());
    let nested = list.update(0, |_| list.push("two"));
    assert!(matches!(nested, Ok(Err(CollectionError::Lock(LockError::Deadlock { .. })))));
    assert_eq!(all(&list), ["one"]);
}

#[test]
fn readers_see_whole_elements_that_were_there() {
    let list = list::<(u64, u64)>();
    list.push(&(0, 0)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for index in 0..3 {
                        if let Some((one, other)) = list.get(index).unwrap() {
                            assert_eq!(one, other);
                        }
                    }
                    assert!(all(&list).iter().all(|(one, other)| one == other));
                }
            });
        }
        for step in 0..50_000 {
            match step % 5 {
                0 | 1 => list.push(&(step, step)).unwrap(),
                2 => list.set(0, &(step, step)).unwrap(),
                _ => {
                    drop(list.pop().unwrap().filter(|_| list.is_empty().unwrap()).map(|_| list.push(&(1, 1))))
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}
