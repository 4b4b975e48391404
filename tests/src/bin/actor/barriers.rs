//! Commands about barriers. A place is held until `release`, as a lock is, and who has one waits as a member.

use crate::locks::millis;
use crate::processes::{child_until_the_end_of_input, fork_until_the_end_of_input};
use crate::{Next, World, done, number, report, say, session};
use procession::{Barrier, BarrierError, Member, MemberDeath, OpenError, Process, interrupt};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

thread_local! {
    /// Started by `spawn_member`.
    static CHILD: RefCell<Option<Process<String>>> = const { RefCell::new(None) };
}

/// How often this process has run a barrier's action.
static ACTED: AtomicU32 = AtomicU32::new(0);

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    match *words {
        ["create", "barrier", name, parties] => {
            let options = Barrier::options().parties(number(parties));
            return Some(keep(world, name, options.create(name)));
        }
        ["create", "elastic", name, policy] => {
            let policy = if policy == "remove" { MemberDeath::Remove } else { MemberDeath::Break };
            let options = Barrier::options().elastic().on_member_death(policy);
            return Some(keep(world, name, options.create(name)));
        }
        ["open", "barrier", name] => return Some(keep(world, name, Barrier::open(name))),
        ["interrupt"] => {
            // From now on, this thread's waits end with their first slice.
            std::mem::forget(interrupt::on_signal(|| true));
            return done("");
        }
        ["acted"] => return done(ACTED.load(Ordering::Relaxed)),
        ["child_said"] => {
            let child = CHILD.take().expect("a child was started");
            return Some(report(&child.join()));
        }
        _ => {}
    }
    let name = if words.first() == Some(&"spawn_member_amid") { 2 } else { 1 };
    let barrier = world.barriers.borrow().get(*words.get(name)?).map(Rc::clone)?;
    match *words {
        ["wait", name] => Some(report(&match world.members.borrow_mut().get_mut(name) {
            Some(member) => member.wait(),
            None => barrier.wait(),
        })),
        ["wait_timeout", name, ms] => Some(report(&match world.members.borrow_mut().get_mut(name) {
            Some(member) => member.wait_timeout(millis(ms)),
            None => barrier.wait_timeout(millis(ms)),
        })),
        ["rounds", name, count] => {
            let mut members = world.members.borrow_mut();
            let member = members.get_mut(name).expect("it has joined");
            Some(report(&(0..number(count)).try_for_each(|_: u32| member.wait().map(drop)).map(|()| "")))
        }
        ["act", name] => act(world, name, &barrier),
        ["join", name] => Some(join(world, name, &barrier)),
        ["spawn_member", _, how] => Some(spawn(&barrier, how, None, "")),
        ["spawn_member", _, how, label] => Some(spawn(&barrier, how, Some(label), "")),
        ["spawn_member_amid", way, _, how] => Some(spawn(&barrier, how, None, way)),
        ["spawn_member_amid", way, _, how, label] => Some(spawn(&barrier, how, Some(label), way)),
        ["reset", _] => Some(report(&barrier.reset().map(|()| ""))),
        ["abort", _] => {
            barrier.abort();
            done("")
        }
        ["parties", _] => done(barrier.parties()),
        ["n_waiting", _] => done(barrier.n_waiting()),
        ["broken", _] => done(barrier.broken()),
        ["show", _] => done(&*barrier),
        _ => None,
    }
}

fn keep(world: &World, name: &str, opened: Result<Barrier, OpenError>) -> Next {
    let kept = opened.map(|one| world.barriers.borrow_mut().insert(name.to_owned(), Rc::new(one)));
    report(&kept.map(|_| ""))
}

/// From now on this process has an action, which counts.
fn act(world: &World, name: &str, barrier: &Barrier) -> Option<Next> {
    let acting = barrier.clone().with_action(|| {
        ACTED.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    world.barriers.borrow_mut().insert(name.to_owned(), Rc::new(acting));
    done("")
}

/// Keeps a place, if there is one, while it follows further commands.
fn join(world: &World, name: &str, barrier: &Barrier) -> Next {
    let member = match barrier.join() {
        Ok(member) => member,
        Err(error) => return report::<&str, BarrierError>(&Err(error)),
    };
    world.members.borrow_mut().insert(name.to_owned(), member);
    say("ok");
    let next = session(world);
    world.members.borrow_mut().remove(name);
    if next == Next::Release {
        say("ok");
        return Next::Command;
    }
    next
}

/// Starts a child that has a place, and does with it as it is told; its pid. In the middle of it, when the
/// child has its place, it forks another one, which lives as long as the test.
fn spawn(barrier: &Barrier, how: &str, label: Option<&str>, fork: &str) -> Next {
    let mut builder = Process::options();
    if let Some(label) = label {
        builder = builder.env("PROCESSION_CRASH", format!("{label}:kill"));
    }
    let member = match barrier.join() {
        Ok(member) => member,
        Err(error) => return report::<&str, BarrierError>(&Err(error)),
    };
    let started = builder.spawn(live, (On(how.to_owned()), member, Forks(fork.to_owned())));
    report(&started.map(|child| {
        let pid = child.pid();
        CHILD.set(Some(child));
        pid
    }))
}

fn live((On(how), mut member, _): (On, Member, Forks)) -> String {
    match how.as_str() {
        "dies" => kill_self(),
        "waits" => format!("{:?}", member.wait().map_err(|error| error.to_string())),
        "waits_twice" => {
            let waits = [member.wait(), member.wait()];
            format!("{:?}", waits.map(|waited| waited.map_err(|error| error.to_string())))
        }
        // Dropped: it leaves.
        _ => "left".to_owned(),
    }
}

fn kill_self() -> ! {
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).expect("a signal to oneself");
    unreachable!("it was killed")
}

/// Forks while it is encoded.
#[derive(Deserialize)]
struct Forks(String);

impl Serialize for Forks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_str() {
            "fork" => drop(fork_until_the_end_of_input()),
            "raw_fork" => drop(child_until_the_end_of_input(libc::SIGCHLD)),
            _ => {}
        }
        self.0.serialize(serializer)
    }
}

/// What the child is to do; two things it does while it decodes it, before it has the place that comes after
/// it.
struct On(String);

impl Serialize for On {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for On {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let how = String::deserialize(deserializer)?;
        match how.as_str() {
            "dies_decoding" => kill_self(),
            "hangs_decoding" => loop {
                std::thread::sleep(Duration::from_secs(1));
            },
            _ => Ok(Self(how)),
        }
    }
}
