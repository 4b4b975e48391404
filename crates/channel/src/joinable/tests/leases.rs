//! Leases that are extended, given up and put back, and decided about by whoever has their tokens; batches; what others
//! see.

use super::{SHORT, options, queue};
use crate::codec::EncodeError;
use crate::queue::{PutError, PutManyError};
use crate::{AckError, Codec, Encoded, JoinableQueue, LeaseToken, Queue};
use procession_shm::Namespace;
use procession_sync::{WaitAnyError, wait, wait_timeout};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(1000);

#[test]
fn a_lease_that_is_extended_outlasts_the_timeout_and_one_that_is_shortened_does_not() {
    let queue = options::<u32>().lease_timeout(Duration::from_millis(2)).anonymous().unwrap();
    queue.put(&1).unwrap();
    let lease = queue.get().unwrap();
    lease.extend(LONG).unwrap();
    std::thread::sleep(SHORT);
    assert!(queue.get_timeout(Duration::from_millis(150)).is_err());
    assert!(lease.is_valid() && lease.time_left().is_some_and(|left| left > LONG / 2));
    lease.extend(Duration::MAX).unwrap();
    assert_eq!(lease.time_left(), None);
    lease.extend(Duration::ZERO).unwrap();
    let new = queue.get().unwrap();
    assert_eq!((new.attempt(), new.id(), lease.is_valid()), (2, lease.id(), false));
    assert_eq!(lease.time_left(), Some(Duration::ZERO));
    assert!(matches!(lease.extend(LONG), Err(AckError::StaleLease { attempt: 1, .. })));
    // A queue without a timeout has leases with one, too.
    let queue = super::queue::<u32>(1024);
    queue.put(&1).unwrap();
    let lease = queue.get().unwrap();
    assert_eq!(lease.time_left(), None);
    lease.extend(SHORT).unwrap();
    assert_eq!(queue.get().unwrap().attempt(), 2);
}

#[test]
fn what_is_given_up_is_dead_and_what_is_put_back_was_not_tried() {
    let queue = options::<u32>().max_attempts(2).anonymous().unwrap();
    queue.put(&1).unwrap();
    queue.put(&2).unwrap();
    for _ in 0..5 {
        let lease = queue.get().unwrap();
        assert_eq!((*lease, lease.attempt()), (1, 1));
        lease.put_back().unwrap();
    }
    let lease = queue.get().unwrap();
    let id = lease.id();
    lease.give_up().unwrap();
    assert_eq!((queue.n_dead(), queue.len(), queue.unfinished()), (1, 1, 1));
    let letters = queue.dead_letters().unwrap();
    assert_eq!((letters[0].id, letters[0].attempts), (id, 1));
    let lease = queue.get().unwrap();
    queue.redeem(lease.token()).give_up().unwrap();
    assert!(matches!(lease.give_up(), Err(AckError::StaleLease { .. })));
    assert_eq!(queue.n_dead(), 2);
}

#[test]
fn whoever_has_the_token_decides_once() {
    let queue = options::<u32>().max_attempts(3).anonymous().unwrap();
    queue.put(&1).unwrap();
    let lease = queue.get().unwrap();
    let token = lease.token();
    assert_eq!((token.id(), LeaseToken::new(token.id(), token.key())), (lease.id(), token));
    let stale = |token| {
        let refused = queue.redeem(token).task_done();
        assert!(matches!(refused, Err(AckError::StaleToken { id, .. }) if id == token.id()), "{refused:?}");
    };
    stale(LeaseToken::new(token.id(), token.key() ^ 1));
    stale(LeaseToken::new(token.id() + 1, token.key()));
    queue.redeem(token).extend(LONG).unwrap();
    assert!(lease.time_left().is_some());
    queue.redeem(token).give_back().unwrap();
    stale(token);
    let again = queue.get().unwrap();
    assert!(again.attempt() == 2 && again.token() != token);
    stale(token);
    // Nothing is given back by who comes too late.
    drop(lease);
    assert_eq!(queue.len(), 0);
    queue.redeem(again.token()).task_done().unwrap();
    assert!(matches!(again.task_done(), Err(AckError::StaleLease { attempt: 2, .. })));
    assert_eq!(queue.unfinished(), 0);
    // The last attempt makes a dead letter of it.
    queue.put(&2).unwrap();
    for _ in 0..3 {
        queue.redeem(queue.get().unwrap().token()).give_back().unwrap();
    }
    assert_eq!(queue.n_dead(), 1);
}

#[test]
fn a_token_of_an_older_life_of_the_item_is_stale() {
    let queue = options::<u32>().max_attempts(1).anonymous().unwrap();
    queue.put(&1).unwrap();
    let old = queue.get().unwrap();
    let token = old.token();
    drop(old);
    let letters = queue.dead_letters().unwrap();
    assert!(queue.retry(&letters[0]).unwrap());
    let new = queue.get().unwrap();
    assert_eq!((new.id(), new.attempt()), (token.id(), 1));
    assert!(matches!(queue.redeem(token).task_done(), Err(AckError::StaleToken { .. })));
    assert!(new.is_valid());
}

#[test]
fn others_see_what_is_leased_and_what_is_there() {
    let queue = queue::<String>(1024);
    queue.batch().put(["one", "two", "three"]).unwrap();
    let lease = queue.get().unwrap();
    lease.extend(LONG).unwrap();
    let [leased] = &queue.leased()[..] else { panic!("one lease") };
    assert_eq!((leased.id, leased.attempt, leased.holder.pid), (lease.id(), 1, std::process::id()));
    assert!(leased.time_left > Some(LONG / 2) && leased.held_for < LONG && leased.bytes == 4);
    let holders = queue.holders();
    assert_eq!((holders.len(), holders[0].0.pid, holders[0].1), (1, std::process::id(), 1));
    let texts = |most| {
        let items = queue.peek(most).unwrap();
        items.iter().map(|item| (item.item().unwrap(), item.attempts)).collect::<Vec<_>>()
    };
    assert_eq!(texts(1), [("two".to_owned(), 0)]);
    drop(lease);
    assert_eq!(texts(9), [("one".to_owned(), 1), ("two".to_owned(), 0), ("three".to_owned(), 0)]);
    assert!(queue.leased().is_empty() && queue.holders().is_empty());
}

#[test]
fn a_batch_is_put_in_its_order_and_says_how_far_it_came() {
    let queue = options::<Vec<u8>>().bytes(16 << 10).anonymous().unwrap();
    let items: Vec<Vec<u8>> = (0..150_u8).map(|n| vec![n; usize::from(n) % 3 * 100]).collect();
    let full = queue.batch().try_put(&items).unwrap_err();
    assert!(matches!(full, PutManyError { put, error: PutError::WouldBlock(_), .. } if put == queue.len()));
    let put = full.put;
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| queue.batch().put(&items[put..]));
        for item in &items {
            let lease = queue.get().unwrap();
            assert_eq!(*lease, *item);
            lease.task_done().unwrap();
        }
        producer.join().unwrap().unwrap();
    });
    let too_large = [vec![1], vec![2], vec![3; 20_000], vec![4]];
    let failed = queue.batch().put(&too_large).unwrap_err();
    assert!(matches!(failed, PutManyError { put: 2, error: PutError::TooLarge { .. }, .. }), "{failed:?}");
    queue.close().unwrap();
    let failed = queue.batch().put_timeout(&too_large[..1], SHORT).unwrap_err();
    assert!(matches!(failed, PutManyError { put: 0, error: PutError::Closed(_), .. }));
    queue.batch().put::<Vec<u8>>([]).unwrap();
}

#[test]
fn a_batch_calls_all_who_wait() {
    let queue = queue::<u32>(1024);
    std::thread::scope(|scope| {
        let getting: Vec<_> = (0..3).map(|_| scope.spawn(|| queue.get().unwrap().task_done())).collect();
        queue.batch().put(&[1, 2, 3]).unwrap();
        getting.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    });
}

#[test]
fn that_all_is_done_is_waited_for_among_others() {
    let queue = queue::<u32>(1024);
    queue.put(&1).unwrap();
    let lease = queue.get().unwrap();
    let waited = wait_timeout(&[&queue, &queue.finished()], SHORT);
    assert!(matches!(waited, Err(WaitAnyError::TimedOut)));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| wait(&[&queue, &queue.finished()]).unwrap());
        while !queue.body.finished.has_waiters() {
            std::thread::yield_now();
        }
        lease.task_done().unwrap();
        assert_eq!(waiting.join().unwrap(), [1]);
    });
}

#[test]
fn who_asks_for_encoded_items_opens_every_queue() {
    let namespace = Namespace::private();
    let options = JoinableQueue::<(u8, String)>::options().namespace(&namespace);
    let any = JoinableQueue::<Encoded>::options().namespace(&namespace);
    for codec in [Codec::Bincode, Codec::Json] {
        let typed = options.clone().codec(codec).type_tag("pair").create("q").unwrap();
        let any = any.open("q").unwrap();
        assert_eq!(any.codec(), codec);
        typed.put(&(7, "seven".to_owned())).unwrap();
        let lease = any.get().unwrap();
        assert_eq!(codec.decode::<(u8, String)>(&lease).unwrap(), (7, "seven".to_owned()));
        let item = lease.clone();
        lease.task_done().unwrap();
        any.put(&item).unwrap();
        assert_eq!(any.peek(1).unwrap()[0].item().unwrap(), item);
        assert_eq!(*typed.get().unwrap(), (7, "seven".to_owned()));
        typed.unlink().unwrap();
    }
    // What it creates is bytes, unless it says otherwise, and then it is of whatever type.
    let any = any.open_or_create("b").unwrap();
    assert_eq!(any.codec(), Codec::Bytes);
    any.unlink().unwrap();
    let any = Queue::<Encoded>::options().namespace(&namespace).codec(Codec::Json).create("j").unwrap();
    let numbers = Queue::<Vec<u8>>::options().namespace(&namespace).open("j").unwrap();
    any.batch().put([&Encoded::from(&b"[1,2]"[..]), &Encoded::from(&b"[3]"[..])]).unwrap();
    assert_eq!(
        (numbers.get().unwrap(), any.batch().drain().unwrap()[0].to_vec()),
        (vec![1, 2], b"[3]".to_vec())
    );
    any.unlink().unwrap();
}

#[test]
fn it_is_counted_how_many_were_put_whatever_stays_in_its_cells() {
    let queue = options::<u32>().max_attempts(1).bytes(1024).anonymous().unwrap();
    for item in 0..4 {
        queue.put(&item).unwrap();
        drop(queue.get().unwrap());
    }
    assert_eq!((queue.n_dead(), queue.n_put()), (4, 4));
    // Their numbers go past the cells of the dead letters, again and again.
    for item in 0..100 {
        queue.put(&item).unwrap();
        queue.get().unwrap().task_done().unwrap();
    }
    assert_eq!(queue.n_put(), 104);
    let letters = queue.dead_letters().unwrap();
    assert!(queue.retry(&letters[0]).unwrap());
    assert_eq!(queue.n_put(), 104);
}

#[test]
fn bytes_that_no_queue_could_give_back_are_refused_without_a_size_to_ask_for() {
    let queue = options::<crate::Bytes>().codec(Codec::Bytes).anonymous().unwrap();
    for len in [crate::codec::LIMIT + 1, 3 << 30] {
        // Memory that nobody touches.
        let refused = queue.bytes().put(&vec![0; len]);
        assert!(matches!(refused, Err(PutError::Encode(EncodeError::TooLarge))), "{refused:?}");
    }
    let refused = queue.bytes().put(&vec![0; crate::codec::LIMIT]);
    assert!(matches!(refused, Err(PutError::TooLarge { needed: 0x4000_0000, .. })), "{refused:?}");
}
