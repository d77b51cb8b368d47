//! A service behind the layer, and requests to it.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::Instant,
};
use tower::{Layer as _, ServiceExt as _, util::BoxCloneSyncService};
use tower_stash::{
    backend::{Broadcast, KeyValue, MemoryBackend},
    cache::{Bypass, CacheLayer, CacheOutcome, CacheRule, NotStored, OutcomeKind, RequestBody},
    clock::{Clock, Timestamp},
    policy::Policy,
    testing::FaultBackend,
};

/// A service that answers by a function, behind the layer: one instance.
#[derive(Clone)]
pub(crate) struct Bed {
    service: BoxCloneSyncService<Request<Body>, Response, Infallible>,
    pub(crate) layer: CacheLayer,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
}

/// A request as a handler gets it.
pub(crate) type Inside = Request<RequestBody<Body>>;

/// A rule that stores what says how long it is fresh.
pub(crate) fn rule() -> CacheRule {
    CacheRule::new("pages").unwrap()
}

/// A backend whose time is the test's: when the test sleeps, both clocks go on.
pub(crate) fn memory() -> MemoryBackend {
    MemoryBackend::new().with_clock(TestTime::default())
}

/// The same, which fails on demand and counts its calls, and seems to be reached over a network.
pub(crate) fn faulty() -> FaultBackend<MemoryBackend> {
    FaultBackend::new(memory()).seen_as_remote()
}

impl Bed {
    /// The handler, cached by this policy.
    pub(crate) fn new<F>(
        backend: impl KeyValue + Broadcast + Clone,
        policy: impl Policy<CacheRule>,
        handler: impl Fn(Inside) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        Self::behind(CacheLayer::new(backend, policy).unwrap(), handler)
    }

    /// The handler behind this layer.
    pub(crate) fn behind<F>(
        layer: CacheLayer,
        handler: impl Fn(Inside) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let noted = Arc::clone(&seen);
        let service = tower::service_fn(move |request: Inside| {
            noted.lock().unwrap().push(request.headers().clone());
            let answer = handler(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let service = layer.layer(service);
        let service = service.map_response(|response: http::Response<_>| response.map(Body::new));
        Self {
            service: BoxCloneSyncService::new(service),
            layer,
            seen,
        }
    }

    /// Two instances of it over one backend.
    pub(crate) fn two<F>(
        backend: &(impl KeyValue + Broadcast + Clone),
        policy: impl Policy<CacheRule> + Clone,
        handler: impl Fn(Inside) -> F + Clone + Send + Sync + 'static,
    ) -> [Self; 2]
    where
        F: Future<Output = Response> + Send + 'static,
    {
        [(); 2].map(|()| Self::new(backend.clone(), policy.clone(), handler.clone()))
    }

    /// How often the handler was called.
    pub(crate) fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The headers of the request that the handler got last.
    pub(crate) fn last_seen(&self) -> HeaderMap {
        self.seen.lock().unwrap().last().unwrap().clone()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let answer = Answer::read(self.head(request).await).await;
        settled().await;
        answer
    }

    /// The response as soon as its head is there.
    pub(crate) async fn head(&self, request: Request<Body>) -> Response {
        self.service.clone().oneshot(request).await.unwrap()
    }

    /// Sends it in a task, and gives other tasks time to get as far as they can.
    pub(crate) async fn sending(&self, request: Request<Body>) -> JoinHandle<Answer> {
        let bed = self.clone();
        let sent = tokio::spawn(async move { bed.send(request).await });
        settled().await;
        sent
    }

    /// GET /a
    pub(crate) async fn get(&self) -> Answer {
        self.send(get("/a", &[])).await
    }

    /// GET /a with these headers.
    pub(crate) async fn get_with(&self, headers: &[(&str, &str)]) -> Answer {
        self.send(get("/a", headers)).await
    }
}

/// A GET of this path at `example.com` with these headers.
pub(crate) fn get(path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    request("GET", path, headers)
}

pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "example.com");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// A response with these headers.
pub(crate) fn response(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

/// A handler that answers so each time.
pub(crate) fn always(
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
) -> impl Fn(Inside) -> std::future::Ready<Response> + Clone + Send + Sync + 'static {
    move |_| std::future::ready(response(status, headers, body))
}

/// A handler whose answers are `call 1`, `call 2` and so on, with these headers.
pub(crate) fn counting(
    headers: &'static [(&'static str, &'static str)],
) -> impl Fn(Inside) -> std::future::Ready<Response> + Clone + Send + Sync + 'static {
    let calls = Arc::new(AtomicUsize::new(0));
    move |_| {
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        std::future::ready(response(200, headers, format!("call {call}")))
    }
}

/// A handler that gives these answers one after the other, and the last one for ever.
pub(crate) fn scripted(
    answers: &'static [Scripted],
) -> impl Fn(Inside) -> std::future::Ready<Response> + Clone + Send + Sync + 'static {
    let calls = Arc::new(AtomicUsize::new(0));
    move |_| {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        let (status, headers, body) = answers[call.min(answers.len() - 1)];
        std::future::ready(response(status, headers, body))
    }
}

pub(crate) type Scripted = (u16, &'static [(&'static str, &'static str)], &'static str);

/// A body whose frames the test sends one by one; it ends when the sender is dropped.
pub(crate) fn fed() -> (mpsc::UnboundedSender<Result<Frame<Bytes>, Broken>>, Body) {
    let (feed, mut frames) = mpsc::unbounded_channel();
    let stream = futures_util::stream::poll_fn(move |cx| frames.poll_recv(cx));
    (feed, Body::new(StreamBody::new(stream)))
}

/// A frame of these bytes.
pub(crate) fn data(text: &'static str) -> Result<Frame<Bytes>, Broken> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// Why a body ended too early.
#[derive(Debug)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

/// All that can go on without time going on does so; where time is paused.
pub(crate) async fn settled() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn sleep(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Runs this, and then nothing more of what it has begun. Time is paused, and begins where the
/// test's is.
pub(crate) fn in_a_process_that_dies(life: impl Future<Output = ()> + Send) {
    let now = now();
    let process = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            tokio::time::sleep_until(now).await;
            life.await;
        });
    };
    // A runtime cannot be dropped inside another one.
    std::thread::scope(|scope| scope.spawn(process).join().unwrap());
}

/// A response that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: http::response::Parts,
    /// What came of it; not all of it where it [broke off](Self::is_broken).
    pub(crate) body: String,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) is_broken: bool,
}

impl Answer {
    pub(crate) async fn read(response: Response) -> Self {
        let (head, mut body) = response.into_parts();
        let mut answer = Self {
            head,
            body: String::new(),
            trailers: None,
            is_broken: false,
        };
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                answer.is_broken = true;
                break;
            };
            match frame.into_data() {
                Ok(data) => answer.body.push_str(str::from_utf8(&data).unwrap()),
                Err(frame) => answer.trailers = frame.into_trailers().ok(),
            }
        }
        answer
    }

    pub(crate) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// The only line of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.headers.get_all(name).iter();
        let line = lines.next()?;
        assert!(lines.next().is_none(), "{name} is there twice");
        Some(line.to_str().unwrap())
    }

    /// What the cache did, or nothing if no rule covers the request.
    pub(crate) fn kind(&self) -> Option<OutcomeKind> {
        Some(self.outcome()?.kind)
    }

    pub(crate) fn outcome(&self) -> Option<CacheOutcome> {
        self.head.extensions.get::<CacheOutcome>().copied()
    }

    pub(crate) fn bypass(&self) -> Option<Bypass> {
        self.outcome()?.bypass
    }

    pub(crate) fn not_stored(&self) -> Option<NotStored> {
        self.outcome()?.not_stored
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.outcome().is_some_and(|outcome| outcome.is_hit())
    }

    /// The one line of `Cache-Status`, after the cache's name.
    pub(crate) fn cache_status(&self) -> &str {
        let line = self.header("cache-status").unwrap();
        line.strip_prefix("tower-stash; ").unwrap()
    }

    /// In seconds.
    pub(crate) fn age(&self) -> Option<u64> {
        Some(self.header("age")?.parse().unwrap())
    }
}

/// Where handlers wait until the test lets them go on.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets one handler go on.
    pub(crate) fn open(&self) {
        self.0.add_permits(1);
    }

    /// Lets all of them go on from now on.
    pub(crate) fn stay_open(&self) {
        self.0.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    pub(crate) async fn pass(&self) {
        self.0.acquire().await.unwrap().forget();
    }
}

/// The time of tokio as the time of day, which a test can pause and advance. Each look at it takes a
/// microsecond, as on a machine: what is written one after the other is not of the same instant.
#[derive(Debug, Default)]
pub(crate) struct TestTime {
    looks: AtomicU64,
}

impl Clock for TestTime {
    fn now(&self) -> Timestamp {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        let began = *BEGAN.get_or_init(now);
        let hour = Duration::from_secs(3_600);
        let look = Duration::from_micros(self.looks.fetch_add(1, Ordering::SeqCst));
        Timestamp::from_millis(BEGINNING_OF_2026) + ((now() + hour) - began) + look
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where it is read")]
fn now() -> Instant {
    Instant::now()
}

/// In milliseconds since the Unix epoch.
const BEGINNING_OF_2026: u64 = 1_767_225_600_000;
