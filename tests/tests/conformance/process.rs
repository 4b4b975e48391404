//! `_TestProcess` and `_TestSubclassingProcess`, by each start method; and of the tests beside them what is said
//! there of processes.
//!
//! On purpose different from Python: a process exists once it is started, so there is nothing to be asked of one
//! before that, and nothing after `join`, which takes the handle; there is no `authkey`, because nothing is
//! listening that a stranger could speak to; a process ends with its function, whatever its threads do, as a
//! program ends with `main`; and a child that runs ends with its parent, unless it is detached.
//!
//! What runs by each start method elsewhere: interrupts, the end of daemons and of others with their parent, exit
//! handlers, preload functions (`tests/process`), arguments that are kept until the child has them
//! (`process/crossing.rs`).

use crate::ground::{SHORT, by_each_method, for_ever};
use nix::sys::signal::Signal;
use nix::unistd::close;
use procession::{
    Connection, Event, KernelError, Pool, Process, ProcessError, ProcessOptions, Queue, StartMethod, Stdio,
    WaitError, Waitable, active_children, current_process, duplex, parent_process, try_wait, wait,
};
use procession_tests::{children, descriptors, forkservers, send, until};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

by_each_method! {
    a_process_is_what_it_was_told_to_be
    a_daemon_s_processes_are_daemons_unless_said
    a_wait_without_time_returns_at_once
    each_signal_that_ends_a_process_is_told
    a_parent_is_known_and_its_end_is_seen
    processes_that_start_processes_are_visited_in_order
    a_process_is_ready_once_it_has_ended
    a_handle_that_is_dropped_ends_nothing
    a_hundred_processes_end_by_themselves_and_a_hundred_by_a_signal
    descriptors_are_given_back_once_a_process_has_ended
    a_process_does_not_wait_for_its_threads
    streams_that_are_closed_or_broken_cost_nothing
    exit_codes_are_what_was_said
    an_error_is_told_on_standard_error_once
    an_object_of_the_program_s_own_is_answered_by_its_process
    a_process_has_queues_pools_and_processes_of_its_own
}

const LONG: Duration = Duration::from_secs(30);

/// A process that ends when it is told to.
fn waits(go: &Event) -> Process<()> {
    Process::spawn(|go: Event| go.wait().unwrap(), go.clone()).unwrap()
}

/// Arguments of several kinds.
type Given = (i64, Vec<String>, BTreeMap<String, Option<f64>>);

fn who(go: Event, given: Given) -> (Given, String, u32, bool) {
    go.wait().unwrap();
    let me = current_process();
    (given, me.name().to_owned(), me.pid(), me.is_daemon())
}

// test_current, test_process, test_args_argument, test_daemon_argument, test_active_children
fn a_process_is_what_it_was_told_to_be() {
    let me = current_process();
    assert!(me.pid() == std::process::id() && !me.is_daemon());
    assert!(active_children().is_empty());
    let go = Event::new().unwrap();
    let words = vec!["a".to_owned(), String::new(), "ü".to_owned()];
    let options = BTreeMap::from([("none".to_owned(), None), ("some".to_owned(), Some(0.5))]);
    let given = (-7, words, options);
    let child = Process::options().name("told").daemon(true).spawn(who, (go.clone(), given.clone())).unwrap();
    assert!(child.is_alive() && child.exit_status().is_none());
    assert!(child.name() == "told" && child.is_daemon());
    let pid = child.pid();
    let listed: Vec<u32> = active_children().iter().map(procession::ActiveChild::pid).collect();
    assert_eq!(listed, [pid]);
    go.set();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!child.is_alive() && active_children().is_empty());
    assert_eq!(child.join().unwrap(), (given, "told".to_owned(), pid, true));
    // Without a name it has one, which says whose child it is.
    let unnamed = Process::spawn(|| current_process().name().to_owned(), ()).unwrap();
    let name = unnamed.name().to_owned();
    assert!(name.starts_with("Process-") && unnamed.join().unwrap() == name);
}

fn daemons(told: Option<bool>) -> bool {
    let options = told.into_iter().fold(Process::options(), ProcessOptions::daemon);
    options.spawn(|| current_process().is_daemon(), ()).unwrap().join().unwrap()
}

// test_daemon_argument
fn a_daemon_s_processes_are_daemons_unless_said() {
    for (parent, told, is_daemon) in
        [(false, None, false), (false, Some(true), true), (true, None, true), (true, Some(false), false)]
    {
        let parent = Process::options().daemon(parent).spawn(daemons, told).unwrap();
        assert_eq!(parent.join().unwrap(), is_daemon);
    }
}

// test_terminate's join(0) and join(-1)
fn a_wait_without_time_returns_at_once() {
    let go = Event::new().unwrap();
    let child = waits(&go);
    assert!(matches!(child.wait_timeout(Duration::ZERO), Err(WaitError::TimedOut { .. })));
    assert!(child.try_wait().unwrap().is_none());
    assert!(matches!(child.wait_timeout(SHORT), Err(WaitError::TimedOut { .. })));
    assert!(child.is_alive());
    go.set();
    assert!(child.wait_timeout(LONG).unwrap().success());
    child.join_timeout(Duration::ZERO).unwrap();
}

// test_terminate, test_kill
fn each_signal_that_ends_a_process_is_told() {
    type Way = fn(&Process<()>) -> Result<(), KernelError>;
    let usr1: Way = |child| child.signal(libc::SIGUSR1);
    let ways: [(Way, Signal); 3] =
        [(Process::terminate, Signal::SIGTERM), (Process::kill, Signal::SIGKILL), (usr1, Signal::SIGUSR1)];
    for (way, signal) in ways {
        let child = Process::spawn(|| for_ever(), ()).map(|child: Process<()>| child).unwrap();
        assert!(child.is_alive() && active_children().len() == 1);
        way(&child).unwrap();
        let status = child.wait().unwrap();
        assert_eq!((status.signal(), status.as_python()), (Some(signal as i32), -(signal as i32)));
        assert!(status.to_string().contains(signal.as_str()), "{status}");
        assert!(!child.is_alive() && active_children().is_empty());
        way(&child).unwrap();
        assert!(
            matches!(child.join(), Err(ProcessError::Killed { signal: told, .. }) if told == signal as i32)
        );
    }
}

fn look_at_parent(seen: Queue<(u32, String, bool)>) {
    let parent = parent_process().unwrap();
    let look = || (parent.pid(), parent.name().to_owned(), parent.is_alive());
    seen.put(&look()).unwrap();
    parent.wait_timeout(LONG).unwrap();
    seen.put(&look()).unwrap();
}

// test_parent_process, test_parent_process_attributes
fn a_parent_is_known_and_its_end_is_seen() {
    let this = (std::process::id(), current_process().name().to_owned(), true);
    let seen = Queue::new().unwrap();
    let middle = |seen: Queue<(u32, String, bool)>| -> () {
        let parent = parent_process().unwrap();
        seen.put(&(parent.pid(), parent.name().to_owned(), parent.is_alive())).unwrap();
        let _child = Process::options().detached().spawn(look_at_parent, seen).unwrap();
        for_ever()
    };
    let middle = Process::options().name("middle").spawn(middle, seen.clone()).unwrap();
    assert_eq!(seen.get().unwrap(), this);
    assert_eq!(seen.get().unwrap(), (middle.pid(), "middle".to_owned(), true));
    middle.terminate().unwrap();
    assert_eq!(middle.wait().unwrap().signal(), Some(libc::SIGTERM));
    assert_eq!(seen.get().unwrap(), (middle.pid(), "middle".to_owned(), false));
}

fn visit(visited: Queue<Vec<u32>>, here: Vec<u32>) {
    visited.put(&here).unwrap();
    if here.len() < 2 {
        for number in 0..2 {
            let next = [here.as_slice(), &[number]].concat();
            Process::spawn(visit, (visited.clone(), next)).unwrap().join().unwrap();
        }
    }
}

// test_recursion
fn processes_that_start_processes_are_visited_in_order() {
    let visited = Queue::new().unwrap();
    Process::spawn(visit, (visited.clone(), Vec::new())).unwrap().join().unwrap();
    let all: Vec<Vec<u32>> = std::iter::from_fn(|| visited.try_get().ok()).collect();
    let expected: [&[u32]; 7] = [&[], &[0], &[0, 0], &[0, 1], &[1], &[1, 0], &[1, 1]];
    assert_eq!(all, expected);
}

// test_sentinel
fn a_process_is_ready_once_it_has_ended() {
    let go = [Event::new().unwrap(), Event::new().unwrap()];
    let both = go.each_ref().map(waits);
    let all: Vec<&dyn Waitable> = both.iter().map(|child| child as &dyn Waitable).collect();
    assert!(try_wait(&all).is_err());
    go[1].set();
    assert_eq!(wait(&all).unwrap(), [1]);
    go[0].set();
    assert_eq!(wait(&all[..1]).unwrap(), [0]);
    assert_eq!(wait(&all).unwrap(), [0, 1]);
    both.into_iter().for_each(|child| child.join().unwrap());
}

// test_close
fn a_handle_that_is_dropped_ends_nothing() {
    let (go, done) = (Event::new().unwrap(), Event::new().unwrap());
    let work = |go: Event, done: Event| {
        go.wait().unwrap();
        done.set();
    };
    drop(Process::spawn(work, (go.clone(), done.clone())).unwrap());
    assert_eq!(active_children().len(), 1);
    go.set();
    done.wait().unwrap();
    until("it has ended", || active_children().is_empty());
}

// test_many_processes
fn a_hundred_processes_end_by_themselves_and_a_hundred_by_a_signal() {
    let own: Vec<_> = (0..100_u32).map(|n| Process::spawn(|n: u32| n, n).unwrap()).collect();
    assert!(own.into_iter().map(|child| child.join().unwrap()).eq(0..100));
    let go = Event::new().unwrap();
    let told: Vec<_> = (0..100).map(|_| waits(&go)).collect();
    told.iter().for_each(|child| child.terminate().unwrap());
    assert!(told.iter().all(|child| child.wait().unwrap().signal() == Some(libc::SIGTERM)));
    drop(told);
    assert!(active_children().is_empty());
}

/// How many descriptors a process has that has done nothing, and one that it has started.
fn of_two_generations() -> (usize, usize) {
    (descriptors(), Process::spawn(descriptors, ()).unwrap().join().unwrap())
}

// test_child_fd_inflation, gh-83716
fn descriptors_are_given_back_once_a_process_has_ended() {
    let look = || Process::spawn(of_two_generations, ()).unwrap().join().unwrap();
    // The first one brings what is kept: a thread that starts processes, a forkserver.
    let (go, alone) = (Event::new().unwrap(), look());
    let before = descriptors();
    let started: Vec<_> = (0..10).map(|_| waits(&go)).collect();
    let beside = look();
    if procession::start_method() == StartMethod::Fork {
        // A copy has what its parent has, and so it says.
        assert!(beside.0 <= alone.0 + 2 * started.len(), "{alone:?}, {beside:?}");
    } else {
        assert_eq!(alone, beside);
    }
    go.set();
    started.into_iter().for_each(|child| child.join().unwrap());
    let panics = Process::options().stderr(Stdio::null()).spawn(|| panic!("as planned"), ()).unwrap();
    assert!(matches!(panics.join().map(|(): ()| ()), Err(ProcessError::Panicked { .. })));
    let streams = Process::options().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    streams.spawn(|| std::process::exit(3), ()).map(|child: Process<()>| child.join().unwrap_err()).unwrap();
    let killed = Process::spawn(|| for_ever(), ()).map(|child: Process<()>| child).unwrap();
    killed.kill().unwrap();
    killed.join().unwrap_err();
    let forgotten = Process::spawn(|| (), ()).unwrap();
    forgotten.wait().unwrap();
    drop(forgotten);
    assert!(active_children().is_empty());
    assert_eq!(descriptors(), before);
}

// test_wait_for_threads
fn a_process_does_not_wait_for_its_threads() {
    let child = Process::spawn(
        || {
            let (here, there) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                here.send(7).unwrap();
                for_ever()
            });
            there.recv().unwrap()
        },
        (),
    );
    let child: Process<u32> = child.unwrap();
    assert!(child.wait_timeout(LONG).unwrap().success());
    assert_eq!(child.join().unwrap(), 7);
}

/// What is written when the process exits.
fn hold_back(text: &str) {
    // A stream that is broken, or closed, is nobody's concern here.
    drop(std::io::stdout().write_all(text.as_bytes()));
}

/// Writes much, part of it with nobody to read it, and ends.
fn write_in_vain(closes: bool) -> Option<String> {
    if closes {
        [0, 1, 2].into_iter().for_each(|stream| close(stream).unwrap());
    }
    let mut out = std::io::stdout();
    let told = out.write_all(&[b'x'; 1 << 17]).and_then(|()| out.flush()).err();
    // The rest is held back until the process exits.
    hold_back("y");
    drop(std::io::stderr().write_all(b"z"));
    told.map(|error| {
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        error.to_string()
    })
}

// test_error_on_stdio_flush_1, test_error_on_stdio_flush_2, TestStdinBadfiledescriptor
fn streams_that_are_closed_or_broken_cost_nothing() {
    let broken = || {
        let child = Process::options().stdout(Stdio::piped()).stderr(Stdio::null());
        let child = child.spawn(write_in_vain, false).unwrap();
        drop(child.take_stdout());
        child
    };
    let child = broken();
    assert!(child.wait().unwrap().success());
    assert!(child.join().unwrap().is_some());
    let closed = Process::spawn(write_in_vain, true).unwrap();
    assert!(closed.wait().unwrap().success());
    assert_eq!(closed.join().unwrap(), None);
    // This process has none either.
    [0, 1, 2].into_iter().for_each(|stream| close(stream).unwrap());
    assert!(broken().join().unwrap().is_some());
    let silent = Process::spawn(|| hold_back("said to nobody"), ()).unwrap();
    assert!(silent.wait().unwrap().success());
    let piped = Process::options().stdout(Stdio::piped()).spawn(|| hold_back("heard"), ()).unwrap();
    let mut heard = String::new();
    piped.take_stdout().unwrap().read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "heard");
    piped.join().unwrap();
}

// test_sys_exit
fn exit_codes_are_what_was_said() {
    for code in [0, 1, 8, 255] {
        let child = Process::spawn(|code: i32| std::process::exit(code), code);
        let child: Process<()> = child.unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(matches!(child.join(), Err(ProcessError::Exited { code: told, .. }) if told == code));
    }
    let ends = |child: Process<()>| child.wait().unwrap().code();
    assert_eq!(ends(Process::spawn(|| (), ()).unwrap()), Some(0));
    assert_eq!(ends(Process::spawn_fallible(|| Ok::<_, String>(()), ()).unwrap()), Some(0));
    assert_eq!(ends(Process::spawn_fallible(|| Err("no".to_owned()), ()).unwrap()), Some(1));
    let panics = Process::options().stderr(Stdio::null()).spawn(|| panic!("as planned"), ()).unwrap();
    assert_eq!(ends(panics), Some(1));
}

// test_stderr_flush, and what an uncaught error leaves on standard error
fn an_error_is_told_on_standard_error_once() {
    let options = Process::options().name("loud").stderr(Stdio::piped());
    let child = options.spawn(|n: u32| assert_eq!(n, 1, "one is wanted"), 0).unwrap();
    let mut said = String::new();
    child.take_stderr().unwrap().read_to_string(&mut said).unwrap();
    // Its stack has the file's name, too, where that is wanted.
    let place = "panicked at tests/tests/conformance/process.rs:";
    for part in [&format!("loud (pid {})", child.pid()), place, "one is wanted"] {
        assert_eq!(said.matches(part).count(), 1, "{part:?}: {said}");
    }
    assert!(matches!(child.join(), Err(ProcessError::Panicked { .. })));
}

/// What is a process to its users.
struct Shouter {
    process: Process<u32>,
    line: Connection<String, String>,
}

impl Shouter {
    fn start() -> Self {
        let (line, theirs) = duplex().unwrap();
        Self { process: Process::spawn(Self::serve, theirs).unwrap(), line }
    }

    /// In the process.
    fn serve(line: Connection<String, String>) -> u32 {
        let mut count = 0;
        while let Ok(text) = line.recv() {
            line.send(&text.to_uppercase()).unwrap();
            count += 1;
        }
        count
    }

    fn shout(&self, text: &str) -> String {
        self.line.send(text).unwrap();
        self.line.recv().unwrap()
    }

    fn stop(self) -> u32 {
        drop(self.line);
        self.process.join().unwrap()
    }
}

// _TestSubclassingProcess.test_subclassing
fn an_object_of_the_program_s_own_is_answered_by_its_process() {
    let shouter = Shouter::start();
    assert_eq!(shouter.shout("hello"), "HELLO");
    assert_eq!(shouter.shout("world"), "WORLD");
    assert_eq!(shouter.stop(), 2);
}

// test_queue_in_process, test_pool_in_process; the daemons that Python's pools are may not have any of it.
fn a_process_has_queues_pools_and_processes_of_its_own() {
    let work = || {
        let queue = Queue::new().unwrap();
        // By fork the pool is the last that is started: it has threads.
        Process::spawn(|queue: Queue<u32>| queue.put(&3).unwrap(), queue.clone()).unwrap().join().unwrap();
        let mut pool = Pool::new(2).unwrap();
        let squares = pool.map(|n: u32| n * n, [queue.get().unwrap(), 4]).unwrap();
        pool.close();
        pool.join().unwrap();
        squares
    };
    for is_daemon in [false, true] {
        let child = Process::options().daemon(is_daemon).spawn(work, ()).unwrap();
        assert_eq!(child.join().unwrap(), [9, 16]);
    }
}

// test_forkserver_sigint, test_forkserver_sigkill
#[test]
fn a_signal_for_the_forkserver_costs_no_process_its_result() {
    let _dog = procession_tests::Watchdog::start();
    let options = || Process::options().start_method(StartMethod::Forkserver);
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let go = Event::new().unwrap();
        let wait = |go: Event| {
            go.wait().unwrap();
            7
        };
        let early = options().spawn(wait, go.clone()).unwrap();
        let server = forkservers(std::process::id())[0];
        send(server, signal);
        assert_eq!(options().spawn(|n: u32| n + 1, 1).unwrap().join().unwrap(), 2);
        go.set();
        assert!(early.wait().unwrap().success());
        assert_eq!(early.join().unwrap(), 7);
        until("there is one server, or another", || {
            let is_there = children(std::process::id()).contains(&server);
            is_there == (signal == Signal::SIGINT)
        });
    }
}
