//! Who holds something, for people; and what is done about holders that die.

use crate::lock_word::{Claim, LockWord};
use crate::{Holder, OnOwnerDeath};
use procession_shm::{OwnerId, Parameter, Segment};

/// Who holds a lock word now.
pub(crate) fn of_word(word: &LockWord, segment: &Segment) -> Option<Holder> {
    word.held_as().map(|held| {
        let is_dead = segment.registration().is_gone(held) == Ok(true);
        Holder { is_dead, ..Holder::of(segment, OwnerId::from_bits(held)) }
    })
}

/// The header's parameter for an object that may ignore the deaths of its holders.
pub(crate) fn policy_parameter(policy: Option<OnOwnerDeath>) -> Parameter {
    let ignores = policy == Some(OnOwnerDeath::Ignore);
    Parameter { name: "on_owner_death", value: u64::from(ignores), asked: policy.is_some() }
}

/// What the header says about holders that die.
pub(crate) fn claim_of(segment: &Segment) -> Claim {
    if segment.header().parameters[0] == 0 { Claim::Report } else { Claim::Ignore }
}

/// The claim of those who would put things right.
pub(crate) fn recovering(claim: Claim) -> Claim {
    if claim == Claim::Ignore { Claim::Ignore } else { Claim::Recover }
}
