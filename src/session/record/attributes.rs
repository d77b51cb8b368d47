//! The values that a session holds, by name.

use std::{fmt, ops::Deref};

use bytes::{Buf as _, BufMut as _, Bytes};

use super::{same_json::is_same_json, slice};

/// Values by name, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::session) struct Attributes {
    sorted: Vec<(Name, Value)>,
}

/// The name of an attribute; UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::session) struct Name(Bytes);

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self(Bytes::copy_from_slice(name.as_bytes()))
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// What is stored under a name. Shows only how long it is.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::session) struct Value {
    pub(in crate::session) codec: Codec,
    pub(in crate::session) bytes: Bytes,
}

impl Value {
    /// Whether both say the same: the same bytes, or the same JSON with its fields in another order,
    /// as a hash map writes them.
    pub(in crate::session) fn says_the_same(&self, other: &Self) -> bool {
        let is_json = self.codec == Codec::Json && other.codec == Codec::Json;
        self == other || (is_json && is_same_json(&self.bytes, &other.bytes))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} bytes", self.codec, self.bytes.len())
    }
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::session) enum Codec {
    Json = 0,
    Raw = 1,
}

impl Attributes {
    pub(in crate::session) fn get(&self, name: &str) -> Option<&Value> {
        let at = self.find(name).ok()?;
        self.sorted.get(at).map(|(_, value)| value)
    }

    pub(in crate::session) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.sorted.iter().map(|(name, value)| (&**name, value))
    }

    pub(in crate::session) fn set(&mut self, name: &str, value: Value) {
        match self.find(name) {
            Ok(at) => {
                if let Some((_, old)) = self.sorted.get_mut(at) {
                    *old = value;
                }
            }
            Err(at) => self.sorted.insert(at, (name.into(), value)),
        }
    }

    pub(in crate::session) fn remove(&mut self, name: &str) {
        if let Ok(at) = self.find(name) {
            self.sorted.remove(at);
        }
    }

    pub(in crate::session) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.sorted.retain(|(name, _)| keep(name));
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.sorted
            .binary_search_by(|(known, _)| known.0.as_ref().cmp(name.as_bytes()))
    }

    pub(super) fn encode(&self, stored: &mut Vec<u8>) {
        stored.put_u16(u16::try_from(self.sorted.len()).unwrap_or(u16::MAX));
        for (name, value) in &self.sorted {
            stored.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
            stored.put_slice(&name.0);
            stored.put_u8(value.codec as u8);
            stored.put_u32(u32::try_from(value.bytes.len()).unwrap_or(u32::MAX));
            stored.put_slice(&value.bytes);
        }
    }

    pub(in crate::session) fn encoded_len(&self) -> usize {
        let each = self.iter().map(|(name, value)| encoded_len(name, value));
        2 + each.sum::<usize>()
    }

    /// `None` if the names are not text, or not in order, or something is cut short.
    pub(super) fn decode(stored: &mut Bytes) -> Option<Self> {
        let count = stored.try_get_u16().ok()?;
        // What a count claims is not believed before it is read.
        let mut sorted: Vec<(Name, Value)> =
            Vec::with_capacity(usize::from(count).min(stored.len() / SHORTEST));
        for _ in 0..count {
            let name_len = stored.try_get_u8().ok()?;
            let name = Name(slice(stored, name_len.into())?);
            str::from_utf8(&name.0).ok()?;
            if sorted.last().is_some_and(|(last, _)| *last >= name) {
                return None;
            }
            let codec = match stored.try_get_u8().ok()? {
                0 => Codec::Json,
                1 => Codec::Raw,
                _ => return None,
            };
            let value_len = stored.try_get_u32().ok()?;
            let bytes = slice(stored, usize::try_from(value_len).ok()?)?;
            sorted.push((name, Value { codec, bytes }));
        }
        Some(Self { sorted })
    }
}

/// How many bytes one attribute takes in a record.
pub(in crate::session) fn encoded_len(name: &str, value: &Value) -> usize {
    SHORTEST + name.len() + value.bytes.len()
}

/// What an attribute takes beside its name and its value.
const SHORTEST: usize = 1 + 1 + 4;
