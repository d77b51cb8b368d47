//! Bodies as they come, and what is stored of them.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tower_stash::{
    backend::{KeyValue as _, MemoryBackend, PutOptions},
    cache::OutcomeKind,
    key::{Key, KeyParts},
};

use crate::fixture::{
    Bed, Broken, Gate, Inside, data, faulty, fed, get, memory, response, rule, settled, sleep,
};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Error,
    Panic,
    /// Its client goes away, and then it breaks off.
    Dropped,
}

/// A body of chunks that ends so after so many of them.
struct Chunks {
    left: usize,
    end: End,
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.left == 0 {
            assert_ne!(self.end, End::Panic, "the body panics");
            return Poll::Ready(Some(Err(Broken)));
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"chunk")))))
    }
}

/// Handlers of which the first gives this body, and the others a good one.
fn once(
    headers: &'static [(&'static str, &'static str)],
    body: Body,
) -> impl Fn(Inside) -> std::future::Ready<axum::response::Response> + Clone + Send + Sync + 'static
{
    let body = Arc::new(Mutex::new(Some(body)));
    move |_| {
        let answer = match body.lock().unwrap().take() {
            Some(body) => response(200, headers, body),
            None => response(200, FRESH, "good"),
        };
        std::future::ready(answer)
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_badly_at_any_frame_is_not_stored() {
    for end in [End::Error, End::Panic, End::Dropped] {
        for left in 0..4 {
            let body = Body::new(Chunks { left, end });
            let bed = Bed::new(faulty(), rule(), once(FRESH, body));
            let head = bed.head(get("/a", &[])).await;
            let reading = tokio::spawn(async move {
                let mut body = head.into_body();
                let frames = if end == End::Dropped {
                    left
                } else {
                    usize::MAX
                };
                for _ in 0..frames {
                    if body.frame().await.unwrap().is_err() {
                        break;
                    }
                }
            });
            assert_eq!(reading.await.is_err(), end == End::Panic);
            settled().await;
            sleep(2).await;
            let answer = bed.get().await;
            assert_eq!(answer.kind(), Some(OutcomeKind::Miss), "{end:?} {left}");
            assert_eq!(answer.body, "good");
            assert!(bed.get().await.is_hit());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_another_length_than_it_says_is_not_stored() {
    for said in ["3", "5", "18446744073709551615"] {
        let headers: &'static [(&str, &str)] =
            vec![("cache-control", "max-age=60"), ("content-length", said)].leak();
        let (feed, body) = fed();
        feed.send(data("four")).unwrap();
        drop(feed);
        let bed = Bed::new(memory(), rule(), once(headers, body));
        bed.get().await;
        sleep(2).await;
        assert_eq!(bed.get().await.body, "good", "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_reach_the_client_and_are_not_stored() {
    let (feed, body) = fed();
    feed.send(data("body")).unwrap();
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "7".parse().unwrap())]);
    feed.send(Ok(Frame::trailers(trailers))).unwrap();
    drop(feed);
    let bed = Bed::new(memory(), rule(), once(FRESH, body));
    let answer = bed.get().await;
    assert_eq!(
        (
            answer.trailers.unwrap()["x-sum"].to_str().unwrap(),
            &*answer.body
        ),
        ("7", "body")
    );
    sleep(2).await;
    assert_eq!(bed.get().await.body, "good");
}

#[tokio::test(start_paused = true)]
async fn each_frame_goes_on_at_once() {
    let (feed, body) = fed();
    let bed = Bed::new(memory(), rule(), once(FRESH, body));
    let mut body = bed.head(get("/a", &[])).await.into_body();
    for text in ["one", "two", "three"] {
        feed.send(data(text)).unwrap();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), text);
    }
    drop(feed);
    assert!(body.frame().await.is_none());
    settled().await;
    assert_eq!(bed.get().await.body, "onetwothree");
}

#[tokio::test(start_paused = true)]
async fn what_a_client_left_unread_is_read_on_and_stored() {
    let (feed, body) = fed();
    let bed = Bed::new(memory(), rule(), once(FRESH, body));
    let mut head = bed.head(get("/a", &[])).await;
    feed.send(data("one ")).unwrap();
    head.body_mut().frame().await.unwrap().unwrap();
    drop(head);
    sleep(5).await;
    feed.send(data("two")).unwrap();
    drop(feed);
    settled().await;
    let answer = bed.get().await;
    assert_eq!((answer.is_hit(), &*answer.body), (true, "one two"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_is_read_half_a_minute_and_no_longer() {
    let (feed, body) = fed();
    let bed = Bed::new(memory(), rule(), once(FRESH, body));
    drop(bed.head(get("/a", &[])).await);
    sleep(29).await;
    assert!(feed.send(data("one")).is_ok(), "it is read");
    sleep(2).await;
    assert!(feed.send(data("two")).is_err(), "it is dropped");
    assert_eq!(bed.get().await.body, "good");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_before_the_head_ends_the_call_and_frees_the_lease() {
    let gate = Gate::shut();
    let backend = faulty();
    let first = gate.clone();
    let ended = Arc::new(AtomicUsize::new(0));
    let noted = Arc::clone(&ended);
    let bed = Bed::new(backend.clone(), rule(), move |_| {
        let gate = first.clone();
        let noted = Noted(Arc::clone(&noted));
        async move {
            let _noted = noted;
            gate.pass().await;
            response(200, FRESH, "body")
        }
    });
    let sent = bed.sending(get("/a", &[])).await;
    sent.abort();
    settled().await;
    assert_eq!(ended.load(Ordering::SeqCst), 1, "the handler is dropped");
    gate.stay_open();
    let other = Bed::new(backend, rule(), |_| async { response(200, FRESH, "other") });
    let answer = other.get().await;
    assert_eq!(
        answer.cache_status(),
        "fwd=uri-miss; stored",
        "the lease is free"
    );
}

/// Counts that it was dropped.
struct Noted(Arc<AtomicUsize>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_while_others_wait_leaves_the_call_to_them() {
    let gate = Gate::shut();
    let first = gate.clone();
    let bed = Bed::new(faulty(), rule(), move |_| {
        let gate = first.clone();
        async move {
            gate.pass().await;
            response(200, FRESH, "body")
        }
    });
    let leader = bed.sending(get("/a", &[])).await;
    let waiter = bed.sending(get("/a", &[])).await;
    leader.abort();
    settled().await;
    gate.open();
    let answer = waiter.await.unwrap();
    assert_eq!(
        (answer.kind(), &*answer.body),
        (Some(OutcomeKind::Collapsed), "body")
    );
    assert_eq!(bed.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_a_long_body_nothing_is_kept_beyond_the_limit() {
    let chunk = Bytes::from(vec![7; 64 * 1024]);
    let kept = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (left, counted, chunks) = (128_usize, Arc::clone(&kept), chunk.clone());
    let bed = Bed::new(memory(), rule(), move |_| {
        let (chunk, kept) = (chunks.clone(), Arc::clone(&counted));
        let stream = futures_util::stream::iter(0..left).map_frames(chunk, kept);
        async move { response(200, FRESH, Body::new(stream)) }
    });
    let mut body = bed.head(get("/a", &[])).await.into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.unwrap().into_data().unwrap().len();
        most.fetch_max(kept.load(Ordering::SeqCst), Ordering::SeqCst);
    }
    assert_eq!(read, 8 * 1024 * 1024);
    let most = most.load(Ordering::SeqCst);
    assert!(most <= 17, "{most} chunks of 64 KiB alive at once");
    settled().await;
    assert_eq!(kept.load(Ordering::SeqCst), 0);
    sleep(2).await;
    assert!(!bed.get().await.is_hit());
}

/// Chunks that count how many of them are alive.
trait MapFrames: futures_util::Stream<Item = usize> + Sized + Send + 'static {
    fn map_frames(
        self,
        chunk: Bytes,
        kept: Arc<AtomicUsize>,
    ) -> http_body_util::StreamBody<
        Pin<Box<dyn futures_util::Stream<Item = Result<Frame<Bytes>, Broken>> + Send>>,
    > {
        use futures_util::StreamExt as _;
        http_body_util::StreamBody::new(Box::pin(self.map(move |_| {
            kept.fetch_add(1, Ordering::SeqCst);
            let owner = Owned {
                chunk: chunk.clone(),
                kept: Arc::clone(&kept),
            };
            Ok(Frame::data(Bytes::from_owner(owner)))
        })))
    }
}

impl<S: futures_util::Stream<Item = usize> + Send + 'static> MapFrames for S {}

struct Owned {
    chunk: Bytes,
    kept: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.chunk
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.kept.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_said_to_be_too_long_is_not_kept_at_all() {
    let bed = Bed::new(
        memory(),
        rule().with_body_limit(4),
        |request: Inside| async move { response(200, FRESH, request.uri().path().to_owned()) },
    );
    for (path, is_stored) in [("/123", true), ("/1234", false)] {
        bed.send(get(path, &[])).await;
        sleep(2).await;
        assert_eq!(bed.send(get(path, &[])).await.is_hit(), is_stored, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_keeps_no_more_than_64_mib_of_bodies_while_they_go_by() {
    let limit = 48 * 1024 * 1024;
    let bed = Bed::new(memory(), rule().with_body_limit(limit), |_| async {
        let (feed, body) = fed();
        let half = Bytes::from(vec![7; 24 * 1024 * 1024]);
        feed.send(Ok(Frame::data(half))).unwrap();
        // It never ends.
        std::mem::forget(feed);
        response(200, FRESH, body)
    });
    let mut open = Vec::new();
    for path in ["/1", "/2"] {
        let mut body = bed.head(get(path, &[])).await.into_body();
        body.frame().await.unwrap().unwrap();
        open.push(body);
    }
    // The third one is not kept, but it goes on.
    let mut third = bed.head(get("/3", &[])).await.into_body();
    assert!(third.frame().await.unwrap().is_ok());
    drop((open, third));
    sleep(31).await;
    // And what is given up is free again.
    let small = Bed::behind(bed.layer.clone(), |_| async {
        response(200, FRESH, vec![7; 47 * 1024 * 1024])
    });
    let head = small.head(get("/4", &[])).await;
    assert_eq!(
        head.into_body().collect().await.unwrap().to_bytes().len(),
        47 * 1024 * 1024
    );
    settled().await;
    let again = small.head(get("/4", &[])).await;
    let outcome = again
        .extensions()
        .get::<tower_stash::cache::CacheOutcome>()
        .unwrap();
    assert!(outcome.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_hit_does_not_copy_the_body() {
    let backend = memory();
    let bed = Bed::new(backend, rule(), |_| async {
        response(200, FRESH, vec![7; 100_000])
    });
    bed.head(get("/a", &[]))
        .await
        .into_body()
        .collect()
        .await
        .unwrap();
    settled().await;
    let mut places = Vec::new();
    for _ in 0..3 {
        let head = bed.head(get("/a", &[])).await;
        let body = head.into_body().collect().await.unwrap().to_bytes();
        places.push((body.as_ptr(), body));
    }
    assert!(places.iter().all(|(place, _)| *place == places[0].0));
}

#[tokio::test(start_paused = true)]
async fn a_hit_says_how_long_it_is() {
    let bed = Bed::new(memory(), rule(), |_| async { response(200, FRESH, "body") });
    bed.get().await;
    let answer = bed.head(get("/a", &[])).await;
    let exact = SizeHint::with_exact(4);
    let hint = http_body::Body::size_hint(answer.body());
    assert_eq!(hint.exact(), exact.exact());
}

#[tokio::test(start_paused = true)]
async fn every_record_has_an_end() {
    let backend: MemoryBackend = memory();
    let bed = Bed::new(backend.clone(), rule(), |request: Inside| async move {
        match request.uri().path() {
            "/private" => response(200, &[("cache-control", "private")], "own"),
            "/vary" => response(
                200,
                &[("cache-control", "max-age=60"), ("vary", "accept")],
                "v",
            ),
            _ => response(200, FRESH, "body"),
        }
    });
    for path in ["/a", "/private", "/vary"] {
        bed.send(get(path, &[])).await;
    }
    bed.send(crate::fixture::request("POST", "/a", &[])).await;
    assert!(backend.stored_entries() > 0);
    sleep(27 * 3_600).await;
    // What has expired is swept out while others are written.
    for number in 0..1_000_u64 {
        let key = Key::custom("any", &KeyParts::new().with(number));
        let options = PutOptions::new(Duration::from_secs(60));
        _ = backend.put(&key, Bytes::new(), options).await.unwrap();
    }
    assert_eq!(backend.stored_entries(), 1_000);
}
