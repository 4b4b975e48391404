//! Who does what is to be done once dies over it: another does it, and only if it was not done.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    running at "once.running": running_it;
    done at "once.done": running_it;
}

fn running_it(label: &str) {
    for sleepers in [false, true] {
        let scratch = Scratch::new();
        let [mut victim, mut one, mut two] = std::array::from_fn(|_| Actor::start(&scratch));
        let file = tempfile::NamedTempFile::new().unwrap();
        let run = format!("once o {}", file.path().display());
        one.does("create once o");
        let was_done = label == "once.done";
        if sleepers && !was_done {
            // Others wait for it when it dies.
            victim.stops_at(label, &run);
            one.waits(&run);
            two.waits(&run);
            victim.kill();
            let mut outcomes = [one.did(), two.did()];
            outcomes.sort();
            assert_eq!(outcomes, ["false false", "true true"]);
        } else {
            victim.dies_at(label, &run);
            assert_eq!(one.does("is_done o"), was_done.to_string());
            let mut second = Actor::start(&scratch);
            if !was_done {
                second.does(&format!("arm {label} 1 kill"));
                second.tell(&run);
                second.dies();
            }
            assert_eq!(one.does(&run), if was_done { "false false" } else { "true true" });
            assert_eq!(two.does(&run), "false false");
        }
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "done\n");
        one.does("unlink o");
    }
}
