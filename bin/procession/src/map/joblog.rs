//! `--joblog`: one line for each job that has ended, as GNU parallel writes it, and behind that what tells the job
//! from others.
//!
//! The last column is a hash of the command and of the job's inputs. By it `--resume` knows what was done, whatever
//! was put before it, or behind it, since.
//!
//! | killed here | what the log says, and what `--resume` does |
//! |---|---|
//! | a job runs | nothing: it is killed with this process, and runs again |
//! | a job has ended, and its line is not written | the same: it runs again |
//! | the line is written, by one write | it is not run again; output that was not printed yet is lost (`--results` keeps it) |
//! | the machine stops in the middle of a line | a line without its end is no line |

use procession_sys::file_lock;
use procession_terminal::exit::Failure;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::hash::Hasher;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const HEADING: &str = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand";
/// Where a line has these words.
const EXITVAL: usize = 6;
const COLUMNS: usize = 9;

/// What tells a job from others: its command and its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct JobHash(u128);

impl JobHash {
    /// Of a job, by the command as it was typed.
    pub(crate) fn of<W: AsRef<[u8]>>(in_shell: bool, command: &[W], items: &[Vec<u8>]) -> Self {
        let mut hasher = SipHasher24::new();
        // Lengths go first, so that no two jobs are the same bytes.
        hasher.write_u64(u64::from(in_shell));
        hasher.write_u64(command.len() as u64);
        for word in command.iter().map(AsRef::as_ref).chain(items.iter().map(Vec::as_slice)) {
            hasher.write_u64(word.len() as u64);
            hasher.write(word);
        }
        Self(hasher.finish128().as_u128())
    }

    fn read(text: &str) -> Option<Self> {
        let is_hash = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u128::from_str_radix(text, 16).ok().filter(|_| is_hash).map(Self)
    }
}

impl std::fmt::Display for JobHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What of a log is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Nothing: the log begins anew.
    No,
    /// What has ended.
    Ended,
    /// What has ended well.
    Succeeded,
}

/// A job that has ended, as its line says it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) seq: u64,
    /// Since the epoch.
    pub(crate) began_ns: u64,
    pub(crate) ran_ns: u64,
    /// How many bytes it has written to stdout.
    pub(crate) received: u64,
    pub(crate) exit: i32,
    pub(crate) signal: i32,
    pub(crate) command: &'a str,
    pub(crate) hash: JobHash,
}

/// A log that this process writes.
#[derive(Debug)]
pub(crate) struct Joblog {
    path: PathBuf,
    file: File,
    /// How often each of the jobs was done before.
    done: HashMap<JobHash, u64>,
}

impl Joblog {
    /// Opens the log, or makes it; a name with `+` in front is added to.
    pub(crate) fn open(path: &Path, resume: Resume) -> Result<Self, Failure> {
        let file = file_of(path);
        let (path, is_kept) = (file, resume != Resume::No || file != path);
        let failed = |error: std::io::Error| cannot("open", path, &error);
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path).map_err(failed)?;
        let mut log = Self { path: path.to_owned(), file, done: HashMap::new() };
        if !log.file.metadata().map_err(failed)?.is_file() {
            // A pipe, a terminal, /dev/null: nothing stands in it, and others may write into it, too.
            log.append(&format!("{HEADING}\n"))?;
            return Ok(log);
        }
        // The process's own lock: a job that was just forked when its map was killed has the description too, until it is
        // executed, and a map that resumes would be refused. A file system without locks is no reason to have no log.
        if let Ok(Some(writer)) = file_lock::try_lock_for_process(&log.file, 0) {
            let writer = writer.map_or_else(String::new, |pid| format!(", process {pid}"));
            return Err(Failure::Error(
                format!(
                    "the job log {} is being written by another `procession map`{writer}: wait until that has \
                     ended, or give this one another log",
                    path.display()
                )
                .into(),
            ));
        }
        if !is_kept {
            log.file.set_len(0).map_err(failed)?;
        }
        let (len, has_end) = log.read(resume).map_err(|error| cannot("read", path, &error))?;
        if len == 0 {
            log.append(&format!("{HEADING}\n"))?;
        } else if !has_end {
            log.append("\n")?;
        }
        Ok(log)
    }

    /// Reads what was done; how long the log is, and whether its last line has an end.
    fn read(&mut self, resume: Resume) -> std::io::Result<(u64, bool)> {
        self.file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::new(&self.file);
        let (mut len, mut has_end) = (0, true);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            len += line.len() as u64;
            has_end = line.pop_if(|last| *last == b'\n').is_some();
            if has_end && let Some(hash) = done(&line, resume) {
                *self.done.entry(hash).or_default() += 1;
            }
            line.clear();
        }
        Ok((len, has_end))
    }

    /// Whether a job of that hash was done before, which counts for one job.
    pub(crate) fn take_done(&mut self, hash: JobHash) -> bool {
        match self.done.get_mut(&hash) {
            Some(times @ 1..) => {
                *times -= 1;
                true
            }
            _ => false,
        }
    }

    /// Writes a line, at once.
    pub(crate) fn write(&mut self, line: &Line<'_>) -> Result<(), Failure> {
        self.append(&text(line))
    }

    fn append(&mut self, text: &str) -> Result<(), Failure> {
        self.file.write_all(text.as_bytes()).map_err(|error| cannot("write", &self.path, &error))
    }
}

/// The log's own name, without a `+` in front.
pub(crate) fn file_of(path: &Path) -> &Path {
    path.to_str().and_then(|name| name.strip_prefix('+')).map_or(path, Path::new)
}

fn text(line: &Line<'_>) -> String {
    let Line { seq, began_ns, ran_ns, received, exit, signal, command, hash } = line;
    let seconds = |ns: u64| ns as f64 / 1e9;
    format!(
        "{seq}\t:\t{:.3}\t{:10.3}\t0\t{received}\t{exit}\t{signal}\t{command}\t{hash}\n",
        seconds(*began_ns),
        seconds(*ran_ns)
    )
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::Error(format!("cannot {what} the job log {}: {error}", path.display()).into())
}

/// The job that a line says was done.
fn done(line: &[u8], resume: Resume) -> Option<JobHash> {
    let line = std::str::from_utf8(line).ok()?;
    let words: Vec<&str> = line.split('\t').collect();
    if resume == Resume::No || words.len() <= COLUMNS || words[0].parse::<u64>().is_err() {
        return None;
    }
    if resume == Resume::Succeeded && words[EXITVAL..EXITVAL + 2] != ["0", "0"] {
        return None;
    }
    JobHash::read(words.last()?)
}

#[cfg(test)]
mod tests {
    use super::{HEADING, JobHash, Joblog, Line, Resume};
    use procession_sys::file_lock::{self, Share};
    use std::fs;
    use std::io::Write;

    fn hash(command: &[&str], items: &[&str]) -> JobHash {
        JobHash::of(false, command, &items.iter().map(|item| item.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    fn line(hash: JobHash, exit: i32, signal: i32) -> Line<'static> {
        let (seq, began_ns, ran_ns) = (3, 1_700_000_000_500_000_000, 1_500_000_000);
        Line { seq, began_ns, ran_ns, received: 7, exit, signal, command: "echo 'a b'", hash }
    }

    #[test]
    fn hashes_are_of_what_is_done() {
        let jobs = [
            hash(&["echo"], &["a", "b"]),
            hash(&["echo", "a"], &["b"]),
            hash(&["echo"], &["a b"]),
            hash(&["echo"], &["a", "b", ""]),
            JobHash::of(true, &["echo"], &[b"a".to_vec(), b"b".to_vec()]),
        ];
        for (index, one) in jobs.iter().enumerate() {
            assert!(!jobs[index + 1..].contains(one), "{index}");
            assert_eq!(JobHash::read(&one.to_string()), Some(*one));
        }
        // Logs are kept: a job's hash stays.
        assert_eq!(jobs[0].to_string(), "4794615efe3097f048c3016f98420e4b");
    }

    #[test]
    fn lines_have_the_columns_of_parallel_and_are_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let jobs = [hash(&["e"], &["1"]), hash(&["e"], &["2"]), hash(&["e"], &["3"])];
        let mut log = Joblog::open(&path, Resume::No).unwrap();
        for (job, exit, signal) in [(jobs[0], 0, 0), (jobs[0], 0, 0), (jobs[1], 5, 0), (jobs[2], 0, 9)] {
            log.write(&line(job, exit, signal)).unwrap();
        }
        drop(log);
        let text = fs::read_to_string(&path).unwrap();
        let first = format!("3\t:\t1700000000.500\t     1.500\t0\t7\t0\t0\techo 'a b'\t{}", jobs[0]);
        assert_eq!(text.lines().take(2).collect::<Vec<_>>(), [HEADING, &first]);
        let mut ended = Joblog::open(&path, Resume::Ended).unwrap();
        let taken = [jobs[0], jobs[0], jobs[0], jobs[1], jobs[2]].map(|job| ended.take_done(job));
        assert_eq!(taken, [true, true, false, true, true]);
        drop(ended);
        let mut succeeded = Joblog::open(&path, Resume::Succeeded).unwrap();
        assert_eq!([jobs[0], jobs[1], jobs[2]].map(|job| succeeded.take_done(job)), [true, false, false]);
        drop(succeeded);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        drop(Joblog::open(&path, Resume::No).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{HEADING}\n"));
    }

    #[test]
    fn what_another_one_writes_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        drop(Joblog::open(&path, Resume::No).unwrap());
        // A lock of a description has no process, as one of another pid namespace has none that is seen.
        let other = fs::OpenOptions::new().write(true).open(&path).unwrap();
        assert!(file_lock::try_lock(&other, 0, Share::Exclusive).unwrap());
        let error = format!("{:?}", Joblog::open(&path, Resume::Ended).unwrap_err());
        assert!(error.contains("another `procession map`: wait until"), "{error}");
        drop(other);
        Joblog::open(&path, Resume::Ended).unwrap();
    }

    #[test]
    fn what_is_no_file_is_written_to() {
        let mut logs = [(); 2].map(|()| Joblog::open("/dev/null".as_ref(), Resume::Ended).unwrap());
        for log in &mut logs {
            log.write(&line(hash(&["e"], &["1"]), 0, 0)).unwrap();
        }
        assert!(Joblog::open("/dev/full".as_ref(), Resume::No).is_err());
    }

    #[test]
    fn half_a_line_and_nonsense_are_no_jobs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let job = hash(&["e"], &["1"]);
        let whole = super::text(&line(job, 0, 0));
        let parallels = "1\t:\t1.000\t     0.001\t0\t2\t0\t0\techo 1\n";
        for nonsense in [&whole[..whole.len() - 1], "\u{0}\t\t\n", parallels, "1\t2\n\n"] {
            fs::File::create(&path).unwrap().write_all(nonsense.as_bytes()).unwrap();
            let mut log = Joblog::open(&path, Resume::Ended).unwrap();
            assert!(!log.take_done(job), "{nonsense:?}");
            log.write(&line(job, 0, 0)).unwrap();
            drop(log);
            assert!(Joblog::open(&path, Resume::Ended).unwrap().take_done(job), "{nonsense:?}");
        }
    }
}
