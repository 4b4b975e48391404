//! A map that several processes fill at once: each change is whole, also when its process is killed over it.
//!
//! ```console
//! $ cargo run --example shared_map
//! ```
use procession::{Map, Process};
use std::error::Error;

/// How often each word was seen.
type Counts = Map<String, u64>;

const TEXTS: [&str; 3] = ["to be or not to be", "that is the question", "to die to sleep to dream"];

fn count(text: String, counts: Counts) {
    for word in text.split(' ') {
        // Read, changed and written as one: no other process can come in between.
        counts.update(word, |seen| *seen.get_or_insert(0) += 1).unwrap();
    }
}

/// Changes one word until it is killed.
fn never_stops(counts: Counts) {
    loop {
        counts.update("again", |seen| *seen.get_or_insert(0) += 1).unwrap();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    procession::init();
    let counts = Counts::new()?;
    let busy = Process::spawn(never_stops, counts.clone())?;
    let others = TEXTS
        .map(|text| Process::spawn(count, (text.to_owned(), counts.clone())))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    for process in others {
        process.join()?;
    }
    while counts.get("again")?.is_none() {
        std::thread::yield_now();
    }
    busy.kill()?;
    busy.wait()?;

    // A copy of one moment, in no order.
    let mut seen = counts.iter()?.collect::<Result<Vec<_>, _>>()?;
    seen.sort();
    for (word, times) in &seen {
        println!("{times:>8} {word}");
    }
    assert_eq!(counts.get("to")?, Some(5));
    assert!(counts.get("again")? > Some(0));
    Ok(())
}
