use http::{HeaderValue, Request, Uri, request::Parts};
use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{
    cache::{CacheRule, Query},
    clock::Timestamp,
    key::{Digester, Key, KeyParts},
    policy::header,
};

fn rule() -> CacheRule {
    CacheRule::new("page").unwrap()
}

fn get(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_str(value).unwrap());
    }
    request.body(()).unwrap().into_parts().0
}

/// What a request is for, as one text.
fn asked_with(rule: &CacheRule, uri: &str, headers: &[(&str, &str)]) -> Result<String, Unkeyed> {
    Target::of(&get(uri, headers), rule.shape()).map(|target| text(&target))
}

fn asked(uri: &str, headers: &[(&str, &str)]) -> Result<String, Unkeyed> {
    asked_with(&rule(), uri, headers)
}

fn text(target: &Target<'_>) -> String {
    let Target {
        scheme,
        host,
        path,
        query,
    } = target;
    let query = query
        .as_ref()
        .map_or(String::new(), |query| format!("?{query}"));
    format!("{}://{host}{path}{query}", scheme.as_str())
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared to what may fail")]
fn ok(text: &str) -> Result<String, Unkeyed> {
    Ok(text.to_owned())
}

/// What a rule with this choice takes of a query; `-` for none.
fn queried(query: Query, sent: &str) -> String {
    let rule = rule().with_query(query);
    let asked = asked_with(&rule, &format!("/?{sent}"), &[("host", "h")]).unwrap();
    let taken = asked.strip_prefix("http://h/").unwrap();
    taken.strip_prefix('?').unwrap_or("-").to_owned()
}

#[test]
fn the_host_is_the_uri_s_or_that_of_the_header() {
    assert_eq!(asked("/a?b", &[("host", "H:80")]), ok("http://h/a?b"));
    assert_eq!(asked("http://H:81/a", &[]), ok("http://h:81/a"));
    assert_eq!(
        asked("https://h/a", &[("host", "H:443")]),
        ok("https://h/a")
    );
}

#[test]
fn a_request_without_one_clear_host_passes() {
    assert_eq!(asked("/", &[]), Err(Unkeyed::NoHost));
    assert_eq!(asked("/", &[("host", "")]), Err(Unkeyed::NoHost));
    assert_eq!(asked("/", &[("host", "u@h")]), Err(Unkeyed::NoHost));
    assert_eq!(asked("/", &[("host", "a, b")]), Err(Unkeyed::NoHost));
    assert_eq!(asked("http://u@h/", &[]), Err(Unkeyed::NoHost));
    let two = [("host", "h"), ("host", "h")];
    assert_eq!(asked("/", &two), Err(Unkeyed::SeveralHosts));
    assert_eq!(asked("http://h/", &two), Err(Unkeyed::SeveralHosts));
    let other = [("host", "evil")];
    assert_eq!(asked("http://h/", &other), Err(Unkeyed::SeveralHosts));
}

#[test]
fn the_scheme_is_what_one_proxy_says_or_the_uri_s() {
    let host = ("host", "h");
    let forwarded = |proto| asked("/", &[host, ("x-forwarded-proto", proto)]);
    assert_eq!(forwarded("https"), ok("https://h/"));
    assert_eq!(forwarded("HTTPS"), ok("https://h/"));
    assert_eq!(forwarded("http"), ok("http://h/"));
    assert_eq!(forwarded("gopher"), ok("http://h/"));
    assert_eq!(forwarded("https,http"), ok("http://h/"));
    let twice = [
        host,
        ("x-forwarded-proto", "https"),
        ("x-forwarded-proto", "https"),
    ];
    assert_eq!(asked("/", &twice), ok("http://h/"));
    let said = [("x-forwarded-proto", "https")];
    assert_eq!(asked("http://h/", &said), ok("https://h/"));
    assert_eq!(asked("HTTPS://h/", &[]), ok("https://h/"));
    assert_eq!(asked("ftp://h/", &[]), Err(Unkeyed::Scheme));
}

#[test]
fn the_port_that_is_dropped_is_that_of_the_scheme_that_a_proxy_says() {
    let headers = [("host", "h:443"), ("x-forwarded-proto", "https")];
    assert_eq!(asked("/", &headers), ok("https://h/"));
    assert_eq!(asked("/", &[("host", "h:443")]), ok("http://h:443/"));
}

#[test]
fn a_request_that_may_be_forwarded_for_another_host_passes() {
    for forwarded in [
        "host=other",
        "for=192.0.2.1;Host=h",
        "for=\"[::1]\", proto=http;host=\"h\"",
    ] {
        let headers = [("host", "h"), ("forwarded", forwarded)];
        assert_eq!(
            asked("/", &headers),
            Err(Unkeyed::ForwardedHost),
            "{forwarded}"
        );
    }
    let headers = [("host", "h"), ("forwarded", "for=192.0.2.1;proto=https")];
    assert_eq!(asked("/", &headers), ok("http://h/"));
}

#[test]
fn a_forwarded_host_must_be_the_keyed_one() {
    let forwarded = |said| asked("/", &[("host", "h"), ("x-forwarded-host", said)]);
    for same in ["h", "H", "h:80", "h, H"] {
        assert_eq!(forwarded(same), ok("http://h/"), "{same}");
    }
    for other in ["evil", "h, evil", "evil, h", "", "h,", "h:81", "u@h"] {
        assert_eq!(forwarded(other), Err(Unkeyed::ForwardedHost), "{other}");
    }
    let lines = [
        ("host", "h"),
        ("x-forwarded-host", "h"),
        ("x-forwarded-host", "evil"),
    ];
    assert_eq!(asked("/", &lines), Err(Unkeyed::ForwardedHost));
}

#[test]
fn a_request_that_names_another_url_or_method_passes() {
    let with = |name| asked("/", &[("host", "h"), (name, "/")]);
    for name in ["x-original-url", "x-rewrite-url"] {
        assert_eq!(with(name), Err(Unkeyed::RewrittenUrl), "{name}");
    }
    for name in [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ] {
        assert_eq!(with(name), Err(Unkeyed::OverriddenMethod), "{name}");
    }
}

#[test]
fn hosts_that_are_not_listed_pass() {
    let rule = rule().with_hosts(["Example.com", "other:8080"]);
    let asked = |host| asked_with(&rule, "/", &[("host", host)]);
    assert_eq!(asked("EXAMPLE.com:80"), ok("http://example.com/"));
    assert_eq!(asked("other:8080"), ok("http://other:8080/"));
    for host in ["other", "example.com:81", "www.example.com", "example.com."] {
        assert_eq!(asked(host), Err(Unkeyed::HostNotListed), "{host}");
    }
}

#[test]
fn a_request_for_the_server_as_a_whole_has_no_path() {
    assert_eq!(asked("*", &[("host", "h")]), Err(Unkeyed::Path));
}

/// Within `nest` the request's own URI lacks the prefix.
#[cfg(feature = "axum")]
#[test]
fn the_path_is_what_the_client_asked_for() {
    let mut parts = get("/inner", &[("host", "h")]);
    let original = Uri::from_static("/outer/inner?x");
    parts
        .extensions
        .insert(axum::extract::OriginalUri(original));
    let target = Target::of(&parts, rule().shape()).unwrap();
    assert_eq!(text(&target), "http://h/outer/inner?x");
}

#[test]
fn a_query_is_taken_as_it_was_sent() {
    for sent in ["", "b=1&a=2&&", "%61=1", "a=1;b=2", "+a=%zz"] {
        assert_eq!(queried(Query::all(), sent), sent);
    }
    let host = [("host", "h")];
    assert_ne!(asked("/", &host), asked("/?", &host));
}

#[test]
fn parameters_of_other_names_than_chosen_are_left_out() {
    let only = || Query::only(["id", "page*"]);
    assert_eq!(
        queried(only(), "x=1&id=2&page_size=3&idx=4"),
        "id=2&page_size=3"
    );
    assert_eq!(queried(only(), "x=1"), "-");
    assert_eq!(queried(only(), "id"), "id");
    assert_eq!(queried(only(), "fbclid=1&gid=2&i=3"), "-");
    assert_eq!(queried(only(), "id=2&id=1"), "id=2&id=1");
}

#[test]
fn whatever_may_be_read_as_a_chosen_name_counts() {
    for sent in [
        "%69d=1", "i%64=1", "ID=1", "id[]=1", "id[a]=1", "id.a=1", "+id=1", "id+=1", "id%00=1",
        "%20id=1", "%49D=1",
    ] {
        assert_eq!(queried(Query::only(["id"]), sent), sent);
        assert_eq!(queried(Query::only(["i*"]), sent), sent);
    }
    // Readers differ in what they make of these, so nothing is left out.
    for sent in ["x=1;id=2", "%2569d=1&x=2", "%u0069d=1&x=2", "%=1&x=2"] {
        assert_eq!(queried(Query::only(["id"]), sent), sent);
    }
}

#[test]
fn parameters_of_ignored_names_are_left_out_where_they_are_written_plainly() {
    let ignore = || Query::ignore(["utm_*", "fbclid"]);
    assert_eq!(
        queried(ignore(), "a=1&utm_source=x&fbclid=2&b=3"),
        "a=1&b=3"
    );
    assert_eq!(queried(ignore(), "utm_source=x&fbclid"), "-");
    for sent in [
        "%75tm_source=x",
        "UTM_source=x",
        "fbclid2=x",
        "a=utm_source",
        "utm_content=1;id=2",
    ] {
        assert_eq!(queried(ignore(), sent), sent);
    }
}

#[test]
fn sorted_parameters_are_the_same_in_any_order() {
    assert_eq!(queried(Query::all().sorted(), "b=1&a=2&c"), "a=2&b=1&c");
    assert_eq!(queried(Query::all().sorted(), "c&b=1&a=2"), "a=2&b=1&c");
    let ignore = Query::ignore(["x"]).sorted();
    assert_eq!(queried(ignore, "b=1&x=3&a=2"), "a=2&b=1");
}

#[test]
fn what_may_be_one_name_keeps_its_order() {
    for sent in ["a=2&a=1", "a=2&%61=1", "A=2&a=1", "a[]=2&a=1", "b=2;a=1"] {
        assert_eq!(queried(Query::all().sorted(), sent), sent);
    }
}

#[test]
fn a_url_to_purge_needs_scheme_and_host() {
    let rule = rule();
    let of = |uri: &'static str| {
        let uri = Uri::from_static(uri);
        Target::from_absolute(&uri, rule.shape()).map(|target| text(&target))
    };
    assert_eq!(of("HTTPS://H:443/a?b"), ok("https://h/a?b"));
    assert_eq!(of("http://h"), ok("http://h/"));
    assert_eq!(of("/a"), Err(Unkeyed::Scheme));
    assert_eq!(of("h:80"), Err(Unkeyed::Scheme));
    assert_eq!(of("ws://h/"), Err(Unkeyed::Scheme));
    assert_eq!(of("http://u:p@h/"), Err(Unkeyed::NoHost));
}

#[test]
fn a_url_in_normal_form_makes_its_key_with_one_allocation_at_most() {
    let parts = get("/a?b=1", &[("host", "example.com")]);
    let rule = rule();
    let used = allocation_counter::measure(|| {
        let target = Target::of(&parts, rule.shape()).unwrap();
        std::hint::black_box(UrlKey::of(&target, &Digester::default()));
    });
    // The framed parts, which are longer than what has room on the stack.
    assert!(used.count_total <= 1, "{used:?}");
}

fn url_key(target: &Target<'_>) -> UrlKey {
    UrlKey::of(target, &Digester::default())
}

fn target<'a>(host: &'a str, path: &'a str, query: Option<&'a str>) -> Target<'a> {
    Target {
        scheme: Scheme::Http,
        host: host.into(),
        path,
        query: query.map(Into::into),
    }
}

#[test]
fn what_a_url_is_stored_under_has_kinds_of_its_own() {
    let url = url_key(&target("h", "/", None));
    let chosen = KeyParts::new();
    let generation = Timestamp::from_micros(7);
    let variant = VariantKey::of(&url, generation, &chosen, &Digester::default());
    let keys = [url.page(), url.lease(), variant.page(), variant.lease()];
    let kinds = keys.each_ref().map(|key: &Key| &key.as_str()[..2]);
    assert_eq!(kinds, ["p1", "f1", "v1", "f1"]);
    assert_ne!(url.lease(), variant.lease());
    assert_ne!(url.check(), variant.check());
}

/// What is stored is found again only if this stays as it is.
#[test]
fn keys_are_made_as_they_always_were() {
    let digester = Digester::default();
    let url = url_key(&target("example.com", "/a", Some("b=1")));
    let chosen = KeyParts::new().with("accept").with("text/html");
    let generation = Timestamp::from_micros(7);
    let variant = VariantKey::of(&url, generation, &chosen, &digester);
    let message = url.with_message(&KeyParts::new(), b"message", &digester);
    let tag = |name| tag_key(tag_digest(&name, &digester));
    let origin = Origin {
        scheme: Scheme::Https,
        host: "example.com",
    };
    let keys = [
        url.page(),
        url.lease(),
        variant.page(),
        variant.lease(),
        message.page(),
        tag(TagName::All),
        tag(TagName::Plain(b"product:1")),
        tag(TagName::Group {
            origin,
            name: b"product:1",
        }),
        journal_key(&digester),
    ];
    assert_eq!(keys.map(|key| key.as_str().to_owned()), GOLDEN_KEYS);
    let rule = rule()
        .with_key_part("role", header("x-role"))
        .with_key_part("tenant", header("x-tenant"));
    let made = (format!("{:?}", url.check()), shape_id(rule.shape()));
    assert_eq!(made, (GOLDEN_CHECK.to_owned(), GOLDEN_SHAPE));
}

#[test]
fn a_url_s_key_depends_on_the_secret() {
    let target = target("h", "/", None);
    let other = UrlKey::of(&target, &Digester::with_secret(b"pepper"));
    assert_ne!(url_key(&target), other);
    assert_ne!(url_key(&target).check(), other.check());
}

#[test]
fn a_generation_has_variants_of_its_own() {
    let url = url_key(&target("h", "/", None));
    let of = |generation| {
        let generation = Timestamp::from_micros(generation);
        VariantKey::of(&url, generation, &KeyParts::new(), &Digester::default())
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn tags_groups_and_all_are_three_things() {
    let digester = Digester::default();
    let origin = |scheme, host| Origin { scheme, host };
    let group = |scheme, host| TagName::Group {
        origin: origin(scheme, host),
        name: b"a",
    };
    let names = [
        TagName::All,
        TagName::Plain(b"a"),
        TagName::Plain(b"all"),
        TagName::Plain(b""),
        TagName::Plain(b"httpha"),
        group(Scheme::Http, "h"),
        group(Scheme::Https, "h"),
        group(Scheme::Http, "h:81"),
    ];
    for (at, one) in names.iter().enumerate() {
        for other in &names[at + 1..] {
            let same = tag_digest(one, &digester) == tag_digest(other, &digester);
            assert!(!same, "{one:?} {other:?}");
        }
    }
}

#[test]
fn the_shape_of_rules_tells_their_parts_apart() {
    let with = |names: &[&str]| {
        let rule = names
            .iter()
            .fold(rule(), |rule, name| rule.with_key_part(name, header("x")));
        shape_id(rule.shape())
    };
    assert_eq!(with(&[]), 0);
    assert_eq!(with(&["a", "b"]), with(&["a", "b"]));
    let shapes = [with(&["a"]), with(&["b"]), with(&["a", "b"]), with(&["ab"])];
    for (at, shape) in shapes.iter().enumerate() {
        assert!(*shape != 0 && !shapes[at + 1..].contains(shape), "{at}");
    }
}

/// What parts named `a` and `b` find in a request with these values of the headers they read.
fn named(a: Option<&str>, b: Option<&str>) -> KeyParts {
    let maybe = |parts: &Parts| Some(parts.headers.get("y").map(|b| b.as_bytes().to_vec()));
    let rule = rule()
        .with_key_part("a", header("x"))
        .with_key_part("b", maybe);
    let headers = [("x", a), ("y", b)];
    let headers = headers
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    let headers: Vec<_> = headers.collect();
    let mut chosen = KeyParts::new();
    push_named_parts(&rule.shape().key_parts, &get("/", &headers), &mut chosen);
    chosen
}

#[test]
fn finding_nothing_is_not_finding_that_there_is_nothing() {
    let absent = |_: &Parts| None::<Option<u64>>;
    let found = |_: &Parts| Some(None::<u64>);
    let of = |extractor: &dyn Fn(CacheRule) -> CacheRule| {
        let mut chosen = KeyParts::new();
        push_named_parts(
            &extractor(rule()).shape().key_parts,
            &get("/", &[]),
            &mut chosen,
        );
        chosen
    };
    let absent = of(&|rule| rule.with_key_part("a", absent));
    let found = of(&|rule| rule.with_key_part("a", found));
    assert_ne!(absent, found);
}

/// Such as differ by where something ends, or by what is absent.
fn pieces() -> impl Strategy<Value = String> {
    "[ab/?&=:.]{0,3}"
}

prop_compose! {
    fn targets()(
        is_secure: bool,
        host in pieces(),
        path in pieces(),
        query in option::of(pieces()),
    ) -> Target<'static> {
        Target {
            scheme: if is_secure { Scheme::Https } else { Scheme::Http },
            host: host.into(),
            path: String::leak(path),
            query: query.map(Into::into),
        }
    }
}

fn urls() -> impl Strategy<Value = (String, String, String)> {
    (
        prop_oneof![Just("http"), Just("https"), Just("HTTP"), Just("hTTps")],
        "[a-zA-Z]{1,4}(\\.[a-zA-Z]{1,3})?\\.?|\\[::[0-9a-fA-F]{1,3}\\]",
        prop_oneof![
            Just(""),
            Just(":"),
            Just(":80"),
            Just(":443"),
            Just(":8080")
        ],
        "(/[a-zA-Z0-9%._~-]{0,4}){0,3}",
        option::of("([a-dA-D]{1,2}(=[a-z0-9%;+]{0,3})?&?){0,4}"),
    )
        .prop_map(|(scheme, host, port, path, query)| {
            let query = query.map_or(String::new(), |query| format!("?{query}"));
            let path = if path.is_empty() {
                "/".to_owned()
            } else {
                path
            };
            (scheme.to_owned(), format!("{host}{port}"), path + &query)
        })
}

fn queries() -> impl Strategy<Value = Query> {
    let names = || vec("[a-d]{1,2}\\*?", 0..3);
    let chosen = prop_oneof![
        Just(Query::all()),
        names().prop_map(Query::only),
        names().prop_map(Query::ignore),
    ];
    (chosen, any::<bool>()).prop_map(|(query, sorts)| if sorts { query.sorted() } else { query })
}

proptest! {
    #[test]
    fn two_urls_have_two_keys(one in targets(), other in targets()) {
        prop_assert_eq!(url_key(&one) == url_key(&other), one == other);
        prop_assert_eq!(url_key(&one).page() == url_key(&other).page(), one == other);
    }

    #[test]
    fn two_messages_have_two_keys(
        (one, a) in (targets(), pieces()),
        (other, b) in (targets(), pieces()),
    ) {
        let key = |target: &Target<'_>, message: &str| {
            url_key(target).with_message(
                &KeyParts::new(),
                message.as_bytes(),
                &Digester::default(),
            )
        };
        prop_assert_eq!(key(&one, &a) == key(&other, &b), (&one, &a) == (&other, &b));
        prop_assert_ne!(key(&one, &a), url_key(&one));
    }

    #[test]
    fn two_choices_have_two_variants(
        a in (option::of(pieces()), option::of(pieces())),
        b in (option::of(pieces()), option::of(pieces())),
    ) {
        // What `header` finds is trimmed of nothing, but an empty header is as none.
        let named = |(x, y): &(Option<String>, Option<String>)| named(x.as_deref(), y.as_deref());
        let seen = |(x, y): &(Option<String>, Option<String>)| {
            (x.clone().filter(|x| !x.is_empty()), y.clone())
        };
        prop_assert_eq!(named(&a) == named(&b), seen(&a) == seen(&b));
    }

    #[test]
    fn purging_a_url_finds_what_a_request_for_it_stored(
        (scheme, host, rest) in urls(),
        query in queries(),
    ) {
        let rule = rule().with_query(query);
        let absolute: Uri = format!("{scheme}://{host}{rest}").parse().unwrap();
        let purged = Target::from_absolute(&absolute, rule.shape());
        let proto = ("x-forwarded-proto", scheme.as_str());
        let host = ("host", host.as_str());
        let requests = [
            get(&rest, &[host, proto]),
            get(&absolute.to_string(), &[]),
            get(&absolute.to_string(), &[host]),
            get(&rest, &[host, proto, ("x-forwarded-host", host.1)]),
        ];
        prop_assert!(purged.is_ok());
        for request in &requests {
            prop_assert_eq!(&Target::of(request, rule.shape()), &purged);
        }
    }

    #[test]
    fn what_is_taken_of_a_query_is_taken_of_what_was_taken(
        query in queries(),
        sent in "([a-d%6=;+1]{0,4}&?){0,5}",
    ) {
        let once = queried(query.clone(), &sent);
        if once != "-" {
            prop_assert_eq!(queried(query, &once), once);
        }
    }

    #[test]
    fn a_sorted_query_does_not_depend_on_its_order(
        pairs in proptest::collection::btree_map("[a-c]{1,2}", "[0-9]{0,2}", 1..6),
        seed in any::<prop::sample::Index>(),
    ) {
        let mut pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let sorted = queried(Query::all().sorted(), &pairs.join("&"));
        let len = pairs.len();
        pairs.rotate_left(seed.index(len));
        prop_assert_eq!(queried(Query::all().sorted(), &pairs.join("&")), sorted);
    }

    #[test]
    fn no_header_and_no_query_panics(
        headers in vec((
            prop_oneof![
                Just("host"),
                Just("x-forwarded-host"),
                Just("x-forwarded-proto"),
            ],
            vec(prop_oneof![b' '..=b'~', 0x80..=0xff_u8], 0..20),
        ), 0..4),
        query in queries(),
        sent in "[!-~&&[^#<>\"`\\\\^{|}]]{0,40}",
    ) {
        let mut parts = get(&format!("/?{sent}"), &[]);
        for (name, value) in &headers {
            parts.headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let rule = rule().with_query(query);
        let _ = Target::of(&parts, rule.shape());
    }
}

const GOLDEN_KEYS: [&str; 9] = [
    "p1:{DGpfjUN71AX9XefgK2O8nw}",
    "f1:{DGpfjUN71AX9XefgK2O8nw}",
    "v1:{okk6ZFHuwrr7mM6ncW_Wqg}",
    "f1:{okk6ZFHuwrr7mM6ncW_Wqg}",
    "p1:{WTpzGkW8RDKJ7fCJp0WY1g}",
    "t1:{oZ2zBgrcjiXy_-bVJm7_kA}",
    "t1:{HvsL5jLPHCDhiltc5n-mGA}",
    "t1:{JybVQtpcAGAiaTLXFPbhww}",
    "j1:{cHkNWYv_lfVrNXNmMEPScA}",
];
const GOLDEN_CHECK: &str = "-9APQXt-He4zyh9mTu8hkw";
const GOLDEN_SHAPE: u64 = 13_761_293_042_719_566_923;
