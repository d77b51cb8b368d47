//! What would become of a request, for people.

mod words;

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, Method, StatusCode, request::Parts};

pub use self::words::{Reason, Verdict};
use super::{
    CacheRule,
    ask::Ask,
    call::Call,
    case::{Case, Use},
    engine::{Found, Held, Mark, Page, Place, Standing},
    record::Flag,
    shared::Shared,
    url::UrlKey,
};
use crate::{backend::BackendError, clock::Timestamp};

/// What would become of a request now; made by [`CacheLayer::explain`](super::CacheLayer::explain).
///
/// It prints as a few lines of text, and shows nothing that a client sent or a handler answered but
/// the names of headers that choose between responses.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The name of the rule; `None` if none is for the request.
    pub rule: Option<Arc<str>>,
    /// The names of the parts of its key that choose between responses besides the URL.
    pub key_parts: Vec<Box<str>>,
    /// Where the response belongs; `None` if the request is not looked up.
    pub place: Option<PlaceExplanation>,
    /// What is stored there.
    pub entry: Option<EntryExplanation>,
    /// What would become of the request.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Why the backend did not answer, if it did not.
    pub error: Option<BackendError>,
}

/// Where the response to a request belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlaceExplanation {
    /// Its key in the backend, without its namespace.
    pub key: String,
    /// The headers of requests that choose between several responses of the URL; `None` where there
    /// is one only.
    pub varies: Option<Vec<HeaderName>>,
    /// Whether what this process fetched within the last second could not be stored: then all fetch,
    /// and none waits.
    pub is_unstorable: bool,
}

/// A stored response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryExplanation {
    /// Its status.
    pub status: StatusCode,
    /// How old it is.
    pub age: Duration,
    /// How old it may be to be fresh.
    pub lifetime: Duration,
    /// For how long after that it may be given while a new one is fetched.
    pub while_revalidate: Duration,
    /// For how long after that it may stand in for an error.
    pub if_error: Duration,
    /// When the fetch began that made its body, by the backend's clock. What was purged after that
    /// does away with it.
    pub born: Timestamp,
    /// When the request began that last said that it still holds; else `born`.
    pub checked: Timestamp,
    /// How many tags it has.
    pub tags: usize,
    /// How many bytes its body takes in the store.
    pub stored_bytes: usize,
    /// Whether that is compressed.
    pub is_compressed: bool,
}

impl Explanation {
    /// Looks, and touches nothing.
    pub(super) async fn of(shared: &Arc<Shared>, request: &Parts) -> Self {
        let mut request = request.clone();
        match Call::of(shared, &mut request, false) {
            Call::Pass => Self::new(None, Verdict::Passes, why_passed(&request.method)),
            Call::Bypass(rule, bypass) => {
                Self::new(Some(&rule), Verdict::Passes, Reason::Bypass(bypass))
            }
            Call::Ask(rule, _) => Self::new(Some(&rule), Verdict::Unknown, Reason::Message),
            Call::Change(rule) => Self::new(Some(&rule), Verdict::Invalidates, Reason::Method),
            Call::Look(rule, url) => Self::of_look(shared, rule, url, request).await,
        }
    }

    fn new(rule: Option<&CacheRule>, verdict: Verdict, reason: Reason) -> Self {
        let key_parts = rule.map_or(&[][..], |rule| &rule.shape().key_parts);
        Self {
            rule: rule.map(|rule| Arc::clone(&rule.shape().name)),
            key_parts: key_parts.iter().map(|part| part.name.clone()).collect(),
            place: None,
            entry: None,
            verdict,
            reason,
            error: None,
        }
    }

    async fn of_look(shared: &Arc<Shared>, rule: CacheRule, url: UrlKey, request: Parts) -> Self {
        let core = &shared.core;
        let ask = Ask::new(rule.clone(), url, request, &core.digester);
        let case = Case {
            shared: Arc::clone(shared),
            ask: Arc::new(ask),
            has_client: false,
        };
        let found = match core.look(&*case.ask, &shared.settings).await {
            Ok(found) => found,
            Err(error) => {
                return Self {
                    error: Some(error),
                    ..Self::new(Some(&rule), Verdict::Unknown, Reason::Backend)
                };
            }
        };
        let (verdict, reason) = judged(&case, &found);
        let lease = found.place.lease();
        Self {
            place: Some(PlaceExplanation {
                key: found.place.page().as_str().to_owned(),
                varies: match &found.place {
                    Place::Url(_) => None,
                    Place::Variant { head, .. } => Some(head.headers.clone()),
                },
                is_unstorable: core.marks.find(&lease) == Some(Mark::Pass),
            }),
            entry: found.held.map(|held| EntryExplanation::of(&case, &held)),
            ..Self::new(Some(&rule), verdict, reason)
        }
    }
}

impl EntryExplanation {
    fn of(case: &Case, held: &Held) -> Self {
        let entry = &held.entry;
        Self {
            status: entry.status,
            age: case.age(held),
            lifetime: entry.lifetime,
            while_revalidate: entry.while_revalidate,
            if_error: entry.if_error,
            born: entry.born,
            checked: entry.checked,
            tags: entry.tags.as_slice().len(),
            stored_bytes: held.body.len(),
            is_compressed: held.is_packed(),
        }
    }
}

fn why_passed(method: &Method) -> Reason {
    if method == Method::GET || method == Method::HEAD || method == Method::POST {
        return Reason::NoRule;
    }
    Reason::Method
}

/// As [`Visit`](super::visit::Visit) does it.
fn judged(case: &Case, found: &Found) -> (Verdict, Reason) {
    let (verdict, reason) = match case.judge(found) {
        Use::Serve { ttl, .. } if ttl >= 0 => return (Verdict::Hit, Reason::Fresh),
        Use::Serve { refreshes, .. } => {
            let reason = if refreshes {
                Reason::WhileRevalidate
            } else {
                Reason::MaxStale
            };
            return (Verdict::Stale, reason);
        }
        _ if case.ask.directives.only_if_cached => {
            return (Verdict::Refuses, Reason::OnlyIfCached);
        }
        Use::Pass(bypass) => return (Verdict::Passes, Reason::Bypass(bypass)),
        Use::Validate(base) => (Verdict::Validates, why_validated(case, found, &base.held)),
        Use::Nothing => (Verdict::Fetches, why_nothing(found)),
    };
    let has_base = verdict == Verdict::Validates;
    let bypass = case.ask.bypass();
    match bypass.or_else(|| case.ask.bypass_of_part(has_base)) {
        Some(bypass) => (Verdict::Passes, Reason::Bypass(bypass)),
        None => (verdict, reason),
    }
}

fn why_validated(case: &Case, found: &Found, held: &Held) -> Reason {
    let flags = held.entry.flags;
    if flags.has(Flag::AlwaysValidated) {
        return Reason::NoCache;
    }
    let is_expired = held.entry.lifetime <= case.age(held);
    let skew = case.shared.core.store.clock_skew();
    match found.standing(held, skew) {
        _ if is_expired => Reason::Expired,
        Standing::Soft(_) => Reason::SoftlyPurged,
        Standing::Valid | Standing::Purged => Reason::Request,
    }
}

fn why_nothing(found: &Found) -> Reason {
    if found.held.is_some() {
        return Reason::Purged;
    }
    match (&found.place, found.page) {
        (Place::Variant { .. }, _) => Reason::NoVariant,
        (Place::Url(_), Page::Tombstone(_)) => Reason::Purged,
        (Place::Url(_), Page::Something(_)) => Reason::Unusable,
        (Place::Url(_), Page::Nothing | Page::Unread) => Reason::Absent,
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Some(rule) => write!(f, "rule {rule}: {} ({})", self.verdict, self.reason)?,
            None => write!(f, "{} ({})", self.verdict, self.reason)?,
        }
        if let Some(error) = &self.error {
            write!(f, ": {error}")?;
        }
        writeln!(f)?;
        if let [first, rest @ ..] = &*self.key_parts {
            write!(f, "  key parts: {first}")?;
            rest.iter().try_for_each(|name| write!(f, ", {name}"))?;
            writeln!(f)?;
        }
        if let Some(place) = &self.place {
            place.fmt(f)?;
        }
        if let Some(entry) = &self.entry {
            entry.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for PlaceExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  at {}", self.key)?;
        if let Some(names) = &self.varies {
            f.write_str(", one of several")?;
            for (index, name) in names.iter().enumerate() {
                f.write_str(if index == 0 { " by " } else { ", " })?;
                f.write_str(name.as_str())?;
            }
        }
        if self.is_unstorable {
            f.write_str("; what came last could not be stored")?;
        }
        writeln!(f)
    }
}

impl fmt::Display for EntryExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compressed = if self.is_compressed {
            " compressed"
        } else {
            ""
        };
        writeln!(
            f,
            "  stored: {}, {}{compressed} bytes, {} tags, begun at {:?}",
            self.status.as_u16(),
            self.stored_bytes,
            self.tags,
            self.born,
        )?;
        writeln!(
            f,
            "  {:?} old, fresh for {:?}, then for {:?} while a new one is fetched, for {:?} in the \
             place of errors",
            self.age, self.lifetime, self.while_revalidate, self.if_error,
        )
    }
}
