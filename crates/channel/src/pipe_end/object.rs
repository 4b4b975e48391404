//! The segment of a pipe: its words, what stands in its header, and where its rings lie.

use super::cell::EndCell;
use super::home::Home;
use crate::codec::Codec;
use crate::lane::Lane;
use procession_shm::{Element, HEADER_LEN, Kind, Object, OpenError, Parameter, Segment, Shape, Shared};
use procession_sys::shm_struct;

pub(crate) const MIN_BYTES: u32 = 64;
pub(crate) const MAX_BYTES: u32 = 1 << 31;

/// What a pipe is made of.
#[derive(Debug, Default)]
pub(crate) struct PipeSettings {
    pub(crate) bytes: u32,
    /// 0: there is no larger ring.
    pub(crate) larger: u32,
    pub(crate) both_ways: bool,
    pub(crate) codec: Codec,
    pub(crate) element: Option<Element>,
}

impl PipeSettings {
    pub(crate) fn lanes(&self) -> u64 {
        1 + u64::from(self.both_ways)
    }
}

shm_struct! {
    #[doc(hidden)]
    pub struct PipeBody {
        /// Each is written by the end of the same index; a one-way pipe uses the first alone.
        pub(super) lanes: [Lane; 2],
        pub(super) ends: [EndCell; 2],
        /// In which message the end of the same index travels.
        pub(super) homes: [Home; 2],
    }
}

/// Where the rings begin.
pub(crate) const RING_OFFSET: usize = size_of::<PipeBody>();

/// What both ends of a pipe are made of; never seen by users.
#[derive(Debug)]
pub(crate) struct PipeObject {
    pub(super) body: Shared<PipeBody>,
    pub(crate) both_ways: bool,
    pub(super) codec: Codec,
}

impl Object for PipeObject {
    const KIND: Kind = Kind::PIPE;
    type Body = PipeBody;
    type Settings = PipeSettings;

    fn shape(settings: &PipeSettings) -> Shape {
        let [bytes, larger] = [settings.bytes, settings.larger].map(u64::from);
        let parameter = |name, value| Parameter { name, value, asked: false };
        let parameters = [
            parameter("bytes", bytes),
            parameter("both_ways", settings.both_ways.into()),
            parameter("larger", larger),
            Parameter::default(),
        ];
        Shape {
            kind: Kind::PIPE,
            body_len: RING_OFFSET as u64 + (bytes + larger) * settings.lanes(),
            parameters,
            element: settings.element.clone(),
            codec: settings.codec.id(),
        }
    }

    fn later(settings: &PipeSettings) -> u64 {
        u64::from(settings.larger) * settings.lanes()
    }

    fn initialise(_: &PipeBody, _: &PipeSettings) {}

    fn forget_owners(body: &PipeBody) {
        // The dead of another registry: nobody is attached, so nobody will use the pipe.
        body.ends.iter().for_each(EndCell::forget_owner);
    }

    fn attach(body: Shared<PipeBody>) -> Result<Self, OpenError> {
        let segment = body.segment();
        let [bytes, both_ways, larger, _] = segment.header().parameters;
        let is_ring = |bytes: u64| {
            bytes.is_power_of_two() && (u64::from(MIN_BYTES)..=u64::from(MAX_BYTES)).contains(&bytes)
        };
        let fits = is_ring(bytes)
            && both_ways <= 1
            && (larger == 0 || is_ring(larger) && larger > bytes)
            && (HEADER_LEN + RING_OFFSET) as u64 + (bytes + larger) * (1 + both_ways)
                == segment.header().size;
        if !fits {
            return Err(segment.corrupt("it says an impossible number of bytes"));
        }
        let codec = Codec::of(segment)?;
        Ok(Self { both_ways: both_ways != 0, codec, body })
    }
}

impl AsRef<Segment> for PipeObject {
    fn as_ref(&self) -> &Segment {
        self.body.segment()
    }
}
