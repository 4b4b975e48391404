//! The queue that a name leads to, of either kind, and whether the command can read what is in it.

use crate::holding::{no_such_object, refusal};
use crate::list::size;
use procession::shm::{Kind, codec_name};
use procession::{
    Codec, Encoded, JoinableQueue, JoinableQueueOptions, Namespace, OpenError, Queue, QueueOptions,
};
use procession_terminal::exit::{DISAGREE, Failure, NO_SUCH_OBJECT};
use procession_terminal::output;
use std::time::Duration;

/// How many bytes of items a queue of the command holds unless said otherwise.
const DEFAULT_BYTES: u64 = 8 << 20;

/// A queue.
#[derive(Debug)]
pub(super) enum Store {
    /// Without leases: what is got is gone.
    Plain(Queue<Encoded>),
    Leased(JoinableQueue<Encoded>),
}

/// What a queue is to be; what is not said is as the command makes it, or as the queue is that is there.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) codec: Option<Codec>,
    pub(super) capacity: Option<usize>,
    pub(super) bytes: Option<u64>,
    pub(super) lease: Option<Duration>,
    pub(super) max_attempts: Option<u32>,
}

impl Wanted {
    /// The same, with everything said that a new queue must have.
    fn for_new(&self) -> Self {
        let codec = self.codec.or(Some(Codec::Bytes));
        Self { codec, bytes: self.bytes.or(Some(DEFAULT_BYTES)), ..self.clone() }
    }

    fn leased(&self) -> JoinableQueueOptions<Encoded> {
        let mut options = JoinableQueue::options();
        options = self.codec.into_iter().fold(options, JoinableQueueOptions::codec);
        options = self.capacity.into_iter().fold(options, JoinableQueueOptions::capacity);
        options = self.bytes.into_iter().fold(options, JoinableQueueOptions::bytes);
        options = self.lease.into_iter().fold(options, JoinableQueueOptions::lease_timeout);
        self.max_attempts.into_iter().fold(options, JoinableQueueOptions::max_attempts)
    }

    fn plain(&self) -> QueueOptions<Encoded> {
        let mut options = Queue::options();
        options = self.codec.into_iter().fold(options, QueueOptions::codec);
        options = self.capacity.into_iter().fold(options, QueueOptions::capacity);
        self.bytes.into_iter().fold(options, QueueOptions::bytes)
    }
}

/// The object if it is there, or a new one, whoever else makes it at the same time.
fn found_or_made<T>(
    find: impl Fn() -> Result<T, OpenError>,
    make: impl Fn() -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    loop {
        match find() {
            Err(OpenError::NotFound { .. }) => {}
            found => return found,
        }
        match make() {
            Err(OpenError::AlreadyExists { .. }) => {}
            made => return made,
        }
    }
}

impl Store {
    /// The queue of that name.
    ///
    /// # Errors
    /// When there is none, or the name is another kind of object's.
    pub(super) fn open(name: &str) -> Result<Self, Failure> {
        let opened = match JoinableQueue::open(name) {
            Err(OpenError::Kind { found: Kind::QUEUE, .. }) => Queue::open(name).map(Self::Plain),
            opened => opened.map(Self::Leased),
        };
        opened.map_err(|error| match error {
            OpenError::NotFound { .. } => no_such_object(format!(
                "there is no queue {name:?}: `procession queue create {name}` makes it, and so does `put`"
            )),
            error => error.into(),
        })
    }

    /// The queue of that name, which is to have leases; `what` needs them.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when it has none.
    pub(super) fn open_leased(name: &str, what: &str) -> Result<JoinableQueue<Encoded>, Failure> {
        match Self::open(name)? {
            Self::Leased(queue) => Ok(queue),
            Self::Plain(_) => {
                let message = format!(
                    "queue {name:?} has no leases, which {what} needs: it is a Queue, and not a JoinableQueue, as \
                     `procession queue create` makes"
                );
                Err(refusal("no_leases", DISAGREE, message))
            }
        }
    }

    /// The queue of that name, which is made if there is none: with leases, or without if that is said.
    ///
    /// # Errors
    /// When it was made otherwise; and those of the library.
    pub(super) fn open_or_create(name: &str, wanted: &Wanted, is_plain: bool) -> Result<Self, Failure> {
        let new = wanted.for_new();
        let opened = if is_plain {
            found_or_made(|| wanted.plain().open(name), || new.plain().create(name)).map(Self::Plain)
        } else {
            found_or_made(|| wanted.leased().open(name), || new.leased().create(name)).map(Self::Leased)
        };
        opened.map_err(disagreement)
    }

    /// The queue of that name as it is; one with leases is made if there is none.
    ///
    /// # Errors
    /// When the name is another kind of object's; and those of the library.
    pub(super) fn find_or_make(name: &str) -> Result<Self, Failure> {
        match Self::open(name) {
            Err(failure) if failure.code() == NO_SUCH_OBJECT => {
                Self::open_or_create(name, &Wanted::default(), false)
            }
            opened => opened,
        }
    }

    pub(super) fn codec(&self) -> Codec {
        match self {
            Self::Plain(queue) => queue.codec(),
            Self::Leased(queue) => queue.codec(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Plain(queue) => queue.is_closed(),
            Self::Leased(queue) => queue.is_closed(),
        }
    }

    /// How many items are there to be got.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Plain(queue) => queue.len(),
            Self::Leased(queue) => queue.len(),
        }
    }

    /// Makes sure that its items are text, bytes or JSON.
    ///
    /// # Errors
    /// [`Failure::Refused`] that says what they are.
    pub(super) fn must_be_readable(&self, name: &str) -> Result<(), Failure> {
        must_be_readable(name, self.codec())
    }
}

/// Whether the command can read and write such items.
pub(super) fn is_readable(codec: Codec) -> bool {
    matches!(codec, Codec::Bytes | Codec::Json)
}

/// Makes sure that the queue's items are text, bytes or JSON.
///
/// # Errors
/// [`Failure::Refused`] that says what they are.
pub(super) fn must_be_readable(name: &str, codec: Codec) -> Result<(), Failure> {
    if is_readable(codec) {
        return Ok(());
    }
    let message = format!(
        "{}: only programs that have the type read and write them. Scripts share a queue of .codec(Codec::Json) or \
         .bytes_only(); `procession queue peek {name}` shows how long the items are",
        unreadable(name, codec)
    );
    Err(refusal("not_readable", DISAGREE, message))
}

/// What the items of a queue are that the command cannot read.
pub(super) fn unreadable(name: &str, codec: Codec) -> String {
    let header = Namespace::current().ok().and_then(|namespace| namespace.entry(name).ok()?.header.ok());
    let element = header.map(|header| header.element).filter(|element| !element.is_empty());
    let of = element.map_or_else(String::new, |element| format!(" of type {}", output::printable(&element)));
    format!("queue {name:?} has items in {codec}{of}")
}

/// What people are told of a queue that was made otherwise.
fn disagreement(error: OpenError) -> Failure {
    let (name, message) = match &error {
        OpenError::Parameter { object, parameter, found, asked } => {
            let (option, words): (_, fn(u64) -> String) = match *parameter {
                "capacity" => ("--cap", |items| or(items, "no limit", items.to_string())),
                "bytes" => ("--max-bytes", size),
                "max_attempts" => ("--max-attempts", |most| or(most, "no limit", most.to_string())),
                "lease_timeout" => {
                    ("--lease", |ns| or(ns, "no limit", format!("{:?}", Duration::from_nanos(ns))))
                }
                other => (other, |number| number.to_string()),
            };
            (object, format!("{option} {}, not {}", words(*found), words(*asked)))
        }
        OpenError::Codec { object, found, asked } => {
            (object, format!("--codec {}, not {}", codec_word(*found), codec_word(*asked)))
        }
        _ => return error.into(),
    };
    refusal(
        "disagree",
        DISAGREE,
        format!(
            "{name} was made with {message}: say the same, or nothing, or remove it first (`procession rm`)"
        ),
    )
}

/// What a codec is called where it is typed, and in `--json`.
pub(super) fn codec_word(id: u32) -> String {
    let is = |codec: Codec| codec.id() == id;
    if is(Codec::Bytes) { "text".to_owned() } else { codec_name(id).to_lowercase() }
}

fn or(number: u64, none: &str, words: String) -> String {
    if number == 0 { none.to_owned() } else { words }
}
