//! Commands about barriers. A place is held until `release`, as a lock is.

use crate::locks::millis;
use crate::{Next, World, done, number, report, say, session};
use procession::{Barrier, BarrierError, OpenError};
use std::rc::Rc;

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    match *words {
        ["create", "barrier", name, parties] => {
            let options = Barrier::options().parties(number(parties));
            return Some(keep(world, name, options.create(name)));
        }
        ["open", "barrier", name] => return Some(keep(world, name, Barrier::open(name))),
        _ => {}
    }
    let barrier = world.barriers.borrow().get(*words.get(1)?).map(Rc::clone)?;
    match *words {
        ["wait", _] => Some(report(&barrier.wait())),
        ["wait_timeout", _, ms] => Some(report(&barrier.wait_timeout(millis(ms)))),
        ["wait_acting", _] => {
            let acting = Barrier::clone(&barrier).with_action(|| Ok(()));
            Some(report(&acting.wait()))
        }
        ["join", _] => Some(join(world, &barrier)),
        ["reset", _] => Some(report(&barrier.reset().map(|()| ""))),
        ["abort", _] => {
            barrier.abort();
            done("")
        }
        ["n_waiting", _] => done(barrier.n_waiting()),
        ["broken", _] => done(barrier.broken()),
        _ => None,
    }
}

fn keep(world: &World, name: &str, opened: Result<Barrier, OpenError>) -> Next {
    let kept = opened.map(|one| world.barriers.borrow_mut().insert(name.to_owned(), Rc::new(one)));
    report(&kept.map(|_| ""))
}

/// Keeps a place, if there is one, while it follows further commands.
fn join(world: &World, barrier: &Barrier) -> Next {
    let member = match barrier.join() {
        Ok(member) => member,
        Err(error) => return report::<&str, BarrierError>(&Err(error)),
    };
    say("ok");
    let next = session(world);
    drop(member);
    if next == Next::Release {
        say("ok");
        return Next::Command;
    }
    next
}
