//! What the child processes of the bench can be.

use crate::actor::Control;
use crate::error::{BenchError, Result};
use crate::meeting::Meeting;
use crate::ours::barrier::Barrier;
use crate::ours::condition::Turns;
use crate::ours::event::Events;
use crate::ours::pipe::Pipes;
use crate::rival::futex::RawFutex;
use crate::{fairness, lock, meeting, ours, recovery, rival, waiters};

/// Plays the role `name` until the bench has no more orders.
pub(crate) fn play(name: &str, parent: u32, rest: &[String]) -> Result<()> {
    let control = &mut Control::of(parent)?;
    match name {
        "ours/hammer" => lock::hammer::<ours::lock::Lock>(control, rest),
        "pthread/hammer" => lock::hammer::<rival::pthread::RobustMutex>(control, rest),
        "ours/hammer-semaphore" => lock::hammer::<ours::semaphore::Semaphore>(control, rest),
        "ours/write" => lock::hammer::<ours::rwlock::Writing>(control, rest),
        "ours/read" => lock::hammer::<ours::rwlock::Reading>(control, rest),
        "ours/hog" => fairness::hog::<ours::lock::Lock>(control, rest),
        "ours/join" => ours::crowded::join(control),
        "ours/crowd" => waiters::wait(control, rest),
        "recovery/hold" => recovery::hold(control, rest),
        "recovery/wait" => recovery::wait(control, rest),
        Events::ROLE => meeting::meet::<Events>(control, rest),
        Turns::ROLE => meeting::meet::<Turns>(control, rest),
        Barrier::ROLE => meeting::meet::<Barrier>(control, rest),
        RawFutex::ROLE => meeting::meet::<RawFutex>(control, rest),
        Pipes::ROLE => meeting::meet::<Pipes>(control, rest),
        "pipe/produce" => ours::pipe::produce(control, rest),
        "pipe/consume" => ours::pipe::consume(control, rest),
        "pipe/produce-bytes" => ours::pipe::produce_bytes(control, rest),
        "pipe/consume-bytes" => ours::pipe::consume_bytes(control, rest),
        "pipe/produce-vecs" => ours::pipe::produce_vecs(control, rest),
        "pipe/consume-vecs" => ours::pipe::consume_vecs(control, rest),
        "pipe/ping" => ours::pipe::ping(control, rest),
        "pipe/pong" => ours::pipe::pong(control, rest),
        "cache-line/ping" => rival::cache_line::ping(control, rest),
        "cache-line/pong" => rival::cache_line::pong(control, rest),
        "ours/produce" => ours::queue::produce(control, rest),
        "ours/consume" => ours::queue::consume(control, rest),
        "ours/produce-batches" => ours::queue::produce_batches(control, rest),
        "ours/consume-batches" => ours::queue::consume_batches(control, rest),
        "bytes/produce" => ours::bytes::produce(control, rest),
        "bytes/consume" => ours::bytes::consume(control, rest),
        "vecs/produce" => ours::bytes::produce_vecs(control, rest),
        "vecs/consume" => ours::bytes::consume_vecs(control, rest),
        "slots/produce" => ours::bytes::produce_slots(control, rest),
        "slots/consume" => ours::bytes::consume_slots(control, rest),
        "ours/ping" => ours::queue::ping(control, rest),
        "ours/pong" => ours::queue::pong(control, rest),
        "boost/produce" => rival::boost::become_program(control, "produce", rest),
        "boost/consume" => rival::boost::become_program(control, "consume", rest),
        "iceoryx2/produce" => rival::iceoryx2::produce(control, rest),
        "iceoryx2/consume" => rival::iceoryx2::consume(control, rest),
        "iceoryx2/produce-loans" => rival::iceoryx2::produce_loans(control, rest),
        "iceoryx2/consume-loans" => rival::iceoryx2::consume_loans(control, rest),
        "ipc-channel/produce" => rival::ipc_channel::produce(control, rest),
        "ipc-channel/consume" => rival::ipc_channel::consume(control),
        "ipc-channel/produce-bytes" => rival::ipc_channel::produce_bytes(control, rest),
        "ipc-channel/consume-bytes" => rival::ipc_channel::consume_bytes(control),
        "ipc-channel/ping" => rival::ipc_channel::ping(control, rest),
        "ipc-channel/pong" => rival::ipc_channel::pong(control),
        _ => Err(BenchError::Failed("no such role".to_owned())),
    }
}

/// The arguments of a role, which the bench itself wrote.
pub(crate) fn rest<const N: usize>(rest: &[String]) -> Result<[&str; N]> {
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    words.try_into().map_err(|_| BenchError::Failed(format!("wants {N} arguments, has {rest:?}")))
}
