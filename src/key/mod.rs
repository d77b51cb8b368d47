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

mod digest;
mod frames;
mod parts;

use std::fmt;

pub(crate) use self::digest::{Digest, Digester, name_id};
pub use self::parts::{KeyPart, KeyParts};

/// The name of one stored thing; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Nothing but ASCII.
    text: [u8; Self::LEN],
}

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
        framed.extend(parts);
        Self::new(Kind::CUSTOM, Digester::default().digest(&framed))
    }

    /// The key of the record of this kind that belongs to what was digested.
    pub(crate) fn new(kind: Kind, subject: Digest) -> Self {
        let mut text = *b"kf:{......................}";
        let [name, format, _, _, digest @ .., _] = &mut text;
        [*name, *format] = *kind.0;
        *digest = subject.text();
        Self { text }
    }

    /// The key as text, without a backend's namespace.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.text).unwrap_or_default()
    }

    /// How long the text of each key is.
    pub(crate) const LEN: usize = "kf:{}".len() + Digest::TEXT_LEN;
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a key names, and the format of the record under it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind(&'static [u8; 2]);

impl Kind {
    /// Counters of one subject.
    #[cfg(feature = "rate-limit")]
    pub(crate) const QUOTA: Self = Self(b"q1");
    /// A session.
    #[cfg(feature = "session")]
    pub(crate) const SESSION: Self = Self(b"s1");
    /// The sessions of one user.
    #[cfg(feature = "session")]
    pub(crate) const USER_INDEX: Self = Self(b"i1");
    /// When a user was last logged out everywhere.
    #[cfg(feature = "session")]
    pub(crate) const USER_EPOCH: Self = Self(b"e1");
    /// What became of the request with one idempotency key.
    #[cfg(feature = "idempotency")]
    pub(crate) const EXECUTION: Self = Self(b"x1");
    /// A lease that a program takes by name.
    #[cfg(feature = "idempotency")]
    pub(crate) const LEASE: Self = Self(b"l1");
    /// What is stored of a URL, or of a value of the program's: a response, by which headers one of several is chosen, or that it
    /// was purged.
    #[cfg(feature = "cache")]
    pub(crate) const PAGE: Self = Self(b"p1");
    /// One of several responses of a URL.
    #[cfg(feature = "cache")]
    pub(crate) const VARIANT: Self = Self(b"v1");
    /// Who fetches a response.
    #[cfg(feature = "cache")]
    pub(crate) const FILL: Self = Self(b"f1");
    /// When a tag was purged.
    #[cfg(feature = "cache")]
    pub(crate) const TAG: Self = Self(b"t1");
    /// The latest purges.
    #[cfg(feature = "cache")]
    pub(crate) const JOURNAL: Self = Self(b"j1");
    /// Something of the user's own.
    pub(crate) const CUSTOM: Self = Self(b"u1");
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
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

    /// What is stored is found again only if this stays as it is.
    #[test]
    fn a_key_is_made_as_the_format_says() {
        let framed =
            b"\x01\0\0\0\0\0\0\0\x04test\x03\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07";
        let secret = blake3::derive_key("tower-stash 2026 key digest v1", b"");
        let hash = blake3::keyed_hash(&secret, framed);
        let digest = URL_SAFE_NO_PAD.encode(&hash.as_bytes()[..16]);
        let seven = key(&KeyParts::new().with(7_u64));
        assert_eq!(seven.as_str(), format!("u1:{{{digest}}}"));
        assert_eq!(format!("{seven:?}"), seven.as_str());
    }

    #[test]
    fn making_a_key_of_ordinary_parts_allocates_nothing() {
        let name = "3f0b6cc8-5f3e-4d2c-9a57-1e8c7d9c2b11";
        let counted = allocation_counter::measure(|| {
            std::hint::black_box(key(&KeyParts::new().with("api").with(name)));
        });
        assert_eq!(counted.count_total, 0);
    }

    #[test]
    fn a_tail_is_one_more_part_of_bytes() {
        let digester = Digester::with_secret(b"pepper");
        let parts = KeyParts::new().with("api").with(7_u64);
        for tail in [&b""[..], b"tail", &[0xFF; 5_000]] {
            let copied = digester.hash(&parts.clone().with(tail));
            assert_eq!(digester.hash_with_tail(&parts, tail), copied);
        }
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
        assert_eq!(text.len(), Key::LEN);
        let digest = &text["u1:{".len()..text.len() - 1];
        assert!(
            digest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
    }
}
