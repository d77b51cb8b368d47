//! What makes two requests the same.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
    request::Parts,
};

use super::key_syntax::IdempotencyKey;
use crate::{
    idempotency::protocol::Fingerprint,
    key::{Digester, KeyParts},
    policy::asked_uri::asked_uri,
};

/// What of a request its fingerprint covers; cheap to clone.
///
/// Always the scope, the key, the method, and path and query as the client asked for them. Then the
/// chosen headers, and the body in one of the forms below. Values count byte by byte as they were
/// sent, and field lines of one name in their order.
#[derive(Clone, Debug, Default)]
pub(in crate::idempotency) struct Recipe {
    /// By name, each once.
    headers: Arc<[HeaderName]>,
    body: BodyForm,
}

/// What stands for `Content-Type`, `Content-Encoding` and body of a request.
pub(in crate::idempotency) type BodyHook = Arc<dyn Fn(&Parts, &Bytes) -> KeyParts + Send + Sync>;

/// What stands for the body.
#[derive(Clone, Default)]
enum BodyForm {
    /// It does, with `Content-Type` and `Content-Encoding`.
    #[default]
    AsSent,
    /// `Content-Digest` in place of the body, if there is one.
    ContentDigest,
    Hook(BodyHook),
}

impl fmt::Debug for BodyForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AsSent => "AsSent",
            Self::ContentDigest => "ContentDigest",
            Self::Hook(_) => "Hook",
        })
    }
}

impl Recipe {
    /// Covers these headers too; in which order they are named does not matter.
    #[must_use]
    pub(in crate::idempotency) fn with_headers(
        mut self,
        names: impl IntoIterator<Item = HeaderName>,
    ) -> Self {
        let mut headers: Vec<_> = self.headers.iter().cloned().chain(names).collect();
        headers.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        headers.dedup();
        self.headers = headers.into();
        self
    }

    /// Covers the field `Content-Digest` (RFC 9530 §2) in place of the body where a request has
    /// one. It is trusted: whether it is the body's, nobody looks.
    #[must_use]
    pub(in crate::idempotency) fn with_content_digest(mut self) -> Self {
        self.body = BodyForm::ContentDigest;
        self
    }

    /// Covers what this says, in place of `Content-Type`, `Content-Encoding` and body.
    #[must_use]
    pub(in crate::idempotency) fn with_body_hook(mut self, hook: BodyHook) -> Self {
        self.body = BodyForm::Hook(hook);
        self
    }

    /// The fingerprint of the request with this head and body, which has this key in this scope.
    ///
    /// It is under the digester's secret, so that who reads the store can test no guess of a body.
    pub(in crate::idempotency) fn fingerprint(
        &self,
        digester: &Digester,
        scope: &KeyParts,
        key: &IdempotencyKey,
        parts: &Parts,
        body: &Bytes,
    ) -> Fingerprint {
        let uri = asked_uri(parts);
        let mut covered = KeyParts::new().with(LABEL);
        push_all(&mut covered, scope);
        covered.push(key.as_str());
        covered.push(parts.method.as_str());
        covered.push((uri.path(), uri.query()));
        covered.push(self.headers.len());
        for name in &*self.headers {
            push_lines(&mut covered, &parts.headers, name);
        }
        let tail = self.push_body(&mut covered, parts, body);
        Fingerprint::from_bytes(*digester.hash_with_tail(&covered, tail).as_bytes())
    }

    /// Appends what stands for the body, but for the bytes that come last and need no copy.
    fn push_body<'a>(&self, covered: &mut KeyParts, parts: &Parts, body: &'a Bytes) -> &'a [u8] {
        if let BodyForm::Hook(hook) = &self.body {
            covered.push("hook");
            push_all(covered, &hook(parts, body));
            return &[];
        }
        push_lines(covered, &parts.headers, &CONTENT_TYPE);
        push_lines(covered, &parts.headers, &CONTENT_ENCODING);
        let is_digest = matches!(self.body, BodyForm::ContentDigest);
        if is_digest && parts.headers.contains_key(CONTENT_DIGEST) {
            covered.push("digest");
            push_lines(covered, &parts.headers, &CONTENT_DIGEST);
            return &[];
        }
        covered.push("body");
        body
    }
}

/// Appends the field lines of this name in their order; none is not the same as an empty one.
pub(super) fn push_lines(covered: &mut KeyParts, headers: &HeaderMap, name: &HeaderName) {
    let lines = headers.get_all(name);
    covered.push(name.as_str());
    covered.push(lines.iter().count());
    for line in lines {
        covered.push(line.as_bytes());
    }
}

/// Appends all of these parts so that none of them may be taken for what comes next.
fn push_all(covered: &mut KeyParts, parts: &KeyParts) {
    covered.push(parts.len());
    covered.extend(parts);
}

/// Changes with what is covered, and how.
const LABEL: &str = "tower-stash idempotency fingerprint 1";

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;
    use crate::idempotency::intake::key_syntax::KeySyntax;

    /// All that goes into a fingerprint, to change one thing of.
    #[derive(Clone)]
    struct Asked {
        secret: &'static [u8],
        scope: KeyParts,
        key: &'static str,
        method: &'static str,
        uri: &'static str,
        original: Option<&'static str>,
        headers: Vec<(&'static str, &'static [u8])>,
        body: &'static [u8],
    }

    impl Asked {
        fn under(&self, recipe: &Recipe) -> Fingerprint {
            let mut request = Request::builder().method(self.method).uri(self.uri);
            for (name, value) in &self.headers {
                request = request.header(*name, HeaderValue::from_bytes(value).unwrap());
            }
            if let Some(original) = self.original {
                request = request.extension(axum::extract::OriginalUri(original.parse().unwrap()));
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let digester = Digester::with_secret(self.secret);
            let body = Bytes::from_static(self.body);
            recipe.fingerprint(&digester, &self.scope, &key(self.key), &parts, &body)
        }

        fn with_headers(&self, headers: &[(&'static str, &'static [u8])]) -> Self {
            Self {
                headers: headers.to_vec(),
                ..self.clone()
            }
        }
    }

    fn asked() -> Asked {
        Asked {
            secret: b"pepper",
            scope: KeyParts::new().with("payments").with(7_u64),
            key: "8e03978e",
            method: "POST",
            uri: "/api/payments?dry=1",
            original: None,
            headers: vec![
                ("content-type", b"application/json"),
                ("content-encoding", b"gzip"),
                ("x-tenant", b"acme"),
                ("x-tenant", b"eu"),
                ("x-region", b"north"),
                ("date", b"today"),
            ],
            body: b"{\"amount\":5}",
        }
    }

    fn key(text: &'static str) -> IdempotencyKey {
        let name = HeaderName::from_static("idempotency-key");
        let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(text))]);
        KeySyntax::Lenient.read(&headers, &name).unwrap().unwrap()
    }

    fn names(names: &[&'static str]) -> Vec<HeaderName> {
        names
            .iter()
            .map(|name| HeaderName::from_static(name))
            .collect()
    }

    fn recipe() -> Recipe {
        Recipe::default().with_headers(names(&["x-tenant", "x-region"]))
    }

    /// Whether all of these have fingerprints of their own under this recipe.
    fn all_differ(recipe: &Recipe, all: &[Asked]) -> bool {
        let prints: Vec<_> = all.iter().map(|asked| asked.under(recipe)).collect();
        let is_new = |(at, print)| !prints[..at].contains(print);
        prints.iter().enumerate().all(is_new)
    }

    #[test]
    fn a_request_sent_again_has_the_same_fingerprint() {
        assert!(asked().under(&recipe()) == asked().under(&recipe()));
    }

    #[test]
    fn changing_any_one_thing_changes_the_fingerprint() {
        let one = asked();
        let scope = |scope: KeyParts| Asked {
            scope,
            ..one.clone()
        };
        let uri = |uri| Asked { uri, ..one.clone() };
        let changed = [
            one.clone(),
            Asked {
                secret: b"salt",
                ..one.clone()
            },
            scope(KeyParts::new().with("payments").with(8_u64)),
            scope(KeyParts::new().with("refunds").with(7_u64)),
            scope(KeyParts::new().with("payments")),
            scope(KeyParts::new()),
            Asked {
                key: "8e03978f",
                ..one.clone()
            },
            Asked {
                key: "8E03978e",
                ..one.clone()
            },
            Asked {
                method: "PATCH",
                ..one.clone()
            },
            uri("/api/payment?dry=1"),
            uri("/api/payments/?dry=1"),
            uri("/api/%70ayments?dry=1"),
            uri("/api/payments?dry=0"),
            uri("/api/payments?"),
            uri("/api/payments"),
            Asked {
                body: b"{\"amount\":6}",
                ..one.clone()
            },
            Asked {
                body: b"{\"amount\": 5}",
                ..one.clone()
            },
            Asked {
                body: b"",
                ..one.clone()
            },
        ];
        assert!(all_differ(&recipe(), &changed));
    }

    #[test]
    fn changing_any_line_of_a_covered_header_changes_the_fingerprint() {
        for name in ["content-type", "content-encoding", "x-tenant", "x-region"] {
            let with = |lines: &[&'static [u8]]| {
                let others = asked()
                    .headers
                    .into_iter()
                    .filter(|(other, _)| *other != name);
                let lines = lines.iter().map(|line| (name, *line));
                Asked {
                    headers: others.chain(lines).collect(),
                    ..asked()
                }
            };
            let changed = [
                with(&[]),
                with(&[b""]),
                with(&[b"", b""]),
                with(&[b"a"]),
                with(&[b"A"]),
                with(&[b"a", b"b"]),
                with(&[b"b", b"a"]),
                with(&[b"ab"]),
                with(&[b"a, b"]),
                with(&[b"a,b"]),
                with(&[b"\xE9"]),
            ];
            assert!(all_differ(&recipe(), &changed), "{name}");
        }
    }

    #[test]
    fn moving_a_byte_between_neighbours_changes_the_fingerprint() {
        let one = Asked {
            scope: KeyParts::new().with("a").with("bc"),
            key: "POST",
            uri: "/a?b",
            body: b"body",
            ..asked().with_headers(&[("x-region", b"north"), ("x-tenant", b"acme")])
        };
        let scope = |scope: KeyParts| Asked {
            scope,
            ..one.clone()
        };
        let lines = |lines| one.with_headers(lines);
        let typed = |lines, body| Asked {
            body,
            ..one.with_headers(lines)
        };
        let moved = [
            one.clone(),
            scope(KeyParts::new().with("ab").with("c")),
            scope(KeyParts::new().with("abc")),
            Asked {
                key: "bcPOST",
                ..scope(KeyParts::new().with("a"))
            },
            Asked {
                key: "cPOST",
                ..scope(KeyParts::new().with("a").with("b"))
            },
            Asked {
                key: "POS",
                method: "TPOST",
                ..one.clone()
            },
            Asked {
                key: "P",
                method: "OSTPOST",
                ..one.clone()
            },
            Asked {
                uri: "/ab",
                ..one.clone()
            },
            Asked {
                uri: "/?ab",
                ..one.clone()
            },
            lines(&[("x-region", b"northa"), ("x-tenant", b"cme")]),
            lines(&[
                ("x-region", b"north"),
                ("x-tenant", b"acm"),
                ("content-type", b"e"),
            ]),
            lines(&[("x-region", b"north"), ("x-region", b"acme")]),
            lines(&[("x-tenant", b"north"), ("x-tenant", b"acme")]),
            lines(&[("x-tenant", b"north"), ("x-region", b"acme")]),
            typed(
                &[("content-type", b"text"), ("content-encoding", b"br")],
                b"body",
            ),
            typed(
                &[("content-type", b"textb"), ("content-encoding", b"r")],
                b"body",
            ),
            typed(
                &[("content-type", b"text"), ("content-encoding", b"brb")],
                b"ody",
            ),
            typed(
                &[("content-type", b"text"), ("content-type", b"br")],
                b"body",
            ),
            typed(
                &[("content-encoding", b"text"), ("content-encoding", b"br")],
                b"body",
            ),
        ];
        assert!(all_differ(&recipe(), &moved));
    }

    #[test]
    fn headers_of_different_names_may_come_in_any_order_and_case() {
        let reordered = asked().with_headers(&[
            ("date", b"today"),
            ("X-Region", b"north"),
            ("X-TENANT", b"acme"),
            ("content-encoding", b"gzip"),
            ("x-tenant", b"eu"),
            ("Content-Type", b"application/json"),
        ]);
        assert!(reordered.under(&recipe()) == asked().under(&recipe()));
    }

    #[test]
    fn a_header_that_nobody_chose_does_not_count() {
        let mut other = asked();
        other.headers.push(("x-request-id", b"2"));
        other.headers.retain(|(name, _)| *name != "date");
        assert!(other.under(&recipe()) == asked().under(&recipe()));
    }

    #[test]
    fn which_headers_are_chosen_counts_and_in_which_order_does_not() {
        let one = recipe();
        let reversed = Recipe::default()
            .with_headers(names(&["x-region"]))
            .with_headers(names(&["x-tenant", "x-region"]));
        assert!(asked().under(&one) == asked().under(&reversed));
        for chosen in [
            &["x-tenant"][..],
            &["x-region"],
            &["date", "x-region", "x-tenant"],
        ] {
            let other = Recipe::default().with_headers(names(chosen));
            assert!(asked().under(&one) != asked().under(&other));
        }
    }

    #[test]
    fn the_path_is_the_one_that_the_client_asked_for() {
        let nested = Asked {
            uri: "/payments",
            original: Some("/api/payments?dry=1"),
            ..asked()
        };
        assert!(nested.under(&recipe()) == asked().under(&recipe()));
        let elsewhere = Asked {
            original: Some("/v2/payments?dry=1"),
            ..nested
        };
        assert!(elsewhere.under(&recipe()) != asked().under(&recipe()));
    }

    #[test]
    fn a_content_digest_stands_for_the_body_where_there_is_one() {
        let by_digest = recipe().with_content_digest();
        let with = |digests: &[&'static [u8]], body| {
            let mut asked = Asked { body, ..asked() };
            let digests = digests.iter().map(|digest| ("content-digest", *digest));
            asked.headers.extend(digests);
            asked
        };
        let one = with(&[b"sha-256=:YQ==:"], b"body");
        let same = with(&[b"sha-256=:YQ==:"], b"other body");
        assert!(one.under(&by_digest) == same.under(&by_digest));
        assert!(one.under(&recipe()) != same.under(&recipe()));
        let mut other_type = one.clone();
        other_type.headers[0].1 = b"text/plain";
        let differ = [
            one,
            other_type,
            with(&[b"sha-256=:Yg==:"], b"body"),
            with(&[b"sha-256=:YQ==:", b"sha-512=:YQ==:"], b"body"),
            with(&[b"sha-512=:YQ==:", b"sha-256=:YQ==:"], b"body"),
            with(&[b""], b"body"),
            with(&[], b"body"),
            with(&[], b"other body"),
            with(&[], b"sha-256=:YQ==:"),
        ];
        assert!(all_differ(&by_digest, &differ));
    }

    #[test]
    fn without_a_content_digest_the_body_counts_as_ever() {
        let by_digest = recipe().with_content_digest();
        assert!(asked().under(&by_digest) == asked().under(&recipe()));
    }

    #[test]
    fn a_hook_stands_for_the_body_and_what_is_said_of_it() {
        let first_byte = |_: &Parts, body: &Bytes| KeyParts::new().with(body[..1].to_vec());
        let hooked = recipe().with_body_hook(Arc::new(first_byte));
        let mut same = asked();
        same.body = b"{}";
        same.headers
            .retain(|(name, _)| !name.starts_with("content-"));
        assert!(same.under(&hooked) == asked().under(&hooked));
        let other = Asked {
            body: b"[]",
            ..asked()
        };
        let elsewhere = Asked {
            uri: "/",
            ..asked()
        };
        assert!(all_differ(&hooked, &[asked(), other, elsewhere]));
    }

    #[test]
    fn a_hook_sees_the_head() {
        let tenant =
            |parts: &Parts, _: &Bytes| KeyParts::new().with(parts.headers["x-trial"].as_bytes());
        let hooked = Recipe::default().with_body_hook(Arc::new(tenant));
        let one = asked().with_headers(&[("x-trial", b"1")]);
        let other = asked().with_headers(&[("x-trial", b"2")]);
        assert!(all_differ(&hooked, &[one, other]));
    }

    #[test]
    fn a_body_is_not_copied() {
        let digester = Digester::default();
        let (parts, ()) = Request::post("/").body(()).unwrap().into_parts();
        let body = Bytes::from(vec![7; 1 << 20]);
        let (key, scope, recipe) = (key("k"), KeyParts::new().with("a"), recipe());
        let counted = allocation_counter::measure(|| {
            let print = recipe.fingerprint(&digester, &scope, &key, &parts, &body);
            std::hint::black_box(print);
        });
        assert!(counted.bytes_total < 4_096, "{}", counted.bytes_total);
    }

    /// Requests are known again after a deployment only if this stays as it is.
    #[test]
    fn a_fingerprint_is_made_as_the_format_says() {
        let text = |text: &str| framed(1, text.as_bytes());
        let bytes = |bytes: &[u8]| framed(2, bytes);
        let number = |number: u128| framed(3, &number.to_be_bytes());
        let scope = [text("payments"), number(7)].concat();
        let covered = [
            text("tower-stash idempotency fingerprint 1"),
            number(scope.len() as u128),
            scope,
            text("8e03978e"),
            text("POST"),
            text("/api/payments"),
            text("dry=1"),
            number(2),
            [text("x-region"), number(1), bytes(b"north")].concat(),
            [text("x-tenant"), number(2), bytes(b"acme"), bytes(b"eu")].concat(),
            [text("content-type"), number(1), bytes(b"application/json")].concat(),
            [text("content-encoding"), number(1), bytes(b"gzip")].concat(),
            text("body"),
            bytes(b"{\"amount\":5}"),
        ];
        let secret = blake3::derive_key("tower-stash 2026 key digest v1", b"pepper");
        let expected = blake3::keyed_hash(&secret, &covered.concat());
        let print = asked().under(&recipe());
        assert_eq!(print.as_bytes(), expected.as_bytes());
        assert_eq!(expected.to_hex().as_str(), GOLDEN);
    }

    fn framed(tag: u8, bytes: &[u8]) -> Vec<u8> {
        [&[tag][..], &(bytes.len() as u64).to_be_bytes(), bytes].concat()
    }

    const GOLDEN: &str = "9d6dd2c895ddeed2d6906544151b5305cede1db5dbe4b07ee61743fb9587b03c";
}
