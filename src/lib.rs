//! Tower layers for state that several instances of a service share, on Redis or in memory.
//!
//! A service that runs more than once needs a place for what all its instances must agree on: how
//! often a client called, who is logged in, which payment was made, what was answered. tower-stash is that place as
//! layers for axum, tonic and hyper, over one small [backend contract](backend).
//!
//! ```
//! use std::time::Duration;
//! use axum::{Router, routing::get};
//! use tower_stash::{
//!     backend::MemoryBackend,
//!     policy::{KeyExtractor as _, Routes, peer_ip},
//!     rate_limit::{Quota, RateLimitLayer, RateLimitRule},
//! };
//!
//! let burst = Quota::sliding(5, Duration::from_secs(10));
//! let per_client = RateLimitRule::new("limited", peer_ip().or_reject(), [("burst", burst)])?;
//! let limits = RateLimitLayer::new(MemoryBackend::new(), Routes::new().get("/limited", per_client))?;
//!
//! let app: Router = Router::new().route("/limited", get(async || "hello")).layer(limits);
//! # Ok::<(), tower_stash::ConfigError>(())
//! ```
//!
//! With `RedisBackend::connect("redis://…").await?` in the place of `MemoryBackend::new()`, all
//! instances share one limit. `examples/quickstart.rs` is the whole program, with sessions,
//! payments and a cache beside.
//!
//! # Layers
//!
//! | layer | what its instances share | round trips a request |
//! |---|---|---|
//! | [`RateLimitLayer`](rate_limit) | how often each subject called | 1; 0 where no rule applies |
//! | [`ConcurrencyLimitLayer`](concurrency_limit) | how many requests of each subject run | 2, one of them after the response; 0 where no rule applies |
//! | [`SessionLayer`](session) | who is logged in, and what belongs to each visitor | 1 to read, 2 to read and write; 0 where nothing is asked |
//! | [`IdempotencyLayer`](idempotency) | which requests were done, and how they were answered | 2 to do it, 1 to answer again; 0 where no rule applies |
//! | [`CacheLayer`](cache) | what was answered, until it is stale or purged | 1 for a hit, 3 for a miss; 0 where no rule applies |
//!
//! Each layer is independent of the others, wraps any service whose requests and responses are
//! HTTP, and takes a [policy]: which requests fall under which rule. What layers must know of each
//! other is in typed [marks] on requests and responses.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `rate-limit` | [`rate_limit`], [`concurrency_limit`] |
//! | `session` | [`session`], [`marks`] |
//! | `idempotency` | [`idempotency`], [`marks`] |
//! | `signed-cookies`, `private-cookies` | session cookies that are signed, or encrypted |
//! | `cache` | [`cache`], [`marks`] |
//! | `compression` | cached responses are kept compressed, where a rule says so |
//! | `sealed-answers` | [`AnswerKeys`](idempotency::AnswerKeys): stored answers are encrypted |
//! | `redis` | `RedisBackend`, with TLS through rustls |
//! | `axum` | reads `ConnectInfo`, `MatchedPath` and `OriginalUri` where axum put them; `Session` and `Execution` as extractors, `SessionError` as a response |
//! | `tracing`, `metrics` | what [`observe`] describes |
//! | `testing` | the conformance suite, a clock to advance, a backend that fails on demand |
//! | `full` | all but `testing` |
//!
//! None is on by default.
//!
//! # When things fail
//!
//! | what fails | what a request sees |
//! |---|---|
//! | the backend is down, slow or full | its rule's choice: through, or 503; never a new error type, never longer than the backend's time-out for each rule that it asks. Sessions: 503 where the session is asked, and nobody is logged out. Requests with an idempotency key: 503, and they do not run. Cached routes: the handler answers |
//! | a reply is lost | limits: the same; the call is not repeated, so at worst one request too many is counted. Sessions and idempotency keys: the write is sent again and knows itself, so it counts once; else 503 |
//! | a client disconnects | the request is dropped where it is; nothing is left that someone must clear. A session is written if the handler had answered, and not if it had not. A request with an idempotency key goes on, and its answer is kept. What is being fetched for the cache goes on, if others wait for it or its body is on the way |
//! | an instance dies | what it counted stays; its slots, leases and idempotency keys are free after a lease. The next request with such a key runs again, or is told that nobody knows, as its rule says. What it was fetching is fetched by another |
//! | a setting cannot work | nothing: the constructor refuses it and says what to write instead |
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod backend;
#[cfg(any(feature = "cache", feature = "idempotency"))]
mod body;
#[cfg(feature = "cache")]
pub mod cache;
pub mod clock;
#[cfg(feature = "rate-limit")]
pub mod concurrency_limit;
mod error;
#[cfg(any(feature = "idempotency", feature = "session"))]
mod excerpt;
#[cfg(all(feature = "axum", any(feature = "idempotency", feature = "session")))]
mod extraction;
#[cfg(any(
    feature = "cache",
    feature = "idempotency",
    feature = "rate-limit",
    feature = "session"
))]
mod grpc;
#[cfg(feature = "idempotency")]
pub mod idempotency;
pub mod key;
#[cfg(any(feature = "cache", feature = "idempotency", feature = "session"))]
pub mod marks;
pub mod observe;
pub mod policy;
#[cfg(feature = "rate-limit")]
pub mod rate_limit;
#[cfg(any(
    feature = "cache",
    feature = "idempotency",
    feature = "rate-limit",
    feature = "session"
))]
pub mod respond;
#[cfg(any(
    feature = "cache",
    feature = "idempotency",
    feature = "rate-limit",
    feature = "session"
))]
mod rule_name;
#[cfg(any(
    feature = "cache",
    feature = "private-cookies",
    feature = "sealed-answers",
    feature = "signed-cookies"
))]
mod secret;
#[cfg(feature = "session")]
pub mod session;
#[cfg(feature = "testing")]
pub mod testing;

pub use error::ConfigError;

/// Compiles the programs in the README.
#[cfg(all(
    doctest,
    feature = "axum",
    feature = "cache",
    feature = "idempotency",
    feature = "rate-limit",
    feature = "redis",
    feature = "session"
))]
#[doc = include_str!("../README.md")]
struct Readme;
