//! Queues: messages one at a time between processes, and there and back.

use crate::actor::{Actor, Control};
use crate::case::{Plan, Side};
use crate::error::{BenchError, Context, Result, check};
use crate::ours::Session;
use crate::roles;
use crate::sample::{calibrated, calibrated_from, nanos_each, per_second};
use std::any::Any;
use std::time::{Duration, Instant};

/// How many numbers the queues of rivals that must be told hold: as many as a pipe of ours. With as many as a
/// queue of ours, four times that, iceoryx2 is much slower, and Boost not faster.
pub(crate) const ROOM: usize = 16 << 10;

/// Who is compared, as the roles that its processes play.
///
/// The receiving role is started first, with the address that `make` returned, and answers `ready` with the
/// address that the sending role is started with. Both are also told how long a message is, if that can be
/// chosen.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) make: fn(&Session, &Kind, &str) -> Result<Made>,
    /// How many bytes a message has, which begins with its number. `None`: it is a number.
    pub(crate) bytes: Option<usize>,
    pub(crate) produce: &'static str,
    pub(crate) consume: &'static str,
    pub(crate) ping: &'static str,
    pub(crate) pong: &'static str,
}

impl Kind {
    /// With messages of so many bytes: eight at least, for the number.
    pub(crate) const fn of_bytes(self, bytes: usize) -> Self {
        Kind { bytes: Some(bytes), ..self }
    }

    /// The size of a message, where the kind has one.
    pub(crate) fn size(&self) -> usize {
        self.bytes.unwrap_or(size_of::<u64>())
    }

    /// How many messages are tried first, to find out how many there is time for: not more than a few
    /// megabytes of them.
    fn least(&self) -> u64 {
        const TRIAL: usize = 4 << 20;
        (TRIAL / self.size()).clamp(1, 1_000) as u64
    }

    fn actor(&self, session: &Session, role: &str, address: &str) -> Result<Actor> {
        match self.bytes {
            Some(bytes) => Actor::role(session, role, &[address, &bytes.to_string()]),
            None => Actor::role(session, role, &[address]),
        }
    }
}

/// The address and the size of a message, from the arguments of a role of a [`Kind::of_bytes`].
pub(crate) fn sized(rest: &[String]) -> Result<(&str, usize)> {
    let [address, bytes] = roles::rest(rest)?;
    Ok((address, bytes.parse().context("the size of a message")?))
}

/// The number at the beginning of a message.
pub(crate) fn number(bytes: &[u8]) -> Result<u64> {
    let first = bytes.first_chunk().ok_or_else(|| BenchError::Failed("a short message".to_owned()))?;
    Ok(u64::from_le_bytes(*first))
}

/// As [`produce`], where a message is `bytes` long and begins with its number.
pub(crate) fn produce_bytes(
    control: &mut Control,
    bytes: usize,
    mut put: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![1; bytes.max(size_of::<u64>())];
    produce(control, |message| {
        buffer[..8].copy_from_slice(&message.to_le_bytes());
        put(&buffer)
    })
}

/// What the bench itself makes before it starts processes.
pub(crate) struct Made {
    pub(crate) address: String,
    /// Handles that have to live as long as the processes.
    pub(crate) _keep: Box<dyn Any>,
}

/// Producers put, consumers get, one message at a time; messages per second.
///
/// Every round has new processes, as in [`crate::lock::contended`].
pub(crate) fn throughput<'a>(
    plan: &'a Plan<'a>,
    kind: &Kind,
    producers: u64,
    consumers: u64,
) -> Result<Side<'a>> {
    let kind = *kind;
    let start = move || Line::start(plan, &kind, producers, consumers);
    let mut line = start()?;
    let carry = |count| line.carry(count).map(|(took, _)| took);
    let count = calibrated_from(kind.least(), plan.round_time, carry)?;
    drop(line);
    Ok(Box::new(move || {
        let mut line = start()?;
        line.carry((count / 10).max(1))?;
        let (took, count) = line.carry(count)?;
        Ok(vec![per_second(took, count)])
    }))
}

/// A queue with its processes, idle between rounds.
struct Line {
    producers: Vec<Actor>,
    consumers: Vec<Actor>,
    made: Made,
}

impl Line {
    fn start(plan: &Plan<'_>, kind: &Kind, producers: u64, consumers: u64) -> Result<Self> {
        let made = (kind.make)(plan.session, kind, &format!("queue-{producers}-{consumers}"))?;
        let mut line = Line { producers: Vec::new(), consumers: Vec::new(), made };
        let mut address = String::new();
        for _ in 0..consumers {
            let mut actor = kind.actor(plan.session, kind.consume, &line.made.address)?;
            address = actor.text("ready")?;
            line.consumers.push(actor);
        }
        for _ in 0..producers {
            line.producers.push(kind.actor(plan.session, kind.produce, &address)?);
        }
        Ok(line)
    }

    /// Carries at least `count` messages, each of them different; how long it took, and how many they were.
    fn carry(&mut self, count: u64) -> Result<(Duration, u64)> {
        let (producers, consumers) = (self.producers.len() as u64, self.consumers.len() as u64);
        let count = count.next_multiple_of(producers * consumers);
        let (put_each, get_each) = (count / producers, count / consumers);
        let started = Instant::now();
        for consumer in &mut self.consumers {
            consumer.tell(&format!("get {get_each}"))?;
        }
        for (producer, at) in self.producers.iter_mut().zip(0..) {
            producer.tell(&format!("put {} {put_each}", at * put_each))?;
        }
        // First, so that a producer that has failed is known before anybody waits for its messages.
        for producer in &mut self.producers {
            producer.numbers::<0>("done")?;
        }
        let (mut sum, mut disordered) = (0_u64, 0);
        for consumer in &mut self.consumers {
            let [part, late] = consumer.numbers("got")?;
            sum += part;
            disordered += late;
        }
        let took = started.elapsed();
        check("the sum of all messages", sum, count * (count - 1) / 2)?;
        if producers * consumers == 1 {
            check("messages out of order", disordered, 0)?;
        }
        Ok((took, count))
    }
}

/// The role that puts: the side supplies `put`.
pub(crate) fn produce(control: &mut Control, mut put: impl FnMut(u64) -> Result<()>) -> Result<()> {
    while let Some([first, count]) = control.order("put")? {
        for message in first..first + count {
            put(message)?;
        }
        control.answer("done")?;
    }
    Ok(())
}

/// The role that gets, once it has answered `ready`: the side supplies `get`.
pub(crate) fn consume(control: &mut Control, mut get: impl FnMut() -> Result<u64>) -> Result<()> {
    while let Some([count]) = control.order("get")? {
        let (mut sum, mut disordered, mut last) = (0_u64, 0_u64, None);
        for _ in 0..count {
            let message = get()?;
            sum += message;
            disordered += u64::from(last.replace(message) >= Some(message));
        }
        control.answer(&format!("got {sum} {disordered}"))?;
    }
    Ok(())
}

/// How many messages go at a time, where they go in batches.
const BATCH: usize = 64;

/// As [`produce`], a batch at a time: the side supplies `put_many`.
pub(crate) fn produce_batches(
    control: &mut Control,
    mut put_many: impl FnMut(&[u64]) -> Result<()>,
) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    while let Some([first, count]) = control.order("put")? {
        let mut messages = first..first + count;
        loop {
            batch.clear();
            batch.extend(messages.by_ref().take(BATCH));
            if batch.is_empty() {
                break;
            }
            put_many(&batch)?;
        }
        control.answer("done")?;
    }
    Ok(())
}

/// As [`consume`], at most a batch at a time: the side supplies `get_many(into, most)`, which waits for one
/// message.
pub(crate) fn consume_batches(
    control: &mut Control,
    mut get_many: impl FnMut(&mut Vec<u64>, usize) -> Result<()>,
) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    while let Some([count]) = control.order("get")? {
        let (mut sum, mut disordered, mut last, mut left) = (0_u64, 0_u64, None, count);
        while left > 0 {
            batch.clear();
            get_many(&mut batch, usize::try_from(left).map_or(BATCH, |left| left.min(BATCH)))?;
            for &message in &batch {
                sum += message;
                disordered += u64::from(last.replace(message) >= Some(message));
            }
            left -= batch.len() as u64;
        }
        control.answer(&format!("got {sum} {disordered}"))?;
    }
    Ok(())
}

/// Two processes send one number to and fro; ns per round trip.
///
/// Every round has new processes, as in [`crate::lock::contended`].
pub(crate) fn round_trip<'a>(plan: &'a Plan<'a>, kind: &'a Kind) -> Result<Side<'a>> {
    let start = move || Pair::start(plan, kind);
    let mut pair = start()?;
    let count = calibrated(plan.round_time, |count| pair.play(count))?;
    drop(pair);
    Ok(Box::new(move || {
        let mut pair = start()?;
        pair.play(count / 10)?;
        Ok(vec![nanos_each(pair.play(count)?, count)])
    }))
}

struct Pair {
    ping: Actor,
    pong: Actor,
    _made: Made,
}

impl Pair {
    fn start(plan: &Plan<'_>, kind: &Kind) -> Result<Self> {
        let made = (kind.make)(plan.session, kind, "round-trip")?;
        let mut pong = Actor::role(plan.session, kind.pong, &[&made.address])?;
        let address = pong.text("ready")?;
        let ping = Actor::role(plan.session, kind.ping, &[&address])?;
        Ok(Pair { ping, pong, _made: made })
    }

    fn play(&mut self, count: u64) -> Result<Duration> {
        self.pong.tell(&format!("echo {count}"))?;
        self.ping.tell(&format!("ping {count}"))?;
        let [took] = self.ping.numbers("took")?;
        self.pong.numbers::<0>("echoed")?;
        Ok(Duration::from_nanos(took))
    }
}

/// The role that sends first and counts the time.
pub(crate) fn ping(
    control: &mut Control,
    mut put: impl FnMut(u64) -> Result<()>,
    mut get: impl FnMut() -> Result<u64>,
) -> Result<()> {
    while let Some([count]) = control.order("ping")? {
        let started = Instant::now();
        for message in 0..count {
            put(message)?;
            check("the message that came back", get()?, message + 1)?;
        }
        control.answer(&format!("took {}", started.elapsed().as_nanos()))?;
    }
    Ok(())
}

/// The role that sends back one more than it got.
pub(crate) fn pong(
    control: &mut Control,
    mut get: impl FnMut() -> Result<u64>,
    mut put: impl FnMut(u64) -> Result<()>,
) -> Result<()> {
    while let Some([count]) = control.order("echo")? {
        for _ in 0..count {
            put(get()? + 1)?;
        }
        control.answer("echoed")?;
    }
    Ok(())
}

/// A side whose receiving role makes everything itself.
pub(crate) fn nothing_to_make(_: &Session, _: &Kind, _: &str) -> Result<Made> {
    Ok(Made { address: String::new(), _keep: Box::new(()) })
}
