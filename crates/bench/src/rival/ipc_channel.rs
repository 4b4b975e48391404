//! ipc-channel: typed channels over Unix sockets. The receiving process makes the one-shot server.

use crate::actor::Control;
use crate::error::{Context, Result};
use crate::ours::pipe::MEBIBYTE;
use crate::queue::{self, Kind, nothing_to_make, number};
use crate::roles;
use ipc_channel::ipc::{self, IpcBytesReceiver, IpcOneShotServer, IpcReceiver, IpcSender};
use serde::Serialize;

pub(crate) const IPC_CHANNEL: Kind = Kind {
    make: nothing_to_make,
    bytes: None,
    produce: "ipc-channel/produce",
    consume: "ipc-channel/consume",
    ping: "ipc-channel/ping",
    pong: "ipc-channel/pong",
};

/// What the sending process sends first: the far ends of the channels that it has made.
type Numbers = IpcReceiver<u64>;
type ThereAndBack = (IpcReceiver<u64>, IpcSender<u64>);

pub(crate) fn produce(control: &mut Control, rest: &[String]) -> Result<()> {
    let [address] = roles::rest(rest)?;
    let (sender, receiver) = ipc::channel::<u64>().context("channel")?;
    connect::<Numbers>(address, receiver)?;
    queue::produce(control, |message| sender.send(message).context("send"))
}

pub(crate) fn consume(control: &mut Control) -> Result<()> {
    let (server, address) = IpcOneShotServer::<Numbers>::new().context("one-shot server")?;
    control.answer(&format!("ready {address}"))?;
    let (_, numbers) = server.accept().context("accept")?;
    queue::consume(control, || numbers.recv().context("recv"))
}

/// Each message is a mebibyte of bytes.
pub(crate) const BYTES: Kind =
    Kind { produce: "ipc-channel/produce-bytes", consume: "ipc-channel/consume-bytes", ..IPC_CHANNEL }
        .of_bytes(MEBIBYTE);

pub(crate) fn produce_bytes(control: &mut Control, rest: &[String]) -> Result<()> {
    let (address, size) = queue::sized(rest)?;
    let (sender, receiver) = ipc::bytes_channel().context("channel")?;
    connect::<IpcBytesReceiver>(address, receiver)?;
    queue::produce_bytes(control, size, |message| sender.send(message).context("send"))
}

pub(crate) fn consume_bytes(control: &mut Control) -> Result<()> {
    let (server, address) = IpcOneShotServer::<IpcBytesReceiver>::new().context("one-shot server")?;
    control.answer(&format!("ready {address}"))?;
    let (_, bytes) = server.accept().context("accept")?;
    queue::consume(control, || number(&bytes.recv().context("recv")?))
}

pub(crate) fn ping(control: &mut Control, rest: &[String]) -> Result<()> {
    let [address] = roles::rest(rest)?;
    let (there, far_receiver) = ipc::channel::<u64>().context("channel")?;
    let (far_sender, back) = ipc::channel::<u64>().context("channel")?;
    connect::<ThereAndBack>(address, (far_receiver, far_sender))?;
    queue::ping(control, |message| there.send(message).context("send"), || back.recv().context("recv"))
}

pub(crate) fn pong(control: &mut Control) -> Result<()> {
    let (server, address) = IpcOneShotServer::<ThereAndBack>::new().context("one-shot server")?;
    control.answer(&format!("ready {address}"))?;
    let (_, (there, back)) = server.accept().context("accept")?;
    queue::pong(control, || there.recv().context("recv"), |message| back.send(message).context("send"))
}

fn connect<T: Serialize>(address: &str, message: T) -> Result<()> {
    let sender = IpcSender::connect(address.to_owned()).context("connect")?;
    sender.send(message).context("send")
}
