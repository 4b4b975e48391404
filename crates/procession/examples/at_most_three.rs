//! Ten processes, of which never more than three are inside at once; one of those inside is killed, and its
//! place is free again.
//!
//! ```console
//! $ cargo run --example at_most_three
//! ```
use procession::{Process, Semaphore, Value};
use std::error::Error;

/// How many are inside now, and the most that have been.
type Inside = Value<[u32; 2]>;

/// One visit; a visitor that `stays` never leaves by itself.
fn visit(places: Semaphore, inside: Inside, stays: bool) {
    let _place = places.acquire().unwrap();
    if stays {
        loop {
            std::thread::park();
        }
    }
    inside.update(|[now, most]| (*now, *most) = (*now + 1, (*most).max(*now + 1))).unwrap();
    std::thread::yield_now();
    inside.update(|[now, _]| *now -= 1).unwrap();
}

fn main() -> Result<(), Box<dyn Error>> {
    procession::init();
    let places = Semaphore::new(3)?;
    let inside = Inside::new([0, 0])?;

    let stays = Process::spawn(visit, (places.clone(), inside.clone(), true))?;
    while places.available() == 3 {
        std::thread::yield_now();
    }
    let visitors: Vec<_> = (0..10)
        .map(|_| Process::spawn(visit, (places.clone(), inside.clone(), false)))
        .collect::<Result<_, _>>()?;
    stays.kill()?;
    println!("{} {}", stays.label(), stays.wait()?);
    for visitor in visitors {
        visitor.join()?;
    }

    let [now, most] = inside.get()?;
    println!("ten visitors came and went; at most {most} were inside at once");
    assert!(now == 0 && (1..=3).contains(&most));
    // The permit of the killed one came back: all three can be had.
    let all = places.acquire_many(3)?;
    drop(all);
    Ok(())
}
