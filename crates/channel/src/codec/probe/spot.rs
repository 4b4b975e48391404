//! What is known of a type, place by place, and how it is written as a structure.
//!
//! A place is *settled* when nothing more will be learned of it.

use procession_shm::{UNKNOWN, name_in_structure};

/// How many values are made up for a type, at most.
const MOST_VALUES: u32 = 1 << 14;

pub(super) const OPTION: &str = "?";
pub(super) const SEQUENCE: &str = "[";
pub(super) const MAP: &str = "<";
pub(super) const TUPLE: &str = "(";
pub(super) const STRUCT: &str = "{";
pub(super) const ENUM: &str = "enum";

/// One place in a type.
#[derive(Debug, Default)]
pub(super) struct Spot {
    /// The word, or the sign that its text begins with; empty: nothing was asked for yet.
    pub(super) form: &'static str,
    pub(super) parts: Vec<Part>,
    /// How many elements a tuple has. How many fields of a struct are enough, as far as that is known.
    pub(super) len: usize,
    /// With how many fields a struct is read next, once all of them are settled; `None` before it was read.
    pub(super) next: Option<usize>,
    pub(super) is_done: bool,
    /// Whether reading it has given a value.
    pub(super) gives: bool,
}

/// A field, a variant, or an element.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) name: &'static str,
    /// How many of them come one after the other, in a tuple.
    pub(super) count: usize,
    pub(super) spot: Spot,
}

/// What is known of the reading itself.
#[derive(Debug)]
pub(super) struct Tracing {
    /// How many things have been learned.
    pub(super) learned: u64,
    pub(super) values_left: u32,
    /// The names of the types that are being read, one in the other.
    pub(super) open: Vec<&'static str>,
}

impl Default for Tracing {
    fn default() -> Self {
        Self { learned: 0, values_left: MOST_VALUES, open: Vec::new() }
    }
}

impl Tracing {
    /// Whether no more values are made up.
    pub(super) fn is_over(&self) -> bool {
        self.values_left == 0
    }
}

impl Spot {
    pub(super) fn settle(&mut self, tracing: &mut Tracing) {
        if !self.is_done {
            self.is_done = true;
            tracing.learned += 1;
        }
    }

    /// Notes what it is. A type that asks for another thing than last time is taken for what it is now.
    pub(super) fn begin(&mut self, form: &'static str, names: &[&'static str], tracing: &mut Tracing) {
        if self.form != form || form != TUPLE && self.parts.len() != names.len() {
            let part = |name: &&'static str| Part { name, count: 1, ..Part::default() };
            *self =
                Self { form, parts: names.iter().map(part).collect(), len: names.len(), ..Self::default() };
            tracing.learned += 1;
        }
    }

    pub(super) fn settle_if_all_are(&mut self, tracing: &mut Tracing) {
        if self.are_all_done() {
            self.settle(tracing);
        }
    }

    pub(super) fn are_all_done(&self) -> bool {
        self.parts.iter().all(|part| part.spot.is_done)
    }

    /// Whether there is something to learn by reading the first part, or a value to be had.
    pub(super) fn offers_one(&self) -> bool {
        self.parts.first().is_some_and(|part| !part.spot.is_done || part.spot.gives)
    }

    /// Its structure, but for what is deeper than so many levels.
    pub(super) fn text(&self, levels: usize) -> String {
        let Some(levels) = levels.checked_sub(1) else { return UNKNOWN.to_owned() };
        let part =
            |index| self.parts.get(index).map_or(UNKNOWN.to_owned(), |part: &Part| part.spot.text(levels));
        match self.form {
            "" => UNKNOWN.to_owned(),
            OPTION => format!("?{}", part(0)),
            SEQUENCE => format!("[{}]", part(0)),
            MAP => format!("<{},{}>", part(0), part(1)),
            TUPLE => self.text_of_tuple(levels),
            STRUCT => {
                let field = |(index, part): (usize, &Part)| {
                    let mark = if index < self.len { "" } else { "?" };
                    format!("{}{mark}:{}", name_in_structure(part.name), part.spot.text(levels))
                };
                let fields: Vec<String> = self.parts.iter().enumerate().map(field).collect();
                format!("{{{}}}", fields.join(","))
            }
            ENUM => {
                let variant = |part: &Part| {
                    let name = name_in_structure(part.name);
                    match part.spot.text(levels).as_str() {
                        "()" => name.into_owned(),
                        text => format!("{name}:{text}"),
                    }
                };
                let variants: Vec<String> = self.parts.iter().map(variant).collect();
                format!("enum{{{}}}", variants.join(","))
            }
            word => word.to_owned(),
        }
    }

    /// A tuple of one is written as what is in it, and elements of one structure once.
    fn text_of_tuple(&self, levels: usize) -> String {
        let mut groups: Vec<(String, usize)> = Vec::new();
        let mut left = self.len;
        let known = self.parts.iter().map(|part| (part.spot.text(levels), part.count));
        for (text, count) in known.chain([(UNKNOWN.to_owned(), usize::MAX)]) {
            let count = count.min(left);
            left -= count;
            match groups.last_mut() {
                Some((last, counted)) if *last == text => *counted += count,
                _ if count > 0 => groups.push((text, count)),
                _ => {}
            }
        }
        if let [(text, 1)] = groups.as_slice() {
            return text.clone();
        }
        let group = |(text, count): &(String, usize)| match count {
            1 => text.clone(),
            count => format!("{text}*{count}"),
        };
        format!("({})", groups.iter().map(group).collect::<Vec<_>>().join(","))
    }
}
