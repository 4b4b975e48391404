//! Commands about events, latches and things to be done once.
#![expect(unsafe_code, reason = "a signal handler and a timer are C functions")]

use crate::locks::millis;
use crate::{Next, World, done, number, report, say};
use procession::{Event, Latch, Once, OpenError};
use std::io::Write;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    match *words {
        ["create", "event", name] => return Some(keep(world, name, Event::create(name))),
        ["open", "event", name] => return Some(keep(world, name, Event::open(name))),
        ["create", "latch", name, count] => {
            let latch = Latch::options().count(number(count)).create(name);
            return Some(report(&latch.map(|_| "")));
        }
        ["arrive", name] => {
            return Some(report(&Latch::open(name).map(|latch| latch.arrive())));
        }
        ["pass", name] => return Some(with(Latch::open(name), |latch| report(&latch.wait().map(|()| "")))),
        ["pass_timeout", name, ms] => {
            return Some(with(Latch::open(name), |latch| {
                report(&latch.wait_timeout(millis(ms)).map(|()| ""))
            }));
        }
        ["create", "once", name] => return Some(report(&Once::create(name).map(|_| ""))),
        ["once", name, file] => {
            return Some(with(Once::open(name), |once| report(&append_once(&once, file, Duration::MAX))));
        }
        ["once_timeout", name, file, ms] => {
            return Some(with(Once::open(name), |once| report(&append_once(&once, file, millis(ms)))));
        }
        ["is_done", name] => {
            return Some(with(Once::open(name), |once| report(&Ok::<_, OpenError>(once.is_done()))));
        }
        _ => {}
    }
    let event = world.events.borrow().get(*words.get(1)?).map(Rc::clone)?;
    match *words {
        ["set", _] => after(|| event.set()),
        ["clear", _] => after(|| event.clear()),
        ["pulse", _] => after(|| event.pulse()),
        ["set_and_clear", _] => after(|| {
            event.set();
            event.clear();
        }),
        ["set_owned", _] => Some(report(&event.set_owned().map(|()| ""))),
        ["owner", _] => done(event.owner().map_or(0, |owner| owner.pid)),
        ["wait_cleared", _] => Some(report(&event.wait_cleared().map(|()| ""))),
        ["wait_cleared_timeout", _, ms] => Some(report(&event.wait_cleared_timeout(millis(ms)).map(|()| ""))),
        ["is_set", _] => done(event.is_set()),
        ["wait", _] => Some(report(&event.wait().map(|()| ""))),
        ["wait_timeout", _, ms] => Some(report(&event.wait_timeout(millis(ms)).map(|()| ""))),
        ["wait_for_signals", _, count] => done(wait_for_signals(&event, number(count))),
        ["set_in_signals", _, count] => done(set_in_signals(&event, number(count))),
        _ => None,
    }
}

fn with<T>(opened: Result<T, OpenError>, act: impl FnOnce(T) -> Next) -> Next {
    match opened {
        Ok(object) => act(object),
        Err(error) => report::<&str, _>(&Err(error)),
    }
}

/// Once: appends a line to a file. Whether it was done here, and whether somebody began before.
fn append_once(once: &Once, file: &str, timeout: Duration) -> Result<String, procession::OnceError> {
    let mut is_again = false;
    let append = |run: procession::OnceRun| {
        is_again = run.is_again;
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).expect("a file");
        file.write_all(b"done\n").expect("room for a line");
    };
    let done = once.run_timeout(append, timeout)?;
    Ok(format!("{done} {is_again}"))
}

/// Answers `ok` after something that cannot fail.
fn after(act: impl FnOnce()) -> Option<Next> {
    act();
    done("")
}

fn keep(world: &World, name: &str, opened: Result<Event, OpenError>) -> Next {
    let kept = opened.map(|event| world.events.borrow_mut().insert(name.to_owned(), Rc::new(event)));
    report(&kept.map(|_| ""))
}

static EVENT: OnceLock<Event> = OnceLock::new();
static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn set_it(_: libc::c_int) {
    if let Some(event) = EVENT.get() {
        event.set();
        let _: bool = event.is_set();
        event.pulse();
        event.clear();
    }
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Lets a signal come every so many microseconds, or never again, whose handler uses the event.
fn signal_every(event: &Event, micros: libc::suseconds_t) {
    EVENT.get_or_init(|| event.clone());
    let handler: extern "C" fn(libc::c_int) = set_it;
    // SAFETY: the handler only touches atomics and makes system calls.
    unsafe { libc::signal(libc::SIGALRM, handler as libc::sighandler_t) };
    let every = libc::timeval { tv_sec: 0, tv_usec: micros };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: the timer is read only; the old one is not asked for.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

/// Uses the event without a pause while a signal handler does so too, until that has happened `count` times.
fn set_in_signals(event: &Event, count: u32) -> u32 {
    signal_every(event, 50);
    while SIGNALS.load(Ordering::Relaxed) < count {
        event.set();
        event.clear();
        event.pulse();
        if event.is_set() && event.wait().is_err() {
            say("error Wait");
        }
    }
    signal_every(event, 0);
    SIGNALS.load(Ordering::Relaxed)
}

/// Waits so many times for what only a handler that interrupts this very thread does.
fn wait_for_signals(event: &Event, count: u32) -> u32 {
    signal_every(event, 200);
    let released = (0..count).filter(|_| event.wait().is_ok()).count();
    signal_every(event, 0);
    u32::try_from(released).unwrap_or(0)
}
