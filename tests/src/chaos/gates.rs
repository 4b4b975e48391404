//! Gates: nobody passes a latch before enough have arrived, a once before it was initialised to the end, and
//! then no initialiser begins any more; who waits for pulses of an event passes by a pulse that came after it
//! began to wait.

use super::{End, LIMIT, Law, Participant, Place, Table};
use procession::{
    Event, EventError, Fault, Latch, LatchError, Lock, LockGuard, Namespace, Once, OnceError, OpenError,
};
use procession_sys::shm_struct;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

const ARRIVALS: u64 = 5;
/// A latch and a once are used once, so there are new ones again and again.
const ROUNDS: usize = 1 << 16;
/// How often the test is asked to tend them before there is a new round.
const ROUND: u64 = 3;

shm_struct! {
    struct Round {
        /// Before an arrival, and after it.
        arriving: AtomicU64,
        arrived: AtomicU64,
        /// Initialisers that began; what one writes first and last.
        begun: AtomicU64,
        first: AtomicU64,
        second: AtomicU64,
        /// How many were told that they did it.
        done: AtomicU64,
        /// How many had begun when the first passed.
        begun_at_pass: AtomicU64,
        /// 1 once its objects are being removed.
        is_over: AtomicU64,
    }
}

shm_struct! {
    struct Words {
        round: AtomicU64,
        /// Pulses that began, and those that ended.
        began: AtomicU64,
        ended: AtomicU64,
    }
}

/// The objects of a round, and which it is.
type Objects = (usize, Latch, Once);

pub(super) struct Gates {
    namespace: Namespace,
    event: Event,
    /// Its holder pulses.
    pulser: Lock,
    words: Table<Words>,
    rounds: Table<Round>,
    /// The test's: how often it was asked, and the objects of the rounds that are not over.
    tended: Mutex<(u64, Vec<Objects>)>,
}

impl Gates {
    pub(super) fn new(place: &Place) -> Self {
        let at = &place.namespace;
        Self {
            namespace: at.clone(),
            event: Event::options().namespace(at).open_or_create("pulses").unwrap(),
            pulser: Lock::options().namespace(at).open_or_create("pulser").unwrap(),
            words: place.table("gates", 1),
            rounds: place.table("rounds", ROUNDS),
            tended: Mutex::default(),
        }
    }

    fn pulse(&self, who: &mut Participant<'_>) {
        who.does("pulsing an event");
        let Some(guard) = who.settle(self.pulser.acquire(), || self.pulser.recover()) else { return };
        self.settle(&guard);
        who.does("pulsing an event");
        who.expects(!self.event.is_set(), || "the event is set, and nobody has set it".to_owned());
        let words = &self.words[0];
        let number = words.began.fetch_add(1, SeqCst) + 1;
        if who.dice.below(2) == 0 {
            self.event.pulse();
        } else {
            self.event.set();
            who.expects(self.event.is_set(), || "the event was set, and is not".to_owned());
            self.event.clear();
        }
        words.ended.store(number, SeqCst);
    }

    /// The pulser may have died having set the event.
    fn settle(&self, guard: &LockGuard<'_>) {
        if guard.recovers() {
            let words = &self.words[0];
            self.event.clear();
            words.ended.store(words.began.load(SeqCst), SeqCst);
        }
    }

    fn wait_for_pulse(&self, who: &mut Participant<'_>) {
        who.does("waiting for an event");
        let before = self.words[0].ended.load(SeqCst);
        let outcome = if who.dice.below(4) == 0 { self.event.wait() } else { self.event.wait_timeout(LIMIT) };
        match outcome {
            Ok(()) => {
                let began = self.words[0].began.load(SeqCst);
                who.expects(began > before, || format!("woke without a pulse after {before}"));
            }
            Err(EventError::TimedOut { .. }) => {}
            Err(error) => who.breaks(&format!("the event: {error}")),
        }
    }

    /// Opens an object of the current round; `None` if the round is over.
    fn open<T>(
        &self,
        who: &Participant<'_>,
        open: impl FnOnce(usize) -> Result<T, OpenError>,
    ) -> Option<(T, &Round)> {
        let number = self.words[0].round.load(SeqCst) as usize;
        let round = &self.rounds[number];
        match open(number) {
            Err(_) if round.is_over.load(SeqCst) != 0 => None,
            other => Some((who.must(other, "opening")?, round)),
        }
    }

    fn use_latch(&self, who: &mut Participant<'_>) {
        who.does("arriving at a latch");
        let options = Latch::options().namespace(&self.namespace).count(ARRIVALS as usize);
        let Some((latch, round)) = self.open(who, |number| options.open(&latch_name(number))) else { return };
        if who.dice.below(2) == 0 {
            round.arriving.fetch_add(1, SeqCst);
            latch.arrive();
            round.arrived.fetch_add(1, SeqCst);
        }
        let is_open = latch.is_open();
        let arrived = round.arriving.load(SeqCst);
        who.expects(!is_open || arrived >= ARRIVALS, || format!("open after {arrived}"));
        who.does("waiting for a latch");
        match latch.wait_timeout(LIMIT) {
            Ok(()) => {
                let arrived = round.arriving.load(SeqCst);
                who.expects(arrived >= ARRIVALS, || format!("passed a latch after {arrived}"));
            }
            Err(LatchError::TimedOut { .. }) => {}
            Err(LatchError::Fault(Fault::Orphaned { .. })) if round.is_over.load(SeqCst) != 0 => {}
            Err(error) => who.breaks(&format!("the latch: {error}")),
        }
    }

    fn use_once(&self, who: &mut Participant<'_>) {
        who.does("passing a once");
        let options = Once::options().namespace(&self.namespace);
        let Some((once, round)) = self.open(who, |number| options.open(&once_name(number))) else { return };
        let fails = who.dice.below(4) == 0;
        let outcome = once.run_fallible(|run| {
            who.does("initialising in a once");
            let before = round.begun.fetch_add(1, SeqCst);
            who.expects(before == 0 || run.is_again, || format!("{before} began before, and nobody said so"));
            round.first.store(who.mark(), SeqCst);
            who.dawdle();
            who.linger(2);
            let others = round.first.load(SeqCst);
            who.expects(others == who.mark(), || format!("{others} initialises as well"));
            if fails {
                return Err(());
            }
            round.second.store(who.mark(), SeqCst);
            Ok(())
        });
        match outcome {
            Ok(Ok(mine)) => {
                let (first, second) = (round.first.load(SeqCst), round.second.load(SeqCst));
                who.expects(first == second && first != 0, || format!("initialised by {first} and {second}"));
                if mine {
                    let done = round.done.fetch_add(1, SeqCst);
                    who.expects(done == 0, || "done twice".to_owned());
                }
                let begun = round.begun.load(SeqCst);
                let seen = round.begun_at_pass.compare_exchange(0, begun, SeqCst, SeqCst);
                let seen = seen.map_or_else(|seen| seen, |_| begun);
                who.expects(seen == begun, || format!("{seen} began before somebody passed, {begun} now"));
            }
            Ok(Err(())) => {}
            Err(OnceError::Fault(Fault::Orphaned { .. })) if round.is_over.load(SeqCst) != 0 => {}
            Err(error) => who.breaks(&format!("the once: {error}")),
        }
    }

    /// Removes the objects of a round.
    fn end_round(&self, (number, latch, once): &Objects) {
        let round = &self.rounds[*number];
        round.is_over.store(1, SeqCst);
        let least = round.arrived.load(SeqCst);
        let found = latch.arrived();
        let most = round.arriving.load(SeqCst);
        assert!((least..=most).contains(&found), "{found} arrived, of {least} to {most}");
        assert!(round.done.load(SeqCst) == 0 || once.is_done(), "done, and not done");
        latch.unlink().unwrap();
        once.unlink().unwrap();
    }
}

fn latch_name(round: usize) -> String {
    format!("latch-{round}")
}

fn once_name(round: usize) -> String {
    format!("once-{round}")
}

impl Law for Gates {
    fn step(&self, who: &mut Participant<'_>) {
        match who.dice.below(4) {
            0 => self.pulse(who),
            1 => self.wait_for_pulse(who),
            2 => self.use_latch(who),
            _ => self.use_once(who),
        }
    }

    fn tend(&self) {
        let mut tended = self.tended.lock().unwrap();
        let number = (tended.0 / ROUND) as usize;
        if tended.0.is_multiple_of(ROUND) && number < ROUNDS {
            let latch = Latch::options().namespace(&self.namespace).count(ARRIVALS as usize);
            let once = Once::options().namespace(&self.namespace);
            let made = (
                number,
                latch.create(&latch_name(number)).unwrap(),
                once.create(&once_name(number)).unwrap(),
            );
            tended.1.push(made);
            self.words[0].round.store(number as u64, SeqCst);
            if tended.1.len() > 2 {
                self.end_round(&tended.1.remove(0));
            }
        }
        tended.0 += 1;
    }

    fn release(&self) {
        let guard = self.pulser.acquire().or_else(|_| self.pulser.recover()).unwrap();
        self.settle(&guard);
        let number = self.words[0].began.fetch_add(1, SeqCst) + 1;
        self.event.pulse();
        self.words[0].ended.store(number, SeqCst);
    }

    fn check(&self, _: &End<'_>) {
        let rounds = self.words[0].round.load(SeqCst) as usize + 1;
        let all = || (0..rounds).map(|number| &self.rounds[number]);
        let passed = all().filter(|round| round.begun_at_pass.load(SeqCst) != 0).count();
        let again = all().filter(|round| round.begun.load(SeqCst) > 1).count();
        let open = all().filter(|round| round.arrived.load(SeqCst) >= ARRIVALS).count();
        for round in all() {
            let (begun, seen) = (round.begun.load(SeqCst), round.begun_at_pass.load(SeqCst));
            assert!(seen == 0 || seen == begun, "{seen} began before somebody passed, {begun} in all");
        }
        let pulses = self.words[0].began.load(SeqCst);
        crate::note(&format!(
            "chaos: {rounds} rounds, {open} latches opened, {passed} onces passed, {again} begun again; {pulses} pulses"
        ));
    }

    fn unlink(&self) {
        let left = std::mem::take(&mut self.tended.lock().unwrap().1);
        left.iter().for_each(|round| self.end_round(round));
        self.event.unlink().unwrap();
        self.pulser.unlink().unwrap();
    }
}
