//! Commands about maps from words to words, and lists of words.

use crate::locks::millis;
use crate::{Next, World, done, number, report, say, session};
use procession::{CollectionError, List, Map};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

type Words = Map<String, String>;

thread_local! {
    static MAPS: RefCell<HashMap<String, Rc<Words>>> = RefCell::default();
    static LISTS: RefCell<HashMap<String, Rc<List<String>>>> = RefCell::default();
}

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    let keep_map = |name: &str, map: Result<Words, _>| {
        report(&map.map(|map| {
            MAPS.with_borrow_mut(|all| all.insert(name.to_owned(), Rc::new(map))).map_or("", |_| "")
        }))
    };
    let keep_list = |name: &str, list: Result<List<String>, _>| {
        report(&list.map(|list| {
            LISTS.with_borrow_mut(|all| all.insert(name.to_owned(), Rc::new(list))).map_or("", |_| "")
        }))
    };
    match *words {
        ["create", "map", name] => return Some(keep_map(name, Map::create(name))),
        ["open", "map", name] => return Some(keep_map(name, Map::open(name))),
        ["create", "list", name] => return Some(keep_list(name, List::create(name))),
        ["open", "list", name] => return Some(keep_list(name, List::open(name))),
        _ => {}
    }
    let name = *words.get(1)?;
    if let Some(map) = MAPS.with_borrow(|all| all.get(name).map(Rc::clone)) {
        return mapping(world, &map, words);
    }
    let list = LISTS.with_borrow(|all| all.get(name).map(Rc::clone))?;
    listing(&list, words)
}

fn mapping(world: &World, map: &Words, words: &[&str]) -> Option<Next> {
    match *words {
        ["get", _, key] => Some(report(&map.get(key).map(|value| format!("{value:?}")))),
        ["insert", _, key, value] => Some(report(&map.insert(key, value).map(|old| format!("{old:?}")))),
        // So long that the map grows.
        ["insert_long", _, key, len] => {
            Some(report(&map.insert(key, "x".repeat(number(len)).as_str()).map(|_| "")))
        }
        ["remove", _, key] => Some(report(&map.remove(key).map(|old| format!("{old:?}")))),
        ["update_timeout", _, key, value, ms] => {
            let change = |entry: &mut Option<String>| *entry = Some(value.to_owned());
            Some(report(&map.update_timeout(key, change, millis(ms)).map(|()| "")))
        }
        ["keep", _, key, value] => {
            let updated = map.update(key, |entry| {
                *entry = Some(value.to_owned());
                say("ok");
                session(world)
            });
            Some(match updated {
                Ok(Next::Release) => done(()).unwrap_or(Next::Command),
                Ok(next) => next,
                Err(error) => report::<&str, _>(&Err(error)),
            })
        }
        ["clear", _] => Some(report(&map.clear().map(|()| ""))),
        ["entries", _] => Some(report(&entries(map))),
        _ => None,
    }
}

/// All entries in order; long values by their length. That all ways to look agree is checked.
fn entries(map: &Words) -> Result<String, CollectionError> {
    let all: BTreeMap<String, String> = map.iter()?.collect::<Result<_, _>>()?;
    let mut shown = BTreeMap::new();
    for (key, value) in &all {
        if map.get(key.as_str())?.as_ref() != Some(value) {
            return Ok(format!("DIFFERENT {key}"));
        }
        shown.insert(key, if value.len() > 100 { value.len().to_string() } else { value.clone() });
    }
    let len = map.len()?;
    if len != all.len() {
        return Ok(format!("LEN {len} of {shown:?}"));
    }
    Ok(format!("{shown:?}"))
}

fn listing(list: &List<String>, words: &[&str]) -> Option<Next> {
    match *words {
        ["get", _, index] => Some(report(&list.get(number(index)).map(|element| format!("{element:?}")))),
        ["push", _, value] => Some(report(&list.push(value).map(|()| ""))),
        ["push_long", _, len] => Some(report(&list.push("x".repeat(number(len)).as_str()).map(|()| ""))),
        ["extend", _, ref values @ ..] => Some(report(&list.extend(values.iter().copied()).map(|()| ""))),
        ["pop", _] => Some(report(&list.pop().map(|element| format!("{element:?}")))),
        ["set", _, index, value] => Some(report(&list.set(number(index), value).map(|()| ""))),
        ["insert", _, index, value] => Some(report(&list.insert(number(index), value).map(|()| ""))),
        ["remove", _, index] => Some(report(&list.remove(number(index)))),
        ["clear", _] => Some(report(&list.clear().map(|()| ""))),
        ["elements", _] => Some(report(&elements(list))),
        _ => None,
    }
}

/// All elements; long ones by their length. That all ways to look agree is checked.
fn elements(list: &List<String>) -> Result<String, CollectionError> {
    let all: Vec<String> = list.iter()?.collect::<Result<_, _>>()?;
    let each: Option<Vec<String>> =
        (0..list.len()?).map(|index| list.get(index)).collect::<Result<_, _>>()?;
    if each.as_ref() != Some(&all) {
        return Ok(format!("DIFFERENT {each:?}"));
    }
    let shown =
        |element: &String| if element.len() > 100 { element.len().to_string() } else { element.clone() };
    Ok(format!("{:?}", all.iter().map(shown).collect::<Vec<_>>()))
}
