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
//! Sessions: somebody logs in, sends the cookie that they were given, and is away for a day. A
//! request made by hand is `https` or not, as you like: the layer does not look.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::{
//!     Router,
//!     body::{Body, to_bytes},
//!     http::{HeaderMap, Request},
//!     routing::{get, post},
//! };
//! use tower::ServiceExt as _;
//! use tower_stash::{
//!     backend::MemoryBackend,
//!     session::{Session, SessionLayer, SessionRule},
//!     testing::ManualClock,
//! };
//!
//! const HOUR: Duration = Duration::from_secs(3_600);
//!
//! fn service(backend: MemoryBackend) -> Router {
//!     let rule = SessionRule::new("web").unwrap();
//!     let layer = SessionLayer::new(backend, rule.with_timeouts(8 * HOUR, 24 * HOUR).unwrap());
//!     let layer = layer.unwrap();
//!     let sessions = layer.handle();
//!     let log_in = async move |session: Session| {
//!         let ticket = sessions.begin_login("ada").await?;
//!         session.login(ticket).await
//!     };
//!     let me = async |session: Session| session.user().await.map(Option::unwrap_or_default);
//!     Router::new().route("/login", post(log_in)).route("/me", get(me)).layer(layer)
//! }
//!
//! /// What a client with this cookie is answered.
//! async fn ask(app: &Router, target: &str, cookie: &str) -> (HeaderMap, String) {
//!     let (method, path) = target.split_once(' ').unwrap();
//!     let request = Request::builder().method(method).uri(path).header("cookie", cookie);
//!     let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
//!     let (head, body) = response.into_parts();
//!     let body = to_bytes(body, 1_000_000).await.unwrap();
//!     (head.headers, String::from_utf8(body.to_vec()).unwrap())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let clock = ManualClock::new();
//! let app = service(MemoryBackend::new().with_clock(clock.clone()));
//!
//! let (headers, _) = ask(&app, "POST /login", "").await;
//! let cookie = headers["set-cookie"].to_str().unwrap();
//! let (cookie, _) = cookie.split_once(';').unwrap(); // __Host-id=…
//!
//! clock.advance(7 * HOUR);
//! assert_eq!(ask(&app, "GET /me", cookie).await.1, "ada"); // which moves the idle time-out
//! clock.advance(7 * HOUR);
//! assert_eq!(ask(&app, "GET /me", cookie).await.1, "ada");
//! clock.advance(8 * HOUR);
//! assert_eq!(ask(&app, "GET /me", cookie).await.1, "");
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
