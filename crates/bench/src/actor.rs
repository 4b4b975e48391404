//! Processes that are told what to do line by line, seen from both ends.
//!
//! The bench holds an [`Actor`]; the process behind it holds a [`Control`]. Orders go to its stdin, answers
//! come from its stdout. An actor that ends early, or does not answer, is an error and never a hang. None
//! outlives the bench: a dropped actor is ended, and the kernel kills those whose bench was killed.

use crate::args;
use crate::error::{BenchError, Context, Result};
use crate::ours::Session;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than any order takes, even on a busy machine.
const ANSWER_TIMEOUT_MS: u16 = 60_000;
/// How long an idle actor has to end by itself when its stdin closes.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// A child process of the bench.
pub(crate) struct Actor {
    name: String,
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Actor {
    /// This executable once more, in the role `name`.
    pub(crate) fn role(session: &Session, name: &str, rest: &[&str]) -> Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.args(args::role(name)).args(rest).envs(session.environment());
        Actor::start(name, command)
    }

    /// Any program that reads orders and writes answers.
    pub(crate) fn start(name: &str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                BenchError::Unavailable(format!("{} not found", command.get_program().display()))
            }
            _ => BenchError::Failed(format!("starting {name}: {error}")),
        })?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(BenchError::Failed(format!("{name} has no pipes")));
        };
        Ok(Actor { name: name.to_owned(), child, orders: Some(orders), answers: BufReader::new(answers) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn tell(&mut self, order: &str) -> Result<()> {
        let Some(orders) = &mut self.orders else {
            return Err(BenchError::Failed(format!("{} takes no orders any more", self.name)));
        };
        // One write, so that the actor wakes once.
        orders.write_all(format!("{order}\n").as_bytes()).context(format!("telling {} to {order}", self.name))
    }

    /// The next line that the actor writes.
    pub(crate) fn answer(&mut self) -> Result<String> {
        if self.answers.buffer().is_empty() {
            let mut waiting = [PollFd::new(self.answers.get_ref().as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut waiting, PollTimeout::from(ANSWER_TIMEOUT_MS)).context("poll")?;
            if ready == 0 {
                return Err(BenchError::Failed(format!("{} does not answer", self.name)));
            }
        }
        let mut line = String::new();
        let length = self.answers.read_line(&mut line).context(format!("reading from {}", self.name))?;
        if length == 0 {
            return Err(BenchError::Failed(format!("{} ended without an answer", self.name)));
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    /// The next line, which is `word` and then numbers.
    pub(crate) fn numbers<const N: usize>(&mut self, word: &str) -> Result<[u64; N]> {
        let line = self.answer()?;
        let found = line.strip_prefix(word).map(numbers);
        found.and_then(|numbers| numbers.ok()).ok_or_else(|| {
            BenchError::Failed(format!("{} answered {line:?} instead of {word} and {N} numbers", self.name))
        })
    }

    /// The next line, which is `word` and then text.
    pub(crate) fn text(&mut self, word: &str) -> Result<String> {
        let line = self.answer()?;
        match line.strip_prefix(word) {
            Some(text) => Ok(text.trim().to_owned()),
            None => Err(BenchError::Failed(format!("{} answered {line:?} instead of {word}", self.name))),
        }
    }

    /// Has no more orders; how long the process takes to end then.
    pub(crate) fn end(mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.orders = None;
        self.child.wait().context(format!("waiting for {}", self.name))?;
        Ok(begun.elapsed())
    }

    /// SIGKILL, at once.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().context(format!("killing {}", self.name))
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.orders = None;
        let deadline = Instant::now() + END_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                // Its answer is of no interest any more: what matters is that it is gone.
                drop(self.child.kill());
                drop(self.child.wait());
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

/// The actor's own end.
pub(crate) struct Control(());

impl Control {
    /// Ties this process to `parent`. Call it before anything that can block.
    pub(crate) fn of(parent: u32) -> Result<Self> {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("set_pdeathsig")?;
        if std::os::unix::process::parent_id() != parent {
            return Err(BenchError::Failed("the bench is gone".to_owned()));
        }
        Ok(Control(()))
    }

    /// The next order's numbers after `word`; none when the bench has no more.
    pub(crate) fn order<const N: usize>(&mut self, word: &str) -> Result<Option<[u64; N]>> {
        Ok(self.any_order(&[word])?.map(|(_, numbers)| numbers))
    }

    /// Which of `words` the next order is, and its numbers; none when the bench has no more.
    pub(crate) fn any_order<'w, const N: usize>(
        &mut self,
        words: &[&'w str],
    ) -> Result<Option<(&'w str, [u64; N])>> {
        let mut line = String::new();
        if io::stdin().read_line(&mut line).context("reading an order")? == 0 {
            return Ok(None);
        }
        match words.iter().find_map(|word| Some((*word, line.strip_prefix(word)?))) {
            Some((word, rest)) => Ok(Some((word, numbers(rest)?))),
            None => Err(BenchError::Failed(format!("ordered {line:?}, able to {}", words.join(" or ")))),
        }
    }

    pub(crate) fn answer(&mut self, line: &str) -> Result<()> {
        io::stdout().write_all(format!("{line}\n").as_bytes()).context("answering")
    }
}

fn numbers<const N: usize>(text: &str) -> Result<[u64; N]> {
    let numbers = text.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<u64>, _>>();
    numbers.context(text)?.try_into().map_err(|_| BenchError::Failed(format!("not {N} numbers: {text:?}")))
}
