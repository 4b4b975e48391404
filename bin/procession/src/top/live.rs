//! The loop of `top`: waits for keys, signals and the next look, and does what the model orders.

use super::collect::Collector;
use super::model::{Model, SIGNALS};
use super::terminal::{self, Screen, Typed, give_back, is_taken};
use super::update::{Event, Order, update};
use super::view::view;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use procession::shm::gc;
use procession_sys::signals::{
    Inbox, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH, SignalSet,
};
use procession_sys::{Deadline, clock, pidfd};
use procession_terminal::exit::Failure;
use procession_terminal::output::printable;
use ratatui::crossterm::terminal::size;
use std::fs::File;
use std::io::{self, IsTerminal, Write, stdin};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How wide the terminal is.
pub(crate) fn width() -> Option<u16> {
    size().ok().map(|(columns, _)| columns).filter(|&columns| columns > 0)
}

/// # Errors
/// When `/dev/shm` cannot be read, or the terminal cannot be used.
pub(crate) fn run(collector: Collector, model: Model, interval: Duration) -> Result<(), Failure> {
    // Before the terminal is taken: from here on nothing ends this process that does not give it back.
    let inbox =
        Inbox::open(SignalSet::from_iter([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCONT, SIGTSTP, SIGWINCH]));
    let bell = inbox.bell()?;
    // Keys come from the terminal, whatever stdin is.
    let keys: OwnedFd = if stdin().is_terminal() {
        stdin().as_fd().try_clone_to_owned()?
    } else {
        File::open("/dev/tty")?.into()
    };
    let screen = Screen::take()?;
    Live { collector, model, interval, inbox, screen, next: Instant::now() }.watch(keys.as_fd(), bell.as_fd())
}

struct Live {
    collector: Collector,
    model: Model,
    interval: Duration,
    inbox: Inbox,
    screen: Screen,
    /// When to look again.
    next: Instant,
}

impl Live {
    fn watch(mut self, keys: BorrowedFd<'_>, bell: BorrowedFd<'_>) -> Result<(), Failure> {
        loop {
            if !self.model.frozen && Instant::now() >= self.next {
                self.look()?;
            }
            if !is_taken() {
                return Err(Failure::Error("a thread has panicked".into()));
            }
            let Self { screen, model, .. } = &mut self;
            screen.terminal.draw(|frame| view(model, frame))?;
            let mut ready = [PollFd::new(keys, PollFlags::POLLIN), PollFd::new(bell, PollFlags::POLLIN)];
            match poll(&mut ready, self.patience()) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            while let Some(taken) = self.inbox.take(Deadline::PASSED) {
                self.signalled(taken.signal)?;
            }
            let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
            let [keys, _] = ready.map(|ready| ready.revents().unwrap_or(PollFlags::empty()));
            if keys.intersects(gone) {
                // Nobody sees it any more.
                self.signalled(SIGHUP)?;
            }
            if !keys.is_empty() && self.type_all()? {
                return Ok(());
            }
        }
    }

    /// How long there is nothing to do but by keys and signals.
    fn patience(&self) -> PollTimeout {
        if self.model.frozen {
            return PollTimeout::NONE;
        }
        // Rounded up: it would look again and again in the last millisecond.
        let left = self.next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    fn look(&mut self) -> Result<(), Failure> {
        let snapshot = self.collector.look()?;
        update(&mut self.model, Event::Seen(Box::new(snapshot)));
        self.next = Instant::now() + self.interval;
        Ok(())
    }

    fn signalled(&mut self, signal: i32) -> Result<(), Failure> {
        match signal {
            // What is drawn next asks for the size.
            SIGWINCH => {}
            // Whoever had the terminal meanwhile has changed it.
            SIGCONT => self.screen.take_again()?,
            SIGTSTP => self.stop()?,
            signal => {
                give_back();
                self.inbox.let_act(signal);
                // It is ignored.
                self.screen.take_again()?;
            }
        }
        Ok(())
    }

    /// Stops, until somebody lets it go on.
    fn stop(&mut self) -> Result<(), Failure> {
        give_back();
        self.collector.rest();
        self.inbox.let_act(SIGTSTP);
        self.next = Instant::now();
        self.screen.take_again()?;
        Ok(())
    }

    /// Does what was typed; whether that is all.
    fn type_all(&mut self) -> Result<bool, Failure> {
        for typed in terminal::typed()? {
            match typed {
                Typed::Key(key) => {
                    let order = update(&mut self.model, Event::Key(key));
                    if order == Order::Quit {
                        return Ok(true);
                    }
                    self.obey(&order)?;
                }
                Typed::Interrupt => self.signalled(SIGINT)?,
                Typed::Stop => self.stop()?,
                Typed::Redraw => self.screen.redraw()?,
            }
        }
        Ok(false)
    }

    fn obey(&mut self, order: &Order) -> Result<(), Failure> {
        let event = match *order {
            Order::Nothing | Order::Quit => return Ok(()),
            Order::Look => return self.look(),
            Order::Rest => {
                self.collector.rest();
                return Ok(());
            }
            Order::Signal { pid, registered_ns, signal } => {
                Event::Said(self.send(pid, registered_ns, signal))
            }
            Order::PreviewGarbage => self.garbage(),
            Order::Dump => Event::Said(match self.dump() {
                Ok(name) => format!("written to {name}"),
                Err(error) => format!("not written: {error}"),
            }),
        };
        update(&mut self.model, event);
        Ok(())
    }

    fn send(&self, pid: u32, registered_ns: u64, signal: i32) -> String {
        let name = SIGNALS.iter().find(|&&(_, number)| number == signal).map_or("?", |&(name, _)| name);
        let process = match pidfd::open(pid) {
            Ok(process) => process,
            Err(error) => return format!("SIG{name} not sent to {pid}: {error}"),
        };
        // After it was opened: the number may be another's by now.
        if !self.collector.is_there(pid, registered_ns) {
            return format!("SIG{name} not sent: process {pid} has ended, or is in another pid namespace");
        }
        match pidfd::send_signal(&process, signal) {
            Ok(()) => format!("SIG{name} sent to {pid}"),
            Err(error) => format!("SIG{name} not sent to {pid}: {error}"),
        }
    }

    fn garbage(&self) -> Event {
        let options = gc::Options::default().dry_run(true);
        match gc::collect(Some(self.collector.namespace()), options) {
            Ok(entries) => Event::Garbage(entries.iter().map(|entry| printable(&entry.name)).collect()),
            Err(error) => Event::Said(error.to_string()),
        }
    }

    /// Writes what is known into a new file in the current directory; its name.
    fn dump(&self) -> io::Result<String> {
        let Model { snapshot, warnings, .. } = &self.model;
        let text = serde_json::to_string(&self.collector.json(snapshot.room, warnings))?;
        let seconds = clock::wall_ns() / 1_000_000_000;
        let name = format!("procession-top-{}-{seconds}.json", snapshot.namespace);
        File::create_new(&name)?.write_all(format!("{text}\n").as_bytes())?;
        Ok(name)
    }
}
