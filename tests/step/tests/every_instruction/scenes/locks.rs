//! Lock, RLock, RwLock. Progress of acquiring: 1 when the victim died holding it; of releasing: 1 when it did
//! not.

use crate::run::Scene;
use crate::stage::{Stage, stepped};
use procession_sync::{Lock, LockError, LockGuard, RLock, RLockGuard, RwLock, WriteGuard};
use procession_sys::{Mapping, memfd};
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) const SCENES: &[Scene] = &[
    Scene { name: "lock/acquire", whole: 1, play: acquire::<Lock> },
    Scene { name: "lock/acquire/sleeper", whole: 1, play: acquire_contended::<Lock> },
    Scene { name: "lock/release", whole: 1, play: release::<Lock> },
    Scene { name: "lock/release/sleeper", whole: 1, play: release_contended::<Lock> },
    Scene { name: "lock/cycle", whole: 2, play: cycle::<Lock> },
    Scene { name: "lock/recover", whole: 1, play: recover::<Lock> },
    Scene { name: "rlock/acquire", whole: 1, play: acquire::<RLock> },
    Scene { name: "rlock/acquire/sleeper", whole: 1, play: acquire_contended::<RLock> },
    Scene { name: "rlock/release", whole: 1, play: release::<RLock> },
    Scene { name: "rlock/release/sleeper", whole: 1, play: release_contended::<RLock> },
    Scene { name: "rlock/again", whole: 0, play: again },
    Scene { name: "rlock/recover", whole: 1, play: recover::<RLock> },
    Scene { name: "rwlock/write", whole: 1, play: acquire::<RwLock> },
    Scene { name: "rwlock/write/sleeper", whole: 1, play: acquire_contended::<RwLock> },
    Scene { name: "rwlock/write-release", whole: 1, play: release::<RwLock> },
    Scene { name: "rwlock/write-release/sleeper", whole: 1, play: release_contended::<RwLock> },
    Scene { name: "rwlock/cycle", whole: 2, play: cycle::<RwLock> },
    Scene { name: "rwlock/recover", whole: 1, play: recover::<RwLock> },
    Scene { name: "rwlock/read", whole: 0, play: read },
    Scene { name: "rwlock/read/sleeper", whole: 0, play: read_contended },
    Scene { name: "rwlock/read-release", whole: 0, play: read_release },
    Scene { name: "rwlock/read-release/sleeper", whole: 0, play: read_release_contended },
    Scene { name: "rwlock/downgrade/sleeper", whole: 1, play: downgrade },
];

/// What one process at a time holds.
trait Exclusive: Sized {
    type Guard<'a>
    where
        Self: 'a;

    fn make() -> Self;
    fn take(&self) -> Result<Self::Guard<'_>, LockError>;
    /// Takes it in any case; whether its last holder died.
    fn mend(&self) -> (Self::Guard<'_>, bool);
}

macro_rules! exclusive {
    ($($lock:ident $guard:ident $take:ident;)*) => { $(
        impl Exclusive for $lock {
            type Guard<'a> = $guard<'a>;

            fn make() -> Self {
                Self::new().unwrap()
            }

            fn take(&self) -> Result<$guard<'_>, LockError> {
                self.$take()
            }

            fn mend(&self) -> ($guard<'_>, bool) {
                let guard = self.recover().unwrap();
                let died = guard.recovers();
                (guard, died)
            }
        }
    )* };
}
exclusive! {
    Lock LockGuard acquire;
    RLock RLockGuard acquire;
    RwLock WriteGuard write;
}

/// Two words that holders of a lock write one after the other.
struct Pair(Mapping);

impl Pair {
    fn new() -> Self {
        let file = memfd::create("pair").unwrap();
        file.set_len(16).unwrap();
        Self(Mapping::of_file(&file, 16).unwrap())
    }

    fn words(&self) -> [&AtomicU64; 2] {
        [0, 8].map(|offset| self.0.at(offset).unwrap())
    }

    #[inline]
    fn write(&self, n: u64) {
        let [first, second] = self.words();
        first.store(n, Ordering::Relaxed);
        second.store(n, Ordering::Relaxed);
    }

    fn read(&self) -> [u64; 2] {
        self.words().map(|word| word.load(Ordering::Relaxed))
    }
}

/// Uses the lock as people do: finds the two words equal, unless it is told of a death. 1 if it is.
fn visit<L: Exclusive>(lock: &L, pair: &Pair) -> u8 {
    let (guard, died) = match lock.take() {
        Ok(guard) => (guard, false),
        Err(LockError::OwnerDied { .. }) => lock.mend(),
        Err(error) => panic!("{error}"),
    };
    let [first, second] = pair.read();
    assert!(died || first == second, "nobody died inside, and yet: {first} {second}");
    pair.write(first + 10);
    let now = pair.read();
    drop(guard);
    assert_eq!(now, [first + 10; 2], "two were inside");
    u8::from(died)
}

/// Who is told that the victim died inside: the sleeper, or this process, which looks after it. Never both.
fn told<L: Exclusive>(stage: &mut Stage<'_>, lock: &L, pair: &Pair) -> u32 {
    let told = stage.ends() + visit(lock, pair);
    assert_eq!(visit(lock, pair), 0, "it was mended");
    u32::from(told)
}

fn acquire<L: Exclusive>(stage: &mut Stage<'_>) -> u32 {
    let (lock, pair) = (L::make(), Pair::new());
    stage.victim(|| stepped(|| lock.take().unwrap()));
    stage.kill(|_| ());
    let told = visit(&lock, &pair);
    assert_eq!(visit(&lock, &pair), 0, "it was mended");
    told.into()
}

fn acquire_contended<L: Exclusive>(stage: &mut Stage<'_>) -> u32 {
    let (lock, pair) = (L::make(), Pair::new());
    let mut held = Some(lock.take().unwrap());
    stage.sleeper(|| visit(&lock, &pair));
    stage.victim(|| stepped(|| lock.take().unwrap()));
    stage.kill(|_| drop(held.take()));
    drop(held);
    let told = told(stage, &lock, &pair);
    assert!(told <= 1);
    told
}

fn release<L: Exclusive>(stage: &mut Stage<'_>) -> u32 {
    let (lock, pair) = (L::make(), Pair::new());
    stage.victim(|| {
        let guard = lock.take().unwrap();
        stepped(|| drop(guard));
    });
    stage.kill(|_| ());
    1 - u32::from(visit(&lock, &pair))
}

fn release_contended<L: Exclusive>(stage: &mut Stage<'_>) -> u32 {
    let (lock, pair) = (L::make(), Pair::new());
    stage.victim(|| {
        let guard = lock.take().unwrap();
        stepped(|| drop(guard));
    });
    stage.sleeper(|| visit(&lock, &pair));
    stage.kill(|_| ());
    1 - told(stage, &lock, &pair)
}

/// Progress: 1 inside, 2 outside again.
fn cycle<L: Exclusive>(stage: &mut Stage<'_>) -> u32 {
    let (lock, pair) = (L::make(), Pair::new());
    stage.victim(|| {
        stepped(|| {
            let guard = lock.take().unwrap();
            pair.write(1);
            drop(guard);
        });
    });
    stage.kill(|_| ());
    let [first, _] = pair.read();
    match visit(&lock, &pair) {
        0 => 2 * first as u32,
        _ => 1,
    }
}

/// Progress: 1 when it was put right.
fn recover<L: Exclusive>(stage: &mut Stage<'_>) -> u32 {
    let (lock, pair) = (L::make(), Pair::new());
    stage.dies(|| std::mem::forget(lock.take().unwrap()));
    stage.victim(|| {
        stepped(|| {
            let (guard, died) = lock.mend();
            assert!(died);
            drop(guard);
        });
    });
    stage.kill(|_| ());
    1 - u32::from(visit(&lock, &pair))
}

/// Whatever happens to the inner guard, the victim dies holding the lock.
fn again(stage: &mut Stage<'_>) -> u32 {
    let (lock, pair) = (RLock::make(), Pair::new());
    stage.victim(|| {
        let outer = lock.acquire().unwrap();
        stepped(|| drop(lock.acquire().unwrap()));
        outer
    });
    stage.kill(|_| ());
    assert_eq!(visit(&lock, &pair), 1);
    assert_eq!(lock.acquire().unwrap().depth(), 1);
    0
}

/// Readers and writers come and go, and nobody is told of a death.
fn is_open(lock: &RwLock, pair: &Pair) -> u32 {
    assert_eq!(visit(lock, pair), 0, "only a writer's death matters");
    let reader = lock.read().unwrap();
    assert_eq!(lock.readers().len(), 1, "the dead do not read");
    drop(reader);
    visit(lock, pair).into()
}

fn read(stage: &mut Stage<'_>) -> u32 {
    let (lock, pair) = (RwLock::make(), Pair::new());
    stage.victim(|| stepped(|| lock.read().unwrap()));
    stage.kill(|_| ());
    is_open(&lock, &pair)
}

fn read_contended(stage: &mut Stage<'_>) -> u32 {
    let (lock, pair) = (RwLock::make(), Pair::new());
    let mut held = Some(lock.write().unwrap());
    stage.sleeper(|| visit(&lock, &pair));
    stage.victim(|| stepped(|| lock.read().unwrap()));
    stage.kill(|_| drop(held.take()));
    drop(held);
    assert_eq!(stage.ends(), 0);
    is_open(&lock, &pair)
}

fn read_release(stage: &mut Stage<'_>) -> u32 {
    let (lock, pair) = (RwLock::make(), Pair::new());
    stage.victim(|| {
        let guard = lock.read().unwrap();
        stepped(|| drop(guard));
    });
    stage.kill(|_| ());
    is_open(&lock, &pair)
}

fn read_release_contended(stage: &mut Stage<'_>) -> u32 {
    let (lock, pair) = (RwLock::make(), Pair::new());
    stage.victim(|| {
        let guard = lock.read().unwrap();
        stepped(|| drop(guard));
    });
    stage.sleeper(|| visit(&lock, &pair));
    stage.kill(|_| ());
    assert_eq!(stage.ends(), 0);
    is_open(&lock, &pair)
}

/// A reader waits for the writer that becomes one. Progress: 1 when the victim died as a reader.
fn downgrade(stage: &mut Stage<'_>) -> u32 {
    let (lock, pair) = (RwLock::make(), Pair::new());
    stage.victim(|| {
        let guard = lock.write().unwrap();
        stepped(|| guard.downgrade().unwrap())
    });
    stage.sleeper(|| match lock.read() {
        Ok(_) => 0,
        Err(LockError::OwnerDied { .. }) => 1,
        Err(error) => panic!("{error}"),
    });
    stage.kill(|_| ());
    let by_sleeper = stage.ends();
    let told = visit(&lock, &pair);
    assert_eq!(told, by_sleeper, "a reader that is told mends nothing");
    is_open(&lock, &pair);
    1 - u32::from(told)
}
