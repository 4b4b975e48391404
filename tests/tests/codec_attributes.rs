//! serde's attributes, through everything that carries values: a value arrives as it was, or somebody is
//! told; and what was put can be got.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]

use procession::{
    GetManyError, JoinableQueue, Pool, Process, PutError, Queue, RecvError, SendError, SimpleQueue, Value,
    codec, duplex, pipe,
};
use procession_tests::{Watchdog, isolate};
use serde::de::DeserializeOwned;
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::Debug;

procession::test_support!();

/// What can be sent in these tests.
trait Sent: Serialize + DeserializeOwned + Clone + PartialEq + Debug + Send + 'static {}
impl<T: Serialize + DeserializeOwned + Clone + PartialEq + Debug + Send + 'static> Sent for T {}

/// What became of a value.
#[derive(Debug, PartialEq)]
enum Fate<T> {
    Arrived(T),
    /// Whoever sent it was told, and nothing was written.
    Refused(String),
    /// Whoever asked for the result was told.
    Failed(String),
}

/// A namespace for the test program, and half a minute for the test.
fn watched() -> Watchdog {
    isolate();
    Watchdog::start()
}

/// Every channel in which a message is acknowledged before it is decoded.
fn through_queues<T: Sent>(value: &T) -> Vec<(&'static str, Fate<T>)> {
    let queue = Queue::new().unwrap();
    let put = match queue.put(value) {
        Ok(()) => Fate::Arrived(queue.get().unwrap()),
        Err(PutError::Encode(why)) => Fate::Refused(why.to_string()),
        Err(error) => panic!("{error}"),
    };
    let many = match queue.batch().put([value, value]) {
        Ok(()) => {
            let [first, second] = queue
                .batch()
                .drain()
                .map_err(|GetManyError { error, .. }| error)
                .unwrap()
                .try_into()
                .unwrap();
            assert_eq!(first, second);
            Fate::Arrived(first)
        }
        Err(failed) => Fate::Refused(std::error::Error::source(&failed.error).unwrap().to_string()),
    };
    let simple = SimpleQueue::new().unwrap();
    let simply = match simple.put(value) {
        Ok(()) => Fate::Arrived(simple.get().unwrap()),
        Err(error) => Fate::Refused(std::error::Error::source(&error).unwrap().to_string()),
    };
    let joinable = JoinableQueue::new().unwrap();
    let joined = match joinable.put(value) {
        Ok(()) => {
            let lease = joinable.get().unwrap();
            let item = T::clone(&lease);
            lease.task_done().unwrap();
            Fate::Arrived(item)
        }
        Err(error) => Fate::Refused(std::error::Error::source(&error).unwrap().to_string()),
    };
    assert!(queue.is_empty() && simple.is_empty() && joinable.unfinished() == 0, "something is left");
    vec![("put", put), ("put_many", many), ("SimpleQueue", simply), ("JoinableQueue", joined)]
}

fn through_pipes<T: Sent>(value: &T) -> Vec<(&'static str, Fate<T>)> {
    let (sender, receiver) = pipe::<T>().unwrap();
    let (one, two) = duplex::<T, T>().unwrap();
    let fate = |sent: Result<(), SendError>, receive: &dyn Fn() -> T| match sent {
        Ok(()) => Fate::Arrived(receive()),
        Err(SendError::Encode(why)) => Fate::Refused(why.to_string()),
        Err(error) => panic!("{error}"),
    };
    let piped = fate(sender.send(value), &|| receiver.recv().unwrap());
    let duplexed = fate(two.send(value), &|| one.recv().unwrap());
    vec![("pipe", piped), ("duplex", duplexed)]
}

fn echo<T>(value: T) -> T {
    value
}

/// Where whoever sent it waits for the answer.
fn through_processes<T: Sent>(pool: &Pool, value: &T) -> Vec<(&'static str, Fate<T>)> {
    let joined = match Process::spawn(echo::<T>, value.clone()).unwrap().join() {
        Ok(back) => Fate::Arrived(back),
        Err(error) => Fate::Failed(error.to_string()),
    };
    let mapped = match pool.map(echo::<T>, [value.clone()]) {
        Ok(mut back) => Fate::Arrived(back.remove(0)),
        Err(error) => Fate::Failed(error.to_string()),
    };
    let state = match pool.map_with(value, |state: &T, _: u8| state.clone(), [0]) {
        Ok(mut back) => Fate::Arrived(back.remove(0)),
        Err(error) => Fate::Failed(error.to_string()),
    };
    vec![("Process", joined), ("Pool::map", mapped), ("Pool::map_with", state)]
}

/// It arrives through everything as it was.
fn arrives<T: Sent>(pool: &Pool, value: &T) {
    let queues = through_queues(value).into_iter();
    for (channel, fate) in queues.chain(through_pipes(value)).chain(through_processes(pool, value)) {
        assert_eq!(fate, Fate::Arrived(value.clone()), "{channel}");
    }
}

/// It is refused before anything is written, in words that name `word`; a process or pool says so at the
/// latest in its answer.
fn is_refused<T: Sent>(pool: &Pool, value: &T, word: &str) {
    for (channel, fate) in through_queues(value).into_iter().chain(through_pipes(value)) {
        let Fate::Refused(why) = fate else { panic!("{channel}: {fate:?}") };
        assert!(why.contains(word), "{channel}: {why}");
    }
    for (channel, fate) in through_processes(pool, value) {
        let Fate::Failed(why) = fate else { panic!("{channel}: {fate:?}") };
        assert!(why.contains(word), "{channel}: {why}");
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Job {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    note: Option<u8>,
    retries: u8,
    payload: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unwritten {
    a: u8,
    #[serde(skip_serializing, default)]
    b: u8,
    c: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unread {
    a: u8,
    #[serde(skip_deserializing)]
    b: u8,
    c: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
    Text(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Started { id: u32 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "content")]
enum Adjacent {
    Unit,
    Pair(u8, u8),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    more: BTreeMap<String, u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Nested {
    Plain(u8),
    Strange(Vec<Option<Tagged>>),
}

#[test]
fn each_attribute_is_carried_or_refused_by_every_channel() {
    let _watchdog = watched();
    let pool = Pool::new(1).unwrap();
    for note in [None, Some(1)] {
        arrives(&pool, &Job { note, retries: 0, payload: vec![1, 9] });
    }
    is_refused(&pool, &Unwritten { a: 1, b: 2, c: vec![1, 9] }, "skip_serializing");
    is_refused(&pool, &Unread { a: 1, b: 2, c: vec![1, 9] }, "skip_deserializing");
    is_refused(&pool, &Untagged::Number(7), "untagged");
    is_refused(&pool, &Untagged::Text("seven".to_owned()), "untagged");
    is_refused(&pool, &Tagged::Started { id: 1 }, "#[serde(tag)]");
    is_refused(&pool, &Adjacent::Unit, "#[serde(tag)]");
    is_refused(&pool, &Adjacent::Pair(1, 2), "#[serde(tag)]");
    is_refused(&pool, &serde_json::json!({ "a": [1, "b", null] }), "serde_json::Value");
    is_refused(&pool, &serde_json::json!(null), "serde_json::Value");
    let flat = Flat { id: 1, more: BTreeMap::from([("x".to_owned(), 2)]) };
    let queued = through_queues(&flat).into_iter().chain(through_pipes(&flat));
    for (channel, fate) in queued {
        assert!(matches!(&fate, Fate::Refused(why) if why.contains("flatten")), "{channel}: {fate:?}");
    }
    // What is carried first says nothing about what comes later.
    arrives(&pool, &Nested::Plain(1));
    arrives(&pool, &Nested::Strange(vec![None]));
    is_refused(&pool, &Nested::Strange(vec![Some(Tagged::Started { id: 1 })]), "#[serde(tag)]");
    arrives(&pool, &Nested::Strange(vec![]));
}

/// A handle in a message is taken by whoever gets the message, and not by whoever puts it.
#[test]
fn a_message_with_an_end_of_a_pipe_is_not_tried() {
    let _watchdog = watched();
    let queue = Queue::new().unwrap();
    let (mine, theirs) = duplex::<u32, u32>().unwrap();
    let value = Value::<u64>::new(0).unwrap();
    queue.put(&(theirs, value.clone())).unwrap();
    assert!(matches!(mine.try_poll(), Err(RecvError::WouldBlock)), "the other end is open");
    let (theirs, copy): (procession::Connection<u32, u32>, Value<u64>) = queue.get().unwrap();
    theirs.send(&5).unwrap();
    assert_eq!((mine.recv().unwrap(), copy.get().unwrap(), value.get().unwrap()), (5, 0, 0));
}

/// Whoever decodes it is killed.
#[derive(Debug)]
struct Deadly;

impl Serialize for Deadly {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Deadly {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).map_err(serde::de::Error::custom)?;
        unreachable!("it is dead")
    }
}

#[test]
fn an_item_that_kills_its_consumers_is_a_dead_letter_after_its_attempts() {
    let _watchdog = watched();
    let queue = JoinableQueue::<(u8, Deadly)>::options().max_attempts(2).anonymous().unwrap();
    // Who puts it lives.
    queue.put(&(7, Deadly)).unwrap();
    for _ in 0..2 {
        assert_eq!(queue.unfinished(), 1);
        let child =
            Process::spawn(|queue: JoinableQueue<(u8, Deadly)>| drop(queue.get()), queue.clone()).unwrap();
        assert!(child.join().is_err());
    }
    queue.join().unwrap();
    let letters = queue.dead_letters().unwrap();
    assert_eq!(
        letters.iter().map(|letter| (letter.attempts, &letter.bytes[..])).collect::<Vec<_>>(),
        [(2, &[7][..])]
    );
}

/// A tree as deep as hostile bytes can make it; what they cost is an error, and not the stack.
/// Written as what a `Tree` of so many branches would be, or a `Vec<()>` that is too long.
struct Hostile(usize);

impl Serialize for Hostile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut branch = Vec::new();
        codec::encode(&Tree::Branch(vec![Tree::Leaf]), &mut branch).map_err(serde::ser::Error::custom)?;
        let bytes = match self.0 {
            0 => vec![253, 0, 0, 0, 0, 1, 0, 0, 0],
            count => branch[..3].repeat(count),
        };
        let mut tuple = serializer.serialize_tuple(bytes.len())?;
        bytes.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Hostile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A Deserialize that panics decides nothing.
        drop(deserializer);
        panic!("nobody gets it as this")
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Branch(Vec<Tree>),
}

#[test]
fn what_is_too_deep_is_refused_and_hostile_bytes_are_an_error() {
    let _watchdog = watched();
    let queue = Queue::<Tree>::new().unwrap();
    let tree = |depth| (0..depth).fold(Tree::Leaf, |inner, _| Tree::Branch(vec![inner]));
    queue.put(&tree(100)).unwrap();
    let Err(PutError::Encode(why)) = queue.put(&tree(1000)) else { panic!("it was put") };
    assert!(why.to_string().contains("256 levels"), "{why}");
    // What another program writes that says it has the type.
    let deep = Queue::<Hostile>::options().type_tag("tree").create("deep").unwrap();
    let queue = Queue::<Tree>::options().type_tag("tree").open("deep").unwrap();
    deep.put(&Hostile(33_000)).unwrap();
    let error = queue.get().unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("256 levels"), "{error:?}");
    let units = Queue::<Vec<()>>::options().type_tag("tree").open("deep").unwrap();
    deep.put(&Hostile(0)).unwrap();
    assert!(units.get().is_err());
}
