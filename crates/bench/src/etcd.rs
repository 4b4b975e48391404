//! etcd's lock, the rival of ours beyond one machine: a server of the bench's own, asked by its JSON gateway over one
//! connection that is kept. `etcdctl lock` would be the start of a process each time.

use crate::case::Side;
use crate::cluster::{each, micros};
use crate::error::{BenchError, Context, Result};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The name of the lock, as the gateway takes it.
const NAME: &str = "YmVuY2g=";
/// How long a lease lasts, in seconds: longer than a round.
const TTL: u64 = 60;

/// A server that ends with the value.
struct Etcd {
    server: Child,
    port: u16,
    _directory: TempDir,
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("a port")?;
    Ok(listener.local_addr().context("a port")?.port())
}

impl Etcd {
    fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("etcd").tempdir_in("/tmp").context("a directory")?;
        let port = free_port()?;
        let (clients, peers) =
            (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", free_port()?));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(directory.path().join("data"));
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = command
            .spawn()
            .map_err(|_| BenchError::Unavailable("etcd is not installed: make rivals".to_owned()))?;
        let etcd = Self { server, port, _directory: directory };
        let begun = Instant::now();
        while let Err(error) = Client::connect(port).and_then(|mut client| client.lease()) {
            if begun.elapsed() > Duration::from_secs(30) {
                return Err(BenchError::Failed(format!("etcd does not answer: {error}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(etcd)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// A connection to the gateway.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).context("connecting to etcd")?;
        stream.set_nodelay(true).context("connecting to etcd")?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Asks, and waits for the answer.
    fn ask(&mut self, path: &str, question: &Value) -> Result<Value> {
        let body = question.to_string();
        let head =
            format!("POST /v3/{path} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n", body.len());
        self.0.get_mut().write_all((head + &body).as_bytes()).context("asking etcd")?;
        let (mut length, mut in_chunks) = (0, false);
        let status = self.line()?;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            } else if let Some(bytes) = line.strip_prefix("content-length:") {
                length = bytes.trim().parse().context("an answer of etcd")?;
            }
            in_chunks |= line == "transfer-encoding: chunked";
        }
        let answer = if in_chunks { self.chunks()? } else { self.bytes(length)? };
        let text = String::from_utf8_lossy(&answer);
        if !status.contains(" 200 ") {
            return Err(BenchError::Failed(format!("etcd: {path}: {status}: {text}")));
        }
        serde_json::from_str(&text).context("an answer of etcd")
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).context("an answer of etcd")?;
        Ok(line.trim_end().to_owned())
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).context("an answer of etcd")?;
        Ok(bytes)
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line()?, 16).context("an answer of etcd")?;
            all.extend(self.bytes(length)?);
            self.line()?;
            if length == 0 {
                return Ok(all);
            }
        }
    }

    /// A new lease.
    fn lease(&mut self) -> Result<String> {
        let answer = self.ask("lease/grant", &json!({"TTL": TTL}))?;
        text_of(&answer, "ID")
    }

    /// Waits for the lock, and has it as long as the lease lasts; what it is released by.
    fn lock(&mut self, lease: &str) -> Result<String> {
        let answer = self.ask("lock/lock", &json!({"name": NAME, "lease": lease}))?;
        text_of(&answer, "key")
    }

    fn unlock(&mut self, key: &str) -> Result<()> {
        self.ask("lock/unlock", &json!({"key": key})).map(drop)
    }
}

fn text_of(answer: &Value, field: &str) -> Result<String> {
    let text = answer[field].as_str().map(str::to_owned);
    text.ok_or_else(|| BenchError::Failed(format!("etcd answers without {field}: {answer}")))
}

/// Taking and releasing a free lock, µs.
pub(crate) fn lock_pairs<'a>() -> Result<Side<'a>> {
    let etcd = Etcd::start()?;
    let mut client = Client::connect(etcd.port)?;
    Ok(Box::new(move || {
        let _etcd = &etcd;
        let lease = client.lease()?;
        each(50, micros, || {
            let key = client.lock(&lease)?;
            client.unlock(&key)
        })
    }))
}
