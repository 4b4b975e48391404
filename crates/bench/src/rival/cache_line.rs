//! Two processes and two cache lines: a store here, a load that spins there. Nothing between processes is
//! faster.

use crate::actor::Control;
use crate::error::Result;
use crate::ours::Session;
use crate::page::Page;
use crate::queue::{self, Kind, Made};
use crate::roles;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

pub(crate) const CACHE_LINE: Kind = Kind {
    make,
    bytes: None,
    produce: "no such role",
    consume: "no such role",
    ping: "cache-line/ping",
    pong: "cache-line/pong",
};

fn make(_: &Session, _: &Kind, _: &str) -> Result<Made> {
    let page = Page::create()?;
    Ok(Made { address: page.address(), _keep: Box::new(page) })
}

/// The words of the page, one each way; a message is one more than its number, and 0 none.
const THERE: usize = 2;
const BACK: usize = 3;

pub(crate) fn ping(control: &mut Control, rest: &[String]) -> Result<()> {
    let [address] = roles::rest(rest)?;
    let page = Page::open(address)?;
    queue::ping(control, |message| put(page.word(THERE), message), || get(page.word(BACK)))
}

pub(crate) fn pong(control: &mut Control, rest: &[String]) -> Result<()> {
    let [address] = roles::rest(rest)?;
    let page = Page::open(address)?;
    control.answer(&format!("ready {address}"))?;
    queue::pong(control, || get(page.word(THERE)), |message| put(page.word(BACK), message))
}

fn put(word: &AtomicU64, message: u64) -> Result<()> {
    word.store(message + 1, Release);
    Ok(())
}

fn get(word: &AtomicU64) -> Result<u64> {
    loop {
        let found = word.load(Acquire);
        if found != 0 {
            // Only its owner writes here until the next message is asked for.
            word.store(0, Release);
            return Ok(found - 1);
        }
        std::hint::spin_loop();
    }
}
