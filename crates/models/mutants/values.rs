//! Mistakes in plain data: `Value`, `Array`.

use super::Mutant;

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "value_that_commits_relaxed",
        protocol: "value",
        used_by: &[],
        from: "self.body.version.store(next, Ordering::Release);",
        to: "self.body.version.store(next, Ordering::Relaxed);",
    },
    Mutant {
        name: "value_that_reuses_without_a_fence",
        protocol: "value",
        used_by: &[],
        from: "        // SYNC: value.reuse.\n        fence(Ordering::Release);\n",
        to: "",
    },
    Mutant {
        name: "value_that_reads_without_a_fence",
        protocol: "value",
        used_by: &[],
        from: "        // SYNC: value.reuse.\n        fence(Ordering::Acquire);\n",
        to: "",
    },
    Mutant {
        name: "value_that_builds_in_the_copy_that_counts",
        protocol: "value",
        used_by: &[],
        from: "store_words(self.copy(next), bytemuck",
        to: "store_words(self.copy(next.wrapping_sub(1)), bytemuck",
    },
    Mutant {
        name: "value_that_does_not_look_aside",
        protocol: "value",
        used_by: &[],
        from: "                let outcome =\n                    self.body.word.compare_exchange(word, ASIDE, Ordering::AcqRel, Ordering::Acquire);",
        to: "                let outcome = Ok::<u64, u64>(word);\n                self.body.word.store(ASIDE, Ordering::Release);",
    },
    Mutant {
        name: "array_that_commits_relaxed",
        protocol: "array",
        used_by: &[],
        from: "self.body.log.store(next | PENDING, Ordering::Release);",
        to: "self.body.log.store(next | PENDING, Ordering::Relaxed);",
    },
    Mutant {
        name: "array_without_a_log",
        protocol: "array",
        used_by: &[],
        from: "if log & PENDING == 0 {\n                return Ok(from_word(element));",
        to: "if true {\n                return Ok(from_word(element));",
    },
    Mutant {
        name: "array_that_leaves_it_to_the_dead",
        protocol: "array",
        used_by: &[],
        from: "let held = HeldArray { array: self, me, not_send: PhantomData };\n        self.apply();",
        to: "let held = HeldArray { array: self, me, not_send: PhantomData };",
    },
];
