//! One process of the chaos test: random operations on shared locks and queues until it is killed or told to stop,
//! written down as they are done where they outlive it.
//!
//! Arguments: the file of diaries, the file of pairs, its incarnation, its seed.
#![expect(clippy::expect_used, reason = "this is part of the tests: what fails here fails a test")]

use procession::{GetError, Lock, LockError, LockGuard, PutError, Queue};
use procession_sys::clock;
use procession_tests::witness::{Diary, Dice, Pair, Table, pack, padding};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long an operation with a limit waits.
const LIMIT: Duration = Duration::from_millis(20);

struct Actor<'a> {
    diary: &'a Diary,
    pairs: &'a Table<Pair>,
    me: usize,
    locks: [Lock; 2],
    queues: [Queue<(u64, Vec<u8>)>; 2],
    dice: Dice,
}

fn main() {
    // It never outlives the test.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::SIGKILL).expect("a property of this process");
    let arguments: Vec<String> = std::env::args().collect();
    let me: usize = arguments[3].parse().expect("an incarnation");
    let seed: u64 = arguments[4].parse().expect("a seed");
    let diaries = Table::<Diary>::map(Path::new(&arguments[1]), me + 1);
    let pairs = Table::<Pair>::map(Path::new(&arguments[2]), 3);
    let lock = |name| Lock::open(name).expect("the locks are there");
    let queue = |name| Queue::open(name).expect("the queues are there");
    let mut actor = Actor {
        diary: &diaries[me],
        pairs: &pairs,
        me,
        locks: [lock("l0"), lock("l1")],
        queues: [queue("q0"), queue("q1")],
        dice: Dice::new(seed),
    };
    // The third pair says when to stop.
    while pairs[2].first.load(Relaxed) == 0
        && (actor.diary.got.load(Relaxed) as usize) < actor.diary.log.len()
    {
        actor.step();
    }
    actor.diary.ended.store(1, Relaxed);
}

impl Actor<'_> {
    fn step(&mut self) {
        let which = self.dice.below(2) as usize;
        match self.dice.below(10) {
            0..6 => self.use_lock(which),
            6..8 => self.put(which),
            _ => self.get(which),
        }
        self.does(0);
    }

    /// Notes what it is doing, and how long it did what it did before.
    fn does(&self, what: u32) {
        let now = clock::now_ns();
        if self.diary.doing.load(Relaxed) != 0 {
            let took = now.saturating_sub(self.diary.since_ns.load(Relaxed));
            self.diary.worst_ns.fetch_max(took, Relaxed);
            self.diary.done.fetch_add(1, Relaxed);
        }
        self.diary.since_ns.store(now, Relaxed);
        self.diary.doing.store(what, Relaxed);
    }

    fn breaks(&self, law: u32) {
        self.diary.broken.store(law, Relaxed);
    }

    fn use_lock(&mut self, which: usize) {
        self.does(1);
        let way = self.dice.below(4);
        let lock = self.locks[which].clone();
        let outcome = match way {
            0 => lock.try_acquire(),
            1 => lock.acquire_timeout(LIMIT),
            _ => lock.acquire(),
        };
        match outcome {
            Ok(guard) => self.inside(which, guard),
            Err(LockError::OwnerDied { .. }) => {
                self.does(3);
                match lock.recover() {
                    Ok(guard) => self.inside(which, guard),
                    Err(_) => self.breaks(4),
                }
            }
            Err(LockError::TimedOut | LockError::WouldBlock) => {}
            Err(_) => self.breaks(4),
        }
    }

    fn inside(&mut self, which: usize, guard: LockGuard<'_>) {
        let pair = &self.pairs[which];
        let before = pair.inside.swap(self.me as u64 + 1, Relaxed);
        let first = pair.first.load(Relaxed);
        if guard.recovers() {
            pair.second.store(first, Relaxed);
            self.diary.recovered.fetch_add(1, Relaxed);
        } else {
            self.does(2);
            if before != 0 {
                self.breaks(2);
            }
        }
        if pair.second.load(Relaxed) != first {
            self.breaks(1);
        }
        pair.first.store(first + 1, Relaxed);
        for _ in 0..self.dice.below(1000) {
            std::hint::spin_loop();
        }
        if self.dice.below(50) == 0 {
            std::thread::yield_now();
        }
        if pair.first.load(Relaxed) != first + 1 || pair.inside.load(Relaxed) != self.me as u64 + 1 {
            self.breaks(2);
        }
        pair.second.store(first + 1, Relaxed);
        pair.inside.store(0, Relaxed);
        drop(guard);
    }

    fn put(&mut self, which: usize) {
        self.does(4);
        let number = self.diary.put[which].load(Relaxed);
        let word = pack(which, self.me, number);
        let message = (word, padding(word));
        let outcome = match self.dice.below(3) {
            0 => self.queues[which].try_put(&message),
            _ => self.queues[which].put_timeout(&message, LIMIT),
        };
        match outcome {
            // From here on it is acknowledged.
            Ok(()) => self.diary.put[which].store(number + 1, Relaxed),
            Err(PutError::Full | PutError::TimedOut) => {}
            Err(_) => self.breaks(3),
        }
    }

    fn get(&mut self, which: usize) {
        self.does(5);
        let outcome = match self.dice.below(3) {
            0 => self.queues[which].try_get(),
            _ => self.queues[which].get_timeout(LIMIT),
        };
        match outcome {
            Ok((word, bytes)) => {
                let got = self.diary.got.load(Relaxed);
                self.diary.log[got as usize].store(word, Relaxed);
                self.diary.got.store(got + 1, Relaxed);
                if bytes != padding(word) {
                    self.breaks(5);
                }
            }
            Err(GetError::Empty | GetError::TimedOut) => {}
            Err(_) => self.breaks(3),
        }
    }
}
