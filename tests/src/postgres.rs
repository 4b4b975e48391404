//! A PostgreSQL server of the tests' own.

use crate::network::Network;
use crate::{note, skip, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// A server in a directory of its own, which listens there and nowhere else. Dropping it ends and removes it.
#[derive(Debug)]
pub struct Postgres {
    directory: TempDir,
    programs: PathBuf,
    server: Option<Child>,
    durable: bool,
    /// On which port of this host it listens besides, by TLS, too.
    port: Option<u16>,
    /// The network whose hosts it listens to besides.
    network: Option<Arc<Network>>,
}

/// Where the server's programs are, if anywhere.
fn programs() -> Option<PathBuf> {
    let has = |directory: &PathBuf| directory.join("postgres").exists() && directory.join("initdb").exists();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    debian.sort();
    std::env::split_paths(&path).chain(debian.into_iter().rev()).find(has)
}

impl Postgres {
    /// Starts one; `None`, and the skipped list says so, where none is installed. A durable one keeps what it has answered
    /// when it is killed.
    #[must_use]
    pub fn start(durable: bool) -> Option<Self> {
        let mut postgres = Self::prepare(durable)?;
        postgres.launch();
        Some(postgres)
    }

    /// Starts one to which the hosts of a network have ways; `None` where there is no server.
    #[must_use]
    pub fn start_in(network: Arc<Network>, durable: bool) -> Option<Self> {
        let mut postgres = Self::prepare(durable)?;
        let rules = postgres.data().join("pg_hba.conf");
        let mut rules = std::fs::OpenOptions::new().append(true).open(rules).unwrap();
        rules.write_all(b"host all all 10.77.0.0/16 trust\n").unwrap();
        postgres.network = Some(network);
        postgres.launch();
        Some(postgres)
    }

    /// The files of one that was not started yet.
    fn prepare(durable: bool) -> Option<Self> {
        let Some(programs) = programs() else {
            skip(
                "there is no PostgreSQL server here: install one (for example `apt-get install postgresql`)",
            );
            return None;
        };
        let directory = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").unwrap();
        if let Some(user) = server_user() {
            chown(directory.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        let postgres = Self { directory, programs, server: None, durable, port: None, network: None };
        let data = postgres.data();
        let output = postgres
            .program("initdb")
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(data)
            .output()
            .unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        Some(postgres)
    }

    /// Starts one that listens on a port of this host, too, and has a certificate for `localhost` there; `None` where there
    /// is no server or no `openssl`.
    #[must_use]
    pub fn with_tls() -> Option<Self> {
        let mut postgres = Self::start(false)?;
        let make = "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=ca -days 1 && \
                    openssl req -newkey rsa:2048 -nodes -keyout data/server.key -out csr -subj /CN=localhost && \
                    echo subjectAltName=DNS:localhost > names && \
                    openssl x509 -req -in csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 -extfile names -out data/server.crt && \
                    chmod 600 data/server.key";
        let mut shell = postgres.program("/bin/sh");
        let made = shell.args(["-c", make]).stderr(Stdio::null()).stdout(Stdio::null()).status().unwrap();
        if !made.success() {
            skip("there is no openssl here, by which a server would get a certificate");
            return None;
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        postgres.port = Some(free);
        postgres.end(Signal::SIGQUIT);
        postgres.launch();
        Some(postgres)
    }

    /// The port on which it listens.
    ///
    /// # Panics
    /// When it listens on none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap()
    }

    /// A file in its directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts a pooler in transaction mode in front of it, with two connections that take turns. `None` where none is
    /// installed.
    #[must_use]
    pub fn pooler(&self) -> Option<Pooler> {
        let directory = self.directory.path().display();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = format!(
            "[databases]\npostgres = host={directory} user=postgres dbname=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\nmin_pool_size = 2\n\
             default_pool_size = 2\nserver_round_robin = 1\nlogfile = {directory}/pooler.log\n"
        );
        let file = self.file("pooler.ini");
        std::fs::write(&file, settings).unwrap();
        let path = ["/usr/sbin/pgbouncer", "/usr/local/sbin/pgbouncer", "/usr/bin/pgbouncer"];
        let Some(program) = path.into_iter().find(|path| std::path::Path::new(path).exists()) else {
            skip("there is no pooler here: install one (for example `apt-get install pgbouncer`)");
            return None;
        };
        let mut command = Self::as_server(Command::new(program));
        command.arg("-q").arg(&file).current_dir(self.directory.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        until("the pooler listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        let address = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres sslmode=disable");
        Some(Pooler { child, address })
    }

    /// The command as the user that may run the server.
    fn as_server(mut command: Command) -> Command {
        if let Some(user) = server_user() {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A command of the server's, as the user that may run it.
    fn program(&self, name: &str) -> Command {
        let mut command = Self::as_server(Command::new(self.programs.join(name)));
        command.current_dir(self.directory.path());
        command
    }

    fn launch(&mut self) {
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.directory.path());
        if let Some(port) = self.port {
            command.args(["-c", "ssl=on", "-c", "listen_addresses=127.0.0.1", "-c", &format!("port={port}")]);
        } else {
            let everywhere = if self.network.is_some() { "*" } else { "" };
            command.args(["-c", &format!("listen_addresses={everywhere}")]);
        }
        for setting in ["shared_buffers=16MB", "max_connections=60", "log_min_messages=fatal"] {
            command.arg("-c").arg(setting);
        }
        if !self.durable {
            command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
        command.stdout(Stdio::null()).stderr(log);
        let address = self.address();
        until("the server answers", || {
            // It refuses to begin, and ends, as long as a process of one that was killed is there.
            if self.server.as_mut().is_none_or(|server| server.try_wait().unwrap().is_some()) {
                let started = match &self.network {
                    Some(network) => network.within(|| command.spawn()),
                    None => command.spawn(),
                };
                self.server = Some(started.unwrap());
            }
            procession::cluster::ClusterOptions::new().schema("probe").connect(&address).is_ok()
        });
    }

    /// The address, without a schema.
    #[must_use]
    pub fn address(&self) -> String {
        let port = self.port.map_or_else(String::new, |port| format!(" port={port}"));
        format!("host={}{port} user=postgres dbname=postgres", self.directory.path().display())
    }

    /// The directory in which the server's socket is.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join(".s.PGSQL.5432")
    }

    /// The name of a schema that no other test has.
    #[must_use]
    pub fn schema() -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs SQL by the server's own program; what it printed.
    pub fn sql(&self, text: &str) -> String {
        let psql =
            if self.programs.join("psql").exists() { self.programs.join("psql") } else { "psql".into() };
        let mut command = Command::new(psql);
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &self.address(), "-c", text]);
        crate::run(&mut command).trim().to_owned()
    }

    /// Has the server end, and its directory removed, when this process is gone, however it ends: for a server that all tests
    /// of a program share.
    #[expect(clippy::zombie_processes, reason = "it outlives this process, which is what it is for")]
    pub fn ends_with_this_process(&self) {
        let script =
            "read -r _; kill -QUIT $0; while kill -0 $0 2>/dev/null; do sleep 0.05; done; rm -rf \"$1\"";
        let mut guard = Command::new("sh");
        guard
            .args(["-c", script, &self.server.as_ref().unwrap().id().to_string()])
            .arg(self.directory.path());
        let mut guard =
            guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Its input ends with us.
        std::mem::forget(guard.stdin.take());
    }

    /// Kills it (SIGKILL), which ends its other processes as well, and starts it again.
    pub fn crash(&mut self) {
        self.end(Signal::SIGKILL);
        self.launch();
    }

    fn end(&mut self, signal: Signal) {
        let Some(mut server) = self.server.take() else { return };
        kill(Pid::from_raw(server.id().cast_signed()), signal).unwrap();
        drop(server.wait());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if std::thread::panicking() {
            note("the server of a test that fails is ended, too");
        }
        self.end(Signal::SIGQUIT);
    }
}

/// A pooler in front of a server. Dropping it ends it.
#[derive(Debug)]
pub struct Pooler {
    child: Child,
    /// Its own address.
    pub address: String,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The user as which the server runs: it refuses to run as root.
fn server_user() -> Option<User> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten())
}
