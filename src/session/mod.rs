//! Sessions that all instances of a service share.
//!
//! A [`SessionRule`] says how the sessions of one family live and what a route may do with them; a
//! policy says which requests fall under which rule; a [`SessionLayer`] gives each such request a
//! [`Session`], and writes what the request changed before the head of its response leaves.
//!
//! ```
//! use axum::{Form, Router, extract::State, http::StatusCode, routing::{get, post}};
//! use tower_stash::{
//!     backend::MemoryBackend,
//!     session::{Session, SessionError, SessionLayer, SessionRule, Sessions},
//! };
//!
//! let backend = MemoryBackend::new();
//! let sessions = SessionLayer::new(backend.clone(), SessionRule::new("web")?)?.with_users(backend)?;
//! let app: Router = Router::new()
//!     .route("/login", post(log_in))
//!     .route("/me", get(me))
//!     .route("/logout", post(log_out))
//!     .with_state(sessions.handle())
//!     .layer(sessions);
//!
//! #[derive(serde::Deserialize)]
//! struct Login {
//!     user: String,
//!     password: String,
//! }
//!
//! async fn log_in(
//!     State(sessions): State<Sessions>,
//!     session: Session,
//!     Form(login): Form<Login>,
//! ) -> Result<StatusCode, SessionError> {
//!     let ticket = sessions.begin_login(&login.user).await?; // before the password is checked
//!     if login.password != "correct horse" {
//!         return Ok(StatusCode::UNAUTHORIZED);
//!     }
//!     session.login(ticket).await?; // with the response: a new secret, and the old one is dead
//!     Ok(StatusCode::NO_CONTENT)
//! }
//!
//! async fn me(session: Session) -> Result<String, SessionError> {
//!     Ok(session.user().await?.unwrap_or_else(|| "a stranger".into()))
//! }
//!
//! async fn log_out(session: Session) -> Result<StatusCode, SessionError> {
//!     session.destroy().await?; // at once; sessions.destroy_all(user) ends those of all devices
//!     Ok(StatusCode::NO_CONTENT)
//! }
//! # Ok::<(), tower_stash::ConfigError>(())
//! ```
//!
//! Different routes, different rules; shorter lives; no requests of other sites' pages; at most
//! five devices; and a second layer for staff, with a cookie of its own and a marker by which its
//! handlers find it:
//!
//! ```
//! use std::time::Duration;
//! use axum::{Router, routing::get};
//! use tower_stash::{
//!     backend::MemoryBackend,
//!     policy::{Policy as _, Routes},
//!     session::{Csrf, MaxSessions, OnGone, Session, SessionCookie, SessionLayer, SessionRule},
//! };
//!
//! const HOUR: Duration = Duration::from_secs(3_600);
//!
//! let backend = MemoryBackend::new();
//! let shop = SessionRule::new("shop")?
//!     .with_timeouts(8 * HOUR, 7 * 24 * HOUR)?
//!     .with_rotation_every(HOUR)?
//!     .with_csrf(Csrf::new());
//! let routes = Routes::new()
//!     .get("/poll", shop.clone().with_read_only().without_slide())
//!     .post("/checkout", shop.clone().with_strict_commits().with_on_gone(OnGone::Reject))
//!     .any("/account/{*rest}", shop.clone().with_required_user())
//!     .or(shop); // all others
//! let customers = SessionLayer::new(backend.clone(), routes)?
//!     .with_users(backend.clone())?
//!     .with_max_sessions(MaxSessions::EvictOldest(5))?;
//!
//! enum Staff {}
//! let desk = SessionRule::new("desk")?
//!     .with_cookie(SessionCookie::strict().with_name("__Host-desk"))?
//!     .with_timeouts(HOUR / 2, 8 * HOUR)?
//!     .with_required_user();
//! let desk = Routes::new().any("/desk/{*rest}", desk);
//! let staff = SessionLayer::new(backend, desk)?.with_marker::<Staff>();
//!
//! let app: Router = Router::new()
//!     .route("/account/orders", get(async |_customer: Session| "your orders"))
//!     .route("/desk/orders", get(async |_clerk: Session<Staff>| "all orders"))
//!     .layer(customers)
//!     .layer(staff);
//! # Ok::<(), tower_stash::ConfigError>(())
//! ```
//!
//! In axum a [`Session`] is an extractor. Elsewhere it is in the request's extensions:
//! `request.extensions().get::<Session>()`. [`moving`] shows, line by line, how code comes here
//! from tower-sessions, `axum_session`, actix-session, and express-session with connect-redis.
//!
//! # What a session is
//!
//! | | |
//! |---|---|
//! | attributes | [`get`](Session::get), [`insert`](Session::insert), [`remove`](Session::remove), [`clear`](Session::clear): a name and any serde type |
//! | a struct | [`typed`](Session::typed), [`set_typed`](Session::set_typed): each field is an attribute, written if it changed |
//! | what must not be lost in between | [`update`](Session::update), [`incr`](Session::incr), [`take`](Session::take): written at once, by compare and swap |
//! | a token for forms | [`csrf_token`](Session::csrf_token), [`verify_csrf_token`](Session::verify_csrf_token); [`Csrf`] does without |
//! | messages for the next page | [`flash`](Session::flash), [`flashes`](Session::flashes) |
//! | a user | [`login`](Session::login), [`user`](Session::user), [`renew`](Session::renew), [`destroy`](Session::destroy) |
//! | all sessions of a user | [`Sessions`]: [`devices`](Sessions::devices), [`destroy_device`](Sessions::destroy_device), [`destroy_others`](Sessions::destroy_others), [`destroy_all`](Sessions::destroy_all) |
//! | beyond the request | [`detach`](Session::detach): for a WebSocket, a stream, a task |
//!
//! A session has up to 64 attributes, with names of up to 64 bytes, in all 62 KiB. It begins when
//! something is written, or by [`start`](Session::start). A visitor who leaves nothing has no
//! session and gets no cookie.
//!
//! A session without a user ends after an hour without a request that asked for it, and after 24
//! hours in any case; one with a user after 24 hours, and after 30 days. See
//! [`with_timeouts`](SessionRule::with_timeouts) and
//! [`with_anonymous_timeouts`](SessionRule::with_anonymous_timeouts).
//!
//! "Remember me" is a rule for those who tick it, and a
//! [shorter life](LoginTicket::with_lifetime) for the others. The idle time-out is the rule's for
//! both, so it must reach as far:
//!
//! ```
//! use std::time::Duration;
//! use tower_stash::session::{Session, SessionError, SessionRule, Sessions};
//!
//! const DAY: Duration = Duration::from_secs(24 * 3_600);
//!
//! let web = SessionRule::new("web")?.with_timeouts(30 * DAY, 90 * DAY)?;
//!
//! async fn log_in(
//!     sessions: &Sessions,
//!     session: &Session,
//!     user: &str,
//!     is_remembered: bool,
//! ) -> Result<(), SessionError> {
//!     let mut ticket = sessions.begin_login(user).await?; // before the password is checked
//!     if !is_remembered {
//!         ticket = ticket.with_lifetime(DAY / 2);
//!     }
//!     session.login(ticket).await
//! }
//! # Ok::<(), tower_stash::ConfigError>(())
//! ```
//!
//! # What clients see
//!
//! * **A cookie** when a session begins, when somebody logs in, and when its secret is replaced:
//!   `__Host-id; Max-Age=…; Path=/; Secure; HttpOnly; SameSite=Lax`. What else it may be is said by
//!   a [`SessionCookie`]. Its `Max-Age` reaches up to the session's last possible moment, so moving
//!   the idle time-out needs no cookie. Or no cookie but two headers: a [`HeaderTransport`].
//! * **Its removal** when the request has ended the session, in any other case nothing: a token
//!   that is unknown, expired or replaced is not removed, since the answer might arrive after that
//!   of a login that ran at the same time.
//! * **`Vary: Cookie`** and, where the handler says nothing else, `Cache-Control: no-store` on
//!   responses whose request asked its session for something. A response that sets the cookie is
//!   always `no-store`. Caches of yours can ask the [mark](crate::marks::SessionAccessed).
//! * **Answers of the layer's own**, as `application/problem+json`, or a gRPC status where the
//!   request is a gRPC call; see [`Respond`](crate::respond::Respond) for other forms:
//!
//! | status | gRPC | when |
//! |---|---|---|
//! | 401 | `UNAUTHENTICATED` | nobody is logged in and the rule [requires a user](SessionRule::with_required_user); a login is not to be: the ticket is too old, the user was logged out everywhere meanwhile or has too many sessions; the session ended meanwhile and the rule [rejects that](SessionRule::with_on_gone) |
//! | 403 | `PERMISSION_DENIED` | another site's page may have made the request, and the rule [asks](SessionRule::with_csrf) |
//! | 409 | `ABORTED` | somebody else wrote the session meanwhile and the rule is [strict](SessionRule::with_strict_commits) |
//! | 500 | `INTERNAL` | the policy gave a rule that is not of the layer's family, a mistake of the program |
//! | 503 | `UNAVAILABLE` | the session could not be read for a rule that requires a user; it could not be written, and the rule does not [keep such responses](SessionRule::with_on_outage), or the request was a login |
//!
//! What is written, [`with_respond`](SessionLayer::with_respond) says; the response's extensions have
//! the [`Rejection`](crate::respond::Rejection).
//!
//! A [`SessionError`] that a handler passes on is the handler's own answer: with the feature `axum`
//! a problem description as well, with the error's [status](SessionError::status), for 503
//! `Retry-After: 1`, and the error's text as `detail`; `with_respond` is not asked, and there is no
//! `Rejection`. The same is so for the extractors [`SessionUser`] and [`MissingSession`]. For pages
//! of one form, turn the error into a response in your program's error type, by its
//! [kind](SessionError::kind); for gRPC there is [`grpc_code`](SessionError::grpc_code).
//!
//! # Within a request
//!
//! A request sees what it has changed itself, though that is stored only with the response: `get`,
//! `typed` and `flashes` give what was set, and [`user`](Session::user) who was logged in by this
//! request. [`state`](Session::state), [`id`](Session::id), [`detach`](Session::detach) and the
//! calls of [`Sessions`] go by what is stored: of a session that this request begins or logs in
//! with, they tell from the next request on.
//!
//! # Browser and mobile app together
//!
//! Two layers, each with a rule of another name: a cookie for browsers, headers for the app. To keep
//! handlers apart, the second has a marker:
//!
//! ```
//! use axum::{Router, extract::State, http::StatusCode, routing::{get, post}};
//! use tower_stash::{
//!     backend::MemoryBackend,
//!     policy::Routes,
//!     session::{
//!         HeaderTransport, Session, SessionError, SessionLayer, SessionRule, SessionUser, Sessions,
//!     },
//! };
//!
//! enum Mobile {}
//!
//! let backend = MemoryBackend::new();
//! let browsers = SessionLayer::new(backend.clone(), SessionRule::new("web")?)?
//!     .with_users(backend.clone())?;
//! let mobile = SessionRule::new("mobile")?.with_header_transport(HeaderTransport::default())?;
//! let mobile = SessionLayer::new(backend.clone(), Routes::new().any("/api/{*rest}", mobile))?
//!     .with_users(backend)?
//!     .with_marker::<Mobile>();
//!
//! let app: Router = Router::new()
//!     .route("/me", get(async |user: SessionUser| user.into_inner()))
//!     .route("/api/me", get(async |user: SessionUser<Mobile>| user.into_inner()))
//!     .route("/password", post(change_password))
//!     .with_state((browsers.handle(), mobile.handle()))
//!     .layer(browsers)
//!     .layer(mobile);
//!
//! async fn change_password(
//!     State((browsers, mobile)): State<(Sessions, Sessions<Mobile>)>,
//!     session: Session,
//!     user: SessionUser,
//! ) -> Result<StatusCode, SessionError> {
//!     // When the new one is stored, once for each family:
//!     browsers.destroy_others(&session).await?;
//!     mobile.destroy_all(&*user).await?;
//!     session.renew().await?;
//!     Ok(StatusCode::NO_CONTENT)
//! }
//! # Ok::<(), tower_stash::ConfigError>(())
//! ```
//!
//! A user's sessions of the two families know nothing of each other: `destroy_all`, `devices` and
//! [`with_max_sessions`](SessionLayer::with_max_sessions) are for one of them, so ask both handles.
//! What they must not have in common is said at [`with_marker`](SessionLayer::with_marker).
//!
//! # What a browser makes of it
//!
//! Some things happen after the response has left, where no server can help:
//!
//! * **Back after a logout.** What Chromium 156 was seen to do: of a page with `no-store`, which is
//!   the default of pages that asked their session, it asks again once the logout has removed the
//!   cookie; one with `Cache-Control: private` or `no-cache` it restores from memory as it was. One
//!   with `no-store` it restores as well if the redirect of a login led to it whose response set the
//!   cookie, or if the session was ended elsewhere, so that the cookie is still there;
//!   `Clear-Site-Data` does not change that. What must not be seen again reloads itself:
//!   `addEventListener('pageshow', (event) => event.persisted && location.reload())`.
//! * **Answers that cross.** If the answer of a slow logout arrives after that of a login that began
//!   meanwhile, its removal takes the newer cookie, and the user logs in again. The other way round
//!   a cookie of the session that was ended comes back, and opens nothing.
//! * **Answers that are lost.** A client that never got the answer of a
//!   [rotation](SessionRule::with_rotation_every) comes with the old secret, which works for ten
//!   minutes; after that it is logged out. One that never got the answer of a login is a stranger at
//!   once, as the old secret is dead.
//!
//! # Over plain HTTP
//!
//! A `Secure` cookie travels over TLS only, but most clients make an exception for the own machine:
//! curl for `localhost` and `127.0.0.1` (tried with 7.88), Chromium for these, `*.localhost` and
//! the rest of 127.0.0.0/8 (tried), Firefox for `localhost` and 127.0.0.0/8 (by its source). Safari
//! makes none (`WebKit` bug 281149), and nobody makes one for other addresses of a local network.
//! For these there is [`SessionCookie::insecure_for_development`]. A cookie of `localhost` is none
//! of `127.0.0.1`, and ports make no difference.
//!
//! # What it promises
//!
//! * **Read your writes.** The head of a response leaves after what its request wrote is stored.
//!   Reads never go to a replica.
//! * **Nothing is lost between requests that change different attributes**, however many run at
//!   once. Of the same attribute, the value of the later commit stands.
//! * **`update`, `incr` and `take` are exact.** Of several at the same moment each sees what the
//!   one before left. A reply that was lost is found again, or reported as
//!   [`Indeterminate`](SessionErrorKind::Indeterminate).
//! * **What has ended stays ended**, by logout, revocation, expiry or eviction: a request that was
//!   under way writes nothing any more, however late it comes.
//! * **A login replaces the secret.** Whoever had the old one has nothing, and requests that were
//!   under way with it write nothing.
//! * **A rotation loses no request.** Those with either secret write during the overlap, and of
//!   several rotations one wins. A client that never gets the new secret has 10 minutes left.
//! * **No surprise cookie.** A response has one only if its request began the session, replaced its
//!   secret or ended it.
//! * **Time-outs by the backend's clock.** A session ends when its idle or its absolute time-out is
//!   over: never later, and earlier by [`touch_every`](SessionRule::with_touch_every), a round trip
//!   and the backend's [clock skew](crate::backend::KeyValue::clock_skew) at most.
//! * **Logging out everywhere** reaches each session, and each login whose
//!   [ticket](Sessions::begin_login) is older: when it returns, they have failed or ended. After an
//!   error, calling it again goes on.
//! * **An outage is not absence.** While the backend is away nobody is taken for a stranger: no
//!   cookie changes, nothing is written over.
//! * **A failed request leaves nothing.** What was staged by a request that ends in 5xx, in a panic
//!   or by a client that goes away before the handler has answered is not written;
//!   [`with_save_if`](SessionRule::with_save_if) says otherwise. Once the handler has answered, a
//!   client that goes away stops nothing.
//! * **A write that comes too late is an error**, [`Sealed`](SessionErrorKind::Sealed), not a
//!   silence: after the head, a stream or a task only reads.
//! * **Secrets are not stored, logged or printed.** The backend holds digests of them.
//!
//! Not promised: that a failover to a replica which lacks the newest writes, or a restored backup,
//! does not bring back a session that had ended. And a handler that does more than its session (a
//! row in a database, a mail) is not undone with it.
//!
//! # When the backend is away
//!
//! Requests that do not ask their session pass. For those that do, every call on the [`Session`] is
//! an error of the kind [`Unavailable`](SessionErrorKind::Unavailable): 503 with `Retry-After: 1`
//! if the handler passes it on. If the backend goes away between the handler's answer and the
//! write, that answer is replaced by 503, or kept where the rule says [`OnOutage::Keep`]; a login
//! is never told to have worked that did not. A cookie is neither set nor removed, also if a
//! [`destroy`](Session::destroy) failed.
//!
//! The layer adds a [`Breaker`](crate::backend::Breaker) and no time-out: `RedisBackend` has its
//! own; wrap a backend that may hang in a [`Timeout`](crate::backend::Timeout).
//!
//! # What it costs
//!
//! | request | round trips |
//! |---|---|
//! | that does not ask its session | 0 |
//! | that asks, without a token, or with one that is not well-formed | 0 |
//! | that reads | 1 |
//! | that writes the first thing, without a token | 1 |
//! | that writes what was there already | 1 |
//! | that reads and writes, however much | 2 |
//! | `update`, `incr`, `take`, each; each writer who was faster | 1 more |
//! | an idle time-out that is to be moved | 1 more; with an index of users 2 |
//! | `destroy` | 2; with an index of users 3 |
//! | a login | 2; with [an index of users](SessionLayer::with_users) 5 |
//! | [`destroy_all`](Sessions::destroy_all) | 2, and 3 for each session |
//!
//! A stored session takes 200 bytes, the user's name, and for each attribute its name, its JSON and
//! six bytes. A user's index has 16 bytes for each session. All of them expire.
//!
//! # Outcomes
//!
//! In [metrics and events](crate::observe), of each request with a rule:
//!
//! | outcome | what became of it |
//! |---|---|
//! | `untouched` | nothing was asked of the session |
//! | `read` | it was read |
//! | `slid` | it was read, and its idle time-out moved |
//! | `saved` | what changed was written |
//! | `created` | a session began, or somebody logged in |
//! | `renewed` | it has another secret |
//! | `destroyed` | it was ended by this request |
//! | `gone` | what changed is lost: the session ended, or somebody logged in with it, meanwhile |
//! | `conflict` | 409, on a strict route |
//! | `unauthenticated` | 401, on a route that requires a user |
//! | `cross_site` | 403, before anything was asked of the session |
//! | `login_refused` | 401, in the place of the handler's answer to a login |
//! | `outage` | the session could not be read for the rule, or not be written |
//!
//! At level WARN, where something was lost: a session that could not be read, or not be written, a
//! login that left sessions behind which it should have ended, a secret that came back long after a
//! rotation replaced it (see [`OnReuse`]), and a rule that is not of the layer's family, which is
//! no outcome.

mod admission;
mod answer;
mod commit;
mod csrf;
mod delta;
mod detach;
mod error;
mod exact;
mod expiry;
#[cfg(feature = "axum")]
mod extract;
mod flash;
mod future;
mod id;
mod job;
mod json;
mod layer;
mod limits;
pub mod moving;
mod names;
mod outcome;
mod record;
mod rejection;
mod rule;
mod service;
#[expect(clippy::module_inception, reason = "it is what the module is about")]
mod session;
mod sessions;
mod settle;
mod shared;
mod state;
mod store;
mod token;
mod transport;
mod typed;
mod users;
mod visit;
mod work;

#[cfg(feature = "axum")]
pub use self::extract::{MissingSession, SessionUser};
#[cfg(any(feature = "signed-cookies", feature = "private-cookies"))]
pub use self::transport::KeyRing;
pub use self::{
    csrf::Csrf,
    detach::Detached,
    error::{SessionError, SessionErrorKind},
    flash::Flash,
    future::ResponseFuture,
    id::SessionId,
    layer::SessionLayer,
    rule::{OnGone, OnOutage, OnReuse, SessionRule},
    service::SessionService,
    session::{Main, Session, SessionState},
    sessions::Sessions,
    transport::{HeaderTransport, SameSite, SessionCookie},
    users::{DeviceSession, LoginTicket, MaxSessions},
};
