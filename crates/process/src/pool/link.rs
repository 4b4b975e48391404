//! The memory that a pool shares with one worker: a lane each way, and a few words.
//!
//! | word | written by | meaning |
//! |---|---|---|
//! | `inbox` | the pool | chunks of items, and the order to leave |
//! | `outbox` | the worker | one record for each item that is done, in the order the items were given; **its commit is the item's** |
//! | `begun` | the worker | how many items it has begun, since it started |
//! | `claims` | pool, then either | for each chunk that a worker has: `seq * 4 +` [`OFFERED`], then [`TAKEN`] by the worker or [`REVOKED`] by the pool; from [`TAKEN`] the pool may make it [`CUT`] |
//! | `pool_sleeps` | both | 1 while the pool sleeps and wants its bell rung |
//! | `preparing` | the worker | 0, or 1 + the number of the job whose state it is decoding: code of the user's that may end it |
//! | `stage` | the worker | 0 at first, [`INITIALIZING`] while the pool's initializer runs in it, then [`READY`] |
//! | `running` | the worker, then either | of an item with a timeout: its number, counted as by `begun`; the worker makes that 0 when the item is done, or the pool [`CONDEMNED`] when it takes too long |
//! | `running_since` | the worker | when that item was begun, on the monotonic clock |
//!
//! # Orderings
//! Edge `pool.begun`: the Release of `begun` before an item is run meets the Acquire of the pool, which reads
//! it when the worker has ended; the item's record is committed later (by its lane). Edge `pool.claim`: each
//! change of a claim (AcqRel, or Release when it is offered) meets the next one. Edge `pool.told`: `stage`
//! and `preparing`, stored with Release, meet the Acquire of the pool. Edge `pool.running`: the Release of
//! `running` meets the Acquire of the pool, which reads `running_since` after it. The pool and the worker
//! decide by one CAS of `running` whether an item was done or took too long; who finds the item condemned
//! commits no record, begins no other item, and waits for its death. Edge `pool.dekker`: a worker commits a
//! record, fences, and looks whether the pool sleeps; the pool says that it sleeps, fences, and looks for
//! records. One of the two sees the other.
//!
//! # If the worker dies
//! The pool reads what the outbox holds to the end. Let that be `n` records since the worker started: if
//! `begun` is `n + 1`, the worker died in its item `n`, and that item alone is lost. If it is `n`, no item
//! was running. Everything else that it had been given goes to other workers; but a job whose state has ended
//! some of them one after the other (`preparing`), or of which some of them began nothing, is given up.
//! A worker that ends in the initializer costs nothing that it had been given, but it breaks the pool.

use procession_channel::{Lane, LaneReader, LaneRings, LaneWriter};
use procession_shm::{Kind, Object, OpenError, Parameter, Placement, Shape, Shared};
use procession_sys::clock::now_ns;
use procession_sys::shm_struct;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How many bytes each lane holds.
const LANE_LEN: u32 = 256 << 10;
const INBOX_AT: usize = size_of::<LinkBody>();
const OUTBOX_AT: usize = INBOX_AT + LANE_LEN as usize;

/// How many chunks a worker has at most: the one it runs, and the next ones. Of chunks of one short item
/// each, it does some while the pool is woken and gives it more.
pub(crate) const AHEAD: usize = 16;

const OFFERED: u64 = 0;
const TAKEN: u64 = 1;
const REVOKED: u64 = 2;
/// Taken, but nobody waits for it any more: the worker answers the rest of the items without running them.
const CUT: u64 = 3;

shm_struct! {
    pub(crate) struct LinkBody {
        inbox: Lane,
        outbox: Lane,
        pub(crate) begun: AtomicU64,
        claims: [AtomicU64; AHEAD],
        pool_sleeps: AtomicU32,
        stage: AtomicU32,
        preparing: AtomicU64,
        running: AtomicU64,
        running_since: AtomicU64,
        spare: [AtomicU64; 1],
    }
}

/// The stages of a worker after the first, which is 0: it runs the initializer; it can take work.
const INITIALIZING: u32 = 1;
const READY: u32 = 2;

/// An item took too long: its worker is killed.
const CONDEMNED: u64 = u64::MAX;

/// A worker's right to a chunk. A cell is used again once its chunk is done or taken back; the number tells
/// an old order, still unread in the inbox, from the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Lease {
    /// Which of the worker's claims.
    pub(crate) cell: u8,
    /// The chunk's number at this worker.
    pub(crate) seq: u64,
}

/// The link of one worker; the pool has it, and so has the worker.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) body: Shared<LinkBody>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct LinkOptions {
    place: Placement,
    settings: (),
}

impl Object for Link {
    const KIND: Kind = Kind::POOL_WORKER;
    type Body = LinkBody;
    type Settings = ();

    fn shape((): &()) -> Shape {
        let body_len = OUTBOX_AT as u64 + u64::from(LANE_LEN);
        let parameters = [Parameter::default(); 4];
        Shape { kind: Kind::POOL_WORKER, body_len, parameters, element: None, codec: 0 }
    }

    fn initialise(_: &LinkBody, (): &()) {}

    fn forget_owners(_: &LinkBody) {}

    fn attach(body: Shared<LinkBody>) -> Result<Self, OpenError> {
        Ok(Self { body })
    }
}

procession_shm::object_builders!([] LinkOptions => Link);

impl Link {
    /// The pool's ends: what it writes and what it reads.
    pub(crate) fn pool_ends(&self) -> (LaneWriter, LaneReader) {
        let inbox = LaneWriter::new(self.body.part(|body| &body.inbox), LaneRings::new(INBOX_AT, LANE_LEN));
        let outbox =
            LaneReader::new(self.body.part(|body| &body.outbox), LaneRings::new(OUTBOX_AT, LANE_LEN));
        (inbox, outbox)
    }

    /// The worker's ends: what it reads and what it writes.
    pub(crate) fn worker_ends(&self) -> (LaneReader, LaneWriter) {
        let inbox = LaneReader::new(self.body.part(|body| &body.inbox), LaneRings::new(INBOX_AT, LANE_LEN));
        let outbox =
            LaneWriter::new(self.body.part(|body| &body.outbox), LaneRings::new(OUTBOX_AT, LANE_LEN));
        (inbox, outbox)
    }

    /// The pool offers the chunk of `lease`, before it is written to the inbox.
    pub(crate) fn offer(&self, lease: Lease) {
        if let Some(claim) = self.claim(lease) {
            // SYNC: pool.claim.
            claim.store(lease.seq.wrapping_mul(4) | OFFERED, Ordering::Release);
        }
    }

    /// The worker takes the chunk, unless the pool has taken it back.
    pub(crate) fn take(&self, lease: Lease) -> bool {
        self.settle(lease, OFFERED, TAKEN)
    }

    /// The pool takes the chunk back, unless the worker has it.
    pub(crate) fn revoke(&self, lease: Lease) -> bool {
        self.settle(lease, OFFERED, REVOKED)
    }

    /// The pool takes the chunk back, as [`revoke`](Self::revoke) does; if the worker has it already, it is
    /// to begin no further item of it.
    pub(crate) fn revoke_or_cut(&self, lease: Lease) -> bool {
        let is_revoked = self.revoke(lease);
        if !is_revoked {
            // It fails if the chunk is over.
            self.settle(lease, TAKEN, CUT);
        }
        is_revoked
    }

    /// Whether the worker has taken the chunk.
    pub(crate) fn is_taken(&self, lease: Lease) -> bool {
        let number = lease.seq.wrapping_mul(4);
        // SYNC: pool.claim.
        let is_taken = |claim: &AtomicU64| {
            let claim = claim.load(Ordering::Acquire);
            claim == number | TAKEN || claim == number | CUT
        };
        self.claim(lease).is_some_and(is_taken)
    }

    /// Whether the worker is to begin no further item of the chunk that it has taken.
    pub(crate) fn is_cut(&self, lease: Lease) -> bool {
        let cut = lease.seq.wrapping_mul(4) | CUT;
        // Relaxed: a worker that sees it late runs one item more.
        self.claim(lease).is_some_and(|claim| claim.load(Ordering::Relaxed) == cut)
    }

    fn settle(&self, lease: Lease, from: u64, to: u64) -> bool {
        let number = lease.seq.wrapping_mul(4);
        // SYNC: pool.claim.
        self.claim(lease).is_some_and(|claim| {
            claim.compare_exchange(number | from, number | to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    }

    fn claim(&self, lease: Lease) -> Option<&AtomicU64> {
        self.body.claims.get(usize::from(lease.cell))
    }

    /// The worker begins to run the pool's initializer.
    pub(crate) fn set_initializing(&self) {
        // SYNC: pool.told.
        self.body.stage.store(INITIALIZING, Ordering::Release);
    }

    /// The worker can take work now.
    pub(crate) fn set_ready(&self) {
        // SYNC: pool.told.
        self.body.stage.store(READY, Ordering::Release);
    }

    /// Whether the worker has come so far that it can take work.
    pub(crate) fn is_ready(&self) -> bool {
        // SYNC: pool.told.
        self.body.stage.load(Ordering::Acquire) == READY
    }

    /// Whether the worker runs the initializer, or has ended in it.
    pub(crate) fn is_initializing(&self) -> bool {
        // SYNC: pool.told.
        self.body.stage.load(Ordering::Acquire) == INITIALIZING
    }

    /// The worker begins the item with this number, which has a timeout.
    pub(crate) fn begin_timed(&self, number: u64) {
        self.body.running_since.store(now_ns(), Ordering::Relaxed);
        // SYNC: pool.running.
        self.body.running.store(number, Ordering::Release);
    }

    /// The worker has done that item; `false` if it took too long.
    pub(crate) fn end_timed(&self, number: u64) -> bool {
        // SYNC: pool.running.
        self.body.running.compare_exchange(number, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// When the item with this number was begun; `None` if the worker is not at it.
    pub(crate) fn running_since(&self, number: u64) -> Option<u64> {
        // SYNC: pool.running.
        let is_running = self.body.running.load(Ordering::Acquire) == number;
        // Of this item, or of a later one, which was begun later.
        is_running.then(|| self.body.running_since.load(Ordering::Relaxed))
    }

    /// The pool decides that the item with this number takes too long; `false` if it is done already.
    pub(crate) fn condemn(&self, number: u64) -> bool {
        // SYNC: pool.running.
        self.body.running.compare_exchange(number, CONDEMNED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The worker says of which job it decodes the state now, if of any.
    pub(crate) fn set_preparing(&self, job: Option<u64>) {
        // SYNC: pool.told.
        self.body.preparing.store(job.map_or(0, |job| job.wrapping_add(1)), Ordering::Release);
    }

    /// The job whose state the worker was decoding when it ended.
    pub(crate) fn preparing(&self) -> Option<u64> {
        // SYNC: pool.told.
        self.body.preparing.load(Ordering::Acquire).checked_sub(1)
    }

    /// The pool says whether it wants to be rung for.
    pub(crate) fn set_pool_sleeps(&self, sleeps: bool) {
        self.body.pool_sleeps.store(u32::from(sleeps), Ordering::Relaxed);
    }

    /// Whether it falls to this worker to ring now. The caller has fenced after what it has to tell.
    pub(crate) fn must_ring(&self) -> bool {
        self.body.pool_sleeps.load(Ordering::Relaxed) != 0
            && self.body.pool_sleeps.swap(0, Ordering::Relaxed) != 0
    }
}
