//! Somebody dies while it puts, gets, acknowledges, gives back, looks for the dead, or counts after another
//! death: no item is lost, none that was acknowledged comes back, and nobody hangs.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    put_written at "joinable.written": putting;
    put_changed at "joinable.changed": putting;
    put_counted at "joinable.counted": putting;
    put_released at "joinable.released": putting;
    put_written_to_a_sleeper at "joinable.written": putting_for_a_sleeper;
    put_changed_to_a_sleeper at "joinable.changed": putting_for_a_sleeper;
    put_counted_to_a_sleeper at "joinable.counted": putting_for_a_sleeper;
    put_released_to_a_sleeper at "joinable.released": putting_for_a_sleeper;
    get_changed at "joinable.changed": getting;
    get_counted at "joinable.counted": getting;
    get_released at "joinable.released": getting;
    get_changed_from_a_full_queue at "joinable.changed": getting_for_a_sleeper;
    get_counted_from_a_full_queue at "joinable.counted": getting_for_a_sleeper;
    get_released_from_a_full_queue at "joinable.released": getting_for_a_sleeper;
    done_changed at "joinable.changed": acknowledging;
    done_counted at "joinable.counted": acknowledging;
    done_released at "joinable.released": acknowledging;
    done_changed_with_a_joiner at "joinable.changed": acknowledging_the_last;
    done_counted_with_a_joiner at "joinable.counted": acknowledging_the_last;
    done_released_with_a_joiner at "joinable.released": acknowledging_the_last;
    done_finished_with_a_joiner at "joinable.finished": acknowledging_the_last;
    done_changed_before_another_is_put at "joinable.changed": acknowledging_the_last_before_another_is_put;
    done_finished_before_another_is_put at "joinable.finished": acknowledging_the_last_before_another_is_put;
    done_counted_before_another_is_put at "joinable.counted": acknowledging_the_last_before_another_is_put;
    given_back_changed at "joinable.changed": giving_back;
    given_back_counted at "joinable.counted": giving_back;
    given_back_released at "joinable.released": giving_back;
    last_attempt_changed at "joinable.changed": giving_back_for_the_last_time;
    last_attempt_counted at "joinable.counted": giving_back_for_the_last_time;
    last_attempt_released at "joinable.released": giving_back_for_the_last_time;
    survey_found_lost at "joinable.found_lost": surveying;
    survey_changed at "joinable.changed": surveying;
    survey_counted at "joinable.counted": surveying;
    survey_released at "joinable.released": surveying;
    survey_found_lost_with_a_joiner at "joinable.found_lost": surveying_for_a_joiner;
    survey_changed_with_a_joiner at "joinable.changed": surveying_for_a_joiner;
    survey_counted_with_a_joiner at "joinable.counted": surveying_for_a_joiner;
    survey_released_with_a_joiner at "joinable.released": surveying_for_a_joiner;
    recounted_after_a_put at "joinable.recounted": counting_after("put j 9", &["1:2", "2:1", "3:1", "9:1"]);
    recounted_after_a_get at "joinable.recounted": counting_after("get j", &["1:2", "2:2", "3:1"]);
    recounted_after_an_acknowledgement at "joinable.recounted": counting_after("task_done", &["2:1", "3:1"]);
    letter_discarded_changed at "joinable.changed": deciding("discard");
    letter_discarded_counted at "joinable.counted": deciding("discard");
    letter_discarded_released at "joinable.released": deciding("discard");
    letter_retried_changed at "joinable.changed": deciding("retry");
    letter_retried_counted at "joinable.counted": deciding("retry");
    letter_retried_released at "joinable.released": deciding("retry");
    extended at "joinable.extended": extending;
    extended_released at "joinable.released": extending;
    redeemed_changed at "joinable.changed": redeeming("task_done");
    redeemed_counted at "joinable.counted": redeeming("task_done");
    redeemed_only_found at "joinable.released": redeeming("task_done");
    redeemed_and_given_back_changed at "joinable.changed": redeeming("give_back");
    redeemed_and_given_up_counted at "joinable.counted": redeeming("give_up");
    put_back_changed at "joinable.changed": putting_back;
    put_back_counted at "joinable.counted": putting_back;
    put_back_released at "joinable.released": putting_back;
    batch_written at "joinable.written": putting_a_batch;
    batch_changed at "joinable.changed": putting_a_batch;
    batch_counted at "joinable.counted": putting_a_batch;
    batch_released at "joinable.released": putting_a_batch;
    closed at "joinable.closed": closing;
    reopened at "joinable.reopened": reopening;
    closed_released at "joinable.released": closing;
    shutdown_closed at "joinable.closed": shutting_down;
    shutdown_changed at "joinable.changed": shutting_down;
    shutdown_counted at "joinable.counted": shutting_down;
    shutdown_released at "joinable.released": shutting_down;
}

/// Three processes that have the joinable queue `j` open.
fn cast(scratch: &Scratch, options: &str) -> (Actor, Actor, Actor) {
    let [mut victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(scratch));
    one.does(&format!("create joinable j {options}"));
    victim.does("open joinable j");
    two.does("open joinable j");
    (victim, one, two)
}

/// Another one in the victim's place.
fn another(scratch: &Scratch) -> Actor {
    let mut actor = Actor::start(scratch);
    actor.does("open joinable j");
    actor
}

/// Gets the items and acknowledges each. What it is told is their number and attempt.
fn does_all(actor: &mut Actor, items: &[&str]) {
    for item in items {
        assert_eq!(actor.does("get_timeout j 30000"), *item);
        actor.does("task_done");
    }
}

/// Nothing is unfinished; the survivors pass each other items, wait for each other, and close the queue.
fn all_is_well(one: &mut Actor, two: &mut Actor) {
    two.fails("try_get j", "WouldBlock");
    assert_eq!((one.does("len j"), one.does("unfinished j")), ("0".to_owned(), "0".to_owned()));
    one.does("join j");
    for n in 100..120 {
        one.does(&format!("put j {n}"));
        one.tell("join j");
        assert_eq!(two.does("get j"), format!("{n}:1"));
        two.does("task_done");
        one.did();
    }
    one.does("close j");
    two.fails("get j", "Closed");
    one.fails("put j 1", "Closed");
    two.does("unlink j");
}

fn putting(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "");
    victim.does("put j 1");
    victim.dies_at(label, "put j 2");
    another(&scratch).dies_at(label, "put_timeout j 3 30000");
    let is_put = label != "joinable.written";
    assert_eq!(two.does("len j"), if is_put { "3" } else { "1" });
    one.does("put j 4");
    does_all(&mut two, if is_put { &["1:1", "2:1", "3:1", "4:1"] } else { &["1:1", "4:1"] });
    all_is_well(&mut one, &mut two);
}

fn putting_for_a_sleeper(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "");
    one.waits("get j");
    victim.dies_at(label, "put j 3");
    let is_put = label != "joinable.written";
    if !is_put {
        two.does("put j 4");
    }
    assert_eq!(one.did(), if is_put { "3:1" } else { "4:1" });
    one.does("task_done");
    all_is_well(&mut one, &mut two);
}

fn getting(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "");
    one.does("put_many j 1 3");
    victim.dies_at(label, "get j");
    // It finds what the first victim had, or what it had not yet.
    another(&scratch).dies_at(label, "get_timeout j 30000");
    assert_eq!(one.does("unfinished j"), "3");
    let mut got = std::array::from_fn::<_, 3, _>(|_| {
        let item = two.does("get_timeout j 30000");
        two.does("task_done");
        item
    });
    got.sort();
    // The second victim had the first item again, or one of its own, or died when it had given back the
    // first.
    let possible = [["1:2", "2:1", "3:1"], ["1:3", "2:1", "3:1"], ["1:2", "2:2", "3:1"]];
    assert!(possible.iter().any(|items| got == *items), "{got:?}");
    all_is_well(&mut one, &mut two);
}

fn getting_for_a_sleeper(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "capacity=1");
    one.does("put j 1");
    two.waits("put j 2");
    victim.dies_at(label, "get j");
    two.did();
    // The victim's item is there again, more than the capacity or not.
    let mut got: Vec<String> = Vec::new();
    while got.len() < 2 {
        got.push(one.does("get_timeout j 30000"));
        one.does("task_done");
    }
    got.sort();
    assert_eq!(got, ["1:2", "2:1"]);
    all_is_well(&mut one, &mut two);
}

fn acknowledging(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "");
    one.does("put_many j 1 3");
    assert_eq!(victim.does("get j"), "1:1");
    victim.dies_at(label, "task_done");
    let mut second = another(&scratch);
    assert_eq!(second.does("get j"), "2:1");
    second.dies_at(label, "task_done");
    assert_eq!((one.does("len j"), one.does("unfinished j")), ("1".to_owned(), "1".to_owned()));
    does_all(&mut two, &["3:1"]);
    all_is_well(&mut one, &mut two);
}

fn acknowledging_the_last(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "");
    one.does("put j 1");
    victim.does("get j");
    one.waits("join j");
    two.waits("join j");
    victim.dies_at(label, "task_done");
    one.did();
    two.did();
    all_is_well(&mut one, &mut two);
}

/// Who joins sees neither the death nor the time between, and learns that there was one with nothing unfinished.
fn acknowledging_the_last_before_another_is_put(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "");
    one.does("put j 1");
    victim.does("get j");
    one.waits("join j");
    one.stop();
    victim.dies_at(label, "task_done");
    two.does("put j 2");
    one.go_on();
    one.did();
    does_all(&mut two, &["2:1"]);
    all_is_well(&mut one, &mut two);
}

/// Killed in the middle of it, it is a dead holder.
fn extending(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "");
    one.does("put j 1");
    victim.does("get j");
    victim.dies_at(label, "extend 100000");
    does_all(&mut two, &["1:2"]);
    all_is_well(&mut one, &mut two);
}

/// Somebody decides about what another has leased, which that one finds decided, or not.
fn redeeming(what: &'static str) -> impl Fn(&str) {
    move |label| {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = cast(&scratch, "");
        one.does("put j 1");
        two.does("get j");
        let token = two.does("token");
        victim.dies_at(label, &format!("redeem j {token} {what}"));
        if label == "joinable.released" {
            // It had found the lease, and decided nothing.
            two.does("task_done");
            return all_is_well(&mut one, &mut two);
        }
        two.fails("task_done", "StaleLease");
        one.fails(&format!("redeem j {token} task_done"), "StaleToken");
        match what {
            "task_done" => {}
            "give_back" => does_all(&mut one, &["1:2"]),
            _ => {
                assert_eq!(one.does("dead_letters j"), "1:1");
                one.does("discard j");
            }
        }
        all_is_well(&mut one, &mut two);
    }
}

fn putting_back(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "max_attempts=1");
    one.does("put j 1");
    victim.does("get j");
    victim.dies_at(label, "put_back");
    does_all(&mut two, &["1:1"]);
    all_is_well(&mut one, &mut two);
}

/// The first ones are put, each whole, and those behind them are not.
fn putting_a_batch(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "");
    victim.dies_at(label, "put_batch j 1 40");
    let count: u64 = two.does("len j").parse().unwrap();
    let possible = match label {
        "joinable.written" => 0..=0,
        // As many as are put at a time.
        "joinable.released" => 2..=39,
        _ => 1..=1,
    };
    assert!(possible.contains(&count), "{count}");
    for n in 1..=count {
        does_all(&mut two, &[&format!("{n}:1")]);
    }
    all_is_well(&mut one, &mut two);
}

fn giving_back(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "");
    one.does("put_many j 1 2");
    victim.does("get j");
    victim.dies_at(label, "give_back");
    assert_eq!(one.does("len j"), "2");
    let mut second = another(&scratch);
    assert_eq!(second.does("get j"), "1:2");
    assert_eq!(second.does("get j"), "2:1");
    two.waits("get j");
    second.dies_at(label, "give_back");
    let mut got = [two.did(), one.does("get_timeout j 30000")];
    got.sort();
    assert_eq!(got, ["1:3", "2:2"]);
    two.does("task_done");
    one.does("task_done");
    all_is_well(&mut one, &mut two);
}

fn giving_back_for_the_last_time(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "max_attempts=1");
    one.does("put j 3");
    victim.does("get j");
    two.waits("join j");
    victim.dies_at(label, "give_back");
    two.did();
    assert_eq!(one.does("dead_letters j"), "3:1");
    one.does("discard j");
    assert_eq!(one.does("dead_letters j"), "");
    all_is_well(&mut one, &mut two);
}

fn surveying(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "");
    one.does("put_many j 1 2");
    let mut dead = another(&scratch);
    assert_eq!((dead.does("get j"), dead.does("get j")), ("1:1".to_owned(), "2:1".to_owned()));
    dead.kill();
    dies_after_a_look(victim, label, "get j");
    let mut got = [two.does("get_timeout j 30000"), two.does("get_timeout j 30000")];
    got.sort();
    assert!(got[0].starts_with("1:") && got[1].starts_with("2:"), "{got:?}");
    two.does("task_done");
    two.does("task_done");
    all_is_well(&mut one, &mut two);
}

/// The first time that the lock is released may be that of the look before.
fn dies_after_a_look(mut victim: Actor, label: &str, command: &str) {
    let nth = if label == "joinable.released" { 2 } else { 1 };
    victim.does(&format!("arm {label} {nth} kill"));
    victim.tell(command);
    victim.dies();
}

fn surveying_for_a_joiner(label: &str) {
    let scratch = Scratch::new();
    let (_, mut one, mut two) = cast(&scratch, "");
    one.does("put j 1");
    let mut dead = another(&scratch);
    dead.does("get j");
    dead.kill();
    dies_after_a_look(another(&scratch), label, "join j");
    // Who joins gives the item back, and does not do the work.
    one.fails("join_timeout j 50", "TimedOut");
    assert_eq!((one.does("len j"), one.does("unfinished j")), ("1".to_owned(), "1".to_owned()));
    two.waits("join j");
    does_all(&mut one, &["1:2"]);
    two.did();
    all_is_well(&mut one, &mut two);
}

/// One dies between its change and the counts, another when it has counted anew.
fn counting_after(command: &'static str, left: &'static [&str]) -> impl Fn(&str) {
    move |label| {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch, "");
        one.does("put_many j 1 3");
        assert_eq!(victim.does("get j"), "1:1");
        victim.dies_at("joinable.changed", command);
        another(&scratch).dies_at(label, "len j");
        assert_eq!(one.does("unfinished j"), left.len().to_string());
        let mut got: Vec<String> = Vec::new();
        while got.len() < left.len() {
            got.push(two.does("get_timeout j 30000"));
            two.does("task_done");
        }
        got.sort();
        assert_eq!(got, left);
        all_is_well(&mut one, &mut two);
    }
}

fn deciding(command: &'static str) -> impl Fn(&str) {
    move |label| {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = cast(&scratch, "max_attempts=1");
        one.does("put_many j 1 2");
        one.does("get j");
        one.does("get j");
        one.does("give_back");
        one.does("give_back");
        assert_eq!(two.does("dead_letters j"), "1:1 2:1");
        dies_after_a_look(victim, label, &format!("{command} j"));
        assert_eq!(two.does("dead_letters j"), "2:1");
        if command == "retry" {
            does_all(&mut two, &["1:1"]);
        }
        two.does("discard j");
        all_is_well(&mut one, &mut two);
    }
}

fn reopening(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "capacity=1");
    victim.does("close j");
    one.fails("put j 1", "Closed");
    victim.dies_at(label, "reopen j");
    // It was opened; saying so again changes nothing.
    one.does("put j 1");
    two.does("reopen j");
    does_all(&mut two, &["1:1"]);
    all_is_well(&mut one, &mut two);
}

fn closing(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch, "capacity=1");
    one.waits("get j");
    two.waits("get j");
    victim.dies_at(label, "close j");
    one.failed("Closed");
    two.failed("Closed");
    one.does("close j");
    two.does("unlink j");
    // The same before sleeping producers; what is in the queue is still to be had.
    let (victim, mut one, mut two) = cast(&scratch, "capacity=1");
    one.does("put j 1");
    two.waits("put j 2");
    victim.dies_at(label, "close j");
    two.failed("Closed");
    does_all(&mut one, &["1:1"]);
    two.fails("get j", "Closed");
    two.does("unlink j");
}

/// Killed while it throws items away: those that are left are there for the next one who does, and a joiner learns of it.
fn shutting_down(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch, "");
    for n in 1..=3 {
        victim.does(&format!("put j {n}"));
    }
    victim.dies_at(label, "shutdown j");
    one.fails("put j 4", "Closed");
    one.waits("join j");
    // What the dead one had in its hand is back at the latest when somebody looks for lost leases.
    let thrown: u32 = two.does("shutdown j").parse().unwrap();
    assert!((1..=3).contains(&thrown), "{thrown}");
    if two.does("unfinished j") != "0" {
        assert!(two.does("get_timeout j 30000").ends_with(":2"));
        two.does("task_done");
    }
    one.did();
    two.fails("get j", "Closed");
    two.does("unlink j");
}

/// Who does not wait finds the item of a dead holder also if another gives it back between its look and its
/// survey.
#[test]
fn a_lost_item_that_another_has_given_back_is_there_for_who_tries() {
    let scratch = Scratch::new();
    let (mut holder, mut one, mut two) = cast(&scratch, "");
    one.does("put j 1");
    holder.does("get j");
    two.stops_at("joinable.released", "try_get j");
    holder.kill();
    one.fails("join_timeout j 0", "TimedOut");
    assert_eq!(one.does("len j"), "1");
    two.go_on();
    assert_eq!(two.did(), "1:2");
    two.does("task_done");
    all_is_well(&mut one, &mut two);
}
