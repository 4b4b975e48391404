//! The words of real files, counted by a pool of processes.
//!
//! A worker gets the name of a file and returns how often each word is in it; the parent adds up, in whatever
//! order the answers come. What cannot be counted is reported and left out.

use crate::progress::progress;
use crate::shown::must_hold;
use procession::Pool;
use procession_terminal::exit::Failure;
use procession_terminal::output::{self, Align};
use serde::Serialize;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Instant;
use walkdir::WalkDir;

/// Counts the words of files, with a pool of processes.
///
/// Directories are walked. Symbolic links in them are not followed, and only regular files are opened. A file
/// that is not UTF-8, or cannot be read, is reported and left out; the exit code is 1 if it was named on the
/// command line.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files, and directories with files.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How many processes [default: one per available CPU].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    workers: Option<u16>,
    /// How many of the most frequent words to show.
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// As the tests run it; this demo takes as long as the files do.
    #[arg(long)]
    quick: bool,
}

/// How often a file is tried again when its worker is killed.
const RETRIES: u32 = 100;

/// How many left-out files are named when people read the result.
const NAMED: usize = 10;

/// How much of a file is read at once, at least.
const READ: usize = 1 << 20;

type Counts = HashMap<String, u64>;

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let begin = Instant::now();
    let Found { files, mut skipped } = find_files(&args.paths);
    let options = Pool::options().retries(RETRIES);
    let options = match args.workers {
        Some(workers) => options.processes(workers.into()),
        None => options,
    };
    let pool = options.start()?;
    let mut counted = 0;
    let mut counts = Counts::new();
    let bar = progress("counting", files.len());
    // File names are bytes, and need not be text.
    let names = files.iter().map(|file| file.path.as_os_str().as_bytes().to_vec()).collect::<Vec<_>>();
    for (index, result) in pool.imap_unordered(count_file, names) {
        match result? {
            Ok(of_file) => {
                counted += 1;
                for (word, count) in of_file {
                    *counts.entry(word).or_default() += count;
                }
            }
            Err(reason) => skipped.extend(files.get(index).map(|file| file.skipped(reason))),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    skipped.sort_by(|a, b| a.path.cmp(&b.path));
    must_hold(counted + skipped.len() >= files.len(), "a file was neither counted nor reported")?;

    let incomplete = skipped.iter().any(|skipped| skipped.named);
    let summary = Summary::new(counted, skipped, &counts, args.top);
    if args.json {
        output::json(&summary)?;
    } else {
        summary.print()?;
        let workers = output::number_of(pool.workers().len() as u64, "worker");
        output::warn(&format!("{workers}, {:.3} s", begin.elapsed().as_secs_f64()));
    }
    if incomplete { Err(Failure::Incomplete) } else { Ok(()) }
}

/// Runs in the workers: how often each word is in the file, or why nobody can tell.
fn count_file(name: Vec<u8>) -> Result<Counts, String> {
    count(OsStr::from_bytes(&name).as_ref()).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => "not UTF-8".to_owned(),
        _ => error.to_string(),
    })
}

/// Reads the file piece by piece; a piece ends where a word does.
fn count(file: &Path) -> io::Result<Counts> {
    let mut file = File::open(file)?;
    let mut counts = Counts::new();
    let mut piece = Vec::new();
    loop {
        // At least as much again as is left over, so that a very long word is not looked at too often.
        let wanted = READ.max(piece.len()) as u64;
        let at_end = file.by_ref().take(wanted).read_to_end(&mut piece)? == 0;
        let text = match std::str::from_utf8(&piece) {
            Ok(text) => text,
            // A character that goes on in the next piece.
            Err(error) if error.error_len().is_none() && !at_end => {
                std::str::from_utf8(piece.get(..error.valid_up_to()).unwrap_or_default())
                    .map_err(io::Error::other)?
            }
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        };
        let complete = if at_end { text.len() } else { text.rfind(char::is_whitespace).unwrap_or(0) };
        for word in text.get(..complete).unwrap_or_default().split_whitespace() {
            match counts.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(counts.insert(word.to_owned(), 1)),
            }
        }
        if at_end {
            return Ok(counts);
        }
        piece.drain(..complete);
    }
}

/// A file to be counted.
#[derive(Debug)]
struct Candidate {
    path: PathBuf,
    /// Whether the command line names it, or only a directory above it.
    named: bool,
}

/// What is not counted.
#[derive(Debug, Serialize)]
struct Skipped {
    path: String,
    reason: String,
    #[serde(skip)]
    named: bool,
}

impl Candidate {
    fn skipped(&self, reason: impl ToString) -> Skipped {
        let path = self.path.to_string_lossy().into_owned();
        Skipped { path, reason: reason.to_string(), named: self.named }
    }
}

#[derive(Debug, Default)]
struct Found {
    files: Vec<Candidate>,
    skipped: Vec<Skipped>,
}

/// All regular files at and below `paths`, and what else was met.
fn find_files(paths: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for path in paths {
        let named = Candidate { path: path.clone(), named: true };
        match fs::metadata(path).map(|meta| meta.file_type()) {
            Err(error) => found.skipped.push(named.skipped(error)),
            Ok(kind) if kind.is_file() => found.files.push(named),
            Ok(kind) if kind.is_dir() => walk(path, &mut found),
            Ok(kind) => found.skipped.push(named.skipped(not_a_file(kind))),
        }
    }
    found
}

fn walk(directory: &Path, found: &mut Found) {
    for entry in WalkDir::new(directory).sort_by_file_name() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(directory).to_owned();
                let candidate = Candidate { path, named: error.depth() == 0 };
                let reason = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                found.skipped.push(candidate.skipped(reason));
                continue;
            }
        };
        let (kind, candidate) = (entry.file_type(), Candidate { path: entry.into_path(), named: false });
        if kind.is_file() {
            found.files.push(candidate);
        } else if kind.is_symlink() && candidate.path != directory {
            // One that leads nowhere, or in a circle, says so.
            let target = fs::metadata(&candidate.path);
            let reason = match target {
                Ok(_) => "symbolic link, not followed".to_owned(),
                Err(error) => format!("symbolic link: {error}"),
            };
            found.skipped.push(candidate.skipped(reason));
        } else if !kind.is_dir() && !kind.is_symlink() {
            found.skipped.push(candidate.skipped(not_a_file(kind)));
        }
    }
}

fn not_a_file(kind: FileType) -> &'static str {
    if kind.is_fifo() {
        "a FIFO, not a regular file"
    } else if kind.is_socket() {
        "a socket, not a regular file"
    } else {
        "not a regular file"
    }
}

/// The result, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Summary {
    files: usize,
    skipped: Vec<Skipped>,
    words: u64,
    unique: usize,
    top: Vec<Frequent>,
}

#[derive(Debug, Serialize)]
struct Frequent {
    word: String,
    count: u64,
}

impl Summary {
    fn new(files: usize, skipped: Vec<Skipped>, counts: &Counts, top: usize) -> Self {
        let mut by_count: Vec<_> = counts.iter().collect();
        // The most frequent first; of equals, by the alphabet.
        by_count.sort_unstable_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
        let frequent = by_count.into_iter().take(top);
        Self {
            files,
            skipped,
            words: counts.values().sum(),
            unique: counts.len(),
            top: frequent.map(|(word, &count)| Frequent { word: word.clone(), count }).collect(),
        }
    }

    fn print(&self) -> Result<(), Failure> {
        for Skipped { path, reason, .. } in self.skipped.iter().take(NAMED) {
            output::warn(&format!("{}: {reason}", output::printable(path)));
        }
        if let more @ 1.. = self.skipped.len().saturating_sub(NAMED) {
            output::warn(&format!("and {more} more left out; --json names them all"));
        }
        let rows: Vec<_> = self
            .top
            .iter()
            .map(|Frequent { word, count }| vec![output::grouped(*count), output::printable(word)])
            .collect();
        if !rows.is_empty() {
            output::table(&[("COUNT", Align::Right), ("WORD", Align::Left)], &rows)?;
        }
        let words = output::number_of(self.words, "word");
        let files = output::number_of(self.files as u64, "file");
        let unique = output::grouped(self.unique as u64);
        output::line(format_args!("{words}, {unique} different, in {files}"))
    }
}

#[cfg(test)]
mod tests {
    use super::{READ, count};
    use std::io::Write;

    fn counted(bytes: &[u8]) -> std::io::Result<Vec<(String, u64)>> {
        let path = std::env::temp_dir().join(format!(
            "procession-words-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::File::create(&path)?.write_all(bytes)?;
        let counts = count(&path);
        std::fs::remove_file(&path)?;
        let mut counts: Vec<_> = counts?.into_iter().collect();
        counts.sort();
        Ok(counts)
    }

    #[test]
    fn words_are_whole_wherever_a_piece_ends() {
        assert_eq!(counted(b"").unwrap(), []);
        assert_eq!(counted(b" \n\t").unwrap(), []);
        // A piece ends in the middle of `ü`, of a word, and between words.
        for length in READ - 3..READ + 3 {
            let text = format!("{} wörter ü\u{2003}ü", "x".repeat(length));
            let expected = [("wörter".to_owned(), 1), ("x".repeat(length), 1), ("ü".to_owned(), 2)];
            assert_eq!(counted(text.as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_not_utf8_is_not_counted() {
        assert!(counted(b"good bad\xff").is_err());
        assert!(counted("cut ü".as_bytes().split_last().unwrap().1).is_err());
        let mut late = b"good ".repeat(READ);
        late.push(0xc3);
        assert!(counted(&late).is_err());
    }
}
