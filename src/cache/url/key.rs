//! The keys under which something of a URL is stored.
//!
//! All are digests of framed parts, the first of which says what is digested; so no two things have
//! one key, and nothing of a request stands in the store.

use http::request::Parts;

use super::{Origin, Target};
use crate::{
    cache::{
        rule::{NamedPart, Shape},
        stamps::Tag,
    },
    clock::Timestamp,
    key::{Digest, Digester, Key, KeyPart, KeyParts, Kind},
};

/// Under which names something is stored, and how it is told from what has the same names by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) struct Address {
    digest: Digest,
    check: Digest,
}

/// What stands for a URL; or for a value of the program's, which has no URL, and no variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) struct UrlKey(Address);

/// What stands for one of several responses of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) struct VariantKey(Address);

/// A name by which stored responses are purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum TagName<'a> {
    /// All that is stored.
    All,
    /// A tag that the program gave.
    Plain(&'a [u8]),
    /// A group of one origin (RFC 9875 §2): that of another origin has nothing to do with it.
    Group { origin: Origin<'a>, name: &'a [u8] },
}

impl UrlKey {
    pub(in crate::cache) fn of(target: &Target<'_>, digester: &Digester) -> Self {
        let parts = KeyParts::new()
            .with("url")
            .with(target.scheme.as_str())
            .with(&*target.host)
            .with(target.path)
            .with(target.query.as_deref());
        Self(Address::of(&parts, digester))
    }

    /// The same of requests that are told apart by their messages as well, such as gRPC calls; and by
    /// the form of these, in as many parts for all of them.
    pub(in crate::cache) fn with_message(
        self,
        form: &KeyParts,
        message: &[u8],
        digester: &Digester,
    ) -> Self {
        let mut parts = KeyParts::new().with("message");
        self.0.append_to(&mut parts);
        parts.extend(form);
        parts.push(message);
        Self(Address::of(&parts, digester))
    }

    /// What stands for the value of this identifier, among those of one name and form.
    pub(in crate::cache) fn of_value(
        name: &str,
        version: u32,
        id: impl KeyPart,
        digester: &Digester,
    ) -> Self {
        let parts = KeyParts::new()
            .with("value")
            .with(name)
            .with(version)
            .with(id);
        Self(Address::of(&parts, digester))
    }

    /// Where the response is, or the head, or a tombstone.
    pub(in crate::cache) fn page(&self) -> Key {
        page_key(self.0.digest)
    }

    /// By which [`page_key`] names its page.
    pub(in crate::cache) fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Where the lease is of who fetches it.
    pub(in crate::cache) fn lease(&self) -> Key {
        Key::new(Kind::FILL, self.0.digest)
    }

    /// What its records say of whose they are.
    pub(in crate::cache) fn check(&self) -> Digest {
        self.0.check
    }
}

impl VariantKey {
    /// The one of these names and values, which must be framed so that different ones are never the
    /// same parts.
    pub(in crate::cache) fn of(
        url: &UrlKey,
        generation: Timestamp,
        chosen: &KeyParts,
        digester: &Digester,
    ) -> Self {
        let mut parts = KeyParts::new().with("variant");
        url.0.append_to(&mut parts);
        parts.push(generation.as_micros());
        parts.extend(chosen);
        Self(Address::of(&parts, digester))
    }

    /// Where the response is.
    pub(in crate::cache) fn page(&self) -> Key {
        Key::new(Kind::VARIANT, self.0.digest)
    }

    /// Where the lease is of who fetches it.
    pub(in crate::cache) fn lease(&self) -> Key {
        Key::new(Kind::FILL, self.0.digest)
    }

    /// What its record says of whose it is.
    pub(in crate::cache) fn check(&self) -> Digest {
        self.0.check
    }
}

impl Address {
    fn of(parts: &KeyParts, digester: &Digester) -> Self {
        let (digest, check) = digester.digest_and_check(parts);
        Self { digest, check }
    }

    fn append_to(&self, parts: &mut KeyParts) {
        parts.push(*self.digest.as_bytes());
        parts.push(*self.check.as_bytes());
    }
}

/// Appends what the rule's parts find in the request, each under its name.
pub(in crate::cache) fn push_named_parts(
    named: &[NamedPart],
    request: &Parts,
    chosen: &mut KeyParts,
) {
    for NamedPart { name, extractor } in named {
        chosen.push(&**name);
        let start = chosen.len();
        // That something was found is a part too: what was found may itself be "nothing".
        chosen.push(FOUND);
        if extractor.extract(request, chosen).is_none() {
            chosen.truncate(start);
            chosen.push(None::<u64>);
        }
    }
}

/// What tells rules apart that choose by different parts of requests; zero for those that choose by
/// none. It changes with the parts' order, so a rule computes it once.
pub(in crate::cache) fn shape_id(shape: &Shape) -> u64 {
    if shape.key_parts.is_empty() {
        return 0;
    }
    let mut parts = KeyParts::new().with("shape");
    for part in &shape.key_parts {
        parts.push(&*part.name);
    }
    // Not under a secret: the names are the program's own.
    Digester::default().digest(&parts).short()
}

/// What stands for a tag, in entries and in the journal.
pub(in crate::cache) fn tag_digest(tag: &TagName<'_>, digester: &Digester) -> Tag {
    let parts = match tag {
        TagName::All => KeyParts::new().with("all"),
        TagName::Plain(name) => KeyParts::new().with("tag").with(*name),
        TagName::Group { origin, name } => KeyParts::new()
            .with("group")
            .with(origin.scheme.as_str())
            .with(origin.host)
            .with(*name),
    };
    Tag(*digester.digest(&parts).as_bytes())
}

/// Where the response, head or tombstone of a URL is.
pub(in crate::cache) fn page_key(digest: Digest) -> Key {
    Key::new(Kind::PAGE, digest)
}

/// Where the stamp of a tag is.
pub(in crate::cache) fn tag_key(tag: Tag) -> Key {
    Key::new(Kind::TAG, Digest::from_bytes(tag.0))
}

/// Where the journal is.
pub(in crate::cache) fn journal_key(digester: &Digester) -> Key {
    let parts = KeyParts::new().with("journal");
    Key::new(Kind::JOURNAL, digester.digest(&parts))
}

const FOUND: u64 = 1;
