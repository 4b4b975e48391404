//! One side of a pipe dies, and the other receives what was sent before, whole messages alone, and is told.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    claimed_to_send at "pipe.claimed": claiming;
    claimed_to_send_to_a_sleeper at "pipe.claimed": claiming_before_a_sleeper;
    written at "lane.written": sending;
    committed at "lane.committed": sending;
    written_to_a_sleeper at "lane.written": sending_to_a_sleeper;
    committed_to_a_sleeper at "lane.committed": sending_to_a_sleeper;
    parts_written at "lane.written": sending_parts;
    parts_committed at "lane.committed": sending_parts;
    parts_committed_to_a_sleeper at "lane.committed": sending_parts_to_a_sleeper;
    larger_ring_reserved at "lane.reserved": moving;
    larger_ring_written at "lane.written": moving;
    larger_ring_committed at "lane.committed": moving;
    larger_ring_reserved_before_a_sleeper at "lane.reserved": moving_before_a_sleeper;
    larger_ring_committed_before_a_sleeper at "lane.committed": moving_before_a_sleeper;
    read at "lane.read": receiving;
    read_from_a_full_pipe at "lane.read": receiving_before_a_sleeper;
    closed at "pipe.closed": closing;
    departed at "pipe.departed": departing;
    departed_to_a_child at "pipe.departed": departing_to_a_child;
    arrived at "pipe.arrived": arriving;
    adopted at "pipe.adopted": arriving;
    adopted_in_a_queue at "pipe.adopted": getting;
    all_adopted at "ends.adopted": getting;
    thrown_away at "ends.adopted": throwing_away;
    found_lost at "pipe.end_found_lost": losing;
    lost_closed at "pipe.lost_end_closed": losing;
    peer_found_dead at "pipe.peer_found_dead": noting;
    death_noted at "pipe.death_noted": noting;
}

/// The first has the receiver and the second, which is to die, the sender.
fn cast(scratch: &Scratch, options: &str) -> (Actor, Actor) {
    let (mut one, mut victim) = (Actor::start(scratch), Actor::start(scratch));
    one.does(&format!("create pipe p {options}"));
    let message = one.does("pipe_hand p.sender");
    victim.does(&format!("pipe_take p.sender {message}"));
    (one, victim)
}

/// Nothing more comes, and the survivor is told whose death that is.
fn is_told(one: &mut Actor, pid: u32) {
    let died = format!("PeerDied {{ pid: {pid} }}");
    one.fails("pipe_recv p.receiver", &died);
    assert_eq!(one.does("pipe_poll p.receiver 0"), "true");
    one.fails("pipe_recv_timeout p.receiver 10", &died);
    one.does("pipe_close p.receiver");
    one.does("pipe_drop p.receiver");
}

fn claiming(label: &str) {
    let scratch = Scratch::new();
    let (mut one, victim) = cast(&scratch, "");
    let pid = victim.pid();
    victim.dies_at(label, "pipe_send p.sender 1");
    is_told(&mut one, pid);
}

fn claiming_before_a_sleeper(label: &str) {
    let scratch = Scratch::new();
    let (mut one, victim) = cast(&scratch, "");
    let pid = victim.pid();
    one.waits("pipe_recv p.receiver");
    victim.dies_at(label, "pipe_send p.sender 1");
    one.failed(&format!("PeerDied {{ pid: {pid} }}"));
    is_told(&mut one, pid);
}

fn sending(label: &str) {
    let scratch = Scratch::new();
    let (mut one, mut victim) = cast(&scratch, "");
    let pid = victim.pid();
    victim.does("pipe_send p.sender 1");
    victim.dies_at(label, "pipe_send p.sender 2");
    assert_eq!(one.does("pipe_recv p.receiver"), "1");
    if label == "lane.committed" {
        assert_eq!(one.does("pipe_recv p.receiver"), "2");
    }
    is_told(&mut one, pid);
}

fn sending_to_a_sleeper(label: &str) {
    let scratch = Scratch::new();
    let (mut one, victim) = cast(&scratch, "");
    let pid = victim.pid();
    one.waits("pipe_recv p.receiver");
    victim.dies_at(label, "pipe_send p.sender 2");
    if label == "lane.committed" {
        assert_eq!(one.did(), "2");
    } else {
        one.failed("PeerDied");
    }
    is_told(&mut one, pid);
}

/// Announced, and in three parts.
fn sending_parts(label: &str) {
    (1..=4).for_each(|nth| sending_long(label, nth, nth == 4, "1024", 600));
}

/// The larger ring is announced, and then holds the message.
fn moving(label: &str) {
    let last = if label == "lane.reserved" { 1 } else { 2 };
    (1..=last).for_each(|nth| sending_long(label, nth, nth == last, "", 100_000));
}

/// The writer of a long message dies where it comes by the label for the `nth` time.
fn sending_long(label: &str, nth: u32, is_last: bool, options: &str, len: usize) {
    let scratch = Scratch::new();
    let (mut one, mut victim) = cast(&scratch, options);
    let pid = victim.pid();
    victim.does("pipe_send p.sender 1");
    victim.does(&format!("arm {label} {nth} kill"));
    victim.tell(&format!("pipe_send p.sender {len}"));
    victim.dies();
    assert_eq!(one.does("pipe_recv p.receiver"), "1");
    if label == "lane.committed" && is_last {
        assert_eq!(one.does("pipe_recv p.receiver"), len.to_string());
    }
    is_told(&mut one, pid);
}

/// Longer than the ring: the reader takes parts, and one of them is the last that comes.
fn sending_parts_to_a_sleeper(label: &str) {
    for (nth, command) in [(3, "pipe_recv p.receiver"), (8, "pipe_recv_into p.receiver 10000")] {
        let scratch = Scratch::new();
        let (mut one, mut victim) = cast(&scratch, "1024");
        let pid = victim.pid();
        one.waits(command);
        victim.does(&format!("arm {label} {nth} kill"));
        victim.tell("pipe_send p.sender 10000");
        victim.dies();
        one.failed("PeerDied");
        is_told(&mut one, pid);
    }
}

/// The reader sleeps, and is told, also when it has followed into the larger ring and finds no message there.
fn moving_before_a_sleeper(label: &str) {
    let scratch = Scratch::new();
    let (mut one, victim) = cast(&scratch, "");
    let pid = victim.pid();
    one.waits("pipe_recv p.receiver");
    victim.dies_at(label, "pipe_send p.sender 100000");
    one.failed(&format!("PeerDied {{ pid: {pid} }}"));
    is_told(&mut one, pid);
}

/// The reader dies, whose pipe is not full: the writer is told when it is.
fn receiving(label: &str) {
    let scratch = Scratch::new();
    let (mut one, mut victim) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("create pipe p 1024");
    let message = one.does("pipe_hand p.receiver");
    victim.does(&format!("pipe_take p.receiver {message}"));
    one.does("pipe_send p.sender 1");
    one.does("pipe_send p.sender 2");
    let pid = victim.pid();
    victim.dies_at(label, "pipe_recv p.receiver");
    one.does("pipe_send p.sender 3");
    one.fails("pipe_send p.sender 2000", &format!("PeerDied {{ pid: {pid} }}"));
    one.fails("pipe_send p.sender 1", &format!("PeerDied {{ pid: {pid} }}"));
}

/// The reader dies after it took a part and before it told the writer, who sleeps for its room.
fn receiving_before_a_sleeper(label: &str) {
    let scratch = Scratch::new();
    let (mut one, mut victim) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("create pipe p 1024");
    let message = one.does("pipe_hand p.receiver");
    victim.does(&format!("pipe_take p.receiver {message}"));
    one.waits("pipe_send p.sender 10000");
    let pid = victim.pid();
    victim.dies_at(label, "pipe_recv p.receiver");
    one.failed(&format!("PeerDied {{ pid: {pid} }}"));
}

/// It had closed its end: that was no death.
fn closing(label: &str) {
    let scratch = Scratch::new();
    let (mut one, mut victim) = cast(&scratch, "");
    victim.does("pipe_send p.sender 1");
    assert_eq!(one.does("pipe_recv p.receiver"), "1");
    one.waits("pipe_recv p.receiver");
    victim.dies_at(label, "pipe_close p.sender");
    one.failed("Eof");
    // Without having used it, and the other way round.
    one.does("create pipe p");
    let message = one.does("pipe_hand p.receiver");
    let mut victim = Actor::start(&scratch);
    victim.does(&format!("pipe_take p.receiver {message}"));
    one.waits("pipe_send p.sender 10000000");
    victim.dies_at(label, "pipe_drop p.receiver");
    one.failed("PeerClosed");
}

/// Two processes: the second, which is to die, made the pipe and has the sender.
fn maker(scratch: &Scratch) -> (Actor, Actor) {
    let (mut one, mut victim) = (Actor::start(scratch), Actor::start(scratch));
    victim.does("create pipe p");
    let message = victim.does("pipe_hand p.receiver");
    one.does(&format!("pipe_take p.receiver {message}"));
    assert_eq!(one.does("pipe_poll p.receiver 0"), "false");
    (one, victim)
}

fn departing(label: &str) {
    let scratch = Scratch::new();
    let (mut one, victim) = maker(&scratch);
    let pid = victim.pid();
    victim.dies_at(label, "pipe_hand p.sender");
    is_told(&mut one, pid);
}

/// The child will never be started; it has no pid.
fn departing_to_a_child(label: &str) {
    let scratch = Scratch::new();
    let (mut one, victim) = maker(&scratch);
    one.waits("pipe_recv p.receiver");
    victim.dies_at(label, "pipe_child p.sender waits");
    one.failed("PeerDied { pid: 0 }");
    is_told(&mut one, 0);
}

fn arriving(label: &str) {
    let scratch = Scratch::new();
    let (mut one, victim) = (Actor::start(&scratch), Actor::start(&scratch));
    one.does("create pipe p");
    let message = one.does("pipe_hand p.sender");
    one.waits("pipe_recv p.receiver");
    let pid = victim.pid();
    victim.dies_at(label, &format!("pipe_take p.sender {message}"));
    one.failed(&format!("PeerDied {{ pid: {pid} }}"));
    is_told(&mut one, pid);
}

/// The end is the consumer's before the message is out: it dies with it, and the message is there.
fn getting(label: &str) {
    let scratch = Scratch::new();
    let [mut one, victim, mut late] = std::array::from_fn(|_| Actor::start(&scratch));
    one.does("create pipe p");
    one.does("pipe_put p.sender post");
    one.waits("pipe_recv p.receiver");
    let pid = victim.pid();
    victim.dies_at(label, "pipe_get p.sender post");
    one.failed(&format!("PeerDied {{ pid: {pid} }}"));
    late.does("pipe_get p.sender post");
    late.fails("pipe_send p.sender 1", &format!("Lost {{ pid: {pid} }}"));
    late.does("pipe_unlink post");
}

fn throwing_away(label: &str) {
    let scratch = Scratch::new();
    let [mut one, victim, mut late] = std::array::from_fn(|_| Actor::start(&scratch));
    one.does("create pipe p");
    one.does("pipe_put p.sender post");
    one.waits("pipe_recv p.receiver");
    let pid = victim.pid();
    victim.dies_at(label, "pipe_throw_away post");
    one.failed(&format!("PeerDied {{ pid: {pid} }}"));
    assert_eq!(late.does("pipe_throw_away post"), "1");
    late.does("pipe_unlink post");
}

/// The queue with the end in it is gone; who finds that out dies, and leaves it to others.
fn losing(label: &str) {
    let scratch = Scratch::new();
    let [mut one, mut victim] = std::array::from_fn(|_| Actor::start(&scratch));
    one.does("create pipe p");
    let message = one.does("pipe_hand p.receiver");
    victim.does(&format!("pipe_take p.receiver {message}"));
    one.does("pipe_put p.sender post");
    one.does("pipe_unlink post");
    victim.dies_at(label, "pipe_recv p.receiver");
    // Its carrier looks after it whenever it closes something.
    one.does("pipe_drop p.sender");
    one.does("pipe_drop p.receiver");
    for other in ["pipe r", "pipe s"] {
        one.does(&format!("create {other}"));
        one.does(&format!("pipe_drop {}.sender", &other[5..]));
    }
    assert_eq!(one.does("pipe_poll r.receiver 0"), "true");
}

/// Who finds the carrier of the other end dead dies, before or after that is written down: whoever gets the
/// end late is told of the one death or of the other.
fn noting(label: &str) {
    let scratch = Scratch::new();
    let [mut maker, mut victim, mut late] = std::array::from_fn(|_| Actor::start(&scratch));
    maker.does("create duplex q");
    let one = maker.does("pipe_hand q.one");
    victim.does(&format!("pipe_take q.one {one}"));
    assert_eq!(victim.does("pipe_poll q.one 0"), "false");
    let two = maker.does("pipe_hand q.two");
    // A handle that it cannot use keeps the file while the other end is on its way.
    late.does(&format!("pipe_take q.one {one}"));
    let (of_maker, of_victim) = (maker.pid(), victim.pid());
    maker.kill();
    victim.dies_at(label, "pipe_recv q.one");
    late.does(&format!("pipe_take q.two {two}"));
    if label == "pipe.death_noted" {
        late.fails("pipe_recv q.two", &format!("Lost {{ pid: {of_maker} }}"));
    } else {
        late.fails("pipe_recv q.two", &format!("PeerDied {{ pid: {of_victim} }}"));
    }
}
