//! A Procfile, as foreman, honcho and overmind read it: a name and a shell's command in each line.

use super::workers::MOST;
use procession_terminal::exit::Failure;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::str::FromStr;

/// The first port of the first process, unless the environment has one; and how far that of the next is from it. Both as
/// foreman has them.
const FIRST_PORT: u32 = 5000;
const PORTS_EACH: u32 = 100;

/// How many of one process are to run, `web=2`; `all` is each that is not named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Count {
    name: String,
    number: u32,
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let count =
            |(name, number): (&str, &str)| Some(Self { name: name.to_owned(), number: number.parse().ok()? });
        text.split_once('=').and_then(count).ok_or_else(|| "write NAME=N, as web=2,worker=4".to_owned())
    }
}

/// One worker of a Procfile.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// `web`, or `web.1` where there are several.
    pub(super) name: String,
    /// What it is one of: `web`.
    pub(super) of: String,
    /// Which of these: the first is 1.
    pub(super) instance: u32,
    /// What it finds in PORT.
    pub(super) port: u32,
    /// A shell's.
    pub(super) command: Vec<OsString>,
}

/// The workers of the file, so many of each as `counts` says: without any, one.
///
/// # Errors
/// [`Failure::Usage`] for what is no Procfile, and for names that it has not; why the file cannot be read.
pub(super) fn workers(file: &Path, counts: &[Count]) -> Result<Vec<Named>, Failure> {
    let shown = file.display();
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read the Procfile {shown}: {error}"));
    let text = text.map_err(|error| Failure::Error(error.into()))?;
    let usage = |why: String| Failure::Usage(format!("{shown}: {why}"));
    let entries = entries(&text).map_err(usage)?;
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).map_or(FIRST_PORT, u16::into);
    let workers = counted(&entries, counts, port).map_err(usage)?;
    if workers.is_empty() {
        return Err(usage("it names no process that is to run".to_owned()));
    }
    Ok(workers)
}

/// The names and commands of a Procfile.
fn entries(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let mut entries: Vec<(&str, &str)> = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        let parts = line.split_once(':').map(|(name, command)| (name, command.trim()));
        let Some((name, command)) = parts.filter(|(name, command)| is_name(name) && !command.is_empty())
        else {
            return Err(format!("line {} is not NAME: COMMAND, with letters, digits, - and _", place + 1));
        };
        if entries.iter().any(|(other, _)| *other == name) {
            return Err(format!("line {} names {name:?} a second time", place + 1));
        }
        entries.push((name, command));
    }
    Ok(entries)
}

fn counted(entries: &[(&str, &str)], counts: &[Count], first_port: u32) -> Result<Vec<Named>, String> {
    let names: Vec<&str> = entries.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = counts.iter().find(|count| count.name != "all" && !names.contains(&&*count.name)) {
        return Err(format!("there is no {:?}: it has {}", unknown.name, names.join(", ")));
    }
    // As with the options of most programs, what is said last counts.
    let of = |name: &str| counts.iter().rfind(|count| count.name == name).map(|count| count.number);
    let others = of("all").unwrap_or_else(|| u32::from(counts.is_empty()));
    let number_of = |name: &str| of(name).unwrap_or(others);
    if names.iter().map(|name| u64::from(number_of(name))).sum::<u64>() > MOST.into() {
        return Err(format!("at most {MOST} workers can be run"));
    }
    let mut workers = Vec::new();
    for ((name, command), place) in entries.iter().zip(0..) {
        let number = number_of(name);
        for instance in 1..=number {
            workers.push(Named {
                name: if number == 1 { (*name).to_owned() } else { format!("{name}.{instance}") },
                of: (*name).to_owned(),
                instance,
                port: first_port + PORTS_EACH * place + instance - 1,
                command: ["sh", "-c", command].map(OsString::from).to_vec(),
            });
        }
    }
    Ok(workers)
}

#[cfg(test)]
mod tests {
    use super::{Count, counted, entries};

    #[test]
    fn a_procfile_has_a_name_and_a_command_in_each_line() {
        let text = "# all of it\nweb: ./serve -p $PORT\r\n\n  worker_2:  a: b \n";
        assert_eq!(entries(text), Ok(vec![("web", "./serve -p $PORT"), ("worker_2", "a: b")]));
        for (text, why) in [
            ("web ./serve", "line 1 is not"),
            ("\nweb:", "line 2 is not"),
            ("a.b: c", "line 1 is not"),
            (": c", "line 1 is not"),
            ("a: b\na: c", "line 2 names \"a\" a second time"),
        ] {
            assert!(entries(text).unwrap_err().starts_with(why), "{text}");
        }
    }

    #[test]
    fn so_many_run_as_is_said() {
        let entries = [("web", "w"), ("worker", "x"), ("clock", "c")];
        let said = |counts: &str| {
            let counts: Vec<Count> = counts
                .split(',')
                .filter(|count| !count.is_empty())
                .map(|count| count.parse().unwrap())
                .collect();
            let workers = counted(&entries, &counts, 5000);
            workers.map(|all| all.into_iter().map(|one| (one.name, one.port)).collect::<Vec<_>>())
        };
        let is = |counts: &str, workers: &[(&str, u32)]| {
            let workers: Vec<_> = workers.iter().map(|&(name, port)| (name.to_owned(), port)).collect();
            assert_eq!(said(counts), Ok(workers), "{counts}");
        };
        is("", &[("web", 5000), ("worker", 5100), ("clock", 5200)]);
        is("worker=2", &[("worker.1", 5100), ("worker.2", 5101)]);
        is("all=1,worker=0", &[("web", 5000), ("clock", 5200)]);
        is("web=0", &[]);
        assert!(said("none=1").unwrap_err().ends_with("it has web, worker, clock"));
        for many in ["all=4000000000", "web=100000,clock=1"] {
            assert!(said(many).unwrap_err().starts_with("at most"), "{many}");
        }
        for wrong in ["web", "web=", "web=-1", "web=a"] {
            assert!(wrong.parse::<Count>().is_err(), "{wrong}");
        }
    }
}
