//! The restaurant, and the unkillable: what must hold, from what they print.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Running, namespace_of, procession, send, until};
use nix::sys::signal::Signal;

/// What the demo prints when all goes well, and nothing is left behind.
fn plays(arguments: &[&str]) -> Vec<String> {
    let demo = Running::start(&mut procession([&["demo"], arguments].concat()));
    let pid = demo.pid();
    let said = demo.end();
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.stdout.ends_with(": all right\n"), "{said:?}");
    assert_eq!(namespace_of(&[pid].into()), None, "something is left behind: {said:?}");
    said.stdout.lines().map(str::to_owned).collect()
}

/// The numbers in a line.
fn numbers(line: &str) -> Vec<u64> {
    let line = line.replace(',', "");
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[test]
fn every_order_of_the_restaurant_is_complete_and_in_order() {
    let lines = plays(&["restaurant", "--quick"]);
    let whole: Vec<u64> = lines
        .iter()
        .filter(|line| line.ends_with("pasta, sauce and salad"))
        .map(|line| numbers(line)[0])
        .collect();
    assert_eq!(whole, [1, 2, 3, 4, 5, 6]);
    // Sent out once each, and in order too.
    let sent: Vec<u64> =
        lines.iter().filter(|line| line.contains("was first")).map(|line| numbers(line)[0]).collect();
    assert_eq!(sent, [1, 2, 3, 4, 5, 6]);
    assert!(lines.iter().any(|line| line == "the drinks are served"));
}

#[test]
fn a_killed_chef_is_named_and_the_restaurant_closes() {
    let mut demo = Running::start(&mut procession(["demo", "restaurant"]));
    demo.line("order 1: table");
    let salma = until("the chefs", || cli::children_of(demo.pid()).into_iter().nth(1));
    send(salma, Signal::SIGKILL);
    let said = demo.end();
    assert_eq!(said.code(), Some(1), "{said:?}");
    assert!(said.names_as_killed(salma), "{said:?}");
}

#[test]
fn what_the_unkillable_say_adds_up() {
    let lines = plays(&["unkillable", "--quick"]);
    let last = lines.iter().rfind(|line| line.contains(" killed, ")).unwrap();
    // Seconds and tenths, kills, transfers, rounds, messages, repairs.
    let [_, _, kills, transfers, rounds, messages, _] = numbers(last).try_into().unwrap();
    assert!(kills > 3 && rounds > 0, "{last}");
    // A worker killed between the two has counted a transfer without sending, at most once each.
    assert!(messages <= transfers && transfers <= messages + kills, "{last}");
    let sum = lines.iter().find(|line| line.contains("it adds up")).unwrap();
    assert_eq!(numbers(sum)[..3], [8000, 8, 2]);
}
