//! Our pipes. The bench makes both ends and sends them to the processes in their arguments, as text.

use super::Session;
use crate::actor::Control;
use crate::case::{Plan, Side};
use crate::error::{BenchError, Context, Result, check};
use crate::meeting::{Meeting, Who};
use crate::queue::{self, Kind, Made, number};
use crate::roles;
use procession::{Bytes, Connection, Crossing, Pipe, PipeOptions, Process, Receiver, Sender, codec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::OnceCell;
use std::time::Instant;

pub(crate) const NUMBERS: Kind = Kind {
    make: one_way::<u64>,
    bytes: None,
    produce: "pipe/produce",
    consume: "pipe/consume",
    ping: "pipe/ping",
    pong: "pipe/pong",
};

/// There and back.
pub(crate) const BOTH_WAYS: Kind = Kind { make: both_ways, ..NUMBERS };

/// A number and the rest of a mebibyte, by `send_bytes`.
pub(crate) const BYTES: Kind =
    Kind { make: one_way::<Bytes>, produce: "pipe/produce-bytes", consume: "pipe/consume-bytes", ..NUMBERS }
        .of_bytes(MEBIBYTE);

/// The same through a pipe that stays in its small ring.
pub(crate) const SMALL: Kind = Kind { make: small, ..BYTES };

/// The same as a `Vec<u8>` through serde.
pub(crate) const VECS: Kind =
    Kind { make: one_way::<Vec<u8>>, produce: "pipe/produce-vecs", consume: "pipe/consume-vecs", ..NUMBERS }
        .of_bytes(MEBIBYTE);

pub(crate) const MEBIBYTE: usize = 1 << 20;

fn one_way<T: Crossing + 'static>(session: &Session, _: &Kind, _: &str) -> Result<Made> {
    of_options::<T>(Pipe::options().namespace(session.namespace()))
}

fn small(session: &Session, _: &Kind, _: &str) -> Result<Made> {
    of_options::<Bytes>(Pipe::options().namespace(session.namespace()).bytes(256 << 10))
}

fn of_options<T: Crossing + 'static>(options: PipeOptions) -> Result<Made> {
    let (sender, receiver) = options.pipe::<T>().context("make a pipe")?;
    let address = format!("{}/{}", text(&receiver)?, text(&sender)?);
    Ok(Made { address, _keep: Box::new((receiver, sender)) })
}

fn both_ways(session: &Session, _: &Kind, _: &str) -> Result<Made> {
    let made = Pipe::options().namespace(session.namespace()).duplex::<u64, u64>();
    let (pong, ping) = made.context("make a pipe")?;
    let address = format!("{}/{}", text(&pong)?, text(&ping)?);
    Ok(Made { address, _keep: Box::new((pong, ping)) })
}

fn text(end: &impl Serialize) -> Result<String> {
    let mut bytes = Vec::new();
    codec::encode(end, &mut bytes).context("send an end")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// One of the two ends in the only argument.
fn end<E: DeserializeOwned>(rest: &[String], which: usize) -> Result<E> {
    let [address] = roles::rest(rest)?;
    at(address, which)
}

fn at<E: DeserializeOwned>(address: &str, which: usize) -> Result<E> {
    let text = address.split('/').nth(which).unwrap_or_default();
    let digits = text.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    let bytes: Vec<u8> = digits.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect();
    codec::decode(&bytes).context("get an end")
}

fn ready(control: &mut Control, rest: &[String]) -> Result<()> {
    let address = rest.first().map_or("", String::as_str);
    control.answer(&format!("ready {address}"))
}

pub(crate) fn produce(control: &mut Control, rest: &[String]) -> Result<()> {
    let sender: Sender<u64> = end(rest, 1)?;
    queue::produce(control, |message| sender.send(&message).context("send"))
}

pub(crate) fn consume(control: &mut Control, rest: &[String]) -> Result<()> {
    let receiver: Receiver<u64> = end(rest, 0)?;
    ready(control, rest)?;
    queue::consume(control, || receiver.recv().context("recv"))
}

pub(crate) fn produce_bytes(control: &mut Control, rest: &[String]) -> Result<()> {
    let (address, size) = queue::sized(rest)?;
    let sender: Sender<Bytes> = at(address, 1)?;
    queue::produce_bytes(control, size, |message| sender.send_bytes(message).context("send_bytes"))
}

pub(crate) fn consume_bytes(control: &mut Control, rest: &[String]) -> Result<()> {
    let (address, size) = queue::sized(rest)?;
    let receiver: Receiver<Bytes> = at(address, 0)?;
    ready(control, rest)?;
    let mut bytes = vec![0; size];
    queue::consume(control, || {
        let len = receiver.recv_bytes_into(&mut bytes).context("recv_bytes_into")?;
        check("the length of a message", len as u64, size as u64)?;
        number(&bytes)
    })
}

pub(crate) fn produce_vecs(control: &mut Control, rest: &[String]) -> Result<()> {
    let (address, size) = queue::sized(rest)?;
    let sender: Sender<Vec<u8>> = at(address, 1)?;
    queue::produce_bytes(control, size, |message| sender.send(message).context("send"))
}

pub(crate) fn consume_vecs(control: &mut Control, rest: &[String]) -> Result<()> {
    let (address, _) = queue::sized(rest)?;
    let receiver: Receiver<Vec<u8>> = at(address, 0)?;
    ready(control, rest)?;
    queue::consume(control, || number(&receiver.recv().context("recv")?))
}

pub(crate) fn ping(control: &mut Control, rest: &[String]) -> Result<()> {
    let end: Connection<u64, u64> = end(rest, 1)?;
    queue::ping(control, |message| end.send(&message).context("send"), || end.recv().context("recv"))
}

pub(crate) fn pong(control: &mut Control, rest: &[String]) -> Result<()> {
    let end: Connection<u64, u64> = end(rest, 0)?;
    ready(control, rest)?;
    queue::pong(control, || end.recv().context("recv"), |message| end.send(&message).context("send"))
}

/// A message to let the other one go on.
pub(crate) struct Pipes {
    address: String,
    end: OnceCell<Connection<u64, u64>>,
    _made: Option<Made>,
}

impl Pipes {
    fn end(&self, me: Who) -> Result<&Connection<u64, u64>> {
        if self.end.get().is_none() {
            drop(self.end.set(at(&self.address, me.index())?));
        }
        self.end.get().ok_or_else(|| BenchError::Failed("no end".to_owned()))
    }
}

impl Meeting for Pipes {
    const ROLE: &'static str = "ours/pipes";

    fn create(session: &Session) -> Result<Self> {
        let made = both_ways(session, &BOTH_WAYS, "")?;
        Ok(Pipes { address: made.address.clone(), end: OnceCell::new(), _made: Some(made) })
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    fn open(address: &str) -> Result<Self> {
        Ok(Pipes { address: address.to_owned(), end: OnceCell::new(), _made: None })
    }

    fn signal(&self, me: Who) -> Result<()> {
        self.end(me)?.send(&1).context("send")
    }

    fn wait(&self, me: Who) -> Result<()> {
        self.end(me)?.recv().map(drop).context("recv")
    }
}

/// What the demo's two processes say: a number, or that it was the last; and back how many there were, and
/// their sum.
type Far = Connection<(u64, u64), Option<u64>>;
type Near = Connection<Option<u64>, (u64, u64)>;

/// The demo `pipe`: so many integers one way, then the sum back; ms.
pub(crate) fn demo<'a>(plan: &Plan<'a>, count: u64) -> Result<Side<'a>> {
    let made = Pipe::options().namespace(plan.session.namespace()).duplex();
    let (near, far): (Near, Far) = made.context("make a pipe")?;
    let reader = Process::spawn(add_up, far).context("start a reader")?;
    near.recv().context("the reader is there")?;
    Ok(Box::new(move || {
        check("the reader", u64::from(reader.is_alive()), 1)?;
        let started = Instant::now();
        (0..count).try_for_each(|n| near.send(&Some(n))).context("send")?;
        near.send(&None).context("send")?;
        let (received, sum) = near.recv().context("recv")?;
        let took = started.elapsed();
        check("how many were received", received, count)?;
        check("their sum", sum, count * (count - 1) / 2)?;
        Ok(vec![took.as_secs_f64() * 1e3])
    }))
}

/// The reader, again and again until the other side is closed.
fn add_up(far: Far) -> u64 {
    let mut rounds = 0;
    let mut answer = (0, 0);
    while far.send(&answer).is_ok() {
        answer = (0, 0);
        while let Ok(Some(n)) = far.recv() {
            answer = (answer.0 + 1, answer.1 + n);
        }
        rounds += 1;
    }
    rounds
}
