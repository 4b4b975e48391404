//! Map and List: all of a change, or nothing of it, and the number of entries changes with it. Progress: 1 when
//! it is there.

use crate::run::Scene;
use crate::stage::{Stage, begin, finished, stepped};
use procession_collections::{List, Map};

pub(super) const SCENES: &[Scene] = &[
    Scene { name: "map/insert", whole: 1, play: insert },
    Scene { name: "map/insert/sleeper", whole: 1, play: insert_contended },
    Scene { name: "map/replace", whole: 1, play: replace },
    Scene { name: "map/update/inside", whole: 1, play: update },
    Scene { name: "map/remove", whole: 1, play: remove },
    Scene { name: "map/grow", whole: 1, play: grow },
    Scene { name: "map/clear", whole: 1, play: clear },
    Scene { name: "list/push", whole: 1, play: push },
    Scene { name: "list/push-after-pop/sleeper", whole: 1, play: push_again },
    Scene { name: "list/extend", whole: 1, play: extend },
    Scene { name: "list/pop", whole: 1, play: pop },
    Scene { name: "list/set", whole: 1, play: set },
    Scene { name: "list/insert", whole: 1, play: insert_in_the_middle },
    Scene { name: "list/remove", whole: 1, play: remove_in_the_middle },
];

/// A number twice, so that half of a value is noticed.
type Pair = (u64, u64);

fn pair(n: u64) -> Pair {
    (n, n)
}

fn map() -> Map<u64, Pair> {
    let map = Map::new().unwrap();
    for key in 0..4 {
        map.insert(&key, &pair(10 + key)).unwrap();
    }
    map
}

/// The entries, in order of their keys. All ways to look agree, and the map can be changed.
fn entries(map: &Map<u64, Pair>) -> Vec<(u64, u64)> {
    let look = || {
        let mut all: Vec<(u64, Pair)> = map.iter().unwrap().collect::<Result<_, _>>().unwrap();
        all.sort_unstable();
        assert_eq!(map.len().unwrap(), all.len());
        for (key, value) in &all {
            assert_eq!((value.0, map.get(key).unwrap()), (value.1, Some(*value)), "torn");
        }
        all.into_iter().map(|(key, value)| (key, value.0)).collect::<Vec<_>>()
    };
    let seen = look();
    assert_eq!(map.insert(&99, &pair(99)).unwrap(), None);
    assert_eq!(look().len(), seen.len() + 1);
    assert_eq!(map.remove(&99).unwrap(), Some(pair(99)));
    assert_eq!(look(), seen);
    seen
}

/// 0 if these are the entries from before, 1 if they are those of after.
fn progress<T: PartialEq + std::fmt::Debug>(now: &[T], before: &[T], after: &[T]) -> u32 {
    assert!(now == before || now == after, "{now:?}");
    u32::from(now == after)
}

const BEFORE: [(u64, u64); 4] = [(0, 10), (1, 11), (2, 12), (3, 13)];

fn insert(stage: &mut Stage<'_>) -> u32 {
    let map = map();
    stage.victim(|| stepped(|| map.insert(&7, &pair(7)).unwrap()));
    stage.kill(|_| ());
    progress(&entries(&map), &BEFORE, &[&BEFORE[..], &[(7, 7)]].concat())
}

/// Another process is inside; the victim and a sleeper wait for it.
fn insert_contended(stage: &mut Stage<'_>) -> u32 {
    let (map, go) = (map(), procession_sync::Event::new().unwrap());
    stage.sleeper(|| {
        map.update(&0, |_| go.wait().unwrap()).unwrap();
        0
    });
    stage.sleeper(|| {
        map.insert(&0, &pair(20)).unwrap();
        0
    });
    stage.victim(|| stepped(|| map.insert(&7, &pair(7)).unwrap()));
    stage.kill(|_| go.set());
    go.set();
    assert_eq!([stage.ends(), stage.ends()], [0, 0]);
    let before = [(0, 20), (1, 11), (2, 12), (3, 13)];
    progress(&entries(&map), &before, &[&before[..], &[(7, 7)]].concat())
}

fn replace(stage: &mut Stage<'_>) -> u32 {
    let map = map();
    stage.victim(|| stepped(|| map.insert(&2, &pair(7)).unwrap()));
    stage.kill(|_| ());
    progress(&entries(&map), &BEFORE, &[(0, 10), (1, 11), (2, 7), (3, 13)])
}

/// The victim is inside, and has changed what it was shown; another waits for it.
fn update(stage: &mut Stage<'_>) -> u32 {
    let map = map();
    stage.victim(|| {
        let change = |entry: &mut Option<Pair>| {
            *entry = Some(pair(7));
            begin();
        };
        map.update(&2, change).unwrap();
        finished();
    });
    stage.sleeper(|| {
        map.insert(&0, &pair(20)).unwrap();
        0
    });
    stage.kill(|_| ());
    assert_eq!(stage.ends(), 0);
    progress(&entries(&map), &[(0, 20), (1, 11), (2, 12), (3, 13)], &[(0, 20), (1, 11), (2, 7), (3, 13)])
}

fn remove(stage: &mut Stage<'_>) -> u32 {
    let map = map();
    stage.victim(|| stepped(|| map.remove(&1).unwrap()));
    stage.kill(|_| ());
    progress(&entries(&map), &BEFORE, &[(0, 10), (2, 12), (3, 13)])
}

/// The new space is another commit, which changes nothing that anybody sees.
fn grow(stage: &mut Stage<'_>) -> u32 {
    let map = map();
    // As many as fill the first space.
    let mut count = 4;
    let memory = map.memory();
    while count < 48 {
        map.insert(&count, &pair(10 + count)).unwrap();
        count += 1;
    }
    assert_eq!(map.memory(), memory);
    let before: Vec<(u64, u64)> = (0..count).map(|key| (key, 10 + key)).collect();
    stage.victim(|| stepped(|| map.insert(&90, &pair(90)).unwrap()));
    stage.kill(|_| ());
    progress(&entries(&map), &before, &[&before[..], &[(90, 90)]].concat())
}

fn clear(stage: &mut Stage<'_>) -> u32 {
    let map = map();
    stage.victim(|| stepped(|| map.clear().unwrap()));
    stage.kill(|_| ());
    progress(&entries(&map), &BEFORE, &[])
}

fn list() -> List<Pair> {
    let list = List::new().unwrap();
    list.extend(&[pair(1), pair(2), pair(3)]).unwrap();
    list
}

/// The elements. All ways to look agree, and the list can be changed.
fn elements(list: &List<Pair>) -> Vec<u64> {
    let look = || {
        let all: Vec<Pair> = list.iter().unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(list.len().unwrap(), all.len());
        for (index, element) in all.iter().enumerate() {
            assert_eq!((element.0, list.get(index).unwrap()), (element.1, Some(*element)), "torn");
        }
        all.into_iter().map(|element| element.0).collect::<Vec<_>>()
    };
    let seen = look();
    list.push(&pair(99)).unwrap();
    assert_eq!(look().len(), seen.len() + 1);
    assert_eq!(list.pop().unwrap(), Some(pair(99)));
    assert_eq!(look(), seen);
    seen
}

fn push(stage: &mut Stage<'_>) -> u32 {
    let list = list();
    stage.victim(|| stepped(|| list.push(&pair(7)).unwrap()));
    stage.kill(|_| ());
    progress(&elements(&list), &[1, 2, 3], &[1, 2, 3, 7])
}

/// Where an element was popped; the victim and a sleeper wait for another that is inside.
fn push_again(stage: &mut Stage<'_>) -> u32 {
    let (list, go) = (list(), procession_sync::Event::new().unwrap());
    list.pop().unwrap();
    stage.sleeper(|| {
        list.update(0, |_| go.wait().unwrap()).unwrap();
        0
    });
    stage.sleeper(|| {
        list.set(0, &pair(9)).unwrap();
        0
    });
    stage.victim(|| stepped(|| list.push(&pair(7)).unwrap()));
    stage.kill(|_| go.set());
    go.set();
    assert_eq!([stage.ends(), stage.ends()], [0, 0]);
    progress(&elements(&list), &[9, 2], &[9, 2, 7])
}

fn extend(stage: &mut Stage<'_>) -> u32 {
    let list = list();
    stage.victim(|| stepped(|| list.extend(&[pair(7), pair(8), pair(9)]).unwrap()));
    stage.kill(|_| ());
    progress(&elements(&list), &[1, 2, 3], &[1, 2, 3, 7, 8, 9])
}

fn pop(stage: &mut Stage<'_>) -> u32 {
    let list = list();
    stage.victim(|| stepped(|| list.pop().unwrap()));
    stage.kill(|_| ());
    progress(&elements(&list), &[1, 2, 3], &[1, 2])
}

fn set(stage: &mut Stage<'_>) -> u32 {
    let list = list();
    stage.victim(|| stepped(|| list.set(1, &pair(7)).unwrap()));
    stage.kill(|_| ());
    progress(&elements(&list), &[1, 2, 3], &[1, 7, 3])
}

fn insert_in_the_middle(stage: &mut Stage<'_>) -> u32 {
    let list = list();
    stage.victim(|| stepped(|| list.insert(1, &pair(7)).unwrap()));
    stage.kill(|_| ());
    progress(&elements(&list), &[1, 2, 3], &[1, 7, 2, 3])
}

fn remove_in_the_middle(stage: &mut Stage<'_>) -> u32 {
    let list = list();
    stage.victim(|| stepped(|| list.remove(1).unwrap()));
    stage.kill(|_| ());
    progress(&elements(&list), &[1, 2, 3], &[1, 3])
}
