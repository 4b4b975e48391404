//! Two processes that wake each other by nothing but the system call, on two words that both map.
//!
//! This is what any object that sleeps has to pay: a store and `FUTEX_WAKE` here, `FUTEX_WAIT` there. Nobody
//! is recovered, nobody spins, and there is no deadline.
#![expect(unsafe_code, reason = "the futex system call takes addresses")]

use crate::error::Result;
use crate::meeting::{Meeting, Who};
use crate::ours::Session;
use crate::page::Page;
use std::ptr::null;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

/// One word for each direction, 1 from the signal until the other has seen it.
pub(crate) struct RawFutex(Page);

impl Meeting for RawFutex {
    const ROLE: &'static str = "futex/meet";

    fn create(_: &Session) -> Result<Self> {
        Ok(RawFutex(Page::create()?))
    }

    fn address(&self) -> String {
        self.0.address()
    }

    fn open(address: &str) -> Result<Self> {
        Page::open(address).map(RawFutex)
    }

    fn signal(&self, me: Who) -> Result<()> {
        let word = self.0.word(me.index());
        word.store(1, Release);
        futex(word, libc::FUTEX_WAKE, 1);
        Ok(())
    }

    fn wait(&self, me: Who) -> Result<()> {
        let word = self.0.word(me.other().index());
        while word.load(Acquire) == 0 {
            futex(word, libc::FUTEX_WAIT, 0);
        }
        word.store(0, Release);
        Ok(())
    }
}

/// What it answers is of no interest: the caller looks at the word again.
fn futex(word: &AtomicU64, operation: i32, value: u32) {
    let timeout = null::<libc::timespec>();
    // SAFETY: the low half of `word` is a live, aligned 32-bit word, and there is no timeout.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, timeout) };
}
