//! A reader dies and is as if it had left; a writer dies, and everybody is told, once, if it was inside.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    claimed at "rwlock.claimed": reading_unnoticed;
    reading at "rwlock.reading": reading_unnoticed;
    reading_with_a_writer_asleep at "rwlock.reading": reading_while_a_writer_waits;
    claimed_with_a_writer_asleep at "rwlock.claimed": reading_while_a_writer_waits;
    deeper at "rwlock.deeper": going_deeper;
    shallower at "rwlock.shallower": coming_back;
    left at "rwlock.left": leaving;
    queued at "rwlock.queued": queueing_for_a_writer;
    draining at "rwlock.draining": draining_alone;
    announced at "rwlock.announced": draining_a_reader;
    reader_found_dead at "rwlock.reader_found_dead": burying_a_reader;
    buried at "rwlock.buried": burying_a_reader;
    writing at "rwlock.writing": writing_alone;
    writing_again at "rwlock.writing": recovering;
    written at "rwlock.written": leaving_as_a_writer;
    reading_after_a_downgrade at "rwlock.reading": downgrading;
    written_after_a_downgrade at "rwlock.written": downgrading_to_the_end;
    used at "rwlock.used": reading_unnoticed;
    used_with_a_writer_asleep at "rwlock.used": reading_while_a_writer_waits;
    ignored at "rwlock.ignored": ignoring;
    announced_in_time at "rwlock.announced": draining_in_time;
    announced_as_the_reader_leaves at "rwlock.announced": leaving_as_the_time_runs_out;
    left_by_a_crowd at "rwlock.left": leaving_a_crowd;
    queued_in_a_crowd at "rwlock.queued": queueing_in_a_crowd;
    buried_for_a_place at "rwlock.buried": burying_a_crowd;
    reader_found_dead_for_a_place at "rwlock.reader_found_dead": burying_a_crowd;
    announced_to_the_dead at "rwlock.announced": burying_all_at_once;
    owner_found_dead at "lock.owner_found_dead": succeeding_the_dead;
    buried_owner at "lock.buried": succeeding_the_dead;
    acquired_from_the_dead at "lock.acquired_contended": succeeding_the_dead;
    queued_after_the_dead at "rwlock.queued": succeeding_the_dead;
    draining_after_the_dead at "rwlock.draining": succeeding_the_dead;
    writing_after_the_dead at "rwlock.writing": succeeding_the_dead;
    claimed_after_the_dead at "rwlock.claimed": succeeding_the_dead;
    written_after_recovering at "rwlock.written": leaving_recovered;
    left_while_recovering at "rwlock.draining": leaving_unrecovered;
}

/// Three processes that have `w` open.
fn cast(scratch: &Scratch) -> (Actor, Actor, Actor) {
    let [mut victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(scratch));
    one.does("create rwlock w");
    victim.does("open rwlock w");
    two.does("open rwlock w");
    (victim, one, two)
}

/// Nobody is told of a death; the lock works in both ways.
fn works(one: &mut Actor, two: &mut Actor) {
    one.does("read w");
    two.does("read w");
    two.does("release");
    two.fails("try_write w", "WouldBlock");
    two.waits("write w");
    one.does("release");
    two.did();
    one.fails("try_read w", "WouldBlock");
    one.fails("read_timeout w 10", "TimedOut");
    one.waits("read w");
    two.does("release");
    one.did();
    one.does("release");
    assert_eq!(one.does("readers w"), "0");
    one.does("unlink w");
}

/// Everybody is told that `pid` died writing, until one recovers.
fn told(one: &mut Actor, two: &mut Actor, pid: u32) {
    let died = format!("OwnerDied {{ pid: {pid} }}");
    one.fails("read w", &died);
    two.fails("try_read w", &died);
    one.fails("write w", &died);
    assert_eq!(two.does("recover w"), "recovers");
    one.fails("try_read w", "WouldBlock");
    two.does("release");
    works(one, two);
}

fn reading_unnoticed(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    victim.dies_at(label, "read w");
    one.does("read w");
    one.does("release");
    // A try finds the dead reader too.
    two.does("try_write w");
    two.does("release");
    works(&mut one, &mut two);
}

fn reading_while_a_writer_waits(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.stops_at(label, "read w");
    if label == "rwlock.used" {
        // It has no cell yet: it is not waited for.
        one.does("write w");
        one.does("release");
        one.does("write w");
    } else {
        one.waits("write w");
    }
    two.waits("read w");
    victim.kill();
    if label != "rwlock.used" {
        one.did();
    }
    one.does("release");
    two.did();
    two.does("release");
    works(&mut one, &mut two);
}

fn going_deeper(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.does("read w");
    one.waits("write w");
    victim.dies_at(label, "read w");
    one.did();
    one.does("release");
    works(&mut one, &mut two);
}

fn coming_back(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.does("read w");
    one.waits("write w");
    victim.does("read w");
    victim.dies_at(label, "release");
    one.did();
    one.does("release");
    works(&mut one, &mut two);
}

fn leaving(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.does("read w");
    one.waits("write w");
    // The writer is not woken, and looks by itself.
    victim.dies_at(label, "release");
    one.did();
    one.does("release");
    works(&mut one, &mut two);
}

fn queueing_for_a_writer(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    one.does("write w");
    victim.does(&format!("arm {label} 1 kill"));
    victim.waits("read w");
    two.waits("read w");
    one.does("release");
    two.did();
    two.does("release");
    one.does("read w");
    one.does("release");
    victim.dies();
    works(&mut one, &mut two);
}

fn draining_alone(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.stops_at(label, "write w");
    one.waits("read w");
    two.waits("write w");
    victim.kill();
    // Whoever comes first; a reader then leaves, so that the writer gets its turn.
    one.tell("release");
    two.tell("release");
    for actor in [&mut one, &mut two] {
        assert_eq!((actor.did(), actor.did()), (String::new(), String::new()));
    }
    works(&mut one, &mut two);
}

fn draining_a_reader(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    one.does("read w");
    victim.dies_at(label, "write w");
    // It never was inside.
    two.does("read w");
    two.does("release");
    one.does("release");
    works(&mut one, &mut two);
}

fn burying_a_reader(label: &str) {
    let scratch = Scratch::new();
    let (mut reader, mut one, mut two) = cast(&scratch);
    reader.does("read w");
    reader.kill();
    for command in ["write w", "try_write w"] {
        let mut victim = Actor::start(&scratch);
        victim.does("open rwlock w");
        if label == "rwlock.buried" && command == "try_write w" {
            break;
        }
        victim.dies_at(label, command);
    }
    works(&mut one, &mut two);
}

fn writing_alone(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    let pid = victim.pid();
    victim.stops_at(label, "write w");
    one.waits("read w");
    two.waits("write w");
    victim.kill();
    one.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    two.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    told(&mut one, &mut two, pid);
}

fn recovering(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    let pid = victim.pid();
    let mut heir = Actor::start(&scratch);
    heir.does("open rwlock w");
    victim.does("write w");
    victim.kill();
    heir.dies_at(label, "recover w");
    told(&mut one, &mut two, pid);
}

fn leaving_as_a_writer(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.does("write w");
    one.waits("read w");
    victim.dies_at(label, "release");
    one.did();
    one.does("release");
    works(&mut one, &mut two);
}

fn downgrading(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    let pid = victim.pid();
    // Until it has let the lock go, it is a writer.
    victim.dies_at(label, "downgrade w");
    told(&mut one, &mut two, pid);
    let (mut reader, mut one, mut two) = cast(&scratch);
    reader.does("downgrade w");
    one.does("try_read w");
    one.does("release");
    two.fails("try_write w", "WouldBlock");
    reader.kill();
    works(&mut one, &mut two);
}

fn downgrading_to_the_end(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    // It has finished writing, and reads: nobody is told.
    victim.dies_at(label, "downgrade w");
    works(&mut one, &mut two);
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.stops_at(label, "downgrade w");
    one.waits("read w");
    two.waits("write w");
    victim.go_on();
    victim.did();
    // No writer comes in between.
    one.tell("release");
    victim.does("release");
    two.tell("release");
    for actor in [&mut one, &mut two] {
        assert_eq!((actor.did(), actor.did()), (String::new(), String::new()));
    }
    works(&mut one, &mut two);
}

/// A lock that ignores deaths: readers do not queue for ever after a writer has died.
fn ignoring(label: &str) {
    let scratch = Scratch::new();
    let [mut dead, victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(&scratch));
    dead.does("create rwlock w ignore");
    let mut victim = victim;
    for actor in [&mut victim, &mut one, &mut two] {
        actor.does("open rwlock w");
    }
    dead.does("write w");
    dead.kill();
    victim.dies_at(label, "read w");
    one.does("read w");
    one.does("release");
    assert_eq!(one.does("inconsistent w"), "false");
    one.does("arm rwlock.queued 1 kill");
    one.does("read w");
    one.does("release");
    one.does("arm nothing 1 kill");
    works(&mut one, &mut two);
}

fn draining_in_time(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    one.does("read w");
    victim.stops_at(label, "write_timeout w 30");
    two.waits("read_timeout w 50000");
    victim.kill();
    two.did();
    two.does("release");
    one.does("release");
    works(&mut one, &mut two);
}

/// The reader leaves, and the writer's time is over before it looks again: either way nothing stays behind.
fn leaving_as_the_time_runs_out(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    one.does("read w");
    victim.stops_at(label, "write_timeout w 5");
    two.waits("write w");
    // Longer than its time.
    two.stop();
    one.does("release");
    one.fails("read_timeout w 20", "TimedOut");
    victim.go_on();
    victim.did();
    victim.does("release");
    two.go_on();
    two.did();
    two.does("release");
    works(&mut one, &mut two);
}

/// One of a crowd leaves and dies before it can wake anybody who waits for its place.
fn leaving_a_crowd(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.does("read_all w");
    one.waits("read w");
    two.waits("write w");
    victim.dies_at(label, "release");
    for actor in [&mut one, &mut two] {
        actor.tell("release");
    }
    for actor in [&mut one, &mut two] {
        assert_eq!((actor.did(), actor.did()), (String::new(), String::new()));
    }
    works(&mut one, &mut two);
}

fn queueing_in_a_crowd(label: &str) {
    let scratch = Scratch::new();
    let (mut crowd, mut one, mut two) = cast(&scratch);
    crowd.does("read_all w");
    one.waits("read w");
    for nth in [1, 2] {
        let mut victim = newcomer(&scratch);
        victim.does(&format!("arm {label} {nth} kill"));
        victim.tell("read w");
        victim.dies();
    }
    crowd.does("release");
    one.did();
    one.does("release");
    crowd.finish();
    works(&mut one, &mut two);
}

fn burying_a_crowd(label: &str) {
    let scratch = Scratch::new();
    let (mut crowd, mut one, mut two) = cast(&scratch);
    crowd.does("read_all w");
    one.waits("read w");
    one.stop();
    crowd.kill();
    // Each of them buries a little.
    for nth in [1, 2, 60] {
        let mut victim = newcomer(&scratch);
        victim.does(&format!("arm {label} {nth} kill"));
        victim.tell("read w");
        // When there is room, it need not bury so many.
        drop(victim.answers_or_dies());
    }
    one.go_on();
    one.did();
    one.does("release");
    works(&mut one, &mut two);
}

/// A writer that meets many of the dead asks about them together: it does not sleep on each.
fn burying_all_at_once(label: &str) {
    let scratch = Scratch::new();
    let (mut crowd, mut one, mut two) = cast(&scratch);
    crowd.does("read_all w");
    crowd.kill();
    two.does(&format!("arm {label} 20 kill"));
    two.does("write w");
    two.does("release");
    two.does("arm nothing 1 kill");
    works(&mut one, &mut two);
}

/// Somebody new that has `w` open.
fn newcomer(scratch: &Scratch) -> Actor {
    let mut actor = Actor::start(scratch);
    actor.does("open rwlock w");
    actor
}

/// A reader, a draining writer or a writer dies, then whoever comes after it dies at the label, then one
/// more: whatever the three were doing, exactly the death of who was inside is told.
fn succeeding_the_dead(label: &str) {
    for first in ["rwlock.reading", "rwlock.draining", "rwlock.writing"] {
        for commands in [["read w", "write w"], ["try_write w", "try_read w"], ["recover w", "recover w"]] {
            let scratch = Scratch::new();
            let (victim, mut one, mut two) = cast(&scratch);
            let mut told_of = (first == "rwlock.writing").then_some(victim.pid());
            victim.dies_at(first, if first == "rwlock.reading" { "read w" } else { "write w" });
            for command in commands {
                let mut heir = newcomer(&scratch);
                heir.does(&format!("arm {label} 1 kill"));
                heir.tell(command);
                match heir.answers_or_dies() {
                    // It did not come by the label.
                    Some(answer) if answer.starts_with("ok") => {
                        heir.does("release");
                        if command == "recover w" {
                            told_of = None;
                        }
                    }
                    Some(answer) => assert!(answer.starts_with("error OwnerDied"), "{answer}"),
                    // Who dies while it recovers leaves things as they were.
                    None if label == "rwlock.writing" => told_of = told_of.or(Some(heir.pid())),
                    None => {}
                }
            }
            match told_of {
                Some(pid) => told(&mut one, &mut two, pid),
                None => works(&mut one, &mut two),
            }
        }
    }
}

fn leaving_recovered(label: &str) {
    let scratch = Scratch::new();
    let (mut dead, mut one, mut two) = cast(&scratch);
    dead.does("write w");
    dead.kill();
    let mut victim = newcomer(&scratch);
    assert_eq!(victim.does("recover w"), "recovers");
    victim.dies_at(label, "release");
    works(&mut one, &mut two);
}

fn leaving_unrecovered(label: &str) {
    let scratch = Scratch::new();
    let (mut dead, mut one, mut two) = cast(&scratch);
    let pid = dead.pid();
    dead.does("write w");
    dead.kill();
    let mut victim = newcomer(&scratch);
    victim.stops_at(label, "recover w");
    one.waits("write w");
    victim.kill();
    one.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    told(&mut one, &mut two, pid);
}
