//! What a started child is told: a child that is given nonsense refuses it, and ends.
//!
//! A task for this very build may name any place of its code, and is believed: it came in a sealed file from
//! the process that started the child. So tasks whose build is right name no place.

use crate::{REPEATS, say};
use procession_channel::codec::{self, Codec};
use procession_sys::image::Image;
use procession_sys::start::{Start, Stream, same_program};
use procession_sys::{memfd, pidfd};
use procession_tests::Dice;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// A child that has not ended after so long hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// Starts children until the time is up.
pub(crate) fn play(seed: u64, how: &str) {
    if how == "only" {
        return (0..REPEATS).for_each(|_| round(seed));
    }
    let end = Instant::now() + Duration::from_secs_f64(how.parse().expect("seconds"));
    let seeds = (0..).map(|index| seed.wrapping_add(index));
    seeds.take_while(|_| Instant::now() < end).for_each(round);
}

fn round(seed: u64) {
    say(&seed.to_string());
    let mut dice = Dice::new(seed);
    let task = memfd::create("task").unwrap();
    task.write_all_at(&bytes(&mut dice), 0).unwrap();
    memfd::seal(&task).unwrap();
    let report = memfd::create("report").unwrap();
    let parent = pidfd::open(std::process::id()).unwrap();
    let all = [task.as_fd(), report.as_fd(), parent.as_fd(), report.as_fd()];
    // The task first, or else nobody would take it for one; then as many as it may be.
    let inherit = &all[..[1, 2, 3, 3, 3][dice.below(5) as usize]];
    let outcome = outcome_of(inherit);
    assert!(outcome.is_some(), "the child hangs; seed {seed}");
    let (code, signal) = outcome.unwrap_or_default();
    // It refuses; or it believes that its parent is gone, and goes too.
    let is_refused = code == Some(1) || signal == Some(libc::SIGKILL);
    assert!(is_refused, "code {code:?}, signal {signal:?}, report {:?}; seed {seed}", content(&report));
}

/// How a child ends that is given these files; `None` if it does not.
fn outcome_of(inherit: &[BorrowedFd<'_>]) -> Option<(Option<i32>, Option<i32>)> {
    let numbers: Vec<String> = inherit.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let variable = format!("PROCESSION_CHILD={}", numbers.join(","));
    let arguments = vec![CString::from(c"fuzzed"), CString::from(c"list")];
    let environment = vec![CString::new(variable).unwrap(), CString::from(c"RUST_BACKTRACE=0")];
    let inherit = inherit.iter().map(AsRawFd::as_raw_fd).collect();
    let start = Start {
        arguments,
        environment,
        inherit,
        streams: [Stream::Null, Stream::Null, Stream::Inherit],
        directory: None,
        process_group: None,
    };
    let pid = same_program(&start).unwrap();
    let child = pidfd::open(pid).unwrap();
    if !pidfd::wait(&child, Some(LIMIT)).unwrap() {
        pidfd::send_signal(&child, libc::SIGKILL).unwrap();
        return None;
    }
    let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid.cast_signed()), None).unwrap();
    Some(match status {
        nix::sys::wait::WaitStatus::Exited(_, code) => (Some(code), None),
        nix::sys::wait::WaitStatus::Signaled(_, signal, _) => (None, Some(signal as i32)),
        other => panic!("{other:?}"),
    })
}

/// What a child said, for people.
fn content(report: &File) -> String {
    let mut bytes = vec![0; report.metadata().unwrap().len() as usize];
    report.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A task that is wrong.
fn bytes(dice: &mut Dice) -> Vec<u8> {
    let (header, arguments) = (header(dice), vec![3; dice.below(40) as usize]);
    let mut task = Vec::new();
    task.extend_from_slice(b"PROCTASK");
    task.extend_from_slice(&2_u32.to_le_bytes());
    task.extend_from_slice(&Codec::Bincode.id().to_le_bytes());
    task.extend_from_slice(&(header.len() as u64).to_le_bytes());
    task.extend_from_slice(&(arguments.len() as u64).to_le_bytes());
    task.extend_from_slice(&header);
    task.extend_from_slice(&arguments);
    if dice.below(4) == 0 {
        let at = dice.below(32) as usize;
        task[at] = task[at].wrapping_add(1 + dice.below(255) as u8);
    }
    if dice.below(6) == 0 {
        task.truncate(dice.below(task.len() as u64) as usize);
    }
    task
}

/// The header of a task, as `crates/process/src/task.rs` has it, or of a task of another build with some
/// bytes changed.
fn header(dice: &mut Dice) -> Vec<u8> {
    let is_ours = dice.below(2) == 0;
    let image = if is_ours { Image::current().identity().unwrap() } else { vec![1; dice.below(40) as usize] };
    let text = |dice: &mut Dice| {
        ["", "n", "a/../b", "ü\u{0}", "x"][dice.below(5) as usize].repeat(dice.below(90) as usize)
    };
    let entry = (u64::MAX - dice.below(4), dice.below(u64::MAX));
    let lineage = vec![7_u32; dice.below(200) as usize];
    let flags = [dice.below(2) == 0, dice.below(2) == 0, dice.below(2) == 0];
    let parent = [std::process::id(), 0, u32::MAX][dice.below(3) as usize];
    let namespace = (dice.below(2) == 0).then(|| text(dice));
    let places = vec![(text(dice), dice.below(u64::MAX)); dice.below(3) as usize];
    let [name, parent_name] = [text(dice), text(dice)];
    let starter = (dice.below(2) == 0).then(|| dice.below(1 << 22) as u32);
    let watched = (starter, dice.below(4) != 0);
    let whole = (image, entry, name, lineage, flags, parent, parent_name, watched, namespace, places);
    let mut header = Vec::new();
    codec::encode(&whole, &mut header).unwrap();
    if !is_ours && !header.is_empty() {
        for _ in 0..dice.below(6) {
            let at = dice.below(header.len() as u64) as usize;
            header[at] = dice.below(256) as u8;
        }
    }
    header
}
