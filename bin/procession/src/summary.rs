//! What `procession --help` says of the subcommands: grouped by what they are for, one line each.

use clap::Command;

/// What is said of a subcommand.
type Line = (&'static str, &'static str);

/// Every subcommand that is shown stands in one of these groups, by a line here.
const GROUPS: [(&str, &[Line]); 5] = [
    (
        "Run commands",
        &[
            ("lock", "while a lock is held: lock NAME -- CMD"),
            ("sem", "at most so many at a time: sem NAME -c 4 -- CMD"),
            ("with", "while several locks and permits are held, all or none"),
            ("map", "once for each line of stdin: map -j 4 -- CMD {}"),
            ("queue", "once for each item of a queue: queue work NAME -- CMD {}"),
            ("run", "N times, as workers that know their rank: run -n 4 -- CMD"),
            ("worker", "N times, as workers of a pool of several hosts"),
            ("ctl", "steer a map or a run from another terminal"),
        ],
    ),
    (
        "Wait for each other",
        &[
            ("event", "set an event, and wait for it"),
            ("barrier", "wait until all have come"),
            ("counter", "count together"),
            ("pipe", "send bytes to other scripts"),
            ("wait", "wait for processes, events, locks, queues: all of them, or one"),
        ],
    ),
    (
        "Look",
        &[
            ("ls", "what objects there are, what they are in, who holds them"),
            ("inspect", "one object, with all who hold it and wait for it"),
            ("top", "all of it, again and again"),
            ("watch", "what changes, as lines of JSON: watch 'build-*'"),
            ("stats", "one object, a line of numbers every second"),
            ("ps", "processes, what they hold and what they wait for"),
            ("waits", "who waits, for how long, and for whom"),
            ("deadlocks", "who waits for whom in a circle"),
            ("metrics", "numbers for Prometheus"),
            ("doctor", "what this machine lacks, and what to do"),
        ],
    ),
    (
        "Remove",
        &[("rm", "objects by name, with all that is in them"), ("gc", "what dead processes left behind")],
    ),
    (
        "Learn",
        &[
            ("help", "more about a subcommand; `help recipes`, `help exit-codes`"),
            ("demo", "programs to look at: separate processes, checked results"),
            ("completions", "what a shell completes, names of objects, too"),
            ("man", "the manual, as files"),
        ],
    ),
];

/// The command line with its subcommands in groups.
pub(crate) fn grouped(command: Command) -> Command {
    let is_there = |name: &str| command.find_subcommand(name).is_some();
    let mut text = String::from("{about-with-newline}\n{usage-heading} {usage}\n");
    for (title, lines) in GROUPS {
        text += &format!("\n{title}:\n");
        for (name, line) in lines.iter().filter(|(name, _)| is_there(name)) {
            text += &format!("  {name:<11} {line}\n");
        }
    }
    text += "\nOptions:\n{options}{after-help}";
    // Braces without a name between them are left as they are.
    command.help_template(text)
}

#[cfg(test)]
mod tests {
    use super::GROUPS;
    use crate::args::Cli;
    use clap::CommandFactory;

    #[test]
    fn every_subcommand_stands_in_one_group() {
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let lines = GROUPS.iter().flat_map(|(_, lines)| lines.iter());
            let found = lines.filter(|(name, _)| *name == command.get_name()).count();
            assert_eq!(found, 1, "{}", command.get_name());
        }
    }
}
