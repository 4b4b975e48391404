//! What differs between the start methods: the server, what it runs first, and what is refused.

use crate::{WATCHDOG, end, for_ever, hear, say, status, until};
use nix::sys::signal::Signal;
use procession::{
    Context, Event, Lock, Pool, Process, ProcessError, SpawnError, StartMethod, active_children,
    current_process, set_start_method, start_method,
};
use procession_tests::{forkservers, in_own_process, is_stopped, runs, send};
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) const SERVER: StartMethod = StartMethod::Forkserver;

/// The forkservers of this process.
pub(crate) fn servers() -> Vec<u32> {
    forkservers(std::process::id())
}

pub(crate) fn by(method: StartMethod) -> procession::ProcessOptions {
    Process::options().start_method(method)
}

#[test]
fn the_default_is_this_process_s_and_its_children_s() {
    let nested = |()| {
        assert_eq!(start_method(), SERVER);
        let inner = Process::spawn(start_method, ()).unwrap();
        let servers = servers();
        (inner.join().unwrap(), servers.len())
    };
    let test = move |()| {
        assert_eq!(start_method(), StartMethod::Spawn);
        set_start_method(SERVER);
        assert_eq!(end(Process::spawn(nested, ()).unwrap()).unwrap(), (SERVER, 1));
        // What the options say counts for that process alone.
        assert_eq!(end(by(StartMethod::Spawn).spawn(nested, ()).unwrap()).unwrap(), (SERVER, 1));
    };
    end(Process::spawn(test, ()).unwrap()).unwrap();
}

#[test]
fn one_server_makes_all_processes_which_are_this_process_s_own_children() {
    in_own_process(120, || {
        let parent = |()| (std::os::unix::process::parent_id(), std::process::id());
        let children: Vec<_> = (0..20).map(|_| by(SERVER).spawn(parent, ()).unwrap()).collect();
        let before = servers();
        assert_eq!(before.len(), 1);
        for child in children {
            let pid = child.pid();
            assert_eq!(end(child).unwrap(), (std::process::id(), pid));
        }
        // The server is no child that anybody has started.
        assert!(active_children().is_empty());
        assert_eq!(servers(), before);
        let threads = fs::read_dir(format!("/proc/{}/task", before[0])).unwrap().count();
        // Under a test harness, one waits for the other.
        assert_eq!(threads, 2);
    });
}

#[test]
fn a_server_that_was_killed_is_followed_by_another() {
    in_own_process(120, || {
        let mut killed = Vec::new();
        for n in 0..3_u32 {
            let running = by(SERVER).spawn(for_ever::<()>, ()).unwrap();
            let server = servers().into_iter().find(|pid| !killed.contains(pid)).unwrap();
            send(server, if n == 1 { Signal::SIGABRT } else { Signal::SIGKILL });
            assert_eq!(end(by(SERVER).spawn(|n: u32| n + 1, n).unwrap()).unwrap(), n + 1);
            // Those that it has started do not notice.
            assert!(running.is_alive());
            running.kill().unwrap();
            assert_eq!(status(&running).signal(), Some(libc::SIGKILL));
            until("nothing is left of it", || !PathBuf::from(format!("/proc/{server}")).exists());
            killed.push(server);
        }
    });
}

#[test]
fn a_server_that_is_stopped_is_killed_after_a_while_and_followed_by_another() {
    in_own_process(120, || {
        let ask = || end(by(SERVER).spawn(|n: u32| n + 1, 1).unwrap()).unwrap();
        assert_eq!(ask(), 2);
        let server = servers()[0];
        let stop = || {
            send(server, Signal::SIGSTOP);
            until("it is stopped", || is_stopped(server));
        };
        // One that goes on soon is asked as if nothing had happened.
        stop();
        let wakes = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            send(server, Signal::SIGCONT);
        });
        assert_eq!(ask(), 2);
        wakes.join().unwrap();
        assert_eq!(servers(), [server]);
        stop();
        let begun = Instant::now();
        assert_eq!(ask(), 2);
        assert!(begun.elapsed() > Duration::from_secs(8), "it was given no time to go on");
        assert!(servers().len() == 1 && servers() != [server] && !runs(server));
    });
}

#[test]
fn what_a_terminal_sends_to_all_does_not_end_the_server() {
    in_own_process(120, || {
        assert_eq!(end(by(SERVER).spawn(|n: u32| n, 1).unwrap()).unwrap(), 1);
        let before = servers();
        for sent in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTSTP] {
            send(before[0], sent);
        }
        assert_eq!(end(by(SERVER).spawn(|n: u32| n, 2).unwrap()).unwrap(), 2);
        assert_eq!(servers(), before);
    });
}

#[test]
fn a_server_ends_with_its_parent_however_that_ends() {
    let folder = tempfile::tempdir().unwrap();
    let parent = |(file, lives_on): (PathBuf, bool)| {
        let child = by(SERVER).spawn(for_ever::<()>, ()).unwrap();
        say(&file, format!("{} {}", servers()[0], child.pid()));
        if lives_on {
            for_ever(child);
        } else {
            child.kill().unwrap();
        }
    };
    for lives_on in [true, false] {
        let file = folder.path().join(lives_on.to_string());
        let process = Process::spawn(parent, (file.clone(), lives_on)).unwrap();
        let pids: Vec<u32> = hear(&file).split(' ').map(|pid| pid.parse().unwrap()).collect();
        if lives_on {
            process.kill().unwrap();
        }
        assert_eq!(status(&process).signal(), lives_on.then_some(libc::SIGKILL));
        until("the server and its copy are gone", || !pids.iter().any(|&pid| runs(pid)));
    }
}

#[test]
fn another_directory_or_limit_of_this_process_is_the_childs_too() {
    let test = |()| {
        let look = |()| (std::env::current_dir().unwrap(), procession_tests_limit());
        let here = end(by(SERVER).spawn(look, ()).unwrap()).unwrap();
        assert_eq!(here, look(()));
        std::env::set_current_dir("/").unwrap();
        let limit = libc::rlimit { rlim_cur: 77, rlim_max: 99 };
        // SAFETY: the limit is a valid structure for the whole call.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        assert_eq!(end(by(SERVER).spawn(look, ()).unwrap()).unwrap(), (PathBuf::from("/"), (77, 99)));
        for n in 0..8 {
            let limit = libc::rlimit { rlim_cur: 76 - n, rlim_max: 98 - n };
            // SAFETY: the limit is a valid structure for the whole call.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
            assert_eq!(end(by(SERVER).spawn(look, ()).unwrap()).unwrap().1, (76 - n, 98 - n));
        }
        servers().len()
    };
    assert!(end(Process::spawn(test, ()).unwrap()).unwrap() <= 4, "servers pile up");
}

fn procession_tests_limit() -> (u64, u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call fills the structure.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (limit.rlim_cur, limit.rlim_max)
}

static LOADED: AtomicU32 = AtomicU32::new(0);

fn load() {
    LOADED.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn what_was_preloaded_is_there_in_every_process_and_was_done_once() {
    in_own_process(120, || {
        let context = Context::new(SERVER).preload(load);
        for _ in 0..3 {
            let child = context.process().spawn(|()| LOADED.load(Ordering::Relaxed), ()).unwrap();
            assert_eq!(end(child).unwrap(), 1);
        }
        let other = Context::new(SERVER).process().spawn(|()| LOADED.load(Ordering::Relaxed), ()).unwrap();
        assert_eq!(end(other).unwrap(), 0);
        assert_eq!((LOADED.load(Ordering::Relaxed), servers().len()), (0, 2));
        // A server that was killed loads again.
        servers().into_iter().for_each(|server| send(server, Signal::SIGKILL));
        let child = context.process().spawn(|()| LOADED.load(Ordering::Relaxed), ()).unwrap();
        assert_eq!(end(child).unwrap(), 1);
    });
}

#[test]
fn a_preload_function_that_fails_is_an_error_in_words() {
    in_own_process(120, || {
        let refused = |context: Context| {
            let begun = context.process().spawn(|()| (), ());
            let error = begun.unwrap_err();
            assert!(servers().is_empty() && active_children().is_empty());
            (format!("{error:?}"), error)
        };
        let failing = || fs::read("/there/is/none").map(drop);
        let (text, error) = refused(Context::new(SERVER).preload_fallible(failing));
        assert!(matches!(error, SpawnError::Forkserver { .. }) && text.contains("No such file"), "{text}");
        let (text, _) = refused(Context::new(SERVER).preload(|| panic!("not today")));
        assert!(text.contains("panicked at tests/") && text.contains("not today"), "{text}");
        let (text, _) = refused(Context::new(SERVER).preload(|| std::process::exit(7)));
        assert!(text.contains("exited with code 7"), "{text}");
        let (text, _) = refused(Context::new(SERVER).preload(|| std::process::abort()));
        assert!(text.contains("SIGABRT"), "{text}");
        let thread = || drop(std::thread::Builder::new().name("left".to_owned()).spawn(|| for_ever(())));
        let (text, _) = refused(Context::new(SERVER).preload(thread));
        assert!(text.contains("other threads ("), "{text}");
        let bomb = || drop(Process::spawn(|()| (), ()).unwrap());
        let (text, _) = refused(Context::new(SERVER).preload(bomb));
        assert!(text.contains("still starting"), "{text}");
    });
}

#[test]
fn a_preload_function_may_use_objects_and_its_processes_have_them() {
    let folder = tempfile::tempdir().unwrap();
    static LOCK: std::sync::OnceLock<Lock> = std::sync::OnceLock::new();
    let context = Context::new(SERVER).preload(|| {
        LOCK.get_or_init(|| Lock::new().unwrap());
    });
    let hold = |file: PathBuf| {
        let _guard = LOCK.get().unwrap().acquire().unwrap();
        say(&file, "");
        for_ever(());
    };
    let held = folder.path().join("held");
    let holder = context.process().spawn(hold, held.clone()).unwrap();
    hear(&held);
    let busy = |()| LOCK.get().unwrap().try_acquire().is_err();
    assert!(end(context.process().spawn(busy, ()).unwrap()).unwrap());
    holder.kill().unwrap();
    status(&holder);
    let died = |()| {
        matches!(LOCK.get().unwrap().acquire_timeout(WATCHDOG), Err(procession::LockError::OwnerDied { .. }))
    };
    assert!(end(context.process().spawn(died, ()).unwrap()).unwrap());
}

#[test]
fn fork_is_refused_to_a_process_with_threads_or_locks() {
    let test = |()| {
        let forked = || by(StartMethod::Fork).spawn(|n: u32| n + 1, 1);
        assert_eq!(end(forked().unwrap()).unwrap(), 2);
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("busy".to_owned());
        let (begin, begun) = std::sync::mpsc::channel();
        let busy = move || {
            // By now it has its name.
            begin.send(()).unwrap();
            stopped.recv().unwrap_err()
        };
        let thread = thread.spawn(busy).unwrap();
        begun.recv().unwrap();
        let error = forked().unwrap_err();
        assert!(matches!(&error, SpawnError::ForkWithThreads { threads } if *threads == ["busy"]), "{error}");
        assert!(error.to_string().contains("by spawn or forkserver"), "{error}");
        drop(stop);
        thread.join().unwrap();
        until("the thread is gone", || forked().is_ok());
        let pool = Pool::new(1).unwrap();
        assert!(matches!(forked(), Err(SpawnError::ForkWithThreads { .. })));
        drop(pool);
        let lock = Lock::new().unwrap();
        let guard = lock.acquire().unwrap();
        let error = forked().unwrap_err();
        assert!(matches!(error, SpawnError::ForkWithHolds { holds: 1 }), "{error}");
        drop(guard);
        assert_eq!(end(forked().unwrap()).unwrap(), 2);
        assert_eq!(active_children().len(), 0);
    };
    end(Process::spawn(test, ()).unwrap()).unwrap();
}

/// Starts a process when it is dropped, and keeps what came of it.
struct StartsInDrop<'a>(StartMethod, &'a mut String);

impl Drop for StartsInDrop<'_> {
    fn drop(&mut self) {
        let child = by(self.0).spawn(|n: u32| n + 1, 1);
        *self.1 = child.map_or_else(|error| error.to_string(), |child| child.join().unwrap().to_string());
    }
}

#[test]
fn a_thread_that_panics_starts_processes_but_no_copies_of_itself() {
    let test = |method| {
        let mut outcome = String::new();
        let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _starts = StartsInDrop(method, &mut outcome);
            panic!("as planned");
        }));
        assert!(panics.is_err());
        outcome
    };
    for method in StartMethod::ALL {
        let outcome = end(Process::options().stderr(procession::Stdio::null()).spawn(test, method).unwrap());
        let outcome = outcome.unwrap();
        match method {
            StartMethod::Fork => assert!(outcome.contains("this thread panics"), "{outcome}"),
            _ => assert_eq!(outcome, "2"),
        }
    }
}

static IN_MEMORY: AtomicU32 = AtomicU32::new(0);

#[test]
fn a_fork_has_its_parents_memory_and_not_its_exit_handlers_nor_its_unwritten_output() {
    extern "C" fn of_parent() {
        // SAFETY: it ends this process.
        unsafe { libc::_exit(9) };
    }
    extern "C" fn of_child() {
        drop(std::io::stdout().write_all(b"handler\n"));
    }
    let in_fork = |()| {
        // SAFETY: a function of this program.
        unsafe { libc::atexit(of_child) };
        print!("child ");
        IN_MEMORY.load(Ordering::Relaxed)
    };
    let test = move |()| {
        // SAFETY: a function of this program.
        unsafe { libc::atexit(of_parent) };
        IN_MEMORY.store(7, Ordering::Relaxed);
        print!("parent ");
        let child = by(StartMethod::Fork).spawn(in_fork, ()).unwrap();
        let status = status(&child);
        let fate = (status.code(), end(child).unwrap());
        println!("end");
        fate
    };
    let child = Process::options().stdout(procession::Stdio::piped()).spawn(test, ()).unwrap();
    let said = std::io::read_to_string(child.take_stdout().unwrap()).unwrap();
    assert_eq!(said, "parent child handler\nend\n");
    assert_eq!(status(&child).code(), Some(9), "its own exit handlers do run in the parent");
    assert_eq!(end(child).unwrap(), (Some(0), 7));
}

#[test]
fn a_namespace_of_its_own_is_for_processes_that_are_in_none_yet() {
    let test = |()| {
        let own = |method| by(method).env("PROCESSION_NAMESPACE", "elsewhere");
        let namespace = |()| procession::Namespace::current().unwrap().name().to_owned();
        for method in [StartMethod::Spawn, SERVER] {
            assert_eq!(end(own(method).spawn(namespace, ()).unwrap()).unwrap(), "elsewhere");
            assert_eq!(end(by(method).spawn(namespace, ()).unwrap()).unwrap(), namespace(()));
        }
        let error = own(StartMethod::Fork).spawn(namespace, ()).unwrap_err();
        assert!(matches!(error, SpawnError::Method { method: StartMethod::Fork, .. }), "{error}");
        let preloaded =
            Context::new(SERVER).preload(|| ()).process().env("PROCESSION_NAMESPACE", "elsewhere");
        let error = preloaded.spawn(namespace, ()).unwrap_err();
        assert!(error.to_string().contains("the preload function"), "{error}");
    };
    end(Process::spawn(test, ()).unwrap()).unwrap();
}

#[test]
fn more_descriptors_than_one_message_carries_are_inherited() {
    let many = |()| {
        let files = (0..).map_while(procession::take_inherited);
        files.map(|fd| fs::File::from(fd).metadata().unwrap().len()).sum::<u64>()
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "7 bytes").unwrap();
    for method in [StartMethod::Spawn, SERVER] {
        let file = Arc::new(OwnedFd::from(fs::File::open(&file).unwrap()));
        let options =
            (0..600).fold(by(method), |options, _| options.inherit(Arc::new(file.try_clone().unwrap())));
        assert_eq!(end(options.spawn(many, ()).unwrap()).unwrap(), 7 * 600, "{method}");
    }
}

#[test]
fn a_server_that_has_no_numbers_for_descriptors_refuses_that_process_alone() {
    in_own_process(120, || {
        set_limit_of_files(256);
        let double = |n: u32| 2 * n;
        assert_eq!(end(by(SERVER).spawn(double, 1).unwrap()).unwrap(), 2);
        // They take several messages, and the server can take the descriptors of none.
        let file = Arc::new(OwnedFd::from(fs::File::open("/dev/null").unwrap()));
        let options = (0..700).fold(by(SERVER), |options, _| options.inherit(Arc::clone(&file)));
        let Err(SpawnError::Kernel(error)) = options.spawn(double, 1) else { panic!("it was to be refused") };
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
        let answers: Vec<_> =
            (2..6).map(|n| by(SERVER).spawn(double, n).unwrap()).map(|child| end(child).unwrap()).collect();
        assert_eq!(answers, [4, 6, 8, 10]);
    });
}

fn set_limit_of_files(files: u64) {
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, files, files).unwrap();
}

/// Functions that are preloaded, each another one.
fn preloaded<const N: u32>() {
    std::hint::black_box(N);
}

/// More of them than there are servers.
fn contexts() -> [Context; 6] {
    let base = Context::new(SERVER);
    [
        base.preload(preloaded::<0>),
        base.preload(preloaded::<1>),
        base.preload(preloaded::<2>),
        base.preload(preloaded::<3>),
        base.preload(preloaded::<4>),
        base.preload(preloaded::<5>),
    ]
}

#[test]
fn servers_that_make_room_for_others_leave_no_zombies() {
    in_own_process(120, || {
        let contexts = &contexts()[..5];
        // Each one ends a server that may be in the middle of anything.
        for n in 0..60_u64 {
            let index = usize::try_from(n).unwrap() % contexts.len();
            end(contexts[index].process().spawn(|| (), ()).unwrap()).unwrap();
            std::thread::sleep(Duration::from_micros(n * 37 % 500));
        }
        let is_zombie = |pid: &u32| !runs(*pid) && PathBuf::from(format!("/proc/{pid}")).exists();
        let zombies: Vec<_> =
            procession_tests::children(std::process::id()).into_iter().filter(is_zombie).collect();
        assert!(zombies.is_empty(), "{zombies:?}");
    });
}

#[test]
fn threads_that_want_more_servers_than_there_are_get_their_processes_all_the_same() {
    in_own_process(120, || {
        std::thread::scope(|scope| {
            for context in contexts() {
                scope.spawn(move || {
                    for n in 0..10_u32 {
                        let child = context.process().spawn(|n: u32| 2 * n, n).unwrap();
                        assert_eq!(end(child).unwrap(), 2 * n);
                    }
                });
            }
        });
        // Those that nobody needs any more are gone, but for a few.
        end(by(SERVER).spawn(|| (), ()).unwrap()).unwrap();
        assert!(servers().len() <= 4, "{:?}", servers());
    });
}

/// Children of each method are known as this process's by everybody, and what they share works.
fn objects_are_shared() {
    let (event, lock) = (Event::new().unwrap(), Lock::new().unwrap());
    let child = Process::spawn(
        |(event, lock): (Event, Lock)| {
            let _guard = lock.acquire().unwrap();
            event.set();
            for_ever(current_process().name());
        },
        (event.clone(), lock.clone()),
    )
    .unwrap();
    event.wait_timeout(WATCHDOG).unwrap();
    child.kill().unwrap();
    status(&child);
    let error = lock.acquire_timeout(WATCHDOG).unwrap_err();
    assert!(error.to_string().contains(&child.pid().to_string()), "{error}");
    assert!(matches!(end(child), Err(ProcessError::Killed { signal: 9, .. })));
}

#[test]
fn objects_are_shared_under_each_method() {
    for method in StartMethod::ALL {
        under!(method, objects_are_shared);
    }
}
