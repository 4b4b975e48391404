//! Orders to a `map` or a `run` that has a name: `procession ctl` gives them, from any other terminal.
//!
//! What has a name holds the lock of that name for as long as it runs. So there is one at most, everybody can see which
//! process it is, and that it was killed. It takes orders from the queue `NAME.orders`. Each says to which process it
//! goes: one that ended before it took an order leaves it there, and the next of that name throws it away. It also says
//! where the answer goes: into a queue which the process that orders has made, and which goes with it.
//!
//! | killed | what becomes of it |
//! |---|---|
//! | the one who orders | the order is carried out, or was not given; its answer goes nowhere |
//! | the one that is steered | who waits for an answer sees that the lock has no holder, or another one |

use crate::holding::{Guard, Missed, Target, Thing, Wait, no_such_object, refusal};
use crate::in_the_way::InTheWay;
use procession::{Codec, Encoded, GetError, OpenError, PutError, Queue, QueueOptions, Readiness, readiness};
use procession_sys::Deadline;
use procession_terminal::exit::{Failure, NO_SUCH_OBJECT};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How often it is asked whether the one that is to answer lives.
const LOOKS_EVERY: Duration = Duration::from_millis(50);
/// So many orders, or answers, fit into a queue.
const MOST_ORDERS: usize = 64;
/// So many orders are taken before other things are seen to.
const ORDERS_AT_ONCE: usize = 16;

/// What is wished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wish {
    /// Only the answer.
    Status,
    /// So many jobs at once from now on.
    Jobs(u32),
    /// No more jobs for a while.
    Pause,
    Resume,
    /// The end: once those that run have ended, or at once.
    Stop {
        now: bool,
    },
    /// Others are to come in the place of these workers, by rank or name; of all, if none is named.
    Restart {
        workers: Vec<String>,
    },
    /// A signal to these workers, or to all, or to all jobs.
    Signal {
        signal: i32,
        workers: Vec<String>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    /// Process ids.
    to: u32,
    from: u32,
    /// The queue for the answer.
    answer: String,
    wish: Wish,
}

/// How things are with what is steered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub(crate) enum Status {
    Map {
        /// How many run at once; `None` for as many as can be.
        jobs: Option<u32>,
        running: u64,
        succeeded: u64,
        failed: u64,
        skipped: u64,
        total: Option<u64>,
        paused: bool,
        stopping: bool,
    },
    Run {
        /// How many workers there are to be.
        number: u32,
        /// Those that run.
        workers: Vec<Worker>,
    },
}

/// A worker of a `run`; they are in the order of their ranks.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Worker {
    pub(crate) rank: usize,
    pub(crate) pid: u32,
    /// By its Procfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// It is done; how things are now.
    Done(Status),
    /// Nothing was done, because of this.
    Refused(String),
}

fn orders_of(name: &str) -> String {
    format!("{name}.orders")
}

/// The name under which orders are taken by that queue; `None` if it is another one.
#[cfg(any(feature = "completions", feature = "top"))]
pub(crate) fn steered_by(queue: &str) -> Option<&str> {
    queue.strip_suffix(".orders")
}

/// A queue of orders or of answers: of JSON, so that anybody can look into it.
fn queue() -> QueueOptions<Encoded> {
    Queue::options().codec(Codec::Json).capacity(MOST_ORDERS).ephemeral()
}

fn encoded(what: &impl Serialize) -> Encoded {
    // What has no form in JSON is `null`, which nobody takes for an order or an answer; none of these is so.
    Encoded::from(serde_json::to_vec(what).unwrap_or_else(|_| b"null".to_vec()))
}

/// A process that is steered.
#[derive(Debug)]
pub(crate) struct Steering {
    _held: Guard,
    orders: Queue<Encoded>,
    ready: Readiness,
}

impl Steering {
    /// Takes the name for this process.
    ///
    /// # Errors
    /// [`Failure::Refused`] if another process has it, which is named; and those of the library.
    pub(crate) fn claim(name: &str) -> Result<Self, Failure> {
        let thing = Thing::open(Target::Lock { name: name.to_owned(), shared: false })?;
        // A killed one has left nothing half-done under this lock.
        let held = match thing.claim(Wait::Not) {
            Err(Missed::OwnerDied(_)) => thing.recover(Wait::Not),
            claimed => claimed,
        };
        let held = held.map_err(|missed| match missed {
            Missed::Failed(failure) => failure,
            _ => InTheWay::of(&thing).not_acquired(None),
        })?;
        let orders = queue().open_or_create(&orders_of(name))?;
        // They were for others before; and somebody may have closed it.
        while orders.try_get().is_ok() {}
        orders.reopen()?;
        let ready = readiness(&orders)?;
        Ok(Self { _held: held, orders, ready })
    }

    /// Readable when there are orders.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    /// Carries out the orders that have come.
    pub(crate) fn take(&self, mut carry_out: impl FnMut(&Wish, u32) -> Result<Status, String>) {
        self.ready.clear();
        for _ in 0..ORDERS_AT_ONCE {
            let order = match self.orders.try_get() {
                Ok(order) => serde_json::from_slice::<Order>(&order),
                Err(GetError::Closed(_)) => {
                    // By whoever it was: orders come nevertheless. If not, it rings no more than it does now.
                    drop(self.orders.reopen());
                    return;
                }
                Err(_) => return,
            };
            // Somebody else has put something into it that is no order; or it is another one's.
            let Some(order) = order.ok().filter(|order| order.to == std::process::id()) else { continue };
            let answer = carry_out(&order.wish, order.from).map_or_else(Answer::Refused, Answer::Done);
            // One that was killed meanwhile needs no answer.
            if let Ok(answers) = queue().open(&order.answer) {
                drop(answers.try_put(&encoded(&answer)));
            }
        }
    }
}

/// The process that has a name, as others see it.
struct Steered {
    thing: Thing,
    to: u32,
    orders: Queue<Encoded>,
}

impl Steered {
    /// `None` if nobody has the name.
    fn find(name: &str) -> Result<Option<Self>, Failure> {
        let target = Target::Lock { name: name.to_owned(), shared: false };
        let Some(thing) = Thing::find(target)? else { return Ok(None) };
        let Some(to) = holder_of(&thing) else { return Ok(None) };
        match queue().open(&orders_of(name)) {
            Err(OpenError::NotFound { .. }) => Ok(None),
            orders => Ok(Some(Self { thing, to, orders: orders? })),
        }
    }
}

fn holder_of(thing: &Thing) -> Option<u32> {
    thing.holders().first().map(|held| held.holder.pid)
}

/// Gives an order to the process of that name, and waits until it is carried out: that process, and how things are then.
///
/// # Errors
/// [`Failure::Refused`] when there is no such process until the deadline; [`Failure::Usage`] when it says that it cannot do that.
pub(crate) fn order(name: &str, wish: Wish, deadline: Deadline) -> Result<(u32, Status), Failure> {
    let nobody =
        || no_such_object(format!("nobody runs by the name {name:?}: `map` and `run` have one by --name"));
    let Steered { thing, to, orders } = loop {
        if let Some(found) = Steered::find(name)? {
            break found;
        }
        if deadline.has_passed() {
            return Err(nobody());
        }
        // What makes its objects rings no bell.
        std::thread::sleep(LOOKS_EVERY);
    };
    let holder = || holder_of(&thing);
    let from = std::process::id();
    let answer = format!("{}.{from}", orders_of(name));
    let answers = queue().open_or_create(&answer)?;
    let order = encoded(&Order { to, from, answer, wish });
    while let Err(error) = orders.put_timeout(&order, LOOKS_EVERY) {
        match error {
            // It is full only if nobody takes orders: what is steered is stopped, or very busy.
            PutError::TimedOut(_) => {}
            // What is steered opens it again.
            PutError::Closed(_) => std::thread::sleep(LOOKS_EVERY),
            error => return Err(error.into()),
        }
        if holder() != Some(to) {
            return Err(nobody());
        }
    }
    loop {
        match answers.get_timeout(LOOKS_EVERY) {
            Ok(answer) => match serde_json::from_slice(&answer)? {
                Answer::Done(status) => return Ok((to, status)),
                Answer::Refused(why) => return Err(Failure::Usage(format!("{name:?}: {why}"))),
            },
            Err(GetError::TimedOut(_)) => {}
            Err(error) => return Err(error.into()),
        }
        // What it answered before it ended is there.
        if holder() != Some(to) && answers.is_empty() {
            let message = format!("{name:?}, process {to}, ended before it took the order");
            return Err(refusal("ended", NO_SUCH_OBJECT, message));
        }
    }
}
