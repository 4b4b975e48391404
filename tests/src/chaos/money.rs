//! Money: transfers leave the sum as it is. Between values, under one lock, with a journal from which the
//! next holder finishes what a dead one began; inside one value; inside one array. And a ledger that anybody
//! counts in, in every way there is.

use super::{Account, BURST, End, Law, Participant, Place};
use procession::{Array, Lock, LockError, LockGuard, Value};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::Relaxed;

const EACH: i64 = 1000;
const ACCOUNTS: usize = 4;
const WIDE: usize = 512;
const CELLS: usize = 2048;
/// Values of one word are kept in another way around this number, and the ledger soon passes it.
const ASIDE: u64 = 0xfff5_3a1e_d0c3_7b69;
const START: u64 = ASIDE - 5000;

/// What a transfer writes down before it begins: 1, from, to, and what they will have; or 0.
type Journal = [i64; 5];

pub(super) struct Money {
    bank: Lock,
    journal: Value<Journal>,
    accounts: [Value<i64>; ACCOUNTS],
    wide: Value<[i64; WIDE]>,
    cells: Array<i64>,
    ledger: Value<u64>,
}

impl Money {
    pub(super) fn new(place: &Place) -> Self {
        let at = &place.namespace;
        let account = |name| Value::options().namespace(at).initial(EACH).open_or_create(name).unwrap();
        Self {
            bank: Lock::options().namespace(at).open_or_create("bank").unwrap(),
            journal: Value::options().namespace(at).open_or_create("journal").unwrap(),
            accounts: ["account-0", "account-1", "account-2", "account-3"].map(account),
            wide: Value::options().namespace(at).initial([EACH; WIDE]).open_or_create("wide").unwrap(),
            cells: Array::options().namespace(at).len(CELLS).open_or_create("cells").unwrap(),
            ledger: Value::options().namespace(at).initial(START).open_or_create("ledger").unwrap(),
        }
    }

    fn sum_of_accounts(&self) -> Result<i64, LockError> {
        self.accounts.iter().map(Value::get).sum()
    }

    /// Finishes a transfer that was written down. To do it again changes nothing.
    fn finish(&self, [is_open, from, to, from_new, to_new]: Journal) -> Result<(), LockError> {
        if is_open == 1 {
            self.accounts[from as usize].set(from_new)?;
            self.accounts[to as usize].set(to_new)?;
            self.journal.set([0; 5])?;
        }
        Ok(())
    }

    fn transfer(&self, who: &mut Participant<'_>, guard: &LockGuard<'_>) -> Result<(), LockError> {
        if guard.recovers() {
            who.does("repairing the bank");
            who.linger(2);
            self.finish(self.journal.get()?)?;
        }
        who.does("in the bank");
        let (journal, sum) = (self.journal.get()?, self.sum_of_accounts()?);
        who.expects(journal == [0; 5], || format!("nobody died in the bank, and left {journal:?}"));
        who.expects(sum == EACH * ACCOUNTS as i64, || format!("there are {sum} in the bank"));
        let from = who.dice.below(ACCOUNTS as u64) as usize;
        let to = (from + 1 + who.dice.below(ACCOUNTS as u64 - 1) as usize) % ACCOUNTS;
        let amount = who.dice.below(100) as i64;
        let news = [self.accounts[from].get()? - amount, self.accounts[to].get()? + amount];
        let plan = [1, from as i64, to as i64, news[0], news[1]];
        self.journal.set(plan)?;
        match who.dice.below(3) {
            0 => self.accounts[from].update(|mine| *mine -= amount)?,
            1 => _ = self.accounts[from].fetch_sub(amount)?,
            _ => *self.accounts[from].acquire()? -= amount,
        }
        who.dawdle();
        _ = self.accounts[to].fetch_add(amount)?;
        self.finish(plan)
    }

    fn use_bank(&self, who: &mut Participant<'_>) -> Result<(), LockError> {
        who.does("acquiring the bank");
        match who.settle(self.bank.acquire(), || self.bank.recover()) {
            Some(guard) => self.transfer(who, &guard),
            None => Ok(()),
        }
    }

    fn use_wide(&self, who: &mut Participant<'_>) -> Result<(), LockError> {
        let way = who.dice.below(6);
        who.does(if way < 2 { "reading a value" } else { "updating a value" });
        let (from, to) = (who.dice.below(WIDE as u64) as usize, who.dice.below(WIDE as u64) as usize);
        let amount = who.dice.below(100) as i64;
        let transfer = |all: &mut [i64; WIDE]| {
            all[from] -= amount;
            all[to] += amount;
        };
        let seen = match way {
            0 | 1 => self.wide.get()?,
            2 | 3 => self.wide.update(|all| {
                transfer(all);
                *all
            })?,
            4 => {
                let mut guard = self.wide.acquire()?;
                transfer(&mut guard);
                who.dawdle();
                *guard
            }
            // Half of a transfer that is never committed: discarded, or in a panic.
            _ if amount % 2 == 0 => {
                let mut guard = self.wide.acquire()?;
                guard[from] -= 1;
                guard.discard();
                self.wide.get()?
            }
            _ => {
                let half = AssertUnwindSafe(|| {
                    self.wide.update(|all| {
                        all[from] -= 1;
                        resume_unwind(Box::new(()))
                    })
                });
                match catch_unwind(half) {
                    Ok(result) => result?,
                    Err(_) => self.wide.get()?,
                }
            }
        };
        let sum: i64 = seen.iter().sum();
        who.expects(sum == EACH * WIDE as i64, || format!("there are {sum} in the wide value"));
        Ok(())
    }

    fn use_cells(&self, who: &mut Participant<'_>) -> Result<(), LockError> {
        if who.dice.below(2) == 0 {
            who.does("reading an array");
            if let Some(all) = who.must(self.cells.read(0..CELLS), "reading an array") {
                let sum: i64 = all.iter().sum();
                who.expects(sum == 0, || format!("there are {sum} in the array"));
            }
            return Ok(());
        }
        who.does("updating an array");
        let start = who.dice.below(CELLS as u64 - 2) as usize;
        let end = start + 2 + who.dice.below((CELLS - start - 1) as u64) as usize;
        let amount = who.dice.below(100) as i64;
        let done = self.cells.update(start..end, |part| {
            let last = part.len() - 1;
            part[0] -= amount;
            part[last] += amount;
            part.rotate_left(1);
        });
        who.must(done, "updating an array");
        Ok(())
    }

    fn count(&self, who: &mut Participant<'_>) -> Result<(), LockError> {
        who.does("counting in the ledger");
        let amount = 1 + who.dice.below(7);
        who.begins(Account::Ledger, amount);
        match who.dice.below(5) {
            0 => _ = self.ledger.fetch_add(amount)?,
            1 => self.ledger.update(|sum| *sum += amount)?,
            2 => *self.ledger.acquire()? += amount,
            3 => {
                let mut seen = self.ledger.get()?;
                while let Err(now) = self.ledger.compare_exchange(seen, seen + amount)? {
                    seen = now;
                }
            }
            _ => {
                // Nothing grows by the largest of what there was and what there is.
                let seen = self.ledger.get()?;
                let before = self.ledger.fetch_max(seen)?;
                who.expects(before >= seen, || format!("the ledger fell from {seen:x} to {before:x}"));
                _ = self.ledger.fetch_add(amount)?;
            }
        }
        who.acknowledges(Account::Ledger, amount);
        let (last, now) = (who.diary().ledger.load(Relaxed), self.ledger.get()?);
        who.expects(now >= last + amount, || format!("the ledger was {last:x}, and is {now:x}"));
        who.diary().ledger.store(now, Relaxed);
        Ok(())
    }
}

impl Law for Money {
    fn step(&self, who: &mut Participant<'_>) {
        let way = who.dice.below(4);
        for _ in 0..1 + who.dice.below(BURST) {
            let done = match way {
                0 => self.use_bank(who),
                1 => self.use_wide(who),
                2 => self.use_cells(who),
                _ => self.count(who),
            };
            who.must(done, "money");
        }
    }

    fn check(&self, end: &End<'_>) {
        match self.bank.acquire() {
            Ok(_) => {}
            Err(LockError::OwnerDied { .. }) => {
                let _guard = self.bank.recover().unwrap();
                self.finish(self.journal.get().unwrap()).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(self.journal.get().unwrap(), [0; 5]);
        assert_eq!(self.sum_of_accounts().unwrap(), EACH * ACCOUNTS as i64);
        assert_eq!(self.wide.get().unwrap().iter().sum::<i64>(), EACH * WIDE as i64);
        assert_eq!(self.cells.read(0..CELLS).unwrap().iter().sum::<i64>(), 0);
        let found = self.ledger.get().unwrap() - START;
        let (least, most) = end.sum(Account::Ledger);
        assert!((least..=most).contains(&found), "{found} in the ledger, of {least} to {most}");
        crate::note(&format!("chaos: {found} in the ledger, of {least} to {most}"));
    }

    fn unlink(&self) {
        self.bank.unlink().unwrap();
        self.journal.unlink().unwrap();
        self.accounts.iter().for_each(|account| account.unlink().unwrap());
        self.wide.unlink().unwrap();
        self.cells.unlink().unwrap();
        self.ledger.unlink().unwrap();
    }
}
