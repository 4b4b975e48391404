//! Processes change the same values in every way there is, and are killed at random times: what was acknowledged is
//! there, what was not is there once or not at all, and nobody ever sees half of it.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]

use procession::{Array, LockError, Process, RawArray, Value};
use procession_tests::{Watchdog, note, until};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

procession::test_support!();

/// Values of one word are kept in another way around this number, and pass it in this test.
const ASIDE: u64 = 0xfff5_3a1e_d0c3_7b69;
const START: u64 = ASIDE - 5000;
const WORKERS: usize = 3;
const KILLS: u64 = 60;

/// Three objects to count in, and what was acknowledged of each.
type Counts = (Value<u64>, Value<[u64; 8]>, Array<u32>, RawArray<u64>);

/// Counts until it is killed.
fn count((word, wide, array, acknowledged): Counts) {
    let count = |n: usize| -> Result<(), LockError> {
        match n % 5 {
            0 => _ = word.fetch_add(1)?,
            1 => word.update(|n| *n += 1)?,
            2 => *word.acquire()? += 1,
            3 => {
                let mut seen = word.get()?;
                while let Err(now) = word.compare_exchange(seen, seen + 1)? {
                    seen = now;
                }
            }
            _ => {
                let mut seen = word.get()?;
                while seen != word.fetch_max(seen)? {
                    seen = word.get()?;
                }
                word.fetch_add(1)?;
            }
        }
        acknowledged.fetch_add(0, 1).unwrap();
        wide.update(|all| all.iter_mut().for_each(|n| *n += 1))?;
        acknowledged.fetch_add(1, 1).unwrap();
        array.update(10..90, |part| part.iter_mut().for_each(|n| *n += 1)).unwrap();
        acknowledged.fetch_add(2, 1).unwrap();
        Ok(())
    };
    (0..).try_for_each(count).unwrap();
}

#[test]
fn whoever_is_killed_has_counted_once_or_not_at_all() {
    let _watchdog = Watchdog::start();
    assert!(procession::Namespace::private().enter());
    let word = Value::options().initial(START).anonymous().unwrap();
    let wide: Value<[u64; 8]> = Value::anonymous().unwrap();
    let array: Array<u32> = Array::options().len(100).anonymous().unwrap();
    let acknowledged: RawArray<u64> = RawArray::options().len(3).anonymous().unwrap();
    let counts: Counts = (word.clone(), wide.clone(), array.clone(), acknowledged.clone());
    let start = || Process::spawn(count, counts.clone()).unwrap();

    let mut seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    note(&format!("seed {seed}"));
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let mut workers: Vec<Process<()>> = (0..WORKERS).map(|_| start()).collect();
    let mut last = START;
    for _ in 0..KILLS {
        let before = acknowledged.get(2).unwrap();
        until("the survivors go on", || acknowledged.get(2).unwrap() > before + 10);
        // From 1 µs to 4 ms.
        std::thread::sleep(Duration::from_nanos(1000 << (random() % 13)));
        let victim = workers.swap_remove(random() as usize % WORKERS);
        victim.kill().unwrap();
        let now = word.get().unwrap();
        assert!(now >= last, "{now:x} after {last:x}");
        last = now;
        let all = wide.get().unwrap();
        assert!(all.iter().all(|&n| n == all[0]), "{all:?}");
        let part = array.read(0..100).unwrap();
        let expected = |index: usize| if (10..90).contains(&index) { part[10] } else { 0 };
        assert!(part.iter().enumerate().all(|(index, &n)| n == expected(index)), "{part:?}");
        victim.wait().unwrap();
        workers.push(start());
    }
    for worker in workers {
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    let found = [word.get().unwrap() - START, wide.get().unwrap()[7], array.get(89).unwrap().into()];
    for (found, acknowledged) in found.into_iter().zip(acknowledged.read(0..3).unwrap()) {
        let most = acknowledged + KILLS + WORKERS as u64;
        assert!((acknowledged..=most).contains(&found), "{found} of {acknowledged} to {most}");
    }
    note(&format!("counted {found:?}"));
}
