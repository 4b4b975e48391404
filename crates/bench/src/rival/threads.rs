//! Two threads of one process, which share everything: what processes cannot beat.

use crate::case::{Plan, Side};
use crate::error::{BenchError, Context, Result, check};
use crate::meeting::{Meets, Who, each_round};
use crate::sample::{calibrated, per_second};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// As many numbers as our pipe holds.
const ROOM: usize = 16 << 10;

/// crossbeam-channel: one thread sends numbers, another receives them; numbers per second.
pub(crate) fn crossbeam<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    one_way(plan, |count| {
        let (sender, receiver) = crossbeam_channel::bounded::<u64>(ROOM);
        carry(count, move |n| sender.send(n).context("send"), move || receiver.recv().context("recv"))
    })
}

/// rtrb, a ring for one producer and one consumer who never sleep: both spin.
pub(crate) fn rtrb<'a>(plan: &Plan<'_>) -> Result<Side<'a>> {
    one_way(plan, |count| {
        let (mut producer, mut consumer) = rtrb::RingBuffer::<u64>::new(ROOM);
        let put = move |n| {
            while producer.push(n).is_err() {
                std::hint::spin_loop();
            }
            Ok(())
        };
        let get = move || loop {
            if let Ok(n) = consumer.pop() {
                return Ok(n);
            }
            std::hint::spin_loop();
        };
        carry(count, put, get)
    })
}

fn one_way<'a>(plan: &Plan<'_>, carry: impl Fn(u64) -> Result<Duration> + 'a) -> Result<Side<'a>> {
    let count = calibrated(plan.round_time, &carry)?;
    Ok(Box::new(move || Ok(vec![per_second(carry(count)?, count)])))
}

fn carry(
    count: u64,
    mut put: impl FnMut(u64) -> Result<()>,
    mut get: impl FnMut() -> Result<u64> + Send,
) -> Result<Duration> {
    std::thread::scope(|scope| {
        let consumer =
            scope.spawn(move || (0..count).try_fold(0, |sum, _| Ok::<_, BenchError>(sum + get()?)));
        let started = Instant::now();
        (0..count).try_for_each(&mut put)?;
        let sum = consumer.join().unwrap_or(Ok(0))?;
        let took = started.elapsed();
        check("the sum of all numbers", sum, count * (count - 1) / 2)?;
        Ok(took)
    })
}

/// std's Mutex and Condvar: two threads wait for each other in turns; ns there and back.
pub(crate) fn condvar<'a>(plan: &'a Plan<'a>) -> Result<Side<'a>> {
    each_round(plan, || Ok(Turns::default()))
}

#[derive(Default)]
struct Turns {
    turn: Mutex<usize>,
    changed: Condvar,
}

impl Turns {
    fn meet_as(&self, me: Who, count: u64) {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..count {
            let waited = self.changed.wait_while(turn, |turn| *turn != me.index());
            turn = waited.unwrap_or_else(PoisonError::into_inner);
            *turn = me.other().index();
            self.changed.notify_one();
        }
    }
}

impl Meets for Turns {
    fn meet(&mut self, count: u64) -> Result<Duration> {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| self.meet_as(Who::Second, count));
            self.meet_as(Who::First, count);
        });
        Ok(begun.elapsed())
    }
}
