//! Answers requests from what earlier ones were answered, on whatever instance: a shared cache as
//! RFC 9111 describes it, with purging, in a layer.
//!
//! ```
//! # fn main() -> Result<(), tower_stash::ConfigError> {
//! # #[cfg(feature = "axum")] {
//! use std::time::Duration;
//! use axum::{Router, extract::{Path, State}, response::IntoResponse, routing::get};
//! use tower_stash::{
//!     backend::MemoryBackend,
//!     cache::{CacheLayer, CacheRule, CacheTags, Purge, PurgeError},
//!     policy::Routes,
//! };
//!
//! async fn show(Path(id): Path<u64>) -> impl IntoResponse {
//!     (CacheTags::new([format!("product:{id}")]), format!("product {id}"))
//! }
//!
//! async fn update(State(purge): State<Purge>, Path(id): Path<u64>) -> Result<(), PurgeError> {
//!     // Save it first.
//!     purge.tag(format!("product:{id}")).await
//! }
//!
//! let product = CacheRule::new("product")?.with_ttl(Duration::from_secs(60));
//! let cache = CacheLayer::new(
//!     MemoryBackend::new(), // or RedisBackend::connect(url).await?
//!     Routes::new().get("/products/{id}", product),
//! )?;
//! let app: Router = Router::new()
//!     .route("/products/{id}", get(show).put(update))
//!     .with_state(cache.purge())
//!     .layer(cache);
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! A rule stores what responses allow. Without [`with_ttl`](CacheRule::with_ttl) that is what they say
//! in `Cache-Control` or `Expires`; with it, also what says nothing. A proxy before servers that know
//! HTTP caching takes the whole of the standard:
//!
//! ```
//! use tower_stash::{
//!     backend::MemoryBackend,
//!     cache::{CacheLayer, CacheRule, Profile, Query},
//! };
//!
//! let site = CacheRule::new("site")?
//!     .with_profile(Profile::compliance())
//!     .with_hosts(["example.com"])
//!     .with_query(Query::ignore(["utm_*"]).sorted());
//! let cache = CacheLayer::new(MemoryBackend::new(), site)?;
//! # Ok::<(), tower_stash::ConfigError>(())
//! ```
//!
//! # What happens to a request
//!
//! 1. A GET or HEAD with a rule is looked up by scheme, host, path and query: one round trip, two
//!    where headers choose between responses and this instance has not seen lately which.
//! 2. What is stored answers it while it is fresh; stale, if that is allowed, while one request
//!    fetches it anew in the background ([`with_stale_while_revalidate`]); or if the handler fails
//!    ([`with_stale_if_error`]). Parts (`Range`), conditions and HEAD are answered from the whole.
//! 3. Else one request among all instances calls the handler ([`Coalescing`]), the others wait for
//!    what it stores. What may not be stored is not shared: as soon as the head says so, everybody
//!    calls the handler for himself, and for two minutes nobody waits.
//! 4. The response goes to its client frame by frame; a copy is stored when its body has ended as it
//!    should. A client that goes away does not keep it from being stored.
//!
//! POST and other unsafe requests that succeed purge their URL, and those that `Location` and
//! `Content-Location` name (RFC 9111 §4.4), before they answer.
//!
//! | | round trips |
//! |---|---|
//! | no rule | 0 |
//! | hit | 1 |
//! | miss | 3, the last of them after the response |
//! | what cannot be stored | 2, or 1 within a second of the last |
//! | purge of a tag; of a URL | 3; 2 |
//!
//! Besides, an instance asks twice a second, while it is busy, what was purged.
//!
//! # Purging
//!
//! [`CacheTags`], `Cache-Tag`, `Surrogate-Key` and `Cache-Groups` (RFC 9875) say what a response is
//! made of; [`Purge`] purges by tag, by URL, or all, hard or soft. A purge writes a time stamp, and
//! each stored response has the time at which its fetching began: whatever was begun before the purge
//! is not used after it, also if it is stored later. So purge *after* the write.
//!
//! When `purge.tag(..).await` is `Ok`, this instance uses nothing older; others stop when the message
//! comes, or else within two seconds ([`Consistency`]).
//!
//! # What is never stored
//!
//! `no-store`, `private`, 206, 304, 429, streams of events, bodies over
//! [a limit](CacheRule::with_body_limit), answers that depend on a session of this crate, replays,
//! rejections, and what a handler marks as [`NoStore`](crate::marks::NoStore). By default neither what
//! sets cookies, nor what was made for a request with cookies or `Authorization` unless it says that it
//! is for all; [`Profile`] has the choices. [`NotStored`] lists all reasons; each response says its own
//! in `Cache-Status` (RFC 9211) and in its extensions ([`CacheOutcome`]), where the head tells: `stored`
//! there means that storing began.
//!
//! # Where it belongs
//!
//! Outside of the handlers, inside of rate limits and of what authenticates, if the key has
//! [a part](CacheRule::with_key_part) for who asks. Sessions belong outside, too: inside, a stored
//! response would skip them. What asked a session of this crate is never stored, whatever the key. Compression belongs outside, or into the rule; inside, each encoding is a
//! response of its own.
//!
//! # Words
//!
//! What became of a request ([`OutcomeKind`]) is counted in metrics, and told in events and in
//! [`CacheOutcome`]. Why the cache was not for it ([`Bypass`]), or why its response was not stored
//! ([`NotStored`]), is told in [`CacheOutcome`] and as `detail` of `Cache-Status`, the first also by
//! [`CacheLayer::explain`].
//!
//! | word | says of | that |
//! |---|---|---|
//! | `hit` | outcome | it was answered from the store |
//! | `stale` | outcome | the same, by what is stale |
//! | `stale_if_error` | outcome | the same, as the handler failed |
//! | `collapsed` | outcome | it was answered by what another request fetched meanwhile |
//! | `revalidated` | outcome | it was answered from the store, after the handler said that this still holds |
//! | `miss` | outcome | the handler answered it |
//! | `bypass` | outcome | the handler answered it, as the cache is not for it |
//! | `unavailable` | outcome | the handler answered it, as the backend does not |
//! | `only_if_cached` | outcome | it wanted only what is stored: 504 |
//! | `invalidated` | outcome | the handler answered it, and its URL is purged |
//! | `condition` | bypass | the rule's condition does not hold |
//! | `upgrade` | bypass | `Upgrade`: it wants another protocol |
//! | `request_body` | bypass | it is a GET or HEAD with a body |
//! | `precondition` | bypass | `If-Match` or `If-Unmodified-Since` |
//! | `request_no_store` | bypass, not stored | the request says `no-store` |
//! | `credentials` | bypass | it has credentials for which what is stored is not, or which the key does not cover |
//! | `head` | bypass | it is a HEAD for what is not stored |
//! | `range` | bypass | it asks for a part of what is not stored |
//! | `not_unary` | bypass, not stored | the gRPC call, or the answer to it, is not one message |
//! | `message_too_long` | bypass | the message of the gRPC call is longer than 64 KiB |
//! | `no_host` | bypass | it names no host, or none that is one |
//! | `several_hosts` | bypass | it names several |
//! | `host_not_listed` | bypass | its host is none of the rule's |
//! | `forwarded_host` | bypass | `X-Forwarded-Host` names another |
//! | `rewritten_url` | bypass | `X-Original-URL`, `X-Rewrite-URL` |
//! | `overridden_method` | bypass | `X-HTTP-Method-Override` and the like |
//! | `scheme` | bypass | its scheme is neither `http` nor `https` |
//! | `path` | bypass | its path does not begin with `/` |
//! | `method` | not stored | its method is not GET |
//! | `authorization` | not stored | the request has `Authorization`, and the response is not for all |
//! | `cookie_in_request` | not stored | the request has `Cookie`, and the response is not for all |
//! | `replay` | not stored | it is a replay of the idempotency layer |
//! | `session` | not stored | it depends on a session |
//! | `denial` | not stored | a layer of this crate denied the request |
//! | `marked` | not stored | the mark [`NoStore`](crate::marks::NoStore) |
//! | `status` | not stored | its status is never stored, or not by this rule |
//! | `partial` | not stored | 206 |
//! | `malformed` | not stored | its directives or its `Vary` cannot be read |
//! | `grpc_status` | not stored | the gRPC call failed |
//! | `no_store` | not stored | it says `no-store` |
//! | `private` | not stored | it says `private` |
//! | `set_cookie` | not stored | it sets a cookie |
//! | `no_freshness` | not stored | neither it nor the rule says how long it is fresh |
//! | `no_validator` | not stored | it is never fresh, and cannot be validated |
//! | `vary_star` | not stored | `Vary: *` |
//! | `vary_credentials` | not stored | it varies on cookies or `Authorization` |
//! | `vary_too_many` | not stored | it varies on more than eight headers |
//! | `too_many_variants` | not stored | this process stores as many of its URL as it may |
//! | `vary_hidden` | not stored | it varies on what its handler was not shown |
//! | `tags` | not stored | too many tags, or too long ones |
//! | `trailers` | not stored | it has trailers |
//! | `event_stream` | not stored | it has no end |
//! | `too_large` | not stored | its headers or its body are too long |
//! | `busy` | not stored | this process keeps as many bytes of others as it may |
//! | `body_failed` | not stored | its body broke off |
//! | `handler_failed` | not stored | the handler failed |
//! | `not_leader` | not stored | another request stores the same |
//! | `backend` | not stored | the backend does not answer |
//!
//! # When the backend fails
//!
//! Requests go to the handler, and nothing is stored; none waits for the backend longer than 100 ms a
//! call. Only purges return errors. Redis replicates asynchronously: a replica that is promoted may
//! lack the newest purges, so each instance repeats those of its last minute when the connection is
//! back. Under `maxmemory`, use `noeviction` or `volatile-ttl`: other policies may drop the stamp of a
//! purge before what it purged.
//!
//! [`with_stale_while_revalidate`]: CacheRule::with_stale_while_revalidate
//! [`with_stale_if_error`]: CacheRule::with_stale_if_error

mod answer;
mod ask;
mod body;
mod bypass;
mod call;
mod case;
mod early;
mod engine;
mod explanation;
mod fetch;
mod future;
mod invalidation;
mod layer;
mod outcome;
mod protocol;
mod purge;
mod record;
mod rule;
mod semantics;
mod service;
mod shared;
mod stamps;
mod tags;
mod unary;
mod url;
mod values;
mod visit;

pub use self::{
    body::ResponseBody,
    bypass::Bypass,
    engine::{Coalescing, Consistency},
    explanation::{EntryExplanation, Explanation, PlaceExplanation, Reason, Verdict},
    future::ResponseFuture,
    layer::CacheLayer,
    outcome::{CacheOutcome, OutcomeKind},
    purge::{BearerToken, Purge, PurgeError, PurgeErrorKind, PurgeService},
    rule::{Authorization, CacheRule, Profile, Query, RequestCookies, SetCookie},
    semantics::NotStored,
    service::Cache,
    tags::CacheTags,
    values::{Keep, Values},
};
pub use crate::body::RequestBody;
