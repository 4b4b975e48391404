//! `procession watch`: what changes in the namespace, a line of JSON for each change.
//!
//! It looks again and again, and tells the difference. So whoever writes is never slowed down, and what comes and goes
//! between two looks is not seen: counters that objects have say how much that was, where there are any.

use crate::duration::duration;
use crate::in_the_way::Person;
use crate::list::Seen;
use crate::looks::Looks;
use crate::rates::{figure, moved};
use crate::state::Held;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use procession::Namespace;
use procession_sys::clock;
use procession_terminal::exit::Failure;
use procession_terminal::output;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::stdout;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(10);
/// It rests so much longer than it looks: of one core it never takes more than a tenth.
const RESTS: u32 = 9;

/// Print what changes in the namespace, as lines of JSON: who comes and goes, holds, waits, dies, and how queues grow.
///
/// It looks without attaching, and takes no lock. What there is at first is told as `present`; then what has `appeared`
/// or was `removed`; for locks, semaphores, leases and owned events who `held` and `released` them, and that an
/// `owner_died`; how many are `waiters`; the `depth` of queues, with what was put and got since; another `state`.
#[derive(Debug, clap::Args)]
#[command(after_help = WATCH_HELP)]
pub(crate) struct WatchArgs {
    /// Only objects whose names are like this: * is any letters, ? is any one.
    glob: Option<String>,
    /// How long to wait between two looks: 20ms, 1s.
    #[arg(short = 'i', long, value_name = "TIME", default_value = "100ms", value_parser = duration, env = "PROCESSION_WATCH_INTERVAL", hide_env = true)]
    interval: Duration,
}

const WATCH_HELP: &str = "\
Examples:
  procession watch 'build-*'
  procession watch | jq -c 'select(.event == \"owner_died\")'

What comes and goes between two looks is not seen. `missed` says of a lock how
often it was acquired besides, which is known where tokens are asked for: by
`procession lock`, and by programs that ask. `late` says how many looks were
left out, because nobody read what was printed, or there was too much to look
at: it takes a tenth of a core at most. Nobody who writes is ever slowed down.

Exit codes: 125 /dev/shm cannot be read; 130 after Ctrl-C; 141 nobody reads it";

/// # Errors
/// When `/dev/shm` cannot be read, or nobody reads what is printed.
pub(crate) fn run(args: &WatchArgs) -> Result<(), Failure> {
    let interval = args.interval.max(SHORTEST);
    let mut looks = Looks::at(Namespace::current()?);
    let mut before: Option<BTreeMap<String, Seen>> = None;
    let mut looked_at = Instant::now();
    loop {
        let began = Instant::now();
        let seen = looks.look(|name| args.glob.as_ref().is_none_or(|glob| is_like(name, glob)))?;
        let now: BTreeMap<String, Seen> =
            seen.into_iter().map(|seen| (seen.entry.name.clone(), seen)).collect();
        let mut changes = Changes { ts: clock::wall_ns() as f64 / 1e9, lines: Vec::new() };
        match &before {
            None => now.values().for_each(|seen| changes.tell("present", seen, about(seen))),
            Some(before) => {
                let late = began.duration_since(looked_at).div_duration_f64(interval).round() as u64;
                changes.compare(before, &now);
                changes.add_late(late.saturating_sub(1));
            }
        }
        if !changes.lines.is_empty() {
            output::line(changes.lines.join("\n"))?;
        }
        (before, looked_at) = (Some(now), began);
        rest(interval.max(began.elapsed() * RESTS))?;
    }
}

/// Waits for so long.
///
/// # Errors
/// [`Failure::ClosedPipe`] when nobody reads stdout any more: who prints seldom would not notice.
pub(crate) fn rest(time: Duration) -> Result<(), Failure> {
    let stdout = stdout();
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let mut ready = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        let timeout = PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
        match poll(&mut ready, timeout) {
            Ok(0) if until <= Instant::now() => return Ok(()),
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) if ready[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR)) => {
                return Err(Failure::ClosedPipe);
            }
            // Closed from the beginning: the first line has told so.
            Ok(_) => std::thread::sleep(left),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the name is like the pattern, in which `*` is any letters and `?` is one.
fn is_like(name: &str, glob: &str) -> bool {
    let (name, glob): (Vec<char>, Vec<char>) = (name.chars().collect(), glob.chars().collect());
    let (mut at, mut place, mut star) = (0, 0, None);
    while let Some(letter) = name.get(at) {
        match glob.get(place) {
            Some('*') => {
                star = Some((place, at));
                place += 1;
            }
            Some(wanted) if *wanted == '?' || wanted == letter => (at, place) = (at + 1, place + 1),
            // The last star takes one letter more; to try others before it would find nothing new.
            _ => match &mut star {
                Some((star, taken)) => {
                    *taken += 1;
                    (at, place) = (*taken, *star + 1);
                }
                None => return false,
            },
        }
    }
    glob[place..].iter().all(|rest| *rest == '*')
}

/// The lines of one look.
struct Changes {
    ts: f64,
    lines: Vec<String>,
}

impl Changes {
    fn tell(&mut self, event: &str, seen: &Seen, what: Value) {
        let entry = &seen.entry;
        let kind = entry.header.as_ref().ok().map(|header| header.kind.name());
        let object = json!({"namespace": entry.namespace.name(), "name": entry.name, "of": kind});
        self.add(event, [object, what]);
    }

    fn add(&mut self, event: &str, parts: impl IntoIterator<Item = Value>) {
        let mut record = Map::new();
        let begin = json!({"v": 1, "ts": self.ts, "kind": "watch", "event": event});
        for part in [begin].into_iter().chain(parts) {
            if let Value::Object(fields) = part {
                record.extend(fields);
            }
        }
        self.lines.push(Value::Object(record).to_string());
    }

    /// Looks that were to be between this one and the one before; told only where there is something to be told.
    fn add_late(&mut self, looks: u64) {
        if looks > 0 && !self.lines.is_empty() {
            self.add("late", [json!({"looks": looks})]);
        }
    }

    fn compare(&mut self, before: &BTreeMap<String, Seen>, now: &BTreeMap<String, Seen>) {
        let is_other = |old: &Seen, new: &Seen| instance(old) != instance(new);
        for (name, old) in before {
            if now.get(name).is_none_or(|new| is_other(old, new)) {
                self.tell("removed", old, json!({}));
            }
        }
        for (name, new) in now {
            match before.get(name).filter(|old| !is_other(old, new)) {
                Some(old) => self.compare_one(old, new),
                None => self.tell("appeared", new, about(new)),
            }
        }
    }

    fn compare_one(&mut self, old: &Seen, new: &Seen) {
        let (was, is) = (&old.state, &new.state);
        let told_before = self.lines.len();
        let lacks = |holders: &[Held], one: &Held| !holders.iter().any(|other| is_same(other, one));
        for held in was.holders.iter().filter(|held| lacks(&is.holders, held)) {
            let (pid, process) = (held.holder.pid, &held.holder.name);
            self.tell("released", new, json!({"pid": pid, "process": process, "how": held.how}));
        }
        let come: Vec<&Held> = is.holders.iter().filter(|held| lacks(&was.holders, held)).collect();
        for held in &come {
            self.tell("held", new, json!({"holder": Person::of(held)}));
        }
        let was_dead =
            |one: &Held| was.holders.iter().any(|other| is_same(other, one) && other.holder.is_dead);
        for held in is.holders.iter().filter(|held| held.holder.is_dead && !was_dead(held)) {
            self.tell("owner_died", new, json!({"pid": held.holder.pid, "process": held.holder.name}));
        }
        // Those that were noticed, and buried, between two looks.
        let deaths = |figures| figure(figures, "owner_deaths").unwrap_or(0);
        let seen = was.holders.iter().filter(|held| held.holder.is_dead).count() as u64;
        let buried = deaths(&is.figures).saturating_sub(deaths(&was.figures)).saturating_sub(seen);
        if buried > 0 {
            self.tell("owner_died", new, json!({"noticed": buried}));
        }
        // Who holds it says what it is in, unless it was left half-done.
        let is_told = self.lines.len() > told_before && is.text != "inconsistent";
        if old.waits.len() != new.waits.len() {
            let longest = new.waits.first().map(|wait| wait.since.as_secs_f64());
            self.tell("waiters", new, json!({"waiters": new.waits.len(), "longest_seconds": longest}));
        }
        let kind = new.entry.header.as_ref().map_or("", |header| header.kind.name());
        let steps = moved(kind, &was.figures, &is.figures);
        let step = |name: &str| steps.iter().find(|(growth, _)| *growth == name).map(|&(_, steps)| steps);
        let missed = step("acquired").unwrap_or(0).saturating_sub(come.len() as u64);
        if missed > 0 {
            self.tell("missed", new, json!({"acquired": missed}));
        }
        let changed = |name: &str| figure(&was.figures, name) != figure(&is.figures, name);
        if figure(&is.figures, "depth").is_some() {
            if ["depth", "leased", "dead", "closed"].into_iter().any(changed)
                || steps.iter().any(|&(_, n)| n > 0)
            {
                self.tell("depth", new, depth(new, &steps));
            }
        } else if was.text != is.text && !is_told || step("set").is_some_and(|steps| steps > 0) {
            self.tell("state", new, json!({"state": is.text}));
        }
    }
}

fn instance(seen: &Seen) -> Option<impl PartialEq> {
    seen.entry.header.as_ref().ok().map(|header| header.instance)
}

/// Whether it is one hold, as far as can be seen from outside.
fn is_same(one: &Held, other: &Held) -> bool {
    (one.holder.pid, &one.holder.name, &one.how) == (other.holder.pid, &other.holder.name, &other.how)
}

/// What an object is in when it is told of for the first time.
fn about(seen: &Seen) -> Value {
    let state = &seen.state;
    let holders: Vec<Person> = state.holders.iter().map(Person::of).collect();
    let mut what = json!({"state": state.text, "holders": holders, "waiters": seen.waits.len()});
    if let Some(depth) = figure(&state.figures, "depth") {
        what["depth"] = depth.into();
    }
    what
}

/// How a queue is, and what was put into it and got from it since the look before.
fn depth(seen: &Seen, steps: &[(&'static str, u64)]) -> Value {
    let figures = seen.state.figures.iter();
    let shown = figures.filter(|(name, _)| ["depth", "leased", "dead", "closed"].contains(name));
    let shown = shown.chain(steps.iter().filter(|(name, _)| ["put", "got"].contains(name)));
    Value::Object(shown.map(|&(name, number)| (name.to_owned(), number.into())).collect())
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn names_are_like_patterns() {
        for (name, glob) in [
            ("", ""),
            ("", "*"),
            ("build-1", "build-*"),
            ("build-1", "*"),
            ("ab", "?b"),
            ("a*b", "a*b"),
            ("aXbXc", "a*X*c"),
            ("ü", "?"),
        ] {
            assert!(is_like(name, glob), "{name} {glob}");
        }
        for (name, glob) in
            [("a", ""), ("build", "build-*"), ("", "?"), ("ab", "a"), ("a", "ab"), ("abc", "a*b")]
        {
            assert!(!is_like(name, glob), "{name} {glob}");
        }
        // It would take years to try each star with each.
        assert!(!is_like(&"a".repeat(200), &("*a".repeat(40) + "b")));
    }
}
