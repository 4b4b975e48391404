//! The calls of a pool: in what order results come, what waits, and what becomes of what is not wanted.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]

use procession::{Event, Pool, TaskError};
use procession_tests::{Watchdog, isolate};
use std::cell::Cell;
use std::time::Duration;

procession::test_support!();

const SOON: Duration = Duration::from_millis(30);

fn pool(workers: usize) -> (Pool, Watchdog) {
    isolate();
    (Pool::new(workers).unwrap(), Watchdog::start())
}

fn power(base: u64, exponent: u32) -> u64 {
    base.pow(exponent)
}

/// Waits for the gate, unless it is the one that does not.
fn pass(gate: Event, n: u32) -> u32 {
    gate.wait().unwrap();
    n
}

#[test]
fn a_function_of_several_arguments_is_given_tuples() {
    let (pool, _dog) = pool(2);
    let squares: Vec<u64> = (0..1000).map(|n| n * n).collect();
    assert_eq!(pool.starmap(power, (0..1000).map(|n| (n, 2))).unwrap(), squares);
    assert_eq!(pool.starmap_async(power, (0..1000).map(|n| (n, 2))).get().unwrap(), squares);
    assert_eq!(pool.apply(power, (2, 10)).unwrap(), 1024);
    assert_eq!(pool.apply(|| 7, ()).unwrap(), 7);
    assert_eq!(pool.apply_async(power, (3, 2)).get().unwrap(), 9);
    assert_eq!(pool.apply_with(&10_u64, |state, n: u64| state + n, 5).unwrap(), 15);
}

#[test]
fn each_item_has_its_own_outcome() {
    let (pool, _dog) = pool(2);
    let work = |n: u32| match n % 10 {
        3 => panic!("{n} is bad"),
        7 => std::process::abort(),
        9 => std::process::exit(5),
        _ => n * 2,
    };
    let outcomes = pool.try_map(work, 0..40).unwrap();
    assert_eq!(outcomes.len(), 40);
    for (n, outcome) in outcomes.iter().enumerate() {
        match (n % 10, outcome) {
            (3, Err(TaskError::Panicked { item, message, .. })) => {
                assert_eq!((item.index, message.as_str()), (n, format!("{n} is bad").as_str()));
            }
            (7, Err(TaskError::WorkerDied { item, signal: libc::SIGABRT, .. })) => assert_eq!(item.index, n),
            (9, Err(TaskError::WorkerExited { item, code: 5, .. })) => assert_eq!(item.index, n),
            (0 | 1 | 2 | 4 | 5 | 6 | 8, Ok(result)) => assert_eq!(*result as usize, n * 2),
            other => panic!("{n}: {other:?}"),
        }
    }
    assert!(pool.try_map(work, []).unwrap().is_empty());
    // The last items, too, where they alone have no result.
    assert!(matches!(pool.try_map(work, [1, 3]).unwrap()[..], [Ok(2), Err(TaskError::Panicked { .. })]));
    pool.close();
    assert!(matches!(pool.try_map(work, 0..2), Err(TaskError::Closed)));
}

#[test]
fn what_cannot_be_encoded_is_the_outcome_of_its_item_alone() {
    #[derive(Clone, Copy, serde::Deserialize)]
    struct Picky(u8);

    impl serde::Serialize for Picky {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                13 => Err(serde::ser::Error::custom("13 is not written")),
                n => serializer.serialize_newtype_struct("Picky", &n),
            }
        }
    }
    let (pool, _dog) = pool(2);
    let outcomes = pool.try_map(|Picky(n)| n, [13, 1, 13, 13, 2, 13].map(Picky)).unwrap();
    let told: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().map_err(ToString::to_string)).collect();
    assert!(
        matches!(&told[..], [Err(a), Ok(1), Err(b), Err(_), Ok(2), Err(c)]
        if a.contains("item 0") && b.contains("item 2") && c.contains("item 5")),
        "{told:?}"
    );
}

#[test]
fn results_come_in_order_whoever_is_first() {
    let (pool, _dog) = pool(2);
    let gate = Event::new().unwrap();
    let wait_for_the_first = |gate: &Event, n: u32| {
        match n {
            0 => gate.wait().unwrap(),
            // The last that is let on its way beside the first.
            31 => gate.set(),
            _ => {}
        }
        n
    };
    let taken = Cell::new(0);
    let items = (0..).inspect(|_| taken.set(taken.get() + 1));
    let mut results = pool.imap_with(&gate, wait_for_the_first, items);
    assert_eq!(results.next().unwrap().unwrap(), 0);
    // 16 for each of the two workers, and one for the result that was asked for.
    assert!((32..=33).contains(&taken.get()), "{}", taken.get());
    for n in 1..500 {
        assert_eq!(results.next().unwrap().unwrap(), n);
        assert!(taken.get() <= n + 33, "{} were taken for {n}", taken.get());
    }
    drop(results);
    assert_eq!(pool.apply(|| 1, ()).unwrap(), 1);
}

#[test]
fn an_error_comes_in_the_place_of_its_result() {
    let (pool, _dog) = pool(3);
    let work = |n: u32| if n % 5 == 4 { std::process::abort() } else { n };
    let results: Vec<_> = pool.imap(work, 0..50).collect();
    assert_eq!(results.len(), 50);
    for (n, result) in results.iter().enumerate() {
        match result {
            Ok(result) => assert_eq!(*result as usize, n),
            Err(TaskError::WorkerDied { item, .. }) => assert_eq!((item.index, n % 5), (n, 4)),
            Err(other) => panic!("{n}: {other}"),
        }
    }
    assert_eq!(pool.imap(work, []).count(), 0);
    pool.close();
    let refused: Vec<_> = pool.imap(work, 0..3).collect();
    assert!(matches!(refused[..], [Err(TaskError::Closed), Err(TaskError::Closed), Err(TaskError::Closed)]));
}

#[test]
fn all_results_can_be_asked_for_later() {
    let (pool, _dog) = pool(2);
    let gate = Event::new().unwrap();
    let mut later = pool.starmap_async(pass, (0..20).map(|n| (gate.clone(), n)));
    let mut other = pool.map_async(|n: u32| n, 0..3);
    assert!(!later.is_ready() && later.is_successful().is_none());
    assert!(matches!(later.try_get(), Err(TaskError::WouldBlock { .. })));
    assert!(matches!(later.get_timeout(SOON), Err(TaskError::TimedOut { .. })));
    assert!(matches!(later.wait_timeout(SOON), Err(TaskError::TimedOut { .. })));
    gate.set();
    later.wait().unwrap();
    assert!(later.is_ready() && later.is_successful() == Some(true));
    assert!(later.get().unwrap().into_iter().eq(0..20));
    assert!(later.get().unwrap().into_iter().eq(0..20), "it stays");
    assert_eq!(other.get().unwrap(), [0, 1, 2]);
    let mut failed = pool.map_async(|n: u32| assert_ne!(n, 2, "two"), 0..5);
    failed.wait_timeout(Duration::MAX).unwrap();
    assert_eq!(failed.is_successful(), Some(false));
    assert!(matches!(failed.get(), Err(TaskError::Panicked { item, .. }) if item.index == 2));
    assert!(pool.map_async(|n: u32| n, []).get().unwrap().is_empty());
}

/// The handles in the items are nobody's in the caller, once it has given them away.
#[test]
fn items_whose_results_are_wanted_later_keep_their_handles() {
    let (pool, _dog) = pool(1);
    let first = Event::new().unwrap();
    let mut held = pool.apply_async(pass, (first.clone(), 0));
    let items = (0..3).map(|n| {
        let gate = Event::new().unwrap();
        gate.set();
        (gate, n)
    });
    let mut later = pool.starmap_async(pass, items);
    first.set();
    assert_eq!(held.get().unwrap(), 0);
    assert_eq!(later.get().unwrap(), [0, 1, 2]);
}

#[test]
fn what_no_worker_has_begun_can_be_cancelled() {
    let (pool, _dog) = pool(1);
    let (begun, gate) = (Event::new().unwrap(), Event::new().unwrap());
    let run = |begun: Event, gate: Event, n: u32| {
        begun.set();
        gate.wait().unwrap();
        n
    };
    let mut first = pool.apply_async(run, (begun.clone(), gate.clone(), 1));
    begun.wait().unwrap();
    let mut second = pool.apply_async(run, (begun.clone(), gate.clone(), 2));
    let mut many = pool.starmap_async(run, (0..100).map(|n| (begun.clone(), gate.clone(), n)));
    assert!(!first.cancel(), "it is being run");
    assert!(second.cancel() && many.cancel());
    assert!(!second.cancel(), "it is over");
    assert!(second.is_ready() && second.is_successful() == Some(false));
    assert!(matches!(second.get(), Err(TaskError::Cancelled)));
    assert!(matches!(many.get(), Err(TaskError::Cancelled)));
    gate.set();
    assert_eq!(first.get().unwrap(), 1);
    assert!(!first.cancel());
    assert_eq!(pool.apply(|| 3, ()).unwrap(), 3);
}
