//! Bytes that other programs share with us, both ways: Python's `multiprocessing.shared_memory`, and the
//! `shared_memory` crate. Nobody who only attached removes anything, and who does so all the same is noticed.
#![expect(unsafe_code, reason = "the shared_memory crate cannot know who else writes")]

use procession::{Namespace, OpenError, PlainMemory, SharedMemory};
use procession_tests::{Actor, Scratch, python, raw, run, until};
use shared_memory::ShmemConf;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

/// `attach name start`: says what it finds from `start` on, and writes. How it attaches is its second
/// argument.
const ATTACH: &str = r#"
import sys
from multiprocessing import resource_tracker, shared_memory
name, way, start = sys.argv[1], sys.argv[2], int(sys.argv[3])
if way == "politely" and sys.version_info >= (3, 13):
    memory = shared_memory.SharedMemory(name, track=False)
else:
    memory = shared_memory.SharedMemory(name)
    if way == "politely":
        resource_tracker.unregister(memory._name, "shared_memory")
print(memory.size, bytes(memory.buf[start:start + 5]).decode())
memory.buf[start + 5:start + 11] = b"Python"
memory.close()
"#;

/// Makes one of 100 bytes, says its name, waits for a line, says what it finds, and removes it.
const MAKE: &str = r#"
import sys
from multiprocessing import shared_memory
memory = shared_memory.SharedMemory(create=True, size=100)
memory.buf[0:5] = b"snake"
print(memory.name, flush=True)
sys.stdin.readline()
print(bytes(memory.buf[5:9]).decode(), flush=True)
memory.close()
memory.unlink()
"#;

fn attach(name: &str, way: &str, start: usize) -> String {
    run(python().args(["-c", ATTACH, name, way, &start.to_string()])).trim().to_owned()
}

/// A plain file's name that no other test has, removed at the end.
struct Plain(String);

impl Plain {
    fn new() -> Self {
        Self(Namespace::private().name().replace("private", "procession-test"))
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        drop(fs::remove_file(format!("/dev/shm/{}", self.0)));
    }
}

#[test]
fn python_attaches_to_ours_and_leaves_it() {
    let scratch = Scratch::new();
    let ours = SharedMemory::options().namespace(&scratch).size(100).create("m").unwrap();
    ours.write_at(0, b"crabs").unwrap();
    let size = SharedMemory::OFFSET + 100;
    assert_eq!(attach(&ours.file_name(), "politely", SharedMemory::OFFSET), format!("{size} crabs"));
    assert_eq!(ours.read(0..11).unwrap(), b"crabsPython");
    assert!(!ours.is_orphaned());
    // And so for whoever comes later.
    let mut actor = Actor::start(&scratch);
    actor.does("open memory m");
    assert_eq!(actor.does("read_at m 5 11"), "Python");
    ours.unlink().unwrap();
}

#[test]
fn python_removes_what_it_did_not_unregister_and_that_is_noticed() {
    let scratch = Scratch::new();
    let ours = SharedMemory::options().namespace(&scratch).size(100).create("m").unwrap();
    let (mut holder, mut waiter) = (Actor::start(&scratch), Actor::start(&scratch));
    holder.does("create lock l");
    waiter.does("open lock l");
    holder.does("acquire l");
    waiter.waits("acquire l");
    attach(&ours.file_name(), "as it does", SharedMemory::OFFSET);
    attach(&scratch.file_name("l"), "as it does", 1000);
    until("Python's resource tracker has removed both", || scratch.objects().is_empty());
    assert!(ours.is_orphaned());
    assert_eq!(ours.read(5..11).unwrap(), b"Python");
    let opened = SharedMemory::options().namespace(&scratch).open("m");
    assert!(matches!(opened, Err(OpenError::NotFound { .. })), "{opened:?}");
    assert!(matches!(ours.unlink(), Err(OpenError::NotFound { .. })));
    waiter.failed("Orphaned");
}

#[test]
fn what_python_makes_is_opened() {
    let mut maker = python();
    let mut maker = maker.args(["-c", MAKE]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(maker.stdout.take().unwrap()).lines();
    let name = lines.next().unwrap().unwrap();
    let theirs = PlainMemory::open(&name).unwrap();
    assert_eq!((theirs.size(), theirs.read(0..5).unwrap()), (100, b"snake".to_vec()));
    theirs.write_at(5, b"rust").unwrap();
    // Only attached: dropping it removes nothing.
    drop(theirs);
    let again = PlainMemory::open(&format!("/{name}")).unwrap();
    assert!(!again.is_orphaned());
    maker.stdin.take().unwrap().write_all(b"go on\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "rust");
    assert!(maker.wait().unwrap().success());
    assert!(again.is_orphaned());
    assert!(matches!(PlainMemory::open(&name), Err(OpenError::NotFound { .. })));
    assert_eq!(again.read(0..9).unwrap(), b"snakerust");
}

#[test]
fn python_opens_a_plain_file_of_ours_as_its_own() {
    let plain = Plain::new();
    let ours = PlainMemory::create(&plain.0, 64).unwrap();
    let meta = fs::metadata(format!("/dev/shm/{}", plain.0)).unwrap();
    assert_eq!((meta.len(), meta.mode() & 0o777), (64, 0o600));
    ours.write_at(0, b"crabs").unwrap();
    assert_eq!(attach(&plain.0, "politely", 0), "64 crabs");
    assert_eq!(ours.read(0..11).unwrap(), b"crabsPython");
    assert!(!ours.is_orphaned());
    ours.unlink().unwrap();
}

#[test]
fn the_shared_memory_crate_opens_ours() {
    let (scratch, plain) = (Scratch::new(), Plain::new());
    let ours = SharedMemory::options().namespace(&scratch).size(100).create("m").unwrap();
    let flat = PlainMemory::create(&plain.0, 100).unwrap();
    for (name, start) in [(ours.file_name(), SharedMemory::OFFSET), (flat.name().to_owned(), 0)] {
        ours.write_at(3, b"crabs").unwrap();
        flat.write_at(3, b"crabs").unwrap();
        let mut theirs = ShmemConf::new().os_id(&name).open().unwrap();
        assert_eq!(theirs.len(), start + 100);
        // SAFETY: nobody else touches the bytes meanwhile.
        let bytes = &mut unsafe { theirs.as_slice_mut() }[start..];
        assert_eq!(&bytes[3..8], b"crabs");
        bytes[8..12].copy_from_slice(b"crew");
        drop(theirs);
    }
    assert_eq!(
        (ours.read(3..12).unwrap(), flat.read(3..12).unwrap()),
        (b"crabscrew".into(), b"crabscrew".into())
    );
    assert!(!ours.is_orphaned() && !flat.is_orphaned());
    ours.unlink().unwrap();
    flat.unlink().unwrap();
}

#[test]
fn what_the_shared_memory_crate_makes_is_opened() {
    let plain = Plain::new();
    let theirs = ShmemConf::new().os_id(&plain.0).size(5000).create().unwrap();
    let opened = PlainMemory::open(&plain.0).unwrap();
    assert!(opened.size() >= 5000);
    opened.write_at(4990, b"crabs").unwrap();
    // SAFETY: nobody else touches the bytes meanwhile.
    let seen = unsafe { theirs.as_slice() };
    assert_eq!(&seen[4990..4995], b"crabs");
    drop(theirs);
    assert!(opened.is_orphaned());
    assert_eq!(opened.read(4990..4995).unwrap(), b"crabs");
}

#[test]
fn a_handle_opens_the_same_bytes_until_they_are_removed() {
    let scratch = Scratch::new();
    let ours = SharedMemory::options().namespace(&scratch).size(10).create("m").unwrap();
    let handle = serde_json::to_string(&ours).unwrap();
    let same: SharedMemory = serde_json::from_str(&handle).unwrap();
    same.write_at(0, b"here").unwrap();
    assert_eq!(ours.read(0..4).unwrap(), b"here");
    ours.unlink().unwrap();
    let other = SharedMemory::options().namespace(&scratch).size(10).create("m").unwrap();
    assert!(serde_json::from_str::<SharedMemory>(&handle).unwrap_err().to_string().contains("is gone"));
    other.unlink().unwrap();
}

#[test]
fn named_bytes_outlive_who_is_killed_and_ephemeral_ones_go_with_the_last() {
    let scratch = Scratch::new();
    let [mut maker, mut reader, mut later] = std::array::from_fn(|_| Actor::start(&scratch));
    maker.does("create memory kept 100");
    maker.does("create memory lent 100 ephemeral");
    maker.does("write_at kept 7 crabs");
    maker.does("write_at lent 7 crabs");
    reader.does("open memory lent");
    maker.kill();
    later.does("open memory kept");
    assert_eq!(
        (later.does("read_at kept 7 12"), reader.does("read_at lent 7 12")),
        ("crabs".into(), "crabs".into())
    );
    assert_eq!(reader.does("orphaned lent"), "false");
    reader.kill();
    later.fails("open memory lent", "NotFound");
    assert_eq!(scratch.objects(), ["kept"]);
    later.fails("read_at kept 99 101", "OutOfRange { start: 99, end: 101, size: 100 }");
    later.does("unlink kept");
    assert!(!raw::path(&scratch, "kept").exists());
}
