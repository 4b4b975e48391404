//! One worker of `procession queue work`: gets an item, runs the command for it, acknowledges it, and so on.
//!
//! | step | SIGKILL to this process, or to the command | the item |
//! |---|---|---|
//! | it is leased: as long as this process, or its ward, lives, and for no time | | is there again |
//! | the command is started as this process's ward (`registry/ward.rs`) | the kernel kills the command with this process | is there again once both have ended: no two commands ever have one item |
//! | the command has ended, its status is taken | | is there again |
//! | the item is acknowledged, given back, or given up | | is done, there again, or a dead letter |

use super::item::{text_of, words_of};
use super::work::{Deed, Job};
use crate::passed_on::{ASKS_FOR_THE_END, interruptibly};
use crate::wrap::{self, Limits, Outcome, TOO_LONG, Wrapped};
use procession::shm::Registration;
use procession::{AckError, Encoded, GetError, JoinableQueue, Lease, WaitAnyError, wait};
use procession_sys::pidfd::Ended;
use procession_sys::signals::{self as sig, Inbox};
use procession_sys::{Deadline, memfd};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

/// What stands for the item in the command.
const PLACE: &[u8] = b"{}";

/// A worker.
pub(super) struct Worker<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) queue: JoinableQueue<Encoded>,
    /// Which of the workers of one `queue work` it is, from 1 on.
    pub(super) slot: u32,
    pub(super) inbox: &'a Inbox,
    pub(super) registration: &'static Registration,
    /// Is told what became of each item.
    pub(super) note: &'a mut dyn FnMut(Deed),
}

/// What is next.
enum Next {
    Item(Lease<Encoded>),
    /// There is nothing more to do.
    End,
    /// A signal asks for the end.
    Asked(i32),
}

impl Worker<'_> {
    /// Works until there is nothing more to do, or a signal asks for the end, which it returns.
    ///
    /// # Errors
    /// Why it cannot go on; what it had leased is there again.
    pub(super) fn work(mut self) -> Result<Option<i32>, Failure> {
        loop {
            let asked_by = match self.next()? {
                Next::End => return Ok(None),
                Next::Asked(signal) => Some(signal),
                Next::Item(lease) => self.handle(lease)?,
            };
            if asked_by.is_some() {
                return Ok(asked_by);
            }
        }
    }

    fn next(&self) -> Result<Next, Failure> {
        while let Some(taken) = self.inbox.take(Deadline::PASSED) {
            if ASKS_FOR_THE_END.contains(&taken.signal) {
                return Ok(Next::Asked(taken.signal));
            }
            if taken.signal == sig::SIGTSTP {
                self.inbox.let_act(taken.signal);
            }
        }
        let (got, signal) = interruptibly(self.inbox, || self.get());
        match (got, signal) {
            (got, Some(signal)) => {
                if let Ok(Some(lease)) = got {
                    lease.put_back().or_else(unless_stale)?;
                }
                Ok(Next::Asked(signal))
            }
            (Ok(Some(lease)), None) => Ok(Next::Item(lease)),
            (Ok(None) | Err(GetError::Closed(_)), None) => Ok(Next::End),
            (Err(error), None) => Err(error.into()),
        }
    }

    /// The next item; `None` if it is to end when there is none.
    fn get(&self) -> Result<Option<Lease<Encoded>>, GetError> {
        if !self.job.until_empty {
            return self.queue.get().map(Some);
        }
        loop {
            match self.queue.try_get() {
                Err(GetError::WouldBlock(_)) if self.queue.unfinished() == 0 => return Ok(None),
                Err(GetError::WouldBlock(queue)) => {
                    // What others have leased may come back.
                    let finished = self.queue.finished();
                    if let Err(WaitAnyError::Interrupted) = wait(&[&self.queue, &finished]) {
                        return Err(GetError::Interrupted(queue));
                    }
                }
                got => return got.map(Some),
            }
        }
    }

    /// Runs the command for an item; the signal that has asked for the end meanwhile.
    fn handle(&mut self, lease: Lease<Encoded>) -> Result<Option<i32>, Failure> {
        // It is this process's as long as it lives: the time of the command is watched here.
        match lease.extend(Duration::MAX) {
            Ok(()) => {}
            // It was leased for so short a time that it is over.
            Err(AckError::StaleLease { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        if lease.attempt() > self.job.most_attempts() {
            self.give_up(lease, "was tried as often as it may be, and killed who tried it")?;
            return Ok(None);
        }
        let outcome = match self.run(&lease) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(why)) => {
                self.give_up(lease, why)?;
                return Ok(None);
            }
            Err(failure) => {
                // The item is not to blame.
                lease.put_back()?;
                return Err(failure);
            }
        };
        let why = match outcome.ended {
            Ended::Exited(0) => None,
            _ if outcome.timed_out => Some("ran for longer than it may, and was ended".to_owned()),
            Ended::Exited(code) => Some(format!("failed with exit code {code}")),
            Ended::Signaled(signal) => Some(format!("was ended by {}", sig::words(signal))),
        };
        match why {
            None => self.done(lease)?,
            Some(_) if outcome.asked_by.is_some() => {
                lease.put_back().or_else(unless_stale)?;
                (self.note)(Deed::PutBack);
            }
            Some(why) if lease.attempt() >= self.job.most_attempts() => self.give_up(lease, &why)?,
            Some(why) => {
                let (attempt, most) = (lease.attempt(), self.job.most_attempts());
                self.tell(&lease, &format!("{why} in attempt {attempt}{}: it is tried again", of(most)));
                drop(lease);
                (self.note)(Deed::Retried);
            }
        }
        Ok(outcome.asked_by)
    }

    fn done(&mut self, lease: Lease<Encoded>) -> Result<(), Failure> {
        // Its own command may have decided otherwise, by the token.
        lease.task_done().or_else(unless_stale)?;
        (self.note)(Deed::Done);
        Ok(())
    }

    fn give_up(&mut self, lease: Lease<Encoded>, why: &str) -> Result<(), Failure> {
        self.tell(&lease, &format!("{why}: it is a dead letter"));
        lease.give_up().or_else(unless_stale)?;
        (self.note)(Deed::Failed);
        Ok(())
    }

    fn tell(&self, lease: &Lease<Encoded>, what: &str) {
        let item = super::item::shown(self.job.codec, lease);
        output::warn(&format!("item {} of queue {:?} ({item}) {what}", lease.id(), self.job.name));
    }

    /// Runs the command for the item; how that ended, or why no command can be run for this item.
    fn run(&self, lease: &Lease<Encoded>) -> Result<Result<Outcome, &'static str>, Failure> {
        let text = text_of(self.job.codec, lease, self.job.raw);
        let on_stdin = self.job.on_stdin;
        if !on_stdin && text.contains(&0) {
            return Ok(Err("has a zero byte in it, which no argument can have (--stdin)"));
        }
        let command = if on_stdin { self.job.command.to_vec() } else { words(self.job.command, &text) };
        let input = if on_stdin { file_of(&text)? } else { File::open("/dev/null")? };
        let environment = self.environment(lease);
        let limits = Limits { time: self.job.limit, kill_after: self.job.kill_after, passes_on: true };
        let wrapped = Wrapped {
            command: &command,
            environment: &environment,
            limits,
            stdin: Some(input.as_fd()),
            is_lost: None,
        };
        match wrap::run(wrapped, self.inbox, self.registration) {
            Err(failure) if failure.reason() == TOO_LONG => {
                Ok(Err("is longer than an argument may be (--stdin)"))
            }
            outcome => outcome.map(Ok),
        }
    }

    /// What the command finds of the item.
    fn environment(&self, lease: &Lease<Encoded>) -> Vec<(&'static str, Option<String>)> {
        let token = lease.token();
        let mut changes = vec![
            ("PROCESSION_QUEUE", Some(self.job.name.to_owned())),
            ("PROCESSION_ITEM", Some(token.id().to_string())),
            ("PROCESSION_TOKEN", Some(words_of(token))),
            ("PROCESSION_ATTEMPT", Some(lease.attempt().to_string())),
            ("PROCESSION_SLOT", Some(self.slot.to_string())),
        ];
        if let Some(namespace) = self.job.namespace {
            changes.push(("PROCESSION_NAMESPACE", Some(namespace.name().to_owned())));
        }
        changes
    }
}

/// The command for an item: it stands in place of each `{}`, or else behind all words, as with xargs and parallel.
fn words(command: &[OsString], item: &[u8]) -> Vec<OsString> {
    let has_place = command.iter().any(|word| word.as_bytes().windows(PLACE.len()).any(|part| part == PLACE));
    let words = command.iter().map(|word| filled(word, item));
    words.chain((!has_place).then(|| OsStr::from_bytes(item).to_owned())).collect()
}

fn filled(word: &OsStr, item: &[u8]) -> OsString {
    let (mut filled, mut rest) = (Vec::new(), word.as_bytes());
    while let Some(place) = rest.windows(PLACE.len()).position(|part| part == PLACE) {
        filled.extend_from_slice(&rest[..place]);
        filled.extend_from_slice(item);
        rest = &rest[place + PLACE.len()..];
    }
    filled.extend_from_slice(rest);
    OsString::from_vec(filled)
}

/// What is read from the beginning on is the item.
fn file_of(item: &[u8]) -> Result<File, Failure> {
    let file = memfd::create("item")?;
    memfd::write_at(&file, item, 0)?;
    Ok(file)
}

fn unless_stale(error: AckError) -> Result<(), AckError> {
    if matches!(error, AckError::StaleLease { .. }) { Ok(()) } else { Err(error) }
}

/// ` of 4`, if there is a limit.
fn of(most: u32) -> String {
    if most == u32::MAX { String::new() } else { format!(" of {most}") }
}

#[cfg(test)]
mod tests {
    use super::words;
    use std::ffi::OsString;

    #[test]
    fn the_item_stands_where_it_is_to_or_last() {
        let words = |line: &[&str]| words(&line.iter().map(OsString::from).collect::<Vec<_>>(), b"a b");
        assert_eq!(words(&["x", "--f={}.wav", "{}{}", "{"]), ["x", "--f=a b.wav", "a ba b", "{"]);
        assert_eq!(words(&["x", "-v"]), ["x", "-v", "a b"]);
    }
}
