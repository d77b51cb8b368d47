//! Sessions that all instances of a service share.

mod answer;
mod commit;
mod csrf;
mod delta;
mod detach;
mod error;
mod expiry;
#[cfg(feature = "axum")]
mod extract;
mod flash;
mod future;
mod job;
mod json;
mod layer;
mod limits;
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
mod store;
mod token;
mod transport;
mod typed;
mod users;
mod visit;

#[cfg(feature = "axum")]
pub use self::extract::MissingSession;
#[cfg(any(feature = "signed-cookies", feature = "private-cookies"))]
pub use self::transport::KeyRing;
pub use self::{
    csrf::Csrf,
    detach::Detached,
    error::{SessionError, SessionErrorKind},
    flash::Flash,
    future::ResponseFuture,
    layer::SessionLayer,
    rule::{OnGone, OnOutage, OnReuse, SessionRule},
    service::SessionService,
    session::{Main, Session, SessionId, SessionState},
    sessions::Sessions,
    transport::{HeaderTransport, SameSite, SessionCookie},
    users::{DeviceSession, LoginTicket, MaxSessions},
};
