//! Who becomes a ward dies before its program is executed: its guardian has no ward.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    ward_began at "registry.ward_began": becoming_a_ward;
    warded at "registry.warded": becoming_a_ward;
}

fn becoming_a_ward(label: &str) {
    let scratch = Scratch::new();
    let [mut guardian, mut other] = std::array::from_fn(|_| Actor::start(&scratch));
    guardian.does("create lock l");
    other.does("open lock l");
    guardian.does("acquire l");
    guardian.does(&format!("arm {label} 1 kill"));
    guardian.does("guard sleep 600");
    assert_eq!(guardian.does("lose_ward"), "signal: 9 (SIGKILL)");
    // Nobody has taken its exit status when the guardian dies: a zombie has ended.
    guardian.does("guard sleep 600");
    other.fails("acquire_timeout l 20", "TimedOut");
    guardian.kill();
    other.fails("acquire l", "OwnerDied");
    other.does("recover l");
    other.does("unlink l");
}
