//! Ends of pipes in messages: whoever waits at the other end of a pipe is told when nobody has this one any
//! more.
//!
//! The test itself, who is never killed, makes pipes, keeps one end of each, and puts the other into a queue,
//! a joinable queue, or a pipe that goes through the queue. Participants take them, use them, send them on,
//! throw messages away undecoded, give leases back, and are killed anywhere. When all participants are dead
//! and nothing is in the queues any more, every end that was kept is told so.

use super::{End, LIMIT, Law, Participant, Place};
use procession::shm::gc;
use procession::{
    GetError, JoinableQueue, Namespace, Pipe, PutError, Queue, Receiver, RecvError, SendError, Sender,
};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::VecDeque;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many pipes the test keeps an end of, at most.
const KEPT: usize = 150;
/// How many messages the participants have to get before they may wait for another.
const CAPACITY: usize = 8;
/// How often an end that is given back comes again.
const ATTEMPTS: u32 = 3;
/// How long it may take until whoever waits is told: everybody is dead by then, and each wait asks.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// One end on its way.
#[derive(Serialize, Deserialize)]
enum OneEnd {
    Receives(Slowly, Receiver<u64>),
    Sends(Slowly, Sender<u64>),
}

/// What goes through the queue: an end, or a pipe in which ends are.
#[derive(Serialize, Deserialize)]
enum Parcel {
    End(OneEnd),
    Pipe(Slowly, Receiver<OneEnd>),
}

/// What it takes a while to decode, now and then: whoever is killed meanwhile has the message, and not yet
/// the end in it.
#[derive(Serialize)]
struct Slowly;

impl<'de> Deserialize<'de> for Slowly {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        static DECODED: AtomicU32 = AtomicU32::new(0);
        if DECODED.fetch_add(1, Relaxed).is_multiple_of(4) {
            std::thread::sleep(Duration::from_millis(1));
        }
        <()>::deserialize(deserializer).map(|()| Self)
    }
}

/// What no parcel is.
#[derive(Serialize)]
struct Unreadable;

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("a stranger's"))
    }
}

pub(super) struct Ends {
    namespace: Namespace,
    queue: Queue<Parcel>,
    /// The same queue, for those who do not know what is in it.
    strangers: Queue<Unreadable>,
    jobs: JoinableQueue<OneEnd>,
    kept: Mutex<Kept>,
}

/// The test's own ends, the oldest first; how many there have been, and how many of them were told before the
/// end.
#[derive(Default)]
struct Kept {
    ends: VecDeque<OneEnd>,
    made: u64,
    told: u64,
}

impl Ends {
    pub(super) fn new(place: &Place) -> Self {
        let at = &place.namespace;
        let queue = Queue::options().namespace(at).capacity(CAPACITY).type_tag("parcel");
        let queue = queue.open_or_create("parcels").unwrap();
        let strangers = Queue::options().namespace(at).type_tag("parcel").open("parcels").unwrap();
        let jobs = JoinableQueue::options().namespace(at).capacity(CAPACITY).max_attempts(ATTEMPTS);
        Self {
            namespace: at.clone(),
            queue,
            strangers,
            jobs: jobs.open_or_create("end-jobs").unwrap(),
            kept: Mutex::default(),
        }
    }

    fn pipe<T: Serialize + for<'de> Deserialize<'de>>(&self) -> (Sender<T>, Receiver<T>) {
        Pipe::options().namespace(&self.namespace).bytes(256).pipe().unwrap()
    }

    /// Takes whatever comes next, and does something with it.
    fn take(&self, who: &mut Participant<'_>) {
        who.does("taking an end");
        match who.dice.below(4) {
            0 => self.take_from_jobs(who),
            // Taken, and thrown away undecoded; or left where it is.
            1 => {
                let away = who.dice.below(2) == 0;
                let got = if away { self.strangers.get_timeout(LIMIT) } else { self.strangers.peek() };
                match got {
                    Err(GetError::Decode { .. } | GetError::TimedOut(_) | GetError::WouldBlock(_)) => {}
                    Ok(Unreadable) => who.breaks("a parcel that nobody can read was read"),
                    Err(error) => who.breaks(&format!("reading a parcel: {error}")),
                }
            }
            _ => match self.queue.get_timeout(LIMIT) {
                Ok(Parcel::End(end)) => self.use_end(who, end),
                Ok(Parcel::Pipe(_, ends)) => self.unwrap(who, &ends),
                // Those at the other end are gone, or the one who had it died with it.
                Err(GetError::TimedOut(_) | GetError::Decode { .. }) => {}
                Err(error) => who.breaks(&format!("getting a parcel: {error}")),
            },
        }
    }

    fn take_from_jobs(&self, who: &mut Participant<'_>) {
        match self.jobs.get_timeout(LIMIT) {
            // Given back.
            Ok(_) if who.dice.below(3) == 0 => {}
            Ok(lease) => {
                who.does("using an end");
                who.linger(2);
                if let OneEnd::Sends(_, sender) = &*lease {
                    drop(sender.try_send(&1));
                }
                who.must(lease.task_done(), "finishing with an end");
            }
            Err(GetError::TimedOut(_) | GetError::Decode { .. }) => {}
            Err(error) => who.breaks(&format!("getting an end to work with: {error}")),
        }
    }

    fn unwrap(&self, who: &mut Participant<'_>, ends: &Receiver<OneEnd>) {
        if who.dice.below(4) == 0 {
            return; // With what is in it.
        }
        match ends.recv_timeout(LIMIT) {
            Ok(end) => self.use_end(who, end),
            Err(RecvError::Eof | RecvError::TimedOut | RecvError::PeerDied { .. }) => {}
            Err(RecvError::Decode { .. }) => {}
            Err(error) => who.breaks(&format!("receiving an end: {error}")),
        }
    }

    fn use_end(&self, who: &mut Participant<'_>, end: OneEnd) {
        who.does("using an end");
        match (who.dice.below(4), end) {
            (0, end) => self.send_on(who, end),
            (1, OneEnd::Sends(_, sender)) => drop(sender.send_timeout(&2, LIMIT)),
            (1, OneEnd::Receives(_, receiver)) => drop(receiver.recv_timeout(LIMIT)),
            _ => who.linger(2),
        }
    }

    /// Another may have it. There may be no room: then it is dropped.
    fn send_on(&self, who: &mut Participant<'_>, end: OneEnd) {
        let outcome = match who.dice.below(3) {
            0 => self.jobs.try_put(&end),
            1 => self.queue.try_put(&Parcel::End(end)),
            _ => match self.wrap(&end) {
                Some(parcel) => self.queue.try_put(&parcel),
                None => return,
            },
        };
        match outcome {
            Ok(()) | Err(PutError::WouldBlock(_)) => {}
            Err(error) => who.breaks(&format!("sending an end on: {error}")),
        }
    }

    /// A pipe with the end in it, whose sender does without it already.
    fn wrap(&self, end: &OneEnd) -> Option<Parcel> {
        let (sender, receiver) = self.pipe();
        sender.try_send(end).ok().map(|()| Parcel::Pipe(Slowly, receiver))
    }

    /// The test makes another pipe, if there is room.
    fn give(&self, kept: &mut Kept) {
        let (sender, receiver) = self.pipe();
        let (mine, theirs) = if kept.made.is_multiple_of(2) {
            (OneEnd::Receives(Slowly, receiver), OneEnd::Sends(Slowly, sender))
        } else {
            (OneEnd::Sends(Slowly, sender), OneEnd::Receives(Slowly, receiver))
        };
        let outcome = match kept.made / 2 % 3 {
            0 => self.jobs.try_put(&theirs),
            1 => self.queue.try_put(&Parcel::End(theirs)),
            _ => self.queue.try_put(&self.wrap(&theirs).unwrap()),
        };
        match outcome {
            Ok(()) => {
                kept.ends.push_back(mine);
                kept.made += 1;
            }
            Err(PutError::WouldBlock(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Nothing is in the queues any more.
    fn empty_the_queues(&self) {
        loop {
            match self.queue.try_get() {
                Ok(_) | Err(GetError::Decode { .. }) => {}
                Err(GetError::WouldBlock(_)) => break,
                Err(error) => panic!("{error}"),
            }
        }
        loop {
            match self.jobs.try_get() {
                Ok(lease) => lease.task_done().unwrap(),
                Err(GetError::Decode { .. }) => {}
                Err(GetError::WouldBlock(_)) => break,
                Err(error) => panic!("{error}"),
            }
        }
        for letter in self.jobs.dead_letters().unwrap() {
            assert!(self.jobs.discard(&letter).unwrap(), "a dead letter is nobody else's");
        }
    }
}

/// Whether whoever waits at this end is told within that time that nobody has the other one.
fn is_told(end: &OneEnd, within: Duration) -> bool {
    let deadline = std::time::Instant::now() + within;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        match end {
            OneEnd::Receives(_, receiver) => match receiver.recv_timeout(left) {
                Ok(_) => {}
                Err(RecvError::Eof | RecvError::PeerDied { .. }) => return true,
                Err(RecvError::TimedOut) => return false,
                Err(error) => panic!("{error}"),
            },
            OneEnd::Sends(_, sender) => match sender.send_timeout(&3, left) {
                Ok(()) => {}
                Err(SendError::PeerClosed | SendError::PeerDied { .. }) => return true,
                Err(SendError::TimedOut) => return false,
                Err(error) => panic!("{error}"),
            },
        }
    }
}

impl Law for Ends {
    fn step(&self, who: &mut Participant<'_>) {
        self.take(who);
    }

    fn tend(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.ends.len() < KEPT {
            self.give(&mut kept);
        } else if let Some(oldest) = kept.ends.pop_front() {
            if is_told(&oldest, Duration::from_millis(1)) {
                kept.told += 1;
            } else {
                kept.ends.push_back(oldest);
            }
        }
    }

    fn check(&self, _: &End<'_>) {
        self.empty_the_queues();
        let Kept { ends, made, told } =
            std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        let count = ends.len();
        let untold = ends.iter().filter(|end| !is_told(end, TOLD_WITHIN)).take(3).count();
        assert!(untold == 0, "at {untold} or more of {count} ends nobody is told that the others are gone");
        drop(ends);
        drop(gc::collect(Some(&self.namespace), gc::Options::default()));
        crate::note(&format!(
            "chaos: {made} ends in messages, {told} told that the other was gone, {count} at the end"
        ));
    }

    fn unlink(&self) {
        self.queue.unlink().unwrap();
        self.jobs.unlink().unwrap();
    }
}
