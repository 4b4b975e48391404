//! Semaphores and barriers.

use crate::hand::{Hand, heard, let_go, tried, used};
use crate::targets::Subject;
use procession::{Barrier, BoundedSemaphore, Semaphore};
use std::hint::black_box;

impl Subject for Semaphore {
    fn operate(&self, hand: &mut Hand<'_>) {
        let (what, time, count) = (hand.pick(9), hand.time(), hand.pick(5) as u32);
        match what {
            0 => hand.now("try_acquire"),
            1 => hand.now("acquire_timeout"),
            2 => hand.now("try_acquire_many"),
            3 | 4 => hand.now("acquire_many_timeout"),
            5..8 => {
                hand.plain("release");
                return tried(self.release(count as usize));
            }
            _ => {
                hand.look(self);
                return used((self.available(), self.max(), self.holders()));
            }
        }
        let permit = heard(match what {
            0 => self.try_acquire(),
            1 => self.acquire_timeout(time),
            2 => self.try_acquire_many(count as usize),
            _ => self.acquire_many_timeout(count as usize, time),
        });
        if hand.pick(3) == 0 {
            hand.meddle();
            hand.now("forget");
            return permit.into_iter().for_each(procession::Permit::forget);
        }
        let_go(hand, permit);
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}

impl Subject for BoundedSemaphore {
    fn operate(&self, hand: &mut Hand<'_>) {
        Subject::operate(&**self, hand);
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}

impl Subject for Barrier {
    fn operate(&self, hand: &mut Hand<'_>) {
        let time = hand.time();
        match hand.pick(7) {
            0 => {
                hand.now("wait_timeout");
                tried(self.wait_timeout(time));
            }
            1 => {
                let works = hand.pick(2) == 0;
                let action = move || if works { Ok(()) } else { Err("no".into()) };
                hand.now("wait_timeout with an action");
                tried(self.clone().with_action(action).wait_timeout(time));
            }
            2 | 3 => {
                hand.plain("join");
                let mut member = heard(self.join());
                hand.meddle();
                if let Some(member) = &mut member {
                    hand.now("wait_timeout of a member");
                    tried(member.wait_timeout(time));
                    hand.look(member);
                }
                let_go(hand, member);
            }
            4 => {
                hand.now("reset");
                tried(self.reset());
            }
            5 => {
                hand.now("abort");
                self.abort();
            }
            _ => {
                hand.look(self);
                black_box((self.parties(), self.n_waiting(), self.broken().is_some()));
            }
        }
    }

    fn unlink(&self) {
        self.unlink().unwrap();
    }
}
