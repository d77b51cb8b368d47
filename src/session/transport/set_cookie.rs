//! A session's cookie as it is read and set.

use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderValue, header::SET_COOKIE};

use super::{Presented, SessionCookie, check::Prefix, cookie::Kept, scan, values::Values};
use crate::session::token::Token;

/// A cookie whose settings have been checked.
pub(super) struct CookieTransport {
    settings: SessionCookie,
    values: Values,
    /// What follows the value and `Max-Age`.
    attributes: String,
    /// Those of the same cookie as long as it was not partitioned.
    twin_attributes: Option<String>,
    has_prefix: bool,
}

impl CookieTransport {
    pub(super) fn new(settings: SessionCookie) -> Self {
        let whole = attributes(&settings);
        let (attributes, twin_attributes) = if settings.is_partitioned() {
            (format!("{whole}{PARTITIONED}"), Some(whole))
        } else {
            (whole, None)
        };
        Self {
            values: Values::of(&settings),
            attributes,
            twin_attributes,
            has_prefix: Prefix::of(settings.name()).is_some(),
            settings,
        }
    }

    pub(super) fn settings(&self) -> &SessionCookie {
        &self.settings
    }

    pub(super) fn read(&self, headers: &HeaderMap) -> Presented {
        let mut presented = Presented::default();
        for value in scan::values(headers, self.settings.name()) {
            presented.note_cookie();
            if let Some(token) = self.values.read(value) {
                presented.add(token);
            }
        }
        if self.has_prefix {
            presented.or_none_of_several()
        } else {
            presented
        }
    }

    pub(super) fn issue(
        &self,
        presented: &Presented,
        token: &Token,
        max_age: Duration,
        headers: &mut HeaderMap,
    ) {
        // First, for a browser that does not know Partitioned takes both for one cookie.
        if let Some(twin) = self
            .twin_attributes
            .as_ref()
            .filter(|_| presented.saw_cookie())
        {
            self.append_removal(twin, headers);
        }
        let mut line = self.line();
        self.values.append(token, &mut line);
        if self.settings.kept() == Kept::ToDeadline {
            line.extend_from_slice(b"; Max-Age=");
            line.extend_from_slice(itoa::Buffer::new().format(seconds(max_age)).as_bytes());
        }
        line.extend_from_slice(self.attributes.as_bytes());
        append(line, headers);
    }

    /// Browsers take only a cookie with the same attributes for this one: without `Secure` they
    /// drop a removal of a prefixed name, without `Partitioned` it means another cookie.
    pub(super) fn remove(&self, headers: &mut HeaderMap) {
        self.append_removal(&self.attributes, headers);
    }

    fn append_removal(&self, attributes: &str, headers: &mut HeaderMap) {
        let mut line = self.line();
        line.extend_from_slice(b"; Max-Age=0");
        line.extend_from_slice(attributes.as_bytes());
        append(line, headers);
    }

    /// A line up to its value, with room for the rest.
    fn line(&self) -> Vec<u8> {
        let name = self.settings.name().as_bytes();
        let room = name.len() + Values::MAX_LEN + self.attributes.len() + MAX_AGE_ROOM;
        let mut line = Vec::with_capacity(room);
        line.extend_from_slice(name);
        line.push(b'=');
        line
    }
}

impl fmt::Debug for CookieTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

/// All but `Max-Age` and `Partitioned`.
fn attributes(cookie: &SessionCookie) -> String {
    let mut attributes = format!("; Path={}", cookie.path());
    if let Some(domain) = cookie.domain() {
        attributes.push_str("; Domain=");
        attributes.push_str(domain);
    }
    if cookie.is_secure() {
        attributes.push_str("; Secure");
    }
    if cookie.is_http_only() {
        attributes.push_str("; HttpOnly");
    }
    attributes.push_str("; SameSite=");
    attributes.push_str(cookie.same_site().as_str());
    attributes
}

/// Whole seconds, and never none: that would be a removal.
fn seconds(max_age: Duration) -> u64 {
    let started = u64::from(max_age.subsec_nanos() > 0);
    max_age.as_secs().saturating_add(started).max(1)
}

fn append(line: Vec<u8>, headers: &mut HeaderMap) {
    // The settings have been checked, so there is nothing in it that a header cannot hold.
    let Ok(mut value) = HeaderValue::try_from(line) else {
        return;
    };
    // Neither compressed beside what others chose, nor shown.
    value.set_sensitive(true);
    // Fails only if there are more headers than a map can hold.
    let _ = headers.try_append(SET_COOKIE, value);
}

const PARTITIONED: &str = "; Partitioned";

/// Of `=; Max-Age=` and its number.
const MAX_AGE_ROOM: usize = 32;
