//! The same behind axum-idempotent, as its documentation has it.
#![expect(
    clippy::disallowed_types,
    reason = "the peer is given the client that our backend has"
)]

use std::sync::Arc;

use axum::Router;
use axum_idempotent::{IdempotentLayer, IdempotentOptions};
use fred::clients::Client;
use ruts::{CookieOptions, SessionLayer, store::redis::RedisStore};
use tower_cookies::CookieManagerLayer;

use crate::servers::{Result, standalone::Server};

/// These handlers, with keys that clients choose: its faster mode, which compares no requests.
pub(crate) async fn router(client: &Client, handlers: Router) -> Result<Router> {
    let store = RedisStore::new(Arc::new(client.clone())).await?;
    let options = IdempotentOptions::new(DAY).use_idempotency_key_header(None, true);
    let cookie = CookieOptions::build()
        .name("session")
        .max_age(30 * DAY.unsigned_abs())
        .path("/");
    Ok(handlers
        .layer(IdempotentLayer::<RedisStore<Client>>::new(options))
        .layer(SessionLayer::new(Arc::new(store)).with_cookie_options(cookie))
        .layer(CookieManagerLayer::new()))
}

/// It lets fields of hashes expire, which Redis knows from 7.4 on, and Valkey from 9.0.
pub(crate) async fn can_run_on(server: &Server) -> Result<bool> {
    let known = server.call(&["COMMAND", "INFO", "HEXPIRE"]).await?;
    Ok(known
        .items()
        .first()
        .is_some_and(|info| !info.items().is_empty()))
}

/// In seconds.
const DAY: i64 = 24 * 60 * 60;
