//! A blocking queue made by hand from a condition, beside the one that is built in.
//!
//! The items lie in a [`Value`], whose guard two conditions let go while somebody waits: enqueuing waits
//! while it is full, dequeuing while it is empty. A consumer that waits at the empty queue is woken by one item.
//! All is asked of both queues, and the answers must be the same.

use crate::shown::{Done, failed, must_hold, say};
use procession::bytemuck::{Pod, Zeroable};
use procession::{Condition, Event, GetError, Process, PutError, Queue, Team, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// A bounded blocking queue built by hand from Condition behaves as the built-in Queue.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Timeouts of 5 ms instead of 500.
    #[arg(long)]
    quick: bool,
}

const ROOM: usize = 3;
const ITEMS: u32 = 12;

/// What is asked of both queues.
trait Blocking: Clone + Serialize + DeserializeOwned + 'static {
    /// Waits while it is full; whether there was room in time.
    fn enqueue(&self, item: u32, timeout: Duration) -> Done<bool>;
    /// Waits while it is empty; `None` if nothing came in time.
    fn dequeue(&self, timeout: Duration) -> Done<Option<u32>>;
    fn size(&self) -> Done<usize>;
}

impl Blocking for Queue<u32> {
    fn enqueue(&self, item: u32, timeout: Duration) -> Done<bool> {
        match self.put_timeout(&item, timeout) {
            Ok(()) => Ok(true),
            Err(PutError::TimedOut(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn dequeue(&self, timeout: Duration) -> Done<Option<u32>> {
        match self.get_timeout(timeout) {
            Ok(item) => Ok(Some(item)),
            Err(GetError::TimedOut(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn size(&self) -> Done<usize> {
        Ok(self.len())
    }
}

/// The first `size` are the items, the oldest first.
#[derive(Clone, Copy, Pod, Zeroable)]
#[bytemuck(crate = "procession::bytemuck")]
#[repr(C)]
struct Items {
    items: [u32; ROOM],
    size: u32,
}

impl Items {
    fn has_room(&self) -> bool {
        (self.size as usize) < ROOM
    }
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct ByHand {
    items: Value<Items>,
    has_room: Condition,
    has_items: Condition,
}

impl ByHand {
    fn new() -> Result<Self, Failure> {
        let (items, has_room, has_items) =
            (Value::new(Items::zeroed())?, Condition::new()?, Condition::new()?);
        Ok(Self { items, has_room, has_items })
    }
}

impl Blocking for ByHand {
    fn enqueue(&self, item: u32, timeout: Duration) -> Done<bool> {
        let (mut items, waited) =
            self.has_room.wait_for_timeout(self.items.acquire()?, timeout, Items::has_room)?;
        if !waited.timed_out() {
            let end = items.size as usize;
            items.items[end] = item;
            items.size += 1;
            // Under the guard: a process killed after the change and before this would leave somebody asleep.
            self.has_items.notify(1);
        }
        Ok(!waited.timed_out())
    }

    fn dequeue(&self, timeout: Duration) -> Done<Option<u32>> {
        let (mut items, waited) =
            self.has_items.wait_for_timeout(self.items.acquire()?, timeout, |items| items.size > 0)?;
        if waited.timed_out() {
            return Ok(None);
        }
        let first = items.items[0];
        items.items.rotate_left(1);
        items.size -= 1;
        self.has_room.notify(1);
        Ok(Some(first))
    }

    fn size(&self) -> Done<usize> {
        Ok(self.items.get()?.size as usize)
    }
}

/// Long enough for everything that happens at all.
const ALWAYS: Duration = Duration::from_secs(60);

/// Runs in a process of its own: takes one item; `None` if none came.
fn consume<Q: Blocking>(_: String, queue: Q, is_there: Event) -> Done<Option<u32>> {
    is_there.set();
    queue.dequeue(ALWAYS)
}

/// Runs in a process of its own: puts more than there is room for; `None` if nobody made room.
fn produce<Q: Blocking>(name: String, queue: Q, is_there: Event) -> Done<Option<u32>> {
    is_there.set();
    for item in 1..=ITEMS {
        if !queue.enqueue(item, ALWAYS)? {
            return Ok(None);
        }
        say(format_args!("{name}: enqueued {item}"));
    }
    Ok(Some(ITEMS))
}

/// Everything the queue answers.
fn answers<Q: Blocking>(name: &str, queue: &Q, short: Duration) -> Done<Vec<String>> {
    let mut answers = vec![format!("an item from the empty queue: {:?}", queue.dequeue(short)?)];
    for item in 1..=ROOM as u32 {
        let is_in = queue.enqueue(item, short)?;
        answers.push(format!("enqueue {item}: {is_in}, size {}", queue.size()?));
    }
    answers.push(format!("enqueue into the full queue: {}", queue.enqueue(9, short)?));
    for _ in 0..ROOM {
        answers.push(format!("dequeue: {:?}, size {}", queue.dequeue(short)?, queue.size()?));
    }

    let (mut team, is_there) = (Team::new(), Event::new()?);
    let arguments = || (name.to_owned(), queue.clone(), is_there.clone());
    team.spawn_fallible(format!("{name}-consumer"), consume::<Q>, arguments())?;
    team.wait_for(&is_there)?;
    std::thread::sleep(short);
    let waits = team.members().all(Process::is_alive);
    queue.enqueue(7, short)?;
    answers.push(format!("a consumer waits at the empty queue: {waits}; after one item: {:?}", team.join()?));

    // A producer that must wait again and again, and a consumer that waits for it.
    team.spawn_fallible(format!("{name}-producer"), produce::<Q>, arguments())?;
    let (mut got, mut most) = (Vec::new(), 0);
    while got.len() < ITEMS as usize {
        team.check()?;
        most = most.max(queue.size()?);
        got.extend(queue.dequeue(short)?);
        // Slower than the producer, so that the queue fills.
        std::thread::sleep(short / 10);
    }
    let put = team.join()?;
    answers
        .push(format!("from another process: {put:?} {got:?}, no more than {ROOM} in it: {}", most <= ROOM));
    answers.push(format!("left: {}", queue.size()?));
    for answer in &answers {
        say(format_args!("{name}: {answer}"));
    }
    Ok(answers)
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let short = Duration::from_millis(if args.quick { 5 } else { 500 });
    let built_in: Queue<u32> = Queue::options().capacity(ROOM).anonymous()?;
    let by_hand = answers("by-hand", &ByHand::new()?, short).map_err(failed)?;
    let built_in = answers("built-in", &built_in, short).map_err(failed)?;
    must_hold(by_hand == built_in, "the two queues answer differently")?;
    must_hold(by_hand.last().is_some_and(|answer| answer == "left: 0"), "something is left")?;
    output::line(format_args!("{} answers, the same from both queues: all right", by_hand.len()))
}
