//! A supervisor keeps processes running: it starts them again, within limits, and ends all of them.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

mod signals;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procession::{
    Event, ExitStatus, KernelError, Process, ProcessLabel, Restart, RestartScope, SpawnError, Supervised,
    Supervisor, SupervisorError, SupervisorEvent as Happened, Value,
};
use procession_tests::Scratch;
use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

procession::test_support!();

const SOON: Duration = Duration::from_millis(1);

fn park() {
    loop {
        std::thread::park();
    }
}

fn abort() {
    std::process::abort()
}

/// Does not end by SIGTERM.
fn defy(ready: Event) {
    procession_sys::signals::withstand(Signal::SIGTERM as i32);
    ready.set();
    park();
}

fn pid_of(event: &Happened) -> Option<i32> {
    match event {
        Happened::Started { process, .. } => Some(process.pid().cast_signed()),
        _ => None,
    }
}

fn quick(workers: usize) -> Supervisor<'static> {
    Supervisor::new(workers).back_off(SOON, SOON)
}

#[test]
fn a_worker_that_is_killed_is_started_again_and_a_stop_ends_all() {
    let _scratch = Scratch::new();
    let mut starts = 0;
    let supervisor = quick(2);
    let handle = supervisor.handle();
    let statuses = supervisor
        .on_event(|event| {
            let Some(pid) = pid_of(event) else { return };
            starts += 1;
            // The first three are killed; then the supervisor has both, and is stopped.
            match starts {
                1..=3 => kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap(),
                5 => handle.stop(),
                _ => {}
            }
        })
        .run(|_| Process::spawn(park, ()))
        .unwrap();
    assert_eq!(starts, 5);
    let signals: Vec<_> = statuses.iter().map(|status| status.unwrap().signal()).collect();
    assert_eq!(signals, [Some(Signal::SIGTERM as i32); 2]);
}

#[test]
fn each_policy_starts_again_what_it_says() {
    fn exit(code: i32) {
        std::process::exit(code);
    }
    for (restart, code, starts) in [
        (Restart::Never, 3, 1),
        (Restart::OnFailure, 0, 1),
        (Restart::OnFailure, 3, 3),
        (Restart::Always, 0, 3),
    ] {
        let _scratch = Scratch::new();
        let mut started = 0;
        let outcome = quick(1)
            .restart(restart)
            .max_restarts(2, Duration::from_secs(60))
            .on_event(|event| started += u32::from(pid_of(event).is_some()))
            .run(|_| Process::spawn(exit, code));
        assert_eq!(started, starts, "{restart:?} {code}");
        match outcome {
            Ok(statuses) => assert_eq!(statuses[0].unwrap().code(), Some(code)),
            Err(SupervisorError::GaveUp { rank: 0, most: 2, .. }) => assert_eq!(starts, 3),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn one_that_ends_too_often_ends_the_others_and_is_named() {
    let _scratch = Scratch::new();
    let error = quick(2)
        .max_restarts(3, Duration::from_secs(60))
        .run(|attempt| {
            if attempt.rank() == 0 {
                Process::spawn(park, ())
            } else {
                Process::spawn(|| -> () { std::process::abort() }, ())
            }
        })
        .unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("worker 1 was to be started again more than 3 times"), "{text}");
    assert!(text.ends_with("killed by SIGABRT"), "{text}");
}

/// The starts of each rank, and whether somebody was killed, when `wished` is asked to be replaced once all run.
fn replaced(supervisor: Supervisor<'static>, wished: &[usize], stubborn: bool) -> (Vec<u32>, bool) {
    fn work(ready: Event, stubborn: bool) {
        if stubborn {
            return defy(ready);
        }
        ready.set();
        park();
    }
    let (mut starts, mut was_killed, mut ready) = (vec![0; 2], false, 0);
    let handle = supervisor.handle();
    supervisor
        .restart(Restart::Never)
        .on_event(|event| match event {
            Happened::Started { rank, .. } => starts[*rank] += 1,
            Happened::Killed { .. } => was_killed = true,
            Happened::Ready { .. } => {
                ready += 1;
                match ready {
                    2 => wished.iter().for_each(|&rank| handle.restart(rank)),
                    3 => handle.stop(),
                    _ => {}
                }
            }
            _ => {}
        })
        .run(|attempt| Process::spawn(work, (attempt.ready().unwrap(), stubborn)))
        .unwrap();
    (starts, was_killed)
}

#[test]
fn a_worker_is_replaced_when_that_is_wished() {
    let _scratch = Scratch::new();
    assert_eq!(replaced(quick(2), &[1, 7], false), (vec![1, 2], false), "one, though none is started again");
    let stubborn = quick(2).grace(Duration::from_millis(50));
    assert_eq!(replaced(stubborn, &[0], true), (vec![2, 1], true), "one that does not end is killed");
    let together = quick(2).restart_scope(RestartScope::All);
    let (starts, _) = replaced(together, &[0], false);
    assert_eq!(starts, [2, 2], "all are started again together");
}

#[test]
fn what_outlasts_the_grace_is_killed() {
    let _scratch = Scratch::new();
    let supervisor = quick(1).grace(Duration::from_millis(50));
    let handle = supervisor.handle();
    let mut happened = Vec::new();
    let statuses = supervisor
        .on_event(|event| {
            if matches!(event, Happened::Ready { .. }) {
                handle.stop();
            }
            happened.push(event.clone());
        })
        .run(|attempt| {
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Process::spawn(defy, attempt.ready()?)?)
        })
        .unwrap();
    assert_eq!(statuses[0].unwrap().signal(), Some(Signal::SIGKILL as i32));
    use Happened as H;
    assert!(
        matches!(
            happened[..],
            [H::Started { .. }, H::Ready { .. }, H::Stopping, H::Killed { .. }, H::Ended { .. }, H::Stopped]
        ),
        "{happened:?}"
    );
}

#[test]
fn times_without_end_are_none() {
    let _scratch = Scratch::new();
    // Whoever stops it waits for as long as the worker takes, and a worker that is replaced has as long.
    let endless = |supervisor: Supervisor<'static>| supervisor.grace(Duration::MAX);
    let supervisor = endless(quick(1));
    let handle = supervisor.handle();
    let stopped = supervisor.run(|attempt| {
        match attempt.number() {
            1 => handle.restart(0),
            _ => handle.stop(),
        }
        Process::spawn(park, ())
    });
    assert_eq!(stopped.unwrap()[0].unwrap().signal(), Some(Signal::SIGTERM as i32));
    // One that fails is never started again, and so only a stop ends it.
    let supervisor = endless(Supervisor::new(1).back_off(Duration::MAX, Duration::MAX));
    let handle = supervisor.handle();
    let stopped = supervisor
        .on_event(|event| {
            if matches!(event, Happened::Restarting { .. }) {
                handle.stop();
            }
        })
        .run(|_| Process::spawn(abort, ()));
    assert_eq!(stopped.unwrap()[0].unwrap().signal(), Some(Signal::SIGABRT as i32));
}

#[test]
fn a_drain_while_all_end_does_not_wait_until_they_would_be_started_again() {
    let _scratch = Scratch::new();
    let supervisor = Supervisor::new(2)
        .back_off(Duration::from_secs(3600), Duration::from_secs(3600))
        .restart_scope(RestartScope::All);
    let handle = supervisor.handle();
    let statuses = supervisor
        .on_event(|event| {
            if matches!(event, Happened::Restarting { .. }) {
                handle.drain();
            }
        })
        .run(|attempt| match attempt.rank() {
            0 => Process::spawn(abort, ()),
            _ => Process::spawn(park, ()),
        });
    assert!(statuses.unwrap().iter().all(|status| status.unwrap().signal().is_some()));
}

#[test]
fn a_worker_is_ready_when_it_says_so() {
    fn get_ready(come: Event, ready: Event) {
        come.wait().unwrap();
        ready.set();
        park();
    }
    let scratch = Scratch::new();
    let come = Event::options().namespace(&scratch).anonymous().unwrap();
    let supervisor = quick(2);
    let handle = supervisor.handle();
    let (mut started, mut ready) = (0, 0);
    supervisor
        .on_event(|event| match event {
            Happened::Started { .. } => {
                started += 1;
                assert_eq!(ready, 0);
                if started == 2 {
                    come.set();
                }
            }
            Happened::Ready { .. } => {
                ready += 1;
                if ready == 2 {
                    handle.stop();
                }
            }
            _ => {}
        })
        .run(|attempt| {
            let ready = attempt.ready()?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Process::spawn(
                get_ready,
                (come.clone(), ready),
            )?)
        })
        .unwrap();
    assert_eq!((started, ready), (2, 2));
}

#[test]
fn what_cannot_be_started_is_a_failure() {
    let _scratch = Scratch::new();
    let mut tries = 0;
    let error = quick(1)
        .max_restarts(2, Duration::from_secs(60))
        .run(|_| {
            tries += 1;
            Err::<Process<()>, _>("there is no such thing")
        })
        .unwrap_err();
    assert!(error.to_string().ends_with("the last time: there is no such thing"), "{error}");
    assert_eq!(tries, 3);
    let error = quick(1).restart(Restart::Never).run(|_| Err::<Process<()>, _>("no")).unwrap_err();
    assert_eq!(error.to_string(), "worker 0 could not be started, and so all workers were stopped: no");
}

#[test]
fn a_supervisor_that_was_stopped_starts_nothing() {
    let _scratch = Scratch::new();
    let supervisor = quick(3);
    supervisor.handle().stop();
    let statuses = supervisor.run(|_| Process::spawn(park, ())).unwrap();
    assert_eq!(statuses, [None; 3]);
}

#[test]
fn what_a_worker_was_doing_is_done_by_the_next() {
    fn work(sum: Value<u64>) {
        let before = sum.fetch_add(1).unwrap();
        if before < 4 {
            std::process::exit(1);
        }
    }
    let scratch = Scratch::new();
    let sum = Value::<u64>::options().namespace(&scratch).anonymous().unwrap();
    let statuses = quick(1).run(|_| Process::spawn(work, sum.clone())).unwrap();
    assert!(statuses[0].unwrap().success());
    assert_eq!(sum.get().unwrap(), 5);
}

#[test]
fn all_are_started_again_together_also_those_that_were_done() {
    fn act(rank: usize, starts: Value<u32>) {
        // Of the first three, 0 is done, 1 fails once 0 is, and 2 only ends when it is told to.
        let first = starts.get().unwrap() < 3;
        starts.fetch_add(1).unwrap();
        match rank {
            0 => {}
            1 if first => {
                while starts.get().unwrap() < 3 {
                    std::thread::yield_now();
                }
                std::process::exit(7);
            }
            2 if first => park(),
            _ => {}
        }
    }
    let scratch = Scratch::new();
    let starts: Value<u32> = Value::options().namespace(&scratch).anonymous().unwrap();
    let (mut started, mut ended) = (Vec::new(), Vec::new());
    let statuses = quick(3)
        .restart_scope(RestartScope::All)
        .on_event(|event| match event {
            Happened::Started { rank, attempt, .. } => started.push((*rank, *attempt)),
            Happened::Ended { rank, .. } => ended.push((*rank, started.len())),
            _ => {}
        })
        .run(|attempt| Process::spawn(act, (attempt.rank(), starts.clone())))
        .unwrap();
    assert!(statuses.iter().all(|status| status.unwrap().success()), "{statuses:?}");
    started[..3].sort_unstable();
    started[3..].sort_unstable();
    assert_eq!(started, [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2)]);
    // Nobody was started again before all had ended.
    assert!(ended[..3].iter().all(|(_, started)| *started <= 3), "{ended:?}");
}

#[test]
fn restarts_of_all_are_counted_together() {
    let _scratch = Scratch::new();
    let mut started = 0;
    let error = quick(2)
        .restart_scope(RestartScope::All)
        .max_restarts(3, Duration::from_secs(60))
        .on_event(|event| started += u32::from(pid_of(event).is_some()))
        .run(|attempt| {
            // Another one fails each time.
            let fails = usize::try_from(attempt.number()).unwrap() % 2 == attempt.rank();
            Process::spawn(|fails| if fails { std::process::exit(7) } else { park() }, fails)
        })
        .unwrap_err();
    assert!(matches!(error, SupervisorError::GaveUp { most: 3, .. }), "{error}");
    assert_eq!(started, 8);
}

/// A process whose end its starter learns of by itself, and tells.
struct Told(Process<()>);

impl Supervised for Told {
    fn label(&self) -> ProcessLabel {
        ProcessLabel::of_program("told", self.0.pid())
    }

    fn end(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn status(&self) -> Option<ExitStatus> {
        self.0.exit_status()
    }

    fn signal(&self, signal: i32) -> Result<(), KernelError> {
        self.0.signal(signal)
    }
}

/// A process whose end is taken before it is asked for.
struct Taken(Told, u64);

impl Supervised for Taken {
    fn label(&self) -> ProcessLabel {
        self.0.label()
    }

    fn end(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn status(&self) -> Option<ExitStatus> {
        self.0.status()
    }

    fn place_among_ends(&self) -> u64 {
        self.1
    }

    fn signal(&self, signal: i32) -> Result<(), KernelError> {
        self.0.signal(signal)
    }
}

#[test]
fn ends_are_told_in_the_order_in_which_they_were_taken() {
    let _scratch = Scratch::new();
    let mut told = Vec::new();
    quick(3)
        .on_event(|event| {
            if let Happened::Ended { rank, .. } = event {
                told.push(*rank);
            }
        })
        .run(|attempt| {
            let process = Process::spawn(|| (), ())?;
            // The supervisor finds all of them ended when it looks for the first time.
            process.wait_timeout(Duration::from_secs(60)).unwrap();
            Ok::<_, SpawnError>(Taken(Told(process), [2, 3, 1][attempt.rank()]))
        })
        .unwrap();
    assert_eq!(told, [2, 0, 1]);
}

/// A process that counts how often it is looked at, and whose status cannot be had before a moment.
struct Counted<'a>(Process<()>, &'a Cell<u32>, Instant);

impl Supervised for Counted<'_> {
    fn label(&self) -> ProcessLabel {
        Supervised::label(&self.0)
    }

    fn end(&self) -> Option<BorrowedFd<'_>> {
        Supervised::end(&self.0)
    }

    fn is_attended(&self) -> bool {
        self.0.is_attended()
    }

    fn status(&self) -> Option<ExitStatus> {
        self.1.set(self.1.get() + 1);
        (Instant::now() >= self.2).then(|| self.0.exit_status()).flatten()
    }

    fn signal(&self, signal: i32) -> Result<(), KernelError> {
        self.0.signal(signal)
    }
}

#[test]
fn a_supervisor_does_not_spin_while_nobody_tells_how_a_worker_has_ended() {
    for closes in [true, false] {
        let (looks, moment) = (Cell::new(0), Instant::now() + Duration::from_secs(1));
        let statuses = quick(1)
            .run(|_| {
                // Of one the descriptor is closed; of the other a debugger keeps the status.
                let seconds = if closes { 1 } else { 0 };
                let work = |seconds| std::thread::sleep(Duration::from_secs(seconds));
                let process = Process::spawn(work, seconds)?;
                if closes {
                    nix::unistd::close(process.as_raw_fd()).unwrap();
                }
                Ok::<_, SpawnError>(Counted(process, &looks, moment))
            })
            .unwrap();
        assert!(statuses[0].unwrap().success());
        assert!((1..300).contains(&looks.get()), "{}", looks.get());
    }
}

#[test]
fn a_drained_supervisor_starts_nobody_and_looks_when_what_it_attends_to_has_come() {
    let scratch = Scratch::new();
    let go = Event::options().namespace(&scratch).anonymous().unwrap();
    let bell = procession_sys::eventfd::create().unwrap();
    let supervisor = quick(2).restart(Restart::Always);
    let handle = supervisor.handle();
    let (mut happened, mut calls) = (Vec::new(), 0);
    let statuses = supervisor
        .attend(bell.as_fd(), || {
            procession_sys::eventfd::silence(&bell);
            calls += 1;
        })
        .on_event(|event| {
            happened.push(event.clone());
            if matches!(event, Happened::Started { rank: 1, .. }) {
                handle.drain();
                go.set();
            }
        })
        .run(|attempt| {
            let work = |go: Event, code| {
                go.wait().unwrap();
                std::process::exit(code)
            };
            let process = Process::spawn(work, (go.clone(), i32::try_from(attempt.rank()).unwrap()))?;
            let end = process.as_fd().try_clone_to_owned().unwrap();
            let bell = bell.try_clone().unwrap();
            std::thread::spawn(move || {
                procession_sys::eventfd::wait_any(&[end.as_fd()], None).unwrap();
                procession_sys::eventfd::ring(&bell);
            });
            Ok::<_, SpawnError>(Told(process))
        })
        .unwrap();
    let codes: Vec<_> = statuses.iter().map(|status| status.unwrap().code()).collect();
    assert_eq!(codes, [Some(0), Some(1)]);
    let count = |is: fn(&Happened) -> bool| happened.iter().filter(|event| is(event)).count();
    assert_eq!(count(|event| matches!(event, Happened::Started { .. })), 2);
    assert_eq!(count(|event| matches!(event, Happened::Stopping | Happened::Restarting { .. })), 0);
    assert!(happened.iter().any(|event| event.to_string().starts_with("told (pid ")), "{happened:?}");
    assert!((1..=2).contains(&calls), "{calls}");
}

#[test]
fn workers_are_added_while_it_runs_and_kept_running_too() {
    fn work((rank, gate): (usize, Event)) {
        if rank > 0 {
            gate.wait().unwrap();
        }
    }
    let _scratch = Scratch::new();
    let gate = Event::new().unwrap();
    let supervisor = quick(1);
    let (handle, opened) = (supervisor.handle(), gate.clone());
    let mut starts = Vec::new();
    let statuses = supervisor
        .on_event(|event| match event {
            // The last one that there was has ended: who is added now is still started.
            Happened::Ended { rank: 0, .. } => handle.add_workers(2),
            Happened::Started { rank, attempt, process } => {
                starts.push((*rank, *attempt));
                match (rank, attempt) {
                    (2, 1) => kill(Pid::from_raw(process.pid().cast_signed()), Signal::SIGKILL).unwrap(),
                    (2, 2) => opened.set(),
                    _ => {}
                }
            }
            _ => {}
        })
        .run(|attempt| Process::spawn(work, (attempt.rank(), gate.clone())))
        .unwrap();
    assert!(statuses.len() == 3 && statuses.iter().all(|status| status.unwrap().success()), "{statuses:?}");
    assert_eq!(starts, [(0, 1), (1, 1), (2, 1), (2, 2)]);
}

#[test]
fn a_supervisor_that_drains_starts_none_that_are_added() {
    let _scratch = Scratch::new();
    let supervisor = quick(1);
    let handle = supervisor.handle();
    let statuses = supervisor
        .on_event(|event| {
            if matches!(event, Happened::Started { .. }) {
                handle.drain();
                handle.add_workers(3);
            }
        })
        .run(|_| Process::spawn(|()| (), ()))
        .unwrap();
    assert_eq!(statuses.len(), 4);
    assert!(statuses[0].unwrap().success() && statuses[1..] == [None; 3], "{statuses:?}");
}

#[test]
fn the_last_one_that_has_ended_is_replaced_if_who_is_told_wants_that() {
    let _scratch = Scratch::new();
    let supervisor = quick(1).restart(Restart::Never);
    let handle = supervisor.handle();
    let mut ends = 0;
    let statuses = supervisor
        .on_event(|event| {
            if let Happened::Ended { .. } = event {
                ends += 1;
                // A rank that nobody has is no wish.
                handle.restart(if ends == 1 { 0 } else { 7 });
            }
        })
        .run(|_| Process::spawn(|()| (), ()))
        .unwrap();
    assert_eq!((statuses.len(), ends), (1, 2));
}
