//! Barriers across processes.

use procession::{Barrier, codec};
use procession_tests::{Actor, Scratch};

/// So many processes that have the barrier `b` of three parties open.
fn cast(scratch: &Scratch) -> [Actor; 3] {
    let mut actors: [Actor; 3] = std::array::from_fn(|_| Actor::start(scratch));
    actors[0].does("create barrier b 3");
    actors[1].does("open barrier b");
    actors[2].does("open barrier b");
    actors
}

#[test]
fn a_barrier_lets_all_pass_in_the_order_of_their_arrival_again_and_again() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut three] = cast(&scratch);
    for _ in 0..20 {
        one.waits("wait b");
        two.waits("wait b");
        assert_eq!(three.does("n_waiting b"), "2");
        assert_eq!((three.does("wait b"), one.did(), two.did()), ("2".into(), "0".into(), "1".into()));
        assert_eq!((three.does("n_waiting b"), three.does("broken b")), ("0".into(), "None".into()));
    }
    one.does("unlink b");
}

#[test]
fn a_dead_member_is_told_to_those_who_wait_whether_it_had_arrived_or_not() {
    for has_arrived in [false, true] {
        let scratch = Scratch::new();
        let [mut one, mut two, mut three] = cast(&scratch);
        let pid = three.pid();
        three.does("join b");
        if has_arrived {
            three.waits("wait b");
        }
        one.waits("wait b");
        three.kill();
        one.failed(&format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}"));
        two.fails("wait b", "Broken { cause: PeerDied");
        two.does("reset b");
        assert_eq!(one.does("broken b"), "None");
        one.does("unlink b");
    }
}

#[test]
fn a_stopped_waiter_learns_that_its_generation_tripped_although_others_went_on() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut three] = cast(&scratch);
    let mut fourth = Actor::start(&scratch);
    fourth.does("open barrier b");
    one.waits("wait b");
    one.stop();
    two.waits("wait b");
    three.does("wait b");
    two.did();
    two.waits("wait b");
    three.does("reset b");
    two.failed("Broken { cause: Reset }");
    one.go_on();
    assert_eq!(one.did(), "0");
    one.does("unlink b");
}

#[test]
fn a_stopped_waiter_learns_that_it_passed_however_often_the_others_begin_anew() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut three] = cast(&scratch);
    one.waits("wait b");
    one.stop();
    two.waits("wait b");
    three.does("wait b");
    two.did();
    for _ in 0..40 {
        two.fails("wait_timeout b 0", "TimedOut");
        three.does("reset b");
    }
    one.go_on();
    assert_eq!(one.did(), "0");
    // And one whose generation was reset learns that, too.
    one.waits("wait b");
    one.stop();
    two.does("reset b");
    let mut fourth = Actor::start(&scratch);
    fourth.does("open barrier b");
    for _ in 0..40 {
        two.tell("wait b");
        three.tell("wait b");
        fourth.does("wait b");
        two.did();
        three.did();
    }
    one.go_on();
    one.failed("Broken { cause: Reset }");
    one.does("unlink b");
}

#[test]
fn a_place_inherited_by_fork_does_nothing() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut three] = cast(&scratch);
    one.does("join b");
    one.does("fork");
    one.fails("wait b", "NotAMember");
    one.does("release");
    assert_eq!(one.ask("exit 0"), "ok exit 0");
    two.waits("wait b");
    one.waits("wait b");
    three.does("wait b");
    one.did();
    two.did();
    one.does("unlink b");
}

#[test]
fn the_last_to_arrive_runs_the_action_of_its_own_handle() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut three] = cast(&scratch);
    one.does("act b");
    two.does("act b");
    for (last, acted) in [("one", ["1", "0"]), ("two", ["1", "1"]), ("three", ["1", "1"])] {
        let mut cast = [("one", &mut one), ("two", &mut two), ("three", &mut three)];
        cast.sort_by_key(|(name, _)| *name == last);
        let [(_, first), (_, second), (_, third)] = &mut cast;
        first.waits("wait b");
        second.waits("wait b");
        assert_eq!((third.does("wait b"), first.did(), second.did()), ("2".into(), "0".into(), "1".into()));
        assert_eq!([one.does("acted"), two.does("acted")], acted);
    }
    one.does("unlink b");
}

#[test]
fn it_shows_who_is_there() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut three] = cast(&scratch);
    let (pid, other) = (one.pid(), two.pid());
    one.does("join b");
    two.waits("wait b");
    let shown = three.does("show b");
    let expected = "parties: 3, n_waiting: 1, broken: None, members: [Holder { pid: ";
    assert!(shown.contains(&format!("{expected}{pid}, ")), "{shown}");
    assert!(shown.contains(&format!("waiting: [Holder {{ pid: {other}, ")), "{shown}");
    three.does("abort b");
    two.failed("Broken { cause: Aborted }");
    let shown = three.does("show b");
    assert!(shown.contains("n_waiting: 0, broken: Some(Aborted)"), "{shown}");
    one.does("unlink b");
}

/// Three processes that are members of the elastic barrier `b`.
fn elastic_cast(scratch: &Scratch, policy: &str) -> [Actor; 3] {
    let mut actors: [Actor; 3] = std::array::from_fn(|_| Actor::start(scratch));
    actors[0].does(&format!("create elastic b {policy}"));
    actors[1].does("open barrier b");
    actors[2].does("open barrier b");
    actors.iter_mut().for_each(|actor| drop(actor.does("join b")));
    actors
}

#[test]
fn a_dead_member_of_an_elastic_barrier_is_removed_and_the_others_go_on() {
    for has_arrived in [false, true] {
        let scratch = Scratch::new();
        let [mut one, mut two, mut three] = elastic_cast(&scratch, "remove");
        if has_arrived {
            three.waits("wait b");
        }
        one.waits("wait b");
        assert_eq!(two.does("parties b"), "3");
        three.kill();
        if has_arrived {
            assert_eq!((two.does("wait b"), one.did()), ("2".into(), "1".into()));
        } else {
            two.tell("wait b");
            assert_eq!((one.did(), two.did()), ("0".into(), "1".into()));
        }
        one.waits("wait b");
        assert_eq!((two.does("wait b"), one.did()), ("1".into(), "0".into()));
        assert_eq!((one.does("parties b"), one.does("broken b")), ("2".into(), "None".into()));
        one.does("unlink b");
    }
}

#[test]
fn a_dead_member_breaks_an_elastic_barrier_if_that_is_its_policy() {
    let scratch = Scratch::new();
    let [mut one, mut two, three] = elastic_cast(&scratch, "break");
    let pid = three.pid();
    one.waits("wait b");
    three.kill();
    one.failed(&format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}"));
    two.fails("wait b", "Broken { cause: PeerDied");
    two.does("reset b");
    one.waits("wait b");
    assert_eq!((two.does("wait b"), one.did()), ("1".into(), "0".into()));
    one.does("unlink b");
}

#[test]
fn a_stopped_member_of_an_elastic_barrier_learns_what_became_of_its_generation() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut three] = elastic_cast(&scratch, "break");
    for is_reset in [false, true] {
        one.waits("wait b");
        one.stop();
        if is_reset {
            two.does("reset b");
        } else {
            two.waits("wait b");
            three.does("wait b");
            two.did();
        }
        for _ in 0..40 {
            two.fails("wait_timeout b 0", "TimedOut");
            three.does("reset b");
        }
        one.go_on();
        if is_reset {
            one.failed("Broken { cause: Reset }");
        } else {
            assert_eq!(one.did(), "0");
        }
    }
    one.does("unlink b");
}

#[test]
fn a_member_can_be_handed_to_a_child() {
    for elastic in [false, true] {
        let scratch = Scratch::new();
        let (mut parent, mut other) = (Actor::start(&scratch), Actor::start(&scratch));
        parent.does(if elastic { "create elastic b break" } else { "create barrier b 2" });
        other.does("open barrier b");
        other.does("join b");
        parent.does("spawn_member b waits_twice");
        other.does("wait b");
        other.does("wait b");
        assert!(parent.does("child_said").starts_with("[Ok("));
        // It has left: what it had is free again.
        parent.does("join b");
        parent.waits("wait b");
        assert_eq!(other.does("wait b"), "1");
        parent.did();
        other.does("unlink b");
    }
}

#[test]
fn a_child_killed_before_its_first_wait_is_told_to_the_others() {
    for how in ["dies", "dies_decoding"] {
        for elastic in [false, true] {
            let scratch = Scratch::new();
            let (mut parent, mut other) = (Actor::start(&scratch), Actor::start(&scratch));
            parent.does(if elastic { "create elastic b break" } else { "create barrier b 2" });
            other.does("open barrier b");
            other.does("join b");
            // The parent neither waits for the child nor looks after it.
            let pid = parent.does(&format!("spawn_member b {how}"));
            other.fails("wait b", &format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}"));
            parent.fails("child_said", "Killed { signal: 9 }");
            other.does("unlink b");
        }
    }
}

#[test]
fn the_parent_itself_is_told_of_a_child_that_never_comes() {
    let scratch = Scratch::new();
    let mut parent = Actor::start(&scratch);
    parent.does("create elastic b break");
    let pid = parent.does("spawn_member b dies_decoding");
    parent.does("join b");
    parent.fails("wait b", &format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}"));
    parent.does("unlink b");
}

#[test]
fn a_parent_killed_before_its_child_has_the_place_is_told_to_the_others() {
    let scratch = Scratch::new();
    let (mut parent, mut other) = (Actor::start(&scratch), Actor::start(&scratch));
    parent.does("create barrier b 2");
    other.does("open barrier b");
    let pid = parent.does("spawn_member b hangs_decoding");
    other.waits("wait b");
    parent.kill();
    other.failed(&format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}"));
    other.does("unlink b");
}

#[test]
fn a_member_crosses_in_no_other_way_and_stays_where_it_is() {
    let scratch = Scratch::new();
    let barrier = Barrier::options().namespace(&scratch).parties(1).anonymous().unwrap();
    let mut member = barrier.join().unwrap();
    let refused = codec::encode(&member, &mut Vec::new()).unwrap_err();
    assert!(refused.to_string().contains("only as an argument of Process::spawn"), "{refused}");
    assert_eq!(member.wait().unwrap(), 0);
}

#[test]
fn whoever_is_killed_in_the_middle_of_many_rounds_the_others_finish_them_or_are_told() {
    let scratch = Scratch::new();
    for (round, policy) in ["remove", "break", "remove", "break", "remove"].into_iter().enumerate() {
        let [mut one, mut two, mut three] = elastic_cast(&scratch, policy);
        let mut four = Actor::start(&scratch);
        four.does("open barrier b");
        four.does("join b");
        for actor in [&mut one, &mut two, &mut three, &mut four] {
            actor.tell("rounds b 5000");
        }
        // Spread over what they do, by how far they have come when this gets to it.
        for _ in 0..round * 50 {
            std::thread::yield_now();
        }
        let pid = three.pid();
        three.kill();
        if policy == "remove" {
            four.kill();
            one.did();
            two.did();
            one.tell("wait b");
            two.does("wait b");
            one.did();
            assert_eq!((one.does("parties b"), one.does("n_waiting b")), ("2".into(), "0".into()));
        } else {
            let told = format!("Broken {{ cause: PeerDied {{ pid: {pid} }} }}");
            for actor in [&mut one, &mut two, &mut four] {
                // It may have done all of them before the kill.
                let answer = actor.answer();
                assert!(answer == "ok" || answer.starts_with(&format!("error {told}")), "{answer}");
                actor.fails("wait b", &told);
            }
        }
        one.does("unlink b");
    }
}
