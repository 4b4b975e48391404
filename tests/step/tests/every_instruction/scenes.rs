//! What is played: for each object its operations, alone and with another process asleep on it.

mod barriers;
mod collections;
mod conditions;
mod gates;
mod joinables;
mod locks;
mod permits;
mod pipes;
mod queues;
mod values;

use crate::run::Scene;

/// All scenes.
pub(crate) fn all() -> impl Iterator<Item = Scene> {
    let objects = [
        locks::SCENES,
        permits::SCENES,
        gates::SCENES,
        barriers::SCENES,
        conditions::SCENES,
        values::SCENES,
        collections::SCENES,
        queues::SCENES,
        joinables::SCENES,
        pipes::SCENES,
    ];
    objects.into_iter().flatten().copied()
}
