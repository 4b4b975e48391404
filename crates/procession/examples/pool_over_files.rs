//! A pool of processes counts the lines of many files, and shows how far it is.
//!
//! ```console
//! $ cargo run --example pool_over_files -- ~/src
//! ```
use procession::{Pool, Progress};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// Runs in a worker: one that is killed costs the file that it was at, which is then counted by another.
fn lines_of(file: PathBuf) -> Result<usize, String> {
    let bytes = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(bytes.iter().filter(|&&byte| byte == b'\n').count())
}

/// All files below a directory; links are not followed.
fn gather(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => gather(&entry.path(), files)?,
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    procession::init();
    let directory =
        std::env::args().nth(1).unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/src").into());
    let mut files = Vec::new();
    gather(Path::new(&directory), &mut files)?;

    // Called at most twenty times in a second, and at the end.
    let show = |progress: Progress| {
        eprintln!("{} of {} files", progress.done + progress.failed, progress.total);
    };
    let pool = Pool::options().observer(show).retries(2).start()?;
    let mut lines = 0;
    // As they are done; `file` is the place among them.
    for (file, counted) in pool.imap_unordered(lines_of, files.clone()) {
        match counted? {
            Ok(count) => lines += count,
            Err(reason) => eprintln!("{} is left out: {reason}", files[file].display()),
        }
    }
    println!("{lines} lines in {} files", files.len());
    assert!(lines > 0);
    Ok(())
}
