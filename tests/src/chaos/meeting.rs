//! Generations of a barrier: members come, go and die, and no generation ends without one who is a member and
//! lives; the action, which counts generations, runs once for each.
//!
//! Nobody has a deadline there: one that passes while the action runs breaks the barrier, and the action,
//! which goes on, counts what is no generation. Deadlines are for a second barrier, where the law is only
//! that everybody goes on.

use super::{End, LIMIT, Law, Participant, Place, Table};
use procession::{Barrier, BarrierError, Lock, Member, MemberDeath};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

/// Many more than ever live at once, the threads of crowds included.
const MOST: u32 = 1024;

pub(super) struct Meeting {
    barrier: Barrier,
    hasty: Barrier,
    /// Its holder resets the barrier: a reset that comes late would break what another has made whole.
    resetting: Lock,
    /// How many generations the action has seen to their end.
    ended: Arc<Table<AtomicU64>>,
}

impl Meeting {
    pub(super) fn new(place: &Place) -> Self {
        let at = &place.namespace;
        let options = Barrier::options().namespace(at).elastic().parties(MOST as usize);
        let options = options.on_member_death(MemberDeath::Remove);
        Self {
            barrier: options.open_or_create("meeting").unwrap(),
            hasty: options.open_or_create("hasty-meeting").unwrap(),
            resetting: Lock::options().namespace(at).open_or_create("resetting").unwrap(),
            ended: Arc::new(place.table("meeting", 1)),
        }
    }

    fn ended(&self) -> u64 {
        self.ended[0].load(SeqCst)
    }

    fn join(&self, who: &Participant<'_>) -> Option<Member> {
        who.does("joining a barrier");
        let ended = Arc::clone(&self.ended);
        let member = who.must(self.barrier.join(), "joining")?;
        Some(member.with_action(move || {
            ended[0].fetch_add(1, SeqCst);
            Ok(())
        }))
    }

    /// Waits once; how many generations had ended before, and have now.
    fn meet(&self, who: &mut Participant<'_>, member: &mut Member, before: u64) -> Option<u64> {
        who.does("a member of a barrier");
        who.dawdle();
        let found = self.ended();
        who.expects(found == before, || format!("generation {found} ended without a member of {before}"));
        who.does("waiting at a barrier");
        let outcome = member.wait();
        let now = self.ended();
        match outcome {
            Ok(_) => {
                who.expects(now == before + 1, || format!("passed generation {before}, and {now} is over"));
            }
            Err(BarrierError::Broken { .. }) => {
                // The one that ran the action died, perhaps after it had counted.
                who.expects(now == before || now == before + 1, || {
                    format!("generation {before} was broken, and {now} is over")
                });
                let _guard = who.settle(self.resetting.acquire(), || self.resetting.recover())?;
                if self.barrier.broken().is_some() {
                    who.must(self.barrier.reset(), "resetting");
                }
                // Before this member has arrived again, no other ends.
                return Some(self.ended());
            }
            Err(error) => {
                who.breaks(&format!("at the barrier: {error}"));
                return None;
            }
        }
        Some(now)
    }
}

impl Meeting {
    fn meet_hastily(&self, who: &mut Participant<'_>) {
        who.does("joining a barrier");
        let Some(mut member) = who.must(self.hasty.join(), "joining") else { return };
        for _ in 0..1 + who.dice.below(4) {
            who.does("waiting at a barrier");
            match member.wait_timeout(LIMIT) {
                Ok(_) => {}
                Err(BarrierError::Broken { .. } | BarrierError::TimedOut { .. }) => {
                    who.must(self.hasty.reset(), "resetting");
                }
                Err(error) => who.breaks(&format!("at the barrier in haste: {error}")),
            }
        }
    }
}

impl Law for Meeting {
    fn step(&self, who: &mut Participant<'_>) {
        if who.dice.below(4) == 0 {
            return self.meet_hastily(who);
        }
        let Some(mut member) = self.join(who) else { return };
        // Since it is a member none has ended without it.
        let mut ended = self.ended();
        for _ in 0..1 + who.dice.below(4) {
            match self.meet(who, &mut member, ended) {
                Some(now) => ended = now,
                None => break,
            }
        }
    }

    fn check(&self, _: &End<'_>) {
        for barrier in [&self.barrier, &self.hasty] {
            barrier.reset().unwrap();
            assert_eq!(barrier.parties(), 0, "{barrier:?}");
            barrier.join().unwrap().wait().unwrap();
        }
        crate::note(&format!("chaos: {} generations of the barrier", self.ended()));
    }

    fn unlink(&self) {
        self.barrier.unlink().unwrap();
        self.hasty.unlink().unwrap();
        self.resetting.unlink().unwrap();
    }
}
