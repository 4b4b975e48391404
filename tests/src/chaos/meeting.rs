//! Generations of a barrier: members come, go and die, and no generation ends without one who is a member and lives; the
//! action, which counts generations, runs once for each.

use super::{End, LIMIT, Law, Participant, Place, Table};
use procession::{Barrier, BarrierError, Member, MemberDeath};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

/// Many more than ever live at once, the threads of crowds included.
const MOST: u32 = 1024;

pub(super) struct Meeting {
    barrier: Barrier,
    /// How many generations the action has seen to their end.
    ended: Arc<Table<AtomicU64>>,
}

impl Meeting {
    pub(super) fn new(place: &Place) -> Self {
        let options = Barrier::options().namespace(&place.namespace).elastic();
        let options = options.parties(MOST).on_member_death(MemberDeath::Remove);
        Self {
            barrier: options.open_or_create("meeting").unwrap(),
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
        let outcome = if who.dice.below(8) == 0 { member.wait_timeout(LIMIT) } else { member.wait() };
        let now = self.ended();
        match outcome {
            Ok(_) => {
                who.expects(now == before + 1, || format!("passed generation {before}, and {now} is over"));
            }
            Err(BarrierError::Broken { .. } | BarrierError::TimedOut) => {
                // The one that ran the action died, perhaps after it had counted; or there was no time.
                who.expects(now == before || now == before + 1, || {
                    format!("generation {before} was broken, and {now} is over")
                });
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

impl Law for Meeting {
    fn step(&self, who: &mut Participant<'_>) {
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
        self.barrier.reset().unwrap();
        assert_eq!(self.barrier.parties(), 0, "{:?}", self.barrier);
        let ended = self.ended();
        crate::note(&format!("chaos: {ended} generations of the barrier"));
        let mut member = self.barrier.join().unwrap();
        member.wait().unwrap();
    }

    fn unlink(&self) {
        self.barrier.unlink().unwrap();
    }
}
