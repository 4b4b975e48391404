//! Nonsense in a file: random, and such as a protocol may take for its own.

use procession::Namespace;
use procession_shm::OwnerId;
use procession_tests::Dice;
use procession_tests::raw;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

/// What a lock's word, a permit's or a place may hold beside an owner.
const FLAGS: [u64; 12] = [
    0,
    raw::OWNED,
    raw::OWNED | raw::WAITERS,
    raw::OWNED | raw::WAITERS | raw::WOKEN | raw::STARVED,
    raw::INCONSISTENT,
    raw::INCONSISTENT | raw::OWNED,
    raw::WAITERS | raw::WOKEN,
    raw::STARVED,
    1 << 16,
    2 << 16,
    3 << 16,
    5 << 16,
];
/// Where most of the words lie that matter.
const FRONT: usize = 640;

/// The body of an object, behind the library's back.
pub(crate) struct Bytes {
    file: File,
    fresh: Vec<u8>,
    /// This process.
    slot: u64,
    generation: u64,
}

impl Bytes {
    pub(crate) fn of(namespace: &Namespace, object: &str, me: OwnerId) -> Self {
        let path = raw::path(namespace, object);
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut fresh = vec![0; (file.metadata().unwrap().len() - raw::BODY) as usize];
        file.read_exact_at(&mut fresh, raw::BODY).unwrap();
        Self { file, fresh, slot: u64::from(me.slot()), generation: u64::from(me.generation()) }
    }

    /// The whole file as it was at first.
    pub(crate) fn file(&self) -> Vec<u8> {
        let mut page = vec![0; raw::BODY as usize];
        self.file.read_exact_at(&mut page, 0).unwrap();
        page.extend_from_slice(&self.fresh);
        page
    }

    /// Changes bytes of the header, too.
    pub(crate) fn write(&self, bytes: &[u8], at: u64) {
        self.file.write_all_at(bytes, at).unwrap();
    }

    /// Makes the body what it was at first.
    pub(crate) fn restore(&self) {
        self.write(&self.fresh, raw::BODY);
    }

    /// Spoils the body in one of many ways. Unless it may name the `living`, whoever is named in it
    /// afterwards is dead, or nobody.
    pub(crate) fn spoil(&self, dice: &mut Dice, living: bool) {
        let mut body = vec![0; self.fresh.len()];
        self.file.read_exact_at(&mut body, raw::BODY).unwrap();
        let before = body.clone();
        spoil(&mut body, dice, [self.slot, self.generation]);
        if !living {
            self.bury(&mut body);
        }
        // Only what has changed: others may be writing the rest.
        for (index, (new, old)) in body.chunks(8).zip(before.chunks(8)).enumerate() {
            if new != old {
                self.write(new, raw::BODY + 8 * index as u64);
            }
        }
    }

    /// Makes this process where it is named one that died.
    fn bury(&self, body: &mut [u8]) {
        for bytes in body.chunks_exact_mut(8) {
            let word = u64::from_le_bytes(bytes.try_into().unwrap());
            let age = (self.generation as u32).wrapping_sub((word >> 32) as u32).cast_signed();
            if word & 0xffff == self.slot && age <= 0 {
                let dead = (word & 0xffff_ffff) | (self.generation - 1) << 32;
                bytes.copy_from_slice(&dead.to_le_bytes());
            }
        }
    }
}

/// Spoils `body`; `me` is a slot that is taken, and its generation.
pub(crate) fn spoil(body: &mut [u8], dice: &mut Dice, me: [u64; 2]) {
    match dice.below(9) {
        0 => body.fill_with(|| dice.below(256) as u8),
        1..3 => {
            for _ in 0..=dice.below(8) {
                let at = place(body.len(), dice);
                body[at] ^= 1 << dice.below(8);
            }
        }
        3..6 => {
            for _ in 0..=dice.below(6) {
                let word = plausible(dice, me);
                put_word(body, dice, word);
            }
        }
        6 => {
            // Half a word, where two things share one.
            let half: u32 = [0, 1, u32::MAX, u32::MAX - 1, 1 << 31][dice.below(5) as usize];
            let at = place(body.len(), dice) / 4 * 4;
            body[at..].iter_mut().zip(half.to_le_bytes()).for_each(|(to, from)| *to = from);
        }
        7 => {
            let with = [0x00, 0xff][dice.below(2) as usize];
            range(body, dice).fill(with);
        }
        _ => {
            // One word, again and again: all cells are taken.
            let word = plausible(dice, me);
            range(body, dice)
                .chunks_exact_mut(8)
                .for_each(|bytes| bytes.copy_from_slice(&word.to_le_bytes()));
        }
    }
}

fn put_word(body: &mut [u8], dice: &mut Dice, word: u64) {
    let at = place(body.len(), dice) / 8 * 8;
    // What is left of the body may be less than a word.
    body[at..].iter_mut().zip(word.to_le_bytes()).for_each(|(to, from)| *to = from);
}

/// A place in the body, more often in front.
fn place(len: usize, dice: &mut Dice) -> usize {
    let end = if dice.below(4) == 0 { len } else { len.min([FRONT, 96, 40][dice.below(3) as usize]) };
    dice.below(end as u64) as usize
}

/// Some whole words of the body.
fn range<'a>(body: &'a mut [u8], dice: &mut Dice) -> &'a mut [u8] {
    let from = place(body.len(), dice) / 8 * 8;
    let to = if dice.below(2) == 0 { body.len() } else { (from + 64).min(body.len()) };
    &mut body[from..to]
}

/// A word that somebody may have written.
fn plausible(dice: &mut Dice, [slot, generation]: [u64; 2]) -> u64 {
    let flags = FLAGS[dice.below(FLAGS.len() as u64) as usize];
    let tag = [0, 1 << 16, dice.below(1 << 11) << 16][dice.below(3) as usize];
    match dice.below(12) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => 1 << dice.below(64),
        4 => dice.below(u64::MAX),
        // Somebody who is no more, and this process.
        5 => slot | (generation - 1) << 32 | flags | tag,
        6 | 7 => slot | generation << 32 | flags | tag,
        // Somebody who never was, and who cannot be.
        8 => dice.below(8) | 1 << 32 | flags | tag,
        9 => 0xffff | 7 << 32 | flags,
        // Counts.
        10 => dice.below(300),
        _ => dice.below(300) << 32 | dice.below(300),
    }
}
