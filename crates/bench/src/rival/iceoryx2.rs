//! iceoryx2: publish-subscribe of numbers, set up so that none is lost: a publisher that finds the
//! subscriber's buffer full waits. A subscriber only ever polls.

use crate::actor::Control;
use crate::error::{BenchError, Context, Result, check};
use crate::ours::Session;
use crate::queue::{self, Kind, Made};
use crate::roles;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;

pub(crate) const ICEORYX2: Kind = Kind {
    make,
    produce: "iceoryx2/produce",
    consume: "iceoryx2/consume",
    ping: "no such role",
    pong: "no such role",
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bench/iceoryx2");

fn make(session: &Session, name: &str) -> Result<Made> {
    // Short: iceoryx2 makes paths of it, in which it stands twice, and which may have 255 bytes.
    let address = format!("{}-{}", std::process::id(), session.fresh_name(name));
    Ok(Made { _keep: Box::new(Broom(Place(address.clone()))), address })
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
    let (_node, service) = service(rest)?;
    let builder =
        service.publisher_builder().backpressure_strategy(BackpressureStrategy::RetryUntilDelivered);
    let publisher = builder.create().context("publisher")?;
    queue::produce(control, |message| {
        let subscribers = publisher.send_copy(message).context("send_copy")?;
        check("the number of subscribers", subscribers as u64, 1)
    })
}

pub(crate) fn consume(control: &mut Control, rest: &[String]) -> Result<()> {
    let (_node, service) = service(rest)?;
    let subscriber = service.subscriber_builder().buffer_size(queue::ROOM).create().context("subscriber")?;
    let [address] = roles::rest(rest)?;
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

/// The node lives as long as what is made of it.
type Service = PortFactory<ipc::Service, u64, ()>;

fn service(rest: &[String]) -> Result<(Node<ipc::Service>, Service)> {
    let [address] = roles::rest(rest)?;
    let place = Place(address.to_owned());
    std::fs::create_dir_all(place.root()).context("a directory for iceoryx2")?;
    set_log_level(LogLevel::Error);
    let mut config = Config::default();
    config.global.set_root_path(&Path::new(place.root().as_bytes()).map_err(strange)?);
    config.global.prefix = FileName::new(place.prefix().as_bytes()).map_err(strange)?;
    let builder = NodeBuilder::new().config(&config).signal_handling_mode(SignalHandlingMode::Disabled);
    let node = builder.create::<ipc::Service>().context("node")?;
    let name = ServiceName::new(address).context("the name of a service")?;
    let builder = node.service_builder(&name).publish_subscribe::<u64>().enable_safe_overflow(false);
    let builder = builder.subscriber_max_buffer_size(queue::ROOM).max_publishers(1).max_subscribers(1);
    let service = builder.open_or_create().context("service")?;
    Ok((node, service))
}

fn strange(error: SemanticStringError) -> BenchError {
    BenchError::Failed(format!("a name for iceoryx2: {error}"))
}
