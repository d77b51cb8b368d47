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
//! Different routes, different rules; only failed logins count; writing costs more; legacy headers:
//!
//! ```
//! use tower_stash::{
//!     backend::MemoryBackend,
//!     policy::{KeyExtractor as _, Routes, TrustedProxies, client_ip, header},
//!     rate_limit::{HeaderStyle, Outage, Quota, RateLimitLayer, RateLimitRule, SECOND},
//! };
//!
//! let client = client_ip(TrustedProxies::cidrs(["10.0.0.0/8"])?).or_reject();
//! let login = RateLimitRule::new(
//!     "login",
//!     client,
//!     [("burst", Quota::per_minute(5)), ("daily", Quota::per_day(50))],
//! )?
//! .with_count_if(|response| response.status == 401) // good logins are given back
//! .with_outage(Outage::Deny);
//! let rate = Quota::token_bucket(100, SECOND).with_burst(200);
//! let api = RateLimitRule::new("api", header("x-api-key").or_shared(), [("rate", rate)])?
//!     .with_cost(|request| if request.method == "GET" { 1 } else { 5 });
//!
//! let routes = Routes::new().post("/login", login).any("/api/{*rest}", api);
//! let limits = RateLimitLayer::new(MemoryBackend::new(), routes)?.with_headers(HeaderStyle::Legacy);
//! # Ok::<(), tower_stash::ConfigError>(())
//! ```
//!
//! # What a rule can say
//!
//! | | |
//! |---|---|
//! | how much in which time | [`Quota`]s, up to eight, decided together: all or none |
//! | what a request costs | [`with_cost`](RateLimitRule::with_cost), [`with_fixed_cost`](RateLimitRule::with_fixed_cost); [`Quota::with_weight`] for one limit |
//! | a limit by plan or tenant | [`with_dynamic_limit`](RateLimitRule::with_dynamic_limit) |
//! | a limit of one subject | [`with_overrides`](RateLimitRule::with_overrides) |
//! | two subjects, such as address and user | [`with_and`](RateLimitRule::with_and) |
//! | who is exempt, who is not wanted | [`with_skip`](RateLimitRule::with_skip), [`with_deny_list`](RateLimitRule::with_deny_list) |
//! | what counts, once the response is there | [`with_count_if`](RateLimitRule::with_count_if), [`with_permit`](RateLimitRule::with_permit) |
//! | what becomes of who keeps trying | [`with_ban`](RateLimitRule::with_ban) |
//! | a rule on trial | [`with_shadow`](RateLimitRule::with_shadow) |
//! | what happens in an outage | [`with_outage`](RateLimitRule::with_outage) |
//!
//! # What clients see
//!
//! Every limited response says where its limits stand, in the headers of [`HeaderStyle`]. A request
//! that is denied gets 429 with `Retry-After`: waiting so long is enough if nobody else comes, and
//! nothing less is. One that costs more than a limit is told that it never fits. The body is
//! `application/problem+json`, or a gRPC status where the request is a gRPC call; see
//! [`Respond`](crate::respond::Respond) for other forms.
//!
//! # Without HTTP
//!
//! A [`RateLimiter`] decides by the same rules for a job or a handler, and is an admin page's hand
//! on what the layer counts: it looks, resets, penalises and bans.
//! [`RateLimitLayer::explain`] says in words what would become of a request, and why.
//!
//! # The deny cache
//!
//! Where a decision is a round trip, a denial is remembered in the process and repeated until its
//! wait is over. That admits nothing more, since nobody can be admitted before; and a client that
//! keeps trying costs the backend nothing. See
//! [`with_deny_cache`](RateLimitLayer::with_deny_cache).
//!
//! # Busy subjects
//!
//! A decision is one round trip, and a subject that is known to be denied costs none. Where
//! thousands of requests a second share a limit, [`RateLimitRule::with_coalescing`] asks once for
//! all that come during a call, and [`RateLimitRule::with_leases`] takes units
//! for later requests along.
//!
//! # What it costs
//!
//! A request without a rule allocates nothing. Over memory an admitted one allocates three times,
//! however many limits its rule has, besides what the headers of the response need; a denied one 16
//! times, its answer included.
//!
//! # When the backend is away
//!
//! The rule decides: requests go through uncounted ([`Outage::Allow`], the default), get 503
//! ([`Outage::Deny`]), or are counted in the process against a share of each limit
//! ([`Outage::Local`]). A time-out counts as away, and the call is not repeated: at worst one
//! request too many is counted. Responses then have no `RateLimit` headers, since nobody knows
//! where the limits stand.
//!
//! The layer adds a [`Breaker`](crate::backend::Breaker) and no time-out: `RedisBackend` has its
//! own; wrap a backend that may hang in a [`Timeout`](crate::backend::Timeout).
//!
//! # Outcomes
//!
//! In [metrics and events](crate::observe), of each rule that was asked: `allowed`; `denied` (429);
//! `denied_cached` (429, from the deny cache); `banned` (429); `shadow_denied` (let through by a
//! rule on trial); `deny_listed` (403); `missing_key` (400, where the subject is
//! [`or_reject`](crate::policy::KeyExtractor::or_reject)); `outage` (the backend did not answer,
//! and the rule's [`Outage`] decided).

mod engine;
mod future;
mod grpc_refund;
mod headers;
mod layer;
mod limiter;
mod outcome;
mod rejection;
mod rule;
mod service;
mod shared;
mod teller;
mod twice;

use self::outcome::Outcome;

pub use self::{
    engine::Permit,
    future::ResponseFuture,
    grpc_refund::{GrpcRefund, GrpcRefundBody, GrpcRefundFuture, GrpcRefundLayer},
    headers::HeaderStyle,
    layer::RateLimitLayer,
    limiter::{Check, Explanation, Finding, RateLimiter, RuleExplanation, Standing},
    rule::{Outage, RateLimitRule},
    service::RateLimit,
};
pub use crate::backend::{Ban, DAY, HOUR, MINUTE, Quota, Retry, SECOND};
