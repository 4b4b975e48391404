//! Who is alive, and how that is asked: through which descriptor, of which file, how often, and from which
//! slot on.

use procession_tests::{Actor, Scratch, raw};
use std::fs;

/// A lock `l` in the namespace, and two actors that have it open.
fn two(scratch: &Scratch) -> (Actor, Actor) {
    let (mut one, mut two) = (Actor::start(scratch), Actor::start(scratch));
    one.does("create lock l");
    two.does("open lock l");
    (one, two)
}

/// Long enough for a waiter to ask about the holder several times.
const SEVERAL_QUESTIONS: &str = "300";

/// `waiter` asks about the live holder again and again, then about the dead one.
fn lives_until_it_is_killed(holder: Actor, mut waiter: Actor) {
    let pid = holder.pid();
    waiter.fails(&format!("acquire_timeout l {SEVERAL_QUESTIONS}"), "TimedOut");
    waiter.waits("acquire l");
    holder.kill();
    waiter.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    waiter.does("recover l");
    waiter.does("release");
    waiter.does("unlink l");
}

#[test]
fn query_descriptor_closed_in_the_holder() {
    let scratch = Scratch::new();
    let (mut holder, waiter) = two(&scratch);
    holder.does("acquire l");
    holder.does("closefrom");
    lives_until_it_is_killed(holder, waiter);
}

#[test]
fn query_descriptor_closed_in_the_waiter() {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = two(&scratch);
    holder.does("acquire l");
    waiter.does("closefrom");
    lives_until_it_is_killed(holder, waiter);
}

#[test]
fn query_descriptor_closed_and_its_number_used_for_another_file() {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = two(&scratch);
    holder.does("acquire l");
    waiter.does("closefrom");
    waiter.does("take_descriptors /dev/null");
    lives_until_it_is_killed(holder, waiter);
}

#[test]
fn query_descriptor_closed_and_its_number_used_for_another_registry() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    let mut neighbour = Actor::start(&other);
    neighbour.does("register");
    let (mut holder, mut waiter) = two(&scratch);
    holder.does("acquire l");
    waiter.does("closefrom");
    waiter.does(&format!("take_descriptors {}", raw::registry(&other).display()));
    lives_until_it_is_killed(holder, waiter);
    neighbour.finish();
}

#[test]
fn without_descriptor_and_name_nothing_is_said_about_a_live_holder() {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = two(&scratch);
    holder.does("acquire l");
    waiter.does("closefrom");
    fs::remove_file(raw::registry(&scratch)).unwrap();
    waiter.fails("acquire l", "RegistryChanged");
    // Another file of that name is not believed either.
    fs::copy(raw::path(&scratch, "l"), raw::registry(&scratch)).unwrap();
    waiter.fails("acquire l", "RegistryChanged");
    fs::remove_file(raw::registry(&scratch)).unwrap();
    holder.does("release");
    waiter.does("acquire l");
    waiter.does("release");
    waiter.does("unlink l");
}

#[test]
fn a_process_never_takes_itself_for_dead() {
    let scratch = Scratch::new();
    let mut only = Actor::start(&scratch);
    only.does("create lock l");
    only.does("acquire l");
    // Its description does not see its own lock: whether it asks itself, its threads must go on waiting.
    only.fails(&format!("in_a_thread l {SEVERAL_QUESTIONS}"), "TimedOut");
    only.does("closefrom");
    only.fails(&format!("in_a_thread l {SEVERAL_QUESTIONS}"), "TimedOut");
    assert_eq!(only.does("participants"), only.pid().to_string());
    only.does("release");
    only.does("in_a_thread l 1000");
    only.does("unlink l");
}

#[test]
fn a_generation_from_before_does_not_kill_a_live_owner() {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = two(&scratch);
    let (slot, generation) = id(&holder.does("register"));
    holder.does("acquire l");
    // What a stale load would see.
    set_generation(&scratch, slot, generation - 1);
    waiter.fails(&format!("acquire_timeout l {SEVERAL_QUESTIONS}"), "TimedOut");
    set_generation(&scratch, slot, generation);
    lives_until_it_is_killed(holder, waiter);
}

#[test]
fn generations_wrap() {
    let scratch = Scratch::new();
    let mut keeper = Actor::start(&scratch);
    keeper.does("register 2");
    let (slot, _) = id(&keeper.does("register"));
    keeper.does("create lock l");
    set_generation(&scratch, 1 - slot, u32::MAX - 1);
    let mut holder = Actor::start(&scratch);
    holder.does("open lock l");
    assert_eq!(id(&holder.does("register")), (1 - slot, u32::MAX));
    holder.does("acquire l");
    keeper.fails(&format!("acquire_timeout l {SEVERAL_QUESTIONS}"), "TimedOut");
    holder.kill();
    // The next generation is a smaller number, and not zero; its process is alive, and the holder is dead.
    let mut next = Actor::start(&scratch);
    assert_eq!(id(&next.does("register")), (1 - slot, 1));
    keeper.fails("acquire l", "OwnerDied");
    keeper.does("recover l");
    keeper.does("unlink l");
}

#[test]
fn flock_on_the_registry_means_nothing() {
    let scratch = Scratch::new();
    let (mut holder, waiter) = two(&scratch);
    let registry = fs::File::open(raw::registry(&scratch)).unwrap();
    let object = fs::File::open(raw::path(&scratch, "l")).unwrap();
    registry.lock().unwrap();
    object.lock().unwrap();
    holder.does("acquire l");
    let mut third = Actor::start(&scratch);
    third.does("open lock l");
    third.finish();
    lives_until_it_is_killed(holder, waiter);
}

#[test]
fn a_holder_that_has_just_changed_is_asked_about_too() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch);
    let mut waiter = Actor::start(&scratch);
    waiter.does("open lock l");
    for _ in 0..5 {
        one.does("acquire l");
        two.waits("acquire l");
        waiter.waits("acquire l");
        one.does("release");
        // Whoever got it hands it on or dies.
        let (holder, other) = if two_answers_first(&two, &waiter) { (two, waiter) } else { (waiter, two) };
        let mut other = other;
        holder.kill();
        other.failed("OwnerDied");
        other.does("recover l");
        other.does("release");
        two = other;
        waiter = Actor::start(&scratch);
        waiter.does("open lock l");
    }
    one.does("unlink l");
}

fn two_answers_first(two: &Actor, other: &Actor) -> bool {
    procession_tests::until("one of two waiters has the lock", || two.has_answered() || other.has_answered());
    two.has_answered()
}

#[test]
fn a_crowd_on_one_word_is_told_of_the_holders_death() {
    let scratch = Scratch::new();
    let (mut holder, mut one) = two(&scratch);
    let mut other = Actor::start(&scratch);
    other.does("open lock l");
    holder.does("acquire l");
    one.tell("in_threads l 60");
    other.tell("in_threads l 60");
    one.falls_asleep_in_threads(60);
    other.falls_asleep_in_threads(60);
    holder.kill();
    assert_eq!(one.did(), "errorOwnerDied=60");
    assert_eq!(other.did(), "errorOwnerDied=60");
    one.does("recover l");
    one.does("release");
    assert_eq!(other.does("in_threads l 60"), "ok=60");
    one.does("unlink l");
}

#[test]
fn an_owner_whose_memory_still_has_a_user_is_alive() {
    let scratch = Scratch::new();
    let (mut holder, mut waiter) = two(&scratch);
    let pid = holder.pid();
    holder.does("acquire l");
    // As the child of a vfork: whoever shares the memory can still store into the segment.
    holder.does("share_memory_with_a_child");
    holder.begin_to_die();
    assert_eq!(procession_tests::signal_of(holder.wait()), libc::SIGKILL);
    waiter.fails(&format!("acquire_timeout l {SEVERAL_QUESTIONS}"), "TimedOut");
    waiter.waits("acquire l");
    // Ends the child, too.
    drop(holder);
    waiter.failed(&format!("OwnerDied {{ pid: {pid} }}"));
    waiter.does("recover l");
    waiter.does("unlink l");
}

#[test]
fn a_large_process_is_found_dead_when_its_memory_is_gone() {
    let scratch = Scratch::new();
    let (mut holder, waiter) = two(&scratch);
    holder.does("eat 256");
    holder.does("acquire l");
    lives_until_it_is_killed(holder, waiter);
}

#[test]
fn slots_are_taken_in_turn_and_used_again() {
    let scratch = Scratch::new();
    let mut keeper = Actor::start(&scratch);
    let mut slots = vec![id(&keeper.does("register 4")).0];
    for _ in 0..3 {
        let mut next = Actor::start(&scratch);
        slots.push(id(&next.does("register")).0);
        next.kill();
    }
    slots.sort_unstable();
    assert_eq!(slots, [0, 1, 2, 3], "a dead process's slot was taken before the others had their turn");
    let (slot, generation) = id(&Actor::start(&scratch).does("register"));
    assert_eq!(generation, 2, "slot {slot}");
}

#[test]
fn a_registry_is_full_until_somebody_dies() {
    let scratch = Scratch::new();
    let mut actors: Vec<Actor> = (0..4).map(|_| Actor::start(&scratch)).collect();
    for actor in &mut actors {
        actor.does("register 4");
    }
    let mut fifth = Actor::start(&scratch);
    let said = fifth.fails("register", "RegistryFull");
    assert!(said.contains(scratch.name()) && said.contains("4 live processes"), "{said}");
    actors.remove(2).kill();
    fifth.does("register");
    Actor::start(&scratch).fails("register", "RegistryFull");
    assert_eq!(fifth.does("participants").split(' ').count(), 4);
}

/// `slot.generation`, taken apart.
fn id(said: &str) -> (u64, u32) {
    let (slot, generation) = said.split_once('.').unwrap();
    (slot.parse().unwrap(), generation.parse().unwrap())
}

fn set_generation(scratch: &Scratch, slot: u64, generation: u32) {
    raw::poke(scratch, ".registry", raw::SLOTS + slot * raw::SLOT_LEN, &generation.to_le_bytes());
}
