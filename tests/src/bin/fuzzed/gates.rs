//! Events and latches.

use crate::hand::{Hand, tried, used};
use crate::targets::Subject;
use procession::{Event, Latch};
use std::hint::black_box;

impl Subject for Event {
    fn operate(&self, hand: &mut Hand<'_>) {
        let (what, time) = (hand.pick(6), hand.time());
        hand.now("an event");
        match what {
            0 => self.set(),
            1 => self.clear(),
            2 => self.pulse(),
            3 | 4 => tried(self.wait_timeout(time)),
            _ => hand.look(self),
        }
        black_box(self.is_set());
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}

impl Subject for Latch {
    fn operate(&self, hand: &mut Hand<'_>) {
        let (what, time) = (hand.pick(4), hand.time());
        hand.now("a latch");
        match what {
            0 => used(self.arrive()),
            1 | 2 => tried(self.wait_timeout(time)),
            _ => hand.look(self),
        }
        black_box((self.is_open(), self.arrived(), self.count()));
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}
