//! Tools for tests: of your service, and of a backend of your own.
//!
//! [`ManualClock`] makes a [`MemoryBackend`](crate::backend::MemoryBackend) pass days in no time.
//! [`FaultBackend`] makes any backend fail when you say. [`conformance`] asks a backend for all
//! that the layers rely on.
//!
//! ```
//! use std::{net::SocketAddr, time::Duration};
//!
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use tower::ServiceExt as _;
//! use tower_stash::{
//!     backend::{MemoryBackend, Quotas},
//!     policy::{KeyExtractor as _, PeerAddr, peer_ip},
//!     rate_limit::{Outage, Quota, RateLimitLayer, RateLimitRule},
//!     testing::{FaultBackend, ManualClock},
//! };
//!
//! fn service(backend: impl Quotas) -> Router {
//!     let one = [("burst", Quota::per_minute(1))];
//!     let rule = RateLimitRule::new("login", peer_ip().or_reject(), one).unwrap();
//!     let limits = RateLimitLayer::new(backend, rule.with_outage(Outage::Deny)).unwrap();
//!     Router::new().route("/login", get(async || "welcome")).layer(limits)
//! }
//!
//! async fn status(app: &Router) -> u16 {
//!     let peer = PeerAddr(SocketAddr::from(([192, 0, 2, 7], 4711)));
//!     let request = Request::get("/login").extension(peer).body(Body::empty()).unwrap();
//!     app.clone().oneshot(request).await.unwrap().status().as_u16()
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let clock = ManualClock::new();
//! let app = service(MemoryBackend::new().with_clock(clock.clone()));
//! assert_eq!(status(&app).await, 200);
//! assert_eq!(status(&app).await, 429);
//! clock.advance(Duration::from_secs(60));
//! assert_eq!(status(&app).await, 200);
//!
//! let backend = FaultBackend::new(MemoryBackend::new());
//! let app = service(backend.clone());
//! backend.go_down();
//! assert_eq!(status(&app).await, 503);
//! # }
//! ```
//!
//! After five failures the layer's [`Breaker`](crate::backend::Breaker) answers for a second by
//! tokio's time, which a test under `#[tokio::test(start_paused = true)]` moves
//! with `tokio::time::advance`.

mod clock;
pub mod conformance;
mod fault;

pub use self::{
    clock::ManualClock,
    fault::{Fault, FaultBackend},
};
