//! JSON, MessagePack and bytes: what they carry, what they refuse, and what other programs read.

use super::attributes::Tagged;
use crate::codec::{Bytes, Codec, DecodeError, EncodeError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;

const DESCRIBING: [Codec; 2] = [Codec::Json, Codec::MsgPack];

fn encode<T: Serialize + DeserializeOwned>(codec: Codec, value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut out = vec![9];
    let outcome = codec.encode::<T, T>(value, &mut out);
    assert!(outcome.is_ok() || out == [9], "an error takes back what was appended");
    outcome.map(|()| out.split_off(1))
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    for codec in DESCRIBING {
        let bytes = encode(codec, &value).unwrap();
        assert_eq!(codec.decode::<T>(&bytes).unwrap(), value, "{codec}");
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Id {
    Number(u64),
    Name(String),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Job {
    id: Id,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    tags: Vec<String>,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Variants {
    Unit,
    New(u8),
    Tuple(u8, String),
    Struct { a: Option<bool>, b: (i64, u128) },
}

#[test]
fn what_bincode_cannot_carry_the_describing_ones_do() {
    comes_back(Id::Name("n".to_owned()));
    comes_back(Id::Number(7));
    let rest = BTreeMap::from([("x".to_owned(), 1)]);
    comes_back(Job { id: Id::Number(1), tags: vec![], rest: rest.clone() });
    comes_back(Job { id: Id::Number(1), tags: vec!["t".to_owned()], rest });
    comes_back(serde_json::json!({"a": [1, null, "x"], "b": 0.1}));
    for codec in DESCRIBING {
        encode(codec, &Tagged::Unit).unwrap();
    }
    assert!(matches!(encode(Codec::Bincode, &Id::Number(1)), Err(EncodeError::CannotComeBack { .. })));
}

#[test]
fn values_come_back_in_each() {
    comes_back((Variants::Unit, Variants::New(1), Variants::Tuple(2, "ö".to_owned())));
    comes_back(Variants::Struct { a: Some(true), b: (i64::MIN, u128::MAX) });
    comes_back(HashMap::from([(1_u64, 'a'), (2, 'b'), (3, 'c')]));
    comes_back(HashSet::from(["one".to_owned(), "two".to_owned(), "three".to_owned()]));
    comes_back((0.1_f32, 0.1_f64 + 0.2, f64::MIN_POSITIVE, 123_456_789.123_456_79_f64));
    comes_back((Some(1_u8), None::<u8>, Some(vec![(); 3]), Bytes(vec![0, 255])));
    comes_back(std::net::IpAddr::from([127, 0, 0, 1]));
}

#[test]
fn json_is_what_others_write_and_read() {
    let job = Job { id: Id::Number(7), tags: vec![], rest: BTreeMap::new() };
    assert_eq!(encode(Codec::Json, &job).unwrap(), br#"{"id":7}"#);
    let read: Job = Codec::Json.decode(b" { \"id\": \"x\", \"more\": 5 }\n").unwrap();
    assert_eq!(read.rest, BTreeMap::from([("more".to_owned(), 5)]));
    assert!(matches!(Codec::Json.decode::<Job>(b"{\"id\":"), Err(DecodeError::UnexpectedEnd)));
    assert!(matches!(Codec::Json.decode::<Job>(b"{\"id\":1} x"), Err(DecodeError::Invalid(_))));
    assert!(matches!(Codec::MsgPack.decode::<u8>(&[1, 2]), Err(DecodeError::TrailingBytes { count: 1 })));
    assert!(matches!(Codec::MsgPack.decode::<String>(&[0xa5, b'x']), Err(DecodeError::UnexpectedEnd)));
}

#[derive(Debug, Serialize, Deserialize)]
struct Forgets {
    kept: u8,
    #[serde(skip_deserializing)]
    forgotten: u8,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Withholds {
    #[serde(skip_serializing)]
    withheld: u8,
}

#[test]
fn what_would_come_back_as_something_else_is_refused() {
    assert_eq!(Codec::Json.decode::<Withholds>(b"{\"withheld\":1}").unwrap(), Withholds { withheld: 1 });
    for codec in DESCRIBING {
        let refused = encode(codec, &Withholds { withheld: 1 });
        assert!(matches!(refused, Err(EncodeError::CannotComeBack { .. })), "{refused:?}");
        let refused = encode(codec, &Forgets { kept: 1, forgotten: 2 }).unwrap_err();
        assert!(refused.to_string().contains("another value than what was written"), "{refused}");
        for refused in [encode(codec, &Some(None::<u8>)), encode(codec, &Some(Some(())))] {
            assert!(matches!(refused, Err(EncodeError::NotRepresentable { .. })), "{refused:?}");
        }
        assert!(encode(codec, &Some(Some(1_u8))).is_err(), "None in it would be the outer one");
    }
    assert!(matches!(encode(Codec::Json, &f64::NAN), Err(EncodeError::NotRepresentable { .. })));
    assert!(matches!(encode(Codec::Json, &Some(f32::INFINITY)), Err(EncodeError::NotRepresentable { .. })));
    encode(Codec::MsgPack, &f64::INFINITY).unwrap();
    assert!(encode(Codec::Json, &HashMap::from([((1, 2), 3)])).is_err(), "keys are text");
}

#[derive(Debug, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Branch(Vec<Tree>),
    Named { inner: Box<Tree> },
    Boxed(Box<Tree>),
}

#[test]
fn what_is_too_deep_to_be_read_is_refused() {
    for codec in DESCRIBING {
        let wraps: [fn(Tree) -> Tree; 3] = [
            |tree| Tree::Branch(vec![tree]),
            |tree| Tree::Named { inner: Box::new(tree) },
            |tree| Tree::Boxed(Box::new(tree)),
        ];
        for wrap in wraps {
            let mut tree = Tree::Leaf;
            let mut depth = 0;
            loop {
                match encode(codec, &tree) {
                    Ok(bytes) => drop(codec.decode::<Tree>(&bytes).unwrap()),
                    Err(EncodeError::TooDeep) => break,
                    Err(error) => panic!("{error}"),
                }
                tree = wrap(tree);
                depth += 1;
            }
            assert!(depth > 60, "{codec} {depth}");
        }
    }
    let deep = vec![b'['; 100_000];
    assert!(Codec::Json.decode::<serde_json::Value>(&deep).is_err());
    assert!(Codec::MsgPack.decode::<serde_json::Value>(&vec![0x91; 100_000]).is_err());
    // Variants in one another, by their name and by their number.
    let refuses = |codec: Codec, level: &[u8]| {
        let refused = codec.decode::<Tree>(&level.repeat(100_000)).unwrap_err();
        assert!(matches!(refused, DecodeError::TooDeep | DecodeError::Invalid(_)), "{refused}");
    };
    refuses(Codec::Json, b"{\"Boxed\":");
    refuses(Codec::MsgPack, b"\x81\xa5Boxed");
    refuses(Codec::MsgPack, &[0x81, 3]);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Name(String);

#[test]
fn bytes_are_as_they_are_and_nothing_else_is() {
    fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, bytes: &[u8]) {
        assert_eq!(encode(Codec::Bytes, &value).unwrap(), bytes);
        assert_eq!(Codec::Bytes.decode::<T>(bytes).unwrap(), value);
    }
    same(Bytes(vec![1, 2]), &[1, 2]);
    same(vec![1_u8, 2], &[1, 2]);
    same([1_u8, 2], &[1, 2]);
    same("text".to_owned(), b"text");
    same(Name("text".to_owned()), b"text");
    same(Bytes::default(), &[]);
    assert!(Codec::Bytes.decode::<String>(&[255]).is_err());
    assert!(Codec::Bytes.decode::<[u8; 2]>(&[1, 2, 3]).is_err());
    for refused in [
        encode(Codec::Bytes, &1_u8),
        encode(Codec::Bytes, &vec![1_u16]),
        encode(Codec::Bytes, &vec!["a".to_owned()]),
        encode(Codec::Bytes, &Some(1_u8)),
        encode(Codec::Bytes, &Forgets { kept: 1, forgotten: 1 }),
    ] {
        assert!(matches!(refused, Err(EncodeError::NotRepresentable { .. })), "{refused:?}");
    }
}

#[test]
fn no_value_of_rust_is_a_pickle() {
    let refused = encode(Codec::Pickle, &vec![1_u8]).unwrap_err();
    assert!(matches!(refused, EncodeError::NotRepresentable { codec: Codec::Pickle, .. }), "{refused}");
    assert!(Codec::Pickle.decode::<Vec<u8>>(b"\x80\x05.").is_err());
}
