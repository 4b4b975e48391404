//! What is found out of types as serde's documentation has them, and of `Deserialize`s written by hand.

#![expect(dead_code, reason = "what is read of these types is how they are made")]

use super::structure;
use crate::pipe::Sender;
use crate::queue::Queue;
use procession_shm::Namespace;
use serde::de::{DeserializeOwned, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[track_caller]
fn is<T: DeserializeOwned>(text: &str) {
    assert_eq!(&*structure::<T>(), text);
}

#[test]
fn what_std_has() {
    is::<bool>("bool");
    is::<(i8, i16, i32, i64, i128, isize)>("(i8,i16,i32,i64,i128,i64)");
    is::<(u8, u16, u32, u64, u128, usize)>("(u8,u16,u32,u64,u128,u64)");
    is::<(f32, f64, char)>("(f32,f64,char)");
    is::<(String, Box<str>, Cow<'static, str>)>("(string*3)");
    is::<Vec<Option<u8>>>("[?u8]");
    is::<(HashSet<u32>, Box<[u32]>)>("([u32]*2)");
    is::<HashMap<String, BTreeMap<u8, ()>>>("<string,<u8,()>>");
    is::<([u16; 4], [[u8; 2]; 3])>("((u16*4),((u8*2)*3))");
    is::<(u8,)>("u8");
    is::<((), ())>("(()*2)");
    is::<Duration>("{secs:u64,nanos:u32}");
    is::<Result<u8, String>>("enum{Ok:u8,Err:string}");
    is::<std::ops::Range<u8>>("{start:u8,end:u8}");
    is::<NonZeroU32>("u32");
    is::<std::net::IpAddr>("enum{V4:(u8*4),V6:(u8*16)}");
    is::<std::path::PathBuf>("string");
    is::<crate::codec::Bytes>("[u8]");
    is::<(PhantomData<u8>, u8)>("((),u8)");
}

#[derive(Deserialize)]
struct Job<T> {
    id: u64,
    #[serde(rename = "what it is")]
    what: String,
    more: T,
}

#[derive(Deserialize)]
struct Nothing;

#[derive(Deserialize)]
struct Meters(f64);

#[derive(Deserialize)]
struct Pair(u8, Meters);

#[derive(Deserialize)]
enum Order {
    Stop,
    Go(u8),
    Turn(Meters, i8),
    Say { text: String, loud: Option<bool> },
    Again(Job<u8>),
}

#[test]
fn what_is_derived() {
    is::<Job<u8>>("{id:u64,what it is:string,more:u8}");
    is::<Job<Job<Nothing>>>("{id?:u64,what it is?:string,more?:{id?:u64,what it is?:string,more?:_}}");
    is::<Pair>("(u8,f64)");
    let order = "enum{Stop,Go:u8,Turn:(f64,i8),Say:{text:string,loud:?bool},\
                 Again:{id:u64,what it is:string,more:u8}}";
    is::<Order>(order);
    is::<Vec<(Order, Order, u8)>>(&format!("[({order}*2,u8)]"));
    is::<Job<Order>>(&format!("{{id:u64,what it is:string,more:{order}}}"));
}

#[derive(Deserialize)]
struct Defaults {
    #[serde(default)]
    first: u8,
    second: Option<u8>,
    #[serde(default)]
    third: Job<Option<u8>>,
    #[serde(default, rename = "a:b")]
    fourth: Vec<u8>,
    #[serde(skip)]
    fifth: u8,
}

impl<T: Default> Default for Job<T> {
    fn default() -> Self {
        Self { id: 0, what: String::new(), more: T::default() }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AllDefaults {
    first: u8,
    second: bool,
}

#[test]
fn fields_with_a_default_behind_the_last_without_are_marked() {
    let fourth = procession_shm::name_in_structure("a:b");
    let job = "{id:u64,what it is:string,more:?u8}";
    is::<Defaults>(&format!("{{first:u8,second:?u8,third?:{job},{fourth}?:[u8]}}"));
    is::<AllDefaults>("{first?:u8,second?:bool}");
}

#[derive(Deserialize)]
struct Tree {
    value: u8,
    left: Option<Box<Tree>>,
    others: Vec<Tree>,
    last: u16,
}

#[derive(Deserialize)]
enum Expression {
    Sum(Box<Expression>, Box<Expression>),
    Number(u8),
    Call { name: String, with: Vec<Expression> },
}

#[derive(Deserialize)]
struct Forest(Vec<Forest>);

/// That cannot be: no value of it has an end.
#[derive(Deserialize)]
struct Endless {
    next: Box<Endless>,
    number: u8,
}

#[test]
fn a_type_in_itself_is_not_followed() {
    is::<Tree>("{value:u8,left:?_,others:[_],last:u16}");
    is::<Expression>("enum{Sum:(_*2),Number:u8,Call:{name:string,with:[_]}}");
    is::<Forest>("[_]");
    is::<Endless>("{next?:_,number?:u8}");
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Started { id: u32 },
}

#[derive(Deserialize)]
#[serde(tag = "kind", content = "content")]
enum Adjacent {
    Unit,
    Pair(u8, u8),
}

#[derive(Deserialize)]
struct Flat {
    id: u8,
    #[serde(flatten)]
    more: BTreeMap<String, u8>,
}

#[derive(Deserialize)]
enum Others {
    Known,
    #[serde(skip)]
    Hidden,
    #[serde(alias = "Last")]
    Later(u8),
    #[serde(other)]
    Rest,
}

#[derive(Deserialize)]
#[serde(try_from = "u8")]
struct Even(u8);

impl TryFrom<u8> for Even {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        if number.is_multiple_of(2) { Ok(Self(number)) } else { Err("it is odd") }
    }
}

#[derive(Deserialize)]
struct Cautious {
    before: u8,
    even: Even,
    #[serde(with = "hex")]
    between: Vec<u8>,
    asks: serde_json::Value,
    ignored: IgnoredAny,
    after: Vec<Even>,
    #[serde(default)]
    last: u8,
}

/// As of a crate that writes bytes as text.
mod hex {
    use serde::{Deserialize, Deserializer, de::Error};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        if text.len() % 2 == 0 { Ok(text.into_bytes()) } else { Err(D::Error::custom("half a byte")) }
    }
}

#[test]
fn what_asks_and_what_refuses_hides_nothing_of_the_rest() {
    is::<Untagged>("_");
    is::<Tagged>("_");
    is::<Vec<Untagged>>("[_]");
    is::<serde_json::Value>("_");
    is::<Job<Tagged>>("{id?:u64,what it is?:string,more?:_}");
    is::<Cautious>("{before?:u8,even?:u8,between?:string,asks?:_,ignored?:_,after?:[u8],last?:u8}");
    // Of a tuple nothing is known behind what was refused.
    is::<(u8, Even, u16, u32)>("(u8*2,_*2)");
    for any in [structure::<Adjacent>(), structure::<Flat>(), structure::<Others>()] {
        assert!(!any.is_empty());
    }
}

/// Reads a sequence of two, of which it says nothing.
struct ByHand;

impl<'de> Deserialize<'de> for ByHand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Two;
        impl<'de> Visitor<'de> for Two {
            type Value = ByHand;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("two")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<ByHand, A::Error> {
                let first: Option<u8> = elements.next_element()?;
                let second: Option<u16> = elements.next_element()?;
                first.and(second).map(|_| ByHand).ok_or_else(|| A::Error::custom("too few"))
            }
        }
        deserializer.deserialize_struct("ByHand", &["one", "two", "three"], Two)
    }
}

/// One that has content, and asks for nothing.
struct Careless(u8);

impl<'de> Deserialize<'de> for Careless {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self(1))
    }
}

/// One that takes every text for a number.
struct Panicky(u64);

impl<'de> Deserialize<'de> for Panicky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(<&str>::deserialize(deserializer)?[1..].parse().unwrap()))
    }
}

/// One that asks for another thing each time, or so it seems.
struct Fickle(u8);

impl<'de> Deserialize<'de> for Fickle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        static TURN: AtomicU32 = AtomicU32::new(0);
        if TURN.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            Vec::<u8>::deserialize(deserializer).map(|_| Self(1))
        } else {
            <(u8, Option<u8>)>::deserialize(deserializer).map(|_| Self(2))
        }
    }
}

/// One that opens a queue of its own kind.
#[derive(Serialize)]
struct Opener(u8);

impl<'de> Deserialize<'de> for Opener {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Queue::<Self>::options().namespace(&Namespace::private()).anonymous().map_err(D::Error::custom)?;
        u8::deserialize(deserializer).map(Self)
    }
}

#[test]
fn what_is_written_by_hand_neither_panics_nor_loops() {
    is::<(u16, ByHand)>("(u16,_)");
    assert_eq!(&*structure::<Vec<Careless>>(), "[_]");
    is::<Job<Careless>>("{id:u64,what it is:string,more:_}");
    is::<Job<Panicky>>("{id:u64,what it is:string,more:string}");
    assert!(!structure::<Vec<Fickle>>().is_empty());
    is::<Opener>("u8");
    is::<(Queue<u8>, Sender<String>, u8)>("(handle,_*2)");
    is::<Job<Queue<u8>>>("{id?:u64,what it is?:string,more?:handle}");
    is::<Job<Sender<u8>>>("{id?:u64,what it is?:string,more?:{pipe?:handle,side?:u8}}");
}

#[derive(Deserialize)]
struct Two<T> {
    first: Box<T>,
    second: Box<T>,
}

type Four<T> = Two<Two<T>>;
type Sixteen<T> = Four<Four<T>>;
type Many<T> = Sixteen<Sixteen<Sixteen<Sixteen<Sixteen<T>>>>>;

/// As large arrays are read by crates that can.
struct Large(u8);

impl<'de> Deserialize<'de> for Large {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Large;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("many")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Large, A::Error> {
                while elements.next_element::<u8>()?.is_some() {}
                Ok(Large(0))
            }
        }
        deserializer.deserialize_tuple(1 << 40, All)
    }
}

#[test]
fn what_is_too_large_is_known_in_part() {
    let many = structure::<Many<u8>>();
    assert!(many.starts_with("{first") && many.contains('_') && many.len() > 100, "{many}");
    let large = structure::<Job<Large>>();
    assert!(large.starts_with("{id:u64,what it is:string,more:(u8*"), "{large}");
}
