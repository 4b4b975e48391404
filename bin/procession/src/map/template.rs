//! Replacement strings: what `{}` and its kin in a command stand for, as in GNU parallel.
//!
//! Without a shell, a word that is `{}` and nothing else becomes as many words as the job has inputs; in a longer word
//! the inputs stand with spaces between them. For a shell, inputs are positional parameters, and `{}` becomes a
//! reference to them that suits the quotes around it: so no shell ever reads what an input says as code.

use std::os::unix::ffi::OsStrExt;
use std::{ffi::OsString, io::Write};

/// A command, or a text, in which replacement strings stand.
#[derive(Debug)]
pub(crate) struct Template {
    words: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Hole(Hole),
}

/// What is put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    /// `{}`, `{.}` …: of all inputs.
    All(Form),
    /// `{1}`, `{2.}` …: of one of them; the first is 0.
    One(usize, Form),
    /// `{#}`
    Seq,
    /// `{%}`
    Slot,
}

/// What of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `{}`
    Whole,
    /// `{.}`: without its extension.
    Stem,
    /// `{/}`: without its directory.
    Name,
    /// `{//}`: its directory.
    Directory,
    /// `{/.}`: without both.
    NameStem,
}

/// What is known of one job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill<'a> {
    pub(crate) items: &'a [Vec<u8>],
    pub(crate) seq: u64,
    pub(crate) slot: u32,
}

/// In which quotes of a shell a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quotes {
    None,
    Single,
    Double,
}

impl Template {
    /// Reads a command; `own` is what stands for the inputs instead of `{}`. Where nothing does, they are the last
    /// words.
    pub(crate) fn command(words: &[OsString], own: Option<&OsString>) -> Self {
        let mut template = Self::text(words, own);
        if !template.pieces().any(|piece| matches!(piece, Piece::Hole(_))) {
            template.words.push(vec![Piece::Hole(Hole::All(Form::Whole))]);
        }
        template
    }

    /// Reads a text, which may have no replacement string.
    pub(crate) fn text(words: &[OsString], own: Option<&OsString>) -> Self {
        let own = own.map(|own| own.as_bytes());
        Self { words: words.iter().map(|word| pieces(word.as_bytes(), own)).collect() }
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.words.iter().flatten()
    }

    /// Whether the first word is the same for all jobs.
    pub(crate) fn has_fixed_program(&self) -> bool {
        self.words.first().is_some_and(|word| word.iter().all(|piece| matches!(piece, Piece::Text(_))))
    }

    /// The highest number among `{1}`, `{2}` …
    pub(crate) fn highest(&self) -> usize {
        let number = |piece: &Piece| if let Piece::Hole(Hole::One(index, _)) = piece { index + 1 } else { 0 };
        self.pieces().map(number).max().unwrap_or(0)
    }

    /// The words of a job.
    pub(crate) fn words(&self, fill: Fill<'_>) -> Vec<Vec<u8>> {
        let mut words = Vec::with_capacity(self.words.len() + fill.items.len());
        for word in &self.words {
            if let [Piece::Hole(hole)] = word[..] {
                words.extend(values(hole, fill));
            } else {
                words.push(filled(word, fill));
            }
        }
        words
    }

    /// The words of a job as one text.
    pub(crate) fn line(&self, fill: Fill<'_>) -> Vec<u8> {
        self.words(fill).join(&b' ')
    }

    /// A job as the script of a shell and its positional parameters.
    pub(crate) fn script(&self, fill: Fill<'_>) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut script = Vec::new();
        let mut parameters = Vec::new();
        let mut quotes = Quotes::None;
        for (index, word) in self.words.iter().enumerate() {
            if index > 0 {
                script.push(b' ');
            }
            for piece in word {
                match piece {
                    Piece::Text(text) => {
                        quotes = quotes_behind(text, quotes);
                        script.extend_from_slice(text);
                    }
                    Piece::Hole(hole) => {
                        let values = values(*hole, fill);
                        refer(&mut script, quotes, parameters.len(), values.len());
                        parameters.extend(values);
                    }
                }
            }
        }
        (script, parameters)
    }
}

/// Writes references to `count` positional parameters behind the first `before`.
fn refer(script: &mut Vec<u8>, quotes: Quotes, before: usize, count: usize) {
    let (open, close): (&[u8], &[u8]) = match quotes {
        Quotes::None => (b"\"", b"\""),
        Quotes::Single => (b"'\"", b"\"'"),
        Quotes::Double => (b"", b""),
    };
    for number in 1..=count {
        let space = if number == 1 { "" } else { " " };
        script.extend_from_slice(space.as_bytes());
        script.extend_from_slice(open);
        // Nothing can go wrong in memory.
        drop(write!(script, "${{{}}}", before + number));
        script.extend_from_slice(close);
    }
    // An input that is nothing is a word nevertheless; no inputs are none.
    if count == 0 && quotes == Quotes::None {
        script.extend_from_slice(b"\"\"");
    }
}

/// In which quotes a shell is behind the text.
fn quotes_behind(text: &[u8], mut quotes: Quotes) -> Quotes {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        quotes = match (quotes, byte) {
            (Quotes::None | Quotes::Double, b'\\') => {
                bytes.next();
                quotes
            }
            (Quotes::None, b'\'') => Quotes::Single,
            (Quotes::None, b'"') => Quotes::Double,
            (Quotes::Single, b'\'') | (Quotes::Double, b'"') => Quotes::None,
            _ => quotes,
        };
    }
    quotes
}

fn filled(word: &[Piece], fill: Fill<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    for piece in word {
        match piece {
            Piece::Text(own) => text.extend_from_slice(own),
            Piece::Hole(hole) => text.extend(values(*hole, fill).join(&b' ')),
        }
    }
    text
}

fn values(hole: Hole, fill: Fill<'_>) -> Vec<Vec<u8>> {
    match hole {
        Hole::All(form) => fill.items.iter().map(|item| form.of(item).to_vec()).collect(),
        Hole::One(index, form) => {
            vec![fill.items.get(index).map(|item| form.of(item).to_vec()).unwrap_or_default()]
        }
        Hole::Seq => vec![fill.seq.to_string().into_bytes()],
        Hole::Slot => vec![fill.slot.to_string().into_bytes()],
    }
}

impl Form {
    fn of(self, item: &[u8]) -> &[u8] {
        match self {
            Self::Whole => item,
            Self::Stem => stem(item),
            Self::Name => name(item),
            Self::Directory => directory(item),
            Self::NameStem => stem(name(item)),
        }
    }
}

/// Without what is behind the last dot of the last part of a path.
fn stem(path: &[u8]) -> &[u8] {
    let name_begins = path.len() - name(path).len();
    match path[name_begins..].iter().rposition(|&byte| byte == b'.') {
        Some(dot) if name_begins + dot + 1 < path.len() => &path[..name_begins + dot],
        _ => path,
    }
}

fn name(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&byte| byte == b'/').map_or(path, |slash| &path[slash + 1..])
}

/// As dirname says it.
fn directory(path: &[u8]) -> &[u8] {
    fn without_slashes(path: &[u8]) -> &[u8] {
        let len = path.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
        &path[..len]
    }
    let path_itself = without_slashes(path);
    if path_itself.is_empty() {
        return if path.is_empty() { b"." } else { b"/" };
    }
    let Some(slash) = path_itself.iter().rposition(|&byte| byte == b'/') else { return b"." };
    match without_slashes(&path_itself[..slash]) {
        b"" => b"/",
        directory => directory,
    }
}

/// A word, cut at its replacement strings.
fn pieces(word: &[u8], own: Option<&[u8]>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut rest = word;
    while let Some((&first, behind)) = rest.split_first() {
        let found = match own {
            Some(own) if !own.is_empty() && rest.starts_with(own) => {
                Some((Hole::All(Form::Whole), own.len()))
            }
            _ if first == b'{' => hole(rest, own.is_none()),
            _ => None,
        };
        if let Some((hole, len)) = found {
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Hole(hole));
            rest = &rest[len..];
        } else {
            text.push(first);
            rest = behind;
        }
    }
    if !text.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

/// The replacement string with which a text begins, and how long it is.
fn hole(text: &[u8], plain_too: bool) -> Option<(Hole, usize)> {
    let end = text.iter().position(|&byte| byte == b'}')?;
    let inner = std::str::from_utf8(&text[1..end]).ok()?;
    let number_ends = inner.find(|c: char| !c.is_ascii_digit()).unwrap_or(inner.len());
    let (number, form) = inner.split_at(number_ends);
    let hole = match (number, form) {
        ("", "#") => Hole::Seq,
        ("", "%") => Hole::Slot,
        ("", "") if !plain_too => return None,
        ("", form) => Hole::All(form_of(form)?),
        (number, form) => Hole::One(number.parse::<usize>().ok()?.checked_sub(1)?, form_of(form)?),
    };
    Some((hole, end + 1))
}

fn form_of(text: &str) -> Option<Form> {
    Some(match text {
        "" => Form::Whole,
        "." => Form::Stem,
        "/" => Form::Name,
        "//" => Form::Directory,
        "/." => Form::NameStem,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Fill, Template, directory};
    use std::ffi::OsString;

    fn items(items: &[&str]) -> Vec<Vec<u8>> {
        items.iter().map(|item| item.as_bytes().to_vec()).collect()
    }

    fn words(command: &[&str], given: &[&str]) -> Vec<String> {
        let template = Template::command(&command.iter().map(OsString::from).collect::<Vec<_>>(), None);
        let words = template.words(Fill { items: &items(given), seq: 7, slot: 2 });
        words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
    }

    #[test]
    fn replacement_strings_are_those_of_parallel() {
        let all = |item| words(&["{} {.} {/} {//} {/.} {#} {%}"], &[item]).concat();
        assert_eq!(all("a/b.c.d"), "a/b.c.d a/b.c b.c.d a b.c 7 2");
        // As GNU parallel 20221122 says them.
        for (item, said) in [
            ("a/b.c.d", "a/b.c b.c.d a b.c"),
            (".x", " .x . "),
            ("a.b/c", "a.b/c c a.b c"),
            ("/x/y/", "/x/y/  /x "),
            ("", "  . "),
            ("a.", "a. a. . a."),
        ] {
            assert_eq!(words(&["{.} {/} {//} {/.}"], &[item]), [said], "{item}");
        }
        let dirs = ["a", "/a", "a/b/", "a//b", "/", "", "a/", "//"].map(|path| directory(path.as_bytes()));
        assert_eq!(dirs, [&b"."[..], b"/", b"a", b"a", b"/", b".", b".", b"/"]);
    }

    #[test]
    fn inputs_stand_where_they_are_to_stand_or_at_the_end() {
        assert_eq!(words(&["echo"], &["a b", ""]), ["echo", "a b", ""]);
        assert_eq!(words(&["echo", "{}", "z"], &["a", "b"]), ["echo", "a", "b", "z"]);
        assert_eq!(words(&["echo", "x{}y"], &["a", "b"]), ["echo", "xa by"]);
        assert_eq!(words(&["{2}", "{1.}", "{3}"], &["a.b", "c"]), ["c", "a", ""]);
        assert_eq!(words(&["echo", "{#}"], &["a"]), ["echo", "7"]);
        assert_eq!(words(&["{}"], &["true"]), ["true"]);
        for odd in ["{", "{}}", "{x}", "{0}", "{.x}", "a{b", "{print}", "{ }"] {
            let appended = words(&["echo", odd], &["I"]);
            let said = if odd == "{}}" { vec!["echo", "I}"] } else { vec!["echo", odd, "I"] };
            assert_eq!(appended, said);
        }
    }

    #[test]
    fn another_string_stands_for_the_inputs() {
        let command = ["awk", "{} {.}", "%%"].map(OsString::from);
        let template = Template::command(&command, Some(&"%%".into()));
        let words = template.words(Fill { items: &items(&["a.b"]), seq: 1, slot: 1 });
        assert_eq!(words, items(&["awk", "{} a", "a.b"]));
        assert!(template.has_fixed_program());
    }

    #[test]
    fn a_shell_gets_inputs_as_parameters() {
        let script = |command: &[&str], given: &[&str]| {
            let template = Template::command(&command.iter().map(OsString::from).collect::<Vec<_>>(), None);
            let (script, parameters) = template.script(Fill { items: &items(given), seq: 7, slot: 2 });
            let parameters = parameters.into_iter().map(|text| String::from_utf8(text).unwrap());
            (String::from_utf8(script).unwrap(), parameters.collect::<Vec<_>>())
        };
        let said = |script: &str, parameters: &[&str]| {
            (script.to_owned(), parameters.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(script(&["echo"], &["$(a)"]), said("echo \"${1}\"", &["$(a)"]));
        assert_eq!(script(&["a '{}' \"{}\" \\\"{}"], &["b"]).0, "a ''\"${1}\"'' \"${2}\" \\\"\"${3}\"");
        assert_eq!(
            script(&["a {} {#}"], &["b", "c"]),
            said("a \"${1}\" \"${2}\" \"${3}\"", &["b", "c", "7"])
        );
    }
}
