//! Commands about joinable queues. Leases are kept until they are acknowledged or given back, the oldest
//! first.

use crate::locks::millis;
use crate::{Message, Next, done, number, report, say};
use procession::{
    AckError, DeadLetter, Fault, GetError, JoinableQueue, Lease, LeaseToken, OpenError, PutError,
    PutManyError,
};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::Write;

type Jobs = JoinableQueue<Message>;

thread_local! {
    static QUEUES: RefCell<HashMap<String, Jobs>> = RefCell::default();
    static LEASES: RefCell<VecDeque<Lease<Message>>> = RefCell::default();
}

pub(crate) fn follow(words: &[&str]) -> Option<Next> {
    match *words {
        ["create", "joinable", name, ref options @ ..] => return Some(keep(name, create(name, options))),
        ["open", "joinable", name] => return Some(keep(name, Jobs::open(name))),
        ["task_done"] => return Some(report(&oldest().task_done().map(|()| ""))),
        ["give_back"] => {
            drop(oldest());
            return done("");
        }
        ["give_up"] => return Some(report(&oldest().give_up().map(|()| ""))),
        ["put_back"] => return Some(report(&oldest().put_back().map(|()| ""))),
        ["extend", ms] => {
            return Some(report(&LEASES.with_borrow(|all| all[0].extend(millis(ms))).map(|()| "")));
        }
        ["token"] => {
            let token = LEASES.with_borrow(|all| all[0].token());
            say(&format!("ok {} {}", token.id(), token.key()));
            return Some(Next::Command);
        }
        ["leases"] => return done(LEASES.with_borrow(VecDeque::len)),
        _ => {}
    }
    let queue = QUEUES.with_borrow(|all| all.get(*words.get(1)?).cloned())?;
    match *words {
        ["put", _, n] => Some(put(queue.put(&message(n)))),
        ["try_put", _, n] => Some(put(queue.try_put(&message(n)))),
        ["put_timeout", _, n, ms] => Some(put(queue.put_timeout(&message(n), millis(ms)))),
        ["put_many", _, first, count] => Some(put(put_many(&queue, number(first), number(count)))),
        ["put_batch", _, first, count] => {
            Some(report(&put_batch(&queue, number(first), number(count)).map(|()| "")))
        }
        ["redeem", _, id, key, what] => {
            let redeemed = queue.redeem(LeaseToken::new(number(id), number(key)));
            let outcome = match what {
                "task_done" => redeemed.task_done(),
                "give_back" => redeemed.give_back(),
                "give_up" => redeemed.give_up(),
                ms => redeemed.extend(millis(ms)),
            };
            Some(report(&outcome.map(|()| "")))
        }
        ["get", _] => Some(got(queue.get())),
        ["try_get", _] => Some(got(queue.try_get())),
        ["get_timeout", _, ms] => Some(got(queue.get_timeout(millis(ms)))),
        ["join", _] => Some(report(&queue.join().map(|()| ""))),
        ["join_timeout", _, ms] => Some(report(&queue.join_timeout(millis(ms)).map(|()| ""))),
        ["close", _] => Some(report(&queue.close().map(|()| ""))),
        ["reopen", _] => Some(report(&queue.reopen().map(|()| ""))),
        ["shutdown", _] => Some(report(&queue.shutdown(true))),
        ["len", _] => done(queue.len()),
        ["unfinished", _] => done(queue.unfinished()),
        ["is_full", _] => done(queue.is_full()),
        ["dead_letters", _] => Some(report(&queue.dead_letters().map(|letters| shown(&letters)))),
        ["discard", _] => Some(report(&decide(&queue, Jobs::discard))),
        ["retry", _] => Some(report(&decide(&queue, Jobs::retry))),
        ["work", _, diary] => Some(report(&work(&queue, diary))),
        _ => None,
    }
}

fn create(name: &str, words: &[&str]) -> Result<Jobs, OpenError> {
    let mut options = Jobs::options();
    for word in words {
        options = match word.split_once('=').unwrap_or((word, "")) {
            ("capacity", items) => options.capacity(number(items)),
            ("bytes", bytes) => options.bytes(number(bytes)),
            ("max_attempts", attempts) => options.max_attempts(number(attempts)),
            ("lease_timeout", ms) => options.lease_timeout(millis(ms)),
            _ => options,
        };
    }
    options.create(name)
}

fn keep(name: &str, opened: Result<Jobs, OpenError>) -> Next {
    let kept = opened.map(|queue| QUEUES.with_borrow_mut(|all| all.insert(name.to_owned(), queue)));
    report(&kept.map(|_| ""))
}

fn oldest() -> Lease<Message> {
    LEASES.with_borrow_mut(VecDeque::pop_front).expect("a lease is held")
}

/// The number, and bytes that take one block or several.
fn message(n: &str) -> Message {
    let n: u64 = number(n);
    (n, (0..n % 4 * 150).map(|index| (n + index) as u8).collect())
}

/// The number of an item that is whole, and its attempt.
fn shown_one((n, bytes): &Message, attempt: u32) -> String {
    if message(&n.to_string()).1 == *bytes { format!("{n}:{attempt}") } else { format!("{n} TORN") }
}

fn put(outcome: Result<(), PutError>) -> Next {
    report(&outcome.map(|()| ""))
}

fn put_many(queue: &Jobs, first: u64, count: u64) -> Result<(), PutError> {
    (first..first + count).try_for_each(|n| queue.put(&message(&n.to_string())))
}

fn put_batch(queue: &Jobs, first: u64, count: u64) -> Result<(), PutManyError> {
    let items: Vec<Message> = (first..first + count).map(|n| message(&n.to_string())).collect();
    queue.batch().put(&items)
}

fn got(outcome: Result<Lease<Message>, GetError>) -> Next {
    report(&outcome.map(|lease| {
        let text = shown_one(&lease, lease.attempt());
        LEASES.with_borrow_mut(|all| all.push_back(lease));
        text
    }))
}

fn shown(letters: &[DeadLetter<Message>]) -> String {
    let shown = |letter: &DeadLetter<Message>| {
        shown_one(&letter.item().expect("nobody puts anything else"), letter.attempts)
    };
    letters.iter().map(shown).collect::<Vec<_>>().join(" ")
}

/// Decides about the oldest dead letter.
fn decide(
    queue: &Jobs,
    decision: impl FnOnce(&Jobs, &DeadLetter<Message>) -> Result<bool, Fault>,
) -> Result<bool, GetError> {
    let letters = queue.dead_letters()?;
    Ok(decision(queue, letters.first().expect("there is a dead letter"))?)
}

/// Works until the queue is closed and everything is done. Before an item is acknowledged, `begin` with its
/// number and attempt is in the diary, and after it `done`.
fn work(queue: &Jobs, diary: &str) -> Result<u32, GetError> {
    let mut diary =
        OpenOptions::new().append(true).create(true).open(diary).expect("the diary can be opened");
    let mut count = 0;
    for lease in queue {
        let lease = lease?;
        let text = shown_one(&lease, lease.attempt());
        note(&mut diary, "begin", &text);
        match lease.task_done() {
            Ok(()) => note(&mut diary, "done", &text),
            Err(AckError::StaleLease { .. }) => note(&mut diary, "stale", &text),
            Err(error) => panic!("{error}"),
        }
        count += 1;
    }
    Ok(count)
}

fn note(diary: &mut File, what: &str, item: &str) {
    // One write, which is whole or not at all.
    diary.write_all(format!("{what} {item}\n").as_bytes()).expect("the diary can be written");
}
