//! Commands about values: `wide` ones of eight words that are always equal, `count`s of one word, and arrays;
//! the same raw.

use crate::locks::millis;
use crate::{Next, World, done, number, report, say, session};
use procession::{Array, LockError, RawArray, RawValue, Value, ValueGuard};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

type Wide = [u64; 8];

thread_local! {
    static WIDE: RefCell<HashMap<String, Rc<Value<Wide>>>> = RefCell::default();
    static ARRAYS: RefCell<HashMap<String, Rc<Array<u32>>>> = RefCell::default();
    static RAW_COUNTS: RefCell<HashMap<String, Rc<RawValue<u64>>>> = RefCell::default();
    static RAW_ARRAYS: RefCell<HashMap<String, Rc<RawArray<u32>>>> = RefCell::default();
    static COUNTS: RefCell<HashMap<String, Rc<Value<u64>>>> = RefCell::default();
}

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    match *words {
        ["create", "wide", name] => return Some(keep(&WIDE, name, Value::options().create(name))),
        ["open", "wide", name] => return Some(keep(&WIDE, name, Value::open(name))),
        ["create", "count", name] => return Some(keep(&COUNTS, name, Value::create(name, 0))),
        ["open", "count", name] => return Some(keep(&COUNTS, name, Value::open(name))),
        ["create", "array", name, len] => {
            return Some(keep(&ARRAYS, name, Array::options().len(number(len)).create(name)));
        }
        ["open", "array", name] => return Some(keep(&ARRAYS, name, Array::open(name))),
        ["create", "raw_count", name] => return Some(keep(&RAW_COUNTS, name, RawValue::create(name, 0))),
        ["open", "raw_count", name] => return Some(keep(&RAW_COUNTS, name, RawValue::open(name))),
        ["create", "raw_array", name, len] => {
            return Some(keep(&RAW_ARRAYS, name, RawArray::options().len(number(len)).create(name)));
        }
        ["open", "raw_array", name] => return Some(keep(&RAW_ARRAYS, name, RawArray::open(name))),
        _ => {}
    }
    let name = *words.get(1)?;
    if let Some(value) = WIDE.with_borrow(|all| all.get(name).map(Rc::clone)) {
        return wide(world, &value, words);
    }
    if let Some(array) = ARRAYS.with_borrow(|all| all.get(name).map(Rc::clone)) {
        return ranging(world, &array, words);
    }
    if let Some(count) = RAW_COUNTS.with_borrow(|all| all.get(name).map(Rc::clone)) {
        return raw_counting(&count, words);
    }
    if let Some(array) = RAW_ARRAYS.with_borrow(|all| all.get(name).map(Rc::clone)) {
        return raw_ranging(&array, words);
    }
    let count = COUNTS.with_borrow(|all| all.get(name).map(Rc::clone))?;
    counting(world, &count, words)
}

/// The count that is open under a name.
pub(crate) fn count(name: &str) -> Option<Rc<Value<u64>>> {
    COUNTS.with_borrow(|all| all.get(name).map(Rc::clone))
}

/// What is open, by its name.
type Kept<O> = std::thread::LocalKey<RefCell<HashMap<String, Rc<O>>>>;

fn keep<O>(kept: &'static Kept<O>, name: &str, opened: Result<O, procession::OpenError>) -> Next {
    report(&opened.map(|object| {
        kept.with_borrow_mut(|all| all.insert(name.to_owned(), Rc::new(object)));
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
        ["keep", _, n] => {
            Some(hold(world, value.acquire(), |guard| **guard = [guard[0] + number::<u64>(n); 8]))
        }
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

/// Changes it, and commits only after further commands.
pub(crate) fn hold<T: procession::bytemuck::Pod>(
    world: &World,
    guard: Result<ValueGuard<'_, T>, LockError>,
    change: impl FnOnce(&mut ValueGuard<'_, T>),
) -> Next {
    let mut guard = match guard {
        Ok(guard) => guard,
        Err(error) => return report::<&str, _>(&Err(error)),
    };
    change(&mut guard);
    say("ok");
    let next = session(world);
    drop(guard);
    if next == Next::Release {
        say("ok");
        return Next::Command;
    }
    next
}

fn counting(world: &World, value: &Value<u64>, words: &[&str]) -> Option<Next> {
    match *words {
        ["get", _] => Some(report(&value.get())),
        ["add", _, n] => Some(report(&value.update(|count| *count += number::<u64>(n)).map(|()| ""))),
        ["guard_add", _, n] => {
            Some(report(&value.acquire().map(|mut guard| *guard += number::<u64>(n)).map(|()| "")))
        }
        ["keep", _, n] => Some(hold(world, value.acquire(), |guard| **guard += number::<u64>(n))),
        ["set", _, n] => Some(report(&value.set(number(n)).map(|()| ""))),
        ["set_timeout", _, n, ms] => Some(report(&value.set_timeout(number(n), millis(ms)).map(|()| ""))),
        ["fetch_add", _, n] => Some(report(&value.fetch_add(number(n)))),
        ["exchange", _, old, new] => {
            let outcome = value.compare_exchange(number(old), number(new));
            Some(report(&outcome.map(|outcome| format!("{outcome:?}"))))
        }
        _ => None,
    }
}

fn raw_counting(value: &RawValue<u64>, words: &[&str]) -> Option<Next> {
    match *words {
        ["get", _] => done(value.get()),
        ["set", _, n] => {
            value.set(number(n));
            done(())
        }
        ["fetch_add", _, n] => done(value.fetch_add(number(n))),
        _ => None,
    }
}

fn raw_ranging(array: &RawArray<u32>, words: &[&str]) -> Option<Next> {
    match *words {
        ["read", _] => Some(report(&array.read(0..array.len()).map(|all| format!("{all:?}")))),
        ["write", _, start, n, count] => {
            Some(report(&array.write(number(start), &vec![number(n); number(count)]).map(|()| "")))
        }
        ["fetch_add", _, index, n] => Some(report(&array.fetch_add(number(index), number(n)))),
        _ => None,
    }
}

fn ranging(world: &World, array: &Array<u32>, words: &[&str]) -> Option<Next> {
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
        ["keep", _, from, to, n] => {
            let filled = array.update(number(from)..number(to), |part| {
                part.fill(number(n));
                say("ok");
                session(world)
            });
            Some(match filled {
                Ok(Next::Release) => done(()).unwrap_or(Next::Command),
                Ok(next) => next,
                Err(error) => report::<&str, _>(&Err(error)),
            })
        }
        ["set", _, index, n] => Some(report(&array.set(number(index), number(n)).map(|()| ""))),
        ["fill_timeout", _, from, to, n, ms] => {
            let fill = |part: &mut [u32]| part.fill(number(n));
            let filled = array.update_timeout(number(from)..number(to), fill, millis(ms));
            Some(report(&filled.map(|()| "")))
        }
        ["fetch_add", _, index, n] => Some(report(&array.fetch_add(number(index), number(n)))),
        _ => None,
    }
}
