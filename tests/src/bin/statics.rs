//! Ends with everything in hand: in statics, in forgotten values, and by `exit` in the middle of a function.
#![expect(clippy::unwrap_used, clippy::mem_forget, reason = "this is a program of the tests")]

use procession::{Event, Pool, Queue, Value, pipe};
use std::sync::LazyLock;

static JOBS: LazyLock<Queue<u32>> = LazyLock::new(|| Queue::new().unwrap());
static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(2).unwrap());

fn main() {
    procession::init();
    match std::env::args().nth(1).as_deref() {
        Some("queue") => JOBS.put(&1).unwrap(),
        Some("pool") => assert_eq!(POOL.map(|n: u32| n + 1, 0..3).unwrap(), [1, 2, 3]),
        Some("forgotten") => {
            std::mem::forget((Value::<u32>::new(0).unwrap(), pipe::<u32>().unwrap()));
            std::mem::forget(Event::options().ephemeral().create("event").unwrap());
            let queue: Queue<Vec<u8>> = Queue::options().bytes(256).anonymous().unwrap();
            queue.put(&vec![1; 3000]).unwrap();
            std::mem::forget(queue);
        }
        Some("left") => {
            let _queue: Queue<u32> = Queue::new().unwrap();
            procession::leave();
            // SAFETY: it ends the process.
            #[expect(unsafe_code, reason = "no handler runs")]
            unsafe {
                libc::_exit(0)
            }
        }
        Some("exit") => {
            let _queue: Queue<u32> = Queue::new().unwrap();
            std::process::exit(0);
        }
        _ => std::process::exit(2),
    }
}
