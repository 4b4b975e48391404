//! What errors of creating, opening and removing say.

use procession::shm::Kind;
use procession::{
    Barrier, Event, InvalidName, Label, Latch, Lock, Namespace, OpenError, Semaphore, SharedMemory, Value,
};
use procession_tests::isolate;
use std::error::Error;
use std::io::{self, ErrorKind};

/// Stands in the tables as `IT`.
fn object() -> Label {
    Label::new(Kind::QUEUE, "jobs", &Namespace::new("billing").unwrap())
}

fn told(error: &(dyn Error + 'static)) -> String {
    crate::told(error).replace(&object().to_string(), "IT")
}

#[test]
fn names_that_are_free_or_taken() {
    isolate();
    says!(
        OpenError::NotFound { .. },
        Lock::open("there-is-none"),
        "lock \"there-is-none\" does not exist: create it first, or use open_or_create"
    );
    let event = Event::create("ready").unwrap();
    says!(
        OpenError::AlreadyExists { .. },
        Event::create("ready"),
        "event \"ready\" exists already: open it, or use open_or_create"
    );
    says!(
        OpenError::Kind { .. },
        Lock::open("ready"),
        "object \"ready\" is an event, not a lock: open it as what it is, or take another name"
    );
    event.unlink().unwrap();
    says!(
        InvalidName { .. },
        Namespace::new("a/b"),
        "\"a/b\" is no valid name: a namespace is made of A-Z, a-z, 0-9, '_' and '-'"
    );
    says!(
        OpenError::InvalidName(_),
        Lock::create(".lock"),
        "\".lock\" is no valid name: names that begin with a dot are those of the library's own files"
    );
}

#[test]
fn parameters_that_differ() {
    isolate();
    let latch = Latch::create("both", 2).unwrap();
    says!(
        OpenError::Parameter { .. },
        Latch::open_or_create("both", 3),
        "latch \"both\" was created with count 2, not 3: ask for the same, or open it without saying any"
    );
    assert_eq!(Latch::open("both").unwrap().count(), 2);
    latch.unlink().unwrap();
    let value = Value::create("v", 1_u32).unwrap();
    says!(
        OpenError::ElementType { .. },
        Value::<i32>::open("v"),
        "value \"v\" holds elements of type u32, not i32: create and open it with the same .type_tag(\"…\") if \
         the two programs mean one type"
    );
    value.unlink().unwrap();
    let (json, msgpack) = (0x6a73_6f6e, 0x6d73_6770);
    says!(
        OpenError::Codec { object: object(), found: json, asked: msgpack },
        "IT carries its messages in codec Json, and was opened with codec MsgPack"
    );
    says!(
        OpenError::UnknownCodec { object: object(), codec: json },
        "IT carries its messages in codec Json, which this program was built \
         without (cargo features json, msgpack)"
    );
}

#[test]
fn options_that_cannot_be() {
    isolate();
    says!(
        OpenError::Impossible { .. },
        Barrier::new(0),
        "an unnamed barrier cannot be made: a barrier has at least one party"
    );
    let elastic = Barrier::options().parties(40_000).anonymous();
    assert_eq!(
        told(&elastic.unwrap_err()),
        "an unnamed barrier cannot be made: a barrier has at most 32768 parties"
    );
    let full = Semaphore::options().permits(3).max(2).anonymous();
    assert_eq!(
        told(&full.unwrap_err()),
        "an unnamed semaphore cannot be made: it cannot begin with more permits than .max() allows"
    );
    assert_eq!(
        told(&SharedMemory::options().anonymous().unwrap_err()),
        "unnamed shared memory cannot be made: nobody said how many bytes it has: call .size()"
    );
}

#[test]
fn files_that_are_not_taken_for_the_object() {
    let path = || "/dev/shm/jobs".to_owned();
    let nobody = 4_000_000_000;
    says!(
        OpenError::WrongOwner { object: object(), path: path(), owner: nobody, ours: 1000 },
        "IT belongs to uid 4000000000 (a user without a name), not to uid 1000: have that user or root remove \
         /dev/shm/jobs, or use another namespace"
    );
    says!(
        OpenError::OtherUser { object: object(), owner: 0, ours: 1000 },
        "IT is in the namespace of uid 0, and this process runs as uid 1000: make objects after the user was changed; in a \
         forked process, use them once before"
    );
    says!(
        OpenError::Elsewhere { object: object() },
        "IT lies in another /dev/shm than the one that this process sees now: make objects after the root or the mounts \
         were changed; in a forked process, use them once before"
    );
    says!(
        OpenError::WrongMode { object: object(), path: path(), found: 0o666, asked: 0o600 },
        "IT has mode 666, which lets others in than 600 does: find out who changed it, then `chmod 600 /dev/shm/jobs`, or \
         remove it"
    );
    says!(
        OpenError::Linked { object: object(), path: path(), links: 2 },
        "IT has 2 names, /dev/shm/jobs and others: remove all but one (`find /dev/shm -samefile /dev/shm/jobs` shows them)"
    );
    says!(
        OpenError::NotRegularFile { object: object(), path: path(), what: "a directory" },
        "IT is not a regular file: /dev/shm/jobs is a directory; if it serves nobody, remove it"
    );
    says!(
        OpenError::NotAnObject { object: object(), path: path() },
        "IT is not a procession object: /dev/shm/jobs does not begin with the magic bytes; if it serves nobody, remove it"
    );
    says!(
        OpenError::Truncated { object: object(), expected: 8192, found: 100 },
        "IT is truncated: it has 100 bytes, and its header says 8192. When nobody uses it any more, remove it (`procession rm`)"
    );
    says!(
        OpenError::Version { object: object(), found: 9, ours: 7 },
        "IT has format version 9, and this program understands version 7: build all programs with the same version of \
         procession, or use another namespace for each"
    );
    says!(
        OpenError::Layout { object: object(), found: 1, ours: 2 },
        "IT has layout 00000001, and this program uses 00000002: build all programs with the same version of procession, or \
         use another namespace for each"
    );
    says!(
        OpenError::Corrupt { object: object(), what: "the header's checksum is wrong" },
        "IT is corrupt: the header's checksum is wrong. When nobody uses it any more, remove it (`procession rm`)"
    );
    says!(OpenError::Gone { object: object() }, "IT is gone: it was removed after this handle was made");
}

#[test]
fn what_the_machine_refuses() {
    let namespace = || "billing".to_owned();
    says!(
        OpenError::RegistryChanged { object: object(), namespace: namespace() },
        "the registry of namespace \"billing\" was removed or replaced while IT is in use; end the processes that use it, \
         then run `procession gc`"
    );
    says!(
        OpenError::RegistryFull { namespace: namespace(), slots: 4 },
        "the registry of namespace \"billing\" is full: 4 live processes are in it, and it holds no more; use another namespace \
         for some of them, or end all, run `procession gc`, and start with PROCESSION_SLOTS=16 in the environment"
    );
    says!(
        OpenError::LifelineUnsupported { namespace: namespace() },
        "/dev/shm is not a tmpfs that keeps locks of mappings (namespace \"billing\"): mount a tmpfs there"
    );
    says!(
        OpenError::NoSpace { object: object(), bytes: 4096 },
        "/dev/shm has no space for 4096 bytes of IT: remove something (`procession gc`, `df /dev/shm`), or mount it with \
         a larger size"
    );
    says!(
        OpenError::NoInodes { object: object() },
        "/dev/shm has no room for one more file, which IT needs: remove some (`df -i /dev/shm` counts them), or mount it with \
         a larger nr_inodes"
    );
    says!(
        OpenError::Os {
            operation: "map",
            object: object(),
            source: io::Error::from(ErrorKind::InvalidInput)
        },
        "failed to map IT: invalid input parameter"
    );
}

#[test]
fn what_to_do_about_limits_and_missing_mounts() {
    let refused = |operation, code| {
        let source = io::Error::from_raw_os_error(code);
        let text = told(&OpenError::Os { operation, object: object(), source });
        text.split(": ").nth(1).unwrap().to_owned()
    };
    let remedies = [
        (
            "create",
            libc::ENOENT,
            "there is no directory /dev/shm; mount it (`mount -t tmpfs -o mode=1777 tmpfs /dev/shm`)",
        ),
        (
            "create",
            libc::EACCES,
            "this user may not make files in /dev/shm; give it its usual mode (`chmod 1777 /dev/shm`)",
        ),
        (
            "publish",
            libc::EROFS,
            "/dev/shm is mounted read-only; let it be written (`mount -o remount,rw /dev/shm`)",
        ),
        (
            "publish",
            libc::ENOENT,
            "/proc is not mounted, which gives a file in /dev/shm its name before Linux 6.10; mount it (`mount -t proc proc \
             /proc`)",
        ),
        (
            "map",
            libc::EAGAIN,
            "this process locks all its memory, and may not lock more; raise the limit (`ulimit -l`)",
        ),
        (
            "open",
            libc::EMFILE,
            "this process has as many files open as it may; raise the limit (`ulimit -n`)",
        ),
        ("open", libc::ENFILE, "the system has as many files open as it may; raise the limit (fs.file-max)"),
        (
            "reserve",
            libc::EFBIG,
            "it is longer than files of this process may be; raise the limit (`ulimit -f`), or make it smaller",
        ),
        (
            "map",
            libc::ENOMEM,
            "this process may not have more memory; raise the limit of its address space (`ulimit -v`) or of the number of its \
             mappings (vm.max_map_count)",
        ),
        ("lock", libc::ENOLCK, "the kernel has no memory for one more file lock; free some"),
    ];
    for (operation, code, remedy) in remedies {
        assert_eq!(refused(operation, code), remedy);
    }
}
