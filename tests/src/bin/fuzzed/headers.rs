//! Headers that are whole but for one field, with the checksum that belongs to them: the field alone must
//! give them away, or else be one that the object can live with.

use crate::hand::{Hand, Post};
use crate::spoil::Bytes;
use crate::targets::Target;
use crate::{SEED, say};
use procession::Namespace;
use procession_shm::fnv;
use procession_tests::Dice;
use procession_tests::raw;
use std::sync::atomic::Ordering;

/// A field, how many bytes it has, and whether an object cannot be used when it is another.
struct Field {
    name: &'static str,
    at: usize,
    len: usize,
    decides: bool,
}

const fn field(name: &'static str, at: usize, len: usize, decides: bool) -> Field {
    Field { name, at, len, decides }
}

/// As the table in `crates/shm/src/header.rs`.
const FIELDS: [Field; 23] = [
    field("magic", 0, 8, true),
    field("format version", 8, 4, true),
    field("layout", 12, 4, true),
    field("kind", 16, 4, true),
    field("flags", 20, 4, true),
    field("state", 24, 4, true),
    field("codec", 28, 4, true),
    field("size", 32, 8, true),
    field("instance", 40, 16, false),
    field("registry", 56, 8, false),
    field("first parameter", 64, 8, false),
    field("second parameter", 72, 8, false),
    field("third parameter", 80, 8, false),
    field("fourth parameter", 88, 8, false),
    field("creator", 96, 4, false),
    field("mode", 100, 4, false),
    field("time", 104, 8, false),
    field("boot", 112, 16, false),
    field("hash of the tag", 128, 8, false),
    field("length of the tag", 136, 2, false),
    field("tag", 138, 246, false),
    field("length of the structure", 388, 2, false),
    field("structure", 390, 8, false),
];

/// What stands in a field instead.
const VALUES: [u64; 12] =
    [0, 1, 2, 3, 7, 77, (1 << 15) + 1, 1 << 16, 1 << 31, u32::MAX as u64, 1 << 63, u64::MAX];

/// Plays all of them.
pub(crate) fn play(target: &Target, namespace: &Namespace, bytes: &Bytes) {
    let whole = bytes.file();
    assert_eq!(sum(&whole).to_le_bytes(), whole[4088..4096], "the checksum is another one now");
    for field in &FIELDS {
        for value in VALUES {
            let mut wrong = whole.clone();
            let part = &mut wrong[field.at..field.at + field.len];
            let repeated: Vec<u8> = value.to_le_bytes().repeat(31);
            part.copy_from_slice(&repeated[..field.len]);
            if wrong == whole {
                continue;
            }
            let sum = sum(&wrong);
            wrong[4088..4096].copy_from_slice(&sum.to_le_bytes());
            say(&format!("{} = {value}", field.name));
            plant(target, namespace, &wrong);
            meet(target, namespace, bytes, field, value);
            plant(target, namespace, &whole);
        }
    }
}

/// Puts another file in the place of the object's.
fn plant(target: &Target, namespace: &Namespace, file: &[u8]) {
    let path = raw::path(namespace, target.file);
    let beside = path.with_extension("beside");
    std::fs::write(&beside, file).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&beside, mode).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// Opens what has a wrong header, and uses what that leads to.
fn meet(target: &Target, namespace: &Namespace, bytes: &Bytes, field: &Field, value: u64) {
    let mut hand = Hand::new(namespace, bytes, Post::First, Dice::new(value), false);
    SEED.store(value, Ordering::Relaxed);
    hand.now(field.name);
    // A registry that says it is garbage, or is another build's with nobody alive, is removed, and another made.
    let replaced = ["flags", "state", "format version", "layout"];
    let is_replaced = target.file == ".registry" && replaced.contains(&field.name);
    match (target.open)(namespace) {
        Ok(_) if field.decides && !is_replaced => {
            panic!("{} with {value} as its {} was opened", target.name, field.name)
        }
        Ok(subject) => {
            for _ in 0..3 {
                subject.operate(&mut hand);
            }
        }
        Err(error) => {
            let text = format!("{error} {error:?}");
            assert!(!text.is_empty());
        }
    }
    hand.rest();
}

/// The checksum of a header.
fn sum(file: &[u8]) -> u64 {
    let structure = usize::from(u16::from_le_bytes([file[388], file[389]])).min(3600);
    let fixed = [0..24, 28..56, 64..384, 388..390 + structure];
    fnv(&fixed.map(|range| &file[range]).concat())
}
