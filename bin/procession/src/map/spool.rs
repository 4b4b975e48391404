//! What jobs have said and nobody has printed yet: in memory up to a bound, and behind that in a file without a name,
//! which vanishes with this process.

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Error, Result};
use std::os::unix::fs::FileExt;

/// How much of it is in memory, of all jobs together.
const IN_MEMORY: usize = 32 << 20;
/// What is in memory lies together up to this length.
const TOGETHER: usize = 64 << 10;
/// How much of the file is taken at once.
const AT_ONCE: u64 = 64 << 10;

/// Where all of it is kept.
#[derive(Debug)]
pub(crate) struct Spool {
    in_memory: usize,
    memory_limit: usize,
    file: Option<File>,
    /// How long the file is, and how much of it is still wanted.
    end: u64,
    wanted: u64,
}

/// Something that was said, in its order.
#[derive(Debug, Default)]
pub(crate) struct Said {
    parts: VecDeque<Part>,
}

#[derive(Debug)]
enum Part {
    Memory(Vec<u8>),
    File { at: u64, len: u64 },
}

impl Default for Spool {
    fn default() -> Self {
        Self { in_memory: 0, memory_limit: IN_MEMORY, file: None, end: 0, wanted: 0 }
    }
}

impl Said {
    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

impl Spool {
    /// Adds to what was said.
    pub(crate) fn add(&mut self, said: &mut Said, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.in_memory + bytes.len() > self.memory_limit {
            return self.add_to_file(said, bytes);
        }
        self.in_memory += bytes.len();
        match said.parts.back_mut() {
            Some(Part::Memory(memory)) if memory.len() + bytes.len() <= TOGETHER => {
                memory.extend_from_slice(bytes);
            }
            _ => said.parts.push_back(Part::Memory(bytes.to_vec())),
        }
        Ok(())
    }

    fn add_to_file(&mut self, said: &mut Said, bytes: &[u8]) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(nameless()?),
        };
        file.write_all_at(bytes, self.end)?;
        let (begin, added) = (self.end, bytes.len() as u64);
        self.end += added;
        self.wanted += added;
        match said.parts.back_mut() {
            Some(Part::File { at, len }) if *at + *len == begin => *len += added,
            _ => said.parts.push_back(Part::File { at: begin, len: added }),
        }
        Ok(())
    }

    /// Takes the next bytes of what was said; `None` at its end.
    pub(crate) fn take(&mut self, said: &mut Said) -> Result<Option<Vec<u8>>> {
        match said.parts.pop_front() {
            None => Ok(None),
            Some(Part::Memory(bytes)) => {
                self.in_memory -= bytes.len();
                Ok(Some(bytes))
            }
            Some(Part::File { at, len }) => {
                let now = len.min(AT_ONCE);
                let mut bytes = vec![0; usize::try_from(now).unwrap_or(0)];
                if let Some(file) = &self.file {
                    file.read_exact_at(&mut bytes, at)?;
                }
                if len > now {
                    said.parts.push_front(Part::File { at: at + now, len: len - now });
                }
                self.no_more_wanted(now)?;
                Ok(Some(bytes))
            }
        }
    }

    /// Nobody wants what was said.
    pub(crate) fn forget(&mut self, said: Said) -> Result<()> {
        for part in said.parts {
            match part {
                Part::Memory(bytes) => self.in_memory -= bytes.len(),
                Part::File { len, .. } => self.no_more_wanted(len)?,
            }
        }
        Ok(())
    }

    fn no_more_wanted(&mut self, len: u64) -> Result<()> {
        self.wanted -= len;
        if self.wanted == 0
            && let Some(file) = &self.file
        {
            file.set_len(0)?;
            self.end = 0;
        }
        Ok(())
    }
}

/// A file without a name in the directory for temporary files, or where there can be none, in memory.
fn nameless() -> Result<File> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    match open(&std::env::temp_dir(), flags, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(file) => Ok(file.into()),
        Err(_) => procession_sys::memfd::create("procession-map").map_err(Error::other),
    }
}

#[cfg(test)]
mod tests {
    use super::{Said, Spool};

    fn all(spool: &mut Spool, said: &mut Said) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(more) = spool.take(said).unwrap() {
            bytes.extend(more);
        }
        bytes
    }

    #[test]
    fn what_was_said_comes_back_in_its_order_from_memory_and_file() {
        let mut spool = Spool { memory_limit: 10, ..Spool::default() };
        let (mut one, mut two) = (Said::default(), Said::default());
        spool.add(&mut one, b"12345").unwrap();
        spool.add(&mut two, b"abcdef").unwrap();
        spool.add(&mut one, b"678").unwrap();
        spool.add(&mut two, b"").unwrap();
        spool.add(&mut two, b"g").unwrap();
        let long = vec![b'x'; 200_000];
        spool.add(&mut one, &long).unwrap();
        assert_eq!((spool.in_memory, spool.wanted), (9, 200_006));
        assert_eq!(all(&mut spool, &mut two), b"abcdefg");
        assert_eq!(all(&mut spool, &mut one), [&b"12345678"[..], &long].concat());
        assert!(one.is_empty() && spool.in_memory == 0 && spool.end == 0);
        spool.add(&mut one, &long).unwrap();
        spool.add(&mut one, b"1").unwrap();
        spool.forget(one).unwrap();
        assert_eq!((spool.in_memory, spool.wanted, spool.end), (0, 0, 0));
    }
}
