//! Who creates a plain file dies: it is there whole, or not at all.

use crate::crash_points;
use procession_tests::{Actor, Scratch};
use std::fs;
use std::path::PathBuf;

crash_points! {
    mapped at "plain.create.mapped": creating;
    published at "plain.create.published": creating;
}

fn creating(label: &str) {
    let scratch = Scratch::new();
    let (victim, mut other) = (Actor::start(&scratch), Actor::start(&scratch));
    let name = format!("{}-plain", scratch.name());
    victim.dies_at(label, &format!("create plain {name} 100"));
    if label == "plain.create.published" {
        other.fails(&format!("create plain {name} 100"), "AlreadyExists");
        other.does(&format!("open plain {name}"));
    } else {
        other.fails(&format!("open plain {name}"), "NotFound");
        other.does(&format!("create plain {name} 100"));
    }
    assert_eq!(other.does(&format!("read_at {name} 0 100")), "\0".repeat(100));
    fs::remove_file(PathBuf::from("/dev/shm").join(name)).unwrap();
}
