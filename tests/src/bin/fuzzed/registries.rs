//! The namespace's table of processes, and its table of waits.

use crate::hand::{Hand, heard, let_go, tried};
use crate::spoil::spoil;
use crate::targets::Subject;
use procession::shm::{gc, register};
use procession::{Event, Lock, Namespace, OnOwnerDeath, OpenError, blocked_in, deadlocks_in};
use procession_shm::OwnerId;
use procession_tests::Dice;
use procession_tests::raw;
use std::fs::{self, OpenOptions};
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

/// A registry that is in use while its bytes are spoiled.
pub(crate) struct Registry {
    namespace: Namespace,
    lock: Lock,
}

impl Registry {
    pub(crate) fn new(namespace: &Namespace) -> Result<Self, OpenError> {
        let options = Lock::options().namespace(namespace).detect_deadlock(true);
        let lock = options.on_owner_death(OnOwnerDeath::Ignore).open_or_create("l")?;
        Ok(Self { namespace: namespace.clone(), lock })
    }
}

impl Subject for Registry {
    fn operate(&self, hand: &mut Hand<'_>) {
        ask(&self.namespace, hand);
        let owner = OwnerId::new(hand.pick(12) as u32, hand.pick(4) as u32);
        let word = owner.to_bits() | raw::OWNED;
        raw::poke(&self.namespace, "l", raw::BODY, &word.to_le_bytes());
        hand.now("acquire_timeout");
        let guard = heard(self.lock.acquire_timeout(Duration::from_millis(25)));
        let_go(hand, guard);
        raw::poke(&self.namespace, "l", raw::BODY, &[0; 8]);
        let event = Event::options().namespace(&self.namespace).anonymous().unwrap();
        hand.now("wait_timeout");
        tried(event.wait_timeout(Duration::from_millis(12)));
    }

    fn unlink(&self) {
        self.lock.unlink().unwrap();
    }
}

/// Asks a registry all that it can be asked.
fn ask(namespace: &Namespace, hand: &Hand<'_>) {
    hand.now("the registry");
    let registration = register(namespace).unwrap();
    black_box(format!("{registration:?}"));
    for slot in [0, 1, 7, 8, 1023, 65_535] {
        for generation in [0, 1, u32::MAX] {
            let owner = OwnerId::new(slot, generation);
            black_box(format!("{:?}", registration.is_dead(owner)));
            black_box((registration.pid_of(owner), registration.participant(owner)));
        }
    }
    black_box(registration.participants());
    hand.now("the table of waits");
    for thread in heard(blocked_in(namespace)).into_iter().flatten() {
        black_box(thread.to_string());
    }
    tried(deadlocks_in(namespace));
    hand.now("the inventory");
    tried(namespace.list());
    tried(gc::collect(Some(namespace), gc::Options::default()));
}

/// Registries that are spoiled before a process registers.
pub(crate) struct Fresh {
    template: Vec<u8>,
}

impl Fresh {
    pub(crate) fn new(namespace: &Namespace) -> Self {
        Self { template: fs::read(raw::registry(namespace)).unwrap() }
    }

    /// Registers with a registry of these very bytes.
    pub(crate) fn open(namespace: &Namespace) -> Result<Self, OpenError> {
        let fresh = Self::new(namespace);
        let namespace = plant(&fresh.template);
        let registered = register(&namespace);
        drop(fs::remove_file(raw::registry(&namespace)));
        registered.map(|_| fresh)
    }
}

impl Subject for Fresh {
    fn operate(&self, hand: &mut Hand<'_>) {
        let mut bytes = self.template.clone();
        let mut dice = Dice::new(hand.pick(u64::MAX));
        for _ in 0..=dice.below(2) {
            spoil(&mut bytes[raw::BODY as usize..], &mut dice, [1, 1]);
        }
        hand.now("register");
        let namespace = plant(&bytes);
        if heard(register(&namespace)).is_some() {
            ask(&namespace, hand);
            hand.now("a lock there");
            let lock = Lock::options().namespace(&namespace).anonymous().unwrap();
            let_go(hand, heard(lock.acquire_timeout(Duration::from_millis(1))));
        }
        // Otherwise there would be thousands in the end.
        drop(fs::remove_file(raw::registry(&namespace)));
    }

    fn unlink(&self) {}
}

/// A namespace with this for a registry.
fn plant(bytes: &[u8]) -> Namespace {
    // Not a private one: nobody is in it, and others would sweep it.
    let namespace = Namespace::new(&Namespace::private().name().replace("private", "test")).unwrap();
    let path = raw::registry(&namespace);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).unwrap();
    namespace
}
