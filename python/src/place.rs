//! Where an object lies, and whether it is made: what the constructors of all classes take.

use procession::Namespace;
use pyo3::prelude::*;

use crate::errors::ToPyErr;

/// What a constructor was told about the place of its object.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) name: Option<String>,
    /// `None`: open it, or make it. Otherwise whether it must not exist, or must.
    pub(crate) create: Option<bool>,
    pub(crate) ephemeral: bool,
    pub(crate) namespace: Option<Namespace>,
}

impl Place {
    pub(crate) fn new(
        name: Option<String>,
        create: Option<bool>,
        ephemeral: bool,
        namespace: Option<&str>,
    ) -> PyResult<Self> {
        let namespace = namespace.map(Namespace::new).transpose().map_err(ToPyErr::to_py_err)?;
        Ok(Self { name, create, ephemeral, namespace })
    }
}

/// Makes or opens the object that `$options` describe at `$place`, while other threads of Python go on.
macro_rules! make {
    ($py:expr, $options:expr, $place:expr) => {{
        let place = $place;
        let mut options = $options;
        if let Some(namespace) = &place.namespace {
            options = options.namespace(namespace);
        }
        if place.ephemeral {
            options = options.ephemeral();
        }
        $py.detach(|| match (&place.name, place.create) {
            (None, _) => options.anonymous(),
            (Some(name), None) => options.open_or_create(name),
            (Some(name), Some(true)) => options.create(name),
            (Some(name), Some(false)) => options.open(name),
        })
        .map_err($crate::errors::ToPyErr::to_py_err)
    }};
}
pub(crate) use make;

/// Makes or opens the queue that `$options` describe, as `make!` does. Who says no codec takes what there is, and makes
/// what Python has always had: pickles.
macro_rules! make_queue {
    ($py:expr, $options:expr, $codec:expr, $place:expr) => {{
        let (options, place) = ($options, $place);
        match ($codec, place.create, place.name.is_some()) {
            (Some(codec), _, _) => $crate::place::make!($py, options.codec(codec), place),
            (None, Some(false), true) => $crate::place::make!($py, options, place),
            (None, Some(true), _) | (None, _, false) => {
                $crate::place::make!($py, options.codec(procession::Codec::Pickle), place)
            }
            (None, None, true) => {
                let (opened, made) =
                    (Place { create: Some(false), ..place.clone() }, Place { create: Some(true), ..place });
                // Somebody may make it in between, or remove it.
                let mut tries = 0;
                loop {
                    tries += 1;
                    let found = $crate::place::make!($py, options.clone(), opened.clone());
                    if !$crate::errors::is(&found, "NotFound") {
                        break found;
                    }
                    let new = $crate::place::make!(
                        $py,
                        options.clone().codec(procession::Codec::Pickle),
                        made.clone()
                    );
                    if tries >= 100 || !$crate::errors::is(&new, "AlreadyExists") {
                        break new;
                    }
                }
            }
        }
    }};
}
pub(crate) use make_queue;
