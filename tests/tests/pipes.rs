//! Pipes between processes: whose an end is, and what the other side learns of its death. The cases of
//! CPython's `_TestConnection`, `_TestPoll` and `_TestPicklingConnections` have their names.
#![expect(clippy::expect_used, reason = "what fails here fails a test")]

use procession_tests::{Actor, Scratch};
use std::time::Instant;

/// Two actors; the first has made the pipe `p` and sent the second the end that it was asked for.
fn two(scratch: &Scratch, what: &str, sent: &str) -> (Actor, Actor) {
    let (mut one, mut two) = (Actor::start(scratch), Actor::start(scratch));
    one.does(&format!("create {what} p"));
    hand(&mut one, sent, &mut two);
    (one, two)
}

/// Sends an end in a message.
fn hand(from: &mut Actor, end: &str, to: &mut Actor) {
    let message = from.does(&format!("pipe_hand {end}"));
    to.does(&format!("pipe_take {end} {message}"));
}

/// `_TestConnection.test_connection`: what is sent comes back, of any kind and length; then the end.
#[test]
fn connection() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch, "duplex", "p.two");
    two.tell("pipe_echo p.two");
    for len in [0, 1, 7, 4000, 300_000, 16 << 20] {
        one.does(&format!("pipe_send p.one {len}"));
        assert_eq!(one.does("pipe_recv p.one"), len.to_string());
    }
    assert_eq!(one.does("pipe_poll p.one 0"), "false");
    let start = Instant::now();
    assert_eq!(one.does("pipe_poll p.one 50"), "false");
    assert!(start.elapsed().as_millis() >= 50);
    one.does("pipe_send p.one 3");
    assert_eq!(one.does("pipe_poll p.one 10000"), "true");
    assert_eq!(one.does("pipe_poll p.one 0"), "true");
    one.fails("pipe_recv_into p.one 2", "BufferTooShort { needed: 3, len: 2 }");
    assert_eq!(one.does("pipe_recv_into p.one 3"), "3");
    one.does("pipe_close p.one");
    // It ended with the end of the pipe.
    assert_eq!(two.did(), "7");
    one.fails("pipe_send p.one 1", "Closed");
    two.does("pipe_close p.two");
}

/// `_TestConnection.test_duplex_false`: each end has its direction, and there are no others to be had.
#[test]
fn duplex_false() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch, "pipe", "p.sender");
    two.does("pipe_send p.sender 1");
    assert_eq!(one.does("pipe_recv p.receiver"), "1");
    two.does("pipe_close p.sender");
    one.fails("pipe_recv p.receiver", "Eof");
    assert_eq!(one.does("pipe_poll p.receiver 0"), "true");
}

/// `_TestPoll.test_empty_string`, `test_strings`, `test_dont_merge`: empty messages are messages, and
/// messages stay apart.
#[test]
fn strings_do_not_merge() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch, "pipe", "p.sender");
    let lengths = [0, 3, 0, 0, 5, 1];
    for len in lengths {
        two.does(&format!("pipe_send p.sender {len}"));
    }
    for len in lengths {
        assert_eq!(one.does("pipe_poll p.receiver 0"), "true");
        assert_eq!(one.does("pipe_poll p.receiver 0"), "true");
        assert_eq!(one.does("pipe_recv p.receiver"), len.to_string());
    }
    assert_eq!(one.does("pipe_poll p.receiver 0"), "false");
    // Looking at a long message does not take a part of it away.
    two.tell("pipe_send p.sender 10000000");
    while one.does("pipe_poll p.receiver 1") == "false" {}
    two.did();
    assert_eq!(one.does("pipe_recv p.receiver"), "10000000");
}

/// `_TestPicklingConnections`: ends go through pipes, and their peers notice nothing.
#[test]
fn pickling_connections() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch, "pipe", "p.sender");
    let mut three = Actor::start(&scratch);
    // From two to three, and two goes.
    hand(&mut two, "p.sender", &mut three);
    two.does("pipe_drop p.sender");
    two.finish();
    one.fails("pipe_recv_timeout p.receiver 150", "TimedOut");
    three.does("pipe_send p.sender 5");
    assert_eq!(one.does("pipe_recv p.receiver"), "5");
    hand_fails(&mut three);
    three.kill();
    one.fails("pipe_recv p.receiver", "PeerDied");
}

fn hand_fails(actor: &mut Actor) {
    actor.fails("pipe_hand p.sender", "Unsupported");
}

#[test]
fn the_death_of_the_writer_is_told_when_all_it_sent_was_received() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch, "pipe", "p.sender");
    two.does("pipe_send p.sender 1");
    two.does("pipe_send p.sender 2");
    let pid = two.pid();
    two.kill();
    assert_eq!(one.does("pipe_recv p.receiver"), "1");
    assert_eq!(one.does("pipe_recv p.receiver"), "2");
    let died = format!("PeerDied {{ pid: {pid} }}");
    one.fails("pipe_recv p.receiver", &died);
    one.fails("pipe_recv p.receiver", &died);
    assert_eq!(one.does("pipe_poll p.receiver 0"), "true");
    one.does("pipe_close p.receiver");
}

#[test]
fn who_waits_briefly_again_and_again_is_told_of_a_death() {
    for command in
        ["pipe_recv_timeout p.receiver 1", "pipe_recv_timeout p.receiver 0", "pipe_try_recv p.receiver"]
    {
        let scratch = Scratch::new();
        let (mut one, two) = two(&scratch, "pipe", "p.sender");
        assert_eq!(one.does("pipe_poll p.receiver 0"), "false");
        let died = format!("error PeerDied {{ pid: {} }}", two.pid());
        two.kill();
        procession_tests::until("the death is told", || one.ask(command).starts_with(&died));
    }
}

#[test]
fn a_sleeping_reader_is_told_of_the_writers_death_and_of_its_end() {
    for end in ["kill", "finish", "close"] {
        let scratch = Scratch::new();
        let (mut one, mut two) = two(&scratch, "pipe", "p.sender");
        two.does("pipe_send p.sender 1");
        assert_eq!(one.does("pipe_recv p.receiver"), "1");
        one.waits("pipe_recv p.receiver");
        let pid = two.pid();
        match end {
            "kill" => two.kill(),
            "finish" => two.finish(),
            _ => drop(two.does("pipe_close p.sender")),
        }
        if end == "kill" {
            one.failed(&format!("PeerDied {{ pid: {pid} }}"));
        } else {
            one.failed("Eof");
        }
    }
}

#[test]
fn a_sleeping_writer_is_told_of_the_readers_death_and_of_its_end() {
    for end in ["kill", "close"] {
        let scratch = Scratch::new();
        let (mut one, mut two) = two(&scratch, "pipe", "p.receiver");
        one.waits("pipe_send p.sender 10000000");
        let pid = two.pid();
        if end == "kill" {
            two.kill();
            one.failed(&format!("PeerDied {{ pid: {pid} }}"));
        } else {
            two.does("pipe_close p.receiver");
            one.failed("PeerClosed");
        }
    }
}

#[test]
fn the_end_that_was_never_used_dies_with_who_carried_it() {
    let scratch = Scratch::new();
    // It was sent on by one, and taken by two, which is killed without having used it.
    let (mut one, two) = two(&scratch, "pipe", "p.sender");
    one.waits("pipe_recv p.receiver");
    let pid = two.pid();
    two.kill();
    one.failed(&format!("PeerDied {{ pid: {pid} }}"));
    // It was sent, and nobody took it.
    let (mut three, mut four) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("create duplex q");
    hand(&mut one, "q.one", &mut three);
    let message = one.does("pipe_hand q.two");
    three.waits("pipe_recv q.one");
    let pid = one.pid();
    one.kill();
    three.failed(&format!("PeerDied {{ pid: {pid} }}"));
    // Too late.
    four.does(&format!("pipe_take q.two {message}"));
    four.fails("pipe_recv q.two", &format!("Lost {{ pid: {pid} }}"));
}

#[test]
fn an_end_is_used_by_one_process_and_the_other_is_told_by_which() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch, "pipe", "p.sender");
    let mut three = Actor::start(&scratch);
    hand(&mut two, "p.sender", &mut three);
    three.does("pipe_send p.sender 4");
    let refused = format!("InUse {{ by: {}, here: {} }}", three.pid(), two.pid());
    two.fails("pipe_send p.sender 1", &refused);
    two.fails("pipe_close_and_send p.sender 1", &refused);
    two.does("pipe_drop p.sender");
    three.does("pipe_send p.sender 5");
    assert_eq!(one.does("pipe_recv p.receiver"), "4");
    assert_eq!(one.does("pipe_recv p.receiver"), "5");
    three.does("pipe_close p.sender");
    one.fails("pipe_recv p.receiver", "Eof");
}

#[test]
fn a_forked_child_has_no_end_and_takes_none_with_it() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch, "pipe", "p.sender");
    two.does("pipe_send p.sender 1");
    two.does("fork");
    two.fails("pipe_send p.sender 2", "Inherited");
    two.does("pipe_drop p.sender");
    two.tell("exit 0");
    assert_eq!(two.did(), "exit 0");
    two.does("pipe_send p.sender 3");
    assert_eq!(one.does("pipe_recv p.receiver"), "1");
    assert_eq!(one.does("pipe_recv p.receiver"), "3");
    one.fails("pipe_recv_timeout p.receiver 50", "TimedOut");
}

/// What is stopped holds nobody but who needs its room.
#[test]
fn a_stopped_reader_holds_nobody_who_does_not_need_it() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch, "duplex", "p.two");
    two.does("pipe_send p.two 1");
    two.waits("pipe_recv p.two");
    two.stop();
    for _ in 0..100 {
        one.does("pipe_send p.one 10");
    }
    assert_eq!(one.does("pipe_recv p.one"), "1");
    one.fails("pipe_recv_timeout p.one 120", "TimedOut");
    one.fails("pipe_send_timeout p.one 10000000 120", "TimedOut");
    one.does("pipe_close p.one");
    two.go_on();
    assert_eq!(two.did(), "10");
    for _ in 1..100 {
        assert_eq!(two.does("pipe_recv p.two"), "10");
    }
    two.fails("pipe_recv p.two", "Eof");
}

#[test]
fn a_message_whose_writer_died_in_the_middle_is_not_received() {
    let scratch = Scratch::new();
    let (mut one, mut two) = two(&scratch, "pipe", "p.sender");
    two.does("pipe_send p.sender 9");
    two.waits("pipe_send p.sender 10000000");
    two.stop();
    assert_eq!(one.does("pipe_recv p.receiver"), "9");
    // Some of it is read.
    assert_eq!(one.does("pipe_poll p.receiver 0"), "false");
    two.begin_to_die();
    one.fails("pipe_recv p.receiver", "PeerDied");
}

#[test]
fn nothing_is_left_when_both_sides_are_dead() {
    let scratch = Scratch::new();
    let (one, two) = two(&scratch, "duplex", "p.two");
    one.kill();
    two.kill();
    let mut three = Actor::start(&scratch);
    three.does("register");
    assert_eq!(scratch.objects(), Vec::<String>::new());
}

/// Returns once a process that is no actor has ended, and is attached to nothing any more.
fn ends(pid: &str) {
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next())
    };
    procession_tests::until("a child has ended", || matches!(state(), None | Some('Z')));
}

/// Kills a process that is no actor.
fn kill(pid: &str) {
    let pid = nix::unistd::Pid::from_raw(pid.parse().expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it is there");
}

/// `_TestConnection.test_spawn_close`: what the child has closed by its end is at its end for the parent,
/// which has nothing to close.
#[test]
fn spawn_close() {
    let scratch = Scratch::new();
    let mut one = Actor::start(&scratch);
    one.does("create pipe p");
    let pid = one.does("pipe_child p.sender returns");
    for len in ["1", "2", "3"] {
        assert_eq!(one.does("pipe_recv p.receiver"), len);
    }
    one.fails("pipe_recv p.receiver", "Eof");
    ends(&pid);
}

#[test]
fn an_end_given_to_a_child_is_the_childs_from_before_it_starts() {
    let scratch = Scratch::new();
    let mut one = Actor::start(&scratch);
    for (how, received) in [("waits", 3), ("unused", 0)] {
        one.does("create pipe p");
        let pid = one.does(&format!("pipe_child p.sender {how}"));
        for len in 1..=received {
            assert_eq!(one.does("pipe_recv p.receiver"), len.to_string());
        }
        one.fails("pipe_recv_timeout p.receiver 20", "TimedOut");
        one.tell("pipe_recv p.receiver");
        one.falls_asleep();
        kill(&pid);
        one.failed(&format!("PeerDied {{ pid: {pid} }}"));
        ends(&pid);
    }
    // At whatever moment of its start it dies.
    for _ in 0..20 {
        one.does("create pipe p");
        let pid = one.does("pipe_child p.sender unused");
        kill(&pid);
        one.fails("pipe_recv p.receiver", &format!("PeerDied {{ pid: {pid} }}"));
        ends(&pid);
    }
}

#[test]
fn the_parents_copy_of_an_end_given_to_a_child_does_nothing() {
    let scratch = Scratch::new();
    let mut one = Actor::start(&scratch);
    one.does("create pipe p");
    let pid = one.does("pipe_child_and_keep p.sender waits");
    one.fails("pipe_send p.sender 1", "InUse");
    one.does("pipe_close p.sender");
    one.does("pipe_drop p.sender");
    for len in ["1", "2", "3"] {
        assert_eq!(one.does("pipe_recv p.receiver"), len);
    }
    kill(&pid);
    one.fails("pipe_recv p.receiver", &format!("PeerDied {{ pid: {pid} }}"));
    ends(&pid);
}
