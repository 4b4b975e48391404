//! Barriers across processes.

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
fn a_place_inherited_by_fork_does_nothing() {
    let scratch = Scratch::new();
    let [mut one, mut two, mut three] = cast(&scratch);
    one.does("join b");
    one.does("fork");
    one.does("release");
    assert_eq!(one.ask("exit 0"), "ok exit 0");
    two.waits("wait b");
    one.waits("wait b");
    three.does("wait b");
    one.did();
    two.did();
    one.does("unlink b");
}
