//! A JSON object of which a few fields are read or replaced, and all others keep their text and their place.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// The fields of an object in their order, as they are written.
///
/// A name that comes twice has its last value, in its first place, as everywhere in JSON.
#[derive(Clone, Debug, Default)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Cow<'a, RawValue>)>);

impl<'a> Object<'a> {
    /// Reads an object; `None` where the text is none.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The text of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|(known, _)| known == name);
        field.map(|(_, value)| value.get())
    }

    /// A field that is an object itself, as it was read.
    #[must_use]
    pub fn object(&self, name: &str) -> Option<Self> {
        match self.0.iter().find(|(known, _)| known == name)? {
            (_, Cow::Borrowed(value)) => Self::parse(value.get()),
            (_, Cow::Owned(_)) => None,
        }
    }

    /// Puts a value in the place of the field, or at the end where there is none of that name.
    pub fn set(&mut self, name: &'a str, value: &impl Serialize) {
        // What the shim writes always is JSON.
        let value = to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned());
        let value = Cow::Owned(value);
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, before)) => *before = value,
            None => self.0.push((name.into(), value)),
        }
    }

    /// Keeps the fields of these names.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// The object as text, without white space between its fields.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, &**value)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut fields, mut places) = (Vec::new(), HashMap::new());
                while let Some((Name(name), value)) = map.next_entry::<_, &'de RawValue>()? {
                    let field = (name.clone(), Cow::Borrowed(value));
                    let place = *places.entry(name).or_insert(fields.len());
                    match fields.get_mut(place) {
                        Some(before) => *before = field,
                        None => fields.push(field),
                    }
                }
                Ok(Object(fields))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

/// Borrowed where no letter of it is escaped.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_replaced_keeps_its_text_and_its_place() {
        let text = r#"{"a": 1.50, "b\u0041": {"x": [ 1 ]}, "c": "\u00fc"}"#;
        let mut object = Object::parse(text).unwrap();
        object.set("c", &json!({"new": true}));
        object.set("d", &2);
        assert_eq!(
            object.to_text(),
            r#"{"a":1.50,"bA":{"x": [ 1 ]},"c":{"new":true},"d":2}"#
        );
        object.retain(|name| name != "a" && name != "d");
        assert_eq!(object.object("bA").unwrap().get("x"), Some("[ 1 ]"));
        assert_eq!(object.to_text(), r#"{"bA":{"x": [ 1 ]},"c":{"new":true}}"#);
    }

    #[test]
    fn a_name_that_comes_twice_has_its_last_value() {
        let object = Object::parse(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(object.to_text(), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn what_is_no_object_is_none() {
        for text in ["[]", "1", r#"{"a":1"#, r#"{"a":1}x"#] {
            assert!(Object::parse(text).is_none(), "{text}");
        }
    }
}
