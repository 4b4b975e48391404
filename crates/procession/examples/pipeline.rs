//! Two processes joined by a pipe of typed messages; the reader is told when the writer is gone.
//!
//! ```console
//! $ cargo run --example pipeline
//! ```
use procession::{Process, Receiver, RecvError, Sender, pipe};
use serde::{Deserialize, Serialize};
use std::error::Error;

#[derive(Serialize, Deserialize)]
struct Reading {
    sensor: String,
    celsius: f64,
}

fn measure(readings: Sender<Reading>, count: u32) {
    for nth in 0..count {
        let reading =
            Reading { sensor: format!("sensor-{}", nth % 3), celsius: 20.0 + f64::from(nth) / 10.0 };
        readings.send(&reading).unwrap();
    }
}

fn average(readings: Receiver<Reading>) -> (u32, f64) {
    let (mut count, mut sum) = (0, 0.0);
    loop {
        match readings.recv() {
            Ok(Reading { celsius, .. }) => (count, sum) = (count + 1, sum + celsius),
            // The writer has ended, and everything that it had sent was read. One that was killed is told
            // apart: `PeerDied`.
            Err(RecvError::Eof) => return (count, sum / f64::from(count)),
            Err(error) => panic!("{error}"),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    procession::init();
    let (sender, receiver) = pipe()?;
    let writer = Process::spawn(measure, (sender, 1000))?;
    let reader = Process::spawn(average, receiver)?;
    writer.join()?;
    let (count, average) = reader.join()?;
    println!("{count} readings, {average:.2} degrees on average");
    assert_eq!(count, 1000);
    Ok(())
}
