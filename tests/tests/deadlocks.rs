//! Deadlocks are seen, told apart from waits that end, and broken where that was asked for.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use procession::{Deadlock, blocked_in, deadlocks_in};
use procession_tests::{Actor, Scratch, until};

/// `count` processes, each of which holds the lock of its number and waits for the next one's; the last waits
/// for the first's once `close` is called.
fn chain(scratch: &Scratch, count: usize, options: &str) -> Vec<Actor> {
    let mut actors: Vec<Actor> = (0..count).map(|_| Actor::start(scratch)).collect();
    for (index, actor) in actors.iter_mut().enumerate() {
        actor.does(&format!("create lock l{index} {options}"));
        actor.does(&format!("acquire l{index}"));
    }
    for (index, actor) in actors.iter_mut().enumerate() {
        let next = (index + 1) % count;
        actor.does(&format!("open lock l{next}"));
        if next != 0 {
            actor.waits(&format!("acquire l{next}"));
        }
    }
    until("the waits are shown", || blocked(scratch) == count - 1);
    actors
}

fn blocked(scratch: &Scratch) -> usize {
    blocked_in(scratch).unwrap().len()
}

fn unlink(scratch: &Scratch) {
    for entry in scratch.list().unwrap().iter().filter(|entry| !entry.is_registry()) {
        scratch.unlink(&entry.name).unwrap();
    }
}

fn found(scratch: &Scratch) -> Vec<Deadlock> {
    deadlocks_in(scratch).unwrap()
}

#[test]
fn a_circle_is_reported_with_who_waits_for_what_and_a_chain_is_not() {
    let scratch = Scratch::new();
    let mut actors = chain(&scratch, 3, "");
    assert!(found(&scratch).is_empty(), "a chain has an end");
    actors[2].waits("acquire_timeout l0 60000");
    until("the circle is found", || !found(&scratch).is_empty());
    let [deadlock] = found(&scratch).try_into().unwrap();
    let threads = deadlock.threads;
    assert_eq!(threads.len(), 3);
    for (index, thread) in threads.iter().enumerate() {
        let next = (index + 1) % 3;
        assert_eq!(thread.process.pid, actors[index].pid());
        assert_eq!(thread.object.as_deref(), Some(&*format!("l{next}")));
        assert_eq!((thread.kind, thread.is_timed), ("lock", index == 2));
        assert_eq!(thread.holder.as_ref().unwrap().pid, actors[next].pid());
    }
    // One of them dies: there is no circle any more, and nobody waits for ever.
    actors.pop().unwrap().kill();
    actors[1].failed("OwnerDied");
    assert!(found(&scratch).is_empty());
    actors[1].does("release");
    actors[0].did();
    until("nobody waits", || blocked(&scratch) == 0);
    unlink(&scratch);
}

#[test]
fn of_a_circle_exactly_one_backs_out_and_the_others_go_on() {
    let scratch = Scratch::new();
    let mut actors = chain(&scratch, 4, "detecting");
    actors[3].fails("acquire l0", "Deadlock");
    assert!(!actors[..3].iter().any(Actor::has_answered));
    actors[3].does("release");
    for index in (0..3).rev() {
        actors[index].did();
        actors[index].does("release");
        actors[index].does("release");
    }
    unlink(&scratch);
}

#[test]
fn whoever_waits_for_a_circle_without_being_in_it_waits_on() {
    let scratch = Scratch::new();
    let mut actors = chain(&scratch, 2, "detecting");
    let mut outsider = Actor::start(&scratch);
    outsider.does("open lock l0");
    outsider.waits("acquire l0");
    actors[1].fails("acquire l0", "Deadlock");
    assert!(!outsider.has_answered());
    actors.pop().unwrap().kill();
    actors[0].failed("OwnerDied");
    actors[0].does("release");
    outsider.did();
    unlink(&scratch);
}

#[test]
fn threads_of_one_process_are_told_apart() {
    let scratch = Scratch::new();
    let mut actor = Actor::start(&scratch);
    actor.does("create lock a detecting");
    actor.does("acquire a");
    // Another thread waits for this one, which waits for nobody: no circle, though it is one process.
    actor.fails("in_a_thread a 200", "TimedOut");
    unlink(&scratch);
}

#[test]
fn waits_that_only_passed_through_each_other_are_no_deadlock() {
    // Each takes both locks, one after the other and never together, again and again.
    let scratch = Scratch::new();
    let mut actors: Vec<Actor> = (0..4).map(|_| Actor::start(&scratch)).collect();
    for actor in &mut actors {
        actor.does("open_or_create lock a detecting");
        actor.does("open_or_create lock b detecting");
    }
    for (index, actor) in actors.iter_mut().enumerate() {
        let (first, second) = if index % 2 == 0 { ("a", "b") } else { ("b", "a") };
        actor.tell(&format!("take_turns {first} {second} 60"));
    }
    for actor in &mut actors {
        actor.did();
    }
    unlink(&scratch);
}

/// So many processes that have the locks for readers and writers `v` and `w`, and the locks `l` and `m`,
/// open; of the first kind as `options` say.
fn cast<const N: usize>(scratch: &Scratch, options: &str) -> [Actor; N] {
    let mut cast: [Actor; N] = std::array::from_fn(|_| Actor::start(scratch));
    for (index, actor) in cast.iter_mut().enumerate() {
        for rwlock in ["v", "w"] {
            actor.does(&if index == 0 {
                format!("create rwlock {rwlock} {options}")
            } else {
                format!("open rwlock {rwlock}")
            });
        }
        for lock in ["l", "m"] {
            actor.does(&format!("open_or_create lock {lock}"));
        }
    }
    cast
}

#[test]
fn a_writer_is_in_a_circle_with_one_of_those_who_read() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut idle, mut waiting, mut holder] = cast(&scratch, "");
    holder.does("acquire m");
    idle.does("read w");
    waiting.does("read w");
    waiting.waits("acquire m");
    one.does("read w");
    two.does("acquire l");
    one.waits("acquire l");
    two.waits("write w");
    until("the circle is found", || !found(&scratch).is_empty());
    let [deadlock] = found(&scratch).try_into().unwrap();
    let [reader, writer] = deadlock.threads.try_into().unwrap();
    assert_eq!((reader.process.pid, reader.kind), (one.pid(), "lock"));
    assert_eq!((writer.process.pid, writer.kind), (two.pid(), "rwlock"));
    assert_eq!(writer.holder.unwrap().pid, one.pid());
    // The others are in nobody's way any more, and it is one all the same.
    holder.does("release");
    waiting.did();
    waiting.does("release");
    waiting.does("release");
    idle.does("release");
    until("it is found again", || found(&scratch).len() == 1);
    one.kill();
    two.did();
    assert!(found(&scratch).is_empty());
    unlink(&scratch);
}

#[test]
fn a_writer_backs_out_of_a_circle_with_a_reader() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut idle] = cast(&scratch, "detecting");
    idle.does("read w");
    one.does("read w");
    two.does("acquire l");
    one.waits("acquire l");
    two.fails("write w", "Deadlock");
    assert!(!one.has_answered());
    // It did not keep others out.
    idle.does("release");
    idle.does("try_read w");
    two.does("release");
    one.did();
    unlink(&scratch);
}

#[test]
fn a_reader_backs_out_of_a_circle_with_a_writer() {
    let scratch = Scratch::new();
    let [mut one, mut two] = cast(&scratch, "detecting");
    one.does("write w");
    two.does("acquire l");
    one.waits("acquire l");
    two.fails("read w", "Deadlock");
    assert!(!one.has_answered());
    two.does("release");
    one.did();
    unlink(&scratch);
}

#[test]
fn a_reader_behind_a_writer_that_waits_is_in_its_circle() {
    let scratch = Scratch::new();
    let [mut reader, mut writer, mut queued] = cast(&scratch, "detecting");
    reader.does("read w");
    queued.does("acquire l");
    // The writer waits for the reader, which will wait for the queued one, which waits for the writer.
    writer.waits("write w");
    queued.tell("read w");
    queued.falls_asleep();
    reader.waits("acquire l");
    // One of the two who wait for `w` backs out, whichever was shown last. If it is the writer, the other is
    // let in, and may say so first.
    let answer = queued.answer();
    if answer.starts_with("error") {
        assert!(answer.starts_with("error Deadlock"), "{answer}");
        queued.does("release");
        reader.did();
        reader.does("release");
        reader.does("release");
        writer.did();
    } else {
        writer.failed("Deadlock");
        queued.does("release");
        queued.does("release");
        reader.did();
    }
    unlink(&scratch);
}

#[test]
fn circles_of_three_through_both_kinds_of_locks_are_found() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut three, mut idle] = cast(&scratch, "detecting");
    idle.does("read v");
    idle.does("read w");
    one.does("read w");
    two.does("acquire l");
    three.does("read v");
    one.waits("acquire l");
    two.waits("write v");
    three.tell("write w");
    // Either of the writers: `l` does not detect.
    until("one of them backs out", || two.has_answered() || three.has_answered());
    assert!(!one.has_answered() && two.has_answered() != three.has_answered());
    let told = if two.has_answered() { &mut two } else { &mut three };
    told.failed("Deadlock");
    assert!(found(&scratch).is_empty());
    unlink(&scratch);
}

#[test]
fn two_writers_find_each_other_among_readers_that_wait_for_something_else() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut holder, mut third, mut fourth] = cast(&scratch, "");
    holder.does("acquire m");
    for bystander in [&mut third, &mut fourth] {
        bystander.does("read v");
        bystander.does("read w");
        bystander.waits("acquire m");
    }
    one.does("read v");
    two.does("read w");
    one.waits("write w");
    two.waits("write v");
    until("the circle is found", || !found(&scratch).is_empty());
    let [deadlock] = found(&scratch).try_into().unwrap();
    assert_eq!(deadlock.threads.iter().map(|thread| thread.kind).collect::<Vec<_>>(), ["rwlock"; 2]);
    unlink(&scratch);
}

#[test]
fn readers_that_want_to_write_are_told_at_once() {
    let scratch = Scratch::new();
    let [mut one, mut two] = cast(&scratch, "");
    one.does("read w");
    two.does("read w");
    one.fails("write w", "Deadlock");
    two.fails("write w", "Deadlock");
    one.fails("try_write w", "WouldBlock");
    two.does("release");
    one.fails("write w", "Deadlock");
    one.does("release");
    one.does("write w");
    unlink(&scratch);
}

#[test]
fn readers_and_writers_that_only_pass_each_other_are_no_deadlock() {
    let scratch = Scratch::new();
    let mut cast: [Actor; 6] = cast(&scratch, "detecting");
    for actor in &mut cast {
        actor.tell("mix w l 60");
    }
    while !cast.iter().all(Actor::has_answered) {
        assert!(found(&scratch).is_empty());
        std::thread::yield_now();
    }
    for actor in &mut cast {
        actor.did();
    }
    unlink(&scratch);
}
