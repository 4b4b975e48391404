//! What is found under a name may be anything: each kind of wrongness has its own error, which names the
//! object, and looking at it changes nothing.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]

use procession::shm::Kind;
use procession::{Lock, OnOwnerDeath, OpenError, Queue};
use procession_sys::shm_file;
use procession_tests::{Actor, Scratch, raw};
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

/// Changes something behind the library's back.
type Spoil = fn(&Scratch);

/// What is done to the file of a fresh lock called `x`, and whether that is seen in the error.
struct Case {
    what: &'static str,
    spoil: Spoil,
    is_right: fn(&OpenError) -> bool,
}

const CASES: &[Case] = &[
    Case {
        what: "nothing of that name",
        spoil: |ns| fs::remove_file(raw::path(ns, "x")).unwrap(),
        is_right: |error| matches!(error, OpenError::NotFound { .. }),
    },
    Case {
        what: "another format version",
        spoil: |ns| raw::poke(ns, "x", 8, &77_u32.to_le_bytes()),
        is_right: |error| matches!(error, OpenError::Version { found: 77, ours: 1, .. }),
    },
    Case {
        what: "another layout",
        spoil: |ns| raw::poke(ns, "x", 12, &0xdead_beef_u32.to_le_bytes()),
        is_right: |error| matches!(error, OpenError::Layout { found: 0xdead_beef, .. }),
    },
    Case {
        what: "a header that was changed",
        spoil: |ns| raw::poke(ns, "x", 64, &9_u64.to_le_bytes()),
        is_right: |error| matches!(error, OpenError::Corrupt { .. }),
    },
    Case {
        what: "another user's file",
        spoil: |ns| chown(raw::path(ns, "x"), Some(12_345), None).unwrap(),
        is_right: |error| matches!(error, OpenError::WrongOwner { owner: 12_345, ours: 0, .. }),
    },
    Case {
        what: "a file that the group may read",
        spoil: |ns| fs::set_permissions(raw::path(ns, "x"), Permissions::from_mode(0o640)).unwrap(),
        is_right: |error| matches!(error, OpenError::WrongMode { found: 0o640, asked: 0o600, .. }),
    },
    Case {
        what: "a file that everybody may write",
        spoil: |ns| fs::set_permissions(raw::path(ns, "x"), Permissions::from_mode(0o606)).unwrap(),
        is_right: |error| matches!(error, OpenError::WrongMode { found: 0o606, .. }),
    },
    Case {
        what: "a file with a second name",
        spoil: |ns| fs::hard_link(raw::path(ns, "x"), raw::path(ns, "y")).unwrap(),
        is_right: |error| matches!(error, OpenError::Linked { links: 2, .. }),
    },
    Case {
        what: "a file cut in its body",
        spoil: |ns| set_len(ns, 4100),
        is_right: |error| matches!(error, OpenError::Truncated { found: 4100, .. }),
    },
    Case {
        what: "a file cut behind its header",
        spoil: |ns| set_len(ns, 4096),
        is_right: |error| matches!(error, OpenError::Truncated { found: 4096, .. }),
    },
    Case {
        what: "a file that grew",
        spoil: |ns| set_len(ns, 1 << 20),
        is_right: |error| matches!(error, OpenError::Truncated { found: 1_048_576, .. }),
    },
    Case {
        what: "a file cut in its header",
        spoil: |ns| set_len(ns, 100),
        is_right: |error| matches!(error, OpenError::Corrupt { .. } | OpenError::Truncated { .. }),
    },
    Case {
        what: "an empty file",
        spoil: |ns| set_len(ns, 0),
        is_right: |error| matches!(error, OpenError::NotAnObject { .. }),
    },
    Case {
        what: "random bytes",
        spoil: |ns| write_random(ns, 8192),
        is_right: |error| matches!(error, OpenError::NotAnObject { .. }),
    },
    Case {
        what: "a few random bytes",
        spoil: |ns| write_random(ns, 3),
        is_right: |error| matches!(error, OpenError::NotAnObject { .. }),
    },
    Case {
        what: "our magic and nothing else",
        spoil: |ns| {
            set_len(ns, 8);
        },
        is_right: |error| matches!(error, OpenError::Version { found: 0, .. } | OpenError::Truncated { .. }),
    },
    Case {
        what: "a symbolic link to the object",
        spoil: |ns| {
            fs::rename(raw::path(ns, "x"), raw::path(ns, "moved")).unwrap();
            symlink(raw::path(ns, "moved"), raw::path(ns, "x")).unwrap();
        },
        is_right: |error| matches!(error, OpenError::NotRegularFile { .. }),
    },
    Case {
        what: "a symbolic link to nothing",
        spoil: |ns| replace(ns, |path| symlink("/nonexistent", path).unwrap()),
        is_right: |error| matches!(error, OpenError::NotRegularFile { .. }),
    },
    Case {
        what: "a FIFO",
        spoil: |ns| {
            replace(ns, |path| {
                procession_tests::run(Command::new("mkfifo").args(["-m", "600"]).arg(path));
            });
        },
        is_right: |error| matches!(error, OpenError::NotRegularFile { .. }),
    },
    Case {
        what: "a socket",
        spoil: |ns| replace(ns, |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
        is_right: |error| matches!(error, OpenError::NotRegularFile { .. }),
    },
    Case {
        what: "a directory",
        spoil: |ns| replace(ns, |path| fs::create_dir(path).unwrap()),
        is_right: |error| matches!(error, OpenError::NotRegularFile { .. }),
    },
];

#[test]
fn each_wrong_file_has_its_error() {
    let scratch = Scratch::new();
    for case in CASES {
        if case.what == "another user's file" && shm_file::effective_uid() != 0 {
            procession_tests::skip("only root can give a file away");
            continue;
        }
        drop(Lock::options().namespace(&scratch).create("x").unwrap());
        (case.spoil)(&scratch);
        let before = files(&scratch);
        let error = Lock::options().namespace(&scratch).open("x").unwrap_err();
        assert!((case.is_right)(&error), "{}: {error:?}", case.what);
        let text = error.to_string();
        assert!(text.contains("\"x\" in a private namespace"), "{}: {text}", case.what);
        // A queue of that name is no better, and nobody makes one in its place.
        if !matches!(error, OpenError::NotFound { .. }) {
            let error = Queue::<u8>::options().namespace(&scratch).open_or_create("x").unwrap_err();
            assert!((case.is_right)(&error), "{}: {error:?}", case.what);
            let error = Lock::options().namespace(&scratch).create("x").unwrap_err();
            let right = match error {
                OpenError::WrongOwner { .. } => (case.is_right)(&error),
                _ => matches!(error, OpenError::AlreadyExists { .. }),
            };
            assert!(right, "{}: {error:?}", case.what);
        }
        assert_eq!(files(&scratch), before, "{}", case.what);
        remove_all(&scratch);
    }
}

#[test]
fn each_wrong_expectation_has_its_error() {
    let scratch = Scratch::new();
    let ns: &procession::Namespace = &scratch;
    let queue = Queue::<u64>::options().namespace(ns).capacity(5).bytes(4096).create("q").unwrap();
    let lock = Lock::options().namespace(ns).create("l").unwrap();
    let is = |error: OpenError, right: bool, words: &[&str]| {
        let text = error.to_string();
        assert!(right, "{error:?}");
        assert!(words.iter().all(|word| text.contains(word)), "{text} lacks one of {words:?}");
    };
    let error = Lock::options().namespace(ns).open("q").unwrap_err();
    let right = matches!(error, OpenError::Kind { found: Kind::QUEUE, asked: Kind::LOCK, .. });
    is(error, right, &["\"q\"", "queue", "lock"]);
    let error = Queue::<u64>::options().namespace(ns).open("l").unwrap_err();
    let right = matches!(error, OpenError::Kind { found: Kind::LOCK, asked: Kind::QUEUE, .. });
    is(error, right, &["\"l\"", "queue", "lock"]);
    let error = Queue::<String>::options().namespace(ns).open("q").unwrap_err();
    let right = matches!(&error, OpenError::ElementType { .. });
    is(error, right, &["\"q\"", "u64", "string"]);
    let error = Queue::<u64>::options().namespace(ns).capacity(6).open("q").unwrap_err();
    let right = matches!(error, OpenError::Parameter { parameter: "capacity", found: 5, asked: 6, .. });
    is(error, right, &["\"q\"", "capacity", "5", "6"]);
    let error = Queue::<u64>::options().namespace(ns).bytes(8192).open_or_create("q").unwrap_err();
    let right = matches!(error, OpenError::Parameter { parameter: "bytes", found: 4096, asked: 8192, .. });
    is(error, right, &["\"q\"", "bytes", "4096", "8192"]);
    let error = Lock::options().namespace(ns).on_owner_death(OnOwnerDeath::Ignore).open("l").unwrap_err();
    let right = matches!(error, OpenError::Parameter { parameter: "on_owner_death", .. });
    is(error, right, &["\"l\"", "on_owner_death"]);
    let error = Lock::options().namespace(ns).create("l").unwrap_err();
    let right = matches!(error, OpenError::AlreadyExists { .. });
    is(error, right, &["lock \"l\" in a private namespace"]);
    queue.unlink().unwrap();
    lock.unlink().unwrap();
}

#[test]
fn impossible_names_are_refused_before_anything_is_made() {
    let scratch = Scratch::new();
    let long = "x".repeat(300);
    for name in ["", ".", "..", ".hidden", "a/b", "/a", "../a", "a b", "a\0b", "a\nb", "ü", &long] {
        let lock = Lock::options().namespace(&scratch);
        let queue = Queue::<u8>::options().namespace(&scratch);
        let errors = [
            lock.create(name).unwrap_err(),
            lock.open(name).unwrap_err(),
            lock.open_or_create(name).unwrap_err(),
            queue.open_or_create(name).unwrap_err(),
            scratch.unlink(name).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, OpenError::InvalidName { .. }), "{name:?}: {error:?}");
            assert!(error.to_string().contains(&format!("{name:?}")), "{name:?}: {error}");
        }
    }
    assert_eq!(scratch.names(), [""; 0]);
    let mut actor = Actor::start(&scratch);
    actor.fails("create lock a/b", "InvalidName");
    assert_eq!(scratch.names(), [""; 0]);
}

#[test]
fn a_registry_that_is_none_is_refused() {
    let spoilers: [(Spoil, &str); 4] = [
        (|ns| fs::write(raw::registry(ns), "nonsense").unwrap(), "WrongMode"),
        (|ns| private(ns, b"nonsense"), "NotAnObject"),
        (|ns| private(ns, b""), "NotAnObject"),
        (|ns| fs::create_dir(raw::registry(ns)).unwrap(), "NotRegularFile"),
    ];
    for (spoil, expected) in spoilers {
        let scratch = Scratch::unswept();
        spoil(&scratch);
        let mut actor = Actor::start(&scratch);
        let said = actor.fails("create lock l", expected);
        assert!(said.contains(scratch.name()) && said.contains(".registry"), "{said}");
        assert_eq!(scratch.objects(), [""; 0]);
        actor.finish();
        remove_all(&scratch);
    }
}

#[test]
fn bytes_that_change_under_an_open_lock_are_an_error_and_nothing_worse() {
    let scratch = Scratch::new();
    let (mut one, mut two) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("create lock l");
    two.does("open lock l");
    // An owner that no registry has.
    raw::poke(&scratch, "l", raw::BODY, &(raw::OWNED | 0xffff | 7 << 32).to_le_bytes());
    let said = one.fails("acquire l", "Corrupt");
    assert!(said.contains("\"l\""), "{said}");
    two.fails("try l", "Corrupt");
    two.fails("recover_timeout l 100", "Corrupt");
    raw::poke(&scratch, "l", raw::BODY, &[0; 8]);
    one.does("cycle l 2");
    one.does("unlink l");
}

fn set_len(ns: &Scratch, len: u64) {
    OpenOptions::new().write(true).open(raw::path(ns, "x")).unwrap().set_len(len).unwrap();
}

fn write_random(ns: &Scratch, len: usize) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let bytes: Vec<u8> = (0..len).map(|_| next()).collect();
    set_len(ns, 0);
    raw::poke(ns, "x", 0, &bytes);
}

fn replace(ns: &Scratch, make: impl FnOnce(&Path)) {
    fs::remove_file(raw::path(ns, "x")).unwrap();
    make(&raw::path(ns, "x"));
}

/// A registry of the right mode, with these bytes.
fn private(ns: &Scratch, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).create_new(true).open(raw::registry(ns)).unwrap();
    file.set_permissions(Permissions::from_mode(0o600)).unwrap();
    file.write_all_at(bytes, 0).unwrap();
}

/// The namespace's files but the registry: name, mode and size.
fn files(ns: &Scratch) -> Vec<(String, u32, u64)> {
    let names = ns.objects().into_iter();
    let describe = |name: String| {
        let meta = fs::symlink_metadata(raw::path(ns, &name)).unwrap();
        (name, meta.permissions().mode(), meta.len())
    };
    names.map(describe).collect()
}

fn remove_all(ns: &Scratch) {
    for name in shm_file::names(&ns.file_name("")).unwrap() {
        if name == ns.file_name(".registry") && ns.list().unwrap().iter().any(|one| one.attached) {
            continue;
        }
        let path = shm_file::path(&name);
        if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) }.unwrap();
    }
}
