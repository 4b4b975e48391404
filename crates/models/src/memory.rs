//! As `procession_shm`: segments and the objects in them, in memory of the model.

use crate::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};
use crate::liveness::{OpenError, Registration};
use loom::cell::UnsafeCell;
use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// As `procession_sys::ShmSafe`: something that lies in shared memory, and begins as zero.
pub trait Zeroed: Any + Send + Sync {
    /// How many bytes it is, as offsets count them.
    const WIDTH: usize;
    /// All zero.
    fn zeroed() -> Self;
}

macro_rules! zeroed {
    ($($atomic:ident $width:literal),*) => {$(
        impl Zeroed for $atomic {
            const WIDTH: usize = $width;

            fn zeroed() -> Self {
                Self::new(0)
            }
        }
    )*};
}
zeroed!(AtomicU8 1, AtomicU16 2, AtomicU32 4, AtomicU64 8);

/// What is only there to fill a cache line.
impl Zeroed for () {
    const WIDTH: usize = 0;

    fn zeroed() -> Self {}
}

impl<T: Zeroed, const N: usize> Zeroed for [T; N] {
    const WIDTH: usize = T::WIDTH * N;

    fn zeroed() -> Self {
        std::array::from_fn(|_| T::zeroed())
    }
}

/// As `procession_sys::shm_struct`.
#[macro_export]
macro_rules! shm_struct {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$doc:meta])* $fvis:vis $field:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        $vis struct $name { $($(#[$doc])* $fvis $field: $crate::shm_field!($field $type),)* }

        impl $crate::Zeroed for $name {
            const WIDTH: usize = size_of::<Self>();

            fn zeroed() -> Self {
                Self { $($field: $crate::Zeroed::zeroed(),)* }
            }
        }
    };
}

/// The type of a field: nothing for those that nobody uses, because each atomic costs time in every
/// interleaving.
#[macro_export]
macro_rules! shm_field {
    (spare $type:ty) => {
        ()
    };
    (reserved $type:ty) => {
        ()
    };
    (put_spare $type:ty) => {
        ()
    };
    (tail_spare $type:ty) => {
        ()
    };
    (get_spare $type:ty) => {
        ()
    };
    (head_spare $type:ty) => {
        ()
    };
    (items_spare $type:ty) => {
        ()
    };
    (space_spare $type:ty) => {
        ()
    };
    (closed_spare $type:ty) => {
        ()
    };
    (data_spare $type:ty) => {
        ()
    };
    (room_spare $type:ty) => {
        ()
    };
    (last_spare $type:ty) => {
        ()
    };
    ($field:ident $type:ty) => {
        $type
    };
}

/// Nothing comes before the body.
pub const HEADER_LEN: usize = 0;

/// The body of a segment, and what lies behind it.
pub struct Mapping {
    len: usize,
    /// What is left for later begins here.
    later: usize,
    /// Where each stretch of it ends that was reserved.
    reserved: Mutex<BTreeMap<usize, usize>>,
    body: Box<Body>,
    regions: [OnceLock<Region>; 2],
    /// Words of bytes: whose copies must be ordered by the protocol, as loom checks.
    bytes: Mutex<BTreeMap<usize, Arc<(UnsafeCell<()>, Mutex<[u8; 8]>)>>>,
}

/// Words of one type behind the body, to its end.
struct Region {
    start: usize,
    /// Whether they are copied as bytes, one by one, where it is not known what they are.
    is_plain: bool,
    words: Box<dyn Any + Send + Sync>,
}

impl Mapping {
    fn new(len: usize, later: usize, body: Box<Body>) -> Self {
        let later = len - later;
        Self {
            len,
            later,
            reserved: Mutex::default(),
            body,
            regions: Default::default(),
            bytes: Mutex::default(),
        }
    }

    fn reserve(&self, offset: usize, len: usize) {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner).insert(offset, offset + len);
    }

    fn must_be_reserved(&self, offset: usize) {
        let reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let is_reserved = reserved.range(..=offset).next_back().is_some_and(|(_, end)| offset < *end);
        assert!(offset < self.later || is_reserved, "no memory at {offset}");
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Nobody dumps core.
    pub fn leave_out_of_dumps(&self) {}

    /// The first to ask for a type, before there are other threads, says where words of it begin.
    pub fn slice<U: Zeroed>(&self, offset: usize, count: usize) -> Option<&[U]> {
        if offset.checked_add(count.checked_mul(U::WIDTH)?)? > self.len {
            return None;
        }
        if TypeId::of::<U>() == TypeId::of::<AtomicU8>() {
            return Some(&[]); // Whether they are there is all that anybody wants to know.
        }
        let words = self.regions.iter().find_map(|region| {
            let region = region.get_or_init(|| {
                let words = (0..(self.len - offset) / U::WIDTH).map(|_| U::zeroed()).collect::<Vec<_>>();
                let is_plain = TypeId::of::<U>() == TypeId::of::<AtomicU64>();
                Region { start: offset, is_plain, words: Box::new(words) }
            });
            let words = region.words.downcast_ref::<Vec<U>>()?;
            words.get((offset.checked_sub(region.start)? / U::WIDTH)..)
        });
        words.expect("a region")[..count].into()
    }

    pub fn at<U: Zeroed>(&self, offset: usize) -> Option<&U> {
        self.slice(offset, 1)?.first()
    }

    fn word(&self, offset: usize) -> Arc<(UnsafeCell<()>, Mutex<[u8; 8]>)> {
        self.must_be_reserved(offset);
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new((UnsafeCell::new(()), Mutex::new([0; 8])));
        Arc::clone(bytes.entry(offset / 8).or_insert_with(fresh))
    }

    pub fn copy_in(&self, offset: usize, from: &[u8]) -> bool {
        for (index, part) in from.chunks(8).enumerate() {
            let word = self.word(offset + index * 8);
            word.0.with_mut(|_| {
                word.1.lock().unwrap_or_else(PoisonError::into_inner)[..part.len()].copy_from_slice(part)
            });
        }
        true
    }

    fn copy_out(&self, offset: usize, to: &mut [u8]) -> bool {
        if self.regions[0].get().is_some_and(|region| region.is_plain) {
            return false; // These are words.
        }
        for (index, part) in to.chunks_mut(8).enumerate() {
            let word = self.word(offset + index * 8);
            let len = part.len();
            word.0.with(|_| {
                part.copy_from_slice(&word.1.lock().unwrap_or_else(PoisonError::into_inner)[..len])
            });
        }
        true
    }
}

#[derive(Clone, Debug, Default)]
pub struct Header {
    /// Never: objects of models have no users that come later.
    pub ephemeral: bool,
    /// How messages are encoded.
    pub codec: u32,
    /// The size of the file.
    pub size: u64,
    /// By kind.
    pub parameters: [u64; 4],
    /// Which object it is.
    pub instance: InstanceId,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct InstanceId;

impl InstanceId {
    pub fn low(self) -> u64 {
        0
    }
}

/// An object, attached by the process of a model.
#[derive(Clone)]
pub struct Segment {
    registration: &'static Registration,
    header: Arc<Header>,
    mapping: Arc<Mapping>,
}

impl Segment {
    /// Both sides of a model have one type.
    pub fn must_hold(&self, _: &Element) -> Result<(), OpenError> {
        Ok(())
    }

    /// Nothing, attached by the process in `slot`.
    pub fn of_process(slot: u32) -> Self {
        Self::new(slot, Header::default(), Mapping::new(0, 0, Box::new(())))
    }

    fn new(slot: u32, header: Header, mapping: Mapping) -> Self {
        Self { registration: Registration::of(slot), header: Arc::new(header), mapping: Arc::new(mapping) }
    }

    pub fn registration(&self) -> &'static Registration {
        self.registration
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Never.
    pub fn is_orphaned(&self) -> bool {
        false
    }

    pub fn name(&self) -> &'static str {
        "of a model"
    }

    pub fn label(&self) -> Label {
        Label
    }

    pub fn corrupt(&self, what: &'static str) -> OpenError {
        OpenError::Corrupt(what)
    }

    /// By no name.
    pub fn is_found(&self) -> bool {
        false
    }
}

/// Of whatever type.
type Body = dyn Any + Send + Sync;

/// How one finds the `T` in the body.
type View<T> = dyn Fn(&Body) -> &T + Send + Sync;

pub struct Shared<T> {
    segment: Segment,
    view: Arc<View<T>>,
}

impl<T: Zeroed> Shared<T> {
    fn new(segment: Segment) -> Self {
        Self { segment, view: Arc::new(|body| body.downcast_ref().expect("the object's body")) }
    }

    pub fn part<U: Zeroed>(&self, part: impl Fn(&T) -> &U + Send + Sync + 'static) -> Shared<U> {
        let whole = Arc::clone(&self.view);
        Shared { segment: self.segment.clone(), view: Arc::new(move |body: &Body| part(whole(body))) }
    }

    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// No object is in a group.
    pub fn offset(&self) -> usize {
        0
    }

    pub fn handle(&self) -> crate::crossing::Handle {
        self.segment.handle()
    }

    pub fn slice<U: Zeroed>(&self, offset: usize, count: usize) -> Option<&[U]> {
        self.segment.mapping.slice(offset, count)
    }

    /// There always is memory.
    pub fn reserve(&self, offset: usize, len: usize) -> Result<(), OpenError> {
        self.segment.mapping.reserve(offset, len);
        Ok(())
    }

    /// A hint.
    pub fn will_write(&self, _: usize) {}

    /// A hint.
    pub fn will_read(&self, _: usize) {}

    /// But for words: those are left to be copied one by one.
    pub fn copy_out(&self, offset: usize, to: &mut [u8]) -> bool {
        self.segment.mapping.copy_out(offset, to)
    }

    pub fn copy_in(&self, offset: usize, from: &[u8]) -> bool {
        std::thread::panicking() || self.segment.mapping.copy_in(offset, from)
    }
}

impl<T: Zeroed> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        (self.view)(&*self.segment.mapping.body)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { segment: self.segment.clone(), view: Arc::clone(&self.view) }
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.segment.name())
    }
}

pub trait Object: Sized {
    const KIND: Kind = Kind;
    const GROUP: Option<Kind> = None;
    type Body: Zeroed;
    type Settings;

    fn check(_: &Self::Settings) -> Result<(), &'static str> {
        Ok(())
    }
    fn check_new(_: &Self::Settings) -> Result<(), &'static str> {
        Ok(())
    }
    fn shape(settings: &Self::Settings) -> Shape;
    fn asked(settings: &Self::Settings) -> Shape {
        Self::shape(settings)
    }
    fn later(_: &Self::Settings) -> u64 {
        0
    }
    fn initialise(_: &Self::Body, _: &Self::Settings) {}
    fn initialise_all(_: &Self::Body, _: &Mapping, _: &Self::Settings) {}
    fn forget_owners(body: &Self::Body);
    fn forget_owners_of_all(_: &Mapping) {}
    fn attach(body: Shared<Self::Body>) -> Result<Self, OpenError>;
}

/// A new object, attached by the process in slot 0.
pub fn create<O: Object>(settings: &O::Settings) -> Result<O, OpenError> {
    let shape = O::shape(settings);
    let header = Header {
        ephemeral: true,
        codec: shape.codec,
        size: shape.body_len,
        parameters: shape.parameters.map(|parameter| parameter.value),
        instance: InstanceId,
    };
    let later = O::later(settings) as usize;
    let mapping = Mapping::new(shape.body_len as usize, later, Box::new(O::Body::zeroed()));
    let body = Shared::new(Segment::new(0, header, mapping));
    // Changes nothing, and makes what lies behind the body before there are other threads.
    O::forget_owners_of_all(body.segment.mapping());
    O::initialise(&body, settings);
    O::initialise_all(&body, body.segment.mapping(), settings);
    O::attach(body)
}

/// The same object, attached by the process in `slot`.
pub fn attach<O: Object>(segment: &Segment, slot: u32) -> O {
    let segment = Segment { registration: Registration::of(slot), ..segment.clone() };
    O::attach(Shared::new(segment)).expect("a whole object")
}

/// Without names.
#[macro_export]
macro_rules! object_builders {
    ([$($generics:tt)*] $Options:ty => $Object:ty $(, ($($usual:ident: $Usual:ty),*))?) => {
        impl<$($generics)*> $Options {
            /// A new object, attached by the process in slot 0.
            pub fn anonymous(&self) -> Result<$Object, $crate::OpenError> {
                $crate::memory::create(&self.settings)
            }
        }

        impl<$($generics)*> $Object {
            pub fn options() -> $Options {
                Default::default()
            }

            /// The same object, attached by the process in `slot`.
            pub fn of_process(&self, slot: u32) -> Self {
                $crate::memory::attach(self.body.segment(), slot)
            }
        }
    };
}

/// Objects have no names.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    pub namespace: Option<Namespace>,
}

/// There is one.
#[derive(Clone, Debug, Default)]
pub struct Namespace;

#[derive(Clone, Copy, Debug, Default)]
pub struct Parameter {
    pub name: &'static str,
    pub value: u64,
    pub asked: bool,
}

impl Parameter {
    pub fn said(name: &'static str, said: Option<u64>, default: u64) -> Self {
        Self { name, value: said.unwrap_or(default), asked: said.is_some() }
    }
}

#[derive(Clone, Debug)]
pub struct Shape {
    pub kind: Kind,
    pub body_len: u64,
    pub parameters: [Parameter; 4],
    pub element: Option<Element>,
    pub codec: u32,
}

/// Nobody opens an object as another type.
#[derive(Clone, Debug)]
pub struct Element {
    pub tag: Option<String>,
    pub type_name: &'static str,
    pub structure: Cow<'static, str>,
}

impl Element {
    pub fn plain<T>(_: Option<&String>) -> Self {
        Self { tag: None, type_name: "", structure: UNKNOWN.into() }
    }
}

pub fn name_in_structure(name: &str) -> Cow<'_, str> {
    Cow::Borrowed(name)
}

pub const UNKNOWN: &str = "_";
pub const ONLY_BYTES: &str = "bytes";
pub const STRUCTURE_MAX: usize = 3600;

pub const ANY_CODEC: u32 = u32::MAX;
pub const CODECS: [(u32, &str); 5] =
    [(1, "Bincode"), (2, "Json"), (3, "MsgPack"), (4, "Bytes"), (5, "Pickle")];

/// Objects have no names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label;

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }
}

/// Without the causes.
#[macro_export]
macro_rules! debug_as_text {
    ($Error:ty) => {
        impl ::std::fmt::Debug for $Error {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, f)
            }
        }
    };
}

/// All the same.
#[derive(Clone, Copy, Debug)]
pub struct Kind;

macro_rules! kinds {
    ($($kind:ident)*) => { impl Kind { $(pub const $kind: Self = Self;)* } };
}
kinds!(LOCK_GROUP RLOCK_GROUP EVENT_GROUP LOCK RLOCK RWLOCK SEMAPHORE BOUNDED_SEMAPHORE CONDITION EVENT LATCH ONCE BARRIER VALUE ARRAY QUEUE PIPE JOINABLE_QUEUE MAP LIST);

pub fn element_tag<T>() -> String {
    String::new()
}
