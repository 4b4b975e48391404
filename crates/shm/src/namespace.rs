//! Namespaces: objects that share one registry, and the names of their files.
//!
//! The file of an object is `/dev/shm/procession.<uid>.<namespace>.<name>`. A namespace has no dot in it, so
//! the parts are found again. Names that begin with a dot are the library's own: `.registry`, `.anonymous-…`, `.spill-…`,
//! `.unlinked-…`.

use crate::{InstanceId, OpenError};
use procession_sys::{random, shm_file};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

const MAX_NAME: usize = 100;
const MAX_NAMESPACE: usize = 64;
pub(crate) const REGISTRY: &str = ".registry";
const ANONYMOUS: &str = ".anonymous-";
pub(crate) const SPILL: &str = ".spill-";
const UNLINKED: &str = ".unlinked-";
const PRIVATE: &str = "private-";
const VARIABLE: &str = "PROCESSION_NAMESPACE";

/// The objects that share one registry of processes.
///
/// The namespace of a process is `default`, or what `PROCESSION_NAMESPACE` says, or what [`Namespace::enter`]
/// chose; every object can be given another one by its options.
///
/// ```
/// use procession_shm::Namespace;
/// let billing = Namespace::new("billing")?;
/// assert_eq!(billing.name(), "billing");
/// assert!(Namespace::new("a.b").is_err());
/// # Ok::<(), procession_shm::OpenError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Namespace {
    name: Arc<str>,
    /// Whose: that of a registration stays its user's, whatever user this process becomes. `None`: the effective user's.
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

static CURRENT: OnceLock<Namespace> = OnceLock::new();

impl Namespace {
    /// The namespace called `name`: `[A-Za-z0-9_-]{1,64}`.
    ///
    /// # Errors
    /// [`OpenError::InvalidName`].
    pub fn new(name: &str) -> Result<Self, OpenError> {
        check(name, MAX_NAMESPACE, "a namespace is made of A-Z, a-z, 0-9, '_' and '-'", |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
        })?;
        Ok(Self { name: name.into(), user: None })
    }

    /// A namespace nobody else has: everything in it is removed when its last process is gone, however it ended.
    #[must_use]
    pub fn private() -> Self {
        Self { name: format!("{PRIVATE}{:016x}", random::nonzero_u64()).into(), user: None }
    }

    /// The namespace of this process.
    ///
    /// # Errors
    /// [`OpenError::InvalidName`] when `PROCESSION_NAMESPACE` is no namespace.
    pub fn current() -> Result<Self, OpenError> {
        if let Some(current) = CURRENT.get() {
            return Ok(current.clone());
        }
        let chosen = match std::env::var(VARIABLE) {
            Ok(name) => Self::new(&name)?,
            Err(_) => Self { name: "default".into(), user: None },
        };
        Ok(CURRENT.get_or_init(|| chosen).clone())
    }

    /// Makes this the namespace of the process; `false` if the process has already used another one.
    #[must_use]
    pub fn enter(&self) -> bool {
        CURRENT.get_or_init(|| self.clone()) == self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether [`Namespace::private`] made it.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.name.starts_with(PRIVATE)
    }

    /// The name in `/dev/shm` of the object called `object`.
    #[must_use]
    pub fn file_name(&self, object: &str) -> String {
        format!("{}{object}", self.prefix())
    }

    /// What the file names of all its objects begin with.
    pub(crate) fn prefix(&self) -> String {
        let prefix = self.user.map_or_else(user_prefix, prefix_of);
        format!("{prefix}{}.", self.name)
    }

    /// The same, and `user`'s from now on.
    pub(crate) fn of_user(&self, user: u32) -> Self {
        Self { name: Arc::clone(&self.name), user: Some(user) }
    }

    /// Whose it is.
    pub(crate) fn user(&self) -> u32 {
        self.user.unwrap_or_else(shm_file::effective_uid)
    }

    /// Takes apart what [`Namespace::file_name`] made.
    pub(crate) fn parse_file_name(file: &str) -> Option<(Self, &str)> {
        let (namespace, object) = file.strip_prefix(&user_prefix())?.split_once('.')?;
        Some((Self::new(namespace).ok()?, object))
    }
}

/// What the file names of all objects of this user begin with.
pub(crate) fn user_prefix() -> String {
    prefix_of(shm_file::effective_uid())
}

fn prefix_of(user: u32) -> String {
    format!("procession.{user}.")
}

/// Checks a name that a user gives to an object.
pub(crate) fn check_object_name(name: &str) -> Result<(), OpenError> {
    if name.starts_with('.') {
        let reason = "a leading dot is reserved for the library's own files";
        return Err(OpenError::InvalidName { name: name.to_owned(), reason });
    }
    check(name, MAX_NAME, "a name is made of A-Z, a-z, 0-9, '.', '_' and '-'", |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
    })
}

/// A name nobody has used, for an object without one.
pub(crate) fn anonymous_name() -> String {
    format!("{ANONYMOUS}{:016x}", random::nonzero_u64())
}

/// Whether the library chose the name.
pub(crate) fn is_anonymous(name: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    name.strip_prefix(ANONYMOUS).is_some_and(|number| number.len() == 16 && number.bytes().all(is_digit))
}

/// What the names of all spills of an object begin with.
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

/// Whether the object of this name was unlinked.
pub(crate) fn is_unlinked(name: &str) -> bool {
    name.starts_with(UNLINKED)
}

/// Whether the name is one that the library gives to what may be garbage by itself.
pub(crate) fn may_be_garbage(name: &str) -> bool {
    is_anonymous(name) || is_unlinked(name) || name.starts_with(SPILL)
}

fn check(name: &str, max: usize, alphabet: &'static str, allowed: fn(u8) -> bool) -> Result<(), OpenError> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > max {
        if max == MAX_NAME { "it is longer than 100 bytes" } else { "it is longer than 64 bytes" }
    } else if !name.bytes().all(allowed) {
        alphabet
    } else {
        return Ok(());
    };
    Err(OpenError::InvalidName { name: name.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::{Namespace, check_object_name};

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
    fn private_namespaces_differ() {
        let (one, two) = (Namespace::private(), Namespace::private());
        assert_ne!(one, two);
        assert!(one.is_private() && Namespace::new(one.name()).unwrap().is_private());
    }
}
