//! A program that runs once at a time on this machine, as with `flock`; but it can say who is in the way, and
//! it notices when the run before was killed in the middle.
//!
//! ```console
//! $ cargo run --example one_at_a_time
//! ```
//!
//! Run it in two terminals, and kill one of them with `kill -9`, to see the three things that it can say.
use procession::{Lock, LockError, Process};
use std::error::Error;
use std::io::{IsTerminal, stdin};

/// What another process is told that wants the same lock.
fn second_run() -> String {
    let lock = Lock::open_or_create("one-at-a-time").unwrap();
    match lock.try_acquire() {
        Ok(_) => "nobody was in the way".into(),
        Err(error) => error.to_string(),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    procession::init();
    let lock = Lock::open_or_create("one-at-a-time")?;
    let _alone = match lock.try_acquire() {
        Err(LockError::OwnerDied { pid, .. }) => {
            println!("the run before this one, process {pid}, was killed: here its work is put right");
            lock.recover()?
        }
        // Another run is at it: the error says which process, and since when.
        otherwise => otherwise?,
    };
    println!("nobody else is at work");

    let answer = Process::spawn(second_run, ())?.join()?;
    println!("a second run was told: {answer}");
    assert!(answer.contains("held by"), "{answer}");

    if stdin().is_terminal() {
        println!("press Enter to end");
        stdin().read_line(&mut String::new())?;
    }
    // Only so that this example leaves nothing behind: a program of your own keeps its lock.
    lock.unlink()?;
    Ok(())
}
