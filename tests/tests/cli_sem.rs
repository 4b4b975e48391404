//! `procession sem` and `procession with`: exit codes, counts that all agree on, several things at once.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Place, Running, until};
use nix::sys::signal::Signal;
use procession::{BoundedSemaphore, Semaphore};
use std::time::Duration;

fn hold(place: &Place, arguments: &[&str]) -> Running {
    let mut running = Running::start(
        &mut place.command(&[arguments, &["--", "sh", "-c", "echo HELD; exec sleep 1000"]].concat()),
    );
    running.line("HELD");
    running
}

#[test]
fn every_exit_code() {
    let place = Place::new("sem-codes");
    let _holder = hold(&place, &["sem", "busy", "-c", "2", "-k", "2"]);
    place.shell("$P lock lock -- true");
    let table = [
        ("$P sem free -c 4 -- true", 0),
        ("$P sem run free -c 4 -k 3 -- true", 0),
        ("$P sem free -- true", 0),
        ("$P sem test free -k 4", 0),
        ("$P sem test nothing", 0),
        ("$P sem resize free -c 6", 0),
        ("$P sem free -c 6 -n -k 6 -- true", 0),
        ("$P sem resize free -c 2", 0),
        ("$P sem free -c 2 -n -k 2 -- true", 0),
        ("$P sem test busy", 1),
        ("$P sem release free", 1),
        ("$P sem", 2),
        ("$P sem free -c 0 -- true", 2),
        ("$P sem free -c 2 -k 3 -- true", 2),
        ("$P with lock:a,lock:a:shared -- true", 2),
        ("$P with queue:a -- true", 2),
        ("$P with -- true", 2),
        ("$P sem free -c 4 -- sh -c 'exit 7'", 65),
        ("$P sem free -k 3 -- true", 65),
        ("$P sem free -- $P sem free -k 2 -- true", 65),
        ("$P sem lock -c 4 -- true", 65),
        ("$P sem resize free -c 2000", 65),
        ("$P sem release busy", 65),
        ("$P sem nothing -- true", 66),
        ("$P sem resize nothing -c 2", 66),
        ("$P sem release nothing", 66),
        ("$P with lock:a,sem:nothing -- true", 66),
        ("$P sem busy -n -- true", 75),
        ("$P sem resize busy -c 1 -n", 75),
        ("$P sem acquire busy -w 20ms", 75),
        ("$P with lock:a,sem:busy -w 20ms -- true", 75),
        ("$P with lock:a,sem:busy -n -E 3 -- true", 3),
        ("$P with lock:a,lock:b:shared,sem:free=2 -- true", 0),
        ("$P with lock:a -t 20ms -- sleep 1000", 124),
        ("$P sem free -- procession-no-such-command", 127),
        ("$P sem free -- sh -c 'kill -9 $$'", 137),
        ("$P sem free -k 2 -n -- true", 0),
        (
            "$P sem acquire free -k 2 && $P sem test free; [ $? = 1 ] && $P sem release free && $P sem test free",
            0,
        ),
    ];
    for (script, code) in table {
        let said = place.shell(script);
        assert_eq!((said.code(), said.stdout.as_str()), (Some(code), ""), "{script}: {said:?}");
        let says_nothing = code == 0 || code > 128 || code == 1 && script.contains("test");
        assert_eq!(said.stderr.is_empty(), says_nothing, "{script}: {said:?}");
    }
}

#[test]
fn recipe_a_limit_on_which_all_agree() {
    let place = Place::new("recipe-7");
    // The most that run at a time are as many as there are permits.
    let script = "for n in $(seq 12); do
            $P sem run net -c 3 -w 10m -- sh -c 'echo +; sleep 0.02; echo -' &
        done; wait; $P sem net -c 4 -- true; echo $?";
    let said = place.shell(script);
    let (mut now, mut most) = (0, 0);
    for line in said.stdout.lines() {
        now += if line == "+" { 1 } else { -i32::from(line == "-") };
        most = most.max(now);
    }
    assert_eq!((now, most <= 3 && most > 1), (0, true), "{said:?}");
    assert!(said.stdout.ends_with("65\n"), "{said:?}");
    assert!(said.stderr.contains("has 3 permits, not 4"), "{said:?}");
}

#[test]
fn a_rust_program_and_a_script_meet_on_one_semaphore() {
    let place = Place::new("sem-rust");
    let slots = Semaphore::options().namespace(&place.0).permits(2).create("slots").unwrap();
    let _one = slots.acquire().unwrap();
    assert_eq!(place.run(&["sem", "slots", "-c", "2", "-n", "--", "true"]).code(), Some(0));
    let said = place.run(&["sem", "slots", "-k", "2", "-n", "--", "true"]);
    let pid = std::process::id();
    assert!(
        said.stderr.starts_with(&format!("procession: sem \"slots\" busy: 1 of 2 permits held by {pid} (")),
        "{said:?}"
    );
    assert_eq!(place.run(&["sem", "resize", "slots", "-c", "3"]).code(), Some(0));
    assert_eq!((slots.permits(), slots.available()), (3, 2));
    let bounded = BoundedSemaphore::options().namespace(&place.0).permits(1).create("bounded").unwrap();
    let holder = hold(&place, &["sem", "bounded", "-c", "1"]);
    assert!(bounded.try_acquire().is_err());
    assert_eq!(place.run(&["sem", "resize", "bounded", "-c", "1"]).code(), Some(65));
    holder.signal(Signal::SIGKILL);
    drop(bounded.acquire_timeout(Duration::from_secs(30)).unwrap());
}

#[test]
fn recipe_several_things_without_a_deadlock() {
    let place = Place::new("recipe-2");
    place.shell("$P sem gpu -c 2 -- true; $P lock -s db -- true");
    // Orders that would be a deadlock if anybody waited with something in its hands.
    let script = "
        many() { for n in $(seq 15); do \"$@\" || { echo failed $?: \"$@\"; exit 1; }; done; }
        many $P with lock:db:shared,lock:out,sem:gpu=2 -w 60 -- sh -c 'echo $PROCESSION_HELD > /dev/null' &
        many $P with sem:gpu=2,lock:out,lock:db -w 60 -- true &
        many $P lock out -w 60 -- $P sem gpu -w 60 -- true &
        many $P lock out -w 60 -- $P lock db -w 60 -- true &
        wait";
    let said = place.shell(script);
    assert_eq!((said.code(), said.stdout.as_str(), said.stderr.as_str()), (Some(0), "", ""), "{said:?}");
    let said = place.shell("$P with sem:gpu=2,lock:out,lock:db:shared -- sh -c 'echo $PROCESSION_HELD'");
    let namespace = place.0.name();
    assert_eq!(
        said.stdout,
        format!("lock:db:shared@{namespace},lock:out@{namespace},sem:gpu=2@{namespace}\n")
    );
}

#[test]
fn whoever_waits_for_one_of_several_holds_none() {
    let place = Place::new("with-none");
    let holder = hold(&place, &["lock", "b"]);
    let waiter = Running::start(&mut place.command(&["with", "lock:a,lock:b,lock:c", "--", "echo", "all"]));
    until("somebody to wait", || {
        place.run(&["lock", "b", "-n", "--", "true"]).stderr.contains("1 waiting").then_some(())
    });
    for free in ["a", "c"] {
        assert_eq!(place.run(&["lock", free, "-n", "--", "true"]).code(), Some(0));
    }
    holder.signal(Signal::SIGKILL);
    let said = waiter.end();
    assert_eq!((said.code(), said.stdout.as_str()), (Some(0), "all\n"));
    assert!(said.stderr.contains("the last holder of lock \"b\""), "{said:?}");
}

#[test]
fn permits_come_back_from_the_dead() {
    let place = Place::new("sem-kills");
    let holders = [(); 3].map(|()| hold(&place, &["sem", "net", "-c", "3"]));
    let waiter = Running::start(&mut place.command(&["sem", "net", "-k", "2", "--", "echo", "two"]));
    until("somebody to wait", || {
        place.run(&["sem", "net", "-n", "--", "true"]).stderr.contains("1 waiting").then_some(())
    });
    holders[0].signal(Signal::SIGKILL);
    cli::children_of(holders[1].pid()).into_iter().for_each(|pid| cli::send(pid, Signal::SIGKILL));
    let said = waiter.end();
    assert_eq!((said.code(), said.stdout.as_str(), said.stderr.as_str()), (Some(0), "two\n", ""));
}
