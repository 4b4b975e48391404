//! What people choose when they create a barrier, how its header says that, and how much room it takes.

use super::place::{Place, SPARE};
use super::word::{ended, is_whole};
use super::{Barrier, BarrierBody};
use crate::keeper::Keeper;
use procession_shm::{HEADER_LEN, Kind, Object, OpenError, Parameter, Placement, Shape, Shared};
use procession_sys::Mapping;
use procession_sys::atomic::Ordering;
use std::time::Duration;

/// The most parties a barrier can have.
const MOST: u32 = 1 << 15;
/// How many members an elastic barrier can have unless said.
const ELASTIC: u32 = 256;

/// Where the places begin in the file.
pub(super) const PLACES_OFFSET: usize = HEADER_LEN + size_of::<BarrierBody>();

/// The policy of a barrier for the death of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MemberDeath {
    /// The barrier is broken for everybody, with [`BreakCause::PeerDied`](crate::BreakCause::PeerDied), whether the member had arrived or
    /// not.
    #[default]
    Break,
    /// The member is removed, as if it had left: the others wait only for each other. Elastic barriers only.
    Remove,
}

/// The parameters that a barrier was created with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// How many parties; how many members at most if it is elastic.
    pub(super) parties: u32,
    /// How long a plain `wait` waits; `None`: for ever.
    pub(super) timeout: Option<Duration>,
    /// Whether there are as many parties as members.
    pub(super) elastic: bool,
    /// Whether dead members are removed.
    pub(super) removes: bool,
}

impl Rules {
    /// How many places there are. At an elastic barrier nobody waits who is no member.
    pub(super) fn places(self) -> usize {
        let parties = self.parties as usize;
        if self.elastic { parties } else { parties + parties + SPARE }
    }

    fn body_len(self) -> u64 {
        (size_of::<BarrierBody>() + self.places() * size_of::<Place>()) as u64
    }
}

/// How a [`Barrier`] is created or opened.
#[derive(Clone, Debug, Default)]
pub struct BarrierOptions {
    place: Placement,
    settings: BarrierSettings,
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct BarrierSettings {
    parties: Option<usize>,
    timeout: Option<Duration>,
    elastic: bool,
    on_member_death: Option<MemberDeath>,
}

impl BarrierSettings {
    fn rules(&self) -> Rules {
        Rules {
            parties: match self.parties {
                // More than there can be is too many whatever it is.
                Some(parties) => u32::try_from(parties).unwrap_or(u32::MAX),
                None if self.elastic => ELASTIC,
                None => 1,
            },
            timeout: self.timeout,
            elastic: self.elastic,
            removes: self.on_member_death == Some(MemberDeath::Remove),
        }
    }
}

impl BarrierOptions {
    /// How many wait for each other, at most 32,768; 1 unless said. For an elastic barrier: how many members
    /// it can have, 256 unless said.
    #[must_use]
    pub fn parties(mut self, parties: usize) -> Self {
        self.settings.parties = Some(parties);
        self
    }

    /// How long a plain `wait` waits, in every process; for ever unless said.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = Some(timeout);
        self
    }

    /// Makes the barrier elastic: it has as many parties as it has members at the time; see
    /// [`Barrier::elastic`].
    #[must_use]
    pub fn elastic(mut self) -> Self {
        self.settings.elastic = true;
        self
    }

    /// Says what becomes of the barrier when a member dies; [`MemberDeath::Break`] unless said.
    #[must_use]
    pub fn on_member_death(mut self, policy: MemberDeath) -> Self {
        self.settings.on_member_death = Some(policy);
        self
    }
}

procession_shm::object_builders!([] BarrierOptions => Barrier, (parties: usize));

impl Object for Barrier {
    const KIND: Kind = Kind::BARRIER;
    type Body = BarrierBody;
    type Settings = BarrierSettings;

    fn check(settings: &BarrierSettings) -> Result<(), &'static str> {
        match settings.rules() {
            Rules { parties: 0, .. } => Err("a barrier has at least one party"),
            Rules { parties, .. } if parties > MOST => Err("a barrier has at most 32768 parties"),
            Rules { removes: true, elastic: false, .. } => {
                Err("only an elastic barrier can go on without a member that died: call .elastic(), too")
            }
            _ => Ok(()),
        }
    }

    fn shape(settings: &BarrierSettings) -> Shape {
        let rules = settings.rules();
        let ns = |timeout: Duration| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).max(1);
        let parameter = |name, value, asked| Parameter { name, value, asked };
        let parameters = [
            parameter("parties", u64::from(rules.parties), settings.parties.is_some()),
            parameter("timeout_ns", rules.timeout.map_or(0, ns), rules.timeout.is_some()),
            parameter("elastic", u64::from(rules.elastic), rules.elastic),
            parameter("on_member_death", u64::from(rules.removes), settings.on_member_death.is_some()),
        ];
        Shape { kind: Self::KIND, body_len: rules.body_len(), parameters, element: None, codec: 0 }
    }

    fn forget_owners(body: &BarrierBody) {
        body.runner.forget_owner();
        body.joining.forget_owner();
        // Nobody is attached, so nobody waits: those who had arrived are gone.
        let word = body.word.load(Ordering::Relaxed);
        if is_whole(word) {
            body.word.store(ended(word), Ordering::Relaxed);
        }
    }

    fn forget_owners_of_all(mapping: &Mapping) {
        let place = |index| mapping.at::<Place>(PLACES_OFFSET + index * size_of::<Place>());
        for place in (0..).map_while(place) {
            place.owner.store(0, Ordering::Relaxed);
        }
    }

    fn attach(body: Shared<BarrierBody>) -> Result<Self, OpenError> {
        let segment = body.segment();
        let [parties, timeout, elastic, removes] = segment.header().parameters;
        let corrupt = || segment.corrupt("it says an impossible number of parties");
        let parties = u32::try_from(parties).ok().filter(|parties| (1..=MOST).contains(parties));
        let rules = Rules {
            parties: parties.ok_or_else(corrupt)?,
            timeout: (timeout != 0).then(|| Duration::from_nanos(timeout)),
            elastic: elastic != 0,
            removes: removes != 0,
        };
        if segment.header().size != HEADER_LEN as u64 + rules.body_len() {
            return Err(corrupt());
        }
        Ok(Self { keeper: Keeper::new(segment), body, rules, action: None })
    }
}
