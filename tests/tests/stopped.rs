//! Who is stopped (SIGSTOP) at a queue or a pipe, and holds no lock, holds nobody but those who need what
//! only it could give: its room, its messages, the item that it has leased.

use procession_tests::{Actor, Scratch};

/// Actors that have the object `q` open, the first of which has made it.
fn actors<const N: usize>(scratch: &Scratch, kind: &str, options: &str) -> [Actor; N] {
    let mut actors = std::array::from_fn(|_| Actor::start(scratch));
    let mut all = actors.iter_mut();
    let mut made = false;
    for actor in &mut all {
        let command = if made { format!("open {kind} q") } else { format!("create {kind} q {options}") };
        actor.does(&command);
        made = true;
    }
    actors
}

#[test]
fn a_stopped_consumer_of_a_queue_leaves_the_messages_to_others() {
    let scratch = Scratch::new();
    let [mut producer, mut stopped, mut other] = actors(&scratch, "queue", "capacity=4");
    // It sleeps, and it is the one that the first message would wake.
    stopped.waits("get q");
    stopped.stop();
    other.waits("get q");
    producer.does("put q 1");
    assert_eq!(other.did(), "1");
    for n in 2..40 {
        producer.does(&format!("put q {n}"));
        assert_eq!(other.does("get q"), n.to_string());
    }
    (40..44).for_each(|n| drop(producer.does(&format!("put q {n}"))));
    producer.fails("try_put q 9", "WouldBlock");
    producer.fails("put_timeout q 9 120", "TimedOut");
    // Nobody has given it anything meanwhile.
    assert!(!stopped.has_answered());
    stopped.go_on();
    assert_eq!(stopped.did(), "40");
    (41..44).for_each(|n| assert_eq!(other.does("get q"), n.to_string()));
    producer.does("unlink q");
}

#[test]
fn a_stopped_producer_of_a_full_queue_leaves_the_room_to_others() {
    let scratch = Scratch::new();
    let [mut consumer, mut stopped, mut other] = actors(&scratch, "queue", "capacity=1");
    other.does("put q 1");
    stopped.waits("put q 2");
    stopped.stop();
    other.waits("put q 3");
    assert_eq!(consumer.does("get q"), "1");
    other.did();
    assert_eq!(consumer.does("get q"), "3");
    consumer.fails("get_timeout q 120", "TimedOut");
    stopped.go_on();
    stopped.did();
    assert_eq!(consumer.does("get q"), "2");
    consumer.does("unlink q");
}

#[test]
fn a_stopped_worker_holds_its_item_and_nothing_else() {
    let scratch = Scratch::new();
    let [mut producer, mut stopped, mut other] = actors(&scratch, "joinable", "capacity=4");
    producer.does("put q 1");
    assert_eq!(stopped.does("get q"), "1:1");
    stopped.waits("get q");
    stopped.stop();
    other.waits("get q");
    producer.does("put q 2");
    assert_eq!(other.did(), "2:1");
    other.does("task_done");
    for n in 3..40 {
        producer.does(&format!("put q {n}"));
        assert_eq!(other.does("get q"), format!("{n}:1"));
        other.does("task_done");
    }
    producer.fails("join_timeout q 120", "TimedOut");
    assert_eq!(producer.does("unfinished q"), "1");
    producer.does("put q 40");
    stopped.go_on();
    assert_eq!(stopped.did(), "40:1");
    stopped.does("task_done");
    stopped.does("task_done");
    producer.does("join q");
    producer.does("unlink q");
}

/// Gives one end of the pipe that `from` has made to another.
fn hand(from: &mut Actor, end: &str, to: &mut Actor) {
    let message = from.does(&format!("pipe_hand {end}"));
    to.does(&format!("pipe_take {end} {message}"));
}

#[test]
fn a_stopped_reader_of_a_pipe_holds_its_writer_only_when_the_pipe_is_full() {
    let scratch = Scratch::new();
    let [mut writer, mut stopped, mut other] = std::array::from_fn(|_| Actor::start(&scratch));
    writer.does("create pipe p 1024");
    writer.does("create pipe q 1024");
    hand(&mut writer, "p.receiver", &mut stopped);
    hand(&mut writer, "q.receiver", &mut other);
    stopped.waits("pipe_recv p.receiver");
    stopped.stop();
    let sent = (0..100).take_while(|_| writer.ask("pipe_send_timeout p.sender 20 0") == "ok").count();
    // A record of 20 bytes takes 32.
    assert_eq!(sent, 32);
    writer.fails("pipe_send_timeout p.sender 20 120", "TimedOut");
    // One longer than the pipe, too.
    writer.fails("pipe_send_timeout p.sender 5000 120", "TimedOut");
    for len in [1, 20, 600] {
        writer.does(&format!("pipe_send q.sender {len}"));
        assert_eq!(other.does("pipe_recv q.receiver"), len.to_string());
    }
    writer.tell("pipe_send q.sender 5000");
    assert_eq!(other.does("pipe_recv q.receiver"), "5000");
    writer.did();
    assert!(!stopped.has_answered());
    writer.waits("pipe_send p.sender 6000");
    stopped.go_on();
    assert_eq!(stopped.did(), "20");
    (1..sent).for_each(|_| assert_eq!(stopped.does("pipe_recv p.receiver"), "20"));
    // What timed out never comes; what waits does.
    assert_eq!(stopped.does("pipe_recv p.receiver"), "6000");
    writer.did();
}

#[test]
fn a_stopped_writer_of_a_long_message_holds_its_reader_and_no_other() {
    let scratch = Scratch::new();
    let [mut reader, mut stopped, mut other] = std::array::from_fn(|_| Actor::start(&scratch));
    reader.does("create pipe p 1024");
    reader.does("create pipe q 1024");
    hand(&mut reader, "p.sender", &mut stopped);
    hand(&mut reader, "q.sender", &mut other);
    stopped.waits("pipe_send p.sender 9000");
    stopped.stop();
    // It has come in part.
    reader.fails("pipe_recv_timeout p.receiver 120", "TimedOut");
    assert_eq!(reader.does("pipe_poll p.receiver 0"), "false");
    other.does("pipe_send q.sender 7");
    assert_eq!(reader.does("pipe_recv q.receiver"), "7");
    stopped.go_on();
    assert_eq!(reader.does("pipe_recv p.receiver"), "9000");
    stopped.did();
}
