//! A service behind the layer, and requests to it.

use std::{
    convert::Infallible,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, response::Response};
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use tokio::{sync::Semaphore, task::JoinHandle, time::Instant};
use tower::{Layer as _, ServiceExt as _, util::BoxCloneSyncService};
use tower_stash::{
    backend::{KeyValue, MemoryBackend},
    clock::{Clock, Timestamp},
    idempotency::{
        Execution, IdempotencyLayer, IdempotencyRule, Recovery, RequestBody, Unrecorded,
    },
    policy::{KeyExtractor as _, Policy, header},
    testing::FaultBackend,
};

/// A service that answers by a function, behind the layer.
#[derive(Clone)]
pub(crate) struct Bed {
    service: BoxCloneSyncService<Request<Body>, Response, Infallible>,
    pub(crate) layer: IdempotencyLayer,
    runs: Arc<AtomicUsize>,
}

/// A request as a handler gets it.
pub(crate) type Inside = Request<RequestBody<Body>>;

pub(crate) fn rule() -> IdempotencyRule {
    IdempotencyRule::new("orders", Recovery::ReExecute).unwrap()
}

/// A rule whose handlers never begin twice.
pub(crate) fn never(unrecorded: Unrecorded) -> IdempotencyRule {
    IdempotencyRule::new("orders", Recovery::Never(unrecorded)).unwrap()
}

/// A backend whose time is the test's: when the test sleeps, both clocks go on.
pub(crate) fn memory() -> MemoryBackend {
    MemoryBackend::new().with_clock(TestTime)
}

/// The same, which fails on demand and counts its calls.
pub(crate) fn faulty() -> FaultBackend<MemoryBackend> {
    FaultBackend::new(memory())
}

impl Bed {
    /// The handler, protected by this policy; keys belong to who `x-user` says.
    pub(crate) fn new<F>(
        backend: impl KeyValue,
        policy: impl Policy<IdempotencyRule>,
        handler: impl Fn(Inside) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let scope = header("x-user").or_shared();
        Self::behind(
            IdempotencyLayer::new(backend, scope, policy).unwrap(),
            handler,
        )
    }

    /// The handler behind this layer.
    pub(crate) fn behind<F>(
        layer: IdempotencyLayer,
        handler: impl Fn(Inside) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let service = tower::service_fn(move |request| {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = handler(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let service = layer.layer(service);
        let service = service.map_response(|response: http::Response<_>| response.map(Body::new));
        Self {
            service: BoxCloneSyncService::new(service),
            layer,
            runs,
        }
    }

    /// How often the handler began.
    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        Answer::read(self.head(request).await).await
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

    /// POST /orders with this key and body.
    pub(crate) async fn post(&self, key: &str, body: &'static str) -> Answer {
        self.send(post(key, body)).await
    }
}

pub(crate) fn post(key: &str, body: &'static str) -> Request<Body> {
    request()
        .header("idempotency-key", key)
        .body(body.into())
        .unwrap()
}

/// A POST to /orders without a key.
pub(crate) fn request() -> http::request::Builder {
    Request::post("/orders")
}

/// The run that this request is of.
pub(crate) fn execution(request: &Inside) -> Execution {
    request.extensions().get::<Execution>().unwrap().clone()
}

/// All that can go on without time going on does so; where time is paused.
pub(crate) async fn settled() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn sleep(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// An instance gets this request and dies while its handler runs.
pub(crate) fn leave_orphan(
    backend: &(impl KeyValue + Clone),
    rule: IdempotencyRule,
    request: Request<Body>,
) {
    in_a_process_that_dies(async {
        let bed = Bed::new(backend.clone(), rule, |_| std::future::pending());
        drop(bed.sending(request).await);
        assert_eq!(bed.runs(), 1);
    });
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
    pub(crate) body: String,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(crate) async fn read(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned();
        let body = String::from_utf8(collected.to_bytes().to_vec()).unwrap();
        Self {
            head,
            body,
            trailers,
        }
    }

    pub(crate) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.head.headers.contains_key("idempotent-replayed")
    }

    /// Whether it says that it was not recorded.
    pub(crate) fn is_unrecorded(&self) -> bool {
        self.header("idempotency-stored") == Some("?0")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let value = self.head.headers.get(name)?;
        Some(value.to_str().unwrap())
    }

    /// The status, and the last word of the problem's type.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status(), self.problem())
    }

    /// The last word of the problem's type.
    pub(crate) fn problem(&self) -> String {
        let problem = self.json();
        let problem = problem["type"].as_str().unwrap();
        problem.rsplit('#').next().unwrap().to_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A refusal as [`Answer::refusal`] has it.
pub(crate) fn refused(status: u16, problem: &str) -> (u16, String) {
    (status, problem.to_owned())
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

    pub(crate) async fn pass(&self) {
        self.0.acquire().await.unwrap().forget();
    }
}

/// The time of tokio as the time of day, which a test can pause and advance.
#[derive(Debug)]
struct TestTime;

impl Clock for TestTime {
    fn now(&self) -> Timestamp {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        let began = *BEGAN.get_or_init(now);
        let hour = Duration::from_secs(3_600);
        Timestamp::from_millis(BEGINNING_OF_2026) + ((now() + hour) - began)
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where it is read")]
fn now() -> Instant {
    Instant::now()
}

/// In milliseconds since the Unix epoch.
const BEGINNING_OF_2026: u64 = 1_767_225_600_000;
