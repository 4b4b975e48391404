//! Commands about semaphores. A permit is held until `release`, as a lock is.

use crate::locks::millis;
use crate::{Next, World, done, number, report, say, session};
use procession::{BoundedSemaphore, OpenError, Permit, ReleaseError, Semaphore, SemaphoreError};
use std::ops::Deref;
use std::rc::Rc;

/// Either kind.
pub(crate) enum AnySemaphore {
    Plain(Semaphore),
    Bounded(BoundedSemaphore),
}

impl Deref for AnySemaphore {
    type Target = Semaphore;

    fn deref(&self) -> &Semaphore {
        match self {
            Self::Plain(semaphore) => semaphore,
            Self::Bounded(semaphore) => semaphore,
        }
    }
}

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    match *words {
        ["create", "semaphore", name, permits, max] => {
            let options = Semaphore::options().permits(number(permits)).max(number(max));
            return Some(keep(world, name, options.create(name).map(AnySemaphore::Plain)));
        }
        ["create", "bounded", name, permits] => {
            let options = BoundedSemaphore::options().permits(number(permits));
            return Some(keep(world, name, options.create(name).map(AnySemaphore::Bounded)));
        }
        ["open", "semaphore", name] => {
            return Some(keep(world, name, Semaphore::open(name).map(AnySemaphore::Plain)));
        }
        ["open", "bounded", name] => {
            return Some(keep(world, name, BoundedSemaphore::open(name).map(AnySemaphore::Bounded)));
        }
        _ => {}
    }
    let semaphore = world.semaphores.borrow().get(*words.get(1)?).map(Rc::clone)?;
    match *words {
        ["take", _] => Some(hold(world, semaphore.acquire())),
        ["try_take", _] => Some(hold(world, semaphore.try_acquire())),
        ["take_timeout", _, ms] => Some(hold(world, semaphore.acquire_timeout(millis(ms)))),
        ["take_many", _, count] => Some(hold(world, semaphore.acquire_many(number(count)))),
        ["try_take_many", _, count] => Some(hold(world, semaphore.try_acquire_many(number(count)))),
        ["take_and_forget", _] => Some(report(&semaphore.acquire().map(|permit| {
            permit.forget();
            ""
        }))),
        ["take_many_and_forget", _, count] => {
            Some(report(&semaphore.acquire_many(number(count)).map(|permit| {
                permit.forget();
                ""
            })))
        }
        ["give", _, count] => Some(report(&semaphore.release(number(count)).map(|()| ""))),
        ["wait_any", _] => Some(report(&procession::wait(&[&**semaphore]).map(|ready| format!("{ready:?}")))),
        ["available", _] => done(semaphore.available()),
        ["holders", _] => done(semaphore.holders()),
        ["cycle_many", _, count, rounds] => {
            Some(report(&cycle(&semaphore, number(count), number(rounds)).map(|()| "")))
        }
        ["cycle_waiting", _, count, rounds] => {
            let take = |_| semaphore.acquire_many(number(count)).map(drop);
            Some(report(&(0..number::<u64>(rounds)).try_for_each(take).map(|()| "")))
        }
        ["give_and_take_many", _, count, rounds] => {
            Some(report(&give_and_take(&semaphore, number(count), number(rounds)).map(|()| "")))
        }
        _ => None,
    }
}

fn keep(world: &World, name: &str, opened: Result<AnySemaphore, OpenError>) -> Next {
    let kept = opened.map(|one| world.semaphores.borrow_mut().insert(name.to_owned(), Rc::new(one)));
    report(&kept.map(|_| ""))
}

/// Holds the permit, if there is one, while it follows further commands.
fn hold(world: &World, outcome: Result<Permit<'_>, SemaphoreError>) -> Next {
    let permit = match outcome {
        Ok(permit) => permit,
        Err(error) => return report::<&str, _>(&Err(error)),
    };
    say(&format!("ok {}", permit.count()));
    let next = session(world);
    drop(permit);
    if next == Next::Release {
        say("ok");
        return Next::Command;
    }
    next
}

/// Takes and gives back, so many at once.
fn cycle(semaphore: &Semaphore, count: u32, rounds: u64) -> Result<(), SemaphoreError> {
    for _ in 0..rounds {
        match semaphore.try_acquire_many(count as usize) {
            Ok(permit) => drop(permit),
            Err(SemaphoreError::WouldBlock { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Releases, and takes out what was released; never less than before.
fn give_and_take(semaphore: &Semaphore, count: u32, rounds: u64) -> Result<(), ReleaseError> {
    for _ in 0..rounds {
        match semaphore.release(count as usize) {
            Ok(()) => drop(semaphore.acquire_many(count as usize).map(Permit::forget)),
            Err(ReleaseError::Full { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
