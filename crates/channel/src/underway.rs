//! Ends of pipes in messages: whose they are, from the encoding of a message until somebody uses them.
//!
//! | the message is | its ends are | if that dies, or never comes |
//! |---|---|---|
//! | encoded, and not put | in the sender's hands, or where they were, once putting fails | the sender's death is theirs |
//! | in a queue, a joinable queue, a pipe: its *home* | carried by the sender, who stays attached to their pipes; in their cells stands where they are (`pipe_end/home.rs`) | the sender's death is theirs; when nobody can get the message any more, because its home is gone or its receiver, the other side finds out and closes them |
//! | taken out of a queue | adopted by the consumer before the message is out | the consumer's death is theirs |
//! | received from a pipe | adopted by the receiver | the receiver's death is its end's, and so the home's |
//! | leased | carried by the sender still: a lease may be given back. Who uses one claims it | the sender's; once used, the user's |
//! | acknowledged, or a dead letter that is discarded | adopted, before the item is done | the consumer's |
//! | decoded | those that the decoder asked for are its handles'; the others are closed, as when it fails or panics | – |
//! | thrown away | adopted and closed | the death of who throws away |
//! | looked at (`peek`, dead letters) | where they were; what is shown cannot be used | – |

mod departed;
mod list;
#[cfg(test)]
mod tests;

pub(crate) use departed::Departed;
pub(crate) use list::{cut, len_without_list, list, list_of};

use crate::codec::{Codec, EncodeError, with_scratch};
use crate::pipe_end::{Decoding, End, Location, Passage};
use departed::Encoding;
use procession_shm::OpenError;
use procession_sys::crash_point;
use procession_sys::fork::{self, ForkLock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::sync::Mutex;

/// How many ends that are underway are asked about at a time.
const ASKED: usize = 4;

/// Who forks copies the list, and the cookie tells the copies apart.
static UNDERWAY: Mutex<Vec<(u64, End)>> = Mutex::new(Vec::new());

/// Ends in messages that were taken, which could not be adopted then: they are to be closed.
static NOBODYS: Mutex<Vec<Passage>> = Mutex::new(Vec::new());

thread_local! {
    static DECODING: Cell<Decoding> = const { Cell::new(Decoding::Adopts) };
}

/// Encodes `message` in place of the `T` that it borrows as, and sends it to `home`; if it is not sent, the
/// ends in it are where they were.
#[inline]
pub(crate) fn send<T, Q, E>(
    codec: Codec,
    message: &Q,
    home: impl FnOnce() -> Location,
    send: impl FnOnce(&[u8]) -> Result<(), E>,
) -> Result<(), E>
where
    T: Serialize + DeserializeOwned,
    Q: Serialize + ?Sized,
    E: From<EncodeError>,
{
    with_scratch(|scratch| {
        scratch.clear();
        let encoding = Encoding::begin();
        codec.encode::<T, Q>(message, scratch)?;
        if encoding.has_ends() {
            encoding.list_ends(scratch, || Some(home()))?;
        }
        let sent = send(scratch);
        if sent.is_ok() {
            encoding.sent();
        }
        sent
    })
}

/// Appends `message`, encoded in place of the `T` that it borrows as, to `out`, to be put into `home`. If there
/// are ends in it, it appends their list, and calls `departs` with them.
#[inline]
pub(crate) fn encode<T, Q>(
    codec: Codec,
    message: &Q,
    out: &mut Vec<u8>,
    home: impl FnOnce() -> Location,
    departs: impl FnOnce(Departed),
) -> Result<(), EncodeError>
where
    T: Serialize + DeserializeOwned,
    Q: Serialize + ?Sized,
{
    let encoding = Encoding::begin();
    codec.encode::<T, Q>(message, out)?;
    if encoding.has_ends() {
        encoding.list_ends(out, || Some(home()))?;
        departs(encoding.departed());
    }
    Ok(())
}

/// An end has just departed: it is in the message that this thread encodes, and its pipe is kept until it has
/// arrived. One that was given to a child is the child's.
pub(crate) fn departs(end: &End) {
    if !end.is_given() {
        departed::note(end.twin());
        update(Some((fork::cookie(), end.twin())));
    }
}

/// Ends in a message that this process carries, each with the word of its cell. Dropping it closes those that
/// nobody has taken since: a decoder that makes a handle of one takes it, and so changes the word.
#[derive(Default)]
#[must_use = "dropping it closes the ends"]
pub struct Parcel(Vec<(End, u64)>);

impl Drop for Parcel {
    #[inline]
    fn drop(&mut self) {
        if !self.0.is_empty() {
            self.0.drain(..).for_each(|(end, word)| end.close_if_untouched(word));
            let_go_of_arrived();
        }
    }
}

impl std::fmt::Debug for Parcel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parcel").field("ends", &self.0.len()).finish()
    }
}

impl Parcel {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Encodes something that is not put into a queue or a pipe, and keeps the ends in it: they are closed
    /// when this is dropped, unless somebody has taken them.
    #[inline]
    pub fn of_encoding<R>(encode: impl FnOnce() -> R) -> (R, Self) {
        let encoding = Encoding::begin();
        let result = encode();
        (result, Self(if encoding.has_ends() { encoding.departed().carried() } else { Vec::new() }))
    }

    /// Encodes something that goes neither into a queue nor into a pipe, and appends the list of the ends in
    /// it.
    ///
    /// # Errors
    /// As `encode`.
    pub fn encode_listed(
        message: &mut Vec<u8>,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let encoding = Encoding::begin();
        encode(message)?;
        if encoding.has_ends() {
            encoding.list_ends(message, || None)?;
        }
        encoding.sent();
        Ok(())
    }

    /// Adopts the ends in a list: from now on they are this process's. Those whose pipe is gone are nobody's.
    ///
    /// # Errors
    /// [What is about this process](OpenError::may_be_there), which cannot open a pipe now; then nothing was
    /// adopted.
    #[inline]
    pub(crate) fn adopt(passages: Vec<Passage>) -> Result<Self, OpenError> {
        if passages.is_empty() { Ok(Self(Vec::new())) } else { Self::adopt_all(passages) }
    }

    #[cold]
    fn adopt_all(passages: Vec<Passage>) -> Result<Self, OpenError> {
        open(&passages).map(Self::adopt_opened)
    }

    fn adopt_opened(ends: Vec<End>) -> Self {
        let ends = ends.into_iter().filter_map(|end| end.adopt().map(|word| (end, word))).collect();
        crash_point("ends.adopted");
        Self(ends)
    }

    /// Adopts the ends in a message that was taken out, and cuts their list off.
    #[inline]
    pub fn take_from(message: &mut Vec<u8>) -> Self {
        let ends = cut(message);
        if ends.is_empty() { Self(Vec::new()) } else { Self::adopt_sooner_or_later(ends) }
    }

    /// Adopts the ends in a message that was taken out; how long it is without their list.
    #[inline]
    pub fn of_message(message: &[u8]) -> (usize, Self) {
        let (len, ends) = list_of(message).unwrap_or((message.len(), Vec::new()));
        (len, Self::adopt_sooner_or_later(ends))
    }

    /// Keeps those of another, too.
    #[inline]
    pub fn join(&mut self, mut other: Self) {
        // As almost always.
        if !other.0.is_empty() {
            self.0.append(&mut other.0);
        }
    }

    /// Adopts the ends in a message that is taken out in any case. Those that cannot be adopted now are
    /// closed later.
    #[inline]
    pub(crate) fn adopt_sooner_or_later(passages: Vec<Passage>) -> Self {
        // As in almost every message.
        if passages.is_empty() { Self::default() } else { Self::adopt_some(passages) }
    }

    #[cold]
    fn adopt_some(passages: Vec<Passage>) -> Self {
        OpenEnds::open_some(passages).adopt()
    }
}

/// The ends in an item about which this process is about to decide, which are where they were: only who decides
/// adopts them, under the lock under which it does.
#[derive(Default)]
pub(crate) struct OpenEnds {
    opened: Vec<End>,
    /// Those that cannot be opened now.
    others: Vec<Passage>,
}

impl OpenEnds {
    #[inline]
    pub(crate) fn of(passages: Vec<Passage>) -> Self {
        // As in almost every item.
        if passages.is_empty() { Self::default() } else { Self::open_some(passages) }
    }

    #[cold]
    fn open_some(passages: Vec<Passage>) -> Self {
        match open(&passages) {
            Ok(opened) => Self { opened, others: Vec::new() },
            Err(_) => Self { opened: Vec::new(), others: passages },
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.opened.is_empty() && self.others.is_empty()
    }

    /// Adopts them. Those that could not be opened are closed later.
    pub(crate) fn adopt(self) -> Parcel {
        if !self.others.is_empty() {
            // A copy of this process may have inherited it locked; then they are its parent's.
            ForkLock::registration()
                .hold(|| drop(NOBODYS.try_lock().map(|mut nobodys| nobodys.extend(self.others))));
        }
        Parcel::adopt_opened(self.opened)
    }
}

/// Opens the pipes of ends; those that are gone are left out, and their ends with them.
fn open(passages: &[Passage]) -> Result<Vec<End>, OpenError> {
    let mut opened = Vec::new();
    for passage in passages {
        match End::open(passage) {
            Ok((_, end)) => opened.push(end),
            Err(error) if error.may_be_there() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(opened)
}

/// Runs `decode` with other rules for the ends it comes to.
pub(crate) fn decoding<R>(how: Decoding, decode: impl FnOnce() -> R) -> R {
    struct Before(Decoding);
    impl Drop for Before {
        fn drop(&mut self) {
            DECODING.set(self.0);
        }
    }
    let _before = Before(DECODING.replace(how));
    decode()
}

/// The rules for the ends that a decoder comes to.
pub(crate) fn rules() -> Decoding {
    DECODING.get()
}

/// Lets those pipes go whose ends have arrived, were closed, or are in a message that nobody can get any
/// more.
pub(crate) fn let_go_of_arrived() {
    update(None);
}

fn update(sent: Option<(u64, End)>) {
    let (mut asked, mut nobodys) = (Vec::new(), Vec::new());
    // A forked child that copied the list while it was changed leaves it alone: none of it is the child's.
    let gone = ForkLock::registration().hold(|| {
        nobodys = NOBODYS.try_lock().map(|mut nobodys| std::mem::take(&mut *nobodys)).unwrap_or_default();
        let mut list = UNDERWAY.try_lock().ok()?;
        // An attempt to send that failed may be repeated.
        let fresh = sent.filter(|(_, end)| !list.iter().any(|(_, known)| known.is_twin_of(end)));
        list.extend(fresh);
        let cookie = fork::cookie();
        let gone = list.extract_if(.., |(of, end)| *of != cookie || !end.is_underway()).collect::<Vec<_>>();
        // Others each time.
        let some = list.len().min(ASKED);
        asked.extend(list.iter().take(some).map(|(_, end)| end.twin()));
        list.rotate_left(some);
        Some(gone)
    });
    // The last to let go of a pipe removes its file, which is nothing to be done under a lock; nor is asking.
    drop(gone);
    asked.iter().for_each(End::give_up_if_lost);
    if !nobodys.is_empty() {
        drop(Parcel::adopt_sooner_or_later(nobodys));
    }
}
