//! Rate limits that all instances of a service keep together.
//!
//! A [`RateLimitRule`] names some [`Quota`]s and says whose they are;
//! a policy says which requests fall under which rule; a [`RateLimitLayer`] asks the backend,
//! in one round trip, and lets a request through or answers it.
//!
//! ```
//! use axum::{Router, routing::get};
//! use std::time::Duration;
//! use tower_stash::{
//!     backend::MemoryBackend,
//!     policy::{KeyExtractor as _, peer_ip},
//!     rate_limit::{Quota, RateLimitLayer, RateLimitRule},
//! };
//!
//! let five_in_ten_seconds = Quota::sliding(5, Duration::from_secs(10));
//! let rule = RateLimitRule::new("api", peer_ip().or_shared(), [("burst", five_in_ten_seconds)])?;
//! let limits = RateLimitLayer::new(MemoryBackend::new(), rule)?;
//! let app: Router = Router::new().route("/", get(async || "hello")).layer(limits);
//! # Ok::<(), tower_stash::ConfigError>(())
//! ```
//!
//! Different routes, different rules; limits by account where there is one; legacy headers:
//!
//! ```
//! use tower_stash::{
//!     backend::MemoryBackend,
//!     policy::{KeyExtractor as _, Routes, TrustedProxies, client_ip, header},
//!     rate_limit::{HeaderStyle, Outage, Quota, RateLimitLayer, RateLimitRule},
//! };
//!
//! let client = client_ip(TrustedProxies::cidrs(["10.0.0.0/8"])?).or_reject();
//! let login = RateLimitRule::new(
//!     "login",
//!     client,
//!     [("burst", Quota::per_minute(5)), ("daily", Quota::per_day(50))],
//! )?
//! .with_outage(Outage::Deny);
//! let api = RateLimitRule::new("api", header("x-api-key").or_shared(), [("rate", Quota::per_second(100))])?;
//!
//! let routes = Routes::new().post("/login", login).any("/api/{*rest}", api);
//! let limits = RateLimitLayer::new(MemoryBackend::new(), routes)?.with_headers(HeaderStyle::Legacy);
//! # Ok::<(), tower_stash::ConfigError>(())
//! ```
//!
//! # What clients see
//!
//! Every limited response says where its limits stand, in the headers of [`HeaderStyle`]. A request
//! that is denied gets 429 with `Retry-After`: waiting so long is enough if nobody else comes, and
//! nothing less is. The body is `application/problem+json`, or a gRPC status where the request is a
//! gRPC call; see [`Respond`](crate::respond::Respond) for other forms.
//!
//! # When the backend is away
//!
//! The rule decides: requests go through uncounted ([`Outage::Allow`], the default) or get 503
//! ([`Outage::Deny`]). A time-out counts as away, and the call is not repeated: at worst one request
//! too many is counted.
//!
//! The layer adds a [`Breaker`](crate::backend::Breaker) and no time-out: `RedisBackend` has its own;
//! wrap a backend that may hang in a [`Timeout`](crate::backend::Timeout).
//!
//! # Outcomes
//!
//! In [metrics and events](crate::observe): `allowed`; `denied` (429); `missing_key` (400, where the
//! subject is [`or_reject`](crate::policy::KeyExtractor::or_reject)); `outage` (the backend did not
//! answer, and the rule's [`Outage`] decided).

mod answer;
mod asking;
mod check;
mod denials;
mod engine;
mod explanation;
mod future;
mod headers;
mod layer;
mod limiter;
mod outcome;
mod refunds;
mod rejection;
mod rule;
mod service;
mod shared;
mod teller;

use self::outcome::Outcome;

pub use self::{
    check::{Check, Standing},
    explanation::{Explanation, Finding, RuleExplanation},
    future::ResponseFuture,
    headers::HeaderStyle,
    layer::RateLimitLayer,
    limiter::RateLimiter,
    refunds::Permit,
    rule::{Outage, RateLimitRule},
    service::RateLimit,
};
pub use crate::backend::{Ban, DAY, HOUR, MINUTE, Quota, Retry, SECOND};
