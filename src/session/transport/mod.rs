//! How tokens come and go: in a cookie, or in headers of their own.

mod check;
mod cookie;
#[cfg(feature = "testing")]
mod doorway;
mod header;
#[cfg(any(feature = "signed-cookies", feature = "private-cookies"))]
mod key_ring;
mod presented;
#[cfg(feature = "private-cookies")]
mod private;
mod scan;
mod set_cookie;
#[cfg(feature = "signed-cookies")]
mod signed;
mod values;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, header::COOKIE};

use self::set_cookie::CookieTransport;
use super::token::Token;
use crate::error::ConfigError;

#[cfg(any(feature = "signed-cookies", feature = "private-cookies"))]
pub use self::key_ring::KeyRing;
pub(super) use self::presented::Presented;
pub use self::{
    cookie::{SameSite, SessionCookie},
    header::HeaderTransport,
};

/// How the tokens of a family of sessions come and go; cheap to clone.
///
/// Whoever has one has settings that browsers accept: nothing else makes one.
#[derive(Clone, Debug)]
pub(super) struct Transport(Way);

#[derive(Clone, Debug)]
enum Way {
    Cookie(Arc<CookieTransport>),
    Header(Arc<HeaderTransport>),
}

impl Transport {
    /// By this cookie, if browsers would take it.
    pub(super) fn cookie(cookie: SessionCookie) -> Result<Self, ConfigError> {
        check::check(&cookie)?;
        Ok(Self::checked(cookie))
    }

    /// By these headers.
    pub(super) fn header(header: HeaderTransport) -> Self {
        Self(Way::Header(Arc::new(header)))
    }

    /// Refuses sessions that live longer than their cookie can.
    pub(super) fn check(&self, lifetime: Duration) -> Result<(), ConfigError> {
        match &self.0 {
            Way::Cookie(cookie) => check::check_lifetime(cookie.settings(), lifetime),
            Way::Header(_) => Ok(()),
        }
    }

    /// The tokens of a request; allocates only if they are several, or encrypted.
    pub(super) fn read(&self, headers: &HeaderMap) -> Presented {
        match &self.0 {
            Way::Cookie(cookie) => cookie.read(headers),
            Way::Header(header) => header.read(headers),
        }
    }

    /// Tells the client its token, which a cookie keeps for `max_age`, rounded up to seconds.
    pub(super) fn issue(
        &self,
        presented: &Presented,
        token: &Token,
        max_age: Duration,
        headers: &mut HeaderMap,
    ) {
        match &self.0 {
            Way::Cookie(cookie) => cookie.issue(presented, token, max_age, headers),
            Way::Header(header) => header.issue(token, headers),
        }
    }

    /// Tells the client to forget its token.
    pub(super) fn remove(&self, headers: &mut HeaderMap) {
        match &self.0 {
            Way::Cookie(cookie) => cookie.remove(headers),
            Way::Header(header) => header.remove(headers),
        }
    }

    /// The request header that tokens are read from, for `Vary`.
    pub(super) fn vary(&self) -> HeaderName {
        match &self.0 {
            Way::Cookie(_) => COOKIE,
            Way::Header(header) => header.request_header().clone(),
        }
    }

    /// Whether two families read and write tokens alike.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Way::Cookie(one), Way::Cookie(other)) => one.settings() == other.settings(),
            (Way::Header(one), Way::Header(other)) => one == other,
            _ => false,
        }
    }

    fn checked(cookie: SessionCookie) -> Self {
        Self(Way::Cookie(Arc::new(CookieTransport::new(cookie))))
    }
}

/// By the default cookie.
impl Default for Transport {
    fn default() -> Self {
        Self::checked(SessionCookie::default())
    }
}

#[cfg(test)]
mod tests;
