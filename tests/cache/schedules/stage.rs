//! Runs a schedule: brings about what is in it, waits until all is quiet, and asks again.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tower::{Layer as _, ServiceExt as _};
use tower_stash::{
    backend::{MemoryBackend, Timeout},
    cache::{Cache, CacheLayer, CacheOutcome, CacheRule, Consistency, OutcomeKind, Purge},
};

use super::{
    Verdict,
    line::Line,
    oracle::{self, Sights},
    origin::{Failed, Made, Origin, Write},
    schedule::{Event, Getting, Schedule, What, Who},
    time::{Virtual, now, paused},
};

/// When something was, and before what else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub(super) at: Instant,
    order: u64,
}

/// Tells moments apart that are at the same time.
#[derive(Debug, Default)]
pub(super) struct Order(AtomicU64);

/// What is known when all is over.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) schedule: Schedule,
    pub(super) made: Vec<Made>,
    pub(super) writes: Vec<Write>,
    pub(super) answers: Vec<Answer>,
    pub(super) purges: Vec<Purged>,
    /// Requests that nobody answered, though their clients stayed.
    pub(super) unanswered: Vec<usize>,
    /// The requests from this one on came when all was quiet.
    pub(super) first_quiet: usize,
    /// How many calls of the handler there were from when it answered again as it should.
    pub(super) quiet_calls: usize,
    pub(super) longest_life: Duration,
    pub(super) tasks_left: usize,
}

/// What a client got.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) request: usize,
    pub(super) getting: Getting,
    pub(super) is_post: bool,
    pub(super) sent: Moment,
    pub(super) head: Moment,
    pub(super) what: Result<Answered, Failed>,
}

/// An answer that is none of the handler's errors.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) kind: Option<OutcomeKind>,
    /// The call of the handler that made it.
    pub(super) call: Option<usize>,
    pub(super) body: String,
    pub(super) is_broken: bool,
}

/// A purge that ended well.
#[derive(Clone, Debug)]
pub(super) struct Purged {
    pub(super) instance: usize,
    pub(super) is_soft: bool,
    /// What is older than this is not valid any more, if that page was purged.
    pub(super) versions: [Option<u64>; 2],
    pub(super) done: Moment,
}

struct Stage {
    schedule: Schedule,
    order: Arc<Order>,
    origin: Arc<Origin>,
    lines: [Line; 2],
    layers: [CacheLayer; 2],
    requests: AtomicUsize,
    answers: Mutex<Vec<Answer>>,
    purges: Mutex<Vec<Purged>>,
    under_way: Mutex<Vec<usize>>,
}

impl Order {
    pub(super) fn moment(&self) -> Moment {
        let order = self.0.fetch_add(1, SeqCst);
        Moment { at: now(), order }
    }
}

/// Whether the layer kept its promises, and what was seen of them.
pub(crate) fn run(schedule: &Schedule) -> Verdict<Sights> {
    paused().block_on(async {
        let seen = play(schedule).await;
        oracle::look(&seen)
    })
}

async fn play(schedule: &Schedule) -> Seen {
    let clock = Virtual::new();
    let backend = MemoryBackend::new().with_clock(clock.clone());
    let order = Arc::<Order>::default();
    let lines = [0, 1].map(|instance| Line::new(&backend, &schedule.faults[instance]));
    let stage = Arc::new(Stage {
        origin: Origin::new(schedule, &order),
        layers: [0, 1].map(|instance| layer(schedule, &lines[instance])),
        lines,
        order,
        schedule: schedule.clone(),
        requests: AtomicUsize::new(0),
        answers: Mutex::default(),
        purges: Mutex::default(),
        under_way: Mutex::default(),
    });
    let began = now();
    let mut events = JoinSet::new();
    for (at, event) in &schedule.events {
        let (stage, event, clock) = (Arc::clone(&stage), event.clone(), clock.clone());
        let due = began + *at;
        events.spawn(async move {
            sleep_until(due).await;
            stage.bring_about(event, &clock).await;
        });
    }
    // What is under way for ever is not waited for.
    let all = async { while events.join_next().await.is_some() {} };
    let _ = timeout(LONGEST, all).await;
    events.shutdown().await;
    let unanswered = stage.under_way.lock().unwrap().clone();
    stage.lines.iter().for_each(Line::calm_down);
    stage.origin.calm_down();
    sleep(QUIET + schedule.set_back()).await;
    let first_quiet = stage.requests.load(SeqCst);
    let quiet_calls = stage.ask_in_quiet().await;
    sleep(QUIET).await;
    stage.seen(unanswered, first_quiet, quiet_calls).await
}

fn layer(schedule: &Schedule, line: &Line) -> CacheLayer {
    let backend = Timeout::new(line.clone(), PATIENCE);
    let rule = CacheRule::new("pages").unwrap();
    let layer = CacheLayer::new(backend, rule).unwrap();
    let layer = layer.with_coalescing(schedule.coalescing);
    if schedule.is_strict {
        layer.with_consistency(Consistency::Strict)
    } else {
        layer
    }
}

impl Stage {
    async fn bring_about(&self, event: Event, clock: &Virtual) {
        match event {
            Event::Get(getting) => {
                self.send(getting, false).await;
            }
            Event::Post {
                instance,
                page,
                hangs_up,
            } => {
                let getting = Getting {
                    instance,
                    page,
                    language: "en",
                    who: Who::Anybody,
                    hangs_up,
                    reading: Duration::ZERO,
                };
                self.send(getting, true).await;
            }
            Event::Purge {
                instance,
                page,
                what,
                is_soft,
            } => self.purge(instance, page, what, is_soft).await,
            Event::Outage(lasts) => {
                self.lines.iter().for_each(Line::go_down);
                sleep(lasts).await;
                self.lines.iter().for_each(Line::come_up);
            }
            Event::ClockBack(by) => clock.step_back(by),
        }
    }

    async fn purge(&self, instance: usize, page: usize, what: What, is_soft: bool) {
        let written = self.origin.write(page);
        let purge = self.layers[instance].purge();
        // A URL is purged hard only.
        let is_soft = is_soft && what != What::Url;
        let purge = if is_soft { purge.soft() } else { purge };
        let done = purge_of(&purge, page, what).await;
        if done.is_err() {
            return;
        }
        let versions = [0, 1].map(|of| {
            let is_meant = of == page || matches!(what, What::CommonTag | What::All);
            is_meant.then_some(written[of])
        });
        let done = self.order.moment();
        self.purges.lock().unwrap().push(Purged {
            instance,
            is_soft,
            versions,
            done,
        });
    }

    async fn send(&self, getting: Getting, is_post: bool) {
        let request = self.requests.fetch_add(1, SeqCst);
        let service = self.service(getting.instance);
        let sent = self.order.moment();
        let asked = asked(request, &getting, is_post);
        let under_way = getting.hangs_up.is_none();
        if under_way {
            self.under_way.lock().unwrap().push(request);
        }
        let answer = async {
            let response = service.oneshot(asked).await;
            let head = self.order.moment();
            let what = match response {
                Ok(response) => Ok(read(response, getting.reading).await),
                Err(failed) => Err(failed),
            };
            Answer {
                request,
                getting: getting.clone(),
                is_post,
                sent,
                head,
                what,
            }
        };
        let answer = match getting.hangs_up {
            Some(stays) => timeout(stays, answer).await.ok(),
            None => Some(answer.await),
        };
        if let Some(answer) = answer {
            self.answers.lock().unwrap().push(answer);
        }
        let mut under_way = self.under_way.lock().unwrap();
        under_way.retain(|other| *other != request);
    }

    fn service(&self, instance: usize) -> Cache<Handler> {
        self.layers[instance].layer(Handler(Arc::clone(&self.origin)))
    }

    /// Asks each instance again and again; how often the handler was called for that.
    async fn ask_in_quiet(&self) -> usize {
        let purged = self.layers[0].purge().all().await;
        assert!(purged.is_ok(), "what is quiet can be purged");
        // Where the clock was set back, the purge is of a time that is still to come.
        sleep(Duration::from_millis(2_100) + self.schedule.set_back()).await;
        for instance in [0, 1, 0] {
            self.send(quiet(instance), false).await;
            sleep(Duration::from_millis(1_500)).await;
        }
        let before = self.origin.made().len();
        for _ in 0..QUIET_ROUNDS {
            let both = [self.send(quiet(0), false), self.send(quiet(1), false)];
            let [one, other] = both;
            tokio::join!(one, other);
            sleep(Duration::from_secs(1)).await;
        }
        self.origin.made().len() - before
    }

    async fn seen(
        self: Arc<Self>,
        unanswered: Vec<usize>,
        first_quiet: usize,
        quiet_calls: usize,
    ) -> Seen {
        let lives = self.lines.iter().map(Line::longest_life);
        let mut seen = Seen {
            schedule: self.schedule.clone(),
            made: self.origin.made(),
            writes: self.origin.writes(),
            answers: self.answers.lock().unwrap().clone(),
            purges: self.purges.lock().unwrap().clone(),
            unanswered,
            first_quiet,
            quiet_calls,
            longest_life: lives.max().unwrap_or_default(),
            tasks_left: 0,
        };
        drop(self);
        sleep(Duration::from_millis(1)).await;
        seen.tasks_left = Handle::current().metrics().num_alive_tasks();
        seen
    }
}

async fn purge_of(
    purge: &Purge,
    page: usize,
    what: What,
) -> Result<(), tower_stash::cache::PurgeError> {
    match what {
        What::Tag => purge.tag(format!("page:{page}")).await,
        What::CommonTag => purge.tag("pages").await,
        What::Url => purge.url(url(page)).await,
        What::All => purge.all().await,
    }
}

/// The handler, as a service.
#[derive(Clone, Debug)]
struct Handler(Arc<Origin>);

impl tower::Service<Request<tower_stash::cache::RequestBody<Body>>> for Handler {
    type Response = axum::response::Response;
    type Error = Failed;
    type Future = futures_util::future::BoxFuture<'static, Result<Self::Response, Failed>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Failed>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tower_stash::cache::RequestBody<Body>>) -> Self::Future {
        Box::pin(Arc::clone(&self.0).answer(request))
    }
}

async fn read<B>(response: http::Response<B>, reading: Duration) -> Answered
where
    B: http_body::Body<Data = bytes::Bytes> + Unpin,
{
    let outcome = response.extensions().get::<CacheOutcome>();
    let call = response.headers().get("x-call");
    let call = call.map(|call| call.to_str().unwrap().parse().unwrap());
    let mut answered = Answered {
        status: response.status().as_u16(),
        kind: outcome.map(|outcome| outcome.kind),
        call,
        body: String::new(),
        is_broken: false,
    };
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            answered.is_broken = true;
            break;
        };
        if let Ok(data) = frame.into_data() {
            answered.body.push_str(str::from_utf8(&data).unwrap());
        }
        sleep(reading).await;
    }
    answered
}

fn asked(request: usize, getting: &Getting, is_post: bool) -> Request<Body> {
    let method = if is_post { "POST" } else { "GET" };
    let asked = Request::builder()
        .method(method)
        .uri(url(getting.page))
        .header("x-request", request)
        .header("accept-language", getting.language);
    let asked = match getting.who {
        Who::Anybody => asked,
        Who::Authorized => asked.header("authorization", "Bearer alice"),
        Who::Cookie => asked.header("cookie", "user=bob"),
    };
    asked.body(Body::empty()).unwrap()
}

fn quiet(instance: usize) -> Getting {
    Getting {
        instance,
        page: 0,
        language: "en",
        who: Who::Anybody,
        hangs_up: None,
        reading: Duration::ZERO,
    }
}

fn url(page: usize) -> &'static str {
    ["http://example.com/a", "http://example.com/b"][page]
}

/// Whatever begins has ended by then.
const LONGEST: Duration = Duration::from_secs(200);

/// Longer than anything that fails is tried again, or than anybody is not waited for.
const QUIET: Duration = Duration::from_secs(40);

/// For 12 seconds, in which what is fresh for ten is fetched twice at most.
const QUIET_ROUNDS: usize = 12;

/// The backend's own, for each call.
const PATIENCE: Duration = Duration::from_secs(1);
