//! What is around a program, and is not as usual: another user, another root, another clock, limits, file
//! systems, and descriptors that are closed. It works, or one error says what is missing and what to do.
//!
//! Most of this needs root; a test that cannot be done here says so.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use nix::sys::resource::{Resource, setrlimit};
use procession::{Event, Lock, Pool, Process, Queue, pipe};
use procession_sys::shm_file;
use procession_tests::{Actor, Scratch, can_unshare, note, program, raw};
use std::fs;
use std::process::Command;

procession::test_support!();

/// A user without rights.
const NOBODY: u32 = 65534;

/// Whether this test may become another user; says so if not.
fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        note("SKIPPED: only root can become another user");
    }
    is_root
}

/// An actor in mounts of its own, which `script` has changed, and with limits that it has set.
fn start_after(script: &str, scratch: &Scratch) -> Actor {
    let mut command = Command::new("unshare");
    let script = format!("set -e; {script}; exec {}", program("actor").display());
    command.args(["--mount", "bash", "-c", &script]);
    Actor::start_as(command, scratch)
}

/// Runs a function in a process whose namespace is the test's, with another environment besides.
fn run<R>(scratch: &Scratch, variables: &[(&str, &str)], f: impl Fn(()) -> R + Copy + 'static) -> R
where
    R: serde::Serialize + serde::de::DeserializeOwned,
{
    let mut builder = Process::options().env("PROCESSION_NAMESPACE", scratch.name());
    for (name, value) in variables {
        builder = builder.env(name, value);
    }
    builder.spawn(f, ()).unwrap().join().unwrap()
}

/// What is left of a namespace under the names of that user.
fn files_of(user: u32, scratch: &Scratch) -> Vec<String> {
    shm_file::names(&format!("procession.{user}.{}.", scratch.name())).unwrap()
}

fn become_nobody() {
    nix::unistd::setuid(NOBODY.into()).unwrap();
}

#[test]
fn who_waits_goes_on_waiting_as_another_user_and_in_another_root() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let empty = tempfile::tempdir().unwrap();
    let [mut holder, mut user, mut root, mut consumer] = std::array::from_fn(|_| Actor::start(&scratch));
    holder.does("create lock l");
    holder.does("create queue q");
    holder.does("acquire l");
    user.does("open lock l");
    root.does("open lock l");
    consumer.does("open queue q");
    user.does(&format!("setuid {NOBODY}"));
    consumer.does(&format!("setuid {NOBODY}"));
    root.does(&format!("chroot {}", empty.path().display()));
    // Longer than it takes to look whether the object is still there.
    user.tell("acquire_timeout l 1300");
    root.tell("acquire_timeout l 1300");
    consumer.tell("get_timeout q 1300");
    user.failed("TimedOut");
    root.failed("TimedOut");
    consumer.failed("TimedOut");
    // Of a death they learn.
    user.waits("acquire l");
    root.waits("acquire l");
    let pid = holder.pid();
    holder.kill();
    for waiter in [&mut user, &mut root] {
        waiter.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    }
    // And that it is gone they learn too.
    root.does("recover l");
    root.does("release");
    let mut last = Actor::start(&scratch);
    last.does("open lock l");
    last.does("acquire l");
    user.waits("acquire l");
    fs::remove_file(raw::path(&scratch, "l")).unwrap();
    user.failed("Orphaned");
    last.does("unlink q");
    let said = root.fails("create lock m", "Os");
    assert!(said.contains("there is no directory /dev/shm; mount it"), "{said}");
}

/// Made as root, or before; then as nobody, everything anew.
fn change_the_user(before: bool) -> Result<String, String> {
    let early = before.then(|| Lock::new().unwrap());
    become_nobody();
    let text = |error: &dyn std::error::Error| error.to_string();
    let jobs: Queue<u32> = Queue::open_or_create("jobs").map_err(|error| text(&error))?;
    jobs.put(&7).map_err(|error| text(&error))?;
    let child = Process::spawn(|jobs: Queue<u32>| jobs.get().unwrap(), jobs.clone());
    let got = child.map_err(|error| text(&error))?.join().map_err(|error| text(&error))?;
    let pool = Pool::new(2).map_err(|error| text(&error))?;
    let more = pool.map(|n: u32| n + 1, 0..3).map_err(|error| text(&error))?;
    drop(pool);
    let (sender, receiver) = pipe::<u32>().map_err(|error| text(&error))?;
    let child = Process::spawn(|sender: procession::Sender<u32>| sender.send(&9).unwrap(), sender);
    child.map_err(|error| text(&error))?.join().map_err(|error| text(&error))?;
    let sent = receiver.recv().map_err(|error| text(&error))?;
    jobs.unlink().map_err(|error| text(&error))?;
    drop(early);
    Ok(format!("{got} {more:?} {sent}"))
}

#[test]
fn what_is_made_after_a_change_of_the_user_is_that_users() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    assert_eq!(run(&scratch, &[], |()| change_the_user(false)).unwrap(), "7 [1, 2, 3] 9");
    assert_eq!(run(&scratch, &[], |()| change_the_user(true)).unwrap(), "7 [1, 2, 3] 9");
    assert_eq!(files_of(NOBODY, &scratch), [""; 0]);
}

#[test]
fn processes_that_became_the_same_user_meet() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let [mut one, mut two] = std::array::from_fn(|_| Actor::start(&scratch));
    // One of them was registered before.
    one.does("create lock early");
    for actor in [&mut one, &mut two] {
        actor.does(&format!("setuid {NOBODY}"));
    }
    one.does("create lock l");
    two.does("open lock l");
    assert_eq!(two.does("participants").split(' ').count(), 2);
    two.does("acquire l");
    one.fails("acquire_timeout l 50", "TimedOut");
    two.does("release");
    one.does("cycle early 3");
    one.does("unlink l");
    let mut root = Actor::start(&scratch);
    root.does("unlink early");
    for actor in [one, two] {
        actor.finish();
    }
    assert_eq!(files_of(NOBODY, &scratch), [""; 0]);
}

#[test]
fn what_was_made_before_a_change_of_the_user_is_not_said_to_be_gone() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let said = run(&scratch, &[], |()| {
        let early = Lock::new().unwrap();
        become_nobody();
        let child = Process::spawn(|lock: Lock| drop(lock), early.clone()).unwrap();
        child.join().unwrap_err().to_string()
    });
    let is_told = ["uid 0", "uid 65534", "after the user was changed"].iter().all(|part| said.contains(part));
    assert!(is_told && !said.contains("removed"), "{said}");
    // Nor in a process that was forked before, and has not used it as the user that it was.
    for way in ["fork", "raw_fork"] {
        let mut actor = Actor::start(&scratch);
        actor.does("create lock l");
        actor.does(way);
        actor.does(&format!("setuid {NOBODY}"));
        let said = actor.ask("acquire l");
        assert!(said.starts_with("error Unregistered < OtherUser"), "{said}");
        assert_eq!(actor.ask("exit 0"), "ok exit 0");
        actor.does("unlink l");
    }
}

#[test]
fn a_large_message_is_kept_for_whoever_can_open_it() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let empty = tempfile::tempdir().unwrap();
    let [mut outer, mut user, mut root] = std::array::from_fn(|_| Actor::start(&scratch));
    outer.does("create queue q bytes=4096");
    for actor in [&mut user, &mut root] {
        actor.does("open queue q");
    }
    user.does(&format!("setuid {NOBODY}"));
    root.does(&format!("chroot {}", empty.path().display()));
    for (actor, told) in [(&mut user, "OtherUser"), (&mut root, "Elsewhere")] {
        // Nobody else could open the file that it would make.
        let said = actor.fails("put q 1 20000", "Spill");
        assert!(said.contains(told), "{said}");
        // And it takes out nothing that it cannot open.
        outer.does("put q 2 20000");
        for get in ["get q", "get_batch q 4", "peek q"] {
            let said = actor.ask(get);
            assert!(said.starts_with("error") && said.contains("Spill"), "{said}");
            assert!(said.contains(told), "{said}");
        }
        assert_eq!(outer.does("get q"), "2");
        // Smaller ones lie in the queue.
        actor.does("put q 3");
        assert_eq!(outer.does("get q"), "3");
        outer.does("put q 4");
        assert_eq!(actor.does("get q"), "4");
    }
    outer.does("unlink q");
}

#[test]
fn an_end_of_a_pipe_in_a_message_is_not_lost_for_another_user() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let said = run(&scratch, &[], |()| {
        let queue: Queue<procession::Sender<u32>> = Queue::new().unwrap();
        let (sender, receiver) = pipe::<u32>().unwrap();
        queue.put(&sender).unwrap();
        become_nobody();
        // Longer than it takes to ask whether anybody can get the message.
        format!("{:?}", receiver.recv_timeout(std::time::Duration::from_millis(1300)))
    });
    assert_eq!(said, "Err(timed out: the pipe is empty)");
}

#[test]
fn another_mount_is_another_world_and_leaves_the_first_as_it_is() {
    if !can_unshare(&["--mount"]) {
        return;
    }
    let scratch = Scratch::new();
    let (mut mover, mut other) = (start_after("mount --make-rprivate /", &scratch), Actor::start(&scratch));
    mover.does("create lock l");
    let first = mover.does("register");
    other.does("open lock l");
    other.does("acquire l");
    mover.does("mount_shm");
    mover.fails("acquire_timeout l 1300", "TimedOut");
    // What is made now has its names, and its registry, in the other place.
    mover.does("create lock m");
    assert_ne!((mover.does("participants"), first.is_empty()), (String::new(), true));
    let names = fs::read_dir(format!("/proc/{}/root/dev/shm", mover.pid())).unwrap().count();
    assert_eq!(names, 2);
    other.fails("open lock m", "NotFound");
    other.does("release");
    mover.does("cycle l 3");
    other.does("unlink l");
    mover.does("unlink m");
    mover.finish();
}

#[test]
fn with_its_standard_descriptors_closed_a_program_prints_into_nothing_of_ours() {
    let scratch = Scratch::new();
    let wrong = run(&scratch, &[], |()| {
        for number in 0..3 {
            nix::unistd::close(number).unwrap();
        }
        let lock = Lock::new().unwrap();
        let event = Event::new().unwrap();
        let queue: Queue<Vec<u8>> = Queue::new().unwrap();
        let (sender, _receiver) = pipe::<u32>().unwrap();
        let readable = procession::readiness(&event);
        let child = Process::spawn(
            |(queue, event): (Queue<Vec<u8>>, Event)| {
                event.wait().unwrap();
                // Larger than the queue: it has a file of its own.
                queue.put(&vec![1; 3 << 20]).unwrap();
            },
            (queue.clone(), event.clone()),
        );
        event.set();
        sender.send(&1).unwrap();
        let child = child.unwrap();
        assert_eq!(queue.get().unwrap().len(), 3 << 20);
        let pool = Pool::new(1).unwrap();
        assert_eq!(pool.map(|n: u32| n, 0..2).unwrap(), [0, 1]);
        child.join().unwrap();
        drop(lock.acquire().unwrap());
        drop(readable);
        // A thread of ours may be reading a file of /proc just now, into which nobody can print.
        let is_ours = |path: &std::path::PathBuf| !path.starts_with("/proc");
        let open = |number: &i32| fs::read_link(format!("/proc/self/fd/{number}")).ok().filter(is_ours);
        (0..3).filter_map(|number| open(&number)).map(|path| path.display().to_string()).collect::<Vec<_>>()
    });
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn an_environment_variable_says_how_many_processes_a_namespace_holds() {
    let scratch = Scratch::new();
    let (first, said) = run(&scratch, &[("PROCESSION_SLOTS", "3")], |()| {
        let go = Event::new().unwrap();
        let wait = |go: Event| go.wait().unwrap();
        let mut waiting: Vec<_> = (0..2).map(|_| Process::spawn(wait, go.clone()).unwrap()).collect();
        while procession::shm::register(go_namespace(&go)).unwrap().participants().len() < 3 {
            std::thread::yield_now();
        }
        let said = Process::spawn(wait, go.clone()).unwrap().join().unwrap_err().to_string();
        go.set();
        let first = waiting.drain(..).all(|child| child.join().is_ok());
        (first, said)
    });
    assert!(first);
    let parts = ["is full: 3 live processes", "another namespace", "PROCESSION_SLOTS=12"];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    assert!(!said.contains("not a value"), "{said}");
    let said = run(&scratch, &[("PROCESSION_SLOTS", "many")], |()| Event::new().unwrap_err().to_string());
    assert!(said.contains("PROCESSION_SLOTS in the environment is no number"), "{said}");
}

fn go_namespace(event: &Event) -> &procession::Namespace {
    let segment: &procession_shm::Segment = event.as_ref();
    segment.namespace()
}

#[test]
fn a_dev_shm_that_does_not_serve_is_named_with_what_to_do() {
    if !can_unshare(&["--mount"]) || !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let cases = [
        ("mount -t tmpfs none /dev", "there is no directory /dev/shm; mount it (`mount -t tmpfs"),
        ("mount -t tmpfs -o ro none /dev/shm", "/dev/shm is mounted read-only"),
        ("mount -t tmpfs -o mode=755 none /dev/shm", "`chmod 1777 /dev/shm`"),
        ("mount -t tmpfs -o nr_inodes=1 none /dev/shm", "larger nr_inodes"),
    ];
    for (script, told) in cases {
        let mut actor = start_after(script, &scratch);
        actor.does(&format!("setuid {NOBODY}"));
        for command in ["create lock l", "create queue q", "register"] {
            let said = actor.ask(command);
            assert!(said.starts_with("error") && said.contains(told), "{script}: {said}");
        }
        actor.finish();
    }
    // The registry still has room, and the file after it not.
    let mut actor = start_after("mount -t tmpfs -o nr_inodes=2 none /dev/shm", &scratch);
    let said = actor.fails("create lock l", "NoInodes");
    assert!(said.contains("lock \"l\" in a private namespace"), "{said}");
    actor.finish();
}

#[test]
fn a_map_that_cannot_grow_is_as_it_was() {
    if !can_unshare(&["--mount"]) || !is_root() {
        return;
    }
    let scratch = Scratch::new();
    for unlinked in [false, true] {
        let mut actor = start_after("mount -t tmpfs -o size=2m,mode=1777 none /dev/shm", &scratch);
        actor.does("create map m");
        actor.does("create list l");
        if unlinked {
            actor.does("unlink m");
            actor.does("unlink l");
        }
        actor.does("insert m a old");
        actor.does("push l old");
        let mut stored = 0;
        let said = loop {
            let said = actor.ask(&format!("insert_long m k{stored} 50000"));
            if !said.starts_with("ok") {
                break said;
            }
            stored += 1;
        };
        assert!(
            said.starts_with("error NoMemory") && said.contains("cannot grow, and is as it was"),
            "{said}"
        );
        assert!((4..40).contains(&stored), "{stored}");
        let entries = actor.does("entries m");
        assert_eq!(entries.matches("50000").count(), stored);
        // It can be tried again, and there is memory for others still.
        actor.fails("insert_long m a 500000", "NoMemory < NoSpace");
        assert_eq!(actor.does("entries m"), entries);
        actor.does("push_long l 5000");
        actor.fails("push_long l 2000000", "NoMemory < NoSpace");
        assert_eq!(actor.does("elements l"), "[\"old\", \"5000\"]");
        // What needs no memory works, and makes room.
        for key in 1..stored {
            actor.does(&format!("remove m k{key}"));
        }
        actor.does("insert_long m again 50000");
        assert_eq!(actor.does("entries m"), "{\"a\": \"old\", \"again\": \"50000\", \"k0\": \"50000\"}");
        actor.does("clear m");
        actor.does("insert_long m again 50000");
        assert_eq!(actor.does("entries m"), "{\"again\": \"50000\"}");
        actor.finish();
    }
}

#[test]
fn maps_fit_into_the_limits_of_their_process() {
    for script in ["ulimit -f 2048", "ulimit -v 1000000"] {
        let scratch = Scratch::new();
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("{script}; exec \"$0\"")]).arg(program("actor"));
        let mut actor = Actor::start_as(bash, &scratch);
        actor.does("create map m");
        actor.does("insert_long m a 100000");
        actor.does("unlink m");
        actor.finish();
    }
}

#[test]
fn without_proc_objects_work() {
    if !can_unshare(&["--mount"]) || !is_root() {
        return;
    }
    let scratch = Scratch::new();
    for user in [0, NOBODY] {
        let mut actor =
            start_after("mount -t tmpfs none /proc; mount -t tmpfs -o mode=1777 none /dev/shm", &scratch);
        actor.does(&format!("setuid {user}"));
        let made = actor.ask("create lock l");
        if made.starts_with("ok") {
            actor.does("cycle l 3");
            actor.does("create queue q");
            actor.does("put q 1");
            assert_eq!(actor.does("get q"), "1");
            actor.does("create joinable j lease_timeout=1");
            actor.does("put j 4");
            assert_eq!(actor.does("get j"), "4:1");
            actor.does("task_done");
        } else {
            // Before Linux 6.10, where only root can.
            assert!(user != 0 && made.contains("/proc is not mounted"), "{made}");
        }
    }
}

#[test]
fn limits_are_named_with_what_to_do() {
    let scratch = Scratch::new();
    let mut outer = Actor::start(&scratch);
    outer.does("create lock l");
    let cases = [
        ("ulimit -n 4", "create lock m", "raise the limit (`ulimit -n`)"),
        ("ulimit -f 2048", "create queue q bytes=4194304", "raise the limit (`ulimit -f`)"),
        (
            "ulimit -v 100000",
            "create queue q bytes=110000000",
            "raise the limit of its address space (`ulimit -v`)",
        ),
    ];
    for (script, command, told) in cases {
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("{script}; exec \"$0\"")]).arg(program("actor"));
        let mut actor = Actor::start_as(bash, &scratch);
        let said = actor.ask(command);
        assert!(said.starts_with("error") && said.contains(told), "{script}: {said}");
        actor.finish();
    }
    assert_eq!(scratch.objects(), ["l"]);
    outer.does("unlink l");
}

/// Why no process can be started as nobody, with this limit set to so much.
fn refusal_under(limit: Resource, most: u64) -> String {
    become_nobody();
    setrlimit(limit, most, most).unwrap();
    Process::spawn(|()| (), ()).map(|child| child.pid()).unwrap_err().to_string()
}

#[test]
fn limits_of_processes_are_named_with_what_to_do() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let said = run(&scratch, &[], |()| refusal_under(Resource::RLIMIT_NPROC, 1));
    assert!(said.contains("raise the limit (`ulimit -u`"), "{said}");
    let said = run(&scratch, &[], |()| refusal_under(Resource::RLIMIT_NOFILE, 3));
    assert!(said.contains("raise the limit (`ulimit -n`"), "{said}");
}

#[test]
fn objects_need_no_call_that_older_sandboxes_refuse() {
    let scratch = Scratch::new();
    let [mut one, mut two] = std::array::from_fn(|_| Actor::start(&scratch));
    for actor in [&mut one, &mut two] {
        for call in [libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal] {
            actor.does(&format!("forbid {call}"));
        }
    }
    one.does("create lock l");
    two.does("open lock l");
    one.does("acquire l");
    two.waits("acquire l");
    let pid = one.pid();
    one.kill();
    two.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    two.does("create joinable j");
    two.does("put j 4");
    assert_eq!(two.does("get j"), "4:1");
    two.does("task_done");
    two.does("unlink j");
    two.does("unlink l");
}

/// Two actors, of which the clock of the second is a day ahead; `None`, said, where that cannot be.
fn start_on_two_clocks(scratch: &Scratch) -> Option<[Actor; 2]> {
    let ahead = ["--time", "--monotonic", "100000", "--boottime", "100000"];
    if !can_unshare(&ahead) {
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(ahead).arg(program("actor"));
    let actors = [Actor::start(scratch), Actor::start_as(command, scratch)];
    let [early, late] =
        actors.each_ref().map(|actor| fs::read_link(format!("/proc/{}/ns/time", actor.pid())).unwrap());
    if early == late {
        note("SKIPPED: exec does not change the clock here (before Linux 6.2)");
        return None;
    }
    Some(actors)
}

#[test]
fn a_lease_takes_as_long_on_every_clock() {
    let scratch = Scratch::new();
    let Some([mut early, mut late]) = start_on_two_clocks(&scratch) else { return };
    early.does("create joinable j lease_timeout=1000");
    late.does("open joinable j");
    for n in [4, 8] {
        early.does(&format!("put j {n}"));
        assert_eq!(early.does("get j"), format!("{n}:1"));
        late.fails("get_timeout j 200", "TimedOut");
        // In time, and no matter how it is asked.
        assert_eq!(late.does("get_timeout j 20000"), format!("{n}:2"));
        early.fails("task_done", "StaleLease");
        late.does("task_done");
        assert_eq!(early.does("unfinished j"), "0");
        std::mem::swap(&mut early, &mut late);
    }
    early.does("unlink j");
}

#[test]
fn how_long_a_lock_is_held_is_the_same_on_every_clock() {
    let scratch = Scratch::new();
    let Some([mut early, mut late]) = start_on_two_clocks(&scratch) else { return };
    let mut holder = Actor::start(&scratch);
    holder.does("create lock l");
    holder.does("acquire l");
    for actor in [&mut early, &mut late] {
        actor.does("open lock l");
    }
    // Who has waited has noted since when; a hold that others ask about is some milliseconds old.
    early.fails("acquire_timeout l 200", "TimedOut");
    let noted = late.does("holder l");
    let held_for = noted.split_once("held_for: Some(").and_then(|(_, rest)| rest.split_once(')'));
    let held_for = held_for.unwrap_or_else(|| panic!("{noted}")).0;
    let seconds = held_for.strip_suffix('s').and_then(|seconds| seconds.parse().ok());
    assert!(seconds.unwrap_or(0.0) < 1000.0, "{noted}");
    holder.does("release");
    early.does("unlink l");
}
