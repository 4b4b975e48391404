//! What becomes of a lock whose holder dies: as people choose it, as the header says it, and as a claim.

use crate::lock_word::Claim;
use procession_shm::{Parameter, Segment};

/// What becomes of a lock whose holder is killed, or drops its guard in a panic that began under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnOwnerDeath {
    /// `acquire` answers [`LockError::OwnerDied`](crate::LockError::OwnerDied) until somebody recovers the
    /// lock.
    #[default]
    Report,
    /// The lock is free again, for what can never be half-changed.
    Ignore,
}

/// The header's parameter for an object that may ignore the deaths of its holders.
pub(crate) fn parameter(policy: Option<OnOwnerDeath>) -> Parameter {
    Parameter::said("on_owner_death", policy.map(|policy| u64::from(policy == OnOwnerDeath::Ignore)), 0)
}

/// What the header says about holders that die.
pub(crate) fn claim_of(segment: &Segment) -> Claim {
    if segment.header().parameters[0] == 0 { Claim::Report } else { Claim::Ignore }
}

/// The claim of those who would put things right.
pub(crate) fn recovering(claim: Claim) -> Claim {
    if claim == Claim::Ignore { Claim::Ignore } else { Claim::Recover }
}
