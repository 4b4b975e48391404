//! Items as they are printed: as text, one a line, or as JSON, with what is known of them.

use super::store::{codec_word, is_readable};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::builder::FalseyValueParser;
use procession::{Codec, LeaseToken};
use procession_terminal::exit::Failure;
use procession_terminal::output;
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write;

/// How items are printed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct ItemArgs {
    /// A zero byte stands behind each item instead of the end of a line: for `xargs -0`, and items of several lines.
    #[arg(short = '0', long, env = "PROCESSION_QUEUE_NULL", hide_env = true, value_parser = FalseyValueParser::new())]
    null: bool,
    /// Nothing stands behind an item: for one that is a file.
    #[arg(long, conflicts_with = "null", env = "PROCESSION_QUEUE_BARE", hide_env = true, value_parser = FalseyValueParser::new())]
    bare: bool,
    /// Of JSON items that are strings, print the text that they are.
    #[arg(short, long, env = "PROCESSION_QUEUE_RAW", hide_env = true, value_parser = FalseyValueParser::new())]
    raw: bool,
    /// Print each item as a line of JSON, with what is known of it.
    #[arg(long, env = "PROCESSION_JSON", hide_env = true, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
}

/// An item, and what is known of it.
#[derive(Debug, Default)]
pub(crate) struct Item {
    /// Of a queue with leases.
    pub(crate) id: Option<u64>,
    /// If it is leased.
    pub(crate) token: Option<LeaseToken>,
    pub(crate) attempt: Option<u32>,
    pub(crate) bytes: Vec<u8>,
    /// Whether it is a text in a queue of JSON that is printed as texts are.
    pub(crate) is_text: bool,
}

/// Items on their way to stdout.
#[derive(Debug)]
pub(crate) struct Printer<'a> {
    name: &'a str,
    codec: Codec,
    how: ItemArgs,
    text: Vec<u8>,
}

impl<'a> Printer<'a> {
    /// So many bytes are printed at a time, at least.
    const AT_A_TIME: usize = 1 << 16;

    pub(crate) fn new(name: &'a str, codec: Codec, how: ItemArgs) -> Self {
        Self { name, codec, how, text: Vec::new() }
    }

    pub(crate) fn add(&mut self, item: &Item) -> Result<(), Failure> {
        let codec = if item.is_text { Codec::Bytes } else { self.codec };
        if self.how.json {
            let record = Record::of("item", self.name, codec, item);
            serde_json::to_writer(&mut self.text, &record)?;
            self.text.push(b'\n');
            return Ok(());
        }
        self.text.write_all(&text_of(codec, &item.bytes, self.how.raw))?;
        if !self.how.bare {
            self.text.push(if self.how.null { 0 } else { b'\n' });
        }
        Ok(())
    }

    /// Whether there is so much that it should be printed before more is added.
    pub(crate) fn is_full(&self) -> bool {
        self.text.len() >= Self::AT_A_TIME
    }

    /// Prints what was added. When this returns, whoever reads stdout has it, or its pipe or file.
    ///
    /// # Errors
    /// As [`output::bytes`].
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        let outcome = output::bytes(&self.text);
        self.text.clear();
        outcome
    }
}

/// An item as the text that it is in one line, or in as many as it has: JSON is never in several.
pub(super) fn text_of(codec: Codec, bytes: &[u8], is_raw: bool) -> Cow<'_, [u8]> {
    if codec != Codec::Json {
        return Cow::Borrowed(bytes);
    }
    if is_raw && let Ok(text) = serde_json::from_slice::<String>(bytes) {
        return Cow::Owned(text.into_bytes());
    }
    // Outside of strings they are space, and inside there are none.
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if !bytes.iter().any(is_break) {
        return Cow::Borrowed(bytes);
    }
    Cow::Owned(bytes.iter().map(|byte| if is_break(byte) { b' ' } else { *byte }).collect())
}

/// An item in `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Record<'a> {
    v: u32,
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    bytes: usize,
    #[serde(flatten)]
    content: Content<'a>,
}

/// What is in an item, as JSON can say it.
#[derive(Debug, Serialize)]
enum Content<'a> {
    #[serde(rename = "item")]
    Json(&'a RawValue),
    #[serde(rename = "item")]
    Text(&'a str),
    /// Bytes that are no text, in Base64.
    #[serde(rename = "base64")]
    Bytes(String),
    /// Nobody knows.
    #[serde(rename = "codec")]
    Unreadable(String),
}

impl<'a> Record<'a> {
    pub(super) fn of(kind: &'static str, name: &'a str, codec: Codec, item: &'a Item) -> Self {
        let Item { id, token, attempt, bytes, .. } = item;
        let content = match codec {
            Codec::Json => serde_json::from_slice(bytes).map_or_else(|_| Content::of(bytes), Content::Json),
            Codec::Bytes => Content::of(bytes),
            other => Content::Unreadable(codec_word(other.id())),
        };
        let token = token.map(words_of);
        Self { v: 1, kind, name, id: *id, token, attempt: *attempt, bytes: bytes.len(), content }
    }
}

impl<'a> Content<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        std::str::from_utf8(bytes).map_or_else(|_| Self::Bytes(STANDARD.encode(bytes)), Self::Text)
    }
}

/// A token as it is typed, beside the item's number.
pub(super) fn words_of(token: LeaseToken) -> String {
    format!("{:016x}", token.key())
}

/// An item as people see it in a table: as much of it as fits, and harmless to a terminal.
pub(super) fn shown(codec: Codec, bytes: &[u8]) -> String {
    /// How many characters.
    const SHOWN: usize = 48;
    if !is_readable(codec) {
        return String::new();
    }
    let text = output::printable(&String::from_utf8_lossy(bytes));
    let Some((end, _)) = text.char_indices().nth(SHOWN) else { return text };
    let mut cut = text[..end].to_owned();
    // A `String` takes everything.
    let _: std::fmt::Result = cut.write_char('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::{Item, Record, shown, text_of};
    use procession::{Codec, LeaseToken};

    #[test]
    fn json_is_in_one_line_and_a_string_may_be_its_text() {
        let text =
            |bytes: &str, raw| String::from_utf8(text_of(Codec::Json, bytes.as_bytes(), raw).into()).unwrap();
        assert_eq!(text("{\n \"a\": \"x\\ny\"}", false), "{  \"a\": \"x\\ny\"}");
        assert_eq!((text("\"a\\nb\"", false), text("\"a\\nb\"", true)), ("\"a\\nb\"".into(), "a\nb".into()));
        assert_eq!(text("[1]", true), "[1]");
        assert_eq!(&*text_of(Codec::Bytes, b"a\nb", false), b"a\nb");
    }

    #[test]
    fn records_say_what_json_can_say() {
        let record = |codec, bytes: &[u8]| {
            let item = Item {
                id: Some(7),
                token: Some(LeaseToken::new(7, 255)),
                bytes: bytes.into(),
                ..Item::default()
            };
            serde_json::to_string(&Record::of("item", "q", codec, &item)).unwrap()
        };
        let all = "{\"v\":1,\"kind\":\"item\",\"name\":\"q\",\"id\":7,\"token\":\"00000000000000ff\",";
        assert_eq!(record(Codec::Bytes, b"x"), format!("{all}\"bytes\":1,\"item\":\"x\"}}"));
        assert_eq!(record(Codec::Bytes, b"\xff"), format!("{all}\"bytes\":1,\"base64\":\"/w==\"}}"));
        // A number that no machine has.
        let long = "123456789012345678901234567890.5";
        assert_eq!(record(Codec::Json, long.as_bytes()), format!("{all}\"bytes\":32,\"item\":{long}}}"));
        assert_eq!(record(Codec::Bincode, b"x"), format!("{all}\"bytes\":1,\"codec\":\"bincode\"}}"));
    }

    #[test]
    fn what_is_shown_is_short_and_harmless() {
        assert_eq!(shown(Codec::Bytes, b"a\x1b\xff"), "a\\u{1b}\u{fffd}");
        assert_eq!(shown(Codec::Json, &[b'x'; 100]).chars().count(), 49);
        assert_eq!(shown(Codec::Bincode, b"x"), "");
    }
}
