//! Shelves: a map whose entries are changed so that the sum of each stays zero, and which has as many as were
//! inserted and not removed; and a list with as many elements as were pushed and not popped, each of them whole.
//! Entries are of all lengths, so that both are laid out anew all the time.

use super::{Account, BURST, End, Law, Participant, Place};
use procession::{CollectionError, List, Map};

/// How many keys there are.
const KEYS: u64 = 400;
/// An entry has at most so many numbers.
const MOST: u64 = 60;
/// The list is popped more than pushed while it has more elements.
const LONG: usize = 300;

pub(super) struct Shelves {
    map: Map<u64, Vec<i64>>,
    list: List<(u64, u64)>,
}

impl Shelves {
    pub(super) fn new(place: &Place) -> Self {
        let at = &place.namespace;
        Self {
            map: Map::options().namespace(at).open_or_create("shelves").unwrap(),
            list: List::options().namespace(at).open_or_create("pile").unwrap(),
        }
    }

    fn look_at(&self, who: &mut Participant<'_>) -> Result<(), CollectionError> {
        who.does("reading a map");
        if who.dice.below(20) == 0 {
            for entry in self.map.iter()? {
                let (key, numbers) = entry?;
                check(who, key, &numbers);
            }
            return Ok(());
        }
        let key = who.dice.below(KEYS);
        if let Some(numbers) = self.map.get(&key)? {
            check(who, key, &numbers);
        }
        Ok(())
    }

    fn change(&self, who: &mut Participant<'_>) -> Result<(), CollectionError> {
        who.does("changing a map");
        let key = who.dice.below(KEYS);
        match who.dice.below(4) {
            0 => {
                who.begins(Account::Shelved, 1);
                let numbers = vec![0; who.dice.below(MOST) as usize];
                match self.map.insert(&key, &numbers)? {
                    None => who.acknowledges(Account::Shelved, 1),
                    Some(old) => {
                        who.gives_up(Account::Shelved, 1);
                        check(who, key, &old);
                    }
                }
            }
            1 => {
                who.begins(Account::Unshelved, 1);
                match self.map.remove(&key)? {
                    Some(old) => {
                        who.acknowledges(Account::Unshelved, 1);
                        check(who, key, &old);
                    }
                    None => who.gives_up(Account::Unshelved, 1),
                }
            }
            _ => {
                let amount = who.dice.below(100) as i64;
                let len = who.dice.below(MOST) as usize;
                self.map.update(&key, |entry| {
                    // What is not there stays so.
                    let Some(numbers) = entry else { return };
                    check(who, key, numbers);
                    if let [first, .., last] = &mut numbers[..] {
                        *first -= amount;
                        who.dawdle();
                        *last += amount;
                    }
                    // The entry becomes longer or shorter, and its sum stays.
                    let cut: i64 = numbers.drain(len.min(numbers.len())..).sum();
                    numbers.push(cut);
                })?;
            }
        }
        Ok(())
    }

    fn pile(&self, who: &mut Participant<'_>) -> Result<(), CollectionError> {
        let len = self.list.len()?;
        if who.dice.below(2) == 0 {
            who.does("reading a list");
            let index = who.dice.below(len.max(1) as u64) as usize;
            if let Some((one, other)) = self.list.get(index)? {
                who.expects(one == other, || format!("half of element {index}: {one}, {other}"));
            }
            return Ok(());
        }
        who.does("changing a list");
        let number = who.mark() << 32 | who.dice.below(1 << 20);
        let element = (number, number);
        let way = who.dice.below(if len > LONG { 10 } else { 6 });
        match way {
            0 | 1 => {
                who.begins(Account::Piled, 1);
                self.list.push(&element)?;
                who.acknowledges(Account::Piled, 1);
            }
            2 => {
                who.begins(Account::Piled, 3);
                self.list.extend(&[element; 3])?;
                who.acknowledges(Account::Piled, 3);
            }
            3 => {
                who.begins(Account::Piled, 1);
                match self.list.insert(len / 2, &element) {
                    Ok(()) => who.acknowledges(Account::Piled, 1),
                    // Others have made it shorter.
                    Err(CollectionError::OutOfRange { .. }) => who.gives_up(Account::Piled, 1),
                    Err(error) => return Err(error),
                }
            }
            4 => match self.list.set(len / 2, &element) {
                Err(CollectionError::OutOfRange { .. }) => {}
                done => done?,
            },
            _ => {
                who.begins(Account::Unpiled, 1);
                match self.list.pop()? {
                    Some((one, other)) => {
                        who.acknowledges(Account::Unpiled, 1);
                        who.expects(one == other, || format!("half of an element: {one}, {other}"));
                    }
                    None => who.gives_up(Account::Unpiled, 1),
                }
            }
        }
        Ok(())
    }
}

fn check(who: &Participant<'_>, key: u64, numbers: &[i64]) {
    let sum: i64 = numbers.iter().sum();
    who.expects(sum == 0, || format!("the sum of entry {key} is {sum}"));
}

/// Whether so many are what was put there and not taken away.
fn expect_count(end: &End<'_>, found: usize, [put, taken]: [Account; 2], what: &str) {
    let ((least_put, most_put), (least_taken, most_taken)) = (end.sum(put), end.sum(taken));
    let (least, most) = (least_put.saturating_sub(most_taken), most_put.saturating_sub(least_taken));
    assert!((least..=most).contains(&(found as u64)), "{found} {what}, of {least} to {most}");
    crate::note(&format!(
        "chaos: {found} {what}, of {least} to {most}; {least_put} were put, {least_taken} taken"
    ));
}

impl Law for Shelves {
    fn step(&self, who: &mut Participant<'_>) {
        let way = who.dice.below(3);
        for _ in 0..1 + who.dice.below(BURST) {
            let done = match way {
                0 => self.look_at(who),
                1 => self.change(who),
                _ => self.pile(who),
            };
            who.must(done, "shelves");
        }
    }

    fn check(&self, end: &End<'_>) {
        let all: Vec<(u64, Vec<i64>)> = self.map.iter().unwrap().collect::<Result<_, _>>().unwrap();
        assert!(all.iter().all(|(_, numbers)| numbers.iter().sum::<i64>() == 0), "{all:?}");
        assert_eq!(self.map.len().unwrap(), all.len());
        expect_count(end, all.len(), [Account::Shelved, Account::Unshelved], "entries in the map");
        let pile: Vec<(u64, u64)> = self.list.iter().unwrap().collect::<Result<_, _>>().unwrap();
        assert!(pile.iter().all(|(one, other)| one == other), "{pile:?}");
        assert_eq!(self.list.len().unwrap(), pile.len());
        expect_count(end, pile.len(), [Account::Piled, Account::Unpiled], "elements in the list");
        // Both can be used by whoever is left.
        assert_eq!(self.map.insert(&KEYS, &vec![0]).unwrap(), None);
        self.list.push(&(1, 1)).unwrap();
        assert!(self.map.memory() < 64 << 20 && self.list.memory() < 64 << 20);
    }

    fn unlink(&self) {
        self.map.unlink().unwrap();
        self.list.unlink().unwrap();
    }
}
