//! Which rule a request gets, and under whose name it counts.
//!
//! A [`Policy`] chooses the rule: a rule alone (every request), [`Routes`] (by method and path), a
//! closure, a rule that an outer middleware put into the request ([`from_extension`]), or one
//! policy [`or`](Policy::or) another. A request without a rule passes through a layer
//! as if it were not there.
//!
//! ```
//! use tower_stash::policy::{Policy, Routes, from_extension};
//!
//! #[derive(Clone, Debug, PartialEq)]
//! struct Rule(u32);
//!
//! let policy = Routes::new()
//!     .post("/login", Rule(1))
//!     .any("/api/{*rest}", Rule(2))
//!     .or(from_extension::<Rule>())
//!     .or(|parts: &http::request::Parts| parts.headers.contains_key("x-trial").then_some(Rule(3)));
//! policy.check()?;
//!
//! let (request, ()) = http::Request::get("/api/users").body(()).unwrap().into_parts();
//! assert_eq!(policy.rule(&request), Some(Rule(2)));
//!
//! let (request, ()) = http::Request::get("/about").body(()).unwrap().into_parts();
//! assert_eq!(policy.rule(&request), None);
//! # Ok::<(), tower_stash::ConfigError>(())
//! ```
//!
//! A [`KeyExtractor`] says whose request it is, and what happens when the request does not tell:
//! only with that said is it the [`Subject`] that a rule wants.
//!
//! ```
//! use std::net::SocketAddr;
//! use tower_stash::{
//!     key::KeyParts,
//!     policy::{KeyExtractor, PeerAddr, Resolved, TrustedProxies, client_ip, header},
//! };
//!
//! let client = client_ip(TrustedProxies::cidrs(["10.0.0.0/8"])?).or_reject();
//! let customer = (header("x-api-key"), client_ip(TrustedProxies::hops(1)?)).or_skip();
//! client.check()?;
//!
//! let request = http::Request::get("/")
//!     .header("x-forwarded-for", "203.0.113.7")
//!     .extension(PeerAddr(SocketAddr::from(([10, 0, 0, 1], 4711))))
//!     .body(())
//!     .unwrap();
//! let (request, ()) = request.into_parts();
//! assert_eq!(client.resolve(&request, &mut KeyParts::new()), Resolved::Key);
//! assert_eq!(customer.resolve(&request, &mut KeyParts::new()), Resolved::Skip);
//! # Ok::<(), tower_stash::ConfigError>(())
//! ```
//!
//! A program names a subject without a request by a [`SubjectId`]. A [`Condition`] says whether
//! something holds for a request: that it is on an allow list or a deny list, that a rule skips it.

mod address;
pub(crate) mod asked_uri;
mod condition;
mod extractor;
mod extractors;
mod forwarded;
mod is_within;
mod networks;
mod path_form;
mod pattern;
mod peer;
mod routes;
mod subject;
mod subject_id;
mod trusted_proxies;

use std::{fmt, marker::PhantomData, sync::Arc};

use http::request::Parts;

#[cfg(feature = "axum")]
pub use self::extractors::matched_path;
pub use self::{
    address::ClientAddr,
    condition::{Condition, IsOneOf},
    extractor::KeyExtractor,
    extractors::{cookie, extension, header},
    is_within::IsWithin,
    peer::{PeerAddr, PeerIp, peer_ip},
    routes::Routes,
    subject::{Resolved, Subject},
    subject_id::SubjectId,
    trusted_proxies::{ClientIp, ForwardingHeader, TrustedProxies, client_ip},
};
use crate::error::ConfigError;

/// Chooses the rule of a request.
///
/// Closures `Fn(&Parts) -> Option<R>` are policies.
pub trait Policy<R>: Send + Sync + 'static {
    /// The rule for this request, or none: then the request passes as if the layer were not there.
    ///
    /// It runs for every request, so it should be quick, and must not allocate to say none.
    fn rule(&self, parts: &Parts) -> Option<R>;

    /// Mistakes that were noticed while this policy was put together. A layer's constructor asks.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to write instead.
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Shows every rule that is known beforehand, so that a layer's constructor can compare them.
    fn each_rule(&self, visit: &mut dyn FnMut(&R)) {
        let _ = visit;
    }

    /// This policy's rule, or where it has none the other's.
    fn or<P: Policy<R>>(self, other: P) -> Or<Self, P>
    where
        Self: Sized,
    {
        Or {
            first: self,
            second: other,
        }
    }
}

impl<R, F> Policy<R> for F
where
    F: Fn(&Parts) -> Option<R> + Send + Sync + 'static,
{
    fn rule(&self, parts: &Parts) -> Option<R> {
        self(parts)
    }
}

impl<R: 'static, P: Policy<R> + ?Sized> Policy<R> for Arc<P> {
    fn rule(&self, parts: &Parts) -> Option<R> {
        (**self).rule(parts)
    }

    fn check(&self) -> Result<(), ConfigError> {
        (**self).check()
    }

    fn each_rule(&self, visit: &mut dyn FnMut(&R)) {
        (**self).each_rule(visit);
    }
}

impl<R: 'static> Policy<R> for Box<dyn Policy<R>> {
    fn rule(&self, parts: &Parts) -> Option<R> {
        (**self).rule(parts)
    }

    fn check(&self) -> Result<(), ConfigError> {
        (**self).check()
    }

    fn each_rule(&self, visit: &mut dyn FnMut(&R)) {
        (**self).each_rule(visit);
    }
}

/// One policy, and another for what it leaves without a rule; made by [`Policy::or`].
#[derive(Clone, Debug)]
pub struct Or<A, B> {
    first: A,
    second: B,
}

impl<R, A: Policy<R>, B: Policy<R>> Policy<R> for Or<A, B> {
    fn rule(&self, parts: &Parts) -> Option<R> {
        self.first.rule(parts).or_else(|| self.second.rule(parts))
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.first.check()?;
        self.second.check()
    }

    fn each_rule(&self, visit: &mut dyn FnMut(&R)) {
        self.first.each_rule(visit);
        self.second.each_rule(visit);
    }
}

/// The rule that an outer middleware put into the request's extensions, if it did.
#[must_use]
pub fn from_extension<R: Clone + Send + Sync + 'static>() -> FromExtension<R> {
    FromExtension(PhantomData)
}

/// The policy of [`from_extension`].
pub struct FromExtension<R>(PhantomData<fn() -> R>);

impl<R: Clone + Send + Sync + 'static> Policy<R> for FromExtension<R> {
    fn rule(&self, parts: &Parts) -> Option<R> {
        parts.extensions.get::<R>().cloned()
    }
}

impl<R> Clone for FromExtension<R> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<R> fmt::Debug for FromExtension<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromExtension")
    }
}

/// Requests and keys for the tests of this folder.
#[cfg(test)]
mod testing {
    use http::{HeaderValue, Request, request::Parts};

    use super::{KeyExtractor, Resolved, Subject};
    use crate::key::{Key, KeyParts};

    pub(super) fn request(headers: &[(&str, &[u8])]) -> Parts {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
        }
        request.body(()).unwrap().into_parts().0
    }

    pub(super) fn key(subject: &Subject, parts: &Parts) -> Key {
        let mut key = KeyParts::new();
        assert_eq!(subject.resolve(parts, &mut key), Resolved::Key);
        Key::custom("test", &key)
    }

    pub(super) fn missing(extractor: impl KeyExtractor, parts: &Parts) -> bool {
        let mut key = KeyParts::new().with("before");
        let before = key.len();
        let resolved = extractor.or_skip().resolve(parts, &mut key);
        assert_eq!(resolved == Resolved::Skip, key.len() == before);
        resolved == Resolved::Skip
    }
}
