//! Messages: what was acknowledged is got once, by one, in the order of its producer, or is still there. Only a consumer
//! that is killed while getting can take one along.

use super::{Account, End, LIMIT, Law, Participant, Place};
use procession::{GetError, PutError, Queue};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::Relaxed;

const ACCOUNTS: [Account; 2] = [Account::PutSmall, Account::PutLarge];

/// A message, as a word, and bytes that follow from it.
type Message = (u64, Vec<u8>);
/// By queue and producer, the numbers found.
type Found = [BTreeMap<usize, BTreeSet<u64>>; 2];

pub(super) struct Messages {
    queues: [Queue<Message>; 2],
}

impl Messages {
    pub(super) fn new(place: &Place) -> Self {
        let queue = |bytes, capacity, name| {
            let options = Queue::options().namespace(&place.namespace).bytes(bytes).capacity(capacity);
            options.open_or_create(name).unwrap()
        };
        Self { queues: [queue(2048, 0, "small"), queue(65536, 9, "large")] }
    }

    fn put(&self, who: &mut Participant<'_>, which: usize) {
        who.does("putting");
        let account = ACCOUNTS[which];
        let number = who.diary().account(account).0;
        let word = pack(which, who.me, number);
        let message = (word, padding(word));
        who.begins(account, 1);
        let outcome = match who.dice.below(3) {
            0 => self.queues[which].try_put(&message),
            _ => self.queues[which].put_timeout(&message, LIMIT),
        };
        match outcome {
            Ok(()) => who.acknowledges(account, 1),
            Err(PutError::Full | PutError::TimedOut) => who.gives_up(account, 1),
            Err(error) => who.breaks(&format!("putting: {error}")),
        }
    }

    fn get(&self, who: &mut Participant<'_>, which: usize) {
        who.does("getting");
        let outcome = match who.dice.below(3) {
            0 => self.queues[which].try_get(),
            _ => self.queues[which].get_timeout(LIMIT),
        };
        match outcome {
            Ok((word, bytes)) => {
                let diary = who.diary();
                let got = diary.got.load(Relaxed);
                diary.log[got as usize].store(word, Relaxed);
                diary.got.store(got + 1, Relaxed);
                who.expects(bytes == padding(word), || format!("{word:x} came out other than it was put"));
            }
            Err(GetError::Empty | GetError::TimedOut) => {}
            Err(error) => who.breaks(&format!("getting: {error}")),
        }
    }
}

fn pack(queue: usize, producer: usize, number: u64) -> u64 {
    (queue as u64) << 63 | (producer as u64) << 32 | number
}

/// Queue, producer and number of what [`pack`] packed.
fn unpack(word: u64) -> (usize, usize, u64) {
    ((word >> 63) as usize, (word >> 32 & 0x7fff_ffff) as usize, word & 0xffff_ffff)
}

fn padding(word: u64) -> Vec<u8> {
    vec![word as u8; (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize]
}

/// What was got, by everybody.
fn got(end: &End<'_>) -> Found {
    let mut found = Found::default();
    for me in 0..end.count {
        let diary = &end.diaries[me];
        let mut last: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        for index in 0..diary.got.load(Relaxed) as usize {
            let (queue, producer, number) = unpack(diary.log[index].load(Relaxed));
            let before = last.insert((queue, producer), number);
            assert!(before.is_none_or(|before| before < number), "{me} got {number} of {producer} late");
            let fresh = found[queue].entry(producer).or_default().insert(number);
            assert!(fresh, "message {number} of {producer} was got twice");
        }
    }
    found
}

/// What is still in the queue comes after everything that was got, and in order.
fn drain(queue: &Queue<Message>, which: usize, found: &mut BTreeMap<usize, BTreeSet<u64>>) {
    let mut left = queue.len();
    loop {
        match queue.try_get() {
            Ok((word, bytes)) => {
                assert_eq!(bytes, padding(word));
                let (queue, producer, number) = unpack(word);
                assert_eq!(queue, which);
                let got = found.entry(producer).or_default();
                let is_next = got.last().is_none_or(|&last| last < number);
                assert!(is_next, "{number} of {producer} is left behind");
                got.insert(number);
                left -= 1;
            }
            Err(GetError::Empty) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(left, 0, "len() was wrong");
}

/// How many acknowledged messages nobody got.
fn missing(end: &End<'_>, account: Account, found: &BTreeMap<usize, BTreeSet<u64>>) -> u64 {
    let nothing = BTreeSet::new();
    let missing = |producer: usize| {
        let (acknowledged, begun) = end.diaries[producer].account(account);
        let got = found.get(&producer).unwrap_or(&nothing);
        assert!(got.iter().all(|&number| number < begun), "{producer} never put this");
        (0..acknowledged).filter(|number| !got.contains(number)).count() as u64
    };
    (0..end.count).map(missing).sum()
}

impl Law for Messages {
    fn step(&self, who: &mut Participant<'_>) {
        let which = who.dice.below(2) as usize;
        if who.dice.below(2) == 0 { self.put(who, which) } else { self.get(who, which) }
    }

    fn check(&self, end: &End<'_>) {
        let mut found = got(end);
        let mut lost = 0;
        for (which, queue) in self.queues.iter().enumerate() {
            drain(queue, which, &mut found[which]);
            lost += missing(end, ACCOUNTS[which], &found[which]);
        }
        let along = end.killed_getting;
        assert!(lost <= along, "{lost} messages are lost, and {along} were killed while getting");
        crate::note(&format!("chaos: {lost} messages went with {along} killed while getting"));
    }

    fn unlink(&self) {
        self.queues.iter().for_each(|queue| queue.unlink().unwrap());
    }
}
