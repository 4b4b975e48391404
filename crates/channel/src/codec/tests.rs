//! What comes back, what is refused, and what hostile bytes cost.

use super::trial::Seen;
use super::{Codec, DecodeError, EncodeError, LIMIT, decode, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

mod others;

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

// serde's attributes

/// What becomes of a value whose type has some attribute.
fn is_refused<T: Serialize + DeserializeOwned>(value: &T) -> String {
    match encode_message(value, &mut Vec::new()) {
        Ok(()) => panic!("a {} was taken", std::any::type_name::<T>()),
        Err(error) => error.to_string(),
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Job {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    note: Option<u8>,
    retries: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<String>,
    payload: Vec<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    last: Vec<u8>,
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
enum Tagged {
    Unit,
    Started { id: u32 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
    Text(String),
    Unit,
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
enum Key {
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

// When a message is tried

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

// Two builds of one program

#[test]
fn swapped_renamed_and_missing_fields_are_noticed() {
    mod old {
        #[derive(serde::Serialize)]
        pub(super) struct Job {
            pub(super) id: u64,
            pub(super) priority: u64,
        }
    }
    mod new {
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "they are never read")]
        pub(super) struct Job {
            priority: u64,
            id: u64,
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename = "Job")]
        #[expect(dead_code, reason = "they are never read")]
        pub(super) struct Renamed {
            number: u64,
            priority: u64,
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename = "Job")]
        #[expect(dead_code, reason = "they are never read")]
        pub(super) struct Shorter {
            id: u64,
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename = "Job")]
        pub(super) struct Longer {
            pub(super) id: u64,
            pub(super) priority: u64,
            #[serde(default)]
            pub(super) path: String,
        }
    }
    let bytes = encoded(&old::Job { id: 7, priority: 17 });
    let told = decode::<new::Job>(&bytes).unwrap_err().to_string();
    assert!(told.starts_with("struct Job was written with 2 fields and is read with 2"), "{told}");
    assert!(matches!(decode::<new::Renamed>(&bytes), Err(DecodeError::OtherFields { .. })));
    assert!(matches!(decode::<new::Shorter>(&bytes), Err(DecodeError::OtherFields { .. })));
    let longer: new::Longer = decode(&bytes).unwrap();
    assert_eq!((longer.id, longer.priority, longer.path.as_str()), (7, 17, ""));
}

#[test]
fn variants_in_another_order_are_noticed() {
    mod old {
        #[derive(serde::Serialize)]
        pub(super) enum Order {
            Start,
            Stop,
        }
    }
    mod new {
        #[derive(Debug, serde::Deserialize)]
        pub(super) enum Order {
            Stop,
            Start,
        }
    }
    for order in [old::Order::Start, old::Order::Stop] {
        let told = decode::<new::Order>(&encoded(&order));
        assert!(matches!(told, Err(DecodeError::OtherVariants { name: "Order", .. })), "{told:?}");
    }
}

// What is announced and not there

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
    let mut lie = encoded(&1000_u64);
    (0..1000).for_each(|_| lie.extend(encoded(&65_536_u64)));
    assert!(matches!(decode::<Vec<Vec<()>>>(&lie), Err(DecodeError::TooLarge)));
}

// Depth

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

#[test]
fn scalars_are_written_as_bincode_writes_them() {
    fn is_alike<T: Serialize + bincode::Encode + Copy>(value: T) {
        let mut bytes = vec![0; 70_100];
        let len = bincode::encode_into_slice(value, &mut bytes, bincode::config::standard()).unwrap();
        assert_eq!(encoded(&value), bytes[..len]);
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
        let text = "x".repeat(len);
        is_alike(&*text);
        is_alike(('x', true, false, &*text));
    }
}

#[test]
fn what_is_too_long_says_how_else_to_send_it() {
    let text = EncodeError::TooLarge.to_string();
    assert!(text.contains(&LIMIT.to_string()) && text.contains("put_bytes"), "{text}");
}
