//! Whose counters, said by a program.

use std::fmt;

use crate::key::{KeyPart, KeyParts};

/// Whose counters they are, given by a program rather than by a request.
///
/// It is made from the value that the rule's extractor finds in the requests of that subject, of the
/// same type or of one that is the same part of a key:
///
/// | the rule's subject | what to make it from |
/// |---|---|
/// | [`header(..)`](super::header), [`cookie(..)`](super::cookie) | the value as it is sent, as text (`&str`, `String`); as `[u8]` if it is not UTF-8 |
/// | [`extension::<T>()`](super::extension) | the `T` |
/// | [`peer_ip()`](super::peer_ip), [`client_ip(..)`](super::client_ip) | [`ClientAddr(ip)`](super::ClientAddr) |
/// | `matched_path()` | `Some("/users/{id}")`, and `None::<&str>` for no route |
/// | a closure | what it returns in `Some` |
/// | a tuple of these | the tuple of their values |
/// | [`or_shared()`](super::KeyExtractor::or_shared), for requests that do not tell | [`SubjectId::shared()`] |
///
/// ```
/// use tower_stash::policy::{KeyExtractor as _, SubjectId, cookie, header};
///
/// let subject = (header("x-tenant"), cookie("sid")).or_shared();
/// let request = http::Request::get("/").header("x-tenant", "acme").header("cookie", "sid=7f");
/// let (request, ()) = request.body(()).unwrap().into_parts();
/// assert_eq!(subject.identify(&request), Some(SubjectId::from(("acme", "7f"))));
///
/// let (nobody, ()) = http::Request::get("/").body(()).unwrap().into_parts();
/// assert_eq!(subject.identify(&nobody), Some(SubjectId::shared()));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SubjectId {
    parts: KeyParts,
}

impl SubjectId {
    /// All requests that do not tell whose they are, under a rule whose subject is
    /// [`or_shared`](super::KeyExtractor::or_shared).
    #[must_use]
    pub fn shared() -> Self {
        Self::resolved(KeyParts::new().with(SHARED))
    }

    /// The subject that [`Subject::resolve`](super::Subject::resolve) appended to an empty key.
    pub(super) fn resolved(parts: KeyParts) -> Self {
        Self { parts }
    }

    /// Appends to the key what [`Subject::resolve`](super::Subject::resolve) appends for a request of
    /// this subject.
    pub fn append_to_key(&self, key: &mut KeyParts) {
        key.extend(&self.parts);
    }
}

impl<T: KeyPart> From<T> for SubjectId {
    fn from(part: T) -> Self {
        Self::resolved(KeyParts::new().with(KNOWN).with(part))
    }
}

/// Shows nothing of it: a client may have written it.
impl fmt::Debug for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectId").finish_non_exhaustive()
    }
}

/// Begins the parts of a subject that was found, which may be any parts at all; so no such list of
/// parts equals the one of [`SHARED`].
pub(super) const KNOWN: Option<&str> = Some("");

/// Stands for all requests that do not tell.
pub(super) const SHARED: Option<&str> = None;
