//! Commands about values: `wide` ones of eight words that are always equal, and `count`s of one word.

use crate::locks::millis;
use crate::{Next, World, done, number, report, say, session};
use procession::{Array, LockError, Value, ValueGuard};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

type Wide = [u64; 8];

thread_local! {
    static WIDE: RefCell<HashMap<String, Rc<Value<Wide>>>> = RefCell::default();
    static ARRAYS: RefCell<HashMap<String, Rc<Array<u32>>>> = RefCell::default();
    static COUNTS: RefCell<HashMap<String, Rc<Value<u64>>>> = RefCell::default();
}

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    match *words {
        ["create", "wide", name] => return Some(keep_wide(name, Value::create(name))),
        ["open", "wide", name] => return Some(keep_wide(name, Value::open(name))),
        ["create", "count", name] => return Some(keep_count(name, Value::create(name))),
        ["open", "count", name] => return Some(keep_count(name, Value::open(name))),
        ["create", "array", name, len] => {
            return Some(keep_array(name, Array::options().len(number(len)).create(name)));
        }
        ["open", "array", name] => return Some(keep_array(name, Array::open(name))),
        _ => {}
    }
    let name = *words.get(1)?;
    if let Some(value) = WIDE.with_borrow(|all| all.get(name).map(Rc::clone)) {
        return wide(world, &value, words);
    }
    if let Some(array) = ARRAYS.with_borrow(|all| all.get(name).map(Rc::clone)) {
        return ranging(&array, words);
    }
    let count = COUNTS.with_borrow(|all| all.get(name).map(Rc::clone))?;
    counting(&count, words)
}

/// The count that is open under a name.
pub(crate) fn count(name: &str) -> Option<Rc<Value<u64>>> {
    COUNTS.with_borrow(|all| all.get(name).map(Rc::clone))
}

fn keep_wide(name: &str, opened: Result<Value<Wide>, procession::OpenError>) -> Next {
    report(&opened.map(|value| {
        WIDE.with_borrow_mut(|all| all.insert(name.to_owned(), Rc::new(value)));
        ""
    }))
}

fn keep_count(name: &str, opened: Result<Value<u64>, procession::OpenError>) -> Next {
    report(&opened.map(|value| {
        COUNTS.with_borrow_mut(|all| all.insert(name.to_owned(), Rc::new(value)));
        ""
    }))
}

fn wide(world: &World, value: &Value<Wide>, words: &[&str]) -> Option<Next> {
    match *words {
        ["get", _] => Some(report(&value.get().map(whole))),
        ["set", _, n] => Some(report(&value.set([number(n); 8]).map(|()| ""))),
        ["try_set", _, n] => Some(report(&value.try_set([number(n); 8]).map(|()| ""))),
        ["add", _, n] => {
            Some(report(&value.update(|all| *all = [all[0] + number::<u64>(n); 8]).map(|()| "")))
        }
        ["guard_add", _, n] => Some(report(&guard_add(value.acquire(), number(n)))),
        ["keep", _, n] => Some(keep(world, value.acquire(), number(n))),
        ["set_timeout", _, n, ms] => {
            Some(report(&value.set_timeout([number(n); 8], millis(ms)).map(|()| "")))
        }
        ["holder", _] => done(value.holder()),
        _ => None,
    }
}

/// The number in all words.
fn whole(all: Wide) -> String {
    if all.iter().all(|&word| word == all[0]) { all[0].to_string() } else { format!("TORN {all:?}") }
}

/// Several operations under one guard.
fn guard_add(guard: Result<ValueGuard<'_, Wide>, LockError>, n: u64) -> Result<&'static str, LockError> {
    let mut guard = guard?;
    for index in 0..guard.len() {
        guard[index] += n;
    }
    Ok("")
}

/// Adds, and commits only after further commands.
fn keep(world: &World, guard: Result<ValueGuard<'_, Wide>, LockError>, n: u64) -> Next {
    let mut guard = match guard {
        Ok(guard) => guard,
        Err(error) => return report::<&str, _>(&Err(error)),
    };
    *guard = [guard[0] + n; 8];
    say("ok");
    let next = session(world);
    drop(guard);
    if next == Next::Release {
        say("ok");
        return Next::Command;
    }
    next
}

fn counting(value: &Value<u64>, words: &[&str]) -> Option<Next> {
    match *words {
        ["get", _] => Some(report(&value.get())),
        ["add", _, n] => Some(report(&value.update(|count| *count += number::<u64>(n)).map(|()| ""))),
        ["fetch_add", _, n] => done(value.fetch_add(number(n))),
        ["exchange", _, old, new] => done(value.compare_exchange(number(old), number(new))),
        _ => None,
    }
}

fn keep_array(name: &str, opened: Result<Array<u32>, procession::OpenError>) -> Next {
    report(&opened.map(|array| {
        ARRAYS.with_borrow_mut(|all| all.insert(name.to_owned(), Rc::new(array)));
        ""
    }))
}

fn ranging(array: &Array<u32>, words: &[&str]) -> Option<Next> {
    match *words {
        ["get_each", _] => {
            let each: Result<Vec<u32>, _> = (0..array.len()).map(|index| array.get(index)).collect();
            Some(report(&each.map(|all| format!("{all:?}"))))
        }
        ["read", _] => Some(report(&array.read(0..array.len()).map(|all| format!("{all:?}")))),
        ["fill", _, from, to, n] => {
            let filled = array.update(number(from)..number(to), |part| part.fill(number(n)));
            Some(report(&filled.map(|()| "")))
        }
        ["fetch_add", _, index, n] => Some(report(&array.fetch_add(number(index), number(n)))),
        _ => None,
    }
}
