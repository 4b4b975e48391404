//! Takes the protocols from `crates/sync`, `crates/channel` and `crates/collections`, scaled down, and makes the mutants: copies
//! with one line made wrong, which the models must find out.

mod mutants;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// A file that is compiled here too, and what there is less of in a model: each word costs time in every
/// interleaving.
struct Protocol {
    file: &'static str,
    scaled: &'static [(&'static str, &'static str)],
}

const fn whole(file: &'static str) -> Protocol {
    Protocol { file, scaled: &[] }
}

const PROTOCOLS: &[Protocol] = &[
    whole("sync/src/hold.rs"),
    // The low half of a word of loom's is no atomic of its own.
    Protocol {
        file: "sync/src/lock_word.rs",
        scaled: &[("-> (&AtomicU32, u32)", "-> (crate::kernel::LowHalf<'_>, u32)")],
    },
    // Of so few tags every one is used again at once.
    Protocol {
        file: "sync/src/tags.rs",
        scaled: &[
            ("pub(crate) const TAGS: u32 = 2047;", "pub const TAGS: u32 = 1;"),
            ("(TAGS as usize + 1) / 64;", "1;"),
            ("pub(crate) struct Tags", "#[derive(Debug)]\npub struct Tags"),
            ("pub(crate) const fn new", "pub fn new"),
            ("[const { AtomicU64::new(0) }; WORDS]", "[AtomicU64::new(0)]"),
            ("pub(crate) fn take", "pub fn take"),
            ("pub(crate) fn give_back", "pub fn give_back"),
        ],
    },
    whole("sync/src/eventcount.rs"),
    whole("sync/src/fault.rs"),
    whole("sync/src/keeper.rs"),
    whole("sync/src/fencing.rs"),
    whole("sync/src/holder.rs"),
    whole("sync/src/held_by.rs"),
    whole("sync/src/owner_death.rs"),
    whole("sync/src/lock_error.rs"),
    whole("sync/src/lock_face.rs"),
    whole("sync/src/lock.rs"),
    whole("sync/src/rlock.rs"),
    Protocol {
        file: "sync/src/rwlock.rs",
        scaled: &[
            ("pub const READERS: usize = 128;", "pub const READERS: usize = 2;"),
            ("[AtomicU64; READERS / 64]", "[AtomicU64; 1]"),
        ],
    },
    Protocol {
        file: "sync/src/gate.rs",
        scaled: &[("-> (&AtomicU32, u32)", "-> (crate::kernel::LowHalf<'_>, u32)")],
    },
    Protocol {
        file: "sync/src/event.rs",
        scaled: &[("-> (&AtomicU32, u32)", "-> (crate::kernel::LowHalf<'_>, u32)")],
    },
    Protocol {
        file: "sync/src/latch.rs",
        scaled: &[("-> (&AtomicU32, u32)", "-> (crate::kernel::LowHalf<'_>, u32)")],
    },
    whole("sync/src/permit_cells.rs"),
    whole("sync/src/semaphore.rs"),
    whole("sync/src/once.rs"),
    Protocol {
        file: "sync/src/condition.rs",
        scaled: &[("const CELLS: usize = 64;", "const CELLS: usize = 2;")],
    },
    Protocol {
        file: "sync/src/barrier.rs",
        scaled: &[("pub(super) const SPARE: usize = 64;", "pub(super) const SPARE: usize = 1;")],
    },
    whole("sync/src/integer.rs"),
    whole("sync/src/cells.rs"),
    whole("sync/src/plain_face.rs"),
    Protocol { file: "sync/src/value.rs", scaled: &[("const TRIES: u32 = 64;", "const TRIES: u32 = 2;")] },
    Protocol { file: "sync/src/array.rs", scaled: &[("const TRIES: u32 = 64;", "const TRIES: u32 = 2;")] },
    whole("channel/src/ring.rs"),
    whole("channel/src/codec.rs"),
    whole("channel/src/lane.rs"),
    whole("channel/src/messages.rs"),
    whole("channel/src/waiter.rs"),
    whole("channel/src/queue.rs"),
    whole("channel/src/pipe.rs"),
    Protocol {
        file: "channel/src/pipe_end.rs",
        scaled: &[("const HOME_LEN: usize = 240;", "const HOME_LEN: usize = 1;")],
    },
    whole("channel/src/joinable.rs"),
    whole("collections/src/collection_error.rs"),
    // Room for two spaces, and in each for two records.
    Protocol {
        file: "collections/src/collection_face.rs",
        scaled: &[
            ("const DEFAULT_BYTES: u64 = 16 << 30;", "const DEFAULT_BYTES: u64 = 192;"),
            ("const MIN_BYTES: u64 = 64 << 10;", "const MIN_BYTES: u64 = 64;"),
        ],
    },
    Protocol {
        file: "collections/src/store.rs",
        scaled: &[
            ("const SMALLEST: usize = 512;", "const SMALLEST: usize = 12;"),
            ("const FEWEST_PLACES: usize = 64;", "const FEWEST_PLACES: usize = 4;"),
            ("const STEP: usize = 512;", "const STEP: usize = 12;"),
            ("const TRIES: u32 = 64;", "const TRIES: u32 = 2;"),
            ("0..TRIES / 8", "0..TRIES"),
        ],
    },
    whole("collections/src/map.rs"),
    whole("collections/src/list.rs"),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=mutants.rs");
    println!("cargo::rerun-if-changed=mutants");
    let made = PathBuf::from(env::var("OUT_DIR").expect("cargo says where"));
    let protocols: Vec<(&str, String)> =
        PROTOCOLS.iter().map(|protocol| (protocol.name(), protocol.text())).collect();
    let mut modules = String::new();
    for (name, text) in &protocols {
        write!(modules, "pub mod {name} {{\n{text}\n}}\n").expect("a string has room");
    }
    fs::write(made.join("protocols.rs"), modules).expect("it can be written");

    let mut modules = String::new();
    for mutant in mutants::MUTANTS.iter().copied().flatten() {
        write!(modules, "pub mod {} {{\n{}\n}}\n", mutant.name, mutant.text(&protocols))
            .expect("a string has room");
    }
    fs::write(made.join("mutants.rs"), modules).expect("it can be written");
}

impl Protocol {
    fn name(&self) -> &'static str {
        Path::new(self.file).file_stem().and_then(|stem| stem.to_str()).expect("a file with a name")
    }

    /// The file with its sub-modules inside.
    fn text(&self) -> String {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut text = read(&crates.join(self.file));
        for (from, to) in self.scaled {
            text = replace_once(&text, from, to, self.file);
        }
        text
    }
}

impl mutants::Mutant {
    /// The protocol with the mistake, copies of those that are to use it, and all the others as they are.
    fn text(&self, protocols: &[(&str, String)]) -> String {
        let mut text = String::new();
        for (name, right) in protocols {
            if *name != self.protocol && !self.used_by.contains(name) {
                writeln!(text, "pub use crate::{name};").expect("a string has room");
                continue;
            }
            let mut copy = right.clone();
            if *name == self.protocol {
                copy = replace_once(&copy, self.from, self.to, self.name);
            }
            for other in std::iter::once(&self.protocol).chain(self.used_by) {
                for end in ["::", ";"] {
                    let copied = format!("crate::mutants::{}::{other}{end}", self.name);
                    copy = copy.replace(&format!("crate::{other}{end}"), &copied);
                }
            }
            write!(text, "pub mod {name} {{\n{copy}\n}}\n").expect("a string has room");
        }
        text
    }
}

fn replace_once(text: &str, from: &str, to: &str, what: &str) -> String {
    let places = text.matches(from).count();
    assert!(places == 1, "{what}: {places} places for {from}");
    text.replace(from, to)
}

/// A file without its tests and its own documentation, and with its sub-modules inside.
fn read(path: &Path) -> String {
    println!("cargo::rerun-if-changed={}", path.display());
    let text = fs::read_to_string(path).expect("the protocol can be read");
    let mut kept = String::new();
    let mut lines = text.lines().filter(|line| !line.starts_with("//!")).peekable();
    while let Some(line) = lines.next() {
        let next = lines.peek().copied().unwrap_or_default();
        if line == "#[cfg(test)]" && next == "mod tests;" {
            lines.next();
        } else if line == "#[cfg(test)]" && next == "mod tests {" {
            lines.find(|line| *line == "}");
        } else if let Some((visibility, name)) = sub_module(line) {
            let inner = read(&path.with_extension("").join(format!("{name}.rs")));
            write!(kept, "{visibility}mod {name} {{\n{inner}\n}}\n").expect("a string has room");
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    // To the explorer, std's is nothing that lets others go on.
    kept.replace("std::thread::yield_now", "loom::thread::yield_now")
}

/// The module that this line says to be in a file of its own, and who may see it.
fn sub_module(line: &str) -> Option<(&str, &str)> {
    let visibility = if line.starts_with("pub(crate) ") { "pub(crate) " } else { "" };
    let name = line[visibility.len()..].strip_prefix("mod ")?.strip_suffix(';')?;
    Some((visibility, name))
}
