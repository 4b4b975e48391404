//! What the elements of an object are made of, as far as that is known: in words that whoever creates the
//! object writes into its header, and whoever opens it compares with its own.
//!
//! | text | means |
//! |---|---|
//! | `_` | not known; agrees with everything, as no text does |
//! | `bool`, `u8` … `i128`, `f32`, `f64`, `char`, `string`, `handle` | one of these |
//! | `bytes` | the whole is bytes, in a codec that writes nothing else: agrees with all that such bytes can be |
//! | `?S` | an `Option` of S |
//! | `[S]`, `<K,V>` | a sequence of S; a map from K to V |
//! | `(S,T*3)` | a tuple: an S, then three T |
//! | `{a:S,b?:T}` | a struct: its fields in their order; one with a default behind the last without is marked |
//! | `enum{A,B:S}` | an enum: its variants in their order, each with what it holds |
//!
//! A name with one of the signs above in it, or of more than 64 bytes, stands there as `~` and its hash. The
//! names of structs, enums and type parameters are left out, because nothing that is written depends on them.

use crate::beginning::beginning;
use crate::instance::fnv;
use std::borrow::Cow;

/// How many levels are compared: what is deeper is no structure that this library has written.
const MOST_LEVELS: u32 = 80;
/// How many bytes of a structure an error shows.
const MOST_SHOWN: usize = 60;

/// A structure that nothing is known of.
pub const UNKNOWN: &str = "_";
/// That of messages which are bytes and nothing else.
pub const ONLY_BYTES: &str = "bytes";

/// A field's or variant's name as it stands in a structure.
#[must_use]
pub fn name_in_structure(name: &str) -> Cow<'_, str> {
    let is_sign = |sign: char| sign.is_control() || ",:{}[]()<>?*~".contains(sign);
    if name.len() > 64 || name.is_empty() || name.contains(is_sign) {
        Cow::Owned(format!("~{:016x}", fnv(name.as_bytes())))
    } else {
        Cow::Borrowed(name)
    }
}

/// The structure of plain data: that of numbers and of arrays of them. The fields of a struct cannot be found
/// out without a derive macro.
#[must_use]
pub(crate) fn plain_structure<T>() -> Cow<'static, str> {
    plain(std::any::type_name::<T>())
}

fn plain(name: &'static str) -> Cow<'static, str> {
    const NUMBERS: &str = "u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64";
    let array = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    match array.and_then(|array| array.rsplit_once("; ")) {
        Some((element, count)) => format!("({}*{count})", plain(element)).into(),
        None if NUMBERS.split(' ').any(|number| number == name) => name.into(),
        None => UNKNOWN.into(),
    }
}

/// Where the elements of an object are made otherwise than those of the type that it is opened as, and what is
/// there in each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// What the object's creator calls the type, if that was said.
    pub element: String,
    /// The type asked for, as Rust calls it.
    pub type_name: &'static str,
    /// Where the first difference is.
    pub place: String,
    /// What is there in the elements that the object was created for.
    pub found: String,
    /// What is there in the type asked for.
    pub asked: String,
}

/// The first difference between two structures that are both known; `None` if there is none. An error if one
/// of them is no structure.
pub(crate) fn difference(found: &str, asked: &str) -> Result<Option<Difference>, &'static str> {
    if found == asked || found.is_empty() || asked.is_empty() {
        return Ok(None);
    }
    let parsed = |text| Node::parse(text).ok_or("the structure of its elements");
    Ok(parsed(found)?.difference(&parsed(asked)?, "element"))
}

/// A structure, taken apart.
struct Node<'t> {
    /// All of it.
    text: &'t str,
    /// The word, or the sign that it begins with.
    form: &'t str,
    parts: Vec<Part<'t>>,
}

struct Part<'t> {
    /// Of a field or variant.
    name: &'t str,
    may_be_missing: bool,
    /// How many of them come one after the other.
    count: u64,
    node: Node<'t>,
}

impl<'t> Node<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        let mut parser = Parser(text);
        parser.node(MOST_LEVELS).filter(|_| parser.0.is_empty())
    }

    fn difference(&self, asked: &Self, place: &str) -> Option<Difference> {
        if [self.form, asked.form].contains(&UNKNOWN) {
            return None;
        }
        match (self.form, asked.form) {
            (ONLY_BYTES, _) if asked.is_made_of_bytes() => None,
            (_, ONLY_BYTES) if self.is_made_of_bytes() => None,
            (form, other) if form == other => self.difference_of_parts(asked, place),
            _ => Some(differs(place.to_owned(), self.text, asked.text)),
        }
    }

    /// Whether a codec that writes bytes and nothing else has a form for it.
    fn is_made_of_bytes(&self) -> bool {
        let is_byte = |part: &Part<'_>| ["u8", UNKNOWN].contains(&part.node.form);
        self.form == "string" || ["[", "("].contains(&self.form) && self.parts.iter().all(is_byte)
    }

    fn difference_of_parts(&self, asked: &Self, place: &str) -> Option<Difference> {
        let (mut found, mut asked) = (PartsInTurn::of(&self.parts), PartsInTurn::of(&asked.parts));
        let mut number = 1_u64;
        loop {
            let (one, other) = match (found.first(), asked.first()) {
                (Some(one), Some(other)) => (one, other),
                (None, None) => return None,
                (one, other) => {
                    let part = one.or(other)?;
                    // Behind the last: whoever does not have it writes what the other can read.
                    if !part.may_be_missing {
                        let shown = |part: Option<&Part<'_>>| part.map_or("nothing".to_owned(), Part::show);
                        return Some(differs(self.place_of(number, place), &shown(one), &shown(other)));
                    }
                    (part, part)
                }
            };
            if one.name != other.name {
                return Some(differs(self.place_of(number, place), &one.show(), &other.show()));
            }
            let inner = if one.name.is_empty() {
                self.place_of(number, place)
            } else {
                format!("{place}.{}", one.name)
            };
            if let Some(difference) = one.node.difference(&other.node, &inner) {
                return Some(difference);
            }
            let count = found.left.min(asked.left).max(1);
            number = number.saturating_add(count);
            found.pass(count);
            asked.pass(count);
        }
    }

    /// How people are told of a part by its number.
    fn place_of(&self, number: u64, place: &str) -> String {
        match self.form {
            "{" => format!("field {number} of {place}"),
            "enum" => format!("variant {number} of {place}"),
            "(" => format!("{place}.{}", number - 1),
            "<" => format!("{} of {place}", if number == 1 { "a key" } else { "a value" }),
            "[" => format!("{place}[]"),
            _ => place.to_owned(),
        }
    }
}

impl Part<'_> {
    fn show(&self) -> String {
        match (self.name, self.node.text) {
            ("", text) => text.to_owned(),
            (name, "") => name.to_owned(),
            (name, text) => format!("{name}: {text}"),
        }
    }
}

fn differs(place: String, found: &str, asked: &str) -> Difference {
    let shorten = |text: &str| match beginning(text, MOST_SHOWN) {
        // A variant that holds nothing.
        "" => "nothing".to_owned(),
        shown if shown.len() < text.len() => format!("{shown}…"),
        _ => text.to_owned(),
    };
    Difference { place, found: shorten(found), asked: shorten(asked), ..Difference::default() }
}

/// PartsInTurn that are gone through, each as often as it occurs.
struct PartsInTurn<'n, 't> {
    rest: &'n [Part<'t>],
    /// How many there still are of the first.
    left: u64,
}

impl<'n, 't> PartsInTurn<'n, 't> {
    fn of(parts: &'n [Part<'t>]) -> Self {
        Self { rest: parts, left: parts.first().map_or(0, |part| part.count) }
    }

    fn first(&self) -> Option<&'n Part<'t>> {
        self.rest.first()
    }

    fn pass(&mut self, count: u64) {
        self.left = self.left.saturating_sub(count);
        if self.left == 0 {
            *self = Self::of(self.rest.get(1..).unwrap_or_default());
        }
    }
}

/// What is still to be taken apart.
struct Parser<'t>(&'t str);

impl<'t> Parser<'t> {
    fn node(&mut self, levels: u32) -> Option<Node<'t>> {
        let levels = levels.checked_sub(1)?;
        let all = self.0;
        let word = self.until(|sign| !sign.is_ascii_alphanumeric());
        let (form, parts) = match (word, self.0.chars().next()) {
            ("enum", Some('{')) => (word, self.list('}', true, levels)?),
            ("", Some('_')) => {
                self.skip('_')?;
                (UNKNOWN, Vec::new())
            }
            ("", Some('?')) => {
                self.skip('?')?;
                let node = self.node(levels)?;
                ("?", vec![Part { name: "", may_be_missing: false, count: 1, node }])
            }
            ("", Some('[')) => ("[", self.list(']', false, levels)?),
            ("", Some('<')) => ("<", self.list('>', false, levels)?),
            ("", Some('(')) => ("(", self.list(')', false, levels)?),
            ("", Some('{')) => ("{", self.list('}', true, levels)?),
            ("", _) => return None,
            (word, _) => (word, Vec::new()),
        };
        let len = all.len() - self.0.len();
        Some(Node { text: all.get(..len)?, form, parts })
    }

    /// What stands between the sign that is next and `close`.
    fn list(&mut self, close: char, has_names: bool, levels: u32) -> Option<Vec<Part<'t>>> {
        let mut parts = Vec::new();
        self.0 = self.0.get(1..)?;
        while self.skip(close).is_none() {
            if !parts.is_empty() {
                self.skip(',')?;
            }
            let name = if has_names { self.until(|sign| ",:?}".contains(sign)) } else { "" };
            let may_be_missing = has_names && self.skip('?').is_some();
            let node = if !has_names || self.skip(':').is_some() {
                self.node(levels)?
            } else {
                Node { text: "", form: "(", parts: Vec::new() }
            };
            let count = match self.skip('*') {
                Some(()) => self.until(|sign| !sign.is_ascii_digit()).parse().ok()?,
                None => 1,
            };
            parts.push(Part { name, may_be_missing, count, node });
        }
        Some(parts)
    }

    fn until(&mut self, is_end: impl Fn(char) -> bool) -> &'t str {
        let (now, rest) = self.0.split_at(self.0.find(is_end).unwrap_or(self.0.len()));
        self.0 = rest;
        now
    }

    fn skip(&mut self, sign: char) -> Option<()> {
        self.0 = self.0.strip_prefix(sign)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::{difference, name_in_structure, plain};

    fn told(found: &str, asked: &str) -> Option<[String; 3]> {
        difference(found, asked).unwrap().map(|told| [told.place, told.found, told.asked])
    }

    #[track_caller]
    fn agree(one: &str, other: &str) {
        assert_eq!((told(one, other), told(other, one)), (None, None), "{one} {other}");
    }

    #[track_caller]
    fn differ(one: &str, other: &str, place: &str, [there, here]: [&str; 2]) {
        assert_eq!(told(one, other).unwrap(), [place, there, here]);
        assert_eq!(told(other, one).unwrap(), [place, here, there]);
    }

    #[test]
    fn an_unknown_part_agrees_with_whatever_stands_in_its_place() {
        agree("", "u8");
        agree("_", "{a:u8}");
        agree("{a:_,b:u8}", "{a:[string],b:u8}");
        differ("{a:_,b:u8}", "{a:[string],b:u16}", "element.b", ["u8", "u16"]);
        agree("(u8,u16*3)", "(_*4)");
        agree("enum{A:_,B}", "enum{A:(u8,u8),B}");
        agree("{a:u8}", "{a:u8}");
    }

    #[test]
    fn a_field_of_another_name_place_or_type_is_a_difference() {
        differ("{a:u8,b:u8}", "{b:u8,a:u8}", "field 1 of element", ["a: u8", "b: u8"]);
        differ("{a:u8}", "{a:u8,b:?u8}", "field 2 of element", ["nothing", "b: ?u8"]);
        differ("[{a:<string,u8>}]", "[{a:<string,u16>}]", "a value of element[].a", ["u8", "u16"]);
        differ("(u8,u8)", "(u8*3)", "element.2", ["nothing", "u8"]);
        differ("?[u8]", "?[i8]", "element[]", ["u8", "i8"]);
        differ("enum{A,B:u8}", "enum{A,B:u16}", "element.B", ["u8", "u16"]);
        differ("enum{A,B}", "enum{A,C}", "variant 2 of element", ["B", "C"]);
        differ("enum{A,B}", "enum{A,B:u8}", "element.B", ["nothing", "u8"]);
        differ("u8", "enum{A}", "element", ["u8", "enum{A}"]);
    }

    #[test]
    fn a_field_with_a_default_at_the_end_may_be_missing() {
        agree("{a:u8}", "{a:u8,b?:u8,c?:[u8]}");
        agree("{a:u8,b:u8}", "{a:u8,b?:u8,c?:[u8]}");
        differ("{a:u8,b:u16}", "{a:u8,b?:u8}", "element.b", ["u16", "u8"]);
        differ("{a:u8,c:u8}", "{a:u8,b?:u8,c?:u8}", "field 2 of element", ["c: u8", "b: u8"]);
    }

    #[test]
    fn bytes_agree_with_strings_and_rows_of_bytes_alone() {
        for bytes in ["[u8]", "string", "(u8*16)", "_", "[_]"] {
            agree("bytes", bytes);
        }
        differ("bytes", "{a:u8}", "element", ["bytes", "{a:u8}"]);
        differ("bytes", "u8", "element", ["bytes", "u8"]);
        differ("bytes", "[u16]", "element", ["bytes", "[u16]"]);
    }

    #[test]
    fn a_structure_that_is_nonsense_is_an_error_and_no_panic() {
        for text in ["{", "{a:}", "(u8", "u8)", "(u8*)", "[u8]]", "?", "é", "{a:u8 b:u8}", "(u8,)", "*"] {
            assert!(difference(text, "u8").is_err(), "{text}");
        }
        assert!(difference(&"[".repeat(100_000), "u8").is_err());
        assert!(difference("(u8*99999999999999999999)", "u8").is_err());
        assert_eq!(told("(u8*18446744073709551615,u8*2)", "(_*18446744073709551615,u8*2)"), None);
        let long = format!("{{{}}}", "ä:u8,".repeat(100).trim_end_matches(','));
        assert!(told(&long, "u8").unwrap()[1].chars().count() <= 61);
    }

    #[test]
    fn a_field_name_with_signs_stands_in_the_structure_as_its_hash() {
        assert_eq!(name_in_structure("größe-1 a_b"), "größe-1 a_b");
        for name in ["a:b", "", "a{", &"x".repeat(65)] {
            let name = name_in_structure(name);
            assert!(name.len() == 17 && name.starts_with('~'), "{name}");
        }
    }

    #[test]
    fn the_structure_of_plain_data_shows_numbers_and_arrays_and_no_more() {
        assert_eq!(plain("f32"), "f32");
        assert_eq!(plain("[[u8; 4]; 16]"), "((u8*4)*16)");
        assert_eq!(plain("program::Score"), "_");
        assert_eq!(plain("[program::Score; 2]"), "(_*2)");
    }
}
