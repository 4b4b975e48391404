//! What errors of locks and of everything else that processes wait for say.

use crate::told;
use procession::shm::Kind;
use procession::{
    Array, ArrayError, Barrier, BarrierError, BoundedSemaphore, BreakCause, Event, EventError, Fault, Label,
    Latch, LatchError, Lock, LockError, MemoryError, Namespace, Once, OnceError, OpenError, PlainMemory,
    RLock, ReleaseError, RwLock, Semaphore, SemaphoreError, SharedMemory, Value,
};
use procession_tests::isolate;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(1);

/// What another thread of this process meets.
fn elsewhere<T: Send>(ask: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(ask).join()).unwrap()
}

fn object() -> Label {
    Label::new(Kind::EVENT, "ready", &Namespace::new("billing").unwrap())
}

#[test]
fn locks() {
    isolate();
    let lock = Lock::create("deploy").unwrap();
    let guard = lock.acquire().unwrap();
    says!(LockError::WouldBlock(_), lock.try_acquire(), "lock \"deploy\" is held by this process");
    says!(
        LockError::TimedOut(_),
        elsewhere(|| lock.acquire_timeout(SHORT).map(drop)),
        "timed out: lock \"deploy\" is held by this process"
    );
    let holder = lock.try_acquire().unwrap_err().holder().unwrap();
    assert_eq!((holder.pid, holder.is_dead), (std::process::id(), false));
    says!(
        LockError::Deadlock { .. },
        lock.acquire(),
        "waiting for lock \"deploy\" would never end: this thread holds it already"
    );
    says!(
        LockError::NotHeld { .. },
        elsewhere(|| lock.release()),
        "this thread does not hold lock \"deploy\""
    );
    drop(guard);
    elsewhere(|| std::mem::forget(lock.acquire().unwrap()));
    let pid = std::process::id();
    says!(
        LockError::OwnerDied { .. },
        lock.acquire(),
        format!(
            "the holder of lock \"deploy\" (pid {pid}) died, or its thread ended without releasing it: put right \
             what it guards, then call recover()"
        )
    );
    drop(lock.recover().unwrap());
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = lock.acquire().unwrap();
        panic!("on purpose");
    }));
    panics.unwrap_err();
    says!(
        LockError::OwnerDied { .. },
        lock.acquire(),
        format!(
            "a panic struck the holder of lock \"deploy\" (pid {pid}): put right what it guards, then call \
             recover()"
        )
    );
    lock.unlink().unwrap();
    let (rlock, rwlock) = (RLock::new().unwrap(), RwLock::new().unwrap());
    let _guards = (rlock.acquire().unwrap(), rwlock.read().unwrap());
    elsewhere(|| {
        says!(LockError::WouldBlock(_), rlock.try_acquire(), "an unnamed rlock is held by this process");
        says!(LockError::WouldBlock(_), rwlock.try_write(), "an unnamed rwlock is held by this process");
    });
    says!(
        LockError::Interrupted { object: object() },
        "the wait for event \"ready\" in namespace \"billing\" was interrupted"
    );
    says!(
        LockError::Deadlock { object: object(), is_own: false },
        "waiting for event \"ready\" in namespace \"billing\" would never end: its holder waits for what this thread holds"
    );
}

#[test]
fn values_arrays_and_memory() {
    isolate();
    let value = Value::new(1_u32).unwrap();
    let _guard = value.acquire().unwrap();
    says!(LockError::WouldBlock(_), value.try_set(2), "an unnamed value is held by this process");
    let array = Array::<u8>::new(3).unwrap();
    says!(
        ArrayError::OutOfRange { .. },
        array.get(7),
        "elements 7..8 were asked for of an unnamed array, which has 3"
    );
    says!(
        ArrayError::Lock(_),
        array.update(0..1, |_| array.set(0, 1)).unwrap(),
        "waiting for an unnamed array would never end: this thread holds it already"
    );
    let memory = SharedMemory::new(4).unwrap();
    says!(
        MemoryError::OutOfRange { .. },
        memory.read(2..9),
        "bytes 2..9 were asked for of unnamed shared memory, which has 4"
    );
    let name = Namespace::private().name().to_owned();
    let file = PlainMemory::create(&name, 4).unwrap();
    says!(
        MemoryError::OutOfRange { .. },
        file.write_at(4, b"x"),
        format!("bytes 4..5 were asked for of file /dev/shm/{name}, which has 4")
    );
    file.unlink().unwrap();
}

#[test]
fn who_waits_for_others() {
    isolate();
    let event = Event::new().unwrap();
    says!(
        EventError::TimedOut { .. },
        event.wait_timeout(SHORT),
        "timed out: nobody has set an unnamed event"
    );
    event.set_owned().unwrap();
    says!(
        EventError::StillSet { .. },
        event.wait_cleared_timeout(SHORT),
        "timed out: nobody has cleared an unnamed event"
    );
    let holder = event.owner().unwrap();
    let text =
        format!("event \"ready\" in namespace \"billing\" is set by {holder} for as long as that lives");
    says!(EventError::Owned { object: object(), holder: holder.clone() }, text);
    let latch = Latch::new(2).unwrap();
    latch.arrive();
    says!(
        LatchError::TimedOut { .. },
        latch.wait_timeout(SHORT),
        "timed out: 1 of 2 have arrived at an unnamed latch"
    );
    let once = Once::new().unwrap();
    once.run(|_| {
        says!(
            OnceError::Deadlock { .. },
            once.run(|_| ()),
            "this thread is already inside an unnamed once, and would wait for itself for ever"
        );
        elsewhere(|| {
            says!(
                OnceError::WouldBlock(_),
                once.try_run(|_| ()),
                "not done yet: an unnamed once is held by this process"
            );
            says!(
                OnceError::TimedOut(_),
                once.run_timeout(|_| (), SHORT),
                "timed out: an unnamed once is held by this process"
            );
        });
    })
    .unwrap();
    let interrupted = "the wait for event \"ready\" in namespace \"billing\" was interrupted";
    says!(EventError::Interrupted { object: object() }, interrupted);
    says!(LatchError::Interrupted { object: object() }, interrupted);
    says!(OnceError::Interrupted { object: object() }, interrupted);
}

#[test]
fn barriers() {
    isolate();
    let barrier = Barrier::new(2).unwrap();
    says!(
        BarrierError::TimedOut { .. },
        barrier.wait_timeout(SHORT),
        "timed out: 1 of 2 had arrived at an unnamed barrier, which is broken now; reset() makes it whole"
    );
    says!(
        BarrierError::Broken { .. },
        barrier.wait(),
        "an unnamed barrier is broken: somebody's time was over; reset() makes it whole"
    );
    let elastic = Barrier::elastic().unwrap();
    says!(
        BarrierError::NotAMember { .. },
        elastic.wait(),
        "whoever waits at an unnamed barrier needs a place in this process, and has none: join() gives one"
    );
    let alone = Barrier::new(1).unwrap();
    let _member = alone.join().unwrap();
    says!(
        BarrierError::NoPlace { .. },
        alone.join(),
        "all 1 places of an unnamed barrier are taken by live members: one of them has to leave (drop its Member) first"
    );
    let failing = alone.clone().with_action(|| Err("no film".into()));
    says!(BarrierError::Action { .. }, failing.wait(), "the action of an unnamed barrier failed: no film");
    let waiting = Barrier::new(1).unwrap();
    let again = waiting.clone();
    let acting = waiting.with_action(move || {
        says!(
            BarrierError::InAction { .. },
            again.wait(),
            "this thread is running the action of an unnamed barrier, and would wait for itself for ever"
        );
        Ok(())
    });
    acting.wait().unwrap();
    says!(
        BarrierError::Interrupted { object: object() },
        "the wait at event \"ready\" in namespace \"billing\" was interrupted, and the others wait on"
    );
}

#[test]
fn why_barriers_are_broken() {
    let causes = [
        (BreakCause::TimedOut, "somebody's time was over; reset() makes it whole"),
        (BreakCause::Aborted, "somebody called abort(); reset() makes it whole"),
        (BreakCause::Reset, "somebody called reset() while this thread waited"),
        (BreakCause::ActionFailed, "its action failed; reset() makes it whole"),
        (BreakCause::PeerDied { pid: 7 }, "one of its members died (pid 7); reset() makes it whole"),
        (BreakCause::PeerDied { pid: 0 }, "one of its members died; reset() makes it whole"),
    ];
    for (cause, words) in causes {
        let broken = BarrierError::Broken { object: object(), cause };
        assert_eq!(told(&broken), format!("{} is broken: {words}", object()));
    }
}

#[test]
fn permits() {
    isolate();
    let semaphore = Semaphore::new(1).unwrap();
    let permit = semaphore.acquire().unwrap();
    let shortage = told(&semaphore.try_acquire().unwrap_err());
    let holder = shortage.strip_prefix("no permit of an unnamed semaphore is free: ").unwrap();
    assert!(holder.ends_with(&format!(" (pid {}) has 1", std::process::id())), "{shortage}");
    says!(SemaphoreError::WouldBlock(_), semaphore.try_acquire(), shortage);
    permit.forget();
    says!(
        SemaphoreError::TimedOut(_),
        semaphore.acquire_timeout(SHORT),
        "timed out: no permit of an unnamed semaphore is free: nobody holds one, and nobody has released any"
    );
    says!(
        SemaphoreError::TooMany { .. },
        semaphore.acquire_many(2000),
        "2000 permits of an unnamed semaphore were asked for, which has 1024 at most: create it with a larger .max()"
    );
    says!(
        SemaphoreError::Interrupted { object: object() },
        "the wait for event \"ready\" in namespace \"billing\" was interrupted"
    );
    let bounded = BoundedSemaphore::new(1).unwrap();
    says!(
        ReleaseError::Full { .. },
        bounded.release(1),
        "released too often: an unnamed bounded semaphore has 1 permits at most, and they are all there or held by somebody"
    );
}

#[test]
fn faults_name_the_object_and_hand_out_their_cause() {
    let name = "event \"ready\" in namespace \"billing\"";
    says!(
        Fault::Orphaned { object: object() },
        format!(
            "the file of {name} was removed from /dev/shm while this process waited for it: whoever comes now finds \
             another one or none; start everybody anew who uses it"
        )
    );
    let orphaned = LockError::from(Fault::Orphaned { object: object() });
    assert_eq!(told(&orphaned), told(&Fault::Orphaned { object: object() }));
    says!(
        Fault::RegistryChanged { object: object() },
        format!(
            "the registry of the namespace of {name} was removed or replaced while in use: end all processes that use the \
             namespace, then run `procession gc`"
        )
    );
    says!(
        Fault::Corrupt { object: object(), what: "a word names no possible owner" },
        format!(
            "{name} is corrupt: a word names no possible owner. When nobody uses it any more, remove it (`procession rm`)"
        )
    );
    let source = OpenError::LifelineUnsupported { namespace: "billing".to_owned() };
    says!(
        Fault::Unregistered { object: object(), source },
        format!(
            "this forked process could not register in the namespace of {name}: /dev/shm is not a tmpfs that keeps locks of \
             mappings (namespace \"billing\"): mount a tmpfs there"
        )
    );
    says!(
        Fault::Inherited { object: object() },
        format!(
            "what this forked process has of {name} belongs to the process that it was forked from: acquire or join here \
             what this process needs"
        )
    );
}
