//! The requests: all routes are sent the same headers.

use crate::{app::Route, load::FRESH};

/// As browsers and other programs send them.
pub(crate) const HEADERS: [(&str, &str); 4] = [
    ("host", "shop.example"),
    ("accept", "application/json"),
    ("accept-encoding", "gzip, br"),
    ("user-agent", "bench/1.0"),
];

/// What a client of this number asks for on a route.
pub(crate) fn path(route: Route, client: usize) -> String {
    if route.is_new() {
        format!("{}/{FRESH}", route.path())
    } else {
        format!("{}/{client:012}", route.path())
    }
}

/// As it is written to a connection.
pub(crate) fn to_http(route: Route, client: usize) -> String {
    let headers = HEADERS.map(|(name, value)| format!("{name}: {value}\r\n"));
    format!(
        "GET {} HTTP/1.1\r\n{}\r\n",
        path(route, client),
        headers.concat()
    )
}
