//! What each of our objects does when a holder is killed.

use super::Session;
use crate::error::{BenchError, Context, Result, check};
use crate::recovery::{Scene, Victim};
use procession::{
    Array, Barrier, BarrierError, BreakCause, Condition, JoinableQueue, Lock, LockError, Once, Pipe, Queue,
    RLock, Receiver, RecvError, RwLock, Semaphore, Value,
};

/// The pid that a waiter was told; anything else is an error.
fn told<T>(answer: std::result::Result<T, LockError>) -> Result<Option<u64>> {
    match answer {
        Err(LockError::OwnerDied { pid, .. }) => Ok(Some(pid.into())),
        Err(error) => Err(BenchError::Failed(format!("acquire: {error}"))),
        Ok(_) => Err(BenchError::Failed("nobody died".to_owned())),
    }
}

pub(crate) struct Locked;
impl Scene for Locked {
    const NAME: &'static str = "lock";
    type Object = Lock;

    fn create(session: &Session, name: &str) -> Result<Lock> {
        create!(Lock, session, name)
    }

    fn open(name: &str) -> Result<Lock> {
        Lock::open(name).context("open")
    }

    fn hold(lock: &Lock, victim: &mut Victim<'_>) -> Result<()> {
        let _guard = lock.acquire().context("acquire")?;
        victim.holds_until_killed()
    }

    fn wait(lock: &Lock) -> Result<Option<u64>> {
        told(lock.acquire())
    }

    fn mend(lock: &Lock) -> Result<()> {
        lock.recover().map(drop).context("recover")
    }
}

/// A recursive lock, held two levels deep.
pub(crate) struct LockedTwice;
impl Scene for LockedTwice {
    const NAME: &'static str = "rlock";
    type Object = RLock;

    fn create(session: &Session, name: &str) -> Result<RLock> {
        create!(RLock, session, name)
    }

    fn open(name: &str) -> Result<RLock> {
        RLock::open(name).context("open")
    }

    fn hold(lock: &RLock, victim: &mut Victim<'_>) -> Result<()> {
        let _outer = lock.acquire().context("acquire")?;
        let _inner = lock.acquire().context("acquire again")?;
        victim.holds_until_killed()
    }

    fn wait(lock: &RLock) -> Result<Option<u64>> {
        told(lock.acquire())
    }

    fn mend(lock: &RLock) -> Result<()> {
        lock.recover().map(drop).context("recover")
    }
}

/// A dead writer, and a reader that waits.
pub(crate) struct Written;
impl Scene for Written {
    const NAME: &'static str = "rwlock-write";
    type Object = RwLock;

    fn create(session: &Session, name: &str) -> Result<RwLock> {
        create!(RwLock, session, name)
    }

    fn open(name: &str) -> Result<RwLock> {
        RwLock::open(name).context("open")
    }

    fn hold(lock: &RwLock, victim: &mut Victim<'_>) -> Result<()> {
        let _guard = lock.write().context("write")?;
        victim.holds_until_killed()
    }

    fn wait(lock: &RwLock) -> Result<Option<u64>> {
        told(lock.read())
    }

    fn mend(lock: &RwLock) -> Result<()> {
        lock.recover().map(drop).context("recover")
    }
}

/// A dead reader, and a writer that waits: it goes on, for readers change nothing.
pub(crate) struct Read;
impl Scene for Read {
    const NAME: &'static str = "rwlock-read";
    type Object = RwLock;

    fn create(session: &Session, name: &str) -> Result<RwLock> {
        create!(RwLock, session, name)
    }

    fn open(name: &str) -> Result<RwLock> {
        RwLock::open(name).context("open")
    }

    fn hold(lock: &RwLock, victim: &mut Victim<'_>) -> Result<()> {
        let _guard = lock.read().context("read")?;
        victim.holds_until_killed()
    }

    fn wait(lock: &RwLock) -> Result<Option<u64>> {
        lock.write().map(|_| None).context("write")
    }
}

/// The only permit: it comes back.
pub(crate) struct Permitted;
impl Scene for Permitted {
    const NAME: &'static str = "semaphore";
    type Object = Semaphore;

    fn create(session: &Session, name: &str) -> Result<Semaphore> {
        create!(Semaphore, session, name)
    }

    fn open(name: &str) -> Result<Semaphore> {
        Semaphore::open(name).context("open")
    }

    fn hold(semaphore: &Semaphore, victim: &mut Victim<'_>) -> Result<()> {
        let _permit = semaphore.acquire().context("acquire")?;
        victim.holds_until_killed()
    }

    fn wait(semaphore: &Semaphore) -> Result<Option<u64>> {
        semaphore.acquire().map(|_| None).context("acquire")
    }
}

/// Two wait; the one that is notified is killed before it gets the lock back, and the other goes on instead
/// of it.
pub(crate) struct Signaled;
impl Scene for Signaled {
    const NAME: &'static str = "condition";
    type Object = (Condition, Lock);

    fn create(session: &Session, name: &str) -> Result<(Condition, Lock)> {
        let lock = &format!("{name}.lock");
        Ok((create!(Condition, session, name)?, create!(Lock, session, lock)?))
    }

    fn open(name: &str) -> Result<(Condition, Lock)> {
        let lock = Lock::open(&format!("{name}.lock")).context("open")?;
        Ok((Condition::open(name).context("open")?, lock))
    }

    fn hold((condition, lock): &(Condition, Lock), victim: &mut Victim<'_>) -> Result<()> {
        let guard = lock.acquire().context("acquire")?;
        // The other one gets the lock only when this one waits: so this one has waited longer.
        victim.holds()?;
        condition.wait(guard).map(drop).context("wait")
    }

    fn wait((condition, lock): &(Condition, Lock)) -> Result<Option<u64>> {
        let guard = lock.acquire().context("acquire")?;
        condition.wait(guard).map(|_| None).context("wait")
    }

    fn kill<R>((condition, lock): &(Condition, Lock), kill: impl FnOnce() -> Result<R>) -> Result<R> {
        // The notified one cannot get the lock before it is killed.
        let _guard = lock.acquire().context("acquire")?;
        condition.notify(1);
        kill()
    }
}

/// A member that has not arrived: the barrier is broken for the one that has.
pub(crate) struct Joined;
impl Scene for Joined {
    const NAME: &'static str = "barrier";
    type Object = Barrier;

    fn create(session: &Session, name: &str) -> Result<Barrier> {
        create!(Barrier, session, name, parties(2))
    }

    fn open(name: &str) -> Result<Barrier> {
        Barrier::open(name).context("open")
    }

    fn hold(barrier: &Barrier, victim: &mut Victim<'_>) -> Result<()> {
        let _member = barrier.join().context("join")?;
        victim.holds_until_killed()
    }

    fn wait(barrier: &Barrier) -> Result<Option<u64>> {
        let mut member = barrier.join().context("join")?;
        match member.wait() {
            Err(BarrierError::Broken { cause: BreakCause::PeerDied { pid, .. }, .. }) => Ok(Some(pid.into())),
            other => Err(BenchError::Failed(format!("wait: {other:?}"))),
        }
    }

    fn mend(barrier: &Barrier) -> Result<()> {
        barrier.reset().context("reset")
    }
}

/// In the middle of an update: none of it is there for the next writer.
pub(crate) struct Building;
impl Scene for Building {
    const NAME: &'static str = "value";
    type Object = Value<[u64; 8]>;

    fn create(session: &Session, name: &str) -> Result<Value<[u64; 8]>> {
        create!(Value::<[u64; 8]>, session, name)
    }

    fn open(name: &str) -> Result<Value<[u64; 8]>> {
        Value::open(name).context("open")
    }

    fn hold(value: &Value<[u64; 8]>, victim: &mut Victim<'_>) -> Result<()> {
        let mut guard = value.acquire().context("acquire")?;
        *guard = [1; 8];
        victim.holds_until_killed()
    }

    fn wait(value: &Value<[u64; 8]>) -> Result<Option<u64>> {
        let sum = value.update(|numbers| numbers.iter().sum()).context("update")?;
        check("what the dead had not committed", sum, 0).map(|()| None)
    }
}

/// The same, in an array.
pub(crate) struct Logging;
impl Scene for Logging {
    const NAME: &'static str = "array";
    type Object = Array<u64>;

    fn create(session: &Session, name: &str) -> Result<Array<u64>> {
        create!(Array::<u64>, session, name, len(8))
    }

    fn open(name: &str) -> Result<Array<u64>> {
        Array::open(name).context("open")
    }

    fn hold(array: &Array<u64>, victim: &mut Victim<'_>) -> Result<()> {
        let change = |part: &mut [u64]| {
            part.fill(1);
            victim.holds_until_killed()
        };
        array.update(0..8, change).context("update")?
    }

    fn wait(array: &Array<u64>) -> Result<Option<u64>> {
        let sum = array.update(0..8, |part| part.iter().sum()).context("update")?;
        check("what the dead had not committed", sum, 0).map(|()| None)
    }
}

/// Somebody who does what is to be done once, and is killed in the middle: the other one does it.
pub(crate) struct Running;
impl Scene for Running {
    const NAME: &'static str = "once";
    type Object = Once;

    fn create(session: &Session, name: &str) -> Result<Once> {
        create!(Once, session, name)
    }

    fn open(name: &str) -> Result<Once> {
        Once::open(name).context("open")
    }

    fn hold(once: &Once, victim: &mut Victim<'_>) -> Result<()> {
        once.run_fallible(|_| victim.holds_until_killed()).context("run")?.map(drop)
    }

    fn wait(once: &Once) -> Result<Option<u64>> {
        // Whoever fails leaves it to be done the next time.
        let outcome =
            once.run_fallible(|run| if run.is_again { Err(None) } else { Err(Some("nobody died")) });
        match outcome.context("run")? {
            Err(None) => Ok(None),
            other => Err(BenchError::Failed(format!("run: {other:?}"))),
        }
    }
}

/// An item that was taken and is not done: the other one gets it.
pub(crate) struct Leased;
impl Scene for Leased {
    const NAME: &'static str = "joinable";
    type Object = JoinableQueue<u64>;

    fn create(session: &Session, name: &str) -> Result<JoinableQueue<u64>> {
        create!(JoinableQueue::<u64>, session, name)
    }

    fn open(name: &str) -> Result<JoinableQueue<u64>> {
        JoinableQueue::open(name).context("open")
    }

    fn hold(queue: &JoinableQueue<u64>, victim: &mut Victim<'_>) -> Result<()> {
        queue.put(&7).context("put")?;
        let _item = queue.get().context("get")?;
        victim.holds_until_killed()
    }

    fn wait(queue: &JoinableQueue<u64>) -> Result<Option<u64>> {
        let item = queue.get().context("get")?;
        check("the item of the dead", *item, 7)?;
        item.task_done().map(|()| None).context("task_done")
    }
}

/// The writer of a pipe, which comes to its reader through a queue.
pub(crate) struct Piped;
impl Scene for Piped {
    const NAME: &'static str = "pipe";
    type Object = Queue<Receiver<u64>>;

    fn create(session: &Session, name: &str) -> Result<Queue<Receiver<u64>>> {
        create!(Queue::<Receiver<u64>>, session, name)
    }

    fn open(name: &str) -> Result<Queue<Receiver<u64>>> {
        Queue::open(name).context("open")
    }

    fn hold(queue: &Queue<Receiver<u64>>, victim: &mut Victim<'_>) -> Result<()> {
        let (sender, receiver) = Pipe::options().pipe::<u64>().context("make a pipe")?;
        sender.send(&7).context("send")?;
        queue.put(&receiver).context("put")?;
        victim.holds_until_killed()
    }

    fn wait(queue: &Queue<Receiver<u64>>) -> Result<Option<u64>> {
        let receiver = queue.get().context("get")?;
        check("the message", receiver.recv().context("recv")?, 7)?;
        match receiver.recv() {
            Err(RecvError::PeerDied { pid }) => Ok(Some(pid.into())),
            other => Err(BenchError::Failed(format!("recv: {other:?}"))),
        }
    }
}
