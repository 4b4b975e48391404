//! The jobs of one `procession map`: one thread starts them, hears signals, reads what they say, prints it, and takes
//! exit statuses. It waits in one place only.

use super::inputs::{Inputs, Next, unreadable};
use super::job::{Capture, Job, Running, Told, When};
use super::joblog::Joblog;
use super::output::{Prefix, Printer, Stream};
use super::plan::{Mode, Plan};
use super::progress::{Counts, Progress};
use super::quote;
use super::record::{Outcome, Planned};
use super::results::Results;
use super::room::Room;
use super::spool::{Said, Spool};
use super::tally::Tally;
use super::template::Fill;
use crate::passed_on;
use crate::steer::Steering;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use procession_sys::clock::{now_ns, wall_ns};
use procession_sys::inherited;
use procession_sys::signals::Inbox;
use procession_sys::ward::{Signals, Start, spawn};
use procession_terminal::exit::{Failure, NOT_EXECUTABLE, NOT_FOUND};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{stderr, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

/// So many jobs are started before signals are heard again.
const STARTS_AT_ONCE: usize = 16;

/// All jobs.
#[derive(Debug)]
pub(super) struct Engine<'a> {
    pub(super) plan: &'a Plan,
    pub(super) inputs: Inputs,
    pub(super) inbox: Inbox,
    /// Readable when a signal has come.
    bell: OwnedFd,
    /// By pid.
    pub(super) running: BTreeMap<u32, Running>,
    /// Slots that were used and are free.
    free: BTreeSet<u32>,
    slots_used: u32,
    /// Jobs that failed and are tried again, by the moment and their number, with how they ended.
    pub(super) retries: BTreeMap<(u64, u64), (Job, Outcome)>,
    /// What processes hold that outlived their job: it is read, and forgotten.
    pub(super) strays: Vec<OwnedFd>,
    pub(super) spool: Spool,
    pub(super) printer: Printer,
    /// Jobs that have ended before one in front of them, if the order is kept, and whose turn it is.
    pub(super) ended: BTreeMap<u64, Finished>,
    pub(super) turn: u64,
    pub(super) kept: Kept,
    room: Room,
    pub(super) tally: Tally,
    pub(super) progress: Progress,
    /// How many jobs run at once.
    pub(super) slots: u32,
    /// No more jobs are started for a while, because somebody wishes it.
    pub(super) paused: bool,
    /// Where orders come from, if it has a name.
    pub(super) steering: Option<Steering>,
    /// An order stopped it when there were jobs left.
    pub(super) left_some: bool,
    /// No more jobs are started.
    pub(super) stopping: bool,
    /// How hard those that run were asked to end by signals to this process, and by which one first.
    pub(super) asked: u8,
    pub(super) asked_by: Option<i32>,
    /// When what nobody reads is given up, once the end was asked for.
    pub(super) prints_until: u64,
    /// There was no room for one more process, or one more descriptor: not before another has ended.
    pub(super) held_off: bool,
}

/// What is kept on disk.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) log: Option<Joblog>,
    pub(super) results: Option<Results>,
}

/// What is to be printed of a job that has ended.
#[derive(Debug, Default)]
pub(super) struct Finished {
    pub(super) parts: Vec<(Stream, Said, Prefix)>,
    pub(super) record: Option<Vec<u8>>,
}

/// What was ready when a wait ended.
struct Ready {
    signals: bool,
    orders: bool,
    inputs: bool,
    printer: bool,
    captures: Vec<(u32, usize)>,
    strays: Vec<usize>,
}

impl<'a> Engine<'a> {
    /// From now on no signal ends this process that is not ignored.
    pub(super) fn new(
        plan: &'a Plan,
        inputs: Inputs,
        kept: Kept,
        room: Room,
        progress: Progress,
    ) -> Result<Self, Failure> {
        let inbox = passed_on::inbox();
        let bell = inbox.bell()?;
        Ok(Self {
            plan,
            inputs,
            inbox,
            bell,
            running: BTreeMap::new(),
            free: BTreeSet::new(),
            slots_used: 0,
            retries: BTreeMap::new(),
            strays: Vec::new(),
            spool: Spool::default(),
            printer: Printer::default(),
            ended: BTreeMap::new(),
            turn: 1,
            kept,
            room,
            tally: Tally::default(),
            progress,
            slots: plan.slots,
            paused: false,
            steering: None,
            left_some: false,
            stopping: false,
            asked: 0,
            asked_by: None,
            prints_until: u64::MAX,
            held_off: false,
        })
    }

    /// Runs all jobs; why not, if something of this process's own failed.
    pub(super) fn run(&mut self) -> Result<(), Failure> {
        let mut failure = None;
        loop {
            let is_over = if failure.is_some() { self.running.is_empty() } else { self.is_done() };
            if is_over {
                break;
            }
            match self.turn() {
                Ok(()) => {}
                // The kernel kills those that run.
                Err(_) if failure.is_some() => break,
                Err(error) => {
                    self.stop_now();
                    failure = Some(error);
                }
            }
            if failure.is_some() {
                self.printer = Printer::default();
            }
        }
        self.progress.end(self.counts());
        failure.map_or(Ok(()), Err)
    }

    fn turn(&mut self) -> Result<(), Failure> {
        self.start_jobs()?;
        if self.is_done() { Ok(()) } else { self.wait() }
    }

    fn is_done(&self) -> bool {
        let has_more = !self.stopping && (!self.retries.is_empty() || !self.has_no_more_inputs());
        let has_printed = self.printer.stream().is_none() || self.prints_until <= now_ns();
        self.running.is_empty() && !has_more && has_printed
    }

    pub(super) fn has_no_more_inputs(&self) -> bool {
        self.inputs.total().is_some_and(|total| total == self.inputs.taken())
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            succeeded: self.tally.succeeded,
            failed: self.tally.failed,
            skipped: self.tally.skipped,
            running: self.running.len() as u64,
            total: self.inputs.total(),
        }
    }

    fn may_start(&self) -> bool {
        let has_slot = (self.running.len() as u64) < u64::from(self.slots);
        !self.stopping
            && !self.paused
            && !self.held_off
            && has_slot
            && self.room.is_there()
            && !self.printer.is_congested()
    }

    fn start_jobs(&mut self) -> Result<(), Failure> {
        for _ in 0..STARTS_AT_ONCE {
            self.room.look();
            if !self.may_start() {
                break;
            }
            let Some(job) = self.next_job() else { break };
            if self.plan.dry_run {
                self.show(&job)?;
            } else {
                self.start(job)?;
            }
        }
        Ok(())
    }

    /// The next job that is to be started now.
    fn next_job(&mut self) -> Option<Job> {
        if let Some(first) = self.retries.first_entry().filter(|first| first.key().0 <= now_ns()) {
            let (mut job, _) = first.remove();
            job.attempt += 1;
            return Some(job);
        }
        loop {
            let items = match self.inputs.next() {
                Next::Items(items) => items,
                Next::Wait | Next::End => return None,
            };
            let (seq, hash) = (self.inputs.taken(), self.plan.hash(&items));
            if self.kept.log.as_mut().is_some_and(|log| log.take_done(hash)) {
                self.tally.skipped += 1;
                self.finish_in_order(seq, Finished::default());
                continue;
            }
            let place = self.kept.results.as_mut().map(|results| results.place(&items, self.plan.width, seq));
            return Some(Job { seq, items, hash, attempt: 1, place });
        }
    }

    /// Prints what would be run.
    fn show(&mut self, job: &Job) -> Result<(), Failure> {
        let command = self.plan.command(Fill { items: &job.items, seq: job.seq, slot: 1 });
        let mut line = match self.plan.mode {
            Mode::Records => serde_json::to_vec(&Planned::of(job, &command))?,
            _ => quote::line(&command).into_bytes(),
        };
        line.push(b'\n');
        self.printer.print(Stream::Out, line);
        Ok(())
    }

    fn start(&mut self, job: Job) -> Result<(), Failure> {
        let slot = self.free.pop_first().unwrap_or_else(|| {
            self.slots_used += 1;
            self.slots_used
        });
        let fill = Fill { items: &job.items, seq: job.seq, slot };
        let command = self.plan.command(fill);
        let program = self.plan.program(&command, fill, job.attempt);
        let (captures, ends) = match self.captures(&job, fill) {
            Ok(made) => made,
            Err(failure) => return self.hold_off(job, slot, failure),
        };
        let blocked = self.inbox.blocked_before;
        let signals = Signals { blocked, ignores_sigpipe: inherited::ignored_sigpipe() };
        let streams = [self.plan.stdin(), ends.first().map(AsFd::as_fd), ends.get(1).map(AsFd::as_fd)];
        let start = Start { leads_group: true, streams, ..Start::with(signals) };
        let (began, began_at) = (wall_ns(), now_ns());
        let until = self.plan.until(began_at);
        let told = Told::Nothing;
        let (timed_out, stopped) = (false, false);
        let mut running = Running {
            job,
            pid: 0,
            slot,
            command,
            began,
            began_at,
            until,
            told,
            timed_out,
            stopped,
            captures,
        };
        let started = program.map_or(Err(Errno::EINVAL.into()), |program| spawn(&program, start));
        match started {
            Ok(started) => {
                running.pid = started.pid;
                self.running.insert(started.pid, running);
                Ok(())
            }
            Err(error) if is_for_now(&error) => self.hold_off(running.job, slot, too_many(&error)),
            Err(error) => {
                drop(ends);
                self.could_not_start(running, &error)
            }
        }
    }

    /// The job is started when another has ended; if none runs, it never can be.
    fn hold_off(&mut self, job: Job, slot: u32, failure: Failure) -> Result<(), Failure> {
        self.free.insert(slot);
        if self.running.is_empty() {
            return Err(failure);
        }
        self.held_off = true;
        let attempt = job.attempt - 1;
        self.retries.insert((0, job.seq), (Job { attempt, ..job }, Outcome::not_run(NOT_EXECUTABLE)));
        Ok(())
    }

    fn could_not_start(&mut self, running: Running, error: &std::io::Error) -> Result<(), Failure> {
        let code =
            if error.raw_os_error() == Some(Errno::ENOENT as i32) { NOT_FOUND } else { NOT_EXECUTABLE };
        let command = running.command.first().map(|word| quote::quoted(word)).unwrap_or_default();
        let why = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EINVAL) => "an argument has a NUL byte in it, which none can have".to_owned(),
            Some(Errno::E2BIG) => "its arguments are too long: use -n".to_owned(),
            _ => error.to_string(),
        };
        self.printer.print(Stream::Err, format!("procession: cannot run {command}: {why}\n").into_bytes());
        self.settle(running, Outcome::not_run(code))
    }

    /// Pipes for what the job says, and the job's ends of them.
    fn captures(&mut self, job: &Job, fill: Fill<'_>) -> Result<(Vec<Capture>, Vec<OwnedFd>), Failure> {
        let when = match self.plan.mode {
            Mode::Shared => return Ok((Vec::new(), Vec::new())),
            Mode::Captured(when) => when,
            Mode::Records => When::AtEnd,
        };
        let tag = self.plan.tag.as_ref().map(|tag| {
            let mut text = tag.line(fill);
            text.push(b'\t');
            Rc::from(text)
        });
        let mut files = match &job.place {
            Some(place) => Results::make(place, job.seq)?.map(Some),
            None => [None, None],
        };
        let mut captures = Vec::with_capacity(2);
        let mut ends = Vec::with_capacity(2);
        for (stream, file) in [Stream::Out, Stream::Err].into_iter().zip(&mut files) {
            let prefix = Prefix::new(tag.clone());
            let (capture, end) = Capture::pipe(stream, when, prefix, file.take()).map_err(|errno| {
                Failure::Error(
                    format!("cannot make a pipe for a job: {errno}; raise `ulimit -n`, or lower -j").into(),
                )
            })?;
            captures.push(capture);
            ends.push(end);
        }
        Ok((captures, ends))
    }

    /// Frees the slot of a job that has ended.
    pub(super) fn free(&mut self, slot: u32) {
        self.free.insert(slot);
        self.held_off = false;
    }

    /// Waits until something happens, and deals with it.
    fn wait(&mut self) -> Result<(), Failure> {
        let ready = self.poll()?;
        if ready.signals {
            self.take_signals()?;
        }
        if ready.orders {
            self.take_orders();
        }
        if ready.inputs {
            self.inputs.read().map_err(|error| unreadable(&error))?;
            self.halt_if_reached();
        }
        for (pid, index) in ready.captures {
            if let Some(capture) =
                self.running.get_mut(&pid).and_then(|running| running.captures.get_mut(index))
            {
                capture.read_some(&mut self.spool, &mut self.printer)?;
            }
        }
        for index in ready.strays.into_iter().rev() {
            if !matches!(nix::unistd::read(&self.strays[index], &mut [0; 4096]), Ok(1..) | Err(Errno::EAGAIN))
            {
                self.strays.swap_remove(index);
            }
        }
        if ready.printer {
            let Self { printer, spool, progress, .. } = self;
            progress.aside(|| printer.step(spool))?;
        }
        self.keep_times();
        self.progress.show(self.counts());
        Ok(())
    }

    fn poll(&mut self) -> Result<Ready, Failure> {
        let (out, err) = (stdout(), stderr());
        let wants_inputs = !self.stopping && (self.inputs.is_hungry() || self.wants_all_inputs());
        let inputs =
            self.inputs.fd().filter(|_| wants_inputs && (self.may_start() || self.wants_all_inputs()));
        let printer = self.printer.stream().map(|stream| match stream {
            Stream::Out => out.as_fd(),
            Stream::Err => err.as_fd(),
        });
        let by_line = self.plan.mode == Mode::Captured(When::ByLine);
        let reads = !(by_line && self.printer.is_congested());
        let mut captures = Vec::new();
        let mut fds = vec![PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
        let orders = self.steering.as_ref().map(Steering::fd);
        fds.extend(orders.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(inputs.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(printer.map(|fd| PollFd::new(fd, PollFlags::POLLOUT)));
        for running in self.running.values().filter(|_| reads) {
            for (index, capture) in running.captures.iter().enumerate() {
                if let Some(fd) = capture.fd() {
                    fds.push(PollFd::new(fd, PollFlags::POLLIN));
                    captures.push((running.pid, index));
                }
            }
        }
        fds.extend(self.strays.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        let timeout = self.patience();
        match ppoll(&mut fds, timeout.map(TimeSpec::from_duration), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
        let mut next = || ready.next().unwrap_or(false);
        let signals = next();
        let orders = orders.is_some() && next();
        let inputs = inputs.is_some() && next();
        let printer = printer.is_some() && next();
        captures.retain(|_| next());
        let strays = (0..self.strays.len()).filter(|_| next()).collect();
        Ok(Ready { signals, orders, inputs, printer, captures, strays })
    }

    /// Whether inputs are to be read although no job waits for one: to know how many there are.
    fn wants_all_inputs(&self) -> bool {
        (self.progress.wants_total() || self.steering.is_some()) && !self.inputs.are_many()
            || self.plan.halt.needs_total()
    }

    /// How long to wait; `None` for ever.
    fn patience(&self) -> Option<Duration> {
        if self.may_start() && self.inputs.is_at_hand() {
            return Some(Duration::ZERO);
        }
        let ends = self.running.values().map(|running| running.until).min().unwrap_or(u64::MAX);
        let retry = self.retries.keys().next().filter(|_| self.may_start()).map_or(u64::MAX, |(at, _)| *at);
        let gives_up = if self.running.is_empty() { self.prints_until } else { u64::MAX };
        let next = ends.min(retry).min(gives_up).min(self.progress.next()).min(self.room.next());
        (next != u64::MAX).then(|| Duration::from_nanos(next.saturating_sub(now_ns())))
    }

    /// Ends those whose time is over.
    fn keep_times(&mut self) {
        let now = now_ns();
        let patience = self.plan.kill_after;
        for running in self.running.values_mut().filter(|running| running.until <= now) {
            match running.told {
                Told::Nothing => {
                    running.timed_out = true;
                    running.ask_to_end(patience);
                }
                Told::ToEnd | Told::Killed => running.kill(),
            }
        }
    }
}

/// Whether a program can be started when another one has ended.
fn is_for_now(error: &std::io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE))
}

fn too_many(error: &std::io::Error) -> Failure {
    Failure::Error(
        format!("cannot start a job: {error}; too many processes (`ulimit -u`), or no memory").into(),
    )
}
