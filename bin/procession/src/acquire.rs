//! Acquiring one thing or several, all or none, before a command runs under them.
//!
//! Nobody waits while it holds something: who finds one of several things busy lets go of the others, waits for that
//! one alone, and tries the others again when it has it. So there is no circle of those who wait, whatever order the
//! others have. The things are first tried in one order, so that two who want the same do not meet in the middle.
//!
//! Signals are blocked while something is held: one that would end this process between acquiring and the start of the
//! command would leave a dead holder, although nothing was changed. While it waits, a signal ends the wait.

use crate::holding::{Guard, Missed, Quoted, Target, Thing, Wait, refusal};
use crate::in_the_way::InTheWay;
use crate::passed_on::{die_of, interruptibly};
use crate::people;
use crate::program::check;
use procession::Namespace;
use procession_sys::signals::Inbox;
use procession_sys::{Deadline, clock, random};
use procession_terminal::exit::{DISAGREE, Failure, Refusal};
use procession_terminal::output;
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

/// What is held by those that started this process, as a list of targets.
pub(crate) const HELD: &str = "PROCESSION_HELD";
/// A number higher than that of every holder before.
pub(crate) const TOKEN: &str = "PROCESSION_TOKEN";
/// Set if the last holder died.
pub(crate) const OWNER_DIED: &str = "PROCESSION_OWNER_DIED";
/// So many vain attempts to get several things follow one another at once.
const ATTEMPTS: u32 = 3;

/// On which terms something is acquired.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    pub(crate) wait: Wait,
    /// The exit code when it is not acquired.
    pub(crate) code: Option<u8>,
    /// Whether to say who is in the way before waiting.
    pub(crate) explain: bool,
    /// Whether what a dead holder has left is taken.
    pub(crate) takes_from_dead: bool,
    /// The command for which it is acquired.
    pub(crate) command: &'a [OsString],
}

/// Something that is held.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) guard: Guard,
    pub(crate) target: Target,
    /// The pid of the holder that died, if it was not released.
    pub(crate) died: Option<u32>,
}

/// Acquires all of the things.
///
/// # Errors
/// [`Failure::Refused`] when one of them is busy, or its holder died, or an ancestor of this process holds it.
pub(crate) fn acquire(things: &mut [Thing], terms: Terms<'_>, inbox: &Inbox) -> Result<Vec<Held>, Failure> {
    let claims = |thing: &mut Thing| Ok(claim(thing, Deadline::PASSED, terms)?.ok_or(()));
    let mut busy = match try_all(things, None, claims)? {
        Ok(held) => return Ok(held),
        Err((busy, ())) => busy,
    };
    must_not_be_an_ancestors(&things[busy])?;
    if matches!(terms.wait, Wait::Not) {
        return Err(InTheWay::of(&things[busy]).not_acquired(terms.code));
    }
    // Nobody waits for an hour to learn that the command was mistyped.
    if !terms.command.is_empty() {
        check(terms.command)?;
    }
    if terms.explain {
        output::warn(&InTheWay::of(&things[busy]).line("this is"));
    }
    let deadline = terms.wait.deadline();
    for attempt in 0.. {
        let held = wait_for(&mut things[busy], deadline, terms, inbox)?;
        match try_all(things, Some((busy, held)), claims)? {
            Ok(held) => return Ok(held),
            Err((other, ())) => {
                if terms.explain && other != busy {
                    output::warn(&InTheWay::of(&things[other]).line("this is"));
                }
                busy = other;
            }
        }
        must_not_be_an_ancestors(&things[busy])?;
        make_way(attempt);
    }
    Ok(Vec::new())
}

/// After some vain attempts to get several things, a moment passes before the next.
pub(crate) fn make_way(attempt: u32) {
    if attempt > ATTEMPTS {
        clock::nap(Duration::from_micros(100 + random::nonzero_u64() % 1000));
    }
}

/// Claims all of them in their order, but for one that is held already; the index of the first that is busy, and what is
/// known of that.
pub(crate) fn try_all<T, H, B>(
    things: &mut [T],
    mut first: Option<(usize, H)>,
    claim: impl Fn(&mut T) -> Result<Result<H, B>, Failure>,
) -> Result<Result<Vec<H>, (usize, B)>, Failure> {
    let mut all = Vec::with_capacity(things.len());
    for (index, thing) in things.iter_mut().enumerate() {
        if let Some((_, held)) = first.take_if(|(first, _)| *first == index) {
            all.push(held);
            continue;
        }
        match claim(thing)? {
            Ok(held) => all.push(held),
            Err(busy) => return Ok(Err((index, busy))),
        }
    }
    Ok(Ok(all))
}

/// Claims one thing until the deadline; `None` if it is busy, or a signal has come.
fn claim(thing: &mut Thing, deadline: Deadline, terms: Terms<'_>) -> Result<Option<Held>, Failure> {
    let mut died = None;
    loop {
        let wait = Wait::until(deadline);
        let claimed = if died.is_some() { thing.recover(wait) } else { thing.claim(wait) };
        match claimed {
            Ok(guard) => return Ok(Some(Held { guard, target: thing.target.clone(), died })),
            Err(Missed::Busy | Missed::Interrupted) => return Ok(None),
            Err(Missed::OwnerDied(pid)) if terms.takes_from_dead => died = Some(pid),
            Err(Missed::OwnerDied(pid)) => return Err(owner_died(&thing.target, pid)),
            Err(Missed::Removed) => thing.reopen()?,
            Err(Missed::Failed(failure)) => return Err(failure),
        }
    }
}

fn owner_died(target: &Target, pid: u32) -> Failure {
    let message = format!(
        "the last holder of {} (pid {pid}) died, or its command was killed: put right what the lock guards, then use \
         --on-owner-died ignore once",
        Quoted(target)
    );
    let details = [("pid".to_owned(), pid.into()), ("name".to_owned(), target.name().into())];
    let details = details.into_iter().collect();
    Failure::Refused(Box::new(Refusal { code: DISAGREE, reason: "owner_died", message, details }))
}

/// Waits for one thing; a signal that ends this process by default does so now.
fn wait_for(thing: &mut Thing, deadline: Deadline, terms: Terms<'_>, inbox: &Inbox) -> Result<Held, Failure> {
    let (claimed, signal) = interruptibly(inbox, || claim(thing, deadline, terms));
    if let Some(signal) = signal {
        drop(claimed);
        return Err(die_of(signal));
    }
    claimed?.ok_or_else(|| InTheWay::of(thing).not_acquired(terms.code))
}

/// Makes sure that the wait for a busy thing is not one for this process's own end: nobody may wait for what it, or who
/// waits for it, holds.
fn must_not_be_an_ancestors(thing: &Thing) -> Result<(), Failure> {
    let holders = InTheWay::of(thing).holders;
    let is_said = is_in(&std::env::var(HELD).unwrap_or_default(), &thing.target);
    let ancestors = people::ancestors();
    // What is kept for an ancestor is not in the environment.
    let theirs = holders.iter().filter(|holder| match holder.kept_for {
        Some(owner) => ancestors.contains(&owner),
        None => is_said && ancestors.contains(&holder.pid),
    });
    let held: usize = theirs.filter_map(|holder| holder.permits).sum();
    if thing.leaves_room_beside(held) {
        return Ok(());
    }
    Err(held_by_ancestor(&Quoted(&thing.target)))
}

/// That what is held cannot be waited for.
pub(crate) fn held_by_ancestor(what: &dyn fmt::Display) -> Failure {
    let message = format!(
        "{what} is already held by a process that started this one and may wait for it: waiting would never end"
    );
    refusal("held_by_ancestor", DISAGREE, message)
}

/// The entry for a target in the list of what is held, with its namespace if that is not the usual one.
fn entry(target: &Target) -> String {
    match Namespace::current() {
        Ok(namespace) if namespace.name() != "default" => format!("{target}@{}", namespace.name()),
        _ => target.to_string(),
    }
}

/// Whether the list has an entry for the target's object.
fn is_in(list: &str, target: &Target) -> bool {
    let own = entry(target);
    let namespace = own.split_once('@').map(|(_, namespace)| namespace);
    list.split(',').any(|entry| {
        let (text, of) = entry.split_once('@').map_or((entry, None), |(text, of)| (text, Some(of)));
        of == namespace && text.parse::<Target>().is_ok_and(|other| other.is_of_same_object(target))
    })
}

/// The next fencing token of the lock, if it is one; of several it would not be said whose it is.
pub(crate) fn fencing_token(held: &[Held]) -> Option<u64> {
    match held {
        [one] => one.guard.fencing_token(),
        _ => None,
    }
}

/// What the command finds in its environment, and what it does not.
pub(crate) fn environment(held: &[Held], token: Option<u64>) -> Vec<(&'static str, Option<String>)> {
    let before = std::env::var(HELD).ok().filter(|list| !list.is_empty());
    let entries = before.into_iter().chain(held.iter().map(|held| entry(&held.target)));
    let died = held.iter().any(|held| held.died.is_some());
    vec![
        (TOKEN, token.map(|token| token.to_string())),
        // This one's own, which a command within would write over.
        ("PROCESSION_REPORT", None),
        (HELD, Some(entries.collect::<Vec<_>>().join(","))),
        (OWNER_DIED, died.then(|| "1".to_owned())),
    ]
}
