//! Data that goes from process to process: one makes numbers, one squares them, one adds them up.
//!
//! Two pipes join the three children; nothing goes through the parent, which only watches. The numbers are made
//! faster than they are squared and added, and wait in the pipes meanwhile.
//!
//! Then the one in the middle is killed (`kill -9`) while numbers are on their way. Its successor receives
//! whole what had been sent, and is then told that the other end has died, and who that was; so is the one
//! before it. Kill one yourself, and the demo says which.

use crate::shown::{Done, introduce, must_hold, say};
use procession::{Event, Process, Receiver, RecvError, SendError, Sender, Team, pipe, wait};
use procession_terminal::exit::{Failure, with_causes};
use procession_terminal::output;

/// Three processes joined by two pipes: make, transform, add; the middle one is killed, and the others are told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// 10^4 numbers instead of 10^6.
    #[arg(long)]
    quick: bool,
}

/// How many numbers there were, the sum of what came, and what was told of a death.
type Sum = (u64, u128, Option<String>);

/// Runs in a process of its own; how many numbers it made, and why it made no more.
fn make(numbers: Sender<u64>, count: u64) -> Done<Sum> {
    for n in 0..count {
        match numbers.send(&n) {
            Err(error @ SendError::PeerDied { .. }) => return Ok((n, 0, Some(with_causes(&error)))),
            sent => sent?,
        }
    }
    // Its end of the pipe is closed here, and so the next process finds the end of the numbers.
    Ok((count, 0, None))
}

/// Runs in a process of its own.
fn transform(numbers: Receiver<u64>, squares: Sender<u64>) -> Done<Sum> {
    let (mut count, mut sum) = (0, 0);
    for n in &numbers {
        let n = n?;
        squares.send(&(n * n))?;
        (count, sum) = (count + 1, sum + u128::from(n));
    }
    Ok((count, sum, None))
}

/// Runs in a process of its own: adds up what comes, and says when half of it has.
fn add(squares: Receiver<u64>, half: u64, half_way: Event) -> Done<Sum> {
    let (mut count, mut sum) = (0, 0);
    loop {
        match squares.recv() {
            Ok(square) => (count, sum) = (count + 1, sum + u128::from(square)),
            Err(RecvError::Eof) => return Ok((count, sum, None)),
            Err(error @ RecvError::PeerDied { .. }) => return Ok((count, sum, Some(with_causes(&error)))),
            Err(error) => return Err(error.into()),
        }
        if count == half {
            say(format_args!("add has received {half} squares"));
            half_way.set();
        }
    }
}

/// The three, joined by pipes: the maker, the one in the middle, and the one that adds.
fn start(count: u64, half: u64, half_way: &Event) -> Result<[Process<Sum>; 3], Failure> {
    let ((numbers_in, numbers_out), (squares_in, squares_out)) = (pipe()?, pipe()?);
    Ok([
        Process::options().name("make").spawn_fallible(make, (numbers_in, count))?,
        Process::options().name("transform").spawn_fallible(transform, (numbers_out, squares_in))?,
        Process::options().name("add").spawn_fallible(add, (squares_out, half, half_way.clone()))?,
    ])
}

fn sum_of_squares(count: u64) -> u128 {
    (0..u128::from(count)).map(|n| n * n).sum()
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let count = if args.quick { 10_000 } else { 1_000_000 };
    let mut team = Team::from_iter(start(count, count / 2, &Event::new()?)?);
    introduce(&team)?;
    let results = team.join()?;
    let (received, sum, _) = results[2];
    output::line(format_args!("add: {received} squares, their sum is {sum}"))?;
    must_hold((received, sum) == (count, sum_of_squares(count)), "numbers were lost on the way")?;

    // Now there are more numbers than can be added, and the one in the middle is killed half-way.
    let half_way = Event::new()?;
    let [make, transform, add] = start(u64::MAX, count / 2, &half_way)?;
    wait(&[&half_way, &make, &transform, &add])?;
    transform.kill()?;
    output::line(format_args!("{} was {}", transform.label(), transform.wait()?))?;
    let dead = transform.pid().to_string();
    let (received, sum, told) = add.join()?;
    let told = told.unwrap_or_default();
    output::line(format_args!(
        "add was told: {told}; by then it had {received} squares, their sum is {sum}"
    ))?;
    must_hold(told.contains(&dead), "add was not told of the death")?;
    must_hold(received >= count / 2, "squares were lost that had been received")?;
    must_hold(sum == sum_of_squares(received), "a square was lost, or came twice")?;
    let (_, _, told) = make.join()?;
    output::line(format_args!("make was told: {}", told.clone().unwrap_or_default()))?;
    must_hold(told.is_some_and(|told| told.contains(&dead)), "make was not told of the death")?;
    output::line("every square arrived once, and the death was told on both sides: all right")
}
