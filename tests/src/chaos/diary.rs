//! Who takes part, and the memory that outlives them.

use crate::Dice;
use procession::LockError;
use procession_sys::{Mapping, ShmSafe, clock, shm_struct};
use std::fmt::{self, Debug, Display};
use std::fs::OpenOptions;
use std::marker::PhantomData;
use std::ops::Index;
use std::path::Path;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

/// What a participant can say it is doing.
pub const DOING: [&str; 55] = [
    "between",
    "acquiring a lock",
    "inside a lock",
    "inside a lock, reading",
    "inside a lock, forking",
    "inside a lock, executing",
    "inside a lock, ending",
    "waiting with a lock let go",
    "recovering a lock",
    "acquiring permits",
    "holding permits",
    "giving a token",
    "taking a token",
    "acquiring the bank",
    "in the bank",
    "repairing the bank",
    "updating a value",
    "reading a value",
    "updating an array",
    "reading an array",
    "counting in the ledger",
    "storing into a buffer",
    "fetching from a buffer",
    "pulsing an event",
    "waiting for an event",
    "arriving at a latch",
    "waiting for a latch",
    "passing a once",
    "initialising in a once",
    "joining a barrier",
    "a member of a barrier",
    "waiting at a barrier",
    "putting",
    "getting",
    "getting several",
    "reading",
    "taking",
    "putting a job",
    "getting a job",
    "doing a job",
    "finishing a job",
    "making a pipe",
    "getting a pipe",
    "taking an end",
    "using an end",
    "waiting for a pipe to be taken",
    "sending",
    "receiving",
    "changing a map",
    "reading a map",
    "changing a list",
    "reading a list",
    "making a pool",
    "using a pool",
    "ending a pool",
];

/// How many entries one step makes in a log at most.
const MOST_ENTRIES: usize = 16;

/// What is counted twice: what was begun, before, and what was acknowledged, after. The truth is in between.
#[derive(Clone, Copy, Debug)]
pub enum Account {
    /// Messages put into the first queue.
    PutSmall,
    /// Messages put into the second.
    PutLarge,
    /// Messages put into the third.
    PutPlain,
    /// Items put into the joinable queue.
    PutJob,
    /// Items put into the one whose leases have a timeout.
    PutTimedJob,
    /// The amount counted in the ledger.
    Ledger,
    /// Tokens given to a semaphore.
    Given,
    /// Tokens taken from it for ever.
    Taken,
    /// Items stored into the bounded buffer.
    Stored,
    /// Items fetched from it.
    Fetched,
    /// Keys inserted into the map.
    Shelved,
    /// Keys removed from it.
    Unshelved,
    /// Elements pushed to the list.
    Piled,
    /// Elements popped from it.
    Unpiled,
    /// Items given to pools.
    Tasked,
}

shm_struct! {
    /// What one participant has to say, also when it is dead.
    pub struct Diary {
        /// What it is doing: an index into [`DOING`].
        pub doing: AtomicU32,
        /// How many operations it has finished.
        pub done: AtomicU32,
        /// When it began what it is doing, on the monotonic clock; 0 if it has not begun.
        pub since_ns: AtomicU64,
        /// The longest that each thing has taken.
        pub worst_ns: [AtomicU64; 55],
        /// How often it found something inconsistent and recovered it.
        pub recovered: AtomicU64,
        /// Its process, if the test did not start it.
        pub pid: AtomicU32,
        /// 1 once its process is known to be dead.
        pub is_dead: AtomicU32,
        /// 1 once it has ended by itself.
        pub has_ended: AtomicU32,
        /// 1 once it saw a law broken.
        is_broken: AtomicU32,
        /// Which, in words.
        broken: [AtomicU64; 32],
        begun: [AtomicU64; 15],
        acknowledged: [AtomicU64; 15],
        /// The largest number seen in the ledger.
        pub ledger: AtomicU64,
        /// How many entries of the log are valid.
        pub got: AtomicU64,
        /// The messages it got.
        pub log: [AtomicU64; 4008],
        /// How many entries of the next log are valid.
        pub job_count: AtomicU64,
        /// What it did with jobs.
        pub jobs: [AtomicU64; 4072],
    }
}

impl Diary {
    /// What was acknowledged, and at most what was begun.
    #[must_use]
    pub fn account(&self, account: Account) -> (u64, u64) {
        let index = account as usize;
        (self.acknowledged[index].load(Relaxed), self.begun[index].load(Relaxed))
    }

    /// Whether all that one step may have to say finds room.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let used = [&self.got, &self.job_count].map(|count| count.load(Relaxed) as usize);
        used[0] + MOST_ENTRIES < self.log.len() && used[1] + MOST_ENTRIES < self.jobs.len()
    }

    /// The first law it saw broken.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        let bytes = self.broken.iter().flat_map(|word| word.load(Relaxed).to_le_bytes());
        let text: Vec<u8> = bytes.take_while(|&byte| byte != 0).collect();
        (self.is_broken.load(SeqCst) != 0).then(|| String::from_utf8_lossy(&text).into_owned())
    }

    /// What it says it is doing.
    #[must_use]
    pub fn doing(&self) -> &'static str {
        DOING[self.doing.load(Relaxed) as usize]
    }
}

/// All diaries, after the end.
#[derive(Debug)]
pub struct End<'a> {
    /// All of them.
    pub diaries: &'a Table<Diary>,
    /// How many have been used.
    pub count: usize,
    /// How many messages those can have had in hand who were killed while getting some.
    pub in_dead_hands: u64,
}

impl End<'_> {
    /// Whether it has begun, and not ended by itself.
    #[must_use]
    pub fn was_killed(&self, me: usize) -> bool {
        let diary = &self.diaries[me];
        diary.since_ns.load(Relaxed) != 0 && diary.has_ended.load(Relaxed) == 0
    }

    /// What was acknowledged by all together, and at most what was begun.
    #[must_use]
    pub fn sum(&self, account: Account) -> (u64, u64) {
        let all = (0..self.count).map(|me| self.diaries[me].account(account));
        all.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }
}

/// One thread of one process that takes part.
#[derive(Debug)]
pub struct Participant<'a> {
    /// Which diary is its.
    pub me: usize,
    /// All diaries.
    pub diaries: &'a Table<Diary>,
    /// Its choices.
    pub dice: Dice,
    /// Whether its process may start threads, and processes, which takes one: not one that forks.
    pub may_start_threads: bool,
}

impl<'a> Participant<'a> {
    /// Its own diary.
    #[must_use]
    pub fn diary(&self) -> &'a Diary {
        &self.diaries[self.me]
    }

    /// Its number as a witness writes it; never 0, which is nobody's.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.me as u64 + 1
    }

    /// Notes what it does from now on, and how long it did what it did before.
    pub fn does(&self, what: &str) {
        let (diary, now) = (self.diary(), clock::now_ns());
        let before = diary.doing.load(Relaxed);
        if before != 0 {
            let took = now.saturating_sub(diary.since_ns.load(Relaxed));
            diary.worst_ns[before as usize].fetch_max(took, Relaxed);
            diary.done.fetch_add(1, Relaxed);
        }
        let what = DOING.iter().position(|&known| known == what).unwrap();
        diary.since_ns.store(now, Relaxed);
        diary.doing.store(what as u32, Relaxed);
    }

    /// Saw a law broken.
    pub fn breaks(&self, law: &str) {
        let diary = self.diary();
        if diary.is_broken.load(Relaxed) == 0 {
            for (word, bytes) in diary.broken.iter().zip(law.as_bytes().chunks(8)) {
                let mut whole = [0; 8];
                whole[..bytes.len()].copy_from_slice(bytes);
                word.store(u64::from_le_bytes(whole), Relaxed);
            }
            diary.is_broken.store(1, SeqCst);
        }
    }

    /// Saw a law broken unless `holds`.
    pub fn expects(&self, holds: bool, law: impl FnOnce() -> String) {
        if !holds {
            self.breaks(&law());
        }
    }

    /// The result, if it is one; an error is a law broken.
    pub fn must<T>(&self, result: Result<T, impl Display>, what: &str) -> Option<T> {
        result.map_err(|error| self.breaks(&format!("{what}: {error}"))).ok()
    }

    /// The guard, if there is one, and that of a recovery when the owner died. To be too late is no mistake.
    pub fn settle<G>(
        &self,
        outcome: Result<G, LockError>,
        recover: impl FnOnce() -> Result<G, LockError>,
    ) -> Option<G> {
        match outcome {
            Err(LockError::TimedOut { .. } | LockError::WouldBlock { .. }) => None,
            Err(LockError::OwnerDied { .. }) => {
                self.does("recovering a lock");
                self.diary().recovered.fetch_add(1, Relaxed);
                self.must(recover(), "recovering")
            }
            other => self.must(other, "acquiring"),
        }
    }

    /// Begins what may have happened from now on.
    pub fn begins(&self, account: Account, amount: u64) {
        self.diary().begun[account as usize].fetch_add(amount, SeqCst);
    }

    /// What was begun did not happen.
    pub fn gives_up(&self, account: Account, amount: u64) {
        self.diary().begun[account as usize].fetch_sub(amount, SeqCst);
    }

    /// What was begun did happen.
    pub fn acknowledges(&self, account: Account, amount: u64) {
        self.diary().acknowledged[account as usize].fetch_add(amount, SeqCst);
    }

    /// Once in so many times, for so long that whoever looks for somebody to kill finds it there.
    pub fn linger(&mut self, seldom: u64) {
        if self.dice.below(seldom) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// For so long that somebody else may come in between.
    pub fn dawdle(&mut self) {
        for _ in 0..self.dice.below(1000) {
            std::hint::spin_loop();
        }
        if self.dice.below(50) == 0 {
            std::thread::yield_now();
        }
    }
}

/// A file full of `T`s, mapped.
pub struct Table<T>(Mapping, PhantomData<fn() -> T>);

impl<T: ShmSafe> Table<T> {
    /// Maps `count` of them; the file is made, or made larger, as needed.
    #[must_use]
    pub fn map(file: &Path, count: usize) -> Self {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(file).unwrap();
        let len = count * size_of::<T>();
        if file.metadata().unwrap().len() < len as u64 {
            file.set_len(len as u64).unwrap();
        }
        Self(Mapping::of_file(&file, len).unwrap(), PhantomData)
    }
}

impl<T: ShmSafe> Index<usize> for Table<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        self.0.at(index * size_of::<T>()).unwrap()
    }
}

impl<T> Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
