//! What the workers of one `procession run` print, where it does not go straight to where this process prints: with a
//! prefix before each line, into files, or of some ranks alone. One thread reads it from pipes, and writes it.
//!
//! If nobody reads what this process prints, workers wait as they would without a pipe in between: for as long as the
//! pipe is full. A line is written in one piece, so that lines of several workers do not mix.

use super::RunArgs;
use super::terminal::Terminal;
use super::workers::Workers;
use crate::passed_on::ASKS_FOR_THE_END;
use procession::Attempt;
use procession_sys::inherited::could_write_stdout;
use procession_sys::signals::{self as sig, Inbox, set_blocked};
use procession_sys::{Deadline, eventfd};
use procession_terminal::exit::Failure;
use procession_terminal::output::warn;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::mem::take;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A line that is longer is shown in parts.
const LONGEST_LINE: usize = 1 << 16;

/// How much is read at once: as much as a pipe holds.
const CHUNK: usize = 1 << 16;

/// What stands before each line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    None,
    /// A text in which `{rank}`, `{name}`, `{size}`, `{pid}` and `{attempt}` are replaced.
    Text(String),
}

impl std::str::FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "rank" => Ok(Self::Text("[{rank}] ".to_owned())),
            "name" => Ok(Self::name()),
            _ if text.contains('{') => Ok(Self::Text(text.to_owned())),
            _ => {
                Err("it is `none`, `rank`, `name`, or a text with {rank}, {name}, {size}, {pid} or {attempt} in it"
                    .to_owned())
            }
        }
    }
}

impl Prefix {
    pub(super) fn name() -> Self {
        Self::Text("{name} | ".to_owned())
    }

    fn of(&self, attempt: &Attempt, pid: u32, workers: &Workers<'_>) -> Option<String> {
        let Self::Text(text) = self else { return None };
        let rank = attempt.rank();
        let mut text = text.clone();
        for (place, value) in [
            ("{rank}", rank.to_string()),
            ("{name}", workers.aligned(rank)),
            ("{size}", workers.number().to_string()),
            ("{pid}", pid.to_string()),
            ("{attempt}", attempt.number().to_string()),
        ] {
            text = text.replace(place, &value);
        }
        Some(text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

/// Where one worker prints.
pub(super) struct Printed {
    /// What is read, and where it is copied to.
    reads: Vec<(Stream, File, Option<File>)>,
    writes: Writes,
}

enum Writes {
    Pipes([OwnedFd; 2]),
    Terminal(Terminal),
}

impl Printed {
    fn pipes() -> io::Result<Self> {
        let ((out, to_out), (err, to_err)) = (io::pipe()?, io::pipe()?);
        let file = |reads| File::from(OwnedFd::from(reads));
        let reads = vec![(Stream::Out, file(out), None), (Stream::Err, file(err), None)];
        Ok(Self { reads, writes: Writes::Pipes([to_out.into(), to_err.into()]) })
    }

    /// What the worker has as stdout and stderr.
    pub(super) fn streams(&self) -> [BorrowedFd<'_>; 2] {
        match &self.writes {
            Writes::Pipes(pipes) => pipes.each_ref().map(AsFd::as_fd),
            Writes::Terminal(terminal) => [terminal.theirs(); 2],
        }
    }

    pub(super) fn terminal(&self) -> Option<BorrowedFd<'_>> {
        if let Writes::Terminal(terminal) = &self.writes { Some(terminal.theirs()) } else { None }
    }
}

/// The thread's end of what one worker prints on one of its streams.
struct Source {
    stream: Stream,
    reads: File,
    is_shown: bool,
    prefix: Option<String>,
    /// What has come of a line that has not ended.
    line: Vec<u8>,
    copy: Option<File>,
}

enum Message {
    Add(Source),
    /// All workers have ended.
    End,
}

/// The handle of the thread.
pub(super) struct Outputs {
    prefix: Prefix,
    only_ranks: Vec<u32>,
    directory: Option<PathBuf>,
    /// Whether workers print on terminals.
    on_terminals: bool,
    messages: Sender<Message>,
    bell: Arc<OwnedFd>,
    thread: JoinHandle<Result<(), Failure>>,
    /// A pipe, of which the thread has the other end until it has ended.
    thread_is_there: PipeReader,
}

impl Outputs {
    /// The thread, if there is something for it to do.
    pub(super) fn open(args: &RunArgs, workers: &Workers<'_>) -> Result<Option<Self>, Failure> {
        let prefix = args.prefix();
        if prefix == Prefix::None && args.tee.is_none() && args.only_ranks.is_empty() && !args.pty {
            return Ok(None);
        }
        if let Some(&rank) = args.only_ranks.iter().find(|&&rank| rank >= workers.number()) {
            let last = workers.number() - 1;
            return Err(Failure::Usage(format!("--only-ranks: there is no rank {rank}, only 0 to {last}")));
        }
        if let Some(directory) = &args.tee {
            std::fs::create_dir_all(directory).map_err(|error| not_written(directory, &error))?;
        }
        let (messages, received) = channel();
        let bell = Arc::new(eventfd::create()?);
        let pump = Pump { received, bell: Arc::clone(&bell), sources: Vec::new(), failure: None };
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let (thread_is_there, is_there) = io::pipe()?;
        let thread = std::thread::Builder::new().name("output".to_owned()).spawn(move || {
            let _is_there = is_there;
            pump.run(&[(Stream::Out, stdout), (Stream::Err, stderr)])
        })?;
        let (only_ranks, directory) = (args.only_ranks.clone(), args.tee.clone());
        let on_terminals = args.pty;
        Ok(Some(Self {
            prefix,
            only_ranks,
            directory,
            on_terminals,
            messages,
            bell,
            thread,
            thread_is_there,
        }))
    }

    /// Where the worker that is to be started will print: nothing can go wrong with that once it runs.
    ///
    /// # Errors
    /// The kernel's, with what to do.
    pub(super) fn printed(&self, attempt: &Attempt, workers: &Workers<'_>) -> Result<Printed, Failure> {
        let mut printed = self.opened(attempt, workers)?;
        if let Some(directory) = &self.directory {
            for (stream, _, file) in &mut printed.reads {
                *file = Some(copy(directory, workers, attempt, *stream)?);
            }
        }
        Ok(printed)
    }

    fn opened(&self, attempt: &Attempt, workers: &Workers<'_>) -> Result<Printed, Failure> {
        if self.on_terminals {
            // Nobody knows its pid yet: most are as long as this one.
            let prefix = self.prefix.of(attempt, std::process::id(), workers);
            let margin = prefix.map_or(0, |prefix| prefix.chars().count());
            let (terminal, reads) = Terminal::open(u16::try_from(margin).unwrap_or(u16::MAX))?;
            let reads = vec![(Stream::Out, reads, None)];
            return Ok(Printed { reads, writes: Writes::Terminal(terminal) });
        }
        Printed::pipes().map_err(|error| {
            let why = "cannot make a pipe for what a worker prints";
            Failure::Error(format!("{why}: {error}; raise `ulimit -n`, or start fewer").into())
        })
    }

    /// Has what the worker prints read from now on; its terminal, if it has one, to be kept until it has ended.
    pub(super) fn add(
        &self,
        attempt: &Attempt,
        pid: u32,
        workers: &Workers<'_>,
        printed: Printed,
    ) -> Option<Terminal> {
        let is_shown = self.only_ranks.is_empty()
            || self.only_ranks.iter().any(|&shown| shown as usize == attempt.rank());
        for (stream, reads, copy) in printed.reads {
            let prefix = self.prefix.of(attempt, pid, workers);
            let source = Source { stream, reads, is_shown, prefix, line: Vec::new(), copy };
            // It has ended if nobody reads what this process prints.
            drop(self.messages.send(Message::Add(source)));
        }
        eventfd::ring(&self.bell);
        if let Writes::Terminal(terminal) = printed.writes { Some(terminal) } else { None }
    }

    /// Shows what is left, and ends the thread. If somebody has asked for the end, or does so now, readers have so much
    /// time left; none is left if that is asked for again.
    ///
    /// # Errors
    /// Why something was not shown or written.
    pub(super) fn end(self, inbox: &Inbox, grace: Duration, was_asked: bool) -> Result<(), Failure> {
        drop(self.messages.send(Message::End));
        eventfd::ring(&self.bell);
        let signals = inbox.bell()?;
        let mut deadline = if was_asked { Deadline::after(grace) } else { Deadline::NEVER };
        while let [false, _] =
            eventfd::wait_any(&[self.thread_is_there.as_fd(), signals.as_fd()], deadline.remaining())?[..]
        {
            while let Some(taken) = inbox.take(Deadline::PASSED) {
                match taken.signal {
                    sig::SIGTSTP => inbox.let_act(taken.signal),
                    signal if !ASKS_FOR_THE_END.contains(&signal) => {}
                    _ if deadline == Deadline::NEVER => deadline = Deadline::after(grace),
                    _ => deadline = Deadline::PASSED,
                }
            }
            if deadline.has_passed() {
                // To say it may take as long: from now on signals end this process.
                set_blocked(inbox.blocked_before);
                let why = "nobody has read all that the workers have printed: the rest of it is lost";
                return Err(Failure::Error(why.into()));
            }
        }
        self.thread
            .join()
            .unwrap_or_else(|_| Err(Failure::Error("the thread of outputs has panicked".into())))
    }
}

/// The file that has what a worker prints, begun anew by the first worker of a rank.
fn copy(directory: &Path, workers: &Workers<'_>, attempt: &Attempt, stream: Stream) -> Result<File, Failure> {
    let suffix = if stream == Stream::Out { "out" } else { "err" };
    let rank = attempt.rank();
    let stem = workers.name(rank).map_or_else(|| rank.to_string(), str::to_owned);
    let path = directory.join(format!("{stem}.{suffix}"));
    let begun = if attempt.number() == 1 { File::create(&path).map(drop) } else { Ok(()) };
    // What a worker has left running may write behind what the next one writes, and not over it.
    let opened = begun.and_then(|()| OpenOptions::new().create(true).append(true).open(&path));
    opened.map_err(|error| not_written(&path, &error))
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    Failure::Error(format!("cannot write what workers print to {}: {error}", path.display()).into())
}

/// The thread.
struct Pump {
    received: Receiver<Message>,
    bell: Arc<OwnedFd>,
    sources: Vec<Source>,
    /// The first thing that went wrong.
    failure: Option<Failure>,
}

impl Pump {
    fn run(mut self, shown: &[(Stream, File)]) -> Result<(), Failure> {
        let mut chunk = vec![0; CHUNK];
        let mut is_ending = false;
        loop {
            eventfd::silence(&*self.bell);
            for message in self.received.try_iter() {
                match message {
                    Message::Add(source) => self.sources.push(source),
                    Message::End => is_ending = true,
                }
            }
            let mut files: Vec<BorrowedFd<'_>> = vec![self.bell.as_fd()];
            files.extend(self.sources.iter().map(|source| source.reads.as_fd()));
            // What the workers have started may print for ever: at the end only what is there is waited for.
            let ready = eventfd::wait_any(&files, is_ending.then_some(Duration::ZERO))?;
            let is_ready: Vec<bool> = ready.into_iter().skip(1).collect();
            if is_ending && !is_ready.contains(&true) {
                break;
            }
            let sources = take(&mut self.sources).into_iter().zip(is_ready);
            let kept = sources.filter_map(|(source, is_ready)| {
                if is_ready { self.read(source, shown, &mut chunk) } else { Some(source) }
            });
            let kept = kept.collect();
            self.sources = kept;
        }
        for mut source in take(&mut self.sources) {
            self.finish_line(&mut source, shown);
        }
        self.failure.map_or(Ok(()), Err)
    }

    /// Takes what a worker has printed; the source, unless that was its end.
    fn read(&mut self, mut source: Source, shown: &[(Stream, File)], chunk: &mut [u8]) -> Option<Source> {
        let len = match source.reads.read(chunk) {
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Some(source),
            // A terminal ends by EIO.
            Err(_) => 0,
        };
        let bytes = &chunk[..len];
        if len == 0 {
            self.finish_line(&mut source, shown);
            return None;
        }
        if let Some(file) = &mut source.copy
            && let Err(error) = file.write_all(bytes)
        {
            source.copy = None;
            self.fails(Failure::Error(format!("cannot write what a worker prints: {error}").into()));
        }
        if source.is_shown {
            let whole = source.lines(bytes);
            source.is_shown = self.show(source.stream, &whole, shown);
        }
        // Who prints for nobody is to know it.
        (source.is_shown || source.copy.is_some() || self.failure.is_none()).then_some(source)
    }

    fn finish_line(&mut self, source: &mut Source, shown: &[(Stream, File)]) {
        if source.is_shown && !source.line.is_empty() {
            let whole = source.lines(b"\n");
            self.show(source.stream, &whole, shown);
        }
    }

    /// Whether that is possible.
    fn show(&mut self, stream: Stream, bytes: &[u8], shown: &[(Stream, File)]) -> bool {
        let Some((_, file)) = shown.iter().find(|(one, _)| *one == stream) else { return false };
        // To std it is a success to write to a closed stdout.
        let is_open = stream == Stream::Err || could_write_stdout();
        let why = match (&*file).write_all(bytes) {
            Ok(()) if is_open => return true,
            Ok(()) => "stdout is not open for writing".to_owned(),
            Err(error) if stream == Stream::Out && error.kind() == ErrorKind::BrokenPipe => {
                self.fails(Failure::ClosedPipe);
                return false;
            }
            Err(error) => error.to_string(),
        };
        self.fails(Failure::Error(format!("cannot show what a worker prints: {why}").into()));
        false
    }

    fn fails(&mut self, failure: Failure) {
        if let Failure::Error(error) = &failure {
            warn(&error.to_string());
        }
        self.failure.get_or_insert(failure);
    }
}

impl Source {
    /// What is to be shown now that these bytes have come.
    fn lines(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Some(prefix) = &self.prefix else { return bytes.to_vec() };
        let mut whole = Vec::with_capacity(bytes.len() + prefix.len());
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            let is_ended = part.ends_with(b"\n");
            if is_ended || self.line.len() >= LONGEST_LINE {
                whole.extend_from_slice(prefix.as_bytes());
                whole.append(&mut self.line);
                if !is_ended {
                    whole.push(b'\n');
                }
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_LINE, Prefix, Source, Stream};

    fn source(prefix: Option<&str>) -> Source {
        let reads = std::fs::File::open("/dev/null").unwrap();
        let prefix = prefix.map(str::to_owned);
        Source { stream: Stream::Out, reads, is_shown: true, prefix, line: Vec::new(), copy: None }
    }

    #[test]
    fn a_prefix_stands_before_each_line_and_lines_come_whole() {
        let mut source = source(Some("[1] "));
        assert_eq!(source.lines(b"a\nb"), b"[1] a\n");
        assert_eq!(source.lines(b"c"), b"");
        assert_eq!(source.lines(b"d\n\ne\n"), b"[1] bcd\n[1] \n[1] e\n");
        let long = source.lines(&vec![b'x'; LONGEST_LINE]);
        assert_eq!(long.len(), LONGEST_LINE + 5);
        assert_eq!(super::tests::source(None).lines(b"as it is"), b"as it is");
    }

    #[test]
    fn what_a_prefix_may_be() {
        assert_eq!("none".parse(), Ok(Prefix::None));
        assert_eq!("rank".parse(), Ok(Prefix::Text("[{rank}] ".to_owned())));
        assert_eq!("name".parse(), Ok(Prefix::name()));
        assert!("{rank}/{size}: ".parse::<Prefix>().is_ok() && "worker".parse::<Prefix>().is_err());
    }
}
