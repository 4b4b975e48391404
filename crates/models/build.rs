//! Makes the mutants: copies of the protocols with one line made wrong, which the models must find out.

use std::path::Path;
use std::{env, fs};

/// One mistake: the file in `crates/sync/src`, the mutant's name, what stands there, and what is put in its place.
struct Mutant {
    file: &'static str,
    name: &'static str,
    from: &'static str,
    to: &'static str,
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        file: "lock_word.rs",
        name: "lock_word_that_drops_the_waiters",
        from: "let mut freed = word & (WAITERS | WOKEN | STARVED);",
        to: "let mut freed = word & (WOKEN | STARVED);",
    },
    Mutant {
        file: "lock_word.rs",
        name: "lock_word_that_releases_relaxed",
        from: "self.word.compare_exchange(me.0, 0, Ordering::Release, Ordering::Relaxed)",
        to: "self.word.compare_exchange(me.0, 0, Ordering::Relaxed, Ordering::Relaxed)",
    },
    Mutant {
        file: "lock_word.rs",
        name: "lock_word_that_acquires_relaxed",
        from: "self.word.compare_exchange(0, me.0, Ordering::Acquire, Ordering::Relaxed)",
        to: "self.word.compare_exchange(0, me.0, Ordering::Relaxed, Ordering::Relaxed)",
    },
    Mutant {
        file: "lock_word.rs",
        name: "lock_word_that_buries_the_wrong_owner",
        from: "if self.lock.word.compare_exchange(word, freed, Ordering::AcqRel, Ordering::Relaxed).is_ok() {",
        to: "if self.lock.word.swap(freed, Ordering::AcqRel) != 1 {",
    },
    Mutant {
        file: "lock_word.rs",
        name: "lock_word_that_keeps_a_wake_to_itself",
        from: "if word & OWNED == 0 && word & WAITERS != 0 {\n            self.lock.wake_one(word);",
        to: "if false {\n            self.lock.wake_one(word);",
    },
    Mutant {
        file: "lock_word.rs",
        name: "lock_word_that_quiets_a_sleeper",
        from: "Ok(_) if hints != WOKEN => drop(futex::wake_all(futex::low_half(&self.word))),",
        to: "",
    },
    Mutant {
        file: "lock_word.rs",
        name: "lock_word_that_leaves_a_wake_on_its_way",
        from: "Err(now) if now & WOKEN != 0 => {",
        to: "Err(now) if false => {",
    },
    Mutant {
        file: "eventcount.rs",
        name: "eventcount_that_quiets_a_sleeper",
        from: "                futex::wake_all(&self.word);\n            }\n        }\n        crash_point(\"eventcount.woke\");",
        to: "            }\n        }\n        crash_point(\"eventcount.woke\");",
    },
    Mutant {
        file: "eventcount.rs",
        name: "eventcount_without_a_fence",
        from: "        // SYNC: eventcount.dekker.\n        fence(Ordering::SeqCst);",
        to: "",
    },
    Mutant {
        file: "eventcount.rs",
        name: "eventcount_that_drops_a_waiter",
        from: "let before = self.word.fetch_or(WAITERS, Ordering::Relaxed);",
        to: "let before = self.word.load(Ordering::Relaxed);",
    },
];

fn main() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sync/src");
    let made = env::var("OUT_DIR").expect("cargo says where");
    println!("cargo::rerun-if-changed=build.rs");
    for mutant in MUTANTS {
        let path = sources.join(mutant.file);
        println!("cargo::rerun-if-changed={}", path.display());
        let text = fs::read_to_string(&path).expect("the protocol can be read");
        let places = text.matches(mutant.from).count();
        assert!(places == 1, "{}: {places} places for the mistake of {}", mutant.file, mutant.name);
        // An included file has no documentation of its own.
        let text: Vec<&str> = text.lines().filter(|line| !line.starts_with("//!")).collect();
        let text = text.join("\n").replace(mutant.from, mutant.to);
        fs::write(Path::new(&made).join(format!("{}.rs", mutant.name)), text).expect("it can be written");
    }
}
