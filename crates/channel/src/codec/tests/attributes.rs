//! What becomes of values whose types have serde's attributes.

use super::{comes_back, encode_message, encoded, is_refused};
use crate::codec::{DecodeError, decode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Job {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) note: Option<u8>,
    pub(super) retries: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) more: Option<String>,
    pub(super) payload: Vec<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(super) last: Vec<u8>,
}

#[test]
fn fields_that_are_left_out_come_back_as_their_default() {
    for note in [None, Some(3)] {
        for more in [None, Some("more".to_owned())] {
            for last in [vec![], vec![4, 5]] {
                let payload = vec![1, 9];
                comes_back(Job { note, retries: 0, more: more.clone(), payload, last });
            }
        }
    }
    comes_back(vec![
        Some(Job { note: None, retries: 1, more: None, payload: vec![], last: vec![] }),
        Some(Job { note: Some(1), retries: 1, more: None, payload: vec![], last: vec![1] }),
    ]);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Variants {
        Struct {
            #[serde(skip_serializing_if = "Option::is_none")]
            first: Option<u8>,
            second: u8,
        },
    }
    comes_back(Variants::Struct { first: None, second: 7 });
}

#[test]
fn a_field_that_is_left_out_and_has_no_default_is_refused() {
    #[derive(Serialize, Deserialize)]
    struct NoDefault {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        list: Vec<u8>,
        other: u8,
    }
    encode_message(&NoDefault { list: vec![1], other: 2 }, &mut Vec::new()).unwrap();
    let why = is_refused(&NoDefault { list: vec![], other: 2 });
    assert!(why.contains("missing field `list`"), "{why}");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub(super) enum Tagged {
    Unit,
    Started { id: u32 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Untagged {
    Number(u64),
    Text(String),
    Unit,
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Key {
    Number(u64),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "content")]
enum Adjacent {
    Unit,
    Pair(u8, u8),
    Struct { id: u32 },
}

#[test]
fn types_that_ask_what_the_bytes_are_are_refused() {
    for why in [
        is_refused(&Tagged::Started { id: 1 }),
        is_refused(&Tagged::Unit),
        is_refused(&Adjacent::Unit),
        is_refused(&Adjacent::Pair(1, 2)),
        is_refused(&Adjacent::Struct { id: 3 }),
        is_refused(&Untagged::Number(1)),
        is_refused(&Untagged::Text("a".to_owned())),
        is_refused(&Untagged::Unit),
        is_refused(&Some(vec![(1, Untagged::Unit)])),
    ] {
        assert!(why.contains("they do not say it") && why.contains("untagged"), "{why}");
    }
}

#[test]
fn a_field_that_is_written_or_read_alone_is_refused() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Unwritten {
        a: u8,
        #[serde(skip_serializing, default)]
        b: u8,
        c: Vec<u8>,
    }
    let why = is_refused(&Unwritten { a: 1, b: 2, c: vec![1, 9] });
    assert!(why.contains("with 2 fields and is read with 3") && why.contains("skip_serializing"), "{why}");
    // Nor is it silent for those who do not try.
    let bytes = encoded(&Unwritten { a: 1, b: 2, c: vec![1, 9] });
    assert!(matches!(decode::<Unwritten>(&bytes), Err(DecodeError::OtherFields { .. })));

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Unread {
        a: u8,
        #[serde(skip_deserializing)]
        b: u8,
        c: u8,
    }
    assert!(is_refused(&Unread { a: 1, b: 2, c: 3 }).contains("skip_deserializing"));

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Neither {
        a: u8,
        #[serde(skip)]
        b: u8,
        c: u8,
    }
    comes_back(Neither { a: 1, b: 0, c: 3 });
}

#[test]
fn a_variant_that_has_another_number_when_it_is_read_is_refused() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Skips {
        First,
        #[serde(skip)]
        #[expect(dead_code, reason = "it is what moves the others")]
        Second,
        Third(u8),
        Fourth(u8),
    }
    comes_back(Skips::First);
    let why = is_refused(&Skips::Third(7));
    assert!(why.contains("variant 2 of enum Skips has another name"), "{why}");
    is_refused(&Skips::Fourth(7));
}

#[test]
fn a_flattened_struct_is_refused_by_name() {
    #[derive(Serialize, Deserialize)]
    struct Flat {
        #[serde(flatten)]
        job: BTreeMap<String, u8>,
    }
    assert!(is_refused(&Flat { job: BTreeMap::new() }).contains("flatten"));
}

#[test]
fn renamed_transparent_and_converted_types_come_back() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename = "another", rename_all = "kebab-case", deny_unknown_fields)]
    struct Renamed {
        #[serde(rename = "x")]
        first_field: u8,
        #[serde(alias = "y", default)]
        second_field: Option<u8>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(transparent)]
    struct Transparent(u8);
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(into = "String", try_from = "String")]
    enum Converted {
        One,
    }
    impl From<Converted> for String {
        fn from(_: Converted) -> Self {
            "one".to_owned()
        }
    }
    impl TryFrom<String> for Converted {
        type Error = String;
        fn try_from(text: String) -> Result<Self, String> {
            if text == "one" { Ok(Self::One) } else { Err(text) }
        }
    }
    comes_back(vec![Renamed { first_field: 1, second_field: None }]);
    comes_back(Transparent(7));
    comes_back(Some(Converted::One));
}
