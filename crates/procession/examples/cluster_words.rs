//! Counts the words of files by a pool whose workers may be on several hosts.
//!
//! ```text
//! procession worker --connect URL --pool words -n 4 -- ./cluster_words     # on each host
//! ./cluster_words URL FILE…                                                # on one of them
//! ```
//!
//! Without an address it counts its own source, with two workers of its own, on this host alone.

use procession::cluster::{Cluster, connect};
use procession::{Namespace, Process};

fn count(path: String) -> Result<usize, String> {
    let bytes = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    Ok(bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count())
}

fn total(cluster: &Cluster, files: Vec<String>) -> Result<usize, Box<dyn std::error::Error>> {
    let counts = cluster.pool("words").map(count, files)?;
    Ok(counts.into_iter().sum::<Result<usize, String>>()?)
}

fn work(url: String) {
    connect(&url).and_then(|cluster| cluster.pool("words").work()).expect("the cluster of the example");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In a process that `procession worker` has started, this does not return.
    procession::init();
    let mut arguments = std::env::args().skip(1);
    if let Some(url) = arguments.next() {
        println!("{}", total(&connect(&url)?, arguments.collect())?);
        return Ok(());
    }
    let url = format!("shm:{}", Namespace::private().name());
    let cluster = connect(&url)?;
    let workers = [Process::spawn(work, url.clone())?, Process::spawn(work, url)?];
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cluster_words.rs").to_owned();
    println!("{} words in {source}", total(&cluster, vec![source.clone()])?);
    cluster.pool("words").close()?;
    for worker in workers {
        worker.join()?;
    }
    Ok(())
}
