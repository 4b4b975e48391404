//! `--results DIR`: what each job says, in files, where GNU parallel would put them: for the inputs `a` and `b`,
//! `DIR/1/a/2/b/stdout`, `stderr` and `seq`.
//!
//! A `/` in an input is written `\_`, a backslash as two, tabs and NULs as `\t` and `\0`. Unlike with GNU parallel, no input
//! leads out of the directory, and no two jobs share files: `.`, `..` and an empty input get a backslash, what is too
//! long for a name is cut and gets a hash, and a job whose inputs were there before gets a directory below them.

use super::joblog::JobHash;
use procession_terminal::exit::Failure;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{File, create_dir_all, write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The longest name that every file system takes.
const LONGEST_NAME: usize = 255;
/// How much of a longer one is kept.
const KEPT: usize = 200;

/// The directory.
#[derive(Debug)]
pub(crate) struct Results {
    directory: PathBuf,
    /// Those of jobs that were started.
    used: HashSet<PathBuf>,
}

impl Results {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), used: HashSet::new() }
    }

    /// Where a job's files are to be; `width` is how many inputs belong together.
    pub(crate) fn place(&mut self, items: &[Vec<u8>], width: usize, seq: u64) -> PathBuf {
        let mut path = PathBuf::new();
        for (index, item) in items.iter().enumerate() {
            path.push((index % width.max(1) + 1).to_string());
            path.push(OsString::from_vec(name(item)));
        }
        if self.used.contains(&path) {
            path.push(format!(r"\{seq}"));
        }
        self.used.insert(path.clone());
        self.directory.join(path)
    }

    /// Makes the job's files: stdout and stderr.
    pub(crate) fn make(place: &Path, seq: u64) -> Result<[File; 2], Failure> {
        let failed = |error: std::io::Error| {
            Failure::Error(format!("cannot write results in {}: {error}", place.display()).into())
        };
        create_dir_all(place).map_err(failed)?;
        write(place.join("seq"), seq.to_string()).map_err(failed)?;
        let file = |name: &str| File::create(place.join(name)).map_err(failed);
        Ok([file("stdout")?, file("stderr")?])
    }
}

/// An input as the name of a file.
fn name(item: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(item.len());
    for byte in item {
        match byte {
            b'/' => name.extend(br"\_"),
            b'\\' => name.extend(br"\\"),
            b'\t' => name.extend(br"\t"),
            0 => name.extend(br"\0"),
            byte => name.push(*byte),
        }
    }
    if name.is_empty() || name == b"." || name == b".." {
        name.insert(0, b'\\');
    }
    if name.len() > LONGEST_NAME {
        name.truncate(KEPT);
        name.extend(format!(r"\{}", JobHash::of::<&[u8]>(false, &[item], &[])).bytes());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::{Results, name};
    use std::path::Path;

    #[test]
    fn names_are_those_of_parallel_and_lead_nowhere_else() {
        let names = [&b"a b"[..], b"a/b", br"x\y", b"t\tt", b"", b".", b"..", b"\xff"].map(name);
        let said = [&b"a b"[..], br"a\_b", br"x\\y", br"t\tt", br"\", br"\.", br"\..", b"\xff"];
        assert_eq!(names, said);
        let long = [b"x".repeat(300), b"x".repeat(301)].map(|long| name(&long));
        assert!(long[0] != long[1] && long[0].len() < 255);
    }

    #[test]
    fn no_two_jobs_share_files() {
        let mut results = Results::new(Path::new("/d"));
        let items = |items: &[&str]| items.iter().map(|item| item.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(results.place(&items(&["a", "b"]), 2, 1), Path::new("/d/1/a/2/b"));
        assert_eq!(results.place(&items(&["a", "b"]), 1, 2), Path::new("/d/1/a/1/b"));
        assert_eq!(results.place(&items(&["a", "b"]), 2, 3), Path::new(r"/d/1/a/2/b/\3"));
    }
}
