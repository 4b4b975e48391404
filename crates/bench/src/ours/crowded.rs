//! Joining and leaving a namespace where others have many files in `/dev/shm`.

use crate::actor::{Actor, Control};
use crate::case::{Plan, Side};
use crate::error::{Context, Result};
use procession::Namespace;
use procession::shm;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

/// How many processes join and leave, one after the other.
const PROCESSES: u64 = 10;

/// What is timed.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Register,
    Leave,
}

/// One process after the other joins a namespace of its own and ends, while there are `count` files of
/// others; each sample is the time for one process, us.
pub(crate) fn beside_files<'a>(plan: &'a Plan<'a>, count: u64, part: Part) -> Result<Side<'a>> {
    Ok(Box::new(move || {
        let _files = Files::make(count)?;
        let mut samples = Vec::new();
        for _ in 0..PROCESSES {
            let mut joiner = Actor::role(plan.session, "ours/join", &[])?;
            joiner.tell("join")?;
            let [registered] = joiner.numbers("joined")?;
            let ended = joiner.end()?.as_nanos();
            let ns = match part {
                Part::Register => registered as f64,
                Part::Leave => ended as f64,
            };
            samples.push(ns / 1e3);
        }
        Ok(samples)
    }))
}

/// The role that joins, and leaves as it ends.
pub(crate) fn join(control: &mut Control) -> Result<()> {
    while let Some([]) = control.order("join")? {
        let begun = Instant::now();
        shm::register(&Namespace::private()).context("register")?;
        control.answer(&format!("joined {}", begun.elapsed().as_nanos()))?;
    }
    Ok(())
}

/// Files that are none of ours: one with many names, which are made faster than files.
struct Files {
    stem: PathBuf,
    made: u64,
}

impl Files {
    fn make(count: u64) -> Result<Self> {
        let mut files = Files { stem: format!("/dev/shm/foreign-{}", std::process::id()).into(), made: 0 };
        if count > 0 {
            fs::write(&files.stem, []).context("make a file")?;
        }
        while files.made < count {
            fs::hard_link(&files.stem, files.name(files.made)).context("link a file")?;
            files.made += 1;
        }
        Ok(files)
    }

    fn name(&self, at: u64) -> PathBuf {
        self.stem.with_extension(at.to_string())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for at in 0..self.made {
            drop(fs::remove_file(self.name(at)));
        }
        drop(fs::remove_file(&self.stem));
    }
}
