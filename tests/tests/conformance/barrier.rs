//! `_TestBarrier`: four children and this process.
//!
//! On purpose different from Python: an action is code, so it belongs to a handle and does not cross: each
//! process gives it to its own. Who breaks the barrier by its own timeout, or runs an action that fails, is
//! told just that; the others are told that it is broken, and why. Parties are checked.

use crate::ground::{Ground, SHORT, Sent, child, conforms, elsewhere, for_ever, kill};
use procession::{Array, Barrier, BarrierError, BreakCause, Event, Latch, Member, Queue, Value};
use procession_tests::until;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const N: u32 = 5;

conforms!(
    all_pass_in_step,
    all_pass_in_step_ten_times,
    wait_answers_the_order_of_arrival,
    the_action_is_done_once_before_anybody_goes_on,
    an_action_that_fails_breaks_it,
    abort_breaks_it_for_everybody,
    reset_breaks_it_for_those_who_wait_and_mends_it,
    after_abort_and_reset_all_pass,
    a_timeout_of_one_breaks_it_for_all,
    the_default_timeout_does_too,
    one_party_never_waits,
    a_thousand_rounds_stay_in_step_with_messages,
    a_member_that_is_killed_breaks_it_for_the_others,
);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Outcome {
    Passed,
    Broken,
    TimedOut,
    Itself,
}
use Outcome::{Broken, Itself, Passed, TimedOut};

impl Outcome {
    /// What a wait came to, if it must not have been broken for another reason than `why`.
    fn of(waited: Result<u32, BarrierError>, why: BreakCause) -> Self {
        match waited {
            Ok(_) => Passed,
            Err(BarrierError::TimedOut { .. }) => TimedOut,
            Err(BarrierError::Broken { cause, .. }) if cause == why => Broken,
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// What all five answer, sorted.
fn all<A, R>(f: fn(A) -> R, run: impl Fn() -> procession::Process<R>, arguments: A) -> Vec<R>
where
    R: Ord + Serialize + DeserializeOwned,
{
    let children: Vec<_> = (1..N).map(|_| run()).collect();
    let mut answers = vec![f(arguments)];
    answers.extend(children.into_iter().map(|child| child.join().unwrap()));
    answers.sort();
    answers
}

/// Lets all five call `$f` with `$arguments`, made anew for each.
macro_rules! all {
    ($f:expr, $arguments:expr) => {
        all($f, || child($f, $arguments), $arguments)
    };
}

fn five() -> procession::BarrierOptions {
    Barrier::options().parties(N as usize)
}

fn in_step((barrier, counts, rounds): (Sent<Barrier>, Sent<Array<u32>>, u32)) {
    assert_eq!(barrier.parties(), N as usize);
    for round in 0..rounds {
        counts.fetch_add(0, 1).unwrap();
        assert_eq!(counts.get(1).unwrap(), round * N);
        barrier.wait().unwrap();
        counts.fetch_add(1, 1).unwrap();
        assert_eq!(counts.get(0).unwrap(), (round + 1) * N);
        barrier.wait().unwrap();
    }
    assert_eq!((barrier.n_waiting(), barrier.broken()), (0, None));
}

fn pass_in_step(ground: &Ground, rounds: u32) {
    let (barrier, counts) = (ground.make(five()), ground.make(Array::<u32>::options().len(2)));
    all!(in_step, (barrier.send(), counts.send(), rounds));
    assert_eq!(counts.read(0..2).unwrap(), [rounds * N; 2]);
}

// test_barrier
fn all_pass_in_step(ground: &Ground) {
    pass_in_step(ground, 1);
}

// test_barrier_10
fn all_pass_in_step_ten_times(ground: &Ground) {
    pass_in_step(ground, 10);
}

// test_wait_return
fn wait_answers_the_order_of_arrival(ground: &Ground) {
    let barrier = ground.make(five());
    let indices = all!(|barrier: Sent<Barrier>| barrier.wait().unwrap(), barrier.send());
    assert_eq!(indices, [0, 1, 2, 3, 4]);
    assert_eq!(barrier.n_waiting(), 0);
}

type Counted = (Sent<Barrier>, Sent<Value<u32>>);

// test_action
fn the_action_is_done_once_before_anybody_goes_on(ground: &Ground) {
    let (barrier, count) = (ground.make(five()), ground.make(Value::<u32>::options()));
    let wait = |(barrier, count): Counted| {
        let acted = count.clone();
        let action = move || acted.fetch_add(1).map(drop).map_err(Into::into);
        (*barrier).clone().with_action(action).wait().unwrap();
        count.get().unwrap()
    };
    assert_eq!(all!(wait, (barrier.send(), count.send())), [1; 5]);
    assert_eq!((barrier.n_waiting(), barrier.broken()), (0, None));
}

// None, of processes; `_barrier` of threading says the same
fn an_action_that_fails_breaks_it(ground: &Ground) {
    let barrier = ground.make(five());
    let wait = |barrier: Sent<Barrier>| match (*barrier).clone().with_action(|| Err("no".into())).wait() {
        Err(BarrierError::Action { source, .. }) if source.to_string() == "no" => Itself,
        waited => Outcome::of(waited, BreakCause::ActionFailed),
    };
    assert_eq!(all!(wait, barrier.send()), [Broken, Broken, Broken, Broken, Itself]);
    assert_eq!(barrier.broken(), Some(BreakCause::ActionFailed));
}

fn abort_as_third(barrier: &Barrier) -> Outcome {
    // Those who have not come back from the first wait when it is aborted may be told then.
    match barrier.wait() {
        Ok(index) if index == N / 2 => {
            barrier.abort();
            Itself
        }
        Ok(_) => Outcome::of(barrier.wait(), BreakCause::Aborted),
        broken => Outcome::of(broken, BreakCause::Aborted),
    }
}

// test_abort
fn abort_breaks_it_for_everybody(ground: &Ground) {
    let barrier = ground.make(five());
    let outcomes = all!(|barrier: Sent<Barrier>| abort_as_third(&barrier), barrier.send());
    assert_eq!(outcomes, [Broken, Broken, Broken, Broken, Itself]);
    assert_eq!((barrier.broken(), barrier.n_waiting()), (Some(BreakCause::Aborted), 0));
    // It stays broken, for those who come later, too.
    let wait = |barrier: Sent<Barrier>| Outcome::of(barrier.wait(), BreakCause::Aborted);
    assert_eq!(elsewhere(wait, barrier.send()), Broken);
}

// test_reset
fn reset_breaks_it_for_those_who_wait_and_mends_it(ground: &Ground) {
    let barrier = ground.make(five());
    let wait = |barrier: Sent<Barrier>| {
        let outcome = if barrier.wait().unwrap() == N / 2 {
            until("the others wait", || barrier.n_waiting() == (N - 1) as usize);
            barrier.reset().unwrap();
            Itself
        } else {
            Outcome::of(barrier.wait(), BreakCause::Reset)
        };
        barrier.wait().unwrap();
        outcome
    };
    assert_eq!(all!(wait, barrier.send()), [Broken, Broken, Broken, Broken, Itself]);
    assert_eq!((barrier.broken(), barrier.n_waiting()), (None, 0));
}

// test_abort_and_reset
fn after_abort_and_reset_all_pass(ground: &Ground) {
    let (barrier, between) = (ground.make(five()), ground.make(five()));
    let wait = |(barrier, between): (Sent<Barrier>, Sent<Barrier>)| {
        let outcome = abort_as_third(&barrier);
        // Reset it when everybody has left it, and let nobody enter before.
        if between.wait().unwrap() == N / 2 {
            barrier.reset().unwrap();
        }
        between.wait().unwrap();
        barrier.wait().unwrap();
        outcome
    };
    let outcomes = all!(wait, (barrier.send(), between.send()));
    assert_eq!(outcomes, [Broken, Broken, Broken, Broken, Itself]);
    assert_eq!(barrier.broken(), None);
}

/// Four wait for a moment, and the fifth comes when that is over.
fn come_late(barrier: &Barrier, late: bool, wait: impl Fn(&Barrier) -> Result<u32, BarrierError>) -> Outcome {
    if late {
        until("it is broken", || barrier.broken().is_some());
    }
    Outcome::of(wait(barrier), BreakCause::TimedOut)
}

fn one_is_late(outcomes: &[Outcome], barrier: &Barrier) {
    // Whose time is over first breaks it; whose time is over at the same moment may be told either.
    assert_eq!(outcomes.len(), N as usize);
    assert!(outcomes.contains(&TimedOut) && !outcomes.contains(&Passed), "{outcomes:?}");
    assert_eq!(barrier.broken(), Some(BreakCause::TimedOut));
    assert!(matches!(barrier.wait(), Err(BarrierError::Broken { cause: BreakCause::TimedOut, .. })));
}

// test_timeout
fn a_timeout_of_one_breaks_it_for_all(ground: &Ground) {
    let barrier = ground.make(five());
    let wait = |barrier: Sent<Barrier>| {
        let late = barrier.wait().unwrap() == N / 2;
        come_late(&barrier, late, |barrier| barrier.wait_timeout(SHORT))
    };
    one_is_late(&all!(wait, barrier.send()), &barrier);
}

// test_default_timeout
fn the_default_timeout_does_too(ground: &Ground) {
    let (barrier, here) =
        (ground.make(five().timeout(SHORT)), ground.make(Latch::options().count(N as usize)));
    let wait = |(barrier, here): (Sent<Barrier>, Sent<Latch>)| {
        let late = here.arrive() == u64::from(N) / 2;
        here.wait().unwrap();
        come_late(&barrier, late, Barrier::wait)
    };
    one_is_late(&all!(wait, (barrier.send(), here.send())), &barrier);
}

// test_single_thread
fn one_party_never_waits(ground: &Ground) {
    let barrier = ground.make(Barrier::options().parties(1));
    let pass = |barrier: Sent<Barrier>| [barrier.wait().unwrap(), barrier.wait().unwrap()];
    assert_eq!((pass(barrier.send()), elsewhere(pass, barrier.send())), ([0; 2], [0; 2]));
}

// test_thousand
fn a_thousand_rounds_stay_in_step_with_messages(ground: &Ground) {
    const ROUNDS: u32 = 1000;
    let barrier = ground.make(five());
    let said: Queue<u32> = Queue::options().namespace(ground.namespace()).anonymous().unwrap();
    let say = |(barrier, said): (Sent<Barrier>, Queue<u32>)| {
        for round in 0..ROUNDS {
            barrier.wait().unwrap();
            said.put(&round).unwrap();
        }
    };
    let children: Vec<_> = (0..N).map(|_| child(say, (barrier.send(), said.clone()))).collect();
    for round in 0..ROUNDS {
        for _ in 0..N {
            assert_eq!(said.get().unwrap(), round);
        }
    }
    children.into_iter().for_each(|child| child.join().unwrap());
}

// None: in Python the others wait for ever.
fn a_member_that_is_killed_breaks_it_for_the_others(ground: &Ground) {
    let (barrier, here) = (ground.make(Barrier::options().parties(2)), ground.make(Event::options()));
    let idle = |(_place, here): (Member, Sent<Event>)| {
        here.set();
        for_ever();
    };
    let member: procession::Process<()> = child(idle, (barrier.join().unwrap(), here.send()));
    here.wait().unwrap();
    kill(&member);
    let pid = member.pid();
    let waited = barrier.wait_timeout(Duration::MAX);
    assert!(
        matches!(waited, Err(BarrierError::Broken { cause: BreakCause::PeerDied { pid: died }, .. }) if died == pid)
    );
}
