//! Bytes that nobody wrote, and values that are too deep: what they cost, and how they end.

use super::attributes::Job;
use super::{Shape, comes_back, encoded};
use crate::codec::{DecodeError, EncodeError, decode, encode};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, HashMap};
use std::thread;

struct Miscounts(u8);
impl Serialize for Miscounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{SerializeMap, SerializeSeq, SerializeTuple};
        match self.0 {
            0 => serializer.serialize_seq(Some(2)).and_then(|mut seq| {
                seq.serialize_element(&1_u8)?;
                seq.end()
            }),
            1 => serializer.serialize_tuple(0).and_then(|mut tuple| {
                tuple.serialize_element(&1_u8)?;
                tuple.end()
            }),
            _ => serializer.serialize_map(Some(0)).and_then(|mut map| {
                map.serialize_entry(&1_u8, &1_u8)?;
                map.end()
            }),
        }
    }
}

#[test]
fn who_announces_another_number_of_elements_is_refused() {
    for way in 0..3 {
        let refused = encode(&Miscounts(way), &mut Vec::new()).unwrap_err();
        assert!(refused.to_string().contains("announced another number"), "{refused}");
    }
}

#[test]
fn a_lying_length_reserves_nothing() {
    // 253 announces a u64: a string of 2^63 bytes.
    let lie = [253, 0, 0, 0, 0, 0, 0, 0, 128];
    assert!(matches!(decode::<String>(&lie), Err(DecodeError::TooLarge)));
    assert!(decode::<Vec<u64>>(&lie).is_err());
    assert!(decode::<serde_bytes_of::Bytes>(&lie).is_err());
}

/// What reads bytes as bytes.
mod serde_bytes_of {
    #[derive(Debug)]
    pub(super) struct Bytes;
    impl<'de> serde::Deserialize<'de> for Bytes {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Any;
            impl serde::de::Visitor<'_> for Any {
                type Value = Bytes;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("bytes")
                }
                fn visit_byte_buf<E>(self, _: Vec<u8>) -> Result<Bytes, E> {
                    Ok(Bytes)
                }
            }
            deserializer.deserialize_byte_buf(Any)
        }
    }
}

#[test]
fn elements_that_take_no_bytes_are_few() {
    // 2^32 and 2^63 elements in nine bytes.
    for len in [1_u64 << 32, 1 << 63] {
        let mut lie = vec![253];
        lie.extend(len.to_le_bytes());
        assert!(matches!(decode::<Vec<()>>(&lie), Err(DecodeError::TooLarge)));
        assert!(matches!(decode::<HashMap<(), ()>>(&lie), Err(DecodeError::TooLarge)));
    }
    comes_back(vec![(); 65_536]);
    assert!(matches!(encode(&vec![(); 65_537], &mut Vec::new()), Err(EncodeError::TooManyEmpty)));
    // In one another: 1,000 sequences of 65,536 each.
    let many = encoded(&vec![vec![(); 65]; 1000]);
    assert_eq!(decode::<Vec<Vec<()>>>(&many).unwrap().len(), 1000);
    let len = |len| encoded(&vec![(); len]);
    let mut lie = len(1000);
    (0..1000).for_each(|_| lie.extend(len(65_536)));
    assert!(matches!(decode::<Vec<Vec<()>>>(&lie), Err(DecodeError::TooLarge)));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf(u64),
    Branch(Vec<Tree>),
    Named(BTreeMap<String, Tree>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Chain {
    next: Option<Box<Chain>>,
    name: String,
}

/// With as much stack as a thread has unless said otherwise.
fn on_a_thread(work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn what_is_too_deep_is_refused_on_both_sides() {
    on_a_thread(|| {
        let tree = |depth| (0..depth).fold(Tree::Leaf(1), |inner, _| Tree::Branch(vec![inner]));
        comes_back(tree(127));
        assert!(matches!(encode(&tree(128), &mut Vec::new()), Err(EncodeError::TooDeep)));
        let chain = |depth| {
            (0..depth).fold(None, |next, _| Some(Box::new(Chain { next, name: "link".to_owned() }))).unwrap()
        };
        comes_back(chain(128));
        assert!(matches!(encode(&chain(129), &mut Vec::new()), Err(EncodeError::TooDeep)));
    });
}

#[test]
fn hostile_depth_ends_in_an_error() {
    on_a_thread(|| {
        for unit in [encoded(&Tree::Branch(vec![])), encoded(&Some(Tree::Leaf(1)))] {
            let mut one = unit[..unit.len() - 1].to_vec();
            one.push(1);
            let hostile: Vec<u8> = one.iter().copied().cycle().take(100_000).collect();
            assert!(decode::<Tree>(&hostile).is_err());
            assert!(decode::<Chain>(&hostile).is_err());
        }
        let branch = encoded(&Tree::Branch(vec![Tree::Branch(vec![])]));
        let hostile = branch[..3].repeat(100_000 / 3);
        assert!(matches!(decode::<Tree>(&hostile), Err(DecodeError::TooDeep)));
    });
}

#[test]
fn random_bytes_never_panic() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let job = encoded(&Job { note: None, retries: 1, more: None, payload: vec![1], last: vec![] });
    for _ in 0..20_000 {
        let length = next() % 40;
        let bytes: Vec<u8> = (0..length).map(|_| (next() >> 32) as u8).collect();
        drop(decode::<Shape>(&bytes));
        drop(decode::<Vec<Shape>>(&bytes));
        drop(decode::<(String, Option<char>, Result<u8, i128>)>(&bytes));
        let mut spoilt = job.clone();
        let at = next() as usize % spoilt.len();
        spoilt[at] = next() as u8;
        drop(decode::<Job>(&spoilt));
    }
}
