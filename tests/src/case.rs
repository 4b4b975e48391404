//! Which case of its type an error is, in a word that a test can compare: `Debug` of the library's errors
//! prints what people read.

use procession::codec::{DecodeError, EncodeError, NotBytes};
use procession::{
    AckError, ArrayError, BarrierError, Bytes, CloseError, CollectionError, EventError, Fault, GetError,
    GetManyError, JoinError, LatchError, LockError, MemoryError, OnceError, OpenError, ProcessError,
    PutError, PutManyError, RecvError, ReleaseError, SemaphoreError, SendError, SlotHeld, UnusableEnd,
};
use std::error::Error;

/// The name of the case of an error of one of the types; a case with something inside says what that is.
macro_rules! cases {
    ($error:ident: $($Type:ident { $($Case:ident)* $(, $inside:pat => $said:expr)* })*) => {
        $(if let Some(error) = $error.downcast_ref::<$Type>() {
            #[allow(clippy::allow_attributes, unreachable_patterns, reason = "some types have one case")]
            return Some(match error {
                $($inside => $said,)*
                $($Type::$Case { .. } => stringify!($Case).to_owned(),)*
                _ => panic!("a case of {} that has no name here: {error}", stringify!($Type)),
            });
        })*
    };
}

/// The case's name, as in the source, with what tests want to know of it, and the cases of its causes behind
/// it.
///
/// # Panics
/// When it is a case that has no name here.
#[must_use]
pub fn case_of(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(one_case(error), |said, cause| said + " < " + &one_case(cause))
}

fn one_case(error: &(dyn Error + 'static)) -> String {
    let known = of_objects(error).or_else(|| of_messages(error)).or_else(|| of_processes(error));
    known.unwrap_or_else(|| format!("{error:?}"))
}

fn of_objects(error: &(dyn Error + 'static)) -> Option<String> {
    cases! { error:
        OpenError {
            InvalidName Impossible NotFound AlreadyExists WrongOwner OtherUser Elsewhere WrongMode
            Linked NotRegularFile NotAnObject Truncated Version Layout Kind Parameter ElementType Structure Codec
            RegistryChanged RegistryFull LifelineUnsupported NoSpace NoInodes Gone Corrupt Os
        }
        Fault { Orphaned RegistryChanged Corrupt Unregistered Inherited }
        LockError {
            WouldBlock TimedOut Deadlock Interrupted NotHeld,
            LockError::OwnerDied { pid, .. } => format!("OwnerDied {{ pid: {pid} }}"),
            LockError::Fault(fault) => one_case(fault)
        }
        ArrayError {
            OutOfRange,
            ArrayError::Lock(error) => inside("Lock", error)
        }
        CollectionError {
            OutOfRange NoMemory Full TooManyEntries Encode Decode,
            CollectionError::Lock(error) => inside("Lock", error)
        }
        OnceError { WouldBlock TimedOut Deadlock Interrupted, OnceError::Fault(fault) => one_case(fault) }
        EventError { TimedOut StillSet Owned Interrupted, EventError::Fault(fault) => one_case(fault) }
        LatchError {
            Interrupted,
            LatchError::TimedOut { arrived, count, .. } => {
                format!("TimedOut {{ arrived: {arrived}, count: {count} }}")
            },
            LatchError::Fault(fault) => one_case(fault)
        }
        SemaphoreError { WouldBlock TimedOut TooMany Interrupted, SemaphoreError::Fault(fault) => one_case(fault) }
        ReleaseError { Full, ReleaseError::Fault(fault) => one_case(fault) }
        BarrierError {
            TimedOut Action NoPlace NotAMember InAction Interrupted,
            BarrierError::Broken { cause, .. } => format!("Broken {{ cause: {cause:?} }}"),
            BarrierError::Fault(fault) => one_case(fault)
        }
        MemoryError {
            ,
            MemoryError::OutOfRange { start, end, size, .. } => {
                format!("OutOfRange {{ start: {start}, end: {end}, size: {size} }}")
            }
        }
    }
    None
}

fn of_messages(error: &(dyn Error + 'static)) -> Option<String> {
    cases! { error:
        PutError {
            WouldBlock TimedOut Closed TooLarge Spill Encode NotBytes SlotHeld Interrupted,
            PutError::Fault(fault) => one_case(fault)
        }
        GetError {
            WouldBlock TimedOut Closed BufferTooShort Spill Lost Decode NotBytes SlotHeld Interrupted,
            GetError::Fault(fault) => one_case(fault)
        }
        CloseError { SlotHeld, CloseError::Fault(fault) => one_case(fault) }
        JoinError { TimedOut Interrupted, JoinError::Fault(fault) => one_case(fault) }
        AckError { StaleLease StaleToken, AckError::Fault(fault) => one_case(fault) }
        PutManyError {
            ,
            failed => format!("PutManyError {{ put: {} }}", failed.put)
        }
        SendError {
            WouldBlock TimedOut PeerClosed TooLarge Encode NotBytes Interrupted,
            SendError::PeerDied { pid } => format!("PeerDied {{ pid: {pid} }}"),
            SendError::Unusable(why) => one_case(why),
            SendError::Fault(fault) => one_case(fault)
        }
        RecvError {
            WouldBlock TimedOut Eof Decode NotBytes Interrupted,
            RecvError::BufferTooShort { needed, len } => {
                format!("BufferTooShort {{ needed: {needed}, len: {len} }}")
            },
            RecvError::PeerDied { pid } => format!("PeerDied {{ pid: {pid} }}"),
            RecvError::Unusable(why) => one_case(why),
            RecvError::Fault(fault) => one_case(fault)
        }
        UnusableEnd {
            Closed,
            UnusableEnd::InUse { by, here } => format!("InUse {{ by: {by}, here: {here} }}"),
            UnusableEnd::Lost { pid } => format!("Lost {{ pid: {pid} }}")
        }
        SlotHeld { , _ => "SlotHeld".to_owned() }
        NotBytes { , _ => "NotBytes".to_owned() }
        EncodeError { TooLarge TooDeep TooManyEmpty CannotComeBack NotRepresentable Unsupported }
        DecodeError {
            TooLarge UnexpectedEnd TrailingBytes TooDeep OtherFields OtherVariants Undescribed Invalid Changed Refused
        }
    }
    let failed = error.downcast_ref::<GetManyError<Bytes>>()?;
    Some(format!("GetManyError {{ got: {}, rest: {} }}", failed.got.len(), failed.rest.len()))
}

fn of_processes(error: &(dyn Error + 'static)) -> Option<String> {
    cases! { error:
        ProcessError {
            Panicked Exited NeverStarted Refused Arguments,
            ProcessError::Killed { signal, .. } => format!("Killed {{ signal: {signal} }}")
        }
    }
    None
}

fn inside(case: &str, error: &(dyn Error + 'static)) -> String {
    format!("{case}({})", one_case(error))
}
