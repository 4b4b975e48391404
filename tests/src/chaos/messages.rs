//! Messages: what was acknowledged is got once, by one, in the order of its producer, or is still there.
//!
//! Two queues are read where the messages lie: a consumer writes down what it has in hand, and then takes it.
//! Nothing is lost there, whoever is killed. From a third, messages are got one by one and several at once;
//! only what a consumer gets while it is killed can be lost with it. Some messages are larger than their
//! queue.

use super::{Account, End, LIMIT, Law, Participant, Place};
use procession::{Bytes, GetError, GetManyError, PutError, PutManyError, Queue, ReadSlot, codec};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

const ACCOUNTS: [Account; QUEUES] = [Account::PutSmall, Account::PutLarge, Account::PutPlain];
const QUEUES: usize = 3;
/// The one whose messages are got, and not read.
const GOT: usize = 2;
/// An entry of a log that was in hand, and perhaps not taken yet.
const IN_HAND: u64 = 1 << 63;

/// How many are put or got at once.
pub const SEVERAL: usize = 3;

/// A message, as a word, and bytes that follow from it.
type Message = (u64, Vec<u8>);
/// How many bytes each of the queues has for messages.
const BYTES: [u64; QUEUES] = [2048, 65536, 2048];
/// What is larger than that.
const LARGER: [usize; QUEUES] = [3000, 70_000, 3000];
/// By queue and producer, the numbers found.
type Found = [BTreeMap<usize, BTreeSet<u64>>; QUEUES];

pub(super) struct Messages {
    queues: [Queue<Bytes>; QUEUES],
}

impl Messages {
    pub(super) fn new(place: &Place) -> Self {
        let queue = |bytes, capacity, name| {
            let options = Queue::options().namespace(&place.namespace).bytes(bytes).capacity(capacity);
            options.open_or_create(name).unwrap()
        };
        Self {
            queues: [queue(BYTES[0], 0, "small"), queue(BYTES[1], 9, "large"), queue(BYTES[2], 0, "plain")],
        }
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
        let messages: Vec<Bytes> = messages.iter().map(encoded).collect();
        who.begins(account, count as u64);
        let one = |outcome: Result<(), PutError>| outcome.map_err(|error| (0, error));
        let several =
            |outcome: Result<(), PutManyError>| outcome.map_err(|failed| (failed.put, failed.error));
        let outcome = match way {
            0 => several(queue.batch().try_put(&messages)),
            1 => several(queue.batch().put_timeout(&messages, LIMIT)),
            2 | 3 => one(queue.try_put(&messages[0])),
            4 => one(put_by_slot(queue, &messages[0])),
            _ => one(queue.put_timeout(&messages[0], LIMIT)),
        };
        match outcome {
            Ok(()) => who.acknowledges(account, count as u64),
            Err((put, PutError::WouldBlock(_) | PutError::TimedOut(_))) => {
                who.acknowledges(account, put as u64);
                who.gives_up(account, (count - put) as u64);
            }
            Err((_, error)) => who.breaks(&format!("putting: {error}")),
        }
    }

    fn get(&self, who: &mut Participant<'_>) {
        let queue = &self.queues[GOT];
        let way = who.dice.below(4);
        who.does(if way < 2 { "getting several" } else { "getting" });
        let one = |outcome: Result<Bytes, GetError>| outcome.map(|message| vec![message]);
        let several =
            |outcome: Result<Vec<Bytes>, GetManyError<Bytes>>| outcome.map_err(|failed| failed.error);
        let outcome = match way {
            0 => several(queue.batch().try_get(SEVERAL)),
            1 => several(queue.batch().get_timeout(SEVERAL, LIMIT)),
            2 => one(queue.try_get()),
            _ => one(queue.get_timeout(LIMIT)),
        };
        match outcome {
            Ok(messages) => messages.iter().map(decoded).for_each(|message| {
                note(who, message.0);
                expect_whole(who, &message);
            }),
            Err(GetError::WouldBlock(_) | GetError::TimedOut(_)) => {}
            Err(error) => who.breaks(&format!("getting: {error}")),
        }
    }

    fn read(&self, who: &mut Participant<'_>, which: usize) {
        who.does("reading");
        let queue = &self.queues[which];
        let outcome = match who.dice.below(8) {
            0 => look(who, queue),
            1..4 => queue.slots().try_read().and_then(|slot| take(who, slot)),
            _ => queue.slots().read_timeout(LIMIT).and_then(|slot| take(who, slot)),
        };
        match outcome {
            Ok(()) | Err(GetError::WouldBlock(_) | GetError::TimedOut(_)) => {}
            Err(error) => who.breaks(&format!("reading: {error}")),
        }
    }
}

/// The next entry of the log.
fn note(who: &Participant<'_>, entry: u64) {
    let diary = who.diary();
    let got = diary.got.load(Relaxed);
    diary.log[got as usize].store(entry, SeqCst);
    diary.got.store(got + 1, SeqCst);
}

/// Whoever is killed here has either taken it or not, and has said which one it is.
fn take(who: &mut Participant<'_>, mut slot: ReadSlot<'_>) -> Result<(), GetError> {
    who.does("taking");
    let mut bytes = Vec::new();
    slot.read_to_end(&mut bytes).unwrap();
    let message = decoded(&Bytes(bytes));
    expect_whole(who, &message);
    if who.dice.below(16) == 0 {
        return Ok(()); // It stays.
    }
    let diary = who.diary();
    let entry = diary.got.load(Relaxed);
    note(who, IN_HAND | message.0);
    if who.dice.below(4) == 0 {
        who.dawdle();
    }
    if let Err(error) = slot.commit() {
        diary.got.store(entry, SeqCst);
        return Err(error);
    }
    diary.log[entry as usize].store(message.0, SeqCst);
    Ok(())
}

fn expect_whole(who: &Participant<'_>, (word, bytes): &Message) {
    who.expects(*bytes == padding(*word), || format!("{word:x} came out other than it was put"));
}

/// As bytes, which slots can put and take, too.
fn encoded(message: &Message) -> Bytes {
    let mut bytes = Bytes::default();
    codec::encode(message, &mut bytes).unwrap();
    bytes
}

fn decoded(bytes: &Bytes) -> Message {
    codec::decode(bytes).unwrap()
}

fn put_by_slot(queue: &Queue<Bytes>, message: &Bytes) -> Result<(), PutError> {
    let mut slot = queue.slots().reserve_timeout(message.len(), LIMIT)?;
    slot.write_all(message).unwrap();
    slot.commit()
}

/// Looks at the first message, and leaves it.
fn look(who: &Participant<'_>, queue: &Queue<Bytes>) -> Result<(), GetError> {
    expect_whole(who, &decoded(&queue.peek()?));
    let mut bytes = Vec::new();
    queue.slots().try_read()?.read_to_end(&mut bytes).unwrap();
    Ok(())
}

fn pack(queue: usize, producer: usize, number: u64) -> u64 {
    (queue as u64) << 60 | (producer as u64) << 32 | number
}

/// Queue, producer and number of what [`pack`] packed.
fn unpack(word: u64) -> (usize, usize, u64) {
    ((word >> 60 & 3) as usize, (word >> 32 & 0xfff_ffff) as usize, word & 0xffff_ffff)
}

fn padding(word: u64) -> Vec<u8> {
    let mixed = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let len = match (mixed >> 54) % 16 {
        0 => LARGER[unpack(word).0],
        _ => (mixed >> 58) as usize,
    };
    vec![word as u8; len]
}

/// What was got, by everybody; and what was in hand when its holder was killed.
fn got(end: &End<'_>) -> (Found, Vec<u64>) {
    let mut found = Found::default();
    let mut in_hand = Vec::new();
    for me in 0..end.count {
        let diary = &end.diaries[me];
        let mut last: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        for index in 0..diary.got.load(Relaxed) as usize {
            let entry = diary.log[index].load(Relaxed);
            let (queue, producer, number) = unpack(entry);
            let before = last.insert((queue, producer), number);
            assert!(before.is_none_or(|before| before < number), "{me} got {number} of {producer} late");
            if entry & IN_HAND != 0 {
                assert!(end.was_killed(me), "{me} lives, and does not know whether it took {number}");
                in_hand.push(entry);
                continue;
            }
            let fresh = found[queue].entry(producer).or_default().insert(number);
            assert!(fresh, "message {number} of {producer} was got twice");
        }
    }
    (found, in_hand)
}

/// What is still in the queue comes after everything that was got, and in order.
fn drain(queue: &Queue<Bytes>, which: usize, found: &mut BTreeMap<usize, BTreeSet<u64>>) {
    let mut left = queue.len();
    loop {
        match queue.try_get() {
            Ok(message) => {
                let (word, bytes) = decoded(&message);
                assert_eq!(bytes, padding(word));
                let (queue, producer, number) = unpack(word);
                assert_eq!(queue, which);
                let got = found.entry(producer).or_default();
                let is_next = got.last().is_none_or(|&last| last < number);
                assert!(is_next, "{number} of {producer} is left behind");
                got.insert(number);
                left -= 1;
            }
            Err(GetError::WouldBlock(_)) => break,
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
        let which = who.dice.below(QUEUES as u64) as usize;
        match which {
            _ if who.dice.below(2) == 0 => self.put(who, which),
            GOT => self.get(who),
            _ => self.read(who, which),
        }
    }

    fn check(&self, end: &End<'_>) {
        let (mut found, in_hand) = got(end);
        for (which, queue) in self.queues.iter().enumerate() {
            drain(queue, which, &mut found[which]);
        }
        let mut taken = 0;
        for &entry in &in_hand {
            let (queue, producer, number) = unpack(entry);
            // One that was not taken was got by another, or is still there.
            taken += u64::from(found[queue].entry(producer).or_default().insert(number));
        }
        let lost: Vec<u64> = (0..QUEUES).map(|which| missing(end, ACCOUNTS[which], &found[which])).collect();
        assert_eq!(lost[..GOT], [0; GOT], "messages are lost that nobody had in hand");
        let (lost, along) = (lost[GOT], end.in_dead_hands);
        assert!(lost <= along, "{lost} messages are lost, and the killed had {along} in hand at most");
        crate::note(&format!(
            "chaos: {} messages were read and in the hands of the killed, who had taken {taken} of them; \
             {lost} went with those who were killed getting, at most {along}",
            in_hand.len()
        ));
    }

    fn unlink(&self) {
        self.queues.iter().for_each(|queue| queue.unlink().unwrap());
    }
}
