//! Ends of pipes in messages: whatever becomes of the message, whoever waits at the other end is told, and
//! the pipe's file goes.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::{
    Connection, GetError, JoinableQueue, Namespace, Pipe, Pool, Process, PutError, Queue, Receiver,
    RecvError, SendError, Sender, UnusableEnd,
};
use procession_tests::Scratch;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

procession::test_support!();

/// Far longer than it takes, and below the watchdog.
const LONG: Duration = Duration::from_secs(30);

type End = Connection<u32, u32>;

fn duplex(namespace: &Namespace) -> (End, End) {
    Pipe::options().namespace(namespace).duplex().unwrap()
}

fn queue<T: Serialize + serde::de::DeserializeOwned>(namespace: &Namespace) -> Queue<T> {
    Queue::options().namespace(namespace).anonymous().unwrap()
}

/// What it says of what it is decoded to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Fate {
    Fine,
    Wrong,
    Panics,
    Kills,
}

/// Whoever decodes it meets its fate.
#[derive(Clone, Copy)]
struct Fatal(Fate);

impl Serialize for Fatal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Fatal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Fate::deserialize(deserializer)? {
            Fate::Fine => Ok(Self(Fate::Fine)),
            Fate::Wrong => Err(serde::de::Error::custom("as it says")),
            Fate::Panics => panic!("as it says"),
            Fate::Kills => {
                nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
                unreachable!()
            }
        }
    }
}

/// The end comes before, between and behind what may go wrong.
type Risky = (Fatal, End, Fatal);

/// What the other side hears.
fn told(end: &End) -> &'static str {
    match end.recv_timeout(LONG) {
        Err(RecvError::Eof) => "eof",
        Err(RecvError::PeerDied { .. }) => "died",
        Err(RecvError::TimedOut) => "nothing",
        other => panic!("{other:?}"),
    }
}

/// That the end is of use.
fn works(here: &End, there: &End) {
    here.send(&7).unwrap();
    assert_eq!(there.recv_timeout(LONG).unwrap(), 7);
}

#[test]
fn a_consumer_that_dies_over_its_message_takes_the_end_along() {
    let scratch = Scratch::new();
    let queue = queue::<Risky>(&scratch);
    for fates in [[Fate::Kills, Fate::Fine], [Fate::Fine, Fate::Kills]] {
        let (mine, theirs) = duplex(&scratch);
        queue.put(&(Fatal(fates[0]), theirs, Fatal(fates[1]))).unwrap();
        let consumer = Process::spawn(|queue: Queue<Risky>| drop(queue.get()), queue.clone()).unwrap();
        assert!(consumer.join().is_err());
        assert_eq!(told(&mine), "died");
    }
}

#[test]
fn a_message_that_cannot_be_decoded_closes_its_end() {
    let scratch = Scratch::new();
    let queue = queue::<Risky>(&scratch);
    for fates in [
        [Fate::Wrong, Fate::Fine],
        [Fate::Fine, Fate::Wrong],
        [Fate::Panics, Fate::Fine],
        [Fate::Fine, Fate::Panics],
    ] {
        let (mine, theirs) = duplex(&scratch);
        queue.put(&(Fatal(fates[0]), theirs, Fatal(fates[1]))).unwrap();
        let got = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| queue.get().map(drop)));
        assert!(!matches!(got, Ok(Ok(()))));
        assert_eq!(told(&mine), "eof");
    }
    // The same in a batch, with what comes behind it.
    let (first, theirs) = duplex(&scratch);
    let (second, others) = duplex(&scratch);
    queue
        .batch()
        .put(&[
            (Fatal(Fate::Wrong), theirs, Fatal(Fate::Fine)),
            (Fatal(Fate::Fine), others, Fatal(Fate::Fine)),
        ])
        .unwrap();
    let failed = queue.batch().get(2).map(drop).unwrap_err();
    assert_eq!(failed.rest.len(), 1);
    assert_eq!([told(&first), told(&second)], ["eof"; 2]);
}

#[test]
fn messages_that_are_thrown_away_close_their_ends() {
    let scratch = Scratch::new();
    let throw_away: [fn(Queue<End>); 7] = [
        drop,
        |queue| assert_eq!(queue.shutdown(true).unwrap(), 1),
        |queue| assert!(matches!(queue.bytes().get(), Err(GetError::NotBytes(_)))),
        |queue| assert!(matches!(queue.bytes().get_into(&mut [0; 4096]), Err(GetError::NotBytes(_)))),
        |queue| drop(queue.batch().get(3).unwrap()),
        |queue| drop(queue.get().unwrap()),
        |queue| assert!(matches!(queue.slots().read(), Err(GetError::NotBytes(_)))),
    ];
    for (index, throw_away) in throw_away.into_iter().enumerate() {
        let queue = queue::<End>(&scratch);
        let (mine, theirs) = duplex(&scratch);
        queue.put(&theirs).unwrap();
        drop(theirs);
        throw_away(queue);
        assert_eq!(told(&mine), "eof", "{index}");
    }
}

#[test]
fn a_named_queue_that_nobody_can_open_any_more_gives_up_its_ends() {
    let scratch = Scratch::new();
    let queue: Queue<End> = Queue::options().namespace(&scratch).create("unlinked").unwrap();
    let jobs: JoinableQueue<End> = JoinableQueue::options().namespace(&scratch).create("jobs").unwrap();
    let [(mine, theirs), (other, others)] = [(); 2].map(|()| duplex(&scratch));
    queue.put(&theirs).unwrap();
    jobs.put(&others).unwrap();
    drop((theirs, others));
    queue.unlink().unwrap();
    jobs.unlink().unwrap();
    // Those who have it go on with it.
    for end in [&mine, &other] {
        assert!(matches!(end.recv_timeout(Duration::from_millis(300)), Err(RecvError::TimedOut)));
    }
    drop((queue, jobs));
    assert_eq!([told(&mine), told(&other)], ["eof"; 2]);
}

#[test]
fn what_goes_with_the_last_process_gives_up_its_ends() {
    let scratch = Scratch::new();
    let (mine, theirs) = duplex(&scratch);
    // The queue is the other process's: it dies with it, and the message in it.
    let make = |(namespace, end): (String, End)| -> Result<(), String> {
        let namespace = Namespace::new(&namespace).map_err(|error| error.to_string())?;
        let queue = queue::<End>(&namespace);
        queue.put(&end).map_err(|error| error.to_string())?;
        std::mem::forget(queue);
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
        Ok(())
    };
    let maker = Process::spawn(make, (scratch.name().to_owned(), theirs)).unwrap();
    assert!(maker.join().is_err());
    assert_eq!(told(&mine), "died");
}

#[test]
fn a_large_message_takes_its_end_as_a_small_one_does() {
    let scratch = Scratch::new();
    let queue: Queue<(Vec<u64>, End, Fatal)> =
        Queue::options().namespace(&scratch).bytes(4096).anonymous().unwrap();
    let bulk = vec![u64::MAX; 10_000];
    for (how, said) in [("get", "works"), ("wrong", "eof"), ("shutdown", "eof"), ("kill", "died")] {
        let (mine, theirs) = duplex(&scratch);
        let fate = match how {
            "wrong" => Fate::Wrong,
            "kill" => Fate::Kills,
            _ => Fate::Fine,
        };
        let queue = if how == "shutdown" {
            Queue::options().namespace(&scratch).bytes(4096).anonymous().unwrap()
        } else {
            queue.clone()
        };
        queue.put(&(bulk.clone(), theirs, Fatal(fate))).unwrap();
        match how {
            "get" => {
                let (_, theirs, _) = queue.get().unwrap();
                works(&mine, &theirs);
                continue;
            }
            "wrong" => assert!(queue.get().is_err()),
            "shutdown" => assert_eq!(queue.shutdown(true).unwrap(), 1),
            _ => {
                let consumer =
                    Process::spawn(|queue: Queue<(Vec<u64>, End, Fatal)>| drop(queue.get()), queue);
                assert!(consumer.unwrap().join().is_err());
            }
        }
        assert_eq!(told(&mine), said, "{how}");
    }
}

#[test]
fn peek_takes_nothing() {
    let scratch = Scratch::new();
    let queue = queue::<End>(&scratch);
    let (mine, theirs) = duplex(&scratch);
    queue.put(&theirs).unwrap();
    drop(theirs);
    for _ in 0..3 {
        let seen = queue.peek().unwrap();
        assert!(matches!(seen.send(&1), Err(SendError::Unusable(UnusableEnd::InUse { .. }))));
        seen.close();
        assert!(!seen.is_closed());
        drop(seen);
    }
    let peeker = Process::spawn(|queue: Queue<End>| drop(queue.peek().unwrap()), queue.clone()).unwrap();
    peeker.join().unwrap();
    works(&mine, &queue.get().unwrap());
}

#[test]
fn a_lease_that_is_given_back_keeps_its_end_useful() {
    let scratch = Scratch::new();
    let options = || JoinableQueue::<Risky>::options().namespace(&scratch).max_attempts(4);
    let jobs = options().anonymous().unwrap();
    let (mine, theirs) = duplex(&scratch);
    jobs.put(&(Fatal(Fate::Fine), theirs, Fatal(Fate::Fine))).unwrap();
    drop(jobs.get().unwrap());
    let consume = |jobs: JoinableQueue<Risky>| {
        let _lease = jobs.get().unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    };
    assert!(Process::spawn(consume, jobs.clone()).unwrap().join().is_err());
    drop(jobs.get_timeout(LONG).unwrap());
    let lease = jobs.get_timeout(LONG).unwrap();
    assert_eq!(lease.attempt(), 4);
    works(&mine, &lease.1);
    lease.task_done().unwrap();
    assert_eq!(told(&mine), "eof");
}

#[test]
fn an_item_that_is_done_or_discarded_closes_its_end() {
    let scratch = Scratch::new();
    let jobs = JoinableQueue::<End>::options().namespace(&scratch).max_attempts(1).anonymous().unwrap();
    let (mine, theirs) = duplex(&scratch);
    jobs.put(&theirs).unwrap();
    drop(theirs);
    jobs.get().unwrap().task_done().unwrap();
    assert_eq!(told(&mine), "eof");

    let (mine, theirs) = duplex(&scratch);
    jobs.put(&theirs).unwrap();
    drop(theirs);
    drop(jobs.get().unwrap());
    let letter = jobs.dead_letters().unwrap().remove(0);
    drop(letter.item().unwrap());
    assert!(jobs.retry(&letter).unwrap());
    assert!(!jobs.discard(&letter).unwrap());
    let lease = jobs.get().unwrap();
    works(&mine, &lease);
    drop(lease);

    let (mine, theirs) = duplex(&scratch);
    jobs.put(&theirs).unwrap();
    drop(theirs);
    drop(jobs.get().unwrap());
    for letter in jobs.dead_letters().unwrap() {
        assert!(jobs.discard(&letter).unwrap());
    }
    assert_eq!(told(&mine), "eof");
}

#[test]
fn what_a_pipe_s_receiver_does_not_take_is_given_up_with_it() {
    let scratch = Scratch::new();
    let options = || Pipe::options().namespace(&scratch);
    // Closed with the message inside.
    let (sender, receiver): (Sender<End>, Receiver<End>) = options().pipe().unwrap();
    let (mine, theirs) = duplex(&scratch);
    sender.send(&theirs).unwrap();
    drop((theirs, receiver));
    assert_eq!(told(&mine), "eof");
    // Received by who cannot decode it; taken as bytes.
    let (sender, receiver): (Sender<Risky>, Receiver<Risky>) = options().pipe().unwrap();
    let [(mine, theirs), (other, others)] = [(); 2].map(|()| duplex(&scratch));
    sender.send(&(Fatal(Fate::Wrong), theirs, Fatal(Fate::Fine))).unwrap();
    sender.send(&(Fatal(Fate::Fine), others, Fatal(Fate::Fine))).unwrap();
    assert!(receiver.recv().is_err());
    assert!(matches!(receiver.recv_bytes(), Err(RecvError::NotBytes(_))));
    drop(receiver.recv().unwrap());
    assert_eq!([told(&mine), told(&other)], ["eof"; 2]);
    // Through a pipe whose receiving end is itself in a message of a queue that is dropped.
    let queue = queue::<Receiver<End>>(&scratch);
    let (sender, receiver): (Sender<End>, Receiver<End>) = options().pipe().unwrap();
    let (mine, theirs) = duplex(&scratch);
    sender.send(&theirs).unwrap();
    queue.put(&receiver).unwrap();
    drop((theirs, receiver, queue));
    assert_eq!(told(&mine), "eof");
}

#[test]
fn a_pipe_s_receiver_that_dies_over_a_message_takes_the_end_along() {
    let scratch = Scratch::new();
    for fates in [[Fate::Kills, Fate::Fine], [Fate::Fine, Fate::Kills]] {
        let (sender, receiver): (Sender<Risky>, Receiver<Risky>) =
            Pipe::options().namespace(&scratch).pipe().unwrap();
        let (mine, theirs) = duplex(&scratch);
        let child = Process::spawn(|receiver: Receiver<Risky>| drop(receiver.recv()), receiver).unwrap();
        sender.send(&(Fatal(fates[0]), theirs, Fatal(fates[1]))).unwrap();
        assert!(child.join().is_err());
        assert!(["eof", "died"].contains(&told(&mine)));
    }
}

#[test]
fn ends_in_messages_that_were_not_put_stay_here() {
    let scratch = Scratch::new();
    let queue: Queue<End> = Queue::options().namespace(&scratch).capacity(2).anonymous().unwrap();
    let mut pairs: Vec<(End, End)> = (0..4).map(|_| duplex(&scratch)).collect();
    let ends: Vec<End> =
        pairs.iter_mut().map(|pair| std::mem::replace(&mut pair.1, duplex(&scratch).1)).collect();
    let failed = queue.batch().try_put(&ends).unwrap_err();
    assert!(matches!((failed.put, failed.error), (2, PutError::WouldBlock(_))));
    // Two are in the queue, and two are here: these are closed with their handles, those are of use.
    drop(ends);
    assert_eq!([told(&pairs[2].0), told(&pairs[3].0)], ["eof"; 2]);
    for (mine, _) in &pairs[..2] {
        works(mine, &queue.get().unwrap());
    }
}

/// What a worker does with the end in its item.
fn serve(item: Risky) -> u32 {
    item.1.recv().unwrap() + 1
}

#[test]
fn an_end_in_a_pool_s_item_goes_with_the_item() {
    let scratch = Scratch::new();
    let pool = Pool::new(2).unwrap();
    let risky = |fate, end| (Fatal(fate), end, Fatal(Fate::Fine));
    let (mine, theirs) = duplex(&scratch);
    let mut result = pool.apply_async(serve, risky(Fate::Fine, theirs));
    mine.send(&41).unwrap();
    assert_eq!(result.get().unwrap(), 42);
    // Its worker cannot decode it, or is killed by it, before it comes to the end or after.
    for fates in [
        [Fate::Wrong, Fate::Fine],
        [Fate::Fine, Fate::Wrong],
        [Fate::Kills, Fate::Fine],
        [Fate::Fine, Fate::Kills],
    ] {
        let (mine, theirs) = duplex(&scratch);
        let item = (Fatal(fates[0]), theirs, Fatal(fates[1]));
        assert!(pool.apply(serve, item).is_err());
        assert_ne!(told(&mine), "nothing", "{fates:?}");
    }
    // It is never begun.
    let [(first, theirs), (second, others)] = [(); 2].map(|()| duplex(&scratch));
    let sleep = |item: Risky| drop((item, std::thread::sleep(LONG)));
    let busy: Vec<_> =
        (0..2).map(|_| pool.apply_async(sleep, risky(Fate::Fine, duplex(&scratch).1))).collect();
    let mut waiting = pool.apply_async(serve, risky(Fate::Fine, theirs));
    let thrown_away = pool.apply_async(serve, risky(Fate::Fine, others));
    drop(thrown_away);
    pool.terminate();
    assert!(waiting.get().is_err());
    assert_eq!([told(&first), told(&second)], ["eof"; 2]);
    drop(busy);
}

#[test]
fn an_end_in_a_pool_s_result_goes_with_the_result() {
    let scratch = Scratch::new();
    let pool = Pool::new(1).unwrap();
    // The worker answers with the end that it was given.
    let bounce = |(fatal, end): (Fate, End)| (Fatal(Fate::Fine), end, Fatal(fatal));
    let (mine, theirs) = duplex(&scratch);
    let (_, theirs, _) = pool.apply(bounce, (Fate::Fine, theirs)).unwrap();
    works(&mine, &theirs);
    // Nobody can decode it; nobody asks for it.
    let (mine, theirs) = duplex(&scratch);
    assert!(pool.apply(bounce, (Fate::Wrong, theirs)).is_err());
    assert_eq!(told(&mine), "eof");
    let (mine, theirs) = duplex(&scratch);
    let result = pool.apply_async(bounce, (Fate::Fine, theirs));
    while !result.is_ready() {
        std::thread::yield_now();
    }
    drop(result);
    assert_eq!(told(&mine), "eof");
    // All of them, and a worker that is gone before anybody looks.
    let (mine, theirs): (Vec<End>, Vec<End>) = (0..5).map(|_| duplex(&scratch)).unzip();
    let bounced = pool.map(bounce, theirs.into_iter().map(|end| (Fate::Fine, end))).unwrap();
    drop(pool);
    for (mine, (_, theirs, _)) in mine.iter().zip(&bounced) {
        works(mine, theirs);
    }
}

/// The files of pipes whose ends were lost go, although nobody waits for them.
#[test]
fn the_sender_keeps_nothing_of_what_was_lost() {
    let scratch = Scratch::new();
    for _ in 0..20 {
        let queue = queue::<End>(&scratch);
        let (mine, theirs) = duplex(&scratch);
        queue.put(&theirs).unwrap();
        drop((mine, theirs, queue));
    }
    // What is closed here looks after some of those that are underway.
    for _ in 0..20 {
        drop(duplex(&scratch));
    }
    assert_eq!(scratch.objects(), [""; 0]);
}
