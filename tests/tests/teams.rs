//! A team's members all return, or all end; and whoever waits for it is told why.

use nix::sys::signal::Signal;
use procession::{Barrier, Event, Latch, Process, ProcessError, Queue, Stdio, Team, TeamError};
use procession_tests::{Scratch, Watchdog, runs, until};
use std::error::Error;
use std::time::Duration;

procession::test_support!();

type Done<T> = Result<T, Box<dyn Error>>;

fn square(n: u64) -> Done<u64> {
    Ok(n * n)
}

/// Waits for what nobody sets.
fn wait(event: Event) -> Done<u64> {
    event.wait()?;
    Ok(0)
}

fn meet(barrier: Barrier) -> Done<u64> {
    barrier.join()?.wait()?;
    Ok(0)
}

/// Does not end by SIGTERM.
fn defy(ready: Event) -> Done<u64> {
    procession_sys::signals::withstand(Signal::SIGTERM as i32);
    ready.set();
    loop {
        std::thread::park();
    }
}

/// What became of those that failed, and who was ended because of that.
fn failed(error: TeamError) -> (Vec<ProcessError>, Vec<String>) {
    match error {
        TeamError::Failed { failures, ended } => {
            (failures, ended.iter().map(|label| label.name().to_owned()).collect())
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_team_returns_what_its_members_do_in_their_order() {
    let (_scratch, _watchdog) = (Scratch::new(), Watchdog::start());
    let mut team: Team<u64> = (0..5).map(|n| Process::spawn_fallible(square, n).unwrap()).collect();
    assert_eq!(team.members().count(), 5);
    assert_eq!(team.join().unwrap(), [0, 1, 4, 9, 16]);
    assert!(team.join().unwrap().is_empty());
    // It can be used again.
    team.spawn_fallible("six", square, 6).unwrap();
    assert_eq!(team.join().unwrap(), [36]);
}

#[test]
fn a_member_that_reads_to_the_end_of_its_input_comes_to_an_end() {
    let (_scratch, _watchdog) = (Scratch::new(), Watchdog::start());
    let read = || std::io::read_to_string(std::io::stdin()).map(|text| text.len());
    let mut team = Team::new();
    team.add(Process::options().stdin(Stdio::piped()).spawn_fallible(read, ()).unwrap());
    assert_eq!(team.join().unwrap(), [0]);
}

#[test]
fn a_grace_without_end_is_as_long_as_the_members_take() {
    let (_scratch, _watchdog) = (Scratch::new(), Watchdog::start());
    let mut team = Team::new().grace(Duration::MAX);
    let event = Event::new().unwrap();
    team.spawn_fallible("waits", wait, event.clone()).unwrap();
    team.add(Process::spawn(|| std::process::abort(), ()).unwrap());
    let fails = team.members().nth(1).unwrap();
    fails.wait().unwrap();
    event.set();
    let (failures, ended) = failed(team.join().unwrap_err());
    assert!(matches!(failures[..], [ProcessError::Killed { .. }]) && ended.is_empty(), "{ended:?}");
}

#[test]
fn a_killed_member_ends_the_others_and_is_named() {
    let (_scratch, _watchdog) = (Scratch::new(), Watchdog::start());
    let never = Event::new().unwrap();
    let mut team = Team::new().grace(Duration::from_millis(1));
    for name in ["first", "second", "third"] {
        team.spawn_fallible(name, wait, never.clone()).unwrap();
    }
    let pids: Vec<u32> = team.members().map(Process::pid).collect();
    team.members().nth(1).unwrap().kill().unwrap();
    let error = team.join().unwrap_err();
    let text = error.to_string();
    let (failures, ended) = failed(error);
    assert!(
        matches!(&failures[..], [ProcessError::Killed { signal: 9, process }] if process.name() == "second")
    );
    assert_eq!(ended, ["first", "third"]);
    assert!(text.contains("was killed by SIGKILL before the function returned; ended because of that: "));
    assert!(pids.into_iter().all(|pid| !runs(pid)));
    assert!(team.members().count() == 0 && team.join().unwrap().is_empty());
}

#[test]
fn members_that_learn_of_a_death_say_so_behind_it() {
    let (_scratch, _watchdog) = (Scratch::new(), Watchdog::start());
    let barrier = Barrier::new(3).unwrap();
    // Whoever learns of it has half a minute to say so.
    let mut team = Team::new().grace(Duration::from_secs(30));
    for name in ["first", "second"] {
        team.spawn_fallible(name, meet, barrier.clone()).unwrap();
    }
    until("both wait", || barrier.n_waiting() == 2);
    let first = team.members().next().unwrap();
    let told = format!("one of its members died (pid {})", first.pid());
    first.kill().unwrap();
    let (failures, ended) = failed(team.join().unwrap_err());
    assert!(
        matches!(&failures[..], [ProcessError::Killed { .. }, ProcessError::Failed { .. }]),
        "{failures:?}"
    );
    assert!(format!("{:?}", failures[1]).contains(&told), "{failures:?}");
    assert!(ended.is_empty());
}

#[test]
fn a_wait_for_what_members_do_ends_with_their_failure() {
    let (_scratch, _watchdog) = (Scratch::new(), Watchdog::start());
    let mut team = Team::new().grace(Duration::from_millis(1));
    let (never, line) = (Event::new().unwrap(), Latch::new(2).unwrap());
    team.spawn_fallible("quick", square, 3).unwrap();
    team.spawn_fallible("waits", wait, never.clone()).unwrap();
    team.add(
        Process::spawn_fallible(|line: Latch| -> Done<u64> { Ok(line.arrive()) }, line.clone()).unwrap(),
    );
    line.arrive();
    team.wait_for(&line).unwrap();
    team.check().unwrap();
    // Those that have returned are no reason to stop waiting.
    until("two have returned", || team.members().filter(|member| member.is_alive()).count() == 1);
    let queue: Queue<u64> = Queue::new().unwrap();
    queue.put(&1).unwrap();
    team.wait_for(&queue).unwrap();
    team.members().find(|member| member.name() == "waits").unwrap().kill().unwrap();
    let (failures, _) = failed(team.wait_for(&never).unwrap_err());
    assert_eq!(failures.len(), 1);
}

#[test]
fn panics_exits_and_errors_are_failures() {
    let (_scratch, _watchdog) = (Scratch::new(), Watchdog::start());
    let mut team: Team<u64> = Team::new().grace(Duration::from_secs(30));
    team.spawn_fallible("fails", |n: u64| Err::<u64, _>(format!("{n} is too many")), 3).unwrap();
    team.spawn_fallible("panics", |n: u64| -> Done<u64> { panic!("{n}") }, 4).unwrap();
    team.spawn_fallible("exits", |code: i32| -> Done<u64> { std::process::exit(code) }, 5).unwrap();
    let (failures, _) = failed(team.join().unwrap_err());
    assert_eq!(failures.len(), 3, "{failures:?}");
    // What a member says of its error comes last.
    assert!(matches!(failures[2], ProcessError::Failed { .. }), "{failures:?}");
}

#[test]
fn dropping_a_team_ends_its_members_however_they_defy() {
    let (_scratch, _watchdog) = (Scratch::new(), Watchdog::start());
    let ready = Event::new().unwrap();
    let mut team = Team::new().grace(Duration::from_millis(10));
    let defies = team.spawn_fallible("defies", defy, ready.clone()).unwrap().pid();
    let waits = team.spawn_fallible("waits", wait, Event::new().unwrap()).unwrap().pid();
    team.wait_for(&ready).unwrap();
    drop(team);
    assert!(!runs(defies) && !runs(waits));
}
