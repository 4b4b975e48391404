//! One process: which of the ends in messages come back when their message is not sent.

use crate::joinable::JoinableQueue;
use crate::pipe::{Pipe, Receiver, RecvError, Sender};
use crate::queue::{PutError, Queue};
use procession_shm::Namespace;
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::time::Duration;

type Ends = (Sender<u8>, Receiver<u8>);

fn pipe(namespace: &Namespace) -> Ends {
    Pipe::options().namespace(namespace).bytes(64).pipe().unwrap()
}

fn queue<T: Serialize + serde::de::DeserializeOwned>(namespace: &Namespace, capacity: usize) -> Queue<T> {
    Queue::options().namespace(namespace).capacity(capacity).anonymous().unwrap()
}

/// Whether the other end is with somebody.
fn is_open(receiver: &Receiver<u8>) -> bool {
    matches!(receiver.try_recv(), Err(RecvError::WouldBlock))
}

/// An end, then a message that is put elsewhere while this one is encoded, then another end.
struct Nested {
    first: Sender<u8>,
    put: Option<(Queue<Sender<u8>>, Sender<u8>)>,
    last: Sender<u8>,
}

impl Serialize for Nested {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut both = serializer.serialize_tuple(2)?;
        both.serialize_element(&self.first)?;
        if let Some((queue, end)) = &self.put {
            queue.put(end).unwrap();
        }
        both.serialize_element(&self.last)?;
        both.end()
    }
}

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Deserialize::deserialize(deserializer).map(|(first, last)| Self { first, put: None, last })
    }
}

#[test]
fn a_message_that_is_put_while_another_is_encoded_has_its_own_ends() {
    let namespace = Namespace::private();
    let (inner, outer) = (queue::<Sender<u8>>(&namespace, 0), queue::<Nested>(&namespace, 1));
    let send = || {
        let [first, within, last] = std::array::from_fn(|_| pipe(&namespace));
        let nested = Nested { first: first.0, put: Some((inner.clone(), within.0)), last: last.0 };
        (outer.try_put(&nested), [first.1, within.1, last.1])
    };
    let (put, in_queues) = send();
    put.unwrap();
    // This one is refused: both its ends are here still, and go with their handles. That within was put.
    let (refused, receivers) = send();
    assert!(matches!(refused, Err(PutError::WouldBlock(_))));
    assert_eq!(receivers.each_ref().map(is_open), [false, true, false]);
    assert_eq!(in_queues.each_ref().map(is_open), [true; 3]);
    // Thrown away by one who does not decode it, the message closes the ends in its own list, and no others.
    assert_eq!(outer.shutdown(true).unwrap(), 1);
    assert_eq!(in_queues.each_ref().map(is_open), [false, true, false]);
    for hears in [&in_queues[1], &receivers[1]] {
        inner.get().unwrap().send(&7).unwrap();
        assert_eq!(hears.recv().unwrap(), 7);
    }
}

#[test]
fn a_batch_that_panics_leaves_the_ends_here_that_were_not_put() {
    let namespace = Namespace::private();
    let queue: Queue<Sender<u8>> = Queue::options().namespace(&namespace).bytes(1024).anonymous().unwrap();
    let (ends, hear): (Vec<_>, Vec<_>) = (0..20).map(|_| pipe(&namespace)).unzip();
    let messages = ends.iter().enumerate().map(|(nth, end)| {
        assert!(nth < 19, "as it does");
        end
    });
    let batch = catch_unwind(AssertUnwindSafe(|| queue.batch().try_put(messages)));
    assert!(batch.is_err() || batch.is_ok_and(|outcome| outcome.is_err()));
    let put = queue.len();
    drop(ends);
    for (nth, receiver) in hear.iter().enumerate() {
        assert_eq!(is_open(receiver), nth < put, "{nth} of {put}");
    }
}

#[test]
fn who_decides_too_late_about_an_item_leaves_the_ends_in_it_to_others() {
    let namespace = Namespace::private();
    let options = JoinableQueue::options().namespace(&namespace).max_attempts(1);
    let queue: JoinableQueue<Sender<u8>> = options.anonymous().unwrap();
    for _ in 0..300 {
        let (sender, receiver) = pipe(&namespace);
        queue.put(&sender).unwrap();
        drop(queue.get().unwrap());
        let letters = queue.dead_letters().unwrap();
        let together = Barrier::new(2);
        let is_discarded = std::thread::scope(|scope| {
            let discarding = scope.spawn(|| {
                together.wait();
                queue.discard(&letters[0]).unwrap()
            });
            together.wait();
            // In the middle of it, more often than not.
            std::thread::sleep(Duration::from_micros(20));
            let is_retried = queue.retry(&letters[0]).unwrap();
            let is_discarded = discarding.join().unwrap();
            assert!(is_retried != is_discarded);
            is_discarded
        });
        if !is_discarded {
            let lease = queue.get().unwrap();
            lease.send(&7).unwrap();
            lease.task_done().unwrap();
            assert_eq!(receiver.recv().unwrap(), 7);
        }
        assert!(matches!(receiver.recv(), Err(RecvError::Eof)));
    }
}
