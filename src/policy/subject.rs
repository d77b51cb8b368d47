//! Whose request it is, once it is said what happens when the request does not tell.

use std::{fmt, sync::Arc};

use http::request::Parts;

use super::{
    KeyExtractor,
    subject_id::{KNOWN, SHARED, SubjectId},
};
use crate::{
    error::ConfigError,
    key::{KeyPart as _, KeyParts},
};

/// Whose request it is, and what happens when the request does not tell; cheap to clone.
///
/// It is made by [`or_skip`](KeyExtractor::or_skip), [`or_reject`](KeyExtractor::or_reject) or
/// [`or_shared`](KeyExtractor::or_shared).
#[derive(Clone)]
pub struct Subject {
    extractor: Arc<dyn KeyExtractor>,
    missing: Missing,
}

/// What a layer is to do with a request, as far as its [`Subject`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// Go on: the subject has been appended to the key.
    Key,
    /// Let the request through as if it had no rule.
    Skip,
    /// Answer with 400.
    Reject,
}

/// What happens to a request that does not tell whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Missing {
    Skip,
    Reject,
    Shared,
}

impl Subject {
    pub(super) fn new(extractor: impl KeyExtractor, missing: Missing) -> Self {
        Self {
            extractor: Arc::new(extractor),
            missing,
        }
    }

    /// Appends the subject of this request to the key, or leaves the key as it is.
    pub fn resolve(&self, parts: &Parts, key: &mut KeyParts) -> Resolved {
        let before = key.len();
        KNOWN.append_to(key);
        if self.extractor.extract(parts, key).is_some() {
            return Resolved::Key;
        }
        key.truncate(before);
        match self.missing {
            Missing::Skip => Resolved::Skip,
            Missing::Reject => Resolved::Reject,
            Missing::Shared => {
                SHARED.append_to(key);
                Resolved::Key
            }
        }
    }

    /// Whose this request is; `None` if it does not tell, and those that do not are no subject.
    #[must_use]
    pub fn identify(&self, parts: &Parts) -> Option<SubjectId> {
        let mut key = KeyParts::new();
        let resolved = self.resolve(parts, &mut key);
        (resolved == Resolved::Key).then(|| SubjectId::resolved(key))
    }

    /// Whether requests that do not tell pass as if they had no rule.
    #[cfg(feature = "idempotency")]
    pub(crate) fn may_skip(&self) -> bool {
        matches!(self.missing, Missing::Skip)
    }

    /// Mistakes that were noticed when the extractor was made.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.extractor.check()
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        header,
        testing::{key, request},
    };
    use super::*;

    #[test]
    fn a_missing_key_does_what_was_chosen() {
        let nothing = request(&[]);
        let resolve = |subject: Subject| subject.resolve(&nothing, &mut KeyParts::new());
        assert_eq!(resolve(header("a").or_skip()), Resolved::Skip);
        assert_eq!(resolve(header("a").or_reject()), Resolved::Reject);
        assert_eq!(resolve(header("a").or_shared()), Resolved::Key);
    }

    /// Appends nothing, which no extractor here does.
    struct Nothing;

    impl KeyExtractor for Nothing {
        fn extract(&self, parts: &Parts, _: &mut KeyParts) -> Option<()> {
            parts.headers.get("a").map(|_| ())
        }
    }

    #[test]
    fn the_shared_subject_is_no_other() {
        let told = |parts: &Parts| parts.headers.get("a").map(|_| None::<&'static str>);
        let subject = told.or_shared();
        let shared = key(&subject, &request(&[]));
        assert_ne!(shared, key(&subject, &request(&[("a", b"b")])));

        let subject = Nothing.or_shared();
        assert_eq!(shared, key(&subject, &request(&[])));
        assert_ne!(shared, key(&subject, &request(&[("a", b"b")])));
    }
}
