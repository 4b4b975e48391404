//! An end of a lane dies, and another takes its place.

use crate::crash_points;
use procession_tests::{Actor, Scratch};

crash_points! {
    written at "lane.written": writing;
    committed at "lane.committed": writing;
    read at "lane.read": reading;
}

fn writing(label: &str) {
    let scratch = Scratch::new();
    let [mut victim, mut writer, mut reader] = std::array::from_fn(|_| Actor::start(&scratch));
    reader.does("lane l");
    victim.does("lane_write l first");
    victim.dies_at(label, "lane_write l second");
    writer.does("lane_write l third");
    assert_eq!(reader.does("lane_read l"), "first");
    if label == "lane.committed" {
        assert_eq!(reader.does("lane_read l"), "second");
    }
    assert_eq!(reader.does("lane_read l"), "third");
    assert_eq!(reader.does("lane_read l"), "\"nothing\"");
    reader.does("unlink l");
}

fn reading(label: &str) {
    let scratch = Scratch::new();
    let [mut victim, mut writer, mut reader] = std::array::from_fn(|_| Actor::start(&scratch));
    writer.does("lane_write l first");
    writer.does("lane_write l second");
    writer.does("lane_write l third");
    assert_eq!(victim.does("lane_read l"), "first");
    // What it had read is its own.
    victim.dies_at(label, "lane_read l");
    assert_eq!(reader.does("lane_read l"), "third");
    assert_eq!(reader.does("lane_read l"), "\"nothing\"");
    reader.does("unlink l");
}
