//! What is read is what was set; nothing else is, and nothing that browsers drop can be set.

use ::cookie::{Cookie as Judged, time::Duration as JudgedAge};
use http::{HeaderValue, header::SET_COOKIE};
use proptest::{collection::vec, prelude::*, sample::select};

use super::{cookie::Kept, values::Values, *};

/// A cookie of some settings that no prefix forbids.
fn cookies() -> impl Strategy<Value = SessionCookie> {
    let host = select(vec![
        "__Host-id",
        "__Host-Http-id",
        "__Host-a.b!#$%&'*+^`|~_x",
    ]);
    let host = host.prop_map(|name| SessionCookie::default().with_name(name));
    let free = (
        select(vec!["id", "__Secure-id", "__Http-id", "_"]),
        select(vec!["/", "/app", "/a/b%20c/~x"]),
        select(vec![None, Some("shop.example"), Some("a.B-c.xn--p1ai")]),
    );
    let free = free.prop_map(|(name, path, domain)| {
        let cookie = SessionCookie::default().with_name(name).with_path(path);
        domain.map_or(cookie.clone(), |domain| cookie.with_domain(domain))
    });
    let insecure = Just(SessionCookie::insecure_for_development());
    let cookie = prop_oneof![host, free, insecure];
    let site = select(vec![
        None,
        Some(SameSite::Strict),
        Some(SameSite::Lax),
        Some(SameSite::None),
    ]);
    let keys = select(vec![None, Some(true), Some(false)]);
    let settings = (cookie, site, any::<[bool; 3]>(), keys);
    settings
        .prop_map(
            |(mut cookie, site, [partitioned, browser, exposed], is_signed)| {
                if let Some(site) = site {
                    cookie = cookie.with_same_site(site);
                }
                if partitioned {
                    cookie = cookie.with_partitioned();
                }
                if browser {
                    cookie = cookie.with_browser_session();
                }
                if exposed {
                    cookie = cookie.with_exposure_to_scripts();
                }
                match is_signed {
                    Some(true) => cookie.with_signing_keys(keys_of(b'k')),
                    Some(false) => cookie.with_encryption_keys(keys_of(b'k')),
                    None => cookie,
                }
            },
        )
        .prop_filter("refused", |cookie| check::check(cookie).is_ok())
}

fn keys_of(byte: u8) -> KeyRing {
    KeyRing::new([[byte; 32]]).unwrap()
}

fn transport(cookie: SessionCookie) -> Transport {
    Transport::cookie(cookie).unwrap()
}

fn named(name: &str) -> Transport {
    transport(SessionCookie::default().with_name(name))
}

fn token() -> Token {
    Token::random().unwrap()
}

fn text(token: Token) -> String {
    String::from_utf8(token.text().to_vec()).unwrap()
}

/// A request with these `Cookie` fields.
fn request<const N: usize>(fields: [impl AsRef<[u8]>; N]) -> HeaderMap {
    fields
        .into_iter()
        .map(|field| (COOKIE, HeaderValue::from_bytes(field.as_ref()).unwrap()))
        .collect()
}

fn read(transport: &Transport, request: &HeaderMap) -> Vec<Token> {
    transport.read(request).tokens().collect()
}

fn set_cookies(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all(SET_COOKIE).iter();
    values
        .map(|value| str::from_utf8(value.as_bytes()).unwrap())
        .collect()
}

fn issued(transport: &Transport, token: Token) -> String {
    let mut headers = HeaderMap::new();
    transport.issue(&Presented::default(), &token, DAY, &mut headers);
    let [line] = set_cookies(&headers)[..] else {
        panic!("{headers:?}");
    };
    line.to_owned()
}

fn removal(transport: &Transport) -> String {
    let mut headers = HeaderMap::new();
    transport.remove(&mut headers);
    let [line] = set_cookies(&headers)[..] else {
        panic!("{headers:?}");
    };
    line.to_owned()
}

/// What a client sends back.
fn pair(set_cookie: &str) -> &str {
    set_cookie.split(';').next().unwrap()
}

fn problem(cookie: SessionCookie) -> String {
    Transport::cookie(cookie).unwrap_err().to_string()
}

// What is set.

#[test]
fn the_default_cookie_is_host_only_secure_http_only_and_lax() {
    let token = token();
    assert_eq!(
        issued(&Transport::default(), token),
        format!(
            "__Host-id={}; Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=Lax",
            text(token)
        )
    );
    assert_eq!(
        removal(&Transport::default()),
        "__Host-id=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax"
    );
    // It goes past the checks, and passes them.
    assert!(check::check(&SessionCookie::default()).is_ok());
}

#[test]
fn presets_are_what_their_names_say() {
    let attributes = |cookie| {
        let line = issued(&transport(cookie), token());
        let (pair, attributes) = line.split_once("; ").unwrap();
        let name = pair.split_once('=').unwrap().0;
        format!("{name}; {attributes}")
    };
    assert_eq!(
        attributes(SessionCookie::strict()),
        "__Host-id; Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=Strict"
    );
    assert_eq!(
        attributes(SessionCookie::host_http()),
        "__Host-Http-id; Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=Lax"
    );
    assert_eq!(
        attributes(SessionCookie::default().with_partitioned()),
        "__Host-id; Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=None; Partitioned"
    );
    assert_eq!(
        attributes(SessionCookie::default().with_browser_session()),
        "__Host-id; Path=/; Secure; HttpOnly; SameSite=Lax"
    );
    assert_eq!(
        attributes(SessionCookie::insecure_for_development()),
        "id; Max-Age=86400; Path=/; HttpOnly; SameSite=Lax"
    );
    assert_eq!(
        attributes(SessionCookie::default().with_exposure_to_scripts()),
        "__Host-id; Max-Age=86400; Path=/; Secure; SameSite=Lax"
    );
}

#[test]
fn a_cookie_lives_whole_seconds_rounded_up_and_never_none() {
    let max_age = |age| {
        let mut headers = HeaderMap::new();
        Transport::default().issue(&Presented::default(), &token(), age, &mut headers);
        let line = set_cookies(&headers)[0].to_owned();
        line.split("; ").nth(1).unwrap().to_owned()
    };
    assert_eq!(max_age(Duration::ZERO), "Max-Age=1");
    assert_eq!(max_age(Duration::from_nanos(1)), "Max-Age=1");
    assert_eq!(max_age(Duration::from_secs(5)), "Max-Age=5");
    assert_eq!(max_age(Duration::from_millis(5_001)), "Max-Age=6");
    assert_eq!(max_age(Duration::MAX), format!("Max-Age={}", u64::MAX));
}

#[test]
fn a_response_keeps_the_cookies_of_others() {
    let mut headers = HeaderMap::new();
    headers.insert(SET_COOKIE, HeaderValue::from_static("theme=dark"));
    Transport::default().issue(&Presented::default(), &token(), DAY, &mut headers);
    Transport::default().remove(&mut headers);
    assert_eq!(set_cookies(&headers).len(), 3);
    assert_eq!(set_cookies(&headers)[0], "theme=dark");
}

#[test]
fn no_log_of_headers_shows_a_token() {
    let (token, mut headers) = (token(), HeaderMap::new());
    let presented = Transport::default().read(&request([format!("__Host-id={}", text(token))]));
    Transport::default().issue(&presented, &token, DAY, &mut headers);
    Transport::header(HeaderTransport::default()).issue(&presented, &token, DAY, &mut headers);
    let shown = format!("{headers:?} {presented:?}");
    assert_eq!(headers.len(), 2);
    // The handle is public; the secret begins after it.
    assert!(!shown.contains(&text(token)[24..40]), "{shown}");
}

proptest! {
    #[test]
    fn a_token_comes_back_as_it_was_set(cookie in cookies()) {
        let (transport, token) = (transport(cookie.clone()), token());
        let line = issued(&transport, token);
        let judged = Judged::parse(line.as_str()).unwrap();
        prop_assert_eq!(judged.name(), cookie.name());
        prop_assert_eq!(judged.path(), Some(cookie.path()));
        prop_assert_eq!(judged.domain(), cookie.domain());
        prop_assert_eq!(judged.secure().unwrap_or(false), cookie.is_secure());
        prop_assert_eq!(judged.http_only().unwrap_or(false), cookie.is_http_only());
        prop_assert_eq!(judged.partitioned().unwrap_or(false), cookie.is_partitioned());
        let same_site = judged.same_site().map(|site| site.to_string());
        prop_assert_eq!(same_site.as_deref(), Some(cookie.same_site().as_str()));
        let max_age = judged.max_age().map(JudgedAge::whole_seconds);
        let kept = (cookie.kept() == Kept::ToDeadline).then_some(86_400);
        prop_assert_eq!(max_age, kept);

        let sent = format!("a=1; {}={}; b=2", judged.name(), judged.value());
        prop_assert_eq!(read(&transport, &request([sent])), vec![token]);
    }

    #[test]
    fn a_removal_has_the_attributes_of_what_it_removes(cookie in cookies()) {
        let transport = transport(cookie);
        let (set, removed) = (issued(&transport, token()), removal(&transport));
        let parse = |line: String| {
            let mut judged = Judged::parse(line).unwrap();
            let (value, max_age) = (judged.value().to_owned(), judged.max_age());
            judged.set_value("");
            judged.set_max_age(None);
            (judged, value, max_age.map(JudgedAge::whole_seconds))
        };
        let (set, ..) = parse(set);
        let (removed, value, max_age) = parse(removed);
        prop_assert_eq!(removed, set);
        prop_assert_eq!(value, "");
        prop_assert_eq!(max_age, Some(0));
    }

    #[test]
    fn no_value_is_longer_than_the_check_of_names_supposes(cookie in cookies()) {
        let line = issued(&transport(cookie), token());
        let value = pair(&line).split_once('=').unwrap().1;
        prop_assert!(value.len() <= Values::MAX_LEN);
        let is_octet = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
        prop_assert!(value.bytes().all(is_octet));
    }
}

// What is read.

#[test]
fn a_cookie_is_found_wherever_it_stands() {
    let (transport, token) = (Transport::default(), token());
    let ours = format!("__Host-id={}", text(token));
    for request in [
        request([format!("a=1; {ours}; b=2")]),
        request([format!("a=1;{ours};b=2")]),
        request([format!("\t {ours} \t")]),
        request([format!(";;; ; {ours};;")]),
        request(["a=1; b=2".into(), ours.clone()]),
        request([ours.clone(), "a=1".into()]),
        request([format!("{ours}; {ours}"), ours.clone()]),
        request([format!("__Host-id; __Host-id=; __Host-id=x; {ours}")]),
    ] {
        assert_eq!(read(&transport, &request), [token], "{request:?}");
    }
}

#[test]
fn neighbours_that_are_not_ascii_hide_nothing() {
    let token = token();
    let ours = format!("__Host-id={}", text(token)).into_bytes();
    for neighbour in [
        &b"a=\xff\xfe"[..],
        "größe=ü".as_bytes(),
        b"\xc3=\x80",
        b"\"=;\"",
    ] {
        let before = [neighbour, b"; ", &ours].concat();
        let behind = [&ours, &b"; "[..], neighbour].concat();
        assert_eq!(read(&Transport::default(), &request([before])), [token]);
        assert_eq!(read(&Transport::default(), &request([behind])), [token]);
    }
}

#[test]
fn other_spellings_of_our_name_are_other_cookies() {
    let value = text(token());
    for other in [
        "%5F%5FHost-id",
        "%5f%5fHost-id",
        "__host-id",
        "__HOST-ID",
        "__Host-Id",
        "__Host-id ",
        "\"__Host-id\"",
        "x__Host-id",
        "__Host-idx",
        "",
        "=__Host-id",
        "a=__Host-id",
        "$__Host-id",
    ] {
        let request = request([format!("{other}={value}")]);
        assert_eq!(read(&Transport::default(), &request), [], "{other:?}");
    }
}

#[test]
fn values_are_neither_unquoted_nor_decoded_nor_cut() {
    let value = text(Token::parse(&[b'-'; 64]).unwrap());
    for other in [
        String::new(),
        format!("\"{value}\""),
        format!(" {value}"),
        format!("={value}"),
        format!("{value}="),
        format!("{value}x"),
        value[1..].to_owned(),
        value.replacen('-', "%2D", 1),
        value.replacen('-', "%2D", 1)[..64].to_owned(),
        value.replacen('-', "+", 1),
        value.replacen('-', "\u{fc}", 1)[..64].to_owned(),
    ] {
        let request = request([format!("__Host-id={other}")]);
        assert_eq!(read(&Transport::default(), &request), [], "{other:?}");
    }
}

#[test]
fn a_token_split_over_two_fields_is_none() {
    let value = text(token());
    let split = request([
        format!("__Host-id={}", &value[..30]),
        value[30..].to_owned(),
    ]);
    assert_eq!(read(&Transport::default(), &split), []);
}

#[test]
fn two_tokens_of_a_prefixed_cookie_are_none() {
    let (one, other) = (text(token()), text(token()));
    for name in ["__Host-id", "__Host-Http-id", "__Secure-id", "__Http-id"] {
        let transport = named(name);
        let both = request([format!("{name}={one}; {name}={other}")]);
        assert_eq!(read(&transport, &both), [], "{name}");
        let split = request([format!("{name}={one}"), format!("{name}={other}")]);
        assert_eq!(read(&transport, &split), [], "{name}");
    }
}

#[test]
fn up_to_four_tokens_of_an_unprefixed_cookie_are_tried_in_their_order() {
    let tokens = [(); 6].map(|()| token());
    let pairs = tokens.map(|token| format!("id={}", text(token)));
    let transport = named("id");
    assert_eq!(
        read(&transport, &request([pairs[..2].join("; ")])),
        tokens[..2]
    );
    assert_eq!(read(&transport, &request([pairs.join("; ")])), tokens[..4]);
    let repeated = request([[&pairs[..3], &pairs].concat().join("; ")]);
    assert_eq!(read(&transport, &repeated), tokens[..4]);
}

#[test]
fn large_headers_are_read_to_their_end() {
    let token = token();
    for size in [4 << 10, 64 << 10] {
        for filler in ["=", ";", "a=b; ", "__Host-id=; ", "__Host-id", " "] {
            let filler = filler.repeat(size / filler.len());
            let line = format!("{filler}; __Host-id={}", text(token));
            assert_eq!(read(&Transport::default(), &request([line])), [token]);
        }
        let forged = format!("__Host-id={}", "A".repeat(size));
        assert_eq!(read(&Transport::default(), &request([forged])), []);
    }
}

#[test]
fn no_cookie_and_one_cookie_allocate_nothing() {
    let (transport, unprefixed) = (Transport::default(), named("id"));
    let none = HeaderMap::new();
    let others = request(["a=1; b=2", "__Host-other=3"]);
    let one = request([format!("a=1; __Host-id={0}; __Host-id={0}", text(token()))]);
    let garbage = request([format!("id={}; id=; id=x", "A".repeat(9_000))]);
    let counted = allocation_counter::measure(|| {
        for headers in [&none, &others, &one, &garbage] {
            for transport in [&transport, &unprefixed] {
                let presented = transport.read(headers).clone();
                std::hint::black_box(presented.tokens().count());
            }
        }
    });
    assert_eq!(counted.count_total, 0);
    assert_eq!(transport.read(&one).tokens().count(), 1);
}

proptest! {
    #[test]
    fn whatever_is_sent_only_what_stands_there_is_read(
        pieces in vec(select(vec![
            "id", "=", ";", " ", "\t", ",", "\"", "%", "a", "__Host-id", "A1_-", "\u{fc}",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB",
        ]), 0..40),
    ) {
        let line = pieces.concat();
        // Written another way than the code under test, on text.
        let mut expected: Vec<&str> = Vec::new();
        for pair in line.split(';') {
            let Some((name, value)) = pair.trim_matches([' ', '\t']).split_once('=') else {
                continue;
            };
            let is_token = value.len() == 64
                && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
            if name == "id" && is_token && !expected.contains(&value) {
                expected.push(value);
            }
        }
        expected.truncate(4);
        let found = read(&named("id"), &request([&line]));
        let found: Vec<_> = found.into_iter().map(text).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_bytes_are_a_token_to_a_ring_that_did_not_write_them(
        line in vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff], 0..200),
    ) {
        for cookie in [
            SessionCookie::default().with_signing_keys(keys_of(b'k')),
            SessionCookie::default().with_encryption_keys(keys_of(b'k')),
        ] {
            let transport = transport(cookie);
            for len in [64, 88, 124] {
                let value: Vec<_> = line.iter().copied().cycle().take(len).collect();
                let sent = request([[b"__Host-id=", &value[..]].concat()]);
                prop_assert_eq!(read(&transport, &sent), vec![]);
            }
        }
    }
}

// Partitioned cookies.

#[test]
fn a_partitioned_cookie_removes_its_twin_before_it_is_set() {
    let transport = transport(SessionCookie::default().with_partitioned());
    let [old, other, fresh] = [(); 3].map(|()| token());
    let sent = [
        format!("__Host-id={}; __Host-id={}", text(old), text(other)),
        format!("__Host-id={}", text(old)),
        "__Host-id=garbage".into(),
    ];
    for (sent, tokens) in sent.iter().zip([vec![], vec![old], vec![]]) {
        let presented = transport.read(&request([sent]));
        assert_eq!(presented.tokens().collect::<Vec<_>>(), tokens);
        let mut headers = HeaderMap::new();
        transport.issue(&presented, &fresh, DAY, &mut headers);
        let new = format!(
            "__Host-id={}; Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=None; Partitioned",
            text(fresh)
        );
        let twin = "__Host-id=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=None";
        assert_eq!(set_cookies(&headers), [twin, &new], "{sent}");
    }
}

#[test]
fn a_cookie_without_twin_is_set_alone() {
    let (partitioned, ours) = (SessionCookie::default().with_partitioned(), text(token()));
    let neither = request(["a=1".to_owned()]);
    let twice = request([format!("__Host-id={ours}; __Host-id={}", text(token()))]);
    for (transport, request) in [
        (transport(partitioned), neither),
        (Transport::default(), twice),
    ] {
        let mut headers = HeaderMap::new();
        let presented = transport.read(&request);
        transport.issue(&presented, &token(), DAY, &mut headers);
        assert_eq!(set_cookies(&headers).len(), 1);
    }
}

// Signed and encrypted cookies.

#[test]
fn a_plain_token_is_none_where_keys_are() {
    let plain = request([format!("__Host-id={}", text(token()))]);
    let signed = transport(SessionCookie::default().with_signing_keys(keys_of(b'k')));
    let private = transport(SessionCookie::default().with_encryption_keys(keys_of(b'k')));
    assert_eq!(read(&signed, &plain), []);
    assert_eq!(read(&private, &plain), []);
    assert_eq!(read(&Transport::default(), &plain).len(), 1);
}

#[test]
fn a_value_of_one_cookie_is_none_in_another() {
    let token = token();
    for with_keys in [
        SessionCookie::with_signing_keys as fn(SessionCookie, KeyRing) -> SessionCookie,
        SessionCookie::with_encryption_keys,
    ] {
        let shop = transport(with_keys(SessionCookie::default(), keys_of(b'k')));
        let admin = SessionCookie::default().with_name("__Host-admin");
        let admin = transport(with_keys(admin, keys_of(b'k')));
        let line = issued(&shop, token);
        let (_, value) = pair(&line).split_once('=').unwrap();
        assert_eq!(
            read(&shop, &request([format!("__Host-id={value}")])),
            [token]
        );
        assert_eq!(
            read(&admin, &request([format!("__Host-admin={value}")])),
            []
        );
    }
}

#[test]
fn one_token_by_two_keys_is_one() {
    let token = token();
    let [old, new] = [[b'o'; 32], [b'n'; 32]];
    let by_old =
        transport(SessionCookie::default().with_signing_keys(KeyRing::new([old]).unwrap()));
    let both = SessionCookie::default().with_signing_keys(KeyRing::new([new, old]).unwrap());
    let both = transport(both);
    let (one, other) = (issued(&by_old, token), issued(&both, token));
    assert_ne!(pair(&one), pair(&other));
    let sent = request([format!("{}; {}", pair(&one), pair(&other))]);
    assert_eq!(read(&both, &sent), [token]);
}

// What is refused.

type Refused = Vec<(SessionCookie, &'static str)>;

/// Cookies, each with words of the error about it.
fn refused_settings() -> Refused {
    let new = SessionCookie::default;
    let host_http = SessionCookie::host_http;
    let insecure = SessionCookie::insecure_for_development;
    let (sign, encrypt) = (keys_of(b'a'), keys_of(b'b'));
    let signed = new().with_signing_keys(sign.clone());
    let private = new().with_encryption_keys(encrypt.clone());
    vec![
        (
            new().with_exposure_to_scripts().with_name("__Http-x"),
            "scripts can read",
        ),
        (host_http().with_exposure_to_scripts(), "scripts can read"),
        (new().with_domain("shop.example"), "with a domain"),
        (host_http().with_domain("shop.example"), "with a domain"),
        (new().with_path("/app"), "another path"),
        (host_http().with_path("/app"), "another path"),
        (insecure().with_same_site(SameSite::None), "SameSite=None"),
        (
            insecure().with_partitioned(),
            "Partitioned cookies that are not Secure",
        ),
        (
            SessionCookie::strict().with_partitioned(),
            "no embedded page",
        ),
        (
            new().with_partitioned().with_same_site(SameSite::Lax),
            "no embedded page",
        ),
        (signed.with_encryption_keys(encrypt), "needs no signature"),
        (private.with_signing_keys(sign), "needs no signature"),
    ]
}

fn refused_names() -> Refused {
    let new = SessionCookie::default;
    let insecure = SessionCookie::insecure_for_development;
    let mut refused = vec![(new().with_name(&"n".repeat(4_096 - 123)), "a shorter name")];
    for name in ["__Host-x", "__Host-Http-x", "__Secure-x", "__Http-x"] {
        refused.push((insecure().with_name(name), "are not Secure"));
    }
    for (name, expected) in [
        ("__host-id", "spell its prefix \"__Host-\""),
        ("__HOST-id", "spell its prefix \"__Host-\""),
        ("__secure-id", "spell its prefix \"__Secure-\""),
        ("__HTTP-id", "spell its prefix \"__Http-\""),
        ("__Host-http-id", "spell its prefix \"__Host-Http-\""),
    ] {
        refused.push((new().with_name(name), expected));
        refused.push((insecure().with_name(name), expected));
    }
    for name in [
        "", "a b", "a=b", "a;b", "a,b", "größe", "a\"", "a\n", "(a)", "a/b", "a@b",
    ] {
        refused.push((new().with_name(name), "not a cookie name"));
    }
    refused
}

fn refused_paths() -> Refused {
    let free = || SessionCookie::default().with_name("__Secure-id");
    let mut refused = vec![(free().with_path(&"/".repeat(1_025)), "more than 1024 bytes")];
    for path in ["", "app", "*", " /"] {
        refused.push((free().with_path(path), "begin its path"));
    }
    for path in [
        "/a;b",
        "/a b",
        "/\u{fc}",
        "/a\n",
        "/a?b",
        "/a#b",
        "/a;Domain=evil.example",
        "/ ",
    ] {
        refused.push((free().with_path(path), "percent-encoded"));
    }
    refused
}

fn refused_domains() -> Refused {
    let free = || SessionCookie::default().with_name("__Secure-id");
    let long_label = format!("{}.example", "a".repeat(64));
    let long_name = format!("{}example", "ab.".repeat(90));
    let mut refused = vec![
        (free().with_domain(".shop.example"), "without the dot"),
        (free().with_domain(&long_label), "no host name"),
        (free().with_domain(&long_name), "no host name"),
    ];
    for domain in ["127.0.0.1", "::1", "2001:db8::1", "1.2.3", "10.1", "7"] {
        refused.push((free().with_domain(domain), "is an address"));
    }
    for domain in [
        "",
        "shop..example",
        "shop.example.",
        "https://shop.example",
        "shop.example:443",
        "[::1]",
        "größe.example",
        "a b.example",
        "a_b.example",
        "-a.example",
        "a-.example",
        "shop.example; Secure",
        "shop.example\r\nx: y",
    ] {
        refused.push((free().with_domain(domain), "no host name"));
    }
    for domain in ["example", "localhost"] {
        refused.push((free().with_domain(domain), "top-level domain"));
    }
    refused
}

#[test]
fn what_browsers_would_drop_is_refused_and_says_what_to_write() {
    let refused = [
        refused_settings(),
        refused_names(),
        refused_paths(),
        refused_domains(),
    ];
    for (cookie, expected) in refused.concat() {
        let problem = problem(cookie.clone());
        let name = format!("session cookie {:?}: ", cookie.name());
        assert!(problem.starts_with(&name), "{problem}");
        assert!(problem.contains(expected), "{cookie:?}: {problem}");
        let advice = ["write", "leave", "begin", "spell"];
        assert!(
            advice.iter().any(|word| problem.contains(word)),
            "{problem}"
        );
        assert!(!problem.contains("  "), "{problem}");
    }
}

#[test]
fn what_is_just_not_refused_is_taken() {
    let free = || SessionCookie::default().with_name("__Secure-id");
    for cookie in [
        SessionCookie::default().with_name(&"n".repeat(4_096 - 124)),
        free().with_path(&"/".repeat(1_024)),
        free().with_domain(&format!("{}.example", "a".repeat(63))),
        free().with_domain("1.example"),
        free().with_domain("SHOP.example"),
        free().with_same_site(SameSite::None),
        free().with_exposure_to_scripts(),
        SessionCookie::insecure_for_development().with_domain("shop.test"),
        SessionCookie::default()
            .with_partitioned()
            .with_same_site(SameSite::None),
        SessionCookie::default().with_name("__Hostess"),
        SessionCookie::insecure_for_development().with_name("__Hos"),
    ] {
        assert!(check::check(&cookie).is_ok(), "{cookie:?}");
        let line = issued(&transport(cookie), token());
        assert!(Judged::parse(line).is_ok());
    }
}

#[test]
fn a_cookie_that_lives_more_than_400_days_is_refused() {
    let days = |days: u64| DAY * u32::try_from(days).unwrap();
    let longer = days(400) + Duration::from_nanos(1);
    let cookie = Transport::default();
    assert!(cookie.check(days(400)).is_ok());
    let problem = cookie.check(longer).unwrap_err().to_string();
    assert!(
        problem.contains("write an absolute time-out of 400 days or less"),
        "{problem}"
    );
    let by_browser = transport(SessionCookie::default().with_browser_session());
    assert!(by_browser.check(longer).is_ok());
    let header = Transport::header(HeaderTransport::default());
    assert!(header.check(longer).is_ok());
}

proptest! {
    #[test]
    fn whatever_is_taken_is_one_line_that_a_browser_reads_as_it_was_meant(
        name in "(__Host-|__host-|__Secure-|__Http-|)[ -~]{0,6}",
        path in "/?[ -~]{0,6}",
        domain in proptest::option::of("[ -~]{0,3}[.][a-z0-9;. -]{0,6}"),
    ) {
        let mut cookie = SessionCookie::default().with_name(&name).with_path(&path);
        if let Some(domain) = &domain {
            cookie = cookie.with_domain(domain);
        }
        let Ok(transport) = Transport::cookie(cookie) else {
            return Ok(());
        };
        let line = issued(&transport, token());
        let judged = Judged::parse(line.as_str()).unwrap();
        prop_assert_eq!(judged.name(), name);
        prop_assert_eq!(judged.path(), Some(path.as_str()));
        let domain = domain.map(|domain| domain.to_ascii_lowercase());
        prop_assert_eq!(judged.domain(), domain.as_deref());
        prop_assert_eq!(judged.secure(), Some(true));
    }
}

// Families, caches.

#[test]
fn cookies_of_equal_settings_are_the_same_in_any_order_of_calls() {
    let one = SessionCookie::default()
        .with_name("__Secure-id")
        .with_path("/app")
        .with_signing_keys(keys_of(b'k'));
    let other = SessionCookie::default()
        .with_signing_keys(keys_of(b'k'))
        .with_path("/app")
        .with_name("__Secure-id");
    let third = other.clone().with_signing_keys(keys_of(b'z'));
    let [one, other, third] = [one, other, third].map(transport);
    assert!(one.is_same(&other) && one.is_same(&one.clone()));
    assert!(!one.is_same(&third));
    assert!(!one.is_same(&Transport::default()));
    let headers = Transport::header(HeaderTransport::default());
    assert!(headers.is_same(&Transport::header(HeaderTransport::default())));
    assert!(!headers.is_same(&one) && !one.is_same(&headers));
}

#[test]
fn caches_are_told_the_header_that_is_read() {
    let header = HeaderTransport::default()
        .with_request_header("X-Other")
        .unwrap();
    assert_eq!(Transport::default().vary(), "cookie");
    assert_eq!(
        Transport::header(HeaderTransport::default()).vary(),
        "x-session"
    );
    assert_eq!(Transport::header(header).vary(), "x-other");
}

// Headers.

#[test]
fn a_token_goes_by_headers_of_its_own() {
    let (transport, token) = (Transport::header(HeaderTransport::default()), token());
    let mut headers = HeaderMap::new();
    transport.issue(&Presented::default(), &token, DAY, &mut headers);
    assert_eq!(headers.len(), 1);
    assert_eq!(headers["x-session-set"], text(token));

    let mut request = HeaderMap::new();
    request.insert("x-session", headers["x-session-set"].clone());
    assert_eq!(read(&transport, &request), [token]);

    transport.remove(&mut headers);
    assert_eq!(headers.len(), 1);
    assert_eq!(headers["x-session-set"], "");
}

#[test]
fn headers_and_cookies_are_not_read_beside_each_other() {
    let ours = text(token());
    let mut both = request([format!("__Host-id={ours}; x-session={ours}")]);
    let header = Transport::header(HeaderTransport::default());
    assert_eq!(read(&header, &both), []);
    both.remove(COOKIE);
    both.insert("x-session", HeaderValue::try_from(&ours).unwrap());
    both.insert("__host-id", HeaderValue::try_from(&ours).unwrap());
    assert_eq!(read(&Transport::default(), &both), []);
    assert_eq!(read(&header, &both).len(), 1);
}

#[test]
fn two_tokens_in_headers_are_none_and_equal_ones_one() {
    let transport = Transport::header(HeaderTransport::default());
    let (one, other) = (token(), token());
    let value = |token| HeaderValue::try_from(text(token)).unwrap();
    let mut request = HeaderMap::new();
    request.append("x-session", HeaderValue::from_static(""));
    request.append("x-session", value(one));
    request.append("x-session", value(one));
    assert_eq!(read(&transport, &request), [one]);
    request.append("x-session", value(other));
    assert_eq!(read(&transport, &request), []);
    let joined = format!("{}, {}", text(one), text(one));
    request.insert("x-session", HeaderValue::try_from(joined).unwrap());
    assert_eq!(read(&transport, &request), []);
}

#[test]
fn headers_that_mean_something_else_are_refused() {
    for name in [
        "",
        "x session",
        "Cookie",
        "set-cookie",
        "Authorization",
        "host",
        "te",
        "x-session-bin",
        "grpc-status",
        "größe",
    ] {
        let header = HeaderTransport::default();
        let refused = header
            .clone()
            .with_request_header(name)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("write one such as \"x-session\""),
            "{refused}"
        );
        let refused = header.with_response_header(name).unwrap_err().to_string();
        assert!(
            refused.contains("write one such as \"x-session-set\""),
            "{refused}"
        );
    }
}

const DAY: Duration = Duration::from_secs(86_400);
