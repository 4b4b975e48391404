//! Numbers that are too small or too large, and objects that are not what the opener thinks: each is an error
//! of its own, which names the object, and nothing is made, changed, or waited for.
//!
//! (Guards that were inherited by a fork are in `traps/forked.rs`; random bytes in an object in
//! `bad_files.rs`.)

use crate::ground::{Ground, Opened, Options, SHORT};
use procession::{
    Array, ArrayError, Barrier, BarrierError, BoundedSemaphore, BreakCause, Condition, Event, EventError,
    GetError, JoinableQueue, Latch, LatchError, Lock, LockError, MemberDeath, MemoryError, Namespace,
    OnOwnerDeath, Once, OpenError, Pipe, PutError, Queue, RLock, RawArray, RawValue, RecvError, ReleaseError,
    RwLock, Semaphore, SemaphoreError, SendError, SharedMemory, Value,
};
use procession_tests::Scratch;
use std::time::Duration;

/// What is impossible about an object that cannot be made, with a name or without.
fn impossible<O: Options>(options: O) -> &'static str {
    let scratch = Scratch::new();
    let options = options.put_into(&scratch);
    let said = match options.create_named("x") {
        Err(OpenError::Impossible { object, what }) if object.name() == "x" => what,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was made"),
    };
    assert!(matches!(options.create_anonymous(), Err(OpenError::Impossible { what, .. }) if what == said));
    assert_eq!(scratch.objects(), Vec::<String>::new());
    said
}

#[test]
fn parties_are_between_one_and_32768() {
    // Python does not look: a barrier of no parties there breaks everybody's neck at the first wait.
    assert_eq!(impossible(Barrier::options().parties(0)), "a barrier has at least one party");
    for parties in [32_769, u32::MAX] {
        assert_eq!(
            impossible(Barrier::options().parties(parties as usize)),
            "a barrier has at most 32768 parties"
        );
    }
    assert_eq!(impossible(Barrier::options().elastic().parties(0)), "a barrier has at least one party");
    let removing = Barrier::options().parties(2).on_member_death(MemberDeath::Remove);
    assert!(impossible(removing).contains("elastic"));
    let ground = Ground::anonymous();
    let most = ground.make(Barrier::options().parties(32_768));
    assert!(matches!(most.wait_timeout(Duration::ZERO), Err(BarrierError::TimedOut { .. })));
}

#[test]
fn permits_are_at_most_65536_and_no_more_than_their_maximum() {
    assert_eq!(
        impossible(Semaphore::options().permits(5).max(4)),
        "it cannot begin with more permits than .max() allows"
    );
    assert!(impossible(Semaphore::options().permits(0).max(0)).contains("at least one permit"));
    // Python makes one of no permits, which nobody can ever acquire.
    assert!(impossible(BoundedSemaphore::options().permits(0)).contains("at least one permit"));
    for permits in [65_537, u32::MAX] {
        assert!(impossible(Semaphore::options().permits(permits as usize)).contains("65536"));
        assert!(impossible(Semaphore::options().max(permits as usize)).contains("65536"));
        assert!(impossible(BoundedSemaphore::options().permits(permits as usize)).contains("65536"));
    }
    let ground = Ground::anonymous();
    let most = ground.make(Semaphore::options().permits(65_536));
    assert_eq!(most.acquire_many(65_536).unwrap().count(), 65_536);
    assert!(matches!(most.release(1), Err(ReleaseError::Full { max: 65_536, .. })));
}

#[test]
fn permits_asked_for_or_released_beyond_all_are_refused_at_once() {
    let ground = Ground::anonymous();
    let semaphore = ground.make(Semaphore::options().permits(3).max(4));
    for count in [5, u32::MAX] {
        for asked in [
            semaphore.acquire_many(count as usize),
            semaphore.try_acquire_many(count as usize),
            semaphore.acquire_many_timeout(count as usize, Duration::MAX),
        ] {
            assert!(
                matches!(asked, Err(SemaphoreError::TooMany { asked, max: 4, .. }) if asked == count as usize)
            );
        }
        assert!(matches!(semaphore.release(count as usize), Err(ReleaseError::Full { max: 4, .. })));
    }
    assert_eq!(semaphore.acquire_many(0).unwrap().count(), 0);
    semaphore.release(0).unwrap();
    assert_eq!(semaphore.available(), 3);
}

#[test]
fn lengths_are_more_than_none_and_less_than_any_memory() {
    assert!(impossible(Array::<u8>::options()).contains("call .len()"));
    assert!(impossible(Array::<u8>::options().len(0)).contains("at least one element"));
    assert!(impossible(Array::<u64>::options().len(usize::MAX)).contains("no memory is so large"));
    assert!(impossible(RawArray::<u8>::options().len(0)).contains("at least one element"));
    assert!(impossible(RawArray::<[u64; 9]>::options().len(usize::MAX)).contains("no memory is so large"));
    assert!(impossible(SharedMemory::options().size(0)).contains("at least one byte"));
    assert!(impossible(SharedMemory::options().size(usize::MAX)).contains("no memory is so large"));
}

#[test]
fn a_queue_of_no_capacity_has_no_limit_but_its_bytes() {
    let scratch = Scratch::new();
    for capacity in [0, u32::MAX as usize, usize::MAX] {
        let options = Queue::<Vec<u8>>::options().namespace(&scratch).capacity(capacity).bytes(0);
        let queue = options.anonymous().unwrap();
        // The bytes are the fewest there can be; what is larger lies elsewhere.
        queue.try_put(&vec![0; 1000]).unwrap();
        assert!(matches!(queue.try_put(&vec![0; 50]), Err(PutError::WouldBlock(_))));
        assert_eq!(queue.try_get().unwrap(), [0; 1000]);
        queue.put_timeout(&vec![1], Duration::MAX).unwrap();
        assert_eq!(queue.get_timeout(Duration::MAX).unwrap(), [1]);
        assert!(matches!(queue.get_timeout(Duration::ZERO), Err(GetError::TimedOut(_))));
    }
}

#[test]
fn a_joinable_queue_has_at_most_4095_attempts_and_no_limits_of_zero() {
    let jobs = JoinableQueue::<Vec<u8>>::options;
    for attempts in [4096, u32::MAX] {
        assert_eq!(
            impossible(jobs().max_attempts(attempts)),
            "an item can be tried 4095 times at most (.max_attempts())"
        );
    }
    let ground = Ground::anonymous();
    let unlimited = jobs().capacity(0).max_attempts(0).lease_timeout(Duration::ZERO).bytes(0);
    let queue = ground.make(unlimited);
    assert!(matches!(queue.try_put(&vec![0; 1000]), Err(PutError::TooLarge { most: 256, .. })));
    queue.put_timeout(&vec![1], Duration::MAX).unwrap();
    for attempt in 1..=3 {
        assert_eq!(queue.get_timeout(Duration::MAX).unwrap().attempt(), attempt);
    }
    let lease = queue.get().unwrap();
    std::thread::sleep(SHORT);
    assert!(matches!(queue.get_timeout(Duration::ZERO), Err(GetError::TimedOut(_))));
    lease.task_done().unwrap();
    ground.make(jobs().max_attempts(4095).capacity(usize::MAX).lease_timeout(Duration::MAX));
}

#[test]
fn a_pipe_of_no_capacity_holds_a_little_and_sends_everything() {
    let scratch = Scratch::new();
    let (sender, receiver) = Pipe::options().namespace(&scratch).bytes(0).pipe::<Vec<u8>>().unwrap();
    assert!(matches!(sender.try_send(&vec![0; 57]), Err(SendError::TooLarge { most: 56, .. })));
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send_timeout(&vec![7; 1000], Duration::MAX).unwrap());
        assert_eq!(receiver.recv_timeout(Duration::MAX).unwrap(), [7; 1000]);
    });
    assert!(matches!(receiver.recv_timeout(Duration::ZERO), Err(RecvError::TimedOut)));
    assert!(matches!(receiver.try_poll(), Err(RecvError::WouldBlock)));
}

#[test]
fn what_does_not_fit_into_dev_shm_is_an_error_when_it_is_made() {
    let scratch = Scratch::new();
    // More than any machine that runs this has, and less than an address space.
    let made = SharedMemory::options().namespace(&scratch).size(1 << 46).create("m");
    assert!(
        matches!(&made, Err(OpenError::NoSpace { object, bytes }) if object.name() == "m" && *bytes > 1 << 46),
        "{made:?}"
    );
    assert_eq!(scratch.objects(), Vec::<String>::new());
}

#[test]
fn ranges_beyond_the_end_or_backwards_are_refused() {
    let ground = Ground::anonymous();
    let array = ground.make(Array::<u32>::options().len(4));
    let raw = ground.make(RawArray::<u32>::options().len(4));
    let memory = ground.make(SharedMemory::options().size(4));
    for (start, end) in [(0, 5), (5, 5), (3, 2), (usize::MAX, usize::MAX), (0, usize::MAX), (usize::MAX, 0)] {
        let outside = |error: ArrayError| {
            assert!(
                matches!(error, ArrayError::OutOfRange { start: s, end: e, len: 4, .. } if (s, e) == (start, end))
            );
        };
        outside(array.read(start..end).unwrap_err());
        outside(array.update(start..end, |_| panic!("called")).unwrap_err());
        outside(array.try_update(start..end, |_| panic!("called")).unwrap_err());
        outside(raw.read(start..end).unwrap_err());
        let read = memory.read(start..end);
        assert!(
            matches!(read, Err(MemoryError::OutOfRange { start: s, end: e, size: 4, .. }) if (s, e) == (start, end))
        );
    }
    for index in [4, usize::MAX] {
        let is_outside =
            |error: ArrayError| matches!(error, ArrayError::OutOfRange { start, .. } if start == index);
        assert!(is_outside(array.get(index).unwrap_err()) && is_outside(array.set(index, 1).unwrap_err()));
        assert!(is_outside(array.fetch_add(index, 1).unwrap_err()));
        assert!(is_outside(array.write(index, &[1]).unwrap_err()));
        assert!(is_outside(array.read_into(index, &mut [1]).unwrap_err()));
        assert!(is_outside(raw.get(index).unwrap_err()) && is_outside(raw.set(index, 1).unwrap_err()));
        assert!(is_outside(raw.write(index, &[1]).unwrap_err()));
        assert!(memory.write_at(index, &[1]).is_err() && memory.read_at(index, &mut [1]).is_err());
    }
    assert_eq!(array.read(0..4).unwrap(), [0; 4]);
}

#[test]
fn a_timeout_of_nothing_does_not_wait() {
    let ground = Ground::anonymous();
    let now = Duration::ZERO;
    let (lock, rlock) = (ground.make(Lock::options()), ground.make(RLock::options()));
    let rwlock = RwLock::options().namespace(ground.namespace()).anonymous().unwrap();
    // What is free is had all the same.
    let guards = (lock.acquire_timeout(now).unwrap(), rlock.acquire_timeout(now).unwrap());
    let writing = rwlock.write_timeout(now).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(matches!(lock.acquire_timeout(now), Err(LockError::TimedOut { .. })));
            assert!(matches!(rlock.acquire_timeout(now), Err(LockError::TimedOut { .. })));
            assert!(matches!(rwlock.read_timeout(now), Err(LockError::TimedOut { .. })));
            assert!(matches!(rwlock.write_timeout(now), Err(LockError::TimedOut { .. })));
        });
    });
    drop((guards, writing));
    let semaphore = ground.make(Semaphore::options().permits(1));
    let permit = semaphore.acquire_timeout(now).unwrap();
    assert!(matches!(semaphore.acquire_timeout(now), Err(SemaphoreError::TimedOut { .. })));
    assert!(matches!(semaphore.acquire_many_timeout(2, now), Err(SemaphoreError::TimedOut { .. })));
    drop(permit);
    let condition = ground.make(Condition::options());
    assert!(condition.wait_timeout(lock.acquire().unwrap(), now).unwrap().1.timed_out());
    assert!(condition.wait_for_timeout(lock.acquire().unwrap(), now, |_| false).unwrap().1.timed_out());
    assert!(!condition.wait_for_timeout(lock.acquire().unwrap(), now, |_| true).unwrap().1.timed_out());
    let event = ground.make(Event::options());
    assert!(matches!(event.wait_timeout(now), Err(EventError::TimedOut { .. })));
    let latch = ground.make(Latch::options().count(u32::MAX as usize));
    assert!(
        matches!(latch.wait_timeout(now), Err(LatchError::TimedOut { arrived: 0, count, .. }) if count == u32::MAX as usize)
    );
    assert!(ground.make(Latch::options().count(0)).wait_timeout(now).is_ok());
    assert!(ground.make(Once::options()).run_timeout(|_| (), now).unwrap());
    let value = ground.make(Value::<u32>::options());
    value.set_timeout(1, now).unwrap();
    value.update_timeout(|value| *value += 1, now).unwrap();
    assert_eq!(*value.acquire_timeout(now).unwrap(), 2);
    ground.make(Array::<u8>::options().len(1)).update_timeout(0..1, |_| (), now).unwrap();
    // The last to arrive does not wait, so it cannot be too late.
    assert_eq!(ground.make(Barrier::options().parties(1).timeout(now)).wait().unwrap(), 0);
    let barrier = ground.make(Barrier::options().parties(2).timeout(now));
    assert!(matches!(barrier.wait(), Err(BarrierError::TimedOut { .. })));
    assert_eq!(barrier.broken(), Some(BreakCause::TimedOut));
}

/// That it waits for ever until it is released is shown by each primitive's own case, which waits for
/// `Duration::MAX`.
#[test]
fn an_enormous_timeout_is_none() {
    let ground = Ground::anonymous();
    for long in [Duration::MAX, Duration::from_nanos(u64::MAX), Duration::from_secs(u64::MAX / 2)] {
        let lock = ground.make(Lock::options());
        drop(lock.acquire_timeout(long).unwrap());
        drop(ground.make(RLock::options()).acquire_timeout(long).unwrap());
        drop(ground.make(Semaphore::options()).acquire_timeout(long).unwrap());
        let event = ground.make(Event::options());
        event.set();
        event.wait_timeout(long).unwrap();
        let condition = ground.make(Condition::options());
        assert!(!condition.wait_for_timeout(lock.acquire().unwrap(), long, |_| true).unwrap().1.timed_out());
        let barrier = ground.make(Barrier::options().parties(2).timeout(long));
        std::thread::scope(|scope| {
            let other = scope.spawn(|| barrier.wait());
            assert!(barrier.wait_timeout(long).unwrap() + other.join().unwrap().unwrap() == 1);
        });
    }
}

/// Opens `name` as another kind of object.
type OpenAs = fn(&Namespace, &str) -> Result<(), OpenError>;

fn open<O: Opened>(namespace: &Namespace, name: &str) -> Result<(), OpenError> {
    O::open_in(namespace, name).map(drop)
}

#[test]
fn no_kind_of_object_is_opened_as_another() {
    let ground = Ground::named();
    let namespace = ground.namespace();
    let queue: Queue<u8> = Queue::options().namespace(namespace).create("queue").unwrap();
    let rwlock = RwLock::options().namespace(namespace).create("rwlock").unwrap();
    let kinds: [(&str, OpenAs); 15] = [
        ("lock", open::<Lock>),
        ("rlock", open::<RLock>),
        ("rwlock", |namespace, name| RwLock::options().namespace(namespace).open(name).map(drop)),
        ("semaphore", open::<Semaphore>),
        ("bounded", open::<BoundedSemaphore>),
        ("condition", open::<Condition>),
        ("event", open::<Event>),
        ("barrier", open::<Barrier>),
        ("latch", open::<Latch>),
        ("once", open::<Once>),
        ("value", open::<Value<u8>>),
        ("array", open::<Array<u8>>),
        ("memory", open::<SharedMemory>),
        ("queue", open::<Queue<u8>>),
        ("jobs", open::<JoinableQueue<u8>>),
    ];
    let create = |options: &dyn Fn(&str) -> Result<(), OpenError>, name| options(name).unwrap();
    fn make<O: Options>(ground: &Ground, options: O) -> impl Fn(&str) -> Result<(), OpenError> {
        let options = options.put_into(ground.namespace());
        move |name| options.create_named(name).map(drop)
    }
    create(&make(&ground, Lock::options()), "lock");
    create(&make(&ground, RLock::options()), "rlock");
    create(&make(&ground, Semaphore::options()), "semaphore");
    create(&make(&ground, BoundedSemaphore::options()), "bounded");
    create(&make(&ground, Condition::options()), "condition");
    create(&make(&ground, Event::options()), "event");
    create(&make(&ground, Barrier::options()), "barrier");
    create(&make(&ground, Latch::options()), "latch");
    create(&make(&ground, Once::options()), "once");
    create(&make(&ground, Value::<u8>::options()), "value");
    create(&make(&ground, Array::<u8>::options().len(1)), "array");
    create(&make(&ground, SharedMemory::options().size(1)), "memory");
    create(&make(&ground, JoinableQueue::<u8>::options()), "jobs");
    for (name, as_itself) in kinds {
        as_itself(namespace, name).unwrap();
        for (other, as_other) in kinds.into_iter().filter(|(other, _)| *other != name) {
            let error = as_other(namespace, name).unwrap_err();
            assert!(matches!(error, OpenError::Kind { .. }), "{name} as {other}: {error:?}");
            let said = error.to_string();
            assert!(said.contains(&format!("\"{name}\" in a private namespace")), "{said}");
        }
    }
    for (name, _) in kinds {
        namespace.unlink(name).unwrap();
    }
    drop((queue, rwlock));
}

/// The parameter that an opener is told it has wrong: what it is, and what it was asked to be.
fn disagreement<T>(opened: Result<T, OpenError>) -> (&'static str, u64, u64) {
    match opened {
        Err(ref error @ OpenError::Parameter { ref object, parameter, found, asked }) => {
            assert!(object.name() == "x" && error.to_string().contains(&object.to_string()));
            (parameter, found, asked)
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was opened"),
    }
}

/// Makes `$made` under the name x, and opens it as `$asked`.
macro_rules! opens_as {
    ($made:expr, $asked:expr) => {{
        let scratch = Scratch::new();
        let made = $made.namespace(&scratch).create("x").unwrap();
        let opened = $asked.namespace(&scratch).open("x").map(drop);
        made.unlink().unwrap();
        opened
    }};
}

#[test]
fn what_was_made_with_other_parameters_is_not_opened() {
    let disagrees = disagreement::<()>;
    let semaphore = || Semaphore::options().permits(2).max(4);
    assert_eq!(disagrees(opens_as!(semaphore(), Semaphore::options().permits(3))), ("permits", 2, 3));
    assert_eq!(disagrees(opens_as!(semaphore(), Semaphore::options().permits(2).max(5))), ("max", 4, 5));
    let bounded = |permits| BoundedSemaphore::options().permits(permits);
    assert_eq!(disagrees(opens_as!(bounded(2), bounded(3))), ("permits", 2, 3));
    let barrier = || Barrier::options().parties(2).timeout(SHORT);
    assert_eq!(disagrees(opens_as!(barrier(), Barrier::options().parties(3))), ("parties", 2, 3));
    let forever = Barrier::options().timeout(Duration::MAX);
    assert_eq!(disagrees(opens_as!(barrier(), forever)), ("timeout_ns", 20_000_000, u64::MAX));
    assert_eq!(disagrees(opens_as!(barrier(), barrier().elastic())), ("elastic", 0, 1));
    let latch = |count| Latch::options().count(count);
    assert_eq!(disagrees(opens_as!(latch(1), latch(0))), ("count", 1, 0));
    let array = |len| Array::<u32>::options().len(len);
    assert_eq!(disagrees(opens_as!(array(4), array(5))), ("len", 4, 5));
    let memory = |size| SharedMemory::options().size(size);
    assert_eq!(disagrees(opens_as!(memory(4), memory(5))), ("size", 4, 5));
    let ignoring = Lock::options().on_owner_death(OnOwnerDeath::Ignore);
    let (policy, found, asked) = disagrees(opens_as!(Lock::options(), ignoring));
    assert!(policy.contains("owner_death") && found != asked, "{policy} {found} {asked}");
    let detecting = RLock::options().detect_deadlock(true);
    assert_eq!(disagrees(opens_as!(RLock::options(), detecting)), ("detect_deadlock", 0, 1));
    let queue = |capacity| Queue::<u8>::options().capacity(capacity);
    assert_eq!(disagrees(opens_as!(queue(4), queue(5))), ("capacity", 4, 5));
    let large = |bytes| Queue::<u8>::options().bytes(bytes);
    assert_eq!(disagrees(opens_as!(large(64), large(65))), ("bytes", 64, 128));
    let jobs = JoinableQueue::<u8>::options;
    assert_eq!(disagrees(opens_as!(jobs().capacity(4), jobs().capacity(5))), ("capacity", 4, 5));
    assert_eq!(disagrees(opens_as!(jobs().bytes(256), jobs().bytes(257))), ("bytes", 256, 512));
    assert_eq!(disagrees(opens_as!(jobs(), jobs().max_attempts(3))), ("max_attempts", 5, 3));
    assert_eq!(disagrees(opens_as!(jobs(), jobs().lease_timeout(SHORT))), ("lease_timeout", 0, 20_000_000));
    // What an opener does not say, it does not ask for.
    opens_as!(semaphore(), Semaphore::options()).unwrap();
    opens_as!(barrier(), Barrier::options()).unwrap();
    opens_as!(array(4), Array::<u32>::options()).unwrap();
}

#[test]
fn what_holds_another_type_is_not_opened() {
    let is_other = |opened: Result<(), OpenError>, found: &str, asked: &str| match opened {
        Err(OpenError::ElementType { object, found: has, asked: wants }) => {
            assert!(object.to_string().contains("\"x\" in a private namespace"), "{object}");
            assert!(has.contains(found) && wants.contains(asked), "{has} {wants}");
        }
        other => panic!("{other:?}"),
    };
    // Of one size, and of another.
    is_other(opens_as!(Value::<u32>::options(), Value::<i32>::options()), "u32", "i32");
    is_other(opens_as!(Value::<u32>::options(), Value::<f32>::options()), "u32", "f32");
    is_other(opens_as!(RawValue::<u8>::options(), RawValue::<i8>::options()), "u8", "i8");
    is_other(opens_as!(Array::<u64>::options().len(1), Array::<f64>::options()), "u64", "f64");
    is_other(opens_as!(Queue::<u64>::options(), Queue::<String>::options()), "u64", "str");
    let jobs = JoinableQueue::<u64>::options;
    is_other(opens_as!(jobs(), JoinableQueue::<String>::options()), "u64", "str");
    is_other(opens_as!(jobs().type_tag("job.v1"), jobs().type_tag("job.v2")), "job.v1", "job.v2");
    is_other(opens_as!(jobs().type_tag("job.v1"), jobs()), "job.v1", "u64");
    let tagged = |tag| Value::<u32>::options().type_tag(tag);
    is_other(opens_as!(tagged("score.v1"), tagged("score.v2")), "score.v1", "score.v2");
    let as_int = opens_as!(tagged("score"), Value::<i32>::options().type_tag("score")).unwrap_err();
    assert!(as_int.to_string().contains("element is u32 there, and i32 here"), "{as_int}");
    let (halves, whole) = (Value::<[u32; 2]>::options(), Value::<u64>::options());
    let aligned = opens_as!(halves.type_tag("score"), whole.type_tag("score"));
    assert_eq!(disagreement(aligned), ("alignment", 4, 8));
    let other_size = opens_as!(tagged("score"), Value::<u64>::options().type_tag("score"));
    assert_eq!(disagreement(other_size), ("size", 4, 8));
}
