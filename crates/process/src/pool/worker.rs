//! The loop of a worker: it takes orders from its inbox, runs their items, and writes the results to its
//! outbox.

use super::initial::InitialCall;
use super::link::Link;
use super::runner::Runner;
use super::wire::{Answer, ChunkHeader, Order, Pieces, answer, split_piece};
use crate::child::take_inherited;
use crate::entry::SameBuild;
use crate::panic;
use crate::panicked::Panic;
use crate::remote::RemoteError;
use procession_channel::{LaneWriter, codec};
use procession_sys::{crash_point, eventfd, exit_now, fork, signals};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{Ordering, fence};

/// Runs what the pool orders, until it is told to leave.
///
/// # Errors
/// That of the pool's initializer.
pub(crate) fn work(link: Link, initial: Option<InitialCall>) -> Result<(), RemoteError> {
    // A key on the terminal reaches the workers, too; the pool's own process decides what it means.
    signals::withstand(signals::SIGINT);
    if let Some(initial) = initial {
        link.set_initializing();
        initial.run()?;
    }
    obey_until_the_end(&link);
    Ok(())
}

fn obey_until_the_end(link: &Link) {
    let Some(bell) = take_inherited(0) else { return };
    let (mut inbox, outbox) = link.worker_ends();
    link.set_ready();
    let process = fork::cookie();
    let mut worker = Worker { link, process, bell, outbox, current: None, begun: 0, record: Vec::new() };
    worker.tell();
    let mut order = Vec::new();
    loop {
        let read = inbox.try_read(&mut order);
        if inbox.give_room() {
            // The pool may wait for room for the rest of what it has to say.
            worker.ring_if_wanted();
        }
        match read {
            Ok(true) => {
                if !worker.obey(&order) {
                    return;
                }
            }
            Ok(false) => inbox.await_data(),
            // Nobody can be told: the pool sees the worker leave with work undone.
            Err(_) => return,
        }
    }
}

/// A job ready to run, or why it is not.
type Prepared = Result<Box<dyn Runner>, String>;

struct Worker<'a> {
    link: &'a Link,
    /// This process, as opposed to a copy of it that a function has forked.
    process: u64,
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
        let Some((header, items)) = split_piece(order) else { return false };
        match codec::decode::<Order>(header) {
            Ok(Order::Chunk(chunk)) => {
                // A job's state comes once: it is kept also if the chunk was taken back.
                self.prepare(&chunk);
                if self.link.take(chunk.lease) {
                    crash_point("pool.chunk_taken");
                    for item in Pieces(items) {
                        if self.outbox.is_corrupt() {
                            return false;
                        }
                        self.run(item, &chunk);
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
        let make = || {
            let build = SameBuild::as_compared().ok_or("this is no worker of a pool")?;
            chunk.entry.find(build)?(chunk.entry.hash, state)
        };
        self.link.set_preparing(Some(chunk.job));
        let runner = catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|payload| {
            Err(format!("decoding the state panicked: {}", panic::describe(payload).message))
        });
        self.link.set_preparing(None);
        self.current = Some((chunk.job, runner));
    }

    fn run(&mut self, item: &[u8], chunk: &ChunkHeader) {
        // Only this worker writes the word.
        // SYNC: pool.begun. The pool must not see an item's record before its beginning.
        self.begun += 1;
        self.link.body.begun.store(self.begun, Ordering::Release);
        if chunk.is_timed {
            self.link.begin_timed(self.begun);
        }
        crash_point("pool.item_begun");
        self.record.clear();
        self.record.push(Answer::Done as u8);
        let is_cut = self.link.is_cut(chunk.lease);
        let (current, record) = (&mut self.current, &mut self.record);
        let run = || match current {
            _ if is_cut => Err((Answer::Refused, "nobody waits for it any more".to_owned())),
            Some((_, Ok(runner))) => runner.run(item, record),
            Some((_, Err(reason))) => Err((Answer::Refused, reason.clone())),
            None => Err((Answer::Refused, "the worker was given no job".to_owned())),
        };
        let outcome = catch_unwind(AssertUnwindSafe(run));
        if self.process != fork::cookie() {
            // A copy of the worker, which the function has forked and let return: the item, the outbox and
            // what is registered for the exit are the worker's.
            exit_now(0);
        }
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err((kind, reason))) => answer(record, kind, reason.as_bytes()),
            Err(payload) => {
                let mut bytes = Vec::new();
                let panic: Panic = panic::describe(payload);
                // A panic is three strings: there is nothing in it that cannot be encoded.
                drop(codec::encode(&panic, &mut bytes));
                answer(record, Answer::Panicked, &bytes);
            }
        }
        if chunk.is_timed && !self.link.end_timed(self.begun) {
            // The pool kills this worker.
            loop {
                std::thread::park();
            }
        }
        crash_point("pool.item_run");
        self.commit();
        crash_point("pool.item_committed");
    }

    /// Writes the record, waiting for room if the pool is slow, and not if there never will be any.
    fn commit(&mut self) {
        if self.outbox.try_write(&self.record) {
            return;
        }
        self.outbox.enqueue(std::mem::take(&mut self.record));
        loop {
            self.outbox.pump();
            self.tell();
            if self.outbox.is_idle() || self.outbox.is_corrupt() {
                return;
            }
            self.outbox.await_room();
        }
    }

    /// Makes the pool look at the outbox.
    fn tell(&self) {
        // SYNC: pool.dekker.
        fence(Ordering::SeqCst);
        self.ring_if_wanted();
    }

    fn ring_if_wanted(&self) {
        if self.link.must_ring() {
            eventfd::ring_if_still_there(&self.bell);
        }
    }
}
