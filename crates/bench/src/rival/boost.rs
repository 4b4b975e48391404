//! Boost.Interprocess: a `message_queue` between two processes of C++, `boost.cpp`, which is compiled when it
//! is needed.

use crate::actor::Control;
use crate::error::{BenchError, Context, Result};
use crate::ours::Session;
use crate::queue::{Kind, Made, ROOM};
use crate::roles;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

pub(crate) const BOOST: Kind = Kind {
    make,
    bytes: None,
    produce: "boost/produce",
    consume: "boost/consume",
    ping: "no such role",
    pong: "no such role",
};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rival/boost.cpp");
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bench/boost");
const HEADERS: &str = "boost/interprocess/ipc/message_queue.hpp";

fn make(session: &Session, _: &Kind, name: &str) -> Result<Made> {
    static COMPILED: OnceLock<Result<()>> = OnceLock::new();
    COMPILED.get_or_init(compile).clone()?;
    let address = format!("{}.{}", session.namespace().name(), session.fresh_name(name));
    Ok(Made { address, _keep: Box::new(()) })
}

fn compile() -> Result<()> {
    if let Some(folder) = Path::new(PROGRAM).parent() {
        std::fs::create_dir_all(folder).context(folder.display())?;
    }
    // Another bench may be starting the program.
    let own = format!("{PROGRAM}.{}", std::process::id());
    let mut compiler = Command::new("g++");
    compiler.args(["-O2", "-std=c++17", "-pthread", "-o", &own, SOURCE, "-lrt"]);
    let output = compiler.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => BenchError::Unavailable("g++ not found".to_owned()),
        _ => BenchError::Failed(format!("g++: {error}")),
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    match said.lines().find(|line| line.contains("error")) {
        _ if output.status.success() => std::fs::rename(&own, PROGRAM).context(PROGRAM),
        Some(line) if line.contains(HEADERS) => {
            Err(BenchError::Unavailable("its headers (libboost-dev) not found".to_owned()))
        }
        line => Err(BenchError::Failed(format!("g++ {}: {}", output.status, line.unwrap_or_default()))),
    }
}

/// Either role is the program of C++ in place of this one: it hears the same orders, and dies with the same
/// parent.
pub(crate) fn become_program(_: &mut Control, what: &str, rest: &[String]) -> Result<()> {
    let [address] = roles::rest(rest)?;
    let error = Command::new(PROGRAM).args([what, address, &ROOM.to_string()]).exec();
    Err(BenchError::Failed(format!("{PROGRAM}: {error}")))
}
