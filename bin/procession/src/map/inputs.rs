//! The inputs of the jobs: from stdin or a file as they come, or from lists behind `:::`, of which each is combined
//! with each. Lists that are linked go side by side, and count as one of these.

use nix::errno::Errno;
use procession_sys::random;
use procession_terminal::exit::Failure;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The inputs of one job.
pub(crate) type Items = Vec<Vec<u8>>;

/// A job has no more bytes of inputs than that, unless it is one input: as with xargs.
const MOST_BYTES: usize = 128 << 10;
/// How much is read at once.
const READ_BYTES: usize = 64 << 10;
/// So many jobs are read of ahead, to know how many there are.
const MANY: usize = 1 << 20;
/// How many combinations of lists are made at once.
const COMBINED_AT_ONCE: usize = 256;

/// What the next job works on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Items(Items),
    /// More has to be read first.
    Wait,
    End,
}

/// Inputs, cut into jobs.
#[derive(Debug)]
pub(crate) struct Inputs {
    source: Source,
    per_job: usize,
    /// Whether to read all before the first job.
    shuffled: bool,
    ready: VecDeque<Items>,
    /// The job that is not full yet.
    open: Items,
    open_bytes: usize,
    taken: u64,
}

#[derive(Debug)]
enum Source {
    Stream { file: File, delimiter: u8, partial: Vec<u8> },
    Product { columns: Vec<Linked>, next: u128, end: u128 },
    Ended,
}

/// What stands behind one mark.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) values: Values,
    /// Whether it goes side by side with the list before it.
    pub(crate) is_linked: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Values {
    Words(Vec<OsString>),
    File(PathBuf),
}

/// A command and the lists behind it.
pub(crate) fn split(command: &[OsString]) -> (&[OsString], Vec<List>) {
    let is_mark = |word: &OsString| matches!(word.as_bytes(), b":::" | b"::::" | b":::+" | b"::::+");
    let begin = command.iter().position(is_mark).unwrap_or(command.len());
    let (words, mut rest) = command.split_at(begin);
    let mut lists = Vec::new();
    while let Some((mark, behind)) = rest.split_first() {
        let end = behind.iter().position(is_mark).unwrap_or(behind.len());
        let is_linked = mark.as_bytes().ends_with(b"+");
        let list = |values| List { values, is_linked };
        if mark.as_bytes().starts_with(b"::::") {
            lists.extend(behind[..end].iter().map(|file| list(Values::File(file.into()))));
        } else {
            lists.push(list(Values::Words(behind[..end].to_vec())));
        }
        rest = &behind[end..];
    }
    (words, lists)
}

/// How lists are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Combine {
    /// Each with each, but for those that are linked, which end with the shortest.
    Marked,
    /// All side by side; shorter ones begin again.
    SideBySide,
}

/// Lists that go side by side, and how many rows they make.
#[derive(Debug)]
struct Linked {
    lists: Vec<Items>,
    rows: usize,
}

impl Linked {
    fn all(lists: Vec<Items>) -> Self {
        let lens = || lists.iter().map(Vec::len);
        // Of an empty list there is nothing to begin again with.
        let rows = if lens().any(|len| len == 0) { 0 } else { lens().max().unwrap_or(0) };
        Self { lists, rows }
    }

    fn marked(lists: impl IntoIterator<Item = (Items, bool)>) -> Vec<Self> {
        let mut columns: Vec<Self> = Vec::new();
        for (list, is_linked) in lists {
            match columns.last_mut().filter(|_| is_linked) {
                Some(column) => {
                    column.rows = column.rows.min(list.len());
                    column.lists.push(list);
                }
                // There is none before the first, to which it could be linked.
                None => columns.push(Self { rows: list.len(), lists: vec![list] }),
            }
        }
        columns
    }

    fn row(&self, row: usize) -> impl DoubleEndedIterator<Item = Vec<u8>> {
        self.lists.iter().map(move |list| list[row % list.len()].clone())
    }
}

impl Inputs {
    /// Those of a file, or of stdin.
    pub(crate) fn of_file(file: Option<&Path>, delimiter: u8, per_job: usize) -> Result<Self, Failure> {
        let file = open(file)?;
        Ok(Self::of(Source::Stream { file, delimiter, partial: Vec::new() }, per_job))
    }

    /// The combinations of lists; the last one changes first.
    pub(crate) fn of_lists(
        lists: Vec<List>,
        combine: Combine,
        delimiter: u8,
        per_job: usize,
    ) -> Result<Self, Failure> {
        let read = |list: List| match list.values {
            Values::Words(words) => Ok((words.into_iter().map(OsString::into_vec).collect(), list.is_linked)),
            Values::File(path) => items_of(&path, delimiter).map(|items| (items, list.is_linked)),
        };
        let lists = lists.into_iter().map(read).collect::<Result<Vec<(Items, bool)>, Failure>>()?;
        let columns = match combine {
            Combine::Marked => Linked::marked(lists),
            Combine::SideBySide => vec![Linked::all(lists.into_iter().map(|(list, _)| list).collect())],
        };
        let end = columns.iter().map(|column| column.rows as u128).fold(1, u128::saturating_mul);
        Ok(Self::of(Source::Product { columns, next: 0, end }, per_job))
    }

    fn of(source: Source, per_job: usize) -> Self {
        let (ready, open) = (VecDeque::new(), Items::new());
        Self { source, per_job, shuffled: false, ready, open, open_bytes: 0, taken: 0 }
    }

    /// In random order from now on, which takes all of them.
    pub(crate) fn shuffle(&mut self) {
        self.shuffled = true;
    }

    /// What to poll before [`read`](Self::read), if there is more to be read.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        if let Source::Stream { file, .. } = &self.source { Some(file.as_fd()) } else { None }
    }

    /// Whether there is nothing to be taken before more is read.
    pub(crate) fn is_hungry(&self) -> bool {
        self.shuffled || self.ready.is_empty()
    }

    /// Whether so many were read that no more are to be read but for who needs them.
    pub(crate) fn are_many(&self) -> bool {
        self.ready.len() > MANY
    }

    /// Whether [`next`](Self::next) may have something without a read.
    pub(crate) fn is_at_hand(&self) -> bool {
        match self.source {
            Source::Stream { .. } => !self.shuffled && !self.ready.is_empty(),
            Source::Product { .. } => true,
            Source::Ended => !self.ready.is_empty(),
        }
    }

    /// How many jobs there are in all, once that is known.
    pub(crate) fn total(&self) -> Option<u64> {
        match &self.source {
            Source::Ended => Some(self.taken + self.ready.len() as u64),
            Source::Product { end, .. } if self.per_job == 1 => u64::try_from(*end).ok(),
            _ => None,
        }
    }

    /// How many jobs were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Reads what is there; waits if there is nothing.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        let Source::Stream { file, delimiter, partial } = &mut self.source else { return Ok(()) };
        let before = partial.len();
        partial.resize(before + READ_BYTES, 0);
        let read = file.read(&mut partial[before..]);
        partial.truncate(before + *read.as_ref().unwrap_or(&0));
        let mut found = Vec::new();
        match read {
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            // Closed, or a terminal of which this process is in the background.
            Err(error) if error.raw_os_error() != Some(Errno::EBADF as i32) => return Err(error),
            Ok(1..) => {
                let ends = partial.iter().rposition(|byte| byte == delimiter).map_or(0, |last| last + 1);
                let whole: Vec<u8> = partial.drain(..ends).collect();
                if let Some((_, items)) = whole.split_last() {
                    found.extend(items.split(|byte| byte == delimiter).map(<[u8]>::to_vec));
                }
            }
            Ok(0) | Err(_) => {
                if !partial.is_empty() {
                    found.push(std::mem::take(partial));
                }
                self.source = Source::Ended;
            }
        }
        found.into_iter().for_each(|item| self.add(vec![item]));
        if matches!(self.source, Source::Ended) {
            self.finish();
        }
        Ok(())
    }

    /// What the next job works on.
    pub(crate) fn next(&mut self) -> Next {
        while self.is_hungry() && matches!(self.source, Source::Product { .. }) {
            self.combine();
        }
        if self.shuffled {
            if !matches!(self.source, Source::Ended) {
                return Next::Wait;
            }
            self.shuffled = false;
            shuffle(self.ready.make_contiguous());
        }
        match self.ready.pop_front() {
            Some(items) => {
                self.taken += 1;
                Next::Items(items)
            }
            None if matches!(self.source, Source::Ended) => Next::End,
            None => Next::Wait,
        }
    }

    fn combine(&mut self) {
        for _ in 0..COMBINED_AT_ONCE {
            let Source::Product { columns, next, end } = &mut self.source else { return };
            if next == end {
                self.source = Source::Ended;
                return self.finish();
            }
            let mut rest = *next;
            *next += 1;
            let mut items = Items::new();
            for column in columns.iter().rev() {
                let rows = column.rows as u128;
                items.extend(column.row(usize::try_from(rest % rows).unwrap_or(0)).rev());
                rest /= rows;
            }
            items.reverse();
            self.add(items);
        }
    }

    fn add(&mut self, items: Items) {
        let bytes: usize = items.iter().map(|item| item.len() + 1).sum();
        if !self.open.is_empty() && self.open_bytes + bytes > MOST_BYTES {
            self.finish();
        }
        self.open_bytes += bytes;
        let width = items.len();
        self.open.extend(items);
        if self.open.len() / width.max(1) >= self.per_job {
            self.finish();
        }
    }

    /// The open job gets no more.
    fn finish(&mut self) {
        if !self.open.is_empty() {
            self.ready.push_back(std::mem::take(&mut self.open));
        }
        self.open_bytes = 0;
    }
}

/// The file, or stdin.
fn open(path: Option<&Path>) -> Result<File, Failure> {
    match path.filter(|path| *path != "-") {
        Some(path) => File::open(path).map_err(|error| {
            Failure::Error(format!("cannot read the inputs from {}: {error}", path.display()).into())
        }),
        None => Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?)),
    }
}

fn items_of(path: &Path, delimiter: u8) -> Result<Items, Failure> {
    let mut inputs = Inputs::of_file(Some(path), delimiter, 1)?;
    while inputs.fd().is_some() {
        inputs.read().map_err(|error| unreadable(&error))?;
    }
    Ok(inputs.ready.into_iter().flatten().collect())
}

/// Inputs cannot be read.
pub(crate) fn unreadable(error: &io::Error) -> Failure {
    Failure::Error(format!("cannot read the inputs: {error}").into())
}

fn shuffle<T>(all: &mut [T]) {
    for end in (1..all.len()).rev() {
        let index = random::nonzero_u64() % (end as u64 + 1);
        all.swap(end, usize::try_from(index).unwrap_or(end));
    }
}

/// What separates inputs: one byte, also as `\n`, `\t`, `\0`, `\\`, `\x1f`.
pub(crate) fn delimiter(text: &str) -> Result<u8, String> {
    let escaped = match text {
        r"\n" => Some(b'\n'),
        r"\t" => Some(b'\t'),
        r"\r" => Some(b'\r'),
        r"\0" => Some(0),
        r"\\" => Some(b'\\'),
        _ => text.strip_prefix(r"\x").and_then(|digits| u8::from_str_radix(digits, 16).ok()),
    };
    match (escaped, text.as_bytes()) {
        (Some(byte), _) | (None, &[byte]) => Ok(byte),
        _ => Err(r"it is one byte, or one of \n, \t, \r, \0, \\, \x1f".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Combine, Inputs, Items, List, Next, Values, delimiter, split};
    use std::ffi::OsString;
    use std::io::Write;

    fn all(mut inputs: Inputs) -> Vec<Vec<String>> {
        let mut jobs = Vec::new();
        loop {
            match inputs.next() {
                Next::Items(items) => jobs.push(items),
                Next::Wait => inputs.read().unwrap(),
                Next::End => break,
            }
        }
        assert_eq!(inputs.total(), Some(jobs.len() as u64));
        let text = |items: Items| items.into_iter().map(|item| String::from_utf8(item).unwrap()).collect();
        jobs.into_iter().map(text).collect()
    }

    fn of_text(text: &[u8], delimiter: u8, per_job: usize) -> Inputs {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        Inputs::of_file(Some(file.path()), delimiter, per_job).unwrap()
    }

    fn lists(words: &[&[&str]], per_job: usize) -> Inputs {
        let list = |words: &&[&str]| List {
            values: Values::Words(words.iter().map(OsString::from).collect()),
            is_linked: false,
        };
        Inputs::of_lists(words.iter().map(list).collect(), Combine::Marked, b'\n', per_job).unwrap()
    }

    fn combined(line: &str, combine: Combine) -> Vec<String> {
        let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let (_, lists) = split(&words);
        let jobs = all(Inputs::of_lists(lists, combine, b'\n', 1).unwrap());
        jobs.into_iter().map(|job| job.concat()).collect()
    }

    #[test]
    fn lines_are_inputs_as_they_are() {
        assert_eq!(all(of_text(b"a b\n\n'c'\n", b'\n', 1)), [["a b"], [""], ["'c'"]]);
        assert_eq!(all(of_text(b"a\nb", b'\n', 1)), [["a"], ["b"]]);
        assert_eq!(all(of_text(b"", b'\n', 1)), Vec::<Vec<String>>::new());
        assert_eq!(all(of_text(b"a\nb\0\0c", 0, 1)), [["a\nb"], [""], ["c"]]);
        let two = [vec!["1".to_owned(), "2".to_owned()], vec!["3".to_owned()]];
        assert_eq!(all(of_text(b"1\n2\n3\n", b'\n', 2)), two);
    }

    #[test]
    fn no_job_has_more_than_a_command_line_bears() {
        let long = vec![b'x'; 100_000];
        let text = [long.clone(), long.clone(), b"y".to_vec()].join(&b'\n');
        let jobs = all(of_text(&text, b'\n', 10));
        assert_eq!(jobs.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn each_is_combined_with_each() {
        let jobs = all(lists(&[&["a", "b"], &["c", "d"]], 1));
        assert_eq!(jobs, [["a", "c"], ["a", "d"], ["b", "c"], ["b", "d"]]);
        assert_eq!(all(lists(&[&["a"], &[]], 1)).len(), 0);
        let words: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let inputs = lists(&[&words, &words], 1);
        assert_eq!(inputs.total(), Some(10_000));
        assert_eq!(all(inputs).len(), 10_000);
        assert_eq!(all(lists(&[&["a", "b", "c"]], 2)).len(), 2);
    }

    #[test]
    fn linked_lists_go_side_by_side() {
        // As GNU parallel 20221122 says them.
        let marked = |line| combined(line, Combine::Marked);
        assert_eq!(marked("::: a b :::+ c d ::: e f"), ["ace", "acf", "bde", "bdf"]);
        assert_eq!(marked("::: a b :::+ c"), ["ac"]);
        assert_eq!(marked("::: a :::+ b :::+ c ::: d :::+ e"), ["abcde"]);
        assert_eq!(marked(":::+ a b"), ["a", "b"]);
        let linked = |line| combined(line, Combine::SideBySide);
        assert_eq!(linked("::: a b c ::: 1 2"), ["a1", "b2", "c1"]);
        assert_eq!(linked("::: a b :::"), Vec::<String>::new());
    }

    #[test]
    fn shuffled_inputs_are_the_same_ones() {
        let numbers = || (0..1000).map(|number| format!("{number}\n")).collect::<String>();
        let mut inputs = of_text(numbers().as_bytes(), b'\n', 1);
        inputs.shuffle();
        let mut jobs = all(inputs).concat();
        let sorted: Vec<String> = numbers().lines().map(str::to_owned).collect();
        assert_ne!(jobs, sorted);
        jobs.sort_by_key(|number| number.parse::<u32>().unwrap());
        assert_eq!(jobs, sorted);
    }

    #[test]
    fn lists_stand_behind_colons() {
        let words: Vec<OsString> = "echo {} ::: a b ::: c :::: f g".split(' ').map(Into::into).collect();
        let (command, lists) = split(&words);
        assert_eq!(command.len(), 2);
        let list = |values| List { values, is_linked: false };
        let file = |name: &str| list(Values::File(name.into()));
        let words = |words: &[&str]| list(Values::Words(words.iter().map(OsString::from).collect()));
        assert_eq!(lists, [words(&["a", "b"]), words(&["c"]), file("f"), file("g")]);
        let words: Vec<OsString> = "echo ::: a :::+ b ::::+ f".split(' ').map(Into::into).collect();
        let (_, lists) = split(&words);
        assert_eq!(lists.iter().map(|list| list.is_linked).collect::<Vec<_>>(), [false, true, true]);
    }

    #[test]
    fn delimiters_are_bytes() {
        assert_eq!(
            [r"\n", r"\t", r"\0", r"\\", r"\x1f", ","].map(|text| delimiter(text).unwrap()),
            *b"\n\t\0\\\x1f,"
        );
        for wrong in ["", "ab", r"\q", "ü", r"\x100"] {
            assert!(delimiter(wrong).is_err(), "{wrong}");
        }
    }
}
