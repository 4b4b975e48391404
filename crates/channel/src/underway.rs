//! Ends of pipes in messages: whose they are, from the encoding of a message until somebody uses them.
//!
//! | the message is | its ends are | if that dies, or never comes |
//! |---|---|---|
//! | encoded, and not put | in the sender's hands, or where they were, once putting fails | the sender's death is theirs |
//! | in a queue, a joinable queue, a pipe: its *home* | carried by the sender, who stays attached to their pipes; in their cells stands where they are (`pipe/home.rs`) | the sender's death is theirs; when nobody can get the message any more, because its home is gone or its receiver, the other side finds out and closes them |
//! | taken out of a queue | adopted by the consumer before the message is out | the consumer's death is theirs |
//! | received from a pipe | adopted by the receiver | the receiver's death is its end's, and so the home's |
//! | leased | carried by the sender still: a lease may be given back. Who uses one claims it | the sender's; once used, the user's |
//! | acknowledged, or a dead letter that is discarded | adopted, before the item is done | the consumer's |
//! | decoded | those that the decoder asked for are its handles'; the others are closed, as when it fails or panics | – |
//! | thrown away | adopted and closed | the death of who throws away |
//! | looked at (`peek`, dead letters) | where they were; what is shown cannot be used | – |
//!
//! So that a message can be taken without being understood, one that carries ends ends with their list:
//! encoded, its length, and [`MARK`]. (A flag in each record would do as well, but in the form of every ring
//! and table.)

use crate::codec::{self, EncodeError};
use crate::pipe::{End, Location, Passage};
use procession_shm::OpenError;
use procession_sys::crash_point;
use procession_sys::fork::{self, ForkLock};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What a message ends with that carries ends: bytes that no message ends with by chance.
const MARK: [u8; 16] = *b"\xfeprocession.end\xff";
/// The list's length, and the mark.
const TAIL: usize = 4 + MARK.len();
/// The longest list that is read: each end takes some hundred bytes.
const LONGEST: usize = 1 << 20;
/// How many ends that are underway are asked about at a time.
const ASKED: usize = 4;

/// Who forks copies the list, and the cookie tells the copies apart.
static UNDERWAY: Mutex<Vec<(u64, End)>> = Mutex::new(Vec::new());

/// Ends in messages that were taken, which could not be adopted then: they are to be closed.
static NOBODYS: Mutex<Vec<Passage>> = Mutex::new(Vec::new());

/// How many ends all threads have noted: messages without ends cost a look at this.
static NOTED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The ends that this thread has sent off in a message of which it is not known yet whether it was sent.
    static DEPARTED: RefCell<Departed> = const { RefCell::new(Departed(Vec::new())) };
    static DECODING: Cell<Decoding> = const { Cell::new(Decoding::Adopts) };
}

/// What becomes of the ends in a message that is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoding {
    /// They are this process's.
    Adopts,
    /// They stay where they are, and this process may use them.
    Borrows,
    /// They stay where they are.
    Looks,
}

struct Departed(Vec<Departure>);

struct Departure {
    count: Arc<AtomicU32>,
    end: End,
    /// `None` once it stands in a list.
    passage: Option<Passage>,
}

impl Drop for Departed {
    fn drop(&mut self) {
        NOTED.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

/// After how many of a batch's messages so many ends were noted: only those after which there were more.
#[derive(Default)]
pub(crate) struct Many {
    encoded: usize,
    noted: Vec<(usize, usize)>,
}

impl Many {
    /// One more message was encoded.
    #[inline]
    pub(crate) fn encoded_one(&mut self) {
        self.encoded += 1;
        if NOTED.load(Ordering::Relaxed) != 0 {
            let noted = DEPARTED.try_with(|departed| departed.borrow().0.len()).unwrap_or(0);
            self.noted.push((self.encoded, noted));
        }
    }

    /// How many ends were noted in the first so many messages.
    fn noted_in(&self, messages: usize) -> usize {
        let within = self.noted.iter().take_while(|(encoded, _)| *encoded <= messages);
        within.last().map_or(0, |(_, noted)| *noted)
    }
}

/// Encodes and sends messages; `send` says what came of it, and how many of them were sent. The ends in the
/// others are where they were.
pub(crate) fn attempt_many<R>(send: impl FnOnce(&mut Many) -> (R, usize)) -> R {
    settle(true);
    let mut many = Many::default();
    let (outcome, sent) = send(&mut many);
    if NOTED.load(Ordering::Relaxed) != 0 {
        settle_noted(many.noted_in(sent));
    }
    outcome
}

/// Encodes and sends a message; if it is not sent, the ends in it are where they were.
#[inline]
pub(crate) fn attempt<R, E>(send: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
    // What was encoded otherwise is nobody's business here.
    settle(true);
    let mut attempt = Attempt { sent: false };
    let outcome = send();
    attempt.sent = outcome.is_ok();
    outcome
}

/// Ends with a panic of the user's code, too.
struct Attempt {
    sent: bool,
}

impl Drop for Attempt {
    #[inline]
    fn drop(&mut self) {
        settle(self.sent);
    }
}

/// Counts one more message that an end is sent off in; `end` is another handle of it.
pub(crate) fn depart(count: &Arc<AtomicU32>, end: End, passage: Passage) {
    count.fetch_add(1, Ordering::Relaxed);
    // While the thread ends there is nowhere to note it.
    let _: Result<(), _> = DEPARTED.try_with(|departed| {
        let departure = Departure { count: Arc::clone(count), end, passage: Some(passage) };
        departed.borrow_mut().0.push(departure);
        NOTED.fetch_add(1, Ordering::Relaxed);
    });
}

/// Appends the list of the ends in a message that was just encoded, if there are any; `location` is where it
/// is about to be put.
#[inline]
pub(crate) fn seal(message: &mut Vec<u8>, location: impl FnOnce() -> Location) -> Result<(), EncodeError> {
    // Relaxed: what this thread noted, it sees.
    if NOTED.load(Ordering::Relaxed) != 0 { seal_noted(message, || Some(location())) } else { Ok(()) }
}

#[cold]
fn seal_noted(message: &mut Vec<u8>, location: impl FnOnce() -> Option<Location>) -> Result<(), EncodeError> {
    let sealed = DEPARTED.try_with(|departed| {
        let mut departed = departed.borrow_mut();
        let unsealed = departed.0.iter_mut().filter(|departure| departure.passage.is_some());
        let unsealed: Vec<&mut Departure> = unsealed.collect();
        if unsealed.is_empty() {
            return Ok(());
        }
        let location = location();
        let mut passages = Vec::new();
        for departure in unsealed {
            passages.extend(departure.passage.take());
            // In two messages at once: nobody could say when both are lost.
            let is_once = departure.count.load(Ordering::Relaxed) == 1;
            departure.end.set_home(location.as_ref().filter(|_| is_once));
        }
        let start = message.len();
        codec::encode(&passages, message)?;
        let len = (message.len() - start) as u32;
        message.extend_from_slice(&len.to_le_bytes());
        message.extend_from_slice(&MARK);
        Ok(())
    });
    sealed.unwrap_or(Ok(()))
}

#[inline]
fn settle(sent: bool) {
    // Relaxed: what this thread noted, it sees.
    if NOTED.load(Ordering::Relaxed) != 0 {
        settle_noted(if sent { usize::MAX } else { 0 });
    }
}

/// Takes those back that were noted after the first so many.
#[cold]
fn settle_noted(sent: usize) {
    let departed = DEPARTED.try_with(|departed| departed.replace(Departed(Vec::new())));
    for departure in departed.iter().flat_map(|departed| departed.0.iter().skip(sent)) {
        departure.end.set_home(None);
        departure.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The list at the end of a message of `len` bytes, and how long the message is without it.
#[inline]
pub(crate) fn list(len: usize, read: impl Fn(usize, &mut [u8]) -> bool) -> Option<(usize, Vec<Passage>)> {
    if len < TAIL { None } else { list_behind(len - TAIL, read) }
}

#[inline]
fn list_behind(end: usize, read: impl Fn(usize, &mut [u8]) -> bool) -> Option<(usize, Vec<Passage>)> {
    let mut mark = [0; MARK.len()];
    if !read(end + 4, &mut mark) || mark != MARK { None } else { marked_list(end, read) }
}

#[cold]
fn marked_list(end: usize, read: impl Fn(usize, &mut [u8]) -> bool) -> Option<(usize, Vec<Passage>)> {
    let mut len = [0; 4];
    read(end, &mut len).then_some(())?;
    let len = u32::from_le_bytes(len) as usize;
    let start = end.checked_sub(len).filter(|_| len <= LONGEST)?;
    let mut bytes = vec![0; len];
    read(start, &mut bytes).then_some(())?;
    // Bytes of the user's that happen to end so are no list, and left alone.
    Some((start, codec::decode(&bytes).ok()?))
}

/// The list at the end of a message that lies in memory, and how long the message is without it.
#[inline]
pub(crate) fn list_of(message: &[u8]) -> Option<(usize, Vec<Passage>)> {
    list(message.len(), |at, into| {
        let part = message.get(at..at + into.len());
        part.map(|part| into.copy_from_slice(part)).is_some()
    })
}

/// How long the message is without the list of its ends.
#[inline]
pub(crate) fn len_without_list(message: &[u8]) -> usize {
    list_of(message).map_or(message.len(), |(len, _)| len)
}

/// Cuts the list off a message that lies in memory.
#[inline]
pub(crate) fn cut(message: &mut Vec<u8>) -> Vec<Passage> {
    list_of(message).map_or_else(Vec::new, |(len, ends)| {
        message.truncate(len);
        ends
    })
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
        }
    }
}

impl std::fmt::Debug for Parcel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parcel").field("ends", &self.0.len()).finish()
    }
}

impl Parcel {
    /// Encodes something that is not put into a queue or a pipe, and keeps the ends in it: they are closed
    /// when this is dropped, unless somebody has taken them.
    pub fn of_encoding<R>(encode: impl FnOnce() -> R) -> (R, Self) {
        settle(true);
        let result = encode();
        if NOTED.load(Ordering::Relaxed) == 0 {
            return (result, Self::default());
        }
        let departed = DEPARTED.try_with(|departed| departed.replace(Departed(Vec::new())));
        let mut ends = Vec::new();
        for departure in departed.iter().flat_map(|departed| &departed.0) {
            ends.extend(departure.end.carried_word().map(|word| (departure.end.twin(), word)));
        }
        (result, Self(ends))
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
        settle(true);
        encode(message)?;
        if NOTED.load(Ordering::Relaxed) != 0 { seal_noted(message, || None) } else { Ok(()) }
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
        let mut opened = Vec::new();
        for passage in passages {
            match End::open(&passage) {
                Ok((_, end)) => opened.push(end),
                Err(error) if error.may_be_there() => return Err(error),
                // The pipe is gone, and its end with it.
                Err(_) => {}
            }
        }
        let ends = opened.into_iter().filter_map(|end| end.adopt().map(|word| (end, word))).collect();
        crash_point("ends.adopted");
        Ok(Self(ends))
    }

    /// Adopts the ends in a message that was taken out, and cuts their list off.
    #[inline]
    pub fn take_from(message: &mut Vec<u8>) -> Self {
        let ends = cut(message);
        if ends.is_empty() { Self(Vec::new()) } else { Self::adopt_sooner_or_later(ends) }
    }

    /// Adopts the ends in a message that was taken out; how long it is without their list.
    pub fn of_message(message: &[u8]) -> (usize, Self) {
        let (len, ends) = list_of(message).unwrap_or((message.len(), Vec::new()));
        (len, Self::adopt_sooner_or_later(ends))
    }

    /// Keeps those of another, too.
    pub fn join(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Adopts the ends in a message that is taken out in any case. Those that cannot be adopted now are
    /// closed later.
    pub(crate) fn adopt_sooner_or_later(passages: Vec<Passage>) -> Self {
        let all = passages.clone();
        Self::adopt(passages).unwrap_or_else(|_| {
            // A forked child may have inherited it locked; then they are its parent's.
            drop(NOBODYS.try_lock().map(|mut nobodys| nobodys.extend(all)));
            Self::default()
        })
    }
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

/// Keeps the pipe of `end`, another handle of which was sent off.
pub(crate) fn keep(end: End) {
    update(Some((fork::cookie(), end)));
}

/// Lets those pipes go whose ends have arrived, were closed, or are in a message that nobody can get any
/// more.
pub(crate) fn let_go_of_arrived() {
    update(None);
}

fn update(sent: Option<(u64, End)>) {
    let mut asked = Vec::new();
    // A forked child that copied the list while it was changed leaves it alone: none of it is the child's.
    let gone = ForkLock::registration().hold(|| {
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
    let nobodys = NOBODYS.try_lock().map(|mut nobodys| std::mem::take(&mut *nobodys)).unwrap_or_default();
    if !nobodys.is_empty() {
        drop(Parcel::adopt_sooner_or_later(nobodys));
    }
}
