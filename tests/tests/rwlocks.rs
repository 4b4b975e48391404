//! Locks for readers and writers, across processes.

use procession_tests::{Actor, Scratch};

/// So many processes that have the lock `w` open.
fn cast<const N: usize>(scratch: &Scratch) -> [Actor; N] {
    let mut cast: [Actor; N] = std::array::from_fn(|_| Actor::start(scratch));
    for (index, actor) in cast.iter_mut().enumerate() {
        actor.does(if index == 0 { "create rwlock w" } else { "open rwlock w" });
    }
    cast
}

#[test]
fn neither_readers_nor_writers_starve() {
    let scratch = Scratch::new();
    let [mut one, mut two, hogs @ ..]: [Actor; 7] = cast(&scratch);
    let [mut reader, mut other_reader, mut third_reader, mut writer, mut other_writer] = hogs;
    for hog in [&mut reader, &mut other_reader, &mut third_reader] {
        hog.does("hog w reading");
    }
    // Bounded by the watchdog alone.
    for _ in 0..20 {
        one.does("write w");
        one.does("release");
    }
    for hog in [&mut writer, &mut other_writer] {
        hog.does("hog w writing");
    }
    for _ in 0..10 {
        one.tell("write w");
        two.tell("read w");
        one.tell("release");
        two.tell("release");
        for actor in [&mut one, &mut two] {
            assert_eq!((actor.did(), actor.did()), (String::new(), String::new()));
        }
    }
    one.does("unlink w");
}

#[test]
fn a_reader_too_many_waits_and_comes_in_when_the_crowd_dies() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut crowd] = cast(&scratch);
    crowd.does("read_all w");
    one.fails("try_read w", "WouldBlock");
    one.fails("read_timeout w 10", "TimedOut");
    one.waits("read w");
    two.waits("read w");
    // Who reads already needs no further place.
    crowd.does("read w");
    crowd.does("release");
    crowd.kill();
    one.did();
    two.did();
    one.does("release");
    two.fails("write w", "Deadlock");
    two.does("release");
    two.does("try_write w");
    two.does("release");
    one.does("unlink w");
}

#[test]
fn a_crowd_that_leaves_lets_in_all_who_wait_for_a_place() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut three, mut crowd] = cast(&scratch);
    crowd.does("read_all w");
    for late in [&mut one, &mut two, &mut three] {
        late.waits("read w");
    }
    crowd.does("release");
    for late in [&mut one, &mut two, &mut three] {
        late.did();
        late.does("release");
    }
    one.does("unlink w");
}
