//! A monitor: a bounded buffer in a value, and two conditions. What is in it is what was stored, less what
//! was fetched, whatever becomes of those who store and fetch.

use super::{Account, End, LIMIT, Law, Participant, Place};
use procession::bytemuck::{Pod, Zeroable};
use procession::{Condition, LockError, Value, ValueGuard};

const ROOM: usize = 8;

#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[bytemuck(crate = "procession::bytemuck")]
#[repr(C)]
struct Buffer {
    stored: u64,
    fetched: u64,
    /// The sums of the items that were.
    sum_stored: u64,
    sum_fetched: u64,
    is_closed: u64,
    items: [u64; ROOM],
}

impl Buffer {
    fn len(&self) -> u64 {
        self.stored - self.fetched
    }

    fn is_whole(&self) -> bool {
        let items = (self.fetched..self.stored).map(|index| self.items[index as usize % ROOM]);
        self.len() <= ROOM as u64 && self.sum_stored.wrapping_sub(self.sum_fetched) == items.sum::<u64>()
    }

    fn can(&self, stores: bool) -> bool {
        if stores { self.len() < ROOM as u64 } else { self.len() > 0 }
    }
}

pub(super) struct Monitor {
    buffer: Value<Buffer>,
    /// Not full, not empty.
    changed: [Condition; 2],
}

impl Monitor {
    pub(super) fn new(place: &Place) -> Self {
        let at = &place.namespace;
        let condition = |name| Condition::options().namespace(at).open_or_create(name).unwrap();
        Self {
            buffer: Value::options().namespace(at).type_tag("chaos.buffer").open_or_create("buffer").unwrap(),
            changed: ["not-full", "not-empty"].map(condition),
        }
    }

    /// The buffer, held, when there is room or an item, or it is closed; or as it is after a while.
    fn when_possible(
        &self,
        who: &mut Participant<'_>,
        stores: bool,
    ) -> Result<ValueGuard<'_, Buffer>, LockError> {
        let guard = self.buffer.acquire()?;
        who.expects(guard.is_whole(), || "the buffer was acquired, and is half-changed".to_owned());
        let holds = |buffer: &Buffer| buffer.is_closed != 0 || buffer.can(stores);
        let condition = &self.changed[usize::from(!stores)];
        if who.dice.below(4) == 0 {
            return condition.wait_for(guard, holds);
        }
        condition.wait_for_timeout(guard, LIMIT, holds).map(|(guard, _)| guard)
    }

    fn change(&self, who: &mut Participant<'_>, stores: bool) -> Result<(), LockError> {
        who.does(if stores { "storing into a buffer" } else { "fetching from a buffer" });
        let account = if stores { Account::Stored } else { Account::Fetched };
        who.begins(account, 1);
        let mut buffer = self.when_possible(who, stores)?;
        who.expects(buffer.is_whole(), || "the buffer is half-changed after a wait".to_owned());
        if !buffer.can(stores) {
            who.gives_up(account, 1);
            return Ok(());
        }
        if stores {
            let item = who.dice.below(1 << 40);
            let place = buffer.stored as usize % ROOM;
            buffer.stored += 1;
            who.dawdle();
            buffer.sum_stored = buffer.sum_stored.wrapping_add(item);
            buffer.items[place] = item;
        } else {
            let item = buffer.items[buffer.fetched as usize % ROOM];
            buffer.fetched += 1;
            who.dawdle();
            buffer.sum_fetched = buffer.sum_fetched.wrapping_add(item);
        }
        let other = &self.changed[usize::from(stores)];
        if who.dice.below(2) == 0 {
            other.notify(1);
            drop(buffer);
        } else {
            drop(buffer);
            other.notify(1);
        }
        who.acknowledges(account, 1);
        Ok(())
    }
}

impl Law for Monitor {
    fn step(&self, who: &mut Participant<'_>) {
        let stores = who.dice.below(2) == 0;
        let done = self.change(who, stores);
        who.must(done, "the buffer");
    }

    fn release(&self) {
        self.buffer.update(|buffer| buffer.is_closed = 1).unwrap();
        self.changed.iter().for_each(Condition::notify_all);
    }

    fn check(&self, end: &End<'_>) {
        let buffer = self.buffer.get().unwrap();
        assert!(buffer.is_whole(), "{buffer:?}");
        for (account, found) in [(Account::Stored, buffer.stored), (Account::Fetched, buffer.fetched)] {
            let (least, most) = end.sum(account);
            assert!((least..=most).contains(&found), "{account:?} {found} of {least} to {most}");
            crate::note(&format!("chaos: {account:?} {found} of {least} to {most}"));
        }
    }

    fn unlink(&self) {
        self.buffer.unlink().unwrap();
        self.changed.iter().for_each(|condition| condition.unlink().unwrap());
    }
}
