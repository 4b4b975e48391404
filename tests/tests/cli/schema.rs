//! What the command prints as JSON, and the schema that says what that is.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The schema, and which of its definitions a record was held against.
pub(crate) struct Schema {
    pub(crate) document: Value,
    pub(crate) used: BTreeSet<String>,
}

impl Schema {
    pub(crate) fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema/procession.schema.json");
        let document: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert!(jsonschema::meta::is_valid(&document));
        Self { document, used: BTreeSet::new() }
    }

    /// Users may meet fields that they do not know; what is printed here is all known.
    fn closed(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.values_mut().for_each(Self::closed);
                if map.contains_key("properties") && map.get("type") == Some(&json!("object")) {
                    map.insert("additionalProperties".to_owned(), json!(false));
                }
            }
            Value::Array(items) => items.iter_mut().for_each(Self::closed),
            _ => {}
        }
    }

    /// The record is what the definition says, and the whole schema takes it, too.
    pub(crate) fn takes(&mut self, definition: &str, record: &Value) {
        let mut document = self.document.clone();
        Self::closed(&mut document["$defs"]);
        assert!(document["$defs"][definition].is_object(), "{definition} is not in the schema");
        document.as_object_mut().unwrap().remove("anyOf");
        document["$ref"] = json!(format!("#/$defs/{definition}"));
        let errors: Vec<String> = jsonschema::validator_for(&document)
            .unwrap()
            .iter_errors(record)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{definition}: {errors:#?}\n{record:#}");
        self.used.insert(definition.to_owned());
    }

    /// Each line is such a record; there is at least one.
    pub(crate) fn takes_lines(&mut self, definition: &str, lines: &str) {
        assert!(!lines.trim().is_empty(), "{definition}: nothing was said");
        for line in lines.lines() {
            self.takes(definition, &parsed(line));
        }
    }

    /// It is an array of such records; there is at least one.
    pub(crate) fn takes_array(&mut self, definition: &str, text: &str) {
        let array = parsed(text);
        let whole = jsonschema::validator_for(&self.document).unwrap();
        assert!(whole.is_valid(&array), "{definition}: {array:#}");
        assert!(!array.as_array().unwrap().is_empty(), "{definition}: nothing was said");
        array.as_array().unwrap().iter().for_each(|record| self.takes(definition, record));
    }
}

pub(crate) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
