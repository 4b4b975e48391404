//! A buffer of five between two producers and two consumers.
//!
//! The buffer is a [`Value`]: what is done under its guard happens all at once when the guard is dropped, or,
//! if the process is killed before, not at all. So whoever is killed here is replaced by a supervisor, and the
//! other goes on where it stopped.
//!
//! Two conditions say that the buffer has become less full, or less empty. They are notified under the guard.
//! After it, a process could be killed between the change and the notification, and nobody would learn of the
//! change.

use crate::shown::{Done, must_hold, say};
use procession::bytemuck::{Pod, Zeroable};
use procession::{Condition, Process, Supervisor, SupervisorEvent, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::time::Duration;

/// Two producers and two consumers share a buffer of five, by Condition; whoever is killed is replaced.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Pauses of 2 ms instead of 200.
    #[arg(long)]
    quick: bool,
}

const ROOM: usize = 5;
const PRODUCERS: usize = 2;
const CONSUMERS: usize = 2;
/// How many items each producer puts in.
const EACH: u32 = 5;
const ITEMS: usize = PRODUCERS * EACH as usize;

/// What is shared: plain data, the same bytes in every process.
#[derive(Clone, Copy, Pod, Zeroable)]
#[bytemuck(crate = "procession::bytemuck")]
#[repr(C)]
struct Buffer {
    /// The first `stored` are the items, the oldest first.
    items: [u32; ROOM],
    stored: u32,
    /// How many items each producer has put in.
    put: [u32; PRODUCERS],
    /// How often each item was taken out.
    taken: [u32; ITEMS],
    /// The most that were ever stored.
    most: u32,
}

impl Buffer {
    fn has_room(&self) -> bool {
        (self.stored as usize) < ROOM
    }

    /// Whether a consumer has something to do: an item, or to go home.
    fn is_ready(&self) -> bool {
        self.stored > 0 || self.all_taken()
    }

    fn all_taken(&self) -> bool {
        self.taken.iter().all(|&times| times > 0)
    }

    /// The next item of this producer, if there is room for it.
    fn put(&mut self, producer: usize) -> u32 {
        let item = producer as u32 * EACH + self.put[producer];
        self.items[self.stored as usize] = item;
        self.stored += 1;
        self.put[producer] += 1;
        self.most = self.most.max(self.stored);
        item
    }

    /// The oldest item, if there is one.
    fn take(&mut self) -> u32 {
        let item = self.items[0];
        self.items.rotate_left(1);
        self.stored -= 1;
        self.taken[item as usize] += 1;
        item
    }
}

#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Shared {
    buffer: Value<Buffer>,
    has_room: Condition,
    has_items: Condition,
    pause: Duration,
}

/// Runs in a process of its own.
fn produce(number: usize, shared: Shared) -> Done<()> {
    while shared.buffer.get()?.put[number] < EACH {
        let buffer = shared.buffer.acquire()?;
        if !buffer.has_room() {
            say(format_args!("producer {} waits, the buffer is full", number + 1));
        }
        let mut buffer = shared.has_room.wait_for(buffer, Buffer::has_room)?;
        let item = buffer.put(number);
        say(format_args!("producer {}: puts {item}, {} of {ROOM} stored", number + 1, buffer.stored));
        shared.has_items.notify(1);
        drop(buffer);
        std::thread::sleep(shared.pause);
    }
    Ok(())
}

/// Runs in a process of its own.
fn consume(number: usize, shared: Shared) -> Done<()> {
    loop {
        let buffer = shared.buffer.acquire()?;
        if !buffer.is_ready() {
            say(format_args!("consumer {} waits, the buffer is empty", number + 1));
        }
        let mut buffer = shared.has_items.wait_for(buffer, Buffer::is_ready)?;
        if buffer.stored == 0 {
            return Ok(());
        }
        let item = buffer.take();
        say(format_args!("consumer {}: takes {item}, {} of {ROOM} stored", number + 1, buffer.stored));
        shared.has_room.notify(1);
        if buffer.all_taken() {
            shared.has_items.notify_all();
        }
        drop(buffer);
        // Slower than a producer, so that the buffer fills.
        std::thread::sleep(shared.pause * 3);
    }
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let pause = Duration::from_millis(if args.quick { 2 } else { 200 });
    let (buffer, has_room, has_items) = (Value::new(Buffer::zeroed())?, Condition::new()?, Condition::new()?);
    let shared = Shared { buffer, has_room, has_items, pause };

    let statuses = Supervisor::new(PRODUCERS + CONSUMERS)
        .back_off(Duration::ZERO, Duration::ZERO)
        .max_restarts(1000, Duration::from_secs(1))
        .on_event(|event| match event {
            SupervisorEvent::Started { process, attempt: 1, .. } => {
                say(format_args!("here is {} (pid {})", process.name(), process.pid()));
            }
            SupervisorEvent::Started { process, .. } => say(format_args!("pid {} goes on", process.pid())),
            SupervisorEvent::Ended { process, status, .. } if status.signal().is_some() => {
                say(format_args!("{process} was {status}"));
            }
            _ => {}
        })
        .run(|attempt| match attempt.rank() {
            n @ 0..PRODUCERS => {
                let named = Process::options().name(format!("producer-{}", n + 1));
                named.spawn_fallible(produce, (n, shared.clone()))
            }
            n => {
                let n = n - PRODUCERS;
                let named = Process::options().name(format!("consumer-{}", n + 1));
                named.spawn_fallible(consume, (n, shared.clone()))
            }
        })?;
    must_hold(statuses.iter().flatten().all(|status| status.success()), "somebody did not do its work")?;

    let buffer = shared.buffer.get()?;
    must_hold(buffer.most as usize <= ROOM, "more was stored than there is room for")?;
    must_hold(buffer.taken == [1; ITEMS], "an item was not taken exactly once")?;
    must_hold(buffer.stored == 0, "something is left")?;
    output::line(format_args!("{ITEMS} items, each taken once, at most {} stored: all right", buffer.most))
}
