//! What runs in a worker, and the form of what it is told and what it answers.

use super::link::{Lease, Link};
use crate::child::take_inherited;
use crate::entry::{EntryRef, of_job, rebuild, type_hash};
use crate::error::in_full;
use crate::panic;
use crate::report::Panic;
use procession_channel::{LaneWriter, Parcel, codec};
use procession_sys::{crash_point, eventfd};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{Ordering, fence};

/// Some items of one job, as a worker is told about them. The encoded items follow, each behind its length.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChunkHeader {
    pub(crate) lease: Lease,
    pub(crate) job: u64,
    pub(crate) entry: EntryRef,
    /// The job's state, when this worker has not had it yet.
    pub(crate) state: Option<Vec<u8>>,
}

/// Everything a pool says to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    Chunk(ChunkHeader),
    Leave,
}

/// What a worker answers for an item: the first byte of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Answer {
    /// The encoded result follows.
    Done = 0,
    /// An encoded [`Panic`] follows.
    Panicked = 1,
    /// A sentence follows.
    Refused = 2,
}

impl Answer {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Done, Self::Panicked, Self::Refused].into_iter().find(|&answer| answer as u8 == byte)
    }
}

/// A job's function with its state, ready to run items.
pub(crate) trait Runner {
    /// Runs one encoded item; appends the encoded result to `out`.
    ///
    /// # Errors
    /// Why the item could not be decoded or the result not be encoded.
    fn run(&mut self, item: &[u8], out: &mut Vec<u8>) -> Result<(), String>;
}

struct Job<F, S> {
    function: F,
    state: S,
}

/// The runner of a function of one argument.
struct Plain<F, A, R>(Job<F, ()>, std::marker::PhantomData<fn(A) -> R>);
/// The runner of a function that also takes a state.
struct WithState<F, S, A, R>(Job<F, S>, std::marker::PhantomData<fn(A) -> R>);

impl<F: Fn(A) -> R, A: DeserializeOwned, R: Serialize> Runner for Plain<F, A, R> {
    fn run(&mut self, item: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let () = self.0.state;
        run_item(item, out, &self.0.function)
    }
}

impl<F: Fn(&S, A) -> R, S, A: DeserializeOwned, R: Serialize> Runner for WithState<F, S, A, R> {
    fn run(&mut self, item: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        run_item(item, out, |argument| (self.0.function)(&self.0.state, argument))
    }
}

fn run_item<A: DeserializeOwned, R: Serialize>(
    item: &[u8],
    out: &mut Vec<u8>,
    function: impl Fn(A) -> R,
) -> Result<(), String> {
    let argument = codec::decode(item)
        .map_err(|error| format!("the worker cannot decode the item: {}", in_full(&error)))?;
    let result = function(argument);
    Parcel::encode_listed(out, |out| codec::encode(&result, out))
        .map_err(|error| format!("the worker cannot encode the result: {}", in_full(&error)))
}

/// The [`JobEntry`](crate::entry::JobEntry) of a function of one argument.
pub(crate) fn plain_job<F, A, R>(hash: u64, _state: &[u8]) -> Result<Box<dyn Runner>, String>
where
    F: Fn(A) -> R + Copy + 'static,
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    must_be::<F, A, R>(hash)?;
    Ok(Box::new(Plain(Job { function: rebuild::<F>(), state: () }, std::marker::PhantomData)))
}

/// The [`JobEntry`](crate::entry::JobEntry) of a function that also takes a state.
pub(crate) fn job_with_state<F, S, A, R>(hash: u64, state: &[u8]) -> Result<Box<dyn Runner>, String>
where
    F: Fn(&S, A) -> R + Copy + 'static,
    S: DeserializeOwned + 'static,
    A: DeserializeOwned + 'static,
    R: Serialize + 'static,
{
    must_be::<F, (S, A), R>(hash)?;
    let state = codec::decode(state)
        .map_err(|error| format!("the worker cannot decode the state: {}", in_full(&error)))?;
    Ok(Box::new(WithState(Job { function: rebuild::<F>(), state }, std::marker::PhantomData)))
}

fn must_be<F: 'static, A, R>(hash: u64) -> Result<(), String> {
    if hash == type_hash::<F, A, R>() { Ok(()) } else { Err("the function there has other types".to_owned()) }
}

/// A worker's whole life.
pub(crate) fn work(link: Link) {
    let Some(bell) = take_inherited(0) else { return };
    let (mut inbox, outbox) = link.worker_ends();
    link.set_ready();
    let mut worker = Worker { link: &link, bell, outbox, current: None, begun: 0, record: Vec::new() };
    worker.tell();
    let mut order = Vec::new();
    loop {
        let read = inbox.try_read(&link.body, &link.body.inbox, &mut order);
        if inbox.give_room(&link.body.inbox) {
            // The pool may wait for room for the rest of what it has to say.
            worker.ring_if_wanted();
        }
        match read {
            Ok(true) => {
                if !worker.obey(&order) {
                    return;
                }
            }
            Ok(false) => inbox.await_data(&link.body.inbox),
            // Nobody can be told: the pool sees the worker leave with work undone.
            Err(_) => return,
        }
    }
}

/// A job ready to run, or why it is not.
type Prepared = Result<Box<dyn Runner>, String>;

struct Worker<'a> {
    link: &'a Link,
    bell: OwnedFd,
    outbox: LaneWriter,
    /// The job of the last chunk, or why it cannot be run.
    current: Option<(u64, Prepared)>,
    /// How many items it has begun.
    begun: u64,
    record: Vec<u8>,
}

impl Worker<'_> {
    /// Does what the pool says; `false` if that was to leave.
    fn obey(&mut self, order: &[u8]) -> bool {
        let Some((header, items)) = split_order(order) else { return false };
        match codec::decode::<Order>(header) {
            Ok(Order::Chunk(chunk)) => {
                // A job's state comes once: it is kept also if the chunk was taken back.
                self.prepare(&chunk);
                if self.link.take(chunk.lease) {
                    crash_point("pool.chunk_taken");
                    for item in Items(items) {
                        if self.outbox.is_corrupt() {
                            return false;
                        }
                        self.run(item);
                    }
                    self.tell();
                }
                !self.outbox.is_corrupt()
            }
            Ok(Order::Leave) | Err(_) => false,
        }
    }

    fn prepare(&mut self, chunk: &ChunkHeader) {
        if self.current.as_ref().is_some_and(|(job, _)| *job == chunk.job) {
            return;
        }
        let state = chunk.state.as_deref().unwrap_or_default();
        let make = || of_job(chunk.entry).and_then(|entry| entry(chunk.entry.hash, state));
        self.link.set_preparing(Some(chunk.job));
        let runner = catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|payload| {
            Err(format!("decoding the state panicked: {}", panic::describe(payload).message))
        });
        self.link.set_preparing(None);
        self.current = Some((chunk.job, runner));
    }

    fn run(&mut self, item: &[u8]) {
        // Only this worker writes the word. Release: the pool must not see an item's record before its beginning.
        self.begun += 1;
        self.link.body.begun.store(self.begun, Ordering::Release);
        crash_point("pool.item_begun");
        self.record.clear();
        self.record.push(Answer::Done as u8);
        let (current, record) = (&mut self.current, &mut self.record);
        let run = || match current {
            Some((_, Ok(runner))) => runner.run(item, record),
            Some((_, Err(reason))) => Err(reason.clone()),
            None => Err("the worker was given no job".to_owned()),
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => answer(record, Answer::Refused, reason.as_bytes()),
            Err(payload) => {
                let mut bytes = Vec::new();
                let panic: Panic = panic::describe(payload);
                // A panic is three strings: there is nothing in it that cannot be encoded.
                drop(codec::encode(&panic, &mut bytes));
                answer(record, Answer::Panicked, &bytes);
            }
        }
        crash_point("pool.item_run");
        self.commit();
        crash_point("pool.item_committed");
    }

    /// Writes the record, waiting for room if the pool is slow, and not if there never will be any.
    fn commit(&mut self) {
        let lane = &self.link.body.outbox;
        if self.outbox.try_write(&self.link.body, lane, &self.record) {
            return;
        }
        self.outbox.enqueue(std::mem::take(&mut self.record));
        loop {
            self.outbox.pump(&self.link.body, lane);
            self.tell();
            if self.outbox.is_idle() || self.outbox.is_corrupt() {
                return;
            }
            self.outbox.await_room(lane);
        }
    }

    /// Makes the pool look at the outbox.
    fn tell(&self) {
        fence(Ordering::SeqCst);
        self.ring_if_wanted();
    }

    fn ring_if_wanted(&self) {
        if self.link.must_ring() {
            eventfd::ring_if_still_there(&self.bell);
        }
    }
}

fn answer(record: &mut Vec<u8>, answer: Answer, text: &[u8]) {
    record.clear();
    record.push(answer as u8);
    record.extend_from_slice(text);
}

/// An order is its header's length, the header, and the items.
pub(crate) fn compose_order(header: &Order, items: &[u8]) -> Result<Vec<u8>, codec::EncodeError> {
    let mut bytes = vec![0; 4];
    codec::encode(header, &mut bytes)?;
    let len = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(items);
    Ok(bytes)
}

fn split_order(order: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = order.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}

/// Appends one item to a chunk's bytes; on an error they are as they were.
pub(crate) fn push_item<A: Serialize>(items: &mut Vec<u8>, item: &A) -> Result<(), codec::EncodeError> {
    let start = items.len();
    items.extend_from_slice(&[0; 8]);
    codec::encode(item, items).inspect_err(|_| items.truncate(start))?;
    let len = (items.len() - start - 8) as u64;
    items[start..start + 8].copy_from_slice(&len.to_le_bytes());
    Ok(())
}

/// The items of a chunk's bytes.
pub(crate) struct Items<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first_chunk::<8>()?;
        let (item, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        self.0 = rest;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::{Items, Order, compose_order, push_item, split_order};
    use procession_channel::codec;

    #[test]
    fn an_order_comes_apart_as_it_was_composed() {
        let mut items = Vec::new();
        for item in ["one", "", "three"] {
            push_item(&mut items, &item).unwrap();
        }
        let order = compose_order(&Order::Leave, &items).unwrap();
        let (header, rest) = split_order(&order).unwrap();
        assert!(matches!(codec::decode(header), Ok(Order::Leave)));
        let decode = |item: &[u8]| codec::decode::<String>(item).unwrap();
        assert_eq!(Items(rest).map(decode).collect::<Vec<_>>(), ["one", "", "three"]);
        assert!(split_order(&order[..3]).is_none());
    }
}
