//! Whoever changes a map or a list dies: others see the change or nothing of it, the number of entries too, at
//! once, and change it themselves.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    writing at "store.writing": before_an_insertion;
    written at "store.written": before_an_insertion;
    appended at "store.appended": before_an_insertion;
    announced at "table.announced": before_an_insertion_of_a_new_key;
    placed at "table.placed": after_an_insertion;
    counted at "table.counted": after_an_insertion_of_a_new_key;
    announced_removal at "table.announced_removal": before_a_removal;
    removed at "table.removed": after_a_removal;
    counted_removal at "table.counted_removal": after_a_removal;
    settled at "table.settled": correcting_the_number_of_the_dead;
    reserved at "store.reserved": before_it_has_grown;
    copying at "store.copying": before_it_has_grown;
    built at "store.built": before_it_has_grown;
    moved at "store.moved": before_it_has_grown;
    cleared at "store.moved": after_it_was_cleared;
    clearing at "store.built": before_it_is_cleared;
    written_with_a_sleeper at "store.written": with_a_sleeper;
    announced_with_a_sleeper at "table.announced": with_a_sleeper;
    placed_with_a_sleeper at "table.placed": with_a_sleeper;
    built_with_a_sleeper at "store.built": growing_with_a_sleeper;
    moved_with_a_sleeper at "store.moved": growing_with_a_sleeper;
    announced_while_a_timeout_runs_out at "table.announced": while_a_timeout_runs_out;
    placed_while_a_timeout_runs_out at "table.placed": while_a_timeout_runs_out;
    announced_before_a_recoverer_dies at "table.announced": before_a_recoverer_dies;
    placed_before_a_recoverer_dies at "table.placed": before_a_recoverer_dies;
    removed_before_a_recoverer_dies at "table.removed": before_a_recoverer_dies;
    built_before_a_recoverer_dies at "store.built": before_a_recoverer_dies;
    list_writing at "store.writing": before_a_push;
    list_appended at "store.appended": before_a_push;
    list_pushing at "sequence.pushing": before_a_push;
    list_rewriting at "sequence.rewriting": before_a_push_where_one_was_popped;
    list_pushed at "sequence.pushed": after_a_push;
    list_popped at "sequence.popped": after_a_pop;
    list_set at "sequence.set": after_a_set;
    list_built at "store.built": before_a_change_in_the_middle;
    list_copying at "store.copying": before_a_change_in_the_middle;
    list_moved at "store.moved": after_a_change_in_the_middle;
    list_grown at "store.moved": before_a_push_that_grows_it;
    list_pushing_with_a_sleeper at "sequence.pushing": pushing_with_a_sleeper;
    list_rewriting_with_a_sleeper at "sequence.rewriting": pushing_with_a_sleeper;
}

fn cast(scratch: &Scratch) -> (Actor, Actor, Actor) {
    let [mut victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(scratch));
    one.does("create map m");
    victim.does("open map m");
    two.does("open map m");
    victim.does("insert m a old");
    (victim, one, two)
}

/// These are the entries, readers wait for nobody to see them, and both survivors can change and empty the map.
fn all_is_well(one: &mut Actor, two: &mut Actor, now: &str) {
    assert_eq!((one.does("entries m"), two.does("entries m")), (now.to_owned(), now.to_owned()));
    one.does("insert m y one");
    two.does("insert m z two");
    let and = if now == "{}" { "" } else { ", " };
    let more = format!("{}{and}\"y\": \"one\", \"z\": \"two\"}}", &now[..now.len() - 1]);
    assert_eq!((one.does("entries m"), two.does("entries m")), (more.clone(), more));
    assert_eq!(one.does("remove m z"), "Some(\"two\")");
    two.does("insert_long m y 20000");
    two.does("clear m");
    assert_eq!(one.does("entries m"), "{}");
    one.does("unlink m");
}

fn before_an_insertion(label: &str) {
    for command in ["insert m a new", "insert m b new", "update_timeout m a new 1000", "insert_long m b 300"]
    {
        for nth in [1, 2] {
            let scratch = Scratch::new();
            let (mut victim, mut one, mut two) = cast(&scratch);
            let nth = if label == "store.writing" { nth } else { 1 };
            victim.does(&format!("arm {label} {nth} kill"));
            victim.tell(command);
            victim.dies();
            all_is_well(&mut one, &mut two, "{\"a\": \"old\"}");
        }
    }
}

fn before_an_insertion_of_a_new_key(label: &str) {
    for command in ["insert m b new", "update_timeout m b new 1000", "insert_long m b 300"] {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = cast(&scratch);
        victim.dies_at(label, command);
        all_is_well(&mut one, &mut two, "{\"a\": \"old\"}");
    }
}

fn after_an_insertion(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    victim.dies_at(label, "insert m a new");
    all_is_well(&mut one, &mut two, "{\"a\": \"new\"}");
    after_an_insertion_of_a_new_key(label);
}

fn after_an_insertion_of_a_new_key(label: &str) {
    for command in ["insert m b new", "update_timeout m b new 1000"] {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = cast(&scratch);
        victim.dies_at(label, command);
        all_is_well(&mut one, &mut two, "{\"a\": \"old\", \"b\": \"new\"}");
    }
}

fn before_a_removal(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    victim.dies_at(label, "remove m a");
    all_is_well(&mut one, &mut two, "{\"a\": \"old\"}");
}

fn after_a_removal(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    victim.dies_at(label, "remove m a");
    all_is_well(&mut one, &mut two, "{}");
}

/// What a death leaves in the number of entries, and what the entries are then.
const LEFT: [(&str, &str, &str); 4] = [
    ("table.announced", "insert m b new", "{\"a\": \"old\"}"),
    ("table.placed", "insert m b new", "{\"a\": \"old\", \"b\": \"new\"}"),
    ("table.announced_removal", "remove m a", "{\"a\": \"old\"}"),
    ("table.removed", "remove m a", "{}"),
];

fn correcting_the_number_of_the_dead(label: &str) {
    for (left_at, left_by, now) in LEFT {
        for command in ["insert m c more", "insert m a new"] {
            let scratch = Scratch::new();
            let (victim, mut one, mut two) = cast(&scratch);
            victim.dies_at(left_at, left_by);
            let mut heir = Actor::start(&scratch);
            heir.does("open map m");
            heir.dies_at(label, command);
            all_is_well(&mut one, &mut two, now);
        }
    }
}

fn before_it_has_grown(label: &str) {
    for command in ["insert_long m a 5000", "insert_long m b 5000"] {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = cast(&scratch);
        victim.dies_at(label, command);
        all_is_well(&mut one, &mut two, "{\"a\": \"old\"}");
    }
}

fn before_it_is_cleared(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    victim.dies_at(label, "clear m");
    all_is_well(&mut one, &mut two, "{\"a\": \"old\"}");
}

fn after_it_was_cleared(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = cast(&scratch);
    victim.dies_at(label, "clear m");
    all_is_well(&mut one, &mut two, "{}");
}

fn with_a_sleeper(label: &str) {
    let there = label == "table.placed";
    let now = if there { "{\"a\": \"old\", \"b\": \"new\"}" } else { "{\"a\": \"old\"}" };
    for command in ["insert m a more", "remove m a", "clear m", "insert_long m a 5000"] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch);
        victim.stops_at(label, "insert m b new");
        one.waits(command);
        // Nobody waits for whoever stopped in the middle, to read.
        assert_eq!(two.does("entries m"), now);
        two.fails("update_timeout m a x 10", "Lock(TimedOut)");
        victim.kill();
        one.did();
        let a = match command {
            "insert m a more" => "\"a\": \"more\"",
            "insert_long m a 5000" => "\"a\": \"5000\"",
            _ => "",
        };
        let b = if there && command != "clear m" { "\"b\": \"new\"" } else { "" };
        let and = if a.is_empty() || b.is_empty() { "" } else { ", " };
        all_is_well(&mut one, &mut two, &format!("{{{a}{and}{b}}}"));
    }
}

fn growing_with_a_sleeper(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = cast(&scratch);
    victim.stops_at(label, "insert_long m b 5000");
    one.waits("insert_long m c 6000");
    assert_eq!(two.does("entries m"), "{\"a\": \"old\"}");
    victim.kill();
    one.did();
    all_is_well(&mut one, &mut two, "{\"a\": \"old\", \"c\": \"6000\"}");
}

/// A waiter's time and its writer's life end together: it has changed the map or not, and the answer says which.
fn while_a_timeout_runs_out(label: &str) {
    for ms in [5, 10, 15, 20] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = cast(&scratch);
        victim.stops_at(label, "insert m b new");
        one.tell(&format!("update_timeout m a more {ms}"));
        victim.kill();
        let a = if one.answer().starts_with("ok") { "more" } else { "old" };
        let b = if label == "table.placed" { ", \"b\": \"new\"" } else { "" };
        all_is_well(&mut one, &mut two, &format!("{{\"a\": \"{a}\"{b}}}"));
    }
}

fn before_a_recoverer_dies(label: &str) {
    let (left_by, then) = match label {
        "table.announced" => ("insert m b new", "{\"a\": \"old\""),
        "table.placed" => ("insert m b new", "{\"a\": \"old\", \"b\": \"new\""),
        "store.built" => ("insert_long m b 5000", "{\"a\": \"old\""),
        _ => ("remove m a", "{"),
    };
    let to_the_lock = ["lock.owner_found_dead", "lock.buried", "lock.acquired_contended"];
    let on_the_way = to_the_lock.iter().chain(&["store.written", "table.announced"]);
    let after = ["table.placed", "table.counted", "lock.released_contended"];
    for (&heirs, is_there) in
        on_the_way.map(|heirs| (heirs, false)).chain(after.iter().map(|heirs| (heirs, true)))
    {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = cast(&scratch);
        victim.dies_at(label, left_by);
        let mut heir = Actor::start(&scratch);
        heir.does("open map m");
        heir.dies_at(heirs, "insert m c more");
        let and = if then == "{" { "" } else { ", " };
        let c = if is_there { format!("{and}\"c\": \"more\"") } else { String::new() };
        all_is_well(&mut one, &mut two, &format!("{then}{c}}}"));
    }
}

fn list_cast(scratch: &Scratch) -> (Actor, Actor, Actor) {
    let [mut victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(scratch));
    one.does("create list l");
    victim.does("open list l");
    two.does("open list l");
    victim.does("extend l a b c");
    (victim, one, two)
}

fn the_list_is_well(one: &mut Actor, two: &mut Actor, now: &[&str]) {
    let shown = format!("{now:?}");
    assert_eq!((one.does("elements l"), two.does("elements l")), (shown.clone(), shown));
    one.does("push l y");
    two.does("push l z");
    let more = format!("{:?}", [now, &["y", "z"]].concat());
    assert_eq!((one.does("elements l"), two.does("elements l")), (more.clone(), more));
    assert_eq!((one.does("pop l"), two.does("pop l")), ("Some(\"z\")".to_owned(), "Some(\"y\")".to_owned()));
    two.does("insert l 0 w");
    assert_eq!(one.does("elements l"), format!("{:?}", [&["w"], now].concat()));
    one.does("clear l");
    assert_eq!(two.does("elements l"), "[]");
    one.does("unlink l");
}

fn before_a_push(label: &str) {
    for command in ["push l d", "extend l d e", "push_long l 300"] {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = list_cast(&scratch);
        victim.dies_at(label, command);
        the_list_is_well(&mut one, &mut two, &["a", "b", "c"]);
    }
}

fn before_a_push_where_one_was_popped(label: &str) {
    for command in ["push l d", "extend l d e", "push_long l 300"] {
        let scratch = Scratch::new();
        let (mut victim, mut one, mut two) = list_cast(&scratch);
        victim.does("pop l");
        victim.dies_at(label, command);
        the_list_is_well(&mut one, &mut two, &["a", "b"]);
    }
}

fn after_a_push(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = list_cast(&scratch);
    victim.dies_at(label, "extend l d e");
    the_list_is_well(&mut one, &mut two, &["a", "b", "c", "d", "e"]);
}

fn after_a_pop(label: &str) {
    for command in ["pop l", "remove l 2"] {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = list_cast(&scratch);
        victim.dies_at(label, command);
        the_list_is_well(&mut one, &mut two, &["a", "b"]);
    }
}

fn after_a_set(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = list_cast(&scratch);
    victim.dies_at(label, "set l 1 new");
    the_list_is_well(&mut one, &mut two, &["a", "new", "c"]);
}

fn before_a_change_in_the_middle(label: &str) {
    for command in ["insert l 1 new", "remove l 1", "push_long l 5000"] {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = list_cast(&scratch);
        victim.dies_at(label, command);
        the_list_is_well(&mut one, &mut two, &["a", "b", "c"]);
    }
}

fn after_a_change_in_the_middle(label: &str) {
    for (command, now) in [("insert l 1 new", &["a", "new", "b", "c"][..]), ("remove l 1", &["a", "c"])] {
        let scratch = Scratch::new();
        let (victim, mut one, mut two) = list_cast(&scratch);
        victim.dies_at(label, command);
        the_list_is_well(&mut one, &mut two, now);
    }
}

fn before_a_push_that_grows_it(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut one, mut two) = list_cast(&scratch);
    victim.dies_at(label, "push_long l 5000");
    the_list_is_well(&mut one, &mut two, &["a", "b", "c"]);
}

fn pushing_with_a_sleeper(label: &str) {
    let scratch = Scratch::new();
    let (mut victim, mut one, mut two) = list_cast(&scratch);
    victim.does("pop l");
    victim.stops_at(label, "push l d");
    one.waits("push l e");
    assert_eq!(two.does("elements l"), "[\"a\", \"b\"]");
    victim.kill();
    one.did();
    the_list_is_well(&mut one, &mut two, &["a", "b", "e"]);
}
