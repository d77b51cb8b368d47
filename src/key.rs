//! The names under which a backend stores things.
//!
//! A [`Key`] is short ASCII text: what kind of record it is, then digests. Nothing that a user or a
//! client wrote is readable in it, none of them can choose its length or its Cluster slot, and
//! different [`KeyParts`] never make the same key:
//!
//! ```text
//! q1:{8PwDkUuAe1oV0JYq6gcXnA}
//! ││  └ digest of the subject: keyed BLAKE3, 128 bits, base64url; the Cluster hash tag
//! │└ format of the record
//! └ kind of record
//! ```
//!
//! A backend puts its own namespace in front (`stash:` on Redis).

use std::{fmt, net::IpAddr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The name of one stored thing; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// A key of your own, for using a backend's capabilities outside the layers: `family` says what
    /// is stored, `parts` which one.
    ///
    /// It never meets a key of a layer, and two families never meet each other.
    ///
    /// ```
    /// use tower_stash::key::{Key, KeyParts};
    ///
    /// let invoice = Key::custom("invoice-lock", &KeyParts::new().with("acme").with(4711_u64));
    /// assert!(invoice.as_str().starts_with("u1:{"));
    /// assert_ne!(invoice, Key::custom("invoice-lock", &KeyParts::new().with("acme4711")));
    /// ```
    #[must_use]
    pub fn custom(family: &str, parts: &KeyParts) -> Self {
        let mut framed = KeyParts::new();
        framed.push(family);
        framed.frames.extend_from_slice(&parts.frames);
        Self::new(Kind::CUSTOM, Digester::default().digest(&framed))
    }

    /// The key of the record of this kind that belongs to what was digested.
    pub(crate) fn new(kind: Kind, subject: Digest) -> Self {
        let mut text = String::with_capacity(kind.0.len() + 3 + Digest::TEXT_LEN);
        text.push_str(kind.0);
        text.push_str(":{");
        subject.push_text(&mut text);
        text.push('}');
        Self(text.into())
    }

    /// The key as text, without a backend's namespace.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key names, and the format of the record under it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind(&'static str);

impl Kind {
    /// Counters of one subject.
    #[cfg(feature = "rate-limit")]
    pub(crate) const QUOTA: Self = Self("q1");
    /// Something of the user's own.
    pub(crate) const CUSTOM: Self = Self("u1");
}

/// The typed parts that a key is made of, in order: `("10.0.0.1")` and `("10.0", ".0.1")` differ, and
/// so do the number 7 and the text `"7"`. Integers are told apart by their value, not by their type.
#[derive(Clone, Debug, Default)]
pub struct KeyParts {
    /// Each part as type byte, length (u64, big-endian), bytes: no two lists of parts look alike.
    frames: Vec<u8>,
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

    /// How much has been written, to come back to with [`truncate`](Self::truncate).
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Forgets what was appended since [`len`](Self::len) said this.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.frames.truncate(len);
    }

    fn push_frame(&mut self, tag: Tag, bytes: &[u8]) {
        self.frames.reserve(1 + size_of::<u64>() + bytes.len());
        self.frames.push(tag as u8);
        self.frames
            .extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.frames.extend_from_slice(bytes);
    }
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

/// Both, one after the other.
impl<A: KeyPart, B: KeyPart> KeyPart for (A, B) {
    fn append_to(&self, parts: &mut KeyParts) {
        self.0.append_to(parts);
        self.1.append_to(parts);
    }
}

/// `None` is a part of its own, different from every `Some`.
impl<T: KeyPart> KeyPart for Option<T> {
    fn append_to(&self, parts: &mut KeyParts) {
        match self {
            Some(part) => part.append_to(parts),
            None => parts.push_frame(Tag::Absent, &[]),
        }
    }
}

/// Turns parts into digests, under a key of its own.
///
/// With the default key anyone can compute the digest of a guess, so who reads the store can test
/// whether a given address is in it, and who picks identifiers freely can look for one in a given
/// Cluster slot. With a secret neither works.
#[derive(Clone)]
pub(crate) struct Digester {
    key: [u8; blake3::KEY_LEN],
}

impl Digester {
    /// Digests under this secret, which all instances must share.
    pub(crate) fn with_secret(secret: &[u8]) -> Self {
        Self {
            key: blake3::derive_key("tower-stash 2026 key digest v1", secret),
        }
    }

    pub(crate) fn digest(&self, parts: &KeyParts) -> Digest {
        let mut digest = [0; Digest::LEN];
        let hash = blake3::keyed_hash(&self.key, &parts.frames);
        for (to, from) in digest.iter_mut().zip(hash.as_bytes()) {
            *to = *from;
        }
        Digest(digest)
    }
}

impl Default for Digester {
    fn default() -> Self {
        Self::with_secret(b"")
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digester").finish_non_exhaustive()
    }
}

/// 128 bits that stand for some parts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; Self::LEN]);

impl Digest {
    const LEN: usize = 16;
    /// Length in base64url without padding.
    const TEXT_LEN: usize = 22;

    /// Appends the digest as base64url.
    fn push_text(self, text: &mut String) {
        URL_SAFE_NO_PAD.encode_string(self.0, text);
    }

    /// The first 64 bits, where few things need telling apart.
    pub(crate) fn short(self) -> u64 {
        self.0
            .iter()
            .take(8)
            .fold(0, |short, byte| (short << 8) | u64::from(*byte))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.push_text(&mut text);
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(parts: &KeyParts) -> Key {
        Key::custom("test", parts)
    }

    #[test]
    fn moving_a_byte_between_parts_changes_the_key() {
        assert_ne!(
            key(&KeyParts::new().with("ab").with("c")),
            key(&KeyParts::new().with("a").with("bc"))
        );
    }

    #[test]
    fn equal_bytes_of_different_types_make_different_keys() {
        assert_ne!(
            key(&KeyParts::new().with("a")),
            key(&KeyParts::new().with([b'a']))
        );
        assert_ne!(
            key(&KeyParts::new().with(None::<&str>)),
            key(&KeyParts::new().with(""))
        );
    }

    #[test]
    fn one_value_makes_one_key_whatever_its_type() {
        let seven = key(&KeyParts::new().with(7_u64));
        assert_eq!(key(&KeyParts::new().with(7_u16)), seven);
        assert_eq!(key(&KeyParts::new().with(7_u32)), seven);
        assert_eq!(key(&KeyParts::new().with(7_u128)), seven);
        assert_eq!(key(&KeyParts::new().with(7_usize)), seven);
        assert_eq!(key(&KeyParts::new().with(7_i32)), seven);
        assert_eq!(key(&KeyParts::new().with(7_i64)), seven);
        assert_eq!(
            key(&KeyParts::new().with(-7_i32)),
            key(&KeyParts::new().with(-7_i64))
        );
    }

    #[test]
    fn a_negative_number_is_no_other_of_equal_bits() {
        let minus_one = key(&KeyParts::new().with(-1_i64));
        assert_ne!(minus_one, key(&KeyParts::new().with(1_i64)));
        assert_ne!(minus_one, key(&KeyParts::new().with(u64::MAX)));
        assert_ne!(minus_one, key(&KeyParts::new().with(u128::MAX)));
        assert_ne!(
            key(&KeyParts::new().with(i64::MIN)),
            key(&KeyParts::new().with(1_u64 << 63))
        );
    }

    proptest! {
        #[test]
        fn two_numbers_have_two_keys(a in any::<i64>(), near in -2..3_i64) {
            for b in [a.wrapping_add(near), a.wrapping_neg()] {
                let same = key(&KeyParts::new().with(a)) == key(&KeyParts::new().with(b));
                prop_assert_eq!(same, a == b);
            }
            let bits = key(&KeyParts::new().with(a.cast_unsigned()));
            prop_assert_eq!(key(&KeyParts::new().with(a)) == bits, a >= 0);
        }
    }

    #[test]
    fn a_family_cannot_be_forged_by_a_part() {
        let nested = KeyParts::new().with("b").with("c");
        assert_ne!(
            Key::custom("a", &nested),
            Key::custom("ab", &KeyParts::new().with("c"))
        );
    }

    #[test]
    fn a_secret_changes_every_digest() {
        let parts = KeyParts::new().with("192.0.2.1");
        assert_ne!(
            Digester::default().digest(&parts),
            Digester::with_secret(b"pepper").digest(&parts)
        );
    }

    #[test]
    fn hostile_text_never_reaches_the_key() {
        let hostile = KeyParts::new().with("}{a}\r\nDEL *\0");
        let text = key(&hostile).as_str().to_owned();
        assert_eq!(text.len(), "u1:{}".len() + Digest::TEXT_LEN);
        let digest = &text["u1:{".len()..text.len() - 1];
        assert!(
            digest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
    }
}
