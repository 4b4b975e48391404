//! Queues, and the lanes between a pool and its workers.

use crate::hand::{Hand, heard, tried, used};
use crate::targets::Subject;
use procession::shm::Kind;
use procession::{JoinableQueue, Namespace, OpenError, Queue};
use procession_channel::{Lane, LaneReader, LaneRings, LaneWriter};
use procession_shm::{Object, Parameter, Placement, Shape, Shared, object};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::hint::black_box;
use std::io::{Read, Write};

/// What a queue of this type is given.
pub(crate) trait Message: Serialize + DeserializeOwned {
    fn of_len(len: usize) -> Self;
}

impl Message for (u64, Vec<u8>) {
    fn of_len(len: usize) -> Self {
        (len as u64, vec![1; len])
    }
}

impl Message for String {
    fn of_len(len: usize) -> Self {
        "x".repeat(len)
    }
}

impl<T: Message + 'static> Subject for Queue<T> {
    fn operate(&self, hand: &mut Hand<'_>) {
        let (what, time, len) = (hand.pick(18), hand.time(), hand.pick(1500) as usize);
        let message = T::of_len(len);
        hand.now("a queue");
        match what {
            0 | 1 => tried(self.try_put(&message)),
            2 => tried(self.put_timeout(&message, time)),
            3 | 4 => tried(self.try_get()),
            5 => tried(self.get_timeout(time)),
            6 => {
                hand.plain("close");
                tried(self.close());
            }
            7 => {
                // More than there can be, if the bytes are not changed meanwhile.
                for _ in 0..100 {
                    if heard(self.try_get()).is_none() {
                        break;
                    }
                }
            }
            8 => tried(self.batch().try_put([&message, &T::of_len(3), &message])),
            9 => tried(self.batch().put_timeout(vec![&T::of_len(len / 8); 6], time)),
            10 => tried(self.batch().get_timeout(1 + len % 7, time)),
            11 => tried(self.batch().drain()),
            12 => tried(self.peek()),
            13 => tried(self.bytes().get_into_timeout(&mut vec![0; len], time)),
            14 => {
                if let Some(mut slot) = heard(self.slots().reserve_timeout(len, time)) {
                    hand.meddle();
                    tried(slot.write_all(&vec![1; len - len / 8]));
                    tried(slot.commit());
                }
            }
            15 => {
                if let Some(mut slot) = heard(self.slots().read_timeout(time)) {
                    hand.meddle();
                    tried(slot.read_to_end(&mut Vec::new()));
                    // It is dropped when it is odd.
                    if len.is_multiple_of(2) {
                        tried(slot.commit());
                    }
                }
            }
            16 => {
                hand.plain("shutdown");
                tried(self.shutdown(true));
            }
            _ => hand.look(self),
        }
        black_box((self.len(), self.is_empty(), self.is_full(), self.is_closed(), self.capacity()));
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}

impl<T: Message + 'static> Subject for JoinableQueue<T> {
    fn operate(&self, hand: &mut Hand<'_>) {
        let (what, time, item) = (hand.pick(10), hand.time(), T::of_len(hand.pick(600) as usize));
        hand.now("a joinable queue");
        match what {
            0 | 1 => tried(self.try_put(&item)),
            2 => tried(self.put_timeout(&item, time)),
            3 | 4 => {
                if let Some(lease) = heard(self.try_get()) {
                    tried(lease.task_done());
                }
            }
            // The lease is dropped.
            5 => tried(self.get_timeout(time)),
            6 => {
                hand.plain("close");
                tried(self.close());
            }
            7 => tried(self.join_timeout(time)),
            8 => {
                hand.plain("dead letters");
                for letter in heard(self.dead_letters()).unwrap_or_default() {
                    tried(letter.item());
                    let is_odd = letter.attempts % 2 == 1;
                    tried(if is_odd { self.discard(&letter) } else { self.retry(&letter) });
                }
            }
            _ => hand.look(self),
        }
        black_box((self.len(), self.unfinished(), self.is_full(), self.is_closed(), self.capacity()));
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}

/// How many bytes the ring of a lane has.
const BYTES: u32 = 512;

/// A lane in a segment.
pub(crate) struct LaneObject(Shared<Lane>);

impl LaneObject {
    pub(crate) fn create(namespace: &Namespace) -> Result<Self, OpenError> {
        object::create(&(), &Self::place(namespace), "x")
    }

    pub(crate) fn open(namespace: &Namespace) -> Result<Self, OpenError> {
        object::open(&(), &Self::place(namespace), "x")
    }

    fn place(namespace: &Namespace) -> Placement {
        Placement { namespace: Some(namespace.clone()), ..Placement::default() }
    }
}

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

impl Subject for LaneObject {
    fn operate(&self, hand: &mut Hand<'_>) {
        let lane = &self.0;
        hand.now("the ends of a lane");
        let rings = LaneRings::new(size_of::<Lane>(), BYTES);
        let (mut writer, mut reader) =
            (LaneWriter::new(lane.clone(), rings), LaneReader::new(lane.clone(), rings));
        let mut message = Vec::new();
        for _ in 0..hand.pick(5) {
            hand.meddle();
            let (what, len) = (hand.pick(8), hand.pick(700) as usize);
            hand.now("a lane");
            match what {
                0 | 1 => used(writer.try_write(&vec![1; len % 200])),
                2 => writer.enqueue(vec![2; len]),
                3 => used(writer.pump()),
                4 => tried(reader.try_read(&mut message)),
                5 => used(reader.give_room()),
                // They last one slice, whatever the bytes say.
                6 => writer.await_room(),
                _ => reader.await_data(),
            }
            writer.notify_data();
            black_box(writer.is_idle());
        }
    }

    fn unlink(&self) {
        self.0.segment().namespace().unlink_segment(self.0.segment()).unwrap();
    }
}
