//! How tokens come and go.

use http::{HeaderValue, Request, StatusCode, header::COOKIE};
use tower_stash::{
    backend::Op,
    session::{HeaderTransport, KeyRing, SessionCookie, SessionRule},
};

use crate::fixture::{Bed, Browser, max_age, web};

fn with_cookie(cookie: SessionCookie) -> SessionRule {
    web().with_cookie(cookie).unwrap()
}

#[tokio::test]
async fn the_cookie_is_as_safe_as_a_cookie_can_be() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    let answer = browser.post("/login/ada").await;
    let token = browser.token();
    assert_eq!(token.len(), 64);
    assert_eq!(
        answer.cookies(),
        [format!(
            "__Host-id={token}; Max-Age={}; Path=/; Secure; HttpOnly; SameSite=Lax",
            30 * 24 * 3_600
        )]
    );
    assert!(answer.headers["set-cookie"].is_sensitive());
    assert_eq!(max_age(answer.cookies()[0]), 2_592_000);
}

#[tokio::test]
async fn by_header_a_token_comes_and_goes_without_cookies() {
    let bed = Bed::new();
    let rule = web().with_header_transport(HeaderTransport::default());
    let client = bed.browser(rule.unwrap());
    let login = client.post("/login/ada").await;
    assert!(login.cookies().is_empty());
    let token = login.all("x-session-set")[0].to_owned();
    assert!(login.headers["x-session-set"].is_sensitive());
    let with = |path: &str, token: &str| Request::post(path).header("x-session", token.to_owned());
    let who = Request::get("/who").header("x-session", &token);
    let who = client.send(who).await;
    assert_eq!((&*who.text, who.all("x-session-set").len()), ("ada", 0));
    client.set_cookie("__Host-id", &token);
    assert_eq!(client.get("/who").await.text, "nobody", "it is no cookie");
    let out = client.send(with("/logout", &token)).await;
    assert_eq!(out.all("x-session-set"), [""]);
    let two = with("/incr/n", &token).header("x-session", "B".repeat(64));
    assert!(
        !client.send(two).await.all("x-session-set").is_empty(),
        "two are none"
    );
}

#[tokio::test]
async fn of_a_prefixed_cookie_two_tokens_are_none_and_one_twice_is_one() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    let token = browser.token();
    let asking = browser.another();
    for (cookies, who) in [
        (format!("__Host-id={token}; __Host-id={token}"), "ada"),
        (format!("__Host-id={token}; __Host-id=garbage"), "ada"),
        (format!("a=b;__Host-id={token} ;c=d"), "ada"),
        (
            format!("__Host-id={token}; __Host-id={}", "A".repeat(64)),
            "nobody",
        ),
        (format!("__host-id={token}"), "nobody"),
        (format!("%5F%5FHost-id={token}"), "nobody"),
        (format!("__Host-id=\"{token}\""), "nobody"),
        (format!("__Host-id={token}=="), "nobody"),
    ] {
        let answer = asking
            .send(Request::get("/who").header(COOKIE, &cookies))
            .await;
        assert_eq!(answer.text, who, "{cookies}");
        assert!(answer.cookies().is_empty());
    }
}

#[tokio::test]
async fn cookies_may_come_in_several_fields_and_beside_what_is_no_text() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    let token = browser.token();
    let odd = HeaderValue::from_bytes(b"odd=\xff\xfe; x=\x80").unwrap();
    let request = Request::get("/who")
        .header(COOKIE, odd)
        .header(COOKIE, format!("__Host-id={token}"))
        .header(COOKIE, "more=1");
    assert_eq!(browser.another().send(request).await.text, "ada");
}

#[tokio::test]
async fn of_a_cookie_without_prefix_the_first_living_of_four_counts() {
    let bed = Bed::new();
    let browser = bed.browser(with_cookie(SessionCookie::default().with_name("id")));
    browser.post("/login/ada").await;
    let token = browser.cookie("id").unwrap();
    let dead = |n: usize| {
        format!(
            "id={}",
            char::from(b'A' + u8::try_from(n).unwrap())
                .to_string()
                .repeat(64)
        )
    };
    for (before, who) in [(0, "ada"), (3, "ada"), (4, "nobody")] {
        let mut cookies: Vec<_> = (0..before).map(dead).collect();
        cookies.push(format!("id={token}"));
        let request = Request::get("/who").header(COOKIE, cookies.join("; "));
        let mut calls = bed.meter();
        assert_eq!(browser.another().send(request).await.text, who);
        assert_eq!(calls(), 4.min(before as u64 + 1));
    }
}

#[tokio::test]
async fn a_partitioned_cookie_replaces_the_one_before_it_was() {
    let bed = Bed::new();
    let browser = bed.browser(with_cookie(SessionCookie::default().with_partitioned()));
    assert_eq!(browser.post("/login/ada").await.cookies().len(), 1);
    let both = format!(
        "__Host-id={}; __Host-id={}",
        browser.token(),
        "A".repeat(64)
    );
    let again = browser.another();
    let again = again
        .send(Request::post("/login/ada").header(COOKIE, both))
        .await;
    let cookies = again.cookies();
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    assert!(cookies[0].starts_with("__Host-id=; Max-Age=0;"));
    assert!(!cookies[0].contains("Partitioned"));
    assert!(cookies[1].ends_with("; Partitioned"));
}

fn keys(secrets: &[&str]) -> KeyRing {
    KeyRing::new(secrets.iter().map(|secret| secret.repeat(32))).unwrap()
}

#[tokio::test]
async fn a_signed_or_encrypted_cookie_is_read_by_any_key_and_nothing_else_costs_a_call() {
    let cookie = SessionCookie::default;
    let signed = |secrets| with_cookie(cookie().with_signing_keys(keys(secrets)));
    let private = |secrets| with_cookie(cookie().with_encryption_keys(keys(secrets)));
    let kinds: [&dyn Fn(&'static [&'static str]) -> SessionRule; 2] = [&signed, &private];
    for rule in kinds {
        let bed = Bed::new();
        let old = bed.browser(rule(&["a"]));
        old.post("/login/ada").await;
        let value = old.token();
        let rotated = bed.browser(rule(&["b", "a"]));
        rotated.set_cookie("__Host-id", &value);
        assert_eq!(rotated.get("/who").await.text, "ada");
        rotated.post("/renew").await;
        let new = bed.browser(rule(&["b"]));
        new.set_cookie("__Host-id", &rotated.token());
        assert_eq!(new.get("/who").await.text, "ada");

        let plain = bed.browser(web());
        plain.post("/login/eve").await;
        let gets = bed.backend.calls(Op::Get);
        let mut forged = value.clone();
        forged.replace_range(10..11, if &value[10..11] == "A" { "B" } else { "A" });
        for unsigned in [plain.token(), value[..64].to_owned(), forged, value] {
            new.set_cookie("__Host-id", &unsigned);
            assert_eq!(new.get("/who").await.text, "nobody");
        }
        assert_eq!(bed.backend.calls(Op::Get), gets);
    }
}

/// Bytes from a seed.
fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

/// Whatever can be in a header at all.
fn as_header(mut bytes: Vec<u8>) -> HeaderValue {
    bytes.retain(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f));
    HeaderValue::from_bytes(&bytes).unwrap()
}

async fn survives(browser: &Browser, cookie: HeaderValue) {
    let shown = format!("{cookie:?}");
    for request in [Request::get("/who"), Request::post("/logout")] {
        let answer = browser.send(request.header(COOKIE, cookie.clone())).await;
        assert_eq!(answer.status, StatusCode::OK, "{shown}");
        assert!(answer.cookies().is_empty(), "{shown}");
    }
}

#[tokio::test]
async fn any_bytes_as_a_cookie_are_no_session_and_never_reach_the_backend() {
    let bed = Bed::new();
    for rule in [
        web(),
        with_cookie(SessionCookie::default().with_signing_keys(keys(&["a"]))),
        with_cookie(SessionCookie::default().with_encryption_keys(keys(&["a"]))),
    ] {
        let browser = bed.browser(rule);
        for seed in 0..300 {
            let len = usize::try_from(seed).unwrap();
            survives(&browser, as_header(random(seed, len))).await;
            let mut named = b"__Host-id=".to_vec();
            // Never the alphabet alone, at the length of a token.
            named.push(b'!');
            named.extend(random(seed, len));
            survives(&browser, as_header(named)).await;
        }
        for len in [0, 1, 63, 65, 87, 88, 89, 123, 124, 125, 4_000] {
            for letter in ["A", "-", "_", "=", "/", "+", ";", " "] {
                if len == 64 {
                    continue;
                }
                let cookie = format!("__Host-id={}", letter.repeat(len));
                survives(&browser, HeaderValue::try_from(cookie).unwrap()).await;
            }
        }
    }
    assert_eq!(bed.backend.total_calls(), 0);
}

#[tokio::test]
async fn a_token_of_another_family_or_secret_opens_nothing() {
    let bed = Bed::new();
    let browser = bed.browser(web());
    browser.post("/login/ada").await;
    let foreign = bed.browser(SessionRule::new("admin").unwrap());
    foreign.set_cookie("__Host-id", &browser.token());
    assert_eq!(foreign.get("/who").await.text, "nobody");
    let layer = bed.layer(web()).with_key_secret("another");
    let gate = bed.gate.clone();
    let secret = Browser::new(&crate::fixture::shop(layer.handle(), gate).layer(layer));
    secret.set_cookie("__Host-id", &browser.token());
    assert_eq!(secret.get("/who").await.text, "nobody");
}
