//! Messages that are larger than the ring, in files of their own.

use super::{queue, spills};
use crate::queue::{GetError, GetManyError, PutError, Queue};
use procession_shm::Namespace;

#[test]
fn a_message_that_fits_exactly_lies_in_the_ring_and_a_larger_one_elsewhere() {
    let queue = queue::<Vec<u8>>(128, 0);
    // One word for the record's length, one byte for the vector's.
    queue.put(&vec![7; 119]).unwrap();
    assert!(queue.is_full() && spills(&queue).is_empty());
    assert_eq!(queue.get().unwrap(), vec![7; 119]);
    for len in [120, 121, 4096, 1 << 20] {
        let message: Vec<u8> = (0..len).map(|n| n as u8).collect();
        queue.put(&message).unwrap();
        assert_eq!((queue.len(), spills(&queue).len()), (1, 1));
        assert_eq!(queue.peek().unwrap(), message);
        assert_eq!(queue.get().unwrap(), message);
        assert!(spills(&queue).is_empty() && queue.is_empty());
    }
}

#[test]
fn spilled_messages_keep_their_place_among_others_and_are_bounded() {
    let queue = queue::<Vec<u8>>(256, 0);
    let message = |n: u8| vec![n; if n.is_multiple_of(2) { 1000 } else { 3 }];
    for n in 0..6 {
        queue.try_put(&message(n)).unwrap();
    }
    assert!(matches!(queue.try_put(&message(6)), Err(PutError::WouldBlock(_))));
    assert_eq!(spills(&queue).len(), 3);
    for n in 0..2 {
        assert_eq!(queue.get().unwrap(), message(n));
    }
    queue.try_put(&message(6)).unwrap();
    assert_eq!(queue.batch().drain().unwrap(), (2..7).map(message).collect::<Vec<_>>());
    assert!(spills(&queue).is_empty());
}

#[test]
fn the_spills_of_a_queue_go_with_it_and_stay_with_an_unlinked_one() {
    let namespace = Namespace::private();
    let options = Queue::<Vec<u8>>::options().namespace(&namespace).bytes(128);
    let names = || namespace.list().unwrap().into_iter().filter(|entry| !entry.is_registry()).count();
    let anonymous = options.anonymous().unwrap();
    anonymous.put(&vec![1; 200]).unwrap();
    assert_eq!(names(), 2);
    drop(anonymous);
    assert_eq!(names(), 0);

    let named = options.create("q").unwrap();
    named.put(&vec![2; 200]).unwrap();
    named.unlink().unwrap();
    named.put(&vec![3; 200]).unwrap();
    let found = procession_shm::gc::collect(Some(&namespace), Default::default()).unwrap();
    assert!(found.is_empty(), "{found:?}");
    assert_eq!((named.get().unwrap(), names()), (vec![2; 200], 2));
    drop(named);
    assert_eq!(names(), 0);

    // Unlinked when nobody uses it.
    let named = options.create("q").unwrap();
    named.put(&vec![2; 200]).unwrap();
    drop(named);
    assert_eq!(names(), 2);
    let unused = |unused| procession_shm::gc::Options::default().unused(unused);
    assert!(procession_shm::gc::collect(Some(&namespace), unused(false)).unwrap().is_empty());
    assert_eq!(procession_shm::gc::collect(Some(&namespace), unused(true)).unwrap().len(), 2);
    assert_eq!(names(), 0);
    let named = options.create("q").unwrap();
    named.put(&vec![2; 200]).unwrap();
    drop(named);
    namespace.unlink("q").unwrap();
    assert_eq!(names(), 0);
}

#[test]
fn what_is_unused_but_spilled_by_a_queue_in_use_stays() {
    let namespace = Namespace::private();
    let queue = Queue::<Vec<u8>>::options().namespace(&namespace).bytes(64).create("q").unwrap();
    queue.put(&vec![2; 100]).unwrap();
    let unused = procession_shm::gc::Options::default().unused(true);
    assert!(procession_shm::gc::collect(Some(&namespace), unused).unwrap().is_empty());
    assert_eq!(queue.get().unwrap(), vec![2; 100]);
    queue.unlink().unwrap();
}

#[test]
fn a_spill_that_somebody_removed_is_lost_and_said_to_be() {
    let queue = queue::<Vec<u8>>(64, 0);
    let segment: &procession_shm::Segment = queue.as_ref();
    let remove = || {
        let file = segment.namespace().file_name(&spills(&queue)[0]);
        std::fs::remove_file(std::path::Path::new("/dev/shm").join(file)).unwrap();
    };
    queue.put(&vec![1; 100]).unwrap();
    remove();
    queue.put(&vec![2; 2]).unwrap();
    assert!(matches!(queue.get(), Err(GetError::Lost { .. })));
    assert_eq!(queue.get().unwrap(), [2; 2]);
    queue.put(&vec![1; 100]).unwrap();
    remove();
    let lost = queue.batch().get(5);
    assert!(matches!(lost, Err(GetManyError { error: GetError::Lost { .. }, .. })), "{lost:?}");
    assert!(queue.is_empty());
}

#[test]
fn a_spill_that_somebody_damaged_does_not_stop_the_queue() {
    let queue = queue::<Vec<u8>>(256, 0);
    let segment: &procession_shm::Segment = queue.as_ref();
    let file = |name: &str| std::path::Path::new("/dev/shm").join(segment.namespace().file_name(name));
    for damaged in [&[0; 9000][..], &[7; 10], &[]] {
        queue.put(&vec![1; 1000]).unwrap();
        let name = spills(&queue).remove(0);
        queue.put(&vec![2; 2]).unwrap();
        std::fs::write(file(&name), damaged).unwrap();
        assert!(matches!(queue.peek(), Err(GetError::Lost { .. })));
        assert_eq!(queue.get().unwrap(), [2; 2]);
        std::fs::remove_file(file(&name)).unwrap();
    }
}
