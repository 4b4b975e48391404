//! Namespaces: objects that share one registry, and the names of their files.
//!
//! The file of an object is `/dev/shm/<prefix>.<uid>.<namespace>.<name>`; the prefix is `procession` if
//! nothing else is chosen. A namespace has no dot in it, so the parts are found again. Names that begin with
//! a dot are the library's own: `.registry`, `.anonymous-…`, `.spill-…`, `.unlinked-…`.

use crate::instance::{InstanceId, fnv};
use procession_sys::image::is_secure;
use procession_sys::{Latest, random, shm_file};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

const MAX_NAME: usize = 100;
const MAX_NAMESPACE: usize = 64;
pub(crate) const REGISTRY: &str = ".registry";
const ANONYMOUS: &str = ".anonymous-";
pub(crate) const SPILL: &str = ".spill-";
const UNLINKED: &str = ".unlinked-";
const PRIVATE: &str = "private-";
const VARIABLE: &str = "PROCESSION_NAMESPACE";
/// The variable that says what all file names begin with, for programs that may not make files of any name.
const PREFIX_VARIABLE: &str = "PROCESSION_PREFIX";
const PREFIX: &str = "procession";
const MAX_PREFIX: usize = 64;
const PREFIX_RULE: &str = "PROCESSION_PREFIX is made of A-Z, a-z, 0-9, '.', '_' and '-'";

/// The objects that share one registry of processes.
///
/// The namespace of a process is `default`, or what `PROCESSION_NAMESPACE` says, or what [`Namespace::enter`]
/// chose; every object can be given another one by its options.
///
/// File names begin with `procession.`, or with what `PROCESSION_PREFIX` says, for programs that may not make
/// files of any name: processes share objects if both are the same. A set-user-ID program, or any other that
/// has more rights than its caller, obeys neither of the variables.
///
/// ```
/// use procession::Namespace;
/// let billing = Namespace::new("billing")?;
/// assert_eq!(billing.name(), "billing");
/// assert!(Namespace::new("a.b").is_err());
/// # Ok::<(), procession::OpenError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Namespace {
    name: Arc<str>,
    /// The user whose namespace it is: that of a registration stays its user's, whatever user this process
    /// becomes. `None`: the effective user's.
    user: Option<u32>,
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Namespace {}

impl Hash for Namespace {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// A name outside the alphabet, too long, empty, or one that begins with a dot.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no valid name: {reason}")]
#[non_exhaustive]
pub struct InvalidName {
    /// The name that was given.
    pub name: String,
    /// The rule that the name breaks.
    pub reason: &'static str,
}

impl fmt::Debug for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

static CURRENT: Latest<Namespace> = Latest::none();

impl Namespace {
    /// The namespace called `name`: `[A-Za-z0-9_-]{1,64}`.
    ///
    /// # Errors
    /// [`InvalidName`].
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        check(name, MAX_NAMESPACE, "a namespace is made of A-Z, a-z, 0-9, '_' and '-'", |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
        })?;
        Ok(Self { name: name.into(), user: None })
    }

    /// A namespace nobody else has: everything in it is removed when its last process is gone, however it
    /// ended.
    ///
    /// The namespace is known by its name, which nobody else can come by than by copying it: the second half
    /// is computed from the first. A namespace called `private-billing` is one like all others.
    #[must_use]
    pub fn private() -> Self {
        let number = random::nonzero_u64();
        Self { name: format!("{PRIVATE}{number:016x}{:016x}", proof(number)).into(), user: None }
    }

    /// The namespace of this process.
    ///
    /// # Errors
    /// [`InvalidName`] when `PROCESSION_NAMESPACE` is no namespace, or `PROCESSION_PREFIX` no prefix.
    pub fn current() -> Result<Self, InvalidName> {
        if let Some(current) = CURRENT.get() {
            return Ok(current.clone());
        }
        let chosen = match from_environment(VARIABLE) {
            Some(name) => Self::new(&name)?,
            None => Self { name: "default".into(), user: None },
        };
        check_prefix()?;
        Ok(CURRENT.get_or_set(|| chosen).clone())
    }

    /// Makes this the namespace of the process; `false` if the process has already used another one.
    #[must_use]
    pub fn enter(&self) -> bool {
        CURRENT.get_or_set(|| self.clone()) == self
    }

    /// The namespace's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether [`Namespace::private`] made it.
    #[must_use]
    pub fn is_private(&self) -> bool {
        let numbers = self.name.strip_prefix(PRIVATE).and_then(|numbers| numbers.split_at_checked(16));
        numbers.is_some_and(|(number, rest)| {
            hex_number(number).is_some_and(|number| hex_number(rest) == Some(proof(number)))
        })
    }

    /// The name in `/dev/shm` of the object called `object`.
    #[must_use]
    pub fn file_name(&self, object: &str) -> String {
        format!("{}{object}", self.prefix())
    }

    /// The beginning of the file names of all objects of the namespace.
    pub(crate) fn prefix(&self) -> String {
        let prefix = self.user.map_or_else(user_prefix, prefix_of);
        format!("{prefix}{}.", self.name)
    }

    /// The namespace of this name, taken for `user`'s from now on.
    pub(crate) fn of_user(&self, user: u32) -> Self {
        Self { name: Arc::clone(&self.name), user: Some(user) }
    }

    /// The user whose namespace it is.
    pub(crate) fn user(&self) -> u32 {
        self.user.unwrap_or_else(shm_file::effective_uid)
    }

    /// Takes apart what [`Namespace::file_name`] made.
    pub(crate) fn parse_file_name(file: &str) -> Option<(Self, &str)> {
        let (namespace, object) = file.strip_prefix(&user_prefix())?.split_once('.')?;
        Some((Self::new(namespace).ok()?, object))
    }
}

/// The second half of a private namespace's name: what the first half hashes to.
fn proof(number: u64) -> u64 {
    fnv(&number.to_le_bytes())
}

/// The beginning of the file names of all objects of this user.
pub(crate) fn user_prefix() -> String {
    prefix_of(shm_file::effective_uid())
}

fn prefix_of(user: u32) -> String {
    format!("{}.{user}.", prefix())
}

/// The user whose number is in the name of a file, if it is one of an object.
pub(crate) fn user_in(file: &str) -> Option<u32> {
    let rest = file.strip_prefix(prefix())?.strip_prefix('.')?;
    rest.split_once('.')?.0.parse().ok()
}

/// Whether files of this name may be objects, of whatever user.
pub(crate) fn is_reserved(file: &str) -> bool {
    [PREFIX, prefix()]
        .iter()
        .any(|prefix| file.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')))
}

fn prefix() -> &'static str {
    static CHOSEN: Latest<String> = Latest::none();
    CHOSEN.get_or_set(|| from_environment(PREFIX_VARIABLE).unwrap_or_else(|| PREFIX.to_owned()))
}

/// Checks what was chosen for the beginning of all names; to be asked before a file is made or looked for.
///
/// # Errors
/// [`InvalidName`].
pub(crate) fn check_prefix() -> Result<(), InvalidName> {
    check(prefix(), MAX_PREFIX, PREFIX_RULE, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
    })
}

/// The variable as the caller of this program has set it, unless the program has more rights than its caller:
/// then nobody knows who it is who wants that.
fn from_environment(variable: &str) -> Option<String> {
    let set = std::env::var_os(variable).filter(|_| !is_secure());
    set.map(|value| value.to_string_lossy().into_owned())
}

/// Checks a name that a user gives to an object.
pub(crate) fn check_object_name(name: &str) -> Result<(), InvalidName> {
    if name.starts_with('.') {
        let reason = "names that begin with a dot are those of the library's own files";
        return Err(InvalidName { name: name.to_owned(), reason });
    }
    check(name, MAX_NAME, "a name is made of A-Z, a-z, 0-9, '.', '_' and '-'", |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
    })
}

/// A name nobody has used, for an object without one.
pub(crate) fn anonymous_name() -> String {
    format!("{ANONYMOUS}{:016x}", random::nonzero_u64())
}

/// The beginning of the names of all spills of an object.
pub(crate) fn spills_of(home: InstanceId) -> String {
    format!("{SPILL}{:016x}-", home.low())
}

/// The name of one.
pub(crate) fn spill_name(home: InstanceId, number: u64) -> String {
    format!("{}{number:016x}", spills_of(home))
}

/// The name by which an unlinked object is found by the collector, and by nobody else.
pub(crate) fn unlinked_name(object: InstanceId) -> String {
    format!("{UNLINKED}{:016x}", object.low())
}

/// How a name came about: who chose it, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A user, to an object.
    User,
    /// The library, to the namespace's table of processes.
    Registry,
    /// The library, to an object without a name.
    Anonymous,
    /// The library, to a message of the object with this number.
    Spill { home: u64 },
    /// The library, to the unlinked object with this number.
    Unlinked { object: u64 },
    /// A name that nobody gives: it begins like the library's own, and goes on otherwise.
    Unknown,
}

/// By whole names: what only begins like one of them is none.
pub(crate) fn origin(name: &str) -> Origin {
    let number = |prefix| name.strip_prefix(prefix).and_then(hex_number);
    if !name.starts_with('.') {
        return Origin::User;
    }
    if name == REGISTRY {
        return Origin::Registry;
    }
    if number(ANONYMOUS).is_some() {
        return Origin::Anonymous;
    }
    if let Some(object) = number(UNLINKED) {
        return Origin::Unlinked { object };
    }
    let both = name.strip_prefix(SPILL).and_then(|numbers| numbers.split_once('-'));
    match both.map(|(home, own)| (hex_number(home), hex_number(own))) {
        Some((Some(home), Some(_))) => Origin::Spill { home },
        _ => Origin::Unknown,
    }
}

/// Reads a number back that `{:016x}` wrote.
fn hex_number(digits: &str) -> Option<u64> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    let is_whole = digits.len() == 16 && digits.bytes().all(is_digit);
    is_whole.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// Whether an object that handles and messages are about can have this name.
pub(crate) fn is_possible(name: &str) -> bool {
    origin(name) == Origin::Anonymous || check_object_name(name).is_ok()
}

/// Whether the name is one that the library gives to what may be garbage by itself.
pub(crate) fn may_be_garbage(name: &str) -> bool {
    matches!(origin(name), Origin::Anonymous | Origin::Spill { .. } | Origin::Unlinked { .. })
}

fn check(name: &str, max: usize, alphabet: &'static str, allowed: fn(u8) -> bool) -> Result<(), InvalidName> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > max {
        if max == MAX_NAME { "it is longer than 100 bytes" } else { "it is longer than 64 bytes" }
    } else if !name.bytes().all(allowed) {
        alphabet
    } else {
        return Ok(());
    };
    Err(InvalidName { name: name.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::{Namespace, Origin, check_object_name, origin};

    #[test]
    fn bad_names_are_refused_and_good_ones_are_found_again_in_file_names() {
        for bad in ["", ".hidden", "a/b", "ü", "a b", &"x".repeat(101), "a\0b", ".."] {
            assert!(check_object_name(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a.b_c-D9", &"x".repeat(100)] {
            assert!(check_object_name(good).is_ok(), "{good:?}");
            let namespace = Namespace::new("n-1").unwrap();
            let file = namespace.file_name(good);
            assert_eq!(Namespace::parse_file_name(&file), Some((namespace, good)));
        }
        for bad in ["", "a.b", "a/b", &"x".repeat(65)] {
            assert!(Namespace::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_that_only_looks_private_is_that_of_no_private_namespace() {
        let private = Namespace::private();
        let (number, proof) = private.name().split_at("private-".len() + 16);
        let swapped = format!("private-{proof}{}", &number["private-".len()..]);
        let longer = format!("{}0", private.name());
        // As long as one, and no number in either half.
        let [words, capitals] =
            ["private-billing-of-all-customers-in-2026", "private-550E8400E29B41D4A716446655440000"];
        assert_eq!([words.len(), capitals.len()], [private.name().len(); 2]);
        let names = [
            "private-",
            "private-billing",
            number,
            "private-0123456789abcdef",
            &swapped,
            &longer,
            words,
            capitals,
        ];
        for name in names {
            assert!(!Namespace::new(name).unwrap().is_private(), "{name}");
        }
        assert!(!Namespace::new(&private.name().to_uppercase()).unwrap().is_private());
    }

    #[test]
    fn a_name_of_the_librarys_own_is_known_as_a_whole() {
        let number = "0123456789abcdef";
        assert_eq!(origin(".registry"), Origin::Registry);
        assert_eq!(origin(&format!(".anonymous-{number}")), Origin::Anonymous);
        assert_eq!(
            origin(&format!(".unlinked-{number}")),
            Origin::Unlinked { object: 0x0123_4567_89ab_cdef }
        );
        assert_eq!(
            origin(&format!(".spill-{number}-{number}")),
            Origin::Spill { home: 0x0123_4567_89ab_cdef }
        );
        assert_eq!(origin("registry"), Origin::User);
        let others = [
            ".",
            ".registry2",
            ".anonymous-1",
            ".unlinked-x",
            ".spill-",
            ".spill-1-2",
            ".unlinked-+123456789abcdef",
        ];
        for name in others {
            assert_eq!(origin(name), Origin::Unknown, "{name}");
        }
    }

    #[test]
    fn private_namespaces_differ() {
        let (one, two) = (Namespace::private(), Namespace::private());
        assert_ne!(one, two);
        assert!(one.is_private() && Namespace::new(one.name()).unwrap().is_private());
    }
}
