//! The text of every error of locks and their like, and of names that are opened, as people read it.

use crate::channel::{text, told};
use procession::shm::Kind;
use procession::{
    Array, ArrayError, Barrier, BarrierError, BoundedSemaphore, Event, Fault, Latch, Lock, LockError,
    Namespace, Once, OnceError, OpenError, RLock, RwLock, Semaphore, SharedMemory, Value,
};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(1);

/// What another thread of this process meets.
fn elsewhere<T: Send>(ask: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(ask).join()).unwrap()
}

#[test]
fn locks() {
    crate::enter();
    let lock = Lock::create("deploy").unwrap();
    let guard = lock.acquire().unwrap();
    assert_eq!(text(lock.try_acquire()), "lock \"deploy\" is held by this process");
    let timed = elsewhere(|| text(lock.acquire_timeout(SHORT)));
    assert_eq!(timed, "timed out: lock \"deploy\" is held by this process");
    let holder = lock.try_acquire().unwrap_err().holder().unwrap();
    assert_eq!((holder.pid, holder.is_dead), (std::process::id(), false));
    assert_eq!(
        text(lock.acquire()),
        "waiting for lock \"deploy\" would never end: this thread holds it already"
    );
    assert_eq!(elsewhere(|| text(lock.release())), "this thread does not hold lock \"deploy\"");
    drop(guard);
    elsewhere(|| std::mem::forget(lock.acquire().unwrap()));
    let pid = std::process::id();
    assert_eq!(
        text(lock.acquire()),
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
    assert_eq!(
        text(lock.acquire()),
        format!(
            "a panic struck the holder of lock \"deploy\" (pid {pid}): put right what it guards, then call \
             recover()"
        )
    );
    lock.unlink().unwrap();
    let (rlock, rwlock) = (RLock::new().unwrap(), RwLock::new().unwrap());
    let _guards = (rlock.acquire().unwrap(), rwlock.read().unwrap());
    assert_eq!(elsewhere(|| text(rlock.try_acquire())), "an unnamed rlock is held by this process");
    assert_eq!(elsewhere(|| text(rwlock.try_write())), "an unnamed rwlock is held by this process");
}

#[test]
fn values_arrays_and_memory() {
    crate::enter();
    let value = Value::new(1_u32).unwrap();
    let _guard = value.acquire().unwrap();
    assert_eq!(text(value.try_set(2)), "an unnamed value is held by this process");
    let array = Array::<u8>::new(3).unwrap();
    assert_eq!(text(array.get(7)), "elements 7..8 of an array that has 3");
    let inside = array.update(0..1, |_| array.set(0, 1)).unwrap();
    assert_eq!(text(inside), "waiting for an unnamed array would never end: this thread holds it already");
    assert!(matches!(array.get(3), Err(ArrayError::OutOfRange { .. })));
    let memory = SharedMemory::new(4).unwrap();
    assert_eq!(text(memory.read(2..9)), "bytes 2..9 of shared memory that has 4");
}

#[test]
fn who_waits_for_others() {
    crate::enter();
    let event = Event::new().unwrap();
    assert_eq!(text(event.wait_timeout(SHORT)), "timed out: nobody has set an unnamed event");
    let latch = Latch::new(2).unwrap();
    latch.arrive();
    assert_eq!(text(latch.wait_timeout(SHORT)), "timed out: 1 of 2 have arrived at an unnamed latch");
    let once = Once::new().unwrap();
    once.run(|_| {
        assert_eq!(
            text(once.run(|_| ())),
            "this thread is already inside an unnamed once, and would wait for itself for ever"
        );
        let others = elsewhere(|| text(once.try_run(|_| ())));
        assert_eq!(others, "not done yet: an unnamed once is held by this process");
        assert!(matches!(elsewhere(|| once.run_timeout(|_| (), SHORT)), Err(OnceError::TimedOut(_))));
    })
    .unwrap();
    let barrier = Barrier::new(2).unwrap();
    assert_eq!(
        text(barrier.wait_timeout(SHORT)),
        "timed out: 1 of 2 had arrived at an unnamed barrier, which is broken now; reset() makes it whole"
    );
    assert_eq!(
        text(barrier.wait()),
        "an unnamed barrier is broken: somebody's time was over; reset() makes it whole"
    );
    let elastic = Barrier::elastic().unwrap();
    assert_eq!(
        text(elastic.wait()),
        "this has no place at an unnamed barrier: only a member that is here can wait; join() makes one"
    );
    let alone = Barrier::new(1).unwrap();
    let _member = alone.join().unwrap();
    assert_eq!(text(alone.join()), "all 1 places of an unnamed barrier are taken by live members");
    let failing = alone.clone().with_action(|| Err("no film".into()));
    let failed = failing.wait().unwrap_err();
    assert!(matches!(failed, BarrierError::Action { .. }));
    assert_eq!(told(&failed), "the action of an unnamed barrier failed: no film");
}

#[test]
fn permits() {
    crate::enter();
    let semaphore = Semaphore::new(1).unwrap();
    let permit = semaphore.acquire().unwrap();
    let said = text(semaphore.try_acquire());
    assert!(said.starts_with("no permit of an unnamed semaphore is free: "), "{said}");
    assert!(said.ends_with(&format!(" (pid {}) has 1", std::process::id())), "{said}");
    permit.forget();
    assert_eq!(
        text(semaphore.acquire_timeout(SHORT)),
        "timed out: no permit of an unnamed semaphore is free: nobody holds one, and nobody has released any"
    );
    assert_eq!(
        text(semaphore.acquire_many(2000)),
        "2000 permits of an unnamed semaphore were asked for, which can have 1024"
    );
    let bounded = BoundedSemaphore::new(1).unwrap();
    assert_eq!(
        text(bounded.release(1)),
        "released too often: an unnamed bounded semaphore can have 1 permits, and they are all there or held by somebody"
    );
}

#[test]
fn names() {
    crate::enter();
    assert_eq!(
        text(Lock::open("there-is-none")),
        "lock \"there-is-none\" does not exist: create it first, or use open_or_create"
    );
    let event = Event::create("ready").unwrap();
    assert_eq!(
        text(Event::create("ready")),
        "event \"ready\" exists already: open it, or use open_or_create"
    );
    assert_eq!(text(Lock::open("ready")), "object \"ready\" is an event, not a lock");
    event.unlink().unwrap();
    let latch = Latch::create("both", 2).unwrap();
    assert_eq!(text(Latch::open_or_create("both", 3)), "latch \"both\" was created with count 2, not 3");
    assert_eq!(Latch::open("both").unwrap().count(), 2);
    latch.unlink().unwrap();
    let value = Value::create("v", 1_u32).unwrap();
    assert_eq!(
        text(Value::<i32>::open("v")),
        format!(
            "value \"v\" holds elements of type u32, not i32: create and open it with the same .type_tag(\"…\") if \
             the two programs mean one type"
        )
    );
    value.unlink().unwrap();
    assert_eq!(text(Barrier::new(0)), "an unnamed barrier cannot be made: a barrier without parties");
}

#[test]
fn faults_name_the_object_and_hand_out_their_cause() {
    let billing = Namespace::new("billing").unwrap();
    let object = procession::Label::new(Kind::EVENT, "ready", &billing);
    let name = "event \"ready\" in namespace \"billing\"";
    let orphaned = LockError::Fault(Fault::Orphaned { object: object.clone() });
    assert_eq!(
        told(&orphaned),
        format!("the file of {name} was removed from /dev/shm while this process waited for it")
    );
    let corrupt = Fault::Corrupt { object: object.clone(), what: "a word names no possible owner" };
    assert_eq!(told(&corrupt), format!("{name} is corrupt: a word names no possible owner"));
    let source = OpenError::RegistryFull { namespace: "billing".to_owned(), slots: 4 };
    assert_eq!(
        told(&Fault::Unregistered { object: object.clone(), source }).split(": ").next().unwrap(),
        format!("this forked process could not register in the namespace of {name}")
    );
    assert_eq!(
        told(&Fault::Inherited { object }),
        format!("what this forked process has of {name} belongs to the process that it was forked from")
    );
}
