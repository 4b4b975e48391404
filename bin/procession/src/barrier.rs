//! `procession barrier`: so many scripts and programs wait for each other.

use crate::duration::duration;
use crate::holding::{no_such_object, not_in_time, refusal};
use crate::run::ended_event;
use crate::under::told;
use clap::Subcommand;
use clap::builder::FalseyValueParser;
use procession::{Barrier, BarrierError, Event, OpenError, interrupt};
use procession_terminal::exit::{DISAGREE, Failure};
use procession_terminal::output;
use serde_json::json;
use std::time::Duration;

/// Wait at a barrier until all parties have come; again and again.
#[derive(Debug, clap::Args)]
#[command(after_help = BARRIER_HELP)]
pub(crate) struct BarrierArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Wait(WaitArgs),
    Create(CreateArgs),
    Reset(ResetArgs),
    Abort(AbortArgs),
}

/// Wait until all parties have come.
#[derive(Debug, clap::Args)]
#[command(after_help = WAIT_HELP)]
struct WaitArgs {
    /// The barrier; it is made if there is none, and goes when nobody waits there any more.
    name: String,
    /// How many have to come; all who use it must say the same. Under `procession run`, all its workers unless said.
    #[arg(short, long, value_name = "N", value_parser = parties, env = "PROCESSION_PARTIES", hide_env = true)]
    parties: Option<usize>,
    /// Wait at most this long, then break the barrier for all, and exit with 75: 500ms, 1.5, 10s, 2m.
    #[arg(short, long, value_name = "TIME", value_parser = duration, env = "PROCESSION_WAIT", hide_env = true)]
    wait: Option<Duration>,
    /// The exit code instead of 75.
    #[arg(short = 'E', long, value_name = "CODE", env = "PROCESSION_CONFLICT_EXIT_CODE", hide_env = true)]
    conflict_exit_code: Option<u8>,
    /// Print the order of this arrival, from 0: exactly one of the parties gets 0.
    #[arg(long, env = "PROCESSION_ORDER", hide_env = true, value_parser = FalseyValueParser::new())]
    order: bool,
    /// Print it as one JSON document, and say errors as one line of JSON.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

/// Make a barrier that stays until it is removed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession barrier create phase -p 8\n  procession -N build barrier create linked -p 3\n\nExit codes: 0 made, or it was there; 65 it has other parties, or is no barrier"
)]
struct CreateArgs {
    /// The barrier.
    name: String,
    /// How many have to come.
    #[arg(short, long, value_name = "N", value_parser = parties, env = "PROCESSION_PARTIES", hide_env = true)]
    parties: usize,
}

/// Make a barrier whole again that is broken; those who wait there now are told that it is broken.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession barrier reset phase\n  procession -N build barrier reset linked\n\nExit codes: 0 done, 65 it is no barrier, 66 no such barrier"
)]
struct ResetArgs {
    /// The barrier.
    name: String,
}

/// Break a barrier: all who wait there, and all who come, exit with 65, until it is reset.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  procession barrier abort phase\n  procession -N build barrier abort linked\n\nExit codes: 0 done, 65 it is no barrier, 66 no such barrier"
)]
struct AbortArgs {
    /// The barrier.
    name: String,
}

const BARRIER_HELP: &str = "\
Examples:
  procession run -n 4 -- sh -c './prepare; procession barrier wait ready; ./go'
  procession barrier wait phase -p 3 -w 1m

Programs open the same Barrier of the library by its name.

Exit codes: 0 all have come; 2 wrong usage; 65 it is broken, or has other
parties; 66 no such barrier; 75 the others did not come in time (-E changes it).";

const WAIT_HELP: &str = "\
Examples:
  procession barrier wait phase -p 3 -w 1m
  [ $(procession barrier wait merged --order) = 0 ] && ./merge

Nobody waits for one who will not come: if a process that waits is killed, the
others exit with 65; and so do all workers of `procession run` who wait for all
of them when one of them has ended.

Exit codes: 0 all have come; 65 it is broken, or has other parties; 66 there is
none, and -p does not say how many have to come; 75 not in time (or -E).";

fn parties(text: &str) -> Result<usize, String> {
    const MOST: usize = 1 << 15;
    text.parse()
        .ok()
        .filter(|parties| (1..=MOST).contains(parties))
        .ok_or_else(|| format!("it is 1 to {MOST}"))
}

/// # Errors
/// [`Failure::Refused`] when the barrier is broken, or the others did not come in time.
pub(crate) fn run(args: BarrierArgs) -> Result<(), Failure> {
    match args.verb {
        Verb::Wait(args) => told(args.json, wait(&args)),
        Verb::Create(args) => {
            let barrier = Barrier::options().parties(args.parties).open_or_create(&args.name);
            barrier.map(drop).map_err(|error| other_parties(&args.name, args.parties, error))
        }
        Verb::Reset(args) => Ok(Barrier::open(&args.name)?.reset()?),
        Verb::Abort(args) => {
            Barrier::open(&args.name)?.abort();
            Ok(())
        }
    }
}

fn wait(args: &WaitArgs) -> Result<(), Failure> {
    let run = UnderRun::found();
    let said = args.parties.or_else(|| run.as_ref().map(|run| run.workers));
    let barrier = match (Barrier::open(&args.name), said) {
        (Err(OpenError::NotFound { .. }), Some(parties)) => {
            // With the last who waits there, a break goes as well: whoever comes later begins anew.
            let made = Barrier::options().parties(parties).ephemeral().open_or_create(&args.name);
            made.map_err(|error| other_parties(&args.name, parties, error))?
        }
        (Err(OpenError::NotFound { .. }), None) => {
            let message = format!("there is no barrier {:?}: say how many have to come, by -p", args.name);
            return Err(no_such_object(message));
        }
        (found, _) => found?,
    };
    if let Some(parties) = args.parties.filter(|&parties| parties != barrier.parties()) {
        return Err(disagree(&args.name, barrier.parties(), parties));
    }
    let run = run.filter(|run| run.workers == barrier.parties());
    let order = pass(&barrier, args, run)?;
    if args.json {
        let parties = barrier.parties();
        output::json(
            &json!({"v": 1, "kind": "barrier", "name": args.name, "order": order, "parties": parties}),
        )?;
    } else if args.order {
        output::line(order)?;
    }
    Ok(())
}

/// Waits at the barrier; the order of this arrival.
fn pass(barrier: &Barrier, args: &WaitArgs, run: Option<UnderRun>) -> Result<u32, Failure> {
    // Asked ten times a second: it costs a look into a directory.
    let _hook = run.map(|run| interrupt::on_signal(move || run.has_lost_a_worker()));
    let outcome = match barrier.join() {
        // Whoever is killed while it waits as a member breaks the barrier for the others.
        Ok(mut member) => match args.wait {
            Some(time) => member.wait_timeout(time),
            None => member.wait(),
        },
        Err(BarrierError::NoPlace { .. }) => {
            // More come than it has parties.
            args.wait.map_or_else(|| barrier.wait(), |time| barrier.wait_timeout(time))
        }
        Err(error) => Err(error),
    };
    outcome.map_err(|error| match error {
        BarrierError::TimedOut { arrived, parties, .. } => {
            let message =
                format!("{arrived} of {parties} have come to barrier {:?}, which is broken now", args.name);
            not_in_time(args.conflict_exit_code, message)
        }
        BarrierError::Broken { cause, .. } => {
            refusal("broken", DISAGREE, format!("barrier {:?} is broken: {cause}", args.name))
        }
        BarrierError::Interrupted { .. } => {
            let message =
                format!("a worker of this run has ended, and so not all can come to barrier {:?}", args.name);
            refusal("broken", DISAGREE, message)
        }
        error => error.into(),
    })
}

fn other_parties(name: &str, parties: usize, error: OpenError) -> Failure {
    match Barrier::open(name) {
        Ok(barrier) => disagree(name, barrier.parties(), parties),
        Err(_) => error.into(),
    }
}

fn disagree(name: &str, has: usize, said: usize) -> Failure {
    let message =
        format!("barrier {name:?} is for {has} parties, not {said}: all who use it must say the same");
    refusal("disagree", DISAGREE, message)
}

/// The `procession run` below which this runs.
struct UnderRun {
    workers: usize,
    event: String,
}

impl UnderRun {
    fn found() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        let workers = variable("PROCESSION_WORLD_SIZE")?.parse().ok()?;
        Some(Self { workers, event: ended_event(&variable("PROCESSION_RUN")?) })
    }

    /// Whether one of its workers has ended for good, and will never come.
    fn has_lost_a_worker(&self) -> bool {
        Event::open(&self.event).is_ok_and(|event| event.is_set())
    }
}
