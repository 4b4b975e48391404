//! Commands about lanes, which have no object of their own: here they get one.

use crate::{Next, World, done, report};
use procession::OpenError;
use procession::shm::Kind;
use procession_channel::{Lane, LaneReader, LaneRings, LaneWriter};
use procession_shm::{Object, Parameter, Placement, Shape, Shared, object};
use std::convert::Infallible;

/// How many bytes the ring has.
const BYTES: u32 = 1024;

/// A lane in a segment.
struct LaneObject(Shared<Lane>);

impl Object for LaneObject {
    const KIND: Kind = Kind::POOL_WORKER;
    type Body = Lane;
    type Settings = ();

    fn shape((): &()) -> Shape {
        let body_len = (size_of::<Lane>() + BYTES as usize) as u64;
        let parameters = [Parameter::default(); 4];
        Shape { kind: Kind::POOL_WORKER, body_len, parameters, element: None, codec: 0 }
    }

    fn initialise(_: &Lane, (): &()) {}

    fn forget_owners(_: &Lane) {}

    fn attach(body: Shared<Lane>) -> Result<Self, OpenError> {
        Ok(Self(body))
    }
}

pub(crate) fn follow(_: &World, words: &[&str]) -> Option<Next> {
    let open = |name| object::open_or_create::<LaneObject>(&(), &Placement::default(), name);
    let rings = LaneRings::new(size_of::<Lane>(), BYTES);
    match *words {
        ["lane", name] => Some(report(&open(name).map(|_| ""))),
        ["lane_write", name, text] => {
            let LaneObject(body) = match open(name) {
                Ok(lane) => lane,
                Err(error) => return Some(report::<&str, _>(&Err(error))),
            };
            let mut writer = LaneWriter::new(body, rings);
            let written = writer.try_write(text.as_bytes());
            writer.notify_data();
            done(written)
        }
        ["lane_read", name] => {
            let LaneObject(body) = match open(name) {
                Ok(lane) => lane,
                Err(error) => return Some(report::<&str, _>(&Err(error))),
            };
            let mut reader = LaneReader::new(body, rings);
            let mut message = Vec::new();
            let found = reader.try_read(&mut message);
            reader.give_room();
            match found {
                Ok(true) => {
                    let text = String::from_utf8_lossy(&message).into_owned();
                    Some(report(&Ok::<_, Infallible>(text)))
                }
                Ok(false) => done("nothing"),
                Err(error) => Some(report::<&str, _>(&Err(error))),
            }
        }
        _ => None,
    }
}
