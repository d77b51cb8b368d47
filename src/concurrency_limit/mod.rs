//! How many requests of a subject run at the same time, on all instances of a service together.
//!
//! A [`ConcurrencyLimitRule`] says how many and whose; a policy says which requests fall under
//! which rule; a [`ConcurrencyLimitLayer`] holds a slot in the backend for each request that runs,
//! until its response has been sent.
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower_stash::{
//!     backend::MemoryBackend,
//!     concurrency_limit::{ConcurrencyLimitLayer, ConcurrencyLimitRule},
//!     policy::{KeyExtractor as _, peer_ip},
//! };
//!
//! let rule = ConcurrencyLimitRule::new("api", peer_ip().or_shared(), 10)?;
//! let limits = ConcurrencyLimitLayer::new(MemoryBackend::new(), rule)?;
//! let app: Router = Router::new().route("/", get(async || "hello")).layer(limits);
//! # Ok::<(), tower_stash::ConfigError>(())
//! ```
//!
//! Different routes, different rules; one bucket for all, so that a fragile backend behind a route
//! is never asked more than so often at once; a lease that is shorter:
//!
//! ```
//! use std::time::Duration;
//! use tower_stash::{
//!     backend::MemoryBackend,
//!     concurrency_limit::{ConcurrencyLimitLayer, ConcurrencyLimitRule, Outage},
//!     policy::{KeyExtractor as _, Routes, header},
//! };
//!
//! let exports = ConcurrencyLimitRule::new("exports", header("x-api-key").or_reject(), 2)?
//!     .with_lease(Duration::from_secs(10))?;
//! let everyone = |_: &http::request::Parts| Some("all");
//! let reports = ConcurrencyLimitRule::new("reports", everyone.or_shared(), 50)?
//!     .with_outage(Outage::Deny);
//!
//! let routes = Routes::new().post("/exports", exports).get("/reports/{*rest}", reports);
//! let limits = ConcurrencyLimitLayer::new(MemoryBackend::new(), routes)?;
//! # Ok::<(), tower_stash::ConfigError>(())
//! ```
//!
//! # When a slot is free again
//!
//! * When the response body has ended, in its last frame or in an error; a stream of events holds
//!   its slot as long as it lasts. The bodies of an upgrade (101) end with its head:
//!   what follows is not counted.
//! * When the request is dropped: by a client that went away, by a time-out around the layer. A
//!   slot that was asked for and not yet given is released when it comes.
//! * When its lease runs out, after a crash or a lost release: [30
//!   s](ConcurrencyLimitRule::DEFAULT_LEASE) unless the rule says otherwise. As long as a request
//!   runs, one task renews all slots that this process holds, three times in a lease.
//!
//! No more requests run than the limit as long as the backend answers within a lease and forgets
//! nothing. When it does not, leases run out while their requests go on: others take their slots,
//! and a WARN event tells of it. Once it answers again, requests that run without a slot
//! get one if there is room.
//!
//! A release needs a Tokio runtime with its time enabled, as servers have it.
//!
//! # What clients see
//!
//! A request that is denied gets 429 with `Retry-After: 1`, since nobody knows when another one
//! ends. The body is `application/problem+json`, or a gRPC status where the request is a gRPC call;
//! see [`Respond`](crate::respond::Respond) for other forms. There are no `RateLimit` headers: they
//! tell of a quota over time, and here there is none.
//!
//! # When the backend is away
//!
//! The rule decides: requests go through uncounted ([`Outage::Allow`], the default) or get 503
//! ([`Outage::Deny`]). A time-out counts as away.
//!
//! The layer adds a [`Breaker`](crate::backend::Breaker) and no time-out: `RedisBackend` has its
//! own; wrap a backend that may hang in a [`Timeout`](crate::backend::Timeout).
//!
//! # Outcomes
//!
//! In [metrics and events](crate::observe): `allowed`; `denied` (429); `missing_key` (400, where
//! the subject is [`or_reject`](crate::policy::KeyExtractor::or_reject)); `outage` (the backend did
//! not answer, and the rule's [`Outage`] decided).

mod body;
mod future;
mod layer;
mod ledger;
mod outcome;
mod rejection;
mod renewal;
mod rule;
mod service;
mod shared;
mod slot;

use self::outcome::Outcome;

pub use self::{
    body::ResponseBody,
    future::ResponseFuture,
    layer::ConcurrencyLimitLayer,
    rule::{ConcurrencyLimitRule, Outage},
    service::ConcurrencyLimit,
};
