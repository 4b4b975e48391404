//! iceoryx2: publish-subscribe of numbers, set up so that none is lost: a publisher that finds the
//! subscriber's buffer full waits. A subscriber only ever polls.

use crate::actor::Control;
use crate::error::{BenchError, Context, Result, check};
use crate::ours::Session;
use crate::queue::{self, Kind, Made};
use crate::roles;
use iceoryx2::prelude::*;
use std::time::{Duration, Instant};

pub(crate) const ICEORYX2: Kind = Kind {
    make,
    bytes: None,
    produce: "iceoryx2/produce",
    consume: "iceoryx2/consume",
    ping: "no such role",
    pong: "no such role",
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bench/iceoryx2");

fn make(session: &Session, _: &Kind, name: &str) -> Result<Made> {
    // Short: iceoryx2 makes paths of it, in which it stands twice, and which may have 255 bytes.
    let address = format!("{}-{}", std::process::id(), session.fresh_name(name));
    Ok(Made { _keep: Box::new(Broom(Place(address.clone()))), address })
}

/// The service at an address: messages of a type, so many of which wait at most.
macro_rules! service {
    ($node:expr, $address:expr, $message:ty, $room:expr) => {{
        let name = ServiceName::new($address).context("the name of a service")?;
        let builder = $node.service_builder(&name).publish_subscribe::<$message>();
        let builder = builder.enable_safe_overflow(false).subscriber_max_buffer_size($room);
        builder.max_publishers(1).max_subscribers(1).open_or_create().context("service")
    }};
}

/// Where the files of one service and its nodes are.
struct Place(String);

impl Place {
    fn root(&self) -> String {
        format!("{ROOT}/{}", self.0)
    }

    /// How the names of its segments begin.
    fn prefix(&self) -> String {
        format!("iox2_{}_", self.0)
    }
}

/// iceoryx2 leaves some of those files behind: when this is dropped, all go.
struct Broom(Place);

impl Drop for Broom {
    fn drop(&mut self) {
        // Nobody uses them any more; what cannot be removed stays.
        drop(std::fs::remove_dir_all(self.0.root()));
        let prefix = self.0.prefix();
        let segments = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
        for segment in segments.filter(|it| it.file_name().to_string_lossy().starts_with(&prefix)) {
            drop(std::fs::remove_file(segment.path()));
        }
    }
}

pub(crate) fn produce(control: &mut Control, rest: &[String]) -> Result<()> {
    let [address] = roles::rest(rest)?;
    let node = node(address)?;
    let service = service!(node, address, u64, queue::ROOM)?;
    let builder =
        service.publisher_builder().backpressure_strategy(BackpressureStrategy::RetryUntilDelivered);
    let publisher = builder.create().context("publisher")?;
    queue::produce(control, |message| {
        let subscribers = publisher.send_copy(message).context("send_copy")?;
        check("the number of subscribers", subscribers as u64, 1)
    })
}

pub(crate) fn consume(control: &mut Control, rest: &[String]) -> Result<()> {
    let [address] = roles::rest(rest)?;
    let node = node(address)?;
    let service = service!(node, address, u64, queue::ROOM)?;
    let subscriber = service.subscriber_builder().buffer_size(queue::ROOM).create().context("subscriber")?;
    control.answer(&format!("ready {address}"))?;
    queue::consume(control, || {
        loop {
            if let Some(sample) = subscriber.receive().context("receive")? {
                return Ok(*sample);
            }
            std::hint::spin_loop();
        }
    })
}

/// Bytes that are lent: the sender copies them into memory that the receiver reads in place.
pub(crate) const LOANS: Kind =
    Kind { produce: "iceoryx2/produce-loans", consume: "iceoryx2/consume-loans", ..ICEORYX2 }.of_bytes(8);

/// For how long a message is sent again until the subscriber has it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many messages of so many bytes wait at most: those of a mebibyte, and four at least.
fn room(bytes: usize) -> usize {
    ((1 << 20) / bytes.max(1)).clamp(4, queue::ROOM)
}

pub(crate) fn produce_loans(control: &mut Control, rest: &[String]) -> Result<()> {
    let (address, bytes) = queue::sized(rest)?;
    let node = node(address)?;
    let service = service!(node, address, [u8], room(bytes))?;
    let builder =
        service.publisher_builder().backpressure_strategy(BackpressureStrategy::RetryUntilDelivered);
    let publisher = builder.initial_max_slice_len(bytes).create().context("publisher")?;
    queue::produce_bytes(control, bytes, |message| {
        let begun = Instant::now();
        loop {
            let loan = publisher.loan_slice_uninit(message.len()).context("loan")?;
            if loan.write_from_slice(message).send().context("send")? == 1 {
                return Ok(());
            }
            // Now and then on a busy machine it sends to nobody, though the subscriber is there.
            if begun.elapsed() > PATIENCE {
                return Err(BenchError::Failed("nobody subscribes".to_owned()));
            }
            std::thread::yield_now();
        }
    })
}

pub(crate) fn consume_loans(control: &mut Control, rest: &[String]) -> Result<()> {
    let (address, bytes) = queue::sized(rest)?;
    let node = node(address)?;
    let service = service!(node, address, [u8], room(bytes))?;
    let subscriber = service.subscriber_builder().buffer_size(room(bytes)).create().context("subscriber")?;
    control.answer(&format!("ready {address}"))?;
    queue::consume(control, || {
        loop {
            if let Some(sample) = subscriber.receive().context("receive")? {
                check("the length of a message", sample.len() as u64, bytes as u64)?;
                return queue::number(&sample);
            }
            std::hint::spin_loop();
        }
    })
}

fn node(address: &str) -> Result<Node<ipc::Service>> {
    let place = Place(address.to_owned());
    std::fs::create_dir_all(place.root()).context("a directory for iceoryx2")?;
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    config.global.set_root_path(&Path::new(place.root().as_bytes()).map_err(strange)?);
    config.global.prefix = FileName::new(place.prefix().as_bytes()).map_err(strange)?;
    let builder = NodeBuilder::new().config(&config).signal_handling_mode(SignalHandlingMode::Disabled);
    builder.create::<ipc::Service>().context("node")
}

fn strange(error: SemanticStringError) -> BenchError {
    BenchError::Failed(format!("a name for iceoryx2: {error}"))
}
