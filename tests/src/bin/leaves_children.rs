//! A program that returns from `main` while two daemons and an ordinary child still run.
//!
//! Its argument is a directory in which they say how far they are.

use procession::Process;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    procession::init();
    let place = PathBuf::from(std::env::args().nth(1).ok_or("which directory?")?);
    Process::options().daemon(true).spawn(daemon, place.clone())?;
    Process::options().daemon(true).spawn(stubborn, place.clone())?;
    Process::spawn(ordinary, place.clone())?;
    wait_for(&place.join("daemon"));
    wait_for(&place.join("stubborn"));
    wait_for(&place.join("ordinary"));
    say(&place.join("main-returned"));
    Ok(())
}

fn daemon(place: PathBuf) {
    say(&place.join("daemon"));
    loop {
        std::thread::park();
    }
}

/// A daemon that SIGTERM does not end.
fn stubborn(place: PathBuf) {
    let blocked = nix::sys::signal::SigSet::all().thread_block();
    assert!(blocked.is_ok(), "{blocked:?}");
    say(&place.join("stubborn"));
    loop {
        std::thread::park();
    }
}

fn ordinary(place: PathBuf) {
    say(&place.join("ordinary"));
    wait_for(&place.join("release"));
    say(&place.join("finished"));
}

/// Leaves a complete file with this process's id.
fn say(file: &Path) {
    let partial = file.with_extension("partial");
    let written =
        fs::write(&partial, std::process::id().to_string()).and_then(|()| fs::rename(&partial, file));
    assert!(written.is_ok(), "{written:?}");
}

fn wait_for(file: &Path) {
    while !file.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
}
