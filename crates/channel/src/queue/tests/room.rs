//! Who waits for room: a producer whose message is large starves for nobody, and wakes are passed on.

use super::queue;
use crate::codec::Bytes;
use crate::queue::{GetError, PutError, Queue};
use procession_sys::clock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Small messages take each bit of room as soon as it is there, and never leave a quarter of the ring.
#[test]
fn a_large_message_gets_in_among_small_ones() {
    let queue = queue::<Vec<u8>>(1 << 16, 0);
    let is_over = AtomicBool::new(false);
    let while_it_goes_on = |step: &(dyn Fn() + Sync)| {
        while !is_over.load(Ordering::Relaxed) {
            step();
        }
    };
    let short = Duration::from_millis(100);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| while_it_goes_on(&|| drop(queue.put_timeout(&vec![1; 8], short))));
        }
        scope.spawn(|| {
            while_it_goes_on(&|| {
                drop(queue.get_timeout(short));
                // Slower than those who put.
                let begin = std::time::Instant::now();
                while begin.elapsed() < Duration::from_micros(20) {}
            });
        });
        while queue.len() < 2700 {
            std::thread::yield_now();
        }
        let put = queue.put_timeout(&vec![2; 1 << 17], Duration::from_secs(20));
        is_over.store(true, Ordering::Relaxed);
        put.unwrap();
    });
    assert_eq!(queue.body.words.starving.load(Ordering::Relaxed), 0);
}

#[test]
fn what_said_that_it_starves_and_died_holds_nobody_up_for_long() {
    let queue = queue::<u8>(256, 0);
    let long_ago = clock::ms_of(clock::now_ns()) - 1000;
    queue.body.words.starving.store(long_ago | 1, Ordering::Relaxed);
    queue.put(&1).unwrap();
    assert_eq!(queue.body.words.starving.load(Ordering::Relaxed), 0);
}

/// How often somebody was called who waits for room.
fn calls(queue: &Queue<Vec<u8>>) -> u32 {
    queue.body.words.space.word().load(Ordering::Relaxed) >> 2
}

#[test]
fn producers_whose_messages_do_not_fit_do_not_wake_each_other_again_and_again() {
    let queue = queue::<Vec<u8>>(256, 0);
    queue.batch().put(vec![&vec![1; 1000]; 3]).unwrap();
    queue.put(&vec![2; 8]).unwrap();
    assert!(!queue.is_full());
    let before = calls(&queue);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let failed = queue.put_timeout(&vec![3; 1000], Duration::from_millis(300));
                assert!(matches!(failed, Err(PutError::TimedOut(_))), "{failed:?}");
            });
        }
    });
    // Some at the end of each slice.
    assert!(calls(&queue) - before < 1000, "{} calls for nothing", calls(&queue) - before);
}

#[test]
fn who_may_have_been_called_and_does_not_get_in_in_time_calls_another() {
    let queue = queue::<Bytes>(64, 2);
    let words = &queue.body.words;
    let soon = Duration::from_millis(5);
    let calls_another = |bell: &procession_sync::EventCount, tries: &(dyn Fn() + Sync)| {
        // As one who sleeps already.
        let listened = bell.listen();
        std::thread::scope(|scope| drop(scope.spawn(tries)));
        listened >> 2 != bell.word().load(Ordering::Relaxed) >> 2
    };
    let gets = || assert!(matches!(queue.get_timeout(soon), Err(GetError::TimedOut(_))));
    let puts = || assert!(matches!(queue.put_timeout(&[2][..], soon), Err(PutError::TimedOut(_))));

    let slot = queue.slots().reserve(1).unwrap();
    assert!(calls_another(&words.space, &puts));
    drop(slot);
    queue.put(&[1][..]).unwrap();
    let slot = queue.slots().read().unwrap();
    assert!(calls_another(&words.items, &gets));
    drop(slot);

    // There is nothing to be called for.
    queue.put(&[2][..]).unwrap();
    assert!(!calls_another(&words.space, &puts));
    assert_eq!(queue.batch().drain().unwrap(), [[1], [2]].map(|byte| Bytes::from(&byte[..])));
    assert!(!calls_another(&words.items, &gets));
}
