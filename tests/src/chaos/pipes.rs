//! Pipes: what comes out is what was sent, in order and whole, and then the end: after all of it if the other
//! side has closed its end, and after all that was acknowledged if it has died. Whoever waits for one that is
//! gone is told so. When all are dead, nothing is left of them.
//!
//! A participant makes a pipe, keeps one end, and puts the other into a queue from which another takes it.

use super::{End, LIMIT, Law, Participant, Place, Table};
use procession::shm::gc;
use procession::{
    GetError, Namespace, Pipe, PutError, Queue, Receiver, RecvError, SendError, Sender, UnusableEnd,
};
use procession_sys::shm_struct;
use serde::{Deserialize, Serialize};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

/// Most pipes there are one after the other.
const PIPES: usize = 1 << 20;
/// Most messages that go through one.
const MESSAGES: u64 = 30;
/// How many bytes one holds at first, and once a long message came.
const ROOM: [[u32; 2]; 4] = [[64, 0], [256, 0], [256, 2048], [4096, 8192]];
/// How often the one waits at most for somebody to take the other end.
const PATIENCE: u32 = 5;
/// How often a wait for one that is known to be gone may end without being told so: each asks.
const UNTOLD: u32 = 25;

shm_struct! {
    /// What both sides of a pipe have to say.
    struct Witness {
        /// How many bytes it holds at first.
        room: AtomicU64,
        /// Messages whose sending began, and those that were acknowledged.
        begun: AtomicU64,
        sent: AtomicU64,
        received: AtomicU64,
        /// 1 once the sender is about to close its end, having sent all.
        is_over: AtomicU64,
        /// 1 once it has.
        is_closed: AtomicU64,
        /// The mark of who has taken the end that was put into the queue; 0 before.
        taker: AtomicU64,
        /// The mark of who has made it.
        maker: AtomicU64,
        /// 1 once the one and the other are about to do without their ends.
        left: [AtomicU64; 2],
        /// 1 once its maker did not wait for that any more: the pipe may be gone.
        is_abandoned: AtomicU64,
    }
}

shm_struct! {
    struct Words {
        made: AtomicU64,
        /// Pipes that were gone when an end of theirs was taken out of the queue; those whose maker did not
        /// wait.
        gone: AtomicU64,
        abandoned: AtomicU64,
        /// How often a receiver was told of the end, and of the death, of the other side.
        ends: AtomicU64,
        deaths: AtomicU64,
        /// Messages longer than their pipe.
        long: AtomicU64,
    }
}

/// Which pipe, which of its messages, and bytes that follow from both.
type Message = (u64, u64, Vec<u8>);

/// One end on its way, and which pipe it is of.
#[derive(Serialize, Deserialize)]
enum OneEnd {
    Receives(u64, Receiver<Message>),
    Sends(u64, Sender<Message>),
}

pub(super) struct Pipes {
    namespace: Namespace,
    ends: Queue<OneEnd>,
    words: Table<Words>,
    pipes: Table<Witness>,
}

impl Pipes {
    pub(super) fn new(place: &Place) -> Self {
        let at = &place.namespace;
        Self {
            namespace: at.clone(),
            ends: Queue::options().namespace(at).capacity(8).open_or_create("ends").unwrap(),
            words: place.table("pipe-words", 1),
            pipes: place.table("pipes", PIPES),
        }
    }

    fn words(&self) -> &Words {
        &self.words[0]
    }

    /// Whether the other side of a pipe has been taken by somebody, who has left it or is known to be dead.
    fn is_gone(&self, who: &Participant<'_>, id: u64, is_maker: bool) -> bool {
        let pipe = &self.pipes[id as usize];
        let (other, left) =
            if is_maker { (&pipe.taker, &pipe.left[1]) } else { (&pipe.maker, &pipe.left[0]) };
        let other = other.load(SeqCst);
        let is_dead = || who.diaries[other as usize - 1].is_dead.load(SeqCst) != 0;
        other != 0 && (left.load(SeqCst) != 0 || is_dead())
    }

    /// Counts a wait that ended for want of time; false once there were too many for one that is gone.
    fn may_wait(
        &self,
        who: &Participant<'_>,
        id: u64,
        is_maker: bool,
        was_gone: bool,
        untold: &mut u32,
    ) -> bool {
        *untold += u32::from(was_gone);
        who.expects(*untold < UNTOLD, || {
            let side = if is_maker { "maker" } else { "taker" };
            format!("pipe {id}: the other side is gone, and its {side} was not told")
        });
        *untold < UNTOLD
    }

    fn make(&self, who: &mut Participant<'_>) {
        who.does("making a pipe");
        let id = self.words().made.fetch_add(1, SeqCst);
        if id >= PIPES as u64 {
            return;
        }
        let room = ROOM[who.dice.below(ROOM.len() as u64) as usize];
        self.pipes[id as usize].room.store(room[0].into(), SeqCst);
        self.pipes[id as usize].maker.store(who.mark(), SeqCst);
        let options = Pipe::options().namespace(&self.namespace).bytes(room[0].into());
        let made = options.long_bytes(room[1].into()).pipe();
        let Some((sender, receiver)) = who.must(made, "making a pipe") else { return };
        if who.dice.below(2) == 0 {
            if self.offer(who, OneEnd::Receives(id, receiver)) {
                self.send(who, id, &sender, true);
                self.let_go(who, id);
                drop(sender);
            }
        } else if self.offer(who, OneEnd::Sends(id, sender)) {
            self.receive(who, id, &receiver, true);
            self.let_go(who, id);
            drop(receiver);
        }
        self.pipes[id as usize].left[0].store(1, SeqCst);
    }

    /// Whether there was room for it.
    fn offer(&self, who: &Participant<'_>, end: OneEnd) -> bool {
        match self.ends.try_put(&end) {
            Err(PutError::WouldBlock(_)) => false,
            outcome => who.must(outcome, "putting an end").is_some(),
        }
    }

    /// Before a maker drops its end: without it, there is no pipe for an end that is still on its way.
    fn let_go(&self, who: &Participant<'_>, id: u64) {
        let pipe = &self.pipes[id as usize];
        who.does("waiting for a pipe to be taken");
        for _ in 0..PATIENCE {
            if pipe.taker.load(SeqCst) != 0 {
                return;
            }
            std::thread::sleep(LIMIT / 10);
        }
        pipe.is_abandoned.store(1, SeqCst);
        self.words().abandoned.fetch_add(1, SeqCst);
    }

    fn take(&self, who: &mut Participant<'_>) {
        who.does("getting a pipe");
        let id = match self.ends.get_timeout(LIMIT) {
            Ok(OneEnd::Receives(id, receiver)) => {
                self.pipes[id as usize].taker.store(who.mark(), SeqCst);
                self.receive(who, id, &receiver, false);
                id
            }
            Ok(OneEnd::Sends(id, sender)) => {
                self.pipes[id as usize].taker.store(who.mark(), SeqCst);
                self.send(who, id, &sender, false);
                id
            }
            Err(GetError::TimedOut(_)) => return,
            // Its maker has died, or gone on without it.
            Err(GetError::Decode { .. }) => {
                self.words().gone.fetch_add(1, SeqCst);
                return;
            }
            Err(error) => return who.breaks(&format!("getting an end: {error}")),
        };
        self.pipes[id as usize].left[1].store(1, SeqCst);
    }

    fn send(&self, who: &mut Participant<'_>, id: u64, sender: &Sender<Message>, is_maker: bool) {
        let pipe = &self.pipes[id as usize];
        let mut untold = 0;
        for _ in 0..who.dice.below(MESSAGES) {
            who.does("sending");
            let number = pipe.sent.load(SeqCst);
            let message = (id, number, padding(id, number));
            // Who does not know yet whether there is another side does not wait for it.
            let waits = !is_maker || pipe.taker.load(SeqCst) != 0;
            pipe.begun.fetch_add(1, SeqCst);
            let was_gone = self.is_gone(who, id, is_maker);
            let outcome = match who.dice.below(4) {
                0 => sender.try_send(&message),
                1 if waits => sender.send(&message),
                _ => sender.send_timeout(&message, LIMIT),
            };
            match outcome {
                Ok(()) => {
                    pipe.sent.fetch_add(1, SeqCst);
                    if message.2.len() as u64 > pipe.room.load(SeqCst) {
                        self.words().long.fetch_add(1, SeqCst);
                    }
                    continue;
                }
                Err(SendError::WouldBlock | SendError::TooLarge { .. }) => {
                    _ = pipe.begun.fetch_sub(1, SeqCst)
                }
                Err(SendError::TimedOut) => {
                    pipe.begun.fetch_sub(1, SeqCst);
                    if !self.may_wait(who, id, is_maker, was_gone, &mut untold) {
                        return;
                    }
                }
                Err(SendError::PeerClosed | SendError::PeerDied { .. }) => {
                    pipe.begun.fetch_sub(1, SeqCst);
                    return;
                }
                // Who had it on the way is dead.
                Err(SendError::Unusable(UnusableEnd::Lost { .. })) if !is_maker => return,
                Err(error) => return who.breaks(&format!("sending: {error}")),
            }
        }
        pipe.is_over.store(1, SeqCst);
        // Half of them are closed by being dropped.
        if who.dice.below(2) == 0 {
            sender.close();
            pipe.is_closed.store(1, SeqCst);
        }
    }

    fn receive(&self, who: &mut Participant<'_>, id: u64, receiver: &Receiver<Message>, is_maker: bool) {
        let pipe = &self.pipes[id as usize];
        // It may leave before the end.
        let most = if who.dice.below(4) == 0 { who.dice.below(MESSAGES) } else { u64::MAX };
        let (mut patience, mut untold) = (PATIENCE, 0);
        let mut received = 0;
        while received < most && patience > 0 {
            who.does("receiving");
            let was_gone = self.is_gone(who, id, is_maker);
            let outcome = match who.dice.below(4) {
                0 => receiver.try_recv(),
                1 if receiver.poll_timeout(LIMIT).is_ok() => receiver.try_recv(),
                _ => receiver.recv_timeout(LIMIT),
            };
            match outcome {
                Ok((of, number, bytes)) => {
                    who.expects((of, number) == (id, received), || {
                        format!("message {number} of pipe {of} came as {received} of {id}")
                    });
                    who.expects(bytes == padding(of, number), || {
                        format!("message {number} of pipe {of} came out other than it was sent")
                    });
                    received += 1;
                    pipe.received.store(received, SeqCst);
                }
                Err(RecvError::WouldBlock) => {}
                // Nobody may ever take the other end; but one that was taken ends, or its holder dies.
                Err(RecvError::TimedOut) if pipe.taker.load(SeqCst) == 0 => patience -= 1,
                Err(RecvError::TimedOut) => {
                    if !self.may_wait(who, id, is_maker, was_gone, &mut untold) {
                        return;
                    }
                }
                Err(RecvError::Eof) => {
                    let (sent, is_over) = (pipe.sent.load(SeqCst), pipe.is_over.load(SeqCst));
                    who.expects((received, 1) == (sent, is_over), || {
                        format!("pipe {id} ended after {received} of {sent} messages, over: {is_over}")
                    });
                    self.words().ends.fetch_add(1, SeqCst);
                    return;
                }
                Err(RecvError::PeerDied { .. }) => {
                    let (sent, begun) = (pipe.sent.load(SeqCst), pipe.begun.load(SeqCst));
                    who.expects((sent..=begun).contains(&received), || {
                        format!("pipe {id} died after {received} of {sent} to {begun} messages")
                    });
                    let is_closed = pipe.is_closed.load(SeqCst);
                    who.expects(is_closed == 0, || format!("pipe {id} was closed, and is said to have died"));
                    self.words().deaths.fetch_add(1, SeqCst);
                    return;
                }
                Err(RecvError::Unusable(UnusableEnd::Lost { .. })) if !is_maker => return,
                Err(error) => return who.breaks(&format!("receiving: {error}")),
            }
        }
    }
}

/// Some are longer than any of the pipes.
fn padding(id: u64, number: u64) -> Vec<u8> {
    let mixed = (id << 8 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let len = [mixed % 40, mixed % 40, mixed % 300, mixed % 12_000][(mixed >> 20 & 3) as usize];
    (0..len).map(|index| (mixed + index) as u8).collect()
}

impl Law for Pipes {
    fn step(&self, who: &mut Participant<'_>) {
        if who.dice.below(2) == 0 { self.make(who) } else { self.take(who) }
    }

    fn check(&self, end: &End<'_>) {
        // What nobody has taken.
        while !self.ends.is_empty() {
            drop(self.ends.try_get());
        }
        let words = self.words();
        let made = words.made.load(SeqCst).min(PIPES as u64);
        let mut received = 0;
        for id in 0..made {
            let pipe = &self.pipes[id as usize];
            let (came, begun) = (pipe.received.load(SeqCst), pipe.begun.load(SeqCst));
            assert!(came <= begun, "pipe {id}: {came} of {begun} messages were received");
            received += came;
        }
        let (gone, abandoned) = (words.gone.load(SeqCst), words.abandoned.load(SeqCst));
        let killed = (0..end.count).filter(|&me| end.was_killed(me)).count() as u64;
        assert!(gone <= abandoned + killed, "{gone} pipes were gone, {abandoned} abandoned");
        drop(gc::collect(Some(&self.namespace), gc::Options::default()));
        let left = self.namespace.list().unwrap();
        let left: Vec<_> = left.iter().filter(|entry| entry.name.starts_with(".anonymous")).collect();
        assert!(left.is_empty(), "pipes are left: {left:?}");
        let [ends, deaths, long] = [&words.ends, &words.deaths, &words.long].map(|word| word.load(SeqCst));
        crate::note(&format!(
            "chaos: {made} pipes, {received} messages, {long} of them long, to {ends} ends and {deaths} deaths; \
             {gone} pipes gone of {abandoned} abandoned"
        ));
    }

    fn unlink(&self) {
        self.ends.unlink().unwrap();
    }
}
