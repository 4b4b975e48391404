//! When a message is decoded by who encodes it, to see whether it can be.

use super::attributes::{Key, Tagged, Untagged};
use super::{encode_message, is_refused};
use crate::codec::trial::Seen;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

static DECODED: AtomicU32 = AtomicU32::new(0);

#[derive(Serialize)]
struct Counted(Option<u8>);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::Relaxed);
        #[derive(Deserialize)]
        #[serde(rename = "Counted")]
        struct Plain(Option<u8>);
        Plain::deserialize(deserializer).map(|plain| Self(plain.0))
    }
}

#[test]
fn a_message_is_tried_when_it_has_a_part_that_none_before_it_had() {
    for (message, tried) in [(None, 1), (None, 1), (Some(1), 2), (Some(2), 2), (None, 2)] {
        encode_message(&Counted(message), &mut Vec::new()).unwrap();
        assert_eq!(DECODED.load(Ordering::Relaxed), tried, "{message:?}");
    }
}

/// Which parts a message has is told by addresses, and these differ from run to run.
#[test]
fn hardly_a_part_is_taken_for_others() {
    let names_at = |base: usize, step: usize| (0..100).map(move |n| base + n * step);
    let (mut confused, mut all) = (0, 0);
    for (base, step) in (0..2000).map(|n| (0x5555_0000_0000 + n * 4096, 1 + n % 97)) {
        let mut known = Seen::default();
        names_at(base, step).step_by(12).take(8).for_each(|name| known.note(name));
        for name in names_at(base + 1_000_000, step) {
            let mut seen = Seen::default();
            seen.note(name);
            confused += u32::from(seen.parts.iter().zip(known.parts).all(|(part, known)| part & !known == 0));
            all += 1;
        }
    }
    // (8 / 64)⁴ of them, if the bits are well mixed.
    assert!(confused * 1000 < all, "{confused} of {all}");
}

#[test]
fn the_type_of_a_key_is_a_part_too() {
    let mut message = (vec![1_u8], BTreeMap::<Key, u8>::new());
    encode_message(&message, &mut Vec::new()).unwrap();
    message.1.insert(Key::Number(1), 1);
    is_refused(&message);
}

#[test]
fn a_variant_that_comes_later_is_tried_too() {
    #[derive(Serialize, Deserialize)]
    enum Message {
        Plain(u8),
        Late(Vec<Tagged>),
    }
    encode_message(&Message::Plain(1), &mut Vec::new()).unwrap();
    encode_message(&Message::Late(vec![]), &mut Vec::new()).unwrap();
    is_refused(&Message::Late(vec![Tagged::Unit]));
    encode_message(&Message::Late(vec![]), &mut Vec::new()).unwrap();
}

/// Ends the process that decodes it.
struct Deadly;
impl Serialize for Deadly {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}
impl<'de> Deserialize<'de> for Deadly {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        std::process::abort()
    }
}

#[test]
fn what_does_something_instead_of_being_decoded_is_not_tried() {
    #[derive(Serialize, Deserialize)]
    struct Holds {
        deadly: Deadly,
    }
    encode_message(&Deadly, &mut Vec::new()).unwrap();
    encode_message(&(1, Deadly), &mut Vec::new()).unwrap();
    encode_message(&vec![Some(Holds { deadly: Deadly })], &mut Vec::new()).unwrap();
    // Others without content are no reason not to try.
    is_refused(&(Untagged::Unit, (), [(); 2], std::marker::PhantomData::<u8>));
}

#[test]
fn a_deserialize_that_panics_decides_nothing() {
    struct Explosive;
    impl Serialize for Explosive {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u8(7)
        }
    }
    impl<'de> Deserialize<'de> for Explosive {
        fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("as it does")
        }
    }
    let mut bytes = Vec::new();
    encode_message(&Explosive, &mut bytes).unwrap();
    assert_eq!(bytes, [7]);
    // The next is tried as before.
    is_refused(&Untagged::Unit);
}
