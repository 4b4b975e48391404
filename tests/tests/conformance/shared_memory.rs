//! `_TestSharedMemory`.
//!
//! On purpose different from Python: nobody who only attached ever removes it, and its creator's death does
//! not either (there, the resource tracker removes it); what has no name goes with the last who is attached.
//! The size is what was asked for, and an opener that asks for another is told. Names are checked: no colons,
//! no newlines.

use crate::ground::{Ground, Opened, Sent, child, conforms, elsewhere, for_ever, kill};
use procession::{Lock, MemoryError, Namespace, OpenError, Queue, SharedMemory};
use procession_tests::Scratch;

conforms!(
    what_one_process_writes_another_reads_both_ways,
    it_is_all_zero_and_of_the_size_asked_for,
    processes_with_a_lock_lose_nothing,
    who_attaches_and_ends_removes_nothing,
    a_serialized_handle_is_the_same_memory_and_gone_after_unlink,
    it_outlives_a_creator_that_is_killed,
);

fn bytes(size: usize) -> procession::SharedMemoryOptions {
    SharedMemory::options().size(size)
}

// test_shared_memory_basics, test_shared_memory_across_processes
fn what_one_process_writes_another_reads_both_ways(ground: &Ground) {
    let memory = ground.make(bytes(512));
    memory.write_at(0, b"\x2a").unwrap();
    memory.write_at(500, b"the end").unwrap();
    let answer = |memory: Sent<SharedMemory>| {
        let read = memory.read(500..507).unwrap();
        memory.write_at(1, b"howdy").unwrap();
        (memory.read(0..1).unwrap(), read)
    };
    assert_eq!(elsewhere(answer, memory.send()), (vec![42], b"the end".to_vec()));
    assert_eq!(memory.read(0..7).unwrap(), b"\x2ahowdy\0");
}

// test_shared_memory_basics
fn it_is_all_zero_and_of_the_size_asked_for(ground: &Ground) {
    for size in [1, 7, 4096, 4097] {
        let memory = ground.make(bytes(size));
        let look = |memory: Sent<SharedMemory>| (memory.size(), memory.read(0..memory.size()).unwrap());
        assert_eq!(elsewhere(look, memory.send()), (size, vec![0; size]));
        let beyond = memory.write_at(size, b"x");
        assert!(matches!(beyond, Err(MemoryError::OutOfRange { size: has, .. }) if has == size));
        assert!(memory.read(0..size + 1).is_err());
    }
}

// test_shared_memory_across_processes, with a lock
fn processes_with_a_lock_lose_nothing(ground: &Ground) {
    let (memory, lock) = (ground.make(bytes(8)), ground.make(Lock::options()));
    let add = |(memory, lock): (Sent<SharedMemory>, Sent<Lock>)| {
        for _ in 0..500 {
            let _guard = lock.acquire().unwrap();
            let mut count = [0; 8];
            memory.read_at(0, &mut count).unwrap();
            memory.write_at(0, &(u64::from_le_bytes(count) + 1).to_le_bytes()).unwrap();
        }
    };
    let children: Vec<_> = (0..4).map(|_| child(add, (memory.send(), lock.send()))).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    assert_eq!(memory.read(0..8).unwrap(), 2000_u64.to_le_bytes());
}

// test_shared_memory_untracking: there it is so only with track=False.
fn who_attaches_and_ends_removes_nothing(ground: &Ground) {
    let memory = ground.make(bytes(8));
    memory.write_at(0, b"still").unwrap();
    for _ in 0..2 {
        let read = |memory: Sent<SharedMemory>| memory.read(0..5).unwrap();
        assert_eq!(elsewhere(read, memory.send()), b"still");
    }
    let die = |memory: Sent<SharedMemory>| {
        memory.write_at(0, b"STILL").unwrap();
        std::process::abort();
    };
    let other: procession::Process<()> = child(die, memory.send());
    other.wait().unwrap();
    assert!(!memory.is_orphaned());
    assert_eq!(elsewhere(|memory: Sent<SharedMemory>| memory.read(0..5).unwrap(), memory.send()), b"STILL");
}

// test_shared_memory_pickle_unpickle, test_shared_memory_pickle_unpickle_dead_object
fn a_serialized_handle_is_the_same_memory_and_gone_after_unlink(ground: &Ground) {
    let memory = ground.make(bytes(8));
    memory.write_at(0, b"now").unwrap();
    let handle = serde_json::to_string(&*memory).unwrap();
    let read = |handle: String| match serde_json::from_str::<SharedMemory>(&handle) {
        Ok(memory) => Ok(memory.read(0..3).unwrap()),
        Err(error) => Err(error.to_string()),
    };
    assert_eq!(read(handle.clone()), Ok(b"now".to_vec()));
    assert_eq!(elsewhere(read, handle.clone()), Ok(b"now".to_vec()));
    memory.unlink().unwrap();
    for error in [read(handle.clone()).unwrap_err(), elsewhere(read, handle).unwrap_err()] {
        assert!(error.contains("shared memory") && error.contains("gone"), "{error}");
    }
    // Who has it goes on with it; but there is no name any more to be removed.
    assert_eq!(memory.read(0..3).unwrap(), b"now");
    assert!(matches!(memory.unlink(), Err(OpenError::NotFound { .. })));
}

// test_shared_memory_cleaned_after_process_termination: the opposite, for what has a name.
fn it_outlives_a_creator_that_is_killed(ground: &Ground) {
    type Creation = (String, bool, Queue<SharedMemory>);
    let made: Queue<SharedMemory> = Queue::options().namespace(ground.namespace()).anonymous().unwrap();
    let create = |(namespace, named, made): Creation| {
        let options = bytes(8).namespace(&Namespace::new(&namespace).unwrap());
        let memory = if named { options.create("left") } else { options.anonymous() }.unwrap();
        memory.write_at(0, b"left").unwrap();
        made.put(&memory).unwrap();
        for_ever();
    };
    let arguments = (ground.namespace().name().to_owned(), ground.is_named(), made.clone());
    let creator: procession::Process<()> = child(create, arguments);
    let memory = made.get().unwrap();
    kill(&creator);
    assert_eq!(memory.read(0..4).unwrap(), b"left");
    if ground.is_named() {
        drop(memory);
        let again = SharedMemory::open_in(ground.namespace(), "left").unwrap();
        assert_eq!(again.read(0..4).unwrap(), b"left");
        again.unlink().unwrap();
    }
    // What has no name goes with this last handle: the ground looks that nothing is left.
}

// What only names can have

// test_invalid_shared_memory_creation. A negative size does not compile.
#[test]
fn a_size_of_nothing_is_refused() {
    let scratch = Scratch::new();
    for options in [SharedMemory::options(), bytes(0)] {
        let refused = options.namespace(&scratch).create("m");
        assert!(matches!(refused, Err(OpenError::Impossible { object, .. }) if object.name() == "m"));
    }
}

// test_shared_memory_basics, test_shared_memory_recreate
#[test]
fn a_name_is_taken_until_it_is_unlinked_and_then_not_found() {
    let scratch = Scratch::new();
    let options = bytes(8).namespace(&scratch);
    assert!(matches!(SharedMemory::open_in(&scratch, "m"), Err(OpenError::NotFound { .. })));
    let first = options.create("m").unwrap();
    assert!(matches!(options.create("m"), Err(OpenError::AlreadyExists { .. })));
    first.unlink().unwrap();
    assert!(matches!(SharedMemory::open_in(&scratch, "m"), Err(OpenError::NotFound { .. })));
    assert!(matches!(first.unlink(), Err(OpenError::NotFound { .. })));
    // The name may be used again, and means another memory.
    let second = options.create("m").unwrap();
    first.write_at(0, b"1").unwrap();
    assert_eq!(second.read(0..1).unwrap(), [0]);
    // A handle of the first does not remove it; in Python it does.
    assert!(matches!(first.unlink(), Err(OpenError::NotFound { .. })));
    // An opener need not say how large it is; in Python what it says is ignored.
    assert_eq!(SharedMemory::open_in(&scratch, "m").unwrap().size(), 8);
    let other = bytes(16).namespace(&scratch).open("m");
    assert!(matches!(other, Err(OpenError::Parameter { parameter: "size", found: 8, asked: 16, .. })));
    second.unlink().unwrap();
}

// test_shared_memory_name_with_embedded_null. Python takes colons and newlines.
#[test]
fn names_are_checked() {
    let scratch = Scratch::new();
    for name in ["a\0b", "", "a/b", "a:b", "a\nb", ".hidden"] {
        for refused in [bytes(8).namespace(&scratch).create(name), SharedMemory::open_in(&scratch, name)] {
            assert!(matches!(refused, Err(OpenError::InvalidName(said)) if said.name == name));
        }
    }
}
