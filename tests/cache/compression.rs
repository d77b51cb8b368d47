//! Bodies that are stored compressed.

use std::{
    convert::Infallible,
    io::{Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_stash::{
    backend::MemoryBackend,
    cache::{CacheLayer, CacheOutcome, CacheRule, OutcomeKind},
};

/// A response as a client sees it.
#[derive(Debug)]
struct Seen {
    kind: OutcomeKind,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn gunzipped(&self) -> Vec<u8> {
        assert_eq!(self.header("content-encoding"), Some("gzip"));
        let mut decoder = flate2::read::GzDecoder::new(&*self.body);
        let mut plain = Vec::new();
        decoder.read_to_end(&mut plain).unwrap();
        plain
    }
}

fn rule() -> CacheRule {
    CacheRule::new("page").unwrap().with_compression()
}

fn page() -> Bytes {
    let lines = (0..100).map(|line| format!("<p class=\"line\">line {line}</p>\n"));
    lines.collect::<String>().into()
}

fn html() -> HeaderMap {
    map(&[
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "max-age=60"),
        ("etag", "\"a\""),
    ])
}

fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

/// A cache around a handler that answers so, or 304 to who has that; and how often it was called.
fn cache(
    rule: CacheRule,
    headers: HeaderMap,
    body: Bytes,
) -> (
    impl Service<
        Request<Empty<Bytes>>,
        Response = Response<impl http_body::Body<Data = Bytes, Error = Infallible>>,
        Error = Infallible,
        Future: Send,
    > + Clone,
    Arc<AtomicUsize>,
) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = service_fn(move |request: Request<_>| {
        counted.fetch_add(1, Ordering::SeqCst);
        let has_it = request.headers().get("if-none-match") == headers.get("etag")
            && headers.contains_key("etag");
        drop(request);
        let body = if has_it { Bytes::new() } else { body.clone() };
        let mut response = Response::new(Full::new(body));
        if has_it {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        *response.headers_mut() = headers.clone();
        async { Ok::<_, Infallible>(response) }
    });
    let layer = CacheLayer::new(MemoryBackend::new(), rule).unwrap();
    (layer.layer(handler), calls)
}

async fn send<S, B>(service: &S, method: Method, lines: &[(&'static str, &'static str)]) -> Seen
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible> + Clone,
    B: http_body::Body<Data = Bytes, Error = Infallible>,
{
    let mut request = Request::new(Empty::new());
    *request.method_mut() = method;
    *request.uri_mut() = "http://shop.example/page".parse().unwrap();
    *request.headers_mut() = map(lines);
    let response = service.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    // What is stored is stored in the background.
    tokio::time::sleep(Duration::from_millis(20)).await;
    Seen {
        kind: parts.extensions.get::<CacheOutcome>().unwrap().kind,
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

async fn get<S, B>(service: &S, lines: &[(&'static str, &'static str)]) -> Seen
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible> + Clone,
    B: http_body::Body<Data = Bytes, Error = Infallible>,
{
    send(service, Method::GET, lines).await
}

const GZIP: (&str, &str) = ("accept-encoding", "gzip, deflate, br");
const PLAIN: (&str, &str) = ("accept-encoding", "br");

#[tokio::test]
async fn each_client_gets_the_coding_that_it_takes_of_one_stored_body() {
    let (service, calls) = cache(rule(), html(), page());
    let missed = get(&service, &[PLAIN]).await;
    assert_eq!(missed.kind, OutcomeKind::Miss);
    assert_eq!(missed.body, page());

    let packed = get(&service, &[GZIP]).await;
    assert_eq!(packed.kind, OutcomeKind::Hit);
    assert_eq!(packed.gunzipped(), page());
    assert!(packed.body.len() * 2 < page().len());
    let length = packed.body.len().to_string();
    assert_eq!(packed.header("content-length"), Some(&*length));

    for lines in [
        &[PLAIN][..],
        &[],
        &[("accept-encoding", "gzip;q=0")],
        &[GZIP, ("cache-control", "no-transform")],
    ] {
        let plain = get(&service, lines).await;
        assert_eq!(plain.kind, OutcomeKind::Hit);
        assert_eq!(plain.header("content-encoding"), None);
        let length = page().len().to_string();
        assert_eq!(plain.header("content-length"), Some(&*length));
        assert_eq!(plain.body, page());
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn both_codings_vary_and_have_a_weak_tag_also_when_they_are_made() {
    let (service, _) = cache(rule(), html(), page());
    for lines in [[PLAIN], [PLAIN], [GZIP]] {
        let seen = get(&service, &lines).await;
        assert_eq!(seen.header("vary"), Some("Accept-Encoding"));
        assert_eq!(seen.header("etag"), Some("W/\"a\""));
    }
}

#[tokio::test]
async fn who_has_either_coding_is_told_so() {
    let (service, _) = cache(rule(), html(), page());
    get(&service, &[]).await;
    for coding in [PLAIN, GZIP] {
        for tag in ["\"a\"", "W/\"a\""] {
            let seen = get(&service, &[coding, ("if-none-match", tag)]).await;
            assert_eq!(seen.status, StatusCode::NOT_MODIFIED);
            assert_eq!(seen.header("etag"), Some("W/\"a\""));
            assert_eq!(seen.header("vary"), Some("Accept-Encoding"));
            assert_eq!(seen.header("content-encoding"), None);
            assert!(seen.body.is_empty());
        }
    }
}

#[tokio::test]
async fn head_is_told_what_get_would_be() {
    let (service, _) = cache(rule(), html(), page());
    get(&service, &[]).await;
    for coding in [PLAIN, GZIP] {
        let mut head = send(&service, Method::HEAD, &[coding]).await;
        let mut get = get(&service, &[coding]).await;
        assert!(head.body.is_empty());
        for seen in [&mut head, &mut get] {
            seen.headers.remove("age");
        }
        assert_eq!(head.headers, get.headers);
    }
}

#[tokio::test]
async fn ranges_are_of_the_plain_body() {
    let (service, _) = cache(rule(), html(), page());
    get(&service, &[]).await;
    let range = ("range", "bytes=3-9");
    let part = get(&service, &[PLAIN, range]).await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.body, page().slice(3..10));
    let of_all = format!("bytes 3-9/{}", page().len());
    assert_eq!(part.header("content-range"), Some(&*of_all));

    let whole = get(&service, &[GZIP, range]).await;
    assert_eq!(whole.status, StatusCode::OK);
    assert_eq!(whole.gunzipped(), page());
}

#[tokio::test]
async fn a_weak_tag_names_no_bytes() {
    let (service, _) = cache(rule(), html(), page());
    get(&service, &[]).await;
    let lines = [PLAIN, ("range", "bytes=3-9"), ("if-range", "\"a\"")];
    assert_eq!(get(&service, &lines).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_not_to_be_compressed_is_stored_as_it_is() {
    let random = {
        // The same in each run, and of the type of a text.
        let mut state = 1_u64;
        let bytes = (0..2048).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        });
        bytes.collect::<Bytes>()
    };
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&page()).unwrap();
    let packed = Bytes::from(packed.finish().unwrap());
    let with = |name: &'static str, value| {
        let mut headers = html();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    };
    for (rule, lines, body) in [
        (CacheRule::new("page").unwrap(), html(), page()),
        (
            rule(),
            with("cache-control", "max-age=60, no-transform"),
            page(),
        ),
        (rule(), with("content-type", "image/png"), page()),
        (rule(), with("repr-digest", "sha-256=:AA==:"), page()),
        (rule(), with("content-encoding", "gzip"), packed),
        (rule(), html(), page().slice(..1023)),
        (rule(), html(), random),
    ] {
        let (service, _) = cache(rule, lines.clone(), body.clone());
        get(&service, &[GZIP]).await;
        let seen = get(&service, &[GZIP]).await;
        assert_eq!(seen.kind, OutcomeKind::Hit);
        assert_eq!(seen.body, body);
        assert_eq!(seen.header("etag"), Some("\"a\""));
        let coding = lines.get("content-encoding");
        assert_eq!(seen.headers.get("content-encoding"), coding);
    }
}

#[tokio::test]
async fn a_body_that_was_said_to_hold_stays_compressed() {
    let lines = [
        ("content-type", "application/json"),
        ("cache-control", "no-cache"),
        ("etag", "\"a\""),
    ];
    let (service, calls) = cache(rule(), map(&lines), page());
    get(&service, &[GZIP]).await;
    for _ in 0..3 {
        let packed = get(&service, &[GZIP]).await;
        assert_eq!(packed.kind, OutcomeKind::Revalidated);
        assert_eq!(packed.gunzipped(), page());
        let plain = get(&service, &[PLAIN]).await;
        assert_eq!(plain.kind, OutcomeKind::Revalidated);
        assert_eq!(plain.body, page());
        assert_eq!(plain.header("content-encoding"), None);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 7);
}

#[tokio::test]
async fn long_bodies_are_compressed_too() {
    let long: Bytes = page().repeat(100).into();
    let (service, _) = cache(rule(), html(), long.clone());
    get(&service, &[]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(get(&service, &[GZIP]).await.gunzipped(), long);
    assert_eq!(get(&service, &[PLAIN]).await.body, long);
}
