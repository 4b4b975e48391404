//! Commands about queues.

use crate::locks::millis;
use crate::{Message, Next, World, done, number, report, say, session};
use procession::{Bytes, GetError, GetManyError, PutError, Queue, codec};
use std::io::{Read, Write};
use std::rc::Rc;

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    let queue = world.queues.borrow().get(*words.get(1)?).map(Rc::clone)?;
    match *words {
        ["put", _, n] => put(queue.put(&message(n, "0"))),
        ["put", _, n, len] => put(queue.put(&message(n, len))),
        ["try_put", _, n] => put(queue.try_put(&message(n, "0"))),
        ["try_put", _, n, len] => put(queue.try_put(&message(n, len))),
        ["put_timeout", _, n, ms] => put(queue.put_timeout(&message(n, "0"), millis(ms))),
        ["get", _] => got(queue.get()),
        ["try_get", _] => got(queue.try_get()),
        ["get_timeout", _, ms] => got(queue.get_timeout(millis(ms))),
        ["close", _] => Some(report(&queue.close().map(|()| ""))),
        ["reopen", _] => Some(report(&queue.reopen().map(|()| ""))),
        ["len", _] => done(queue.len()),
        ["peek", _] => got(queue.peek()),
        ["shutdown", _] => Some(report(&queue.shutdown(true))),
        ["batch", _, first, count, len] => {
            let (first, count): (u64, u64) = (number(first), number(count));
            let messages: Vec<_> = (first..first + count).map(|n| message(&n.to_string(), len)).collect();
            Some(report(&queue.batch().put(&messages).map(|()| "")))
        }
        ["get_batch", _, most] => Some(report(&get_batch(&queue, number(most)))),
        ["slot", _, n, len] => put(put_by_slot(&queue, &message(n, len))),
        ["read", _] => got(get_by_slot(&queue)),
        ["reserve", _, len] => {
            Some(hold(world, queue.slots().reserve(number(len)), |mut slot| slot.write(&[7])))
        }
        ["hold", _] => Some(hold(world, queue.slots().read(), |mut slot| slot.read(&mut [0]))),
        ["put_many", _, first, count] => put(put_many(&queue, number(first), number(count))),
        ["get_to_the_end", _] => Some(report(&get_to_the_end(&queue))),
        _ => None,
    }
}

/// As bytes, which slots can put and take, too.
fn message(n: &str, len: &str) -> Bytes {
    let (n, len): (u64, usize) = (number(n), number(len));
    let message: Message = (n, (0..len).map(|index| padding(n, index)).collect());
    let mut bytes = Bytes::default();
    codec::encode(&message, &mut bytes).expect("a small message");
    bytes
}

fn padding(n: u64, index: usize) -> u8 {
    (n as usize).wrapping_mul(31).wrapping_add(index) as u8
}

fn put(outcome: Result<(), PutError>) -> Option<Next> {
    Some(report(&outcome.map(|()| "")))
}

fn got(outcome: Result<Bytes, GetError>) -> Option<Next> {
    Some(report(&outcome.map(|message| check(&message))))
}

/// The number of a message whose padding is whole.
fn check(message: &Bytes) -> String {
    let Ok((n, bytes)) = codec::decode::<Message>(message) else { return "UNREADABLE".to_owned() };
    let whole = bytes.iter().enumerate().all(|(index, &byte)| byte == padding(n, index));
    if whole { n.to_string() } else { format!("{n} TORN") }
}

/// Holds a slot until it is to be released, and then tries to use it before it drops it.
fn hold<S, E: std::error::Error + 'static>(
    world: &World,
    slot: Result<S, E>,
    used: impl FnOnce(S) -> std::io::Result<usize>,
) -> Next {
    let slot = match slot {
        Ok(slot) => slot,
        Err(error) => return report(&Err::<&str, _>(error)),
    };
    say("ok");
    let next = session(world);
    if next == Next::Release { report(&used(slot)) } else { next }
}

fn put_by_slot(queue: &Queue<Bytes>, message: &Bytes) -> Result<(), PutError> {
    let mut slot = queue.slots().reserve(message.len() + 10)?;
    slot.write_all(message).expect("room was reserved");
    slot.commit()
}

fn get_by_slot(queue: &Queue<Bytes>) -> Result<Bytes, GetError> {
    let mut slot = queue.slots().read()?;
    let mut bytes = Bytes::default();
    slot.read_to_end(&mut bytes).expect("the message is there");
    slot.commit()?;
    Ok(bytes)
}

/// Gets several at once; the numbers of all.
fn get_batch(queue: &Queue<Bytes>, most: usize) -> Result<String, GetManyError<Bytes>> {
    let messages = queue.batch().get(most)?;
    Ok(messages.iter().map(check).collect::<Vec<_>>().join(" "))
}

/// Puts messages of many lengths.
fn put_many(queue: &Queue<Bytes>, first: u64, count: u64) -> Result<(), PutError> {
    for n in first..first + count {
        queue.put(&message(&n.to_string(), &(n * 7 % 101).to_string()))?;
    }
    Ok(())
}

/// Gets until the queue is closed and drained; the numbers of all messages.
fn get_to_the_end(queue: &Queue<Bytes>) -> Result<String, GetError> {
    let mut all = Vec::new();
    loop {
        match queue.get() {
            Ok(message) => all.push(check(&message)),
            Err(GetError::Closed(_)) => return Ok(all.join(" ")),
            Err(error) => return Err(error),
        }
    }
}
