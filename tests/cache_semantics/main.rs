//! What the cache stores and reuses, compared with `http-cache-semantics` as a shared cache.
//!
//! Where both speak of the same, they must say the same, for any headers. Where that crate differs
//! from the RFCs, or leaves something out, [`faults`] says in what, and shows it, so that it is also
//! seen when it is mended there.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, request::Parts};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use tower_stash::{
    cache::{CacheRule, NotStored, Profile},
    clock::Timestamp,
};

mod agreement;
mod faults;

/// A header line.
type Line = (&'static str, String);

/// A request, the response to it, and a request after it.
#[derive(Clone, Debug)]
struct Case {
    asked: Vec<Line>,
    status: u16,
    lines: Vec<Line>,
    later: Vec<Line>,
    after: Duration,
}

impl Case {
    /// Whether the later request is answered from the store without validation.
    fn is_served_by_us(&self) -> Result<bool, NotStored> {
        let profile = Profile::compliance()
            .with_stale_if_error(Duration::ZERO)
            .with_heuristics(10, Duration::MAX);
        let rule = CacheRule::new("test")
            .expect("a name")
            .with_profile(profile);
        let received = Timestamp::default() + RECEIVED;
        let (asked, response) = (request(&self.asked), self.response());
        let now = received + self.after;
        let reuse = rule.reuse_of((&asked, &response), received, &request(&self.later), now)?;
        Ok(matches!(
            reuse,
            "fresh" | "stale" | "stale_while_revalidate"
        ))
    }

    /// The same, as the other crate has it.
    fn is_served_by_them(&self) -> bool {
        let options = CacheOptions {
            shared: true,
            cache_heuristic: 0.1,
            immutable_min_time_to_live: Duration::ZERO,
            ignore_cargo_cult: false,
        };
        let received = UNIX_EPOCH + RECEIVED;
        let response = self.response();
        let policy = CachePolicy::new_options(&request(&self.asked), &response, received, options);
        let before = policy.before_request(&request(&self.later), received + self.after);
        policy.is_storable() && matches!(before, BeforeRequest::Fresh(_))
    }

    fn response(&self) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a status");
        *response.headers_mut() = headers(&self.lines);
        response
    }
}

fn request(lines: &[Line]) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.headers = headers(lines);
    parts
}

fn headers(lines: &[Line]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_str(value).expect("a value");
        headers.append(HeaderName::from_static(name), value);
    }
    headers
}

/// The date so many seconds after the response came.
fn date(offset: i64) -> String {
    let distance = Duration::from_secs(offset.unsigned_abs());
    let received = UNIX_EPOCH + RECEIVED;
    let at: Option<SystemTime> = if offset < 0 {
        received.checked_sub(distance)
    } else {
        received.checked_add(distance)
    };
    httpdate::fmt_http_date(at.expect("a date"))
}

/// 2027-01-15T08:00:00Z.
const RECEIVED: Duration = Duration::from_secs(1_800_000_000);
