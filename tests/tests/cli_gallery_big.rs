//! The big demos: what must hold, from what they print, with and without somebody who kills.
#![expect(clippy::unwrap_used, reason = "what tests share is part of the tests")]
#![allow(dead_code, clippy::allow_attributes, reason = "not every file uses all of the shared module")]

mod cli;

use cli::{Running, Said, children_of, namespace_of, procession, send, until};
use nix::sys::signal::Signal;

/// What the demo says in the end, after which nothing of it is left.
fn end(demo: Running) -> Said {
    let pid = demo.pid();
    let said = demo.end();
    assert_eq!(namespace_of(&[pid].into()), None, "something is left behind: {said:?}");
    said
}

/// What it printed when all went well.
fn well(said: &Said) -> Vec<String> {
    assert_eq!((said.code(), said.stderr.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.stdout.ends_with(": all right\n"), "{said:?}");
    said.stdout.lines().map(str::to_owned).collect()
}

/// What the demo prints when all goes well, and nothing is left behind.
fn plays(arguments: &[&str]) -> Vec<String> {
    well(&end(Running::start(&mut procession([&["demo"], arguments].concat()))))
}

/// The numbers in a line.
fn numbers(line: &str) -> Vec<u64> {
    let line = line.replace(',', "");
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[test]
fn every_order_of_the_restaurant_is_complete_and_in_order() {
    let lines = plays(&["restaurant", "--quick"]);
    // Announced once each by the barrier's action, and served with what was poured for it.
    let place = |beginning: String| {
        let places: Vec<usize> = lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.starts_with(&beginning))
            .map(|(place, _)| place)
            .collect();
        assert_eq!(places.len(), 1, "{beginning}: {lines:?}");
        places[0]
    };
    let mut last = 0;
    for order in 1..=6 {
        let ready = place(format!("order {order} is ready: "));
        assert!(["pasta", "sauce", "salad"].iter().all(|part| lines[ready].contains(part)), "{lines:?}");
        let served = place(format!("order {order} is served, with "));
        let drink = lines[served].rsplit(' ').next().unwrap();
        let poured = place(format!("order {order}: {drink} is ready"));
        assert!(ready < served && poured < served && last < served, "{lines:?}");
        last = served;
    }
}

#[test]
fn a_killed_chef_is_named_and_the_restaurant_closes() {
    let mut demo = Running::start(&mut procession(["demo", "restaurant"]));
    demo.line("order 1: table");
    let salma = until("the chefs", || children_of(demo.pid()).into_iter().nth(2));
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

#[test]
fn the_unkillable_go_on_when_a_person_kills() {
    let mut demo = Running::start(&mut procession(["demo", "unkillable", "--seconds", "2"]));
    for _ in 0..3 {
        // The one that is left to people, and then the one in its place.
        let pid = numbers(&demo.line("kill one yourself: kill -9 "))[1];
        send(u32::try_from(pid).unwrap(), Signal::SIGKILL);
        assert!(demo.line("process \"life-").contains(&format!("(pid {pid}, ")));
    }
    let said = end(demo);
    let lines = well(&said);
    assert!(lines.iter().any(|line| line.contains(", 3 of them killed by you: it adds up")), "{said:?}");
}
