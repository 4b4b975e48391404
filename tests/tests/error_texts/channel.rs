//! The text of every error of queues and pipes, as people read it.

use procession::{
    AckError, Bytes, Codec, Event, JoinableQueue, Pipe, Queue, RecvError, SendError, WaitAnyError, try_wait,
    wait_timeout,
};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(1);

/// The text with its causes, which is what `Debug` prints, too.
pub(crate) fn told(error: &(dyn Error + 'static)) -> String {
    let all: Vec<String> =
        std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    let text = all.join(": ");
    assert_eq!(format!("{error:?}"), text, "Debug prints something else");
    // Where the tests are, and no user's object.
    text.replace(" in a private namespace", "")
}

pub(crate) fn text<T>(outcome: Result<T, impl Error + 'static>) -> String {
    match outcome {
        Ok(_) => panic!("it went well"),
        Err(error) => told(&error),
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
}

#[test]
fn queues() {
    crate::enter();
    let queue = Queue::<u8>::options().capacity(2).create("jobs").unwrap();
    assert_eq!(text(queue.try_get()), "queue \"jobs\" is empty");
    assert_eq!(text(queue.get_timeout(SHORT)), "timed out: queue \"jobs\" is empty");
    queue.batch().put(&[1, 2]).unwrap();
    assert_eq!(text(queue.try_put(&3)), "queue \"jobs\" is full: 2 of 2 messages");
    assert_eq!(text(queue.put_timeout(&3, SHORT)), "timed out: queue \"jobs\" is full: 2 of 2 messages");
    assert_eq!(
        text(queue.batch().try_put(&[3])),
        "0 messages were put, and no more: queue \"jobs\" is full: 2 of 2 messages"
    );
    let same = text(queue.bytes().put(b"x"));
    assert_eq!(
        same,
        "queue \"jobs\" carries values, in codec Bincode, and not bytes: create it for Bytes (Queue<Bytes>, \
         pipe::<Bytes>()), or with .bytes_only()"
    );
    assert_eq!(text(queue.bytes().get()), same);
    queue.close().unwrap();
    let stays = "It stays closed until reopen() is called; unlink() removes it";
    assert_eq!(
        text(queue.put(&3)),
        format!("queue \"jobs\" is closed: nothing can be put any more. {stays}")
    );
    queue.batch().drain().unwrap();
    assert_eq!(text(queue.get()), format!("queue \"jobs\" is closed, and everything in it was got. {stays}"));
    queue.unlink().unwrap();

    let unnamed = Queue::<Bytes>::options().bytes(64).anonymous().unwrap();
    unnamed.put(&[7; 30][..]).unwrap();
    assert_eq!(
        text(unnamed.try_put(&[7; 30][..])),
        "an unnamed queue has no room: its 1 messages take 40 of 64 bytes"
    );
    assert_eq!(
        text(unnamed.bytes().get_into(&mut [0; 9])),
        "a message of 30 bytes does not fit into a buffer of 9"
    );
    let slot = unnamed.slots().read().unwrap();
    assert_eq!(
        text(unnamed.get()),
        "this thread holds a slot of an unnamed queue: commit or drop it before it uses that end again"
    );
    drop(slot);
    let slot = unnamed.slots().reserve(1).unwrap();
    assert_eq!(
        text(unnamed.close()),
        "this thread holds a slot of an unnamed queue: commit or drop it before it uses that end again"
    );
    drop(slot);
    unnamed.shutdown(true).unwrap();
    assert_eq!(text(unnamed.get()), "an unnamed queue is closed, and everything in it was got");
}

#[test]
fn codecs() {
    crate::enter();
    let json = Queue::<f64>::options().codec(Codec::Json).create("numbers").unwrap();
    assert_eq!(
        text(Queue::<f64>::options().codec(Codec::MsgPack).open("numbers")),
        "queue \"numbers\" carries its messages in codec Json, and was opened with codec MsgPack"
    );
    assert_eq!(
        text(json.put(&f64::NAN)),
        "the message cannot be encoded: codec Json cannot carry a number that is infinite or not a number"
    );
    let words = Queue::<String>::open("numbers").unwrap();
    json.put(&0.5).unwrap();
    assert_eq!(
        text(words.get()),
        "a message of 3 bytes of queue \"numbers\" is not of its type: it was put as another type, under the same .type_tag \
         or in a codec that says no types, or by another build of the program (give the queue of each build its own \
         .type_tag): invalid type: floating point `0.5`, expected a string at line 1 column 3"
    );
    json.unlink().unwrap();
    let untagged = Queue::<Untagged>::options().create("untagged").unwrap();
    let refused = text(untagged.put(&Untagged::Number(1)));
    assert!(refused.contains("cannot be read again from what codec Bincode writes for it"), "{refused}");
    assert!(refused.contains(".codec(Codec::Json)"), "{refused}");
    untagged.unlink().unwrap();
}

#[test]
fn joinable_queues() {
    crate::enter();
    let jobs = JoinableQueue::<u8>::options().bytes(256).create("jobs-to-do").unwrap();
    assert_eq!(text(jobs.try_get()), "joinable queue \"jobs-to-do\" is empty");
    jobs.put(&1).unwrap();
    assert_eq!(
        text(jobs.join_timeout(SHORT)),
        "timed out: 1 items of joinable queue \"jobs-to-do\" are not done"
    );
    jobs.put(&2).unwrap();
    assert_eq!(
        text(jobs.try_put(&3)),
        "joinable queue \"jobs-to-do\" has no room: its 2 messages take 256 of 256 bytes"
    );
    let large = JoinableQueue::<Vec<u8>>::options().bytes(256).anonymous().unwrap();
    assert_eq!(
        text(large.put(&[0; 300][..])),
        "a message of 303 bytes can never fit into an unnamed joinable queue, whose messages have 256 bytes at the most: \
         create it with .bytes(512)"
    );
    let leases = JoinableQueue::<u8>::options().lease_timeout(SHORT).create("leases").unwrap();
    leases.put(&1).unwrap();
    let lease = leases.get().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    drop(leases.get().unwrap());
    let stale = lease.task_done();
    assert!(matches!(stale, Err(AckError::StaleLease { .. })));
    assert_eq!(
        text(stale),
        "the lease of an item of joinable queue \"leases\", in attempt 1, is not valid any more"
    );
    jobs.unlink().unwrap();
    leases.unlink().unwrap();
}

#[test]
fn pipes() {
    crate::enter();
    let (sender, receiver) = Pipe::options().bytes(64).pipe::<Bytes>().unwrap();
    assert_eq!(text(receiver.try_recv()), "the pipe is empty");
    assert_eq!(text(receiver.recv_timeout(SHORT)), "timed out: the pipe is empty");
    assert_eq!(text(receiver.try_poll()), "the pipe is empty");
    assert_eq!(text(receiver.poll_timeout(SHORT)), "timed out: the pipe is empty");
    while sender.try_send(&[1; 16][..]).is_ok() {}
    assert_eq!(text(sender.try_send(&[1; 16][..])), "the pipe is full");
    assert_eq!(text(sender.send_timeout(&[1; 16][..], SHORT)), "timed out: the pipe is full");
    assert_eq!(
        text(sender.try_send(&[1; 100][..])),
        "a message of 100 bytes can be sent only by one who waits: at once go at most 56"
    );
    assert_eq!(text(receiver.recv_bytes_into(&mut [0; 3])), "the next message has 16 bytes, the buffer 3");
    sender.close();
    assert_eq!(text(sender.send(&[][..])), "this end of the pipe is closed");
    while receiver.try_recv().is_ok() {}
    assert_eq!(text(receiver.recv()), "the other end of the pipe is closed, and everything was received");
    let (sender, receiver) = procession::pipe::<u8>().unwrap();
    drop(receiver);
    assert_eq!(text(sender.send(&1)), "the other end of the pipe is closed");
    assert!(text(sender.send_bytes(&[1])).starts_with("an unnamed pipe carries values, in codec Bincode"));
}

#[test]
fn waits_for_several_objects() {
    crate::enter();
    let event = Event::new().unwrap();
    assert_eq!(text(try_wait(&[&event])), "none of the objects is ready");
    assert_eq!(text(wait_timeout(&[&event], SHORT)), "timed out: none of the objects is ready");
}

/// Those that take a death, or more than a test has.
#[test]
fn those_that_are_rare() {
    let texts = [
        (told(&SendError::PeerDied { pid: 7 }), "process 7 died, which had the other end of the pipe"),
        (
            told(&RecvError::PeerDied { pid: 0 }),
            "a process that nobody remembers died, which had the other end of the pipe; everything it had sent was received",
        ),
        (told(&WaitAnyError::Interrupted), "the wait for one of several objects was interrupted"),
        (
            told(&WaitAnyError::from(std::io::Error::other("no files"))),
            "this process cannot wait for several objects now: no files",
        ),
        (told(&SendError::Lost { pid: 7 }), "this end of the pipe was lost with process 7, which carried it"),
        (
            told(&RecvError::InUse { by: 7, here: 8 }),
            "this end of the pipe belongs to process 7: this process (8) cannot use it too",
        ),
    ];
    for (said, expected) in texts {
        assert_eq!(said, expected);
    }
}
