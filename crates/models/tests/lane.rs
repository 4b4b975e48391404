//! Lane: what is written is read once, whole and in order, nobody is left asleep, and a death at any step is
//! survived.

mod exploring;

use exploring::{explore, explore_deaths, found_out};
use loom::thread;
use procession_models::kernel::{is_dead, until_killed};
use procession_models::memory::{attach, create};
use procession_models::{Kind, Object, OpenError, Parameter, Shape, Shared, crash_point};

/// The models of one implementation, which is a mutant's in the tests below.
macro_rules! models {
    ($world:path) => {
        use super::*;
        use world::lane::{Lane, LaneReader, LaneRings, LaneWriter};
        use $world as world;

        /// So many bytes has the ring: four words, of which a record of up to eight bytes takes two.
        const LEN: u32 = 32;
        /// And so many the larger one.
        const LARGER: u32 = 64;
        const WRITER: u32 = 1;
        const READER: u32 = 2;

        /// A lane and its bytes, as one process has them.
        struct Ring(Shared<Lane>, Option<(usize, u32)>);

        impl Object for Ring {
            type Body = Lane;
            /// Whether there is a larger ring.
            type Settings = bool;

            fn shape(is_double: &bool) -> Shape {
                let larger = Parameter { value: Self::later(is_double), ..Parameter::default() };
                let body_len = u64::from(LEN) + larger.value;
                Shape { kind: Kind::QUEUE, body_len, parameters: [larger; 4], element: None, codec: 0 }
            }

            fn later(is_double: &bool) -> u64 {
                if *is_double { LARGER.into() } else { 0 }
            }

            fn initialise(_: &Lane, _: &bool) {}

            fn forget_owners(_: &Lane) {}

            fn attach(body: Shared<Lane>) -> Result<Self, OpenError> {
                let is_double = body.segment().header().parameters[0] > 0;
                Ok(Self(body, is_double.then_some((LEN as usize, LARGER))))
            }
        }

        fn ring() -> Ring {
            create(&false).unwrap()
        }

        fn two_rings() -> Ring {
            create(&true).unwrap()
        }

        impl Ring {
            fn of_process(&self, slot: u32) -> Self {
                attach(self.0.segment(), slot)
            }

            fn rings(&self) -> LaneRings {
                LaneRings::new(0, LEN).with_larger(self.1)
            }

            fn writer(&self) -> Writer {
                let ring = self.of_process(WRITER);
                Writer { end: LaneWriter::new(ring.0.clone(), ring.rings()) }
            }

            fn reader(&self) -> Reader {
                let ring = self.of_process(READER);
                Reader { end: LaneReader::new(ring.0.clone(), ring.rings()) }
            }
        }

        struct Writer {
            end: LaneWriter,
        }

        impl Writer {
            /// Whether it was written before the reader was dead.
            fn write(&mut self, message: &[u8]) -> bool {
                if message.len() <= self.end.part() && self.end.try_write(message) {
                    self.end.notify_data();
                    return true;
                }
                self.end.enqueue(message.to_vec());
                loop {
                    if self.end.pump() {
                        self.end.notify_data();
                    }
                    if self.end.is_idle() || is_dead(READER) {
                        return self.end.is_idle();
                    }
                    crash_point("writer.waits");
                    self.end.await_room();
                }
            }

            fn write_all(&mut self, messages: &[&[u8]]) {
                messages.iter().for_each(|message| assert!(self.write(message)));
            }
        }

        struct Reader {
            end: LaneReader,
        }

        impl Reader {
            fn try_read(&mut self) -> Option<Vec<u8>> {
                let mut message = Vec::new();
                let is_whole = self.end.try_read(&mut message).unwrap();
                self.end.give_room();
                is_whole.then_some(message)
            }

            /// The next message, unless the writer is dead and there is none.
            fn read(&mut self) -> Option<Vec<u8>> {
                loop {
                    let is_last = is_dead(WRITER);
                    let message = self.try_read();
                    if message.is_some() || is_last {
                        return message;
                    }
                    self.end.await_data();
                }
            }
        }

        pub(super) fn in_order(messages: &'static [&'static [u8]]) {
            all_come(&ring(), messages);
        }

        pub(super) fn in_order_in_two_rings(messages: &'static [&'static [u8]]) {
            all_come(&two_rings(), messages);
        }

        fn all_come(ring: &Ring, messages: &'static [&'static [u8]]) {
            let mut writer = ring.writer();
            let writer = thread::spawn(move || writer.write_all(messages));
            let mut reader = ring.reader();
            for message in messages {
                assert_eq!(reader.read().unwrap(), *message, "messages");
            }
            writer.join().unwrap();
            assert!(reader.try_read().is_none());
        }

        /// A long message is begun and given up; another is written.
        pub(super) fn one_is_abandoned() {
            abandoned(&ring(), &[1; 20]);
        }

        pub(super) fn one_is_abandoned_in_two_rings() {
            abandoned(&two_rings(), &[1; 70]);
        }

        fn abandoned(ring: &Ring, long: &'static [u8]) {
            let (mut writer, mut reader) = (ring.writer(), ring.reader());
            let writer = thread::spawn(move || {
                let is_whole = writer.end.write_some(long);
                writer.end.abandon();
                assert!(writer.write(&[2]));
                is_whole
            });
            let mut message = reader.read().unwrap();
            let came_whole = message == long;
            if came_whole {
                message = reader.read().unwrap();
            }
            assert_eq!(message, [2], "messages");
            assert_eq!(writer.join().unwrap(), came_whole, "messages");
        }

        /// What was committed is read, and nothing else.
        pub(super) fn the_writer_dies_at(label: &'static str, message: &'static [u8]) -> bool {
            writer_dies_at(&ring(), label, message)
        }

        pub(super) fn the_writer_of_two_rings_dies_at(label: &'static str, message: &'static [u8]) -> bool {
            writer_dies_at(&two_rings(), label, message)
        }

        fn writer_dies_at(ring: &Ring, label: &'static str, message: &'static [u8]) -> bool {
            let (mut writer, mut reader) = (ring.writer(), ring.reader());
            let writer =
                thread::spawn(move || until_killed(WRITER, label, || writer.write_all(&[message, &[2]])));
            let messages: Vec<_> = std::iter::from_fn(|| reader.read()).take(2).collect();
            let died = writer.join().unwrap();
            let whole = [message, &[2]];
            assert!(
                whole.starts_with(&messages.iter().map(Vec::as_slice).collect::<Vec<_>>()),
                "messages: {messages:?}"
            );
            let counts = match label {
                _ if !died => 2..=2,
                "lane.written" | "lane.reserved" => 0..=0,
                "lane.committed" if message.len() > 8 => 0..=0,
                "lane.committed" => 1..=1,
                "writer.waits" => 0..=1,
                _ => 1..=2,
            };
            assert!(counts.contains(&messages.len()), "messages: {messages:?}");
            died
        }

        /// The writer is not left asleep, and what was not read is there for another reader.
        pub(super) fn the_reader_dies_at(label: &'static str) -> bool {
            let ring = ring();
            let (mut writer, mut reader) = (ring.writer(), ring.reader());
            let messages: [&[u8]; 4] = [&[1], &[2], &[3], &[4]];
            let writer =
                thread::spawn(move || messages.iter().take_while(|message| writer.write(message)).count());
            let mut got = 0;
            let died = until_killed(READER, label, || {
                for message in messages {
                    assert_eq!(reader.read().unwrap(), *message, "messages");
                    got += 1;
                }
            });
            let written = writer.join().unwrap();
            let mut other = ring.reader();
            let rest = std::iter::from_fn(|| other.try_read()).collect::<Vec<_>>().concat();
            let taken = written - rest.len();
            assert_eq!(rest, messages[taken..written].concat(), "messages");
            // Dead between taking it and saying so.
            let is_lost = usize::from(died && !matches!(label, "eventcount.listening" | "eventcount.slept"));
            assert_eq!(taken, got + is_lost, "messages");
            died
        }
    };
}

mod the_lane {
    models!(procession_models);
}

/// Two records fill the ring, the third waits, and the next one wraps.
const SHORT: &[&[u8]] = &[&[1; 8], &[2; 8], &[3; 8]];
/// Records whose bytes wrap.
const WRAPPING: &[&[u8]] = &[&[1; 3], &[2], &[3; 5], &[4; 8]];
/// In parts, which do not all fit at once, and a short one behind it.
const LONG: &[&[u8]] = &[&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17], &[2]];
/// The second is in the larger ring, and the last ones wrap there.
const MOVING: &[&[u8]] = &[&[1], &[2; 12], &[3; 16], &[4; 16]];
/// There is no room yet to say that the third will be in the larger ring.
const LATE: &[&[u8]] = &[&[1; 8], &[2; 8], &[3; 9]];

#[test]
fn what_is_written_is_read_in_order() {
    explore(3, || the_lane::in_order(&[&[1]]));
    explore(2, || the_lane::in_order(SHORT));
    explore(1, || the_lane::in_order(WRAPPING));
}

#[test]
fn a_long_message_comes_in_parts() {
    explore(1, || the_lane::in_order(LONG));
    explore(1, the_lane::one_is_abandoned);
}

#[test]
fn a_lane_moves_to_its_larger_ring() {
    explore(1, || the_lane::in_order_in_two_rings(MOVING));
    explore(1, || the_lane::in_order_in_two_rings(LATE));
    explore(1, || the_lane::in_order_in_two_rings(LONG));
    explore(1, the_lane::one_is_abandoned_in_two_rings);
}

#[test]
fn a_death_of_the_writer_is_survived() {
    let labels = ["lane.reserved", "lane.written", "lane.committed", "writer.waits"];
    explore_deaths(1, &labels, |label| the_lane::the_writer_of_two_rings_dies_at(label, &[1; 50]));
    let labels = ["lane.written", "lane.committed", "eventcount.called", "eventcount.woke"];
    explore_deaths(2, &labels, |label| the_lane::the_writer_dies_at(label, &[1]));
    let labels = ["lane.written", "lane.committed", "writer.waits"];
    explore_deaths(1, &labels, |label| the_lane::the_writer_dies_at(label, &[1; 20]));
}

#[test]
fn a_death_of_the_reader_is_survived() {
    let labels =
        ["lane.read", "eventcount.listening", "eventcount.slept", "eventcount.called", "eventcount.woke"];
    explore_deaths(1, &labels, the_lane::the_reader_dies_at);
}

found_out! {
    lane_that_commits_relaxed by in_order(&[&[1]]) up to 2: "Causality violation";
    lane_that_looks_relaxed by in_order(&[&[1]]) up to 2: "Causality violation";
    lane_that_gives_room_relaxed by in_order(SHORT) up to 2: "Causality violation";
    lane_that_looks_for_room_relaxed by in_order(SHORT) up to 2: "Causality violation";
    lane_that_commits_before_it_writes by the_writer_dies_at("lane.written", &[1]) up to 2: "messages";
    lane_that_gives_room_before_it_reads by in_order(SHORT) up to 2: "Causality violation";
    lane_that_has_too_much_room by in_order(SHORT) up to 2: "Causality violation";
    lane_whose_writer_does_not_fence by in_order(&[&[1]]) up to 3: "deadlock";
    lane_whose_reader_does_not_fence by in_order(SHORT) up to 3: "deadlock";
    lane_whose_writer_does_not_call by in_order(&[&[1]]) up to 2: "deadlock";
    lane_whose_reader_does_not_call by in_order(SHORT) up to 2: "deadlock";
    lane_that_takes_parts_for_a_message by in_order(LONG) up to 1: "messages";
    lane_that_does_not_retract by one_is_abandoned up to 1: "LaneCorrupt";
    lane_that_pumps_before_it_retracts by one_is_abandoned up to 1: "LaneCorrupt";
    lane_that_keeps_what_was_retracted by one_is_abandoned up to 1: "LaneCorrupt";
    lane_that_moves_before_it_reserves by in_order_in_two_rings(MOVING) up to 1: "no memory";
    lane_that_moves_silently by in_order_in_two_rings(MOVING) up to 1: "messages";
    lane_whose_reader_expects_one_ring by in_order_in_two_rings(MOVING) up to 1: "LaneCorrupt";
    lane_whose_reader_stays by in_order_in_two_rings(MOVING) up to 1: "messages";
}
