//! Mistakes in maps and lists.

use super::Mutant;

const USERS: &[&str] = &["map", "list", "collection_face"];

const fn store(name: &'static str, from: &'static str, to: &'static str) -> Mutant {
    Mutant { name, protocol: "store", used_by: USERS, from, to }
}

pub(super) const MUTANTS: &[Mutant] = &[
    store(
        "store_that_moves_relaxed",
        "store.body.generation.store(generation, Ordering::Release);",
        "store.body.generation.store(generation, Ordering::Relaxed);",
    ),
    store(
        "store_that_reuses_without_a_fence",
        "        fence(Ordering::Release);\n        let generation",
        "        let generation",
    ),
    store(
        "store_that_reads_without_a_fence",
        "            // SYNC: store.reuse.\n            fence(Ordering::Acquire);\n",
        "",
    ),
    store(
        "store_that_builds_where_it_is",
        "let start = if len <= old.start { 0 } else { old.start + old.words.len() };",
        "let start = 0;",
    ),
    store(
        "table_that_places_relaxed",
        "place.store(key.tag() | at as u64, Ordering::Release);",
        "place.store(key.tag() | at as u64, Ordering::Relaxed);",
    ),
    store(
        "table_that_announces_nothing",
        "progress.count.store(len | (spot.place as u64 + 1) << PLACE_SHIFT, Ordering::Release);",
        "",
    ),
    store("table_that_believes_announcements", "(false, true) => len + 1,", "(false, _) => len + 1,"),
    store(
        "table_whose_dead_are_not_corrected",
        "        let len = counted(space, count)?;\n        // SYNC: store.stamp.",
        "        let len = count & LEN;\n        // SYNC: store.stamp.",
    ),
    store(
        "table_whose_snapshots_are_not_stamped",
        "Stamp::of(space) == stamp && self.body.generation",
        "self.body.generation",
    ),
    store(
        "sequence_that_does_not_tell",
        "rewrites.store(rewrites.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);",
        "",
    ),
    store(
        "sequence_that_tells_late",
        "            crash_point(\"sequence.rewriting\");\n            fence(Ordering::Release);\n",
        "            crash_point(\"sequence.rewriting\");\n",
    ),
    store(
        "sequence_that_pushes_relaxed",
        "space.progress.count.store(end as u64, Ordering::Release);",
        "space.progress.count.store(end as u64, Ordering::Relaxed);",
    ),
    store(
        "sequence_that_counts_first",
        "        space.progress.used.store(used.max(end) as u64, Ordering::Relaxed);",
        "        space.progress.used.store(used.max(end) as u64, Ordering::Relaxed);\n        space.progress.count.store(end as u64, Ordering::Release);",
    ),
];
