//! Ways to a server that can be cut: cables between hosts, which are network namespaces of the kernel, and a process in
//! between for where nobody may make those.
//!
//! A namespace is there as long as somebody has it open or runs in it: what a test that is killed leaves goes by itself.

use crate::{can_unshare, run, skip};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

/// The namespace in which a server is, and to which hosts are joined.
#[derive(Debug)]
pub struct Network {
    middle: Arc<File>,
    hosts: AtomicU8,
}

impl Network {
    /// One without hosts; `None`, and the skipped list says so, where this user may not make namespaces.
    #[must_use]
    pub fn new() -> Option<Self> {
        if !can_unshare(&["--net"]) {
            return None;
        }
        if Command::new("ip").arg("-V").output().is_err() {
            skip("there is no command `ip`, by which hosts are joined: install iproute2");
            return None;
        }
        Some(Self { middle: Arc::new(namespace()), hosts: AtomicU8::new(0) })
    }

    /// Runs something in the server's namespace, such as the start of a process.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(&self.middle, work)
    }

    /// Another host, with a cable to the server.
    #[must_use]
    pub fn host(&self) -> Host {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        let host = Host { far: namespace(), middle: self.middle.clone(), number };
        let (near, far) = (format!("host{number}"), path(&host.far));
        host.at_the_server(&["link", "add", &near, "type", "veth", "peer", "name", "eth0", "netns", &far]);
        host.at_the_server(&["addr", "add", &format!("10.77.{number}.1/24"), "dev", &near]);
        host.at_the_server(&["link", "set", &near, "up"]);
        within(&host.far, || {
            ip(&["addr", "add", &format!("10.77.{number}.2/24"), "dev", "eth0"]);
            ip(&["link", "set", "eth0", "up"]);
        });
        host
    }
}

/// A host.
#[derive(Debug)]
pub struct Host {
    far: File,
    middle: Arc<File>,
    number: u8,
}

impl Host {
    fn at_the_server(&self, words: &[&str]) {
        within(&self.middle, || ip(words));
    }
}

/// A namespace with nothing in it but the way to itself.
fn namespace() -> File {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip(&["link", "set", "lo", "up"]);
        File::open("/proc/thread-self/ns/net").unwrap()
    };
    // Of this thread alone.
    std::thread::spawn(make).join().unwrap()
}

/// Does something in a thread that is in that namespace, and so are the processes that it starts.
fn within<T: Send>(net: &File, work: impl FnOnce() -> T + Send) -> T {
    let enter = || {
        setns(net, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    };
    std::thread::scope(|scope| scope.spawn(enter).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn path(net: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), net.as_raw_fd())
}

fn ip(words: &[&str]) {
    drop(run(Command::new("ip").args(words)));
}

/// A process in between, which passes on what both sides say.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    cut: Arc<AtomicBool>,
    slow: Arc<AtomicBool>,
}

impl Proxy {
    fn to(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let [cut, slow] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let (is_cut, is_slow) = (cut.clone(), slow.clone());
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), UnixStream::connect(&socket).unwrap());
                let (near2, far2) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (one, other, slow) = (is_cut.clone(), is_cut.clone(), is_slow.clone());
                std::thread::spawn(move || forward(near, far, &one, &slow));
                std::thread::spawn(move || forward(far2, near2, &other, &AtomicBool::new(false)));
            }
        });
        Self { port, cut, slow }
    }
}

/// A way that is slow takes 2 ms for each 4 KiB.
fn forward(mut from: impl Read, mut to: impl Write, cut: &AtomicBool, slow: &AtomicBool) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !cut.load(Ordering::SeqCst) && to.write_all(&bytes[..count]).is_err() {
            return;
        }
        if slow.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }
    // While the way is cut, ends do not go through either.
    while cut.load(Ordering::SeqCst) {
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// A way to a server. While it is cut, what is said on it is lost, and neither side is told.
#[derive(Debug)]
pub enum Way {
    /// A cable. The server's own system notices when nobody is at the other end any more.
    Cable(Host),
    /// A process, which is always at the other end: only a lease ends what is held beyond it.
    Proxy(Proxy),
}

impl Way {
    /// By a process that hands on what is said to the server's socket.
    #[must_use]
    pub fn by_proxy(socket: PathBuf) -> Self {
        Self::Proxy(Proxy::to(socket))
    }

    /// Has what is said to the server cross at 2 MB a second, in each connection; by a process alone.
    pub fn slow_down(&self) {
        if let Self::Proxy(proxy) = self {
            proxy.slow.store(true, Ordering::SeqCst);
        }
    }

    /// The server's address at the far end.
    #[must_use]
    pub fn address(&self) -> String {
        let (host, port) = match self {
            Self::Cable(host) => (format!("10.77.{}.1", host.number), 5432),
            Self::Proxy(proxy) => ("127.0.0.1".to_owned(), proxy.port),
        };
        format!("host={host} port={port} user=postgres dbname=postgres sslmode=disable")
    }

    /// Does something at the far end: what is started there is there.
    pub fn at_its_end<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match self {
            Self::Cable(host) => within(&host.far, work),
            Self::Proxy(_) => work(),
        }
    }

    /// Cuts it.
    pub fn cut(&self) {
        self.set(true);
    }

    /// Mends it.
    pub fn mend(&self) {
        self.set(false);
    }

    fn set(&self, cut: bool) {
        match self {
            Self::Cable(host) => {
                let cable = format!("host{}", host.number);
                host.at_the_server(&["link", "set", &cable, if cut { "down" } else { "up" }]);
            }
            Self::Proxy(proxy) => proxy.cut.store(cut, Ordering::SeqCst),
        }
    }
}
