//! An application whose orders run once, and a ledger of what its handlers do.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::post,
};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tower::ServiceExt as _;
use tower_stash::{
    backend::KeyValue,
    idempotency::{
        Execution, IdempotencyLayer, IdempotencyRule, InProgress, Outcome, Recovery, Unrecorded,
    },
    policy::{KeyExtractor as _, Routes, header as of_header},
};

use crate::{
    schedules::chance::any_seed,
    servers::{Result, eventually, timed},
};

/// What an order's handler does: it waits, has its effect, waits again and answers.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Order {
    /// In milliseconds.
    pub(super) before: u64,
    /// In milliseconds.
    pub(super) after: u64,
    pub(super) first: First,
    /// The length of the answer, if it is more than it says anyway.
    pub(super) len: usize,
}

/// What the first run of an order says of its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum First {
    #[default]
    IsFinal,
    /// It has no effect.
    Fails,
    /// It has no effect.
    IsNotExecuted,
}

impl Order {
    pub(super) fn taking(time: Duration) -> Self {
        Self {
            after: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            ..Self::default()
        }
    }

    /// The request for this order; the path is after where it is sent to.
    pub(super) fn request(self, base: &str, path: &str, key: &str) -> Result<Request<Bytes>> {
        Ok(Request::post(format!("{base}{path}"))
            .header("idempotency-key", key)
            .header(header::CONTENT_TYPE, "application/json")
            .body(serde_json::to_vec(&self)?.into())?)
    }
}

/// The application in this process, without a network before it.
#[derive(Clone)]
pub(super) struct App {
    router: Router,
}

impl App {
    pub(super) fn new(
        backend: impl KeyValue,
        rule: IdempotencyRule,
        ledger: &Ledger,
    ) -> Result<Self> {
        let scope = of_header("x-user").or_shared();
        let layer = IdempotencyLayer::new(backend, scope, Routes::new().post("/orders", rule))?;
        let router = Router::new()
            .route("/orders", post(take))
            .route("/unprotected", post(async || "done"))
            .layer(layer)
            .with_state(ledger.clone());
        Ok(Self { router })
    }

    pub(super) fn router(&self) -> Router {
        self.router.clone()
    }

    pub(super) async fn order(&self, key: &str, order: Order) -> Result<Answer> {
        let request = order.request("", "/orders", key)?;
        self.send(request).await
    }

    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<Answer> {
        let Ok(response): Result<Response, Infallible> =
            self.router.clone().oneshot(request.map(Body::from)).await;
        Answer::read(response).await
    }

    /// Sends an order until its key is settled, which takes no longer than a lease and what a busy
    /// machine adds: nobody is at work on it any more.
    pub(super) async fn settle(&self, key: &str, order: Order, lease: Duration) -> Result<Answer> {
        let mut last = None;
        let (settled, time) = timed(eventually("the key is settled", async || {
            let answer = self.order(key, order).await?;
            let is_settled = ![409, 503].contains(&answer.status());
            last = Some(answer);
            Ok(is_settled)
        }))
        .await;
        settled.map_err(|error| format!("{key}: {error}: {last:?}"))?;
        assert!(time < lease + GRACE, "{key} was wedged for {time:?}");
        Ok(last.ok_or("no answer")?)
    }
}

/// The handler.
async fn take(State(ledger): State<Ledger>, run: Execution, Json(order): Json<Order>) -> Response {
    let (attempt, fence) = (run.attempt(), run.fence());
    let is_first = match order.first {
        First::IsNotExecuted => ledger.runs_of(run.key()).is_ok_and(|runs| runs.is_empty()),
        _ => attempt == 1,
    };
    let downstream = run.downstream_key("effect");
    let line = |what: &str| format!("{what} {} {fence} {attempt} {downstream}", run.key());
    ledger.note(&line("run"));
    sleep(Duration::from_millis(order.before)).await;
    let is_done = !is_first || order.first == First::IsFinal;
    if is_done {
        ledger.note(&line("effect"));
    } else {
        let is_retryable = order.first == First::Fails;
        run.set_outcome(if is_retryable {
            Outcome::Retryable
        } else {
            Outcome::NotExecuted
        });
    }
    sleep(Duration::from_millis(order.after)).await;
    let chance = unique();
    let said = format!("{chance:032x} {attempt} {fence} {downstream}");
    let said = format!("{said:<len$}", len = order.len);
    let location = [(header::LOCATION, format!("/orders/{chance:032x}"))];
    if is_done {
        (StatusCode::CREATED, location, said).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, NOT_DONE).into_response()
    }
}

/// An answer, read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    head: BTreeMap<String, String>,
    status: StatusCode,
    pub(super) body: String,
}

impl Answer {
    pub(super) async fn read<B>(response: http::Response<B>) -> Result<Self>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (head, body) = response.into_parts();
        let named = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.to_string(), value.into_owned())
        };
        Ok(Self {
            head: head.headers.iter().map(named).collect(),
            status: head.status,
            body: String::from_utf8(body.collect().await?.to_bytes().to_vec())?,
        })
    }

    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.get(name).map(String::as_str)
    }

    pub(super) fn is_made(&self) -> bool {
        self.status == StatusCode::CREATED
    }

    pub(super) fn is_replay(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }

    /// Whether the handler said that it had no effect.
    pub(super) fn is_not_done(&self) -> bool {
        self.body == NOT_DONE
    }

    /// Whether it says that it was not recorded.
    pub(super) fn is_unrecorded(&self) -> bool {
        self.header("idempotency-stored") == Some("?0")
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.refusal() == (500, "outcome-unknown".to_owned())
    }

    pub(super) fn is_unavailable(&self) -> bool {
        self.refusal() == (503, "unavailable".to_owned())
    }

    pub(super) fn is_busy(&self) -> bool {
        self.refusal() == (409, "in-progress".to_owned())
    }

    /// The status, and the last word of the problem's type, which is empty where there is none.
    pub(super) fn refusal(&self) -> (u16, String) {
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        let word = problem["type"].as_str().and_then(|t| t.rsplit('#').next());
        (self.status(), word.unwrap_or_default().to_owned())
    }

    /// Whether both are the same to a client: status, body, and what the handler said in the head.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let told = |answer: &Self| {
            let location = answer.header("location").map(str::to_owned);
            (answer.status, answer.body.clone(), location)
        };
        told(self) == told(other)
    }
}

/// Lines that processes append to one file.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    path: Arc<Path>,
    file: Arc<File>,
}

/// A line of the ledger.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    pub(super) what: String,
    pub(super) key: String,
    pub(super) fence: u64,
    pub(super) attempt: u32,
    pub(super) downstream: String,
}

impl Ledger {
    /// One of its own in the directory of a server, with which it goes.
    pub(super) fn beside(directory: &Path) -> Result<Self> {
        Self::open(directory.join(format!("{:032x}.ledger", unique())))
    }

    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        Ok(Self {
            path: path.into(),
            file: Arc::new(file),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// In one write, which processes that append do not mix up.
    fn note(&self, line: &str) {
        let written = (&*self.file).write_all(format!("{line}\n").as_bytes());
        written.expect("the ledger can be written");
    }

    pub(super) fn lines(&self) -> Result<Vec<Noted>> {
        let text = std::fs::read_to_string(&self.path)?;
        text.lines().map(Noted::read).collect()
    }

    /// The runs under this key, in their order.
    pub(super) fn runs_of(&self, key: &str) -> Result<Vec<Noted>> {
        self.of(key, "run")
    }

    /// The effects under this key, in their order.
    pub(super) fn effects_of(&self, key: &str) -> Result<Vec<Noted>> {
        self.of(key, "effect")
    }

    fn of(&self, key: &str, what: &str) -> Result<Vec<Noted>> {
        let mut lines = self.lines()?;
        lines.retain(|noted| noted.key == key && noted.what == what);
        Ok(lines)
    }

    /// Waits until the handler has run so often under this key.
    pub(super) async fn has_begun(&self, key: &str, times: usize) -> Result<()> {
        eventually("the handler has begun", async || {
            Ok(self.runs_of(key)?.len() >= times)
        })
        .await
    }
}

impl Noted {
    fn read(line: &str) -> Result<Self> {
        let words: Vec<_> = line.split(' ').collect();
        let [what, key, fence, attempt, downstream] = words[..] else {
            return Err(format!("{line:?} is no line of a ledger").into());
        };
        Ok(Self {
            what: what.to_owned(),
            key: key.to_owned(),
            fence: fence.parse()?,
            attempt: attempt.parse()?,
            downstream: downstream.to_owned(),
        })
    }
}

/// The rules of the suite, as a process can be told them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    ReExecute,
    Withhold,
    Answer,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::ReExecute, Self::Withhold, Self::Answer];

    pub(super) fn is_never(self) -> bool {
        self != Self::ReExecute
    }

    /// How many writes come before the handler.
    pub(super) fn before_the_handler(self) -> u32 {
        if self.is_never() { 2 } else { 1 }
    }

    /// The rule of this kind.
    pub(super) fn rule(self, lease: Duration) -> Result<IdempotencyRule> {
        let recovery = match self {
            Self::ReExecute => Recovery::ReExecute,
            Self::Withhold => Recovery::Never(Unrecorded::Withhold),
            Self::Answer => Recovery::Never(Unrecorded::Answer),
        };
        Ok(IdempotencyRule::new("orders", recovery)?.with_lease(lease)?)
    }
}

/// Tests this for rules of each kind, all at the same time.
pub(super) async fn of_each_kind(test: impl AsyncFn(Kind) -> Result<()>) -> Result<()> {
    let [one, two, three] = Kind::ALL;
    tokio::try_join!(test(one), test(two), test(three))?;
    Ok(())
}

/// The rule, with requests that wait for who is at work.
pub(super) fn waiting(rule: IdempotencyRule) -> IdempotencyRule {
    rule.with_in_progress(InProgress::Wait(Duration::from_secs(20)))
}

/// A number that nobody has had.
pub(super) fn unique() -> u128 {
    u128::from(any_seed()) << 64 | u128::from(any_seed())
}

const NOT_DONE: &str = "not done";

/// What a busy machine may add to each wait.
pub(super) const GRACE: Duration = Duration::from_millis(1_500);
