//! Which request headers choose between responses (RFC 9111 §4.1).

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName,
    header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, VARY},
};

use super::{accept_encoding, lines};
use crate::key::KeyParts;

/// The names of the request headers that choose between the responses of a URL: sorted, each once,
/// at most [`MAX_NAMES`](Self::MAX_NAMES).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) struct VaryNames {
    names: Vec<HeaderName>,
}

/// Why no stored response could be chosen by a `Vary`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum VaryProblem {
    /// `*`: what chooses is in no header.
    Star,
    /// `Cookie` or `Authorization`: nearly each request would have a response of its own.
    Credentials,
    /// More than [`VaryNames::MAX_NAMES`].
    TooMany,
    /// Something is no name.
    Malformed,
}

impl VaryNames {
    pub(in crate::cache) const MAX_NAMES: usize = 8;

    /// What a response varies on, by all its lines.
    pub(in crate::cache) fn read(response: &HeaderMap) -> Result<Self, VaryProblem> {
        let mut found = Self::default();
        for member in lines::members(response, &VARY) {
            if member == b"*" {
                return Err(VaryProblem::Star);
            }
            let name = HeaderName::from_bytes(member).map_err(|_| VaryProblem::Malformed)?;
            found.insert(name)?;
        }
        Ok(found)
    }

    /// These names, such as were stored.
    pub(in crate::cache) fn from_names(
        names: impl IntoIterator<Item = HeaderName>,
    ) -> Result<Self, VaryProblem> {
        let mut found = Self::default();
        for name in names {
            found.insert(name)?;
        }
        Ok(found)
    }

    /// The names of both.
    pub(in crate::cache) fn union(&self, other: &Self) -> Result<Self, VaryProblem> {
        let mut union = self.clone();
        for name in &other.names {
            union.insert(name.clone())?;
        }
        Ok(union)
    }

    /// Whether all names of the other are among these.
    pub(in crate::cache) fn is_superset(&self, other: &Self) -> bool {
        other.names.iter().all(|name| self.contains(name))
    }

    pub(in crate::cache) fn contains(&self, name: &HeaderName) -> bool {
        self.position(name).is_ok()
    }

    pub(in crate::cache) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(in crate::cache) fn iter(&self) -> impl ExactSizeIterator<Item = &HeaderName> {
        self.names.iter()
    }

    /// Appends what chooses in this request: how many names, then each with its value. Two requests
    /// append the same if and only if each of the headers has the same value in both.
    pub(in crate::cache) fn append_selection(&self, request: &HeaderMap, parts: &mut KeyParts) {
        parts.push(self.names.len());
        for name in &self.names {
            parts.push(name.as_str());
            parts.push(selecting_value(request, name).as_deref());
        }
    }

    fn insert(&mut self, name: HeaderName) -> Result<(), VaryProblem> {
        if name.as_str() == "*" {
            return Err(VaryProblem::Star);
        }
        if name == COOKIE || name == AUTHORIZATION {
            return Err(VaryProblem::Credentials);
        }
        let Err(position) = self.position(&name) else {
            return Ok(());
        };
        if self.names.len() >= Self::MAX_NAMES {
            return Err(VaryProblem::TooMany);
        }
        self.names.insert(position, name);
        Ok(())
    }

    fn position(&self, name: &HeaderName) -> Result<usize, usize> {
        self.names
            .binary_search_by(|known| known.as_str().cmp(name.as_str()))
    }
}

/// The value by which a header of a request chooses; none if it is absent, which is not the same as
/// empty.
///
/// RFC 9111 §4.1 lets values be one that mean the same: lines are joined, the white space at commas
/// is cut, languages have no case, and encodings count as
/// [they are forwarded](super::accept_encoding::normalise_accept_encoding).
pub(in crate::cache) fn selecting_value<'a>(
    request: &'a HeaderMap,
    name: &HeaderName,
) -> Option<Cow<'a, [u8]>> {
    if *name == ACCEPT_ENCODING
        && let Some(reduced) = accept_encoding::reduced(request)
    {
        return Some(Cow::Borrowed(reduced.as_bytes()));
    }
    let joined = joined(request, name)?;
    if *name == ACCEPT_LANGUAGE {
        return Some(Cow::Owned(joined.to_ascii_lowercase()));
    }
    Some(joined)
}

/// The members of all lines with nothing but a comma in between.
fn joined<'a>(request: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut lines = request.get_all(name).iter();
    let first = lines.next()?.as_bytes();
    let Some(second) = lines.next() else {
        let value = first.trim_ascii();
        return Some(if value.contains(&b',') {
            Cow::Owned(tightened(value))
        } else {
            Cow::Borrowed(value)
        });
    };
    // RFC 9110 §5.3.
    let mut combined = first.to_vec();
    for line in [second].into_iter().chain(lines) {
        combined.extend_from_slice(b", ");
        combined.extend_from_slice(line.as_bytes());
    }
    Some(Cow::Owned(tightened(combined.trim_ascii())))
}

/// Without the white space around commas, except in quoted strings, where it means something.
fn tightened(value: &[u8]) -> Vec<u8> {
    let mut tight = Vec::with_capacity(value.len());
    let mut place = Place::Outside;
    for byte in value {
        let is_after_comma = place == Place::Outside && tight.last() == Some(&b',');
        if is_after_comma && matches!(byte, b' ' | b'\t') {
            continue;
        }
        if place == Place::Outside && *byte == b',' {
            let len = tight.trim_ascii_end().len();
            tight.truncate(len);
        }
        tight.push(*byte);
        place = place.after(*byte);
    }
    tight
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Outside,
    InString,
    AfterBackslash,
}

impl Place {
    /// RFC 9110 §5.6.4.
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Outside, b'"') | (Self::AfterBackslash, _) => Self::InString,
            (Self::InString, b'"') => Self::Outside,
            (Self::InString, b'\\') => Self::AfterBackslash,
            (place, _) => place,
        }
    }
}
