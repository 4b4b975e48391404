//! Our `Queue` of bytes: copied in and out, written and read in place, or as vectors through serde.

use super::Session;
use crate::actor::Control;
use crate::error::{Context, Result, check};
use crate::queue::{self, Kind, Made, number};
use procession::{Bytes, Queue};
use std::io::{Read, Write};

/// A queue as it is made when nothing is said of its size: large messages get files of their own.
pub(crate) const COPIED: Kind = Kind {
    make: |session, _, name| make(session, name, 0),
    bytes: Some(size_of::<u64>()),
    produce: "bytes/produce",
    consume: "bytes/consume",
    ping: "no such role",
    pong: "no such role",
};

/// How many messages at least the queue of [`SLOTS`] has room for.
const ROOM: u64 = 4;

/// A slot for each message, in a queue with room for some of them: the sender copies, the receiver reads the
/// message's number where it lies.
pub(crate) const SLOTS: Kind = Kind {
    make: |session, kind, name| make(session, name, ROOM * kind.size() as u64),
    produce: "slots/produce",
    consume: "slots/consume",
    ..COPIED
};

/// The same as a `Vec<u8>` through serde, in a queue as it is made when nothing is said of its size.
pub(crate) const VECS: Kind =
    Kind { make: make_of_vecs, produce: "vecs/produce", consume: "vecs/consume", ..COPIED };

fn make_of_vecs(session: &Session, _: &Kind, name: &str) -> Result<Made> {
    let name = session.fresh_name(name);
    let queue = create!(Queue::<Vec<u8>>, session, &name)?;
    Ok(Made { address: name, _keep: Box::new(queue) })
}

/// Not smaller than usual.
const USUAL_BYTES: u64 = 1 << 20;

fn make(session: &Session, name: &str, bytes: u64) -> Result<Made> {
    let name = session.fresh_name(name);
    let queue = create!(Queue::<Bytes>, session, &name, bytes(bytes.max(USUAL_BYTES)))?;
    Ok(Made { address: name, _keep: Box::new(queue) })
}

fn open(rest: &[String]) -> Result<(Queue<Bytes>, usize)> {
    let (address, size) = queue::sized(rest)?;
    Ok((Queue::open(address).context("open a queue")?, size))
}

fn ready(control: &mut Control, rest: &[String]) -> Result<()> {
    let (address, _) = queue::sized(rest)?;
    control.answer(&format!("ready {address}"))
}

pub(crate) fn produce(control: &mut Control, rest: &[String]) -> Result<()> {
    let (queue, size) = open(rest)?;
    queue::produce_bytes(control, size, |message| queue.bytes().put(message).context("put"))
}

pub(crate) fn consume(control: &mut Control, rest: &[String]) -> Result<()> {
    let (queue, size) = open(rest)?;
    ready(control, rest)?;
    let mut bytes = vec![0; size];
    queue::consume(control, || {
        let len = queue.bytes().get_into(&mut bytes).context("get_into")?;
        check("the length of a message", len as u64, size as u64)?;
        number(&bytes)
    })
}

pub(crate) fn produce_slots(control: &mut Control, rest: &[String]) -> Result<()> {
    let (queue, size) = open(rest)?;
    queue::produce_bytes(control, size, |message| {
        let mut slot = queue.slots().reserve(message.len()).context("reserve")?;
        slot.write_all(message).context("write into a slot")?;
        slot.commit().context("commit")
    })
}

pub(crate) fn consume_slots(control: &mut Control, rest: &[String]) -> Result<()> {
    let (queue, size) = open(rest)?;
    ready(control, rest)?;
    queue::consume(control, || {
        let mut slot = queue.slots().read().context("read")?;
        check("the length of a message", slot.len() as u64, size as u64)?;
        let mut first = [0; size_of::<u64>()];
        slot.read_exact(&mut first).context("read from a slot")?;
        slot.commit().context("commit")?;
        number(&first)
    })
}

pub(crate) fn produce_vecs(control: &mut Control, rest: &[String]) -> Result<()> {
    let (address, size) = queue::sized(rest)?;
    let queue: Queue<Vec<u8>> = Queue::open(address).context("open a queue")?;
    queue::produce_bytes(control, size, |message| queue.put(message).context("put"))
}

pub(crate) fn consume_vecs(control: &mut Control, rest: &[String]) -> Result<()> {
    let (address, size) = queue::sized(rest)?;
    let queue: Queue<Vec<u8>> = Queue::open(address).context("open a queue")?;
    ready(control, rest)?;
    queue::consume(control, || {
        let message = queue.get().context("get")?;
        check("the length of a message", message.len() as u64, size as u64)?;
        number(&message)
    })
}
