//! A worker, as the pool sees it.

use super::batch::Chunk;
use super::link::{Lease, Link};
use super::wire::{Order, compose_order};
use crate::process::Process;
use procession_channel::{LaneReader, LaneWriter, codec};
use procession_sys::Deadline;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A worker, as the pool sees it.
#[derive(Debug)]
pub(crate) struct WorkerView {
    pub(crate) process: Arc<Process<()>>,
    pub(super) link: Link,
    pub(super) writer: LaneWriter,
    pub(super) reader: LaneReader,
    /// The chunks that it was given and has not finished; first the one that it runs.
    pub(super) assigned: VecDeque<Assigned>,
    next_seq: u64,
    /// How many records came from it.
    pub(super) received: u64,
    /// The job whose state it has.
    pub(super) knows: Option<u64>,
    /// Whether it was told to leave.
    pub(super) leaving: bool,
    /// The timeout that it was killed for.
    pub(super) condemned: Option<Duration>,
}

/// A chunk that a worker was given.
#[derive(Debug)]
pub(crate) struct Assigned {
    pub(super) lease: Lease,
    pub(super) chunk: Chunk,
    /// How many of its items are done.
    pub(super) done: usize,
}

impl WorkerView {
    pub(crate) fn new(process: Process<()>, link: Link) -> Self {
        let (writer, reader) = link.pool_ends();
        Self {
            process: Arc::new(process),
            link,
            writer,
            reader,
            assigned: VecDeque::new(),
            next_seq: 0,
            received: 0,
            knows: None,
            leaving: false,
            condemned: None,
        }
    }

    /// How it ended, in words.
    pub(super) fn end(&self) -> String {
        self.process.exit_status().map_or_else(String::new, |how| how.to_string())
    }

    /// A lease in a cell that none of its chunks uses.
    pub(super) fn next_lease(&mut self) -> Lease {
        let seq = self.next_seq;
        self.next_seq += 1;
        let is_free = |cell: &u8| self.assigned.iter().all(|assigned| assigned.lease.cell != *cell);
        Lease { cell: (0..=u8::MAX).find(is_free).unwrap_or(u8::MAX), seq }
    }

    pub(super) fn send(&mut self, order: &Order, items: &[u8]) -> Result<(), codec::EncodeError> {
        let message = compose_order(order, items)?;
        if !self.writer.try_write(&message) {
            self.writer.enqueue(message);
            self.writer.pump();
        }
        self.writer.notify_data();
        Ok(())
    }

    /// Tells it to leave when it has done what it was given.
    pub(super) fn dismiss(&mut self) {
        if !std::mem::replace(&mut self.leaving, true) {
            // `Leave` is one byte: there is nothing in it that cannot be encoded.
            drop(self.send(&Order::Leave, &[]));
        }
    }

    /// How many items it has done and was given.
    pub(super) fn load(&self) -> u64 {
        let waiting: usize = self.assigned.iter().map(|one| one.chunk.range.len() - one.done).sum();
        self.received + waiting as u64
    }

    /// The timeout of the item that it runs or is to run next, as `timeout_of` its job.
    pub(super) fn timeout(&self, timeout_of: impl Fn(u64) -> Option<Duration>) -> Option<Duration> {
        self.assigned.front().and_then(|first| timeout_of(first.chunk.job))
    }

    /// Kills it if its item takes longer than `timeout`; when it is to be asked again.
    pub(super) fn hold_to(&mut self, timeout: Duration) -> Deadline {
        let number = self.received + 1;
        let Some(since) = self.link.running_since(number) else { return Deadline::after(timeout) };
        let end =
            Deadline::at_ns(since.saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX)));
        if end.has_passed() && self.condemned.is_none() && self.link.condemn(number) {
            self.condemned = Some(timeout);
            // One that cannot be killed has ended, or is another user's.
            drop(self.process.kill());
        }
        if self.condemned.is_some() { Deadline::NEVER } else { end }
    }
}
