//! One of the parties of a barrier dies: the others pass, or are told, and a reset makes it as good as new.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    seated at "barrier.seated": coming;
    arrived at "barrier.arrived": arriving;
    arrived_and_waiting at "barrier.waiting": arriving;
    arrived_and_slept at "barrier.slept": arriving;
    tripped at "barrier.ended": tripping;
    aborted at "barrier.ended": aborting;
    began_to_act at "barrier.acting": acting;
    acted at "barrier.ended": acting;
    seat_left at "barrier.seat_left": leaving_the_seat;
    reset at "barrier.reset": resetting;
    withdrawn at "barrier.withdrawn": withdrawing;
    withdrawn_and_failed at "barrier.failed": withdrawing;
    withdrawn_and_ended at "barrier.ended": withdrawing;
    taken_back at "barrier.taken_back": withdrawing;
    reset_before_telling at "barrier.ended": resetting;
    reset_begun at "barrier.resetting": resetting;
    reset_failed at "barrier.failed": resetting;
    reset_begun_and_a_stopped_waiter at "barrier.resetting": resetting_under_a_stopped_waiter;
    reset_failed_and_a_stopped_waiter at "barrier.failed": resetting_under_a_stopped_waiter;
    place_taken at "barrier.place_taken": joining;
    place_taken_elastic at "barrier.place_taken": joining_elastic;
    joined_elastic at "barrier.joined": joining_elastic;
    counted_elastic at "barrier.counted": arriving_elastic;
    arrived_elastic at "barrier.arrived": arriving_elastic;
    waiting_elastic at "barrier.waiting": arriving_elastic;
    slept_elastic at "barrier.slept": arriving_elastic;
    arrived_last_elastic at "barrier.arrived": tripping_elastic;
    tripping_elastic_lock at "barrier.tripping": tripping_elastic;
    stopped_tripping_while_another_joins at "barrier.tripping": joining_during_a_trip;
    stopped_tripping_while_others_wait at "barrier.tripping": waiting_during_a_trip;
    tripped_elastic at "barrier.ended": tripping_elastic;
    began_to_act_elastic at "barrier.acting": acting_elastic;
    left_elastic at "barrier.left": leaving_elastic;
    place_freed_elastic at "barrier.place_freed": removing;
    slot_prepared at "registry.slot_prepared": handing_over;
    slot_shared at "registry.slot_shared": handing_over;
    handed_over at "barrier.handed_over": handing_over;
    slot_locked_again at "registry.slot_locked_again": taking_over;
    slot_let_go at "registry.slot_let_go": taking_over;
    slot_taken_over at "registry.slot_taken_over": taking_over;
    slot_locked_again_amid_forks at "registry.slot_locked_again": taking_over_amid_a_fork;
    slot_let_go_amid_forks at "registry.slot_let_go": taking_over_amid_forks;
    slot_taken_over_amid_forks at "registry.slot_taken_over": taking_over_amid_forks;
    joined at "barrier.joined": joining;
    left at "barrier.left": leaving;
    left_while_asked_about at "barrier.asking": asking_about_a_leaver;
    member_found_dead at "barrier.member_found_dead": finding_a_dead_member;
    broken_for_the_dead at "barrier.broken_for_the_dead": finding_a_dead_member;
    place_freed at "barrier.place_freed": freeing_a_place;
}

/// Three processes that have the barrier `b` open, for so many parties.
fn cast(scratch: &Scratch, parties: u32) -> (Actor, Actor, Actor) {
    let [mut victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(scratch));
    one.does(&format!("create barrier b {parties}"));
    victim.does("open barrier b");
    two.does("open barrier b");
    (victim, one, two)
}

/// The barrier, for two parties, is reset and works; all places are free.
fn all_is_well(one: &mut Actor, two: &mut Actor) {
    one.does("reset b");
    one.does("join b");
    two.does("join b");
    one.fails("join b", "NoPlace");
    for _ in 0..2 {
        one.waits("wait b");
        assert_eq!(two.does("wait b"), "1");
        assert_eq!(one.did(), "0");
    }
    one.does("release");
    two.does("release");
    two.does("unlink b");
}

fn arriving(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, 2);
    // Who has arrived has arrived.
    victim.dies_at(label, "wait b");
    assert_eq!(one.does("wait b"), "1");
    all_is_well(&mut one, &mut two);
}

fn tripping(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, 2);
    one.waits("wait b");
    victim.dies_at(label, "wait b");
    assert_eq!(one.did(), "0");
    all_is_well(&mut one, &mut two);
}

fn aborting(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, 2);
    one.waits("wait b");
    victim.dies_at(label, "abort b");
    one.failed("Broken { cause: Aborted }");
    two.fails("wait b", "Broken { cause: Aborted }");
    all_is_well(&mut one, &mut two);
}

fn acting(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, 2);
    let pid = victim.pid();
    victim.does("act b");
    one.waits("wait b");
    victim.dies_at(label, "wait b");
    if label == "barrier.ended" {
        assert_eq!(one.did(), "0");
    } else {
        one.failed(&format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}"));
    }
    all_is_well(&mut one, &mut two);
}

fn resetting(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, 2);
    one.waits("wait b");
    victim.dies_at(label, "reset b");
    one.failed("Broken { cause: Reset }");
    all_is_well(&mut one, &mut two);
}

/// One that has arrived is interrupted, and dies while it takes its arrival back: the others wait for a
/// third.
fn withdrawing(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, 3);
    one.waits("wait b");
    victim.does("interrupt");
    victim.dies_at(label, "wait b");
    let mut third = Actor::start(&scratch);
    third.does("open barrier b");
    two.waits("wait b");
    let mut indices = vec![third.does("wait b"), one.did(), two.did()];
    indices.sort_unstable();
    assert_eq!(indices, ["0", "1", "2"]);
    third.does("unlink b");
}

fn joining(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, 2);
    let pid = victim.pid();
    victim.dies_at(label, "join b");
    one.fails("wait b", &format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}"));
    all_is_well(&mut one, &mut two);
}

fn leaving(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, 2);
    victim.does("join b");
    victim.dies_at(label, "release");
    one.does("join b");
    two.does("join b");
    one.does("release");
    two.does("release");
    all_is_well(&mut one, &mut two);
}

fn finding_a_dead_member(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, 3);
    let pid = victim.pid();
    victim.does("join b");
    victim.kill();
    let mut finder = Actor::start(&scratch);
    finder.does("open barrier b");
    finder.dies_at(label, "wait b");
    one.fails("wait b", &format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}"));
    one.does("reset b");
    let mut third = Actor::start(&scratch);
    third.does("open barrier b");
    for actor in [&mut one, &mut two, &mut third] {
        actor.does("join b");
    }
    one.waits("wait b");
    two.waits("wait b");
    third.does("wait b");
    one.did();
    two.did();
    third.does("unlink b");
}

fn freeing_a_place(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, 2);
    victim.does("join b");
    victim.kill();
    let mut second = Actor::start(&scratch);
    second.does("open barrier b");
    second.dies_at(label, "reset b");
    all_is_well(&mut one, &mut two);
}

/// A member that leaves, and ends, while a waiter asks about it has not died as a member.
fn asking_about_a_leaver(label: &str) {
    let scratch = Scratch::new();
    let (mut leaver, mut one, mut two) = cast(&scratch, 2);
    leaver.does("join b");
    one.stops_at(label, "wait b");
    leaver.does("release");
    leaver.finish();
    one.go_on();
    assert_eq!(two.does("wait b"), "1");
    assert_eq!(one.did(), "0");
    all_is_well(&mut one, &mut two);
}

/// Killed before it has arrived.
fn coming(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, 2);
    victim.dies_at(label, "wait b");
    one.fails("wait_timeout b 30", "TimedOut");
    all_is_well(&mut one, &mut two);
}

fn leaving_the_seat(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, 2);
    victim.does(&format!("arm {label} 1 kill"));
    victim.waits("wait b");
    assert_eq!(one.does("wait b"), "1");
    victim.dies();
    all_is_well(&mut one, &mut two);
}

/// The generation of a stopped waiter is reset by somebody who is killed over it: others finish that, and go
/// on.
fn resetting_under_a_stopped_waiter(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, 2);
    let mut three = Actor::start(&scratch);
    three.does("open barrier b");
    one.waits("wait b");
    one.stop();
    victim.dies_at(label, "reset b");
    for _ in 0..3 {
        two.waits("wait b");
        assert_eq!((three.does("wait b"), two.did()), ("1".into(), "0".into()));
    }
    one.go_on();
    one.failed("Broken { cause: Reset }");
    all_is_well(&mut one, &mut two);
}

/// Two members of the elastic barrier `b` that removes the dead, and a third process, which has it open.
fn elastic_cast(scratch: &Scratch) -> (Actor, Actor, Actor) {
    let [mut victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(scratch));
    one.does("create elastic b remove");
    victim.does("open barrier b");
    two.does("open barrier b");
    one.does("join b");
    two.does("join b");
    (victim, one, two)
}

/// The two pass, the dead are not counted, and a third can join.
fn elastic_is_well(one: &mut Actor, two: &mut Actor, scratch: &Scratch) {
    for _ in 0..2 {
        one.tell("wait b");
        two.does("wait b");
        one.did();
    }
    assert_eq!((one.does("parties b"), one.does("broken b")), ("2".into(), "None".into()));
    let mut third = Actor::start(scratch);
    third.does("open barrier b");
    third.does("join b");
    one.waits("wait b");
    two.waits("wait b");
    assert_eq!((third.does("wait b"), one.did(), two.did()), ("2".into(), "0".into(), "1".into()));
    third.does("unlink b");
}

fn joining_elastic(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = elastic_cast(&scratch);
    victim.dies_at(label, "join b");
    elastic_is_well(&mut one, &mut two, &scratch);
}

fn arriving_elastic(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = elastic_cast(&scratch);
    victim.does("join b");
    victim.dies_at(label, "wait b");
    elastic_is_well(&mut one, &mut two, &scratch);
}

fn tripping_elastic(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = elastic_cast(&scratch);
    victim.does("join b");
    one.waits("wait b");
    two.waits("wait b");
    victim.dies_at(label, "wait b");
    assert_eq!((one.did(), two.did()), ("0".into(), "1".into()));
    elastic_is_well(&mut one, &mut two, &scratch);
}

fn acting_elastic(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = elastic_cast(&scratch);
    let pid = victim.pid();
    victim.does("act b");
    victim.does("join b");
    one.waits("wait b");
    two.waits("wait b");
    victim.dies_at(label, "wait b");
    // What the action had begun nobody knows.
    one.failed(&format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}"));
    two.failed(&format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}"));
    one.does("reset b");
    elastic_is_well(&mut one, &mut two, &scratch);
}

fn leaving_elastic(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = elastic_cast(&scratch);
    victim.does("join b");
    one.waits("wait b");
    two.waits("wait b");
    victim.dies_at(label, "release");
    assert_eq!((one.did(), two.did()), ("0".into(), "1".into()));
    elastic_is_well(&mut one, &mut two, &scratch);
}

/// Who removes a dead member dies of it.
fn removing(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = elastic_cast(&scratch);
    let mut second = Actor::start(&scratch);
    second.does("open barrier b");
    second.does("join b");
    victim.does("join b");
    victim.kill();
    second.dies_at(label, "wait b");
    elastic_is_well(&mut one, &mut two, &scratch);
}

/// A parent dies while it makes its place the child's.
fn handing_over(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, 2);
    victim.dies_at(label, "spawn_member b waits");
    one.fails("wait b", "Broken { cause: PeerDied { pid: ");
    all_is_well(&mut one, &mut two);
}

/// A child dies before it has decoded its arguments, unnoticed by its parent.
fn taking_over(label: &str) {
    let scratch = Scratch::new();
    let (mut parent, mut one, mut two) = cast(&scratch, 2);
    let pid = parent.does(&format!("spawn_member b waits {label}"));
    one.fails("wait b", &format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}"));
    parent.fails("child_said", "Killed { signal: 9 }");
    all_is_well(&mut one, &mut two);
}

/// The same when its parent has forked others meanwhile, which live on.
fn taking_over_amid_forks(label: &str) {
    taking_over_amid(&["fork", "raw_fork"], label);
}

/// By `fork()` alone: what a raw `clone` has inherited only the child's own step takes away.
fn taking_over_amid_a_fork(label: &str) {
    taking_over_amid(&["fork"], label);
}

fn taking_over_amid(ways: &[&str], label: &str) {
    for way in ways {
        let scratch = Scratch::new();
        let (mut parent, mut one, mut two) = cast(&scratch, 2);
        let pid = parent.does(&format!("spawn_member_amid {way} b waits {label}"));
        one.fails("wait b", &format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}"));
        parent.fails("child_said", "Killed { signal: 9 }");
        all_is_well(&mut one, &mut two);
    }
}

/// Who joins while another is about to end a generation joins after it, or the generation waits for it: here,
/// after.
fn joining_during_a_trip(label: &str) {
    let scratch = Scratch::new();
    let (mut late, mut one, mut two) = elastic_cast(&scratch);
    one.waits("wait b");
    two.stops_at(label, "wait b");
    late.waits("join b");
    two.go_on();
    assert_eq!((two.did(), one.did()), ("1".into(), "0".into()));
    late.did();
    one.waits("wait b");
    two.waits("wait b");
    assert_eq!((late.does("wait b"), one.did(), two.did()), ("2".into(), "0".into(), "1".into()));
    late.does("unlink b");
}

/// Who is stopped just before it ends a generation keeps nobody beyond a timeout or an abort.
fn waiting_during_a_trip(label: &str) {
    for aborts in [false, true] {
        let scratch = Scratch::new();
        let (mut late, mut one, mut two) = elastic_cast(&scratch);
        one.tell(if aborts { "wait b" } else { "wait_timeout b 200" });
        one.falls_asleep();
        two.stops_at(label, "wait b");
        let cause = if aborts {
            late.does("abort b");
            one.failed("Broken { cause: Aborted }");
            "Aborted"
        } else {
            one.failed("TimedOut");
            "TimedOut"
        };
        two.go_on();
        two.failed(&format!("Broken {{ cause: {cause} }}"));
        one.does("reset b");
        elastic_is_well(&mut one, &mut two, &scratch);
    }
}
