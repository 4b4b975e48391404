//! What is held: Lock, RLock, RwLock, Once, and the Condition that lets go of them.

use crate::hand::{Hand, heard, let_go, tried, used};
use crate::targets::Subject;
use procession::{Condition, Lock, Monitor, Once, RLock, RwLock, Value};
use std::hint::black_box;

impl Subject for Lock {
    fn operate(&self, hand: &mut Hand<'_>) {
        let (what, time) = (hand.pick(6), hand.time());
        match what {
            0 => hand.now("try_acquire"),
            1 => hand.now("acquire_timeout"),
            2 => hand.now("recover_timeout"),
            3 => hand.plain("acquire"),
            4 => hand.plain("recover"),
            _ => return look(self, hand, || black_box((self.is_inconsistent(), self.holder().is_some()))),
        }
        let guard = heard(match what {
            0 => self.try_acquire(),
            1 => self.acquire_timeout(time),
            2 => self.recover_timeout(time),
            3 => self.acquire(),
            _ => self.recover(),
        });
        let_go(hand, guard);
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}

/// Looks, as people do, and asks about it.
fn look<T>(at: &impl std::fmt::Debug, hand: &Hand<'_>, ask: impl FnOnce() -> T) {
    hand.look(at);
    hand.now("asking");
    drop(ask());
}

impl Subject for RLock {
    fn operate(&self, hand: &mut Hand<'_>) {
        let (what, time) = (hand.pick(6), hand.time());
        match what {
            0 => hand.now("try_acquire"),
            1 => hand.now("acquire_timeout"),
            2 => hand.now("recover_timeout"),
            3 => hand.plain("acquire"),
            4 => hand.plain("recover"),
            _ => return look(self, hand, || black_box((self.is_inconsistent(), self.holder().is_some()))),
        }
        let guard = heard(match what {
            0 => self.try_acquire(),
            1 => self.acquire_timeout(time),
            2 => self.recover_timeout(time),
            3 => self.acquire(),
            _ => self.recover(),
        });
        hand.meddle();
        hand.now("try_acquire again");
        let deeper = heard(self.try_acquire());
        if let Some(deeper) = &deeper {
            black_box((deeper.depth(), deeper.recovers()));
        }
        let_go(hand, deeper);
        let_go(hand, guard);
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}

impl Subject for RwLock {
    fn operate(&self, hand: &mut Hand<'_>) {
        let (what, time) = (hand.pick(10), hand.time());
        match what {
            0 => hand.now("try_read"),
            1 => hand.now("read_timeout"),
            2 => hand.plain("read"),
            3 => hand.now("try_write"),
            4 | 5 => hand.now("write_timeout"),
            6 => hand.plain("write"),
            7 => hand.now("recover_timeout"),
            8 => hand.plain("recover"),
            _ => return look(self, hand, || (self.is_inconsistent(), self.readers(), self.writer())),
        }
        if what < 3 {
            let guard = heard(match what {
                0 => self.try_read(),
                1 => self.read_timeout(time),
                _ => self.read(),
            });
            hand.meddle();
            hand.now("try_read again");
            let deeper = heard(self.try_read());
            let_go(hand, deeper);
            return let_go(hand, guard);
        }
        let guard = heard(match what {
            3 => self.try_write(),
            4 | 5 => self.write_timeout(time),
            6 => self.write(),
            7 => self.recover_timeout(time),
            _ => self.recover(),
        });
        if hand.pick(2) == 0 {
            return let_go(hand, guard);
        }
        hand.meddle();
        hand.plain("downgrade");
        let reading = guard.and_then(|guard| heard(guard.downgrade()));
        let_go(hand, reading);
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}

impl Subject for Once {
    fn operate(&self, hand: &mut Hand<'_>) {
        let time = hand.time();
        match hand.pick(4) {
            0 => {
                hand.now("run_timeout");
                tried(self.run_timeout(used, time));
            }
            1 => {
                hand.plain("run");
                tried(self.run(|_| {
                    hand.meddle();
                    hand.now("run, afterwards");
                }));
            }
            2 => {
                hand.plain("run_fallible");
                tried(self.run_fallible(|_| Err::<(), _>("no")));
            }
            _ => look(self, hand, || self.is_done()),
        }
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}

impl Subject for Condition {
    fn operate(&self, hand: &mut Hand<'_>) {
        match hand.pick(5) {
            0 => {
                let (lock, time) =
                    (Lock::options().namespace(hand.namespace).anonymous().unwrap(), hand.time());
                hand.now("wait_timeout with a Lock");
                tried(self.wait_timeout(lock.acquire().unwrap(), time));
            }
            1 => {
                let lock = RLock::options().namespace(hand.namespace).anonymous().unwrap();
                let _outer = lock.acquire().unwrap();
                wait_for(self, lock.acquire().unwrap(), hand);
            }
            2 => {
                let value = Value::<u64>::options().namespace(hand.namespace).anonymous().unwrap();
                wait_for(self, value.acquire().unwrap(), hand);
            }
            3 => {
                let count = hand.pick(70);
                hand.now("notify");
                self.notify(count as usize);
                hand.now("notify_all");
                self.notify_all();
            }
            _ => look(self, hand, || self.waiters()),
        }
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}

fn wait_for<G: Monitor>(condition: &Condition, guard: G, hand: &mut Hand<'_>) {
    let (time, mut looks) = (hand.time(), hand.pick(4));
    hand.now("wait_for_timeout");
    let holds = |_: &G::Guarded| {
        looks = looks.wrapping_sub(1);
        hand.meddle();
        looks == 0
    };
    tried(condition.wait_for_timeout(guard, time, holds));
}
