//! What a route makes of its sessions.

use std::{fmt, sync::Arc};

use http::{request, response};

use super::super::csrf::Csrf;

/// The part of a rule that may differ between routes.
#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a setting of its own, and any may go with any"
)]
pub(in crate::session) struct Route {
    pub(in crate::session) is_read_only: bool,
    pub(in crate::session) needs_user: bool,
    pub(in crate::session) slides: bool,
    pub(in crate::session) is_strict: bool,
    pub(in crate::session) sends_cookie: bool,
    pub(in crate::session) on_gone: OnGone,
    pub(in crate::session) on_outage: OnOutage,
    pub(in crate::session) csrf: Option<Csrf>,
    pub(in crate::session) save_if: Option<Arc<SaveIf>>,
}

/// Whether what a request changed is to be written, by the head of its response.
type SaveIf = dyn Fn(&response::Parts) -> bool + Send + Sync;

/// What becomes of a response when the session ended before the request could write it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnGone {
    /// It stays as it is; what the request changed is lost with the session.
    #[default]
    Keep,
    /// It is replaced by 401 (gRPC: `UNAUTHENTICATED`).
    Reject,
}

/// What becomes of a response when changes could not be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnOutage {
    /// It is replaced by 503 (gRPC: `UNAVAILABLE`), to be retried after a second.
    #[default]
    Reject,
    /// It stays as it is, and the changes are lost; for routes where they do not matter. A failed
    /// login is rejected all the same.
    Keep,
}

impl Route {
    /// Whether a request may be what its user wanted.
    pub(in crate::session) fn admits(&self, request: &request::Parts) -> bool {
        self.csrf.as_ref().is_none_or(|csrf| csrf.admits(request))
    }
}

impl Default for Route {
    fn default() -> Self {
        Self {
            is_read_only: false,
            needs_user: false,
            slides: true,
            is_strict: false,
            sends_cookie: true,
            on_gone: OnGone::default(),
            on_outage: OnOutage::default(),
            csrf: None,
            save_if: None,
        }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("is_read_only", &self.is_read_only)
            .field("needs_user", &self.needs_user)
            .field("slides", &self.slides)
            .field("is_strict", &self.is_strict)
            .field("sends_cookie", &self.sends_cookie)
            .field("on_gone", &self.on_gone)
            .field("on_outage", &self.on_outage)
            .field("csrf", &self.csrf)
            .field("save_if", &self.save_if.is_some())
            .finish()
    }
}
