//! Commands about the process itself: registering, forking, closing descriptors, crash points.
#![expect(unsafe_code, reason = "fork, clone and poll are C functions")]
#![expect(clippy::disallowed_methods, reason = "what a fork inherits is what these tests are about")]

use crate::{Next, World, done, number, report, say};
use procession::Namespace;
use procession::shm::{register, register_with_slots};
use procession_tests::case_of;

pub(crate) fn follow(world: &World, words: &[&str]) -> Option<Next> {
    match *words {
        ["register"] => Some(report(&register(&world.namespace).and_then(|one| Ok(id(one.owner()?))))),
        ["register", slots] => {
            let registered = register_with_slots(&world.namespace, number(slots));
            Some(report(&registered.and_then(|one| Ok(id(one.owner()?)))))
        }
        ["participants"] => Some(report(&register(&world.namespace).map(|one| {
            let pids = one.participants().into_iter().map(|found| found.pid.to_string());
            pids.collect::<Vec<_>>().join(" ")
        }))),
        ["pid"] => done(std::process::id()),
        ["closefrom"] => {
            // SAFETY: nothing here owns a descriptor above stderr, but for the library, whose loss this
            // tests.
            let closed = unsafe { libc::close_range(3, u32::MAX, 0) };
            done(closed)
        }
        ["setuid", user] => Some(become_user(number(user))),
        ["chroot", path] => {
            Some(report(&nix::unistd::chroot(path).and_then(|()| nix::unistd::chdir("/")).map(|()| "")))
        }
        ["mount_shm"] => {
            let (kind, none) = (Some("tmpfs"), None::<&str>);
            let mounted = nix::mount::mount(none, "/dev/shm", kind, nix::mount::MsFlags::empty(), none);
            Some(report(&mounted.map(|()| "")))
        }
        ["forbid", call] => Some(report(&forbid(number(call)).map(|()| ""))),
        ["take_descriptors", path] => take_descriptors(path),
        ["fork"] => {
            // SAFETY: no other thread exists that could hold a lock of the C library.
            Some(as_child(|| unsafe { libc::fork() }))
        }
        ["raw_fork"] => {
            // SAFETY: as above; without the handlers of `pthread_atfork`.
            Some(as_child(|| unsafe { libc::syscall(libc::SYS_fork) } as i32))
        }
        ["fork_and_outlive"] => {
            // SAFETY: as above.
            Some(as_orphan(|| unsafe { libc::fork() }))
        }
        ["raw_fork_and_outlive"] => {
            // SAFETY: as above.
            Some(as_orphan(|| unsafe { libc::syscall(libc::SYS_fork) } as i32))
        }
        ["become_a_daemon"] => {
            // SAFETY: as above. The child ends with its input.
            match unsafe { libc::fork() } {
                0 => done(std::process::id()),
                _ => std::process::exit(0),
            }
        }
        ["fork_and_leave_it"] => done(child_until_the_end_of_input(libc::SIGCHLD)),
        ["share_memory_with_a_child"] => done(child_until_the_end_of_input(libc::CLONE_VM | libc::SIGCHLD)),
        ["fork_while_registering", count] => Some(fork_while_registering(world, number(count))),
        ["eat", megabytes] => {
            let eaten = vec![1_u8; number::<usize>(megabytes) << 20];
            std::mem::forget(eaten);
            done(())
        }
        ["arm", ref plans @ ..] => Some(arm(plans)),
        ["exit", code] => std::process::exit(number(code)),
        _ => None,
    }
}

/// A process that was started for a test never outlives it.
pub(crate) fn die_with_the_test() {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::SIGKILL).expect("a property of this process");
}

/// From now on it is another user, for ever.
fn become_user(user: u32) -> Next {
    let became = nix::unistd::setuid(user.into());
    // Forgotten by the kernel when a process becomes another user.
    die_with_the_test();
    report(&became.map(|()| ""))
}

/// Has the kernel refuse a system call to this process, as the filters of containers do.
fn forbid(call: u32) -> std::io::Result<()> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const COMPARE: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    let mut steps = [
        // The number of the call comes first in what a filter sees.
        step(LOAD, 0, 0),
        step(COMPARE, 1, call),
        step(ANSWER, 0, libc::SECCOMP_RET_ALLOW),
        step(ANSWER, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned()),
    ];
    let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    nix::sys::prctl::set_no_new_privs()?;
    // SAFETY: the program and what it points to are valid for the call, which copies them.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn id(owner: impl std::fmt::Debug) -> String {
    format!("{owner:?}")
}

/// Opens `path` many times over, so that numbers the library believed its own mean that file.
fn take_descriptors(path: &str) -> Option<Next> {
    let files: Vec<_> = (0..32).map_while(|_| std::fs::File::open(path).ok()).collect();
    let count = files.len();
    std::mem::forget(files);
    done(count)
}

/// Forks. The child follows the commands from here on, and the parent after the child's end, which it
/// reports.
fn as_child(fork: impl FnOnce() -> i32) -> Next {
    let child = fork();
    if child == 0 {
        die_with_the_test();
        say(&format!("ok child {}", std::process::id()));
        return Next::Command;
    }
    let mut status = 0;
    // SAFETY: waits for our own child, and writes its status into the integer.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    if libc::WIFSIGNALED(status) {
        say(&format!("ok signal {}", libc::WTERMSIG(status)));
    } else {
        say(&format!("ok exit {}", libc::WEXITSTATUS(status)));
    }
    Next::Command
}

/// Forks. The child follows the commands from here on, and the parent exits when the child closes its
/// descriptors.
fn as_orphan(fork: impl FnOnce() -> i32) -> Next {
    let (mut is_open, open) = std::io::pipe().expect("a pipe");
    if fork() == 0 {
        std::mem::forget(open);
        say("ok");
        return Next::Command;
    }
    drop(open);
    // It ends without a byte.
    drop(std::io::Read::read(&mut is_open, &mut [0]));
    std::process::exit(0)
}

/// A child that does nothing until nobody can write to our common stdin any more; its pid.
pub(crate) fn child_until_the_end_of_input(flags: i32) -> i32 {
    const STACK: usize = 64 << 10;
    let stack = Box::leak(vec![0_u8; STACK].into_boxed_slice());
    // SAFETY: one past the end of the allocation, whose size is a multiple of 16.
    let top = unsafe { stack.as_mut_ptr().add(STACK) };
    // SAFETY: the stack is used by nobody else and never freed; the function makes system calls only.
    unsafe { libc::clone(wait_for_the_end_of_input, top.cast(), flags, std::ptr::null_mut()) }
}

/// The same made by `fork()`, whose handlers run in it.
pub(crate) fn fork_until_the_end_of_input() -> i32 {
    // SAFETY: the child makes system calls only, besides the handlers.
    match unsafe { libc::fork() } {
        0 => wait_for_the_end_of_input(std::ptr::null_mut()),
        pid => pid,
    }
}

extern "C" fn wait_for_the_end_of_input(_: *mut libc::c_void) -> i32 {
    let mut input = libc::pollfd { fd: 0, events: 0, revents: 0 };
    while input.revents & libc::POLLHUP == 0 {
        // SAFETY: one valid pollfd.
        unsafe { libc::poll(&raw mut input, 1, -1) };
    }
    // SAFETY: ends this process without running anything of the parent's.
    unsafe { libc::_exit(0) }
}

/// A thread forks children that live to the end of the input while this one registers in `count` namespaces.
fn fork_while_registering(world: &World, count: u32) -> Next {
    let enough = std::sync::atomic::AtomicBool::new(false);
    let forked = std::thread::scope(|scope| {
        let forker = scope.spawn(|| {
            let mut forked = 0;
            while !enough.load(std::sync::atomic::Ordering::Relaxed) && forked < 400 {
                // SAFETY: the child makes system calls only.
                match unsafe { libc::fork() } {
                    0 => {
                        wait_for_the_end_of_input(std::ptr::null_mut());
                    }
                    _ => forked += 1,
                }
            }
            forked
        });
        for n in 0..count {
            let registered = Namespace::new(&format!("{}-{n}", world.namespace.name()))
                .map_err(procession::OpenError::from)
                .and_then(|namespace| register(&namespace)?.owner());
            if let Err(error) = registered {
                say(&format!("error {}", case_of(&error)));
            }
        }
        enough.store(true, std::sync::atomic::Ordering::Relaxed);
        forker.join()
    });
    say(&format!("ok {}", forked.unwrap_or(0)));
    Next::Command
}

/// What is to happen, one after the other: label, how often it is passed, `kill` or `stop`.
#[cfg(procession_chaos)]
fn arm(plans: &[&str]) -> Next {
    use procession_sys::crash::{self, Action};
    for (place, plan) in plans.chunks(3).enumerate() {
        let &[label, nth, action] = plan else { panic!("half a plan: {plans:?}") };
        let action = if action == "stop" { Action::Stop } else { Action::Kill };
        let arm = if place == 0 { crash::arm } else { crash::arm_next };
        arm(label, number(nth), action);
    }
    say("ok");
    Next::Command
}

#[cfg(not(procession_chaos))]
fn arm(_: &[&str]) -> Next {
    say("error NotBuiltForChaos");
    Next::Command
}
