//! The default codec: what comes back, and what is refused.

mod attributes;
mod builds;
mod hostile;
mod others;
mod trials;

use super::{Codec, DecodeError, EncodeError, LIMIT, decode, encode};
use attributes::Tagged;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Text { words: Vec<String>, bytes: Option<Box<[u8]>> },
    Table(BTreeMap<u64, (char, f64)>),
    Wide(Vec<u128>),
}

fn encode_message<T: Serialize + DeserializeOwned>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    Codec::Bincode.encode::<T, T>(value, out)
}

fn encoded<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode(value, &mut out).unwrap();
    out
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let mut bytes = vec![1, 2, 3];
    encode_message(&value, &mut bytes).unwrap();
    assert_eq!(decode::<T>(&bytes[3..]).unwrap(), value);
}

/// Why a value is refused, which must be.
fn is_refused<T: Serialize + DeserializeOwned>(value: &T) -> String {
    match encode_message(value, &mut Vec::new()) {
        Ok(()) => panic!("a {} was taken", std::any::type_name::<T>()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn values_come_back() {
    comes_back(Shape::Dot);
    comes_back(Shape::Text { words: vec!["a".into(), "ö".into()], bytes: Some(Box::from([1, 2, 3])) });
    comes_back(Shape::Table(BTreeMap::from([(u64::MAX, ('x', 0.5))])));
    comes_back(Shape::Wide(vec![1; 100_000]));
    comes_back(((), [(); 3], Some(()), vec![(); 3], HashMap::from([(String::new(), ())])));
    comes_back((i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN, u128::MAX, f32::MAX, true, 'ö'));
    comes_back((Some(Some(None::<u8>)), Ok::<_, ()>(Err::<u8, _>("no".to_owned())), Box::new(7_u8)));
    comes_back((
        IpAddr::from([1, 2, 3, 4]),
        SocketAddr::from(([0; 8], 9)),
        Duration::from_millis(5),
        3..9_u8,
    ));
    assert_eq!(decode::<String>(&encoded("unsized")).unwrap(), "unsized");
}

#[test]
fn encoding_appends_and_an_error_takes_it_back() {
    let mut out = vec![9];
    encode(&1_u8, &mut out).unwrap();
    assert_eq!(out, [9, 1]);
    let endless = Endless;
    assert!(matches!(encode(&(5_u8, endless), &mut out), Err(EncodeError::Unsupported(_))));
    assert_eq!(out, [9, 1]);
    assert!(encode_message(&Tagged::Unit, &mut out).is_err());
    assert_eq!(out, [9, 1]);
}

struct Endless;
impl Serialize for Endless {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(std::iter::repeat_n(1, 3).filter(|n| n % 2 == 1))
    }
}

#[test]
fn too_few_and_too_many_bytes_are_told_apart() {
    let mut bytes = encoded(&(1_u8, "hello"));
    assert!(matches!(decode::<(u8, String)>(&bytes[..1]), Err(DecodeError::UnexpectedEnd)));
    assert!(matches!(decode::<(u8, String)>(&bytes[..3]), Err(DecodeError::TooLarge)));
    bytes.push(0);
    assert!(matches!(decode::<(u8, String)>(&bytes), Err(DecodeError::TrailingBytes { count: 1 })));
}

#[test]
fn scalars_are_written_as_bincode_writes_them() {
    fn is_alike<T: Serialize + bincode::Encode + Copy>(value: T) {
        let fixed = bincode::config::standard().with_fixed_int_encoding();
        assert_eq!(encoded(&value), bincode::encode_to_vec(value, fixed).unwrap());
    }
    for power in 0..64 {
        for number in [(1_u64 << power) - 1, 1 << power, (1 << power) + 1, 249 + power, 251 << power] {
            is_alike(number as u8);
            is_alike(number as u16);
            is_alike(number as u32);
            is_alike(number);
            is_alike(number as usize);
            is_alike(u128::from(number) << 64 | 7);
            for number in [number.cast_signed(), number.cast_signed().wrapping_neg()] {
                is_alike(number as i8);
                is_alike(number as i16);
                is_alike(number as i32);
                is_alike(number);
                is_alike(i128::from(number) << 60);
            }
            is_alike(f64::from_bits(number));
            is_alike(number as f32);
        }
    }
    for len in [0, 1, 250, 251, 70_000] {
        // Their lengths are short.
        let value = ('x', true, false, &*"x".repeat(len));
        assert_eq!(encoded(&value), bincode::encode_to_vec(value, bincode::config::standard()).unwrap());
    }
}

#[test]
fn what_is_too_long_says_how_else_to_send_it() {
    let text = EncodeError::TooLarge.to_string();
    assert!(text.contains(&LIMIT.to_string()) && text.contains("put_bytes"), "{text}");
}
