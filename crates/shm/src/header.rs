//! The first page of every segment: what the object is, so that nobody uses it as something else.
//!
//! The page is written before the file has a name and never changes afterwards, but for three atomic words:
//! `state`, `registry` and `spilled`. It is read by copying the page out, checking it, and using the copy.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 4 | format version |
//! | 12 | 4 | layout fingerprint: constants and struct sizes folded into one number |
//! | 16 | 4 | kind |
//! | 20 | 4 | flags: 1 ephemeral; no others |
//! | 24 | 4 | **state**: 0 live, 1 retired (being removed; whoever finds it finishes that) |
//! | 28 | 4 | codec of messages, 0 for none |
//! | 32 | 8 | size of the file |
//! | 40 | 16 | instance id, random |
//! | 56 | 8 | **registry**: instance of the registry whose owner ids the body may hold |
//! | 64 | 32 | four parameters, by kind |
//! | 96 | 4 | creator's pid |
//! | 100 | 4 | reserved, 0 |
//! | 104 | 8 | creation time, ns since the epoch |
//! | 112 | 16 | boot id |
//! | 128 | 8 | hash of the element type's tag |
//! | 136 | 2 | length of the tag that follows, at most 246 |
//! | 138 | 246 | the tag, cut at 246 bytes |
//! | 384 | 4 | **spilled**: 1 since a spill was first made for it |
//! | 388 | 2 | length of the structure that follows, at most 3,600 |
//! | 390 | 3600 | the structure of the elements (`structure.rs`); empty: not known |
//! | 4088 | 8 | checksum over all of it but the three words |

use crate::beginning::beginning;
use crate::codec::ANY_CODEC;
use crate::error::OpenError;
use crate::instance::{InstanceId, fnv, fnv_step};
use crate::kind::Kind;
use crate::label::{Label, ObjectName};
use crate::structure::{self, Difference, UNKNOWN};
use procession_sys::{clock, random};
use std::any::type_name;
use std::borrow::Cow;

/// How long a slot of a registry is: a part of the layout that two builds must agree on.
pub(crate) const SLOT_LEN: usize = 128;
/// How long an entry is in a registry's table of names; another part of the layout.
pub(crate) const ROLL_CELL_LEN: usize = 128;

/// Bytes before the body of every segment.
pub const HEADER_LEN: usize = 4096;
pub(crate) const STATE_OFFSET: usize = 24;
pub(crate) const INSTANCE_OFFSET: usize = 40;
pub(crate) const REGISTRY_OFFSET: usize = 56;
pub(crate) const SPILLED_OFFSET: usize = 384;
pub(crate) const LIVE: u32 = 0;
pub(crate) const RETIRED: u32 = 1;

/// The version of the format that this library reads and writes; see `docs/format.md`.
pub const FORMAT_VERSION: u32 = 1;
const MAGIC: u64 = u64::from_le_bytes(*b"\x7fPROCES\n");
const FINGERPRINT: u32 = fingerprint();
const EPHEMERAL: u32 = 1;
const TAG_OFFSET: usize = 138;
const TAG_MAX: usize = 246;
const STRUCTURE_OFFSET: usize = 390;
/// The longest structure that a header has room for.
pub const STRUCTURE_MAX: usize = 3600;
const CHECKSUM_OFFSET: usize = 4088;

/// A parameter of an object: the value that it is created with, and whether an opener insists on it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parameter {
    /// The parameter's name in errors.
    pub name: &'static str,
    /// The value.
    pub value: u64,
    /// Whether the caller named the value: an opener who did not accepts any.
    pub asked: bool,
}

impl Parameter {
    /// The parameter `name`, which is insisted on if it was said, and `default` otherwise.
    #[must_use]
    pub fn said(name: &'static str, said: Option<u64>, default: u64) -> Self {
        Self { name, value: said.unwrap_or(default), asked: said.is_some() }
    }
}

/// The part of a header that its creator chooses: everything but identity and time.
#[derive(Clone, Debug)]
pub struct Shape {
    /// What the object is.
    pub kind: Kind,
    /// How many bytes follow the header.
    pub body_len: u64,
    /// By kind.
    pub parameters: [Parameter; 4],
    /// The element type, for objects that hold elements.
    pub element: Option<Element>,
    /// How messages are encoded; 0 for none.
    pub codec: u32,
}

/// The type of an object's elements.
#[derive(Clone, Debug)]
pub struct Element {
    /// What it is called; `None` where that is no matter.
    pub tag: Option<String>,
    /// What Rust calls it here.
    pub type_name: &'static str,
    /// What it is made of.
    pub structure: Cow<'static, str>,
}

impl Element {
    /// The type of plain data that is called as said, or as Rust calls it.
    #[must_use]
    pub fn plain<T>(tag: Option<&String>) -> Self {
        let tag = tag.cloned().unwrap_or_else(element_tag::<T>);
        Self { tag: Some(tag), type_name: type_name::<T>(), structure: structure::plain_structure::<T>() }
    }
}

/// A header that was copied out and checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Header {
    /// What the object is.
    pub kind: Kind,
    /// Whether it goes with its last attached process.
    pub ephemeral: bool,
    /// How messages are encoded; 0 for none.
    pub codec: u32,
    /// The size of the file.
    pub size: u64,
    /// Which object it is.
    pub instance: InstanceId,
    /// The registry its owner ids belong to, when the header was read.
    pub registry: u64,
    /// By kind.
    pub parameters: [u64; 4],
    /// The pid of its creator, in the creator's pid namespace.
    pub creator: u32,
    /// When it was made, in nanoseconds since the epoch.
    pub created_ns: u64,
    /// The element type, possibly cut; empty for objects without elements.
    pub element: String,
    element_hash: u64,
    /// What its elements are made of; empty where nothing is known of that.
    pub structure: String,
}

/// A header page, to be written or just read.
pub(crate) type Page = [u8; HEADER_LEN];

/// Fills a fresh header page.
pub(crate) fn compose(shape: &Shape, ephemeral: bool, registry: u64) -> Page {
    let mut page = [0; HEADER_LEN];
    let mut put = |offset: usize, bytes: &[u8]| page[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC.to_le_bytes());
    put(8, &FORMAT_VERSION.to_le_bytes());
    put(12, &FINGERPRINT.to_le_bytes());
    put(16, &shape.kind.0.to_le_bytes());
    put(20, &u32::from(ephemeral).to_le_bytes());
    put(STATE_OFFSET, &LIVE.to_le_bytes());
    put(28, &shape.codec.to_le_bytes());
    put(32, &(HEADER_LEN as u64 + shape.body_len).to_le_bytes());
    put(40, &random::nonzero_u64().to_le_bytes());
    put(48, &random::nonzero_u64().to_le_bytes());
    put(REGISTRY_OFFSET, &registry.to_le_bytes());
    for (index, parameter) in shape.parameters.iter().enumerate() {
        put(64 + 8 * index, &parameter.value.to_le_bytes());
    }
    put(96, &std::process::id().to_le_bytes());
    put(104, &clock::wall_ns().to_le_bytes());
    put(112, &boot_id());
    if let Some(Element { structure, .. }) = &shape.element
        && structure != UNKNOWN
        && structure.len() <= STRUCTURE_MAX
    {
        put(STRUCTURE_OFFSET - 2, &u16::try_from(structure.len()).unwrap_or(0).to_le_bytes());
        put(STRUCTURE_OFFSET, structure.as_bytes());
    }
    if let Some(tag) = shape.element.as_ref().and_then(|element| element.tag.as_ref()) {
        let shown = beginning(tag, TAG_MAX).as_bytes();
        put(128, &fnv(tag.as_bytes()).to_le_bytes());
        put(136, &u16::try_from(shown.len()).unwrap_or(0).to_le_bytes());
        put(TAG_OFFSET, shown);
    }
    let sum = checksum(&page);
    page[CHECKSUM_OFFSET..].copy_from_slice(&sum.to_le_bytes());
    page
}

/// Checks a page that was copied out of a file of `file_size` bytes.
///
/// # Errors
/// [`OpenError::NotAnObject`], `Version`, `Layout`, `Truncated`, `Corrupt`.
pub(crate) fn parse(page: &Page, file_size: u64, object: &ObjectName<'_>) -> Result<Header, OpenError> {
    let name = || object.label();
    let corrupt = |what| OpenError::Corrupt { object: name(), what };
    if u64_at(page, 0) != MAGIC {
        return Err(OpenError::no_object(object));
    }
    let version = u32_at(page, 8);
    if version != FORMAT_VERSION {
        return Err(OpenError::Version { object: name(), found: version, ours: FORMAT_VERSION });
    }
    let layout = u32_at(page, 12);
    if layout != FINGERPRINT {
        return Err(OpenError::Layout { object: name(), found: layout, ours: FINGERPRINT });
    }
    if checksum(page) != u64_at(page, CHECKSUM_OFFSET) {
        return Err(corrupt("the header's checksum is wrong"));
    }
    let size = u64_at(page, 32);
    if size != file_size {
        return Err(OpenError::Truncated { object: name(), expected: size, found: file_size });
    }
    let flags = u32_at(page, 20);
    if flags & !EPHEMERAL != 0 {
        return Err(corrupt("it has flags that do not exist"));
    }
    let tag_len = usize::from(u16_at(page, TAG_OFFSET - 2));
    if tag_len > TAG_MAX {
        return Err(corrupt("the tag of its elements is longer than the header"));
    }
    let text = |offset: usize, len| String::from_utf8_lossy(&page[offset..offset + len]).into_owned();
    Ok(Header {
        kind: Kind(u32_at(page, 16)),
        ephemeral: flags & EPHEMERAL != 0,
        codec: u32_at(page, 28),
        size,
        instance: InstanceId::from_words([u64_at(page, 40), u64_at(page, 48)]),
        registry: u64_at(page, REGISTRY_OFFSET),
        parameters: std::array::from_fn(|index| u64_at(page, 64 + 8 * index)),
        creator: u32_at(page, 96),
        created_ns: u64_at(page, 104),
        element: text(TAG_OFFSET, tag_len),
        element_hash: u64_at(page, 128),
        structure: text(STRUCTURE_OFFSET, structure_len(page)),
    })
}

/// Whether the page says that the object is being removed.
pub(crate) fn is_retired(page: &Page) -> bool {
    u32_at(page, STATE_OFFSET) != LIVE
}

impl Header {
    /// Whether an object of this header can be used as `asked`.
    ///
    /// # Errors
    /// [`OpenError::Kind`], `ElementType`, `Codec`, `Parameter`.
    pub(crate) fn must_fit(&self, asked: &Shape, object: &ObjectName<'_>) -> Result<(), OpenError> {
        let name = || object.label();
        if self.kind != asked.kind {
            return Err(OpenError::Kind {
                object: object.label_without_kind(),
                found: self.kind,
                asked: asked.kind,
            });
        }
        // 0: it was created without a tag, because its messages say themselves what they are.
        let differs = |tag: &&String| ![0, fnv(tag.as_bytes())].contains(&self.element_hash);
        let tag = asked.element.as_ref().and_then(|element| element.tag.as_ref());
        if let Some(tag) = tag.filter(differs) {
            let (found, asked) = (self.element.clone(), tag.clone());
            return Err(OpenError::ElementType { object: name(), found, asked });
        }
        if ![self.codec, ANY_CODEC].contains(&asked.codec) {
            return Err(OpenError::Codec { object: name(), found: self.codec, asked: asked.codec });
        }
        for (parameter, &found) in asked.parameters.iter().zip(&self.parameters) {
            if parameter.asked && parameter.value != found {
                let (parameter, asked) = (parameter.name, parameter.value);
                return Err(OpenError::Parameter { object: name(), parameter, found, asked });
            }
        }
        asked.element.as_ref().map_or(Ok(()), |element| self.must_hold(element, name))
    }

    /// Whether its elements are made of what the caller's are, as far as that is known.
    ///
    /// # Errors
    /// [`OpenError::Structure`].
    pub(crate) fn must_hold(&self, asked: &Element, object: impl Fn() -> Label) -> Result<(), OpenError> {
        match structure::difference(&self.structure, &asked.structure) {
            Ok(None) => Ok(()),
            Ok(Some(difference)) => {
                let (element, type_name) = (self.element.clone(), asked.type_name);
                let difference = Box::new(Difference { element, type_name, ..difference });
                Err(OpenError::Structure { object: object(), difference })
            }
            Err(what) => Err(OpenError::Corrupt { object: object(), what }),
        }
    }
}

/// The tag of an element type: fixed words for what other languages have too, the Rust path for the rest.
#[must_use]
pub fn element_tag<T: ?Sized>() -> String {
    let path = type_name::<T>();
    match path {
        "alloc::string::String" | "&str" => "string".to_owned(),
        "alloc::vec::Vec<u8>" | "&[u8]" => "bytes".to_owned(),
        _ => path.to_owned(),
    }
}

/// Constants and sizes that two builds must agree on, folded into one number.
const fn fingerprint() -> u32 {
    let parts =
        [HEADER_LEN, size_of::<usize>(), SLOT_LEN, ROLL_CELL_LEN, 64, STRUCTURE_OFFSET, STRUCTURE_MAX];
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut index = 0;
    while index < parts.len() {
        hash = (hash ^ parts[index] as u64).wrapping_mul(0x0100_0000_01b3);
        index += 1;
    }
    (hash ^ (hash >> 32)) as u32
}

fn checksum(page: &Page) -> u64 {
    let fixed = [
        0..STATE_OFFSET,
        STATE_OFFSET + 4..REGISTRY_OFFSET,
        REGISTRY_OFFSET + 8..SPILLED_OFFSET,
        SPILLED_OFFSET + 4..STRUCTURE_OFFSET + structure_len(page),
    ];
    let bytes = fixed.into_iter().flat_map(|range| &page[range]);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| fnv_step(hash, byte))
}

/// How long the structure is: of a page that is not checked yet, as much as there is room for.
fn structure_len(page: &Page) -> usize {
    usize::from(u16_at(page, STRUCTURE_OFFSET - 2)).min(STRUCTURE_MAX)
}

fn u64_at(page: &Page, offset: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| page[offset + index]))
}

fn u16_at(page: &Page, offset: usize) -> u16 {
    u16::from_le_bytes(std::array::from_fn(|index| page[offset + index]))
}

fn u32_at(page: &Page, offset: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|index| page[offset + index]))
}

/// The kernel's id of this boot, zero where `/proc` does not tell.
fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&hex, 16).unwrap_or(0).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::{Element, HEADER_LEN, Page, Parameter, STRUCTURE_MAX, Shape, compose, parse};
    use crate::error::OpenError;
    use crate::kind::Kind;
    use crate::label::ObjectName;
    use crate::namespace::Namespace;

    fn element(tag: &str, structure: &'static str) -> Option<Element> {
        Some(Element { tag: Some(tag.to_owned()), type_name: "u64", structure: structure.into() })
    }

    fn shape() -> Shape {
        let capacity = Parameter { name: "capacity", value: 5, asked: true };
        Shape {
            kind: Kind::QUEUE,
            body_len: 4096,
            parameters: [capacity, Parameter::default(), Parameter::default(), Parameter::default()],
            element: element("u64", "{a:u8}"),
            codec: 1,
        }
    }

    fn check(page: &Page, size: u64, asked: &Shape) -> Result<(), OpenError> {
        let namespace = Namespace::new("tests").unwrap();
        let object = ObjectName { kind: Some(Kind::QUEUE), namespace: &namespace, name: "x" };
        parse(page, size, &object)?.must_fit(asked, &object)
    }

    #[test]
    fn a_page_fits_its_own_shape_and_each_difference_has_its_own_error() {
        let page = compose(&shape(), false, 9);
        assert!(check(&page, 8192, &shape()).is_ok());
        assert!(matches!(check(&page, 8191, &shape()), Err(OpenError::Truncated { expected: 8192, .. })));
        let other = Shape { kind: Kind::LOCK, ..shape() };
        assert!(matches!(check(&page, 8192, &other), Err(OpenError::Kind { .. })));
        let other = Shape { element: element("i64", "{a:u8}"), ..shape() };
        assert!(matches!(check(&page, 8192, &other), Err(OpenError::ElementType { .. })));
        let other = Shape { element: element("u64", "{b:u8}"), ..shape() };
        assert!(matches!(check(&page, 8192, &other), Err(OpenError::Structure { .. })));
        let other = Shape { codec: 2, ..shape() };
        assert!(matches!(check(&page, 8192, &other), Err(OpenError::Codec { found: 1, asked: 2, .. })));
        let mut other = shape();
        other.parameters[0].value = 6;
        let found = check(&page, 8192, &other);
        assert!(matches!(found, Err(OpenError::Parameter { parameter: "capacity", found: 5, asked: 6, .. })));
        other.parameters[0].asked = false;
        assert!(check(&page, 8192, &other).is_ok());
    }

    #[test]
    fn every_flipped_byte_of_the_fixed_part_is_noticed() {
        let page = compose(&shape(), true, 9);
        for offset in (0..24).chain(28..56).chain(64..384).chain(388..396).chain(4088..4096) {
            let mut bad = page;
            bad[offset] ^= 0x40;
            assert!(check(&bad, 8192, &shape()).is_err(), "offset {offset}");
        }
        let structure = format!("{{a:u8,{}}}", "b".repeat(STRUCTURE_MAX)).into();
        let long = Element { structure, ..shape().element.unwrap() };
        let page = compose(&Shape { element: Some(long), ..shape() }, true, 9);
        assert!(check(&page, 8192, &shape()).is_ok(), "there is no room for it: it is not known");
        let mut changing = page;
        changing[24..28].copy_from_slice(&1_u32.to_le_bytes());
        changing[56..64].copy_from_slice(&77_u64.to_le_bytes());
        assert!(check(&changing, 8192, &shape()).is_ok());
    }

    #[test]
    fn random_bytes_are_not_an_object() {
        let mut seed = 1_u64;
        for _ in 0..1000 {
            let mut page = [0_u8; HEADER_LEN];
            for byte in &mut page {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = (seed >> 56) as u8;
            }
            assert!(matches!(check(&page, 8192, &shape()), Err(OpenError::NotAnObject { .. })));
        }
    }
}
