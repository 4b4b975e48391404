//! Our `Queue`.

use super::Session;
use crate::actor::Control;
use crate::error::{Context, Result};
use crate::queue::{self, Kind, Made};
use crate::roles;
use procession::Queue;

pub(crate) const OURS: Kind = Kind {
    make,
    bytes: None,
    produce: "ours/produce",
    consume: "ours/consume",
    ping: "ours/ping",
    pong: "ours/pong",
};

/// The same in batches.
pub(crate) const BATCHES: Kind =
    Kind { produce: "ours/produce-batches", consume: "ours/consume-batches", ..OURS };

/// Two queues, so that the same pair serves there and back.
fn make(session: &Session, _: &Kind, name: &str) -> Result<Made> {
    let name = session.fresh_name(name);
    let options = Queue::<u64>::options().namespace(session.namespace()).ephemeral();
    let there = options.create(&name).context("create a queue")?;
    let back = options.create(&back(&name)).context("create a queue")?;
    Ok(Made { address: name, _keep: Box::new((there, back)) })
}

pub(crate) fn produce(control: &mut Control, rest: &[String]) -> Result<()> {
    let [address] = roles::rest(rest)?;
    let queue = open(address)?;
    queue::produce(control, |message| queue.put(&message).context("put"))
}

pub(crate) fn consume(control: &mut Control, rest: &[String]) -> Result<()> {
    let [address] = roles::rest(rest)?;
    let queue = open(address)?;
    control.answer(&format!("ready {address}"))?;
    queue::consume(control, || queue.get().context("get"))
}

pub(crate) fn produce_batches(control: &mut Control, rest: &[String]) -> Result<()> {
    let [address] = roles::rest(rest)?;
    let queue = open(address)?;
    queue::produce_batches(control, |messages| queue.batch().put(messages).context("put_many"))
}

pub(crate) fn consume_batches(control: &mut Control, rest: &[String]) -> Result<()> {
    let [address] = roles::rest(rest)?;
    let queue = open(address)?;
    control.answer(&format!("ready {address}"))?;
    queue::consume_batches(control, |into, most| {
        *into = queue.batch().get(most).context("get_many")?;
        Ok(())
    })
}

pub(crate) fn ping(control: &mut Control, rest: &[String]) -> Result<()> {
    let [address] = roles::rest(rest)?;
    let (there, back) = (open(address)?, open(&back(address))?);
    queue::ping(control, |message| there.put(&message).context("put"), || back.get().context("get"))
}

pub(crate) fn pong(control: &mut Control, rest: &[String]) -> Result<()> {
    let [address] = roles::rest(rest)?;
    let (there, back) = (open(address)?, open(&back(address))?);
    control.answer(&format!("ready {address}"))?;
    queue::pong(control, || there.get().context("get"), |message| back.put(&message).context("put"))
}

fn back(name: &str) -> String {
    format!("{name}.back")
}

fn open(name: &str) -> Result<Queue<u64>> {
    Queue::open(name).context("open a queue")
}
