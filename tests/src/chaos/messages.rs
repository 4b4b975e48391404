//! Messages: what was acknowledged is got once, by one, in the order of its producer, or is still there. Only a consumer
//! that is killed while getting can take along what it gets. They are put and got one by one, several at once, and where
//! they lie; some are larger than their queue.

use super::{Account, End, LIMIT, Law, Participant, Place};
use procession::{GetError, GetManyError, PutError, PutManyError, Queue, codec};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::sync::atomic::Ordering::Relaxed;

const ACCOUNTS: [Account; 2] = [Account::PutSmall, Account::PutLarge];

/// How many are put or got at once.
pub const SEVERAL: usize = 3;

/// A message, as a word, and bytes that follow from it.
type Message = (u64, Vec<u8>);
/// How many bytes each of the two queues has for messages.
const BYTES: [u64; 2] = [2048, 65536];
/// What is larger than that.
const LARGER: [usize; 2] = [3000, 70_000];
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
        Self { queues: [queue(BYTES[0], 0, "small"), queue(BYTES[1], 9, "large")] }
    }

    fn put(&self, who: &mut Participant<'_>, which: usize) {
        who.does("putting");
        let (queue, account) = (&self.queues[which], ACCOUNTS[which]);
        let first = who.diary().account(account).0;
        let way = who.dice.below(7);
        let count = if way < 2 { SEVERAL } else { 1 };
        let messages: Vec<Message> = (first..first + count as u64)
            .map(|number| pack(which, who.me, number))
            .map(|word| (word, padding(word)))
            .collect();
        who.begins(account, count as u64);
        let one = |outcome: Result<(), PutError>| outcome.map_err(|error| (0, error));
        let several =
            |outcome: Result<(), PutManyError>| outcome.map_err(|failed| (failed.put, failed.error));
        let outcome = match way {
            0 => several(queue.try_put_many(&messages)),
            1 => several(queue.put_many_timeout(&messages, LIMIT)),
            2 | 3 => one(queue.try_put(&messages[0])),
            4 => one(put_by_slot(queue, &messages[0])),
            _ => one(queue.put_timeout(&messages[0], LIMIT)),
        };
        match outcome {
            Ok(()) => who.acknowledges(account, count as u64),
            Err((put, PutError::Full | PutError::TimedOut)) => {
                who.acknowledges(account, put as u64);
                who.gives_up(account, (count - put) as u64);
            }
            Err((_, error)) => who.breaks(&format!("putting: {error}")),
        }
    }

    fn get(&self, who: &mut Participant<'_>, which: usize) {
        let queue = &self.queues[which];
        let way = who.dice.below(8);
        who.does(if way < 2 { "getting several" } else { "getting" });
        let one = |outcome: Result<Message, GetError>| outcome.map(|message| vec![message]);
        let several =
            |outcome: Result<Vec<Message>, GetManyError<Message>>| outcome.map_err(|failed| failed.error);
        let outcome = match way {
            0 => several(queue.try_get_many(SEVERAL)),
            1 => several(queue.get_many_timeout(SEVERAL, LIMIT)),
            2 | 3 => one(queue.try_get()),
            4 => one(get_by_slot(queue)),
            5 => look(who, queue).map(|()| Vec::new()),
            _ => one(queue.get_timeout(LIMIT)),
        };
        match outcome {
            Ok(messages) => messages.into_iter().for_each(|message| note_got(who, &message)),
            Err(GetError::Empty | GetError::TimedOut) => {}
            Err(error) => who.breaks(&format!("getting: {error}")),
        }
    }
}

fn note_got(who: &Participant<'_>, message: &Message) {
    let diary = who.diary();
    let got = diary.got.load(Relaxed);
    diary.log[got as usize].store(message.0, Relaxed);
    diary.got.store(got + 1, Relaxed);
    expect_whole(who, message);
}

fn expect_whole(who: &Participant<'_>, (word, bytes): &Message) {
    who.expects(*bytes == padding(*word), || format!("{word:x} came out other than it was put"));
}

fn put_by_slot(queue: &Queue<Message>, message: &Message) -> Result<(), PutError> {
    let mut bytes = Vec::new();
    codec::encode(message, &mut bytes)?;
    let mut slot = queue.reserve_timeout(bytes.len(), LIMIT)?;
    slot.write_all(&bytes).unwrap();
    slot.commit()
}

fn get_by_slot(queue: &Queue<Message>) -> Result<Message, GetError> {
    let mut slot = queue.read_timeout(LIMIT)?;
    let mut bytes = Vec::new();
    slot.read_to_end(&mut bytes).unwrap();
    let message =
        codec::decode(&bytes).map_err(|source| GetError::Decode { bytes: bytes.clone(), source })?;
    slot.commit()?;
    Ok(message)
}

/// Looks at the first message, and leaves it.
fn look(who: &Participant<'_>, queue: &Queue<Message>) -> Result<(), GetError> {
    expect_whole(who, &queue.peek()?);
    let mut bytes = Vec::new();
    queue.try_read()?.read_to_end(&mut bytes).unwrap();
    Ok(())
}

fn pack(queue: usize, producer: usize, number: u64) -> u64 {
    (queue as u64) << 63 | (producer as u64) << 32 | number
}

/// Queue, producer and number of what [`pack`] packed.
fn unpack(word: u64) -> (usize, usize, u64) {
    ((word >> 63) as usize, (word >> 32 & 0x7fff_ffff) as usize, word & 0xffff_ffff)
}

fn padding(word: u64) -> Vec<u8> {
    let mixed = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let len = match (mixed >> 54) % 16 {
        0 => LARGER[unpack(word).0],
        _ => (mixed >> 58) as usize,
    };
    vec![word as u8; len]
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
        let along = end.in_dead_hands;
        assert!(lost <= along, "{lost} messages are lost, and the killed had {along} in hand at most");
        crate::note(&format!("chaos: {lost} messages went with the killed, who had {along} in hand at most"));
    }

    fn unlink(&self) {
        self.queues.iter().for_each(|queue| queue.unlink().unwrap());
    }
}
