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
    one.waits("write w");
    two.waits("read w");
    victim.kill();
    one.did();
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
