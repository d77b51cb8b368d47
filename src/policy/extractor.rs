//! What reads out of a request whose it is.

use http::request::Parts;

use super::{
    condition::IsOneOf,
    subject::{Missing, Subject},
};
use crate::{
    error::ConfigError,
    key::{KeyPart, KeyParts},
};

/// Reads out of a request whose it is.
///
/// Closures that return `Option` of an owned [`KeyPart`] are extractors, and so are tuples of two
/// to four extractors, which find nothing as soon as one of them does:
///
/// ```
/// use tower_stash::policy::{KeyExtractor, header, peer_ip};
///
/// let tenant = |parts: &http::request::Parts| {
///     let (tenant, _) = parts.uri.host()?.split_once('.')?;
///     Some(tenant.to_owned())
/// };
/// let subject = (tenant, header("x-api-key"), peer_ip()).or_reject();
/// ```
pub trait KeyExtractor: Send + Sync + 'static {
    /// Appends to the key what identifies the request, always as many parts; or returns `None` if
    /// the request does not tell. What was appended before `None` is forgotten.
    fn extract(&self, parts: &Parts, key: &mut KeyParts) -> Option<()>;

    /// Mistakes that were noticed when this extractor was made. A layer's constructor asks.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write instead.
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Holds for requests in which this finds one of these values, as for an allow list or a deny
    /// list of API keys. Each is written as in a [`SubjectId`](super::SubjectId) of this extractor.
    ///
    /// It holds for no request that does not tell. For addresses there are
    /// [`PeerIp::is_within`](super::PeerIp::is_within) and
    /// [`ClientIp::is_within`](super::ClientIp::is_within), which compare them in full.
    #[expect(
        clippy::wrong_self_convention,
        reason = "the extractor becomes a part of the claim"
    )]
    fn is_one_of<I>(self, values: I) -> IsOneOf<Self>
    where
        I: IntoIterator<Item: KeyPart>,
        Self: Sized,
    {
        IsOneOf::new(self, values)
    }

    /// A request that does not tell is let through as if it had no rule.
    ///
    /// Whoever can choose not to tell, for example by leaving out a header, is free of the rule.
    fn or_skip(self) -> Subject
    where
        Self: Sized,
    {
        Subject::new(self, Missing::Skip)
    }

    /// A request that does not tell is answered with 400.
    fn or_reject(self) -> Subject
    where
        Self: Sized,
    {
        Subject::new(self, Missing::Reject)
    }

    /// All requests that do not tell count as one subject, different from every other.
    fn or_shared(self) -> Subject
    where
        Self: Sized,
    {
        Subject::new(self, Missing::Shared)
    }
}

impl<K: KeyPart, F> KeyExtractor for F
where
    F: Fn(&Parts) -> Option<K> + Send + Sync + 'static,
{
    fn extract(&self, parts: &Parts, key: &mut KeyParts) -> Option<()> {
        key.push(self(parts)?);
        Some(())
    }
}

macro_rules! tuple {
    ($($extractor:ident)+) => {
        /// All of them, one after the other; missing if one is.
        impl<$($extractor: KeyExtractor),+> KeyExtractor for ($($extractor,)+) {
            #[expect(non_snake_case, reason = "each element is named as its type")]
            fn extract(&self, parts: &Parts, key: &mut KeyParts) -> Option<()> {
                let ($($extractor,)+) = self;
                $($extractor.extract(parts, key)?;)+
                Some(())
            }

            #[expect(non_snake_case, reason = "each element is named as its type")]
            fn check(&self) -> Result<(), ConfigError> {
                let ($($extractor,)+) = self;
                $($extractor.check()?;)+
                Ok(())
            }
        }
    };
}

tuple!(A B);
tuple!(A B C);
tuple!(A B C D);

#[cfg(test)]
mod tests {
    use super::super::{
        Resolved, cookie, header,
        testing::{key, missing, request},
    };
    use super::*;
    use crate::key::Key;
    use proptest::prelude::*;

    #[test]
    fn a_tuple_is_missing_if_one_element_is() {
        let only_a = request(&[("a", b"1")]);
        assert!(missing((header("a"), header("b")), &only_a));
        assert!(missing((header("b"), header("a")), &only_a));
        let both = request(&[("a", b"1"), ("b", b"2")]);
        assert!(!missing((header("a"), header("b")), &both));
        let swapped = request(&[("a", b"2"), ("b", b"1")]);
        let subject = (header("a"), header("b")).or_skip();
        assert_ne!(key(&subject, &both), key(&subject, &swapped));
    }

    /// What a header may carry: everything but control characters.
    fn header_bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff, Just(b'\t')];
        proptest::collection::vec(byte, 1..24)
    }

    proptest! {
        /// P22.
        #[test]
        fn different_headers_are_different_subjects(
            a in header_bytes(), b in header_bytes(), c in header_bytes(), d in header_bytes(),
        ) {
            let subject = (header("a"), header("b")).or_shared();
            let one = key(&subject, &request(&[("a", &a), ("b", &b)]));
            let two = key(&subject, &request(&[("a", &c), ("b", &d)]));
            prop_assert_eq!(one == two, (a, b) == (c, d));
        }

        /// P22.
        #[test]
        fn no_byte_moves_from_one_value_to_the_next(bytes in header_bytes(), i in 1..24_usize, j in 1..24_usize) {
            prop_assume!(i < bytes.len() && j < bytes.len());
            let subject = (header("a"), cookie("b")).or_skip();
            let cut = |at| {
                let (a, b) = bytes.split_at(at);
                let b = [b"b=", b].concat();
                let mut key = KeyParts::new();
                let resolved = subject.resolve(&request(&[("a", a), ("cookie", &b)]), &mut key);
                (resolved == Resolved::Key).then(|| Key::custom("test", &key))
            };
            if let Some((one, two)) = cut(i).zip(cut(j)) {
                prop_assert_eq!(one == two, i == j);
            }
        }
    }
}
