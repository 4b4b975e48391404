//! `TestSimpleQueue`.
//!
//! On purpose different from Python: as with every queue, `close` is for all processes, and what is asked
//! afterwards is answered. Each is made of the `Queue` that it is underneath.

use crate::ground::{Ground, Sent, child, conforms, elsewhere};
use procession::{GetError, PutError, Queue, SimpleQueue};

conforms!(
    it_is_empty_before_and_after_but_not_between,
    closing_it_twice_is_the_same_as_once,
    it_says_that_it_is_empty_when_it_is_closed,
);

type Flags = Sent<Queue<bool>>;

fn simple(queue: &Queue<bool>) -> SimpleQueue<bool> {
    queue.clone().into()
}

// test_empty
fn it_is_empty_before_and_after_but_not_between(ground: &Ground) {
    let (queue, go_on) = (ground.make(Queue::options()), ground.make(Queue::options()));
    let look = |(queue, go_on): (Flags, Flags)| {
        let (queue, go_on) = (simple(&queue), simple(&go_on));
        go_on.get().unwrap();
        // Python puts `True` for "empty", and then its second look sees the first.
        queue.put(&queue.is_empty()).unwrap();
        queue.put(&queue.is_empty()).unwrap();
    };
    let other = child(look, (queue.send(), go_on.send()));
    let (queue, go_on) = (simple(&queue), simple(&go_on));
    assert!(queue.is_empty());
    go_on.put(&true).unwrap();
    other.join().unwrap();
    assert!(!queue.is_empty());
    assert_eq!((queue.get().unwrap(), queue.get().unwrap()), (true, false));
    assert!(queue.is_empty());
}

// test_close
fn closing_it_twice_is_the_same_as_once(ground: &Ground) {
    let queue = ground.make(Queue::<bool>::options());
    let close = |queue: Flags| simple(&queue).close().is_ok() && simple(&queue).close().is_ok();
    assert!(close(queue.send()) && elsewhere(close, queue.send()));
    let queue = simple(&queue);
    assert!(matches!(queue.put(&true), Err(PutError::Closed(_))));
    assert!(matches!(queue.get(), Err(GetError::Closed(_))));
}

// test_closed_queue: there, `OSError`.
fn it_says_that_it_is_empty_when_it_is_closed(ground: &Ground) {
    let queue = ground.make(Queue::<bool>::options());
    queue.put(&true).unwrap();
    queue.close().unwrap();
    let is_empty = |queue: Flags| simple(&queue).is_empty();
    assert!(!is_empty(queue.send()) && !elsewhere(is_empty, queue.send()));
    assert!(queue.get().unwrap());
    assert!(is_empty(queue.send()) && elsewhere(is_empty, queue.send()));
}
