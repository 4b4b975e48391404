//! What every named object has in common: how it is created, opened, handed on and dropped.

use crate::attached::{Handle, Segment};
use crate::codec::ANY_CODEC;
use crate::error::OpenError;
use crate::gc;
use crate::header::{Element, HEADER_LEN, Shape};
use crate::inventory::{Entry, entry_in};
use crate::kind::Kind;
use crate::label::{Label, ObjectName};
use crate::namespace::{self, Namespace};
use crate::registry::{self, Registration};
use crate::segment::{self, ATTACH_BYTE, Attachment};
use crate::shared::Shared;
use procession_sys::file_lock::{self, Share};
use procession_sys::shm_file;
use procession_sys::{Deadline, Mapping, ShmSafe, crash_point, random};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long an opener that meets another registry's owners waits for the old users to be gone.
const REGISTRY_PATIENCE: Duration = Duration::from_millis(250);

/// A kind of object: what its segment looks like, and what it is made of.
#[doc(hidden)] // of no use to those who use objects
pub trait Object: Sized {
    /// The kind in the object's header.
    const KIND: Kind;
    /// The kind of an object that is a group of these, one body behind the other; `None` if there is none.
    const GROUP: Option<Kind> = None;
    /// The beginning of the body.
    type Body: ShmSafe;
    /// The options of the object besides [`Placement`].
    type Settings;

    /// Checks settings that are impossible for everybody.
    ///
    /// # Errors
    /// The rule that they break, as a sentence.
    fn check(_: &Self::Settings) -> Result<(), &'static str> {
        Ok(())
    }
    /// Checks settings with which no object can be created: those who open one need not say everything.
    ///
    /// # Errors
    /// What is missing, as a sentence.
    fn check_new(_: &Self::Settings) -> Result<(), &'static str> {
        Ok(())
    }
    /// The header it is created with.
    fn shape(settings: &Self::Settings) -> Shape;
    /// The shape that an opener compares with the header.
    fn asked(settings: &Self::Settings) -> Shape {
        Self::shape(settings)
    }
    /// How many bytes at the end of the body take no memory before they are [reserved](Shared::reserve), and
    /// must not be touched before.
    fn later(_: &Self::Settings) -> u64 {
        0
    }
    /// Fills a zeroed body before anybody else can see it; nothing to do where all zero is right.
    fn initialise(_: &Self::Body, _: &Self::Settings) {}
    /// Fills what of the object lies behind the body, which was filled before.
    fn initialise_all(_: &Self::Body, _: &Mapping, _: &Self::Settings) {}
    /// Clears what the dead of another registry held: called when nobody else is attached. There is no default:
    /// an owner that stays would hold for ever.
    fn forget_owners(body: &Self::Body);
    /// Clears the owners that lie behind the body, as [`forget_owners`](Self::forget_owners) does in it.
    fn forget_owners_of_all(_: &Mapping) {}
    /// The object over an attached segment.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] when the header's parameters are impossible.
    fn attach(body: Shared<Self::Body>) -> Result<Self, OpenError>;
}

/// Where an object lies, and how long.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// `None`: the namespace of the process.
    pub namespace: Option<Namespace>,
    /// Whether it goes with the last process that is attached.
    pub ephemeral: bool,
}

impl Placement {
    fn namespace(&self) -> Result<Namespace, OpenError> {
        namespace::check_prefix()?;
        match &self.namespace {
            Some(namespace) => Ok(namespace.clone()),
            None => Ok(Namespace::current()?),
        }
    }
}

/// Creates the object called `name`.
///
/// # Errors
/// [`OpenError::AlreadyExists`], `InvalidName`, `NoSpace`, and what registering can meet.
pub fn create<O: Object>(settings: &O::Settings, place: &Placement, name: &str) -> Result<O, OpenError> {
    namespace::check_object_name(name)?;
    check::<O>(settings, place, name)?;
    create_as(settings, place, name)
}

/// Creates an object without a name, which goes with the last process attached to it.
///
/// # Errors
/// As [`create`].
pub fn anonymous<O: Object>(settings: &O::Settings, place: &Placement) -> Result<O, OpenError> {
    let place = Placement { ephemeral: true, ..place.clone() };
    let name = namespace::anonymous_name();
    check::<O>(settings, &place, &name)?;
    create_as(settings, &place, &name)
}

fn check<O: Object>(settings: &O::Settings, place: &Placement, name: &str) -> Result<(), OpenError> {
    O::check(settings).map_err(|what| impossible::<O>(place, name, what))
}

fn impossible<O: Object>(place: &Placement, name: &str, what: &'static str) -> OpenError {
    match place.namespace() {
        Ok(namespace) => OpenError::Impossible { object: Label::new(O::KIND, name, &namespace), what },
        // There is no namespace to put it into, whatever it is.
        Err(error) => error,
    }
}

/// Opens the object called `name`.
///
/// # Errors
/// [`OpenError::NotFound`], and a variant for each way in which what is there is not what was asked for.
pub fn open<O: Object>(settings: &O::Settings, place: &Placement, name: &str) -> Result<O, OpenError> {
    namespace::check_object_name(name)?;
    check::<O>(settings, place, name)?;
    open_as(&O::asked(settings), place, name)
}

/// Opens the object called `name`, or creates it if there is none.
///
/// # Errors
/// As [`create`] and [`open`].
pub fn open_or_create<O: Object>(
    settings: &O::Settings,
    place: &Placement,
    name: &str,
) -> Result<O, OpenError> {
    namespace::check_object_name(name)?;
    check::<O>(settings, place, name)?;
    let deadline = Deadline::after(Duration::from_secs(5));
    loop {
        match open_as(&O::asked(settings), place, name) {
            Err(OpenError::NotFound { .. }) => {}
            found => return found,
        }
        match create_as(settings, place, name) {
            Err(OpenError::AlreadyExists { .. }) if !deadline.has_passed() => {}
            made => return made,
        }
    }
}

fn create_as<O: Object>(settings: &O::Settings, place: &Placement, name: &str) -> Result<O, OpenError> {
    O::check_new(settings).map_err(|what| impossible::<O>(place, name, what))?;
    let registration = registry::register(&place.namespace()?)?;
    let object = ObjectName { kind: Some(O::KIND), namespace: registration.namespace(), name };
    let initialise = |mapping: &Mapping| {
        if let Some(body) = body::<O::Body>(mapping) {
            O::initialise(body, settings);
            O::initialise_all(body, mapping, settings);
        }
    };
    let (shape, later, registry) = (O::shape(settings), O::later(settings), registration.instance());
    let roll = registration.roll();
    let attachment = gc::sweeping(object.namespace, Some(roll), |orphans| {
        roll.entering(name, |enter| {
            segment::create_file(&object, &shape, later, place.ephemeral, registry, orphans, |mapping| {
                initialise(mapping);
                enter(mapping);
            })
        })
    })?;
    finish(attachment, registration, name)
}

fn open_as<O: Object>(shape: &Shape, place: &Placement, name: &str) -> Result<O, OpenError> {
    let (attachment, registration) = attach_as(shape, place, name, forget_owners::<O>)?;
    finish(attachment, registration, name)
}

/// Opens the object of this shape; `forget` clears what the dead of another registry held.
fn attach_as(
    shape: &Shape,
    place: &Placement,
    name: &str,
    forget: fn(&Mapping),
) -> Result<(Attachment, &'static Registration), OpenError> {
    let registration = registry::register(&place.namespace()?)?;
    let object = ObjectName { kind: Some(shape.kind), namespace: registration.namespace(), name };
    let deadline = Deadline::after(REGISTRY_PATIENCE);
    loop {
        let attachment = gc::sweeping(object.namespace, Some(registration.roll()), |orphans| {
            segment::open_file(&object, shape, orphans)
        })?;
        if adopt(&attachment, registration, name, forget) {
            return Ok((attachment, registration));
        }
        if deadline.has_passed() {
            // Somebody goes on using it with owners of the other registry.
            let namespace = object.namespace.name().to_owned();
            return Err(OpenError::RegistryChanged { object: object.label(), namespace });
        }
        // Two newcomers that are both attached keep each other from being alone: let go before trying again.
        drop(attachment);
        let jitter = random::nonzero_u64() % 8;
        std::thread::sleep(Duration::from_millis(1 + jitter));
    }
}

/// Makes sure that owner ids in the body mean slots of *our* registry; `false` while users of another are
/// alive.
fn adopt(attachment: &Attachment, registration: &Registration, name: &str, forget: fn(&Mapping)) -> bool {
    let registry = segment::registry_word(&attachment.mapping);
    // SYNC: segment.adopted.
    if registry.load(Ordering::Acquire) == registration.instance() {
        return true;
    }
    let file = &attachment.file.handle;
    if !file_lock::try_lock(file, ATTACH_BYTE, Share::Exclusive).unwrap_or(false) {
        // Somebody uses it: another newcomer that has adopted it meanwhile, or a user of the other registry.
        // SYNC: segment.adopted.
        return registry.load(Ordering::Acquire) == registration.instance();
    }
    crash_point("object.adopt.locked");
    forget(&attachment.mapping);
    let roll = registration.roll();
    roll.settle(roll.enter(name, attachment.header.instance.low()), true);
    crash_point("object.adopt.forgotten");
    // Last: killed before, the next opener does it all again.
    // SYNC: segment.adopted.
    registry.store(registration.instance(), Ordering::Release);
    file_lock::try_lock(file, ATTACH_BYTE, Share::Shared).unwrap_or(false)
}

fn forget_owners<O: Object>(mapping: &Mapping) {
    if let Some(body) = body::<O::Body>(mapping) {
        O::forget_owners(body);
        O::forget_owners_of_all(mapping);
    }
}

/// The bodies of a group of such objects.
fn cells<O: Object>(mapping: &Mapping) -> &[O::Body] {
    let count = mapping.len().saturating_sub(HEADER_LEN) / size_of::<O::Body>();
    mapping.slice(HEADER_LEN, count).unwrap_or_default()
}

/// Fills the bodies of a new group of such objects.
pub fn initialise_cells<O: Object>(mapping: &Mapping, settings: &O::Settings) {
    cells::<O>(mapping).iter().for_each(|cell| O::initialise(cell, settings));
}

/// Clears what the dead of another registry held of a group of such objects.
pub fn forget_owners_of_cells<O: Object>(mapping: &Mapping) {
    cells::<O>(mapping).iter().for_each(O::forget_owners);
}

/// The `index`-th object of the group that is in this segment.
///
/// # Errors
/// [`OpenError::Corrupt`] when there are not so many.
pub fn cell<O: Object>(group: &Segment, index: usize) -> Result<O, OpenError> {
    let body =
        Shared::cell(group, index).ok_or_else(|| group.corrupt("the body is too small for its objects"))?;
    O::attach(body)
}

fn finish<O: Object>(
    attachment: Attachment,
    registration: &'static Registration,
    name: &str,
) -> Result<O, OpenError> {
    let segment = Segment::new(attachment, registration, name);
    let body = Shared::new(&segment).ok_or_else(|| segment.corrupt("the body is too small"))?;
    O::attach(body)
}

/// The object that an entry of the inventory means, whatever its elements are: for tools that show what it is in.
///
/// Nobody is attached by it, and nothing that is done to it is seen by anybody: ask, and drop it. Who looks at an object
/// again and again keeps a [`View`].
#[must_use]
pub fn look<O: Object>(entry: &Entry) -> Option<O> {
    View::of(entry)?.object()
}

/// A view of an object, to ask what it is in at one moment or [again and again](Self::renew), as [`look`] does once.
///
/// A view attaches nobody. What is done to an object through it is seen by nobody else, and is forgotten when the
/// view is renewed. A view keeps the object's memory, after it was unlinked too, until the view is dropped.
///
/// ```
/// use procession::shm::View;
/// use procession::{Lock, Namespace};
///
/// let lock = Lock::create("ledger")?;
/// let view = View::of(&Namespace::current()?.entry("ledger")?).expect("it is there");
/// assert_eq!(view.object::<Lock>().and_then(|lock| lock.holder()), None);
///
/// let guard = lock.acquire()?;
/// assert!(view.renew());
/// let holder = view.object::<Lock>().and_then(|lock| lock.holder()).expect("it is held");
/// assert_eq!(holder.pid, std::process::id());
///
/// drop(guard);
/// lock.unlink()?;
/// assert!(!view.renew());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct View(Segment);

impl View {
    /// A view of what an entry of the inventory means; `None` if that is gone, or cannot be read.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        Segment::view(entry).map(Self)
    }

    /// Of what kind the object is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.header().kind
    }

    /// The object, whatever its elements are; `None` if it is of another kind. To be asked, and dropped before the
    /// view is renewed.
    #[must_use]
    pub fn object<O: Object>(&self) -> Option<O> {
        (self.kind() == O::KIND).then(|| O::attach(Shared::new(&self.0)?).ok()).flatten()
    }

    /// Shows from now on what the object is in now. `false` if the name means another object by now, or none: then the view
    /// is of no use any more.
    #[must_use]
    pub fn renew(&self) -> bool {
        self.0.renew_view()
    }
}

fn body<T: ShmSafe>(mapping: &Mapping) -> Option<&T> {
    mapping.at(HEADER_LEN)
}

impl Handle {
    /// Whether nobody can use the object any more, nor will: it is gone, or garbage. What cannot be found out
    /// is no.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        let Ok(namespace) = Namespace::new(&self.namespace) else { return false };
        // Nobody can look at another user's files, and as another user a process has other names.
        if self.user != shm_file::effective_uid() || !namespace::is_possible(&self.name) {
            return false;
        }
        [&self.name, &namespace::unlinked_name(self.instance)]
            .iter()
            .all(|name| segment::is_lost(&namespace, name, self.instance))
    }

    /// Opens the object that the handle was made of.
    ///
    /// # Errors
    /// [`OpenError::Gone`] when it was removed or replaced, [`OpenError::OtherUser`]; otherwise as [`open`].
    pub fn open<O: Object + AsRef<Segment>>(&self, settings: &O::Settings) -> Result<O, OpenError> {
        let namespace = Namespace::new(&self.namespace)?;
        if !namespace::is_possible(&self.name) {
            namespace::check_object_name(&self.name)?;
        }
        let object = Label::new(O::KIND, &self.name, &namespace);
        let ours = shm_file::effective_uid();
        if self.user != ours {
            return Err(OpenError::OtherUser { object, owner: self.user, ours });
        }
        // The tag may have been chosen by the creator; which object it is, the instance says. What it holds,
        // another program may still see otherwise.
        let asked = O::asked(settings);
        let element = asked.element.map(|element| Element { tag: None, ..element });
        let shape = Shape { element, codec: ANY_CODEC, ..asked };
        let place = Placement { namespace: Some(namespace), ephemeral: false };
        let opened = match open_as::<O>(&shape, &place, &self.name) {
            Err(OpenError::Kind { found, .. }) if O::GROUP == Some(found) => {
                self.open_cell::<O>(Shape { kind: found, ..shape }, &place)
            }
            opened => opened,
        };
        match opened {
            Ok(found) if found.as_ref().header().instance == self.instance => Ok(found),
            Ok(_) | Err(OpenError::NotFound { .. }) => Err(OpenError::Gone { object }),
            // What is wrong with another object of that name is no matter.
            Err(_) if self.is_anothers_name(&place) => Err(OpenError::Gone { object }),
            Err(error) => Err(error),
        }
    }

    /// Whether the name is known to mean another object than the one that the handle was made of.
    fn is_anothers_name(&self, place: &Placement) -> bool {
        let found =
            place.namespace.as_ref().and_then(|namespace| entry_in(namespace, &self.name)?.header.ok());
        found.is_some_and(|header| header.instance != self.instance)
    }

    /// Opens the object of a group that has this shape.
    fn open_cell<O: Object>(&self, shape: Shape, place: &Placement) -> Result<O, OpenError> {
        let (attachment, registration) = attach_as(&shape, place, &self.name, forget_owners_of_cells::<O>)?;
        let segment = Segment::new(attachment, registration, &self.name);
        cell(&segment, usize::try_from(self.cell).unwrap_or(usize::MAX))
    }
}

/// Gives an object and its options the methods that all of them share.
///
/// `$Options` must have fields `place: Placement` and `settings: <$Object as Object>::Settings`, and
/// `Default`; and a method for each parameter in the brackets: those that whoever makes such an object
/// usually names.
#[macro_export]
macro_rules! object_builders {
    ([$($generics:tt)*] $Options:ty => $Object:ty) => {
        $crate::object_builders!([$($generics)*] $Options => $Object, ());
    };
    ([$($generics:tt)*] $Options:ty => $Object:ty, ($($usual:ident: $Usual:ty),*)) => {
        impl<$($generics)*> $Options {
            /// Puts the object into `namespace` instead of the process's own.
            #[must_use]
            pub fn namespace(mut self, namespace: &$crate::Namespace) -> Self {
                self.place.namespace = Some(namespace.clone());
                self
            }

            /// Lets the object go with the last process that is attached to it.
            #[must_use]
            pub fn ephemeral(mut self) -> Self {
                self.place.ephemeral = true;
                self
            }

            /// Creates the object called `name`.
            ///
            /// # Errors
            /// [`AlreadyExists`](procession_shm::OpenError::AlreadyExists), `InvalidName`, `NoSpace`, …
            pub fn create(&self, name: &str) -> Result<$Object, $crate::OpenError> {
                $crate::object::create(&self.settings, &self.place, name)
            }

            /// Opens the object called `name`; what these options say must agree with what it was created
            /// with.
            ///
            /// # Errors
            /// [`NotFound`](procession_shm::OpenError::NotFound), and one variant for each disagreement.
            pub fn open(&self, name: &str) -> Result<$Object, $crate::OpenError> {
                $crate::object::open(&self.settings, &self.place, name)
            }

            /// Opens the object called `name`, or creates it.
            ///
            /// # Errors
            /// As `create` and `open`.
            pub fn open_or_create(&self, name: &str) -> Result<$Object, $crate::OpenError> {
                $crate::object::open_or_create(&self.settings, &self.place, name)
            }

            /// Creates an object without a name, to be handed on as an argument or in a message; it goes with
            /// the last process that is attached to it.
            ///
            /// # Errors
            /// As `create`.
            pub fn anonymous(&self) -> Result<$Object, $crate::OpenError> {
                $crate::object::anonymous(&self.settings, &self.place)
            }
        }

        impl<$($generics)*> $Object {
            /// How it is to be created or opened; every setting has a default.
            #[must_use]
            pub fn options() -> $Options {
                Default::default()
            }

            /// Makes one without a name, to be handed on as an argument or in a message; it goes with the
            /// last process that is attached to it. What is not said here has its default: see
            /// [`options`](Self::options).
            ///
            /// # Errors
            /// As `create`.
            pub fn new($($usual: $Usual),*) -> Result<Self, $crate::OpenError> {
                Self::options()$(.$usual($usual))*.anonymous()
            }

            /// Creates the one called `name`. What is not said here has its default: see
            /// [`options`](Self::options).
            ///
            /// # Errors
            /// [`AlreadyExists`](procession_shm::OpenError::AlreadyExists), `InvalidName`, `NoSpace`, …
            pub fn create(name: &str $(, $usual: $Usual)*) -> Result<Self, $crate::OpenError> {
                Self::options()$(.$usual($usual))*.create(name)
            }

            /// Opens the one called `name`, as it was created: its parameters need not be said again.
            ///
            /// # Errors
            /// [`NotFound`](procession_shm::OpenError::NotFound), and one variant for each way in which it is
            /// something else.
            pub fn open(name: &str) -> Result<Self, $crate::OpenError> {
                Self::options().open(name)
            }

            /// Opens the one called `name`, or creates it. What is said here must agree with what it was
            /// created with.
            ///
            /// # Errors
            /// As `create` and `open`.
            pub fn open_or_create(name: &str $(, $usual: $Usual)*) -> Result<Self, $crate::OpenError> {
                Self::options()$(.$usual($usual))*.open_or_create(name)
            }

            /// Its name; one that the library chose if it is anonymous.
            #[must_use]
            pub fn name(&self) -> &str {
                AsRef::<$crate::Segment>::as_ref(self).name()
            }

            /// Removes its name: nobody finds it any more, and those who have it go on with it.
            ///
            /// # Errors
            /// [`NotFound`](procession_shm::OpenError::NotFound) when it has no name any more; also when
            /// another object has that name now.
            pub fn unlink(&self) -> Result<(), $crate::OpenError> {
                let segment = AsRef::<$crate::Segment>::as_ref(self);
                segment.namespace().unlink_segment(segment)
            }
        }

        #[doc(hidden)]
        impl<$($generics)*> AsRef<$crate::Segment> for $Object {
            fn as_ref(&self) -> &$crate::Segment {
                self.body.segment()
            }
        }

        impl<$($generics)*> serde::Serialize for $Object {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.body.handle().serialize(serializer)
            }
        }

        impl<'de, $($generics)*> serde::Deserialize<'de> for $Object {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let handle = <$crate::Handle as serde::Deserialize>::deserialize(deserializer)?;
                handle.open(&Self::options().settings).map_err(serde::de::Error::custom)
            }
        }
    };
}
