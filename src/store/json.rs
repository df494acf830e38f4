//! JSON as Go's encoder writes it and as its decoder reads it.

use std::io::{self, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::{CharEscape, Formatter, Serializer};
use serde_json::{Map, Value};

use crate::ports::Error;
use crate::quote::quote;

/// Escapes what Go escapes on top of JSON: `<`, `>`, `&`, U+2028 and U+2029, and knows no `\b` and
/// `\f`.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Most have nothing special, which their bytes tell fastest, when all are looked at: U+2028 and U+2029
        // begin with E2.
        let is_special = |byte| matches!(byte, b'<' | b'>' | b'&' | 0xe2);
        if !fragment.bytes().fold(false, |any, byte| any | is_special(byte)) {
            return writer.write_all(fragment.as_bytes());
        }
        let special = |c| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        let mut rest = fragment;
        while let Some(at) = rest.find(special) {
            let (head, tail) = rest.split_at(at);
            let mut chars = tail.chars();
            let c = chars.next().unwrap_or_default();
            write!(writer, "{head}\\u{:04x}", u32::from(c))?;
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        let text: &[u8] = match escape {
            CharEscape::Quote => b"\\\"",
            CharEscape::ReverseSolidus => b"\\\\",
            CharEscape::Solidus => b"/",
            CharEscape::LineFeed => b"\\n",
            CharEscape::CarriageReturn => b"\\r",
            CharEscape::Tab => b"\\t",
            CharEscape::Backspace => b"\\u0008",
            CharEscape::FormFeed => b"\\u000c",
            CharEscape::AsciiControl(byte) => return write!(writer, "\\u{byte:04x}"),
        };
        writer.write_all(text)
    }
}

/// Encodes in Go's dialect.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut serializer = Serializer::with_formatter(&mut out, GoFormatter);
    value.serialize(&mut serializer).expect("plain data with text keys, written to memory");
    out
}

/// Whether a field is left out by Go's `omitempty`.
pub(super) fn is_empty<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An object that is read field by field, as Go's decoder does: keys in any case, unknown ones
/// passed over, a missing or null one as zero.
pub(super) struct Object(Map<String, Value>);

impl Object {
    /// Text that is not valid is read as U+FFFD; a bare `null` is an object without fields.
    ///
    /// # Errors
    /// What is wrong with the syntax, or that it is no object.
    pub(super) fn parse(raw: &[u8]) -> Result<Object, Error> {
        let value = serde_json::from_str(&String::from_utf8_lossy(raw)).map_err(|error| {
            if error.is_eof() {
                Error::unknown("unexpected end of JSON input")
            } else {
                Error::unknown(error.to_string())
            }
        })?;
        Ok(Object::of(value)?.unwrap_or_else(|| Object(Map::new())))
    }

    /// The metadata of an extension; `None`: it has none.
    ///
    /// # Errors
    /// As [`Object::parse`]; `unsupported version: …`.
    pub(super) fn parse_metadata(raw: &[u8], supported: &str) -> Result<Option<Object>, Error> {
        let mut versioned = Object::parse(raw)?;
        let version: String = versioned.field("Version")?;
        if version != supported {
            return Err(Error::unknown(format!("unsupported version: {}", quote(&version))));
        }
        versioned.object("Metadata")
    }

    fn of(value: Value) -> Result<Option<Object>, Error> {
        match value {
            Value::Object(map) => Ok(Some(Object(map))),
            Value::Null => Ok(None),
            _ => Err(Error::unknown("json: cannot unmarshal a value that is no object")),
        }
    }

    fn take(&mut self, name: &str) -> Value {
        if let Some(value) = self.0.remove(name) {
            return value;
        }
        let key = self.0.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
        key.and_then(|key| self.0.remove(&key)).unwrap_or_default()
    }

    /// Takes a field.
    ///
    /// # Errors
    /// A value of another type, or out of the type's range.
    pub(super) fn field<T: DeserializeOwned + Default>(&mut self, name: &str) -> Result<T, Error> {
        match self.take(name) {
            Value::Null => Ok(T::default()),
            value => serde_json::from_value(value).map_err(|error| {
                Error::unknown(format!("json: cannot unmarshal field {name}: {error}"))
            }),
        }
    }

    /// Takes a field that holds an object; `None` when it is missing or null.
    ///
    /// # Errors
    /// A value of another type.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Object>, Error> {
        Object::of(self.take(name))
    }

    /// Takes a field that holds a list of objects; a null element has no fields.
    ///
    /// # Errors
    /// A value of another type.
    pub(super) fn objects(&mut self, name: &str) -> Result<Vec<Object>, Error> {
        let list: Vec<Value> = self.field(name)?;
        list.into_iter()
            .map(|value| Ok(Object::of(value)?.unwrap_or_else(|| Object(Map::new()))))
            .collect()
    }
}
