//! Children end with their parent, whatever both have become; and nobody waits for ever for what cannot be
//! ended.
#![expect(unsafe_code, reason = "users, system-call filters and descriptors are changed by C functions")]
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use nix::sched::CpuSet;
use nix::sys::signal::{Signal, raise};
use nix::unistd::Pid;
use procession::{Pool, PoolError, Process, ProcessError, Queue, Stdio, WaitError, active_children};
use procession_tests::{Watchdog, is_stopped, isolate, note, runs, until};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

procession::test_support!();

const NOBODY: u32 = 65534;

/// A namespace for the test program, and half a minute for the test.
fn watched() -> Watchdog {
    isolate();
    Watchdog::start()
}

fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        note("SKIPPED: only root can become another user");
    }
    is_root
}

fn become_nobody() {
    // SAFETY: it changes the user of this process and touches no memory.
    assert_eq!(unsafe { libc::setuid(NOBODY) }, 0);
}

fn sleep_for_ever() {
    loop {
        std::thread::park();
    }
}

fn leave((): ()) {
    std::process::exit(3)
}

/// What a child of the child under test becomes, and what then becomes of its parent.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Fate {
    Plain,
    Stops,
    Executes,
    ChangesItsUser,
    ClosesAll,
    IsKilled,
}

fn grandchild((fate, ready): (Fate, Queue<u32>)) {
    if fate == Fate::ChangesItsUser {
        become_nobody();
    }
    ready.put(&std::process::id()).unwrap();
    match fate {
        Fate::Stops => raise(Signal::SIGSTOP).unwrap(),
        Fate::Executes => panic!("{}", Command::new("sleep").arg("600").exec()),
        Fate::ClosesAll => close_all(),
        _ => {}
    }
    sleep_for_ever();
}

fn close_all() {
    // SAFETY: nothing here owns a descriptor above stderr but the library, whose loss this is about.
    assert_eq!(unsafe { libc::close_range(3, u32::MAX, 0) }, 0);
}

/// Starts a child and ends, or becomes another program, when told.
fn parent((child, own, ready, go): (Fate, Fate, Queue<u32>, Queue<()>)) {
    let _child = Process::spawn(grandchild, (child, ready)).unwrap();
    go.get().unwrap();
    match own {
        Fate::Executes => panic!("{}", Command::new("sleep").arg("600").exec()),
        _ => raise(Signal::SIGKILL).unwrap(),
    }
}

fn is_sleep(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
}

#[test]
fn whatever_a_child_has_become_it_ends_with_its_parent() {
    let _dog = watched();
    let fates = [Fate::Plain, Fate::Stops, Fate::Executes, Fate::ClosesAll, Fate::ChangesItsUser];
    for child in fates.into_iter().filter(|fate| *fate != Fate::ChangesItsUser || is_root()) {
        for own in [Fate::IsKilled, Fate::Executes] {
            let (ready, go) = (Queue::<u32>::new().unwrap(), Queue::new().unwrap());
            let parent = Process::spawn(parent, (child, own, ready.clone(), go.clone())).unwrap();
            let pid = ready.get_timeout(Duration::from_secs(30)).unwrap();
            until("the child is what it is to be", || match child {
                Fate::Stops => is_stopped(pid),
                Fate::Executes => is_sleep(pid),
                _ => true,
            });
            assert!(runs(pid));
            go.put(&()).unwrap();
            until(&format!("{child:?} ends when its parent {own:?}"), || !runs(pid));
            if own == Fate::Executes {
                assert!(parent.is_alive());
                parent.kill().unwrap();
            }
            assert_eq!(parent.wait().unwrap().signal(), Some(9));
        }
    }
}

#[test]
fn workers_end_when_their_pools_process_becomes_another_program() {
    let _dog = watched();
    let pids = Queue::<Vec<u32>>::new().unwrap();
    let owner = |pids: Queue<Vec<u32>>| {
        let pool = Pool::new(2).unwrap();
        pool.map(|n: u32| n, 0..10).unwrap();
        pids.put(&pool.workers()).unwrap();
        panic!("{}", Command::new("sleep").arg("600").exec());
    };
    let owner: Process<()> = Process::spawn(owner, pids.clone()).unwrap();
    let workers = pids.get_timeout(Duration::from_secs(30)).unwrap();
    until("the workers are gone", || !workers.iter().any(|&pid| runs(pid)));
    assert!(owner.is_alive());
    owner.kill().unwrap();
    owner.wait().unwrap();
}

#[test]
fn a_child_lives_on_when_the_thread_that_asked_for_it_ends_and_comes_out_as_that_thread_was() {
    let _dog = watched();
    let cpus = || nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap();
    let count = |set: CpuSet| (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap()).count();
    let look = |()| {
        let cpus = nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap();
        (0..CpuSet::count()).filter(|&cpu| cpus.is_set(cpu).unwrap()).count()
    };
    let here = count(cpus());
    assert_eq!(Process::spawn(look, ()).unwrap().join().unwrap(), here);
    let waits = std::thread::spawn(move || {
        let mut one = CpuSet::new();
        let first = (0..CpuSet::count()).find(|&cpu| cpus().is_set(cpu).unwrap()).unwrap();
        one.set(first).unwrap();
        nix::sched::sched_setaffinity(Pid::from_raw(0), &one).unwrap();
        assert_eq!(Process::spawn(look, ()).unwrap().join().unwrap(), 1);
        Process::spawn(|()| sleep_for_ever(), ()).unwrap()
    });
    let child = waits.join().unwrap();
    assert_eq!(Process::spawn(look, ()).unwrap().join().unwrap(), here);
    assert!(matches!(child.wait_timeout(Duration::from_millis(200)), Err(WaitError::TimedOut { .. })));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

/// Starts a process that reads to the end of its input and then writes more than a pipe holds; `keeps` its handle or
/// drops it, and ends.
fn start_and_leave((keeps, fates): (bool, Queue<u32>)) {
    let child = Process::options()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn(
            |fates: Queue<u32>| {
                let read = std::io::read_to_string(std::io::stdin()).unwrap();
                drop(std::io::stdout().write_all(&[b'x'; 1 << 20]));
                fates.put(&(read.len() as u32)).unwrap();
            },
            fates,
        )
        .unwrap();
    if keeps {
        std::mem::forget(child);
    }
}

#[test]
fn a_process_whose_pipes_nobody_has_taken_comes_to_its_end() {
    let _dog = watched();
    for keeps in [false, true] {
        let fates = Queue::new().unwrap();
        Process::spawn(start_and_leave, (keeps, fates.clone())).unwrap().join().unwrap();
        assert_eq!(fates.try_get().unwrap(), 0);
    }
    let child = Process::options().stdin(Stdio::piped()).spawn(sleep_for_ever, ()).unwrap();
    // For as long as that takes.
    procession::end_children(Duration::MAX);
    assert!(!child.is_alive());
}

#[test]
fn an_exit_does_not_wait_for_a_daemon_that_it_may_not_end() {
    if !is_root() {
        return;
    }
    let _dog = watched();
    let pid = Queue::<u32>::new().unwrap();
    let owner = |pid: Queue<u32>| {
        let ignores = |()| {
            // SAFETY: ignoring a signal runs no code of ours.
            unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
            sleep_for_ever();
        };
        let daemon = Process::options().daemon(true).spawn(ignores, ()).unwrap();
        let mut pool = Pool::new(1).unwrap();
        pool.map(|n: u32| n, 0..3).unwrap();
        pid.put(&daemon.pid()).unwrap();
        become_nobody();
        assert_eq!(daemon.kill().unwrap_err().raw_os_error(), Some(libc::EPERM));
        pool.terminate();
        let told = pool.join().unwrap_err();
        assert!(matches!(&told, PoolError::NotEnded { pids } if pids.len() == 1), "{told}");
    };
    let owner = Process::spawn(owner, pid.clone()).unwrap();
    let daemon = pid.get_timeout(Duration::from_secs(30)).unwrap();
    owner.join().unwrap();
    until("the daemon has ended with it", || !runs(daemon));
}

#[test]
fn a_child_that_has_become_another_users_is_awaited_all_the_same() {
    if !is_root() {
        return;
    }
    let _dog = watched();
    let child = Process::spawn(
        |()| {
            become_nobody();
            7
        },
        (),
    );
    assert_eq!(child.unwrap().join().unwrap(), 7);
}

#[test]
fn a_program_that_closes_every_descriptor_keeps_its_children_and_its_pool() {
    let _dog = watched();
    let owner = |file: std::path::PathBuf| {
        let mut pool = Pool::new(2).unwrap();
        pool.map(|n: u32| n, 0..10).unwrap();
        let sleeper = Process::spawn(|()| sleep_for_ever(), ()).unwrap();
        let ends = Process::spawn(leave, ()).unwrap();
        close_all();
        // What the library's numbers mean now, it must neither wait for, nor write to, nor close.
        let strangers: Vec<_> = (0..64).map(|_| std::fs::File::open(&file).unwrap()).collect();
        assert_eq!(ends.wait().unwrap().code(), Some(3));
        assert!(matches!(ends.join(), Err(ProcessError::ReportClosed { .. })));
        assert!(sleeper.is_alive());
        assert!(matches!(sleeper.wait_timeout(Duration::from_millis(20)), Err(WaitError::TimedOut { .. })));
        assert_eq!(active_children().len(), 3);
        assert_eq!(Process::spawn(|n: u32| n + 1, 1).unwrap().join().unwrap(), 2);
        assert_eq!(pool.map(|n: u32| n + 1, 0..3).unwrap(), [1, 2, 3]);
        let gone = pool.workers();
        Process::spawn(|n: u32| n, 1).unwrap().join().unwrap();
        assert!(pool.apply(leave, ()).is_err());
        assert_eq!(pool.map(|n: u32| n + 1, 0..3).unwrap(), [1, 2, 3]);
        assert_ne!(pool.workers(), gone);
        sleeper.kill().unwrap();
        assert_eq!(sleeper.wait().unwrap().signal(), Some(9));
        drop(sleeper);
        pool.close();
        pool.join().unwrap();
        drop(pool);
        let are_whole = strangers.iter().all(|file| file.metadata().is_ok());
        // What is no longer ours is nobody's to close twice.
        std::mem::forget(strangers);
        are_whole
    };
    let owner = Process::spawn(owner, "/dev/null".into()).unwrap();
    // Its result went the way of all its descriptors.
    let (status, error) = (owner.wait().unwrap(), owner.join().unwrap_err());
    assert!(matches!(error, ProcessError::Exited { code: 1, .. }), "{status} {error}");
}

#[test]
fn a_dropped_pool_lets_its_workers_say_what_they_had_to_say() {
    let output = Command::new(env!("CARGO_BIN_EXE_drops_a_pool")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("printed 7") && said.contains("at exit"), "{said:?}");
}

#[test]
fn without_pidfds_children_and_pools_are_what_they_are_otherwise() {
    let _dog = watched();
    for errno in [libc::EPERM, libc::ENOSYS] {
        let refused = |errno: i32| {
            refuse_pidfds(errno);
            let child = Process::spawn(|n: u32| n + 1, 1).unwrap();
            assert_eq!(child.join().unwrap(), 2);
            let sleeper = Process::spawn(|()| sleep_for_ever(), ()).unwrap();
            assert!(matches!(
                sleeper.wait_timeout(Duration::from_millis(20)),
                Err(WaitError::TimedOut { .. })
            ));
            assert!(sleeper.is_alive() && active_children().len() == 1);
            sleeper.kill().unwrap();
            assert_eq!(sleeper.wait().unwrap().signal(), Some(9));
            sleeper.kill().unwrap();
            let mut pool = Pool::new(2).unwrap();
            assert_eq!(pool.map(|n: u32| n + 1, 0..3).unwrap(), [1, 2, 3]);
            assert!(pool.apply(leave, ()).is_err());
            assert_eq!(pool.map(|n: u32| n + 1, 0..3).unwrap(), [1, 2, 3]);
            pool.close();
            pool.join().unwrap();
            let alive = |()| procession::parent_process().is_some_and(|parent| parent.is_alive());
            assert!(Process::spawn(alive, ()).unwrap().join().unwrap());
            drop(Process::options().daemon(true).spawn(|()| sleep_for_ever(), ()).unwrap());
            errno
        };
        assert_eq!(Process::spawn(refused, errno).unwrap().join().unwrap(), errno);
    }
    let parent = |(ready, go): (Queue<u32>, Queue<()>)| {
        refuse_pidfds(libc::ENOSYS);
        parent((Fate::Plain, Fate::IsKilled, ready, go));
    };
    let (ready, go) = (Queue::<u32>::new().unwrap(), Queue::new().unwrap());
    let parent = Process::spawn(parent, (ready.clone(), go.clone())).unwrap();
    let pid = ready.get_timeout(Duration::from_secs(30)).unwrap();
    go.put(&()).unwrap();
    until("it ends with its parent", || !runs(pid));
    parent.wait().unwrap();
}

/// Has the kernel answer `errno` to `pidfd_open` in this process, and in all it starts.
fn refuse_pidfds(errno: i32) {
    let statement = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        // Load the number of the system call; if it is pidfd_open, fail; otherwise go on.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_pidfd_open as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    nix::sys::prctl::set_no_new_privs().unwrap();
    let flags = libc::SECCOMP_FILTER_FLAG_TSYNC;
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the program is a valid structure for the whole call, and the kernel keeps no pointer to it.
    let set = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}
