//! What is stored and reused, without a cache, for tests.

use std::time::Duration;

use http::{
    HeaderMap, Response,
    header::{AUTHORIZATION, COOKIE},
    request::Parts,
};

use super::{
    directives::RequestDirectives,
    not_stored::NotStored,
    reuse::{self, Asks, Reuse, Stored},
    storable::{self, Exchange, Storable, has_asked_session},
    targeted::governing,
};
use crate::{
    cache::rule::{CacheRule, Profile},
    clock::Timestamp,
};

#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
impl CacheRule {
    /// How old a response is, and how long it is fresh from the age of zero, if it is stored; for
    /// tests.
    ///
    /// # Errors
    ///
    /// Why it is not stored.
    pub fn freshness_of<B>(
        &self,
        request: &Parts,
        response: &Response<B>,
        received: Timestamp,
    ) -> Result<(Duration, Duration), NotStored> {
        let storable = self.storable(request, response, received)?;
        Ok((storable.age, storable.lifetime))
    }

    /// What becomes of a later request, if the response to an earlier one is stored: `fresh`,
    /// `stale`, `stale_while_revalidate`, `validate`, `validate_or_stand_in`, `pass`; for tests.
    ///
    /// # Errors
    ///
    /// Why it is not stored.
    pub fn reuse_of<B>(
        &self,
        (request, response): (&Parts, &Response<B>),
        received: Timestamp,
        later: &Parts,
        now: Timestamp,
    ) -> Result<&'static str, NotStored> {
        let storable = self.storable(request, response, received)?;
        let stored = Stored {
            age: storable.age + (now - received),
            lifetime: storable.lifetime,
            while_revalidate: storable.while_revalidate,
            if_error: storable.if_error,
            flags: storable.flags,
        };
        let directives = RequestDirectives::read(&later.headers);
        let asks = Asks {
            directives: &directives,
            has_authorization: later.headers.contains_key(AUTHORIZATION),
        };
        Ok(match reuse::judge(&stored, &asks, self.shape()) {
            Reuse::Fresh { .. } => "fresh",
            Reuse::Stale { .. } => "stale",
            Reuse::StaleWhileRevalidate { .. } => "stale_while_revalidate",
            Reuse::Validate {
                may_stand_in: false,
            } => "validate",
            Reuse::Validate { may_stand_in: true } => "validate_or_stand_in",
            Reuse::NotForThis(_) => "pass",
        })
    }

    fn storable<B>(
        &self,
        request: &Parts,
        response: &Response<B>,
        received: Timestamp,
    ) -> Result<Storable, NotStored> {
        let exchange = Exchange {
            method: &request.method,
            has_authorization: request.headers.contains_key(AUTHORIZATION),
            has_cookie: request.headers.contains_key(COOKIE),
            forbids_storing: RequestDirectives::read(&request.headers).no_store,
            asked_session: has_asked_session(&request.extensions),
            status: response.status(),
            headers: response.headers(),
            extensions: response.extensions(),
            requested: received,
            received,
        };
        storable::judge(&exchange, self.shape())
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
impl Profile {
    /// Whether a targeted field governs this response, and the `max-age` of what governs it; for
    /// tests.
    #[must_use]
    pub fn governing_in(&self, headers: &HeaderMap) -> (bool, Option<Duration>) {
        let governing = governing(headers, &self.targeted);
        (governing.is_targeted, governing.directives.max_age)
    }
}
