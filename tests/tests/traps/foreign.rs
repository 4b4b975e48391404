//! What others do: other file systems under the same path, other programs in `/dev/shm`, other kernel
//! namespaces.

use procession_tests::{Actor, Scratch, can_unshare, in_own_shm, program, python, raw, run, skip};
use std::fs;
use std::process::Command;

const PYTHON: &str = r#"
import sys
from multiprocessing import resource_tracker, shared_memory
segment = shared_memory.SharedMemory(name=sys.argv[1])
resource_tracker.unregister(segment._name, "shared_memory")
print(bytes(segment.buf[1:7]).decode(), segment.size)
segment.close()
"#;

#[test]
fn python_opens_a_segment_and_leaves_it() {
    let scratch = Scratch::new();
    let mut actor = Actor::start(&scratch);
    actor.does("create lock l");
    actor.does("acquire l");
    let said = run(python().args(["-c", PYTHON, &scratch.file_name("l")]));
    let size = fs::metadata(raw::path(&scratch, "l")).unwrap().len();
    assert_eq!(said.trim(), format!("PROCES {size}"));
    assert_eq!(scratch.objects(), ["l"]);
    actor.does("release");
    actor.does("cycle l 3");
    actor.does("unlink l");
}

#[test]
fn who_waits_for_an_object_that_somebody_else_removed_is_told() {
    let scratch = Scratch::new();
    let (mut holder, mut waiter, mut consumer) =
        (Actor::start(&scratch), Actor::start(&scratch), Actor::start(&scratch));
    holder.does("create lock l");
    holder.does("create queue q");
    waiter.does("open lock l");
    consumer.does("open queue q");
    holder.does("acquire l");
    waiter.waits("acquire l");
    consumer.waits("get q");
    // As the resource tracker of Python does, or rm.
    fs::remove_file(raw::path(&scratch, "l")).unwrap();
    fs::remove_file(raw::path(&scratch, "q")).unwrap();
    let said = waiter.failed("Orphaned");
    assert!(said.contains("\"l\""), "{said}");
    let said = consumer.failed("Orphaned");
    assert!(said.contains("\"q\""), "{said}");
}

#[test]
fn another_object_of_the_same_name_is_no_sign_of_life() {
    let scratch = Scratch::new();
    let (mut holder, mut waiter, mut other) =
        (Actor::start(&scratch), Actor::start(&scratch), Actor::start(&scratch));
    holder.does("create lock l");
    waiter.does("open lock l");
    holder.does("acquire l");
    waiter.waits("acquire l");
    fs::remove_file(raw::path(&scratch, "l")).unwrap();
    other.does("create lock l");
    other.does("cycle l 3");
    let said = waiter.failed("Orphaned");
    assert!(said.contains("\"l\""), "{said}");
    other.does("cycle l 3");
    other.does("unlink l");
}

#[test]
fn removal_by_unlink_is_no_orphaning() {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = (Actor::start(&scratch), Actor::start(&scratch));
    holder.does("create lock l");
    waiter.does("open lock l");
    holder.does("acquire l");
    waiter.waits("acquire_timeout l 2500");
    waiter.stop();
    holder.does("unlink l");
    waiter.go_on();
    waiter.failed("TimedOut");
}

#[test]
fn pid_namespaces_share_a_lock_and_its_holders_life() {
    if !can_unshare(&["--pid", "--fork", "--mount-proc"]) {
        return;
    }
    let scratch = Scratch::new();
    let (mut inner, mut other) =
        (Actor::start_in_pid_namespace(&scratch), Actor::start_in_pid_namespace(&scratch));
    let mut outer = Actor::start(&scratch);
    outer.does("create lock l");
    inner.does("open lock l");
    other.does("open lock l");
    // Both are number 1 where they are.
    assert_eq!((inner.does("pid"), other.does("pid")), ("1".to_owned(), "1".to_owned()));
    inner.does("acquire l");
    outer.fails("acquire_timeout l 300", "TimedOut");
    other.fails("acquire_timeout l 300", "TimedOut");
    outer.waits("acquire l");
    other.waits("acquire l");
    inner.begin_to_die();
    outer.failed("OwnerDied { pid: 1 }");
    other.failed("OwnerDied { pid: 1 }");
    other.does("recover l");
    other.does("release");
    // And the other way round.
    let pid = outer.pid();
    outer.does("acquire l");
    other.fails("acquire_timeout l 300", "TimedOut");
    outer.kill();
    other.fails("acquire l", &format!("OwnerDied {{ pid: {pid} }}"));
    other.does("recover l");
    other.does("unlink l");
    drop(inner);
}

#[test]
fn a_process_with_the_pid_of_a_dead_one_is_another() {
    let few_pids = "echo 400 > /proc/sys/kernel/pid_max && exec \"$0\" \"$@\"";
    let options = ["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", few_pids];
    if !can_unshare(&options[..4]) {
        return;
    }
    let mut command = Command::new("unshare");
    command.args(options);
    if !command.arg("true").output().unwrap().status.success() {
        return skip("a pid namespace has no pid_max of its own before Linux 6.14");
    }
    let mut command = Command::new("unshare");
    command.args(options).arg(std::env::current_exe().unwrap());
    run(command.args(["foreign::in_a_small_pid_namespace", "--exact", "--ignored", "--nocapture"]));
}

#[test]
#[ignore = "run by the test above, where pids come again soon"]
fn in_a_small_pid_namespace() {
    let scratch = Scratch::new();
    let next_pid = || {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    };
    // Smaller ones are given only once.
    while next_pid() < 300 {}
    let (mut holder, mut waiter, mut keeper) =
        (Actor::start(&scratch), Actor::start(&scratch), Actor::start(&scratch));
    keeper.does("create lock l");
    keeper.does("create lock m");
    for actor in [&mut holder, &mut waiter] {
        actor.does("open lock l");
        actor.does("open lock m");
    }
    holder.does("acquire l");
    holder.does("acquire m");
    waiter.waits("acquire l");
    let pid = holder.pid();
    waiter.stop();
    holder.kill();
    let mut same = loop {
        let last = next_pid();
        if last < pid && last + 8 > pid {
            let actor = Actor::start(&scratch);
            if actor.pid() == pid {
                break actor;
            }
        }
    };
    // It is alive, and registered; what its namesake held is no concern of its.
    same.does("open lock l");
    same.does("open lock m");
    waiter.go_on();
    waiter.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    same.fails("acquire m", &format!("OwnerDied {{ pid: {pid} }}"));
    waiter.does("recover l");
    waiter.does("release");
    same.does("acquire l");
    waiter.fails("acquire_timeout l 300", "TimedOut");
    waiter.waits("acquire l");
    same.kill();
    waiter.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    keeper.does("unlink l");
    keeper.does("unlink m");
}

/// An actor whose own `/dev/shm` has room for a registry, and for `bytes` more.
fn with_room_beside_a_registry(scratch: &Scratch, bytes: u64) -> Actor {
    Actor::start(scratch).does("register");
    let registry = fs::metadata(raw::registry(scratch)).unwrap().len();
    let mount = format!("mount -t tmpfs -o size={} none", registry.next_multiple_of(4096) + bytes);
    Actor::start_as(in_own_shm(&mount, &program("actor")), scratch)
}

#[test]
fn a_full_dev_shm_is_an_error_and_leaves_nothing() {
    if !can_unshare(&["--mount"]) {
        return;
    }
    let scratch = Scratch::new();
    let mut inner = with_room_beside_a_registry(&scratch, 65536);
    inner.does("register");
    let said = inner.fails("create queue q bytes=1048576", "NoSpace");
    assert!(said.contains("\"q\"") && said.contains("bytes"), "{said}");
    inner.fails("open queue q", "NotFound");
    assert_eq!(names_inside(&inner, &scratch), [".registry"]);
    // What fits still fits: nothing was left behind under no name either.
    inner.does("create queue small bytes=32768");
    inner.does("put small 1");
    assert_eq!(inner.does("get small"), "1");
    inner.fails("create queue second bytes=32768", "NoSpace");
    inner.does("unlink small");
    inner.does("drop small");
    inner.does("create queue second bytes=32768");
    inner.does("unlink second");
    // Another /dev/shm is another world.
    assert_eq!(inner.does("participants").split(' ').count(), 1);
    inner.finish();
}

#[test]
fn without_memory_for_its_larger_ring_a_pipe_stays_in_the_first() {
    if !can_unshare(&["--mount"]) {
        return;
    }
    let scratch = Scratch::new();
    let mut inner = with_room_beside_a_registry(&scratch, 1 << 20);
    inner.does("create pipe p");
    inner.does("pipe_send_timeout p.sender 200000 100");
    inner.fails("pipe_send_timeout p.sender 1000000 100", "TimedOut");
    assert_eq!(inner.does("pipe_recv p.receiver"), "200000");
    inner.does("pipe_send_timeout p.sender 250000 100");
    assert_eq!(inner.does("pipe_recv p.receiver"), "250000");
    // The memory is there for others.
    inner.does("create queue q bytes=524288");
    inner.does("unlink q");
    inner.finish();
}

#[test]
fn where_files_must_be_short_a_pipe_has_one_ring() {
    let scratch = Scratch::new();
    let mut outer = Actor::start(&scratch);
    outer.does("register");
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -f 1024; exec \"$0\""]).arg(program("actor"));
    let mut inner = Actor::start_as(command, &scratch);
    let said = inner.fails("create queue q bytes=4194304", "Os");
    assert!(said.contains("File too large"), "{said}");
    inner.does("create pipe p");
    inner.does("pipe_send_timeout p.sender 200000 100");
    inner.fails("pipe_send_timeout p.sender 1000000 100", "TimedOut");
    assert_eq!(inner.does("pipe_recv p.receiver"), "200000");
    inner.finish();
}

#[test]
fn a_dev_shm_too_small_for_a_registry_is_an_error() {
    if !can_unshare(&["--mount"]) {
        return;
    }
    let scratch = Scratch::new();
    let mut inner =
        Actor::start_as(in_own_shm("mount -t tmpfs -o size=32k none", &program("actor")), &scratch);
    inner.fails("register", "NoSpace");
    assert_eq!(names_inside(&inner, &scratch), [""; 0]);
    inner.does("register 32");
    inner.finish();
}

#[test]
fn a_dev_shm_that_is_no_tmpfs_is_refused() {
    if !can_unshare(&["--mount"]) {
        return;
    }
    let scratch = Scratch::new();
    let place = tempfile::tempdir().unwrap();
    let (lower, upper, work) = (place.path().join("l"), place.path().join("u"), place.path().join("w"));
    for directory in [&lower, &upper, &work] {
        fs::create_dir(directory).unwrap();
    }
    let overlay = format!(
        "mount -t overlay -o lowerdir={},upperdir={},workdir={} overlay",
        lower.display(),
        upper.display(),
        work.display()
    );
    let disk = format!("mount --bind {}", place.path().display());
    for mount in [overlay.as_str(), disk.as_str(), "mount -t ramfs none"] {
        if !run_is_possible(mount) {
            skip(&format!("{mount} is not possible here"));
            continue;
        }
        let mut inner = Actor::start_as(in_own_shm(mount, &program("actor")), &scratch);
        let said = inner.fails("create lock l", "LifelineUnsupported");
        assert!(said.contains("tmpfs") && said.contains(scratch.name()), "{mount}: {said}");
        assert_eq!(names_inside(&inner, &scratch), [""; 0], "{mount}");
        inner.finish();
    }
}

fn run_is_possible(mount: &str) -> bool {
    let tried = in_own_shm(mount, "/bin/true".as_ref()).output();
    tried.is_ok_and(|output| output.status.success())
}

/// What the namespace has in the `/dev/shm` that the actor sees.
fn names_inside(actor: &Actor, scratch: &Scratch) -> Vec<String> {
    let prefix = scratch.file_name("");
    let entries = fs::read_dir(format!("/proc/{}/root/dev/shm", actor.pid())).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_prefix(&prefix).map(str::to_owned)).collect()
}
