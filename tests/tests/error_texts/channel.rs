//! What errors of queues, pipes and codecs say.

use crate::told;
use procession::codec::{DecodeError, EncodeError, NotBytes};
use procession::shm::Kind;
use procession::{
    AckError, Bytes, CloseError, Codec, Event, Fault, GetError, GetManyError, JoinError, JoinableQueue,
    Label, LeaseToken, Namespace, OpenError, Pipe, PutError, PutManyError, Queue, RecvError, SendError,
    SlotHeld, UnusableEnd, WaitAnyError, try_wait, wait_timeout,
};
use procession_tests::isolate;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(1);

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
}

#[test]
fn queues() {
    isolate();
    let queue = Queue::<u8>::options().capacity(2).create("jobs").unwrap();
    says!(GetError::WouldBlock(_), queue.try_get(), "queue \"jobs\" is empty");
    says!(GetError::TimedOut(_), queue.get_timeout(SHORT), "timed out: queue \"jobs\" is empty");
    queue.batch().put(&[1, 2]).unwrap();
    says!(PutError::WouldBlock(_), queue.try_put(&3), "queue \"jobs\" is full: 2 of 2 messages");
    says!(
        PutError::TimedOut(_),
        queue.put_timeout(&3, SHORT),
        "timed out: queue \"jobs\" is full: 2 of 2 messages"
    );
    says!(
        PutManyError { .. },
        queue.batch().try_put(&[3]),
        "0 messages were put, and no more: queue \"jobs\" is full: 2 of 2 messages"
    );
    let not_bytes = "queue \"jobs\" carries values, in codec Bincode, and not bytes: create it for Bytes (Queue<Bytes>, \
                     pipe::<Bytes>()), or with .bytes_only()";
    says!(PutError::NotBytes(_), queue.bytes().put(b"x"), not_bytes);
    says!(GetError::NotBytes(_), queue.bytes().get(), not_bytes);
    queue.close().unwrap();
    let stays = "It stays closed until reopen() is called; unlink() removes it";
    says!(
        PutError::Closed(_),
        queue.put(&3),
        format!("queue \"jobs\" is closed: nothing can be put any more. {stays}")
    );
    queue.batch().drain().unwrap();
    says!(
        GetError::Closed(_),
        queue.get(),
        format!("queue \"jobs\" is closed, and everything in it was got. {stays}")
    );
    queue.unlink().unwrap();
}

#[test]
fn queues_of_bytes() {
    isolate();
    let unnamed = Queue::<Bytes>::options().bytes(64).anonymous().unwrap();
    unnamed.put(&[7; 30][..]).unwrap();
    says!(
        PutError::WouldBlock(_),
        unnamed.try_put(&[7; 30][..]),
        "an unnamed queue has no room: its 1 messages take 40 of 64 bytes"
    );
    says!(
        GetError::BufferTooShort { .. },
        unnamed.bytes().get_into(&mut [0; 9]),
        "a message of 30 bytes of an unnamed queue does not fit into a buffer of 9: it is still in the queue"
    );
    let slot_held =
        "this thread holds a slot of an unnamed queue: commit or drop it before it uses that end again";
    let slot = unnamed.slots().read().unwrap();
    says!(GetError::SlotHeld(SlotHeld { .. }), unnamed.get(), slot_held);
    drop(slot);
    let slot = unnamed.slots().reserve(1).unwrap();
    says!(PutError::SlotHeld(_), unnamed.put(&[7][..]), slot_held);
    says!(CloseError::SlotHeld(_), unnamed.close(), slot_held);
    drop(slot);
    unnamed.shutdown(true).unwrap();
    says!(GetError::Closed(_), unnamed.get(), "an unnamed queue is closed, and everything in it was got");
}

#[test]
fn codecs() {
    isolate();
    let json = Queue::<f64>::options().codec(Codec::Json).create("numbers").unwrap();
    says!(
        OpenError::Codec { .. },
        Queue::<f64>::options().codec(Codec::MsgPack).open("numbers"),
        "queue \"numbers\" carries its messages in codec Json, and was opened with codec MsgPack"
    );
    says!(
        PutError::Encode(_),
        json.put(&f64::NAN),
        "the message cannot be encoded: codec Json cannot carry a number that is infinite or not a number"
    );
    let words = Queue::<String>::open("numbers").unwrap();
    json.put(&0.5).unwrap();
    says!(
        GetError::Decode { .. },
        words.get(),
        "a message of 3 bytes of queue \"numbers\" is not of its type: it was put as another type, under the same .type_tag \
         or in a codec that says no types, or by another build of the program (give the queue of each build its own \
         .type_tag): invalid type: floating point `0.5`, expected a string at line 1 column 3"
    );
    json.put(&0.5).unwrap();
    let many: Result<Vec<String>, GetManyError<String>> = words.batch().get(5);
    let said = told(&many.unwrap_err());
    assert!(said.starts_with("0 messages were got, and no more: a message of 3 bytes of queue"), "{said}");
    says!(
        GetManyError { .. },
        words.batch().try_get(5),
        "0 messages were got, and no more: queue \"numbers\" is empty"
    );
    json.unlink().unwrap();
    let pairs = Queue::<(u8, String)>::options().type_tag("pair").create("pairs").unwrap();
    says!(
        OpenError::Structure { .. },
        Queue::<(u8, u64)>::options().type_tag("pair").open("pairs"),
        "queue \"pairs\" holds elements of type pair that are made otherwise than (u8, u64) is in this program: \
         element.1 is string there, and u64 here; build both programs with the same type, or take another name, or \
         remove the object"
    );
    pairs.unlink().unwrap();
    let bytes = Queue::<Bytes>::options().create("frames").unwrap();
    says!(
        OpenError::Structure { .. },
        Queue::<u64>::open("frames"),
        "queue \"frames\" holds elements that are made otherwise than u64 is in this program: element is bytes there, \
         and u64 here; build both programs with the same type, or take another name, or remove the object"
    );
    bytes.unlink().unwrap();
    let untagged = Queue::<Untagged>::options().create("untagged").unwrap();
    says!(
        PutError::Encode(EncodeError::CannotComeBack { .. }),
        untagged.put(&Untagged::Number(1)),
        format!("the message cannot be encoded: {}", cannot_come_back(Codec::Bincode))
    );
    untagged.unlink().unwrap();
}

fn cannot_come_back(codec: Codec) -> String {
    let why = Box::new(DecodeError::Undescribed);
    told(&EncodeError::CannotComeBack { type_name: std::any::type_name::<Untagged>(), codec, why })
}

#[test]
fn values_that_are_not_written() {
    says!(
        EncodeError::TooLarge,
        "the encoded value is longer than 1073741824 bytes: send it in parts, as bytes (put_bytes, send_bytes), or as the name \
         of a shared memory"
    );
    says!(
        EncodeError::TooDeep,
        "the value has more than 256 levels in one another (127 in JSON and MessagePack): send it flat, for instance as a Vec \
         whose elements name one another by their index"
    );
    says!(
        EncodeError::TooManyEmpty,
        "the value has more than 65536 elements that take no bytes: send their number"
    );
    let (type_name, why) = ("Untagged", || Box::new(DecodeError::Undescribed));
    says!(
        EncodeError::CannotComeBack { type_name, codec: Codec::Bincode, why: why() },
        "a Untagged cannot be read again from what codec Bincode writes for it (the type asks of what type the bytes are, and \
         they do not say it: #[serde(untagged)], #[serde(tag)] and serde_json::Value ask so). Such are types with \
         #[serde(untagged)], #[serde(tag)], #[serde(skip_serializing)] or #[serde(skip_deserializing)], and serde_json::Value: \
         leave the attribute out, or create the queue or pipe with .codec(Codec::Json), in which all but the two that skip are \
         carried"
    );
    says!(
        EncodeError::CannotComeBack { type_name, codec: Codec::Json, why: why() },
        "a Untagged cannot be read again from what codec Json writes for it (the type asks of what type the bytes are, and they \
         do not say it: #[serde(untagged)], #[serde(tag)] and serde_json::Value ask so). Such are types with \
         #[serde(skip_serializing)] or #[serde(skip_deserializing)], and those whose Serialize and Deserialize do not agree"
    );
    says!(
        EncodeError::NotRepresentable { codec: Codec::Json, what: "a map whose keys are no strings" },
        "codec Json cannot carry a map whose keys are no strings"
    );
    says!(
        EncodeError::Unsupported("it is a socket".to_owned()),
        "the value cannot be encoded: it is a socket"
    );
    let object = Label::new(Kind::QUEUE, "jobs", &Namespace::new("default").unwrap());
    says!(
        NotBytes { object, codec: Codec::Json },
        "queue \"jobs\" carries values, in codec Json, and not bytes: create it for Bytes (Queue<Bytes>, pipe::<Bytes>()), or \
         with .bytes_only()"
    );
}

#[test]
fn bytes_that_are_not_read() {
    says!(DecodeError::TooLarge, "the bytes announce more than they hold, or are longer than 1073741824");
    says!(DecodeError::UnexpectedEnd, "the bytes end in the middle of the value");
    says!(
        DecodeError::TrailingBytes { count: 3 },
        "3 bytes follow the value: they were written as another type"
    );
    says!(DecodeError::TooDeep, "the value has more than 256 levels in one another");
    says!(
        DecodeError::OtherFields { name: "Job", written: "2".to_owned(), read: 3 },
        "struct Job was written with 2 fields and is read with 3, or their names or order differ: by another build of the \
         program, or because of #[serde(skip_serializing)] or #[serde(skip_deserializing)]"
    );
    says!(
        DecodeError::OtherVariants { name: "Fate", index: 2 },
        "variant 2 of enum Fate has another name here than where it was written: in another build of the program, or because a \
         variant has #[serde(skip)]"
    );
    says!(
        DecodeError::Undescribed,
        "the type asks of what type the bytes are, and they do not say it: #[serde(untagged)], #[serde(tag)] and \
         serde_json::Value ask so"
    );
    says!(
        DecodeError::Invalid("3 is no bool".to_owned()),
        "the bytes are not a value of this type: 3 is no bool"
    );
    says!(DecodeError::Changed, "what is read is another value than what was written");
    says!(
        DecodeError::Refused("lock \"deploy\" does not exist".to_owned()),
        "lock \"deploy\" does not exist"
    );
}

#[test]
fn joinable_queues() {
    isolate();
    let jobs = JoinableQueue::<u8>::options().bytes(256).create("jobs-to-do").unwrap();
    says!(GetError::WouldBlock(_), jobs.try_get(), "joinable queue \"jobs-to-do\" is empty");
    jobs.put(&1).unwrap();
    says!(
        JoinError::TimedOut { .. },
        jobs.join_timeout(SHORT),
        "timed out: 1 items of joinable queue \"jobs-to-do\" are not done"
    );
    jobs.put(&2).unwrap();
    says!(
        PutError::WouldBlock(_),
        jobs.try_put(&3),
        "joinable queue \"jobs-to-do\" has no room: its 2 messages take 256 of 256 bytes"
    );
    let large = JoinableQueue::<Vec<u8>>::options().bytes(256).anonymous().unwrap();
    says!(
        PutError::TooLarge { .. },
        large.put(&[0; 300][..]),
        "a message of 303 bytes can never fit into an unnamed joinable queue, whose messages have 256 bytes at the most: \
         create it with .bytes(512)"
    );
    let leases = JoinableQueue::<u8>::options().lease_timeout(SHORT).create("leases").unwrap();
    leases.put(&1).unwrap();
    let lease = leases.get().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    drop(leases.get().unwrap());
    says!(
        AckError::StaleLease { .. },
        lease.task_done(),
        "the lease of an item of joinable queue \"leases\", in attempt 1, is not valid any more: its time was over \
         (.lease_timeout(), extend()), or somebody else used its token, or this process was forked while it had it"
    );
    says!(
        AckError::StaleToken { .. },
        leases.redeem(LeaseToken::new(7, 1)).task_done(),
        "item 7 of joinable queue \"leases\" is not leased under this token: it was done or given back, or the lease's \
         time was over, or who held it has died"
    );
    jobs.unlink().unwrap();
    leases.unlink().unwrap();
}

#[test]
fn pipes() {
    isolate();
    let (sender, receiver) = Pipe::options().bytes(64).pipe::<Bytes>().unwrap();
    says!(RecvError::WouldBlock, receiver.try_recv(), "the pipe is empty");
    says!(RecvError::TimedOut, receiver.recv_timeout(SHORT), "timed out: the pipe is empty");
    says!(RecvError::WouldBlock, receiver.try_poll(), "the pipe is empty");
    says!(RecvError::TimedOut, receiver.poll_timeout(SHORT), "timed out: the pipe is empty");
    while sender.try_send(&[1; 16][..]).is_ok() {}
    says!(SendError::WouldBlock, sender.try_send(&[1; 16][..]), "the pipe is full");
    says!(SendError::TimedOut, sender.send_timeout(&[1; 16][..], SHORT), "timed out: the pipe is full");
    says!(
        SendError::TooLarge { .. },
        sender.try_send(&[1; 100][..]),
        "a message of 100 bytes can be sent only by one who waits (send): at once the pipe takes 56 at most"
    );
    says!(
        RecvError::BufferTooShort { .. },
        receiver.recv_bytes_into(&mut [0; 3]),
        "the next message of the pipe has 16 bytes and does not fit into a buffer of 3: it is still to be received"
    );
    sender.close();
    let closed = "this end of the pipe is closed";
    says!(SendError::Unusable(_), sender.send(&[][..]), closed);
    while receiver.try_recv().is_ok() {}
    says!(
        RecvError::Eof,
        receiver.recv(),
        "the other end of the pipe is closed, and everything was received"
    );
    receiver.close();
    says!(RecvError::Unusable(_), receiver.recv(), closed);
    says!(UnusableEnd::Closed, closed);
    let (sender, receiver) = procession::pipe::<u8>().unwrap();
    drop(receiver);
    says!(SendError::PeerClosed, sender.send(&1), "the other end of the pipe is closed");
    says!(
        SendError::NotBytes(_),
        sender.send_bytes(&[1]),
        "an unnamed pipe carries values, in codec Bincode, and not bytes: create it for Bytes (Queue<Bytes>, \
         pipe::<Bytes>()), or with .bytes_only()"
    );
    says!(
        SendError::Encode(EncodeError::TooManyEmpty),
        "the message cannot be encoded: the value has more than 65536 elements that take no bytes: send their number"
    );
    says!(
        RecvError::Decode { bytes: vec![0; 9], source: DecodeError::UnexpectedEnd },
        "a message of 9 bytes is not of the pipe's type: it was sent by another build of the program: the bytes end in the \
         middle of the value"
    );
}

#[test]
fn waits_for_several_objects() {
    isolate();
    let event = Event::new().unwrap();
    says!(WaitAnyError::WouldBlock, try_wait(&[&event]), "none of the objects is ready");
    says!(WaitAnyError::TimedOut, wait_timeout(&[&event], SHORT), "timed out: none of the objects is ready");
    says!(WaitAnyError::Interrupted, "the wait for one of several objects was interrupted");
    says!(
        WaitAnyError::Os(std::io::Error::other("no files")),
        "this process cannot wait for several objects now: no files"
    );
}

#[test]
fn deaths_and_interruptions() {
    says!(SendError::PeerDied { pid: 7 }, "process 7 died, which had the other end of the pipe");
    says!(
        RecvError::PeerDied { pid: 0 },
        "a process that nobody remembers died, which had the other end of the pipe; everything it had sent was received"
    );
    says!(UnusableEnd::Lost { pid: 7 }, "this end of the pipe was lost with process 7, which carried it");
    says!(
        UnusableEnd::InUse { by: 7, here: 8 },
        "this end of the pipe belongs to process 7: this process (8) cannot use it too"
    );
    says!(SendError::Interrupted, "the wait for room in the pipe was interrupted");
    says!(RecvError::Interrupted, "the wait for a message of the pipe was interrupted");
    let queue = || Label::new(Kind::QUEUE, "jobs", &Namespace::new("default").unwrap());
    says!(
        SlotHeld { queue: queue() },
        "this thread holds a slot of queue \"jobs\": commit or drop it before it uses that end again"
    );
    says!(PutError::Interrupted(queue()), "the wait for queue \"jobs\" was interrupted");
    says!(GetError::Interrupted(queue()), "the wait for queue \"jobs\" was interrupted");
    says!(
        JoinError::Interrupted { queue: queue() },
        "the wait for the items of queue \"jobs\" to be done was interrupted"
    );
    let fault = GetError::from(Fault::Orphaned { object: queue() });
    assert_eq!(told(&fault), told(&Fault::Orphaned { object: queue() }));
}

#[test]
fn messages_in_files_of_their_own() {
    let queue = || Label::new(Kind::QUEUE, "jobs", &Namespace::new("default").unwrap());
    let full = OpenError::NoInodes { object: queue() };
    let room = "/dev/shm has no room for one more file, which queue \"jobs\" needs: remove some (`df -i /dev/shm` counts \
                them), or mount it with a larger nr_inodes";
    says!(
        PutError::Spill { queue: queue(), len: 300, source: full },
        format!(
            "a message of 300 bytes is larger than queue \"jobs\", and a file of its own could not be made: {room}"
        )
    );
    let gone = || OpenError::Gone { object: queue() };
    says!(
        GetError::Spill { queue: queue(), source: gone() },
        "a message of queue \"jobs\" lies in a file of its own, or has a pipe in it, whose file cannot be opened now: queue \
         \"jobs\" is gone: it was removed after this handle was made"
    );
    says!(
        GetError::Lost { queue: queue(), source: gone() },
        "a message of queue \"jobs\" is lost: the file in which it lay was removed or spoilt: queue \"jobs\" is gone: it was \
         removed after this handle was made"
    );
}
