//! The cells and blocks of a joinable queue: what is done to them under its lock, except for looking.

use super::{JoinableBody, LeaseToken};
use procession_shm::{OwnerId, Shared};
use procession_sys::atomic::{AtomicU32, AtomicU64, Ordering};
use procession_sys::{crash_point, shm_struct};

/// How many bytes of a message lie in one block.
pub(super) const BLOCK: usize = 128;
/// Attempts are counted up to here.
pub(super) const MOST_ATTEMPTS: u32 = ATTEMPT_MASK as u32;

const FREE: u64 = 0;
const READY: u64 = 1 << 28;
const LEASED: u64 = 2 << 28;
const DEAD: u64 = 3 << 28;
const STATE: u64 = 0xf << 28;
const ATTEMPT_SHIFT: u32 = 16;
const ATTEMPT_MASK: u64 = 0xfff;

shm_struct! {
    /// One item.
    pub(super) struct Cell {
        /// Its state, attempts and owner: see the table in `joinable.rs`. **Its stores are the commits.**
        word: AtomicU64,
        /// The item's number; which cell it is in, too.
        seq: AtomicU64,
        /// When it was leased: with the word, it tells one lease of the item from every other.
        since_ns: AtomicU64,
        /// When its lease is over; 0 for never.
        until_ns: AtomicU64,
        first: AtomicU32,
        len: AtomicU32,
    }
}

shm_struct! {
    /// Whose a block of bytes is: free unless the item of that number is there.
    pub(super) struct Link {
        seq: AtomicU64,
        next: AtomicU32,
        spare: AtomicU32,
    }
}

const CELLS_OFFSET: usize = size_of::<JoinableBody>();

/// How long the body is with so many cells, and blocks.
pub(super) const fn body_len(count: u64) -> u64 {
    CELLS_OFFSET as u64 + count * (size_of::<Cell>() + size_of::<Link>() + BLOCK) as u64
}

/// How many blocks a message of `len` bytes takes.
pub(super) fn blocks_of(len: usize) -> usize {
    len.div_ceil(BLOCK).max(1)
}

/// What the cells say is impossible.
pub(super) type Nonsense = &'static str;

/// How many items are in which state, and how many blocks they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) ready: u32,
    pub(super) leased: u32,
    pub(super) dead: u32,
    pub(super) blocks: u32,
}

impl Counts {
    pub(super) fn load(body: &JoinableBody) -> Self {
        let (low, high) = (body.unfinished.load(Ordering::Acquire), body.others.load(Ordering::Acquire));
        Self { ready: low as u32, leased: (low >> 32) as u32, dead: high as u32, blocks: (high >> 32) as u32 }
    }

    fn store(self, body: &JoinableBody) {
        body.others.store(u64::from(self.dead) | u64::from(self.blocks) << 32, Ordering::Release);
        body.unfinished.store(u64::from(self.ready) | u64::from(self.leased) << 32, Ordering::Release);
    }

    pub(super) fn unfinished(self) -> u32 {
        self.ready.saturating_add(self.leased)
    }

    /// The same with `blocks` blocks in one state fewer and one more.
    fn shifted(mut self, from: u64, to: u64, blocks: u32) -> Self {
        match from & STATE {
            READY => self.ready = self.ready.saturating_sub(1),
            LEASED => self.leased = self.leased.saturating_sub(1),
            DEAD => self.dead = self.dead.saturating_sub(1),
            _ => self.blocks = self.blocks.saturating_add(blocks),
        }
        match to & STATE {
            READY => self.ready = self.ready.saturating_add(1),
            LEASED => self.leased = self.leased.saturating_add(1),
            DEAD => self.dead = self.dead.saturating_add(1),
            _ => self.blocks = self.blocks.saturating_sub(blocks),
        }
        self
    }
}

/// Which lease, or dead letter, of which item: what stands in its cell as long as it is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    seq: u64,
    word: u64,
    since_ns: u64,
}

impl Ticket {
    pub(super) fn owner(self) -> OwnerId {
        OwnerId::from_bits(self.word)
    }

    pub(super) fn attempts(self) -> u32 {
        attempts(self.word)
    }

    /// The item's number.
    pub(super) fn seq(self) -> u64 {
        self.seq
    }

    pub(super) fn since_ns(self) -> u64 {
        self.since_ns
    }

    pub(super) fn token(self) -> LeaseToken {
        // An odd number whose bits are well mixed: the golden ratio.
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = (self.since_ns.wrapping_mul(FACTOR).rotate_left(32) ^ self.word).wrapping_mul(FACTOR);
        LeaseToken::new(self.seq, mixed)
    }
}

/// When an item is leased, and when that is over, on the machine's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    pub(super) since_ns: u64,
    /// 0 for never.
    pub(super) until_ns: u64,
}

/// An item that is there, and what is known of it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) ticket: Ticket,
    pub(super) until_ns: u64,
    pub(super) len: usize,
}

/// What becomes of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is done, and its cell and its blocks are free.
    Done,
    /// It is there to be got, as often attempted as before.
    Ready,
    /// The same, but for the last attempt, which does not count.
    Untried,
    /// It is there to be got, as if it had never been.
    Fresh,
    /// It is a dead letter.
    Dead,
}

/// The cells and blocks behind a body.
pub(super) struct Table<'a> {
    body: &'a Shared<JoinableBody>,
    cells: &'a [Cell],
    links: &'a [Link],
}

impl<'a> Table<'a> {
    /// Of `count` (a power of two) cells and blocks; `None` if the body is shorter.
    pub(super) fn new(body: &'a Shared<JoinableBody>, count: u32) -> Option<Self> {
        let cells = body.slice(CELLS_OFFSET, count as usize)?;
        let links = body.slice(CELLS_OFFSET + size_of_val(cells), count as usize)?;
        Some(Self { body, cells, links })
    }

    fn cell(&self, seq: u64) -> &'a Cell {
        &self.cells[seq as usize & (self.cells.len() - 1)]
    }

    fn block_offset(&self, block: usize) -> usize {
        CELLS_OFFSET + size_of_val(self.cells) + size_of_val(self.links) + block * BLOCK
    }

    /// Whether the block belongs to no item.
    fn is_free(&self, block: usize) -> bool {
        let seq = self.links[block].seq.load(Ordering::Relaxed);
        let cell = self.cell(seq);
        cell.word.load(Ordering::Relaxed) & STATE == FREE || cell.seq.load(Ordering::Relaxed) != seq
    }

    /// Puts an item behind the others; the caller has made sure that there is room.
    pub(super) fn put(&self, payload: &[u8]) -> Result<(), Nonsense> {
        let body = &**self.body;
        let begin = body.next_seq.load(Ordering::Relaxed);
        let is_free = |seq: &u64| self.cell(*seq).word.load(Ordering::Relaxed) & STATE == FREE;
        // A cell that is still taken is stepped over.
        let seq = (0..self.cells.len() as u64).map(|step| begin.wrapping_add(step)).find(is_free);
        let seq = seq.ok_or("no cell is free, although there is room")?;
        // Before any block is marked: a number that was given to a put that came to nothing is not given
        // again, or the blocks that it marked would seem to be the next item's.
        body.next_seq.store(seq.wrapping_add(1), Ordering::Relaxed);
        let first = self.write(seq, payload)?;
        let cell = self.cell(seq);
        cell.seq.store(seq, Ordering::Relaxed);
        cell.first.store(first as u32, Ordering::Relaxed);
        cell.len.store(payload.len() as u32, Ordering::Relaxed);
        crash_point("joinable.written");
        self.shift(cell, FREE, READY);
        // Behind the commit: a put that came to nothing is not counted, and one whose process is killed here is left out.
        body.n_put.store(body.n_put.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        Ok(())
    }

    /// Writes the payload into free blocks and marks them; the first of them.
    fn write(&self, seq: u64, payload: &[u8]) -> Result<usize, Nonsense> {
        const TOO_FEW: Nonsense = "too few blocks are free, although there is room";
        let mask = self.links.len() - 1;
        let begin = self.body.next_block.load(Ordering::Relaxed) as usize;
        let mut free = (0..self.links.len()).map(|step| (begin + step) & mask).filter(|&at| self.is_free(at));
        let first = free.next().ok_or(TOO_FEW)?;
        let mut at = first;
        let mut rest = payload;
        loop {
            let (part, more) = rest.split_at(rest.len().min(BLOCK));
            if !self.body.copy_in(self.block_offset(at), part) {
                return Err("the blocks reach past the segment");
            }
            self.links[at].seq.store(seq, Ordering::Relaxed);
            if more.is_empty() {
                break;
            }
            let next = free.next().ok_or(TOO_FEW)?;
            self.links[at].next.store(next as u32, Ordering::Relaxed);
            (at, rest) = (next, more);
        }
        self.body.next_block.store((at as u32).wrapping_add(1), Ordering::Relaxed);
        Ok(first)
    }

    /// Leases the first item that is there to be got, and copies it out.
    pub(super) fn claim(
        &self,
        me: OwnerId,
        term: Term,
        into: &mut Vec<u8>,
    ) -> Result<Option<Ticket>, Nonsense> {
        let Some(cell) = self.first_ready() else {
            let are_counted = Counts::load(self.body).ready != 0;
            return if are_counted { Err("items are counted that are not there") } else { Ok(None) };
        };
        let (seq, word) = (cell.seq.load(Ordering::Relaxed), cell.word.load(Ordering::Relaxed));
        self.read(cell, into)?;
        cell.since_ns.store(term.since_ns, Ordering::Relaxed);
        cell.until_ns.store(term.until_ns, Ordering::Relaxed);
        let attempt = (attempts(word) + 1).min(MOST_ATTEMPTS);
        let leased = LEASED | me.to_bits() | u64::from(attempt) << ATTEMPT_SHIFT;
        self.body.first_ready.store(seq.wrapping_add(1), Ordering::Relaxed);
        self.shift(cell, word, leased);
        Ok(Some(Ticket { seq, word: leased, since_ns: term.since_ns }))
    }

    /// The item with the lowest number that is there to be got.
    fn first_ready(&self) -> Option<&'a Cell> {
        let is_ready = |cell: &&Cell| cell.word.load(Ordering::Relaxed) & STATE == READY;
        let seq_of = |cell: &&Cell| cell.seq.load(Ordering::Relaxed);
        let from = self.body.first_ready.load(Ordering::Relaxed);
        let next = self.body.next_seq.load(Ordering::Relaxed);
        if next.wrapping_sub(from) > self.cells.len() as u64 {
            // After an item of long ago came back.
            return self.cells.iter().filter(is_ready).min_by_key(seq_of);
        }
        let seqs = (0..next.wrapping_sub(from)).map(|step| from.wrapping_add(step));
        seqs.map(|seq| (seq, self.cell(seq)))
            .find(|(seq, cell)| is_ready(cell) && seq_of(cell) == *seq)
            .map(|(_, cell)| cell)
    }

    /// Copies an item out.
    fn read(&self, cell: &Cell, into: &mut Vec<u8>) -> Result<(), Nonsense> {
        let (seq, len) = (cell.seq.load(Ordering::Relaxed), cell.len.load(Ordering::Relaxed) as usize);
        if len.div_ceil(BLOCK) > self.links.len() {
            return Err("a message is longer than all blocks");
        }
        into.clear();
        into.resize(len, 0);
        let mut at = cell.first.load(Ordering::Relaxed);
        for part in into.chunks_mut(BLOCK) {
            let link = self.links.get(at as usize).ok_or("a message lies in a block that does not exist")?;
            if link.seq.load(Ordering::Relaxed) != seq {
                return Err("two messages lie in one block");
            }
            if !self.body.copy_out(self.block_offset(at as usize), part) {
                return Err("the blocks reach past the segment");
            }
            at = link.next.load(Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether the item is still in the state of the ticket.
    pub(super) fn is_valid(&self, ticket: Ticket) -> bool {
        self.ticket(self.cell(ticket.seq)) == ticket
    }

    /// When the lease of a ticket is over, if it is valid.
    pub(super) fn until_ns(&self, ticket: Ticket) -> u64 {
        self.cell(ticket.seq).until_ns.load(Ordering::Relaxed)
    }

    /// Whether the time of a ticket's lease is over; to be asked again under the lock, because it may be extended.
    pub(super) fn is_over(&self, ticket: Ticket, now_ns: u64) -> bool {
        let until_ns = self.until_ns(ticket);
        until_ns != 0 && now_ns >= until_ns
    }

    /// Has the lease of a ticket end at another time, 0 for never; `false` if it is not valid any more.
    pub(super) fn extend(&self, ticket: Ticket, until_ns: u64) -> bool {
        let is_valid = self.is_valid(ticket);
        if is_valid {
            self.cell(ticket.seq).until_ns.store(until_ns, Ordering::Relaxed);
            crash_point("joinable.extended");
        }
        is_valid
    }

    /// The lease that has this token.
    pub(super) fn redeem(&self, token: LeaseToken) -> Option<Ticket> {
        let ticket = self.ticket(self.cell(token.id()));
        (ticket.word & STATE == LEASED && ticket.token() == token).then_some(ticket)
    }

    /// Copies the item of a ticket out, which is valid.
    pub(super) fn payload(&self, ticket: Ticket, into: &mut Vec<u8>) -> Result<(), Nonsense> {
        self.read(self.cell(ticket.seq), into)
    }

    /// Decides about the item of a ticket; `false` if the ticket is not valid any more.
    pub(super) fn settle(&self, ticket: Ticket, fate: Fate) -> bool {
        // The number first: the cell may have another item by now.
        let cell = self.cell(ticket.seq);
        if !self.is_valid(ticket) {
            return false;
        }
        let attempts = ticket.word & (ATTEMPT_MASK << ATTEMPT_SHIFT);
        let to = match fate {
            Fate::Done => FREE,
            Fate::Ready => READY | attempts,
            Fate::Untried => READY | attempts.saturating_sub(1 << ATTEMPT_SHIFT),
            Fate::Fresh => READY,
            Fate::Dead => DEAD | attempts,
        };
        if to & STATE == READY {
            let from = self.body.first_ready.load(Ordering::Relaxed);
            self.body.first_ready.store(from.min(ticket.seq), Ordering::Relaxed);
        }
        self.shift(cell, ticket.word, to);
        true
    }

    /// Commits, then counts.
    fn shift(&self, cell: &Cell, from: u64, to: u64) {
        let blocks = blocks_of(cell.len.load(Ordering::Relaxed) as usize) as u32;
        // SYNC: joinable.cell.
        cell.word.store(to, Ordering::Release);
        crash_point("joinable.changed");
        let before = Counts::load(self.body);
        self.count(before, before.shifted(from, to, blocks));
        crash_point("joinable.counted");
    }

    /// Stores the counts, of what is committed already.
    fn count(&self, before: Counts, now: Counts) {
        if now.unfinished() == 0 && before.unfinished() != 0 {
            // Before the counts: after a death in between it is said once more, and otherwise never would be.
            let times = self.body.times_finished.load(Ordering::Relaxed);
            self.body.times_finished.store(times.wrapping_add(1), Ordering::Release);
            crash_point("joinable.finished");
        }
        now.store(self.body);
    }

    fn ticket(&self, cell: &Cell) -> Ticket {
        // SYNC: joinable.cell. The word before the owner is asked about.
        let word = cell.word.load(Ordering::Acquire);
        let seq = cell.seq.load(Ordering::Relaxed);
        Ticket { seq, word, since_ns: cell.since_ns.load(Ordering::Relaxed) }
    }

    /// Every lease, without the lock: each is to be looked at again under it, by [`settle`](Self::settle).
    ///
    /// Items are leased in their order, so the looks begin where the last one was leased, and end when there
    /// are as many as are counted: a large table is not gone through for a few.
    pub(super) fn leases(&self) -> impl Iterator<Item = Ticket> {
        let first_ready = self.body.first_ready.load(Ordering::Relaxed);
        let counted = Counts::load(self.body).leased as usize;
        (1..=self.cells.len() as u64)
            .map(move |step| self.ticket(self.cell(first_ready.wrapping_sub(step))))
            .filter(|ticket| ticket.word & STATE == LEASED)
            .take(counted)
    }

    /// Every lease, without the lock, and how long what is leased is.
    pub(super) fn leased(&self) -> impl Iterator<Item = Seen> {
        self.leases().map(|ticket| {
            let cell = self.cell(ticket.seq);
            let until_ns = cell.until_ns.load(Ordering::Relaxed);
            Seen { ticket, until_ns, len: cell.len.load(Ordering::Relaxed) as usize }
        })
    }

    fn in_state(&self, state: u64) -> impl Iterator<Item = Ticket> {
        self.cells.iter().map(|cell| self.ticket(cell)).filter(move |ticket| ticket.word & STATE == state)
    }

    /// The dead letters, the oldest first.
    pub(super) fn dead_letters(&self) -> Result<Vec<(Ticket, Vec<u8>)>, Nonsense> {
        self.read_all(DEAD, usize::MAX)
    }

    /// The first items that are there to be got, at most `most`.
    pub(super) fn first_items(&self, most: usize) -> Result<Vec<(Ticket, Vec<u8>)>, Nonsense> {
        self.read_all(READY, most)
    }

    fn read_all(&self, state: u64, most: usize) -> Result<Vec<(Ticket, Vec<u8>)>, Nonsense> {
        let mut tickets: Vec<Ticket> = self.in_state(state).collect();
        tickets.sort_by_key(|ticket| ticket.seq);
        tickets.truncate(most);
        let read = |ticket: Ticket| {
            let mut payload = Vec::new();
            self.payload(ticket, &mut payload)?;
            Ok((ticket, payload))
        };
        tickets.into_iter().map(read).collect()
    }

    /// Counts anew, from the cells alone: after a death, when the counts may be one behind.
    pub(super) fn recount(&self) -> Result<(), Nonsense> {
        let mut counts = Counts::default();
        let mut first_ready = self.body.next_seq.load(Ordering::Relaxed);
        for (index, cell) in self.cells.iter().enumerate() {
            let Ticket { seq, word, .. } = self.ticket(cell);
            if word & STATE == FREE {
                continue;
            }
            if word & STATE > DEAD {
                return Err("a cell is in an impossible state");
            }
            let len = cell.len.load(Ordering::Relaxed) as usize;
            if seq as usize & (self.cells.len() - 1) != index || len.div_ceil(BLOCK) > self.links.len() {
                return Err("a cell names an impossible item");
            }
            counts = counts.shifted(FREE, word, blocks_of(len) as u32);
            if word & STATE == READY {
                first_ready = first_ready.min(seq);
            }
        }
        if counts.blocks as usize > self.links.len() {
            return Err("there is more in the blocks than they can hold");
        }
        self.body.first_ready.store(first_ready, Ordering::Relaxed);
        self.count(Counts::load(self.body), counts);
        crash_point("joinable.recounted");
        Ok(())
    }

    /// Gives back what owners of another registry had leased; nobody else is attached.
    pub(super) fn forget_leases(cells: &[Cell]) {
        for cell in cells {
            let word = cell.word.load(Ordering::Relaxed);
            if word & STATE == LEASED {
                cell.word.store(READY | word & ATTEMPT_MASK << ATTEMPT_SHIFT, Ordering::Relaxed);
            }
        }
    }
}

fn attempts(word: u64) -> u32 {
    (word >> ATTEMPT_SHIFT & ATTEMPT_MASK) as u32
}
