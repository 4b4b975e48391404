//! Memory that a test and its children map, and that outlives each of them.

use procession_sys::{Mapping, ShmSafe, shm_struct};
use std::fs::OpenOptions;
use std::marker::PhantomData;
use std::ops::Index;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64};

shm_struct! {
    /// Two words that only holders of one lock write: they differ only while a holder is inside, or died inside.
    pub struct Pair {
        /// Written first.
        pub first: AtomicU64,
        /// Written last.
        pub second: AtomicU64,
        /// Who is inside, 0 for nobody.
        pub inside: AtomicU64,
        spare: [AtomicU64; 5],
    }
}

shm_struct! {
    /// What one actor of the chaos test has to say, also when it is dead. An incarnation is one process.
    pub struct Diary {
        /// What it is doing: an index into [`DOING`].
        pub doing: AtomicU32,
        /// How many operations it has finished.
        pub done: AtomicU32,
        /// When it began what it is doing, on the monotonic clock.
        pub since_ns: AtomicU64,
        /// The longest that anything has taken.
        pub worst_ns: AtomicU64,
        /// Messages put into each queue and acknowledged.
        pub put: [AtomicU64; 2],
        /// How often it found a lock inconsistent and recovered it.
        pub recovered: AtomicU64,
        /// The first law it saw broken: an index into [`BROKEN`].
        pub broken: AtomicU32,
        /// 1 once it has ended by itself.
        pub ended: AtomicU32,
        /// How many entries of the log are valid.
        pub got: AtomicU64,
        /// What it got, as [`pack`] packs it.
        pub log: [AtomicU64; 16375],
    }
}

/// The names of what a [`Diary`] says an actor is doing.
pub const DOING: [&str; 6] = ["between", "acquiring", "inside", "recovering", "putting", "getting"];

/// The laws that a [`Diary`] may say were broken.
pub const BROKEN: [&str; 6] = [
    "",
    "the two words differ, and the lock was acquired without a word about its owner's death",
    "two were inside at once",
    "a queue answered with an error that it never may",
    "a lock answered with an error that it never may",
    "a message came out other than it was put",
];

/// A message in one word: which queue, which incarnation put it, and the how manieth of its it is.
#[must_use]
pub fn pack(queue: usize, producer: usize, number: u64) -> u64 {
    (queue as u64) << 63 | (producer as u64) << 32 | number
}

/// Queue, producer and number of what [`pack`] packed.
#[must_use]
pub fn unpack(word: u64) -> (usize, usize, u64) {
    ((word >> 63) as usize, (word >> 32 & 0x7fff_ffff) as usize, word & 0xffff_ffff)
}

/// The padding of a message.
#[must_use]
pub fn padding(word: u64) -> Vec<u8> {
    vec![word as u8; (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize]
}

/// Numbers that look random, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The numbers of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A file full of `T`s, mapped.
#[derive(Debug)]
pub struct Table<T>(Mapping, PhantomData<T>);

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
