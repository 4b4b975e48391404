//! A program on the same objects as one in Python: `python/tests/test_languages.py` tells it line by line what to do, and
//! it says a line when it has done it.

use procession::{Array, Bytes, Codec, Encoded, JoinableQueue, Lock, LockError, Queue, Value};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

/// What goes through the queues: of each kind of thing that the codecs have.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    id: i64,
    what: String,
    marks: Vec<f64>,
    is_done: Option<bool>,
    size: Size,
}

#[derive(Debug, Serialize, Deserialize)]
struct Size {
    width: u32,
    height: u32,
}

type Outcome = Result<String, Box<dyn Error>>;

fn main() -> ExitCode {
    procession::init();
    let mut kept = Kept::default();
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        let answer = kept.does(&words).unwrap_or_else(|error| format!("error: {error}"));
        if writeln!(std::io::stdout(), "{answer}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// What it has in its hands.
#[derive(Default)]
struct Kept {
    leases: Vec<procession::Lease<Job>>,
}

impl Kept {
    fn does(&mut self, words: &[&str]) -> Outcome {
        match *words {
            ["acquire", name] => acquired(name, Lock::acquire),
            ["recover", name] => acquired(name, Lock::recover),
            ["release", name] => {
                Lock::open(name)?.release()?;
                Ok("released".to_owned())
            }
            ["put", "bytes", name] => {
                let queue: Queue<Bytes> = Queue::open_or_create(name)?;
                queue.bytes().put(&[0, 0xff, b'x'])?;
                Ok("put".to_owned())
            }
            ["get", "bytes", name] => {
                let queue: Queue<Bytes> = Queue::open_or_create(name)?;
                Ok(format!("{:?}", queue.bytes().get()?))
            }
            ["put", codec, name] => {
                jobs(codec, name)?.put(&job())?;
                Ok("put".to_owned())
            }
            ["get", codec, name] => {
                let Job { id, what, marks, is_done, size } = jobs(codec, name)?.get()?;
                Ok(format!("{id} {what} {marks:?} {is_done:?} {}x{}", size.width, size.height))
            }
            ["relay", from, to] => {
                let (from, to) = (Queue::<Encoded>::open(from)?, Queue::<Encoded>::open(to)?);
                to.bytes().put(&from.get()?)?;
                Ok("relayed".to_owned())
            }
            ["lease", name] => {
                let queue: JoinableQueue<Job> = JoinableQueue::options().codec(Codec::Json).open(name)?;
                let lease = queue.get()?;
                let said = format!("{} in attempt {}", lease.id, lease.attempt());
                self.leases.push(lease);
                Ok(said)
            }
            ["done"] => {
                self.leases.pop().ok_or("nothing was leased")?.task_done()?;
                Ok("done".to_owned())
            }
            ["add", "value", name] => {
                let value: Value<i32> = Value::open(name)?;
                Ok(value.update(|number| {
                    *number += 1;
                    number.to_string()
                })?)
            }
            ["add", "array", name] => {
                let array: Array<f64> = Array::open(name)?;
                array
                    .update(0..array.len(), |numbers| numbers.iter_mut().for_each(|number| *number += 0.5))?;
                Ok(format!("{:?}", array.read(0..array.len())?))
            }
            _ => Err(format!("this is nothing to do: {words:?}").into()),
        }
    }
}

/// Has the lock until this process ends, or is told to release it.
fn acquired(
    name: &str,
    how: impl for<'l> Fn(&'l Lock) -> Result<procession::LockGuard<'l>, LockError>,
) -> Outcome {
    let lock = Lock::open(name)?;
    match how(&lock) {
        Ok(guard) => {
            std::mem::forget(guard);
            Ok("acquired".to_owned())
        }
        Err(LockError::OwnerDied { pid, .. }) => Ok(format!("OwnerDied {pid}")),
        Err(error) => Err(error.into()),
    }
}

fn jobs(codec: &str, name: &str) -> Result<Queue<Job>, Box<dyn Error>> {
    let codec = match codec {
        "json" => Codec::Json,
        "msgpack" => Codec::MsgPack,
        "bincode" => Codec::Bincode,
        other => return Err(format!("a codec of what has fields is wanted, not {other}").into()),
    };
    Ok(Queue::options().codec(codec).open_or_create(name)?)
}

fn job() -> Job {
    let size = Size { width: 640, height: 480 };
    Job { id: -7, what: "wäsche".to_owned(), marks: vec![1.5, 2.0], is_done: None, size }
}
