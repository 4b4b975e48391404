//! A thousand processes alive at once, by each start method (`make soak`; otherwise a hundred), and values that are
//! longer than a gibibyte (`make soak` alone: they need memory).
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use procession::{Event, Latch, Pool, Process, StartMethod, active_children, set_start_method};
use procession_tests::{in_own_process, skip, soaks, started, until};
use std::time::Duration;

procession::test_support!();

const SECONDS: u64 = 250;

/// A test for each start method.
macro_rules! by_each_method {
    ($($test:ident)*) => { $(
        mod $test {
            #[test]
            fn by_spawn() {
                super::play(|| super::$test(procession::StartMethod::Spawn));
            }

            #[test]
            fn by_forkserver() {
                super::play(|| super::$test(procession::StartMethod::Forkserver));
            }

            #[test]
            fn by_fork() {
                super::play(|| super::$test(procession::StartMethod::Fork));
            }
        }
    )* };
}

by_each_method! {
    a_thousand_are_alive_at_once
    what_is_longer_than_a_gibibyte_crosses_both_ways
}

fn play<F: procession::Function<(), fn(), Output = ()>>(test: F) {
    in_own_process(SECONDS, test);
}

fn arrive_and_wait(here: Latch, go: Event, n: u32) -> u32 {
    here.arrive();
    go.wait().unwrap();
    n + 1
}

fn a_thousand_are_alive_at_once(method: StartMethod) {
    set_start_method(method);
    let count: u32 = if soaks() { 1000 } else { 100 };
    // Two descriptors for each.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let here = Latch::options().count(count as usize).anonymous().unwrap();
    let go = Event::new().unwrap();
    let start = |n| Process::spawn(arrive_and_wait, (here.clone(), go.clone(), n)).unwrap();
    let all: Vec<_> = (0..count).map(start).collect();
    here.wait_timeout(Duration::from_secs(SECONDS)).unwrap();
    assert!(active_children().len() == count as usize && all.iter().all(Process::is_alive));
    go.set();
    assert!(all.into_iter().map(|child| child.join().unwrap()).eq(1..=count));
    let own = std::process::id();
    until("nobody is left but the forkserver and its spares", || started(own).is_empty());
}

/// Bytes of memory that could be had now.
fn free_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn what_is_longer_than_a_gibibyte_crosses_both_ways(method: StartMethod) {
    const LEN: usize = (1 << 30) + (1 << 26);
    if !soaks() {
        return;
    }
    if free_memory() < 12 << 30 {
        return skip("values of more than a gibibyte need 12 GiB of memory");
    }
    set_start_method(method);
    let more = |mut text: String| {
        text.push('y');
        text
    };
    let child = Process::spawn(more, "x".repeat(LEN)).unwrap();
    let text = child.join().unwrap();
    assert!(text.len() == LEN + 1 && text.ends_with("xy"));
    let mut pool = Pool::new(1).unwrap();
    let text = pool.apply(more, text).unwrap();
    assert!(text.len() == LEN + 2 && text.ends_with("xyy"));
    pool.close();
    pool.join().unwrap();
}
