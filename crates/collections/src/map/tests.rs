use super::Map;
use crate::CollectionError;
use procession_channel::codec::EncodeError;
use procession_channel::{Bytes, Codec};
use procession_shm::{Namespace, OpenError};
use procession_sync::LockError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

fn map<K, V>() -> Map<K, V>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned,
{
    Map::options().namespace(&Namespace::private()).anonymous().unwrap()
}

/// A map that soon has no more room.
fn small() -> Map<u32, Bytes> {
    Map::options().namespace(&Namespace::private()).bytes(64 << 10).anonymous().unwrap()
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

#[test]
fn it_does_what_a_hash_map_does() {
    for seed in 0..8 {
        let (map, mut plain) = (map::<u16, Vec<u16>>(), HashMap::new());
        let mut dice = Dice(seed);
        for step in 0..4000 {
            let (key, len) = (dice.roll(300) as u16, dice.roll(40) as usize);
            let value = vec![step; len];
            match dice.roll(8) {
                0..3 => assert_eq!(map.insert(&key, &value).unwrap(), plain.insert(key, value)),
                3 => assert_eq!(map.remove(&key).unwrap(), plain.remove(&key)),
                4 => {
                    let grow = |list: &mut Option<Vec<u16>>| list.get_or_insert_default().push(7);
                    map.update(&key, grow).unwrap();
                    plain.entry(key).or_default().push(7);
                }
                5 if step % 500 == 0 => {
                    map.clear().unwrap();
                    plain.clear();
                }
                _ => {
                    assert_eq!(map.get(&key).unwrap().as_ref(), plain.get(&key));
                    assert_eq!(map.contains_key(&key).unwrap(), plain.contains_key(&key));
                }
            }
            assert_eq!((map.len().unwrap(), map.is_empty().unwrap()), (plain.len(), plain.is_empty()));
        }
        let all: HashMap<u16, Vec<u16>> = map.iter().unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(all, plain);
        let mut keys: Vec<u16> = map.keys().unwrap().map(Result::unwrap).collect();
        keys.sort_unstable();
        let mut plain_keys: Vec<u16> = plain.keys().copied().collect();
        plain_keys.sort_unstable();
        assert_eq!(keys, plain_keys);
        assert_eq!(map.values().unwrap().len(), plain.len());
    }
}

#[test]
fn any_type_is_a_key_or_a_value_in_any_codec() {
    for codec in [Codec::Bincode, Codec::Json, Codec::MsgPack] {
        let options = Map::<(String, Option<i64>), BTreeMap<String, f64>>::options();
        let map = options.namespace(&Namespace::private()).codec(codec).anonymous().unwrap();
        let value = BTreeMap::from([("pi".to_owned(), 3.5)]);
        map.insert(&("a".to_owned(), Some(-1)), &value).unwrap();
        map.insert(&("a".to_owned(), None), &BTreeMap::new()).unwrap();
        assert_eq!(map.get(&("a".to_owned(), Some(-1))).unwrap(), Some(value));
        assert_eq!(map.len().unwrap(), 2);
    }
    let options = Map::<String, Bytes>::options().namespace(&Namespace::private()).codec(Codec::Bytes);
    let map = options.anonymous().unwrap();
    map.insert("key", &Bytes::from(&b"\0\xff"[..])).unwrap();
    map.insert("", &Bytes::default()).unwrap();
    assert_eq!(map.get("key").unwrap().unwrap(), *b"\0\xff");
    assert_eq!(map.get("").unwrap().unwrap(), *b"");
    let long = "x".repeat(1 << 20);
    map.insert(&long, long.as_bytes()).unwrap();
    assert_eq!(map.get(long.as_str()).unwrap().unwrap().0, long.as_bytes());
    let refused = Map::<u8, Bytes>::options().namespace(&Namespace::private()).codec(Codec::Bytes);
    let refused = refused.anonymous().unwrap().insert(&1, &Bytes::default());
    assert!(matches!(refused, Err(CollectionError::Encode(EncodeError::NotRepresentable { .. }))));
}

#[test]
fn it_is_opened_as_what_it_was_created() {
    let namespace = Namespace::private();
    let made = Map::<u32, String>::options().namespace(&namespace).create("m").unwrap();
    made.insert(&1, "one").unwrap();
    let again = Map::<u32, String>::options().namespace(&namespace).open_or_create("m").unwrap();
    assert_eq!(again.get(&1).unwrap().as_deref(), Some("one"));
    let other = Map::<u32, u32>::options().namespace(&namespace).open("m");
    assert!(matches!(other, Err(OpenError::ElementType { .. } | OpenError::Structure { .. })), "{other:?}");
    let tagged = Map::<u32, u32>::options().namespace(&namespace).type_tag("t");
    let made_tagged = Map::<u32, String>::options().namespace(&namespace).type_tag("t").create("t").unwrap();
    let refused = tagged.open("t").unwrap_err();
    assert!(matches!(refused, OpenError::Structure { .. }), "{refused}");
    let as_list = crate::List::<u32>::options().namespace(&namespace).open("m");
    assert!(matches!(as_list, Err(OpenError::Kind { .. })));
    made.unlink().unwrap();
    made_tagged.unlink().unwrap();
    // Who has it goes on with it.
    again.insert(&2, "two").unwrap();
    assert_eq!(made.get(&2).unwrap().as_deref(), Some("two"));
}

#[test]
fn it_grows_when_it_has_lost_its_name() {
    let namespace = Namespace::private();
    let map = Map::<u32, u64>::options().namespace(&namespace).create("m").unwrap();
    let opened = Map::<u32, u64>::options().namespace(&namespace).open("m").unwrap();
    map.unlink().unwrap();
    let memory = map.memory();
    for key in 0..5000 {
        assert_eq!(map.insert(&key, &7).unwrap(), None);
    }
    assert!(map.memory() > memory && opened.memory() == map.memory());
    assert!((0..5000).all(|key| opened.get(&key).unwrap() == Some(7)));
}

#[test]
fn without_room_it_is_as_it_was_and_what_needs_none_works() {
    let map = small();
    let value = Bytes::from(vec![7; 1000]);
    let mut stored = 0;
    let refused = loop {
        match map.insert(&stored, &value) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, CollectionError::Full { most: 65536, .. }), "{refused}");
    assert!((15..60).contains(&stored), "{stored}");
    let check = |len: u32| {
        assert_eq!(map.len().unwrap(), len as usize);
        assert!((0..stored).all(|key| map.get(&key).unwrap().is_some() == (key >= stored - len)));
    };
    check(stored);
    let replaced = map.update(&0, |entry| entry.as_mut().unwrap().0.extend([1; 40_000]));
    assert!(matches!(replaced, Err(CollectionError::Full { .. })));
    check(stored);
    assert_eq!(map.remove(&0).unwrap(), Some(value.clone()));
    check(stored - 1);
    // What was removed makes room.
    for key in 1..10 {
        assert_eq!(map.remove(&key).unwrap(), Some(value.clone()));
    }
    map.insert(&9, &value).unwrap();
    assert_eq!(map.len().unwrap(), stored as usize - 9);
    map.clear().unwrap();
    assert!(map.is_empty().unwrap() && map.iter().unwrap().next().is_none());
    for key in 0..15 {
        map.insert(&key, &value).unwrap();
    }
}

#[test]
fn room_is_used_again_for_ever() {
    let few = small();
    let mut dice = Dice(1);
    for step in 0_u32..20_000 {
        let key = dice.roll(20) as u32;
        few.insert(&key, &Bytes::from(vec![step as u8; dice.roll(300) as usize])).unwrap();
        if step % 7 == 0 {
            few.remove(&(dice.roll(20) as u32)).unwrap();
        }
    }
    assert!(few.memory() <= 64 << 10);
    // Removals and insertions leave no places behind that nobody can take.
    let many = map::<u64, ()>();
    for key in 0..200_000_u64 {
        many.insert(&key, &()).unwrap();
        many.remove(&key).unwrap();
    }
    assert!(many.memory() <= 64 << 10, "{}", many.memory());
}

#[test]
fn a_panic_changes_nothing_and_holds_nothing() {
    let map = map::<u8, String>();
    map.insert(&1, "one").unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        map.update(&1, |entry| {
            *entry = None;
            panic!("changing it");
        })
    }));
    assert!(panicked.is_err() && map.holder().is_none());
    assert_eq!(map.insert(&1, "two").unwrap().as_deref(), Some("one"));
}

#[test]
fn inside_an_update_it_can_be_read_and_not_changed() {
    let (map, other) = (map::<u8, u32>(), map::<u8, u32>());
    map.insert(&1, &10).unwrap();
    map.update(&1, |entry| {
        *entry = Some(11);
        assert_eq!((map.get(&1).unwrap(), map.len().unwrap()), (Some(10), 1));
        let nested = map.insert(&2, &20);
        assert!(matches!(nested, Err(CollectionError::Lock(LockError::Deadlock { .. }))), "{nested:?}");
        let tried = map.try_update(&2, |_| ());
        assert!(matches!(tried, Err(CollectionError::Lock(LockError::WouldBlock(_)))), "{tried:?}");
        assert!(map.holder().is_some());
        other.insert(&1, &1).unwrap();
    })
    .unwrap();
    assert_eq!((map.get(&1).unwrap(), map.get(&2).unwrap()), (Some(11), None));
}

#[test]
fn readers_see_whole_entries_and_a_number_that_was_true() {
    let map = map::<u64, Vec<u64>>();
    (0..8).for_each(|key| drop(map.insert(&key, &vec![0]).unwrap()));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for key in 0..8 {
                        if let Some(value) = map.get(&key).unwrap() {
                            assert!(value.iter().all(|&part| part == value[0]), "{value:?}");
                        }
                    }
                    let all: Vec<_> = map.iter().unwrap().map(Result::unwrap).collect();
                    assert!(all.len() == 8 || all.len() == 7, "{}", all.len());
                    let len = map.len().unwrap();
                    assert!(len == 8 || len == 7, "{len}");
                }
            });
        }
        let mut dice = Dice(3);
        for step in 0..30_000_u64 {
            let key = dice.roll(8);
            if step % 3 == 0 {
                map.remove(&key).unwrap();
            }
            map.insert(&key, &vec![step; 1 + dice.roll(20) as usize]).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn updates_of_many_threads_are_all_there() {
    let map = map::<String, u64>();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let map = &map;
            scope.spawn(move || {
                for step in 0..5000 {
                    map.update("all", |count| *count.get_or_insert(0) += 1).unwrap();
                    map.insert(&format!("{thread}-{}", step % 100), &step).unwrap();
                }
            });
        }
    });
    assert_eq!((map.get("all").unwrap(), map.len().unwrap()), (Some(20_000), 401));
}

#[test]
fn at_its_most_places_it_says_so_and_works_on_with_what_it_has() {
    let mut map = map::<u32, u32>();
    map.body.most_places = 256;
    let refused = (0..300).find_map(|key| map.insert(&key, &key).err()).unwrap();
    // Three quarters of the places, less a sixteenth.
    assert!(matches!(refused, CollectionError::TooManyEntries { most: 176, .. }), "{refused}");
    assert_eq!(map.len().unwrap(), 176);
    // What is there can be changed, and what goes makes room, for ever.
    for key in 0..2000 {
        assert_eq!(map.insert(&(key + 175), &key).unwrap(), (key == 0).then_some(175));
        assert_eq!(map.remove(&key).unwrap(), Some(if key < 175 { key } else { key - 175 }));
    }
}
