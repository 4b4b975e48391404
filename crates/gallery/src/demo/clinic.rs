//! A clinic: patients wait until the receptionist has appointments for them.
//!
//! The patients wait on a condition. The receptionist writes three appointments into the book, all in one
//! change, and notifies everybody; each patient takes one out. The book is a [`Value`]: its guard is what the
//! condition lets go while a patient waits.

use crate::shown::{Done, must_hold, say};
use procession::{Condition, Team, Value};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::collections::BTreeSet;
use std::time::Duration;

/// Patients wait on a Condition until three appointments are there; each gets another one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As the tests run it; this demo is always quick.
    #[arg(long)]
    quick: bool,
}

/// In minutes since midnight.
const APPOINTMENTS: [u32; 3] = [9 * 60, 9 * 60 + 30, 10 * 60];

/// The appointments that can be had; 0 where there is none (any more).
type Book = Value<[u32; 3]>;

/// Runs in a process of its own; the appointment it gets.
fn patient(number: u32, book: Book, changed: Condition) -> Done<u32> {
    say(format_args!("patient {number} waits"));
    let is_there = |appointment: &u32| *appointment != 0;
    let mut book = changed.wait_for(book.acquire()?, |book| book.iter().any(is_there))?;
    let first = book.iter().position(is_there).unwrap_or_default();
    let mine = std::mem::take(&mut book[first]);
    say(format_args!("patient {number} comes at {}", time(mine)));
    Ok(mine)
}

/// Runs in a process of its own.
fn receptionist(book: Book, changed: Condition) -> Done<u32> {
    // So that everybody can be seen to wait. Whoever came later would find the appointments in the book.
    while changed.waiters() < APPOINTMENTS.len() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut book = book.acquire()?;
    *book = APPOINTMENTS;
    say(format_args!("the receptionist has {}", APPOINTMENTS.map(time).join(", ")));
    changed.notify_all();
    Ok(0)
}

pub(crate) fn run(_: &Args) -> Result<(), Failure> {
    let book: Book = Value::new([0; 3])?;
    let changed = Condition::new()?;
    let mut people = Team::new();
    for number in 1..=3 {
        people.spawn_fallible(
            format!("patient-{number}"),
            patient,
            (number, book.clone(), changed.clone()),
        )?;
    }
    people.spawn_fallible("receptionist", receptionist, (book.clone(), changed))?;

    let given: BTreeSet<u32> = people.join()?.into_iter().filter(|&appointment| appointment != 0).collect();
    must_hold(given == BTreeSet::from(APPOINTMENTS), "two patients have the same appointment")?;
    must_hold(book.get()? == [0; 3], "an appointment is still free")?;
    output::line(format_args!("{} patients, each at another time: all right", given.len()))
}

fn time(minutes: u32) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}
