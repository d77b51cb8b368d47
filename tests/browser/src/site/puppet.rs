//! A host that sets the cookies it is told to.

use std::fmt::Write as _;

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Response, header},
    response::{Html, IntoResponse as _, Redirect},
    routing::{any, get},
};
use http::Uri;

/// Pages `/` and `/page`, `/echo` for any method, `/go?ADDRESS`, which redirects there, and `/set`,
/// whose query [`path_setting`] writes.
pub(crate) fn puppet() -> Router {
    Router::new()
        .route("/", get(async || html("home")))
        .route("/page", get(async || html("page")))
        .route("/echo", any(async || html("echo")))
        .route(
            "/go",
            get(async |uri: Uri| Redirect::to(uri.query().unwrap_or_default())),
        )
        .route("/set", get(async |uri: Uri| setting(read_lines(&uri))))
}

/// A small page.
pub(crate) fn html(text: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><title>{text}</title><body>{text}</body>"
    ))
}

/// A small page that sets cookies.
pub(crate) fn setting<L>(lines: impl IntoIterator<Item = L>) -> Response<Body>
where
    L: AsRef<[u8]>,
{
    let mut response = html("set").into_response();
    for line in lines {
        let line = HeaderValue::from_bytes(line.as_ref()).expect("a line that can be sent");
        response.headers_mut().append(header::SET_COOKIE, line);
    }
    response
}

/// Where a puppet sets cookies: every byte as `%xx`, lines parted by `&`.
pub(super) fn path_setting(lines: &[&str]) -> String {
    let mut path = "/set?".to_owned();
    for (number, line) in lines.iter().enumerate() {
        if number > 0 {
            path.push('&');
        }
        for byte in line.bytes() {
            write!(path, "%{byte:02x}").expect("strings take everything");
        }
    }
    path
}

fn read_lines(uri: &Uri) -> Vec<Vec<u8>> {
    let lines = uri.query().unwrap_or_default().split('&');
    lines
        .map(|line| line.split('%').filter_map(read_byte).collect())
        .collect()
}

fn read_byte(digits: &str) -> Option<u8> {
    u8::from_str_radix(digits, 16).ok()
}
