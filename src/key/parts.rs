//! The typed parts that a key is made of.

use std::{fmt, net::IpAddr, sync::Arc};

use super::frames::Frames;

/// The typed parts that a key is made of, in order: `("10.0.0.1")` and `("10.0", ".0.1")` differ,
/// and so do the number 7 and the text `"7"`. Integers are told apart by their
/// value, not by their type.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct KeyParts {
    /// Each part as type byte, length (u64, big-endian), bytes: no two lists of parts look alike.
    frames: Frames,
}

impl KeyParts {
    /// No parts yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a part.
    pub fn push(&mut self, part: impl KeyPart) {
        part.append_to(self);
    }

    /// The same parts and one more.
    #[must_use]
    pub fn with(mut self, part: impl KeyPart) -> Self {
        self.push(part);
        self
    }

    /// Appends all of these parts.
    pub(crate) fn extend(&mut self, parts: &Self) {
        self.frames.push(parts.as_bytes());
    }

    /// How much has been written, to come back to with [`truncate`](Self::truncate).
    pub(crate) fn len(&self) -> usize {
        self.frames.as_slice().len()
    }

    /// Forgets what was appended since [`len`](Self::len) said this.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.frames.truncate(len);
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.frames.as_slice()
    }

    /// What goes before a part of this many bytes.
    #[cfg(feature = "idempotency")]
    pub(super) fn frame_of_bytes(len: usize) -> [u8; FRAME_LEN] {
        frame(Tag::Bytes, len)
    }

    fn push_frame(&mut self, tag: Tag, bytes: &[u8]) {
        self.frames.push(&frame(tag, bytes.len()));
        self.frames.push(bytes);
    }
}

/// Shows no part: a client may have written it.
impl fmt::Debug for KeyParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyParts").finish_non_exhaustive()
    }
}

fn frame(tag: Tag, len: usize) -> [u8; FRAME_LEN] {
    let mut frame = [tag as u8; FRAME_LEN];
    let [_, length @ ..] = &mut frame;
    *length = (len as u64).to_be_bytes();
    frame
}

/// The type of a part, so that equal bytes of different types differ.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Tag {
    Text = 1,
    Bytes = 2,
    /// Zero or above.
    Number = 3,
    Ip = 4,
    Absent = 5,
    /// Below zero, without the sign.
    Negative = 6,
}

/// Something that can be a part of a key.
///
/// Implement it for your own identifiers in terms of the types that have it:
///
/// ```
/// use tower_stash::key::{KeyPart, KeyParts};
///
/// struct UserId(u64);
///
/// impl KeyPart for UserId {
///     fn append_to(&self, parts: &mut KeyParts) {
///         self.0.append_to(parts);
///     }
/// }
/// ```
pub trait KeyPart {
    /// Appends this to the parts.
    fn append_to(&self, parts: &mut KeyParts);
}

impl<T: KeyPart + ?Sized> KeyPart for &T {
    fn append_to(&self, parts: &mut KeyParts) {
        (**self).append_to(parts);
    }
}

impl KeyPart for str {
    fn append_to(&self, parts: &mut KeyParts) {
        parts.push_frame(Tag::Text, self.as_bytes());
    }
}

impl KeyPart for String {
    fn append_to(&self, parts: &mut KeyParts) {
        self.as_str().append_to(parts);
    }
}

impl KeyPart for Arc<str> {
    fn append_to(&self, parts: &mut KeyParts) {
        (**self).append_to(parts);
    }
}

impl KeyPart for [u8] {
    fn append_to(&self, parts: &mut KeyParts) {
        parts.push_frame(Tag::Bytes, self);
    }
}

impl<const N: usize> KeyPart for [u8; N] {
    fn append_to(&self, parts: &mut KeyParts) {
        self.as_slice().append_to(parts);
    }
}

impl KeyPart for Vec<u8> {
    fn append_to(&self, parts: &mut KeyParts) {
        self.as_slice().append_to(parts);
    }
}

macro_rules! unsigned {
    ($($integer:ident)+) => {$(
        /// The number, whatever its type: `7_u16` and `7_i64` are one part.
        impl KeyPart for $integer {
            fn append_to(&self, parts: &mut KeyParts) {
                let number = u128::from(*self);
                parts.push_frame(Tag::Number, &number.to_be_bytes());
            }
        }
    )+};
}

macro_rules! signed {
    ($($integer:ident)+) => {$(
        /// The number, whatever its type: `7_i64` and `7_u16` are one part, -1 and `u64::MAX` two.
        impl KeyPart for $integer {
            fn append_to(&self, parts: &mut KeyParts) {
                let tag = if *self < 0 { Tag::Negative } else { Tag::Number };
                let number = u128::from(self.unsigned_abs());
                parts.push_frame(tag, &number.to_be_bytes());
            }
        }
    )+};
}

unsigned!(u16 u32 u64 u128);
signed!(i32 i64);

/// The number, whatever its type: `7_usize` and `7_u16` are one part.
impl KeyPart for usize {
    fn append_to(&self, parts: &mut KeyParts) {
        (*self as u64).append_to(parts);
    }
}

/// The address as it stands: an IPv4 address and the IPv6 address that maps it are two parts.
impl KeyPart for IpAddr {
    fn append_to(&self, parts: &mut KeyParts) {
        match self {
            Self::V4(v4) => parts.push_frame(Tag::Ip, &v4.octets()),
            Self::V6(v6) => parts.push_frame(Tag::Ip, &v6.octets()),
        }
    }
}

macro_rules! tuple {
    ($($part:ident)+) => {
        /// All of them, one after the other.
        impl<$($part: KeyPart),+> KeyPart for ($($part,)+) {
            #[expect(non_snake_case, reason = "each element is named as its type")]
            fn append_to(&self, parts: &mut KeyParts) {
                let ($($part,)+) = self;
                $($part.append_to(parts);)+
            }
        }
    };
}

tuple!(A B);
tuple!(A B C);
tuple!(A B C D);

/// `None` is a part of its own, different from every `Some`.
impl<T: KeyPart> KeyPart for Option<T> {
    fn append_to(&self, parts: &mut KeyParts) {
        match self {
            Some(part) => part.append_to(parts),
            None => parts.push_frame(Tag::Absent, &[]),
        }
    }
}

/// Of what goes before a part: its type and its length.
const FRAME_LEN: usize = 1 + size_of::<u64>();
