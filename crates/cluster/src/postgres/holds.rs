//! Locks and permits on PostgreSQL: advisory locks of sessions.

use super::failure::Failure;
use super::session::{Params, Session};
use super::{Postgres, lock};
use crate::engine::{Hold, Holds, Mode, Object, Patience};
use crate::error::{ClusterError, Subject};
use crate::token::Token;
use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long a wait lasts before it says so, in which most waits are over.
const FIRST: Duration = Duration::from_secs(1);
/// How long every further slice of a wait lasts: while it does, VACUUM removes nothing.
const SLICE: Duration = Duration::from_secs(5);

/// What a thread holds: each key with whether others share it, and the session that has it.
type HeldKeys = RefCell<Vec<(i64, bool, Weak<Session>)>>;

thread_local! {
    /// What this thread holds: nobody else can know, for its threads share a session. A guard that is kept in another list of
    /// the thread may outlive this one: then nothing is known.
    static HELD: HeldKeys = const { RefCell::new(Vec::new()) };
}

/// The keys that this thread holds in the database of a session, each with whether others share it.
fn own_keys(session: &Session) -> Vec<(i64, bool)> {
    let of = |held: &HeldKeys| {
        let is_there = |of: &Weak<Session>| {
            of.upgrade().is_some_and(|of| of.database == session.database && !of.is_known_lost())
        };
        let held = held.borrow();
        held.iter().filter(|(_, _, of)| is_there(of)).map(|(key, shared, _)| (*key, *shared)).collect()
    };
    HELD.try_with(of).unwrap_or_default()
}

/// Whether this thread holds it so that it can never have it in this mode.
fn is_own(session: &Session, key: i64, shared: bool) -> bool {
    own_keys(session).iter().any(|(own, with_others)| *own == key && !(shared && *with_others))
}

/// What is asked for, as the server has it.
struct Wish<'a> {
    object: &'a Object,
    mode: Mode,
    id: i32,
    permits: i32,
}

impl Wish<'_> {
    fn key(&self, session: &Session) -> i64 {
        session.space() | i64::from(self.id)
    }

    fn shared(&self) -> bool {
        self.mode == Mode::Shared
    }
}

impl Holds for Postgres {
    fn take(&self, object: &Object, mode: Mode, patience: Patience) -> Result<Box<dyn Hold>, ClusterError> {
        let session = self.session()?;
        let id = super::names::find(&session, object)?;
        object.check_mode(mode)?;
        let wish = Wish { object, mode, id, permits: object.size.cast_signed() };
        let tries = matches!(patience, Patience::Try);
        if mode.permits().is_none() && is_own(&session, wish.key(&session), wish.shared()) {
            let subject = object.subject.clone();
            return Err(if tries {
                ClusterError::WouldBlock { object: subject, holder: "this thread".to_owned() }
            } else {
                ClusterError::Deadlock { object: subject, is_own: true }
            });
        }
        if let Some(held) = self.try_on_main(&session, &wish)? {
            return Ok(held);
        }
        if tries {
            let holder = self.holders_of(&wish);
            return Err(ClusterError::WouldBlock { object: object.subject.clone(), holder });
        }
        self.wait(&wish, patience)
    }

    fn permits_of(&self, object: &Object) -> Result<Option<u32>, ClusterError> {
        object.check_name()?;
        let statement = "SELECT size FROM objects WHERE kind = $1 AND name = $2";
        let params: Params = vec![Box::new(object.subject.kind), Box::new(object.subject.name.clone())];
        let session = self.session()?;
        let rows = session.query(statement, params)?;
        rows.first().map(|row| session.column::<i32>(row, 0).map(i32::cast_unsigned)).transpose()
    }
}

impl Postgres {
    /// Takes it on the main session if it is free, without waiting.
    fn try_on_main(
        &self,
        session: &Arc<Session>,
        wish: &Wish<'_>,
    ) -> Result<Option<Box<dyn Hold>>, ClusterError> {
        if let Some(count) = wish.mode.permits() {
            return self.try_permits(session, wish, count);
        }
        let (key, shared) = (wish.key(session), wish.shared());
        // Locks of one session never are in one another's way: that two threads are, only this table knows.
        if !self.enter(session, wish, key)? {
            return Ok(None);
        }
        let params: Params =
            vec![Box::new(session.backend), Box::new(session.space()), Box::new(key), Box::new(shared)];
        let number = session
            .query("SELECT try_lock($1, $2, $3, $4)", params)
            .and_then(|rows| session.first::<Option<i64>>(&rows, 0));
        match number {
            Ok(Some(number)) => Ok(Some(self.held(session, wish, vec![key], number, true))),
            Ok(None) => {
                leave(session, key, shared);
                Ok(None)
            }
            Err(error) => {
                leave(session, key, shared);
                Err(error)
            }
        }
    }

    fn try_permits(
        &self,
        session: &Arc<Session>,
        wish: &Wish<'_>,
        count: u32,
    ) -> Result<Option<Box<dyn Hold>>, ClusterError> {
        // Two threads that were given one permit would share it: they ask one after the other.
        let _turn = lock(&session.permits);
        let base = wish.key(session);
        let range = base + 1..=base + i64::from(wish.permits);
        let mine: Vec<i64> = lock(&session.held).keys().copied().filter(|key| range.contains(key)).collect();
        let params: Params = vec![
            Box::new(session.backend),
            Box::new(base),
            Box::new(wish.permits),
            Box::new(count.cast_signed()),
            Box::new(mine),
        ];
        let rows = session.query("SELECT try_permits($1, $2, $3, $4, $5)", params)?;
        let Some(slots) = session.first::<Option<Vec<i64>>>(&rows, 0)? else {
            return Ok(None);
        };
        let entered = slots.iter().try_for_each(|slot| self.enter(session, wish, *slot).map(drop));
        // Before it may fail: what was entered is released with the others.
        let held = self.held(session, wish, slots, 0, true);
        entered.map(|()| Some(held))
    }

    /// Writes into the session's table that it is held; `false` when it is, so that it cannot be.
    fn enter(&self, session: &Session, wish: &Wish<'_>, key: i64) -> Result<bool, ClusterError> {
        let mut held = lock(&session.held);
        let count = held.len();
        match held.get_mut(&key) {
            Some(Some(sharers)) if wish.shared() => *sharers += 1,
            Some(_) => return Ok(false),
            None if count >= self.options.max_holds => {
                let (object, most) = (wish.object.subject.clone(), self.options.max_holds);
                return Err(ClusterError::TooMany { object, held: count, most });
            }
            None => {
                held.insert(key, wish.shared().then_some(1));
            }
        }
        Ok(true)
    }

    fn held(
        &self,
        session: &Arc<Session>,
        wish: &Wish<'_>,
        keys: Vec<i64>,
        number: i64,
        on_main: bool,
    ) -> Box<dyn Hold> {
        if wish.mode.permits().is_none() {
            let of = |key| (key, wish.shared(), Arc::downgrade(session));
            let enter = |held: &HeldKeys| held.borrow_mut().extend(keys.iter().copied().map(of));
            let _: Result<(), _> = HELD.try_with(enter);
        }
        Box::new(Held {
            session: Some(session.clone()),
            spare: (!on_main).then(|| self.spare.clone()),
            subject: wish.object.subject.clone(),
            keys,
            shared: wish.shared(),
            token: Token::new(session.timeline, number.cast_unsigned()),
        })
    }

    /// Waits on a session of its own, which then has the hold.
    fn wait(&self, wish: &Wish<'_>, patience: Patience) -> Result<Box<dyn Hold>, ClusterError> {
        let session = self.spare_session()?;
        let mut slice = FIRST;
        let mut said = false;
        let mut has_it = false;
        let mut gathered = Vec::new();
        let outcome = loop {
            match self.wait_slice(&session, wish, &mut gathered, patience.slice(slice)) {
                Ok(None) if patience.is_over() => {
                    let holder = self.holders_of(wish);
                    break Err(ClusterError::TimedOut { object: wish.object.subject.clone(), holder });
                }
                Ok(None) => {}
                Ok(Some(keys)) => {
                    has_it = true;
                    break self.won(&session, wish, keys);
                }
                Err(error) => break Err(error),
            }
            if !said && wish.mode.permits().is_none() {
                said = true;
                match self.closes_a_circle(&session, wish) {
                    Ok(false) => {}
                    Ok(true) => {
                        break Err(ClusterError::Deadlock {
                            object: wish.object.subject.clone(),
                            is_own: false,
                        });
                    }
                    Err(error) => break Err(error),
                }
            }
            slice = SLICE;
        };
        if said && session.is_usable() {
            // Nobody counts on it: a row of a session that waits no more has no holds that matter, and is replaced.
            drop(session.query("DELETE FROM waits WHERE session = $1", vec![Box::new(session.number)]));
        }
        match outcome {
            // It got what it waited for, but no token, or some of it: the hold ends with the session.
            Err(_) if has_it || wish.mode.permits().is_some_and(|count| count > 1) => session.give_up(),
            Err(_) => self.spare.keep(session),
            Ok(_) => {}
        }
        outcome
    }

    /// Waits for one slice; the keys of what was won. Permits that were won of several that are wanted are gathered.
    fn wait_slice(
        &self,
        session: &Arc<Session>,
        wish: &Wish<'_>,
        gathered: &mut Vec<i64>,
        slice: Duration,
    ) -> Result<Option<Vec<i64>>, ClusterError> {
        let subject = &wish.object.subject;
        let key = wish.key(session);
        let ms = i32::try_from(slice.as_millis()).unwrap_or(i32::MAX).max(1);
        let answer = if let Some(count) = wish.mode.permits() {
            let params: Params = vec![
                Box::new(session.backend),
                Box::new(key),
                Box::new(wish.permits),
                Box::new(count.cast_signed()),
                Box::new(gathered.clone()),
                Box::new(ms),
            ];
            session.query_slice("SELECT wait_permits($1, $2, $3, $4, $5, $6)", params, slice)
        } else {
            let params: Params =
                vec![Box::new(session.backend), Box::new(key), Box::new(wish.shared()), Box::new(ms)];
            session.query_slice(
                "SELECT CASE WHEN wait_lock($1, $2, $3, $4) THEN ARRAY[$2::bigint] ELSE '{}' END",
                params,
                slice,
            )
        };
        match answer {
            None => Err(ClusterError::Interrupted { object: subject.clone() }),
            Some(Ok(rows)) => {
                *gathered = session.first(&rows, 0)?;
                let wanted = wish.mode.permits().unwrap_or(1) as usize;
                Ok((gathered.len() >= wanted).then(|| gathered.clone()))
            }
            Some(Err(Failure::Deadlock)) => {
                Err(ClusterError::Deadlock { object: subject.clone(), is_own: false })
            }
            Some(Err(failure)) => Err(failure.into_error(session.place())),
        }
    }

    /// A hold after a wait, with its token: asking for it proves that the session lives after the wait.
    fn won(
        &self,
        session: &Arc<Session>,
        wish: &Wish<'_>,
        keys: Vec<i64>,
    ) -> Result<Box<dyn Hold>, ClusterError> {
        let rows = session.query("SELECT next_token($1)", vec![Box::new(session.space())])?;
        let number = session.first(&rows, 0)?;
        lock(&session.held).extend(keys.iter().map(|key| (*key, wish.shared().then_some(1))));
        Ok(self.held(session, wish, keys, number, false))
    }

    fn closes_a_circle(&self, session: &Arc<Session>, wish: &Wish<'_>) -> Result<bool, ClusterError> {
        let held: Vec<i64> = own_keys(session).into_iter().map(|(key, _)| key).collect();
        let params: Params = vec![
            Box::new(session.space()),
            Box::new(session.number),
            Box::new(wish.key(session)),
            Box::new(held),
        ];
        let rows = session.query("SELECT say_wait($1, $2, $3, $4)", params)?;
        session.first(&rows, 0)
    }

    /// Who holds it, in words; empty where nobody can say.
    fn holders_of(&self, wish: &Wish<'_>) -> String {
        let found = self.session().and_then(|session| super::reports::object(&session, &wish.object.subject));
        let holders = found.ok().flatten().map(|object| object.holders).unwrap_or_default();
        holders.iter().take(4).map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// Takes it out of the session's table.
fn leave(session: &Session, key: i64, shared: bool) {
    let mut held = lock(&session.held);
    match held.get_mut(&key) {
        Some(Some(sharers)) if shared && *sharers > 1 => *sharers -= 1,
        _ => {
            held.remove(&key);
        }
    }
}

/// Advisory locks of a session: one, or several permits.
struct Held {
    /// `None` once it was released.
    session: Option<Arc<Session>>,
    /// Where the session goes when it was one for a wait.
    spare: Option<Arc<super::Spare>>,
    subject: Subject,
    keys: Vec<i64>,
    shared: bool,
    token: Token,
}

impl Held {
    fn end(&mut self) -> Result<(), ClusterError> {
        let Some(session) = self.session.take() else {
            return Ok(());
        };
        let mine = Arc::downgrade(&session);
        let leave_list = |held: &HeldKeys| {
            let mut held = held.borrow_mut();
            let found = held.iter().position(|(key, shared, of)| {
                self.keys.contains(key) && *shared == self.shared && of.ptr_eq(&mine)
            });
            found.map(|nth| held.swap_remove(nth));
        };
        let _: Result<(), _> = HELD.try_with(leave_list);
        let lost = || ClusterError::Lost { object: self.subject.clone() };
        if session.is_known_lost() {
            return Err(lost());
        }
        let mut was_held = true;
        for key in std::mem::take(&mut self.keys) {
            let params: Params = vec![Box::new(session.backend), Box::new(key), Box::new(self.shared)];
            let answer = session.query("SELECT unlock($1, $2, $3)", params);
            leave(&session, key, self.shared);
            was_held &= answer.is_ok_and(|rows| session.first::<bool>(&rows, 0).unwrap_or(false));
        }
        if let Some(spare) = &self.spare {
            spare.keep(session);
        }
        if was_held { Ok(()) } else { Err(lost()) }
    }
}

impl Hold for Held {
    fn token(&self) -> Token {
        self.token
    }

    fn is_lost(&self) -> bool {
        self.session.as_ref().is_none_or(Session::is_lost)
    }

    fn release(mut self: Box<Self>) -> Result<(), ClusterError> {
        self.end()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // That it was lost, who cares asks before.
        drop(self.end());
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("object", &self.subject).field("token", &self.token).finish()
    }
}
