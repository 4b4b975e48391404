//! What is to be done, by the command line, and how a job is started by it.

use super::halt::Halt;
use super::job::When;
use super::retry::Retry;
use super::template::{Fill, Template};
use super::{ExitRule, MapArgs, inputs};
use crate::holding::{Target, Thing, no_such_object};
use crate::program::{check, keep_closed};
use crate::under::SIGNALS_REACH_COMMAND;
use procession::Namespace;
use procession_sys::pidfd::Ended;
use procession_sys::ward::Program;
use procession_terminal::exit::{Failure, TIMED_OUT};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{IsTerminal, stdin};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What jobs find in their environment besides what this process has: names, and a value where it is the same for all.
const SLOT: &str = "PROCESSION_SLOT";
const SEQ: &str = "PROCESSION_SEQ";
const ATTEMPT: &str = "PROCESSION_ATTEMPT";
const RUN: &str = "PROCESSION_RUN";
const NAMESPACE: &str = "PROCESSION_NAMESPACE";

/// What becomes of the jobs' stdout and stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Captured(When),
    /// They are this process's own.
    Shared,
    /// They are in the records.
    Records,
}

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan {
    /// The command as it was typed.
    pub(super) words: Vec<OsString>,
    template: Template,
    in_shell: bool,
    pub(super) tag: Option<Template>,
    /// How many jobs run at once.
    pub(super) slots: u32,
    /// How many inputs belong together.
    pub(super) width: usize,
    pub(super) mode: Mode,
    pub(super) keep_order: bool,
    pub(super) dry_run: bool,
    /// In nanoseconds.
    timeout: Option<u64>,
    pub(super) kill_after: u64,
    pub(super) retry: Retry,
    pub(super) halt: Halt,
    pub(super) exit: ExitRule,
    /// The permits under which each job runs.
    sem: Option<Target>,
    /// Everything but what each job has of its own.
    environment: Vec<CString>,
    /// Where the jobs' stdin leads, if it is not this process's own.
    stdin: Option<File>,
}

impl Plan {
    pub(super) fn new(
        args: &MapArgs,
        words: &[OsString],
        width: usize,
        inputs_are_stdin: bool,
        namespace: Option<&Namespace>,
    ) -> Result<Self, Failure> {
        let template = Template::command(words, args.replace.as_ref());
        if args.shell {
            check(&["sh".into()])?;
        } else if template.has_fixed_program() && !args.dry_run {
            check(words)?;
        }
        must_have_so_many(&template, width, args)?;
        if let Some(sem) = args.sem.as_ref().filter(|_| !args.dry_run) {
            // Said once, and not by each job.
            let Some(_) = Thing::find(sem.clone())? else {
                let name = sem.name();
                let message =
                    format!("there is no semaphore {name:?}: `procession sem {name} -c N -- true` makes it");
                return Err(no_such_object(message));
            };
            drop(Thing::open(sem.clone())?);
        }
        keep_closed();
        let own = args.replace.as_ref();
        let tag = args.tag_text().map(|text| Template::text(&[text], own));
        // Jobs are in process groups of their own, which cannot read from the terminal.
        let has_no_stdin = inputs_are_stdin || stdin().is_terminal();
        let nanoseconds = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Ok(Self {
            words: words.to_vec(),
            template,
            in_shell: args.shell,
            tag,
            slots: args.jobs.slots(),
            width,
            mode: args.mode(),
            keep_order: args.keep_order,
            dry_run: args.dry_run,
            timeout: args.timeout.map(nanoseconds),
            kill_after: nanoseconds(args.kill_after),
            retry: args.retry(),
            halt: args.failures.halt,
            exit: args.failures.exit,
            sem: args.sem.clone(),
            environment: environment(namespace)?,
            stdin: if has_no_stdin { Some(File::open("/dev/null")?) } else { None },
        })
    }

    /// The words of a job, as it is executed.
    pub(super) fn command(&self, fill: Fill<'_>) -> Vec<Vec<u8>> {
        if !self.in_shell {
            return self.template.words(fill);
        }
        let (script, parameters) = self.template.script(fill);
        let begin = [b"sh".to_vec(), b"-c".to_vec(), script, b"sh".to_vec()];
        begin.into_iter().chain(parameters).collect()
    }

    /// What tells a job from others.
    pub(super) fn hash(&self, items: &[Vec<u8>]) -> super::joblog::JobHash {
        let words: Vec<&[u8]> = self.words.iter().map(|word| word.as_bytes()).collect();
        super::joblog::JobHash::of(self.in_shell, &words, items)
    }

    /// What is executed for a job; `None` if one of its words cannot be passed to a program.
    pub(super) fn program(&self, command: &[Vec<u8>], fill: Fill<'_>, attempt: u32) -> Option<Program> {
        let words = command.iter().map(|word| CString::new(word.as_slice()));
        let mut arguments = self.wrapper();
        // What it is called is what others see who look at the semaphore.
        let file = (!arguments.is_empty()).then(|| c"/proc/self/exe".to_owned());
        arguments.extend(words.collect::<Result<Vec<_>, _>>().ok()?);
        let own = [(SLOT, u64::from(fill.slot)), (SEQ, fill.seq), (ATTEMPT, attempt.into())];
        let own = own.into_iter().filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok());
        let mut environment = Vec::with_capacity(self.environment.len() + 3);
        environment.extend(self.environment.iter().cloned());
        environment.extend(own);
        Some(Program { file, arguments, environment })
    }

    /// This very program, which holds permits while it runs the job, and times it: the time in which it waits for them
    /// is not the job's.
    fn wrapper(&self) -> Vec<CString> {
        let Some(Target::Permits { name, permits, .. }) = &self.sem else { return Vec::new() };
        let seconds = |ns: u64| format!("{:.9}s", ns as f64 / 1e9);
        let mut words = ["procession", "sem", "run", name, SIGNALS_REACH_COMMAND].map(str::to_owned).to_vec();
        words.extend([
            "-k".to_owned(),
            permits.to_string(),
            "--kill-after".to_owned(),
            seconds(self.kill_after),
        ]);
        if let Some(timeout) = self.timeout {
            words.extend(["--timeout".to_owned(), seconds(timeout)]);
        }
        words.push("--".to_owned());
        words.into_iter().filter_map(|word| CString::new(word).ok()).collect()
    }

    /// How long a job may run from its start on.
    pub(super) fn until(&self, began_at: u64) -> u64 {
        let timeout = self.timeout.filter(|_| self.sem.is_none());
        timeout.map_or(u64::MAX, |timeout| began_at.saturating_add(timeout))
    }

    /// Whether the program that times a job says that its time was over.
    pub(super) fn has_timed_out(&self, ended: Ended) -> bool {
        self.sem.is_some() && self.timeout.is_some() && ended == Ended::Exited(TIMED_OUT.into())
    }

    pub(super) fn stdin(&self) -> Option<BorrowedFd<'_>> {
        self.stdin.as_ref().map(AsFd::as_fd)
    }
}

fn environment(namespace: Option<&Namespace>) -> Result<Vec<CString>, Failure> {
    let changed = [SLOT, SEQ, ATTEMPT, RUN];
    let is_kept = |name: &OsString| {
        !changed.iter().any(|changed| name == changed) && (namespace.is_none() || name != NAMESPACE)
    };
    let kept = std::env::vars_os().filter(|(name, _)| is_kept(name));
    let kept = kept.map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='));
    let run = format!("{RUN}=map-{}", std::process::id());
    let namespace = namespace.map(|namespace| format!("{NAMESPACE}={}", namespace.name()));
    let own = [run].into_iter().chain(namespace).map(String::into_bytes);
    Ok(kept.chain(own).map(CString::new).collect::<Result<_, _>>()?)
}

/// An input that is never there is a mistake.
fn must_have_so_many(template: &Template, width: usize, args: &MapArgs) -> Result<(), Failure> {
    let (highest, most) = (template.highest(), width.saturating_mul(args.max_args));
    if highest > most {
        return Err(Failure::Usage(format!(
            "{{{highest}}} stands for an input that no job has: each has {most} (-n, :::)"
        )));
    }
    Ok(())
}

/// The inputs, and whether they come from stdin.
pub(super) fn inputs_of(
    args: &MapArgs,
    lists: Vec<inputs::List>,
) -> Result<(inputs::Inputs, usize, bool), Failure> {
    let delimiter = if args.null { 0 } else { args.delimiter };
    if lists.is_empty() {
        if args.link {
            return Err(Failure::Usage("--link is for several lists of inputs, behind :::".to_owned()));
        }
        let file = args.arg_file.as_deref();
        let is_stdin = file.is_none_or(|file| file == "-");
        return Ok((inputs::Inputs::of_file(file, delimiter, args.max_args)?, 1, is_stdin));
    }
    if args.arg_file.is_some() {
        return Err(Failure::Usage(
            "inputs come from --arg-file or from behind :::, not from both".to_owned(),
        ));
    }
    let width = lists.len();
    let is_stdin = |list: &inputs::List| matches!(&list.values, inputs::Values::File(file) if file == "-");
    let is_stdin = lists.iter().any(is_stdin);
    let combine = if args.link { inputs::Combine::SideBySide } else { inputs::Combine::Marked };
    Ok((inputs::Inputs::of_lists(lists, combine, delimiter, args.max_args)?, width, is_stdin))
}
