//! A program that tells Prometheus how its queue and its lock are, over HTTP.
//!
//! ```console
//! $ cargo run --example metrics -- 9100
//! $ curl -s http://127.0.0.1:9100/metrics
//! ```
//!
//! Without a port, it asks itself once. Of objects with names, `procession metrics` shows this without a line of code.
use procession::{JoinableQueue, Lock};
use std::error::Error;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// In the text format of Prometheus. To look takes no lock that workers wait for.
fn metrics(jobs: &JoinableQueue<String>, lock: &Lock) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    writeln!(text, "# TYPE jobs_ready gauge\njobs_ready {}", jobs.len())?;
    writeln!(text, "# TYPE jobs_unfinished gauge\njobs_unfinished {}", jobs.unfinished())?;
    writeln!(text, "# TYPE jobs_dead gauge\njobs_dead {}", jobs.n_dead())?;
    writeln!(text, "# TYPE lock_held gauge\nlock_held {}", u8::from(lock.holder().is_some()))?;
    writeln!(
        text,
        "# TYPE lock_owner_deaths_total counter\nlock_owner_deaths_total {}",
        lock.n_owner_deaths()
    )?;
    Ok(text)
}

/// Answers one request, whatever it asks for.
fn answer(mut client: TcpStream, text: &str) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let _asked = client.read(&mut request)?;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close";
    write!(client, "{head}\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

fn main() -> Result<(), Box<dyn Error>> {
    procession::init();
    let jobs: JoinableQueue<String> = JoinableQueue::new()?;
    let lock = Lock::new()?;
    jobs.put("resize photo 7")?;
    jobs.put("resize photo 8")?;
    let job = jobs.get()?;
    let _held = lock.acquire()?;

    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse::<u16>())?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    if port != 0 {
        for client in listener.incoming() {
            answer(client?, &metrics(&jobs, &lock)?)?;
        }
    }

    let mut client = TcpStream::connect(listener.local_addr()?)?;
    client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n")?;
    answer(listener.accept()?.0, &metrics(&jobs, &lock)?)?;
    let mut answered = String::new();
    client.read_to_string(&mut answered)?;
    println!("{answered}");
    assert!(answered.contains("jobs_ready 1\n") && answered.contains("jobs_unfinished 2\n"), "{answered}");
    assert!(answered.contains("lock_held 1\n"), "{answered}");
    job.task_done()?;
    Ok(())
}
