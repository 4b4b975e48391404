//! Jobs: what was acknowledged by a put is done once, or is still there. In one attempt nobody has an item
//! but its holder; it comes back only when the lease was dropped, or its holder died, or, in the second
//! queue, was too slow, and then the late acknowledgement is refused. What is unfinished is what can be got
//! in the end.

use super::{Account, Diary, End, LIMIT, Law, Participant, Place};
use procession::{AckError, GetError, JoinableQueue, Lease, PutError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::Relaxed;

const ACCOUNTS: [Account; 2] = [Account::PutJob, Account::PutTimedJob];
/// The queue whose leases have a timeout.
const TIMED: usize = 1;
/// How many leases one participant holds at most.
const HANDFUL: u64 = 3;

/// An item, as a word, and bytes that follow from it.
type Job = (u64, Vec<u8>);
/// A queue, who has put the item, and the how manieth that is.
type Item = (usize, usize, u64);

/// What a participant did with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Got,
    Done,
    GaveBack,
    Refused,
}

const DEEDS: [Deed; 4] = [Deed::Got, Deed::Done, Deed::GaveBack, Deed::Refused];

pub(super) struct Jobs {
    queues: [JoinableQueue<Job>; 2],
}

impl Jobs {
    pub(super) fn new(place: &Place) -> Self {
        let options = || JoinableQueue::options().namespace(&place.namespace).max_attempts(0);
        let plain = options().bytes(16384).open_or_create("jobs").unwrap();
        let timed = options().bytes(65536).capacity(9).lease_timeout(LIMIT / 2).open_or_create("timed-jobs");
        Self { queues: [plain, timed.unwrap()] }
    }

    fn put(&self, who: &mut Participant<'_>, which: usize) {
        who.does("putting a job");
        let account = ACCOUNTS[which];
        let word = pack(which, who.me, who.diary().account(account).0);
        let job = (word, padding(word));
        who.begins(account, 1);
        let outcome = match who.dice.below(3) {
            0 => self.queues[which].try_put(&job),
            _ => self.queues[which].put_timeout(&job, LIMIT),
        };
        match outcome {
            Ok(()) => who.acknowledges(account, 1),
            Err(PutError::WouldBlock(_) | PutError::TimedOut(_)) => who.gives_up(account, 1),
            Err(error) => who.breaks(&format!("putting a job: {error}")),
        }
    }

    fn get(&self, who: &mut Participant<'_>, which: usize) -> Option<Lease<Job>> {
        who.does("getting a job");
        let outcome = match who.dice.below(3) {
            0 => self.queues[which].try_get(),
            _ => self.queues[which].get_timeout(LIMIT),
        };
        match outcome {
            Ok(lease) => {
                let word = lease.0;
                note(who.diary(), Deed::Got, word, lease.attempt());
                who.expects(lease.1 == padding(word), || format!("{word:x} came out other than it was put"));
                Some(lease)
            }
            Err(GetError::WouldBlock(_) | GetError::TimedOut(_)) => None,
            Err(error) => {
                who.breaks(&format!("getting a job: {error}"));
                None
            }
        }
    }

    fn finish(&self, who: &mut Participant<'_>, which: usize, lease: Lease<Job>) {
        who.does("finishing a job");
        let (word, attempt) = (lease.0, lease.attempt());
        if who.dice.below(6) == 0 {
            // Before: once it is dropped, another may have it.
            note(who.diary(), Deed::GaveBack, word, attempt);
            return;
        }
        match lease.task_done() {
            Ok(()) => note(who.diary(), Deed::Done, word, attempt),
            Err(AckError::StaleLease { .. }) if which == TIMED => {
                note(who.diary(), Deed::Refused, word, attempt);
            }
            Err(error) => who.breaks(&format!("finishing a job: {error}")),
        }
    }

    fn work(&self, who: &mut Participant<'_>, which: usize) {
        let count = 1 + who.dice.below(HANDFUL);
        let leases: Vec<_> = (0..count).filter_map(|_| self.get(who, which)).collect();
        who.does("doing a job");
        match who.dice.below(8) {
            // Longer than a lease with a timeout lasts.
            0 if which == TIMED => std::thread::sleep(LIMIT),
            // For so long that it is killed meanwhile now and then.
            1..4 => std::thread::sleep(LIMIT / 20),
            _ => who.dawdle(),
        }
        leases.into_iter().for_each(|lease| self.finish(who, which, lease));
    }
}

/// A job as a word: its queue, who has put it, and the how manieth that is.
fn pack(queue: usize, producer: usize, number: u64) -> u64 {
    (queue as u64) << 51 | (producer as u64) << 29 | number
}

fn unpack(word: u64) -> Item {
    ((word >> 51 & 1) as usize, (word >> 29 & 0x3f_ffff) as usize, word & 0x1fff_ffff)
}

/// One to six blocks.
fn padding(word: u64) -> Vec<u8> {
    vec![word as u8; (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize % 700]
}

fn note(diary: &Diary, deed: Deed, word: u64, attempt: u32) {
    let count = diary.job_count.load(Relaxed);
    let entry = (deed as u64) << 62 | u64::from(attempt.min(1023)) << 52 | word;
    diary.jobs[count as usize].store(entry, Relaxed);
    diary.job_count.store(count + 1, Relaxed);
}

/// What everybody did with one item, by attempt.
#[derive(Debug, Default)]
struct Fate {
    attempts: BTreeMap<u64, Attempt>,
    is_left: bool,
}

#[derive(Debug, Default)]
struct Attempt {
    deeds: BTreeSet<Deed>,
    holder: usize,
}

/// Reads all diaries. In one attempt an item is one holder's.
fn fates(end: &End<'_>) -> BTreeMap<Item, Fate> {
    let mut fates: BTreeMap<Item, Fate> = BTreeMap::new();
    for me in 0..end.count {
        let diary = &end.diaries[me];
        for index in 0..diary.job_count.load(Relaxed) as usize {
            let entry = diary.jobs[index].load(Relaxed);
            let (deed, item, number) = (DEEDS[(entry >> 62) as usize], unpack(entry), entry >> 52 & 1023);
            let attempt = fates.entry(item).or_default().attempts.entry(number).or_default();
            let is_new = attempt.deeds.insert(deed);
            assert!(
                is_new,
                "{item:?} was {deed:?} twice in attempt {number}, by {me} and {}",
                attempt.holder
            );
            let is_its = deed == Deed::Got || attempt.holder == me;
            assert!(is_its, "{item:?} was {deed:?} by {me} and held by {}", attempt.holder);
            attempt.holder = me;
        }
    }
    fates
}

/// Gets what is there, which is what is unfinished.
fn drain(queue: &JoinableQueue<Job>, which: usize, fates: &mut BTreeMap<Item, Fate>) -> usize {
    let left = queue.unfinished();
    for found in 0.. {
        match queue.try_get() {
            Ok(lease) => {
                assert_eq!(lease.1, padding(lease.0));
                let item = unpack(lease.0);
                assert_eq!(item.0, which);
                let fate = fates.entry(item).or_default();
                let last = fate.attempts.last_key_value().map_or(0, |(&last, _)| last);
                assert!(!fate.is_left && last < u64::from(lease.attempt()), "{item:?} is left: {fate:?}");
                fate.is_left = true;
                lease.task_done().unwrap();
            }
            Err(GetError::WouldBlock(_)) => {
                assert_eq!((found, queue.unfinished(), queue.len()), (left, 0, 0), "unfinished() was wrong");
                queue.join().unwrap();
                return left;
            }
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("queues end")
}

impl Fate {
    /// Whether what happened can have happened; whether it was done by somebody who was told so.
    fn check(&self, item: Item, end: &End<'_>) -> bool {
        let is_dead = |attempt: &Attempt| end.was_killed(attempt.holder);
        let is_done = |attempt: &Attempt| attempt.deeds.contains(&Deed::Done);
        let last = self.attempts.last_key_value().map(|(&last, _)| last);
        for (&number, attempt) in &self.attempts {
            let comes_again = self.is_left || last != Some(number);
            assert!(!(comes_again && is_done(attempt)), "{item:?} came again after it was done: {self:?}");
            let may_come = item.0 == TIMED || is_dead(attempt) || attempt.deeds.contains(&Deed::GaveBack);
            assert!(!comes_again || may_come, "{item:?} was taken from a living holder: {self:?}");
        }
        self.attempts.values().any(is_done)
    }

    /// Whether it is gone with a holder that may have acknowledged it, and was killed before it could write
    /// so.
    fn went_along(&self, end: &End<'_>) -> bool {
        self.attempts.last_key_value().is_some_and(|(_, attempt)| {
            end.was_killed(attempt.holder) && attempt.deeds.iter().eq(&[Deed::Got])
        })
    }
}

impl Law for Jobs {
    fn step(&self, who: &mut Participant<'_>) {
        let which = usize::from(who.dice.below(3) == 0);
        if who.dice.below(2) == 0 { self.put(who, which) } else { self.work(who, which) }
    }

    fn check(&self, end: &End<'_>) {
        let mut fates = fates(end);
        let left: Vec<usize> = (0..2).map(|which| drain(&self.queues[which], which, &mut fates)).collect();
        let (mut done, mut again, mut refused) = (0, 0, 0);
        for (&item, fate) in &fates {
            let begun = end.diaries[item.1].account(ACCOUNTS[item.0]).1;
            assert!(item.2 < begun, "nobody put {item:?}");
            done += u64::from(fate.check(item, end));
            again += fate.attempts.keys().filter(|&&number| number > 1).count();
            let deeds = fate.attempts.values().flat_map(|attempt| &attempt.deeds);
            refused += deeds.filter(|&&deed| deed == Deed::Refused).count();
        }
        let mut went_along = 0;
        for producer in 0..end.count {
            for (which, account) in ACCOUNTS.into_iter().enumerate() {
                for number in 0..end.diaries[producer].account(account).0 {
                    let item = (which, producer, number);
                    let fate = fates.get(&item).unwrap_or_else(|| panic!("{item:?} is lost"));
                    let is_there = fate.is_left || fate.check(item, end);
                    assert!(is_there || fate.went_along(end), "{item:?} is lost: {fate:?}");
                    went_along += u64::from(!is_there);
                }
            }
        }
        crate::note(&format!(
            "chaos: {done} jobs done, {left:?} left, {went_along} went with their holders, {again} began again, \
             {refused} acknowledged too late"
        ));
    }

    fn unlink(&self) {
        self.queues.iter().for_each(|queue| queue.unlink().unwrap());
    }
}
