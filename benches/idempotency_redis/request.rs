//! The requests: all routes are sent the same headers and body, but for the key.

use crate::{
    app::{Key, Route},
    load::FRESH,
};

/// What is sent.
pub(crate) struct Asked<'a> {
    pub(crate) path: &'a str,
    pub(crate) client: usize,
    pub(crate) key: Option<String>,
}

impl<'a> Asked<'a> {
    /// One whose key is this number.
    pub(crate) fn numbered(path: &'a str, client: usize, number: usize) -> Self {
        let key = Some(format!("{KNOWN}-{number:012}"));
        Self { path, client, key }
    }

    /// One of those under load.
    pub(crate) fn loaded(route: Route, client: usize) -> Self {
        let path = route.path();
        match route.key() {
            Key::Known => Self::numbered(path, client, 0),
            Key::New => Self {
                path,
                client,
                key: Some(format!("{NEW}-{FRESH}")),
            },
            Key::None => Self {
                path,
                client,
                key: None,
            },
        }
    }

    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let client = self.client;
        [
            ("content-type", "application/json".to_owned()),
            ("x-client", format!("client-of-the-bench-{client:05}")),
            // A session of the peer, whose keys are in sessions: 16 bytes as base64url.
            ("cookie", format!("session=bench-session-{client:07}A")),
        ]
        .into_iter()
        .chain(self.key.clone().map(|key| ("idempotency-key", key)))
    }

    /// As it is written to a connection.
    pub(crate) fn to_http(&self) -> String {
        let headers: Vec<String> = self
            .headers()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let headers = headers.concat();
        format!(
            "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n{headers}\r\n{BODY}",
            self.path,
            BODY.len(),
        )
    }
}

pub(crate) const BODY: &str =
    r#"{"amount":4200,"currency":"EUR","customer":"c-00042","items":[{"sku":"apple","count":3}]}"#;

/// With twelve digits more, keys are as long as UUIDs.
const KNOWN: &str = "8e03978e-40d5-43dd-bc93";
const NEW: &str = "0c6ae7f1-9a5d-4b5e-8f02";
