//! A shell script fills a queue of JSON; a Rust program and a Python program work on it; their answers are for the script.
//!
//! ```console
//! $ cargo install procession-cli
//! $ make python && source target/python/venv/bin/activate    # or without: then Rust does all of it
//! $ cargo run --example shell_rust_and_python
//! ```
use procession::{Codec, JoinableQueue};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::process::{Command, Stdio};

#[derive(Serialize, Deserialize)]
struct Photo {
    name: String,
    width: u32,
}

#[derive(Serialize, Deserialize)]
struct Thumbnail {
    name: String,
    /// What the script did not say has a default: programs and scripts need not change on one day.
    #[serde(default)]
    height: u32,
}

/// What would stand in the script. A person types the same.
const FILLS: &str = r#"
procession queue put photos '{"name":"sea.jpg","width":640}' '{"name":"hill.jpg","width":300}'
"#;
const EMPTIES: &str = "procession queue drain thumbnails";
/// What would stand in `work.py`.
const PYTHON: &str = r#"
import procession

photos = procession.JoinableQueue(name="photos")
thumbnails = procession.JoinableQueue(name="thumbnails")
with photos.lease() as photo:
    name = photo["name"].replace(".jpg", "-small.jpg")
    thumbnails.put({"name": name, "height": photo["width"] // 4 * 3})
"#;

/// Runs a script, and says what it printed.
fn shell(script: &str) -> Result<String, Box<dyn Error>> {
    let output = Command::new("sh").args(["-ec", script]).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{script}: {} (is the command `procession` installed?)", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Has Python work on one photo; `false` where Python has no `procession`.
fn python() -> Result<bool, Box<dyn Error>> {
    let knows = Command::new("python3").args(["-c", "import procession"]).stderr(Stdio::null()).status();
    if !knows.is_ok_and(|status| status.success()) {
        println!("python3 has no procession (`make python` builds it): Rust does its part");
        return Ok(false);
    }
    let status = Command::new("python3").args(["-c", PYTHON]).status()?;
    if status.success() { Ok(true) } else { Err(format!("python3: {status}").into()) }
}

fn main() -> Result<(), Box<dyn Error>> {
    procession::init();
    // JSON, which scripts can read and write; without `.codec`, only Rust programs with these types could.
    let photos: JoinableQueue<Photo> =
        JoinableQueue::options().codec(Codec::Json).open_or_create("photos")?;
    let thumbnails: JoinableQueue<Thumbnail> =
        JoinableQueue::options().codec(Codec::Json).open_or_create("thumbnails")?;

    shell(FILLS)?;
    let left = if python()? { 1 } else { 2 };
    assert_eq!(photos.unfinished(), left);
    while let Ok(photo) = photos.try_get() {
        let name = photo.name.replace(".jpg", "-small.jpg");
        thumbnails.put(&Thumbnail { name, height: photo.width / 4 * 3 })?;
        // The answer is in the queue before the question is done: killed in between, it is answered twice, and never
        // not at all.
        photo.task_done()?;
    }
    let printed = shell(EMPTIES)?;
    print!("{printed}");
    assert!(printed.contains(r#"{"name":"sea-small.jpg","height":480}"#), "{printed}");

    // Only so that this example leaves nothing behind.
    photos.unlink()?;
    thumbnails.unlink()?;
    Ok(())
}
