//! Labels: an object's kind and name, by which people know it.

use crate::kind::Kind;
use crate::namespace::{Namespace, Origin, origin};
use procession_sys::shm_file;
use std::fmt;
use std::sync::Arc;

/// An object as people know it, in errors and elsewhere: `lock "deploy"`,
/// `queue "jobs" in namespace "billing"`, `an unnamed event`.
///
/// The namespace is said unless it is the one called `default`. Names that the library chose are never shown.
/// A label is cheap to clone, and keeps nothing of the object alive.
///
/// ```
/// use procession::shm::Kind;
/// use procession::{Label, Namespace};
///
/// let billing = Namespace::new("billing")?;
/// let label = Label::new(Kind::EVENT, "ready", &billing);
/// assert_eq!(label.to_string(), "event \"ready\" in namespace \"billing\"");
/// assert_eq!(label.kind().map(|kind| kind.with_article()), Some("an event".to_owned()));
/// # Ok::<(), procession::OpenError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Label(Arc<Parts>);

#[derive(PartialEq, Eq)]
struct Parts {
    /// `None` where it is not known, or is the very question.
    kind: Option<Kind>,
    name: String,
    /// `None` for what lies in no namespace.
    namespace: Option<Namespace>,
}

impl Label {
    /// The label of the object of that kind and name.
    #[must_use]
    pub fn new(kind: Kind, name: &str, namespace: &Namespace) -> Self {
        Self::of(Some(kind), name, Some(namespace))
    }

    pub(crate) fn of(kind: Option<Kind>, name: &str, namespace: Option<&Namespace>) -> Self {
        Self(Arc::new(Parts { kind, name: name.to_owned(), namespace: namespace.cloned() }))
    }

    /// The label of a file that lies in no namespace.
    pub(crate) fn of_file(name: &str) -> Self {
        Self::of(Some(Kind::SHARED_MEMORY), name, None)
    }

    /// The label of the directory in which all objects lie.
    pub(crate) fn of_directory() -> Self {
        Self::of(None, shm_file::DIRECTORY, None)
    }

    /// The kind of the object; `None` where that is not known.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.0.kind
    }

    /// The object's name; one that the library chose if it is anonymous.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The namespace it lies in; `None` for what lies in none.
    #[must_use]
    pub fn namespace(&self) -> Option<&Namespace> {
        self.0.namespace.as_ref()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { kind, name, namespace } = &*self.0;
        let Some(namespace) = namespace else {
            return if kind.is_some() { write!(f, "file /dev/shm/{name}") } else { f.write_str(name) };
        };
        let kind = kind.map_or_else(|| "object".to_owned(), Kind::words);
        let place = match namespace.name() {
            "default" => String::new(),
            _ if namespace.is_private() => " in a private namespace".to_owned(),
            other => format!(" in namespace {other:?}"),
        };
        match origin(name) {
            Origin::Registry => write!(f, "the registry of {}", words_of(namespace)),
            Origin::Anonymous if kind == "shared memory" => write!(f, "unnamed {kind}"),
            Origin::Anonymous => write!(f, "an unnamed {kind}"),
            Origin::Spill { .. } => write!(f, "the file of a large message{place}"),
            Origin::Unlinked { .. } => write!(f, "an unlinked {kind}{place}"),
            Origin::User | Origin::Unknown => write!(f, "{kind} {name:?}{place}"),
        }
    }
}

fn words_of(namespace: &Namespace) -> String {
    if namespace.is_private() {
        "a private namespace".to_owned()
    } else {
        format!("namespace {:?}", namespace.name())
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An object that is looked for, created or opened: what a [`Label`] of it is made of when something goes
/// wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectName<'a> {
    /// `None` where anything may have the name.
    pub(crate) kind: Option<Kind>,
    pub(crate) namespace: &'a Namespace,
    pub(crate) name: &'a str,
}

impl ObjectName<'_> {
    /// The name of its file.
    pub(crate) fn file_name(&self) -> String {
        self.namespace.file_name(self.name)
    }

    pub(crate) fn label(&self) -> Label {
        Label::of(self.kind, self.name, Some(self.namespace))
    }

    /// For an error about what kind of object it is.
    pub(crate) fn label_without_kind(&self) -> Label {
        Label::of(None, self.name, Some(self.namespace))
    }
}

impl From<&ObjectName<'_>> for Label {
    fn from(object: &ObjectName<'_>) -> Self {
        object.label()
    }
}

impl From<&Label> for Label {
    fn from(label: &Label) -> Self {
        label.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::Label;
    use crate::kind::Kind;
    use crate::namespace::Namespace;

    #[test]
    fn people_read_kind_and_name_and_the_namespace_only_where_it_is_another() {
        let (usual, billing) = (Namespace::new("default").unwrap(), Namespace::new("billing").unwrap());
        let number = "0123456789abcdef";
        let said = [
            (Kind::LOCK, "deploy", &usual, "lock \"deploy\""),
            (Kind::BOUNDED_SEMAPHORE, "s", &billing, "bounded semaphore \"s\" in namespace \"billing\""),
            (Kind::LOCK, "l", &Namespace::private(), "lock \"l\" in a private namespace"),
            (Kind::EVENT, &format!(".anonymous-{number}"), &billing, "an unnamed event"),
            (Kind::SHARED_MEMORY, &format!(".anonymous-{number}"), &usual, "unnamed shared memory"),
            (Kind::REGISTRY, ".registry", &usual, "the registry of namespace \"default\""),
            (Kind::SPILL, &format!(".spill-{number}-{number}"), &usual, "the file of a large message"),
            (Kind(77), "later", &usual, "object \"later\""),
        ];
        for (kind, name, namespace, said) in said {
            assert_eq!(Label::new(kind, name, namespace).to_string(), said);
        }
        assert_eq!(Label::of(None, "x", Some(&usual)).to_string(), "object \"x\"");
        assert_eq!(Label::of_file("frames").to_string(), "file /dev/shm/frames");
        let words = [Kind::EVENT, Kind::LOCK, Kind::SHARED_MEMORY, Kind::RLOCK].map(Kind::with_article);
        assert_eq!(words, ["an event", "a lock", "shared memory", "an rlock"]);
    }
}
