//! Runs each request with an idempotency key once, and gives its one answer to every repetition.
//!
//! A client that got no answer sends its request again, and pays twice. With an `Idempotency-Key`
//! (draft-ietf-httpapi-idempotency-key-header) it says that it is the same request, and this layer
//! sees to it that it is done once: through double clicks, retries, a crash of an instance, replies
//! of the backend that are lost, and deployments.
//!
//! ```
//! use axum::{Json, Router, routing::post};
//! use tower_stash::{
//!     backend::MemoryBackend,
//!     idempotency::{Execution, IdempotencyLayer, IdempotencyRule, Recovery},
//!     policy::{KeyExtractor as _, Routes, extension},
//! };
//!
//! /// Put into the request's extensions by your authentication, further outside.
//! type UserId = u64;
//!
//! async fn pay(run: Execution) -> Json<u64> {
//!     // The payment provider has idempotency keys of its own: one for each key of ours.
//!     let _ = run.downstream_key("charge");
//!     Json(4711)
//! }
//!
//! let idempotency = IdempotencyLayer::new(
//!     MemoryBackend::new(),
//!     extension::<UserId>().or_reject(), // whose key it is
//!     Routes::new().post("/payments", IdempotencyRule::new("payments", Recovery::ReExecute)?),
//! )?;
//! let app: Router = Router::new().route("/payments", post(pay)).layer(idempotency);
//! # Ok::<(), tower_stash::ConfigError>(())
//! ```
//!
//! Outside of it belongs what says who asks, so that a replay is given to nobody else; and what
//! concerns this one exchange: tracing, CORS, compression, rate limits.
//!
//! # What happens to a request
//!
//! 1. Its body is read, and with method, path, query, content type and key it makes a fingerprint.
//! 2. Its key is claimed: one round trip. Whoever has it already decides: a request with another
//!    fingerprint gets 422, one whose twin is at work 409 (or waits), one whose twin has answered gets
//!    that answer, with `Idempotent-Replayed: true`.
//! 3. The handler runs in a task of its own, which goes on when the client disconnects. The claim is a
//!    lease; an instance that lives renews it, three times in its length, if the handler takes so long.
//! 4. The answer is recorded: one round trip. Then it leaves.
//!
//! When an instance dies, its lease runs out, and [`Recovery`] says what the next request with the key
//! gets: the handler runs again, or nobody does and the client is told so. When the backend dies,
//! nothing begins ([`Outage`]), and what has begun ends by its `Recovery`.
//!
//! | | round trips |
//! |---|---|
//! | no rule, or no key where it is optional | 0 |
//! | first run | 2; with [`Recovery::Never`] 3 |
//! | replay, 409, 422 | 1 |
//! | a run that takes over, or tries again | 1 more |
//! | a run that takes longer than a third of its lease | 1 more for each third |
//!
//! # What it does not do
//!
//! It is not exactly-once beyond this service: a handler that dies after it charged a card, and before
//! that is recorded, has charged it. Pass [`Execution::downstream_key`] to providers that have
//! idempotency keys, write under the [fence](Execution::fence) where you have the data, and record
//! [recovery points](Execution::checkpoint) in between:
//!
//! ```
//! use tower_stash::idempotency::{CheckpointError, Execution};
//!
//! # async fn ask_the_provider(_: &str) -> String { "ch_1".into() }
//! # async fn write_to_ledger(_: &[u8], _fence: u64) {}
//! async fn pay(run: &Execution) -> Result<(), CheckpointError> {
//!     let charge = match run.recovered("charged") {
//!         Some(charge) => charge,
//!         None => {
//!             let charge = ask_the_provider(&run.downstream_key("charge")).await;
//!             run.checkpoint("charged", charge.clone()).await?;
//!             charge.into()
//!         }
//!     };
//!     write_to_ledger(&charge, run.fence()).await;
//!     Ok(())
//! }
//! ```
//!
//! Redis replicates asynchronously: a replica that is promoted may lack the newest claim, which can
//! then run twice, or the newest answer. `WAIT` narrows this and does not close it. An evicted record is
//! a second run too, so the server's `maxmemory-policy` is to be `noeviction`. A clock that is set
//! forward ends leases early. A [`MemoryBackend`](crate::backend::MemoryBackend) that is full drops the least
//! recently used records, which is the same.
//!
//! # Jobs, and locks
//!
//! [`Idempotent`] does the same for work that is no request: jobs of a queue, webhooks. [`Leases`] are
//! locks by name, with a fence. [`moving`] shows how code comes here from other middleware and from
//! locks around handlers.
//!
//! # Outcomes
//!
//! As the label `outcome` of [`tower_stash_requests_total`](crate::observe): `ran`, `replayed`,
//! `mismatch` (422), `busy` (409), `unknown` (nobody knows what became of it), `unrecorded` (it ran, and
//! its answer could not be recorded), `bypassed` (it ran without protection), `lost` (it ran, and
//! somebody else had taken its key), `rejected` (it cannot be protected), `unavailable` (503).
//!
//! # Problems
//!
//! Rejections are `application/problem+json` whose `type` ends in one of these words, with a `Link` to
//! it; gRPC calls get the status.
//!
//! ### key-missing
//!
//! 400, `INVALID_ARGUMENT`: the route needs an idempotency key. Send one that you have never used.
//!
//! ### key-invalid
//!
//! 400, `INVALID_ARGUMENT`: the key is malformed, or there are several. `detail` says what is wrong.
//!
//! ### scope-missing
//!
//! 400, `INVALID_ARGUMENT`: the request does not say whose key it has, since nobody is logged in, say.
//!
//! ### body-too-large
//!
//! 413, `RESOURCE_EXHAUSTED`: the body has more bytes than the rule allows. Nothing was done.
//!
//! ### body-incomplete
//!
//! 408 or 400, `DEADLINE_EXCEEDED` or `INVALID_ARGUMENT`: the body did not arrive in time, or not as a
//! whole. Nothing was done.
//!
//! ### streaming
//!
//! 501, `UNIMPLEMENTED`: an upgrade, or a gRPC call of no or several messages, cannot be repeated.
//!
//! ### key-reused
//!
//! 422, `FAILED_PRECONDITION`: the key was used for a request that asked for something else. Send this
//! one with a key of its own.
//!
//! ### in-progress
//!
//! 409, `ABORTED`: a request with this key is being processed. Send it again after `Retry-After`, or
//! `retry_after_ms`.
//!
//! ### not-replayable
//!
//! 409, `ALREADY_EXISTS`: the request was processed; its response was too large to be kept. It had
//! `original_status`, and what it made may be at `location`.
//!
//! ### outcome-unknown
//!
//! 500, `UNKNOWN`: the request may have been processed, and nobody knows. Under [`Recovery::Never`] this is
//! final until an operator settles it; else the same request may be sent again.
//!
//! ### handler-panicked
//!
//! 500, `INTERNAL`: the request failed while it was processed. It may be sent again.
//!
//! ### record-unreadable
//!
//! 500, `INTERNAL`: what is recorded under this key is damaged, or encrypted with a key that this
//! instance does not have. It stays as it is.
//!
//! ### unavailable
//!
//! 503, `UNAVAILABLE`: the backend does not answer, or this instance is shutting down. Nothing was done;
//! send it again.

mod admission;
mod answer;
#[cfg(feature = "sealed-answers")]
mod answer_keys;
mod asker;
mod catch_panic;
mod conduct;
mod engine;
mod execution;
#[cfg(feature = "axum")]
mod extract;
mod future;
mod gather;
mod handle;
mod handler;
mod idempotent;
mod inspection;
mod intake;
mod judge;
mod layer;
mod lease;
pub mod moving;
mod outcome;
mod pending;
mod problem;
mod protocol;
mod race;
mod record_error;
mod recovery_points;
mod rooms;
mod rule;
mod service;
mod shared;
mod tally;
mod tracker;

#[cfg(feature = "sealed-answers")]
#[cfg_attr(docsrs, doc(cfg(feature = "sealed-answers")))]
pub use self::answer_keys::AnswerKeys;
#[cfg(feature = "axum")]
pub use self::extract::MissingExecution;
pub use self::{
    answer::ResponseBody,
    execution::{CheckpointError, Execution},
    future::ResponseFuture,
    handle::IdempotencyHandle,
    idempotent::{Done, Idempotent, RunError},
    inspection::{Inspection, KeyState},
    intake::{KeySyntax, canonical_json},
    layer::IdempotencyLayer,
    lease::{Lease, LeaseError, Leases},
    outcome::Outcome,
    record_error::{RecordError, RecordErrorKind},
    rule::{IdempotencyRule, InProgress, KeyPresence, Outage, Recovery, StorePolicy, Unrecorded},
    service::Idempotency,
};
pub use crate::body::RequestBody;
