//! Looks and changes behind the library's back: the files in `/dev/shm` as bytes.

use procession::Namespace;
use procession::shm::Entry;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

/// Where the body begins.
pub const BODY: u64 = 4096;
/// Where the header says that the object is being removed.
pub const STATE: u64 = 24;
/// Where the first slot of a registry begins; a slot's first word is its generation.
pub const SLOTS: u64 = BODY + 64;
/// How long a slot is.
pub const SLOT_LEN: u64 = 128;

/// Hint in a lock word: somebody may sleep.
pub const WAITERS: u64 = 1 << 31;
/// In a lock word: an owner died.
pub const INCONSISTENT: u64 = 1 << 30;
/// In a lock word: somebody holds it.
pub const OWNED: u64 = 1 << 29;
/// Hint in a lock word: a woken waiter is on its way.
pub const WOKEN: u64 = 1 << 28;
/// Hint in a lock word: a waiter has lost for long.
pub const STARVED: u64 = 1 << 27;

/// The file of an object.
#[must_use]
pub fn path(namespace: &Namespace, object: &str) -> PathBuf {
    PathBuf::from("/dev/shm").join(namespace.file_name(object))
}

/// The file of the namespace's registry.
#[must_use]
pub fn registry(namespace: &Namespace) -> PathBuf {
    path(namespace, ".registry")
}

/// Eight bytes of an object's file.
#[must_use]
pub fn peek(namespace: &Namespace, object: &str, offset: u64) -> u64 {
    let mut bytes = [0; 8];
    File::open(path(namespace, object)).unwrap().read_exact_at(&mut bytes, offset).unwrap();
    u64::from_le_bytes(bytes)
}

/// Changes bytes of an object's file.
pub fn poke(namespace: &Namespace, object: &str, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path(namespace, object)).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

/// The word of a lock, which is the first of its body.
#[must_use]
pub fn lock_word(namespace: &Namespace, lock: &str) -> u64 {
    peek(namespace, lock, BODY)
}

/// Who owns a lock according to its word, as `register` of an actor says it: `slot.generation`.
#[must_use]
pub fn lock_owner(namespace: &Namespace, lock: &str) -> Option<String> {
    let word = lock_word(namespace, lock);
    (word & OWNED != 0).then(|| format!("{}.{}", word & 0xffff, word >> 32))
}

/// Whether the segment says that it is being removed.
#[must_use]
pub fn is_retired(namespace: &Namespace, object: &str) -> bool {
    peek(namespace, object, STATE) & 0xffff_ffff == 1
}

/// Whether this process has the entry's file mapped.
pub(crate) fn has_mapped(entry: &Entry) -> bool {
    let Ok(meta) = std::fs::metadata(path(&entry.namespace, &entry.name)) else { return true };
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let inode = meta.ino().to_string();
    maps.lines().any(|line| line.split_whitespace().nth(4) == Some(&inode))
}
