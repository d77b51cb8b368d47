//! A WebSocket.

use axum::response::{IntoResponse as _, Response};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tower_stash::session::Session;

use super::shop::Answer;

/// Opens a WebSocket for whom it knows, and says nothing there (RFC 6455 §4.2.2).
pub(super) async fn live(session: Session, asked: HeaderMap) -> Answer<Response> {
    if session.user().await?.is_none() {
        return Ok(StatusCode::UNAUTHORIZED.into_response());
    }
    let Some(key) = asked.get(header::SEC_WEBSOCKET_KEY) else {
        return Ok(StatusCode::BAD_REQUEST.into_response());
    };
    let upgrade = [
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accept(key)),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, upgrade).into_response())
}

fn accept(key: &HeaderValue) -> HeaderValue {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), GUID].concat());
    let accept = BASE64_STANDARD.encode(hash);
    HeaderValue::try_from(accept).expect("base64 is a value")
}

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
