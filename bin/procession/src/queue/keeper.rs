//! Keepers of leases: processes in the background that hold leases for a process that is not this library's, and let
//! them go when that ends. What all keepers have in common is in `keeper.rs`.
//!
//! | step | who | killed here, the items |
//! |---|---|---|
//! | the owner is opened as a pidfd, and the keeper started with it as stdin, and a socket as stdout | `queue get` | – |
//! | its session becomes its own; it asks to be ended with `queue get` | the keeper | – |
//! | items are leased, which may take time, and written into the socket | the keeper | are there again |
//! | they are printed; `queue get` says so through the socket | `queue get` | are there again: the socket has ended |
//! | the keeper asks to be ended no more, and closes the socket | the keeper | were printed, and are there again |
//! | `queue get` sees the end, and exits with 0 | | |
//! | it waits: for the end of the owner, the time of a lease, SIGTERM, or SIGUSR1 from `queue ack`, which means that there may be nothing left to hold | the keeper | are there again |

use super::get::{GetArgs, lease_one};
use super::item::{Item, Printer};
use super::store::Store;
use super::why_not_got;
use crate::duration::duration;
use crate::keeper::{self as keepers, KeepArgs};
use crate::passed_on::{self, interruptibly};
use crate::under::{WaitArgs, told};
use procession::{Encoded, GetError, JoinableQueue, Lease, LeaseToken};
use procession_sys::signals::{SIGTERM, SIGUSR1, SignalSet, set_blocked};
use procession_sys::{SignalBell, eventfd};
use procession_terminal::exit::Failure;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read, Result as IoResult, Write, stdin, stdout};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What `queue get` says when it has printed the items.
const PRINTED: u8 = b'p';

/// A keeper, as `queue get` starts it.
#[derive(Debug, clap::Args)]
pub(crate) struct LeaseKeeperArgs {
    /// For whom: what its command line says to others.
    owner: u32,
    /// The process that starts it.
    pub(crate) parent: u32,
    pub(crate) name: String,
    pub(crate) count: u32,
    #[arg(long, value_parser = duration)]
    lease: Option<Duration>,
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

impl LeaseKeeperArgs {
    /// How long the leases are to last, if that was said; [`Duration::MAX`] is as long as the keeper.
    pub(crate) fn time(&self) -> Option<Duration> {
        self.lease.map(|time| if time.is_zero() { Duration::MAX } else { time })
    }
}

/// A lease that a keeper has.
pub(crate) trait Kept {
    /// What is printed of it.
    fn item(&self) -> Item;

    /// Gives the item back as if nobody had got it.
    fn put_back(self);

    /// After which time it is to be asked again whether it is to be held, `None` if nothing but a signal changes that; or that
    /// it is not: its time is over, or others have decided about it.
    fn is_held(&self) -> Result<Option<Duration>, Over>;
}

/// There is nothing to hold any more.
pub(crate) struct Over;

impl Kept for Lease<Encoded> {
    fn item(&self) -> Item {
        let (token, bytes) = (Some(self.token()), self.to_vec());
        Item { id: Some(self.id()), token, attempt: Some(self.attempt()), bytes, is_text: false }
    }

    fn put_back(self) {
        drop(Self::put_back(self));
    }

    fn is_held(&self) -> Result<Option<Duration>, Over> {
        let left = self.time_left();
        if self.is_valid() && left != Some(Duration::ZERO) { Ok(left) } else { Err(Over) }
    }
}

/// What goes before the bytes of an item through the socket.
#[derive(Serialize, Deserialize)]
struct Head {
    token: LeaseToken,
    attempt: u32,
    len: usize,
    is_text: bool,
}

/// Has a keeper lease items, and prints them.
///
/// # Errors
/// As [`get_by`]; that there is no such owner.
pub(super) fn get(args: &GetArgs, keep: &KeepArgs, printer: &mut Printer<'_>) -> Result<(), Failure> {
    let (owner, end) = owner(args, keep)?;
    get_by(keepers::command(true, owner, end)?, args, printer)
}

/// For whom items are to be leased.
///
/// # Errors
/// As [`keepers::owner`].
pub(crate) fn owner(args: &GetArgs, keep: &KeepArgs) -> Result<(u32, OwnedFd), Failure> {
    keepers::owner(keep, &format_args!("items of queue {:?}", args.queue.name))
}

/// Has this keeper lease items, and prints them.
///
/// # Errors
/// [`Failure::Command`] with the keeper's code, which has said why.
pub(crate) fn get_by(mut keeper: Command, args: &GetArgs, printer: &mut Printer<'_>) -> Result<(), Failure> {
    let name = args.queue.name.as_str();
    keeper.arg(name).arg(args.count.to_string());
    if let Some(time) = args.lease {
        keeper.arg("--lease").arg(time.as_secs_f64().to_string());
    }
    if args.item.json {
        keeper.arg("--json");
    }
    keepers::pass_wait_on(&mut keeper, &args.wait);
    let (mut ours, theirs) = UnixStream::pair()?;
    let child = keeper.stdout(Stdio::from(OwnedFd::from(theirs))).spawn()?;
    // It has the keeper's end still.
    drop(keeper);
    let mut from_keeper = BufReader::new(ours.try_clone()?);
    let mut is_any = false;
    while let Some(item) = next(&mut from_keeper)? {
        is_any = true;
        printer.add(&item)?;
    }
    if !is_any {
        return Err(keepers::failed(child));
    }
    printer.flush()?;
    ours.write_all(&[PRINTED])?;
    // Its end says that the keeper outlives this process.
    from_keeper.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The next item that the keeper has leased, or `None` after the last.
fn next(from_keeper: &mut impl BufRead) -> Result<Option<Item>, Failure> {
    let mut line = String::new();
    if from_keeper.read_line(&mut line)? == 0 || line == "\n" {
        return Ok(None);
    }
    let Head { token, attempt, len, is_text } = serde_json::from_str(&line)?;
    let mut bytes = vec![0; len];
    from_keeper.read_exact(&mut bytes)?;
    Ok(Some(Item { id: Some(token.id()), token: Some(token), attempt: Some(attempt), bytes, is_text }))
}

/// Is a keeper, until there is nothing to keep.
///
/// # Errors
/// Why nothing was leased.
pub(super) fn run(args: &LeaseKeeperArgs) -> Result<(), Failure> {
    told(args.json, keep(args))
}

fn keep(args: &LeaseKeeperArgs) -> Result<(), Failure> {
    if !keepers::begin(args.parent)? {
        // It ended before that, and nobody waits for this.
        return Ok(());
    }
    let queue = Store::open_leased(&args.name, "--lease")?;
    let inbox = passed_on::inbox();
    let (leases, signal) = interruptibly(&inbox, || lease_some(&queue, args));
    if signal.is_some() {
        // `queue get` has ended.
        return Ok(());
    }
    let failed = |error| why_not_got(&args.name, error, args.wait.conflict_exit_code);
    keep_leases(leases.map_err(failed)?)
}

/// Hands the leases over to `queue get`, and holds them as long as there is a reason to.
///
/// # Errors
/// When signals or the owner cannot be waited for.
pub(crate) fn keep_leases<L: Kept>(leases: Vec<L>) -> Result<(), Failure> {
    // While they are blocked, signals wait for the bell.
    let bell = SignalBell::new(&[SIGTERM, SIGUSR1])?;
    if hand_over(&leases).is_err() {
        // Nobody has seen them.
        leases.into_iter().for_each(Kept::put_back);
        return Ok(());
    }
    keepers::settle()?;
    set_blocked(SignalSet::from_bits(!SignalSet::from_iter([SIGTERM, SIGUSR1]).bits()));
    hold(leases, &bell)
}

fn lease_some(
    queue: &JoinableQueue<Encoded>,
    args: &LeaseKeeperArgs,
) -> Result<Vec<Lease<Encoded>>, GetError> {
    let mut leases = vec![lease_one(queue, args.wait.wait())?];
    while leases.len() < args.count as usize
        && let Ok(lease) = queue.try_get()
    {
        leases.push(lease);
    }
    if let Some(time) = args.time() {
        // One whose time is over meanwhile is there again, as it would be if it were a moment later.
        leases.iter().for_each(|lease| drop(lease.extend(time)));
    }
    Ok(leases)
}

/// Writes the items into the socket, and waits until they are printed; from then on this process does not end with its
/// starter.
fn hand_over(leases: &[impl Kept]) -> IoResult<()> {
    let mut socket = UnixStream::from(stdout().as_fd().try_clone_to_owned()?);
    for lease in leases {
        let Item { token, attempt, bytes, is_text, .. } = lease.item();
        let (Some(token), Some(attempt)) = (token, attempt) else { continue };
        let head = Head { token, attempt, len: bytes.len(), is_text };
        let mut message = serde_json::to_vec(&head)?;
        message.push(b'\n');
        message.extend_from_slice(&bytes);
        socket.write_all(&message)?;
    }
    socket.write_all(b"\n")?;
    let mut said = [0];
    socket.read_exact(&mut said)?;
    keepers::outlive_starter().map_err(|_| std::io::ErrorKind::Unsupported)?;
    socket.shutdown(Shutdown::Both)
}

/// Holds the leases as long as there is a reason to.
fn hold<L: Kept>(mut leases: Vec<L>, bell: &SignalBell) -> Result<(), Failure> {
    let owner = stdin();
    loop {
        let mut soonest = None;
        // Those that are over are given back; those that others have decided about are nobody's.
        leases.retain(|lease| match lease.is_held() {
            Ok(left) => {
                soonest = soonest.into_iter().chain(left).min();
                true
            }
            Err(Over) => false,
        });
        if leases.is_empty() {
            return Ok(());
        }
        let ready = eventfd::wait_any(&[bell.as_fd(), owner.as_fd()], soonest)?;
        if ready[1] || bell.take().contains(SIGTERM) {
            return Ok(());
        }
    }
}
